//! `flow run`, `flow plan` and `flow show`. Each job runs as a command of this program in a process of its
//! own, so that it has its own run, report, signals and memory. What runs next is decided by
//! `flow::Schedule`; one job's process is in `job_process`, looking at conditions in `look`.

mod job_process;
mod look;

use std::{fs, path::PathBuf, sync::mpsc, thread};

use serde_json::json;
use transload_plugin_api::code;

use super::{Ended, Failure, Session, job};
use crate::{
    Error, Exit, Result,
    cli::{FlowArgs, FlowCommand, FlowRunArgs, FlowShowArgs, JobArgs},
    flow::{
        Flow, FlowJob, HeldInstance, Instance, JobRecord, JobState, Next, Schedule, ScheduledTime,
        svg, tree,
    },
    journal,
    report::{Page, Style, plural},
};
use job_process::JobProcess;

/// Where the second column of a plan begins.
const LABEL: usize = 14;

/// Runs a command about flows.
pub(super) fn flow(session: &Session, command: &FlowCommand) -> Ended {
    match command {
        FlowCommand::Run(args) => run(session, args),
        FlowCommand::Plan(args) => plan(session, args),
        FlowCommand::Show(args) => show(session, args),
    }
}

/// A flow with what the command line says about it.
struct Asked<'a> {
    session: &'a Session,
    args: &'a FlowArgs,
    flow: Flow,
    time: ScheduledTime,
    state: PathBuf,
}

impl<'a> Asked<'a> {
    fn new(session: &'a Session, args: &'a FlowArgs) -> Result<Self, Failure> {
        let time = time(args)?;
        let flow = Flow::load(&args.flow)?;
        let state = args.state.clone().unwrap_or_else(journal::state_folder);
        let state = std::path::absolute(&state).unwrap_or(state);
        Ok(Self { session, args, flow, time, state })
    }

    /// What `transload run` would be given for a job.
    fn job_args(&self, job: &FlowJob) -> JobArgs {
        let mut params: Vec<_> = job.params.clone().into_iter().collect();
        params.extend(self.args.params.iter().cloned());
        JobArgs {
            job: job.file.clone(),
            env: self.args.env.clone().or_else(|| job.env.clone()),
            params,
            bizdate: None,
            cyctime: Some(self.time.to_string()),
            text: None,
        }
    }

    /// Checks every job file before anything runs.
    fn check_jobs(&self) -> Result<(), Failure> {
        let mut failures = Vec::new();
        for job in &self.flow.jobs {
            failures.extend(job::load(self.session, &self.job_args(job)).err());
        }
        let Some(last) = failures.pop() else { return Ok(()) };
        for failure in failures {
            self.session.print_failure(failure);
        }
        Err(last)
    }

    /// The instance before this one, unless this is the first.
    fn previous(&self) -> Option<ScheduledTime> {
        let before = self.time.before(self.flow.every)?;
        self.flow.start.is_none_or(|start| start <= before).then_some(before)
    }
}

fn time(args: &FlowArgs) -> Result<ScheduledTime> {
    let wrong = |given: &str, expected: &str| {
        let message = format!("`{given}` is not a {expected}");
        Error::new(Exit::Usage, message).code(code::FLOW_FILE)
    };
    match (&args.bizdate, &args.cyctime) {
        (Some(date), _) => ScheduledTime::after_business_date(date)
            .ok_or_else(|| wrong(date, "business date such as `20261130`")),
        (None, Some(time)) => ScheduledTime::read(time)
            .ok_or_else(|| wrong(time, "scheduled time such as `20261201000000`")),
        (None, None) => Ok(ScheduledTime::today()),
    }
}

fn run(session: &Session, args: &FlowRunArgs) -> Ended {
    let asked = Asked::new(session, &args.flow)?;
    asked.check_jobs()?;
    let held = Instance::hold(&asked.state, &asked.flow.name, asked.time)?;
    let before = Instance::find(&asked.state, &asked.flow.name, asked.time)?;
    let before = before.filter(|_| !args.again).unwrap_or_default();
    let mut instance = Instance {
        flow: asked.flow.name.clone(),
        file: asked.flow.path.clone(),
        cyctime: Some(asked.time),
        ..before
    };
    instance.jobs.retain(|name, _| asked.flow.jobs.iter().any(|job| job.name == *name));
    if asked.flow.needs_previous {
        look::wait_for_previous(&asked, None)?;
    }
    run_jobs(&asked, &held, &mut instance)?;
    session.print(&instance, |page| summary(page, &asked, &instance))?;
    session.stop.check()?;
    failure(&asked, &instance).map_or(Ok(Exit::Done), |error| Err(error.into()))
}

/// Runs what can run, up to the end.
fn run_jobs(asked: &Asked<'_>, held: &HeldInstance, instance: &mut Instance) -> Result<()> {
    let stop = &asked.session.stop;
    let mut schedule = Schedule::new(&asked.flow, instance);
    thread::scope(|scope| {
        let (ended, ends) = mpsc::channel();
        loop {
            match schedule.next(stop.is_stopped()) {
                Next::Run(job) => {
                    let process = JobProcess { asked, job: &asked.flow.jobs[job] };
                    let name = &process.job.name;
                    let before = instance.jobs.get(name).cloned().unwrap_or_default();
                    let begun = JobRecord {
                        state: JobState::Running,
                        started: Some(job_process::now()),
                        run: before.run.clone(),
                        ..JobRecord::default()
                    };
                    instance.jobs.insert(name.clone(), begun.clone());
                    held.keep(instance)?;
                    let ended = ended.clone();
                    scope.spawn(move || ended.send((job, process.run(&before, begun))));
                }
                Next::Wait => {
                    // The sender lives as long as this loop.
                    let Ok((job, record)) = ends.recv() else { break };
                    schedule.ended(job, record.state);
                    instance.jobs.insert(asked.flow.jobs[job].name.clone(), record);
                    held.keep(instance)?;
                }
                Next::End => break,
            }
        }
        for (at, job) in asked.flow.jobs.iter().enumerate() {
            instance.jobs.entry(job.name.clone()).or_default().state = schedule.state(at);
        }
        let is_ended = |job: &JobRecord| matches!(job.state, JobState::Done | JobState::Skipped);
        instance.is_done = instance.jobs.values().all(is_ended);
        held.keep(instance)
    })
}

/// Why the flow has failed, if it has.
fn failure(asked: &Asked<'_>, instance: &Instance) -> Option<Error> {
    let of = |state| instance.jobs.iter().filter(move |(_, job)| job.state == state);
    let failed: Vec<_> = of(JobState::Failed).map(|(name, _)| format!("`{name}`")).collect();
    if failed.is_empty() {
        return None;
    }
    let blocked = match of(JobState::Blocked).count() as u64 {
        0 => String::new(),
        count => format!("; {} not run because of that", plural(count, "job was", "jobs were")),
    };
    let Asked { flow, time, args, .. } = asked;
    let all = plural(flow.jobs.len() as u64, "job", "jobs");
    let message = format!(
        "{} of {all} of flow `{}` failed for {time}: {}{blocked}",
        failed.len(),
        flow.name,
        failed.join(", ")
    );
    let hint = format!(
        "continue with what is not done: transload flow run {} --cyctime {time}",
        args.flow.display()
    );
    Some(Error::new(Exit::Failed, message).code(code::FLOW_FAILED).hint(hint))
}

fn summary(page: &mut Page, asked: &Asked<'_>, instance: &Instance) {
    page.heading(&format!("{} {}", asked.flow.name, asked.time));
    let rows = asked.flow.order().map(|job| {
        let name = &asked.flow.jobs[job].name;
        let record = instance.jobs.get(name).cloned().unwrap_or_default();
        let rows = record.rows.map(|rows| plural(rows, "row", "rows")).unwrap_or_default();
        vec![
            name.as_str().into(),
            crate::report::Cell::styled(record.state.word(), style(record.state)),
            crate::report::Cell::number(rows),
            record.run.unwrap_or_default().into(),
            record.reason.unwrap_or_default().into(),
        ]
    });
    page.table(2, &rows.collect::<Vec<_>>());
}

fn style(state: JobState) -> Style {
    match state {
        JobState::Done => Style::Good,
        JobState::Failed => Style::Bad,
        JobState::Blocked | JobState::Skipped => Style::Warning,
        JobState::Waiting | JobState::Running => Style::Plain,
    }
}

fn plan(session: &Session, args: &FlowArgs) -> Ended {
    let asked = Asked::new(session, args)?;
    asked.check_jobs()?;
    let flow = &asked.flow;
    let names = |jobs: &[usize]| {
        jobs.iter().map(|job| flow.jobs[*job].name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let ready = |job: &FlowJob| job.ready.iter().map(|it| it.test.to_string()).collect::<Vec<_>>();
    let jobs: Vec<_> = flow.order().map(|at| &flow.jobs[at]).collect();
    let json = json!({
        "flow": flow.name,
        "cyctime": asked.time,
        "bizdate": asked.time.business_date(),
        "parallel": flow.parallel,
        "jobs": jobs.iter().map(|job| json!({
            "name": job.name,
            "file": job.file,
            "needs": job.needs.iter().map(|need| &flow.jobs[*need].name).collect::<Vec<_>>(),
            "needs_previous": job.needs_previous,
            "ready": ready(job),
            "params": job.params,
        })).collect::<Vec<_>>(),
    });
    session.print(&json, |page| {
        page.heading(&flow.name);
        page.pair(
            2,
            "time",
            LABEL,
            &format!("{}, business date {}", asked.time, asked.time.business_date()),
        );
        page.pair(2, "at once", LABEL, &plural(flow.parallel as u64, "job", "jobs"));
        if let (true, Some(before)) = (flow.needs_previous, asked.previous()) {
            page.pair(2, "needs", LABEL, &format!("the instance {before}"));
        }
        for job in &jobs {
            page.gap();
            page.led(0, (Style::Strong, ""), &job.name);
            page.pair(2, "file", LABEL, &job.file.display().to_string());
            if !job.needs.is_empty() {
                page.pair(2, "needs", LABEL, &names(&job.needs));
            }
            if let (true, Some(before)) = (job.needs_previous, asked.previous()) {
                page.pair(2, "needs", LABEL, &format!("itself in the instance {before}"));
            }
            for condition in ready(job) {
                page.pair(2, "ready when", LABEL, &condition);
            }
        }
    })?;
    Ok(Exit::Done)
}

fn show(session: &Session, args: &FlowShowArgs) -> Ended {
    let asked = Asked::new(session, &args.flow)?;
    let instance = Instance::find(&asked.state, &asked.flow.name, asked.time)?;
    if let Some(file) = &args.svg {
        let written = fs::write(file, svg(&asked.flow, instance.as_ref()));
        written.map_err(|error| {
            let message = format!("cannot write the drawing: {error}");
            Error::new(Exit::Failed, message).at(file.display().to_string()).code(code::FLOW_STATE)
        })?;
        return Ok(Exit::Done);
    }
    let lines = tree(&asked.flow, instance.as_ref());
    session.print(&instance, |page| {
        for line in lines {
            let state = line.state.map(|state| format!(" [{}]", state.word())).unwrap_or_default();
            let beside = if line.beside.is_empty() { "" } else { "  " };
            page.line(0, &format!("{}{}{state}{beside}{}", line.lead, line.name, line.beside));
        }
    })?;
    Ok(Exit::Done)
}
