//! Whether a chunk is in the target, asked over another session: these servers report nothing about
//! a transaction that has ended, so its first and its last row are looked for by a unique key.

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use transload_plugin_api::{DirtyRow, Result, WriteMode, WritePlan};
use transload_tables::{Dialect as _, KeyValue, TableName};

use crate::{
    catalog::Table,
    columns::key_value,
    dialect::{MysqlDialect, quoted},
    session::{Next, Session},
    stage::in_full,
};

const DOING: &str = "look for the last chunk";

/// A chunk's first and last row.
#[derive(Clone, Default)]
pub(crate) struct Mark {
    first: Option<Vec<KeyValue>>,
    last: Option<Vec<KeyValue>>,
    /// When the server began to work, in seconds since 1970; `None` if it does not say.
    pub(crate) server: Option<i64>,
}

/// Notes the keys of a chunk's rows.
pub(crate) struct Marker {
    /// The statement that looks for a row.
    sql: String,
    /// Where the key's columns stand in a batch. Empty if rows cannot be looked for.
    key: Vec<usize>,
    open: Mark,
}

impl Marker {
    /// For rows that are new in `into`, by a unique key that has a value in each of them.
    pub(crate) fn new(plan: &WritePlan, target: &Table, into: &TableName) -> Self {
        let place = |name: &String| {
            let same = |other: &str| MysqlDialect.is_same_column(other, name);
            plan.columns.iter().position(|column| same(&column.name))
        };
        let is_told = |at: &usize| {
            let column = &plan.columns[*at];
            !column.nullable && is_key(column.logical.data_type())
        };
        let key = target.keys.iter().filter(|key| !key.unusable).find_map(|key| {
            let places: Vec<_> = key.columns.iter().map(place).collect::<Option<_>>()?;
            (!places.is_empty() && places.iter().all(is_told)).then_some(places)
        });
        let key = key.filter(|_| plan.mode == WriteMode::Insert).unwrap_or_default();
        let conditions: Vec<_> =
            key.iter().map(|at| format!("{} = ?", quoted(&plan.columns[*at].name))).collect();
        // A locking read waits for a row that a lost session is still about to commit.
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} LOCK IN SHARE MODE",
            in_full(into),
            conditions.join(" AND ")
        );
        Self { sql, key, open: Mark::default() }
    }

    /// Notes the first and the last row of a batch that the server took.
    pub(crate) fn note(&mut self, batch: &RecordBatch, dirty: &[DirtyRow]) {
        if self.key.is_empty() {
            return;
        }
        let taken = |row: &usize| dirty.iter().all(|dirty| dirty.row != *row as u64);
        let key = |row: usize| -> Option<Vec<KeyValue>> {
            self.key.iter().map(|at| key_value(batch.column(*at), row)).collect()
        };
        if self.open.first.is_none() {
            self.open.first = (0..batch.num_rows()).find(taken).and_then(key);
        }
        if let Some(last) = (0..batch.num_rows()).rfind(taken) {
            self.open.last = key(last);
        }
    }

    /// The mark of the rows noted since the last call.
    pub(crate) fn take(&mut self) -> Mark {
        std::mem::take(&mut self.open)
    }

    /// Whether the chunk is in; `None` if nothing tells.
    pub(crate) fn is_in(&self, session: &mut Session, mark: &Mark) -> Result<Option<bool>> {
        let (Some(first), Some(last)) = (&mark.first, &mark.last) else { return Ok(None) };
        let (first, last) = (self.is_there(session, first)?, self.is_there(session, last)?);
        Ok((first == last).then_some(first))
    }

    fn is_there(&self, session: &mut Session, key: &[KeyValue]) -> Result<bool> {
        let cancel = session.cancel.clone();
        let failed = |failure: crate::failure::Failure| failure.into_error(DOING, &cancel);
        let mut prepared = session.prepare(&self.sql).map_err(failed)?;
        session.execute(&mut prepared, key).map_err(failed)?;
        let mut found = false;
        while let Next::Row(_) = session.next().map_err(failed)? {
            found = true;
        }
        Ok(found)
    }
}

/// When the server began to work. It reports for how long, so two moments that differ by a second
/// are the same.
pub(crate) fn server(session: &mut Session) -> Option<i64> {
    let schema = if session.server.mariadb { "information_schema" } else { "performance_schema" };
    let sql = format!(
        "SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE FROM {schema}.global_status \
         WHERE VARIABLE_NAME = 'UPTIME'"
    );
    let rows = session.rows("ask for the server's start", &sql).ok()?;
    let start: f64 = rows.first()?.first()?.as_deref()?.parse().ok()?;
    Some(start as i64)
}

/// Whether a key's value of this type can be looked for.
fn is_key(kind: DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Utf8 | DataType::Binary)
}
