//! What a plan would do to the target, checked against the target as it stands. Looks only.

use transload_plugin_api::{
    Column, Error, ErrorKind, Guarantee, Key, LoadMethod, LogicalType, Result, Statement,
    WriteDraft, WriteMode, WritePlan,
};
use transload_sql::{ColumnDefinition, TableName, create_table};

use crate::{
    catalog::{self, Table, TableColumn},
    dialect::MysqlDialect,
    insert::updated_columns,
    session::{Server, Session},
    stage,
    types::declared_for,
};

/// Drafts the plan.
pub(crate) fn draft(
    session: &mut Session,
    name: &TableName,
    plan: &WritePlan,
) -> Result<WriteDraft> {
    check_load(session, plan)?;
    check_names(plan)?;
    match catalog::find_table(session, name)? {
        Some(target) => draft_for(&target, plan),
        None => draft_new(&session.server, name, plan),
    }
}

fn check_load(session: &Session, plan: &WritePlan) -> Result<()> {
    if plan.load != LoadMethod::Copy {
        return Ok(());
    }
    if !matches!(plan.mode, WriteMode::Insert | WriteMode::Overwrite) {
        let message = format!("`load = \"copy\"` has no write_mode `{}`", plan.mode.word());
        return Err(Error::new(ErrorKind::Unsupported, message)
            .hint("leave `load` out: rows then go by INSERT statements of many rows"));
    }
    if !session.local_infile {
        return Err(Error::new(ErrorKind::Unsupported, "the server forbids LOAD DATA LOCAL")
            .hint("set its `local_infile` to 1, or leave `load` out"));
    }
    Ok(())
}

/// A plan whose table is made by it.
fn draft_new(server: &Server, name: &TableName, plan: &WritePlan) -> Result<WriteDraft> {
    if !plan.create_table {
        let message = format!("there is no table `{name}`");
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
    let create = creation(server, name, plan)?;
    let steps = match plan.mode {
        WriteMode::Overwrite => overwrite_steps(name, plan),
        _ => Vec::new(),
    };
    finish(&mut draft, plan, vec![plain(create)], steps);
    Ok(draft)
}

/// A plan for a table that is there.
fn draft_for(target: &Table, plan: &WritePlan) -> Result<WriteDraft> {
    if target.view {
        let message = format!("`{}` is a view", target.name);
        return Err(Error::new(ErrorKind::Unsupported, message).hint("name a table"));
    }
    let columns: Vec<_> =
        plan.columns.iter().map(|column| accepted(target, column)).collect::<Result<_>>()?;
    check_filled(target, plan)?;
    check_key(plan, &target.keys)?;
    let mut draft = WriteDraft { columns, ..WriteDraft::default() };
    draft.warnings = warnings(target, plan);
    let steps = match plan.mode {
        WriteMode::Overwrite => {
            check_swap(target)?;
            overwrite_steps(&target.name, plan)
        }
        _ => Vec::new(),
    };
    finish(&mut draft, plan, Vec::new(), steps);
    if !target.is_transactional() {
        draft.guarantee = Guarantee::AtLeastOnce;
        draft.because = format!(
            "engine {} has no transactions: rows of a chunk that fails stay",
            target.engine
        );
    }
    Ok(draft)
}

/// A swap would take triggers and foreign keys away with the old table.
fn check_swap(target: &Table) -> Result<()> {
    let kept = [
        ("triggers", &target.triggers),
        ("foreign keys", &target.references),
        ("foreign keys of other tables", &target.referring),
    ];
    let Some((what, names)) = kept.into_iter().find(|(_, names)| !names.is_empty()) else {
        return Ok(());
    };
    let message = format!(
        "write_mode `overwrite` swaps tables, which would lose {what}: {}",
        names.join(", ")
    );
    Err(Error::new(ErrorKind::Unsupported, message).at(format!("table `{}`", target.name)).hint(
        "use `insert` with `before = [\"DELETE FROM ...\"]`, which is not atomic for the job",
    ))
}

/// `CREATE TABLE` for the plan's columns, its key as primary key.
pub(crate) fn creation(server: &Server, name: &TableName, plan: &WritePlan) -> Result<String> {
    let declared =
        |column: &Column| native_for(server, plan, column).ok_or_else(|| unsupported(column));
    let types: Vec<_> = plan.columns.iter().map(declared).collect::<Result<_>>()?;
    let definitions: Vec<_> = (plan.columns.iter().zip(&types))
        .map(|(column, native)| ColumnDefinition {
            name: &column.name,
            native,
            nullable: column.nullable && !is_key(plan, &column.name),
        })
        .collect();
    let key: Vec<_> = plan.key.iter().map(String::as_str).collect();
    Ok(create_table(&MysqlDialect, name, &definitions, &key))
}

/// The type of a new column. Uuids have a type of their own on newer MariaDB.
fn native_for(server: &Server, plan: &WritePlan, column: &Column) -> Option<String> {
    let key = is_key(plan, &column.name);
    if column.logical == LogicalType::Uuid && server.mariadb && server.version >= (10, 7, 0) {
        return Some("UUID".to_owned());
    }
    let mut native = declared_for(&column.logical, key)?;
    // Older servers make NOT NULL of a TIMESTAMP that does not say otherwise.
    if native.starts_with("TIMESTAMP") && column.nullable && !key {
        native.push_str(" NULL");
    }
    Some(native)
}

/// The column as the target takes it: its name and type there.
fn accepted(target: &Table, column: &Column) -> Result<Column> {
    let place = || format!("table `{}`", target.name);
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
    if !found.travels() {
        let message = format!(
            "column `{}` is `{}`, which is not supported",
            found.column.name, found.column.native
        );
        return Err(Error::new(ErrorKind::Unsupported, message)
            .at(place())
            .hint("leave it out of `columns`"));
    }
    let mut taken = found.column.clone();
    if taken_as_it_is(found, &column.logical) {
        taken.logical = column.logical.clone();
    }
    Ok(taken)
}

/// Whether the target's column takes the source's type without a conversion.
fn taken_as_it_is(target: &TableColumn, source: &LogicalType) -> bool {
    match source {
        LogicalType::Boolean => target.native.name == "tinyint",
        LogicalType::Time { precision } => target.native.name == "time" && *precision <= 6,
        LogicalType::Uuid => target.native.name == "binary" && target.native.arguments == [16],
        _ => false,
    }
}

fn unsupported(column: &Column) -> Error {
    let message =
        format!("column `{}` is `{}`, which MySQL cannot hold", column.name, column.logical);
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
                .hint("MySQL's column names differ by more than case"));
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
        .at(format!("table `{}`", target.name))
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

fn warnings(target: &Table, plan: &WritePlan) -> Vec<String> {
    let mut warnings = Vec::new();
    let count = target.keys.len();
    match plan.mode {
        WriteMode::Upsert if count > 1 => warnings.push(format!(
            "the target has {count} unique keys: a row that conflicts with several rows updates \
             one of them, and MySQL does not say which"
        )),
        WriteMode::Ignore if count > 1 => warnings.push(format!(
            "the target has {count} unique keys: a row that conflicts by any of them is skipped"
        )),
        WriteMode::Replace if count > 1 => warnings.push(format!(
            "the target has {count} unique keys: one row can replace several; rows go one by one"
        )),
        _ => {}
    }
    if !target.is_transactional() {
        warnings.push(format!(
            "engine {} has no transactions: rows go one by one, and a chunk that fails is not \
             taken back",
            target.engine
        ));
    }
    if !target.triggers.is_empty() {
        let names = target.triggers.join(", ");
        warnings
            .push(format!("triggers of the target run; what they change is not counted: {names}"));
    }
    if plan.mode == WriteMode::Replace {
        let effect = |table: &String| {
            format!(
                "`{table}` refers to the target: deleting a replaced row acts on its rows as its \
                 foreign key says"
            )
        };
        warnings.extend(target.referring.iter().map(effect));
    }
    warnings
}

fn overwrite_steps(target: &TableName, plan: &WritePlan) -> Vec<Statement> {
    let mut steps: Vec<_> = stage::stage_statements(target, plan).map(plain).into();
    let [unmark, swap, drop] = stage::publish_statements(target, plan);
    steps.push(plain(unmark));
    steps.push(Statement { text: swap, destructive: true });
    steps.push(Statement { text: drop, destructive: true });
    steps
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
            "the rows are staged, and one RENAME puts them in the table's place",
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
    matches!(
        word.as_str(),
        "DELETE" | "DROP" | "UPDATE" | "REPLACE" | "ALTER" | "TRUNCATE" | "RENAME"
    )
}
