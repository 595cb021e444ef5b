//! Finds where each cell of a stretch of rows begins and ends. The content of cells is left to
//! `cell`.

use transload_plugin_api::{Error, Result, code};

use super::{
    COLUMN_LIMIT, CsvDialect, LineEnd,
    scan::{BLOCK, Quoting, block, find},
};

/// A stretch ends after this many rows, so that its text and its index stay in the cache.
const STRETCH_ROWS: usize = 512;
/// Or after the row in which it reaches this many bytes.
const STRETCH_BYTES: usize = 256 << 10;

/// The rows of one stretch.
pub(super) struct Index {
    /// `stride` numbers per row: the start of each cell, then the end of the last cell plus 1.
    bounds: Vec<u32>,
    /// How many numbers are in use.
    used: usize,
    /// The line of each row.
    lines: Vec<u64>,
    /// Rows with too few or too many cells.
    ragged: Vec<RaggedRow>,
    /// Number of cells in a row; `None`: one row with any number of cells.
    cells: Option<usize>,
    delimiter: u8,
    line_end: u8,
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

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of bytes before it.
    pub(super) byte: u64,
    /// Its line, counted from 1.
    pub(super) line: u64,
}

/// One pass over an input.
struct Pass<'i> {
    input: &'i [u8],
    /// The number of rows after which to stop.
    rows: usize,
    /// The current line.
    line: u64,
    quoting: Quoting,
    record: Record,
}

/// The state of the current record.
struct Record {
    start: usize,
    line: u64,
    /// The start of its last cell so far.
    cell: usize,
    /// The index of its first number in the bounds.
    first: usize,
    /// Number of cells beyond those that are kept.
    surplus: usize,
}

impl Pass<'_> {
    /// Whether the record is a comment.
    #[inline(always)]
    fn is_comment(&self, comment: Option<u8>) -> bool {
        comment.is_some() && self.input.get(self.record.start).copied() == comment
    }
}

impl Index {
    /// For rows with this number of cells, or for one row with any number of them.
    pub(super) fn new(dialect: &CsvDialect, cells: Option<usize>) -> Self {
        Self {
            bounds: Vec::new(),
            used: 0,
            lines: Vec::new(),
            ragged: Vec::new(),
            cells,
            delimiter: dialect.delimiter,
            line_end: dialect.line_end.byte(),
            comment: dialect.comment,
            dialect: dialect.clone(),
        }
    }

    /// How many numbers a row has in the bounds.
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

    /// Removes rows, given by their numbers in ascending order.
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

    /// Indexes complete records from the start of `input`, at most `rows`. Returns their size in
    /// bytes and lines. `last`: nothing follows `input`.
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
        let rows = rows.min(STRETCH_ROWS);
        self.clear(rows);
        let record = Record { start: 0, line: place.line, cell: 0, first: 0, surplus: 0 };
        let quoting = Quoting::new(&self.dialect);
        let mut pass = Pass { input, rows, line: place.line, quoting, record };
        let mut complete = false;
        let mut base = 0;
        while base < input.len() && !complete {
            self.keep_limits(&mut pass, base, place)?;
            complete = self.read_block(&mut pass, base);
            base += BLOCK;
        }
        if last && !complete && pass.record.start < input.len() {
            self.keep_limits(&mut pass, input.len(), place)?;
            if pass.quoting.quoted {
                return Err(unclosed(&pass, place, &self.dialect, "by the end of the file"));
            }
            self.end_input(&mut pass);
        }
        self.used = pass.record.first;
        // a last record without a line end has no byte after it
        Ok((pass.record.start.min(input.len()), pass.record.line - place.line))
    }

    /// Ends the last record of a file, which has no line end; half of a CR LF does not belong to its text.
    fn end_input(&mut self, pass: &mut Pass<'_>) {
        let end = pass.input.len();
        pass.line += 1;
        if self.dialect.line_end == LineEnd::Lf && &pass.input[pass.record.start..] == b"\r" {
            pass.record.start = end;
            pass.record.line = pass.line;
            return;
        }
        self.end_record(pass, end, pass.quoting.is_escaped(end - 1));
    }

    fn clear(&mut self, rows: usize) {
        self.lines.clear();
        self.ragged.clear();
        let size = (rows + 1) * self.stride() + 3 * BLOCK;
        if self.bounds.len() < size {
            self.bounds.resize(size, 0);
        }
        self.bounds[0] = 0;
        self.used = 1;
    }

    /// Returns whether the stretch is complete.
    #[inline(always)]
    fn read_block(&mut self, pass: &mut Pass<'_>, base: usize) -> bool {
        let block = block(pass.input, base);
        let newlines = find(&block, self.line_end);
        let delimiters = find(&block, self.delimiter);
        let special = pass.quoting.special(&block);
        if special == 0 && self.comment.is_none() && pass.quoting.is_calm(base) {
            self.read_calm_block(pass, base, newlines, delimiters)
        } else {
            self.read_odd_block(pass, base, newlines, newlines | delimiters | special)
        }
    }

    /// Reads a block outside quotes that contains only separators.
    #[inline(always)]
    fn read_calm_block(
        &mut self,
        pass: &mut Pass<'_>,
        base: usize,
        mut newlines: u64,
        mut delimiters: u64,
    ) -> bool {
        while newlines != 0 {
            let before = (newlines & newlines.wrapping_neg()) - 1;
            self.note_cells(pass, base, delimiters & before);
            delimiters &= !before;
            let at = base + newlines.trailing_zeros() as usize;
            newlines &= newlines - 1;
            pass.line += 1;
            if self.end_record(pass, at, false) {
                return true;
            }
        }
        self.note_cells(pass, base, delimiters);
        false
    }

    /// Adds a cell after each delimiter.
    #[inline(always)]
    fn note_cells(&mut self, pass: &mut Pass<'_>, base: usize, mut delimiters: u64) {
        let count = delimiters.count_ones() as usize;
        if count == 0 {
            return;
        }
        pass.record.cell = base + BLOCK - delimiters.leading_zeros() as usize;
        let first = base as u32 + 1;
        // eight at a time, regardless of the count: slots written beyond the last delimiter are not
        // in use, and no branch depends on the count
        for from in (self.used..self.used + count).step_by(8) {
            let Some(slots) = self.bounds[from..].first_chunk_mut::<8>() else { return };
            for slot in slots {
                *slot = first.wrapping_add(delimiters.trailing_zeros());
                delimiters &= delimiters.wrapping_sub(1);
            }
        }
        self.used += count;
    }

    /// Reads any block, one special byte at a time.
    fn read_odd_block(
        &mut self,
        pass: &mut Pass<'_>,
        base: usize,
        newlines: u64,
        mut bits: u64,
    ) -> bool {
        while bits != 0 {
            let newline = newlines & bits & bits.wrapping_neg() != 0;
            let at = base + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            pass.line += u64::from(newline);
            let counts = if pass.is_comment(self.comment) {
                newline
            } else {
                pass.quoting.step(pass.input[at], at, at == pass.record.cell)
            };
            if counts && newline {
                let escaped = at > 0 && pass.quoting.is_escaped(at - 1);
                if self.end_record(pass, at, escaped) {
                    return true;
                }
            } else if counts {
                pass.record.cell = at + 1;
                self.bounds[self.used] = at as u32 + 1;
                self.used += 1;
            }
        }
        false
    }

    /// Closes the record that ends at `end`, a line end or the end of the input, and returns
    /// whether the stretch is complete. `escaped`: the byte before the line end is text, even a CR.
    #[inline(always)]
    fn end_record(&mut self, pass: &mut Pass<'_>, end: usize, escaped: bool) -> bool {
        let input = pass.input;
        let next = end + 1;
        let carriage =
            end > pass.record.cell && input[end - 1] == b'\r' && !escaped && self.line_end == b'\n';
        let end = end - usize::from(carriage);
        self.bounds[self.used] = end as u32 + 1;
        self.used += 1;
        let record = &mut pass.record;
        let cells = self.used - record.first - 1 + record.surplus;
        if self.cells == Some(cells) && self.comment.is_none() {
            self.lines.push(record.line);
            record.first = self.used;
        } else {
            self.end_odd_record(pass, end, cells);
        }
        self.used = pass.record.first + 1;
        self.bounds[pass.record.first] = next as u32;
        let first = pass.record.first;
        pass.record = Record { start: next, line: pass.line, cell: next, first, surplus: 0 };
        self.lines.len() >= pass.rows || next > STRETCH_BYTES
    }

    /// Ends a record that may be empty, a comment, ragged, or have any number of cells.
    #[inline(never)]
    fn end_odd_record(&mut self, pass: &mut Pass<'_>, end: usize, cells: usize) {
        let comment = pass.is_comment(self.comment);
        let Record { start, line, .. } = pass.record;
        let empty = end == start;
        let is_row = match self.cells {
            Some(expected) => expected == cells,
            None => !empty,
        };
        if is_row && !comment {
            self.lines.push(line);
            pass.record.first = self.used;
        } else if !empty && !comment {
            self.ragged.push(RaggedRow { line, cells, start, end });
        }
    }

    /// Enforces the limit of a record, and the limit on kept bounds if it has too many cells.
    #[inline(always)]
    fn keep_limits(&mut self, pass: &mut Pass<'_>, at: usize, place: Place) -> Result<()> {
        if at - pass.record.start > self.dialect.max_record {
            return Err(too_long(pass, place, &self.dialect));
        }
        let most = pass.record.first + self.stride() + 1;
        if self.used > most {
            pass.record.surplus += self.used - most;
            self.used = most;
        }
        Ok(())
    }
}

#[cold]
fn too_long(pass: &Pass<'_>, place: Place, dialect: &CsvDialect) -> Error {
    let Pass { quoting, record, .. } = pass;
    if quoting.quoted {
        let within = format!("within {} bytes", dialect.max_record);
        return unclosed(pass, place, dialect, &within);
    }
    Error::data(format!("record is larger than {} bytes", dialect.max_record))
        .with_code(code::CSV_RECORD)
        .at(format!("line {}, byte {}", record.line, place.byte + record.start as u64))
        .hint("check `delimiter` and the file's line ends, or raise `max_record`")
}

/// The error for quotes that are not closed where they have to be.
#[cold]
fn unclosed(pass: &Pass<'_>, place: Place, dialect: &CsvDialect, limit: &str) -> Error {
    let opened = pass.quoting.opened;
    let lines = memchr::memchr_iter(dialect.line_end.byte(), &pass.input[..opened]).count() as u64;
    let (line, byte) = (place.line + lines, place.byte + opened as u64);
    Error::data(format!("quote is not closed {limit}"))
        .with_code(code::CSV_QUOTE)
        .at(format!("line {line}, byte {byte}"))
        .hint("close the quote, set the file's `quote` and `escape`, or raise `max_record`")
}
