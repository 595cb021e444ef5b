//! The row of one run in the store: who writes a target, how far the run has come, and which of its
//! statements have run. One update at a time; the order of the verbs is `writer`'s.

use transload_plugin_api::{Error, ErrorKind, Result, WritePlan, code};

use super::{PROTOCOL, Tokens, number, text};
use crate::{Session, dialect::fnv1a};

const DOING: &str = "keep the run's token";
/// How often the row is looked for again while others make and end theirs.
const ATTEMPTS: usize = 5;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `before` statements run and the stage is made: no chunk is committed.
    Preparing,
    /// Tasks write.
    Writing,
    /// The rows are in the target, and `after` statements run.
    Published,
    /// All of it is done.
    Done,
    /// Given up.
    Aborted,
}

impl Phase {
    const ALL: [Self; 5] =
        [Self::Preparing, Self::Writing, Self::Published, Self::Done, Self::Aborted];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Writing => "writing",
            Self::Published => "published",
            Self::Done => "done",
            Self::Aborted => "aborted",
        }
    }
}

/// The row of a run, as this process holds it.
pub(crate) struct RunToken {
    pub(crate) tokens: Tokens,
    pub(super) epoch: u64,
    pub(crate) phase: Phase,
    /// How many of the plan's statements have run, `before` and `after` together.
    pub(crate) step: usize,
}

impl RunToken {
    /// Makes the run's row, or takes it over from an earlier process of the run. `target` is the
    /// target's full name.
    ///
    /// # Errors
    /// [`code::RUN_ACTIVE`] if another run holds the target, [`code::RUN_LOST`] if a run that was
    /// prepared has no row any more.
    pub(crate) fn take<S: Session>(
        session: &mut S,
        tokens: Tokens,
        plan: &WritePlan,
        target: &str,
    ) -> Result<Self> {
        let hash = plan_hash(plan)?;
        let mut found = Self { tokens, epoch: 0, phase: Phase::Preparing, step: 0 };
        for _ in 0..ATTEMPTS {
            let taken = match found.read(session, Some(&hash))? {
                true => found.take_over(session, plan, target),
                false if plan.is_resumed => return Err(lost(&plan.run, target)),
                false => found.insert(session, plan, target, &hash),
            };
            match taken {
                Ok(true) => return Ok(found),
                Ok(false) => {}
                // A row with the same key, unless it has just gone.
                Err(error) if error.kind == ErrorKind::Data => {
                    found.tokens.refuse_active(session, target)?;
                }
                Err(error) if error.kind == ErrorKind::Retry => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::locked(format!("other runs begin and end at this moment on `{target}`"))
            .hint("run the job again"))
    }

    /// The run's row as it is, for a process that continues what another one has begun.
    ///
    /// # Errors
    /// [`code::RUN_LOST`] if it is missing.
    pub(crate) fn find<S: Session>(session: &mut S, tokens: Tokens, target: &str) -> Result<Self> {
        let mut found = Self { tokens, epoch: 0, phase: Phase::Preparing, step: 0 };
        match found.read(session, None)? {
            true => Ok(found),
            false => Err(lost(&found.tokens.id, target)),
        }
    }

    /// Reads the row; whether there is one. `hash` is the plan's.
    fn read<S: Session>(&mut self, session: &mut S, hash: Option<&str>) -> Result<bool> {
        let sql = format!(
            "SELECT protocol, state, step, epoch, plan_hash FROM {} WHERE {}",
            self.tokens.run_table(),
            self.tokens.of_run()
        );
        let rows = session.rows(DOING, &sql)?;
        let Some(row) = rows.first() else { return Ok(false) };
        let (run, protocol) = (&self.tokens.id, number(row, 0)?);
        let phase = Phase::ALL.into_iter().find(|phase| phase.word() == text(row, 1));
        let Some(phase) = phase.filter(|_| protocol == u64::from(PROTOCOL)) else {
            let message = format!("the token of run `{run}` is of another version of Transload");
            return Err(Error::unsupported(message)
                .hint("use the version that began the run, or end it there"));
        };
        if hash.is_some_and(|hash| hash != text(row, 4)) {
            let message = format!("run `{run}` was begun with another plan");
            return Err(Error::schema(message)
                .with_code(code::RUN_TOKEN)
                .hint(format!("give it up: transload abort {run}")));
        }
        (self.phase, self.step, self.epoch) = (phase, number(row, 2)? as usize, number(row, 3)?);
        Ok(true)
    }

    fn insert<S: Session>(
        &mut self,
        session: &mut S,
        plan: &WritePlan,
        target: &str,
        hash: &str,
    ) -> Result<bool> {
        let tokens = &self.tokens;
        let [run, job, target] = [&plan.run, &plan.job, target].map(|text| tokens.text(text));
        let (table, phase) = (tokens.run_table(), Phase::Preparing.word());
        let sql = format!(
            "INSERT INTO {table} (run_id, job, target, active_key, plan_hash, protocol, state, \
             step, epoch) VALUES ({run}, {job}, {target}, {target}, '{hash}', {PROTOCOL}, \
             '{phase}', 0, 1)"
        );
        session.change(DOING, &sql)?;
        (self.phase, self.step, self.epoch) = (Phase::Preparing, 0, 1);
        Ok(true)
    }

    /// Raises the epoch, so that no earlier process of the run can end it. One that was given up
    /// while it was prepared is prepared again.
    fn take_over<S: Session>(
        &mut self,
        session: &mut S,
        plan: &WritePlan,
        target: &str,
    ) -> Result<bool> {
        let mut set = "epoch = epoch + 1".to_owned();
        match self.phase {
            Phase::Done => return Ok(true),
            Phase::Aborted if plan.is_resumed => {
                let message = format!("run `{}` was given up", plan.run);
                return Err(Error::other(message)
                    .with_code(code::RUN_TOKEN)
                    .hint("run the job again as a new run"));
            }
            Phase::Aborted => {
                self.phase = Phase::Preparing;
                let (word, key) = (self.phase.word(), self.tokens.text(target));
                set = format!("{set}, state = '{word}', active_key = {key}");
            }
            Phase::Preparing | Phase::Writing | Phase::Published => {}
        }
        let taken = session.change(DOING, &self.update(&set))? == 1;
        self.epoch += 1;
        Ok(taken)
    }

    fn update(&self, set: &str) -> String {
        let (table, run) = (self.tokens.run_table(), self.tokens.of_run());
        format!("UPDATE {table} SET {set} WHERE {run} AND epoch = {}", self.epoch)
    }

    /// The statement that notes that this many of the plan's statements have run.
    pub(crate) fn note_step(&self, step: usize) -> String {
        self.update(&format!("step = {step}"))
    }

    /// The statement that notes that the run has come this far.
    pub(crate) fn note(&self, phase: Phase) -> String {
        let ended = match phase {
            Phase::Done | Phase::Aborted => ", active_key = NULL",
            Phase::Preparing | Phase::Writing | Phase::Published => "",
        };
        self.update(&format!("state = '{}'{ended}", phase.word()))
    }

    /// Notes that the run has come this far. Changes nothing where that is noted already.
    ///
    /// # Errors
    /// [`code::RUN_FENCED`] if another process has taken the run over.
    pub(crate) fn advance<S: Session>(&mut self, session: &mut S, phase: Phase) -> Result<()> {
        // Some servers count only rows that differ afterwards.
        if session.change(DOING, &self.note(phase))? != 1 {
            let (epoch, run) = (self.epoch, self.tokens.id.clone());
            if !self.read(session, None)? {
                return Err(lost(&run, &run));
            }
            if self.epoch != epoch {
                return Err(taken_over());
            }
        }
        self.phase = phase;
        Ok(())
    }

    /// Ends the row as given up; no error if it is missing or has ended.
    pub(crate) fn give_up<S: Session>(session: &mut S, tokens: &Tokens) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET state = '{}', active_key = NULL, epoch = epoch + 1 WHERE {} AND state \
             NOT IN ('{}', '{}')",
            tokens.run_table(),
            Phase::Aborted.word(),
            tokens.of_run(),
            Phase::Done.word(),
            Phase::Aborted.word()
        );
        session.change(DOING, &sql).map(drop)
    }
}

impl Tokens {
    /// The run has ended, with all of its rows in the target.
    pub(crate) fn is_done<S: Session>(&self, session: &mut S) -> Result<bool> {
        let sql = format!("SELECT state FROM {} WHERE {}", self.run_table(), self.of_run());
        let rows = session.rows(DOING, &sql)?;
        Ok(rows.first().is_some_and(|row| text(row, 0) == Phase::Done.word()))
    }

    /// Looks for another run that holds the target.
    ///
    /// # Errors
    /// [`code::RUN_ACTIVE`] if there is one, and those of the query.
    pub(crate) fn refuse_active<S: Session>(&self, session: &mut S, target: &str) -> Result<()> {
        let sql = format!(
            "SELECT run_id, job, started FROM {} WHERE active_key = {} AND NOT {}",
            self.run_table(),
            self.text(target),
            self.of_run()
        );
        let rows = session.rows(DOING, &sql)?;
        let Some(row) = rows.first() else { return Ok(()) };
        let (run, job) = (text(row, 0), text(row, 1));
        let of_job = if job.is_empty() { String::new() } else { format!(" of job `{job}`") };
        let since: String = text(row, 2).chars().take(19).collect();
        let message = format!(
            "run `{run}`{of_job} writes table `{target}` since {since} UTC, or has not ended"
        );
        Err(Error::locked(message).with_code(code::RUN_ACTIVE).hint(format!(
            "if it does not run any more: `transload resume {run}` continues it, `transload abort \
             {run}` gives it up"
        )))
    }
}

/// The refusal of a process whose run another one continues.
pub(super) fn taken_over() -> Error {
    Error::locked("another process has taken the run over")
        .with_code(code::RUN_FENCED)
        .hint("let that one end; nothing was written since")
}

fn lost(run: &str, target: &str) -> Error {
    let message = format!("the token tables of `{target}` know no run `{run}`");
    Error::other(message).with_code(code::RUN_LOST).hint(
        "the database was restored to an earlier state, or the tables are others than the run's: \
         compare the target with the source before you run the job again",
    )
}

/// What may not differ between the processes of a run. Types may: a table that the run has created
/// reports its own.
fn plan_hash(plan: &WritePlan) -> Result<String> {
    let names: Vec<_> = plan.columns.iter().map(|column| &column.name).collect();
    let parts = (plan.mode, &plan.key, &plan.update_columns, names, &plan.before, &plan.after);
    let json = serde_json::to_vec(&parts).map_err(|error| Error::defect(error.to_string()))?;
    Ok(format!("{:016x}", fnv1a(&json)))
}
