//! The content of objects: split among tasks, compressed, with different columns, changed.

use std::io::Write;

use serde_json::json;
use transload_formats::Compression;
use transload_plugin_api::{Column, ErrorKind, SplitRequest};

use crate::host::{Reading, rows, rows_of, rows_of_split};
use transload_tests_buckets::Bucket;

/// Rows with line ends in quotes, so that only a proven boundary is correct.
fn csv(rows: std::ops::Range<u32>) -> String {
    let mut text = String::from("id,text\n");
    for row in rows {
        text.push_str(&format!("{row},\"line one of {row}\nline two, and a \"\"quote\"\"\"\n"));
    }
    text
}

#[test]
fn one_csv_object_is_read_by_several_tasks_and_each_row_once() {
    const ROWS: u32 = 300_000;
    let text = csv(0..ROWS);
    assert!(text.len() > 12 << 20);
    for bucket in Bucket::all() {
        bucket.put("big.csv", text.clone());
        let reader = bucket.reader(json!({}));
        let columns = reader.schema().unwrap().columns;
        let splits = reader.splits(&SplitRequest::new(3, columns.clone())).unwrap();
        assert_eq!(splits.len(), 3, "{}", bucket.url);
        let parts: Vec<_> = std::thread::scope(|scope| {
            let read = |split| rows_of_split(reader.as_ref(), split, &columns).unwrap();
            let threads: Vec<_> =
                splits.iter().map(|split| scope.spawn(move || read(split))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(parts.iter().all(|part| !part.is_empty()));
        let ids = parts.iter().flatten().map(|row| row[0].parse::<u32>().unwrap());
        assert!(ids.eq(0..ROWS), "{}", bucket.url);
        assert!(parts.iter().flatten().all(|row| row[1].ends_with("a \"quote\"")));
    }
}

#[test]
fn t57_packed_objects_are_known_by_their_first_bytes() {
    let text = csv(0..2_000);
    for bucket in Bucket::all() {
        let all = [
            Compression::Gzip,
            Compression::Zstd,
            Compression::Bzip2,
            Compression::Lz4,
            Compression::Snappy,
        ];
        for (number, compression) in all.into_iter().enumerate() {
            let mut packed = compression.writer(Vec::new()).unwrap();
            packed.write_all(text.as_bytes()).unwrap();
            // The extension does not show the compression.
            bucket.put(&format!("{number}.csv"), packed.finish().unwrap());
        }
        let found = rows(bucket.reader(json!({})).as_ref(), 5).unwrap();
        assert_eq!(found.len(), 10_000, "{}", bucket.url);
        let ids = found.iter().map(|row| row[0].parse::<u32>().unwrap());
        assert!(ids.eq((0..5).flat_map(|_| 0..2_000)), "{}", bucket.url);
    }
}

#[test]
fn objects_of_other_columns_are_named() {
    for bucket in Bucket::all() {
        bucket.put("a.csv", "id,name\n1,x\n");
        bucket.put("b.csv", "name,id\ny,2\n");
        let found = rows(bucket.reader(json!({})).as_ref(), 1).unwrap();
        assert_eq!(found, [["1", "x"], ["2", "y"]], "{}", bucket.url);
        bucket.put("c.csv", "id,nom\n3,z\n");
        let error = bucket.reader(json!({})).schema().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema);
        let told = format!("{error} {:?}", error.place);
        assert!(told.contains("`name`") && told.contains("c.csv"), "{told}");
    }
}

#[test]
fn t58_an_object_that_is_replaced_during_the_run_is_refused_by_name() {
    for bucket in Bucket::all() {
        bucket.put("a.csv", csv(0..100));
        bucket.put("b.csv", csv(0..100));
        let reader = bucket.reader(json!({}));
        let columns = reader.schema().unwrap().columns;
        let splits = reader.splits(&SplitRequest::new(2, columns.clone())).unwrap();
        // Of the same size, so that only the version differs.
        bucket.put("b.csv", csv(0..100).replace("one of", "ONE OF"));
        assert_eq!(rows_of_split(reader.as_ref(), &splits[0], &columns).unwrap().len(), 100);
        let error = rows_of_split(reader.as_ref(), &splits[1], &columns).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Schema, "FILE-CHANGED"));
        assert!(error.to_string().contains("b.csv"), "{error}");
        bucket.remove("a.csv");
        let error = rows_of_split(reader.as_ref(), &splits[0], &columns).unwrap_err();
        // For a missing object, Azure reports a changed version.
        assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::Schema), "{error}");
        // A new plan uses the current objects.
        assert_eq!(rows(bucket.reader(json!({})).as_ref(), 1).unwrap().len(), 100);
    }
}

#[test]
fn parquet_is_read_by_row_groups_and_only_wanted_columns() {
    let file = parquet_of(130_000);
    for bucket in Bucket::all() {
        bucket.put("x.parquet", &file);
        let reader = bucket.reader(json!({}));
        let columns = reader.schema().unwrap().columns;
        let splits = reader.splits(&SplitRequest::new(3, columns.clone())).unwrap();
        assert!(splits.len() > 1, "{}", bucket.url);
        let found = rows_of(reader.as_ref(), &columns[..1], 3).unwrap();
        let ids = found.iter().map(|row| row[0].parse::<u32>().unwrap());
        assert!(ids.eq(0..130_000), "{}", bucket.url);
    }
}

#[test]
fn a_parquet_object_that_the_plan_did_not_look_at_is_told_by_name() {
    const SAMPLED: usize = 16;
    for bucket in Bucket::all() {
        let usual = parquet_of(10);
        (0..SAMPLED).for_each(|number| bucket.put(&format!("{number:02}.parquet"), &usual));
        bucket.put("odd.parquet", parquet_named(["id", "nom"], 10));
        let error = rows(bucket.reader(json!({})).as_ref(), 32).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema, "{error}");
        assert!(error.message.contains("`text`"), "{error}");
        assert!(error.place.as_deref().unwrap().contains("odd.parquet"), "{error:?}");
    }
}

/// A number and a long random text in each row, several row groups.
pub(crate) fn parquet_of(rows: u32) -> Vec<u8> {
    parquet_named(["id", "text"], rows)
}

fn parquet_named(names: [&str; 2], rows: u32) -> Vec<u8> {
    use transload_formats::{Encoding, WriteOptions};
    use transload_plugin_api::{Column, LogicalType, schema_of};
    use transload_values::{CellWords, ColumnParser};
    let columns = [
        Column::new(names[0], "int32".parse().unwrap(), true),
        Column::new(names[1], LogicalType::TEXT, true),
    ];
    let options = transload_plugin_api::Options::from_pairs([
        ("format", json!("parquet")),
        ("row_group_rows", json!(20_000)),
    ]);
    let options = WriteOptions::parse(&options).unwrap();
    let mut encoder = Encoding::new(&options, "x.parquet").unwrap().encoder(&columns).unwrap();
    let mut out = Vec::new();
    encoder.start(&mut out).unwrap();
    let mut random = 1u64;
    for from in (0..rows).step_by(8_192) {
        let words = CellWords::default();
        let mut builders: Vec<_> =
            columns.iter().map(|it| ColumnParser::new(it, &words).unwrap()).collect();
        for row in from..rows.min(from + 8_192) {
            builders[0].append_text(row.to_string().as_bytes()).unwrap();
            let mut text = String::new();
            for _ in 0..8 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(&format!("{:016x}", random.rotate_left(23)));
            }
            builders[1].append_text(text.as_bytes()).unwrap();
        }
        let arrays = builders.iter_mut().map(|builder| builder.finish()).collect();
        let batch = arrow_array::RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
        encoder.encode(&batch, &mut out).unwrap();
        encoder.commit(&mut out).unwrap();
    }
    encoder.end(&mut out).unwrap();
    out
}

/// Place, line, code, column and text of a dirty row.
type Dirty<'a> = (&'a str, u64, &'a str, Option<&'a str>, &'a str);

#[test]
fn a_dirty_row_is_whole_and_names_its_object_and_line() {
    for bucket in Bucket::all() {
        bucket.put("in/a.csv", "id,name\n1,a\n2x,b\n3,c,d\n");
        bucket.put("in/b.jsonl", "{\"id\":1}\n{\"id\":\"y\",\"name\":\"b\"}\n");
        let cases: [(&str, &[Dirty<'_>]); 2] = [
            (
                "in/a.csv",
                &[
                    ("a.csv, line 3", 3, "parse", Some("id"), "2x,b"),
                    ("a.csv, line 4", 4, "ragged", None, "3,c,d"),
                ],
            ),
            (
                "in/b.jsonl",
                &[("b.jsonl, line 2", 2, "parse", Some("id"), "{\"id\":\"y\",\"name\":\"b\"}")],
            ),
        ];
        for (path, expected) in cases {
            let reader = bucket.reader(json!({"path": [path]}));
            let column =
                |name: &str, logical: &str| Column::new(name, logical.parse().unwrap(), true);
            let columns = [column("id", "int64"), column("name", "text")];
            let request = SplitRequest::new(1, columns.to_vec());
            let splits = reader.splits(&request).unwrap();
            let mut task = reader.open(&splits[0], &columns, None).unwrap();
            let mut dirty = Vec::new();
            while let Some(found) = task.next_batch().unwrap() {
                dirty.extend(found.dirty);
            }
            let found: Vec<_> = dirty
                .iter()
                .map(|row| {
                    let place = row.place.as_deref().unwrap();
                    let text = std::str::from_utf8(&row.text.as_ref().unwrap().0).unwrap();
                    (place, row.number.unwrap(), row.code.as_str(), row.column.as_deref(), text)
                })
                .collect();
            assert_eq!(found, expected, "{}", bucket.url);
            assert!(dirty[0].values.as_deref().unwrap().contains("\"name\""), "{dirty:?}");
        }
    }
}
