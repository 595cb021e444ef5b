//! Encodes rows as bytes for a writer: format, dialect and compression, chosen by the options and
//! the target's name.

use std::io::Write;

use arrow_array::RecordBatch;
use transload_plugin_api::{Column, Error, Result, schema_of};
use transload_values::Forms;

use crate::{
    BinaryText, Compression, CsvDialect, CsvEncoder, Encoder, FileName, Format, JsonEncoder,
    JsonShape, LineEncoder, ParquetEncoder, ParquetOptions, WriteOptions, parquet::in_parquet,
};

/// A writer's format.
#[derive(Clone, Debug)]
pub struct Encoding {
    format: Format,
    compression: Compression,
    dialect: CsvDialect,
    forms: Forms,
    binary: BinaryText,
    parquet: ParquetOptions,
    extension: String,
}

impl Encoding {
    /// The format in the options, or the one that the target's name implies.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if neither determines a format.
    pub fn new(options: &WriteOptions, target: &str) -> Result<Self> {
        let name = FileName::of(target);
        let format = name.format(options.format)?;
        let compression = match format {
            // Parquet compresses its own pages.
            Format::Parquet => Compression::None,
            _ => options.compression.or(|| Ok(name.compression()))?,
        };
        let parquet = options.parquet()?;
        let (dialect, forms) = (options.dialect(name.is_tsv())?, options.forms()?);
        let extension = format!("{}{}", format.extension(), compression.extension());
        Ok(Self { format, compression, dialect, forms, binary: options.binary, parquet, extension })
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The compression to apply to the encoder's bytes.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The CSV dialect.
    pub fn dialect(&self) -> &CsvDialect {
        &self.dialect
    }

    /// The same encoding, with Parquet's row groups ended at this many bytes.
    #[must_use]
    pub fn with_row_group_bytes(mut self, bytes: usize) -> Self {
        self.parquet.row_group_bytes = bytes;
        self
    }

    /// The extension of new files, such as `csv.gz`.
    pub fn extension(&self) -> &str {
        &self.extension
    }

    /// An encoder for rows of these columns.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Unsupported`] for a type that the format cannot hold.
    pub fn encoder(&self, columns: &[Column]) -> Result<Box<dyn Encoder>> {
        Ok(match self.format {
            Format::Csv => Box::new(self.csv(columns)?),
            Format::Jsonl => Box::new(self.json(JsonShape::Lines, columns)),
            Format::Json => Box::new(self.json(JsonShape::Array, columns)),
            Format::Parquet => Box::new(ParquetEncoder::new(&self.parquet, columns)?),
        })
    }

    /// An encoder whose rows can be divided among files; `None` if the format has no such rows.
    ///
    /// # Errors
    /// As [`Encoding::encoder`].
    pub fn line_encoder(&self, columns: &[Column]) -> Result<Option<Box<dyn LineEncoder>>> {
        Ok(match self.format {
            Format::Csv => Some(Box::new(self.csv(columns)?)),
            Format::Jsonl => Some(Box::new(self.json(JsonShape::Lines, columns))),
            Format::Json | Format::Parquet => None,
        })
    }

    fn csv(&self, columns: &[Column]) -> Result<CsvEncoder> {
        let encoder = CsvEncoder::new(&self.dialect, columns, self.binary)?;
        Ok(encoder.with_forms(self.forms.clone()))
    }

    fn json(&self, shape: JsonShape, columns: &[Column]) -> JsonEncoder {
        let encoder = JsonEncoder::new(shape, columns, self.binary).with_forms(&self.forms);
        encoder.max_record(self.dialect.max_record)
    }

    /// The columns, with their types in the words of the format, if it has types.
    ///
    /// # Errors
    /// As [`Encoding::encoder`].
    pub fn native_types(&self, columns: &[Column]) -> Result<Vec<Column>> {
        match self.format {
            Format::Parquet => in_parquet(columns),
            Format::Csv | Format::Jsonl | Format::Json => Ok(columns.to_vec()),
        }
    }

    /// Refuses columns of types that the format cannot hold.
    ///
    /// # Errors
    /// As [`Encoding::encoder`].
    pub fn check_columns(&self, columns: &[Column]) -> Result<()> {
        let nothing = RecordBatch::new_empty(schema_of(columns));
        self.encoder(columns)?.encode(&nothing, &mut Vec::new())
    }

    /// The separator between the rows of two parts.
    pub fn separator(&self) -> &'static [u8] {
        if self.format == Format::Json { b"," } else { b"" }
    }

    /// Bytes as they are stored: compressed.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Other`] if the compressor fails.
    pub fn pack(&self, text: &[u8]) -> Result<Vec<u8>> {
        let mut stream = self.compression.writer(Vec::new())?;
        stream.write_all(text)?;
        Ok(stream.finish()?)
    }

    /// Refuses a format whose files cannot be appended to.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Unsupported`] for such a format.
    pub fn check_append(&self) -> Result<()> {
        if self.format != Format::Json {
            return Ok(());
        }
        Err(Error::unsupported("rows cannot be appended to a JSON array")
            .hint("use `format = \"jsonl\"`, or `write_mode = \"overwrite\"`"))
    }
}
