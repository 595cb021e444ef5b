//! Runs the commit protocol against a model of a store in which everything fails that can: random, but
//! by a seed, so that a failure is repeated by its number. After every event the model is compared
//! with what the guarantee promises.
//!
//! | variable | meaning |
//! |---|---|
//! | `TRANSLOAD_SIMULATOR_SEEDS` | how many seeds each kind of store gets |
//! | `TRANSLOAD_SIMULATOR_SEED` | only this one; its events are printed |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may fail loudly

mod process;
mod store;
mod world;

use store::Kind;
use world::{Mutation, World};

/// Seeds of each kind by default.
const SEEDS: u64 = 2_000;
/// Within this number of seeds a defect must be noticed.
const UNTIL_NOTICED: u64 = 500;

/// A sequence of pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Whether something happens that happens once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs many seeds, or the one that a variable names.
fn holds(kind: Kind) {
    if let Some(seed) = variable("TRANSLOAD_SIMULATOR_SEED") {
        let mut world = World::new(seed, kind, None);
        world.prints = true;
        world.run().unwrap_or_else(|broken| panic!("{kind:?}: {broken}"));
        return;
    }
    let seeds = variable("TRANSLOAD_SIMULATOR_SEEDS").unwrap_or(SEEDS);
    let (mut faults, mut attempts) = (0, 0);
    for seed in 0..seeds {
        let mut world = World::new(seed, kind, None);
        if let Err(broken) = world.run() {
            panic!(
                "{kind:?}: {broken}; TRANSLOAD_SIMULATOR_SEED={seed} cargo test -p transload \
                 simulator repeats it"
            );
        }
        faults += world.faults;
        attempts += world.attempts;
    }
    println!("{kind:?}: {seeds} seeds, {attempts} attempts, {faults} faults");
    assert!(faults > seeds, "{kind:?}: too few faults: {faults}");
    assert!(attempts > seeds, "{kind:?}: no run was resumed");
}

/// A defect is noticed: the seed at which it is, and by which rule.
fn noticed(kind: Kind, mutation: Mutation) -> (u64, String) {
    let broken = |seed| {
        let broken = World::new(seed, kind, Some(mutation)).run().err()?;
        // The same seed fails in the same way.
        assert_eq!(World::new(seed, kind, Some(mutation)).run().err(), Some(broken.clone()));
        Some((seed, broken))
    };
    (0..UNTIL_NOTICED)
        .find_map(broken)
        .unwrap_or_else(|| panic!("{mutation:?} passes {UNTIL_NOTICED} seeds of {kind:?}"))
}

#[test]
fn rows_with_tokens_are_in_once_at_every_moment() {
    holds(Kind::Token);
}

#[test]
fn staged_rows_are_published_together_and_once() {
    holds(Kind::Staged);
}

#[test]
fn keyed_rows_converge() {
    holds(Kind::Keyed);
}

#[test]
fn appended_rows_are_never_lost_and_once_in_a_run_that_nobody_resumed() {
    holds(Kind::Append);
}

#[test]
fn a_store_without_a_fence_is_noticed() {
    let (_, rule) = noticed(Kind::Token, Mutation::NoFence);
    assert!(rule.contains("not the first rows"), "{rule}");
}

#[test]
fn progress_that_only_the_journal_keeps_is_noticed() {
    let (_, rule) = noticed(Kind::Token, Mutation::JournalOnly);
    assert!(rule.contains("not the first rows"), "{rule}");
}

#[test]
fn a_replay_without_asking_for_a_lost_reply_is_noticed() {
    let (_, rule) = noticed(Kind::Token, Mutation::BlindReplay);
    assert!(rule.contains("not the first rows"), "{rule}");
}

#[test]
fn cleaning_up_after_an_unknown_outcome_is_noticed() {
    let (_, rule) = noticed(Kind::Staged, Mutation::CleanUpAfterUnknown);
    assert!(rule.contains("removed after an unknown outcome"), "{rule}");
}

#[test]
fn a_dirty_file_that_is_not_cut_is_noticed() {
    let (_, rule) = noticed(Kind::Token, Mutation::UncutDirtyFile);
    assert!(rule.contains("dirty"), "{rule}");
}

#[test]
fn a_stage_that_is_not_synced_is_noticed() {
    let (_, rule) = noticed(Kind::Staged, Mutation::UnsyncedStage);
    assert!(rule.contains("published"), "{rule}");
}
