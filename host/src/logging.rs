//! Writes log events to stderr, as text or JSON, with every known secret redacted.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    Error, Exit, Result,
    cli::{Global, OutputFormat},
    escape,
    job::Redactor,
};

/// Starts logging for the process.
///
/// # Errors
/// If the filter cannot be parsed.
pub(crate) fn start(global: &Global, redactor: &Redactor) -> Result<()> {
    let wanted = global.log.clone().or_else(|| std::env::var("TRANSLOAD_LOG").ok());
    let wanted = wanted.unwrap_or_else(|| "warn".to_owned());
    let filter: Targets = wanted.parse().map_err(|error| {
        Error::new(Exit::Usage, format!("log filter `{wanted}`: {error}"))
            .hint("examples: info, debug, transload=debug, plugin=trace")
    })?;
    let form = global.log_format;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE) // the filter decides
        .with_ansi(colour)
        .with_writer(Redacted { redactor: redactor.clone(), form, colour });
    match form {
        OutputFormat::Text => builder.with_target(false).finish().with(filter).init(),
        OutputFormat::Json => builder.json().finish().with(filter).init(),
    }
    Ok(())
}

/// Makes a writer for each event.
struct Redacted {
    redactor: Redactor,
    form: OutputFormat,
    colour: bool,
}

/// One event. It is written as a whole when it is complete, so that buffering never splits a secret.
struct Line<'a> {
    redactor: &'a Redactor,
    form: OutputFormat,
    colour: bool,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Redacted {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { redactor: &self.redactor, form: self.form, colour: self.colour, bytes: Vec::new() }
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
        let text = self.redactor.redact(&text);
        let text = match (self.form, self.colour) {
            (OutputFormat::Json, _) => text,
            // The colours are the program's own: those of messages are escaped when they are formatted.
            (OutputFormat::Text, true) => escape::coloured(&text),
            (OutputFormat::Text, false) => escape::lines(&text),
        };
        // A closed stderr must not end the run.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
