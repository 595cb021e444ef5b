//! The binary rows of COPY, divided into fields and gathered into batches. A value that Arrow
//! cannot hold makes its row dirty; nothing is bent to fit.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::SchemaRef;
use arrow_select::filter::filter;
use transload_plugin_api::{Column, DirtyRow, Error, ErrorKind, LogicalType, Result, schema_of};

use crate::{
    columns::{Misfit, Values, defect, length_at},
    types::Wire,
};

/// What stands before the rows: a signature, flags and the length of an extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER: usize = SIGNATURE.len() + 8;
/// About the bytes of a text, before any has been seen.
const SHORT: usize = 16;

/// Rows of one COPY on their way into batches.
pub(crate) struct Decoder {
    columns: Vec<DecodedColumn>,
    schema: SchemaRef,
    stage: Stage,
    /// Rows in the builders, dirty ones included.
    rows: usize,
    /// Which of them are clean; made by the first dirty row.
    clean: Option<BooleanBufferBuilder>,
    dirty: Vec<(u64, Misfit, usize)>,
    /// Rows of batches before.
    before: u64,
}

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    /// The trailer has come.
    End,
}

struct DecodedColumn {
    name: String,
    nullable: bool,
    wire: Wire,
    logical: LogicalType,
    values: Values,
}

impl DecodedColumn {
    /// With room for as many rows.
    fn new(column: &Column, wire: &Wire, rows: usize) -> Result<Self> {
        let Column { name, logical, nullable, .. } = column;
        let values = room_for(name, wire, logical, rows, rows * SHORT)?;
        let (wire, logical) = (wire.clone(), logical.clone());
        Ok(Self { name: name.clone(), nullable: *nullable, wire, logical, values })
    }

    /// The values so far. Those to come have as much room from the start.
    fn take(&mut self) -> Result<Values> {
        let (rows, bytes) = (self.values.len(), self.values.bytes());
        let fresh = room_for(&self.name, &self.wire, &self.logical, rows, bytes + bytes / 16)?;
        Ok(std::mem::replace(&mut self.values, fresh))
    }
}

fn room_for(
    name: &str,
    wire: &Wire,
    logical: &LogicalType,
    rows: usize,
    bytes: usize,
) -> Result<Values> {
    Values::new(wire, logical, rows, bytes).ok_or_else(|| {
        let message = format!("column `{name}` cannot be read as `{logical}`");
        Error::new(ErrorKind::Unsupported, message)
    })
}

/// A finished batch.
pub(crate) struct Decoded {
    pub(crate) batch: RecordBatch,
    /// Dirty rows, their place counted from the start of the stream.
    pub(crate) dirty: Vec<(u64, DirtyRow)>,
}

impl Decoder {
    /// For rows with these columns, which come in these forms.
    pub(crate) fn new(columns: &[Column], wires: &[Wire], capacity: usize) -> Result<Self> {
        let columns_of = columns.iter().zip(wires);
        let made = columns_of.map(|(column, wire)| DecodedColumn::new(column, wire, capacity));
        Ok(Self {
            columns: made.collect::<Result<_>>()?,
            schema: schema_of(columns),
            stage: Stage::Header,
            rows: 0,
            clean: None,
            dirty: Vec::new(),
            before: 0,
        })
    }

    /// Rows in the builders.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the stream has come to its proper end.
    pub(crate) fn is_at_end(&self) -> bool {
        self.stage == Stage::End
    }

    /// Takes whole rows from the bytes, at most until there are `most`; answers how many bytes it
    /// took.
    pub(crate) fn decode(&mut self, bytes: &[u8], most: usize) -> Result<usize> {
        let mut taken = 0;
        if self.stage == Stage::Header {
            let Some(length) = header_length(bytes)? else { return Ok(0) };
            self.stage = Stage::Rows;
            taken = length;
        }
        while self.stage == Stage::Rows && self.rows < most {
            match self.row(&bytes[taken..])? {
                0 => break,
                length => taken += length,
            }
        }
        Ok(taken)
    }

    /// One row, or the trailer; 0 if it has not come whole.
    fn row(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(count) = bytes.first_chunk::<2>() else { return Ok(0) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.stage = Stage::End;
            return Ok(2);
        }
        if usize::try_from(count).ok() != Some(self.columns.len()) {
            return Err(broken("a row has another number of columns"));
        }
        let Some(end) = row_end(bytes, self.columns.len())? else { return Ok(0) };
        let mut at = 2;
        let mut fault = None;
        for (index, column) in self.columns.iter_mut().enumerate() {
            let length = length_at(bytes, at).unwrap_or(-1);
            at += 4;
            let appended = match usize::try_from(length) {
                Err(_) if column.nullable => {
                    column.values.append_null();
                    continue;
                }
                Err(_) => Err(Misfit::Null),
                Ok(length) => {
                    let value = &bytes[at..at + length];
                    at += length;
                    column.values.append(value)
                }
            };
            if let Err(misfit) = appended {
                // The row is taken out as a whole when the batch is finished.
                column.values.append_null();
                fault.get_or_insert((misfit, index));
            }
        }
        self.note(fault);
        Ok(end)
    }

    fn note(&mut self, fault: Option<(Misfit, usize)>) {
        if let Some((misfit, column)) = fault {
            let rows = self.rows;
            self.clean.get_or_insert_with(|| {
                let mut clean = BooleanBufferBuilder::new(rows + 1);
                clean.append_n(rows, true);
                clean
            });
            self.dirty.push((self.before + rows as u64, misfit, column));
        }
        if let Some(clean) = &mut self.clean {
            clean.append(fault.is_none());
        }
        self.rows += 1;
    }

    /// What has been decoded since the last time.
    pub(crate) fn finish(&mut self) -> Result<Decoded> {
        let clean = self.clean.take().map(|mut clean| BooleanArray::new(clean.finish(), None));
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let array = column.take()?.finish()?;
            arrays.push(match &clean {
                None => array,
                Some(clean) => filter(&array, clean).map_err(|error| defect(&error))?,
            });
        }
        let rows = self.rows - self.dirty.len();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| defect(&error))?;
        self.before += self.rows as u64;
        self.rows = 0;
        let dirty = std::mem::take(&mut self.dirty).into_iter().map(|(place, misfit, column)| {
            let row = DirtyRow {
                row: 0,
                place: None,
                column: Some(self.columns[column].name.clone()),
                value: None,
                code: misfit.code().to_owned(),
                reason: misfit.reason().to_owned(),
            };
            (place, row)
        });
        Ok(Decoded { batch, dirty: dirty.collect() })
    }
}

/// The header's length, once it has come whole.
fn header_length(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.len() < HEADER {
        return Ok(None);
    }
    if !bytes.starts_with(SIGNATURE) {
        return Err(broken("the stream does not begin as a binary COPY"));
    }
    let extension = length_at(bytes, HEADER - 4).and_then(|length| usize::try_from(length).ok());
    let length = HEADER + extension.ok_or_else(|| broken("the stream's header is damaged"))?;
    Ok((bytes.len() >= length).then_some(length))
}

/// Where the row ends, once it has come whole.
fn row_end(bytes: &[u8], fields: usize) -> Result<Option<usize>> {
    let mut at = 2;
    for _ in 0..fields {
        let Some(length) = length_at(bytes, at) else { return Ok(None) };
        at += 4;
        match length {
            -1 => {}
            0.. => at += length as usize,
            _ => return Err(broken("a field has a negative length")),
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Data, format!("the server's answer is damaged: {what}"))
}
