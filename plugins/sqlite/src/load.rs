//! Rows into the table, one statement execution each: a row that a constraint refuses is undone
//! alone by SQLite itself (`OR ABORT`), so all other rows stay and none has to be searched for.
//!
//! Counts are exact because every row is asked for its own: `changes()` counts what the statement
//! itself did to the table, without triggers; for an upsert the statement calls a function of
//! ours on the way to `DO UPDATE`; a replace deletes the old rows in a statement of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use rusqlite::{Connection, Statement};
use transload_plugin_api::{DirtyRow, Error, ErrorKind, Result, WriteMode, WritePlan, Written};
use transload_sql::{Conflict, Insert, TableName, delete_matching};

use crate::{
    bind::{Cells, cells_of},
    catalog::{Table, TableKey},
    dialect::{SqliteDialect, quoted},
    failure::{RowFault, failure, row_fault},
    refusal::BoundColumn,
};

/// The name of the function that counts conflicts.
pub(crate) const CONFLICT_FUNCTION: &str = "transload_conflict";

/// What writing a batch needs.
pub(crate) struct Loader {
    insert: String,
    columns: Vec<BoundColumn>,
    /// For `replace`: how rows with one of the new row's keys are deleted.
    deletes: Vec<KeyDelete>,
}

/// A delete by one key and the columns to bind.
struct KeyDelete {
    sql: String,
    columns: Vec<usize>,
}

impl Loader {
    /// For writing the plan's columns. `table` is the target as it stands; `stage` is the table
    /// written instead and the (column, number) that marks this task's rows there.
    pub(crate) fn new(
        plan: &WritePlan,
        table: &Table,
        stage: Option<(&TableName, &str, u32)>,
    ) -> Result<Self> {
        let mut columns = Vec::with_capacity(plan.columns.len());
        for column in &plan.columns {
            let target = table.column(&column.name).ok_or_else(|| {
                let message =
                    format!("table `{}` has no column `{}`", table.name.table, column.name);
                Error::new(ErrorKind::Schema, message).hint("it was there when the plan was made")
            })?;
            columns.push(BoundColumn::new(target, &column.logical));
        }
        let insert = match stage {
            Some((stage, column, task)) => staged_insert(&columns, stage, column, task),
            None => insert_sql(plan, &columns, &table.name),
        };
        let deletes = match plan.mode {
            WriteMode::Replace => deletes(table, &columns),
            _ => Vec::new(),
        };
        Ok(Self { insert, columns, deletes })
    }

    /// Writes the batch's rows. `conflicts` is what the conflict function counts.
    pub(crate) fn write(
        &self,
        connection: &Connection,
        batch: &RecordBatch,
        conflicts: &AtomicU64,
    ) -> Result<Written> {
        let cells = cells_of(&self.columns, batch)?;
        let failed = |error: &rusqlite::Error| failure("write rows", error);
        let mut insert = connection.prepare(&self.insert).map_err(|error| failed(&error))?;
        let (mut written, mut scratch) = (Written::default(), Vec::new());
        for row in 0..batch.num_rows() {
            if let Err(dirty) = bind_row(&cells, row, &mut insert, &mut scratch) {
                written.dirty.push(dirty);
                continue;
            }
            let before = conflicts.load(Ordering::Relaxed);
            match insert.raw_execute() {
                Ok(0) => written.skipped += 1,
                Ok(_) if conflicts.load(Ordering::Relaxed) == before => written.inserted += 1,
                Ok(_) => written.updated += 1,
                Err(error) => {
                    let fault = row_fault(&error).ok_or_else(|| failed(&error))?;
                    still_open(connection, &fault)?;
                    let replaced = fault.code == "unique" && !self.deletes.is_empty();
                    match if replaced {
                        self.replace(connection, &mut insert, &cells, row)?
                    } else {
                        Some(fault)
                    } {
                        Some(fault) => {
                            written.dirty.push(dirty_row(fault, &cells, &self.columns, row))
                        }
                        None => written.updated += 1,
                    }
                }
            }
        }
        Ok(written)
    }

    /// Deletes the rows in the way and inserts again; if that fails as well, nothing has happened.
    fn replace(
        &self,
        connection: &Connection,
        insert: &mut Statement<'_>,
        cells: &[Cells<'_>],
        row: usize,
    ) -> Result<Option<RowFault>> {
        let failed = |error: rusqlite::Error| failure("replace a row", &error);
        connection.execute_batch("SAVEPOINT transload_replace").map_err(failed)?;
        let outcome =
            self.delete_conflicting(connection, cells, row).and_then(|()| insert.raw_execute());
        let fault = match outcome {
            Ok(_) => None,
            Err(error) => {
                let fault = row_fault(&error).ok_or_else(|| failed(error))?;
                still_open(connection, &fault)?;
                connection.execute_batch("ROLLBACK TO transload_replace").map_err(failed)?;
                Some(fault)
            }
        };
        connection.execute_batch("RELEASE transload_replace").map_err(failed)?;
        Ok(fault)
    }

    fn delete_conflicting(
        &self,
        connection: &Connection,
        cells: &[Cells<'_>],
        row: usize,
    ) -> rusqlite::Result<()> {
        let mut scratch = Vec::new();
        for delete in &self.deletes {
            let mut statement = connection.prepare(&delete.sql)?;
            for (index, column) in delete.columns.iter().enumerate() {
                // The same value was bound for the insert a moment ago.
                let _ = cells[*column].bind(row, &mut statement, index + 1, &mut scratch);
            }
            statement.raw_execute()?;
        }
        Ok(())
    }
}

fn bind_row(
    cells: &[Cells<'_>],
    row: usize,
    statement: &mut Statement<'_>,
    scratch: &mut Vec<u8>,
) -> std::result::Result<(), DirtyRow> {
    for (index, cell) in cells.iter().enumerate() {
        if let Err(refusal) = cell.bind(row, statement, index + 1, scratch) {
            let (code, reason) = refusal.words();
            return Err(DirtyRow {
                row: row as u64,
                place: None,
                column: Some(cell.name().to_owned()),
                value: cell.shown(row),
                code: code.to_owned(),
                reason,
            });
        }
    }
    Ok(())
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
    DirtyRow {
        row: row as u64,
        place: None,
        value: at.and_then(|at| cells[at].shown(row)),
        column,
        code: fault.code.to_owned(),
        reason: fault.reason,
    }
}

/// A trigger's `RAISE(ROLLBACK)` takes the whole chunk with it; what follows would be outside of
/// any transaction.
fn still_open(connection: &Connection, fault: &RowFault) -> Result<()> {
    if connection.is_autocommit() {
        let message = format!("a trigger rolled the whole chunk back: {}", fault.reason);
        return Err(Error::new(ErrorKind::Data, message)
            .hint("let the trigger RAISE(ABORT) instead, so that only its row is refused"));
    }
    Ok(())
}

fn insert_sql(plan: &WritePlan, columns: &[BoundColumn], table: &TableName) -> String {
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let key: Vec<_> = plan.key.iter().map(String::as_str).collect();
    let updated = updated_columns(plan);
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

/// The columns that an upsert updates: as the plan says, or all that are not in the key.
pub(crate) fn updated_columns(plan: &WritePlan) -> Vec<&str> {
    if !plan.update_columns.is_empty() {
        return plan.update_columns.iter().map(String::as_str).collect();
    }
    let in_key = |name: &str| plan.key.iter().any(|key| key.eq_ignore_ascii_case(name));
    let names = plan.columns.iter().map(|column| column.name.as_str());
    names.filter(|name| !in_key(name)).collect()
}

fn staged_insert(columns: &[BoundColumn], stage: &TableName, mark: &str, task: u32) -> String {
    let mut names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    names.push(mark);
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
