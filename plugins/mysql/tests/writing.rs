//! Writing to a real MariaDB, checked with the server's own client.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, types::TimestampMicrosecondType};
use support::{Fixture, Server, integers, plan, texts, write_all};
use transload_plugin_api::{
    Column, ErrorKind, Guarantee, LoadMethod, LogicalType, Position, TaskContext, WriteMode,
    WritePlan, WriteTask, schema_of,
};

fn fixture(sql: &str) -> Fixture {
    Fixture::new(&Server::mariadb(), sql)
}

fn pairs(mode: WriteMode, key: &[&str]) -> WritePlan {
    plan(mode, &[("id", "int64"), ("s", "text")], key)
}

const TABLE: &str = "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5));";

/// Row indexes and codes of a batch's dirty rows.
fn faults(written: &transload_plugin_api::Written) -> Vec<(u64, &str)> {
    written.dirty.iter().map(|dirty| (dirty.row, dirty.code.as_str())).collect()
}

/// Where the job allows no dirty row, a batch of rows that are all there already is not searched to
/// its end; without a limit it is.
#[test]
fn t14_the_search_for_dirty_rows_ends_beyond_the_limit() {
    const ROWS: i64 = 2_000;
    for load in [LoadMethod::Insert, LoadMethod::Auto] {
        for (limit, dirty) in [(Some(0), 16), (Some(100), 116), (None, ROWS as usize)] {
            let fixture = fixture(TABLE);
            fixture.run("INSERT INTO t SELECT seq, 'old' FROM seq_1_to_2000");
            let plan = pairs(WriteMode::Insert, &[]);
            let plan = WritePlan { load, max_dirty: limit, ..plan };
            let batch = vec![integers((1..=ROWS).map(Some)), texts((1..=ROWS).map(|_| "new"))];
            let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
            let first: Vec<_> = written.dirty.iter().take(3).map(|row| row.row).collect();
            assert_eq!((written.dirty.len(), &first[..]), (dirty, &[0, 1, 2][..]), "{limit:?}");
            assert_eq!((written.inserted, written.skipped), (0, ROWS as u64 - dirty as u64));
        }
    }
}

#[test]
fn t12_the_very_rows_are_dirty_by_either_way() {
    for load in [LoadMethod::Insert, LoadMethod::Copy, LoadMethod::Auto] {
        let fixture = fixture(TABLE);
        fixture.run("INSERT INTO t VALUES (500, 'old')");
        let ids = (0..1000).map(|id| match id {
            17 => Some(16),
            400 => None,
            id => Some(id),
        });
        let words: Vec<_> = (0..1000).map(|id| if id == 800 { "too long" } else { "ok" }).collect();
        let plan = WritePlan { load, ..pairs(WriteMode::Insert, &[]) };
        let batch = vec![integers(ids), texts(words)];
        let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
        let expected = [(17, "unique"), (400, "null"), (500, "unique"), (800, "length")];
        assert_eq!(faults(&written), expected, "{load:?}");
        assert_eq!(written.inserted, 996);
        assert_eq!(fixture.lines("SELECT COUNT(*), SUM(s = 'ok') FROM t"), ["997\t996"]);
    }
}

#[test]
fn counts_are_exact_in_every_mode() {
    for (mode, inserted, updated, skipped, expected) in [
        (WriteMode::Ignore, 2, 0, 4, "1:a 2:b 3:c 4:d"),
        (WriteMode::Upsert, 2, 4, 0, "1:a 2:B 3:C 4:d"),
        (WriteMode::Replace, 2, 4, 0, "1:a 2:B 3:C 4:d"),
    ] {
        let fixture = fixture(TABLE);
        fixture.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
        // 1 unchanged, 2 changed, 3 new and twice more, 4 new.
        let batch = vec![integers([1, 2, 3, 3, 3, 4]), texts(["a", "B", "c", "c", "C", "d"])];
        let plan = pairs(mode, &["id"]);
        let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
        let found = (written.inserted, written.updated, written.skipped);
        assert_eq!(found, (inserted, updated, skipped), "{mode:?}");
        let rows = fixture
            .lines("SELECT GROUP_CONCAT(CONCAT(id, ':', s) ORDER BY id SEPARATOR ' ') FROM t");
        assert_eq!(rows, [expected], "{mode:?}");
    }
}

#[test]
fn single_rows_are_counted_exactly_too() {
    for mode in [WriteMode::Ignore, WriteMode::Upsert, WriteMode::Replace] {
        let fixture = fixture(TABLE);
        fixture.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
        let batches = [(1, "a"), (2, "x"), (3, "c")]
            .map(|(id, text)| vec![integers([id]), texts([text])])
            .to_vec();
        let written = write_all(&*fixture.writer("t"), &pairs(mode, &["id"]), batches).unwrap();
        let inserted: Vec<_> = written.iter().map(|written| written.inserted).collect();
        assert_eq!(inserted, [0, 0, 1], "{mode:?}");
    }
}

#[test]
fn t32_an_ignored_conflict_lets_no_bad_value_in() {
    let fixture =
        fixture("CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5), n INT CHECK (n < 5));");
    let plan = plan(WriteMode::Ignore, &[("id", "int64"), ("s", "text"), ("n", "int32")], &["id"]);
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 9, 2]));
    let batch = vec![integers([1, 2, 3]), texts(["abcdef", "b", "abcde"]), numbers];
    let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
    assert_eq!(faults(&written), [(0, "length"), (1, "check")]);
    assert_eq!(fixture.lines("SELECT * FROM t"), ["3\tabcde\t2"]);
}

#[test]
fn t36_a_number_is_no_label() {
    let fixture = fixture("CREATE TABLE t(id BIGINT PRIMARY KEY, s ENUM('a','10'));");
    let batch = vec![integers([1, 2, 3, 4]), texts(["a", "1", "10", ""])];
    let plan = pairs(WriteMode::Insert, &[]);
    let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
    assert_eq!(faults(&written), [(1, "range"), (3, "range")]);
    assert_eq!(fixture.lines("SELECT * FROM t"), ["1\ta", "3\t10"]);
}

#[test]
fn t29_zero_stays_zero_in_a_counted_column() {
    let fixture = fixture("CREATE TABLE t(id BIGINT AUTO_INCREMENT PRIMARY KEY, s VARCHAR(5));");
    let batch = vec![integers([0, 7]), texts(["a", "b"])];
    write_all(&*fixture.writer("t"), &pairs(WriteMode::Insert, &[]), vec![batch]).unwrap();
    assert_eq!(fixture.lines("SELECT id FROM t ORDER BY id"), ["0", "7"]);
    // The counter is beyond the explicit ids.
    fixture.run("INSERT INTO t(s) VALUES ('c')");
    assert_eq!(fixture.lines("SELECT id FROM t WHERE s = 'c'"), ["8"]);
}

#[test]
fn t33_text_of_other_character_sets_is_converted_or_refused() {
    let fixture =
        fixture("CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5) CHARACTER SET latin1);");
    for load in [LoadMethod::Insert, LoadMethod::Copy] {
        fixture.run("DELETE FROM t");
        let batch = vec![integers([1, 2, 3]), texts(["é", "😀", "中"])];
        let plan = WritePlan { load, ..pairs(WriteMode::Insert, &[]) };
        let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
        assert_eq!(faults(&written), [(1, "parse"), (2, "parse")]);
        assert_eq!(fixture.lines("SELECT id, s, HEX(s) FROM t"), ["1\té\tE9"]);
    }
}

#[test]
fn a_bulk_load_that_the_server_doubts_comes_again_row_by_row() {
    let fixture = fixture(TABLE);
    fixture.run("INSERT INTO t VALUES (2, 'old')");
    let mut plan = pairs(WriteMode::Insert, &[]);
    let writer = fixture.writer("t");
    plan.columns = writer.draft(&plan).unwrap().columns;
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    let batch = |from: i64| {
        let arrays = vec![integers([from, from + 1]), texts(["a\0\\\t\n", "\\N"])];
        arrow_array::RecordBatch::try_new(schema_of(&plan.columns), arrays).unwrap()
    };
    let write = |task: &mut dyn WriteTask| {
        task.begin_chunk(0)?;
        let written = [1, 3].map(|from| task.write(&batch(from)).unwrap());
        task.commit_chunk(&Position::default(), &Default::default()).map(|_| written)
    };
    let error = write(&mut *task).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Retry, "MYSQL-BULK"));
    assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["1"]);
    task.rollback_chunk().unwrap();
    let written = write(&mut *task).unwrap();
    assert_eq!(written.each_ref().map(faults), [vec![(1, "unique")], vec![]]);
    assert_eq!(
        fixture.lines("SELECT id, HEX(s) FROM t ORDER BY id"),
        ["1\t61005C090A", "2\t6F6C64", "3\t61005C090A", "4\t5C4E"]
    );
}

#[test]
fn t42_names_are_quoted() {
    let fixture = fixture("CREATE TABLE `a.b``c`(`select` BIGINT PRIMARY KEY, `x``y` VARCHAR(5));");
    let plan = plan(WriteMode::Upsert, &[("select", "int64"), ("x`y", "text")], &["select"]);
    let batch = vec![integers([1, 1]), texts(["a", "b"])];
    let writer = fixture.writer("\"a.b`c\"");
    write_all(&*writer, &plan, vec![batch]).unwrap();
    assert_eq!(fixture.lines("SELECT * FROM `a.b``c`"), ["1\tb"]);
}

#[test]
fn t44_a_key_that_does_not_fit_is_refused_before_anything() {
    let fixture = fixture("CREATE TABLE t(id BIGINT, s VARCHAR(5), KEY (id));");
    for mode in [WriteMode::Ignore, WriteMode::Upsert, WriteMode::Replace] {
        let error = fixture.writer("t").draft(&pairs(mode, &["id"])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema, "{mode:?}");
    }
}

#[test]
fn t49_columns_without_a_value_are_named() {
    let fixture = fixture(
        "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5), must INT NOT NULL,
         made INT AS (id + 1) VIRTUAL, had INT NOT NULL DEFAULT 3);",
    );
    let error = fixture.writer("t").draft(&pairs(WriteMode::Insert, &[])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Schema);
    assert!(error.message.contains("`must`") && !error.message.contains("had"), "{error}");
    let made =
        plan(WriteMode::Insert, &[("id", "int64"), ("made", "int32"), ("must", "int32")], &[]);
    let error = fixture.writer("t").draft(&made).unwrap_err();
    assert!(error.message.contains("generated"), "{error}");
}

#[test]
fn t50_several_unique_keys_and_engines_without_transactions_are_warned_of() {
    let fixture = fixture(
        "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5) UNIQUE);
         CREATE TABLE m(id BIGINT PRIMARY KEY, s VARCHAR(5)) ENGINE = MyISAM;",
    );
    for mode in [WriteMode::Ignore, WriteMode::Upsert, WriteMode::Replace] {
        let draft = fixture.writer("t").draft(&pairs(mode, &["id"])).unwrap();
        assert!(draft.warnings.iter().any(|text| text.contains("2 unique keys")), "{draft:?}");
    }
    let plan = pairs(WriteMode::Insert, &[]);
    let draft = fixture.writer("m").draft(&plan).unwrap();
    assert!(draft.warnings.iter().any(|text| text.contains("MyISAM")), "{draft:?}");
    assert_eq!(draft.guarantee, Guarantee::AtLeastOnce);
    let batch = vec![integers([1, 2, 1, 3]), texts(["a", "b", "c", "d"])];
    let written = write_all(&*fixture.writer("m"), &plan, vec![batch]).unwrap().remove(0);
    assert_eq!((faults(&written), written.inserted), (vec![(2, "unique")], 3));
}

#[test]
fn t37_types_that_do_not_travel_are_refused_by_name() {
    let fixture = fixture("CREATE TABLE t(id BIGINT PRIMARY KEY, g POINT);");
    let plan = plan(WriteMode::Insert, &[("id", "int64"), ("g", "binary")], &[]);
    let error = fixture.writer("t").draft(&plan).unwrap_err();
    assert!(error.kind == ErrorKind::Unsupported && error.message.contains("`g`"), "{error}");
}

#[test]
fn overwriting_swaps_tables_or_is_refused() {
    let fixture = fixture(
        "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5), KEY by_s (s));
         INSERT INTO t VALUES (1, 'old');
         CREATE TABLE c(id BIGINT PRIMARY KEY, s VARCHAR(5), FOREIGN KEY (id) REFERENCES t(id));",
    );
    let plan = pairs(WriteMode::Overwrite, &[]);
    for table in ["t", "c"] {
        let error = fixture.writer(table).draft(&plan).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{table}");
    }
    fixture.run("DROP TABLE c");
    let batch = vec![integers([5, 6, 5]), texts(["a", "b", "c"])];
    let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
    assert_eq!((written.inserted, faults(&written)), (2, vec![(2, "unique")]));
    assert_eq!(fixture.lines("SELECT * FROM t ORDER BY id"), ["5\ta", "6\tb"]);
    assert_eq!(fixture.lines("SHOW TABLES"), ["t"]);
    assert!(fixture.ask("SHOW CREATE TABLE t").contains("KEY `by_s`"));
}

#[test]
fn t46_statements_run_once_and_a_table_is_made() {
    let fixture = fixture("CREATE TABLE log(x INT AUTO_INCREMENT PRIMARY KEY, w VARCHAR(9));");
    let mut plan = plan(
        WriteMode::Upsert,
        &[("id", "int64"), ("s", "text"), ("at", "timestamptz"), ("d", "decimal(65,30)")],
        &["id"],
    );
    plan.create_table = true;
    plan.before = vec!["INSERT INTO log(w) VALUES ('before')".into()];
    plan.after = vec!["INSERT INTO log(w) SELECT CONCAT('after', COUNT(*)) FROM new".into()];
    let writer = fixture.writer("new");
    let draft = writer.draft(&plan).unwrap();
    assert!(draft.statements[0].text.starts_with("CREATE TABLE"), "{draft:?}");
    writer.prepare(&plan).unwrap();
    writer.prepare(&plan).unwrap();
    let moments =
        arrow_array::PrimitiveArray::<TimestampMicrosecondType>::from(vec![None, Some(1_500_000)]);
    let decimals =
        arrow_array::Decimal256Array::from(vec![None, Some(arrow_buffer::i256::from_i128(-5))])
            .with_precision_and_scale(65, 30)
            .unwrap();
    let batch: Vec<ArrayRef> = vec![
        integers([1, 2]),
        texts([None, Some("x")]),
        Arc::new(moments.with_timezone("UTC")),
        Arc::new(decimals),
    ];
    write_all(&*writer, &plan, vec![batch]).unwrap();
    assert_eq!(fixture.lines("SELECT w FROM log ORDER BY x"), ["before", "after2"]);
    let small = format!("-0.{}5", "0".repeat(29));
    let second = format!("2\tx\t1970-01-01 00:00:01.500000\t{small}");
    assert_eq!(
        fixture.lines("SELECT * FROM new ORDER BY id"),
        ["1\tNULL\tNULL\tNULL", second.as_str()]
    );
}

#[test]
fn a_killed_connection_asks_for_a_replay_and_loses_nothing() {
    let fixture = fixture(TABLE);
    let mut plan = pairs(WriteMode::Insert, &[]);
    let writer = fixture.writer("t");
    plan.columns = writer.draft(&plan).unwrap().columns;
    writer.prepare(&plan).unwrap();
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    let batch = |from: i64| {
        let arrays = vec![integers([from, from + 1]), texts(["a", "b"])];
        arrow_array::RecordBatch::try_new(schema_of(&plan.columns), arrays).unwrap()
    };
    task.begin_chunk(0).unwrap();
    task.write(&batch(1)).unwrap();
    let kill = format!(
        "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = '{}' \
         AND id <> CONNECTION_ID()",
        fixture.database
    );
    // The task's connection, and the one that holds the lock on the target.
    let killers = fixture.lines(&kill);
    assert_eq!(killers.len(), 2, "{killers:?}");
    fixture.run(&killers.join("\n"));
    // The rows may still be in transit when the server has closed the connection.
    let written = task.write(&batch(3)).map(drop);
    let ended = written
        .and_then(|()| task.commit_chunk(&Position::default(), &Default::default()).map(drop));
    let error = ended.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry, "{error}");
    task.rollback_chunk().unwrap();
    task.begin_chunk(0).unwrap();
    for from in [1, 3] {
        assert_eq!(task.write(&batch(from)).unwrap().inserted, 2);
    }
    task.commit_chunk(&Position::default(), &Default::default()).unwrap();
    assert_eq!(fixture.lines("SELECT COUNT(*), COUNT(DISTINCT id) FROM t"), ["4\t4"]);
}

#[test]
fn a_lock_wait_makes_no_dirty_row() {
    let fixture = fixture(TABLE);
    fixture.run("INSERT INTO t VALUES (1, 'a')");
    let plan = WritePlan {
        columns: vec![
            Column::new("id", LogicalType::Int64, false),
            Column::new("s", LogicalType::TEXT, true),
        ],
        ..pairs(WriteMode::Upsert, &["id"])
    };
    // The holder sleeps longer than the writer waits for its lock.
    let holder = std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            fixture.run("BEGIN; UPDATE t SET s = 'held' WHERE id = 1; SELECT SLEEP(13); ROLLBACK;")
        });
        fixture.wait_for_sleeper();
        let batch = vec![integers([1]), texts(["b"])];
        let error = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap_err();
        held.join().unwrap();
        error
    });
    assert_eq!(holder.kind, ErrorKind::Retry, "{holder}");
    assert_eq!(fixture.lines("SELECT * FROM t"), ["1\ta"]);
}

#[test]
fn wrong_passwords_and_rights_are_told_apart() {
    let fixture = fixture(TABLE);
    let writer = fixture.writer("missing");
    assert_eq!(writer.draft(&pairs(WriteMode::Insert, &[])).unwrap_err().kind, ErrorKind::NotFound);
    let mut options = fixture.options(&[("table", "t")]);
    options.values.insert("user".into(), "nobody".into());
    let writer = transload_plugin_api::Plugin::writer(
        &transload_plugin_mysql::MysqlPlugin,
        options,
        fixture.host(),
    )
    .unwrap();
    assert_eq!(writer.inspect().unwrap_err().kind, ErrorKind::Connection);
    let findings = writer.check().unwrap();
    assert!(findings.iter().any(|finding| !finding.ok && finding.stage == "login"));
}
