//! Several runs into one folder at once: one wins, the others say which and leave nothing, and the
//! manifest names exactly the files that are there.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::tempdir;
use transload_plugin_api::{Cancel, Column, Error, ErrorKind, Host, Plugin, Result, WriteMode};
use transload_plugin_file::FilePlugin;

use crate::host::{batch, columns, names, plan, row, write_task, writer, writing};

const TRIES: usize = 8;

fn one_column() -> Vec<Column> {
    columns(&[("id", "int64")])
}

fn rows(count: usize) -> RecordBatch {
    let rows: Vec<_> = (0..count).map(|id| row(&[&id.to_string()])).collect();
    batch(&one_column(), &rows)
}

/// What the host does with a job, up to the end of its cleaning up.
fn run(out: &Path, run: &str, mode: WriteMode, more: &Value, ready: &Barrier) -> Result<()> {
    let plan = plan(run, &one_column(), mode);
    let writer = writer(writing(out, more.clone()));
    if let Err(error) = writer.prepare(&plan) {
        ready.wait();
        return Err(error);
    }
    let staged = || {
        let first = write_task(&*writer, &plan, 0, &[rows(3)])?.0;
        let second = write_task(&*writer, &plan, 1, &[rows(4)])?.0;
        Ok::<_, Error>(vec![first, second])
    };
    let receipts = staged();
    ready.wait();
    match receipts.and_then(|receipts| writer.commit(&plan, &receipts)) {
        Ok(_) => writer.finalise(&plan),
        Err(error) => {
            writer.abort(&plan, &[])?;
            Err(error)
        }
    }
}

/// The files that are there, and those that the manifest names.
fn files(out: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let there = names(out).into_iter().filter(|name| !name.starts_with(['_', '.']));
    let manifest = fs::read(out.join("_transload_manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let named = manifest["files"].as_array().unwrap().iter();
    (there.collect(), named.map(|file| file["name"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn of_runs_that_write_at_once_one_wins_and_the_other_leaves_nothing() {
    use WriteMode::{Insert, Overwrite};
    for (first, second, old) in [
        (Insert, Insert, false),
        (Insert, Insert, true),
        (Overwrite, Insert, true),
        (Overwrite, Overwrite, true),
        (Overwrite, Overwrite, false),
    ] {
        for at in 0..TRIES {
            let folder = tempdir().unwrap();
            let out = folder.path().join("out");
            let more = json!({"layout": "folder", "format": "csv", "if_exists": "append"});
            if old {
                run(&out, "old", Insert, &more, &Barrier::new(1)).unwrap();
            }
            let ready = Barrier::new(2);
            let outcomes = thread::scope(|scope| {
                let one = scope.spawn(|| run(&out, "r-one", first, &more, &ready));
                let two = scope.spawn(|| run(&out, "r-two", second, &more, &ready));
                [one, two].map(|run| run.join().unwrap())
            });
            let (there, named) = files(&out);
            assert_eq!(there, named, "{first:?} {second:?} {at}: {outcomes:?}");
            let won: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_ok()).collect();
            assert_eq!(won.len(), 1, "{first:?} {second:?} {at}: {outcomes:?}");
            let winner = if outcomes[0].is_ok() { "r-one" } else { "r-two" };
            let lost = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).unwrap();
            assert_eq!((lost.kind, lost.code.as_str()), (ErrorKind::Exists, "FILE-CHANGED"));
            assert!(lost.message.contains(&format!("run `{winner}`")), "{lost}");
            assert!(!out.join("_transload").exists());
        }
    }
}

#[test]
fn a_run_that_waits_for_another_one_can_be_stopped() {
    let folder = tempdir().unwrap();
    let cancel = Cancel::new();
    let host = Host::new(Arc::new(()), cancel.clone());
    let options = writing(folder.path(), json!({"layout": "folder", "format": "csv"}));
    let writer = FilePlugin.writer(options, host).unwrap();
    let plan = plan("r1", &one_column(), WriteMode::Insert);
    writer.prepare(&plan).unwrap();
    let receipt = write_task(&*writer, &plan, 0, &[rows(3)]).unwrap().0;
    // Another process publishes.
    let other = fs::File::open(folder.path()).unwrap();
    other.lock().unwrap();
    let waiting = thread::spawn(move || {
        let error = writer.commit(&plan, &[receipt]).unwrap_err();
        writer.abort(&plan, &[]).unwrap();
        (error, Instant::now())
    });
    thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished(), "it waits");
    cancel.cancel();
    let stopped = Instant::now();
    let (error, ended) = waiting.join().unwrap();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(ended - stopped < Duration::from_secs(1));
    assert_eq!(names(folder.path()), Vec::<String>::new());
}
