//! The cases of `traps.md` that need servers and are not faults: what is written where, in which
//! order and by which session, and what is reported about it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use transload_tests::{
    Ended, Workplace,
    flow::{Flow, Job, report},
    servers::{
        Database,
        Product::{self, Mariadb, Mysql, Postgres},
    },
    wait_until,
};

/// Each server once as the source and once as the target.
const ROUND: [(Product, Product); 3] = [(Postgres, Mariadb), (Mariadb, Mysql), (Mysql, Postgres)];

/// A job from table `t` to table `t`.
fn job(source: &Database, target: &Database, more: &str) -> String {
    format!(
        "[reader]\n{}table = \"t\"\n[writer]\n{}table = \"t\"\n{more}",
        source.address(None),
        target.address(None)
    )
}

#[track_caller]
fn run(text: &str) -> Ended {
    let workplace = Workplace::new();
    workplace.put("job.toml", text);
    workplace.run(&["run", "job.toml", "--output", "json", "--progress", "none"])
}

#[test]
fn t39_columns_go_by_name_whatever_their_order() {
    for (from, into) in ROUND {
        let source =
            "CREATE TABLE t (a INTEGER, b INTEGER, c INTEGER); INSERT INTO t VALUES (1, 2, 3);";
        let source = Database::new(from, source);
        let target = Database::new(into, "CREATE TABLE t (c INTEGER, b INTEGER, a INTEGER);");
        run(&job(&source, &target, "")).exits(0);
        assert_eq!(target.lines("SELECT a, b, c FROM t"), ["1|2|3"], "{from:?} to {into:?}");
    }
}

/// A list becomes JSON where the target has text or no columns yet; an interval, declared as text,
/// is the server's text.
#[test]
fn lists_and_intervals_go_where_only_text_is() {
    let source = Database::new(
        Postgres,
        "CREATE TABLE t (id INTEGER, a INTEGER[], w TEXT[], i INTERVAL);
         INSERT INTO t VALUES (1, '{1,NULL,-3}', ARRAY['x \"y', 'z'], '1 mon -2 days 3.5 s'),
             (2, '{}', NULL, NULL);",
    );
    let reader = format!("[reader]\n{}table = \"t\"\n", source.address(None));
    let schema = "schema = { i = \"text\" }\n";
    let rows =
        [r#"1|'[1,null,-3]'|'["x \"y","z"]'|'1 mon -2 days +00:00:03.5'"#, "2|'[]'|NULL|NULL"]
            .map(String::from);
    let workplace = Workplace::new();
    for create in [false, true] {
        let target = format!("target{create}.db");
        if !create {
            workplace.execute(&target, "CREATE TABLE t (id INTEGER, a TEXT, w TEXT, i TEXT);");
        }
        let writer = format!(
            "[writer]\nplugin = \"sqlite\"\npath = \"{target}\"\ntable = \"t\"\n\
             create_table = {create}\n"
        );
        workplace.put("job.toml", format!("{reader}{schema}{writer}"));
        workplace.run(&["run", "job.toml"]).exits(0);
        assert_eq!(workplace.sqlite(&target, "SELECT * FROM t ORDER BY id"), rows, "{create}");
    }
    let csv = "[writer]\nplugin = \"file\"\npath = \"out.csv\"\n";
    workplace.put("job.toml", format!("{reader}{schema}{csv}"));
    workplace.run(&["run", "job.toml"]).exits(0);
    assert!(workplace.read("out.csv").contains("\"[1,null,-3]\""), "{}", workplace.read("out.csv"));
    let target = Database::new(Mysql, "");
    let writer = format!("[writer]\n{}table = \"t\"\ncreate_table = true\n", target.address(None));
    workplace.put("job.toml", format!("{reader}{schema}{writer}"));
    workplace.run(&["run", "job.toml"]).exits(0);
    assert_eq!(target.lines("SELECT id FROM t ORDER BY id"), ["1", "2"]);
    assert_eq!(target.value("SELECT a->'$[2]' FROM t WHERE id = 1"), "-3");
}

/// With mistakes in the job file, nothing is done at the target, not even `before`.
#[test]
fn t40_t41_mistakes_are_found_before_anything_is_done() {
    for (from, into) in ROUND {
        let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, day VARCHAR(8));";
        let source = Database::new(from, table);
        let target = Database::new(into, &format!("{table} INSERT INTO t VALUES (1, 'old');"));
        let before = "before = [\"DELETE FROM t\"]\n";
        for (reader, writer, said) in [
            ("where = \"day = '${missing}'\"\n", "", "missing"),
            ("", "write_mode = \"upsert\"\nupdate_columns = [\"${nowhere}\"]\n", "nowhere"),
            ("wehre = \"day = '1'\"\n", "", "where"),
            ("", "writeMode = \"upsert\"\n", "write_mode"),
        ] {
            let text = job(&source, &target, &format!("{before}{writer}"));
            let text = text
                .replace("table = \"t\"\n[writer]", &format!("table = \"t\"\n{reader}[writer]"));
            run(&text).exits(2).says(said);
            assert_eq!(target.lines("SELECT id, day FROM t"), ["1|old"]);
        }
        let given = job(&source, &target, before)
            .replace("[writer]", "where = \"day = '${bizdate}'\"\n[writer]");
        run(&given).exits(0); // with all parameters, the same job runs
        assert!(target.lines("SELECT id FROM t").is_empty());
    }
}

/// A wall-clock time stays a wall-clock time and an instant an instant, whatever the time zones of
/// the process and the servers.
#[test]
fn t24_no_zone_on_the_way_changes_a_time() {
    let walls = ["2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-07-01 00:00:00"];
    let instants = ["2024-03-31 00:59:59", "2024-03-31 01:00:00", "2024-10-27 00:30:00"];
    let table =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, wall TIMESTAMP(6), moment timestamptz(6));";
    let mysql =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, wall DATETIME(6), moment TIMESTAMP(6) NULL);";
    let rows = (0..3).map(|at| format!("({at}, '{}', '{}+00')", walls[at], instants[at]));
    let rows = rows.collect::<Vec<_>>().join(", ");
    let source = Database::new(Postgres, &format!("{table} INSERT INTO t VALUES {rows};"));
    let expected: Vec<_> =
        (0..3).map(|at| format!("{at}|{}|{}", walls[at], instants[at])).collect();
    for zone in ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"] {
        let chain = [
            Database::new(Mariadb, mysql),
            Database::new(Mysql, mysql),
            Database::new(Postgres, table),
        ];
        // The server's own setting is a different zone.
        for database in [&source, &chain[2]] {
            database
                .run(&format!("ALTER DATABASE {} SET timezone = 'Asia/Kolkata';", database.name));
        }
        let mut from = &source;
        for into in &chain {
            let workplace = Workplace::new();
            workplace.put("job.toml", job(from, into, ""));
            let mut command = workplace.command();
            let output = command.args(["run", "job.toml"]).env("TZ", zone).output().unwrap();
            Ended::from(output).exits(0);
            let shown = match into.server.product {
                Postgres => "SELECT id, wall, moment AT TIME ZONE 'UTC' FROM t ORDER BY id",
                _ => "SELECT id, wall, moment FROM t ORDER BY id",
            };
            let found: Vec<_> = into.lines(shown);
            let found: Vec<_> = found.iter().map(|line| line.replace(".000000", "")).collect();
            assert_eq!(found, expected, "{:?} in {zone}", into.server.product);
            from = into;
        }
    }
}

#[test]
fn t46_a_source_that_cannot_be_read_leaves_the_target_alone() {
    // A port without a listener: the listener is closed at the end of the statement.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (from, into) in ROUND {
        let flow = Flow::new(from, into, 10);
        flow.target.run("INSERT INTO numbers VALUES (-1, 'old', 1, NULL);");
        let before = "before = [\"DELETE FROM numbers\"]\n";
        for mode in ["insert", "upsert", "overwrite"] {
            let what = format!("{from:?} to {into:?}, {mode}");
            let job = Job { mode, writer: before.into(), ..Job::default() };
            let down = Job { source_port: Some(nobody), ..job.clone() };
            let broken = Job { reader: "where = \"no_such_function(id) = 1\"\n".into(), ..job };
            let ended = flow.run(&down);
            assert_eq!(ended.exit, Some(5), "{what}: {ended:?}");
            let ended = flow.run(&broken);
            assert!(ended.exit.is_some_and(|code| code != 0), "{what}: {ended:?}");
            assert_eq!(flow.target.lines("SELECT id, word FROM numbers"), ["-1|old"], "{what}");
        }
    }
}

#[test]
fn t10_an_error_at_the_sources_end_is_no_success() {
    for (from, into) in [(Postgres, Mariadb), (Mysql, Postgres)] {
        let flow = Flow::new(from, into, 20_000);
        flow.target.run("INSERT INTO numbers VALUES (-1, 'old', 1, NULL);");
        // The last row cannot be computed.
        let view = match from {
            Postgres => {
                "CREATE VIEW fragile AS SELECT id, word, price / (20000 - id) AS price, day FROM numbers;"
            }
            _ => {
                "CREATE VIEW fragile AS SELECT id, word, CASE WHEN id = 20000 THEN \
                  (SELECT 1 UNION SELECT 2) ELSE price END AS price, day FROM numbers;"
            }
        };
        flow.source.run(view);
        let after = "after = [\"INSERT INTO numbers VALUES (-2, 'after', 1, NULL)\"]\n";
        let job = Job { mode: "overwrite", writer: after.into(), ..Job::default() };
        let text = flow.text(&job).replacen("table = \"numbers\"", "table = \"fragile\"", 1);
        let ended = run(&text);
        assert!(ended.exit.is_some_and(|code| code != 0), "{from:?}: {ended:?}");
        assert_eq!(flow.target.lines("SELECT id, word FROM numbers"), ["-1|old"], "{from:?}");
    }
}

#[test]
fn t08_rows_that_come_during_the_run_disturb_nothing() {
    for (from, into) in ROUND {
        let flow = Flow::new(from, into, 30_000);
        let reader = "consistency = \"snapshot\"\n".to_owned();
        let job = Job { reader, rate: 15_000, ..Job::default() };
        let mut running = flow.started(&job, Duration::ZERO);
        let mut added = 0;
        while !running.has_ended() && added < 20 {
            // Before, among and after the rows of every split.
            flow.source.run(&format!(
                "INSERT INTO numbers VALUES ({}, 'new', 1, NULL), ({}, 'new', 1, NULL); \
                 DELETE FROM numbers WHERE id = {};",
                -1 - added,
                100_000 + added,
                15_000 + added
            ));
            added += 1;
            thread::sleep(Duration::from_millis(50));
        }
        assert!(added > 0, "{from:?}: no row was added during the run");
        let ended = running.wait();
        ended.exits(0);
        let found = flow
            .target
            .value("SELECT count(*), sum(id), min(id), max(id) FROM numbers WHERE word <> 'new'");
        let sum: u64 = (1..=30_000).sum();
        assert_eq!(found, format!("30000|{sum}|1|30000"), "{from:?} to {into:?}");
        assert_eq!(flow.arrived(), 30_000, "{from:?} to {into:?}: the snapshot has grown");
    }
}

#[test]
fn t47_a_second_run_does_not_replace_what_a_first_one_is_writing() {
    for (from, into) in ROUND {
        let flow = Flow::new(from, into, 30_000);
        let slow = Job { mode: "overwrite", rate: 2_500, ..Job::default() };
        let mut first = flow.started(&slow, Duration::from_millis(1_000));
        let impatient = "lock_timeout = \"200 ms\"\n".to_owned();
        for mode in ["overwrite", "upsert"] {
            let second = Job { mode, writer: impatient.clone(), ..Job::default() };
            run(&flow.text(&second)).exits(9).says("numbers");
        }
        assert!(!first.has_ended(), "{into:?}: the first run is over: {:?}", first.wait());
        first.wait().exits(0);
        flow.assert_complete(&format!("{from:?} to {into:?}"));
    }
}

#[test]
fn t51_foreign_keys_are_kept() {
    for (from, into) in ROUND {
        let source = Database::new(
            from,
            "CREATE TABLE t (id INTEGER PRIMARY KEY, parent INTEGER);
             INSERT INTO t VALUES (1, 1), (2, NULL), (3, 7);",
        );
        let target = Database::new(
            into,
            "CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);
             CREATE TABLE t (id INTEGER PRIMARY KEY, parent INTEGER, \
               FOREIGN KEY (parent) REFERENCES p (id) ON DELETE CASCADE);",
        );
        let what = format!("{from:?} to {into:?}");
        let ended = run(&job(&source, &target, "[dirty]\nmax_rows = 1\n"));
        ended.exits(0);
        assert_eq!(report(&ended)["rows"]["dirty"], 1, "{what}");
        assert_eq!(target.value("SELECT count(*), max(id) FROM t"), "2|2", "{what}");
        // Replacing the parents would delete the children with them, so it is refused.
        let parents = Database::new(
            from,
            "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (5);",
        );
        let text = job(&parents, &target, "write_mode = \"overwrite\"\n");
        let at = text.rfind("table = \"t\"").unwrap();
        let text = format!("{}table = \"p\"{}", &text[..at], &text[at + 11..]);
        let ended = run(&text);
        assert!(matches!(ended.exit, Some(2 | 6)), "{what}: {ended:?}");
        assert_eq!(target.value("SELECT count(*), max(id) FROM t"), "2|2", "{what}");
        assert_eq!(target.lines("SELECT id FROM p"), ["1"], "{what}");
    }
}

/// The target loses a column in the middle of the run: no value moves to another column, and the
/// error names the column.
#[test]
fn t52_a_column_that_goes_during_the_run_stops_it_by_name() {
    for (from, into) in ROUND {
        let flow = Flow::new(from, into, 40_000);
        let what = format!("{from:?} to {into:?}");
        let running = flow.start(&Job { rate: 10_000, ..Job::default() });
        wait_until("some rows are in", || flow.arrived() > 0);
        flow.target.run("ALTER TABLE numbers DROP COLUMN price;");
        let ended = running.wait();
        assert!(matches!(ended.exit, Some(1 | 6)), "{what}: {ended:?}");
        ended.says("price");
        assert_eq!(report(&ended)["dirty_met"], 0, "{what}");
        flow.target.run("ALTER TABLE numbers ADD price NUMERIC(15,2);");
        flow.run(&Job::default()).exits(0);
        flow.assert_complete(&what);
    }
}

const CANARY: &str = "c4n4ry-Wb7!xF9";

/// Every file below a folder that contains the canary.
fn leaks(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            leaks(&path, found);
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(CANARY) {
            found.push(path.display().to_string());
        }
    }
}

/// Whether any process has the canary in its arguments.
fn is_listed() -> bool {
    let processes = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    String::from_utf8_lossy(&processes.stdout).contains(CANARY)
}

#[test]
fn t60_a_servers_password_is_in_no_output() {
    for product in Product::ALL {
        let table = "CREATE TABLE t (id INTEGER PRIMARY KEY);";
        let source = Database::new(product, &format!("{table} INSERT INTO t VALUES (1), (2);"));
        let target = Database::new(product, table);
        let user = format!("canary_{}", source.name);
        make_user(&source, &target, &user);
        let workplace = Workplace::new();
        let with_canary = |database: &Database| {
            let lines = database.address(None);
            let kept = |line: &&str| !line.starts_with("user") && !line.starts_with("password");
            let kept: Vec<_> = lines.lines().filter(kept).collect();
            format!("{}\nuser = \"{user}\"\npassword = {{ env = \"CANARY\" }}\n", kept.join("\n"))
        };
        let text = |mode: &str| {
            format!(
                "[reader]\n{}table = \"t\"\n[writer]\n{}table = \"t\"\nwrite_mode = \"{mode}\"\n",
                with_canary(&source),
                with_canary(&target)
            )
        };
        // A valid job; a job that fails at the server; a wrong password.
        for (mode, secret, works) in [
            ("upsert", CANARY, true),
            ("insert", CANARY, false),
            ("upsert", "c4n4ry-Wb7!xF9-", false),
        ] {
            workplace.put("job.toml", text(mode));
            for format in ["text", "json"] {
                let mut command = workplace.command();
                command.args(["run", "job.toml", "--output", format, "--log", "trace"]);
                let ended = Ended::from(command.env("CANARY", secret).output().unwrap());
                assert_eq!(ended.exit == Some(0), works, "{product:?}, {mode}: {ended:?}");
                let said = format!("{}{}", ended.stdout, ended.stderr);
                assert!(!said.contains(CANARY), "{product:?}, {mode}: {said}");
            }
        }
        let mut found = Vec::new();
        leaks(workplace.path(), &mut found);
        assert!(found.is_empty(), "{product:?}: {found:?}");
        workplace.put("job.toml", text("upsert") + "[channel]\nmax_rows_per_second = 1\n");
        let mut command = workplace.command();
        let mut running = command
            .args(["run", "job.toml"])
            .env("CANARY", CANARY)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(300));
        let listed = is_listed();
        running.wait().unwrap();
        assert!(!listed, "{product:?}: the password is in the list of processes");
        source.server.administer(&match product {
            Postgres => format!("DROP OWNED BY {user}; DROP ROLE {user};"),
            _ => format!("DROP USER {user}@'%';"),
        });
    }
}

fn make_user(source: &Database, target: &Database, user: &str) {
    if source.server.product == Postgres {
        source
            .server
            .administer(&format!("CREATE ROLE {user} LOGIN PASSWORD '{CANARY}' SUPERUSER;"));
        return;
    }
    source.server.administer(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{CANARY}';"));
    for database in [source, target] {
        database.server.administer(&format!("GRANT ALL ON {}.* TO {user}@'%';", database.name));
    }
}

/// Between the plan and the first row another session changes the table.
#[test]
fn a_target_that_changes_after_the_plan_is_refused_by_column() {
    for product in [Postgres, Mariadb, Mysql] {
        let change = match product {
            Postgres => "ALTER n TYPE text, DROP CONSTRAINT t_pkey",
            _ => "MODIFY n text, DROP PRIMARY KEY",
        };
        let table = "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int, gone int);";
        let target = Database::new(product, table);
        let workplace = Workplace::new();
        let to = target.address(None);
        workplace.put(
            "job.toml",
            format!(
                "[reader]\nplugin = \"generator\"\nrows = 3\nopen_delay = \"1 s\"\n\
                 specs = {{ id = \"int32 sequence\", n = \"int32 null 50%\" }}\n\
                 [writer]\n{to}table = \"t\"\n"
            ),
        );
        let running = workplace.start(&["run", "job.toml"]);
        let runs = workplace.path().join("state/runs/job");
        wait_until("the plan is made", || {
            let run = fs::read_dir(&runs).ok().and_then(|mut runs| runs.next());
            run.is_some_and(|run| run.unwrap().path().join("plan.json").is_file())
        });
        target.run(&format!("ALTER TABLE t ADD COLUMN more int, DROP COLUMN gone, {change}"));
        let ended = running.wait();
        ended.exits(6).says("error: [RUN-TARGET] job.toml:6:2: ");
        ended.says("column `n` was `int").says("column `gone` is missing");
        ended.says("column `more` is new").says("its keys were primary (id) and are none");
        assert_eq!(target.value("SELECT count(*) FROM t"), "0", "{product:?}");
    }
}
