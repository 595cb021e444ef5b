//! The jobs in the reference documents run as they are shown, with the test servers behind the
//! connections that they name. Documents with commands are walked by `docs`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use transload_tests::{
    Ended, Workplace,
    documents::root,
    servers::{Database, Product},
};
use transload_tests_buckets::Bucket;

/// The job of a document that contains this text, alone in a folder.
fn job(document: &str, with: &str) -> Workplace {
    let text = fs::read_to_string(root().join("docs").join(document)).unwrap();
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```\n").next());
    let found: Vec<_> = blocks.filter(|block| block.contains(with)).collect();
    assert_eq!(found.len(), 1, "{document}: jobs with {with}");
    let workplace = Workplace::new();
    workplace.put("job.toml", found[0]);
    workplace
}

/// Adds connections, by name.
fn connect(workplace: &Workplace, connections: &[(&str, String)]) {
    let section = |(name, lines): &(&str, String)| format!("[{name}]\n{lines}");
    let sections: Vec<_> = connections.iter().map(section).collect();
    workplace.put("connections.toml", sections.join("\n"));
}

fn run(workplace: &Workplace) -> Ended {
    let arguments = ["run", "job.toml", "--bizdate", "20261121", "--progress", "none"];
    workplace.run(&arguments)
}

const ORDERS: &str = "CREATE SCHEMA ods; CREATE TABLE ods.orders(id int8 PRIMARY KEY, \
     customer_id int8, amount numeric(12,2), created_at timestamp)";
const LAKE: &str = "CREATE SCHEMA ods; CREATE TABLE ods.orders(id int8 PRIMARY KEY, \
     amount numeric(12,2), day date)";

#[test]
fn the_job_of_databases_runs_again_and_again() {
    let shop = Database::new(
        Product::Mysql,
        "CREATE TABLE orders(id BIGINT PRIMARY KEY, customer_id BIGINT, amount DECIMAL(12,2), \
           created_at DATETIME, note TEXT);
         INSERT INTO orders VALUES (1, 7, 9.50, '2026-11-20 23:59:59', 'before'), \
           (2, 8, 10.25, '2026-11-21 00:00:00', NULL), (3, 7, 11.00, '2026-11-22 12:00:00', NULL);",
    );
    let warehouse = Database::new(Product::Postgres, ORDERS);
    warehouse
        .run("INSERT INTO ods.orders VALUES (2, 8, 1.00, '2026-11-21'), (9, 9, 9, '2026-11-21')");
    let workplace = job("databases.md", "name = \"orders-daily\"");
    connect(&workplace, &[("shop", shop.address(None)), ("warehouse", warehouse.address(None))]);
    for _ in 0..2 {
        run(&workplace).exits(0);
        assert_eq!(
            warehouse.lines("SELECT id, customer_id, amount FROM ods.orders ORDER BY id"),
            ["2|8|10.25", "3|7|11.00"]
        );
    }
}

#[test]
fn the_jobs_of_files_load_a_bucket_and_export_a_table() {
    let bucket = Bucket::s3();
    for (name, rows) in [
        ("day=2026-11-01/region=eu/a.csv", "id,amount\n1,9.50\n2,10\n"),
        ("day=2026-11-02/region=us/a.csv", "id,amount\n3,11.25\n"),
        ("day=2026-11-02/region=asia/a.csv", "id,amount\n4,1\n"),
        ("day=2026-10-31/region=eu/a.csv", "id,amount\n5,1\n"),
    ] {
        bucket.put(&format!("orders/{name}"), rows);
    }
    let warehouse = Database::new(Product::Postgres, LAKE);
    let connections = [("lake", bucket.connection()), ("warehouse", warehouse.address(None))];
    let load = job("files.md", "# lake.toml");
    connect(&load, &connections);
    run(&load).exits(0);
    let rows = ["1|9.50|2026-11-01", "2|10.00|2026-11-01", "3|11.25|2026-11-02"];
    assert_eq!(warehouse.lines("SELECT * FROM ods.orders ORDER BY id"), rows);

    let export = job("files.md", "# export.toml");
    connect(&export, &connections);
    for _ in 0..2 {
        run(&export).exits(0);
        let days = ["day=2026-11-01/", "day=2026-11-02/"].map(|day| format!("export/orders/{day}"));
        let mut found = bucket.data();
        found.retain(|name| name.starts_with("export/"));
        found.sort();
        assert_eq!(found.len(), days.len(), "{found:?}");
        for (name, day) in found.iter().zip(days) {
            assert!(name.starts_with(&day) && name.ends_with(".parquet"), "{name}");
        }
    }
}

#[test]
fn the_job_of_files_filters_a_stream() {
    let workplace = job("files.md", "# filter.toml");
    let mut command: Command = workplace.command();
    command.args(["run", "job.toml", "--progress", "none"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"id,name\n1,a\n2,\n").unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    ended.exits(0);
    assert_eq!(ended.stdout, "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":null}\n");
}

#[test]
fn the_jobs_of_the_job_file_run() {
    let workplace = job("job-file.md", "# all.toml");
    let columns = "id,full_name,salary,town\n";
    workplace.put("more.csv", format!("{columns}1,Ana,1000.5,Bonn\n2,Bo,2000,Ulm\n"));
    let zipped = Command::new("sh")
        .args(["-c", &format!("printf '{columns}3,Cy,30,Jena\\n' | gzip >people-1.csv.gz")])
        .current_dir(workplace.path())
        .status();
    assert!(zipped.unwrap().success());
    workplace.execute(
        "people.db",
        "CREATE TABLE log(day TEXT); INSERT INTO log VALUES ('20261121'), ('20261120')",
    );
    run(&workplace).exits(0);
    let people = ["1|'Ana'|'1000.50'", "2|'Bo'|'2000.00'", "3|'Cy'|'30.00'"];
    let query = "SELECT id, name, printf('%.2f', salary) FROM people ORDER BY id";
    assert_eq!(workplace.sqlite("people.db", query), people);
    let days = workplace.sqlite("people.db", "SELECT day FROM log ORDER BY day");
    assert_eq!(days, ["'20261120'", "'20261121'"]);

    let workplace = job("job-file.md", "#:schema ./job.schema.json");
    workplace.put("orders.csv", "id,amount\n1,2\n");
    workplace.execute("shop.db", "CREATE TABLE orders(id INTEGER, amount INTEGER)");
    run(&workplace).exits(0);
    assert_eq!(workplace.sqlite("shop.db", "SELECT * FROM orders"), ["1|2"]);
}
