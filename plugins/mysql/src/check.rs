//! The way to the server stage by stage, and what can be done there: the findings of
//! `transload connection test` and of both roles' `check`.

use transload_plugin_api::{Error, ErrorKind, Result, code};
use transload_tables::{ConnectionStages, Description, Relation, TableName, TlsMode};

use crate::{
    catalog::{self, Table, TableColumn},
    connect::{Connector, Purpose},
    dialect::{quoted, text_literal},
    session::Session,
    stage::in_full,
};

/// Tries the stages up to the login; the session, if there is one, comes with them.
pub(crate) fn log_in(connector: &Connector) -> (ConnectionStages, Option<Session>) {
    let address = &connector.address;
    let mut found = ConnectionStages::default();
    if !address.reach(&mut found) {
        return (found, None);
    }
    let mut session = connector.connect(Purpose::Look);
    if address.tls.mode != TlsMode::Disable {
        let verified = address.tls.mode.words();
        let tls = match &mut session {
            Ok(session) => tls_words(session).map(|words| format!("{words}; {verified}")),
            Err(error) if error.code == code::MYSQL_TLS => Err(error.clone()),
            Err(_) => Ok(verified.to_owned()),
        };
        if !found.report("tls", tls) {
            return (found, None);
        }
    }
    let tls = if address.tls.mode == TlsMode::Disable { ", without TLS" } else { "" };
    let words = format!("as `{}`, database `{}`{tls}", address.user, address.database);
    let mut session = found.add("login", session, |_| words);
    if let Some(session) = &mut session {
        let words = server_words(session);
        found.report("server", words);
    }
    (found, session)
}

/// The rows of a question of ours, NULL as empty text.
fn ask(session: &mut Session, sql: &str) -> Result<Vec<Vec<String>>> {
    let rows = session.rows("look around", sql)?;
    let cells = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default);
    Ok(rows.into_iter().map(|row| cells(row).collect()).collect())
}

fn tls_words(session: &mut Session) -> Result<String> {
    let rows =
        ask(session, "SHOW SESSION STATUS WHERE Variable_name IN ('Ssl_version', 'Ssl_cipher')")?;
    let values: Vec<_> = rows.into_iter().rev().filter_map(|row| row.into_iter().nth(1)).collect();
    Ok(values.join(", "))
}

fn server_words(session: &mut Session) -> Result<String> {
    let rows = ask(
        session,
        "SELECT CONCAT('time zone ', @@global.time_zone, \
           IF(@@global.time_zone = 'SYSTEM', CONCAT(' (', @@system_time_zone, ')'), ''), \
           ', encoding ', @@global.character_set_server, IF(@@global.read_only, ', read-only', ''))",
    )?;
    let words = rows.into_iter().flatten().next().unwrap_or_default();
    let server = &session.server;
    let local = match session.local_infile {
        true => "permitted",
        false => "forbidden by the server, so rows go by INSERT",
    };
    Ok(format!("{} {}, {words}; LOAD DATA LOCAL is {local}", server.name(), server.text))
}

/// What reading can count on here.
pub(crate) fn reading(found: &mut ConnectionStages, session: &mut Session, connector: &Connector) {
    let database = &connector.address.database;
    let tables = catalog::tables(session, database);
    found.add("rights", tables, |tables| match tables.len() {
        0 => format!("warning: no table of database `{database}` is visible"),
        1 => format!("1 table or view is visible in database `{database}`"),
        count => format!("{count} tables and views are visible in database `{database}`"),
    });
}

/// Whether this login may read what the job names.
pub(crate) fn source(
    found: &mut ConnectionStages,
    session: &mut Session,
    relation: &Relation,
    described: Result<Description<TableColumn, Table>>,
) {
    let words = described.and_then(|described| {
        let count = described.columns.len();
        let (Relation::Table(name), Some(table)) = (relation, &described.table) else {
            return Ok(format!("`query`: {count} columns"));
        };
        // Any column that may be read will do.
        session.rows("read no rows", &format!("SELECT 1 FROM {} LIMIT 0", in_full(name)))?;
        let moment = match (table.is_stored(), table.is_transactional()) {
            (false, _) => format!("a {}", table.kind.word()),
            (_, true) => format!("engine {}: a split reads one snapshot", table.engine),
            (_, false) => format!("engine {}: a split sees changes as it reads", table.engine),
        };
        Ok(format!("table `{name}`: {count} columns, {moment}"))
    });
    found.report("source", words);
}

/// What writing can count on here, whatever the table.
pub(crate) fn writing(found: &mut ConnectionStages, session: &mut Session, connector: &Connector) {
    let database = &connector.address.database;
    let words = granted(session, database).map(|rights| match rights.is_empty() {
        true => format!("nothing is granted to the user on all of database `{database}`"),
        false => format!("granted on database `{database}`: {}", rights.join(", ")),
    });
    found.report("rights", words);
}

/// The rights that a job may need, as granted to the user; what roles and tables add is not here.
fn granted(session: &mut Session, database: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT privilege_type FROM ( \
           SELECT grantee, privilege_type FROM information_schema.user_privileges \
           UNION ALL SELECT grantee, privilege_type FROM information_schema.schema_privileges \
             WHERE {} LIKE table_schema) AS granted \
         WHERE grantee = CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', \
           SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''') \
         AND privilege_type IN \
           ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER') ORDER BY 1",
        text_literal(database)
    );
    Ok(ask(session, &sql)?.into_iter().flatten().collect())
}

/// Whether this login may insert into the target.
pub(crate) fn target(found: &mut ConnectionStages, session: &mut Session, name: &TableName) {
    let words = target_words(session, name);
    found.report("table", words);
}

fn target_words(session: &mut Session, name: &TableName) -> Result<String> {
    let Some(table) = catalog::find_table(session, name)? else {
        return Ok(format!("table `{name}` does not exist yet"));
    };
    let into = in_full(name);
    let column = table.columns.iter().find(|column| !column.column.generated);
    let column = quoted(column.map_or("", |column| &column.column.name));
    // What explains a statement needs the same rights as what runs it, and roles count.
    let mut rights = Vec::new();
    for (right, sql) in [
        ("INSERT", format!("EXPLAIN INSERT INTO {into} () VALUES ()")),
        ("UPDATE", format!("EXPLAIN UPDATE {into} SET {column} = DEFAULT")),
        ("DELETE", format!("EXPLAIN DELETE FROM {into}")),
    ] {
        match session.rows("look up rights", &sql) {
            Ok(_) => rights.push(right),
            Err(error) if error.kind == ErrorKind::Denied => {}
            // The right is there: what else is wrong with the statement does not matter here.
            Err(error) if error.kind != ErrorKind::Connection => rights.push(right),
            Err(error) => return Err(error),
        }
    }
    let rights = if rights.is_empty() { "none".to_owned() } else { rights.join(", ") };
    match rights.contains("INSERT") {
        true => Ok(format!("table `{name}` is there, engine {}; rights: {rights}", table.engine)),
        false => Err(Error::denied(format!("no right to insert into `{name}`"))
            .hint(format!("rights to change it: {rights}"))),
    }
}
