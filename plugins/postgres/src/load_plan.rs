//! How rows of one task go to the target: the statements and the form of the rows. `target` makes
//! the plan, `load` and `bisect` follow it.

use crate::{
    encode::{EncodedColumn, Suffix},
    references::OrphanSearch,
};

/// The statements that rows of one task need.
#[derive(Clone, Debug)]
pub(crate) struct LoadPlan {
    pub(crate) columns: Vec<EncodedColumn>,
    pub(crate) suffix: Suffix,
    /// `COPY ... FROM STDIN BINARY`.
    pub(crate) copy: String,
    /// Present if the rows are copied into a temporary table first.
    pub(crate) detour: Option<Detour>,
    /// With this many dirty rows in a batch the chunk is rolled back.
    pub(crate) enough_dirty: Option<u64>,
}

/// Loading by a temporary table.
#[derive(Clone, Debug)]
pub(crate) struct Detour {
    /// Makes the table, once a session.
    pub(crate) make: String,
    /// Find rows that a foreign key of the target will refuse, if the rows are staged.
    pub(crate) orphans: Vec<OrphanSearch>,
    /// Moves the rows to the target; returns how many are new and how many were updated.
    pub(crate) apply: String,
    /// Rows that are neither new nor first with their key in a batch count as updated.
    pub(crate) updates: bool,
}

/// The temporary table's name.
pub(crate) const TEMPORARY: &str = "pg_temp.transload_rows";
