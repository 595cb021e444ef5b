//! Standard SQL, as far as this plugin writes it: double quotes around names, no parameters.

use transload_tables::{Conflict, Dialect, Lexis};

/// The dialect of databases of which nothing else is known.
pub(crate) struct StandardDialect;

impl Dialect for StandardDialect {
    fn database(&self) -> &'static str {
        "the database"
    }

    fn quote(&self) -> char {
        '"'
    }

    fn placeholder(&self, _index: usize, sql: &mut String) {
        sql.push('?');
    }

    fn on_conflict(&self, conflict: &Conflict<'_>, sql: &mut String) {
        conflict.standard(self, sql);
    }

    /// Values are never bound one by one.
    fn parameters(&self) -> usize {
        1
    }

    fn identifier_bytes(&self) -> Option<usize> {
        None
    }

    fn folds_case(&self) -> bool {
        false
    }

    fn lexis(&self) -> Lexis {
        Lexis { dollars: true, nested: true, ..Lexis::default() }
    }
}
