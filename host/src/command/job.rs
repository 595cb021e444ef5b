//! `run`, `plan` and `check`: from a job file to a report, a plan or a list of problems.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use transload_plugin_api::{Backoff, Descriptor, ErrorKind, WriteMode, Writer, code, failpoint};

use super::{Ended, Failure, Session, backfill, many};
use crate::{
    Error, Exit, Result,
    catalog::{Catalog, Entry, Role},
    cli::{JobArgs, OutputFormat, PlanArgs, RunArgs},
    ending,
    engine::{Engine, Observer, Outcome, Pool, Reached},
    error::Errors,
    increment::{Backfill, IncrementLock, Scope, WatermarkFile},
    job::{
        ConnectionName, Job, JobRequest, JobWriter, Problems, learn_lost_paths,
        learn_secret_variables,
    },
    journal::{self, Journal, RunFolder, new_run},
    plan::Plan,
    report::{self, Activity, Display, ProgressMode, Report, Resumed, Style},
    stores::{Side, Stores},
};

/// How often the progress display is updated.
const TICK: Duration = Duration::from_millis(100);

/// `run`: plans, runs and reports. The plan is in the run's folder before the first row moves, so that a
/// run that is killed leaves it.
pub(super) fn run(session: &Session, args: &RunArgs) -> Ended {
    if many::is_job(&args.job) {
        return many::run(session, args);
    }
    let state = args.state.clone().unwrap_or_else(journal::state_folder);
    let scope = match (&args.backfill.from, &args.backfill.to, args.backfill.step) {
        (Some(from), Some(to), Some(step)) => {
            let range = Backfill { from: from.clone(), to: to.clone(), step };
            return backfill::backfill(session, args, &state, range);
        }
        (Some(from), Some(to), None) => Scope::Step { from: from.clone(), to: to.clone() },
        _ => Scope::Unknown,
    };
    let progress = progress_mode(session, args.progress);
    let planning = Planning { is_shown: is_shown(progress), is_run: true, state: &state, scope };
    let (job, stores, plan, lock) = prepare(session, &args.job, planning)?;
    // Those of types and options are in the plan; these are of the installation.
    stores.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    refuse_second(&state, &plan.job, &plan.target.name)?;
    refuse_increment(&state, &plan)?;
    let folder = RunFolder::create(&state, &plan.job, &plan.run, session.redactor.clone())?;
    folder.keep("plan.json", &plan)?;
    let journal = Journal::create(&folder, &job, &plan)?;
    failpoint("K2");
    tracing::info!("run {} begins, its folder is {}", plan.run, folder.path().display());
    let run = Execution { job, stores, plan, folder, journal, resumed: None, lock };
    execute(session, run, progress)
}

/// All that a run needs from its first task on.
pub(super) struct Execution {
    pub(super) job: Job,
    pub(super) stores: Stores,
    pub(super) plan: Plan,
    pub(super) folder: RunFolder,
    pub(super) journal: Journal,
    /// Where it continues, if it was begun before.
    pub(super) resumed: Option<Resumed>,
    /// Held until the watermark is kept, if the job is incremental.
    pub(super) lock: Option<IncrementLock>,
}

/// Runs the tasks, commits, and reports.
pub(super) fn execute(session: &Session, run: Execution, progress: ProgressMode) -> Ended {
    finish(session, &perform(session, run, progress, |_, _| Ok(()))?)
}

/// Runs the tasks and commits; `seen` gets the outcome before the report is kept.
pub(super) fn perform(
    session: &Session,
    run: Execution,
    progress: ProgressMode,
    seen: impl FnOnce(&Plan, &Outcome) -> Result<()>,
) -> Result<Report> {
    let Execution { job, stores, plan, folder, journal, resumed, lock: _lock } = run;
    let (plan, folder, journal) = (Arc::new(plan), Arc::new(folder), Arc::new(journal));
    let engine =
        Engine::new(plan.clone(), stores, folder.clone(), journal.clone(), session.stop.clone());
    let reported = Reported { plan, folder, journal, resumed };
    report_early_end(session, reported.clone(), engine.observer());
    let mut display = Display::new(progress, &job.name, session.stderr, session.redactor.clone());
    display.begin(&report::start(&reported.plan, &reported.folder));
    let running = engine.start()?;
    while !running.wait(TICK) {
        display.show(running.progress());
    }
    display.end();
    let mut outcome = running.join()?;
    outcome.failure = outcome.failure.map(|error| job.places.locate(error));
    ending::claim();
    let noted = seen(&reported.plan, &outcome);
    let report = reported.report(outcome)?;
    noted.map(|()| report)
}

/// As [`perform`], for a run whose tasks have lanes in a pool, beside other runs in this process. Shows
/// nothing.
pub(super) fn perform_in(session: &Session, run: Execution, pool: &Pool) -> Result<Report> {
    let Execution { job, stores, plan, folder, journal, resumed, lock: _lock } = run;
    let (plan, folder, journal) = (Arc::new(plan), Arc::new(folder), Arc::new(journal));
    let (stop, shared) = (session.stop.clone(), (plan.clone(), folder.clone(), journal.clone()));
    let engine = Engine::in_pool(shared.0, stores, shared.1, shared.2, stop, pool);
    let running = engine.start()?;
    while !running.wait(TICK) {}
    let mut outcome = running.join()?;
    outcome.failure = outcome.failure.map(|error| job.places.locate(error));
    Reported { plan, folder, journal, resumed }.report(outcome)
}

/// # Errors
/// If the last run of the job has not ended, and its commit tokens hold the target.
pub(super) fn refuse_second(state: &Path, job: &str, target: &str) -> Result<()> {
    let Some(past) = journal::unfinished(state, job) else { return Ok(()) };
    let first = &past.run.plan;
    if first.target.name != target {
        return Ok(());
    }
    let message = format!(
        "run {} of this job, begun at {}, is not complete, and holds `{}`",
        first.run, past.run.started, first.target.name
    );
    let hint =
        format!("continue it: transload resume {0}; or give it up: transload abort {0}", first.run);
    let error = transload_plugin_api::Error::locked(message).with_code(code::RUN_ACTIVE);
    Err(error.hint(hint).into())
}

/// # Errors
/// If the last run of an incremental job that inserts may have rows in the target that its watermark
/// does not know.
fn refuse_increment(state: &Path, plan: &Plan) -> Result<()> {
    if plan.increment.is_none() {
        return Ok(());
    }
    let Some(past) = journal::unfinished_increment(state, &plan.job) else { return Ok(()) };
    let run = &past.run.plan.run;
    let message = format!(
        "run {run} of this job, begun at {}, is not complete: its range would be read again, and its \
         rows added a second time",
        past.run.started
    );
    let error = transload_plugin_api::Error::locked(message).with_code(code::RUN_ACTIVE);
    let hint = format!("continue it: transload resume {run}; or give it up: transload abort {run}");
    Err(error.hint(hint).into())
}

/// The file of a job's watermark, where the target does not keep it.
pub(super) fn watermark_file(state: &Path, job: &Job) -> WatermarkFile {
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    WatermarkFile::of(&state, &job.name, job.environment.as_deref())
}

/// The progress mode of a command: none if it is quiet and asks for none itself.
pub(super) fn progress_mode(session: &Session, mode: ProgressMode) -> ProgressMode {
    match mode {
        ProgressMode::Auto if session.quiet => ProgressMode::None,
        mode => mode,
    }
}

/// Whether progress is shown to people.
pub(super) fn is_shown(progress: ProgressMode) -> bool {
    matches!(progress, ProgressMode::Auto | ProgressMode::Bar)
}

/// What a report is made of besides the outcome.
#[derive(Clone)]
struct Reported {
    plan: Arc<Plan>,
    folder: Arc<RunFolder>,
    journal: Arc<Journal>,
    resumed: Option<Resumed>,
}

impl Reported {
    /// The report, which is kept in the run's folder.
    fn report(&self, outcome: Outcome) -> Result<Report> {
        let mut report = Report::new(&self.plan, outcome, &self.folder);
        report.resumed.clone_from(&self.resumed);
        self.folder.keep("report.json", &report)?;
        Ok(report)
    }
}

/// From now on, an end that comes early leaves a report, too.
fn report_early_end(session: &Session, reported: Reported, run: Observer) {
    let session = session.clone();
    ending::resumable(&reported.plan.run);
    ending::report_by(move |error| {
        let Some(outcome) = run.outcome(error.clone()) else {
            session.print_failure(Failure::Error(error));
            return;
        };
        let is_unknown = outcome.reached == Reached::Unknown;
        let failure = journal::Failure { is_unknown, ..journal::Failure::new(&error) };
        let noted = reported.journal.failed(failure);
        let finished = reported.report(outcome).map_err(Failure::Error);
        if let Err(failed) = noted {
            session.say_text(&format!("error: {failed}"));
        }
        if let Err(failure) = finished.and_then(|report| finish(&session, &report)) {
            session.print_failure(failure);
        }
    });
}

/// Prints the report; the exit code is that of the run's failure.
pub(super) fn finish(session: &Session, report: &Report) -> Ended {
    match session.output {
        OutputFormat::Json => session.print(report, |_| ())?,
        OutputFormat::Text if session.quiet && report.error.is_none() => {}
        OutputFormat::Text => session.say(|page| report::summary(page, report)),
    }
    match &report.error {
        None => Ok(Exit::Done),
        Some(error) => Err(Failure::Error(error.clone())),
    }
}

/// `plan`: makes the plan that a run would use, and prints it.
pub(super) fn plan(session: &Session, args: &PlanArgs) -> Ended {
    if many::is_job(&args.job) {
        return many::plan(session, args);
    }
    let (is_shown, state) = (!session.quiet, journal::state_folder());
    let planning = Planning { is_shown, is_run: false, state: &state, scope: Scope::Unknown };
    let (_, _, plan, _) = prepare(session, &args.job, planning)?;
    session.print(&plan, |page| report::describe_plan(page, &plan, args.columns))?;
    Ok(Exit::Done)
}

/// For what a plan is made.
struct Planning<'s> {
    is_shown: bool,
    is_run: bool,
    /// Where watermarks are kept.
    state: &'s Path,
    scope: Scope,
}

/// Everything before the first row: the job, its stores, the plan, the lock of an incremental job.
fn prepare(
    session: &Session,
    args: &JobArgs,
    planning: Planning<'_>,
) -> Result<(Job, Stores, Plan, Option<IncrementLock>), Failure> {
    let Planning { is_shown, is_run, state, scope } = planning;
    let (catalog, mut job) = load(session, args)?;
    let file = watermark_file(state, &job);
    let lock = match job.incremental.is_some() && is_run {
        true => Some(IncrementLock::take(&file, &job.name)?),
        false => None,
    };
    job.scope = match scope {
        Scope::Step { .. } if job.incremental.is_none() => {
            return Err(backfill::not_incremental(&job).into());
        }
        Scope::Unknown => Scope::New(file),
        scope => scope,
    };
    if is_run && job.writer.options.values.get("path").is_some_and(|path| path == "-") {
        session.stdout_taken.store(true, Relaxed);
    }
    let activity = Activity::begin(
        &format!("{}: planning", job.name),
        session.stderr,
        &session.redactor,
        is_shown,
    );
    tracing::info!(
        "job {} from {}: {} to {}",
        job.name,
        args.job.display(),
        job.reader.plugin,
        job.writer.plugin
    );
    let stores = open(session, &catalog, &job)?;
    failpoint("K1");
    let mut plan = Plan::new(&job, new_run(), &stores)?;
    if !is_run {
        plan.try_sample(&job, &stores).map_err(|error| job.places.locate(error))?;
    }
    drop(activity);
    tracing::info!(
        "plan: columns {}, splits {}, guarantee {}, warnings {}",
        plan.mapping.len(),
        plan.splits.len(),
        plan.guarantee.word(),
        plan.warnings.len()
    );
    Ok((job, stores, plan, lock))
}

/// As [`prepare`], for a job whose target is only read: what a run would do to it does not matter.
pub(super) fn prepare_to_read(
    session: &Session,
    args: &JobArgs,
    is_shown: bool,
) -> Result<(Arc<Catalog>, Job, Stores, Plan), Failure> {
    let (catalog, mut job) = load(session, args)?;
    let doing = format!("{}: planning", job.name);
    let _activity = Activity::begin(&doing, session.stderr, &session.redactor, is_shown);
    job.writer.before.clear();
    job.writer.after.clear();
    job.require = None;
    job.incremental = None;
    let stores = open(session, &catalog, &job)?;
    let plan = match Plan::new(&job, new_run(), &stores) {
        Err(errors) if errors.0.iter().any(|error| error.error.code == code::FILE_EXISTS) => {
            job.writer.write_mode = WriteMode::Overwrite;
            Plan::new(&job, new_run(), &stores)?
        }
        plan => plan?,
    };
    Ok((catalog, job, stores, plan))
}

/// `check`: only the job file and the descriptors of its plugins, no store.
pub(super) fn check(session: &Session, args: &JobArgs) -> Ended {
    if many::is_job(args) {
        return many::check(session, args);
    }
    let (_, job) = load(session, args)?;
    session.print(&job, |page| {
        for warning in &job.warnings {
            page.flow(&format!("warning: {warning}"));
        }
        page.led(0, (Style::Good, ""), &format!("{} is valid", args.job.display()));
    })?;
    Ok(Exit::Done)
}

/// Reads the job and checks it against its plugins' descriptors. Opens no store.
pub(super) fn load(session: &Session, args: &JobArgs) -> Result<(Arc<Catalog>, Job), Failure> {
    let request = JobRequest {
        env: args.env.clone(),
        params: args.params.clone(),
        bizdate: args.bizdate.clone(),
        cyctime: args.cyctime.clone(),
        text: args.text.clone(),
        table: session.table.clone(),
        ..JobRequest::new(&args.job)
    };
    learn_secret_variables(&request.connection_files);
    let draft = Job::load(&request)?;
    let catalog = session.kept_catalog();
    let job = checked(&catalog, |find| draft.resolve(find))?;
    for options in [&job.reader.options, &job.writer.options] {
        session.redactor.learn_logins(&options.values);
    }
    for secrets in [&job.reader.secrets, &job.writer.secrets] {
        learn_lost_paths(secrets, &session.redactor);
    }
    Ok((catalog, job))
}

/// What `resolve` returns for the descriptors of the catalog. A plugin that does not exist is a mistake in
/// the job; a refused one, in the installation.
pub(super) fn checked<T>(
    catalog: &Catalog,
    resolve: impl FnOnce(
        &mut dyn FnMut(&str) -> transload_plugin_api::Result<Descriptor>,
    ) -> Result<T, Problems>,
) -> Result<T, Failure> {
    let mut exit = Exit::Usage;
    let resolved = resolve(&mut |name| {
        catalog.descriptor(name).inspect_err(|error| {
            if error.kind != ErrorKind::NotFound {
                exit = Exit::Plugin;
            }
        })
    });
    resolved.map_err(|problems| Failure::Problems(problems, exit))
}

/// Loads both plugins and creates the reader and the writer.
pub(super) fn open(session: &Session, catalog: &Catalog, job: &Job) -> Result<Stores, Errors> {
    let stall = job.channel.stall_timeout();
    let plugin = |name: &str, role, isolation| {
        catalog.plugin_at(name, role, isolation, stall).map_err(Error::unusable_plugin)
    };
    let reader = plugin(&job.reader.plugin, Role::Reader, job.reader.isolation)?;
    let writer = plugin(&job.writer.plugin, Role::Writer, job.writer.isolation)?;
    let reader_entry = entry(catalog, &job.reader.plugin, Role::Reader)?;
    let writer_entry = entry(catalog, &job.writer.plugin, Role::Writer)?;
    let mut warnings: Vec<_> =
        [reader_entry, writer_entry].into_iter().filter_map(unsigned).collect();
    warnings.dedup();
    let mut errors = Errors::default();
    let made = reader.reader(job.reader.options.clone(), session.host(&job.reader.secrets));
    let made_reader = errors.keep(made);
    let made = writer.writer(job.writer.options.clone(), session.host(&job.writer.secrets));
    let made_writer = errors.keep(made);
    let window = errors.keep(Backoff::window_of(&job.reader.options));
    let (Some(made_reader), Some(made_writer), Some(reconnect_window)) =
        (made_reader, made_writer, window)
    else {
        return Err(errors.located(&job.places));
    };
    Ok(Stores {
        reader: made_reader,
        writer: made_writer,
        reader_side: side(reader_entry, &reader.descriptor(), job.reader.connection.as_ref()),
        writer_side: side(writer_entry, &writer.descriptor(), job.writer.connection.as_ref()),
        reader_descriptor: reader.descriptor(),
        writer_descriptor: writer.descriptor(),
        reconnect_window,
        warnings,
    })
}

/// Loads the writer's plugin and creates the writer alone.
pub(super) fn open_writer(
    session: &Session,
    catalog: &Catalog,
    job: &Job,
) -> Result<Box<dyn Writer>> {
    let JobWriter { plugin, isolation, .. } = &job.writer;
    let stall = job.channel.stall_timeout();
    let plugin = catalog.plugin_at(plugin, Role::Writer, *isolation, stall);
    let plugin = plugin.map_err(Error::unusable_plugin)?;
    let made = plugin.writer(job.writer.options.clone(), session.host(&job.writer.secrets));
    made.map_err(|error| job.places.locate(error.into()))
}

fn entry<'a>(catalog: &'a Catalog, name: &str, role: Role) -> Result<&'a Entry> {
    catalog.entry(name, role).map_err(Error::unusable_plugin)
}

/// One side, as plan and report name it.
fn side(entry: &Entry, descriptor: &Descriptor, connection: Option<&ConnectionName>) -> Side {
    Side {
        plugin: entry.name.clone(),
        version: descriptor.version.clone(),
        path: entry.path.clone(),
        sha256: entry.sha256.clone(),
        trust: entry.trust,
        connection: connection.map(|connection| connection.name.clone()),
        counts: descriptor.counts.clone(),
    }
}

/// The warning for a plugin that no one vouches for.
fn unsigned(entry: &Entry) -> Option<String> {
    let path = entry.path.display();
    let words = || format!("plugin `{}` ({path}) is neither signed nor pinned", entry.name);
    entry.is_unsigned().then(words)
}
