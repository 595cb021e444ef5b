//! Generates the values of one column for any rows, directly into Arrow buffers. `spec` defines
//! which values; rows are numbers, and a value depends on its row alone.

mod text;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, FixedSizeBinaryArray, ListArray, PrimitiveArray,
    types::{
        Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
        Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
        TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_buffer::{BooleanBuffer, Buffer, IntervalMonthDayNano, NullBuffer, OffsetBuffer, i256};
use arrow_schema::ArrowError;
use transload_plugin_api::{Error, LogicalType, Result};

use crate::{
    edges,
    random::{Stream, below, skew},
    spec::{self, ColumnSpec, Shape},
};

/// Generates one column.
pub(crate) struct ColumnMaker {
    spec: ColumnSpec,
    numbers: Numbers,
    values: Stream,
    second: Stream,
    nulls: Stream,
    edges: Stream,
    item: Option<Box<ColumnMaker>>,
}

/// How the integers of a column are chosen, in arithmetic modulo 2^64, so that one kernel serves
/// signed and unsigned types.
#[derive(Clone, Copy)]
enum Numbers {
    /// `low + step * n` for `n` below `span`; a span of 0 is 2^64.
    Uniform { low: u64, span: u64, step: u64 },
    /// `unit * (first + row / every)`
    Sequence { first: u64, every: u64, unit: u64 },
    /// `unit * (1 + row % count)`
    Cycle { count: u64, unit: u64 },
}

impl Numbers {
    fn new(spec: &ColumnSpec) -> Self {
        let unit = spec::unit(&spec.logical) as u64;
        let step = spec::step(&spec.logical);
        let (low, high) = match spec.shape {
            Shape::Sequence { first, every } => {
                return Self::Sequence { first: first as u64, every, unit };
            }
            Shape::Cycle(count) => return Self::Cycle { count, unit },
            Shape::Range(low, high) => (low, high),
            _ => spec::bounds(&spec.logical),
        };
        let span = high.wrapping_sub(low) as u128 / step as u128;
        Self::Uniform { low: low as u64, span: (span as u64).wrapping_add(1), step: step as u64 }
    }

    #[inline]
    fn at(self, row: u64, random: impl FnOnce() -> u64) -> u64 {
        match self {
            Self::Uniform { low, span, step } => {
                low.wrapping_add(below(random(), span).wrapping_mul(step))
            }
            Self::Sequence { first, every, unit } => {
                first.wrapping_add(row / every).wrapping_mul(unit)
            }
            Self::Cycle { count, unit } => (1 + row % count).wrapping_mul(unit),
        }
    }
}

impl ColumnMaker {
    pub(crate) fn new(spec: ColumnSpec, seed: u64) -> Self {
        let stream = Stream::new(seed, &spec.name);
        let item = match &spec.logical {
            LogicalType::List(item) => Some(Box::new(Self::new(spec.item(item), seed))),
            _ => None,
        };
        Self {
            numbers: Numbers::new(&spec),
            values: stream.fork(0),
            second: stream.fork(1),
            nulls: stream.fork(2),
            edges: stream.fork(3),
            item,
            spec,
        }
    }

    pub(crate) fn spec(&self) -> &ColumnSpec {
        &self.spec
    }

    /// The column's values for the given rows.
    pub(crate) fn make(&self, rows: &[u64]) -> Result<ArrayRef> {
        use LogicalType as T;
        Ok(match &self.spec.logical {
            T::Boolean => self.booleans(rows),
            T::Int8 => self.integers::<Int8Type>(rows, |n| n as i8, &[i8::MIN, i8::MAX, 0]),
            T::Int16 => self.integers::<Int16Type>(rows, |n| n as i16, &[i16::MIN, i16::MAX, 0]),
            T::Int32 => self.integers::<Int32Type>(rows, |n| n as i32, &[i32::MIN, i32::MAX, 0]),
            T::Int64 => self.integers::<Int64Type>(rows, |n| n as i64, &[i64::MIN, i64::MAX, 0]),
            T::UInt8 => self.integers::<UInt8Type>(rows, |n| n as u8, &[0, u8::MAX]),
            T::UInt16 => self.integers::<UInt16Type>(rows, |n| n as u16, &[0, u16::MAX]),
            T::UInt32 => self.integers::<UInt32Type>(rows, |n| n as u32, &[0, u32::MAX]),
            T::UInt64 => self.integers::<UInt64Type>(rows, |n| n, &[0, u64::MAX]),
            T::Float32 => self.floats_32(rows),
            T::Float64 => self.floats(rows),
            T::Decimal { precision, scale } => self.decimals(rows, *precision, *scale)?,
            T::Numeric => self.numerics(rows)?,
            T::Text { .. } => self.texts(rows)?,
            T::Binary => self.binaries(rows),
            T::Json => self.jsons(rows)?,
            T::Uuid => self.uuids(rows)?,
            T::Interval => self.intervals(rows),
            T::List(item) => self.lists(rows, item)?,
            _ => self.moments(rows)?,
        })
    }

    #[inline]
    fn random(&self, row: u64) -> u64 {
        let random = self.values.at(row);
        if self.spec.skewed { skew(random) } else { random }
    }

    /// The index of the row's edge value among `count`, if the row has one.
    #[inline]
    fn edge(&self, row: u64, count: usize) -> Option<usize> {
        if self.spec.edge.never() || count == 0 {
            return None;
        }
        let pick = || below(self.edges.at(!row), count as u64) as usize;
        self.spec.edge.hits(self.edges.at(row)).then(pick)
    }

    fn validity(&self, rows: &[u64]) -> Option<NullBuffer> {
        if self.spec.null.never() {
            return None;
        }
        let valid = |index| !self.spec.null.hits(self.nulls.at(rows[index]));
        Some(NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), valid)))
    }

    /// Values by row; some rows have edge values instead, some NULL.
    fn primitives<P: ArrowPrimitiveType>(
        &self,
        rows: &[u64],
        value: impl Fn(u64) -> P::Native,
        edges: &[P::Native],
    ) -> PrimitiveArray<P> {
        let mut values: Vec<P::Native> = rows.iter().map(|row| value(*row)).collect();
        if !self.spec.edge.never() {
            for (value, row) in values.iter_mut().zip(rows) {
                if let Some(pick) = self.edge(*row, edges.len()) {
                    *value = edges[pick];
                }
            }
        }
        PrimitiveArray::new(values.into(), self.validity(rows))
    }

    #[inline]
    fn number(&self, row: u64) -> u64 {
        self.numbers.at(row, || self.random(row))
    }

    fn integers<P: ArrowPrimitiveType>(
        &self,
        rows: &[u64],
        from: impl Fn(u64) -> P::Native,
        edges: &[P::Native],
    ) -> ArrayRef {
        Arc::new(self.primitives::<P>(rows, |row| from(self.number(row)), edges))
    }

    fn booleans(&self, rows: &[u64]) -> ArrayRef {
        let values =
            BooleanBuffer::collect_bool(rows.len(), |index| self.random(rows[index]) >> 63 == 1);
        Arc::new(BooleanArray::new(values, self.validity(rows)))
    }

    fn float(&self, row: u64) -> f64 {
        let (low, high) = match self.spec.shape {
            Shape::Floats(low, high) => (low, high),
            Shape::Sequence { .. } | Shape::Cycle(_) => return self.number(row) as i64 as f64,
            _ => (-1e6, 1e6),
        };
        let share = (self.random(row) >> 11) as f64 / 2f64.powi(53);
        (low + share * (high - low)).clamp(low, high)
    }

    fn floats(&self, rows: &[u64]) -> ArrayRef {
        let edges = &edges::FLOATS[..self.finite(edges::FLOATS.len())];
        Arc::new(self.primitives::<Float64Type>(rows, |row| self.float(row), edges))
    }

    fn floats_32(&self, rows: &[u64]) -> ArrayRef {
        let edges = &edges::FLOATS_32[..self.finite(edges::FLOATS_32.len())];
        Arc::new(self.primitives::<Float32Type>(rows, |row| self.float(row) as f32, edges))
    }

    /// The number of usable edge values out of `count`.
    fn finite(&self, count: usize) -> usize {
        if self.spec.nan { count } else { count - edges::NOT_FINITE }
    }

    fn decimals(&self, rows: &[u64], precision: u8, scale: i8) -> Result<ArrayRef> {
        let edges = edges::decimals(precision);
        if precision > 38 {
            let wide = |row| self.wide_decimal(row, precision);
            let array = self.primitives::<Decimal256Type>(rows, wide, &edges);
            return finished(array.with_precision_and_scale(precision, scale));
        }
        let edges: Vec<i128> = edges.iter().map(|edge| edge.as_i128()).collect();
        let array = match self.long_range() {
            Some((low, span)) => {
                let long = |row| low.wrapping_add(self.long(row).wrapping_rem(span) as i128);
                self.primitives::<Decimal128Type>(rows, long, &edges)
            }
            None => {
                let short = |row| i128::from(self.number(row) as i64);
                self.primitives::<Decimal128Type>(rows, short, &edges)
            }
        };
        finished(array.with_precision_and_scale(precision, scale))
    }

    /// The range of a decimal that does not fit 64 bits, and how many numbers it contains.
    fn long_range(&self) -> Option<(i128, u128)> {
        let (low, high) = match self.spec.shape {
            Shape::Range(low, high) => (low, high),
            Shape::Any => spec::bounds(&self.spec.logical),
            _ => return None,
        };
        let short = i64::try_from(low).is_ok() && i64::try_from(high).is_ok();
        (!short).then(|| (low, high.abs_diff(low) + 1))
    }

    /// 128 random bits.
    fn long(&self, row: u64) -> u128 {
        u128::from(self.random(row)) << 64 | u128::from(self.second.at(row))
    }

    /// A decimal of more than 38 digits; ranges and sequences stay within 38.
    fn wide_decimal(&self, row: u64, precision: u8) -> i256 {
        match (self.spec.shape != Shape::Any, self.long_range()) {
            (true, Some((low, span))) => {
                return i256::from_i128(
                    low.wrapping_add(self.long(row).wrapping_rem(span) as i128),
                );
            }
            (true, None) => return i256::from_i128(i128::from(self.number(row) as i64)),
            (false, _) => {}
        }
        let ten = i256::from_i128(10);
        let below = |digits: u32| {
            let limit = ten.wrapping_pow(digits);
            i256::from_parts(self.long(row ^ u64::from(digits) << 56), 0).wrapping_rem(limit)
        };
        let low_digits = u32::from(precision) - 38;
        let value = below(38).wrapping_mul(ten.wrapping_pow(low_digits));
        let value = value.wrapping_add(below(low_digits.min(38)));
        if self.second.at(row) & 1 == 1 { value.wrapping_neg() } else { value }
    }

    fn moments(&self, rows: &[u64]) -> Result<ArrayRef> {
        use LogicalType as T;
        let logical = &self.spec.logical;
        let edges = edges::moments(logical);
        let from = |number: u64| number as i64;
        Ok(match logical {
            T::Date => {
                let days: Vec<i32> = edges.iter().map(|day| *day as i32).collect();
                self.integers::<Date32Type>(rows, |number| number as i32, &days)
            }
            T::Time { precision: 7.. } => self.integers::<Time64NanosecondType>(rows, from, &edges),
            T::Time { .. } => self.integers::<Time64MicrosecondType>(rows, from, &edges),
            T::Duration => self.integers::<DurationMicrosecondType>(rows, from, &edges),
            T::Timestamp { precision: 7.. } => {
                self.integers::<TimestampNanosecondType>(rows, from, &edges)
            }
            T::Timestamp { .. } => self.integers::<TimestampMicrosecondType>(rows, from, &edges),
            T::TimestampTz { precision } => {
                let value = |row| self.number(row) as i64;
                if *precision > 6 {
                    let array = self.primitives::<TimestampNanosecondType>(rows, value, &edges);
                    Arc::new(array.with_timezone("UTC"))
                } else {
                    let array = self.primitives::<TimestampMicrosecondType>(rows, value, &edges);
                    Arc::new(array.with_timezone("UTC"))
                }
            }
            _ => {
                let message = format!("the generator does not support `{logical}`");
                return Err(Error::unsupported(message));
            }
        })
    }

    fn intervals(&self, rows: &[u64]) -> ArrayRef {
        let value = |row| {
            let (large, small) = (self.random(row), self.second.at(row));
            let months = below(large, 240) as i32 - 120;
            let days = below(small, 60) as i32 - 30;
            IntervalMonthDayNano::new(months, days, (small >> 20) as i64)
        };
        Arc::new(self.primitives::<IntervalMonthDayNanoType>(rows, value, &edges::INTERVALS))
    }

    fn uuids(&self, rows: &[u64]) -> Result<ArrayRef> {
        // Version 4, variant 1 (<https://www.rfc-editor.org/rfc/rfc9562#section-5.4>).
        let random = |row| {
            let bits = self.long(row);
            bits & !(0xF << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62
        };
        let value = |row| match self.spec.shape {
            Shape::Any => random(row),
            _ => u128::from(self.number(row)),
        };
        let mut bytes = Vec::with_capacity(rows.len() * 16);
        for &row in rows {
            let uuid = match self.edge(row, 2) {
                Some(0) => 0,
                Some(_) => u128::MAX,
                None => value(row),
            };
            bytes.extend_from_slice(&uuid.to_be_bytes());
        }
        let array = FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), self.validity(rows));
        finished(array)
    }

    /// Lists of 0 to 3 items. The items of row `r` are generated for the rows `4r..4r + length`.
    fn lists(&self, rows: &[u64], item: &LogicalType) -> Result<ArrayRef> {
        let Some(maker) = &self.item else {
            return Err(Error::defect("a list column without items"));
        };
        let length = |row: &u64| below(self.random(*row), 4);
        let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| length(row) as usize));
        let items: Vec<u64> = rows
            .iter()
            .flat_map(|row| (0..length(row)).map(move |index| 4 * row + index))
            .collect();
        let field = Arc::new(item.field("item", true));
        finished(ListArray::try_new(field, offsets, maker.make(&items)?, self.validity(rows)))
    }
}

fn finished<A: arrow_array::Array + 'static>(array: Result<A, ArrowError>) -> Result<ArrayRef> {
    match array {
        Ok(array) => Ok(Arc::new(array)),
        Err(error) => Err(Error::defect("a generated column is inconsistent").caused_by(&error)),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray};
    use proptest::prelude::*;

    use super::*;

    fn make(spec: &str, rows: std::ops::Range<u64>) -> ArrayRef {
        let spec = ColumnSpec::parse("c", spec, rows.end).unwrap();
        ColumnMaker::new(spec, 1).make(&rows.collect::<Vec<_>>()).unwrap()
    }

    fn integers(spec: &str, rows: std::ops::Range<u64>) -> Vec<i64> {
        make(spec, rows).as_primitive::<Int64Type>().values().to_vec()
    }

    fn texts(spec: &str, rows: std::ops::Range<u64>) -> Vec<String> {
        make(spec, rows).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
    }

    const TYPES: [&str; 30] = [
        "boolean",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "decimal(5,5)",
        "decimal(15,2)",
        "decimal(38,10)",
        "decimal(39,0)",
        "decimal(76,38)",
        "numeric",
        "text",
        "text(3)",
        "binary",
        "date",
        "time(0)",
        "duration",
        "timestamp(9)",
        "timestamp",
        "timestamptz(3)",
        "interval",
        "json",
        "uuid",
        "list<list<text>>",
    ];

    #[test]
    fn every_type_is_made_with_nulls_and_edges() {
        for name in TYPES {
            let array = make(&format!("{name} null 10% edge 10% nan"), 0..1_000);
            let logical: LogicalType = name.parse().unwrap();
            assert_eq!(*array.data_type(), logical.data_type(), "{name}");
            assert_eq!(array.len(), 1_000);
            assert!((50..200).contains(&array.null_count()), "{name}: {}", array.null_count());
            assert_eq!(make(name, 0..100).null_count(), 0, "{name}");
        }
    }

    #[test]
    fn decimals_stay_within_their_precision() {
        for name in ["decimal(5,5)", "decimal(15,2)", "decimal(38,10)"] {
            let array = make(&format!("{name} edge 20%"), 0..10_000);
            let array = array.as_primitive::<Decimal128Type>();
            array.validate_decimal_precision(array.precision()).unwrap();
        }
        for name in ["decimal(39,0)", "decimal(60,2)", "decimal(76,38)"] {
            let array = make(&format!("{name} edge 20%"), 0..10_000);
            let array = array.as_primitive::<Decimal256Type>();
            array.validate_decimal_precision(array.precision()).unwrap();
        }
    }

    #[test]
    fn shapes_make_what_they_say() {
        assert_eq!(integers("int64 sequence", 0..4), [1, 2, 3, 4]);
        assert_eq!(integers("int64 sequence from -1 every 2", 0..4), [-1, -1, 0, 0]);
        assert_eq!(integers("int64 cycle 3", 0..5), [1, 2, 3, 1, 2]);
        assert_eq!(texts("text(3) sequence from 998", 0..1), ["998"]);
        let range = integers("int64 range -2..2", 0..1_000);
        let ends = (range.iter().min().copied(), range.iter().max().copied());
        assert_eq!(ends, (Some(-2), Some(2)));
        let prices = make("decimal(15,2) range 0..0.1", 0..1_000);
        let prices = prices.as_primitive::<Decimal128Type>().values().to_vec();
        assert!(prices.iter().all(|price| (0..=10).contains(price)) && prices.contains(&10));
        assert!(texts("text words 3..3", 0..50).iter().all(|it| it.split(' ').count() == 3));
        assert!(
            texts("text(9) words 5..9 edge 50%", 0..500)
                .iter()
                .all(|it| { it.chars().count() <= 9 })
        );
        assert!(texts("numeric range -0.5..0.5", 0..50).iter().all(|it| it.contains("0.")));
    }

    #[test]
    fn skewed_columns_repeat_themselves() {
        let different = |spec: &str| {
            let mut values = integers(spec, 0..1_000);
            values.sort_unstable();
            values.dedup();
            values.len()
        };
        assert!(different("int64 range 1..1000 skewed") * 5 < different("int64 range 1..1000") * 4);
    }

    proptest! {
        #[test]
        fn a_value_depends_on_its_row_alone(
            type_ in proptest::sample::select(&TYPES[..]),
            start in 0u64..1_000_000,
            length in 1u64..50,
        ) {
            let spec = format!("{type_} null 20% edge 20% nan");
            let rows = start..start + length;
            let whole = make(&spec, rows.clone());
            for row in rows {
                let alone = make(&spec, row..row + 1);
                let there = whole.slice((row - start) as usize, 1);
                // Floats are compared by their bits, because they include NaN.
                prop_assert_eq!(format!("{:?}", alone), format!("{:?}", there));
            }
        }
    }
}
