//! Encodes batches as CSV bytes that [`super::CsvDecoder`] reads back identically, or refuses them.

use arrow_array::{Array, RecordBatch, StringArray, cast::AsArray};
use transload_plugin_api::{Column, DirtyRow, Error, LogicalType, Result, code};
use transload_values::{BinaryText, ColumnRenderer, FormedRenderer, Forms, SHOWN, shorten};

use super::{BOM, COLUMN_LIMIT, CsvDialect, head::is_usual, specials::Specials};
use crate::{Encoder, LineEncoder, json::JsonColumn};

/// Encodes batches of the given columns, in their order.
pub struct CsvEncoder {
    dialect: CsvDialect,
    columns: Vec<Column>,
    binary: BinaryText,
    forms: Forms,
    /// Bytes that require quotes around a cell.
    special: [u8; 5],
    /// The same, indexed by byte.
    marks: [bool; 256],
    /// For each column: whether none of its values can need quotes.
    plain: Vec<bool>,
    /// The text of a cell that needs quotes.
    cell: Vec<u8>,
    refused: Vec<DirtyRow>,
}

/// A row that cannot be written so that the reader reads it back.
struct Refused {
    column: Option<usize>,
    value: Option<String>,
    code: &'static str,
    reason: String,
}

/// Every byte that the text of a number, a date or a boolean can contain.
const PLAIN: &[u8] = b"0123456789+-.:eETZ truefalsNInity";

impl CsvEncoder {
    /// An encoder for batches of these columns.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if the dialect contradicts itself,
    /// [`transload_plugin_api::ErrorKind::Schema`] for columns that a header cannot name.
    pub fn new(dialect: &CsvDialect, columns: &[Column], binary: BinaryText) -> Result<Self> {
        dialect.check()?;
        check_columns(dialect, columns)?;
        let delimiter = dialect.delimiter;
        let quote = dialect.quote.unwrap_or(delimiter);
        let escape = dialect.true_escape().unwrap_or(delimiter);
        let special = [delimiter, quote, escape, b'\r', b'\n'];
        let null = dialect.null.as_bytes();
        let null_is_other = null.is_empty() || null.iter().any(|byte| !PLAIN.contains(byte));
        let mut marks = special.into_iter().chain(dialect.comment);
        let never = null_is_other && !marks.any(|byte| PLAIN.contains(&byte));
        Ok(Self {
            dialect: dialect.clone(),
            columns: columns.to_vec(),
            binary,
            forms: Forms::default(),
            special,
            marks: std::array::from_fn(|byte| special.contains(&(byte as u8))),
            plain: columns.iter().map(|column| never && is_plain(&column.logical)).collect(),
            cell: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// With other forms of dates, times and numbers than the usual ones.
    #[must_use]
    pub fn with_forms(self, forms: Forms) -> Self {
        Self { forms, ..self }
    }

    /// Quotes or escapes the text appended at `from` so that it reads back as that text, and not as
    /// NULL, a comment or a byte order mark. `first`: the text is at the start of a line.
    fn protect(&mut self, from: usize, first: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
        let text = &out[from..];
        let null = text == self.dialect.null.as_bytes();
        let commented = !text.is_empty() && text.first().copied() == self.dialect.comment;
        let skipped = first && (commented || text.starts_with(BOM));
        if !(null || skipped || self.is_special(text)) {
            return Ok(());
        }
        self.quote(from, out)
    }

    /// Quotes or escapes the text appended at `from`.
    fn quote(&mut self, from: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let text = &out[from..];
        self.cell.clear();
        self.cell.extend_from_slice(text);
        out.truncate(from);
        match (self.dialect.quote, self.dialect.true_escape()) {
            (Some(quote), escape) => quoted(&self.cell, quote, escape, out),
            (None, Some(escape)) if !self.cell.is_empty() => self.escaped(escape, out),
            _ => return Err(self.refuse()),
        }
        Ok(())
    }

    /// Whether any byte is special: 16 bytes at once, in a form that the compiler vectorizes, then
    /// the rest through a table.
    #[inline]
    fn is_special(&self, text: &[u8]) -> bool {
        let [a, b, c, d, e] = self.special;
        let special = |byte: u8| byte == a || byte == b || byte == c || byte == d || byte == e;
        let (blocks, rest) = text.as_chunks::<16>();
        let any = |any: bool, block: &[u8; 16]| {
            any | block.iter().fold(false, |any, byte| any | special(*byte))
        };
        blocks.iter().fold(false, any)
            | rest.iter().fold(false, |any, byte| any | self.marks[usize::from(*byte)])
    }

    /// Escapes every special byte of the cell, and its first byte, so that the text cannot be NULL,
    /// a comment or a byte order mark.
    fn escaped(&self, escape: u8, out: &mut Vec<u8>) {
        for (place, byte) in self.cell.iter().enumerate() {
            if place == 0 || self.marks[usize::from(*byte)] {
                out.push(escape);
            }
            out.push(*byte);
        }
    }

    #[cold]
    fn refuse(&self) -> Refused {
        let found = shorten(&self.cell, SHOWN).escape_debug().to_string();
        let reason = format!(
            "`{found}` cannot be written without quotes and read back identically: choose a \
             `quote`, an `escape`, or another `null`"
        );
        Refused { column: None, value: Some(shorten(&self.cell, 4096)), code: "quote", reason }
    }

    #[cold]
    fn note(&mut self, refused: Refused, row: usize) {
        let Refused { column, value, code, reason } = refused;
        let column = column.map(|column| self.columns[column].name.clone());
        let dirty = DirtyRow::new(code, reason).row(row as u64);
        self.refused.push(DirtyRow { column, value, ..dirty });
    }
}

/// Refuses columns that the reader would not take from the header.
fn check_columns(dialect: &CsvDialect, columns: &[Column]) -> Result<()> {
    if columns.len() > COLUMN_LIMIT {
        let count = columns.len();
        return Err(Error::schema(format!("{count} columns, a CSV file has at most 10,000"))
            .with_code(code::CSV_COLUMNS));
    }
    let is_wrong = |it: char| it.is_control() && !(is_usual(it) && dialect.quote.is_some());
    match columns.iter().find(|column| dialect.header && column.name.contains(is_wrong)) {
        None => Ok(()),
        Some(column) => {
            let name = column.name.escape_debug();
            let message = format!("the name of column `{name}` cannot be written as CSV");
            Err(Error::schema(message)
                .with_code(code::CSV_HEADER)
                .hint("rename the column in [map], or set `header = false`"))
        }
    }
}

/// The reason for which a record beyond the limit of its bytes is refused.
pub(crate) fn too_long(bytes: usize, most: usize) -> String {
    format!(
        "the record has {bytes} bytes, the limit is {most}: raise `max_record` here and in the reader"
    )
}

/// Whether the texts of a type consist of [`PLAIN`] bytes only, and of at least one.
fn is_plain(logical: &LogicalType) -> bool {
    use LogicalType as L;
    !matches!(logical, L::Text { .. } | L::Json | L::Binary | L::Uuid | L::Numeric)
}

/// Appends a quoted text; quotes inside it are escaped or doubled.
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
        for number in 0..self.columns.len() {
            if number > 0 {
                out.push(self.dialect.delimiter);
            }
            let from = out.len();
            out.extend_from_slice(self.columns[number].name.as_bytes());
            let named = match self.columns[number].name.contains(char::is_control) {
                true => self.quote(from, out),
                false => self.protect(from, number == 0, out),
            };
            named.map_err(|refused| Error::data(refused.reason).with_code(code::CSV_QUOTE))?;
        }
        out.push(b'\n');
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.encode_each(batch, out, |_| {})
    }

    fn take_refused(&mut self) -> Vec<DirtyRow> {
        std::mem::take(&mut self.refused)
    }

    fn commit(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn rollback(&mut self) {}

    fn end(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

impl LineEncoder for CsvEncoder {
    fn encode_lines(
        &mut self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<()> {
        self.encode_each(batch, out, |end| ends.push(end))
    }
}

impl CsvEncoder {
    /// Encodes the rows; `each` is given the length of `out` behind each.
    fn encode_each(
        &mut self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        mut each: impl FnMut(usize),
    ) -> Result<()> {
        if batch.num_columns() != self.columns.len() {
            let (expected, found) = (self.columns.len(), batch.num_columns());
            let message = format!("expected a batch of {expected} columns, found {found}");
            return Err(Error::schema(message));
        }
        let mut cells = (0..self.columns.len())
            .map(|number| self.cells(number, batch.column(number).as_ref()))
            .collect::<Result<Vec<_>>>()?;
        self.refused.clear();
        for row in 0..batch.num_rows() {
            let start = out.len();
            if let Err(refused) = self.encode_row(&mut cells, row, out) {
                out.truncate(start);
                self.note(refused, row);
            }
            each(out.len());
        }
        Ok(())
    }

    fn cells<'a>(&self, number: usize, array: &'a dyn Array) -> Result<Cells<'a>> {
        let column = &self.columns[number];
        if matches!(column.logical, LogicalType::List(_)) {
            return JsonColumn::new(column, array, self.binary).map(Cells::Json);
        }
        if let Some(formed) = FormedRenderer::new(column, array, &self.forms)? {
            return Ok(Cells::Formed(formed));
        }
        let renderer = ColumnRenderer::new(column, array)?.binary(self.binary);
        Ok(match array.as_string_opt::<i32>() {
            Some(texts) => {
                // An array may be a part of a longer one, whose bytes it has.
                let end = texts.value_offsets().last().map_or(0, |end| *end as usize);
                Cells::Text(texts, Specials::new(&texts.value_data()[..end], self.special))
            }
            None if self.plain[number] => Cells::Plain(renderer),
            None => Cells::Other(renderer),
        })
    }

    fn encode_row(
        &mut self,
        cells: &mut [Cells<'_>],
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let start = out.len();
        for (number, cells) in cells.iter_mut().enumerate() {
            if number > 0 {
                out.push(self.dialect.delimiter);
            }
            if cells.is_null(row) {
                out.extend_from_slice(self.dialect.null.as_bytes());
                continue;
            }
            let from = out.len();
            let is_suspect = match cells {
                Cells::Plain(cells) => {
                    cells.render(row, out);
                    false
                }
                Cells::Other(cells) => {
                    cells.render(row, out);
                    true
                }
                Cells::Formed(cells) => {
                    cells.render(row, out).map_err(|value| uncut(number, value))?;
                    true
                }
                Cells::Text(texts, specials) => self.append_text(texts, specials, row, out),
                Cells::Json(lists) => {
                    lists.write(row, out).map_err(|reason| Refused {
                        column: Some(number),
                        value: None,
                        code: "range",
                        reason: reason.to_owned(),
                    })?;
                    true
                }
            };
            // The first cell of a line may also look like a comment or a byte order mark.
            if is_suspect || (number == 0 && !matches!(cells, Cells::Plain(_))) {
                self.protect(from, number == 0, out)
                    .map_err(|refused| Refused { column: Some(number), ..refused })?;
            }
        }
        let bytes = out.len() - start;
        if bytes > self.dialect.max_record {
            let reason = too_long(bytes, self.dialect.max_record);
            return Err(Refused { column: None, value: None, code: "length", reason });
        }
        out.push(b'\n');
        Ok(())
    }

    /// Appends a text as it is; whether it may need quotes wherever it is in a line.
    #[inline]
    fn append_text(
        &self,
        texts: &StringArray,
        specials: &mut Specials<'_>,
        row: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        const SHORT: usize = 32;
        let offsets = texts.value_offsets();
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        let bytes = texts.value_data();
        let text = &bytes[start..end];
        match bytes[start..].first_chunk::<SHORT>() {
            // A copy of constant length needs no call; what it takes of the next text goes again.
            Some(block) if text.len() <= SHORT => {
                let end = out.len() + text.len();
                out.extend_from_slice(block);
                out.truncate(end);
            }
            _ => out.extend_from_slice(text),
        }
        specials.any(start, end) || text == self.dialect.null.as_bytes()
    }
}

/// The cells of one column of a batch, by how they may need quotes.
enum Cells<'a> {
    /// Never.
    Plain(ColumnRenderer<'a>),
    /// Where the column's scan finds special bytes.
    Text(&'a StringArray, Specials<'a>),
    /// Each is to be looked at.
    Other(ColumnRenderer<'a>),
    /// As `Other`, in a form of their own.
    Formed(FormedRenderer<'a>),
    /// Lists, as JSON texts.
    Json(JsonColumn<'a>),
}

impl Cells<'_> {
    #[inline]
    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Plain(cells) | Self::Other(cells) => cells.is_null(row),
            Self::Text(texts, _) => texts.is_null(row),
            Self::Formed(cells) => cells.is_null(row),
            Self::Json(lists) => lists.is_null(row),
        }
    }
}

/// A value that its form would cut.
#[cold]
fn uncut(column: usize, value: String) -> Refused {
    let reason = format!("`{value}` cannot be written in its format without losing a part");
    Refused { column: Some(column), value: Some(value), code: "range", reason }
}

#[cfg(test)]
mod tests;
