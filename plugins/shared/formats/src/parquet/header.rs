//! Reads the header of a page. arrow-rs does not check its sizes, so this is done here.
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>

use bytes::Bytes;
use parquet::{
    basic::Encoding,
    column::page::{Page, PageMetadata},
};

use super::thrift::{Compact, Fault, Kind};

/// A page's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Size of the page in the file, in bytes.
    pub(super) packed: usize,
    /// Size of the decompressed page, in bytes.
    pub(super) size: usize,
    /// CRC-32 of the page as stored in the file.
    pub(super) checksum: Option<u32>,
    pub(super) body: Body,
}

/// The content of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Data {
        values: u32,
        encoding: Encoding,
        definition: Encoding,
        repetition: Encoding,
    },
    DataV2 {
        values: u32,
        nulls: u32,
        rows: u32,
        encoding: Encoding,
        /// Size of the levels in bytes.
        definition: u32,
        repetition: u32,
        compressed: bool,
    },
    Dictionary {
        values: u32,
        encoding: Encoding,
        sorted: bool,
    },
    /// An index page, or one of a later version; skipped.
    Other,
}

/// The fields of the three types of headers, by their numbers.
#[derive(Default)]
struct Fields {
    numbers: [Option<u32>; 8],
    flag: Option<bool>,
}

impl PageHeader {
    /// The header at the start of `bytes`, and its length.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), Fault> {
        let mut walk = Compact::new(bytes);
        let (mut size, mut packed, mut checksum, mut code) = (None, None, None, None);
        let (mut data, mut dictionary, mut data_v2) = (None, None, None);
        let mut last = 0;
        while let Some((number, kind)) = walk.field(&mut last)? {
            match (number, kind) {
                (1, Kind::Integer) => code = Some(walk.int32()?),
                (2, Kind::Integer) => size = Some(walk.size()?),
                (3, Kind::Integer) => packed = Some(walk.size()?),
                (4, Kind::Integer) => checksum = Some(walk.int32()? as u32),
                (5, Kind::Struct) => data = Some(Fields::read(&mut walk)?),
                (7, Kind::Struct) => dictionary = Some(Fields::read(&mut walk)?),
                (8, Kind::Struct) => data_v2 = Some(Fields::read(&mut walk)?),
                _ => walk.skip(kind)?,
            }
        }
        let missing = Fault::Wrong("too few fields");
        let body = match code.ok_or(missing)? {
            0 => data.and_then(Fields::data),
            2 => dictionary.and_then(Fields::dictionary),
            3 => data_v2.and_then(Fields::data_v2),
            _ => Some(Body::Other),
        };
        let head = Self {
            packed: packed.ok_or(missing)?,
            size: size.ok_or(missing)?,
            checksum,
            body: body.ok_or(Fault::Wrong("an unknown encoding, or too few fields"))?,
        };
        Ok((head, walk.taken()))
    }

    /// Number of values of a data page, including nulls.
    pub(super) fn data_values(&self) -> Option<u32> {
        match self.body {
            Body::Data { values, .. } | Body::DataV2 { values, .. } => Some(values),
            Body::Dictionary { .. } | Body::Other => None,
        }
    }

    /// The metadata that arrow-rs reads before it skips a page.
    pub(super) fn metadata(&self) -> PageMetadata {
        let (num_rows, num_levels) = match self.body {
            Body::Data { values, .. } => (None, Some(values as usize)),
            Body::DataV2 { values, rows, .. } => (Some(rows as usize), Some(values as usize)),
            Body::Dictionary { .. } | Body::Other => (None, None),
        };
        PageMetadata { num_rows, num_levels, is_dict: matches!(self.body, Body::Dictionary { .. }) }
    }

    /// The page with its decompressed bytes, `None` for a page without rows.
    pub(super) fn page(&self, buf: Bytes) -> Option<Page> {
        Some(match self.body {
            Body::Data { values, encoding, definition, repetition } => Page::DataPage {
                buf,
                num_values: values,
                encoding,
                def_level_encoding: definition,
                rep_level_encoding: repetition,
                statistics: None,
            },
            Body::DataV2 { values, nulls, rows, encoding, definition, repetition, compressed } => {
                Page::DataPageV2 {
                    buf,
                    num_values: values,
                    encoding,
                    num_nulls: nulls,
                    num_rows: rows,
                    def_levels_byte_len: definition,
                    rep_levels_byte_len: repetition,
                    is_compressed: compressed,
                    statistics: None,
                }
            }
            Body::Dictionary { values, encoding, sorted } => {
                Page::DictionaryPage { buf, num_values: values, encoding, is_sorted: sorted }
            }
            Body::Other => return None,
        })
    }
}

impl Fields {
    fn read(walk: &mut Compact<'_>) -> Result<Self, Fault> {
        let mut fields = Self::default();
        let mut last = 0;
        while let Some((number, kind)) = walk.field(&mut last)? {
            match kind {
                Kind::True | Kind::False => fields.flag = Some(kind == Kind::True),
                Kind::Integer => {
                    let value = walk.size()? as u32;
                    if let Some(slot) = fields.numbers.get_mut(number as usize) {
                        *slot = Some(value);
                    }
                }
                _ => walk.skip(kind)?,
            }
        }
        Ok(fields)
    }

    fn encoding(&self, number: usize) -> Option<Encoding> {
        encoding(self.numbers[number]?)
    }

    fn data(self) -> Option<Body> {
        Some(Body::Data {
            values: self.numbers[1]?,
            encoding: self.encoding(2)?,
            definition: self.encoding(3)?,
            repetition: self.encoding(4)?,
        })
    }

    fn dictionary(self) -> Option<Body> {
        let values = self.numbers[1]?;
        Some(Body::Dictionary {
            values,
            encoding: self.encoding(2)?,
            sorted: self.flag.unwrap_or(false),
        })
    }

    fn data_v2(self) -> Option<Body> {
        Some(Body::DataV2 {
            values: self.numbers[1]?,
            nulls: self.numbers[2]?,
            rows: self.numbers[3]?,
            encoding: self.encoding(4)?,
            definition: self.numbers[5]?,
            repetition: self.numbers[6]?,
            compressed: self.flag.unwrap_or(true),
        })
    }
}

/// The encoding with this number in the format.
fn encoding(code: u32) -> Option<Encoding> {
    #[expect(deprecated)]
    let encoding = match code {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        4 => Encoding::BIT_PACKED,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return None,
    };
    Some(encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_the_format_says() {
        // type 0, 10 bytes from 7, data page { 3 values, RLE_DICTIONARY, RLE, RLE }
        let bytes =
            [0x15, 0, 0x15, 20, 0x15, 14, 0x2C, 0x15, 6, 0x15, 16, 0x15, 6, 0x15, 6, 0, 0, 99];
        let (head, length) = PageHeader::read(&bytes).unwrap();
        assert_eq!((head.size, head.packed, head.checksum, length), (10, 7, None, 17));
        assert_eq!(
            head.body,
            Body::Data {
                values: 3,
                encoding: Encoding::RLE_DICTIONARY,
                definition: Encoding::RLE,
                repetition: Encoding::RLE
            }
        );
        for cut in 0..length {
            assert_eq!(PageHeader::read(&bytes[..cut]), Err(Fault::Short));
        }
    }

    #[test]
    fn negative_sizes_and_missing_fields_are_refused() {
        assert_eq!(PageHeader::read(&[0x15, 0, 0x15, 1, 0]), Err(Fault::Wrong("a negative size")));
        let few = Err(Fault::Wrong("an unknown encoding, or too few fields"));
        assert_eq!(PageHeader::read(&[0x15, 0, 0x15, 2, 0x15, 2, 0]), few);
    }
}
