//! The options that readers and writers of files have in common.

use transload_plugin_api::{OptionKind, OptionSpec};

use super::character;
use crate::{CsvDialect, MAX_RECORD};

pub(super) fn format_spec() -> OptionSpec {
    let words = &["auto", "csv", "jsonl", "json", "parquet"];
    OptionSpec::choice("format", words, "`auto` uses the file's extension")
}

pub(super) fn max_record_spec() -> OptionSpec {
    OptionSpec::new(
        "max_record",
        OptionKind::Size,
        "The largest record of a text file, and the largest value of a Parquet file",
    )
    .default(MAX_RECORD as u64)
}

pub(super) fn binary_spec() -> OptionSpec {
    OptionSpec::choice("binary", &["hex", "base64"], "How binary values are written")
}

pub(super) fn escape_spec() -> OptionSpec {
    let doc = "CSV: makes the next character text; empty: quotes are doubled";
    OptionSpec::new("escape", OptionKind::Text, doc)
        .default(character(CsvDialect::default().escape))
}
