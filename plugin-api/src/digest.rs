//! Checksums of ranges of rows, by which two stores are compared without moving the rows.
//!
//! The checksum of a row is the first half of the SHA-256 of a text: for each column `-` for NULL, else `+`, the number of
//! bytes of the value's text in UTF-8, `:` and that text, as the crate `transload_values` writes it
//! (`compared`). The checksum of a range is the sum of those of its rows: of the upper 64 bits and of
//! the lower 64 bits each, without what leaves 64 bits.
//!
//! Two rules make it safe to believe: equal texts of a column are equal values in the type in which
//! both sides compare, and each row of the range is counted in one part. Different texts of equal
//! values are allowed: the host reads the rows of a range whose checksums differ.

use serde::{Deserialize, Serialize};

use crate::{Column, Split};

/// Which rows are digested, and as what. Keys are given in the texts of their values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DigestRequest {
    /// The columns that count, by the source's names, each with the type in which both sides compare.
    pub columns: Vec<Column>,
    /// The key columns that order the rows, by the source's names.
    pub key: Vec<String>,
    /// Only rows with greater keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// Only rows with these keys or smaller ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Vec<String>>,
    /// The range is divided into at most this many parts of about as many rows; 0 is 1.
    #[serde(default)]
    pub parts: u32,
    /// The range is divided behind these keys instead, which are in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<Vec<String>>,
}

/// The digest of a range of rows. Equal ranges have equal digests, in any order of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many rows it has.
    pub rows: u64,
    /// The sum of the rows' checksums, in 32 hexadecimal digits.
    pub checksum: String,
    /// Its parts in ascending order, which are the whole range. With bounds, one more than those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<DigestPart>,
}

/// A part of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestPart {
    /// The key at its end, which belongs to it; `None` of the last part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Vec<String>>,
    /// How many rows it has.
    pub rows: u64,
    /// The sum of the rows' checksums, in 32 hexadecimal digits.
    pub checksum: String,
    /// Reads exactly its rows.
    pub split: Split,
}
