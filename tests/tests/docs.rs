//! The documents: their files and commands run, and print what the documents show; jobs that are shown
//! alone are valid; the examples run.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use transload_tests::{
    Workplace,
    documents::{Stand, package, root, walk},
    servers::{Product, Server},
};
use transload_tests_buckets::Bucket;

/// Documents without commands of their own.
const OTHERS: &[&str] = &[
    "README.md",
    "abi.md",
    "adbc.md",
    "dirty-rows.md",
    "errors.md",
    "flows.md",
    "glossary.md",
    "importing.md",
    "json.md",
    "plugin-authors.md",
    "plugins.md",
    "reference.md",
    "running-jobs.md",
];

/// Documents whose commands need no server.
const ALONE: &[&str] = &[
    "../README.md",
    "copying.md",
    "repairing-dirty-rows.md",
    "many-tables.md",
    "troubleshooting.md",
    "verifying.md",
];

/// Documents whose commands use the servers, each from the beginning.
const WITH_SERVERS: &[&str] = &["tutorial.md"];

/// Documents with jobs that are only checked.
const CHECKED: &[&str] = &[
    "../README.md",
    "job-file.md",
    "databases.md",
    "files.md",
    "increments.md",
    "repairing-dirty-rows.md",
];

#[test]
fn documents_without_servers_show_what_the_program_prints() {
    for document in ALONE {
        walk(&format!("docs/{document}"), &Stand::default());
    }
}

#[test]
fn the_tutorial_shows_what_the_program_prints() {
    with_servers("tutorial.md");
}

#[test]
fn every_document_is_tested() {
    let known = [OTHERS, ALONE, WITH_SERVERS, CHECKED].concat();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = name.ends_with(".md") && !known.contains(&name.as_str());
        assert!(!text, "docs/{name} is in no list of this file");
    }
}

/// Scripts that are shown and not run are valid.
#[test]
fn scripts_in_the_documents_are_valid() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default(); // `decisions` is a folder
        for block in text.split("\n```sh").skip(1) {
            let script = block.split_once('\n').unwrap().1.split("\n```").next().unwrap();
            let mut command = std::process::Command::new("sh");
            let output = command.args(["-n", "-c", script]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}: {said}{script}", path.display());
            count += 1;
        }
    }
    assert!(count > 8, "only {count} scripts");
}

/// Code for schedulers that is shown and not run: systemd and Python accept it, crontab lines have five
/// fields and a command.
#[test]
fn units_and_code_for_schedulers_are_valid() {
    let text = fs::read_to_string(root().join("docs/running-jobs.md")).unwrap();
    let blocks = text.split("\n```").skip(1).step_by(2);
    let blocks = blocks.map(|block| block.split_once('\n').unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut units, mut code, mut lines) = (0, 0, 0);
    for (info, block) in blocks {
        match info.split_once(' ').unwrap_or((info, "")) {
            ("ini", name) => {
                // The program must exist; nothing is started.
                let program = std::env::current_exe().unwrap().display().to_string();
                let unit = block.replace("/opt/transload/transload", &program);
                fs::write(folder.path().join(name), unit + "\n").unwrap();
                units += 1;
            }
            ("python", _) => {
                let file = folder.path().join("dag.py");
                fs::write(&file, block).unwrap();
                let file = file.to_str().unwrap();
                assert_accepted("python3", &["-m", "py_compile", file]);
                code += 1;
            }
            ("crontab", _) => {
                let jobs = block.lines().filter(|line| line.contains("transload"));
                for line in jobs.filter(|line| !line.starts_with('#')) {
                    let fields: Vec<_> = line.split_whitespace().collect();
                    let is_time =
                        |field: &&str| field.chars().all(|c| "0123456789*,-/".contains(c));
                    assert!(fields.iter().take(5).all(is_time) && fields.len() > 5, "{line}");
                    // cron takes a bare % for a line break
                    assert!(!line.replace("\\%", "").contains('%'), "{line}");
                    lines += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!((units, code, lines), (2, 1, 1), "blocks of running-jobs.md");
    let has_systemd = std::process::Command::new("systemd-analyze").arg("--version").output();
    if has_systemd.is_ok_and(|output| output.status.success()) {
        for name in ["transload@.service", "transload@.timer"] {
            // A template is checked as one of its instances.
            let unit = folder.path().join(name.replace('@', "@orders"));
            fs::rename(folder.path().join(name), &unit).unwrap();
        }
        let unit = |name: &str| folder.path().join(name).display().to_string();
        let (service, timer) = (unit("transload@orders.service"), unit("transload@orders.timer"));
        assert_accepted("systemd-analyze", &["verify", "--man=no", &service, &timer]);
    }
}

/// The program succeeds and says nothing.
#[track_caller]
fn assert_accepted(program: &str, arguments: &[&str]) {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{program} {arguments:?}: {said}");
}

/// The package has what its user installs besides the program.
#[test]
fn the_package_has_manual_pages_and_completions() {
    for file in [
        "plugins/libtransload_plugin_postgres.so",
        "plugin-manifest.toml",
        "share/man/man1/transload.1",
        "share/man/man1/transload-run.1",
        "share/bash-completion/completions/transload",
        "share/zsh/site-functions/_transload",
        "share/fish/vendor_completions.d/transload.fish",
        "share/doc/transload/docs/tutorial.md",
        "LICENSE-MIT",
        "THIRD-PARTY-LICENSES.txt",
    ] {
        let size = fs::metadata(package().join(file)).map_or(0, |found| found.len());
        assert!(size > 500, "{file} has {size} bytes");
    }
}

/// The rows of the glossary's first table against the same words in `host/src/lib.rs`.
#[test]
fn the_glossary_says_what_the_tour_of_the_program_says() {
    let tour = fs::read_to_string(root().join("host/src/lib.rs")).unwrap();
    let tour = tour.replace("\n//!   ", " ");
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    let (_, table) = glossary.split_once("<!-- terms").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let mut compared = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let (words, meaning) = row.trim_matches(['|', ' ']).split_once(" | ").unwrap();
        let words: Vec<_> = words.split(", ").map(|word| format!("**{word}**")).collect();
        let line = format!("//! - {}: {meaning}\n", words.join(", "));
        assert!(
            tour.contains(&line),
            "docs/glossary.md and host/src/lib.rs differ; change both: {line}"
        );
        compared += 1;
    }
    assert!(compared > 15, "only {compared} words");
}

/// Links between the documents lead to a document, and to a heading in it.
#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut files: Vec<_> =
        fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(root().join("README.md"));
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", file.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let titles = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = titles.map(|line| anchor(line.trim_start_matches(['#', ' '])));
                assert!(anchors.any(|anchor| anchor == heading), "{}: {link}", file.display());
            }
        }
    }
}

/// A heading as links name it.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Walks through a document with the databases `shop`, `shop_prod` and `old_shop` and the bucket
/// `lake`, all empty and of the user `ana`.
fn with_servers(document: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let postgres = Server::of(Product::Postgres);
    postgres.administer(
        "DROP DATABASE IF EXISTS shop WITH (FORCE);
         DROP DATABASE IF EXISTS shop_prod WITH (FORCE);
         DROP ROLE IF EXISTS ana;
         CREATE ROLE ana LOGIN PASSWORD 'secret';
         CREATE DATABASE shop OWNER ana;
         CREATE DATABASE shop_prod OWNER ana;",
    );
    let mysql = Server::of(Product::Mysql);
    mysql.administer(
        "DROP DATABASE IF EXISTS old_shop;
         CREATE DATABASE old_shop CHARACTER SET utf8mb4;
         DROP USER IF EXISTS ana@'%';
         CREATE USER ana@'%' IDENTIFIED BY 'secret';
         GRANT ALL ON old_shop.* TO ana@'%';",
    );
    let bucket = Bucket::s3();
    let text = |from: &str, to: String| (from.to_owned(), to);
    let stand = Stand {
        texts: vec![
            text("port = 5432", format!("port = {}", postgres.port)),
            text(":5432", format!(":{}", postgres.port)),
            text("port = 3306", format!("port = {}", mysql.port)),
            text(":3306", format!(":{}", mysql.port)),
            text("http://127.0.0.1:9000", bucket.endpoint.clone()),
            text("bucket `lake`", "bucket `transload`".to_owned()),
            text("s3://lake", bucket.url.trim_end_matches('/').to_owned()),
            text("access_key_id = \"ana\"", "access_key_id = \"transload\"".to_owned()),
            text("lake-secret", "transload-secret".to_owned()),
        ],
        variables: vec![
            text("PGPORT", postgres.port.to_string()),
            text("MYSQL_TCP_PORT", mysql.port.to_string()),
        ],
    };
    walk(&format!("docs/{document}"), &stand);
}

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
    let mut checked = 0;
    for document in CHECKED {
        let text = fs::read_to_string(root().join("docs").join(document)).unwrap();
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
    for job in ["examples/currencies.toml", "examples/export.toml"] {
        let job = root().join(job);
        Workplace::new().run(&["check", job.to_str().unwrap()]).exits(0);
    }
}

#[test]
fn the_examples_run_again_and_again() {
    let workplace = Workplace::new();
    for file in ["currencies.csv", "currencies.toml", "export.toml"] {
        workplace.put(file, fs::read(root().join("examples").join(file)).unwrap());
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
