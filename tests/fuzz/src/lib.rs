//! Runs a parser on mutated inputs. The fuzz targets are unit tests of the crates whose parsers they
//! test, in a file `fuzz.rs`; this crate holds what they share: the mutations, the limits, and the
//! inputs that have failed before.
//!
//! An input fails if the target panics (a violated assertion of the target included), needs more
//! than [`LONGEST`], or if the process has needed more than [`MOST_MEMORY`] after it. A failed input
//! is written to `target/fuzz/NAME/`; copied to `tests/fuzz/inputs/NAME/` it becomes a regression
//! test, which each run starts with.
//!
//! The targets return what they made of an input, such as an error's code and the number of rows.
//! An input with a result that no input had before is mutated further, so that a run goes deeper
//! than mutations of the seeds alone; the compiler's coverage counters would need a second build of
//! all dependencies.
//!
//! Environment: `TRANSLOAD_FUZZ_SECONDS` for each target (default 1; the whole test run sets 20),
//! `TRANSLOAD_FUZZ_SEED` of the random numbers (default 1; any other number gives other inputs).

#![allow(clippy::expect_used, clippy::print_stderr)] // used by tests alone

mod mutate;
mod watch;

use std::{
    collections::HashSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use mutate::Mutator;
use watch::Watch;

/// The longest time that one input may need.
pub const LONGEST: Duration = Duration::from_secs(5);

/// The most memory that the test's process may need, in bytes.
pub const MOST_MEMORY: u64 = 2 << 30;

/// The longest input, in bytes.
const LONGEST_INPUT: usize = 64 << 10;

/// How many inputs are mutated further; the oldest of the found ones make room.
const MOST_INPUTS: usize = 4_096;

/// Runs `target` on the regression inputs of `name`, on `seeds`, and on mutations of them.
///
/// `words` are byte strings that mean something to the parser, to be inserted.
///
/// # Panics
/// If an input fails, naming the file that holds it.
pub fn fuzz<Seed: AsRef<[u8]>, Outcome: Hash>(
    name: &str,
    seeds: impl IntoIterator<Item = Seed>,
    words: &[&str],
    target: impl Fn(&[u8]) -> Outcome,
) {
    let run = Run { name, watch: Watch::start(name), target };
    let mut inputs = regressions(name);
    inputs.extend(seeds.into_iter().map(|seed| seed.as_ref().to_vec()));
    inputs.push(Vec::new());
    let mut outcomes: HashSet<u64> = inputs.iter().map(|input| run.outcome(input)).collect();
    let (kept, end) = (inputs.len(), Instant::now() + seconds());
    let mut mutator = Mutator::new(number("TRANSLOAD_FUZZ_SEED", 1), words, LONGEST_INPUT);
    let mut tried = inputs.len();
    while Instant::now() < end {
        let input = mutator.mutated(&inputs);
        tried += 1;
        if outcomes.insert(run.outcome(&input)) {
            if inputs.len() < MOST_INPUTS.max(kept + 1) {
                inputs.push(input);
            } else {
                let oldest = kept + outcomes.len() % (inputs.len() - kept);
                inputs[oldest] = input;
            }
        }
    }
    eprintln!("fuzz {name}: {tried} inputs, {} outcomes", outcomes.len());
}

struct Run<'a, Target> {
    name: &'a str,
    watch: Watch,
    target: Target,
}

impl<Outcome: Hash, Target: Fn(&[u8]) -> Outcome> Run<'_, Target> {
    fn outcome(&self, input: &[u8]) -> u64 {
        self.watch.begin(input);
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.target)(input)));
        self.watch.end();
        let memory = watch::most_memory();
        match outcome {
            Err(_) => self.fail(input, "the target has panicked (its message is above)"),
            Ok(_) if memory > MOST_MEMORY => {
                self.fail(input, &format!("the process has needed {memory} bytes of memory"))
            }
            Ok(outcome) => {
                let mut hasher = DefaultHasher::new();
                outcome.hash(&mut hasher);
                hasher.finish()
            }
        }
    }

    fn fail(&self, input: &[u8], reason: &str) -> ! {
        panic!("{}: {reason}; input: {}", self.name, keep(self.name, input).display())
    }
}

/// Writes a failed input, and returns its path.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let folder = root().join("target/fuzz").join(name);
    fs::create_dir_all(&folder).expect("a folder for failed inputs");
    let path = folder.join(format!("{:016x}", hasher.finish()));
    fs::write(&path, input).expect("a file for the failed input");
    path
}

/// Inputs that have failed before.
fn regressions(name: &str) -> Vec<Vec<u8>> {
    let Ok(folder) = fs::read_dir(root().join("tests/fuzz/inputs").join(name)) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = folder.map(|entry| entry.expect("an input").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("an input")).collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn seconds() -> Duration {
    Duration::from_secs(number("TRANSLOAD_FUZZ_SECONDS", 1))
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().expect("the variable holds a whole number"))
}
