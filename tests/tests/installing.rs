//! A library put into a plugins folder becomes a plugin; a bad one does no harm.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use transload_tests::{Ended, Workplace, plugin_library, sample_folder};

const JOB: &str = "[reader]\nplugin = \"sample\"\ncolumns = [\"int64\"]\n\
                   [writer]\nplugin = \"file\"\npath = \"out.jsonl\"\n[channel]\nparallelism = 1\n[dirty]\nmax_rows = 1\n";

/// Runs the program with the sample plugin's folder configured in one of three ways.
fn with_sample(workplace: &Workplace, way: &str, arguments: &[&str]) -> Ended {
    let folder = sample_folder();
    let mut command = workplace.command();
    command.args(arguments);
    match way {
        "--plugins" => command.arg("--plugins").arg(folder.path()),
        "TRANSLOAD_PLUGIN_PATH" => {
            command.env("TRANSLOAD_PLUGIN_PATH", format!("/:{}", folder.path().display()))
        }
        _ => {
            let user = workplace.path().join("data/transload/plugins");
            fs::create_dir_all(&user).unwrap();
            fs::copy(folder.path().join("libsample.so"), user.join("libsample.so")).unwrap();
            &mut command
        }
    };
    Ended::from(command.output().unwrap())
}

fn listed(ended: &Ended) -> Vec<Value> {
    serde_json::from_str(&ended.exits(0).stdout).unwrap()
}

fn named<'a>(list: &'a [Value], name: &str) -> &'a Value {
    list.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("{list:#?}"))
}

#[test]
fn a_library_in_a_folder_is_a_plugin() {
    for way in ["--plugins", "TRANSLOAD_PLUGIN_PATH", "the user's folder"] {
        let workplace = Workplace::new();
        let list = listed(&with_sample(&workplace, way, &["plugin", "list", "--output", "json"]));
        let sample = named(&list, "sample");
        assert_eq!(
            (&sample["status"], &sample["version"]),
            (&"ok".into(), &"0.1.0".into()),
            "{way}"
        );
        for name in ["file", "generator", "sqlite"] {
            assert_eq!(named(&list, name)["status"], "ok");
        }
        let info = with_sample(&workplace, way, &["plugin", "info", "sample"]);
        assert!(info.exits(0).stdout.contains("rows that test the boundary"), "{}", info.stdout);
        workplace.put("job.toml", JOB);
        with_sample(&workplace, way, &["run", "job.toml"]).exits(0);
        assert!(!workplace.read("out.jsonl").is_empty());
    }
    let workplace = Workplace::new();
    workplace.run(&["plugin", "info", "sample"]).exits(7).says("there is no plugin `sample`");
}

#[test]
fn a_library_is_checked_stage_by_stage() {
    let workplace = Workplace::new();
    let library = plugin_library("sqlite");
    let library = library.to_str().unwrap();
    let ended = workplace.run(&["plugin", "check", library, "--output", "json"]);
    let findings: Vec<Value> = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    assert!(findings.len() > 5 && findings.iter().all(|finding| finding["ok"] == true));
    let text = workplace.put("no-plugin.so", "text");
    let ended = workplace.run(&["plugin", "check", text.to_str().unwrap()]);
    ended.exits(7);
    assert!(ended.stdout.contains("no ELF header"), "{}", ended.stdout);
}

#[test]
fn t61_bad_libraries_are_listed_with_reasons_and_harm_nothing() {
    let folder = sample_folder();
    let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let whole = fs::read(plugin_library("generator")).unwrap();
    put("empty.so", b"");
    put("text.so", b"hello");
    put("truncated.so", &whole[..whole.len() / 2]);
    put("garbage.so", &[b"\x7fELF".as_slice(), &[0x5a; 4096]].concat());
    let workplace = Workplace::new();
    let plugins = folder.path().to_str().unwrap();
    let list =
        listed(&workplace.run(&["plugin", "list", "--output", "json", "--plugins", plugins]));
    for (file, reason) in [
        ("empty.so", "the file is empty"),
        ("text.so", "not a shared library"),
        ("truncated.so", "damaged"),
        ("garbage.so", "damaged"),
    ] {
        let is_it = |entry: &&Value| entry["path"].as_str().unwrap().ends_with(&format!("/{file}"));
        let entry = list.iter().find(is_it).unwrap();
        assert_eq!(entry["status"], "refused");
        assert!(entry.to_string().contains(reason), "{entry:#}");
    }
    let shown = workplace.run(&["plugin", "list", "--plugins", plugins]);
    assert!(shown.exits(0).stdout.contains("the file is empty"), "{}", shown.stdout);
    workplace.put("job.toml", JOB);
    workplace.run(&["run", "job.toml", "--plugins", plugins]).exits(0);
}

#[test]
fn the_plugins_of_this_installation_are_as_its_manifest_says() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = fs::read_to_string(root.join("plugin-manifest.toml")).unwrap();
    fs::write(folder.path().join("plugin-manifest.toml"), &manifest).unwrap();
    let names: Vec<_> = manifest.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    for name in &names {
        let library = plugin_library(name.trim_matches('"'));
        let link = folder.path().join(library.file_name().unwrap());
        std::os::unix::fs::symlink(&library, link).unwrap();
    }
    let plugins = folder.path().to_str().unwrap();
    let workplace = Workplace::new();
    let list = workplace.run(&["plugin", "list", "--output", "json", "--plugins", plugins]);
    let list = listed(&list);
    let here: Vec<_> =
        list.iter().filter(|entry| entry["path"].as_str().unwrap().starts_with(plugins)).collect();
    assert_eq!((names.len(), here.len()), (6, 6));
    for entry in here {
        assert_eq!((&entry["status"], &entry["listed"]), (&"ok".into(), &true.into()), "{entry:#}");
    }
}

/// The hash computed by another program.
fn sha256(library: &Path) -> String {
    let output = Command::new("sha256sum").arg(library).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
fn t61_a_listed_library_must_have_its_hash() {
    let folder = sample_folder();
    let library = folder.path().join("libsample.so");
    let manifest = |hash: &str| {
        let text = format!(
            "[[plugin]]\nname = \"sample\"\nversion = \"0.1.0\"\nroles = [\"reader\", \"writer\"]\n\
             library = \"libsample.so\"\nabi = \"1.2\"\nsha256 = \"{hash}\"\n"
        );
        fs::write(folder.path().join("plugin-manifest.toml"), text).unwrap();
    };
    let workplace = Workplace::new();
    workplace.put("job.toml", JOB);
    let run = || workplace.run(&["run", "job.toml", "--plugins", folder.path().to_str().unwrap()]);
    manifest(&sha256(&library));
    run().exits(0);
    manifest(&"0".repeat(64));
    fs::remove_file(workplace.path().join("out.jsonl")).unwrap();
    run().exits(7).says("`sample` was refused: sha256 is");
    assert!(!workplace.path().join("out.jsonl").exists());
}
