//! `dirty list`, `export` and `replay`: the dirty rows of a run that has ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use transload_plugin_api::{Column, Guarantee, WriteMode, code};

use super::{
    Ended, Failure, Session,
    job::{self, Execution},
};
use crate::{
    Error, Exit, Result,
    catalog::Catalog,
    cli::{DirtyCommand, DirtyFilter, JobArgs, ReplayArgs},
    engine::{Outcome, Reached},
    job::{FILE_READER, Job, ReplayFile},
    journal::{self, Journal, Past, RunFolder, create_private_folder, new_run, write_private},
    plan::Plan,
    repair::{
        self, Exported, Filter, Form, FormChoice, KeptRun, Records, Repaired, Replaying, Replays,
        RowId, Summary,
    },
    report::{grouped, plural},
    stores::Stores,
};

/// The most rows that are named one by one.
const NAMED: usize = 20;
/// What stands in the place of a secret.
const REDACTED: &str = "[redacted:";
/// The folder of a run with the file that it reads.
const SENT: &str = "repaired";

/// Runs one of the commands.
pub(super) fn dirty(session: &Session, command: &DirtyCommand) -> Ended {
    match command {
        DirtyCommand::List { run, state } => {
            let summary = Summary::of(&find(state.as_deref(), run)?)?;
            session.print(&summary, |page| summary.describe(page))?;
            Ok(Exit::Done)
        }
        DirtyCommand::Export { run, format, filter, again, state } => {
            let run = find(state.as_deref(), run)?;
            let form = Form::of(&run.plan, *format)?;
            export(session, &run, &form, filter, *again)
        }
        DirtyCommand::Replay(args) => replay(session, args),
    }
}

fn find(state: Option<&Path>, run: &str) -> Result<KeptRun> {
    repair::find(&state.map_or_else(journal::state_folder, Path::to_owned), run)
}

fn filter_of(filter: &DirtyFilter) -> Filter {
    Filter { codes: filter.codes.clone(), columns: filter.columns.clone() }
}

/// `export`: the rows on stdout, all else on stderr.
fn export(
    session: &Session,
    run: &KeptRun,
    form: &Form,
    filter: &DirtyFilter,
    again: bool,
) -> Ended {
    let replays = Replays::read(run)?;
    let was_sent = |id| !again && replays.by(id).is_some();
    let mut out = Ending(BufWriter::new(io::stdout().lock()));
    let exported = repair::export(run, form, &filter_of(filter), was_sent, &mut out)?;
    if replays.sent() > 0 && !again && !session.quiet {
        let sent = plural(replays.sent() as u64, "row was", "rows were");
        session.say_text(&format!("{sent} sent again before: --again exports them, too"));
    }
    report_left_out(session, &exported)
}

/// Names what could not be exported, and fails if anything could not.
fn report_left_out(session: &Session, Exported { rows, left_out }: &Exported) -> Ended {
    if left_out.is_empty() {
        return match rows {
            0 => Err(no_rows().into()),
            _ => Ok(Exit::Done),
        };
    }
    left_out.iter().take(NAMED).for_each(|row| session.say_text(&format!("not exported: {row}")));
    let (count, all) = (left_out.len() as u64, left_out.len() as u64 + rows);
    let message = format!("{} of {} rows are not exported", grouped(count), grouped(all));
    Err(Error::new(Exit::Failed, message)
        .code(code::DIRTY_EXPORT)
        .hint("the run's dirty files have them: `transload dirty list` names the files")
        .into())
}

fn no_rows() -> Error {
    Error::new(Exit::NotFound, "no dirty row is left that fits")
        .code(code::RUN_MISSING)
        .hint("`transload dirty list` shows the codes and columns of all rows")
}

/// A closed stdout (`| head`) is not a failure.
struct Ending<W>(W);

impl<W: Write> Write for Ending<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        tolerant(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        tolerant(self.0.flush(), ())
    }
}

fn tolerant<T>(result: io::Result<T>, closed: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(closed),
        result => result,
    }
}

/// `replay`: sends rows again as a run of their own.
fn replay(session: &Session, args: &ReplayArgs) -> Ended {
    let run = find(args.state.as_deref(), &args.run)?;
    ensure_done(&run)?;
    let form = Form::of(&run.plan, args.format)?;
    let name = new_run();
    let mut replaying = Replaying::lock(&run, &name)?;
    let replays = Replays::read(&run)?;
    let repaired = rows_to_send(session, args, &run, &form, &replays)?;
    let (catalog, job) = job_of(session, &run, args)?;
    if !args.again {
        ensure_new(&run, &replays, &repaired.ids, job.writer.write_mode)?;
    }
    let state = args.state.clone().unwrap_or_else(journal::state_folder);
    job::refuse_second(&state, &run.plan.job, &run.plan.target.name)?;
    let folder = RunFolder::create(&state, &run.plan.job, &name, session.redactor.clone())?;
    let planned = keep_file(&folder, &form, &repaired, args.from.as_deref())
        .map_err(Failure::from)
        .and_then(|file| planned(session, (&catalog, job), &run, &form, (&folder, &file)));
    let (job, stores, plan) = planned.inspect_err(|_| {
        // Nothing has begun, so nothing is kept. What remains of it does no harm.
        let _ = fs::remove_dir_all(folder.path());
    })?;
    folder.keep("plan.json", &plan)?;
    let journal = Journal::create(&folder, &job, &plan)?;
    replaying.begin(&repaired.ids)?;
    let rows = repaired.ids.len() as u64;
    let seen = |plan: &Plan, outcome: &Outcome| replaying.end(ended(plan, outcome, rows));
    let replay = Execution { job, stores, plan, folder, journal, resumed: None, lock: None };
    let report = job::perform(session, replay, job::progress_mode(session, args.progress), seen)?;
    job::finish(session, &report)
}

/// Rows of a run that has failed were rolled back, in part or all, and come again with the job.
fn ensure_done(run: &KeptRun) -> Result<()> {
    let name = &run.plan.run;
    let message = match run.status().as_deref() {
        Some("done") => return Ok(()),
        Some(status) => format!("run {name} failed (`{status}`)"),
        None => format!("run {name} is in progress, or was killed"),
    };
    Err(Error::new(Exit::Usage, format!("{message}: its dirty rows are not sent again"))
        .code(code::DIRTY_UNDONE)
        .hint(
            "correct the source, or raise the limit in [dirty], and run the job again; \
             `transload resume` continues a run that was killed",
        ))
}

/// The records to send, from the file or as they were kept.
fn rows_to_send(
    session: &Session,
    args: &ReplayArgs,
    run: &KeptRun,
    form: &Form,
    replays: &Replays,
) -> Result<Repaired, Failure> {
    let (name, text) = match &args.from {
        Some(path) => (path.display().to_string(), read_file(path)?),
        None => {
            let mut text = Vec::new();
            let skip = |id| !args.again && replays.by(id).is_some();
            let exported = repair::export(run, form, &filter_of(&args.filter), skip, &mut text)?;
            if exported.rows == 0 && exported.left_out.is_empty() && replays.sent() > 0 {
                return Err(all_sent(run, replays).into());
            }
            report_left_out(session, &exported)?;
            ("rows".to_owned(), text)
        }
    };
    let mut counts = BTreeMap::new();
    run.each_row(|id, _| {
        counts.insert(id.task, id.number);
    })?;
    let repaired = Repaired::read(form, (run.mark(), &counts), &name, &text)?;
    match repaired.ids.is_empty() {
        true => Err(no_rows().into()),
        false => Ok(repaired),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Error::new(exit, format!("cannot read the repaired rows: {error}"))
            .at(path.display().to_string())
    })
}

fn all_sent(run: &KeptRun, replays: &Replays) -> Error {
    let message = match replays.sent() {
        1 => "the only row was already replayed".to_owned(),
        sent => format!("all {} rows were already replayed", grouped(sent as u64)),
    };
    Error::new(Exit::Usage, message)
        .at(format!("run {}", run.plan.run))
        .code(code::DIRTY_REPLAYED)
        .hint("--again sends them once more")
}

/// The job of the run as its file says it now, which must be what it said then.
fn job_of(
    session: &Session,
    run: &KeptRun,
    args: &ReplayArgs,
) -> Result<(Arc<Catalog>, Job), Failure> {
    let inputs = &run.plan.inputs;
    let path = args.job.clone().unwrap_or_else(|| match inputs.path.as_os_str().is_empty() {
        true => inputs.file.clone(),
        false => inputs.path.clone(),
    });
    let text = inputs.job_text().filter(|_| args.job.is_none());
    if let Err(error) = fs::metadata(&path)
        && text.is_none()
    {
        let what = format!("its job file cannot be read: {error}");
        return Err(changed(&what, "--job names where it is now")
            .at(path.display().to_string())
            .into());
    }
    let job_args = JobArgs {
        job: path,
        env: run.plan.environment.clone(),
        params: parameters_of(run, args)?,
        bizdate: inputs.bizdate(),
        cyctime: inputs.scheduled.clone(),
        text,
    };
    let (catalog, job) = job::load(session, &job_args)?;
    ensure_same_job(run, &catalog, &job)?;
    Ok((catalog, job))
}

/// What the job says of rows is what it said then; its limits may be others.
fn ensure_same_job(run: &KeptRun, catalog: &Catalog, job: &Job) -> Result<()> {
    let Ok(past) = Past::read(&run.path) else {
        if run.plan.inputs.sha256 == job.inputs.sha256 {
            return Ok(());
        }
        let hint = "restore the file, or load the rows by the changed job itself";
        return Err(changed("its job file has changed, and it has no journal", hint));
    };
    let job = as_run(catalog, job.clone(), &past.run.plan)?;
    let keys = journal::job_changes(&past.run, &job);
    let Some(first) = keys.first() else { return Ok(()) };
    let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    let what = format!("its job has changed: {}", quoted.join(", "));
    let hint = "undo the change, or load the rows by the changed job itself";
    Err(job.places.locate(changed(&what, hint).of_key(first.clone())))
}

/// The parameters of the run. A secret was not kept: it must be given again.
fn parameters_of(run: &KeptRun, args: &ReplayArgs) -> Result<Vec<(String, String)>> {
    let mut parameters = run.plan.inputs.given();
    for (name, value) in &args.params {
        match parameters.get(name) {
            Some(kept) if kept == value || kept.contains(REDACTED) => {}
            _ => {
                let what = format!("parameter `{name}` had another value, or none");
                return Err(changed(&what, "leave it out: the parameters of the run are kept"));
            }
        }
        parameters.insert(name.clone(), value.clone());
    }
    match parameters.iter().find(|(_, value)| value.contains(REDACTED)) {
        None => Ok(parameters.into_iter().collect()),
        Some((name, _)) => {
            let what = format!("the value of parameter `{name}` was a secret and is not kept");
            Err(changed(&what, &format!("give it again: --param {name}=VALUE")))
        }
    }
}

fn changed(what: &str, hint: &str) -> Error {
    Error::new(Exit::Usage, format!("the rows cannot be sent by the plan of their run: {what}"))
        .code(code::DIRTY_CHANGED)
        .hint(hint)
}

/// Refuses rows that were sent again, and those that may have been.
fn ensure_new(run: &KeptRun, replays: &Replays, ids: &[RowId], mode: WriteMode) -> Result<()> {
    let sent: Vec<_> = ids.iter().filter_map(|id| replays.by(*id)).collect();
    if let Some(first) = sent.first() {
        let (count, all) = (grouped(sent.len() as u64), grouped(ids.len() as u64));
        let runs: BTreeSet<_> = sent.iter().copied().collect();
        let more = if runs.len() > 1 { " and others" } else { "" };
        let message = format!("{count} of {all} rows were already replayed by run {first}{more}");
        return Err(Error::new(Exit::Usage, message)
            .at(format!("run {}", run.plan.run))
            .code(code::DIRTY_REPLAYED)
            .hint("leave them out of the file, or send them once more with --again"));
    }
    let is_convergent = matches!(mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace);
    let perhaps = ids.iter().filter(|_| !is_convergent).find_map(|id| replays.perhaps_by(*id));
    let Some(replay) = perhaps else { return Ok(()) };
    let message = format!(
        "replay {replay} of these rows was cut off, and whether it has written them is not known"
    );
    Err(Error::new(Exit::Usage, message)
        .at(format!("run {}", run.plan.run))
        .code(code::DIRTY_REPLAYED)
        .hint(format!(
            "`transload resume {replay}` continues it; or look into the target, and send the rows \
             once more with --again"
        )))
}

/// The job, its stores and the plan of the replay, whose file is in its folder.
fn planned(
    session: &Session,
    (catalog, job): (&Catalog, Job),
    run: &KeptRun,
    form: &Form,
    (folder, file): (&RunFolder, &Path),
) -> Result<(Job, Stores, Plan), Failure> {
    let job = reading(catalog, job, form, (file, run.plan.columns()))?;
    let stores = job::open(session, catalog, &job)?;
    let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut plan = Plan::new(&job, name, &stores)?;
    ensure_same(run, &plan)?;
    plan.replay_of = Some(run.plan.run.clone());
    Ok((job, stores, plan))
}

/// The job as it reads this file.
fn reading(
    catalog: &Catalog,
    job: Job,
    form: &Form,
    (path, columns): (&Path, Vec<Column>),
) -> Result<Job> {
    let descriptor = |name: &str| catalog.descriptor(name).map_err(Error::unusable_plugin);
    let (own, of_file) = (descriptor(&job.reader.plugin)?, descriptor(FILE_READER)?);
    let dialect = match &form.records {
        Records::Csv(_, dialect) => Some(dialect),
        Records::Lines => None,
    };
    let file = ReplayFile { path, format: form.word(), dialect, columns };
    Ok(job.reading(file, &own, &of_file))
}

/// The job of a run as the run read it: a replay reads the file in its folder.
pub(super) fn as_run(catalog: &Catalog, job: Job, plan: &Plan) -> Result<Job> {
    let (Some(first), Some(files)) = (&plan.replay_of, &plan.files) else { return Ok(job) };
    let file = files.first.first().map(Path::new).unwrap_or(Path::new(""));
    // <state>/runs/<job>/<replay>/repaired/<file>
    let runs = file.ancestors().nth(3).unwrap_or(Path::new(""));
    let run = KeptRun::open(runs.join(first))?;
    let is_csv = files.records.as_ref().is_some_and(|records| records.dialect.is_some());
    let choice = if is_csv { FormChoice::Csv } else { FormChoice::Jsonl };
    let form = Form::of(&run.plan, Some(choice))?;
    reading(catalog, job, &form, (file, run.plan.columns()))
}

/// The file that the replay reads, without ids, called as the user's file is.
fn keep_file(
    folder: &RunFolder,
    form: &Form,
    repaired: &Repaired,
    from: Option<&Path>,
) -> Result<PathBuf> {
    let usual = format!("rows.{}", form.word());
    let name = from.and_then(Path::file_name).and_then(|name| name.to_str());
    // A name that a reader of folders would pass over, or take for a pattern.
    let plain = |name: &&str| {
        !name.starts_with(['_', '.']) && !name.contains(['*', '?', '[', ']', '{', '}'])
    };
    let path = folder.path().join(SENT).join(name.filter(plain).unwrap_or(&usual));
    let write = || -> io::Result<()> {
        create_private_folder(&folder.path().join(SENT))?;
        write_private(&path, &repaired.text)?;
        fs::File::open(&path)?.sync_all()
    };
    write().map_err(|error| {
        Error::new(Exit::Failed, format!("cannot keep the repaired rows: {error}"))
            .at(path.display().to_string())
            .code(code::RUN_FOLDER)
    })?;
    Ok(path)
}

/// The same target, key and columns as those of the run.
fn ensure_same(run: &KeptRun, plan: &Plan) -> Result<()> {
    let (then, now) = (&run.plan, plan);
    let names =
        |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    let before: BTreeSet<_> =
        then.mapping.iter().map(|it| (&it.target.name, &it.source.name)).collect();
    let after: BTreeSet<_> =
        now.mapping.iter().map(|it| (&it.target.name, &it.source.name)).collect();
    let list = |names: &[String]| names.join(", ");
    let what = if then.target.name != now.target.name {
        format!("the target was {} and is {}", then.target.name, now.target.name)
    } else if before != after {
        let other = before.symmetric_difference(&after).next();
        let other = other.map(|(target, _)| target.to_string()).unwrap_or_default();
        format!("column `{other}` of {} is written by one of them only", now.target.name)
    } else if then.write.key != now.write.key {
        format!("the key was ({}) and is ({})", list(&then.write.key), list(&now.write.key))
    } else if names(&then.write.columns).len() != names(&now.write.columns).len() {
        "the number of columns has changed".to_owned()
    } else {
        return Ok(());
    };
    Err(changed(&what, "load the rows by the job itself, if that is what you want"))
}

/// How many of the rows are in the target, or in the replay's own dirty file. One task reads the
/// file in its order, so these are the first ones.
fn ended(plan: &Plan, outcome: &Outcome, rows: u64) -> repair::Ended {
    let committed = outcome.counters.read.min(rows);
    if outcome.failure.is_none() && outcome.counters.read != rows {
        let read = outcome.counters.read;
        tracing::warn!("the {rows} rows are {read} records of the file: look at its quotes");
    }
    let is_certain = outcome.reached != Reached::Unknown;
    if outcome.failure.is_none() || outcome.reached == Reached::Rows {
        return repair::Ended { sent: rows, is_certain: true };
    }
    // What is staged is not in the target before the job's commit.
    let is_staged =
        plan.draft.guarantee >= Guarantee::EffectivelyOnce && plan.write.tokens.is_none();
    match outcome.reached {
        Reached::Commit if is_staged => repair::Ended { sent: 0, is_certain: false },
        _ if is_staged => repair::Ended { sent: 0, is_certain },
        _ => repair::Ended { sent: committed, is_certain },
    }
}
