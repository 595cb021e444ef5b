//! `resume`: continues a run where it stopped. The splits come from its journal; what must not have
//! changed since is compared first, and refused with a reason if it has.

use std::path::Path;

use transload_plugin_api::{Descriptor, Guarantee, OptionScope, code};

use super::{
    Ended, Failure, Session, dirty,
    job::{Execution, execute, is_shown, load, open, progress_mode, watermark_file},
    many,
};
use crate::{
    Error, Exit, Result,
    cli::{AcceptedChange, JobArgs, ResumeArgs},
    increment::IncrementLock,
    job::{Inputs, Job},
    journal::{self, Damage, Journal, Past, RunFolder, RunRecord, State},
    plan::Plan,
    report::{Activity, Resumed, Style},
    stores::Stores,
};

/// `resume`: continues a run, or the last run of a job.
pub(super) fn resume(session: &Session, args: &ResumeArgs) -> Ended {
    let state = args.state.clone().unwrap_or_else(journal::state_folder);
    let path = journal::find_open(&state, &args.run)?;
    if many::is_run(&path) {
        return many::resume(session, args, &path);
    }
    let folder = RunFolder::open(path, session.redactor.clone())?;
    let past = read(&folder)?;
    if let Some(ended) = ended(session, &past)? {
        return Ok(ended);
    }
    say_which(session, args, &past);
    let progress = progress_mode(session, args.progress);
    let run = continued_run(session, args, folder, is_shown(progress))?;
    execute(session, run, progress)
}

/// The run in this folder from where it has come to, if nothing has changed that matters.
pub(super) fn continued_run(
    session: &Session,
    args: &ResumeArgs,
    folder: RunFolder,
    is_shown: bool,
) -> Result<Execution, Failure> {
    let past = read(&folder)?;
    let (job, stores) = load_again(session, args, &past.run, is_shown)?;
    let plan = continued(&job, &past);
    let lock = match plan.increment.is_some() {
        true => {
            let state = args.state.clone().unwrap_or_else(journal::state_folder);
            Some(IncrementLock::take(&watermark_file(&state, &job), &job.name)?)
        }
        false => None,
    };
    ensure_repeatable(&plan, &past, args)?;
    let resumed = Resumed::new(&past);
    let starts = starts(&plan, &past);
    let is_loss_accepted = args.accept_changes.contains(&AcceptedChange::DirtyRows);
    let mut journal = Journal::reopen(&folder, &past, starts)?;
    journal.is_loss_accepted = is_loss_accepted;
    keep_earlier_report(folder.path());
    tracing::info!("run {} continues, its folder is {}", plan.run, folder.path().display());
    Ok(Execution { job, stores, plan, folder, journal, resumed: Some(resumed), lock })
}

/// The journal, or a new one if the target keeps what a damaged one has lost.
pub(super) fn read(folder: &RunFolder) -> Result<Past> {
    let damage = match Past::read(folder.path()) {
        Ok(past) => return Ok(past),
        Err(damage @ (Damage::Form(_) | Damage::Unreadable(_))) => {
            return Err(damage.error(folder.path()));
        }
        Err(damage) => damage,
    };
    let error = damage.error(folder.path());
    let past = Journal::rebuild(folder, damage)?;
    tracing::warn!("{error}; what the target keeps of the run takes its place");
    Ok(past)
}

/// Names the run that continues where the command line names a job.
fn say_which(session: &Session, args: &ResumeArgs, past: &Past) {
    let Plan { run, job, .. } = &past.run.plan;
    if args.run == *run || session.quiet {
        return;
    }
    let at = &past.last;
    let how = match &past.state {
        State::Failed(_) => format!("which failed at {at}"),
        State::Publishing => format!("which ended while it was being committed, after {at}"),
        _ => format!("which ended early, after {at}"),
    };
    session.say_text(&format!("{job}: continuing run {run}, {how}"));
}

/// The end of a command for a run that needs no more, or cannot be continued.
fn ended(session: &Session, past: &Past) -> Result<Option<Exit>> {
    let run = &past.run.plan.run;
    match past.state {
        State::Done => {
            let text = format!("run {run} is complete since {}", past.last);
            let json = serde_json::json!({ "run": run, "status": Exit::Done, "ended": past.last });
            session.print(&json, |page| page.led(0, (Style::Good, ""), &text))?;
            Ok(Some(Exit::Done))
        }
        State::Aborting | State::Aborted => {
            let mut inputs = past.run.plan.inputs.clone();
            inputs.file.clone_from(&past.run.job_file);
            let message = format!("run {run} was given up at {}", past.last);
            let error = Error::new(Exit::Usage, message).code(code::RESUME_ABORTED);
            Err(error.hint(format!("begin a new one: {}", inputs.command("run"))))
        }
        _ => Ok(None),
    }
}

/// The job of a run and its stores, if nothing has changed that matters.
fn load_again(
    session: &Session,
    args: &ResumeArgs,
    run: &RunRecord,
    is_shown: bool,
) -> Result<(Job, Stores), Failure> {
    let (catalog, job) = load(session, &job_args(run))?;
    let job = dirty::as_run(&catalog, job, &run.plan)?;
    let activity = Activity::begin(
        &format!("{}: looking at what has changed", job.name),
        session.stderr,
        &session.redactor,
        is_shown,
    );
    let stores = open(session, &catalog, &job)?;
    let accepts = |change| args.accept_changes.contains(&change);
    ensure_same_plugins(run, &stores, accepts(AcceptedChange::Plugin))?;
    ensure_same_job(run, &job, &stores, accepts(AcceptedChange::Connection))?;
    ensure_same_stores(run, &stores)?;
    drop(activity);
    Ok((job, stores))
}

/// What the command line of the run was.
pub(super) fn job_args(run: &RunRecord) -> JobArgs {
    args_of(&run.job_file, run.plan.environment.clone(), &run.plan.inputs)
}

/// A command line that gives a job these inputs.
pub(super) fn args_of(file: &Path, env: Option<String>, inputs: &Inputs) -> JobArgs {
    JobArgs {
        job: file.to_owned(),
        env,
        params: inputs.given().into_iter().collect(),
        bizdate: inputs.bizdate(),
        cyctime: inputs.scheduled.clone(),
        text: inputs.job_text(),
    }
}

/// # Errors
/// If a plugin is not the one that the run began with, and that is not accepted.
fn ensure_same_plugins(run: &RunRecord, stores: &Stores, is_accepted: bool) -> Result<()> {
    let sides = [(&run.plan.reader, &stores.reader_side), (&run.plan.writer, &stores.writer_side)];
    let mut changes: Vec<_> =
        sides.iter().filter_map(|(before, now)| journal::plugin_change(before, now)).collect();
    changes.dedup();
    if changes.is_empty() || is_accepted {
        return Ok(());
    }
    let hint = format!(
        "continue with the version that the run began with, or if this one reads the positions of \
         that one: transload resume {} --accept-changes plugin",
        run.plan.run
    );
    Err(changed(Exit::Plugin, code::RESUME_PLUGIN, "a plugin has changed", &changes).hint(hint))
}

/// # Errors
/// If the job says something else about rows than when the run began.
fn ensure_same_job(
    run: &RunRecord,
    job: &Job,
    stores: &Stores,
    is_address_accepted: bool,
) -> Result<()> {
    let changes = journal::job_changes(run, job);
    let is_address = |key: &String| {
        let (role, key) = key.split_once('.').unwrap_or_default();
        let descriptor = match role {
            "reader" => &stores.reader_descriptor,
            _ => &stores.writer_descriptor,
        };
        is_of_connection(descriptor, key)
    };
    let (addresses, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_address);
    refuse_changes(run, job, &others)?;
    if addresses.is_empty() || is_address_accepted {
        return Ok(());
    }
    let hint = format!(
        "if the same data is there: transload resume {} --accept-changes connection",
        run.plan.run
    );
    let keys: Vec<_> = addresses.iter().map(|key| format!("`{key}`")).collect();
    let error = changed(Exit::Usage, code::RESUME_JOB, "a connection has changed", &keys);
    Err(error.hint(hint))
}

/// # Errors
/// If there are keys whose values have changed; the error has the place of the first.
pub(super) fn refuse_changes(run: &RunRecord, job: &Job, keys: &[String]) -> Result<()> {
    let Some(first) = keys.first() else { return Ok(()) };
    let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    let error = changed(Exit::Usage, code::RESUME_JOB, "the job has changed", &quoted);
    let error = error.of_key(first.clone()).hint(give_up(&run.plan.run));
    Err(job.places.locate(error))
}

fn give_up(run: &str) -> String {
    format!("undo the change, or give the run up and begin a new one: transload abort {run}")
}

/// Whether the key is an option for the address of a store and the login.
fn is_of_connection(descriptor: &Descriptor, key: &str) -> bool {
    let of_roles = [
        descriptor.reader.as_ref().map(|reader| &reader.options),
        descriptor.writer.as_ref().map(|writer| &writer.options),
    ];
    let specs = of_roles.into_iter().flatten().flatten().chain(&descriptor.options);
    specs.into_iter().any(|spec| spec.key == key && spec.scope == OptionScope::Connection)
}

/// # Errors
/// If source or target are not as they were.
fn ensure_same_stores(run: &RunRecord, stores: &Stores) -> Result<()> {
    let again = give_up(&run.plan.run);
    let source = stores.reader.schema()?;
    let changes = journal::source_changes(run, &source);
    if !changes.is_empty() {
        return Err(changed(Exit::Schema, code::RESUME_SOURCE, "the source has changed", &changes)
            .hint(again));
    }
    let target = stores.writer.inspect()?;
    let changes = journal::target_changes(&run.plan, &target);
    if !changes.is_empty() {
        let error = changed(Exit::Schema, code::RESUME_TARGET, "the target has changed", &changes);
        return Err(error.at(target.name).hint(again));
    }
    Ok(())
}

fn changed(exit: Exit, code: &str, what: &str, changes: &[String]) -> Error {
    Error::new(exit, format!("{what} since the run began: {}", changes.join("; "))).code(code)
}

/// The plan of the run, with what may change from the job.
fn continued(job: &Job, past: &Past) -> Plan {
    let mut plan = past.run.plan.clone();
    plan.channel = job.channel.clone();
    plan.dirty = job.dirty.clone();
    plan.write.task_buffer = Some(job.channel.task_buffer());
    plan.write.before.clone_from(&job.writer.before);
    plan.write.after.clone_from(&job.writer.after);
    plan.write.is_resumed = past.is_prepared && !past.left_nothing();
    plan
}

/// # Errors
/// If rows that are in the target may be written a second time.
fn ensure_repeatable(plan: &Plan, past: &Past, args: &ResumeArgs) -> Result<()> {
    let is_safe = plan.write.tokens.is_some()
        || plan.draft.guarantee >= Guarantee::Convergent
        || !past.is_prepared
        || past.left_nothing();
    if is_safe || args.allow_duplicates {
        return Ok(());
    }
    let message = format!(
        "rows that are in `{}` may be written a second time: the run keeps no commit tokens, and its \
         mode, {}, adds rows",
        plan.target.name,
        plan.write.mode.word()
    );
    let hint = format!(
        "count with duplicates: transload resume {} --allow-duplicates; later runs keep tokens \
         with `require = \"effectively-once\"` in `[guarantee]`",
        plan.run
    );
    Err(Error::new(Exit::Usage, message).code(code::RESUME_DUPLICATES).hint(hint))
}

/// Where tasks start. What was staged without tokens has no positions: a task that has not finished
/// starts again, and all do if what they had staged is removed.
fn starts(plan: &Plan, past: &Past) -> Vec<journal::TaskStart> {
    let mut starts = past.starts.clone();
    let is_cleaned = matches!(&past.state, State::Failed(failure) if failure.is_cleaned);
    if plan.is_staged() && plan.write.tokens.is_none() {
        for start in starts.iter_mut().filter(|start| is_cleaned || start.receipt.is_none()) {
            *start = journal::TaskStart::default();
        }
    }
    starts
}

/// The report of the attempt before this one is kept under another name.
fn keep_earlier_report(folder: &Path) {
    let report = folder.join("report.json");
    let numbered = |number| folder.join(format!("report-{number}.json"));
    let free = (1..1000).map(numbered).find(|path: &std::path::PathBuf| !path.exists());
    if let Some(free) = free.filter(|_| report.exists())
        && let Err(error) = std::fs::rename(&report, free)
    {
        tracing::warn!("cannot keep {}: {error}", report.display());
    }
}
