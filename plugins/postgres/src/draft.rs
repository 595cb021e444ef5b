//! What a plan would do to the target, checked against the target's current definition. Changes
//! nothing.

use transload_plugin_api::{Column, Error, LoadMethod, Result, WriteMode, WritePlan};
use transload_tables::{Draft, Drafting, TableName, Wording, destructive, is_keyed, plain};

use crate::{
    catalog::{Identity, Table, TableColumn, TableKind},
    target::{loses_text, publish_statements, sequence_statements, stage_name, stage_statements},
    types::{native_for, refuse_geometry},
};

pub(crate) const WORDING: Wording<'static> = Wording {
    overwrite: "the rows are staged, and one transaction replaces the table's content",
    null_key: "unless the key is NULLS NOT DISTINCT, NULL equals nothing and such rows are always \
               inserted",
};

/// Drafts the plan; `target` is `None` if the table does not exist yet.
pub(crate) fn draft(
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
        Some(target) => existing_table(drafting, target),
        None => new_table(drafting, name),
    }
}

/// A plan that creates its table.
fn new_table(drafting: Drafting<'_>, name: &TableName) -> Result<Draft> {
    let native = |column: &Column| native_for(&column.logical).map(|(native, _)| native);
    let mut draft = drafting.new_table(name, native)?;
    for column in &mut draft.columns {
        if let Some((native, logical)) = native_for(&column.logical) {
            (column.native, column.logical) = (native, logical);
        }
    }
    Ok(draft)
}

/// A plan for a table that exists.
fn existing_table(drafting: Drafting<'_>, target: &Table) -> Result<Draft> {
    let plan = drafting.plan;
    let is_table = matches!(target.kind, TableKind::Table | TableKind::Partitioned);
    let is_foreign = plan.mode == WriteMode::Insert && target.kind == TableKind::Foreign;
    if !is_table && !is_foreign {
        return Err(Error::unsupported("the target is not an ordinary table")
            .at(format!("table `{}`", target.name))
            .hint("name a table, not a view"));
    }
    let accept = |own: &TableColumn, column: &Column| accepted(drafting, own, column);
    let keys = target.api_keys();
    let mut draft = drafting.existing_table(&target.name, &target.columns, &keys, accept)?;
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

/// The column as the target takes it.
fn accepted(drafting: Drafting<'_>, own: &TableColumn, column: &Column) -> Result<Column> {
    refuse_geometry(&own.column)?;
    if own.bends {
        let Column { name, native, .. } = &own.column;
        let message =
            format!("column `{name}` is `{native}`, to which the server would cut or round values");
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
    Ok(own.column.clone())
}

fn warnings(target: &Table, plan: &WritePlan) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if is_keyed(plan.mode) && target.keys.len() > 1 {
        warnings.push(format!(
            "the target has {} unique keys: a row that conflicts by another than ({}) is dirty",
            target.keys.len(),
            plan.key.join(", ")
        ));
    }
    let triggers = &target.triggers;
    if !triggers.is_empty() {
        let how = match plan.mode {
            WriteMode::Overwrite => " when the job commits",
            _ => "; what they change is not counted, and a row that they suppress is skipped",
        };
        warnings.push(format!("triggers of the target run{how}: {}", triggers.join(", ")));
    }
    let referring = &target.referring;
    if plan.mode == WriteMode::Overwrite && !referring.is_empty() {
        let message =
            format!("{} refers to the target, so it cannot be emptied", referring.join(", "));
        return Err(Error::unsupported(message)
            .at(format!("table `{}`", target.name))
            .hint("use `upsert`, or drop the foreign keys for the run"));
    }
    if plan.mode == WriteMode::Overwrite {
        warnings.push(
            "the target is emptied by TRUNCATE: while the job commits no session can read it, \
             and transactions that began before see it empty"
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
    Ok(warnings)
}
