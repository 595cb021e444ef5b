//! Splits cover each row exactly once, whatever the content and number of the files.

use std::fs;

use proptest::prelude::*;
use serde_json::json;
use tempfile::tempdir;
use transload_plugin_api::SplitAbility;

use crate::host::{read, reading, row};

const ROWS: usize = 36_000;

/// Rows with line ends and delimiters inside quotes, several megabytes.
fn nasty_csv(rows: usize) -> String {
    let filler = "x,\n\"\"\r\n".repeat(40);
    let rows = (0..rows).map(|row| match row % 3 {
        0 => format!("{row},\"{filler}\"\n"),
        1 => format!("{row},\"\n{row},\"\n"),
        _ => format!("{row},plain {}\n", "y".repeat(row % 900)),
    });
    format!("\"id\n\",text\n{}ragged\n", rows.collect::<String>())
}

#[test]
fn t53_a_file_is_cut_at_proven_starts_of_records_only() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    fs::write(&path, nasty_csv(ROWS)).unwrap();
    let whole = read(reading(&path, json!({})), 1).unwrap();
    assert_eq!((whole.rows.len(), whole.splits.len(), whole.dirty.len()), (ROWS, 1, 1));
    for max in [2, 100] {
        let found = read(reading(&path, json!({})), max).unwrap();
        assert!(found.splits.len() > 1 && found.splits.len() <= max as usize);
        assert!(found.rows == whole.rows);
        // Lines are counted from the start of the file, so even the last line number is exact.
        assert_eq!(found.dirty, whole.dirty);
        assert_eq!(found.bytes, whole.bytes, "{max}");
        let bytes: Vec<_> = found.splits.iter().map(|split| split.bytes.unwrap()).collect();
        assert_eq!(bytes.iter().sum::<u64>(), whole.bytes);
        assert!(bytes.iter().all(|bytes| *bytes > 3 << 20), "{bytes:?}");
        assert!(found.splits.iter().all(|split| split.ability == SplitAbility::Seekable));
    }
}

#[test]
fn json_lines_are_cut_and_arrays_are_not() {
    let folder = tempdir().unwrap();
    let object =
        |row: i32| format!("{{\"id\":{row},\"text\":\"{}\"}}", "z".repeat(row as usize % 1400));
    let objects: Vec<_> = (0..20_000).map(object).collect();
    for (name, content, cut) in [
        ("x.jsonl", objects.join("\n"), true),
        ("x.json", format!("[{}]", objects.join(",")), false),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let whole = read(reading(&path, json!({})), 1).unwrap();
        let found = read(reading(&path, json!({})), 3).unwrap();
        assert_eq!(found.splits.len(), if cut { 3 } else { 1 });
        assert_eq!(whole.rows.len(), 20_000);
        assert!(found.rows == whole.rows);
        assert_eq!(found.bytes, whole.bytes);
    }
    // Lines are counted from the split's start if counting from the file's start would cost a pass.
    let found = read(reading(&folder.path().join("x.jsonl"), json!({})), 2).unwrap();
    assert!(found.places.last().unwrap().starts_with("x.jsonl from byte "));
}

#[test]
fn what_is_packed_or_in_another_encoding_is_not_cut() {
    let folder = tempdir().unwrap();
    let content = nasty_csv(ROWS);
    let plain = folder.path().join("x.csv");
    fs::write(&plain, &content).unwrap();
    let expected = read(reading(&plain, json!({})), 1).unwrap().rows;
    let utf16: Vec<u8> = content.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = folder.path().join("wide.csv");
    fs::write(&path, utf16).unwrap();
    let found = read(reading(&path, json!({"encoding": "utf-16le"})), 4).unwrap();
    assert_eq!((found.splits.len(), found.splits[0].ability), (1, SplitAbility::Replayable));
    assert!(found.rows == expected);
}

#[test]
fn many_files_are_dealt_out_in_their_order() {
    let folder = tempdir().unwrap();
    for number in 0..10 {
        let rows: String = (0..number * 100).map(|row| format!("{number},{row}\n")).collect();
        fs::write(folder.path().join(format!("{number}.csv")), format!("a,b\n{rows}")).unwrap();
    }
    let pattern = folder.path().join("*.csv");
    let whole = read(reading(&pattern, json!({})), 1).unwrap();
    assert_eq!((whole.rows.len(), whole.splits.len()), (4500, 1));
    for max in [2, 3, 10, 50] {
        let found = read(reading(&pattern, json!({})), max).unwrap();
        assert!(found.splits.len() > 1 && found.splits.len() <= max.min(10) as usize);
        assert!(found.rows == whole.rows);
        assert_eq!(found.bytes, whole.bytes);
    }
}

#[test]
fn empty_files_have_a_split_and_no_rows() {
    let folder = tempdir().unwrap();
    for (name, content) in [("x.csv", "a,b\n"), ("x.jsonl", ""), ("x.json", "[]"), ("y.csv", "")] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let found = read(reading(&path, json!({})), 4).unwrap();
        assert_eq!((found.splits.len(), found.rows.len()), (1, 0), "{name}");
    }
}

#[test]
fn a_byte_order_mark_belongs_to_the_first_piece() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let rows: String = (0..1_200_000).map(|row| format!("{row},x\n")).collect();
    fs::write(&path, format!("\u{feff}\"a\",b\n{rows}")).unwrap();
    let found = read(reading(&path, json!({})), 2).unwrap();
    assert_eq!((found.splits.len(), found.rows.len()), (2, 1_200_000));
    assert_eq!(found.rows[0], row(&["0", "x"]));
    assert_eq!(found.places.last().unwrap(), "x.csv, line 1200001");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn splits_cover_each_row_exactly_once(
        sizes in proptest::collection::vec(0usize..4_000, 1..4),
        max in 1u32..6,
        seed in any::<u32>(),
        lines in any::<bool>(),
    ) {
        let folder = tempdir().unwrap();
        for (number, rows) in sizes.iter().enumerate() {
            let mut state = seed.wrapping_add(number as u32) | 1;
            let mut text = String::from(if lines { "" } else { "id,text\n" });
            for row in 0..*rows {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let filler = ["a,b", "\n\n", "\"\"", "é"][state as usize >> 30].repeat(state as usize % 1500);
                text += &match lines {
                    true => format!("{}\n", json!({"id": row, "text": filler})),
                    false => format!("{row},\"{}\"\n", filler.replace('"', "\"\"")),
                };
            }
            let name = format!("{number}.{}", if lines { "jsonl" } else { "csv" });
            fs::write(folder.path().join(name), text).unwrap();
        }
        let path = folder.path();
        let whole = read(reading(path, json!({"sample_rows": 10})), 1).unwrap();
        let found = read(reading(path, json!({"sample_rows": 10})), max).unwrap();
        prop_assert_eq!(whole.rows.len(), sizes.iter().sum::<usize>());
        prop_assert!(found.splits.len() <= max as usize);
        prop_assert_eq!(found.dirty, vec![]);
        prop_assert!(found.rows == whole.rows);
        prop_assert_eq!(found.bytes, whole.bytes);
    }
}
