//! Values between formats and stores: none changes silently.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::{Value, json};
use transload_tests::{Ended, Workplace};

/// `[reader]` or `[writer]` of a file, or of table `t` in a database, by the name's extension.
fn side(role: &str, file: &str) -> String {
    match file.strip_suffix(".db") {
        Some(_) => format!("[{role}]\nplugin = \"sqlite\"\npath = \"{file}\"\ntable = \"t\"\n"),
        None => format!("[{role}]\nplugin = \"file\"\npath = \"{file}\"\n"),
    }
}

/// Copies everything from one to the other; `more` goes into `[reader.schema]`.
fn copy(workplace: &Workplace, from: &str, to: &str, schema: &str, more: &str) -> (Ended, Value) {
    let writer = side("writer", to);
    let mode = if to.ends_with(".db") { "create_table = true\n" } else { "" };
    let reader = side("reader", from);
    let schema =
        if from.ends_with(".db") { String::new() } else { format!("[reader.schema]\n{schema}") };
    workplace.job(&format!("{reader}{schema}{writer}{mode}{more}"))
}

fn row_order(workplace: &Workplace, file: &str) -> String {
    let mut lines: Vec<String> = workplace.read(file).lines().map(str::to_owned).collect();
    let body = usize::from(file.ends_with(".csv"));
    lines[body..].sort();
    lines.join("\n")
}

#[test]
fn t09_null_and_empty_stay_apart_between_all() {
    let csv = "id,a,b\n1,,\"\"\n2,\"\",\n3,,\n4,\"\",\"\"";
    let jsonl = "{\"id\":1,\"a\":null,\"b\":\"\"}\n{\"id\":2,\"a\":\"\",\"b\":null}\n\
                 {\"id\":3,\"a\":null,\"b\":null}\n{\"id\":4,\"a\":\"\",\"b\":\"\"}";
    let table = ["1|NULL|''", "2|''|NULL", "3|NULL|NULL", "4|''|''"];
    for from in ["from.csv", "from.jsonl", "from.db"] {
        for to in ["to.csv", "to.jsonl", "to.db"] {
            let workplace = Workplace::new();
            workplace.put("from.csv", format!("{csv}\n"));
            workplace.put("from.jsonl", format!("{jsonl}\n"));
            let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT);
                       INSERT INTO t VALUES (1, NULL, ''), (2, '', NULL), (3, NULL, NULL), (4, '', '')";
            workplace.execute("from.db", sql);
            copy(&workplace, from, to, "id = \"int64\"\na = \"text\"\nb = \"text\"\n", "")
                .0
                .exits(0);
            match to {
                "to.csv" => assert_eq!(row_order(&workplace, to), csv, "from {from}"),
                "to.jsonl" => assert_eq!(row_order(&workplace, to), jsonl, "from {from}"),
                _ => assert_eq!(
                    workplace.sqlite(to, "SELECT * FROM t ORDER BY id"),
                    table,
                    "from {from}"
                ),
            }
        }
    }
}

#[test]
fn t19_floats_keep_every_digit() {
    let values = [
        "0.30000000000000004",
        "5e-324",
        "1.7976931348623157e308",
        "-1.5",
        "2.2250738585072014e-308",
        "9007199254740993.0",
        "1e22",
        "0.1",
        "Infinity",
        "NaN",
    ];
    let workplace = Workplace::new();
    let lines = values.iter().enumerate().map(|(id, value)| format!("{id},{value}\n"));
    workplace.put("in.csv", format!("id,f\n{}", lines.collect::<String>()));
    let schema = "id = \"int64\"\nf = \"float64\"\n";
    // SQLite converts NaN to NULL, and JSON has neither NaN nor infinities: dirty rows.
    let (ended, report) = copy(&workplace, "in.csv", "t.db", schema, "[dirty]\nmax_rows = 1\n");
    ended.exits(0);
    assert_eq!(report["rows"]["dirty"], 1);
    let (ended, report) = copy(&workplace, "t.db", "out.jsonl", "", "[dirty]\nmax_rows = 1\n");
    ended.exits(0);
    assert_eq!((&report["rows"]["read"], &report["rows"]["dirty"]), (&json!(9), &json!(1)));
    let rows = workplace.read("out.jsonl");
    for (id, value) in values[..8].iter().enumerate() {
        let line = rows.lines().find(|line| line.starts_with(&format!("{{\"id\":{id},"))).unwrap();
        let text = line.rsplit_once(':').unwrap().1.trim_end_matches('}');
        let (found, expected) = (text.parse::<f64>().unwrap(), value.parse::<f64>().unwrap());
        assert_eq!(found.to_bits(), expected.to_bits(), "{value} became {text}");
    }
    let (ended, report) =
        copy(&workplace, "in.csv", "direct.jsonl", schema, "[dirty]\nmax_rows = 2\n");
    ended.exits(0);
    assert_eq!(report["rows"]["dirty"], 2);
}

/// Rows whose texts contain everything that can mislead a search for a record's end.
fn misleading(rows: usize) -> (String, Vec<String>) {
    let texts = [
        "plain",
        "with, comma",
        "two\nlines",
        "\"quoted\"",
        "\n",
        "cr\r\nlf",
        "\",\"",
        "1,2\n3,4",
        " blanks ",
        "# no comment",
        "\"\n\"",
        "",
    ];
    let mut csv = "id,text,tail\n".to_owned();
    let mut cells = Vec::new();
    for id in 0..rows {
        let text = format!("{}{}", texts[id % texts.len()], "\n".repeat(id % 3));
        let quoted = text.replace('"', "\"\"");
        csv.push_str(&format!("{id},\"{quoted}\",{:040}\n", id));
        cells.push(format!("{id}|'{text}'|'{id:040}'"));
    }
    (csv, cells)
}

#[test]
fn t53_records_are_found_in_parallel_whatever_is_quoted() {
    let (csv, cells) = misleading(250_000);
    let workplace = Workplace::new();
    workplace.put("in.csv", &csv);
    let schema = "id = \"int64\"\ntext = \"text\"\ntail = \"text\"\n";
    let channel = "[channel]\nparallelism = 3\n";
    let (ended, report) = copy(&workplace, "in.csv", "t.db", schema, channel);
    ended.exits(0);
    assert!(report["tasks"].as_array().unwrap().len() > 1, "the file was not split");
    let found = workplace.sqlite("t.db", "SELECT * FROM t ORDER BY id");
    assert_eq!(found.len(), cells.len());
    let differ = found.iter().zip(&cells).find(|(found, expected)| found != expected);
    assert_eq!(differ, None);
}

#[test]
fn t54_what_is_written_is_read_again_as_it_was() {
    let (csv, cells) = misleading(3_000);
    let workplace = Workplace::new();
    workplace.put("in.csv", &csv);
    let schema = "id = \"int64\"\ntext = \"text\"\ntail = \"text\"\n";
    let chain = ["in.csv", "a.db", "b.csv", "c.jsonl", "d.json", "e.csv.gz", "f.jsonl.zst", "g.db"];
    for pair in chain.windows(2) {
        copy(&workplace, pair[0], pair[1], schema, "").0.exits(0);
    }
    assert_eq!(workplace.sqlite("g.db", "SELECT * FROM t ORDER BY id"), cells);
}

#[test]
fn t25_the_zone_of_the_process_changes_nothing() {
    let rows = "{\"id\":1,\"d\":\"1970-01-01\",\"w\":\"2024-03-31 02:30:00\",\"z\":\"2024-03-31T01:30:00Z\"}\n\
                {\"id\":2,\"d\":\"0001-01-01\",\"w\":\"0001-01-01 00:00:00\",\"z\":\"0001-01-01T00:00:00Z\"}\n\
                {\"id\":3,\"d\":\"9999-12-31\",\"w\":\"9999-12-31 23:59:59.999999\",\"z\":\"9999-12-31T23:59:59.999999Z\"}\n";
    for zone in ["UTC", "Etc/GMT+12", "Pacific/Kiritimati", "Europe/Berlin"] {
        let workplace = Workplace::new();
        workplace.put("in.jsonl", rows);
        let schema = "id = \"int64\"\nd = \"date\"\nw = \"timestamp\"\nz = \"timestamptz\"\n";
        for (from, to) in [("in.jsonl", "t.db"), ("t.db", "out.jsonl")] {
            let create = if to.ends_with(".db") { "create_table = true\n" } else { "" };
            let schema =
                if from.ends_with(".db") { "" } else { &format!("[reader.schema]\n{schema}") };
            let job = format!("{}{schema}{}{create}", side("reader", from), side("writer", to));
            workplace.put("job.toml", job);
            let mut command = workplace.command();
            let output = command.args(["run", "job.toml"]).env("TZ", zone).output().unwrap();
            Ended::from(output).exits(0);
        }
        assert_eq!(workplace.read("out.jsonl"), rows, "{zone}");
    }
}

/// The generator computes a sum for each column, whatever the order of rows.
#[test]
fn sums_of_all_columns_survive_a_way_through_everything() {
    let specs = [
        ("i", "int64 edge 5% null 5%"),
        ("p", "decimal(15,2) range -105000..105000 null 5%"),
        ("f", "float32 range -1..1 null 5%"),
        ("t", "text words 0..5 null 5%"),
        ("b", "boolean null 5%"),
        ("x", "binary bytes 0..40 null 5%"),
        ("d", "date null 5%"),
        ("w", "timestamp null 5%"),
        ("u", "uuid null 5%"),
    ];
    let table = |word: fn(&str) -> &str| -> String {
        specs.iter().map(|(name, spec)| format!("{name} = \"{}\"\n", word(spec))).collect()
    };
    let schema = table(|spec| spec.split(' ').next().unwrap());
    let source = format!(
        "[reader]\nplugin = \"generator\"\nrows = 5_000\n[reader.specs]\n{}",
        table(|spec| spec)
    );
    let sums = format!(
        "[writer]\nplugin = \"generator\"\nreport = \"sums.json\"\n[writer.columns]\n{schema}"
    );
    let workplace = Workplace::new();
    let summed = || -> Value { serde_json::from_str(&workplace.read("sums.json")).unwrap() };
    workplace.job(&format!("{source}{sums}")).0.exits(0);
    let expected = summed();
    assert_eq!(expected["rows"], 5_000);
    let chain = ["a.csv.gz", "b.db", "c.jsonl.zst", "d.csv"];
    workplace.job(&format!("{source}{}", side("writer", chain[0]))).0.exits(0);
    for pair in chain.windows(2) {
        copy(&workplace, pair[0], pair[1], &schema, "").0.exits(0);
    }
    for file in chain {
        let schema = if file.ends_with(".db") {
            String::new()
        } else {
            format!("[reader.schema]\n{schema}")
        };
        workplace.job(&format!("{}{schema}{sums}", side("reader", file))).0.exits(0);
        assert_eq!(summed()["columns"], expected["columns"], "{file}");
    }
}
