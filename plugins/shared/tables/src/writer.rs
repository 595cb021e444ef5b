//! The writer of one table: the verbs of a job, in the order that is safe for every database. How
//! far a run has come is `run`'s state, one task's chunks are `task`'s, and what a database does
//! in its own way is behind [`WriteDatabase`].

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use transload_plugin_api::{
    Backoff, Cancel, ChunkOutcome, Error, ErrorKind, Finding, Receipt, Result, TableInfo,
    TargetInfo, TaskContext, TokenTables, WriteDraft, WriteMode, WritePlan, WriteTask, Writer,
    code, failpoint,
};

use crate::{
    Access, Commit, Destination, Draft, Drafting, TableName, TargetTable, WriteDatabase,
    draft::converges,
    keeper::Keeper,
    leftover,
    missing::missing_table,
    receipt::{no_stage, staged_rows},
    run::{JobSession, Run, RunState},
    task::ChunkTask,
    token::{Phase, Tokens},
    trial,
};

mod preparing;
mod tokens;

/// How long a run waits for the lock on its target: as long as a session that has ended takes to
/// let go of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Up to this many rows of the target are counted, which takes a moment; beyond it the plan shows
/// the database's estimate.
const COUNTED: u64 = 100_000;
/// How long for the lock of a session of its own that was lost.
const LOST_PATIENCE: Duration = Duration::from_secs(10);
/// How often a lost publication is looked for.
const LOOKS: usize = 3;

/// Writes one table of a database.
pub struct TableWriter<D: WriteDatabase> {
    database: Arc<D>,
    target: TargetTable,
    cancel: Cancel,
    run: Arc<Mutex<Run<D::Session>>>,
    keeper: OnceLock<Keeper>,
}

impl<D: WriteDatabase> TableWriter<D> {
    /// A writer of `target`. `cancel` is the job's stop signal.
    pub fn new(database: D, target: TargetTable, cancel: &Cancel) -> Self {
        let (database, cancel) = (Arc::new(database), cancel.clone());
        let run = Arc::new(Mutex::new(Run::new("")));
        Self { database, target, cancel, run, keeper: OnceLock::new() }
    }

    /// The state of the plan's run; another run begins from nothing, and lets go of the lock of
    /// the one before.
    fn run(&self, plan: &WritePlan) -> MutexGuard<'_, Run<D::Session>> {
        let mut run = self.run.lock();
        if run.id != plan.run {
            *run = Run::new(&plan.run);
        }
        run
    }

    fn drafted(&self, session: &mut D::Session, plan: &WritePlan) -> Result<Draft> {
        let name = self.target.table()?;
        let drafting = Drafting { dialect: D::DIALECT, plan };
        drafting.check_names()?;
        let target = self.database.find_table(session, name)?;
        let mut draft = self.database.draft(session, drafting, name, target.as_ref())?;
        if let (Some(_), Some(table)) = (&plan.tokens, &target) {
            draft.no_tokens = self.database.token_obstacle(session, table)?;
        }
        Ok(draft)
    }

    /// Which table was meant, if it is the table that is missing.
    fn explained(&self, session: &mut D::Session, error: Error) -> Result<Error> {
        if error.code != code::TABLE_MISSING {
            return Ok(error);
        }
        let tables = self.database.tables(session)?;
        let meant = missing_table(D::DIALECT, self.target.table()?, &tables);
        let listed = meant.hint.iter().filter(|_| !tables.is_empty());
        let hint = listed.chain(&error.hint).cloned().collect::<Vec<_>>();
        Ok(Error { hint: Some(hint.join("; ")), ..meant }.of_key("table"))
    }

    /// The stage tables that other runs have left beside the target.
    fn left_over(&self, session: &mut D::Session, plan: &WritePlan) -> Result<Vec<TableName>> {
        let name = self.target.table()?;
        let prefix = leftover::prefix(D::DIALECT, &name.table);
        let beside = self.database.tables_beside(session, name, &prefix)?;
        let is_left = |beside: &TableName| leftover::is_left(&prefix, &beside.table, &plan.run);
        Ok(beside.into_iter().filter(is_left).collect())
    }

    /// The job's session, opened again if it was lost in the meantime.
    fn session<'a>(&self, run: &'a mut Run<D::Session>) -> Result<&'a mut JobSession<D::Session>> {
        let name = self.target.table()?;
        let alive = |kept: &mut JobSession<D::Session>| {
            self.database.find_table(&mut kept.session, name).is_ok()
        };
        let kept = match run.session.take() {
            Some(mut kept) => alive(&mut kept).then_some(kept),
            None => None,
        };
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let connect = || self.database.connect(Access::Write);
                let session = Backoff::within(self.database.reconnect_window())
                    .reconnect(&self.cancel, connect)?;
                JobSession { session, locked: false }
            }
        };
        Ok(run.session.insert(kept))
    }

    /// As [`Self::session`], with the lock on the target, which was lost with a lost session.
    fn locked<'a>(
        &self,
        run: &'a mut Run<D::Session>,
        mode: WriteMode,
    ) -> Result<&'a mut D::Session> {
        let patience = if run.was_locked { LOST_PATIENCE } else { PATIENCE };
        // Also if it fails, because a part of it may be held.
        run.was_locked = true;
        let job = self.session(run)?;
        if !job.locked {
            self.database.lock(&mut job.session, self.target.table()?, mode, patience)?;
            job.locked = true;
            if let Some(every) = self.database.keep_alive() {
                self.keeper.get_or_init(|| Keeper::start(&self.run, every));
            }
        }
        Ok(&mut job.session)
    }

    /// Publishes what the tasks have written. `Some` is what `commit` then returns: nothing is
    /// left to do, or it cannot be known whether there is.
    fn publish(
        &self,
        run: &mut Run<D::Session>,
        plan: &WritePlan,
        receipts: &[Receipt],
    ) -> Result<Option<ChunkOutcome>> {
        let name = self.target.table()?;
        self.check_finished(run)?;
        let note = run.token.as_ref().map(|token| token.note(Phase::Published));
        let session = &mut self.session(run)?.session;
        let destination = self.database.destination(session, name, plan)?;
        let mut is_there = false;
        let (session, rows) = match destination.stage() {
            None => (&mut self.session(run)?.session, 0),
            Some(stage) => {
                let session = self.locked(run, plan.mode)?;
                if self.database.find_table(session, stage)?.is_none() {
                    return self.without_stage(run, stage);
                }
                is_there = true;
                // The session that publishes is the one that holds the lock.
                (session, staged_rows(receipts)?)
            }
        };
        failpoint("K12");
        let published = destination.publish(session, rows, note.as_deref());
        failpoint("K12");
        if is_there && run.state == RunState::Uncertain {
            // Under the lock, so no publication of an earlier session is on its way.
            run.state = RunState::Prepared;
        }
        match published? {
            Commit::Committed => {
                run.state = RunState::Published { after: 0 };
                Ok(None)
            }
            Commit::Lost(evidence) => {
                (run.session, run.state) = (None, RunState::Uncertain);
                Ok(Some(ChunkOutcome::Unknown { evidence }))
            }
        }
    }

    /// As [`Self::publish`], and looks what has become of a publication whose reply was lost. The
    /// lock, which the lost session held, is free only once that session has ended.
    fn publish_for_certain(
        &self,
        run: &mut Run<D::Session>,
        plan: &WritePlan,
        receipts: &[Receipt],
    ) -> Result<Option<ChunkOutcome>> {
        let mut published = self.publish(run, plan, receipts);
        for _ in 0..LOOKS {
            let again = match &published {
                Ok(Some(ChunkOutcome::Unknown { .. })) => true,
                Err(error) => error.kind == ErrorKind::Connection,
                Ok(_) => false,
            };
            if !again || self.cancel.is_cancelled() {
                break;
            }
            let uncertain = run.state == RunState::Uncertain;
            published = match self.publish(run, plan, receipts) {
                Err(error) if uncertain && run.state == RunState::Uncertain => {
                    let evidence = format!("looking for the published rows failed: {error}");
                    Ok(Some(ChunkOutcome::Unknown { evidence }))
                }
                outcome => outcome,
            };
        }
        match published {
            Ok(Some(ChunkOutcome::Unknown { .. })) if self.cancel.is_cancelled() => {
                self.look_after_stop(run, plan).unwrap_or(published)
            }
            published => published,
        }
    }

    /// What has become of a publication that a stop signal cut off; an error if that cannot be
    /// found out at once.
    fn look_after_stop(
        &self,
        run: &mut Run<D::Session>,
        plan: &WritePlan,
    ) -> Result<Result<Option<ChunkOutcome>>> {
        let (mut session, name) = (self.database.connect(Access::CleanUp)?, self.target.table()?);
        self.database.lock(&mut session, name, plan.mode, PATIENCE)?;
        let destination = self.database.destination(&mut session, name, plan)?;
        let Some(stage) = destination.stage() else { return Ok(Ok(None)) };
        if self.database.find_table(&mut session, stage)?.is_none() {
            return Ok(self.without_stage(run, stage));
        }
        run.state = RunState::Prepared;
        Ok(self.cancel.check().map(|()| None))
    }

    /// Publishing takes the stage away, so without a stage all is in, unless this process knows
    /// that nothing was published.
    fn without_stage(
        &self,
        run: &mut Run<D::Session>,
        stage: &TableName,
    ) -> Result<Option<ChunkOutcome>> {
        match run.state {
            RunState::Prepared => Err(no_stage(&D::DIALECT.shown(stage))),
            // Without a token only the process that published knows which `after` statements have run.
            RunState::Unprepared if run.token.is_none() => {
                run.state = RunState::Committed;
                Ok(Some(ChunkOutcome::AlreadyCommitted))
            }
            RunState::Unprepared
            | RunState::Uncertain
            | RunState::Published { .. }
            | RunState::Committed => {
                run.state = RunState::Published { after: 0 };
                Ok(None)
            }
        }
    }

    /// Runs the `after` statements, from the first one that has not run.
    fn run_after(&self, run: &mut Run<D::Session>, plan: &WritePlan) -> Result<()> {
        let RunState::Published { after: mut done } = run.state else { return Ok(()) };
        self.advance(run, Phase::Published)?;
        for (index, sql) in plan.after.iter().enumerate().skip(done) {
            done = index + 1;
            let (doing, step) = (format!("`after` statement {done}"), plan.before.len() + done);
            self.run_step(run, &doing, sql, step)?;
            run.state = RunState::Published { after: done };
        }
        self.end(run, plan)
    }

    /// Removes what the run has left beside the target, and its lock as the last of all.
    fn remove_stage(&self, run: &mut Run<D::Session>, plan: &WritePlan) -> Result<()> {
        let _lock = run.session.take();
        if plan.mode != WriteMode::Overwrite {
            return Ok(());
        }
        let mut session = self.database.connect(Access::CleanUp)?;
        let name = self.target.table()?;
        let destination = self.database.destination(&mut session, name, plan)?;
        destination.remove(&mut session)
    }
}

impl<D: WriteDatabase> TableWriter<D> {
    /// Drops the table that the run has created if it holds no row: the next run would meet types
    /// that belong to this one.
    fn drop_created(&self, run: &mut Run<D::Session>) -> Result<()> {
        if !std::mem::take(&mut run.created) {
            return Ok(());
        }
        let (mut session, name) = (self.database.connect(Access::CleanUp)?, self.target.table()?);
        if self.database.find_table(&mut session, name)?.is_none() {
            return Ok(());
        }
        match self.database.lock(&mut session, name, WriteMode::Overwrite, PATIENCE) {
            Ok(()) => self.database.drop_empty(&mut session, name).map(drop),
            // Another run uses it by now.
            Err(error) if error.kind == ErrorKind::Locked => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether nothing more can be asked: the server is gone, or the job is stopped.
fn is_over(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Connection | ErrorKind::Cancelled)
}

/// The error of a step behind the last row. A stop signal stays one.
fn behind_the_rows(error: Error, plan: &WritePlan) -> Error {
    if error.code == code::RUN_FENCED {
        return error;
    }
    let repeats = converges(plan) || plan.mode == WriteMode::Overwrite;
    let hint = match (&plan.tokens, repeats) {
        (Some(_), _) => format!("`transload resume {}` repeats what failed, and no row", plan.run),
        (None, true) => {
            "running the job again writes the same rows once more and repeats what failed"
                .to_owned()
        }
        (None, false) => "do not run the job again: it would add the rows a second time; run the \
                          failed step by hand"
            .to_owned(),
    };
    let kind = match error.kind {
        ErrorKind::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Other,
    };
    let message = format!("every row is in the target, but a later step failed: {}", error.message);
    Error { kind, message, ..error }.with_code(code::RUN_AFTER).hint(hint)
}

impl<D: WriteDatabase> Writer for TableWriter<D> {
    fn check(&self) -> Result<Vec<Finding>> {
        self.database.check(&self.target)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.database.tables(&mut self.database.connect(Access::Look)?)
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let name = self.target.table()?;
        let mut session = self.database.connect(Access::Look)?;
        let found = self.database.find_table(&mut session, name)?;
        let Some(table) = found else {
            return Ok(TargetInfo { name: D::DIALECT.shown(name), ..TargetInfo::default() });
        };
        let counted = self.database.count_rows(&mut session, &table, COUNTED)?;
        let mut info: TargetInfo = table.into();
        if counted.is_some() {
            (info.rows, info.is_counted) = (counted, true);
        }
        Ok(info)
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        let mut session = self.database.connect(Access::Look)?;
        let drafted = self.drafted(&mut session, plan);
        let mut is_new = matches!(&drafted, Ok(draft) if draft.create.is_some());
        let mut refused = None;
        let mut draft = match drafted {
            Ok(draft) => draft,
            Err(error) if is_over(&error) => return Err(error),
            Err(error) => {
                is_new |= error.kind == ErrorKind::NotFound;
                refused = Some(self.explained(&mut session, error)?);
                Draft { columns: plan.columns.clone(), ..Draft::default() }
            }
        };
        self.draft_tokens(&mut session, plan, &mut draft)?;
        let tried = trial::statements(&*self.database, &mut session, plan, is_new)?;
        draft.problems.splice(0..0, refused);
        draft.problems.extend(tried.problems);
        draft.notes.extend(tried.notes);
        match draft.problems.len() {
            0 => {}
            1 => return Err(draft.problems.remove(0)),
            _ => return Ok(Drafting { dialect: D::DIALECT, plan }.finish(draft, D::WORDING)),
        }
        let left = self.left_over(&mut session, plan)?;
        draft.warnings.extend(leftover::warning(D::DIALECT, &left, D::SWEEPS));
        Ok(Drafting { dialect: D::DIALECT, plan }.finish(draft, D::WORDING))
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let mut run = self.run(plan);
        if run.state != RunState::Unprepared {
            return Ok(());
        }
        let prepared = self.prepare_run(&mut run, plan);
        if prepared.is_err() {
            self.release_token(&mut run);
        }
        prepared
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let name = self.target.table()?;
        Ok(Box::new(ChunkTask::open(&self.database, &self.cancel, name, plan, task)?))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let mut run = self.run(plan);
        self.find_token(&mut run, plan)?;
        match run.state {
            RunState::Committed => return Ok(ChunkOutcome::AlreadyCommitted),
            RunState::Published { .. } => {}
            RunState::Unprepared | RunState::Prepared | RunState::Uncertain => {
                let is_direct = plan.mode != WriteMode::Overwrite;
                let published = self.publish_for_certain(&mut run, plan, receipts);
                let published = published
                    .map_err(|error| if is_direct { behind_the_rows(error, plan) } else { error });
                if let Some(outcome) = published? {
                    return Ok(outcome);
                }
            }
        }
        self.run_after(&mut run, plan).map_err(|error| behind_the_rows(error, plan))?;
        run.state = RunState::Committed;
        Ok(ChunkOutcome::Committed)
    }

    fn abort(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        let mut run = self.run(plan);
        match run.state {
            // The stage may be the only copy of the rows, or may be on its way into the target.
            RunState::Uncertain => {
                run.session = None;
                return Ok(());
            }
            RunState::Unprepared | RunState::Prepared => run.state = RunState::Unprepared,
            RunState::Published { .. } | RunState::Committed => run.created = false,
        }
        let tokens = self.claim_all(plan)?;
        self.remove_stage(&mut run, plan)?;
        self.drop_created(&mut run)?;
        self.give_up_tokens(&mut run, tokens)
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        let mut run = self.run(plan);
        let is_open = matches!(run.state, RunState::Prepared | RunState::Uncertain);
        if is_open && plan.mode == WriteMode::Overwrite {
            // Its stage would go, and the rows with it.
            return Err(Error::defect("the run is finalised before it is committed"));
        }
        self.remove_stage(&mut run, plan)?;
        self.forget_tokens(&run)
    }

    fn token_ddl(&self, tables: &TokenTables) -> Result<Vec<String>> {
        Ok(Tokens::new(D::DIALECT, tables, self.target.named(), "").script(tables))
    }
}

#[cfg(test)]
mod tests;
