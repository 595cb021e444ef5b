//! `history`: the runs of all jobs, or of one, as their journals and reports tell.

use std::{fs, path::Path};

use serde_json::Value;

use super::{Ended, Session, many};
use crate::{
    Exit,
    cli::HistoryArgs,
    journal::{self, Failure, Past, State},
    report::{self, HistoryEntry, RunState},
};

/// `history`: lists runs, the newest last.
pub(super) fn history(session: &Session, args: &HistoryArgs) -> Ended {
    let state = args.state.clone().unwrap_or_else(journal::state_folder);
    let folders = match &args.job {
        Some(name) => journal::runs_of(&state, name)?,
        None => journal::runs(&state, None)?,
    };
    let first = folders.len().saturating_sub(args.last.map_or(usize::MAX, |last| last as usize));
    let entries: Vec<_> = folders[first..].iter().map(|folder| entry(folder)).collect();
    session.print(&entries, |page| report::list_history(page, &entries))?;
    Ok(Exit::Done)
}

/// What is known about the run in a folder.
fn entry(folder: &Path) -> HistoryEntry {
    let report = read_report(folder).unwrap_or_default();
    match Past::read(folder) {
        Ok(past) => of_journal(folder, &past, &report),
        Err(damage) => HistoryEntry {
            // Runs of older versions have a report alone.
            problem: (report.is_null() && !many::is_run(folder))
                .then(|| damage.error(folder).error.message),
            ..of_report(folder, &report)
        },
    }
}

fn read_report(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(folder.join("report.json")).ok()?).ok()
}

fn of_journal(folder: &Path, past: &Past, report: &Value) -> HistoryEntry {
    let plan = &past.run.plan;
    let is_running = journal::is_running(folder);
    let state = match &past.state {
        _ if is_running => RunState::Running,
        State::Done => RunState::Done,
        State::Failed(_) => RunState::Failed,
        State::Aborting => RunState::Aborting,
        State::Aborted => RunState::Aborted,
        State::Planned | State::Writing | State::Publishing => RunState::Interrupted,
    };
    let exit = match &past.state {
        _ if is_running => None,
        State::Done => Some(0),
        State::Failed(Failure { exit, .. }) => Some(*exit),
        _ => None,
    };
    let known = of_report(folder, report);
    // The report of a run that is complete is exact; that of an earlier attempt is not.
    let is_reported = matches!(state, RunState::Done | RunState::Failed) && !report.is_null();
    let rows = past.counters();
    HistoryEntry {
        job: plan.job.clone(),
        run: plan.run.clone(),
        state,
        started: past.run.started.clone(),
        ended: match state {
            RunState::Running => None,
            // The last word of a process that was killed is the record of a chunk.
            RunState::Interrupted => last_written(folder).or(Some(past.last.clone())),
            _ => Some(past.last.clone()),
        },
        rows: if is_reported { known.rows } else { rows.read },
        dirty: if is_reported { known.dirty } else { rows.dirty },
        guarantee: plan.guarantee.word().to_owned(),
        target: plan.target.name.clone(),
        resumed: past.resumed,
        exit,
        error: match &past.state {
            State::Failed(failure) => Some(failure.message.clone()),
            _ => None,
        },
        ..known
    }
}

/// When the journal was written the last time.
fn last_written(folder: &Path) -> Option<String> {
    let written = folder.join("journal").metadata().ok()?.modified().ok()?;
    Some(report::local(written))
}

fn of_report(folder: &Path, report: &Value) -> HistoryEntry {
    let name = |path: Option<&Path>| {
        let name = path.and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    let status = text("status");
    HistoryEntry {
        job: name(folder.parent()),
        run: name(Some(folder)),
        state: match status.as_str() {
            "" if journal::is_running(folder) => RunState::Running,
            "" => RunState::Interrupted,
            "done" => RunState::Done,
            _ => RunState::Failed,
        },
        started: text("started"),
        ended: Some(text("ended")).filter(|ended| !ended.is_empty()),
        rows: report["rows"]["read"].as_u64().unwrap_or_default(),
        dirty: report["rows"]["dirty"].as_u64().unwrap_or_default(),
        guarantee: text("guarantee"),
        target: text("target"),
        resumed: 0,
        exit: (status == "done").then_some(0),
        error: report["error"]["message"].as_str().map(str::to_owned),
        folder: folder.to_owned(),
        problem: None,
    }
}
