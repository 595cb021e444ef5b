//! What is new since the last run: the range that a run reads, fixed before its first row, and the
//! watermark that it leaves.
//!
//! | file | what it does |
//! |---|---|
//! | `value` | [`GrowingValue`]: a value of the column, typed, at full precision |
//! | `watermark` | [`Watermark`]: where the last run ended; its file, and the lock of a job |
//! | `range` | what a plan asks the reader for, and what it makes of the answer |
//! | `backfill` | a range that is read again, step by step |
//!
//! Where commit tokens are kept, the writer keeps the watermark beside them and changes it in the
//! transaction that ends the run. Elsewhere it is a file below the state folder, which the run's journal
//! changes before it says that the run is complete.

mod backfill;
mod range;
mod value;
mod watermark;

pub(crate) use backfill::{Backfill, Steps};
pub(crate) use range::{PlannedIncrement, Scope, ask, check_insert, check_mode, next};
pub(crate) use value::{GrowingValue, kind};
pub(crate) use watermark::{IncrementLock, Watermark, WatermarkFile};
