//! Runs whose process is killed at every point of writing, publishing and cleaning up, and that a
//! new process resumes: every row is there once, and nothing else stays.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tempfile::TempDir;
use transload_plugin_api::{
    ChunkOutcome, Column, Counters, ErrorKind, Position, Receipt, TaskContext, TaskProgress,
    WriteMode, WritePlan, WriteTask, Writer,
};

use crate::host::{batch, columns, names, plan, row, writer, writing};

const TASKS: u32 = 2;
const CHUNKS: u64 = 2;

fn two_columns() -> Vec<Column> {
    columns(&[("id", "int64"), ("land", "text")])
}

fn rows(task: u32, chunk: u64) -> RecordBatch {
    let first = u64::from(task) * 100 + chunk * 10;
    let rows: Vec<_> = (first..first + 3)
        .map(|id| row(&[&id.to_string(), if id % 2 == 0 { "a" } else { "b" }]))
        .collect();
    batch(&two_columns(), &rows)
}

/// More than is held back before it goes to the disk.
fn many_rows() -> RecordBatch {
    let rows: Vec<_> = (0..60_000).map(|id| row(&[&id.to_string(), "a"])).collect();
    batch(&two_columns(), &rows)
}

fn ids(task: u32) -> Vec<u64> {
    let chunk = |chunk: u64| {
        let first = u64::from(task) * 100 + chunk * 10;
        first..first + 3
    };
    (0..CHUNKS).flat_map(chunk).collect()
}

/// A folder whose syncs cost nothing: what is killed here is a process, not the machine.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// What one kind of job writes to, and what has been there before.
struct Shape {
    path: &'static str,
    mode: WriteMode,
    more: Value,
    before: &'static [(&'static str, &'static str)],
}

fn shapes() -> Vec<Shape> {
    let insert = WriteMode::Insert;
    let shape = |path, more| Shape { path, mode: insert, more, before: &[] };
    vec![
        shape("out.csv", json!({})),
        shape("out.jsonl", json!({})),
        shape("out.json", json!({})),
        shape("out/", json!({"format": "csv"})),
        shape("out/", json!({"format": "csv", "partition_by": ["land"]})),
        shape("out/", json!({"format": "csv", "name": "{task}-{number}.{ext}"})),
        Shape {
            before: &[("out.csv", "id,land\n990,z\n")],
            ..shape("out.csv", json!({"if_exists": "append"}))
        },
        Shape {
            mode: WriteMode::Overwrite,
            before: &[("out.csv", "x\n")],
            ..shape("out.csv", json!({}))
        },
        Shape {
            mode: WriteMode::Overwrite,
            before: &[("out/old.csv", "id,land\n990,z\n")],
            ..shape("out/", json!({"format": "csv", "overwrite": "prefix"}))
        },
    ]
}

impl Shape {
    fn plan(&self, is_resumed: bool) -> WritePlan {
        let plan = plan("r-1", &two_columns(), self.mode);
        WritePlan { tasks: TASKS, is_resumed, job: "orders".to_owned(), ..plan }
    }

    fn writer(&self, folder: &Path) -> Box<dyn Writer> {
        writer(writing(&folder.join(self.path), self.more.clone()))
    }

    fn keeps_old_rows(&self) -> bool {
        self.more.get("if_exists").is_some()
    }
}

/// What the host's journal knows: it is a folder of notes here.
struct Journal<'a>(&'a Path);

impl Journal<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    fn note(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn receipt(&self, task: u32) -> Option<Receipt> {
        let text = fs::read_to_string(self.0.join(format!("finished-{task}"))).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }
}

fn position(chunk: u64) -> (Position, Counters) {
    let read = (chunk + 1) * 3;
    (Position(vec![chunk as u8]), Counters { read, inserted: read, ..Counters::default() })
}

fn write_chunks(open: &mut dyn WriteTask, task: u32) {
    for chunk in 0..CHUNKS {
        open.begin_chunk(chunk).unwrap();
        open.write(&rows(task, chunk)).unwrap();
        let (position, counters) = position(chunk);
        open.commit_chunk(&position, &counters).unwrap();
    }
}

fn finished() -> TaskProgress {
    let (position, counters) = position(CHUNKS - 1);
    TaskProgress { chunks: CHUNKS, position, counters, is_finished: true }
}

/// Works on a run as far as it goes: what a host does, whose process may end at any point.
fn work(shape: &Shape, folder: &Path) {
    let journal = Journal(folder);
    let (writer, plan) = (shape.writer(folder), shape.plan(journal.has("prepared")));
    writer.prepare(&plan).unwrap();
    journal.note("prepared", "");
    for task in 0..TASKS {
        if journal.has("publishing") {
            break;
        }
        let mut open = writer.open(&plan, &TaskContext { task, epoch: 0 }).unwrap();
        let progress = open.progress().unwrap();
        let known = journal.receipt(task);
        assert!(known.is_none() || progress.is_some(), "task {task} has finished and is forgotten");
        match progress {
            Some(progress) => assert_eq!(progress, finished()),
            None => write_chunks(&mut *open, task),
        }
        let receipt = open.finish().unwrap();
        assert!(known.is_none_or(|known| known == receipt), "the same receipt again");
        journal.note(&format!("finished-{task}"), &serde_json::to_string(&receipt).unwrap());
    }
    journal.note("publishing", "");
    let receipts: Vec<_> = (0..TASKS).map(|task| journal.receipt(task).unwrap()).collect();
    let outcome = writer.commit(&plan, &receipts).unwrap();
    assert!(!matches!(outcome, ChunkOutcome::Unknown { .. }), "{outcome:?}");
    writer.finalise(&plan).unwrap();
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
}

/// Gives a run up, however far it has come.
fn give_up(shape: &Shape, folder: &Path) {
    shape.writer(folder).abort(&shape.plan(true), &[]).unwrap();
}

/// The work of a process that the other tests start and kill.
#[test]
#[ignore = "started by the other tests"]
fn worker() {
    let variable = |name: &str| std::env::var(format!("TRANSLOAD_TEST_{name}")).unwrap();
    let shapes = shapes();
    let shape = &shapes[variable("SHAPE").parse::<usize>().unwrap()];
    let folder = variable("FOLDER");
    match variable("WORK").as_str() {
        "abort" => give_up(shape, folder.as_ref()),
        _ => work(shape, folder.as_ref()),
    }
}

fn start(shape: usize, folder: &Path, what: &str, failpoint: &str) -> Output {
    let mut worker = Command::new(std::env::current_exe().unwrap());
    worker.args(["--exact", "resuming::worker", "--ignored", "--nocapture"]);
    worker.env("TRANSLOAD_TEST_SHAPE", shape.to_string()).env("TRANSLOAD_TEST_FOLDER", folder);
    worker.env("TRANSLOAD_TEST_WORK", what).env("TRANSLOAD_FAILPOINT", failpoint);
    worker.output().unwrap()
}

/// Whether the worker was killed at its failpoint; otherwise it has come through.
fn was_killed(output: &Output) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let killed = output.status.signal().is_some();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(killed || output.status.success(), "{text}");
    killed
}

fn before(shape: &Shape, folder: &Path) {
    for (name, content) in shape.before {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// All files below the folder except the journal, by their names.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for name in names(&next) {
            let path = next.join(&name);
            let key = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let is_journal = next == *folder
                && ["prepared", "publishing", "finished"].iter().any(|it| name.starts_with(it));
            if path.is_dir() {
                folders.push(path);
            } else if !is_journal {
                files.insert(key, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

/// The ids in all files of data, sorted.
fn found(folder: &Path) -> Vec<u64> {
    let files = files(folder);
    let data = files.iter().filter(|(name, _)| !name.split('/').any(|it| it.starts_with('_')));
    let mut ids: Vec<u64> = Vec::new();
    for (_, text) in data {
        let digits = |line: &str| {
            let line = line.trim_start_matches(['{', '[']).trim_start_matches("\"id\":");
            line.split([',', '}']).next().and_then(|cell| cell.parse::<u64>().ok())
        };
        ids.extend(text.lines().filter_map(digits));
    }
    ids.sort_unstable();
    ids
}

fn expected(shape: &Shape) -> Vec<u64> {
    let old = shape.keeps_old_rows().then_some(990);
    (0..TASKS).flat_map(ids).chain(old).collect()
}

fn assert_whole(shape: &Shape, folder: &Path, at: &str) {
    assert_eq!(found(folder), expected(shape), "{at}");
    let hidden = |name: &&String| name.contains("_transload/");
    let names = files(folder);
    assert_eq!(names.keys().find(hidden), None, "{at}");
    let is_left = |name: &str| folder.join(name).exists();
    assert!(!is_left("_transload") && !is_left("out/_transload"), "{at}: an empty folder");
}

#[test]
fn a_killed_run_is_resumed_from_every_point() {
    let mut kills = 0;
    for (number, shape) in shapes().iter().enumerate() {
        for point in ["K10", "K11", "K13"] {
            for pass in 1.. {
                let folder = place();
                before(shape, folder.path());
                let at =
                    format!("{} {:?} {} at {point}#{pass}", shape.path, shape.mode, shape.more);
                let output = start(number, folder.path(), "run", &format!("{point}#{pass}"));
                let killed = was_killed(&output);
                if killed {
                    kills += 1;
                    work(shape, folder.path());
                }
                assert_whole(shape, folder.path(), &at);
                if !killed {
                    assert!(pass > 1, "{at}: never passed");
                    break;
                }
            }
        }
    }
    assert!(kills > 100, "{kills} kills");
}

#[test]
fn an_abort_is_repeated_from_every_point() {
    for (number, shape) in shapes().iter().enumerate() {
        for killed_at in ["K10#6", "K11#2"] {
            for point in ["K13", "K14"] {
                for pass in 1.. {
                    let folder = place();
                    before(shape, folder.path());
                    let untouched = files(folder.path());
                    assert!(was_killed(&start(number, folder.path(), "run", killed_at)));
                    let committed = is_committed(shape, folder.path(), &untouched);
                    let failpoint = format!("{point}#{pass}");
                    let killed = was_killed(&start(number, folder.path(), "abort", &failpoint));
                    give_up(shape, folder.path());
                    let at = format!("{} {} {killed_at} {failpoint}", shape.path, shape.more);
                    match committed {
                        true => assert_whole(shape, folder.path(), &at),
                        false => assert_eq!(files(folder.path()), untouched, "{at}"),
                    }
                    if !killed {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether a killed run had reached its commit: files of a folder are in place before the manifest
/// is, which is what counts.
fn is_committed(shape: &Shape, folder: &Path, before: &BTreeMap<String, String>) -> bool {
    let name = format!("{}_transload_manifest.json", shape.path);
    let has_manifest = files(folder).get(&name) != before.get(&name);
    found(folder) == expected(shape) && (has_manifest || !shape.path.ends_with('/'))
}

/// A run of which task 0 has finished and task 1 was killed, after its first chunk.
fn half_done(shape: &Shape, folder: &Path) -> Receipt {
    let (writer, plan) = (shape.writer(folder), shape.plan(false));
    writer.prepare(&plan).unwrap();
    let mut first = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    assert_eq!(first.progress().unwrap(), None, "a new run asks for nothing");
    write_chunks(&mut *first, 0);
    let receipt = first.finish().unwrap();
    let mut second = writer.open(&plan, &TaskContext { task: 1, epoch: 0 }).unwrap();
    second.begin_chunk(0).unwrap();
    second.write(&many_rows()).unwrap();
    second.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    // A killed process runs no destructors.
    std::mem::forget(second);
    receipt
}

fn staged(folder: &Path) -> Vec<String> {
    files(folder).into_keys().filter(|name| name.ends_with(".part")).collect()
}

#[test]
fn a_finished_task_is_kept_and_another_starts_again() {
    for shape in &shapes() {
        let folder = place();
        let folder = folder.path();
        let receipt = half_done(shape, folder);
        let left = staged(folder);
        let (writer, plan) = (shape.writer(folder), shape.plan(true));
        writer.prepare(&plan).unwrap();
        let mut kept = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
        assert_eq!(kept.progress().unwrap(), Some(finished()));
        assert_eq!(kept.begin_chunk(0).unwrap_err().kind, ErrorKind::Defect);
        assert_eq!(kept.finish().unwrap(), receipt);
        let mut second = writer.open(&plan, &TaskContext { task: 1, epoch: 0 }).unwrap();
        assert_eq!(second.progress().unwrap(), None);
        assert!(left.iter().any(|name| name.contains("/t1.")), "{left:?}");
        let of_second = staged(folder).into_iter().filter(|name| name.contains("/t1."));
        assert_eq!(of_second.count(), 0, "{}: parts of the killed attempt", shape.path);
        write_chunks(&mut *second, 1);
        let second = second.finish().unwrap();
        writer.commit(&plan, &[receipt, second]).unwrap();
        writer.finalise(&plan).unwrap();
        assert_eq!(found(folder), (0..TASKS).flat_map(ids).collect::<Vec<_>>());
    }
}

#[test]
fn a_finished_task_whose_files_are_not_whole_starts_again() {
    for (number, shape) in shapes().iter().enumerate() {
        let folder = place();
        let folder = folder.path();
        let receipt = half_done(shape, folder);
        let of_first = staged(folder).into_iter().find(|name| name.contains("/t0.")).unwrap();
        let path = folder.join(&of_first);
        let content = fs::read(&path).unwrap();
        match number % 2 {
            0 => fs::write(&path, &content[..content.len() - 1]).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        let (writer, plan) = (shape.writer(folder), shape.plan(true));
        writer.prepare(&plan).unwrap();
        let mut first = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
        assert_eq!(first.progress().unwrap(), None, "{}", shape.path);
        write_chunks(&mut *first, 0);
        assert_ne!(first.finish().unwrap(), receipt);
    }
}

#[test]
fn a_run_whose_stage_is_gone_is_not_resumed() {
    for shape in &shapes() {
        let folder = place();
        let folder = folder.path();
        half_done(shape, folder);
        let hidden = if shape.path.ends_with('/') { "out/_transload" } else { "_transload" };
        fs::remove_dir_all(folder.join(hidden)).unwrap();
        let error = shape.writer(folder).prepare(&shape.plan(true)).unwrap_err();
        assert_eq!(error.code, "FILE-ABANDONED", "{error}");
    }
}

#[test]
fn the_later_of_two_attempts_that_finish_is_refused() {
    for shape in &shapes() {
        let folder = place();
        let folder = folder.path();
        let (writer, plan) = (shape.writer(folder), shape.plan(false));
        writer.prepare(&plan).unwrap();
        let open = |epoch: u32| writer.open(&plan, &TaskContext { task: 0, epoch }).unwrap();
        let mut stopped = open(0);
        // The second attempt takes it for dead, and is overtaken by it.
        let mut second = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
        write_chunks(&mut *second, 0);
        write_chunks(&mut *stopped, 0);
        let receipt = stopped.finish().unwrap();
        let error = second.finish().unwrap_err();
        assert_eq!((error.code.as_str(), error.kind), ("RUN-FENCED", ErrorKind::Locked), "{error}");
        let mut third = open(1);
        assert!(third.progress().unwrap().unwrap().is_finished);
        assert_eq!(third.finish().unwrap(), receipt, "{}", shape.path);
    }
}

/// What a plan promises, and why not more. Tokens in tables change nothing: files are staged.
#[test]
fn each_mode_has_its_guarantee() {
    use transload_plugin_api::{Guarantee, TokenTables};
    for shape in &shapes() {
        for tokens in [None, Some(TokenTables::default())] {
            let folder = place();
            before(shape, folder.path());
            let plan = WritePlan { tokens, ..shape.plan(false) };
            let draft = shape.writer(folder.path()).draft(&plan).unwrap();
            let (guarantee, why) = match shape.path.ends_with('/') {
                true => (Guarantee::AtomicUnit, "files appear one by one"),
                false => (Guarantee::AtomicJob, ""),
            };
            assert_eq!(draft.guarantee, guarantee, "{} {:?}", shape.path, shape.mode);
            assert!(draft.because.starts_with(why), "{}", draft.because);
            assert_eq!(draft.because.is_empty(), why.is_empty());
        }
    }
}
