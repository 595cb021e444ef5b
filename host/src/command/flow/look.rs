//! Looks whether a job is ready: at a store by its plugin, at files, at what is kept of runs and flows.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use transload_plugin_api::code;

use super::Asked;
use crate::{
    Error, Exit, Result,
    command::{Failure, preview::Source},
    flow::{Answer, Condition, FlowJob, Instance, JobState, OnTimeout, ScheduledTime, Test},
    job::{JobRequest, JobText, Location},
    journal::{self, Past, State},
    tables::TablePages,
};

/// How often the instance before is looked at while another process works on it.
const TICK: Duration = Duration::from_secs(1);

/// The error of a job whose condition is not met.
fn not_met(job: &FlowJob, what: &str) -> Error {
    let message = format!("job `{}` is not ready: {what}", job.name);
    Error::new(Exit::NotFound, message).code(code::FLOW_READY)
}

/// Waits until the job is ready. `false` if it is left out.
///
/// # Errors
/// `FLOW-READY`, `FLOW-PREVIOUS`; the stop signal.
pub(super) fn wait(asked: &Asked<'_>, job: &FlowJob) -> Result<bool> {
    if job.needs_previous {
        wait_for_previous(asked, Some(job))?;
    }
    for condition in &job.ready {
        let Some(missing) = wait_for(asked, condition)? else { continue };
        let what = format!("{} ({missing})", condition.test);
        match condition.on_timeout {
            OnTimeout::Fail => {
                let seconds = condition.timeout.as_secs();
                let error = not_met(job, &format!("not within {seconds} s: {what}"));
                return Err(error.hint("raise its `timeout`, or continue the flow later"));
            }
            OnTimeout::Skip => {
                tracing::warn!("job `{}` is left out: it is not so that {what}", job.name);
                return Ok(false);
            }
            OnTimeout::Run => {
                tracing::warn!("job `{}` runs although it is not so that {what}", job.name);
            }
        }
    }
    Ok(true)
}

/// Looks until the condition is met. `Some` with what there is instead when the time is over.
fn wait_for(asked: &Asked<'_>, condition: &Condition) -> Result<Option<String>> {
    let begun = Instant::now();
    loop {
        // A store that cannot be reached may be back at the next look.
        let missing = match look(asked, &condition.test) {
            Ok(Answer::Yes) => return Ok(None),
            Ok(Answer::No(missing)) => missing,
            Err(error) if error.exit == Exit::Usage => return Err(error),
            Err(error) => error.error.message,
        };
        let left = condition.timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(Some(missing));
        }
        tracing::info!("waiting: it is not so that {}: {missing}", condition.test);
        asked.session.stop.sleep(condition.every.min(left))?;
    }
}

fn look(asked: &Asked<'_>, test: &Test) -> Result<Answer> {
    match test {
        Test::Query { connection, query, expected } => {
            let value = first_value(asked, connection, query)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(expected.judge(value.as_deref(), now.as_secs_f64()))
        }
        Test::Path(path) => Ok(match path.exists() {
            true => Answer::Yes,
            false => Answer::No("it does not exist".to_owned()),
        }),
        Test::Object { connection, name } => {
            let source = source(asked, connection, None)?;
            let names = [name.clone()];
            for page in TablePages::new(&*source.reader, &names, false) {
                if page?.iter().any(|table| table.name == *name || table.table == *name) {
                    return Ok(Answer::Yes);
                }
            }
            Ok(Answer::No("the store does not list it".to_owned()))
        }
        Test::Job(job) => has_run(asked, job),
        Test::Flow(flow) => Ok(match Instance::find(&asked.state, flow, asked.time)? {
            Some(instance) if instance.is_done => Answer::Yes,
            Some(_) => Answer::No("some of its jobs are not done".to_owned()),
            None => Answer::No("it has not run".to_owned()),
        }),
    }
}

/// The source that a condition reads, with the dates of this instance filled in.
fn source(asked: &Asked<'_>, connection: &str, query: Option<&str>) -> Result<Source> {
    let place = format!("{}: a condition on `{connection}`", asked.flow.path.display());
    let place = Location::whole(place);
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = format!("[reader]\nconnection = {}\n", quoted(connection));
    if let Some(query) = query {
        text += &format!("query = {}\n", quoted(query));
    }
    let request = JobRequest {
        env: asked.args.env.clone(),
        params: asked.args.params.clone(),
        cyctime: Some(asked.time.to_string()),
        text: Some(JobText { places: vec![place; text.lines().count()], text }),
        is_source: true,
        ..JobRequest::new(&asked.flow.path)
    };
    let session = asked.session;
    Source::of(session, &session.catalog(), &request).map_err(first_of)
}

fn first_value(asked: &Asked<'_>, connection: &str, query: &str) -> Result<Option<String>> {
    let source = source(asked, connection, Some(query))?;
    let columns = source.columns().map_err(|errors| first_of(errors.into()))?;
    let first = columns.first(&*source.reader, 1, &asked.session.stop)?;
    Ok(first.rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
}

/// One error for a look that failed: the next one may show the others.
fn first_of(failure: Failure) -> Error {
    match failure {
        Failure::Error(error) => error,
        Failure::Errors(mut errors) => errors.0.swap_remove(0),
        Failure::Problems(problems, exit) => Error::new(exit, problems.to_string().trim_end()),
    }
}

/// Whether a run of the job has succeeded for this instance's time.
fn has_run(asked: &Asked<'_>, job: &str) -> Result<Answer> {
    let date = asked.time.business_date();
    for folder in journal::runs(&asked.state, Some(job))?.iter().rev() {
        let Ok(past) = Past::read(folder) else { continue };
        let inputs = &past.run.plan.inputs;
        let is_same = inputs.parameters.get("bizdate") == Some(&date)
            || inputs.scheduled.as_deref().is_some_and(|at| is_time(at, asked.time));
        if is_same && matches!(past.state, State::Done) {
            return Ok(Answer::Yes);
        }
    }
    Ok(Answer::No(format!("it has no run that is done for {}", asked.time)))
}

/// Whether a time with its zone, as runs keep it, is this one.
fn is_time(zoned: &str, time: ScheduledTime) -> bool {
    let civil = zoned.parse::<jiff::Zoned>().map(|zoned| zoned.datetime());
    civil.is_ok_and(|civil| civil.strftime("%Y%m%d%H%M%S").to_string() == time.to_string())
}

/// Waits while another process works on the instance before this one, and then looks whether it, or one
/// job of it, is done.
///
/// # Errors
/// `FLOW-PREVIOUS` if it is not; the stop signal.
pub(super) fn wait_for_previous(asked: &Asked<'_>, job: Option<&FlowJob>) -> Result<()> {
    let Some(before) = asked.previous() else { return Ok(()) };
    let (state, flow) = (&asked.state, &asked.flow.name);
    loop {
        let found = Instance::find(state, flow, before)?;
        let stands = match (&found, job) {
            (None, _) => "has not run",
            (Some(instance), None) if instance.is_done => return Ok(()),
            (Some(_), None) => "is not done",
            (Some(instance), Some(job)) => match instance.jobs.get(&job.name) {
                Some(record) if record.state == JobState::Done => return Ok(()),
                Some(record) => record.state.word(),
                None => "has not run",
            },
        };
        if found.is_some() && Instance::is_held(state, flow, before) {
            asked.session.stop.sleep(TICK)?;
            continue;
        }
        let what = match job {
            Some(job) => format!("job `{}` of the instance {before} {stands}", job.name),
            None => format!("the instance {before} {stands}"),
        };
        let hint = format!(
            "run it first: transload flow run {} --cyctime {before}; if there is none before this \
             one, write its time as `start` in [flow]",
            asked.args.flow.display()
        );
        return Err(Error::new(Exit::NotFound, what).code(code::FLOW_PREVIOUS).hint(hint));
    }
}
