//! The state of a run in one line or one JSON object: how far it is, how long it will take, what it
//! waits for.

use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::{
    display::shortened,
    summary::{bytes, duration, grouped, plural},
};
use crate::{
    engine::{Progress, Rates, Stall},
    waits::{self, Wait},
};

/// Shorter waits are not shown.
const NOTICEABLE: Duration = Duration::from_secs(1);
/// Before this time and this share of the work, how long the rest takes is a guess.
const SETTLED: (Duration, f64) = (Duration::from_secs(2), 0.02);

/// The state of a run.
pub(super) struct Status {
    /// How much of how much is read, by bytes or else by rows, if that is known.
    pub(super) done: Option<(u64, u64)>,
    rows: u64,
    bytes: u64,
    elapsed: Duration,
    dirty: u64,
    tasks: (usize, usize),
    expected: (Option<u64>, Option<u64>),
    committed: transload_plugin_api::Counters,
    rates: Rates,
    stalled: Vec<Stall>,
    waits: Vec<Wait>,
}

impl Status {
    /// The state now.
    pub(super) fn of(progress: &Progress) -> Self {
        let (rows, read) = (progress.rows_read(), progress.bytes_read());
        let expected = (progress.expected_rows(), progress.expected_bytes());
        let by_bytes = expected.1.filter(|all| *all > 0).map(|all| (read, all));
        let by_rows = expected.0.filter(|all| *all > 0).map(|all| (rows, all));
        let committed = progress.committed();
        Self {
            done: by_bytes.or(by_rows),
            rows,
            bytes: read,
            elapsed: progress.elapsed(),
            dirty: committed.dirty,
            tasks: progress.tasks_ended(),
            expected,
            committed,
            rates: progress.rates(),
            stalled: progress.stalled(),
            waits: waits::over(NOTICEABLE),
        }
    }

    /// The share that is read, from 0 to 1.
    fn share(&self) -> Option<f64> {
        self.done.map(|(done, all)| (done as f64 / all as f64).min(1.0))
    }

    /// How long the rest takes at the rate so far.
    fn remaining(&self) -> Option<Duration> {
        let share = self.share().filter(|share| *share >= SETTLED.1 && *share < 1.0)?;
        let is_settled = self.elapsed >= SETTLED.0;
        is_settled.then(|| self.elapsed.mul_f64((1.0 - share) / share))
    }

    /// The state in at most `room` columns; what matters least is left out first.
    pub(super) fn line(&self, room: usize) -> String {
        let seconds = self.elapsed.as_secs_f64().max(1e-3);
        let percent = self.share().map(|share| format!("{} %", (share * 100.0) as u64));
        let eta = self.remaining().map(|rest| format!("ETA {}", duration(rest.as_millis() as u64)));
        let dirty = (self.dirty > 0).then(|| format!("{} dirty", grouped(self.dirty)));
        let limit = (self.rates != Rates::default()).then(|| format!("limit {}", self.rates));
        let (ended, all) = self.tasks;
        let tasks = (all > 1).then(|| format!("{ended} of {all} tasks done"));
        // In the order of the line, each with its rank: the highest goes first.
        let parts = [
            (0, percent),
            (1, Some(plural(self.rows, "row", "rows"))),
            (7, Some(bytes(self.bytes))),
            (5, Some(format!("{} rows/s", grouped((self.rows as f64 / seconds) as u64)))),
            (9, limit),
            (3, dirty),
            (6, tasks),
            (8, Some(duration(self.elapsed.as_millis() as u64))),
            (4, eta),
            (2, waiting_of(&self.waits).or_else(|| stalled(&self.stalled))),
        ];
        let mut parts: Vec<_> =
            parts.into_iter().filter_map(|(rank, part)| Some((rank, part?))).collect();
        loop {
            let texts: Vec<_> = parts.iter().map(|(_, part)| part.as_str()).collect();
            let line = texts.join(", ");
            let last = parts.iter().map(|(rank, _)| *rank).max().filter(|rank| *rank > 2);
            match last {
                Some(last) if line.width() > room => parts.retain(|(rank, _)| *rank != last),
                _ => return shortened(&line, room),
            }
        }
    }

    /// The state for programs.
    pub(super) fn json(&self) -> serde_json::Value {
        let (tasks_ended, tasks) = self.tasks;
        serde_json::json!({
            "event": "progress",
            "elapsed_ms": self.elapsed.as_millis() as u64,
            "remaining_ms": self.remaining().map(|rest| rest.as_millis() as u64),
            "rows_read": self.rows,
            "bytes_read": self.bytes,
            "expected_rows": self.expected.0,
            "expected_bytes": self.expected.1,
            "limits": self.rates,
            "committed": self.committed,
            "tasks_ended": tasks_ended,
            "tasks": tasks,
            "waiting": self.waits,
            "stalled": self.stalled,
        })
    }
}

/// `1 task without progress (61 s)`
fn stalled(stalls: &[Stall]) -> Option<String> {
    let longest = stalls.iter().map(|stall| stall.elapsed_ms).max()?;
    let tasks = plural(stalls.len() as u64, "task", "tasks");
    Some(format!("{tasks} without progress ({} s)", longest / 1000))
}

/// What is waited for now: `waiting for table `slow` (12 s)`.
pub(super) fn waiting() -> Option<String> {
    waiting_of(&waits::over(NOTICEABLE))
}

fn waiting_of(waits: &[Wait]) -> Option<String> {
    waits.first().map(waits::in_words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            done: Some((490, 1000)),
            rows: 24_576,
            bytes: 1_234_567,
            elapsed: Duration::from_secs(10),
            dirty: 3,
            tasks: (1, 4),
            expected: (None, Some(1000)),
            committed: transload_plugin_api::Counters::default(),
            rates: Rates::default(),
            stalled: Vec::new(),
            waits: Vec::new(),
        }
    }

    #[test]
    fn the_most_important_parts_stay_in_a_narrow_line() {
        let whole = "49 %, 24,576 rows, 1.2 MB, 2,457 rows/s, 3 dirty, 1 of 4 tasks done, 10.0 s, \
                     ETA 10.4 s";
        assert_eq!(status().line(usize::MAX), whole);
        assert_eq!(status().line(45), "49 %, 24,576 rows, 3 dirty, ETA 10.4 s");
        assert_eq!(status().line(30), "49 %, 24,576 rows, 3 dirty");
        let what = "waiting for table `slow`, held by process 8121".to_owned();
        let status = Status { waits: vec![Wait { what, elapsed_ms: 12_345 }], ..status() };
        let line = status.line(76);
        assert_eq!(
            line,
            "49 %, 24,576 rows, waiting for table `slow`, held by process 8121 (12 s)"
        );
        assert_eq!(status.line(40), "49 %, 24,576 rows, waiting for table ...");
    }

    #[test]
    fn limits_are_shown_where_there_is_room() {
        let rates =
            Rates { max_bytes_per_second: Some(20_000_000), max_rows_per_second: Some(50_000) };
        let status = Status { rates, dirty: 0, ..status() };
        let line = status.line(usize::MAX);
        assert!(line.contains("2,457 rows/s, limit 20.0 MB/s, 50,000 rows/s, 1 of"), "{line}");
        assert!(!status.line(80).contains("limit"));
        assert_eq!(status.json()["limits"]["max_rows_per_second"], 50_000);
    }

    #[test]
    fn one_task_is_not_counted_and_a_guess_is_not_shown() {
        let status = Status { tasks: (0, 1), dirty: 0, ..status() };
        assert!(!status.line(usize::MAX).contains("task"));
        let early = Status { elapsed: Duration::from_millis(1500), ..status };
        assert!(!early.line(usize::MAX).contains("ETA"));
        assert!(early.json()["remaining_ms"].is_null());
    }
}
