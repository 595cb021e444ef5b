//! Adds checksums to the pages that arrow-rs writes: it leaves that field of the page header empty.
//! The pages of a column chunk are therefore kept here, and each header is rewritten.

use std::{
    io::{self, Read},
    mem,
    sync::Arc,
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use parquet::{
    arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory},
    column::writer::ColumnCloseResult,
    errors::{ParquetError, Result as PageResult},
    file::reader::{ChunkReader, Length},
};

use super::{
    header::{Body, PageHeader},
    thrift::{Compact, Fault, put_integer},
};

/// The field of a page header that holds the checksum.
const CHECKSUM: i16 = 4;

/// The pages of the column chunks of one row group, header and data in turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages(Arc<Mutex<Vec<Kept>>>);

/// The pages of one column chunk.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<Bytes>>>);

impl Pages {
    /// The pages of the chunks so far, in column order.
    pub(super) fn take(&self) -> Vec<Vec<Bytes>> {
        let kept = mem::take(&mut *self.0.lock());
        let take = |kept: Kept| mem::take(&mut *kept.0.lock());
        kept.into_iter().map(take).collect()
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, _: &PageStoreArgs<'_>) -> PageResult<Box<dyn PageStore>> {
        let kept = Kept::default();
        self.0.lock().push(kept.clone());
        Ok(Box::new(kept))
    }
}

impl PageStore for Kept {
    fn put(&mut self, value: Bytes) -> PageResult<PageKey> {
        let mut kept = self.0.lock();
        kept.push(value);
        Ok(PageKey::new(kept.len() as u64 - 1))
    }

    fn take(&mut self, key: PageKey) -> PageResult<Bytes> {
        let mut kept = self.0.lock();
        let page = kept.get_mut(key.get() as usize).map(mem::take);
        page.ok_or_else(|| ParquetError::General("page not found".to_owned()))
    }

    fn memory_size(&self) -> usize {
        let kept = self.0.lock();
        kept.iter().map(Bytes::len).sum()
    }
}

/// A column chunk whose pages have checksums, and its entry for the footer.
pub(super) fn with_checksums(
    pages: Vec<Bytes>,
    close: ColumnCloseResult,
) -> PageResult<(Chunk, ColumnCloseResult)> {
    let wrong = |_: Fault| ParquetError::General("a page header cannot be read".to_owned());
    let (mut dictionary, mut data, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    let mut added = 0;
    let mut pages = pages.into_iter();
    while let (Some(header), Some(body)) = (pages.next(), pages.next()) {
        let sealed = header_with(&header, crc32fast::hash(&body)).map_err(wrong)?;
        added += sealed.len() - header.len();
        let is_dictionary = PageHeader::read(&header)
            .map(|(head, _)| matches!(head.body, Body::Dictionary { .. }))
            .map_err(wrong)?;
        if !is_dictionary {
            lengths.push(sealed.len() + body.len());
        }
        let part = if is_dictionary { &mut dictionary } else { &mut data };
        part.extend([Bytes::from(sealed), body]);
    }
    let start: usize = dictionary.iter().map(Bytes::len).sum();
    let close = placed(close, start, &lengths, added)?;
    dictionary.append(&mut data);
    Ok((Chunk(dictionary), close))
}

/// The header with a checksum added. Each field is encoded as its distance from the field before,
/// so the first field after the checksum is encoded again.
fn header_with(header: &[u8], checksum: u32) -> Result<Vec<u8>, Fault> {
    let mut walk = Compact::new(header);
    let (mut last, mut before, mut end) = (0, 0, 0);
    loop {
        let Some((number, kind)) = walk.field(&mut last)? else {
            return Err(Fault::Wrong("a page without a type"));
        };
        if number > CHECKSUM {
            let mut out = Vec::with_capacity(header.len() + 6);
            out.extend_from_slice(&header[..end]);
            out.push((CHECKSUM - before) as u8 * 16 + 5);
            put_integer((checksum as i32).into(), &mut out);
            out.push((number - CHECKSUM) as u8 * 16 + (header[end] & 0x0F));
            out.extend_from_slice(&header[end + 1..]);
            return Ok(out);
        }
        walk.skip(kind)?;
        before = number;
        end = walk.taken();
    }
}

/// Offsets and sizes, with the dictionary of `start` bytes first.
fn placed(
    close: ColumnCloseResult,
    start: usize,
    lengths: &[usize],
    added: usize,
) -> PageResult<ColumnCloseResult> {
    let added = added as i64;
    let (compressed, uncompressed) =
        (close.metadata.compressed_size() + added, close.metadata.uncompressed_size() + added);
    let metadata = close
        .metadata
        .into_builder()
        .set_dictionary_page_offset((start > 0).then_some(0))
        .set_data_page_offset(start as i64)
        .set_total_compressed_size(compressed)
        .set_total_uncompressed_size(uncompressed)
        .build()?;
    let mut offset_index = close.offset_index;
    if let Some(index) = &mut offset_index {
        let mut offset = start as i64;
        for (location, length) in index.page_locations.iter_mut().zip(lengths) {
            location.offset = offset;
            location.compressed_page_size = *length as i32;
            offset += *length as i64;
        }
    }
    Ok(ColumnCloseResult {
        bytes_written: compressed as u64,
        rows_written: close.rows_written,
        metadata,
        bloom_filter: close.bloom_filter,
        column_index: close.column_index,
        offset_index,
    })
}

/// A column chunk in pieces, for arrow-rs to copy.
pub(super) struct Chunk(Vec<Bytes>);

/// Reads pieces one after the other.
pub(super) struct Pieces(std::vec::IntoIter<Bytes>, Bytes);

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.1.is_empty() {
            match self.0.next() {
                Some(next) => self.1 = next,
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.1.len());
        out[..count].copy_from_slice(&self.1[..count]);
        self.1.advance(count);
        Ok(count)
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl ChunkReader for Chunk {
    type T = Pieces;

    /// The chunk is read only from its start.
    fn get_read(&self, _: u64) -> PageResult<Self::T> {
        Ok(Pieces(self.0.clone().into_iter(), Bytes::new()))
    }

    fn get_bytes(&self, _: u64, _: usize) -> PageResult<Bytes> {
        Err(ParquetError::General("a chunk is read as a stream".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_gets_its_checksum_and_nothing_else() {
        let header = [0x15, 0, 0x15, 20, 0x15, 14, 0x2C, 0x15, 6, 0x15, 16, 0x15, 6, 0x15, 6, 0, 0];
        let (plain, _) = PageHeader::read(&header).unwrap();
        for checksum in [0, 1, u32::MAX, 0x8000_0000, 0x1234_5678] {
            let sealed = header_with(&header, checksum).unwrap();
            let (head, length) = PageHeader::read(&sealed).unwrap();
            assert_eq!(length, sealed.len());
            assert_eq!(head, PageHeader { checksum: Some(checksum), ..plain.clone() });
        }
    }
}
