//! What a plan would do to the target, checked against the target as it stands. Looks only.

use rusqlite::Connection;
use transload_plugin_api::{
    Column, Error, ErrorKind, Key, LoadMethod, LogicalType, Result, Statement, WriteDraft,
    WriteMode, WritePlan,
};
use transload_tables::{Drafting, TableName, Wording, destructive, plain, replaced_reference};

use crate::{
    catalog::{self, Table, TableColumn, TableKind},
    dialect::SqliteDialect,
    stage,
    types::declared_for,
};

const WORDING: Wording<'static> = Wording {
    overwrite: "the rows are staged, and one transaction replaces the table's content",
    null_key: "NULL equals nothing, so such rows are always inserted",
};

/// The plan by SQLite's rules.
pub(crate) fn drafting(plan: &WritePlan) -> Drafting<'_> {
    Drafting { dialect: &SqliteDialect, plan }
}

/// Drafts the plan. `connection` is `None` where the file is not there yet.
pub(crate) fn draft(
    connection: Option<&Connection>,
    name: &TableName,
    plan: &WritePlan,
) -> Result<WriteDraft> {
    if plan.load == LoadMethod::Copy {
        return Err(Error::new(ErrorKind::Unsupported, "sqlite has no `load = \"copy\"`")
            .hint("leave `load` out, or say \"auto\" or \"insert\""));
    }
    drafting(plan).check_names()?;
    let target = match connection {
        Some(connection) => catalog::find_table(connection, name)?,
        None => None,
    };
    match (connection, target) {
        (Some(connection), Some(target)) => draft_for(connection, &target, plan),
        _ => draft_new(name, plan),
    }
}

/// A plan whose table is made by it.
fn draft_new(name: &TableName, plan: &WritePlan) -> Result<WriteDraft> {
    let drafting = drafting(plan);
    drafting.check_made(&name.table)?;
    drafting.check_key(&[drafting.made_key()])?;
    let mut draft = drafting.made(creation(name, plan)?);
    drafting.finish(&mut draft, drafting.staging(), WORDING);
    Ok(draft)
}

/// A plan for a table that is there.
fn draft_for(connection: &Connection, target: &Table, plan: &WritePlan) -> Result<WriteDraft> {
    if target.kind != TableKind::Table {
        let message = format!("`{}` is not an ordinary table", target.name.table);
        return Err(Error::new(ErrorKind::Unsupported, message).hint("name a table, not a view"));
    }
    let columns: Vec<_> =
        plan.columns.iter().map(|column| accepted(target, plan, column)).collect::<Result<_>>()?;
    let drafting = drafting(plan);
    drafting.check_filled(&target.name.table, &target.columns)?;
    let keys: Vec<Key> = target.keys.iter().map(|key| key.key.clone()).collect();
    drafting.check_key(&keys)?;
    let mut draft = WriteDraft { columns, ..WriteDraft::default() };
    draft.warnings = warnings(connection, target, plan)?;
    let steps = match plan.mode {
        WriteMode::Overwrite => overwrite_steps(connection, target, plan)?,
        _ => Vec::new(),
    };
    drafting.finish(&mut draft, steps, WORDING);
    Ok(draft)
}

/// `CREATE TABLE` for the plan's columns, its key as primary key.
pub(crate) fn creation(name: &TableName, plan: &WritePlan) -> Result<String> {
    drafting(plan).creation(name, |column| declared_for(&column.logical))
}

/// The column as the target takes it: its name and type there.
fn accepted(target: &Table, plan: &WritePlan, column: &Column) -> Result<Column> {
    let drafting = drafting(plan);
    let found = drafting.writable(&target.name.table, &target.columns, &column.name)?;
    let mut taken = found.column.clone();
    taken.inferred = false;
    if !found.typed {
        taken.logical = column.logical.clone();
    }
    if declared_for(&taken.logical).is_none() {
        return Err(drafting.unsupported(column).at(format!("table `{}`", target.name.table)));
    }
    Ok(taken)
}

fn warnings(connection: &Connection, target: &Table, plan: &WritePlan) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let usable = target.keys.iter().filter(|key| !key.key.unusable).count();
    let others = target.keys.len() > 1;
    match plan.mode {
        WriteMode::Upsert | WriteMode::Ignore if others => warnings.push(format!(
            "the target has {} unique keys: a row that conflicts by another than ({}) is dirty",
            target.keys.len(),
            plan.key.join(", ")
        )),
        WriteMode::Replace if usable > 1 => warnings
            .push(format!("the target has {usable} unique keys: one row can replace several")),
        _ => {}
    }
    let triggers = catalog::triggers(connection, &target.name)?;
    if !triggers.is_empty() {
        let how = match plan.mode {
            WriteMode::Overwrite => " for every row deleted and inserted when the job commits",
            _ => "; what they change is not counted",
        };
        warnings.push(format!("triggers of the target run{how}: {}", triggers.join(", ")));
    }
    if matches!(plan.mode, WriteMode::Replace) {
        let referring = catalog::referring_tables(connection, &target.name)?;
        warnings.extend(referring.iter().map(|table| replaced_reference(table)));
    }
    for column in &plan.columns {
        if let Some(found) = target.column(&column.name) {
            warnings.extend(decimal_warning(found, &column.logical));
        }
    }
    Ok(warnings)
}

fn decimal_warning(target: &TableColumn, source: &LogicalType) -> Option<String> {
    let long = |logical: &LogicalType| match logical {
        LogicalType::Decimal { precision, .. } => *precision > 15,
        LogicalType::Numeric => true,
        _ => false,
    };
    let taken = if target.typed { &target.column.logical } else { source };
    (target.affinity.makes_numbers() && long(taken)).then(|| {
        format!(
            "column `{}` is declared `{}`, which SQLite keeps as a double: values of more than \
             15 significant digits are dirty rows",
            target.column.name, target.column.native
        )
    })
}

fn overwrite_steps(
    connection: &Connection,
    target: &Table,
    plan: &WritePlan,
) -> Result<Vec<Statement>> {
    let staging = stage::stage_name(&target.name, &plan.run);
    let mut steps: Vec<_> =
        stage::stage_statements(connection, target, &staging)?.into_iter().map(plain).collect();
    let columns: Vec<_> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let [delete, insert, drop] = stage::publish_statements(&target.name, &staging, &columns);
    steps.push(plain("BEGIN IMMEDIATE".to_owned()));
    steps.push(destructive(delete));
    steps.extend([plain(insert), plain(drop), plain("COMMIT".to_owned())]);
    Ok(steps)
}
