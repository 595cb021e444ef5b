//! How far one run has come in this process. What happens in each state is decided by `writer`.

use crate::token::{Phase, RunToken};

/// The state of a run. A process that joins a run (a resume, a commit elsewhere) begins at
/// [`RunState::Unprepared`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RunState {
    /// Not prepared by this process; another one may have prepared and published it.
    #[default]
    Unprepared,
    /// The target is locked, `before` statements have run, the stage is made: tasks write.
    Prepared,
    /// The reply to publishing was lost: the rows may or may not be in the target.
    Uncertain,
    /// The rows are in the target, and `after` statements up to this one have run.
    Published {
        /// How many `after` statements have run.
        after: usize,
    },
    /// All of it is done.
    Committed,
}

/// One run as this process knows it.
pub(crate) struct Run<S> {
    /// The plan's run id; empty before the first run.
    pub(crate) id: String,
    pub(crate) state: RunState,
    /// This run has created the target.
    pub(crate) created: bool,
    /// The lock on the target was held once, and may be held still by a session that was lost.
    pub(crate) was_locked: bool,
    /// The job's own session, which holds the lock on the target.
    pub(crate) session: Option<JobSession<S>>,
    /// The run's row in the store, if the plan asks for tokens and this process has taken it.
    pub(crate) token: Option<RunToken>,
}

/// The job's own session. The lock ends with it.
pub(crate) struct JobSession<S> {
    pub(crate) session: S,
    pub(crate) locked: bool,
}

impl<S> Run<S> {
    /// The store says that tasks may have begun to write.
    pub(crate) fn is_writing(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.phase == Phase::Writing)
    }

    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: RunState::Unprepared,
            created: false,
            was_locked: false,
            session: None,
            token: None,
        }
    }
}
