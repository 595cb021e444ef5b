//! The effects of a task: claims, chunks and what the store and the task's folder keep of them.

use super::{
    super::{
        process::Process,
        store::{Checkpoint, Content, Kind, Transaction},
    },
    Mutation, World,
};
use crate::engine::protocol::{Failure, From, Known, Outcome, Source, TaskEffect, TaskEvent};

impl World {
    pub(super) fn do_task(&mut self, at: usize, task: usize, effect: TaskEffect) -> TaskEvent {
        let permanent = TaskEvent::Failed(Failure::Permanent);
        match effect {
            TaskEffect::Wait => TaskEvent::Begun(self.processes[at].folder.tasks[task].known),
            TaskEffect::Claim => self.claim(at, task),
            TaskEffect::Read(from) => self.read(at, task, from),
            TaskEffect::Receive | TaskEffect::Pause if self.processes[at].is_stopped => permanent,
            TaskEffect::Receive => self.receive(at, task),
            TaskEffect::Begin(chunk) => self.begin(at, task, chunk),
            TaskEffect::Write(batch) => self.write(at, task, batch),
            TaskEffect::KeepDirty => self.keep_dirty(at, task),
            TaskEffect::Commit(total) => match self.processes[at].tasks[task].sent(total) {
                Some(sent) => self.commit(at, task, sent),
                None => TaskEvent::Failed(Failure::Transient),
            },
            TaskEffect::Record => self.record(at, task),
            TaskEffect::Rollback => {
                let running = &mut self.processes[at].tasks[task];
                (running.open, running.dirty) = (None, Vec::new());
                if self.fails(40) { permanent } else { TaskEvent::Done }
            }
            TaskEffect::Finish => self.finish(at, task),
            TaskEffect::RecordFinished => {
                let machine = &self.processes[at].tasks[task].machine;
                let (chunks, counters) = (machine.chunks(), machine.total());
                let known = Known { chunks, counters, is_finished: true };
                self.processes[at].folder.tasks[task].known = Some(known);
                TaskEvent::Done
            }
            TaskEffect::Abort => {
                self.processes[at].tasks[task].stage.clear();
                TaskEvent::Done
            }
            TaskEffect::Leave | TaskEffect::Pause | TaskEffect::End(_) => TaskEvent::Done,
        }
    }

    fn claim(&mut self, at: usize, task: usize) -> TaskEvent {
        if self.fails(40) {
            return TaskEvent::Failed(Failure::Permanent);
        }
        match self.store.kind {
            Kind::Token => {
                // Waits for transactions of earlier attempts, and ends their sessions.
                self.settle(task);
                if self.mutation != Some(Mutation::NoFence) {
                    let others = self.processes.iter_mut().enumerate();
                    for (_, other) in others.filter(|(other, _)| *other != at) {
                        (other.tasks[task].open, other.tasks[task].is_cut) = (None, true);
                    }
                }
                let is_forgotten = self.store.is_finalised;
                let stored = &mut self.store.tasks[task];
                stored.epoch += 1;
                self.processes[at].tasks[task].epoch = stored.epoch;
                let forgotten = Known { is_finished: true, ..Known::default() };
                let known = if is_forgotten { forgotten } else { stored.content.known };
                let known = Some(known).filter(|it| it.chunks > 0 || it.is_finished);
                let known = known.filter(|_| self.mutation != Some(Mutation::JournalOnly));
                self.processes[at].tasks[task].chunk = known.map_or(0, |known| known.chunks);
                TaskEvent::Claimed(known)
            }
            Kind::Staged => {
                let stored = &self.store.tasks[task];
                let ready = stored.ready.as_ref().map(|(content, _)| content);
                TaskEvent::Claimed(stored.published.as_ref().or(ready).map(|content| content.known))
            }
            Kind::Keyed | Kind::Append => TaskEvent::Claimed(None),
        }
    }

    fn read(&mut self, at: usize, task: usize, from: From) -> TaskEvent {
        let of = |source| match source {
            Source::Store => self.store.tasks[task].content.at,
            Source::Journal => self.processes[at].folder.tasks[task].at,
        };
        let (next, checkpoint) = match from {
            From::Start => (0, Checkpoint::default()),
            From::Position(source) => (of(source).position, of(source)),
            From::Row(row, source) => (row, of(source)),
        };
        let uncut = self.mutation == Some(Mutation::UncutDirtyFile);
        let file = &mut self.processes[at].folder.tasks[task].dirty;
        if !uncut {
            file.truncate(checkpoint.dirty);
        }
        let kept = file.len();
        let running = &mut self.processes[at].tasks[task];
        (running.next, running.position, running.kept) = (next, next, kept);
        TaskEvent::Done
    }

    fn receive(&mut self, at: usize, task: usize) -> TaskEvent {
        if self.fails(80) {
            return TaskEvent::Failed(Failure::Permanent);
        }
        let most = 1 + self.random.below(5);
        let is_due = self.random.once_in(6);
        let is_whole = !self.random.once_in(4);
        let rows = self.splits[task].rows;
        let running = &mut self.processes[at].tasks[task];
        match running.next {
            _ if is_due => TaskEvent::Due,
            next if next >= rows => TaskEvent::LastBatch,
            next => {
                let end = (next + most).min(rows);
                let is_whole = is_whole || end == rows;
                running.next = end;
                running.batches.push((next, end));
                if is_whole {
                    running.position = end;
                }
                TaskEvent::Batch { read: end - next, bytes: 10 * (end - next), is_whole }
            }
        }
    }

    fn begin(&mut self, at: usize, task: usize, chunk: u64) -> TaskEvent {
        let running = &self.processes[at].tasks[task];
        let (is_cut, epoch) = (running.is_cut, running.epoch);
        if chunk != running.chunk {
            return TaskEvent::Failed(Failure::Permanent);
        }
        if is_cut && self.fails(3) {
            return TaskEvent::Failed(Failure::Transient);
        }
        if self.store.kind == Kind::Token {
            self.settle(task);
            let stored = &self.store.tasks[task];
            let trusts = matches!(
                self.mutation,
                Some(Mutation::NoFence | Mutation::JournalOnly | Mutation::BlindReplay)
            );
            if !trusts && stored.epoch != epoch {
                return TaskEvent::Failed(Failure::Fenced);
            }
            // The server has lost what it had confirmed.
            if !trusts && stored.content.known.chunks != chunk {
                return TaskEvent::Failed(Failure::Permanent);
            }
        }
        let running = &mut self.processes[at].tasks[task];
        running.is_cut = false;
        running.open = Some(Transaction { chunks: chunk, ..Transaction::default() });
        TaskEvent::Done
    }

    fn write(&mut self, at: usize, task: usize, batch: usize) -> TaskEvent {
        if self.fails(20) {
            return TaskEvent::Failed(Failure::Transient);
        }
        let is_dirty = self.is_dirty();
        let running = &mut self.processes[at].tasks[task];
        let (from, to) = running.batches[batch];
        let (refused, counters) = running.written(batch, &is_dirty);
        let Some(open) = &mut running.open else { return TaskEvent::Failed(Failure::Transient) };
        open.rows.extend((from..to).filter(|row| !is_dirty(*row)));
        running.dirty.extend(refused);
        TaskEvent::Written(counters)
    }

    fn keep_dirty(&mut self, at: usize, task: usize) -> TaskEvent {
        if self.fails(60) {
            return TaskEvent::Failed(Failure::Permanent);
        }
        let Process { tasks, folder, .. } = &mut self.processes[at];
        let (running, file) = (&tasks[task], &mut folder.tasks[task].dirty);
        file.truncate(running.kept);
        file.extend(&running.dirty);
        TaskEvent::Done
    }

    fn commit(&mut self, at: usize, task: usize, sent: Transaction) -> TaskEvent {
        let committed = TaskEvent::Outcome(Outcome::Committed);
        let chunks = sent.chunks;
        if self.store.kind == Kind::Staged {
            if self.fails(20) {
                return TaskEvent::Failed(Failure::Transient);
            }
            self.processes[at].tasks[task].stage.extend(sent.rows);
            return committed;
        }
        if !self.fails(8) {
            self.store.apply(task, &sent);
            return committed;
        }
        if self.random.once_in(3) {
            return TaskEvent::Failed(Failure::Transient);
        }
        // The reply is lost. The commit has landed, will land, or never will.
        self.processes[at].tasks[task].is_cut = true;
        self.store.tasks[task].in_flight = Some((at, sent));
        if self.store.kind != Kind::Token || self.random.once_in(3) {
            return TaskEvent::Outcome(Outcome::Unknown);
        }
        // The token says which of them, when the transaction is decided.
        self.settle(task);
        let stored = &self.store.tasks[task];
        match stored.content.known.chunks == chunks + 1 {
            _ if self.mutation == Some(Mutation::BlindReplay) => {
                TaskEvent::Failed(Failure::Transient)
            }
            _ if stored.epoch != self.processes[at].tasks[task].epoch => {
                TaskEvent::Outcome(Outcome::Fenced)
            }
            true => committed,
            false => TaskEvent::Failed(Failure::Transient),
        }
    }

    fn record(&mut self, at: usize, task: usize) -> TaskEvent {
        let Process { tasks, folder, .. } = &mut self.processes[at];
        let (running, kept) = (&mut tasks[task], &mut folder.tasks[task]);
        let position = running.position;
        running.kept += running.dirty.len();
        running.chunk += 1;
        running.batches.clear();
        running.dirty.clear();
        let (chunks, counters) = (running.machine.chunks(), running.machine.total());
        kept.known = Some(Known { chunks, counters, is_finished: false });
        kept.at = Checkpoint { position, dirty: running.kept };
        if self.fails(60) { TaskEvent::Failed(Failure::Permanent) } else { TaskEvent::Done }
    }

    fn finish(&mut self, at: usize, task: usize) -> TaskEvent {
        if self.fails(40) {
            return TaskEvent::Failed(Failure::Permanent);
        }
        let running = &self.processes[at].tasks[task];
        let stored = &mut self.store.tasks[task];
        match self.store.kind {
            Kind::Token => {
                let trusts = matches!(
                    self.mutation,
                    Some(Mutation::NoFence | Mutation::JournalOnly | Mutation::BlindReplay)
                );
                if !trusts && stored.epoch != running.epoch {
                    return TaskEvent::Failed(Failure::Fenced);
                }
                // The server has lost what it had confirmed.
                if !trusts && stored.content.known.chunks != running.machine.chunks() {
                    return TaskEvent::Failed(Failure::Permanent);
                }
                stored.content.known.is_finished = true;
            }
            Kind::Staged if stored.ready.is_none() && stored.published.is_none() => {
                let (chunks, counters) = (running.machine.chunks(), running.machine.total());
                let known = Known { chunks, counters, is_finished: true };
                let content = Content { rows: running.stage.clone(), known, ..Content::default() };
                stored.ready = Some((content, self.mutation != Some(Mutation::UnsyncedStage)));
            }
            _ => {}
        }
        TaskEvent::Done
    }
}
