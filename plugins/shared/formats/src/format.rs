//! Determines a file's format from its name.

use serde::Deserialize;
use transload_plugin_api::{Error, Result};

use crate::Compression;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// CSV in some dialect.
    Csv,
    /// JSON lines.
    Jsonl,
    /// One JSON array of objects.
    Json,
    /// Apache Parquet.
    Parquet,
}

/// The format that a job sets for its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatChoice {
    /// The one that the name implies.
    Auto,
    /// [`Format::Csv`].
    Csv,
    /// [`Format::Jsonl`].
    Jsonl,
    /// [`Format::Json`].
    Json,
    /// [`Format::Parquet`].
    Parquet,
}

impl Format {
    /// The extension of new files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }
}

/// The extensions that say what a file's format is, in lower case.
pub const EXTENSIONS: [&str; 8] = ["csv", "tsv", "tab", "jsonl", "ndjson", "json", "parquet", "pq"];

/// A file's name, split into its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    whole: String,
    /// The extension in lower case, without that of the compression.
    extension: String,
    compression: Compression,
}

impl FileName {
    /// Parses the last part of a path.
    pub fn of(path: &str) -> Self {
        let whole = path.rsplit('/').next().unwrap_or(path).to_owned();
        let lower = whole.to_ascii_lowercase();
        let packed = lower.rsplit_once('.').and_then(|(stem, extension)| {
            Compression::of_extension(extension).map(|compression| (stem, compression))
        });
        let (stem, compression) = packed.unwrap_or((lower.as_str(), Compression::None));
        let extension = stem.rsplit_once('.').map_or("", |(_, extension)| extension).to_owned();
        Self { whole, extension, compression }
    }

    /// The compression that `.gz`, `.zst` and the like imply.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether the extension implies a tab as delimiter.
    pub fn is_tsv(&self) -> bool {
        matches!(self.extension.as_str(), "tsv" | "tab")
    }

    /// The chosen format, or the one of the extension.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if neither determines a format.
    pub fn format(&self, choice: FormatChoice) -> Result<Format> {
        match (choice, self.extension.as_str()) {
            (FormatChoice::Csv, _) | (FormatChoice::Auto, "csv" | "tsv" | "tab") => Ok(Format::Csv),
            (FormatChoice::Jsonl, _) | (FormatChoice::Auto, "jsonl" | "ndjson") => {
                Ok(Format::Jsonl)
            }
            (FormatChoice::Json, _) | (FormatChoice::Auto, "json") => Ok(Format::Json),
            (FormatChoice::Parquet, _) | (FormatChoice::Auto, "parquet" | "pq") => {
                Ok(Format::Parquet)
            }
            (FormatChoice::Auto, _) => {
                let message = format!("the name `{}` does not show the file's format", self.whole);
                Err(Error::options(message)
                    .hint("set `format` to `csv`, `jsonl`, `json` or `parquet`"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_format_and_compression() {
        for (name, format, compression) in [
            ("a.csv", Some(Format::Csv), Compression::None),
            ("A.B.CSV.GZ", Some(Format::Csv), Compression::Gzip),
            ("a.tsv.zst", Some(Format::Csv), Compression::Zstd),
            ("a.csv.bz2", Some(Format::Csv), Compression::Bzip2),
            ("a.jsonl.lz4", Some(Format::Jsonl), Compression::Lz4),
            ("a.csv.sz", Some(Format::Csv), Compression::Snappy),
            ("a.jsonl", Some(Format::Jsonl), Compression::None),
            ("a.ndjson", Some(Format::Jsonl), Compression::None),
            ("a.json.gz", Some(Format::Json), Compression::Gzip),
            ("a.parquet", Some(Format::Parquet), Compression::None),
            ("a.snappy.parquet", Some(Format::Parquet), Compression::None),
            ("a.txt", None, Compression::None),
            ("a.gz", None, Compression::Gzip),
            ("csv", None, Compression::None),
        ] {
            let found = FileName::of(&format!("/x.d/{name}"));
            let is_listed = EXTENSIONS.contains(&found.extension.as_str());
            assert_eq!(is_listed, format.is_some(), "{name}");
            assert_eq!(found.format(FormatChoice::Auto).ok(), format, "{name}");
            assert_eq!(found.compression(), compression, "{name}");
            assert_eq!(found.format(FormatChoice::Json).unwrap(), Format::Json);
        }
    }
}
