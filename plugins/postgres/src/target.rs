//! The statements of a writer's plan: how rows go to the target, through what, and how an
//! overwrite is staged and published.

use transload_plugin_api::{Error, LogicalType, Result, WriteMode, WritePlan};
use transload_tables::{Conflict, Dialect, Drafting, TableName};

use crate::{
    catalog::{Identity, Table, TableColumn, TableKind},
    dialect::{PostgresDialect, quoted, quoted_list, quoted_table},
    encode::{EncodedColumn, Suffix},
    load_plan::{Detour, LoadPlan, TEMPORARY},
    references::Reference,
    types::Wire,
};

/// The column of a temporary table that keeps the rows' order.
const ROW: &str = "transload_row";
/// The column of a stage that says which task has written a row.
pub(crate) const TASK: &str = "transload_task";

/// The stage of a run that overwrites: beside the target, in its schema.
pub(crate) fn stage_name(target: &TableName, run: &str) -> TableName {
    TableName {
        schema: target.schema.clone(),
        table: PostgresDialect.derived_name(&target.table, &format!("transload_{run}")),
    }
}

/// The plan by PostgreSQL's rules.
pub(crate) fn drafting(plan: &WritePlan) -> Drafting<'_> {
    Drafting { dialect: &PostgresDialect, plan }
}

/// How one task's rows go to the target, or to the stage of an overwrite.
pub(crate) fn load_plan(
    plan: &WritePlan,
    target: &Table,
    references: &[Reference],
    task: u32,
) -> Result<LoadPlan> {
    let columns: Vec<_> = plan
        .columns
        .iter()
        .map(|column| {
            let changed = |message: String| {
                Error::schema(message)
                    .at(format!("table `{}`", target.name))
                    .hint("plan again: the table has changed since")
            };
            let Some(found) = target.column(&column.name) else {
                return Err(changed(format!("the target no longer has column `{}`", column.name)));
            };
            let found = found.written_as(column);
            let (now, then) = (&found.column.logical, &column.logical);
            if matches!(then, LogicalType::Native(_)) && now != then {
                let name = &column.name;
                return Err(changed(format!("column `{name}` is `{now}` now and was `{then}`")));
            }
            if now.data_type() != then.data_type() {
                let name = &column.name;
                return Err(changed(format!("column `{name}` is `{now}` now and was `{then}`")));
            }
            Ok(found)
        })
        .collect::<Result<_>>()?;
    let encoded = columns.iter().map(encoded).collect();
    let staged = plan.mode == WriteMode::Overwrite;
    let keyed = matches!(plan.mode, WriteMode::Ignore | WriteMode::Upsert);
    let names: Vec<_> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let orphans = references.iter().filter_map(|reference| reference.search(target, &names));
    let orphans: Vec<_> = orphans.collect();
    if !keyed && orphans.is_empty() && !columns.iter().any(|column| column.kind.by_text) {
        return Ok(direct(encoded, &names, plan, target, staged.then_some(task)));
    }
    let mut sent = names.clone();
    sent.push(ROW);
    Ok(LoadPlan {
        columns: encoded,
        enough_dirty: plan.enough_dirty(),
        suffix: Suffix::Row,
        copy: copy_statement(TEMPORARY, &sent),
        detour: Some(Detour {
            make: make_temporary(target, &columns),
            orphans,
            apply: apply_statement(plan, target, &columns, staged.then_some(task)),
            updates: plan.mode == WriteMode::Upsert && !drafting(plan).updated_columns().is_empty(),
        }),
    })
}

fn encoded(column: &TableColumn) -> EncodedColumn {
    EncodedColumn {
        name: column.column.name.clone(),
        native: column.column.native.clone(),
        wire: column.kind.wire.clone(),
        logical: column.kind.logical.clone(),
        bounds: column.bounds,
        rule: column.rule,
    }
}

fn direct(
    columns: Vec<EncodedColumn>,
    names: &[&str],
    plan: &WritePlan,
    target: &Table,
    task: Option<u32>,
) -> LoadPlan {
    let mut sent = names.to_vec();
    let (table, suffix) = match task {
        Some(task) => {
            sent.push(TASK);
            (stage_name(&target.name, &plan.run), Suffix::Constant(task as i32))
        }
        None => (target.name.clone(), Suffix::None),
    };
    let copy = copy_statement(&quoted_table(&table), &sent);
    LoadPlan { columns, suffix, copy, detour: None, enough_dirty: plan.enough_dirty() }
}

fn copy_statement(table: &str, columns: &[&str]) -> String {
    format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", quoted_list(columns))
}

/// The target's columns with its types and collations, so that keys compare there as here; text
/// where the server has to cast.
fn make_temporary(target: &Table, columns: &[TableColumn]) -> String {
    let selected: Vec<_> = columns
        .iter()
        .map(|column| {
            let name = quoted(&column.column.name);
            if column.kind.by_text { format!("{name}::text AS {name}") } else { name }
        })
        .collect();
    format!(
        "DROP TABLE IF EXISTS {TEMPORARY}; \
         CREATE TEMPORARY TABLE transload_rows AS SELECT {}, 0::int4 AS {} FROM {} WITH NO DATA",
        selected.join(", "),
        quoted(ROW),
        quoted_table(&target.name)
    )
}

/// Moves a batch's rows on. Returns how many are new, how many were updated, and how many were
/// left of equal keys; NULL if those are all new or updated.
fn apply_statement(
    plan: &WritePlan,
    target: &Table,
    columns: &[TableColumn],
    task: Option<u32>,
) -> String {
    let key: Vec<_> = plan.key.iter().map(String::as_str).collect();
    let updated = drafting(plan).updated_columns();
    let (conflict, last_wins) = match plan.mode {
        WriteMode::Upsert if !updated.is_empty() => {
            (Conflict::Update { key: &key, columns: &updated }, true)
        }
        WriteMode::Upsert | WriteMode::Ignore => (Conflict::Skip { key: &key }, false),
        _ => (Conflict::Fail, false),
    };
    let mut picked: Vec<_> = columns
        .iter()
        .map(|column| format!("{} AS {}", selected(column), quoted(&column.column.name)))
        .collect();
    let mut into: Vec<_> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let mut table = target.name.clone();
    if let Some(task) = task {
        into.push(TASK);
        picked.push(format!("{task} AS {}", quoted(TASK)));
        table = stage_name(&target.name, &plan.run);
    }
    let (distinct, order) =
        if last_wins { last_of_each(plan, target, columns) } else { Default::default() };
    let into = quoted_list(&into);
    let mut sql = format!(
        "WITH picked AS (SELECT {distinct}{} FROM {TEMPORARY} ORDER BY {order}{}{}), moved AS \
         (INSERT INTO {} ({into}){} SELECT {into} FROM picked",
        picked.join(", "),
        quoted(ROW),
        if last_wins { " DESC" } else { "" },
        quoted_table(&table),
        overriding(columns),
    );
    PostgresDialect.on_conflict(&conflict, &mut sql);
    // Only a trigger can suppress a row that was picked.
    let kept = match target.row_triggers.is_empty() {
        true => "NULL",
        false => "(SELECT count(*) FROM picked)",
    };
    match (last_wins, target.kind) {
        (false, _) => sql.push_str(" RETURNING 1) SELECT count(*), 0::int8, NULL FROM moved"),
        // A row version that an update has made carries the lock of the row before it.
        (true, TableKind::Table) => sql.push_str(&format!(
            " RETURNING (xmax = 0) AS new) SELECT count(*) FILTER (WHERE new), \
             count(*) FILTER (WHERE NOT new), {kept} FROM moved"
        )),
        // Partitioned tables do not tell: the keys that were there are looked up in the same
        // snapshot.
        (true, _) => sql.push_str(&format!(
            " RETURNING {}) SELECT count(*) FILTER (WHERE NOT known), \
             count(*) FILTER (WHERE known), {kept} FROM (SELECT {} AS known FROM moved) AS m",
            quoted_list(&key),
            is_known(plan, target)
        )),
    }
    sql
}

/// Whether the key of a moved row is in the target.
fn is_known(plan: &WritePlan, target: &Table) -> String {
    let equal = if nulls_differ(plan, target) { "=" } else { "IS NOT DISTINCT FROM" };
    let same: Vec<_> = plan
        .key
        .iter()
        .map(|name| quoted(name))
        .map(|name| format!("t.{name} {equal} moved.{name}"))
        .collect();
    let (table, same) = (quoted_table(&target.name), same.join(" AND "));
    format!("EXISTS (SELECT FROM {table} AS t WHERE {same})")
}

/// Whether NULL in the key equals no other NULL.
fn nulls_differ(plan: &WritePlan, target: &Table) -> bool {
    let drafting = drafting(plan);
    target.keys.iter().any(|key| key.nulls_distinct && drafting.is_plan_key(&key.key.columns))
}

/// The value that is moved to the target. A cast to a length would silently cut what is longer; the
/// assignment to the column refuses it.
fn selected(column: &TableColumn) -> String {
    let name = quoted(&column.column.name);
    if column.kind.by_text { format!("{name}::{}", column.bare) } else { name }
}

/// Of equal keys the last row only. NULL equals nothing unless the index is NULLS NOT DISTINCT;
/// rows whose NULL equals nothing are kept apart by their place.
fn last_of_each(plan: &WritePlan, target: &Table, columns: &[TableColumn]) -> (String, String) {
    let mut terms: Vec<_> = plan
        .key
        .iter()
        .map(|name| {
            let written = columns.iter().find(|column| column.column.name == *name);
            written.map_or_else(|| quoted(name), selected)
        })
        .collect();
    let nullable: Vec<_> = plan
        .key
        .iter()
        .filter(|name| target.column(name).is_none_or(|column| column.column.nullable))
        .map(|name| format!("{} IS NULL", quoted(name)))
        .collect();
    if nulls_differ(plan, target) && !nullable.is_empty() {
        terms.push(format!("CASE WHEN {} THEN {} END", nullable.join(" OR "), quoted(ROW)));
    }
    let terms = terms.join(", ");
    (format!("DISTINCT ON ({terms}) "), format!("{terms}, "))
}

fn overriding<'a>(columns: impl IntoIterator<Item = &'a TableColumn>) -> &'static str {
    match columns.into_iter().any(|column| column.identity == Identity::Always) {
        true => " OVERRIDING SYSTEM VALUE",
        false => "",
    }
}

/// Makes the stage: the target's columns, defaults, checks and unique keys, so that a row which
/// the target would refuse is refused while it is written. Unlogged: it does not outlive the run.
pub(crate) fn stage_statements(target: &TableName, stage: &TableName) -> [String; 2] {
    let (stage, target) = (quoted_table(stage), quoted_table(target));
    [
        format!("CREATE UNLOGGED TABLE IF NOT EXISTS {stage} (LIKE {target} INCLUDING ALL)"),
        format!("ALTER TABLE {stage} ADD COLUMN IF NOT EXISTS {} int4", quoted(TASK)),
    ]
}

/// Empties the target and moves the staged rows over, in one transaction. A swap by renaming would
/// be faster, but leaves views, grants and foreign keys at the table of old.
pub(crate) fn publish_statements(
    plan: &WritePlan,
    target: &Table,
    stage: &TableName,
) -> [String; 3] {
    let names: Vec<_> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let written: Vec<_> = names.iter().filter_map(|name| target.column(name)).collect();
    let (names, stage) = (quoted_list(&names), quoted_table(stage));
    let table = quoted_table(&target.name);
    // Without ONLY, tables that have begun to inherit since the plan would be emptied as well.
    let only = if target.kind == TableKind::Table { "ONLY " } else { "" };
    [
        format!("TRUNCATE {only}{table}"),
        format!("INSERT INTO {table} ({names}){} SELECT {names} FROM {stage}", overriding(written)),
        format!("DROP TABLE {stage}"),
    ]
}

/// For each written column that a sequence fills: the statement that moves the sequence past the
/// highest value, if that is ahead of it.
pub(crate) fn sequence_statements(plan: &WritePlan, target: &Table) -> Vec<String> {
    let written = plan.columns.iter().filter_map(|column| target.column(&column.name));
    let statement = |column: &TableColumn| {
        let sequence = column.sequence.clone()?;
        let is_integer = matches!(column.kind.wire, Wire::Int2 | Wire::Int4 | Wire::Int8);
        let quoted_sequence = crate::dialect::literal(&sequence);
        let sql = format!(
            "SELECT pg_catalog.setval({quoted_sequence}, highest) FROM ( \
               SELECT max({}) AS highest FROM {}) t, {sequence} s \
             WHERE highest > s.last_value OR (highest = s.last_value AND NOT s.is_called)",
            quoted(&column.column.name),
            quoted_table(&target.name)
        );
        is_integer.then_some(sql)
    };
    written.filter_map(statement).collect()
}

/// Whether a column of this type is part of the plan though its text will not stay as it is.
pub(crate) fn loses_text(column: &TableColumn, source: &LogicalType) -> bool {
    column.kind.wire == Wire::Jsonb && *source == LogicalType::Json
}
