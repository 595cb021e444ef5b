//! A report as a few lines of text.

use std::collections::BTreeMap;

use transload_plugin_api::{Count, Counters};

use super::{
    Bottleneck, Limits, Report,
    page::{Page, Style},
};
use crate::{
    Exit, escape,
    increment::{PlannedIncrement, Watermark},
    stores::Side,
};

/// Warnings of the run shown; the report has all of them.
const WARNINGS: usize = 10;
/// Files and parameters named; the report has all of them.
const NAMED: usize = 5;
/// Where what a word stands for begins.
const LABEL: usize = 14;

/// Puts a report on a page.
pub(crate) fn summary(page: &mut Page, report: &Report) {
    title(page, report);
    let mut line = |label: &str, text: &str| page.pair(2, label, LABEL, text);
    let Report { rows_read, dirty_met, discarded, .. } = *report;
    line("rows", &rows(rows_read, &report.rows, dirty_met, discarded));
    if let Some(increment) = &report.increment {
        line("increment", &of_increment(increment, report.status == Exit::Done));
    }
    if let Some(resumed) = &report.resumed {
        line("resumed", &resumed.words());
    }
    let (rate, speed) = (grouped(report.rows_per_second), bytes(report.bytes_per_second));
    line("rate", &format!("{rate} rows/s, {speed}/s read"));
    let Limits { rates, changes } = &report.limits;
    if *changes > 0 {
        let times = plural(*changes, "change", "changes");
        line("limits", &format!("{rates} at the end, after {times}"));
    }
    if report.stalls > 0 {
        let times = plural(report.stalls, "time", "times");
        line("stalled", &format!("{times} a task made no progress for `stall_timeout`"));
    }
    if report.replays > 0 {
        let chunks = plural(report.replays, "chunk was", "chunks were");
        let reasons = reasons(&report.retries);
        line("retried", &format!("{chunks} rolled back and written again{reasons}"));
    }
    line("bottleneck", &bottleneck(&report.bottleneck));
    for (side, counts) in [("source", &report.counts.reader), ("target", &report.counts.writer)] {
        trouble(side, counts).iter().for_each(|words| line("trouble", words));
    }
    for (side, counts) in
        [(&report.reader, &report.counts.reader), (&report.writer, &report.counts.writer)]
    {
        counted(side, counts).iter().for_each(|words| line("counted", words));
    }
    line("inputs", &inputs(report));
    let target = escape::line(&report.target);
    let before = report.target_rows_before.map(|rows| {
        let held = plural(rows, "row", "rows");
        format!("; it held {held} before, which `insert` keeps")
    });
    let before = before.unwrap_or_default();
    line("target", &format!("{target} ({}, {}){before}", report.write_mode, report.guarantee));
    report.remains.iter().for_each(|sentence| line("left", sentence));
    report.resume.iter().for_each(|command| line("continue", command));
    warnings(page, report);
    let mut line = |label: &str, text: &str| page.pair(2, label, LABEL, text);
    for file in &report.dirty_files {
        line("dirty rows", &file.display().to_string());
    }
    line("report", &report.folder.join("report.json").display().to_string());
}

fn title(page: &mut Page, report: &Report) {
    let (ended, style) = match report.status {
        Exit::Done => ("done", Style::Good),
        Exit::Interrupted | Exit::Terminated => ("stopped", Style::Warning),
        _ => ("failed", Style::Bad),
    };
    let Report { job, run, environment, .. } = report;
    let env = environment.as_ref().map(|env| format!(", environment {env}")).unwrap_or_default();
    let time = duration(report.elapsed_ms);
    page.led(0, (style, &format!("{job} {ended}")), &format!(" in {time}  (run {run}{env})"));
}

/// The range that was read, and the watermark.
fn of_increment(increment: &PlannedIncrement, is_done: bool) -> String {
    let PlannedIncrement { columns, before, from, to, after, .. } = increment;
    let from = from.as_deref().unwrap_or("all rows");
    let to = to.as_ref().map_or(": no row was new".to_owned(), |to| format!(", {to}"));
    let range = format!("{} {from}{to}", columns[0]);
    if increment.is_step {
        return range;
    }
    match (after, is_done) {
        (Some(after), true) => format!("{range}; the watermark is {}", after.shown()),
        _ => {
            let shown = before.as_ref().map_or("none".to_owned(), Watermark::shown);
            format!("{range}; the watermark stays {shown}")
        }
    }
}

/// The outcome of all rows that were read. `dirty_met` counts those of chunks rolled back, too.
fn rows(rows_read: u64, rows: &Counters, dirty_met: u64, discarded: u64) -> String {
    let read = rows_read.max(rows.read);
    let lost = read - rows.read;
    let refused = dirty_met.saturating_sub(rows.dirty);
    let refused = match refused {
        0 => String::new(),
        refused => format!("{} refused, and their chunk was rolled back", grouped(refused)),
    };
    if discarded > 0 {
        let staged = grouped(discarded);
        return format!("{} read, none kept: {staged} staged and not published", grouped(read));
    }
    if rows.read == 0 && lost > 0 {
        let why = if refused.is_empty() { "rolled back".to_owned() } else { refused };
        return format!("{} read, none kept: {why}", grouped(read));
    }
    let mut parts = outcomes(rows);
    if lost > 0 {
        let why = if refused.is_empty() { "rolled back" } else { &refused };
        parts.push(format!("{} not kept ({why})", grouped(lost)));
    }
    if parts.is_empty() {
        return format!("{} read", grouped(read));
    }
    format!("{} read = {}", grouped(read), parts.join(" + "))
}

/// `49,960 inserted`, `40 dirty`: without what is 0.
fn outcomes(rows: &Counters) -> Vec<String> {
    let Counters { inserted, updated, skipped, dirty, .. } = *rows;
    let counts =
        [(inserted, "inserted"), (updated, "updated"), (skipped, "skipped"), (dirty, "dirty")];
    let met = counts.iter().filter(|(rows, _)| *rows > 0);
    met.map(|(rows, word)| format!("{} {word}", grouped(*rows))).collect()
}

/// What the run was made from.
fn inputs(report: &Report) -> String {
    let mut parts = vec![report.inputs.file.display().to_string()];
    let parameters = &report.inputs.parameters;
    parts.extend(parameters.iter().take(NAMED).map(|(name, value)| format!("{name}={value}")));
    if parameters.len() > NAMED {
        parts.push(plural((parameters.len() - NAMED) as u64, "more parameter", "more parameters"));
    }
    if let Some(files) = &report.files {
        let named = if files.first.len() > NAMED { 1 } else { NAMED };
        let named = files
            .first
            .iter()
            .take(named)
            .map(|name| name.rsplit('/').next().unwrap_or(name).to_owned());
        let mut named: Vec<_> = named.collect();
        if files.count > named.len() as u64 {
            named.push(format!("and {} more", grouped(files.count - named.len() as u64)));
        }
        parts.push(format!("{}: {}", plural(files.count, "file", "files"), named.join(", ")));
    }
    parts.join(", ")
}

/// Warnings of the plan are counted: it was seen, or can be. Those of the run are shown.
fn warnings(page: &mut Page, report: &Report) {
    if report.plan_warnings > 0 {
        let warnings = plural(report.plan_warnings as u64, "warning", "warnings");
        let command = report.inputs.command("plan");
        page.pair(2, "plan", LABEL, &format!("{warnings}: {command}"));
    }
    let of_run = &report.warnings[report.plan_warnings.min(report.warnings.len())..];
    for warning in of_run.iter().take(WARNINGS) {
        let label = format!("{:1$}", "warning", LABEL - 2);
        page.hung(2, (Style::Warning, &label), warning, LABEL);
    }
    if let Some(more) = of_run.len().checked_sub(WARNINGS).filter(|more| *more > 0) {
        page.pair(
            2,
            "",
            LABEL,
            &format!("and {} in the report", plural(more as u64, "more warning", "more warnings")),
        );
    }
}

/// `2,000 keys were listed (redis)`: what a plugin wants to be seen.
fn counted(side: &Side, counts: &[Count]) -> Vec<String> {
    let met = counts.iter().filter(|count| count.value > 0);
    let shown = met.filter_map(|count| {
        let spec = side.counts.iter().find(|spec| spec.summary && spec.name == count.name)?;
        Some(format!("{} {} ({})", grouped(count.value), spec.doc, side.plugin))
    });
    shown.collect()
}

/// `1 of 322 requests to the target failed and was retried`, for each kind of trouble that was met.
fn trouble(side: &str, counts: &[Count]) -> Vec<String> {
    let met = counts.iter().filter(|count| count.trouble && count.value > 0);
    met.filter(|count| count.left_out.is_none())
        .map(|count| {
            let (noun, what) = count.name.split_once('_').unwrap_or((&count.name, "failed"));
            let what = what.replace('_', " ");
            let all = counts.iter().find(|all| !all.trouble && all.name == noun);
            let of = all.map(|all| format!(" of {}", grouped(all.value))).unwrap_or_default();
            let is_one = count.value == 1;
            let noun = if is_one && all.is_none() { noun.trim_end_matches('s') } else { noun };
            let was = if is_one { "was" } else { "were" };
            let what = match what.as_str() {
                "failed" => format!("failed and {was} retried"),
                what => format!("{was} {what}"),
            };
            format!("{}{of} {noun} to the {side} {what}", grouped(count.value))
        })
        .collect()
}

fn bottleneck(bottleneck: &Bottleneck) -> String {
    let percent = |share: f64| (share * 100.0).round();
    match bottleneck.side {
        "writer" => {
            let idle = percent(bottleneck.reader_waited);
            format!("writer (the reader was idle {idle} % of the time)")
        }
        "reader" => {
            let idle = percent(bottleneck.writer_waited);
            format!("reader (the writer was idle {idle} % of the time)")
        }
        "limit" => {
            let held = percent(bottleneck.limit_waited);
            format!("the job's own limit (it held the reader {held} % of the time)")
        }
        side => side.to_owned(),
    }
}

/// ` (PG-40P01 2, PG-LOST 1)`: why something was tried again, the most frequent first.
fn reasons(retries: &BTreeMap<String, u64>) -> String {
    let mut known: Vec<_> = retries.iter().filter(|(code, _)| *code != "other").collect();
    known.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let known: Vec<_> =
        known.iter().map(|(code, count)| format!("{code} {}", grouped(**count))).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

/// `1 file`, `3 files`
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// `16 MiB`, by powers of 1024, as job files write sizes; exact.
pub(super) fn binary_size(size: u64) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if size > 0 && size.is_multiple_of(factor) {
            return format!("{} {unit}", size / factor);
        }
    }
    format!("{size} B")
}

/// `1,234,567`
pub(crate) fn grouped(number: u64) -> String {
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
pub(crate) fn bytes(amount: u64) -> String {
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
pub(crate) fn duration(milliseconds: u64) -> String {
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
        assert!(trouble("source", &[]).is_empty());
        assert!(trouble("source", &counts(0, 0)).is_empty());
        let words = "3 of 1,200 requests to the source were throttled";
        assert_eq!(trouble("source", &counts(3, 0)), [words]);
        let words = "1 connection to the target was broken";
        assert_eq!(trouble("target", &counts(0, 1)), [words]);
        let failed = [Count::new("requests", 322), Count::trouble("requests_failed", 1)];
        let words = "1 of 322 requests to the target failed and was retried";
        assert_eq!(trouble("target", &failed), [words]);
    }

    #[test]
    fn the_most_frequent_reason_is_first() {
        let retries = [("PG-40001", 1), ("PG-LOST", 20), ("other", 30)];
        let retries = retries.map(|(code, count)| (code.to_owned(), count)).into();
        assert_eq!(reasons(&retries), " (PG-LOST 20, PG-40001 1)");
        assert_eq!(reasons(&BTreeMap::new()), "");
    }

    #[test]
    fn rows_add_up_also_if_they_are_not_kept() {
        let kept =
            |read, inserted, dirty| Counters { read, inserted, dirty, ..Counters::default() };
        assert_eq!(rows(0, &kept(0, 0, 0), 0, 0), "0 read");
        assert_eq!(
            rows(50_000, &kept(50_000, 49_960, 40), 40, 0),
            "50,000 read = 49,960 inserted + 40 dirty"
        );
        assert_eq!(
            rows(50_000, &kept(0, 0, 0), 8_192, 0),
            "50,000 read, none kept: 8,192 refused, and their chunk was rolled back"
        );
        assert_eq!(rows(9, &kept(0, 0, 0), 0, 0), "9 read, none kept: rolled back");
        assert_eq!(rows(9, &kept(0, 0, 0), 0, 5), "9 read, none kept: 5 staged and not published");
        assert_eq!(
            rows(180_000, &kept(114_688, 114_688, 0), 1, 0),
            "180,000 read = 114,688 inserted + 65,312 not kept (1 refused, and their chunk was \
             rolled back)"
        );
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(12_345_678), "12.3 MB");
        assert_eq!(binary_size(16 << 20), "16 MiB");
        assert_eq!(binary_size(1_000), "1000 B");
        assert_eq!(duration(420), "0.42 s");
        assert_eq!(duration(245_000), "4 min 05 s");
    }
}
