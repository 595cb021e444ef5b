//! A key's value on its way through splits and positions. The encoding is our own (a type byte,
//! a length, big-endian bytes), because a position that is misread is silent loss.

use serde::{Deserialize, Serialize};

/// One value of a key column. It is only ever bound and compared by the database, never here:
/// only the database knows its collation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyValue {
    /// An integer, signed or unsigned, of up to 64 bits.
    Integer(i128),
    /// The bits of a double; for databases that compare doubles exactly.
    Real(u64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Encodes a key of one or more columns.
pub fn encode_key(values: &[KeyValue]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        match value {
            KeyValue::Integer(value) => field(b'i', &value.to_be_bytes(), &mut out),
            KeyValue::Real(bits) => field(b'r', &bits.to_be_bytes(), &mut out),
            KeyValue::Text(text) => field(b't', text.as_bytes(), &mut out),
            KeyValue::Bytes(bytes) => field(b'b', bytes, &mut out),
        }
    }
    out
}

fn field(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Decodes what [`encode_key`] made; `None` for anything else.
pub fn decode_key(mut bytes: &[u8]) -> Option<Vec<KeyValue>> {
    let mut values = Vec::new();
    while let Some((&tag, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (body, rest) = rest.split_at_checked(length)?;
        values.push(match tag {
            b'i' => KeyValue::Integer(i128::from_be_bytes(body.try_into().ok()?)),
            b'r' => KeyValue::Real(u64::from_be_bytes(body.try_into().ok()?)),
            b't' => KeyValue::Text(String::from_utf8(body.to_vec()).ok()?),
            b'b' => KeyValue::Bytes(body.to_vec()),
            _ => return None,
        });
        bytes = rest;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = KeyValue> {
        prop_oneof![
            any::<i64>().prop_map(|value| KeyValue::Integer(value.into())),
            any::<u64>().prop_map(|value| KeyValue::Integer(value.into())),
            any::<u64>().prop_map(KeyValue::Real),
            ".*".prop_map(KeyValue::Text),
            any::<Vec<u8>>().prop_map(KeyValue::Bytes),
        ]
    }

    proptest! {
        #[test]
        fn keys_read_back(values in proptest::collection::vec(any_value(), 0..4)) {
            prop_assert_eq!(decode_key(&encode_key(&values)), Some(values.clone()));
            let text = serde_json::to_string(&values).unwrap();
            prop_assert_eq!(serde_json::from_str::<Vec<KeyValue>>(&text).unwrap(), values);
        }

        #[test]
        fn a_cut_key_is_refused(values in proptest::collection::vec(any_value(), 1..4)) {
            let bytes = encode_key(&values);
            prop_assert_ne!(decode_key(&bytes[..bytes.len() - 1]), Some(values));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [&b"x"[..], b"i\0\0\0\0\0\0\0\x01a", b"q\0\0\0\0\0\0\0\0", &[b't'; 9]] {
            assert_eq!(decode_key(bytes), None);
        }
    }
}
