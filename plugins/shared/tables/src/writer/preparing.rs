//! Preparing a run in the order that is safe for every database: refuse, create the table, take the
//! run's token, lock, look again under the lock (without a token also for a run that has one),
//! `before` statements, stage.

use transload_plugin_api::{Error, ErrorKind, Result, WriteMode, WritePlan, code};

use super::TableWriter;
use crate::{
    Access, Destination as _, Session as _, WriteDatabase,
    receipt::no_stage,
    run::{Run, RunState},
    token::Phase,
};

impl<D: WriteDatabase> TableWriter<D> {
    pub(super) fn prepare_run(&self, run: &mut Run<D::Session>, plan: &WritePlan) -> Result<()> {
        // Refused before a database file, a table or a lock is made.
        let draft = self.drafted(&mut self.database.connect(Access::Look)?, plan)?;
        if let Some(problem) = draft.problems.into_iter().next() {
            return Err(problem);
        }
        if let Some(create) = &draft.create {
            self.create_target(run, plan, create)?;
        }
        self.take_token(run, plan)?;
        if matches!(run.state, RunState::Committed | RunState::Published { .. }) {
            return Ok(());
        }
        let session = self.locked(run, plan.mode)?;
        if draft.create.is_none() {
            // Another run may have changed the table before it let go of the lock.
            self.drafted(session, plan)?;
        }
        self.check_unheld(session, plan)?;
        self.sweep(session, plan)?;
        if plan.is_resumed || run.is_writing() {
            return self.resume(run, plan);
        }
        let done = run.token.as_ref().map_or(0, |token| token.step);
        for (index, sql) in plan.before.iter().enumerate().skip(done) {
            let step = index + 1;
            self.run_step(run, &format!("`before` statement {step}"), sql, step)?;
        }
        let session = &mut self.session(run)?.session;
        let destination = self.database.destination(session, self.target.table()?, plan)?;
        destination.make(session)?;
        self.advance(run, Phase::Writing)?;
        run.state = RunState::Prepared;
        Ok(())
    }

    fn create_target(
        &self,
        run: &mut Run<D::Session>,
        plan: &WritePlan,
        create: &str,
    ) -> Result<()> {
        if plan.is_resumed {
            let name = D::DIALECT.shown(self.target.table()?);
            return Err(Error::not_found(format!("the table `{name}` no longer exists"))
                .with_code(code::RUN_LOST)
                .hint("the rows of this run went with it: give the run up and run the job again"));
        }
        self.session(run)?.session.run("create the table", create)?;
        run.created = true;
        Ok(())
    }

    /// Removes stages of other runs: whoever has the lock alone is the only run with a stage that is
    /// of use.
    fn sweep(&self, session: &mut D::Session, plan: &WritePlan) -> Result<()> {
        if plan.mode != WriteMode::Overwrite || !D::SWEEPS {
            return Ok(());
        }
        for stage in self.left_over(session, plan)? {
            if let Err(error) = self.database.drop_left(session, &stage)
                && error.kind == ErrorKind::Connection
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Continues a run that was prepared before. Without its stage it was published, unless the
    /// token shows otherwise, which `commit` reports.
    fn resume(&self, run: &mut Run<D::Session>, plan: &WritePlan) -> Result<()> {
        let session = &mut self.session(run)?.session;
        let destination = self.database.destination(session, self.target.table()?, plan)?;
        match destination.stage() {
            Some(stage) if self.database.find_table(session, stage)?.is_none() => {
                if run.token.is_some() && D::PUBLISHES_WITH_TOKEN {
                    return Err(no_stage(&D::DIALECT.shown(stage)));
                }
            }
            _ => run.state = RunState::Prepared,
        }
        Ok(())
    }
}
