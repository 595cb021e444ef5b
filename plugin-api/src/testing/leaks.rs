//! The requirement that readers, writers and their tasks close what they have opened. It counts files
//! and threads of the whole process, so it is not part of [`super::all`]: nothing else may run beside
//! it, as in `transload plugin test`.

use std::{fs, thread, time::Duration};

use super::{Subject, expect, host, samples, writer_suite::WriterSuite};
use crate::{Plugin, SplitRequest};

/// How often readers and writers are made before the first count, and after it.
const WARM: usize = 3;
const MORE: usize = 20;

/// Nothing stays open of readers and writers that are dropped in the midst of their work.
///
/// # Panics
/// If files or threads stay.
pub fn all(plugin: &dyn Plugin, subject: &dyn Subject) {
    let descriptor = plugin.descriptor();
    if descriptor.reader.is_some() {
        let source = subject.source(100);
        stays("readers and read tasks", || {
            let reader = plugin.reader(source.options.clone(), host(subject));
            let reader = expect(reader, "a reader");
            let columns = expect(reader.schema(), "`schema`").columns;
            let columns = expect(reader.produces(&columns), "`produces`");
            let request = SplitRequest::new(1, columns.clone());
            for split in expect(reader.splits(&request), "`splits`") {
                let mut task = expect(reader.open(&split, &columns, None), "`open`");
                expect(task.next_batch(), "`next_batch`");
            }
        });
    }
    if let Some(declared) = descriptor.writer {
        let suite = WriterSuite { plugin, subject, declared };
        let target = suite.target(suite.first_mode());
        stays("writers and write tasks", || {
            let run = suite.run(&*target, suite.first_mode());
            run.prepare();
            let mut task = run.task(0);
            task.begin();
            task.write(&samples::keyed(1..=3, 1));
            drop(task);
            expect(run.writer.abort(&run.plan, &[]), "`abort`");
        });
    }
}

/// Runs something often; in the end there are as many files and threads as in the beginning.
fn stays(what: &str, mut run: impl FnMut()) {
    (0..WARM).for_each(|_| run());
    let before = open();
    (0..MORE).for_each(|_| run());
    // Threads may end a moment after what they belong to.
    let mut after = open();
    for _ in 0..20 {
        if after.0 <= before.0 && after.1 <= before.1 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
        after = open();
    }
    for (kind, before, after) in [("files", before.0, after.0), ("threads", before.1, after.1)] {
        assert!(
            after < before + MORE / 2,
            "{kind} stay open: {before} before {MORE} {what} were dropped, {after} after it"
        );
    }
}

/// How many files and threads the process has; zero where that is not known.
fn open() -> (usize, usize) {
    let count = |folder: &str| fs::read_dir(folder).map_or(0, Iterator::count);
    (count("/proc/self/fd"), count("/proc/self/task"))
}
