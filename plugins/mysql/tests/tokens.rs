//! Commit tokens on real servers: claims, fences, lost replies, runs that are killed at every point and
//! continued by another process, and what is missing for tokens.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::sync::atomic::Ordering::SeqCst;

use support::{Fixture, Server};
use transload_plugin_api::{
    ChunkOutcome, ErrorKind, Guarantee, Plugin, Position, TokenTables, WriteMode, WritePlan, code,
    testing::{attempt, killing, proxy},
};
use transload_plugin_mysql::MysqlPlugin;

const KEYLESS: &str = "CREATE TABLE t(id BIGINT, s TEXT);";
const KEYED: &str = "CREATE TABLE t(id BIGINT PRIMARY KEY, s TEXT);";

fn servers() -> [Server; 2] {
    [Server::mariadb(), Server::mysql()]
}

/// How many rows there are, and how many different ones.
fn counts(fixture: &Fixture) -> String {
    fixture.lines("SELECT CONCAT(COUNT(*), ' ', COUNT(DISTINCT id)) FROM t").remove(0)
}

fn all() -> String {
    format!("{0} {0}", killing::ROWS)
}

/// Ends the plugin's sessions, as an administrator might.
fn end_sessions(fixture: &Fixture) {
    let sql = format!(
        "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = '{}' \
         AND id <> CONNECTION_ID()",
        fixture.database
    );
    for kill in fixture.lines(&sql) {
        // It may have ended by itself.
        let _ = fixture.try_ask(&kill);
    }
}

/// The test that child processes run, and their server, which is in their environment.
type Child = (&'static str, fn() -> Server);

const CHILDREN: [Child; 2] =
    [("child_on_mariadb", Server::mariadb), ("child_on_mysql", Server::mysql)];

#[test]
fn child_on_mariadb() {
    child("TRANSLOAD_TEST_MARIADB", Server::mariadb);
}

#[test]
fn child_on_mysql() {
    child("TRANSLOAD_TEST_MYSQL", Server::mysql);
}

fn child(variable: &str, server: fn() -> Server) {
    if std::env::var(variable).is_ok() {
        let secrets = Fixture::secrets(&server());
        let host = transload_plugin_api::Host::new(secrets, transload_plugin_api::Cancel::new());
        killing::child(&MysqlPlugin, host);
    }
}

#[test]
fn a_run_killed_at_any_point_is_continued_and_writes_each_row_once() {
    let modes = [
        WriteMode::Insert,
        WriteMode::Upsert,
        WriteMode::Ignore,
        WriteMode::Replace,
        WriteMode::Overwrite,
    ];
    for (test, server) in CHILDREN {
        for mode in modes {
            for points in killing::POINTS {
                let table = if mode == WriteMode::Insert { KEYLESS } else { KEYED };
                let fixture =
                    Fixture::new(&server(), &format!("{table} CREATE TABLE log(s TEXT);"));
                let mut plan = attempt::plan("r", mode);
                plan.before = vec!["INSERT INTO log VALUES ('before')".to_owned()];
                plan.after = vec!["INSERT INTO log VALUES ('after')".to_owned()];
                let options = fixture.options(&[("table", "t")]);
                killing::Processes::new(test, options, plan).write(points);
                assert_eq!(counts(&fixture), all(), "{mode:?} {points:?}");
                let log = fixture.lines("SELECT s FROM log ORDER BY s DESC");
                assert_eq!(log, ["before", "after"], "{mode:?} {points:?}");
                let run = fixture.lines("SELECT state, active_key IS NULL FROM transload_run");
                assert_eq!(run, ["done\t1"]);
            }
        }
    }
}

#[test]
fn a_table_that_is_emptied_in_place_is_emptied_once() {
    let (test, server) = CHILDREN[0];
    let fixture = Fixture::new(&server(), KEYED);
    fixture.run("INSERT INTO t VALUES (-1, 'old')");
    let options = fixture.options(&[("table", "t"), ("overwrite", "truncate")]);
    let plan = attempt::plan("r", WriteMode::Overwrite);
    let writer = MysqlPlugin.writer(options.clone(), fixture.host()).unwrap();
    assert_eq!(writer.draft(&plan).unwrap().guarantee, Guarantee::EffectivelyOnce);
    drop(writer);
    killing::Processes::new(test, options, plan).write(&["K4", "K7#3", "K5#1"]);
    assert_eq!(counts(&fixture), all());
}

#[test]
fn the_tests_find_tokens_outside_of_the_transaction_and_a_missing_fence() {
    let (test, server) = CHILDREN[1];
    let processes = |fixture: &Fixture, defect| {
        let plan = attempt::plan("r", WriteMode::Insert);
        killing::Processes::new(test, fixture.options(&[("table", "t")]), plan).with_defect(defect)
    };
    let fixture = Fixture::new(&server(), KEYLESS);
    processes(&fixture, "journal-only").write(&["K7#2"]);
    assert_ne!(counts(&fixture), all(), "doubled rows are not noticed");
    for (defect, writes) in [("", false), ("no-fence", true)] {
        let fixture = Fixture::new(&server(), KEYLESS);
        assert_eq!(processes(&fixture, defect).revive(), writes, "{defect}");
    }
}

#[test]
fn a_claim_ends_an_attempt_within_a_chunk() {
    for server in servers() {
        let fixture = Fixture::new(&server, KEYLESS);
        let (plan, first, second) =
            (attempt::plan("r", WriteMode::Insert), fixture.writer("t"), fixture.writer("t"));
        let mut zombie = attempt::begun(&*first, &plan);
        attempt::chunk(&mut *zombie, 0).unwrap();
        zombie.begin_chunk(1).unwrap();
        let mut task = attempt::open(&*second, &WritePlan { is_resumed: true, ..plan });
        let progress = task.progress().unwrap().unwrap();
        assert_eq!((progress.chunks, progress.counters.inserted), (1, 3));
        assert_eq!(progress.position, Position(vec![0; 8_192]));
        assert_eq!(attempt::finish(&mut *zombie, 1).unwrap_err().kind, ErrorKind::Retry);
        zombie.rollback_chunk().unwrap();
        attempt::coded(zombie.begin_chunk(1), code::RUN_FENCED);
        attempt::chunk(&mut *task, 1).unwrap();
        assert_eq!(counts(&fixture), "6 6");
    }
}

#[test]
fn a_lost_reply_to_a_commit_is_resolved_without_a_key() {
    for server in servers() {
        let fixture = Fixture::new(&server, KEYLESS);
        let mut options = fixture.options(&[("table", "t")]);
        let port = options.values["port"].as_u64().unwrap() as u16;
        let (port, faults) = proxy::start(port, b"\x03COMMIT");
        options.values.insert("port".to_owned(), port.into());
        let writer = MysqlPlugin.writer(options, fixture.host()).unwrap();
        let plan = attempt::plan("r", WriteMode::Insert);
        let mut task = attempt::begun(&*writer, &plan);
        attempt::chunk(&mut *task, 0).unwrap();
        faults.at_commit.store(true, SeqCst);
        assert_eq!(attempt::chunk(&mut *task, 1).unwrap(), ChunkOutcome::Committed);
        // The session ends before its COMMIT arrives.
        task.begin_chunk(2).unwrap();
        faults.silence_open();
        end_sessions(&fixture);
        faults.heal();
        assert_eq!(attempt::finish(&mut *task, 2).unwrap_err().kind, ErrorKind::Retry);
        task.rollback_chunk().unwrap();
        attempt::chunk(&mut *task, 2).unwrap();
        assert_eq!(counts(&fixture), "9 9");
        let receipt = task.finish().unwrap();
        assert_eq!(writer.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
    }
}

#[test]
fn a_second_run_is_refused_and_names_the_first() {
    for server in servers() {
        let fixture = Fixture::new(&server, KEYLESS);
        let (first, second) = (fixture.writer("t"), fixture.writer("t"));
        first.prepare(&attempt::plan("r", WriteMode::Insert)).unwrap();
        let error = attempt::coded(
            second.prepare(&attempt::plan("s", WriteMode::Overwrite)),
            code::RUN_ACTIVE,
        );
        assert_eq!(error.kind, ErrorKind::Locked);
        let named =
            format!("run `r` of job `nightly` writes table `{}.t` since 20", fixture.database);
        assert!(error.message.starts_with(&named), "{error}");
        first.abort(&attempt::plan("r", WriteMode::Insert), &[]).unwrap();
        drop(first);
        second.prepare(&attempt::plan("s", WriteMode::Overwrite)).unwrap();
    }
}

#[test]
fn a_run_of_a_process_that_died_holds_the_target_until_it_is_given_up() {
    for (test, server) in CHILDREN {
        for mode in [WriteMode::Insert, WriteMode::Overwrite] {
            let table = if mode == WriteMode::Insert { KEYLESS } else { KEYED };
            let fixture = Fixture::new(&server(), table);
            let options = fixture.options(&[("table", "t")]);
            let mut processes = killing::Processes::new(test, options, attempt::plan("r", mode));
            processes.leave(&["K7#2"]);
            let writer = fixture.writer("t");
            let error = attempt::coded(writer.prepare(&attempt::plan("s", mode)), code::RUN_ACTIVE);
            assert!(error.message.starts_with("run `r` of job `nightly`"), "{error}");
            processes.give_up(&["K14"]);
            writer.prepare(&attempt::plan("s", mode)).unwrap();
            let kept = if mode == WriteMode::Insert { "10 10" } else { "0 0" };
            assert_eq!(counts(&fixture), kept, "rows of committed chunks stay");
            assert_eq!(fixture.lines("SHOW TABLES LIKE 't\\_\\_transload\\_r'"), [""; 0]);
        }
    }
}

#[test]
fn a_user_without_the_right_to_create_tables_is_told() {
    for server in servers() {
        let fixture = Fixture::new(&server, KEYLESS);
        let (database, user) = (&fixture.database, format!("weak_{}", fixture.database));
        fixture.run(&format!(
            "CREATE USER {user}@'%' IDENTIFIED BY ''; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON t TO {user}@'%';"
        ));
        let mut options = fixture.options(&[("table", "t")]);
        options.values.insert("user".to_owned(), user.clone().into());
        let writer = MysqlPlugin.writer(options, transload_plugin_api::Host::detached()).unwrap();
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let error = attempt::coded(
                writer.draft(&attempt::plan("r", WriteMode::Insert)),
                code::TOKENS_MISSING,
            );
            assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
            let hint = error.hint.unwrap();
            assert!(
                hint.starts_with(&format!("GRANT CREATE ON `{database}`.`transload_run` TO")),
                "{hint}"
            );
            // An administrator makes them, and lets the user change their rows.
            let tables = TokenTables::default();
            fixture.run(&(writer.token_ddl(&tables).unwrap().join(";") + ";"));
            let plan = WritePlan { tokens: Some(tables), ..attempt::plan("r", WriteMode::Insert) };
            writer.draft(&plan).unwrap_err();
            for table in ["transload_run", "transload_task"] {
                fixture.run(&format!(
                    "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {user}@'%';"
                ));
            }
            let mut task = attempt::begun(&*writer, &plan);
            attempt::chunk(&mut *task, 0).unwrap();
            let receipt = task.finish().unwrap();
            writer.commit(&plan, &[receipt]).unwrap();
            writer.finalise(&plan).unwrap();
        }));
        fixture.run(&format!("DROP USER {user}@'%';"));
        told.unwrap();
    }
}

#[test]
fn what_tokens_need_is_reported_before_the_run() {
    for server in servers() {
        let tables = "CREATE TABLE m(id BIGINT, s TEXT) ENGINE = MyISAM;";
        let fixture = Fixture::new(&server, &format!("{KEYLESS}{tables}"));
        let database = &fixture.database;
        let with =
            |tables| WritePlan { tokens: Some(tables), ..attempt::plan("r", WriteMode::Insert) };
        let draft = fixture.writer("m").draft(&attempt::plan("r", WriteMode::Insert)).unwrap();
        assert_eq!(draft.guarantee, Guarantee::AtLeastOnce);
        assert_eq!(
            draft.because,
            format!(
                "commit tokens cannot be used: `{database}.m` has engine MyISAM, whose rows survive \
                 a ROLLBACK"
            )
        );
        let writer = fixture.writer("t");
        let mut plan = attempt::plan("r", WriteMode::Insert);
        plan.before = vec!["DELETE FROM t".to_owned(), "TRUNCATE TABLE t".to_owned()];
        let draft = writer.draft(&plan).unwrap();
        assert_eq!(draft.guarantee, Guarantee::EffectivelyOnce);
        let twice: Vec<_> = draft.notes.iter().filter(|it| it.contains("may run twice")).collect();
        assert!(twice.len() == 1 && twice[0].contains("`before` statement 2"), "{:?}", draft.notes);

        let error =
            attempt::coded(writer.draft(&with(TokenTables::default())), code::TOKENS_MISSING);
        assert!(error.message.contains(&format!("`{database}.transload_run`")), "{error}");
        let schema = Some(format!("{database}_no"));
        let elsewhere = TokenTables { schema, create: true, ..TokenTables::default() };
        attempt::coded(writer.prepare(&with(elsewhere)), code::TOKENS_MISSING);

        // What an administrator runs is what the job needs.
        let prefix = "tl_".to_owned();
        let made = TokenTables { schema: Some(database.clone()), prefix, create: false };
        fixture.run(&(writer.token_ddl(&made).unwrap().join(";") + ";"));
        assert_eq!(
            writer.draft(&with(made.clone())).unwrap().guarantee,
            Guarantee::EffectivelyOnce
        );
        writer.prepare(&with(made)).unwrap();
        assert_eq!(fixture.lines("SELECT state FROM tl_run"), ["writing"]);
        drop(writer);

        fixture.run("CREATE TABLE transload_run(run_id INT) ENGINE = MyISAM;");
        let error = fixture.writer("t").draft(&attempt::plan("s", WriteMode::Insert)).unwrap_err();
        assert_eq!(error.code, code::TOKENS_UNFIT, "{error:?}");
        assert!(error.message.contains("has engine MyISAM"), "{error}");
    }
}
