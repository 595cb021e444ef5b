//! Decisions of people about runs that have ended early: which run continues, what they accept, how a run
//! is given up although its commit is in doubt, and what is left to do where nothing can continue.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, path::Path};

use serde_json::Value;
use transload_tests::{
    Running, Workplace,
    copies::{Copy, ROWS, TOKENS},
};

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// A parameter that the job uses, without an effect on rows.
const PARAMETER: &str = "after = [\"DELETE FROM t WHERE id = -${n}\"]\n[params]\nn = \"1\"\n";

#[test]
fn the_last_run_of_a_job_that_can_continue_is_taken_and_named() {
    let copy = Copy::new("upsert", PARAMETER);
    let first = name_of(&copy.killed());
    let other = ["run", "job.toml", "-q", "--param", "n=2"];
    copy.run(&other).exits(0);
    copy.workplace.execute("target.db", "DELETE FROM t WHERE id > 2000");
    let ended = copy.run(&["resume", "job"]);
    ended.exits(0).says(&format!("job: continuing run {first}, which ended early, after "));
    // Of its own name it need not say so, and it is the job's last run no more.
    let ended = copy.run(&["resume", &first]);
    assert!(!ended.exits(0).stderr.contains("continuing run"), "{ended:?}");
    let ended = copy.run(&["resume", "job.toml"]);
    assert!(ended.exits(0).stdout.contains("is complete since"), "{ended:?}");
    assert!(!ended.stdout.contains(&first), "the last one is the other: {ended:?}");
}

/// The rows of a run that another one has repeated are not written once more over those.
#[test]
fn a_run_that_was_begun_again_is_not_continued_by_the_name_of_its_job() {
    let copy = Copy::new("upsert", PARAMETER);
    let first = name_of(&copy.killed());
    copy.run(&["run", "job.toml", "-q"]).exits(0);
    let ended = copy.run(&["resume", "job"]);
    assert!(ended.exits(0).stdout.contains("is complete since"), "{ended:?}");
    assert!(!ended.stdout.contains(&first), "{ended:?}");
    copy.run(&["resume", &first]).exits(0);
    copy.assert_complete();
}

/// Repaired rows are sent by a run of their own, which continues by its own name only.
#[test]
fn a_replay_is_not_taken_for_the_last_run_of_its_job() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,n\n1,1\nx,2\n");
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER, n INTEGER)");
    let job = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nid = \"int64\"\n\
               [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
               [dirty]\nmax_rows = 9\n";
    let (ended, report) = workplace.job(&format!("{job}{TOKENS}"));
    ended.exits(0);
    let first = report["run"].as_str().unwrap();
    let exported = workplace.run(&["dirty", "export", "job"]);
    workplace.put("fix.csv", exported.exits(0).stdout.replace(",x,", ",2,"));
    let mut killed = workplace.command();
    killed.args(["dirty", "replay", "job", "--from", "fix.csv"]).env("TRANSLOAD_FAILPOINT", "K7");
    assert_ne!(transload_tests::Ended::from(killed.output().unwrap()).exit, Some(0));
    let ended = workplace.run(&["resume", "job"]);
    ended.exits(0);
    assert!(ended.stdout.contains(&format!("run {first} is complete since")), "{ended:?}");
    let ended = workplace.run(&["abort", "job"]);
    assert!(ended.exits(0).stdout.contains(&format!("run {first} is complete")), "{ended:?}");
    let replay = workplace.names("state/runs/job").into_iter().find(|name| name != first);
    workplace.run(&["resume", &replay.unwrap()]).exits(0);
    assert_eq!(workplace.sqlite("target.db", "SELECT id FROM t ORDER BY id"), ["1", "2"]);
}

/// Where the commit of a run may have taken effect, `--force` removes what is staged, and never what
/// is published.
#[test]
fn a_run_in_doubt_is_given_up_by_force() {
    for (point, is_published) in [("K12", false), ("K12#2", true), ("K13", true)] {
        let copy = Copy::new("overwrite", "");
        copy.workplace.execute("target.db", "INSERT INTO t VALUES (-1, 'old')");
        let mut command = copy.workplace.command();
        command.args(["run", "job.toml", "-q"]).env("TRANSLOAD_FAILPOINT", point);
        assert_eq!(Running::of(command).wait().exit, None, "{point} was passed");
        copy.run(&["abort", "job"]).exits(1).says("RUN-COMMIT-UNKNOWN").says("--force");
        let ended = copy.run(&["abort", "job", "--force"]);
        assert!(ended.exits(0).stdout.contains("is given up"), "{ended:?}");
        match is_published {
            true => copy.assert_complete(),
            false => assert_eq!(copy.workplace.sqlite("target.db", "SELECT id FROM t"), ["-1"]),
        }
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'";
        assert_eq!(copy.workplace.sqlite("target.db", tables), ["'t'"], "{point}");
        copy.run(&["resume", "job"]).exits(2).says("RESUME-ABORTED");
        copy.run(&["run", "job.toml", "-q"]).exits(0);
        copy.assert_complete();
    }
}

/// The same data at another address; what else the job says must be what it said.
#[test]
fn another_address_of_the_same_data_is_accepted() {
    let copy = Copy::new("insert", TOKENS);
    copy.killed();
    for name in copy.workplace.names(".") {
        if let Some(rest) = name.strip_prefix("target.db") {
            let folder = copy.workplace.path();
            fs::rename(folder.join(&name), folder.join(format!("moved.db{rest}"))).unwrap();
        }
    }
    let job = copy.workplace.read("job.toml");
    let moved = job.replace("target.db", "moved.db");
    copy.workplace.put("job.toml", &moved);
    let ended = copy.run(&["resume", "job"]);
    ended.exits(2).says("RESUME-JOB").says("`writer.path`").says("--accept-changes connection");
    copy.workplace.put("job.toml", moved.replace("\"insert\"", "\"upsert\""));
    let accepted = ["resume", "job", "--accept-changes", "connection"];
    let ended = copy.run(&accepted);
    ended.exits(2).says("RESUME-JOB").says("`writer.write_mode`");
    assert!(!ended.stderr.contains("writer.path"), "{ended:?}");
    copy.workplace.put("job.toml", &moved);
    copy.run(&accepted).exits(0);
    let sum = "SELECT count(*), count(DISTINCT id) FROM t";
    assert_eq!(copy.workplace.sqlite("moved.db", sum), [format!("{ROWS}|{ROWS}")]);
}

/// Rows that can be read only once are not read again behind a part of them.
#[test]
fn a_source_that_can_be_read_only_once_is_not_continued() {
    let copy = Copy::new("upsert", "");
    copy.put("upsert", "ability = \"volatile\"\n");
    copy.killed();
    let (before, name) = (copy.rows(), copy.name());
    let ended = copy.run(&["resume", "job"]);
    ended.exits(1).says("RESUME-SPLIT").says(&format!("transload abort {name}"));
    assert_eq!(copy.rows(), before);
    copy.run(&["abort", &name]).exits(0);
    copy.run(&["run", "job.toml", "-q"]).exits(0);
    copy.assert_complete();
}

/// A second signal ends a run at once, in the middle of its rollback; what is committed is known.
#[test]
fn a_run_that_a_second_signal_ended_continues() {
    for (mode, more) in [("insert", TOKENS), ("upsert", "")] {
        let copy = Copy::new(mode, more);
        let running = copy.begun();
        // Both arrive when it continues, so that it cannot end between them.
        for signal in ["STOP", "TERM", "INT", "CONT"] {
            running.signal(signal);
        }
        let ended = running.wait();
        assert!(matches!(ended.exit, Some(130 | 143)), "{ended:?}");
        ended.says("when a second signal came");
        assert!(copy.rows() < ROWS);
        copy.run(&["resume", "job"]).exits(0);
        copy.assert_complete();
    }
}

/// A journal that is damaged where the target keeps no tokens: the message says what to do, and that works.
#[test]
fn a_lost_journal_is_refused_with_a_way_out() {
    for (mode, way) in [
        ("insert", "remove them, and begin again: "),
        ("upsert", "by their key: "),
        ("overwrite", "which replaces all rows: "),
    ] {
        let copy = Copy::new(mode, "");
        let mut running = copy.start(&["run", "job.toml", "--progress", "none"]);
        let runs = copy.workplace.path().join("state/runs/job");
        transload_tests::wait_until("a chunk is in", || {
            let is_in = |text: String| text.contains("\"record\":\"chunk\"");
            let journal = || fs::read_to_string(copy.folder().join("journal"));
            running.has_ended() || runs.is_dir() && journal().is_ok_and(is_in)
        });
        running.signal("KILL");
        running.wait();
        let journal = copy.folder().join("journal");
        let mut bytes = fs::read(&journal).unwrap();
        let at = bytes.len() / 2 + 1;
        bytes[at] ^= 4;
        fs::write(&journal, bytes).unwrap();
        for command in ["resume", "abort"] {
            let ended = copy.run(&[command, "job"]);
            ended.exits(1).says("JOURNAL-DAMAGED").says(way);
            let job = ended.stderr.split("transload run ").nth(1).unwrap();
            assert!(job.trim_end().ends_with("job.toml"), "{ended:?}");
        }
        if mode == "insert" {
            let ended = copy.run(&["verify", "job.toml", "--key", "id", "--output", "json"]);
            let result: Value = serde_json::from_str(&ended.exits(8).stdout).unwrap();
            assert_eq!(result["rows"]["equal"], copy.rows());
            copy.workplace.execute("target.db", "DELETE FROM t");
        }
        copy.run(&["run", "job.toml", "-q"]).exits(0);
        copy.assert_complete();
    }
}

/// Who plans to write where another run is writing is told by which run of which job.
#[test]
fn a_run_that_writes_the_same_files_is_named_with_its_job() {
    let workplace = Workplace::new();
    let job = |more: &str| {
        format!(
            "[reader]\nplugin = \"generator\"\nrows = 100_000\nbatch_rows = 10\n{more}\
             specs = {{ id = \"int64\" }}\n[writer]\nplugin = \"file\"\npath = \"out/\"\n\
             format = \"csv\"\nwrite_mode = \"overwrite\"\n[channel]\nparallelism = 1\n"
        )
    };
    workplace.put("nightly.toml", job("delay = \"20 ms\"\n"));
    workplace.put("other.toml", job(""));
    let running = workplace.start(&["run", "nightly.toml", "--progress", "none"]);
    let staged = workplace.path().join("out/_transload");
    transload_tests::wait_until("it writes", || staged.is_dir());
    let runs = workplace.names("state/runs/nightly");
    let ended = workplace.run(&["plan", "other.toml", "--width", "400"]);
    let said = format!("run {} of job `nightly` is in progress", runs[0]);
    assert!(ended.exits(0).stdout.contains(&said), "no `{said}`: {ended:?}");
    running.signal("TERM");
    running.wait().exits(143);
}
