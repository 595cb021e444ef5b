//! The memory of a job's batches, for all tasks together: what `buffer` promises. A reader asks before it
//! reads, because a batch has its size only when it is there: it reserves what the last ones took.
//! What a writer keeps of the rows of an open chunk, such as their text, counts as well.
//! The ring bounds what one task has in flight; this is what holds for rows that are wider than a
//! task's share of the buffer.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

/// The bytes that readers aim at for a batch. One of a wider row counts twice, because its copies in a
/// writer are as wide.
const USUAL: u64 = 4 << 20;
/// What reading a batch takes: its text, the columns, and room in which both grow.
const READING: u64 = 3;
/// How long tasks wait for the first batch of the job, which shows how wide its rows are.
const FIRST: Duration = Duration::from_millis(500);
/// How long they reserve [`UNKNOWN`] for it afterwards; then the source is slow, and no task waits for it.
const LATE: Duration = Duration::from_secs(10);
/// What each task has by default.
const UNKNOWN: u64 = 16 << 20;
/// How often a waiting reader looks whether the run has ended.
const LOOK: Duration = Duration::from_millis(50);

/// The memory of a job's batches.
pub(super) struct Budget {
    bytes: u64,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes reserved by readers and held by batches.
    held: u64,
    /// What a batch takes, as far as it is known; tasks without one of their own expect it.
    width: Option<u64>,
    /// When the first reader began.
    begun: Option<Instant>,
    readers: usize,
    /// Waiting readers, in order: none is overtaken, or a wide batch would wait forever.
    waiting: VecDeque<u64>,
    next: u64,
}

/// Memory that is reserved or held, until it is dropped.
pub(super) struct Share {
    memory: Arc<Budget>,
    bytes: u64,
    is_reading: bool,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { bytes, state: Mutex::default(), freed: Condvar::new() })
    }

    /// Reserves what reading a batch takes that is about as large as `last`, without waiting.
    pub(super) fn try_reserve(self: &Arc<Self>, last: Option<u64>) -> Option<Share> {
        let mut state = self.state.lock();
        state.waiting.is_empty().then(|| self.admit(&mut state, last))?
    }

    /// As [`Self::try_reserve`], in the order of those that wait; `None` if `is_over` meanwhile. A batch
    /// that is larger than the whole budget passes while nothing else is held.
    pub(super) fn reserve(
        self: &Arc<Self>,
        last: Option<u64>,
        is_over: impl Fn() -> bool,
    ) -> Option<Share> {
        let mut state = self.state.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push_back(ticket);
        let share = loop {
            if is_over() {
                break None;
            }
            if state.waiting.front() == Some(&ticket)
                && let Some(share) = self.admit(&mut state, last)
            {
                break Some(share);
            }
            self.freed.wait_for(&mut state, LOOK);
        };
        state.waiting.retain(|waiting| *waiting != ticket);
        drop(state);
        self.freed.notify_all();
        share
    }

    /// For what a writer keeps of a chunk beside its batches: nothing yet.
    pub(super) fn nothing(self: &Arc<Self>) -> Share {
        Share { memory: self.clone(), bytes: 0, is_reading: false }
    }

    fn admit(self: &Arc<Self>, state: &mut State, last: Option<u64>) -> Option<Share> {
        let waited = state.begun.get_or_insert_with(Instant::now).elapsed();
        let bytes = match last.or(state.width) {
            Some(width) => READING * width,
            None if waited < FIRST && state.readers > 0 => return None,
            None if waited < LATE => UNKNOWN,
            None => 0,
        };
        if state.held != 0 && state.held + bytes > self.bytes {
            return None;
        }
        state.readers += 1;
        state.held += bytes;
        Some(Share { memory: self.clone(), bytes, is_reading: true })
    }
}

impl Share {
    /// From now on it is held by a batch of this size, which has been read. Returns what the task's next
    /// batch may take: wide rows are expected again for some batches.
    pub(super) fn hold(&mut self, bytes: u64, last: Option<u64>) -> u64 {
        let held = if bytes > USUAL { 2 * bytes } else { bytes };
        let expected = bytes.max(last.unwrap_or_default() / 4 * 3);
        let memory = self.memory.clone();
        let mut state = memory.state.lock();
        state.held -= std::mem::replace(&mut self.bytes, held);
        state.held += held;
        state.width = Some(expected);
        self.end_reading(&mut state);
        drop(state);
        memory.freed.notify_all();
        expected
    }

    /// These bytes are held, too. They are there already, so nothing waits for them: readers wait
    /// until they are free again.
    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.memory.state.lock().held += bytes;
    }

    fn end_reading(&mut self, state: &mut State) {
        if std::mem::take(&mut self.is_reading) {
            state.readers -= 1;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let memory = self.memory.clone();
        let mut state = memory.state.lock();
        state.held -= self.bytes;
        self.end_reading(&mut state);
        drop(state);
        memory.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
    };

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn wide_batches_take_turns_and_narrow_ones_do_not() {
        for (width, budget, most) in [(8 * MIB, 16 * MIB, 1), (8 * MIB, 100 * MIB, 4)] {
            let memory = Budget::new(budget);
            let (at_once, highest) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        let mut last = None;
                        for _ in 0..5 {
                            let mut share = memory.reserve(last, || false).unwrap();
                            assert!(memory.state.lock().held <= budget.max(READING * width));
                            highest.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
                            thread::sleep(Duration::from_millis(1));
                            last = Some(share.hold(width, last));
                            at_once.fetch_sub(1, SeqCst);
                        }
                    });
                }
            });
            assert!((1..=most).contains(&highest.load(SeqCst)), "{width}, {budget}: {highest:?}");
            assert_eq!(memory.state.lock().held, 0);
        }
        let memory = Budget::new(32 * MIB);
        let mut first = memory.try_reserve(None).unwrap();
        assert!(memory.try_reserve(None).is_none(), "the first batch is not there");
        first.hold(MIB, None);
        let more: Vec<_> = (0..10).map_while(|_| memory.try_reserve(None)).collect();
        assert_eq!(more.len(), 10);
        assert!(memory.try_reserve(None).is_none(), "31 of 32 MiB are in use");
    }

    #[test]
    fn who_waits_is_not_passed_and_ends_with_the_run() {
        let memory = Budget::new(10);
        let mut held = memory.try_reserve(None).unwrap();
        assert_eq!(held.hold(6, None), 6);
        let over = AtomicUsize::new(0);
        thread::scope(|scope| {
            let wide = scope.spawn(|| memory.reserve(Some(3), || over.load(SeqCst) == 1));
            while memory.state.lock().waiting.is_empty() {
                thread::yield_now();
            }
            assert!(memory.try_reserve(Some(1)).is_none(), "it would pass the one that waits");
            drop(held);
            assert!(wide.join().unwrap().is_some_and(|share| share.bytes == 9));
            let _all = memory.reserve(Some(100), || false).unwrap();
            let late = scope.spawn(|| memory.reserve(Some(1), || over.load(SeqCst) == 1));
            thread::sleep(Duration::from_millis(10));
            over.store(1, SeqCst);
            assert!(late.join().unwrap().is_none());
        });
        assert!(memory.try_reserve(Some(3)).is_some());
    }

    #[test]
    fn what_a_writer_keeps_of_a_chunk_stops_readers() {
        let memory = Budget::new(30 * MIB);
        let mut batch = memory.try_reserve(Some(MIB)).unwrap();
        batch.hold(MIB, None);
        let mut text = memory.nothing();
        text.add(20 * MIB);
        text.add(8 * MIB);
        assert!(memory.try_reserve(Some(MIB)).is_none(), "29 of 30 MiB are in use");
        drop(text);
        assert!(memory.try_reserve(Some(MIB)).is_some());
    }

    #[test]
    fn a_first_batch_that_does_not_come_stops_nobody() {
        let memory = Budget::new(2 * UNKNOWN);
        let _first = memory.try_reserve(None).unwrap();
        let begun = Instant::now();
        let _second = memory.reserve(None, || false).unwrap();
        assert!(begun.elapsed() >= FIRST - LOOK);
        assert!(memory.try_reserve(None).is_none(), "each may be this wide");
        memory.state.lock().begun = Instant::now().checked_sub(LATE);
        assert!(memory.try_reserve(None).is_some());
    }

    #[test]
    fn width_is_forgotten_gradually() {
        let memory = Budget::new(1 << 40);
        let mut last = None;
        for (bytes, expected) in [(8 * MIB, 8 * MIB), (MIB, 6 * MIB), (MIB, 9 * MIB / 2)] {
            let mut share = memory.try_reserve(last).unwrap();
            last = Some(share.hold(bytes, last));
            assert_eq!(last, Some(expected));
        }
    }
}
