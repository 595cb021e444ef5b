//! Encodes batches as JSON text. Numbers are written unchanged, strings are escaped where
//! necessary, json columns keep their bytes. Rows with a value that JSON cannot represent (NaN) are
//! omitted and returned as dirty.

use arrow_array::{
    Array, ArrayRef, ListArray, RecordBatch, StringArray,
    cast::AsArray,
    types::{Float32Type, Float64Type},
};
use transload_plugin_api::{Column, DirtyRow, Error, LogicalType, Result};
use transload_values::{BinaryText, ColumnRenderer, FormedRenderer, Forms, Separators};

use super::{
    JsonShape,
    nested::NestedColumn,
    scan::{MAX_DEPTH, next_special},
};
use crate::{Encoder, LineEncoder, MAX_RECORD, csv::too_long};

/// Why a value is not written in the form that the job wants.
const CUT: &str = "it cannot be written in its format without losing a part";

/// The deepest nesting of a document: the row's own braces are around it.
const MAX_DOCUMENT_DEPTH: usize = MAX_DEPTH - 1;

/// Writes one object per row, its keys in the order of the columns.
pub(crate) struct JsonEncoder {
    shape: JsonShape,
    columns: Vec<Column>,
    /// `{"first":`, then `,"second":` and so on.
    keys: Vec<Vec<u8>>,
    /// Whether the array already has a row, so that the next one needs a comma.
    begun: bool,
    /// The value of `begun` at the last commit.
    committed: bool,
    binary: BinaryText,
    forms: Forms,
    max_record: usize,
    refused: Vec<DirtyRow>,
}

impl JsonEncoder {
    /// An encoder for batches of these columns.
    pub(crate) fn new(shape: JsonShape, columns: &[Column], binary: BinaryText) -> Self {
        let keys = columns.iter().enumerate().map(|(index, column)| {
            let mut key = vec![if index == 0 { b'{' } else { b',' }];
            write_string(column.name.as_bytes(), &mut key);
            key.push(b':');
            key
        });
        Self {
            shape,
            columns: columns.to_vec(),
            keys: keys.collect(),
            begun: false,
            committed: false,
            binary,
            forms: Forms::default(),
            max_record: MAX_RECORD,
            refused: Vec::new(),
        }
    }

    /// With another limit for the bytes of a record.
    #[must_use]
    pub(crate) fn max_record(self, max_record: usize) -> Self {
        Self { max_record, ..self }
    }

    /// With other forms of dates and times than the usual ones. Numbers are JSON's own.
    #[must_use]
    pub(crate) fn with_forms(self, forms: &Forms) -> Self {
        let forms = Forms { separators: Separators::default(), ..forms.clone() };
        Self { forms, ..self }
    }

    fn prepare<'a>(&self, batch: &'a RecordBatch) -> Result<Vec<JsonColumn<'a>>> {
        if batch.num_columns() != self.columns.len() {
            let (expected, found) = (self.columns.len(), batch.num_columns());
            let message = format!("expected a batch of {expected} columns, found {found}");
            return Err(Error::schema(message));
        }
        let prepared = |(column, array): (&Column, &'a ArrayRef)| match FormedRenderer::new(
            column,
            array,
            &self.forms,
        )? {
            Some(formed) => Ok(JsonColumn::Formed(formed)),
            None => JsonColumn::new(column, array.as_ref(), self.binary),
        };
        self.columns.iter().zip(batch.columns()).map(prepared).collect()
    }

    /// Encodes the rows; `each` is given the length of `out` behind each.
    fn encode_each(
        &mut self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        mut each: impl FnMut(usize),
    ) -> Result<()> {
        let columns = self.prepare(batch)?;
        self.refused.clear();
        for row in 0..batch.num_rows() {
            let (start, begun) = (out.len(), self.begun);
            if let Err(refused) = self.write_row(&columns, row, out) {
                out.truncate(start);
                self.begun = begun;
                self.note(&refused, &columns, row);
            }
            each(out.len());
        }
        Ok(())
    }

    #[cold]
    fn note(&mut self, refused: &Refused, columns: &[JsonColumn<'_>], row: usize) {
        let (column, value, code, reason) = match refused {
            Refused::Value { column, reason } => {
                let name = self.columns[*column].name.clone();
                (Some(name), columns[*column].text(row), "range", (*reason).to_owned())
            }
            Refused::Length(bytes) => (None, None, "length", too_long(*bytes, self.max_record)),
        };
        let dirty = DirtyRow::new(code, reason).row(row as u64);
        self.refused.push(DirtyRow { column, value, ..dirty });
    }

    fn write_row(
        &mut self,
        columns: &[JsonColumn<'_>],
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        if self.shape == JsonShape::Array {
            out.extend_from_slice(if self.begun { b",\n" } else { b"\n" });
        }
        if columns.is_empty() {
            out.push(b'{');
        }
        let start = out.len();
        for (index, (key, column)) in self.keys.iter().zip(columns).enumerate() {
            out.extend_from_slice(key);
            column.write(row, out).map_err(|reason| Refused::Value { column: index, reason })?;
        }
        out.push(b'}');
        let bytes = out.len() - start;
        if bytes > self.max_record {
            return Err(Refused::Length(bytes));
        }
        if self.shape == JsonShape::Lines {
            out.push(b'\n');
        }
        self.begun = true;
        Ok(())
    }
}

/// A row that cannot be written so that the reader reads it back.
enum Refused {
    /// A value that JSON cannot hold.
    Value { column: usize, reason: &'static str },
    /// The record would have this many bytes.
    Length(usize),
}

impl Encoder for JsonEncoder {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.shape == JsonShape::Array {
            out.push(b'[');
        }
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.encode_each(batch, out, |_| {})
    }

    fn take_refused(&mut self) -> Vec<DirtyRow> {
        std::mem::take(&mut self.refused)
    }

    fn commit(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        self.committed = self.begun;
        Ok(())
    }

    fn rollback(&mut self) {
        self.begun = self.committed;
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.shape == JsonShape::Array {
            out.extend_from_slice(b"\n]\n");
        }
        Ok(())
    }
}

impl LineEncoder for JsonEncoder {
    fn encode_lines(
        &mut self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<()> {
        self.encode_each(batch, out, |end| ends.push(end))
    }
}

/// One column of a batch, prepared for writing row by row.
pub(crate) enum JsonColumn<'a> {
    /// Written as rendered: integers, decimals, booleans.
    Bare(ColumnRenderer<'a>),
    /// Written as rendered, in quotes: dates, times, uuids, binary. Needs no escapes.
    Quoted(ColumnRenderer<'a>),
    /// In quotes, in a form of the job's.
    Formed(FormedRenderer<'a>),
    /// As `Bare`, but NaN and infinities are refused.
    Float {
        values: &'a dyn Array,
        double: bool,
        text: ColumnRenderer<'a>,
    },
    Text(&'a StringArray),
    Json(&'a StringArray),
    Numeric(&'a StringArray),
    List {
        lists: &'a ListArray,
        items: Box<JsonColumn<'a>>,
    },
    Nested(NestedColumn<'a>),
}

impl<'a> JsonColumn<'a> {
    pub(crate) fn new(column: &Column, array: &'a dyn Array, binary: BinaryText) -> Result<Self> {
        let strings = || array.as_string_opt::<i32>().ok_or_else(|| mismatch(column, array));
        Ok(match &column.logical {
            LogicalType::Text { .. } => Self::Text(strings()?),
            LogicalType::Json => Self::Json(strings()?),
            LogicalType::Numeric => Self::Numeric(strings()?),
            LogicalType::Float32 | LogicalType::Float64 => Self::Float {
                values: array,
                double: column.logical == LogicalType::Float64,
                text: ColumnRenderer::new(column, array)?,
            },
            LogicalType::List(item) => {
                let lists = array.as_list_opt::<i32>().ok_or_else(|| mismatch(column, array))?;
                let item = Column::new(&column.name, item.as_ref().clone(), true);
                Self::List {
                    lists,
                    items: Box::new(Self::new(&item, lists.values().as_ref(), binary)?),
                }
            }
            logical if is_bare(logical) => Self::Bare(ColumnRenderer::new(column, array)?),
            _ => Self::Quoted(ColumnRenderer::new(column, array)?.binary(binary)),
        })
    }

    #[inline]
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match self {
            Self::Bare(cells) => cells.render(row, out),
            Self::Quoted(cells) => {
                out.push(b'"');
                cells.render(row, out);
                out.push(b'"');
            }
            Self::Formed(cells) => {
                let mut text = Vec::new();
                cells.render(row, &mut text).map_err(|_| CUT)?;
                write_string(&text, out);
            }
            Self::Text(values) => write_string(values.value(row).as_bytes(), out),
            Self::Json(values) => return write_json(values.value(row), out),
            Self::Numeric(values) => return write_number(values.value(row), out),
            Self::Float { values, double, text } => {
                if !is_finite(*values, *double, row) {
                    return Err("JSON has no NaN or infinity");
                }
                text.render(row, out);
            }
            Self::List { lists, items } => return write_list(lists, items, row, out),
            Self::Nested(nested) => return nested.write(row, out),
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bare(cells) | Self::Quoted(cells) => cells.is_null(row),
            Self::Formed(cells) => cells.is_null(row),
            Self::Float { text, .. } => text.is_null(row),
            Self::Text(values) | Self::Json(values) | Self::Numeric(values) => values.is_null(row),
            Self::List { lists, .. } => lists.is_null(row),
            Self::Nested(nested) => nested.is_null(row),
        }
    }

    /// A refused value, for its dirty row.
    fn text(&self, row: usize) -> Option<String> {
        match self {
            Self::Json(values) | Self::Numeric(values) => Some(values.value(row).to_owned()),
            Self::Float { text, .. } => {
                let mut out = Vec::new();
                text.render(row, &mut out);
                String::from_utf8(out).ok()
            }
            Self::Formed(cells) => cells.render(row, &mut Vec::new()).err(),
            _ => None,
        }
    }
}

pub(super) fn mismatch(column: &Column, array: &dyn Array) -> Error {
    let Column { name, logical, .. } = column;
    let found = array.data_type();
    let message = format!("column `{name}` should be {logical}, found {found}");
    Error::schema(message)
}

/// Types whose rendered text is a JSON number or literal.
fn is_bare(logical: &LogicalType) -> bool {
    use LogicalType::{Boolean, Decimal, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    matches!(
        logical,
        Boolean | Decimal { .. } | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64
    )
}

fn is_finite(values: &dyn Array, double: bool, row: usize) -> bool {
    if double {
        values.as_primitive::<Float64Type>().value(row).is_finite()
    } else {
        values.as_primitive::<Float32Type>().value(row).is_finite()
    }
}

fn write_list(
    lists: &ListArray,
    items: &JsonColumn<'_>,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let ends = lists.value_offsets();
    out.push(b'[');
    for item in ends[row]..ends[row + 1] {
        if item > ends[row] {
            out.push(b',');
        }
        items.write(item as usize, out)?;
    }
    out.push(b']');
    Ok(())
}

/// Appends JSON text unchanged, except that line breaks between its tokens become spaces, so that a
/// row stays on one line. (Strings cannot contain them.) The document `null` is refused: in an
/// object it cannot be distinguished from NULL.
pub(super) fn write_json(text: &str, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match text.trim_ascii() {
        "" => return Err("an empty text is not JSON"),
        "null" => return Err("the JSON document `null` would be read back as NULL"),
        _ if is_deep(text.as_bytes()) => return Err("the document is nested too deeply"),
        _ => {}
    }
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    Ok(())
}

/// Whether a document has more levels than the reader takes. Few have enough bytes for it.
fn is_deep(text: &[u8]) -> bool {
    let (mut depth, mut quoted, mut at) = (0usize, false, 0);
    while text.len() > 2 * MAX_DOCUMENT_DEPTH && depth <= MAX_DOCUMENT_DEPTH {
        match text.get(at) {
            None => return false,
            Some(b'\\') => at += 1,
            Some(b'"') => quoted = !quoted,
            Some(b'{' | b'[') if !quoted => depth += 1,
            Some(b'}' | b']') if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    depth > MAX_DOCUMENT_DEPTH
}

/// Converts a decimal number's text to the grammar of JSON: `+5`, `007`, `.5` and `5.` become `5`,
/// `7`, `0.5` and `5`. Digits, scale and exponent are kept.
fn write_number(text: &str, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => unsigned.split_at(at),
        None => (unsigned, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let power = exponent.get(1..).map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    let power_is_number = power.is_none_or(|power| !power.is_empty() && digits(power));
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) || !power_is_number
    {
        return Err("JSON has no NaN or infinity");
    }
    if text.starts_with('-') {
        out.push(b'-');
    }
    let whole = whole.trim_start_matches('0');
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole.as_bytes() });
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    out.extend_from_slice(exponent.as_bytes());
    Ok(())
}

/// Appends a string in quotes, with the necessary escapes.
#[inline]
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut start = 0;
    loop {
        let at = next_special(text, start);
        out.extend_from_slice(&text[start..at]);
        let Some(&byte) = text.get(at) else { break };
        write_escape(byte, out);
        start = at + 1;
    }
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

#[cfg(test)]
mod tests;
