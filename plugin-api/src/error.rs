//! The one error type of plugins and of what calls them. Kinds name what the caller can do about
//! the failure; mapping them to exit codes is left to the host.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
///
/// | kind | reaction of the host |
/// |---|---|
/// | `Connection` from a read task | opens the split again, if its ability allows it, by [`crate::Backoff`] |
/// | `Retry` from a write task | rolls the chunk back and replays it, up to a limit |
/// | `Cancelled` after a stop | ends quietly: the reason for the stop is reported instead |
/// | `Defect` | stops the run; hints at a bug report |
/// | all others | stop the run and roll back what is not committed |
///
/// Every kind has an exit code of its own or shares one, see the reference. A kind that an older
/// side does not know reads as `Other` there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option is wrong, missing or contradicts another one: the user edits the job file.
    Options,
    /// A table, file, column or object does not exist.
    NotFound,
    /// Something exists that must not: a table to be created, a file to be written.
    Exists,
    /// The store cannot be reached, the connection was lost, or the login failed. The host opens
    /// a split again after it, and replays nothing else.
    Connection,
    /// The store refuses access: the login lacks a right.
    Denied,
    /// Columns, types or keys do not fit, or changed since the plan.
    Schema,
    /// The plugin or the store does not have the ability that was asked for.
    Unsupported,
    /// A transient failure inside a chunk (deadlock, busy server, lost connection): the host rolls
    /// the chunk back and replays it.
    Retry,
    /// No space is left at the destination.
    Space,
    /// The input violates its format beyond single rows, which would be dirty rows.
    Data,
    /// Another session or run holds the destination.
    Locked,
    /// The host asked to stop, and the call returned early.
    Cancelled,
    /// A panic or a broken contract: a bug in the plugin or the host.
    Defect,
    /// Everything else.
    Other,
}

/// An error with a kind, a stable code, a place and a hint.
///
/// There is one constructor per kind. [`fmt::Display`] prints place and message of this layer
/// only; the host prints hint and causes, once. `causes` holds the deeper layers as text, because
/// a source of another library cannot cross the boundary.
///
/// # Examples
/// ```
/// use transload_plugin_api::{Error, ErrorKind};
///
/// let cause = "4x".parse::<u32>().unwrap_err();
/// let error = Error::data("`4x` is not a number")
///     .with_code("FILE-NUMBER")
///     .at("`rows.csv`, line 7")
///     .hint("quote the column, or declare it as `text`")
///     .caused_by(&cause);
/// assert_eq!(error.kind, ErrorKind::Data);
/// assert_eq!(error.to_string(), "`rows.csv`, line 7: `4x` is not a number");
/// assert_eq!(error.causes, ["invalid digit found in string"]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// What the caller can do.
    pub kind: ErrorKind,
    /// A stable code for programs, such as `FILE-QUOTE`; empty if no program needs one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What happened: lower case, no final period, values in backticks.
    pub message: String,
    /// Where it happened: file and line, table and column, task, row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The key of the job file whose value is at fault. From a plugin it is the name of an option
    /// or of a key of the host (`table`, `key`, `before[1]`: items are counted from 0); the host adds the section and
    /// puts the key's file, line and column before the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// What the user can do: a command, a line of the job file, or one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Deeper layers, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Which plugin returned it. Set by the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<ErrorOrigin>>,
}

/// Which plugin returned an error, as which role and from which of its functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorOrigin {
    /// The plugin's name.
    pub plugin: String,
    /// `reader` or `writer`.
    pub role: String,
    /// The function's name in the contract, such as `next_batch`.
    pub verb: String,
}

impl fmt::Display for ErrorOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, role, verb } = self;
        write!(f, "plugin `{plugin}`, {role}, `{verb}`")
    }
}

impl Error {
    /// An error of a kind that is computed. Where the kind is known, its constructor is shorter:
    /// [`Error::schema`], [`Error::data`] and so on.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: String::new(),
            message: message.into(),
            place: None,
            key: None,
            hint: None,
            causes: Vec::new(),
            origin: None,
        }
    }

    /// An option is wrong, missing or contradicts another one. See [`ErrorKind::Options`].
    pub fn options(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Options, message)
    }

    /// A table, file, column or object does not exist. See [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Something exists that must not. See [`ErrorKind::Exists`].
    pub fn exists(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Exists, message)
    }

    /// The store cannot be reached, the connection was lost, or the login failed. The host
    /// reconnects and reads on where the split's ability allows it. See [`ErrorKind::Connection`].
    pub fn connection(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Connection, message)
    }

    /// The store refuses access. See [`ErrorKind::Denied`].
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    /// Columns, types or keys do not fit, or changed since the plan. See [`ErrorKind::Schema`].
    pub fn schema(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Schema, message)
    }

    /// The plugin or the store does not have the ability. See [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A transient failure within a chunk: the host rolls the chunk back and replays it. See [`ErrorKind::Retry`].
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, message)
    }

    /// The destination is full. See [`ErrorKind::Space`].
    pub fn space(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Space, message)
    }

    /// The input violates its format, beyond single rows. See [`ErrorKind::Data`].
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// Another session or run holds the destination. See [`ErrorKind::Locked`].
    pub fn locked(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Locked, message)
    }

    /// The host asked to stop; [`Cancel::check`](crate::Cancel::check) makes it. See [`ErrorKind::Cancelled`].
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, message)
    }

    /// A broken contract: a bug of the plugin or the host, not of the job. See [`ErrorKind::Defect`].
    pub fn defect(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Defect, message)
    }

    /// None of the other kinds. See [`ErrorKind::Other`].
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, message)
    }

    /// Sets the stable code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Sets the place. A place set before is kept: it came from an inner layer and is more exact.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.get_or_insert_with(|| place.into());
        self
    }

    /// Names the key of the job file whose value is at fault. A key named before is kept: the inner
    /// layer knows it better.
    #[must_use]
    pub fn of_key(mut self, key: impl Into<String>) -> Self {
        self.key.get_or_insert_with(|| key.into().into_boxed_str());
        self
    }

    /// Sets the hint: a command, a line of the job file, or one sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds another error and its sources to the causes.
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

/// Kinds of I/O errors with an equivalent are mapped to it. An `Error` that was wrapped in an I/O
/// error, as readers and writers of bytes have to do, is unwrapped unchanged.
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
