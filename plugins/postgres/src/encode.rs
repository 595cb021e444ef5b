//! Arrow arrays into the binary rows of COPY, straight into one buffer. Values that the
//! server would change silently (rounding, cutting blanks, wrapping into infinity) are refused here.
//!
//! Columns are viewed here and not through `transload_values::View`: the form on the wire decides, not
//! the logical type alone (`json` goes as text or as `jsonb`, text as it is or under a rule), and
//! each form carries what its check needs (length, step, bounds), found once for a batch.

use arrow_array::{
    Array, ArrowPrimitiveType, RecordBatch,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use arrow_buffer::{IntervalMonthDayNano, NullBuffer, OffsetBuffer, i256};
use transload_plugin_api::{DirtyRow, Error, LogicalType, Result, RowError};
use transload_values::{SHOWN, View, shorten};

use crate::{
    numeric::{NumberFault, put_decimal, put_text, put_wide_decimal},
    types::{TextRule, Wire},
};

/// What comes before the rows: a signature, no flags, no extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What comes after them.
pub(crate) const TRAILER: &[u8] = &[0xFF, 0xFF];
/// Days from 1970-01-01 to 2000-01-01, where the server counts from.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(crate) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MICROS;
/// Microseconds of a day.
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;
/// The server's first day (4714-11-24 BC) and the day after its last, counted its way.
const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
/// The server's first moment and the one after its last.
const MOMENTS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// What a batch's rows are to be sent as.
#[derive(Clone, Debug)]
pub(crate) struct EncodedColumn {
    pub(crate) name: String,
    /// The target's type, as messages name it.
    pub(crate) native: String,
    pub(crate) wire: Wire,
    pub(crate) logical: LogicalType,
    /// Precision and scale where the number travels as text.
    pub(crate) bounds: Option<(i32, i32)>,
    /// What its texts must be like.
    pub(crate) rule: Option<TextRule>,
}

/// A number behind each row's own columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suffix {
    None,
    /// The row's place in the batch.
    Row,
    /// The same for all.
    Constant(i32),
}

/// Rows ready to be sent. Row `i` is row `rows[i]` of the batch and ends at `ends[i]`.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<usize>,
    pub(crate) rows: Vec<u32>,
    /// Rows that the server cannot hold, in their order.
    pub(crate) dirty: Vec<DirtyRow>,
}

impl Encoded {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.rows.clear();
        self.dirty.clear();
    }
}

/// Encodes a batch over what `out` held before.
pub(crate) fn encode(
    batch: &RecordBatch,
    columns: &[EncodedColumn],
    suffix: Suffix,
    out: &mut Encoded,
) -> Result<()> {
    out.clear();
    let cells: Vec<_> = (batch.columns().iter().zip(columns))
        .map(|(array, column)| Cells::of(array, column))
        .collect::<Result<_>>()?;
    let fields = columns.len() + usize::from(suffix != Suffix::None);
    let fields =
        i16::try_from(fields).map_err(|_| unexpected("more than 32,767 columns"))?.to_be_bytes();
    for row in 0..batch.num_rows() {
        let start = out.bytes.len();
        out.bytes.extend_from_slice(&fields);
        if cells.iter().any(|cells| cells.put(row, &mut out.bytes).is_err()) {
            out.bytes.truncate(start);
            out.dirty.extend(dirty_row(row, &cells, columns, batch));
            continue;
        }
        match suffix {
            Suffix::None => {}
            Suffix::Row => put(&(row as i32).to_be_bytes(), &mut out.bytes),
            Suffix::Constant(number) => put(&number.to_be_bytes(), &mut out.bytes),
        }
        out.rows.push(row as u32);
        out.ends.push(out.bytes.len());
    }
    Ok(())
}

/// A row with all the values that cannot be sent.
#[cold]
fn dirty_row(
    row: usize,
    cells: &[Cells<'_>],
    columns: &[EncodedColumn],
    batch: &RecordBatch,
) -> Option<DirtyRow> {
    let mut scratch = Vec::new();
    let mut errors = cells.iter().enumerate().filter_map(|(at, cells)| {
        scratch.clear();
        let fault = cells.put(row, &mut scratch).err()?;
        Some(fault.into_error(row, &columns[at], batch.column(at)))
    });
    let first = DirtyRow::from(errors.next()?).row(row as u64);
    Some(errors.fold(first, DirtyRow::error))
}

/// Why a value cannot be sent.
#[derive(Debug)]
pub(crate) struct Fault {
    code: &'static str,
    reason: &'static str,
}

impl Fault {
    fn into_error(self, row: usize, column: &EncodedColumn, array: &dyn Array) -> RowError {
        let EncodedColumn { name, native, logical, .. } = column;
        let mut value = Vec::new();
        if let Some(view) = View::of(logical, array) {
            view.write(row, &mut value);
        }
        let found = match value.is_empty() {
            true => String::new(),
            false => format!(", found `{}`", shorten(&value, SHOWN)),
        };
        let reason = format!("expected {native}{found}: {}", self.reason);
        let value = String::from_utf8(value).ok().filter(|value| !value.is_empty());
        RowError { value, ..RowError::new(self.code, reason).column(name.clone()) }
    }
}

const fn fault(code: &'static str, reason: &'static str) -> Fault {
    Fault { code, reason }
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A length and a value of a fixed size, in one piece.
fn put_fixed<const N: usize, const M: usize>(value: [u8; N], out: &mut Vec<u8>) {
    let mut both = [0; M];
    both[..4].copy_from_slice(&(N as u32).to_be_bytes());
    both[4..].copy_from_slice(&value);
    out.extend_from_slice(&both);
}

/// One column of a batch, its type already looked at.
struct Cells<'a> {
    values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
}

/// Variable-length values: where each begins in the bytes of all.
#[derive(Clone, Copy)]
struct Slices<'a> {
    offsets: &'a OffsetBuffer<i32>,
    bytes: &'a [u8],
}

impl<'a> Slices<'a> {
    fn get(&self, row: usize) -> &'a [u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

enum Values<'a> {
    Bool(&'a arrow_array::BooleanArray),
    Int2(&'a [i16]),
    Int4(&'a [i32]),
    Int8(&'a [i64]),
    Float4(&'a [f32]),
    Float8(&'a [f64]),
    Decimal(&'a [i128], i8),
    WideDecimal(&'a [i256], i8),
    Numeric(&'a arrow_array::StringArray, Option<(i32, i32)>),
    /// The most characters, and whether a value may hold a NUL.
    Text(Slices<'a>, Option<u32>, bool),
    /// Texts that the server casts.
    Ruled(Slices<'a>, TextRule),
    Jsonb(Slices<'a>),
    Bytes(Slices<'a>),
    Date(&'a [i32]),
    /// Multiples of a number of microseconds.
    Time(&'a [i64], i64),
    Timestamp(&'a [i64], i64),
    Interval(&'a [IntervalMonthDayNano]),
    Uuid(&'a arrow_array::FixedSizeBinaryArray),
    List(&'a OffsetBuffer<i32>, Box<Cells<'a>>, u32),
}

fn primitive<P: ArrowPrimitiveType>(array: &dyn Array) -> Option<&[P::Native]> {
    array.as_primitive_opt::<P>().map(|array| &array.values()[..])
}

fn texts(array: &dyn Array) -> Option<Slices<'_>> {
    let array = array.as_string_opt::<i32>()?;
    Some(Slices { offsets: array.offsets(), bytes: array.value_data() })
}

fn binaries(array: &dyn Array) -> Option<Slices<'_>> {
    let array = array.as_binary_opt::<i32>()?;
    Some(Slices { offsets: array.offsets(), bytes: array.value_data() })
}

impl<'a> Cells<'a> {
    fn of(array: &'a dyn Array, column: &EncodedColumn) -> Result<Self> {
        let EncodedColumn { wire, logical, bounds, name, rule, .. } = column;
        let ruled = rule.and_then(|rule| Some(Self::ruled(texts(array)?, rule, array)));
        ruled.or_else(|| Self::typed(array, wire, logical, *bounds)).ok_or_else(|| {
            let message = format!("column `{name}` comes as `{}`", array.data_type());
            unexpected(&message).hint(format!("the plan says `{logical}`"))
        })
    }

    fn ruled(texts: Slices<'a>, rule: TextRule, array: &'a dyn Array) -> Self {
        Self { values: Values::Ruled(texts, rule), nulls: array.nulls() }
    }

    fn typed(
        array: &'a dyn Array,
        wire: &Wire,
        logical: &LogicalType,
        bounds: Option<(i32, i32)>,
    ) -> Option<Self> {
        let values = match wire {
            Wire::Bool => Values::Bool(array.as_boolean_opt()?),
            Wire::Int2 => Values::Int2(primitive::<Int16Type>(array)?),
            Wire::Int4 => Values::Int4(primitive::<Int32Type>(array)?),
            Wire::Int8 => Values::Int8(primitive::<Int64Type>(array)?),
            Wire::Float4 => Values::Float4(primitive::<Float32Type>(array)?),
            Wire::Float8 => Values::Float8(primitive::<Float64Type>(array)?),
            Wire::Numeric => match logical {
                LogicalType::Decimal { precision, scale } if *precision <= 38 => {
                    Values::Decimal(primitive::<Decimal128Type>(array)?, *scale)
                }
                LogicalType::Decimal { scale, .. } => {
                    Values::WideDecimal(primitive::<Decimal256Type>(array)?, *scale)
                }
                _ => Values::Numeric(array.as_string_opt()?, bounds),
            },
            Wire::Text => {
                let slices = texts(array)?;
                let length = match logical {
                    LogicalType::Text { length } => *length,
                    _ => None,
                };
                // One look over all values spares a look at each.
                Values::Text(slices, length, memchr::memchr(0, slices.bytes).is_some())
            }
            Wire::Jsonb => Values::Jsonb(texts(array)?),
            Wire::Bytea | Wire::Native => Values::Bytes(binaries(array)?),
            Wire::Date => Values::Date(primitive::<Date32Type>(array)?),
            Wire::Time => Values::Time(primitive::<Time64MicrosecondType>(array)?, step(logical)),
            Wire::Timestamp => {
                Values::Timestamp(primitive::<TimestampMicrosecondType>(array)?, step(logical))
            }
            Wire::Interval => Values::Interval(primitive::<IntervalMonthDayNanoType>(array)?),
            Wire::Uuid => {
                let array = array.as_fixed_size_binary_opt()?;
                Values::Uuid((array.value_length() == 16).then_some(array)?)
            }
            Wire::Array { oid, element } => {
                let LogicalType::List(item) = logical else { return None };
                let list = array.as_list_opt::<i32>()?;
                let items = Self::typed(list.values(), element, item, bounds)?;
                Values::List(list.offsets(), Box::new(items), *oid)
            }
        };
        Some(Self { values, nulls: array.nulls() })
    }

    /// Appends a field: its length and value, or -1 for NULL.
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        match &self.values {
            Values::Bool(array) => put_fixed::<1, 5>([u8::from(array.value(row))], out),
            Values::Int2(values) => put_fixed::<2, 6>(values[row].to_be_bytes(), out),
            Values::Int4(values) => put_fixed::<4, 8>(values[row].to_be_bytes(), out),
            Values::Int8(values) => put_fixed::<8, 12>(values[row].to_be_bytes(), out),
            Values::Float4(values) => put_fixed::<4, 8>(values[row].to_be_bytes(), out),
            Values::Float8(values) => put_fixed::<8, 12>(values[row].to_be_bytes(), out),
            Values::Decimal(values, scale) => put_decimal(values[row], *scale, out),
            Values::WideDecimal(values, scale) => put_wide_decimal(values[row], *scale, out),
            Values::Numeric(array, bounds) => put_number(array.value(row), *bounds, out)?,
            Values::Text(texts, length, nul) => put_string(texts.get(row), *length, *nul, out)?,
            Values::Ruled(texts, rule) => put_ruled(texts.get(row), *rule, out)?,
            Values::Jsonb(texts) => {
                let text = texts.get(row);
                out.extend_from_slice(&(text.len() as u32 + 1).to_be_bytes());
                out.push(1); // the version of the form
                out.extend_from_slice(text);
            }
            Values::Bytes(bytes) => put(bytes.get(row), out),
            Values::Date(days) => put_date(days[row], out)?,
            Values::Time(micros, step) => put_time(micros[row], *step, out)?,
            Values::Timestamp(micros, step) => put_moment(micros[row], *step, out)?,
            Values::Interval(spans) => put_interval(spans[row], out)?,
            Values::Uuid(array) => put(array.value(row), out),
            Values::List(offsets, items, oid) => {
                put_list(offsets[row] as usize..offsets[row + 1] as usize, items, *oid, out)?;
            }
        }
        Ok(())
    }
}

/// The unit of a type's last fractional digit, in microseconds.
fn step(logical: &LogicalType) -> i64 {
    match logical {
        LogicalType::Time { precision }
        | LogicalType::Timestamp { precision }
        | LogicalType::TimestampTz { precision } => {
            10_i64.pow(6_u32.saturating_sub(u32::from(*precision)))
        }
        _ => 1,
    }
}

fn put_number(text: &str, bounds: Option<(i32, i32)>, out: &mut Vec<u8>) -> Result<(), Fault> {
    put_text(text, bounds, out).map_err(|found| match found {
        NumberFault::Syntax => fault("parse", "it is no decimal number"),
        NumberFault::Range => fault("range", "the number has more digits"),
        NumberFault::NegativeZero => fault("range", "numeric has no negative zero"),
    })
}

fn put_string(text: &[u8], length: Option<u32>, nul: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
    if nul && text.contains(&0) {
        return Err(fault("utf8", "PostgreSQL's text cannot hold the character U+0000"));
    }
    // Bytes are at least as many as characters; those that continue one do not begin one.
    if let Some(length) = length
        && text.len() > length as usize
        && text.iter().filter(|byte| **byte & 0xC0 != 0x80).count() > length as usize
    {
        return Err(fault("length", "the text is longer"));
    }
    put(text, out);
    Ok(())
}

fn put_ruled(text: &[u8], rule: TextRule, out: &mut Vec<u8>) -> Result<(), Fault> {
    let passes = match rule {
        TextRule::Unsigned(most) => {
            let number = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'));
            number.and_then(|text| text.parse::<u64>().ok()).is_some_and(|it| it <= most)
        }
        TextRule::Dates => !text.contains(&b':'),
        TextRule::Micros => text.split(|byte| *byte == b'.').skip(1).all(has_micros),
    };
    match (passes, rule) {
        (true, _) => put_string(text, None, true, out),
        (false, TextRule::Unsigned(_)) => Err(fault("range", "the server would wrap the number")),
        (false, TextRule::Dates) => {
            Err(fault("range", "the server would cut the time of day off the dates"))
        }
        (false, TextRule::Micros) => {
            Err(fault("range", "there are more fractional digits than it keeps"))
        }
    }
}

/// Whether the digits that a text begins with end at microseconds.
fn has_micros(text: &[u8]) -> bool {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.skip(6).all(|digit| *digit == b'0')
}

fn put_date(days: i32, out: &mut Vec<u8>) -> Result<(), Fault> {
    match days.checked_sub(EPOCH_DAYS).filter(|days| DATES.contains(days)) {
        Some(days) => put_fixed::<4, 8>(days.to_be_bytes(), out),
        None => return Err(fault("range", "the date is outside PostgreSQL's calendar")),
    }
    Ok(())
}

fn put_time(micros: i64, step: i64, out: &mut Vec<u8>) -> Result<(), Fault> {
    if !(0..DAY_MICROS).contains(&micros) {
        return Err(fault("range", "the time is not within a day"));
    }
    on_step(micros, step)?;
    put_fixed::<8, 12>(micros.to_be_bytes(), out);
    Ok(())
}

fn put_moment(micros: i64, step: i64, out: &mut Vec<u8>) -> Result<(), Fault> {
    on_step(micros, step)?;
    match micros.checked_sub(EPOCH_MICROS).filter(|micros| MOMENTS.contains(micros)) {
        Some(micros) => put_fixed::<8, 12>(micros.to_be_bytes(), out),
        None => return Err(fault("range", "the timestamp is outside PostgreSQL's calendar")),
    }
    Ok(())
}

/// The server would round to the column's fractional digits.
fn on_step(micros: i64, step: i64) -> Result<(), Fault> {
    if step > 1 && micros % step != 0 {
        return Err(fault("range", "there are more fractional digits than it keeps"));
    }
    Ok(())
}

fn put_interval(span: IntervalMonthDayNano, out: &mut Vec<u8>) -> Result<(), Fault> {
    if span.nanoseconds % 1_000 != 0 {
        return Err(fault("range", "PostgreSQL's interval ends at microseconds"));
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(span.nanoseconds / 1_000).to_be_bytes());
    bytes[8..12].copy_from_slice(&span.days.to_be_bytes());
    bytes[12..].copy_from_slice(&span.months.to_be_bytes());
    put_fixed::<16, 20>(bytes, out);
    Ok(())
}

/// Dimensions, whether there are NULLs, the element's type, size and first index; the elements.
fn put_list(
    items: std::ops::Range<usize>,
    cells: &Cells<'_>,
    oid: u32,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let start = out.len();
    let empty = items.is_empty();
    let has_null = cells.nulls.is_some_and(|nulls| items.clone().any(|item| nulls.is_null(item)));
    for word in [0, i32::from(!empty), i32::from(has_null), oid as i32] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    if !empty {
        out.extend_from_slice(&(items.len() as i32).to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes());
    }
    for item in items {
        cells.put(item, out)?;
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn unexpected(what: &str) -> Error {
    Error::defect(format!("{what}, which this plan does not write"))
}
