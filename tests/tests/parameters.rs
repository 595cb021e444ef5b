//! A job's parameters in SQL: a value stays a value, whatever it contains.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use transload_tests::{Ended, Workplace};

const ATTACK: &str = "day=x' OR '1'='1";

/// A database with three rows in `log`, which a job reads or whose statements change it.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    workplace.execute(
        "target.db",
        "CREATE TABLE log (day TEXT); INSERT INTO log VALUES ('a'), ('b'), ('2026-01-01');
         CREATE TABLE t (day TEXT)",
    );
    workplace
}

/// Copies table `log` by these lines of the reader, with these of the writer.
fn run(workplace: &Workplace, command: &str, reader: &str, writer: &str, param: &str) -> Ended {
    workplace.put(
        "job.toml",
        format!(
            "[reader]\nplugin = \"sqlite\"\npath = \"source.db\"\n{reader}\n\
             [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n{writer}\n"
        ),
    );
    std::fs::copy(workplace.path().join("target.db"), workplace.path().join("source.db")).unwrap();
    workplace.run(&[command, "job.toml", "--param", param])
}

fn count(workplace: &Workplace, table: &str) -> String {
    workplace.sqlite("target.db", &format!("SELECT count(*) FROM {table}")).remove(0)
}

#[test]
fn a_value_in_a_literal_ends_nothing() {
    for (before, left) in [("'${day}'", "3"), ("${day}", "3")] {
        let workplace = workplace();
        let writer = format!("before = [\"DELETE FROM log WHERE day = {before}\"]");
        run(&workplace, "run", "table = \"log\"", &writer, ATTACK).exits(0);
        assert_eq!(count(&workplace, "log"), left, "{before}");
        run(&workplace, "run", "table = \"log\"", &writer, "day=2026-01-01").exits(0);
        assert_eq!(count(&workplace, "log"), "2", "{before}: the value itself is found");
    }
    for reader in [
        "table = \"log\"\nwhere = \"day = '${day}'\"",
        "table = \"log\"\nwhere = \"day = ${day}\"",
        "query = \"SELECT day FROM log WHERE day = '${day}'\"",
    ] {
        let workplace = workplace();
        run(&workplace, "run", reader, "", ATTACK).exits(0);
        assert_eq!(count(&workplace, "t"), "0", "{reader}");
        run(&workplace, "run", reader, "", "day=2026-01-01").exits(0);
        assert_eq!(count(&workplace, "t"), "1", "{reader}");
    }
}

#[test]
fn a_value_in_a_name_is_a_word() {
    let workplace = workplace();
    let writer = "after = \"DELETE FROM ${name}_g\"";
    let ended = run(&workplace, "run", "table = \"log\"", writer, "name=t; DROP TABLE t; --");
    ended.exits(2).says("job.toml:9:9").says("it may have letters, digits and `_` only");
    let ended =
        run(&workplace, "run", "table = \"log\"", "after = \"DELETE FROM lo${name}\"", "name=g");
    ended.exits(0);
    assert_eq!(count(&workplace, "log"), "0");
}

/// What the hint says works, and the plan warns of it.
#[test]
fn a_raw_value_is_a_part_of_the_statement() {
    let workplace = workplace();
    let reader = "table = \"log\"\nwhere = \"${condition!raw}\"";
    let param = "condition=day = 'a' OR day = 'b'";
    for (command, words) in [
        ("plan", "parameter `condition` becomes a part of the SQL"),
        ("run", "1 warning: transload plan job.toml"),
    ] {
        let ended = run(&workplace, command, reader, "", param);
        let all = ended.exits(0).stdout.clone() + &ended.stderr;
        assert!(all.contains(words), "{all}");
    }
    assert_eq!(count(&workplace, "t"), "2");
}
