//! Faults in the middle of runs with commit tokens, into tables without a key, which would show every
//! row that is written twice: lost replies, cut and silent connections, killed sessions, crashed
//! servers, conflicts, and a stopped process that wakes up after another one has taken its run over.
//! The last tests show that the others would notice a missing fence and a missing token.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use transload_tests::{
    Ended, Running, Workplace,
    flow::{Flow, Job, OwnServer, kill_sessions, report},
    proxy::{Fault, Proxy},
    servers::{
        Product::{self, Mariadb, Mysql, Postgres},
        Server,
    },
    wait_until,
};

/// Each server once as the source and once as the target.
const ROUND: [(Product, Product); 3] = [(Mysql, Postgres), (Postgres, Mariadb), (Mariadb, Mysql)];

const ROWS: u32 = 50_000;

/// Chunks of one batch, each with a token.
const TOKENS: &str = "[guarantee]\nrequire = \"effectively-once\"\ncreate_tables = true\n\
                      [checkpoint]\nrows = 2_000\n";

fn job() -> Job {
    Job { mode: "insert", more: TOKENS.to_owned(), ..Job::default() }
}

fn keyless(from: &Server, into: &Server) -> Flow {
    Flow::between(from, into, ROWS, false)
}

fn for_all(test: impl Fn(Product, Product) + Sync) {
    thread::scope(|scope| {
        for (from, into) in ROUND {
            let test = &test;
            scope.spawn(move || test(from, into));
        }
    });
}

/// The run is resumed to its end: every row is in, once, and counted once.
#[track_caller]
fn completes(flow: &Flow, ended: Ended, what: &str) {
    let ended = flow.resumed(ended);
    flow.assert_complete(what);
    let report = report(&ended);
    assert_eq!(report["rows"]["inserted"], ROWS, "{what}: {report:#}");
    assert_eq!(report["dirty_met"], 0, "{what}");
}

/// The words of a text, whatever the width of its lines.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the job says nothing else, the reader divides the source so that tasks continue.
#[test]
fn a_plan_chooses_what_its_guarantee_needs() {
    let (postgres, mysql) = (Server::of(Postgres), Server::of(Mysql));
    let flow = keyless(&postgres, &mysql);
    let plan = |flow: &Flow, job: &Job| {
        flow.workplace.put("job.toml", flow.text(job));
        flow.workplace.run(&["plan", "job.toml"])
    };
    let said = words(&plan(&flow, &job()).exits(0).stdout);
    assert!(said.contains("effectively-once: each split can be read from any position"), "{said}");
    let chosen = "`consistency = \"split\"` is chosen, because the guarantee that the job requires \
                  needs an order in which a task continues: each split sees the state at its own \
                  start, and is read in the order of `id`, through its index";
    assert!(said.contains(chosen), "{said}");
    // Without a requirement all splits see one state.
    let without = Job { mode: "insert", ..Job::default() };
    let said = words(&plan(&flow, &without).exits(0).stdout);
    assert!(!said.contains("is chosen"), "{said}");
    for flow in [flow, keyless(&mysql, &postgres)] {
        let reader = "consistency = \"snapshot\"\n".to_owned();
        let ended = plan(&flow, &Job { reader, ..job() });
        ended.exits(2).says("PLAN-GUARANTEE");
        let said = words(&ended.stderr);
        assert!(said.contains("leave `consistency` out: each split then sees the state"), "{said}");
    }
}

/// Faults of the target's connection; each occurs once.
#[test]
fn no_fault_of_a_connection_loses_or_doubles_a_row() {
    for_all(|from, into| {
        for fault in [
            Fault::LoseReply(b"COMMIT", 1),
            Fault::LoseReply(b"COMMIT", 3),
            Fault::LoseRequest(b"COMMIT", 2),
            Fault::CutRequests(400_000),
            Fault::Reset(400_000),
        ] {
            let flow = keyless(&Server::of(from), &Server::of(into));
            let what = format!("{from:?} to {into:?}, {fault:?}");
            let proxy = Proxy::new(flow.target.server.port);
            proxy.arm(fault, 1);
            let ended = flow.run(&Job { target_port: Some(proxy.port), ..job() });
            assert_eq!(proxy.happened(), 1, "{what}: {ended:?}");
            completes(&flow, ended, &what);
        }
    });
}

/// A proxy that confirms a commit's packets and forwards no reply.
#[test]
fn a_target_that_falls_silent_is_noticed_and_its_chunk_written_once() {
    for_all(|from, into| {
        let flow = keyless(&Server::of(from), &Server::of(into));
        let proxy = Proxy::new(flow.target.server.port);
        proxy.arm(Fault::Swallow(b"COMMIT", 2), 1);
        let writer = "idle_timeout = \"1 s\"\n".to_owned();
        let ended = flow.run(&Job { target_port: Some(proxy.port), writer, ..job() });
        let what = format!("{from:?} to {into:?}");
        assert_eq!(proxy.happened(), 1, "{what}: {ended:?}");
        completes(&flow, ended, &what);
    });
}

#[test]
fn a_lost_source_is_read_on_behind_the_last_chunk() {
    for_all(|from, into| {
        for fault in
            [Fault::CutReplies(300_000), Fault::CutReplies(1_000_000), Fault::Reset(500_000)]
        {
            let flow = keyless(&Server::of(from), &Server::of(into));
            let what = format!("{from:?} to {into:?}, {fault:?}");
            let proxy = Proxy::new(flow.source.server.port);
            // More often than a task opens its split again.
            proxy.arm(fault, 3);
            let ended = flow.run(&Job { source_port: Some(proxy.port), ..job() });
            assert!(proxy.happened() > 0, "{what}");
            completes(&flow, ended, &what);
        }
    });
}

#[test]
fn killed_target_sessions_lose_and_double_nothing() {
    for_all(|from, into| {
        let flow = keyless(&Server::of(from), &Server::of(into));
        let mut running = flow.start(&Job { rate: 20_000, ..job() });
        wait_until("some rows are in", || flow.arrived() > 0 || running.has_ended());
        for pause in [110, 170, 310] {
            kill_sessions(&flow.target);
            thread::sleep(Duration::from_millis(pause));
        }
        completes(&flow, running.wait(), &format!("{from:?} to {into:?}"));
    });
}

/// Transactions of two tasks conflict with each other and with another client.
#[test]
fn serializable_transactions_are_written_again() {
    let flow = keyless(&Server::of(Mysql), &Server::of(Postgres));
    let name = &flow.target.name;
    flow.target
        .run(&format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable';"));
    completes(&flow, flow.run(&job()), "serializable");
}

/// The server crashes in the middle of a run and comes back.
fn restarted(product: Product, other: Product) {
    let own = OwnServer::start(product);
    let flow = keyless(&Server::of(other), &own.server);
    let mut running = flow.start(&Job { rate: 20_000, ..job() });
    wait_until("some rows are in", || flow.arrived() > 0 || running.has_ended());
    own.restart();
    completes(&flow, running.wait(), &format!("{product:?}"));
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

/// A process of the run, as on a machine of its own, with defects and points of death.
fn process(workplace: &Workplace, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
    let mut command: Command = workplace.command();
    command.args(arguments).args(["--output", "json", "--progress", "none"]);
    command.envs(variables.iter().copied());
    Running::of(command)
}

/// Stops a run in the middle, resumes it on another machine, and wakes the first process up while the
/// second one is at work. Returns how both end.
fn outlived(flow: &Flow, variables: &[(&str, &str)]) -> [Ended; 2] {
    flow.workplace.put("job.toml", flow.text(&Job { rate: 20_000, ..job() }));
    let mut first = process(&flow.workplace, &["run", "job.toml"], variables);
    wait_until("some rows are in", || flow.arrived() > 0 || first.has_ended());
    first.signal("STOP");
    let before = flow.arrived();
    let machine = Workplace::copy_of(flow.workplace.path());
    let mut second = process(&machine, &["resume", "job"], variables);
    wait_until("it has written", || flow.arrived() > before || second.has_ended());
    first.signal("CONT");
    [first.wait(), second.wait()]
}

#[test]
fn a_process_that_wakes_up_behind_its_successor_writes_nothing() {
    for_all(|from, into| {
        let flow = keyless(&Server::of(from), &Server::of(into));
        let [first, second] = outlived(&flow, &[]);
        let what = format!("{from:?} to {into:?}");
        assert_ne!(first.exit, Some(0), "{what}: {first:?}");
        second.exits(0);
        flow.assert_complete(&what);
    });
}

#[test]
fn a_missing_fence_would_be_noticed() {
    let flow = keyless(&Server::of(Mysql), &Server::of(Postgres));
    outlived(&flow, &[("TRANSLOAD_DEFECT", "no-fence")]);
    assert!(flow.arrived() > ROWS.into(), "{} rows", flow.arrived());
}

#[test]
fn progress_in_the_journal_alone_would_be_noticed() {
    let flow = keyless(&Server::of(Mysql), &Server::of(Postgres));
    flow.workplace.put("job.toml", flow.text(&job()));
    let defect = ("TRANSLOAD_DEFECT", "journal-only");
    let killed = [defect, ("TRANSLOAD_FAILPOINT", "K7#3")];
    let ended = process(&flow.workplace, &["run", "job.toml"], &killed).wait();
    assert_eq!(ended.exit, None, "{ended:?}");
    process(&flow.workplace, &["resume", "job"], &[defect]).wait().exits(0);
    assert!(flow.arrived() > ROWS.into(), "{} rows", flow.arrived());
}

/// The same without the defect: behind a chunk, and behind the end of the run in the store, which the
/// journal does not know yet.
#[test]
fn a_process_that_dies_behind_a_commit_doubles_nothing() {
    for_all(|from, into| {
        for point in ["K7#3", "K13#2"] {
            let flow = keyless(&Server::of(from), &Server::of(into));
            flow.workplace.put("job.toml", flow.text(&job()));
            let killed = [("TRANSLOAD_FAILPOINT", point)];
            let ended = process(&flow.workplace, &["run", "job.toml"], &killed).wait();
            assert_eq!(ended.exit, None, "{ended:?}");
            completes(&flow, ended, &format!("{from:?} to {into:?}, {point}"));
        }
    });
}

/// A run that was killed holds its target also against runs that keep no tokens.
#[test]
fn a_run_without_tokens_does_not_write_beside_one_with_tokens() {
    for_all(|from, into| {
        let flow = keyless(&Server::of(from), &Server::of(into));
        flow.workplace.put("job.toml", flow.text(&job()));
        let killed = [("TRANSLOAD_FAILPOINT", "K7#3")];
        process(&flow.workplace, &["run", "job.toml"], &killed).wait();
        let (arrived, elsewhere) = (flow.arrived(), Workplace::new());
        for mode in ["insert", "overwrite"] {
            elsewhere.put("other.toml", flow.text(&Job { mode, ..Job::default() }));
            let ended = elsewhere.run(&["run", "other.toml"]);
            ended.exits(9).says("RUN-ACTIVE").says("of job `job` writes table");
        }
        assert_eq!(flow.arrived(), arrived, "{from:?} to {into:?}");
        flow.workplace.run(&["abort", "job"]).exits(0);
        elsewhere.run(&["run", "other.toml"]).exits(0);
        flow.assert_complete(&format!("{from:?} to {into:?}"));
    });
}

/// A job from the generator into table `t` of a file, with tokens.
fn generated(workplace: &Workplace, reader: &str, mode: &str, more: &str) {
    workplace.put(
        "job.toml",
        format!(
            "[reader]\nplugin = \"generator\"\nspecs = {{ id = \"int64 sequence\" }}\n{reader}\
             [writer]\nplugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\nwrite_mode = \"{mode}\"\n\
             {TOKENS}[channel]\n{more}"
        ),
    );
}

#[test]
fn a_plan_warns_of_one_key_in_two_tasks() {
    let workplace = Workplace::new();
    workplace.execute("t.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)");
    let warning = "if two tasks have rows with the same key (id), which of them remains is not \
                   defined: `parallelism = 1` keeps the order of the source";
    let warns = |reader, mode, more| {
        generated(&workplace, reader, mode, more);
        words(&workplace.run(&["plan", "job.toml"]).exits(0).stdout).contains(warning)
    };
    for (reader, mode, more, expected) in [
        ("rows = 10\n", "upsert", "parallelism = 2\n", true),
        ("rows = 10\n", "ignore", "parallelism = 2\n", true),
        // The source's own key keeps rows apart.
        ("rows = 10\nprimary_key = \"id\"\n", "upsert", "parallelism = 2\n", false),
        ("rows = 10\n", "upsert", "parallelism = 1\n", false),
        // A second row with a key is dirty.
        ("rows = 10\n", "insert", "parallelism = 2\n", false),
    ] {
        assert_eq!(warns(reader, mode, more), expected, "{reader} {mode} {more}");
    }
}

#[test]
fn f36_a_rate_is_kept_with_tokens() {
    let workplace = Workplace::new();
    workplace.execute("t.db", "CREATE TABLE t (id INTEGER)");
    let limits = "parallelism = 2\nmax_rows_per_second = 2_000\n";
    generated(&workplace, "rows = 6_000\nbatch_rows = 500\n", "insert", limits);
    let begun = Instant::now();
    workplace.run(&["run", "job.toml"]).exits(0);
    // A second's worth may pass at once.
    assert!(begun.elapsed() > Duration::from_millis(1_900), "{:?}", begun.elapsed());
    let count = workplace.sqlite("t.db", "SELECT count(*) || ' ' || count(DISTINCT id) FROM t");
    assert_eq!(count, ["'6000 6000'"]);
}
