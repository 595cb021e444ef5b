//! The rows of one split, streamed. Which rows they are is `reader`'s decision.

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::filter::filter;
use transload_plugin_api::{
    Cancel, Column, DirtyRow, Error, Origin, Position, ReadBatch, ReadTask, Result, RowError,
    schema_of,
};
use transload_tables::{KeyValue, encode_key};
use transload_values::{Fault, InvalidText, JsonRow};

use crate::{
    decode::{ColumnDecoder, DecodedRows, RowDecoder, RowFault},
    options::ZeroDates,
    refusal::{Refusal, refuse},
    session::{Next, Session},
};

const ROWS: usize = 8192;
const BYTES: u64 = 4 << 20;

/// What to read.
pub(crate) struct ScanPlan {
    pub(crate) sql: String,
    pub(crate) values: Vec<KeyValue>,
    /// The batch's columns and, behind them, those of the key that are not among them.
    pub(crate) columns: Vec<Column>,
    /// How many of them are the batch's.
    pub(crate) wanted: usize,
    /// Where the batch's columns stand, if not in front and in order; all others are passed over.
    pub(crate) chosen: Option<Vec<usize>>,
    /// Where the key's columns stand.
    pub(crate) key: Vec<usize>,
    /// Enums that have no empty label.
    pub(crate) no_empty: Vec<bool>,
    pub(crate) zero_dates: ZeroDates,
    pub(crate) source: String,
}

impl ScanPlan {
    /// A plan for these columns; what is read is still to be filled in.
    pub(crate) fn new(columns: Vec<Column>, zero_dates: ZeroDates) -> Self {
        Self {
            sql: String::new(),
            values: Vec::new(),
            wanted: columns.len(),
            chosen: None,
            columns,
            key: Vec::new(),
            no_empty: Vec::new(),
            zero_dates,
            source: "query".to_owned(),
        }
    }
}

/// The reading of a split.
pub(crate) struct Scan {
    session: Session,
    decoder: RowDecoder,
    schema: SchemaRef,
    columns: Vec<Column>,
    wanted: Vec<usize>,
    source: String,
    /// Rows read so far, dirty ones too.
    count: u64,
    position: Position,
    ended: bool,
}

impl Scan {
    /// Starts to read in the session's open transaction.
    pub(crate) fn start(mut session: Session, plan: ScanPlan) -> Result<Self> {
        let cancel = session.cancel.clone();
        let failed = |failure: crate::failure::Failure| {
            failure.into_error("read rows", &cancel).at(plan.source.clone())
        };
        let mut prepared = session.prepare(&plan.sql).map_err(failed)?;
        session.execute(&mut prepared, &plan.values).map_err(failed)?;
        let decoders = plan.columns.iter().enumerate().map(|(at, column)| {
            let found = prepared.columns.get(at).ok_or_else(|| {
                Error::defect(format!("the result has no column `{}`", column.name))
            })?;
            let no_empty = plan.no_empty.get(at).copied().unwrap_or(false);
            ColumnDecoder::new(column, found, plan.zero_dates, no_empty)
        });
        let decoders = decoders.collect::<Result<_>>()?;
        let (decoder, wanted) = match plan.chosen {
            None => (RowDecoder::new(decoders, plan.key), (0..plan.wanted).collect()),
            Some(chosen) => (RowDecoder::choosing(decoders, &chosen), chosen),
        };
        let columns: Vec<_> = wanted.iter().map(|at: &usize| plan.columns[*at].clone()).collect();
        Ok(Self {
            session,
            decoder,
            schema: schema_of(&columns),
            columns: plan.columns,
            wanted,
            source: plan.source,
            count: 0,
            position: Position::default(),
            ended: false,
        })
    }

    fn cancel(&self) -> &Cancel {
        &self.session.cancel
    }

    /// Reads until the batch is full or the rows end.
    fn fill(&mut self, read: &mut BatchRows) -> Result<()> {
        while self.decoder.rows < ROWS && read.bytes < BYTES && read.rows < 2 * ROWS as u64 {
            let packet = match self.session.next() {
                Ok(Next::Row(packet)) => packet,
                Ok(Next::End) => {
                    self.ended = true;
                    break;
                }
                Err(failure) => {
                    let cancel = self.session.cancel.clone();
                    return Err(failure.into_error("read rows", &cancel).at(self.source.clone()));
                }
            };
            read.bytes += packet.len() as u64;
            read.rows += 1;
            match self.decoder.append(packet) {
                Ok(()) => read.dirty_key = None,
                Err(RowFault::Packet) => {
                    let message = "the server sent a row that is not whole";
                    return Err(Error::data(message).at(self.source.clone()));
                }
                Err(RowFault::Cell(at, fault)) => {
                    let key = self.decoder.key_of_packet(packet).unwrap_or_default();
                    let number = self.count + read.rows;
                    let dirty = self.decoder.explain(packet, &self.wanted);
                    let dirty = dirty.unwrap_or_else(|| self.error(at, fault).into());
                    read.dirty.push((number, self.placed(dirty, &key, number)));
                    read.dirty_key = Some(key);
                }
            }
        }
        self.session.shrink();
        Ok(())
    }

    /// What is wrong with the column at `at`.
    fn error(&self, at: usize, fault: Refusal) -> RowError {
        let column = self.columns.get(at).map(|column| column.name.clone());
        RowError { column, ..RowError::new(fault.code, fault.reason) }
    }

    /// The row with this number and key.
    fn placed(&self, dirty: DirtyRow, key: &[KeyValue], number: u64) -> DirtyRow {
        dirty.place(place(&self.source, key, number)).number(number)
    }

    /// A row with texts that are not UTF-8, each with its column.
    fn invalid_row(&self, found: &DecodedRows, texts: &[(usize, InvalidText)]) -> DirtyRow {
        let mut values = JsonRow::default();
        let row = texts.first().map_or(0, |(_, text)| text.row);
        for (at, array) in self.wanted.iter().zip(&found.arrays) {
            let Column { name, logical, .. } = &self.columns[*at];
            match texts.iter().find(|(column, _)| column == at) {
                Some((_, text)) => values.bytes(name, &text.bytes),
                None => values.value(name, logical, array.as_ref(), row),
            }
        }
        let mut errors = texts.iter().map(|(at, text)| {
            let fault = Fault::Utf8.explain(&self.columns[*at], &text.bytes);
            let error = self.error(*at, refuse(fault.code, fault.reason));
            error.value(String::from_utf8_lossy(&text.bytes))
        });
        let first = errors.next().map(DirtyRow::from).unwrap_or_default().values(values.finish());
        errors.fold(first, DirtyRow::error)
    }

    /// Takes the rows out whose text is not UTF-8.
    fn without_invalid(
        &self,
        found: DecodedRows,
        rows: usize,
        read: &mut BatchRows,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        if found.invalid.is_empty() {
            return Ok(found.arrays);
        }
        let mut clean = vec![true; rows];
        // The numbers of the rows in the arrays: those that are dirty already are not there.
        let mut gone = read.dirty.iter().map(|(number, _)| *number).peekable();
        let numbers = (self.count + 1..).filter(|number| gone.next_if_eq(number).is_none());
        let numbers: Vec<_> = numbers.take(rows).collect();
        for texts in found.invalid.chunk_by(|(_, one), (_, next)| one.row == next.row) {
            let Some((_, InvalidText { row, .. })) = texts.first() else { continue };
            clean[*row] = false;
            let dirty = self.invalid_row(&found, texts);
            let number = numbers[*row];
            read.dirty.push((number, self.placed(dirty, &found.key(*row), number)));
        }
        read.dirty.sort_by_key(|(number, _)| *number);
        let clean = BooleanArray::from(clean);
        found.arrays.iter().map(|array| filter(array, &clean)).collect()
    }
}

/// What has been read for one batch.
#[derive(Default)]
struct BatchRows {
    rows: u64,
    bytes: u64,
    /// With their numbers.
    dirty: Vec<(u64, DirtyRow)>,
    /// The last row's key, if that row was dirty.
    dirty_key: Option<Vec<KeyValue>>,
}

fn place(source: &str, key: &[KeyValue], row: u64) -> String {
    if key.is_empty() {
        return format!("{source}, row {row}");
    }
    let word = |value: &KeyValue| match value {
        KeyValue::Integer(number) => number.to_string(),
        KeyValue::Text(text) => format!("'{text}'"),
        other => format!("{other:?}"),
    };
    let words: Vec<_> = key.iter().map(word).collect();
    format!("{source}, key {}", words.join(", "))
}

impl ReadTask for Scan {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        if self.ended {
            return Ok(None);
        }
        self.cancel().check()?;
        let mut read = BatchRows::default();
        self.fill(&mut read)?;
        if read.rows == 0 {
            return Ok(None);
        }
        let key = read.dirty_key.take().or_else(|| self.decoder.last_key());
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            self.position = Position(encode_key(&key));
        }
        let rows = self.decoder.rows;
        let failed = |error: ArrowError| {
            Error::defect(format!("make a batch: {error}")).at(self.source.clone())
        };
        let found = self.decoder.finish(&self.wanted).map_err(failed)?;
        let arrays = self.without_invalid(found, rows, &mut read).map_err(failed)?;
        let left = (read.rows - read.dirty.len() as u64) as usize;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(left));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Error::defect(error.to_string()))?;
        let origin = Origin::new(self.source.as_str(), "row", self.count + 1);
        let origin = origin.without(read.dirty.iter().map(|(number, _)| *number));
        self.count += read.rows;
        Ok(Some(ReadBatch {
            batch,
            position: self.position.clone(),
            origin: Some(origin),
            dirty: read.dirty.into_iter().map(|(_, dirty)| dirty).collect(),
            bytes: read.bytes,
        }))
    }
}
