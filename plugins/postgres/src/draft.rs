//! What a plan would do to the target, checked against the target as it stands. Looks only.

use transload_plugin_api::{
    Column, Error, ErrorKind, Guarantee, Key, LoadMethod, Result, Statement, WriteDraft, WriteMode,
    WritePlan,
};
use transload_sql::TableName;

use crate::{
    catalog::{self, Identity, Table, TableColumn, TableKind},
    session::Session,
    target::{
        creation, loses_text, publish_statements, same_columns, sequence_statements, stage_name,
        stage_statements, updated_columns,
    },
    types::native_for,
};

/// Drafts the plan.
pub(crate) fn draft(session: &Session, name: &TableName, plan: &WritePlan) -> Result<WriteDraft> {
    if plan.load == LoadMethod::Insert {
        return Err(Error::new(ErrorKind::Unsupported, "postgres has no `load = \"insert\"`")
            .hint("leave `load` out: rows travel by COPY in every mode"));
    }
    if plan.mode == WriteMode::Replace {
        return Err(Error::new(ErrorKind::Unsupported, "postgres has no write_mode `replace`")
            .hint(
                "`upsert` updates all columns that are not in the key, which comes to the same",
            ));
    }
    check_names(plan)?;
    let mut draft = match catalog::find_table(session, name)? {
        Some(target) => draft_for(session, &target, plan)?,
        None => draft_new(name, plan)?,
    };
    finish(&mut draft, plan);
    Ok(draft)
}

/// A plan whose table is made by it.
fn draft_new(name: &TableName, plan: &WritePlan) -> Result<WriteDraft> {
    if !plan.create_table {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no table `{name}`"))
            .hint("`create_table = true` makes it from the source's columns"));
    }
    let made =
        Key { columns: plan.key.clone(), primary: true, name: String::new(), unusable: false };
    check_key(plan, &[made])?;
    let create = creation(name, plan)?;
    let mut draft = WriteDraft::default();
    for column in &plan.columns {
        let mut column = column.clone();
        if let Some((native, logical)) = native_for(&column.logical) {
            (column.native, column.logical) = (native, logical);
        }
        column.nullable = column.nullable && !plan.key.contains(&column.name);
        draft.columns.push(column);
    }
    draft.statements.push(plain(create));
    draft.statements.extend(users(&plan.before));
    if plan.mode == WriteMode::Overwrite {
        draft.statements.push(plain("load the rows into a stage table, then move them".to_owned()));
    }
    Ok(draft)
}

/// A plan for a table that is there.
fn draft_for(session: &Session, target: &Table, plan: &WritePlan) -> Result<WriteDraft> {
    let place = || format!("table `{}`", target.name);
    let is_table = matches!(target.kind, TableKind::Table | TableKind::Partitioned);
    let is_foreign = plan.mode == WriteMode::Insert && target.kind == TableKind::Foreign;
    if !is_table && !is_foreign {
        return Err(Error::new(ErrorKind::Unsupported, "the target is not an ordinary table")
            .at(place())
            .hint("name a table, not a view"));
    }
    if plan.mode == WriteMode::Upsert && target.kind == TableKind::Partitioned {
        let message = "an upsert into a partitioned table cannot tell new rows from updated ones";
        return Err(Error::new(ErrorKind::Unsupported, message)
            .at(place())
            .hint("name the partition, or use `ignore` or `insert`"));
    }
    let columns: Vec<_> =
        plan.columns.iter().map(|column| accepted(target, column, plan)).collect::<Result<_>>()?;
    check_filled(target, plan)?;
    check_key(plan, &target.api_keys())?;
    let mut draft = WriteDraft { columns, ..WriteDraft::default() };
    warn(session, target, plan, &mut draft.warnings)?;
    draft.statements.extend(users(&plan.before));
    if plan.mode == WriteMode::Overwrite {
        let stage = stage_name(&target.name, &plan.run);
        draft.statements.extend(stage_statements(&target.name, &stage).map(plain));
        let [empty, fill, drop] = publish_statements(plan, target, &stage);
        draft.statements.push(plain("BEGIN".to_owned()));
        draft.statements.push(Statement { text: empty, destructive: true });
        draft.statements.extend([plain(fill), plain(drop), plain("COMMIT".to_owned())]);
    }
    for (_, sql) in sequence_statements(plan, target) {
        draft.statements.push(plain(sql));
    }
    Ok(draft)
}

/// The column as the target takes it.
fn accepted(target: &Table, column: &Column, plan: &WritePlan) -> Result<Column> {
    let refuse = |message: String| {
        Error::new(ErrorKind::Schema, message).at(format!("table `{}`", target.name))
    };
    let Some(found) = target.column(&column.name) else {
        let known: Vec<_> = target.columns.iter().map(|c| c.column.name.as_str()).collect();
        return Err(refuse(format!("there is no column `{}` in the target", column.name))
            .hint(format!("its columns: {}", known.join(", "))));
    };
    if found.column.generated {
        return Err(refuse(format!("column `{}` is generated and cannot be written", column.name))
            .hint("leave it out of `columns`"));
    }
    let updated = plan.mode == WriteMode::Upsert && updated_columns(plan).contains(&&*column.name);
    if updated && found.identity == Identity::Always {
        let message = format!(
            "column `{}` is GENERATED ALWAYS AS IDENTITY and cannot be updated",
            column.name
        );
        return Err(refuse(message).hint("name the columns to update in `update_columns`"));
    }
    Ok(found.column.clone())
}

fn check_names(plan: &WritePlan) -> Result<()> {
    let schema = |message: String| Error::new(ErrorKind::Schema, message);
    if plan.columns.is_empty() {
        return Err(schema("the plan has no columns to write".to_owned()));
    }
    for (at, column) in plan.columns.iter().enumerate() {
        if plan.columns[..at].iter().any(|other| other.name == column.name) {
            return Err(schema(format!("column `{}` stands twice in the plan", column.name)));
        }
        // The server would cut the name, and two of them might become one.
        if column.name.len() > 63 {
            let message = format!("the column name `{}` is longer than 63 bytes", column.name);
            return Err(schema(message).hint("map it to a shorter name in [map]"));
        }
    }
    for name in plan.key.iter().chain(&plan.update_columns) {
        if !plan.columns.iter().any(|column| column.name == *name) {
            let message = format!("column `{name}` is not among the columns that are written");
            return Err(schema(message).hint("mend `key`, `update_columns` or `columns`"));
        }
    }
    Ok(())
}

/// Columns that must have a value and get none.
fn check_filled(target: &Table, plan: &WritePlan) -> Result<()> {
    let written = |name: &str| plan.columns.iter().any(|column| column.name == name);
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
        .at(format!("table `{}`", target.name))
        .hint("map a source column to each, or give them defaults"))
}

/// The key that decides conflicts must be one by which the server knows a row.
fn check_key(plan: &WritePlan, keys: &[Key]) -> Result<()> {
    if !is_keyed(plan.mode) {
        return Ok(());
    }
    let (usable, others): (Vec<_>, Vec<_>) =
        keys.iter().partition(|key| !key.unusable && !key.columns.is_empty());
    let lists = |keys: &[&Key]| {
        let lists: Vec<_> =
            keys.iter().map(|key| format!("({})", key.columns.join(", "))).collect();
        lists.join(", ")
    };
    let mut hint = match usable.is_empty() {
        true => "the target has no primary or unique key that could decide".to_owned(),
        false => format!("its keys: {}", lists(&usable)),
    };
    if !others.is_empty() {
        hint =
            format!("{hint}; partial, deferrable and expression keys cannot: {}", lists(&others));
    }
    if plan.key.is_empty() {
        let message = format!("write_mode `{}` needs a key", plan.mode.word());
        return Err(Error::new(ErrorKind::Schema, message).hint(format!("set `key`; {hint}")));
    }
    if !usable.iter().any(|key| same_columns(&key.columns, &plan.key)) {
        let message =
            format!("`key` ({}) is no primary or unique key of the target", plan.key.join(", "));
        return Err(Error::new(ErrorKind::Schema, message).hint(hint));
    }
    Ok(())
}

fn is_keyed(mode: WriteMode) -> bool {
    matches!(mode, WriteMode::Ignore | WriteMode::Upsert)
}

fn warn(
    session: &Session,
    target: &Table,
    plan: &WritePlan,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if is_keyed(plan.mode) && target.keys.len() > 1 {
        warnings.push(format!(
            "the target has {} unique keys: a row that conflicts by another than ({}) is dirty",
            target.keys.len(),
            plan.key.join(", ")
        ));
    }
    let triggers = catalog::triggers(session, target)?;
    if !triggers.is_empty() {
        let how = match plan.mode {
            WriteMode::Overwrite => " when the job commits",
            _ => "; what they change is not counted, and a row that they suppress is skipped",
        };
        warnings.push(format!("triggers of the target run{how}: {}", triggers.join(", ")));
    }
    let referring = catalog::referring_tables(session, target)?;
    if plan.mode == WriteMode::Overwrite && !referring.is_empty() {
        let message =
            format!("{} refers to the target, so it cannot be emptied", referring.join(", "));
        return Err(Error::new(ErrorKind::Unsupported, message)
            .at(format!("table `{}`", target.name))
            .hint("use `upsert`, or drop the foreign keys for the run"));
    }
    if plan.mode == WriteMode::Overwrite {
        warnings.push(
            "the target is emptied by TRUNCATE: while the job commits nobody can read it, and \
             transactions begun before see it empty"
                .to_owned(),
        );
    }
    for column in &plan.columns {
        let Some(found) = target.column(&column.name) else { continue };
        if loses_text(found, &column.logical) {
            warnings.push(format!(
                "column `{}` is jsonb: of equal member names the last is kept, and blanks and the \
                 order of members are not",
                column.name
            ));
        }
        if found.identity == Identity::Always {
            warnings.push(format!(
                "column `{}` is GENERATED ALWAYS AS IDENTITY: the source's values are written \
                 instead of generated ones",
                column.name
            ));
        }
    }
    Ok(())
}

/// The rest, which does not depend on the target.
fn finish(draft: &mut WriteDraft, plan: &WritePlan) {
    draft.statements.extend(users(&plan.after));
    let nullable_key = is_keyed(plan.mode)
        && draft.columns.iter().any(|column| plan.key.contains(&column.name) && column.nullable);
    if nullable_key {
        draft.warnings.push(
            "a column of the key is nullable: unless the key is NULLS NOT DISTINCT, NULL equals \
             nothing and such rows are always inserted"
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
        WriteMode::Insert | WriteMode::Replace => (
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

fn users(statements: &[String]) -> Vec<Statement> {
    let statement = |text: &String| Statement { text: text.clone(), destructive: destroys(text) };
    statements.iter().map(statement).collect()
}

/// Whether a statement of the job's begins with a word that takes something away.
fn destroys(sql: &str) -> bool {
    let word = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    matches!(word.as_str(), "DELETE" | "DROP" | "UPDATE" | "TRUNCATE" | "ALTER" | "MERGE")
}
