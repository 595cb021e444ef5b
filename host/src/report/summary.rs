//! A report as a few lines of text.

use std::fmt::Write as _;

use transload_plugin_api::Count;

use super::{Bottleneck, Report};
use crate::{Exit, escape};

/// Warnings shown; the report has all of them.
const WARNINGS: usize = 10;

/// The report as text, without a final line break.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_summary(&mut text, report);
    text
}

fn write_summary(text: &mut String, report: &Report) -> std::fmt::Result {
    let ended = match report.status {
        Exit::Done => "done",
        Exit::Interrupted | Exit::Terminated => "stopped",
        _ => "failed",
    };
    let env = report.environment.as_ref().map(|env| format!(", environment {env}"));
    writeln!(
        text,
        "{} {ended} in {}  (run {}{})",
        report.job,
        duration(report.elapsed_ms),
        report.run,
        env.unwrap_or_default()
    )?;
    let rows = &report.rows;
    if report.discarded > 0 {
        let discarded = grouped(report.discarded);
        writeln!(text, "  rows        none written; {discarded} were staged and not published")?;
    } else {
        writeln!(
            text,
            "  rows        {} read = {} inserted + {} updated + {} skipped + {} dirty",
            grouped(rows.read),
            grouped(rows.inserted),
            grouped(rows.updated),
            grouped(rows.skipped),
            grouped(rows.dirty)
        )?;
    }
    if report.dirty_met > rows.dirty {
        writeln!(
            text,
            "  dirty met   {} (their chunk was rolled back)",
            grouped(report.dirty_met)
        )?;
    }
    writeln!(
        text,
        "  rate        {} rows/s, {}/s read",
        grouped(report.rows_per_second),
        bytes(report.bytes_per_second)
    )?;
    if report.replays > 0 {
        let times = grouped(report.replays);
        writeln!(text, "  replays     {times} (a chunk was rolled back and written again)")?;
    }
    writeln!(text, "  bottleneck  {}", bottleneck(&report.bottleneck))?;
    for (side, counts) in [("source", &report.counts.reader), ("target", &report.counts.writer)] {
        if let Some(words) = trouble(counts) {
            writeln!(text, "  trouble     at the {side}: {words}")?;
        }
    }
    writeln!(
        text,
        "  target      {} by {}, {}",
        escape::line(&report.target),
        report.write_mode,
        report.guarantee
    )?;
    for sentence in &report.remains {
        writeln!(text, "  left        {}", escape::line(sentence))?;
    }
    for warning in report.warnings.iter().take(WARNINGS) {
        writeln!(text, "  warning     {}", escape::line(warning))?;
    }
    if let Some(more) = report.warnings.len().checked_sub(WARNINGS).filter(|more| *more > 0) {
        writeln!(text, "  warning     and {more} more in the report")?;
    }
    for file in &report.dirty_files {
        writeln!(text, "  dirty rows  {}", file.display())?;
    }
    write!(text, "  report      {}", report.folder.join("report.json").display())
}

/// `3 requests throttled, 1 connections broken (of 120 requests)`; `None` if there is no trouble.
fn trouble(counts: &[Count]) -> Option<String> {
    let words = |trouble: bool| {
        let shown = |count: &&Count| count.value > 0 && count.left_out.is_none();
        let met = counts.iter().filter(shown).filter(|count| count.trouble == trouble);
        met.map(|count| format!("{} {}", grouped(count.value), count.name.replace('_', " ")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (words(true), words(false)) {
        (met, _) if met.is_empty() => None,
        (met, all) if all.is_empty() => Some(met),
        (met, all) => Some(format!("{met} (of {all})")),
    }
}

fn bottleneck(bottleneck: &Bottleneck) -> String {
    let percent = |share: f64| (share * 100.0).round();
    match bottleneck.side {
        "writer" => {
            format!(
                "the writer: reading waited for it {} % of the time",
                percent(bottleneck.reader_waited)
            )
        }
        "reader" => {
            format!(
                "the reader: writing waited for it {} % of the time",
                percent(bottleneck.writer_waited)
            )
        }
        _ => "neither side waited for the other".to_owned(),
    }
}

/// `1,234,567`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`, by powers of 1000.
pub(super) fn bytes(amount: u64) -> String {
    let mut value = amount as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{amount} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// `0.42 s`, `12.3 s`, `4 min 05 s`
pub(super) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..10_000 => format!("{:.2} s", milliseconds as f64 / 1000.0),
        10_000..60_000 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        _ => format!("{} min {:02} s", milliseconds / 60_000, milliseconds / 1000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trouble_is_shown() {
        let counts = |throttled, broken| {
            vec![
                Count::new("requests", 1_200),
                Count::trouble("requests_throttled", throttled),
                Count::trouble("connections_broken", broken),
            ]
        };
        assert_eq!(trouble(&[]), None);
        assert_eq!(trouble(&counts(0, 0)), None);
        let words = "3 requests throttled (of 1,200 requests)";
        assert_eq!(trouble(&counts(3, 0)).as_deref(), Some(words));
        let words = "3 requests throttled, 1 connections broken";
        assert_eq!(trouble(&counts(3, 1)[1..]).as_deref(), Some(words));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(12_345_678), "12.3 MB");
        assert_eq!(duration(420), "0.42 s");
        assert_eq!(duration(245_000), "4 min 05 s");
    }
}
