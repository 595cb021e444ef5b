//! Keeps the job's session in use while nothing else does: it holds the lock on the target, and some
//! servers notice the death of a client by its silence alone. They end the session after a short silence,
//! and a thread uses it in time. A machine that has died does not.

use std::{
    sync::{
        Arc, Weak,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{Session, run::Run};

/// The thread, which ends when this is dropped.
pub(crate) struct Keeper {
    _end: Sender<()>,
}

impl Keeper {
    /// Keeps the session of `run`, whichever it is at the time, in use. Without a thread there is
    /// none to lose the lock for.
    pub(crate) fn start<S: Session + 'static>(run: &Arc<Mutex<Run<S>>>, every: Duration) -> Self {
        let ((end, ended), run) = (channel::<()>(), Arc::downgrade(run));
        let keep = move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) && keep_alive(&run) {}
        };
        if let Err(error) = thread::Builder::new().name("keeper".into()).spawn(keep) {
            tracing::warn!("the lock on the target may end before the run: {error}");
        }
        Self { _end: end }
    }
}

/// Uses the session once. `false` once the writer is gone.
fn keep_alive<S: Session>(run: &Weak<Mutex<Run<S>>>) -> bool {
    let Some(run) = run.upgrade() else { return false };
    // A session that is being used is not silent.
    if let Some(mut run) = run.try_lock()
        && let Some(job) = &mut run.session
        && let Err(error) = job.session.rows("keep the lock on the target", "SELECT 1")
    {
        tracing::debug!("the job's session is lost: {error}");
        run.session = None;
    }
    true
}
