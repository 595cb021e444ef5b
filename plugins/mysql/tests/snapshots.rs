//! All splits see the same state of a table, on both servers.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use arrow_array::RecordBatch;
use support::{Fixture, Server, read_all};
use transload_plugin_api::{Column, ErrorKind, Plugin as _, Reader, SplitRequest, testing::cell};
use transload_plugin_mysql::MysqlPlugin;

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

#[test]
fn t08_all_splits_see_one_state_of_the_table() {
    for server in [Server::mariadb(), Server::mysql()] {
        let fixture = Fixture::new(&server, "CREATE TABLE t(id INT PRIMARY KEY, v INT);");
        let values: Vec<_> = (1..=400).map(|id| format!("({id}, 0)")).collect();
        fixture.run(&format!("INSERT INTO t VALUES {}", values.join(", ")));
        let reader = fixture.reader(&[("table", "t"), ("consistency", "snapshot")]);
        let columns = reader.schema().unwrap().columns;
        let request = SplitRequest::new(4, columns.clone());
        let splits = std::thread::scope(|scope| {
            // A transaction that has changed some rows is seen completely or not at all.
            scope.spawn(|| {
                fixture.run(
                    "BEGIN; UPDATE t SET v = 1 WHERE id < 200; SELECT SLEEP(2); \
                     UPDATE t SET v = 1; COMMIT;",
                );
            });
            fixture.wait_for_sleeper();
            reader.splits(&request).unwrap()
        });
        assert_eq!(splits.len(), 4);
        fixture.run("UPDATE t SET v = 2; DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (0, 2)");
        let read = |split| {
            let mut task = reader.open(split, &columns, None).unwrap();
            let batches = std::iter::from_fn(|| task.next_batch().unwrap());
            batches.flat_map(|read| lines(&read.batch)).collect::<Vec<_>>()
        };
        let found: Vec<_> = splits.iter().flat_map(read).collect();
        assert_eq!(found.len(), 400);
        assert!(found.iter().all(|row| row.ends_with("|1")), "{found:?}");
        // A session serves one reading; its snapshot ends with it.
        let error = reader.open(&splits[0], &columns, None).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Retry);
    }
}

#[test]
fn t08_without_the_right_to_lock_there_is_one_split_that_says_so() {
    for server in [Server::mariadb(), Server::mysql()] {
        let fixture = Fixture::new(
            &server,
            "CREATE TABLE t(id INT PRIMARY KEY); INSERT INTO t VALUES (1), (9)",
        );
        let (user, database) = (format!("r_{}", fixture.database), &fixture.database);
        fixture.run(&format!(
            "CREATE USER {user}@'%' IDENTIFIED BY ''; GRANT SELECT ON {database}.* TO {user}@'%'"
        ));
        let mut options = fixture.options(&[("table", "t"), ("consistency", "snapshot")]);
        options.values.insert("user".into(), user.clone().into());
        let host = transload_plugin_api::Host::detached();
        let reader = MysqlPlugin.reader(options, host).unwrap();
        let columns = reader.schema().unwrap().columns;
        let splits = reader.splits(&SplitRequest::new(4, columns.clone())).unwrap();
        let found = rows(&*reader, &columns, 4);
        fixture.run(&format!("DROP USER {user}@'%'"));
        assert_eq!(found, ["1", "9"]);
        assert!(splits.len() == 1 && splits[0].label.contains("locked"), "{splits:?}");
    }
}

#[test]
fn a_table_without_transactions_has_no_snapshot() {
    let table = "CREATE TABLE t(id INT PRIMARY KEY) ENGINE = MyISAM;";
    let fixture = Fixture::new(&Server::mariadb(), table);
    let reader = fixture.reader(&[("table", "t"), ("consistency", "snapshot")]);
    let columns = reader.schema().unwrap().columns;
    let error = reader.splits(&SplitRequest::new(4, columns)).unwrap_err();
    assert!(error.kind == ErrorKind::Unsupported && error.message.contains("MyISAM"), "{error}");
}
