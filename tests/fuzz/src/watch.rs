//! The limits of a single input: a thread that ends the process if an input needs too long, and the
//! process's peak of memory.

use std::{
    fs, process,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::{LONGEST, keep};

/// Measures the time that each input needs.
pub(crate) struct Watch {
    running: Arc<Mutex<Option<Running>>>,
}

struct Running {
    since: Instant,
    input: Vec<u8>,
}

impl Watch {
    /// Starts the thread; it ends with the watch.
    pub(crate) fn start(name: &str) -> Self {
        let running = Arc::new(Mutex::new(None));
        let (weak, name) = (Arc::downgrade(&running), name.to_owned());
        thread::spawn(move || {
            while let Some(running) = weak.upgrade() {
                check(&name, &running);
                drop(running);
                thread::sleep(Duration::from_millis(200));
            }
        });
        Self { running }
    }

    pub(crate) fn begin(&self, input: &[u8]) {
        let running = Running { since: Instant::now(), input: input.to_vec() };
        *self.running.lock().expect("no holder panics") = Some(running);
    }

    pub(crate) fn end(&self) {
        *self.running.lock().expect("no holder panics") = None;
    }
}

/// A hanging target cannot be stopped, so that the process ends.
fn check(name: &str, running: &Mutex<Option<Running>>) {
    let running = running.lock().expect("no holder panics");
    if let Some(Running { since, input }) = &*running
        && since.elapsed() > LONGEST
    {
        let path = keep(name, input);
        eprintln!("{name}: an input needs more than {LONGEST:?}: {}", path.display());
        process::abort();
    }
}

/// The most memory that the process has had, in bytes; 0 where the system does not say it.
pub(crate) fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
