//! What a file's name says of its format.

use std::path::Path;

use transload_formats::Compression;
use transload_plugin_api::{Error, ErrorKind, Result};

use crate::options::FormatChoice;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// CSV in some dialect.
    Csv,
    /// JSON lines.
    Jsonl,
    /// One JSON array of objects.
    Json,
}

impl Format {
    /// The extension of new files.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Json => "json",
        }
    }
}

/// A file's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileName {
    whole: String,
    /// In lower case, without that of the compression.
    extension: String,
    /// What `.gz` or `.zst` says.
    pub(crate) compression: Compression,
}

impl FileName {
    /// The last part of a path.
    pub(crate) fn of(path: &Path) -> Self {
        let whole = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let lower = whole.to_ascii_lowercase();
        let (stem, compression) = match lower.rsplit_once('.') {
            Some((stem, "gz" | "gzip")) => (stem, Compression::Gzip),
            Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
            _ => (lower.as_str(), Compression::None),
        };
        let extension = stem.rsplit_once('.').map_or("", |(_, extension)| extension).to_owned();
        Self { whole, extension, compression }
    }

    /// Whether the extension says that a tab is the delimiter.
    pub(crate) fn is_tsv(&self) -> bool {
        matches!(self.extension.as_str(), "tsv" | "tab")
    }

    /// The format chosen, or the extension's.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if neither says one.
    pub(crate) fn format(&self, choice: FormatChoice) -> Result<Format> {
        match (choice, self.extension.as_str()) {
            (FormatChoice::Csv, _) | (FormatChoice::Auto, "csv" | "tsv" | "tab") => Ok(Format::Csv),
            (FormatChoice::Jsonl, _) | (FormatChoice::Auto, "jsonl" | "ndjson") => {
                Ok(Format::Jsonl)
            }
            (FormatChoice::Json, _) | (FormatChoice::Auto, "json") => Ok(Format::Json),
            (FormatChoice::Auto, _) => {
                let message = format!("the name `{}` does not say which format it is", self.whole);
                Err(Error::new(ErrorKind::Options, message)
                    .hint("set `format` to `csv`, `jsonl` or `json`"))
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
            ("a.jsonl", Some(Format::Jsonl), Compression::None),
            ("a.ndjson", Some(Format::Jsonl), Compression::None),
            ("a.json.gz", Some(Format::Json), Compression::Gzip),
            ("a.txt", None, Compression::None),
            ("a.gz", None, Compression::Gzip),
            ("csv", None, Compression::None),
        ] {
            let found = FileName::of(&Path::new("/x.d").join(name));
            assert_eq!(found.format(FormatChoice::Auto).ok(), format, "{name}");
            assert_eq!(found.compression, compression, "{name}");
            assert_eq!(found.format(FormatChoice::Json).unwrap(), Format::Json);
        }
    }
}
