//! The results of `transload verify`, for tests that look at them.

use serde_json::Value as Json;

use crate::{Ended, Workplace};

/// Verifies `job.toml`, and returns the result.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn verified(workplace: &Workplace, more: &[&str]) -> (Ended, Json) {
    let arguments = [&["verify", "job.toml", "--output", "json", "--progress", "none"], more];
    let ended = workplace.run(&arguments.concat());
    let result = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("no result: {error}\n{ended:?}"));
    (ended, result)
}

/// The counts of a result: equal, missing, extra, different.
///
/// # Panics
/// If it has other fields.
pub fn counts(result: &Json) -> [u64; 4] {
    ["equal", "missing", "extra", "different"]
        .map(|name| result["rows"][name].as_u64().expect("a count"))
}

/// The keys of the differences of one kind, sorted.
///
/// # Panics
/// If they are no numbers.
pub fn keys(result: &Json, kind: &str) -> Vec<i64> {
    let of_kind =
        result["differences"].as_array().expect("a list").iter().filter(|it| it["kind"] == kind);
    let mut keys: Vec<_> = of_kind
        .map(|it| it["key"][0]["value"].as_str().expect("a text").parse().expect("a number"))
        .collect();
    keys.sort_unstable();
    keys
}
