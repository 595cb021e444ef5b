//! Does what the machines ask for, with faults, and compares the store with the guarantee after every
//! event. Here are the faults, processes and the job's effects; those of tasks are in `tasks`, the
//! guarantee in `invariants`.

mod invariants;
mod tasks;

use transload_plugin_api::SplitAbility;

use super::{
    Random,
    process::{Folder, FolderTask, Process},
    store::{Kind, Store},
};
use crate::engine::protocol::{
    Before, ChunkLimits, Job, JobEffect, JobEvent, Memory, Outcome, Reached, Task, TaskEffect,
};

/// Events after which a run without further faults must have ended.
const MOST_EVENTS: u32 = 20_000;

/// A defect that a test asks for, to show that it would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    NoFence,
    JournalOnly,
    BlindReplay,
    CleanUpAfterUnknown,
    UncutDirtyFile,
    UnsyncedStage,
}

/// One split.
struct Split {
    rows: u64,
    ability: SplitAbility,
}

/// All that exists.
pub(super) struct World {
    random: Random,
    mutation: Option<Mutation>,
    splits: Vec<Split>,
    /// A row is dirty if its number leaves this rest.
    dirty_rest: u64,
    store: Store,
    processes: Vec<Process>,
    /// The folder of the next process.
    folder: Folder,
    /// Faults that may still happen.
    budget: u64,
    /// An attempt was stopped and outlived by another one.
    had_zombie: bool,
    pub(super) faults: u64,
    pub(super) attempts: u64,
    pub(super) prints: bool,
}

type Checked = Result<(), String>;

impl World {
    pub(super) fn new(seed: u64, kind: Kind, mutation: Option<Mutation>) -> Self {
        let mut random = Random(seed.wrapping_mul(0x51_7C_C1_B7_27_22_0A_95));
        let abilities: &[_] = match kind {
            Kind::Token => &[SplitAbility::Seekable, SplitAbility::Replayable],
            Kind::Staged => &[SplitAbility::Seekable, SplitAbility::Volatile],
            Kind::Keyed | Kind::Append => &[SplitAbility::Seekable, SplitAbility::Bounded],
        };
        let splits: Vec<_> = (0..=random.below(3))
            .map(|_| Split {
                rows: random.below(40),
                ability: abilities[random.below(abilities.len() as u64) as usize],
            })
            .collect();
        let tasks = splits.len();
        let folder = Folder { tasks: vec![FolderTask::default(); tasks], before: Before::Nothing };
        Self {
            dirty_rest: random.below(9),
            budget: random.below(8),
            random,
            mutation,
            splits,
            store: Store::new(kind, tasks),
            processes: Vec::new(),
            folder,
            had_zombie: false,
            faults: 0,
            attempts: 0,
            prints: false,
        }
    }

    /// Runs until a process has succeeded and all others have ended.
    pub(super) fn run(&mut self) -> Checked {
        let mut succeeded = false;
        for _ in 0..MOST_EVENTS {
            self.environment();
            let awake: Vec<_> = (0..self.processes.len())
                .filter(|at| !self.processes[*at].is_frozen && !self.processes[*at].has_ended())
                .collect();
            let Some(at) = awake.get(self.random.below(awake.len() as u64) as usize).copied()
            else {
                if !succeeded {
                    self.start();
                } else if let Some(frozen) = self.processes.iter_mut().find(|it| it.is_frozen) {
                    frozen.is_frozen = false;
                } else {
                    return self.check_end();
                }
                continue;
            };
            self.advance(at)?;
            self.check()?;
            let process = &self.processes[at];
            if process.has_ended() {
                let is_done = !process.has_failed && process.job.reached() == Reached::Rows;
                succeeded |= is_done;
                self.end(at)?;
            }
        }
        Err("the run does not end".to_owned())
    }

    fn memory(&self) -> Memory {
        match self.store.kind {
            Kind::Token => Memory::Token,
            Kind::Staged => Memory::Stage,
            Kind::Keyed | Kind::Append => Memory::Journal,
        }
    }

    fn is_dirty(&self) -> impl Fn(u64) -> bool + use<> {
        let rest = self.dirty_rest;
        move |row| row % 9 == rest
    }

    /// A new attempt, on the folder that the last one has left.
    fn start(&mut self) {
        self.attempts += 1;
        let memory = self.memory();
        let limits = ChunkLimits { rows: 6, bytes: 100, replays: 3 };
        let of_tasks = match self.mutation {
            Some(Mutation::JournalOnly) => Memory::Journal,
            _ => memory,
        };
        let task = |split: &Split| Task::new(of_tasks, split.ability, limits);
        let tasks = self.splits.iter().map(task).collect();
        let job = Job::new(memory, self.folder.before);
        self.say(format_args!("attempt {} begins", self.processes.len()));
        self.processes.push(Process::new(job, tasks, self.folder.clone()));
    }

    /// What an attempt leaves to the next one.
    fn end(&mut self, at: usize) -> Checked {
        let process = &self.processes[at];
        let is_unknown = process.job.reached() == Reached::Unknown;
        let failed = process.has_failed;
        self.say(format_args!("attempt {at} ends, failed: {failed}"));
        if is_unknown && self.mutation == Some(Mutation::CleanUpAfterUnknown) {
            self.remove()?;
        }
        if at + 1 == self.processes.len() {
            self.folder = self.processes[at].folder.clone();
            let is_clean = self.processes[at].job.is_clean();
            if failed && is_clean && self.store.kind == Kind::Staged {
                // The job runs anew.
                let tasks = vec![FolderTask::default(); self.splits.len()];
                self.folder = Folder { tasks, before: Before::Nothing };
            }
        }
        Ok(())
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.prints {
            println!("{what}");
        }
    }

    /// A fault happens here.
    fn fails(&mut self, once_in: u64) -> bool {
        let fails = self.budget > 0 && self.random.once_in(once_in);
        if fails {
            self.budget -= 1;
            self.faults += 1;
        }
        fails
    }

    /// What happens by itself: processes die, stop and wake up, servers crash, commits land.
    fn environment(&mut self) {
        if self.random.once_in(20) {
            self.store.sync();
        }
        if self.random.once_in(10) {
            let task = self.random.below(self.splits.len() as u64) as usize;
            self.settle(task);
        }
        if self.random.once_in(10)
            && let Some(frozen) = self.processes.iter_mut().find(|it| it.is_frozen)
        {
            frozen.is_frozen = false;
        }
        if self.fails(60) {
            self.crash();
        }
        let Some(last) = self.processes.len().checked_sub(1) else { return };
        if self.processes[last].has_ended() {
            return;
        }
        match self.random.below(3) {
            _ if !self.fails(30) => {}
            0 => self.kill(last),
            1 => {
                self.say(format_args!("attempt {last} gets a signal"));
                self.processes[last].is_stopped = true;
            }
            // The owner of staged files holds a lock on them for as long as it exists.
            _ if self.store.kind == Kind::Staged => {}
            _ => {
                self.say(format_args!("attempt {last} is stopped"));
                self.processes[last].is_frozen = true;
                self.had_zombie = true;
                self.folder = self.processes[last].folder.clone();
                self.start();
            }
        }
    }

    fn crash(&mut self) {
        self.say(format_args!("the store crashes"));
        if self.store.kind == Kind::Staged {
            for at in 0..self.processes.len() {
                self.kill(at);
            }
        }
        self.store.crash();
        for task in self.processes.iter_mut().flat_map(|process| &mut process.tasks) {
            (task.open, task.is_cut) = (None, true);
        }
    }

    /// The process ends at once. What it was about to send may have been sent.
    fn kill(&mut self, at: usize) {
        if self.processes[at].has_ended() {
            return;
        }
        self.say(format_args!("attempt {at} is killed"));
        for task in 0..self.splits.len() {
            let running = &mut self.processes[at].tasks[task];
            if let TaskEffect::Commit(total) = running.effect
                && let Some(sent) = running.sent(total)
                && self.store.kind != Kind::Staged
                && self.random.once_in(2)
            {
                self.store.tasks[task].in_flight = Some((at, sent));
            }
        }
        if self.processes[at].effect == JobEffect::Publish {
            let tasks = self.random.below(self.splits.len() as u64 + 1) as usize;
            self.publish(tasks);
        }
        let process = &mut self.processes[at];
        process.effect = JobEffect::End;
        process.has_failed = true;
        if at + 1 == self.processes.len() {
            self.folder = self.processes[at].folder.clone();
        }
    }

    /// A transaction without a client is decided.
    fn settle(&mut self, task: usize) {
        if let Some((_, sent)) = self.store.tasks[task].in_flight.take()
            && self.random.once_in(2)
        {
            self.say(format_args!("a commit of task {task} lands"));
            self.store.apply(task, &sent);
        }
    }

    /// One event of a process.
    fn advance(&mut self, at: usize) -> Checked {
        let process = &self.processes[at];
        if process.effect == JobEffect::RunTasks && !process.tasks_ended() {
            let open: Vec<_> = (0..process.tasks.len())
                .filter(|task| !matches!(process.tasks[*task].effect, TaskEffect::End(_)))
                .collect();
            let task = open[self.random.below(open.len() as u64) as usize];
            let effect = self.processes[at].tasks[task].effect;
            let event = self.do_task(at, task, effect);
            self.say(format_args!("attempt {at}, task {task}: {effect:?}: {event:?}"));
            self.processes[at].step(task, event);
            return Ok(());
        }
        let effect = process.effect;
        let event = self.do_job(at, effect)?;
        self.say(format_args!("attempt {at}: {effect:?}: {event:?}"));
        let process = &mut self.processes[at];
        process.has_failed |= matches!(
            (effect, event),
            (
                _,
                JobEvent::TaskFailed { .. } | JobEvent::Outcome(Outcome::Fenced | Outcome::Unknown)
            )
        ) || event == JobEvent::Failed
            && !matches!(effect, JobEffect::RecordDone | JobEffect::Finalise);
        process.effect = process.job.step(event);
        Ok(())
    }

    fn do_job(&mut self, at: usize, effect: JobEffect) -> Result<JobEvent, String> {
        let is_stopped = self.processes[at].is_stopped;
        match effect {
            JobEffect::Prepare | JobEffect::Publish if is_stopped => return Ok(JobEvent::Failed),
            JobEffect::Prepare | JobEffect::OpenSource | JobEffect::Finalise if self.fails(40) => {
                return Ok(JobEvent::Failed);
            }
            JobEffect::RecordPrepared => {
                let before = &mut self.processes[at].folder.before;
                *before = (*before).max(Before::Target);
            }
            JobEffect::RecordPublishing => self.processes[at].folder.before = Before::Tasks,
            JobEffect::RunTasks => {
                let is_unknown = self.processes[at].is_unknown;
                let failed = self.processes[at].is_stopped;
                return Ok(if failed {
                    JobEvent::TaskFailed { is_unknown }
                } else {
                    JobEvent::Done
                });
            }
            JobEffect::Publish => return self.do_publish(at),
            JobEffect::Abort => self.remove()?,
            JobEffect::Finalise => self.store.is_finalised = self.store.is_done,
            _ => {}
        }
        Ok(JobEvent::Done)
    }

    fn do_publish(&mut self, at: usize) -> Result<JobEvent, String> {
        let is_staged = self.store.kind == Kind::Staged;
        let ready =
            |task: &super::store::StoredTask| task.ready.is_some() || task.published.is_some();
        if is_staged && !self.store.tasks.iter().all(ready) {
            return Ok(JobEvent::Failed);
        }
        let finished = |task: &super::store::StoredTask| task.content.known.is_finished;
        if self.store.kind == Kind::Token && !self.store.tasks.iter().all(finished) {
            return Ok(JobEvent::Failed);
        }
        if self.fails(5) {
            let tasks = self.random.below(self.splits.len() as u64 + 1) as usize;
            self.publish(tasks);
            self.store.unknown_to = Some(at);
            return Ok(JobEvent::Outcome(Outcome::Unknown));
        }
        self.publish(self.splits.len());
        self.store.unknown_to = None;
        Ok(JobEvent::Outcome(Outcome::Committed))
    }

    /// The first tasks are published; all of them end the run.
    fn publish(&mut self, tasks: usize) {
        for task in &mut self.store.tasks[..tasks] {
            if let Some((content, _)) = task.ready.take() {
                task.published.get_or_insert(content);
            }
        }
        if tasks == self.splits.len() {
            self.store.is_done = true;
            // What is committed later is not on the disk without what was committed before.
            self.store.sync();
        }
    }

    /// Removes what is staged.
    fn remove(&mut self) -> Checked {
        if self.store.kind == Kind::Staged && self.store.unknown_to.is_some() {
            return Err("a stage is removed after an unknown outcome".to_owned());
        }
        match self.store.kind {
            Kind::Staged if self.store.tasks.iter().any(|task| task.published.is_some()) => {
                return Err("a stage is removed after a part of it was published".to_owned());
            }
            Kind::Staged => self.store.tasks.iter_mut().for_each(|task| task.ready = None),
            Kind::Token if self.store.tasks.iter().any(|it| it.content.known.chunks > 0) => {
                return Err("a run is given up whose rows are in".to_owned());
            }
            _ => {}
        }
        Ok(())
    }
}
