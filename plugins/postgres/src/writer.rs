//! The writer: the job's verbs. What a plan would do is in `draft`, its statements in `target`,
//! the writing of rows in `task` and `load`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use transload_plugin_api::{
    ChunkOutcome, ConflictEffect, Error, ErrorKind, Finding, Guarantee, Host, KeyNeed, Options,
    Receipt, Result, TableInfo, TargetInfo, TaskContext, WriteDraft, WriteMode, WriteModeSpec,
    WritePlan, WriteTask, Writer,
};
use transload_tables::{TableName, Target};

use crate::{
    catalog::{self, Table},
    check,
    dialect::quoted_table,
    draft,
    failure::failure,
    load::Loader,
    options::{Address, WriterOptions},
    session::Session,
    target,
    task::{PostgresTask, Way},
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
    way: Way,
    target: Target,
    job: Mutex<Job>,
}

/// The job's own session, and how far a run has come in this process.
#[derive(Default)]
struct Job {
    session: Option<Arc<Session>>,
    run: String,
    locked: bool,
    prepared: bool,
    published: bool,
    /// So many `after` statements have run.
    after_done: usize,
    committed: bool,
}

impl Job {
    /// A new run begins from nothing.
    fn enter(&mut self, plan: &WritePlan) {
        if self.run != plan.run {
            let session = self.session.take();
            *self = Self { session, run: plan.run.clone(), ..Self::default() };
        }
    }
}

impl PostgresWriter {
    pub(crate) fn new(options: &Options, host: Host) -> Result<Self> {
        let address = Address::parse(options)?;
        let target = Target::parse(options, Ok)?;
        let options: WriterOptions = options.parse()?;
        let settings = format!("SET lock_timeout = {}", options.lock_timeout);
        Ok(Self { way: Way { address, host, settings }, target, job: Mutex::default() })
    }

    fn job(&self) -> MutexGuard<'_, Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job's session, opened by the first verb.
    fn session(&self, job: &mut Job) -> Result<Arc<Session>> {
        if let Some(session) = job.session.as_ref().filter(|session| !session.is_lost()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.way.open()?);
        job.session = Some(Arc::clone(&session));
        job.locked = false;
        Ok(session)
    }

    fn stage(&self, plan: &WritePlan, target: &Table) -> Option<TableName> {
        let staged = plan.mode == WriteMode::Overwrite;
        staged.then(|| target::stage_name(&target.name, &plan.run))
    }

    /// Removes the stage, and lets others at the target.
    fn leave(&self, plan: &WritePlan) -> Result<()> {
        let mut job = self.job();
        job.enter(plan);
        if plan.mode == WriteMode::Overwrite {
            // A session of its own where the job's was ended by a stop signal.
            let session = match &job.session {
                Some(session) if !session.is_lost() => Arc::clone(session),
                _ => Arc::new(self.way.open_regardless()?),
            };
            let stage = target::stage_name(self.target.table()?, &plan.run);
            let sql = format!("ROLLBACK; DROP TABLE IF EXISTS {}", quoted_table(&stage));
            session.last_words("remove the stage", &sql)?;
        }
        // The lock goes with the session.
        (job.session, job.locked) = (None, false);
        Ok(())
    }
}

impl Writer for PostgresWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.way.address, &self.way.host);
        if let Some(session) = session {
            check::writing(&mut found, &session);
            if let Some(table) = self.target.named() {
                check::target(&mut found, &session, table);
            }
        }
        Ok(found.into_findings())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let session = self.session(&mut self.job())?;
        catalog::tables(&session)
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let name = self.target.table()?;
        let session = self.session(&mut self.job())?;
        let mut info = TargetInfo { name: name.to_string(), ..TargetInfo::default() };
        let Some(table) = catalog::find_table(&session, name)? else { return Ok(info) };
        info.exists = true;
        info.columns = table.api_columns();
        info.keys = table.api_keys();
        let triggers = catalog::triggers(&session, &table)?;
        info.notes.extend(triggers.into_iter().map(|name| format!("trigger `{name}`")));
        let referring = catalog::referring_tables(&session, &table)?;
        info.notes.extend(referring.into_iter().map(|name| format!("referred to by `{name}`")));
        Ok(info)
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        let session = self.session(&mut self.job())?;
        draft::draft(&session, self.target.table()?, plan)
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let mut job = self.job();
        job.enter(plan);
        if job.prepared {
            return Ok(());
        }
        let session = self.session(&mut job)?;
        draft::draft(&session, self.target.table()?, plan)?;
        if catalog::find_table(&session, self.target.table()?)?.is_none() {
            session.batch("create the table", &target::creation(self.target.table()?, plan)?)?;
        }
        let target = catalog::table(&session, self.target.table()?)?;
        lock(&session, &target, plan.mode)?;
        job.locked = true;
        for (index, sql) in plan.before.iter().enumerate() {
            session.batch(&format!("`before` statement {}", index + 1), sql)?;
        }
        if let Some(stage) = self.stage(plan, &target) {
            let sql = target::stage_statements(&target.name, &stage).join("; ");
            session.batch("make the stage", &sql)?;
        }
        job.prepared = true;
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let session = self.session(&mut self.job())?;
        let target = catalog::table(&session, self.target.table()?)?;
        let loader = Loader::new(target::load_plan(plan, &target, task.task)?);
        let stage = self.stage(plan, &target);
        Ok(Box::new(PostgresTask::new(self.way.clone(), loader, task.task, stage)?))
    }

    fn commit(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let mut job = self.job();
        job.enter(plan);
        if job.committed {
            return Ok(ChunkOutcome::AlreadyCommitted);
        }
        let session = self.session(&mut job)?;
        let target = catalog::table(&session, self.target.table()?)?;
        if !job.published {
            if let Some(stage) = self.stage(plan, &target) {
                // Publishing drops the stage in the same transaction: without it, all is in.
                if catalog::find_table(&session, &stage)?.is_none() {
                    return Ok(ChunkOutcome::AlreadyCommitted);
                }
                if !job.locked {
                    lock(&session, &target, plan.mode)?;
                    job.locked = true;
                }
                let outcome = publish(&session, plan, &target, &stage)?;
                if outcome != ChunkOutcome::Committed {
                    return Ok(outcome);
                }
            }
            for (sequence, sql) in target::sequence_statements(plan, &target) {
                session.batch(&format!("move sequence {sequence} on"), &sql)?;
            }
            job.published = true;
        }
        for (index, sql) in plan.after.iter().enumerate().skip(job.after_done) {
            session.batch(&format!("`after` statement {}", index + 1), sql)?;
            job.after_done = index + 1;
        }
        job.committed = true;
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
fn lock(session: &Session, target: &Table, mode: WriteMode) -> Result<()> {
    let shared = if mode == WriteMode::Overwrite { "" } else { "_shared" };
    // The server's own number of the table, as the lock function takes it.
    let oid = target.oid as i32;
    let sql = format!("SELECT pg_catalog.pg_advisory_lock{shared}({LOCK_CLASS}, {oid})");
    session.batch("lock the target", &sql).map_err(|error| {
        if error.kind != ErrorKind::Retry {
            return error;
        }
        let message = format!("another run writes table `{}`", target.name);
        Error::new(ErrorKind::Locked, message)
            .hint(owners(session, oid).unwrap_or_else(|_| "wait for it to end".to_owned()))
    })
}

/// Who holds the lock, for people.
fn owners(session: &Session, oid: i32) -> Result<String> {
    let sql = "SELECT coalesce(string_agg(format('process %s of user %s, from %s, since %s', a.pid, \
                 a.usename, coalesce(a.client_addr::text, 'this machine'), a.backend_start), '; '), \
                 'it has just ended: try again') \
               FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
               WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2";
    session.value("ask who holds the lock", sql, &[&(LOCK_CLASS as u32), &(oid as u32)])
}

/// The target's new content, in one transaction.
fn publish(
    session: &Session,
    plan: &WritePlan,
    target: &Table,
    stage: &TableName,
) -> Result<ChunkOutcome> {
    let doing = "publish the staged rows";
    let statements = target::publish_statements(plan, target, stage).join("; ");
    if let Err(error) = session.batch(doing, &format!("BEGIN; {statements}")) {
        // The first error is the one to tell; what it leaves open ends with the session.
        let _ = session.last_words(doing, "ROLLBACK");
        return Err(error);
    }
    match session.wait(session.client.batch_execute("COMMIT")) {
        Ok(Ok(())) => Ok(ChunkOutcome::Committed),
        Ok(Err(error)) if error.as_db_error().is_some() => Err(failure(doing, &error)),
        Ok(Err(error)) => {
            Ok(ChunkOutcome::Unknown { evidence: format!("no answer to COMMIT: {error}") })
        }
        Err(error) => Ok(ChunkOutcome::Unknown { evidence: error.to_string() }),
    }
}
