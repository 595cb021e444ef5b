//! Where the rows of a run go. An overwrite stages them in a table beside the target, from which
//! one transaction replaces the target's content. A swap by renaming would be faster, but leaves
//! views, grants and foreign keys at the old table.

use transload_plugin_api::{Result, WriteMode, WritePlan};
use transload_tables::{Commit, Destination, TableName};

use crate::{
    catalog::Table,
    dialect::{quoted, quoted_table},
    session::Session,
    target::{TASK, publish_statements, sequence_statements, stage_name, stage_statements},
};

/// Where the rows go, with the statements around them.
pub(crate) struct PostgresDestination {
    /// Of an overwrite.
    stage: Option<Stage>,
    /// Moves each sequence of the target past the values that were written.
    sequences: Vec<String>,
}

struct Stage {
    name: TableName,
    make: String,
    publish: String,
}

impl PostgresDestination {
    /// `target` is `None` where the table was dropped: all that is left is to remove the stage.
    pub(crate) fn new(name: &TableName, target: Option<&Table>, plan: &WritePlan) -> Self {
        let in_full = target.map_or(name, |target| &target.name);
        let stage = (plan.mode == WriteMode::Overwrite).then(|| {
            let name = stage_name(in_full, &plan.run);
            let make = stage_statements(in_full, &name).join("; ");
            let publish = target.map(|target| publish_statements(plan, target, &name).join("; "));
            Stage { name, make, publish: publish.unwrap_or_default() }
        });
        let sequences = target.map(|target| sequence_statements(plan, target)).unwrap_or_default();
        Self { stage, sequences }
    }
}

impl Destination<Session> for PostgresDestination {
    fn stage(&self) -> Option<&TableName> {
        self.stage.as_ref().map(|stage| &stage.name)
    }

    fn make(&self, session: &mut Session) -> Result<()> {
        self.stage.as_ref().map_or(Ok(()), |stage| session.run("make the stage", &stage.make))
    }

    fn publish(&self, session: &mut Session) -> Result<Commit> {
        let doing = "publish the staged rows";
        let Some(stage) = &self.stage else {
            for sql in &self.sequences {
                session.run("advance a sequence", sql)?;
            }
            return Ok(Commit::Committed);
        };
        let sequences = self.sequences.join("; ");
        let sql = format!("BEGIN; {}; {sequences}", stage.publish);
        if let Err(error) = session.run(doing, &sql) {
            // The first error is the one to report; what it leaves open ends with the session.
            let _ = session.clean_up(doing, "ROLLBACK");
            return Err(error);
        }
        session.commit_as(doing)
    }

    fn remove(&self, session: &mut Session) -> Result<()> {
        let Some(stage) = &self.stage else { return Ok(()) };
        let sql = format!("DROP TABLE IF EXISTS {}", quoted_table(&stage.name));
        session.clean_up("remove the stage", &sql)
    }

    fn remove_task(&self, session: &mut Session, task: u32) -> Result<()> {
        let Some(stage) = &self.stage else { return Ok(()) };
        let (table, column) = (quoted_table(&stage.name), quoted(TASK));
        let sql = format!("DELETE FROM {table} WHERE {column} = {task}");
        session.clean_up("remove staged rows", &sql)
    }
}
