//! One text, one meaning: every route from text to a typed value reads the same list of texts, and
//! gives the same value or refuses the row. Where a route may differ is in the documentation of the
//! crate `transload_values`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{fmt::Write as _, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use transload::testing::Converter;
use transload_plugin_api::{Column, LogicalType, schema_of};
use transload_tests::{
    Workplace,
    servers::{Database, Product},
    texts::records,
};
use transload_values::View;

/// A text, and its value as it is written to CSV; `None` if the row must be dirty.
type Case = (&'static str, Option<&'static str>);

/// 76 digits, 10 of them behind the point.
const WIDE: &str = "123456789012345678901234567890123456789012345678901234567890123456.7890123456";

/// What a type makes of texts.
const CASES: &[(&str, &[Case])] = &[
    (
        "boolean",
        &[
            ("true", Some("true")),
            ("T", Some("true")),
            ("Yes", Some("true")),
            ("1", Some("true")),
            ("ON", Some("true")),
            ("f", Some("false")),
            ("0", Some("false")),
            ("off", Some("false")),
            ("2", None),
            ("", None),
            (" true", None),
        ],
    ),
    (
        "int32",
        &[
            ("7", Some("7")),
            ("+7", Some("7")),
            ("007", Some("7")),
            ("-0", Some("0")),
            ("-2147483648", Some("-2147483648")),
            ("2147483648", None),
            ("1e5", None),
            ("1.0", None),
            ("5.", None),
            (" 7", None),
            ("7 ", None),
            ("", None),
            ("--7", None),
            ("0x10", None),
        ],
    ),
    (
        "uint64",
        &[
            ("18446744073709551615", Some("18446744073709551615")),
            ("18446744073709551616", None),
            ("-1", None),
            ("-0", Some("0")),
        ],
    ),
    (
        "float64",
        &[
            ("0.1", Some("0.1")),
            ("1e5", Some("100000.0")),
            ("+1.5E-3", Some("0.0015")),
            (".5", Some("0.5")),
            ("5.", Some("5.0")),
            ("-0", Some("-0.0")),
            ("0.1234567890123456789", Some("0.12345678901234568")),
            ("123456789012345678901", None),
            ("123456789012345680000", Some("1.2345678901234568e20")),
            ("5e-324", Some("5e-324")),
            ("1e309", None),
            ("1e-400", None),
            ("NaN", Some("NaN")),
            ("nan", Some("NaN")),
            ("inf", Some("Infinity")),
            ("-Infinity", Some("-Infinity")),
            ("1,5", None),
            (" 1", None),
            ("", None),
        ],
    ),
    (
        "float32",
        &[
            ("0.1", Some("0.1")),
            ("16777216", Some("16777216.0")),
            ("16777217", None),
            ("16777217.5", Some("16777218.0")),
            // through a double it would be rounded twice, to the next float
            ("1.00000017881393432617187499", Some("1.0000001")),
            ("1e39", None),
        ],
    ),
    (
        "decimal(15,2)",
        &[
            ("1.10", Some("1.10")),
            ("1e5", Some("100000.00")),
            ("1.5E+3", Some("1500.00")),
            ("125e-2", Some("1.25")),
            ("1e13", None),
            ("+7", Some("7.00")),
            ("-0", Some("0.00")),
            (".5", Some("0.50")),
            ("5.", Some("5.00")),
            (".", None),
            ("1.100", Some("1.10")),
            ("1.101", None),
            ("1e-3", None),
            ("NaN", None),
            ("1,5", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("1e", None),
        ],
    ),
    (
        "decimal(38,10)",
        &[(
            "1234567890123456789012345678.0123456789",
            Some("1234567890123456789012345678.0123456789"),
        )],
    ),
    (
        "decimal(76,10)",
        &[
            (WIDE, Some(WIDE)),
            (
                "1e65",
                Some(
                    "100000000000000000000000000000000000000000000000000000000000000000.0000000000",
                ),
            ),
            ("1e66", None),
        ],
    ),
    (
        "numeric",
        &[
            ("1.500", Some("1.500")),
            ("1e400", Some("1e400")),
            (WIDE, Some(WIDE)),
            ("NaN", Some("NaN")),
            ("-Infinity", Some("-Infinity")),
            ("inf", None),
            ("nan", None),
            ("1,5", None),
            (" 1", None),
            ("", None),
        ],
    ),
    (
        "date",
        &[
            ("2024-02-29", Some("2024-02-29")),
            ("2023-02-29", None),
            ("0000-01-01", Some("0000-01-01")),
            ("-0044-03-15", Some("-0044-03-15")),
            ("+12345-06-07", Some("+12345-06-07")),
            ("12345-06-07", None),
            ("2024-1-5", None),
            ("0000-00-00", None),
            ("2024-01-05T00:00:00", None),
            (" 2024-01-05", None),
            ("", None),
        ],
    ),
    (
        "time",
        &[
            ("23:59:59.999999", Some("23:59:59.999999")),
            ("01:02:03.500", Some("01:02:03.5")),
            ("00:00:00.1234560", Some("00:00:00.123456")),
            ("00:00:00.1234567", None),
            ("00:00:00.123456789", None),
            ("23:59:60", None),
            ("24:00:00", None),
            ("24:00", None),
            ("10:00", None),
            ("1:00:00", None),
            ("00:00:00.", None),
            ("", None),
        ],
    ),
    (
        "time(0)",
        &[("01:02:03", Some("01:02:03")), ("01:02:03.0", Some("01:02:03")), ("01:02:03.5", None)],
    ),
    (
        "timestamp",
        &[
            ("2024-02-29 12:00:00", Some("2024-02-29 12:00:00")),
            ("2024-02-29T12:00:00.25", Some("2024-02-29 12:00:00.25")),
            ("-0044-03-15 12:00:00", Some("-0044-03-15 12:00:00")),
            ("2024-02-29 12:00:00.1234567", None),
            ("2016-12-31 23:59:60", None),
            ("2024-02-29 24:00:00", None),
            ("2024-02-29", None),
            ("2024-02-29 12:00", None),
            ("2024-02-29 12:00:00Z", None),
            ("2024-02-29 12:00:00 ", None),
            ("", None),
        ],
    ),
    (
        "timestamp(9)",
        &[
            ("2024-02-29 12:00:00.123456789", Some("2024-02-29 12:00:00.123456789")),
            ("2500-01-01 00:00:00", None),
        ],
    ),
    (
        "timestamptz",
        &[
            ("2024-01-01 01:00:00+01", Some("2024-01-01T00:00:00Z")),
            ("2024-01-01T01:30:00+0130", Some("2024-01-01T00:00:00Z")),
            ("2024-01-01 01:30:00+01:30", Some("2024-01-01T00:00:00Z")),
            ("2024-01-01 01:30:15+01:30:15", Some("2024-01-01T00:00:00Z")),
            ("2024-01-01 00:00:00-05:00", Some("2024-01-01T05:00:00Z")),
            ("2024-01-01 00:00:00Z", Some("2024-01-01T00:00:00Z")),
            ("2024-01-01 00:00:00 UTC", Some("2024-01-01T00:00:00Z")),
            ("2024-01-01 00:00:00.000 +0000", Some("2024-01-01T00:00:00Z")),
            ("2024-01-01 00:00:00", None),
            ("2024-01-01 00:00:00+24", None),
            ("2024-01-01 00:00:00+1", None),
            ("2024-01-01 00:00:00 CET", None),
            ("2016-12-31 23:59:60Z", None),
        ],
    ),
    (
        "duration",
        &[
            ("-838:59:59.999999", Some("-838:59:59.999999")),
            ("1:00:00", Some("01:00:00")),
            ("100:00:00.5", Some("100:00:00.5")),
            ("00:60:00", None),
            ("00:00:60", None),
            ("00:00:00.0000001", None),
            ("1:2:3", None),
            ("+1:00:00", None),
            ("", None),
        ],
    ),
    (
        "uuid",
        &[
            ("123E4567-E89B-12D3-A456-426614174000", Some("123e4567-e89b-12d3-a456-426614174000")),
            ("123e4567e89b12d3a456426614174000", Some("123e4567-e89b-12d3-a456-426614174000")),
            (
                "{123e4567-e89b-12d3-a456-426614174000}",
                Some("123e4567-e89b-12d3-a456-426614174000"),
            ),
            ("123e4567-e89b-12d3-a456-42661417400", None),
            ("123e4567e89b-12d3-a456-426614174000", None),
            ("", None),
        ],
    ),
    ("text(3)", &[("", Some("")), (" a ", Some(" a ")), ("äöü", Some("äöü")), ("abcd", None)]),
];

/// Only files hold bytes as text, and JSON documents in quotes are texts in JSON.
const OF_FILES: &[(&str, &[Case])] = &[(
    "binary",
    &[
        (r"\xDEad", Some("dead")),
        ("0xdead", Some("dead")),
        ("DEAD", Some("dead")),
        ("", Some("")),
        ("dea", None),
        ("xy", None),
    ],
)];

/// The documents of a json column, which every route but JSON reads from text.
const DOCUMENTS: &[(&str, &[Case])] = &[(
    "json",
    &[
        (r#"{"b": 1.10,"b":2}"#, Some(r#"{"b": 1.10,"b":2}"#)),
        (" 1 ", Some(" 1 ")),
        ("{", None),
        ("NaN", None),
        ("", None),
    ],
)];

/// One row for each text: its type's column, the text, and what must come of it.
struct Table {
    types: Vec<&'static str>,
    rows: Vec<(usize, Case)>,
}

impl Table {
    fn of(lists: &[&'static [(&'static str, &'static [Case])]]) -> Self {
        let all: Vec<_> = lists.iter().flat_map(|list| list.iter()).collect();
        let rows = all.iter().enumerate();
        let rows = rows.flat_map(|(at, (_, cases))| cases.iter().map(move |case| (at, *case)));
        Self { types: all.iter().map(|(logical, _)| *logical).collect(), rows: rows.collect() }
    }

    /// `[reader.schema]` with the types.
    fn schema(&self) -> String {
        let mut text = "[reader.schema]\nid = \"int64\"\n".to_owned();
        for (at, logical) in self.types.iter().enumerate() {
            let _ = writeln!(text, "c{at} = \"{logical}\"");
        }
        text
    }

    /// A table of texts, one row for each, NULL in the columns of the other types.
    fn sql(&self, column_type: &str, literal: fn(&str) -> String) -> String {
        let columns: String =
            (0..self.types.len()).map(|at| format!(", c{at} {column_type}")).collect();
        let mut sql = format!("CREATE TABLE t (id INTEGER PRIMARY KEY{columns});");
        for (id, (at, (text, _))) in self.rows.iter().enumerate() {
            let _ = write!(sql, "INSERT INTO t (id, c{at}) VALUES ({id}, {});", literal(text));
        }
        sql
    }

    /// Runs a job from the reader into CSV, and compares every row with what must come of it.
    fn check(&self, route: &str, workplace: &Workplace, reader: &str, schema: &str) {
        let writer = "[writer]\nplugin = \"file\"\npath = \"out.csv\"\n";
        let (ended, _) = workplace.job(&format!("[reader]\n{reader}{schema}{writer}{DIRTY}"));
        ended.exits(0);
        let output = workplace.read("out.csv");
        let mut found = vec![None; self.rows.len()];
        for record in records(&output).into_iter().skip(1) {
            let id: usize = record[0].as_ref().unwrap().parse().unwrap();
            let (at, _) = self.rows[id];
            found[id] = Some(record[at + 1].clone().expect("a value"));
        }
        self.compare(route, &found);
    }

    fn compare(&self, route: &str, found: &[Option<String>]) {
        let wrong: Vec<String> = (self.rows.iter().zip(found))
            .filter(|((_, (_, expected)), found)| found.as_deref() != *expected)
            .map(|((at, (text, expected)), found)| {
                let logical = self.types[*at];
                format!("{route}: `{text}` as {logical} is {found:?}, expected {expected:?}")
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// All dirty rows are counted, and rows are few.
const DIRTY: &str = "[dirty]\nmax_rows = 100000\n[channel]\nparallelism = 1\n";

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// With backslashes doubled.
fn escaped(text: &str) -> String {
    quoted(&text.replace('\\', "\\\\"))
}

#[test]
fn csv_cells() {
    let table = Table::of(&[CASES, OF_FILES, DOCUMENTS]);
    let columns: String = (0..table.types.len()).map(|at| format!(",c{at}")).collect();
    let mut csv = format!("id{columns}\n");
    for (id, (at, (text, _))) in table.rows.iter().enumerate() {
        let after = ",".repeat(table.types.len() - 1 - at);
        let text = text.replace('"', "\"\"");
        let _ = writeln!(csv, "{id}{}\"{text}\"{after}", ",".repeat(at + 1));
    }
    let workplace = Workplace::new();
    workplace.put("in.csv", csv);
    table.check("CSV", &workplace, "plugin = \"file\"\npath = \"in.csv\"\n", &table.schema());
}

#[test]
fn json_strings() {
    let table = Table::of(&[CASES, OF_FILES]);
    let mut lines = String::new();
    for (id, (at, (text, _))) in table.rows.iter().enumerate() {
        let _ = writeln!(lines, "{{\"id\":{id},\"c{at}\":{}}}", serde_json::json!(text));
    }
    let workplace = Workplace::new();
    workplace.put("in.jsonl", lines);
    table.check("JSON", &workplace, "plugin = \"file\"\npath = \"in.jsonl\"\n", &table.schema());
}

/// Stored texts are read by the plugin in the type that the job declares.
#[test]
fn sqlite_texts() {
    let table = Table::of(&[CASES, DOCUMENTS]);
    let workplace = Workplace::new();
    workplace.execute("in.db", &table.sql("TEXT", quoted));
    let reader = "plugin = \"sqlite\"\npath = \"in.db\"\ntable = \"t\"\n";
    table.check("SQLite", &workplace, reader, &table.schema());
}

/// A text column is converted by the host.
#[test]
fn text_columns() {
    let table = Table::of(&[CASES, DOCUMENTS]);
    let mut found = Vec::new();
    for (at, (text, _)) in &table.rows {
        let from = [Column::new("c", LogicalType::TEXT, true)];
        let to = [Column::new("c", table.types[*at].parse().unwrap(), true)];
        let texts: ArrayRef = Arc::new(StringArray::from(vec![*text]));
        let batch = RecordBatch::try_new(schema_of(&from), vec![texts]).unwrap();
        let converted = Converter::new(&from, &to).convert(&batch).unwrap();
        found.push((converted.batch.num_rows() == 1).then(|| {
            let mut shown = Vec::new();
            let values = converted.batch.column(0);
            View::of(&to[0].logical, values).unwrap().write(0, &mut shown);
            String::from_utf8(shown).unwrap()
        }));
    }
    table.compare("text column", &found);
}

/// What a database makes of the cases: the types that it has, and its names of them.
type ServerTypes = &'static [(&'static str, &'static str)];

/// Those of PostgreSQL.
const POSTGRES_TYPES: ServerTypes = &[
    ("boolean", "boolean"),
    ("int32", "integer"),
    ("float64", "double precision"),
    ("float32", "real"),
    ("decimal(15,2)", "numeric(15,2)"),
    ("decimal(38,10)", "numeric(38,10)"),
    ("decimal(76,10)", "numeric(76,10)"),
    ("date", "date"),
    ("time", "time"),
    ("time(0)", "time(0)"),
    ("timestamp", "timestamp"),
    ("timestamptz", "timestamptz"),
    ("uuid", "uuid"),
    ("text(3)", "varchar(3)"),
    ("numeric", "numeric"),
    ("json", "json"),
];

/// Those of MariaDB that PostgreSQL does not have.
const MARIADB_TYPES: ServerTypes =
    &[("uint64", "BIGINT UNSIGNED"), ("duration", "TIME(6)"), ("json", "JSON")];

/// Texts on a server read as typed columns into CSV; and into typed columns on two servers, and
/// from there into CSV.
fn server_texts(product: Product, column_type: &str, literal: fn(&str) -> String) {
    let table = Table::of(&[CASES, DOCUMENTS]);
    let source = Database::new(product, &table.sql(column_type, literal));
    let reader = format!("{}table = \"t\"\n", source.address(None));
    table.check(product.word(), &Workplace::new(), &reader, &table.schema());
    through_server(&source, (Product::Postgres, POSTGRES_TYPES), (column_type, literal));
    through_server(&source, (Product::Mariadb, MARIADB_TYPES), (column_type, literal));
}

/// A number of a server has no exponent.
fn without_exponent(expected: &'static str) -> &'static str {
    match expected {
        "1e400" => Box::leak(format!("1{}", "0".repeat(400)).into_boxed_str()),
        other => other,
    }
}

fn through_server(
    server: &Database,
    (product, types): (Product, ServerTypes),
    (column_type, literal): (&str, fn(&str) -> String),
) {
    let mut table = Table::of(&[CASES, DOCUMENTS]);
    let on_server = |logical: &str| types.iter().find(|(name, _)| *name == logical);
    table.rows.retain(|(at, _)| on_server(table.types[*at]).is_some());
    for (_, (_, expected)) in &mut table.rows {
        *expected = expected.map(without_exponent);
    }
    let source = Database::on(&server.server, &table.sql(column_type, literal));
    let text = if product == Product::Postgres { "text" } else { "LONGTEXT" };
    let types = table.types.iter().map(|logical| on_server(logical).map_or(text, |both| both.1));
    let columns: String = types.enumerate().map(|(at, name)| format!(", c{at} {name}")).collect();
    let sql = format!("CREATE TABLE t (id INTEGER PRIMARY KEY{columns});");
    let target = Database::new(product, &sql);
    let workplace = Workplace::new();
    let section = |database: &Database| format!("{}table = \"t\"\n", database.address(None));
    let (reader, writer) = (section(&source), section(&target));
    let (ended, _) = workplace.job(&format!("[reader]\n{reader}[writer]\n{writer}{DIRTY}"));
    ended.exits(0);
    let route = format!("{} to {}", server.server.product.word(), product.word());
    table.check(&route, &workplace, &section(&target), "");
}

#[test]
fn postgres_texts() {
    server_texts(Product::Postgres, "text", quoted);
}

#[test]
fn mysql_texts() {
    server_texts(Product::Mariadb, "longtext", escaped);
    server_texts(Product::Mysql, "longtext", escaped);
}
