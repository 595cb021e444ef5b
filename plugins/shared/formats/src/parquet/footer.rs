//! Reads the end of a Parquet file and returns checked metadata: nothing is decoded before its
//! counts are verified, and nothing is returned that points outside the file.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use parquet::{
    basic::Compression,
    file::metadata::{
        ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
    },
};
use transload_plugin_api::{Error, ErrorKind, Result, code};

use super::{
    broken,
    thrift::{Compact, Fault, Kind},
};
use crate::RandomAccess;

/// This much of a file's end is fetched at once; most footers are smaller.
const TAIL: u64 = 64 << 10;
/// The largest footer that is read.
const FOOTER: u64 = 64 << 20;
/// The largest row group, compressed and uncompressed.
const ROW_GROUP: u64 = 2 << 30;
/// The number of values that a chunk of lists may have without a byte for each: a few bytes can
/// represent any number of equal values, and those of one row are decoded at once.
const LIST_VALUES: i64 = 64 << 20;
/// The deepest schema, including nested lists.
const SCHEMA_DEPTH: usize = 64;
/// The magic number at both ends of a file.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";
/// The same for a file whose footer is encrypted.
const ENCRYPTED: &[u8; 4] = b"PARE";

/// Reads and checks the footer of a file.
///
/// # Errors
/// [`ErrorKind::Data`] for a file that is damaged or not a Parquet file, [`ErrorKind::Unsupported`]
/// for one that is encrypted or compressed with an unsupported codec, and the store's own.
pub(super) fn read(file: &dyn RandomAccess) -> Result<Arc<ParquetMetaData>> {
    let bytes = fetch(file)?;
    check_counts(&bytes).map_err(|fault| at(file, fault))?;
    let metadata = ParquetMetaDataReader::decode_metadata(&bytes).map_err(|error| {
        tracing::debug!(%error, "decoding the footer failed");
        let text = "the footer is damaged: expected a schema and row groups, found other bytes";
        broken(file, text).hint("copy the file again, or write it again")
    })?;
    check(&metadata, file, file.size() - 8 - bytes.len() as u64)?;
    Ok(Arc::new(metadata))
}

/// The bytes of the footer's metadata.
fn fetch(file: &dyn RandomAccess) -> Result<Bytes> {
    if file.size() < 12 {
        let text = format!("a Parquet file has at least 12 bytes, this one has {}", file.size());
        return Err(broken(file, text));
    }
    let start = file.size().saturating_sub(TAIL);
    let tail = one(file, start..file.size())?;
    let (rest, end) = tail.split_at(tail.len() - 8);
    check_magic(file, &end[4..])?;
    let length = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    if length > FOOTER {
        return Err(broken(
            file,
            format!("the footer claims {length} bytes, the limit is {FOOTER}"),
        ));
    }
    if length + 12 > file.size() {
        let text = format!("the footer claims {length} bytes in a file of {}", file.size());
        return Err(broken(file, text));
    }
    match rest.len().checked_sub(length as usize) {
        Some(before) => Ok(tail.slice(before..rest.len())),
        None => one(file, file.size() - 8 - length..file.size() - 8),
    }
}

fn one(file: &dyn RandomAccess, range: Range<u64>) -> Result<Bytes> {
    let wanted = range.end - range.start;
    match file.range(range)? {
        bytes if bytes.len() as u64 == wanted => Ok(bytes),
        _ => Err(Error::defect("the store returned other bytes than requested").at(file.name())),
    }
}

fn check_magic(file: &dyn RandomAccess, magic: &[u8]) -> Result<()> {
    if magic == MAGIC {
        Ok(())
    } else if magic == ENCRYPTED {
        Err(encrypted(file))
    } else {
        Err(broken(file, "not a Parquet file, or its end is missing: it does not end in `PAR1`"))
    }
}

fn encrypted(file: &dyn RandomAccess) -> Error {
    Error::unsupported("encrypted Parquet files cannot be read")
        .with_code(code::PARQUET_ENCRYPTED)
        .at(file.name())
}

/// The reason why the footer is refused.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Fault(Fault),
    Encrypted,
}

impl From<Fault> for Found {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn at(file: &dyn RandomAccess, found: Found) -> Error {
    match found {
        Found::Encrypted => encrypted(file),
        Found::Fault(Fault::Short) => broken(file, "the footer is damaged: it ends too early"),
        Found::Fault(Fault::Wrong(what)) => {
            broken(file, format!("the footer is damaged: it contains {what}"))
        }
    }
}

/// Walks over the whole `FileMetaData`
/// (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>).
fn check_counts(bytes: &[u8]) -> Result<(), Found> {
    let mut walk = Compact::new(bytes);
    let mut last = 0;
    let mut types = Vec::new();
    while let Some((number, kind)) = walk.field(&mut last)? {
        match (number, kind) {
            (2, Kind::List) => types = check_schema(&mut walk)?,
            (4, Kind::List) => {
                let (count, kind) = walk.list()?;
                (0..count).try_for_each(|_| check_types(&mut walk, kind, &types))?;
            }
            (8, _) => return Err(Found::Encrypted),
            _ => walk.skip(kind)?,
        }
    }
    Ok(())
}

/// The schema is a tree, written as a list in depth-first order with the number of children. The
/// decoder allocates as many as are claimed and recurses as deep, so this is checked before.
/// Returns the types of the leaves, as numbers of the format.
fn check_schema(walk: &mut Compact<'_>) -> Result<Vec<i64>, Fault> {
    let (count, kind) = walk.list()?;
    let mut open: Vec<usize> = Vec::new();
    let mut types = Vec::new();
    for element in 0..count {
        let mut children = 0;
        let mut last = 0;
        if kind != Kind::Struct {
            return Err(Fault::Wrong("a schema without elements"));
        }
        while let Some((number, kind)) = walk.field(&mut last)? {
            match (number, kind) {
                (1, Kind::Integer) => types.push(walk.integer()?),
                (5, Kind::Integer) => children = walk.size()?,
                _ => walk.skip(kind)?,
            }
        }
        if children > count - element - 1 {
            return Err(Fault::Wrong("a schema with more children than elements"));
        }
        if children > 0 {
            open.push(children);
        } else {
            close(&mut open);
        }
        if open.len() > SCHEMA_DEPTH {
            return Err(Fault::Wrong("a schema that is nested too deeply"));
        }
    }
    Ok(types)
}

/// A row group's column chunks have the types of the schema: the decoder reads their values by the
/// schema's types and does not look at theirs.
fn check_types(walk: &mut Compact<'_>, kind: Kind, types: &[i64]) -> Result<(), Fault> {
    if kind != Kind::Struct {
        return walk.skip(kind);
    }
    let mut last = 0;
    while let Some((number, kind)) = walk.field(&mut last)? {
        if (number, kind) != (1, Kind::List) {
            walk.skip(kind)?;
            continue;
        }
        let (count, kind) = walk.list()?;
        for chunk in 0..count {
            if kind != Kind::Struct {
                return Err(Fault::Wrong("a row group without column chunks"));
            }
            if chunk_type(walk)?.is_some_and(|found| types.get(chunk) != Some(&found)) {
                return Err(Fault::Wrong("a column chunk of another type than its column"));
            }
        }
    }
    Ok(())
}

/// The type in a column chunk's metadata, if it has any.
fn chunk_type(walk: &mut Compact<'_>) -> Result<Option<i64>, Fault> {
    let (mut found, mut last) = (None, 0);
    while let Some((number, kind)) = walk.field(&mut last)? {
        if (number, kind) != (3, Kind::Struct) {
            walk.skip(kind)?;
            continue;
        }
        let mut last = 0;
        while let Some((number, kind)) = walk.field(&mut last)? {
            match (number, kind) {
                (1, Kind::Integer) => found = Some(walk.integer()?),
                _ => walk.skip(kind)?,
            }
        }
    }
    Ok(found)
}

/// Counts one complete child, which may complete its parents.
fn close(open: &mut Vec<usize>) {
    while let Some(left) = open.last_mut() {
        *left -= 1;
        if *left > 0 {
            return;
        }
        open.pop();
    }
}

/// Checks that the metadata fits the file, whose data ends at `end`.
fn check(metadata: &ParquetMetaData, file: &dyn RandomAccess, end: u64) -> Result<()> {
    let mut rows = 0i64;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let wrong = |text: String| broken(file, format!("row group {number}: {text}"));
        if group.num_rows() < 0 {
            return Err(wrong("it claims a negative number of rows".into()));
        }
        rows = rows.checked_add(group.num_rows()).ok_or_else(|| wrong("too many rows".into()))?;
        check_group(group, file, end).map_err(wrong_or(file, number))?;
    }
    if rows != metadata.file_metadata().num_rows() {
        let claimed = metadata.file_metadata().num_rows();
        let text = format!("the file claims {claimed} rows, its row groups have {rows}");
        return Err(broken(file, text));
    }
    Ok(())
}

/// Adds the row group to an error; errors of other kinds are kept.
fn wrong_or(file: &dyn RandomAccess, number: usize) -> impl Fn(Error) -> Error {
    move |error| match error.kind {
        ErrorKind::Data => broken(file, format!("row group {number}, {}", error.message)),
        _ => error.at(file.name()),
    }
}

fn check_group(group: &RowGroupMetaData, file: &dyn RandomAccess, end: u64) -> Result<()> {
    let (mut compressed, mut uncompressed) = (0u64, 0u64);
    for chunk in group.columns() {
        let name = chunk.column_path().string();
        let wrong = |text: &str| broken(file, format!("column `{name}`: {text}"));
        check_codec(chunk)?;
        let range =
            range(chunk).ok_or_else(|| wrong("its offset or size in the file is negative"))?;
        // some writers give no offset to what they did not write
        let is_nowhere = chunk.num_values() == 0 && range.start == 0;
        let outside = range.start < MAGIC.len() as u64 || range.end > end;
        if (outside && !is_nowhere) || chunk.file_path().is_some() {
            return Err(wrong("it points outside the file"));
        }
        if chunk.num_values() < 0
            || chunk.uncompressed_size() < 0
            || (range.is_empty() && group.num_rows() > 0)
            || (chunk.column_descr().max_rep_level() == 0 && chunk.num_values() != group.num_rows())
        {
            return Err(wrong("its size contradicts that of the row group"));
        }
        if chunk.column_descr().max_rep_level() > 0
            && chunk.num_values() > chunk.uncompressed_size().max(LIST_VALUES)
        {
            let (values, bytes) = (chunk.num_values(), chunk.uncompressed_size());
            return Err(wrong(&format!("its lists claim {values} values in {bytes} bytes")));
        }
        compressed = compressed.saturating_add(range.end - range.start);
        uncompressed = uncompressed.saturating_add(chunk.uncompressed_size() as u64);
    }
    if compressed > ROW_GROUP || uncompressed > ROW_GROUP {
        let size = compressed.max(uncompressed);
        return Err(Error::unsupported(format!(
            "a row group has {size} bytes, the limit is {ROW_GROUP}"
        ))
        .with_code(code::PARQUET_LIMIT)
        .hint("write the file again with smaller row groups"));
    }
    Ok(())
}

fn check_codec(chunk: &ColumnChunkMetaData) -> Result<()> {
    let name = match chunk.compression() {
        Compression::BROTLI(_) => "brotli",
        Compression::LZO => "lzo",
        _ => return Ok(()),
    };
    let text = format!("Parquet files compressed with `{name}` cannot be read");
    Err(Error::unsupported(text)
        .with_code(code::PARQUET_COMPRESSION)
        .hint("write the file again with zstd, snappy, gzip or lz4"))
}

/// The byte range of a column chunk. Some writers store offset 0 for a dictionary, or for data
/// pages, that they did not write.
pub(super) fn range(chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let data = chunk.data_page_offset();
    let start = match chunk.dictionary_page_offset() {
        Some(dictionary) if dictionary > 0 && (dictionary < data || data == 0) => dictionary,
        _ => data,
    };
    let start = u64::try_from(start).ok()?;
    let end = start.checked_add(u64::try_from(chunk.compressed_size()).ok()?)?;
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(children: &[u8]) -> Vec<u8> {
        // FileMetaData { 2: list of SchemaElement { 5: children } }
        let mut out = vec![0x29, (children.len() as u8) << 4 | 0x0C];
        for count in children {
            out.extend([0x55, count << 1, 0]);
        }
        out.push(0);
        out
    }

    #[test]
    fn schemas_that_claim_too_much_are_refused() {
        assert_eq!(check_counts(&schema(&[2, 0, 1, 0])), Ok(()));
        let claims = check_counts(&schema(&[50, 0]));
        assert_eq!(
            claims,
            Err(Found::Fault(Fault::Wrong("a schema with more children than elements")))
        );
    }

    #[test]
    fn chunks_have_the_types_of_their_columns() {
        // FileMetaData { 2: [{}, { 1: INT64 }], 4: [{ 1: [{ 3: { 1: type } }] }] }
        let footer = |found: u8| {
            let mut out = schema(&[1]);
            out.pop();
            out[0] = 0x29;
            out[1] = 0x2C;
            out.extend([0x15, 4, 0]);
            out.extend([0x29, 0x1C, 0x19, 0x1C, 0x3C, 0x15, found << 1, 0, 0, 0, 0]);
            out
        };
        assert_eq!(check_counts(&footer(2)), Ok(()));
        let other = Fault::Wrong("a column chunk of another type than its column");
        assert_eq!(check_counts(&footer(0)), Err(Found::Fault(other)));
    }

    #[test]
    fn encryption_is_told_by_the_footer() {
        let footer = [0x15, 2, 0x7C, 0, 0];
        assert_eq!(check_counts(&footer), Err(Found::Encrypted));
    }
}
