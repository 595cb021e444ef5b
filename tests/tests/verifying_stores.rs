//! `transload verify` between all kinds of stores: planted differences are found, none is invented, and
//! stores compute the checksums where they can.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use serde_json::{Value as Json, json};
use transload_tests::{
    Workplace,
    servers::{Database, Product},
    verification::{counts, keys, verified},
};
use transload_tests_buckets::Bucket;

/// A store with a table `s` of `rows` rows, or its files.
enum Store {
    Server(Database),
    Sqlite,
    File(&'static str),
    Bucket(Box<Bucket>, &'static str),
}

impl Store {
    fn server(product: Product) -> Self {
        Self::Server(Database::new(product, ""))
    }

    fn in_bucket(file: &'static str) -> Self {
        Self::Bucket(Box::new(Bucket::s3()), file)
    }

    fn lines(&self, table: &str) -> String {
        match self {
            Self::Server(database) => format!("{}table = \"{table}\"\n", database.address(None)),
            Self::Sqlite => format!("plugin = \"sqlite\"\npath = \"db\"\ntable = \"{table}\"\n"),
            Self::File(name) => format!("plugin = \"file\"\npath = \"{name}\"\n"),
            Self::Bucket(bucket, name) => bucket.lines(name),
        }
    }

    fn execute(&self, workplace: &Workplace, sql: &str) {
        match self {
            Self::Server(database) => database.run(sql),
            Self::Sqlite => workplace.execute("db", sql),
            Self::File(_) | Self::Bucket(..) => panic!("files are not changed"),
        }
    }

    fn word(&self) -> String {
        match self {
            Self::Server(database) => database.server.product.word().to_owned(),
            Self::Sqlite => "sqlite".to_owned(),
            Self::File(name) => (*name).to_owned(),
            Self::Bucket(_, name) => format!("{name} in a bucket"),
        }
    }
}

const COLUMNS: &str = "id BIGINT PRIMARY KEY, amount DECIMAL(12,2), name VARCHAR(40), day DATE, \
                       at TIMESTAMP NULL, n INTEGER";

/// Rows of every kind of value: NULL, empty text, other letters, fractions of a second.
fn csv(rows: u64) -> String {
    let mut text = "id,amount,name,day,at,n\n".to_owned();
    for id in 1..=rows {
        let name = match id % 5 {
            0 => String::new(),
            1 => "\"\"".to_owned(),
            2 => format!("Größe {id}"),
            _ => format!("name {id}"),
        };
        let n = if id % 7 == 0 { String::new() } else { (id % 1000).to_string() };
        let (month, day) = (id % 12 + 1, id % 28 + 1);
        text.push_str(&format!(
            "{id},{}.{:02},{name},2024-{month:02}-{day:02},2024-01-{day:02} 10:00:{:02},{n}\n",
            id * 37 % 10_000,
            id % 100,
            id % 60
        ));
    }
    text
}

/// How many rows a large table has: 1,000,000 in the long run.
fn many() -> u64 {
    std::env::var("TRANSLOAD_VERIFY_ROWS").map_or(50_000, |rows| rows.parse().unwrap())
}

impl Store {
    /// A table of the rows' columns.
    fn create(&self, workplace: &Workplace, table: &str) {
        let at = match self {
            Self::Server(database) if database.server.product != Product::Postgres => {
                "DATETIME NULL"
            }
            _ => "TIMESTAMP NULL",
        };
        let columns = COLUMNS.replace("TIMESTAMP NULL", at);
        // Any other primary key of SQLite may be NULL.
        let columns = match self {
            Self::Sqlite => columns.replace("BIGINT", "INTEGER"),
            _ => columns,
        };
        match self {
            Self::File(_) | Self::Bucket(..) => {}
            _ => self.execute(workplace, &format!("CREATE TABLE {table} ({columns});")),
        }
    }

    fn is_database(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Sqlite)
    }
}

/// Which rows were made to differ, by their ids.
#[derive(Debug, Default, PartialEq)]
struct Planted {
    missing: Vec<i64>,
    extra: Vec<i64>,
    different: Vec<i64>,
}

/// A source and a target with the same rows.
struct Pair {
    workplace: Workplace,
    source: Store,
    target: Store,
    rows: u64,
}

impl Pair {
    fn new(source: Store, target: Store, rows: u64) -> Self {
        let pair = Self { workplace: Workplace::new(), source, target, rows };
        pair.workplace.put("made.csv", csv(rows));
        pair.source.create(&pair.workplace, "s");
        pair.target.create(&pair.workplace, "t");
        let made = Store::File("made.csv");
        pair.put("fill.toml", (&made, "made"), (&pair.source, "s"));
        pair.put("job.toml", (&pair.source, "s"), (&pair.target, "t"));
        pair.workplace.run(&["run", "fill.toml", "-q"]).exits(0);
        pair.workplace.run(&["run", "job.toml", "-q"]).exits(0);
        pair
    }

    fn put(&self, name: &str, (from, read): (&Store, &str), (into, written): (&Store, &str)) {
        let types = match from {
            Store::File(name) | Store::Bucket(_, name) if name.ends_with(".csv") => {
                "[reader.schema]\nid = \"int64\"\namount = \"decimal(12,2)\"\nname = \"text(40)\"\n\
                 day = \"date\"\nat = \"timestamp\"\nn = \"int32\"\n"
            }
            _ => "",
        };
        let (reader, writer) = (from.lines(read), into.lines(written));
        // One object is written by one task.
        let tasks = if matches!(into, Store::Bucket(..)) { 1 } else { 2 };
        let channel = format!("[channel]\nparallelism = {tasks}\n");
        let text = format!("[reader]\n{reader}{types}[writer]\n{writer}{channel}");
        self.workplace.put(name, text);
    }

    fn word(&self) -> String {
        format!("{} to {}", self.source.word(), self.target.word())
    }

    /// Makes `count` rows differ: a third of each kind, or one value for a single one. In the target,
    /// or in the source if the target is a file.
    fn plant(&self, count: u64) -> Planted {
        let step = self.rows / count;
        let mut planted = Planted::default();
        for index in 0..count {
            let id = (index * step + step / 2 + 1) as i64;
            match index % 3 {
                0 => planted.different.push(id),
                1 => planted.missing.push(id),
                _ => planted.extra.push((self.rows + 10 * count + index) as i64),
            }
        }
        let (store, table) = match self.target.is_database() {
            true => (&self.target, "t"),
            false => (&self.source, "s"),
        };
        let list = |ids: &[i64]| ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let mut sql =
            format!("UPDATE {table} SET amount = -1 WHERE id IN ({});", list(&planted.different));
        if !planted.missing.is_empty() {
            sql += &format!("DELETE FROM {table} WHERE id IN ({});", list(&planted.missing));
        }
        for id in &planted.extra {
            sql += &format!("INSERT INTO {table} (id, name) VALUES ({id}, 'planted');");
        }
        store.execute(&self.workplace, &sql);
        if !self.target.is_database() {
            std::mem::swap(&mut planted.missing, &mut planted.extra);
        }
        planted
    }

    /// Verifies, and compares what is found with what was planted.
    fn check(&self, planted: &Planted) -> Json {
        let (ended, result) = verified(&self.workplace, &["--list", "100000"]);
        let word = self.word();
        let Planted { missing, extra, different } = planted;
        let found = Planted {
            missing: keys(&result, "missing"),
            extra: keys(&result, "extra"),
            different: keys(&result, "different"),
        };
        assert_eq!(&found, planted, "{word}");
        let unequal = [missing, extra, different].map(|ids| ids.len() as u64);
        assert_eq!(counts(&result)[1..], unequal, "{word}");
        let source = result["rows"]["source"].as_u64().unwrap();
        assert_eq!(counts(&result)[0], source - unequal[0] - unequal[2], "{word}");
        if !different.is_empty() {
            assert_eq!(result["by_column"], json!({"amount": different.len()}), "{word}");
        }
        self.check_method(&result);
        let is_equal = unequal.iter().sum::<u64>() == 0;
        assert_eq!(ended.exit, Some(if is_equal { 0 } else { 8 }), "{word}: {ended:?}");
        result
    }

    /// Stores that can compute checksums do, and are asked a few times only, however many rows
    /// there are.
    fn check_method(&self, result: &Json) {
        let word = self.word();
        let place = |store: &Store| if store.is_database() { "store" } else { "program" };
        let (source, target) = (place(&self.source), place(&self.target));
        let method = &result["method"];
        assert_eq!(
            (&method["source"], &method["target"]),
            (&json!(source), &json!(target)),
            "{word}"
        );
        let unequal: u64 = counts(result)[1..].iter().sum();
        let queries = method["queries"].as_u64().unwrap();
        let (ours, theirs) = (&method["source_rows_read"], &method["target_rows_read"]);
        let (ours, theirs) = (ours.as_u64().unwrap(), theirs.as_u64().unwrap());
        match (source, target) {
            ("store", "store") => {
                let depth = self.rows.ilog(32) as u64 + 1;
                assert!(queries <= 2 * (1 + depth * unequal), "{word}: {queries} queries");
                // Few rows of a range, read twice.
                let most = 2 * 2_100 * unequal;
                assert!(ours <= most && theirs <= most, "{word}: {ours} and {theirs} rows read");
            }
            ("program", "program") => assert_eq!(queries, 0, "{word}"),
            _ => {
                assert!((1..=2).contains(&queries), "{word}: {queries} queries");
                let asked = if source == "store" { ours } else { theirs };
                assert!(
                    asked <= 2 * (self.rows / 1_000 + 500) * unequal,
                    "{word}: {asked} rows read"
                );
            }
        }
    }

    /// Nothing differs, then what is planted, one after the other.
    fn check_all(&self) {
        self.check(&Planted::default());
        let mut all = Planted::default();
        let count = if self.rows > 10_000 { 1_000 } else { 100 };
        for count in [1, 10, count] {
            // Each time other rows: those before stay as they are.
            let planted = self.plant(count);
            let Planted { missing, extra, different } = planted;
            all.missing.extend(missing);
            all.extra.extend(extra);
            all.different.extend(different);
            for ids in [&mut all.missing, &mut all.extra, &mut all.different] {
                ids.sort_unstable();
                ids.dedup();
            }
            let gone = [&all.missing[..], &all.extra].concat();
            all.different.retain(|id| !gone.contains(id));
            self.check(&all);
        }
    }
}

/// Every value that the stores' checksums depend on, changed alone, is found; and the program's
/// checksums are those of the stores.
#[test]
fn each_column_counts_in_the_checksums_of_stores() {
    use Product::{Mariadb, Mysql, Postgres};
    let changes = [
        "amount = -1",
        "amount = NULL",
        "name = ''",
        "name = 'a+1:b-'",
        "name = 'Größe'",
        "day = '1999-12-31'",
        "at = '2024-02-03 04:05:06'",
        "n = -1",
    ];
    for (source, target) in [
        (Store::server(Postgres), Store::server(Mysql)),
        (Store::server(Mariadb), Store::server(Postgres)),
        (Store::Sqlite, Store::server(Mariadb)),
        (Store::File("in.csv"), Store::server(Postgres)),
        (Store::File("in.csv"), Store::server(Mysql)),
    ] {
        let pair = Pair::new(source, target, 200);
        pair.check(&Planted::default());
        let change = |(index, change): (usize, &&str)| {
            format!("UPDATE t SET {change} WHERE id = {};", 20 * index + 13)
        };
        let sql: Vec<_> = changes.iter().enumerate().map(change).collect();
        pair.target.execute(&pair.workplace, &sql.concat());
        let (_, every) = verified(&pair.workplace, &["--every-row", "--list", "100"]);
        let (_, fast) = verified(&pair.workplace, &["--list", "100"]);
        assert_eq!(every["method"]["queries"], 0);
        let ids: Vec<_> = (0..changes.len() as i64).map(|index| 20 * index + 13).collect();
        assert_eq!(keys(&fast, "different"), ids, "{}", pair.word());
        for field in ["rows", "by_column", "differences"] {
            assert_eq!(every[field], fast[field], "{}", pair.word());
        }
    }
}

/// Keys whose order differs between stores are not divided by it; keys that compare bytes are.
#[test]
fn text_keys_are_compared_whatever_their_collation() {
    let workplace = Workplace::new();
    let postgres = Database::new(Product::Postgres, "");
    let mysql = Database::new(Product::Mysql, "");
    for (collation, folding, way) in [
        ("COLLATE \"C\"", "utf8mb4_bin", "store"),
        ("COLLATE \"C\"", "utf8mb4_0900_ai_ci", "program"),
    ] {
        postgres.run(&format!(
            "DROP TABLE IF EXISTS s; CREATE TABLE s (k VARCHAR(20) {collation} PRIMARY KEY, v INTEGER);
             INSERT INTO s SELECT x || n, n FROM generate_series(1, 100) n, \
                (VALUES ('b'), ('z '), ('é'), ('_')) l(x);"
        ));
        mysql.run(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t \
             (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE {folding} PRIMARY KEY, v INTEGER);"
        ));
        let (from, to) = (postgres.address(None), mysql.address(None));
        let text = format!("[reader]\n{from}table = \"s\"\n[writer]\n{to}table = \"t\"\n");
        workplace.put("job.toml", text);
        workplace.run(&["run", "job.toml", "-q"]).exits(0);
        let (ended, result) = verified(&workplace, &[]);
        ended.exits(0);
        assert_eq!(counts(&result), [400, 0, 0, 0]);
        assert_eq!(result["method"]["target"], way, "{folding}");
        // The same key for the target, another one for the source.
        mysql.run("UPDATE t SET k = 'B7' WHERE k = 'b7'; UPDATE t SET v = 0 WHERE k = 'é9';");
        let (ended, result) = verified(&workplace, &[]);
        ended.exits(8);
        assert_eq!(counts(&result), [398, 1, 1, 1], "{folding}");
    }
}

/// The statements of `--repair` mend the target, whatever the values are.
#[test]
fn a_repair_mends_the_target() {
    use Product::{Mariadb, Mysql, Postgres};
    for (source, target) in [
        (Store::server(Mysql), Store::server(Postgres)),
        (Store::server(Postgres), Store::server(Mariadb)),
        (Store::File("in.csv"), Store::server(Mysql)),
        (Store::server(Postgres), Store::Sqlite),
    ] {
        let pair = Pair::new(source, target, 300);
        let word = pair.word();
        pair.plant(30);
        let odd = "UPDATE t SET name = 'it''s \"so\"' WHERE id = 1; UPDATE t SET day = NULL WHERE id = 2;";
        pair.target.execute(&pair.workplace, odd);
        if pair.source.is_database() {
            let back =
                if pair.source.word() == "postgres" { "E'a\\\\b''; --'" } else { "'a\\\\b''; --'" };
            let sql = format!("UPDATE s SET name = {back} WHERE id = 3;");
            pair.source.execute(&pair.workplace, &sql);
        }
        let ended = pair.workplace.run(&["verify", "job.toml", "--repair", "mend.sql"]);
        assert!(ended.exits(8).stdout.contains("they were not run"), "{word}: {ended:?}");
        let (ended, _) = verified(&pair.workplace, &[]);
        ended.exits(8);
        let sql = pair.workplace.read("mend.sql");
        pair.target.execute(&pair.workplace, &sql);
        let (ended, result) = verified(&pair.workplace, &["--repair", "no.sql"]);
        assert_eq!(ended.exit, Some(0), "{word}: {result}\n{sql}");
        assert!(!pair.workplace.path().join("no.sql").exists());
    }
}

/// Rows of the pairs that are not the large one.
const SOME: u64 = 3_000;

#[test]
fn planted_differences_are_found_between_servers() {
    use Product::{Mariadb, Mysql, Postgres};
    Pair::new(Store::server(Postgres), Store::server(Mariadb), many()).check_all();
    for (source, target) in
        [(Mariadb, Postgres), (Mysql, Mariadb), (Postgres, Postgres), (Postgres, Mysql)]
    {
        Pair::new(Store::server(source), Store::server(target), SOME).check_all();
    }
}

#[test]
fn planted_differences_are_found_between_files_and_databases() {
    use Product::{Mysql, Postgres};
    for (source, target) in [
        (Store::File("in.csv"), Store::server(Postgres)),
        (Store::File("in.parquet"), Store::server(Mysql)),
        (Store::server(Mysql), Store::File("out.parquet")),
        (Store::Sqlite, Store::File("out.csv")),
        (Store::File("in.parquet"), Store::Sqlite),
        (Store::Sqlite, Store::server(Postgres)),
        (Store::server(Postgres), Store::in_bucket("out.parquet")),
        (Store::in_bucket("in.csv"), Store::Sqlite),
    ] {
        Pair::new(source, target, SOME).check_all();
    }
}
