//! What a store or the journal keeps with a committed chunk, opaque to both: where reading continues,
//! and how long the task's dirty file is.

use transload_plugin_api::Position;

/// The form, in the first byte.
const FORM: u8 = 1;
/// Bytes before the reader's position.
const HEAD: usize = 9;

/// A point from which a task can continue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The reader's position behind the last committed row.
    pub(super) position: Position,
    /// The length of the dirty file up to the last committed row.
    pub(super) dirty_bytes: u64,
}

impl Checkpoint {
    /// As the position that a writer gets.
    pub(super) fn encode(&self) -> Position {
        let mut bytes = Vec::with_capacity(HEAD + self.position.0.len());
        bytes.push(FORM);
        bytes.extend(self.dirty_bytes.to_be_bytes());
        bytes.extend(&self.position.0);
        Position(bytes)
    }

    /// `None` for bytes of another form.
    pub(super) fn decode(position: &Position) -> Option<Self> {
        let (head, position) = position.0.split_first_chunk::<HEAD>()?;
        let (FORM, dirty_bytes) = (head[0], head[1..].try_into().ok()?) else { return None };
        let dirty_bytes = u64::from_be_bytes(dirty_bytes);
        Some(Self { position: Position(position.to_vec()), dirty_bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_checkpoint_survives_its_encoding(bytes: Vec<u8>, dirty_bytes: u64) {
            let checkpoint = Checkpoint { position: Position(bytes), dirty_bytes };
            prop_assert_eq!(Checkpoint::decode(&checkpoint.encode()), Some(checkpoint));
        }

        #[test]
        fn other_bytes_are_no_checkpoint(bytes: Vec<u8>) {
            let is_one = bytes.len() >= HEAD && bytes[0] == FORM;
            prop_assert_eq!(Checkpoint::decode(&Position(bytes)).is_some(), is_one);
        }
    }
}
