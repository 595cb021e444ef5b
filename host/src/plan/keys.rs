//! Chooses the key that decides conflicts, and checks it and the write mode against the target.

use transload_plugin_api::{
    Column, Key, KeyNeed, SourceSchema, TargetInfo, WriteMode, WriteModeSpec, code,
};

use super::{Mapping, schema};
use crate::{Error, Exit, Result, job::Job, nearest, stores::Stores};

/// The mode and key of a plan.
pub(super) struct Chosen {
    pub(super) mode: WriteMode,
    pub(super) columns: Vec<String>,
    pub(super) update_columns: Vec<String>,
}

/// Chooses the key: the job's, else the target's primary key, else (for a table to be created)
/// the source's primary key.
pub(super) fn choose(
    job: &Job,
    needs: KeyNeed,
    source: &SourceSchema,
    target: &TargetInfo,
    chosen: &schema::Chosen,
) -> Result<Chosen> {
    let written: Vec<&Column> = chosen.pairs.iter().map(|pair| &pair.target).collect();
    for (index, name) in job.writer.key.iter().flatten().enumerate() {
        if !written.iter().any(|column| column.name == *name) {
            let names = written.iter().map(|column| column.name.as_str());
            return Err(Error::new(Exit::Schema, format!("key column `{name}` is not written"))
                .code(code::PLAN_KEY)
                .of_key(format!("writer.key[{index}]"))
                .hint(nearest::advice(name, names, "columns written:")));
        }
    }
    let columns = key(job, needs, source, target, chosen);
    let mode = job.writer.write_mode;
    let update_columns = update_columns(job, mode, &columns, &written)?;
    let needed = needs != KeyNeed::Nothing || !target.exists;
    Ok(Chosen { mode, columns: if needed { columns } else { Vec::new() }, update_columns })
}

/// The source's columns by which one of its rows is found again, all of them read: those of its own
/// key, else those that make the target's key.
pub(super) fn of_rows(
    source: &[Key],
    chosen: &[String],
    target: &[Key],
    mapping: &[Mapping],
) -> Vec<String> {
    let is_read = |name: &String| mapping.iter().any(|it| it.source.name == *name);
    let usable = |key: &&Key| !key.unusable && key.columns.iter().all(is_read);
    let own = source.iter().filter(usable).max_by_key(|key| key.primary);
    if let Some(key) = own {
        return key.columns.clone();
    }
    let from = |name: &String| {
        let mapping = mapping.iter().find(|it| it.target.name == *name)?;
        Some(mapping.source.name.clone())
    };
    let read = |names: &[String]| names.iter().map(from).collect::<Option<Vec<_>>>();
    let of_target = target.iter().filter(|key| key.primary && !key.unusable);
    let candidates = std::iter::once(chosen).chain(of_target.map(|key| key.columns.as_slice()));
    candidates.filter_map(read).find(|names| !names.is_empty()).unwrap_or_default()
}

/// The columns of the key.
fn key(
    job: &Job,
    needs: KeyNeed,
    source: &SourceSchema,
    target: &TargetInfo,
    chosen: &schema::Chosen,
) -> Vec<String> {
    if let Some(key) = &job.writer.key {
        return key.clone();
    }
    let usable = |key: &&Key| !key.unusable;
    if let Some(key) = target.keys.iter().filter(usable).find(|key| key.primary) {
        return key.columns.clone();
    }
    if target.exists {
        // A single unique key is unambiguous too.
        let mut unique = target.keys.iter().filter(usable);
        return match (needs, unique.next(), unique.next()) {
            (KeyNeed::UniqueKey, Some(key), None) => key.columns.clone(),
            _ => Vec::new(),
        };
    }
    let primary = source.keys.iter().find(|key| key.primary);
    let renamed = |name: &String| {
        let pair = chosen.pairs.iter().find(|pair| pair.source.name == *name)?;
        Some(pair.target.name.clone())
    };
    primary.and_then(|key| key.columns.iter().map(renamed).collect()).unwrap_or_default()
}

/// The target must enforce the key; a target that is to be created will, and so does a writer whose
/// store knows no keys. A writer that knows keys has refused the plan before, with a better hint.
pub(super) fn check(
    stores: &Stores,
    spec: &WriteModeSpec,
    columns: &[String],
    source: &SourceSchema,
    target: &TargetInfo,
) -> Result<()> {
    if spec.needs == KeyNeed::Nothing {
        return Ok(());
    }
    let mode = spec.mode.word();
    if stores.job_names_key() {
        return if columns.is_empty() { Err(unnamed(mode, source, target)) } else { Ok(()) };
    }
    if columns.is_empty() {
        let message =
            format!("write mode `{mode}` needs a key, and {} has no suitable one", target.name);
        return Err(Error::new(Exit::Schema, message)
            .code(code::PLAN_KEY)
            .of_key("writer.key")
            .hint("name the key's columns: key = [\"...\"]"));
    }
    let same = |key: &Key| {
        key.columns.len() == columns.len() && columns.iter().all(|name| key.columns.contains(name))
    };
    let fits = |key: &&Key| {
        same(key) && !key.unusable && (key.primary || spec.needs == KeyNeed::UniqueKey)
    };
    if !target.exists || target.keys.iter().any(|key| fits(&key)) {
        return Ok(());
    }
    let what = if spec.needs == KeyNeed::PrimaryKey { "primary key" } else { "unique key" };
    let message = format!("{} has no {what} over exactly ({})", target.name, columns.join(", "));
    let keys: Vec<_> =
        target.keys.iter().map(|key| format!("({})", key.columns.join(", "))).collect();
    let there =
        if keys.is_empty() { "it has none".into() } else { format!("it has {}", keys.join(", ")) };
    Err(Error::new(Exit::Schema, message).code(code::PLAN_KEY).of_key("writer.key").hint(there))
}

/// The job names no key, and the store knows none.
fn unnamed(mode: &str, source: &SourceSchema, target: &TargetInfo) -> Error {
    let message =
        format!("write mode `{mode}` needs a key, and {} has none of its own", target.name);
    let primary = source.keys.iter().find(|key| key.primary && !key.unusable);
    let names = primary.map_or_else(|| vec!["...".to_owned()], |key| key.columns.clone());
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    Error::new(Exit::Schema, message)
        .code(code::PLAN_KEY)
        .of_key("writer.key")
        .hint(format!("name the key's columns: key = [{}]", names.join(", ")))
}

/// The columns that an upsert updates: those of the job, else all except the key.
fn update_columns(
    job: &Job,
    mode: WriteMode,
    key: &[String],
    written: &[&Column],
) -> Result<Vec<String>> {
    if mode != WriteMode::Upsert {
        return Ok(Vec::new());
    }
    let Some(named) = &job.writer.update_columns else {
        let rest = written.iter().filter(|column| !key.contains(&column.name));
        return Ok(rest.map(|column| column.name.clone()).collect());
    };
    for (index, name) in named.iter().enumerate() {
        if !written.iter().any(|column| column.name == *name) {
            let names = written.iter().map(|column| column.name.as_str());
            return Err(Error::new(Exit::Schema, format!("update column `{name}` is not written"))
                .code(code::PLAN_KEY)
                .of_key(format!("writer.update_columns[{index}]"))
                .hint(nearest::advice(name, names, "columns written:")));
        }
    }
    Ok(named.clone())
}
