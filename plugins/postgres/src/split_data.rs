//! What a split carries to the task that reads it, as JSON.

use serde::{Deserialize, Serialize};
use transload_tables::KeyRange;

/// One split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitData {
    /// The exported snapshot to read in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
    pub(crate) rows: SplitRows,
}

/// Which rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SplitRows {
    #[default]
    All,
    /// Rows by a key's range; `native` is the key's type.
    Keys { column: String, native: String, range: KeyRange },
    /// Pages of a table's file, from the first to before the last; the last split is open.
    Pages { from: u64, to: Option<u64> },
}

impl SplitRows {
    /// The rows, for people.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::All => "all rows".to_owned(),
            Self::Keys { column, range, .. } => range.label(column),
            Self::Pages { from, to: Some(to) } => format!("pages {from}..{to}"),
            Self::Pages { from, to: None } => format!("pages {from}.."),
        }
    }
}
