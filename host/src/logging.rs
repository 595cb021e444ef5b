//! Writes log events to stderr, as text or JSON, with every known secret redacted. Which levels are
//! written follows from `-q`, `-v` and `--log`.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
};

use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    field::Visit,
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format, time::FormatTime},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    Error, Exit, Result,
    cli::{Global, OutputFormat},
    job::Redactor,
    report::{Page, Style},
    terminal::{Look, write_stderr},
};

/// Starts logging for the process.
///
/// # Errors
/// If the filter cannot be parsed.
pub(crate) fn start(global: &Global, look: Look, redactor: &Redactor) -> Result<()> {
    let wanted = global.log.clone().or_else(|| verbosity(global).map(str::to_owned));
    let wanted = wanted.or_else(|| std::env::var("TRANSLOAD_LOG").ok());
    let wanted = wanted.unwrap_or_else(|| "warn".to_owned());
    let filter: Targets = wanted.parse().map_err(|error| {
        Error::new(Exit::Usage, format!("log filter `{wanted}`: {error}"))
            .hint("examples: info, debug, transload=debug, plugin=trace")
    })?;
    let form = global.log_format;
    let writer = Redacted { redactor: redactor.clone(), form, look };
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE) // the filter decides
        .with_ansi(false) // colours are set when secrets are redacted
        .with_timer(Clock { is_short: io::stderr().is_terminal() && form == OutputFormat::Text })
        .with_writer(writer);
    match form {
        OutputFormat::Text => {
            let clock = Clock { is_short: io::stderr().is_terminal() };
            builder.event_format(OneLine(clock)).finish().with(filter).init();
        }
        OutputFormat::Json => builder.json().finish().with(filter).init(),
    }
    Ok(())
}

/// The filter of `-q`, `-v` and `-vv`.
fn verbosity(global: &Global) -> Option<&'static str> {
    match (global.quiet, global.verbose) {
        (true, _) => Some("error"),
        (false, 0) => None,
        (false, 1) => Some("info"),
        (false, 2) => Some("debug"),
        (false, _) => Some("trace"),
    }
}

/// Local time with its offset; on a terminal, where the day is known, without the day.
struct Clock {
    is_short: bool,
}

impl FormatTime for Clock {
    fn format_time(&self, w: &mut format::Writer<'_>) -> fmt::Result {
        let form = if self.is_short { "%H:%M:%S%.3f" } else { "%Y-%m-%dT%H:%M:%S%.3f%:z" };
        write!(w, "{}", jiff::Zoned::now().strftime(form))
    }
}

/// `14:02:11.482 INFO postgres: message (key=value)`
struct OneLine(Clock);

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut words = Words::default();
        event.record(&mut words);
        self.0.format_time(&mut writer)?;
        let Words { plugin, message, fields } = words;
        let plugin = if plugin.is_empty() { plugin } else { format!("{plugin}: ") };
        let fields = if fields.is_empty() { fields } else { format!(" ({fields})") };
        writeln!(writer, " {} {plugin}{message}{fields}", event.metadata().level())
    }
}

/// The parts of an event.
#[derive(Default)]
struct Words {
    plugin: String,
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "plugin" => value.clone_into(&mut self.plugin),
            "message" => value.clone_into(&mut self.message),
            "module" => {} // for JSON
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
            return;
        }
        let comma = if self.fields.is_empty() { "" } else { ", " };
        // Writing into a String cannot fail.
        let _ = write!(self.fields, "{comma}{}={value:?}", field.name());
    }
}

/// Makes a writer for each event.
struct Redacted {
    redactor: Redactor,
    form: OutputFormat,
    look: Look,
}

/// One event. It is written as a whole when it is complete, so that buffering never splits a secret.
struct Line<'a> {
    of: &'a Redacted,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Redacted {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { of: self, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = self.of.redactor.redact(&text);
        match self.of.form {
            OutputFormat::Json => write_stderr(&text),
            OutputFormat::Text => {
                let mut page = Page::new(self.of.look, self.of.redactor.clone());
                event(&mut page, text.trim_end());
                write_stderr(&(page.finish() + "\n"));
            }
        }
    }
}

/// One event as text, its level in colour.
fn event(page: &mut Page, text: &str) {
    let (head, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (level, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let style = match level.parse() {
        Ok(Level::ERROR) => Style::Bad,
        Ok(Level::WARN) => Style::Warning,
        _ => Style::Label,
    };
    page.led(0, (style, &format!("{head} {level} ")), &rest.replace('\n', " "));
}
