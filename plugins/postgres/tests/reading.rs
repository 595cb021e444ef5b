//! Reading from a real server: splits, snapshots, types, early ends, TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::RecordBatch;
use support::{Fixture, dirty_rows, host, read_all, server};
use transload_plugin_api::{
    Cancel, Column, ErrorKind, Host, LogicalType, Plugin, ReadBatch, Reader, Result, Secret,
    Secrets, SplitAbility, SplitRequest,
    testing::{Rows, cell},
};
use transload_plugin_postgres::PostgresPlugin;

fn batches(read: Vec<Vec<ReadBatch>>) -> Vec<RecordBatch> {
    read.into_iter().flatten().map(|read| read.batch).collect()
}

fn first_cells(read: &[Vec<ReadBatch>]) -> Vec<Vec<String>> {
    let cells = |batches: &Vec<ReadBatch>| {
        let cells = batches
            .iter()
            .flat_map(|read| (0..read.batch.num_rows()).map(|row| cell(read.batch.column(0), row)));
        cells.collect()
    };
    read.iter().map(cells).collect()
}

/// The number of splits, and how often each key was read.
fn counted(reader: &dyn Reader, max: u32) -> (usize, BTreeMap<String, usize>) {
    let splits = first_cells(&read_all(reader, max));
    let mut counts = BTreeMap::new();
    splits.iter().flatten().for_each(|key| *counts.entry(key.clone()).or_default() += 1);
    (splits.len(), counts)
}

#[test]
fn t01_null_keys_are_read_once() {
    let fixture = Fixture::new(
        "CREATE TABLE t(k int, s text); INSERT INTO t SELECT i FROM generate_series(1, 100) i;
         INSERT INTO t VALUES (NULL), (NULL), (NULL)",
    );
    for consistency in ["snapshot", "split"] {
        let options = [("table", "t"), ("split_key", "k"), ("consistency", consistency)];
        let (splits, counts) = counted(&*fixture.reader(&options), 4);
        assert_eq!((splits, counts.len(), counts["NULL"]), (4, 101, 3));
        assert!(counts.iter().all(|(key, count)| *count == 1 || key == "NULL"));
    }
}

#[test]
fn t02_t04_gaps_and_few_keys_make_no_empty_and_no_double_splits() {
    let fixture = Fixture::new(
        "CREATE TABLE t(k int8 PRIMARY KEY);
         INSERT INTO t SELECT i FROM generate_series(1, 10) i;
         CREATE TABLE gap AS SELECT i::int8 AS k FROM generate_series(1, 1000) i
           UNION ALL SELECT 1000000000000 + i FROM generate_series(1, 1000) i;
         CREATE TABLE same AS SELECT 7 AS k FROM generate_series(1, 100)",
    );
    for max in 2..=10 {
        let reader = fixture.reader(&[("table", "t"), ("split_key", "k")]);
        let splits = first_cells(&read_all(&*reader, max));
        assert!(splits.len() == max as usize && splits.iter().all(|split| !split.is_empty()));
        assert_eq!(splits.iter().map(Vec::len).sum::<usize>(), 10);
    }
    let gap = fixture.reader(&[("table", "gap"), ("split_key", "k")]);
    let sizes: Vec<_> = first_cells(&read_all(&*gap, 5)).iter().map(Vec::len).collect();
    assert!(sizes[..4].iter().all(|size| (499..=501).contains(size)), "{sizes:?}");
    let same = fixture.reader(&[("table", "same"), ("split_key", "k")]);
    let (splits, counts) = counted(&*same, 8);
    assert!(splits <= 2 && counts["7"] == 100, "{splits} splits");
}

#[test]
fn t03_texts_and_uuids_are_compared_by_the_database_alone() {
    let fixture = Fixture::new(
        "CREATE TABLE t(k text COLLATE \"und-x-icu\" PRIMARY KEY, u uuid UNIQUE, d date, x numeric);
         INSERT INTO t SELECT w || i, gen_random_uuid(), date '2024-01-01' + i, i / 7.0
           FROM unnest(ARRAY['a', 'B', 'é', 'E', '😀', 'o''x', 'Z', 'ä', ' ', '\\']) w,
             generate_series(1, 50) i",
    );
    for key in ["k", "u", "d", "x"] {
        let (splits, counts) = counted(&*fixture.reader(&[("table", "t"), ("split_key", key)]), 6);
        assert!(splits > 3, "{key}");
        assert_eq!(counts.len(), 500, "{key}");
        assert!(counts.values().all(|count| *count == 1), "{key}");
    }
}

#[test]
fn pages_divide_a_table_without_a_key() {
    let fixture = Fixture::new(
        "CREATE TABLE t AS SELECT i, repeat('x', 200) AS s FROM generate_series(1, 5000) i",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let columns = reader.schema().unwrap().columns;
    let splits = reader.splits(&SplitRequest::new(4, columns)).unwrap();
    assert!(splits[1].label.starts_with("pages "), "{}", splits[1].label);
    assert!(splits.iter().all(|split| split.ability == SplitAbility::Bounded));
    let (splits, counts) = counted(&*reader, 4);
    assert_eq!((splits, counts.len()), (4, 5000));
    assert!(counts.values().all(|count| *count == 1));
}

#[test]
fn t08_all_splits_see_one_moment() {
    let fixture = Fixture::new(
        "CREATE TABLE t AS SELECT i, repeat('x', 200) AS s FROM generate_series(1, 2000) i",
    );
    for options in [&[("table", "t")][..], &[("table", "t"), ("split_key", "i")]] {
        let before = fixture.rows("SELECT count(*) FROM t")[0].parse::<usize>().unwrap();
        let reader = fixture.reader(options);
        let columns = reader.schema().unwrap().columns;
        let splits = reader.splits(&SplitRequest::new(3, columns.clone())).unwrap();
        fixture.run(
            "INSERT INTO t SELECT -i, '' FROM generate_series(1, 500) i;
                     UPDATE t SET s = s || '!' WHERE i > 1000; DELETE FROM t WHERE i = 5",
        );
        let mut rows = 0;
        for split in &splits {
            let mut task = reader.open(split, &columns, None).unwrap();
            while let Some(read) = task.next_batch().unwrap() {
                rows += read.batch.num_rows();
            }
        }
        assert_eq!(rows, before);
        drop(reader);
        // The server ends the session that held the snapshot a moment later.
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'transload' \
                        AND datname = current_database()";
        fixture.await_value(sessions, "0");
        let later = fixture.reader(options);
        let error = later.open(&splits[0], &columns, None).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Retry, "{error:?}");
    }
}

#[test]
fn t06_an_early_end_is_an_error_and_no_end_of_data() {
    let fixture = Fixture::new(
        "CREATE TABLE t AS SELECT i, repeat('x', 1000) AS s FROM generate_series(1, 60000) i",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let columns = reader.schema().unwrap().columns;
    let splits = reader.splits(&SplitRequest::new(1, columns.clone())).unwrap();
    let mut task = reader.open(&splits[0], &columns, None).unwrap();
    assert!(task.next_batch().unwrap().is_some());
    fixture.rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE query LIKE 'COPY (SELECT%' AND datname = current_database()",
    );
    let error = loop {
        match task.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the rows end as if all had been read"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Connection, "{error:?}");
}

#[test]
fn values_are_what_the_server_says_they_are() {
    let fixture = Fixture::new(
        "SET TimeZone = 'Asia/Tokyo';
         CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric(10,2);
         CREATE TABLE t AS SELECT timestamp '2024-03-31 02:30:00.123456' AS a,
           timestamptz '2024-03-31 02:30:00+00' AS b, date '0044-03-15 BC' AS c,
           interval '1 mon -2 days 3.5 s' AS d, 'sad'::mood AS e, 12.5::price AS f,
           inet '10.0.0.1/8' AS g, '{1,NULL,3}'::int[] AS h, 1.10::numeric AS i,
           'NaN'::numeric AS j, '{\"b\": 1}'::jsonb AS k, bit '0101' AS l, 'x'::char(3) AS m,
           '12:00+09'::timetz AS n, 0.1::float8 + 0.2::float8 AS o, '\\x00ff'::bytea AS p,
           int4range(1, 5) AS q, 5::money AS r, '{10.0.0.1}'::inet[] AS s",
    );
    // The default time zone of the server's sessions must not matter either.
    fixture.rows("SELECT set_config('TimeZone', 'America/New_York', false)");
    let reader = fixture.reader(&[("table", "t")]);
    let read = batches(read_all(&*reader, 1));
    let row = Rows::of(&read).row(0).to_vec();
    assert_eq!(
        row,
        [
            "2024-03-31 02:30:00.123456",
            "2024-03-31 02:30:00Z",
            "-0043-03-15",
            "1 months -2 days 3500000000 ns",
            "\"sad\"",
            "12.50",
            "\"10.0.0.1/8\"",
            "[1, NULL, 3]",
            "\"1.10\"",
            "\"NaN\"",
            "\"{\\\"b\\\": 1}\"",
            "\"0101\"",
            "\"x\"",
            "\"12:00:00+09\"",
            "0.30000000000000004",
            "0x00FF",
            "\"[1,5)\"",
            "\"$5.00\"",
            "\"{10.0.0.1}\"",
        ]
    );
    let notes = reader.schema().unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("`g` is `inet` and read as text")));
}

#[test]
fn t27_moments_beyond_the_calendar_are_dirty() {
    let fixture = Fixture::new(
        "CREATE TABLE t(a timestamp, b timestamptz, c date);
         INSERT INTO t VALUES ('infinity'), ('294276-12-31 23:59:59'), ('4713-01-01 BC');
         INSERT INTO t(b) VALUES ('-infinity'); INSERT INTO t(c) VALUES ('5874897-12-31')",
    );
    let read = read_all(&*fixture.reader(&[("table", "t")]), 1);
    let faults: Vec<_> =
        dirty_rows(&read).into_iter().map(|row| (row.place.unwrap(), row.code)).collect();
    let fault = |row| (format!("t, row {row}"), "range".to_owned());
    assert_eq!(faults, [fault(1), fault(2), fault(4)]);
}

/// All values of a row come with it, and all that is wrong, so that it can be found and sent again.
#[test]
fn a_dirty_row_is_whole() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id int8 PRIMARY KEY, d date, n numeric(9,2), b bytea, s text, i interval);
         INSERT INTO t VALUES (1, '2026-01-01', 1, NULL, 'a', NULL),
           (863, 'infinity', 'NaN', '\\x00ff', 'b\"', '1 month 2 days'), (900, NULL, 2, NULL, 'c', NULL)",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let dirty = dirty_rows(&read_all(&*reader, 1));
    let [row] = &dirty[..] else { panic!("{dirty:?}") };
    let columns: Vec<_> = row.errors().map(|it| (it.column.unwrap(), it.value.unwrap())).collect();
    let expected = [("d", "infinity"), ("n", "NaN")];
    assert_eq!(columns, expected.map(|(column, value)| (column.to_owned(), value.to_owned())));
    let values: serde_json::Value = serde_json::from_str(row.values.as_ref().unwrap()).unwrap();
    let expected = serde_json::json!({
        "id": 863, "d": "infinity", "n": "NaN", "b": "00ff", "s": "b\"",
        "i": {"months": 1, "days": 2, "nanoseconds": 0},
    });
    assert_eq!((&values, row.number), (&expected, Some(2)));
}

#[test]
fn every_batch_names_the_places_of_its_rows() {
    let fixture = Fixture::new("CREATE TABLE t AS SELECT i FROM generate_series(1, 20000) i");
    let reader = fixture.reader(&[("table", "t")]);
    let place = |read: &ReadBatch, row| read.origin.as_ref().unwrap().place(row);
    let whole = read_all(&*reader, 1).remove(0);
    assert_eq!(
        (place(&whole[0], 0), place(&whole[1], 5)),
        ("t, row 1".into(), "t, row 8198".into())
    );
    let parts = read_all(&*reader, 2);
    let pages = fixture.rows("SELECT (pg_relation_size('t') / 8192 + 1) / 2")[0].clone();
    assert_eq!(place(&parts[0][0], 0), format!("t, pages 0..{pages}, row 1"));
    assert_eq!(place(&parts[1][0], 2), format!("t, pages {pages}.., row 3"));
}

#[test]
fn t39_t42_columns_are_found_by_their_exact_names() {
    let fixture = Fixture::new(
        "CREATE TABLE \"a.b\"(\"from\" int, \"From\" int, \"x\"\"y\" int);
         INSERT INTO \"a.b\" VALUES (1, 2, 3)",
    );
    let reader = fixture.reader(&[("table", "\"a.b\"")]);
    let mut columns = reader.schema().unwrap().columns;
    columns.reverse();
    let made = reader.produces(&columns).unwrap();
    let splits = reader.splits(&SplitRequest::new(1, made.clone())).unwrap();
    let read = reader.open(&splits[0], &made, None).unwrap().next_batch().unwrap().unwrap();
    assert_eq!(Rows::of(&[read.batch]).row(0), ["3", "2", "1"]);
    let error = fixture.reader(&[("table", "a.b")]).schema().unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[test]
fn queries_views_and_conditions_are_read_and_writes_refused() {
    let fixture = Fixture::new(
        "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i; CREATE VIEW v AS SELECT * FROM t",
    );
    let rows = |options: &[(&str, &str)]| {
        read_all(&*fixture.reader(options), 4).iter().flatten().map(|it| it.batch.num_rows()).sum()
    };
    let found: [usize; 5] = [
        rows(&[("table", "v")]),
        rows(&[("table", "v"), ("split_key", "i")]),
        rows(&[("table", "t"), ("where", "i > 90 -- the last")]),
        rows(&[("query", "SELECT i FROM t WHERE i % 2 = 0 ORDER BY i;")]),
        rows(&[("query", "SELECT i, i * 2 AS j FROM t -- all"), ("split_key", "j")]),
    ];
    assert_eq!(found, [100, 100, 10, 50, 100]);
    let several = fixture.options(&[("query", "SELECT 1; DROP TABLE t")]);
    let error = PostgresPlugin.reader(several, host()).map(drop).unwrap_err();
    assert_eq!(error.message, "`query` holds more than one statement");
    for query in ["DELETE FROM t RETURNING i", "SELECT 1 AS a, 2 AS a"] {
        assert!(fixture.reader(&[("query", query)]).schema().is_err(), "{query}");
    }
    let error = fixture.reader(&[("query", "SELECT i FROM nothing")]).schema().unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

/// Run once a split, such a query would return other rows each time.
#[test]
fn a_query_is_divided_only_if_the_job_says_that_it_is_stable() {
    let fixture = Fixture::new(
        "CREATE TABLE t AS SELECT i AS k, i % 3 AS g FROM generate_series(1, 3000) i ORDER BY random()",
    );
    for (query, rows) in [
        ("SELECT k FROM t LIMIT 1000", 1000),
        ("SELECT k FROM t OFFSET 500;", 2500),
        ("SELECT row_number() OVER (ORDER BY g, random()) AS k FROM t", 3000),
        ("SELECT (random() * 1000000)::int AS k FROM t -- any\n", 3000),
    ] {
        let options = [("query", query), ("split_key", "k")];
        let reader = fixture.reader(&options);
        let (splits, counts) = counted(&*reader, 4);
        assert_eq!((splits, counts.values().sum::<usize>()), (1, rows), "{query}");
        let note = reader.schema().unwrap().notes.pop().unwrap();
        assert!(note.starts_with("`query` is read as one split, because"), "{note}");
    }
    let mut options = fixture.options(&[("query", "SELECT k FROM t"), ("split_key", "k")]);
    options.values.insert("query_is_stable".to_owned(), true.into());
    let reader = PostgresPlugin.reader(options, host()).unwrap();
    let (splits, counts) = counted(&*reader, 4);
    assert_eq!((splits, counts.len()), (4, 3000));
    let notes = reader.schema().unwrap().notes;
    assert!(!notes.iter().any(|note| note.contains("read as one split")), "{notes:?}");
}

#[test]
fn a_statement_that_the_server_refuses_is_no_lost_connection() {
    let fixture = Fixture::new("CREATE TABLE t(i int)");
    let reader = fixture.reader(&[("table", "t"), ("where", "1 / 0 = i")]);
    let columns = reader.schema().unwrap().columns;
    let request = SplitRequest::new(1, columns.clone());
    let splits = reader.splits(&request).unwrap();
    let error = reader.open(&splits[0], &columns, None).err().unwrap();
    assert_eq!((error.kind, &*error.code), (ErrorKind::Data, "PG-22012"), "{error:?}");
}

#[test]
fn infinity_is_read_as_the_job_says() {
    let fixture = Fixture::new(
        "CREATE TABLE t(d date NOT NULL, s timestamp(3), z timestamptz);
         INSERT INTO t VALUES ('infinity', '-infinity', 'infinity'),
             ('2024-01-02', '2024-01-02 03:04:05.678', '2024-01-02 03:04:05+00')",
    );
    let last = ["9999-12-31", "0001-01-01 00:00:00", "9999-12-31 23:59:59Z"];
    let usual = ["2024-01-02", "2024-01-02 03:04:05.678", "2024-01-02 03:04:05Z"];
    for (word, first) in [("null", Some(["NULL"; 3])), ("max", Some(last)), ("dirty", None)] {
        for source in [("table", "t"), ("query", "SELECT * FROM t")] {
            let read = read_all(&*fixture.reader(&[source, ("infinity", word)]), 1);
            assert_eq!(dirty_rows(&read).len(), usize::from(first.is_none()), "{word}");
            let read = batches(read);
            let rows = Rows::of(&read);
            if let Some(first) = first {
                assert_eq!(rows.row(0), first, "{word}");
            }
            assert_eq!(rows.row(usize::from(first.is_some())), usual, "{word}");
        }
    }
}

#[test]
fn blanks_that_fill_a_char_up_are_no_text() {
    let fixture = Fixture::new(
        "CREATE DOMAIN code AS char(4);
         CREATE TABLE t(a char(5), b char(3)[], c code, d \"char\", e varchar(5));
         INSERT INTO t VALUES ('ab', '{x,yz}', ' k', 'q', 'v ')",
    );
    let expected = ["\"ab\"", "[\"x\", \"yz\"]", "\" k\"", "\"q\"", "\"v \""];
    for source in [("table", "t"), ("query", "SELECT * FROM t")] {
        let read = read_all(&*fixture.reader(&[source]), 1);
        let cells = Rows::of(&batches(read)).row(0).to_vec();
        assert_eq!(cells, expected, "{source:?}");
    }
}

#[test]
fn keys_tell_which_cannot_decide() {
    let fixture = Fixture::new(
        "CREATE TABLE t(a int PRIMARY KEY, b int UNIQUE DEFERRABLE, c int GENERATED ALWAYS AS (a) STORED,
           d int DEFAULT 5, e int GENERATED BY DEFAULT AS IDENTITY);
         CREATE UNIQUE INDEX part ON t(d) WHERE d > 0",
    );
    let schema = fixture.reader(&[("table", "t")]).schema().unwrap();
    let keys: Vec<_> =
        schema.keys.iter().map(|key| (key.columns.join(","), key.primary, key.unusable)).collect();
    let key = |name: &str, primary, unusable| (name.to_owned(), primary, unusable);
    assert_eq!(keys, [key("a", true, false), key("d", false, true), key("b", false, true)]);
    let facts: Vec<_> =
        schema.columns.iter().map(|it| (it.nullable, it.generated, it.has_default)).collect();
    assert_eq!(
        facts,
        [
            (false, false, false),
            (true, false, false),
            (true, true, false),
            (true, false, true),
            (false, false, true)
        ]
    );
}

/// The certificate contains the user's name, and there is no password.
#[test]
fn a_client_certificate_logs_in() {
    let fixture = Fixture::new("CREATE TABLE t AS SELECT 1 AS i; GRANT SELECT ON t TO PUBLIC");
    fixture.run(
        "DO $$ BEGIN CREATE ROLE transload_cert LOGIN; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let sql = format!("SELECT pg_read_file(current_setting('data_directory') || '/../{name}')");
        let path = folder.path().join(name);
        std::fs::write(&path, &fixture.rows(&sql)[0]).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (authority, certificate, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
    let connect = |pairs: &[(&str, &str)]| {
        let mut options = fixture.options(&[("table", "t")]);
        options.values.insert("user".to_owned(), "transload_cert".into());
        for (key, value) in pairs {
            options.values.insert((*key).to_owned(), (*value).into());
        }
        let nobody = Host::new(Arc::new(NoSecrets), Cancel::new());
        PostgresPlugin.reader(options, nobody).unwrap().schema().map(drop)
    };
    let verified = [("tls", "verify-ca"), ("ca_file", authority.as_str())];
    let client = [("client_certificate", certificate.as_str()), ("client_key", key.as_str())];
    connect(&[verified, client].concat()).unwrap();
    for refused in [&verified[..], &[("tls", "disable")]] {
        assert_eq!(connect(refused).unwrap_err().kind, ErrorKind::Connection, "{refused:?}");
    }
    // An authority that did not sign the server's certificate.
    let other = [("tls", "verify-ca"), ("ca_file", certificate.as_str())];
    let error = connect(&[other, client].concat()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Connection, "{error:?}");
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn secret(&self, _key: &str) -> Result<Option<Secret>> {
        Ok(None)
    }
}

/// The test server's certificate is signed by its own authority, for `localhost`.
#[test]
fn tls_is_verified_as_asked_and_never_left_out() {
    let fixture = Fixture::new("CREATE TABLE t(i int)");
    if fixture.rows("SHOW ssl") == ["off"] {
        panic!("the test server has no TLS: use tests/servers/postgres");
    }
    let authority =
        fixture.rows("SELECT pg_read_file(current_setting('data_directory') || '/../ca.crt')");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, &authority[0]).unwrap();
    let file = file.to_str().unwrap();
    let connect = |pairs: &[(&str, &str)]| {
        let mut options = fixture.options(&[("table", "t")]);
        for (key, value) in pairs {
            options.values.insert((*key).to_owned(), (*value).into());
        }
        PostgresPlugin.reader(options, host()).unwrap().schema().map(drop)
    };
    let outcomes = [
        connect(&[("tls", "insecure-require")]),
        connect(&[("tls", "verify-ca"), ("ca_file", file)]),
        connect(&[("tls", "verify-full"), ("ca_file", file), ("host", "localhost")]),
    ];
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for wrong in [
        &[("tls", "verify-full"), ("ca_file", file), ("host", "127.0.0.1")][..],
        &[("tls", "verify-ca")],
        &[("tls", "verify-full"), ("host", "localhost")],
    ] {
        let error = connect(wrong).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Connection | ErrorKind::Options), "{error:?}");
    }
    assert_eq!(server().get_hosts().len(), 1);
}

/// Three tables with the same columns, with 3000, 2000 and no rows, in two schemas.
const SHARDS: &str = "CREATE TABLE orders_0(id int8 PRIMARY KEY, s text NOT NULL);
    INSERT INTO orders_0 SELECT i, repeat('a', 100) FROM generate_series(1, 3000) i;
    CREATE TABLE orders_1(s text, id int8 PRIMARY KEY);
    INSERT INTO orders_1 SELECT nullif(repeat('b', i % 7), ''), i FROM generate_series(1, 2000) i;
    CREATE SCHEMA shop; CREATE TABLE shop.orders(id int8 PRIMARY KEY, s text);
    CREATE TABLE \"orders_[0-1]\"(id int8, s text); INSERT INTO \"orders_[0-1]\" VALUES (1, 'q');
    ANALYZE";

fn sharded(fixture: &Fixture, tables: &[&str], pairs: &[(&str, &str)]) -> Box<dyn Reader> {
    let mut options = fixture.options(pairs);
    options.values.insert("tables".to_owned(), tables.to_vec().into());
    PostgresPlugin.reader(options, host()).unwrap()
}

#[test]
fn tables_of_one_shape_are_read_as_one() {
    let fixture = Fixture::new(SHARDS);
    let tables = ["orders_[0-1]", "shop.orders"];
    for pairs in [
        &[("origin_column", "shard")][..],
        &[("origin_column", "shard"), ("consistency", "split")],
        &[("origin_column", "shard"), ("split_key", "id"), ("where", "id > 0 -- all")],
    ] {
        for max in [1, 3, 8] {
            let reader = sharded(&fixture, &tables, pairs);
            let splits = read_all(&*reader, max);
            assert!(splits.len() >= 3 && splits.len() <= max.max(3) as usize);
            let mut rows = Vec::new();
            for batch in batches(splits) {
                let cells = |row| [2, 0, 1].map(|at| cell(batch.column(at), row)).join("|");
                rows.extend((0..batch.num_rows()).map(cells));
            }
            rows.sort();
            let mut expected = fixture.rows(
                "SELECT '\"orders_0\"', id, '\"' || s || '\"' FROM orders_0 UNION ALL \
                 SELECT '\"orders_1\"', id, coalesce('\"' || s || '\"', 'NULL') FROM orders_1",
            );
            expected.sort();
            assert_eq!(rows.len(), 5000);
            assert!(rows == expected, "{} {}", rows[0], expected[0]);
        }
    }
    let quoted = fixture.reader(&[("table", "\"orders_[0-1]\"")]);
    assert_eq!(counted(&*quoted, 4).1.len(), 1);
}

#[test]
fn t08_all_shards_see_one_moment() {
    let fixture = Fixture::new(SHARDS);
    let reader = sharded(&fixture, &["orders_[0-1]", "shop.orders"], &[]);
    let columns = reader.produces(&reader.schema().unwrap().columns).unwrap();
    // One split per table, and all see the same state.
    let request = SplitRequest::new(1, columns.clone());
    let splits = reader.splits(&request).unwrap();
    fixture.run("INSERT INTO shop.orders SELECT * FROM orders_0; DELETE FROM orders_0");
    let count = |split| {
        let mut task = reader.open(split, &columns, None).unwrap();
        let batches = std::iter::from_fn(|| task.next_batch().unwrap());
        batches.map(|read| read.batch.num_rows()).sum::<usize>()
    };
    assert_eq!(splits.iter().map(count).collect::<Vec<_>>(), [3000, 2000, 0]);
}

#[test]
fn t52_shards_that_differ_or_are_missing_are_named() {
    let fixture = Fixture::new(&format!(
        "{SHARDS}; CREATE TABLE odd(id int4, s text); CREATE TABLE less(id int8)"
    ));
    for (tables, kind, words) in [
        (&["orders_0", "odd"][..], ErrorKind::Schema, "table `odd`: column `id` is `int32`"),
        (&["orders_[0-1]", "less"], ErrorKind::Schema, "table `less`: there is no column `s`"),
        (&["less", "orders_1"], ErrorKind::Schema, "table `orders_1`: column `s` is not in"),
        (&["orders_[0-2]"], ErrorKind::NotFound, "no table `orders_2`"),
        (&["orders_0", "public.orders_0"], ErrorKind::Options, "are the same table"),
    ] {
        let error = sharded(&fixture, tables, &[]).schema().unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A database of this encoding holds any bytes.
#[test]
fn texts_of_an_sql_ascii_database_that_are_not_utf8_make_their_rows_dirty() {
    let fixture = Fixture::created(
        "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        "CREATE TABLE t(id int PRIMARY KEY, s text); \
         INSERT INTO t VALUES (1, 'a'), (2, E'A\\xC3'), (3, E'\\xC3\\xA4'), (4, E'\\xFF')",
    );
    let read = read_all(&*fixture.reader(&[("table", "t")]), 1);
    let dirty = dirty_rows(&read);
    let places: Vec<_> = dirty.iter().map(|row| row.place.clone().unwrap()).collect();
    assert_eq!(places, ["t, row 2", "t, row 4"]);
    assert_eq!((dirty[0].column.as_deref(), dirty[0].code.as_str()), (Some("s"), "utf8"));
    assert_eq!(dirty[0].reason, "expected UTF-8 text, found `A\u{fffd}`");
    assert_eq!(read[0].iter().map(|read| read.batch.num_rows()).sum::<usize>(), 2);
}

/// What is not read says what was expected, what was found, and which line of the job reads it.
#[test]
fn refusals_say_what_was_found() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id int PRIMARY KEY, n numeric(5,2), d date, t time, l int[]); \
         INSERT INTO t(id, n) VALUES (1, 'NaN'); INSERT INTO t(id, d) VALUES (2, '-infinity'); \
         INSERT INTO t(id, t) VALUES (3, '24:00'); INSERT INTO t(id, l) VALUES (4, '{{1}}')",
    );
    let reader = fixture.reader(&[("table", "t")]);
    let reasons: Vec<_> =
        dirty_rows(&read_all(&*reader, 1)).into_iter().map(|row| row.reason).collect();
    assert_eq!(
        reasons,
        [
            "expected decimal(5,2), found `NaN`: `schema = { n = \"numeric\" }` reads any number",
            "expected date, found `-infinity`: `infinity = \"null\"` and `\"max\"` read another \
             value",
            "expected time, found `24:00:00`: the day ends before 24:00:00",
            "expected list<int32>: an array of one dimension, counted from 1",
        ]
    );
    let wanted = Column::new("n", LogicalType::Numeric, true);
    let produced = reader.produces(&[wanted]).unwrap();
    assert_eq!(produced[0].logical, LogicalType::Numeric, "what the first of them says works");
}
