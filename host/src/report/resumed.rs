//! Where a run continued that was begun by an earlier process.

use serde::Serialize;
use transload_plugin_api::Counters;

use super::summary::plural;
use crate::journal::Past;

/// Where a run continued, as its journal knows it. The target may have kept more.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Resumed {
    /// How often the run has been resumed, this time included.
    pub(crate) times: u64,
    /// When the run began.
    pub(crate) begun: String,
    /// Rows of chunks that were committed before.
    pub(crate) rows: Counters,
    /// Tasks that had finished before.
    pub(crate) tasks_finished: u64,
    /// All tasks.
    pub(crate) tasks: u64,
}

impl Resumed {
    pub(crate) fn new(past: &Past) -> Self {
        Self {
            times: past.resumed + 1,
            begun: past.run.started.clone(),
            rows: past.counters(),
            tasks_finished: past.starts.iter().filter(|start| start.receipt.is_some()).count()
                as u64,
            tasks: past.starts.len() as u64,
        }
    }

    /// `behind 120,000 rows (1 of 4 tasks had finished); begun at 2026-11-30T02:15:00.123+01:00`
    pub(super) fn words(&self) -> String {
        let Self { begun, rows, tasks_finished, tasks, .. } = self;
        let rows = plural(rows.read, "row", "rows");
        format!("behind {rows} ({tasks_finished} of {tasks} tasks had finished); begun at {begun}")
    }
}
