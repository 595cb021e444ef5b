//! The plugin's options, each described once: the descriptor, the defaults and the reference come
//! from the lists here, and the structs below are what the rest of the plugin sees.

use serde::Deserialize;
use serde_json::{Map, Value};
use transload_formats::{
    BinaryText, CellWords, Charset, Compression, CsvDialect, Invalid, UnknownKeys,
};
use transload_plugin_api::{Error, ErrorKind, OptionKind, OptionSpec, Options, Result};

/// Which format a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatChoice {
    Auto,
    Csv,
    Jsonl,
    Json,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CompressionChoice {
    Auto,
    None,
    Gzip,
    Zstd,
}

impl CompressionChoice {
    /// The compression chosen, or else the one that `auto` finds.
    pub(crate) fn or(self, auto: impl FnOnce() -> Result<Compression>) -> Result<Compression> {
        match self {
            Self::Auto => auto(),
            Self::None => Ok(Compression::None),
            Self::Gzip => Ok(Compression::Gzip),
            Self::Zstd => Ok(Compression::Zstd),
        }
    }
}

/// What the writer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    Auto,
    File,
    Folder,
}

/// What an insert does if there is something already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IfExists {
    Error,
    Append,
}

/// A reader's options.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    pub(crate) path: Vec<String>,
    pub(crate) format: FormatChoice,
    pub(crate) compression: CompressionChoice,
    pub(crate) encoding: Charset,
    pub(crate) invalid: Invalid,
    pub(crate) sample_rows: usize,
    true_words: Vec<String>,
    false_words: Vec<String>,
    pub(crate) binary: BinaryText,
    unknown_keys: String,
    delimiter: Option<String>,
    quote: String,
    escape: String,
    header: bool,
    null: String,
    comment: String,
    ragged: String,
}

/// A writer's options.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    pub(crate) path: String,
    pub(crate) layout: Layout,
    pub(crate) if_exists: IfExists,
    pub(crate) format: FormatChoice,
    pub(crate) compression: CompressionChoice,
    pub(crate) binary: BinaryText,
    delimiter: Option<String>,
    quote: String,
    escape: String,
    header: bool,
    null: String,
}

impl ReaderOptions {
    /// Options as a job gave them.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for what is missing, of the wrong shape or contradictory.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let options: Self = with_defaults(options, &reader_specs()).parse()?;
        if options.path.is_empty() {
            return Err(Error::new(ErrorKind::Options, "`path` is an empty list"));
        }
        options.dialect(false)?;
        Ok(options)
    }

    /// What texts mean.
    pub(crate) fn words(&self) -> CellWords {
        CellWords {
            yes: self.true_words.clone(),
            no: self.false_words.clone(),
            binary: self.binary,
        }
    }

    pub(crate) fn unknown_keys(&self) -> UnknownKeys {
        if self.unknown_keys == "dirty" { UnknownKeys::Dirty } else { UnknownKeys::Ignore }
    }

    /// The CSV dialect; `tabs` for files whose name says that a tab is the delimiter.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if its options do not go together.
    pub(crate) fn dialect(&self, tabs: bool) -> Result<CsvDialect> {
        dialect_of(&[
            ("delimiter", delimiter(self.delimiter.as_deref(), tabs).into()),
            ("quote", self.quote.as_str().into()),
            ("escape", self.escape.as_str().into()),
            ("header", self.header.into()),
            ("null", self.null.as_str().into()),
            ("comment", self.comment.as_str().into()),
            ("ragged", self.ragged.as_str().into()),
        ])
    }
}

impl WriterOptions {
    /// Options as a job gave them.
    ///
    /// # Errors
    /// As [`ReaderOptions::parse`].
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let options: Self = with_defaults(options, &writer_specs()).parse()?;
        options.dialect(false)?;
        Ok(options)
    }

    /// As [`ReaderOptions::dialect`].
    pub(crate) fn dialect(&self, tabs: bool) -> Result<CsvDialect> {
        dialect_of(&[
            ("delimiter", delimiter(self.delimiter.as_deref(), tabs).into()),
            ("quote", self.quote.as_str().into()),
            ("escape", self.escape.as_str().into()),
            ("header", self.header.into()),
            ("null", self.null.as_str().into()),
        ])
    }
}

fn delimiter(given: Option<&str>, tabs: bool) -> &str {
    given.unwrap_or(if tabs { "\t" } else { "," })
}

fn dialect_of(values: &[(&str, Value)]) -> Result<CsvDialect> {
    let values: Map<_, _> =
        values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let dialect: CsvDialect = serde_json::from_value(values.into())
        .map_err(|error| Error::new(ErrorKind::Options, error.to_string()))?;
    dialect.check()?;
    Ok(dialect)
}

/// The host fills defaults in; whoever uses the plugin without a host gets the same ones.
fn with_defaults(options: &Options, specs: &[OptionSpec]) -> Options {
    let mut options = options.clone();
    for spec in specs {
        if let Some(default) = &spec.default {
            options.values.entry(&spec.key).or_insert_with(|| default.clone());
        }
    }
    options
}

fn choice(key: &str, words: &[&str], doc: &str) -> OptionSpec {
    OptionSpec::new(key, OptionKind::choice(words), doc).default(words[0])
}

/// The reader's options.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    let words = CellWords::default();
    let doc =
        "Files, folders or patterns such as `data/*.csv.gz`; a folder means its visible files";
    let mut specs = vec![
        OptionSpec::new("path", OptionKind::Paths, doc).required(),
        format_spec(),
        choice("compression", &["auto", "none", "gzip", "zstd"], "`auto` looks at the first bytes"),
        choice(
            "encoding",
            &["utf-8", "latin1", "gbk", "gb18030", "utf-16", "utf-16le", "utf-16be"],
            "The files' encoding; a UTF-8 byte order mark is skipped",
        ),
        choice(
            "invalid",
            &["dirty", "replace", "latin1"],
            "Bytes of a UTF-8 file that are not UTF-8: a dirty row, U+FFFD, or read as Latin-1",
        ),
        OptionSpec::new(
            "sample_rows",
            OptionKind::Integer { min: 1, max: 1_000_000 },
            "Rows from which types are inferred, over all files; 8 MiB at most",
        )
        .default(10_000),
        OptionSpec::new("true_words", OptionKind::List, "Words for true, in any case")
            .default(words.yes),
        OptionSpec::new("false_words", OptionKind::List, "Words for false, in any case")
            .default(words.no),
        binary_spec(),
        choice(
            "unknown_keys",
            &["ignore", "dirty"],
            "JSON: what happens to keys that were not in the sample",
        ),
    ];
    specs.extend(dialect_specs());
    specs.push(
        OptionSpec::new("comment", OptionKind::Text, "CSV: lines that begin with it are skipped")
            .default(""),
    );
    specs.push(choice(
        "ragged",
        &["dirty", "error"],
        "CSV: what a row with too few or too many cells is",
    ));
    specs
}

/// The writer's options.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    let doc = "A file, or a folder (with a final `/`) that gets one file a task";
    let mut specs = vec![
        OptionSpec::new("path", OptionKind::Path, doc).required(),
        choice(
            "layout",
            &["auto", "file", "folder"],
            "`auto`: a folder if one exists there or the path ends in `/`",
        ),
        choice(
            "if_exists",
            &["error", "append"],
            "What `insert` does if the file or data set exists: refuse, or add rows to it",
        ),
        format_spec(),
        choice("compression", &["auto", "none", "gzip", "zstd"], "`auto` goes by `.gz` and `.zst`"),
        binary_spec(),
    ];
    specs.extend(dialect_specs());
    specs
}

fn format_spec() -> OptionSpec {
    choice("format", &["auto", "csv", "jsonl", "json"], "`auto` goes by the file's extension")
}

fn binary_spec() -> OptionSpec {
    choice("binary", &["hex", "base64"], "How binary values are written")
}

fn dialect_specs() -> Vec<OptionSpec> {
    let text = |key, doc| OptionSpec::new(key, OptionKind::Text, doc);
    vec![
        text("delimiter", "CSV: between cells, `tab` for a tab; `,` if not given, a tab in .tsv"),
        text("quote", "CSV: around cells with special characters; empty for none").default("\""),
        text("escape", "CSV: makes the character behind it text; empty: quotes are doubled")
            .default(""),
        OptionSpec::new("header", OptionKind::Boolean, "CSV: the first record names the columns")
            .default(true),
        text("null", "CSV: the unquoted cell that is NULL; `\"\"` is always an empty text")
            .default(""),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_the_descriptor_are_understood() {
        let reader =
            ReaderOptions::parse(&Options::from_pairs([("path", vec!["/x.csv"])])).unwrap();
        assert_eq!(reader.words(), CellWords::default());
        assert_eq!(reader.dialect(false).unwrap(), CsvDialect::default());
        assert_eq!(reader.dialect(true).unwrap().delimiter, b'\t');
        let writer = WriterOptions::parse(&Options::from_pairs([("path", "/x.csv")])).unwrap();
        assert_eq!(writer.dialect(false).unwrap(), CsvDialect::default());
        assert_eq!(writer.if_exists, IfExists::Error);
    }

    #[test]
    fn wrong_options_are_refused() {
        for (key, value) in [
            ("delimiter", Value::from("ab")),
            ("delimiter", "\"".into()),
            ("ragged", "pad".into()),
            ("format", "xml".into()),
            ("compression", "zip".into()),
            ("path", Value::Array(vec![])),
        ] {
            let mut options = Options::from_pairs([("path", vec!["/x.csv"])]);
            options.values.insert(key.to_owned(), value);
            assert_eq!(ReaderOptions::parse(&options).unwrap_err().kind, ErrorKind::Options);
        }
        assert!(ReaderOptions::parse(&Options::default()).is_err());
        assert!(WriterOptions::parse(&Options::default()).is_err());
    }
}
