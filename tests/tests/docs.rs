//! Checks every job in the documents with the real program.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, path::Path};

use transload_tests::Workplace;

/// The blocks with exactly this fence: `toml` for whole jobs, `toml connections` for a connection
/// file next to them.
fn blocks(document: &str, fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in document.lines() {
        match (&mut block, line.trim()) {
            (None, start) if start == format!("```{fence}") => block = Some(String::new()),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(text), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn jobs_in_the_documents_are_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut checked = 0;
    for document in ["README.md", "docs/job-file.md", "docs/databases.md", "docs/files.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for job in blocks(&text, "toml") {
            let workplace = Workplace::new();
            workplace.put("job.toml", &job);
            workplace.put("connections.toml", blocks(&text, "toml connections").concat());
            workplace.run(&["check", "job.toml", "--env", "prod"]).exits(0);
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} jobs found");
}

#[test]
fn the_examples_are_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for job in ["examples/currencies.toml", "examples/export.toml"] {
        let job = root.join(job);
        Workplace::new().run(&["check", job.to_str().unwrap()]).exits(0);
    }
}

#[test]
fn the_examples_run_again_and_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let workplace = Workplace::new();
    for file in ["currencies.csv", "currencies.toml", "export.toml"] {
        workplace.put(file, fs::read(root.join("examples").join(file)).unwrap());
    }
    fs::create_dir(workplace.path().join("out")).unwrap();
    let all = "SELECT * FROM currencies ORDER BY territory, position";
    let mut tables = Vec::new();
    for (inserted, updated) in [(507, 0), (0, 507)] {
        let (ended, report) = workplace.report("currencies.toml");
        ended.exits(0);
        let rows = &report["rows"];
        assert_eq!((&rows["inserted"], &rows["updated"]), (&inserted.into(), &updated.into()));
        tables.push(workplace.sqlite("out/currencies.db", all));
    }
    assert_eq!(tables[0].len(), 507);
    assert_eq!(tables[0], tables[1]);
    let mut exports = Vec::new();
    for _ in 0..2 {
        workplace.report("export.toml").0.exits(0);
        exports.push(workplace.read("out/currencies.jsonl"));
    }
    assert_eq!(exports[0].lines().count(), 507);
    assert_eq!(exports[0], exports[1]);
}
