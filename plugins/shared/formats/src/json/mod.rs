//! JSON lines and JSON arrays of objects: text to batches and back. Numbers are never converted to
//! floats on the way, and nested values keep their own bytes.

mod decode;
mod encode;
mod infer;
mod keys;
mod scan;

pub use decode::{JsonDecoder, UnknownKeys};
pub(crate) use encode::JsonEncoder;
pub(crate) use encode::{JsonColumn, json_texts};
pub use infer::JsonInference;

/// How records are laid out in a JSON file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonShape {
    /// One object per line (`.jsonl`, `.ndjson`).
    Lines,
    /// One array of objects (`.json`).
    Array,
}
