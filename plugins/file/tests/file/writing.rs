//! What the writer leaves behind: the expected files after a commit, nothing in all other cases.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use transload_plugin_api::{
    ChunkOutcome, Column, Counters, ErrorKind, Guarantee, Position, Receipt, Result, TaskContext,
    WriteMode, WritePlan,
};

use crate::host::{
    Row, batch, columns, names, options, plan, read, reading, row, write, write_task, writer,
    writing,
};

fn two_columns() -> Vec<Column> {
    columns(&[("id", "int64"), ("name", "text")])
}

fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let rows: Vec<Row> = ids.into_iter().map(|id| row(&[&id.to_string(), "x"])).collect();
    batch(&two_columns(), &rows)
}

/// Writes each list of ids with one task, and returns the outcome.
fn job(path: &Path, run: &str, mode: WriteMode, tasks: &[&[i64]], more: Value) -> Result<()> {
    let tasks: Vec<_> = tasks.iter().map(|ids| vec![rows(ids.iter().copied())]).collect();
    let dirty = write(writing(path, more), &plan(run, &two_columns(), mode), &tasks)?;
    assert_eq!(dirty, []);
    Ok(())
}

fn ids(path: &Path, more: Value) -> Vec<String> {
    let read = read(reading(path, more), 1).unwrap();
    read.rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

fn new_file(name: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

/// The staged file of a task of the run `r1` beside `path`.
fn part_of(path: &Path, task: u32) -> std::path::PathBuf {
    let run = path.with_file_name("_transload").join("r1");
    let start = format!("t{task}.e0.");
    let mut parts = names(&run).into_iter();
    let part = parts.find(|name| name.starts_with(&start) && name.ends_with(".part"));
    run.join(part.unwrap())
}

#[test]
fn parts_are_joined_in_the_tasks_order() {
    for (name, expected) in [
        ("x.csv", "id,name\n1,x\n2,x\n3,x\n"),
        (
            "x.jsonl",
            "{\"id\":1,\"name\":\"x\"}\n{\"id\":2,\"name\":\"x\"}\n{\"id\":3,\"name\":\"x\"}\n",
        ),
        (
            "x.json",
            "[\n{\"id\":1,\"name\":\"x\"},\n{\"id\":2,\"name\":\"x\"},\n{\"id\":3,\"name\":\"x\"}\n]\n",
        ),
    ] {
        for tasks in [&[&[1i64, 2, 3][..]][..], &[&[1], &[], &[2, 3]], &[&[], &[1, 2], &[3]]] {
            let (folder, path) = new_file(name);
            job(&path, "r1", WriteMode::Insert, tasks, json!({})).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            assert_eq!(names(folder.path()), [name]);
        }
    }
}

#[test]
fn t56_empty_input_gives_a_whole_file_without_rows() {
    for (name, expected) in [("x.csv", "id,name\n"), ("x.jsonl", ""), ("x.json", "[\n]\n")] {
        for tasks in [&[][..], &[&[][..]], &[&[], &[]]] {
            let (_folder, path) = new_file(name);
            job(&path, "r1", WriteMode::Insert, tasks, json!({})).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
        let (folder, path) = new_file("out");
        let more = json!({"layout": "folder", "format": name.trim_start_matches("x.")});
        job(&path, "r1", WriteMode::Insert, &[&[], &[]], more).unwrap();
        let files: Vec<_> = names(&path);
        assert_eq!(files.len(), 3, "{files:?}");
        assert_eq!(fs::read_to_string(path.join(&files[2])).unwrap(), expected);
        drop(folder);
    }
}

#[test]
fn t56_nothing_is_visible_before_the_commit_and_nothing_stays_after_an_abort() {
    for (name, layout) in [("x.csv", "file"), ("out", "folder")] {
        let (folder, path) = new_file(name);
        let plan = plan("r1", &two_columns(), WriteMode::Insert);
        let writer = writer(writing(&path, json!({"format": "csv", "layout": layout})));
        writer.prepare(&plan).unwrap();
        let (receipt, _) = write_task(writer.as_ref(), &plan, 0, &[rows(0..10)]).unwrap();
        // A task in the middle of a chunk is dropped, as after a panic.
        let mut task = writer.open(&plan, &TaskContext { task: 1, epoch: 0 }).unwrap();
        task.begin_chunk(0).unwrap();
        task.write(&rows(0..10)).unwrap();
        drop(task);
        let visible = |folder: &Path| {
            let names = names(folder).into_iter();
            names.filter(|name| !name.starts_with(['.', '_'])).collect::<Vec<_>>()
        };
        match layout {
            "file" => assert_eq!(visible(folder.path()), Vec::<String>::new()),
            _ => assert_eq!(visible(&path), Vec::<String>::new()),
        }
        writer.abort(&plan, std::slice::from_ref(&receipt)).unwrap();
        writer.abort(&plan, &[receipt]).unwrap();
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}

#[test]
fn a_chunk_that_is_rolled_back_leaves_no_trace() {
    for name in ["x.csv", "x.jsonl", "x.json", "x.csv.gz", "x.json.zst", "x.jsonl.gz"] {
        let (_folder, path) = new_file(name);
        let plan = plan("r1", &two_columns(), WriteMode::Insert);
        let writer = writer(writing(&path, json!({})));
        writer.prepare(&plan).unwrap();
        let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
        let big: Vec<Row> =
            (0..50_000).map(|id| row(&[&id.to_string(), &"z".repeat(50)])).collect();
        let big = batch(&two_columns(), &big);
        for (sequence, (ids, keep)) in
            [(0..0, false), (1..3, false), (1..3, true), (3..5, false), (3..4, true)]
                .into_iter()
                .enumerate()
        {
            task.rollback_chunk().unwrap();
            task.begin_chunk(sequence as u64).unwrap();
            if !keep {
                task.write(&big).unwrap();
            }
            task.write(&rows(ids)).unwrap();
            if keep {
                task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
            } else {
                task.rollback_chunk().unwrap();
            }
        }
        // An open chunk at the end is discarded.
        task.begin_chunk(9).unwrap();
        task.write(&big).unwrap();
        let receipt = task.finish().unwrap();
        writer.commit(&plan, &[receipt]).unwrap();
        writer.finalise(&plan).unwrap();
        assert_eq!(ids(&path, json!({})), ["1", "2", "3"], "{name}");
    }
}

#[test]
fn values_that_json_has_not_are_dirty_rows_by_index() {
    let columns = columns(&[("f", "float64"), ("n", "numeric")]);
    let rows =
        [row(&["1.5", "1"]), row(&["NaN", "1"]), row(&["2", "Infinity"]), row(&["3", "NULL"])];
    let (_folder, path) = new_file("x.json");
    let batches = vec![batch(&columns, &rows)];
    let insert = plan("r1", &columns, WriteMode::Insert);
    let dirty = write(writing(&path, json!({})), &insert, std::slice::from_ref(&batches)).unwrap();
    let found: Vec<_> = dirty.iter().map(|d| (d.row, d.column.as_deref().unwrap())).collect();
    assert_eq!(found, [(1, "f"), (2, "n")]);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "[\n{\"f\":1.5,\"n\":1},\n{\"f\":3.0,\"n\":null}\n]\n"
    );
    let (_folder, path) = new_file("x.csv");
    assert_eq!(write(writing(&path, json!({})), &insert, &[batches]).unwrap(), []);
}

#[test]
fn an_insert_never_replaces_a_file() {
    let (folder, path) = new_file("x.csv");
    fs::write(&path, "mine\n").unwrap();
    let error = job(&path, "r1", WriteMode::Insert, &[&[1]], json!({})).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Exists, "FILE-EXISTS"));
    fs::remove_file(&path).unwrap();
    // The same for a file that appears during the run.
    let plan = plan("r1", &two_columns(), WriteMode::Insert);
    let writer = writer(writing(&path, json!({})));
    writer.prepare(&plan).unwrap();
    let (receipt, _) = write_task(writer.as_ref(), &plan, 0, &[rows(0..10)]).unwrap();
    fs::write(&path, "mine\n").unwrap();
    assert_eq!(
        writer.commit(&plan, std::slice::from_ref(&receipt)).unwrap_err().kind,
        ErrorKind::Exists
    );
    writer.abort(&plan, &[receipt]).unwrap();
    assert_eq!(names(folder.path()), ["x.csv"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine\n");
}

#[test]
fn rows_are_added_to_a_file_as_a_whole() {
    let append = |packed: &str| json!({"if_exists": "append", "compression": packed});
    for (name, packed) in
        [("x.csv", "none"), ("x.jsonl", "none"), ("x.csv.gz", "gzip"), ("x.jsonl.zst", "zstd")]
    {
        let (folder, path) = new_file(name);
        for (run, ids) in [("r1", [1i64, 2]), ("r2", [3, 4]), ("r3", [5, 6])] {
            job(&path, run, WriteMode::Insert, &[&ids[..1], &ids[1..]], append(packed)).unwrap();
        }
        assert_eq!(ids(&path, json!({})), ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(names(folder.path()), [name]);
    }
    // A line end is added after an incomplete last line.
    let (_folder, path) = new_file("x.csv");
    fs::write(&path, "id,name\n1,x").unwrap();
    job(&path, "r1", WriteMode::Insert, &[&[2]], append("none")).unwrap();
    assert_eq!(ids(&path, json!({})), ["1", "2"]);
    // An empty file gets a header.
    fs::write(&path, "").unwrap();
    job(&path, "r2", WriteMode::Insert, &[&[2]], append("none")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "id,name\n2,x\n");
}

#[test]
fn rows_are_not_added_to_what_they_do_not_fit() {
    for (name, content, more, kind) in [
        ("x.csv", "id,nom\n", json!({}), ErrorKind::Schema),
        ("x.csv", "name,id\n", json!({}), ErrorKind::Schema),
        ("x.csv", "id,name\n", json!({"compression": "gzip"}), ErrorKind::Schema),
        ("x.json", "[]", json!({}), ErrorKind::Unsupported),
    ] {
        let (folder, path) = new_file(name);
        fs::write(&path, content).unwrap();
        let mut more = more;
        more["if_exists"] = json!("append");
        let error = job(&path, "r1", WriteMode::Insert, &[&[1]], more).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(names(folder.path()), [name]);
    }
}

#[test]
fn overwriting_replaces_a_file_as_a_whole_and_keeps_its_rights() {
    let (folder, path) = new_file("x.csv");
    fs::write(&path, "old\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let plan = plan("r1", &two_columns(), WriteMode::Overwrite);
    let writer = writer(writing(&path, json!({})));
    let draft = writer.draft(&plan).unwrap();
    assert_eq!(draft.guarantee, Guarantee::AtomicJob);
    let steps: Vec<_> = draft.statements.iter().map(|step| step.destructive).collect();
    assert_eq!(steps, [true]);
    assert!(writer.inspect().unwrap().exists);
    writer.prepare(&plan).unwrap();
    let (receipt, _) = write_task(writer.as_ref(), &plan, 0, &[rows(0..2)]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");
    writer.commit(&plan, &[receipt]).unwrap();
    writer.finalise(&plan).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "id,name\n0,x\n1,x\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names(folder.path()), ["x.csv"]);
}

#[test]
fn a_file_changed_during_the_run_is_not_overwritten() {
    for mode in [WriteMode::Overwrite, WriteMode::Insert] {
        let (_folder, path) = new_file("x.csv");
        fs::write(&path, "id,name\n").unwrap();
        let plan = plan("r1", &two_columns(), mode);
        let writer = writer(writing(&path, json!({"if_exists": "append"})));
        writer.prepare(&plan).unwrap();
        let (receipt, _) = write_task(writer.as_ref(), &plan, 0, &[rows(0..2)]).unwrap();
        fs::write(&path, "id,name\n7,theirs\n").unwrap();
        let error = writer.commit(&plan, &[receipt]).unwrap_err();
        assert_eq!(error.code, "FILE-CHANGED");
        assert_eq!(fs::read_to_string(&path).unwrap(), "id,name\n7,theirs\n");
    }
}

#[test]
fn a_commit_is_repeated_after_a_crash_at_any_step() {
    let (_folder, path) = new_file("x.csv");
    let plan = plan("r1", &two_columns(), WriteMode::Insert);
    let first = writer(writing(&path, json!({})));
    first.prepare(&plan).unwrap();
    let receipts: Vec<Receipt> = (0..3)
        .map(|task| write_task(first.as_ref(), &plan, task, &[rows(i64::from(task)..4)]).unwrap().0)
        .collect();
    // The process died while it joined the parts: the base has a piece of the next part.
    let base = part_of(&path, 0);
    let mut base = fs::OpenOptions::new().append(true).open(base).unwrap();
    std::io::Write::write_all(&mut base, b"1,x\n2").unwrap();
    let second = writer(writing(&path, json!({})));
    assert_eq!(second.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    // It was killed right after the rename: another process detects it from the file itself.
    let third = writer(writing(&path, json!({})));
    assert_eq!(third.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
    assert_eq!(ids(&path, json!({})).len(), 4 + 3 + 2);
    // The file was removed by another program: the outcome cannot be determined.
    fs::remove_file(&path).unwrap();
    let outcome = third.commit(&plan, &receipts).unwrap();
    assert!(matches!(outcome, ChunkOutcome::Unknown { .. }), "{outcome:?}");
    third.finalise(&plan).unwrap();
    let fourth = writer(writing(&path, json!({})));
    assert_eq!(fourth.commit(&plan, &receipts).unwrap_err().kind, ErrorKind::Defect);
}

#[test]
fn t10_a_commit_without_a_part_publishes_nothing() {
    for (name, layout) in [("x.csv", "file"), ("out", "folder")] {
        let (_folder, path) = new_file(name);
        let plan = plan("r1", &two_columns(), WriteMode::Insert);
        let writer = writer(writing(&path, json!({"format": "csv", "layout": layout})));
        writer.prepare(&plan).unwrap();
        let receipts: Vec<Receipt> = (0..2)
            .map(|task| write_task(writer.as_ref(), &plan, task, &[rows(0..4)]).unwrap().0)
            .collect();
        let part = match layout {
            "file" => part_of(&path, 1),
            _ => part_of(&path.join("x"), 1),
        };
        fs::remove_file(part).unwrap();
        assert!(writer.commit(&plan, &receipts).is_err());
        writer.abort(&plan, &receipts).unwrap();
        assert!(!path.exists());
    }
}

#[test]
fn t45_overwriting_a_folder_removes_our_own_files_only() {
    let (_folder, path) = new_file("out");
    let more = json!({"layout": "folder", "format": "csv"});
    job(&path, "r1", WriteMode::Overwrite, &[&[1], &[2, 3]], more.clone()).unwrap();
    let expected = [
        "_SUCCESS",
        "_transload_manifest.json",
        "part-r1-00000-00000.csv",
        "part-r1-00001-00000.csv",
    ];
    assert_eq!(names(&path), expected);
    for foreign in ["part-r1-00000-00000.csv.bak", "part-r1-00000-000001.csv", "notes.txt"] {
        fs::write(path.join(foreign), "id,name\n").unwrap();
    }
    let overwrite = plan("r2", &two_columns(), WriteMode::Overwrite);
    let draft = writer(writing(&path, more.clone())).draft(&overwrite).unwrap();
    let removed: Vec<_> = draft.statements.iter().filter(|step| step.destructive).collect();
    assert_eq!(removed.len(), 2, "{draft:?}");
    assert!(draft.warnings[0].starts_with("3 file(s)"), "{draft:?}");
    job(&path, "r2", WriteMode::Overwrite, &[&[4], &[]], more).unwrap();
    let expected = [
        "_SUCCESS",
        "_transload_manifest.json",
        "notes.txt",
        "part-r1-00000-00000.csv.bak",
        "part-r1-00000-000001.csv",
        "part-r2-00000-00000.csv",
    ];
    assert_eq!(names(&path), expected);
    let manifest: Value =
        serde_json::from_slice(&fs::read(path.join("_transload_manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["run"], &manifest["files"][0]["rows"]), (&json!("r2"), &json!(1)));
    let content = fs::read(path.join("part-r2-00000-00000.csv")).unwrap();
    use sha2::Digest;
    let hash: String = sha2::Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(manifest["files"][0]["sha256"], json!(hash));
}

#[test]
fn files_are_added_to_a_folder_or_refused() {
    let (_folder, path) = new_file("out");
    let more = json!({"layout": "folder", "format": "jsonl", "if_exists": "append", "compression": "zstd"});
    job(&path, "r1", WriteMode::Insert, &[&[1], &[2]], more.clone()).unwrap();
    job(&path, "r2", WriteMode::Insert, &[&[3]], more.clone()).unwrap();
    assert_eq!(ids(&path, json!({})), ["1", "2", "3"]);
    let strict = json!({"format": "jsonl"});
    let error = job(&path, "r3", WriteMode::Insert, &[&[3]], strict).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists);
    // Two runs at once: the second to commit gets an error.
    let (one, two) = (writer(writing(&path, more.clone())), writer(writing(&path, more)));
    let (plan_one, plan_two) = (
        plan("r4", &two_columns(), WriteMode::Insert),
        plan("r5", &two_columns(), WriteMode::Insert),
    );
    one.prepare(&plan_one).unwrap();
    two.prepare(&plan_two).unwrap();
    let first = write_task(one.as_ref(), &plan_one, 0, &[rows(4..5)]).unwrap().0;
    let second = write_task(two.as_ref(), &plan_two, 0, &[rows(5..6)]).unwrap().0;
    one.commit(&plan_one, &[first]).unwrap();
    let refused = two.commit(&plan_two, std::slice::from_ref(&second)).unwrap_err();
    assert_eq!(refused.code, "FILE-CHANGED");
    two.abort(&plan_two, &[second]).unwrap();
    one.finalise(&plan_one).unwrap();
    assert_eq!(ids(&path, json!({})), ["1", "2", "3", "4"]);
    assert_eq!(names(&path).len(), 6, "{:?}", names(&path));
}

#[test]
fn what_cannot_be_done_is_refused_in_the_draft() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let draft = |path: &Path, plan: &WritePlan| writer(writing(path, json!({}))).draft(plan);
    for mode in [WriteMode::Upsert, WriteMode::Ignore, WriteMode::Replace] {
        let error = draft(&path, &plan("r1", &two_columns(), mode)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }
    let lists = plan("r1", &columns(&[("l", "list<int32>")]), WriteMode::Insert);
    for name in ["x.csv", "x.jsonl"] {
        draft(&folder.path().join(name), &lists).unwrap();
    }
    let insert = plan("r1", &two_columns(), WriteMode::Insert);
    let error = draft(Path::new("/no-such-folder/x.csv"), &insert).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let host = transload_plugin_api::Host::detached();
    use transload_plugin_api::Plugin;
    for path in ["x", "/dev/null"] {
        let options =
            options(json!({"path": path, "format": if path == "x" { "auto" } else { "csv" }}));
        assert!(transload_plugin_file::FilePlugin.writer(options, host.clone()).is_err());
    }
    let again = plan("../r1", &two_columns(), WriteMode::Insert);
    let error = writer(writing(&path, json!({}))).prepare(&again).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Defect);
    assert_eq!(names(folder.path()), Vec::<String>::new());
}
