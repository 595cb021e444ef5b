//! What a plan would do to the target, and what of it MySQL or MariaDB cannot do. Changes nothing.

use transload_plugin_api::{
    Column, Error, ErrorKind, LoadMethod, LogicalType, Result, Statement, WriteMode, WritePlan,
    code,
};
use transload_tables::{
    Dialect as _, Draft, Drafting, TableName, Wording, destructive, plain, replaced_reference,
};

use crate::{
    answer::Server,
    catalog::{Table, TableColumn, TableKind},
    dialect::MysqlDialect,
    native::{accepts, is_native, offered},
    options::Overwrite,
    rights::{self, Emptying},
    session::Session,
    stage::{self, Stage, in_full},
    trial,
    types::{INDEXED_CHARACTERS, Native, declared_for, logical_of},
};

pub(crate) const WORDING: Wording<'static> = Wording {
    overwrite: "the rows are staged, and one RENAME puts them in the table's place",
    null_key: "NULL equals nothing, so such rows are always inserted",
};

/// The plan by MySQL's rules.
pub(crate) fn drafting(plan: &WritePlan) -> Drafting<'_> {
    Drafting { dialect: &MysqlDialect, plan }
}

/// Drafts the plan; `target` is `None` where there is no table yet.
pub(crate) fn draft(
    session: &mut Session,
    drafting: Drafting<'_>,
    name: &TableName,
    target: Option<&Table>,
    overwrite: Overwrite,
) -> Result<Draft> {
    check_load(session, drafting.plan)?;
    let mut draft = match target {
        Some(target) => existing_table(session, drafting, target, overwrite)?,
        None => new_table(&session.server, drafting, name)?,
    };
    try_rights(
        session,
        drafting,
        target.map_or(name, |target| &target.name),
        overwrite,
        &mut draft,
    )?;
    draft.steps = overwrite_steps(name, drafting.plan, overwrite);
    if draft.weaker.is_none() && is_in_place(drafting.plan, overwrite) {
        draft.weaker = Some(EMPTIED.to_owned());
    }
    Ok(draft)
}

fn check_load(session: &Session, plan: &WritePlan) -> Result<()> {
    if plan.load != LoadMethod::Copy {
        return Ok(());
    }
    if !matches!(plan.mode, WriteMode::Insert | WriteMode::Overwrite) {
        let message = format!("`load = \"copy\"` has no write_mode `{}`", plan.mode.word());
        return Err(Error::unsupported(message)
            .hint("leave `load` out: rows then go by INSERT statements of many rows"));
    }
    if !session.local_infile {
        return Err(Error::unsupported("the server forbids LOAD DATA LOCAL")
            .hint("set its `local_infile` to 1, or leave `load` out"));
    }
    Ok(())
}

/// Adds the rights that this login lacks to the draft.
fn try_rights(
    session: &mut Session,
    drafting: Drafting<'_>,
    name: &TableName,
    overwrite: Overwrite,
    draft: &mut Draft,
) -> Result<()> {
    let plan = drafting.plan;
    let mut problems = missing_rights(session, drafting, name, draft)?;
    match (plan.mode, overwrite) {
        (WriteMode::Overwrite, Overwrite::Swap) => {
            // The rows go to the stage: what is needed for the target is among the rights to swap.
            problems.retain(|problem| problem.kind != ErrorKind::Denied);
            problems.extend(rights::swap(session, name)?);
        }
        (WriteMode::Overwrite, Overwrite::Truncate) if draft.create.is_none() => {
            match rights::emptying(session, name)? {
                Emptying::Permitted => {}
                Emptying::Denied(problem) => problems.push(problem),
                Emptying::Unknown(note) => draft.notes.push(note),
            }
        }
        _ => {}
    }
    draft.problems.extend(problems);
    Ok(())
}

/// The rights that this login lacks, as the server reports when it prepares the statements.
fn missing_rights(
    session: &mut Session,
    drafting: Drafting<'_>,
    name: &TableName,
    draft: &Draft,
) -> Result<Vec<Error>> {
    let plan = drafting.plan;
    let columns: Vec<_> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let (into, list) = (in_full(name), MysqlDialect.quoted_list(&columns));
    let values = vec!["?"; columns.len()].join(", ");
    let mut tried = Vec::new();
    match &draft.create {
        Some(create) => tried.push(("CREATE", create.clone())),
        None if plan.mode == WriteMode::Replace => {
            tried.push((
                "INSERT, DELETE",
                format!("REPLACE INTO {into} ({list}) VALUES ({values})"),
            ));
        }
        None => tried.push(("INSERT", format!("INSERT INTO {into} ({list}) VALUES ({values})"))),
    }
    let first = drafting.updated_columns().first().map(|column| MysqlDialect.quoted(column));
    if let Some(column) = first.filter(|_| plan.mode == WriteMode::Upsert && draft.create.is_none())
    {
        tried.push(("UPDATE", format!("UPDATE {into} SET {column} = {column}")));
    }
    let mut problems = Vec::new();
    for (rights, sql) in tried {
        let error = match trial::prepare(session, &sql) {
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::NotFound) => error,
            Err(error) if error.kind == ErrorKind::Connection => return Err(error),
            // What else is wrong with it is not a matter of rights.
            _ => continue,
        };
        let schema = name.schema.as_deref().unwrap_or_default();
        problems.push(match error.kind {
            ErrorKind::NotFound => Error::not_found(format!("there is no database `{schema}`"))
                .with_code(code::TABLE_MISSING)
                .of_key("table")
                .hint(format!("CREATE DATABASE {}", MysqlDialect.quoted(schema))),
            _ => Error::denied(format!("this user lacks rights on `{name}`: {rights}"))
                .of_key("table")
                .hint(trial::grant(session, rights, name)?),
        });
    }
    Ok(problems)
}

/// Whether the target is emptied and filled chunk by chunk.
fn is_in_place(plan: &WritePlan, overwrite: Overwrite) -> bool {
    plan.mode == WriteMode::Overwrite && overwrite == Overwrite::Truncate
}

const EMPTIED: &str = "the target is emptied before the first row, which cannot be undone, and \
    fills as chunks commit";

fn existing_table(
    session: &Session,
    drafting: Drafting<'_>,
    target: &Table,
    overwrite: Overwrite,
) -> Result<Draft> {
    if !target.is_stored() {
        let message = format!("`{}` is a {}", target.name, target.kind.word());
        return Err(Error::unsupported(message).hint("name a table"));
    }
    check_history(target, drafting.plan)?;
    let (columns, keys) = (&target.columns, &target.keys);
    let mut draft = drafting.existing_table(&target.name, columns, keys, accepted)?;
    draft.warnings = warnings(target, drafting.plan);
    match (drafting.plan.mode, overwrite) {
        (WriteMode::Overwrite, Overwrite::Swap) => check_swap(target)?,
        (WriteMode::Overwrite, Overwrite::Truncate) => check_emptied(target)?,
        _ => {}
    }
    if !session.server.mariadb {
        draft.warnings.extend(rewritten(&draft.columns));
    }
    if !target.is_transactional() {
        let engine = &target.engine;
        let because =
            format!("engine {engine} has no transactions: rows of a chunk that fails stay");
        draft.weaker = Some(because);
    }
    Ok(draft)
}

/// A new table in the types of its own statement, which differ from the source's where an index
/// needs a length.
fn new_table(server: &Server, drafting: Drafting<'_>, name: &TableName) -> Result<Draft> {
    let mut draft = drafting.new_table(name, |column| native_for(server, drafting, column))?;
    for column in &mut draft.columns {
        if let Some(form) = offered(column) {
            column.logical = LogicalType::Native(Box::new(form.clone()));
            continue;
        }
        let declared = native_for(server, drafting, column).unwrap_or_default();
        let native = Native::parse(&declared);
        let Some(logical) = logical_of(&native) else { continue };
        if logical != column.logical && !takes_as_it_is(&native, &column.logical) {
            let Column { name, logical: source, .. } = &*column;
            let longer = match source {
                LogicalType::Text { .. } => format!(
                    "; for up to {INDEXED_CHARACTERS} characters declare it in [reader.schema]: \
                     {name} = \"text({INDEXED_CHARACTERS})\""
                ),
                _ => String::new(),
            };
            draft.warnings.push(format!(
                "column `{name}` of the key is created as {logical} for {source}, because an index \
                 needs a length: longer values are dirty rows{longer}"
            ));
            column.logical = logical;
        }
    }
    if !server.mariadb {
        draft.warnings.extend(rewritten(&draft.columns));
    }
    Ok(draft)
}

/// A system-versioned table is neither emptied nor swapped: its history would go.
fn check_history(target: &Table, plan: &WritePlan) -> Result<()> {
    if target.kind != TableKind::Versioned || plan.mode != WriteMode::Overwrite {
        return Ok(());
    }
    let message = "write_mode `overwrite` would lose the history of a system-versioned table";
    Err(Error::unsupported(message).at(format!("table `{}`", target.name)).hint(
        "use `insert` with `before = [\"DELETE FROM ...\"]`, which keeps it, and is not atomic for \
         the job",
    ))
}

/// The server empties no table whose rows others refer to.
fn check_emptied(target: &Table) -> Result<()> {
    if target.referring.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the target cannot be emptied: tables refer to it: {}",
        target.referring.join(", ")
    );
    Err(Error::unsupported(message).at(format!("table `{}`", target.name)).hint(
        "use `insert` with `before = [\"DELETE FROM ...\"]`, which is not atomic for the job",
    ))
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
    Err(Error::unsupported(message)
        .at(format!("table `{}`", target.name))
        .hint("`overwrite = \"truncate\"` empties the table first instead, which is not atomic"))
}

/// The type of a new column. Uuids have a type of their own on newer MariaDB.
fn native_for(server: &Server, drafting: Drafting<'_>, column: &Column) -> Option<String> {
    let key = drafting.is_key(&column.name);
    let collation = key.then(|| exact_collation(server));
    if column.logical == LogicalType::Uuid && server.mariadb && server.version >= (10, 7, 0) {
        return Some("UUID".to_owned());
    }
    let mut native = match offered(column) {
        Some(form) => form.type_name.to_uppercase(),
        None => declared_for(&column.logical, collation)?,
    };
    // Older servers make NOT NULL of a TIMESTAMP that does not say otherwise.
    if native.starts_with("TIMESTAMP") && column.nullable && !key {
        native.push_str(" NULL");
    }
    Some(native)
}

/// The collation in which every difference counts, blanks at the end too where the server has one.
fn exact_collation(server: &Server) -> &'static str {
    match (server.mariadb, server.version) {
        (true, (10, 2.., _) | (11.., ..)) => "utf8mb4_nopad_bin",
        (false, (8, 0, 17..) | (8, 1.., _) | (9.., ..)) => "utf8mb4_0900_bin",
        _ => "utf8mb4_bin",
    }
}

/// The column as the target takes it: its name and type there.
fn accepted(own: &TableColumn, column: &Column) -> Result<Column> {
    let mut taken = Column { native_form: column.native_form.clone(), ..own.column.clone() };
    if let Some(form) = column.native_form.clone().filter(|_| accepts(&own.column, column)) {
        taken.logical = LogicalType::Native(Box::new(form));
        return Ok(taken);
    }
    if !own.travels() {
        let Column { name, native, .. } = &own.column;
        let message = format!("column `{name}` is `{native}`, which is not supported");
        return Err(Error::unsupported(message).hint("leave it out of `columns`"));
    }
    if taken_as_it_is(own, &column.logical) {
        taken.logical = column.logical.clone();
    }
    Ok(taken)
}

/// MySQL keeps documents, not their text.
fn rewritten(columns: &[Column]) -> Option<String> {
    let names = columns.iter().filter(|column| column.logical == LogicalType::Json);
    let names: Vec<_> = names.map(|column| format!("`{}`", column.name)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "MySQL reorders a document's keys, keeps one of duplicate keys and rewrites numbers: {}",
            names.join(", ")
        )
    })
}

/// The target's column, if it still takes what the plan was made for.
pub(crate) fn still_takes<'a>(target: &'a Table, column: &Column) -> Result<&'a TableColumn> {
    let changed = |message: String| {
        Error::schema(message)
            .at(format!("table `{}`", target.name))
            .hint("the table has changed since the plan: run the job again")
    };
    let found = target
        .column(&column.name)
        .ok_or_else(|| changed(format!("the target no longer has column `{}`", column.name)))?;
    let is_same = match &column.logical {
        LogicalType::Native(_) => is_native(&found.column, &column.logical),
        logical => found.column.logical == *logical,
    };
    if is_same || taken_as_it_is(found, &column.logical) {
        return Ok(found);
    }
    Err(changed(format!(
        "column `{}` is `{}` now, and the plan was made for `{}`",
        column.name, found.column.native, column.logical
    )))
}

/// Whether the target's column takes the source's type without a conversion.
fn taken_as_it_is(target: &TableColumn, source: &LogicalType) -> bool {
    takes_as_it_is(&target.native, source)
}

fn takes_as_it_is(target: &Native, source: &LogicalType) -> bool {
    match source {
        LogicalType::Boolean => target.name == "tinyint",
        LogicalType::Time { precision } => target.name == "time" && *precision <= 6,
        LogicalType::Uuid => target.name == "binary" && target.arguments == [16],
        _ => false,
    }
}

/// The columns of unique keys in which different texts are equal.
fn folded_keys(target: &Table) -> Option<String> {
    let mut columns: Vec<&TableColumn> = Vec::new();
    for name in target.keys.iter().flat_map(|key| &key.columns) {
        let found = target.column(name).filter(|column| column.folds_texts());
        if let Some(found) = found
            && !columns.iter().any(|other| other.column.name == found.column.name)
        {
            columns.push(found);
        }
    }
    let words = |column: &&TableColumn| {
        let collation = column.collation.as_deref().unwrap_or_default();
        format!("`{}` ({collation})", column.column.name)
    };
    let words: Vec<_> = columns.iter().map(words).collect();
    (!words.is_empty()).then(|| {
        format!(
            "keys of the target treat texts as equal that differ by case or accents, such as `a` \
             and `A`: {}; a collation that ends in `_bin` or `_as_cs` tells them apart",
            words.join(", ")
        )
    })
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
            "the target has {count} unique keys: a row that conflicts on any of them is skipped"
        )),
        WriteMode::Replace if count > 1 => warnings.push(format!(
            "the target has {count} unique keys: one row can replace several; rows go one by one"
        )),
        _ => {}
    }
    warnings.extend(folded_keys(target));
    if !target.is_transactional() {
        warnings.push(format!(
            "engine {} has no transactions: rows are written one by one, and a chunk that fails is not rolled back",
            target.engine
        ));
    }
    if !target.triggers.is_empty() {
        let names = target.triggers.join(", ");
        warnings
            .push(format!("triggers of the target run; what they change is not counted: {names}"));
    }
    if plan.mode == WriteMode::Replace {
        warnings.extend(target.referring.iter().map(|table| replaced_reference(table)));
    }
    warnings
}

/// What overwriting does beside the rows; nothing in other modes.
fn overwrite_steps(target: &TableName, plan: &WritePlan, overwrite: Overwrite) -> Vec<Statement> {
    if plan.mode != WriteMode::Overwrite {
        return Vec::new();
    }
    if overwrite == Overwrite::Truncate {
        return vec![destructive(stage::truncation(target))];
    }
    let stage = Stage::new(target, &plan.run);
    let mut steps: Vec<_> = stage.creation().map(plain).into();
    let [unmark, swap, drop] = stage.publication();
    steps.push(plain(unmark));
    steps.extend([destructive(swap), destructive(drop)]);
    steps
}
