//! Reading: every value as it was stored, every row once; a value that does not fit makes a dirty
//! row.

#![allow(clippy::unwrap_used)] // helpers of tests fail as loudly as tests

mod support;

use std::collections::BTreeSet;

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use support::{Fixture, dirty_rows, faults, read_all, read_columns};
use transload_plugin_api::{
    Cancel, Column, ErrorKind, Host, Plugin, Position, ReadBatch, SplitAbility, SplitRequest,
};
use transload_plugin_sqlite::SqlitePlugin;

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    batch.column_by_name(name).unwrap()
}

/// The values of an int64 column over all batches.
fn integers(batches: &[Vec<ReadBatch>], name: &str) -> Vec<i64> {
    let values =
        |read: &ReadBatch| column(&read.batch, name).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flatten().flat_map(values).collect()
}

#[test]
fn values_come_as_they_are_stored() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, i INT, r REAL, d DECIMAL(15,2), b BOOLEAN, s TEXT,
                        v VARCHAR(5), x BLOB, day DATE, at DATETIME, j JSON, u UUID);
         INSERT INTO t VALUES
           (1, -9223372036854775808, 0.1, 12.5, 1, 'a', 'äöüß€', x'00ff', '0001-01-01',
            '2024-03-31 02:30:00.123456', '{\"a\":1.10}', '123e4567-e89b-12d3-a456-426614174000'),
           (7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
           (9, 9223372036854775807, 5e-324, '0.10', 0, '', '', x'', '9999-12-31',
            '1970-01-01T00:00:00', '[]', NULL);",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let splits = read_all(&*reader, 1);
    assert_eq!((splits.len(), splits[0].len()), (1, 1));
    assert!(dirty_rows(&splits).is_empty());
    let read = &splits[0][0];
    let batch = &read.batch;
    assert_eq!(integers(&splits, "id"), [1, 7, 9]);
    let i = column(batch, "i").as_primitive::<Int64Type>();
    assert_eq!((i.value(0), i.is_null(1), i.value(2)), (i64::MIN, true, i64::MAX));
    let r = column(batch, "r").as_primitive::<Float64Type>();
    assert_eq!((r.value(0), r.value(2)), (0.1, 5e-324));
    let d = column(batch, "d").as_primitive::<Decimal128Type>();
    assert_eq!((d.value(0), d.is_null(1), d.value(2)), (1250, true, 10));
    let b = column(batch, "b").as_boolean();
    assert_eq!((b.value(0), b.is_null(1), b.value(2)), (true, true, false));
    // t09: NULL and the empty text stay different.
    let s = column(batch, "s").as_string::<i32>();
    assert_eq!((s.value(0), s.is_null(1), s.is_null(2), s.value(2)), ("a", true, false, ""));
    assert_eq!(column(batch, "v").as_string::<i32>().value(0), "äöüß€");
    let x = column(batch, "x").as_binary::<i32>();
    assert_eq!((x.value(0), x.is_null(1), x.value(2)), (&[0, 255][..], true, &[][..]));
    let day = column(batch, "day").as_primitive::<Date32Type>();
    assert_eq!((day.value(0), day.value(2)), (-719_162, 2_932_896));
    let at = column(batch, "at").as_primitive::<TimestampMicrosecondType>();
    assert_eq!((at.value(0), at.value(2)), (1_711_852_200_123_456, 0));
    assert_eq!(column(batch, "j").as_string::<i32>().value(0), "{\"a\":1.10}");
    assert_eq!(column(batch, "u").as_fixed_size_binary().value(0)[0], 0x12);
    let origin = read.origin.as_ref().unwrap();
    assert_eq!((origin.unit.as_str(), origin.first, origin.exact), ("rowid", 1, false));
}

#[test]
fn what_does_not_fit_is_dirty_and_all_else_is_read() {
    let fixture = Fixture::new(
        "CREATE TABLE t(a INTEGER, b TEXT, c BOOLEAN, d DECIMAL(5,2), e VARCHAR(3));
         INSERT INTO t(rowid, a, b, c, d, e) VALUES
           (1, 1, 'x', 1, 1.25, 'abc'),
           (2, 'abc', 'x', 1, 1, 'abc'),
           (3, 1.5, 'x', 1, 1, 'abc'),
           (4, 4, x'61', 1, 1, 'abc'),
           (5, 5, 'x', 2, 1, 'abc'),
           (6, 6, 'x', 1, 1.255, 'abc'),
           (7, 7, 'x', 1, 1000, 'abc'),
           (8, 8, 'x', 1, 1, 'abcd'),
           (9, 9, 'x', 0, 9.99, 'äöü');",
    );
    let splits = read_all(&*fixture.reader(&[("table", "t")]), 1);
    let wanted: Vec<_> = [
        (2, "a", "parse"),
        (3, "a", "type"),
        (4, "b", "type"),
        (5, "c", "range"),
        (6, "d", "range"),
        (7, "d", "range"),
        (8, "e", "length"),
    ]
    .map(|(row, column, code)| (format!("t, rowid {row}"), column.to_owned(), code.to_owned()))
    .to_vec();
    let dirty = dirty_rows(&splits);
    assert_eq!(faults(&dirty), wanted);
    assert_eq!(dirty[0].reason, "expected `int64`, found text: abc");
    assert_eq!(dirty[0].value.as_deref(), Some("abc"));
    assert_eq!(integers(&splits, "a"), [1, 9]);
    let origin = splits[0][0].origin.as_ref().unwrap();
    assert_eq!([origin.place(0), origin.place(1)], ["t, rowid 1", "t, rowid 9"]);
}

#[test]
fn t01_t02_every_row_is_in_one_split() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, k INT, s TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO t SELECT i * 3, CASE WHEN i <= 3 THEN NULL ELSE i % 50 END, 'k' || i FROM n;",
    );
    for key in [None, Some("id"), Some("k"), Some("s")] {
        for max in [1, 2, 3, 7, 60] {
            let mut pairs = vec![("table", "t")];
            pairs.extend(key.map(|key| ("split_key", key)));
            let splits = read_all(&*fixture.reader(&pairs), max);
            assert!(splits.len() <= max as usize + 1, "{key:?} {max}");
            let ids = integers(&splits, "id");
            assert_eq!(ids.len(), 1000, "{key:?} {max}");
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1000);
        }
    }
}

#[test]
fn t03_text_keys_are_divided_in_the_databases_order() {
    let fixture = Fixture::new(
        "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER) WITHOUT ROWID;
         INSERT INTO t VALUES ('a', 1), ('B', 2), ('c''d', 3), ('É', 4), ('é', 5), ('😀', 6),
                              ('', 7), ('z', 8), ('Z1', 9), ('a b', 10);",
    );
    for max in 1..=12 {
        let splits = read_all(&*fixture.reader(&[("table", "t")]), max);
        let mut read = integers(&splits, "n");
        read.sort_unstable();
        assert_eq!(read, (1..=10).collect::<Vec<_>>(), "{max}");
    }
}

#[test]
fn t04_a_gap_costs_neither_time_nor_balance() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY);
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
         INSERT INTO t SELECT i FROM n UNION ALL SELECT i + 9000000000000000000 FROM n
         UNION ALL SELECT i - 9000000000000000000 FROM n;",
    );
    let splits = read_all(&*fixture.reader(&[("table", "t")]), 6);
    let sizes: Vec<usize> =
        splits.iter().map(|split| split.iter().map(|read| read.batch.num_rows()).sum()).collect();
    assert_eq!(sizes, [500; 6]);
}

#[test]
fn splits_of_odd_sources() {
    let fixture = Fixture::new(
        "CREATE TABLE empty(id INTEGER PRIMARY KEY);
         CREATE TABLE pair(a INT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
         INSERT INTO pair VALUES (1, 'x'), (1, 'y'), (2, 'x'), (3, 'z');
         CREATE VIEW v AS SELECT a FROM pair;",
    );
    for (source, max, splits, ability, rows) in [
        (("table", "empty"), 4, 1, SplitAbility::Seekable, 0),
        (("table", "pair"), 2, 2, SplitAbility::Seekable, 4),
        (("table", "v"), 4, 1, SplitAbility::Bounded, 4),
        (("query", "SELECT a FROM pair WHERE a > 1"), 4, 1, SplitAbility::Bounded, 2),
    ] {
        let reader = fixture.reader(&[source]);
        let columns = reader.schema().unwrap().columns;
        let found = reader.splits(&SplitRequest::new(max, columns)).unwrap();
        assert_eq!((found.len(), found[0].ability), (splits, ability), "{source:?}");
        let read = read_all(&*reader, max);
        let count: usize = read.iter().flatten().map(|read| read.batch.num_rows()).sum();
        assert_eq!(count, rows, "{source:?}");
    }
}

/// Ranges of a column that is no key are sorted where the job's guarantee needs an order.
#[test]
fn ranges_of_another_column_are_continued_if_that_is_needed() {
    let fixture = Fixture::new(
        "CREATE TABLE t(k INTEGER PRIMARY KEY, g INT);
         INSERT INTO t SELECT value, value * 7919 % 1000 FROM
           (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 3000)
            SELECT value FROM n);
         CREATE VIEW v AS SELECT k FROM t;",
    );
    let asked = |pairs: &[(&str, &str)], ability| {
        let reader = fixture.reader(pairs);
        let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
        let request = SplitRequest { ability, ..SplitRequest::new(3, columns.clone()) };
        let splits = reader.splits(&request).unwrap();
        (reader, columns, splits)
    };
    let by_g = [("table", "t"), ("split_key", "g")];
    let (_, _, splits) = asked(&by_g, None);
    assert_eq!((splits[0].ability, &splits[0].note), (SplitAbility::Bounded, &None));
    let (reader, columns, splits) = asked(&by_g, Some(SplitAbility::Replayable));
    let mut found = Vec::new();
    for split in &splits {
        assert_eq!(split.ability, SplitAbility::Seekable, "{}", split.label);
        let note = split.note.as_deref().unwrap_or_default();
        assert!(note.starts_with("the rows of each split are sorted by `k`"), "{note}");
        let mut position: Option<Position> = None;
        // A batch of each attempt.
        while let Some(read) =
            reader.open(split, &columns, position.as_ref()).unwrap().next_batch().unwrap()
        {
            position = Some(read.position.clone());
            found.extend(integers(&[vec![read]], "k"));
        }
    }
    found.sort_unstable();
    assert_eq!(found, (1..=3000).collect::<Vec<_>>());
    let (_, _, splits) = asked(&[("table", "v")], Some(SplitAbility::Replayable));
    let hint = splits[0].hint.as_deref().unwrap_or_default();
    assert!(hint.starts_with("read a table with a rowid"), "{hint}");
}

/// Resumes from each position, and expects exactly the remaining rows.
fn resumes_everywhere(fixture: &Fixture, table: &str, id: &str) {
    let reader = fixture.reader(&[("table", table)]);
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    let request = SplitRequest::new(1, columns.clone());
    let split = reader.splits(&request).unwrap().remove(0);
    let read_after = |after: Option<&Position>| {
        let mut task = reader.open(&split, &columns, after).unwrap();
        let mut batches = Vec::new();
        while let Some(read) = task.next_batch().unwrap() {
            batches.push(read);
        }
        batches
    };
    let whole = read_after(None);
    assert!(whole.len() > 2);
    let ids = integers(std::slice::from_ref(&whole), id);
    let mut passed = 0;
    for read in &whole {
        passed += read.batch.num_rows();
        assert_eq!(integers(&[read_after(Some(&read.position))], id), ids[passed..]);
    }
    assert_eq!(passed, 20_000);
}

#[test]
fn reading_goes_on_after_any_position() {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)";
    let fixture = Fixture::new(&format!(
        "CREATE TABLE plain(a INTEGER);
         {rows} INSERT INTO plain SELECT i FROM n;
         CREATE TABLE pair(a INTEGER, b TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID;
         {rows} INSERT INTO pair SELECT i, 'é' || (i % 7) FROM n;"
    ));
    resumes_everywhere(&fixture, "plain", "a");
    resumes_everywhere(&fixture, "pair", "a");
}

/// Keys in SQLite have any length, positions have not: such a table is read without them.
#[test]
fn keys_longer_than_a_position_are_read() {
    for (bytes, ability) in [(1_900, SplitAbility::Seekable), (5_000, SplitAbility::Bounded)] {
        let fixture = Fixture::new(&format!(
            "CREATE TABLE t(k TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
             INSERT INTO t VALUES ('a', 1), (printf('%.{bytes}c', 'b'), 2), ('c', 3);"
        ));
        let reader = fixture.reader(&[("table", "t")]);
        let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
        let request = SplitRequest::new(1, columns.clone());
        let split = reader.splits(&request).unwrap().remove(0);
        assert_eq!(split.ability, ability, "{bytes}");
        let mut task = reader.open(&split, &columns, None).unwrap();
        let read = task.next_batch().unwrap().unwrap();
        assert_eq!(read.batch.num_rows(), 3);
        assert!(read.position.0.len() <= Position::MAX_BYTES, "{}", read.position.0.len());
    }
}

#[test]
fn a_position_without_order_is_refused() {
    let fixture = Fixture::new("CREATE VIEW v AS SELECT 1 AS a");
    let reader = fixture.reader(&[("table", "v")]);
    let columns = reader.schema().unwrap().columns;
    let request = SplitRequest::new(1, columns.clone());
    let split = reader.splits(&request).unwrap().remove(0);
    let error = reader.open(&split, &columns, Some(&Position(vec![1]))).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[test]
fn a_split_sees_one_state_of_the_table() {
    let fixture = Fixture::new(
        "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
         INSERT INTO t SELECT i FROM n;",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    let request = SplitRequest::new(1, columns.clone());
    let split = reader.splits(&request).unwrap().remove(0);
    let mut task = reader.open(&split, &columns, None).unwrap();
    let mut rows = task.next_batch().unwrap().unwrap().batch.num_rows();
    fixture.connect().execute_batch("DELETE FROM t WHERE id > 30000").unwrap();
    while let Some(read) = task.next_batch().unwrap() {
        rows += read.batch.num_rows();
    }
    assert_eq!(rows, 60_000);
}

#[test]
fn t39_columns_are_read_by_name_and_in_wanted_types() {
    let fixture =
        Fixture::new("CREATE TABLE t(a INT, b INT, n); INSERT INTO t VALUES (1, 2, '2024-01-02');");
    let reader = fixture.reader(&[("table", "t")]);
    let wanted: Vec<_> = [("b", "decimal(10,2)"), ("a", "int8"), ("n", "date")]
        .map(|(name, logical)| Column::new(name, logical.parse().unwrap(), true))
        .to_vec();
    let made = reader.produces(&wanted).unwrap();
    let types: Vec<_> = made.iter().map(|column| column.logical.to_string()).collect();
    assert_eq!(types, ["decimal(10,2)", "int8", "date"]);
    let batch = read_columns(&*reader, &made, 1)[0][0].batch.clone();
    assert_eq!(column(&batch, "b").as_primitive::<Decimal128Type>().value(0), 200);
    assert_eq!(column(&batch, "n").as_primitive::<Date32Type>().value(0), 19_724);
    // A conversion that could lose something is left to the host.
    let wanted = [Column::new("a", "text".parse().unwrap(), true)];
    assert_eq!(reader.produces(&wanted).unwrap()[0].logical.to_string(), "int64");
    let wanted = [Column::new("gone", "text".parse().unwrap(), true)];
    assert_eq!(reader.produces(&wanted).unwrap_err().kind, ErrorKind::Schema);
}

#[test]
fn t42_odd_names_are_read() {
    for name in ["Order", "select", "a.b", "a\"b", "表", "123Test", "@table", " x"] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let fixture = Fixture::new(&format!(
            "CREATE TABLE {quoted}({quoted} INTEGER, rowid INT); INSERT INTO {quoted} VALUES (5, 6)"
        ));
        let reader = fixture.reader(&[("table", &quoted)]);
        assert_eq!(integers(&read_all(&*reader, 4), name), [5], "{name}");
        assert_eq!(reader.discover().unwrap().len(), 1);
        let found = reader.discover().unwrap().remove(0).name;
        let again = fixture.reader(&[("table", &found)]);
        assert_eq!(integers(&read_all(&*again, 1), name), [5], "{name}");
    }
}

#[test]
fn where_and_query_choose_rows() {
    let fixture =
        Fixture::new("CREATE TABLE t(a INTEGER); INSERT INTO t VALUES (1), (2), (3), (4)");
    let filtered = fixture.reader(&[("table", "t"), ("where", "a = 1 OR a > 2 -- so")]);
    assert_eq!(integers(&read_all(&*filtered, 3), "a"), [1, 3, 4]);
    let query =
        fixture.reader(&[("query", "SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY a DESC")]);
    let schema = query.schema().unwrap();
    assert_eq!((schema.columns[1].inferred, schema.notes.len()), (true, 1));
    let wanted = [Column::new("n", "int64".parse().unwrap(), true), schema.columns[0].clone()];
    let made = query.produces(&wanted).unwrap();
    let splits = read_columns(&*query, &made, 4);
    assert_eq!(integers(&splits, "n"), [1; 4]);
    assert_eq!(integers(&splits, "a"), [4, 3, 2, 1]);
}

#[test]
fn the_end_of_a_query_does_not_matter_and_a_second_statement_is_refused() {
    let fixture = Fixture::new("CREATE TABLE t(a INTEGER); INSERT INTO t VALUES (1), (2)");
    let query = "SELECT a FROM t WHERE a <> ';' ORDER BY a DESC; -- the last first\n;";
    let reader = fixture.reader(&[("query", query)]);
    assert_eq!(integers(&read_all(&*reader, 3), "a"), [2, 1]);
    let options = fixture.options(&[("query", "SELECT a FROM t; DELETE FROM t")]);
    let error = SqlitePlugin.reader(options, Host::detached()).map(drop).unwrap_err();
    assert_eq!(error.message, "`query` holds more than one statement");
}

#[test]
fn refusals_say_what_is_wrong() {
    let fixture = Fixture::new("CREATE TABLE t(a INTEGER)");
    let kind = |pairs: &[(&str, &str)]| fixture.reader(pairs).schema().unwrap_err().kind;
    assert_eq!(kind(&[("table", "gone")]), ErrorKind::NotFound);
    assert_eq!(kind(&[("query", "SELEC 1")]), ErrorKind::Options);
    assert_eq!(kind(&[("query", "DELETE FROM t")]), ErrorKind::Options);
    assert_eq!(kind(&[("query", "SELECT 1 AS a, 2 AS A")]), ErrorKind::Options);
    let reader = fixture.reader(&[("table", "t"), ("split_key", "gone")]);
    let request = SplitRequest::new(2, vec![]);
    assert_eq!(reader.splits(&request).unwrap_err().kind, ErrorKind::Schema);
    let none = Fixture::empty();
    assert_eq!(none.reader(&[("table", "t")]).schema().unwrap_err().kind, ErrorKind::NotFound);
    assert!(!none.reader(&[("table", "t")]).check().unwrap()[0].ok);
    assert!(!std::path::Path::new(&none.path()).exists());
}

#[test]
fn a_stop_interrupts_a_long_query() {
    let fixture = Fixture::new("CREATE TABLE t(a INTEGER)");
    let cancel = Cancel::new();
    let query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                 SELECT count(*) AS c FROM n";
    let host = Host::new(std::sync::Arc::new(()), cancel.clone());
    let reader = SqlitePlugin.reader(fixture.options(&[("query", query)]), host).unwrap();
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    let request = SplitRequest::new(1, columns.clone());
    let split = reader.splits(&request).unwrap().remove(0);
    let mut task = reader.open(&split, &columns, None).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    cancel.cancel();
    assert_eq!(task.next_batch().unwrap_err().kind, ErrorKind::Cancelled);
}

/// Three tables with the same columns, with 30, 20 and no rows.
const SHARDS: &str = "CREATE TABLE orders_00(id INTEGER PRIMARY KEY, s TEXT NOT NULL);
    CREATE TABLE orders_01(s TEXT, id INTEGER PRIMARY KEY);
    CREATE TABLE orders_02(id INTEGER PRIMARY KEY, s TEXT);
    CREATE TABLE \"orders_[00-02]\"(id INTEGER PRIMARY KEY, s TEXT);
    INSERT INTO orders_00 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 30)
      SELECT i, 'a' || i FROM n;
    INSERT INTO orders_01 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20)
      SELECT CASE i WHEN 7 THEN NULL ELSE 'b' || i END, i FROM n;
    INSERT INTO \"orders_[00-02]\" VALUES (1, 'quoted');";

#[test]
fn tables_of_one_shape_are_read_as_one() {
    let fixture = Fixture::new(SHARDS);
    let named = [("table", "orders_[00-02]"), ("origin_column", "shard")];
    for max in [1, 3, 4, 8] {
        let reader = fixture.reader(&named);
        let schema = reader.schema().unwrap();
        let names: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "s", "shard"]);
        assert_eq!(schema.keys[0].columns, ["id", "shard"]);
        let splits = read_all(&*reader, max);
        assert_eq!(splits.len(), max.max(3) as usize, "{max}");
        let mut rows = Vec::new();
        for read in splits.iter().flatten() {
            let (s, shard) = (column(&read.batch, "s"), column(&read.batch, "shard"));
            let ids = column(&read.batch, "id").as_primitive::<Int64Type>();
            for row in 0..read.batch.num_rows() {
                let s = s.as_string::<i32>();
                let s = if s.is_null(row) { "-" } else { s.value(row) };
                rows.push(format!(
                    "{} {} {s}",
                    shard.as_string::<i32>().value(row),
                    ids.value(row)
                ));
            }
        }
        rows.sort();
        let expected = fixture.rows(
            "SELECT 'orders_00 ' || id || ' ' || s FROM orders_00 UNION ALL \
             SELECT 'orders_01 ' || id || ' ' || coalesce(s, '-') FROM orders_01 ORDER BY 1",
        );
        assert_eq!(rows, expected.iter().map(|row| row.trim_matches('\'')).collect::<Vec<_>>());
    }
    let quoted = fixture.reader(&[("table", "\"orders_[00-02]\"")]);
    assert_eq!(integers(&read_all(&*quoted, 4), "id"), [1]);
}

#[test]
fn a_shard_can_be_read_on_from_a_position() {
    let fixture = Fixture::new(SHARDS);
    let reader = fixture.reader(&[("table", "orders_[00-02]"), ("origin_column", "shard")]);
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    let request = SplitRequest::new(1, columns.clone());
    let split = &reader.splits(&request).unwrap()[1];
    assert_eq!(
        (split.label.as_str(), split.ability),
        ("orders_01: all rows", SplitAbility::Seekable)
    );
    let first = reader.open(split, &columns, None).unwrap().next_batch().unwrap().unwrap();
    assert_eq!(first.batch.num_rows(), 20);
    let mut rest = reader.open(split, &columns, Some(&first.position)).unwrap();
    assert!(rest.next_batch().unwrap().is_none());
    let position =
        Position(transload_tables::encode_key(&[transload_tables::KeyValue::Integer(18)]));
    let mut rest = reader.open(split, &columns, Some(&position)).unwrap();
    assert_eq!(rest.next_batch().unwrap().unwrap().batch.num_rows(), 2);
}

#[test]
fn t52_shards_that_differ_or_are_missing_are_named() {
    let fixture = Fixture::new(&format!(
        "{SHARDS} CREATE TABLE odd(id INTEGER PRIMARY KEY, s INT);
         CREATE TABLE less(id INTEGER PRIMARY KEY);"
    ));
    for (tables, kind, words) in [
        (&["orders_00", "odd"][..], ErrorKind::Schema, "table `odd`: column `s` is `int64`"),
        (&["orders_[00-02]", "less"], ErrorKind::Schema, "table `less`: there is no column `s`"),
        (&["less", "orders_02"], ErrorKind::Schema, "table `orders_02`: column `s` is not in"),
        (&["orders_[00-03]"], ErrorKind::NotFound, "no table `orders_03`"),
        (&["orders_00", "main.Orders_00"], ErrorKind::Options, "are the same table"),
    ] {
        let mut options = fixture.options(&[]);
        options.values.insert("tables".to_owned(), tables.to_vec().into());
        let reader = SqlitePlugin.reader(options, Host::detached()).unwrap();
        let error = reader.schema().unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_connection_is_checked_without_a_table() {
    let fixture = Fixture::new("CREATE TABLE t(a)");
    let reader = fixture.reader(&[]);
    assert!(reader.check().unwrap().iter().all(|finding| finding.ok));
    assert_eq!(reader.discover().unwrap().len(), 1);
    assert_eq!(reader.schema().unwrap_err().kind, ErrorKind::Options);
    let writer = SqlitePlugin.writer(fixture.options(&[]), Host::detached()).unwrap();
    assert!(writer.check().unwrap().iter().all(|finding| finding.ok));
    assert_eq!(writer.inspect().unwrap_err().kind, ErrorKind::Options);
}

/// A WAL needs a file beside the database; a folder in its place is one that cannot be written.
#[test]
fn a_wal_without_its_files_says_so_and_is_read_as_immutable() {
    let fixture =
        Fixture::new("PRAGMA journal_mode = wal; CREATE TABLE t(a INT); INSERT INTO t VALUES (1)");
    std::fs::create_dir(format!("{}-wal", fixture.path())).unwrap();
    let error = fixture.reader(&[("table", "t")]).schema().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(error.message.contains("WAL mode"), "{error}");
    assert!(error.hint.unwrap().contains("`immutable = true`"));
    let mut options = fixture.options(&[("table", "t")]);
    options.values.insert("immutable".to_owned(), true.into());
    let reader = SqlitePlugin.reader(options, Host::detached()).unwrap();
    assert_eq!(integers(&read_all(&*reader, 1), "a"), [1]);
    // Changes that are not in the file yet would be left out.
    for end in ["wal", "journal"] {
        let fixture = Fixture::new("CREATE TABLE t(a INT)");
        std::fs::write(format!("{}-{end}", fixture.path()), "changes").unwrap();
        let mut options = fixture.options(&[("table", "t")]);
        options.values.insert("immutable".to_owned(), true.into());
        let error = SqlitePlugin.reader(options, Host::detached()).unwrap().schema().unwrap_err();
        assert!(error.message.contains("not in the file yet"), "{error}");
    }
}
