//! Where the rows of a run go. An overwrite stages them in a table beside the target, from which
//! one transaction replaces the target's content. A swap by renaming would be faster, but leaves
//! views, grants and foreign keys at the old table.

use transload_plugin_api::{Error, Result, WriteMode, WritePlan};
use transload_tables::{Commit, Destination, Session as _, TableName, check_noted, check_stage};

use crate::{
    blocker,
    catalog::Table,
    dialect::{quoted, quoted_table},
    session::Session,
    target::{TASK, publish_statements, sequence_statements, stage_name, stage_statements},
};

/// What errors of publishing begin with.
const PUBLISH: &str = "publish the staged rows";

/// Where the rows go, with the statements around them.
pub(crate) struct PostgresDestination {
    /// Of an overwrite.
    stage: Option<Stage>,
    /// The target's number.
    target: Option<u32>,
    /// Moves each sequence of the target past the values that were written.
    sequences: Vec<String>,
}

struct Stage {
    name: TableName,
    make: String,
    publish: [String; 3],
}

impl PostgresDestination {
    /// `target` is `None` where the table was dropped: all that is left is to remove the stage.
    pub(crate) fn new(name: &TableName, target: Option<&Table>, plan: &WritePlan) -> Self {
        let in_full = target.map_or(name, |target| &target.name);
        let stage = (plan.mode == WriteMode::Overwrite).then(|| {
            let name = stage_name(in_full, &plan.run);
            let make = stage_statements(in_full, &name).join("; ");
            let publish = target.map(|target| publish_statements(plan, target, &name));
            Stage { name, make, publish: publish.unwrap_or_default() }
        });
        let sequences = target.map(|target| sequence_statements(plan, target)).unwrap_or_default();
        Self { stage, target: target.map(|target| target.oid), sequences }
    }
}

impl PostgresDestination {
    /// All of publishing but its COMMIT. The rows that the server moves are counted on the way; if
    /// their number differs, the stage is counted, and if it is whole, a trigger is the reason.
    fn move_rows(
        &self,
        session: &mut Session,
        stage: &Stage,
        rows: u64,
        note: Option<&str>,
    ) -> Result<()> {
        let [empty, fill, drop] = &stage.publish;
        session.run(PUBLISH, &format!("BEGIN; {empty}"))?;
        let moved = session.run_counted(PUBLISH, fill)?;
        if moved != rows {
            let sql = format!("SELECT count(*) FROM {}", quoted_table(&stage.name));
            let found = session.row("count the staged rows", &sql, &[])?.number(0)?;
            check_stage(&stage.name.to_string(), rows, found)?;
            return Err(suppressed(rows, moved));
        }
        session.run(PUBLISH, &format!("{drop}; {}", self.sequences.join("; ")))?;
        note.map_or(Ok(()), |note| check_noted(session.change(PUBLISH, note)?))
    }
}

/// An overwrite promises the source's rows and reports them as inserted, so all have to be there.
fn suppressed(staged: u64, moved: u64) -> Error {
    let message = format!("{PUBLISH}: triggers of the target let {moved} of {staged} rows pass");
    Error::other(message).hint(
        "nothing was replaced; use `insert` with a `before` statement that empties the table: it \
         counts rows that a trigger suppresses as skipped",
    )
}

impl Destination<Session> for PostgresDestination {
    fn stage(&self) -> Option<&TableName> {
        self.stage.as_ref().map(|stage| &stage.name)
    }

    fn make(&self, session: &mut Session) -> Result<()> {
        self.stage.as_ref().map_or(Ok(()), |stage| session.run("make the stage", &stage.make))
    }

    fn publish(&self, session: &mut Session, rows: u64, note: Option<&str>) -> Result<Commit> {
        let Some(stage) = &self.stage else {
            for sql in &self.sequences {
                session.run("advance a sequence", sql)?;
            }
            return Ok(Commit::Committed);
        };
        if let Err(error) = self.move_rows(session, stage, rows, note) {
            // The first error is the one to report; what it leaves open ends with the session.
            let _ = session.clean_up(PUBLISH, "ROLLBACK");
            return Err(match self.target {
                Some(target) => blocker::named(session, target, error),
                None => error,
            });
        }
        session.commit_as(PUBLISH)
    }

    fn remove(&self, session: &mut Session) -> Result<()> {
        let Some(stage) = &self.stage else { return Ok(()) };
        let sql = format!("DROP TABLE IF EXISTS {}", quoted_table(&stage.name));
        session.clean_up("remove the stage", &sql)
    }

    fn count_task(&self, session: &mut Session, task: u32) -> Result<u64> {
        let Some(stage) = &self.stage else { return Ok(0) };
        let (table, column) = (quoted_table(&stage.name), quoted(TASK));
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} = {task}");
        session.row("count staged rows", &sql, &[])?.number(0)
    }

    fn remove_task(&self, session: &mut Session, task: u32) -> Result<()> {
        let Some(stage) = &self.stage else { return Ok(()) };
        let (table, column) = (quoted_table(&stage.name), quoted(TASK));
        let sql = format!("DELETE FROM {table} WHERE {column} = {task}");
        session.clean_up("remove staged rows", &sql)
    }

    fn restart_task(&self, session: &mut Session, task: u32) -> Result<()> {
        let Some(stage) = &self.stage else { return Ok(()) };
        let (table, column) = (quoted_table(&stage.name), quoted(TASK));
        let sql = format!("DELETE FROM {table} WHERE {column} = {task}");
        session.run("remove staged rows", &sql)
    }
}
