//! Jobs' own cases: types as the drivers report them, splits, refused rows, and what goes wrong on
//! the way to a driver and in the middle of its stream.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::{collections::BTreeSet, fs, sync::Arc};

use arrow_array::{cast::AsArray as _, types::Int64Type};
use serde_json::json;
use support::{Driver, Fixture, batch, integers, manifests, plan, read_all, texts, write_all};
use transload_plugin_adbc::AdbcPlugin;
use transload_plugin_api::{
    Cancel, Error, ErrorKind, Host, Options, Plugin, Secret, Secrets, WriteMode, code,
};

#[test]
fn types_are_what_the_driver_reports() {
    let fixture = Fixture::new(
        Driver::Duckdb,
        &["CREATE TABLE t (a BIGINT, b DECIMAL(10,2), c TIMESTAMPTZ, d VARCHAR, e INTEGER[], \
           f STRUCT(x INTEGER), g TIMESTAMP_S, h BLOB)"],
    );
    let schema = fixture.reader(&[("table", "t")]).schema().unwrap();
    let types: Vec<_> =
        schema.columns.iter().map(|column| format!("{} {}", column.name, column.logical)).collect();
    let expected = [
        "a int64",
        "b decimal(10,2)",
        "c timestamptz",
        "d text",
        "e list<int32>",
        "g timestamp(0)",
        "h binary",
    ];
    assert_eq!(types, expected);
    assert!(schema.warnings[0].starts_with("column `f` is left out"), "{:?}", schema.warnings);
}

#[test]
fn ranges_of_a_split_key_hold_each_row_once() {
    for driver in [Driver::Sqlite, Driver::Duckdb] {
        let rows: Vec<_> = (0..1000).map(|id| format!("({id})")).collect();
        let insert = format!("INSERT INTO t VALUES {}, (NULL)", rows.join(", "));
        let fixture = Fixture::new(driver, &["CREATE TABLE t (id BIGINT)", &insert]);
        let where_split = [("table", "t"), ("split_key", "id"), ("where", "id < 900 -- or so")];
        for (options, expected) in [(&where_split[..2], 1001), (&where_split[..], 900)] {
            let splits = read_all(&*fixture.reader(options), 4);
            assert_eq!(splits.len(), 4, "{driver:?}");
            let ids: Vec<_> = splits
                .iter()
                .flatten()
                .flat_map(|read| read.batch.column(0).as_primitive::<Int64Type>().iter())
                .collect();
            assert_eq!((ids.len(), BTreeSet::from_iter(&ids).len()), (expected, expected));
        }
    }
}

#[test]
fn a_large_batch_of_the_driver_comes_in_pieces() {
    let fixture = Fixture::new(Driver::Sqlite, &[]);
    let mut options = fixture.options(&[(
        "query",
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 50000) \
         SELECT i FROM r",
    )]);
    let rows = json!({ "adbc.sqlite.query.batch_rows": "40000" });
    options.values.insert("statement_options".to_owned(), rows);
    let reader = AdbcPlugin.reader(options, Host::detached()).unwrap();
    let sizes: Vec<_> =
        read_all(&*reader, 1).iter().flatten().map(|read| read.batch.num_rows()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 50_000);
    assert!(sizes.iter().all(|rows| *rows <= 8192), "{sizes:?}");
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_no_end() {
    let late = [
        (
            Driver::Sqlite,
            "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE \
            i < 5000) SELECT CASE WHEN i < 4000 THEN i ELSE 'x' || i END AS v FROM r",
        ),
        (
            Driver::Duckdb,
            "SELECT CASE WHEN i < 400000 THEN i ELSE error('late')::BIGINT END AS v \
            FROM range(500000) t(i)",
        ),
    ];
    for (driver, sql) in late {
        let error = Fixture::new(driver, &[]).try_query(sql).unwrap_err();
        assert!(error.code.starts_with("ADBC-"), "{driver:?}: {error:?}");
        assert!(error.message.starts_with("read: the driver reports"), "{driver:?}: {error}");
    }
}

/// Of a refused batch every row but those at fault is written, once, also beside earlier batches of
/// the chunk: with savepoints and by replay.
#[test]
fn refused_rows_are_found_and_all_others_written() {
    for driver in [Driver::Sqlite, Driver::Duckdb] {
        let create = "CREATE TABLE t (s TEXT NOT NULL, id BIGINT PRIMARY KEY)";
        let fixture = Fixture::new(driver, &[create, "INSERT INTO t VALUES ('old', 7)"]);
        let plan = plan(WriteMode::Insert, &[("id", "int64"), ("s", "text")], &[]);
        let rows = |ids: std::ops::Range<i64>| {
            let names: Vec<_> = ids.clone().map(|id| (id != 150).then_some("x")).collect();
            batch(&plan, vec![integers(ids), texts(names)])
        };
        let written = write_all(&*fixture.writer(), &plan, &[rows(100..200), rows(0..50)]);
        let written = written.unwrap();
        let dirty: Vec<Vec<u64>> =
            written.iter().map(|some| some.dirty.iter().map(|row| row.row).collect()).collect();
        assert_eq!(dirty, [vec![50], vec![7]], "{driver:?}");
        assert_eq!(written.iter().map(|some| some.inserted).sum::<u64>(), 148);
        let found = fixture.query("SELECT count(*) AS n, count(DISTINCT id) AS m FROM t");
        let number = |at: usize| found[0].column(at).as_primitive::<Int64Type>().value(0);
        assert_eq!((number(0), number(1)), (149, 149), "{driver:?}");
    }
}

/// Some drivers go by the order of columns alone.
#[test]
fn columns_find_their_places_by_name() {
    let fixture = Fixture::new(Driver::Duckdb, &["CREATE TABLE t (a BIGINT, b BIGINT)"]);
    let plan = plan(WriteMode::Insert, &[("b", "int64"), ("a", "int64")], &[]);
    let rows = batch(&plan, vec![integers([2]), integers([1])]);
    write_all(&*fixture.writer(), &plan, &[rows]).unwrap();
    let found = fixture.query("SELECT a, b FROM t");
    assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 1);
}

struct Password;

impl Secrets for Password {
    fn secret(&self, key: &str) -> Result<Option<Secret>, Error> {
        Ok((key == "password").then(|| Secret::new("canary-5")))
    }
}

fn refusal(values: serde_json::Value) -> Error {
    let serde_json::Value::Object(values) = values else { panic!("{values}") };
    let options = Options { values, ..Options::default() };
    let host = Host::new(Arc::new(Password), Cancel::new());
    AdbcPlugin.reader(options, host).unwrap().schema().unwrap_err()
}

#[test]
fn what_is_no_driver_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    fs::write(&text, "no library").unwrap();
    let query = "SELECT 1";
    let error = refusal(json!({ "driver": text, "query": query }));
    assert_eq!((error.code.as_str(), error.key.as_deref()), (code::ADBC_LOAD, Some("driver")));

    let driver = "sqlite";
    let path = [manifests()];
    let entrypoint = "nothing_init";
    let error = refusal(json!({ "driver": driver, "additional_search_path": path,
        "entrypoint": entrypoint, "query": query }));
    assert!(error.message.contains("no entry point `nothing_init`"), "{error}");

    let error =
        refusal(json!({ "driver": "acme", "additional_search_path": path, "query": query }));
    assert_eq!((error.code.as_str(), error.kind), (code::ADBC_DRIVER, ErrorKind::NotFound));
    assert!(error.hint.unwrap().contains(&path[0]));

    let options = json!({ "no.such.option": "canary-6", "my.token": "canary-7" });
    let error = refusal(json!({ "driver": driver, "additional_search_path": path,
        "options": options, "query": query }));
    assert!(error.message.starts_with("connect: the driver reports"), "{error}");
    assert!(!format!("{error:?}").contains("canary-5"), "{error:?}");
    assert!(!format!("{error:?}").contains("canary-7"), "{error:?}");
}
