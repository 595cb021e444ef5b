//! Host.
pub mod engine;
mod error;
pub use error::*;
