//! Whether rows can be added to a file: it must be compressed as the writer compresses, and its
//! header, or Parquet's footer, must name the job's columns in their order.

use std::{
    fs::File,
    io::{Read, Take},
    path::Path,
};

use transload_formats::{Compression, CsvHead, Encoding, Format};
use transload_plugin_api::{Column, Error, Result};

use super::{durable::at, join::parquet_at};

/// Refuses a file to which rows of these columns cannot be added.
///
/// # Errors
/// [`ErrorKind::Schema`] with what the file has and what the job has.
pub(super) fn check(path: &Path, encoding: &Encoding, columns: &[Column]) -> Result<()> {
    if encoding.format() == Format::Parquet {
        return check_parquet(path, columns);
    }
    let (found, wanted) = (compression_of(path)?, encoding.compression());
    if found != wanted {
        let (found, wanted) = (found.word(), wanted.word());
        let message = format!("the file's compression is {found}, the job's is {wanted}");
        return Err(Error::schema(message).at(path.display().to_string()));
    }
    if encoding.format() != Format::Csv || !encoding.dialect().header {
        return Ok(());
    }
    let head = read_head(path, encoding).map_err(|error| error.at(path.display().to_string()))?;
    let wanted: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    if head.names == wanted {
        return Ok(());
    }
    let (found, wanted) = (head.names.join(","), wanted.join(","));
    let message = format!("the file's header is `{found}`, the job's columns are `{wanted}`");
    Err(Error::schema(message)
        .at(path.display().to_string())
        .hint("order and rename the job's columns as the file has them, or write to a new file"))
}

fn check_parquet(path: &Path, columns: &[Column]) -> Result<()> {
    let words = |columns: &[Column]| {
        let word = |column: &Column| format!("{} {}", column.name, column.logical);
        columns.iter().map(word).collect::<Vec<_>>().join(", ")
    };
    let (found, wanted) = (words(parquet_at(path)?.columns()), words(columns));
    if found == wanted {
        return Ok(());
    }
    let message = format!("the file's columns are `{found}`, the job's are `{wanted}`");
    Err(Error::schema(message).at(path.display().to_string()).hint(
        "order, rename and convert the job's columns as the file has them, or write to a new file",
    ))
}

fn read_head(path: &Path, encoding: &Encoding) -> Result<CsvHead> {
    let file = File::open(path).map_err(|error| at(error, path))?;
    let mut source = encoding.compression().reader(file)?;
    let mut bytes = Vec::new();
    loop {
        let mut block: Take<_> = source.by_ref().take(64 << 10);
        let last = block.read_to_end(&mut bytes).map_err(|error| at(error, path))? == 0;
        if let Some(head) = CsvHead::read(encoding.dialect(), &bytes, last)? {
            return Ok(head);
        }
    }
}

/// What the first bytes of a file say.
fn compression_of(path: &Path) -> Result<Compression> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(Compression::HEAD as u64).read_to_end(&mut start))
        .map_err(|error| at(error, path))?;
    Compression::detect(&start).map_err(|error| error.at(path.display().to_string()))
}
