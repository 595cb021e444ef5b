//! What is looked at about once a second while a run is in progress: tasks without progress, and a
//! request of `transload throttle` for other limits. The request is a file in the run's folder,
//! which is removed when it is fulfilled.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{
    limits::{Rates, Throttle},
    progress::Progress,
    shared::Shared,
    stall::{News, Stalls},
};
use crate::{journal::RunFolder, plan::Plan, waits};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);
/// Longest request, in bytes.
const LONGEST: u64 = 4 << 10;

/// Watches one run.
pub(super) struct Watch {
    folder: Arc<RunFolder>,
    throttle: Arc<Throttle>,
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    state: Mutex<State>,
}

struct State {
    next: Instant,
    stalls: Stalls,
}

impl Watch {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            folder: shared.folder.clone(),
            throttle: shared.throttle.clone(),
            plan: shared.plan.clone(),
            progress: shared.progress.clone(),
            state: Mutex::new(State { next: Instant::now(), stalls: Stalls::default() }),
        }
    }

    /// Looks, if it is time. Call it often.
    pub(super) fn look(&self) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.next > now {
            return;
        }
        state.next = now + EVERY;
        self.change_limits();
        let patience = self.plan.channel.stall_timeout();
        let news = state.stalls.look(self.progress.pulses(), patience, now);
        self.report_stalls(news, patience);
    }

    /// Warns of tasks that make no progress, with what they may wait for.
    fn report_stalls(&self, news: News, patience: Duration) {
        let split = |task: u32| self.plan.splits.get(task as usize).map_or("", |it| &it.label);
        for stall in &news.begun {
            let waits = waits::over(patience / 2);
            let wait = waits.first().map(|wait| format!("; {}", waits::in_words(wait)));
            let what = stall.in_words(split(stall.task));
            tracing::warn!("{what}{}", wait.unwrap_or_default());
        }
        for stall in &news.ended {
            let seconds = stall.elapsed_ms / 1000;
            let what = format!("task {} ({})", stall.task, split(stall.task));
            tracing::info!("{what}: rows pass again after {seconds} s");
        }
        self.progress.stall(&news.begun, news.all);
    }

    /// Fulfils a request for other limits.
    fn change_limits(&self) {
        let path = self.folder.limits_request();
        let request = match read(&path) {
            Ok(None) => return,
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        // First: a request that cannot be read must not be read again and again.
        let _ = std::fs::remove_file(&path);
        match request.and_then(|text| changed(self.throttle.rates(), &text)) {
            Ok(rates) => {
                self.throttle.set(rates);
                tracing::info!("the limits are now {rates}");
            }
            Err(error) => tracing::warn!("cannot read {}: {error}", path.display()),
        }
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// The limits after a request: one that it does not name stays, `null` is no limit.
fn changed(rates: Rates, request: &str) -> io::Result<Rates> {
    let current = serde_json::to_value(rates)?;
    let request: Map<String, Value> = serde_json::from_str(request)?;
    let Value::Object(mut all) = current else { return Ok(rates) };
    all.extend(request);
    Ok(serde_json::from_value(Value::Object(all))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_request_names_changes() {
        let both = Rates { max_bytes_per_second: Some(7), max_rows_per_second: Some(8) };
        let none = r#"{"max_rows_per_second": null}"#;
        assert_eq!(changed(both, none).unwrap(), Rates { max_rows_per_second: None, ..both });
        let bytes = r#"{"max_bytes_per_second": 20}"#;
        let more = Rates { max_bytes_per_second: Some(20), ..both };
        assert_eq!(changed(both, bytes).unwrap(), more);
        assert_eq!(changed(both, "{}").unwrap(), both);
        for broken in ["", "[]", r#"{"max_rows_per_second": "x"}"#] {
            assert!(changed(both, broken).is_err(), "{broken}");
        }
    }
}
