//! The options of formats, each declared once: descriptors, defaults and the reference come from the
//! lists of `read_specs`, `write_specs` and `shared_specs`, which has what both have; the structs here
//! are the parsed options. A plugin adds the lists to its own.

mod read_specs;
mod shared_specs;
mod write_specs;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use transload_plugin_api::{Column, Error, Options, Result};
use transload_values::{ColumnForm, Forms};

pub use self::{read_specs::read_specs, write_specs::write_specs};
use crate::{
    BinaryText, CellWords, Charset, Compression, CsvDialect, CsvSaid, Format, FormatChoice,
    Invalid, NestedChoice, Nesting, ParquetCompression, ParquetOptions, ParquetStatistics,
    UnknownKeys, forms::FormOptions,
};

/// The compression that a job sets for its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionChoice {
    /// Detected from the first bytes; for a writer, from the name.
    Auto,
    /// [`Compression::None`].
    None,
    /// [`Compression::Gzip`].
    Gzip,
    /// [`Compression::Zstd`].
    Zstd,
    /// [`Compression::Bzip2`].
    Bzip2,
    /// [`Compression::Lz4`].
    Lz4,
    /// [`Compression::Snappy`].
    Snappy,
}

const COMPRESSIONS: [&str; 7] = ["auto", "none", "gzip", "zstd", "bzip2", "lz4", "snappy"];

impl CompressionChoice {
    /// The chosen compression, or the one that `auto` returns.
    ///
    /// # Errors
    /// Those of `auto`.
    pub fn or(self, auto: impl FnOnce() -> Result<Compression>) -> Result<Compression> {
        Ok(match self {
            Self::Auto => return auto(),
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Zstd => Compression::Zstd,
            Self::Bzip2 => Compression::Bzip2,
            Self::Lz4 => Compression::Lz4,
            Self::Snappy => Compression::Snappy,
        })
    }
}

/// How files are read.
#[derive(Clone, Debug, Deserialize)]
pub struct ReadOptions {
    /// The format of the files.
    pub format: FormatChoice,
    /// How text files are compressed.
    pub compression: CompressionChoice,
    /// The encoding of text files; none: UTF-8, or UTF-16 where a byte order mark says it.
    pub encoding: Option<Charset>,
    /// How bytes that are not UTF-8 are read.
    pub invalid: Invalid,
    /// Number of rows from which types are inferred, over all files.
    pub sample_rows: usize,
    /// The most bytes that a compressed file may become; by default, the ratio is limited.
    pub max_decompressed: Option<u64>,
    /// The columns that the job reads, if it names them.
    #[serde(skip)]
    pub columns: Option<Vec<String>>,
    /// The largest record of a text file and the largest value of a Parquet file, in bytes.
    pub max_record: usize,
    on_unsupported: String,
    nested: NestedChoice,
    /// The columns that the job declares.
    #[serde(skip)]
    declared: Vec<String>,
    skip_lines: u64,
    true_words: Vec<String>,
    false_words: Vec<String>,
    binary: BinaryText,
    unknown_keys: String,
    delimiter: Option<String>,
    quote: Option<String>,
    escape: String,
    header: Option<bool>,
    null: Vec<String>,
    comment: String,
    ragged: String,
    column_null: BTreeMap<String, String>,
    #[serde(flatten)]
    form_options: FormOptions,
    #[serde(skip)]
    forms: Forms,
    #[serde(skip)]
    column_forms: BTreeMap<String, ColumnForm>,
}

/// How files are written.
#[derive(Clone, Debug, Deserialize)]
pub struct WriteOptions {
    pub(crate) format: FormatChoice,
    pub(crate) compression: CompressionChoice,
    pub(crate) binary: BinaryText,
    max_record: usize,
    delimiter: Option<String>,
    quote: String,
    escape: String,
    header: bool,
    null: String,
    compression_level: Option<i32>,
    row_group_rows: usize,
    dictionary: bool,
    statistics: ParquetStatistics,
    page_checksums: bool,
    page_bytes: usize,
    #[serde(flatten)]
    form_options: FormOptions,
}

impl ReadOptions {
    /// Parses the options of a job; options of others are ignored.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for options that are missing, malformed or contradictory.
    pub fn parse(options: &Options) -> Result<Self> {
        let columns = options.columns.clone();
        let declared = options.schema.iter().map(|column| column.name.clone()).collect();
        let mut options = Self { columns, declared, ..options.parse(&read_specs())? };
        options.dialect(false)?;
        options.forms = options.form_options.forms()?;
        options.column_forms = options.form_options.columns()?;
        Ok(options)
    }

    /// The words for values in text.
    pub fn words(&self) -> CellWords {
        CellWords {
            yes: self.true_words.clone(),
            no: self.false_words.clone(),
            binary: self.binary,
            forms: self.forms.clone(),
            columns: self.column_forms.clone(),
        }
    }

    /// The options that say how values are written, where that is not the usual form.
    pub fn texts(&self) -> Map<String, Value> {
        let (words, mut texts) = (CellWords::default(), self.form_options.said());
        for (name, given, usual) in [
            ("true_words", &self.true_words, &words.yes),
            ("false_words", &self.false_words, &words.no),
        ] {
            if given != usual {
                texts.insert(name.to_owned(), serde_json::json!(given));
            }
        }
        if self.binary != words.binary {
            texts.insert("binary".to_owned(), "base64".into());
        }
        texts
    }

    /// Whether the text is exactly the decompressed bytes, unless a byte order mark says another
    /// encoding.
    pub fn is_utf8(&self) -> bool {
        self.is_utf8_in(self.encoding.unwrap_or_default())
    }

    /// Whether the text of a file in this encoding is exactly the decompressed bytes.
    pub fn is_utf8_in(&self, encoding: Charset) -> bool {
        (encoding, self.invalid) == (Charset::Utf8, Invalid::Dirty)
    }

    /// The encoding of a file whose text begins with these bytes, two or more of them.
    pub fn encoding_of(&self, start: &[u8]) -> Charset {
        let marked = start.starts_with(b"\xFF\xFE") || start.starts_with(b"\xFE\xFF");
        self.encoding.unwrap_or(if marked { Charset::Utf16 } else { Charset::Utf8 })
    }

    /// What happens to JSON keys that were not in the sample. A job that names its columns leaves
    /// all others out.
    pub fn unknown_keys(&self) -> UnknownKeys {
        match self.unknown_keys.as_str() {
            "ignore" => UnknownKeys::Ignore,
            "auto" if self.columns.is_some() => UnknownKeys::Ignore,
            _ => UnknownKeys::Dirty,
        }
    }

    /// Whether Parquet columns that cannot be read are left out.
    pub fn skips_unsupported(&self) -> bool {
        self.on_unsupported == "skip"
    }

    /// How nested values of these files are read. A struct that the job declares as a column is one.
    pub fn nesting(&self, format: Format) -> Nesting {
        Nesting { nested: self.nested.of(format), whole: self.declared.clone() }
    }

    /// What the job says of the CSV dialect; `tabs` for files whose name implies a tab as
    /// delimiter. `columns` are the names that the job declares.
    pub fn said(&self, tabs: bool, columns: &[Column]) -> CsvSaid {
        let declared = columns.iter().map(|column| column.name.clone());
        CsvSaid {
            delimiter: self.delimiter.is_some() || tabs,
            quote: self.quote.is_some(),
            escape: !self.escape.is_empty(),
            header: self.header.is_some(),
            columns: declared.chain(self.columns.iter().flatten().cloned()).collect(),
        }
    }

    /// The CSV dialect, with defaults for what the job does not say; `tabs` as above.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if its options are not compatible.
    pub fn dialect(&self, tabs: bool) -> Result<CsvDialect> {
        let usual = CsvDialect::default();
        dialect_of(&[
            ("delimiter", delimiter(self.delimiter.as_deref(), tabs).into()),
            ("quote", self.quote.clone().unwrap_or_else(|| character(usual.quote)).into()),
            ("escape", self.escape.as_str().into()),
            ("header", self.header.unwrap_or(usual.header).into()),
            ("null", self.null.first().cloned().unwrap_or_default().into()),
            ("other_nulls", self.null.get(1..).unwrap_or_default().into()),
            ("column_null", serde_json::json!(self.column_null)),
            ("skip_lines", self.skip_lines.into()),
            ("max_record", self.max_record.into()),
            ("comment", self.comment.as_str().into()),
            ("ragged", self.ragged.as_str().into()),
        ])
    }
}

impl WriteOptions {
    /// As [`ReadOptions::parse`].
    ///
    /// # Errors
    /// As [`ReadOptions::parse`].
    pub fn parse(options: &Options) -> Result<Self> {
        let options: Self = options.parse(&write_specs())?;
        options.dialect(false)?;
        options.forms()?;
        Ok(options)
    }

    /// How Parquet is written.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for a compression that Parquet does not support.
    pub(crate) fn parquet(&self) -> Result<ParquetOptions> {
        let compression = match self.compression {
            CompressionChoice::Auto => ParquetCompression::default(),
            CompressionChoice::None => ParquetCompression::None,
            CompressionChoice::Gzip => ParquetCompression::Gzip,
            CompressionChoice::Zstd => ParquetCompression::Zstd,
            CompressionChoice::Lz4 => ParquetCompression::Lz4,
            CompressionChoice::Snappy => ParquetCompression::Snappy,
            CompressionChoice::Bzip2 if self.format != FormatChoice::Parquet => {
                ParquetCompression::default()
            }
            CompressionChoice::Bzip2 => {
                return Err(Error::options("Parquet has no `bzip2` compression")
                    .hint("use `zstd`, the default"));
            }
        };
        Ok(ParquetOptions {
            compression,
            compression_level: self.compression_level,
            row_group_rows: self.row_group_rows,
            dictionary: self.dictionary,
            statistics: self.statistics,
            page_checksums: self.page_checksums,
            page_bytes: self.page_bytes,
            max_record: self.max_record,
            ..ParquetOptions::default()
        })
    }

    /// How dates, times and numbers are written.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for a pattern that is wrong.
    pub(crate) fn forms(&self) -> Result<Forms> {
        self.form_options.forms()
    }

    /// As [`ReadOptions::dialect`].
    pub(crate) fn dialect(&self, tabs: bool) -> Result<CsvDialect> {
        dialect_of(&[
            ("delimiter", delimiter(self.delimiter.as_deref(), tabs).into()),
            ("quote", self.quote.as_str().into()),
            ("escape", self.escape.as_str().into()),
            ("header", self.header.into()),
            ("null", self.null.as_str().into()),
            ("max_record", self.max_record.into()),
        ])
    }
}

fn delimiter(given: Option<&str>, tabs: bool) -> &str {
    given.unwrap_or(if tabs { "\t" } else { "," })
}

fn dialect_of(values: &[(&str, Value)]) -> Result<CsvDialect> {
    let values: Map<_, _> =
        values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let dialect: CsvDialect =
        serde_json::from_value(values.into()).map_err(|error| Error::options(error.to_string()))?;
    dialect.check()?;
    if !(1..=LARGEST_RECORD).contains(&dialect.max_record) {
        return Err(Error::options(format!("`max_record` is {} bytes", dialect.max_record))
            .hint("choose a size from 1 byte to 1 GiB"));
    }
    Ok(dialect)
}

/// The upper bound of `max_record`: a record is held as a whole, and more than once.
const LARGEST_RECORD: usize = 1 << 30;

/// An optional byte of the dialect in the form of a job file.
fn character(byte: Option<u8>) -> String {
    byte.map(char::from).map(String::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn defaults_of_the_descriptor_are_understood() {
        let reader = ReadOptions::parse(&Options::default()).unwrap();
        assert_eq!(reader.words(), CellWords::default());
        assert_eq!(reader.dialect(false).unwrap(), CsvDialect::default());
        assert_eq!(reader.dialect(true).unwrap().delimiter, b'\t');
        let writer = WriteOptions::parse(&Options::default()).unwrap();
        assert_eq!(writer.dialect(false).unwrap(), CsvDialect::default());
    }

    #[test]
    fn naming_columns_is_consent_to_leave_others_out() {
        let unknown = |pairs: &[(&str, &str)], columns: Option<&[&str]>| {
            let columns = columns.map(|names| names.iter().map(|name| (*name).into()).collect());
            let options = Options { columns, ..Options::from_pairs(pairs.iter().copied()) };
            ReadOptions::parse(&options).unwrap().unknown_keys()
        };
        assert_eq!(unknown(&[], None), UnknownKeys::Dirty);
        assert_eq!(unknown(&[], Some(&["a"])), UnknownKeys::Ignore);
        assert_eq!(unknown(&[("unknown_keys", "dirty")], Some(&["a"])), UnknownKeys::Dirty);
        assert_eq!(unknown(&[("unknown_keys", "ignore")], None), UnknownKeys::Ignore);
    }

    #[test]
    fn one_null_or_several() {
        let dialect = |null: Value| {
            let options = Options::from_pairs([("null", null)]);
            let dialect = ReadOptions::parse(&options).unwrap().dialect(false).unwrap();
            (dialect.null, dialect.other_nulls)
        };
        assert_eq!(dialect("NULL".into()), ("NULL".to_owned(), vec![]));
        let several = serde_json::json!(["", "NULL", "\\N"]);
        assert_eq!(dialect(several), (String::new(), vec!["NULL".to_owned(), "\\N".to_owned()]));
    }

    #[test]
    fn wrong_options_are_refused() {
        for (key, value) in [
            ("delimiter", "ab"),
            ("delimiter", "\""),
            ("ragged", "pad"),
            ("format", "xml"),
            ("compression", "zip"),
            ("max_record", "2 GiB"),
        ] {
            let options = Options::from_pairs([(key, value)]);
            assert_eq!(ReadOptions::parse(&options).unwrap_err().kind, ErrorKind::Options);
        }
    }
}
