//! The job's own query: its columns, as the server describes them.

use transload_plugin_api::{Error, ErrorKind, Result};

use crate::{
    catalog::{self, TableColumn},
    session::Session,
};

/// The columns of a query, described by the server without running it.
pub(crate) fn query_columns(session: &mut Session, query: &str) -> Result<Vec<TableColumn>> {
    // As a subquery nothing that writes is accepted, nor a second statement.
    let sql = format!("SELECT * FROM ({query}\n) AS q");
    let described = session.describe("prepare `query`", &sql).map_err(|error| {
        let kind = if error.kind == ErrorKind::Other { ErrorKind::Options } else { error.kind };
        Error { kind, ..error }
    })?;
    let types: Vec<_> = described.iter().map(|column| (column.type_oid, column.modifier)).collect();
    let types = catalog::types(session, &types)?;
    let mut columns: Vec<TableColumn> = Vec::new();
    for (found, (names, facts)) in described.into_iter().zip(types) {
        let name = found.name;
        if columns.iter().any(|other| other.column.name == name) {
            let message = format!("`query` has two columns named `{name}`");
            return Err(Error::options(message).hint("name one of them with AS"));
        }
        columns.push(TableColumn::of_query(name, names, facts));
    }
    Ok(columns)
}
