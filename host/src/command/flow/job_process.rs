//! One job of a flow: its conditions, then `transload run` or `transload resume` as a process, whose
//! report is its result.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::SystemTime,
};

use serde_json::Value;

use super::{Asked, look};
use crate::{
    catalog::Isolation,
    command::own_process,
    flow::{FlowJob, JobRecord, JobState},
    journal::{self, Past},
    process,
    report::{local, plural},
    worker::Sandbox,
};

/// A job that is about to run.
pub(super) struct JobProcess<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) job: &'a FlowJob,
}

/// The time now, as reports have it.
pub(super) fn now() -> String {
    local(SystemTime::now())
}

impl JobProcess<'_> {
    /// Waits for the conditions, runs the job, and returns what has become of it.
    pub(super) fn run(&self, before: &JobRecord, begun: JobRecord) -> JobRecord {
        let ready = look::wait(self.asked, self.job);
        let mut record = match ready {
            Ok(true) => self.execute(before, begun),
            Ok(false) => JobRecord { state: JobState::Skipped, ..begun },
            Err(error) => JobRecord {
                state: JobState::Failed,
                exit: Some(error.exit as i32),
                reason: Some(format!("[{}] {}", error.error.code, error.error.message)),
                ..begun
            },
        };
        record.ended = Some(now());
        self.tell(&record);
        record
    }

    /// One line on stderr about the end of the job.
    fn tell(&self, record: &JobRecord) {
        let session = self.asked.session;
        if session.quiet && record.state != JobState::Failed {
            return;
        }
        let rows = record.rows.map(|rows| format!(", {}", plural(rows, "row", "rows")));
        let reason = record.reason.as_ref().map(|reason| format!(": {reason}"));
        let more = rows.filter(|_| record.state == JobState::Done).or(reason).unwrap_or_default();
        session.say_text(&format!("{}: {}{more}", self.job.name, record.state.word()));
    }

    fn execute(&self, before: &JobRecord, begun: JobRecord) -> JobRecord {
        let failed = |error: &std::io::Error| JobRecord {
            state: JobState::Failed,
            reason: Some(format!("its process cannot be started: {error}")),
            ..begun.clone()
        };
        let resumed = self.to_resume(before);
        let mut child = match self.command(resumed.as_deref()).and_then(|mut it| it.spawn()) {
            Ok(child) => child,
            Err(error) => return failed(&error),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (report, status) = thread::scope(|scope| {
            let printed = scope.spawn(move || {
                let mut text = Vec::new();
                stdout.map(|mut pipe| pipe.read_to_end(&mut text));
                text
            });
            scope.spawn(move || {
                for line in stderr.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
                    let Ok(line) = line else { return };
                    self.asked.session.say_text(&format!("{}: {line}", self.job.name));
                }
            });
            let status = own_process::wait(&self.asked.session.stop, &mut child);
            (printed.join().unwrap_or_default(), status)
        });
        let report: Value = serde_json::from_slice(&report).unwrap_or_default();
        let run = report["run"].as_str().map(str::to_owned).or(resumed);
        let exit = status.as_ref().ok().and_then(std::process::ExitStatus::code);
        let reason = match (&report["error"]["message"], &report["problems"]) {
            _ if exit == Some(0) => None,
            (Value::String(message), _) => {
                let code = report["error"]["code"].as_str().unwrap_or_default();
                Some(if code.is_empty() { message.clone() } else { format!("[{code}] {message}") })
            }
            (_, Value::Array(problems)) if !problems.is_empty() => {
                Some(plural(problems.len() as u64, "mistake in the job", "mistakes in the job"))
            }
            _ => Some(match &status {
                Ok(status) => format!("its process ended with {}", process::how_it_ended(*status)),
                Err(error) => format!("its process cannot be waited for: {error}"),
            }),
        };
        JobRecord {
            state: if exit == Some(0) { JobState::Done } else { JobState::Failed },
            run,
            rows: report["rows"]["read"].as_u64(),
            exit,
            reason,
            ..begun
        }
    }

    /// The run that continues, if the last one of the job has left one.
    fn to_resume(&self, before: &JobRecord) -> Option<String> {
        if !matches!(before.state, JobState::Failed | JobState::Running) {
            return None;
        }
        let state = &self.asked.state;
        let folder = match &before.run {
            Some(run) => journal::find(state, run).ok()?,
            // Its process ended without a word: the newest run of the job file that began since.
            None => journal::find_open(state, self.job.file.to_str()?).ok()?,
        };
        let past = Past::read(&folder).ok()?;
        let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
        let is_own = before.run.is_some()
            || before.started.as_deref().and_then(moment) <= moment(&past.run.started);
        let can_continue = match &past.state {
            journal::State::Failed(failure) => !failure.is_cleaned,
            journal::State::Writing | journal::State::Publishing => true,
            _ => false,
        };
        (is_own && can_continue).then(|| past.run.plan.run.clone())
    }

    /// `transload run JOB` or `transload resume RUN`, with the flags of this command.
    fn command(&self, resumed: Option<&str>) -> std::io::Result<Command> {
        let session = self.asked.session;
        let mut command = own_process::command()?;
        match resumed {
            Some(run) => {
                command.args(["resume", run]);
            }
            None => {
                let args = self.asked.job_args(self.job);
                command.arg("run").arg(&args.job);
                command.args(args.env.iter().flat_map(|env| ["--env", env]));
                command.args(args.cyctime.iter().flat_map(|time| ["--cyctime", time]));
                for (name, value) in &args.params {
                    command.arg("--param").arg(format!("{name}={value}"));
                }
            }
        }
        command.arg("--state").arg(&self.asked.state);
        command.args(["--output", "json", "--progress", "none", "--color", "never"]);
        command.args(session.quiet.then_some("--quiet"));
        session.plugins.iter().for_each(|folder| {
            command.arg("--plugins").arg(folder);
        });
        command.args(session.allow_unsigned.then_some("--allow-unsigned-plugins"));
        let policy = session.isolation;
        if policy.least == Isolation::Process {
            command.args(["--isolation", "process"]);
        }
        if policy.sandbox == Sandbox::Required {
            command.args(["--sandbox", "required"]);
        }
        command.arg("--plugin-memory").arg(policy.memory.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}
