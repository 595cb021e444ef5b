//! The binary rows of COPY, divided into fields and gathered into batches, in one pass over each
//! row. A value that Arrow cannot hold makes its row dirty; no value is changed to fit.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::filter::filter;
use transload_plugin_api::{Column, DirtyRow, Error, LogicalType, Result, schema_of};
use transload_values::JsonRow;

use crate::{
    cell_fault::{CellFault, ValueFault, text_of},
    columns::{ColumnBuilder, word_at},
    types::Wire,
};

/// What stands before the rows: a signature, flags and the length of an extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER: usize = SIGNATURE.len() + 8;
/// About the bytes of a text, before any has been seen.
const SHORT: usize = 16;
/// The longest header extension.
const EXTENSION_LIMIT: usize = 64 << 10;
/// The most bytes of a field, and of a row that comes in several messages: more than any server can
/// build.
const FIELD_LIMIT: usize = 1 << 30;
const ROW_LIMIT: usize = FIELD_LIMIT + (64 << 20);

/// Rows of one COPY on their way into batches.
pub(crate) struct Decoder {
    columns: Vec<DecodedColumn>,
    builders: Vec<ColumnBuilder>,
    schema: SchemaRef,
    /// The last column is the key's text, and none of the batch's.
    keyed: bool,
    stage: Stage,
    /// The beginning of a row whose rest is in a later message.
    partial: Vec<u8>,
    /// How long it is at least, once more of it has come.
    wanted: usize,
    /// Rows in the builders, dirty ones included.
    rows: usize,
    /// Cells that make their rows dirty.
    faults: Vec<CellFault>,
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
    column: Column,
    wire: Wire,
}

impl DecodedColumn {
    /// Room for `rows` values, and for `bytes` bytes of those whose size varies.
    fn builder(&self, rows: usize, bytes: usize) -> Result<ColumnBuilder> {
        ColumnBuilder::new(&self.wire, &self.column.logical, rows, bytes).ok_or_else(|| {
            let Column { name, logical, .. } = &self.column;
            let message = format!("column `{name}` cannot be read as `{logical}`");
            Error::unsupported(message)
        })
    }

    /// A cell of this column, the one at `index`, whose value does not fit.
    #[cold]
    fn fault(&self, row: usize, index: usize, fault: ValueFault, value: &[u8]) -> CellFault {
        let bytes = (fault != ValueFault::Null).then(|| value.to_vec());
        let value =
            bytes.as_ref().and_then(|value| text_of(&self.wire, &self.column.logical, value));
        CellFault { row, column: index, fault, value, bytes }
    }
}

/// A finished batch.
pub(crate) struct Decoded {
    pub(crate) batch: RecordBatch,
    /// The place of the first row of all, dirty or not.
    pub(crate) first: u64,
    /// The key of the last row of all, dirty or not, where keys are read.
    pub(crate) key: Option<String>,
    /// Dirty rows, their place counted from the start of the stream.
    pub(crate) dirty: Vec<(u64, DirtyRow)>,
}

impl Decoder {
    /// For rows with these columns, which come in these forms, and behind them the key's text if
    /// `keyed`.
    pub(crate) fn new(
        columns: &[Column],
        wires: &[Wire],
        keyed: bool,
        capacity: usize,
    ) -> Result<Self> {
        let key = keyed.then(|| Column::new("key", LogicalType::TEXT, false));
        let decoded: Vec<_> = columns
            .iter()
            .chain(&key)
            .zip(wires.iter().chain([&Wire::Text]))
            .map(|(column, wire)| DecodedColumn { column: column.clone(), wire: wire.clone() })
            .collect();
        let builders = decoded.iter().map(|column| column.builder(capacity, capacity * SHORT));
        Ok(Self {
            builders: builders.collect::<Result<_>>()?,
            columns: decoded,
            schema: schema_of(columns),
            keyed,
            stage: Stage::Header,
            partial: Vec::new(),
            wanted: 0,
            rows: 0,
            faults: Vec::new(),
            before: 0,
        })
    }

    /// Rows in the builders.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes the next bytes of the stream, as a rule one row.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<()> {
        if self.partial.is_empty() {
            let taken = self.take(bytes)?;
            self.partial.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let length = self.partial.len() + bytes.len();
        if length > ROW_LIMIT {
            return Err(damaged("a row is longer than 1 GiB"));
        }
        // Twice what there is, as far as the limit allows.
        let room = length.max((2 * self.partial.len()).min(ROW_LIMIT));
        self.partial.reserve_exact(room - self.partial.len());
        self.partial.extend_from_slice(bytes);
        if length < self.wanted {
            return Ok(());
        }
        let mut partial = std::mem::take(&mut self.partial);
        let taken = self.take(&partial)?;
        partial.drain(..taken);
        self.partial = partial;
        Ok(())
    }

    /// Takes what has come whole and returns how many bytes that is.
    fn take(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut taken = 0;
        if self.stage == Stage::Header {
            let Some(length) = header_length(bytes)? else { return Ok(0) };
            self.stage = Stage::Rows;
            taken = length;
        }
        while taken < bytes.len() {
            if self.stage == Stage::End {
                return Err(damaged("there are bytes after the trailer"));
            }
            match self.row(&bytes[taken..])? {
                Some(length) => taken += length,
                None => break,
            }
        }
        Ok(taken)
    }

    /// One row, or the trailer, and its length; `None` if it has not come whole.
    fn row(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some((count, mut rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(self.undo(0, 2));
        };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.stage = Stage::End;
            return Ok(Some(2));
        }
        if usize::try_from(count).ok() != Some(self.builders.len()) {
            return Err(damaged("a row has the wrong number of columns"));
        }
        let known = self.faults.len();
        for index in 0..self.builders.len() {
            let builder = &mut self.builders[index];
            let Some((length, after)) = rest.split_first_chunk::<4>() else {
                self.faults.truncate(known);
                return Ok(self.undo(index, bytes.len() + 1));
            };
            let length = i32::from_be_bytes(*length);
            let outcome = if length >= 0 {
                let Some((value, after)) = after.split_at_checked(length as usize) else {
                    if length as usize > FIELD_LIMIT {
                        return Err(damaged("a field is longer than 1 GiB"));
                    }
                    self.faults.truncate(known);
                    return Ok(self.undo(index, bytes.len() - after.len() + length as usize));
                };
                rest = after;
                builder.append(value)
            } else if length == -1 {
                rest = after;
                if self.columns[index].column.nullable {
                    builder.append_null();
                    continue;
                }
                Err(ValueFault::Null)
            } else {
                return Err(damaged("a field has a negative length"));
            };
            if let Err(reason) = outcome {
                // The row is taken out as a whole when the batch is finished.
                builder.append_null();
                let value = bytes.len() - rest.len();
                let value = &bytes[value - length.max(0) as usize..value];
                self.faults.push(self.columns[index].fault(self.rows, index, reason, value));
            }
        }
        self.rows += 1;
        Ok(Some(bytes.len() - rest.len()))
    }

    /// Forgets the first fields of a row that has not come whole and has at least `wanted` bytes.
    fn undo(&mut self, fields: usize, wanted: usize) -> Option<usize> {
        self.wanted = wanted;
        for builder in &mut self.builders[..fields] {
            builder.truncate(self.rows);
        }
        None
    }

    /// The server has ended the stream. `counted` is the number of rows in its command tag.
    pub(crate) fn end(&self, counted: Option<u64>) -> Result<()> {
        if self.stage != Stage::End || !self.partial.is_empty() {
            let message = "the COPY ended before its trailer";
            return Err(Error::connection(message));
        }
        let rows = self.before + self.rows as u64;
        match counted {
            Some(counted) if counted == rows => Ok(()),
            Some(counted) => {
                let message = format!("the server has sent {counted} rows, but {rows} came");
                Err(Error::connection(message))
            }
            None => Err(Error::connection("the server does not say how many rows it has sent")),
        }
    }

    /// What has been decoded since the last time.
    pub(crate) fn finish(&mut self) -> Result<Decoded> {
        let mut faults = std::mem::take(&mut self.faults);
        let mut arrays = self.arrays(&mut faults).map_err(|error| defect(&error))?;
        let key = if self.keyed { arrays.pop().and_then(|keys| last_text(&keys)) } else { None };
        faults.sort_by_key(|fault| (fault.row, fault.column));
        let first = self.before;
        let of_rows = faults.chunk_by(|one, next| one.row == next.row);
        let dirty = of_rows.filter_map(|faults| self.dirty_row(&arrays, faults, first));
        let dirty: Vec<_> = dirty.collect();
        if !faults.is_empty() {
            let clean = self.without(&faults);
            for array in &mut arrays {
                *array = filter(array, &clean).map_err(|error| defect(&error))?;
            }
        }
        let rows = self.rows - dirty.len();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| defect(&error))?;
        self.before += self.rows as u64;
        self.rows = 0;
        Ok(Decoded { batch, first, key, dirty })
    }

    /// A row with all that is wrong with it and all its values, behind its place in the stream.
    #[cold]
    fn dirty_row(
        &self,
        arrays: &[ArrayRef],
        faults: &[CellFault],
        first: u64,
    ) -> Option<(u64, DirtyRow)> {
        let row = faults.first()?.row;
        let mut values = JsonRow::default();
        for (index, array) in arrays.iter().enumerate() {
            let column = &self.columns[index].column;
            match faults.iter().find(|fault| fault.column == index) {
                Some(fault) => fault.add_to(&mut values, column),
                None => values.value(&column.name, &column.logical, array.as_ref(), row),
            }
        }
        let mut errors = faults.iter().map(|fault| fault.error(&self.columns[fault.column].column));
        let dirty = DirtyRow::from(errors.next()?).values(values.finish());
        Some((first + row as u64, errors.fold(dirty, DirtyRow::error)))
    }

    /// The columns so far; texts that are not UTF-8 are added to the faults.
    fn arrays(&mut self, faults: &mut Vec<CellFault>) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut arrays = Vec::with_capacity(self.builders.len());
        for (index, builder) in self.builders.iter_mut().enumerate() {
            let column = &self.columns[index];
            // Batches to come have as much room from the start.
            let bytes = builder.bytes() + builder.bytes() / 16;
            let fresh = ColumnBuilder::new(&column.wire, &column.column.logical, self.rows, bytes)
                .ok_or_else(|| ArrowError::SchemaError(column.column.name.clone()))?;
            let mut invalid = Vec::new();
            arrays.push(
                std::mem::replace(builder, fresh).finish(&column.column.logical, &mut invalid)?,
            );
            faults.extend(invalid.into_iter().map(|text| CellFault {
                row: text.row,
                column: index,
                fault: ValueFault::Utf8,
                value: Some(String::from_utf8_lossy(&text.bytes).into_owned()),
                bytes: Some(text.bytes),
            }));
        }
        Ok(arrays)
    }

    /// Which rows are clean.
    fn without(&self, faults: &[CellFault]) -> BooleanArray {
        let mut clean = vec![true; self.rows];
        for fault in faults {
            clean[fault.row] = false;
        }
        clean.into()
    }
}

fn last_text(texts: &ArrayRef) -> Option<String> {
    let texts = texts.as_string_opt::<i32>()?;
    Some(texts.value(texts.len().checked_sub(1)?).to_owned())
}

/// The header's length, once it has come whole.
fn header_length(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.len() < HEADER {
        return Ok(None);
    }
    if !bytes.starts_with(SIGNATURE) {
        return Err(damaged("the stream does not begin as a binary COPY"));
    }
    let extension = word_at(bytes, HEADER - 4).and_then(|length| usize::try_from(length).ok());
    match extension {
        Some(extension) if extension <= EXTENSION_LIMIT => {
            let length = HEADER + extension;
            Ok((bytes.len() >= length).then_some(length))
        }
        _ => Err(damaged("the stream's header is too long")),
    }
}

fn damaged(what: &str) -> Error {
    Error::data(format!("the server's COPY stream is damaged: {what}"))
}

fn defect(error: &ArrowError) -> Error {
    Error::defect(format!("make a batch: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use transload_plugin_api::ErrorKind;

    fn decoder() -> Decoder {
        let list = LogicalType::List(Box::new(LogicalType::Int32));
        let columns = [
            Column::new("n", LogicalType::Int32, true),
            Column::new("s", LogicalType::TEXT, true),
            Column::new("d", LogicalType::Decimal { precision: 15, scale: 2 }, false),
            Column::new("l", list, true),
        ];
        let element = Box::new(Wire::Int4);
        let wires = [Wire::Int4, Wire::Text, Wire::Numeric, Wire::Array { oid: 23, element }];
        Decoder::new(&columns, &wires, false, 4).unwrap()
    }

    fn header() -> Vec<u8> {
        [SIGNATURE, &[0; 8]].concat()
    }

    fn field(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat()
    }

    /// Row `n`: 0.5 as the decimal, and a list of one.
    fn row(n: i32, text: &[u8]) -> Vec<u8> {
        let words =
            |words: &[i32]| words.iter().flat_map(|it| it.to_be_bytes()).collect::<Vec<_>>();
        let list = words(&[1, 0, 23, 1, 1, 4, n]);
        let half = [0, 1, 0xFF, 0xFF, 0, 0, 0, 1, 0x13, 0x88];
        let fields = [field(&n.to_be_bytes()), field(text), field(&half), field(&list)];
        [&4_i16.to_be_bytes()[..], &fields.concat()].concat()
    }

    proptest! {
        /// Wherever messages end, the same rows come out of them.
        #[test]
        fn messages_need_not_end_with_rows(cuts in prop::collection::vec(1..40_usize, 1..6)) {
            let rows: Vec<_> = (0..5).map(|n| row(n, format!("text {n}").as_bytes())).collect();
            let stream = [header(), rows.concat(), vec![0xFF, 0xFF]].concat();
            let mut whole = decoder();
            whole.decode(&stream).unwrap();
            let mut decoder = decoder();
            let mut left = &stream[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = left.split_at(left.len().min(*cut));
                decoder.decode(now).unwrap();
                left = later;
                if left.is_empty() { break }
            }
            decoder.end(Some(5)).unwrap();
            prop_assert_eq!(decoder.finish().unwrap().batch, whole.finish().unwrap().batch);
        }

        #[test]
        fn nonsense_is_refused_or_waits_for_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = decoder();
            decoder.decode(&header()).unwrap();
            let _ = decoder.decode(&bytes);
            let _ = decoder.finish();
        }
    }

    #[test]
    fn texts_that_are_not_utf8_make_their_rows_dirty() {
        let mut decoder = decoder();
        // The second and third row are valid only together.
        let rows = [row(1, b"a"), row(2, b"\xC3"), row(3, b"\xA4"), row(4, "ä".as_bytes())];
        decoder.decode(&[header(), rows.concat()].concat()).unwrap();
        let Decoded { batch, first, dirty, .. } = decoder.finish().unwrap();
        assert_eq!((batch.num_rows(), first), (2, 0));
        let dirty: Vec<_> = dirty.iter().map(|(at, row)| (*at, row.code.as_str())).collect();
        assert_eq!(dirty, [(1, "utf8"), (2, "utf8")]);
    }

    #[test]
    fn broken_streams_are_refused() {
        let negative = [&4_i16.to_be_bytes()[..], &(-2_i32).to_be_bytes()].concat();
        let huge = [&4_i16.to_be_bytes()[..], &i32::MAX.to_be_bytes(), b"x"].concat();
        let after = [header(), vec![0xFF, 0xFF, 0]].concat();
        let long = [SIGNATURE, &[0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF]].concat();
        for (bytes, words) in [
            (b"PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec(), "does not begin"),
            (long, "header is too long"),
            ([header(), vec![0, 3]].concat(), "the wrong number of columns"),
            ([header(), negative].concat(), "a negative length"),
            ([header(), huge].concat(), "a field is longer than 1 GiB"),
            (after, "after the trailer"),
        ] {
            let error = decoder().decode(&bytes).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
        for (stream, counted) in [
            (header(), None),
            ([header(), row(1, b"a")].concat(), Some(1)),
            ([header(), row(1, b"a"), vec![0xFF, 0xFF]].concat(), Some(2)),
            ([header(), row(1, b"a"), vec![0xFF, 0xFF]].concat(), Some(0)),
            ([header(), row(1, b"a"), vec![0xFF, 0xFF]].concat(), None),
        ] {
            let mut decoder = decoder();
            decoder.decode(&stream).unwrap();
            assert_eq!(decoder.end(counted).unwrap_err().kind, ErrorKind::Connection);
        }
    }
}
