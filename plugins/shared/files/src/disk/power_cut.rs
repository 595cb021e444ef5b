//! A run whose power is cut after every step. What the disk then holds is computed from the recorded
//! steps: synced content and synced names for certain, of all else any part. A new process resumes
//! there, and every row must come out once.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use arrow_array::{Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tempfile::TempDir;
use transload_plugin_api::{
    ChunkOutcome, Column, Counters, Host, Options, Position, Receipt, TaskContext, WriteMode,
    WritePlan, Writer, schema_of,
};

use super::{DiskUploads, trace::Operation};
use crate::write::{Destination, FilesWriter, UploadStore};

const TASKS: u32 = 2;

/// What the host had noted in its journal, which is durable.
#[derive(Clone, Debug, PartialEq)]
enum Mark {
    Prepared,
    Finished(Receipt),
    Publishing,
    Committed,
    Finalised,
}

/// The steps of a whole run, and after how many of them the host knew what.
struct Recording {
    folder: TempDir,
    operations: Vec<Operation>,
    marks: Vec<(usize, Mark)>,
    /// The visible files of the finished run.
    files: BTreeMap<String, String>,
}

#[derive(Clone)]
enum Change {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

/// A disk with what is on it for certain, and what may be.
#[derive(Default)]
struct Disk {
    /// Content, and the part of it that is synced.
    files: Vec<(Vec<u8>, Vec<u8>)>,
    names: BTreeMap<String, usize>,
    synced: BTreeMap<String, usize>,
    changes: Vec<Change>,
}

impl Disk {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Make(name) => {
                self.files.push(Default::default());
                self.names.insert(name.clone(), self.files.len() - 1);
                self.changes.push(Change::Link(name.clone(), self.files.len() - 1));
            }
            Operation::Write(name, offset, bytes) => {
                let content = &mut self.files[self.names[name]].0;
                let end = *offset as usize + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset as usize..end].copy_from_slice(bytes);
            }
            Operation::Sync(name) => {
                let (content, synced) = &mut self.files[self.names[name]];
                synced.clone_from(content);
            }
            Operation::Rename(from, to) => {
                let file = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), file);
                self.changes.push(Change::Rename(from.clone(), to.clone(), file));
            }
            Operation::Remove(name) => {
                self.names.remove(name);
                self.changes.push(Change::Unlink(name.clone()));
            }
            Operation::SyncFolder(folder) => self.sync_names(|name| folder_of(name) == folder),
            Operation::SyncAll => {
                self.files.iter_mut().for_each(|(content, synced)| synced.clone_from(content));
                self.sync_names(|_| true);
            }
        }
    }

    fn sync_names(&mut self, is_synced: impl Fn(&str) -> bool) {
        for change in std::mem::take(&mut self.changes) {
            let synced = match &change {
                Change::Link(name, _) | Change::Unlink(name) => is_synced(name),
                Change::Rename(from, to, _) => is_synced(from) || is_synced(to),
            };
            match synced {
                true => make(&mut self.synced, &change),
                false => self.changes.push(change),
            }
        }
    }

    /// What is there when the power comes back: one of the possible outcomes.
    fn after_the_cut(&self, random: &mut Random) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.synced.clone();
        for change in &self.changes {
            if random.picks() {
                make(&mut names, change);
            }
        }
        let content = |file: usize, random: &mut Random| {
            let (content, synced) = &self.files[file];
            match random.next() % 3 {
                0 => synced.clone(),
                // The length is there, the blocks are not.
                1 => [&synced[..], &vec![0; content.len().saturating_sub(synced.len())]].concat(),
                _ if random.nothing => synced.clone(),
                _ => content.clone(),
            }
        };
        names.into_iter().map(|(name, file)| (name, content(file, random))).collect()
    }
}

fn make(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, file) => drop(names.insert(name.clone(), *file)),
        Change::Unlink(name) => drop(names.remove(name)),
        Change::Rename(from, to, file) => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
    }
}

fn folder_of(name: &str) -> &str {
    &name[..name.rfind('/').map_or(0, |at| at + 1)]
}

/// Which of the unsynced changes have come to the disk: none, all names without content, or any.
struct Random {
    state: u64,
    nothing: bool,
    names: bool,
}

impl Random {
    fn new(round: u64, step: usize) -> Self {
        let state = (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (step as u64 + 1);
        Self { state, nothing: round < 2, names: round == 1 }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        if self.nothing { 0 } else { self.state >> 8 }
    }

    fn picks(&mut self) -> bool {
        if self.nothing { self.names } else { self.next().is_multiple_of(2) }
    }
}

fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

fn key_of(folder: &Path) -> String {
    format!("{}/out/", folder.to_str().unwrap().trim_matches('/'))
}

fn columns() -> Vec<Column> {
    let column = |name: &str, logical: &str| Column::new(name, logical.parse().unwrap(), true);
    vec![column("id", "int64"), column("land", "text")]
}

fn batch(task: u32, chunk: i64) -> RecordBatch {
    let first = i64::from(task) * 100 + chunk * 10;
    let ids = Int64Array::from_iter_values(first..first + 3);
    let lands = StringArray::from_iter_values(["a", "b", "a"]);
    RecordBatch::try_new(schema_of(&columns()), vec![Arc::new(ids), Arc::new(lands)]).unwrap()
}

/// A writer as a new process makes it.
fn writer(disk: &Arc<DiskUploads>, root: &str, more: &Value) -> FilesWriter {
    let disk = Arc::clone(disk);
    let open = Box::new(move || Ok(Arc::clone(&disk) as Arc<dyn UploadStore>));
    let mut options = json!({"format": "csv"});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let Value::Object(values) = options else { unreachable!() };
    let options = Options { values, ..Options::default() };
    FilesWriter::new(open, Destination::new(root.to_owned()), &options, &Host::detached()).unwrap()
}

/// Continues where `known` says that the run was; `note` receives what the host would note.
fn work(writer: &FilesWriter, known: &[Mark], mut note: impl FnMut(Mark)) {
    let is_resumed = known.contains(&Mark::Prepared);
    let run = WritePlan {
        run: "r-1".to_owned(),
        columns: columns(),
        mode: WriteMode::Insert,
        tasks: TASKS,
        is_resumed,
        ..WritePlan::default()
    };
    if known.contains(&Mark::Finalised) {
        return;
    }
    writer.prepare(&run).unwrap();
    note(Mark::Prepared);
    let told = |task: u32| {
        known.iter().find_map(|mark| match mark {
            Mark::Finished(receipt) if receipt.task == task => Some(receipt.clone()),
            _ => None,
        })
    };
    let mut receipts: Vec<_> = (0..TASKS).filter_map(told).collect();
    if !known.contains(&Mark::Publishing) {
        receipts.clear();
        for task in 0..TASKS {
            let receipt = write_task(writer, &run, task);
            assert!(told(task).is_none_or(|told| told == receipt), "the same receipt again");
            note(Mark::Finished(receipt.clone()));
            receipts.push(receipt);
        }
        note(Mark::Publishing);
    }
    let outcome = writer.commit(&run, &receipts).unwrap();
    assert!(!matches!(outcome, ChunkOutcome::Unknown { .. }), "{outcome:?}");
    note(Mark::Committed);
    writer.finalise(&run).unwrap();
    note(Mark::Finalised);
}

fn write_task(writer: &FilesWriter, run: &WritePlan, task: u32) -> Receipt {
    let mut open = writer.open(run, &TaskContext { task, epoch: 0 }).unwrap();
    if open.progress().unwrap().is_some_and(|progress| progress.is_finished) {
        return open.finish().unwrap();
    }
    for chunk in 0..2 {
        open.begin_chunk(chunk).unwrap();
        open.write(&batch(task, chunk as i64)).unwrap();
        open.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    }
    open.finish().unwrap()
}

/// The visible files below a folder, by their names.
fn visible(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.file_name().unwrap().to_str().unwrap().starts_with(['.', '_']) {
                continue;
            }
            match path.is_dir() {
                true => folders.push(path),
                false => drop(files.insert(name, fs::read_to_string(&path).unwrap())),
            }
        }
    }
    files
}

fn record(more: &Value) -> Recording {
    let folder = place();
    let root = key_of(folder.path());
    let disk = Arc::new(DiskUploads::new(&root));
    let mut marks = Vec::new();
    work(&writer(&disk, &root, more), &[], |mark| {
        marks.push((disk.trace.operations().len(), mark));
    });
    let files = visible(&folder.path().join("out"));
    Recording { operations: disk.trace.operations(), marks, files, folder }
}

/// Puts what the disk holds after the cut into the folder of the run.
fn restore(out: &Path, disk: &Disk, random: &mut Random) {
    let _ = fs::remove_dir_all(out);
    for (name, content) in disk.after_the_cut(random) {
        let path = Path::new("/").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn cut_everywhere(more: &Value) {
    let rounds = std::env::var("TRANSLOAD_ROUNDS").ok().and_then(|text| text.parse().ok());
    let recording = record(more);
    assert!(recording.operations.len() > 30, "{} steps", recording.operations.len());
    let (out, root) = (recording.folder.path().join("out"), key_of(recording.folder.path()));
    let mut disk = Disk::default();
    for step in 0..=recording.operations.len() {
        let known = recording.marks.iter().filter(|(at, _)| *at <= step);
        let known: Vec<_> = known.map(|(_, mark)| mark.clone()).collect();
        for round in 0..rounds.unwrap_or(5) {
            restore(&out, &disk, &mut Random::new(round, step));
            let at = format!("{more}: step {step}, round {round}, {known:?}");
            for (name, content) in visible(&out) {
                assert_eq!(content, recording.files[&name], "visible and not whole: {name}, {at}");
            }
            if known.contains(&Mark::Committed) {
                assert_eq!(visible(&out), recording.files, "committed and lost: {at}");
            }
            work(&writer(&Arc::new(DiskUploads::new(&root)), &root, more), &known, drop);
            assert_eq!(visible(&out), recording.files, "{at}");
        }
        if let Some(operation) = recording.operations.get(step) {
            disk.apply(operation);
        }
    }
}

#[test]
fn every_row_is_there_once_whenever_the_power_is_cut() {
    cut_everywhere(&json!({}));
    cut_everywhere(&json!({"partition_by": ["land"]}));
    cut_everywhere(&json!({"name": "{task}-{number}.{ext}"}));
}

#[test]
fn a_rename_before_the_sync_would_be_noticed() {
    let test = "disk::power_cut::every_row_is_there_once_whenever_the_power_is_cut";
    let mut again = Command::new(std::env::current_exe().unwrap());
    let again = again.args(["--exact", test]).env("TRANSLOAD_DEFECT", super::DEFECT);
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("test result: FAILED. 0 passed; 1 failed"), "{text}");
}
