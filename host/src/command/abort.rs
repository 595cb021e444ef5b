//! `abort`: gives a run up and removes what it has left, as far as that is certainly its own.

use transload_plugin_api::{Receipt, code, failpoint};

use super::{
    Ended, Failure, Session,
    job::{load, open_writer},
    many, resume,
};
use crate::{
    Error, Exit, Result,
    cli::AbortArgs,
    journal::{self, Journal, Past, RunFolder, State},
    report::{Style, plural},
};

/// `abort`: gives a run up. A second time, it looks again for what is left.
pub(super) fn abort(session: &Session, args: &AbortArgs) -> Ended {
    let state = args.state.clone().unwrap_or_else(journal::state_folder);
    let path = journal::find(&state, &args.run)?;
    if many::is_run(&path) {
        return many::abort(session, args, &path);
    }
    let folder = RunFolder::open(path, session.redactor.clone())?;
    let past = resume::read(&folder)?;
    let run = &past.run.plan.run;
    if matches!(past.state, State::Done) {
        let message = format!("run {run} is complete since {}: nothing is left of it", past.last);
        session.print(&serde_json::json!({ "run": run, "state": "done" }), |page| {
            page.line(0, &message);
        })?;
        return Ok(Exit::Done);
    }
    let kept = give_up(session, &folder, &past, args)?;
    let message = format!("run {run} is given up; what it had staged is removed");
    let json = serde_json::json!({ "run": run, "state": "aborted", "kept": kept });
    session.print(&json, |page| {
        page.led(0, (Style::Good, ""), &message);
        kept.iter().for_each(|sentence| page.line(0, sentence));
    })?;
    Ok(Exit::Done)
}

/// Removes what a run has left. Returns what stays in the target.
pub(super) fn give_up(
    session: &Session,
    folder: &RunFolder,
    past: &Past,
    args: &AbortArgs,
) -> Result<Option<String>, Failure> {
    ensure_certain(past, args)?;
    let journal = Journal::reopen_to_abort(folder, past)?;
    failpoint("K14");
    remove(session, past)?;
    journal.aborted()?;
    Ok(kept(past))
}

/// # Errors
/// If a commit may have been sent: what is staged may be the only copy of rows, or be published.
fn ensure_certain(past: &Past, args: &AbortArgs) -> Result<()> {
    if !past.is_uncertain() || args.force {
        return Ok(());
    }
    let run = &past.run.plan.run;
    let message = format!(
        "the commit of run {run} had begun, and whether it took effect is unknown: what the run has \
         staged may be the only copy of its rows"
    );
    let hint = format!(
        "find out: transload resume {run}; to remove what is staged all the same: transload abort \
         {run} --force"
    );
    Err(Error::new(Exit::Failed, message).code(code::RUN_COMMIT_UNKNOWN).hint(hint))
}

/// Removes what the run has staged.
fn remove(session: &Session, past: &Past) -> Result<(), Failure> {
    let (catalog, job) = load(session, &resume::job_args(&past.run))?;
    // Another table must not be taken for the run's.
    let changes = journal::job_changes(&past.run, &job);
    let changes: Vec<_> = changes.into_iter().filter(|key| key.starts_with("writer.")).collect();
    resume::refuse_changes(&past.run, &job, &changes)?;
    let writer = open_writer(session, &catalog, &job)?;
    let mut plan = past.run.plan.write.clone();
    plan.before.clone_from(&job.writer.before);
    plan.after.clone_from(&job.writer.after);
    plan.is_resumed = past.is_prepared;
    let receipts: Vec<Receipt> =
        past.starts.iter().filter_map(|start| start.receipt.clone()).collect();
    writer.abort(&plan, &receipts)?;
    Ok(())
}

/// What stays in the target.
fn kept(past: &Past) -> Option<String> {
    let plan = &past.run.plan;
    let rows = past.counters();
    let written = rows.inserted + rows.updated;
    let is_visible = !plan.is_staged() && written > 0;
    is_visible.then(|| {
        let rows =
            plural(written, "row of a committed chunk stays", "rows of committed chunks stay");
        format!("{rows} in `{}`", plan.target.name)
    })
}
