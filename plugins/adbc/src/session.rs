//! A connection and what is asked of it by SQL. The calls themselves are `driver`'s.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{
    Array as _, ArrayRef, RecordBatch, RecordBatchReader as _, cast::AsArray as _,
    ffi_stream::RecordBatchStreamReader,
};
use arrow_cast::cast;
use arrow_schema::{DataType, Schema};
use transload_plugin_api::{Cancel, Error, ErrorKind, Registration, Result, TableInfo, code};
use transload_tables::{Dialect as _, TableName, TextRows};

use crate::{
    dialect::StandardDialect,
    driver::{Connection, Failure, NOT_IMPLEMENTED, Statement, broken},
    failure::{Hidden, failed},
    objects::tables_of,
    store::pairs,
};

/// A session.
pub(crate) struct Session {
    pub(crate) connection: Arc<Connection>,
    statement_options: BTreeMap<String, String>,
    hidden: Arc<Hidden>,
    cancel: Cancel,
}

/// The rows of a statement that runs.
pub(crate) struct Rows {
    stream: RecordBatchStreamReader,
    doing: &'static str,
    hidden: Arc<Hidden>,
    cancel: Cancel,
    /// Cancels the statement after the stop signal.
    _registration: Registration,
    /// Released after the stream, which may use it.
    _statement: Arc<Statement>,
}

impl Rows {
    pub(crate) fn schema(&self) -> Arc<Schema> {
        self.stream.schema()
    }

    /// The next batch, or `None` behind the last one.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.cancel.check()?;
        match self.stream.next() {
            None => Ok(None),
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => {
                self.cancel.check()?;
                Err(failed(self.doing, &broken(&error), &self.hidden))
            }
        }
    }
}

impl Session {
    pub(crate) fn new(
        connection: Arc<Connection>,
        statement_options: BTreeMap<String, String>,
        hidden: Hidden,
        cancel: &Cancel,
    ) -> Self {
        let (hidden, cancel) = (Arc::new(hidden), cancel.clone());
        Self { connection, statement_options, hidden, cancel }
    }

    /// The error of a failed call; after the stop signal that is the reason.
    pub(crate) fn failed(&self, doing: &str, failure: &Failure) -> Error {
        match self.cancel.check() {
            Err(stopped) => stopped,
            Ok(()) => failed(doing, failure, &self.hidden),
        }
    }

    /// A new statement, with the job's options, and what cancels it after the stop signal.
    pub(crate) fn statement(&self, doing: &str) -> Result<(Arc<Statement>, Registration)> {
        self.cancel.check()?;
        let made = Statement::new(&self.connection);
        let statement = made.map_err(|failure| self.failed(doing, &failure))?;
        for (key, value) in pairs(&self.statement_options) {
            let set = statement.set(key, value);
            set.map_err(|failure| self.failed(doing, &failure).of_key("statement_options"))?;
        }
        let running = Arc::clone(&statement);
        let registration = self.cancel.while_kept(move || running.cancel());
        Ok((statement, registration))
    }

    fn query(&self, doing: &str, sql: &str) -> Result<(Arc<Statement>, Registration)> {
        let (statement, registration) = self.statement(doing)?;
        statement.query(sql).map_err(|failure| self.failed(doing, &failure))?;
        Ok((statement, registration))
    }

    /// Runs a query.
    pub(crate) fn select(&self, doing: &'static str, sql: &str) -> Result<Rows> {
        let (statement, registration) = self.query(doing, sql)?;
        let stream = statement.rows().map_err(|failure| self.failed(doing, &failure))?;
        Ok(Rows {
            stream,
            doing,
            hidden: Arc::clone(&self.hidden),
            cancel: self.cancel.clone(),
            _registration: registration,
            _statement: statement,
        })
    }

    /// The columns of a query. A driver that cannot tell without running it runs it.
    pub(crate) fn result_schema(&self, doing: &'static str, sql: &str) -> Result<Arc<Schema>> {
        let (statement, _registration) = self.query(doing, sql)?;
        match statement.schema() {
            Ok(schema) => Ok(Arc::new(schema)),
            Err(failure) if failure.status == NOT_IMPLEMENTED => {
                Ok(self.select(doing, sql)?.schema())
            }
            Err(failure) => Err(self.failed(doing, &failure)),
        }
    }

    /// Runs a statement; the number of rows that it has changed, if the driver knows it.
    pub(crate) fn execute(&self, doing: &str, sql: &str) -> Result<Option<u64>> {
        let (statement, _registration) = self.query(doing, sql)?;
        statement.run().map_err(|failure| self.failed(doing, &failure))
    }

    /// The rows of a small result, as texts.
    pub(crate) fn texts(&self, doing: &'static str, sql: &str) -> Result<TextRows> {
        let mut rows = self.select(doing, sql)?;
        let mut texts = TextRows::new();
        while let Some(batch) = rows.next()? {
            let columns: Vec<ArrayRef> = batch
                .columns()
                .iter()
                .map(|column| cast(column, &DataType::Utf8))
                .collect::<Result<_, _>>()
                .map_err(|error| failed(doing, &broken(&error), &self.hidden))?;
            let cell = |column: &ArrayRef, row: usize| {
                let texts = column.as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            let row = |row| columns.iter().map(|column| cell(column, row)).collect();
            texts.extend((0..batch.num_rows()).map(row));
        }
        Ok(texts)
    }

    /// All tables and views.
    pub(crate) fn tables(&self) -> Result<Vec<TableInfo>> {
        let doing = "list the tables";
        let stream = self.connection.objects().map_err(|failure| self.failed(doing, &failure))?;
        let mut tables = Vec::new();
        for batch in stream {
            let batch = batch.map_err(|error| failed(doing, &broken(&error), &self.hidden))?;
            tables.extend(tables_of(&batch)?);
        }
        tables.sort_by_key(TableInfo::path);
        Ok(tables)
    }

    /// Whether a table or view of that name is listed.
    pub(crate) fn is_listed(&self, name: &TableName) -> Result<bool> {
        let is_it = |table: &TableInfo| {
            let schema = name.schema.as_deref();
            table.bare().eq_ignore_ascii_case(&name.table)
                && schema.is_none_or(|schema| table.schema.as_deref() == Some(schema))
        };
        Ok(self.tables()?.iter().any(is_it))
    }

    /// The columns of the rows of a table.
    pub(crate) fn table_rows_schema(&self, name: &TableName) -> Result<Arc<Schema>> {
        let sql = format!("SELECT * FROM {}", StandardDialect.quoted_table(name));
        let found = self.result_schema("look at the table", &sql);
        found.map_err(|error| match error.kind {
            ErrorKind::Cancelled | ErrorKind::Connection => error,
            // Few drivers tell a missing table from other mistakes.
            _ => match self.is_listed(name) {
                Ok(false) => Error::not_found(format!("there is no table `{name}`")),
                _ => error,
            },
        })
    }

    /// The columns of a table as the driver describes it, or `None` if there is no such table.
    pub(crate) fn table_schema(&self, name: &TableName) -> Result<Option<Schema>> {
        let found = self.connection.table_schema(name.schema.as_deref(), &name.table);
        match found {
            Ok(schema) => Ok(Some(schema)),
            // Few drivers tell a missing table from other failures.
            Err(failure) => match self.is_listed(name) {
                Ok(false) => Ok(None),
                _ => Err(self.failed("look at the table", &failure)),
            },
        }
    }

    /// Whether the database keeps values of any type in any column, so that the driver describes
    /// the rows and not the columns.
    pub(crate) fn is_untyped(&self) -> bool {
        let Ok(mut stream) = self.connection.vendor() else { return false };
        let Some(Ok(batch)) = stream.next() else { return false };
        let values = batch.column_by_name("info_value");
        let values = values.and_then(|values| values.as_union_opt());
        let name = values.filter(|values| !values.is_empty()).map(|values| values.value(0));
        let name = name.as_ref().and_then(|name| name.as_string_opt::<i32>());
        name.is_some_and(|name| !name.is_empty() && name.value(0).eq_ignore_ascii_case("sqlite"))
    }

    /// From now on statements are parts of transactions.
    pub(crate) fn begin_transactions(&self) -> Result<()> {
        let set = self.connection.set("adbc.connection.autocommit", "false");
        set.map_err(|failure| self.failed("begin a transaction", &failure))
    }

    pub(crate) fn commit(&self) -> Result<()> {
        self.connection.commit().map_err(|failure| self.failed("commit", &failure))
    }

    /// Works after the stop signal as well.
    pub(crate) fn rollback(&self) -> Result<()> {
        let rolled = self.connection.rollback();
        rolled.map_err(|failure| failed("roll back", &failure, &self.hidden))
    }

    /// Appends the rows to a table, or makes the table of their columns.
    pub(crate) fn ingest(&self, name: &TableName, mode: &str, batch: &RecordBatch) -> Result<()> {
        let doing = if mode == CREATE { "create the table" } else { "write" };
        let (statement, _registration) = self.statement(doing)?;
        let send = || -> Result<Option<u64>, Failure> {
            statement.set("adbc.ingest.target_table", &name.table)?;
            if let Some(schema) = &name.schema {
                statement.set("adbc.ingest.target_db_schema", schema)?;
            }
            statement.set("adbc.ingest.mode", mode)?;
            statement.bind(batch)?;
            statement.run()
        };
        let rows = send().map_err(|failure| self.failed(doing, &failure))?;
        match rows {
            Some(rows) if rows != batch.num_rows() as u64 && batch.num_rows() > 0 => {
                let message = format!("the driver took {rows} of {} rows", batch.num_rows());
                Err(Error::other(message).with_code(code::ADBC_STATUS))
            }
            _ => Ok(()),
        }
    }
}

/// Modes of bulk ingest.
pub(crate) const APPEND: &str = "adbc.ingest.mode.append";
pub(crate) const CREATE: &str = "adbc.ingest.mode.create";
