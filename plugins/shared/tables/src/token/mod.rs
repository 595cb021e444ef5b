//! Commit tokens: two small tables in the store, one row for each run and one for each of its tasks,
//! changed in the transactions of the rows. Here are their names, their DDL and whether they fit. A
//! run's row is in `run`, a task's in `task`; when they change is decided by `writer` and `task`.
//!
//! | table | column | what it holds |
//! |---|---|---|
//! | `run` | `active_key` | the target's full name while the run is active, unique; NULL afterwards |
//! | | `state`, `step` | how far the run has come, and how many of its statements have run |
//! | | `epoch` | how often the run was prepared: an earlier process is fenced |
//! | `task` | `epoch` | how often the task was claimed: an earlier attempt is fenced |
//! | | `seq` | how many chunks are committed |
//! | | `checkpoint` | what the host passed with the last of them |
//! | | `owner_id`, `owner_start` | the session of the last claim |
//! | `watermark` | `value` | where the last run of an incremental job ended: one row for each job and target |

mod fit;
mod run;
mod task;
mod watermark;

use transload_plugin_api::{Error, Result, TokenTables, code};

pub(crate) use fit::check;
pub(crate) use run::{Phase, RunToken};
pub(crate) use task::TaskToken;

use crate::{Dialect, TableName};

/// The version of what the rows mean.
const PROTOCOL: u32 = 1;
/// The most letters of a text column.
const LETTERS: usize = 255;

/// A session, as another one can find it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionIdentity {
    /// The server's number of it.
    pub id: i64,
    /// What distinguishes it from a later one of the same number; at most 64 letters.
    pub start: String,
}

/// Refuses to publish if `changed`, the rows that the note of
/// [`Destination::publish`](crate::Destination::publish) has changed, is not one.
///
/// # Errors
/// [`transload_plugin_api::code::RUN_FENCED`].
pub fn check_noted(changed: u64) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(run::taken_over()) }
}

/// The token tables of one run.
#[derive(Clone)]
pub(crate) struct Tokens {
    dialect: &'static (dyn Dialect + Sync),
    run: TableName,
    task: TableName,
    watermark: TableName,
    /// The run's id.
    id: String,
}

impl Tokens {
    /// The tables that a plan names, by default in the schema of `target`.
    pub(crate) fn new(
        dialect: &'static (dyn Dialect + Sync),
        tables: &TokenTables,
        target: Option<&TableName>,
        id: &str,
    ) -> Self {
        let schema = tables.schema.clone().or_else(|| target?.schema.clone());
        let named =
            |end: &str| TableName { schema: schema.clone(), table: tables.prefix.clone() + end };
        let (run, task, watermark) = (named("run"), named("task"), named("watermark"));
        Self { dialect, run, task, watermark, id: id.to_owned() }
    }

    /// What creates the tables.
    pub(crate) fn ddl(&self) -> [(&TableName, String); 2] {
        let (bytes, options) = (self.dialect.bytes_type(), self.dialect.table_options());
        let run = format!(
            "CREATE TABLE {} (run_id VARCHAR(64) NOT NULL PRIMARY KEY, job VARCHAR({LETTERS}) NOT \
             NULL, target VARCHAR({LETTERS}) NOT NULL, active_key VARCHAR({LETTERS}) UNIQUE, \
             plan_hash VARCHAR(64) NOT NULL, protocol INT NOT NULL, state VARCHAR(16) NOT NULL, \
             step INT NOT NULL, epoch BIGINT NOT NULL, \
             started TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP){options}",
            self.dialect.quoted_table(&self.run)
        );
        let task = format!(
            "CREATE TABLE {} (run_id VARCHAR(64) NOT NULL, task_id INT NOT NULL, \
             epoch BIGINT NOT NULL, seq BIGINT NOT NULL, state VARCHAR(16) NOT NULL, \
             checkpoint {bytes}, rows_read BIGINT NOT NULL, rows_inserted BIGINT NOT NULL, \
             rows_updated BIGINT NOT NULL, rows_skipped BIGINT NOT NULL, rows_dirty BIGINT NOT NULL, \
             owner_id BIGINT NOT NULL, owner_start VARCHAR(64) NOT NULL, \
             PRIMARY KEY (run_id, task_id)){options}",
            self.dialect.quoted_table(&self.task)
        );
        [(&self.run, run), (&self.task, task)]
    }

    /// As [`Tokens::ddl`], with the schema if the job names one: for an administrator.
    pub(crate) fn script(&self, tables: &TokenTables) -> Vec<String> {
        let schema = tables.schema.as_deref().and_then(|schema| self.dialect.create_schema(schema));
        let all = schema.into_iter().chain(self.ddl().map(|(_, sql)| sql));
        all.chain([self.watermark_ddl()]).collect()
    }

    /// The table of the runs' rows.
    pub(crate) fn runs(&self) -> &TableName {
        &self.run
    }

    /// The table of the tasks' rows, for people.
    pub(crate) fn shown(&self) -> String {
        self.dialect.shown(&self.task)
    }

    /// A value of a text column.
    fn text(&self, text: &str) -> String {
        let cut: String = text.chars().take(LETTERS).collect();
        self.dialect.text(&cut)
    }

    /// The condition that names the run's rows.
    fn of_run(&self) -> String {
        format!("run_id = {}", self.text(&self.id))
    }

    /// The condition that names a task's row.
    fn of_task(&self, task: u32) -> String {
        format!("{} AND task_id = {task}", self.of_run())
    }

    fn run_table(&self) -> String {
        self.dialect.quoted_table(&self.run)
    }

    fn task_table(&self) -> String {
        self.dialect.quoted_table(&self.task)
    }
}

/// A number of a row of tokens. One that cannot be read is not taken for a beginning.
fn number(row: &[Option<String>], at: usize) -> Result<u64> {
    text(row, at).parse().map_err(|_| {
        let message = format!("a token cannot be read: `{}` is no count", text(row, at));
        Error::other(message)
            .with_code(code::RUN_TOKEN)
            .hint("something else changes the token tables: compare the target with the source")
    })
}

/// A text of a row of tokens.
fn text(row: &[Option<String>], at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

#[cfg(test)]
mod tests;
