//! The problems of a job file, each with its place, key and hint. All problems of a job are collected
//! and printed together. What is a problem is decided elsewhere.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::Error;

use crate::nearest::nearest;

/// A place in a file, or in an argument of the command line, which has no lines. Lines and columns are
/// counted from 1; 0 means the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: Arc<Path>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl fmt::Display for Location {
    /// `job.toml:4:9`, as compilers print places; `FROM, character 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match (self.line, self.column) {
            (0, 0) => Ok(()),
            (0, column) => write!(f, ", character {column}"),
            (line, column) => write!(f, ":{line}:{column}"),
        }
    }
}

impl Location {
    /// A file as a whole, or a flag of the command line.
    pub(crate) fn whole(file: impl AsRef<Path>) -> Self {
        Self { file: Arc::from(file.as_ref()), line: 0, column: 0 }
    }
}

/// One mistake in a job file, a connection file or a flag that belongs to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// The file as the user named it, or the flag.
    pub(crate) file: PathBuf,
    /// Counted from 1; 0 for the file as a whole.
    pub(crate) line: u32,
    /// In characters, counted from 1; 0 for the file as a whole.
    pub(crate) column: u32,
    /// The key's dotted path, such as `writer.write_mode`; may be empty.
    pub(crate) key: String,
    /// Lower case, no final period, values in backticks, never a secret's value.
    pub(crate) message: String,
    /// The code of an error that is no mistake of the file, such as that of a refused plugin.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) code: String,
    /// What the user can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    pub(crate) fn new(place: &Location, key: &str, message: impl Into<String>) -> Self {
        Self {
            file: place.file.to_path_buf(),
            line: place.line,
            column: place.column,
            key: key.to_owned(),
            message: message.into(),
            code: String::new(),
            hint: None,
        }
    }

    /// As an error from elsewhere, with its code and hint.
    #[must_use]
    pub(crate) fn because_of(mut self, error: Error) -> Self {
        self.code = error.code;
        self.hint = error.hint;
        self
    }

    /// Sets a stable code.
    #[must_use]
    pub(crate) fn with_code(mut self, code: &str) -> Self {
        code.clone_into(&mut self.code);
        self
    }

    /// Says what the user can do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the hint `did you mean`, if one of `names` is similar.
    #[must_use]
    pub(super) fn nearest<'a>(
        mut self,
        name: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        if let Some(near) = nearest(name, names) {
            self.hint = Some(format!("did you mean `{near}`?"));
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, .. } = *self;
        write!(f, "{}:", Location { file: self.file.as_path().into(), line, column })?;
        if !self.code.is_empty() {
            write!(f, " [{}]", self.code)?;
        }
        write!(f, " {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All problems found, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem, unless it is there already.
    pub(crate) fn add(&mut self, problem: Problem) {
        // A connection that both sides use is checked twice.
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Adds all of another list.
    pub(crate) fn extend(&mut self, others: &Self) {
        others.0.iter().for_each(|problem| self.add(problem.clone()));
    }

    /// Sorted by line and column: flags, then the file `first`, then other files as they were found.
    pub(super) fn sorted(mut self, first: &Path) -> Self {
        let flags = ["--param", "--cyctime", "--bizdate"].map(PathBuf::from);
        let mut files = [&flags[..], &[first.to_path_buf()]].concat();
        for problem in &self.0 {
            if !files.contains(&problem.file) {
                files.push(problem.file.clone());
            }
        }
        self.0.sort_by_key(|problem| {
            let file = files.iter().position(|file| *file == problem.file);
            (file, problem.line, problem.column)
        });
        self
    }

    /// All problems, each changed.
    #[must_use]
    pub(crate) fn map(self, change: impl FnMut(Problem) -> Problem) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// Whether there are no problems.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

/// The result of checks: problems that stop the job, and warnings.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Problems,
    pub(super) warnings: Problems,
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `a`, `b`, `c`, each in backticks.
pub(super) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_and_told_once() {
        let at = |file: &str, line| Location { file: Arc::from(Path::new(file)), line, column: 1 };
        let mut problems = Problems::default();
        problems.add(Problem::new(&at("connections.toml", 2), "c", "third").hint("do it"));
        problems.add(Problem::new(&at("job.toml", 9), "b", "second"));
        problems.add(Problem::new(&at("job.toml", 3), "a", "first"));
        problems.add(Problem::new(&at("job.toml", 3), "a", "first"));
        assert_eq!(
            problems.sorted(Path::new("job.toml")).to_string(),
            "job.toml:3:1: first\njob.toml:9:1: second\nconnections.toml:2:1: third\n  hint: do it"
        );
    }
}
