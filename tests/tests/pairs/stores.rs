//! How the test itself fills and reads each store, without the plugins: servers through their
//! clients, SQLite through its library, files as text.

use rusqlite::types::{Value as Cell, ValueRef};
use transload_tests::{
    Workplace,
    servers::{Database, Product},
    texts,
};
use transload_tests_buckets::Bucket;

use super::{kinds::Kind, parquet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Postgres,
    Mariadb,
    Mysql,
    Sqlite,
    Csv,
    Jsonl,
    Parquet,
}

impl Store {
    pub(crate) const ALL: [Self; 7] = [
        Self::Postgres,
        Self::Mariadb,
        Self::Mysql,
        Self::Sqlite,
        Self::Csv,
        Self::Jsonl,
        Self::Parquet,
    ];
    pub(crate) const DATABASES: [Self; 4] =
        [Self::Postgres, Self::Mariadb, Self::Mysql, Self::Sqlite];
    pub(crate) const FILES: [Self; 3] = [Self::Csv, Self::Jsonl, Self::Parquet];

    pub(crate) fn is_file(self) -> bool {
        Self::FILES.contains(&self)
    }

    /// Whether it is a file format without types.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Jsonl)
    }

    fn product(self) -> Option<Product> {
        match self {
            Self::Postgres => Some(Product::Postgres),
            Self::Mariadb => Some(Product::Mariadb),
            Self::Mysql => Some(Product::Mysql),
            _ => None,
        }
    }
}

/// A row's number, and its texts, one per kind.
pub(crate) type Row = (usize, Vec<Option<String>>);

/// Types that PostgreSQL needs to have created.
const TYPES: &str = "CREATE TYPE mood AS ENUM ('it''s, so', 'b', 'é');";

/// A location for tables in a store.
pub(crate) struct Place {
    pub(crate) store: Store,
    workplace: Workplace,
    database: Option<Database>,
    /// The bucket with the files, if they are not in the workplace.
    bucket: Option<Bucket>,
}

impl Place {
    pub(crate) fn new(store: Store) -> Self {
        let types = if store == Store::Postgres { TYPES } else { "" };
        let database = store.product().map(|product| Database::new(product, types));
        Self { store, workplace: Workplace::new(), database, bucket: None }
    }

    /// A location for files in a bucket.
    pub(crate) fn in_bucket(store: Store, bucket: Bucket) -> Self {
        Self { bucket: Some(bucket), ..Self::new(store) }
    }

    /// How many tasks may write a table: an object is written by one.
    pub(crate) fn tasks(&self) -> u32 {
        if self.bucket.is_some() { 1 } else { 2 }
    }

    /// Its name in messages.
    pub(crate) fn word(&self) -> String {
        let place = self.bucket.as_ref().map(|bucket| format!(" in {:?}", bucket.kind));
        format!("{:?}{}", self.store, place.unwrap_or_default())
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("a server")
    }

    fn file(&self, table: &str) -> String {
        let ending = match self.store {
            Store::Csv => "csv",
            Store::Jsonl => "jsonl",
            _ => "parquet",
        };
        format!("{table}.{ending}")
    }

    /// The job's lines for a table here.
    pub(crate) fn lines(&self, table: &str) -> String {
        let path = |name: &str| self.workplace.path().join(name).display().to_string();
        match self.store {
            Store::Sqlite => {
                format!("plugin = \"sqlite\"\npath = \"{}\"\ntable = \"{table}\"\n", path("db"))
            }
            store if store.is_file() => match &self.bucket {
                Some(bucket) => bucket.lines(&self.file(table)),
                None => format!("plugin = \"file\"\npath = \"{}\"\n", path(&self.file(table))),
            },
            _ => format!("{}table = \"{table}\"\n", self.database().address(None)),
        }
    }

    fn execute(&self, sql: &str) {
        match &self.database {
            Some(database) => database.run(sql),
            None => self.workplace.execute("db", sql),
        }
    }

    /// Creates a table with columns of the given native types.
    pub(crate) fn create(&self, table: &str, columns: &[(&str, &str)]) {
        if !self.store.is_file() {
            let columns: Vec<_> =
                columns.iter().map(|(name, native)| format!(", {name} {native}")).collect();
            let columns = columns.concat();
            self.execute(&format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY{columns});"));
        }
    }

    /// Fills a table with rows.
    pub(crate) fn fill(&self, table: &str, kinds: &[&Kind], rows: &[Row]) {
        match self.store {
            Store::Csv => self.put(table, csv(kinds, rows)),
            Store::Jsonl => self.put(table, jsonl(kinds, rows)),
            Store::Parquet => self.write_parquet(table, kinds, rows),
            Store::Sqlite => self.insert(table, kinds, rows),
            _ => {
                let row = |(id, cells): &Row| {
                    let cells =
                        kinds.iter().zip(cells).map(|(kind, cell)| self.literal(kind, cell));
                    format!("({id}, {})", cells.collect::<Vec<_>>().join(", "))
                };
                let rows: Vec<_> = rows.iter().map(row).collect();
                self.execute(&format!("INSERT INTO {table} VALUES {};", rows.join(",\n")));
            }
        }
    }

    fn put(&self, table: &str, content: impl AsRef<[u8]>) {
        let file = self.file(table);
        match &self.bucket {
            Some(bucket) => bucket.put(&file, content.as_ref()),
            None => drop(self.workplace.put(&file, content)),
        }
    }

    fn content(&self, table: &str) -> Vec<u8> {
        let file = self.file(table);
        match &self.bucket {
            Some(bucket) => bucket.get(&file),
            None => std::fs::read(self.workplace.path().join(file)).expect("a file"),
        }
    }

    fn write_parquet(&self, table: &str, kinds: &[&Kind], rows: &[Row]) {
        let file = self.workplace.path().join("written.parquet");
        let columns: Vec<_> = std::iter::once(("id", "int64"))
            .chain(kinds.iter().map(|kind| (kind.name, kind.logical)))
            .collect();
        let row = |(id, cells): &Row| {
            std::iter::once(Some(id.to_string())).chain(cells.iter().cloned()).collect()
        };
        parquet::write(&file, &columns, &rows.iter().map(row).collect::<Vec<_>>());
        self.put(table, std::fs::read(file).expect("a file"));
    }

    fn read_parquet(&self, table: &str, kinds: &[&Kind]) -> Vec<Row> {
        let file = self.workplace.put("read.parquet", self.content(table));
        let (found, rows) = parquet::read(&file);
        assert_eq!(found, names(kinds));
        rows.into_iter().map(row).collect()
    }

    fn text(&self, table: &str) -> String {
        String::from_utf8(self.content(table)).expect("UTF-8")
    }

    fn literal(&self, kind: &Kind, cell: &Option<String>) -> String {
        let Some(text) = cell else { return "NULL".to_owned() };
        if self.store == Store::Postgres {
            let mark = if kind.logical == "binary" { "\\x" } else { "" };
            return format!("'{mark}{}'", text.replace('\'', "''"));
        }
        match kind.logical {
            "binary" => format!("X'{text}'"),
            _ => format!("_utf8mb4 X'{}'", texts::hex(text.as_bytes())),
        }
    }

    fn insert(&self, table: &str, kinds: &[&Kind], rows: &[Row]) {
        let connection = self.workplace.connect("db");
        let marks = ", ?".repeat(kinds.len());
        let sql = format!("INSERT INTO {table} VALUES (?{marks})");
        let mut statement = connection.prepare(&sql).expect("a statement");
        let transaction = connection.unchecked_transaction().expect("a transaction");
        for (id, cells) in rows {
            let cells = kinds.iter().zip(cells).map(|(kind, cell)| sqlite_cell(kind, cell));
            let cells = std::iter::once(Cell::from(*id as i64)).chain(cells);
            statement.execute(rusqlite::params_from_iter(cells)).expect("a row");
        }
        transaction.commit().expect("a commit");
    }

    /// The content of a table, as the store's own client shows it.
    pub(crate) fn read(&self, table: &str, kinds: &[&Kind]) -> Vec<Row> {
        let mut rows = match self.store {
            Store::Csv => self.read_csv(table, kinds),
            Store::Jsonl => self.read_jsonl(table, kinds),
            Store::Parquet => self.read_parquet(table, kinds),
            Store::Sqlite => self.read_sqlite(table, kinds),
            _ => {
                let expressions: Vec<_> = std::iter::once("id".to_owned())
                    .chain(kinds.iter().map(|kind| self.expression(kind)))
                    .collect();
                self.database().texts(table, &expressions).into_iter().map(row).collect()
            }
        };
        for (_, cells) in &mut rows {
            for (kind, cell) in kinds.iter().zip(cells) {
                *cell = cell.take().map(|text| (kind.settled)(self.store, text));
            }
        }
        rows.sort();
        rows
    }

    fn expression(&self, kind: &Kind) -> String {
        let name = kind.name;
        match (self.store, kind.logical) {
            (Store::Postgres, "binary") => format!("encode({name}, 'hex')"),
            (Store::Postgres, _) => name.to_owned(),
            (_, "binary" | "uuid") => format!("LOWER(HEX({name}))"),
            // A client receives six digits of a FLOAT, which has up to nine.
            (_, "float32") => format!("CAST({name} AS DOUBLE)"),
            _ => name.to_owned(),
        }
    }

    fn read_csv(&self, table: &str, kinds: &[&Kind]) -> Vec<Row> {
        let mut records = texts::records(&self.text(table)).into_iter();
        let head: Vec<_> = records.next().expect("a header").into_iter().flatten().collect();
        assert_eq!(head, names(kinds));
        records.map(row).collect()
    }

    fn read_jsonl(&self, table: &str, kinds: &[&Kind]) -> Vec<Row> {
        let text = self.text(table);
        let line = |line: &str| {
            let (keys, values): (Vec<_>, Vec<_>) = texts::members(line).into_iter().unzip();
            assert_eq!(keys, names(kinds));
            let bare = std::iter::once(true).chain(kinds.iter().map(|kind| kind.bare));
            let cell = |(bare, text): (bool, String)| match bare || text == "null" {
                true => (text != "null").then_some(text),
                false => Some(serde_json::from_str(&text).expect("a string")),
            };
            row(bare.zip(values).map(cell).collect())
        };
        text.lines().map(line).collect()
    }

    fn read_sqlite(&self, table: &str, kinds: &[&Kind]) -> Vec<Row> {
        let connection = self.workplace.connect("db");
        let names = names(kinds).join(", ");
        let mut statement =
            connection.prepare(&format!("SELECT {names} FROM {table}")).expect("a query");
        let rows = statement.query_map([], |found| {
            let cell = |at| found.get_ref(at).map(|value| sqlite_text(&value));
            Ok(row((0..=kinds.len()).map(cell).collect::<Result<_, _>>()?))
        });
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }
}

fn names(kinds: &[&Kind]) -> Vec<&'static str> {
    std::iter::once("id").chain(kinds.iter().map(|kind| kind.name)).collect()
}

fn row(cells: Vec<Option<String>>) -> Row {
    let mut cells = cells.into_iter();
    let id = cells.next().flatten().and_then(|id| id.parse().ok());
    (id.expect("a number"), cells.collect())
}

fn csv(kinds: &[&Kind], rows: &[Row]) -> String {
    let mut text = names(kinds).join(",") + "\n";
    for (id, cells) in rows {
        let cells: Vec<_> = std::iter::once(Some(id.to_string())).chain(cells.clone()).collect();
        text.push_str(&texts::record(&cells));
    }
    text
}

fn jsonl(kinds: &[&Kind], rows: &[Row]) -> String {
    let mut text = String::new();
    for (id, cells) in rows {
        text.push_str(&format!("{{\"id\": {id}"));
        for (kind, cell) in kinds.iter().zip(cells) {
            let value = match cell {
                None => "null".to_owned(),
                Some(cell) if kind.bare => cell.clone(),
                Some(cell) => serde_json::to_string(cell).expect("a string"),
            };
            text.push_str(&format!(", \"{}\": {value}", kind.name));
        }
        text.push_str("}\n");
    }
    text
}

fn sqlite_cell(kind: &Kind, cell: &Option<String>) -> Cell {
    let Some(text) = cell else { return Cell::Null };
    match kind.logical {
        "binary" => Cell::Blob(texts::bytes(text)),
        "float32" | "float64" => Cell::Real(text.parse().expect("a number")),
        _ => Cell::Text(text.clone()), // the column's affinity converts numbers
    }
}

fn sqlite_text(value: &ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(format!("{number:?}")),
        ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).expect("UTF-8")),
        ValueRef::Blob(bytes) => Some(texts::hex(bytes)),
    }
}
