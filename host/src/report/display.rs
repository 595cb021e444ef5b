//! Shows progress during a run: a bar on a terminal, lines elsewhere, JSON lines or nothing on
//! request; always on stderr. What a line says is left to `status`.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::status::{Status, waiting};
use crate::{
    engine::Progress,
    escape,
    job::Redactor,
    terminal::{Look, draw_below, write_stderr},
};

/// Columns of the bar itself, at least.
const BAR: usize = 12;
/// What is shown where the terminal does not say how wide it is.
const WIDTH: usize = 80;
/// How often the display is updated before the run begins.
const TICK: Duration = Duration::from_millis(100);
/// How long a step before the run takes until it is shown.
const SLOW: Duration = Duration::from_secs(1);

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
pub(crate) struct Display {
    job: String,
    look: Look,
    redactor: Redactor,
    form: Form,
}

enum Form {
    /// A bar that is redrawn.
    Bar(ProgressBar),
    /// A line of text or JSON at intervals.
    Lines {
        is_json: bool,
        /// When the next line is due.
        next: Instant,
        every: Duration,
    },
    Nothing,
}

impl Display {
    /// A display in the given mode.
    pub(crate) fn new(mode: ProgressMode, job: &str, look: Look, redactor: Redactor) -> Self {
        let lines = |is_json, seconds| {
            let every = Duration::from_secs(seconds);
            Form::Lines { is_json, next: Instant::now() + every, every }
        };
        let form = match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => Form::Bar(bar()),
            ProgressMode::Auto | ProgressMode::Plain => lines(false, 5),
            ProgressMode::Bar => Form::Bar(bar()),
            ProgressMode::Json => lines(true, 1),
            ProgressMode::None => Form::Nothing,
        };
        Self { job: job.to_owned(), look, redactor, form }
    }

    /// Says as JSON, if that was requested, that the run begins.
    pub(crate) fn begin(&self, start: &serde_json::Value) {
        if matches!(self.form, Form::Lines { is_json: true, .. }) {
            write_stderr(&(self.redactor.redact(&start.to_string()).into_owned() + "\n"));
        }
    }

    /// Shows the current counts. Call it often: it prints only when a line is due.
    pub(crate) fn show(&mut self, progress: &Progress) {
        let line = match &mut self.form {
            Form::Bar(bar) => return show_bar(bar, &self.job, self.look, &self.redactor, progress),
            Form::Lines { is_json, next, every } if Instant::now() >= *next => {
                *next = Instant::now() + *every;
                match is_json {
                    true => Status::of(progress).json().to_string(),
                    false => format!("{}: {}", self.job, Status::of(progress).line(usize::MAX)),
                }
            }
            Form::Lines { .. } | Form::Nothing => return,
        };
        write_stderr(&(self.redactor.redact(&line).into_owned() + "\n"));
    }

    /// Clears what was drawn, before the summary.
    pub(crate) fn end(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
            draw_below(None);
        }
    }
}

/// A bar without a length: the length is known when every split knows its rows or bytes.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    draw_below(Some(bar.clone()));
    bar
}

/// Updates the bar; the text beside it leaves it room.
fn show_bar(bar: &ProgressBar, job: &str, look: Look, redactor: &Redactor, progress: &Progress) {
    let status = Status::of(progress);
    let colours = if look.colour { ":.cyan/blue" } else { "" };
    let (template, taken) = match status.done {
        Some(_) => (format!("{{prefix}} {{wide_bar{colours}}} {{msg}}"), BAR + 2),
        None => ("{prefix} {spinner} {msg}".to_owned(), 3),
    };
    if let Some((done, all)) = status.done {
        bar.set_length(all);
        bar.set_position(done.min(all));
    }
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    let width = look.width.unwrap_or(WIDTH);
    let name = shortened(job, width / 4);
    let room = width.saturating_sub(taken + unicode_width::UnicodeWidthStr::width(&*name) + 1);
    bar.set_prefix(name);
    let line = redactor.redact(&status.line(room)).into_owned();
    bar.set_message(escape::line(&line).into_owned());
    bar.tick();
}

/// The text, cut to at most `room` columns.
pub(super) fn shortened(text: &str, room: usize) -> String {
    use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
    if text.width() <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(3);
    let fits = |c: &char| {
        let width = c.width().unwrap_or(1);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).collect::<String>() + "..."
}

/// Shows on a terminal what a command does before anything else can be shown, if that takes longer
/// than a second: connecting, looking at the target. Ends when it is dropped.
pub(crate) struct Activity {
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Activity {
    /// Shows what `words` say at the moment, in the given mode: on a terminal at once, in lines every
    /// few seconds.
    pub(crate) fn following(
        words: impl Fn() -> String + Send + 'static,
        mode: ProgressMode,
        look: Look,
        redactor: &Redactor,
    ) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let is_bar = match mode {
            ProgressMode::None => return Self { ended, thread: None },
            ProgressMode::Auto => std::io::stderr().is_terminal(),
            mode => mode == ProgressMode::Bar,
        };
        let every = Duration::from_secs(if mode == ProgressMode::Json { 1 } else { 5 });
        let (redactor, end) = (redactor.clone(), ended.clone());
        let show = move || match is_bar {
            true => show_activity(words, look, &redactor, &end),
            false => print_activity(words, every, &redactor, &end),
        };
        let thread = thread::Builder::new().name("activity".into()).spawn(show).ok();
        Self { ended, thread }
    }

    /// Shows `doing`, such as `planning`, and what is waited for.
    pub(crate) fn begin(doing: &str, look: Look, redactor: &Redactor, is_shown: bool) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        if !is_shown || !std::io::stderr().is_terminal() {
            return Self { ended, thread: None };
        }
        let (doing, redactor, end) = (doing.to_owned(), redactor.clone(), ended.clone());
        let show = move || show_activity(|| doing.clone(), look, &redactor, &end);
        // Without the thread nothing is shown, which is no failure.
        let thread = thread::Builder::new().name("activity".into()).spawn(show).ok();
        Self { ended, thread }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        // Relaxed: publishes nothing.
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Prints a line at intervals.
fn print_activity(
    words: impl Fn() -> String,
    every: Duration,
    redactor: &Redactor,
    ended: &AtomicBool,
) {
    let mut next = Instant::now() + every;
    while !ended.load(Relaxed) {
        if Instant::now() >= next {
            next += every;
            write_stderr(&(redactor.redact(&words()).into_owned() + "\n"));
        }
        thread::park_timeout(TICK);
    }
}

fn show_activity(words: impl Fn() -> String, look: Look, redactor: &Redactor, ended: &AtomicBool) {
    let begun = Instant::now();
    let mut drawn = None;
    while !ended.load(Relaxed) {
        if begun.elapsed() >= SLOW {
            let bar = drawn.get_or_insert_with(bar);
            let wait = waiting().map(|wait| format!(": {wait}")).unwrap_or_default();
            let text = redactor.redact(&format!("{}{wait}", words())).into_owned();
            let width = look.width.unwrap_or(WIDTH);
            bar.set_message(shortened(&escape::line(&text), width.saturating_sub(3)));
            bar.tick();
        }
        thread::park_timeout(TICK);
    }
    if let Some(bar) = drawn {
        bar.finish_and_clear();
        draw_below(None);
    }
}
