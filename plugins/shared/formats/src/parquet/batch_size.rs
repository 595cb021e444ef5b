//! Bounds the bytes that rows become when they are decoded: a page of a few bytes can hold any
//! number of equal list items, or of references to one long text, and those of a batch are decoded
//! at once. The bytes are counted before, so that a batch can have fewer rows.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use parquet::{basic::Encoding, schema::types::ColumnDescriptor};

use super::page_check::{Data, Numbers, varint};

/// The bytes of each batch of a row group, over all columns.
#[derive(Debug, Default)]
pub(super) struct BatchSizes {
    /// Number of rows in a batch, and of those before the first one.
    rows: u64,
    skip: u64,
    /// The most bytes of a batch.
    pub(super) most: u64,
    batches: Mutex<BTreeMap<u64, u64>>,
    exceeded: AtomicBool,
}

/// Why a page is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TooLarge {
    /// One value has this many bytes.
    Value(u64),
    /// The rows of one batch have more than [`BatchSizes::most`].
    Batch,
}

impl BatchSizes {
    /// For batches of this many rows behind the first `skip`.
    pub(super) fn new(rows: u64, skip: u64, most: u64) -> Self {
        Self { rows, skip, most, ..Self::default() }
    }

    /// Whether a batch was refused: it may fit with fewer rows.
    pub(super) fn exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    fn add(&self, row: u64, bytes: u64) -> Result<(), TooLarge> {
        let batch = row.saturating_sub(self.skip) / self.rows.max(1);
        let mut batches = self.batches.lock();
        let total = batches.entry(batch).or_default();
        *total += bytes;
        if *total <= self.most {
            return Ok(());
        }
        self.exceeded.store(true, Ordering::Relaxed);
        Err(TooLarge::Batch)
    }
}

/// The rows of a column chunk that its pages have shown.
#[derive(Debug, Default)]
pub(super) struct RowsSeen {
    /// Rows that have begun.
    pub(super) begun: u64,
}

/// The bytes of the values of a page.
enum Sizes<'a> {
    /// Each has as many.
    Equal(u64),
    /// Of each that is not NULL.
    Listed(Vec<u32>),
    /// Of those of a dictionary, by index.
    Dictionary(&'a [u32], Numbers<'a>),
}

/// The bytes beside each value: its levels and the end of a text.
pub(super) const BESIDE: u64 = 8;

/// Adds a page's values to the batches that they belong to.
///
/// `longest` is the most bytes of a value, `beside` those that each takes besides.
///
/// # Errors
/// For a value or a batch beyond its limit. A page that is damaged is left to the decoder.
pub(super) fn measure(
    data: &Data<'_>,
    column: &ColumnDescriptor,
    dictionary: &[u32],
    seen: &mut RowsSeen,
    sizes: &BatchSizes,
    (longest, beside): (u64, u64),
) -> Result<(), TooLarge> {
    let Some(mut of_values) = sizes_of(data, column, dictionary, longest)? else {
        seen.begun += if column.max_rep_level() == 0 { data.values as u64 } else { 0 };
        return Ok(());
    };
    let most = column.max_def_level().max(0) as u32;
    let mut repetition = data.repetition(column);
    let mut definition = data.definition(column);
    let (mut row, mut bytes, mut at) = (seen.begun.saturating_sub(1), 0, 0);
    for _ in 0..data.values {
        let (Some(repeated), Some(defined)) = (repetition.next(), definition.next()) else { break };
        if repeated == 0 {
            sizes.add(row, std::mem::take(&mut bytes))?;
            row = seen.begun;
            seen.begun += 1;
        }
        bytes += beside;
        if defined == most {
            bytes += match &mut of_values {
                Sizes::Equal(size) => *size,
                Sizes::Listed(listed) => u64::from(listed.get(at).copied().unwrap_or_default()),
                Sizes::Dictionary(lengths, indexes) => {
                    let length = indexes.next().and_then(|index| lengths.get(index as usize));
                    u64::from(length.copied().unwrap_or_default())
                }
            };
            at += 1;
        }
        if bytes > sizes.most {
            sizes.add(row, bytes)?;
        }
    }
    sizes.add(row, bytes)
}

/// How large the values of a page are; `None` if what they become is bounded by the page itself.
fn sizes_of<'a>(
    data: &Data<'a>,
    column: &ColumnDescriptor,
    dictionary: &'a [u32],
    longest: u64,
) -> Result<Option<Sizes<'a>>, TooLarge> {
    let is_list = column.max_rep_level() > 0;
    let width = super::page_check::width(column) as u64;
    if data.encoding == Encoding::DELTA_BYTE_ARRAY {
        let lengths = delta_lengths(data.bytes);
        return match lengths.iter().copied().max().map(u64::from) {
            Some(found) if found > longest => Err(TooLarge::Value(found)),
            _ => Ok(Some(Sizes::Listed(lengths))),
        };
    }
    if !is_list {
        return Ok(None);
    }
    if width == 0 && data.is_dictionary() {
        let (bits, bytes) = data.bytes.split_first().unwrap_or((&0, &[]));
        let indexes = Numbers::new(bytes, u32::from(*bits).min(32));
        return Ok(Some(Sizes::Dictionary(dictionary, indexes)));
    }
    // the bytes of texts are those of the page
    Ok(Some(Sizes::Equal(width)))
}

/// The lengths of texts that each share a beginning with the one before; none for damaged bytes.
/// <https://github.com/apache/parquet-format/blob/master/Encodings.md#delta-strings-delta_byte_array--7>
fn delta_lengths(bytes: &[u8]) -> Vec<u32> {
    let mut at = 0;
    let Some(prefixes) = deltas(bytes, &mut at) else { return Vec::new() };
    let Some(suffixes) = deltas(bytes, &mut at) else { return Vec::new() };
    let mut before = 0;
    let length = |(prefix, suffix): (i64, i64)| {
        let length = u32::try_from(prefix.checked_add(suffix)?).ok()?;
        let is_one = (0..=i64::from(before)).contains(&prefix) && suffix >= 0;
        before = length;
        is_one.then_some(length)
    };
    prefixes.into_iter().zip(suffixes).map_while(length).collect()
}

/// Integers by their differences. At most as many as the bytes can hold, of which each of a block
/// with differences of no bits takes none: so their number is bounded, too.
/// <https://github.com/apache/parquet-format/blob/master/Encodings.md#delta-encoding-delta_binary_packed--5>
pub(super) fn deltas(bytes: &[u8], at: &mut usize) -> Option<Vec<i64>> {
    const MOST: u64 = 16 << 20;
    let (block, parts) = (varint(bytes, at)?, varint(bytes, at)?);
    let (count, mut value) = (varint(bytes, at)?, signed(varint(bytes, at)?));
    let part = block.checked_div(parts).filter(|part| part % 8 == 0 && *part <= 1 << 16)?;
    if count > MOST || parts > 1 << 10 {
        return None;
    }
    let mut values = Vec::new();
    if count > 0 {
        values.push(value);
    }
    while (values.len() as u64) < count {
        let least = signed(varint(bytes, at)?);
        let widths = bytes.get(*at..*at + parts as usize)?;
        *at += parts as usize;
        for width in widths {
            if values.len() as u64 >= count {
                break;
            }
            let length = (part * u64::from(*width) / 8) as usize;
            let packed = bytes.get(*at..at.checked_add(length)?)?;
            *at += length;
            for number in packed_numbers(packed, u32::from(*width), part as usize) {
                value = value.wrapping_add(least).wrapping_add(number as i64);
                values.push(value);
            }
        }
    }
    values.truncate(count as usize);
    Some(values)
}

fn packed_numbers(bytes: &[u8], width: u32, count: usize) -> impl Iterator<Item = u64> {
    (0..count).map(move |number| {
        let from = number * width as usize;
        (0..width as usize).fold(0, |value, bit| {
            let byte = bytes.get((from + bit) / 8).copied().unwrap_or_default();
            value | u64::from(byte >> ((from + bit) % 8) & 1) << bit.min(63)
        })
    })
}

fn signed(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_read_as_the_format_says() {
        // blocks of 128 in 4 parts, 5 values from 7: 7 5 3 1 2; least difference -2, in 2 bits
        let mut bytes = vec![0x80, 1, 4, 5, 14, 3, 2, 0, 0, 0];
        bytes.extend([0b1100_0000, 0, 0, 0, 0, 0, 0, 0]);
        let mut at = 0;
        assert_eq!(deltas(&bytes, &mut at), Some(vec![7, 5, 3, 1, 2]));
        assert_eq!(at, bytes.len());
        for cut in 0..bytes.len() {
            assert_eq!(deltas(&bytes[..cut], &mut 0), None, "{cut}");
        }
    }

    #[test]
    fn a_batch_beyond_the_limit_is_refused_once_it_is_reached() {
        let sizes = BatchSizes::new(10, 5, 100);
        assert_eq!(sizes.add(5, 60), Ok(()));
        assert_eq!(sizes.add(14, 40), Ok(()));
        assert_eq!(sizes.add(15, 100), Ok(()));
        assert!(!sizes.exceeded());
        assert_eq!(sizes.add(9, 1), Err(TooLarge::Batch));
        assert!(sizes.exceeded());
    }
}
