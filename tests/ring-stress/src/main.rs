//! The ring under load in a separate program, small enough to be built with ThreadSanitizer by
//! `.ci/tsan`. Without the sanitizer, it is a plain stress test.

#[path = "../../../host/src/engine/ring.rs"]
#[allow(dead_code, unreachable_pub)] // only a part of the ring is used here, and it is public there
mod ring;

use std::thread;

use ring::{Received, RingLimits, ring};

const ITEMS: u64 = 20_000;

fn main() {
    for slots in [1, 2, 16] {
        for bytes in [64, 1 << 20] {
            pass(RingLimits { slots, bytes });
        }
    }
}

/// Sends boxed items of changing weight; the receiver holds a few leases at a time.
fn pass(limits: RingLimits) {
    let (mut sender, mut receiver, _gauge) = ring::<Vec<u64>>(limits);
    let sending = thread::spawn(move || {
        for item in 0..ITEMS {
            let weight = (item * 37 % 100) as usize;
            assert!(sender.send(vec![item; 4], weight).is_ok(), "the receiver left early");
        }
        sender.finish();
    });
    let (mut held, mut expected) = (Vec::new(), 0);
    loop {
        match receiver.receive(None) {
            Received::Item(item) => {
                assert_eq!(item[3], expected, "an item came out of order");
                expected += 1;
                held.push(item);
                if held.len() > 3 {
                    held.clear();
                }
            }
            Received::Starved => held.clear(),
            Received::End => break,
            Received::Poisoned | Received::TimedOut => unreachable!("the sender finishes"),
        }
    }
    assert_eq!(expected, ITEMS);
    assert!(sending.join().is_ok());
}
