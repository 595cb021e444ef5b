//! `discover`: the tables of every kind of store with keys, columns and sizes, chosen by patterns.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::Value;
use transload_tests::{
    Ended, Workplace,
    servers::{Database, Product},
};

/// The tables that `discover` prints as JSON.
fn tables(workplace: &Workplace, arguments: &[&str]) -> Vec<Value> {
    let ended = workplace.run(&[&["discover"], arguments, &["--output", "json"]].concat());
    let told: Value = serde_json::from_str(&ended.exits(0).stdout).unwrap();
    told["tables"].as_array().unwrap().clone()
}

fn names(tables: &[Value]) -> Vec<&str> {
    tables.iter().map(|table| table["name"].as_str().unwrap()).collect()
}

fn sqlite() -> Workplace {
    let workplace = Workplace::new();
    workplace.put("connections.toml", "[shop]\nplugin = \"sqlite\"\npath = \"shop.db\"\n");
    workplace.execute(
        "shop.db",
        "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INT NOT NULL, code VARCHAR(20) UNIQUE,
           total DECIMAL(12,2) DEFAULT 0);
         CREATE TABLE \"odd.name\"(\"a b\" TEXT, n INT, PRIMARY KEY (n, \"a b\"));
         CREATE TABLE tmp_1(x); CREATE VIEW big AS SELECT * FROM orders;
         INSERT INTO orders(customer, code) VALUES (1, 'a'), (2, 'b'); ANALYZE;",
    );
    workplace
}

fn run(workplace: &Workplace, arguments: &[&str]) -> Ended {
    workplace.run(&[&["discover", "shop", "--width", "80"], arguments].concat())
}

#[test]
fn tables_are_listed_with_keys_and_sizes() {
    let ended = run(&sqlite(), &[]);
    let expected = "\
table       kind   rows  size  columns  key     comment
big         view                     4
\"odd.name\"  table                    2  n, a b
orders      table    ~2              4  id
tmp_1       table                    1
";
    assert_eq!(ended.exits(0).stdout, expected);
    assert_eq!(ended.stderr, "");
}

#[test]
fn columns_are_shown_with_their_types() {
    let ended = run(&sqlite(), &["orders", "--columns"]);
    let expected = "\
orders (table, ~2 rows)
  id        INTEGER        int64          not null, default
  customer  INT            int64          not null
  code      VARCHAR(20)    text(20)
  total     DECIMAL(12,2)  decimal(12,2)  default
  primary key (id)
  unique (code)
";
    assert_eq!(ended.exits(0).stdout, expected);
}

#[test]
fn patterns_choose_tables() {
    let workplace = sqlite();
    for (patterns, found) in [
        (&["orders"][..], &["orders"][..]),
        (&["*r*", "!tmp_*"], &["orders"]),
        (&["!big"], &["\"odd.name\"", "orders", "tmp_1"]),
        (&["\"odd.name\""], &["\"odd.name\""]),
        (&["tmp_?"], &["tmp_1"]),
    ] {
        let all = tables(&workplace, &[&["shop"], patterns].concat());
        assert_eq!(names(&all), found, "{patterns:?}");
    }
    let none = run(&workplace, &["orderz", "x_*"]);
    none.exits(4).says("no table of connection `shop` matches `orderz`, `x_*`");
    run(&workplace, &["a.b.c"]).exits(2).says("`a.b.c` is not a pattern of tables: it has more");
    workplace.run(&["discover", "shpo"]).exits(2).says("did you mean `shop`?");
}

#[test]
fn thousands_of_tables_come_page_by_page() {
    let workplace = Workplace::new();
    workplace.put("connections.toml", "[shop]\nplugin = \"sqlite\"\npath = \"shop.db\"\n");
    let all: String = (0..1_201).map(|at| format!("CREATE TABLE t{at:04}(i);")).collect();
    workplace.execute("shop.db", &format!("BEGIN; {all} COMMIT;"));
    for isolation in ["in-process", "process"] {
        let found = tables(&workplace, &["shop", "--isolation", isolation]);
        assert_eq!(found.len(), 1_201);
        let mut sorted = names(&found);
        sorted.dedup();
        assert_eq!((sorted.len(), sorted[1_200]), (1_201, "t1200"));
    }
}

#[test]
fn servers_list_their_schemas_with_columns_keys_and_comments() {
    for product in Product::ALL {
        let workplace = Workplace::new();
        let is_postgres = product == Product::Postgres;
        let comment = match is_postgres {
            true => "; COMMENT ON TABLE orders IS 'what was sold'",
            false => " COMMENT = 'what was sold'",
        };
        let database = Database::new(
            product,
            &format!(
                "CREATE TABLE orders(id BIGINT PRIMARY KEY, code VARCHAR(20) NOT NULL UNIQUE,
                   total DECIMAL(12,2) DEFAULT 0){comment};
                 CREATE TABLE tmp_x(i INT); CREATE VIEW big AS SELECT id FROM orders"
            ),
        );
        workplace.put("connections.toml", format!("[shop]\n{}", database.address(None)));
        let found = tables(&workplace, &["shop", "orders", "big"]);
        assert_eq!(found.len(), 2, "{product:?}: {found:?}");
        let (view, orders) = (&found[0], &found[1]);
        assert_eq!((&view["kind"], &orders["kind"]), (&"view".into(), &"table".into()));
        assert_eq!(orders["comment"], "what was sold", "{product:?}");
        assert!(orders["bytes"].is_u64(), "{product:?}: {orders}");
        let column = &orders["columns"][2];
        assert_eq!((&column["name"], &column["type"]), (&"total".into(), &"decimal(12,2)".into()));
        assert_eq!(column["has_default"], true);
        let key = |at: usize| {
            (orders["keys"][at]["primary"].clone(), orders["keys"][at]["columns"][0].clone())
        };
        assert_eq!(key(0), (true.into(), "id".into()), "{product:?}");
        assert_eq!(key(1), (false.into(), "code".into()), "{product:?}");
        let schema = orders["schema"].as_str().unwrap();
        let in_schema = tables(&workplace, &["shop", &format!("{schema}.*"), "!*.tmp_*"]);
        assert_eq!(in_schema.len(), 2, "{product:?}: {in_schema:?}");
        // The name is what the option `table` takes.
        let name = orders["name"].as_str().unwrap();
        let job = format!(
            "[reader]\nconnection = \"shop\"\ntable = '{name}'\n[writer]\nplugin = \"file\"\npath = \"x.csv\"\n"
        );
        workplace.put("job.toml", job);
        workplace.run(&["plan", "job.toml"]).exits(0);
    }
}

#[test]
fn files_objects_and_generated_rows_are_listed() {
    let workplace = Workplace::new();
    workplace.put("data/a.csv", "id\n1\n");
    workplace.put("data/day=2026-11-21/b.csv", "id\n1\n2\n");
    let folder = workplace.path().join("data");
    workplace.put(
        "connections.toml",
        format!("[lake]\nplugin = \"object-store\"\nurl = \"file://{}\"\n", folder.display()),
    );
    let found = tables(&workplace, &["lake"]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&found[0]["kind"], &found[0]["bytes"]), (&"file".into(), &5.into()));
    let found = tables(&workplace, &["lake", "*/b.csv"]);
    assert!(names(&found)[0].ends_with("data/day=2026-11-21/b.csv"), "{found:?}");
}
