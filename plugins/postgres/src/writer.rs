//! The target of a job: what PostgreSQL does in its own way when a table is written. The order of
//! the verbs is in `transload_tables`.

use std::time::Duration;

use transload_plugin_api::{
    ConflictEffect, Error, Finding, Guarantee, Host, KeyNeed, Options, Result, TableInfo,
    TargetInfo, TaskContext, WriteMode, WriteModeSpec, WritePlan, Writer,
};
use transload_tables::{
    Access, Dialect, Draft, Drafting, SessionIdentity, TableName, TableWriter, TargetTable,
    Wording, WriteDatabase,
};

use crate::{
    blocker,
    catalog::{self, Table},
    check,
    connect::Connector,
    dialect::{PostgresDialect, quoted_table},
    draft,
    load::Loader,
    lock,
    options::{Address, WriterOptions, writer_specs},
    references,
    session::Session,
    stage::PostgresDestination,
    target, token, trial,
};

/// What happens to a row whose key is in the table already.
pub(crate) fn modes() -> Vec<WriteModeSpec> {
    use ConflictEffect as Effect;
    vec![
        WriteModeSpec::new(
            WriteMode::Insert,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::AtLeastOnce,
            "COPY into the table; a row whose key exists is dirty",
        ),
        WriteModeSpec::new(
            WriteMode::Ignore,
            KeyNeed::UniqueKey,
            Effect::Skip,
            Guarantee::Convergent,
            "COPY, then INSERT ... ON CONFLICT (key) DO NOTHING; other constraints still refuse rows",
        ),
        WriteModeSpec::new(
            WriteMode::Upsert,
            KeyNeed::UniqueKey,
            Effect::Update,
            Guarantee::Convergent,
            "COPY, then INSERT ... ON CONFLICT (key) DO UPDATE; of equal keys the last row wins",
        ),
        WriteModeSpec::new(
            WriteMode::Overwrite,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::AtomicJob,
            "rows go to a stage table; one transaction empties the table and copies them over",
        ),
    ]
}

/// A server that tables are written to.
pub(crate) struct PostgresTarget {
    connector: Connector,
    /// As the job says, in milliseconds.
    lock_timeout: u64,
}

/// The writer that the options ask for.
pub(crate) fn writer(options: &Options, host: &Host) -> Result<Box<dyn Writer>> {
    let (address, target) = (Address::parse(options)?, TargetTable::parse(options, Ok)?);
    let options: WriterOptions = options.parse(&writer_specs())?;
    let settings = format!("SET lock_timeout = {}", options.lock_timeout);
    let connector = Connector::new(address, host.clone(), settings);
    let database = PostgresTarget { connector, lock_timeout: options.lock_timeout };
    Ok(Box::new(TableWriter::new(database, target, host.cancel())))
}

impl From<Table> for TargetInfo {
    fn from(table: Table) -> Self {
        let mut info = Self { name: table.name.to_string(), exists: true, ..Self::default() };
        info.notes.extend(table.triggers.iter().map(|name| format!("trigger `{name}`")));
        info.notes.extend(table.referring.iter().map(|name| format!("referred to by `{name}`")));
        info.keys = table.api_keys();
        info.rows = Some(table.rows).filter(|rows| *rows > 0);
        info.columns = table.columns.into_iter().map(|column| column.column).collect();
        info
    }
}

impl WriteDatabase for PostgresTarget {
    const DIALECT: &'static (dyn Dialect + Sync) = &PostgresDialect;
    const WORDING: Wording<'static> = draft::WORDING;

    type Session = Session;
    type Table = Table;
    type Destination = PostgresDestination;
    type Loader = Loader;

    fn reconnect_window(&self) -> Duration {
        self.connector.address.reconnect_window
    }

    fn connect(&self, access: Access) -> Result<Session> {
        match access {
            Access::Look | Access::Write => self.connector.connect(),
            Access::CleanUp => self.connector.connect_regardless(),
        }
    }

    fn check(&self, target: &TargetTable) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.connector);
        if let Some(mut session) = session {
            check::writing(&mut found, &mut session);
            if let Some(table) = target.named() {
                check::target(&mut found, &mut session, table);
            }
        }
        Ok(found.into_findings())
    }

    fn tables(&self, session: &mut Session) -> Result<Vec<TableInfo>> {
        catalog::tables(session)
    }

    fn find_table(&self, session: &mut Session, name: &TableName) -> Result<Option<Table>> {
        let found = catalog::find_table(session, name);
        found.map_err(|error| blocker::named_of(session, name, error))
    }

    fn draft(
        &self,
        session: &mut Session,
        drafting: Drafting<'_>,
        name: &TableName,
        target: Option<&Table>,
    ) -> Result<Draft> {
        draft::draft(session, drafting, name, target)
    }

    fn try_statement(&self, session: &mut Session, sql: &str, is_plain: bool) -> Result<()> {
        if is_plain { trial::explain(session, sql) } else { trial::parse(session, sql) }
    }

    fn count_rows(&self, session: &mut Session, table: &Table, most: u64) -> Result<Option<u64>> {
        trial::count_rows(session, table, most)
    }

    fn lock(
        &self,
        session: &mut Session,
        name: &TableName,
        mode: WriteMode,
        patience: Duration,
    ) -> Result<()> {
        lock::lock(session, name, mode, patience)
    }

    fn tables_beside(
        &self,
        session: &mut Session,
        name: &TableName,
        prefix: &str,
    ) -> Result<Vec<TableName>> {
        catalog::tables_beside(session, name, prefix)
    }

    fn drop_left(&self, session: &mut Session, stage: &TableName) -> Result<()> {
        let (doing, table) = ("remove the stage of a dead run", quoted_table(stage));
        // A session that uses the table keeps the lock from us.
        let sql = format!("BEGIN; SET LOCAL lock_timeout = '100ms'; DROP TABLE {table}; COMMIT");
        session.run(doing, &sql).inspect_err(|_| {
            // Where it fails the session is lost, which its next use shows.
            let _ = session.clean_up(doing, "ROLLBACK");
        })
    }

    fn drop_empty(&self, session: &mut Session, name: &TableName) -> Result<bool> {
        let (doing, table) = ("drop the created table", quoted_table(name));
        session.clean_up(
            doing,
            &format!("BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE {table}"),
        )?;
        let is_empty = format!("SELECT NOT EXISTS (SELECT FROM {table})");
        let is_empty = session.row(doing, &is_empty, &[])?.flag(0)?;
        let end = if is_empty { format!("DROP TABLE {table}; COMMIT") } else { "ROLLBACK".into() };
        session.clean_up(doing, &end)?;
        Ok(is_empty)
    }

    fn destination(
        &self,
        session: &mut Session,
        name: &TableName,
        plan: &WritePlan,
    ) -> Result<PostgresDestination> {
        let target = catalog::find_table(session, name)?;
        Ok(PostgresDestination::new(name, target.as_ref(), plan))
    }

    fn name_of<'t>(&self, table: &'t Table) -> &'t TableName {
        &table.name
    }

    fn token_obstacle(&self, session: &mut Session, table: &Table) -> Result<Option<String>> {
        token::obstacle(session, table)
    }

    fn creation_problem(
        &self,
        session: &mut Session,
        name: &TableName,
        _create: &str,
    ) -> Result<Option<Error>> {
        draft::schema_problem(session, name)
    }

    fn set_patience(&self, session: &mut Session, patience: Option<Duration>) -> Result<()> {
        let limit = patience.map_or(u128::from(self.lock_timeout), |patience| patience.as_millis());
        session.run("set how long locks are waited for", &format!("SET lock_timeout = {limit}"))
    }

    fn guard(&self, session: &mut Session) -> Result<()> {
        token::guard(session)
    }

    fn end_session(
        &self,
        session: &mut Session,
        other: &SessionIdentity,
    ) -> Result<Option<String>> {
        token::end_session(session, other)
    }

    fn loader(
        &self,
        session: &mut Session,
        name: &TableName,
        plan: &WritePlan,
        _destination: &PostgresDestination,
        task: &TaskContext,
    ) -> Result<Loader> {
        let target = catalog::table(session, name)?;
        let references = match plan.mode {
            WriteMode::Overwrite => references::references(session, target.oid)?,
            _ => Vec::new(),
        };
        let load_plan = target::load_plan(plan, &target, &references, task.task)?;
        Ok(Loader::new(load_plan, target.oid))
    }
}
