//! A run's commit tokens: the verbs of a job as far as they concern the rows in the token tables. What
//! is in the rows is in `token`.

use transload_plugin_api::{
    Cancel, Error, ErrorKind, Result, TokenTables, WritePlan, code, failpoint,
};

use super::{TableWriter, is_over};
use crate::{
    Access, Draft, Session, WriteDatabase, query,
    run::{Run, RunState},
    token::{self, Phase, RunToken, TaskToken, Tokens},
};

impl<D: WriteDatabase> TableWriter<D> {
    /// What a plan with tokens would do beside, and whether it can.
    pub(super) fn draft_tokens(
        &self,
        session: &mut D::Session,
        plan: &WritePlan,
        draft: &mut Draft,
    ) -> Result<()> {
        let (Some((tokens, target)), Some(tables)) = (self.tokens(session, plan)?, &plan.tokens)
        else {
            return Ok(());
        };
        draft.token_table = Some(tokens.shown());
        if draft.no_tokens.is_some() {
            return Ok(());
        }
        let has_watermark = plan.watermark.is_some();
        let fit = token::check(&*self.database, session, tables, &tokens, has_watermark)?;
        if has_watermark {
            draft.watermark = Some(match fit.has_watermark && fit.problem.is_none() {
                true => tokens.kept(session, &plan.job, &target)?,
                false => tokens.without_watermark(),
            });
        }
        draft.problems.extend(fit.problem);
        draft.token_tables = fit.create;
        if D::COMMITS_DDL {
            draft.notes.extend(repeatable::<D>(plan));
        }
        Ok(())
    }

    /// Runs a statement of the job's, and notes that this many have run if the run has a token.
    pub(super) fn run_step(
        &self,
        run: &mut Run<D::Session>,
        doing: &str,
        sql: &str,
        step: usize,
    ) -> Result<()> {
        let note = run.token.as_ref().map(|token| token.note_step(step));
        let session = &mut self.session(run)?.session;
        match note {
            Some(note) => session.run_noted(doing, sql, &note)?,
            None => session.run(doing, sql)?,
        }
        if let Some(token) = &mut run.token {
            token.step = step;
        }
        failpoint("K3");
        Ok(())
    }

    /// Notes in the store how far the run has come, if it has a token; once more if the session is
    /// lost meanwhile.
    pub(super) fn advance(&self, run: &mut Run<D::Session>, phase: Phase) -> Result<()> {
        for is_last in [false, true] {
            let Some(mut token) = run.token.take() else { return Ok(()) };
            let session = self.session(run);
            let advanced = session.and_then(|job| token.advance(&mut job.session, phase));
            run.token = Some(token);
            match advanced {
                Err(error) if error.kind == ErrorKind::Connection && !is_last => {}
                advanced => return advanced,
            }
        }
        Ok(())
    }

    /// As [`Self::advance`] to the run's end, with the watermark that the plan keeps.
    pub(super) fn end(&self, run: &mut Run<D::Session>, plan: &WritePlan) -> Result<()> {
        let Some(keep) = &plan.watermark else { return self.advance(run, Phase::Done) };
        for is_last in [false, true] {
            let Some(mut token) = run.token.take() else { return Ok(()) };
            let ended = self.session(run).and_then(|job| {
                let session = &mut job.session;
                let found = self.tokens(session, plan)?;
                let target = found.map(|(_, target)| target).unwrap_or_default();
                token.end_with_watermark(session, keep, &plan.job, &target)
            });
            run.token = Some(token);
            match ended {
                Err(error) if error.kind == ErrorKind::Connection && !is_last => {}
                ended => return ended,
            }
        }
        Ok(())
    }

    /// The plan's token tables, if it asks for tokens, and the target's full name.
    pub(super) fn tokens(
        &self,
        session: &mut D::Session,
        plan: &WritePlan,
    ) -> Result<Option<(Tokens, String)>> {
        let Some(tables) = &plan.tokens else { return Ok(None) };
        self.tokens_in(session, tables, &plan.run).map(Some)
    }

    fn tokens_in(
        &self,
        session: &mut D::Session,
        tables: &TokenTables,
        run: &str,
    ) -> Result<(Tokens, String)> {
        let name = self.target.table()?;
        let found = self.database.find_table(session, name)?;
        let name = found.as_ref().map_or(name, |table| self.database.name_of(table));
        Ok((Tokens::new(D::DIALECT, tables, Some(name), run), D::DIALECT.shown(name)))
    }

    /// An error if a run with tokens holds the target of a run without. It is looked for in the token
    /// tables that jobs have by default, if they are there and can be read; others are not known.
    pub(super) fn check_unheld(&self, session: &mut D::Session, plan: &WritePlan) -> Result<()> {
        if plan.tokens.is_some() {
            return Ok(());
        }
        let tables = TokenTables::default();
        let usual = Tokens::new(D::DIALECT, &tables, None, &plan.run);
        let runs = &usual.runs().table;
        let beside = self.database.tables_beside(session, self.target.table()?, runs)?;
        if !beside.iter().any(|table| table.table == *runs) {
            return Ok(());
        }
        let (tokens, target) = self.tokens_in(session, &tables, &plan.run)?;
        match tokens.refuse_active(session, &target) {
            Err(error) if error.code == code::RUN_ACTIVE || is_over(&error) => Err(error),
            Err(error) => {
                tracing::debug!("the token tables cannot be read: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Makes the token tables if they are missing, and takes the run's row.
    pub(super) fn take_token(&self, run: &mut Run<D::Session>, plan: &WritePlan) -> Result<()> {
        let session = &mut self.session(run)?.session;
        let (Some((tokens, target)), Some(tables)) = (self.tokens(session, plan)?, &plan.tokens)
        else {
            return Ok(());
        };
        let has_watermark = plan.watermark.is_some();
        let fit = token::check(&*self.database, session, tables, &tokens, has_watermark)?;
        if let Some(problem) = fit.problem {
            return Err(problem);
        }
        let target_table = self.database.find_table(session, self.target.table()?)?;
        if let Some(table) = &target_table
            && let Some(obstacle) = self.database.token_obstacle(session, table)?
        {
            return Err(Error::unsupported(format!("commit tokens cannot be used: {obstacle}")));
        }
        for create in &fit.create {
            // Another run may be making them.
            match session.run("create the tables for commit tokens", create) {
                Err(error) if error.kind == ErrorKind::Exists => {}
                created => created?,
            }
        }
        failpoint("K2");
        let token = RunToken::take(session, tokens, plan, &target)?;
        if has_watermark {
            token.tokens.make_watermark(session, &plan.job, &target)?;
        }
        self.note_phase(run, plan, token);
        Ok(())
    }

    /// Continues where the row says that the run has come.
    fn note_phase(&self, run: &mut Run<D::Session>, plan: &WritePlan, token: RunToken) {
        let after = token.step.saturating_sub(plan.before.len());
        match token.phase {
            Phase::Done => run.state = RunState::Committed,
            Phase::Published => run.state = RunState::Published { after },
            Phase::Preparing | Phase::Writing | Phase::Aborted => {}
        }
        run.token = Some(token);
    }

    /// Lets go of the target after a failed `prepare`: no chunk can have been committed.
    pub(super) fn release_token(&self, run: &mut Run<D::Session>) {
        let Some(token) = run.token.take_if(|token| token.phase == Phase::Preparing) else {
            return;
        };
        let released = self
            .database
            .connect(Access::CleanUp)
            .and_then(|mut session| RunToken::give_up(&mut session, &token.tokens));
        if let Err(error) = released {
            tracing::warn!("the run still holds the target: {error}");
        }
    }

    /// The run's row, for a process that ends what another one has begun.
    pub(super) fn find_token(&self, run: &mut Run<D::Session>, plan: &WritePlan) -> Result<()> {
        if run.token.is_some() || plan.tokens.is_none() {
            return Ok(());
        }
        let session = &mut self.session(run)?.session;
        let Some((tokens, target)) = self.tokens(session, plan)? else { return Ok(()) };
        let token = RunToken::find(session, tokens, &target)?;
        if D::PUBLISHES_WITH_TOKEN && run.state == RunState::Unprepared {
            // Publishing would have changed the row.
            run.state = RunState::Prepared;
        }
        self.note_phase(run, plan, token);
        Ok(())
    }

    /// An error if a task of a run with tokens has not finished.
    pub(super) fn check_finished(&self, run: &mut Run<D::Session>) -> Result<()> {
        let Some(tokens) = run.token.as_ref().map(|token| token.tokens.clone()) else {
            return Ok(());
        };
        let open = tokens.unfinished(&mut self.session(run)?.session)?;
        match open.first() {
            None => Ok(()),
            Some(task) => {
                Err(Error::defect("the run is committed before all its tasks have ended")
                    .at(format!("task {task}")))
            }
        }
    }

    /// Claims the run's tasks that have not finished, so that no attempt of them writes any more.
    /// `None` without tokens, or without their tables.
    pub(super) fn claim_all(&self, plan: &WritePlan) -> Result<Option<Tokens>> {
        if plan.tokens.is_none() {
            return Ok(None);
        }
        let mut session = self.database.connect(Access::CleanUp)?;
        let Some((tokens, _)) = self.tokens(&mut session, plan)? else { return Ok(None) };
        for (name, _) in tokens.ddl() {
            if self.database.find_table(&mut session, name)?.is_none() {
                return Ok(None);
            }
        }
        for task in tokens.unfinished(&mut session)? {
            let (tokens, cancel) = (tokens.clone(), Cancel::new());
            TaskToken::claim(&*self.database, &cancel, &mut session, tokens, task)?;
        }
        Ok(Some(tokens))
    }

    /// Ends the run's row as given up, if it has not ended.
    pub(super) fn give_up_tokens(
        &self,
        run: &mut Run<D::Session>,
        tokens: Option<Tokens>,
    ) -> Result<()> {
        let Some(tokens) = tokens else { return Ok(()) };
        run.token = None;
        failpoint("K14");
        let mut session = self.database.connect(Access::CleanUp)?;
        RunToken::give_up(&mut session, &tokens)?;
        tokens.forget_tasks(&mut session)
    }

    /// Removes the rows of the tasks of a run that is committed.
    pub(super) fn forget_tokens(&self, run: &Run<D::Session>) -> Result<()> {
        let done = run.token.as_ref().filter(|token| token.phase == Phase::Done);
        let Some(token) = done else { return Ok(()) };
        token.tokens.forget_tasks(&mut self.database.connect(Access::CleanUp)?)
    }
}

/// The statements of the job of which a resume may run one again.
fn repeatable<D: WriteDatabase>(plan: &WritePlan) -> Vec<String> {
    let lists = [("before", &plan.before), ("after", &plan.after)];
    let all = lists.into_iter().flat_map(|(key, list)| {
        list.iter().enumerate().map(move |(index, text)| (key, index + 1, text))
    });
    let commits = |text: &str| {
        query::statements(text, D::DIALECT).iter().any(|sql| !query::is_plain(sql, D::DIALECT))
    };
    let note = |(key, number, _): (&str, usize, &String)| {
        format!(
            "may run twice: `{key}` statement {number}, which commits by itself, if the run is \
             killed right behind it and resumed"
        )
    };
    all.filter(|(_, _, text)| commits(text)).map(note).collect()
}
