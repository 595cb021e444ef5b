//! The types that files hold, and as what.

use transload_plugin_api::TypeSupport;

/// What a plugin that reads or writes files declares.
pub fn types() -> Vec<TypeSupport> {
    let type_of = |family: &str, json: &str, parquet: &str| {
        TypeSupport::new(family, &["CSV cell", json, parquet])
    };
    let number = |family, parquet| type_of(family, "JSON number", parquet);
    let text = |family, parquet| type_of(family, "JSON string", parquet);
    let nan = "NaN and infinities are dirty rows in JSON";
    vec![
        type_of("boolean", "JSON true and false", "BOOLEAN"),
        number("int8", "INT(8)"),
        number("int16", "INT(16)"),
        number("int32", "INT32"),
        number("int64", "INT64"),
        number("uint8", "INT(8, unsigned)"),
        number("uint16", "INT(16, unsigned)"),
        number("uint32", "INT(32, unsigned)"),
        number("uint64", "INT(64, unsigned)"),
        number("float32", "FLOAT").note(nan),
        number("float64", "DOUBLE").note(nan),
        number("decimal", "DECIMAL"),
        number("numeric", "STRING").note(nan),
        text("text", "STRING"),
        text("binary", "BYTE_ARRAY").note("hex or base64 in text files, see `binary`"),
        text("date", "DATE"),
        text("time", "TIME"),
        text("duration", "INT64").note("microseconds in Parquet, which has no such type"),
        text("timestamp", "TIMESTAMP").note("Parquet: not adjusted to UTC"),
        text("timestamptz", "TIMESTAMP").note("Parquet: adjusted to UTC"),
        TypeSupport::new("interval", &["INTERVAL"])
            .note("Parquet only; negative ones and parts of a millisecond are dirty rows"),
        type_of("json", "JSON value", "JSON")
            .note("the document `null` is a dirty row in JSON, where it would mean NULL"),
        text("uuid", "UUID"),
        TypeSupport::new("list", &["CSV cell", "JSON array", "LIST"])
            .note("JSON text in CSV; read from CSV and JSON as text or json"),
    ]
}
