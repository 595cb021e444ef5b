//! Jobs of many tables: `run`, `plan`, `check`, `resume` and `abort`. Each table is a run of its own, with
//! plan, journal and report in a folder below that of the whole; what is here is which tables there are,
//! in what order and how many at a time they run, and what came of all.

mod planning;
mod record;
mod running;

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use parking_lot::Mutex;
use transload_plugin_api::code;

use super::{Ended, Failure, Session, abort, job, resume};
use crate::{
    Error, Exit, Result,
    cli::{AbortArgs, JobArgs, PlanArgs, ResumeArgs, RunArgs},
    ending,
    engine::Stop,
    job::{ChosenTable, is_of_many},
    journal::{self, RunFolder},
    report::{self, Style},
};
use planning::ManyJob;
use record::TablesRecord;
use running::Tables;

pub(super) use record::is_run;

/// Whether the job file is of many tables.
pub(super) fn is_job(args: &JobArgs) -> bool {
    args.text.is_none() && is_of_many(&args.job)
}

/// A session for one table.
fn for_table(session: &Session, stop: &Stop, table: &ChosenTable) -> Session {
    Session { stop: stop.clone(), table: Some(table.clone()), ..session.clone() }
}

/// Runs `work` for each number below `count` on several threads, until one returns `None`.
fn in_lanes<T: Send>(
    lanes: u32,
    count: usize,
    work: impl Fn(usize) -> Option<T> + Sync,
) -> Result<Vec<Option<T>>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
    let lane = || loop {
        let at = next.fetch_add(1, Relaxed);
        if at >= count {
            return;
        }
        let Some(result) = work(at) else { return };
        done.lock()[at] = Some(result);
    };
    thread::scope(|scope| {
        for number in 0..lanes.min(count as u32) {
            let name = format!("table-{number}");
            thread::Builder::new().name(name).spawn_scoped(scope, lane).map_err(|error| {
                Error::new(Exit::Failed, format!("cannot start a thread: {error}"))
            })?;
        }
        Ok::<_, Error>(())
    })?;
    Ok(done.into_inner())
}

/// `check`: what the job says of any table.
pub(super) fn check(session: &Session, args: &JobArgs) -> Ended {
    let (_, job) = job::load(&for_table(session, &session.stop, &ChosenTable::any()), args)?;
    session.print(&job, |page| {
        for warning in &job.warnings {
            page.flow(&format!("warning: {warning}"));
        }
        let text = format!("{} is valid; its tables are looked for by `plan`", args.job.display());
        page.led(0, (Style::Good, ""), &text);
    })?;
    Ok(Exit::Done)
}

/// `plan`: every table's plan in a line.
pub(super) fn plan(session: &Session, args: &PlanArgs) -> Ended {
    let many = ManyJob::open(session, &args.job)?;
    let plan = many.plan(session, &many.list(session)?)?;
    session.print(&plan, |page| report::describe_tables(page, &plan))?;
    Ok(Exit::Done)
}

/// `run`: plans all tables, and runs them if all plans are good.
pub(super) fn run(session: &Session, args: &RunArgs) -> Ended {
    let progress = job::progress_mode(session, args.progress);
    let many = ManyJob::open(session, &args.job)?;
    let plan = many.plan(session, &many.list(session)?)?;
    for table in &plan.tables {
        for warning in &table.warnings {
            tracing::warn!("table {}: {warning}", table.table);
        }
    }
    let state = args.state.clone().unwrap_or_else(journal::state_folder);
    let run = journal::new_run();
    record::refuse_second(&state, &plan.job)?;
    let folder = RunFolder::create(&state, &plan.job, &run, session.redactor.clone())?;
    folder.keep("plan.json", &plan)?;
    let record = TablesRecord::new(&run, &many, &plan);
    folder.keep(record::NAME, &record)?;
    tracing::info!("run {run} begins, its folder is {}", folder.path().display());
    let tables = Tables { session, folder: &folder, record: &record, resume: None, progress };
    finish(session, &tables.run(&many)?, &folder)
}

/// `resume`: continues the tables that are not done.
pub(super) fn resume(session: &Session, args: &ResumeArgs, path: &Path) -> Ended {
    let progress = job::progress_mode(session, args.progress);
    let folder = RunFolder::open(path.to_owned(), session.redactor.clone())?;
    let record = TablesRecord::read(folder.path())?;
    let run = &record.run;
    if record.is_complete(folder.path()) {
        let text = format!("run {run} is complete");
        let json = serde_json::json!({ "run": run, "status": Exit::Done });
        session.print(&json, |page| page.led(0, (Style::Good, ""), &text))?;
        return Ok(Exit::Done);
    }
    if record.is_aborted {
        let message = format!("run {run} was given up");
        let error = Error::new(Exit::Usage, message).code(code::RESUME_ABORTED);
        let hint = format!("begin a new one: transload run {}", record.job_file.display());
        return Err(error.hint(hint).into());
    }
    let many = ManyJob::open(session, &record.job_args())?;
    many.ensure_same(&record)?;
    let tables = Tables { session, folder: &folder, record: &record, resume: Some(args), progress };
    finish(session, &tables.run(&many)?, &folder)
}

/// `abort`: gives up the tables that are not done.
pub(super) fn abort(session: &Session, args: &AbortArgs, path: &Path) -> Ended {
    let folder = RunFolder::open(path.to_owned(), session.redactor.clone())?;
    let mut record = TablesRecord::read(folder.path())?;
    let mut kept = Vec::new();
    for (at, table) in record.tables.iter().enumerate() {
        let Some(own) = record::last_run(folder.path(), at) else { continue };
        let own = RunFolder::open(own, session.redactor.clone())?;
        let past = resume::read(&own)?;
        if matches!(past.state, journal::State::Done | journal::State::Aborted) {
            continue;
        }
        let session = for_table(session, &session.stop, table);
        kept.extend(abort::give_up(&session, &own, &past, args)?);
    }
    record.is_aborted = true;
    folder.keep(record::NAME, &record)?;
    let done = record.done(folder.path());
    let message = format!(
        "run {} is given up; what it had staged is removed; {done} of {} tables are done and stay",
        record.run,
        record.tables.len()
    );
    let json = serde_json::json!({
        "run": record.run, "state": "aborted", "kept": kept, "tables_done": done,
    });
    session.print(&json, |page| {
        page.led(0, (Style::Good, ""), &message);
        kept.iter().for_each(|sentence| page.line(0, sentence));
    })?;
    Ok(Exit::Done)
}

/// Keeps and prints the report; the exit code is that of the first table that failed.
fn finish(session: &Session, report: &report::TablesReport, folder: &RunFolder) -> Ended {
    ending::claim();
    folder.keep("report.json", report)?;
    session.print_report(report)?;
    match &report.error {
        None => Ok(Exit::Done),
        Some(error) => Err(Failure::Error(error.clone())),
    }
}
