//! The plugin's options: declared once here, for the descriptor and for parsing.

use std::collections::BTreeMap;

use serde::Deserialize;
use transload_plugin_api::{
    Column, Error, Key, LogicalType, OptionKind, OptionSpec, Options, Result, SplitAbility,
};

use crate::{preset::Preset, spec::ColumnSpec};

/// The options of the reader.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReaderOptions {
    pub(crate) rows: u64,
    pub(crate) seed: u64,
    pub(crate) preset: Preset,
    specs: BTreeMap<String, String>,
    order: Vec<String>,
    primary_key: Vec<String>,
    pub(crate) batch_rows: u64,
    pub(crate) ability: Ability,
    pub(crate) delay: u64,
    pub(crate) open_delay: u64,
    pub(crate) dirty_every: u64,
    pub(crate) fail_at: Option<u64>,
    pub(crate) lose_at: Option<u64>,
    pub(crate) panic_at: Option<u64>,
}

/// What the splits promise, in the words of the job file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ability {
    Seekable,
    Replayable,
    Bounded,
    Volatile,
}

impl From<Ability> for SplitAbility {
    fn from(ability: Ability) -> Self {
        match ability {
            Ability::Seekable => Self::Seekable,
            Ability::Replayable => Self::Replayable,
            Ability::Bounded => Self::Bounded,
            Ability::Volatile => Self::Volatile,
        }
    }
}

impl ReaderOptions {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        options.parse(&reader_specs())
    }

    /// The columns to generate: the preset's, each replaced by a spec of the same name, then the
    /// others in the order of `order`, then the rest by name.
    pub(crate) fn specs(&self) -> Result<Vec<ColumnSpec>> {
        let mut left = self.specs.clone();
        let mut specs = Vec::new();
        for (name, preset) in self.preset.columns() {
            let text = left.remove(*name);
            specs.push(ColumnSpec::parse(name, text.as_deref().unwrap_or(preset), self.rows)?);
        }
        for name in &self.order {
            let text = left.remove(name).ok_or_else(|| unknown_column("order", name, "`specs`"))?;
            specs.push(ColumnSpec::parse(name, &text, self.rows)?);
        }
        for (name, text) in &left {
            specs.push(ColumnSpec::parse(name, text, self.rows)?);
        }
        if specs.is_empty() {
            return Err(Error::options("there are no columns to generate")
                .hint("give `specs` or a `preset`"));
        }
        Ok(specs)
    }

    /// The primary key to report: as given, else the preset's, else none.
    pub(crate) fn keys(&self, columns: &[Column]) -> Result<Vec<Key>> {
        let preset = self.preset.key().iter().map(|name| (*name).to_owned()).collect();
        let key = if self.primary_key.is_empty() { preset } else { self.primary_key.clone() };
        primary_key(key, columns)
    }
}

/// The options of the writer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriterOptions {
    pub(crate) table: Option<String>,
    columns: BTreeMap<String, String>,
    order: Vec<String>,
    pub(crate) primary_key: Vec<String>,
    pub(crate) key_dedup: bool,
    pub(crate) report: Option<std::path::PathBuf>,
    pub(crate) delay: u64,
    pub(crate) dirty_every: u64,
    pub(crate) fail_at: Option<u64>,
    pub(crate) panic_at: Option<u64>,
    pub(crate) retry_at: Option<u64>,
    pub(crate) retry_commit_at: Option<u64>,
    pub(crate) commit_unknown_at: Option<u64>,
}

impl WriterOptions {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        options.parse(&writer_specs())
    }

    /// The columns that the target reports; empty if it accepts any.
    pub(crate) fn target_columns(&self) -> Result<Vec<Column>> {
        let mut left = self.columns.clone();
        let mut columns = Vec::new();
        for name in &self.order {
            let text =
                left.remove(name).ok_or_else(|| unknown_column("order", name, "`columns`"))?;
            columns.push(target_column(name, &text)?);
        }
        for (name, text) in &left {
            columns.push(target_column(name, text)?);
        }
        Ok(columns)
    }

    /// The keys that the target reports.
    pub(crate) fn target_keys(&self, columns: &[Column]) -> Result<Vec<Key>> {
        if columns.is_empty() {
            return Ok(key_of(self.primary_key.clone()));
        }
        primary_key(self.primary_key.clone(), columns)
    }
}

/// `int64 not null` as a column of that type.
fn target_column(name: &str, text: &str) -> Result<Column> {
    let text = text.trim();
    let (logical, nullable) = match text.strip_suffix("not null") {
        Some(logical) => (logical, false),
        None => (text, true),
    };
    let logical = logical.parse::<LogicalType>().map_err(|error| {
        Error::options(error.to_string())
            .at(format!("columns.{name}"))
            .hint("write a target column as `decimal(15,2)` or `int64 not null`")
    })?;
    Ok(Column::new(name, logical, nullable))
}

fn unknown_column(option: &str, name: &str, place: &str) -> Error {
    let message = format!("`{option}` names the column `{name}`, which is not in {place}");
    Error::options(message)
}

fn key_of(columns: Vec<String>) -> Vec<Key> {
    if columns.is_empty() {
        return Vec::new();
    }
    vec![Key { name: String::new(), columns, primary: true, unusable: false }]
}

/// A primary key over existing columns that are not nullable.
fn primary_key(key: Vec<String>, columns: &[Column]) -> Result<Vec<Key>> {
    for name in &key {
        let column = columns.iter().find(|column| column.name == *name);
        let column = column.ok_or_else(|| unknown_column("primary_key", name, "the table"))?;
        if column.nullable {
            let message = format!("the key column `{name}` may be NULL");
            return Err(Error::options(message));
        }
    }
    Ok(key_of(key))
}

fn integer(min: i64) -> OptionKind {
    OptionKind::Integer { min, max: i64::MAX }
}

/// The options of the reader.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    // Row numbers are multiplied, so they must stay well below 2^64.
    let rows = OptionKind::Integer { min: 0, max: 1_000_000_000_000_000 };
    let abilities = &["seekable", "replayable", "bounded", "volatile"];
    vec![
        OptionSpec::new("rows", rows, "the number of rows to generate").required(),
        OptionSpec::new("seed", integer(0), "a different seed generates different values")
            .default(1),
        OptionSpec::new(
            "specs",
            OptionKind::Map,
            "column names and specs, such as `decimal(15,2) range 0..100 null 5%`",
        ),
        OptionSpec::new("order", OptionKind::List, "columns to put first, in this order"),
        OptionSpec::new("primary_key", OptionKind::List, "columns to report as the primary key"),
        OptionSpec::choice("preset", &["none", "lineitem"], "a predefined table"),
        OptionSpec::new(
            "batch_rows",
            OptionKind::Integer { min: 1, max: 1_000_000 },
            "the number of rows per batch",
        )
        .default(8_192),
        OptionSpec::choice("ability", abilities, "what splits promise about being read again"),
        OptionSpec::new("delay", OptionKind::Duration, "a pause before each batch").default("0 s"),
        OptionSpec::new("open_delay", OptionKind::Duration, "a pause before a split is opened")
            .default("0 s"),
        OptionSpec::new("dirty_every", integer(0), "every n-th row is dirty; 0: none").default(0),
        OptionSpec::new("fail_at", integer(0), "fail at the row with this number, from 0"),
        OptionSpec::new(
            "lose_at",
            integer(0),
            "lose the connection once at the row with this number, from 0",
        ),
        OptionSpec::new("panic_at", integer(0), "panic at the row with this number, from 0"),
    ]
}

/// The options of the writer.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new(
            "table",
            OptionKind::Text,
            "the name of a table that lives as long as the process; default: a new table",
        ),
        OptionSpec::new(
            "columns",
            OptionKind::Map,
            "columns that the target reports, such as `int64 not null`; default: any",
        ),
        OptionSpec::new("order", OptionKind::List, "columns to put first, in this order"),
        OptionSpec::new("primary_key", OptionKind::List, "the primary key that the target reports"),
        OptionSpec::new("key_dedup", OptionKind::Boolean, "keep rows by key, so keys can conflict")
            .default(false),
        OptionSpec::new(
            "report",
            OptionKind::Path,
            "a JSON file for the number of rows, checksums and NULLs, written when the job commits",
        ),
        OptionSpec::new("delay", OptionKind::Duration, "a pause before each batch").default("0 s"),
        OptionSpec::new("dirty_every", integer(0), "every n-th row of a task is dirty; 0: none")
            .default(0),
        OptionSpec::new("fail_at", integer(0), "fail at this row of a task, from 0"),
        OptionSpec::new("panic_at", integer(0), "panic at this row of a task, from 0"),
        OptionSpec::new(
            "retry_at",
            integer(0),
            "request one replay of the chunk with this number, from 0",
        ),
        OptionSpec::new(
            "retry_commit_at",
            integer(0),
            "request one replay when the chunk with this number, from 0, is committed",
        ),
        OptionSpec::new(
            "commit_unknown_at",
            integer(0),
            "commit the chunk with this number, from 0, and report the outcome as unknown",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use transload_plugin_api::ErrorKind;

    fn reader(pairs: &[(&str, serde_json::Value)]) -> ReaderOptions {
        let pairs = pairs.iter().map(|(key, value)| (*key, value.clone()));
        ReaderOptions::parse(&Options::from_pairs(pairs)).unwrap()
    }

    fn names(options: &ReaderOptions) -> Vec<String> {
        options.specs().unwrap().into_iter().map(|spec| spec.name).collect()
    }

    #[test]
    fn columns_stand_in_the_order_asked_for() {
        let columns = json!({"a": "int8", "b": "int8", "c": "int8"});
        let options = reader(&[("rows", 1.into()), ("specs", columns), ("order", json!(["c"]))]);
        assert_eq!(names(&options), ["c", "a", "b"]);
    }

    #[test]
    fn a_preset_has_its_columns_and_key() {
        let options = reader(&[("rows", 9.into()), ("preset", "lineitem".into())]);
        assert_eq!(names(&options).len(), 16);
        let columns: Vec<_> = options.specs().unwrap().iter().map(ColumnSpec::column).collect();
        assert_eq!(options.keys(&columns).unwrap()[0].columns, ["l_orderkey", "l_linenumber"]);
    }

    #[test]
    fn contradictions_are_refused() {
        let columns = json!({"a": "int8 null 1%"});
        let given = [("rows", 1.into()), ("specs", columns), ("primary_key", json!(["a"]))];
        let options = reader(&given);
        let columns: Vec<_> = options.specs().unwrap().iter().map(ColumnSpec::column).collect();
        assert_eq!(options.keys(&columns).unwrap_err().kind, ErrorKind::Options);
        assert!(reader(&[("rows", 1.into())]).specs().is_err());
        let unknown = Options::from_pairs([("rows", 1), ("row", 1)]);
        assert_eq!(ReaderOptions::parse(&unknown).unwrap_err().kind, ErrorKind::Options);
    }

    #[test]
    fn a_target_has_the_columns_given() {
        let options = Options::from_pairs([
            ("columns", json!({"id": "int64 not null", "name": "text(5)"})),
            ("primary_key", json!(["id"])),
        ]);
        let options = WriterOptions::parse(&options).unwrap();
        let columns = options.target_columns().unwrap();
        assert!(!columns[0].nullable && columns[1].nullable);
        assert_eq!(options.target_keys(&columns).unwrap().len(), 1);
    }
}
