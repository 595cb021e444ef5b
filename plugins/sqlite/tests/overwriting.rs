//! Overwriting: all or nothing, and dependent objects of the table stay intact.

#![allow(clippy::unwrap_used)] // helpers of tests fail as loudly as tests

mod support;

use support::{Fixture, batch, counts, faults, integers, plan, texts, write_all};
use transload_plugin_api::{
    ChunkOutcome, Counters, ErrorKind, Guarantee, Position, TaskContext, WriteMode, WritePlan, code,
};

fn overwrite() -> WritePlan {
    plan(WriteMode::Overwrite, &[("id", "int64"), ("s", "text")], &[])
}

const PARENT_AND_CHILD: &str = "
    CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT NOT NULL);
    CREATE UNIQUE INDEX by_s ON t(s);
    CREATE INDEX plain ON t(s, id);
    CREATE VIEW v AS SELECT s FROM t;
    CREATE TABLE child(t INT REFERENCES t ON DELETE CASCADE);
    INSERT INTO t VALUES (1, 'one'), (2, 'two');
    INSERT INTO child VALUES (1);";

#[test]
fn nothing_is_visible_before_the_commit_and_all_of_it_after() {
    let fixture = Fixture::new(PARENT_AND_CHILD);
    let before = fixture.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY name");
    let (writer, plan) = (fixture.writer("t"), overwrite());
    let draft = writer.draft(&plan).unwrap();
    assert_eq!(draft.guarantee, Guarantee::AtomicJob);
    assert_eq!(draft.statements.iter().filter(|step| step.destructive).count(), 1);
    writer.prepare(&plan).unwrap();
    let mut receipts = Vec::new();
    for number in 0..2 {
        let mut task = writer.open(&plan, &TaskContext { task: number, epoch: 0 }).unwrap();
        task.begin_chunk(0).unwrap();
        let first = i64::from(number) * 10;
        let names = [format!("{first} a"), format!("{first} b")];
        let rows = vec![integers([first + 1, first + 2]), texts([&*names[0], &*names[1]])];
        assert_eq!(counts(&task.write(&batch(&plan, rows)).unwrap()), (2, 0, 0, 0));
        task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
        receipts.push(task.finish().unwrap());
    }
    assert_eq!(fixture.rows("SELECT s FROM v"), ["'one'", "'two'"]);
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
    assert_eq!(writer.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
    let other = fixture.writer("t");
    assert_eq!(other.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
    writer.finalise(&plan).unwrap();
    assert_eq!(
        fixture.rows("SELECT id, s FROM t"),
        ["1|'0 a'", "2|'0 b'", "11|'10 a'", "12|'10 b'"]
    );
    assert_eq!(fixture.rows("SELECT * FROM child"), ["1"], "no cascade ran");
    assert_eq!(fixture.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY name"), before);
}

#[test]
fn constraints_refuse_rows_while_they_are_staged() {
    let fixture = Fixture::new(PARENT_AND_CHILD);
    let plan = overwrite();
    let rows = vec![integers([1, 1, 3, 4]), texts([Some("a"), Some("b"), Some("a"), None])];
    let written = write_all(&*fixture.writer("t"), &plan, &[batch(&plan, rows)]).unwrap();
    assert_eq!(counts(&written[0]), (1, 0, 0, 3));
    let wanted = [("1", "id", "unique"), ("2", "s", "unique"), ("3", "s", "null")]
        .map(|(row, column, code)| (row.to_owned(), column.to_owned(), code.to_owned()));
    assert_eq!(faults(&written[0].dirty), wanted);
}

#[test]
fn a_reference_left_hanging_keeps_the_old_content() {
    let fixture = Fixture::new(PARENT_AND_CHILD);
    let (writer, plan) = (fixture.writer("t"), overwrite());
    let rows = batch(&plan, vec![integers([7]), texts(["x"])]);
    let error = write_all(&*writer, &plan, &[rows]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert_eq!(error.place.as_deref(), Some("child, rowid 1"));
    assert_eq!(fixture.rows("SELECT id FROM t"), ["1", "2"]);
    writer.abort(&plan, &[]).unwrap();
    writer.abort(&plan, &[]).unwrap();
    assert!(
        fixture.rows("SELECT name FROM sqlite_schema WHERE name LIKE '%transload%'").is_empty()
    );
}

#[test]
fn a_task_takes_back_what_it_staged() {
    let fixture = Fixture::new("CREATE TABLE t(id INT, s TEXT); INSERT INTO t VALUES (0, 'old')");
    let (writer, plan) = (fixture.writer("t"), overwrite());
    writer.prepare(&plan).unwrap();
    let stage = |number: u32, id: i64| {
        let mut task = writer.open(&plan, &TaskContext { task: number, epoch: 0 }).unwrap();
        task.begin_chunk(0).unwrap();
        task.write(&batch(&plan, vec![integers([id]), texts(["x"])])).unwrap();
        task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
        task
    };
    stage(0, 1).abort().unwrap();
    drop(stage(0, 2));
    let receipts = [stage(0, 3).finish().unwrap(), stage(1, 4).finish().unwrap()];
    writer.commit(&plan, &receipts).unwrap();
    assert_eq!(fixture.rows("SELECT id FROM t ORDER BY id"), ["3", "4"]);
}

#[test]
fn an_empty_source_empties_the_table() {
    let fixture = Fixture::new("CREATE TABLE t(id INT, s TEXT); INSERT INTO t VALUES (0, 'old')");
    write_all(&*fixture.writer("t"), &overwrite(), &[]).unwrap();
    assert!(fixture.rows("SELECT * FROM t").is_empty());
}

#[test]
fn references_of_the_table_itself_are_checked() {
    let fixture = Fixture::new(
        "CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);
         CREATE TABLE t(id INT REFERENCES p, s TEXT) STRICT;",
    );
    let plan = overwrite();
    let rows = batch(&plan, vec![integers([1, 2]), texts(["a", "b"])]);
    let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
    assert_eq!((counts(&written[0]), &*written[0].dirty[0].code), ((1, 0, 0, 1), "foreign-key"));
}

#[test]
fn a_table_that_refers_to_itself_is_overwritten() {
    let fixture = Fixture::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT, parent INT REFERENCES t);
         INSERT INTO t VALUES (1, 'old', NULL), (2, 'old', 1);",
    );
    let columns = [("id", "int64"), ("s", "text"), ("parent", "int64")];
    let plan = plan(WriteMode::Overwrite, &columns, &[]);
    let parents = integers([Some(6), None]);
    let rows = batch(&plan, vec![integers([5, 6]), texts(["a", "b"]), parents]);
    let written = write_all(&*fixture.writer("t"), &plan, &[rows]).unwrap();
    assert_eq!(counts(&written[0]), (2, 0, 0, 0), "{:?}", written[0].dirty);
    assert_eq!(fixture.rows("SELECT id, parent FROM t"), ["5|6", "6|-"]);
}

#[test]
fn a_stage_with_other_rows_than_were_committed_is_not_published() {
    let fixture = Fixture::new("CREATE TABLE t(id INT, s TEXT); INSERT INTO t VALUES (9, 'old')");
    let (writer, plan) = (fixture.writer("t"), overwrite());
    writer.prepare(&plan).unwrap();
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    task.begin_chunk(0).unwrap();
    task.write(&batch(&plan, vec![integers([1, 2, 3]), texts(["a", "b", "c"])])).unwrap();
    task.commit_chunk(&Position::default(), &Counters::default()).unwrap();
    let receipts = [task.finish().unwrap()];
    fixture.connect().execute("DELETE FROM \"t__transload_r-1\" WHERE id = 2", []).unwrap();
    let error = writer.commit(&plan, &receipts).unwrap_err();
    assert_eq!(error.code, code::RUN_STAGE, "{error:?}");
    assert!(error.message.ends_with("holds 2 rows, but 3 were committed to it"), "{error:?}");
    writer.abort(&plan, &receipts).unwrap();
    assert_eq!(fixture.rows("SELECT * FROM t"), ["9|'old'"]);
    assert_eq!(fixture.rows("SELECT count(*) FROM sqlite_schema"), ["1"]);
}

/// SQLite has no lock that shows whether another run is alive, so its stage stays and is named.
#[test]
fn stages_of_other_runs_are_named() {
    let stage = "t__transload_20261130t133831-d56fea35";
    let fixture =
        Fixture::new(&format!("CREATE TABLE t(id INT, s TEXT); CREATE TABLE \"{stage}\"(a)"));
    let (writer, plan) = (fixture.writer("t"), overwrite());
    let warnings = writer.draft(&plan).unwrap().warnings;
    let words = format!("if no run writes the target, remove them: DROP TABLE \"{stage}\"");
    assert!(warnings.iter().any(|it| it.ends_with(&words)), "{warnings:?}");
    writer.prepare(&plan).unwrap();
    writer.abort(&plan, &[]).unwrap();
    assert_eq!(fixture.rows("SELECT count(*) FROM sqlite_schema"), ["2"]);
}
