//! What a store is asked for: no more than is needed, and each range once.

use std::{io::Write, ops::Range};

use serde_json::json;
use transload_formats::Compression;
use transload_plugin_api::SplitRequest;
use transload_tests_buckets::Bucket;
use transload_tests_s3::Faults;

use crate::{
    formats::parquet_of,
    host::{Reading, rows_of, rows_of_split},
};

/// The ranges of objects that were requested from a separate server, except for the first `known`
/// requests.
pub(crate) fn asked(faults: &Faults, known: usize) -> Vec<Range<u64>> {
    let requests = faults.seen("GetObject", "").split_off(known);
    let stretch = |range: Option<&str>| {
        let (from, last) = range?.strip_prefix("bytes=")?.split_once('-')?;
        Some(from.parse().ok()?..last.parse::<u64>().ok()? + 1)
    };
    requests.iter().map(|request| stretch(request.range.as_deref()).unwrap()).collect()
}

fn bytes(asked: &[Range<u64>]) -> u64 {
    asked.iter().map(|range| range.end - range.start).sum()
}

#[test]
fn only_wanted_columns_of_parquet_are_asked_for() {
    let file = parquet_of(130_000);
    let (bucket, faults) = Bucket::failing();
    bucket.put("x.parquet", &file);
    let reader = bucket.reader(json!({}));
    let columns = reader.schema().unwrap().columns;
    rows_of(reader.as_ref(), &columns[..1], 1).unwrap();
    let asked = bytes(&asked(&faults, 0));
    assert!(asked * 2 < file.len() as u64, "{asked} of {} bytes", file.len());
}

/// A row's line, which does not compress well.
fn line(row: u64) -> String {
    let random = |of: u64| of.wrapping_mul(6_364_136_223_846_793_005).rotate_left(23);
    format!("{{\"id\":{row},\"text\":\"{:016x}{:016x}\"}}\n", random(row), random(!row))
}

#[test]
fn a_cut_object_is_looked_at_once_and_its_tasks_go_to_their_parts() {
    let (bucket, faults) = Bucket::failing();
    let text: String = (0..160_000).map(line).collect();
    bucket.put("big.jsonl", &text);
    let reader = bucket.reader(json!({}));
    let columns = reader.schema().unwrap().columns;
    let known = asked(&faults, 0).len();
    let splits = reader.splits(&SplitRequest::new(2, columns.clone())).unwrap();
    assert_eq!(splits.len(), 2);
    let planned = asked(&faults, known);
    // One request for the cut; the beginning is known from the schema.
    assert_eq!(planned.len(), 1, "{planned:?}");
    rows_of_split(reader.as_ref(), &splits[1], &columns).unwrap();
    let read = asked(&faults, known + planned.len());
    let half = text.len() as u64 / 2;
    assert!(read.iter().all(|range| range.start >= half), "{read:?}");
}

/// Stores bill and throttle by request, whatever it brings.
#[test]
fn a_large_object_takes_few_requests() {
    const MOST: usize = 8;
    let row = |row: u64| format!("{row},\"{}\"\n", "some words, ".repeat(16));
    let rows = 100_000_000 / row(100_000).len() as u64;
    let text: String = (100_000..100_000 + rows).map(row).collect();
    let unquoted = text.replace(", ", "; ").replace('"', "");
    for (text, tasks) in [(&text, 1), (&text, 2), (&unquoted, 2)] {
        let (bucket, faults) = Bucket::failing();
        bucket.put("large.csv", format!("id,words\n{text}"));
        let before = faults.seen("*", "").len();
        let reader = bucket.reader(json!({}));
        let columns = reader.schema().unwrap().columns;
        let splits = reader.splits(&SplitRequest::new(tasks, columns.clone())).unwrap();
        assert_eq!(splits.len(), tasks as usize);
        let mut read = 0;
        for split in &splits {
            let mut task = reader.open(split, &columns, None).unwrap();
            while let Some(found) = task.next_batch().unwrap() {
                read += found.batch.num_rows() as u64;
            }
        }
        assert_eq!(read, rows);
        let seen = faults.seen("*", "").split_off(before);
        assert!(seen.len() <= MOST, "{tasks} task(s): {seen:#?}");
    }
}

#[test]
fn a_sample_of_a_packed_object_takes_no_more_of_it_than_it_needs() {
    let (bucket, faults) = Bucket::failing();
    let mut packer = Compression::Gzip.writer(Vec::new()).unwrap();
    packer.write_all((0..20_000).map(line).collect::<String>().as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    assert!(packed.len() > 384 << 10, "{}", packed.len());
    bucket.put("big.jsonl.gz", &packed);
    bucket.reader(json!({"sample_rows": 1_000})).schema().unwrap();
    // 1,000 rows of 64 bytes.
    assert_eq!(asked(&faults, 0), vec![0..128 << 10]);
}
