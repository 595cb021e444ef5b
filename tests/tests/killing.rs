//! Runs that are killed, at random moments and at each point where a step has happened and the next
//! one has not, and resumed: no row is lost, none is there twice, nothing is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

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
/// commit, behind it, behind a task's end, before the end of the run.
const OF_HOST: [u32; 7] = [1, 2, 4, 5, 7, 9, 13];

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
