//! The reader of one table or query: schema, splits and the opening of a split, the same for every
//! database. What a database does in its own way is behind [`ReadDatabase`]; several tables read
//! as one are `sharded`'s part.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    Column, Digest, DigestPart, DigestRequest, Error, ErrorKind, Finding, Position, ReadTask,
    Reader, Result, SourceSchema, Split, SplitAbility, SplitRequest, TableInfo, TablePage,
    TableRequest,
};

use crate::{
    Description, Division, KeySplit, Keys, RangeDigest, ReadDatabase, Relation, ScanRequest,
    Snapshot, Source, decode_split, encode_split,
    increment::{self, Range, and},
    known_columns,
    missing::{hidden_table, missing_table},
    query::single_statement,
    sharded::Shard,
    sum_of,
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
    /// Only rows of this range of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Keys>,
    /// Only rows of this increment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<Range>,
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

    /// The splits of the source, or of the part of it that the range holds.
    fn divided(
        &self,
        session: &mut D::Session,
        source: &Source,
        description: &Description<D::Column, D::Table>,
        request: &SplitRequest,
        range: Option<&Range>,
    ) -> Result<Vec<Split>> {
        let parts = self.database.divide(session, source, description, request)?;
        let (relation, is_needed) = (source.relation()?, request.ability.is_some());
        parts.into_iter().map(|part| split::<D>(part, relation, is_needed, range)).collect()
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

    fn tables(&self, request: &TableRequest) -> Result<TablePage> {
        self.database.page(&mut self.database.connect()?, request)
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
        let mut request = SplitRequest { max: request.max.max(1), ..request.clone() };
        let Some(increment) = request.increment.take() else {
            return self.divided(&mut session, &self.source, &description, &request, None);
        };
        let database = &*self.database;
        let found = increment::find(database, &mut session, &self.source, &description, &increment);
        let (found, range) = found?;
        let condition = range.condition(database, &description)?;
        let filter = increment::and(self.source.filter.as_deref(), &condition);
        let source = Source { filter: Some(filter), ..self.source.clone() };
        if found.up_to.is_none() {
            request.max = 1;
        }
        let mut splits =
            self.divided(&mut session, &source, &description, &request, Some(&range))?;
        if splits.is_empty() {
            let part = Division::new(KeySplit::whole(Vec::new()), Some(0));
            splits.push(split::<D>(part, relation, false, Some(&range))?);
        }
        splits[0].increment = Some(found);
        Ok(splits)
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let SplitData { part, snapshot, keys, range } = decode_split(split)?;
        if after.is_some() && snapshot != Snapshot::Own {
            return Err(Error::retry("the snapshot that the splits share ended with its session")
                .hint("run the job again"));
        }
        let after = after.map(|position| part.key_after(position)).transpose()?;
        let relation = self.source.relation()?;
        let mut session = self.database.enter(&snapshot)?;
        let description = self.database.describe(&mut session, relation)?;
        let mut source = self.source.clone();
        if let Some(keys) = &keys
            && let Some(condition) = self.database.keys_condition(&description, keys)?
        {
            source.filter = Some(and(source.filter.as_deref(), &condition));
        }
        if let Some(range) = range {
            let condition = range.condition(&*self.database, &description)?;
            source.filter = Some(and(source.filter.as_deref(), &condition));
        }
        for planned in columns {
            self.check_unchanged(&description.columns, planned)?;
        }
        let request = ScanRequest {
            source: &source,
            description: &description,
            part: &part,
            columns,
            after: after.as_deref(),
        };
        self.database.scan(session, request)
    }

    fn digest(&self, request: &DigestRequest) -> Result<Option<Digest>> {
        // Of a query nothing is known of its keys.
        let Relation::Table(_) = self.source.relation()? else { return Ok(None) };
        let mut session = self.database.enter(&Snapshot::Own)?;
        let description = self.database.describe(&mut session, self.source.relation()?)?;
        let found = self.database.digest(session, &self.source, &description, request)?;
        found.map(|ranges| digest(ranges, request)).transpose()
    }
}

/// The digest of a range, with the splits that read its parts.
fn digest(ranges: Vec<RangeDigest>, request: &DigestRequest) -> Result<Digest> {
    let mut whole = Digest::default();
    let (mut sum, mut after) = ((0, 0), request.after.clone());
    for RangeDigest { up_to, rows, high, low } in ranges {
        let end = up_to.clone().or_else(|| request.up_to.clone());
        let keys = Keys { key: request.key.clone(), after: after.take(), up_to: end };
        let label = keys.label();
        let part = KeySplit::whole(Vec::new());
        let (snapshot, keys) = (Snapshot::Own, Some(keys));
        let data = encode_split(&SplitData { part, snapshot, keys, range: None })?;
        let split = Split { rows: Some(rows), ..Split::new(label, data, SplitAbility::Bounded) };
        whole.rows += rows;
        sum = (high.wrapping_add(sum.0), low.wrapping_add(sum.1));
        after.clone_from(&up_to);
        whole.parts.push(DigestPart { up_to, rows, checksum: sum_of(high, low), split });
    }
    whole.checksum = sum_of(sum.0, sum.1);
    Ok(whole)
}

/// A division as the host carries it. `is_needed`: the job's guarantee needs an order.
fn split<D: ReadDatabase>(
    division: Division,
    relation: &Relation,
    is_needed: bool,
    range: Option<&Range>,
) -> Result<Split> {
    let ability = division.ability();
    let Division { label, part, snapshot, rows, note, hint } = division;
    let (table, order) = match relation {
        Relation::Table(table) => (Some(table.to_string()), D::ORDER),
        Relation::Query(_) => (None, ORDER_OF_QUERY),
    };
    let hint = (ability == SplitAbility::Bounded).then(|| hint.unwrap_or_else(|| order.to_owned()));
    let sorted_by = if is_needed { part.sorted_by() } else { None };
    let note = note.or_else(|| sorted_by.map(|columns| sorted(&columns)));
    let data = encode_split(&SplitData { part, snapshot, keys: None, range: range.cloned() })?;
    Ok(Split { rows, table, note, hint, ..Split::new(label, data, ability) })
}

/// The hint where the rows of a query come in no order.
const ORDER_OF_QUERY: &str = "name a table in the place of the query (`table`, `where`): it is \
    read in the order of its key";

/// The note of the plan on ranges of one column that are read in the order of others.
fn sorted(order: &str) -> String {
    format!(
        "the rows of each split are sorted by {order}: the guarantee that the job requires needs \
         an order in which a task continues; without `split_key` no sorting is needed"
    )
}

#[cfg(test)]
mod tests;
