//! F35: the real program with a store that throttles, fails, returns wrong data and loses
//! responses. Either every row is present exactly once and nothing is left over, or the run reports
//! a failure and none of its rows is visible; run again, it completes.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{collections::BTreeSet, sync::OnceLock, thread};

use transload_tests::{Ended, Workplace, wait_until};
use transload_tests_buckets::Bucket;
use transload_tests_s3::{Armed, Fault, Rule};

/// Lines of some hundred bytes: two tasks send two parts each.
const ROWS: u64 = 16_000;

/// A separate store, so that faults affect only this test.
struct Stage {
    bucket: Bucket,
    workplace: Workplace,
}

impl Stage {
    fn new() -> Self {
        Self { bucket: Bucket::failing().0, workplace: Workplace::new() }
    }

    /// A job that writes a local file into objects below `out/`.
    fn writing() -> Self {
        let stage = Self::new();
        stage.workplace.put("in.csv", csv());
        let job = format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n\
             [writer]\n{}format = \"csv\"\npart_size = \"5 MiB\"\n{PATIENCE}\
             [channel]\nparallelism = 2\n",
            stage.bucket.lines("out/")
        );
        stage.workplace.put("job.toml", job);
        stage
    }

    /// A job that reads an object into a local file.
    fn reading() -> Self {
        let stage = Self::new();
        stage.bucket.put("in.csv", csv().as_bytes());
        let job = format!(
            "[reader]\n{}{PATIENCE}[writer]\nplugin = \"file\"\npath = \"out.csv\"\n\
             [channel]\nparallelism = 2\n",
            stage.bucket.lines("in.csv")
        );
        stage.workplace.put("job.toml", job);
        stage
    }

    fn arm(&self, rule: Rule, fault: Fault) -> Armed {
        self.bucket.faults().arm(rule, fault)
    }

    fn run(&self) -> Ended {
        self.workplace.run(&["run", "job.toml", "--progress", "none"])
    }

    /// The keys of the objects that readers see.
    fn data(&self) -> BTreeSet<String> {
        self.bucket.data().into_iter().collect()
    }

    /// The keys of the objects whose completion was requested from the store.
    fn completed(&self) -> BTreeSet<String> {
        let seen = self.bucket.faults().seen("CompleteMultipartUpload", "out/");
        let name = |key: &str| key.find("out/").map(|at| key[at..].to_owned());
        seen.iter().filter_map(|request| name(&request.key)).collect()
    }

    /// The numbers of the rows below `out/`, sorted.
    fn written(&self) -> Vec<u64> {
        let objects = self.bucket.data();
        let mut numbers: Vec<_> =
            objects.iter().flat_map(|key| numbers(&self.bucket.get(key))).collect();
        numbers.sort_unstable();
        numbers
    }

    #[track_caller]
    fn assert_written(&self, what: &str) {
        let found = self.written();
        assert!(found.iter().copied().eq(1..=ROWS), "{what}: {} rows", found.len());
        let keys = self.bucket.names();
        assert!(keys.iter().any(|key| key.ends_with("_SUCCESS")), "{what}: {keys:?}");
    }

    #[track_caller]
    fn assert_read(&self, what: &str) {
        let text = self.workplace.read("out.csv");
        let mut found = numbers(text.as_bytes());
        found.sort_unstable();
        assert!(found.iter().copied().eq(1..=ROWS), "{what}: {} rows", found.len());
    }

    /// A failed run: nothing is visible, and without the fault it completes.
    #[track_caller]
    fn mends(&self, ended: &Ended, what: &str) {
        assert!(matches!(ended.exit, Some(1..)), "{what}: {ended:?}");
        assert_eq!(self.bucket.data(), Vec::<String>::new(), "{what}: {ended:?}");
        self.run_again(what);
    }

    #[track_caller]
    fn run_again(&self, what: &str) {
        let again = self.run();
        assert_eq!(again.exit, Some(0), "{what}: {again:?}");
        self.assert_written(what);
        assert_eq!(self.bucket.faults().uploads(""), Vec::<String>::new(), "{what}");
    }

    /// After a run whose outcome is unknown: its uploads stay, because another process may be using
    /// them. A later run does not append to what it had published, but replaces it if the mode says
    /// so.
    #[track_caller]
    fn mends_what_is_left(&self, is_published: bool, what: &str) {
        let again = self.run();
        if is_published {
            again.exits(1).says("FILE-EXISTS");
            let mut found = self.written();
            found.dedup();
            assert_eq!(found.len(), self.written().len(), "{what}: rows are duplicated");
            let said = "write_mode = \"overwrite\"\n[channel]";
            let job = self.workplace.read("job.toml").replace("[channel]", said);
            self.workplace.put("job.toml", job);
            self.run().exits(0);
        } else {
            assert_eq!(again.exit, Some(0), "{what}: {again:?}");
        }
        let found = self.written();
        assert!(found.iter().copied().eq(1..=ROWS), "{what}: {} rows", found.len());
        let own = |key: &String| self.bucket.data().iter().any(|own| key.ends_with(own));
        let uploads = self.bucket.faults().uploads("");
        assert!(!uploads.iter().any(own), "{what}: {uploads:?}");
    }
}

/// Short, because some faults are permanent.
const PATIENCE: &str = "retries = 3\nreconnect_window = \"10 s\"\nrequest_timeout = \"5 s\"\n";

fn csv() -> &'static str {
    static CSV: OnceLock<String> = OnceLock::new();
    CSV.get_or_init(|| {
        let line = |row| format!("{row},{}\n", format!("row {} ", row * 7919).repeat(54));
        let lines: String = (1..=ROWS).map(line).collect();
        format!("id,words\n{lines}")
    })
}

fn numbers(content: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(content).unwrap();
    text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

/// Runs the cases, several at a time.
fn for_all<T: Sync>(cases: &[T], test: impl Fn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) =
                    cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    test(case);
                }
            });
        }
    });
}

/// Faults that a retry survives.
const PASSING: [Fault; 5] =
    [Fault::SLOW_DOWN, Fault::INTERNAL, Fault::Reset, Fault::LoseReply, Fault::DoneButError];

#[test]
fn f35_a_write_outlasts_what_passes() {
    let operations = [
        "ListObjects",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "PutObject",
    ];
    let cases = operations.iter().flat_map(|operation| PASSING.map(|fault| (*operation, fault)));
    let hang = [("UploadPart", Fault::Hang), ("CompleteMultipartUpload", Fault::Hang)];
    let in_body = ("CompleteMultipartUpload", Fault::ErrorInBody("InternalError".to_owned()));
    let looks = ["HeadObject", "GetObject"].map(|operation| (operation, Fault::INTERNAL));
    let cases: Vec<_> = cases.chain(hang).chain([in_body]).chain(looks).collect();
    for_all(&cases, |(operation, fault)| {
        let stage = Stage::writing();
        let what = format!("{operation}, {fault:?}");
        let armed = stage.arm(Rule::on(operation).after(1).times(1), fault.clone());
        let ended = stage.run();
        assert_eq!(ended.exit, Some(0), "{what}: {ended:?}");
        stage.assert_written(&what);
        assert_eq!(stage.bucket.faults().uploads(""), Vec::<String>::new(), "{what}");
        let is_used = !["HeadObject", "GetObject", "ListObjects"].contains(operation);
        assert!(!is_used || armed.hits() == 1, "{what}: the fault did not occur");
    });
}

#[test]
fn f35_a_write_that_cannot_go_on_leaves_nothing() {
    let cases = [
        ("CreateMultipartUpload", 1, Fault::FORBIDDEN),
        ("UploadPart", 2, Fault::FORBIDDEN),
        ("UploadPart", 1, Fault::INTERNAL),
        ("UploadPart", 3, Fault::Reset),
    ];
    for_all(&cases, |(operation, after, fault)| {
        let stage = Stage::writing();
        let what = format!("{operation}, {fault:?} after {after}");
        let armed = stage.arm(Rule::on(operation).after(*after), fault.clone());
        let ended = stage.run();
        assert!(armed.hits() > 0, "{what}: {ended:?}");
        drop(armed);
        assert_eq!(stage.bucket.faults().uploads(""), Vec::<String>::new(), "{what}: {ended:?}");
        stage.mends(&ended, &what);
    });
}

/// The outcome cannot be determined: nothing is removed, and a later run determines it.
#[test]
fn f35_an_outcome_that_nobody_knows_deletes_nothing() {
    let cases = [
        ("CompleteMultipartUpload", Fault::INTERNAL),
        ("CompleteMultipartUpload", Fault::ErrorInBody(String::new())),
        ("CompleteMultipartUpload", Fault::Reset),
        ("CompleteMultipartUpload", Fault::LoseReply),
    ];
    for_all(&cases, |(operation, fault)| {
        let stage = Stage::writing();
        let what = format!("{operation}, {fault:?}");
        let looks = stage.arm(Rule::on("HeadObject").key("out/part-"), Fault::INTERNAL);
        let armed = stage.arm(Rule::on(operation), fault.clone());
        let ended = stage.run();
        assert!(armed.hits() > 0, "{what}: {ended:?}");
        assert!(matches!(ended.exit, Some(1..)), "{what}: {ended:?}");
        let seen = |operation| stage.bucket.faults().seen(operation, "out/").len();
        assert_eq!(seen("AbortMultipartUpload") + seen("DeleteObject"), 0, "{what}: {ended:?}");
        drop((armed, looks));
        stage.mends_what_is_left(!stage.written().is_empty(), &what);
    });
}

#[test]
fn f35_a_store_that_keeps_no_metadata_is_known_by_other_signs() {
    for fault in [None, Some(Fault::LoseReply)] {
        let stage = Stage::writing();
        let _dropped = ["CreateMultipartUpload", "PutObject"]
            .map(|operation| stage.arm(Rule::on(operation), Fault::DropMetadata));
        let _lost = fault
            .clone()
            .map(|fault| stage.arm(Rule::on("CompleteMultipartUpload").times(1), fault));
        let ended = stage.run();
        assert_eq!(ended.exit, Some(0), "{fault:?}: {ended:?}");
        stage.assert_written(&format!("{fault:?}"));
        assert_eq!(stage.bucket.faults().uploads(""), Vec::<String>::new(), "{fault:?}");
    }
}

/// The plan reports it before anything is written.
#[test]
fn f35_a_store_that_keeps_no_metadata_cannot_meet_every_requirement() {
    let stage = Stage::writing();
    let job = stage.workplace.read("job.toml").replace("\"out/\"", "\"out/x.csv\"");
    let job = job.replace("parallelism = 2", "parallelism = 1");
    stage.workplace.put("job.toml", job + "[guarantee]\nrequire = \"atomic-job\"\n");
    let plan = || stage.workplace.run(&["plan", "job.toml"]);
    plan().exits(0);
    let dropped = stage.arm(Rule::on("PutObject"), Fault::DropMetadata);
    for ended in [plan(), stage.run()] {
        ended.exits(2).says("PLAN-GUARANTEE").says("`atomic-unit`").says("metadata");
    }
    assert_eq!(stage.bucket.names(), Vec::<String>::new());
    assert_eq!(stage.bucket.faults().seen("CreateMultipartUpload", ""), []);
    drop(dropped);
    stage.run().exits(0);
    assert_eq!(stage.bucket.names(), ["out/x.csv"]);
}

#[test]
fn f35_a_read_outlasts_what_passes() {
    let cut = [Fault::CutBody(1), Fault::CutBody(100_000), Fault::Hang];
    let passing = PASSING;
    let all: Vec<_> = passing[..3].iter().cloned().chain(cut).collect();
    let listing = passing[..3].iter().map(|fault| ("ListObjects", fault, 0));
    let cases = all.iter().flat_map(|fault| [("GetObject", fault, 0), ("GetObject", fault, 2)]);
    let cases: Vec<_> = cases.chain(listing).collect();
    for_all(&cases, |(operation, fault, after)| {
        let stage = Stage::reading();
        let what = format!("{operation}, {fault:?} after {after}");
        let _armed = stage.arm(Rule::on(operation).after(*after).times(1), (*fault).clone());
        let ended = stage.run();
        assert_eq!(ended.exit, Some(0), "{what}: {ended:?}");
        stage.assert_read(&what);
    });
}

/// A part of an object is never treated as the whole, nor another version as the planned one.
#[test]
fn f35_a_read_that_cannot_go_on_leaves_nothing() {
    let cases = [
        (0, Fault::FORBIDDEN),
        (3, Fault::FORBIDDEN),
        (3, Fault::INTERNAL),
        (1, Fault::WrongEtag),
        (3, Fault::PRECONDITION),
        (3, Fault::Answer(404, String::new())),
        (0, Fault::CutBody(0)),
        (1, Fault::IgnoreRange),
    ];
    for_all(&cases, |(after, fault)| {
        let stage = Stage::reading();
        let what = format!("{fault:?} after {after}");
        let armed = stage.arm(Rule::on("GetObject").after(*after), fault.clone());
        let ended = stage.run();
        assert!(armed.hits() > 0, "{what}: {ended:?}");
        assert!(matches!(ended.exit, Some(1..)), "{what}: {ended:?}");
        assert!(!stage.workplace.path().join("out.csv").exists(), "{what}");
        drop(armed);
        stage.run().exits(0);
        stage.assert_read(&what);
    });
}

/// Rows that are in stay, and the next process reads on behind them.
#[test]
fn f35_a_read_that_cannot_go_on_is_resumed_with_tokens() {
    for fault in [Fault::INTERNAL, Fault::FORBIDDEN, Fault::CutBody(0), Fault::Reset] {
        // What fails while it is planned is no run, and some requests come before the first.
        let resumed = (1..12).any(|after| is_resumed_with_tokens(after, &fault));
        assert!(resumed, "{fault:?}: no run was resumed");
    }
}

/// Whether a run failed by this fault after some requests; it was resumed then, and read each row once.
fn is_resumed_with_tokens(after: u64, fault: &Fault) -> bool {
    let stage = Stage::reading();
    stage.workplace.execute("t.db", "CREATE TABLE t (id INTEGER, words TEXT)");
    let into = "plugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\n[guarantee]\n\
                require = \"effectively-once\"\ncreate_tables = true\n[checkpoint]\n\
                rows = 2_000\n";
    let job = stage.workplace.read("job.toml");
    let job = job.replace("plugin = \"file\"\npath = \"out.csv\"\n", into);
    stage.workplace.put("job.toml", job.replace("\"10 s\"", "\"1 s\""));
    let armed = stage.arm(Rule::on("GetObject").after(after), fault.clone());
    let ended = stage.run();
    drop(armed);
    if ended.exit == Some(0) || !stage.workplace.path().join("state/runs/job").is_dir() {
        return false;
    }
    stage.workplace.run(&["resume", "job", "--progress", "none"]).exits(0);
    let count = "SELECT count(*) || ' ' || count(DISTINCT id) FROM t";
    let found = stage.workplace.sqlite("t.db", count);
    assert_eq!(found, [format!("'{ROWS} {ROWS}'")], "{fault:?} after {after}");
    true
}

#[test]
fn an_object_that_changes_during_the_run_is_an_error() {
    let stage = Stage::reading();
    let _slow = stage.arm(Rule::on("GetObject").after(1), Fault::Slow(300));
    let arguments = ["run", "job.toml", "--progress", "none"];
    let running = stage.workplace.start(&arguments);
    wait_until("it reads", || stage.bucket.faults().seen("GetObject", "in.csv").len() >= 2);
    stage.bucket.put("in.csv", csv().replace("row", "new").as_bytes());
    let ended = running.wait();
    assert!(matches!(ended.exit, Some(1..)), "{ended:?}");
    ended.says("in.csv").says("changed");
}

/// Killed at each step of the protocol, and run again: requests that the store had received are
/// processed, even if the program no longer waits for the response; every row is present once, and
/// nothing is left over.
#[test]
fn f35_a_killed_run_is_run_again() {
    let cases = [
        ("CreateMultipartUpload", 1_u64),
        ("UploadPart", 1),
        ("UploadPart", 4),
        ("CompleteMultipartUpload", 1),
        ("CompleteMultipartUpload", 2),
    ];
    for_all(&cases, |(operation, number)| {
        let stage = Stage::writing();
        let what = format!("killed at {operation} {number}");
        let slow = stage.arm(Rule::on(operation).after(number - 1), Fault::Slow(400));
        let running = stage.workplace.start(&["run", "job.toml", "--progress", "none"]);
        wait_until(&what, || slow.hits() > 0);
        running.signal("KILL");
        assert_eq!(running.wait().exit, None, "{what}");
        drop(slow);
        wait_until(&what, || stage.data() == stage.completed());
        let completed = stage.completed().len() as u64;
        let expected = if *operation == "CompleteMultipartUpload" { *number..=2 } else { 0..=0 };
        assert!(expected.contains(&completed), "{what}: {completed} objects");
        stage.mends_what_is_left(completed > 0, &what);
    });
}
