//! Overwriting: rows go to a stage table of the target's own shape, which takes the target's name
//! when the job commits. RENAME is atomic; TRUNCATE would commit by itself.

use transload_plugin_api::{Result, WritePlan};
use transload_tables::{Dialect as _, TableName};

use crate::{
    catalog,
    dialect::{MysqlDialect, quoted},
    session::Session,
};

/// The stage's extra column: which task wrote a row, so that one task's rows can be taken back.
pub(crate) const TASK_COLUMN: &str = "__transload_task";

fn derived(target: &TableName, word: &str, plan: &WritePlan) -> TableName {
    let table = MysqlDialect.derived_name(&target.table, &format!("{word}_{}", plan.run));
    TableName { schema: target.schema.clone(), table }
}

/// The stage of a run.
pub(crate) fn stage_name(target: &TableName, plan: &WritePlan) -> TableName {
    derived(target, "transload", plan)
}

/// What the old table is called until it is dropped.
fn old_name(target: &TableName, plan: &WritePlan) -> TableName {
    derived(target, "transload_old", plan)
}

pub(crate) fn in_full(name: &TableName) -> String {
    MysqlDialect.quoted_table(name)
}

/// What empties the target where it is not staged. It commits by itself.
pub(crate) fn truncation(target: &TableName) -> String {
    format!("TRUNCATE TABLE {}", in_full(target))
}

/// What makes the stage.
pub(crate) fn stage_statements(target: &TableName, plan: &WritePlan) -> [String; 2] {
    let stage = in_full(&stage_name(target, plan));
    let mark = quoted(TASK_COLUMN);
    [
        format!("CREATE TABLE {stage} LIKE {}", in_full(target)),
        format!("ALTER TABLE {stage} ADD COLUMN {mark} INT UNSIGNED NOT NULL FIRST"),
    ]
}

/// What publishes it.
pub(crate) fn publish_statements(target: &TableName, plan: &WritePlan) -> [String; 3] {
    let (into, stage) = (in_full(target), in_full(&stage_name(target, plan)));
    let old = in_full(&old_name(target, plan));
    [
        format!("ALTER TABLE {stage} DROP COLUMN {}", quoted(TASK_COLUMN)),
        format!("RENAME TABLE {into} TO {old}, {stage} TO {into}"),
        format!("DROP TABLE {old}"),
    ]
}

/// Makes the stage, unless this run has made it before.
pub(crate) fn make(session: &mut Session, target: &TableName, plan: &WritePlan) -> Result<()> {
    let stage = catalog::find_table(session, &stage_name(target, plan))?;
    let done = match &stage {
        None => 0,
        Some(stage) if stage.column(TASK_COLUMN).is_none() => 1,
        Some(_) => 2,
    };
    for sql in &stage_statements(target, plan)[done..] {
        session.run("make the stage table", sql)?;
    }
    Ok(())
}

/// Publishes the stage; `false` if it has been published before.
pub(crate) fn publish(session: &mut Session, target: &TableName, plan: &WritePlan) -> Result<bool> {
    let Some(stage) = catalog::find_table(session, &stage_name(target, plan))? else {
        return Ok(false);
    };
    let [unmark, swap, _] = publish_statements(target, plan);
    if stage.column(TASK_COLUMN).is_some() {
        session.run("finish the stage table", &unmark)?;
    }
    session.run("publish the stage table", &swap)?;
    Ok(true)
}

/// Removes the stage and the old table; that they are gone already is no error.
pub(crate) fn remove(session: &mut Session, target: &TableName, plan: &WritePlan) -> Result<()> {
    for name in [stage_name(target, plan), old_name(target, plan)] {
        let sql = format!("DROP TABLE IF EXISTS {}", in_full(&name));
        session.run("remove the stage table", &sql)?;
    }
    Ok(())
}

/// Takes one task's rows back.
pub(crate) fn remove_task(session: &mut Session, stage: &TableName, task: u32) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE {} = {task}", in_full(stage), quoted(TASK_COLUMN));
    session.run("take back a task's rows", &sql).map(drop)
}
