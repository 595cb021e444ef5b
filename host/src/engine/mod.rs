//! DOING IT: a plan's tasks, each a reader thread and a writer thread with the ring between.
//!
//! | file | what it does |
//! |---|---|
//! | `protocol` | what a job and its tasks do next: two state machines, which `simulator` tests |
//! | `driver` | [`Engine::start`]: the job's thread, its lanes, the commit and the cleaning up |
//! | `drift` | whether the target is what the plan saw |
//! | `shared` | what all threads of a run share |
//! | `task` | one task: a reader thread fills the ring, the lane's thread drains it |
//! | `reading`, `skipped` | a split being read, from where an earlier attempt has come to |
//! | `converted_batch` | one batch after conversion |
//! | `ring`, `memory` | the bounded buffer between the two threads; the memory of all batches |
//! | `checkpoint` | what is kept with a chunk, from which a task continues |
//! | `chunk`, `dirty` | chunks written and committed; dirty rows counted, limited and kept |
//! | `limits`, `stop`, `progress` | rate limits; the stop signal; live counts |
//! | `pool` | the lanes and limits that the runs of several tables share |
//! | `watch`, `stall` | what is looked at about once a second while it runs; tasks without progress |

mod checkpoint;
mod chunk;
mod converted_batch;
mod dirty;
mod drift;
mod driver;
mod limits;
mod memory;
mod pool;
mod progress;
mod protocol;
mod reading;
mod ring;
mod shared;
#[cfg(test)]
mod simulator;
mod skipped;
mod stall;
mod stop;
mod task;
mod watch;

pub(crate) use driver::{Engine, Observer, Outcome};
pub(crate) use limits::Rates;
pub(crate) use pool::Pool;
pub(crate) use progress::{Progress, TaskStats};
pub(crate) use protocol::Reached;
pub use ring::{Received, RingLimits, ring};
pub(crate) use stall::Stall;
pub(crate) use stop::{Stop, StopReason};
