//! The one error type of plugins and of everything that speaks to them.
//! Kinds say what the caller can do about it; the host alone maps them to exit codes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option is wrong, missing or contradicts another one: mend the job file.
    Options,
    /// A table, file, column or object is not there.
    NotFound,
    /// Something is there that must not be (no-conflict writes, a table to be created).
    Exists,
    /// The store cannot be reached, or the login failed.
    Connection,
    /// The store refuses: no right to do it.
    Denied,
    /// Columns, types or keys do not fit, or changed since the plan.
    Schema,
    /// The plugin, or the store, cannot do what was asked.
    Unsupported,
    /// Passing trouble inside a chunk (busy, deadlock): roll back and replay the chunk.
    Retry,
    /// No space left where rows should go.
    Space,
    /// The input breaks its format beyond single rows.
    Data,
    /// Somebody else holds the destination.
    Locked,
    /// The host asked to stop.
    Cancelled,
    /// A panic or a broken contract: a defect in the plugin.
    Defect,
    /// Everything else.
    Other,
}

/// An error with a kind, a stable code, a place and a hint.
///
/// [`fmt::Display`] prints this layer's message only; `causes` holds the deeper layers as text,
/// because a source of another library cannot cross the boundary alive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// What the caller can do.
    pub kind: ErrorKind,
    /// A stable code, such as `FILE-QUOTE`; empty until somebody needs to tell it apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Lower case, no final period, values in backticks.
    pub message: String,
    /// Where: file and line, table and column, task, row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What the user can do, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Deeper layers, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl Error {
    /// An error of the given kind with its message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: String::new(),
            message: message.into(),
            place: None,
            hint: None,
            causes: Vec::new(),
        }
    }

    /// Sets the stable code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Says where it happened. An inner place is kept: it is the more exact one.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.get_or_insert_with(|| place.into());
        self
    }

    /// Adds a hint for the user.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps another error and its sources as causes.
    #[must_use]
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// One of ours that travelled inside of an I/O error comes out as it was.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            return inner.clone();
        }
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::Exists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Space,
            _ => ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_a_journey_as_i_o_error() {
        let error = Error::new(ErrorKind::Schema, "changed").with_code("X").at("here");
        assert_eq!(Error::from(std::io::Error::other(error.clone())), error);
        let other = Error::from(std::io::Error::other("no"));
        assert_eq!(other, Error::new(ErrorKind::Other, "no"));
    }
}
