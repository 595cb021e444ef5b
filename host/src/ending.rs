//! How the process ends. [`end`] is the only way that counts as the host's own: an `exit` in a
//! plugin and a stop that a plugin ignores end here with a report and a code that is never success.

use std::{
    sync::OnceLock,
    thread::{self, ThreadId},
    time::Duration,
};

use parking_lot::Mutex;
use transload_plugin_api::code;

use crate::{Error, Exit, contract::Call, process};

/// Writes and prints what is known about an end that comes early.
type Report = Box<dyn FnOnce(Error) + Send>;

struct State {
    /// The thread that ends the process.
    owner: Option<ThreadId>,
    report: Option<Report>,
}

static STATE: Mutex<State> = Mutex::new(State { owner: None, report: None });

/// The run in progress that another process can continue.
static RESUMABLE: OnceLock<String> = OnceLock::new();

/// From now on, every end of the process is reported. Called once, before a library is loaded.
pub(crate) fn watch() {
    process::at_exit(foreign_exit);
    process::describe_crashes(|print| {
        if !Call::describe_crash(print) {
            return;
        }
        if let Some(run) = RESUMABLE.get() {
            print("  hint: continue the run: transload resume ");
            print(run);
            print("\n");
        }
    });
}

/// From now on, the run of this id can be continued by another process.
pub(crate) fn resumable(run: &str) {
    // There is one run in a process.
    let _ = RESUMABLE.set(run.to_owned());
}

/// Reports an early end in this way, in place of an earlier one.
pub(crate) fn report_by(report: impl FnOnce(Error) + Send + 'static) {
    STATE.lock().report = Some(Box::new(report));
}

/// This thread ends the process. Waits indefinitely if another one does already.
pub(crate) fn claim() {
    let this = thread::current().id();
    if *STATE.lock().owner.get_or_insert(this) != this {
        loop {
            thread::park();
        }
    }
}

/// Ends the process with the code of a command.
pub(crate) fn end(code: u8) -> ! {
    claim();
    process::end(code)
}

/// Ends the process without waiting for what runs in it.
pub(crate) fn end_early(error: Error) -> ! {
    claim();
    let exit = error.exit;
    let report = STATE.lock().report.take();
    if let Some(report) = report {
        report(error);
    }
    process::end(exit as u8)
}

/// Ends the process early if it has not ended after this time.
pub(crate) fn end_after(time: Duration, error: impl FnOnce() -> Error + Send + 'static) {
    let wait = move || {
        thread::sleep(time);
        end_early(error())
    };
    // Without a thread the signal works as before: a second one ends the process.
    let _ = thread::Builder::new().name("deadline".into()).spawn(wait);
}

/// The hook for `exit`, which [`end`] does not call.
extern "C" fn foreign_exit() {
    let culprit = Call::culprit();
    // A thread of its own: this one may have lost its thread-locals.
    let reporting = thread::Builder::new().name("ending".into()).spawn(move || {
        let error = Error::new(Exit::Plugin, format!("{culprit} ended the process with `exit`"));
        end_early(
            error
                .code(code::PLUGIN_EXIT)
                .hint("this is a defect in the plugin: report it to its author"),
        )
    });
    if let Ok(reporting) = reporting {
        let _ = reporting.join();
    }
    process::end(Exit::Plugin as u8)
}
