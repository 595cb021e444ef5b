//! Rows into the table, one statement execution each: a row that a constraint refuses is undone
//! alone by SQLite itself (`OR ABORT`), so all other rows stay and none has to be searched for.
//!
//! Counts are exact because every row is asked for its own: `changes()` counts what the statement
//! itself did to the table, without triggers; for an upsert the statement calls a function of
//! ours on the way to `DO UPDATE`; a replace deletes the old rows in a statement of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use rusqlite::{Connection, Statement};
use transload_plugin_api::{DirtyRow, Error, Result, RowError, WriteMode, WritePlan, Written};
use transload_tables::{Conflict, Insert, TableName, delete_matching};

use crate::{
    bind::{Cells, cells_of},
    catalog::{Table, TableKey},
    dialect::{SqliteDialect, quoted},
    draft::drafting,
    failure::{RowFault, failure, row_fault},
    refusal::BoundColumn,
    session::Session,
    stage::{SqliteDestination, TASK_COLUMN, set_references},
};

/// The name of the function that counts conflicts.
pub(crate) const CONFLICT_FUNCTION: &str = "transload_conflict";

/// What writing a batch needs.
pub(crate) struct Loader {
    insert: String,
    columns: Vec<BoundColumn>,
    /// For `replace`: how rows with one of the new row's keys are deleted.
    deletes: Vec<KeyDelete>,
    /// The target, if rows are staged.
    staged: Option<TableName>,
}

/// A delete by one key and the columns to bind.
struct KeyDelete {
    sql: String,
    columns: Vec<usize>,
}

impl Loader {
    /// A loader of the plan's columns. `table` is the target; rows of a stage carry
    /// the task's number.
    pub(crate) fn new(
        plan: &WritePlan,
        table: &Table,
        destination: &SqliteDestination,
        task: u32,
    ) -> Result<Self> {
        let mut columns = Vec::with_capacity(plan.columns.len());
        for column in &plan.columns {
            let target = table.column(&column.name).ok_or_else(|| {
                let message =
                    format!("table `{}` has no column `{}`", table.name.table, column.name);
                Error::schema(message).hint("it was there when the plan was made")
            })?;
            columns.push(BoundColumn::new(target, &column.logical));
        }
        let (insert, staged) = match destination {
            SqliteDestination::Staged(stage) => {
                (staged_insert(&columns, &stage.table, task), Some(stage.target.clone()))
            }
            SqliteDestination::Direct => (insert_sql(plan, &columns, &table.name), None),
        };
        let deletes = match plan.mode {
            WriteMode::Replace => deletes(table, &columns),
            _ => Vec::new(),
        };
        Ok(Self { insert, columns, deletes, staged })
    }

    /// Writes the batch's rows. `conflicts` is what the conflict function counts.
    fn write_rows(
        &self,
        connection: &Connection,
        batch: &RecordBatch,
        conflicts: &AtomicU64,
    ) -> Result<Written> {
        let mut rows = Rows::prepare(self, connection, batch, conflicts)?;
        let mut written = Written::default();
        for row in 0..batch.num_rows() {
            match rows.write(row)? {
                Outcome::Inserted => written.inserted += 1,
                Outcome::Updated => written.updated += 1,
                Outcome::Skipped => written.skipped += 1,
                Outcome::Dirty(dirty) => written.dirty.push(*dirty),
            }
        }
        Ok(written)
    }
}

impl transload_tables::Loader<Session> for Loader {
    /// Nothing is ever lost on the way to a file.
    type Mark = ();

    fn prepare(&mut self, session: &mut Session) -> Result<()> {
        match &self.staged {
            Some(target) => session.with(|connection| set_references(connection, target)),
            None => Ok(()),
        }
    }

    fn write(&mut self, session: &mut Session, batch: &RecordBatch) -> Result<Written> {
        session
            .with_conflicts(|connection, conflicts| self.write_rows(connection, batch, conflicts))
    }

    /// Each row is in, or refused, when its statement has run.
    fn complete(&mut self, _session: &mut Session) -> Result<()> {
        Ok(())
    }

    fn mark(&mut self, _session: &mut Session) {}

    fn is_same_server(&self, (): &()) -> bool {
        true
    }

    fn is_in(&mut self, _: &mut Session, (): &(), _confirmed: bool) -> Result<Option<bool>> {
        Ok(None)
    }

    fn discard(&mut self, _session: &mut Session) {}
}

/// The outcome of a row.
enum Outcome {
    Inserted,
    Updated,
    Skipped,
    Dirty(Box<DirtyRow>),
}

/// A batch's rows and the statements that take them, prepared once for all of them.
struct Rows<'a> {
    connection: &'a Connection,
    conflicts: &'a AtomicU64,
    columns: &'a [BoundColumn],
    cells: Vec<Cells<'a>>,
    insert: Statement<'a>,
    replacing: Option<Replacing<'a>>,
    scratch: Vec<u8>,
}

/// The statements around an insert that replaces.
struct Replacing<'a> {
    begin: Statement<'a>,
    undo: Statement<'a>,
    end: Statement<'a>,
    deletes: Vec<(Statement<'a>, &'a [usize])>,
}

impl<'a> Rows<'a> {
    fn prepare(
        loader: &'a Loader,
        connection: &'a Connection,
        batch: &'a RecordBatch,
        conflicts: &'a AtomicU64,
    ) -> Result<Self> {
        let prepare = |sql: &str| connection.prepare(sql).map_err(|error| failed(&error));
        let replacing = if loader.deletes.is_empty() {
            None
        } else {
            let delete = |key: &'a KeyDelete| Ok((prepare(&key.sql)?, key.columns.as_slice()));
            Some(Replacing {
                begin: prepare("SAVEPOINT transload_replace")?,
                undo: prepare("ROLLBACK TO transload_replace")?,
                end: prepare("RELEASE transload_replace")?,
                deletes: loader.deletes.iter().map(delete).collect::<Result<_>>()?,
            })
        };
        Ok(Self {
            connection,
            conflicts,
            columns: &loader.columns,
            cells: cells_of(&loader.columns, batch)?,
            insert: prepare(&loader.insert)?,
            replacing,
            scratch: Vec::new(),
        })
    }

    fn write(&mut self, row: usize) -> Result<Outcome> {
        if let Err(dirty) = bind_row(&self.cells, row, &mut self.insert, &mut self.scratch) {
            return Ok(Outcome::Dirty(dirty));
        }
        let before = self.conflicts.load(Ordering::Relaxed);
        let error = match self.insert.raw_execute() {
            Ok(0) => return Ok(Outcome::Skipped),
            Ok(_) if self.conflicts.load(Ordering::Relaxed) == before => {
                return Ok(Outcome::Inserted);
            }
            Ok(_) => return Ok(Outcome::Updated),
            Err(error) => error,
        };
        let mut fault = self.fault_of(&error)?;
        if fault.code == "unique" && self.replacing.is_some() {
            match self.replace(row)? {
                None => return Ok(Outcome::Updated),
                Some(found) => fault = found,
            }
        }
        Ok(Outcome::Dirty(Box::new(dirty_row(fault, &self.cells, self.columns, row))))
    }

    /// Deletes the rows in the way and inserts again; if that fails as well, nothing has happened.
    fn replace(&mut self, row: usize) -> Result<Option<RowFault>> {
        let Some(replacing) = &mut self.replacing else { return Ok(None) };
        let control = |statement: &mut Statement<'_>| {
            statement.raw_execute().map(drop).map_err(|error| failed(&error))
        };
        control(&mut replacing.begin)?;
        let mut outcome = Ok(());
        for (delete, columns) in &mut replacing.deletes {
            for (index, column) in columns.iter().enumerate() {
                // The same value was bound for the insert a moment ago.
                let _ = self.cells[*column].bind(row, delete, index + 1, &mut self.scratch);
            }
            outcome = outcome.and_then(|()| delete.raw_execute().map(drop));
        }
        let outcome = outcome.and_then(|()| self.insert.raw_execute());
        let fault = outcome.err().map(|error| self.fault_of(&error)).transpose()?;
        let Some(replacing) = &mut self.replacing else { return Ok(fault) };
        if fault.is_some() {
            control(&mut replacing.undo)?;
        }
        control(&mut replacing.end)?;
        Ok(fault)
    }

    /// The row's fault, or the error if the row is not at fault. A trigger's `RAISE(ROLLBACK)`
    /// takes the whole chunk with it, and what followed would be outside of any transaction.
    fn fault_of(&self, error: &rusqlite::Error) -> Result<RowFault> {
        let fault = row_fault(error).ok_or_else(|| failed(error))?;
        if self.connection.is_autocommit() {
            let message = format!("a trigger rolled the whole chunk back: {}", fault.reason);
            return Err(Error::data(message)
                .hint("let the trigger RAISE(ABORT) instead, so that only its row is refused"));
        }
        Ok(fault)
    }
}

fn failed(error: &rusqlite::Error) -> Error {
    failure("write rows", error)
}

fn bind_row(
    cells: &[Cells<'_>],
    row: usize,
    statement: &mut Statement<'_>,
    scratch: &mut Vec<u8>,
) -> std::result::Result<(), Box<DirtyRow>> {
    let mut refused: Option<DirtyRow> = None;
    for (index, cell) in cells.iter().enumerate() {
        if let Err(refusal) = cell.bind(row, statement, index + 1, scratch) {
            let (code, reason) = refusal.words();
            let column = Some(cell.name().to_owned());
            let error = RowError { column, value: cell.shown(row), ..RowError::new(code, reason) };
            refused = Some(match refused {
                None => DirtyRow::from(error).row(row as u64),
                Some(dirty) => dirty.error(error),
            });
        }
    }
    refused.map_or(Ok(()), |dirty| Err(Box::new(dirty)))
}

fn dirty_row(
    fault: RowFault,
    cells: &[Cells<'_>],
    columns: &[BoundColumn],
    row: usize,
) -> DirtyRow {
    let column = match &fault.columns[..] {
        [column] => Some(column.clone()),
        _ => None,
    };
    let at = column.as_ref().and_then(|name| columns.iter().position(|other| other.name == *name));
    let value = at.and_then(|at| cells[at].shown(row));
    DirtyRow { column, value, ..DirtyRow::new(fault.code, fault.reason).row(row as u64) }
}

fn insert_sql(plan: &WritePlan, columns: &[BoundColumn], table: &TableName) -> String {
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let key: Vec<_> = plan.key.iter().map(String::as_str).collect();
    let updated = drafting(plan).updated_columns();
    let conflict = match plan.mode {
        WriteMode::Insert | WriteMode::Replace | WriteMode::Overwrite => Conflict::Fail,
        WriteMode::Ignore => Conflict::Skip { key: &key },
        WriteMode::Upsert if updated.is_empty() => Conflict::Skip { key: &key },
        WriteMode::Upsert => Conflict::Update { key: &key, columns: &updated },
    };
    // `OR ABORT` overrides what constraints of the table say for themselves, such as IGNORE.
    let insert = Insert { verb: "INSERT OR ABORT INTO", table, columns: &names, rows: 1, conflict };
    let mut sql = insert.sql(&SqliteDialect);
    if matches!(conflict, Conflict::Update { .. }) {
        sql.push_str(&format!(" WHERE {CONFLICT_FUNCTION}()"));
    }
    sql
}

fn staged_insert(columns: &[BoundColumn], stage: &TableName, task: u32) -> String {
    let mut names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    names.push(TASK_COLUMN);
    let insert = Insert {
        verb: "INSERT OR ABORT INTO",
        table: stage,
        columns: &names,
        rows: 1,
        conflict: Conflict::Fail,
    };
    // The mark is the same for all rows of the task: a constant in place of the last parameter.
    let sql = insert.sql(&SqliteDialect);
    let last = format!("?{})", names.len());
    format!("{}{task})", sql.strip_suffix(&last).unwrap_or(&sql))
}

fn deletes(table: &Table, columns: &[BoundColumn]) -> Vec<KeyDelete> {
    let find = |name: &String| columns.iter().position(|column| column.name == *name);
    let delete = |key: &TableKey| {
        let indexes = key.key.columns.iter().map(find).collect::<Option<Vec<_>>>()?;
        let collations: Vec<_> =
            key.collations.iter().map(|name| format!(" COLLATE {}", quoted(name))).collect();
        let terms: Vec<_> = (key.key.columns.iter().zip(&collations).enumerate())
            .map(|(at, (name, collation))| (name.as_str(), at + 1, collation.as_str()))
            .collect();
        let sql = delete_matching(&SqliteDialect, &table.name, &terms);
        Some(KeyDelete { sql, columns: indexes })
    };
    table.keys.iter().filter(|key| !key.key.unusable).filter_map(delete).collect()
}
