//! Whether rows may be added to a file: it must be packed as the writer packs, and its header, or
//! Parquet's footer, must name the plan's columns in their order.

use std::{io::Read, path::Path, sync::Arc};

use transload_files::{Store, open_parquet};
use transload_formats::{Compression, CsvHead, Encoding, Format, ParquetFile};
use transload_plugin_api::{Column, Error, ErrorKind, Result};

use crate::listing::{Files, at, look};

/// Refuses a file to which rows of these columns cannot be added.
///
/// # Errors
/// [`ErrorKind::Schema`] with what the file has and what the plan has.
pub(crate) fn check(path: &Path, encoding: &Encoding, columns: &[Column]) -> Result<()> {
    if encoding.format() == Format::Parquet {
        return check_parquet(path, columns);
    }
    let found = compression_of(path)?;
    if found != encoding.compression() {
        let message = format!(
            "the file's compression is {}, the job's is {}",
            found.word(),
            encoding.compression().word()
        );
        return Err(Error::new(ErrorKind::Schema, message).at(path.display().to_string()));
    }
    if encoding.format() != Format::Csv || !encoding.dialect().header {
        return Ok(());
    }
    let head = read_head(path, encoding).map_err(|error| error.at(path.display().to_string()))?;
    let wanted: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    if head.names == wanted {
        return Ok(());
    }
    let message = format!(
        "the file's header is `{}`, the job's columns are `{}`",
        head.names.join(","),
        wanted.join(",")
    );
    Err(Error::new(ErrorKind::Schema, message)
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
    Err(Error::new(ErrorKind::Schema, message).at(path.display().to_string()).hint(
        "order, rename and convert the job's columns as the file has them, or write to a new file",
    ))
}

/// The Parquet file at `path`.
pub(crate) fn parquet_at(path: &Path) -> Result<ParquetFile> {
    let Some(file) = look(path)? else {
        return Err(Error::new(ErrorKind::NotFound, "not a file").at(path.display().to_string()));
    };
    let files: Arc<dyn Store> = Arc::new(Files::default());
    open_parquet(&files, &file)
}

fn read_head(path: &Path, encoding: &Encoding) -> Result<CsvHead> {
    let file = std::fs::File::open(path).map_err(|error| at(error, path))?;
    let mut source = encoding.compression().reader(file)?;
    let mut bytes = Vec::new();
    loop {
        let read = source.by_ref().take(64 << 10).read_to_end(&mut bytes);
        let last = read.map_err(|error| at(error, path))? == 0;
        if let Some(head) = CsvHead::read(encoding.dialect(), &bytes, last)? {
            return Ok(head);
        }
    }
}

/// What the first bytes of a file say.
fn compression_of(path: &Path) -> Result<Compression> {
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(Compression::HEAD as u64).read_to_end(&mut start))
        .map_err(|error| at(error, path))?;
    Compression::detect(&start).map_err(|error| error.at(path.display().to_string()))
}
