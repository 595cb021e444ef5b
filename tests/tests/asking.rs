//! `plan` and `check` report everything and change nothing; mistakes are reported all at once.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::fs;

use serde_json::Value;
use transload_tests::Workplace;

const INTO_SQLITE: &str = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n\
     [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n";

#[test]
fn t41_all_mistakes_are_told_at_once() {
    let workplace = Workplace::new();
    let job = "name = \"wrong\"\n\
               [reader]\nplugin = \"file\"\npath = \"in-${day}.csv\"\ndelimitr = \";\"\n\
               [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\nwritemode = \"upsert\"\ntable = \"t\"\n\
               [chanel]\nparallelism = 2\n\
               [channel]\nbuffer = \"64 MiBs\"\n\
               [dirty]\nmax_rows = -3\n";
    workplace.put("job.toml", job);
    for command in ["check", "plan", "run"] {
        let ended = workplace.run(&[command, "job.toml"]);
        ended.exits(2);
        for (place, word, hint) in [
            ("job.toml:4:", "${day}", ""),
            ("job.toml:5:1:", "`delimitr`", "`delimiter`"),
            ("job.toml:9:1:", "`writemode`", "`write_mode`"),
            ("job.toml:11:", "[chanel]", "`channel`"),
            ("job.toml:14:", "MiBs", ""),
            ("job.toml:16:", "`max_rows`", ""),
        ] {
            let mut lines = ended.stderr.lines().skip_while(|line| !line.starts_with(place));
            let line = lines.next().unwrap_or_else(|| panic!("no {place} in\n{}", ended.stderr));
            assert!(line.contains(word), "{line}");
            assert!(hint.is_empty() || lines.next().unwrap().contains(hint), "{}", ended.stderr);
        }
        assert_eq!(workplace.names("."), ["job.toml"]);
    }
}

#[test]
fn t41_an_unknown_plugin_is_told_with_the_nearest_name() {
    let workplace = Workplace::new();
    workplace.put("job.toml", INTO_SQLITE.replace("sqlite", "sqlit"));
    let ended = workplace.run(&["run", "job.toml"]);
    ended.exits(2).says("job.toml:5:10: ").says("did you mean `sqlite`?");
}

#[test]
fn t40_parameters_come_from_the_command_line_and_the_job() {
    let workplace = Workplace::new();
    workplace.put("in-20261120-eu.csv", "id\n7\n");
    let job = format!("{INTO_SQLITE}create_table = true\n[params]\nregion = \"us\"\n");
    workplace.put("job.toml", job.replace("in.csv", "in-${bizdate}-${region}.csv"));
    let bizdate = ["run", "job.toml", "--bizdate", "20261120"];
    workplace.run(&bizdate).says("in-20261120-us.csv");
    let both = [&bizdate[..], &["--param", "region=eu"]].concat();
    workplace.run(&both).exits(0);
    assert_eq!(workplace.sqlite("target.db", "SELECT * FROM t"), ["7"]);
}

#[test]
fn check_opens_no_store() {
    let workplace = Workplace::new();
    workplace.put("job.toml", INTO_SQLITE);
    workplace.run(&["check", "job.toml"]).exits(0);
    assert_eq!(workplace.names("."), ["job.toml"]);
}

#[test]
fn a_plan_of_a_new_table_makes_nothing() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,name\n1,a\n");
    workplace.put("job.toml", format!("{INTO_SQLITE}create_table = true\nkey = [\"id\"]\n"));
    let ended = workplace.run(&["plan", "job.toml"]);
    assert!(ended.exits(0).stdout.contains("CREATE TABLE"), "{}", ended.stdout);
    assert_eq!(workplace.names("."), ["in.csv", "job.toml"]);
}

#[test]
fn a_plan_tells_what_would_be_destroyed_and_destroys_nothing() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,name\n1,a\n");
    workplace.put("out/rows.csv", "id,name\n0,old\n");
    let table =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (0, 'old')";
    workplace.execute("target.db", table);
    let database = fs::read(workplace.path().join("target.db")).unwrap();
    let into_file = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n\
                     [writer]\nplugin = \"file\"\npath = \"out/rows.csv\"\n";
    let before = "before = [\"DELETE FROM t WHERE id > 0\"]\n";
    for job in [
        format!("{INTO_SQLITE}write_mode = \"overwrite\"\n"),
        format!("{INTO_SQLITE}{before}"),
        format!("{into_file}write_mode = \"overwrite\"\n"),
    ] {
        workplace.put("job.toml", job);
        let names = workplace.names(".");
        let ended = workplace.run(&["plan", "job.toml"]);
        assert!(ended.exits(0).stdout.contains("DESTRUCTIVE"), "{}", ended.stdout);
        let json = workplace.run(&["plan", "job.toml", "--output", "json"]);
        let plan: Value = serde_json::from_str(&json.exits(0).stdout).unwrap();
        assert!(plan.to_string().contains("\"destructive\":true"), "{plan:#}");
        assert_eq!(workplace.names("."), names);
        assert_eq!(workplace.names("out"), ["rows.csv"]);
        assert_eq!(workplace.read("out/rows.csv"), "id,name\n0,old\n");
        assert_eq!(fs::read(workplace.path().join("target.db")).unwrap(), database);
    }
}

#[test]
fn a_plan_tells_types_and_verdicts() {
    let workplace = Workplace::new();
    workplace.execute("target.db", "CREATE TABLE t (id SMALLINT PRIMARY KEY, price DECIMAL(10,2))");
    let specs = "specs = { id = \"int64\", price = \"decimal(8,2)\" }";
    let reader = format!("plugin = \"generator\"\nrows = 1\n{specs}");
    workplace.put("job.toml", INTO_SQLITE.replace("plugin = \"file\"\npath = \"in.csv\"", &reader));
    let plan = workplace.run(&["plan", "job.toml"]);
    for (column, expected) in [
        ("id int64", "id SMALLINT"),
        ("id int64", "checked"),
        ("price decimal(8,2)", "price DECIMAL(10,2)"),
        ("price decimal(8,2)", "widening"),
    ] {
        let line = plan.exits(0).stdout.lines().find(|line| line.trim().starts_with(column));
        assert!(line.unwrap().contains(expected), "{expected} in {}", plan.stdout);
    }
}

#[test]
fn a_failure_is_told_to_machines_too() {
    let workplace = Workplace::new();
    workplace.put("job.toml", INTO_SQLITE);
    workplace.put("wrong.toml", INTO_SQLITE.replace("table =", "tabel ="));
    for (arguments, code, status, key) in [
        (&["run", "job.toml"][..], 4, "not-found", "error"),
        (&["plan", "job.toml"], 4, "not-found", "error"),
        (&["check", "wrong.toml"], 2, "usage", "problems"),
        (&["plugin", "info", "nothing"], 7, "plugin", "error"),
    ] {
        let ended = workplace.run(&[arguments, &["--output", "json"]].concat());
        let told: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert!(ended.exit != Some(0) && told[key].is_object() || told[key].is_array());
        assert_eq!((ended.exit, told["status"].as_str()), (Some(code), Some(status)), "{told}");
    }
}
