//! `run --from --to --step`: reads a range of an incremental job again, step by step. Each step is a run
//! of a process of its own, so that one is ended and reported like any other.

use std::{ffi::OsString, path::Path, process::Stdio, thread};

use serde_json::{Value, json};
use transload_plugin_api::code;

use super::{Ended, Session, job, own_process};
use crate::{
    Error, Exit, Result,
    cli::{OutputFormat, RunArgs},
    increment::{Backfill, Steps},
    job::Job,
};

/// The flags that name the whole range, each with a value.
const RANGE: [&str; 3] = ["--from", "--to", "--step"];

/// Runs the steps in order, behind those that were complete before.
pub(super) fn backfill(session: &Session, args: &RunArgs, state: &Path, range: Backfill) -> Ended {
    let (catalog, job) = job::load(session, &args.job)?;
    let Some(asked) = &job.incremental else { return Err(not_incremental(&job).into()) };
    let stores = job::open(session, &catalog, &job)?;
    let columns = stores.reader.schema()?.columns;
    drop(stores);
    let column = columns.iter().find(|own| own.name.eq_ignore_ascii_case(&asked.column));
    let Some(column) = column else {
        let message = format!("the source has no column `{}`", asked.column);
        let error = Error::new(Exit::Schema, message).code(code::PLAN_COLUMN);
        return Err(job.places.locate(error.of_key("incremental.column")).into());
    };
    let steps = range.steps(&column.logical)?;
    let parameters = args.job.params.clone();
    let file = job::watermark_file(state, &job);
    let mut progress = Steps::open(&file, range, parameters, args.backfill.restart)?;
    if progress.done > 0 && !session.quiet {
        let (next, all) = (progress.done + 1, steps.len());
        session.say_text(&format!("{}: continuing with step {next} of {all}", job.name));
    }
    let mut reports = Vec::new();
    for (at, (from, to)) in steps.iter().enumerate().skip(progress.done) {
        progress.keep()?;
        let (exit, report) = step(session, from, to)?;
        reports.extend(report);
        if exit != 0 {
            let message = format!(
                "step {} of {}, from {from} to {to}, failed; {at} steps are complete",
                at + 1,
                steps.len()
            );
            print(session, &reports, &job, steps.len(), at)?;
            let error = Error::new(Exit::of(exit), message);
            return Err(error.hint("the same command continues with this step").into());
        }
        progress.done = at + 1;
    }
    progress.end()?;
    print(session, &reports, &job, steps.len(), steps.len())?;
    Ok(Exit::Done)
}

/// The refusal of a backfill of a job that has no column to divide by.
pub(super) fn not_incremental(job: &Job) -> Error {
    let message = format!("job `{}` has no [incremental], so it has no range to read", job.name);
    Error::new(Exit::Usage, message)
        .at(job.inputs.file.display().to_string())
        .code(code::INCREMENT_VALUE)
        .hint("name the column: [incremental] with `column = \"...\"`")
}

/// The command line of this process, for one step.
fn arguments(from: &str, to: &str) -> Vec<OsString> {
    let (mut kept, mut given) = (Vec::new(), std::env::args_os().skip(1));
    while let Some(argument) = given.next() {
        let text = argument.to_string_lossy();
        if RANGE.iter().any(|flag| text == *flag) {
            given.next();
        } else if text != "--restart"
            && !RANGE.iter().any(|flag| text.starts_with(&format!("{flag}=")))
        {
            kept.push(argument);
        }
    }
    kept.extend([format!("--from={from}"), format!("--to={to}")].map(OsString::from));
    kept
}

/// Runs a step; its exit code, and its report if it prints one.
fn step(session: &Session, from: &str, to: &str) -> Result<(u8, Option<Value>)> {
    session.stop.check()?;
    let failed = |error: std::io::Error| {
        Error::new(Exit::Failed, format!("cannot run a step of the backfill: {error}"))
    };
    let is_json = session.output == OutputFormat::Json;
    let stdout = if is_json { Stdio::piped() } else { Stdio::inherit() };
    let mut command = own_process::command().map_err(failed)?;
    command.args(arguments(from, to)).stdout(stdout);
    let mut child = command.spawn().map_err(failed)?;
    let output = child.stdout.take();
    let reading =
        thread::spawn(move || output.and_then(|mut it| std::io::read_to_string(&mut it).ok()));
    let status = own_process::wait(&session.stop, &mut child).map_err(failed)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let exit = code.unwrap_or(Exit::Failed as u8);
    let text = reading.join().ok().flatten().unwrap_or_default();
    Ok((exit, serde_json::from_str(&text).ok()))
}

/// Prints how many steps are complete, and the reports of those that ran.
fn print(session: &Session, reports: &[Value], job: &Job, all: usize, done: usize) -> Result<()> {
    if session.output == OutputFormat::Json {
        let json = json!({ "job": job.name, "steps": all, "complete": done, "runs": reports });
        return session.print(&json, |_| ());
    }
    if !session.quiet {
        session.say_text(&format!("{}: {done} of {all} steps are complete", job.name));
    }
    Ok(())
}
