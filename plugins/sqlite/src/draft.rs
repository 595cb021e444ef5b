//! What a plan would do to the target, checked against the target as it stands. Looks only.

use rusqlite::Connection;
use transload_plugin_api::{
    Column, Error, ErrorKind, Guarantee, Key, LoadMethod, LogicalType, Result, Statement,
    WriteDraft, WriteMode, WritePlan,
};
use transload_sql::{ColumnDefinition, TableName, create_table};

use crate::{
    catalog::{self, Table, TableColumn, TableKind},
    dialect::SqliteDialect,
    load::updated_columns,
    stage,
    types::declared_for,
};

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
    check_names(plan)?;
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
    if !plan.create_table {
        let message = format!("there is no table `{}`", name.table);
        return Err(Error::new(ErrorKind::NotFound, message)
            .hint("`create_table = true` makes it from the source's columns"));
    }
    let made =
        Key { name: String::new(), columns: plan.key.clone(), primary: true, unusable: false };
    check_key(plan, &[made])?;
    let mut draft = WriteDraft { columns: plan.columns.clone(), ..WriteDraft::default() };
    for column in &mut draft.columns {
        column.nullable = column.nullable && !is_key(plan, &column.name);
    }
    let create = creation(name, plan)?;
    let steps = match plan.mode {
        WriteMode::Overwrite => {
            vec![plain("load the rows into a stage table, then move them".to_owned())]
        }
        _ => Vec::new(),
    };
    finish(&mut draft, plan, vec![plain(create)], steps);
    Ok(draft)
}

/// A plan for a table that is there.
fn draft_for(connection: &Connection, target: &Table, plan: &WritePlan) -> Result<WriteDraft> {
    if target.kind != TableKind::Table {
        let message = format!("`{}` is not an ordinary table", target.name.table);
        return Err(Error::new(ErrorKind::Unsupported, message).hint("name a table, not a view"));
    }
    let columns: Vec<_> =
        plan.columns.iter().map(|column| accepted(target, column)).collect::<Result<_>>()?;
    check_filled(target, plan)?;
    let keys: Vec<Key> = target.keys.iter().map(|key| key.key.clone()).collect();
    check_key(plan, &keys)?;
    let mut draft = WriteDraft { columns, ..WriteDraft::default() };
    draft.warnings = warnings(connection, target, plan)?;
    let steps = match plan.mode {
        WriteMode::Overwrite => overwrite_steps(connection, target, plan)?,
        _ => Vec::new(),
    };
    finish(&mut draft, plan, Vec::new(), steps);
    Ok(draft)
}

/// `CREATE TABLE` for the plan's columns, its key as primary key.
pub(crate) fn creation(name: &TableName, plan: &WritePlan) -> Result<String> {
    let declared =
        |column: &Column| declared_for(&column.logical).ok_or_else(|| unsupported(column));
    let types: Vec<_> = plan.columns.iter().map(declared).collect::<Result<_>>()?;
    let definitions: Vec<_> = (plan.columns.iter().zip(&types))
        .map(|(column, native)| ColumnDefinition {
            name: &column.name,
            native,
            // A key of NULL would be no key: SQLite lets it into primary keys otherwise.
            nullable: column.nullable && !is_key(plan, &column.name),
        })
        .collect();
    let key: Vec<_> = plan.key.iter().map(String::as_str).collect();
    Ok(create_table(&SqliteDialect, name, &definitions, &key))
}

/// The column as the target takes it: its name and type there.
fn accepted(target: &Table, column: &Column) -> Result<Column> {
    let place = || format!("table `{}`", target.name.table);
    let found = target.column(&column.name).ok_or_else(|| {
        let known: Vec<_> = target.columns.iter().map(|c| c.column.name.as_str()).collect();
        let message = format!("there is no column `{}` in the target", column.name);
        Error::new(ErrorKind::Schema, message)
            .at(place())
            .hint(format!("its columns: {}", known.join(", ")))
    })?;
    if found.column.generated {
        let message = format!("column `{}` is generated and cannot be written", found.column.name);
        return Err(Error::new(ErrorKind::Schema, message)
            .at(place())
            .hint("leave it out of `columns`"));
    }
    let mut taken = found.column.clone();
    taken.inferred = false;
    if !found.typed {
        taken.logical = column.logical.clone();
    }
    if declared_for(&taken.logical).is_none() {
        return Err(unsupported(column).at(place()));
    }
    Ok(taken)
}

fn unsupported(column: &Column) -> Error {
    let message =
        format!("column `{}` is `{}`, which sqlite cannot hold", column.name, column.logical);
    Error::new(ErrorKind::Unsupported, message).hint("leave the column out, or map it to text")
}

fn check_names(plan: &WritePlan) -> Result<()> {
    if plan.columns.is_empty() {
        return Err(Error::new(ErrorKind::Schema, "the plan has no columns to write"));
    }
    for (at, column) in plan.columns.iter().enumerate() {
        if plan.columns[..at].iter().any(|other| other.name.eq_ignore_ascii_case(&column.name)) {
            let message = format!("column `{}` stands twice in the plan", column.name);
            return Err(Error::new(ErrorKind::Schema, message)
                .hint("sqlite's column names differ by more than case"));
        }
    }
    for name in plan.key.iter().chain(&plan.update_columns) {
        if !plan.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
            let message = format!("column `{name}` is not among the columns that are written");
            return Err(Error::new(ErrorKind::Schema, message)
                .hint("mend `key`, `update_columns` or `columns`"));
        }
    }
    Ok(())
}

/// Columns that must have a value and get none.
fn check_filled(target: &Table, plan: &WritePlan) -> Result<()> {
    let written = |name: &str| plan.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
    let missing = |column: &&TableColumn| {
        let Column { nullable, has_default, generated, name, .. } = &column.column;
        !nullable && !has_default && !generated && !written(name)
    };
    let missing: Vec<_> =
        target.columns.iter().filter(missing).map(|c| format!("`{}`", c.column.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message =
        format!("not null, without default and not in the source: {}", missing.join(", "));
    Err(Error::new(ErrorKind::Schema, message)
        .at(format!("table `{}`", target.name.table))
        .hint("map a source column to each, or give them defaults"))
}

/// The key that decides conflicts must be one by which the target knows a row.
fn check_key(plan: &WritePlan, keys: &[Key]) -> Result<()> {
    if !is_keyed(plan.mode) {
        return Ok(());
    }
    let usable: Vec<_> =
        keys.iter().filter(|key| !key.unusable && !key.columns.is_empty()).collect();
    let known = || match usable.is_empty() {
        true => "the target has no primary or unique key".to_owned(),
        false => {
            let lists: Vec<_> =
                usable.iter().map(|key| format!("({})", key.columns.join(", "))).collect();
            format!("its keys: {}", lists.join(", "))
        }
    };
    let mode = plan.mode.word();
    if plan.key.is_empty() {
        let message = format!("write_mode `{mode}` needs a key");
        return Err(Error::new(ErrorKind::Schema, message).hint(format!("set `key`; {}", known())));
    }
    let same = |key: &&Key| {
        key.columns.len() == plan.key.len() && key.columns.iter().all(|name| is_key(plan, name))
    };
    if !usable.iter().any(same) {
        let message =
            format!("`key` ({}) is no primary or unique key of the target", plan.key.join(", "));
        return Err(Error::new(ErrorKind::Schema, message).hint(known()));
    }
    Ok(())
}

/// Whether the mode goes by a key.
fn is_keyed(mode: WriteMode) -> bool {
    matches!(mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace)
}

fn is_key(plan: &WritePlan, name: &str) -> bool {
    plan.key.iter().any(|key| key.eq_ignore_ascii_case(name))
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
        for table in catalog::referring_tables(connection, &target.name)? {
            warnings.push(format!(
                "`{table}` refers to the target: deleting a replaced row acts on its rows as \
                 its foreign key says"
            ));
        }
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
    steps.push(Statement { text: delete, destructive: true });
    steps.extend([plain(insert), plain(drop), plain("COMMIT".to_owned())]);
    Ok(steps)
}

/// The rest, which does not depend on the target: statements in order, and the guarantee.
fn finish(draft: &mut WriteDraft, plan: &WritePlan, create: Vec<Statement>, steps: Vec<Statement>) {
    let users = |statements: &[String]| -> Vec<Statement> {
        let users = |text: &String| Statement { text: text.clone(), destructive: destroys(text) };
        statements.iter().map(users).collect()
    };
    draft.statements = create;
    draft.statements.extend(users(&plan.before));
    draft.statements.extend(steps);
    draft.statements.extend(users(&plan.after));
    let nullable_key = is_keyed(plan.mode)
        && draft.columns.iter().any(|column| is_key(plan, &column.name) && column.nullable);
    if nullable_key {
        draft.warnings.push(
            "a column of the key is nullable: NULL equals nothing, so such rows are always \
             inserted"
                .to_owned(),
        );
    }
    if plan.mode == WriteMode::Upsert && updated_columns(plan).is_empty() {
        draft.warnings.push(
            "all columns are in the key: there is nothing to update, so a row whose key is there \
             is skipped"
                .to_owned(),
        );
    }
    let (guarantee, because) = guarantee(plan.mode, nullable_key);
    (draft.guarantee, draft.because) = (guarantee, because.to_owned());
}

/// What the mode can promise without a record of chunks in the target, and why not more.
fn guarantee(mode: WriteMode, nullable_key: bool) -> (Guarantee, &'static str) {
    match mode {
        WriteMode::Overwrite => (
            Guarantee::AtomicJob,
            "the rows are staged, and one transaction replaces the table's content",
        ),
        WriteMode::Insert => (
            Guarantee::AtLeastOnce,
            "each chunk is one transaction, but the target does not record which chunks are in: \
             a run that is repeated after an unclear end inserts its rows again, where no key \
             refuses them",
        ),
        _ if nullable_key => (
            Guarantee::AtLeastOnce,
            "rows whose key holds NULL would be inserted again by a repeated run",
        ),
        _ => (
            Guarantee::Convergent,
            "each chunk is one transaction and the key makes repeating it harmless; the target \
             does not record which chunks are in",
        ),
    }
}

fn plain(text: String) -> Statement {
    Statement { text, destructive: false }
}

/// Whether a statement of the job's begins with a word that takes something away.
fn destroys(sql: &str) -> bool {
    let word = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    matches!(word.as_str(), "DELETE" | "DROP" | "UPDATE" | "REPLACE" | "ALTER")
}
