//! CSV bytes to batches: the wanted columns of each stretch of rows, one column after the other,
//! straight into their builders.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use transload_plugin_api::{Column, DirtyRow, Error, ErrorKind, Result, schema_of};

use super::{
    COLUMN_LIMIT, CsvDialect, FIELD_LIMIT, Ragged,
    index::{Index, Place, RaggedRow},
};
use crate::{
    BATCH_BYTES, BATCH_ROWS, CellWords, ColumnBuilder, Decoded, Decoder,
    cell::{Cells, Fault, shorten},
};

/// Decodes rows of a CSV file, from its first row or from a proven boundary on.
pub struct CsvDecoder {
    dialect: CsvDialect,
    index: Index,
    /// The wanted columns: which cell of a row, and its builder.
    columns: Vec<(usize, ColumnBuilder)>,
    schema: SchemaRef,
    /// Cells of a row.
    width: usize,
    /// Where the next record stands.
    place: Place,
    /// Bytes taken since the last flush.
    bytes: usize,
    rows: usize,
    /// The line of the first row since the last flush, of the last one, and of the flush.
    first_line: Option<u64>,
    last_line: u64,
    flushed_line: u64,
    dirty: Vec<DirtyRow>,
}

/// Why a row of a stretch is dirty: its number there, the wanted column at fault, the fault.
type RowFault = (usize, usize, Fault);

impl CsvDecoder {
    /// A decoder for a file with columns of these names, of which some are wanted, in any order.
    /// It stands on line 1 behind the header.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if the dialect contradicts itself, [`ErrorKind::Schema`] if a wanted
    /// column is not there, or there twice, [`ErrorKind::Unsupported`] if it has no text form.
    pub fn new(
        dialect: &CsvDialect,
        names: &[String],
        wanted: &[Column],
        words: &CellWords,
    ) -> Result<Self> {
        dialect.check()?;
        if names.len() > COLUMN_LIMIT {
            return Err(Error::new(ErrorKind::Schema, "more than 10,000 columns"));
        }
        let builder = |column: &Column| {
            Ok((find_column(names, &column.name)?, ColumnBuilder::new(column, words)?))
        };
        Ok(Self {
            index: Index::new(dialect, Some(names.len())),
            columns: wanted.iter().map(builder).collect::<Result<_>>()?,
            schema: schema_of(wanted),
            width: names.len(),
            place: Place { byte: 0, line: 1 },
            bytes: 0,
            rows: 0,
            first_line: None,
            last_line: 0,
            flushed_line: 1,
            dirty: Vec::new(),
            dialect: dialect.clone(),
        })
    }

    /// Says where in the file the first input stands: a byte, counted from 0, and its line,
    /// counted from 1. For messages.
    #[must_use]
    pub fn at(mut self, byte: u64, line: u64) -> Self {
        self.place = Place { byte, line };
        self.flushed_line = line;
        self
    }

    /// Where in the file the next record begins: a byte and its line.
    pub fn place(&self) -> (u64, u64) {
        (self.place.byte, self.place.line)
    }

    /// Appends the rows of the stretch that was indexed.
    fn append(&mut self, window: &[u8]) -> Result<()> {
        let utf8 = simdutf8::basic::from_utf8(window).is_ok();
        let mut dirty = self.take_ragged(window)?;
        let mut faults = self.long_cells(window);
        faults.extend(self.append_columns(window, utf8));
        if !faults.is_empty() {
            // the first fault of each row, in the order of columns
            faults.sort_by_key(|(row, ..)| *row);
            faults.dedup_by_key(|(row, ..)| *row);
            dirty.extend(faults.iter().map(|fault| self.dirty_row(window, *fault)));
            dirty.sort_by_key(|(line, _)| *line);
            let rows: Vec<usize> = faults.iter().map(|(row, ..)| *row).collect();
            self.columns.iter_mut().for_each(|(_, builder)| builder.truncate_to(self.rows));
            self.index.remove(&rows);
            self.append_columns(window, utf8);
        }
        self.dirty.extend(dirty.into_iter().map(|(_, row)| row));
        if let [first, .., last] | [first @ last] = self.index.lines() {
            self.first_line.get_or_insert(*first);
            self.last_line = *last;
        }
        self.rows += self.index.lines().len();
        Ok(())
    }

    /// One row in every builder for each row of the stretch, NULL where a cell is at fault.
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
                quote: self.dialect.quote,
                escape: self.dialect.true_escape(),
            };
            builder.append_cells(&cells, &mut found);
            faults.extend(found.drain(..).map(|(row, fault)| (row, number, fault)));
        }
        faults
    }

    /// Wanted cells beyond their limit; only a stretch of a single record can hold any.
    fn long_cells(&self, window: &[u8]) -> Vec<RowFault> {
        if window.len() <= FIELD_LIMIT {
            return Vec::new();
        }
        let mut faults = Vec::new();
        for (row, bounds) in self.index.bounds().chunks_exact(self.index.stride()).enumerate() {
            let long =
                |place: usize| (bounds[place + 1] - bounds[place]) as usize > FIELD_LIMIT + 1;
            let column = self.columns.iter().position(|(place, _)| long(*place));
            faults.extend(column.map(|column| (row, column, Fault::Length)));
        }
        faults
    }

    /// Dirty rows, with their lines, for the rows with too few or too many cells.
    fn take_ragged(&mut self, window: &[u8]) -> Result<Vec<(u64, DirtyRow)>> {
        let width = self.width;
        let rows = self.index.take_ragged();
        let dirty = |row: RaggedRow| {
            let reason = format!("expected {width} cells, found {}", row.cells);
            if self.dialect.ragged == Ragged::Error {
                return Err(Error::new(ErrorKind::Data, reason)
                    .with_code("CSV-RAGGED")
                    .at(format!("line {}", row.line))
                    .hint("choose `ragged = \"dirty\"` to set such rows aside"));
            }
            let text = &window[row.start..row.end];
            Ok((row.line, new_dirty(row.line, None, text, "ragged", reason)))
        };
        rows.into_iter().map(dirty).collect()
    }

    #[cold]
    fn dirty_row(&self, window: &[u8], (row, number, fault): RowFault) -> (u64, DirtyRow) {
        let (place, builder) = &self.columns[number];
        let column = builder.column();
        let at = row * self.index.stride() + place;
        let bounds = self.index.bounds();
        let raw = &window[bounds[at] as usize..bounds[at + 1] as usize - 1];
        let error = if raw.len() > FIELD_LIMIT {
            Fault::Length.explain(&Column::new(&column.name, cell_limit(), true), raw)
        } else {
            fault.explain(column, raw)
        };
        let line = self.index.lines()[row];
        (line, new_dirty(line, Some(&column.name), raw, error.code, error.reason))
    }
}

/// The type that a cell beyond every limit is measured against.
fn cell_limit() -> transload_plugin_api::LogicalType {
    transload_plugin_api::LogicalType::Text { length: Some(FIELD_LIMIT as u32) }
}

fn new_dirty(line: u64, column: Option<&str>, raw: &[u8], code: &str, reason: String) -> DirtyRow {
    DirtyRow {
        row: 0,
        place: Some(format!("line {line}")),
        column: column.map(str::to_owned),
        value: Some(shorten(raw)),
        code: code.to_owned(),
        reason,
    }
}

fn find_column(names: &[String], name: &str) -> Result<usize> {
    let mut found = names.iter().enumerate().filter(|(_, other)| *other == name);
    match (found.next(), found.next()) {
        (Some((place, _)), None) => Ok(place),
        (Some(_), Some(_)) => {
            Err(Error::new(ErrorKind::Schema, format!("column `{name}` is there twice")))
        }
        (None, _) => {
            Err(Error::new(ErrorKind::Schema, format!("column `{name}` is not in the file"))
                .hint(format!("the file has: {}", names.join(", "))))
        }
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, input: &[u8], last: bool) -> Result<usize> {
        let mut taken = 0;
        while !self.is_full() {
            let room = BATCH_ROWS - self.rows;
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
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    fn flush(&mut self) -> Result<Option<Decoded>> {
        if self.rows == 0 && self.dirty.is_empty() {
            self.bytes = 0;
            self.flushed_line = self.place.line;
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| {
                Error::new(ErrorKind::Defect, "columns do not make a batch").caused_by(&error)
            })?;
        let first_line = self.first_line.take().unwrap_or(self.flushed_line);
        let exact = self.rows == 0 || self.last_line - first_line + 1 == self.rows as u64;
        self.rows = 0;
        self.bytes = 0;
        self.flushed_line = self.place.line;
        Ok(Some(Decoded { batch, dirty: std::mem::take(&mut self.dirty), first_line, exact }))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, StringArray};
    use proptest::prelude::*;
    use transload_plugin_api::LogicalType;

    use super::*;
    use crate::csv::plain;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("c{number}")).collect()
    }

    fn texts(count: usize) -> Vec<Column> {
        names(count).iter().map(|name| Column::new(name, LogicalType::TEXT, true)).collect()
    }

    /// Decodes pieces as a file reader would: what is not taken is offered again with more.
    fn decode(mut decoder: CsvDecoder, input: &[u8], piece: usize) -> Result<Vec<Decoded>> {
        let (mut from, mut to) = (0, 0);
        let mut found = Vec::new();
        while from < input.len() {
            to = (to + piece).min(input.len());
            loop {
                let last = to == input.len();
                let taken = decoder.decode(&input[from..to], last)?;
                from += taken;
                let full = decoder.is_full();
                if full || last {
                    found.extend(decoder.flush()?);
                }
                if !full {
                    break;
                }
            }
            if to == input.len() {
                break;
            }
        }
        Ok(found)
    }

    fn decoder(dialect: &CsvDialect, columns: &[Column]) -> CsvDecoder {
        CsvDecoder::new(dialect, &names(columns.len()), columns, &CellWords::default()).unwrap()
    }

    fn decode_default(columns: &[Column], input: &str) -> Decoded {
        let decoder = decoder(&CsvDialect::default(), columns);
        decode(decoder, input.as_bytes(), usize::MAX / 2).unwrap().remove(0)
    }

    type Row = Vec<Option<String>>;

    fn rows(batch: &RecordBatch) -> Vec<Row> {
        let column = |at: usize| batch.column(at).as_any().downcast_ref::<StringArray>().unwrap();
        let cell = |row: usize, at: usize| {
            (!column(at).is_null(row)).then(|| column(at).value(row).to_owned())
        };
        (0..batch.num_rows())
            .map(|row| (0..batch.num_columns()).map(|at| cell(row, at)).collect())
            .collect()
    }

    /// Clean rows, and the lines of dirty ones, by the plain state machine.
    fn expected(dialect: &CsvDialect, input: &[u8], width: usize) -> (Vec<Row>, Vec<String>) {
        let (mut clean, mut dirty) = (Vec::new(), Vec::new());
        for record in plain::records(dialect, input).0 {
            let empty = record.cells.is_empty();
            let mut cells = record.cells;
            if empty && width == 1 && is_empty_line(dialect, input, record.offset as usize) {
                let null = dialect.null.is_empty();
                cells.push(if null { plain::Cell::Null } else { plain::Cell::Text(Vec::new()) });
            } else if empty {
                continue;
            }
            let row: Option<Row> = cells
                .into_iter()
                .map(|cell| match cell {
                    plain::Cell::Null => Some(None),
                    plain::Cell::Text(text) => Some(Some(String::from_utf8(text).ok()?)),
                    plain::Cell::Wrong => None,
                })
                .collect();
            match row.filter(|row| row.len() == width) {
                Some(row) => clean.push(row),
                None => dirty.push(format!("line {}", record.line)),
            }
        }
        (clean, dirty)
    }

    fn is_empty_line(dialect: &CsvDialect, input: &[u8], at: usize) -> bool {
        dialect.comment.is_none_or(|comment| input[at] != comment)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn t53_the_decoder_is_the_plain_state_machine(
            (dialect, input) in (plain::dialects(), plain::inputs()),
            width in 1usize..4,
            piece in 1usize..300,
        ) {
            let input = input.strip_prefix(super::super::BOM).unwrap_or(&input);
            let found = decode(decoder(&dialect, &texts(width)), input, piece);
            if plain::records(&dialect, input).1 {
                prop_assert_eq!(found.unwrap_err().code, "CSV-QUOTE");
            } else {
                let found = found.unwrap();
                let clean: Vec<Row> = found.iter().flat_map(|part| rows(&part.batch)).collect();
                let dirty: Vec<String> = found
                    .iter()
                    .flat_map(|part| part.dirty.iter().map(|row| row.place.clone().unwrap()))
                    .collect();
                prop_assert_eq!((clean, dirty), expected(&dialect, input, width));
            }
        }
    }

    #[test]
    fn t09_null_and_the_empty_text_are_two_things() {
        let found = decode_default(&texts(3), "a,,\"\"\n\"\",x,\n");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(rows(&found.batch), [[text("a"), None, text("")], [text(""), text("x"), None]]);
        let dialect = CsvDialect { null: "\\N".into(), ..CsvDialect::default() };
        let input = b"\\N,\"\\N\",\n";
        let found = decode(decoder(&dialect, &texts(3)), input, 100).unwrap().remove(0);
        assert_eq!(rows(&found.batch), [[None, text("\\N"), text("")]]);
    }

    #[test]
    fn t22_booleans_by_their_words_only() {
        let column = [Column::new("c1", LogicalType::Boolean, true)];
        let found = decode_default(&column, "true\nFALSE\nt\nNo\n1\noff\nTRUE \n2\n\"y\"\n\n");
        let expected = [true, false, true, false, true, false, true].map(Some);
        let expected: Vec<Option<bool>> = expected.into_iter().chain([None]).collect();
        assert_eq!(**found.batch.column(0), arrow_array::BooleanArray::from(expected));
        let dirty: Vec<_> = found.dirty.iter().map(|row| row.value.as_deref()).collect();
        assert_eq!(dirty, [Some("TRUE "), Some("2")]);
    }

    #[test]
    fn t30_bytes_that_are_not_utf8_make_their_row_dirty() {
        for byte in 0x80..=0xFFu8 {
            let input = [b"a,1\nb", &[byte][..], b",2\nc,3\n"].concat();
            let found = decode(decoder(&CsvDialect::default(), &texts(2)), &input, 100).unwrap();
            assert_eq!(found[0].batch.num_rows(), 2);
            assert_eq!(found[0].dirty[0].code, "utf8");
            assert_eq!(found[0].dirty[0].place.as_deref(), Some("line 2"));
            assert_eq!(found[0].dirty[0].column.as_deref(), Some("c1"));
        }
    }

    #[test]
    fn t55_short_and_long_rows_are_dirty_with_their_line() {
        let input = "1,2\n3\n\"4\n\",5\n6,7,8\n9,10\n\n";
        let found = decode_default(&texts(2), input);
        let dirty: Vec<_> =
            found.dirty.iter().map(|row| (row.place.as_deref(), row.reason.as_str())).collect();
        assert_eq!(
            dirty,
            [
                (Some("line 2"), "expected 2 cells, found 1"),
                (Some("line 5"), "expected 2 cells, found 3"),
            ]
        );
        assert_eq!((found.batch.num_rows(), found.first_line, found.exact), (3, 1, false));
        let dialect = CsvDialect { ragged: Ragged::Error, ..CsvDialect::default() };
        let error = decode(decoder(&dialect, &texts(2)), input.as_bytes(), 100).unwrap_err();
        assert_eq!((error.code.as_str(), error.place.as_deref()), ("CSV-RAGGED", Some("line 2")));
    }

    #[test]
    fn t55_an_unclosed_quote_is_named_and_bounded() {
        let mut input = b"a,b\n\"c\nd\",e\nf,\"".to_vec();
        let decoder = || decoder(&CsvDialect::default(), &texts(2)).at(1000, 100);
        let error = decode(decoder(), &input, 7).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Data);
        assert_eq!(error.place.as_deref(), Some("line 103, byte 1014"));
        input.resize(input.len() + (16 << 20) + 100, b'x');
        let mut stopped = decoder();
        let taken = stopped.decode(&input[..1 << 20], false).unwrap();
        let error = stopped.decode(&input[taken..], false).unwrap_err();
        assert_eq!(error.place.as_deref(), Some("line 103, byte 1014"));
    }

    #[test]
    fn a_cell_beyond_its_limit_makes_its_row_dirty() {
        let long = "x".repeat(FIELD_LIMIT);
        let input = format!("a,{long}\nb,{long}y\nc,d\n");
        let decoder = decoder(&CsvDialect::default(), &texts(2));
        let found = decode(decoder, input.as_bytes(), usize::MAX / 2).unwrap();
        let dirty: Vec<_> = found.iter().flat_map(|part| &part.dirty).collect();
        let told: Vec<_> = dirty.iter().map(|row| (row.place.as_deref(), &*row.code)).collect();
        assert_eq!(told, [(Some("line 2"), "length")]);
        assert_eq!(found.iter().map(|part| part.batch.num_rows()).sum::<usize>(), 2);
    }

    #[test]
    fn only_the_wanted_columns_are_parsed_and_in_the_wanted_order() {
        let wanted = [
            Column::new("c3", LogicalType::Int32, false),
            Column::new("c1", LogicalType::Date, true),
        ];
        let decoder =
            CsvDecoder::new(&CsvDialect::default(), &names(3), &wanted, &CellWords::default());
        let input = b"2024-01-01,x,1\n,\xFF,2\n2024-01-02,y,\n2024-13-01,y,z\n";
        let found = decode(decoder.unwrap(), input, 100).unwrap().remove(0);
        assert_eq!(found.batch.schema(), schema_of(&wanted));
        assert_eq!(found.batch.num_rows(), 2);
        let dirty: Vec<_> = found
            .dirty
            .iter()
            .map(|row| (row.place.as_deref(), row.column.as_deref(), row.code.as_str()))
            .collect();
        assert_eq!(
            dirty,
            [(Some("line 3"), Some("c3"), "null"), (Some("line 4"), Some("c3"), "parse"),]
        );
    }

    #[test]
    fn no_columns_still_count_rows() {
        let decoder =
            CsvDecoder::new(&CsvDialect::default(), &names(2), &[], &CellWords::default());
        let found = decode(decoder.unwrap(), b"1,2\n3,4\n", 100).unwrap();
        assert_eq!(found[0].batch.num_rows(), 2);
    }

    #[test]
    fn wrong_columns_are_refused() {
        let refuse = |names: &[&str], wanted: &str| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let wanted = [Column::new(wanted, LogicalType::TEXT, true)];
            CsvDecoder::new(&CsvDialect::default(), &names, &wanted, &CellWords::default()).err()
        };
        assert_eq!(refuse(&["a", "b"], "c").unwrap().kind, ErrorKind::Schema);
        assert_eq!(refuse(&["a", "a"], "a").unwrap().kind, ErrorKind::Schema);
        assert!(refuse(&["a", "a", "b"], "b").is_none());
    }

    #[test]
    fn batches_end_at_their_rows_or_bytes() {
        let input = "1\n".repeat(BATCH_ROWS + 1);
        let found = decode(decoder(&CsvDialect::default(), &texts(1)), input.as_bytes(), 999);
        let found = found.unwrap();
        let told: Vec<_> =
            found.iter().map(|part| (part.batch.num_rows(), part.first_line, part.exact)).collect();
        assert_eq!(told, [(BATCH_ROWS, 1, true), (1, BATCH_ROWS as u64 + 1, true)]);
        let input = format!("{}\n", "x".repeat(1 << 20)).repeat(9);
        let found = decode_default(&texts(1), &input);
        assert_eq!(found.batch.num_rows(), 4);
    }
}
