//! Where the rows of a run go. An overwrite stages them in a table of the target's own shape,
//! which takes the target's name when the job commits: RENAME is atomic, while TRUNCATE would
//! commit by itself.

use transload_plugin_api::{Error, Result};
use transload_tables::{Commit, Destination, Dialect as _, TableName, check_stage};

use crate::{
    catalog,
    dialect::{MysqlDialect, quoted},
    session::Session,
};

/// The stage's extra column: which task wrote a row, so that one task's rows can be removed.
pub(crate) const TASK_COLUMN: &str = "__transload_task";

/// Where the rows go.
pub(crate) enum MysqlDestination {
    /// Into the target, chunk by chunk.
    Direct,
    /// Into the target, which is emptied before the first row.
    Emptied(TableName),
    /// Into a stage.
    Staged(Stage),
}

/// The stage of a run.
pub(crate) struct Stage {
    target: TableName,
    /// The stage's name.
    pub(crate) table: TableName,
    /// The old table's name until it is dropped.
    old: TableName,
}

pub(crate) fn in_full(name: &TableName) -> String {
    MysqlDialect.quoted_table(name)
}

/// What empties the target where it is not staged. It commits by itself.
pub(crate) fn truncation(target: &TableName) -> String {
    format!("TRUNCATE TABLE {}", in_full(target))
}

impl Stage {
    pub(crate) fn new(target: &TableName, run: &str) -> Self {
        let derived = |word: &str| {
            let table = MysqlDialect.derived_name(&target.table, &format!("{word}_{run}"));
            TableName { schema: target.schema.clone(), table }
        };
        let (table, old) = (derived("transload"), derived("transload_old"));
        Self { target: target.clone(), table, old }
    }

    /// What makes the stage.
    pub(crate) fn creation(&self) -> [String; 2] {
        let (stage, mark) = (in_full(&self.table), quoted(TASK_COLUMN));
        [
            format!("CREATE TABLE {stage} LIKE {}", in_full(&self.target)),
            format!("ALTER TABLE {stage} ADD COLUMN {mark} INT UNSIGNED NOT NULL FIRST"),
        ]
    }

    /// What publishes it.
    pub(crate) fn publication(&self) -> [String; 3] {
        let (into, stage, old) = (in_full(&self.target), in_full(&self.table), in_full(&self.old));
        [
            format!("ALTER TABLE {stage} DROP COLUMN {}", quoted(TASK_COLUMN)),
            format!("RENAME TABLE {into} TO {old}, {stage} TO {into}"),
            format!("DROP TABLE {old}"),
        ]
    }

    /// How many rows the stage holds, those that `which` (a WHERE clause, or nothing) names.
    fn count(&self, session: &mut Session, which: &str) -> Result<u64> {
        let sql = format!("SELECT COUNT(*) FROM {}{which}", in_full(&self.table));
        let rows = session.rows("count the staged rows", &sql)?;
        let count = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        count.ok_or_else(|| Error::other("count the staged rows: the server returned no number"))
    }

    fn make(&self, session: &mut Session) -> Result<()> {
        let found = catalog::find_table(session, &self.table)?;
        let done = match &found {
            None => 0,
            Some(found) if found.column(TASK_COLUMN).is_none() => 1,
            Some(_) => 2,
        };
        for sql in &self.creation()[done..] {
            session.run("make the stage table", sql)?;
        }
        Ok(())
    }

    fn publish(&self, session: &mut Session, rows: u64) -> Result<Commit> {
        let found = self.count(session, "")?;
        check_stage(&self.table.to_string(), rows, found)?;
        let [unmark, swap, _] = self.publication();
        let stage = catalog::find_table(session, &self.table)?;
        if stage.is_some_and(|stage| stage.column(TASK_COLUMN).is_some()) {
            session.run("finish the stage table", &unmark)?;
        }
        session.outcome("publish the stage table", &swap)
    }
}

impl Destination<Session> for MysqlDestination {
    fn stage(&self) -> Option<&TableName> {
        match self {
            Self::Staged(stage) => Some(&stage.table),
            Self::Direct | Self::Emptied(_) => None,
        }
    }

    fn make(&self, session: &mut Session) -> Result<()> {
        match self {
            Self::Direct => Ok(()),
            Self::Emptied(target) => session.run("empty the target", &truncation(target)).map(drop),
            Self::Staged(stage) => stage.make(session),
        }
    }

    /// RENAME commits by itself, so the note is not kept with it.
    fn publish(&self, session: &mut Session, rows: u64, _note: Option<&str>) -> Result<Commit> {
        match self {
            Self::Direct | Self::Emptied(_) => Ok(Commit::Committed),
            Self::Staged(stage) => stage.publish(session, rows),
        }
    }

    fn remove(&self, session: &mut Session) -> Result<()> {
        let Self::Staged(stage) = self else { return Ok(()) };
        for name in [&stage.table, &stage.old] {
            let sql = format!("DROP TABLE IF EXISTS {}", in_full(name));
            session.run("remove the stage table", &sql)?;
        }
        Ok(())
    }

    fn count_task(&self, session: &mut Session, task: u32) -> Result<u64> {
        let Self::Staged(stage) = self else { return Ok(0) };
        // A locking read waits for rows that a lost session has not committed yet.
        let which = format!(" WHERE {} = {task} LOCK IN SHARE MODE", quoted(TASK_COLUMN));
        stage.count(session, &which)
    }

    fn remove_task(&self, session: &mut Session, task: u32) -> Result<()> {
        let Self::Staged(stage) = self else { return Ok(()) };
        let (table, mark) = (in_full(&stage.table), quoted(TASK_COLUMN));
        let sql = format!("DELETE FROM {table} WHERE {mark} = {task}");
        session.run("remove a task's rows", &sql).map(drop)
    }
}
