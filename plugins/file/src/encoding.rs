//! How rows become bytes for a writer: format, dialect and compression, settled by the options
//! and the target's name.

use std::path::Path;

use arrow_array::RecordBatch;
use transload_formats::{
    BinaryText, Compression, CsvDialect, CsvEncoder, Encoder, JsonEncoder, JsonShape,
};
use transload_plugin_api::{Column, Error, ErrorKind, Result, schema_of};

use crate::{
    format::{FileName, Format},
    options::WriterOptions,
};

/// A writer's format.
#[derive(Clone, Debug)]
pub(crate) struct Encoding {
    format: Format,
    compression: Compression,
    dialect: CsvDialect,
    binary: BinaryText,
    extension: String,
}

impl Encoding {
    /// The options' format, or the one that the target's name says.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if neither says one.
    pub(crate) fn new(options: &WriterOptions, target: &Path) -> Result<Self> {
        let name = FileName::of(target);
        let format = name.format(options.format)?;
        let compression = options.compression.or(|| Ok(name.compression))?;
        let dialect = options.dialect(name.is_tsv())?;
        let packed = match compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        };
        let extension = format!("{}{packed}", format.extension());
        Ok(Self { format, compression, dialect, binary: options.binary, extension })
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    pub(crate) fn dialect(&self) -> &CsvDialect {
        &self.dialect
    }

    /// `csv.gz`.
    pub(crate) fn extension(&self) -> &str {
        &self.extension
    }

    /// An encoder for rows of these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a type that the format cannot hold.
    pub(crate) fn encoder(&self, columns: &[Column]) -> Result<Box<dyn Encoder>> {
        Ok(match self.format {
            Format::Csv => Box::new(CsvEncoder::new(&self.dialect, columns, self.binary)?),
            Format::Jsonl => Box::new(JsonEncoder::new(JsonShape::Lines, columns, self.binary)),
            Format::Json => Box::new(JsonEncoder::new(JsonShape::Array, columns, self.binary)),
        })
    }

    /// Refuses columns of types that the format cannot hold.
    pub(crate) fn check_columns(&self, columns: &[Column]) -> Result<()> {
        let nothing = RecordBatch::new_empty(schema_of(columns));
        self.encoder(columns)?.encode(&nothing, &mut Vec::new())
    }

    /// What stands between the rows of two parts.
    pub(crate) fn separator(&self) -> &'static [u8] {
        if self.format == Format::Json { b"," } else { b"" }
    }

    /// Bytes as they are stored.
    pub(crate) fn pack(&self, text: &[u8]) -> Result<Vec<u8>> {
        use std::io::Write;
        let mut stream = self.compression.writer(Vec::new())?;
        stream.write_all(text)?;
        Ok(stream.finish()?)
    }

    /// Refuses a format whose files cannot be added to.
    pub(crate) fn check_append(&self) -> Result<()> {
        if self.format != Format::Json {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "rows cannot be added to a JSON array")
            .hint("use `format = \"jsonl\"`, or `write_mode = \"overwrite\"`"))
    }
}
