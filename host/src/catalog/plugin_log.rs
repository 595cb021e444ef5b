//! Writes a plugin's events to the host's log: target `plugin`, with the plugin's name as a field.

use std::borrow::Cow;

use tracing::Level;
use transload_plugin_api::{
    WAITING,
    abi::{LogEvent, LogSink},
};

use crate::{escape, waits};

/// Longest text of an event, in bytes: a backtrace fits.
const BYTES: usize = 64 << 10;

/// Receives one plugin's events.
pub(super) struct PluginLog {
    name: String,
}

impl PluginLog {
    /// A log for the plugin of this name.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Begins or ends a wait. Returns whether that is to be logged.
    fn waits(&self, what: &str, fields: &str) -> bool {
        let fields: serde_json::Value = serde_json::from_str(fields).unwrap_or_default();
        let id = fields["id"].as_u64().unwrap_or_default();
        let has_ended = fields.get("ended").is_some();
        match has_ended {
            true => waits::end(&self.name, id),
            false => waits::begin(&self.name, id, &log_text(what)),
        }
        !has_ended && fields.get("quiet").is_none()
    }
}

/// tracing filters by call site, and a call site has one level, so there is one for each level.
macro_rules! at_level {
    ($level:expr, $macro:ident ! $arguments:tt) => {
        match $level {
            Level::ERROR => at_level!(@ $macro, Level::ERROR, $arguments),
            Level::WARN => at_level!(@ $macro, Level::WARN, $arguments),
            Level::INFO => at_level!(@ $macro, Level::INFO, $arguments),
            Level::DEBUG => at_level!(@ $macro, Level::DEBUG, $arguments),
            Level::TRACE => at_level!(@ $macro, Level::TRACE, $arguments),
        }
    };
    (@ $macro:ident, $level:expr, ($($argument:tt)*)) => {
        tracing::$macro!(target: "plugin", $level, $($argument)*)
    };
}

/// A text of an event in one line, of at most some kB. Statements often have several lines.
fn log_text(text: &str) -> Cow<'_, str> {
    let end = text.floor_char_boundary(BYTES);
    let cut = text[..end].replace('\n', " ");
    match (escape::line(&cut), text.len() - end) {
        (line, 0) => line.into_owned().into(),
        (line, more) => format!("{line}... ({more} bytes more)").into(),
    }
}

impl LogSink for PluginLog {
    fn enabled(&self, level: Level, target: &str) -> bool {
        target == WAITING || at_level!(level, enabled!(plugin, module, fields, message))
    }

    fn event(&self, event: LogEvent<'_>) {
        let LogEvent { level, target, message, mut fields } = event;
        if target == WAITING {
            if !self.waits(message, fields) {
                return;
            }
            fields = "{}";
        }
        let [target, message, fields] = [target, message, fields].map(log_text);
        let (target, message, fields) = (&*target, &*message, &*fields);
        let plugin = self.name.as_str();
        let fields = if fields == "{}" { None } else { Some(fields) };
        at_level!(level, event!(plugin, module = target, fields, "{message}"));
    }
}
