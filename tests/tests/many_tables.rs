//! Jobs of many tables: which tables they have, that all are planned before one is written, and what
//! comes of them if one fails.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::{
    Ended, Workplace,
    servers::{Database, Product},
    wait_until,
};

/// What the command `plan`, `run` or `resume` prints as JSON.
fn told(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
}

fn column<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    value["tables"].as_array().unwrap().iter().map(|it| it[key].as_str().unwrap()).collect()
}

const JOB: &str = "[reader]\nconnection = \"shop\"\ntables = [\"*\", \"!tmp_*\"]\n\
    [writer]\nconnection = \"store\"\ntable = \"{table}\"\ncreate_table = true\n";

fn shop() -> Workplace {
    let workplace = Workplace::new();
    workplace.put(
        "connections.toml",
        "[shop]\nplugin = \"sqlite\"\npath = \"shop.db\"\n\
         [store]\nplugin = \"sqlite\"\npath = \"store.db\"\n",
    );
    workplace.execute(
        "shop.db",
        "CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT NOT NULL, mail TEXT UNIQUE);
         CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INT, total DECIMAL(12,2) DEFAULT 0);
         CREATE TABLE \"odd.name\"(\"a b\" TEXT, n INT);
         CREATE TABLE tmp_1(x INT); CREATE VIEW rich AS SELECT * FROM customers;
         INSERT INTO customers VALUES (1, 'ana', 'a@x'), (2, 'bob', NULL);
         INSERT INTO orders VALUES (1, 1, 9.5), (2, 1, 0.25), (3, 2, 7);
         INSERT INTO \"odd.name\" VALUES ('é', 1), (NULL, NULL);",
    );
    workplace
}

#[test]
fn all_tables_are_copied_as_each_would_be_alone() {
    let workplace = shop();
    workplace.put("copy.toml", JOB);
    let ended = workplace.run(&["run", "copy.toml", "--output", "json"]);
    let report = told(ended.exits(0));
    let mut tables = column(&report, "table");
    tables.sort_unstable();
    assert_eq!(tables, ["customers", "odd.name", "orders"]);
    assert_eq!((&report["rows"]["read"], &report["rows"]["inserted"]), (&7.into(), &7.into()));
    for query in ["SELECT * FROM customers", "SELECT * FROM orders", "SELECT * FROM \"odd.name\""] {
        assert_eq!(workplace.sqlite("store.db", query), workplace.sqlite("shop.db", query));
    }
    let keys = "SELECT name FROM pragma_table_info('orders') WHERE pk > 0";
    assert_eq!(workplace.sqlite("store.db", keys), ["'id'"]);
    assert!(
        workplace
            .sqlite("store.db", "SELECT name FROM sqlite_schema WHERE name = 'tmp_1'")
            .is_empty()
    );
    let history = workplace.run(&["history", "copy"]);
    assert!(history.exits(0).stdout.contains("done"), "{history:?}");
}

#[test]
fn the_plan_has_a_line_for_each_table_and_says_what_is_not_carried() {
    let workplace = shop();
    workplace.put("copy.toml", format!("{JOB}[channel]\nparallelism = 2\n"));
    let ended = workplace.run(&["plan", "copy.toml", "--width", "80"]);
    let expected = "\
copy: 3 tables, 2 tasks at a time
  table      target     rows  tasks  mode    guarantee
  customers  customers    ~2      2  insert  at-least-once  created
  odd.name   odd.name     ~2      2  insert  at-least-once  created
  orders     orders       ~2      2  insert  at-least-once  created
";
    assert!(ended.exits(0).stdout.starts_with(expected), "{}", ended.stdout);
    let told: String = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        "note: each table is read as of a moment of its own",
        "foreign keys, secondary indexes, checks, triggers and sequences are not carried",
        "note: 1 view that the patterns match is left out",
        "customers: not carried: defaults and identity of `id`; unique key (mail)",
    ] {
        assert!(told.contains(sentence), "{sentence}: {}", ended.stdout);
    }
    assert!(workplace.sqlite("store.db", "SELECT name FROM sqlite_schema").is_empty());
}

#[test]
fn sections_of_a_table_take_the_place_of_those_of_all() {
    let workplace = shop();
    let job = format!(
        "{JOB}[tables.orders.reader]\nwhere = \"total > 1\"\ncolumns = [\"id\", \"total\"]\n\
         [tables.\"c*\".map]\nemail = \"mail\"\n"
    );
    workplace.put("copy.toml", job.replace("\"{table}\"", "\"ods_{table}\""));
    workplace.run(&["run", "copy.toml"]).exits(0);
    assert_eq!(workplace.sqlite("store.db", "SELECT * FROM ods_orders"), ["1|9.5", "3|7"]);
    assert_eq!(
        workplace.sqlite("store.db", "SELECT email FROM ods_customers WHERE id = 1"),
        ["'a@x'"]
    );
    workplace.run(&["check", "copy.toml"]).exits(0);
}

#[test]
fn nothing_is_written_if_one_plan_fails() {
    let workplace = shop();
    workplace.execute("store.db", "CREATE TABLE orders(id INT, other TEXT NOT NULL)");
    workplace.put("copy.toml", format!("{JOB}[tables.orders.writer]\nkey = [\"nix\"]\n"));
    let ended = workplace.run(&["run", "copy.toml"]);
    assert_ne!(ended.exit, Some(0), "{ended:?}");
    ended.says("table orders");
    let tables = workplace.sqlite("store.db", "SELECT name FROM sqlite_schema");
    assert_eq!(tables, ["'orders'"]);
}

#[test]
fn what_does_not_fit_is_refused() {
    for (job, exit, said) in [
        (
            JOB.replace("\"{table}\"", "\"x{table}\"").replace("[\"*\", \"!tmp_*\"]", "[\"nix*\"]"),
            4,
            "no table matches `nix*`",
        ),
        (
            format!("{JOB}[tables.\"nix\".reader]\nwhere = \"1\"\n"),
            2,
            "`[tables.\"nix\"]` matches no table of the job",
        ),
        (
            format!("{JOB}[tables.orders.channel]\nparallelism = 1\n"),
            2,
            "`channel` cannot differ between tables",
        ),
        (JOB.replace("{table}", "{schema}_{table}"), 2, "the source has no schemas"),
        (
            JOB.replace("tables = ", "table = \"orders\"\ntables = "),
            2,
            "`table` has no place in a job of many tables",
        ),
        (format!("on_table_failure = \"ignore\"\n{JOB}"), 2, "on_table_failure"),
        (
            format!("on_table_failure = \"stop\"\n{}", JOB.replace("{table}", "one")),
            2,
            "`on_table_failure` has no effect",
        ),
        (
            format!("{JOB}[tables.orders.writer]\ntable = \"customers\"\n"),
            2,
            "would both be written to `customers`",
        ),
    ] {
        let workplace = shop();
        workplace.put("copy.toml", &job);
        let ended = workplace.run(&["run", "copy.toml"]);
        ended.exits(exit).says(said);
        assert!(workplace.sqlite("store.db", "SELECT name FROM sqlite_schema").is_empty(), "{job}");
    }
    let workplace = shop();
    workplace.put("copy.toml", JOB);
    workplace.run(&["verify", "copy.toml"]).exits(2).says("the command takes jobs of one table");
}

/// Three tables, of which `b` fails in its rows: a value that its target's constraint refuses.
fn failing(on_failure: &str) -> Workplace {
    let workplace = shop();
    workplace.execute(
        "shop.db",
        "DROP TABLE customers; DROP TABLE orders; DROP TABLE \"odd.name\"; DROP VIEW rich;
         CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(id INTEGER PRIMARY KEY, n INT);
         CREATE TABLE c(id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO c VALUES (1), (2);
         INSERT INTO b VALUES (1, 1), (2, -1); ANALYZE;",
    );
    workplace.execute("store.db", "CREATE TABLE b(id INTEGER PRIMARY KEY, n INT CHECK (n > 0))");
    let job = format!(
        "on_table_failure = \"{on_failure}\"\n{}write_mode = \"upsert\"\n[channel]\nparallelism = 1\n",
        JOB
    );
    workplace.put("copy.toml", job);
    workplace
}

#[test]
fn the_other_tables_continue_and_a_resume_runs_the_failed_ones_only() {
    let workplace = failing("continue");
    let ended = workplace.run(&["run", "copy.toml", "--output", "json"]);
    ended.exits(3).says("[RUN-TABLES] 1 of 3 tables failed: `b`").says("transload resume");
    let report = told(&ended);
    let mut ends: Vec<_> =
        column(&report, "table").into_iter().zip(column(&report, "status")).collect();
    ends.sort_unstable();
    assert_eq!(ends, [("a", "done"), ("b", "failed"), ("c", "done")]);
    // The rows of the others are changed: a second copy would bring them back.
    workplace.execute("store.db", "UPDATE a SET id = 7; DELETE FROM c");
    workplace.execute("shop.db", "UPDATE b SET n = 5 WHERE id = 2");
    let ended = workplace.run(&["resume", "copy", "--output", "json"]);
    let report = told(ended.exits(0));
    let mut ends: Vec<_> =
        column(&report, "table").into_iter().zip(column(&report, "status")).collect();
    ends.sort_unstable();
    assert_eq!(ends, [("a", "done-before"), ("b", "done"), ("c", "done-before")]);
    assert_eq!(workplace.sqlite("store.db", "SELECT id, n FROM b"), ["1|1", "2|5"]);
    assert_eq!(workplace.sqlite("store.db", "SELECT id FROM a"), ["7"]);
    workplace.run(&["resume", "copy.toml"]).exits(0).stdout.contains("is complete");
}

#[test]
fn no_other_table_begins_after_a_failure() {
    let workplace = failing("stop");
    let ended = workplace.run(&["run", "copy.toml", "--output", "json"]);
    let report = told(ended.exits(3));
    let ends: Vec<_> =
        column(&report, "table").into_iter().zip(column(&report, "status")).collect();
    let at = ends.iter().position(|(table, _)| *table == "b").unwrap();
    assert_eq!(ends[at].1, "failed");
    assert!(ends[..at].iter().all(|(_, status)| *status == "done"), "{ends:?}");
    assert!(ends[at + 1..].iter().all(|(_, status)| *status == "not-begun"), "{ends:?}");
    assert!(at < 2, "the largest tables are first: {ends:?}");
    let ended = workplace.run(&["abort", "copy"]);
    assert!(ended.exits(0).stdout.contains("of 3 tables are done"), "{ended:?}");
    workplace.run(&["resume", "copy"]).exits(2).says("[RESUME-ABORTED]");
}

const MUSIC: &str = include_str!("../databases/music.postgres.sql");
const MUSIC_KEYS: &str = include_str!("../databases/music.keys.postgres.sql");
const MUSIC_ROWS: &str = include_str!("../databases/music.rows.postgres.sql");

/// All rows of the music shop in a PostgreSQL database, as PostgreSQL writes them.
fn music(database: &Database) -> Vec<(String, Vec<String>)> {
    let tables = database.lines(
        "SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' \
         AND relnamespace = current_schema()::regnamespace ORDER BY 1",
    );
    let rows = |table: String| {
        let rows = database
            .lines(&format!("SELECT t::text FROM {table} t ORDER BY t::text COLLATE \"C\""));
        (table, rows)
    };
    tables.into_iter().map(rows).collect()
}

/// A job of all tables, those of PostgreSQL by their schema.
fn whole(from: &str, schema: &str, into: &str, more: &str) -> String {
    format!(
        "name = \"{from}-{into}\"\n[reader]\nconnection = \"{from}\"\ntables = [\"{schema}*\"]\n\
         [writer]\nconnection = \"{into}\"\n{more}"
    )
}

#[test]
fn a_whole_database_comes_back_from_every_kind_of_store_value_by_value() {
    let source = Database::new(Product::Postgres, &format!("{MUSIC}{MUSIC_ROWS}{MUSIC_KEYS}"));
    let expected = music(&source);
    assert_eq!(expected.len(), 11);
    let schema = source.value("SELECT current_schema()");
    for product in [Some(Product::Mariadb), Some(Product::Mysql), None] {
        let workplace = Workplace::new();
        let back = Database::new(Product::Postgres, MUSIC);
        let between = product.map(|product| Database::new(product, ""));
        let address = match &between {
            Some(between) => between.address(None),
            None => "plugin = \"sqlite\"\npath = \"music.db\"\n".to_owned(),
        };
        workplace.put(
            "connections.toml",
            format!(
                "[music]\n{}[between]\n{address}[back]\n{}",
                source.address(None),
                back.address(None)
            ),
        );
        let create = "table = \"{table}\"\ncreate_table = true\n";
        workplace.put("there.toml", whole("music", &format!("{schema}."), "between", create));
        workplace.run(&["run", "there.toml"]).exits(0);
        workplace.put("back.toml", whole("between", "", "back", "table = \"{table}\"\n"));
        workplace.run(&["run", "back.toml"]).exits(0);
        for ((table, rows), (_, copied)) in expected.iter().zip(music(&back)) {
            assert_eq!(*rows, copied, "{product:?}: {table}");
        }
    }
}

#[test]
fn a_whole_database_becomes_a_folder_of_parquet_files() {
    let source = Database::new(Product::Postgres, &format!("{MUSIC}{MUSIC_ROWS}"));
    let workplace = Workplace::new();
    workplace.put("connections.toml", format!("[music]\n{}", source.address(None)));
    let schema = source.value("SELECT current_schema()");
    let job =
        whole("music", &format!("{schema}."), "x", "path = \"lake/{schema}/{table}.parquet\"\n");
    workplace.put("lake.toml", job.replace("connection = \"x\"", "plugin = \"file\""));
    workplace.run(&["run", "lake.toml"]).exits(0);
    let files = workplace.names(&format!("lake/{schema}"));
    let files: Vec<_> = files.iter().filter(|name| name.ends_with(".parquet")).collect();
    assert_eq!(files.len(), 11, "{files:?}");
    let job = format!(
        "[reader]\nplugin = \"file\"\npath = \"lake/{schema}/track.parquet\"\n\
         [writer]\nplugin = \"sqlite\"\npath = \"x.db\"\ntable = \"track\"\ncreate_table = true\n"
    );
    workplace.put("one.toml", job);
    workplace.run(&["run", "one.toml"]).exits(0);
    assert_eq!(
        workplace.sqlite("x.db", "SELECT count(*), sum(milliseconds) FROM track"),
        ["500|125250"]
    );
}

#[test]
fn hundreds_of_tables_take_no_more_memory_than_a_few() {
    let peak = |tables: u32| {
        let workplace = Workplace::new();
        workplace.put(
            "connections.toml",
            "[shop]\nplugin = \"sqlite\"\npath = \"shop.db\"\n\
             [store]\nplugin = \"sqlite\"\npath = \"store.db\"\n",
        );
        let all: String = (0..tables)
            .map(|at| {
                format!("CREATE TABLE t{at}(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t{at} VALUES (1, 'x');")
            })
            .collect();
        workplace.execute("shop.db", &format!("BEGIN; {all} COMMIT;"));
        workplace.put("copy.toml", format!("{JOB}[channel]\nparallelism = 2\n"));
        let mut running = workplace.start(&["run", "copy.toml", "--progress", "none"]);
        let mut peak = 0;
        while !running.has_ended() {
            peak = peak.max(running.peak_memory().unwrap_or_default());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        running.wait().exits(0);
        let copied = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 't%'";
        assert_eq!(workplace.sqlite("store.db", copied), [tables.to_string()]);
        peak
    };
    let (few, many) = (peak(20), peak(200));
    assert!(many < few + (24 << 20), "{few} bytes for 20 tables, {many} for 200");
}

#[test]
fn a_run_that_is_killed_or_stopped_continues_with_the_tables_that_are_not_done() {
    for signal in ["KILL", "TERM"] {
        let workplace = Workplace::new();
        workplace.put(
            "connections.toml",
            "[shop]\nplugin = \"sqlite\"\npath = \"shop.db\"\n\
             [store]\nplugin = \"sqlite\"\npath = \"store.db\"\n",
        );
        let all: String = (0..40)
            .map(|at| {
                format!(
                    "CREATE TABLE t{at}(id INTEGER PRIMARY KEY, s TEXT);
                     INSERT INTO t{at} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                     WHERE i < 50) SELECT i, 'row ' || i FROM n;"
                )
            })
            .collect();
        workplace.execute("shop.db", &format!("BEGIN; {all} COMMIT;"));
        let limit = "[channel]\nparallelism = 2\nmax_rows_per_second = 400\n";
        workplace.put("copy.toml", format!("{JOB}write_mode = \"upsert\"\n{limit}"));
        let running = workplace.start(&["run", "copy.toml", "--progress", "none"]);
        let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 't%'";
        wait_until("some tables are there", || {
            workplace.sqlite("store.db", tables)[0].parse::<u32>().unwrap() > 8
        });
        running.signal(signal);
        let ended = running.wait();
        assert_ne!(ended.exit, Some(0), "{ended:?}");
        if signal == "TERM" {
            ended.exits(143).says("transload resume");
        }
        let changed = format!("{JOB}write_mode = \"upsert\"\n{limit}# a remark\n");
        let same = workplace.read("copy.toml");
        workplace.put("copy.toml", changed);
        workplace.run(&["resume", "copy"]).exits(2).says("[RESUME-JOB]");
        workplace.put("copy.toml", same);
        let ended = workplace.run(&["resume", "copy", "--output", "json"]);
        let report = told(ended.exits(0));
        let states = column(&report, "status");
        assert!(states.contains(&"done-before") && states.contains(&"done"), "{states:?}");
        for at in 0..40 {
            let query = format!("SELECT * FROM t{at} ORDER BY id");
            let (copied, rows) =
                (workplace.sqlite("store.db", &query), workplace.sqlite("shop.db", &query));
            assert_eq!(copied, rows, "{signal}: t{at}");
        }
    }
}
