//! The target of a job: what MySQL and MariaDB do in their own way when a table is written. The
//! order of the verbs is `transload_tables`'s.

use std::time::Duration;

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
    check,
    connect::{Connector, Purpose},
    dialect::MysqlDialect,
    draft,
    load::Loader,
    lock,
    options::{Overwrite, WriterOptions},
    session::Session,
    stage::{MysqlDestination, Stage, TASK_COLUMN, in_full},
    token, trial,
};

/// A server that tables are written to.
pub(crate) struct MysqlTarget {
    connector: Connector,
    overwrite: Overwrite,
    /// How long rows locked by another session are waited for, as the job says.
    lock_seconds: u64,
}

/// The writer that the options ask for.
pub(crate) fn writer(options: &Options, host: &Host) -> Result<Box<dyn Writer>> {
    let (options, address, target) = WriterOptions::parse(options)?;
    let lock_seconds = options.lock_seconds();
    let connector = Connector::writing(address, host.clone(), lock_seconds);
    let database = MysqlTarget { connector, overwrite: options.overwrite, lock_seconds };
    Ok(Box::new(TableWriter::new(database, target, host.cancel())))
}

impl From<Table> for TargetInfo {
    fn from(table: Table) -> Self {
        let mut info = Self { name: table.name.to_string(), exists: true, ..Self::default() };
        info.notes.push(format!("engine {}", table.engine));
        info.notes.extend(table.triggers.iter().map(|name| format!("trigger `{name}`")));
        info.notes.extend(table.referring.iter().map(|name| format!("referred to by `{name}`")));
        let counted = table.columns.iter().filter(|column| column.auto_increment);
        info.notes.extend(counted.map(|it| format!("`{}` is AUTO_INCREMENT", it.column.name)));
        info.columns = table.columns.into_iter().map(|column| column.column).collect();
        info.keys = table.keys;
        info.rows = table.rows.filter(|rows| *rows > 0);
        info
    }
}

impl WriteDatabase for MysqlTarget {
    const DIALECT: &'static (dyn Dialect + Sync) = &MysqlDialect;
    const WORDING: Wording<'static> = draft::WORDING;
    const COMMITS_DDL: bool = true;
    const PUBLISHES_WITH_TOKEN: bool = false;

    type Session = Session;
    type Table = Table;
    type Destination = MysqlDestination;
    type Loader = Loader;

    fn reconnect_window(&self) -> Duration {
        self.connector.address.reconnect_window
    }

    fn connect(&self, access: Access) -> Result<Session> {
        match access {
            Access::Look => self.connector.connect(Purpose::Look),
            Access::Write => self.connector.connect(Purpose::Write),
            Access::CleanUp => self.connector.connect_until(Purpose::Look, &Cancel::new()),
        }
    }

    fn check(&self, target: &TargetTable) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.connector);
        if let Some(mut session) = session {
            check::writing(&mut found, &mut session, &self.connector);
            if let Some(table) = target.named() {
                check::target(&mut found, &mut session, table);
            }
        }
        Ok(found.into_findings())
    }

    fn tables(&self, session: &mut Session) -> Result<Vec<TableInfo>> {
        catalog::tables(session, &self.connector.address.database)
    }

    fn find_table(&self, session: &mut Session, name: &TableName) -> Result<Option<Table>> {
        catalog::find_table(session, name)
    }

    fn draft(
        &self,
        session: &mut Session,
        drafting: Drafting<'_>,
        name: &TableName,
        target: Option<&Table>,
    ) -> Result<Draft> {
        draft::draft(session, drafting, name, target, self.overwrite)
    }

    fn try_statement(&self, session: &mut Session, sql: &str, _is_plain: bool) -> Result<()> {
        trial::prepare(session, sql)
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
        lock::hold_for(session, &self.connector)?;
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
        let doing = "remove the stage of a dead run";
        // A session that uses the table keeps the lock from us.
        let patience = "SET @transload_wait = @@lock_wait_timeout, lock_wait_timeout = 1";
        session.run(doing, patience)?;
        let dropped = session.run(doing, &format!("DROP TABLE IF EXISTS {}", in_full(stage)));
        session.run(doing, "SET lock_wait_timeout = @transload_wait")?;
        dropped.map(drop)
    }

    /// DROP commits by itself, so the table is kept from others in the meantime.
    fn drop_empty(&self, session: &mut Session, name: &TableName) -> Result<bool> {
        let (doing, table) = ("drop the created table", in_full(name));
        session.run(doing, &format!("LOCK TABLES {table} WRITE"))?;
        let is_empty = session.rows(doing, &format!("SELECT 1 FROM {table} LIMIT 1"))?.is_empty();
        if is_empty {
            session.run(doing, &format!("DROP TABLE {table}"))?;
        }
        session.run(doing, "UNLOCK TABLES")?;
        Ok(is_empty)
    }

    fn destination(
        &self,
        _session: &mut Session,
        name: &TableName,
        plan: &WritePlan,
    ) -> Result<MysqlDestination> {
        Ok(match (plan.mode, self.overwrite) {
            (WriteMode::Overwrite, Overwrite::Swap) => {
                MysqlDestination::Staged(Stage::new(name, &plan.run))
            }
            (WriteMode::Overwrite, Overwrite::Truncate) => MysqlDestination::Emptied(name.clone()),
            _ => MysqlDestination::Direct,
        })
    }

    fn name_of<'t>(&self, table: &'t Table) -> &'t TableName {
        &table.name
    }

    fn keep_alive(&self) -> Option<Duration> {
        Some(lock::keep_alive(&self.connector))
    }

    fn token_obstacle(&self, _session: &mut Session, table: &Table) -> Result<Option<String>> {
        let engine = &table.engine;
        Ok((!table.is_transactional()).then(|| {
            format!("`{}` has engine {engine}, whose rows survive a ROLLBACK", table.name)
        }))
    }

    fn creation_problem(
        &self,
        session: &mut Session,
        name: &TableName,
        create: &str,
    ) -> Result<Option<Error>> {
        token::creation_problem(session, name, create)
    }

    fn set_patience(&self, session: &mut Session, patience: Option<Duration>) -> Result<()> {
        let seconds = patience.map_or(self.lock_seconds, |patience| patience.as_secs().max(1));
        let sql = format!("SET SESSION innodb_lock_wait_timeout = {seconds}");
        session.run("set how long locks are waited for", &sql).map(drop)
    }

    fn guard(&self, session: &mut Session) -> Result<()> {
        session.run("set the session up", token::GUARD).map(drop)
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
        destination: &MysqlDestination,
        task: &TaskContext,
    ) -> Result<Loader> {
        let target = catalog::table(session, name)?;
        match destination {
            MysqlDestination::Staged(stage) => {
                let mark = Some((TASK_COLUMN, task.task));
                Loader::new(plan, &target, &stage.table, mark, session)
            }
            _ => Loader::new(plan, &target, name, None, session),
        }
    }
}
