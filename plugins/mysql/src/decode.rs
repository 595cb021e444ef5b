//! Decodes rows of the binary protocol into Arrow: each cell is copied from the packet to its
//! column's buffer
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>).

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_buffer::NullBufferBuilder;
use arrow_schema::ArrowError;
use transload_plugin_api::{Column, DirtyRow, Error, LogicalType, Result, RowError};
use transload_tables::KeyValue;
use transload_values::{
    Builder, Fault, InvalidText, JsonRow, SHOWN, Ticks, calendar::DAY_MICROS, parse::Decimal128,
    shorten, write,
};

use crate::{
    answer::ResultColumn,
    cell::{
        day, decimals, integer, kind, moment, not_a_value, push, put_dated, span, uuid,
        wide_decimal,
    },
    columns::{builder, key_of, key_value, last_key},
    options::ZeroDates,
    refusal::{NULL_IN_NOT_NULL, Refusal, refuse},
    wire::Taker,
};

/// The flag of unsigned numbers.
const UNSIGNED: u16 = 32;

/// A row that cannot be read completely.
pub(crate) enum RowFault {
    /// One cell, by its column.
    Cell(usize, Refusal),
    /// The packet itself is malformed.
    Packet,
}

/// Decodes one column.
pub(crate) struct ColumnDecoder {
    column: Column,
    kind: u8,
    unsigned: bool,
    zero_dates: ZeroDates,
    /// Whether an empty text marks an invalid enum value.
    no_empty: bool,
    /// As what a date is printed, if the server sends one and text is wanted.
    dated: Option<u8>,
    /// Number of digits after the decimal point of the seconds.
    decimals: u8,
    /// For the decimals of up to 38 digits.
    decimal: Decimal128,
    nulls: NullBufferBuilder,
    data: Builder,
}

impl ColumnDecoder {
    /// A decoder that produces `column` from values that the server sends as `found`.
    pub(crate) fn new(
        column: &Column,
        found: &ResultColumn,
        zero_dates: ZeroDates,
        no_empty: bool,
    ) -> Result<Self> {
        let data = builder(&column.logical, 0, 0).ok_or_else(|| {
            let message =
                format!("column `{}` cannot be read as `{}`", column.name, column.logical);
            Error::unsupported(message)
        })?;
        Ok(Self {
            column: column.clone(),
            kind: found.kind,
            unsigned: found.flags & UNSIGNED != 0,
            zero_dates,
            no_empty,
            dated: match (found.kind, &column.logical) {
                (kind::TIMESTAMP, LogicalType::Native(_)) => Some(kind::DATETIME),
                (kind::DATE | kind::DATETIME | kind::TIMESTAMP, _) => Some(found.kind),
                _ => None,
            },
            decimals: found.decimals.min(6),
            decimal: decimals(&column.logical),
            nulls: NullBufferBuilder::new(8192),
            data,
        })
    }

    fn append_null(&mut self) -> Result<(), Refusal> {
        if !self.column.nullable {
            return Err(refuse("null", NULL_IN_NOT_NULL));
        }
        self.data.push_null();
        self.nulls.append_null();
        Ok(())
    }

    /// Takes a cell from the row if it is of a common kind. Returns `false` and takes nothing if
    /// the cell is left to [`ColumnDecoder::append`]. Nearly all cells are handled here.
    #[inline]
    fn append_usual(&mut self, row: &mut Taker<'_>) -> bool {
        let rest = match &mut self.data {
            Builder::Int32(values) if self.kind == kind::LONG && !self.unsigned => {
                let Some((bytes, rest)) = row.0.split_first_chunk() else { return false };
                values.push(i32::from_le_bytes(*bytes));
                rest
            }
            Builder::Int64(values) if self.kind == kind::LONGLONG && !self.unsigned => {
                let Some((bytes, rest)) = row.0.split_first_chunk() else { return false };
                values.push(i64::from_le_bytes(*bytes));
                rest
            }
            Builder::Decimal128(values) => {
                let mut taker = Taker(row.0);
                let Some(value) = taker.string().and_then(|text| self.decimal.read(text).ok())
                else {
                    return false;
                };
                values.push(value);
                taker.0
            }
            Builder::Text(texts) | Builder::Binary(texts)
                if !self.no_empty && self.dated.is_none() =>
            {
                let mut taker = Taker(row.0);
                let Some(text) = taker.string() else { return false };
                texts.bytes.extend_from_slice(text);
                // A batch ends at 4 MiB and a packet at 1 GiB.
                texts.ends.push(texts.bytes.len() as i32);
                taker.0
            }
            Builder::Date(values) => {
                let Some((&[4, low, high, month, date], rest)) = row.0.split_first_chunk() else {
                    return false;
                };
                let year = u16::from_le_bytes([low, high]);
                let Some(day) = day(year, month, date) else { return false };
                values.push(day);
                rest
            }
            _ => return false,
        };
        row.0 = rest;
        self.nulls.append_non_null();
        true
    }

    /// Takes one cell from the row. `None`: the packet is too short.
    fn append(&mut self, row: &mut Taker<'_>) -> Option<Result<(), Refusal>> {
        let (kind, unsigned) = (self.kind, self.unsigned);
        let appended = match &mut self.data {
            Builder::Int8(values) => push(values, integer(kind, unsigned, row)?),
            Builder::Int16(values) => push(values, integer(kind, unsigned, row)?),
            Builder::Int32(values) => push(values, integer(kind, unsigned, row)?),
            Builder::Int64(values) => push(values, integer(kind, unsigned, row)?),
            Builder::UInt8(values) => push(values, integer(kind, unsigned, row)?),
            Builder::UInt16(values) => push(values, integer(kind, unsigned, row)?),
            Builder::UInt32(values) => push(values, integer(kind, unsigned, row)?),
            Builder::UInt64(values) => push(values, integer(kind, unsigned, row)?),
            Builder::Boolean(values) => match integer(kind, unsigned, row)? {
                value @ (0 | 1) => {
                    values.append(value == 1);
                    Ok(())
                }
                other => Err(refuse("range", format!("expected boolean, found `{other}`"))),
            },
            Builder::Float32(values) => {
                values.push(f32::from_le_bytes(row.array()?));
                Ok(())
            }
            Builder::Float64(values) => {
                values.push(f64::from_le_bytes(row.array()?));
                Ok(())
            }
            Builder::Decimal128(values) => {
                let text = row.string()?;
                let value = self.decimal.read(text);
                let pushed = value.map(|value| values.push(value));
                pushed.map_err(|fault| not_a_value(fault, &self.column.logical))
            }
            Builder::Decimal256(values) => {
                let text = row.string()?;
                wide_decimal(text, &self.column.logical).map(|value| values.push(value))
            }
            Builder::Text(texts) | Builder::Binary(texts) if let Some(kind) = self.dated => {
                put_dated(row, kind, self.decimals, &mut texts.bytes)?;
                texts.ends.push(texts.bytes.len() as i32);
                Ok(())
            }
            Builder::Text(texts) | Builder::Binary(texts) => {
                let text = row.string()?;
                if text.is_empty() && self.no_empty {
                    return Some(Err(refuse(
                        "range",
                        "expected a label, found the invalid value of the enum (index 0)",
                    )));
                }
                texts.bytes.extend_from_slice(text);
                // A batch ends at 4 MiB and a packet at 1 GiB.
                texts.ends.push(texts.bytes.len() as i32);
                Ok(())
            }
            Builder::Uuid(values) => {
                let pushed = uuid(row.string()?).map(|uuid| values.push(uuid));
                pushed.map_err(|fault| not_a_value(fault, &self.column.logical))
            }
            Builder::Time(values) | Builder::Duration(values) => match span(row)? {
                micros
                    if matches!(self.column.logical, LogicalType::Time { .. })
                        && !(0..DAY_MICROS).contains(&micros) =>
                {
                    let mut found = Vec::new();
                    write::duration(micros, Ticks::new(6), &mut found);
                    let found = String::from_utf8_lossy(&found);
                    let expected = &self.column.logical;
                    Err(refuse("range", format!("expected {expected}, found `{found}`")))
                }
                micros => {
                    values.push(micros);
                    Ok(())
                }
            },
            Builder::Date(values) => {
                let cell = Taker(row.0);
                match moment(row)? {
                    Some((day, 0)) => {
                        values.push(day);
                        Ok(())
                    }
                    _ => return Some(self.no_date(cell)),
                }
            }
            Builder::Timestamp(values) | Builder::TimestampTz(values) => {
                let cell = Taker(row.0);
                match moment(row)? {
                    Some((day, micros)) => {
                        values.push(i64::from(day) * DAY_MICROS + micros);
                        Ok(())
                    }
                    None => return Some(self.no_date(cell)),
                }
            }
            // never: `builder` makes none
            Builder::Interval(_) => Err(refuse("type", "the server has no intervals")),
        };
        if appended.is_ok() {
            self.nulls.append_non_null();
        }
        Some(appended)
    }

    #[cold]
    fn no_date(&mut self, mut cell: Taker<'_>) -> Result<(), Refusal> {
        if self.zero_dates == ZeroDates::Epoch {
            match &mut self.data {
                Builder::Date(values) => values.push(0),
                Builder::Timestamp(values) | Builder::TimestampTz(values) => values.push(0),
                _ => {}
            }
            self.nulls.append_non_null();
            return Ok(());
        }
        if self.zero_dates == ZeroDates::Null && self.column.nullable {
            return self.append_null();
        }
        let mut found = Vec::new();
        let _ = put_dated(&mut cell, self.kind, self.decimals, &mut found);
        let found = String::from_utf8_lossy(&found);
        Err(refuse(
            "zero-date",
            format!(
                "expected {}, found `{found}`: `zero_dates = \"null\"`, `\"epoch\"` and \
                 `\"text\"` read it",
                self.column.logical
            ),
        ))
    }

    /// A decoder of the same column for one cell.
    fn alone(&self) -> Option<Self> {
        let data = builder(&self.column.logical, 1, 0)?;
        Some(Self {
            column: self.column.clone(),
            nulls: NullBufferBuilder::new(1),
            data,
            decimal: decimals(&self.column.logical),
            ..*self
        })
    }

    /// The text of a cell at the start of some bytes, as the server prints it.
    fn shown(&self, cell: &[u8]) -> Option<Vec<u8>> {
        let (mut row, mut text) = (Taker(cell), Vec::new());
        match self.kind {
            kind::TINY | kind::SHORT | kind::YEAR | kind::LONG | kind::INT24 | kind::LONGLONG => {
                text = integer(self.kind, self.unsigned, &mut row)?.to_string().into_bytes();
            }
            kind::FLOAT => text = f32::from_le_bytes(row.array()?).to_string().into_bytes(),
            kind::DOUBLE => text = f64::from_le_bytes(row.array()?).to_string().into_bytes(),
            kind::TIME => write::duration(span(&mut row)?, Ticks::new(6), &mut text),
            kind::DATE | kind::DATETIME | kind::TIMESTAMP => {
                put_dated(&mut row, self.kind, self.decimals, &mut text)?;
            }
            _ => text = row.string()?.to_vec(),
        }
        Some(text)
    }

    /// Drops cells beyond this many rows.
    fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        self.data.truncate(rows);
    }

    /// Returns the column's array; the decoder starts over.
    fn finish(&mut self, invalid: &mut Vec<InvalidText>) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        self.data.finish_texts(&self.column.logical, nulls, invalid)
    }
}

/// All columns of a result.
pub(crate) struct RowDecoder {
    columns: Vec<ColumnDecoder>,
    /// The indexes of the key's columns.
    key: Vec<usize>,
    /// Which columns are passed over; empty if none is.
    passed: Vec<bool>,
    pub(crate) rows: usize,
}

impl RowDecoder {
    pub(crate) fn new(columns: Vec<ColumnDecoder>, key: Vec<usize>) -> Self {
        Self { columns, key, passed: Vec::new(), rows: 0 }
    }

    /// A decoder that keeps the chosen columns only, and no key.
    pub(crate) fn choosing(columns: Vec<ColumnDecoder>, chosen: &[usize]) -> Self {
        let passed = (0..columns.len()).map(|at| !chosen.contains(&at)).collect();
        Self { passed, ..Self::new(columns, Vec::new()) }
    }

    /// Appends a row's packet. After a fault, no cell of the row is kept.
    pub(crate) fn append(&mut self, packet: &[u8]) -> Result<(), RowFault> {
        let done = self.try_append(packet);
        match done {
            Ok(()) => self.rows += 1,
            Err(_) => self.columns.iter_mut().for_each(|column| column.truncate(self.rows)),
        }
        done
    }

    fn try_append(&mut self, packet: &[u8]) -> Result<(), RowFault> {
        let mut row = Taker(packet.get(1..).ok_or(RowFault::Packet)?);
        let nulls = row.bytes((self.columns.len() + 9) / 8).ok_or(RowFault::Packet)?;
        if !self.passed.is_empty() {
            return self.append_chosen(row, nulls);
        }
        for (at, column) in self.columns.iter_mut().enumerate() {
            // The bitmap's first two bits are not used.
            let is_null = nulls[(at + 2) / 8] & 1 << ((at + 2) % 8) != 0;
            let appended = if is_null {
                column.append_null()
            } else if column.append_usual(&mut row) {
                continue;
            } else {
                column.append(&mut row).ok_or(RowFault::Packet)?
            };
            appended.map_err(|fault| RowFault::Cell(at, fault))?;
        }
        Ok(())
    }

    /// As [`RowDecoder::try_append`], with columns that are passed over.
    fn append_chosen(&mut self, mut row: Taker<'_>, nulls: &[u8]) -> Result<(), RowFault> {
        for (at, column) in self.columns.iter_mut().enumerate() {
            let is_null = nulls[(at + 2) / 8] & 1 << ((at + 2) % 8) != 0;
            let appended = match (self.passed[at], is_null) {
                (true, true) => continue,
                (true, false) => pass(column.kind, &mut row).map(Ok),
                (false, true) => Some(column.append_null()),
                (false, false) => column.append(&mut row),
            };
            let appended = appended.ok_or(RowFault::Packet)?;
            appended.map_err(|fault| RowFault::Cell(at, fault))?;
        }
        Ok(())
    }

    /// The key of the last row.
    pub(crate) fn last_key(&self) -> Option<Vec<KeyValue>> {
        self.key
            .iter()
            .map(|at| last_key(&self.columns[*at].data, &self.columns[*at].column.logical))
            .collect()
    }

    /// The key of a row that could not be read completely.
    pub(crate) fn key_of_packet(&self, packet: &[u8]) -> Option<Vec<KeyValue>> {
        let mut row = Taker(packet.get(1..)?);
        let nulls = row.bytes((self.columns.len() + 9) / 8)?;
        let mut found = vec![None; self.columns.len()];
        for (at, column) in self.columns.iter().enumerate() {
            if nulls[(at + 2) / 8] & 1 << ((at + 2) % 8) != 0 {
                continue;
            }
            found[at] = skip(column, &mut row)?;
        }
        self.key.iter().map(|at| found[*at].clone()).collect()
    }

    /// All faults of a row that was refused, and its values in the columns that are kept; `None`
    /// if the packet is malformed.
    #[cold]
    pub(crate) fn explain(&self, packet: &[u8], kept: &[usize]) -> Option<DirtyRow> {
        let mut row = Taker(packet.get(1..)?);
        let nulls = row.bytes((self.columns.len() + 9) / 8)?;
        let mut errors = Vec::new();
        let mut values = JsonRow::default();
        for (at, column) in self.columns.iter().enumerate() {
            let is_null = nulls[(at + 2) / 8] & 1 << ((at + 2) % 8) != 0;
            if self.passed.get(at).copied().unwrap_or(false) {
                if !is_null {
                    pass(column.kind, &mut row)?;
                }
                continue;
            }
            let (name, mut alone) = (&column.column.name, column.alone()?);
            let start = row.0;
            let appended = match is_null {
                true => alone.append_null(),
                false => alone.append(&mut row)?,
            };
            match appended {
                Ok(()) if kept.contains(&at) => {
                    let mut invalid = Vec::new();
                    let array = alone.finish(&mut invalid).ok()?;
                    match invalid.pop() {
                        None => values.value(name, &column.column.logical, array.as_ref(), 0),
                        Some(InvalidText { bytes, .. }) => {
                            values.bytes(name, &bytes);
                            let fault = Fault::Utf8.explain(&column.column, &bytes);
                            let error = RowError::new(fault.code, fault.reason);
                            let found = String::from_utf8_lossy(&bytes);
                            errors.push(error.column(name.clone()).value(found));
                        }
                    }
                }
                Ok(()) => {}
                Err(Refusal { code, reason }) => {
                    let found = if is_null { None } else { column.shown(start) };
                    match &found {
                        None => values.null(name),
                        Some(found) => values.bytes(name, found),
                    }
                    let value = found.map(|found| shorten(&found, SHOWN));
                    errors.push(RowError {
                        value,
                        ..RowError::new(code, reason).column(name.clone())
                    });
                }
            }
        }
        let mut errors = errors.into_iter();
        let first = DirtyRow::from(errors.next()?).values(values.finish());
        Some(errors.fold(first, DirtyRow::error))
    }

    /// Returns the rows as arrays; decoding starts over.
    pub(crate) fn finish(&mut self, wanted: &[usize]) -> Result<DecodedRows, ArrowError> {
        self.rows = 0;
        let (mut arrays, mut invalid) = (Vec::with_capacity(self.columns.len()), Vec::new());
        for (at, column) in self.columns.iter_mut().enumerate() {
            let mut texts = Vec::new();
            arrays.push(column.finish(&mut texts)?);
            invalid.extend(texts.into_iter().map(|text| (at, text)));
        }
        invalid.sort_by_key(|(at, text)| (text.row, *at));
        let chosen = |places: &[usize]| places.iter().map(|at| Arc::clone(&arrays[*at])).collect();
        Ok(DecodedRows { arrays: chosen(wanted), keys: chosen(&self.key), invalid })
    }
}

/// Rows as arrays.
pub(crate) struct DecodedRows {
    /// The columns that are wanted.
    pub(crate) arrays: Vec<ArrayRef>,
    /// The columns of the key.
    keys: Vec<ArrayRef>,
    /// Texts that are not UTF-8, with their column, by row. They are empty in the arrays.
    pub(crate) invalid: Vec<(usize, InvalidText)>,
}

impl DecodedRows {
    /// The key of a row; empty if it has none that can be shown.
    pub(crate) fn key(&self, row: usize) -> Vec<KeyValue> {
        let key = self.keys.iter().map(|array| key_value(array, row)).collect::<Option<_>>();
        key.unwrap_or_default()
    }
}

/// Takes a cell without looking at it.
fn pass(kind: u8, row: &mut Taker<'_>) -> Option<()> {
    let bytes = match kind {
        kind::TINY => 1,
        kind::SHORT | kind::YEAR => 2,
        kind::LONG | kind::INT24 | kind::FLOAT => 4,
        kind::LONGLONG | kind::DOUBLE => 8,
        kind::DATE | kind::DATETIME | kind::TIMESTAMP | kind::TIME => row.byte()?.into(),
        _ => return row.string().map(drop),
    };
    row.bytes(bytes).map(drop)
}

/// Takes a cell without keeping it; returns its value if it may be part of a key.
fn skip(column: &ColumnDecoder, row: &mut Taker<'_>) -> Option<Option<KeyValue>> {
    Some(match column.kind {
        kind::TINY | kind::SHORT | kind::YEAR | kind::LONG | kind::INT24 | kind::LONGLONG => {
            Some(KeyValue::Integer(integer(column.kind, column.unsigned, row)?))
        }
        kind::FLOAT => row.bytes(4).map(|_| None)?,
        kind::DOUBLE => row.bytes(8).map(|_| None)?,
        kind::DATE | kind::DATETIME | kind::TIMESTAMP | kind::TIME => {
            let length = row.byte()?;
            row.bytes(length.into()).map(|_| None)?
        }
        _ => Some(key_of(row.string()?, &column.column.logical)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_packet_is_read_or_refused(packet in proptest::collection::vec(any::<u8>(), 0..60)) {
            let names = ["int8", "uint64", "text", "date", "duration", "decimal(9,2)", "uuid"];
            let kinds = [1, 8, 0xFD, 10, 11, 0xF6, 0xFE];
            let columns: Vec<_> = names.iter().zip(kinds).map(|(name, kind)| {
                let column = Column::new(*name, name.parse().unwrap(), true);
                let found = ResultColumn {
                    name: String::new(), kind, flags: 0, charset: 45, length: 0, decimals: 0,
                };
                ColumnDecoder::new(&column, &found, ZeroDates::Reject, false).unwrap()
            }).collect();
            let mut decoder = RowDecoder::new(columns, vec![0]);
            let done = decoder.append(&packet).is_ok();
            decoder.key_of_packet(&packet);
            let rows = usize::from(done);
            prop_assert_eq!(decoder.rows, rows);
            let read = decoder.finish(&[0, 1, 2, 3, 4, 5, 6]).unwrap();
            prop_assert!(read.arrays.iter().all(|array| array.len() == rows));
        }
    }
}
