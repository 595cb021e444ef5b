//! SIGINT and SIGTERM: the first one stops the run, and ends the process after a while if a plugin
//! does not return; the second one ends it at once. What a stop does is left to `engine::stop`.

use std::{io, thread, time::Duration};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use transload_plugin_api::code;

use crate::{
    Error, Exit, Result,
    contract::Call,
    ending,
    engine::{Stop, StopReason},
    process,
};

/// Listens on a thread of its own, for as long as the process lives. `grace` is the time that a
/// stop may take.
///
/// # Errors
/// If the system refuses the handlers or the thread.
pub(crate) fn listen(stop: Stop, grace: Duration) -> Result<()> {
    let failed =
        |what: &str, error: io::Error| Error::new(Exit::Failed, format!("cannot {what}: {error}"));
    // Registered before the thread starts, so that an early signal is not missed.
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| failed("install the signal handlers", error))?;
    process::keep_handlers();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || signals.forever().for_each(|signal| receive(signal, &stop, grace)))
        .map_err(|error| failed("start the signal thread", error))?;
    Ok(())
}

/// Requests a stop; exits if one was requested before.
fn receive(signal: i32, stop: &Stop, grace: Duration) {
    let (reason, exit) = match signal {
        SIGTERM => (StopReason::Terminate, Exit::Terminated),
        _ => (StopReason::Interrupt, Exit::Interrupted),
    };
    if stop.is_requested() {
        ending::end_after(Duration::ZERO, move || unfinished(exit, "when a second signal came"));
        // For a report that cannot be written.
        thread::sleep(Duration::from_secs(1));
        process::end(exit as u8);
    }
    let again = if signal == SIGTERM { "send the signal" } else { "press Ctrl-C" };
    tracing::warn!("rolling back uncommitted rows; {again} again to quit now");
    ending::end_after(grace, move || unfinished(exit, &format!("within {grace:?}")));
    stop.request(reason);
}

/// The error of a stop that took too long, with the calls that have not returned.
fn unfinished(exit: Exit, when: &str) -> Error {
    let mut calls: Vec<_> = Call::active().iter().map(ToString::to_string).collect();
    calls.sort();
    calls.dedup(); // several tasks wait in the same function
    let who = if calls.is_empty() { "the program".to_owned() } else { calls.join(", ") };
    let message = format!("stopped by a signal; {who} had not ended {when}");
    Error::new(exit, message)
        .code(code::RUN_STOP)
        .hint("uncommitted rows are rolled back by the store; the next run removes what was staged")
}
