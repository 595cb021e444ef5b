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
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE) // the filter decides
        .with_ansi(colour)
        .with_writer(Redacted(redactor.clone()));
    match global.log_format {
        OutputFormat::Text => builder.with_target(false).finish().with(filter).init(),
        OutputFormat::Json => builder.json().finish().with(filter).init(),
    }
    Ok(())
}

/// Makes a writer for each event.
struct Redacted(Redactor);

/// One event. It is written as a whole when it is complete, so that buffering never splits a secret.
struct Line<'a> {
    redactor: &'a Redactor,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Redacted {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { redactor: &self.0, bytes: Vec::new() }
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
        // A closed stderr must not end the run.
        let _ = io::stderr().write_all(self.redactor.redact(&text).as_bytes());
    }
}
