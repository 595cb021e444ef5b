//! The columns of the job's own query, and where they stand in its rows.

use rusqlite::Connection;
use transload_plugin_api::{Column, Error, ErrorKind, LogicalType, Result};

use crate::{failure::failure, types::logical_of};

/// The columns of a query, which only reads.
pub(crate) fn query_columns(connection: &Connection, query: &str) -> Result<Vec<Column>> {
    let statement = connection.prepare(query).map_err(|error| bad_query(&error))?;
    if !statement.readonly() {
        return Err(Error::options("`query` does more than read"));
    }
    let column = |column: rusqlite::Column<'_>| {
        let declared = column.decl_type().unwrap_or_default();
        let logical = logical_of(declared);
        let inferred = logical.is_none();
        let mut made = Column::new(column.name(), logical.unwrap_or(LogicalType::TEXT), true);
        (made.native, made.inferred) = (declared.to_owned(), inferred);
        made
    };
    let columns: Vec<_> = statement.columns().map(column).collect();
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].iter().any(|other| other.name.eq_ignore_ascii_case(&column.name)) {
            let message = format!("`query` has two columns named `{}`", column.name);
            return Err(Error::options(message).hint("name one of them with AS"));
        }
    }
    Ok(columns)
}

/// Where each wanted column stands in the query's rows.
pub(crate) fn query_indexes(
    connection: &Connection,
    query: &str,
    columns: &[Column],
) -> Result<Vec<usize>> {
    let own = query_columns(connection, query)?;
    let find = |wanted: &Column| {
        own.iter()
            .position(|column| column.name.eq_ignore_ascii_case(&wanted.name))
            .ok_or_else(|| Error::schema(format!("the query has no column `{}`", wanted.name)))
    };
    columns.iter().map(find).collect()
}

fn bad_query(error: &rusqlite::Error) -> Error {
    let mut mapped = failure("prepare `query`", error);
    if mapped.kind == ErrorKind::Other {
        mapped.kind = ErrorKind::Options;
    }
    mapped
}
