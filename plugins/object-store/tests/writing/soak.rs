//! F35 at length, and measurements: ignored by default, because they take minutes.
//!
//! `TRANSLOAD_ROUNDS=100 cargo test -p transload-plugin-object-store --test writing -- --ignored
//! --nocapture soak`
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use serde_json::{Value, json};
use transload_plugin_api::{
    ChunkOutcome, Counters, Position, Receipt, Result, TaskContext, WriteMode, WritePlan, Writer,
};
use transload_tests_buckets::Bucket;
use transload_tests_s3::{Fault, Faults, Rule};

use crate::host::{ids, plan, rows, two_columns, write_task, writer};

/// The runs of a round, one after the other, each of three tasks with two objects.
const RUNS: [WriteMode; 3] = [WriteMode::Insert, WriteMode::Overwrite, WriteMode::Insert];
const TASKS: u32 = 3;

fn options() -> Value {
    json!({
        "path": "out/", "format": "csv", "if_exists": "append", "max_rows_per_object": 2,
        "abandoned_after": 0, "retries": 2, "reconnect_window": 20_000, "request_timeout": 1000,
    })
}

/// The rows of a run's task; each run writes other rows.
fn numbers(run: usize, task: u32) -> std::ops::Range<i64> {
    let first = run as i64 * 100 + i64::from(task) * 10;
    first..first + 4
}

/// How a run ended, from the host's view.
enum End {
    Committed,
    Failed,
    Unknown { receipts: Vec<Receipt>, evidence: String },
}

/// A run as the host performs it, including its actions after a failure.
fn run(writer: &dyn Writer, plan: &WritePlan, number: usize) -> End {
    let mut receipts = Vec::new();
    match written(writer, plan, number, &mut receipts) {
        Ok(ChunkOutcome::Committed | ChunkOutcome::AlreadyCommitted) => {
            // The result is committed; leftovers are removed later.
            let _ = writer.finalise(plan);
            End::Committed
        }
        Ok(ChunkOutcome::Unknown { evidence }) => End::Unknown { receipts, evidence },
        Ok(ChunkOutcome::Fenced) => End::Failed,
        Err(_) => {
            let _ = writer.abort(plan, &receipts);
            End::Failed
        }
    }
}

fn written(
    writer: &dyn Writer,
    plan: &WritePlan,
    number: usize,
    receipts: &mut Vec<Receipt>,
) -> Result<ChunkOutcome> {
    writer.draft(plan)?;
    writer.prepare(plan)?;
    for task in 0..TASKS {
        let mut open = writer.open(plan, &TaskContext { task, epoch: 0 })?;
        open.begin_chunk(0)?;
        open.write(&rows(numbers(number, task)))?;
        open.commit_chunk(&Position::default(), &Counters::default())?;
        receipts.push(open.finish()?);
    }
    writer.commit(plan, receipts)
}

/// The outcomes of the rounds with one fault.
#[derive(Default)]
struct Tally {
    rounds: AtomicUsize,
    struck: AtomicUsize,
    failed: AtomicUsize,
    unknown: AtomicUsize,
    orphans: AtomicUsize,
}

fn count(counter: &AtomicUsize) -> usize {
    counter.fetch_add(1, Ordering::Relaxed)
}

/// One fault at one request of a round; after it, the store works again.
struct Round<'a> {
    bucket: &'a Bucket,
    faults: &'a Faults,
    tally: &'a Tally,
    /// For messages: the fault and the request.
    what: String,
}

impl Round<'_> {
    fn plan(&self, number: usize, attempt: usize) -> WritePlan {
        let plan = plan(&format!("r-{number}-{attempt}"), &two_columns(), RUNS[number]);
        WritePlan { tasks: TASKS, ..plan }
    }

    /// Performs all runs; `rule` selects the run and the requests with the fault.
    fn go(&self, strikes: Option<(usize, Rule, Fault)>) {
        let mut expected: Vec<i64> = Vec::new();
        for (number, mode) in RUNS.iter().enumerate() {
            let armed =
                strikes.as_ref().filter(|(run, ..)| *run == number).map(|(_, rule, fault)| {
                    self.faults.arm(rule.clone().key(&self.bucket.prefix), fault.clone())
                });
            let first = self.plan(number, 0);
            let mut end = run(&*writer(self.bucket, options()), &first, number);
            if armed.is_some_and(|armed| armed.hits() > 0) {
                count(&self.tally.struck);
            }
            if let End::Unknown { receipts, evidence } = &end {
                count(&self.tally.unknown);
                end = self.repeated(&first, receipts, evidence);
            }
            if let End::Failed = end {
                count(&self.tally.failed);
                assert!(ids(self.bucket).starts_with(&expected), "{}: rows are lost", self.what);
                end = run(&*writer(self.bucket, options()), &self.plan(number, 1), number);
            }
            assert!(
                matches!(end, End::Committed),
                "{}: run {number} cannot be completed",
                self.what
            );
            if *mode == WriteMode::Overwrite {
                expected.clear();
            }
            expected.extend((0..TASKS).flat_map(|task| numbers(number, task)));
        }
        self.clean();
        assert_eq!(ids(self.bucket), expected, "{}", self.what);
        let orphans = self.bucket.uploads();
        self.tally.orphans.fetch_add(orphans, Ordering::Relaxed);
        assert_eq!(orphans, 0, "{}: uploads stay", self.what);
        let staged = |name: &String| name.contains("/_transload/");
        assert!(
            !self.bucket.names().iter().any(staged),
            "{}: {:?}",
            self.what,
            self.bucket.names()
        );
    }

    /// Neither an abort nor a later run removes anything if the outcome is unknown; the same commit
    /// determines it.
    fn repeated(&self, plan: &WritePlan, receipts: &[Receipt], evidence: &str) -> End {
        let found = (self.bucket.names(), self.bucket.uploads());
        let other = writer(self.bucket, options());
        if !evidence.contains("nor could that be noted") {
            other.abort(plan, receipts).unwrap();
            assert_eq!((self.bucket.names(), self.bucket.uploads()), found, "{}", self.what);
        }
        let outcome = other.commit(plan, receipts);
        let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let done = matches!(outcome, ChunkOutcome::Committed | ChunkOutcome::AlreadyCommitted);
        assert!(done, "{}: {outcome:?}", self.what);
        other.finalise(plan).unwrap();
        End::Committed
    }

    /// Cleans up as the next run does at its beginning.
    fn clean(&self) {
        let (next, other) = (plan("r-9", &two_columns(), RUNS[0]), writer(self.bucket, options()));
        other.prepare(&next).unwrap();
        other.abort(&next, &[]).unwrap();
    }
}

/// The faults of F35, each with the requests that it can affect.
fn all_faults() -> Vec<(&'static str, &'static str, Fault)> {
    let complete = "CompleteMultipartUpload";
    let no_upload = || Fault::Answer(404, "NoSuchUpload".to_owned());
    vec![
        ("500", "*", Fault::INTERNAL),
        ("503 SlowDown", "*", Fault::SLOW_DOWN),
        ("timeout", "*", Fault::Hang),
        ("reset", "*", Fault::Reset),
        ("403", "*", Fault::FORBIDDEN),
        ("200 with Error", complete, Fault::ErrorInBody("InternalError".to_owned())),
        ("lost reply of Complete", complete, Fault::LoseReply),
        ("lost reply", "*", Fault::LoseReply),
        ("done, and 500", "*", Fault::DoneButError),
        ("NoSuchUpload", complete, no_upload()),
        ("NoSuchUpload of a part", "UploadPart", no_upload()),
        ("metadata dropped", "*", Fault::DropMetadata),
        ("listing stale", "ListObjects", Fault::StaleListing),
        ("wrong ETag", "*", Fault::WrongEtag),
    ]
}

/// Pseudo-random numbers; the same ones for the same seed.
fn random(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// How many requests of an operation each run makes without faults.
fn requests(operation: &str) -> Vec<u64> {
    let (bucket, faults) = Bucket::failing();
    let tally = Tally::default();
    let mut seen = Vec::new();
    for number in 0..RUNS.len() {
        let round = Round { bucket: &bucket, faults: &faults, tally: &tally, what: String::new() };
        let before = faults.seen(operation, &bucket.prefix).len();
        let plan = round.plan(number, 0);
        assert!(matches!(run(&*writer(&bucket, options()), &plan, number), End::Committed));
        seen.push((faults.seen(operation, &bucket.prefix).len() - before) as u64);
    }
    seen
}

/// Each fault affects one request, or all from one on, of a job of several runs. In the end, rows
/// are written once, or the run has reported a failure or an unknown outcome, and nothing is left
/// over.
#[test]
#[ignore = "takes minutes: TRANSLOAD_ROUNDS (20) rounds of each fault"]
fn soak_f35_each_fault_at_any_request() {
    let rounds = std::env::var("TRANSLOAD_ROUNDS").map_or(20, |text| text.parse().unwrap());
    let only = std::env::var("TRANSLOAD_FAULT").unwrap_or_default();
    println!("fault | rounds | struck | failed, then repeated | unknown, then found | orphans");
    for (name, operation, fault) in all_faults().into_iter().filter(|it| it.0.contains(&only)) {
        let requests = requests(operation);
        for (lasting, times) in [("once", 1), ("from then on", u64::MAX)] {
            let tally = Tally::default();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        loop {
                            let round = count(&tally.rounds);
                            if round >= rounds {
                                break;
                            }
                            let number = random(round as u64) as usize % RUNS.len();
                            let after = random(!(round as u64)) % requests[number].max(1);
                            let what = format!(
                                "{name} {lasting}, round {round}: run {number}, after {after}"
                            );
                            let rule = Rule::on(operation).after(after).times(times);
                            let (bucket, faults) = Bucket::failing();
                            Round { bucket: &bucket, faults: &faults, tally: &tally, what }
                                .go(Some((number, rule, fault.clone())));
                        }
                    });
                }
            });
            let Tally { struck, failed, unknown, orphans, .. } = &tally;
            println!(
                "{name} {lasting} | {rounds} | {struck:?} | {failed:?} | {unknown:?} | {orphans:?}"
            );
        }
    }
}

/// How long a commit of many objects takes with a delay for each response, and then the removal of
/// as many.
#[test]
#[ignore = "a figure, not a test"]
fn soak_a_commit_of_many_objects() {
    let (bucket, faults) = Bucket::failing();
    let options = json!({"path": "out/", "format": "csv", "max_rows_per_object": 1});
    let writer = writer(&bucket, options);
    for (run, mode) in [("r-1", WriteMode::Insert), ("r-2", WriteMode::Overwrite)] {
        let plan = plan(run, &two_columns(), mode);
        writer.prepare(&plan).unwrap();
        let receipt = write_task(&*writer, &plan, 0, &[rows(0..200)]).unwrap().0;
        let _slow = faults.arm(Rule::on("*"), Fault::Slow(20));
        let begun = Instant::now();
        let outcome = writer.commit(&plan, &[receipt]).unwrap();
        println!("{mode:?} of 200 objects: {:?}", begun.elapsed());
        assert_eq!(outcome, ChunkOutcome::Committed);
        let begun = Instant::now();
        writer.finalise(&plan).unwrap();
        println!("finalised: {:?}", begun.elapsed());
        assert_eq!((bucket.data().len(), bucket.uploads()), (200, 0));
    }
}
