//! `[incremental]`: which rows are new since the last run. Values are read as texts here, because
//! their type is known only when the source is open.

use serde::{Deserialize, Serialize};

use super::{
    document::{Entry, Value},
    problem::{Problem, Problems},
    section::{Section, missing_key},
    value,
};

/// What is done with rows that have no value in the column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnNull {
    /// The plan is refused.
    #[default]
    Fail,
    /// They are counted and not read.
    Skip,
    /// Every run reads all of them.
    Load,
}

pub(super) const ON_NULL: &[&str] = &["fail", "skip", "load"];

/// How far before the watermark a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lookback {
    /// Of a column of numbers.
    Number(u64),
    /// Of a column of dates or times, in milliseconds.
    Time(u64),
}

/// A job that reads what is new since its last run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incremental {
    /// The source's column whose values grow.
    pub(crate) column: String,
    /// Columns that order rows of the same value.
    pub(crate) key: Vec<String>,
    /// The first value of the first run; `None`: all rows.
    pub(crate) start: Option<String>,
    /// Rows of the last run that are read again.
    pub(crate) lookback: Option<Lookback>,
    /// Rows without a value.
    pub(crate) on_null: OnNull,
}

pub(super) fn read(top: &Section<'_>, problems: &mut Problems) -> Option<Incremental> {
    let section = top.section("incremental", problems)?;
    let column = section.read("column", problems, value::text);
    if column.is_none() && !section.has("column") {
        problems.add(missing_key("column", "[incremental]", &section.place));
    }
    let key = section.read("key", problems, value::names).unwrap_or_default();
    let start = section.read("start", problems, start);
    let lookback = section.read("lookback", problems, lookback);
    let on_null = section.read("on_null", problems, |entry| value::choice(entry, ON_NULL));
    let on_null = match on_null {
        Some("skip") => OnNull::Skip,
        Some("load") => OnNull::Load,
        _ => OnNull::Fail,
    };
    section.refuse_rest(problems);
    Some(Incremental { column: column?, key, start, lookback, on_null })
}

fn start(entry: &Entry) -> Result<String, Problem> {
    match &entry.node.value {
        Value::Integer(number) => Ok(number.to_string()),
        _ => value::text(entry),
    }
}

fn lookback(entry: &Entry) -> Result<Lookback, Problem> {
    match &entry.node.value {
        Value::Integer(number) if *number >= 0 => Ok(Lookback::Number(number.unsigned_abs())),
        _ => value::duration(entry).map(Lookback::Time),
    }
}
