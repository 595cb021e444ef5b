//! Flows: jobs that need each other, run for one scheduled time, continued where they stopped.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, thread, time::Duration};

use serde_json::Value;
use transload_tests::{Ended, Running, Workplace, documents::root, wait_until};

const DAY: [&str; 2] = ["--bizdate", "20261130"];

/// A folder with jobs `a` to `d`, each from a file into a table of `target.db`.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    for name in ["a", "b", "c", "d"] {
        workplace.put(&format!("{name}.csv"), "id\n1\n2\n3\n");
        workplace.put(&format!("{name}.toml"), job(name));
        workplace.execute("target.db", &format!("CREATE TABLE {name} (id INTEGER)"));
    }
    workplace.put("connections.toml", "[shop]\nplugin = \"sqlite\"\npath = \"target.db\"\n");
    workplace
}

fn job(name: &str) -> String {
    format!(
        "[reader]\nplugin = \"file\"\npath = \"{name}.csv\"\n[writer]\nconnection = \"shop\"\n\
         table = \"{name}\"\nwrite_mode = \"insert\"\n[params]\nday = \"${{bizdate}}\"\n"
    )
}

fn entry(name: &str, more: &str) -> String {
    format!("[[job]]\nfile = \"{name}.toml\"\n{more}\n")
}

/// `a`; `b` behind it, `c` behind `b`; `d` alone.
fn chain() -> String {
    [
        "[flow]\nparallel = 1\n".to_owned(),
        entry("a", ""),
        entry("b", "needs = [\"a\"]"),
        entry("c", "needs = [\"b\"]"),
        entry("d", ""),
    ]
    .concat()
}

fn run(workplace: &Workplace, more: &[&str]) -> Ended {
    workplace.run(&[&["flow", "run", "flow.toml", "--output", "json"], &DAY[..], more].concat())
}

fn instance(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// The text result has these parts.
fn shows(ended: &Ended, parts: &[&str]) {
    for part in parts {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
}

fn states(ended: &Ended) -> Vec<String> {
    let jobs = instance(ended)["jobs"].clone();
    let state =
        |(name, job): (&String, &Value)| format!("{name} {}", job["state"].as_str().unwrap());
    jobs.as_object().unwrap().iter().map(state).collect()
}

fn rows(workplace: &Workplace) -> Vec<String> {
    let count = |name| format!("(SELECT count(*) FROM {name})");
    workplace.sqlite("target.db", &format!("SELECT {}", ["a", "b", "c", "d"].map(count).join(", ")))
}

#[test]
fn jobs_run_behind_what_they_need_and_once() {
    let workplace = workplace();
    workplace.put("flow.toml", chain());
    let first = run(&workplace, &[]);
    first.exits(0).says("a: done, 3 rows");
    assert_eq!(states(&first), ["a done", "b done", "c done", "d done"]);
    let jobs = instance(&first)["jobs"].clone();
    assert!(jobs["a"]["ended"].as_str() <= jobs["b"]["started"].as_str(), "{jobs:#}");
    assert_eq!(rows(&workplace), ["3|3|3|3"]);
    let second = run(&workplace, &[]);
    second.exits(0);
    assert_eq!(instance(&second), instance(&first));
    assert_eq!(rows(&workplace), ["3|3|3|3"]);
    run(&workplace, &["--again"]).exits(0);
    assert_eq!(rows(&workplace), ["6|6|6|6"]);
    let other = ["flow", "run", "flow.toml", "--cyctime", "20261202000000"];
    shows(workplace.run(&other).exits(0), &["20261202000000"]);
    assert_eq!(rows(&workplace), ["9|9|9|9"]);
}

#[test]
fn a_failed_job_blocks_what_needs_it_and_the_next_command_continues() {
    let workplace = workplace();
    workplace.put("flow.toml", chain());
    fs::rename(workplace.path().join("b.csv"), workplace.path().join("later.csv")).unwrap();
    let first = run(&workplace, &[]);
    first
        .exits(1)
        .says("[FLOW-FAILED]")
        .says("1 of 4 jobs of flow `flow` failed for 20261201000000");
    first
        .says("1 job was not run because of that")
        .says("flow run flow.toml --cyctime 20261201000000");
    assert_eq!(states(&first), ["a done", "b failed", "c blocked", "d done"]);
    assert_eq!(rows(&workplace), ["3|0|0|3"]);
    fs::rename(workplace.path().join("later.csv"), workplace.path().join("b.csv")).unwrap();
    let second = run(&workplace, &[]);
    second.exits(0);
    assert_eq!(states(&second), ["a done", "b done", "c done", "d done"]);
    assert_eq!(instance(&second)["jobs"]["a"], instance(&first)["jobs"]["a"]);
    assert_eq!(rows(&workplace), ["3|3|3|3"]);
}

#[test]
fn a_job_that_was_killed_continues_where_it_stopped() {
    let workplace = workplace();
    let text: String = (1..=20_000).map(|id| format!("{id}\n")).collect();
    workplace.put("a.csv", format!("id\n{text}"));
    let tokens = "[checkpoint]\nrows = 1_000\n[channel]\nparallelism = 1\n[guarantee]\n\
                  require = \"effectively-once\"\ncreate_tables = true\n";
    workplace.put("a.toml", job("a") + tokens);
    workplace.put("flow.toml", entry("a", ""));
    let mut command = workplace.command();
    command.args(["flow", "run", "flow.toml"]).args(DAY).env("TRANSLOAD_FAILPOINT", "K7#3");
    let killed = Ended::from(command.output().unwrap());
    killed.exits(1).says("its process ended with");
    let ended = run(&workplace, &[]);
    ended.exits(0);
    assert_eq!(instance(&ended)["jobs"]["a"]["rows"], 20_000);
    let counted = workplace.sqlite("target.db", "SELECT count(*), count(DISTINCT id) FROM a");
    assert_eq!(counted, ["20000|20000"]);
    let history = workplace.run(&["history", "--output", "json"]);
    let history: Value = serde_json::from_str(&history.stdout).unwrap();
    assert_eq!((history.as_array().unwrap().len(), &history[0]["resumed"]), (1, &1.into()));
}

#[test]
fn an_instance_waits_for_the_one_before() {
    let workplace = workplace();
    let flow = |more: &str| format!("[flow]\n{more}{}", entry("a", "needs_previous = true"));
    workplace.put("flow.toml", flow("needs_previous = true\n"));
    let refused = run(&workplace, &[]);
    refused.exits(4).says("[FLOW-PREVIOUS]").says("the instance 20261130000000 has not run");
    workplace.put("flow.toml", flow(""));
    run(&workplace, &[]).exits(1).says("job `a` of the instance 20261130000000 has not run");
    workplace.put("flow.toml", flow("start = \"20261129\"\nneeds_previous = true\n"));
    workplace.run(&["flow", "run", "flow.toml", "--bizdate", "20261129"]).exits(0);
    run(&workplace, &[]).exits(0);
    assert_eq!(rows(&workplace), ["6|0|0|0"]);
}

#[test]
fn conditions_are_waited_for() {
    let workplace = workplace();
    workplace.execute("target.db", "CREATE TABLE batch (day TEXT, rows INTEGER, at TEXT)");
    workplace
        .execute("target.db", "INSERT INTO batch VALUES ('20261130', 7, '2020-01-01 00:00:00')");
    let query = |sql: &str| format!("connection = \"shop\"\nquery = \"\"\"{sql}\"\"\"\n");
    let of_day = "SELECT rows FROM batch WHERE day = ${bizdate}";
    for (condition, state, reason) in [
        ("path = \"a.csv\"".to_owned(), "done", ""),
        ("path = \"none\"".to_owned(), "failed", "none` exists (it does not exist)"),
        ("path = \"none\"\non_timeout = \"skip\"".to_owned(), "skipped", ""),
        ("path = \"none\"\non_timeout = \"run\"".to_owned(), "done", ""),
        (query(of_day), "done", ""),
        (query(of_day) + "at_least = 7", "done", ""),
        (query(of_day) + "at_least = 8", "failed", "the query returns `7`"),
        (query("SELECT count(*) FROM batch WHERE 1 = 0"), "failed", "the query returns `0`"),
        (
            query("SELECT at FROM batch") + "max_age = \"1 d\"",
            "failed",
            "the query returns `2020-01-01",
        ),
        (query("SELECT missing FROM batch"), "failed", "no such column"),
        ("connection = \"shop\"\nobject = \"batch\"".to_owned(), "done", ""),
        ("connection = \"shop\"\nobject = \"batches\"".to_owned(), "failed", "does not list it"),
        ("job = \"b\"".to_owned(), "failed", "it has no run that is done for 20261201000000"),
        ("flow = \"crm\"".to_owned(), "failed", "it has not run"),
    ] {
        let ready = format!("[[job.ready]]\n{condition}");
        workplace.put("flow.toml", entry("a", &ready));
        let ended = run(&workplace, &["--again"]);
        assert_eq!(states(&ended), [format!("a {state}")], "{condition}: {ended:?}");
        let said = instance(&ended)["jobs"]["a"]["reason"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains(reason), "{condition}: {said}");
        let exit = if state == "failed" { 1 } else { 0 };
        ended.exits(exit);
    }
    workplace.put("crm.toml", entry("b", ""));
    workplace.run(&["flow", "run", "crm.toml", "--bizdate", "20261130"]).exits(0);
    for condition in ["job = \"b\"", "flow = \"crm\""] {
        workplace.put("flow.toml", entry("a", &format!("[[job.ready]]\n{condition}")));
        run(&workplace, &["--again"]).exits(0);
    }
    let late = "[[job.ready]]\npath = \"late\"\ntimeout = \"60 s\"\nevery = \"50 ms\"";
    workplace.put("flow.toml", entry("a", late));
    let marker = workplace.path().join("late");
    let maker = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        fs::write(marker, "").unwrap();
    });
    run(&workplace, &["--again"]).exits(0);
    maker.join().unwrap();
}

#[test]
fn one_process_works_on_an_instance_and_a_signal_stops_it() {
    let workplace = workplace();
    let ready = "[[job.ready]]\npath = \"never\"\ntimeout = \"1 h\"";
    workplace.put("flow.toml", entry("a", ready) + &entry("b", ""));
    let mut command = workplace.command();
    command.args(["flow", "run", "flow.toml"]).args(DAY);
    let mut first = Running::of(command);
    wait_until("the other job is done", || rows(&workplace) == ["0|3|0|0"] || first.has_ended());
    run(&workplace, &[]).exits(9).says("[FLOW-ACTIVE]").says("another process runs flow `flow`");
    first.signal("TERM");
    let ended = first.wait();
    ended.exits(143);
    let shown = workplace.run(&["flow", "show", "flow.toml", DAY[0], DAY[1]]);
    shows(shown.exits(0), &["a [failed]", "b [done]"]);
}

#[test]
fn a_signal_reaches_the_jobs() {
    let workplace = workplace();
    let text: String = (1..=50_000).map(|id| format!("{id}\n")).collect();
    workplace.put("a.csv", format!("id\n{text}"));
    workplace.put("a.toml", job("a") + "[channel]\nmax_rows_per_second = 1_000\n");
    workplace.put("flow.toml", entry("a", "") + &entry("b", "needs = [\"a\"]"));
    let mut command = workplace.command();
    command.args(["flow", "run", "flow.toml", "--output", "json"]).args(DAY);
    let running = Running::of(command);
    let runs = workplace.path().join("state/runs");
    wait_until("the job runs", || runs.exists());
    thread::sleep(Duration::from_millis(500));
    running.signal("INT");
    let ended = running.wait();
    ended.exits(130);
    assert_eq!(states(&ended), ["a failed", "b waiting"]);
    assert_eq!(instance(&ended)["jobs"]["a"]["exit"], 130);
}

#[test]
fn nothing_runs_before_all_jobs_are_checked() {
    let workplace = workplace();
    workplace.put("c.toml", job("c").replace("write_mode", "wrote_mode"));
    workplace.put("d.toml", job("d").replace("\"shop\"", "\"shoe\""));
    workplace.put("flow.toml", chain());
    let ended = run(&workplace, &[]);
    ended.exits(2).says("c.toml:7:1: ").says("wrote_mode").says("d.toml:5:14: ").says("shoe");
    assert_eq!(rows(&workplace), ["0|0|0|0"]);
    workplace.put("flow.toml", entry("a", "needs = [\"bb\"]") + &entry("b", ""));
    run(&workplace, &[]).exits(2).says("[FLOW-FILE]").says("flow.toml:3:10: there is no job `bb`");
    workplace.run(&["flow", "run", "none.toml"]).exits(4).says("cannot read the flow file");
    let wrong = workplace.run(&["flow", "run", "flow.toml", "--bizdate", "20261301"]);
    wrong.exits(2).says("`20261301` is not a business date such as `20261130`");
}

#[test]
fn a_flow_is_planned_and_drawn() {
    let workplace = workplace();
    workplace.put("flow.toml", chain() + "[[job.ready]]\npath = \"d.csv\"\n");
    let plan = workplace.run(&["flow", "plan", "flow.toml", DAY[0], DAY[1]]);
    shows(plan.exits(0), &["20261201000000, business date 20261130", "d.csv` exists"]);
    let shown = workplace.run(&["flow", "show", "flow.toml"]);
    shows(shown.exits(0), &["a\n└─ b\n   └─ c\nd  when `"]);
    workplace.run(&["flow", "show", "flow.toml", "--svg", "flow.svg"]).exits(0);
    let picture = fs::read_to_string(workplace.path().join("flow.svg")).unwrap();
    assert!(picture.starts_with("<svg ") && picture.matches("<rect").count() == 4, "{picture}");
    assert_eq!(rows(&workplace), ["0|0|0|0"]);
}

#[test]
fn the_flow_of_the_documents_is_right() {
    let workplace = workplace();
    let document = fs::read_to_string(root().join("docs/flows.md")).unwrap();
    let example = document.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    workplace.put("nightly.toml", example);
    fs::create_dir(workplace.path().join("jobs")).unwrap();
    workplace.put("customers.toml", job("b"));
    workplace.put("orders.toml", job("c").replace("c.csv", "${region}.csv"));
    workplace.put("jobs/report.toml", job("d"));
    workplace
        .put("jobs/connections.toml", "[shop]\nplugin = \"sqlite\"\npath = \"../target.db\"\n");
    let plan = workplace.run(&["flow", "plan", "nightly.toml", DAY[0], DAY[1]]);
    plan.exits(0);
    shows(&plan, &["customers", "orders", "report", "itself in the instance 20261130000000"]);
}
