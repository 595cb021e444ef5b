//! Reading requests no more from a store than it needs, because each request to a bucket takes
//! time.

use std::io::Write;

use serde_json::json;
use transload_formats::Compression;
use transload_plugin_api::Reader;

use crate::shelf::{Shelf, count, splits};

/// Lines that do not compress well, under 80 bytes each.
fn lines(format: &str, rows: usize) -> String {
    let mut random = 1u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{:016x}{:016x}", random.rotate_left(23), random.rotate_left(41))
    };
    let line = |row: usize| match format {
        "csv" => format!("{row},{}\n", next()),
        _ => format!("{{\"id\":{row},\"text\":\"{}\"}}\n", next()),
    };
    let head = if format == "csv" { "id,text\n" } else { "" };
    head.to_owned() + &(0..rows).map(line).collect::<String>()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packer = Compression::Gzip.writer(Vec::new()).unwrap();
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

#[test]
fn the_request_for_a_header_tells_whether_a_file_can_be_cut() {
    const ROWS: usize = 240_000;
    for format in ["csv", "jsonl"] {
        let shelf = Shelf::one(&format!("big.{format}"), lines(format, ROWS));
        let reader = shelf.reader(&[]);
        reader.schema().unwrap();
        shelf.asked();
        let (columns, splits) = splits(&reader, 2);
        assert_eq!(splits.len(), 2, "{format}");
        let asked = shelf.asked();
        // Larger ranges prove that a CSV record begins at the cut.
        let heads = asked.iter().filter(|(_, range)| range.end <= 128 << 10);
        assert_eq!(heads.count(), 1, "{format}: {asked:?}");
        let mut rows = 0;
        for (number, split) in splits.iter().enumerate() {
            rows += count(reader.open(split, &columns, None).unwrap()).unwrap();
            let asked = shelf.asked();
            assert_eq!(asked.len(), 1, "{format} {number}: {asked:?}");
            assert_eq!(asked[0].1.start == 0, number == 0, "{format} {number}: {asked:?}");
        }
        assert_eq!(rows, ROWS, "{format}");
    }
}

#[test]
fn a_task_that_begins_in_the_middle_of_a_cut_file_goes_there() {
    let shelf = Shelf::one("big.csv", lines("csv", 240_000));
    let reader = shelf.reader(&[]);
    let (columns, splits) = splits(&reader, 2);
    let mut task = reader.open(&splits[1], &columns, None).unwrap();
    let position = task.next_batch().unwrap().unwrap().position;
    shelf.asked();
    reader.open(&splits[1], &columns, Some(&position)).unwrap().next_batch().unwrap().unwrap();
    assert_eq!(shelf.asked().len(), 1);
}

#[test]
fn a_sample_takes_no_more_of_a_file_than_it_needs() {
    const ROWS: usize = 40_000;
    for (format, packed) in [("csv", true), ("jsonl", true), ("csv", false), ("jsonl", false)] {
        let text = lines(format, ROWS);
        let (name, bytes) = match packed {
            true => (format!("big.{format}.gz"), gzip(&text)),
            false => (format!("big.{format}"), text.clone().into_bytes()),
        };
        let shelf = Shelf::one(&name, bytes.clone());
        let sampled = |rows: usize| {
            let reader = shelf.reader(&[("sample_rows", json!(rows))]);
            let notes = reader.schema().unwrap().notes;
            assert!(notes[0].contains(&format!("{rows} ")), "{notes:?}");
            let asked = shelf.asked();
            asked.iter().map(|(_, range)| range.end - range.start).sum::<u64>()
        };
        // At most about 100 bytes per row, twice that for reading in growing steps, and two
        // requests.
        for rows in [100, 4_000] {
            let most = rows as u64 * 200 + (256 << 10);
            let asked = sampled(rows);
            assert!(asked <= most, "{name}, {rows} rows: {asked} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_sample_of_wide_rows_is_bounded_in_bytes() {
    // Zeros: a few kilobytes when compressed.
    let row = format!("1,{}\n", "0".repeat(1 << 20));
    let text = format!("id,text\n{}", row.repeat(10));
    let shelf = Shelf::one("wide.csv.gz", gzip(&text));
    let reader = shelf.reader(&[]);
    let notes = reader.schema().unwrap().notes;
    // 8 MiB, what the last step of the buffer adds to it, and the rows within.
    assert_eq!(notes[0], "types inferred from the first 9 rows");
}
