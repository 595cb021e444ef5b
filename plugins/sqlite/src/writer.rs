//! The writer: the job's verbs. What a plan would do is in `draft`, the writing of rows in `task`
//! and `load`, overwriting in `stage`.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::{Connection, functions::FunctionFlags};
use transload_plugin_api::{
    Cancel, ChunkOutcome, Error, ErrorKind, Finding, Host, Options, Receipt, Result, TableInfo,
    TargetInfo, TaskContext, WriteDraft, WriteMode, WritePlan, WriteTask, Writer,
};
use transload_tables::{TableName, Target};

use crate::{
    catalog, draft,
    failure::failure,
    load::{CONFLICT_FUNCTION, Loader},
    options::{Synchronous, WriterOptions},
    queue::Queue,
    session::{check_folder, open_to_look, open_to_write, run},
    stage,
    task::SqliteTask,
};

/// Writes one table of a database file.
pub(crate) struct SqliteWriter {
    options: WriterOptions,
    target: Target,
    host: Host,
    session: Mutex<Option<Arc<Session>>>,
    run: Mutex<RunState>,
}

/// The one connection through which all tasks write, and the line before it.
pub(crate) struct Session {
    connection: Mutex<Connection>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) cancel: Cancel,
    /// Calls of the conflict function so far.
    pub(crate) conflicts: Arc<AtomicU64>,
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

impl Session {
    /// The connection. Whoever writes has the turn, so this never waits for long.
    pub(crate) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(options: &WriterOptions, cancel: &Cancel) -> Result<Self> {
        let connection = open_to_write(options, cancel)?;
        let conflicts = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&conflicts);
        // Not deterministic, so that SQLite calls it for every conflict.
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
        connection
            .create_scalar_function(CONFLICT_FUNCTION, 0, flags, move |_| {
                counter.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            })
            .map_err(|error| failure("add the conflict function", &error))?;
        let interrupt = connection.get_interrupt_handle();
        cancel.on_cancel(move || interrupt.interrupt());
        Ok(Self {
            connection: Mutex::new(connection),
            queue: Arc::default(),
            cancel: cancel.clone(),
            conflicts,
        })
    }
}

impl SqliteWriter {
    pub(crate) fn new(options: &Options, host: Host) -> Result<Self> {
        let (options, target) = WriterOptions::parse(options)?;
        Ok(Self { options, target, host, session: Mutex::default(), run: Mutex::default() })
    }

    /// The session, opened by the first verb that writes.
    fn session(&self, plan: &WritePlan) -> Result<Arc<Session>> {
        let mut kept = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*kept {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::open(&self.options, self.host.cancel())?);
        if plan.mode == WriteMode::Overwrite {
            stage::set_references(&session.connection(), self.target.table()?)?;
        }
        *kept = Some(Arc::clone(&session));
        Ok(session)
    }

    /// The state of this run; a new run begins from nothing.
    fn run_state(&self, plan: &WritePlan) -> MutexGuard<'_, RunState> {
        let mut state = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if state.run != plan.run {
            *state = RunState { run: plan.run.clone(), ..RunState::default() };
        }
        state
    }

    /// A connection that only looks; `None` where there is no file yet.
    fn look(&self) -> Result<Option<Connection>> {
        check_folder(&self.options.path)?;
        if !self.options.path.exists() {
            return Ok(None);
        }
        open_to_look(&self.options, self.host.cancel()).map(Some)
    }

    fn stage(&self, plan: &WritePlan) -> Result<Option<TableName>> {
        let staged = plan.mode == WriteMode::Overwrite;
        staged.then(|| Ok(stage::stage_name(self.target.table()?, &plan.run))).transpose()
    }

    fn remove_stage(&self, plan: &WritePlan) -> Result<()> {
        let Some(stage) = self.stage(plan)?.filter(|_| self.options.path.exists()) else {
            return Ok(());
        };
        let session = self.session(plan)?;
        // Cleaning up goes on after a stop.
        let _turn = session.queue.wait(&Cancel::new())?;
        stage::remove(&session.connection(), &stage)
    }
}

impl Writer for SqliteWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let found = match self.look() {
            Ok(None) => Ok("the file is not there yet and will be made".to_owned()),
            Ok(Some(connection)) => writable(&self.options).and_then(|()| {
                let Some(name) = self.target.named() else {
                    return Ok("the file can be written".to_owned());
                };
                let there = catalog::find_table(&connection, name)?.is_some();
                let word = if there { "is there" } else { "is not there yet" };
                Ok(format!("the file can be written; table `{}` {word}", name.table))
            }),
            Err(error) => Err(error),
        };
        let ok = found.is_ok();
        let detail = found.unwrap_or_else(|error| error.to_string());
        Ok(vec![Finding { stage: "file".into(), ok, detail }])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.look()?.map_or(Ok(Vec::new()), |connection| catalog::tables(&connection))
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let name = self.target.table()?;
        let mut info = TargetInfo { name: name.table.clone(), ..TargetInfo::default() };
        let Some(connection) = self.look()? else { return Ok(info) };
        let Some(table) = catalog::find_table(&connection, name)? else { return Ok(info) };
        info.exists = true;
        info.columns = table.columns.into_iter().map(|column| column.column).collect();
        info.keys = table.keys.into_iter().map(|key| key.key).collect();
        let triggers = catalog::triggers(&connection, name)?;
        info.notes.extend(triggers.into_iter().map(|name| format!("trigger `{name}`")));
        let referring = catalog::referring_tables(&connection, name)?;
        info.notes.extend(referring.into_iter().map(|name| format!("referred to by `{name}`")));
        Ok(info)
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        let connection = self.look()?;
        let mut draft = draft::draft(connection.as_ref(), self.target.table()?, plan)?;
        if self.options.synchronous == Synchronous::Off {
            let warning = "`synchronous = \"off\"`: a power cut can damage the database";
            draft.warnings.push(warning.to_owned());
        }
        Ok(draft)
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let mut state = self.run_state(plan);
        if state.prepared {
            return Ok(());
        }
        self.draft(plan)?;
        let session = self.session(plan)?;
        let _turn = session.queue.wait(&session.cancel)?;
        let connection = session.connection();
        if plan.create_table && catalog::find_table(&connection, self.target.table()?)?.is_none() {
            in_transaction(
                &connection,
                "create the table",
                &draft::creation(self.target.table()?, plan)?,
            )?;
        }
        for (index, sql) in plan.before.iter().enumerate() {
            in_transaction(&connection, &format!("`before` statement {}", index + 1), sql)?;
        }
        if let Some(stage) = self.stage(plan)? {
            let target = catalog::table(&connection, self.target.table()?)?;
            stage::make(&connection, &target, &stage)?;
        }
        state.prepared = true;
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let session = self.session(plan)?;
        let stage = self.stage(plan)?;
        let table = catalog::table(&session.connection(), self.target.table()?)?;
        let mark = stage.as_ref().map(|stage| (stage, stage::TASK_COLUMN, task.task));
        let loader = Loader::new(plan, &table, mark)?;
        Ok(Box::new(SqliteTask::new(session, loader, task.task, stage)))
    }

    fn commit(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let mut state = self.run_state(plan);
        if state.committed {
            return Ok(ChunkOutcome::AlreadyCommitted);
        }
        let session = self.session(plan)?;
        let _turn = session.queue.wait(&session.cancel)?;
        let connection = session.connection();
        if let Some(stage) = self.stage(plan)?.filter(|_| !state.published) {
            // Publishing drops the stage in the same transaction: without it, all is in.
            if catalog::find_table(&connection, &stage)?.is_none() {
                return Ok(ChunkOutcome::AlreadyCommitted);
            }
            let columns: Vec<_> = plan.columns.iter().map(|column| column.name.as_str()).collect();
            stage::publish(&connection, self.target.table()?, &stage, &columns)?;
            state.published = true;
        }
        for (index, sql) in plan.after.iter().enumerate().skip(state.after_done) {
            in_transaction(&connection, &format!("`after` statement {}", index + 1), sql).map_err(
                |error| error.hint("the rows are in the target; only what follows is not"),
            )?;
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

/// Whether the file may be written, without writing.
fn writable(options: &WriterOptions) -> Result<()> {
    let opened = std::fs::OpenOptions::new().append(true).open(&options.path);
    opened.map(drop).map_err(|error| Error::from(error).at(options.path.display().to_string()))
}

/// One statement of the job's, all of it or nothing.
fn in_transaction(connection: &Connection, doing: &str, sql: &str) -> Result<()> {
    run(connection, doing, "BEGIN IMMEDIATE")?;
    let done = run(connection, doing, sql).and_then(|()| {
        if connection.is_autocommit() {
            let message = format!("{doing} ends the transaction it runs in");
            return Err(
                Error::new(ErrorKind::Options, message).hint("leave COMMIT and ROLLBACK out")
            );
        }
        run(connection, doing, "COMMIT")
    });
    if done.is_err() && !connection.is_autocommit() {
        run(connection, doing, "ROLLBACK")?;
    }
    done
}
