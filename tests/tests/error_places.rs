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

/// The file, line and column that an error names.
fn place(error: &Value) -> String {
    match error["line"].as_u64() {
        Some(line) => format!("{}:{line}:{}", error["file"].as_str().unwrap(), error["column"]),
        None => error["place"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Every option of every plugin that takes a list: the item that is at fault is named, not the list.
#[test]
fn a_faulty_item_of_any_list_is_named_by_line_and_column() {
    let workplace = Workplace::new();
    let plugins = workplace.run(&["plugin", "list", "--output", "json"]);
    let plugins: Value = serde_json::from_str(&plugins.stdout).unwrap();
    let names = plugins.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    let mut tried = 0;
    for name in names {
        let info = workplace.run(&["plugin", "info", name, "--output", "json"]);
        let info: Value = serde_json::from_str(&info.stdout).unwrap();
        for role in ["reader", "writer"] {
            let options = info[role]["options"].as_array().cloned().unwrap_or_default();
            let takes_list = |it: &&Value| matches!(it["kind"].as_str(), Some("list" | "paths"));
            let lists = options.iter().filter(takes_list);
            let mut keys: Vec<_> = lists.map(|it| it["key"].as_str().unwrap()).collect();
            keys.extend(match role {
                "reader" => &["columns"][..],
                _ => &["key", "before", "after", "update_columns"],
            });
            if info[role].is_object() {
                assert_items_are_named(&workplace, name, role, &keys);
                tried += keys.len();
            }
        }
    }
    assert!(tried > 40, "only {tried} keys take lists");
}

#[track_caller]
fn assert_items_are_named(workplace: &Workplace, plugin: &str, role: &str, keys: &[&str]) {
    let list = |key: &&str| format!("{key} = [\n  \"a\",\n    \"b\", 3] # {key}\n");
    let lists: String = keys.iter().map(list).collect();
    let side = |own: &str| match own == role {
        true => format!("[{own}]\nplugin = \"{plugin}\"\n{lists}"),
        false => format!("[{own}]\nplugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\n"),
    };
    let job = side("reader") + &side("writer");
    workplace.put("job.toml", &job);
    let ended = workplace.run(&["check", "job.toml", "--output", "json"]);
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    let places: Vec<_> = errors(&result).iter().map(place).collect();
    for key in keys {
        let ends = |line: &str| line.ends_with(&format!(", 3] # {key}"));
        let line = job.lines().position(ends).unwrap() + 1;
        let expected = format!("job.toml:{line}:10");
        assert!(places.contains(&expected), "{plugin}, {role}.{key}: {places:?} {result}");
    }
}

/// Errors that only the plan or a plugin can find name the item as well.
#[test]
fn an_item_that_the_plan_refuses_is_named_by_line_and_column() {
    let sqlite = ("table = \"t\"", "table = \"t\"\nwrite_mode = \"upsert\"");
    let lines = "path = \"out/\"\nformat = \"csv\"";
    let files = ("plugin = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"", lines);
    let file = |more: &str| format!("plugin = \"file\"\n{}\n{more}", files.1);
    for (name, from, to, item) in [
        (
            "columns",
            "path = \"a.csv\"",
            "path = \"a.csv\"\ncolumns = [\"id\",\n  \"nam\"]".to_owned(),
            "\"nam\"",
        ),
        ("key", sqlite.0, format!("{}\nkey = [\n\"id\", \"nam\"]", sqlite.1), "\"nam\""),
        (
            "update_columns",
            sqlite.0,
            format!("{}\nupdate_columns = [\"name\",\n \"nam\"]", sqlite.1),
            "\"nam\"",
        ),
        (
            "before",
            "table = \"t\"",
            "table = \"t\"\nbefore = [\"DELETE FROM t\",\n  \"DELETE FROM nowhere\"]".to_owned(),
            "\"DELETE FROM nowhere\"",
        ),
        (
            "after",
            "table = \"t\"",
            "table = \"t\"\nafter = [\"DELETE FROM t\",\n \"SELEC\"]".to_owned(),
            "\"SELEC\"",
        ),
        ("partition_by", files.0, file("partition_by = [\"name\",\n  \"idd\"]"), "\"idd\""),
        (
            "part of a time",
            files.0,
            file("partition_by = [\"name\",\n  \"day(id)\"]"),
            "\"day(id)\"",
        ),
        (
            "path",
            "path = \"a.csv\"",
            "path = [\"a.csv\",\n  \"absent.csv\"]".to_owned(),
            "\"absent.csv\"",
        ),
    ] {
        let workplace = Workplace::new();
        workplace.put("a.csv", "id,name\n1,a\n2,b\n");
        workplace.execute("t.db", "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
        assert!(JOB.contains(from), "{name}");
        let job = JOB.replacen(from, &to, 1);
        workplace.put("job.toml", &job);
        let (row, line) = job.lines().enumerate().find(|(_, line)| line.contains(item)).unwrap();
        let expected = format!("job.toml:{}:{}", row + 1, line.find(item).unwrap() + 1);
        let ended = workplace.run(&["plan", "job.toml", "--output", "json"]);
        let result: Value = serde_json::from_str(&ended.stdout).unwrap();
        let places: Vec<_> = errors(&result).iter().map(place).collect();
        let is_named = places.iter().any(|place| place.split(": ").next() == Some(&*expected));
        assert!(is_named, "{name}: {expected} is not in {places:?}: {result}");
    }
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
