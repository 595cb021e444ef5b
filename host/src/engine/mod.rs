//! DOING IT: a plan's tasks, each a reader thread and a writer thread with the ring between.

mod convert;
mod ring;
pub use convert::*;
pub use ring::*;
