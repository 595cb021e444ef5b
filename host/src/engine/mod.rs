//! DOING IT: a plan's tasks, each a reader thread and a writer thread with the ring between.
//!
//! | file | what it does |
//! |---|---|
//! | `driver` | [`Engine::start`]: the job's thread, its lanes, the commit and the cleaning up |
//! | `shared` | what all threads of a run share |
//! | `task` | one task: a reader thread fills the ring, the lane's thread drains it |
//! | `reading`, `converted_batch` | a split being read; one batch after conversion |
//! | `ring` | the bounded buffer between the two threads |
//! | `chunk`, `dirty` | chunks written and committed; dirty rows counted, limited and kept |
//! | `limits`, `stop`, `progress` | rate limits; the stop signal; live counts |
//! | `watch` | what is looked at about once a second while it runs |

mod chunk;
mod converted_batch;
mod dirty;
mod driver;
mod limits;
mod progress;
mod reading;
mod ring;
mod shared;
mod stop;
mod task;
mod watch;

pub(crate) use driver::{Engine, Observer, Outcome, Reached};
pub(crate) use limits::Rates;
pub(crate) use progress::{Progress, TaskStats};
pub use ring::{Received, RingLimits, ring};
pub(crate) use stop::{Stop, StopReason};
