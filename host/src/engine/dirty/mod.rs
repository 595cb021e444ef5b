//! Dirty rows: described with all that is needed to send them again, counted exactly for the job,
//! limited, and kept as JSON lines for each task. What makes a row dirty is decided by readers,
//! writers and `convert`.

mod cause;
mod count;
mod file;
mod kept;
mod line;

pub(super) use count::{ClassCounts, DirtyCount};
pub(super) use file::DirtyFile;
pub(super) use line::{DirtyLine, DirtyLines};
