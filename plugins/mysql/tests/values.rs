//! Edge values, written to real servers with both methods and read back.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, TimestampMicrosecondArray, cast::AsArray, types::Date32Type,
};
use support::{Fixture, Server, integers, plan, read_all, texts, write_all};
use transload_plugin_api::{
    Column, ErrorKind, LoadMethod, WriteMode, WritePlan, Written, testing::cell,
};

fn servers() -> [Server; 2] {
    [Server::mariadb(), Server::mysql()]
}

/// Writes one batch of `id` and `v` with each method into a new table, and passes each to `look`.
fn by_either_way(
    server: &Server,
    native: &str,
    logical: &str,
    values: &ArrayRef,
    look: impl Fn(&Fixture, &Written),
) {
    let table = format!("CREATE TABLE t(id BIGINT PRIMARY KEY, v {native} NULL);");
    let fixture = Fixture::new(server, &table);
    for load in [LoadMethod::Insert, LoadMethod::Copy] {
        fixture.run("DELETE FROM t");
        let plan = plan(WriteMode::Insert, &[("id", "int64"), ("v", logical)], &[]);
        let batch = vec![integers(1..=values.len() as i64), values.clone()];
        let plan = WritePlan { load, ..plan };
        let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
        look(&fixture, &written);
    }
}

fn faults(written: &Written) -> Vec<(u64, &str)> {
    written.dirty.iter().map(|dirty| (dirty.row, dirty.code.as_str())).collect()
}

fn moments(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
}

#[test]
fn t23_fractions_are_kept_or_refused_but_never_rounded() {
    let values = moments(&[123_456, 999_999, 1_000_000, 999_000]);
    for server in servers() {
        for (native, logical, expected) in [
            ("DATETIME(6)", "timestamp", &[][..]),
            ("DATETIME(3)", "timestamp(3)", &[(0, "range"), (1, "range")]),
            ("DATETIME", "timestamp(0)", &[(0, "range"), (1, "range"), (3, "range")]),
        ] {
            by_either_way(&server, native, logical, &values, |fixture, written| {
                assert_eq!(faults(written), expected, "{native}");
                let reader = fixture.reader(&[("table", "t")]);
                let columns = reader.schema().unwrap().columns;
                let read = read_all(&*reader, &columns, 1).remove(0).remove(0).batch;
                let found =
                    read.column(1).as_primitive::<arrow_array::types::TimestampMicrosecondType>();
                let all = [123_456, 999_999, 1_000_000, 999_000];
                let kept = |at: &usize| !expected.iter().any(|(row, _)| *row == *at as u64);
                let kept: Vec<i64> = (0..4).filter(kept).map(|at| all[at]).collect();
                assert_eq!(found.values(), &kept[..], "{native}");
            });
        }
    }
}

#[test]
fn t25_dates_are_the_same_in_every_zone() {
    let days = [0, -719_162, 2_932_896, 19_782];
    let values: ArrayRef = Arc::new(Date32Array::from(days.to_vec()));
    for server in servers() {
        by_either_way(&server, "DATE", "date", &values, |fixture, written| {
            assert_eq!(faults(written), []);
            for zone in ["-12:00", "+13:00"] {
                let asked = format!("SET time_zone = '{zone}'; SELECT v FROM t ORDER BY id");
                let found = fixture.lines(&asked);
                assert_eq!(found, ["1970-01-01", "0001-01-01", "9999-12-31", "2024-02-29"]);
            }
            let reader = fixture.reader(&[("table", "t")]);
            let columns = reader.schema().unwrap().columns;
            let read = read_all(&*reader, &columns, 1).remove(0).remove(0).batch;
            assert_eq!(read.column(1).as_primitive::<Date32Type>().values(), &days);
        });
    }
}

#[test]
fn t27_years_that_the_store_has_not_are_refused() {
    let days: ArrayRef =
        Arc::new(Date32Array::from(vec![-719_163, 2_932_897, i32::MIN, i32::MAX, 1]));
    let micros =
        moments(&[i64::MIN, i64::MAX, -62_135_596_800_000_001, 253_402_300_800_000_000, 1]);
    let instants: ArrayRef = Arc::new(
        TimestampMicrosecondArray::from(vec![-1_000_000, 0, 32_503_680_000_000_000, 1_000_000])
            .with_timezone("UTC"),
    );
    for server in servers() {
        for (native, logical, values) in
            [("DATE", "date", &days), ("DATETIME(6)", "timestamp", &micros)]
        {
            by_either_way(&server, native, logical, values, |fixture, written| {
                let expected = [(0, "range"), (1, "range"), (2, "range"), (3, "range")];
                assert_eq!(faults(written), expected, "{native}");
                assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["1"]);
            });
        }
        // Before and after the years of a TIMESTAMP.
        by_either_way(&server, "TIMESTAMP(6)", "timestamptz", &instants, |fixture, written| {
            let refused: Vec<_> = written.dirty.iter().map(|dirty| dirty.row).collect();
            assert_eq!(refused, [0, 1, 2]);
            let found = fixture.lines("SELECT v FROM t");
            assert_eq!(found, ["1970-01-01 00:00:01.000000"]);
        });
    }
}

#[test]
fn t31_a_zero_byte_in_a_text_is_kept() {
    let all = ["a\0b", "\0", "\0\\0\n\t'"];
    for server in servers() {
        by_either_way(&server, "VARCHAR(20)", "text(20)", &texts(all), |fixture, written| {
            assert_eq!(faults(written), []);
            let reader = fixture.reader(&[("table", "t")]);
            let columns = reader.schema().unwrap().columns;
            let read = read_all(&*reader, &columns, 1).remove(0).remove(0).batch;
            let found: Vec<_> = read.column(1).as_string::<i32>().iter().flatten().collect();
            assert_eq!(found, all);
        });
    }
}

#[test]
fn t34_documents_keep_their_numbers_and_broken_ones_are_dirty() {
    let all = ["{\"b\":12345678901234567890,\"a\":1.10,\"a\":2}", "{broken", "\"\\u0041\"", "[]"];
    for server in servers() {
        let mariadb = Fixture::new(&server, "").lines("SELECT @@version")[0].contains("MariaDB");
        by_either_way(&server, "JSON", "json", &texts(all), |fixture, written| {
            let refused: Vec<_> = written.dirty.iter().map(|dirty| dirty.row).collect();
            assert_eq!(refused, [1], "{written:?}");
            let found = fixture.ask("SELECT v FROM t WHERE id = 1");
            assert!(found.contains("12345678901234567890"), "{found}");
            let draft = fixture
                .writer("t")
                .draft(&plan(WriteMode::Insert, &[("id", "int64"), ("v", "json")], &[]))
                .unwrap();
            let told = draft.warnings.iter().any(|text| text.contains("`v`"));
            // MariaDB keeps the text; MySQL does not, and the plan reports it.
            assert_eq!(told, !mariadb, "{draft:?}");
            assert_eq!(found.trim_end() == all[0], mariadb, "{found}");
        });
    }
}

#[test]
fn t35_types_of_other_stores_are_refused_by_their_column() {
    for server in servers() {
        let fixture = Fixture::new(&server, "");
        for logical in ["list<int32>", "interval", "decimal(66,0)", "numeric", "timestamp(9)"] {
            let mut plan = plan(WriteMode::Insert, &[("id", "int64"), ("odd", logical)], &[]);
            plan.create_table = true;
            let error = fixture.writer("t").draft(&plan).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported, "{logical}: {error}");
            assert!(error.message.contains("`odd`"), "{logical}: {error}");
        }
    }
}

#[test]
fn t35_own_types_come_in_their_own_form() {
    let fixture = Fixture::new(
        &Server::mariadb(),
        "CREATE TABLE t(id INT PRIMARY KEY, u UUID, i INET6);
         INSERT INTO t VALUES (1, '00112233-4455-6677-8899-aabbccddeeff', '::1');",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let columns: Vec<Column> = reader.schema().unwrap().columns;
    let read = read_all(&*reader, &columns, 1).remove(0).remove(0).batch;
    assert_eq!(cell(read.column(1), 0), "0x00112233445566778899AABBCCDDEEFF");
    assert_eq!(cell(read.column(2), 0), "\"::1\"");
}

#[test]
fn refusals_name_the_type_and_the_value() {
    for (native, logical, values, reason) in [
        (
            "VARCHAR(2)",
            "text(2)",
            texts(["abc"]),
            "expected varchar(2), found `abc`: the text has 3 characters",
        ),
        (
            "ENUM('a')",
            "text",
            texts(["b"]),
            "expected enum('a'), found `b`: it is not one of the labels",
        ),
        (
            "DATETIME(3)",
            "timestamp(3)",
            moments(&[1]),
            "expected datetime(3), found `1970-01-01 00:00:00.000001`: it keeps 3 digits of a second",
        ),
    ] {
        by_either_way(&Server::mariadb(), native, logical, &values, |_, written| {
            let dirty = &written.dirty[0];
            assert_eq!((dirty.column.as_deref(), dirty.reason.as_str()), (Some("v"), reason));
            assert!(reason.contains(dirty.value.as_deref().unwrap()), "{dirty:?}");
        });
    }
}
