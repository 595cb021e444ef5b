//! What is read: a table, or a query of the job's as the server describes it, and their columns.

use transload_plugin_api::{Column, Error, ErrorKind, Result};
use transload_tables::{Relation as What, Source, known_columns};

use crate::{
    catalog::{self, Table},
    session::Session,
    types::{ColumnType, column_type},
};

/// One column that can be read.
#[derive(Clone, Debug)]
pub(crate) struct SourceColumn {
    pub(crate) column: Column,
    pub(crate) kind: ColumnType,
}

impl AsRef<Column> for SourceColumn {
    fn as_ref(&self) -> &Column {
        &self.column
    }
}

/// A table or a query with its columns.
pub(crate) enum Relation {
    Table(Table),
    Query(Vec<SourceColumn>),
}

impl Relation {
    /// Looks up what the job names.
    pub(crate) fn find(session: &mut Session, source: &Source) -> Result<Self> {
        match source.relation()? {
            What::Table(name) => Ok(Self::Table(catalog::table(session, name)?)),
            What::Query(query) => query_columns(session, query).map(Self::Query),
        }
    }

    pub(crate) fn columns(&self) -> Vec<SourceColumn> {
        match self {
            Self::Table(table) => table
                .columns
                .iter()
                .map(|it| SourceColumn { column: it.column.clone(), kind: it.kind.clone() })
                .collect(),
            Self::Query(columns) => columns.clone(),
        }
    }
}

/// The column of this name.
pub(crate) fn find_column<'a>(own: &'a [SourceColumn], name: &str) -> Result<&'a SourceColumn> {
    own.iter().find(|column| column.column.name == name).ok_or_else(|| {
        Error::new(ErrorKind::Schema, format!("the source has no column `{name}`"))
            .hint(known_columns(own))
    })
}

/// A query without the semicolon that would end the statement around it.
pub(crate) fn trimmed(query: &str) -> &str {
    query.trim_end().trim_end_matches(';')
}

/// The columns of a query, described by the server without running it.
fn query_columns(session: &mut Session, query: &str) -> Result<Vec<SourceColumn>> {
    // As a subquery nothing that writes is accepted, nor a second statement.
    let sql = format!("SELECT * FROM ({}\n) AS q", trimmed(query));
    let described = session.describe("prepare `query`", &sql).map_err(|error| {
        let kind = if error.kind == ErrorKind::Other { ErrorKind::Options } else { error.kind };
        Error { kind, ..error }
    })?;
    let oids: Vec<_> = described.iter().map(|column| column.type_oid).collect();
    let types = catalog::types(session, &oids)?;
    let mut columns: Vec<SourceColumn> = Vec::new();
    for (found, (native, mut facts)) in described.into_iter().zip(types) {
        let name = found.name;
        if columns.iter().any(|other| other.column.name == name) {
            let message = format!("`query` has two columns named `{name}`");
            return Err(Error::new(ErrorKind::Options, message).hint("name one of them with AS"));
        }
        facts.modifier = found.modifier;
        let kind = column_type(facts);
        let mut column = Column::new(name, kind.logical.clone(), true);
        column.native = native;
        columns.push(SourceColumn { column, kind });
    }
    Ok(columns)
}
