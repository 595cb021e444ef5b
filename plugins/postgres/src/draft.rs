//! What a plan would do to the target, checked against the target's current definition. Changes
//! nothing.

use transload_plugin_api::{
    Column, Error, LoadMethod, LogicalType, Result, WriteMode, WritePlan, code,
};
use transload_tables::{Draft, Drafting, TableName, Wording, destructive, is_keyed, plain};

use crate::{
    catalog::{Identity, Table, TableColumn, TableKind},
    dialect::{quoted, quoted_table},
    native::{accepts, created},
    session::Session,
    target::{loses_text, publish_statements, sequence_statements, stage_name, stage_statements},
    trial,
    types::{native_for, refuse_geometry},
};

pub(crate) const WORDING: Wording<'static> = Wording {
    overwrite: "the rows are staged, and one transaction replaces the table's content",
    null_key: "unless the key is NULLS NOT DISTINCT, NULL equals nothing and such rows are always \
               inserted",
};

/// Drafts the plan; `target` is `None` if the table does not exist yet.
pub(crate) fn draft(
    session: &mut Session,
    drafting: Drafting<'_>,
    name: &TableName,
    target: Option<&Table>,
) -> Result<Draft> {
    if drafting.plan.load == LoadMethod::Insert {
        return Err(Error::unsupported("postgres has no `load = \"insert\"`")
            .hint("leave `load` out: rows are written by COPY in every mode"));
    }
    if drafting.plan.mode == WriteMode::Replace {
        return Err(Error::unsupported("postgres has no write_mode `replace`").hint(
            "`upsert` updates all columns that are not in the key, which has the same result",
        ));
    }
    match target {
        Some(target) => existing_table(session, drafting, target),
        None => new_table(session, drafting, name),
    }
}

/// A plan that creates its table.
fn new_table(session: &mut Session, drafting: Drafting<'_>, name: &TableName) -> Result<Draft> {
    let created = |column: &Column| created(column).or_else(|| native_for(&column.logical));
    let native = |column: &Column| created(column).map(|(native, _)| native);
    let mut draft = drafting.new_table(name, native)?;
    for column in &mut draft.columns {
        if let Some((native, logical)) = created(column) {
            (column.native, column.logical) = (native, logical);
        }
    }
    draft.problems.extend(schema_problem(session, name)?);
    Ok(draft)
}

/// Why no table can be made in the schema of a new table.
pub(crate) fn schema_problem(session: &mut Session, name: &TableName) -> Result<Option<Error>> {
    let sql = "SELECT quote_ident(s.name), n.oid IS NOT NULL, \
                 coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false) \
               FROM (SELECT coalesce(nullif($1, ''), pg_catalog.current_schema(), 'public')) s(name) \
               LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = s.name";
    let row = session.row("look up the schema", sql, &[name.schema.as_deref().unwrap_or("")])?;
    let schema = row.text(0)?.to_owned();
    let problem = match (row.flag(1)?, row.flag(2)?) {
        (true, true) => return Ok(None),
        (false, _) => Error::not_found(format!("there is no schema {schema}"))
            .with_code(code::TABLE_MISSING)
            .hint(format!("CREATE SCHEMA {schema}")),
        (true, false) => {
            Error::denied(format!("this user may not create tables in schema {schema}"))
                .hint(trial::grant(session, "CREATE", &format!("SCHEMA {schema}"))?)
        }
    };
    Ok(Some(problem.of_key("table")))
}

/// A plan for a table that exists.
fn existing_table(session: &mut Session, drafting: Drafting<'_>, target: &Table) -> Result<Draft> {
    let plan = drafting.plan;
    let is_table = matches!(target.kind, TableKind::Table | TableKind::Partitioned);
    let is_foreign = plan.mode == WriteMode::Insert && target.kind == TableKind::Foreign;
    if !is_table && !is_foreign {
        return Err(Error::unsupported("the target is not an ordinary table")
            .at(format!("table `{}`", target.name))
            .hint("name a table, not a view"));
    }
    if target.is_filtered {
        return Err(filtered(target).at(format!("table `{}`", target.name)));
    }
    let accept = |own: &TableColumn, column: &Column| accepted(drafting, own, column);
    let keys = target.api_keys();
    let mut draft = drafting.existing_table(&target.name, &target.columns, &keys, accept)?;
    draft.problems.extend(missing_rights(session, drafting, target)?);
    draft.warnings = warnings(target, plan)?;
    let sequences = sequence_statements(plan, target).into_iter().map(plain);
    if plan.mode == WriteMode::Overwrite {
        let stage = stage_name(&target.name, &plan.run);
        draft.steps.extend(stage_statements(&target.name, &stage).map(plain));
        let [empty, fill, drop] = publish_statements(plan, target, &stage);
        draft.steps.extend([plain("BEGIN".to_owned()), destructive(empty)]);
        draft.steps.extend([plain(fill), plain(drop)]);
        draft.steps.extend(sequences);
        draft.steps.push(plain("COMMIT".to_owned()));
    } else {
        draft.steps.extend(sequences);
    }
    Ok(draft)
}

/// The refusal of a table whose row security hides rows from this login.
pub(crate) fn filtered(table: &Table) -> Error {
    let policies = table.policies.join(", ");
    Error::denied(format!("row security hides rows from this user; its policies: {policies}"))
        .hint("use the owner of the table, or a role with BYPASSRLS")
}

/// The rights that this login lacks for the plan's statements, with the statements that give them.
fn missing_rights(
    session: &mut Session,
    drafting: Drafting<'_>,
    target: &Table,
) -> Result<Option<Error>> {
    let (plan, rights) = (drafting.plan, target.rights);
    let accepted = |planned: &Column| {
        let own = target.column(&planned.name)?;
        Some(own.written_as(&accepted(drafting, own, planned).ok()?))
    };
    let written: Vec<_> = plan.columns.iter().filter_map(accepted).collect();
    let by_temporary = is_keyed(plan.mode) || written.iter().any(|it| it.kind.by_text);
    let updated = match plan.mode {
        WriteMode::Upsert => drafting.updated_columns(),
        _ => Vec::new(),
    };
    let (mut missing, mut on_table) = (Vec::new(), Vec::new());
    for column in &written {
        let name = column.column.name.as_str();
        let moves_sequence = column.sequence.is_some();
        for (right, needed, held) in [
            ("INSERT", true, column.rights.insert),
            ("SELECT", by_temporary || moves_sequence, column.rights.select),
            ("UPDATE", updated.contains(&name), column.rights.update),
        ] {
            if needed && !held {
                missing.push(format!("{right} on column `{name}`"));
                on_table.push(right);
            }
        }
    }
    let is_overwrite = plan.mode == WriteMode::Overwrite;
    for (right, needed, held) in
        [("SELECT", is_overwrite, rights.select), ("TRUNCATE", is_overwrite, rights.truncate)]
    {
        if needed && !held {
            missing.push(format!("{right} on the table"));
            on_table.push(right);
        }
    }
    let mut grants = Vec::new();
    if !on_table.is_empty() {
        on_table.sort_unstable();
        on_table.dedup();
        let table = quoted_table(&target.name);
        grants.push(trial::grant(session, &on_table.join(", "), &table)?);
    }
    if is_overwrite && !rights.create {
        missing.push("CREATE in its schema".to_owned());
        let schema = quoted(target.name.schema.as_deref().unwrap_or("public"));
        grants.push(trial::grant(session, "CREATE", &format!("SCHEMA {schema}"))?);
    }
    if by_temporary && !rights.temporary {
        missing.push("TEMPORARY on the database".to_owned());
        let sql = "SELECT 'DATABASE ' || quote_ident(current_database())";
        let database = session.text("ask for the database", sql, &[])?;
        grants.push(trial::grant(session, "TEMPORARY", &database)?);
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let missing = missing.join(", ");
    let problem = Error::denied(format!("this user lacks rights: {missing}"))
        .at(format!("table `{}`", target.name))
        .of_key("table")
        .hint(grants.join("; "));
    Ok(Some(problem))
}

/// The column as the target takes it.
fn accepted(drafting: Drafting<'_>, own: &TableColumn, column: &Column) -> Result<Column> {
    let is_native = accepts(&own.column, column);
    if !is_native {
        refuse_geometry(&own.column)?;
    }
    if own.bends && !is_native {
        let Column { name, native, .. } = &own.column;
        let message =
            format!("column `{name}` is `{native}`, to which the server would cut or round texts");
        return Err(Error::unsupported(message).hint(
            "give the column another type: `text`, `numeric`, or the same without a precision",
        ));
    }
    let updated = drafting.plan.mode == WriteMode::Upsert
        && drafting.updated_columns().contains(&&*column.name);
    if updated && own.identity == Identity::Always {
        let name = &column.name;
        let message =
            format!("column `{name}` is GENERATED ALWAYS AS IDENTITY and cannot be updated");
        return Err(Error::schema(message).hint("name the columns to update in `update_columns`"));
    }
    let mut taken = Column { native_form: column.native_form.clone(), ..own.column.clone() };
    if let Some(form) = taken.native_form.clone().filter(|_| is_native) {
        taken.logical = LogicalType::Native(Box::new(form));
    }
    Ok(taken)
}

fn warnings(target: &Table, plan: &WritePlan) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if is_keyed(plan.mode) && target.keys.len() > 1 {
        warnings.push(format!(
            "the target has {} unique keys: a row that conflicts on another one than ({}) is dirty",
            target.keys.len(),
            plan.key.join(", ")
        ));
    }
    let triggers = &target.triggers;
    if !triggers.is_empty() {
        let how = match plan.mode {
            WriteMode::Overwrite => " when the job commits",
            _ => "; what they change is not counted",
        };
        warnings.push(format!("triggers of the target run{how}: {}", triggers.join(", ")));
    }
    if !target.row_triggers.is_empty() {
        let how = match plan.mode {
            WriteMode::Overwrite => "fails the job, and nothing is replaced",
            _ => "is counted as skipped",
        };
        let triggers = target.row_triggers.join(", ");
        warnings.push(format!("a row that one of these triggers suppresses {how}: {triggers}"));
    }
    let referring = &target.referring;
    if plan.mode == WriteMode::Overwrite && !referring.is_empty() {
        let message =
            format!("{} refers to the target, so it cannot be emptied", referring.join(", "));
        return Err(Error::unsupported(message)
            .at(format!("table `{}`", target.name))
            .hint("use `upsert`, or drop the foreign keys for the run"));
    }
    if plan.mode == WriteMode::Overwrite && !target.children.is_empty() {
        let children = target.children.join(", ");
        let message = format!(
            "{children} inherits from the target: rows there are rows of the target as well"
        );
        return Err(Error::unsupported(message)
            .at(format!("table `{}`", target.name))
            .hint("use `upsert`, or ALTER TABLE ... NO INHERIT for the run"));
    }
    if plan.mode == WriteMode::Overwrite {
        warnings.push(
            "the target is emptied by TRUNCATE: while the job commits no session can read it, \
             and transactions that began before see it empty"
                .to_owned(),
        );
    }
    if plan.mode == WriteMode::Overwrite && !target.references.is_empty() {
        warnings.push(format!(
            "foreign keys to the target itself, and to tables that the user may not read, are \
             checked when the job commits: a row without its parent then fails the whole job, and \
             its line is not named: {}",
            target.references.join(", ")
        ));
    }
    for column in &plan.columns {
        let Some(found) = target.column(&column.name) else { continue };
        if loses_text(found, &column.logical) {
            warnings.push(format!(
                "column `{}` is jsonb: of duplicate keys only the last is kept; whitespace and the order of keys are not",
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
    Ok(warnings)
}
