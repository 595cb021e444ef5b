//! Parquet files: split by row groups, joined without decoding, compared before they are read.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::tempdir;
use transload_plugin_api::{Column, ErrorKind, Result, WriteMode};

use crate::host::{
    Read, Row, batch, columns, plan, read, read_columns, read_split, reader, reading, row, write,
    writing,
};

fn two_columns() -> Vec<Column> {
    columns(&[("id", "int64"), ("price", "decimal(15,2)")])
}

fn rows(ids: &[i64]) -> Vec<Row> {
    ids.iter().map(|id| row(&[&id.to_string(), &format!("{id}.05")])).collect()
}

/// Writes each list of numbers with one task.
fn job(path: &Path, run: &str, mode: WriteMode, tasks: &[Vec<i64>], more: Value) -> Result<()> {
    let batches: Vec<_> = tasks.iter().map(|ids| vec![batch(&two_columns(), &rows(ids))]).collect();
    let dirty = write(writing(path, more), &plan(run, &two_columns(), mode), &batches)?;
    assert_eq!(dirty, []);
    Ok(())
}

fn ids(path: &Path, max: u32) -> (Vec<i64>, usize) {
    let found = read(reading(path, json!({})), max).unwrap();
    let id = |row: &Row| {
        let id: i64 = row[0].as_ref().unwrap().parse().unwrap();
        assert_eq!(row[1].as_ref().unwrap(), &format!("{id}.05"));
        id
    };
    (found.rows.iter().map(id).collect(), found.splits.len())
}

#[test]
fn parts_of_several_tasks_become_one_file() {
    for tasks in [
        vec![vec![1, 2, 3]],
        vec![vec![1], vec![], vec![2, 3]],
        vec![vec![], vec![1, 2], vec![3]],
        vec![vec![], vec![]],
    ] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        job(&path, "r1", WriteMode::Insert, &tasks, json!({})).unwrap();
        let expected = tasks.concat();
        assert_eq!(ids(&path, 1).0, expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the file is left");
        let more = json!({"if_exists": "append"});
        job(&path, "r2", WriteMode::Insert, &[vec![7], vec![8]], more).unwrap();
        assert_eq!(ids(&path, 1).0, [expected, vec![7, 8]].concat());
        job(&path, "r3", WriteMode::Overwrite, &[vec![9]], json!({})).unwrap();
        assert_eq!(ids(&path, 1).0, [9]);
    }
}

#[test]
fn rows_are_not_added_to_a_file_with_other_columns() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    job(&path, "r1", WriteMode::Insert, &[vec![1]], json!({})).unwrap();
    let before = fs::read(&path).unwrap();
    let others = columns(&[("id", "int64"), ("price", "decimal(15,3)")]);
    let more = json!({"if_exists": "append"});
    let rows = batch(&others, &[row(&["1", "1.000"])]);
    let wrong = write(writing(&path, more), &plan("r2", &others, WriteMode::Insert), &[vec![rows]]);
    let error = wrong.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Schema);
    assert!(error.message.contains("price decimal(15,2)"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_is_read_on_behind_any_batch() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let all: Vec<i64> = (0..30_000).collect();
    let more = json!({"row_group_rows": 9000});
    job(&path, "r1", WriteMode::Insert, std::slice::from_ref(&all), more).unwrap();
    // small files are not worth splitting
    assert_eq!(ids(&path, 4), (all, 1));
    let reader = reader(reading(&path, json!({})));
    let columns = reader.schema().unwrap().columns;
    let whole = read_columns(reader.as_ref(), &columns, 1).unwrap();
    assert!(whole.positions.len() > 5, "row groups of 9,000 rows take two batches each");
    for (number, position, before) in &whole.positions {
        let mut rest = Read::default();
        let split = (*number, &whole.splits[*number]);
        read_split(reader.as_ref(), split, &columns, Some(position), &mut rest).unwrap();
        assert!(rest.rows == whole.rows[*before..], "behind row {before}");
        assert_eq!(rest.places, whole.places[*before..]);
    }
}

#[test]
fn several_tasks_share_a_large_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let wide = columns(&[("id", "int64"), ("text", "text")]);
    let text = |id: i64| {
        format!("{:x}", (id as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060)).repeat(20)
    };
    let rows: Vec<Row> = (0..40_000).map(|id| row(&[&id.to_string(), &text(id)])).collect();
    let batches: Vec<_> = rows.chunks(4000).map(|rows| batch(&wide, rows)).collect();
    let more = json!({"row_group_rows": 4000, "compression": "none", "dictionary": false});
    write(writing(&path, more), &plan("r1", &wide, WriteMode::Insert), &[batches]).unwrap();
    assert!(fs::metadata(&path).unwrap().len() > 16 << 20);
    for max in [1, 2, 3, 50] {
        let found = read(reading(&path, json!({})), max).unwrap();
        assert!(found.rows == rows, "{max} splits");
        assert!(found.splits.len() <= 10 && (max == 1 || found.splits.len() > 1));
        let counted: u64 = found.splits.iter().map(|split| split.rows.unwrap_or(40_000)).sum();
        assert_eq!(counted, 40_000);
        let bytes: u64 = found.splits.iter().map(|split| split.bytes.unwrap()).sum();
        assert!(max == 1 || found.bytes == bytes, "{} and {bytes}", found.bytes);
    }
    assert_eq!(
        read(reading(&path, json!({})), 2).unwrap().splits[1].label,
        "x.parquet row groups 5.."
    );
}

#[test]
fn differences_between_files_are_told_by_name() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let one = columns(&[("id", "int64"), ("price", "decimal(15,2)")]);
    for (name, other, said) in [
        (
            "type.parquet",
            &[("id", "int64"), ("price", "float64")][..],
            "`price` is decimal(15,2) in",
        ),
        ("missing.parquet", &[("id", "int64")], "`price` is in `a.parquet` and not in this file"),
        (
            "more.parquet",
            &[("id", "int64"), ("price", "decimal(15,2)"), ("tax", "int64")],
            "`tax` is in this file and not in",
        ),
    ] {
        let write_to = |path: &Path, columns: &[Column]| {
            let cells = ["1", "1.00", "1"];
            let rows = batch(columns, &[row(&cells[..columns.len()])]);
            write(
                writing(path, json!({})),
                &plan(
                    &format!("r-{}", name.trim_end_matches(".parquet")),
                    columns,
                    WriteMode::Overwrite,
                ),
                &[vec![rows]],
            )
            .unwrap();
        };
        write_to(&path("a.parquet"), &one);
        write_to(&path(name), &columns(other));
        let both = reading(&folder.path().join("*.parquet"), json!({}));
        let error = read(both, 1).map(|_| ()).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Schema, "FILE-HEADER"));
        assert!(error.message.contains(said), "{error}");
        assert_eq!(error.place.as_deref(), Some(name));
        fs::remove_file(path(name)).unwrap();
    }
}

/// The plan shows the types that the file gets, in Parquet's own words; a name of folders has none.
#[test]
fn a_draft_has_the_types_of_the_file() {
    let folder = tempdir().unwrap();
    let types = [
        ("decimal(15,2)", "DECIMAL(15,2)"),
        ("decimal(38,10)", "DECIMAL(38,10)"),
        ("timestamptz", "TIMESTAMP(MICROS,UTC)"),
        ("timestamp(9)", "TIMESTAMP(NANOS)"),
        ("time", "TIME(MICROS)"),
        ("int8", "INT(8)"),
        ("uint64", "UINT(64)"),
        ("int64", "INT64"),
        ("float64", "DOUBLE"),
        ("numeric", "STRING"),
        ("binary", "BYTE_ARRAY"),
        ("uuid", "UUID"),
        ("interval", "INTERVAL"),
        ("list<list<decimal(9,2)>>", "LIST<LIST<DECIMAL(9,2)>>"),
        ("text", ""),
    ];
    let named: Vec<_> = types.iter().map(|(logical, _)| (*logical, *logical)).collect();
    let columns = columns(&named);
    let options = writing(folder.path(), json!({"format": "parquet", "partition_by": ["text"]}));
    let writer = crate::host::writer(options);
    let draft = writer.draft(&plan("r1", &columns, WriteMode::Insert)).unwrap();
    let found: Vec<_> = draft.columns.iter().map(|column| column.native.as_str()).collect();
    assert_eq!(found, types.map(|(_, native)| native));
    assert!(draft.columns.iter().zip(&columns).all(|(one, two)| one.logical == two.logical));
}
