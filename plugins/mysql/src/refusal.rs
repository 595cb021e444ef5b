//! Why one value cannot be carried: the code and the words of its dirty row.

/// Why a value cannot be read from the server, or written to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

/// The words of a NULL where none may be.
pub(crate) const NULL_IN_NOT_NULL: &str = "NULL in a NOT NULL column";

/// A refusal with its stable code (`range`, `parse`, `null`, `length`, `zero-date`).
pub(crate) fn refuse(code: &'static str, reason: impl Into<String>) -> Refusal {
    Refusal { code, reason: reason.into() }
}
