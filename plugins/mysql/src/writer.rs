//! The writer: the job's verbs. What a plan would do is in `draft`, the writing of rows in `task`
//! and `load`, overwriting in `stage`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use transload_plugin_api::{
    Cancel, ChunkOutcome, Finding, Host, Options, Receipt, Result, TableInfo, TargetInfo,
    TaskContext, WriteDraft, WriteMode, WritePlan, WriteTask, Writer,
};
use transload_tables::Target;

use crate::{
    catalog, check,
    connect::Connector,
    draft,
    load::Loader,
    lock,
    options::{Overwrite, WriterOptions},
    session::Session,
    stage,
    task::MysqlTask,
};

/// Writes one table.
pub(crate) struct MysqlWriter {
    connector: Arc<Connector>,
    target: Target,
    overwrite: Overwrite,
    run: Mutex<RunState>,
}

/// How far a run has come in this process.
#[derive(Default)]
struct RunState {
    run: String,
    /// Holds the lock on the target.
    lock: Option<Session>,
    prepared: bool,
    published: bool,
    /// So many `after` statements have run.
    after_done: usize,
    committed: bool,
}

impl MysqlWriter {
    pub(crate) fn new(options: &Options, host: Host) -> Result<Self> {
        let (options, address, target) = WriterOptions::parse(options)?;
        let lock_seconds = Some(options.lock_seconds());
        let connector = Arc::new(Connector { lock_seconds, ..Connector::new(address, host) });
        Ok(Self { connector, target, overwrite: options.overwrite, run: Mutex::default() })
    }

    fn session(&self) -> Result<Session> {
        self.connector.connect(self.connector.host.cancel())
    }

    /// The state of this run; a new run begins from nothing.
    fn run_state(&self, plan: &WritePlan) -> MutexGuard<'_, RunState> {
        let mut state = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if state.run != plan.run {
            *state = RunState { run: plan.run.clone(), ..RunState::default() };
        }
        state
    }

    /// Locks the target, again where the session that held the lock was lost.
    fn hold(&self, state: &mut RunState, plan: &WritePlan) -> Result<()> {
        let holds = |session: &mut Session| session.try_run("DO 1").is_ok();
        if !state.lock.as_mut().is_some_and(holds) {
            let mut session = self.session()?;
            lock::lock(&mut session, self.target.table()?, plan.mode)?;
            state.lock = Some(session);
        }
        Ok(())
    }

    /// Whether rows go to a stage first.
    fn stages(&self, plan: &WritePlan) -> bool {
        plan.mode == WriteMode::Overwrite && self.overwrite == Overwrite::Swap
    }

    /// Ends the run: its stage and its lock go.
    fn leave(&self, plan: &WritePlan) -> Result<()> {
        // The lock is the last to go.
        let _lock = self.run_state(plan).lock.take();
        if !self.stages(plan) {
            return Ok(());
        }
        // Cleaning up goes on after a stop.
        let mut session = self.connector.connect(&Cancel::new())?;
        stage::remove(&mut session, self.target.table()?, plan)
    }
}

impl Writer for MysqlWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let (mut found, session) = check::log_in(&self.connector);
        if let Some(mut session) = session {
            check::writing(&mut found, &mut session, &self.connector);
            if let Some(table) = self.target.named() {
                check::target(&mut found, &mut session, table);
            }
        }
        Ok(found.into_findings())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.connector.tables()
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let name = self.target.table()?;
        let mut info = TargetInfo { name: name.to_string(), ..TargetInfo::default() };
        let mut session = self.session()?;
        let Some(table) = catalog::find_table(&mut session, name)? else { return Ok(info) };
        info.exists = true;
        info.notes.push(format!("engine {}", table.engine));
        info.notes.extend(table.triggers.iter().map(|name| format!("trigger `{name}`")));
        info.notes.extend(table.referring.iter().map(|name| format!("referred to by `{name}`")));
        let counted = table.columns.iter().filter(|column| column.auto_increment);
        let counted = counted.map(|it| format!("`{}` is numbered by itself", it.column.name));
        info.notes.extend(counted);
        info.columns = table.columns.into_iter().map(|column| column.column).collect();
        info.keys = table.keys;
        Ok(info)
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        draft::draft(&mut self.session()?, self.target.table()?, plan, self.overwrite)
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let mut state = self.run_state(plan);
        if state.prepared {
            return Ok(());
        }
        let target = self.target.table()?;
        let mut session = self.session()?;
        self.hold(&mut state, plan)?;
        draft::draft(&mut session, target, plan, self.overwrite)?;
        if plan.create_table && catalog::find_table(&mut session, target)?.is_none() {
            let sql = draft::creation(&session.server, target, plan)?;
            session.run("create the table", &sql)?;
        }
        for (index, sql) in plan.before.iter().enumerate() {
            session.run(&format!("`before` statement {}", index + 1), sql)?;
        }
        if self.stages(plan) {
            stage::make(&mut session, target, plan)?;
        } else if plan.mode == WriteMode::Overwrite {
            session.run("empty the target", &stage::truncation(target))?;
        }
        state.prepared = true;
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let mut session = self.session()?;
        let target = catalog::table(&mut session, self.target.table()?)?;
        let staged = self.stages(plan);
        let name = self.target.table()?;
        let stage = staged.then(|| stage::stage_name(name, plan));
        let mark = staged.then_some((stage::TASK_COLUMN, task.task));
        let into = stage.as_ref().unwrap_or(name);
        let loader = Loader::new(plan, &target, into, mark, &session)?;
        let connector = Arc::clone(&self.connector);
        Ok(Box::new(MysqlTask::new(connector, session, loader, task.task, stage)))
    }

    fn commit(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let mut state = self.run_state(plan);
        if state.committed {
            return Ok(ChunkOutcome::AlreadyCommitted);
        }
        let mut session = self.session()?;
        if self.stages(plan) && !state.published {
            self.hold(&mut state, plan)?;
            // Publishing takes the stage away: without it, all is in.
            if !stage::publish(&mut session, self.target.table()?, plan)? {
                return Ok(ChunkOutcome::AlreadyCommitted);
            }
            state.published = true;
        }
        for (index, sql) in plan.after.iter().enumerate().skip(state.after_done) {
            session.run(&format!("`after` statement {}", index + 1), sql)?;
            state.after_done = index + 1;
        }
        state.committed = true;
        Ok(ChunkOutcome::Committed)
    }

    fn abort(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        self.leave(plan)
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.leave(plan)
    }
}
