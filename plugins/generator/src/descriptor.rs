//! The plugin's descriptor: every option, type and write mode, declared once.

use serde_json::json;
use transload_plugin_api::{
    ConflictEffect, Descriptor, Guarantee, KeyNeed, Limits, OptionKind, OptionSpec,
    ReaderDescriptor, SplitAbility, TypeSupport, WriteMode, WriteModeSpec, WriterDescriptor,
};

pub(crate) fn descriptor() -> Descriptor {
    Descriptor {
        name: "generator".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "generates rows of any schema; as a target, counts rows and computes checksums"
            .to_owned(),
        vendor: String::new(),
        options: Vec::new(),
        reader: Some(ReaderDescriptor {
            options: reader_options(),
            types: types(),
            ability: SplitAbility::Seekable,
            parses_text: false,
        }),
        writer: Some(WriterDescriptor {
            options: writer_options(),
            types: types(),
            modes: modes(),
            loads: Vec::new(),
            creates_table: false,
            runs_statements: false,
            limits: Limits { transactional: true, ..Limits::default() },
        }),
    }
}

/// All types are supported without conversion, so the native names are the logical ones.
fn types() -> Vec<TypeSupport> {
    [
        "boolean",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "decimal",
        "numeric",
        "text",
        "binary",
        "date",
        "time",
        "duration",
        "timestamp",
        "timestamptz",
        "interval",
        "json",
        "uuid",
        "list",
    ]
    .map(|name| TypeSupport::new(name, &[name]))
    .to_vec()
}

fn integer(min: i64) -> OptionKind {
    OptionKind::Integer { min, max: i64::MAX }
}

fn reader_options() -> Vec<OptionSpec> {
    // Row numbers are multiplied, so they must stay well below 2^64.
    let rows = OptionKind::Integer { min: 0, max: 1_000_000_000_000_000 };
    let abilities = &["seekable", "replayable", "bounded", "volatile"];
    vec![
        OptionSpec::new("rows", rows, "the number of rows to generate").required(),
        OptionSpec::new("seed", integer(0), "a different seed generates different values")
            .default(1),
        OptionSpec::new(
            "specs",
            OptionKind::Map,
            "column names and specs, such as `decimal(15,2) range 0..100 null 5%`",
        ),
        OptionSpec::new("order", OptionKind::List, "columns to put first, in this order"),
        OptionSpec::new("primary_key", OptionKind::List, "columns to report as the primary key"),
        OptionSpec::choice("preset", &["none", "lineitem"], "a predefined table"),
        OptionSpec::new(
            "batch_rows",
            OptionKind::Integer { min: 1, max: 1_000_000 },
            "the number of rows per batch",
        )
        .default(8_192),
        OptionSpec::choice("ability", abilities, "what splits promise about being read again"),
        OptionSpec::new("delay", OptionKind::Duration, "a pause before each batch").default("0 s"),
        OptionSpec::new("dirty_every", integer(0), "every n-th row is dirty; 0: none").default(0),
        OptionSpec::new("fail_at", integer(0), "fail at the row with this number, from 0"),
        OptionSpec::new(
            "lose_at",
            integer(0),
            "lose the connection once at the row with this number, from 0",
        ),
        OptionSpec::new("panic_at", integer(0), "panic at the row with this number, from 0"),
    ]
}

fn writer_options() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new(
            "table",
            OptionKind::Text,
            "the name of a table that lives as long as the process; default: a new table",
        ),
        OptionSpec::new(
            "columns",
            OptionKind::Map,
            "columns that the target reports, such as `int64 not null`; default: any",
        ),
        OptionSpec::new("order", OptionKind::List, "columns to put first, in this order"),
        OptionSpec::new("primary_key", OptionKind::List, "the primary key that the target reports"),
        OptionSpec::new("key_dedup", OptionKind::Boolean, "keep rows by key, so keys can conflict")
            .default(false),
        OptionSpec::new(
            "report",
            OptionKind::Path,
            "a JSON file for the number of rows, checksums and NULLs, written when the job commits",
        ),
        OptionSpec::new("delay", OptionKind::Duration, "a pause before each batch").default("0 s"),
        OptionSpec::new("dirty_every", integer(0), "every n-th row of a task is dirty; 0: none")
            .default(0),
        OptionSpec::new("fail_at", integer(0), "fail at this row of a task, from 0"),
        OptionSpec::new("panic_at", integer(0), "panic at this row of a task, from 0"),
        OptionSpec::new(
            "retry_at",
            integer(0),
            "request one replay of the chunk with this number, from 0",
        ),
        OptionSpec::new(
            "retry_commit_at",
            integer(0),
            "request one replay when the chunk with this number, from 0, is committed",
        ),
        OptionSpec::new(
            "commit_unknown_at",
            integer(0),
            "commit the chunk with this number, from 0, and report the outcome as unknown",
        ),
    ]
    .into_iter()
    .map(with_plain_default)
    .collect()
}

/// Options that are a list or a map default to an empty one.
fn with_plain_default(spec: OptionSpec) -> OptionSpec {
    match spec.kind {
        OptionKind::List => spec.default(json!([])),
        OptionKind::Map => spec.default(json!({})),
        _ => spec,
    }
}

fn modes() -> Vec<WriteModeSpec> {
    use ConflictEffect as Effect;
    let keyed = KeyNeed::UniqueKey;
    vec![
        WriteModeSpec::new(
            WriteMode::Insert,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::Convergent,
            "adds rows; with `key_dedup`, rows whose key exists are dirty",
        ),
        WriteModeSpec::new(
            WriteMode::Ignore,
            keyed,
            Effect::Skip,
            Guarantee::Convergent,
            "skips rows whose key exists",
        ),
        WriteModeSpec::new(
            WriteMode::Upsert,
            keyed,
            Effect::Update,
            Guarantee::Convergent,
            "updates rows whose key exists",
        ),
        WriteModeSpec::new(
            WriteMode::Replace,
            keyed,
            Effect::Replace,
            Guarantee::Convergent,
            "replaces rows whose key exists",
        ),
        WriteModeSpec::new(
            WriteMode::Overwrite,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::AtomicJob,
            "replaces all rows when the job commits",
        ),
    ]
}
