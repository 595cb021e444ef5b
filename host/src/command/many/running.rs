//! The tables of a run, several at a time, their tasks in one pool of lanes.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::{Instant, SystemTime},
};

use transload_plugin_api::{code, failpoint};

use super::{
    super::{Failure, Session, job, resume},
    for_table, in_lanes,
    planning::ManyJob,
    record::{self, TablesRecord},
};
use crate::{
    Error, Exit, Result,
    cli::ResumeArgs,
    ending,
    engine::{Pool, Stop},
    journal::{Journal, Past, RunFolder, State, new_run},
    plan::Plan,
    report::{ProgressMode, Report, TableResult, TablesReport, grouped, local},
};

/// The tables of a run.
pub(super) struct Tables<'a> {
    pub(super) session: &'a Session,
    pub(super) folder: &'a RunFolder,
    pub(super) record: &'a TablesRecord,
    /// The flags of `resume`, if the run was begun before.
    pub(super) resume: Option<&'a ResumeArgs>,
    pub(super) progress: ProgressMode,
}

impl Tables<'_> {
    /// Runs the tables that are not done.
    pub(super) fn run(&self, many: &ManyJob) -> Result<TablesReport> {
        self.report_early_end();
        let (begun, started) = (Instant::now(), local(SystemTime::now()));
        let pool = Pool::new(&many.channel);
        let (failed, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
        let tables = &self.record.tables;
        let lanes = many.channel.parallelism.get();
        let results = in_lanes(lanes, tables.len(), |at| {
            let ends = failed.load(Relaxed) && !many.many.continues;
            if ends || self.session.stop.is_stopped() {
                return None;
            }
            let result = self.table(many, at, &pool);
            if result.error.is_some() {
                failed.store(true, Relaxed);
            }
            self.say(&result, ended.fetch_add(1, Relaxed) + 1);
            Some(result)
        })?;
        let named = results.into_iter().zip(tables);
        let results: Vec<_> = named
            .map(|(result, table)| result.unwrap_or_else(|| TableResult::not_begun(table.path())))
            .collect();
        let error = self.failure(&results);
        let times = (started, local(SystemTime::now()), begun.elapsed());
        let (job, run) = (self.record.job.clone(), self.record.run.clone());
        Ok(TablesReport::new(job, run, self.folder.path(), times, results, error))
    }

    /// One table; a failure is a part of its result.
    fn table(&self, many: &ManyJob, at: usize, pool: &Pool) -> TableResult {
        let table = &self.record.tables[at];
        let (stop, _registration) = Stop::below(&self.session.stop);
        let session = for_table(self.session, &stop, table);
        match self.report_of(&session, many, at, pool) {
            Ok(Some(report)) => TableResult::of(table.path(), report),
            Ok(None) => TableResult::done_before(table.path()),
            Err(failure) => TableResult::failed(table.path(), first_error(session.first(failure))),
        }
    }

    /// The report of a table; `None` if an earlier process has done it.
    fn report_of(
        &self,
        session: &Session,
        many: &ManyJob,
        at: usize,
        pool: &Pool,
    ) -> Result<Option<Report>, Failure> {
        let last = record::last_run(self.folder.path(), at).filter(|_| self.resume.is_some());
        if let (Some(path), Some(args)) = (last, self.resume) {
            match Past::read(&path) {
                Ok(Past { state: State::Done, .. }) => return Ok(None),
                Ok(Past { state: State::Aborting | State::Aborted, .. }) => {}
                // What it had made is removed, a new table too: it begins again.
                Ok(past) if past.left_nothing() => {}
                _ => {
                    let folder = RunFolder::open(path, session.redactor.clone())?;
                    let run = resume::continued_run(session, args, folder, false)?;
                    return Ok(Some(job::perform_in(session, run, pool)?));
                }
            }
        }
        let (catalog, job) = job::load(session, &many.args)?;
        let stores = job::open(session, &catalog, &job)?;
        let plan = Plan::new(&job, new_run(), &stores)?;
        let state = record::state_of(self.folder.path(), at);
        let folder = RunFolder::create(&state, &plan.job, &plan.run, session.redactor.clone())?;
        folder.keep("plan.json", &plan)?;
        let journal = Journal::create(&folder, &job, &plan)?;
        failpoint("K2");
        let run = job::Execution { job, stores, plan, folder, journal, resumed: None, lock: None };
        Ok(Some(job::perform_in(session, run, pool)?))
    }

    /// A line for each table that has ended.
    fn say(&self, result: &TableResult, ended: usize) {
        if matches!(self.progress, ProgressMode::None | ProgressMode::Json) {
            return;
        }
        let all = self.record.tables.len();
        let what = match &result.error {
            Some(_) => "failed".to_owned(),
            None => format!("{} rows", grouped(result.rows.read)),
        };
        self.session.say_text(&format!("[{ended}/{all}] {}: {what}", result.table));
    }

    /// What the run as a whole failed of.
    fn failure(&self, results: &[TableResult]) -> Option<Error> {
        let run = &self.record.run;
        let hint = format!("continue with the tables that are not done: transload resume {run}");
        if let Some(stopped) = self.session.stop.failure() {
            return Some(stopped.hint(hint));
        }
        let failed: Vec<_> = results.iter().filter(|result| result.error.is_some()).collect();
        let first = failed.first()?.error.as_ref()?;
        let names: Vec<_> = failed.iter().take(5).map(|it| format!("`{}`", it.table)).collect();
        let more = if failed.len() > names.len() { ", ..." } else { "" };
        let message = format!(
            "{} of {} tables failed: {}{more}",
            failed.len(),
            results.len(),
            names.join(", ")
        );
        Some(Error::new(first.exit, message).code(code::RUN_TABLES).hint(hint))
    }

    /// An end that comes early names the run to continue.
    fn report_early_end(&self) {
        let session = self.session.clone();
        let hint = format!("continue it: transload resume {}", self.record.run);
        ending::resumable(&self.record.run);
        ending::report_by(move |error| {
            session.print_failure(Failure::Error(error.hint(hint)));
        });
    }
}

/// The first of the errors of a table.
fn first_error(failure: Failure) -> Error {
    let unknown = || Error::new(Exit::Failed, "the table failed");
    match failure {
        Failure::Error(error) => error,
        Failure::Errors(errors) => errors.0.into_iter().next().unwrap_or_else(unknown),
        Failure::Problems(problems, exit) => Error::new(exit, problems.to_string()),
    }
}
