//! Checksums of ranges of rows, by which two stores are compared without moving the rows.

use serde::{Deserialize, Serialize};

use crate::Column;

/// Which rows are digested, and as what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DigestRequest {
    /// The columns that count, by the source's names, each with the type in which both sides compare.
    pub columns: Vec<Column>,
    /// The key columns that order the rows.
    pub key: Vec<String>,
    /// Only rows with greater keys, in the canonical text of their types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// Only rows with these keys or smaller ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Vec<String>>,
}

/// The digest of a range of rows. Equal ranges have equal digests, in any order of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many rows it has.
    pub rows: u64,
    /// The sum of the rows' checksums, in hexadecimal digits.
    pub checksum: String,
}
