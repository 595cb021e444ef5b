//! What the program says about itself: pages of error codes, its version, completions, manual pages.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::Workplace;

#[test]
fn a_code_is_explained_as_messages_show_it() {
    let workplace = Workplace::new();
    let ended = workplace.run(&["explain", "[plan-key]"]);
    ended.exits(0);
    assert!(ended.stdout.contains("ADD PRIMARY KEY"), "{ended:?}");
    let ended = workplace.run(&["explain", "PLAN-KY"]);
    ended.exits(2);
    assert!(ended.stderr.contains("did you mean `PLAN-KEY`?"), "{ended:?}");
    let ended = workplace.run(&["explain"]);
    ended.exits(0);
    assert!(ended.stdout.contains("DIRTY-LIMIT"), "{ended:?}");
}

#[test]
fn the_version_names_all_plugins() {
    let ended = Workplace::new().run(&["version", "--output", "json"]);
    ended.exits(0);
    let version: Value = serde_json::from_str(&ended.stdout).unwrap();
    let plugins: Vec<_> =
        version["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["name"]).collect();
    for name in ["adbc", "file", "generator", "mysql", "object-store", "postgres", "sqlite"] {
        assert!(plugins.iter().any(|found| *found == name), "{name} is not in {plugins:?}");
    }
}

#[test]
fn shells_and_the_manual_know_every_command() {
    let workplace = Workplace::new();
    for shell in ["bash", "fish", "zsh"] {
        let ended = workplace.run(&["completions", shell]);
        ended.exits(0);
        for word in ["explain", "connection", "bizdate", "progress"] {
            assert!(ended.stdout.contains(word), "{shell} does not know {word}");
        }
        assert!(!ended.stdout.contains("__probe"), "{shell} knows a hidden command");
    }
    workplace.run(&["man", "pages"]).exits(0);
    let pages = workplace.names("pages");
    for page in ["transload.1", "transload-run.1", "transload-connection-test.1"] {
        assert!(pages.iter().any(|found| found == page), "{page} is not in {pages:?}");
    }
}
