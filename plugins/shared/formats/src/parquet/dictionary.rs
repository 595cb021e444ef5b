//! Determines whether the values of a column repeat, so that a dictionary makes it shorter. This is
//! estimated from the first rows of a row group, because a dictionary that is abandoned later has
//! already cost its time.

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::DataType;

/// The maximum number of values to examine ...
const VALUES: usize = 20_000;
/// ... of whose last quarter at most this percentage may be new.
const NEW_PERCENT: usize = 20;
/// The number of bits in the table of seen values, as a power of two.
const SEEN_LOG: u32 = 19;

/// Counts how many of a column's values are new, separately for earlier and later ones.
struct Sample {
    seen: Vec<u64>,
    values: usize,
    late: usize,
    late_new: usize,
}

/// Whether values repeat in a column that begins with these arrays.
pub(super) fn values_repeat<'a>(arrays: impl Iterator<Item = &'a ArrayRef>) -> bool {
    let mut sample = Sample { seen: vec![0; 1 << (SEEN_LOG - 6)], values: 0, late: 0, late_new: 0 };
    for array in arrays {
        if sample.values >= VALUES {
            break;
        }
        sample.look_at(array.as_ref());
    }
    // too few values do not change the default
    sample.late < VALUES / 16 || sample.late_new * 100 <= sample.late * NEW_PERCENT
}

impl Sample {
    fn look_at(&mut self, array: &dyn Array) {
        let rows = array.len().min(VALUES - self.values);
        match array.data_type() {
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                (0..rows).for_each(|row| self.count(texts.value(row).as_bytes()));
            }
            DataType::Binary => {
                let bytes = array.as_binary::<i32>();
                (0..rows).for_each(|row| self.count(bytes.value(row)));
            }
            DataType::FixedSizeBinary(_) => {
                let bytes = array.as_fixed_size_binary();
                (0..rows).for_each(|row| self.count(bytes.value(row)));
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let (from, to) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
                self.look_at(list.values().slice(from as usize, (to - from) as usize).as_ref());
            }
            other => {
                let Some(width) = other.primitive_width() else { return };
                let data = array.to_data();
                let bytes = data.buffers().first().map_or(&[][..], |buffer| buffer.as_slice());
                let bytes = bytes.get(data.offset() * width..).unwrap_or_default();
                bytes.chunks_exact(width).take(rows).for_each(|value| self.count(value));
            }
        }
    }

    fn count(&mut self, value: &[u8]) {
        let hash = (hash(value) >> (64 - SEEN_LOG)) as usize;
        let (word, bit) = (hash / 64, 1 << (hash % 64));
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        self.values += 1;
        if self.values > VALUES / 4 * 3 {
            self.late += 1;
            self.late_new += usize::from(new);
        }
    }
}

/// A fast hash. A collision costs only time.
fn hash(value: &[u8]) -> u64 {
    let mut hash = value.len() as u64;
    let mut mix = |bytes: [u8; 8]| {
        hash =
            (hash.rotate_left(23) ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    };
    let (words, rest) = value.as_chunks::<8>();
    words.iter().for_each(|word| mix(*word));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(last);
    hash
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Decimal128Array, Int64Array, ListArray, StringArray, types::Int64Type};

    use super::*;

    fn decided(array: impl Array + 'static) -> bool {
        let array: ArrayRef = Arc::new(array);
        values_repeat([array].iter())
    }

    #[test]
    fn a_dictionary_is_for_values_that_come_again() {
        let spread = |kinds: i64| (0..30_000i64).map(move |row| row * 7919 % kinds);
        for (kinds, expected) in [(1, true), (2_500, true), (10_000, true), (29_989, false)] {
            assert_eq!(decided(Int64Array::from_iter_values(spread(kinds))), expected, "{kinds}");
            let texts = spread(kinds).map(|number| format!("text {number}"));
            assert_eq!(decided(StringArray::from_iter_values(texts)), expected, "{kinds}");
            let decimals = Decimal128Array::from_iter_values(spread(kinds).map(i128::from));
            assert_eq!(decided(decimals.slice(10, 25_000)), expected, "{kinds}");
            let lists = spread(kinds).map(|number| Some([Some(number)]));
            let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
            assert_eq!(decided(lists), expected, "{kinds}");
        }
    }

    #[test]
    fn few_values_decide_nothing() {
        assert!(decided(Int64Array::from_iter_values(0..1000)));
    }
}
