//! The ring: the bounded buffer between a task's reader and its writer.
//!
//! Slots are crossbeam's lock-free [`ArrayQueue`]. Around them this file adds a byte budget, parking
//! instead of spinning, and two ways to end: [`Sender::finish`] (the receiver drains what is left)
//! and poison (a half dropped early, which the other side sees at once). The mutex below guards no
//! data: it is taken only by a side that is about to sleep or that must wake a sleeper.

use std::{
    ops::Deref,
    time::{Duration, Instant},
};

#[cfg(not(loom))]
use sync::ArrayQueue;
use sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

#[cfg(loom)]
use model::ArrayQueue;

#[cfg(not(loom))]
mod sync {
    pub(super) use crossbeam_queue::ArrayQueue;
    pub(super) use std::sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    };
}

#[cfg(loom)]
mod sync {
    pub(super) use loom::sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    };
}

/// The capacity of a ring.
#[derive(Clone, Copy, Debug)]
pub struct RingLimits {
    /// Most items at once.
    pub slots: usize,
    /// Most bytes sent and not yet released, including leases that are held. An item that is
    /// larger passes alone; one of no bytes, the rest of an item before it, always fits.
    pub bytes: usize,
}

/// What both halves and the monitor share.
struct Ring<T> {
    slots: ArrayQueue<(T, usize)>,
    budget: usize,
    /// Bytes sent whose lease has not been dropped. Grows on the sender's side only.
    in_flight: AtomicUsize,
    /// The part of `in_flight` that leases hold.
    leased: AtomicUsize,
    finished: AtomicBool,
    /// The sender waits for memory before it makes its next item.
    starving: AtomicBool,
    poisoned: AtomicBool,
    sender: Sleeper,
    receiver: Sleeper,
    /// Guards no data, see the head of this file.
    door: Mutex<()>,
    highest_items: AtomicUsize,
    highest_bytes: AtomicUsize,
}

/// Lets one side sleep, and records for how long.
struct Sleeper {
    /// Set under the door before the last check of the condition. The side that changes the
    /// condition reads it after a `SeqCst` fence. One of the two sees the other, so no wake is lost.
    asleep: AtomicBool,
    wake: Condvar,
    blocked_nanos: AtomicU64,
    /// When the current sleep began, in nanoseconds since `origin` plus one; 0 while awake.
    blocked_since: AtomicU64,
    origin: Instant,
}

impl Sleeper {
    fn new(origin: Instant) -> Self {
        Self {
            asleep: AtomicBool::new(false),
            wake: Condvar::new(),
            blocked_nanos: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            origin,
        }
    }

    /// Starts the clock of a sleep.
    fn fall_asleep(&self) {
        // Statistics only, hence Relaxed: nothing is published through these two.
        self.blocked_since.store(nanos(self.origin.elapsed()) + 1, Relaxed);
    }

    /// Adds the sleep that ends to the time blocked.
    fn wake_up(&self) {
        let since = self.blocked_since.swap(0, Relaxed).saturating_sub(1);
        let slept = nanos(self.origin.elapsed()).saturating_sub(since);
        self.blocked_nanos.fetch_add(slept, Relaxed);
    }

    /// Time asleep so far, including a current sleep.
    fn blocked(&self) -> Duration {
        let since = self.blocked_since.load(Relaxed);
        let current =
            if since == 0 { 0 } else { nanos(self.origin.elapsed()).saturating_sub(since - 1) };
        Duration::from_nanos(self.blocked_nanos.load(Relaxed) + current)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Ignores poison: a panic cannot leave a mutex that guards no data in a bad state.
fn enter(door: &Mutex<()>) -> MutexGuard<'_, ()> {
    door.lock().unwrap_or_else(|poison| poison.into_inner())
}

impl<T> Ring<T> {
    /// Wakes a side if it sleeps. Call it after changing the condition that the side waits for.
    fn rouse(&self, sleeper: &Sleeper) {
        // Orders the change before the load of `asleep`; pairs with the fence in `sleep`.
        fence(SeqCst);
        if sleeper.asleep.load(Relaxed) {
            // The sleeper holds the door from its last check until it waits, so the notification
            // cannot fall between the two.
            drop(enter(&self.door));
            sleeper.wake.notify_one();
        }
    }

    /// Ends the ring for both sides.
    fn poison(&self) {
        self.poisoned.store(true, Release);
        self.rouse(&self.sender);
        self.rouse(&self.receiver);
    }

    /// Sleeps until `poll` returns a value; `None` at the deadline. Wakes `peer` first, because only
    /// a side that sees the other one asleep can detect that both wait for each other.
    fn sleep<A>(
        &self,
        sleeper: &Sleeper,
        peer: &Sleeper,
        deadline: Option<Instant>,
        mut poll: impl FnMut() -> Option<A>,
    ) -> Option<A> {
        let mut door = enter(&self.door);
        sleeper.fall_asleep();
        let found = loop {
            sleeper.asleep.store(true, Relaxed);
            fence(SeqCst);
            if let Some(found) = poll() {
                break Some(found);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                break None;
            }
            if peer.asleep.load(Relaxed) {
                peer.wake.notify_one();
            }
            door = wait(&sleeper.wake, door, deadline);
        };
        sleeper.asleep.store(false, Relaxed);
        sleeper.wake_up();
        drop(door);
        found
    }
}

#[cfg(not(loom))]
fn wait<'a>(
    wake: &Condvar,
    door: MutexGuard<'a, ()>,
    deadline: Option<Instant>,
) -> MutexGuard<'a, ()> {
    match deadline {
        None => wake.wait(door).unwrap_or_else(|poison| poison.into_inner()),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            wake.wait_timeout(door, left).unwrap_or_else(|poison| poison.into_inner()).0
        }
    }
}

/// Loom has no clock, so a model never passes a deadline.
#[cfg(loom)]
fn wait<'a>(
    wake: &Condvar,
    door: MutexGuard<'a, ()>,
    _deadline: Option<Instant>,
) -> MutexGuard<'a, ()> {
    wake.wait(door).unwrap_or_else(|poison| poison.into_inner())
}

/// Creates a ring: its two halves and its monitor. Neither half can be cloned, so there is one
/// reader and one writer.
pub fn ring<T>(limits: RingLimits) -> (Sender<T>, Receiver<T>, RingMonitor<T>) {
    let origin = Instant::now();
    let ring = Arc::new(Ring {
        slots: ArrayQueue::new(limits.slots.max(1)),
        budget: limits.bytes,
        in_flight: AtomicUsize::new(0),
        leased: AtomicUsize::new(0),
        finished: AtomicBool::new(false),
        starving: AtomicBool::new(false),
        poisoned: AtomicBool::new(false),
        sender: Sleeper::new(origin),
        receiver: Sleeper::new(origin),
        door: Mutex::new(()),
        highest_items: AtomicUsize::new(0),
        highest_bytes: AtomicUsize::new(0),
    });
    let sender = Sender { ring: ring.clone(), finished: false };
    (sender, Receiver { ring: ring.clone() }, RingMonitor { ring })
}

/// The reader's half. Dropping it without [`Sender::finish`] poisons the ring, so that a reader
/// that panicked or failed is never mistaken for one that reached its end.
pub struct Sender<T> {
    ring: Arc<Ring<T>>,
    finished: bool,
}

impl<T> Sender<T> {
    /// Sends an item of `bytes` bytes; sleeps while the ring is full.
    ///
    /// # Errors
    /// The item itself, if the receiver is gone or the ring poisoned.
    pub fn send(&mut self, item: T, bytes: usize) -> Result<(), T> {
        let ring = &*self.ring;
        let mut waiting = Some((item, bytes));
        let mut offer = || {
            let offered = waiting.take()?;
            match ring.offer(offered) {
                Offer::Taken => Some(Ok(())),
                Offer::Refused((item, _)) => Some(Err(item)),
                Offer::Full(back) => {
                    waiting = Some(back);
                    None
                }
            }
        };
        let outcome = match offer() {
            Some(outcome) => outcome,
            // Without a deadline `sleep` always returns a value; if it did not, the item could
            // still be handed back.
            None => match ring.sleep(&ring.sender, &ring.receiver, None, &mut offer) {
                Some(outcome) => outcome,
                None => match waiting {
                    Some((item, _)) => Err(item),
                    None => Ok(()),
                },
            },
        };
        if outcome.is_ok() {
            ring.rouse(&ring.receiver);
        }
        outcome
    }

    /// Waits in `wait` for memory that the receiver's leases may hold: meanwhile an empty ring is
    /// [`Received::Starved`].
    pub fn while_starving<A>(&self, wait: impl FnOnce() -> A) -> A {
        self.ring.starving.store(true, Release);
        self.ring.rouse(&self.ring.receiver);
        let found = wait();
        self.ring.starving.store(false, Release);
        found
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.ring.poisoned.load(Acquire)
    }

    /// Ends the stream. The receiver drains what is left and then gets [`Received::End`].
    pub fn finish(mut self) {
        self.finished = true;
        // Release: a receiver that sees the flag also sees every item sent before it.
        self.ring.finished.store(true, Release);
        self.ring.rouse(&self.ring.receiver);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !self.finished {
            self.ring.poison();
        }
    }
}

/// What happened to an item that was offered.
enum Offer<T> {
    Taken,
    Full((T, usize)),
    Refused((T, usize)),
}

impl<T> Ring<T> {
    /// Puts an item into a slot if the budget allows it; never sleeps.
    fn offer(&self, offered: (T, usize)) -> Offer<T> {
        if self.poisoned.load(Acquire) {
            return Offer::Refused(offered);
        }
        let bytes = offered.1;
        // Acquire pairs with the Release in `Lease::drop`: released memory is really free.
        let held = self.in_flight.load(Acquire);
        if held != 0 && bytes != 0 && held.saturating_add(bytes) > self.budget {
            return Offer::Full(offered);
        }
        // Only this side adds, so the budget cannot be exceeded between the check and this.
        self.in_flight.fetch_add(bytes, Relaxed);
        if let Err(offered) = self.slots.push(offered) {
            self.in_flight.fetch_sub(bytes, Relaxed);
            return Offer::Full(offered);
        }
        self.highest_bytes.fetch_max(held + bytes, Relaxed);
        self.highest_items.fetch_max(self.slots.len(), Relaxed);
        Offer::Taken
    }
}

/// What `Receiver::receive` returns.
#[derive(Debug)]
pub enum Received<T> {
    /// The next item.
    Item(T),
    /// The sender finished and everything has been received.
    End,
    /// The sender was dropped without finishing: what was received may not be all.
    Poisoned,
    /// The ring is empty and the sender waits for bytes that the receiver's leases hold. Release
    /// some, or both sides wait forever.
    Starved,
    /// The deadline passed.
    TimedOut,
}

/// The writer's half. Dropping it poisons the ring, so that the reader stops.
pub struct Receiver<T> {
    ring: Arc<Ring<T>>,
}

impl<T> Receiver<T> {
    /// Returns the next item; sleeps while the ring is empty, until the deadline if there is one.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Received<Lease<T>> {
        let ring = &self.ring;
        let found = match Self::poll(ring) {
            Some(found) => found,
            None => ring
                .sleep(&ring.receiver, &ring.sender, deadline, || Self::poll(ring))
                .unwrap_or(Received::TimedOut),
        };
        if matches!(found, Received::Item(_)) {
            // A slot is free now, even if the bytes are not.
            ring.rouse(&ring.sender);
        }
        found
    }

    /// What the receiver would get now; `None` if it has to wait.
    fn poll(ring: &Arc<Ring<T>>) -> Option<Received<Lease<T>>> {
        if ring.poisoned.load(Acquire) {
            return Some(Received::Poisoned);
        }
        // Read before the slots: if it is set, everything sent before it is already in them.
        let finished = ring.finished.load(Acquire);
        if let Some((item, bytes)) = ring.slots.pop() {
            ring.leased.fetch_add(bytes, Relaxed);
            return Some(Received::Item(Lease { item, bytes, ring: ring.clone() }));
        }
        if finished {
            return Some(Received::End);
        }
        let waits = ring.sender.asleep.load(Acquire) || ring.starving.load(Acquire);
        let starved = waits && ring.leased.load(Relaxed) != 0 && ring.slots.is_empty();
        starved.then_some(Received::Starved)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.ring.poison();
        while self.ring.slots.pop().is_some() {}
    }
}

/// A received item. Its bytes count against the budget until the lease is dropped.
pub struct Lease<T> {
    item: T,
    bytes: usize,
    ring: Arc<Ring<T>>,
}

impl<T> Lease<T> {
    /// The item's size, as it was sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        self.ring.leased.fetch_sub(self.bytes, Relaxed);
        let before = self.ring.in_flight.fetch_sub(self.bytes, Release);
        debug_assert!(before >= self.bytes, "a lease returned more than was sent");
        self.ring.rouse(&self.ring.sender);
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.item.fmt(f)
    }
}

/// Reads a ring's statistics from outside, while it runs and afterwards.
pub struct RingMonitor<T> {
    ring: Arc<Ring<T>>,
}

/// A ring's statistics.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingStats {
    /// Most items at once.
    pub highest_items: usize,
    /// Most bytes at once.
    pub highest_bytes: usize,
    /// How long the reader waited for room: the writer was slower.
    pub sender_blocked: Duration,
    /// How long the writer waited for items: the reader was slower.
    pub receiver_blocked: Duration,
}

/// What is in a ring now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingLoad {
    /// Items in its slots.
    pub items: usize,
    /// Bytes sent and not released.
    pub bytes: usize,
    /// The receiver waits for an item.
    pub receiver_waits: bool,
}

impl<T> RingMonitor<T> {
    /// What is in it now.
    pub fn load(&self) -> RingLoad {
        RingLoad {
            items: self.ring.slots.len(),
            bytes: self.ring.in_flight.load(Relaxed),
            receiver_waits: self.ring.receiver.asleep.load(Relaxed),
        }
    }

    /// The statistics now, including a current wait.
    pub fn stats(&self) -> RingStats {
        RingStats {
            highest_items: self.ring.highest_items.load(Relaxed),
            highest_bytes: self.ring.highest_bytes.load(Relaxed),
            sender_blocked: self.ring.sender.blocked(),
            receiver_blocked: self.ring.receiver.blocked(),
        }
    }
}

/// Replaces crossbeam's queue in the loom models (`tests/ring-models`) by one that is correct by
/// construction, so that the state space is spent on parking, budget, finish and poison.
#[cfg(loom)]
mod model {
    use loom::sync::Mutex;
    use std::collections::VecDeque;

    pub(super) struct ArrayQueue<T>(Mutex<VecDeque<T>>, usize);

    impl<T> ArrayQueue<T> {
        pub(super) fn new(slots: usize) -> Self {
            Self(Mutex::new(VecDeque::new()), slots)
        }

        pub(super) fn push(&self, item: T) -> Result<(), T> {
            let mut slots = self.0.lock().unwrap_or_else(|poison| poison.into_inner());
            if slots.len() == self.1 {
                return Err(item);
            }
            slots.push_back(item);
            Ok(())
        }

        pub(super) fn pop(&self) -> Option<T> {
            self.0.lock().unwrap_or_else(|poison| poison.into_inner()).pop_front()
        }

        pub(super) fn len(&self) -> usize {
            self.0.lock().unwrap_or_else(|poison| poison.into_inner()).len()
        }

        pub(super) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    const WIDE: RingLimits = RingLimits { slots: 4, bytes: 1 << 20 };

    #[test]
    fn everything_arrives_in_order_and_then_the_end() {
        let (mut sender, mut receiver, monitor) = ring(WIDE);
        let reader = thread::spawn(move || {
            for n in 0..100_000_u32 {
                sender.send(n, 100).unwrap();
            }
            sender.finish();
        });
        for n in 0..100_000 {
            assert!(matches!(receiver.receive(None), Received::Item(item) if *item == n));
        }
        assert!(matches!(receiver.receive(None), Received::End));
        assert!(matches!(receiver.receive(None), Received::End));
        reader.join().unwrap();
        assert!(monitor.stats().highest_items <= 4);
    }

    #[test]
    fn bytes_are_bounded_and_a_giant_passes_alone() {
        let (mut sender, mut receiver, monitor) = ring(RingLimits { slots: 64, bytes: 1000 });
        let reader = thread::spawn(move || {
            for n in 0..2000_usize {
                sender.send(n, if n % 100 == 0 { 5000 } else { 300 }).unwrap();
            }
            sender.finish();
        });
        let mut seen = 0;
        while let Received::Item(item) = receiver.receive(None) {
            assert_eq!(*item, seen);
            seen += 1;
        }
        reader.join().unwrap();
        assert_eq!(seen, 2000);
        assert_eq!(monitor.stats().highest_bytes, 5000);
    }

    #[test]
    fn a_dropped_sender_poisons_and_a_finished_one_does_not() {
        let (mut sender, mut receiver, _) = ring(WIDE);
        sender.send(1, 1).unwrap();
        drop(sender);
        assert!(matches!(receiver.receive(None), Received::Poisoned));
    }

    #[test]
    fn a_dropped_receiver_gives_the_item_back() {
        let (mut sender, receiver, _) = ring(WIDE);
        sender.send(1, 1).unwrap();
        drop(receiver);
        assert_eq!(sender.send(2, 1), Err(2));
    }

    #[test]
    fn a_blocked_sender_learns_that_the_receiver_left() {
        let (mut sender, receiver, _) = ring(RingLimits { slots: 1, bytes: 10 });
        sender.send(1, 1).unwrap();
        let reader = thread::spawn(move || sender.send(2, 1));
        thread::sleep(Duration::from_millis(20));
        drop(receiver);
        assert_eq!(reader.join().unwrap(), Err(2));
    }

    #[test]
    fn leases_that_hold_the_budget_starve_the_receiver_until_released() {
        let (mut sender, mut receiver, _) = ring(RingLimits { slots: 8, bytes: 1000 });
        let reader = thread::spawn(move || {
            for n in 0..10 {
                sender.send(n, 400).unwrap();
            }
            sender.finish();
        });
        let (mut held, mut starved, mut seen) = (Vec::new(), 0, 0);
        loop {
            match receiver.receive(None) {
                Received::Item(item) => {
                    seen += 1;
                    held.push(item);
                }
                Received::Starved => {
                    starved += 1;
                    held.clear();
                }
                Received::End => break,
                other => panic!("{other:?}"),
            }
        }
        reader.join().unwrap();
        assert_eq!(seen, 10);
        assert!(starved >= 4);
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let (sender, mut receiver, monitor) = ring::<u8>(WIDE);
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(matches!(receiver.receive(Some(deadline)), Received::TimedOut));
        assert!(monitor.stats().receiver_blocked >= Duration::from_millis(15));
        sender.finish();
    }

    #[test]
    fn stress_with_small_rings_and_random_weights() {
        for slots in [1, 2, 3, 16] {
            let (mut sender, mut receiver, _) = ring(RingLimits { slots, bytes: 64 });
            let reader = thread::spawn(move || {
                let mut state = 1_u32;
                for n in 0..20_000_u32 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    sender.send(n, (state >> 24) as usize).unwrap();
                }
                sender.finish();
            });
            let (mut next, mut held) = (0, Vec::new());
            loop {
                match receiver.receive(None) {
                    Received::Item(item) => {
                        assert_eq!(*item, next);
                        next += 1;
                        held.push(item);
                        if held.len() > 3 {
                            held.clear();
                        }
                    }
                    Received::Starved => held.clear(),
                    Received::End => break,
                    other => panic!("{other:?}"),
                }
            }
            reader.join().unwrap();
            assert_eq!(next, 20_000);
        }
    }
}
