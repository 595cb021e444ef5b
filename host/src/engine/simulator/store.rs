//! The model of a store: what its tables or files hold, and what of it outlasts a crash.

use transload_plugin_api::Counters;

use crate::engine::protocol::Known;

/// What the store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Transactions of rows and token.
    Token,
    /// Files that are published together.
    Staged,
    /// Rows found by their keys: a second write of a row changes nothing.
    Keyed,
    /// Rows without a key.
    Append,
}

/// What is passed to the commit of a chunk besides the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// How many rows of the split are read.
    pub(super) position: u64,
    /// How many rows the task's dirty file has.
    pub(super) dirty: usize,
}

/// A chunk that has been sent and is not decided.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    pub(super) rows: Vec<u64>,
    pub(super) chunks: u64,
    pub(super) at: Checkpoint,
    pub(super) total: Counters,
}

/// What the store has of one task.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// In the order of the commits.
    pub(super) rows: Vec<u64>,
    pub(super) known: Known,
    pub(super) at: Checkpoint,
}

/// One task in the store.
#[derive(Default)]
pub(super) struct StoredTask {
    pub(super) content: Content,
    /// What a crash leaves of it.
    pub(super) synced: Content,
    pub(super) epoch: u64,
    /// A transaction that holds the task's row, by its attempt: its client has sent the commit and is
    /// gone, or has not sent it and is stopped.
    pub(super) in_flight: Option<(usize, Transaction)>,
    /// Files only: what is complete under the task's name, and whether it is on the disk.
    pub(super) ready: Option<(Content, bool)>,
    pub(super) published: Option<Content>,
}

/// The store.
pub(super) struct Store {
    pub(super) kind: Kind,
    pub(super) tasks: Vec<StoredTask>,
    pub(super) is_done: bool,
    /// The run is done, and what the store knew of its tasks is removed.
    pub(super) is_finalised: bool,
    /// The process whose commit has an unknown outcome.
    pub(super) unknown_to: Option<usize>,
}

impl Store {
    pub(super) fn new(kind: Kind, tasks: usize) -> Self {
        let tasks = (0..tasks).map(|_| StoredTask::default()).collect();
        Self { kind, tasks, is_done: false, is_finalised: false, unknown_to: None }
    }

    /// The chunk's rows are in from now on.
    pub(super) fn apply(&mut self, task: usize, sent: &Transaction) {
        let task = &mut self.tasks[task];
        match self.kind {
            Kind::Keyed => {
                for row in &sent.rows {
                    if !task.content.rows.contains(row) {
                        task.content.rows.push(*row);
                    }
                }
            }
            _ => task.content.rows.extend(&sent.rows),
        }
        task.content.known.chunks = sent.chunks + 1;
        task.content.known.counters = sent.total;
        task.content.at = sent.at;
    }

    /// What has been committed outlasts a crash.
    pub(super) fn sync(&mut self) {
        for task in &mut self.tasks {
            task.synced = task.content.clone();
            if let Some((_, is_synced)) = &mut task.ready {
                *is_synced = true;
            }
        }
    }

    /// The server, or the machine with the files, crashes.
    pub(super) fn crash(&mut self) {
        let has_tokens = self.kind == Kind::Token;
        for task in &mut self.tasks {
            task.in_flight = None;
            // Rows and token are lost together, if at all.
            if has_tokens {
                task.content = task.synced.clone();
            }
            if let Some((content, false)) = &mut task.ready {
                content.rows.clear();
            }
        }
    }
}
