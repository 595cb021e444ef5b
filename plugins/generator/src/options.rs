//! The plugin's options as its own types. Their keys, kinds and defaults are declared in
//! `descriptor`, and the host fills in the defaults. The defaults repeated here serve callers
//! without a host; a test keeps both equal.

use std::collections::BTreeMap;

use serde::Deserialize;
use transload_plugin_api::{
    Column, Error, ErrorKind, Key, LogicalType, Options, Result, SplitAbility,
};

use crate::{preset::Preset, spec::ColumnSpec};

/// The options of the reader.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReaderOptions {
    pub(crate) rows: u64,
    #[serde(default = "one")]
    pub(crate) seed: u64,
    #[serde(default)]
    pub(crate) preset: Preset,
    #[serde(default)]
    specs: BTreeMap<String, String>,
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    primary_key: Vec<String>,
    #[serde(default = "batch_rows")]
    pub(crate) batch_rows: u64,
    #[serde(default)]
    pub(crate) ability: Ability,
    #[serde(default)]
    pub(crate) delay: u64,
    #[serde(default)]
    pub(crate) dirty_every: u64,
    pub(crate) fail_at: Option<u64>,
    pub(crate) lose_at: Option<u64>,
    pub(crate) panic_at: Option<u64>,
}

fn one() -> u64 {
    1
}

fn batch_rows() -> u64 {
    8_192
}

/// What the splits promise, in the words of the job file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ability {
    #[default]
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
        options.parse()
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
            return Err(Error::new(ErrorKind::Options, "there are no columns to generate")
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
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriterOptions {
    pub(crate) table: Option<String>,
    #[serde(default)]
    columns: BTreeMap<String, String>,
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    pub(crate) primary_key: Vec<String>,
    #[serde(default)]
    pub(crate) key_dedup: bool,
    pub(crate) report: Option<std::path::PathBuf>,
    #[serde(default)]
    pub(crate) delay: u64,
    #[serde(default)]
    pub(crate) dirty_every: u64,
    pub(crate) fail_at: Option<u64>,
    pub(crate) panic_at: Option<u64>,
    pub(crate) retry_at: Option<u64>,
    pub(crate) retry_commit_at: Option<u64>,
    pub(crate) commit_unknown_at: Option<u64>,
}

impl WriterOptions {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        options.parse()
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
        Error::new(ErrorKind::Options, error.to_string())
            .at(format!("columns.{name}"))
            .hint("write a target column as `decimal(15,2)` or `int64 not null`")
    })?;
    Ok(Column::new(name, logical, nullable))
}

fn unknown_column(option: &str, name: &str, place: &str) -> Error {
    let message = format!("`{option}` names the column `{name}`, which is not in {place}");
    Error::new(ErrorKind::Options, message)
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
            return Err(Error::new(ErrorKind::Options, message));
        }
    }
    Ok(key_of(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use transload_plugin_api::{OptionKind, OptionSpec};

    use super::*;

    fn reader(pairs: &[(&str, serde_json::Value)]) -> ReaderOptions {
        let pairs = pairs.iter().map(|(key, value)| (*key, value.clone()));
        ReaderOptions::parse(&Options::from_pairs(pairs)).unwrap()
    }

    /// The declared defaults, as the host passes them.
    fn defaults(specs: &[OptionSpec]) -> Vec<(&str, serde_json::Value)> {
        let value = |spec: &OptionSpec| match (&spec.kind, &spec.default) {
            (OptionKind::Duration, Some(_)) => Some(0.into()), // "0 s"
            (_, default) => default.clone(),
        };
        specs.iter().filter_map(|spec| Some((spec.key.as_str(), value(spec)?))).collect()
    }

    #[test]
    fn declared_defaults_are_those_of_the_types() {
        let descriptor = crate::descriptor::descriptor();
        let specs = descriptor.reader.unwrap().options;
        let mut given = defaults(&specs);
        assert!(given.len() > 3);
        given.push(("rows", 1.into()));
        let plain = reader(&[("rows", 1.into())]);
        assert_eq!(format!("{:?}", reader(&given)), format!("{plain:?}"));

        let specs = descriptor.writer.unwrap().options;
        let writer = WriterOptions::parse(&Options::from_pairs(defaults(&specs))).unwrap();
        assert_eq!(format!("{writer:?}"), format!("{:?}", WriterOptions::default()));
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
