//! SIGINT and SIGTERM: the first one stops the run, the second one ends the process.

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Error, Exit, Result,
    engine::{Stop, StopReason},
};

/// Listens on a thread of its own, for as long as the process lives.
///
/// # Errors
/// If the system refuses the thread or the handlers.
pub(crate) fn listen(stop: Stop) -> Result<()> {
    let refused = |error: std::io::Error| Error::new(Exit::Failed, format!("no signals: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(refused)?;
    // Registered before the thread starts: a signal that comes at once is not missed.
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, Error>((
            signal(SignalKind::interrupt()).map_err(refused)?,
            signal(SignalKind::terminate()).map_err(refused)?,
        ))
    })?;
    let listening = move || {
        runtime.block_on(async {
            loop {
                let reason = tokio::select! {
                    _ = interrupt.recv() => StopReason::Interrupt,
                    _ = terminate.recv() => StopReason::Terminate,
                };
                if stop.is_stopped() {
                    let exit = match reason {
                        StopReason::Interrupt => Exit::Interrupted,
                        StopReason::Terminate => Exit::Terminated,
                    };
                    std::process::exit(exit as i32);
                }
                tracing::warn!(
                    "stopping: what is not committed is rolled back; once more ends at once"
                );
                stop.request(reason);
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(listening).map_err(refused)?;
    Ok(())
}
