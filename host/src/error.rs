//! The host's one error type: a plugin-api error with the exit code that it leads to. The kinds, and
//! what crosses to plugins, are defined in plugin-api.

use std::{fmt, process::ExitCode};

use serde::Serialize;
use transload_plugin_api as api;

use crate::job::Places;

/// Shorthand for results of the host.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit codes; stable, and listed in docs/reference.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub(crate) enum Exit {
    /// Success, within all limits.
    Done = 0,
    /// The run failed.
    Failed = 1,
    /// Wrong usage or a wrong job file.
    Usage = 2,
    /// The dirty limit was exceeded.
    DirtyLimit = 3,
    /// A file, object or table that the job names does not exist, or not yet.
    NotFound = 4,
    /// A store cannot be reached, or refused the login.
    Connection = 5,
    /// The schemas do not fit, or changed since the plan.
    Schema = 6,
    /// A plugin could not be loaded, or violated its contract.
    Plugin = 7,
    /// Two stores do not hold the same rows.
    Different = 8,
    /// Another run holds the target.
    Locked = 9,
    /// A temporary failure that persisted through all retries.
    TryAgain = 75,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The exit code of another process of this program.
    pub(crate) fn of(code: u8) -> Self {
        let all = [
            Self::Done,
            Self::Usage,
            Self::DirtyLimit,
            Self::NotFound,
            Self::Connection,
            Self::Schema,
            Self::Plugin,
            Self::Different,
            Self::Locked,
            Self::TryAgain,
            Self::Interrupted,
            Self::Terminated,
        ];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error of the host. It is printed once, where a command ends.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Error {
    /// The process's exit code.
    pub(crate) exit: Exit,
    /// What went wrong.
    #[serde(flatten)]
    pub(crate) error: Box<api::Error>,
}

impl Error {
    /// An error without code, place or hint. Its kind follows from the exit code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let kind = match exit {
            Exit::Usage => api::ErrorKind::Options,
            Exit::NotFound => api::ErrorKind::NotFound,
            Exit::Schema => api::ErrorKind::Schema,
            Exit::Interrupted | Exit::Terminated => api::ErrorKind::Cancelled,
            Exit::DirtyLimit => api::ErrorKind::Data,
            _ => api::ErrorKind::Other,
        };
        Self { exit, error: Box::new(api::Error::new(kind, message)) }
    }

    /// An error of the catalog: the plugin cannot be used, whatever the kind of the error.
    pub(crate) fn unusable_plugin(error: api::Error) -> Self {
        Self { exit: Exit::Plugin, error: Box::new(error) }
    }

    /// Adds a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error.hint = Some(hint.into());
        self
    }

    /// Adds an outer place, such as a task, before the inner one.
    #[must_use]
    pub(crate) fn within(mut self, outer: &str) -> Self {
        let inner = self.error.place.take();
        self.error.place =
            Some(inner.map_or(outer.to_owned(), |inner| format!("{outer}: {inner}")));
        self
    }

    /// Sets the stable code, one of [`api::code::ALL`].
    #[must_use]
    pub(crate) fn code(mut self, code: &str) -> Self {
        code.clone_into(&mut self.error.code);
        self
    }

    /// Names the key of the job file whose value is at fault, by its dotted path.
    #[must_use]
    pub(crate) fn of_key(mut self, path: impl Into<String>) -> Self {
        self.error.key.get_or_insert_with(|| path.into().into_boxed_str());
        self
    }

    /// Sets the place, unless an inner layer has set a more exact one.
    #[must_use]
    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        self.error.place.get_or_insert_with(|| place.into());
        self
    }
}

/// Errors that were found together: all of them are reported, so that all can be fixed at once.
/// The first one gives the exit code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<Error>);

impl Errors {
    /// The value, or nothing and one error more.
    pub(crate) fn keep<T, E: Into<Self>>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|errors| self.0.extend(errors.into().0)).ok()
    }

    /// Adds problems that a plugin returned beside its result.
    pub(crate) fn add(&mut self, problems: &mut Vec<api::Error>) {
        self.0.extend(problems.drain(..).map(Error::from));
    }

    /// Each with the place of the key that it is about.
    #[must_use]
    pub(crate) fn located(self, places: &Places) -> Self {
        Self(self.0.into_iter().map(|error| places.locate(error)).collect())
    }

    /// What was found, as a result.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl<E: Into<Error>> From<E> for Errors {
    fn from(error: E) -> Self {
        Self(vec![error.into()])
    }
}

/// Maps the kinds of plugins' errors to exit codes; no other code does.
impl From<api::Error> for Error {
    fn from(error: api::Error) -> Self {
        use api::ErrorKind as Kind;
        let exit = match error.kind {
            // Nothing in the job is wrong.
            Kind::Unsupported if error.code == api::code::PLUGIN_OLD => Exit::Plugin,
            Kind::NotFound if error.code == api::code::TABLE_MISSING => Exit::Schema,
            Kind::Options | Kind::Unsupported => Exit::Usage,
            Kind::NotFound => Exit::NotFound,
            Kind::Connection | Kind::Denied => Exit::Connection,
            Kind::Schema => Exit::Schema,
            Kind::Defect => Exit::Plugin,
            Kind::Locked => Exit::Locked,
            Kind::Retry => Exit::TryAgain,
            _ => Exit::Failed,
        };
        Self { exit, error: Box::new(error) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let api::Error { code, hint, causes, origin, .. } = &*self.error;
        if !code.is_empty() {
            write!(f, "[{code}] ")?;
        }
        write!(f, "{}", indented(&self.error.to_string()))?;
        for cause in causes {
            write!(f, "\n  caused by: {}", indented(cause))?;
        }
        if let Some(origin) = origin {
            write!(f, "\n  from: {origin}")?;
        }
        if let Some(hint) = hint {
            write!(f, "\n  hint: {}", indented(hint))?;
        }
        Ok(())
    }
}

/// A text whose further lines cannot be taken for lines of the program itself.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_is_too_old_is_no_mistake_of_the_job() {
        let old = api::Error::unsupported("`discover` came with plugin ABI 1.1");
        assert_eq!(Error::from(old.clone()).exit, Exit::Usage);
        assert_eq!(Error::from(old.with_code(api::code::PLUGIN_OLD)).exit, Exit::Plugin);
    }

    #[test]
    fn further_lines_of_a_message_are_indented() {
        let error = Error::new(Exit::Failed, "one\nerror: two").hint("a\nb");
        assert_eq!(error.to_string(), "one\n    error: two\n  hint: a\n    b");
    }
}
