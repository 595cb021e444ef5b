//! How targets, their keys and related tables affect a run.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use support::{Fixture, Server, integers, plan, texts, write_all};
use transload_plugin_api::{
    ErrorKind, Guarantee, Host, LoadMethod, Options, Plugin, Result, Secret, Secrets, TaskContext,
    WriteMode, WritePlan, Writer, code, schema_of, testing::steps::chunk,
};
use transload_plugin_mysql::MysqlPlugin;

const TABLE: &str = "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5));";

fn servers() -> [Server; 2] {
    [Server::mariadb(), Server::mysql()]
}

fn pairs(mode: WriteMode, run: &str) -> WritePlan {
    let plan = plan(mode, &[("id", "int64"), ("s", "text(5)")], &["id"]);
    WritePlan { run: run.to_owned(), ..plan }
}

fn with(fixture: &Fixture, pairs: &[(&str, &str)]) -> Box<dyn Writer> {
    MysqlPlugin.writer(fixture.options(pairs), fixture.host()).unwrap()
}

#[test]
fn t39_columns_go_by_name() {
    for server in servers() {
        for load in [LoadMethod::Insert, LoadMethod::Copy] {
            let fixture = Fixture::new(&server, "CREATE TABLE t(b BIGINT, A BIGINT, c INT);");
            let plan = plan(WriteMode::Insert, &[("a", "int64"), ("b", "int64")], &[]);
            let plan = WritePlan { load, ..plan };
            let batch = vec![integers([1]), integers([2])];
            write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap();
            assert_eq!(fixture.lines("SELECT A, b, c FROM t"), ["1\t2\tNULL"]);
        }
    }
}

#[test]
fn t43_long_names_do_not_meet() {
    let long = |end: char| format!("{}{end}", "x".repeat(63));
    for server in servers() {
        let fixture = Fixture::new(&server, "");
        let writers = ['a', 'b'].map(|end| {
            fixture
                .run(&format!("CREATE TABLE {}(id BIGINT PRIMARY KEY, s VARCHAR(5))", long(end)));
            fixture.writer(&long(end))
        });
        let plan = pairs(WriteMode::Overwrite, "r-1");
        // Both are staged at the same time.
        writers.iter().for_each(|writer| writer.prepare(&plan).unwrap());
        for (writer, id) in writers.iter().zip([1, 2]) {
            write_all(&**writer, &plan, vec![vec![integers([id]), texts(["x"])]]).unwrap();
        }
        for (end, id) in [('a', "1"), ('b', "2")] {
            assert_eq!(fixture.lines(&format!("SELECT id FROM {}", long(end))), [id]);
        }
        assert_eq!(fixture.lines("SHOW TABLES").len(), 2);
    }
}

#[test]
fn t47_a_run_that_replaces_all_rows_has_the_target_alone() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let (insert, other) = (pairs(WriteMode::Insert, "r-1"), pairs(WriteMode::Upsert, "r-2"));
        let overwrite = pairs(WriteMode::Overwrite, "r-3");
        let [one, two, three] = [(); 3].map(|()| fixture.writer("t"));
        // Runs that add rows do not exclude each other.
        one.prepare(&insert).unwrap();
        two.prepare(&other).unwrap();
        let error = three.prepare(&overwrite).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Locked, "{error}");
        let owner = error.hint.unwrap();
        assert!(owner.contains("connection") && owner.contains("transload"), "{owner}");
        let kill = owner.split('`').nth(1).unwrap().to_owned();
        // What the hint says frees the lock of a run that has died.
        fixture.run(&kill);
        drop(one.abort(&insert, &[]));
        two.finalise(&other).unwrap();
        three.prepare(&overwrite).unwrap();
        for plan in [&insert, &pairs(WriteMode::Overwrite, "r-4")] {
            let error = fixture.writer("t").prepare(plan).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Locked, "{:?}", plan.mode);
        }
        // Another table has another lock.
        fixture.run("CREATE TABLE t2 LIKE t");
        fixture.writer("t2").prepare(&overwrite).unwrap();
        three.abort(&overwrite, &[]).unwrap();
        // A lost lock is taken again before anything is published, if no other run holds it.
        two.prepare(&overwrite).unwrap();
        for kill in fixture.lines(
            "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist \
             WHERE db = DATABASE() AND id <> CONNECTION_ID() AND command = 'Sleep'",
        ) {
            let _ = fixture.try_ask(&kill);
        }
        three.prepare(&pairs(WriteMode::Overwrite, "r-6")).unwrap();
        assert_eq!(two.commit(&overwrite, &[]).unwrap_err().kind, ErrorKind::Locked);
        three.abort(&pairs(WriteMode::Overwrite, "r-6"), &[]).unwrap();
        two.commit(&overwrite, &[]).unwrap();
        two.finalise(&overwrite).unwrap();
        one.prepare(&pairs(WriteMode::Insert, "r-5")).unwrap();
    }
}

#[test]
fn t48_the_last_of_equal_keys_wins() {
    for server in servers() {
        for mode in [WriteMode::Upsert, WriteMode::Replace] {
            let fixture = Fixture::new(&server, TABLE);
            let first = vec![integers([1, 2, 1, 1]), texts(["a", "x", "b", "c"])];
            let second = vec![integers([1, 2, 2]), texts(["d", "y", "z"])];
            let written =
                write_all(&*fixture.writer("t"), &pairs(mode, "r-1"), vec![first, second]).unwrap();
            let inserted: u64 = written.iter().map(|written| written.inserted).sum();
            let updated: u64 = written.iter().map(|written| written.updated).sum();
            assert_eq!((inserted, updated), (2, 5), "{mode:?}");
            assert_eq!(fixture.lines("SELECT * FROM t ORDER BY id"), ["1\td", "2\tz"]);
        }
    }
}

#[test]
fn t51_rows_without_a_parent_are_dirty_and_cascades_are_told() {
    for server in servers() {
        for load in [LoadMethod::Insert, LoadMethod::Copy] {
            let fixture = Fixture::new(
                &server,
                "CREATE TABLE p(id BIGINT PRIMARY KEY); INSERT INTO p VALUES (1), (3);
                 CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5),
                   FOREIGN KEY (id) REFERENCES p(id) ON DELETE CASCADE);",
            );
            let plan = WritePlan { load, ..pairs(WriteMode::Insert, "r-1") };
            let batch = vec![integers([1, 2, 3]), texts(["a", "b", "c"])];
            let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
            let faults: Vec<_> =
                written.dirty.iter().map(|dirty| (dirty.row, dirty.code.as_str())).collect();
            assert_eq!(faults, [(1, "foreign-key")]);
            assert_eq!(fixture.lines("SELECT id FROM t ORDER BY id"), ["1", "3"]);
            let parents = support::plan(WriteMode::Replace, &[("id", "int64")], &["id"]);
            let draft = fixture.writer("p").draft(&parents).unwrap();
            assert!(draft.warnings.iter().any(|text| text.contains(".t`")), "{draft:?}");
        }
    }
}

#[test]
fn t51_triggers_forbid_a_swap_and_a_table_is_emptied_on_request_only() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        fixture.run(
            "INSERT INTO t VALUES (9, 'old');
             CREATE TRIGGER mark BEFORE INSERT ON t FOR EACH ROW SET NEW.s = CONCAT(NEW.s, '!');",
        );
        let plan = pairs(WriteMode::Overwrite, "r-1");
        let error = fixture.writer("t").draft(&plan).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains("mark"), "{error}");
        let writer = with(&fixture, &[("table", "t"), ("overwrite", "truncate")]);
        let draft = writer.draft(&plan).unwrap();
        let destroys: Vec<_> = draft.statements.iter().filter(|it| it.destructive).collect();
        assert!(destroys.len() == 1 && destroys[0].text.starts_with("TRUNCATE"), "{draft:?}");
        assert_eq!(draft.guarantee, Guarantee::AtLeastOnce);
        assert!(draft.because.contains("emptied"), "{draft:?}");
        assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["1"]);
        write_all(&*writer, &plan, vec![vec![integers([1, 2]), texts(["a", "b"])]]).unwrap();
        assert_eq!(fixture.lines("SELECT * FROM t ORDER BY id"), ["1\ta!", "2\tb!"]);
        // A table that foreign keys reference cannot be emptied either.
        fixture.run("CREATE TABLE c(id BIGINT PRIMARY KEY, FOREIGN KEY (id) REFERENCES t(id));");
        let error = writer.draft(&plan).unwrap_err();
        assert!(error.kind == ErrorKind::Unsupported && error.message.contains(".c"), "{error}");
    }
}

#[test]
fn t52_a_target_that_changed_after_the_plan_is_named() {
    for server in servers() {
        for (change, name) in [
            ("ALTER TABLE t DROP COLUMN s", "`s`"),
            ("ALTER TABLE t MODIFY s INT", "`s`"),
            ("ALTER TABLE t MODIFY s VARCHAR(3)", "`s`"),
        ] {
            let fixture = Fixture::new(&server, TABLE);
            let writer = fixture.writer("t");
            let mut plan = pairs(WriteMode::Insert, "r-1");
            plan.columns = writer.draft(&plan).unwrap().columns;
            fixture.run(change);
            let error = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).err().expect(change);
            assert_eq!(error.kind, ErrorKind::Schema, "{change}: {error}");
            assert!(error.message.contains(name), "{change}: {error}");
        }
    }
}

#[test]
fn t59_statements_stay_below_the_longest_packet() {
    // MySQL's packets are four times as long, so the test would only take longer.
    for load in [LoadMethod::Insert, LoadMethod::Copy] {
        let fixture = Fixture::new(&Server::mariadb(), "CREATE TABLE t(id BIGINT, s LONGTEXT);");
        let packet: usize = fixture.lines("SELECT @@max_allowed_packet")[0].parse().unwrap();
        let plan = plan(WriteMode::Insert, &[("id", "int64"), ("s", "text")], &[]);
        let plan = WritePlan { load, ..plan };
        // Rows that only fit one by one, and one that exceeds the server's limit.
        let (wide, over) = ("w".repeat(packet / 5 * 2), "o".repeat(packet));
        let all = [wide.as_str(), "x", &over, &wide, &wide];
        let batch = vec![integers(0..5), texts(all)];
        let written = write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap().remove(0);
        assert_eq!((written.inserted, written.dirty.len()), (4, 1), "{load:?}");
        let dirty = &written.dirty[0];
        assert_eq!((dirty.row, dirty.code.as_str()), (2, "length"));
        assert!(dirty.reason.contains("max_allowed_packet"), "{}", dirty.reason);
        let lengths = format!("SELECT COUNT(*), MAX(LENGTH(s)) = {} FROM t", wide.len());
        assert_eq!(fixture.lines(&lengths), ["4\t1"]);
    }
}

#[test]
fn t59_many_columns_need_no_parameters() {
    for server in servers() {
        let names: Vec<_> = (0..500).map(|at| format!("c{at}")).collect();
        let declared = names.join(" INT, ");
        let fixture = Fixture::new(&server, &format!("CREATE TABLE t({declared} INT)"));
        let columns: Vec<_> = names.iter().map(|name| (name.as_str(), "int32")).collect();
        let plan = plan(WriteMode::Insert, &columns, &[]);
        let plan = WritePlan { load: LoadMethod::Insert, ..plan };
        let numbers: ArrayRef = Arc::new(arrow_array::Int32Array::from_iter_values(0..300));
        let batch = vec![numbers; 500];
        write_all(&*fixture.writer("t"), &plan, vec![batch]).unwrap();
        assert_eq!(
            fixture.lines("SELECT COUNT(*), SUM(c0), SUM(c499) FROM t"),
            ["300\t44850\t44850"]
        );
    }
}

const CANARY: &str = "canary-7d1f";

struct Canary;

impl Secrets for Canary {
    fn secret(&self, _key: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(CANARY)))
    }
}

#[test]
fn t60_a_password_is_in_no_message() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        let host = || Host::new(Arc::new(Canary), transload_plugin_api::Cancel::new());
        let mut options: Options = fixture.options(&[("table", "t")]);
        let reader = MysqlPlugin.reader(options.clone(), host()).unwrap();
        let error = reader.schema().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection, "{error}");
        options.values.insert("port".into(), 1.into());
        let away = MysqlPlugin.writer(options.clone(), host()).unwrap();
        let messages = [
            format!("{error:?} {error}"),
            format!("{:?}", reader.check().unwrap()),
            format!("{:?}", away.inspect().unwrap_err()),
            format!("{options:?}"),
        ];
        for message in messages {
            assert!(!message.contains(CANARY), "{message}");
        }
    }
}

/// A task accepts batches with the plan's columns; another type is a defect, not an invalid value.
#[test]
fn a_batch_of_other_types_is_a_defect() {
    let fixture = Fixture::new(&Server::mariadb(), TABLE);
    let writer = fixture.writer("t");
    let mut plan = pairs(WriteMode::Insert, "r-1");
    plan.columns = writer.draft(&plan).unwrap().columns;
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    task.begin_chunk(0).unwrap();
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let columns = [("id", "text"), ("s", "text")];
    let schema = schema_of(&support::plan(WriteMode::Insert, &columns, &[]).columns);
    let batch = RecordBatch::try_new(schema, vec![texts.clone(), texts]).unwrap();
    assert_eq!(task.write(&batch).unwrap_err().kind, ErrorKind::Defect);
}

#[test]
fn a_stage_with_other_rows_than_were_committed_is_not_published() {
    for server in servers() {
        let fixture = Fixture::new(&server, TABLE);
        fixture.run("INSERT INTO t VALUES (9, 'old')");
        let (writer, plan) = (fixture.writer("t"), pairs(WriteMode::Overwrite, "r-1"));
        writer.prepare(&plan).unwrap();
        let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
        let rows = vec![integers([1, 2, 3]), texts(["a", "b", "c"])];
        let rows = RecordBatch::try_new(schema_of(&plan.columns), rows).unwrap();
        chunk(&mut *task, 0, &rows).unwrap();
        let receipts = [task.finish().unwrap()];
        fixture.run("DELETE FROM `t__transload_r-1` WHERE id = 2");
        let error = writer.commit(&plan, &receipts).unwrap_err();
        assert_eq!(error.code, code::RUN_STAGE, "{error:?}");
        assert!(error.message.ends_with("holds 2 rows, but 3 were committed to it"), "{error:?}");
        writer.abort(&plan, &receipts).unwrap();
        assert_eq!(fixture.lines("SELECT * FROM t"), ["9\told"]);
        assert_eq!(fixture.lines("SHOW TABLES"), ["t"]);
    }
}

#[test]
fn a_key_that_is_created_tells_texts_apart_as_the_source_does() {
    let words = ["a", "A", "ä", "Ä", "a ", "ａ", "ß", "ss"];
    for server in servers() {
        for logical in ["text", "text(20)", "text(2000)"] {
            let fixture = Fixture::new(&server, "");
            let writer = fixture.writer("t");
            let mut plan = plan(WriteMode::Upsert, &[("k", logical), ("n", "int64")], &["k"]);
            plan.create_table = true;
            let draft = writer.draft(&plan).unwrap();
            // The plan has the types of its own statement.
            let length = if logical == "text(20)" { 20 } else { 191 };
            assert_eq!(draft.columns[0].logical.to_string(), format!("text({length})"));
            let warned = draft.warnings.iter().any(|it| it.contains("longer values are dirty"));
            assert_eq!(warned, length == 191, "{:?}", draft.warnings);
            let batch = vec![texts(words), integers(0..words.len() as i64)];
            let written = write_all(&*writer, &plan, vec![batch]).unwrap();
            assert_eq!((written[0].inserted, written[0].updated), (8, 0), "{logical}");
            let exact =
                words.map(|word| fixture.lines(&format!("SELECT n FROM t WHERE k = '{word}'")));
            assert_eq!(exact.concat(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
        }
    }
}

#[test]
fn a_key_that_takes_different_texts_for_equal_is_named_in_the_plan() {
    for server in servers() {
        for (collation, named) in [
            ("utf8mb4_general_ci", true),
            ("utf8mb4_unicode_ci", true),
            ("utf8mb4_bin", false),
            ("latin1_general_cs", false),
        ] {
            let (charset, _) = collation.split_once('_').unwrap();
            let fixture = Fixture::new(
                &server,
                &format!(
                    "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5) UNIQUE, u VARCHAR(5)) \
                     CHARACTER SET {charset} COLLATE {collation};"
                ),
            );
            let draft = fixture.writer("t").draft(&pairs(WriteMode::Upsert, "r")).unwrap();
            let found =
                draft.warnings.iter().filter(|it| it.contains(&format!("`s` ({collation})")));
            assert_eq!(found.count() > 0, named, "{collation}: {:?}", draft.warnings);
            assert!(!draft.warnings.iter().any(|warning| warning.contains("`u`")));
        }
    }
}

#[test]
fn a_system_versioned_table_is_a_table_with_a_history() {
    let table = "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5)) WITH SYSTEM VERSIONING; \
                 INSERT INTO t VALUES (1, 'old');";
    let fixture = Fixture::new(&Server::mariadb(), table);
    let batch = || vec![integers([1, 2]), texts(["new", "x"])];
    write_all(&*fixture.writer("t"), &pairs(WriteMode::Upsert, "r-1"), vec![batch()]).unwrap();
    assert_eq!(fixture.lines("SELECT s FROM t ORDER BY id"), ["new", "x"]);
    assert_eq!(fixture.lines("SELECT COUNT(*) FROM t FOR SYSTEM_TIME ALL"), ["3"]);
    for overwrite in ["swap", "truncate"] {
        let writer = with(&fixture, &[("table", "t"), ("overwrite", overwrite)]);
        let error = writer.draft(&pairs(WriteMode::Overwrite, "r-2")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains("history"), "{error}");
    }
    // What the hint says works, and keeps the history.
    let plan =
        WritePlan { before: vec!["DELETE FROM t".into()], ..pairs(WriteMode::Insert, "r-3") };
    write_all(&*fixture.writer("t"), &plan, vec![batch()]).unwrap();
    assert_eq!(fixture.lines("SELECT COUNT(*) FROM t"), ["2"]);
    fixture.run("CREATE SEQUENCE q");
    let error = fixture.writer("q").draft(&pairs(WriteMode::Insert, "r-4")).unwrap_err();
    assert!(error.message.contains("is a sequence"), "{error}");
}

#[test]
fn a_created_table_is_dropped_by_a_failed_run_if_it_is_empty() {
    for server in servers() {
        for rows in [0, 1] {
            let fixture = Fixture::new(&server, "");
            let writer = fixture.writer("t");
            let plan = WritePlan { create_table: true, ..pairs(WriteMode::Insert, "r-1") };
            writer.prepare(&plan).unwrap();
            let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
            if rows > 0 {
                let arrays = vec![integers([1]), texts(["a"])];
                let batch = RecordBatch::try_new(schema_of(&plan.columns), arrays).unwrap();
                chunk(&mut *task, 0, &batch).unwrap();
            }
            task.abort().unwrap();
            writer.abort(&plan, &[]).unwrap();
            assert_eq!(fixture.lines("SHOW TABLES").len(), rows);
        }
    }
}

/// The stages of killed runs are dropped by the next overwrite, but for those that a session uses.
#[test]
fn stages_of_dead_runs_are_swept() {
    for server in servers() {
        let fixture = Fixture::new(
            &server,
            "CREATE TABLE t(id BIGINT PRIMARY KEY, s VARCHAR(5));
             CREATE TABLE `t__transload_20261130t133831-d56fea35`(id INT);
             CREATE TABLE `t__transload_old_20261130t133832-d56fea35`(id INT);
             CREATE TABLE `t__transload_mine`(id INT);",
        );
        let (writer, plan) = (fixture.writer("t"), pairs(WriteMode::Overwrite, "r-1"));
        let named = |it: &String| it.contains("t__transload_20261130t133831-d56fea35`, `");
        assert!(writer.draft(&plan).unwrap().warnings.iter().any(named));
        writer.prepare(&plan).unwrap();
        writer.abort(&plan, &[]).unwrap();
        assert_eq!(fixture.lines("SHOW TABLES"), ["t", "t__transload_mine"]);
    }
}
