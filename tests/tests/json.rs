//! The program's JSON against `docs/json.md`: every field that occurs is documented, every documented
//! field occurs, and the statuses are those of the exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use transload_tests::{Workplace, documents::root};

/// The lines of a section of the document.
fn section(title: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/json.md")).unwrap();
    let lines = text.lines().skip_while(|line| *line != format!("## {title}")).skip(1);
    let lines: Vec<_> =
        lines.take_while(|line| !line.starts_with("## ")).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "docs/json.md has no section {title}");
    lines
}

/// The fields that a section documents: what is in backticks in the first cells of its table.
fn documented(title: &str) -> Vec<String> {
    let first = |line: String| line.strip_prefix("| ")?.split(" | ").next().map(str::to_owned);
    let cells = section(title).into_iter().filter_map(first);
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The fields of a document: `a.b`, `a[].b`.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                fields(value, &path, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().for_each(|item| fields(item, &format!("{path}[]"), found));
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

/// Whether a documented field is this one, an object that holds it, or a field of an empty list.
fn covers(documented: &str, found: &str) -> bool {
    let rest = documented.strip_prefix(found).unwrap_or_default();
    if rest.starts_with("[].") || rest == ".NAME" {
        return true;
    }
    let documented = documented.trim_end_matches("[]");
    let mut own = found.split('.');
    documented.split('.').all(|part| {
        own.next().is_some_and(|own| {
            part == "NAME" || own.trim_end_matches("[]") == part.trim_end_matches("[]")
        })
    })
}

/// Compares documents with a section, but for fields that are left to the versions.
fn compare(title: &str, documents: &[Value], internal: &[&str], rare: &[&str]) {
    let mut found = BTreeSet::new();
    documents.iter().for_each(|document| fields(document, "", &mut found));
    let known = documented(title);
    let is_internal = |path: &str| internal.iter().any(|prefix| path.starts_with(prefix));
    let unknown: Vec<_> = found
        .iter()
        .filter(|path| !is_internal(path) && !known.iter().any(|known| covers(known, path)))
        .collect();
    assert!(unknown.is_empty(), "add to {title} in docs/json.md: {unknown:#?}");
    let missing: Vec<_> = known
        .iter()
        .filter(|known| !rare.contains(&known.as_str()))
        // `error` is null where its fields are not.
        .filter(|known| {
            !found.iter().any(|path| covers(known, path) || known.starts_with(path.as_str()))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "{title} in docs/json.md has fields that never occur: {missing:#?}"
    );
}

/// Orders of which two cannot be written.
const ORDERS: &str =
    "id,amount,day\n1,2.50,2026-11-20\n2,x,2026-11-21\n3,4.00,2026-11-31\n4,1.00,2026-11-30\n";

fn job(max_rows: u32) -> String {
    format!(
        "[reader]\nplugin = \"file\"\npath = \"orders.csv\"\n\
         [reader.schema]\namount = \"decimal(12,2)\"\nday = \"date\"\n\
         [writer]\nplugin = \"sqlite\"\npath = \"shop.db\"\ntable = \"orders\"\ncreate_table = true\n\
         write_mode = \"upsert\"\nkey = [\"id\"]\n[dirty]\nmax_rows = {max_rows}\n\
         max_rows_of = {{ encoding = 5 }}\n"
    )
}

/// A folder with the orders and two jobs: one that allows their dirty rows and one that does not.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    workplace.put("orders.csv", ORDERS);
    workplace.put("lenient.toml", job(10));
    workplace.put("strict.toml", job(0));
    workplace
}

#[test]
fn the_fields_of_plans_and_reports_are_documented() {
    let workplace = workplace();
    let mut plans = Vec::new();
    let mut reports = Vec::new();
    let mut dirty = Vec::new();
    for job in ["lenient.toml", "lenient.toml", "strict.toml"] {
        let plan = workplace.run(&["plan", job, "--output", "json"]);
        plans.push(serde_json::from_str(&plan.exits(0).stdout).unwrap());
        let (_, report) = workplace.report(job);
        for file in report["dirty_files"].as_array().unwrap() {
            let text = fs::read_to_string(file.as_str().unwrap()).unwrap();
            dirty.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        reports.push(report);
    }
    assert_eq!(reports[0]["status"], "done");
    assert_eq!(reports[2]["status"], "dirty-limit");
    workplace.put("strict.toml", job(10));
    let resumed = workplace.run(&["resume", "strict", "--output", "json"]);
    reports.push(serde_json::from_str(&resumed.exits(0).stdout).unwrap());
    let history = workplace.run(&["history", "--output", "json"]);
    let runs: Vec<Value> = serde_json::from_str(&history.exits(0).stdout).unwrap();
    compare("History", &runs, &[], &[]);
    let internal = ["write.", "draft.", "splits[].data", "splits[].ability", "files.records."];
    compare("Plan", &plans, &internal, &["splits[].rows", "replay_of", "draft.task_memory"]);
    // The fields of an error are documented under `Failures`.
    let failure = ["error.", "files.records."];
    compare(
        "Report",
        &reports,
        &failure,
        &["counts.reader.NAME", "counts.writer.NAME", "retries.NAME"],
    );
    let list = workplace.run(&["dirty", "list", "lenient", "--output", "json"]);
    let list = serde_json::from_str(&list.exits(0).stdout).unwrap();
    compare("List of dirty rows", &[list], &[], &[]);
    let rare = [
        "columns[]",
        "table",
        "source",
        "number",
        "unit",
        "cut",
        "redacted",
        "errors[].target_column",
    ];
    compare("Dirty rows", &dirty, &[], &rare);
}

#[test]
fn the_fields_of_progress_are_documented() {
    let workplace = Workplace::new();
    workplace.put(
        "job.toml",
        "[reader]\nplugin = \"generator\"\nrows = 3_000\nspecs = { id = \"int64\" }\n[channel]\nmax_rows_per_second = 1_000\n\
         [writer]\nplugin = \"file\"\npath = \"out.csv\"\n",
    );
    let ended = workplace.run(&["run", "job.toml", "--progress", "json", "--output", "json"]);
    let lines = ended.stderr.lines().filter(|line| line.starts_with('{'));
    let mut lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.retain(|line| line["event"] == "progress");
    assert!(!lines.is_empty(), "{ended:?}");
    let rare = ["stalled[].task", "stalled[].side", "stalled[].elapsed_ms"];
    compare("Progress", &lines, &[], &rare);
}

#[test]
fn the_fields_of_verifications_are_documented() {
    let workplace = workplace();
    workplace.report("lenient.toml");
    let sql = "UPDATE orders SET amount = 3 WHERE id = 1; DELETE FROM orders WHERE id = 4;";
    workplace.execute("shop.db", sql);
    let ended = workplace.run(&["verify", "lenient.toml", "--output", "json"]);
    let result: Value = serde_json::from_str(&ended.exits(8).stdout).unwrap();
    assert_eq!(result["status"], "different");
    compare("Verification", &[result], &[], &[]);
}

#[test]
fn the_fields_of_failures_are_documented() {
    let workplace = workplace();
    workplace.put("wrong.toml", job(0).replace("path", "pth"));
    workplace.put("missing.toml", job(0).replace("orders.csv", "no.csv"));
    workplace.put("unknown.toml", job(0).replace("\"file\"", "\"fil\""));
    let mut failures: Vec<Value> = Vec::new();
    for arguments in [["check", "wrong.toml"], ["check", "unknown.toml"], ["run", "missing.toml"]] {
        let ended = workplace.run(&[&arguments[..], &["--output", "json"]].concat());
        failures.push(serde_json::from_str(&ended.stdout).unwrap());
    }
    let (_, report) = workplace.report("strict.toml");
    failures.push(serde_json::json!({ "status": report["status"], "error": report["error"] }));
    compare("Failures", &failures, &[], &["error.causes[]"]);
}

#[test]
fn the_statuses_are_those_of_the_exit_codes() {
    let source = fs::read_to_string(root().join("host/src/error.rs")).unwrap();
    let body = source.split_once("enum Exit {").unwrap().1.split_once('}').unwrap().0;
    let codes = body.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "));
    let kebab = |name: &str| {
        let mut word = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.push(c.to_ascii_lowercase());
        }
        word
    };
    let rows: Vec<_> =
        codes.map(|(name, code)| format!("| `{}` | {code} |", kebab(name))).collect();
    assert!(rows.len() > 8, "{rows:?}");
    let shown: Vec<_> =
        section("Status").into_iter().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(shown, rows);
    let reference = fs::read_to_string(root().join("docs/reference.md")).unwrap();
    for row in &rows {
        let code = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        let listed = reference.contains(&format!("\n| {code} |"))
            || reference.contains(&format!("\n| {code}, "))
            || reference.contains(&format!(", {code} |"));
        assert!(listed, "exit code {code} is not in docs/reference.md");
    }
}
