//! Runs that several processes write one after the other, each ended at a failpoint, for the tests of
//! plugins that keep commit tokens. The test's own program is started again for each process: it
//! needs a test that calls [`child`].
//!
//! ```no_run
//! # use transload_plugin_api::{Host, Options, Plugin, WritePlan, testing::killing};
//! # fn plugin() -> Box<dyn Plugin> { unimplemented!() }
//! # fn plan() -> WritePlan { unimplemented!() }
//! #[test]
//! fn child() {
//!     killing::child(&*plugin(), Host::detached());
//! }
//!
//! #[test]
//! fn a_run_that_is_killed_before_a_commit_is_continued() {
//!     killing::Processes::new("child", Options::default(), plan()).write(&["K5#2"]);
//!     // and the target holds `killing::ROWS` rows, each once
//! }
//! ```

use std::{
    env,
    io::{self, Write as _},
    process::Command,
};

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::{expect, steps};
use crate::{
    ChunkOutcome, Counters, Host, Options, Plugin, Position, Receipt, Result, TaskContext,
    WritePlan, WriteTask, Writer,
};

/// How many rows a run writes: the integers from 0, as text beside them.
pub const ROWS: u64 = CHUNK * CHUNKS * TASKS as u64;
const CHUNK: u64 = 5;
const CHUNKS: u64 = 3;
const TASKS: u32 = 2;

/// Where processes are ended one after the other, in two runs: before and behind each step that a
/// store keeps tokens of.
pub const POINTS: [&[&str]; 2] = [
    &["K2", "K3", "K4", "K4#2", "K5#2", "K6#1"],
    &["K5#1", "K7#4", "K9#1", "K9#2", "K12#1", "K12#2", "K3#1"],
];

const ORDERS: &str = "TRANSLOAD_TEST_ORDERS";
/// What a process says of itself.
const PREPARED: &str = "the run is prepared";
const WRITTEN: &str = "the older attempt has written";

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Act {
    /// Writes what is left of the run.
    Write,
    /// Gives the run up.
    GiveUp,
    /// Opens a task twice, and writes a chunk by the older attempt.
    Revive,
}

#[derive(Serialize, Deserialize)]
struct Orders {
    act: Act,
    options: Options,
    plan: WritePlan,
}

/// The processes of one run.
pub struct Processes<'a> {
    /// The name of the test that calls [`child`].
    test: &'a str,
    options: Options,
    plan: WritePlan,
    /// Of `TRANSLOAD_DEFECT`.
    defect: &'a str,
}

impl<'a> Processes<'a> {
    /// Processes that write `plan`, of the columns `id` and `s`, with these options.
    pub fn new(test: &'a str, options: Options, plan: WritePlan) -> Self {
        Self { test, options, plan, defect: "" }
    }

    /// With this defect.
    pub fn with_defect(self, defect: &'a str) -> Self {
        Self { defect, ..self }
    }

    /// Writes the run: each of the points ends a process, and one more process ends by itself.
    ///
    /// # Panics
    /// If a process is not ended at its point, or the last one fails.
    pub fn write(mut self, points: &[&str]) {
        for point in points {
            self.killed(Act::Write, point);
        }
        self.passed(Act::Write);
    }

    /// As [`Processes::write`], but no process continues after the last point.
    pub fn leave(&mut self, points: &[&str]) {
        points.iter().for_each(|point| self.killed(Act::Write, point));
    }

    /// Gives the run up, and once more if that is ended at one of the points.
    pub fn give_up(&mut self, points: &[&str]) {
        points.iter().for_each(|point| self.killed(Act::GiveUp, point));
        self.passed(Act::GiveUp);
    }

    /// Writes a chunk by an attempt that another one has replaced; whether it was written.
    pub fn revive(mut self) -> bool {
        self.passed(Act::Revive).contains(WRITTEN)
    }

    fn killed(&mut self, act: Act, point: &str) {
        let (is_ended, output) = self.start(act, point);
        assert!(!is_ended, "no process was killed at {point}: {output}");
        self.plan.is_resumed |= output.contains(PREPARED);
    }

    fn passed(&mut self, act: Act) -> String {
        let (is_ended, output) = self.start(act, "");
        assert!(is_ended, "a process failed: {output}");
        output
    }

    /// Starts a process, and waits for its end: whether it ended by itself, and what it said.
    fn start(&self, act: Act, point: &str) -> (bool, String) {
        let orders = Orders { act, options: self.options.clone(), plan: self.plan.clone() };
        let orders = expect(serde_json::to_string(&orders), "orders");
        let program = expect(env::current_exe(), "the test's own program");
        let output = Command::new(program)
            .args([self.test, "--exact", "--nocapture", "--test-threads=1"])
            .env(ORDERS, orders)
            .env("TRANSLOAD_FAILPOINT", point)
            .env("TRANSLOAD_DEFECT", self.defect)
            .output();
        let output = expect(output, "a process");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// What a process started by [`Processes`] does; returns at once in any other one.
///
/// # Panics
/// At the first call that fails.
pub fn child(plugin: &dyn Plugin, host: Host) {
    let Ok(orders) = env::var(ORDERS) else { return };
    let Orders { act, options, mut plan } = expect(serde_json::from_str(&orders), "orders");
    let writer = expect(plugin.writer(options, host), "a writer");
    match act {
        Act::GiveUp => return expect(writer.abort(&plan, &[]), "`abort`"),
        Act::Write | Act::Revive => {}
    }
    plan.columns = expect(writer.draft(&plan), "`draft`").columns;
    expect(writer.prepare(&plan), "`prepare`");
    say(PREPARED);
    match act {
        Act::Revive => revive(&*writer, &plan),
        _ => write(&*writer, &plan),
    }
}

fn say(text: &str) {
    expect(writeln!(io::stderr(), "{text}"), "a process speaks");
}

/// The tasks take turns by chunks.
fn write(writer: &dyn Writer, plan: &WritePlan) {
    let open = |task| {
        let opened = writer.open(plan, &TaskContext { task, epoch: 0 });
        let mut opened = expect(opened, "`open`");
        let known = expect(opened.progress(), "`progress`").unwrap_or_default();
        (opened, known.chunks, known.counters)
    };
    let mut tasks: Vec<_> = (0..TASKS).map(open).collect();
    for sequence in 0..CHUNKS {
        for (task, (writing, next, total)) in (0..).zip(&mut tasks) {
            if *next == sequence {
                *total = chunk(&mut **writing, plan, task, sequence, *total);
                *next += 1;
            }
        }
    }
    let finish = |(task, ..): (Box<dyn WriteTask>, _, _)| expect(task.finish(), "`finish`");
    let receipts: Vec<Receipt> = tasks.into_iter().map(finish).collect();
    let committed = expect(writer.commit(plan, &receipts), "`commit`");
    let known = [ChunkOutcome::Committed, ChunkOutcome::AlreadyCommitted];
    assert!(known.contains(&committed), "`commit`: {committed:?}");
    expect(writer.finalise(plan), "`finalise`");
}

/// One chunk, again for as long as the writer asks for that. Returns the task's new total.
fn chunk(
    task: &mut dyn WriteTask,
    plan: &WritePlan,
    number: u32,
    sequence: u64,
    total: Counters,
) -> Counters {
    let first = (u64::from(number) * CHUNKS + sequence) * CHUNK;
    for _ in 0..10 {
        match try_chunk(task, &rows(plan, first), sequence, total) {
            Ok(total) => return total,
            Err(error) => {
                assert_eq!(error.kind, crate::ErrorKind::Retry, "{error:?}");
                expect(task.rollback_chunk(), "`rollback_chunk`");
            }
        }
    }
    panic!("chunk {sequence} is replayed without end");
}

fn try_chunk(
    task: &mut dyn WriteTask,
    batch: &RecordBatch,
    sequence: u64,
    mut total: Counters,
) -> Result<Counters> {
    task.begin_chunk(sequence)?;
    let written = task.write(batch)?;
    assert_eq!(written.dirty, [], "a dirty row");
    total.add(&Counters {
        read: CHUNK,
        inserted: written.inserted,
        updated: written.updated,
        skipped: written.skipped,
        dirty: 0,
    });
    let outcome = task.commit_chunk(&Position(vec![sequence as u8]), &total)?;
    assert_eq!(outcome, ChunkOutcome::Committed, "chunk {sequence}");
    Ok(total)
}

fn rows(plan: &WritePlan, first: u64) -> RecordBatch {
    let ids = first as i64..(first + CHUNK) as i64;
    let texts: Vec<_> = ids.clone().map(|id| id.to_string()).collect();
    steps::batch(plan, vec![steps::integers(ids), steps::texts(texts.iter().map(String::as_str))])
}

/// An attempt that another one has replaced tries to write.
fn revive(writer: &dyn Writer, plan: &WritePlan) {
    let open = |epoch| expect(writer.open(plan, &TaskContext { task: 0, epoch }), "`open`");
    let (mut zombie, newer) = (open(0), open(1));
    if try_chunk(&mut *zombie, &rows(plan, 0), 0, Counters::default()).is_ok() {
        say(WRITTEN);
    }
    drop((zombie, newer));
}
