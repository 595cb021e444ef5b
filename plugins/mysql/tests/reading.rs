//! Reading from a real MariaDB; the data was inserted by its own client.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use support::{Fixture, Server, read_all};
use transload_plugin_api::{
    Column, ErrorKind, LogicalType, Plugin as _, Reader, SplitAbility, SplitRequest, testing::cell,
};
use transload_plugin_mysql::MysqlPlugin;

fn fixture(sql: &str) -> Fixture {
    Fixture::new(&Server::mariadb(), sql)
}

/// Rows as text, cells separated by `|`, in the order of the splits.
fn rows(reader: &dyn Reader, wanted: &[Column], max: u32) -> Vec<String> {
    let batches = read_all(reader, wanted, max).into_iter().flatten();
    batches.flat_map(|read| lines(&read.batch)).collect()
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let line = |row: usize| {
        let cells = batch.columns().iter().map(|array| cell(array, row));
        cells.collect::<Vec<_>>().join("|")
    };
    (0..batch.num_rows()).map(line).collect()
}

fn own_rows(reader: &dyn Reader) -> Vec<String> {
    rows(reader, &reader.schema().unwrap().columns, 1)
}

/// Codes of dirty rows with their places.
fn faults(reader: &dyn Reader) -> Vec<String> {
    let batches = read_all(reader, &reader.schema().unwrap().columns, 1).into_iter().flatten();
    let dirty = batches.flat_map(|read| read.dirty);
    dirty.map(|row| format!("{} {}", row.place.unwrap_or_default(), row.code)).collect()
}

fn as_type(name: &str, logical: &str) -> Column {
    Column::new(name, logical.parse().unwrap(), true)
}

#[test]
fn t17_unsigned_numbers_keep_their_upper_half() {
    let fixture = fixture(
        "CREATE TABLE t(a TINYINT UNSIGNED, b SMALLINT UNSIGNED, c MEDIUMINT UNSIGNED,
           d INT UNSIGNED ZEROFILL, e BIGINT UNSIGNED, f MEDIUMINT, g BIGINT);
         INSERT INTO t VALUES (255, 65535, 16777215, 4294967295, 18446744073709551615, -8388608,
           -9223372036854775808);",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let types: Vec<_> =
        reader.schema().unwrap().columns.iter().map(|it| it.logical.to_string()).collect();
    assert_eq!(types, ["uint8", "uint16", "uint32", "uint32", "uint64", "int32", "int64"]);
    assert_eq!(
        own_rows(&*reader),
        ["255|65535|16777215|4294967295|18446744073709551615|-8388608|-9223372036854775808"]
    );
}

#[test]
fn t18_decimals_of_65_digits() {
    let long = "12345678901234567890123456789012345.123456789012345678901234567890";
    let fixture = fixture(&format!(
        "CREATE TABLE t(a DECIMAL(65,30), b DECIMAL(38,2), c DECIMAL(5,0));
         INSERT INTO t VALUES ({long}, -0.10, 12345);"
    ));
    let reader = fixture.reader(&[("table", "t")]);
    assert_eq!(own_rows(&*reader), [format!("{long}|-0.10|12345")]);
}

#[test]
fn t20_a_small_number_is_no_boolean_unless_it_is_wanted_as_one() {
    let fixture = fixture(
        "CREATE TABLE t(id INT PRIMARY KEY, b TINYINT(1));
         INSERT INTO t VALUES (1, 0), (2, 1), (3, 2), (4, -1), (5, NULL);",
    );
    let reader = fixture.reader(&[("table", "t")]);
    assert_eq!(own_rows(&*reader), ["1|0", "2|1", "3|2", "4|-1", "5|NULL"]);
    let wanted = [as_type("id", "int32"), as_type("b", "boolean")];
    let batches = read_all(&*reader, &wanted, 1).remove(0);
    assert_eq!(lines(&batches[0].batch), ["1|false", "2|true", "5|NULL"]);
    let places: Vec<_> = batches[0].dirty.iter().filter_map(|row| row.place.clone()).collect();
    assert!(places[0].ends_with("key 3") && places[1].ends_with("key 4"), "{places:?}");
}

/// All values of a row come with it, and all that is wrong, so that it can be found and sent again.
#[test]
fn a_dirty_row_is_whole() {
    let fixture = fixture(
        "SET sql_mode = '';
         CREATE TABLE t(id INT PRIMARY KEY, d DATE, m DATETIME(2), n DECIMAL(9,2), b BLOB, s TEXT);
         INSERT INTO t VALUES (1, '2024-02-29', NULL, 1, NULL, 'a'),
           (863, '2024-00-10', '0000-00-00 00:00:00', 2.5, x'00ff', 'b\"'),
           (900, NULL, NULL, 3, NULL, 'c')",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let batches = read_all(&*reader, &reader.schema().unwrap().columns, 1).into_iter().flatten();
    let dirty: Vec<_> = batches.flat_map(|read| read.dirty).collect();
    let [row] = &dirty[..] else { panic!("{dirty:?}") };
    let columns: Vec<_> = row.errors().map(|it| (it.column.unwrap(), it.value.unwrap())).collect();
    let expected = [("d", "2024-00-10"), ("m", "0000-00-00 00:00:00.00")];
    assert_eq!(columns, expected.map(|(column, value)| (column.to_owned(), value.to_owned())));
    let values: serde_json::Value = serde_json::from_str(row.values.as_ref().unwrap()).unwrap();
    let expected = serde_json::json!({
        "id": 863, "d": "2024-00-10", "m": "0000-00-00 00:00:00.00", "n": 2.5, "b": "00ff", "s": "b\"",
    });
    assert_eq!((&values, row.number), (&expected, Some(2)));
}

#[test]
fn t16_zero_dates_by_policy() {
    let sql = "SET sql_mode = '';
         CREATE TABLE t(id INT PRIMARY KEY, d DATE, m DATETIME NOT NULL);
         INSERT INTO t VALUES (1, '2024-02-29', '2024-02-29 01:02:03'),
           (2, '0000-00-00', '2024-01-01'), (3, '2024-00-10', '2024-01-01'),
           (4, '2024-01-01', '0000-00-00 00:00:00'), (5, NULL, '0000-00-00 12:00:00');";
    let fixture = fixture(sql);
    let reader = fixture.reader(&[("table", "t")]);
    assert_eq!(faults(&*reader).len(), 4);
    assert_eq!(own_rows(&*reader), ["1|2024-02-29|2024-02-29 01:02:03"]);
    let reader = fixture.reader(&[("table", "t"), ("zero_dates", "null")]);
    let found: Vec<_> = own_rows(&*reader).iter().map(|row| row[..3].to_owned()).collect();
    // The second column is NOT NULL, so a NULL there would be wrong.
    assert_eq!(found, ["1|2", "2|N", "3|N"]);
    let reader = fixture.reader(&[("table", "t"), ("zero_dates", "epoch")]);
    assert_eq!(
        own_rows(&*reader)[1..],
        [
            "2|1970-01-01|2024-01-01 00:00:00",
            "3|1970-01-01|2024-01-01 00:00:00",
            "4|2024-01-01|1970-01-01 00:00:00",
            "5|NULL|1970-01-01 00:00:00"
        ]
    );
    let reader = fixture.reader(&[("table", "t"), ("zero_dates", "text")]);
    assert_eq!(reader.schema().unwrap().columns[1].logical.to_string(), "text");
    let found: Vec<_> = own_rows(&*reader).iter().map(|row| row.replace('"', "")).collect();
    assert_eq!(
        found,
        [
            "1|2024-02-29|2024-02-29 01:02:03",
            "2|0000-00-00|2024-01-01 00:00:00",
            "3|2024-00-10|2024-01-01 00:00:00",
            "4|2024-01-01|0000-00-00 00:00:00",
            "5|NULL|0000-00-00 12:00:00"
        ]
    );
}

/// MariaDB keeps surrogates, which are no UTF-8.
#[test]
fn texts_that_are_not_utf8_make_their_rows_dirty() {
    let fixture = fixture(
        "CREATE TABLE t(id INT PRIMARY KEY, s VARCHAR(20) CHARACTER SET utf8mb4, d DATE);
         INSERT INTO t VALUES (1, 'a', NULL), (2, _binary x'41EDA080', NULL), (3, 'ä', NULL),
           (4, 'b', '2024-00-10'), (5, _binary x'EDA080', NULL), (6, NULL, NULL);",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let place = |id: u32, code: &str| format!("{}.t, key {id} {code}", fixture.database);
    assert_eq!(faults(&*reader), [place(2, "utf8"), place(4, "zero-date"), place(5, "utf8")]);
    let read = read_all(&*reader, &reader.schema().unwrap().columns, 1).remove(0).remove(0);
    let origin = read.origin.unwrap();
    let places: Vec<_> = (0..3).map(|row| origin.place(row)).collect();
    assert_eq!(places, [1, 3, 6].map(|row| format!("{}.t, row {row}", fixture.database)));
    let first = &read.dirty[0];
    assert_eq!(first.column.as_deref(), Some("s"));
    assert_eq!(first.reason, "expected UTF-8 text, found `A\u{fffd}\u{fffd}\u{fffd}`");
    assert_eq!(own_rows(&*reader), ["1|\"a\"|NULL", "3|\"ä\"|NULL", "6|NULL|NULL"]);
    let reader = fixture.reader(&[("query", "SELECT s FROM t ORDER BY id")]);
    assert_eq!(faults(&*reader), ["query, row 2 utf8", "query, row 5 utf8"]);
}

/// What is not read says what was expected, what was found, and which line of the job reads it.
#[test]
fn refusals_say_what_was_found() {
    let fixture = fixture(
        "CREATE TABLE t(id INT PRIMARY KEY, d DATE, m DATETIME(3), t TIME, b TINYINT(1));
         INSERT INTO t VALUES (1, '2024-00-10', NULL, NULL, NULL),
           (2, NULL, '0000-00-00', NULL, NULL), (3, NULL, NULL, '25:00:00', NULL),
           (4, NULL, NULL, NULL, 2);",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let mut wanted = reader.schema().unwrap().columns;
    wanted[3].logical = "time".parse().unwrap();
    wanted[4].logical = LogicalType::Boolean;
    let read = read_all(&*reader, &wanted, 1).remove(0).remove(0);
    let reasons: Vec<_> = read.dirty.iter().map(|row| row.reason.as_str()).collect();
    let advice = "`zero_dates = \"null\"`, `\"epoch\"` and `\"text\"` read it";
    assert_eq!(
        reasons,
        [
            format!("expected date, found `2024-00-10`: {advice}"),
            format!("expected timestamp(3), found `0000-00-00 00:00:00.000`: {advice}"),
            "expected time, found `25:00:00`".to_owned(),
            "expected boolean, found `2`".to_owned(),
        ]
    );
}

#[test]
fn t21_bits_keep_their_length() {
    let fixture = fixture(
        "CREATE TABLE t(a BIT(1), b BIT(9), c BIT(64));
         INSERT INTO t VALUES (b'1', b'100000001', 0xFFFFFFFFFFFFFFFF);",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let batch = read_all(&*reader, &reader.schema().unwrap().columns, 1).remove(0).remove(0).batch;
    let bytes = |at: usize| {
        use arrow_array::cast::AsArray as _;
        batch.column(at).as_binary::<i32>().value(0).to_vec()
    };
    assert_eq!((bytes(0), bytes(1), bytes(2)), (vec![1], vec![1, 1], vec![255; 8]));
}

#[test]
fn t26_times_beyond_a_day_are_durations() {
    let fixture = fixture(
        "CREATE TABLE t(id INT PRIMARY KEY, t TIME(6));
         INSERT INTO t VALUES (1, '-838:59:59.000001'), (2, '23:59:59.999999'), (3, '00:00:00'),
           (4, '24:00:00'), (5, '838:59:59');",
    );
    let reader = fixture.reader(&[("table", "t")]);
    assert_eq!(own_rows(&*reader).len(), 5);
    let wanted = [as_type("id", "int32"), as_type("t", "time")];
    let read = read_all(&*reader, &wanted, 1).remove(0).remove(0);
    assert_eq!((read.batch.num_rows(), read.dirty.len()), (2, 3));
}

#[test]
fn t28_years_and_their_nulls() {
    let fixture = fixture(
        "CREATE TABLE t(id INT PRIMARY KEY, y YEAR);
         INSERT INTO t VALUES (1, NULL), (2, 0), (3, 1901), (4, 2155);",
    );
    let reader = fixture.reader(&[("table", "t")]);
    assert_eq!(own_rows(&*reader), ["1|NULL", "2|0", "3|1901", "4|2155"]);
}

#[test]
fn t36_labels_come_as_text_and_broken_ones_are_dirty() {
    let fixture = fixture(
        "SET sql_mode = '';
         CREATE TABLE t(id INT PRIMARY KEY, e ENUM('a','10'), s SET('x','y'), o ENUM('','b'));
         INSERT INTO t VALUES (1, '10', 'y,x', ''), (2, 'broken', '', 'b'), (3, NULL, NULL, NULL);",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let read = read_all(&*reader, &reader.schema().unwrap().columns, 1).remove(0).remove(0);
    assert_eq!((read.batch.num_rows(), read.dirty.len()), (2, 1));
    assert_eq!(read.dirty[0].column.as_deref(), Some("e"));
}

#[test]
fn t37_geometry_is_refused_by_its_column() {
    let fixture = fixture("CREATE TABLE t(id INT PRIMARY KEY, g POINT);");
    let reader = fixture.reader(&[("table", "t")]);
    let schema = reader.schema().unwrap();
    assert!(schema.notes.iter().any(|note| note.contains("`g`")), "{schema:?}");
    let error = reader.produces(&schema.columns).unwrap_err();
    assert!(error.kind == ErrorKind::Unsupported && error.message.contains("`g`"), "{error}");
    assert!(reader.produces(&schema.columns[..1]).is_ok());
}

#[test]
fn t24_moments_do_not_depend_on_zones() {
    let fixture = fixture(
        "CREATE TABLE t(a DATETIME(6), b TIMESTAMP(6) NULL, c DATE);
         SET time_zone = '+05:30';
         INSERT INTO t VALUES ('2024-03-31 02:30:00.000001', '2024-03-31 02:30:00', '0001-01-01');",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let found = own_rows(&*reader);
    assert_eq!(found, ["2024-03-31 02:30:00.000001|2024-03-30 21:00:00Z|0001-01-01"]);
}

/// Every id once, whatever the splits.
fn assert_each_once(fixture: &Fixture, options: &[(&str, &str)], expected: usize) {
    let reader = fixture.reader(options);
    for max in [1, 2, 3, 7, 16] {
        let found = rows(&*reader, &reader.schema().unwrap().columns, max);
        let distinct: BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), distinct.len()), (expected, expected), "{options:?} in {max}");
    }
}

#[test]
fn t01_null_keys_are_read_once() {
    let fixture = fixture(
        "CREATE TABLE t(id INT PRIMARY KEY, k INT, w VARCHAR(20), KEY (k));
         INSERT INTO t SELECT seq, IF(seq % 10 = 0, NULL, seq DIV 3),
           IF(seq % 7 = 0, NULL, CONCAT(IF(seq % 2, 'a', 'A'), seq DIV 5)) FROM seq_1_to_500;",
    );
    for key in ["id", "k", "w"] {
        assert_each_once(&fixture, &[("table", "t"), ("split_key", key)], 500);
    }
    assert_each_once(&fixture, &[("table", "t"), ("where", "id > 100 -- all but some")], 400);
    assert_each_once(&fixture, &[("query", "SELECT id, k + 1 AS k1 FROM t ORDER BY id")], 500);
}

#[test]
fn t02_bounds_belong_to_one_split() {
    for server in [Server::mariadb(), Server::mysql()] {
        let fixture = Fixture::new(
            &server,
            "CREATE TABLE t(id INT PRIMARY KEY);
             INSERT INTO t VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10);",
        );
        let reader = fixture.reader(&[("table", "t")]);
        let columns = reader.schema().unwrap().columns;
        let mut expected: Vec<_> = (1..=10).map(|id: i32| id.to_string()).collect();
        expected.sort();
        for max in 1..=12 {
            let mut found = rows(&*reader, &columns, max);
            found.sort();
            assert_eq!(found, expected, "in {max} splits");
        }
    }
}

#[test]
fn t03_texts_are_divided_as_the_server_orders_them() {
    for server in [Server::mariadb(), Server::mysql()] {
        let fixture = Fixture::new(
            &server,
            "CREATE TABLE t(id INT PRIMARY KEY AUTO_INCREMENT, w VARCHAR(20), KEY (w));
             INSERT INTO t(w) VALUES ('a'), ('A'), ('á'), ('Ä'), ('b'), ('B'), ('ß'), ('ss'),
               ('z'), ('Z'), ('_'), ('-'), (' '), (''), ('''it'), ('\"'), ('\\\\'), ('😀'), ('😁'),
               ('中'), ('é'), ('e'), ('E'), ('a '), (NULL), ('zz'), ('0'), ('10'), ('9'), ('aa');",
        );
        assert_each_once(&fixture, &[("table", "t"), ("split_key", "w")], 30);
    }
}

#[test]
fn t52_a_source_that_changed_after_the_plan_is_named() {
    for server in [Server::mariadb(), Server::mysql()] {
        for (change, name) in [
            ("ALTER TABLE t MODIFY d VARCHAR(20)", "`d`"),
            ("ALTER TABLE t MODIFY a VARCHAR(20)", "`a`"),
            ("ALTER TABLE t DROP COLUMN a", "`a`"),
        ] {
            let fixture = Fixture::new(
                &server,
                "CREATE TABLE t(id INT PRIMARY KEY, a INT, d DATE);
                 INSERT INTO t VALUES (1, 2, '2024-01-01')",
            );
            let reader = fixture.reader(&[("table", "t")]);
            let columns = reader.schema().unwrap().columns;
            let split = reader.splits(&SplitRequest::new(1, columns.clone())).unwrap();
            fixture.run(change);
            let error = reader.open(&split[0], &columns, None).err().expect(change);
            assert_eq!(error.kind, ErrorKind::Schema, "{change}: {error}");
            assert!(error.message.contains(name), "{change}: {error}");
        }
    }
}

#[test]
fn t04_sparse_and_skewed_keys() {
    let fixture = fixture(
        "CREATE TABLE t(id BIGINT UNSIGNED PRIMARY KEY);
         INSERT INTO t SELECT seq FROM seq_1_to_300;
         INSERT INTO t VALUES (18446744073709551615), (18446744073709551614), (9223372036854775808);
         CREATE TABLE c(a INT, b VARCHAR(9), PRIMARY KEY (a, b));
         INSERT INTO c SELECT IF(seq < 250, 1, seq), CONCAT('x', seq) FROM seq_1_to_300;
         CREATE TABLE e(id INT PRIMARY KEY);",
    );
    assert_each_once(&fixture, &[("table", "t")], 303);
    assert_each_once(&fixture, &[("table", "c")], 300);
    assert_each_once(&fixture, &[("table", "e")], 0);
}

#[test]
fn t08_reading_goes_on_after_any_batch() {
    let fixture = fixture(
        "CREATE TABLE t(a INT, b VARCHAR(9), v INT, PRIMARY KEY (a, b));
         INSERT INTO t SELECT seq DIV 100, CONCAT('x', seq), seq FROM seq_1_to_20000;",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let columns = reader.produces(&[as_type("v", "int32")]).unwrap();
    let splits = reader.splits(&SplitRequest::new(1, columns.clone())).unwrap();
    assert_eq!(splits[0].ability, SplitAbility::Seekable);
    let mut task = reader.open(&splits[0], &columns, None).unwrap();
    let first = task.next_batch().unwrap().unwrap();
    drop(task);
    let mut task = reader.open(&splits[0], &columns, Some(&first.position)).unwrap();
    let mut found = lines(&first.batch);
    while let Some(read) = task.next_batch().unwrap() {
        found.extend(lines(&read.batch));
    }
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), distinct.len()), (20_000, 20_000));
}

#[test]
fn t06_a_killed_reader_is_an_error_and_no_end() {
    let fixture = fixture(
        "CREATE TABLE t(id INT PRIMARY KEY, w VARCHAR(250));
         INSERT INTO t SELECT seq, REPEAT('x', 250) FROM seq_1_to_300000;",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let columns = reader.schema().unwrap().columns;
    let splits = reader.splits(&SplitRequest::new(1, columns.clone())).unwrap();
    let mut task = reader.open(&splits[0], &columns, None).unwrap();
    assert!(task.next_batch().unwrap().is_some());
    let kill = format!(
        "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = '{}' \
         AND id <> CONNECTION_ID()",
        fixture.database
    );
    for kill in fixture.lines(&kill) {
        fixture.run(&kill);
    }
    let error = loop {
        match task.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a killed connection looks like the end of the rows"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.kind, ErrorKind::Connection | ErrorKind::Retry), "{error}");
}

#[test]
fn queries_that_write_or_name_columns_twice_are_refused() {
    let fixture = fixture("CREATE TABLE t(id INT PRIMARY KEY); INSERT INTO t VALUES (1);");
    for query in ["DELETE FROM t", "SELECT id, id FROM t", "nonsense"] {
        let reader = fixture.reader(&[("query", query)]);
        assert!(reader.schema().is_err(), "{query}");
    }
    let several = fixture.options(&[("query", "SELECT 1; DELETE FROM t")]);
    let error = MysqlPlugin.reader(several, fixture.host()).map(drop).unwrap_err();
    assert_eq!(error.message, "`query` holds more than one statement");
    assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["1"]);
}

/// MariaDB drops the ORDER BY of a query that stands inside another one.
#[test]
fn a_query_keeps_its_order_whichever_columns_are_wanted() {
    for server in [Server::mariadb(), Server::mysql()] {
        let fixture = Fixture::new(
            &server,
            "CREATE TABLE t(seq INT PRIMARY KEY, k INT, val VARCHAR(9), x DOUBLE, d DATETIME(3));
             INSERT INTO t VALUES (1, 1, 'new', 0.5, '2024-01-02 03:04:05.678'),
               (2, 1, 'old', NULL, NULL), (3, 2, 'b', 1, '2024-01-02 00:00:00');",
        );
        let query = "SELECT seq, k, val, x, d FROM t ORDER BY k, seq DESC; -- newest first\n";
        let reader = fixture.reader(&[("query", query)]);
        let own = reader.schema().unwrap().columns;
        let val = own[2].clone();
        let chosen = |names: &[&str]| -> Vec<Column> {
            let named = |name: &&str| own.iter().find(|it| it.name == **name).unwrap().clone();
            names.iter().map(named).collect()
        };
        assert_eq!(rows(&*reader, &[val], 4), [r#""old""#, r#""new""#, r#""b""#]);
        assert_eq!(
            rows(&*reader, &chosen(&["val", "seq"]), 4),
            [r#""old"|2"#, r#""new"|1"#, r#""b"|3"#]
        );
        assert_eq!(
            rows(&*reader, &chosen(&["k", "val"]), 4),
            [r#"1|"old""#, r#"1|"new""#, r#"2|"b""#]
        );
        assert_eq!(rows(&*reader, &chosen(&["d", "k"])[1..], 4), ["1", "1", "2"]);
        assert_eq!(own_rows(&*reader)[0], r#"2|1|"old"|NULL|NULL"#);
    }
}

#[test]
fn views_and_json_are_read() {
    let fixture = fixture(
        "CREATE TABLE t(id INT PRIMARY KEY, j JSON, `made` INT AS (id * 2) VIRTUAL);
         INSERT INTO t(id, j) VALUES (1, '{\"b\": 1, \"a\" : 1.10}');
         CREATE VIEW v AS SELECT id, j FROM t;",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let schema = reader.schema().unwrap();
    assert_eq!(schema.columns[1].logical.to_string(), "json");
    assert!(schema.columns[2].generated && schema.keys[0].primary);
    let json = format!("{:?}", "{\"b\": 1, \"a\" : 1.10}");
    assert_eq!(own_rows(&*reader), [format!("1|{json}|2")]);
    let reader = fixture.reader(&[("table", "v")]);
    assert_eq!(own_rows(&*reader), [format!("1|{json}")]);
    let names: Vec<_> =
        reader.discover().unwrap().into_iter().map(|it| (it.name, it.kind)).collect();
    assert_eq!(names, [("t".into(), "table".into()), ("v".into(), "view".into())]);
}

/// Three tables with the same columns, with 300, 200 and no rows.
const SHARDS: &str = "CREATE TABLE orders_08(id INT PRIMARY KEY, s VARCHAR(9) NOT NULL);
    INSERT INTO orders_08 SELECT seq, CONCAT('a', seq) FROM seq_1_to_300;
    CREATE TABLE orders_09(s VARCHAR(9), id INT PRIMARY KEY);
    INSERT INTO orders_09 SELECT IF(seq = 7, NULL, CONCAT('b', seq)), seq FROM seq_1_to_200;
    CREATE TABLE orders_10(id INT PRIMARY KEY, s VARCHAR(9));
    CREATE TABLE `orders_[08-10]`(id INT PRIMARY KEY, s VARCHAR(9));
    INSERT INTO `orders_[08-10]` VALUES (1, 'q');";

#[test]
fn tables_of_one_shape_are_read_as_one() {
    let fixture = fixture(SHARDS);
    let mut expected = fixture.lines(
        "SELECT CONCAT('\"orders_08\"|', id, '|\"', s, '\"') FROM orders_08 UNION ALL
         SELECT CONCAT('\"orders_09\"|', id, '|', IFNULL(CONCAT('\"', s, '\"'), 'NULL'))
           FROM orders_09;",
    );
    expected.sort();
    for split_key in [None, Some(("split_key", "s"))] {
        for max in [1, 3, 8] {
            let mut pairs = vec![("table", "orders_[08-10]"), ("origin_column", "shard")];
            pairs.extend(split_key);
            let reader = fixture.reader(&pairs);
            let mut wanted = reader.schema().unwrap().columns;
            wanted.rotate_right(1);
            let splits = read_all(&*reader, &wanted, max);
            assert!(splits.len() >= 3 && splits.len() <= max.max(3) as usize, "{}", splits.len());
            let batches = splits.into_iter().flatten();
            let mut found: Vec<_> = batches.flat_map(|read| lines(&read.batch)).collect();
            found.sort();
            assert_eq!(found, expected);
        }
    }
    let quoted = fixture.reader(&[("table", "`orders_[08-10]`")]);
    assert_eq!(own_rows(&*quoted).len(), 1);
}

#[test]
fn t52_shards_that_differ_or_are_missing_are_named() {
    let fixture = fixture(&format!(
        "{SHARDS} CREATE TABLE odd(id BIGINT, s VARCHAR(9)); CREATE TABLE less(id INT);"
    ));
    let same = format!("{}.orders_08", fixture.database);
    for (tables, kind, words) in [
        (&["orders_08", "odd"][..], ErrorKind::Schema, "table `odd`: column `id` is `int64`"),
        (&["orders_[08-10]", "less"], ErrorKind::Schema, "table `less`: there is no column `s`"),
        (&["less", "orders_09"], ErrorKind::Schema, "table `orders_09`: column `s` is not in"),
        (&["orders_[08-11]"], ErrorKind::NotFound, "orders_11`"),
        (&["orders_08", &same], ErrorKind::Options, "are the same table"),
    ] {
        let mut options = fixture.options(&[]);
        options.values.insert("tables".to_owned(), tables.to_vec().into());
        let reader = MysqlPlugin.reader(options, fixture.host()).unwrap();
        let error = reader.schema().unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A global setting of the server neither cuts a result off nor hides what it changes.
#[test]
fn sessions_do_not_depend_on_the_servers_settings() {
    for server in [Server::mariadb(), Server::mysql()] {
        let fixture = Fixture::new(&server, "");
        let level = fixture.lines(
            "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')",
        );
        let level = level[0].split('\t').next().unwrap();
        let query = format!(
            "SELECT CAST(@@sql_select_limit AS CHAR) AS a, CAST(@@sql_auto_is_null AS CHAR) AS b, \
             CAST(@@sql_notes AS CHAR) AS c, @@{level} AS e"
        );
        let reader = fixture.reader(&[("query", &query)]);
        let found = own_rows(&*reader).concat();
        for value in ["18446744073709551615", "0", "1", "REPEATABLE-READ"] {
            assert!(found.contains(value), "{found} lacks {value}");
        }
    }
}

#[test]
fn columns_that_a_login_may_not_read_are_told_of() {
    for server in [Server::mariadb(), Server::mysql()] {
        let fixture = Fixture::new(&server, "CREATE TABLE t(id INT, secret INT);");
        let user = format!("some_{}", fixture.database);
        fixture.run(&format!(
            "CREATE USER {user}@'%' IDENTIFIED BY ''; GRANT SELECT (id) ON t TO {user}@'%';"
        ));
        let mut options = fixture.options(&[("table", "t")]);
        options.values.insert("user".into(), user.clone().into());
        let host = transload_plugin_api::Host::detached();
        let schema = MysqlPlugin.reader(options, host).unwrap().schema();
        fixture.run(&format!("DROP USER {user}@'%'"));
        let schema = schema.unwrap();
        assert_eq!(schema.columns.len(), 1);
        assert!(schema.warnings[0].contains("some columns"), "{:?}", schema.warnings);
        let whole = fixture.reader(&[("table", "t")]).schema().unwrap();
        assert_eq!((whole.columns.len(), whole.warnings), (2, Vec::new()));
    }
}

#[test]
fn columns_that_nobody_declared_are_left_out_and_named() {
    let mysql = "SET SESSION sql_generate_invisible_primary_key = 1; CREATE TABLE t (v VARCHAR(20)); \
                 INSERT INTO t (v) VALUES ('a'), ('b');";
    let mariadb = "CREATE TABLE t (my_row_id INT INVISIBLE AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20)); \
                   INSERT INTO t (v) VALUES ('a'), ('b');";
    for (server, sql) in [(Server::mariadb(), mariadb), (Server::mysql(), mysql)] {
        let fixture = Fixture::new(&server, sql);
        let reader = fixture.reader(&[("table", "t")]);
        let schema = reader.schema().unwrap();
        assert_eq!(schema.columns.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["v"]);
        assert!(schema.warnings[0].contains("`my_row_id`"), "{:?}", schema.warnings);
        // It still divides the table, and a lost connection resumes by it.
        assert_eq!(own_rows(&*reader).len(), 2);
        let mut options = fixture.options(&[("table", "t")]);
        options.columns = Some(vec!["my_row_id".into(), "v".into()]);
        let named = MysqlPlugin.reader(options, fixture.host()).unwrap();
        let schema = named.schema().unwrap();
        assert_eq!((schema.columns.len(), schema.warnings.len()), (2, 0));
        assert_eq!(own_rows(&*named).len(), 2);
    }
}

#[test]
fn dates_as_text_have_one_form() {
    let fixture = fixture(
        "SET sql_mode = ''; CREATE TABLE t(id INT PRIMARY KEY, d DATETIME(3), i TIMESTAMP NULL);
         INSERT INTO t VALUES (1, '2024-01-01 12:00:00', '2024-01-01 12:00:00'), (2, '0000-00-00', 0);",
    );
    let reader = fixture.reader(&[("table", "t"), ("zero_dates", "text")]);
    let found: Vec<_> = own_rows(&*reader).iter().map(|row| row.replace('"', "")).collect();
    assert_eq!(
        found,
        [
            "1|2024-01-01 12:00:00.000|2024-01-01 12:00:00Z",
            "2|0000-00-00 00:00:00.000|0000-00-00 00:00:00Z",
        ]
    );
}
