//! Generated edge values there and back: from each store into every other one and back into a table
//! of the same types. A row either arrives with all its values, or it is dirty on the way; a column
//! is left out only if the plan refuses it by name, and changes only if the plan warns of it.
//! Between two tables of one store nothing is left out and nothing is dirty.
//!
//! `TRANSLOAD_TEST_SEED` gives other values; the default is 1.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::collections::BTreeMap;

use serde_json::Value;
use transload_tests::{
    Workplace,
    servers::{Database, Product},
    texts::records,
};

const ROWS: u64 = 500;

/// A column of every type that has a text: its name, and its type.
const COLUMNS: &[(&str, &str)] = &[
    ("truth", "boolean"),
    ("i8", "int8"),
    ("i16", "int16"),
    ("i32", "int32"),
    ("i64", "int64"),
    ("u8", "uint8"),
    ("u16", "uint16"),
    ("u32", "uint32"),
    ("u64", "uint64"),
    ("f32", "float32"),
    ("f64", "float64"),
    ("price", "decimal(15,2)"),
    ("exact", "decimal(38,10)"),
    ("vast", "decimal(65,30)"),
    ("unbounded", "numeric"),
    ("words", "text"),
    ("short", "text(40)"),
    ("bytes", "binary"),
    ("day", "date"),
    ("clock", "time"),
    ("second", "time(0)"),
    ("wall", "timestamp"),
    ("fine", "timestamp(9)"),
    ("moment", "timestamptz"),
    ("span", "duration"),
    ("name", "uuid"),
    ("doc", "json"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Postgres,
    Mariadb,
    Mysql,
    Sqlite,
    Csv,
    Jsonl,
    Parquet,
}

const STORES: [Store; 7] = [
    Store::Postgres,
    Store::Mariadb,
    Store::Mysql,
    Store::Sqlite,
    Store::Csv,
    Store::Jsonl,
    Store::Parquet,
];

impl Store {
    fn product(self) -> Option<Product> {
        match self {
            Self::Postgres => Some(Product::Postgres),
            Self::Mariadb => Some(Product::Mariadb),
            Self::Mysql => Some(Product::Mysql),
            _ => None,
        }
    }

    fn extension(self) -> Option<&'static str> {
        match self {
            Self::Csv => Some("csv"),
            Self::Jsonl => Some("jsonl"),
            Self::Parquet => Some("parquet"),
            _ => None,
        }
    }

    /// Whether its files say nothing about types.
    fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Jsonl)
    }
}

/// Where tables of one store are.
struct Place {
    store: Store,
    workplace: Workplace,
    database: Option<Database>,
}

impl Place {
    fn new(store: Store) -> Self {
        let database = store.product().map(|product| Database::new(product, ""));
        Self { store, workplace: Workplace::new(), database }
    }

    /// The lines of `[reader]` or `[writer]` that name a table.
    fn lines(&self, table: &str) -> String {
        let path = |name: &str| self.workplace.path().join(name).display().to_string();
        match (&self.database, self.store.extension()) {
            (Some(database), _) => format!("{}table = \"{table}\"\n", database.address(None)),
            (None, Some(extension)) => {
                format!("plugin = \"file\"\npath = \"{}\"\n", path(&format!("{table}.{extension}")))
            }
            (None, None) => {
                format!("plugin = \"sqlite\"\npath = \"{}\"\ntable = \"{table}\"\n", path("db"))
            }
        }
    }

    /// The lines that name a table to read some columns of.
    fn reads(&self, table: &str, columns: &[Typed]) -> String {
        let names: Vec<_> = columns.iter().map(|(name, _)| format!(", \"{name}\"")).collect();
        let types: Vec<_> =
            columns.iter().map(|(name, it)| format!("{name} = \"{it}\"\n")).collect();
        let schema = match self.store.is_text() {
            true => format!("[reader.schema]\nid = \"int64\"\n{}", types.concat()),
            false => String::new(),
        };
        format!("[reader]\n{}columns = [\"id\"{}]\n{schema}", self.lines(table), names.concat())
    }

    /// The lines that name a table to write; a table of a database is created if `new`.
    fn writes(&self, table: &str, new: bool) -> String {
        let create =
            if new && self.store.extension().is_none() { "create_table = true\n" } else { "" };
        format!("[writer]\n{}{create}", self.lines(table))
    }
}

type Typed = (&'static str, &'static str);

/// The reader of generated rows.
fn generated(rows: u64, columns: &[Typed]) -> String {
    let seed = std::env::var("TRANSLOAD_TEST_SEED").unwrap_or_else(|_| "1".to_owned());
    let specs: Vec<_> = columns
        .iter()
        .map(|(name, logical)| format!("{name} = \"{logical} edge 5% null 5%\"\n"))
        .collect();
    format!(
        "[reader]\nplugin = \"generator\"\nrows = {rows}\nseed = {seed}\n\
         [reader.specs]\nid = \"int64 sequence\"\n{}",
        specs.concat()
    )
}

/// A job that has ended well.
struct Copied {
    columns: Vec<Typed>,
    written: u64,
    dirty: u64,
    /// What the plan has said about values.
    warnings: String,
}

/// Runs a job on these columns; those that the plan refuses by name are left out.
fn copy(what: &str, columns: &[Typed], job: impl Fn(&[Typed]) -> String) -> Copied {
    let workplace = Workplace::new();
    let mut columns = columns.to_vec();
    loop {
        let text = format!("{}[dirty]\nmax_rows = {ROWS}\n", job(&columns));
        workplace.put("job.toml", &text);
        let ended = workplace.run(&["run", "job.toml", "--output", "json", "--progress", "none"]);
        if ended.exit == Some(0) {
            let report: Value = serde_json::from_str(&ended.stdout).unwrap();
            let count = |name: &str| report["rows"][name].as_u64().unwrap();
            return Copied {
                columns,
                written: count("read") - count("dirty"),
                dirty: count("dirty"),
                warnings: report["warnings"].to_string(),
            };
        }
        let before = columns.len();
        columns.retain(|(name, _)| !ended.stderr.contains(&format!("`{name}`")));
        let refused = matches!(ended.exit, Some(2 | 6));
        assert!(refused && columns.len() < before, "{what}: {ended:?}\n{text}");
    }
}

/// The rows of a table by their number, as CSV has them; without columns that CSV does not take.
struct Rows {
    columns: Vec<Typed>,
    by_id: BTreeMap<u64, Vec<Option<String>>>,
}

impl Rows {
    fn of(place: &Place, table: &str, columns: &[Typed]) -> Self {
        let files = Workplace::new();
        let out = files.path().join("out.csv");
        let writer = format!("[writer]\nplugin = \"file\"\npath = \"{}\"\n", out.display());
        let copied =
            copy("show the rows", columns, |columns| place.reads(table, columns) + &writer);
        assert_eq!(copied.dirty, 0, "CSV holds every value");
        let all = records(&files.read("out.csv")).into_iter().skip(1);
        let by_id = all.map(|mut row| (row.remove(0).unwrap().parse().unwrap(), row)).collect();
        Self { columns: copied.columns, by_id }
    }

    fn value(&self, id: u64, name: &str) -> &Option<String> {
        let at = self.columns.iter().position(|(found, _)| *found == name).unwrap();
        &self.by_id[&id][at]
    }
}

/// From one store into all, and back.
fn from(store: Store) {
    let home = Place::new(store);
    let filled = copy(&format!("fill {store:?}"), COLUMNS, |columns| {
        generated(ROWS, columns) + &home.writes("here", true)
    });
    assert!(filled.columns.len() > COLUMNS.len() / 2, "{store:?} takes only {:?}", filled.columns);
    let before = Rows::of(&home, "here", &filled.columns);
    assert_eq!(before.by_id.len() as u64, filled.written);
    let mut wrong = Vec::new();
    for target in STORES {
        wrong.extend(there_and_back(&home, &filled.columns, &before, target));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

fn there_and_back(home: &Place, columns: &[Typed], before: &Rows, target: Store) -> Vec<String> {
    let pair = format!("{:?} to {target:?}", home.store);
    let away = Place::new(target);
    let table = format!("back_{target:?}").to_lowercase();
    if home.store.extension().is_none() {
        copy(&pair, columns, |columns| generated(0, columns) + &home.writes(&table, true));
    }
    let there =
        copy(&pair, columns, |columns| home.reads("here", columns) + &away.writes("there", true));
    let back = copy(&format!("{pair} and back"), &there.columns, |columns| {
        away.reads("there", columns) + &home.writes(&table, false)
    });
    let mut wrong = Vec::new();
    let dirty = there.dirty + back.dirty;
    if home.store == target && (back.columns.len() < columns.len() || dirty > 0) {
        wrong.push(format!("{pair}: {dirty} dirty rows, only the columns {:?}", back.columns));
    }
    let after = Rows::of(home, &table, &back.columns);
    let (found, expected) = (after.by_id.len() as u64, before.by_id.len() as u64 - dirty);
    if found != back.written || found != expected {
        let written = back.written;
        wrong.push(format!("{pair}: {found} rows, {written} written, {expected} expected"));
    }
    // A Parquet file is written anew, in the types of its source.
    let lacks = |name: &str| match target {
        Store::Mysql => matches!(name, "truth" | "name"),
        Store::Mariadb => name == "truth",
        _ => false,
    };
    let typed = |name: &str| home.store != Store::Parquet || !lacks(name);
    for (name, _) in after.columns.iter().filter(|(name, _)| typed(name)) {
        let differ = |id: &&u64| before.value(**id, name) != after.value(**id, name);
        let announced =
            [&there, &back].iter().any(|hop| hop.warnings.contains(&format!("`{name}`")));
        if let Some(id) = after.by_id.keys().find(differ).filter(|_| !announced) {
            let (from, to) = (before.value(*id, name), after.value(*id, name));
            wrong.push(format!("{pair}: `{name}` of row {id}: {from:?} became {to:?}"));
        }
    }
    wrong
}

#[test]
fn postgres() {
    from(Store::Postgres);
}

#[test]
fn mariadb() {
    from(Store::Mariadb);
}

#[test]
fn mysql() {
    from(Store::Mysql);
}

#[test]
fn sqlite() {
    from(Store::Sqlite);
}

#[test]
fn csv() {
    from(Store::Csv);
}

#[test]
fn json_lines() {
    from(Store::Jsonl);
}

#[test]
fn parquet() {
    from(Store::Parquet);
}
