//! Decodes CSV bytes into batches: the wanted columns of each stretch of rows, one column after the
//! other, directly into their builders.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use transload_plugin_api::{Column, DirtyRow, Error, Result, RowError, code, schema_of};
use transload_values::{
    CellWords, Cells, ColumnParser, Fault, JsonRow, ValueError, null_lengths, shorten, unquote,
};

use super::{
    COLUMN_LIMIT, CsvDialect, Ragged,
    index::{Index, Place, RaggedRow},
};
use crate::{BATCH_BYTES, BATCH_ROWS, Decoded, Decoder, guess, row_numbers::RowNumbers};

/// Decodes the rows of a CSV file, from its first row or from a proven boundary.
pub struct CsvDecoder {
    dialect: CsvDialect,
    index: Index,
    /// The wanted columns: the cell's index in a row, and its builder.
    columns: Vec<(usize, ColumnParser)>,
    /// For each of them, what means NULL beside the dialect's marker.
    other_nulls: Vec<Vec<String>>,
    /// For each of them, of all texts that mean NULL.
    null_lengths: Vec<u64>,
    schema: SchemaRef,
    /// The names of the cells of a row.
    names: Vec<String>,
    /// The place of the next record.
    place: Place,
    /// Number of bytes taken since the last flush.
    bytes: usize,
    rows: usize,
    /// The lines of the rows since the last flush.
    lines: RowNumbers,
    dirty: Vec<DirtyRow>,
}

/// A dirty row of a stretch: its number in the stretch, the wanted column at fault, the fault.
type RowFault = (usize, usize, Fault);

impl CsvDecoder {
    /// A decoder for a file with columns of these names, some of which are wanted, in any order. It
    /// starts at line 1, after the header.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if the dialect contradicts itself, [`transload_plugin_api::ErrorKind::Schema`] if a wanted
    /// column is missing or occurs twice, [`transload_plugin_api::ErrorKind::Unsupported`] if it has no text form.
    pub fn new(
        dialect: &CsvDialect,
        names: &[String],
        wanted: &[Column],
        words: &CellWords,
    ) -> Result<Self> {
        dialect.check()?;
        if names.len() > COLUMN_LIMIT {
            return Err(Error::schema("more than 10,000 columns"));
        }
        let builder = |column: &Column| {
            Ok((find_column(names, &column.name)?, ColumnParser::new(column, words)?))
        };
        let other_nulls: Vec<_> =
            wanted.iter().map(|it| dialect.other_nulls_of(&it.name)).collect();
        let lengths = |others: &Vec<String>| {
            null_lengths(std::iter::once(&dialect.null).chain(others).map(String::as_str))
        };
        Ok(Self {
            index: Index::new(dialect, Some(names.len())),
            columns: wanted.iter().map(builder).collect::<Result<_>>()?,
            null_lengths: other_nulls.iter().map(lengths).collect(),
            other_nulls,
            schema: schema_of(wanted),
            names: names.to_vec(),
            place: Place { byte: 0, line: 1 },
            bytes: 0,
            rows: 0,
            lines: RowNumbers::default(),
            dirty: Vec::new(),
            dialect: dialect.clone(),
        })
    }

    /// Sets where in the file the first input begins: a byte, counted from 0, and its line, counted
    /// from 1. Used in messages.
    #[must_use]
    pub fn at(mut self, byte: u64, line: u64) -> Self {
        self.place = Place { byte, line };
        self
    }

    /// Where in the file the next record begins: its byte and its line.
    pub fn place(&self) -> (u64, u64) {
        (self.place.byte, self.place.line)
    }

    /// Appends the rows of the indexed stretch.
    fn append(&mut self, window: &[u8]) -> Result<()> {
        let utf8 = simdutf8::basic::from_utf8(window).is_ok();
        let mut dirty = self.take_ragged(window)?;
        let mut faults = self.append_columns(window, utf8);
        if !faults.is_empty() {
            // all faults of each row, in the order of columns
            faults.sort_by_key(|(row, ..)| *row);
            let of_rows = faults.chunk_by(|(row, ..), (other, ..)| row == other);
            dirty.extend(of_rows.filter_map(|faults| self.dirty_row(window, faults)));
            dirty.sort_by_key(|(line, _)| *line);
            let mut rows: Vec<usize> = faults.iter().map(|(row, ..)| *row).collect();
            rows.dedup();
            self.columns.iter_mut().for_each(|(_, builder)| builder.truncate_to(self.rows));
            self.index.remove(&rows);
            self.append_columns(window, utf8);
        }
        self.dirty.extend(dirty.into_iter().map(|(_, row)| row));
        self.lines.extend(self.rows, self.index.lines());
        self.rows += self.index.lines().len();
        Ok(())
    }

    /// Appends one row to every builder for each row of the stretch; NULL for a cell at fault.
    fn append_columns(&mut self, window: &[u8], utf8: bool) -> Vec<RowFault> {
        let (mut faults, mut found) = (Vec::new(), Vec::new());
        for (number, (place, builder)) in self.columns.iter_mut().enumerate() {
            let cells = Cells {
                window,
                utf8,
                bounds: self.index.bounds(),
                stride: self.index.stride(),
                column: *place,
                null: self.dialect.null.as_bytes(),
                other_nulls: &self.other_nulls[number],
                null_lengths: self.null_lengths[number],
                quote: self.dialect.quote,
                escape: self.dialect.true_escape(),
            };
            builder.append_cells(&cells, &mut found);
            faults.extend(found.drain(..).map(|(row, fault)| (row, number, fault)));
        }
        faults
    }

    /// Dirty rows, with their lines, for rows with too few or too many cells.
    fn take_ragged(&mut self, window: &[u8]) -> Result<Vec<(u64, DirtyRow)>> {
        let width = self.names.len();
        let rows = self.index.take_ragged();
        let dirty = |row: RaggedRow| {
            let reason = format!("expected {width} cells, found {}", row.cells);
            if self.dialect.ragged == Ragged::Error {
                return Err(Error::data(reason)
                    .with_code(code::CSV_RAGGED)
                    .at(format!("line {}", row.line))
                    .hint("choose `ragged = \"dirty\"` to set such rows aside"));
            }
            let text = &window[row.start..row.end];
            let error = RowError::new("ragged", reason).value(shorten(text, VALUE_LIMIT));
            Ok((row.line, new_dirty(row.line, error, text)))
        };
        rows.into_iter().map(dirty).collect()
    }

    /// A row with its faults, and its line.
    #[cold]
    fn dirty_row(&self, window: &[u8], faults: &[RowFault]) -> Option<(u64, DirtyRow)> {
        let (row, ..) = *faults.first()?;
        let stride = self.index.stride();
        let bounds = &self.index.bounds()[row * stride..(row + 1) * stride];
        let raw = |at: usize| &window[bounds[at] as usize..bounds[at + 1] as usize - 1];
        let mut errors = faults.iter().map(|(_, number, fault)| {
            let (place, builder) = &self.columns[*number];
            let (column, raw) = (builder.column(), raw(*place));
            let ValueError { code, mut reason } = fault.explain(column, raw);
            if let Some(hint) = Some(window).filter(|_| *fault == Fault::Utf8).and_then(guess::hint)
            {
                reason = format!("{reason}; {hint}");
            }
            RowError::new(code, reason).column(&*column.name).value(shorten(raw, VALUE_LIMIT))
        });
        let line = self.index.lines()[row];
        let text = &window[bounds[0] as usize..bounds[stride - 1] as usize - 1];
        let dirty = errors.by_ref().take(1).next().map(|error| new_dirty(line, error, text))?;
        let mut values = JsonRow::default();
        for (at, name) in self.names.iter().enumerate() {
            self.add_cell(name, raw(at), &mut values);
        }
        Some((line, errors.fold(dirty, DirtyRow::error).values(values.finish())))
    }

    /// Adds a cell's own text, or its raw one if the quotes are not those of the dialect.
    fn add_cell(&self, name: &str, raw: &[u8], values: &mut JsonRow) {
        let mut scratch = Vec::new();
        if self.dialect.is_null(raw) {
            values.null(name);
        } else {
            let text = unquote(raw, self.dialect.quote, self.dialect.true_escape(), &mut scratch);
            values.bytes(name, text.unwrap_or(raw));
        }
    }
}

/// The maximum number of bytes kept of a value at fault.
const VALUE_LIMIT: usize = 4096;

fn new_dirty(line: u64, error: RowError, text: &[u8]) -> DirtyRow {
    DirtyRow::from(error).place(format!("line {line}")).number(line).text(text)
}

fn find_column(names: &[String], name: &str) -> Result<usize> {
    let mut found = names.iter().enumerate().filter(|(_, other)| *other == name);
    match (found.next(), found.next()) {
        (Some((place, _)), None) => Ok(place),
        (Some(_), Some(_)) => Err(Error::schema(format!("column `{name}` occurs twice"))),
        (None, _) => Err(Error::schema(format!("column `{name}` is not in the file"))
            .hint(format!("the file has: {}", names.join(", ")))),
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, input: &[u8], last: bool) -> Result<usize> {
        let mut taken = 0;
        while !self.is_full() {
            let room = BATCH_ROWS - self.rows - self.dirty.len();
            let (bytes, lines) = self.index.read(&input[taken..], last, room, self.place)?;
            if bytes == 0 {
                break;
            }
            self.append(&input[taken..taken + bytes])?;
            taken += bytes;
            self.bytes += bytes;
            self.place.byte += bytes as u64;
            self.place.line += lines;
        }
        Ok(taken)
    }

    fn is_full(&self) -> bool {
        self.rows + self.dirty.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    fn flush(&mut self) -> Result<Option<Decoded>> {
        if self.rows == 0 && self.dirty.is_empty() {
            self.bytes = 0;
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Error::defect("columns do not make a batch").caused_by(&error))?;
        let (first_line, gaps, exact) = self.lines.take(self.place.line);
        self.rows = 0;
        self.bytes = 0;
        let dirty = std::mem::take(&mut self.dirty);
        Ok(Some(Decoded { batch, dirty, first_line, gaps, exact }))
    }
}

#[cfg(test)]
mod tests;
