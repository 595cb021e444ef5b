//! Encodes batches as CSV bytes that [`super::CsvDecoder`] reads back identically, or refuses them.

use arrow_array::{Array, RecordBatch, StringArray, cast::AsArray};
use transload_plugin_api::{Column, DirtyRow, Error, LogicalType, Result, code};
use transload_values::{BinaryText, ColumnRenderer, SHOWN, shorten};

use super::{BOM, COLUMN_LIMIT, CsvDialect, head::is_usual, specials::Specials};
use crate::{Encoder, json::JsonColumn};

/// Encodes batches of the given columns, in their order.
pub struct CsvEncoder {
    dialect: CsvDialect,
    columns: Vec<Column>,
    binary: BinaryText,
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
            special,
            marks: std::array::from_fn(|byte| special.contains(&(byte as u8))),
            plain: columns.iter().map(|column| never && is_plain(&column.logical)).collect(),
            cell: Vec::new(),
            refused: Vec::new(),
        })
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
        let (row, code) = (row as u64, code.to_owned());
        self.refused.push(DirtyRow { row, place: None, column, value, code, reason });
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
        }
        Ok(())
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

impl CsvEncoder {
    fn cells<'a>(&self, number: usize, array: &'a dyn Array) -> Result<Cells<'a>> {
        let column = &self.columns[number];
        if matches!(column.logical, LogicalType::List(_)) {
            return JsonColumn::new(column, array, self.binary).map(Cells::Json);
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
    /// Lists, as JSON texts.
    Json(JsonColumn<'a>),
}

impl Cells<'_> {
    #[inline]
    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Plain(cells) | Self::Other(cells) => cells.is_null(row),
            Self::Text(texts, _) => texts.is_null(row),
            Self::Json(lists) => lists.is_null(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, StringArray, types::*,
    };
    use arrow_array::{ArrowPrimitiveType, PrimitiveArray};
    use arrow_buffer::i256;
    use proptest::{collection::vec, option, prelude::*, sample::select};
    use transload_plugin_api::schema_of;

    use super::*;
    use crate::{CellWords, CsvDecoder, CsvHead, Decoder, csv::plain};
    use transload_plugin_api::ErrorKind;

    const ROWS: usize = 20;

    fn numbers<A: ArrowPrimitiveType + 'static>(
        logical: &str,
        values: impl Strategy<Value = A::Native> + 'static,
    ) -> BoxedStrategy<(LogicalType, ArrayRef)>
    where
        A::Native: std::fmt::Debug,
    {
        let logical: LogicalType = logical.parse().unwrap();
        vec(option::of(values), ROWS)
            .prop_map(move |values| {
                let array = PrimitiveArray::<A>::from_iter(values);
                let array = array.with_data_type(logical.data_type());
                (logical.clone(), Arc::new(array) as ArrayRef)
            })
            .boxed()
    }

    fn texts(
        logical: &str,
        values: impl Strategy<Value = String> + 'static,
    ) -> BoxedStrategy<(LogicalType, ArrayRef)> {
        let logical: LogicalType = logical.parse().unwrap();
        vec(option::of(values), ROWS)
            .prop_map(move |values| {
                (logical.clone(), Arc::new(StringArray::from(values)) as ArrayRef)
            })
            .boxed()
    }

    fn awkward_text() -> impl Strategy<Value = String> {
        let pieces = [
            "", " ", "\"", "\"\"", "'", ",", ";", "\n", "\r", "\r\n", "\\", "#", "NULL", "n", "a",
            "é😀", "0", "\t", "\u{FEFF}", "\0",
        ];
        vec(select(pieces.to_vec()), 0..5).prop_map(|pieces| pieces.concat())
    }

    fn column() -> impl Strategy<Value = (LogicalType, ArrayRef)> {
        let most = 10i128.pow(38) - 1;
        let wide = i256::from_string(&"9".repeat(76)).unwrap();
        let floats = |value: f64| if value.is_nan() { f64::NAN } else { value };
        prop_oneof![
            texts("text", awkward_text()),
            texts("text", awkward_text()),
            texts(
                "json",
                select(vec!["{}", "[1, 2]", "\"a,b\"", "\" \\\" \"", "null"])
                    .prop_map(str::to_owned)
            ),
            texts(
                "numeric",
                select(vec!["NaN", "-Infinity", "1.50", "1e400", "0"]).prop_map(str::to_owned)
            ),
            vec(option::of(any::<bool>()), ROWS).prop_map(|values| (
                LogicalType::Boolean,
                Arc::new(BooleanArray::from(values)) as ArrayRef
            )),
            vec(option::of(vec(any::<u8>(), 0..9)), ROWS).prop_map(|values| {
                (LogicalType::Binary, Arc::new(BinaryArray::from_iter(values)) as ArrayRef)
            }),
            vec(option::of(any::<[u8; 16]>()), ROWS).prop_map(|values| {
                let array =
                    FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16);
                (LogicalType::Uuid, Arc::new(array.unwrap()) as ArrayRef)
            }),
            numbers::<Int8Type>("int8", any::<i8>()),
            numbers::<Int16Type>("int16", any::<i16>()),
            numbers::<Int32Type>("int32", any::<i32>()),
            numbers::<Int64Type>("int64", any::<i64>()),
            numbers::<UInt8Type>("uint8", any::<u8>()),
            numbers::<UInt16Type>("uint16", any::<u16>()),
            numbers::<UInt32Type>("uint32", any::<u32>()),
            numbers::<UInt64Type>("uint64", any::<u64>()),
            numbers::<Float32Type>("float32", any::<f32>()),
            numbers::<Float64Type>("float64", any::<f64>().prop_map(floats)),
            numbers::<Decimal128Type>(
                "decimal(15,2)",
                -999_999_999_999_999..=999_999_999_999_999i128
            ),
            numbers::<Decimal128Type>("decimal(5,5)", -99_999..=99_999i128),
            numbers::<Decimal128Type>("decimal(38,0)", -most..=most),
            numbers::<Decimal128Type>("decimal(38,20)", -most..=most),
            numbers::<Decimal256Type>(
                "decimal(76,30)",
                any::<i128>().prop_map(move |value| {
                    wide.wrapping_div(i256::from_i128(value.checked_abs().map_or(1, |v| v.max(1))))
                })
            ),
            numbers::<Date32Type>("date", any::<i32>()),
            numbers::<Date32Type>("date", -800_000..3_000_000i32),
            numbers::<Time64MicrosecondType>("time", 0..86_400_000_000i64),
            numbers::<Time64NanosecondType>("time(9)", 0..86_400_000_000_000i64),
            numbers::<DurationMicrosecondType>("duration", any::<i64>()),
            numbers::<TimestampMicrosecondType>("timestamp", any::<i64>()),
            numbers::<TimestampNanosecondType>("timestamp(9)", any::<i64>()),
            numbers::<TimestampMicrosecondType>("timestamptz", any::<i64>()),
            numbers::<TimestampNanosecondType>("timestamptz(9)", any::<i64>()),
        ]
    }

    fn encode(encoder: &mut CsvEncoder, batch: &RecordBatch) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        encoder.start(&mut out)?;
        encoder.encode(batch, &mut out)?;
        encoder.end(&mut out)?;
        Ok(out)
    }

    fn decode(
        dialect: &CsvDialect,
        columns: &[Column],
        bytes: &[u8],
        words: &CellWords,
    ) -> RecordBatch {
        let head = CsvHead::read(dialect, bytes, true).unwrap().unwrap();
        let names = if dialect.header {
            head.names.clone()
        } else {
            columns.iter().map(|column| column.name.clone()).collect()
        };
        let mut decoder = CsvDecoder::new(dialect, &names, columns, words).unwrap();
        let rows = &bytes[head.bytes as usize..];
        assert_eq!(decoder.decode(rows, true).unwrap(), rows.len());
        let found = decoder.flush().unwrap().unwrap();
        assert_eq!(found.dirty, []);
        found.batch
    }

    fn batch(columns: Vec<(LogicalType, ArrayRef)>) -> (Vec<Column>, RecordBatch) {
        let (types, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let columns: Vec<_> = types
            .into_iter()
            .enumerate()
            .map(|(number, logical)| Column::new(format!("c{}", number + 1), logical, true))
            .collect();
        let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
        (columns, batch)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn t54_what_is_written_reads_back_identically(
            dialect in plain::dialects(),
            header in any::<bool>(),
            base64 in any::<bool>(),
            columns in vec(column(), 1..6),
        ) {
            let dialect = CsvDialect { header, ..dialect };
            let (columns, batch) = batch(columns);
            let binary = if base64 { BinaryText::Base64 } else { BinaryText::Hex };
            let words = CellWords { binary, ..CellWords::default() };
            let mut encoder = CsvEncoder::new(&dialect, &columns, binary).unwrap();
            let bytes = encode(&mut encoder, &batch).unwrap();
            let refused = encoder.take_refused();
            prop_assert!(refused.is_empty() || dialect.quote.is_none());
            prop_assert!(refused.iter().all(|row| row.code == "quote"));
            let kept: arrow_array::BooleanArray = (0..ROWS as u64)
                .map(|row| Some(refused.iter().all(|refused| refused.row != row)))
                .collect();
            let kept = arrow_select::filter::filter_record_batch(&batch, &kept).unwrap();
            prop_assert_eq!(decode(&dialect, &columns, &bytes, &words), kept);
        }
    }

    #[test]
    fn lists_are_json_texts() {
        let lists = [Some(vec![Some(1.5), None]), None, Some(vec![]), Some(vec![Some(f64::NAN)])];
        let lists = arrow_array::ListArray::from_iter_primitive::<Float64Type, _, _>(lists);
        let logical: LogicalType = "list<float64>".parse().unwrap();
        let arrow_schema::DataType::List(field) = logical.data_type() else { panic!("a list") };
        let (_, offsets, values, nulls) = lists.into_parts();
        let lists = arrow_array::ListArray::new(field, offsets, values, nulls);
        let (columns, batch) = batch(vec![(logical, Arc::new(lists))]);
        let mut encoder =
            CsvEncoder::new(&CsvDialect::default(), &columns, BinaryText::Hex).unwrap();
        let bytes = encode(&mut encoder, &batch).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "c1\n\"[1.5,null]\"\n\n[]\n");
        let refused = encoder.take_refused();
        assert_eq!((refused.len(), refused[0].row, &*refused[0].code), (1, 3, "range"));
    }

    #[test]
    fn a_record_beyond_the_limit_is_left_out_and_named() {
        let array = Arc::new(StringArray::from(vec!["x".repeat(99), "x".repeat(100), "y".into()]));
        let (columns, batch) = batch(vec![(LogicalType::TEXT, array)]);
        let dialect = CsvDialect { max_record: 99, ..CsvDialect::default() };
        let mut encoder = CsvEncoder::new(&dialect, &columns, BinaryText::Hex).unwrap();
        let bytes = encode(&mut encoder, &batch).unwrap();
        let refused = encoder.take_refused();
        assert_eq!(
            refused.iter().map(|row| (row.row, &*row.code)).collect::<Vec<_>>(),
            [(1, "length")]
        );
        let kept = decode(&dialect, &columns, &bytes, &CellWords::default());
        assert_eq!(kept.num_rows(), 2);
    }

    #[test]
    fn names_that_the_reader_would_refuse_are_refused() {
        let columns = |name: &str| [Column::new(name, LogicalType::TEXT, true)];
        let new = |dialect: &CsvDialect, name: &str| {
            CsvEncoder::new(dialect, &columns(name), BinaryText::Hex).map(drop)
        };
        let plain = CsvDialect { quote: None, ..CsvDialect::default() };
        let headless = CsvDialect { header: false, ..plain.clone() };
        for (dialect, name, ok) in [
            (&CsvDialect::default(), "a\tb\nc", true),
            (&CsvDialect::default(), "a\u{1b}", false),
            (&plain, "a\nb", false),
            (&headless, "a\nb", true),
        ] {
            assert_eq!(new(dialect, name).is_ok(), ok, "{name:?}");
        }
        let mut encoder =
            CsvEncoder::new(&CsvDialect::default(), &columns("a\tb"), BinaryText::Hex).unwrap();
        let mut out = Vec::new();
        encoder.start(&mut out).unwrap();
        let head = CsvHead::read(&CsvDialect::default(), &out, true).unwrap().unwrap();
        assert_eq!(head.names, ["a\tb"]);
        let many: Vec<_> =
            (0..=COLUMN_LIMIT).map(|n| columns(&format!("c{n}"))[0].clone()).collect();
        assert!(CsvEncoder::new(&CsvDialect::default(), &many, BinaryText::Hex).is_err());
    }

    fn written(dialect: CsvDialect, rows: &[Option<&str>]) -> Result<(String, Vec<DirtyRow>)> {
        let array = Arc::new(StringArray::from(rows.to_vec())) as ArrayRef;
        let (columns, batch) = batch(vec![(LogicalType::TEXT, array)]);
        let mut encoder = CsvEncoder::new(&dialect, &columns, BinaryText::Hex)?;
        let text = String::from_utf8(encode(&mut encoder, &batch)?).unwrap();
        Ok((text, encoder.take_refused()))
    }

    #[test]
    fn t54_only_what_needs_quotes_has_them() {
        let rows =
            [Some("a b"), Some(" "), None, Some(""), Some("a\rb"), Some("\"x\","), Some("#x")];
        let (text, _) = written(CsvDialect::default(), &rows).unwrap();
        assert_eq!(text, "c1\na b\n \n\n\"\"\n\"a\rb\"\n\"\"\"x\"\",\"\n#x\n");
        let dialect = CsvDialect { comment: Some(b'#'), null: "-".into(), ..CsvDialect::default() };
        let (text, _) = written(dialect, &[Some("#x"), Some("x#"), Some("-"), None]).unwrap();
        assert_eq!(text, "c1\n\"#x\"\nx#\n\"-\"\n-\n");
    }

    #[test]
    fn what_would_read_back_as_something_else_is_refused() {
        let dialect = CsvDialect { quote: None, ..CsvDialect::default() };
        for text in ["a,b", "a\nb", "a\r", ""] {
            let (written, refused) = written(dialect.clone(), &[Some("x"), Some(text)]).unwrap();
            assert_eq!(written, "c1\nx\n", "{text:?}");
            assert_eq!((refused[0].row, refused[0].column.as_deref()), (1, Some("c1")));
        }
        assert_eq!(written(dialect, &[Some("a\"b"), None]).unwrap().1, []);
    }

    #[test]
    fn a_batch_of_other_columns_is_refused() {
        let array = Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
        let (_, batch) = batch(vec![(LogicalType::TEXT, array)]);
        for columns in [vec![], vec![Column::new("c1", LogicalType::Int32, true)]] {
            let mut encoder =
                CsvEncoder::new(&CsvDialect::default(), &columns, BinaryText::Hex).unwrap();
            assert_eq!(encode(&mut encoder, &batch).unwrap_err().kind, ErrorKind::Schema);
        }
    }
}
