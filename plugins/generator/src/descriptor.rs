//! The plugin's descriptor: types and write modes here, options in `options`.

use transload_plugin_api::{
    Addressing, ConflictEffect, Descriptor, Guarantee, KeyNeed, Limits, ReaderDescriptor,
    SplitAbility, TypeSupport, UrlForm, UrlPart, WriteMode, WriteModeSpec, WriterDescriptor,
};

use crate::options::{reader_specs, writer_specs};

/// What help shows: a million rows for a first try.
const EXAMPLE: &str = r#"[reader]
plugin = "generator"
rows = 1_000_000
specs = { id = "int64", name = "text", price = "decimal(10,2)" }

[writer]
plugin = "file"
path = "rows.csv"
"#;

pub(crate) fn descriptor() -> Descriptor {
    Descriptor {
        name: "generator".to_owned(),
        example: EXAMPLE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "generates rows of any schema; as a target, counts rows and computes checksums"
            .to_owned(),
        addressing: addressing(),
        reader: Some(ReaderDescriptor {
            options: reader_specs(),
            types: types(),
            ability: SplitAbility::Seekable,
            parses_text: false,
        }),
        writer: Some(WriterDescriptor {
            options: writer_specs(),
            types: types(),
            modes: modes(),
            loads: Vec::new(),
            creates_table: false,
            runs_statements: false,
            job_names_key: false,
            limits: Limits { transactional: true, ..Limits::default() },
        }),
        ..Descriptor::default()
    }
}

/// A number of rows; as a target, nothing has to be named.
fn addressing() -> Addressing {
    let url = UrlForm::new(&["generator"], "generator:1000?preset=lineitem");
    Addressing { urls: vec![url.part(UrlPart::Path, "rows")], ..Addressing::default() }
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
