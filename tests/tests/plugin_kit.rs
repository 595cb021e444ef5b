//! What a vendor has: `plugin test` on libraries that conform and on ones that do not, `plugin new`, and
//! a store without keys.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use transload_tests::{Ended, Workplace, built, plugin_library};

/// The library of the suite's own tests.
fn shelf() -> PathBuf {
    let library = built().join("examples/libshelf.so");
    assert!(library.is_file(), "{} is not built: cargo build --examples", library.display());
    library
}

fn run(command: &mut Command) -> Ended {
    Ended::from(command.output().expect("the program starts"))
}

const SHELF: &str = r#"
[options]
table = "${name}"
[secrets]
password = "open sesame"
[address]
address = "${host}:${port}"
[missing]
table = "no such table"
[types]
decimal = ["decimal(38,10)"]
timestamp = ["timestamp"]
time = ["time"]
"#;

fn tested(workplace: &Workplace, library: &Path, defect: &str) -> (Ended, Value) {
    let mut command = workplace.command();
    command.args(["plugin", "test"]).arg(library).args(["--output", "json", "--timeout", "5 min"]);
    command.env("SHELF_DEFECT", defect);
    let outcome = run(&mut command);
    let report = serde_json::from_str(&outcome.stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    (outcome, report)
}

fn failed(report: &Value) -> Vec<&str> {
    let cases = report["cases"].as_array().unwrap().iter();
    cases.filter(|case| case["ok"] == false).map(|case| case["name"].as_str().unwrap()).collect()
}

#[test]
fn a_library_that_conforms_reaches_its_level() {
    let workplace = Workplace::new();
    workplace.put("test.toml", SHELF);
    let (ended, report) = tested(&workplace, &shelf(), "");
    assert_eq!(failed(&report), [""; 0], "{report:#}");
    ended.exits(0);
    assert_eq!(report["level"], "atomic-job");
    assert_eq!(report["suite"], transload_plugin_api::testing::SUITE);
}

#[test]
fn a_library_with_a_mistake_fails_the_case_that_is_about_it() {
    let workplace = Workplace::new();
    workplace.put("test.toml", SHELF);
    for (defect, case, words) in [
        ("rounds", "type decimal", "a round trip of `decimal(38,10)`"),
        ("panics", "insert: foreign receipts", "the receipt has no data"),
        ("leaks", "nothing stays open", "files stay open"),
        ("waits", "stop of a silent server", "after the stop signal"),
    ] {
        let (ended, report) = tested(&workplace, &shelf(), defect);
        ended.exits(7);
        assert!(failed(&report).contains(&case), "{defect}: {report:#}");
        assert!(ended.stdout.contains(words), "{defect}: {report:#}");
        assert_eq!(report["level"], Value::Null, "{defect}");
    }
}

#[test]
fn sqlite_and_the_generator_pass_as_libraries_from_outside() {
    let workplace = Workplace::new();
    workplace.put(
        "test.toml",
        "[options]\npath = \"${dir}/store.db\"\ntable = \"${name}\"\n[missing]\ntable = \"none\"\n",
    );
    let (ended, report) = tested(&workplace, &plugin_library("sqlite"), "");
    assert_eq!(failed(&report), [""; 0], "{report:#}");
    ended.exits(0);
    let notes = report["notes"].to_string();
    assert!(notes.contains("float64: the store refuses -0.0, NaN"), "{notes}");

    workplace.put(
        "test.toml",
        "write_only = true\n[reader]\nrows = \"${rows}\"\nspecs = { id = \"int64 sequence\" }\n\
         [writer]\ntable = \"${name}\"\nkey_dedup = true\n",
    );
    let (ended, report) = tested(&workplace, &plugin_library("generator"), "");
    assert_eq!(failed(&report), [""; 0], "{report:#}");
    ended.exits(0);
}

#[test]
fn a_wrong_description_of_the_store_is_explained() {
    let workplace = Workplace::new();
    workplace.put("test.toml", "[option]\n");
    let mut command = workplace.command();
    let outcome = run(command.args(["plugin", "test"]).arg(shelf()));
    outcome.exits(2).says("unknown field `option`").says("docs/plugin-authors.md");
}

/// A store without keys takes the key that the job names, and says so if the job names none.
#[test]
fn the_job_names_the_key_of_a_store_without_keys() {
    let workplace = Workplace::new();
    fs::create_dir(workplace.path().join("plugins")).unwrap();
    fs::copy(shelf(), workplace.path().join("plugins/libshelf.so")).unwrap();
    workplace.put("in.csv", "id,name\n1,a\n2,b\n1,c\n");
    let job = |key: &str| {
        format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nid = \"int64\"\n\
             name = \"text\"\n[writer]\nplugin = \"shelf\"\ntable = \"t\"\ncreate_table = true\n\
             password = {{ env = \"SHELF\" }}\nwrite_mode = \"upsert\"\n{key}"
        )
    };
    let run_with = |key: &str| {
        workplace.put("job.toml", job(key));
        let mut command = workplace.command();
        command.args([
            "run",
            "job.toml",
            "--allow-unsigned-plugins",
            "--plugins",
            "plugins",
            "--output",
            "json",
        ]);
        // So that the host's own check of the key is the one that counts.
        run(command.env("SHELF", "open sesame").env("SHELF_DEFECT", "drafts"))
    };
    let refused = run_with("");
    refused.exits(6).says("[PLAN-KEY]").says("key = [");
    let outcome = run_with("key = [\"id\"]\n");
    outcome.exits(0);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let rows = &report["rows"];
    assert_eq!((&rows["inserted"], &rows["updated"]), (&2.into(), &1.into()), "{report:#}");
}

/// A crate that is built outside of the workspace, with the dependencies of this one.
fn build(folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let target = built().parent().unwrap().join("kit");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .status()
        .unwrap();
    assert!(status.success(), "cargo build in {}", folder.display());
    target.join("debug")
}

#[test]
fn a_new_plugin_builds_and_conforms_as_it_stands() {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api");
    for (name, sides) in [("both-sides", &["--reader", "--writer"][..]), ("reads", &["--reader"])] {
        let workplace = Workplace::new();
        let mut command = workplace.command();
        command.args(["plugin", "new", name]).args(sides).arg("--api").arg(&api);
        run(&mut command).exits(0);
        let folder = workplace.path().join(name);
        let library = format!("libtransload_plugin_{}.so", name.replace('-', "_"));
        let library = build(&folder).join(library);
        fs::copy(folder.join("test.toml"), workplace.path().join("test.toml")).unwrap();
        let (ended, report) = tested(&workplace, &library, "");
        assert_eq!(failed(&report), [""; 0], "{report:#}");
        ended.exits(0);
        let level = if sides.len() == 2 { "at-least-once" } else { "seekable" };
        assert_eq!(report["level"], level);
        // Once is enough: a folder that exists is not overwritten.
        let mut command = workplace.command();
        let again = run(command.args(["plugin", "new", name]));
        again.exits(2).says("exists");
    }
}

/// The connector of the author's guide, built outside of the workspace, on a real server: the suite,
/// and a job that reads what another one has written.
#[test]
fn the_guides_connector_conforms_and_moves_rows_exactly() {
    let port = std::env::var("TRANSLOAD_TEST_REDIS").expect("TRANSLOAD_TEST_REDIS: see tests/run");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/redis-connector");
    let workplace = Workplace::copy_of(&example.join("src"));
    let crates = fs::read_to_string(example.join("Cargo.toml")).unwrap();
    let root = example.join("../..").canonicalize().unwrap();
    workplace.put("Cargo.toml", crates.replace("../..", root.to_str().unwrap()));
    fs::create_dir(workplace.path().join("src")).unwrap();
    for file in ["lib.rs", "reader.rs", "resp.rs", "store.rs", "writer.rs"] {
        fs::rename(workplace.path().join(file), workplace.path().join("src").join(file)).unwrap();
    }
    let library = build(workplace.path()).join("libtransload_plugin_redis.so");
    fs::copy(example.join("test.toml"), workplace.path().join("test.toml")).unwrap();
    let mut command = workplace.command();
    command.args(["plugin", "test"]).arg(&library).args(["--output", "json"]);
    let outcome = run(command.env("REDIS_PORT", &port));
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
    assert_eq!(report["ok"], true, "{:?} {report:#} {outcome:?}", failed(&report));
    assert_eq!(report["level"], "convergent");

    fs::create_dir(workplace.path().join("plugins")).unwrap();
    fs::copy(&library, workplace.path().join("plugins/libredis.so")).unwrap();
    let rows: String = (1..=2_000).map(|id| format!("{id},name {id},{id}.25\n")).collect();
    workplace.put("in.csv", format!("id,name,price\n{rows}"));
    let prefix = format!("prices_{}", std::process::id());
    let redis = format!("plugin = \"redis\"\nport = {port}\nprefix = \"{prefix}\"\n");
    workplace.put(
        "in.toml",
        format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\nid = \"int64\"\n\
             name = \"text\"\nprice = \"decimal(15,2)\"\n[writer]\n{redis}\
             write_mode = \"upsert\"\nkey = [\"id\"]\n"
        ),
    );
    workplace.put(
        "out.toml",
        format!("[reader]\n{redis}[writer]\nplugin = \"file\"\npath = \"out.csv\"\n"),
    );
    for job in ["in.toml", "out.toml"] {
        workplace.run(&["run", job, "--allow-unsigned-plugins", "--plugins", "plugins"]).exits(0);
    }
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&workplace.read("out.csv")), sorted(&workplace.read("in.csv")));
    // By its own URL, with a page for its codes and its count in the summary.
    let own = ["--allow-unsigned-plugins", "--plugins", "plugins"];
    let url = format!("redis://127.0.0.1:{port}/#{prefix}");
    let ended = workplace.run(&[&["copy", url.as_str(), "copied.csv"], &own[..]].concat());
    ended.exits(0).says(" keys were listed (redis)");
    assert_eq!(sorted(&workplace.read("copied.csv")), sorted(&workplace.read("in.csv")));
    let ended = workplace.run(&[&["preview", &format!("{url}_none")], &own[..]].concat());
    ended.exits(4).says("[REDIS-COLUMNS]");
    let page = workplace.run(&[&["explain", "REDIS-COLUMNS"], &own[..]].concat());
    assert!(page.exits(0).stdout.contains("What to do."), "{page:?}");
    let keys =
        format!("redis-cli -p {port} --raw keys '{prefix}*' | xargs redis-cli -p {port} del");
    assert!(Command::new("sh").args(["-c", &keys]).output().unwrap().status.success());
}
