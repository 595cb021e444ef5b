//! Provides the pages of a column chunk to arrow-rs. Every header is checked before memory is
//! allocated for its page, checksums are verified where present, and a page is decompressed to the
//! size that it claims.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::{
    basic::Type as Physical,
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result as PageResult},
    file::metadata::ColumnChunkMetaData,
};
use transload_plugin_api::{Error, Result, code};

use super::{
    batch_size::{BESIDE, BatchSizes, RowsSeen, TooLarge, measure},
    blocks::Blocks,
    broken,
    decompressor::Decompressor,
    header::{Body, PageHeader},
    page_check::{self, Data},
    thrift::Fault,
};
use crate::RandomAccess;

/// The largest page, compressed and uncompressed, and the most bytes of all pages of a row group
/// that are held at a time: one of each column, and its dictionary.
const PAGE: usize = 256 << 20;
/// The largest page header, including statistics.
const HEADER: usize = 1 << 20;
/// The number of bytes to try first.
const HEADER_GUESS: usize = 4 << 10;

/// The place of a chunk, for messages.
#[derive(Clone)]
pub(super) struct ChunkPath {
    pub(super) file: Arc<dyn RandomAccess>,
    pub(super) row_group: usize,
    pub(super) column: String,
}

impl ChunkPath {
    pub(super) fn broken(&self, text: impl std::fmt::Display) -> Error {
        let (group, column) = (self.row_group, &self.column);
        broken(&*self.file, format!("row group {group}, column `{column}`: {text}"))
    }
}

/// What the column chunks of a row group have in memory and decode, together.
pub(super) struct Bounds {
    /// Bytes of the pages that are held.
    held: Mutex<usize>,
    /// The most bytes of a value.
    pub(super) longest: u64,
    /// Set once the number of rows of a batch is known.
    pub(super) batches: OnceLock<BatchSizes>,
}

impl Bounds {
    pub(super) fn new(longest: u64) -> Self {
        Self { held: Mutex::new(0), longest, batches: OnceLock::new() }
    }

    /// Notes a page that takes the place of another; `false` if that is too much.
    fn hold(&self, page: usize, instead: usize) -> bool {
        let mut held = self.held.lock();
        *held = (*held - instead).saturating_add(page);
        *held <= PAGE
    }
}

/// Holds our error while arrow-rs reports its own error, which has no kind.
#[derive(Clone, Default)]
pub(super) struct FirstError(Arc<Mutex<Option<Error>>>);

impl FirstError {
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().take()
    }

    pub(super) fn lay_aside(&self, error: Error) -> ParquetError {
        let text = error.to_string();
        *self.0.lock() = Some(error);
        ParquetError::General(text)
    }
}

/// Sizes of a decoded value in bytes.
pub(super) struct Widths {
    pub(super) usual: usize,
    /// The longest value, as far as a dictionary shows it; otherwise 0, because the chunk's size
    /// limits it.
    pub(super) longest: usize,
}

/// Reads the pages of one column chunk, once and in order.
pub(super) struct ChunkPages {
    pub(super) place: ChunkPath,
    pub(super) first_error: FirstError,
    blocks: Blocks,
    decompressor: Decompressor,
    chunk: ColumnChunkMetaData,
    /// The header of the next page, if it has been read.
    next: Option<PageHeader>,
    /// The dictionary, if it has been read.
    dictionary: Option<Page>,
    /// Number of values that the chunk must still provide.
    values: u64,
    bounds: Arc<Bounds>,
    /// Bytes of the dictionary and of the last page.
    held: (usize, usize),
    /// The lengths of a dictionary's texts.
    lengths: Vec<u32>,
    /// The bytes that a value takes beside its own.
    beside: u64,
    seen: RowsSeen,
}

impl ChunkPages {
    pub(super) fn new(
        blocks: Blocks,
        chunk: &ColumnChunkMetaData,
        place: ChunkPath,
        bounds: Arc<Bounds>,
    ) -> Result<Self> {
        let compression = chunk.compression();
        let decompressor = Decompressor::new(compression)
            .ok_or_else(|| place.broken(format!("`{compression}` cannot be decompressed")))?;
        Ok(Self {
            place,
            first_error: FirstError::default(),
            blocks,
            decompressor,
            chunk: chunk.clone(),
            next: None,
            dictionary: None,
            values: chunk.num_values() as u64,
            bounds,
            held: (0, 0),
            lengths: Vec::new(),
            beside: BESIDE,
            seen: RowsSeen::default(),
        })
    }

    /// For values that become JSON texts with this many more bytes each.
    pub(super) fn beside(self, beside: u64) -> Self {
        Self { beside: BESIDE + beside, ..self }
    }

    /// Reports errors there.
    pub(super) fn reporting(self, first_error: &FirstError) -> Self {
        Self { first_error: first_error.clone(), ..self }
    }

    /// The size of a row of the chunk; the row group has `rows`.
    pub(super) fn widths(&mut self, rows: u64) -> Result<Widths> {
        let rows = rows.max(1);
        let per_row = self.chunk.num_values() as u64 / rows + 1;
        let mut bytes = self.chunk.uncompressed_size() as u64 / rows;
        let column = self.chunk.column_descr();
        if column.physical_type() != Physical::BYTE_ARRAY {
            let width = column.type_length().max(16) as u64 + self.text_beside();
            return Ok(Widths { usual: (width * per_row) as usize, longest: 0 });
        }
        if let Some(plain) = self.chunk.unencoded_byte_array_data_bytes() {
            bytes = bytes.max(plain.max(0) as u64 / rows);
        }
        let mut longest = 0;
        if matches!(self.peek()?, Some(PageHeader { body: Body::Dictionary { .. }, .. })) {
            self.dictionary = self.page()?;
            if let Some(Page::DictionaryPage { buf, num_values, .. }) = &self.dictionary {
                bytes = bytes.max(buf.len() as u64 / u64::from((*num_values).max(1)) * per_row);
                longest = self.lengths.iter().copied().max().unwrap_or(0) as usize;
                longest = longest.saturating_mul(per_row as usize);
            }
        }
        bytes += self.text_beside() * per_row + 4;
        Ok(Widths { usual: bytes as usize, longest })
    }

    /// The bytes of a JSON text that its values are not.
    fn text_beside(&self) -> u64 {
        self.beside - BESIDE
    }

    /// The header of the next page that contains data or a dictionary.
    fn peek(&mut self) -> Result<Option<&PageHeader>> {
        while self.next.is_none() && !self.blocks.is_empty() {
            let head = self.head()?;
            match head.body {
                Body::Other => self.blocks.pass(head.packed)?,
                _ => self.next = Some(head),
            }
        }
        Ok(self.next.as_ref())
    }

    fn head(&mut self) -> Result<PageHeader> {
        let mut guess = HEADER_GUESS;
        let (head, length) = loop {
            let bytes = self.blocks.show(guess)?;
            match PageHeader::read(bytes) {
                Ok(read) => break read,
                Err(Fault::Short) if bytes.len() >= guess && guess < HEADER => guess *= 4,
                Err(Fault::Short) => return Err(self.place.broken("a page header is cut off")),
                Err(Fault::Wrong(what)) => {
                    return Err(self.place.broken(format!("a page header contains {what}")));
                }
            }
        };
        self.blocks.pass(length)?;
        if head.size > PAGE || head.packed > PAGE {
            let size = head.size.max(head.packed);
            let text = format!("a page claims {size} bytes, the limit is {PAGE}");
            return Err(self.place.broken(text).with_code(code::PARQUET_LIMIT));
        }
        if head.packed as u64 > self.blocks.left() {
            return Err(self.place.broken("a page is longer than its column chunk"));
        }
        Ok(head)
    }

    fn page(&mut self) -> Result<Option<Page>> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let Some(head) = self.next.take() else { return Ok(None) };
        self.hold(&head)?;
        let bytes = self.blocks.take(head.packed)?;
        if let Some(expected) = head.checksum {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&bytes);
            if hasher.finalize() != expected {
                return Err(self
                    .place
                    .broken("the checksum of a page does not match: the page is damaged"));
            }
        }
        self.count(&head)?;
        let bytes = self.unpack(&head, bytes)?;
        let Some(page) = head.page(bytes) else { return Ok(None) };
        let page = page_check::checked(page, self.chunk.column_descr());
        let page = page.map_err(|text| self.place.broken(text))?;
        self.measure(&page).map_err(|found| self.too_large(&found))?;
        Ok(Some(page))
    }

    /// Notes what is in memory with this page.
    fn hold(&mut self, head: &PageHeader) -> Result<()> {
        let held = match head.body {
            Body::Dictionary { .. } => &mut self.held.0,
            _ => &mut self.held.1,
        };
        if self.bounds.hold(head.size, std::mem::replace(held, head.size)) {
            return Ok(());
        }
        let text = format!("the pages of its row group take more than {PAGE} bytes at a time");
        let error = self.place.broken(text).with_code(code::PARQUET_LIMIT);
        Err(error.hint("write the file again with smaller pages"))
    }

    /// Adds what the page becomes to the batches that its rows are in.
    fn measure(&mut self, page: &Page) -> Result<(), TooLarge> {
        let (column, longest) = (self.chunk.column_descr(), self.bounds.longest);
        let is_text = column.physical_type() == Physical::BYTE_ARRAY;
        if let Page::DictionaryPage { buf, .. } = page {
            self.lengths = if is_text { lengths(buf) } else { Vec::new() };
            let most = self.lengths.iter().copied().max().map_or(0, u64::from);
            return if most > longest { Err(TooLarge::Value(most)) } else { Ok(()) };
        }
        let Ok(Some(data)) = Data::of(page, column) else { return Ok(()) };
        if is_text && data.bytes.len() as u64 > longest {
            data.check_lengths(longest)?;
        }
        match self.bounds.batches.get() {
            Some(sizes) => {
                measure(&data, column, &self.lengths, &mut self.seen, sizes, (longest, self.beside))
            }
            None => Ok(()),
        }
    }

    fn too_large(&self, found: &TooLarge) -> Error {
        let (text, hint) = match found {
            TooLarge::Value(bytes) => (
                format!("a value has {bytes} bytes, the limit is {}", self.bounds.longest),
                "raise `max_record`, or leave the column out of `columns`",
            ),
            TooLarge::Batch => {
                let most = self.bounds.batches.get().map_or(0, |sizes| sizes.most);
                let text = format!("with it, one row becomes more than {most} bytes");
                (text, "raise `max_record`: the limit is twice that, or 96 MiB")
            }
        };
        self.place.broken(text).with_code(code::PARQUET_LIMIT).hint(hint)
    }

    fn pass(&mut self) -> Result<()> {
        self.peek()?;
        let Some(head) = self.next.take() else { return Ok(()) };
        self.count(&head)?;
        self.seen.begun += match head.body {
            Body::DataV2 { rows, .. } => u64::from(rows),
            _ => u64::from(head.data_values().unwrap_or(0)),
        };
        self.blocks.pass(head.packed)
    }

    /// A chunk must have as many values as the footer claims, and a page no more than remain.
    fn count(&mut self, head: &PageHeader) -> Result<()> {
        let Some(values) = head.data_values() else { return Ok(()) };
        match self.values.checked_sub(u64::from(values)) {
            Some(left) => self.values = left,
            None => {
                return Err(self
                    .place
                    .broken("its pages contain more values than the footer claims"));
            }
        }
        Ok(())
    }

    fn unpack(&mut self, head: &PageHeader, bytes: Bytes) -> Result<Bytes> {
        // the levels of a version 2 page are never compressed
        let (levels, packed) = match head.body {
            Body::DataV2 { definition, repetition, compressed, .. } => {
                (definition as usize + repetition as usize, compressed)
            }
            _ => (0, true),
        };
        if levels > bytes.len() || levels > head.size {
            return Err(self.place.broken("the levels of a page are longer than the page"));
        }
        if !packed || self.decompressor.is_none() {
            return if bytes.len() == head.size {
                Ok(bytes)
            } else {
                Err(self.place.broken("the size of a page differs from its header"))
            };
        }
        let mut out = Vec::with_capacity(head.size);
        out.extend_from_slice(&bytes[..levels]);
        self.decompressor
            .decompress(&bytes[levels..], head.size - levels, &mut out)
            .ok_or_else(|| self.place.broken("a page cannot be decompressed"))?;
        Ok(Bytes::from(out))
    }
}

/// The lengths of a dictionary's texts; each text follows its length.
fn lengths(mut dictionary: &[u8]) -> Vec<u32> {
    let mut lengths = Vec::new();
    while let Some((length, rest)) = dictionary.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length).min(rest.len() as u32);
        lengths.push(length);
        dictionary = rest.get(length as usize..).unwrap_or_default();
    }
    lengths
}

impl Iterator for ChunkPages {
    type Item = PageResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for ChunkPages {
    fn get_next_page(&mut self) -> PageResult<Option<Page>> {
        if let Some(dictionary) = self.dictionary.take() {
            return Ok(Some(dictionary));
        }
        self.page().map_err(|error| self.first_error.lay_aside(error))
    }

    fn peek_next_page(&mut self) -> PageResult<Option<PageMetadata>> {
        if self.dictionary.is_some() {
            return Ok(Some(PageMetadata { num_rows: None, num_levels: None, is_dict: true }));
        }
        let first_error = self.first_error.clone();
        let head = self.peek().map_err(|error| first_error.lay_aside(error))?;
        Ok(head.map(PageHeader::metadata))
    }

    fn skip_next_page(&mut self) -> PageResult<()> {
        if self.dictionary.take().is_some() {
            return Ok(());
        }
        self.pass().map_err(|error| self.first_error.lay_aside(error))
    }
}
