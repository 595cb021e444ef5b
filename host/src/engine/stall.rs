//! Tasks without progress: since when, and on which side. Reporting them is left to `watch`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

/// What a task has done so far; any change is progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pulse {
    pub(super) rows: u64,
    pub(super) chunks: u64,
    /// Batches and bytes between its two sides.
    pub(super) items: usize,
    pub(super) bytes: usize,
    /// The writer waits for rows.
    pub(super) is_hungry: bool,
}

/// The side that makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// The source has sent nothing.
    Reader,
    /// The target has taken nothing.
    Writer,
}

/// A task without progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stall {
    /// The task.
    pub(crate) task: u32,
    /// The side that the other one waits for.
    pub(crate) side: Side,
    /// How long there has been no progress.
    pub(crate) elapsed_ms: u64,
}

impl Stall {
    /// `task 3 (id < 100): the source has sent nothing for 61 s`
    pub(super) fn in_words(&self, split: &str) -> String {
        let Self { task, side, elapsed_ms } = self;
        let what = match side {
            Side::Reader => "the source has sent nothing",
            Side::Writer => "the target has taken nothing",
        };
        format!("task {task} ({split}): {what} for {} s", elapsed_ms / 1000)
    }
}

/// What is known about all tasks that run.
#[derive(Default)]
pub(super) struct Stalls {
    tasks: BTreeMap<u32, Task>,
}

struct Task {
    pulse: Pulse,
    since: Instant,
    is_stalled: bool,
}

/// What has changed since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Tasks that count as stalled from now on.
    pub(super) begun: Vec<Stall>,
    /// Tasks that make progress again, and how long they did not.
    pub(super) ended: Vec<Stall>,
    /// All that are stalled now.
    pub(super) all: Vec<Stall>,
}

impl Stalls {
    /// Compares the tasks that run with the last look.
    pub(super) fn look(
        &mut self,
        pulses: impl IntoIterator<Item = (u32, Pulse)>,
        patience: Duration,
        now: Instant,
    ) -> News {
        let (mut news, mut tasks) = (News::default(), BTreeMap::new());
        for (number, pulse) in pulses {
            let known = self.tasks.remove(&number);
            let mut task = known.unwrap_or(Task { pulse, since: now, is_stalled: false });
            let elapsed = now.saturating_duration_since(task.since);
            let side = if pulse.is_hungry { Side::Reader } else { Side::Writer };
            let stall = Stall { task: number, side, elapsed_ms: elapsed.as_millis() as u64 };
            if task.pulse != pulse {
                if task.is_stalled {
                    news.ended.push(stall);
                }
                task = Task { pulse, since: now, is_stalled: false };
            } else if elapsed >= patience {
                if !task.is_stalled {
                    news.begun.push(stall.clone());
                }
                task.is_stalled = true;
                news.all.push(stall);
            }
            tasks.insert(number, task);
        }
        self.tasks = tasks;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_told_once_and_so_is_its_end() {
        let begun = Instant::now();
        let mut stalls = Stalls::default();
        let mut look = |second: u64, rows: u64, is_hungry: bool| {
            let pulse = Pulse { rows, is_hungry, ..Pulse::default() };
            let now = begun + Duration::from_secs(second);
            stalls.look(
                [(3, pulse), (4, Pulse { rows: second, ..pulse })],
                Duration::from_secs(60),
                now,
            )
        };
        let stall = |side, seconds: u64| Stall { task: 3, side, elapsed_ms: seconds * 1000 };
        assert_eq!(look(0, 7, true), News::default());
        assert_eq!(look(59, 7, true), News::default());
        let reader = stall(Side::Reader, 60);
        let news = look(60, 7, true);
        assert_eq!((news.begun, news.all), (vec![reader.clone()], vec![reader.clone()]));
        let news = look(90, 7, true);
        assert_eq!((news.begun, news.all), (vec![], vec![stall(Side::Reader, 90)]));
        assert_eq!(look(95, 8, true).ended, [stall(Side::Reader, 95)]);
        assert_eq!(look(154, 8, true), News::default());
        // The other side, from another moment on.
        assert_eq!(look(154, 8, false), News::default());
        assert_eq!(look(214, 8, false).begun, [stall(Side::Writer, 60)]);
        assert_eq!(
            reader.in_words("id < 100"),
            "task 3 (id < 100): the source has sent nothing for 60 s"
        );
    }
}
