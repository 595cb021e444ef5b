//! Writing: each value unchanged, the conflict behavior of each mode, exact counts.

#![allow(clippy::unwrap_used)] // helpers of tests fail as loudly as tests

mod support;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray,
    FixedSizeBinaryArray, Float64Array, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt64Array, cast::AsArray,
};
use support::{
    Fixture, batch, counts, dirty_rows, faults, integers, plan, read_all, texts, write_all,
};
use transload_plugin_api::{
    Cancel, Counters, ErrorKind, Guarantee, Host, Plugin, Position, TaskContext, WriteMode,
    WritePlan,
};
use transload_plugin_sqlite::SqlitePlugin;

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from_iter_values(values.iter().copied());
    Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
}

#[test]
fn a_created_table_reads_back_what_was_written() {
    let fixture = Fixture::empty();
    let mut plan = plan(
        WriteMode::Insert,
        &[
            ("id", "int64"),
            ("flag", "boolean"),
            ("u", "uint64"),
            ("f", "float64"),
            ("d", "decimal(15,2)"),
            ("wide", "decimal(38,10)"),
            ("n", "numeric"),
            ("s", "text"),
            ("v", "text(3)"),
            ("x", "binary"),
            ("day", "date"),
            ("clock", "time"),
            ("span", "duration"),
            ("at", "timestamp"),
            ("nano", "timestamp(9)"),
            ("zoned", "timestamptz"),
            ("j", "json"),
            ("u16", "uuid"),
        ],
        &["id"],
    );
    plan.create_table = true;
    let bytes: Vec<u8> = (0..=255).collect();
    let rows = batch(
        &plan,
        vec![
            integers([1, 2]),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(UInt64Array::from(vec![0, i64::MAX as u64])),
            Arc::new(Float64Array::from(vec![0.1 + 0.2, f64::NEG_INFINITY])),
            decimals(&[110, -999_999_999_999_999], 15, 2),
            decimals(&[10_i128.pow(38) - 1, -1], 38, 10),
            texts(["0012.50", "NaN"]),
            texts(["", "a'b\"c\0é😀"]),
            texts(["äöü", "1"]),
            Arc::new(BinaryArray::from_iter_values([&bytes[..], b""])),
            Arc::new(Date32Array::from(vec![-719_162, 2_932_896])),
            Arc::new(Time64MicrosecondArray::from(vec![0, 86_399_999_999])),
            Arc::new(DurationMicrosecondArray::from(vec![-3_020_399_999_999, 0])),
            Arc::new(TimestampMicrosecondArray::from(vec![1_711_852_200_123_456, 0])),
            Arc::new(TimestampNanosecondArray::from(vec![1, 2_000])),
            Arc::new(TimestampMicrosecondArray::from(vec![-1, 0]).with_timezone("UTC")),
            texts(["{\"b\":1.10,\"a\":12345678901234567890}", "7"]),
            Arc::new(
                FixedSizeBinaryArray::try_from_iter([[0xab_u8; 16], [0; 16]].into_iter()).unwrap(),
            ),
        ],
    );
    let writer = fixture.writer("t");
    assert!(!writer.inspect().unwrap().exists);
    let draft = writer.draft(&plan).unwrap();
    assert!(!std::path::Path::new(&fixture.path()).exists(), "a draft makes nothing");
    assert!(
        draft.statements[0]
            .text
            .starts_with("CREATE TABLE \"main\".\"t\" (\"id\" INTEGER NOT NULL")
    );
    let written = write_all(&*writer, &plan, std::slice::from_ref(&rows)).unwrap();
    assert_eq!(counts(&written[0]), (2, 0, 0, 0), "{:?}", written[0].dirty);
    assert_eq!(
        fixture
            .rows("SELECT flag, f, d, typeof(d), n, day, clock, span, at, nano, zoned, u16 FROM t"),
        [
            "1|0.30000000000000004|1.1|'real'|'0012.50'|'0001-01-01'|'00:00:00'|'-838:59:59.999999'\
             |'2024-03-31 02:30:00.123456'|'1970-01-01 00:00:00.000000001'\
             |'1969-12-31 23:59:59.999999Z'|'abababab-abab-abab-abab-abababababab'",
            "0|-inf|-9999999999999.99|'real'|'NaN'|'9999-12-31'|'23:59:59.999999'|'00:00:00'\
             |'1970-01-01 00:00:00'|'1970-01-01 00:00:00.000002'|'1970-01-01 00:00:00Z'\
             |'00000000-0000-0000-0000-000000000000'"
        ]
    );
    let reader = fixture.reader(&[("table", "t")]);
    let splits = read_all(&*reader, 1);
    assert!(splits[0][0].dirty.is_empty(), "{:?}", splits[0][0].dirty);
    assert_eq!(splits[0][0].batch.columns(), rows.columns());
}

#[test]
fn each_mode_has_its_way_with_conflicts() {
    for (mode, wanted, table) in [
        (WriteMode::Insert, (2, 0, 0, 2), ["1|'old'|7", "2|'old'|7", "3|'c'|-", "4|'d'|-"]),
        (WriteMode::Ignore, (2, 0, 2, 0), ["1|'old'|7", "2|'old'|7", "3|'c'|-", "4|'d'|-"]),
        (WriteMode::Upsert, (2, 2, 0, 0), ["1|'a'|7", "2|'b'|7", "3|'c'|-", "4|'d'|-"]),
        (WriteMode::Replace, (2, 2, 0, 0), ["1|'a'|-", "2|'b'|-", "3|'c'|-", "4|'d'|-"]),
        (WriteMode::Overwrite, (4, 0, 0, 0), ["1|'a'|-", "2|'b'|-", "3|'c'|-", "4|'d'|-"]),
    ] {
        for shape in ["", " WITHOUT ROWID"] {
            let fixture = Fixture::new(&format!(
                "CREATE TABLE t(id INT PRIMARY KEY NOT NULL, s TEXT, other INT){shape};
                 INSERT INTO t VALUES (1, 'old', 7), (2, 'old', 7);"
            ));
            let plan = plan(mode, &[("ID", "int64"), ("s", "text")], &["id"]);
            let rows = batch(&plan, vec![integers([3, 1, 2, 4]), texts(["c", "a", "b", "d"])]);
            let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
            assert_eq!(counts(&written[0]), wanted, "{mode:?}{shape}");
            assert_eq!(fixture.rows("SELECT * FROM t ORDER BY id"), table, "{mode:?}{shape}");
        }
    }
}

#[test]
fn t48_the_last_of_several_versions_wins() {
    for mode in [WriteMode::Upsert, WriteMode::Replace] {
        let fixture = Fixture::new("CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT)");
        let plan = plan(mode, &[("id", "int64"), ("s", "text")], &["id"]);
        let rows = batch(&plan, vec![integers([1, 1, 1]), texts(["a", "b", "c"])]);
        let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
        assert_eq!(counts(&written[0]), (1, 2, 0, 0));
        assert_eq!(fixture.rows("SELECT * FROM t"), ["1|'c'"]);
    }
}

#[test]
fn a_refused_row_leaves_all_others_in() {
    let fixture = Fixture::new(
        "CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);
         CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT NOT NULL ON CONFLICT IGNORE,
                        u TEXT UNIQUE ON CONFLICT REPLACE, n INT CONSTRAINT positive CHECK (n > 0),
                        p INT REFERENCES p);
         INSERT INTO t VALUES (100, 'x', 'taken', 1, 1);",
    );
    let columns = [("id", "int64"), ("s", "text"), ("u", "text"), ("n", "int64"), ("p", "int64")];
    let plan = plan(WriteMode::Insert, &columns, &[]);
    let rows = batch(
        &plan,
        vec![
            integers([Some(1), Some(2), Some(3), Some(4), Some(5), Some(100), Some(7), None]),
            texts([
                Some("a"),
                None,
                Some("a"),
                Some("a"),
                Some("a"),
                Some("a"),
                Some("a"),
                Some("a"),
            ]),
            texts([Some("1"), Some("2"), Some("taken"), None, None, None, None, None]),
            integers([1, 1, 1, 0, 1, 1, 1, 1]),
            integers([Some(1), Some(1), Some(1), Some(1), Some(9), Some(1), None, Some(1)]),
        ],
    );
    let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
    assert_eq!(counts(&written[0]), (2, 0, 0, 6));
    let wanted: Vec<_> = [
        ("1", "s", "null"),
        ("2", "u", "unique"),
        ("3", "", "check"),
        ("4", "", "foreign-key"),
        ("5", "id", "unique"),
        ("7", "id", "null"),
    ]
    .map(|(row, column, code)| (row.to_owned(), column.to_owned(), code.to_owned()))
    .to_vec();
    assert_eq!(faults(&written[0].dirty), wanted);
    assert_eq!(written[0].dirty[1].value.as_deref(), Some("taken"));
    assert_eq!(written[0].dirty[2].reason, "CHECK constraint failed: positive");
    assert_eq!(fixture.rows("SELECT id FROM t ORDER BY id"), ["1", "7", "100"]);
}

#[test]
fn strict_tables_refuse_wrong_types() {
    let fixture = Fixture::new("CREATE TABLE t(a INTEGER PRIMARY KEY, b ANY, c INT) STRICT");
    let plan = plan(WriteMode::Insert, &[("a", "int64"), ("b", "text"), ("c", "int64")], &[]);
    let rows = batch(&plan, vec![integers([1]), texts(["007"]), integers([3])]);
    let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
    assert_eq!(counts(&written[0]), (1, 0, 0, 0), "{:?}", written[0].dirty);
    assert_eq!(fixture.rows("SELECT * FROM t"), ["1|'007'|3"]);
}

#[test]
fn t32_values_that_sqlite_would_change_are_refused() {
    let fixture = Fixture::new(
        "CREATE TABLE t(n DECIMAL(38,2), c DECIMAL_TEXT(38,2), free, v VARCHAR(2), s STRING,
                        f REAL, u BIGINT UNSIGNED, day DATE)",
    );
    let names = [
        ("n", "decimal(38,2)"),
        ("c", "decimal(38,2)"),
        ("free", "decimal(38,2)"),
        ("v", "text(2)"),
        ("s", "text"),
        ("f", "float64"),
        ("u", "uint64"),
        ("day", "date"),
    ];
    let plan = plan(WriteMode::Insert, &names, &[]);
    let long = 1_234_567_890_123_456_i128; // 16 digits
    let numbers: [i128; 7] = [long, 100, 100, 100, 100, 100, 100];
    let rows = batch(
        &plan,
        vec![
            decimals(&numbers, 38, 2),
            decimals(&[long; 7], 38, 2),
            decimals(&[long; 7], 38, 2),
            texts(["ab", "abc", "äö", "a", "a", "a", "a"]),
            texts(["x", "x", "007", "x", "x", "x", "x"]),
            Arc::new(Float64Array::from(vec![1.0, 1.0, 1.0, f64::NAN, 1.0, 1.0, 1.0])),
            Arc::new(UInt64Array::from(vec![1, 1, 1, 1, u64::MAX, 1, 1])),
            Arc::new(Date32Array::from(vec![0, 0, 0, 0, 0, 2_932_897, 0])),
        ],
    );
    let draft = fixture.writer("t").draft(&plan).unwrap();
    assert!(draft.warnings.iter().any(|warning| warning.contains("`n`")), "{:?}", draft.warnings);
    assert!(!draft.warnings.iter().any(|warning| warning.contains("`c`")));
    let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
    let wanted: Vec<_> = [
        ("0", "n", "range"),
        ("1", "v", "length"),
        ("2", "s", "type"),
        ("3", "f", "range"),
        ("4", "u", "range"),
        ("5", "day", "range"),
    ]
    .map(|(row, column, code)| (row.to_owned(), column.to_owned(), code.to_owned()))
    .to_vec();
    assert_eq!(faults(&written[0].dirty), wanted);
    assert_eq!(written[0].dirty[0].value.as_deref(), Some("12345678901234.56"));
    let kept = "1|'12345678901234.56'|'12345678901234.56'|'a'|'x'|1.0|1|'1970-01-01'";
    assert_eq!(fixture.rows("SELECT * FROM t"), [kept]);
}

#[test]
fn whole_decimals_keep_18_digits_in_numeric_columns() {
    let fixture = Fixture::new("CREATE TABLE t(n NUMERIC(20,2), r REAL)");
    let plan = plan(WriteMode::Insert, &[("n", "decimal(20,2)")], &[]);
    let values = [12_345_678_901_234_567_800_i128, -5, 0, 9_999_999_999_999_999_999];
    let rows = batch(&plan, vec![decimals(&values, 20, 2)]);
    let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
    assert_eq!(counts(&written[0]), (3, 0, 0, 1));
    assert_eq!(fixture.rows("SELECT n FROM t"), ["123456789012345678", "-0.05", "0"]);
}

#[test]
fn counts_leave_triggers_and_cascades_out() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT);
         CREATE TABLE log(what);
         CREATE TRIGGER a AFTER INSERT ON t BEGIN
           INSERT INTO log VALUES (new.id); INSERT INTO log VALUES (new.id); END;
         CREATE TRIGGER b AFTER UPDATE ON t BEGIN UPDATE log SET what = what; END;
         CREATE TRIGGER c BEFORE INSERT ON t WHEN new.id = 13 BEGIN SELECT RAISE(IGNORE); END;
         CREATE TRIGGER d BEFORE INSERT ON t WHEN new.id = 14
           BEGIN SELECT RAISE(ABORT, 'not fourteen'); END;
         INSERT INTO t VALUES (1, 'old');",
    );
    let plan = plan(WriteMode::Upsert, &[("id", "int64"), ("s", "text")], &["id"]);
    let rows = batch(&plan, vec![integers([1, 2, 13, 14]), texts(["a", "b", "c", "d"])]);
    let draft = fixture.writer("t").draft(&plan).unwrap();
    assert!(draft.warnings[0].contains("triggers of the target run"), "{:?}", draft.warnings);
    let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
    assert_eq!(counts(&written[0]), (1, 1, 1, 1));
    assert_eq!(
        (&*written[0].dirty[0].code, &*written[0].dirty[0].reason),
        ("trigger", "not fourteen")
    );
}

#[test]
fn a_trigger_that_rolls_back_fails_the_chunk() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY);
         CREATE TRIGGER a BEFORE INSERT ON t WHEN new.id = 2
           BEGIN SELECT RAISE(ROLLBACK, 'all of it'); END;",
    );
    let plan = plan(WriteMode::Insert, &[("id", "int64")], &[]);
    let writer = fixture.writer("t");
    writer.prepare(&plan).unwrap();
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    task.begin_chunk(0).unwrap();
    let error = task.write(&batch(&plan, vec![integers([1, 2, 3])])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(task.commit_chunk(&Position::default(), &Counters::default()).is_err());
    task.rollback_chunk().unwrap();
    assert!(fixture.rows("SELECT * FROM t").is_empty());
}

#[test]
fn replace_deletes_by_every_key_in_its_collation() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT COLLATE NOCASE UNIQUE, s TEXT NOT NULL);
         INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'x');",
    );
    let columns = [("id", "int64"), ("u", "text"), ("s", "text")];
    let plan = plan(WriteMode::Replace, &columns, &["id"]);
    let rows = batch(
        &plan,
        vec![integers([1, 3, 9]), texts(["B", "c", "z"]), texts([Some("new"), None, Some("new")])],
    );
    let writer = fixture.writer("t");
    assert!(writer.draft(&plan).unwrap().warnings[0].contains("one row can replace several"));
    let written = write_all(&*writer, &plan, &[rows]).unwrap();
    assert_eq!(counts(&written[0]), (1, 1, 0, 1));
    assert_eq!(written[0].dirty[0].code, "null");
    assert_eq!(
        fixture.rows("SELECT * FROM t ORDER BY id"),
        ["1|'B'|'new'", "3|'c'|'x'", "9|'z'|'new'"]
    );
}

#[test]
fn a_row_that_replace_cannot_place_changes_nothing() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); CREATE UNIQUE INDEX e ON t(lower(s));
         INSERT INTO t VALUES (1, 'a'), (2, 'b');",
    );
    let plan = plan(WriteMode::Replace, &[("id", "int64"), ("s", "text")], &["id"]);
    let rows = batch(&plan, vec![integers([1]), texts(["B"])]);
    let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
    assert_eq!((counts(&written[0]), &*written[0].dirty[0].code), ((0, 0, 0, 1), "unique"));
    assert_eq!(fixture.rows("SELECT * FROM t"), ["1|'a'", "2|'b'"]);
}

#[test]
fn t44_keys_are_checked_against_the_target() {
    let fixture = Fixture::new(
        "CREATE TABLE keyless(a INT, b INT);
         CREATE TABLE multi(a INTEGER PRIMARY KEY, b INT UNIQUE, c INT);
         CREATE TABLE only(a INT, b INT, PRIMARY KEY (a, b));
         CREATE TABLE nulls(a INT UNIQUE, b INT);
         CREATE TABLE part(a INT, b INT); CREATE UNIQUE INDEX i ON part(a) WHERE b > 0;
         CREATE TABLE expr(a INT, b INT); CREATE UNIQUE INDEX x ON expr(abs(a));",
    );
    let columns = [("a", "int64"), ("b", "int64")];
    let draft = |table: &str, key: &[&str]| {
        fixture.writer(table).draft(&plan(WriteMode::Upsert, &columns, key))
    };
    for (table, key) in [
        ("keyless", &["a"][..]),
        ("keyless", &[]),
        ("multi", &["a", "b"]),
        ("part", &["a"]),
        ("expr", &["a"]),
    ] {
        let error = draft(table, key).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema, "{table}");
    }
    let hint = draft("multi", &["a", "b"]).unwrap_err().hint.unwrap();
    let add = "CREATE UNIQUE INDEX \"multi_a_b\" ON \"multi\" (\"a\", \"b\")";
    assert_eq!(hint, format!("{add}; its keys: (a), (b)"));

    let multi = draft("multi", &["b"]).unwrap();
    assert!(multi.warnings[0].contains("2 unique keys"), "{:?}", multi.warnings);
    assert_eq!(multi.guarantee, Guarantee::AtLeastOnce, "b may be NULL");
    let only = draft("only", &["b", "a"]).unwrap();
    assert!(only.warnings.iter().any(|warning| warning.contains("nothing to update")));
    let nulls = draft("nulls", &["a"]).unwrap();
    assert!(nulls.warnings[0].contains("NULL"), "{:?}", nulls.warnings);
    assert_eq!(draft("multi", &["a"]).unwrap().guarantee, Guarantee::Convergent);
    fixture.connect().execute_batch(add).unwrap();
    assert!(draft("multi", &["a", "b"]).is_ok(), "the hint works");
    let plan = plan(WriteMode::Upsert, &columns, &["b", "a"]);
    let rows = batch(&plan, vec![integers([1, 1]), integers([2, 2])]);
    let written = write_all(&*fixture.writer("only"), &plan, &[rows]).unwrap();
    assert_eq!(counts(&written[0]), (1, 0, 1, 0));
}

#[test]
fn drafts_refuse_what_cannot_work() {
    let fixture = Fixture::new(
        "CREATE TABLE t(a INT NOT NULL, b INT NOT NULL DEFAULT 1, c INT AS (a + b), d);
         CREATE VIEW v AS SELECT 1 AS a;",
    );
    let draft = |table: &str, columns: &[(&str, &str)]| {
        fixture.writer(table).draft(&plan(WriteMode::Insert, columns, &[])).unwrap_err()
    };
    assert_eq!(draft("gone", &[("a", "int64")]).kind, ErrorKind::NotFound);
    assert!(draft("gone", &[("a", "int64")]).hint.unwrap().contains("create_table = true"));
    assert_eq!(draft("v", &[("a", "int64")]).kind, ErrorKind::Unsupported);
    assert_eq!(draft("t", &[]).kind, ErrorKind::Schema);
    assert_eq!(draft("t", &[("x", "int64")]).kind, ErrorKind::Schema);
    assert_eq!(draft("t", &[("a", "int64"), ("A", "int64")]).kind, ErrorKind::Schema);
    assert!(draft("t", &[("d", "int64")]).message.ends_with("not in the source: `a`"));
    assert!(draft("t", &[("a", "int64"), ("c", "int64")]).message.contains("generated"));
    let interval = draft("t", &[("a", "int64"), ("d", "interval")]);
    assert_eq!(interval.kind, ErrorKind::Unsupported);
    assert!(interval.message.contains("`d`"));
    let mut copy = plan(WriteMode::Insert, &[("a", "int64")], &[]);
    copy.load = transload_plugin_api::LoadMethod::Copy;
    assert_eq!(fixture.writer("t").draft(&copy).unwrap_err().kind, ErrorKind::Unsupported);
    let taken =
        fixture.writer("t").draft(&plan(WriteMode::Insert, &[("A", "text"), ("d", "date")], &[]));
    let columns = taken.unwrap().columns;
    let types: Vec<_> = columns.iter().map(|c| (c.name.as_str(), c.logical.to_string())).collect();
    assert_eq!(types, [("a", "int64".to_owned()), ("d", "date".to_owned())]);
}

#[test]
fn t46_statements_run_once_and_only_when_prepared() {
    let fixture =
        Fixture::new("CREATE TABLE t(a INT); CREATE TABLE log(s); INSERT INTO t VALUES (1)");
    let mut plan = plan(WriteMode::Insert, &[("a", "int64")], &[]);
    plan.before = vec!["DELETE FROM t".into(), "INSERT INTO log VALUES ('before')".into()];
    plan.after = vec!["INSERT INTO log SELECT 'after ' || count(*) FROM t".into()];
    let writer = fixture.writer("t");
    let draft = writer.draft(&plan).unwrap();
    assert_eq!(
        draft.statements.iter().map(|step| step.destructive).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(fixture.rows("SELECT * FROM t"), ["1"]);
    writer.prepare(&plan).unwrap();
    let rows = batch(&plan, vec![integers([5, 6])]);
    write_all(&*writer, &plan, &[rows]).unwrap();
    assert_eq!(fixture.rows("SELECT * FROM log"), ["'before'", "'after 2'"]);
    plan.run = "r-2".to_owned();
    plan.before = vec!["DELETE FROM t; COMMIT".into()];
    assert_eq!(writer.prepare(&plan).unwrap_err().kind, ErrorKind::Options);
    plan.before = vec!["DELETE FROM t; DELETE FROM gone".into()];
    assert!(writer.prepare(&plan).unwrap_err().message.contains("`before` statement 1"));
}

#[test]
fn t42_odd_names_are_written() {
    for name in ["Order", "select", "a.b", "a\"b", "表", "123Test", "@table"] {
        let fixture = Fixture::empty();
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        for mode in [WriteMode::Upsert, WriteMode::Overwrite] {
            let mut plan = plan(mode, &[(name, "int64"), ("b", "text")], &[name]);
            plan.create_table = true;
            let rows = batch(&plan, vec![integers([1]), texts(["x"])]);
            write_all(&*fixture.writer(&quoted), &plan, &[rows]).unwrap();
            assert_eq!(fixture.rows(&format!("SELECT * FROM {quoted}")), ["1|'x'"]);
        }
    }
}

#[test]
fn deferred_foreign_keys_fail_the_chunk_at_its_commit() {
    let fixture = Fixture::new(
        "CREATE TABLE p(id INTEGER PRIMARY KEY);
         CREATE TABLE t(a INT REFERENCES p DEFERRABLE INITIALLY DEFERRED);",
    );
    let plan = plan(WriteMode::Insert, &[("a", "int64")], &[]);
    let error =
        write_all(&*fixture.writer("t"), &plan, &[batch(&plan, vec![integers([1])])]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.causes[0].contains("FOREIGN KEY"), "{:?}", error.causes);
    assert!(fixture.rows("SELECT * FROM t").is_empty());
}

#[test]
fn a_chunk_is_in_as_a_whole_or_not_at_all() {
    let fixture = Fixture::new("CREATE TABLE t(a INT)");
    let plan = plan(WriteMode::Insert, &[("a", "int64")], &[]);
    let writer = fixture.writer("t");
    writer.prepare(&plan).unwrap();
    let context = TaskContext { task: 0, epoch: 0 };
    let rows = batch(&plan, vec![integers([1, 2])]);
    let mut task = writer.open(&plan, &context).unwrap();
    assert_eq!(task.write(&rows).unwrap_err().kind, ErrorKind::Defect);
    task.rollback_chunk().unwrap();
    task.begin_chunk(0).unwrap();
    task.write(&rows).unwrap();
    assert!(fixture.rows("SELECT * FROM t").is_empty(), "not before the commit");
    task.rollback_chunk().unwrap();
    assert!(fixture.rows("SELECT * FROM t").is_empty());
    task.begin_chunk(0).unwrap();
    task.write(&rows).unwrap();
    task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    task.begin_chunk(1).unwrap();
    task.write(&rows).unwrap();
    drop(task);
    assert_eq!(fixture.rows("SELECT count(*) FROM t"), ["2"], "committed chunks stay");
    let task = writer.open(&plan, &context).unwrap();
    task.abort().unwrap();
    writer.abort(&plan, &[]).unwrap();
    assert_eq!(fixture.rows("SELECT count(*) FROM t"), ["2"]);
}

#[test]
fn a_busy_database_asks_for_a_retry() {
    let fixture = Fixture::new("CREATE TABLE t(a INT)");
    let mut options = fixture.options(&[("table", "t")]);
    options.values.insert("busy_timeout".to_owned(), 20.into());
    let writer = SqlitePlugin.writer(options, Host::detached()).unwrap();
    let plan = plan(WriteMode::Insert, &[("a", "int64")], &[]);
    writer.prepare(&plan).unwrap();
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    let other = fixture.connect();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(task.begin_chunk(0).unwrap_err().kind, ErrorKind::Retry);
    other.execute_batch("COMMIT").unwrap();
    task.begin_chunk(0).unwrap();
    task.write(&batch(&plan, vec![integers([1])])).unwrap();
    // An open reader blocks the commit, so the chunk is not committed.
    other.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    let error = task.commit_chunk(&Position::default(), &Counters::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry);
    assert!(error.hint.unwrap().contains("journal_mode"));
    other.execute_batch("COMMIT").unwrap();
    assert!(fixture.rows("SELECT * FROM t").is_empty());
}

#[test]
fn a_full_disk_is_no_dirty_row() {
    let fixture = Fixture::new("CREATE TABLE t(a TEXT)");
    let plan = plan(WriteMode::Insert, &[("a", "text")], &[]);
    let mut limited = plan.clone();
    limited.before = vec!["PRAGMA max_page_count = 10".into()];
    let writer = fixture.writer("t");
    writer.prepare(&limited).unwrap();
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    task.begin_chunk(0).unwrap();
    let long = "x".repeat(100_000);
    let error = task.write(&batch(&plan, vec![texts([long.as_str()])])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Space);
    task.rollback_chunk().unwrap();
}

#[test]
fn an_interrupted_transaction_of_others_is_undone() {
    let fixture = Fixture::new("CREATE TABLE t(a TEXT); INSERT INTO t VALUES ('kept')");
    let torn = Fixture::empty();
    let other = fixture.connect();
    // A transaction that has begun to change the file, as left by a killed process.
    other.execute_batch("PRAGMA cache_size = 1; BEGIN; DELETE FROM t").unwrap();
    for _ in 0..200 {
        other.execute("INSERT INTO t VALUES (?1)", ["x".repeat(4000)]).unwrap();
    }
    for suffix in ["", "-journal"] {
        let copy = |fixture: &Fixture| format!("{}{suffix}", fixture.path());
        std::fs::copy(copy(&fixture), copy(&torn)).unwrap();
    }
    let error = torn.reader(&[("table", "t")]).schema().unwrap_err();
    assert!(error.hint.unwrap().contains("killed"), "a reader writes nothing, not even that");
    let plan = plan(WriteMode::Insert, &[("a", "text")], &[]);
    torn.writer("t").draft(&plan).unwrap();
    assert_eq!(torn.rows("SELECT a FROM t"), ["'kept'"]);
}

#[test]
fn tasks_take_turns() {
    let fixture = Fixture::new("CREATE TABLE t(task INT, a INT)");
    let plan = plan(WriteMode::Insert, &[("task", "int64"), ("a", "int64")], &[]);
    let writer = fixture.writer("t");
    writer.prepare(&plan).unwrap();
    let write = |number: u32| {
        let mut task = writer.open(&plan, &TaskContext { task: number, epoch: 0 }).unwrap();
        for sequence in 0..20 {
            task.begin_chunk(sequence).unwrap();
            let rows = vec![integers(vec![i64::from(number); 50]), integers(0..50)];
            task.write(&batch(&plan, rows)).unwrap();
            task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
        }
        task.finish().unwrap()
    };
    let receipts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|number| scope.spawn(move || write(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    writer.commit(&plan, &receipts).unwrap();
    assert_eq!(
        fixture.rows("SELECT task, count(*) FROM t GROUP BY 1"),
        ["0|1000", "1|1000", "2|1000", "3|1000"]
    );
}

#[test]
fn a_stop_ends_the_waiting() {
    let fixture = Fixture::new("CREATE TABLE t(a INT)");
    let cancel = Cancel::new();
    let host = Host::new(Arc::new(()), cancel.clone());
    let writer = SqlitePlugin.writer(fixture.options(&[("table", "t")]), host).unwrap();
    let plan: WritePlan = plan(WriteMode::Insert, &[("a", "int64")], &[]);
    writer.prepare(&plan).unwrap();
    let context = TaskContext { task: 0, epoch: 0 };
    let mut first = writer.open(&plan, &context).unwrap();
    let mut second = writer.open(&plan, &context).unwrap();
    first.begin_chunk(0).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || second.begin_chunk(0));
        cancel.cancel();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    });
    first.rollback_chunk().unwrap();
}

#[test]
fn a_missing_folder_is_not_found() {
    let fixture = Fixture::empty();
    let options = transload_plugin_api::Options::from_pairs([
        ("path", format!("{}/none/x.db", fixture.folder.path().display())),
        ("table", "t".to_owned()),
    ]);
    let writer = SqlitePlugin.writer(options, Host::detached()).unwrap();
    let mut plan = plan(WriteMode::Insert, &[("a", "int64")], &[]);
    plan.create_table = true;
    assert_eq!(writer.draft(&plan).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(writer.prepare(&plan).unwrap_err().kind, ErrorKind::NotFound);
    assert!(!writer.check().unwrap()[0].ok);
}

/// A property of each type that a table is created with: what the writer takes, the reader gives.
#[test]
fn numbers_in_any_notation_are_read_back() {
    let numbers = ["1e5", "-2.5E-3", "+7", ".5", "5.", "1e400", "NaN", "Infinity", "00012.3400"];
    let fixture = Fixture::empty();
    let mut plan = plan(WriteMode::Insert, &[("n", "numeric")], &[]);
    plan.create_table = true;
    let written = write_all(&*fixture.writer("t"), &plan, &[batch(&plan, vec![texts(numbers)])]);
    assert_eq!(counts(&written.unwrap()[0]), (numbers.len() as u64, 0, 0, 0));
    let read = read_all(&*fixture.reader(&[("table", "t")]), 1);
    assert_eq!(dirty_rows(&read), []);
    let found = read[0][0].batch.column(0).as_string::<i32>().iter().flatten();
    assert_eq!(found.collect::<Vec<_>>(), numbers);
}

/// Expressions of the schema that a row's values break; each makes one dirty row.
#[test]
fn errors_of_expressions_are_about_the_row() {
    for schema in [
        "CREATE TABLE t(s TEXT); CREATE INDEX i ON t(json_extract(s, '$.a'))",
        "CREATE TABLE t(s TEXT, CHECK (s <> 'bad' OR json_extract(s, '$.a') IS NULL))",
        "CREATE TABLE t(s TEXT, g AS (abs(CASE s WHEN 'bad' THEN -9223372036854775808 END)) STORED)",
        "CREATE TABLE t(s TEXT, g AS (json_extract('{}', CASE s WHEN 'bad' THEN s ELSE '$' END)) STORED)",
        "CREATE TABLE t(s TEXT, CHECK (s LIKE s ESCAPE CASE s WHEN 'bad' THEN s ELSE 'x' END))",
        "CREATE TABLE t(s TEXT, CHECK (s <> 'bad'))",
        "CREATE TABLE t(s TEXT); CREATE TRIGGER r BEFORE INSERT ON t WHEN NEW.s = 'bad' \
         BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TABLE t(s TEXT); CREATE TRIGGER r BEFORE INSERT ON t WHEN NEW.s = 'bad' \
         BEGIN SELECT RAISE(FAIL, 'no'); END",
    ] {
        let fixture = Fixture::new(schema);
        let plan = plan(WriteMode::Insert, &[("s", "text")], &[]);
        let rows = batch(&plan, vec![texts(["{}", "bad", "[]"])]);
        let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
        assert_eq!(counts(&written[0]), (2, 0, 0, 1), "{schema}");
        assert_eq!(fixture.rows("SELECT s FROM t"), ["'{}'", "'[]'"], "{schema}");
    }
}

#[test]
fn triggers_that_leave_rows_out_are_named_and_counted() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT COLLATE NOCASE UNIQUE);
         CREATE TRIGGER quiet BEFORE INSERT ON t WHEN NEW.id > 2 BEGIN SELECT Raise (
           IGNORE); END;",
    );
    for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Overwrite] {
        fixture.connect().execute_batch("DELETE FROM t; INSERT INTO t VALUES (1, 'old')").unwrap();
        let key: &[&str] = if mode == WriteMode::Upsert { &["id"] } else { &[] };
        let plan = plan(mode, &[("id", "int64"), ("s", "text")], key);
        let writer = fixture.writer("t");
        let warnings = writer.draft(&plan).unwrap().warnings;
        assert!(warnings.iter().any(|it| it.contains("leave rows out") && it.contains("quiet")));
        assert!(warnings.iter().any(|it| it.contains("`s` (NOCASE)")), "{warnings:?}");
        let rows = batch(&plan, vec![integers([2, 3, 4]), texts(["b", "c", "d"])]);
        let written = write_all(&*writer, &plan, &[rows]);
        if mode == WriteMode::Overwrite {
            let error = written.unwrap_err();
            assert!(error.message.contains("let 1 of 3 rows in"), "{error}");
            assert_eq!(fixture.rows("SELECT id FROM t"), ["1"]);
        } else {
            assert_eq!(counts(&written.unwrap()[0]), (1, 0, 2, 0));
            assert_eq!(fixture.rows("SELECT id FROM t"), ["1", "2"]);
        }
    }
}
