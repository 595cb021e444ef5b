//! Maps source columns to target columns by name and chooses their types. The order of columns does
//! not matter. What happens to their values is `verdict`'s.

use transload_plugin_api::{
    Column, LogicalType, NativeForm, SourceSchema, TargetInfo, TypeSupport, WriteMode, code,
};

use crate::{Error, Exit, Result, error::Errors, job::Job, nearest};

/// The columns chosen, before types are settled.
pub(super) struct Chosen {
    pub(super) pairs: Vec<Pair>,
    pub(super) unmapped: Vec<String>,
}

/// A source column and its target column.
pub(super) struct Pair {
    pub(super) source: Column,
    pub(super) target: Column,
}

/// Adds columns that only the target or the job names to a source that may have more columns than
/// it shows. A source that shows none gets all of them, so that a run without rows succeeds.
/// Otherwise those in which a row without a value gets NULL anyway: not one with a default, and
/// none in an upsert, which would replace the target's value by NULL.
pub(super) fn complete(job: &Job, source: &mut SourceSchema, target: &TargetInfo) {
    let is_mapped = |column: &Column| job.map.iter().any(|(to, _)| *to == column.name);
    let of_target = target.columns.iter().filter(|it| !it.generated && !is_mapped(it));
    let of_target = of_target.filter(|_| job.reader.columns.is_none());
    let more: Vec<_> = if !source.open {
        Vec::new()
    } else if source.columns.is_empty() {
        let any = of_target.clone().any(|column| !column.has_default);
        let of_target = of_target.filter(|column| !(any && column.has_default));
        of_target.map(|it| (&it.name, it.logical.clone())).chain(named(job, target)).collect()
    } else if job.writer.write_mode != WriteMode::Upsert {
        let of_target = of_target.filter(|column| column.nullable && !column.has_default);
        of_target.map(|it| (&it.name, it.logical.clone())).collect()
    } else {
        Vec::new()
    };
    for (name, logical) in more {
        if by_name(&source.columns, name).is_none() {
            source.columns.push(Column { inferred: true, ..Column::new(name, logical, true) });
        }
    }
}

/// The source columns that the job names, in the types of the target's.
fn named<'a>(
    job: &'a Job,
    target: &'a TargetInfo,
) -> impl Iterator<Item = (&'a String, LogicalType)> {
    let mapped = job.map.iter().map(|(to, from)| (from, to));
    let named = mapped.chain(job.reader.columns.iter().flatten().map(|name| (name, name)));
    named.map(|(from, to)| {
        let taker = by_name(&target.columns, to);
        (from, taker.map_or(LogicalType::TEXT, |taker| taker.logical.clone()))
    })
}

/// Pairs columns by the job's `columns` and `map`, otherwise by name.
/// A list goes to a new target without lists as JSON; `types` are those that the writer supports.
pub(super) fn choose(
    job: &Job,
    source: &SourceSchema,
    target: &TargetInfo,
    types: &[TypeSupport],
) -> Result<Chosen, Errors> {
    let (mut pairs, mut errors) = (Vec::new(), Errors::default());
    for column in selected(job, source, &mut errors) {
        for name in target_names(job, &column.name) {
            let taker = taker(job, source, target, &column, &name);
            let Some(mut taker) = errors.keep(taker) else { continue };
            if target.columns.is_empty() {
                taker.logical = held(taker.logical, types);
            }
            pairs.push(Pair { source: column.clone(), target: taker });
        }
    }
    errors.into_result()?;
    refuse_twice(job, &pairs)?;
    refuse_nul(&pairs)?;
    if pairs.is_empty() {
        return Err(nothing_to_move(source).into());
    }
    let unmapped = unfilled(job, &pairs, source, target)?;
    Ok(Chosen { pairs, unmapped })
}

/// The error for a plan without columns, with what the reader leaves out.
fn nothing_to_move(source: &SourceSchema) -> Error {
    if source.open && source.columns.is_empty() {
        // the reader's first note says what it has found instead
        let usual = "the source has no rows that show its columns";
        let found = source.notes.first().map_or(usual, String::as_str);
        let message = format!("{found}, and the target has no columns");
        return Error::new(Exit::Schema, message)
            .code(code::PLAN_EMPTY)
            .of_key("reader")
            .hint("name the columns in [reader.schema]");
    }
    let mut message = "no column is left to move".to_owned();
    if !source.warnings.is_empty() {
        message = format!("{message}: {}", source.warnings.join("; "));
    }
    Error::new(Exit::Schema, message).code(code::PLAN_EMPTY).of_key("reader.columns")
}

/// The source columns to read. Sources of `[map]` must exist even if they are not selected.
fn selected(job: &Job, source: &SourceSchema, errors: &mut Errors) -> Vec<Column> {
    for (to, name) in &job.map {
        errors.keep(find(source, name, &format!("map.{to}")));
    }
    match &job.reader.columns {
        Some(names) => named_columns(names, source, errors),
        None => source.columns.clone(),
    }
}

/// The source columns of these names, which the job's `columns` lists.
pub(crate) fn named_columns(
    names: &[String],
    source: &SourceSchema,
    errors: &mut Errors,
) -> Vec<Column> {
    let named = names.iter().enumerate().filter_map(|(index, name)| {
        errors.keep(find(source, name, &format!("reader.columns[{index}]")))
    });
    named.cloned().collect()
}

/// The key of the job that brings a column into the plan: its entry in `[map]` or in `columns`,
/// otherwise the whole section of the side that lacks something.
pub(super) fn key_of(job: &Job, source: &str, target: &str, otherwise: &str) -> String {
    if job.map.iter().any(|(to, from)| to == target && from == source) {
        return format!("map.{target}");
    }
    let columns = job.reader.columns.iter().flatten();
    match columns.into_iter().position(|name| name.eq_ignore_ascii_case(source)) {
        Some(index) => format!("reader.columns[{index}]"),
        None => otherwise.to_owned(),
    }
}

/// The type itself, or what a list becomes where the writer has no lists.
fn held(logical: LogicalType, types: &[TypeSupport]) -> LogicalType {
    let has = |family: &str| types.iter().any(|support| support.logical == family);
    match logical {
        LogicalType::List(_) if !has("list") && has("json") => LogicalType::Json,
        LogicalType::List(_) if !has("list") => LogicalType::TEXT,
        other => other,
    }
}

/// The source column of this name, which stands under `key` in the job.
fn find<'a>(source: &'a SourceSchema, name: &str, key: &str) -> Result<&'a Column> {
    by_name(&source.columns, name).ok_or_else(|| {
        let names = source.columns.iter().map(|column| column.name.as_str());
        Error::new(Exit::Schema, format!("the source has no column `{name}`"))
            .code(code::PLAN_COLUMN)
            .of_key(key)
            .hint(nearest::advice(name, names, "it has"))
    })
}

/// The column of exactly this name, else the only one whose name differs in case alone.
fn by_name<'a>(columns: &'a [Column], name: &str) -> Option<&'a Column> {
    columns.iter().find(|column| column.name == name).or_else(|| {
        let mut alike = columns.iter().filter(|column| column.name.eq_ignore_ascii_case(name));
        alike.next().filter(|_| alike.next().is_none())
    })
}

/// The target columns of a source column: those that `[map]` gives, else the one of its own name.
fn target_names(job: &Job, source: &str) -> Vec<String> {
    let mapped: Vec<_> =
        job.map.iter().filter(|(_, from)| *from == source).map(|(to, _)| to.clone()).collect();
    if mapped.is_empty() { vec![source.to_owned()] } else { mapped }
}

/// The target column of this name. A target without columns accepts any.
fn taker(
    job: &Job,
    source: &SourceSchema,
    target: &TargetInfo,
    column: &Column,
    name: &str,
) -> Result<Column> {
    if target.columns.is_empty() {
        return Ok(Column { name: name.to_owned(), ..for_new_target(job, source, column) });
    }
    let taker = by_name(&target.columns, name).ok_or_else(|| {
        let names = target.columns.iter().map(|column| column.name.as_str());
        let message = format!("{} has no column `{name}`", target.name);
        let advice = nearest::advice(name, names, "it has");
        let error = Error::new(Exit::Schema, message).code(code::PLAN_COLUMN);
        let error = error.of_key(key_of(job, &column.name, name, "writer"));
        error.hint(format!("{advice}; leave it out with `columns` or rename it in [map]"))
    })?;
    if taker.generated {
        let message = format!("{} generates its column `{name}`", target.name);
        return Err(Error::new(Exit::Schema, message)
            .code(code::PLAN_GENERATED)
            .of_key(key_of(job, &column.name, name, "writer"))
            .hint("leave it out with `columns`"));
    }
    Ok(taker.clone())
}

/// A column of a target that does not exist yet, or that accepts any columns.
fn for_new_target(job: &Job, source: &SourceSchema, column: &Column) -> Column {
    let declared = job.reader.options.schema.iter().find(|declared| declared.name == column.name);
    let in_key = job.writer.key.iter().flatten().any(|name| *name == column.name)
        || source.keys.iter().any(|key| key.primary && key.columns.contains(&column.name));
    Column {
        nullable: column.nullable && !(in_key && job.writer.create_table),
        native: String::new(),
        native_form: None,
        inferred: false,
        generated: false,
        has_default: false,
        logical: declared.unwrap_or(column).logical.clone(),
        name: column.name.clone(),
    }
}

/// Refuses two source columns for one target column.
fn refuse_twice(job: &Job, pairs: &[Pair]) -> Result<()> {
    for (index, pair) in pairs.iter().enumerate() {
        if let Some(other) =
            pairs[..index].iter().find(|other| other.target.name == pair.target.name)
        {
            let message = format!(
                "the source's columns `{}` and `{}` both go to `{}`",
                other.source.name, pair.source.name, pair.target.name
            );
            let key = key_of(job, &pair.source.name, &pair.target.name, "reader");
            return Err(Error::new(Exit::Schema, message)
                .code(code::PLAN_COLUMN)
                .of_key(key)
                .hint("leave one of them out with `columns`, or rename it in [map]"));
        }
    }
    Ok(())
}

/// Refuses names that cannot cross to a plugin, with the column's name as the source has it.
fn refuse_nul(pairs: &[Pair]) -> Result<()> {
    let names = pairs.iter().flat_map(|pair| [&pair.source.name, &pair.target.name]);
    match names.into_iter().find(|name| name.contains('\0')) {
        None => Ok(()),
        Some(name) => {
            Err(Error::new(Exit::Schema, format!("the name of column `{name}` contains a NUL"))
                .code(code::PLAN_COLUMN)
                .of_key("reader")
                .hint("rename it in the source, or name the columns to read: columns = [\"...\"]"))
        }
    }
}

/// The columns left over on both sides.
///
/// # Errors
/// If a target column needs a value and is not filled.
fn unfilled(
    job: &Job,
    pairs: &[Pair],
    source: &SourceSchema,
    target: &TargetInfo,
) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for column in &source.columns {
        if !pairs.iter().any(|pair| pair.source.name == column.name) {
            left.push(format!("source column `{}` is not read", column.name));
        }
    }
    for column in target.columns.iter().filter(|column| !column.generated) {
        if pairs.iter().any(|pair| pair.target.name == column.name) {
            continue;
        }
        if !column.nullable && !column.has_default {
            let message = format!(
                "{} needs a value in column `{}`, and no column of the source fills it",
                target.name, column.name
            );
            return Err(Error::new(Exit::Schema, message)
                .code(code::PLAN_UNFILLED)
                .of_key(if job.map.is_empty() { "writer" } else { "map" })
                .hint("map a source column to it in [map], or give it a default in the target"));
        }
        let by = if column.has_default { "its default" } else { "NULL" };
        left.push(format!("target column `{}` gets {by}", column.name));
    }
    Ok(left)
}

/// The form in which the reader offers the source's values, unless the job declares their type.
pub(super) fn offered(job: &Job, source: &Column) -> Option<NativeForm> {
    let is_declared = job.reader.options.schema.iter().any(|column| column.name == source.name);
    source.native_form.clone().filter(|_| !is_declared)
}

/// The columns to request from the reader: in the types that the job declares, else in those that the
/// writer accepts.
pub(super) fn wanted(job: &Job, chosen: &Chosen, accepted: &[Column]) -> Vec<Column> {
    let want = |(pair, accepted): (&Pair, &Column)| {
        let declared =
            job.reader.options.schema.iter().find(|column| column.name == pair.source.name);
        Column {
            logical: declared.map_or(&accepted.logical, |column| &column.logical).clone(),
            ..pair.source.clone()
        }
    };
    chosen.pairs.iter().zip(accepted).map(want).collect()
}
