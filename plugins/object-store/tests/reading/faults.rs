//! Faults while reading: throttling, broken connections, wrong responses.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use transload_plugin_api::{Cancel, Error, ErrorKind, ReadTask, Reader, Result, SplitRequest};
use transload_tests_s3::{Fault, Faults, Rule};

use crate::{
    asked::asked,
    host::{Reading, rows},
};
use transload_tests_buckets::Bucket;

fn faults() -> Faults {
    Faults::at(&std::env::var("TRANSLOAD_TEST_S3").unwrap())
}

const ROWS: usize = 500_000;

/// An object of several blocks.
fn large(bucket: &Bucket) {
    let text: String = (0..ROWS).map(|row| format!("{row:015}\n")).collect();
    bucket.put("large.csv", format!("id\n{text}"));
}

fn quickly(more: Value) -> Value {
    let mut options = json!({"retries": 3, "reconnect_window": 5_000, "request_timeout": 2_000});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn read(reader: &dyn Reader) -> Result<()> {
    let found = rows(reader, 1)?;
    assert_eq!(found.len(), ROWS);
    let in_order =
        found.iter().enumerate().all(|(number, row)| row[0].parse::<usize>().unwrap() == number);
    assert!(in_order);
    Ok(())
}

/// A fault of requests for content, after as many of them as planning takes: one for the first
/// rows, and one more for the rest of the sample. All rows then come by one request.
fn reading_meets(fault: Fault, times: u64, after: u64) -> (Result<()>, u64) {
    let bucket = Bucket::s3();
    large(&bucket);
    let rule = Rule::on("GetObject").key(&bucket.prefix).after(after).times(times);
    let armed = faults().arm(rule, fault);
    let read = read(bucket.reader(quickly(json!({}))).as_ref());
    (read, armed.hits())
}

fn is_kind(result: Result<()>, kind: ErrorKind) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind, kind, "{error:?}");
    assert!(error.to_string().contains("large.csv"), "{error}");
    error
}

#[test]
fn f35_passing_trouble_is_waited_out() {
    for (fault, after) in [
        (Fault::SLOW_DOWN, 0),
        (Fault::SLOW_DOWN, 2),
        (Fault::INTERNAL, 2),
        (Fault::Reset, 2),
        (Fault::LoseReply, 2),
        (Fault::CutBody(1_000), 0),
        (Fault::CutBody(1_000), 2),
        (Fault::CutBody(3 << 20), 2),
        (Fault::StallBody(3 << 20), 2),
        (Fault::Slow(50), 1),
    ] {
        let (read, hits) = reading_meets(fault.clone(), 2, after);
        read.unwrap_or_else(|error| panic!("{fault:?} after {after}: {error:?}"));
        assert_eq!(hits, 2, "{fault:?}");
    }
}

#[test]
fn f35_trouble_that_stays_is_a_lost_connection() {
    for fault in [Fault::SLOW_DOWN, Fault::INTERNAL, Fault::Reset, Fault::CutBody(0)] {
        let (read, hits) = reading_meets(fault.clone(), 1_000, 2);
        is_kind(read, ErrorKind::Connection);
        assert!(hits > 3, "{fault:?}: {hits}");
    }
}

#[test]
fn f35_a_body_that_always_breaks_off_is_read_all_the_same() {
    // Every response contains some bytes, so reading makes progress: 8 MB in pieces.
    let (read, hits) = reading_meets(Fault::CutBody(1 << 20), 1_000, 0);
    read.unwrap();
    assert!(hits > 5, "{hits}");
}

#[test]
fn f35_what_breaks_off_is_asked_for_from_there() {
    for fault in [Fault::CutBody(3 << 20), Fault::StallBody(3 << 20)] {
        let (bucket, faults) = Bucket::failing();
        large(&bucket);
        let reader = bucket.reader(quickly(json!({})));
        reader.schema().unwrap();
        let known = asked(&faults, 0).len();
        let armed = faults.arm(Rule::on("GetObject").times(1), fault.clone());
        read(reader.as_ref()).unwrap();
        assert_eq!(armed.hits(), 1, "{fault:?}");
        let asked = asked(&faults, known);
        assert_eq!(asked.len(), 2, "{fault:?}: {asked:?}");
        assert_eq!((asked[0].start, asked[0].end), (0, asked[1].end), "{fault:?}");
        // What has left the server before it breaks off may be less than it has read.
        assert!((1 << 20..=3 << 20).contains(&asked[1].start), "{fault:?}: {asked:?}");
    }
}

/// Two tasks and one request at a time: rows of the one that are not taken must not keep those of
/// the other from coming.
#[test]
fn a_reader_that_waits_does_not_keep_others_from_reading() {
    let bucket = Bucket::s3();
    large(&bucket);
    let reader = bucket.reader(json!({"requests": 1}));
    let columns = reader.schema().unwrap().columns;
    let splits = reader.splits(&SplitRequest::new(1, columns.clone())).unwrap();
    let open = || reader.open(&splits[0], &columns, None).unwrap();
    let (mut first, mut second) = (open(), open());
    let next = |task: &mut Box<dyn ReadTask>| {
        task.next_batch().unwrap().map_or(0, |read| read.batch.num_rows())
    };
    let count = |task: &mut Box<dyn ReadTask>| {
        std::iter::from_fn(|| Some(next(task))).take_while(|rows| *rows > 0).sum::<usize>()
    };
    let begun = next(&mut first);
    assert_eq!(count(&mut second), ROWS);
    assert_eq!(begun + count(&mut first), ROWS);
}

#[test]
fn f35_answers_that_are_not_of_the_planned_object_are_no_data() {
    let (read, _) = reading_meets(Fault::WrongEtag, 1_000, 2);
    assert_eq!(is_kind(read, ErrorKind::Schema).code, "FILE-CHANGED");
    let (read, _) = reading_meets(Fault::IgnoreRange, 1_000, 2);
    assert_eq!(is_kind(read, ErrorKind::Connection).code, "OBJECT-ANSWER");
    let (read, _) = reading_meets(Fault::FORBIDDEN, 1_000, 2);
    is_kind(read, ErrorKind::Denied);
}

#[test]
fn f35_a_server_that_hangs_is_left_in_time() {
    let bucket = Bucket::s3();
    large(&bucket);
    let _hang = faults().arm(Rule::on("GetObject").key(&bucket.prefix).after(2), Fault::Hang);
    let options = json!({"request_timeout": 500, "retries": 1, "reconnect_window": 1_000});
    let error = is_kind(read(bucket.reader(options).as_ref()), ErrorKind::Connection);
    assert!(error.message.contains("in time"), "{error}");
}

#[test]
fn t62_a_stop_signal_ends_waiting() {
    let bucket = Bucket::s3();
    large(&bucket);
    let cancel = Cancel::new();
    let hang = faults().arm(Rule::on("GetObject").key(&bucket.prefix).after(2), Fault::Hang);
    let reader = bucket.reader_until(json!({}), cancel.clone());
    let read = thread::scope(|scope| {
        let reading = scope.spawn(|| read(reader.as_ref()));
        while hang.hits() == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        cancel.cancel();
        reading.join().unwrap()
    });
    assert_eq!(read.unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn t58_a_stale_listing_shows_objects_that_are_gone() {
    let bucket = Bucket::s3();
    bucket.put("a.csv", "id\n1\n");
    bucket.put("b.csv", "id\n2\n");
    let _stale = faults().arm(Rule::on("ListObjects").key(&bucket.prefix), Fault::StaleListing);
    bucket.remove("b.csv");
    let error = rows(bucket.reader(json!({})).as_ref(), 1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("b.csv"), "{error}");
}

#[test]
fn requests_under_way_are_bounded() {
    // A separate server, so that only this test's requests are counted.
    let (bucket, faults) = Bucket::failing();
    large(&bucket);
    let _slow = faults.arm(Rule::on("GetObject"), Fault::Slow(30));
    let under_way = |requests: u32| {
        let before = faults.seen("GetObject", "").len();
        let reader = bucket.reader(json!({"requests": requests}));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| read(reader.as_ref()).unwrap());
            }
        });
        let seen = faults.seen("GetObject", "").split_off(before);
        seen.iter().map(|request| request.under_way).max().unwrap()
    };
    assert_eq!(under_way(1), 1);
    assert_eq!(under_way(2), 2);
    assert!((3..=16).contains(&under_way(16)));
}
