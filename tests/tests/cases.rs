//! Every folder of `cases` is a case: its `job.toml` is run by the real program in a copy of the
//! folder, and the files in `expected` define the result:
//!
//! - `expected/report.json`: each key in it must have this value in the report;
//! - `expected/stderr.txt`: each line must occur in the program's messages;
//! - `expected/query.sql` and `expected/query.txt`: the rows of a query on `target.db`;
//! - any other file: must exist afterwards, with this content.
//!
//! `setup.sql`, if present, is run on `target.db` first. `arguments.txt` contains additional
//! arguments, one per line. Without a `report.json`, the exit code must be 0.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, path::Path};

use serde_json::Value;
use transload_tests::Workplace;

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut names: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert!(!names.is_empty());
    let only = std::env::var("CASE").ok();
    let mut failed = Vec::new();
    for name in names {
        let name = name.to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        if let Err(reason) = case(&folder.join(&name)) {
            failed.push(format!("case {name}: {reason}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn case(folder: &Path) -> Result<(), String> {
    let workplace = Workplace::copy_of(folder);
    if let Ok(setup) = fs::read_to_string(folder.join("setup.sql")) {
        let connection = rusqlite::Connection::open(workplace.path().join("target.db")).unwrap();
        connection.execute_batch(&setup).map_err(|error| format!("setup.sql: {error}"))?;
    }
    let more = fs::read_to_string(folder.join("arguments.txt")).unwrap_or_default();
    let mut arguments = vec!["run", "job.toml", "--output", "json", "--progress", "none"];
    arguments.extend(more.lines());
    let ended = workplace.run(&arguments);
    let mut wrong = Vec::new();
    for file in fs::read_dir(folder.join("expected")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "query.sql" || path.is_dir() {
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap();
        match name.as_str() {
            "report.json" => compare_report(&expected, &ended.stdout, &mut wrong),
            "stderr.txt" => {
                let missing = expected.lines().filter(|line| !ended.stderr.contains(line));
                wrong.extend(missing.map(|line| format!("not said: {line}")));
            }
            "query.txt" => {
                let query = fs::read_to_string(folder.join("expected/query.sql")).unwrap();
                let rows = workplace.sqlite("target.db", &query).join("\n");
                compare_text("query.txt", expected.trim_end(), &rows, &mut wrong);
            }
            _ => {
                let found = fs::read_to_string(workplace.path().join(&name));
                match found {
                    Ok(found) => compare_text(&name, &expected, &found, &mut wrong),
                    Err(error) => wrong.push(format!("{name}: {error}")),
                }
            }
        }
    }
    if !folder.join("expected/report.json").exists()
        && !folder.join("expected/stderr.txt").exists()
        && ended.exit != Some(0)
    {
        wrong.push(format!("exit {:?}", ended.exit));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n--- stdout\n{}\n--- stderr\n{}", wrong.join("\n"), ended.stdout, ended.stderr))
}

fn compare_text(name: &str, expected: &str, found: &str, wrong: &mut Vec<String>) {
    if expected != found {
        wrong.push(format!("{name}: expected\n{expected}\nfound\n{found}"));
    }
}

fn compare_report(expected: &str, stdout: &str, wrong: &mut Vec<String>) {
    let expected: Value = serde_json::from_str(expected).unwrap();
    match serde_json::from_str::<Value>(stdout) {
        Err(error) => wrong.push(format!("no report: {error}")),
        Ok(report) => compare_value("report", &expected, &report, wrong),
    }
}

/// Every key of `expected` must be in `found` with the same value.
fn compare_value(path: &str, expected: &Value, found: &Value, wrong: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                let inner = found.get(key).unwrap_or(&Value::Null);
                compare_value(&format!("{path}.{key}"), value, inner, wrong);
            }
        }
        _ if expected == found => {}
        _ => wrong.push(format!("{path}: expected {expected}, found {found}")),
    }
}
