//! Writes a plugin's events to the host's log: target `plugin`, with the plugin's name as a field.

use std::borrow::Cow;

use tracing::Level;
use transload_plugin_api::abi::{LogEvent, LogSink};

use crate::escape;

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

/// A text of an event in one line, of at most some kB.
fn log_text(text: &str) -> Cow<'_, str> {
    let end = text.floor_char_boundary(BYTES);
    let cut = &text[..end];
    match (escape::line(cut), text.len() - end) {
        (line, 0) => line,
        (line, more) => format!("{line}... ({more} bytes more)").into(),
    }
}

impl LogSink for PluginLog {
    fn enabled(&self, level: Level, _target: &str) -> bool {
        at_level!(level, enabled!(plugin, module, fields, message))
    }

    fn event(&self, event: LogEvent<'_>) {
        let LogEvent { level, target, message, fields } = event;
        let [target, message, fields] = [target, message, fields].map(log_text);
        let (target, message, fields) = (&*target, &*message, &*fields);
        let plugin = self.name.as_str();
        let fields = if fields == "{}" { None } else { Some(fields) };
        at_level!(level, event!(plugin, module = target, fields, "{message}"));
    }
}
