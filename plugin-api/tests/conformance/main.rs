//! The suite itself: a plugin that conforms passes, and each of the mistakes in one table is found
//! with a message that names it.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod shelf;
mod subject;

use std::panic::{self, AssertUnwindSafe};

use shelf::{Defect, ShelfPlugin};
use subject::ShelfSubject;
use transload_plugin_api::testing::{self, Case, leaks};

/// Every mistake, the part of the suite's cases whose name finds it, and what the message says.
const MISTAKES: &[(Defect, &str, &str)] = &[
    (Defect::RoundsOnReading, "narrower types", "`decimal(38,10)` read as `decimal(15,2)`"),
    (Defect::RoundsOnWriting, "type decimal", "a round trip of `decimal(38,10)`"),
    (Defect::CutsFractions, "narrower types", "`timestamp` read as `timestamp(0)`"),
    (Defect::KeepsOldForNull, "upsert: keys", "mode `upsert` with NULL for old values"),
    (Defect::WaitsOnWhenStopped, "stop of a silent server", "s after the stop signal"),
    (Defect::ReadsOnWhenStopped, "stop", "after the stop signal"),
    (Defect::WritesLongWhenStopped, "insert: stop", "`write`: ends 3.0 s after the stop signal"),
    (Defect::RollbackObeysStop, "insert: stop", "`rollback_chunk`: stopped on request"),
    (Defect::AbortObeysStop, "insert: stop", "`abort` of the job: stopped on request"),
    (Defect::FinaliseObeysStop, "insert: stop before `finalise`", "`finalise` after the stop"),
    (Defect::PasswordInError, "secrets", "its result shows a secret"),
    (Defect::PasswordInFinding, "secrets", "its result shows a secret"),
    (Defect::PasswordInLog, "secrets", "the log shows a secret"),
    (Defect::TakesFewRows, "insert: a large batch", "a statement has at most"),
    (Defect::OverwritesOthers, "insert: keys", "a key that another session wrote meanwhile"),
    (Defect::JoinsKeys, "insert: keys", "all keys are different"),
    (Defect::AbortRemovesNothing, "overwrite: given up", "left over"),
    (Defect::TestNeedsTable, "check without a job", "the option `table` is missing"),
    (Defect::CheckFails, "check of what is not there", "`check` must find it, not fail"),
    (Defect::DropsOtherKinds, "objects of the wrong kind", "left out in silence"),
    (Defect::PanicsOnReceipt, "insert: foreign receipts", "the receipt has no data"),
    (Defect::DraftsWithoutKey, "plans that are refused", "without a key: must be refused"),
    (Defect::AcceptsAnyValue, "wrong options", "must be refused, but was accepted"),
];

#[test]
fn a_plugin_that_conforms_passes() {
    testing::all(&ShelfPlugin { defect: Defect::None }, &ShelfSubject);
}

#[test]
fn every_planted_mistake_is_caught() {
    let mut missed = Vec::new();
    for (defect, name, words) in MISTAKES {
        let plugin = ShelfPlugin { defect: *defect };
        let cases = testing::cases(&plugin, &ShelfSubject);
        let cases: Vec<_> = cases.iter().filter(|case| case.name == *name).collect();
        assert!(!cases.is_empty(), "no case is called `{name}`");
        let said: Vec<_> = cases.into_iter().filter_map(failure).collect();
        if !said.iter().any(|said| said.contains(words)) {
            missed.push(format!("{defect:?}: {said:?}"));
        }
    }
    assert!(missed.is_empty(), "missed: {missed:#?}");
}

#[test]
fn a_report_has_every_case_and_the_level() {
    let plugin = ShelfPlugin { defect: Defect::JoinsKeys };
    let report = testing::report(&plugin, &ShelfSubject, |_| {});
    assert!(!report.ok && report.level.is_none());
    let failed: Vec<_> = report.cases.iter().filter(|case| !case.ok).collect();
    assert!(failed.iter().all(|case| case.name.ends_with(": keys")), "{failed:#?}");
    assert_eq!(failed.len(), 5, "one for each mode: {failed:#?}");
    assert_eq!((report.plugin.as_str(), report.suite.as_str()), ("shelf", testing::SUITE));
}

/// Other tests of this process open files meanwhile, so the leak is far larger than theirs.
#[test]
fn files_that_stay_open_are_found() {
    let plugin = ShelfPlugin { defect: Defect::LeavesFilesOpen };
    let case = panic::catch_unwind(|| leaks::all(&plugin, &ShelfSubject));
    let said = text_of(&*case.unwrap_err());
    assert!(said.contains("files stay open"), "{said}");
}

fn failure(case: &Case<'_>) -> Option<String> {
    let payload = panic::catch_unwind(AssertUnwindSafe(|| case.run())).err()?;
    Some(text_of(&*payload))
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}
