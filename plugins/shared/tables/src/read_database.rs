//! The seam below [`TableReader`](crate::TableReader): what one database does in its own way when
//! a table or a query is read. Looking columns up, checking them again before a split is read,
//! encoding splits and resuming at a position are not here: `reader` holds them once.

use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    Column, DigestRequest, Error, Finding, Key, ReadTask, Result, SplitAbility, SplitRequest,
    TableInfo, TablePage, TableRequest,
};

use crate::{
    Dialect, KeySplit, KeySql, KeyValue, Keys, RangeDigest, Relation, Source, TableName, TextRows,
};

/// One database that tables are read from. Shared by the readers of all tables of a job and by the
/// threads of all tasks.
pub trait ReadDatabase: Send + Sync + 'static {
    /// How the database writes SQL.
    const DIALECT: &'static (dyn Dialect + Sync);
    /// The hint where the rows of a table come in no order: what the table would need.
    const ORDER: &'static str;
    /// The hint where a column cannot hold the watermark of an incremental job: which can.
    const INCREMENTS: &'static str = "this database has no increments";

    /// A connection.
    type Session: Send;
    /// A column of a table or query.
    type Column: AsRef<Column>;
    /// A table as the catalog describes it.
    type Table;

    /// Opens a session that looks up the catalog. Ended by the job's stop signal.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`](transload_plugin_api::ErrorKind::Connection) if the server cannot
    /// be reached now.
    fn connect(&self) -> Result<Self::Session>;

    /// The findings of `check`: the way to the server, rights, and the source if one is named.
    ///
    /// # Errors
    /// None for what is a finding.
    fn check(&self, source: &Source) -> Result<Vec<Finding>>;

    /// The tables and views that this login sees.
    ///
    /// # Errors
    /// Those of the query.
    fn tables(&self, session: &mut Self::Session) -> Result<Vec<TableInfo>>;

    /// One page of them, in the order of their schemas and names, with columns and keys where they
    /// are wanted.
    ///
    /// # Errors
    /// As [`ReadDatabase::tables`].
    fn page(&self, session: &mut Self::Session, request: &TableRequest) -> Result<TablePage> {
        request.page(self.tables(session)?)
    }

    /// A table or query as the database describes it now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](transload_plugin_api::ErrorKind::NotFound) if there is no such
    /// table, [`ErrorKind::Options`](transload_plugin_api::ErrorKind::Options) for a query that
    /// the database refuses.
    fn describe(
        &self,
        session: &mut Self::Session,
        relation: &Relation,
    ) -> Result<Description<Self::Column, Self::Table>>;

    /// Looks at a SELECT without running it: its text, the names in it, and the right to read them
    /// as far as the database reports without running it.
    ///
    /// # Errors
    /// What the database refuses, of kind [`ErrorKind::Denied`](transload_plugin_api::ErrorKind::Denied)
    /// where a right is missing.
    fn try_select(&self, session: &mut Self::Session, sql: &str) -> Result<()>;

    /// The statement by which an owner lets this login read a table; `None` where there are no
    /// logins.
    ///
    /// # Errors
    /// Those of a look-up.
    fn grant(&self, session: &mut Self::Session, name: &TableName) -> Result<Option<String>>;

    /// The column as it is read if `wanted` is asked for: in the wanted type where that has the
    /// same outcome for every value as reading it in its own type and converting, else in its own.
    /// [`read_as`] makes the column.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](transload_plugin_api::ErrorKind::Unsupported) if the column
    /// cannot be read in any type.
    fn produces(&self, column: &Self::Column, wanted: &Column) -> Result<Column>;

    /// Divides the source into at most `request.max` parts (at least 1) that hold each row exactly
    /// once; NULL keys may take one more. What the request needs of them is reached where the
    /// job's options leave the choice.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`](transload_plugin_api::ErrorKind::Schema) or `Unsupported` for a split
    /// key that cannot be used.
    fn divide(
        &self,
        session: &mut Self::Session,
        source: &Source,
        description: &Description<Self::Column, Self::Table>,
        request: &SplitRequest,
    ) -> Result<Vec<Division>>;

    /// Opens a session that reads one split, inside a transaction that sees one state: the named
    /// one, or that of this moment.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](transload_plugin_api::ErrorKind::NotFound) if the named state is
    /// gone.
    fn enter(&self, snapshot: &Snapshot) -> Result<Self::Session>;

    /// The digests of the parts of a range, in a session of [`ReadDatabase::enter`]; `None` if the
    /// database cannot compute them as they are asked for.
    ///
    /// # Errors
    /// Those of the statements.
    fn digest(
        &self,
        session: Self::Session,
        source: &Source,
        description: &Description<Self::Column, Self::Table>,
        request: &DigestRequest,
    ) -> Result<Option<Vec<RangeDigest>>> {
        let _ = (session, source, description, request);
        Ok(None)
    }

    /// A key in whose order an increment is read, as SQL; `None` if its order is not one that all
    /// databases share. Its first column may be NULL.
    ///
    /// # Errors
    /// For columns that do not exist.
    fn key_sql(
        &self,
        description: &Description<Self::Column, Self::Table>,
        key: &[String],
    ) -> Result<Option<KeySql>> {
        let _ = (description, key);
        Ok(None)
    }

    /// The few rows of a statement about keys, as texts.
    ///
    /// # Errors
    /// Those of the statement.
    fn key_rows(&self, session: &mut Self::Session, sql: &str) -> Result<TextRows> {
        let _ = (session, sql);
        Err(Error::unsupported("this database has no increments"))
    }

    /// The condition that the rows of a range of keys meet, as SQL; `None` if all do. Only of keys
    /// that [`ReadDatabase::digest`] or [`ReadDatabase::key_sql`] took. Rows without a key meet none.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](transload_plugin_api::ErrorKind::Unsupported) for other keys, as
    /// by default; [`ErrorKind::Data`](transload_plugin_api::ErrorKind::Data) for a text that is no
    /// key.
    fn keys_condition(
        &self,
        description: &Description<Self::Column, Self::Table>,
        keys: &Keys,
    ) -> Result<Option<String>> {
        let _ = (description, keys);
        Err(Error::unsupported("this database has no ranges of keys"))
    }

    /// Reads one split to its end. The session is of [`ReadDatabase::enter`].
    ///
    /// # Errors
    /// Those of starting the statement.
    fn scan(
        &self,
        session: Self::Session,
        request: ScanRequest<'_, Self::Column, Self::Table>,
    ) -> Result<Box<dyn ReadTask>>;
}

/// The column `own` under the name of `wanted`, in its type if `in_type`; it may be NULL if both
/// may.
pub fn read_as(own: &Column, wanted: &Column, in_type: bool) -> Column {
    let mut column = own.clone();
    column.name.clone_from(&wanted.name);
    column.nullable = own.nullable && wanted.nullable;
    if in_type {
        column.logical = wanted.logical.clone();
    }
    column
}

/// A table or query as a database describes it.
#[derive(Clone, Debug)]
pub struct Description<C, T> {
    /// The columns, in order.
    pub columns: Vec<C>,
    /// The keys; none of a query.
    pub keys: Vec<Key>,
    /// Notes for the plan, such as columns that cannot be read.
    pub notes: Vec<String>,
    /// Warnings for plan, run and report: what is left out without a word of the job.
    pub warnings: Vec<String>,
    /// The name by which the database knows the table, whatever the job calls it; the text of a
    /// query.
    pub identity: String,
    /// The catalog's entry; `None` for a query.
    pub table: Option<T>,
}

/// One part of a divided source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// In words, for the plan. See [`KeyRange::label`](crate::KeyRange::label).
    pub label: String,
    /// Which rows.
    pub part: KeySplit,
    /// Which state of the source its reading sees.
    pub snapshot: Snapshot,
    /// About how many rows, if known.
    pub rows: Option<u64>,
    /// As [`transload_plugin_api::Split::note`].
    pub note: Option<String>,
    /// As [`transload_plugin_api::Split::hint`]; without one [`ReadDatabase::ORDER`] is said.
    pub hint: Option<String>,
}

/// Which state of a source the reading of a split sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Snapshot {
    /// The one at the start of this reading.
    #[default]
    Own,
    /// As `Own`, and another reading must not continue it: the job asks for one state.
    Single,
    /// One that several splits share, by the name that finds it again.
    Shared(String),
}

impl Division {
    /// A part that sees the state at its own start.
    pub fn new(part: KeySplit, rows: Option<u64>) -> Self {
        let label = part.range.label(part.column.as_deref().unwrap_or_default());
        Self { label, part, snapshot: Snapshot::Own, rows, note: None, hint: None }
    }

    /// What can be promised about reading it again: rows in the order of a key continue anywhere,
    /// unless another session would see another state.
    pub(crate) fn ability(&self) -> SplitAbility {
        match self.part.order.is_empty() || self.snapshot != Snapshot::Own {
            true => SplitAbility::Bounded,
            false => SplitAbility::Seekable,
        }
    }
}

/// What to read of a split.
#[derive(Clone, Copy, Debug)]
pub struct ScanRequest<'a, C, T> {
    /// The source, with the job's own condition.
    pub source: &'a Source,
    /// The source as the database describes it in this session.
    pub description: &'a Description<C, T>,
    /// Which rows, in which order.
    pub part: &'a KeySplit,
    /// The batch's columns, each as [`ReadDatabase::produces`] returns it for the description.
    pub columns: &'a [Column],
    /// Only rows after this key, one value for each column of `part.order`.
    pub after: Option<&'a [KeyValue]>,
}
