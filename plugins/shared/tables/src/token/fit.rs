//! Whether the token tables of a plan are there, have what is needed, and can be used by this login:
//! looked at when a plan is drafted, and made by `prepare` if the job lets it.

use transload_plugin_api::{Error, ErrorKind, Result, TargetInfo, TokenTables, code};

use super::{Tokens, watermark};
use crate::{TableName, WriteDatabase};

/// What each table needs: its columns, and the keys that must be unique.
const RUN: Needs = Needs {
    columns: &[
        "run_id",
        "job",
        "target",
        "active_key",
        "plan_hash",
        "protocol",
        "state",
        "step",
        "epoch",
        "started",
    ],
    keys: &[&["run_id"], &["active_key"]],
};
const TASK: Needs = Needs {
    columns: &[
        "run_id",
        "task_id",
        "epoch",
        "seq",
        "state",
        "checkpoint",
        "rows_read",
        "rows_inserted",
        "rows_updated",
        "rows_skipped",
        "rows_dirty",
        "owner_id",
        "owner_start",
    ],
    keys: &[&["run_id", "task_id"]],
};

const WATERMARK: Needs = Needs { columns: watermark::COLUMNS, keys: watermark::KEYS };

struct Needs {
    columns: &'static [&'static str],
    keys: &'static [&'static [&'static str]],
}

/// What a plan makes of the token tables.
#[derive(Debug, Default)]
pub(crate) struct TokenFit {
    /// The statements that create those that are missing.
    pub(crate) create: Vec<String>,
    /// What makes tokens impossible.
    pub(crate) problem: Option<Error>,
    /// The table of the watermark is there.
    pub(crate) has_watermark: bool,
}

/// Looks at the token tables, and at that of the watermark if the plan keeps one there, and changes
/// nothing.
///
/// # Errors
/// A lost connection, the stop signal.
pub(crate) fn check<D: WriteDatabase>(
    database: &D,
    session: &mut D::Session,
    tables: &TokenTables,
    tokens: &Tokens,
    has_watermark: bool,
) -> Result<TokenFit> {
    let (mut fit, mut missing) = (TokenFit::default(), Vec::new());
    let mut all: Vec<_> = tokens.ddl().into_iter().zip([RUN, TASK]).collect();
    if has_watermark {
        all.push(((&tokens.watermark, tokens.watermark_ddl()), WATERMARK));
    }
    for ((name, create), needs) in all {
        if let Some(limit) = D::DIALECT.passed_limit(&name.table) {
            let message = format!(
                "`{}`, the name of a table for commit tokens, is longer than {limit}",
                name.table
            );
            fit.problem = Some(Error::options(message).hint("shorten `prefix` in [guarantee]"));
            return Ok(fit);
        }
        match database.find_table(session, name)? {
            Some(table) => {
                let found = check_table(database, session, name, table, &needs)?;
                fit.problem = fit.problem.or(found);
                fit.has_watermark |= std::ptr::eq(name, &raw const tokens.watermark);
            }
            None => {
                missing.push(format!("`{}`", D::DIALECT.shown(name)));
                if tables.create && fit.problem.is_none() {
                    fit.problem = database
                        .creation_problem(session, name, &create)?
                        .map(|cause| not_created(&D::DIALECT.shown(name), cause));
                }
                fit.create.push(create);
            }
        }
    }
    if !missing.is_empty() && !tables.create {
        let message = format!("the tables for commit tokens do not exist: {}", missing.join(", "));
        fit.problem = Some(Error::not_found(message).with_code(code::TOKENS_MISSING).hint(
            "`create_tables = true` in [guarantee] creates them; or an administrator runs \
                     what `transload meta-ddl CONNECTION` prints",
        ));
    }
    Ok(fit)
}

fn not_created(shown: &str, cause: Error) -> Error {
    let message = format!("cannot create the table `{shown}` for commit tokens: {}", cause.message);
    Error { message, key: None, ..cause }.with_code(code::TOKENS_MISSING)
}

fn check_table<D: WriteDatabase>(
    database: &D,
    session: &mut D::Session,
    name: &TableName,
    table: D::Table,
    needs: &Needs,
) -> Result<Option<Error>> {
    let shown = D::DIALECT.shown(name);
    if let Some(reason) = database.token_obstacle(session, &table)? {
        return Ok(Some(unfit(&shown, &reason)));
    }
    let lacks = lacking(&table.into(), needs);
    if !lacks.is_empty() {
        return Ok(Some(unfit(&shown, &format!("it lacks {}", lacks.join(", ")))));
    }
    let (quoted, first) = (D::DIALECT.quoted_table(name), needs.columns[0]);
    for sql in [
        format!("SELECT {first} FROM {quoted}"),
        format!("UPDATE {quoted} SET {first} = {first}"),
        format!("DELETE FROM {quoted}"),
        format!("INSERT INTO {quoted} ({first}) VALUES ('')"),
    ] {
        match database.try_statement(session, &sql, true) {
            Err(error) if error.kind == ErrorKind::Denied => {
                let message = format!("this user lacks rights on `{shown}`, the table of tokens");
                return Ok(Some(Error::denied(message).with_code(code::TOKENS_UNFIT).hint(
                    format!("grant SELECT, INSERT, UPDATE and DELETE on {quoted} to this user"),
                )));
            }
            Err(error) if matches!(error.kind, ErrorKind::Connection | ErrorKind::Cancelled) => {
                return Err(error);
            }
            // What else is wrong with it is not a matter of rights.
            _ => {}
        }
    }
    Ok(None)
}

/// The columns and keys that the table does not have.
fn lacking(table: &TargetInfo, needs: &Needs) -> Vec<String> {
    let is_there = |name: &&&str| table.columns.iter().any(|it| it.name.eq_ignore_ascii_case(name));
    let columns = needs.columns.iter().filter(|name| !is_there(name));
    let is_key = |key: &&&[&str]| {
        let same = |(one, other): (&String, &&str)| one.eq_ignore_ascii_case(other);
        let over =
            |columns: &[String]| columns.len() == key.len() && columns.iter().zip(**key).all(same);
        table.keys.iter().any(|known| !known.unusable && over(&known.columns))
    };
    let keys = needs.keys.iter().filter(|key| !is_key(key));
    columns
        .map(|name| format!("column `{name}`"))
        .chain(keys.map(|key| format!("a unique key over ({})", key.join(", "))))
        .collect()
}

fn unfit(shown: &str, reason: &str) -> Error {
    Error::schema(format!("the table `{shown}` cannot hold commit tokens: {reason}"))
        .with_code(code::TOKENS_UNFIT)
        .hint("set another `prefix` or `schema` in [guarantee], or drop the table")
}
