//! How rows become bytes for a writer: format, dialect and compression, settled by the options
//! and the target's name.

use std::io::Write;

use arrow_array::RecordBatch;
use transload_plugin_api::{Column, Error, ErrorKind, Result, schema_of};

use crate::{
    BinaryText, Compression, CsvDialect, CsvEncoder, Encoder, FileName, Format, JsonEncoder,
    JsonShape, ParquetEncoder, ParquetOptions, WriteOptions,
};

/// A writer's format.
#[derive(Clone, Debug)]
pub struct Encoding {
    format: Format,
    compression: Compression,
    dialect: CsvDialect,
    binary: BinaryText,
    parquet: ParquetOptions,
    extension: String,
}

impl Encoding {
    /// The options' format, or the one that the target's name says.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if neither says one.
    pub fn new(options: &WriteOptions, target: &str) -> Result<Self> {
        let name = FileName::of(target);
        let format = name.format(options.format)?;
        let compression = match format {
            // Parquet compresses its pages by itself.
            Format::Parquet => Compression::None,
            _ => options.compression.or(|| Ok(name.compression()))?,
        };
        let parquet = options.parquet()?;
        let dialect = options.dialect(name.is_tsv())?;
        let extension = format!("{}{}", format.extension(), compression.extension());
        Ok(Self { format, compression, dialect, binary: options.binary, parquet, extension })
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What the encoder's bytes have to be compressed with.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// CSV's dialect.
    pub fn dialect(&self) -> &CsvDialect {
        &self.dialect
    }

    /// What new files' names end with: `csv.gz`.
    pub fn extension(&self) -> &str {
        &self.extension
    }

    /// An encoder for rows of these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a type that the format cannot hold.
    pub fn encoder(&self, columns: &[Column]) -> Result<Box<dyn Encoder>> {
        Ok(match self.format {
            Format::Csv => Box::new(CsvEncoder::new(&self.dialect, columns, self.binary)?),
            Format::Jsonl => Box::new(JsonEncoder::new(JsonShape::Lines, columns, self.binary)),
            Format::Json => Box::new(JsonEncoder::new(JsonShape::Array, columns, self.binary)),
            Format::Parquet => Box::new(ParquetEncoder::new(&self.parquet, columns)?),
        })
    }

    /// Refuses columns of types that the format cannot hold.
    ///
    /// # Errors
    /// As [`Encoding::encoder`].
    pub fn check_columns(&self, columns: &[Column]) -> Result<()> {
        let nothing = RecordBatch::new_empty(schema_of(columns));
        self.encoder(columns)?.encode(&nothing, &mut Vec::new())
    }

    /// What stands between the rows of two parts.
    pub fn separator(&self) -> &'static [u8] {
        if self.format == Format::Json { b"," } else { b"" }
    }

    /// Bytes as they are stored.
    ///
    /// # Errors
    /// [`ErrorKind::Other`] if the compressor fails.
    pub fn pack(&self, text: &[u8]) -> Result<Vec<u8>> {
        let mut stream = self.compression.writer(Vec::new())?;
        stream.write_all(text)?;
        Ok(stream.finish()?)
    }

    /// Refuses a format whose files cannot be added to.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for it.
    pub fn check_append(&self) -> Result<()> {
        if self.format != Format::Json {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "rows cannot be added to a JSON array")
            .hint("use `format = \"jsonl\"`, or `write_mode = \"overwrite\"`"))
    }
}
