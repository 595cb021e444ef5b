//! How much the program says: quiet, normal, verbose; what is in logs, progress and reports.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::Workplace;

const JOB: &str = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n\
    [writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\ncreate_table = true\n";

/// A job that succeeds mails nothing; one that fails says why.
#[test]
fn quiet_prints_errors_only() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id\n1\n");
    workplace.put("job.toml", JOB);
    let ended = workplace.run(&["run", "job.toml", "-q"]);
    assert_eq!((ended.exits(0).stdout.as_str(), ended.stderr.as_str()), ("", ""));
    workplace.put("in.csv", "id\n\"\n");
    let ended = workplace.run(&["run", "job.toml", "--quiet"]);
    assert!(ended.exit != Some(0) && ended.stderr.contains("error: "), "{ended:?}");
}

/// The plan shows its warnings; a run counts them.
#[test]
fn warnings_of_the_plan_are_counted() {
    let workplace = Workplace::new();
    workplace.execute(
        "target.db",
        "CREATE TABLE t (id INTEGER); \
         CREATE TRIGGER audit AFTER INSERT ON t BEGIN SELECT 1; END",
    );
    let reader = "plugin = \"generator\"\nrows = 1\nspecs = { id = \"int64\" }\n";
    workplace.put("job.toml", JOB.replace("plugin = \"file\"\npath = \"in.csv\"\n", reader));
    let plan = workplace.run(&["plan", "job.toml", "--output", "json"]);
    let plan: Value = serde_json::from_str(&plan.exits(0).stdout).unwrap();
    let count = plan["warnings"].as_array().unwrap().len();
    assert!(count > 0, "{plan:#}");
    let ended = workplace.run(&["run", "job.toml"]);
    let line = format!("  plan        {count} warning");
    ended.exits(0).says(&line).says(": transload plan job.toml\n");
    assert!(!ended.stderr.contains("WARN"), "{ended:?}");
}

/// Each level adds to the one below.
#[test]
fn verbose_logs_stages_and_statements() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id\n1\n2\n");
    workplace.put("job.toml", JOB);
    let log = |flag: &str| {
        let _ = std::fs::remove_file(workplace.path().join("target.db"));
        let ended = workplace.run(&["run", "job.toml", flag]);
        ended.exits(0);
        let is_event = |line: &&str| line.contains(" INFO ") || line.contains(" DEBUG ");
        ended.stderr.lines().filter(is_event).map(str::to_owned).collect::<Vec<_>>()
    };
    let verbose = log("-v");
    let mut at = verbose.iter();
    for stage in [
        "job job from job.toml",
        "plan: ",
        "begins, its folder",
        "preparing",
        "CREATE TABLE",
        "task 0 begins: in.csv",
        "task 0 is done",
        "committing",
    ] {
        assert!(at.any(|line| line.contains(stage)), "no `{stage}` in its place: {verbose:#?}");
    }
    let more = log("-vv");
    assert!(more.len() > verbose.len(), "{more:#?}");
    assert!(more.iter().any(|line| line.contains("DEBUG")), "{more:#?}");
    let ended = workplace.run(&["run", "job.toml", "-v", "--log", "error"]);
    assert!(!ended.stderr.contains("INFO"), "--log is stronger: {ended:?}");
}

/// What a run waits for is in its progress: here a database that another process holds.
#[test]
fn progress_says_what_is_waited_for() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id\n1\n");
    workplace.put("job.toml", JOB.replace("create_table = true", "busy_timeout = \"3 s\""));
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER)");
    let holder = workplace.connect("target.db");
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ended = workplace.run(&["run", "job.toml", "--progress", "json"]);
    assert_ne!(ended.exit, Some(0));
    let lines = ended.stderr.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let what = lines.iter().find_map(|line| line["waiting"][0]["what"].as_str());
    assert!(what.is_some_and(|what| what.contains("waiting for the database")), "{ended:?}");
}

/// Commands and flags that do not exist are answered with the nearest ones.
#[test]
fn misspelt_commands_and_flags_have_a_hint() {
    let workplace = Workplace::new();
    for (arguments, hint) in [
        (&["plna", "job.toml"][..], "'plan'"),
        (&["run", "job.toml", "--parm", "a=b"], "'--param'"),
        (&["plugin", "inf", "file"], "'info'"),
    ] {
        workplace.run(arguments).exits(2).says("similar").says(hint);
    }
    for arguments in [&["--help"][..], &["run", "--help"], &["plan", "--help"], &["check", "-h"]] {
        let help = workplace.run(arguments);
        assert!(help.exits(0).stdout.contains("Examples:"), "{help:?}");
        assert!(help.stdout.lines().all(|line| line.len() <= 100), "{help:?}");
    }
}

/// A file that may come later differs from a failure.
#[test]
fn a_missing_file_has_an_exit_code_of_its_own() {
    let workplace = Workplace::new();
    workplace.put("job.toml", JOB);
    for command in ["plan", "run"] {
        workplace.run(&[command, "job.toml"]).exits(4).says("in.csv");
    }
}

#[test]
fn a_report_says_what_the_run_was_made_from() {
    let workplace = Workplace::new();
    workplace.put("in-20261129.csv", "id\n1\n");
    let job = JOB.replace("in.csv", "in-${bizdate}.csv") + "[params]\nunused = \"x\"\n";
    workplace.put("job.toml", job);
    let arguments = ["run", "job.toml", "--bizdate", "20261129", "--output", "json"];
    let ended = workplace.run(&[&arguments[..], &["--progress", "json"]].concat());
    let report: Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    assert_eq!(report["inputs"]["file"], "job.toml");
    assert_eq!(report["inputs"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(report["inputs"]["parameters"], serde_json::json!({ "bizdate": "20261129" }));
    assert_eq!(report["files"]["count"], 1);
    assert!(report["files"]["first"][0].as_str().unwrap().ends_with("/in-20261129.csv"));
    assert!(report["reader"]["sha256"].is_string() && report["transload"].is_string());
    assert!(report["started"].as_str() <= report["ended"].as_str(), "{report:#}");
    let start: Value = serde_json::from_str(ended.stderr.lines().next().unwrap()).unwrap();
    assert_eq!((&start["event"], &start["inputs"]), (&"start".into(), &report["inputs"]));
    assert_eq!(start["run"], report["run"]);
}

/// The job's own limit is no fault of either side.
#[test]
fn a_throttled_run_names_the_limit() {
    let workplace = Workplace::new();
    let job = "[reader]\nplugin = \"generator\"\nrows = 30_000\nspecs = { id = \"int64\" }\n\
               [writer]\nplugin = \"generator\"\n[channel]\nparallelism = 1\n\
               max_rows_per_second = 20_000\n";
    let (ended, report) = workplace.job(job);
    ended.exits(0);
    assert_eq!(report["bottleneck"]["side"], "limit", "{:#}", report["bottleneck"]);
}
