//! The way to the server stage by stage, and what can be done there: the findings of
//! `transload connection test` and of both roles' `check`.

use transload_plugin_api::{Error, Result};
use transload_tables::{ConnectionStages, Relation, TableName, TlsMode};

use crate::{
    catalog, connect::Connector, dialect::quoted_table, endpoint::NOT_OPEN, session::Session,
    snapshot,
};

/// Tries the stages up to the login; the session, if there is one, comes with them.
pub(crate) fn log_in(connector: &Connector) -> (ConnectionStages, Option<Session>) {
    let (mut found, address) = (ConnectionStages::default(), &connector.address);
    if !address.reach(&mut found) {
        return (found, None);
    }
    let by_tls = address.tls.mode != TlsMode::Disable;
    let mut session = Connector::reading(address.clone(), connector.host.clone()).connect();
    if by_tls {
        let verified = address.tls.mode.words();
        let tls = match &mut session {
            Ok(session) => tls_words(session).map(|words| format!("{words}; {verified}")),
            Err(error) if error.code == NOT_OPEN => Err(error.clone()),
            Err(_) => Ok(verified.to_owned()),
        };
        if !found.report("tls", tls) {
            return (found, None);
        }
    }
    let words = format!("as `{}`, database `{}`", address.user, address.database);
    let tls = if by_tls { "" } else { ", without TLS" };
    let mut session = found.add("login", session, |_| format!("{words}{tls}"));
    if let Some(session) = &mut session {
        found.report("server", server_words(session));
    }
    (found, session)
}

fn tls_words(session: &mut Session) -> Result<String> {
    let sql = "SELECT format('%s, %s', coalesce(version, 'not'), coalesce(cipher, 'encrypted')) \
               FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
    session.text("ask about TLS", sql, &[])
}

fn server_words(session: &mut Session) -> Result<String> {
    let sql = "SELECT format('PostgreSQL %s, time zone %s, encoding %s%s', \
                 current_setting('server_version'), \
                 (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'), \
                 current_setting('server_encoding'), \
                 CASE WHEN pg_catalog.pg_is_in_recovery() THEN ', a standby' END)";
    session.text("read the server's settings", sql, &[])
}

/// What reading can count on here.
pub(crate) fn reading(found: &mut ConnectionStages, session: &mut Session) {
    let rights = catalog::tables(session).map(|tables| match tables.len() {
        0 => "warning: no readable tables: the database is empty, or USAGE on schemas or SELECT is missing".to_owned(),
        1 => "SELECT on 1 table or view".to_owned(),
        count => format!("SELECT on {count} tables and views"),
    });
    found.report("rights", rights);
    let pages = match session.server().version {
        ..140_000 => "by keys; ranges of pages need PostgreSQL 14",
        _ => "by ranges of pages, or by keys",
    };
    let words = match snapshot::attempt(session) {
        Ok(()) => format!("all splits can share one snapshot; tables are divided {pages}"),
        // A reader can do without.
        Err(error) => format!("splits cannot share one snapshot: {error}; use one split"),
    };
    found.report("snapshot", Ok(words));
}

/// Whether this login may read what the job names; `columns` is their number, or why the server
/// does not describe them.
pub(crate) fn source(
    found: &mut ConnectionStages,
    session: &mut Session,
    relation: &Relation,
    columns: Result<usize>,
) {
    let words = columns.and_then(|count| {
        let Relation::Table(name) = relation else {
            return Ok(format!("`query`: {count} columns"));
        };
        let sql = "SELECT pg_catalog.has_any_column_privilege($1::text::regclass, 'SELECT')";
        match session.row("look up rights", sql, &[&quoted_table(name)])?.flag(0)? {
            true => Ok(format!("table `{name}`: {count} columns")),
            false => Err(Error::denied(format!("no right to read `{name}`"))
                .hint(format!("GRANT SELECT ON {name} TO the user"))),
        }
    });
    found.report("source", words);
}

/// What writing can count on here, whatever the table.
pub(crate) fn writing(found: &mut ConnectionStages, session: &mut Session) {
    let sql = "SELECT format('schemas where tables can be made: %s; temporary tables (for \
                 `ignore` and `upsert`): %s', \
                 coalesce((SELECT string_agg(n.nspname, ', ' ORDER BY n.nspname) \
                   FROM pg_catalog.pg_namespace n WHERE n.nspname NOT LIKE 'pg\\_%' \
                   AND n.nspname <> 'information_schema' \
                   AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')), 'none'), \
                 CASE WHEN pg_catalog.has_database_privilege(current_database(), 'TEMPORARY') \
                   THEN 'allowed' ELSE 'forbidden' END)";
    found.report("rights", session.text("look up rights", sql, &[]));
}

/// Whether this login may insert into the target.
pub(crate) fn target(found: &mut ConnectionStages, session: &mut Session, name: &TableName) {
    found.report("table", target_words(session, name));
}

fn target_words(session: &mut Session, name: &TableName) -> Result<String> {
    let Some(table) = catalog::find_table(session, name)? else {
        return Ok(format!("table `{name}` does not exist yet"));
    };
    let sql = "SELECT coalesce(string_agg(word, ', ' ORDER BY place), 'nothing') FROM \
               unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) \
                 WITH ORDINALITY AS r(word, place) \
               WHERE pg_catalog.has_table_privilege($1::oid, word)";
    let words = session.text("look up rights", sql, &[&table.oid.to_string()])?;
    match words.contains("INSERT") {
        true => Ok(format!("table `{name}` exists; rights: {words}")),
        false => Err(Error::denied(format!("no right to insert into `{name}`"))
            .hint(format!("rights there: {words}"))),
    }
}
