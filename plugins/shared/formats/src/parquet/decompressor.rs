//! Decompresses pages: never into more bytes than the page's header claims, which has been checked
//! before.

use std::io::{Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use parquet::basic::Compression;

/// Decompresses the pages of one column chunk.
pub(super) enum Decompressor {
    None,
    Snappy(snap::raw::Decoder),
    Gzip,
    Zstd(zstd::bulk::Decompressor<'static>),
    Lz4,
    /// The older LZ4, whose framing differs between writers.
    Lz4Framed,
}

impl Decompressor {
    /// `None` for an unsupported compression.
    pub(super) fn new(compression: Compression) -> Option<Self> {
        Some(match compression {
            Compression::UNCOMPRESSED => Self::None,
            Compression::SNAPPY => Self::Snappy(snap::raw::Decoder::new()),
            Compression::GZIP(_) => Self::Gzip,
            Compression::ZSTD(_) => Self::Zstd(zstd::bulk::Decompressor::new().ok()?),
            Compression::LZ4_RAW => Self::Lz4,
            Compression::LZ4 => Self::Lz4Framed,
            Compression::BROTLI(_) | Compression::LZO => return None,
        })
    }

    /// Whether pages are stored uncompressed.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Appends exactly `size` bytes to `out`; `None` if the page is damaged.
    pub(super) fn decompress(
        &mut self,
        packed: &[u8],
        size: usize,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let start = out.len();
        let end = start.checked_add(size)?;
        if size == 0 {
            return Some(());
        }
        match self {
            Self::None => out.extend_from_slice(packed),
            Self::Snappy(decoder) => {
                if snap::raw::decompress_len(packed).ok()? != size {
                    return None;
                }
                out.resize(end, 0);
                decoder.decompress(packed, &mut out[start..]).ok()?;
            }
            Self::Gzip => {
                out.reserve_exact(size);
                let stream = MultiGzDecoder::new(packed);
                // one more byte, to detect a stream that does not end where it should
                stream.take(size as u64 + 1).read_to_end(out).ok()?;
            }
            Self::Zstd(decoder) => {
                out.reserve_exact(size);
                let mut cursor = Cursor::new(&mut *out);
                cursor.set_position(start as u64);
                decoder.decompress_to_buffer(packed, &mut cursor).ok()?;
            }
            Self::Lz4 => {
                out.resize(end, 0);
                unpack_lz4(packed, &mut out[start..])?;
            }
            Self::Lz4Framed => {
                out.resize(end, 0);
                let room = &mut out[start..];
                unpack_hadoop(packed, room)
                    .or_else(|| unpack_frame(packed, room))
                    .or_else(|| unpack_lz4(packed, room))?;
            }
        }
        (out.len() == end).then_some(())
    }
}

fn unpack_lz4(packed: &[u8], out: &mut [u8]) -> Option<()> {
    let written = lz4_flex::block::decompress_into(packed, out).ok()?;
    (written == out.len()).then_some(())
}

fn unpack_frame(packed: &[u8], out: &mut [u8]) -> Option<()> {
    let mut frame = lz4_flex::frame::FrameDecoder::new(packed);
    frame.read_exact(out).ok()?;
    let mut more = [0];
    (frame.read(&mut more).ok()? == 0).then_some(())
}

/// Hadoop's framing: the size of what follows, decompressed and then compressed, both big endian.
fn unpack_hadoop(mut packed: &[u8], mut out: &mut [u8]) -> Option<()> {
    while !packed.is_empty() {
        let (size, rest) = packed.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (size, length) = (u32::from_be_bytes(*size), u32::from_be_bytes(*length));
        let (block, rest) = rest.split_at_checked(length as usize)?;
        let (room, left) = out.split_at_mut_checked(size as usize)?;
        unpack_lz4(block, room)?;
        (packed, out) = (rest, left);
    }
    out.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use parquet::basic::{GzipLevel, ZstdLevel};

    use super::*;

    fn packed(compression: Compression, plain: &[u8]) -> Vec<u8> {
        match compression {
            Compression::SNAPPY => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
            Compression::ZSTD(_) => zstd::bulk::compress(plain, 1).unwrap(),
            Compression::LZ4_RAW => lz4_flex::block::compress(plain),
            Compression::GZIP(_) => {
                use std::io::Write;
                let mut out =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(plain).unwrap();
                out.finish().unwrap()
            }
            _ => plain.to_vec(),
        }
    }

    #[test]
    fn pages_come_back_and_never_larger_than_said() {
        let plain = b"transload ".repeat(1000);
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4_RAW,
        ] {
            let packed = packed(compression, &plain);
            let mut unpack = Decompressor::new(compression).unwrap();
            let mut out = b"levels".to_vec();
            assert!(unpack.decompress(&packed, plain.len(), &mut out).is_some());
            assert_eq!(&out[6..], plain);
            for size in [1, plain.len() - 1, plain.len() + 1] {
                let mut out = Vec::new();
                assert!(
                    unpack.decompress(&packed, size, &mut out).is_none(),
                    "{compression} {size}"
                );
                assert!(out.capacity() <= 2 * plain.len(), "{compression}");
            }
        }
    }

    #[test]
    fn lz4_of_three_framings() {
        let plain = b"transload ".repeat(100);
        let raw = lz4_flex::block::compress(&plain);
        let mut hadoop = (plain.len() as u32).to_be_bytes().to_vec();
        hadoop.extend((raw.len() as u32).to_be_bytes());
        hadoop.extend(&raw);
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        std::io::Write::write_all(&mut frame, &plain).unwrap();
        for packed in [raw, hadoop, frame.finish().unwrap()] {
            let mut out = Vec::new();
            Decompressor::Lz4Framed.decompress(&packed, plain.len(), &mut out).unwrap();
            assert_eq!(out, plain);
        }
    }
}
