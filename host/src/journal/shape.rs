//! What must be the same when a run continues: what the job says about rows, the plugins, the shape
//! of source and target. Differences are found here, in words; what follows from them is the
//! command's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use transload_plugin_api::{Column, Key, SourceSchema, TargetInfo};

use super::record::RunRecord;
use crate::{job::Job, plan::Plan, stores::Side};

/// What identifies a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceShape {
    /// All columns.
    pub(crate) columns: Vec<Column>,
    /// Primary and unique keys.
    pub(crate) keys: Vec<Key>,
    /// The content, as far as the store knows it without reading.
    pub(crate) fingerprint: Option<String>,
}

impl SourceShape {
    /// The shape of a source.
    pub(crate) fn of(source: &SourceSchema) -> Self {
        let SourceSchema { columns, keys, fingerprint, .. } = source.clone();
        Self { columns, keys, fingerprint }
    }

    /// What has changed since, as sentences.
    fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = column_changes(&self.columns, &now.columns);
        changes.extend(key_change(&self.keys, &now.keys));
        if self.fingerprint != now.fingerprint {
            changes.push("its content is not what it was".to_owned());
        }
        changes
    }
}

/// What has changed at the target since the plan, as sentences. A target that did not exist has been
/// created since, or not.
pub(crate) fn target_changes(plan: &Plan, now: &TargetInfo) -> Vec<String> {
    match (plan.target.exists, now.exists) {
        (true, false) => vec!["it does not exist any more".to_owned()],
        (false, false) => Vec::new(),
        (false, true) => missing(&plan.write.columns, &now.columns),
        (true, true) => {
            let mut changes = column_changes(&plan.target.columns, &now.columns);
            changes.extend(key_change(&plan.target.keys, &now.keys));
            changes
        }
    }
}

/// The columns of the plan that a created target does not have. Files show none.
fn missing(planned: &[Column], now: &[Column]) -> Vec<String> {
    let has = |name: &str| now.is_empty() || now.iter().any(|column| column.name == name);
    let missing = planned.iter().filter(|column| !has(&column.name));
    missing.map(|column| format!("column `{}` is missing", column.name)).collect()
}

fn column_changes(before: &[Column], now: &[Column]) -> Vec<String> {
    let find =
        |columns: &[Column], name: &str| columns.iter().find(|column| column.name == name).cloned();
    let mut changes = Vec::new();
    for column in before {
        let name = &column.name;
        match find(now, name) {
            None => changes.push(format!("column `{name}` is missing")),
            Some(other) if type_of(&other) != type_of(column) => changes.push(format!(
                "column `{name}` was `{}` and is `{}`",
                type_of(column),
                type_of(&other)
            )),
            Some(_) => {}
        }
    }
    let new = now.iter().filter(|column| find(before, &column.name).is_none());
    changes.extend(new.map(|column| format!("column `{}` is new", column.name)));
    if changes.is_empty() && before.iter().map(|c| &c.name).ne(now.iter().map(|c| &c.name)) {
        changes.push("its columns have another order".to_owned());
    }
    changes
}

/// A column's type in the store's own words where it has some, and whether it may be NULL.
fn type_of(column: &Column) -> String {
    let name = match column.native.is_empty() {
        true => column.logical.to_string(),
        false => column.native.clone(),
    };
    if column.nullable { name } else { name + " not null" }
}

/// Keys by their columns: a store may name them anew.
fn key_change(before: &[Key], now: &[Key]) -> Option<String> {
    let sorted = |keys: &[Key]| {
        let mut keys: Vec<_> = keys.iter().map(|key| (key.primary, key.columns.clone())).collect();
        keys.sort();
        keys
    };
    let words = |keys: Vec<(bool, Vec<String>)>| {
        let words = keys.iter().map(|(primary, columns)| {
            let kind = if *primary { "primary" } else { "unique" };
            format!("{kind} ({})", columns.join(", "))
        });
        let words: Vec<_> = words.collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    let (before, now) = (sorted(before), sorted(now));
    (before != now).then(|| format!("its keys were {} and are {}", words(before), words(now)))
}

/// How a plugin differs from the one that the run began with.
pub(crate) fn plugin_change(before: &Side, now: &Side) -> Option<String> {
    if before.plugin != now.plugin || before.sha256 == now.sha256 {
        return None; // another plugin is a change of the job
    }
    Some(match before.version == now.version {
        true => format!("plugin `{}` {} is another build", now.plugin, now.version),
        false => format!("plugin `{}` was {} and is {}", now.plugin, before.version, now.version),
    })
}

/// The hashes of what a job says about rows, by dotted key. Limits, secrets and the names of
/// connections are left out: they may change while a run is stopped.
pub(super) fn job_hashes(job: &Job) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    let mut add = |key: &str, value: Value| {
        if !is_empty(&value) {
            let hash = Sha256::digest(value.to_string());
            let hash = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            hashes.insert(key.to_owned(), hash);
        }
    };
    for (role, side) in [("reader", value(&job.reader)), ("writer", value(&job.writer))] {
        let Value::Object(side) = side else { continue };
        for (key, value) in side {
            match (key.as_str(), value) {
                ("secrets" | "connection", _) => {}
                ("options", Value::Object(mut options)) => {
                    if let Some(Value::Object(values)) = options.remove("values") {
                        for (key, value) in values {
                            add(&format!("{role}.{key}"), value);
                        }
                    }
                    for (key, value) in options {
                        add(&format!("{role}.{key}"), value);
                    }
                }
                (key, value) => add(&format!("{role}.{key}"), value),
            }
        }
    }
    add("map", value(&job.map));
    hashes
}

/// The dotted keys of the job whose values are not those with which the run began.
pub(crate) fn job_changes(run: &RunRecord, job: &Job) -> Vec<String> {
    let (before, now) = (&run.job, job_hashes(job));
    let keys = before.keys().chain(now.keys().filter(|key| !before.contains_key(*key)));
    keys.filter(|key| before.get(*key) != now.get(*key)).cloned().collect()
}

/// What has changed at the source since the run began, as sentences.
pub(crate) fn source_changes(run: &RunRecord, now: &SourceSchema) -> Vec<String> {
    run.source.changes(&SourceShape::of(now))
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    }
}
