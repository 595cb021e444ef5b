//! Shows progress during a run: a bar on a terminal, lines elsewhere, JSON lines or nothing on
//! request. Always on stderr.

use std::{
    io::{IsTerminal, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::summary::{bytes, duration, grouped};
use crate::engine::Progress;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// A line every few seconds.
    Plain,
    /// A JSON line every second.
    Json,
    /// Nothing.
    None,
}

/// Shows the progress of one run.
pub(crate) enum Display {
    /// A bar that is redrawn.
    Bar(ProgressBar),
    /// A line of text or JSON at intervals.
    Lines {
        /// JSON instead of text.
        json: bool,
        /// When the next line is due.
        next: Instant,
        /// The interval.
        every: Duration,
    },
    /// Nothing.
    Nothing,
}

impl Display {
    /// A display in the given mode.
    pub(crate) fn new(mode: ProgressMode) -> Self {
        let lines = |json, seconds| {
            let every = Duration::from_secs(seconds);
            Self::Lines { json, next: Instant::now() + every, every }
        };
        match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => Self::bar(),
            ProgressMode::Auto | ProgressMode::Plain => lines(false, 5),
            ProgressMode::Bar => Self::bar(),
            ProgressMode::Json => lines(true, 1),
            ProgressMode::None => Self::Nothing,
        }
    }

    /// A bar without a length: the length is known when every split knows its rows or bytes.
    fn bar() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        Self::Bar(bar)
    }

    /// Shows the current counts. Call it often: it prints only when a line is due.
    pub(crate) fn show(&mut self, progress: &Progress) {
        match self {
            Self::Bar(bar) => show_bar(bar, progress),
            Self::Lines { json, next, every } if Instant::now() >= *next => {
                *next = Instant::now() + *every;
                let line = if *json { json_line(progress) } else { text_line(progress) };
                // A closed stderr must not end the run.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            Self::Lines { .. } | Self::Nothing => {}
        }
    }

    /// Clears what was drawn, before the summary.
    pub(crate) fn end(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Updates the bar by bytes if their number is known, else by rows.
fn show_bar(bar: &ProgressBar, progress: &Progress) {
    let expected = progress.expected_bytes().map(|all| (progress.bytes_read(), all));
    let expected = expected.or(progress.expected_rows().map(|all| (progress.rows_read(), all)));
    let template = match expected {
        Some(_) => "{wide_bar:.cyan/blue} {percent}%  {msg}",
        None => "{spinner} {msg}",
    };
    if let Some((done, all)) = expected {
        bar.set_length(all);
        bar.set_position(done.min(all));
    }
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(text_line(progress));
    bar.tick();
}

/// The counts as one line.
fn text_line(progress: &Progress) -> String {
    let seconds = progress.elapsed().as_secs_f64().max(1e-3);
    let (ended, all) = progress.tasks_ended();
    let (rows, read) = (progress.rows_read(), progress.bytes_read());
    let dirty = match progress.committed().dirty {
        0 => String::new(),
        dirty => format!(", {} dirty", grouped(dirty)),
    };
    format!(
        "{} rows, {}, {} rows/s{dirty}, {ended} of {all} tasks done, {}",
        grouped(rows),
        bytes(read),
        grouped((rows as f64 / seconds) as u64),
        duration(progress.elapsed().as_millis() as u64)
    )
}

/// The counts as one JSON object.
fn json_line(progress: &Progress) -> String {
    let (tasks_ended, tasks) = progress.tasks_ended();
    serde_json::json!({
        "event": "progress",
        "elapsed_ms": progress.elapsed().as_millis() as u64,
        "rows_read": progress.rows_read(),
        "bytes_read": progress.bytes_read(),
        "expected_rows": progress.expected_rows(),
        "expected_bytes": progress.expected_bytes(),
        "committed": progress.committed(),
        "tasks_ended": tasks_ended,
        "tasks": tasks,
    })
    .to_string()
}
