//! What a run that failed leaves in the target, and what running the job again does.

use transload_plugin_api::{Counters, Guarantee, WriteMode};

use super::summary::{grouped, plural};
use crate::{
    engine::{Outcome, Reached},
    plan::Plan,
};

/// What is in the target after a run that failed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Remains {
    /// Sentences for the user; empty after a run without a failure.
    pub(super) sentences: Vec<String>,
    /// Rows that were staged and not published; `None` if rows of committed chunks are in.
    pub(super) discarded: Option<u64>,
}

impl Remains {
    pub(super) fn of(plan: &Plan, outcome: &Outcome) -> Self {
        let none = Self::default();
        if outcome.failure.is_none() {
            return none;
        }
        let (target, rows) = (&plan.target.name, outcome.counters);
        let written = rows.inserted + rows.updated;
        let sentence = |text: String| Self { sentences: vec![text], discarded: None };
        // Nothing that tasks write is visible before the job's commit.
        let is_staged = plan.is_staged();
        match outcome.reached {
            Reached::Rows => sentence(match written {
                1 => format!("the one row is in `{target}`; a later step failed"),
                _ => {
                    format!("all {} rows are in `{target}`; a later step failed", grouped(written))
                }
            }),
            Reached::Unknown => sentence(unknown(plan, rows, is_staged)),
            // A part of several files may be published.
            Reached::Commit if is_staged && plan.draft.guarantee != Guarantee::AtomicJob => none,
            Reached::Nothing => sentence(format!("`{target}` is as it was before the run")),
            Reached::Target | Reached::Commit if is_staged => {
                let staged = Some(written).filter(|written| *written > 0);
                let fate = match plan.write.tokens {
                    Some(_) => "staged rows are kept and not published",
                    None => "staged rows were not published",
                };
                let staged = staged.map(|written| format!("; {} {fate}", grouped(written)));
                let text = format!("{}{}", unchanged(plan, outcome), staged.unwrap_or_default());
                Self { sentences: vec![text], discarded: Some(written) }
            }
            Reached::Target | Reached::Commit if written == 0 => sentence(unchanged(plan, outcome)),
            Reached::Target | Reached::Commit => {
                Self { sentences: vec![kept(plan, rows), again(plan).to_owned()], discarded: None }
            }
        }
    }
}

/// The target without any row of the run.
fn unchanged(plan: &Plan, outcome: &Outcome) -> String {
    let target = &plan.target.name;
    if !plan.target.exists {
        return match outcome.is_cleaned {
            true => format!("`{target}`, which the run created, was empty and is removed again"),
            false => {
                format!("`{target}`, which the run created, may be left: it holds no row of it")
            }
        };
    }
    let emptied = plan.draft.statements.iter().any(|step| step.destructive) && !plan.is_staged();
    match (emptied, plan.write.before.is_empty()) {
        (true, _) => format!("no row of the run is in `{target}`; destructive steps may have run"),
        (false, true) => format!("`{target}` is as it was before the run"),
        (false, false) => {
            format!("no row of the run is in `{target}`; `before` statements may have run")
        }
    }
}

fn kept(plan: &Plan, rows: Counters) -> String {
    let target = &plan.target.name;
    let created = if plan.target.exists { "" } else { ", which the run created" };
    let words = [(rows.inserted, "inserted"), (rows.updated, "updated")];
    let words = words.iter().filter(|(rows, _)| *rows > 0);
    let words: Vec<_> = words.map(|(rows, word)| format!("{} {word}", grouped(*rows))).collect();
    let words = words.join(" and ");
    match rows.inserted + rows.updated {
        1 => format!("{words} row of the run is in `{target}`{created}, and stays there"),
        _ => format!("{words} rows of the run are in `{target}`{created}, and stay there"),
    }
}

fn unknown(plan: &Plan, rows: Counters, is_staged: bool) -> String {
    let target = &plan.target.name;
    match is_staged {
        true => format!("`{target}` holds either all rows of the run or none"),
        false => format!(
            "{} in `{target}` for certain, and those of the chunks that the error names may be",
            plural(rows.inserted + rows.updated, "row of the run is", "rows of the run are")
        ),
    }
}

fn again(plan: &Plan) -> &'static str {
    if plan.write.tokens.is_some() {
        return "resuming the run writes the others; running the job again is refused until then";
    }
    match plan.write.mode {
        WriteMode::Insert => {
            "running the job again inserts these rows a second time, or makes them dirty if a key \
             forbids that: remove them first, or use `write_mode = \"upsert\"` with a key"
        }
        WriteMode::Ignore => "running the job again skips these rows and writes the others",
        WriteMode::Upsert | WriteMode::Replace => {
            "running the job again writes these rows again and leaves one of each"
        }
        WriteMode::Overwrite => "running the job again empties the target first",
    }
}
