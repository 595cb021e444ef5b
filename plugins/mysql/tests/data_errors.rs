//! What a server refuses about a row, and what it would change without a word: each makes one dirty
//! row, never a failed run and never another value. One line a case.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array};
use support::{Fixture, Server, integers, plan, texts, write_all};
use transload_plugin_api::{LoadMethod, WriteMode, WritePlan, Written};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Both,
    Mariadb,
    Mysql,
}

const LOADS: [LoadMethod; 2] = [LoadMethod::Insert, LoadMethod::Copy];

fn faults(written: &Written) -> Vec<(u64, &str)> {
    written.dirty.iter().map(|dirty| (dirty.row, dirty.code.as_str())).collect()
}

/// Of the texts `a`, `bad` and `c`, only `bad` breaks something.
const REFUSALS: [(On, &str, &str); 28] = [
    (On::Both, "CREATE TABLE t(v VARCHAR(9) UNIQUE); INSERT INTO t VALUES ('bad')", "unique"),
    (On::Both, "CREATE TABLE t(v VARCHAR(9), CHECK (v <> 'bad'))", "check"),
    (
        On::Both,
        "CREATE TABLE p(v VARCHAR(9) PRIMARY KEY); INSERT INTO p VALUES ('a'), ('c'); \
         CREATE TABLE t(v VARCHAR(9), FOREIGN KEY (v) REFERENCES p(v))",
        "foreign-key",
    ),
    (On::Mariadb, "CREATE TABLE t(v VARCHAR(9), g VARCHAR(2) AS (v) STORED)", "length"),
    (On::Mysql, "CREATE TABLE t(v VARCHAR(9), g VARCHAR(2) AS (v) STORED)", "range"),
    (
        On::Both,
        "CREATE TABLE t(v VARCHAR(9), g BIGINT AS (IF(v = 'bad', 9223372036854775807, 1) + 1) STORED)",
        "range",
    ),
    (
        On::Both,
        "CREATE TABLE t(v VARCHAR(9), g TINYINT AS (IF(v = 'bad', 300, 1)) STORED)",
        "range",
    ),
    (On::Both, "CREATE TABLE t(v VARCHAR(9), g INT AS (1 / IF(v = 'bad', 0, 1)) STORED)", "range"),
    (On::Both, "CREATE TABLE t(v VARCHAR(9), g INT AS (IF(v = 'bad', v, 1)) STORED)", "parse"),
    (
        On::Both,
        "CREATE TABLE t(v VARCHAR(9), g DATE AS (IF(v = 'bad', v, '2024-01-01')) STORED)",
        "parse",
    ),
    (
        On::Both,
        "CREATE TABLE t(v VARCHAR(9), g INT NOT NULL DEFAULT 0); CREATE TRIGGER x BEFORE INSERT ON t \
         FOR EACH ROW SET NEW.g = IF(NEW.v = 'bad', NULL, 1)",
        "null",
    ),
    (
        On::Both,
        "CREATE TABLE t(v VARCHAR(9)) PARTITION BY LIST COLUMNS (v) \
         (PARTITION p VALUES IN ('a', 'c'))",
        "partition",
    ),
    (On::Both, "CREATE TABLE t(v VARCHAR(9), g ENUM('a', 'c') AS (v) STORED)", "range"),
    (
        On::Mysql,
        "CREATE TABLE t(v VARCHAR(9), g POINT AS (ST_PointFromText(IF(v = 'bad', 'POINT(1 x)', \
         'POINT(1 1)'))) STORED)",
        "parse",
    ),
    (On::Both, "SIGNAL SQLSTATE '45000'", "trigger"),
    (On::Both, "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001", "trigger"),
    (On::Both, "SIGNAL SQLSTATE '22012' SET MYSQL_ERRNO = 30001", "value"),
    (On::Both, "SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 30001", "value"),
    (On::Mariadb, "CREATE TABLE t(v VARCHAR(9), CHECK (v <> 'bad' OR JSON_VALID(v)))", "check"),
    (On::Mysql, "CREATE TABLE t(v VARCHAR(9), g JSON AS (IF(v = 'bad', v, '1')) STORED)", "json"),
    (
        On::Mysql,
        "CREATE TABLE t(v VARCHAR(9), g INT AS (JSON_LENGTH(IF(v = 'bad', v, '1'))) STORED)",
        "json",
    ),
    (On::Mysql, "CREATE TABLE t(v VARCHAR(9), INDEX ((CAST(v AS CHAR(2)))))", "length"),
    (
        On::Mysql,
        "CREATE TABLE t(v VARCHAR(9), g GEOMETRY AS (ST_GeomFromText(IF(v = 'bad', \
         'POINT(500 1)', 'POINT(1 1)'), 4326)) STORED)",
        "range",
    ),
    (
        On::Mysql,
        "CREATE TABLE t(v VARCHAR(9), g VARCHAR(20) AS (IF(v = 'bad', UUID_TO_BIN(v), '')) STORED)",
        "parse",
    ),
    (
        On::Both,
        "CREATE TABLE t(v VARCHAR(9), g YEAR AS (IF(v = 'bad', 3000, 2000)) STORED)",
        "range",
    ),
    (On::Both, "CREATE TABLE t(v VARCHAR(9), g BIT(2) AS (IF(v = 'bad', 9, 1)) STORED)", "length"),
    (
        On::Both,
        "CREATE TABLE t(v VARCHAR(9), g DECIMAL(3,1) AS (IF(v = 'bad', 1000, 1)) STORED)",
        "range",
    ),
    (
        On::Both,
        "CREATE TABLE t(v VARCHAR(9), g1 TEXT AS (REPEAT(v, 900)) STORED) ROW_FORMAT = COMPACT",
        "length",
    ),
];

/// The statements of a case: a trigger that signals stands for itself, and a row that gets too long
/// for its page needs many columns.
fn statements(case: &str) -> String {
    if case.starts_with("SIGNAL") {
        return format!(
            "CREATE TABLE t(v VARCHAR(9));\nDELIMITER //\nCREATE TRIGGER x BEFORE INSERT ON t FOR \
             EACH ROW BEGIN IF NEW.v = 'bad' THEN {case}; END IF; END//\nDELIMITER ;"
        );
    }
    if case.contains("g1 TEXT") {
        let columns: Vec<_> = (0..12)
            .map(|at| format!("g{at} TEXT AS (IF(v = 'bad', REPEAT(v, 900), v)) STORED"))
            .collect();
        return format!(
            "SET SESSION innodb_strict_mode = 0; CREATE TABLE t(v VARCHAR(9), {}) CHARACTER SET latin1 ROW_FORMAT = COMPACT;",
            columns.join(", ")
        );
    }
    format!("{case};")
}

#[test]
fn each_refusal_about_a_row_makes_one_dirty_row() {
    let mut wrong = Vec::new();
    for (product, server) in [(On::Mariadb, Server::mariadb()), (On::Mysql, Server::mysql())] {
        for (on, case, code) in REFUSALS {
            if on != On::Both && on != product {
                continue;
            }
            // A bulk load that is refused is written again by INSERT: both see the error.
            let fixture = Fixture::new(&server, &statements(case));
            let plan = plan(WriteMode::Insert, &[("v", "text(9)")], &[]);
            let plan = WritePlan { load: LoadMethod::Copy, ..plan };
            let batch = vec![texts(["a", "bad", "c"])];
            let written = write_all(&*fixture.writer("t"), &plan, vec![batch]);
            let found = match &written {
                Ok(written) => format!("{:?} of {}", faults(&written[0]), written[0].inserted),
                Err(error) => format!("{error}"),
            };
            let right = format!("{:?} of 2", [(1u64, code)]);
            if found != right {
                wrong.push(format!("{product:?} {case}: {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the servers store in place of a value, with a note at most: all types that cut, pad, wrap or
/// round. `expected` has the rows that must be refused.
#[test]
fn values_that_a_server_would_change_are_refused() {
    let singles: ArrayRef = Arc::new(Float32Array::from(vec![1.25f32, 1.1, 1.125, 1e30]));
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![1.25, 1.1, 1.125, 1e300]));
    let words = texts(["ab", "ab ", "abc", "abc "]);
    let mut wrong = Vec::new();
    for server in [Server::mariadb(), Server::mysql()] {
        for (native, logical, values, refused) in [
            ("FLOAT(7,2)", "float32", &singles, &[2u64, 3][..]),
            ("DOUBLE(9,2)", "float64", &doubles, &[2, 3]),
            ("FLOAT", "float32", &singles, &[]),
            ("DOUBLE", "float64", &doubles, &[]),
            ("VARCHAR(3)", "text", &words, &[3]),
            ("CHAR(3)", "text", &words, &[3]),
            ("TINYTEXT", "text", &texts([&*"x".repeat(255), &*"x ".repeat(128), "", ""]), &[1]),
        ] {
            for load in LOADS {
                let table = format!("CREATE TABLE t(id BIGINT PRIMARY KEY, v {native});");
                let fixture = Fixture::new(&server, &table);
                let plan = plan(WriteMode::Insert, &[("id", "int64"), ("v", logical)], &[]);
                let plan = WritePlan { load, ..plan };
                let batch = vec![integers(0..4), values.clone()];
                let written =
                    write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
                let rows: Vec<_> = written.dirty.iter().map(|dirty| dirty.row).collect();
                if rows != refused {
                    let stored = fixture.lines("SELECT id, v FROM t ORDER BY id");
                    wrong.push(format!("{native} {load:?}: {rows:?}, stored {stored:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
