//! Where each cell of a stretch of rows begins and ends. What the cells hold is left to `cell`.

use transload_plugin_api::{Error, ErrorKind, Result};

use super::{
    COLUMN_LIMIT, CsvDialect, RECORD_LIMIT,
    scan::{BLOCK, Quoting, block, find},
};

/// A stretch ends after so many rows: its text and its index then stay in the cache.
const STRETCH_ROWS: usize = 512;
/// Or after the row in which it reaches so many bytes.
const STRETCH_BYTES: usize = 256 << 10;

/// The rows of one stretch.
pub(super) struct Index {
    /// `stride` numbers a row: where each cell begins, then 1 beyond the end of the last.
    bounds: Vec<u32>,
    /// Numbers in use.
    used: usize,
    /// The line of each row.
    lines: Vec<u64>,
    /// Rows with too few or too many cells.
    ragged: Vec<RaggedRow>,
    /// Cells of a row; `None`: one row of any number of cells.
    cells: Option<usize>,
    delimiter: u8,
    comment: Option<u8>,
    dialect: CsvDialect,
}

/// A row with too few or too many cells.
#[derive(Debug)]
pub(super) struct RaggedRow {
    pub(super) line: u64,
    pub(super) cells: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Where the input stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes before it.
    pub(super) byte: u64,
    /// Its line, counted from 1.
    pub(super) line: u64,
}

/// What is known of the record that is being read.
struct Record {
    start: usize,
    line: u64,
    /// Where its last cell so far begins.
    cell: usize,
    /// Its first number among the bounds.
    first: usize,
    /// Cells beyond those that are kept.
    surplus: usize,
}

impl Index {
    /// For rows of so many cells, or for one row of any number of them.
    pub(super) fn new(dialect: &CsvDialect, cells: Option<usize>) -> Self {
        Self {
            bounds: Vec::new(),
            used: 0,
            lines: Vec::new(),
            ragged: Vec::new(),
            cells,
            delimiter: dialect.delimiter,
            comment: dialect.comment,
            dialect: dialect.clone(),
        }
    }

    /// Numbers of a row.
    pub(super) fn stride(&self) -> usize {
        self.cells.unwrap_or(COLUMN_LIMIT) + 1
    }

    pub(super) fn bounds(&self) -> &[u32] {
        &self.bounds[..self.used]
    }

    pub(super) fn lines(&self) -> &[u64] {
        &self.lines
    }

    pub(super) fn take_ragged(&mut self) -> Vec<RaggedRow> {
        std::mem::take(&mut self.ragged)
    }

    /// Takes rows away, given by their numbers in rising order.
    pub(super) fn remove(&mut self, rows: &[usize]) {
        let stride = self.stride();
        let mut kept = 0;
        let mut gone = rows.iter().copied().peekable();
        for row in 0..self.lines.len() {
            if gone.next_if_eq(&row).is_some() {
                continue;
            }
            self.bounds.copy_within(row * stride..(row + 1) * stride, kept * stride);
            self.lines[kept] = self.lines[row];
            kept += 1;
        }
        self.lines.truncate(kept);
        self.used = kept * stride;
    }

    /// Indexes whole records from the start of `input`, at most `rows`, and says how many bytes
    /// and lines they are. `last`: nothing follows `input`.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] for a record beyond its limit and for quotes that are never closed.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        last: bool,
        rows: usize,
        place: Place,
    ) -> Result<(usize, u64)> {
        self.used = 0;
        self.lines.clear();
        self.ragged.clear();
        let rows = rows.min(STRETCH_ROWS);
        let stride = self.stride();
        let size = (rows + 1) * stride + 2 * BLOCK + 4;
        if self.bounds.len() < size {
            self.bounds.resize(size, 0);
        }
        let mut quoting = Quoting::new(&self.dialect);
        let mut record = Record { start: 0, line: place.line, cell: 0, first: 0, surplus: 0 };
        let mut line = place.line;
        self.bounds[0] = 0;
        self.used = 1;

        let mut base = 0;
        while base < input.len() {
            self.check_record(input, &mut record, &quoting, base, place)?;
            let block = block(input, base);
            let newlines = find(&block, b'\n');
            let special = quoting.special(&block);
            let mut bits = newlines | find(&block, self.delimiter) | special;
            // the common case, with nothing but separators in it
            let calm = special == 0 && self.comment.is_none() && quoting.is_calm(base);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                let at = base + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let newline = newlines & bit != 0;
                if !calm && !self.counts(input, at, newline, &mut quoting, &record) {
                    line += u64::from(newline);
                    continue;
                }
                if !newline {
                    record.cell = at + 1;
                    self.bounds[self.used] = at as u32 + 1;
                    self.used += 1;
                    continue;
                }
                line += 1;
                self.end_record(input, at, line, &mut record, &quoting);
                if self.lines.len() >= rows || at >= STRETCH_BYTES {
                    self.used = record.first;
                    return Ok((at + 1, line - place.line));
                }
            }
            base += BLOCK;
        }
        if last && record.start < input.len() {
            self.check_record(input, &mut record, &quoting, input.len(), place)?;
            if quoting.quoted {
                return Err(unclosed(input, quoting.opened, place));
            }
            line += 1;
            self.end_record(input, input.len(), line, &mut record, &quoting);
            self.used = record.first;
            return Ok((input.len(), line - place.line));
        }
        self.used = record.first;
        Ok((record.start, record.line - place.line))
    }

    /// Whether the byte is a separator that counts.
    #[inline]
    fn counts(
        &self,
        input: &[u8],
        at: usize,
        newline: bool,
        quoting: &mut Quoting,
        record: &Record,
    ) -> bool {
        if self.comment.is_some() && input.get(record.start).copied() == self.comment {
            return newline;
        }
        quoting.step(input[at], at, at == record.cell)
    }

    /// Closes the record that ends at `end`, a line end or the end of the input. `next_line` is
    /// the line behind it.
    #[inline(always)]
    fn end_record(
        &mut self,
        input: &[u8],
        end: usize,
        next_line: u64,
        record: &mut Record,
        quoting: &Quoting,
    ) {
        let next = end + 1;
        let carriage = end > record.cell
            && end < input.len()
            && input[end - 1] == b'\r'
            && !quoting.is_escaped(end - 1);
        let end = end - usize::from(carriage);
        self.bounds[self.used] = end as u32 + 1;
        self.used += 1;
        let cells = self.used - record.first - 1 + record.surplus;
        if self.is_row(input, record, end, cells) {
            self.lines.push(record.line);
            record.first = self.used;
        } else {
            self.used = record.first;
        }
        self.bounds[self.used] = next as u32;
        self.used += 1;
        *record =
            Record { start: next, line: next_line, cell: next, first: record.first, surplus: 0 };
    }

    /// Whether a record is a row of the right number of cells; notes it if it is a ragged one.
    #[inline(always)]
    fn is_row(&mut self, input: &[u8], record: &Record, end: usize, cells: usize) -> bool {
        let commented = self.comment.is_some() && input.get(record.start).copied() == self.comment;
        if commented {
            return false;
        }
        match self.cells {
            Some(expected) if expected == cells => true,
            None => end > record.start,
            Some(_) => {
                if end > record.start {
                    let (line, start) = (record.line, record.start);
                    self.ragged.push(RaggedRow { line, cells, start, end });
                }
                false
            }
        }
    }

    /// Keeps a record within its limit, and the bounds of one with too many cells within theirs.
    #[inline(always)]
    fn check_record(
        &mut self,
        input: &[u8],
        record: &mut Record,
        quoting: &Quoting,
        at: usize,
        place: Place,
    ) -> Result<()> {
        if at - record.start > RECORD_LIMIT {
            return Err(too_long(input, record, quoting, place));
        }
        let most = record.first + self.stride() + 1;
        if self.used > most {
            record.surplus += self.used - most;
            self.used = most;
        }
        Ok(())
    }
}

#[cold]
fn too_long(input: &[u8], record: &Record, quoting: &Quoting, place: Place) -> Error {
    if quoting.quoted {
        return unclosed(input, quoting.opened, place);
    }
    Error::new(ErrorKind::Data, "record is larger than 16 MiB")
        .with_code("CSV-RECORD")
        .at(format!("line {}, byte {}", record.line, place.byte + record.start as u64))
        .hint("is it the right delimiter, and do lines end with LF or CR LF?")
}

/// The error for quotes that are not closed within the record's limit.
#[cold]
fn unclosed(input: &[u8], opened: usize, place: Place) -> Error {
    let line = place.line + memchr::memchr_iter(b'\n', &input[..opened]).count() as u64;
    let byte = place.byte + opened as u64;
    Error::new(ErrorKind::Data, "quote is never closed, or its record is larger than 16 MiB")
        .with_code("CSV-QUOTE")
        .at(format!("line {line}, byte {byte}"))
        .hint("close the quote, or choose the dialect's `quote` and `escape`")
}
