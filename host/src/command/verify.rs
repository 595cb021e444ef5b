//! `verify`: the rows that a job reads against those of its target. How rows are compared is `verify`'s
//! part of the host; here the target's own reader is opened, with the writer's options.

use std::sync::Arc;

use serde_json::{Map, Value};
use transload_plugin_api::{Descriptor, OptionKind, Options, Reader};

use super::{Ended, Failure, Session, job};
use crate::{
    Error, Exit, Result,
    catalog::{Catalog, Role},
    cli::{JobArgs, OutputFormat, VerifyArgs},
    job::{Job, JobWriter},
    journal,
    plan::Plan,
    repair::KeptRun,
    report::{Activity, ProgressMode},
    verify::{self, Progress, Request},
};

/// `verify`: exit code 8 if the rows are not the same.
pub(super) fn verify(session: &Session, args: &VerifyArgs) -> Ended {
    let named = Named::find(args)?;
    let is_shown = !session.quiet && args.progress != ProgressMode::None;
    let (catalog, job, stores, plan) = job::prepare_to_read(session, &named.job, is_shown)?;
    stores.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let target = target_reader(session, &catalog, &job, args)?;
    let progress = Arc::new(Progress::default());
    let mut comparison = {
        let _shown = show(session, args, &plan, &progress);
        verify::compare(&Request {
            job: &job,
            plan: &plan,
            run: named.kept.as_ref(),
            source: &*stores.reader,
            target: &*target,
            key: &args.key,
            allow_extra: args.allow_extra,
            every_row: args.every_row,
            listed: args.list,
            repair: args.repair.as_deref(),
            dialect: job
                .writer
                .options
                .values
                .contains_key("table")
                .then_some(stores.writer_descriptor.dialect),
            stop: &session.stop,
            progress,
        })
        .map_err(|error| job.places.locate(error))?
    };
    named.note(&plan, &mut comparison.notes);
    comparison.run = named.run;
    if !(session.quiet && session.output == OutputFormat::Text && comparison.status == Exit::Done) {
        session.print(&comparison, |page| verify::describe(page, &comparison))?;
    }
    Ok(comparison.status)
}

/// Shows how many rows are read, until it is dropped.
fn show(session: &Session, args: &VerifyArgs, plan: &Plan, progress: &Arc<Progress>) -> Activity {
    let (job, progress) = (plan.job.clone(), progress.clone());
    let mode = if session.quiet && args.progress == ProgressMode::Auto {
        ProgressMode::None
    } else {
        args.progress
    };
    let is_json = mode == ProgressMode::Json;
    let words = move || match is_json {
        true => progress.json().to_string(),
        false => format!("{job}: {}", progress.words()),
    };
    Activity::following(words, mode, session.stderr, &session.redactor)
}

/// What the command line names: a job, or a run of one.
struct Named {
    job: JobArgs,
    run: Option<String>,
    /// The hash of the job file when it was run.
    sha256: Option<String>,
    kept: Option<KeptRun>,
}

impl Named {
    fn find(args: &VerifyArgs) -> Result<Self> {
        let JobArgs { job, env, params, bizdate, cyctime, text } = &args.job;
        let given = || JobArgs {
            job: job.clone(),
            env: env.clone(),
            params: params.clone(),
            bizdate: bizdate.clone(),
            cyctime: cyctime.clone(),
            text: text.clone(),
        };
        let is_name = job.extension().is_none() && job.components().count() == 1;
        if job.exists() || !is_name {
            return Ok(Self { job: given(), run: None, sha256: None, kept: None });
        }
        let state = args.state.clone().unwrap_or_else(journal::state_folder);
        let folder = journal::find(&state, &job.display().to_string())?;
        let run = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = KeptRun::open(folder)?;
        let environment = kept.plan.environment.clone();
        let inputs = kept.plan.inputs.clone();
        // What the command line gives comes last and wins.
        let own = |name: &String| params.iter().any(|(given, _)| given == name);
        let of_run = inputs.given().into_iter().filter(|(name, _)| !own(name));
        let is_dated = bizdate.is_some() || cyctime.is_some();
        let kept_time = |time: Option<String>| time.filter(|_| !is_dated);
        let found = JobArgs {
            job: inputs.path.clone(),
            env: env.clone().or(environment),
            params: of_run.chain(params.iter().cloned()).collect(),
            bizdate: bizdate.clone().or_else(|| kept_time(inputs.bizdate())),
            cyctime: cyctime.clone().or_else(|| kept_time(inputs.scheduled.clone())),
            text: inputs.job_text(),
        };
        Ok(Self { job: found, run: Some(run), sha256: Some(inputs.sha256), kept: Some(kept) })
    }

    /// That the job is another one than the run's.
    fn note(&self, plan: &Plan, notes: &mut Vec<String>) {
        if self.sha256.as_ref().is_some_and(|hash| *hash != plan.inputs.sha256) {
            let file = plan.inputs.file.display();
            notes.push(format!(
                "{file} has changed since the run: the job as it is now was verified"
            ));
        }
    }
}

/// The reader of the job's target: the writer's plugin, with the writer's options as far as the
/// reader has them too.
fn target_reader(
    session: &Session,
    catalog: &Catalog,
    job: &Job,
    args: &VerifyArgs,
) -> Result<Box<dyn Reader>, Failure> {
    let JobWriter { plugin: name, options, secrets, isolation, .. } = &job.writer;
    let is_stream = options.values.get("path").is_some_and(|path| path == "-");
    if is_stream {
        return Err(not_readable("rows that went to standard output cannot be read again").into());
    }
    let stall = job.channel.stall_timeout();
    let plugin = catalog.plugin_at(name, Role::Reader, *isolation, stall);
    let plugin = plugin.map_err(Error::unusable_plugin)?;
    let descriptor = plugin.descriptor();
    let mut values = reading(&descriptor, &options.values);
    if let Some(filter) = &args.target_where {
        if !has_option(&descriptor, "where") {
            return Err(not_readable(&format!("plugin `{name}` has no conditions on rows")).into());
        }
        values.insert("where".to_owned(), filter.as_str().into());
    }
    let options = Options { values, ..Options::default() };
    Ok(plugin.reader(options, session.host(secrets))?)
}

fn not_readable(message: &str) -> Error {
    Error::new(Exit::Usage, message).hint("`verify` reads the target with the reader of its plugin")
}

fn has_option(descriptor: &Descriptor, key: &str) -> bool {
    let own = descriptor.reader.iter().flat_map(|reader| &reader.options);
    own.chain(&descriptor.options).any(|spec| spec.key == key)
}

/// The writer's options that the reader has too, in the form that it takes.
fn reading(descriptor: &Descriptor, values: &Map<String, Value>) -> Map<String, Value> {
    let own = descriptor.reader.iter().flat_map(|reader| &reader.options);
    let specs = own.chain(&descriptor.options).filter(|spec| !spec.secret);
    let value = |spec: &transload_plugin_api::OptionSpec| {
        let given = values.get(&spec.key)?;
        let is_ready = spec.kind == OptionKind::Duration && given.is_u64();
        let taken = if is_ready { Some(given.clone()) } else { spec.kind.convert(given).ok() };
        Some((spec.key.clone(), taken?))
    };
    specs.filter_map(value).collect()
}
