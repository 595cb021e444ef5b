//! Named pipes: read once with the schema from their beginning, written in one task, and waited for no
//! longer than the job wants. Folders that the target needs.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::tempdir;
use transload_formats::Compression;
use transload_plugin_api::{Cancel, ErrorKind, Guarantee, Host, Plugin, SplitAbility, WriteMode};
use transload_plugin_file::FilePlugin;

use crate::host::{batch, columns, plan, read, reader, reading, row, write, writer, writing};

fn pipe(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Sends a text into a pipe, packed or not, in small pieces.
fn sent(path: &Path, text: &str, compression: Compression) -> thread::JoinHandle<()> {
    let mut packed = compression.writer(Vec::new()).unwrap();
    packed.write_all(text.as_bytes()).unwrap();
    let (path, bytes) = (path.to_owned(), packed.finish().unwrap());
    thread::spawn(move || {
        let mut pipe = File::options().write(true).open(path).unwrap();
        bytes.chunks(1000).for_each(|piece| pipe.write_all(piece).unwrap());
    })
}

#[test]
fn a_pipe_is_read_whole_though_its_beginning_shows_the_columns() {
    let folder = tempdir().unwrap();
    let csv: String = (0..60_000).map(|id| format!("{id},text {id}\n")).collect();
    let json: String = (0..60_000).map(|id| format!("{{\"id\":{id},\"t\":null}}\n")).collect();
    for (name, text, compression) in [
        ("a.csv", format!("id,t\n{csv}"), Compression::None),
        ("b.csv", format!("id,t\n{csv}"), Compression::Gzip),
        ("c.jsonl", json, Compression::Zstd),
    ] {
        let path = pipe(folder.path(), name);
        let sender = sent(&path, &text, compression);
        let found = read(reading(&path, json!({})), 4).unwrap();
        sender.join().unwrap();
        let ids: Vec<_> = found.rows.iter().map(|row| row[0].clone().unwrap()).collect();
        let expected: Vec<_> = (0..60_000).map(|id| id.to_string()).collect();
        assert_eq!(ids, expected, "{name}");
        assert_eq!((found.splits.len(), found.splits[0].ability), (1, SplitAbility::Volatile));
    }
}

#[test]
fn a_pipe_is_not_read_twice() {
    let folder = tempdir().unwrap();
    let path = pipe(folder.path(), "a.csv");
    let sender = sent(&path, "id\n1\n", Compression::None);
    let reader = reader(reading(&path, json!({})));
    let columns = reader.schema().unwrap().columns;
    let splits =
        reader.splits(&transload_plugin_api::SplitRequest::new(1, columns.clone())).unwrap();
    let mut task = reader.open(&splits[0], &columns, None).unwrap();
    assert_eq!(task.next_batch().unwrap().unwrap().batch.num_rows(), 1);
    let again = reader.open(&splits[0], &columns, None).map(drop).unwrap_err();
    assert_eq!(again.kind, ErrorKind::Unsupported, "{again}");
    sender.join().unwrap();
}

/// Parquet has its footer at the end: the pipe is kept, within a limit, and read like a file.
#[test]
fn a_pipe_is_read_as_parquet() {
    let folder = tempdir().unwrap();
    let path = pipe(folder.path(), "a.parquet");
    let stored = "/../shared/formats/tests/parquet/files/nested.parquet";
    let bytes = std::fs::read(format!("{}{stored}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let send = |bytes: Vec<u8>| {
        let path = path.clone();
        std::thread::spawn(move || std::fs::write(path, bytes))
    };
    let sender = send(bytes.clone());
    let reader = crate::host::reader(reading(&path, json!({})));
    let columns = reader.schema().unwrap().columns;
    sender.join().unwrap().unwrap();
    let found = crate::host::read_columns(reader.as_ref(), &columns[..2], 3).unwrap();
    assert_eq!(found.rows, [row(&["1", "Köln"]), row(&["2", "NULL"]), row(&["3", "NULL"])]);

    let sender = send(bytes.clone());
    let error = crate::host::reader(reading(&path, json!({"max_kept": 1_000}))).schema();
    let error = error.unwrap_err();
    assert_eq!(error.code, "PARQUET-LIMIT", "{error}");
    assert!(error.hint.unwrap().contains("max_kept"));
    drop(sender.join().unwrap());
}

#[test]
fn a_wait_for_a_pipe_ends_with_the_job() {
    let folder = tempdir().unwrap();
    let cancel = Cancel::new();
    let host = || Host::new(Arc::new(()), cancel.clone());
    let path = pipe(folder.path(), "a.csv");
    let unread = pipe(folder.path(), "b.csv");
    let reader = FilePlugin.reader(reading(&path, json!({})), host()).unwrap();
    let one = columns(&[("id", "int64")]);
    let writer = FilePlugin.writer(writing(&unread, json!({})), host()).unwrap();
    let insert = plan("r1", &one, WriteMode::Insert);
    let rows = vec![batch(&one, &[row(&["1"])])];
    let stop = cancel.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        stop.cancel();
    });
    let begun = Instant::now();
    let written = crate::host::write_task(&*writer, &insert, 0, &rows).map(drop).unwrap_err();
    assert_eq!(written.kind, ErrorKind::Cancelled, "{written}");
    assert_eq!(reader.schema().unwrap_err().kind, ErrorKind::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

/// Writes to a pipe what its other end, read by `taken`, gets.
fn through_a_pipe(options: Value, name: &str, ids: std::ops::Range<i64>) -> Vec<u8> {
    let folder = tempdir().unwrap();
    let path = pipe(folder.path(), name);
    let from = path.clone();
    let taken = thread::spawn(move || {
        let mut bytes = Vec::new();
        File::open(from).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    });
    let one = columns(&[("id", "int64")]);
    let rows: Vec<_> = ids.map(|id| row(&[&id.to_string()])).collect();
    let insert = plan("r1", &one, WriteMode::Insert);
    let batches = vec![batch(&one, &rows), batch(&one, &rows)];
    write(writing(&path, options), &insert, &[batches]).unwrap();
    taken.join().unwrap()
}

#[test]
fn rows_are_written_into_a_pipe() {
    let text = through_a_pipe(json!({}), "a.csv", 0..2);
    assert_eq!(String::from_utf8(text).unwrap(), "id\n0\n1\n0\n1\n");
    let text = through_a_pipe(json!({}), "a.jsonl", 7..8);
    assert_eq!(String::from_utf8(text).unwrap(), "{\"id\":7}\n{\"id\":7}\n");
    let packed = through_a_pipe(json!({}), "a.csv.gz", 0..100_000);
    let mut text = String::new();
    Compression::Gzip.reader(&packed[..]).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 200_001);
}

#[test]
fn the_plan_of_a_stream_promises_no_more_than_it_can() {
    let folder = tempdir().unwrap();
    let path = pipe(folder.path(), "a.csv");
    let one = columns(&[("id", "int64")]);
    let stream = writer(writing(&path, json!({})));
    let draft = stream.draft(&plan("r1", &one, WriteMode::Insert)).unwrap();
    assert_eq!(draft.guarantee, Guarantee::AtLeastOnce);
    assert!(draft.because.contains("cannot be taken back"), "{}", draft.because);
    let two = transload_plugin_api::WritePlan { tasks: 2, ..plan("r1", &one, WriteMode::Insert) };
    assert!(stream.prepare(&two).unwrap_err().hint.unwrap().contains("parallelism = 1"));
    let replace = plan("r1", &one, WriteMode::Overwrite);
    assert_eq!(stream.draft(&replace).unwrap_err().kind, ErrorKind::Unsupported);
    // A reader that goes away.
    let from = path.clone();
    let gone = thread::spawn(move || drop(File::open(from).unwrap()));
    let rows: Vec<_> = (0..200_000).map(|id| row(&[&id.to_string()])).collect();
    let rows = vec![batch(&one, &rows); 4];
    let error = write(writing(&path, json!({})), &plan("r1", &one, WriteMode::Insert), &[rows])
        .unwrap_err();
    gone.join().unwrap();
    assert!(error.message.contains("has ended"), "{error}");
}

#[test]
fn folders_that_are_missing_are_made_and_go_with_a_failed_run() {
    let folder = tempdir().unwrap();
    let one = columns(&[("id", "int64")]);
    let insert = plan("r1", &one, WriteMode::Insert);
    let rows = || vec![batch(&one, &[row(&["1"])])];
    for name in ["a/b/x.csv", "c/d/"] {
        let options = || writing(&folder.path().join(name), json!({"format": "csv"}));
        let target = writer(options());
        let statements = target.draft(&insert).unwrap().statements;
        let made: Vec<_> = statements.iter().map(|it| it.text.as_str()).collect();
        let top = folder.path().join(&name[..1]).display().to_string();
        let below = format!("make the folder {top}/{}/", &name[2..3]);
        assert_eq!(made[..2], [format!("make the folder {top}/"), below], "{name}");
        target.prepare(&insert).unwrap();
        target.abort(&insert, &[]).unwrap();
        assert!(!Path::new(&top).exists(), "{name}: a run that wrote nothing leaves nothing");
        write(options(), &insert, &[rows()]).unwrap();
        assert!(Path::new(&top).exists());
    }
    assert_eq!(fs::read_to_string(folder.path().join("a/b/x.csv")).unwrap(), "id\n1\n");
    let error = writer(writing(Path::new("/no-such-folder/x/y.csv"), json!({})))
        .draft(&insert)
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.hint.unwrap().contains("mkdir /no-such-folder"), "a mistyped root");
}
