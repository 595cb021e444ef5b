//! The writer: the job's verbs. What a plan would do is in `draft`, the writing of rows in `task`
//! and `load`, overwriting in `stage`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use transload_plugin_api::{
    Cancel, ChunkOutcome, Finding, Host, Options, Receipt, Result, TableInfo, TargetInfo,
    TaskContext, WriteDraft, WriteMode, WritePlan, WriteTask, Writer,
};
use transload_sql::{Address, Target};

use crate::{
    catalog, check, connect, draft, load::Loader, options, session::Session, stage, task::MysqlTask,
};

/// What it takes to open a connection.
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) host: Host,
}

impl Connector {
    pub(crate) fn new(address: Address, host: Host) -> Self {
        Self { address, host }
    }

    pub(crate) fn connect(&self, cancel: &Cancel) -> Result<Session> {
        connect::open(&self.address, &self.host, cancel)
    }

    pub(crate) fn tables(&self) -> Result<Vec<TableInfo>> {
        catalog::tables(&mut self.connect(self.host.cancel())?, &self.address.database)
    }
}

/// Writes one table.
pub(crate) struct MysqlWriter {
    connector: Arc<Connector>,
    target: Target,
    run: Mutex<RunState>,
}

/// How far a run has come in this process.
#[derive(Default)]
struct RunState {
    run: String,
    prepared: bool,
    published: bool,
    /// So many `after` statements have run.
    after_done: usize,
    committed: bool,
}

impl MysqlWriter {
    pub(crate) fn new(options: &Options, host: Host) -> Result<Self> {
        let (address, target) = options::target(options)?;
        let connector = Arc::new(Connector::new(address, host));
        Ok(Self { connector, target, run: Mutex::default() })
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

    fn remove_stage(&self, plan: &WritePlan) -> Result<()> {
        if plan.mode != WriteMode::Overwrite {
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
        draft::draft(&mut self.session()?, self.target.table()?, plan)
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let mut state = self.run_state(plan);
        if state.prepared {
            return Ok(());
        }
        let mut session = self.session()?;
        draft::draft(&mut session, self.target.table()?, plan)?;
        if plan.create_table && catalog::find_table(&mut session, self.target.table()?)?.is_none() {
            let sql = draft::creation(&session.server, self.target.table()?, plan)?;
            session.run("create the table", &sql)?;
        }
        for (index, sql) in plan.before.iter().enumerate() {
            session.run(&format!("`before` statement {}", index + 1), sql)?;
        }
        if plan.mode == WriteMode::Overwrite {
            stage::make(&mut session, self.target.table()?, plan)?;
        }
        state.prepared = true;
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let mut session = self.session()?;
        let target = catalog::table(&mut session, self.target.table()?)?;
        let staged = plan.mode == WriteMode::Overwrite;
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
        if plan.mode == WriteMode::Overwrite && !state.published {
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
        self.remove_stage(plan)
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.remove_stage(plan)
    }
}
