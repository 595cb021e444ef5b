//! Runs whose process is killed at every point of writing, publishing and cleaning up, and that a
//! new process resumes: every row is there once, and nothing else stays.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
};

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::TempDir;
use transload_plugin_api::{
    ChunkOutcome, Counters, ErrorKind, Host, Options, Plugin, Position, Receipt, TaskContext,
    TaskProgress, WriteMode, WritePlan, WriteTask, Writer,
};
use transload_plugin_object_store::ObjectStorePlugin;
use transload_tests_buckets::{Bucket, Kind, secrets};

use crate::host::{ids, plan, rows, two_columns};

fn shapes() -> [(u32, Value); 3] {
    [
        (2, json!({"path": "out/", "format": "csv"})),
        (2, json!({"path": "out/", "format": "csv", "name": "{task}-{number}.{ext}"})),
        (1, json!({"path": "out/x.csv"})),
    ]
}

fn rows_of(task: u32, chunk: u64) -> RecordBatch {
    let first = i64::from(task) * 100 + chunk as i64 * 10;
    rows(first..first + 3)
}

fn all_ids(tasks: u32) -> Vec<i64> {
    let of = |task: u32| [0, 10].map(|chunk| i64::from(task) * 100 + chunk);
    (0..tasks).flat_map(of).flat_map(|first| first..first + 3).collect()
}

fn run(tasks: u32, is_resumed: bool) -> WritePlan {
    WritePlan { tasks, is_resumed, ..plan("r-1", &two_columns(), WriteMode::Insert) }
}

/// A writer of a new process.
fn writer(options: &Value) -> Box<dyn Writer> {
    let Value::Object(values) = options.clone() else { panic!("options are an object") };
    let host = Host::new(secrets(), transload_plugin_api::Cancel::new());
    ObjectStorePlugin.writer(Options { values, ..Options::default() }, host).unwrap()
}

fn whole_options(bucket: &Bucket, more: &Value) -> Value {
    Value::Object(bucket.options(more.clone()).values)
}

fn position(chunk: u64) -> (Position, Counters) {
    let read = (chunk + 1) * 3;
    (Position(vec![chunk as u8]), Counters { read, inserted: read, ..Counters::default() })
}

fn finished() -> TaskProgress {
    let (position, counters) = position(1);
    TaskProgress { chunks: 2, position, counters, is_finished: true }
}

fn write_chunks(open: &mut dyn WriteTask, task: u32) {
    for chunk in 0..2 {
        open.begin_chunk(chunk).unwrap();
        open.write(&rows_of(task, chunk)).unwrap();
        let (position, counters) = position(chunk);
        open.commit_chunk(&position, &counters).unwrap();
    }
}

/// Works on a run as far as it goes: what a host does, whose journal is a folder of notes.
fn work(options: &Value, tasks: u32, journal: &Path) {
    let note = |name: &str, text: &str| fs::write(journal.join(name), text).unwrap();
    let receipt = |task: u32| {
        let text = fs::read_to_string(journal.join(format!("finished-{task}"))).ok()?;
        Some(serde_json::from_str::<Receipt>(&text).unwrap())
    };
    let run = run(tasks, journal.join("prepared").exists());
    let writer = writer(options);
    writer.prepare(&run).unwrap();
    note("prepared", "");
    for task in 0..tasks {
        if journal.join("publishing").exists() {
            break;
        }
        let mut open = writer.open(&run, &TaskContext { task, epoch: 0 }).unwrap();
        let progress = open.progress().unwrap();
        let known = receipt(task);
        assert!(known.is_none() || progress.is_some(), "task {task} has finished and is forgotten");
        match progress {
            Some(progress) => assert_eq!(progress, finished()),
            None => write_chunks(&mut *open, task),
        }
        let made = open.finish().unwrap();
        assert!(known.is_none_or(|known| known == made), "the same receipt again");
        note(&format!("finished-{task}"), &serde_json::to_string(&made).unwrap());
    }
    note("publishing", "");
    let receipts: Vec<_> = (0..tasks).map(|task| receipt(task).unwrap()).collect();
    let outcome = writer.commit(&run, &receipts).unwrap();
    assert!(!matches!(outcome, ChunkOutcome::Unknown { .. }), "{outcome:?}");
    writer.finalise(&run).unwrap();
    assert_eq!(writer.commit(&run, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
}

/// The work of a process that the other tests start and kill.
#[test]
#[ignore = "started by the other tests"]
fn worker() {
    let variable = |name: &str| std::env::var(format!("TRANSLOAD_TEST_{name}")).unwrap();
    let options: Value = serde_json::from_str(&variable("OPTIONS")).unwrap();
    let (tasks, journal) = (variable("TASKS").parse().unwrap(), variable("JOURNAL"));
    match variable("WORK").as_str() {
        "abort" => writer(&options).abort(&run(tasks, true), &[]).unwrap(),
        _ => work(&options, tasks, journal.as_ref()),
    }
}

fn start(options: &Value, tasks: u32, journal: &Path, what: &str, failpoint: &str) -> Output {
    let mut worker = Command::new(std::env::current_exe().unwrap());
    worker.args(["--exact", "resuming::worker", "--ignored", "--nocapture"]);
    worker
        .env("TRANSLOAD_TEST_OPTIONS", options.to_string())
        .env("TRANSLOAD_TEST_JOURNAL", journal);
    worker.env("TRANSLOAD_TEST_TASKS", tasks.to_string()).env("TRANSLOAD_TEST_WORK", what);
    worker.env("TRANSLOAD_FAILPOINT", failpoint).output().unwrap()
}

/// Whether the worker was killed at its failpoint; otherwise it has come through.
fn was_killed(output: &Output) -> bool {
    let killed = output.status.signal().is_some();
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    killed
}

/// Uploads that stay: one whose beginning was not noted is told from others by the run in its key.
fn assert_clean(bucket: &Bucket, more: &Value, at: &str) {
    let hidden = |name: &String| name.contains("_transload/");
    assert_eq!(bucket.names().into_iter().find(hidden), None, "{at}");
    let has_run = more["path"] == "out/" && more.get("name").is_none();
    assert!(bucket.uploads() <= usize::from(!has_run), "{at}: {} uploads", bucket.uploads());
}

#[test]
fn a_killed_run_is_resumed_from_every_point() {
    let mut kills = 0;
    for kind in [Kind::S3, Kind::Folder] {
        for (tasks, more) in shapes() {
            for point in ["K10", "K11", "K13"] {
                for pass in 1.. {
                    let (bucket, journal) = (Bucket::new(kind), TempDir::new().unwrap());
                    let options = whole_options(&bucket, &more);
                    let at = format!("{kind:?} {more} {point}#{pass}");
                    let failpoint = format!("{point}#{pass}");
                    let killed =
                        was_killed(&start(&options, tasks, journal.path(), "run", &failpoint));
                    if killed {
                        kills += 1;
                        work(&options, tasks, journal.path());
                    }
                    assert_eq!(ids(&bucket), all_ids(tasks), "{at}");
                    assert_clean(&bucket, &more, &at);
                    if !killed {
                        assert!(pass > 1, "{at}: never passed");
                        break;
                    }
                }
            }
        }
    }
    assert!(kills > 50, "{kills} kills");
}

#[test]
fn an_abort_is_repeated_from_every_point() {
    for kind in [Kind::S3, Kind::Folder] {
        for (tasks, more) in shapes() {
            for pass in 1.. {
                let (bucket, journal) = (Bucket::new(kind), TempDir::new().unwrap());
                let options = whole_options(&bucket, &more);
                assert!(was_killed(&start(&options, tasks, journal.path(), "run", "K11#1")));
                let failpoint = format!("K14#{pass}");
                let killed =
                    was_killed(&start(&options, tasks, journal.path(), "abort", &failpoint));
                writer(&options).abort(&run(tasks, true), &[]).unwrap();
                let at = format!("{kind:?} {more} {failpoint}");
                assert_eq!(bucket.names(), Vec::<String>::new(), "{at}");
                assert_clean(&bucket, &more, &at);
                if !killed {
                    break;
                }
            }
        }
    }
}

/// A run of which task 0 has finished and task 1 was killed.
fn half_done(options: &Value) -> Receipt {
    let (writer, run) = (writer(options), run(2, false));
    writer.prepare(&run).unwrap();
    let mut first = writer.open(&run, &TaskContext { task: 0, epoch: 0 }).unwrap();
    write_chunks(&mut *first, 0);
    let receipt = first.finish().unwrap();
    let mut second = writer.open(&run, &TaskContext { task: 1, epoch: 0 }).unwrap();
    second.begin_chunk(0).unwrap();
    second.write(&rows(0..700_000)).unwrap();
    second.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    // A killed process runs no destructors.
    std::mem::forget(second);
    receipt
}

#[test]
fn a_finished_task_is_kept_and_another_starts_again() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let options =
            whole_options(&bucket, &json!({"path": "out/", "format": "csv", "part_size": "5 MiB"}));
        let receipt = half_done(&options);
        if kind != Kind::Azure {
            assert_eq!(bucket.uploads(), 2, "{kind:?}");
        }
        let (writer, run) = (writer(&options), run(2, true));
        writer.prepare(&run).unwrap();
        let mut kept = writer.open(&run, &TaskContext { task: 0, epoch: 0 }).unwrap();
        assert_eq!(kept.progress().unwrap(), Some(finished()), "{kind:?}");
        assert_eq!(kept.begin_chunk(0).unwrap_err().kind, ErrorKind::Defect);
        assert_eq!(kept.finish().unwrap(), receipt);
        let mut second = writer.open(&run, &TaskContext { task: 1, epoch: 0 }).unwrap();
        assert_eq!(second.progress().unwrap(), None);
        if kind != Kind::Azure {
            assert_eq!(bucket.uploads(), 1, "{kind:?}: parts of the killed attempt");
        }
        write_chunks(&mut *second, 1);
        let second = second.finish().unwrap();
        writer.commit(&run, &[receipt, second]).unwrap();
        writer.finalise(&run).unwrap();
        assert_eq!((ids(&bucket), bucket.uploads()), (all_ids(2), 0), "{kind:?}");
    }
}

#[test]
fn a_finished_task_whose_upload_is_gone_starts_again() {
    let bucket = Bucket::s3();
    let options = whole_options(&bucket, &json!({"path": "out/", "format": "csv"}));
    let receipt = half_done(&options);
    // A lifecycle rule of the bucket cancels uploads and leaves the notes.
    let notes: Vec<_> = bucket.names().into_iter().map(|it| (bucket.text(&it), it)).collect();
    writer(&options).abort(&run(2, true), &[]).unwrap();
    notes.iter().for_each(|(text, name)| bucket.put(name, text));
    let (writer, run) = (writer(&options), run(2, true));
    writer.prepare(&run).unwrap();
    let mut first = writer.open(&run, &TaskContext { task: 0, epoch: 0 }).unwrap();
    assert_eq!(first.progress().unwrap(), None);
    write_chunks(&mut *first, 0);
    assert_ne!(first.finish().unwrap(), receipt);
}

#[test]
fn a_run_whose_stage_is_gone_is_not_resumed() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let options = whole_options(&bucket, &json!({"path": "out/", "format": "csv"}));
        half_done(&options);
        let notes = bucket.names().into_iter().filter(|name| name.contains("_transload/"));
        notes.for_each(|name| bucket.remove(&name));
        let error = writer(&options).prepare(&run(2, true)).unwrap_err();
        assert_eq!(error.code, "FILE-ABANDONED", "{kind:?} {error}");
    }
}
