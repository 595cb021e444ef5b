//! All pairs of PostgreSQL, MariaDB, MySQL, SQLite, CSV, JSON lines and Parquet, in both
//! directions, and of databases with files in buckets, on a table with every supported type and
//! edge values. The values in the target are compared with the inserted ones by independent
//! readers. Each value has its own row, so that a value that a store cannot represent makes exactly
//! that row dirty.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

#[path = "pairs/kinds.rs"]
mod kinds;
#[path = "pairs/parquet.rs"]
mod parquet;
#[path = "pairs/stores.rs"]
mod stores;

use kinds::{Kind, Value, kinds};
use serde_json::Value as Json;
use stores::{Place, Row, Store};
use transload_tests::Workplace;
use transload_tests_buckets::Bucket;

/// A source, filled.
struct Source<'a> {
    place: Place,
    kinds: Vec<&'a Kind>,
    /// For each row: the index of its kind, and the value.
    values: Vec<(usize, &'a Value)>,
}

impl<'a> Source<'a> {
    /// All values that a store can provide, in table `all_kinds`.
    fn new(place: Place, all: &'a [Kind]) -> Self {
        let store = place.store;
        let kinds: Vec<_> =
            all.iter().filter(|kind| Kind::native(&kind.gives, store).is_some()).collect();
        let held = |(at, kind): (usize, &&'a Kind)| {
            let kind = *kind;
            kind.values
                .iter()
                .filter(move |value| !value.not_in.contains(&store))
                .map(move |v| (at, v))
        };
        let values: Vec<_> = kinds.iter().enumerate().flat_map(held).collect();
        let source = Self { place, kinds, values };
        let native = |kind: &&Kind| (kind.name, Kind::native(&kind.gives, store).unwrap());
        let columns: Vec<_> = source.kinds.iter().map(native).collect();
        source.place.create("all_kinds", &columns);
        source.place.fill("all_kinds", &source.kinds, &source.rows());
        source
    }

    fn store(&self) -> Store {
        self.place.store
    }

    fn rows(&self) -> Vec<Row> {
        let row = |(id, (at, value)): (usize, &(usize, &Value))| {
            let shown = (self.kinds[*at].shown)(self.store(), &value.text);
            let text = value.entered.clone().unwrap_or(shown);
            (id, self.sparse(&self.kinds, self.kinds[*at], text))
        };
        self.values.iter().enumerate().map(row).collect()
    }

    fn sparse(&self, kinds: &[&Kind], kind: &Kind, text: String) -> Vec<Option<String>> {
        let cell = |other: &&Kind| (other.name == kind.name).then(|| text.clone());
        kinds.iter().map(cell).collect()
    }

    /// The expected rows of a target with these kinds, and the columns of the expected dirty rows.
    fn expected(&self, target: Store, kinds: &[&Kind]) -> (Vec<Row>, Vec<String>) {
        let (mut rows, mut dirty) = (Vec::new(), Vec::new());
        for (id, (at, value)) in self.values.iter().enumerate() {
            let kind = self.kinds[*at];
            let is_written = kinds.iter().any(|other| other.name == kind.name);
            if is_written && value.not_in.contains(&target) {
                dirty.push(kind.name.to_owned());
                continue;
            }
            let text = match kind.kept {
                true => (kind.shown)(self.store(), &value.text),
                false => value.text.clone(),
            };
            rows.push((id, self.sparse(kinds, kind, (kind.shown)(target, &text))));
        }
        dirty.sort();
        (rows, dirty)
    }

    /// A job that copies some columns into a table.
    fn job(&self, kinds: &[&Kind], target: &Place, table: &str, more: &str) -> String {
        let names: Vec<_> = kinds.iter().map(|kind| format!(", \"{}\"", kind.name)).collect();
        // An existing table determines the wanted types.
        let untold = target.store.is_file() || more.contains("create_table");
        let told = |kind: &&&Kind| untold || kind.declared;
        let told = kinds.iter().filter(told);
        let types: Vec<_> =
            told.map(|kind| format!("{} = \"{}\"\n", kind.name, kind.logical)).collect();
        let schema = match self.store().is_text() {
            true => format!("[reader.schema]\nid = \"int64\"\n{}", types.concat()),
            false => String::new(),
        };
        format!(
            "[reader]\n{}columns = [\"id\"{}]\n{schema}[writer]\n{}{more}\
             [channel]\nparallelism = {}\n[dirty]\nmax_rows = 1_000\n",
            self.place.lines("all_kinds"),
            names.concat(),
            target.lines(table),
            target.tasks()
        )
    }
}

/// The columns named by the run's dirty rows, sorted.
fn dirty_columns(workplace: &Workplace, report: &Json) -> Vec<String> {
    let rows = workplace.dirty_rows(report).into_iter();
    let errors = rows.flat_map(|row| row["errors"].as_array().unwrap().clone());
    let name = |error: Json| error["column"].as_str().unwrap_or("no column").to_owned();
    let mut columns: Vec<_> = errors.map(name).collect();
    columns.sort();
    columns
}

/// Runs the job and returns the differences between target and expectation.
fn differences(
    source: &Source,
    target: &Place,
    kinds: &[&Kind],
    table: &str,
    more: &str,
) -> Vec<String> {
    let pair = format!("{} to {}, {table}", source.place.word(), target.word());
    let workplace = Workplace::new();
    workplace.put("job.toml", source.job(kinds, target, table, more));
    let ended = workplace.run(&["run", "job.toml", "--output", "json", "--progress", "none"]);
    if ended.exit != Some(0) {
        return vec![format!("{pair}: exit {:?}: {}", ended.exit, ended.stderr)];
    }
    let report: Json = serde_json::from_str(&ended.stdout).unwrap();
    let (rows, dirty) = source.expected(target.store, kinds);
    let mut differences = Vec::new();
    let found_dirty = dirty_columns(&workplace, &report);
    if found_dirty != dirty || report["rows"]["dirty"] != dirty.len() {
        let rows = &report["rows"];
        differences.push(format!("{pair}: dirty {found_dirty:?} instead of {dirty:?}; {rows}"));
    }
    let found = target.read(table, kinds);
    if found.len() != rows.len() {
        differences.push(format!("{pair}: {} rows instead of {}", found.len(), rows.len()));
    }
    differences.extend(verified(&workplace, &pair, rows.len(), dirty.len()));
    for (id, expected) in &rows {
        let Some((_, cells)) = found.iter().find(|(found, _)| found == id) else {
            let (at, value) = source.values[*id];
            let name = source.kinds[at].name;
            differences.push(format!("{pair}: `{name}` {:?} is missing", value.text));
            continue;
        };
        for ((kind, found), expected) in kinds.iter().zip(cells).zip(expected) {
            if found != expected {
                differences
                    .push(format!("{pair}: `{}` {found:?} instead of {expected:?}", kind.name));
            }
        }
    }
    differences
}

/// What `verify` finds after a run: all rows are equal but those that were dirty.
fn verified(workplace: &Workplace, pair: &str, rows: usize, dirty: usize) -> Option<String> {
    let ended = workplace.run(&["verify", "job.toml", "--output", "json", "--progress", "none"]);
    let result: Json = serde_json::from_str(&ended.stdout).unwrap_or_default();
    let count = |name: &str| result["rows"][name].as_u64().unwrap_or(u64::MAX) as usize;
    let unlike = ["extra", "different", "unreadable"].map(count);
    let is_equal = unlike == [0; 3]
        && count("equal") == rows
        && count("missing").saturating_add(count("refused")) == dirty;
    (!is_equal).then(|| {
        let (found, first, notes) = (&result["rows"], &result["differences"][0], &result["notes"]);
        format!("{pair}: verify finds {found}, {first}, {notes} {}", ended.stderr)
    })
}

/// Columns whose type the target lacks: the plan must refuse them by name.
fn accepted(source: &Source, target: &Place, kinds: &[&Kind], more: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for kind in kinds {
        let workplace = Workplace::new();
        workplace.put("job.toml", source.job(&[kind], target, "refused", more));
        let ended = workplace.run(&["plan", "job.toml"]);
        let refused = matches!(ended.exit, Some(2 | 6));
        if !refused || !ended.stderr.contains(&format!("`{}`", kind.name)) {
            let pair = format!("{} to {}", source.place.word(), target.word());
            wrong.push(format!("{pair}: `{}` is not refused: {ended:?}", kind.name));
        }
    }
    wrong
}

/// From one store into all.
fn from(store: Store) {
    between(Place::new(store), Store::ALL.into_iter().map(Place::new));
}

/// From files in a bucket into all databases.
fn from_bucket(store: Store, bucket: Bucket) {
    let source = Place::in_bucket(store, bucket);
    between(source, Store::DATABASES.into_iter().map(Place::new));
}

/// From a database into files in buckets.
fn into_buckets(store: Store) {
    let in_s3 = Store::FILES.map(|into| Place::in_bucket(into, Bucket::s3()));
    let in_azure = Place::in_bucket(Store::Parquet, Bucket::azure());
    between(Place::new(store), in_s3.into_iter().chain([in_azure]));
}

/// Into tables that the run creates, and into tables of native types.
fn between(source: Place, targets: impl Iterator<Item = Place>) {
    let all = kinds();
    let source = Source::new(source, &all);
    let mut wrong = Vec::new();
    for target in targets {
        let into = target.store;
        let taken = |kind: &&&Kind| Kind::native(&kind.takes, into).is_some();
        let (taken, refused): (Vec<_>, Vec<_>) = source.kinds.iter().partition(|kind| taken(kind));
        let create = if into.is_file() { "" } else { "create_table = true\n" };
        wrong.extend(accepted(&source, &target, &refused, create));
        wrong.extend(differences(&source, &target, &taken, "made", create));
        if !into.is_file() {
            let native = |kind: &&Kind| (kind.name, Kind::native(&kind.takes, into).unwrap());
            target.create("there", &taken.iter().map(native).collect::<Vec<_>>());
            wrong.extend(differences(&source, &target, &taken, "there", ""));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn postgres_to_all() {
    from(Store::Postgres);
}

#[test]
fn mariadb_to_all() {
    from(Store::Mariadb);
}

#[test]
fn mysql_to_all() {
    from(Store::Mysql);
}

#[test]
fn sqlite_to_all() {
    from(Store::Sqlite);
}

#[test]
fn csv_to_all() {
    from(Store::Csv);
}

#[test]
fn json_lines_to_all() {
    from(Store::Jsonl);
}

#[test]
fn parquet_to_all() {
    from(Store::Parquet);
}

#[test]
fn postgres_to_buckets() {
    into_buckets(Store::Postgres);
}

#[test]
fn mysql_to_buckets() {
    into_buckets(Store::Mysql);
}

#[test]
fn sqlite_to_buckets() {
    into_buckets(Store::Sqlite);
}

#[test]
fn csv_in_a_bucket_to_databases() {
    from_bucket(Store::Csv, Bucket::s3());
}

#[test]
fn json_lines_in_a_bucket_to_databases() {
    from_bucket(Store::Jsonl, Bucket::azure());
}

#[test]
fn parquet_in_a_bucket_to_databases() {
    from_bucket(Store::Parquet, Bucket::s3());
}
