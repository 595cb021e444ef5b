//! The rows of one task: a chunk is a transaction of the driver's connection, and a batch one bulk
//! ingest. A refused batch is divided until the rows at fault are alone; what the driver had taken
//! of it is undone by a savepoint or, where there are none, by a rollback and a replay.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow_array::{
    RecordBatch,
    cast::AsArray as _,
    types::{Float32Type, Float64Type},
};
use arrow_schema::{Field, Schema, SchemaRef};
use parking_lot::{Condvar, Mutex};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Counters, DirtyRow, Error, ErrorKind, Position, Receipt, Result,
    WriteTask, Written,
};
use transload_tables::TableName;

use crate::{
    session::{APPEND, Session},
    store::Store,
};

/// Chunks of one writer take turns: embedded databases have one writer, and a driver does not tell
/// a lock that was not given from a row that is refused.
#[derive(Default)]
pub(crate) struct Turns {
    is_taken: Mutex<bool>,
    free: Condvar,
}

/// The turn, until it is dropped.
struct Turn(Arc<Turns>);

impl Turn {
    fn wait(turns: &Arc<Turns>, cancel: &Cancel) -> Result<Self> {
        let mut is_taken = turns.is_taken.lock();
        while *is_taken {
            cancel.check()?;
            turns.free.wait_for(&mut is_taken, Duration::from_millis(50));
        }
        *is_taken = true;
        Ok(Self(Arc::clone(turns)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.is_taken.lock() = false;
        self.0.free.notify_one();
    }
}

/// What every task of a writer writes.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) table: TableName,
    /// The table's columns that are written, in its order: some drivers go by that alone.
    pub(crate) columns: Vec<Column>,
    /// Where each of them is in the plan's batches.
    pub(crate) indexes: Vec<usize>,
    pub(crate) enough_dirty: Option<u64>,
    /// The database keeps NaN as NULL, and -0.0 as 0.0, without a word.
    pub(crate) changes_floats: bool,
}

impl Load {
    /// The rows with a value that would be changed, in order, each with the column.
    fn changed(&self, rows: &RecordBatch) -> Vec<(usize, String)> {
        if !self.changes_floats {
            return Vec::new();
        }
        let mut found: BTreeMap<usize, String> = BTreeMap::new();
        for (column, array) in self.columns.iter().zip(rows.columns()) {
            let mut note = |row| _ = found.entry(row).or_insert_with(|| column.name.clone());
            if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
                let values = floats.iter().enumerate();
                values.filter(|(_, v)| v.is_some_and(is_changed)).for_each(|(row, _)| note(row));
            } else if let Some(floats) = array.as_primitive_opt::<Float32Type>() {
                let values = floats.iter().enumerate();
                let changed = |value: f32| is_changed(value.into());
                values.filter(|(_, v)| v.is_some_and(changed)).for_each(|(row, _)| note(row));
            }
        }
        found.into_iter().collect()
    }
}

fn is_changed(value: f64) -> bool {
    value.is_nan() || value == 0.0 && value.is_sign_negative()
}

/// The writing of one task.
pub(crate) struct AdbcTask {
    store: Arc<Store>,
    turns: Arc<Turns>,
    load: Load,
    schema: SchemaRef,
    task: u32,
    /// `None` after a lost connection.
    session: Option<Session>,
    has_savepoints: bool,
    /// The open chunk.
    turn: Option<Turn>,
    /// What the chunk holds so far, for a replay.
    taken: Vec<RecordBatch>,
}

impl AdbcTask {
    pub(crate) fn open(
        store: &Arc<Store>,
        turns: &Arc<Turns>,
        load: Load,
        task: u32,
    ) -> Result<Self> {
        // The metadata of our types says nothing to a driver, and some refuse extensions.
        let plain =
            |column: &Column| Field::new(&column.name, column.logical.data_type(), column.nullable);
        let schema = Arc::new(Schema::new(load.columns.iter().map(plain).collect::<Vec<_>>()));
        let (store, turns) = (Arc::clone(store), Arc::clone(turns));
        let (session, turn, taken) = (None, None, Vec::new());
        let mut opened =
            Self { store, turns, load, schema, task, session, has_savepoints: false, turn, taken };
        opened.connect()?;
        Ok(opened)
    }

    fn connect(&mut self) -> Result<()> {
        let session = self.store.connect(self.store.host.cancel())?;
        session.begin_transactions()?;
        self.has_savepoints = has_savepoints(&session);
        session.rollback()?;
        self.session = Some(session);
        Ok(())
    }

    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| Error::retry("the connection was lost"))
    }

    /// Ingests rows: all of them, or none. `Ok(Some)` is why they are refused.
    fn take(&mut self, rows: &RecordBatch) -> Result<Option<Error>> {
        let session = self.session()?;
        if self.has_savepoints {
            session.execute("set a savepoint", MARK)?;
        }
        match session.ingest(&self.load.table, APPEND, rows) {
            Ok(()) => {
                if self.has_savepoints {
                    session.execute("release a savepoint", RELEASE)?;
                }
                self.taken.push(rows.clone());
                Ok(None)
            }
            Err(refused) if may_be_a_row(&refused) => {
                self.undo()?;
                Ok(Some(refused))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes back what the driver has kept of a refused ingest, and nothing else of the chunk.
    fn undo(&self) -> Result<()> {
        let session = self.session()?;
        if self.has_savepoints {
            session.execute("return to a savepoint", BACK)?;
            return session.execute("release a savepoint", RELEASE).map(drop);
        }
        session.rollback()?;
        self.taken.iter().try_for_each(|rows| session.ingest(&self.load.table, APPEND, rows))
    }

    fn take_all(&mut self, rows: &RecordBatch, written: &mut Written) -> Result<()> {
        let mut from = 0;
        for (row, column) in self.load.changed(rows) {
            self.divide(rows, from, row, written)?;
            let reason = "NaN and -0.0 are not kept by the database";
            written.dirty.push(DirtyRow::new("range", reason).row(row as u64).column(column));
            from = row + 1;
        }
        self.divide(rows, from, rows.num_rows(), written)
    }

    /// Takes what can be taken of rows `from..to` of a batch.
    fn divide(
        &mut self,
        batch: &RecordBatch,
        from: usize,
        to: usize,
        written: &mut Written,
    ) -> Result<()> {
        let is_enough =
            self.load.enough_dirty.is_some_and(|enough| written.dirty.len() as u64 >= enough);
        if is_enough || from == to {
            written.skipped += (to - from) as u64;
            return Ok(());
        }
        let Some(refused) = self.take(&batch.slice(from, to - from))? else {
            written.inserted += (to - from) as u64;
            return Ok(());
        };
        if to - from == 1 {
            let word = if refused.code == "ADBC-23505" { "unique" } else { "refused" };
            written.dirty.push(DirtyRow::new(word, refused.message).row(from as u64));
            return Ok(());
        }
        let middle = from + (to - from) / 2;
        self.divide(batch, from, middle, written)?;
        self.divide(batch, middle, to, written)
    }

    fn end_chunk(&mut self) {
        self.taken.clear();
        self.turn = None;
    }
}

/// Whether a savepoint undoes a statement that has failed. The driver of PostgreSQL knows savepoints, and
/// sends nothing more but a rollback once a statement has failed.
fn has_savepoints(session: &Session) -> bool {
    let succeeds = |sql| session.execute("look for savepoints", sql).is_ok();
    succeeds(MARK) && !succeeds(BROKEN) && succeeds(BACK)
}

/// Fails on every database.
const BROKEN: &str = "SELECT transload_no_column FROM transload_no_table";
const MARK: &str = "SAVEPOINT transload_rows";
const BACK: &str = "ROLLBACK TO SAVEPOINT transload_rows";
const RELEASE: &str = "RELEASE SAVEPOINT transload_rows";

/// Whether single rows may be what a driver refuses. Few say it as clearly as by the kind `Data`.
fn may_be_a_row(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Data | ErrorKind::Options)
        || error.kind == ErrorKind::Other && !error.message.contains("locked")
}

impl WriteTask for AdbcTask {
    fn begin_chunk(&mut self, _sequence: u64) -> Result<()> {
        if self.turn.is_some() {
            return Err(Error::defect("a chunk is open"));
        }
        let turn = Turn::wait(&self.turns, self.store.host.cancel())?;
        if self.session.is_none() {
            self.connect()?;
        }
        self.turn = Some(turn);
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        if self.turn.is_none() {
            return Err(Error::defect("no chunk is open"));
        }
        let columns = self.load.indexes.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::defect(format!("a batch is not as planned: {error}")))?;
        let mut written = Written::default();
        if rows.num_rows() == 0 {
            return Ok(written);
        }
        let done = self.take_all(&rows, &mut written);
        match done {
            Err(error) if error.kind == ErrorKind::Connection => {
                self.session = None;
                Err(Error { kind: ErrorKind::Retry, ..error })
            }
            done => done.map(|()| written),
        }
    }

    fn commit_chunk(&mut self, _position: &Position, _counters: &Counters) -> Result<ChunkOutcome> {
        if self.turn.is_none() {
            return Err(Error::defect("no chunk is open"));
        }
        match self.session()?.commit() {
            Ok(()) => {
                self.end_chunk();
                Ok(ChunkOutcome::Committed)
            }
            Err(error) if matches!(error.kind, ErrorKind::Connection | ErrorKind::Cancelled) => {
                self.session = None;
                self.end_chunk();
                let table = &self.load.table;
                let evidence = format!("no reply to the commit of rows for `{table}`: {error}");
                Ok(ChunkOutcome::Unknown { evidence })
            }
            Err(error) => Err(error),
        }
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        let outcome = match &self.session {
            Some(session) if self.turn.is_some() => session.rollback(),
            _ => Ok(()),
        };
        if outcome.is_err() {
            // A connection that is closed takes its transaction back.
            self.session = None;
        }
        self.end_chunk();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        match self.turn {
            Some(_) => Err(Error::defect("a chunk is open")),
            None => Ok(Receipt { task: self.task, data: String::new() }),
        }
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.rollback_chunk()
    }
}
