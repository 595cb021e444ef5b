//! Many small requests to a store, some at a time: each of them costs a way there and back, and a
//! commit has one or two for every object.

use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use parking_lot::Mutex;
use transload_plugin_api::{Error, Result};

/// Requests that are under way at once. Stores that are asked for more begin to slow down.
pub(crate) const ABREAST: usize = 8;

/// Works on the items, `abreast` at a time, and begins none after `goes_on` has said no; those
/// under way come to their end. Results are in the items' order, `None` for what was not begun:
/// items are begun in order too.
pub(super) fn run_concurrently<T: Sync, R: Send>(
    items: &[T],
    abreast: usize,
    goes_on: impl Fn(&R) -> bool + Sync,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let results: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let (next, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let lane = || {
        while !ended.load(Ordering::Acquire) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = work(item);
            if !goes_on(&result) {
                ended.store(true, Ordering::Release);
            }
            results.lock()[index] = Some(result);
        }
    };
    thread::scope(|scope| {
        let more = (1..abreast.min(items.len())).map_while(|_| {
            // Without threads it goes one by one.
            thread::Builder::new().name("objects".to_owned()).spawn_scoped(scope, lane).ok()
        });
        let more: Vec<_> = more.collect();
        lane();
        for lane in more {
            lane.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
    results.into_inner()
}

/// As [`run_concurrently`], [`ABREAST`] at a time and up to the first error.
///
/// # Errors
/// That of the first item that has one, with what others said.
pub(super) fn try_concurrently<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (mut done, mut errors) = (Vec::with_capacity(items.len()), Vec::new());
    for result in run_concurrently(items, ABREAST, Result::is_ok, work).into_iter().flatten() {
        match result {
            Ok(result) => done.push(result),
            Err(error) => errors.push(error),
        }
    }
    joined(errors).map_or(Ok(done), Err)
}

/// The first of several errors, with the messages of the others.
pub(super) fn joined(errors: Vec<Error>) -> Option<Error> {
    let mut errors = errors.into_iter();
    let mut first = errors.next()?;
    let others: Vec<_> = errors.map(|error| error.to_string()).collect();
    if !others.is_empty() {
        let word = if others.len() == 1 { "another one" } else { "others" };
        let text = others.join("; ");
        first.message = format!("{}, and {word}: {text}", first.message);
    }
    Some(first)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn all_is_done_in_order_and_not_more_than_some_at_a_time() {
        for count in [0, 1, 3, 100] {
            let items: Vec<usize> = (0..count).collect();
            let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let results = try_concurrently(&items, |item| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(item * 2)
            });
            let expected: Vec<_> = items.iter().map(|item| item * 2).collect();
            assert_eq!(results.unwrap(), expected);
            assert!(most.into_inner() <= ABREAST.min(count));
        }
    }

    #[test]
    fn nothing_begins_after_an_error_and_all_errors_are_told() {
        let items: Vec<usize> = (0..1000).collect();
        // All of the first lanes are under way when the first of them fails.
        let all = std::sync::Barrier::new(ABREAST);
        let begun = AtomicUsize::new(0);
        let outcome = try_concurrently(&items, |item| {
            begun.fetch_add(1, Ordering::SeqCst);
            all.wait();
            match item {
                2 | 5 => Err::<(), _>(Error::other(format!("no {item}"))),
                _ => Err(Error::other("x")),
            }
        });
        let error = outcome.unwrap_err();
        assert_eq!(begun.into_inner(), ABREAST);
        assert!(error.message.starts_with("x, and others: x; no 2; x"), "{error}");
        assert!(error.message.contains("no 5"), "{error}");
    }
}
