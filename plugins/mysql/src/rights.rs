//! The rights that an overwrite needs beside those on rows: to make, change, rename and drop tables.
//! The server checks none of them when it prepares such statements. They are tried on a table that
//! does not exist: a server reports a missing right before it looks for the table. So nothing
//! changes, no lock is taken on the target, and roles count.

use transload_plugin_api::{Error, ErrorKind, Result};
use transload_tables::{Dialect as _, TableName};

use crate::{
    dialect::{MysqlDialect, quoted, text_literal},
    random::random,
    session::Session,
    stage::in_full,
    trial,
};

/// The problem of a login that lacks rights for an overwrite by swapping tables. The stage and the
/// old table have names of the run, so the rights have to be those on the whole database.
pub(crate) fn swap(session: &mut Session, target: &TableName) -> Result<Option<Error>> {
    let name = absent(target)?;
    let mut missing = Vec::new();
    for (right, sql) in [
        ("SELECT", format!("SELECT 1 FROM {name}")),
        ("INSERT", format!("INSERT INTO {name} () VALUES ()")),
        ("DELETE", format!("DELETE FROM {name}")),
        ("CREATE", format!("CREATE TABLE {name} (id INT)")),
    ] {
        if denied(trial::prepare(session, &sql))? {
            missing.push(right);
        }
    }
    for (right, sql) in [("ALTER", alteration(&name)), ("DROP", format!("DROP TABLE {name}"))] {
        if denied(attempt(session, &sql))? {
            missing.push(right);
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let schema = target.schema.as_deref().unwrap_or_default();
    let message = format!(
        "this user lacks rights on database `{schema}` to swap tables: {}",
        missing.join(", ")
    );
    let hint = trial::grant_on(session, &missing.join(", "), &format!("{}.*", quoted(schema)))?;
    Ok(Some(Error::denied(message).of_key("write_mode").hint(hint)))
}

/// Whether the target may be emptied.
pub(crate) enum Emptying {
    Permitted,
    Denied(Error),
    /// Only the run can tell.
    Unknown(String),
}

/// TRUNCATE needs DROP, on the database or on the table. On the table itself it cannot be tried
/// without effect, so what is granted there is looked up.
pub(crate) fn emptying(session: &mut Session, target: &TableName) -> Result<Emptying> {
    let absent = absent(target)?;
    if !denied(attempt(session, &format!("DROP TABLE {absent}")))? {
        return Ok(Emptying::Permitted);
    }
    let granted = format!(
        "SELECT COUNT(*) FROM information_schema.table_privileges \
         WHERE privilege_type = 'DROP' AND table_schema = {} AND table_name = {} \
           AND grantee = CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@', \
             QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)))",
        text_literal(target.schema.as_deref().unwrap_or_default()),
        text_literal(&target.table)
    );
    if number(session, &granted)? > 0 {
        return Ok(Emptying::Permitted);
    }
    let role = "SELECT COALESCE(CURRENT_ROLE(), 'NONE') <> 'NONE'";
    if number(session, role)? > 0 {
        let note = "not tried: the right DROP on the target, which a role may have given";
        return Ok(Emptying::Unknown(note.to_owned()));
    }
    let message = format!("this user lacks a right on `{target}` to empty it: DROP");
    let hint = trial::grant(session, "DROP", target)?;
    Ok(Emptying::Denied(Error::denied(message).of_key("table").hint(hint)))
}

/// A table beside the target that does not exist. Not the run's stage: that of a resumed run does.
fn absent(target: &TableName) -> Result<String> {
    let table = format!("transload_absent_{:016x}", random()?);
    Ok(in_full(&TableName { schema: target.schema.clone(), table }))
}

/// A change that no table can undergo: its second step refers to what its first one removes.
fn alteration(name: &str) -> String {
    let column = MysqlDialect.quoted("transload_absent");
    format!("ALTER TABLE {name} DROP COLUMN {column}, DROP COLUMN {column}")
}

/// Runs a statement about a table that does not exist, which fails.
fn attempt(session: &mut Session, sql: &str) -> Result<()> {
    session.run(transload_tables::TRYING, sql).map(drop)
}

/// The server's codes for one that only allows reading.
const READ_ONLY: [&str; 2] = ["MYSQL-1290", "MYSQL-1836"];

/// Whether a statement failed for want of a right. A server that is gone or that only allows reading,
/// and a stop, are errors.
fn denied(outcome: Result<()>) -> Result<bool> {
    match outcome {
        Err(error) if READ_ONLY.contains(&error.code.as_str()) => {
            Err(Error::denied("the server only allows reading")
                .with_code(error.code)
                .of_key("connection")
                .hint("connect to the primary server, or SET GLOBAL read_only = OFF on this one"))
        }
        Err(error) if matches!(error.kind, ErrorKind::Connection | ErrorKind::Cancelled) => {
            Err(error)
        }
        Err(error) => Ok(error.kind == ErrorKind::Denied),
        Ok(()) => Ok(false),
    }
}

fn number(session: &mut Session, sql: &str) -> Result<u64> {
    let rows = session.rows("look up rights", sql)?;
    let text = rows.into_iter().flatten().flatten().next();
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
}
