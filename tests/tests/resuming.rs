//! `resume`, `history`, `abort` and `meta-ddl` through the real program: what continues, what is refused
//! and why, and what a damaged journal leads to.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, process::Command, thread, time::Duration};

use serde_json::Value;
use transload_tests::{
    Running, Workplace, built,
    copies::{Copy, ROWS, TOKENS, report},
    wait_until,
};

#[test]
fn a_killed_run_continues_where_it_was() {
    for (mode, more) in [("insert", TOKENS), ("upsert", TOKENS), ("upsert", "")] {
        let copy = Copy::new(mode, more);
        copy.killed();
        let before = copy.rows();
        let ended = copy.run(&["resume", "job", "--output", "json", "--progress", "none"]);
        let report = report(ended.exits(0));
        copy.assert_complete();
        assert_eq!(report["rows"]["read"], ROWS);
        assert_eq!(report["resumed"]["times"], 1);
        let known = report["resumed"]["rows"]["read"].as_u64().unwrap();
        // The chunk that was being committed may be in.
        assert!(known + 200 >= u64::from(before) && known <= u64::from(before), "{known}");
        // Only the rest was read.
        assert!(report["rows_read"].as_u64().unwrap() + known <= u64::from(ROWS) + 400, "{report}");
        // A second time, by the job's file: it is complete.
        let again = copy.run(&["resume", "job.toml"]);
        assert!(again.exits(0).stdout.contains("is complete since"), "{again:?}");
        copy.assert_complete();
    }
}

#[test]
fn a_stopped_run_continues_where_it_was() {
    for (signal, exit) in [("TERM", 143), ("INT", 130)] {
        let copy = Copy::new("insert", TOKENS);
        let running = copy.begun();
        running.signal(signal);
        let ended = running.wait();
        ended.exits(exit).says(&format!("transload resume {}", copy.name()));
        let before = copy.rows();
        assert!(before < ROWS, "{before}");
        let ended = copy.run(&["resume", &copy.name(), "--output", "json", "--progress", "none"]);
        let report = report(ended.exits(0));
        assert_eq!(report["resumed"]["rows"]["read"], before, "all of it is known");
        copy.assert_complete();
        assert!(copy.folder().join("report-1.json").is_file());
    }
}

#[test]
fn a_run_that_another_process_works_on_is_not_touched() {
    let copy = Copy::new("insert", TOKENS);
    let running = copy.begun();
    for command in [["resume", "job"], ["abort", "job"]] {
        let ended = copy.run(&command);
        ended.exits(9).says("RUN-ACTIVE").says("is being worked on by process ");
    }
    let ended = copy.run(&["history"]);
    assert!(ended.exits(0).stdout.contains("running"), "{ended:?}");
    running.signal("TERM");
    running.wait().exits(143);
    copy.run(&["resume", "job"]).exits(0);
    copy.assert_complete();
}

#[test]
fn a_second_run_is_pointed_to_the_first() {
    let copy = Copy::new("insert", TOKENS);
    copy.killed();
    let name = copy.name();
    let ended = copy.run(&["run", "job.toml"]);
    ended.exits(9).says("RUN-ACTIVE").says(&format!("transload resume {name}"));
    ended.says(&format!("transload abort {name}"));
    copy.run(&["abort", &name]).exits(0);
    copy.workplace.execute("target.db", "DELETE FROM t");
    copy.run(&["run", "job.toml"]).exits(0);
    copy.assert_complete();
}

#[test]
fn what_has_changed_is_refused_by_name() {
    let copy = Copy::new("insert", TOKENS);
    copy.killed();
    let refused = |exit: i32, code: &str, what: &str| {
        let ended = copy.run(&["resume", "job"]);
        ended.exits(exit).says(code).says(what);
    };
    copy.put("insert", "seed = 7\n");
    refused(2, "RESUME-JOB", "the job has changed since the run began: `reader.seed`");
    copy.put("upsert", "");
    refused(2, "RESUME-JOB", "`writer.write_mode`");
    copy.put("insert", "");
    let target = |sql: &str| copy.workplace.execute("target.db", sql);
    target("ALTER TABLE t ADD COLUMN more TEXT");
    refused(6, "RESUME-TARGET", "column `more` is new");
    target("ALTER TABLE t DROP COLUMN more");
    target("CREATE UNIQUE INDEX by_id ON t (id)");
    refused(6, "RESUME-TARGET", "its keys were none and are unique (id)");
    target("DROP INDEX by_id");
    // The same plugins with their debug information are others.
    let with_symbols = |arguments: &[&str]| {
        let usual = copy.workplace.command();
        let mut command = Command::new(built().join("transload"));
        command.args(arguments).current_dir(copy.workplace.path());
        for (name, value) in usual.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Running::of(command).wait()
    };
    let ended = with_symbols(&["resume", "job"]);
    ended.exits(7).says("RESUME-PLUGIN").says("plugin `generator`").says("is another build");
    // Limits may change.
    let job = copy.workplace.read("job.toml").replace("parallelism = 2", "parallelism = 1");
    copy.workplace.put("job.toml", job);
    with_symbols(&["resume", "job", "--accept-changes", "plugin"]).exits(0);
    copy.assert_complete();
}

#[test]
fn a_changed_source_is_refused_by_the_name_of_its_column() {
    let copy = Copy::new("insert", TOKENS);
    let fill = "CREATE TABLE s (id INTEGER PRIMARY KEY, word TEXT);
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
                INSERT INTO s SELECT i, 'w' || i FROM n";
    copy.workplace.execute("source.db", fill);
    let job = copy.workplace.read("job.toml");
    let writer = &job[job.find("[writer]").unwrap()..];
    let reader = "[reader]\nplugin = \"sqlite\"\npath = \"source.db\"\ntable = \"s\"\n";
    let slow = writer.replace("parallelism = 2", "parallelism = 1\nmax_rows_per_second = 1000");
    copy.workplace.put("job.toml", format!("{reader}{slow}"));
    let running = copy.start(&["run", "job.toml", "--progress", "none"]);
    wait_until("it writes", || copy.workplace.path().join("state/runs/job").is_dir());
    thread::sleep(Duration::from_millis(500));
    running.signal("KILL");
    running.wait();
    copy.workplace.execute("source.db", "ALTER TABLE s RENAME COLUMN word TO text");
    let ended = copy.run(&["resume", "job"]);
    ended.exits(6).says("RESUME-SOURCE").says("column `word` is missing; column `text` is new");
    copy.workplace.execute("source.db", "ALTER TABLE s RENAME COLUMN text TO word");
    copy.workplace.put("job.toml", format!("{reader}{writer}"));
    copy.run(&["resume", "job"]).exits(0);
    copy.assert_complete();
}

#[test]
fn inserts_without_tokens_are_continued_only_if_doubled_rows_are_allowed() {
    let copy = Copy::new("insert", "");
    copy.killed();
    let ended = copy.run(&["resume", "job"]);
    ended.exits(2).says("RESUME-DUPLICATES").says("--allow-duplicates");
    copy.run(&["resume", "job", "--allow-duplicates"]).exits(0);
    let distinct = copy.workplace.sqlite("target.db", "SELECT count(DISTINCT id) FROM t");
    assert_eq!(distinct, [ROWS.to_string()], "a row is lost");
    assert!(copy.rows() < ROWS + 400, "{} rows", copy.rows());
}

#[test]
fn a_damaged_journal_is_found_and_made_anew_from_the_target() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("a flipped bit", |bytes| {
            let at = bytes.len() / 2 + 1;
            bytes[at] ^= 4;
        }),
        ("a flipped bit of the first line", |bytes| bytes[20] ^= 1),
        ("a missing line", |bytes| {
            let ends: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
            bytes.drain(ends[1]..ends[2]);
        }),
        ("nothing is left", |bytes| bytes.clear()),
    ];
    for (what, damage) in damages {
        for (mode, more) in [("insert", TOKENS), ("upsert", "")] {
            let copy = Copy::new(mode, more);
            let journal = copy.killed().join("journal");
            let mut bytes = fs::read(&journal).unwrap();
            damage(&mut bytes);
            fs::write(&journal, bytes).unwrap();
            let ended = copy.run(&["resume", "job"]);
            if more.is_empty() {
                ended.exits(1).says("JOURNAL-DAMAGED").says("journal, line ");
                continue;
            }
            assert_eq!(ended.exit, Some(0), "{what}: {ended:?}");
            ended.says("a line of the journal is damaged");
            copy.assert_complete();
            assert!(copy.folder().join("journal-damaged").is_file(), "{what}");
        }
    }
}

#[test]
fn a_missing_or_torn_journal_is_no_trouble_where_the_target_keeps_tokens() {
    let copy = Copy::new("insert", TOKENS);
    fs::remove_file(copy.killed().join("journal")).unwrap();
    copy.run(&["resume", "job"]).exits(0).says("the run has no journal");
    copy.assert_complete();
    for (mode, more) in [("insert", TOKENS), ("upsert", "")] {
        let copy = Copy::new(mode, more);
        let journal = copy.killed().join("journal");
        let bytes = fs::read(&journal).unwrap();
        fs::write(&journal, &bytes[..bytes.len() - 7]).unwrap();
        copy.run(&["resume", "job"]).exits(0);
        copy.assert_complete();
    }
}

#[test]
fn a_run_is_given_up_once_and_for_all() {
    let copy = Copy::new("overwrite", "");
    copy.workplace.execute("target.db", "INSERT INTO t VALUES (-1, 'old')");
    let mut running = copy.start(&["run", "job.toml", "--progress", "none"]);
    let journal = || fs::read_to_string(copy.folder().join("journal")).unwrap_or_default();
    let runs = copy.workplace.path().join("state/runs/job");
    wait_until("a chunk is in", || {
        running.has_ended() || runs.is_dir() && journal().contains("\"record\":\"chunk\"")
    });
    running.signal("KILL");
    running.wait();
    for _ in 0..2 {
        copy.run(&["abort", "job"]).exits(0);
        assert_eq!(copy.workplace.sqlite("target.db", "SELECT id FROM t"), ["-1"]);
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'";
        assert_eq!(copy.workplace.sqlite("target.db", tables), ["'t'"]);
    }
    let ended = copy.run(&["resume", "job"]);
    ended.exits(2).says("RESUME-ABORTED").says("transload run ");
    copy.run(&["run", "job.toml"]).exits(0);
    copy.assert_complete();
    let ended = copy.run(&["abort", "job"]);
    assert!(ended.exits(0).stdout.contains("is complete since"), "{ended:?}");
    copy.assert_complete();
}

/// K14: giving up is interrupted, and done again.
#[test]
fn giving_up_continues_where_it_was_interrupted() {
    let copy = Copy::new("insert", TOKENS);
    copy.killed();
    let before = copy.rows();
    let mut command = copy.workplace.command();
    command.args(["abort", "job"]).env("TRANSLOAD_FAILPOINT", "K14");
    assert_eq!(Running::of(command).wait().exit, None);
    let ended = copy.run(&["history", "job"]);
    assert!(ended.exits(0).stdout.contains("aborting"), "{ended:?}");
    copy.run(&["resume", "job"]).exits(2).says("RESUME-ABORTED");
    let ended = copy.run(&["abort", "job"]);
    assert!(ended.exits(0).stdout.contains("rows of committed chunks stay"), "{ended:?}");
    assert_eq!(copy.rows(), before);
}

/// K13: the commit of a staged run is sent, and the process ends before it knows.
#[test]
fn a_run_whose_commit_had_begun_is_not_given_up_by_accident() {
    let copy = Copy::new("overwrite", "");
    let mut command = copy.workplace.command();
    command.args(["run", "job.toml"]).env("TRANSLOAD_FAILPOINT", "K13");
    assert_eq!(Running::of(command).wait().exit, None);
    let ended = copy.run(&["abort", "job"]);
    ended.exits(1).says("RUN-COMMIT-UNKNOWN").says("--force").says("transload resume ");
    copy.run(&["resume", "job"]).exits(0);
    copy.assert_complete();
}

#[test]
fn the_history_of_a_job_is_readable() {
    let copy = Copy::new("upsert", "");
    copy.killed();
    copy.run(&["resume", "job"]).exits(0);
    copy.put("upsert", "fail_at = 1500\n");
    copy.run(&["run", "job.toml"]).exits(1);
    let ended = copy.run(&["history", "--width", "80"]);
    let text = &ended.exits(0).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for word in ["run", "state", "rows", "done", "failed", "4,000", "convergent", "resume"] {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
    let ended = copy.run(&["history", "job", "--last", "1", "--output", "json"]);
    let list: Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    let last = &list[0];
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!((&last["state"], &last["exit"]), (&"failed".into(), &1.into()));
    assert!(last["error"].as_str().unwrap().contains("fail_at"), "{last}");
    let ended = copy.run(&["resume", "jub"]);
    ended.exits(4).says("RUN-MISSING").says("did you mean `job`?");
}

#[test]
fn an_administrator_creates_the_tables_for_tokens() {
    let copy = Copy::new("insert", "[guarantee]\nrequire = \"effectively-once\"\n");
    let connection = "[here]\nplugin = \"sqlite\"\npath = \"target.db\"\n";
    copy.workplace.put("connections.toml", connection);
    copy.run(&["run", "job.toml"]).exits(4).says("transload meta-ddl");
    let ended = copy.run(&["meta-ddl", "here"]);
    copy.workplace.execute("target.db", &ended.exits(0).stdout);
    copy.killed();
    copy.run(&["resume", "job"]).exits(0);
    copy.assert_complete();
    let ended = copy.run(&["meta-ddl", "here", "--prefix", "etl_", "--output", "json"]);
    let json: Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    assert!(json["statements"][0].as_str().unwrap().contains("etl_"), "{json}");
}

#[test]
fn a_limit_of_dirty_rows_is_raised_and_the_run_continues() {
    let copy = Copy::new("insert", TOKENS);
    copy.put("insert", "dirty_every = 100\n");
    let job = copy.workplace.read("job.toml");
    copy.workplace.put("job.toml", format!("{job}[dirty]\nmax_rows = 9\n"));
    copy.run(&["run", "job.toml"]).exits(3);
    let before = copy.rows();
    assert!(before > 0 && before < ROWS);
    copy.workplace.put("job.toml", format!("{job}[dirty]\nmax_rows = 50\n"));
    let ended = copy.run(&["resume", "job", "--output", "json", "--progress", "none"]);
    let report = report(ended.exits(0));
    assert_eq!((&report["rows"]["read"], &report["rows"]["dirty"]), (&ROWS.into(), &40.into()));
    assert_eq!(copy.rows(), ROWS - 40);
    assert_eq!(copy.workplace.dirty_rows(&report).len(), 40);
}

/// A run that fails before its first commit removes the table that it has made. It begins again, and needs
/// no leave to write rows twice.
#[test]
fn a_run_that_left_nothing_begins_again() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,n\n1,x\n2,2\n3,3\n");
    let job = |limit: u32| {
        format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nn = \"int64\"\n[writer]\n\
             plugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\ncreate_table = true\n[dirty]\n\
             max_rows = {limit}\n"
        )
    };
    workplace.put("job.toml", job(0));
    workplace.run(&["run", "job.toml"]).exits(3).says("was empty and is removed again");
    workplace.put("job.toml", job(1));
    workplace.run(&["resume", "job"]).exits(0);
    assert_eq!(workplace.sqlite("t.db", "SELECT n FROM t ORDER BY n"), ["2", "3"]);
}
