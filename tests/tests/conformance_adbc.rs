//! The conformance suite on the adbc plugin as a library.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

#[path = "../../plugins/adbc/tests/support/mod.rs"]
mod support;

use support::{Driver, subject::Adbc};
use transload_plugin_api::testing;
use transload_tests::{
    Ended, Workplace,
    servers::{Database, Product},
};

/// All cases but one, which compares the keys of the target: drivers do not tell them.
#[test]
fn adbc_conforms_through_its_library_with_the_driver_of_duckdb() {
    let (plugin, subject) = (transload_tests::load("adbc"), Adbc(Driver::Duckdb));
    let cases = testing::cases(&*plugin, &subject);
    let (left_out, tested): (Vec<_>, Vec<_>) =
        cases.iter().partition(|case| case.name == "check, inspect and discover");
    assert_eq!(left_out.len(), 1);
    tested.iter().for_each(|case| case.run());
}

/// The program with the driver of PostgreSQL: rows of a file are appended, a refused one is found, and all
/// are read back.
#[test]
fn a_table_of_postgres_is_appended_to_and_read() {
    let database = Database::new(
        Product::Postgres,
        "CREATE TABLE t (id bigint PRIMARY KEY, name text, at timestamptz, price double precision)",
    );
    let server = &database.server;
    let connection = format!(
        "plugin = \"adbc\"\ndriver = \"postgresql\"\n\
         uri = \"postgresql://{}@{}:{}/{}\"\npassword = {{ env = \"ADBC_PASSWORD\" }}\n",
        server.user, server.host, server.port, database.name
    );
    let workplace = Workplace::new();
    let run = |job: &str| {
        workplace.put("job.toml", job);
        let mut command = workplace.command();
        command.args(["run", "job.toml", "--output", "json", "--progress", "none"]);
        command.env("ADBC_PASSWORD", &server.password);
        command.env("ADBC_DRIVER_PATH", std::env::var("TRANSLOAD_TEST_ADBC").unwrap());
        Ended::from(command.output().unwrap())
    };
    workplace.put(
        "in.csv",
        "id,name,at,price\n1,äöü,2026-11-30T00:30:00Z,1.5\n2,,,\n1,again,,\n3,last,,-0.25\n",
    );
    let types = "[reader.schema]\nid = \"int64\"\nat = \"timestamptz\"\nprice = \"float64\"\n";
    let written = run(&format!(
        "[reader]\nplugin = \"file\"\npath = \"in.csv\"\nnull = \"\"\n{types}[writer]\n{connection}\
         table = \"t\"\n[dirty]\nmax_rows = 1\n"
    ));
    written.exits(0);
    let report: serde_json::Value = serde_json::from_str(&written.stdout).unwrap();
    assert_eq!((&report["rows"]["inserted"], &report["rows"]["dirty"]), (&3.into(), &1.into()));
    let expected = ["1|äöü|1795998600|1.5", "2|||", "3|last||-0.25"];
    let rows = "SELECT concat_ws('|', id, coalesce(name, ''), coalesce(extract(epoch FROM at)::bigint::text, \
                ''), coalesce(price::text, '')) FROM t ORDER BY id";
    assert_eq!(database.lines(rows), expected);
    run(&format!(
        "[reader]\n{connection}table = \"t\"\n[writer]\nplugin = \"file\"\npath = \"out.jsonl\"\n"
    ))
    .exits(0);
    let mut lines: Vec<_> = workplace.read("out.jsonl").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("\"name\":\"äöü\"") && lines[0].contains("1.5"), "{}", lines[0]);
    assert!(lines[1].contains("\"name\":null"), "{}", lines[1]);
}
