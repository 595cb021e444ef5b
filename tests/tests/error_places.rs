//! Where a mistake is: each error names a place, in the job file or in the data. What has none is
//! listed here, so that the count of errors without a place is known and does not grow.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::Workplace;

/// A mistake: a line of the job and what takes its place, or a file and its content.
struct Mistake {
    name: &'static str,
    line: (&'static str, &'static str),
    file: Option<(&'static str, &'static str)>,
}

const JOB: &str = "[reader]\nplugin = \"file\"\npath = \"a.csv\"\n\n\
     [writer]\nplugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\n\n[dirty]\nmax_rows = 0\n";

/// A mistake in the job: this line becomes that one.
const fn job(name: &'static str, from: &'static str, to: &'static str) -> Mistake {
    Mistake { name, line: (from, to), file: None }
}

/// A mistake in the data.
const fn data(name: &'static str, content: &'static str) -> Mistake {
    Mistake { name, line: ("", ""), file: Some(("a.csv", content)) }
}

const MISTAKES: &[Mistake] = &[
    job("toml", "[dirty]", "[dirty"),
    job("section", "[dirty]", "[dirtt]"),
    job("key of the host", "max_rows", "max_row"),
    job("value of the host", "max_rows = 0", "max_rows = -1"),
    job("class", "max_rows = 0", "max_rows_of = { parsing = 1 }"),
    job("plugin", "\"file\"", "\"fiel\""),
    job("option", "path = \"a.csv\"", "paht = \"a.csv\""),
    job("value of an option", "path = \"a.csv\"", "path = \"a.csv\"\nsample_rows = \"many\""),
    job("dialect", "path = \"a.csv\"", "path = \"a.csv\"\ndelimiter = \"ab\""),
    job("address", "path = \"a.csv\"", "path = \"s3://a/b\""),
    job("parameter", "\"a.csv\"", "\"${file}\""),
    job("connection", "path = \"a.csv\"", "path = \"a.csv\"\nconnection = \"none\""),
    job("file that is missing", "\"a.csv\"", "\"b.csv\""),
    job("column", "path = \"a.csv\"", "path = \"a.csv\"\ncolumns = [\"idd\"]"),
    job("type", "[writer]", "[reader.schema]\nid = \"int46\"\n[writer]"),
    job("column of a schema", "[writer]", "[reader.schema]\nidd = \"int64\"\n[writer]"),
    job("column of a map", "[dirty]", "[map]\nid = \"idd\"\n[dirty]"),
    job("target of a map", "[dirty]", "[map]\nidd = \"id\"\n[dirty]"),
    job("table", "table = \"t\"", "table = \"tt\""),
    job("write mode", "table = \"t\"", "table = \"t\"\nwrite_mode = \"upsertt\""),
    job("key", "table = \"t\"", "table = \"t\"\nwrite_mode = \"upsert\"\nkey = [\"name\"]"),
    job("statement", "table = \"t\"", "table = \"t\"\nbefore = \"DELETE FROM nowhere\""),
    job("guarantee", "[dirty]", "[guarantee]\nrequire = \"atomic-job\"\n[dirty]"),
    data("header with two names", "id,id\n1,2\n"),
    data("quote that stays open", "id,name\n1,\"a\n2,b\n"),
    data("delimiters", "id,name;x\n1,a;y\n2,b;z\n"),
    data("columns of the data", "id,nam\n1,a\n"),
    data("cells", "id,name\n1\n"),
    data("value", "id,name\nx,a\n"),
    data("constraint", "id,name\n1,a\n1,b\n"),
    data("NULL", "id,name\n1,\n"),
];

/// Errors that are about no single place.
const WITHOUT: &[&str] = &[];

/// All errors that a result names.
fn errors(result: &Value) -> Vec<Value> {
    let list = |key: &str| result[key].as_array().cloned().unwrap_or_default();
    let mut all = [list("problems"), list("errors")].concat();
    if all.is_empty() {
        all.push(result["error"].clone());
    }
    all
}

fn has_place(error: &Value) -> bool {
    error["line"].as_u64().is_some_and(|line| line > 0)
        || error["place"].as_str().is_some_and(|place| !place.is_empty())
        || error["message"].as_str().is_some_and(|message| message.contains(", line "))
}

#[test]
fn every_error_of_a_job_and_its_data_names_a_place() {
    let (mut without, mut fine, mut all) = (Vec::new(), Vec::new(), 0);
    for Mistake { name, line: (from, to), file } in MISTAKES {
        let workplace = Workplace::new();
        workplace.put("a.csv", "id,name\n1,a\n2,b\n");
        workplace.execute("t.db", "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
        assert!(JOB.contains(from), "{name}");
        workplace.put("job.toml", if from.is_empty() { JOB.into() } else { JOB.replace(from, to) });
        if let Some((file, content)) = file {
            workplace.put(file, content);
        }
        let ended = workplace.run(&["run", "job.toml", "--output", "json", "--progress", "none"]);
        if ended.exit == Some(0) {
            fine.push(*name);
            continue;
        }
        let result: Value = serde_json::from_str(&ended.stdout).unwrap();
        for error in errors(&result) {
            all += 1;
            if !has_place(&error) {
                without.push((*name, error["message"].to_string()));
            }
        }
    }
    let names: Vec<_> = without.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, WITHOUT, "{} of {all} errors name no place: {without:#?}", without.len());
    assert_eq!(fine, [""; 0], "these are no mistakes");
    assert!(all >= MISTAKES.len());
}
