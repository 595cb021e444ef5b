//! Dirty rows of every kind of source, exported, repaired and sent again: databases, Parquet, objects.
//! One row is refused by the conversion, one by the target. CSV, JSON lines and SQLite are in
//! `dirty_replay`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::{
    Workplace,
    servers::{Database, Product},
};
use transload_tests_buckets::Bucket;

const ROWS: &str = "id,n,word,day,amount\n1,1,a,2026-01-01,1.50\n2,999,,2026-01-02,2.00\n\
                    3,3,\"b,\"\"c\"\"\",2026-01-03,\n4,4,bad,2026-01-04,1234567.25\n5,5,e,,5.00\n";
const TYPES: &str = "[reader.schema]\nid = \"int64\"\nn = \"int64\"\nword = \"text\"\nday = \"date\"\n\
                     amount = \"decimal(12,2)\"\n";

/// A job that reads this source, whose rows 2 and 4 are dirty.
fn job(workplace: &Workplace, reader: &str) -> String {
    workplace.execute(
        "target.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n TINYINT NOT NULL CHECK (n < 100), word TEXT, \
         day DATE, amount DECIMAL(12,2), CHECK (word <> 'bad'))",
    );
    format!(
        "[reader]\n{reader}[writer]\nplugin = \"sqlite\"\npath = \"target.db\"\ntable = \"t\"\n\
         [channel]\nparallelism = 1\n[dirty]\nmax_rows = 9\n"
    )
}

/// Runs the job, repairs its rows, sends them again, and once more.
#[track_caller]
fn repaired(workplace: &Workplace, what: &str, reader: &str, format: Option<&str>) {
    let text = job(workplace, reader);
    let (ended, report) = workplace.job(&text);
    assert_eq!(ended.exit, Some(0), "{what}: {ended:?}");
    assert_eq!(report["rows"]["dirty"], 2, "{what}: {report}");
    let format: Vec<_> = format.iter().flat_map(|format| ["--format", *format]).collect();
    let exported = workplace.run(&[&["dirty", "export", "job"], &format[..]].concat());
    let fixed = exported.exits(0).stdout.replace("999", "99").replace("bad", "good");
    workplace.put("fix", &fixed);
    let replay = ["dirty", "replay", "job", "--from", "fix", "--output", "json"];
    let replay = [&replay[..], &format].concat();
    let ended = workplace.run(&replay);
    assert_eq!(ended.exit, Some(0), "{what}: {ended:?}\n{fixed}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["rows"]["inserted"], 2, "{what}: {report}");
    let rows = "SELECT id, n, word, day, amount FROM t ORDER BY id";
    let found = workplace.sqlite("target.db", rows);
    assert_eq!(
        found,
        [
            "1|1|'a'|'2026-01-01'|1.5",
            "2|99|NULL|'2026-01-02'|2",
            "3|3|'b,\"c\"'|'2026-01-03'|NULL",
            "4|4|'good'|'2026-01-04'|1234567.25",
            "5|5|'e'|NULL|5",
        ],
        "{what}: {fixed}"
    );
    workplace.run(&replay).exits(2).says("DIRTY-REPLAYED");
    assert_eq!(workplace.sqlite("target.db", "SELECT count(*) FROM t"), ["5"], "{what}");
}

#[test]
fn rows_of_servers_are_sent_again() {
    let rows = "(1, 1, 'a', '2026-01-01', 1.50), (2, 999, NULL, '2026-01-02', 2.00), \
                (3, 3, 'b,\"c\"', '2026-01-03', NULL), (4, 4, 'bad', '2026-01-04', 1234567.25), \
                (5, 5, 'e', NULL, 5.00)";
    for product in Product::ALL {
        let database = Database::new(
            product,
            &format!(
                "CREATE TABLE s (id BIGINT PRIMARY KEY, n BIGINT, word VARCHAR(20), day DATE, \
                 amount DECIMAL(12,2)); INSERT INTO s VALUES {rows};"
            ),
        );
        for (read, format) in [
            ("table = \"s\"\n", None),
            ("query = \"SELECT * FROM s WHERE id > 0\"\n", Some("jsonl")),
        ] {
            let reader = format!("{}{read}", database.address(None));
            repaired(&Workplace::new(), product.word(), &reader, format);
        }
    }
}

/// A Parquet file of the rows.
fn parquet(workplace: &Workplace) -> Vec<u8> {
    workplace.put("made.csv", ROWS);
    workplace.put(
        "make.toml",
        format!(
            "[reader]\nplugin = \"file\"\npath = \"made.csv\"\n{TYPES}\
             [writer]\nplugin = \"file\"\npath = \"made.parquet\"\n"
        ),
    );
    workplace.run(&["run", "make.toml", "-q"]).exits(0);
    std::fs::read(workplace.path().join("made.parquet")).unwrap()
}

#[test]
fn rows_of_parquet_files_are_sent_again() {
    for format in [None, Some("csv"), Some("jsonl")] {
        let workplace = Workplace::new();
        parquet(&workplace);
        let reader = "plugin = \"file\"\npath = \"made.parquet\"\n";
        repaired(&workplace, &format!("{format:?}"), reader, format);
    }
}

#[test]
fn rows_of_objects_are_sent_again() {
    let bucket = Bucket::s3();
    let json = "{\"id\":1,\"n\":1,\"word\":\"a\",\"day\":\"2026-01-01\",\"amount\":1.50}\n\
                {\"id\":2,\"n\":999,\"word\":null,\"day\":\"2026-01-02\",\"amount\":2.00}\n\
                {\"id\":3,\"n\":3,\"word\":\"b,\\\"c\\\"\",\"day\":\"2026-01-03\"}\n\
                {\"id\":4,\"n\":4,\"word\":\"bad\",\"day\":\"2026-01-04\",\"amount\":1234567.25}\n\
                {\"id\":5,\"n\":5,\"word\":\"e\",\"amount\":5.00}\n";
    bucket.put("in.csv", ROWS.as_bytes());
    bucket.put("in.jsonl", json.as_bytes());
    bucket.put("in.parquet", parquet(&Workplace::new()));
    bucket.put("many/part-1.csv", ROWS.as_bytes());
    for name in ["in.csv", "in.jsonl", "in.parquet", "many/"] {
        let types = if name == "in.parquet" { "" } else { TYPES };
        let reader = format!("{}{types}", bucket.lines(name));
        repaired(&Workplace::new(), name, &reader, None);
    }
}

/// Rows of a replay are in a file of their own, which its own replay reads again.
#[test]
fn what_cannot_be_sent_again_is_refused_by_name() {
    let workplace = Workplace::new();
    parquet(&workplace);
    let reader = "plugin = \"file\"\npath = \"made.parquet\"\n";
    let text = job(&workplace, reader);
    workplace.job(&text).0.exits(0);
    let export = |format: &str| workplace.run(&["dirty", "export", "job", "--format", format]);
    workplace.put("fix.csv", &export("csv").exits(0).stdout);
    // A file of another form than the flag says.
    let ended =
        workplace.run(&["dirty", "replay", "job", "--from", "fix.csv", "--format", "jsonl"]);
    assert_ne!(ended.exit, Some(0), "{ended:?}");
    ended.says("fix.csv");
    // A source that is another one now.
    workplace.put("job.toml", text.replace("made.parquet", "other.parquet"));
    let ended = workplace.run(&["dirty", "replay", "job", "--from", "fix.csv"]);
    ended.exits(2).says("DIRTY-CHANGED").says("`reader.path`");
}
