//! The reading of one split: a thread of our own steps one statement inside one transaction, so
//! that a split sees one state of the database, and hands over finished batches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter;
use rusqlite::{Connection, InterruptHandle, Row, types::ValueRef};
use transload_plugin_api::{
    Cancel, Column, DirtyRow, Error, Origin, Position, ReadBatch, ReadTask, Result, RowError,
    schema_of,
};
use transload_tables::{KeyValue, encode_key, running};
use transload_values::{BATCH_BYTES, BATCH_ROWS, Fault, JsonRow, write};

use crate::{
    decode::ColumnDecoder,
    failure::failure,
    fit::Misfit,
    key::{bound, key_value},
};

/// What is read and where in a row it stands.
pub(crate) struct ScanPlan {
    pub(crate) sql: String,
    pub(crate) values: Vec<KeyValue>,
    pub(crate) columns: Vec<Column>,
    /// For each column its place in the statement's rows.
    pub(crate) indexes: Vec<usize>,
    /// How many columns at the end of a row are the key by which rows are ordered.
    pub(crate) key_columns: usize,
    /// `rowid` where the key is one; empty otherwise.
    pub(crate) key_name: String,
    /// The table, or `query`.
    pub(crate) source: String,
}

/// A running scan.
pub(crate) struct Scan {
    batches: Option<Receiver<Result<Option<ReadBatch>>>>,
    interrupt: Arc<InterruptHandle>,
    stopped: Arc<AtomicBool>,
    ended: bool,
}

impl Scan {
    /// Starts reading ahead: one batch waits while the next is made.
    pub(crate) fn start(connection: Connection, plan: ScanPlan, cancel: &Cancel) -> Result<Self> {
        let interrupt = Arc::new(connection.get_interrupt_handle());
        let on_cancel = Arc::clone(&interrupt);
        cancel.on_cancel(move || on_cancel.interrupt());
        let stopped = Arc::new(AtomicBool::new(false));
        let (sender, batches) = sync_channel(1);
        let state = (cancel.clone(), Arc::clone(&stopped));
        let decoders = plan.columns.iter().map(ColumnDecoder::new).collect::<Result<Vec<_>>>()?;
        thread::Builder::new()
            .name("sqlite-read".to_owned())
            .spawn(move || {
                let mut batch = BatchBuilder::new(plan, decoders);
                let end = scan(&connection, &mut batch, &sender, &state.0, &state.1);
                // There is no receiver any more if the task was dropped.
                let _ = sender.send(end.map(|()| None));
            })
            .map_err(|error| Error::from(error).at("start of the reading thread"))?;
        Ok(Self { batches: Some(batches), interrupt, stopped, ended: false })
    }
}

impl ReadTask for Scan {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        let Some(batches) = self.batches.as_ref().filter(|_| !self.ended) else {
            return Ok(None);
        };
        // A thread that ended without saying so has panicked.
        let next = batches.recv().unwrap_or_else(|_| {
            Err(Error::defect("the reading thread ended before the split did"))
        });
        self.ended = matches!(next, Ok(None));
        next
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.batches = None;
        self.interrupt.interrupt();
    }
}

type Sender = SyncSender<Result<Option<ReadBatch>>>;

fn scan(
    connection: &Connection,
    batch: &mut BatchBuilder,
    sender: &Sender,
    cancel: &Cancel,
    stopped: &AtomicBool,
) -> Result<()> {
    let failed = |error: rusqlite::Error| match cancel.check() {
        Err(cancelled) => cancelled,
        Ok(()) => failure("read rows", &error),
    };
    cancel.check()?;
    let running = running("read rows", &batch.plan.sql);
    let mut statement = connection.prepare(&batch.plan.sql).map_err(failed)?;
    drop(running);
    for (index, value) in batch.plan.values.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, bound(value)).map_err(failed)?;
    }
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(failed)? {
        batch.add(row).map_err(failed)?;
        if batch.is_full() {
            let made = batch.finish()?;
            if sender.send(Ok(Some(made))).is_err() || stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            cancel.check()?;
        }
    }
    if batch.rows > 0 {
        let made = batch.finish()?;
        // There is no receiver any more if the task was dropped.
        let _ = sender.send(Ok(Some(made)));
    }
    Ok(())
}

/// Gathers rows until a batch is full.
struct BatchBuilder {
    plan: ScanPlan,
    schema: SchemaRef,
    decoders: Vec<ColumnDecoder>,
    /// Rows added, dirty ones included.
    rows: usize,
    bytes: u64,
    dirty: Vec<DirtyRow>,
    /// Which of the rows are dirty, in order.
    dirty_rows: Vec<usize>,
    /// The key of the last row.
    key: Vec<KeyValue>,
    first_rowid: i64,
    /// Rows of the split before this batch.
    passed: u64,
}

impl BatchBuilder {
    fn new(plan: ScanPlan, decoders: Vec<ColumnDecoder>) -> Self {
        let schema = schema_of(&plan.columns);
        Self {
            plan,
            schema,
            decoders,
            rows: 0,
            bytes: 0,
            dirty: Vec::new(),
            dirty_rows: Vec::new(),
            key: Vec::new(),
            first_rowid: 0,
            passed: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES as u64
    }

    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        self.note_key(row)?;
        let mut faults = Vec::new();
        for at in 0..self.decoders.len() {
            let value = row.get_ref(self.plan.indexes[at])?;
            self.bytes += size_of_value(value);
            if let Err(misfit) = self.decoders[at].append(value) {
                faults.push((at, misfit));
            }
        }
        if !faults.is_empty() {
            self.set_dirty(&faults, row)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Notes the row as dirty and keeps all columns of one length.
    #[cold]
    fn set_dirty(&mut self, faults: &[(usize, Misfit)], row: &Row<'_>) -> rusqlite::Result<()> {
        let mut dirty: Option<DirtyRow> = None;
        for (at, misfit) in faults {
            let error = self.row_error(*at, misfit, row.get_ref(self.plan.indexes[*at])?);
            dirty = Some(match dirty {
                None => DirtyRow::from(error).place(self.place()).number(self.number()),
                Some(dirty) => dirty.error(error),
            });
        }
        let values = self.values(row)?;
        self.dirty.extend(dirty.map(|dirty| dirty.values(values)));
        self.dirty_rows.push(self.rows);
        for decoder in &mut self.decoders {
            decoder.fill_to(self.rows + 1);
        }
        Ok(())
    }

    /// The row's values as they are stored.
    fn values(&self, row: &Row<'_>) -> rusqlite::Result<String> {
        let mut values = JsonRow::default();
        for (column, index) in self.plan.columns.iter().zip(&self.plan.indexes) {
            let name = column.name.as_str();
            match row.get_ref(*index)? {
                ValueRef::Null => values.null(name),
                ValueRef::Integer(number) => values.raw(name, &number.to_string()),
                ValueRef::Real(number) if number.is_finite() => {
                    values.raw(name, &format!("{number:?}"));
                }
                ValueRef::Real(number) => values.text(name, &number.to_string()),
                ValueRef::Text(text) => values.bytes(name, text),
                ValueRef::Blob(bytes) => values.text(name, &write::hex_string(bytes)),
            }
        }
        Ok(values.finish())
    }

    /// The row's number, in the unit of the batch's origin.
    fn number(&self) -> u64 {
        match (self.plan.key_name.is_empty(), &self.key[..]) {
            (false, [KeyValue::Integer(rowid)]) => u64::try_from(*rowid).unwrap_or_default(),
            _ => self.passed + self.rows as u64 + 1,
        }
    }

    /// Keeps the row's key, in the place of the one before it.
    fn note_key(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let keys = self.plan.key_columns;
        let base = self.plan.columns.len();
        self.key.resize(keys, KeyValue::Integer(0));
        for (at, kept) in self.key.iter_mut().enumerate() {
            match (row.get_ref(base + at)?, kept) {
                (ValueRef::Integer(number), kept) => *kept = KeyValue::Integer(number.into()),
                (ValueRef::Text(bytes), KeyValue::Text(text)) if bytes.is_ascii() => {
                    text.clear();
                    text.extend(bytes.iter().map(|byte| char::from(*byte)));
                }
                (value, kept) => match key_value(value) {
                    Some(key) => *kept = key,
                    None => return Err(unusable_key(base + at, value)),
                },
            }
        }
        if self.rows == 0
            && let [KeyValue::Integer(rowid)] = self.key[..]
        {
            self.first_rowid = rowid as i64;
        }
        Ok(())
    }

    fn row_error(&self, at: usize, misfit: &Misfit, value: ValueRef<'_>) -> RowError {
        let column = &self.plan.columns[at];
        let found = match value {
            ValueRef::Null => "null".to_owned(),
            value => format!("{}: {}", class_of(value), shown(value)),
        };
        let reason = match misfit {
            Misfit::Value(Fault::Length) => {
                format!("expected at most `{}`, found {found}", column.logical)
            }
            Misfit::Value(Fault::Utf8) => "the text is not UTF-8".to_owned(),
            Misfit::Value(Fault::Null) => "expected a value, found null".to_owned(),
            _ => format!("expected `{}`, found {found}", column.logical),
        };
        let found = (value != ValueRef::Null).then(|| shown(value));
        let error = RowError::new(misfit.code(), reason).column(column.name.clone());
        RowError { value: found, ..error }
    }

    fn place(&self) -> String {
        let source = &self.plan.source;
        let words: Vec<_> = self
            .key
            .iter()
            .map(|value| match value {
                KeyValue::Integer(number) => number.to_string(),
                KeyValue::Real(bits) => f64::from_bits(*bits).to_string(),
                KeyValue::Text(text) => format!("'{text}'"),
                KeyValue::Bytes(bytes) => shown(ValueRef::Blob(bytes)),
            })
            .collect();
        match (self.plan.key_name.as_str(), words.is_empty()) {
            (_, true) => format!("{source}, row {}", self.passed + self.rows as u64 + 1),
            ("", _) => format!("{source}, key {}", words.join(", ")),
            (name, _) => format!("{source}, {name} {}", words.join(", ")),
        }
    }

    fn finish(&mut self) -> Result<ReadBatch> {
        let mut arrays = Vec::with_capacity(self.decoders.len());
        for decoder in &mut self.decoders {
            arrays.push(decoder.finish());
        }
        let clean = self.rows - self.dirty_rows.len();
        if clean < self.rows {
            arrays = without(&arrays, &self.dirty_rows, self.rows)?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(clean));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| Error::defect(format!("make a batch: {error}")))?;
        let origin = Some(self.origin());
        let position = match self.plan.key_columns {
            0 => Position((self.passed + self.rows as u64).to_be_bytes().to_vec()),
            _ => Position(encode_key(&self.key)),
        };
        self.passed += self.rows as u64;
        self.rows = 0;
        self.dirty_rows.clear();
        let (bytes, dirty) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.dirty));
        Ok(ReadBatch { batch, position, origin, dirty, bytes })
    }

    fn origin(&self) -> Origin {
        let source = self.plan.source.clone();
        let origin = match (self.plan.key_name.is_empty(), &self.key[..]) {
            (false, [KeyValue::Integer(last)]) if self.first_rowid >= 0 => Origin {
                source,
                unit: self.plan.key_name.clone(),
                first: self.first_rowid.unsigned_abs(),
                exact: last - i128::from(self.first_rowid) + 1 == self.rows as i128,
                gaps: Vec::new(),
                file: None,
            },
            _ => Origin::new(source, "row", self.passed + 1),
        };
        let first = origin.first;
        origin.without(self.dirty_rows.iter().map(|row| first + *row as u64))
    }
}

/// The arrays without some rows.
fn without(arrays: &[ArrayRef], dropped: &[usize], rows: usize) -> Result<Vec<ArrayRef>> {
    let mut keep = vec![true; rows];
    for row in dropped {
        keep[*row] = false;
    }
    let keep = BooleanArray::from(keep);
    arrays
        .iter()
        .map(|array| filter(array, &keep))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::defect(format!("leave out dirty rows: {error}")))
}

fn size_of_value(value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Null => 1,
        ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
    }
}

fn class_of(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "null",
        ValueRef::Integer(_) => "integer",
        ValueRef::Real(_) => "real",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "blob",
    }
}

/// A value for messages, at most 256 bytes of it.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => {
            String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned()
        }
        ValueRef::Blob(bytes) => write::hex_string(&bytes[..bytes.len().min(64)]),
    }
}

fn unusable_key(index: usize, value: ValueRef<'_>) -> rusqlite::Error {
    let what = format!("{} that cannot be a position", class_of(value));
    rusqlite::Error::InvalidColumnType(index, what, value.data_type())
}
