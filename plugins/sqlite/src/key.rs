//! A key's value on its way out of SQLite and back into a statement.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use transload_tables::KeyValue;

/// A stored value as a key; `None` for NULL and for text that is not UTF-8.
pub(crate) fn key_value(value: ValueRef<'_>) -> Option<KeyValue> {
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => KeyValue::Integer(number.into()),
        ValueRef::Real(number) => KeyValue::Real(number.to_bits()),
        ValueRef::Text(bytes) => KeyValue::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
        ValueRef::Blob(bytes) => KeyValue::Bytes(bytes.to_vec()),
    })
}

/// A key's value as SQLite binds it.
pub(crate) fn bound(value: &KeyValue) -> ToSqlOutput<'_> {
    match value {
        KeyValue::Integer(number) => match i64::try_from(*number) {
            Ok(number) => ToSqlOutput::Owned(Value::Integer(number)),
            // Beyond every integer that SQLite stores, and compared as such.
            Err(_) => ToSqlOutput::Owned(Value::Real(*number as f64)),
        },
        KeyValue::Real(bits) => ToSqlOutput::Owned(Value::Real(f64::from_bits(*bits))),
        KeyValue::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        KeyValue::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
    }
}
