//! REPAIRING IT: the dirty rows of a run that has ended: listed by cause, exported as a file for an
//! editor, and read back from it for a replay. The run that sends them again is like any other.
//!
//! | file | what it does |
//! |---|---|
//! | `run` | an ended run, found by its name; what its plan says |
//! | `row` | the lines of its dirty files |
//! | `summary` | its dirty rows by cause |
//! | `form`, `cell` | a row in the form of its source; the text of one value |
//! | `export` | the file for an editor: each record behind the id of its row |
//! | `repaired` | that file read back: ids checked and taken away |
//! | `refused` | the rows that only the target refused, as batches |
//! | `replays` | which rows were sent again, by which run |

mod cell;
mod export;
mod form;
mod refused;
mod repaired;
mod replays;
mod row;
mod run;
mod summary;

pub(crate) use export::{Exported, Filter, export};
pub(crate) use form::{Form, FormChoice, Records};
pub(crate) use refused::refused_by_target;
pub(crate) use repaired::Repaired;
pub(crate) use replays::{Ended, Replaying, Replays};
pub(crate) use row::RowId;
pub(crate) use run::{KeptRun, find};
pub(crate) use summary::Summary;
