//! Host.
// pub mod catalog;
pub mod engine;
mod error;
pub mod job;
mod journal;
mod nearest;
pub mod plan;
mod stores;
pub use error::*;
