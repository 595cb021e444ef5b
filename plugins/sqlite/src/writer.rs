//! The target of a job: what SQLite does in its own way when a table is written. The order of the
//! verbs is `transload_tables`'s.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use transload_plugin_api::{
    Cancel, Error, Finding, Host, Options, Result, TableInfo, TargetInfo, TaskContext, WriteMode,
    WritePlan, Writer,
};
use transload_tables::{
    Access, Dialect, Draft, Drafting, SessionIdentity, TableName, TableWriter, TargetTable,
    Wording, WriteDatabase,
};

use crate::{
    catalog::{self, Table},
    connect::{check_folder, open_to_look},
    dialect::SqliteDialect,
    draft,
    load::Loader,
    options::{WriterOptions, main_table},
    session::{Session, SharedConnection},
    stage::{SqliteDestination, Stage, drop_empty},
    trial,
};

/// A database file that tables are written to.
pub(crate) struct SqliteTarget {
    options: WriterOptions,
    host: Host,
    /// Opened by the first verb that writes.
    shared: Mutex<Option<Arc<SharedConnection>>>,
}

/// The writer that the options ask for.
pub(crate) fn writer(options: &Options, host: &Host) -> Result<Box<dyn Writer>> {
    let (options, target) = WriterOptions::parse(options)?;
    let database = SqliteTarget { options, host: host.clone(), shared: Mutex::default() };
    Ok(Box::new(TableWriter::new(database, target, host.cancel())))
}

impl SqliteTarget {
    fn look(&self) -> Result<Session> {
        check_folder(&self.options.path)?;
        if !self.options.path.exists() {
            return Ok(Session::without_file());
        }
        open_to_look(&self.options, self.host.cancel()).map(Session::looking)
    }

    /// A session of the one connection that writes. `cancel` ends its waiting.
    fn write(&self, cancel: &Cancel) -> Result<Session> {
        let mut kept = self.shared.lock();
        let shared = match kept.as_ref().filter(|shared| shared.is_open()) {
            Some(shared) => Arc::clone(shared),
            None => Arc::new(SharedConnection::open(&self.options, cancel)?),
        };
        *kept = Some(Arc::clone(&shared));
        Ok(Session::writing(shared, cancel))
    }

    /// Whether the file can be written, without writing.
    fn check_file(&self, target: &TargetTable) -> Result<String> {
        let session = self.look()?;
        if !self.options.path.exists() {
            return Ok("the file does not exist yet and will be created".to_owned());
        }
        let place = || self.options.path.display().to_string();
        let opened = std::fs::OpenOptions::new().append(true).open(&self.options.path);
        opened.map_err(|error| Error::from(error).at(place()))?;
        let Some(name) = target.named() else { return Ok("the file can be written".to_owned()) };
        let exists = self.find_table(&mut { session }, name)?.is_some();
        let words = if exists { "exists" } else { "does not exist yet" };
        Ok(format!("the file can be written; table `{}` {words}", name.table))
    }
}

impl From<Table> for TargetInfo {
    fn from(table: Table) -> Self {
        let mut info = Self { name: table.name.table, exists: true, ..Self::default() };
        info.columns = table.columns.into_iter().map(|column| column.column).collect();
        info.keys = table.keys.into_iter().map(|key| key.key).collect();
        info.notes.extend(table.triggers.into_iter().map(|name| format!("trigger `{name}`")));
        info.notes
            .extend(table.referring.into_iter().map(|name| format!("referred to by `{name}`")));
        info
    }
}

impl WriteDatabase for SqliteTarget {
    const DIALECT: &'static (dyn Dialect + Sync) = &SqliteDialect;
    const WORDING: Wording<'static> = draft::WORDING;

    /// Nothing tells whether another process still writes to a stage.
    const SWEEPS: bool = false;

    type Session = Session;
    type Table = Table;
    type Destination = SqliteDestination;
    type Loader = Loader;

    fn connect(&self, access: Access) -> Result<Session> {
        match access {
            Access::Look => self.look(),
            Access::Write => self.write(self.host.cancel()),
            Access::CleanUp if self.options.path.exists() => self.write(&Cancel::new()),
            Access::CleanUp => Ok(Session::without_file()),
        }
    }

    fn check(&self, target: &TargetTable) -> Result<Vec<Finding>> {
        let found = self.check_file(target);
        let ok = found.is_ok();
        let detail = found.unwrap_or_else(|error| error.to_string());
        Ok(vec![Finding { stage: "file".to_owned(), ok, detail }])
    }

    fn tables(&self, session: &mut Session) -> Result<Vec<TableInfo>> {
        session.with(catalog::tables)
    }

    fn find_table(&self, session: &mut Session, name: &TableName) -> Result<Option<Table>> {
        if main_table(name.clone()).is_err() {
            return Ok(None);
        }
        session.with(|connection| catalog::find_table(connection, name))
    }

    fn draft(
        &self,
        session: &mut Session,
        drafting: Drafting<'_>,
        name: &TableName,
        target: Option<&Table>,
    ) -> Result<Draft> {
        draft::draft(session, drafting, name, target, self.options.synchronous)
    }

    fn try_statement(&self, session: &mut Session, sql: &str, _is_plain: bool) -> Result<()> {
        session.with(|connection| trial::compile(connection, sql))
    }

    fn count_rows(&self, session: &mut Session, table: &Table, most: u64) -> Result<Option<u64>> {
        session.with(|connection| trial::count_rows(connection, table, most))
    }

    /// Nothing to lock: SQLite has one writer, and each chunk and the publishing of a stage are
    /// transactions of it. Runs that write one table at once take turns by chunks.
    fn lock(
        &self,
        _session: &mut Session,
        _name: &TableName,
        _mode: WriteMode,
        _patience: Duration,
    ) -> Result<()> {
        Ok(())
    }

    fn tables_beside(
        &self,
        session: &mut Session,
        _name: &TableName,
        prefix: &str,
    ) -> Result<Vec<TableName>> {
        session.with(|connection| catalog::tables_beside(connection, prefix))
    }

    fn drop_left(&self, _session: &mut Session, _stage: &TableName) -> Result<()> {
        Err(Error::defect("SQLite cannot prove that a run is dead"))
    }

    fn drop_empty(&self, session: &mut Session, name: &TableName) -> Result<bool> {
        session.in_turn(|connection| drop_empty(connection, name))
    }

    fn destination(
        &self,
        _session: &mut Session,
        name: &TableName,
        plan: &WritePlan,
    ) -> Result<SqliteDestination> {
        Ok(match plan.mode {
            WriteMode::Overwrite => SqliteDestination::Staged(Stage::new(name, plan)),
            _ => SqliteDestination::Direct,
        })
    }

    fn name_of<'t>(&self, table: &'t Table) -> &'t TableName {
        &table.name
    }

    fn token_obstacle(&self, _session: &mut Session, _table: &Table) -> Result<Option<String>> {
        Ok(None)
    }

    /// A file that can be written can be given tables, but has one schema.
    fn creation_problem(
        &self,
        _session: &mut Session,
        name: &TableName,
        _create: &str,
    ) -> Result<Option<Error>> {
        main_table(name.clone()).map_or_else(|error| Ok(Some(error)), |_| Ok(None))
    }

    /// The connection's busy handler waits as long as the job says.
    fn set_patience(&self, _session: &mut Session, _patience: Option<Duration>) -> Result<()> {
        Ok(())
    }

    /// The system takes a dead process's locks away at once.
    fn guard(&self, _session: &mut Session) -> Result<()> {
        Ok(())
    }

    fn end_session(
        &self,
        _session: &mut Session,
        other: &SessionIdentity,
    ) -> Result<Option<String>> {
        let id = other.id;
        Ok(Some(format!("another program writes to the file; the last claim is of process {id}")))
    }

    fn loader(
        &self,
        session: &mut Session,
        name: &TableName,
        plan: &WritePlan,
        destination: &SqliteDestination,
        task: &TaskContext,
    ) -> Result<Loader> {
        session
            .with(|connection| {
                let table = catalog::table(connection, name)?;
                Loader::new(plan, &table, destination, task.task).map(Some)
            })?
            .ok_or_else(|| Error::defect("the session cannot write"))
    }
}
