//! The JSON Schemas that `schema` prints against the program's own checks: what `check` accepts fits the
//! schema, and what it refuses for a key, a type or a word does not. The judge of schemas is the
//! Python package jsonschema.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fs, process::Command};

use transload_tests::{
    Workplace,
    documents::{package, root},
    sample_folder,
};

/// Reads TOML files, of which the names are given, and prints `ok` or the first error of each.
const JUDGE: &str = r#"
import json, sys, tomllib
from jsonschema import Draft7Validator

schema = json.load(open(sys.argv[1]))
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)
for name in sys.argv[2:]:
    found = next(validator.iter_errors(tomllib.load(open(name, "rb"))), None)
    print("ok" if found is None else found.message.replace("\n", " ")[:300])
"#;

/// What the schema says of each file.
fn judged(workplace: &Workplace, schema: &str, files: &[String]) -> Vec<String> {
    let python = std::env::var("TRANSLOAD_TEST_PYTHON").unwrap_or_else(|_| {
        panic!("TRANSLOAD_TEST_PYTHON is not set: run `tests/servers/python start DIR`")
    });
    let mut command = Command::new(python);
    command.current_dir(workplace.path()).args(["-c", JUDGE, schema]).args(files);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The exit code of `check`. The packed program starts faster than the one that was built for tests.
fn check(workplace: &Workplace, file: &str) -> Option<i32> {
    let mut command = Command::new(package().join("transload"));
    command.current_dir(workplace.path()).args(["check", file]).env_remove("TRANSLOAD_PLUGIN_PATH");
    command.env("XDG_CONFIG_HOME", workplace.path()).env("XDG_CACHE_HOME", workplace.path());
    command.output().unwrap().status.code()
}

/// A folder with both schemas.
fn with_schemas(arguments: &[&str]) -> Workplace {
    let workplace = Workplace::new();
    for of in ["job", "connections"] {
        let ended = workplace.run(&[&["schema", of], arguments].concat());
        workplace.put(&format!("{of}.schema.json"), &ended.exits(0).stdout);
    }
    workplace
}

/// Texts of jobs, each with a name for messages: the cases', the examples' and the documents'.
fn jobs() -> Vec<(String, String)> {
    let mut jobs = Vec::new();
    for folder in [root().join("tests/cases"), root().join("examples")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let path = if path.is_dir() { path.join("job.toml") } else { path };
            if path.extension().is_some_and(|extension| extension == "toml") && path.exists() {
                jobs.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    jobs
}

/// The jobs of the documents, which `docs.rs` checks with their connections.
fn documented() -> Vec<(String, String)> {
    let mut jobs = Vec::new();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default(); // `decisions` is a folder
        for block in text.split("\n```toml").skip(1) {
            let (fence, rest) = block.split_once('\n').unwrap();
            let job = rest.split("\n```").next().unwrap();
            if job.contains("[reader]") && job.contains("[writer]") && fence != " fragment" {
                jobs.push((format!("{}: {job}", path.display()), job.to_owned()));
            }
        }
    }
    assert!(jobs.len() > 5, "only {} jobs", jobs.len());
    jobs
}

const JOB: &str = "[reader]\nplugin = \"file\"\npath = \"a.csv\"\n\
                   [writer]\nplugin = \"sqlite\"\npath = \"a.db\"\ntable = \"t\"\n";

/// `JOB` with something added to the sections.
fn with(top: &str, reader: &str, writer: &str, rest: &str) -> String {
    let job = JOB.replace("[writer]", &format!("{reader}\n[writer]"));
    format!("{top}\n{job}{writer}\n{rest}")
}

#[test]
fn jobs_that_are_valid_fit_the_schema() {
    let workplace = with_schemas(&[]);
    let mut all = jobs();
    for (top, reader, writer, rest) in [
        ("#:schema ./job.schema.json\nname = \"täglich_1\"", "", "", ""),
        ("name = \"orders-${bizdate}\"", "", "", ""),
        (
            "",
            "columns = [\"a\"]\nschema = { a = \"Decimal(12, 2)\", b = \"LIST< int64 >\" }",
            "",
            "",
        ),
        (
            "",
            "schema = { a = \"text(5)\", b = \"timestamptz(3)\", c = \"list<list<date>>\" }",
            "",
            "",
        ),
        ("", "", "write_mode = \"INSERT  INTO\"", ""),
        ("", "", "write_mode = \"upsert\"\nkey = \"id\"\nupdate_columns = [\"a\", \"b\"]", ""),
        ("", "", "load = \"auto\"\nbefore = \"SELECT 1\"\ncreate_table = true", ""),
        ("", "", "", "[map]\na = \"b\""),
        ("", "", "", "[channel]\nparallelism = 1024\nbuffer = \"1.5 MiB\"\n"),
        ("", "", "", "[channel]\nmax_bytes_per_second = 20_000_000\nmax_rows_per_second = 1"),
        ("", "", "", "[dirty]\nmax_rows = \"unlimited\"\nmax_ratio = 1"),
        ("", "", "", "[guarantee]\nrequire = \"at-least-once\""),
        (
            "",
            "",
            "",
            "[guarantee]\nrequire = \"effectively-once\"\ncreate_tables = true\nschema = \"m\"\n\
             prefix = \"t_\"",
        ),
        ("", "", "", "[checkpoint]\nrows = 1\nbytes = \"4 MiB\"\nseconds = 3600"),
        ("params = { day = \"x\", n = 5 }", "", "after = \"SELECT '${day}', ${n}\"", ""),
    ] {
        let job = with(top, reader, writer, rest);
        all.push((job.clone(), job));
    }
    let job = JOB.replace("\"file\"", "\"${source}\"");
    all.push((
        "a plugin by parameter".to_owned(),
        format!("params = {{ source = \"file\" }}\n{job}"),
    ));
    let mut files = Vec::new();
    let mut names = Vec::new();
    for (number, (name, job)) in all.into_iter().enumerate() {
        let file = format!("{number}.toml");
        workplace.put(&file, job);
        if check(&workplace, &file) == Some(0) {
            files.push(file);
            names.push(name);
        } else {
            assert!(name.contains("tests/cases"), "refused: {name}");
        }
    }
    for (number, (name, job)) in documented().into_iter().enumerate() {
        let file = format!("documented-{number}.toml");
        workplace.put(&file, job);
        files.push(file);
        names.push(name);
    }
    assert!(files.len() > 30, "{names:#?}");
    for (name, said) in names.iter().zip(judged(&workplace, "job.schema.json", &files)) {
        assert_eq!(said, "ok", "{name}");
    }
}

#[test]
fn jobs_that_are_refused_do_not_fit_the_schema() {
    let workplace = with_schemas(&[]);
    let mut files = Vec::new();
    let refused = [
        ("colour = 1", "", "", ""),
        ("name = \"a/b\"", "", "", ""),
        ("name = \".a\"", "", "", ""),
        ("name = 5", "", "", ""),
        ("params = { day = 1.5 }", "", "", ""),
        ("", "pth = \"b.csv\"", "", ""),
        ("", "table = \"t\"", "", ""),
        ("", "delimiter = 5", "", ""),
        ("", "header = \"yes\"", "", ""),
        ("", "format = \"cvs\"", "", ""),
        ("", "columns = []", "", ""),
        ("", "columns = [\"a\", \"a\"]", "", ""),
        ("", "columns = [\"\"]", "", ""),
        ("", "schema = { a = \"integer\" }", "", ""),
        ("", "schema = { a = \"text(x)\" }", "", ""),
        ("", "max_record = \"64 MiX\"", "", ""),
        ("", "sample_rows = -1", "", ""),
        ("", "", "write_mode = \"merge\"", ""),
        ("", "", "load = \"copy\"", ""),
        ("", "", "create_table = \"yes\"", ""),
        ("", "", "before = 5", ""),
        ("", "", "busy_timeout = 5", ""),
        ("", "", "", "[chanel]\nparallelism = 1"),
        ("", "", "", "[channel]\nparallelism = 0"),
        ("", "", "", "[channel]\nparallelism = 1025"),
        ("", "", "", "[channel]\nbuffer = 1024"),
        ("", "", "", "[channel]\nbuffer = \"64 mib\""),
        ("", "", "", "[dirty]\nmax_rows = -1"),
        ("", "", "", "[dirty]\nmax_rows = \"all\""),
        ("", "", "", "[dirty]\nmax_ratio = 1.5"),
        ("", "", "", "[guarantee]\nrequire = \"exactly-once\""),
        ("", "", "", "[guarantee]\nrequire = \"atomic-job\"\nprefix = \"1t\""),
        ("", "", "", "[checkpoint]\nrows = 0"),
        ("", "", "", "[checkpoint]\nbytes = 0"),
        ("", "", "", "[map]\na = 5"),
    ];
    let mut texts: Vec<_> =
        refused.iter().map(|(top, reader, writer, rest)| with(top, reader, writer, rest)).collect();
    for (from, to) in [
        ("plugin = \"file\"", "plugin = \"fil\""),
        ("plugin = \"file\"", ""),
        ("path = \"a.csv\"", ""),
        ("path = \"a.csv\"", "path = \"\""),
        ("path = \"a.csv\"", "path = \"~/a.csv\""),
        ("table = \"t\"", ""),
    ] {
        texts.push(JOB.replace(from, to));
    }
    texts.push("[reader]\nplugin = \"file\"\npath = \"a\"\n".to_owned());
    // A writer of files has no table, no statements and only some modes.
    let to_file = JOB.replace(
        "plugin = \"sqlite\"\npath = \"a.db\"\ntable = \"t\"",
        "plugin = \"file\"\npath = \"o/\"",
    );
    for line in ["write_mode = \"upsert\"", "create_table = true", "after = \"SELECT 1\""] {
        texts.push(format!("{to_file}{line}\n"));
    }
    for (number, text) in texts.iter().enumerate() {
        let file = format!("{number}.toml");
        workplace.put(&file, text);
        assert_eq!(check(&workplace, &file), Some(2), "accepted: {text}");
        files.push(file);
    }
    for (text, said) in texts.iter().zip(judged(&workplace, "job.schema.json", &files)) {
        assert_ne!(said, "ok", "{text}");
    }
}

#[test]
fn connection_files_fit_the_schema_as_the_program_reads_them() {
    let workplace = with_schemas(&[]);
    let login = "host = \"h\"\ndatabase = \"d\"\nuser = \"u\"\npassword = { env = \"P\" }\n";
    let one = format!("[shop]\nplugin = \"postgres\"\n{login}");
    let accepted = [
        one.clone(),
        format!("[shop]\nplugin = \"postgres\"\n[shop.dev]\n{login}[shop.prod]\n{login}"),
        format!(
            "[shop.dev]\nplugin = \"postgres\"\n{login}[shop.prod]\nplugin = \"mysql\"\n{login}"
        ),
        one.replace("{ env = \"P\" }", "{ command = [\"pass\", \"shop\"] }"),
        one.replace("{ env = \"P\" }", "{ file = \"p\" }"),
    ];
    let refused = [
        format!("{one}hots = \"x\"\n"),
        format!("{one}port = \"5432\"\n"),
        format!("{one}table = \"t\"\n"),
        format!("{one}connect_timeout = 5\n"),
        one.replace("{ env = \"P\" }", "{ env = \"P\", file = \"p\" }"),
        one.replace("{ env = \"P\" }", "{ env = \"a b\" }"),
        one.replace("postgres", "postgre"),
        format!("[shop]\nplugin = \"postgres\"\n[shop.dev]\n{login}color = 1\n"),
        "shop = 5\n".to_owned(),
    ];
    let mut files = Vec::new();
    let expected = accepted.iter().map(|text| (text, true));
    let expected: Vec<_> = expected.chain(refused.iter().map(|text| (text, false))).collect();
    // `check` opens no store, so a job through the connection shows what the program says of it.
    workplace.put(
        "job.toml",
        "[reader]\nconnection = \"shop\"\ntable = \"t\"\n[writer]\nplugin = \"file\"\npath = \"o/\"\n",
    );
    for (number, (text, valid)) in expected.iter().enumerate() {
        let file = format!("connections-{number}.toml");
        workplace.put(&file, text);
        files.push(file);
        workplace.put("connections.toml", text);
        let dev = text.contains("[shop.dev]");
        let arguments: &[&str] = if dev { &["--env", "dev"] } else { &[] };
        let ended = workplace.run(&[&["check", "job.toml"], arguments].concat());
        assert_eq!(ended.exit == Some(0), *valid, "{text}\n{}", ended.stderr);
    }
    let said = judged(&workplace, "connections.schema.json", &files);
    for ((text, valid), said) in expected.iter().zip(said) {
        assert_eq!(said == "ok", *valid, "{text}: {said}");
    }
}

#[test]
fn the_options_of_a_plugin_of_another_vendor_are_in_the_schema() {
    let folder = sample_folder();
    let workplace =
        with_schemas(&["--allow-unsigned-plugins", "--plugins", folder.path().to_str().unwrap()]);
    let schema: serde_json::Value =
        serde_json::from_str(&workplace.read("job.schema.json")).unwrap();
    let reader = &schema["properties"]["reader"]["properties"];
    let names = reader["plugin"]["anyOf"][0]["enum"].as_array().unwrap();
    assert!(names.contains(&"sample".into()), "{names:?}");
    assert!(schema["definitions"]["reader-sample"].is_object(), "{schema:#}");
}
