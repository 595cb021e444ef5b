//! The keys that the columns of a batch hold, and which types a column can be built of. The buffers
//! themselves are `transload_values::Builder`; how cells become values is left to `decode`.

use arrow_array::{
    Array,
    cast::AsArray,
    types::{
        Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::DataType;
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

/// The value of a key's column in a row; `None` for NULL and for types that keys are not made of.
pub(crate) fn key_value(array: &dyn Array, row: usize) -> Option<KeyValue> {
    macro_rules! integer {
        ($kind:ty) => {
            KeyValue::Integer(array.as_primitive_opt::<$kind>()?.value(row).into())
        };
    }
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int8 => integer!(Int8Type),
        DataType::Int16 => integer!(Int16Type),
        DataType::Int32 => integer!(Int32Type),
        DataType::Int64 => integer!(Int64Type),
        DataType::UInt8 => integer!(UInt8Type),
        DataType::UInt16 => integer!(UInt16Type),
        DataType::UInt32 => integer!(UInt32Type),
        DataType::UInt64 => integer!(UInt64Type),
        DataType::Utf8 => KeyValue::Text(array.as_string_opt::<i32>()?.value(row).to_owned()),
        DataType::Binary => KeyValue::Bytes(array.as_binary_opt::<i32>()?.value(row).to_vec()),
        _ => return None,
    })
}
