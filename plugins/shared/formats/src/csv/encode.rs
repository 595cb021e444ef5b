//! Batches to CSV bytes that [`super::CsvDecoder`] reads back identically, or a refusal.

use arrow_array::RecordBatch;
use transload_plugin_api::{Column, Error, ErrorKind, Result};

use super::CsvDialect;
use crate::{BinaryText, CellRenderer, Encoder};

/// Encodes batches of the given columns, in their order.
pub struct CsvEncoder {
    dialect: CsvDialect,
    columns: Vec<Column>,
    binary: BinaryText,
    /// What each byte asks of the cell that holds it.
    marks: [bool; 256],
    /// The rendered text of one cell.
    cell: Vec<u8>,
}

impl CsvEncoder {
    /// An encoder for batches of these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if the dialect contradicts itself.
    pub fn new(dialect: &CsvDialect, columns: &[Column], binary: BinaryText) -> Result<Self> {
        dialect.check()?;
        let mut marks = [false; 256];
        let bytes = [Some(dialect.delimiter), dialect.quote, dialect.true_escape()];
        for byte in bytes.into_iter().flatten().chain(*b"\r\n") {
            marks[usize::from(byte)] = true;
        }
        Ok(Self {
            dialect: dialect.clone(),
            columns: columns.to_vec(),
            binary,
            marks,
            cell: Vec::new(),
        })
    }

    /// Appends a text so that it reads back as that text and not as NULL. `first`: it stands at
    /// the start of a line.
    fn append(&self, text: &[u8], first: bool, out: &mut Vec<u8>) -> Result<()> {
        let null = text == self.dialect.null.as_bytes();
        let commented = first && !text.is_empty() && text.first().copied() == self.dialect.comment;
        let marked = text.iter().fold(false, |any, byte| any | self.marks[usize::from(*byte)]);
        if !(marked || null || commented) {
            out.extend_from_slice(text);
            return Ok(());
        }
        match (self.dialect.quote, self.dialect.true_escape()) {
            (Some(quote), escape) => quoted(text, quote, escape, out),
            (None, Some(escape)) if !text.is_empty() => self.escaped(text, escape, out),
            _ => return Err(self.refuse(text)),
        }
        Ok(())
    }

    /// Every special byte behind an escape; the first byte too, so that the text cannot be NULL
    /// or a comment.
    fn escaped(&self, text: &[u8], escape: u8, out: &mut Vec<u8>) {
        for (place, byte) in text.iter().enumerate() {
            // the first byte of a character of several bytes is none of the special ones, and an
            // escape before it would only stand between
            if place == 0 || self.marks[usize::from(*byte)] {
                out.push(escape);
            }
            out.push(*byte);
        }
    }

    #[cold]
    fn refuse(&self, text: &[u8]) -> Error {
        let found = crate::cell::shorten(text).escape_debug().to_string();
        Error::new(
            ErrorKind::Data,
            format!("`{found}` cannot be written without quotes and read back identically"),
        )
        .with_code("CSV-QUOTE")
        .hint("choose a `quote`, an `escape`, or another `null` in the dialect")
    }
}

/// A quoted text; a quote inside is escaped or doubled.
fn quoted(text: &[u8], quote: u8, escape: Option<u8>, out: &mut Vec<u8>) {
    out.push(quote);
    for byte in text {
        if *byte == quote || Some(*byte) == escape {
            out.push(escape.unwrap_or(quote));
        }
        out.push(*byte);
    }
    out.push(quote);
}

impl Encoder for CsvEncoder {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if !self.dialect.header {
            return Ok(());
        }
        for (number, column) in self.columns.iter().enumerate() {
            if number > 0 {
                out.push(self.dialect.delimiter);
            }
            self.append(column.name.as_bytes(), number == 0, out)?;
        }
        out.push(b'\n');
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        if batch.num_columns() != self.columns.len() {
            let (expected, found) = (self.columns.len(), batch.num_columns());
            let message = format!("expected a batch of {expected} columns, found {found}");
            return Err(Error::new(ErrorKind::Schema, message));
        }
        let renderers = self
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| Ok(CellRenderer::new(column, array)?.binary(self.binary)))
            .collect::<Result<Vec<_>>>()?;
        let mut cell = std::mem::take(&mut self.cell);
        for row in 0..batch.num_rows() {
            self.encode_row(&renderers, row, &mut cell, out)
                .map_err(|error| error.at(format!("row {row} of the batch")))?;
        }
        self.cell = cell;
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

impl CsvEncoder {
    fn encode_row(
        &self,
        renderers: &[CellRenderer<'_>],
        row: usize,
        cell: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        for (number, renderer) in renderers.iter().enumerate() {
            if number > 0 {
                out.push(self.dialect.delimiter);
            }
            if renderer.is_null(row) {
                out.extend_from_slice(self.dialect.null.as_bytes());
                continue;
            }
            cell.clear();
            renderer.render(row, cell);
            self.append(cell, number == 0, out)
                .map_err(|error| error.at(format!("column `{}`", self.columns[number].name)))?;
        }
        out.push(b'\n');
        Ok(())
    }
}
