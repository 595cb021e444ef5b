//! Rows as text: literals of an INSERT, or lines of LOAD DATA. How the text is sent is left to
//! `insert` and `bulk`.

use std::ops::Range;

use arrow_array::RecordBatch;
use transload_plugin_api::{Column, DirtyRow, Result, RowError};
use transload_values::{SHOWN, shorten};

use crate::{literal::Cells, refusal::Refusal, rule::Rule, text::Style};

/// Lines are handed on in pieces of about this size, so that the server reads some while others
/// are being made.
const PIECE: usize = 128 << 10;

/// Makes text of batches.
pub(crate) struct RowEncoder {
    columns: Vec<Column>,
    rules: Vec<Rule>,
    /// What every row's literals begin with: the task's number, in a stage.
    mark: String,
    /// Longest packet that the server takes: a row beyond it is dirty.
    packet: usize,
    pub(crate) text: Vec<u8>,
}

/// A row of the batch and where it stands in the text.
pub(crate) struct Encoded {
    pub(crate) row: usize,
    pub(crate) text: Range<usize>,
}

impl RowEncoder {
    pub(crate) fn new(
        columns: Vec<Column>,
        rules: Vec<Rule>,
        mark: Option<u32>,
        packet: usize,
    ) -> Self {
        let mark = mark.map(|task| format!("{task}, ")).unwrap_or_default();
        Self { columns, rules, mark, packet, text: Vec::new() }
    }

    /// Puts all rows into `text`, each as `,(1, 'a')`.
    pub(crate) fn literals(
        &mut self,
        batch: &RecordBatch,
        rows: &mut Vec<Encoded>,
        dirty: &mut Vec<DirtyRow>,
    ) -> Result<()> {
        self.text.clear();
        rows.clear();
        let cells = cells(&self.columns, &self.rules, batch)?;
        for row in 0..batch.num_rows() {
            let start = self.text.len();
            self.text.extend_from_slice(b",(");
            self.text.extend_from_slice(self.mark.as_bytes());
            let put = put_cells(&cells, row, Style::Literal, b',', &mut self.text);
            self.text.push(b')');
            let length = self.text.len() - start;
            match refused(&self.columns, &cells, self.packet, row, put, length) {
                None => rows.push(Encoded { row, text: start..self.text.len() }),
                Some(refused) => {
                    self.text.truncate(start);
                    dirty.push(refused);
                }
            }
        }
        Ok(())
    }

    /// Hands all rows to `send` as lines of fields, and returns their number.
    pub(crate) fn lines(
        &mut self,
        batch: &RecordBatch,
        dirty: &mut Vec<DirtyRow>,
        mut send: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        self.text.clear();
        let cells = cells(&self.columns, &self.rules, batch)?;
        let mut count = 0;
        for row in 0..batch.num_rows() {
            let start = self.text.len();
            let put = put_cells(&cells, row, Style::Field, b'\t', &mut self.text);
            self.text.push(b'\n');
            let length = self.text.len() - start;
            match refused(&self.columns, &cells, self.packet, row, put, length) {
                None => count += 1,
                Some(refused) => {
                    self.text.truncate(start);
                    dirty.push(refused);
                }
            }
            if self.text.len() >= PIECE {
                send(&self.text)?;
                self.text.clear();
            }
        }
        if !self.text.is_empty() {
            send(&self.text)?;
        }
        Ok(count)
    }
}

fn cells<'a>(
    columns: &'a [Column],
    rules: &'a [Rule],
    batch: &'a RecordBatch,
) -> Result<Vec<Cells<'a>>> {
    let cells = columns.iter().zip(batch.columns()).zip(rules);
    cells.map(|((column, array), rule)| Cells::new(column, array, rule)).collect()
}

/// The cells with `between` between them. Errors come with their columns.
fn put_cells(
    cells: &[Cells<'_>],
    row: usize,
    style: Style,
    between: u8,
    out: &mut Vec<u8>,
) -> Result<(), Vec<(usize, Refusal)>> {
    let mut refused = Vec::new();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(between);
        }
        if let Err(refusal) = cell.put(row, style, out) {
            refused.push((at, refusal));
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

/// The dirty row, if the row must not travel.
fn refused(
    columns: &[Column],
    cells: &[Cells<'_>],
    packet: usize,
    row: usize,
    put: Result<(), Vec<(usize, Refusal)>>,
    length: usize,
) -> Option<DirtyRow> {
    match put {
        Ok(()) if length + 2048 <= packet => None,
        Ok(()) => {
            let reason = format!("the row is longer than `max_allowed_packet` ({packet})");
            Some(dirty(row, None, "length", reason))
        }
        Err(refusals) => {
            let error = |(at, refusal): (usize, Refusal)| {
                row_error(&columns[at], refusal, || cells[at].text(row))
            };
            let mut errors = refusals.into_iter().map(error);
            let first = DirtyRow::from(errors.next()?).row(row as u64);
            Some(errors.fold(first, DirtyRow::error))
        }
    }
}

fn row_error(column: &Column, refusal: Refusal, value: impl FnOnce() -> String) -> RowError {
    let (Column { name, native, logical, .. }, Refusal { code, reason }) = (column, refusal);
    if code == "null" {
        return RowError::new(code, reason).column(name.clone());
    }
    // A column that the run has created is known by its logical type.
    let expected = if native.is_empty() { logical.to_string() } else { native.clone() };
    let value = value();
    let found = shorten(value.as_bytes(), SHOWN);
    let reason = format!("expected {expected}, found `{found}`: {reason}");
    RowError::new(code, reason).column(name.clone()).value(value)
}

pub(crate) fn dirty(row: usize, column: Option<String>, code: &str, reason: String) -> DirtyRow {
    DirtyRow { column, ..DirtyRow::new(code, reason).row(row as u64) }
}
