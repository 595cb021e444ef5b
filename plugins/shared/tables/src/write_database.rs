//! The seam below [`TableWriter`](crate::TableWriter): what one database does in its own way when
//! a table is written. Run state, chunk state, locking order, reconnecting and unknown outcomes
//! are not here: `writer` and `task` hold them once for all databases.
//!
//! Four small traits: [`WriteDatabase`] opens sessions and knows the catalog, [`Session`] is one
//! connection, [`Destination`] is where the rows of a run go, [`Loader`] moves batches.

use std::time::Duration;

use arrow_array::RecordBatch;
use transload_plugin_api::{
    Backoff, Error, Finding, Result, TableInfo, TargetInfo, TaskContext, WriteMode, WritePlan,
    Written,
};

use crate::{Dialect, Draft, Drafting, SessionIdentity, TableName, TargetTable, Wording};

/// The rows of a small result: each value as text, NULL as `None`.
pub type TextRows = Vec<Vec<Option<String>>>;

/// What a session is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To look up the catalog. Changes nothing and creates nothing, not even a database file.
    /// Ended by the job's stop signal.
    Look,
    /// To write. Ended by the job's stop signal.
    Write,
    /// To remove what a run left behind. Creates nothing, and is not ended by the stop signal,
    /// which may have been given already.
    CleanUp,
}

/// The outcome of a commit that the server did not refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is in.
    Committed,
    /// The connection was lost, or the stop signal given, after the commit was sent and before
    /// its reply: it may or may not be in. Holds what is known, for people.
    Lost(String),
}

/// One database that tables are written to. Shared by the threads of all tasks.
pub trait WriteDatabase: Send + Sync + 'static {
    /// How the database writes SQL.
    const DIALECT: &'static (dyn Dialect + Sync);
    /// How drafts word what only this database does.
    const WORDING: Wording<'static>;

    /// Whether the lock on a target proves that no other run writes it, so that what other runs have
    /// left can be removed.
    const SWEEPS: bool = true;

    /// Whether a statement that changes the schema commits by itself, so that nothing can be noted
    /// in its transaction.
    const COMMITS_DDL: bool = false;

    /// Whether publishing a stage is a transaction, in which a token can be kept.
    const PUBLISHES_WITH_TOKEN: bool = true;

    /// How often the session that holds the lock has to be used, so that the server keeps it;
    /// `None` where servers ask a silent client by themselves.
    fn keep_alive(&self) -> Option<Duration> {
        None
    }

    /// How long a server that was lost is tried again.
    fn reconnect_window(&self) -> Duration {
        Backoff::WINDOW
    }

    /// A connection.
    type Session: Session;
    /// A table as the catalog describes it.
    type Table: Into<TargetInfo>;
    /// Where the rows of a run go.
    type Destination: Destination<Self::Session>;
    /// Moves batches of one task.
    type Loader: Loader<Self::Session>;

    /// Opens a session. Called once for the job, once per task, and again after a loss.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`](transload_plugin_api::ErrorKind::Connection) if the server cannot
    /// be reached now: worth another attempt. Any other kind is final.
    fn connect(&self, access: Access) -> Result<Self::Session>;

    /// The findings of `check`: the way to the server, rights, and the target if one is named.
    ///
    /// # Errors
    /// None for what is a finding.
    fn check(&self, target: &TargetTable) -> Result<Vec<Finding>>;

    /// The tables and views that this login sees.
    ///
    /// # Errors
    /// Those of the query.
    fn tables(&self, session: &mut Self::Session) -> Result<Vec<TableInfo>>;

    /// The table of that name, or `None`. Asked of a session that a server may have closed in the
    /// meantime: a lost connection is an error of kind `Connection`.
    ///
    /// # Errors
    /// Those of the query.
    fn find_table(
        &self,
        session: &mut Self::Session,
        name: &TableName,
    ) -> Result<Option<Self::Table>>;

    /// Checks the plan against this database and against the current target, or `None` if there is
    /// no table yet, and drafts it. Changes nothing. Names, keys and filled
    /// columns are checked by [`Drafting::new_table`] and [`Drafting::existing_table`], one of
    /// which this calls.
    ///
    /// # Errors
    /// Whatever makes the plan impossible.
    fn draft(
        &self,
        session: &mut Self::Session,
        drafting: Drafting<'_>,
        name: &TableName,
        target: Option<&Self::Table>,
    ) -> Result<Draft>;

    /// Looks at a statement of the job without running it. `is_plain`: it only reads or changes rows,
    /// so that it can be explained; of others often no more than the text is looked at.
    ///
    /// # Errors
    /// What the database refuses: of kind `NotFound` or `Schema` where it names what is not there,
    /// `Denied` where a right is missing.
    fn try_statement(&self, session: &mut Self::Session, sql: &str, is_plain: bool) -> Result<()>;

    /// How many rows a table holds, counted up to `most`; `None` where it is no table, where that
    /// takes a right that the login lacks, and for more.
    ///
    /// # Errors
    /// Those of the query.
    fn count_rows(
        &self,
        session: &mut Self::Session,
        table: &Self::Table,
        most: u64,
    ) -> Result<Option<u64>>;

    /// Locks the target for a run, until the session ends: shared by runs that add rows, exclusive
    /// for one that replaces them all (`overwrite`). The table exists. Waits for another holder for
    /// as long as `patience`.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`](transload_plugin_api::ErrorKind::Locked) with the holder as hint.
    fn lock(
        &self,
        session: &mut Self::Session,
        name: &TableName,
        mode: WriteMode,
        patience: Duration,
    ) -> Result<()>;

    /// Drops a table that holds no row; returns whether it did. The caller holds the lock alone.
    ///
    /// # Errors
    /// Those of the statements. The table stays.
    fn drop_empty(&self, session: &mut Self::Session, name: &TableName) -> Result<bool>;

    /// The tables beside `name`, in its schema, whose names begin with `prefix`.
    ///
    /// # Errors
    /// Those of the query.
    fn tables_beside(
        &self,
        session: &mut Self::Session,
        name: &TableName,
        prefix: &str,
    ) -> Result<Vec<TableName>>;

    /// Drops a stage table of a dead run, unless a session uses it. Called with the lock alone.
    ///
    /// # Errors
    /// If a session uses it, and those of the statements. The table stays.
    fn drop_left(&self, session: &mut Self::Session, stage: &TableName) -> Result<()>;

    /// Where the rows of this run go. Looks at most; also right after the table was dropped.
    ///
    /// # Errors
    /// Those of a look-up.
    fn destination(
        &self,
        session: &mut Self::Session,
        name: &TableName,
        plan: &WritePlan,
    ) -> Result<Self::Destination>;

    /// The table's name as the catalog has it, with its schema.
    fn name_of<'t>(&self, table: &'t Self::Table) -> &'t TableName;

    /// Why rows of the table and a token do not share their fate: the table has no transactions, or
    /// loses its rows where others keep them.
    ///
    /// # Errors
    /// Those of a look-up.
    fn token_obstacle(
        &self,
        session: &mut Self::Session,
        table: &Self::Table,
    ) -> Result<Option<String>>;

    /// Why this login cannot create the table that `create` creates; `None` if nothing speaks
    /// against it.
    ///
    /// # Errors
    /// Those of a look-up.
    fn creation_problem(
        &self,
        session: &mut Self::Session,
        name: &TableName,
        create: &str,
    ) -> Result<Option<Error>>;

    /// How long statements of the session wait for the locks of others from now on; `None` is what
    /// the job says.
    ///
    /// # Errors
    /// Those of the statement.
    fn set_patience(&self, session: &mut Self::Session, patience: Option<Duration>) -> Result<()>;

    /// Lets the server end the session, and undo its transaction, soon after it hears nothing more
    /// of it. Called for sessions whose chunks are committed with tokens, which begin such a chunk
    /// again.
    ///
    /// # Errors
    /// Those of the statements.
    fn guard(&self, session: &mut Self::Session) -> Result<()>;

    /// Ends another session, if it is there still and may be ended: of the same user, begun at the
    /// same time. `None` if it is gone or has been told to go, else what it is, for people.
    ///
    /// # Errors
    /// Those of a look-up.
    fn end_session(
        &self,
        session: &mut Self::Session,
        other: &SessionIdentity,
    ) -> Result<Option<String>>;

    /// A loader of one task's rows. The table, and the stage if there is one, exist.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`](transload_plugin_api::ErrorKind::Schema) if the table has changed
    /// since the plan.
    fn loader(
        &self,
        session: &mut Self::Session,
        name: &TableName,
        plan: &WritePlan,
        destination: &Self::Destination,
        task: &TaskContext,
    ) -> Result<Self::Loader>;
}

/// A connection. A session that is dropped takes its open transaction back: by closing the
/// connection, or by a rollback where the connection is shared.
pub trait Session: Send {
    /// Runs a statement outside of a transaction of ours: all of it or nothing. `doing` is what
    /// error messages begin with.
    ///
    /// # Errors
    /// Of kind `Connection` if the session is lost.
    fn run(&mut self, doing: &str, sql: &str) -> Result<()>;

    /// Runs a statement of the job's and `note`, which keeps in the store that it has run: both or
    /// neither, except for statements that commit by themselves or cannot run in a transaction.
    ///
    /// # Errors
    /// As [`Session::run`].
    fn run_noted(&mut self, doing: &str, sql: &str, note: &str) -> Result<()> {
        // The line break ends a comment at the end of the statement.
        self.run(doing, &format!("{sql}\n;\n{note}"))
    }

    /// The rows of a small result, in the open transaction if there is one.
    ///
    /// # Errors
    /// Of kind `Connection` if the session is lost, `Retry` if a lock was not given in time.
    fn rows(&mut self, doing: &str, sql: &str) -> Result<TextRows>;

    /// Changes rows, in the open transaction or in one of its own, and returns how many.
    ///
    /// # Errors
    /// As [`Session::rows`], and of kind `Data` if a unique key forbids it.
    fn change(&mut self, doing: &str, sql: &str) -> Result<u64>;

    /// What identifies the session later.
    ///
    /// # Errors
    /// Those of a look-up.
    fn identity(&mut self) -> Result<SessionIdentity>;

    /// Begins a transaction; waits for its turn where writers take turns.
    ///
    /// # Errors
    /// Of kind `Connection` if the session is lost, for which the caller opens another one.
    fn begin(&mut self) -> Result<()>;

    /// Commits the open transaction.
    ///
    /// # Errors
    /// Only if the transaction is certainly not in. What cannot be known is [`Commit::Lost`].
    fn commit(&mut self) -> Result<Commit>;

    /// Rolls the open transaction back; nothing to do if the database did so by itself. Works
    /// after a stop signal as far as the connection does.
    ///
    /// # Errors
    /// The caller drops the session then.
    fn rollback(&mut self) -> Result<()>;
}

/// Where the rows of a run go: straight into the target, or into a stage that is published when
/// the job commits. Every verb can be repeated.
pub trait Destination<S>: Send + Sync {
    /// The stage, or `None` where chunks commit into the target. Publishing removes or renames the
    /// stage in the same transaction or statement, so that a missing stage means published.
    fn stage(&self) -> Option<&TableName>;

    /// Makes the stage unless it is there, or empties the target if the plan asks for that.
    ///
    /// # Errors
    /// Those of the statements.
    fn make(&self, session: &mut S) -> Result<()>;

    /// Publishes the stage, which is there, and does whatever else follows the last row, such as
    /// moving sequences on. Called for every run, staged or not. `rows` is how many rows the tasks
    /// have committed to the stage; it must hold neither more nor fewer, see
    /// [`check_stage`](crate::check_stage). `note` is a statement that belongs to the same
    /// transaction and must change one row, see [`check_noted`](crate::check_noted); it is left out
    /// where publishing is no transaction.
    ///
    /// # Errors
    /// Only if nothing is published. What cannot be known is [`Commit::Lost`].
    fn publish(&self, session: &mut S, rows: u64, note: Option<&str>) -> Result<Commit>;

    /// Removes the stage and what publishing left beside it. Nothing there is no error.
    ///
    /// # Errors
    /// Those of the statements.
    fn remove(&self, session: &mut S) -> Result<()>;

    /// How many rows of one task the stage holds; 0 without a stage. Waits for a transaction of
    /// that task which is still open in a session that was lost.
    ///
    /// # Errors
    /// Those of the statement.
    fn count_task(&self, session: &mut S, task: u32) -> Result<u64>;

    /// Removes one task's rows from the stage. Nothing to do without a stage.
    ///
    /// # Errors
    /// Those of the statement.
    fn remove_task(&self, session: &mut S, task: u32) -> Result<()>;

    /// As [`Destination::remove_task`], before the task begins again: for as long as it takes.
    ///
    /// # Errors
    /// Those of the statement.
    fn restart_task(&self, session: &mut S, task: u32) -> Result<()> {
        self.remove_task(session, task)
    }
}

/// Moves the batches of one task into the destination. All calls for a chunk get the same session,
/// inside its open transaction.
pub trait Loader<S>: Send {
    /// What shows later whether a chunk is in: its transaction's number, or keys of its rows.
    type Mark: Send;

    /// Prepares a new session outside of a transaction: temporary tables, prepared statements.
    ///
    /// # Errors
    /// Those of the statements.
    fn prepare(&mut self, session: &mut S) -> Result<()>;

    /// Loads a batch. Rows that the database refuses for their values come back as dirty rows.
    ///
    /// # Errors
    /// `Retry` to have the chunk rolled back and replayed, `Connection` if the session is lost
    /// (the caller turns it into `Retry`), any other kind to end the task.
    fn write(&mut self, session: &mut S, batch: &RecordBatch) -> Result<Written>;

    /// All rows written since `begin` are with the server and were taken, or an error. Called once
    /// before each commit.
    ///
    /// # Errors
    /// As [`Loader::write`].
    fn complete(&mut self, session: &mut S) -> Result<()>;

    /// The mark of the open chunk, which is complete. Called once before each commit.
    fn mark(&mut self, session: &mut S) -> Self::Mark;

    /// Whether the prepared session is with the server that the mark was made on, and that server
    /// did not restart since: what it has confirmed is there.
    fn is_same_server(&self, mark: &Self::Mark) -> bool;

    /// Whether a chunk is in the target; `None` if that cannot be known. Waits for a transaction
    /// that is still open in a session that was lost. `confirmed`: the server has confirmed the
    /// commit, and the question is whether it has kept it.
    ///
    /// # Errors
    /// Those of the statements.
    fn is_in(
        &mut self,
        session: &mut S,
        mark: &Self::Mark,
        confirmed: bool,
    ) -> Result<Option<bool>>;

    /// Ends what is open, such as a bulk load, before a rollback. The session may be lost.
    fn discard(&mut self, session: &mut S);
}
