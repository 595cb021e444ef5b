//! Commit tokens on a real server: claims, fences, lost replies, runs that are killed at every point and
//! continued by another process, and what is missing for tokens.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use support::Fixture;
use transload_plugin_api::{
    ChunkOutcome, ErrorKind, Guarantee, Options, Plugin, Position, TokenTables, WriteMode,
    WritePlan, code,
    testing::{attempt, killing},
};
use transload_plugin_postgres::PostgresPlugin;

const KEYLESS: &str = "CREATE TABLE t(id int8, s text)";
const KEYED: &str = "CREATE TABLE t(id int8 PRIMARY KEY, s text)";

/// How many rows there are, and how many different ones.
fn counts(fixture: &Fixture) -> String {
    fixture.rows("SELECT count(*), count(DISTINCT id) FROM t").remove(0)
}

fn all() -> String {
    format!("{0}|{0}", killing::ROWS)
}

#[test]
fn child() {
    if std::env::var("TRANSLOAD_TEST_POSTGRES").is_ok() {
        killing::child(&PostgresPlugin, support::host());
    }
}

#[test]
fn a_run_killed_at_any_point_is_continued_and_writes_each_row_once() {
    for mode in [WriteMode::Insert, WriteMode::Upsert, WriteMode::Ignore, WriteMode::Overwrite] {
        for points in killing::POINTS {
            let table = if mode == WriteMode::Insert { KEYLESS } else { KEYED };
            let fixture = Fixture::new(&format!("{table}; CREATE TABLE log(s text)"));
            let mut plan = attempt::plan("r", mode);
            plan.before = vec!["INSERT INTO log VALUES ('before')".to_owned()];
            plan.after = vec!["INSERT INTO log VALUES ('after')".to_owned()];
            let options = fixture.options(&[("table", "t")]);
            killing::Processes::new("child", options, plan).write(points);
            assert_eq!(counts(&fixture), all(), "{mode:?} {points:?}");
            let log = fixture.rows("SELECT s FROM log ORDER BY s DESC");
            assert_eq!(log, ["before", "after"], "{mode:?} {points:?}");
            assert_eq!(fixture.rows("SELECT state, active_key FROM transload_run"), ["done|-"]);
        }
    }
}

#[test]
fn the_tests_find_tokens_outside_of_the_transaction_and_a_missing_fence() {
    let processes = |fixture: &Fixture, defect| {
        let plan = attempt::plan("r", WriteMode::Insert);
        killing::Processes::new("child", fixture.options(&[("table", "t")]), plan)
            .with_defect(defect)
    };
    let fixture = Fixture::new(KEYLESS);
    processes(&fixture, "journal-only").write(&["K7#2"]);
    assert_ne!(counts(&fixture), all(), "doubled rows are not noticed");
    for (defect, writes) in [("", false), ("no-fence", true)] {
        let fixture = Fixture::new(KEYLESS);
        assert_eq!(processes(&fixture, defect).revive(), writes, "{defect}");
    }
}

#[test]
fn a_claim_ends_an_attempt_within_a_chunk() {
    let fixture = Fixture::new(KEYLESS);
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
    assert_eq!(counts(&fixture), "6|6");
}

#[test]
fn a_claim_waits_for_a_session_that_is_not_an_attempt() {
    let fixture = Fixture::new(KEYLESS);
    let (plan, writer) = (attempt::plan("r", WriteMode::Insert), fixture.writer("t"));
    drop(attempt::begun(&*writer, &plan));
    // Another session keeps the row for a while. Its number is the attempt's, but not its start.
    let other = fixture.connect();
    other.run("UPDATE transload_task SET owner_id = pg_backend_pid()");
    other.run("BEGIN; SELECT FROM transload_task FOR UPDATE");
    std::thread::scope(|scope| {
        let claim = scope.spawn(|| drop(attempt::open(&*writer, &plan)));
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(!claim.is_finished(), "the claim does not wait");
        other.run("COMMIT");
        claim.join().unwrap();
    });
}

#[test]
fn a_lost_reply_to_a_commit_is_resolved_both_ways() {
    // A keyless table; the way back, or the server's session, is cut.
    for is_in in [true, false] {
        let fixture = Fixture::new(KEYLESS);
        let plan = attempt::plan("r", WriteMode::Insert);
        let (writer, faults) = fixture.writer_through_proxy("t");
        let mut task = attempt::begun(&*writer, &plan);
        attempt::chunk(&mut *task, 0).unwrap();
        task.begin_chunk(1).unwrap();
        if is_in {
            faults.at_commit.store(true, SeqCst);
            assert_eq!(attempt::finish(&mut *task, 1).unwrap(), ChunkOutcome::Committed);
        } else {
            faults.silence_open();
            // The session's end undoes the chunk; its commit was never sent.
            fixture.end_sessions();
            faults.heal();
            assert_eq!(attempt::finish(&mut *task, 1).unwrap_err().kind, ErrorKind::Retry);
            task.rollback_chunk().unwrap();
            attempt::chunk(&mut *task, 1).unwrap();
        }
        attempt::chunk(&mut *task, 2).unwrap();
        assert_eq!(counts(&fixture), "9|9", "{is_in}");
        let receipt = task.finish().unwrap();
        assert_eq!(writer.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
    }
}

#[test]
fn a_second_run_is_refused_and_names_the_first() {
    let fixture =
        Fixture::new(&format!("{KEYLESS}; CREATE SCHEMA x; CREATE TABLE x.t(id int8, s text)"));
    let (first, second) = (fixture.writer("t"), fixture.writer("public.t"));
    first.prepare(&attempt::plan("r", WriteMode::Insert)).unwrap();
    let error =
        attempt::coded(second.prepare(&attempt::plan("s", WriteMode::Overwrite)), code::RUN_ACTIVE);
    assert_eq!(error.kind, ErrorKind::Locked);
    assert!(
        error.message.starts_with("run `r` of job `nightly` writes table `public.t` since 20"),
        "{error}"
    );
    // Another table of that name is another target.
    fixture.writer("x.t").prepare(&attempt::plan("s", WriteMode::Insert)).unwrap();
    first.abort(&attempt::plan("r", WriteMode::Insert), &[]).unwrap();
    drop(first);
    second.prepare(&attempt::plan("u", WriteMode::Overwrite)).unwrap();
}

#[test]
fn a_run_of_a_process_that_died_holds_the_target_until_it_is_given_up() {
    for mode in [WriteMode::Insert, WriteMode::Overwrite] {
        let fixture = Fixture::new(if mode == WriteMode::Insert { KEYLESS } else { KEYED });
        let options = fixture.options(&[("table", "t")]);
        let mut processes = killing::Processes::new("child", options, attempt::plan("r", mode));
        processes.leave(&["K7#2"]);
        let writer = fixture.writer("t");
        let error = attempt::coded(writer.prepare(&attempt::plan("s", mode)), code::RUN_ACTIVE);
        assert!(error.message.starts_with("run `r` of job `nightly`"), "{error}");
        processes.give_up(&["K14"]);
        writer.prepare(&attempt::plan("s", mode)).unwrap();
        let kept = if mode == WriteMode::Insert { "10|10" } else { "0|0" };
        assert_eq!(counts(&fixture), kept, "rows of committed chunks stay");
        let left = "SELECT tablename FROM pg_tables WHERE tablename = 't__transload_r'";
        assert_eq!(fixture.rows(left), [""; 0]);
    }
}

#[test]
fn what_tokens_need_is_reported_before_the_run() {
    let fixture = Fixture::new(&format!("{KEYLESS}; CREATE UNLOGGED TABLE u(id int8, s text)"));
    let with = |tables: TokenTables| WritePlan {
        tokens: Some(tables),
        ..attempt::plan("r", WriteMode::Insert)
    };
    let draft = fixture.writer("u").draft(&attempt::plan("r", WriteMode::Insert)).unwrap();
    assert_eq!(draft.guarantee, Guarantee::AtLeastOnce);
    assert_eq!(
        draft.because,
        "commit tokens cannot be used: `public.u` is unlogged: a crash of the server empties it"
    );
    let writer = fixture.writer("t");
    let draft = writer.draft(&attempt::plan("r", WriteMode::Insert)).unwrap();
    assert_eq!(draft.guarantee, Guarantee::EffectivelyOnce);

    let missing = with(TokenTables::default());
    let error = attempt::coded(writer.draft(&missing), code::TOKENS_MISSING);
    assert!(error.message.ends_with("`public.transload_run`, `public.transload_task`"), "{error}");
    attempt::coded(writer.prepare(&missing), code::TOKENS_MISSING);

    let elsewhere =
        TokenTables { schema: Some("no".to_owned()), create: true, ..TokenTables::default() };
    let error = attempt::coded(writer.draft(&with(elsewhere)), code::TOKENS_MISSING);
    assert!(error.message.ends_with("there is no schema no"), "{error}");

    // What an administrator runs is what the job needs.
    let made =
        TokenTables { schema: Some("me ta".to_owned()), prefix: "tl_".to_owned(), create: false };
    fixture.run(&writer.token_ddl(&made).unwrap().join(";"));
    let draft = writer.draft(&with(made.clone())).unwrap();
    assert_eq!(draft.guarantee, Guarantee::EffectivelyOnce, "{draft:?}");
    writer.prepare(&with(made)).unwrap();
    assert_eq!(fixture.rows("SELECT state FROM \"me ta\".tl_run"), ["writing"]);
    drop(writer);

    fixture
        .run("CREATE TABLE transload_run(run_id text); CREATE TABLE transload_task(run_id text)");
    let error = attempt::coded(fixture.writer("t").draft(&missing), code::TOKENS_UNFIT);
    assert!(error.message.contains("it lacks column `job`"), "{error}");
}

#[test]
fn a_user_without_the_right_to_create_tables_is_told() {
    let name = format!("weak_{}", std::process::id());
    let fixture = Fixture::new(&format!(
        "{KEYLESS}; REVOKE CREATE ON SCHEMA public FROM public; DROP ROLE IF EXISTS {name}; \
         CREATE ROLE {name} LOGIN PASSWORD 'weak'; GRANT ALL ON t TO {name}"
    ));
    let mut options: Options = fixture.options(&[("table", "t")]);
    options.values.insert("user".to_owned(), name.clone().into());
    let host = || {
        transload_plugin_api::Host::new(
            std::sync::Arc::new(support::Password("weak".to_owned())),
            transload_plugin_api::Cancel::new(),
        )
    };
    let writer = PostgresPlugin.writer(options.clone(), host()).unwrap();
    let error =
        attempt::coded(writer.draft(&attempt::plan("r", WriteMode::Insert)), code::TOKENS_MISSING);
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    assert!(error.hint.unwrap().starts_with("GRANT CREATE ON SCHEMA"));
    // They are there, and the user may not use them.
    let tables = TokenTables::default();
    fixture.run(
        &writer
            .token_ddl(&TokenTables { schema: Some("public".to_owned()), ..tables.clone() })
            .unwrap()
            .join(";"),
    );
    let plan = WritePlan { tokens: Some(tables), ..attempt::plan("r", WriteMode::Insert) };
    let error = attempt::coded(writer.draft(&plan), code::TOKENS_UNFIT);
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    fixture.run(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON transload_run, transload_task TO {name}"
    ));
    let mut task = attempt::begun(&*writer, &plan);
    attempt::chunk(&mut *task, 0).unwrap();
    let receipt = task.finish().unwrap();
    writer.commit(&plan, &[receipt]).unwrap();
    writer.finalise(&plan).unwrap();
    drop(writer);
    fixture.run(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}

#[test]
fn a_statement_that_cannot_run_in_a_transaction_runs() {
    let fixture = Fixture::new(KEYLESS);
    let mut plan = attempt::plan("r", WriteMode::Insert);
    plan.before = vec!["VACUUM t".to_owned()];
    let writer = fixture.writer("t");
    let mut task = attempt::begun(&*writer, &plan);
    assert_eq!(fixture.rows("SELECT step, state FROM transload_run"), ["1|writing"]);
    attempt::chunk(&mut *task, 0).unwrap();
}

#[test]
fn a_session_with_tokens_ends_by_itself_after_a_silence() {
    let fixture = Fixture::new(&format!(
        "{KEYLESS}; CREATE TABLE log(s text); CREATE FUNCTION note() RETURNS trigger \
         LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES \
         (current_setting('idle_in_transaction_session_timeout')); RETURN NEW; END $$; \
         CREATE TRIGGER note AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION note()"
    ));
    let writer = fixture.writer("t");
    let mut task = attempt::begun(&*writer, &attempt::plan("r", WriteMode::Insert));
    attempt::chunk(&mut *task, 0).unwrap();
    assert_eq!(fixture.rows("SELECT s FROM log"), ["1min"]);
}
