//! JSON lines and JSON arrays of objects: text to batches and back. Numbers are never converted to
//! floats on the way, and nested values keep their own bytes, unless the job divides objects into
//! columns.

mod decode;
mod encode;
mod infer;
mod keys;
mod nested;
mod scan;

pub use decode::{JsonDecoder, UnknownKeys};
pub(crate) use encode::{JsonColumn, JsonEncoder};
pub use infer::JsonInference;
pub(crate) use nested::json_texts;

/// How records are laid out in a JSON file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonShape {
    /// One object per line (`.jsonl`, `.ndjson`).
    Lines,
    /// One array of objects (`.json`).
    Array,
}
