//! Plugins that break their contract: nothing that one does ends a run with success and fewer rows,
//! and every message names the plugin, its role and its function.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use transload_tests::{Ended, Running, Workplace, sample_folder, wait_until};

/// A job from the sample to a file, or from a file to the sample.
fn job(role: &str, options: &str) -> String {
    let (reader, writer) = match role {
        "reader" => (options, "plugin = \"file\"\npath = \"out.jsonl\"\n"),
        _ => ("plugin = \"file\"\npath = \"in.csv\"\n", options),
    };
    let columns = if role == "reader" { "columns = [\"id\"]\n" } else { "" };
    format!(
        "[reader]\n{reader}{columns}[writer]\n{writer}[channel]\nparallelism = 1\n\
         [dirty]\nmax_rows = 100\n"
    )
}

struct Stage {
    workplace: Workplace,
    plugins: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let (workplace, plugins) = (Workplace::new(), sample_folder());
        let rows: String = (1..=50).map(|id| format!("{id}\n")).collect();
        workplace.put("in.csv", format!("id\n{rows}"));
        Self { workplace, plugins }
    }

    fn arguments(&self) -> [&str; 9] {
        let plugins = self.plugins.path().to_str().unwrap();
        [
            "run",
            "job.toml",
            "--allow-unsigned-plugins",
            "--plugins",
            plugins,
            "--output",
            "json",
            "--progress",
            "none",
        ]
    }

    /// Runs the sample in this role with this option.
    fn run(&self, role: &str, option: &str) -> Ended {
        let _ = fs::remove_dir_all(self.workplace.path().join("state"));
        let options = format!("plugin = \"sample\"\n{option}\n");
        self.workplace.put("job.toml", job(role, &options));
        self.workplace.run(&self.arguments())
    }

    /// The report in the run's folder.
    fn kept_report(&self) -> Option<Value> {
        let runs = fs::read_dir(self.workplace.path().join("state/runs/job")).ok()?;
        let run = runs.into_iter().next()?.ok()?;
        serde_json::from_slice(&fs::read(run.path().join("report.json")).ok()?).ok()
    }
}

fn printed(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// `exit(0)` in any function is not success: the scheduler would book a table that lacks rows.
#[test]
fn an_exit_inside_a_plugin_is_never_success() {
    let stage = Stage::new();
    for (role, verb, has_report) in [
        ("reader", "reader", false),
        ("reader", "schema", false),
        ("reader", "splits", false),
        ("reader", "open", true),
        ("reader", "next_batch", true),
        ("writer", "inspect", false),
        ("writer", "prepare", true),
        ("writer", "write", true),
        ("writer", "commit_chunk", true),
        ("writer", "finish", true),
        ("writer", "commit", true),
    ] {
        let ended = stage.run(role, &format!("exit = \"{verb}\""));
        ended.exits(7).says("[PLUGIN-EXIT]");
        let who = format!("plugin `sample`, {role}, `{verb}` ended the process");
        ended.says(&who);
        let result = printed(&ended);
        assert_eq!(result["status"], "plugin", "{verb}");
        assert!(result["error"]["message"].as_str().unwrap().contains(&who), "{verb}: {result}");
        let kept = stage.kept_report();
        assert_eq!(kept.is_some(), has_report, "{verb}");
        assert!(kept.is_none_or(|report| report["status"] == "plugin"), "{verb}");
    }
    let ended = stage.run("reader", "exit = \"next_batch of a thread\"");
    ended.exits(7).says("a thread of a plugin").says("sample");
}

/// The signal ends the program, but not without a word: who it was, and how the run continues.
#[test]
fn a_crash_inside_a_plugin_names_it() {
    let stage = Stage::new();
    for (role, option, said) in [
        ("writer", "overflow = \"write\"", "plugin `sample`, writer, crashed in `write`"),
        ("writer", "evil = \"abort in write\"", "plugin `sample`, writer, crashed in `write`"),
        ("reader", "evil = \"abort in schema\"", "plugin `sample`, reader, crashed in `schema`"),
        (
            "reader",
            "evil = \"segv in next_batch\"",
            "plugin `sample`, reader, crashed in `next_batch`",
        ),
        ("reader", "evil = \"abort a thread in next_batch\"", "a thread of a plugin crashed ("),
    ] {
        let ended = stage.run(role, option);
        assert_eq!(ended.exit, None, "{option}: {ended:?}");
        ended.says(&format!("error: [PLUGIN-CRASH] {said}"));
        assert_eq!(ended.stderr.matches("[PLUGIN-CRASH]").count(), 1, "{}", ended.stderr);
        let hint =
            ended.stderr.lines().find_map(|line| line.strip_prefix("  hint: continue the run: "));
        if said.ends_with("`schema`") {
            assert_eq!(hint, None, "{}", ended.stderr);
            continue;
        }
        // The hint is a command that finds the run.
        let arguments: Vec<_> = hint.unwrap().split(' ').skip(1).collect();
        let resumed =
            stage.workplace.run(&[&arguments[..], &["--plugins", "/no/such/folder"]].concat());
        assert!(!resumed.stderr.contains("no run"), "{}", resumed.stderr);
    }
}

/// A verb that never returns keeps the program no longer than a second signal takes.
#[test]
fn a_verb_that_never_returns_does_not_outlive_a_second_signal() {
    let stage = Stage::new();
    for (role, verb) in [("reader", "reader"), ("writer", "write"), ("writer", "commit")] {
        let _ = fs::remove_dir_all(stage.workplace.path().join("state"));
        let options = format!("plugin = \"sample\"\nevil = \"loop in {verb}\"\n");
        stage.workplace.put("job.toml", job(role, &options));
        let marker = stage.workplace.path().join("looping");
        let _ = fs::remove_file(&marker);
        let mut running = stage.workplace.start(&stage.arguments());
        wait_until("the verb is called", || marker.exists() || running.has_ended());
        let begun = Instant::now();
        running.signal("TERM");
        thread::sleep(Duration::from_millis(200));
        running.signal("TERM");
        let ended = running.wait();
        assert!(begun.elapsed() < Duration::from_secs(5), "{verb}: {:?}", begun.elapsed());
        ended.exits(143).says("when a second signal came");
        ended.says(&format!("plugin `sample`, {role}, `{verb}`"));
    }
}

/// The state of a writer that has panicked is unknown, so another one removes what was staged.
#[test]
fn another_writer_cleans_up_behind_one_that_panicked() {
    let stage = Stage::new();
    for verb in ["prepare", "finish"] {
        let ended = stage.run("writer", &format!("panic = \"{verb}\""));
        ended.exits(7).says("[PLUGIN-PANIC]").says(&format!("`{verb}` panicked"));
        assert!(!ended.stderr.contains("an earlier call panicked"), "{verb}: {}", ended.stderr);
    }
    // Where that one fails as well, the message says what to do about what stays.
    let ended = stage.run("writer", "panic = \"prepare\"\nfault = \"abort\"");
    ended.exits(7).says("so it stays").says("try again: transload abort");
}

/// Each broken rule, with the function that broke it and what is wrong with its return.
#[test]
fn what_a_plugin_returns_is_checked_against_its_contract() {
    let stage = Stage::new();
    for (role, fault, verb, said) in [
        ("reader", "fewer produced", "produces", "1 columns were given, 0 returned"),
        ("reader", "many splits", "splits", "2 splits were returned, at most 1 were requested"),
        ("reader", "long position", "next_batch", "a position has 5000 bytes"),
        ("reader", "no object", "next_batch", "of a dirty row are no JSON object: `[1]`"),
        ("writer", "fewer drafted", "draft", "1 columns were given, 0 returned"),
        ("writer", "renamed", "draft", "column 1 was given as `id`, returned as `other`"),
        ("writer", "strong draft", "draft", "claims the guarantee `atomic-job`"),
        ("writer", "strange row", "write", "dirty row 50 of a batch of 50 rows"),
        ("writer", "same row", "write", "dirty row 1 of a batch of 50 rows"),
        ("writer", "underflow", "write", "accounts for 18446744073709551614 inserted"),
        ("writer", "lost row", "write", "accounts for 48 inserted"),
        ("writer", "long receipt", "finish", "a receipt has 5000 bytes"),
        ("writer", "strange receipt", "finish", "the receipt of task 0 is for task 1"),
    ] {
        let ended = stage.run(role, &format!("fault = \"{fault}\""));
        ended.exits(7).says(said);
        ended.says(&format!("from: plugin `sample`, {role}, `{verb}`"));
        let code = if verb == "write" && said.starts_with("accounts") {
            "RUN-BALANCE"
        } else {
            "PLUGIN-CONTRACT"
        };
        ended.says(&format!("[{code}]"));
        let error = &printed(&ended)["error"];
        let origin = serde_json::json!({ "plugin": "sample", "role": role, "verb": verb });
        assert_eq!((&error["code"], &error["origin"]), (&code.into(), &origin), "{error}");
    }
}

/// A writer that asks for a replay without end fails after ten.
#[test]
fn replays_of_a_chunk_are_bounded_logged_and_counted() {
    let stage = Stage::new();
    let ended = stage.run("writer", "fault = \"retry commit_chunk\"");
    ended.exits(75).says("WARN").says("is rolled back and written again: asked to try again");
    ended.says("after 10 replays of the chunk");
    let report = stage.kept_report().unwrap();
    assert_eq!(report["replays"], 10);
    assert_eq!(report["error"]["origin"]["verb"], "commit_chunk");
}

/// Messages of a plugin are cut, forge no line and give a terminal no orders.
#[test]
fn texts_of_a_plugin_are_cut_and_escaped() {
    let stage = Stage::new();
    let ended = stage.run("reader", "fault = \"shout schema\"");
    ended.exits(1).says("\\u{1b}[2J\\u{d}nothing wrong").says("bytes more)").says("\\u{202e}");
    assert!(ended.stderr.len() < 30_000, "{} bytes", ended.stderr.len());
    assert!(!ended.stderr.contains(['\x1b', '\r', '\u{202e}']), "{}", ended.stderr);
    let forged = ended.stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(forged, 1, "{}", ended.stderr);
    assert_eq!(printed(&ended)["error"]["code"], "PLUGIN-PROTOCOL");
}

/// A plugin that does not return keeps the program for as long as the user allows, and no longer.
#[test]
fn a_stop_does_not_wait_for_a_plugin_for_ever() {
    let stage = Stage::new();
    let options = "plugin = \"sample\"\nfault = \"deaf\"\n";
    stage.workplace.put("job.toml", job("reader", options));
    for (signal, exit, status) in [("INT", 130, "interrupted"), ("TERM", 143, "terminated")] {
        let _ = fs::remove_dir_all(stage.workplace.path().join("state"));
        let mut arguments = stage.arguments().to_vec();
        arguments.extend(["--stop-timeout", "500 ms"]);
        let mut running = stage.workplace.start(&arguments);
        let runs = stage.workplace.path().join("state/runs/job");
        wait_until("the plan is there", || runs.is_dir() || running.has_ended());
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        running.signal(signal);
        let ended = running.wait();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        ended.exits(exit).says("[RUN-STOP]").says("plugin `sample`, reader, `next_batch`");
        assert_eq!(stage.kept_report().unwrap()["status"], status);
        assert_eq!(printed(&ended)["status"], status);
    }
}

/// A library that ignores signals while it is loaded does not take them from the program.
#[test]
fn a_library_that_ignores_signals_does_not_disable_them() {
    for (signal, exit) in [("INT", 130), ("TERM", 143)] {
        let stage = Stage::new();
        stage.workplace.put("job.toml", job("reader", "plugin = \"sample\"\nblock = true\n"));
        let mut command = stage.workplace.command();
        command.env("SAMPLE_AT_LOAD", "ignore signals").args(stage.arguments());
        let mut running = Running::of(command);
        let runs = stage.workplace.path().join("state/runs/job");
        wait_until("the plan is there", || runs.is_dir() || running.has_ended());
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        running.signal(signal);
        running.wait().exits(exit);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

/// A plan without columns says what was left out.
#[test]
fn a_plan_without_columns_names_those_that_were_left_out() {
    let stage = Stage::new();
    let reader = "plugin = \"sample\"\nfault = \"nothing left\"\n";
    let job = job("reader", reader).replacen("columns = [\"id\"]\n", "", 1);
    stage.workplace.put("job.toml", job);
    let ended = stage.workplace.run(&stage.arguments());
    ended.exits(6).says("[PLAN-EMPTY]");
    ended.says("no column is left to move: column `shape` (geometry) is left out");
}

/// A name from a file gives a terminal no orders, and forges no line of the plan.
#[test]
fn names_from_files_are_escaped() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,\"a\x1b[31m\u{202e}b\nwarnings\",c\u{2028}\n1,2,3\n");
    workplace.put(
        "job.toml",
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\nplugin = \"file\"\npath = \"out.jsonl\"\n",
    );
    for command in ["plan", "run"] {
        let ended = workplace.run(&[command, "job.toml"]);
        let all = ended.stdout + &ended.stderr;
        assert!(!all.contains(['\x1b', '\u{202e}', '\u{2028}', '\r']), "{all}");
        assert!(!all.lines().any(|line| line.starts_with("warnings")), "{all}");
        assert!(command == "run" || all.contains("a\\u{1b}[31m\\u{202e}b"), "{all}");
    }
}
