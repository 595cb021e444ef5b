//! The writer: the job's verbs. What a plan would do is in `draft`, its statements in `target`,
//! the writing of rows in `task` and `load`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use transload_plugin_api::{
    ChunkOutcome, ConflictEffect, Error, ErrorKind, Finding, Guarantee, Host, KeyNeed, Options,
    Receipt, Result, TableInfo, TargetInfo, TaskContext, WriteDraft, WriteMode, WriteModeSpec,
    WritePlan, WriteTask, Writer,
};
use transload_tables::{TableName, TargetTable};

use crate::{
    catalog::{self, Table},
    check,
    connect::Connector,
    dialect::quoted_table,
    draft,
    load::Loader,
    options::{Address, WriterOptions, writer_specs},
    session::Session,
    target,
    task::PostgresTask,
};

/// The first half of our advisory locks' keys; the second is the target's oid.
const LOCK_CLASS: i32 = 0x7472_616e;

/// What a row does whose key is in the table already.
pub(crate) fn modes() -> Vec<WriteModeSpec> {
    use ConflictEffect as Effect;
    vec![
        WriteModeSpec::new(
            WriteMode::Insert,
            KeyNeed::Nothing,
            Effect::Dirty,
            Guarantee::AtLeastOnce,
            "COPY into the table; a row whose key is there is dirty",
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

/// Writes one table.
pub(crate) struct PostgresWriter {
    connector: Connector,
    target: TargetTable,
    job: Mutex<Job>,
}

/// The job's own session, and how far a run has come in this process.
#[derive(Default)]
struct Job {
    connection: Connection,
    progress: Progress,
}

#[derive(Default)]
struct Connection {
    session: Option<Session>,
    /// The session holds the target's lock.
    locked: bool,
}

#[derive(Default)]
struct Progress {
    run: String,
    prepared: bool,
    published: bool,
    /// So many `after` statements have run.
    after_done: usize,
    committed: bool,
}

impl Progress {
    /// A new run begins from nothing.
    fn enter(&mut self, plan: &WritePlan) {
        if self.run != plan.run {
            *self = Self { run: plan.run.clone(), ..Self::default() };
        }
    }
}

impl Connection {
    /// The job's session, opened by the first verb.
    fn session(&mut self, connector: &Connector) -> Result<(&mut Session, &mut bool)> {
        if self.session.as_mut().is_none_or(Session::is_lost) {
            // The lock has gone with the session that held it.
            (self.session, self.locked) = (None, false);
        }
        match &mut self.session {
            Some(session) => Ok((session, &mut self.locked)),
            none => Ok((none.insert(connector.connect()?), &mut self.locked)),
        }
    }
}

impl PostgresWriter {
    pub(crate) fn new(options: &Options, host: Host) -> Result<Self> {
        let address = Address::parse(options)?;
        let target = TargetTable::parse(options, Ok)?;
        let options: WriterOptions = options.parse(&writer_specs())?;
        let settings = format!("SET lock_timeout = {}", options.lock_timeout);
        let connector = Connector { address, host, settings };
        Ok(Self { connector, target, job: Mutex::default() })
    }

    fn job(&self) -> MutexGuard<'_, Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self, plan: &WritePlan, target: &Table) -> Option<TableName> {
        let staged = plan.mode == WriteMode::Overwrite;
        staged.then(|| target::stage_name(&target.name, &plan.run))
    }

    /// Removes the stage, and lets others at the target.
    fn leave(&self, plan: &WritePlan) -> Result<()> {
        let Job { connection, progress } = &mut *self.job();
        progress.enter(plan);
        if plan.mode == WriteMode::Overwrite {
            // A session of its own where the job's was ended by a stop signal.
            if connection.session.as_mut().is_none_or(Session::is_lost) {
                connection.session = Some(self.connector.connect_regardless()?);
            }
            let stage = target::stage_name(self.target.table()?, &plan.run);
            let sql = format!("ROLLBACK; DROP TABLE IF EXISTS {}", quoted_table(&stage));
            if let Some(session) = &mut connection.session {
                session.clean_up("remove the stage", &sql)?;
            }
        }
        // The lock goes with the session.
        *connection = Connection::default();
        Ok(())
    }
}

impl Writer for PostgresWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.connector);
        if let Some(mut session) = session {
            check::writing(&mut found, &mut session);
            if let Some(table) = self.target.named() {
                check::target(&mut found, &mut session, table);
            }
        }
        Ok(found.into_findings())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        catalog::tables(self.job().connection.session(&self.connector)?.0)
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let name = self.target.table()?;
        let mut job = self.job();
        let (session, _) = job.connection.session(&self.connector)?;
        let mut info = TargetInfo { name: name.to_string(), ..TargetInfo::default() };
        let Some(table) = catalog::find_table(session, name)? else { return Ok(info) };
        info.exists = true;
        info.columns = table.api_columns();
        info.keys = table.api_keys();
        let triggers = catalog::triggers(session, &table)?;
        info.notes.extend(triggers.into_iter().map(|name| format!("trigger `{name}`")));
        let referring = catalog::referring_tables(session, &table)?;
        info.notes.extend(referring.into_iter().map(|name| format!("referred to by `{name}`")));
        Ok(info)
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        let mut job = self.job();
        let (session, _) = job.connection.session(&self.connector)?;
        draft::draft(session, self.target.table()?, plan)
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let Job { connection, progress } = &mut *self.job();
        progress.enter(plan);
        if progress.prepared {
            return Ok(());
        }
        let (session, locked) = connection.session(&self.connector)?;
        draft::draft(session, self.target.table()?, plan)?;
        if catalog::find_table(session, self.target.table()?)?.is_none() {
            session.run("create the table", &target::creation(self.target.table()?, plan)?)?;
        }
        let target = catalog::table(session, self.target.table()?)?;
        lock(session, &target, plan.mode)?;
        *locked = true;
        for (index, sql) in plan.before.iter().enumerate() {
            session.run(&format!("`before` statement {}", index + 1), sql)?;
        }
        if let Some(stage) = self.stage(plan, &target) {
            let sql = target::stage_statements(&target.name, &stage).join("; ");
            session.run("make the stage", &sql)?;
        }
        progress.prepared = true;
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let mut job = self.job();
        let (session, _) = job.connection.session(&self.connector)?;
        let target = catalog::table(session, self.target.table()?)?;
        let loader = Loader::new(target::load_plan(plan, &target, task.task)?);
        let stage = self.stage(plan, &target);
        Ok(Box::new(PostgresTask::new(self.connector.clone(), loader, task.task, stage)?))
    }

    fn commit(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let Job { connection, progress } = &mut *self.job();
        progress.enter(plan);
        if progress.committed {
            return Ok(ChunkOutcome::AlreadyCommitted);
        }
        let (session, locked) = connection.session(&self.connector)?;
        let target = catalog::table(session, self.target.table()?)?;
        if !progress.published {
            if let Some(stage) = self.stage(plan, &target) {
                // Publishing drops the stage in the same transaction: without it, all is in.
                if catalog::find_table(session, &stage)?.is_none() {
                    return Ok(ChunkOutcome::AlreadyCommitted);
                }
                if !*locked {
                    lock(session, &target, plan.mode)?;
                    *locked = true;
                }
                let outcome = publish(session, plan, &target, &stage)?;
                if outcome != ChunkOutcome::Committed {
                    return Ok(outcome);
                }
            }
            for (sequence, sql) in target::sequence_statements(plan, &target) {
                session.run(&format!("move sequence {sequence} on"), &sql)?;
            }
            progress.published = true;
        }
        for (index, sql) in plan.after.iter().enumerate().skip(progress.after_done) {
            session.run(&format!("`after` statement {}", index + 1), sql)?;
            progress.after_done = index + 1;
        }
        progress.committed = true;
        Ok(ChunkOutcome::Committed)
    }

    fn abort(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        self.leave(plan)
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.leave(plan)
    }
}

/// Shared for runs that add rows, exclusive for one that replaces them all; held by the session.
fn lock(session: &mut Session, target: &Table, mode: WriteMode) -> Result<()> {
    let shared = if mode == WriteMode::Overwrite { "" } else { "_shared" };
    // The server's own number of the table, as the lock function takes it.
    let oid = target.oid as i32;
    let sql = format!("SELECT pg_catalog.pg_advisory_lock{shared}({LOCK_CLASS}, {oid})");
    session.run("lock the target", &sql).map_err(|error| {
        if error.kind != ErrorKind::Retry {
            return error;
        }
        let message = format!("another run writes table `{}`", target.name);
        Error::new(ErrorKind::Locked, message)
            .hint(owners(session, oid).unwrap_or_else(|_| "wait for it to end".to_owned()))
    })
}

/// Who holds the lock, for people.
fn owners(session: &mut Session, oid: i32) -> Result<String> {
    let sql = "SELECT coalesce(string_agg(format('process %s of user %s, from %s, since %s', a.pid, \
                 a.usename, coalesce(a.client_addr::text, 'this machine'), a.backend_start), '; '), \
                 'it has just ended: try again') \
               FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
               WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2";
    let (class, oid) = (LOCK_CLASS.to_string(), (oid as u32).to_string());
    session.text("ask who holds the lock", sql, &[&class, &oid])
}

/// The target's new content, in one transaction.
fn publish(
    session: &mut Session,
    plan: &WritePlan,
    target: &Table,
    stage: &TableName,
) -> Result<ChunkOutcome> {
    let doing = "publish the staged rows";
    let statements = target::publish_statements(plan, target, stage).join("; ");
    if let Err(error) = session.run(doing, &format!("BEGIN; {statements}")) {
        // The first error is the one to tell; what it leaves open ends with the session.
        let _ = session.clean_up(doing, "ROLLBACK");
        return Err(error);
    }
    session.commit(doing)
}
