//! SIGINT and SIGTERM: the first one stops the run, the second one ends the process at once.
//! What a stop does is left to `engine::stop`.

use std::{io, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    Error, Exit, Result,
    engine::{Stop, StopReason},
};

/// Listens on a thread of its own, for as long as the process lives.
///
/// # Errors
/// If the system refuses the handlers or the thread.
pub(crate) fn listen(stop: Stop) -> Result<()> {
    let failed =
        |what: &str, error: io::Error| Error::new(Exit::Failed, format!("cannot {what}: {error}"));
    // Registered before the thread starts, so that an early signal is not missed.
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| failed("install the signal handlers", error))?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || signals.forever().for_each(|signal| receive(signal, &stop)))
        .map_err(|error| failed("start the signal thread", error))?;
    Ok(())
}

/// Requests a stop; exits if one was requested before.
fn receive(signal: i32, stop: &Stop) {
    let (reason, exit) = match signal {
        SIGTERM => (StopReason::Terminate, Exit::Terminated),
        _ => (StopReason::Interrupt, Exit::Interrupted),
    };
    if stop.is_stopped() {
        std::process::exit(exit as i32);
    }
    tracing::warn!("stopping: uncommitted rows are rolled back; a second signal exits at once");
    stop.request(reason);
}
