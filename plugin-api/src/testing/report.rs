//! What came of the suite, case by case: for `transload plugin test`, and for a vendor's own records.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{Case, Subject, cases, leaks};
use crate::{Guarantee, Plugin, SplitAbility};

/// The version of the suite: the minor rises when it asks for more.
pub const SUITE: &str = "1.1";

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `descriptor`, `reader`, `writer` or `process`.
    pub area: String,
    /// What was checked.
    pub name: String,
    /// Whether every requirement was met.
    pub ok: bool,
    /// The requirement that was not met, with what was expected and what was found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How long it took.
    pub seconds: f64,
}

/// What came of the whole suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of the suite, [`SUITE`].
    pub suite: String,
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Whether every case passed.
    pub ok: bool,
    /// What was reached, for the manifest: the strongest guarantee of a writer's modes, as declared
    /// and passed, or for a plugin that only reads the ability of its splits. None if a case failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The cases, in order.
    pub cases: Vec<Outcome>,
    /// What is worth knowing besides: values that the store refused.
    pub notes: Vec<String>,
}

/// Runs every case, also after one has failed. `seen` is called with each case before it runs.
///
/// A failed case panics inside: a program that shows the report replaces the panic hook.
pub fn report(plugin: &dyn Plugin, subject: &dyn Subject, seen: impl Fn(&Case<'_>)) -> Report {
    let descriptor = plugin.descriptor();
    let mut cases = cases(plugin, subject);
    cases.push(Case::new("process", "nothing stays open", || leaks::all(plugin, subject)));
    let outcomes: Vec<_> = cases
        .iter()
        .map(|case| {
            seen(case);
            outcome(case)
        })
        .collect();
    let ok = outcomes.iter().all(|outcome| outcome.ok);
    Report {
        suite: SUITE.to_owned(),
        plugin: descriptor.name.clone(),
        version: descriptor.version.clone(),
        ok,
        level: ok.then(|| level(plugin)),
        cases: outcomes,
        notes: subject.notes(),
    }
}

fn outcome(case: &Case<'_>) -> Outcome {
    let begun = Instant::now();
    let failed = panic::catch_unwind(AssertUnwindSafe(|| case.run())).err();
    Outcome {
        area: case.area.to_owned(),
        name: case.name.clone(),
        ok: failed.is_none(),
        detail: failed.map(|payload| text_of(&*payload)).unwrap_or_default(),
        seconds: (begun.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0,
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// What the plugin declares, which has passed.
fn level(plugin: &dyn Plugin) -> String {
    let descriptor = plugin.descriptor();
    let modes = descriptor.writer.iter().flat_map(|writer| &writer.modes);
    let best = modes.map(|spec| spec.guarantee).max();
    match (best, descriptor.reader.map(|reader| reader.ability)) {
        (Some(best), _) => Guarantee::word(best).to_owned(),
        (None, Some(SplitAbility::Seekable)) => "seekable".to_owned(),
        (None, Some(SplitAbility::Replayable)) => "replayable".to_owned(),
        (None, Some(SplitAbility::Bounded)) => "bounded".to_owned(),
        (None, _) => "volatile".to_owned(),
    }
}
