//! The keys that the columns of a batch hold, and which types a column can be built of. The buffers
//! themselves are `transload_values::Builder`; how cells become values is left to `decode`.

use transload_plugin_api::LogicalType;
use transload_tables::KeyValue;
use transload_values::Builder;

/// An empty builder, with room for about `rows` rows and `bytes` bytes of text. `None` for types that the
/// server's values are never read as.
pub(crate) fn builder(logical: &LogicalType, rows: usize, bytes: usize) -> Option<Builder> {
    use LogicalType as T;
    let readable = match logical {
        T::Numeric | T::Interval => false,
        T::Time { precision } | T::Timestamp { precision } | T::TimestampTz { precision } => {
            *precision <= 6
        }
        _ => true,
    };
    if readable { Builder::new(logical, rows, bytes) } else { None }
}

/// The last value as a key; only of types that keys are made of.
pub(crate) fn last_key(builder: &Builder, logical: &LogicalType) -> Option<KeyValue> {
    fn last<T: Copy + Into<i128>>(values: &[T]) -> Option<KeyValue> {
        values.last().map(|value| KeyValue::Integer((*value).into()))
    }
    match builder {
        Builder::Int8(values) => last(values),
        Builder::Int16(values) => last(values),
        Builder::Int32(values) => last(values),
        Builder::Int64(values) => last(values),
        Builder::UInt8(values) => last(values),
        Builder::UInt16(values) => last(values),
        Builder::UInt32(values) => last(values),
        Builder::UInt64(values) => last(values),
        Builder::Text(bytes) | Builder::Binary(bytes) => Some(key_of(bytes.last()?, logical)),
        _ => None,
    }
}

/// Text or bytes as a key.
pub(crate) fn key_of(bytes: &[u8], logical: &LogicalType) -> KeyValue {
    match std::str::from_utf8(bytes) {
        Ok(text) if *logical != LogicalType::Binary => KeyValue::Text(text.to_owned()),
        _ => KeyValue::Bytes(bytes.to_vec()),
    }
}
