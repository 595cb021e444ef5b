//! The options of a reader of files.

use transload_plugin_api::{OptionKind, OptionSpec};
use transload_values::CellWords;

use super::{
    COMPRESSIONS, character,
    shared_specs::{binary_spec, escape_spec, format_spec, max_record_spec},
};
use crate::{CsvDialect, charset, forms::form_specs};

/// The specs of [`ReadOptions`](crate::ReadOptions).
pub fn read_specs() -> Vec<OptionSpec> {
    let mut specs = file_specs();
    specs.extend(value_specs());
    specs.extend(column_specs());
    specs.extend(limit_specs());
    specs.extend(dialect_specs());
    specs.extend(null_specs());
    specs.extend(form_specs());
    specs.extend(row_specs());
    specs
}

/// What the files are.
fn file_specs() -> Vec<OptionSpec> {
    vec![
        format_spec(),
        OptionSpec::choice(
            "compression",
            &COMPRESSIONS,
            "Compression of text files; `auto` detects it from the first bytes",
        ),
        OptionSpec::new(
            "encoding",
            OptionKind::choice(&charset::names()),
            "The files' encoding; byte order marks are skipped; default: `utf-16` for a file that \
             begins with its mark, else `utf-8`",
        ),
        OptionSpec::choice(
            "invalid",
            &["dirty", "replace", "latin1"],
            "How bytes of a UTF-8 file that are not UTF-8 are read: as a dirty row, U+FFFD, or Latin-1",
        ),
        OptionSpec::new(
            "sample_rows",
            OptionKind::Integer { min: 1, max: 1_000_000 },
            "Number of rows from which types are inferred, over all files; at most 8 MiB",
        )
        .default(10_000),
    ]
}

/// How values are written in them.
fn value_specs() -> Vec<OptionSpec> {
    let words = CellWords::default();
    vec![
        OptionSpec::new("true_words", OptionKind::List, "Words for true, in any case")
            .default(words.yes),
        OptionSpec::new("false_words", OptionKind::List, "Words for false, in any case")
            .default(words.no),
        binary_spec(),
    ]
}

/// Which columns they have.
fn column_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::choice(
            "unknown_keys",
            &["auto", "dirty", "ignore"],
            "JSON: what a key does that neither the sample nor the target shows: make its row \
             dirty, or be left out and counted; `auto`: `dirty`, unless the job names `columns`",
        ),
        OptionSpec::choice(
            "nested",
            &["auto", "flatten", "json", "fail"],
            "How structs and objects are read: as a column `outer.inner` for each field, as JSON \
             text, or not at all; `auto`: `flatten` for Parquet, whose files declare the fields, \
             else `json`; maps and lists of structs are JSON text",
        ),
        OptionSpec::choice(
            "on_unsupported",
            &["error", "skip"],
            "Parquet: whether columns that cannot be read (two of one name, a variant) fail the \
             job or are left out; not needed if the job names `columns`",
        ),
    ]
}

fn limit_specs() -> Vec<OptionSpec> {
    vec![
        max_record_spec(),
        OptionSpec::new(
            "max_decompressed",
            OptionKind::Size,
            "The most bytes that one compressed text file may become; default: 200 times its \
             size, or 256 MiB if that is more",
        ),
        OptionSpec::new(
            "skip_lines",
            OptionKind::Integer { min: 0, max: 1_000_000 },
            "CSV: number of lines at the start of each file to skip, before the header",
        )
        .default(0),
    ]
}

/// The dialect of CSV.
fn dialect_specs() -> Vec<OptionSpec> {
    let found = "the one that the first lines show";
    vec![
        OptionSpec::new(
            "delimiter",
            OptionKind::Text,
            &format!(
                "CSV: the separator of cells, `tab` for a tab; default: a tab for .tsv, else {found}"
            ),
        ),
        OptionSpec::new(
            "quote",
            OptionKind::Text,
            "CSV: encloses cells with special characters; empty for none; default: `\"`, or `'` \
             if the first lines show it",
        ),
        escape_spec(),
        OptionSpec::new(
            "header",
            OptionKind::Boolean,
            "CSV: the first record names the columns; default: `true`, unless the first lines \
             show that it is a row",
        ),
    ]
}

fn null_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new(
            "null",
            OptionKind::List,
            "CSV: unquoted cells that mean NULL, one or a list; `\"\"` is always an empty text",
        )
        .default(CsvDialect::default().null),
        OptionSpec::new(
            "column_null",
            OptionKind::Map,
            "CSV: one more unquoted cell that means NULL, for single columns",
        ),
    ]
}

/// Which lines of CSV are rows.
fn row_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new("comment", OptionKind::Text, "CSV: lines that begin with it are skipped")
            .default(character(CsvDialect::default().comment)),
        OptionSpec::choice(
            "ragged",
            &["dirty", "error"],
            "CSV: how a row with too few or too many cells is treated",
        ),
    ]
}
