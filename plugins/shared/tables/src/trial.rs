//! Tries without effect what a job would run: the condition of a reader, the rights that it needs,
//! the statements of a writer. Each database says itself how it looks at a statement without running
//! it; what is tried, and what an earlier statement leaves open, is decided here once.

use transload_plugin_api::{Error, ErrorKind, Result, WritePlan};

use crate::{ReadDatabase, Relation, Source, WriteDatabase, query};

/// What a database's error about a tried statement begins with; it is replaced by the place of the
/// statement.
pub const TRYING: &str = "try the statement";

/// What a job's own SQL met.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// What the database refuses, each with the key of the job that holds it.
    pub(crate) problems: Vec<Error>,
    /// What could not be tried, for the plan.
    pub(crate) notes: Vec<String>,
}

/// Tries the reading of a source whose table or query is described.
///
/// # Errors
/// Only a lost connection and the stop signal.
pub(crate) fn reading<D: ReadDatabase>(
    database: &D,
    session: &mut D::Session,
    source: &Source,
) -> Result<Vec<Error>> {
    let (from, key) = match source.relation()? {
        Relation::Table(name) => (D::DIALECT.quoted_table(name), source.key.as_str()),
        Relation::Query(text) => (format!("({text}\n) AS q"), "query"),
    };
    let plain = format!("SELECT 1 FROM {from}");
    if let Err(error) = database.try_select(session, &plain) {
        return Ok(vec![refused(error, key, "")?.or_grant(database, session, source)?]);
    }
    let Some(filter) = &source.filter else { return Ok(Vec::new()) };
    // The line break ends a comment at the end of the condition.
    let filtered = format!("{plain} WHERE ({filter}\n)");
    match database.try_select(session, &filtered) {
        Ok(()) => Ok(Vec::new()),
        Err(error) => Ok(vec![refused(error, "where", "`where`: ")?]),
    }
}

/// The hint of an error about rights: the statement that gives them.
pub(crate) trait OrGrant: Sized {
    /// The error with that hint, if it has none.
    fn or_grant<D: ReadDatabase>(
        self,
        database: &D,
        session: &mut D::Session,
        source: &Source,
    ) -> Result<Self>;
}

impl OrGrant for Error {
    fn or_grant<D: ReadDatabase>(
        mut self,
        database: &D,
        session: &mut D::Session,
        source: &Source,
    ) -> Result<Self> {
        if self.kind == ErrorKind::Denied
            && self.hint.is_none()
            && let Relation::Table(name) = source.relation()?
        {
            self.hint = database.grant(session, name)?;
        }
        Ok(self)
    }
}

/// Tries the statements before and after the rows. `is_new`: the run makes the table, which the
/// statements may name.
///
/// # Errors
/// Only a lost connection and the stop signal.
pub(crate) fn statements<D: WriteDatabase>(
    database: &D,
    session: &mut D::Session,
    plan: &WritePlan,
    is_new: bool,
) -> Result<Tried> {
    let mut tried = Tried::default();
    // What may have changed the names that later statements use.
    let mut changed = is_new.then(|| "the table that the run creates".to_owned());
    for (key, list) in [("before", &plan.before), ("after", &plan.after)] {
        for (index, text) in list.iter().enumerate() {
            let place = format!("`{key}` statement {}", index + 1);
            for statement in query::statements(text, D::DIALECT) {
                let is_plain = query::is_plain(statement, D::DIALECT);
                match database.try_statement(session, statement, is_plain) {
                    Ok(()) if is_plain => {}
                    Ok(()) => tried.notes.push(format!(
                        "not tried: {place}, of which only the syntax was looked at"
                    )),
                    Err(Error { kind: ErrorKind::Unsupported, message, .. }) => {
                        tried.notes.push(format!("not tried: {place}: {message}"));
                    }
                    Err(Error {
                        kind: ErrorKind::NotFound | ErrorKind::Schema, message, ..
                    }) if changed.is_some() => {
                        let changed = changed.as_deref().unwrap_or_default();
                        let note = format!(
                            "not tried: {place}, which may need {changed}: {}",
                            untitled(&message)
                        );
                        tried.notes.push(note);
                    }
                    Err(error) => {
                        let key = format!("{key}[{index}]");
                        tried.problems.push(refused(error, &key, &format!("{place}: "))?);
                    }
                }
                if !is_plain {
                    changed = Some(format!("what {place} does"));
                }
            }
        }
    }
    Ok(tried)
}

/// The refusal of a job's own text, which stands under `key`. A server that is gone, and a stop,
/// are no refusals.
fn refused(mut error: Error, key: &str, prefix: &str) -> Result<Error> {
    match error.kind {
        ErrorKind::Connection | ErrorKind::Cancelled => return Err(error),
        ErrorKind::Other => error.kind = ErrorKind::Options,
        // Not the table that is read or written, but one that the job's text names.
        ErrorKind::NotFound => error.kind = ErrorKind::Schema,
        _ => {}
    }
    error.message = format!("{prefix}{}", untitled(&error.message));
    Ok(error.of_key(key))
}

/// A database's text without what was tried.
fn untitled(message: &str) -> &str {
    message.strip_prefix(TRYING).map_or(message, |rest| rest.trim_start_matches(": "))
}
