//! A statement while the database runs it: it is logged, and shown as a wait if it takes long. Whether
//! it succeeds is left to the session.

use transload_plugin_api::Waiting;

/// Statements that open and end transactions or set a session up: too many for the first level.
const CONTROL: [&str; 8] =
    ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "START", "PRAGMA"];

/// A statement begins; `doing` says for people what it does: `create the table`. Hold what is
/// returned until it has ended.
pub fn running(doing: &str, sql: &str) -> Waiting {
    if CONTROL.iter().any(|word| sql.starts_with(word)) {
        tracing::debug!("{sql}");
    } else {
        tracing::info!("{sql}");
    }
    waiting_to(doing)
}

/// As [`running`], for one of many that belong to a chunk.
pub fn running_often(doing: &str, sql: &str) -> Waiting {
    tracing::debug!("{sql}");
    waiting_to(doing)
}

/// As [`running`], for a look into the database's catalog.
pub fn looking(doing: &str, sql: &str) -> Waiting {
    tracing::trace!("{sql}");
    waiting_to(doing)
}

fn waiting_to(doing: &str) -> Waiting {
    Waiting::quiet(format_args!("waiting for the database to {doing}"))
}
