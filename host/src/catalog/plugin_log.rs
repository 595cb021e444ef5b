//! Writes a plugin's events to the host's log: target `plugin`, with the plugin's name as a field.

use tracing::Level;
use transload_plugin_api::abi::{LogEvent, LogSink};

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

impl LogSink for PluginLog {
    fn enabled(&self, level: Level, _target: &str) -> bool {
        at_level!(level, enabled!(plugin, module, fields, message))
    }

    fn event(&self, event: LogEvent<'_>) {
        let LogEvent { level, target, message, fields } = event;
        let plugin = self.name.as_str();
        let fields = if fields == "{}" { None } else { Some(fields) };
        at_level!(level, event!(plugin, module = target, fields, "{message}"));
    }
}
