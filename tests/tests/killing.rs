//! Runs that are killed, at random moments and at each point where a step has happened and the next
//! one has not, and resumed: no row is lost, none is there twice, nothing is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::fs;

use transload_tests::{
    kills::{Route, Target, kills},
    servers::{Database, Product, Server},
};
use transload_tests_buckets::Bucket;

fn on(product: Product) -> Target {
    Target::Server(Database::on(&Server::of(product), ""))
}

fn of_server(product: Product) {
    for (mode, has_tokens) in
        [("insert", true), ("upsert", true), ("overwrite", true), ("upsert", false)]
    {
        Route::new(on(product), mode, has_tokens).kill_and_resume(kills());
    }
}

#[test]
fn f1_killed_runs_into_postgres_lose_and_double_nothing() {
    of_server(Product::Postgres);
}

#[test]
fn f1_killed_runs_into_mariadb_lose_and_double_nothing() {
    of_server(Product::Mariadb);
}

#[test]
fn f1_killed_runs_into_mysql_lose_and_double_nothing() {
    of_server(Product::Mysql);
}

#[test]
fn f1_killed_runs_into_sqlite_lose_and_double_nothing() {
    for (mode, has_tokens) in
        [("insert", true), ("upsert", true), ("overwrite", true), ("upsert", false)]
    {
        Route::new(Target::Sqlite, mode, has_tokens).kill_and_resume(kills());
    }
}

#[test]
fn f1_killed_runs_into_files_lose_and_double_nothing() {
    for mode in ["insert", "overwrite"] {
        Route::new(Target::Files, mode, false).kill_and_resume(kills());
    }
}

#[test]
fn f1_killed_runs_into_objects_lose_and_double_nothing() {
    for mode in ["insert", "overwrite"] {
        Route::new(Target::Objects(Bucket::s3()), mode, false).kill_and_resume(kills());
    }
}

/// Kills a run at each point on its first pass, in a long run of this test on later ones, too.
/// `reached` are those that it must come to.
#[track_caller]
fn at_each_point(route: &Route, reached: &[u32]) {
    let passes: &[u32] = if kills() > 10 { &[1, 2, 5] } else { &[1] };
    for point in 1..=13 {
        for pass in passes {
            let failpoint = format!("K{point}#{pass}");
            route.reset();
            if let Some(ended) = route.attempt_until(&failpoint) {
                ended.exits(0);
                assert!(*pass > 1 || !reached.contains(&point), "{failpoint} was not reached");
                break;
            }
            route.assert_atomic(&failpoint);
            let ended = route.attempt(None).unwrap();
            assert_eq!(ended.exit, Some(0), "{failpoint}: {ended:?}");
            route.assert_exact(&failpoint);
        }
    }
}

/// The points of the host: while planning, behind the journal's first line, behind the claim, before a
/// commit, behind it, behind its line in the journal, behind a task's end, before the end of the run.
const OF_HOST: [u32; 8] = [1, 2, 4, 5, 7, 8, 9, 13];

#[test]
fn f2_a_run_into_postgres_can_be_killed_at_each_point() {
    for mode in ["insert", "overwrite"] {
        at_each_point(&Route::new(on(Product::Postgres), mode, true), &OF_HOST);
    }
}

#[test]
fn f2_a_run_into_mariadb_can_be_killed_at_each_point() {
    for mode in ["insert", "overwrite"] {
        at_each_point(&Route::new(on(Product::Mariadb), mode, true), &OF_HOST);
    }
}

#[test]
fn f2_a_run_into_mysql_can_be_killed_at_each_point() {
    at_each_point(&Route::new(on(Product::Mysql), "insert", true), &OF_HOST);
}

#[test]
fn f2_a_run_into_sqlite_can_be_killed_at_each_point() {
    for mode in ["insert", "overwrite"] {
        at_each_point(&Route::new(Target::Sqlite, mode, true), &OF_HOST);
    }
}

#[test]
fn f2_a_run_into_files_can_be_killed_at_each_point() {
    for mode in ["insert", "overwrite"] {
        at_each_point(&Route::new(Target::Files, mode, false), &OF_HOST);
    }
}

#[test]
fn f2_a_run_into_objects_can_be_killed_at_each_point() {
    at_each_point(&Route::new(Target::Objects(Bucket::s3()), "insert", false), &OF_HOST);
}

/// The journal is ahead of a target that was restored from a copy: the target decides.
#[test]
fn a_restored_target_is_continued_from_where_it_is() {
    let route = Route::new(Target::Sqlite, "insert", true);
    route.reset();
    let database = route.workplace.path().join("target.db");
    assert!(route.attempt_until("K8#2").is_none(), "no process was killed");
    route.workplace.execute("target.db", "PRAGMA wal_checkpoint(TRUNCATE)");
    let copy = fs::read(&database).unwrap();
    assert!(route.attempt_until("K8#5").is_none(), "no process was killed");
    route.workplace.execute("target.db", "PRAGMA wal_checkpoint(TRUNCATE)");
    fs::write(&database, copy).unwrap();
    route.attempt(None).unwrap().exits(0);
    route.assert_exact("restored");
}

/// Files may not grow any more: those of the target, of the journal, of the dirty rows, whichever is
/// the first that has to. Nothing is believed to be written, and nothing is tried for long.
#[track_caller]
fn without_space(route: &Route) {
    let limits: &[u64] = match kills() {
        0..=10 => &[0, 2_000, 9_000, 50_000],
        _ => &[0, 500, 1_000, 2_000, 4_000, 6_000, 9_000, 13_000, 20_000, 50_000, 90_000],
    };
    let mut failed = 0;
    for limit in limits {
        route.reset();
        let what = format!("no file beyond {limit} bytes");
        let ended = route.attempt_within(*limit);
        assert!(ended.exit.is_some(), "{what}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{what}: {ended:?}");
        if ended.exit == Some(0) {
            route.assert_exact(&what);
            continue;
        }
        failed += 1;
        let mut ended = route.attempt(None).unwrap();
        if ended.stderr.contains("FILE-ABANDONED") {
            // The run has removed what it had staged, and its journal had no space to say so.
            fs::remove_dir_all(route.workplace.path().join("state")).unwrap();
            ended = route.attempt(None).unwrap();
        }
        assert_eq!(ended.exit, Some(0), "{what}: {ended:?}");
        route.assert_exact(&what);
    }
    assert!(failed > 1, "the limits were not met");
}

#[test]
fn f16_f17_f18_a_run_into_sqlite_without_space_is_resumed() {
    without_space(&Route::new(Target::Sqlite, "insert", true));
}

#[test]
fn f16_f18_a_run_into_a_server_without_space_for_its_journal_is_resumed() {
    without_space(&Route::new(on(Product::Postgres), "insert", true));
}

#[test]
fn f15_f18_a_run_into_files_without_space_is_resumed() {
    without_space(&Route::new(Target::Files, "insert", false));
}
