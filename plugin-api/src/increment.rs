//! What a run of an incremental job reads: a range of values of a column that grows, and where it ended
//! the last time. Ranges and watermarks hold the texts of values, as the crate `transload_values`
//! writes them (`compared`), at the full precision of their column; a store compares them in the
//! column's own type.

use serde::{Deserialize, Serialize};

/// The rows that one run of an incremental job reads, asked for with
/// [`SplitRequest::increment`](crate::SplitRequest::increment).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// The column that grows, and behind it those that order rows of the same value. By the source's
    /// names.
    pub key: Vec<String>,
    /// Only rows with greater values of the first columns of the key, as many as there are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// Only rows with these values or smaller ones; `None`: up to the greatest key that there is when
    /// the source is divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Vec<String>>,
    /// Rows without a value in the first column are read, too.
    #[serde(default)]
    pub nulls: bool,
}

/// What a reader has found of an [`Increment`], with the first of its splits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundIncrement {
    /// The greatest key of the range; `None` if no row is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Vec<String>>,
    /// How many rows have no value in the first column.
    #[serde(default)]
    pub nulls: u64,
}

/// The watermark of a job that is kept with its rows: in the table `watermark` beside the tables for
/// commit tokens. It changes in the transaction that ends the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepWatermark {
    /// What it is afterwards; `None`: it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// It is forgotten.
    #[serde(default)]
    pub forget: bool,
}

/// The watermark as the store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptWatermark {
    /// The table, as messages print it.
    pub table: String,
    /// `None` if no run has kept one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl KeepWatermark {
    /// The longest watermark, in bytes.
    pub const MAX_BYTES: usize = 2_000;
}
