//! Which types the formats hold, and as what.

use transload_plugin_api::TypeSupport;

/// The same for both roles.
pub(crate) fn types() -> Vec<TypeSupport> {
    let number = &["CSV cell", "JSON number"][..];
    let text = &["CSV cell", "JSON string"][..];
    let mut types: Vec<_> =
        ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "decimal"]
            .map(|family| TypeSupport::new(family, number))
            .into();
    types.push(TypeSupport::new("boolean", &["CSV cell", "JSON true and false"]));
    for family in ["numeric", "float32", "float64"] {
        types.push(
            TypeSupport::new(family, number).note("NaN and infinities are dirty rows in JSON"),
        );
    }
    for family in ["text", "date", "time", "duration", "timestamp", "timestamptz", "uuid"] {
        types.push(TypeSupport::new(family, text));
    }
    types.push(TypeSupport::new("binary", text).note("hex or base64, see `binary`"));
    types.push(
        TypeSupport::new("json", &["CSV cell", "JSON value"])
            .note("the document `null` is a dirty row in JSON, where it would mean NULL"),
    );
    types
}
