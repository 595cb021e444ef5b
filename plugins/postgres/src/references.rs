//! Foreign keys of a target that is overwritten. Its stage cannot have them: making and dropping
//! them would lock the tables that they refer to. So the rows of each batch are looked up before
//! they are staged. The server checks all of them once more when the stage is published.

use transload_plugin_api::Result;

use crate::{
    answer::TextRow,
    catalog::Table,
    dialect::quoted,
    failure::{Failure, ServerError},
    load_plan::TEMPORARY,
    session::Session,
};

/// A foreign key to another table that this login reads as a whole.
pub(crate) struct Reference {
    name: String,
    /// The table that it refers to, as SQL.
    parent: String,
    columns: Vec<String>,
    parent_columns: Vec<String>,
}

/// A statement that finds a row without its parent in the temporary table.
#[derive(Clone, Debug)]
pub(crate) struct OrphanSearch {
    name: String,
    parent: String,
    columns: String,
    sql: String,
}

/// The foreign keys of a table whose rows can be looked up.
pub(crate) fn references(session: &mut Session, table: u32) -> Result<Vec<Reference>> {
    let names = |key: &str, table: &str| {
        format!(
            "pg_catalog.array_to_json(ARRAY( \
               SELECT a.attname::text FROM pg_catalog.unnest(c.{key}) WITH ORDINALITY AS k(n, i) \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.{table} AND a.attnum = k.n \
               ORDER BY i))::text"
        )
    };
    let sql = format!(
        "SELECT c.conname::text, c.confrelid::regclass::text, {}, {} \
         FROM pg_catalog.pg_constraint c \
         WHERE c.conrelid = $1::oid AND c.contype = 'f' AND c.conrelid <> c.confrelid \
           AND pg_catalog.has_table_privilege(c.confrelid, 'SELECT') \
           AND NOT pg_catalog.row_security_active(c.confrelid) ORDER BY 1",
        names("conkey", "conrelid"),
        names("confkey", "confrelid")
    );
    let reference = |row: &TextRow| -> Result<Reference> {
        Ok(Reference {
            name: row.text(0)?.to_owned(),
            parent: row.text(1)?.to_owned(),
            columns: row.list(2)?,
            parent_columns: row.list(3)?,
        })
    };
    let rows = session.rows("look up foreign keys", &sql, &[&table.to_string()])?;
    rows.iter().map(reference).collect()
}

impl Reference {
    /// The search for rows of `target` in the temporary table; `None` if it lacks a column of the
    /// key, which a default then fills.
    pub(crate) fn search(&self, target: &Table, written: &[&str]) -> Option<OrphanSearch> {
        let value = |name: &String| {
            let column = target.column(name).filter(|_| written.contains(&name.as_str()))?;
            let cast =
                if column.kind.by_text { format!("::{}", column.bare) } else { String::new() };
            Some(format!("t.{}{cast}", quoted(name)))
        };
        let values: Vec<_> = self.columns.iter().map(value).collect::<Option<_>>()?;
        let equal = self.parent_columns.iter().zip(&values);
        let equal: Vec<_> =
            equal.map(|(parent, value)| format!("p.{} = {value}", quoted(parent))).collect();
        let given: Vec<_> = values.iter().map(|value| format!("{value} IS NOT NULL")).collect();
        let shown: Vec<_> = values.iter().map(|value| format!("{value}::text")).collect();
        let sql = format!(
            "SELECT pg_catalog.concat_ws(', ', {}) FROM {TEMPORARY} t \
             WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {}) LIMIT 1",
            shown.join(", "),
            given.join(" AND "),
            self.parent,
            equal.join(" AND ")
        );
        let columns = self.columns.join(", ");
        Some(OrphanSearch { name: self.name.clone(), parent: self.parent.clone(), columns, sql })
    }
}

impl OrphanSearch {
    /// Fails as the server does where a row has no parent.
    pub(crate) fn run(&self, session: &mut Session) -> Result<(), Failure> {
        let found = session.try_rows(&self.sql, &[])?;
        let Some(row) = found.first() else { return Ok(()) };
        let Self { name, parent, columns, .. } = self;
        let key = row.optional(0).unwrap_or_default();
        Err(Failure::Server(Box::new(ServerError {
            state: "23503".to_owned(),
            message: format!("the row violates foreign key constraint \"{name}\""),
            detail: Some(format!("Key ({columns})=({key}) is not present in table \"{parent}\"")),
            ..ServerError::default()
        })))
    }
}
