//! Sessions killed, servers crashed, networks cut, rows locked by others, in the middle of a run:
//! no row is lost or duplicated, no outage makes a row dirty, and a failed run completes when it is
//! run again.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{thread, time::Duration};

use transload_tests::{
    Ended,
    flow::{Flow, Job, OwnServer, kill_sessions, report},
    proxy::{Fault, Proxy},
    servers::{
        Product::{self, Mariadb, Mysql, Postgres},
        Server,
    },
    wait_until,
};

/// Each server once as the source and once as the target.
const ROUND: [(Product, Product); 3] = [(Postgres, Mariadb), (Mariadb, Mysql), (Mysql, Postgres)];

const ROWS: u32 = 50_000;

/// Runs a test for all pairs at the same time.
fn for_all(pairs: &[(Product, Product)], test: impl Fn(Product, Product) + Sync) {
    thread::scope(|scope| {
        for (from, into) in pairs {
            let test = &test;
            scope.spawn(move || test(*from, *into));
        }
    });
}

/// Asserts that a failed run has the right exit code, made no row dirty and duplicated none; run
/// again, it completes.
#[track_caller]
fn mends(flow: &Flow, ended: &Ended, what: &str) {
    if ended.exit == Some(0) {
        flow.assert_complete(what);
        return;
    }
    assert!(matches!(ended.exit, Some(1 | 5 | 75)), "{what}: {ended:?}");
    flow.assert_nothing_doubled(what);
    // Without rows in the report, it failed before it began.
    let report = report(ended);
    assert!(report["rows"].is_null() || report["dirty_met"] == 0, "{what}: {ended:?}");
    let again = flow.run(&Job::default());
    assert_eq!(again.exit, Some(0), "{what}: {again:?}");
    flow.assert_complete(what);
}

#[test]
fn t06_a_killed_source_is_never_the_end_of_data() {
    for_all(&ROUND, |from, into| {
        let flow = Flow::new(from, into, 8_000);
        let what = format!("{from:?} to {into:?}");
        let mut noticed = 0;
        for moment in [100, 500, 800] {
            let job = Job { reader: flow.slow_source(), ..Job::default() };
            let running = flow.started(&job, Duration::from_millis(moment));
            kill_sessions(&flow.source);
            let ended = running.wait();
            // A session that is not reading at that moment may be killed unnoticed.
            noticed += u32::from(ended.exit != Some(0) || report(&ended)["reopened"] != 0);
            mends(&flow, &ended, &what);
            flow.empty();
        }
        assert!(noticed > 0, "{what}: no kill was noticed");
    });
}

#[test]
fn t06_a_cut_stream_is_never_the_end_of_data() {
    for_all(&ROUND, |from, into| {
        let flow = Flow::new(from, into, ROWS);
        for bytes in [1_000, 300_000, 1_000_000] {
            let what = format!("{from:?} to {into:?}, cut after {bytes} bytes");
            let proxy = Proxy::new(flow.source.server.port);
            proxy.arm(Fault::CutReplies(bytes), 1);
            let ended = flow.run(&Job { source_port: Some(proxy.port), ..Job::default() });
            assert_eq!(proxy.happened(), 1, "{what}");
            mends(&flow, &ended, &what);
            flow.empty();
        }
    });
}

/// The target's sessions are killed repeatedly; uncommitted rows are written again.
#[test]
fn t05_killed_target_sessions_make_no_row_dirty_and_lose_none() {
    for_all(&ROUND, |from, into| {
        for mode in ["upsert", "insert"] {
            let flow = Flow::new(from, into, ROWS);
            let what = format!("{from:?} to {into:?}, {mode}");
            let mut running = flow.start(&Job { mode, rate: 20_000, ..Job::default() });
            wait_until("some rows are in", || flow.arrived() > 0 || running.has_ended());
            for pause in [110, 170, 310] {
                kill_sessions(&flow.target);
                thread::sleep(Duration::from_millis(pause));
            }
            let ended = running.wait();
            mends(&flow, &ended, &what);
        }
    });
}

/// Every 50th row is refused by itself while sessions are killed: no other row is dirty.
#[test]
fn t05_an_outage_while_bad_rows_are_sought_makes_no_row_dirty() {
    for_all(&ROUND, |from, into| {
        let flow = Flow::new(from, into, 30_000);
        // Their keys exist, so each batch is halved repeatedly.
        let taken = "where = \"id % 50 = 0\"\n".to_owned();
        let job = Job { mode: "insert", reader: taken, ..Job::default() };
        flow.run(&job).exits(0);
        let job =
            Job { mode: "insert", more: "[dirty]\nmax_rows = 100_000\n".into(), ..Job::default() };
        let mut running = flow.started(&job, Duration::ZERO);
        let mut kills = 0;
        while !running.has_ended() && kills < 5 {
            thread::sleep(Duration::from_millis(150));
            kills += kill_sessions(&flow.target).min(1);
        }
        let ended = running.wait();
        let what = format!("{from:?} to {into:?}: {ended:?}");
        let dirty = report(&ended)["rows"]["dirty"].as_u64().unwrap();
        match ended.exit {
            Some(0) => {
                assert_eq!(dirty, 600, "{what}");
                flow.assert_complete(&what);
            }
            _ => {
                assert!(dirty <= 600, "{what}");
                flow.assert_nothing_doubled(&what);
            }
        }
    });
}

/// The outcome is found out: PostgreSQL keeps it by the transaction's number, and a unique key finds
/// a chunk's rows.
#[test]
fn t07_a_lost_answer_to_commit_is_looked_for() {
    let all = [(Postgres, Mariadb, true), (Mariadb, Mysql, true), (Mysql, Postgres, false)];
    thread::scope(|scope| {
        for (from, into, keyed) in all {
            scope.spawn(move || {
                let (source, target) = (Server::of(from), Server::of(into));
                for fault in [Fault::LoseReply(b"COMMIT", 2), Fault::LoseRequest(b"COMMIT", 2)] {
                    let flow = Flow::between(&source, &target, ROWS, keyed);
                    let what = format!("{from:?} to {into:?}, {fault:?}");
                    let proxy = Proxy::new(target.port);
                    proxy.arm(fault, 1);
                    let target_port = Some(proxy.port);
                    let ended = flow.run(&Job { mode: "insert", target_port, ..Job::default() });
                    assert_eq!(proxy.happened(), 1, "{what}");
                    ended.exits(0);
                    flow.assert_complete(&what);
                    let report = report(&ended);
                    assert_eq!(report["rows"]["inserted"], ROWS, "{what}");
                    assert_eq!(report["dirty_met"], 0, "{what}");
                }
            });
        }
    });
}

#[test]
fn t07_a_lost_answer_to_commit_stops_a_keyless_insert_and_never_doubles() {
    for_all(&ROUND[..2], |from, into| {
        let (source, target) = (Server::of(from), Server::of(into));
        for fault in [Fault::LoseReply(b"COMMIT", 2), Fault::LoseRequest(b"COMMIT", 2)] {
            let flow = Flow::between(&source, &target, ROWS, false);
            let what = format!("{from:?} to {into:?}, {fault:?}");
            let proxy = Proxy::new(target.port);
            proxy.arm(fault, 1);
            let job = Job { mode: "insert", target_port: Some(proxy.port), ..Job::default() };
            let ended = flow.run(&job);
            assert_eq!(proxy.happened(), 1, "{what}");
            ended.exits(1).says("RUN-COMMIT-UNKNOWN");
            let report = report(&ended);
            let committed = report["rows"]["inserted"].as_u64().unwrap();
            let arrived = flow.arrived();
            assert!(
                committed <= arrived && arrived < ROWS.into(),
                "{what}: {committed}, {arrived}"
            );
            assert_eq!(report["dirty_met"], 0, "{what}");
            flow.assert_nothing_doubled(&what);
        }
    });
}

#[test]
fn t07_a_lost_answer_to_commit_is_mended_by_running_an_upsert_again() {
    for_all(&ROUND, |from, into| {
        let flow = Flow::new(from, into, ROWS);
        for fault in [
            Fault::LoseReply(b"COMMIT", 1),
            Fault::LoseReply(b"COMMIT", 3),
            Fault::LoseRequest(b"COMMIT", 2),
        ] {
            let what = format!("{from:?} to {into:?}, {fault:?}");
            let proxy = Proxy::new(flow.target.server.port);
            proxy.arm(fault, 1);
            let ended = flow.run(&Job { target_port: Some(proxy.port), ..Job::default() });
            assert_eq!(proxy.happened(), 1, "{what}");
            mends(&flow, &ended, &what);
            flow.empty();
        }
    });
}

/// An overwrite takes place completely or not at all: the old rows stay until all new ones are
/// written.
#[test]
fn t10_an_overwrite_that_fails_leaves_the_old_rows() {
    for_all(&ROUND, |from, into| {
        let flow = Flow::new(from, into, ROWS);
        flow.target.run("INSERT INTO numbers VALUES (-1, 'old', 1, NULL);");
        let proxy = Proxy::new(flow.source.server.port);
        // Before the first batch of a split, and again whenever the split is retried.
        proxy.arm(Fault::CutReplies(500_000), 1_000);
        let after = "after = [\"INSERT INTO numbers VALUES (-2, 'after', 1, NULL)\"]\n";
        let job = Job {
            mode: "overwrite",
            source_port: Some(proxy.port),
            reader: "reconnect_window = \"1 s\"\n".into(),
            writer: after.into(),
            ..Job::default()
        };
        let ended = flow.run(&job);
        assert_eq!(ended.exit, Some(5), "{from:?} to {into:?}: {ended:?}");
        // Pauses of 0.1, 0.2 and 0.4 s at least, and what is left of the window, in each of two tasks.
        assert!(proxy.happened() <= 10, "{} attempts", proxy.happened());
        assert_eq!(flow.target.lines("SELECT id, word FROM numbers"), ["-1|old"]);
        let tables = match into {
            Postgres => "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
            _ => "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()",
        };
        assert_eq!(flow.target.value(tables), "1", "{into:?}: a stage is left");
        flow.run(&Job { writer: String::new(), source_port: None, ..job }).exits(0);
        flow.assert_complete("overwritten");
    });
}

/// Another session holds rows for longer than the writer waits: the whole chunk is written again.
#[test]
fn a_lock_wait_rolls_the_chunk_back_and_replays_it() {
    for_all(&ROUND, |from, into| {
        let flow = Flow::new(from, into, 20_000);
        flow.target.run("INSERT INTO numbers VALUES (15000, 'old', 1, NULL);");
        let mut holder = flow.target.session();
        holder.run("BEGIN");
        holder.run("UPDATE numbers SET word = 'held' WHERE id = 15000");
        // MySQL counts whole seconds.
        let (lock_timeout, pause) =
            if into == Postgres { ("300 ms", 1_000) } else { ("1 s", 2_500) };
        let writer = format!("lock_timeout = \"{lock_timeout}\"\n");
        let mut running = flow.start(&Job { writer, ..Job::default() });
        wait_until("the run waits for the holder", || is_waiting(&flow, into));
        thread::sleep(Duration::from_millis(pause));
        assert!(!running.has_ended(), "{into:?}: it did not wait: {:?}", running.wait());
        holder.run("ROLLBACK");
        let ended = running.wait();
        ended.exits(0);
        assert!(report(&ended)["replays"].as_u64().unwrap() > 0, "{into:?}: {ended:?}");
        flow.assert_complete(&format!("{from:?} to {into:?}"));
    });
}

#[test]
fn a_lock_that_outlasts_all_patience_ends_the_run_as_passing_trouble() {
    let flow = Flow::new(Mysql, Postgres, 20_000);
    flow.target.run("INSERT INTO numbers VALUES (15000, 'old', 1, NULL);");
    let mut holder = flow.target.session();
    holder.run("BEGIN");
    holder.run("UPDATE numbers SET word = 'held' WHERE id = 15000");
    let writer = "lock_timeout = \"50 ms\"\n".to_owned();
    let ended = flow.run(&Job { writer, ..Job::default() });
    assert_eq!(ended.exit, Some(75), "{ended:?}");
    assert_eq!(report(&ended)["dirty_met"], 0);
    holder.run("ROLLBACK");
    mends(&flow, &ended, "held for long");
}

/// Another client locks the same rows in the other order, and the run is chosen as the victim.
#[test]
fn a_deadlock_rolls_the_chunk_back_and_replays_it() {
    for_all(&[(Mysql, Postgres), (Postgres, Mariadb), (Mariadb, Mysql)], |from, into| {
        let flow = Flow::new(from, into, 20_000);
        // Large rows, so that MySQL considers the run the cheaper victim.
        flow.run(&Job::default()).exits(0);
        flow.target.run(
            "UPDATE numbers SET id = id + 1000000;
             INSERT INTO numbers VALUES (1, 'first', 1, NULL), (15000, 'last', 1, NULL);",
        );
        let mut other = flow.target.session();
        other.run(match into {
            Postgres => "SET deadlock_timeout = '1 min'", // it does not check first
            _ => "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", // does not lock gaps
        });
        other.run("BEGIN");
        other.run("UPDATE numbers SET word = 'mine' WHERE id > 1000000");
        other.run("UPDATE numbers SET word = 'mine' WHERE id = 15000");
        // One task and one chunk: both rows are locked in one transaction.
        let text = flow.text(&Job::default());
        let one = text.replace("parallelism = 2\nbuffer = \"1 MiB\"", "parallelism = 1");
        assert_ne!(one, text);
        flow.workplace.put("job.toml", one);
        let running =
            flow.workplace.start(&["run", "job.toml", "--output", "json", "--progress", "none"]);
        wait_until("the run waits for the other", || is_waiting(&flow, into));
        other.run("UPDATE numbers SET word = 'mine' WHERE id = 1");
        other.run("ROLLBACK");
        let ended = running.wait();
        ended.exits(0);
        assert!(report(&ended)["replays"].as_u64().unwrap() > 0, "{into:?}: {ended:?}");
        flow.target.run("DELETE FROM numbers WHERE id > 1000000;");
        flow.assert_complete(&format!("{from:?} to {into:?}"));
    });
}

/// Whether a session in the target waits for a row.
fn is_waiting(flow: &Flow, product: Product) -> bool {
    let (name, server) = (&flow.target.name, &flow.target.server);
    if product == Postgres {
        let query = format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = '{name}' AND application_name = 'transload' AND wait_event_type = 'Lock';"
        );
        return server.administer(&query).trim() != "0";
    }
    // Not `innodb_trx`: its rows stay as they are while it is read more often than every 100 ms.
    let status = server.administer("SHOW ENGINE INNODB STATUS;");
    let waiting = status.split("---TRANSACTION").filter(|entry| entry.contains("LOCK WAIT"));
    let threads: Vec<&str> = waiting.filter_map(thread_id).collect();
    let query = format!("SELECT id FROM information_schema.processlist WHERE db = '{name}';");
    server.administer(&query).lines().any(|id| threads.contains(&id.trim()))
}

/// The connection's number in a transaction's entry of InnoDB's status.
fn thread_id(entry: &str) -> Option<&str> {
    let (_, number) = entry.split_once(" thread id ")?;
    number.split(|c: char| !c.is_ascii_digit()).next()
}

/// Latency alone causes no failure.
#[test]
fn slow_networks_are_no_faults() {
    for_all(&ROUND, |from, into| {
        let flow = Flow::new(from, into, 5_000);
        let (source, target) =
            (Proxy::new(flow.source.server.port), Proxy::new(flow.target.server.port));
        for proxy in [&source, &target] {
            proxy.arm(Fault::Delay(Duration::from_millis(20)), u32::MAX);
        }
        let (source_port, target_port) = (Some(source.port), Some(target.port));
        let ended = flow.run(&Job { source_port, target_port, ..Job::default() });
        ended.exits(0);
        assert_eq!(report(&ended)["replays"], 0, "{ended:?}");
        flow.assert_complete(&format!("{from:?} to {into:?}"));
    });
}

/// A server that stops responding does not keep the run from stopping on a signal.
#[test]
fn t62_a_silent_server_does_not_keep_the_run_from_stopping() {
    for_all(&ROUND, |from, into| {
        let flow = Flow::new(from, into, ROWS);
        let proxy = Proxy::new(flow.source.server.port);
        proxy.arm(Fault::Silence(400_000), u32::MAX);
        let running = flow.start(&Job { source_port: Some(proxy.port), ..Job::default() });
        wait_until("it is silent", || proxy.happened() > 0);
        thread::sleep(Duration::from_millis(300));
        running.signal("TERM");
        let ended = running.wait();
        ended.exits(143);
        drop(proxy);
        flow.assert_nothing_doubled(&format!("{from:?} to {into:?}"));
    });
}

/// The server crashes and restarts with the committed rows.
fn restarted(product: Product, other: Product) {
    let own = OwnServer::start(product);
    for is_source in [true, false] {
        let (from, into) = match is_source {
            true => (own.server.clone(), Server::of(other)),
            false => (Server::of(other), own.server.clone()),
        };
        let flow = Flow::between(&from, &into, if is_source { 8_000 } else { ROWS }, true);
        let job = match is_source {
            true => Job { reader: flow.slow_source(), ..Job::default() },
            false => Job { rate: 20_000, ..Job::default() },
        };
        let running = flow.started(&job, Duration::from_millis(500));
        own.restart();
        let what = format!("{product:?} as source: {is_source}");
        let ended = running.wait();
        let noticed = ended.exit != Some(0) || report(&ended)["reopened"] != 0;
        assert!(noticed || !is_source, "{what}: the crash was not noticed: {ended:?}");
        mends(&flow, &ended, &what);
    }
}

#[test]
fn postgres_restarted_in_the_middle_of_a_run() {
    restarted(Postgres, Mariadb);
}

#[test]
fn mariadb_restarted_in_the_middle_of_a_run() {
    restarted(Mariadb, Postgres);
}

#[test]
fn mysql_restarted_in_the_middle_of_a_run() {
    restarted(Mysql, Postgres);
}

/// The server crashes while rows are staged and comes back. What it has lost of the stage is never
/// missing in the target: either all rows are published, or none.
fn restarted_while_staging(product: Product, other: Product) {
    let own = OwnServer::start(product);
    let flow = Flow::between(&Server::of(other), &own.server, ROWS, true);
    flow.target.run("INSERT INTO numbers VALUES (-1, 'old', 1, NULL);");
    let job = Job { mode: "overwrite", rate: 20_000, ..Job::default() };
    let running = flow.started(&job, Duration::from_millis(1_500));
    own.restart();
    let ended = running.wait();
    if ended.exit == Some(0) {
        flow.assert_complete("the server kept what was staged");
    } else {
        assert_eq!(flow.target.lines("SELECT id, word FROM numbers"), ["-1|old"], "{ended:?}");
        if product == Postgres {
            ended.exits(1).says("RUN-STAGE");
        }
    }
    flow.run(&Job { rate: 0, ..job }).exits(0);
    flow.assert_complete("run again");
}

#[test]
fn postgres_restarted_while_rows_are_staged() {
    restarted_while_staging(Postgres, Mariadb);
}

#[test]
fn mariadb_restarted_while_rows_are_staged() {
    restarted_while_staging(Mariadb, Postgres);
}
