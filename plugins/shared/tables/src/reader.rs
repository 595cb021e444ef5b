//! The reader of one table or query: schema, splits and the opening of a split, the same for every
//! database. What a database does in its own way is behind [`ReadDatabase`]; several tables read
//! as one are `sharded`'s part.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    Column, Error, ErrorKind, Finding, Position, ReadTask, Reader, Result, SourceSchema, Split,
    SplitRequest, TableInfo,
};

use crate::{
    Description, Division, KeySplit, ReadDatabase, Relation, ScanRequest, Snapshot, Source,
    decode_split, encode_split, known_columns,
    missing::{hidden_table, missing_table},
    query::single_statement,
    sharded::Shard,
    trial::{self, OrGrant as _},
};

/// Reads one table or query of a database.
pub struct TableReader<D: ReadDatabase> {
    database: Arc<D>,
    source: Source,
    /// A `split_key` is given for a query that cannot be divided.
    is_undivided: bool,
}

/// The note of the plan on a query with a `split_key`.
const UNDIVIDED: &str = "`query` is read as one split, because LIMIT, OFFSET, window functions and \
    volatile functions return other rows each time it runs; `query_is_stable = true` lets \
    `split_key` divide it";

/// What a split says to `open`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitData {
    part: KeySplit,
    #[serde(default)]
    snapshot: Snapshot,
}

impl<D: ReadDatabase> TableReader<D> {
    /// A reader of `source`. Readers of several tables share the database.
    ///
    /// A query is read by one split, unless the job says that it is stable: run once a split, it
    /// would lose rows and return others twice if it chose or numbered them anew.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for a query of several statements, or of none.
    pub fn new(database: &Arc<D>, mut source: Source) -> Result<Self> {
        let mut is_undivided = false;
        if let Some(Relation::Query(query)) = &mut source.relation {
            *query = single_statement(query, D::DIALECT)?;
            is_undivided = !source.is_stable && source.split_key.take().is_some();
        }
        Ok(Self { database: Arc::clone(database), source, is_undivided })
    }

    /// The source as the database describes it now.
    fn described(&self) -> Result<Description<D::Column, D::Table>> {
        self.described_in(&mut self.database.connect()?)
    }

    fn described_in(&self, session: &mut D::Session) -> Result<Description<D::Column, D::Table>> {
        let described = self.database.describe(session, self.source.relation()?);
        described.or_else(|error| Err(self.explained(session, error)?))
    }

    /// Why a source cannot be described: which table was meant, or which right is missing.
    fn explained(&self, session: &mut D::Session, error: Error) -> Result<Error> {
        let Relation::Table(name) = self.source.relation()? else {
            return Ok(error.of_key(&self.source.key));
        };
        let explained = match error.kind {
            ErrorKind::NotFound => {
                let tables = self.database.tables(session)?;
                let select = format!("SELECT 1 FROM {}", D::DIALECT.quoted_table(name));
                match self.database.try_select(session, &select) {
                    Err(denied) if denied.kind == ErrorKind::Denied => {
                        let grant = self.database.grant(session, name)?;
                        hidden_table(name, &tables, grant.as_deref())
                    }
                    _ => missing_table(D::DIALECT, name, &tables),
                }
            }
            _ => error.or_grant(&*self.database, session, &self.source)?,
        };
        Ok(explained.of_key(&self.source.key))
    }

    fn find<'a>(&self, own: &'a [D::Column], name: &str) -> Result<&'a D::Column> {
        let same = |column: &&D::Column| D::DIALECT.is_same_column(&column.as_ref().name, name);
        own.iter().find(same).ok_or_else(|| {
            Error::schema(format!("the source has no column `{name}`")).hint(known_columns(own))
        })
    }

    /// The source may have changed since the plan: a column that cannot be read as planned any
    /// more must not be read as something else.
    fn check_unchanged(&self, own: &[D::Column], planned: &Column) -> Result<()> {
        let column = self.find(own, &planned.name)?;
        if self.database.produces(column, planned)?.logical == planned.logical {
            return Ok(());
        }
        let now = column.as_ref();
        let Column { name, logical, .. } = planned;
        let native =
            if now.native.is_empty() { now.logical.to_string() } else { now.native.clone() };
        let message = format!("column `{name}` is `{native}` now and was planned as `{logical}`");
        Err(Error::schema(message).hint("the source has changed since the plan: run the job again"))
    }
}

impl<D: ReadDatabase> Shard for TableReader<D> {
    fn identity(&self) -> Result<String> {
        Ok(self.described()?.identity)
    }
}

impl<D: ReadDatabase> Reader for TableReader<D> {
    fn check(&self) -> Result<Vec<Finding>> {
        self.database.check(&self.source)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.database.tables(&mut self.database.connect()?)
    }

    fn schema(&self) -> Result<SourceSchema> {
        let mut session = self.database.connect()?;
        let Description { columns, keys, mut notes, warnings, .. } =
            self.described_in(&mut session)?;
        let problems = trial::reading(&*self.database, &mut session, &self.source)?;
        notes.extend(self.is_undivided.then(|| UNDIVIDED.to_owned()));
        let columns = columns.iter().map(|column| column.as_ref().clone()).collect();
        Ok(SourceSchema { columns, keys, notes, warnings, problems, ..SourceSchema::default() })
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let own = self.described()?.columns;
        let produced =
            |wanted: &Column| self.database.produces(self.find(&own, &wanted.name)?, wanted);
        wanted.iter().map(produced).collect()
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        let relation = self.source.relation()?;
        let mut session = self.database.connect()?;
        let description = self.database.describe(&mut session, relation)?;
        let max = request.max.max(1);
        let parts = self.database.divide(&mut session, &self.source, &description, max)?;
        let table = match relation {
            Relation::Table(table) => Some(table.to_string()),
            Relation::Query(_) => None,
        };
        parts.into_iter().map(|part| split(part, table.clone())).collect()
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let SplitData { part, snapshot } = decode_split(split)?;
        if after.is_some() && snapshot != Snapshot::Own {
            return Err(Error::retry("the snapshot that the splits share ended with its session")
                .hint("run the job again"));
        }
        let after = after.map(|position| part.key_after(position)).transpose()?;
        let relation = self.source.relation()?;
        let mut session = self.database.enter(&snapshot)?;
        let description = self.database.describe(&mut session, relation)?;
        for planned in columns {
            self.check_unchanged(&description.columns, planned)?;
        }
        let request = ScanRequest {
            source: &self.source,
            description: &description,
            part: &part,
            columns,
            after: after.as_deref(),
        };
        self.database.scan(session, request)
    }
}

/// A division as the host carries it.
fn split(division: Division, table: Option<String>) -> Result<Split> {
    let ability = division.ability();
    let Division { label, part, snapshot, rows } = division;
    let data = encode_split(&SplitData { part, snapshot })?;
    Ok(Split { rows, table, ..Split::new(label, data, ability) })
}

#[cfg(test)]
mod tests;
