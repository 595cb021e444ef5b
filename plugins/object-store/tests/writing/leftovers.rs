//! What killed runs have left, how far each had come, and how a later run handles it.

use serde_json::{Value, json};
use transload_plugin_api::{ChunkOutcome, Receipt, WriteMode, WritePlan, Writer};
use transload_tests_buckets::{Bucket, Kind};
use transload_tests_s3::{Fault, Rule};

use crate::host::{ids, plan, rows, two_columns, write, write_task, writer};

const MANIFEST: &str = "out/_transload_manifest.json";

fn out(more: Value) -> Value {
    let mut options = json!({"path": "out/", "format": "csv", "if_exists": "append"});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

/// Other runs are considered dead at once.
fn impatient() -> Value {
    out(json!({"abandoned_after": 0}))
}

struct Run {
    plan: WritePlan,
    receipts: Vec<Receipt>,
    /// As long as it is there, its process may be alive: it holds locks on a disk.
    _process: Box<dyn Writer>,
}

/// A run of two tasks, up to its commit.
fn finished(bucket: &Bucket, options: Value, run: &str, mode: WriteMode, first: i64) -> Run {
    let plan = WritePlan { tasks: 2, ..plan(run, &two_columns(), mode) };
    let writer = writer(bucket, options);
    writer.prepare(&plan).unwrap();
    let task = |task: u32| {
        let rows = rows([first + i64::from(task)]);
        write_task(&*writer, &plan, task, &[rows]).unwrap().0
    };
    let receipts = (0..2).map(task).collect();
    Run { plan, receipts, _process: writer }
}

/// A run that was killed after its objects were written, and before the manifest.
fn publishing(bucket: &Bucket, run: &str) -> Run {
    let before = bucket.names().contains(&MANIFEST.to_owned()).then(|| bucket.text(MANIFEST));
    let made = finished(bucket, out(json!({})), run, WriteMode::Insert, 0);
    writer(bucket, out(json!({}))).commit(&made.plan, &made.receipts).unwrap();
    match before {
        Some(text) => bucket.put(MANIFEST, &text),
        None => bucket.remove(MANIFEST),
    }
    made
}

fn commit(writer: &dyn Writer, run: &Run) -> ChunkOutcome {
    writer.commit(&run.plan, &run.receipts).unwrap()
}

/// A complete later run that adds rows 50 and 51.
fn add(bucket: &Bucket, options: Value) {
    let run = finished(bucket, options.clone(), "r-9", WriteMode::Insert, 50);
    let writer = writer(bucket, options);
    assert_eq!(commit(&*writer, &run), ChunkOutcome::Committed);
    writer.finalise(&run.plan).unwrap();
}

fn staged(bucket: &Bucket, run: &str) -> bool {
    bucket.names().iter().any(|name| name.starts_with(&format!("out/_transload/{run}/")))
}

#[test]
fn a_dead_run_that_was_at_work_is_removed() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let dead = finished(&bucket, out(json!({})), "r-1", WriteMode::Insert, 0);
        add(&bucket, out(json!({})));
        assert!(staged(&bucket, "r-1"), "{kind:?}: it may be alive");
        bucket.remove(MANIFEST);
        bucket.data().iter().for_each(|name| bucket.remove(name));
        let draft =
            writer(&bucket, impatient()).draft(&plan("r-9", &two_columns(), dead.plan.mode));
        let warnings = draft.unwrap().warnings;
        assert!(warnings.iter().any(|it| it.contains("r-1") && it.contains("are removed before")));
        add(&bucket, impatient());
        assert_eq!((staged(&bucket, "r-1"), bucket.uploads()), (false, 0), "{kind:?}");
        assert_eq!(ids(&bucket), [50, 51], "{kind:?}");
        writer(&bucket, out(json!({}))).commit(&dead.plan, &dead.receipts).unwrap_err();
        assert_eq!(ids(&bucket), [50, 51], "{kind:?}");
    }
}

#[test]
fn a_dead_run_that_was_publishing_is_taken_back() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        bucket.put("out/theirs.csv", "id,name\n99,x\n");
        let dead = publishing(&bucket, "r-1");
        let draft =
            writer(&bucket, out(json!({}))).draft(&plan("r-2", &two_columns(), dead.plan.mode));
        let warnings = draft.unwrap().warnings;
        assert!(warnings.iter().any(|it| it.contains("r-1 is publishing")), "{warnings:?}");
        add(&bucket, impatient());
        assert_eq!((staged(&bucket, "r-1"), bucket.uploads()), (false, 0), "{kind:?}");
        assert_eq!(ids(&bucket), [50, 51, 99], "{kind:?}: what is not provably its own stays");
        writer(&bucket, out(json!({}))).commit(&dead.plan, &dead.receipts).unwrap_err();
        assert_eq!(ids(&bucket), [50, 51, 99], "{kind:?}");
    }
}

#[test]
fn what_may_be_alive_is_not_touched() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let alive = publishing(&bucket, "r-1");
        let names = bucket.names();
        let other = plan("r-2", &two_columns(), WriteMode::Insert);
        let second = writer(&bucket, out(json!({})));
        second.prepare(&other).unwrap();
        second.abort(&other, &[]).unwrap();
        assert_eq!(bucket.names(), names, "{kind:?}");
        let first = writer(&bucket, out(json!({})));
        assert_eq!(commit(&*first, &alive), ChunkOutcome::Committed);
        assert_eq!(ids(&bucket), [0, 1], "{kind:?}");
    }
}

#[test]
fn a_committed_run_is_no_leftover_to_be_taken_back() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let done = finished(&bucket, out(json!({})), "r-1", WriteMode::Insert, 0);
        commit(&*writer(&bucket, out(json!({}))), &done);
        assert!(staged(&bucket, "r-1"), "killed before its end");
        // Dead or not, its staging is no longer needed.
        add(&bucket, out(json!({})));
        assert_eq!((staged(&bucket, "r-1"), bucket.uploads()), (false, 0), "{kind:?}");
        assert_eq!(ids(&bucket), [0, 1, 50, 51], "{kind:?}");
    }
}

#[test]
fn one_object_that_is_there_is_committed() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let single = json!({"path": "out/x.csv"});
        let plan = plan("r-1", &two_columns(), WriteMode::Insert);
        let first = writer(&bucket, single.clone());
        first.prepare(&plan).unwrap();
        let receipt = write_task(&*first, &plan, 0, &[rows(0..2)]).unwrap().0;
        assert_eq!(first.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
        assert!(staged(&bucket, "r-1"), "killed before its end");
        add(&bucket, impatient());
        assert_eq!((staged(&bucket, "r-1"), ids(&bucket)), (false, vec![0, 1, 50, 51]), "{kind:?}");
        // An overwrite of the prefix does not treat it as an object of the data set either.
        let second = WritePlan { run: "r-2".to_owned(), ..plan.clone() };
        let again = writer(&bucket, json!({"path": "out/y.csv"}));
        again.prepare(&second).unwrap();
        let receipt = write_task(&*again, &second, 0, &[rows(2..3)]).unwrap().0;
        again.commit(&second, &[receipt]).unwrap();
        let overwrite = crate::host::plan("r-3", &two_columns(), WriteMode::Overwrite);
        write(&bucket, out(json!({})), &overwrite, &[vec![rows(7..8)]]).unwrap();
        assert_eq!(ids(&bucket), [0, 1, 2, 7], "{kind:?}");
    }
}

#[test]
fn what_is_unknown_stays_and_a_plan_says_how_to_remove_it() {
    let (bucket, faults) = Bucket::failing();
    let options = out(json!({"retries": 0}));
    let run = finished(&bucket, options.clone(), "r-1", WriteMode::Insert, 0);
    let armed = faults.arm(Rule::on("CompleteMultipartUpload").key("00001-"), Fault::INTERNAL);
    let outcome = commit(&*writer(&bucket, options.clone()), &run);
    assert!(matches!(outcome, ChunkOutcome::Unknown { .. }), "{outcome:?}");
    drop(armed);
    let names = bucket.names();
    let other = writer(&bucket, impatient());
    let second = plan("r-2", &two_columns(), WriteMode::Insert);
    let warnings = other.draft(&second).unwrap().warnings;
    let told = |it: &String| it.contains("run r-1 could not") && it.contains("out/_transload/r-1/");
    assert!(warnings.iter().any(told), "{warnings:?}");
    other.prepare(&second).unwrap();
    other.abort(&second, &[]).unwrap();
    assert_eq!((bucket.names(), bucket.uploads()), (names, 1), "nothing is removed");
    assert_eq!(commit(&*writer(&bucket, options), &run), ChunkOutcome::Committed);
    assert_eq!((ids(&bucket), bucket.uploads()), (vec![0, 1], 0));
}

#[test]
fn a_run_that_was_taken_for_dead_does_not_commit() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let slow = finished(&bucket, out(json!({})), "r-1", WriteMode::Insert, 0);
        bucket.put("out/_transload/r-1/swept", "{}");
        let first = writer(&bucket, out(json!({})));
        let error = first.commit(&slow.plan, &slow.receipts).unwrap_err();
        assert_eq!(error.code, "FILE-ABANDONED", "{kind:?}");
        first.abort(&slow.plan, &slow.receipts).unwrap();
        assert_eq!((bucket.names(), bucket.uploads()), (Vec::new(), 0), "{kind:?}");
        // The run that was removing it was killed too: the next one continues, however young it is.
        finished(&bucket, out(json!({})), "r-2", WriteMode::Insert, 0);
        bucket.put("out/_transload/r-2/swept", "{}");
        add(&bucket, out(json!({})));
        assert_eq!((staged(&bucket, "r-2"), bucket.uploads()), (false, 0), "{kind:?}");
    }
}

#[test]
fn an_upload_that_nobody_has_noted_is_found_by_its_run() {
    let (bucket, faults) = Bucket::failing();
    let lost = faults.arm(Rule::on("CreateMultipartUpload").times(1), Fault::LoseReply);
    finished(&bucket, out(json!({})), "r-1", WriteMode::Insert, 0);
    assert_eq!((lost.hits(), bucket.uploads()), (1, 3));
    // Runs whose names contain its name have other uploads.
    let other = finished(&bucket, out(json!({})), "r-1-2", WriteMode::Insert, 10);
    let noted =
        bucket.names().into_iter().filter(|it| it.contains("/r-1/") && it.contains("begun"));
    noted.for_each(|name| bucket.remove(&name));
    bucket.put("out/_transload/r-1/swept", "{}");
    let next = plan("r-9", &two_columns(), WriteMode::Insert);
    writer(&bucket, out(json!({}))).prepare(&next).unwrap();
    assert_eq!((staged(&bucket, "r-1"), bucket.uploads()), (false, 2));
    let writer = writer(&bucket, out(json!({})));
    assert_eq!(commit(&*writer, &other), ChunkOutcome::Committed);
}

#[test]
fn what_a_commit_has_not_removed_the_next_run_removes() {
    let (bucket, faults) = Bucket::failing();
    let options = out(json!({"retries": 0}));
    let old = plan("r-0", &two_columns(), WriteMode::Insert);
    write(&bucket, options.clone(), &old, &[vec![rows(70..72)]]).unwrap();
    let run = finished(&bucket, options.clone(), "r-1", WriteMode::Overwrite, 0);
    let armed = faults.arm(Rule::on("DeleteObjects"), Fault::FORBIDDEN);
    let outcome = commit(&*writer(&bucket, options.clone()), &run);
    let ChunkOutcome::Unknown { evidence } = &outcome else { panic!("{outcome:?}") };
    assert!(evidence.contains("the rows are in"), "{evidence}");
    drop(armed);
    assert_eq!(ids(&bucket), [0, 1, 70, 71]);
    add(&bucket, options.clone());
    assert_eq!((ids(&bucket), staged(&bucket, "r-1")), (vec![0, 1, 50, 51], false));
    // An object that another program wrote under an old name is not ours.
    bucket.put("out/part-r-0-00000-00000.csv", "id,name\n99,x\n");
    assert_eq!(commit(&*writer(&bucket, options), &run), ChunkOutcome::AlreadyCommitted);
    assert_eq!(ids(&bucket), [0, 1, 50, 51, 99]);
}

#[test]
fn a_week_is_long_enough_by_itself() {
    let bucket = Bucket::new(Kind::Folder);
    let _runs = ["r-1", "r-2"].map(|run| publishing(&bucket, run));
    let [dead, asleep] = ["r-1", "r-2"].map(|run| bucket.file(&format!("out/_transload/{run}")));
    let week = std::time::Duration::from_secs(8 * 24 * 3600);
    for entry in std::fs::read_dir(&dead).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        file.set_modified(std::time::SystemTime::now() - week).unwrap();
    }
    let next = plan("r-4", &two_columns(), WriteMode::Insert);
    writer(&bucket, out(json!({}))).prepare(&next).unwrap();
    assert!(!dead.exists() && asleep.exists());
    assert_eq!(ids(&bucket), [0, 1], "the dead one's are gone");
}

#[test]
fn a_run_whose_process_is_gone_is_removed_at_once_on_a_disk() {
    let bucket = Bucket::new(Kind::Folder);
    bucket.put("out/theirs.csv", "id,name\n99,x\n");
    let dead = publishing(&bucket, "r-1");
    let other = plan("r-2", &two_columns(), WriteMode::Insert);
    let second = writer(&bucket, out(json!({})));
    second.prepare(&other).unwrap();
    second.abort(&other, &[]).unwrap();
    assert!(staged(&bucket, "r-1") && ids(&bucket) == [0, 1, 99], "it is alive");
    drop(dead);
    let warnings = writer(&bucket, out(json!({}))).draft(&other).unwrap().warnings;
    assert!(warnings.iter().any(|it| it.contains("r-1 was killed while")), "{warnings:?}");
    add(&bucket, out(json!({})));
    assert_eq!((staged(&bucket, "r-1"), ids(&bucket)), (false, vec![50, 51, 99]));
}

/// Uploads of a run, and one that no run knows, as `connection test` shows them.
#[test]
fn a_check_names_what_killed_runs_have_left() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let detail = |options: Value| {
            let findings = writer(&bucket, options).check().unwrap();
            let found = findings.into_iter().find(|finding| finding.stage == "leftovers");
            found.map(|finding| finding.detail)
        };
        assert_eq!(detail(impatient()), None, "{kind:?}");
        finished(&bucket, out(json!({})), "r-1", WriteMode::Insert, 0);
        let of_run = detail(impatient()).unwrap();
        assert!(of_run.starts_with("run r-1 ") && !of_run.contains("no run knows"), "{of_run}");
        // Its notes are gone, its uploads are not.
        let notes = bucket.names().into_iter().filter(|name| name.contains("_transload/"));
        notes.for_each(|name| bucket.remove(&name));
        if kind == Kind::S3 {
            let unknown = detail(impatient()).unwrap();
            assert!(unknown.starts_with("2 upload(s) that no run knows"), "{unknown}");
            assert_eq!(detail(out(json!({}))), None, "they are not old enough");
            assert_eq!(bucket.uploads(), 2, "a check removes nothing");
        }
    }
}
