//! A library has its own `tracing` statics and its own panic hook, so both are forwarded: every
//! event and every panic of the plugin reaches the host's log. A plugin that is linked natively
//! has nothing installed, because only the host's `connect_log` call installs it. Formatting and
//! filtering are left to the host.

use std::{
    backtrace::Backtrace,
    fmt, panic,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use abi_stable::{prefix_type::WithMetadata, std_types::RStr};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use super::{
    guard::{catch, is_expected, message_of, note_panic},
    module::{FfiLog, LogVtable, LogVtableRef},
};

/// One event of a plugin. It borrows from the plugin's memory: a sink copies what it keeps.
#[derive(Clone, Copy, Debug)]
pub struct LogEvent<'a> {
    /// Its severity.
    pub level: Level,
    /// The plugin's module, or the target that the event names.
    pub target: &'a str,
    /// Its message.
    pub message: &'a str,
    /// The event's other fields, as the text of a JSON object.
    pub fields: &'a str,
}

/// Where the host receives a plugin's events. Called from the plugin's threads, several at once;
/// it must not call the plugin, and a panic in it is ignored.
pub trait LogSink: Send + Sync {
    /// Whether such events are wanted now. Called before each event, so it must be cheap.
    fn enabled(&self, level: Level, target: &str) -> bool;

    /// Receives one event.
    fn event(&self, event: LogEvent<'_>);
}

/// The level behind a number that crossed; numbers of a newer side are `TRACE`.
fn level_from(number: u32) -> Level {
    match number {
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

/// A level as the number that crosses.
fn level_number(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

// ------------------------------------------------------------------------------ the host's side

type Sink = Arc<dyn LogSink>;

/// A sink as the handle that crosses, for the life of the process.
pub(super) fn export(sink: Sink) -> FfiLog {
    FfiLog { data: Box::into_raw(Box::new(sink)).cast(), vtable: VTABLE }
}

const VTABLE: LogVtableRef = {
    const TABLE: &WithMetadata<LogVtable> = &WithMetadata::new(LogVtable { drop, enabled, event });
    LogVtableRef(TABLE.static_as_prefix())
};

unsafe extern "C" fn drop(data: *mut ()) {
    // SAFETY: `data` is from `export` and dropped once, by the handle.
    let sink = unsafe { Box::from_raw(data.cast::<Sink>()) };
    quietly(|| std::mem::drop(sink));
}

unsafe extern "C" fn enabled(data: *const (), level: u32, target: RStr<'_>) -> bool {
    // SAFETY: `data` is from `export`, alive as long as the handle.
    let sink = unsafe { &*data.cast::<Sink>() };
    let mut wanted = false;
    quietly(|| wanted = sink.enabled(level_from(level), target.as_str()));
    wanted
}

unsafe extern "C" fn event(
    data: *const (),
    level: u32,
    target: RStr<'_>,
    message: RStr<'_>,
    fields: RStr<'_>,
) {
    // SAFETY: as above.
    let sink = unsafe { &*data.cast::<Sink>() };
    let (target, message, fields) = (target.as_str(), message.as_str(), fields.as_str());
    quietly(|| sink.event(LogEvent { level: level_from(level), target, message, fields }));
}

/// Runs a call of the log and drops its panic: a log that panics has nowhere to report it.
fn quietly(call: impl FnOnce()) {
    let _ = catch("log", || {
        call();
        Ok(())
    });
}

// ---------------------------------------------------------------------------- the plugin's side

static LOG: OnceLock<FfiLog> = OnceLock::new();

/// Sends this library's events and panics to the host's log. The root module's `connect_log`; a
/// second call is ignored.
pub(super) extern "C" fn connect(log: FfiLog) {
    quietly(|| {
        if LOG.set(log).is_err() {
            return;
        }
        panic::set_hook(Box::new(forward_panic));
        // Refused only if the plugin has set a subscriber of its own, which is then its choice.
        let _ = tracing::subscriber::set_global_default(Forward::default());
    });
}

/// Sends one event, if the log is connected.
fn send(level: Level, target: &str, message: &str, fields: &str) {
    if let Some(log) = LOG.get() {
        let [target, message, fields] = [target, message, fields].map(RStr::from_str);
        // SAFETY: the handle lives in a static; its functions belong to its data.
        unsafe { log.vtable.event()(log.data, level_number(level), target, message, fields) }
    }
}

/// The panic hook: logs the panic with its location and, if `RUST_BACKTRACE` asks for it, its
/// backtrace, and records the location for the error that the guard makes. A panic that the plugin
/// expects is logged for developers only.
fn forward_panic(info: &panic::PanicHookInfo<'_>) {
    let location = info.location().map_or_else(|| "unknown place".to_owned(), place_of);
    let message = message_of(info.payload());
    let thread = std::thread::current();
    let mut fields = Map::new();
    fields.insert("location".to_owned(), location.clone().into());
    fields.insert("thread".to_owned(), thread.name().unwrap_or("unnamed").into());
    let backtrace = Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        fields.insert("backtrace".to_owned(), backtrace.to_string().into());
    }
    note_panic(location.clone());
    let message = format!("panicked at {location}: {message}");
    let level = if is_expected() { Level::DEBUG } else { Level::ERROR };
    send(level, "panic", &message, &Value::Object(fields).to_string());
}

/// The place of a panic without the folders of the machine that built the library: the crate's name, the
/// path in it, line and column.
fn place_of(location: &panic::Location<'_>) -> String {
    let file = location.file();
    let of_crate = file.rfind("/src/").map_or(file.len(), |at| at);
    let start = file[..of_crate].rfind('/').filter(|_| file.starts_with('/'));
    let file = &file[start.map_or(0, |at| at + 1)..];
    format!("{file}:{}:{}", location.line(), location.column())
}

/// The subscriber of this library: forwards events; spans are only numbered.
#[derive(Default)]
struct Forward {
    spans: AtomicU64,
}

impl Subscriber for Forward {
    /// Not cached: the host's level may change while it runs.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        LOG.get().is_some_and(|log| {
            let target = RStr::from_str(metadata.target());
            // SAFETY: the handle lives in a static; its functions belong to its data.
            unsafe { log.vtable.enabled()(log.data, level_number(*metadata.level()), target) }
        })
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        // Relaxed: only the numbers must differ.
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut visitor = FieldVisitor::default();
        event.record(&mut visitor);
        let metadata = event.metadata();
        let fields = Value::Object(visitor.fields).to_string();
        send(*metadata.level(), metadata.target(), &visitor.message, &fields);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message apart, all other fields as JSON.
#[derive(Default)]
struct FieldVisitor {
    message: String,
    fields: Map<String, Value>,
}

impl FieldVisitor {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for FieldVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
