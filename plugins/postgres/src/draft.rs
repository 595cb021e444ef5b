//! What a plan would do to the target, checked against the target as it stands. Looks only.

use transload_plugin_api::{
    Column, Error, ErrorKind, LoadMethod, Result, WriteDraft, WriteMode, WritePlan,
};
use transload_tables::{TableName, Wording, destructive, is_keyed, plain};

use crate::{
    catalog::{self, Identity, Table, TableKind},
    session::Session,
    target::{
        creation, drafting, loses_text, publish_statements, sequence_statements, stage_name,
        stage_statements,
    },
    types::{native_for, refuse_geometry},
};

const WORDING: Wording<'static> = Wording {
    overwrite: "the rows are staged, and one transaction replaces the table's content",
    null_key: "unless the key is NULLS NOT DISTINCT, NULL equals nothing and such rows are always \
               inserted",
};

/// Drafts the plan.
pub(crate) fn draft(
    session: &mut Session,
    name: &TableName,
    plan: &WritePlan,
) -> Result<WriteDraft> {
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
    drafting(plan).check_names()?;
    match catalog::find_table(session, name)? {
        Some(target) => draft_for(session, &target, plan),
        None => draft_new(name, plan),
    }
}

/// A plan whose table is made by it.
fn draft_new(name: &TableName, plan: &WritePlan) -> Result<WriteDraft> {
    let drafting = drafting(plan);
    drafting.check_made(&name.to_string())?;
    drafting.check_key(&[drafting.made_key()])?;
    let mut draft = drafting.made(creation(name, plan)?);
    for column in &mut draft.columns {
        if let Some((native, logical)) = native_for(&column.logical) {
            (column.native, column.logical) = (native, logical);
        }
    }
    drafting.finish(&mut draft, drafting.staging(), WORDING);
    Ok(draft)
}

/// A plan for a table that is there.
fn draft_for(session: &mut Session, target: &Table, plan: &WritePlan) -> Result<WriteDraft> {
    let place = || format!("table `{}`", target.name);
    let is_table = matches!(target.kind, TableKind::Table | TableKind::Partitioned);
    let is_foreign = plan.mode == WriteMode::Insert && target.kind == TableKind::Foreign;
    if !is_table && !is_foreign {
        return Err(Error::new(ErrorKind::Unsupported, "the target is not an ordinary table")
            .at(place())
            .hint("name a table, not a view"));
    }
    let columns: Vec<_> =
        plan.columns.iter().map(|column| accepted(target, column, plan)).collect::<Result<_>>()?;
    let drafting = drafting(plan);
    drafting.check_filled(&target.name.to_string(), &target.columns)?;
    drafting.check_key(&target.api_keys())?;
    let mut draft = WriteDraft { columns, ..WriteDraft::default() };
    warn(session, target, plan, &mut draft.warnings)?;
    let mut steps = Vec::new();
    if plan.mode == WriteMode::Overwrite {
        let stage = stage_name(&target.name, &plan.run);
        steps.extend(stage_statements(&target.name, &stage).map(plain));
        let [empty, fill, drop] = publish_statements(plan, target, &stage);
        steps.extend([plain("BEGIN".to_owned()), destructive(empty)]);
        steps.extend([plain(fill), plain(drop), plain("COMMIT".to_owned())]);
    }
    steps.extend(sequence_statements(plan, target).into_iter().map(|(_, sql)| plain(sql)));
    drafting.finish(&mut draft, steps, WORDING);
    Ok(draft)
}

/// The column as the target takes it.
fn accepted(target: &Table, column: &Column, plan: &WritePlan) -> Result<Column> {
    let (drafting, place) = (drafting(plan), target.name.to_string());
    let found = drafting.writable(&place, &target.columns, &column.name)?;
    refuse_geometry(&found.column)?;
    if found.bends {
        let Column { name, native, .. } = &found.column;
        let message =
            format!("column `{name}` is `{native}`, to which the server would cut or round values");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .at(format!("table `{place}`"))
            .hint(
                "give the column another type: `text`, `numeric`, or the same without a precision",
            ));
    }
    let updated =
        plan.mode == WriteMode::Upsert && drafting.updated_columns().contains(&&*column.name);
    if updated && found.identity == Identity::Always {
        let message = format!(
            "column `{}` is GENERATED ALWAYS AS IDENTITY and cannot be updated",
            column.name
        );
        return Err(Error::new(ErrorKind::Schema, message)
            .at(format!("table `{place}`"))
            .hint("name the columns to update in `update_columns`"));
    }
    Ok(found.column.clone())
}

fn warn(
    session: &mut Session,
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
