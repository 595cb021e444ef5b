//! Compares a data page's levels with its values: a page with damaged levels may hold more values
//! than they announce, and each value behind the damage would get into another row. Whether there
//! are too few is noticed by the decoder.

use parquet::{
    basic::{Encoding, Type as Physical},
    column::page::Page,
    schema::types::ColumnDescriptor,
};

use super::batch_size::{TooLarge, deltas};

/// Refuses a page whose levels and values contradict each other; removes padding behind values of
/// a fixed width, which the decoder would refuse. `Err` describes the contradiction.
pub(super) fn checked(mut page: Page, column: &ColumnDescriptor) -> Result<Page, &'static str> {
    let Some(data) = Data::of(&page, column)? else { return Ok(page) };
    let data = Counted { count: data.count().ok_or(SHORT)?, data };
    // `None`: too short, and the decoder says what is missing
    if is_exact(&data, column) == Some(false) {
        return Err("a page has more values than its levels announce");
    }
    let values = data.count.saturating_mul(width(column));
    let padding = data.data.bytes.len().saturating_sub(values);
    if data.data.encoding == Encoding::PLAIN && width(column) > 0 && padding > 0 {
        let (Page::DataPage { buf, .. } | Page::DataPageV2 { buf, .. }) = &mut page else {
            return Ok(page);
        };
        buf.truncate(buf.len() - padding);
    }
    Ok(page)
}

/// The bytes of a value, 0 if it has no fixed number of them.
pub(super) fn width(column: &ColumnDescriptor) -> usize {
    match column.physical_type() {
        Physical::BOOLEAN | Physical::BYTE_ARRAY => 0,
        Physical::INT32 | Physical::FLOAT => 4,
        Physical::INT64 | Physical::DOUBLE => 8,
        Physical::INT96 => 12,
        Physical::FIXED_LEN_BYTE_ARRAY => column.type_length().max(1) as usize,
    }
}

const SHORT: &str = "the levels of a page end too early";

/// The parts of a page.
pub(super) struct Data<'a> {
    repetition: &'a [u8],
    definition: &'a [u8],
    /// The greatest definition level, of a value that is not NULL.
    most: u32,
    /// The values that are not NULL.
    pub(super) bytes: &'a [u8],
    pub(super) encoding: Encoding,
    /// The number of values, NULLs included.
    pub(super) values: usize,
}

/// A page with the number of its values that are not NULL.
struct Counted<'a> {
    data: Data<'a>,
    count: usize,
}

impl<'a> Data<'a> {
    /// `None` for a page without values, or with levels in the form that was given up in 2013.
    pub(super) fn of(
        page: &'a Page,
        column: &ColumnDescriptor,
    ) -> Result<Option<Self>, &'static str> {
        let most = (column.max_rep_level().max(0) as u32, column.max_def_level().max(0) as u32);
        let (values, encoding, repetition, definition, bytes) = match page {
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                ..
            } => {
                #[expect(deprecated)]
                let old = Encoding::BIT_PACKED;
                let is_old = |level, encoding: &Encoding| level > 0 && *encoding == old;
                if is_old(most.0, rep_level_encoding) || is_old(most.1, def_level_encoding) {
                    return Ok(None);
                }
                let (repetition, rest) = prefixed(buf, most.0 > 0).ok_or(SHORT)?;
                let (definition, bytes) = prefixed(rest, most.1 > 0).ok_or(SHORT)?;
                (*num_values, *encoding, repetition, definition, bytes)
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let (repetition, rest) =
                    buf.split_at_checked(*rep_levels_byte_len as usize).ok_or(SHORT)?;
                let (definition, bytes) =
                    rest.split_at_checked(*def_levels_byte_len as usize).ok_or(SHORT)?;
                (*num_values, *encoding, repetition, definition, bytes)
            }
            Page::DictionaryPage { .. } => return Ok(None),
        };
        let (values, most) = (values as usize, most.1);
        Ok(Some(Self { repetition, definition, most, bytes, encoding, values }))
    }

    /// The number of values that are not NULL; `None` if the levels end too early.
    fn count(&self) -> Option<usize> {
        match self.most {
            0 => Some(self.values),
            most => Runs::new(self.definition, width_of(most)).count(self.values, most),
        }
    }

    /// Refuses texts that are longer than `most`; they are in a page with more bytes than that.
    pub(super) fn check_lengths(&self, most: u64) -> Result<(), TooLarge> {
        let longest = match self.encoding {
            Encoding::PLAIN => texts(self.bytes).map(|text| text.len() as u64).max(),
            Encoding::DELTA_LENGTH_BYTE_ARRAY => {
                deltas(self.bytes, &mut 0).into_iter().flatten().map(|it| it.max(0) as u64).max()
            }
            _ => None,
        };
        match longest {
            Some(longest) if longest > most => Err(TooLarge::Value(longest)),
            _ => Ok(()),
        }
    }

    /// The repetition levels: 0 where a row begins.
    pub(super) fn repetition(&self, column: &ColumnDescriptor) -> Numbers<'a> {
        Numbers::new(self.repetition, width_of(column.max_rep_level().max(0) as u32))
    }

    /// The definition levels.
    pub(super) fn definition(&self, column: &ColumnDescriptor) -> Numbers<'a> {
        Numbers::new(self.definition, width_of(column.max_def_level().max(0) as u32))
    }

    /// Whether the values are indexes into a dictionary.
    pub(super) fn is_dictionary(&self) -> bool {
        let old = Encoding::PLAIN_DICTIONARY;
        self.encoding == Encoding::RLE_DICTIONARY || self.encoding == old
    }
}

/// Numbers in runs, one after the other; zeros of no bits without end.
pub(super) struct Numbers<'a> {
    runs: Runs<'a>,
    run: Option<Run<'a>>,
    /// Numbers of the run that have been given.
    given: usize,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(bytes: &'a [u8], width: u32) -> Self {
        Self { runs: Runs::new(bytes, width), run: None, given: 0 }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<u32> {
        if self.runs.width == 0 {
            return Some(0);
        }
        loop {
            let at = self.given;
            match &self.run {
                Some(Run::Repeated { count, value }) if at < *count => {
                    self.given += 1;
                    return Some(*value);
                }
                Some(Run::Packed { count, bytes }) if at < *count => {
                    self.given += 1;
                    return packed(bytes, at, self.runs.width as usize);
                }
                _ => {
                    self.run = Some(self.runs.next()?);
                    self.given = 0;
                }
            }
        }
    }
}

/// The number at an index of packed ones.
#[inline]
fn packed(bytes: &[u8], at: usize, width: usize) -> Option<u32> {
    let bit = at * width;
    let mut window = [0; 8];
    let rest = bytes.get(bit / 8..)?;
    let length = rest.len().min(8);
    if length * 8 < bit % 8 + width {
        return None;
    }
    window[..length].copy_from_slice(&rest[..length]);
    Some((u64::from_le_bytes(window) >> (bit % 8) & ((1 << width) - 1)) as u32)
}

/// Levels behind their length, and what follows them.
fn prefixed(bytes: &[u8], exist: bool) -> Option<(&[u8], &[u8])> {
    if !exist {
        return Some((&[], bytes));
    }
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// The bits that hold numbers up to `most`.
fn width_of(most: u32) -> u32 {
    u32::BITS - most.leading_zeros()
}

/// Whether the bytes hold as many values and no more; `None` if they hold fewer.
fn is_exact(data: &Counted<'_>, column: &ColumnDescriptor) -> Option<bool> {
    let Counted { data: Data { bytes, encoding, .. }, count } = *data;
    let width = width(column);
    match encoding {
        _ if data.data.is_dictionary() => has_no_more_indexes(bytes, count),
        Encoding::PLAIN if column.physical_type() == Physical::BOOLEAN => {
            bytes.get(count.div_ceil(8)..).map(is_padding)
        }
        Encoding::PLAIN if width == 0 => has_no_more_texts(bytes, count),
        Encoding::PLAIN => {
            let rest = bytes.get(count.checked_mul(width)?..)?;
            Some(rest.len() < width || is_padding(rest))
        }
        Encoding::BYTE_STREAM_SPLIT => {
            Some(bytes.len() < count.checked_add(1)?.checked_mul(width)?)
        }
        Encoding::RLE => {
            let (bytes, _) = prefixed(bytes, true)?;
            Runs::new(bytes, 1).ends_after(count)
        }
        Encoding::DELTA_BINARY_PACKED
        | Encoding::DELTA_LENGTH_BYTE_ARRAY
        | Encoding::DELTA_BYTE_ARRAY => {
            if bytes.is_empty() {
                return Some(true);
            }
            let mut at = 0;
            let _block = varint(bytes, &mut at)?;
            let _parts = varint(bytes, &mut at)?;
            Some(varint(bytes, &mut at)? <= count as u64)
        }
        _ => Some(true),
    }
}

/// Zeros that fastparquet leaves behind the values of a page.
fn is_padding(rest: &[u8]) -> bool {
    rest.len() <= 8 && rest.iter().all(|byte| *byte == 0)
}

/// Texts, each behind its length, up to the first that is cut off.
fn texts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(text)
    })
}

/// Whether texts, each behind its length, end after `count`.
fn has_no_more_texts(mut bytes: &[u8], count: usize) -> Option<bool> {
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        bytes = rest.get(u32::from_le_bytes(*length) as usize..)?;
    }
    Some(bytes.len() < 4 || is_padding(bytes))
}

/// Whether indexes into a dictionary, behind the width of one, end after `count`.
fn has_no_more_indexes(bytes: &[u8], count: usize) -> Option<bool> {
    let Some((width, runs)) = bytes.split_first() else { return Some(true) };
    if *width > 32 {
        return None;
    }
    Runs::new(runs, u32::from(*width)).ends_after(count)
}

/// Runs of numbers: one number many times, or groups of eight packed ones.
/// <https://github.com/apache/parquet-format/blob/master/Encodings.md#run-length-encoding--bit-packing-hybrid-rle--3>
struct Runs<'a> {
    bytes: &'a [u8],
    width: u32,
    at: usize,
}

/// One run.
enum Run<'a> {
    Repeated { count: usize, value: u32 },
    Packed { count: usize, bytes: &'a [u8] },
}

impl<'a> Runs<'a> {
    fn new(bytes: &'a [u8], width: u32) -> Self {
        Self { bytes, width, at: 0 }
    }

    fn next(&mut self) -> Option<Run<'a>> {
        let head = varint(self.bytes, &mut self.at)?;
        let count = usize::try_from(head >> 1).ok()?;
        let rest = self.bytes.get(self.at..)?;
        if head & 1 == 0 {
            let length = self.width.div_ceil(8) as usize;
            let value = rest.get(..length)?;
            self.at += length;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            return Some(Run::Repeated { count, value });
        }
        // the last groups may be cut off where no value is
        let length = count.checked_mul(self.width as usize)?.min(rest.len());
        self.at += length;
        Some(Run::Packed { count: count.checked_mul(8)?, bytes: &rest[..length] })
    }

    /// How many of the first `values` numbers are `wanted`; `None` if there are fewer numbers.
    fn count(&mut self, values: usize, wanted: u32) -> Option<usize> {
        let (mut left, mut found) = (values, 0);
        while left > 0 {
            let taken = match self.next()? {
                Run::Repeated { count, value } => {
                    let taken = count.min(left);
                    found += if value == wanted { taken } else { 0 };
                    taken
                }
                Run::Packed { count, bytes } => {
                    let taken = count.min(left);
                    found += count_packed(bytes, self.width, taken, wanted)?;
                    taken
                }
            };
            // runs without numbers take bytes, so this ends
            left -= taken;
        }
        Some(found)
    }

    /// Whether no number follows the first `values`, but for those that fill the last group.
    fn ends_after(&mut self, values: usize) -> Option<bool> {
        let mut left = values;
        while left > 0 {
            let (count, padding) = match self.next()? {
                Run::Repeated { count, .. } => (count, 0),
                // DuckDB fills up runs of 256
                Run::Packed { count, .. } if count % 256 == 0 => (count, 255),
                Run::Packed { count, .. } => (count, 7),
            };
            if count > left + padding {
                return Some(false);
            }
            left = left.saturating_sub(count);
        }
        Some(self.bytes.get(self.at..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0)))
    }
}

/// How many of the first `values` packed numbers are `wanted`.
fn count_packed(bytes: &[u8], width: u32, values: usize, wanted: u32) -> Option<usize> {
    if width == 1 && wanted == 1 {
        let (whole, rest) = (bytes.get(..values / 8)?, values % 8);
        let ones = whole.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
        let last = if rest == 0 { 0 } else { *bytes.get(values / 8)? & ((1 << rest) - 1) };
        return Some(ones + last.count_ones() as usize);
    }
    let (mut held, mut bits, mut found) = (0u64, 0, 0);
    let mut bytes = bytes.iter();
    for _ in 0..values {
        while bits < width {
            held |= u64::from(*bytes.next()?) << bits;
            bits += 8;
        }
        found += usize::from(held & ((1 << width) - 1) == u64::from(wanted));
        held >>= width;
        bits -= width;
    }
    Some(found)
}

pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_in_runs_of_both_kinds() {
        // five times 1, then one group of eight: 1 0 1 1 0 0 0 0
        let bits = [10, 1, 3, 0b0000_1101];
        for (values, expected) in [(0, 0), (4, 4), (6, 6), (9, 8), (13, 8)] {
            assert_eq!(Runs::new(&bits, 1).count(values, 1), Some(expected), "{values}");
        }
        assert_eq!(Runs::new(&bits, 1).count(14, 1), None);
        // one group of eight in two bits: 0 1 2 3 3 3 0 0
        let pairs = [3, 0b1110_0100, 0b0000_1111];
        assert_eq!(Runs::new(&pairs, 2).count(8, 3), Some(3));
        assert_eq!(Runs::new(&pairs, 2).count(4, 3), Some(1));
    }

    #[test]
    fn numbers_are_given_one_by_one() {
        // five times 1, then one group of eight: 1 0 1 1 0 0 0 0
        let mut bits = Numbers::new(&[10, 1, 3, 0b0000_1101], 1);
        let found: Vec<_> = std::iter::from_fn(|| bits.next()).collect();
        assert_eq!(found, [1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0]);
        let mut pairs = Numbers::new(&[3, 0b1110_0100, 0b0000_1111], 2);
        let found: Vec<_> = std::iter::from_fn(|| pairs.next()).collect();
        assert_eq!(found, [0, 1, 2, 3, 3, 3, 0, 0]);
        assert_eq!(Numbers::new(&[], 0).next(), Some(0));
    }

    #[test]
    fn numbers_that_are_left_over_are_noticed() {
        let two_groups = [5, 0xFF, 0xFF];
        for (count, expected) in [(16, true), (9, true), (8, false), (3, false)] {
            assert_eq!(Runs::new(&two_groups, 1).ends_after(count), Some(expected), "{count}");
        }
        let repeated = [20, 1];
        assert_eq!(Runs::new(&repeated, 1).ends_after(10), Some(true));
        assert_eq!(Runs::new(&repeated, 1).ends_after(9), Some(false));
        assert_eq!(Runs::new(&repeated, 1).ends_after(11), None);
        assert_eq!(Runs::new(&[20, 1, 0, 0], 1).ends_after(10), Some(true));
    }

    #[test]
    fn texts_that_are_left_over_are_noticed() {
        let texts = b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc";
        assert_eq!(has_no_more_texts(texts, 3), Some(true));
        assert_eq!(has_no_more_texts(texts, 2), Some(false));
        assert_eq!(has_no_more_texts(texts, 4), None);
    }
}
