//! Plugins in processes of their own: the program survives whatever one does, names it and its verb, and
//! keeps it from what the job does not name for it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs,
    net::TcpListener,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use serde_json::Value;
use transload_tests::{Ended, Workplace, sample_folder, wait_until};

struct Stage {
    workplace: Workplace,
    plugins: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let (workplace, plugins) = (Workplace::new(), sample_folder());
        workplace.put("in.csv", "id\n1\n2\n3\n");
        Self { workplace, plugins }
    }

    /// Writes a job with the sample in one role, in a process of its own.
    fn put(&self, role: &str, options: &str) {
        let sample = format!("plugin = \"sample\"\nisolation = \"process\"\n{options}\n");
        let job = match role {
            "reader" => format!(
                "[reader]\n{sample}columns = [\"id\"]\n\
                 [writer]\nplugin = \"file\"\npath = \"out.jsonl\"\nformat = \"jsonl\"\n\
                 write_mode = \"overwrite\"\n"
            ),
            _ => format!("[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[writer]\n{sample}"),
        };
        let rest = "[channel]\nparallelism = 1\nstall_timeout = \"2 s\"\n[dirty]\nmax_rows = 9\n";
        self.workplace.put("job.toml", format!("{job}{rest}"));
    }

    fn arguments(&self) -> [&str; 11] {
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
            "--plugin-memory",
            "256 MiB",
        ]
    }

    fn run(&self, role: &str, options: &str) -> Ended {
        let _ = fs::remove_dir_all(self.workplace.path().join("state"));
        self.put(role, options);
        self.workplace.run(&self.arguments())
    }
}

fn printed(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// Whatever ends the plugin's process, the program reports who it was and cleans up.
#[test]
fn the_program_survives_what_ends_a_plugin_and_names_it() {
    let stage = Stage::new();
    for (role, option, verb, code, said) in [
        (
            "reader",
            "evil = \"abort in next_batch\"",
            "next_batch",
            "PLUGIN-CRASH",
            "signal 6, abort",
        ),
        (
            "reader",
            "evil = \"segv in schema\"",
            "schema",
            "PLUGIN-CRASH",
            "signal 11, segmentation",
        ),
        ("reader", "exit = \"splits\"", "splits", "PLUGIN-EXIT", "exit code 0"),
        ("reader", "evil = \"loop in next_batch\"", "next_batch", "PLUGIN-STALL", "for 2 s"),
        ("reader", "evil = \"leak in next_batch\"", "next_batch", "PLUGIN-MEMORY", "256 MiB"),
        ("reader", "panic = \"next_batch\"", "next_batch", "PLUGIN-PANIC", "asked to panic"),
        ("writer", "overflow = \"write\"", "write", "PLUGIN-CRASH", "signal"),
        ("writer", "evil = \"close in write\"", "write", "PLUGIN-", "process"),
        ("writer", "evil = \"abort a thread in prepare\"", "prepare", "PLUGIN-CRASH", "abort"),
        ("writer", "exit = \"commit\"", "commit", "PLUGIN-EXIT", "exit code 0"),
    ] {
        let begun = Instant::now();
        let ended = stage.run(role, option);
        let took = begun.elapsed();
        ended.exits(7).says(said).says(&format!("[{code}"));
        ended.says(&format!("from: plugin `sample`, {role}, `{verb}`"));
        let error = &printed(&ended)["error"];
        assert_eq!(error["origin"]["verb"], verb, "{option}: {error}");
        assert!(took < Duration::from_secs(20), "{option}: {took:?}");
    }
    // What ends one process does not hinder another.
    stage.run("reader", "").exits(0);
}

/// A writer whose process has ended, or that has panicked, is replaced by a fresh one that cleans up.
#[test]
fn a_fresh_writer_cleans_up() {
    let stage = Stage::new();
    for (isolation, option) in [
        ("process", "evil = \"abort in write\""),
        ("process", "panic = \"prepare\""),
        ("in-process", "panic = \"prepare\""),
    ] {
        let _ = fs::remove_dir_all(stage.workplace.path().join("state"));
        stage.put("writer", option);
        let job =
            stage.workplace.read("job.toml").replace("\"process\"", &format!("\"{isolation}\""));
        stage.workplace.put("job.toml", job);
        let arguments = [&stage.arguments()[..], &["--log", "info,plugin=trace"]].concat();
        let ended = stage.workplace.run(&arguments);
        ended.exits(7).says("cleaning up with another writer");
        let after = ended.stderr.split("another writer").nth(1).unwrap();
        assert!(after.contains("\"verb\":\"abort\""), "{after}");
        assert!(!ended.stderr.contains("cannot remove what the run staged"), "{}", ended.stderr);
    }
}

/// Events, waits, secrets, counts and rows pass as they do within the program.
#[test]
fn a_run_is_the_same_in_both_ways() {
    let stage = Stage::new();
    let mut found = Vec::new();
    for isolation in ["process", "in-process"] {
        let _ = fs::remove_dir_all(stage.workplace.path().join("state"));
        stage.put("reader", "");
        let job =
            stage.workplace.read("job.toml").replace("\"process\"", &format!("\"{isolation}\""));
        stage.workplace.put("job.toml", job);
        let ended = stage.workplace.run(&stage.arguments());
        let report = printed(ended.exits(0));
        let counts = [&report["rows"], &report["reader"]["counts"], &report["bytes_read"]];
        found.push((stage.workplace.read("out.jsonl"), format!("{counts:?}")));
    }
    assert_eq!(found[0], found[1]);
    assert!(found[0].0.lines().count() > 5, "{}", found[0].0);
}

/// What a plugin prints is not the program's output.
#[test]
fn what_a_plugin_prints_is_logged() {
    let stage = Stage::new();
    stage.put("reader", "evil = \"print in next_batch\"");
    let ended = stage.workplace.run(&[&stage.arguments()[..], &["-v"]].concat());
    printed(ended.exits(0));
    ended.says("INFO sample: printed by a plugin");
}

/// What a connection test reports of each attempt.
fn attempts(stage: &Stage, options: &str, attempts: &[String]) -> Vec<(String, String)> {
    let list: Vec<_> = attempts.iter().map(|attempt| format!("{attempt:?}")).collect();
    let connection = format!(
        "[evil]\nplugin = \"sample\"\nisolation = \"process\"\nattempt = [{}]\n{options}\n",
        list.join(", ")
    );
    stage.workplace.put("connections.toml", connection);
    let plugins = stage.plugins.path().to_str().unwrap();
    let arguments =
        ["connection", "test", "evil", "--allow-unsigned-plugins", "--plugins", plugins];
    let ended = stage.workplace.run(&[&arguments[..], &["--output", "json"]].concat());
    let findings = printed(&ended)["findings"].clone();
    let findings = findings.as_array().unwrap_or_else(|| panic!("{ended:?}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = findings.iter().map(|it| (text(&it["stage"]), text(&it["detail"])));
    found.filter(|(stage, _)| !stage.starts_with("writing: ")).collect()
}

/// Files, ports, sockets, processes: only what the options name is reached.
#[test]
fn a_plugin_reaches_only_what_the_job_names() {
    let stage = Stage::new();
    let own = stage.workplace.put("own.txt", "x");
    let other = stage.workplace.put("other.txt", "x");
    let (named, unnamed) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let socket = stage.workplace.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let at = |what: &str, path: &std::path::Path| format!("{what} {}", path.display());
    let options = format!("file = \"own.txt\"\nport = {}\n", named.local_addr().unwrap().port());
    let refused = [
        at("read", &other),
        at("write", &own),
        at("write", &stage.workplace.path().join("new.txt")),
        at("list", stage.workplace.path()),
        "read /etc/shadow".to_owned(),
        "list /root".to_owned(),
        "list /proc".to_owned(),
        format!("connect {}", port(&unnamed)),
        at("unix", &socket),
        "exec /bin/true".to_owned(),
        "fork".to_owned(),
        "kill".to_owned(),
        "ptrace".to_owned(),
        "io_uring".to_owned(),
    ];
    for (what, found) in attempts(&stage, &options, &refused) {
        assert!(found.starts_with("refused: "), "{what}: {found}");
    }
    let reached = [at("read", &own), format!("connect {}", port(&named))];
    for (what, found) in attempts(&stage, &options, &reached) {
        assert_eq!(found, "reached", "{what}");
    }
    let environment = attempts(&stage, &options, &["environment".to_owned()]);
    assert_eq!(environment[0].1, "empty");
}

/// A plugin that ignores the stop signal is ended, and the run ends as any that was stopped.
#[test]
fn a_stop_ends_the_process_of_a_plugin_that_ignores_it() {
    let stage = Stage::new();
    stage.put("reader", "fault = \"deaf\"");
    let job = stage.workplace.read("job.toml").replace("\"2 s\"", "\"60 s\"");
    stage.workplace.put("job.toml", job);
    let mut running = stage.workplace.start(&stage.arguments());
    let runs = stage.workplace.path().join("state/runs/job");
    wait_until("the plan is there", || runs.is_dir() || running.has_ended());
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    running.signal("TERM");
    let ended = running.wait();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    ended.exits(143);
    assert_eq!(printed(&ended)["status"], "terminated");
}
