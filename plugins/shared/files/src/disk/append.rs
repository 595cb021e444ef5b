//! Whether rows can be added to a file: it must be compressed as the writer compresses, and its
//! header, or Parquet's footer, must name the job's columns in their order.

use std::io::{Read, Take};

use transload_formats::{Compression, CsvHead, Encoding, Format};
use transload_plugin_api::{Column, Error, Result};

use super::{DiskUploads, error_at, join::parquet_at};

/// Refuses a file to which rows of these columns cannot be added.
///
/// # Errors
/// [`ErrorKind::Schema`] with what the file has and what the job has.
pub(super) fn check(
    disk: &DiskUploads,
    key: &str,
    encoding: &Encoding,
    columns: &[Column],
) -> Result<()> {
    if encoding.format() == Format::Parquet {
        return check_parquet(disk, key, columns);
    }
    let place = disk.path(key).display().to_string();
    let (found, wanted) = (compression_of(disk, key)?, encoding.compression());
    if found != wanted {
        let (found, wanted) = (found.word(), wanted.word());
        let message = format!("the file's compression is {found}, the job's is {wanted}");
        return Err(Error::schema(message).at(place));
    }
    if encoding.format() != Format::Csv || !encoding.dialect().header {
        return Ok(());
    }
    let head = read_head(disk, key, encoding).map_err(|error| error.at(&place))?;
    let wanted: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    if head.names == wanted {
        return Ok(());
    }
    let (found, wanted) = (head.names.join(","), wanted.join(","));
    let message = format!("the file's header is `{found}`, the job's columns are `{wanted}`");
    Err(Error::schema(message)
        .at(place)
        .hint("order and rename the job's columns as the file has them, or write to a new file"))
}

fn check_parquet(disk: &DiskUploads, key: &str, columns: &[Column]) -> Result<()> {
    let words = |columns: &[Column]| {
        let word = |column: &Column| format!("{} {}", column.name, column.logical);
        columns.iter().map(word).collect::<Vec<_>>().join(", ")
    };
    let (found, wanted) = (words(parquet_at(disk, key)?.columns()), words(columns));
    if found == wanted {
        return Ok(());
    }
    let message = format!("the file's columns are `{found}`, the job's are `{wanted}`");
    Err(Error::schema(message).at(disk.path(key).display().to_string()).hint(
        "order, rename and convert the job's columns as the file has them, or write to a new file",
    ))
}

fn read_head(disk: &DiskUploads, key: &str, encoding: &Encoding) -> Result<CsvHead> {
    let path = disk.path(key);
    let mut source = encoding.compression().reader(disk.read(key)?)?;
    let mut bytes = Vec::new();
    loop {
        let mut block: Take<_> = source.by_ref().take(64 << 10);
        let last = block.read_to_end(&mut bytes).map_err(|error| error_at(error, &path))? == 0;
        if let Some(head) = CsvHead::read(encoding.dialect(), &bytes, last)? {
            return Ok(head);
        }
    }
}

/// What the first bytes of a file say.
fn compression_of(disk: &DiskUploads, key: &str) -> Result<Compression> {
    let (path, mut start) = (disk.path(key), Vec::new());
    let head = disk.read(key)?.take(Compression::HEAD as u64).read_to_end(&mut start);
    head.map_err(|error| error_at(error, &path))?;
    Compression::detect(&start).map_err(|error| error.at(path.display().to_string()))
}
