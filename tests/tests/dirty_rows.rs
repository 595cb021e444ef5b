//! Dirty rows are kept whole: each can be found in its source, and sent again.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::{Value, json};
use transload_tests::Workplace;

/// The run's dirty rows, by line or number.
fn dirty_rows(workplace: &Workplace, report: &Value) -> Vec<Value> {
    let mut rows = workplace.dirty_rows(report);
    rows.sort_by_key(|row| row["line"].as_u64().or_else(|| row["number"].as_u64()));
    rows
}

/// Asserts that the row is this one, once the paths of this machine are taken out.
#[track_caller]
fn assert_row(workplace: &Workplace, row: &Value, expected: Value) {
    let folder = workplace.path().to_str().unwrap();
    let row = row.to_string().replace(&format!("{folder}/"), "");
    let row: Value = serde_json::from_str(&row).unwrap();
    assert_eq!(row, expected, "{row:#}");
}

const TARGET: &str = "[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
                      [channel]\nparallelism = 1\n[dirty]\nmax_rows = 100\n";

/// A job from this reader into table `t`, and its dirty rows.
fn run(workplace: &Workplace, reader: &str) -> Vec<Value> {
    let (ended, report) = workplace.job(&format!("[reader]\n{reader}\n{TARGET}"));
    ended.exits(0);
    dirty_rows(workplace, &report)
}

#[test]
fn rows_of_csv_are_kept_as_they_are_in_the_file() {
    let workplace = Workplace::new();
    workplace.put(
        "in.csv",
        "id,name,day\n1,a,2026-01-01\nx,\"b, c\",2026-13-01\n3,c\n1,d,2026-01-04\n5,\"e\nf\",z\n6,,2026-01-06\n",
    );
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, day DATE)");
    let rows = run(&workplace, "plugin = \"file\"\npath = \"in.csv\"");
    assert_eq!(rows.len(), 4, "{rows:#?}");
    assert_row(
        &workplace,
        &rows[0],
        json!({
            "version": 1, "task": 0, "split": "in.csv", "stage": "read",
            "place": "in.csv, line 3", "file": "in.csv", "line": 3, "key": {"id": "x"},
            "row": {"id": "x", "name": "b, c", "day": "2026-13-01"},
            "text": "x,\"b, c\",2026-13-01",
            "errors": [
                {"column": "id", "code": "parse", "expected": "int64", "found": "x",
                 "reason": "expected int64, found `x`"},
                {"column": "day", "code": "range", "expected": "date", "found": "2026-13-01",
                 "reason": "expected date, found `2026-13-01`"},
            ],
        }),
    );
    assert_row(
        &workplace,
        &rows[1],
        json!({
            "version": 1, "task": 0, "split": "in.csv", "stage": "read",
            "place": "in.csv, line 4", "file": "in.csv", "line": 4, "text": "3,c",
            "errors": [{"column": null, "code": "ragged", "found": "3,c",
                        "reason": "expected 3 cells, found 2"}],
        }),
    );
    assert_row(
        &workplace,
        &rows[2],
        json!({
            "version": 1, "task": 0, "split": "in.csv", "stage": "write",
            "place": "in.csv, line 5", "file": "in.csv", "line": 5, "key": {"id": 1},
            "row": {"id": 1, "name": "d", "day": "2026-01-04"},
            "errors": [{"column": "id", "code": "unique", "found": "1",
                        "reason": "UNIQUE constraint failed: t.id"}],
        }),
    );
    // The record of line 6 ends on line 7.
    assert_eq!(rows[3]["line"], 6);
    assert_eq!(rows[3]["text"], "5,\"e\nf\",z");
}

/// What was kept of a CSV file is a CSV file again, and only the mended cell has to be another.
#[test]
fn kept_rows_can_be_sent_again() {
    let workplace = Workplace::new();
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, name TEXT)";
    workplace.execute("target.db", table);
    let lines = (1..=2_000).map(|id| match id % 400 {
        7 => format!("{id},x{id},\"a \"\"{id}\"\"\"\n"),
        _ => format!("{id},{id},\"a \"\"{id}\"\"\"\n"),
    });
    workplace.put("in.csv", format!("id,n,name\n{}", lines.collect::<String>()));
    let rows = run(&workplace, "plugin = \"file\"\npath = \"in.csv\"");
    assert_eq!(rows.len(), 5);
    let texts = rows.iter().map(|row| row["text"].as_str().unwrap());
    let fixed: String = texts.map(|text| text.replace(",x", ",") + "\n").collect();
    workplace.put("fixed.csv", format!("id,n,name\n{fixed}"));
    assert_eq!(run(&workplace, "plugin = \"file\"\npath = \"fixed.csv\"").len(), 0);
    let same = "SELECT count(*), sum(id = n), sum(name = 'a \"' || id || '\"') FROM t";
    assert_eq!(workplace.sqlite("target.db", same), ["2000|2000|2000"]);

    // And so are the values of rows that the target refused, as JSON lines.
    workplace
        .execute("target.db", &format!("DROP TABLE t; {table}; INSERT INTO t VALUES (9, 9, '')"));
    let rows = run(&workplace, "plugin = \"file\"\npath = \"fixed.csv\"");
    assert_eq!(rows.len(), 0);
    let rows = run(&workplace, "plugin = \"file\"\npath = \"fixed.csv\"");
    let lines: String = rows.iter().map(|row| row["row"].to_string() + "\n").collect();
    workplace.execute("target.db", "DELETE FROM t");
    workplace.put("again.jsonl", lines);
    assert_eq!(run(&workplace, "plugin = \"file\"\npath = \"again.jsonl\"").len(), 0);
    assert_eq!(workplace.sqlite("target.db", same), ["5|5|5"]);
}

#[test]
fn rows_of_json_are_kept_as_they_are_in_the_file() {
    let workplace = Workplace::new();
    workplace.put(
        "in.jsonl",
        "{\"id\":1,\"n\":1}\n{\"id\":\"x\", \"n\":1.5 }\n{\"id\":3,\n{\"id\":4,\"id\":5}\n",
    );
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)");
    let reader =
        "plugin = \"file\"\npath = \"in.jsonl\"\n[reader.schema]\nid = \"int64\"\nn = \"int64\"";
    let rows = run(&workplace, reader);
    assert_eq!(rows.len(), 3, "{rows:#?}");
    let codes = |row: &Value| {
        let errors = row["errors"].as_array().unwrap().iter();
        errors.map(|error| error["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&rows[0]), ["parse", "parse"]);
    assert_eq!(rows[0]["row"], json!({"id": "x", "n": 1.5}));
    assert_eq!(rows[0]["text"], "{\"id\":\"x\", \"n\":1.5 }");
    assert_eq!(rows[0]["line"], 2);
    assert_eq!((&rows[1]["row"], &rows[1]["text"]), (&Value::Null, &json!("{\"id\":3,")));
    assert_eq!((&rows[2]["row"], codes(&rows[2])), (&Value::Null, vec!["duplicate".to_owned()]));
}

#[test]
fn rows_that_the_conversion_refuses_are_whole() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id,n,name\n1,1,a\n2,x,b\n3,99999999999999999999,\n");
    workplace
        .job(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n\
         [reader.schema]\nid = \"int32\"\nn = \"text\"\nname = \"text\"\n\
         [writer]\nplugin = \"file\"\npath = \"in.parquet\"\n",
        )
        .0
        .exits(0);
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, number INTEGER, name TEXT NOT NULL)";
    workplace.execute("target.db", table);
    let (ended, report) = workplace.job(&format!(
        "[reader]\nplugin = \"file\"\npath = \"in.parquet\"\n{}[map]\nnumber = \"n\"\n",
        TARGET
    ));
    ended.exits(0);
    let rows = dirty_rows(&workplace, &report);
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert_row(
        &workplace,
        &rows[0],
        json!({
            "version": 1, "task": 0, "split": "in.parquet", "stage": "convert",
            "place": "in.parquet, row 2", "file": "in.parquet", "number": 2, "unit": "row",
            "key": {"id": 2}, "row": {"id": 2, "n": "x", "name": "b"},
            "errors": [{"column": "n", "target_column": "number", "code": "parse",
                        "expected": "int64", "found": "x",
                        "reason": "expected int64, found `x`"}],
        }),
    );
    let errors = rows[1]["errors"].as_array().unwrap();
    let errors: Vec<_> = errors.iter().map(|error| (&error["column"], &error["code"])).collect();
    assert_eq!(errors, [(&json!("n"), &json!("range")), (&json!("name"), &json!("null"))]);
}

#[test]
fn rows_of_a_table_have_its_key() {
    let workplace = Workplace::new();
    workplace.execute(
        "source.db",
        "CREATE TABLE orders (order_id INTEGER PRIMARY KEY, day DATE, data BLOB, note TEXT);
         INSERT INTO orders VALUES (1, '2026-01-01', NULL, 'a'),
             (863, 'never', x'00ff', CAST(x'ff' AS TEXT)), (900, '2026-01-02', NULL, 'c')",
    );
    workplace.execute(
        "target.db",
        "CREATE TABLE t (order_id INTEGER PRIMARY KEY, day DATE, data BLOB, note TEXT CHECK (note <> 'c'))",
    );
    let rows = run(&workplace, "plugin = \"sqlite\"\npath = \"source.db\"\ntable = \"orders\"");
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let of = |stage: &str| rows.iter().find(|row| row["stage"] == stage).unwrap();
    let (read, written) = (of("read"), of("write"));
    let errors = read["errors"].as_array().unwrap();
    let columns: Vec<_> = errors.iter().map(|error| &error["column"]).collect();
    assert_eq!(columns, ["day", "note"]);
    for (row, order) in [(read, 863), (written, 900)] {
        assert_eq!(
            (&row["table"], &row["key"]),
            (&json!("main.orders"), &json!({ "order_id": order }))
        );
    }
    assert_eq!(
        read["row"],
        json!({"order_id": 863, "day": "never", "data": "00ff", "note": {"$bytes": "ff"}})
    );
    assert_eq!(
        written["row"],
        json!({"order_id": 900, "day": "2026-01-02", "data": null, "note": "c"})
    );
}

#[test]
fn generated_rows_are_whole() {
    let workplace = Workplace::new();
    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)");
    let rows = run(
        &workplace,
        "plugin = \"generator\"\nrows = 10\ndirty_every = 4\nspecs = { id = \"int64 sequence\", name = \"text words 1..3\" }",
    );
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!((&row["source"], &row["unit"]), (&json!("generator"), &json!("row")));
        assert!(row["row"]["id"].is_number() && row["row"]["name"].is_string(), "{row}");
    }
}

/// The message tells what all refused rows have in common, and the line that it gives works.
#[test]
fn the_cause_of_many_dirty_rows_is_named() {
    let workplace = Workplace::new();
    let lines: String = (1..=50).map(|id| format!("{id},c{id}\n")).collect();
    workplace.put("in.csv", format!("id,customer\n{lines}"));
    let job = |schema: &str| {
        workplace.job(&format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n[reader.schema]\n{schema}\n\
             [writer]\nplugin = \"file\"\npath = \"out.csv\"\nwrite_mode = \"overwrite\"\n"
        ))
    };
    let (ended, report) = job("customer = \"int64\"");
    ended
        .exits(3)
        .says("the first one: in.csv, line 2: column `customer`: expected int64, found `c1`");
    ended.says(
        "hint: every value of `customer` so far is text: write customer = \"text\" in [reader.schema]\n",
    );
    assert_eq!(dirty_rows(&workplace, &report).len(), 50);
    job("customer = \"text\"").0.exits(0);

    workplace.execute("target.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, customer INTEGER)");
    let reader = "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n";
    let writer = "[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n";
    let (ended, _) = workplace.job(&format!("{reader}{writer}"));
    ended.exits(3).says("every value of `customer` so far is text, `customer` in t is int64");

    workplace.execute(
        "target.db",
        "DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, customer TEXT)",
    );
    workplace.job(&format!("{reader}{writer}")).0.exits(0);
    let (ended, _) = workplace.job(&format!("{reader}{writer}"));
    ended.exits(3).says("hint: was this job run before? write_mode = \"upsert\" or \"ignore\"\n");
    for mode in ["upsert", "ignore"] {
        workplace.job(&format!("{reader}{writer}write_mode = \"{mode}\"\n")).0.exits(0);
    }

    // Without a limit the run continues, and reports it.
    let (ended, report) = workplace.job(&format!("{reader}{writer}[dirty]\nmax_rows = 50\n"));
    ended.exits(0).says("every row of a chunk is in t already: was this job run before?");
    assert_eq!(report["rows"]["dirty"], 50);

    // A text that has a form of another country is read in it.
    workplace.put("in.csv", "id,day\n1,2026-12-30\n2,31.12.2026\n");
    let dated = |form: &str| {
        workplace.job(&format!(
            "[reader]\nplugin = \"file\"\npath = \"in.csv\"\n{form}[reader.schema]\nday = \"date\"\n\
             [writer]\nplugin = \"file\"\npath = \"out.csv\"\nwrite_mode = \"overwrite\"\n"
        ))
    };
    let hint = "to read `31.12.2026` as date: date_format = \"%d.%m.%Y\"\n";
    dated("").0.exits(3).says(hint);
    workplace.put("in.csv", "id,day\n1,30.12.2026\n2,31.12.2026\n");
    dated("date_format = \"%d.%m.%Y\"\n").0.exits(0);

    // One wrong value among others has no common cause.
    workplace.put("in.csv", "id,customer\n51,a\nx,b\n53,c\n");
    let (ended, _) = workplace.job(&format!("{reader}{writer}"));
    ended.exits(3);
    assert!(!ended.stderr.contains("every value") && !ended.stderr.contains("run before"));
}
