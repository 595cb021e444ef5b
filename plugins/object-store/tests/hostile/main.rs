//! A server that is hostile, or no object store at all: every mode ends in an error that says what is
//! wrong, soon, and in little memory. One binary, because the memory of a process is measured.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, its functions too")]

mod server;

use std::{
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use arrow_array::{Int64Array, RecordBatch};
use serde_json::{Value, json};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Counters, Error, ErrorKind, Host, Options, Plugin, Position,
    Result, Secret, Secrets, SplitRequest, TaskContext, WriteMode, WritePlan, Writer, schema_of,
};
use transload_plugin_object_store::ObjectStorePlugin;

use ErrorKind::{Connection, Denied, NotFound, Other, Schema, Unsupported};

/// What a mode may add to the process's memory, in MiB; the server's part of it included.
const MEMORY: u64 = 100;

/// What a mode may take at most, with limits of one or two seconds and a busy machine.
const LONGEST: Duration = Duration::from_secs(30);

/// Mode, kind, code, and words of the message.
const READING: &[(&str, ErrorKind, &str, &str)] = &[
    ("silence", Connection, "OBJECT-NO-CONNECTION", "no response within 1 s"),
    ("redirect", Connection, "", "another address"),
    ("redirect_local", Connection, "", "another address"),
    ("hdr_flood", Connection, "", ""),
    ("status_flood", Connection, "OBJECT-NO-CONNECTION", "no response"),
    ("err_endless", Denied, "", "status 403"),
    ("err_echo", Connection, "OBJECT-LOGIN", "SignatureDoesNotMatch"),
    ("list_bomb", Connection, "OBJECT-ANSWER", "types of its own"),
    ("list_xxe", Connection, "OBJECT-ANSWER", "types of its own"),
    ("list_endless", Connection, "OBJECT-ANSWER", "longer than 16 MiB"),
    ("list_trunc_forever", Connection, "OBJECT-ANSWER", "continuation token"),
    ("list_deep", NotFound, "", "no object matches"),
    ("list_path", Unsupported, "", "cannot be addressed"),
    ("list_negsize", Other, "", ""),
    ("list_hugesize", Schema, "FILE-CHANGED", "bytes then"),
    ("list_hugeparquet", NotFound, "", ""),
    ("list_badetag", Connection, "OBJECT-ANSWER", "ETag"),
    ("list_esc", Unsupported, "", "cannot be addressed"),
    ("list_gzip", Connection, "OBJECT-ANSWER", "ListBucketResult"),
    ("list_empty200", Connection, "OBJECT-ANSWER", "the response is empty"),
    ("list_html", Connection, "OBJECT-ANSWER", "a document `html`"),
    ("list_cut", Connection, "OBJECT-ANSWER", "cut off"),
    ("list_slow", Connection, "OBJECT-NO-CONNECTION", "no response"),
    ("short_cl", Connection, "", ""),
    ("short_body_ok", Connection, "", "before its end"),
    ("long_body", Connection, "OBJECT-ANSWER", "longer than"),
    ("endless", Connection, "OBJECT-ANSWER", "Content-Length"),
    ("norange", Connection, "OBJECT-ANSWER", "the whole object"),
    ("wrong_range", Connection, "OBJECT-ANSWER", "another byte range"),
    ("etag_change", Schema, "FILE-CHANGED", "version"),
    ("slow", Connection, "", ""),
];

/// The same for a writer, up to the end of its preparation.
const PREPARING: &[(&str, ErrorKind, &str, &str)] = &[
    ("silence", Connection, "OBJECT-NO-CONNECTION", "no response"),
    ("err_endless", Denied, "", "status 403"),
    // An empty listing would let the run write into a prefix that is not empty.
    ("list_html", Connection, "OBJECT-ANSWER", "a document `html`"),
    ("list_empty200", Connection, "OBJECT-ANSWER", "the response is empty"),
    ("list_endless", Connection, "OBJECT-ANSWER", "longer than 16 MiB"),
    ("list_trunc_forever", Connection, "OBJECT-ANSWER", "continuation token"),
    // What was not removed would be taken for removed.
    ("delete_html", Connection, "OBJECT-ANSWER", "DeleteResult"),
];

/// The process's memory is one: tests that measure it, or that wait, take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Key;

impl Secrets for Key {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        Ok((key == "secret_access_key").then(|| Secret::new("secret")))
    }
}

fn host(cancel: &Cancel) -> Host {
    Host::new(Arc::new(Key), cancel.clone())
}

fn options(endpoint: &str, more: Value) -> Options {
    let mut values = json!({
        "url": "s3://b", "endpoint": endpoint, "access_key_id": "key", "retries": 2,
        "reconnect_window": 2_000, "request_timeout": 1_000, "connect_timeout": 1_000,
    });
    let values = values.as_object_mut().unwrap();
    values.extend(more.as_object().unwrap().clone());
    Options { values: values.clone(), ..Options::default() }
}

fn read(endpoint: &str, cancel: &Cancel) -> Result<usize> {
    let reader = ObjectStorePlugin.reader(options(endpoint, json!({})), host(cancel))?;
    let columns = reader.schema()?.columns;
    let mut rows = 0;
    for split in reader.splits(&SplitRequest::new(1, columns.clone()))? {
        let mut task = reader.open(&split, &columns, None)?;
        while let Some(found) = task.next_batch()? {
            rows += found.batch.num_rows();
        }
    }
    Ok(rows)
}

fn writer(endpoint: &str, cancel: &Cancel) -> Box<dyn Writer> {
    let more = json!({"path": "out/", "format": "csv"});
    ObjectStorePlugin.writer(options(endpoint, more), host(cancel)).unwrap()
}

fn plan() -> WritePlan {
    let columns = vec![Column::new("id", "int64".parse().unwrap(), true)];
    WritePlan { run: "r1".to_owned(), columns, mode: WriteMode::Insert, ..WritePlan::default() }
}

/// A line of the kernel's figures about this process, in MiB.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    found.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Checks the outcome of one mode, its time and its memory.
fn check<T: std::fmt::Debug>(
    &(mode, kind, code, words): &(&'static str, ErrorKind, &str, &str),
    work: impl FnOnce(&str) -> Result<T>,
) {
    let endpoint = server::start(mode);
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, begun) = (memory("VmRSS"), Instant::now());
    let error: Error = work(&endpoint).unwrap_err();
    let (took, peak) = (begun.elapsed(), memory("VmHWM").saturating_sub(before));
    assert_eq!((error.kind, error.code.as_str()), (kind, code), "{mode}: {error:?}");
    assert!(error.message.contains(words), "{mode}: {error}");
    assert!(took < LONGEST, "{mode}: {took:?}");
    assert!(peak < MEMORY, "{mode}: {peak} MiB");
}

#[test]
fn a_reader_ends_with_an_error_whatever_the_server_does() {
    let _turn = turn();
    let endpoint = server::start("");
    assert_eq!(read(&endpoint, &Cancel::new()).unwrap(), server::LINES - 1);
    for expected in READING {
        check(expected, |endpoint| read(endpoint, &Cancel::new()));
    }
}

#[test]
fn a_writer_takes_no_wrong_listing_for_an_empty_one() {
    let _turn = turn();
    for expected in PREPARING {
        check(expected, |endpoint| writer(endpoint, &Cancel::new()).prepare(&plan()));
    }
}

#[test]
fn an_error_in_a_200_is_no_success() {
    let _turn = turn();
    let writer = writer(&server::start("put_ok_200err"), &Cancel::new());
    writer.prepare(&plan()).unwrap();
    let mut task = writer.open(&plan(), &TaskContext { task: 0, epoch: 0 }).unwrap();
    task.begin_chunk(0).unwrap();
    let ids = Arc::new(Int64Array::from(vec![1, 2]));
    task.write(&RecordBatch::try_new(schema_of(&plan().columns), vec![ids]).unwrap()).unwrap();
    task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    let receipt = task.finish().unwrap();
    let outcome = writer.commit(&plan(), &[receipt]);
    assert!(matches!(outcome, Ok(ChunkOutcome::Unknown { .. })), "{outcome:?}");
}

#[test]
fn a_stop_signal_ends_every_wait_within_a_second() {
    let _turn = turn();
    for mode in ["silence", "status_flood", "err_endless", "list_slow", "list_endless", "slow"] {
        for writes in [false, true] {
            let endpoint = server::start(mode);
            let cancel = Cancel::new();
            let stop = cancel.clone();
            let stopping = thread::spawn(move || {
                thread::sleep(Duration::from_millis(300));
                stop.cancel();
                Instant::now()
            });
            let writer = writer(&endpoint, &cancel);
            let outcome = match writes {
                false => read(&endpoint, &cancel).map(drop),
                true => writer.prepare(&plan()),
            };
            let stopped = stopping.join().unwrap();
            assert!(stopped.elapsed() < Duration::from_secs(1), "{mode} {writes}: {outcome:?}");
            // The host lets it clean up, which takes a few requests at most.
            let _ = writer.abort(&plan(), &[]);
            let took = stopped.elapsed();
            assert!(took < Duration::from_secs(5), "{mode} {writes}: {took:?}");
        }
    }
}
