//! One attempt at a run: a process with its machines, its machine's files, and its sessions.

use transload_plugin_api::Counters;

use super::store::{Checkpoint, Transaction};
use crate::engine::protocol::{
    Before, Ended, Job, JobEffect, JobEvent, Known, Task, TaskEffect, TaskEvent,
};

/// What a state folder keeps of a run. Another machine has a copy of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    pub(super) before: Before,
    pub(super) tasks: Vec<FolderTask>,
}

/// One task in it.
#[derive(Clone, Debug, Default)]
pub(super) struct FolderTask {
    pub(super) known: Option<Known>,
    pub(super) at: Checkpoint,
    /// The rows in the dirty file.
    pub(super) dirty: Vec<u64>,
}

/// A process.
pub(super) struct Process {
    pub(super) job: Job,
    pub(super) effect: JobEffect,
    pub(super) tasks: Vec<Running>,
    pub(super) folder: Folder,
    pub(super) is_frozen: bool,
    /// The first failure, or a signal.
    pub(super) is_stopped: bool,
    pub(super) is_unknown: bool,
    pub(super) has_failed: bool,
}

/// One of its tasks.
pub(super) struct Running {
    pub(super) machine: Task,
    pub(super) effect: TaskEffect,
    pub(super) epoch: u64,
    /// The number that the next chunk must have at the writer.
    pub(super) chunk: u64,
    /// The session was ended by the server.
    pub(super) is_cut: bool,
    pub(super) open: Option<Transaction>,
    /// Rows read: up to which the reader is, and of each batch of the open chunk the range.
    pub(super) next: u64,
    /// Behind the last whole batch: where reading can continue.
    pub(super) position: u64,
    pub(super) batches: Vec<(u64, u64)>,
    /// Rows of the dirty file that belong to committed chunks.
    pub(super) kept: usize,
    pub(super) dirty: Vec<u64>,
    /// Files only: what this attempt has written.
    pub(super) stage: Vec<u64>,
}

impl Process {
    pub(super) fn new(job: Job, tasks: Vec<Task>, folder: Folder) -> Self {
        let running = |machine| Running {
            machine,
            effect: TaskEffect::Wait,
            epoch: 0,
            chunk: 0,
            is_cut: false,
            open: None,
            next: 0,
            position: 0,
            batches: Vec::new(),
            kept: 0,
            dirty: Vec::new(),
            stage: Vec::new(),
        };
        let mut process = Self {
            job,
            effect: JobEffect::Wait,
            tasks: tasks.into_iter().map(running).collect(),
            folder,
            is_frozen: false,
            is_stopped: false,
            is_unknown: false,
            has_failed: false,
        };
        process.effect = process.job.step(JobEvent::Begun);
        process
    }

    pub(super) fn has_ended(&self) -> bool {
        self.effect == JobEffect::End
    }

    /// All of its tasks have ended.
    pub(super) fn tasks_ended(&self) -> bool {
        self.tasks.iter().all(|task| matches!(task.effect, TaskEffect::End(_)))
    }

    /// The task's machine takes an event.
    pub(super) fn step(&mut self, task: usize, event: TaskEvent) {
        let running = &mut self.tasks[task];
        running.effect = running.machine.step(event);
        let TaskEffect::End(ended) = running.effect else { return };
        if !matches!(ended, Ended::Finished | Ended::FinishedBefore) {
            self.is_stopped = true;
            self.is_unknown |= ended == Ended::Unknown;
        }
    }
}

impl Running {
    /// The open chunk as its commit sends it; `None` if the session has lost it.
    pub(super) fn sent(&mut self, total: Counters) -> Option<Transaction> {
        let at = Checkpoint { position: self.position, dirty: self.kept + self.dirty.len() };
        self.open.take().map(|open| Transaction { total, at, ..open })
    }

    /// Which rows of the open chunk's batch are dirty, and the counters of its rows.
    pub(super) fn written(
        &self,
        batch: usize,
        dirty: impl Fn(u64) -> bool,
    ) -> (Vec<u64>, Counters) {
        let (from, to) = self.batches[batch];
        let refused: Vec<_> = (from..to).filter(|row| dirty(*row)).collect();
        let (read, dirty) = (to - from, refused.len() as u64);
        (refused, Counters { read, inserted: read - dirty, dirty, ..Counters::default() })
    }
}
