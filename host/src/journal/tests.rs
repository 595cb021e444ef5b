//! A journal in a folder of its own: written, read back, damaged.

use std::fs;

use serde_json::json;
use transload_plugin_api::{Counters, Position, Receipt};

use super::*;
use crate::job::Redactor;

/// A plan of two splits.
fn plan() -> Plan {
    let split = |label: &str| json!({ "label": label, "data": "", "ability": "seekable" });
    let side =
        json!({ "plugin": "p", "version": "1", "path": "", "sha256": "", "connection": null });
    let plan = json!({
        "run": "r", "job": "j", "environment": null, "reader": side, "writer": side,
        "target": { "name": "t", "exists": true, "columns": [] }, "mapping": [], "unmapped": [],
        "row_key": [], "write": { "run": "r", "columns": [], "mode": "insert",
            "tokens": { "prefix": "transload_" } },
        "draft": { "columns": [], "guarantee": "effectively-once" },
        "splits": [split("a"), split("b")], "guarantee": "effectively-once", "because": "",
        "notes": [], "warnings": [], "channel": crate::job::Channel::default(),
        "dirty": crate::job::DirtyLimit::default(),
        "inputs": { "file": "j.toml", "sha256": "", "parameters": {} }, "files": null
    });
    serde_json::from_value(plan).unwrap()
}

fn begun(state: &Path) -> (RunFolder, Journal) {
    let folder = RunFolder::create(state, "j", "r", Redactor::new()).unwrap();
    let run = RunRecord {
        form: FORM,
        started: "now".to_owned(),
        job_file: PathBuf::from("/j.toml"),
        job: std::collections::BTreeMap::new(),
        source: SourceShape::default(),
        plan: plan(),
    };
    let journal = Journal::begin(&folder, run).unwrap();
    (folder, journal)
}

fn some(read: u64) -> Counters {
    Counters { read, inserted: read, ..Counters::default() }
}

/// A journal of two chunks of task 1, which has finished.
fn written(state: &Path) -> RunFolder {
    let (folder, journal) = begun(state);
    journal.prepared().unwrap();
    journal.chunk(1, 1, &Position(vec![1]), &some(10), 0).unwrap();
    journal.chunk(1, 2, &Position(vec![0, 255]), &some(25), 77).unwrap();
    journal.finished(&Receipt { task: 1, data: "x".to_owned() }).unwrap();
    folder
}

#[test]
fn what_is_written_is_read_back() {
    let state = tempfile::tempdir().unwrap();
    let folder = written(state.path());
    let past = Past::read(folder.path()).unwrap();
    assert!(matches!(past.state, State::Writing), "{:?}", past.state);
    assert_eq!((past.is_prepared, past.counters()), (true, some(25)));
    assert_eq!(past.starts[0], TaskStart::default());
    let start = &past.starts[1];
    let progress = start.progress.as_ref().unwrap();
    assert_eq!((progress.chunks, &progress.position.0), (2, &vec![0, 255]));
    assert_eq!(start.dirty_bytes, 77);
    assert_eq!(start.receipt.as_ref().unwrap().data, "x");
    let journal = Journal::reopen(&folder, &past, past.starts.clone()).unwrap();
    assert_eq!(journal.starts, past.starts);
    journal.publishing().unwrap();
    let past = Past::read(folder.path()).unwrap();
    assert!(past.is_uncertain());
    assert_eq!(past.resumed, 1);
    journal.done().unwrap();
    assert!(matches!(Past::read(folder.path()).unwrap().state, State::Done));
}

#[test]
fn a_torn_last_line_is_dropped_and_replaced() {
    let state = tempfile::tempdir().unwrap();
    let folder = written(state.path());
    let path = folder.path().join(JOURNAL);
    let whole = fs::read(&path).unwrap();
    let before_last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for end in before_last..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let past = Past::read(folder.path()).unwrap();
        assert_eq!(past.starts[1].receipt, None, "{end}");
        Journal::reopen(&folder, &past, past.starts.clone()).unwrap().publishing().unwrap();
        assert!(Past::read(folder.path()).unwrap().is_uncertain(), "{end}");
    }
}

#[test]
fn each_flipped_bit_is_found() {
    let state = tempfile::tempdir().unwrap();
    let folder = written(state.path());
    let path = folder.path().join(JOURNAL);
    let whole = fs::read(&path).unwrap();
    let line_of = |at: usize| whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            fs::write(&path, &bytes).unwrap();
            match Past::read(folder.path()) {
                Err(Damage::Line(line, run)) => {
                    assert_eq!(line, line_of(at), "byte {at}, bit {bit}");
                    assert_eq!(run.is_some(), line > 1);
                }
                // The last line has lost its end, as after a crash.
                Ok(past) => {
                    assert_eq!((at, past.starts[1].receipt.as_ref()), (whole.len() - 1, None));
                }
                Err(other) => panic!("byte {at}, bit {bit}: {other:?}"),
            }
        }
    }
}

#[test]
fn lines_that_are_missing_doubled_or_swapped_are_found() {
    let state = tempfile::tempdir().unwrap();
    let folder = written(state.path());
    let path = folder.path().join(JOURNAL);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let without = [&lines[..2], &lines[3..]].concat();
    let doubled = [&lines[..3], &lines[2..]].concat();
    let swapped = [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat();
    for (lines, damaged) in [(without, 3), (doubled, 4), (swapped, 3)] {
        fs::write(&path, lines.concat()).unwrap();
        let damage = Past::read(folder.path()).err().unwrap();
        assert!(matches!(damage, Damage::Line(line, _) if line == damaged), "{damage:?}");
    }
}

#[test]
fn a_lost_journal_is_made_anew_from_the_copy_of_its_run() {
    let state = tempfile::tempdir().unwrap();
    let folder = written(state.path());
    let path = folder.path().join(JOURNAL);
    fs::remove_file(&path).unwrap();
    let damage = Past::read(folder.path()).err().unwrap();
    assert!(matches!(damage, Damage::Missing));
    let past = Journal::rebuild(&folder, damage).unwrap();
    assert_eq!((past.is_prepared, past.run.plan.splits.len()), (true, 2));
    assert!(past.starts.iter().all(|start| *start == TaskStart::default()));
    // The line of the run is damaged: what is there is kept aside.
    fs::write(&path, "nonsense\n").unwrap();
    let damage = Past::read(folder.path()).err().unwrap();
    Journal::rebuild(&folder, damage).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("journal-damaged")).unwrap(), "nonsense\n");
    // Both are.
    fs::write(&path, "nonsense\n").unwrap();
    fs::write(folder.path().join(RUN_COPY), "nonsense\n").unwrap();
    let damage = Past::read(folder.path()).err().unwrap();
    let error = Journal::rebuild(&folder, damage).err().unwrap();
    assert_eq!(error.error.code, "JOURNAL-DAMAGED");
    assert!(error.to_string().contains("journal, line 1"), "{error}");
}
