//! The ring under loom: every interleaving of its two sides, within a bound, on small rings.
//!
//! The ring's own file is compiled here with `cfg(loom)`, which `build.rs` sets only for this
//! crate, so that the models run together with all other tests and nothing else is built twice.

#![cfg(test)]

#[path = "../../../host/src/engine/ring.rs"]
#[allow(dead_code, unreachable_pub)]
// the models use a part of the ring, which is public in the host
mod ring;

use loom::{
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    thread,
};

use crate::ring::{Received, RingLimits, ring};

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn items_pass_a_full_ring_and_end() {
    model(|| {
        let (mut sender, mut receiver, _gauge) = ring(RingLimits { slots: 1, bytes: 100 });
        let reader = thread::spawn(move || {
            sender.send(1, 10).unwrap();
            sender.send(2, 10).unwrap();
            sender.finish();
        });
        let mut seen = Vec::new();
        while seen.len() < 2 {
            match receiver.receive(None) {
                Received::Item(item) => seen.push(*item),
                Received::Starved => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, [1, 2]);
        assert!(matches!(receiver.receive(None), Received::End));
        reader.join().unwrap();
    });
}

#[test]
fn a_held_budget_never_deadlocks() {
    model(|| {
        let (mut sender, mut receiver, _gauge) = ring(RingLimits { slots: 4, bytes: 10 });
        let reader = thread::spawn(move || {
            sender.send(1, 10).unwrap();
            sender.send(2, 10).unwrap();
            sender.finish();
        });
        let (mut seen, mut held) = (0, Vec::new());
        loop {
            match receiver.receive(None) {
                Received::Item(item) => {
                    seen += *item;
                    held.push(item);
                }
                Received::Starved => held.clear(),
                Received::End => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, 3);
        reader.join().unwrap();
    });
}

#[test]
fn poison_reaches_both_sides() {
    model(|| {
        let (mut sender, receiver, _gauge) = ring(RingLimits { slots: 1, bytes: 10 });
        let reader = thread::spawn(move || {
            let _ = sender.send(1, 1);
            let _ = sender.send(2, 1);
            sender.send(3, 1)
        });
        drop(receiver);
        assert_eq!(reader.join().unwrap(), Err(3));
    });
    model(|| {
        let (mut sender, mut receiver, _gauge) = ring(RingLimits { slots: 1, bytes: 10 });
        let reader = thread::spawn(move || {
            sender.send(1, 1).unwrap();
            drop(sender);
        });
        while !matches!(receiver.receive(None), Received::Poisoned) {}
        reader.join().unwrap();
    });
}

/// The receiver may hold what a sender waits for that has not made its next item yet.
#[test]
fn a_sender_that_waits_for_memory_starves_the_receiver() {
    model(|| {
        let (mut sender, mut receiver, _gauge) = ring(RingLimits { slots: 2, bytes: 100 });
        let released = Arc::new(AtomicBool::new(false));
        let seen = released.clone();
        let reader = thread::spawn(move || {
            sender.send(1, 10).unwrap();
            sender.while_starving(|| {
                while !seen.load(Acquire) {
                    thread::yield_now();
                }
            });
            sender.finish();
        });
        let Received::Item(held) = receiver.receive(None) else { panic!("no item") };
        assert!(matches!(receiver.receive(None), Received::Starved));
        drop(held);
        released.store(true, Release);
        assert!(matches!(receiver.receive(None), Received::End));
        reader.join().unwrap();
    });
}
