//! The options of a writer of files.

use transload_plugin_api::{OptionKind, OptionSpec};

use super::{
    COMPRESSIONS, character,
    shared_specs::{binary_spec, escape_spec, format_spec, max_record_spec},
};
use crate::{CsvDialect, ParquetOptions, forms::written_form_specs};

/// The specs of [`WriteOptions`](crate::WriteOptions).
pub fn write_specs() -> Vec<OptionSpec> {
    let mut specs = vec![
        format_spec(),
        OptionSpec::choice(
            "compression",
            &COMPRESSIONS,
            "`auto` uses the extension (`.gz`, `.zst` and so on); for Parquet, zstd",
        ),
        binary_spec(),
        max_record_spec(),
    ];
    specs.extend(dialect_specs());
    specs.push(
        OptionSpec::new(
            "null",
            OptionKind::Text,
            "CSV: what is written for NULL; an empty text is always written as `\"\"`",
        )
        .default(CsvDialect::default().null),
    );
    specs.extend(written_form_specs());
    specs.extend(parquet_specs());
    specs
}

fn dialect_specs() -> Vec<OptionSpec> {
    let defaults = CsvDialect::default();
    let text = |key, doc| OptionSpec::new(key, OptionKind::Text, doc);
    vec![
        text(
            "delimiter",
            "CSV: the separator of cells, `tab` for a tab; default: `,`, or a tab for .tsv",
        ),
        text("quote", "CSV: encloses cells with special characters; empty for none")
            .default(character(defaults.quote)),
        escape_spec(),
        OptionSpec::new("header", OptionKind::Boolean, "CSV: the first record names the columns")
            .default(defaults.header),
    ]
}

fn parquet_specs() -> Vec<OptionSpec> {
    let defaults = ParquetOptions::default();
    let number = |key, min, max, doc| OptionSpec::new(key, OptionKind::Integer { min, max }, doc);
    vec![
        number("compression_level", 0, 22, "Parquet: gzip 0 to 9 (6), zstd 1 to 22 (1)"),
        number("row_group_rows", 1, 100_000_000, "Parquet: rows per row group, at most 128 MiB")
            .default(defaults.row_group_rows),
        OptionSpec::new(
            "dictionary",
            OptionKind::Boolean,
            "Parquet: repeated values are written once, if that is shorter",
        )
        .default(defaults.dictionary),
        OptionSpec::choice(
            "statistics",
            &["chunk", "none", "page"],
            "Parquet: minimum and maximum values of each row group, or of each page too",
        ),
        OptionSpec::new("page_checksums", OptionKind::Boolean, "Parquet: a checksum in each page")
            .default(defaults.page_checksums),
        OptionSpec::new(
            "page_bytes",
            OptionKind::Size,
            "Parquet: size of a page before compression",
        )
        .default(defaults.page_bytes),
    ]
}
