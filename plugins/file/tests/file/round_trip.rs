//! What the writer writes, the reader reads back identically.

use proptest::prelude::*;
use serde_json::json;
use transload_plugin_api::{Column, WriteMode};

use crate::host::{
    Row, batch, columns, plan, read_columns, reader, reading, rows_of, write, writing,
};

/// Every type that has a text form.
fn all_columns() -> Vec<Column> {
    columns(&[
        ("boolean", "boolean"),
        ("int8", "int8"),
        ("int64", "int64"),
        ("uint64", "uint64"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("decimal", "decimal(20,4)"),
        ("wide", "decimal(60,10)"),
        ("numeric", "numeric"),
        ("te\"xt, \n", "text"),
        ("short", "text(3)"),
        ("binary", "binary"),
        ("date", "date"),
        ("time", "time"),
        ("duration", "duration"),
        ("timestamp", "timestamp"),
        ("nano", "timestamp(9)"),
        ("instant", "timestamptz"),
        ("json", "json"),
        ("uuid", "uuid"),
    ])
}

/// Text with everything that has a special meaning in a format.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[ -~]{0,8}",
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just(",".to_owned()),
        Just("#".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\0".to_owned()),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn digits(whole: usize, fraction: usize) -> impl Strategy<Value = String> {
    let pattern = format!("-?[1-9][0-9]{{0,{}}}\\.[0-9]{{{fraction}}}", whole - 1);
    proptest::string::string_regex(&pattern).unwrap()
}

fn cell(index: usize) -> BoxedStrategy<String> {
    match index {
        0 => any::<bool>().prop_map(|v| v.to_string()).boxed(),
        1 => any::<i8>().prop_map(|v| v.to_string()).boxed(),
        2 => any::<i64>().prop_map(|v| v.to_string()).boxed(),
        3 => any::<u64>().prop_map(|v| v.to_string()).boxed(),
        4 => {
            any::<f32>().prop_filter("json", |v| v.is_finite()).prop_map(|v| v.to_string()).boxed()
        }
        5 => {
            any::<f64>().prop_filter("json", |v| v.is_finite()).prop_map(|v| v.to_string()).boxed()
        }
        6 => digits(16, 4).boxed(),
        7 => digits(50, 10).boxed(),
        8 => digits(30, 12).boxed(),
        9 => text().boxed(),
        10 => proptest::collection::vec(any::<char>(), 0..4)
            .prop_map(|chars| chars.into_iter().collect())
            .boxed(),
        11 => proptest::collection::vec(any::<u8>(), 0..9)
            .prop_map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
            .boxed(),
        12 => (1i32..9999, 1u32..13, 1u32..29)
            .prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"))
            .boxed(),
        13 => "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\\.[0-9]{6}".boxed(),
        14 => "-?[1-9][0-9]{0,3}:[0-5][0-9]:[0-5][0-9]".boxed(),
        15 => {
            "19[0-9]{2}-0[1-9]-1[0-9] ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\\.[0-9]{6}".boxed()
        }
        16 => {
            "20[0-9]{2}-0[1-9]-1[0-9] ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\\.[0-9]{9}".boxed()
        }
        17 => "20[0-9]{2}-0[1-9]-1[0-9]T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z".boxed(),
        18 => text()
            .prop_map(|text| {
                json!({"a": [text, 1, null], "b": 12345678901234567890u64}).to_string()
            })
            .boxed(),
        _ => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".boxed(),
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let cells: Vec<_> = (0..all_columns().len())
        .map(|index| proptest::option::weighted(0.8, cell(index)))
        .collect();
    proptest::collection::vec(cells, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn t54_written_rows_are_read_back_identically(
        rows in rows(),
        name in prop_oneof![Just("x.csv"), Just("x.tsv"), Just("x.jsonl"), Just("x.json"), Just("folder")],
        packed in prop_oneof![Just("none"), Just("gzip"), Just("zstd")],
        binary in prop_oneof![Just("hex"), Just("base64")],
        escape in prop_oneof![Just(""), Just("\\")],
        marker in prop_oneof![Just(""), Just("\\N"), Just("NULL")],
        tasks in 1usize..4,
        max in 1u32..4,
    ) {
        prop_assume!(escape.is_empty() || marker != "\\N");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let columns = all_columns();
        let mut more = json!({"binary": binary, "escape": escape, "null": marker});
        if name == "folder" {
            more["format"] = json!("jsonl");
        }
        let mut to = more.clone();
        to["compression"] = json!(packed);
        if name == "folder" {
            to["layout"] = json!("folder");
        }
        let whole = batch(&columns, &rows);
        let share = rows.len().div_ceil(tasks).max(1);
        let parts: Vec<_> = (0..tasks)
            .map(|task| {
                let start = (task * share).min(rows.len());
                vec![whole.slice(start, share.min(rows.len() - start))]
            })
            .collect();
        let plan = plan("r1", &columns, WriteMode::Insert);
        let dirty = write(writing(&path, to), &plan, &parts).unwrap();
        prop_assert_eq!(dirty, vec![]);
        let read = read_columns(reader(reading(&path, more)).as_ref(), &columns, max).unwrap();
        prop_assert_eq!(read.dirty, vec![]);
        prop_assert_eq!(read.rows, rows_of(&columns, &whole));
        let stored: u64 = read.splits.iter().filter_map(|split| split.bytes).sum();
        prop_assert_eq!(read.bytes.min(stored), read.bytes);
    }
}
