//! The requirements on every writer: values that stay unchanged, chunks that are written completely
//! or not at all, a commit that can be repeated, an abort that leaves nothing, and dirty rows that
//! are named exactly. What write modes do with keys is in `modes`, what commit tokens promise in `tokens`.

use std::collections::HashSet;

use arrow_array::RecordBatch;

use super::{
    Case, Cases, DirtyBatch, Rows, Subject, Tally, Target, cell, connecting, expect, host, keys,
    modes, narrowing, reader, refused, required,
    run::{Run, plan},
    samples, stopping, tokens,
    writer_suite::{WriterSuite, key, keyed_plan},
};
use crate::{
    ChunkOutcome, Column, ConflictEffect, Counters, ErrorKind, KeyNeed, LogicalType, Plugin,
    Receipt, SplitRequest, WriteMode, WriteModeSpec, WritePlan, code, columns_of,
};

/// All requirements on the writer; none if the plugin declares no writer.
///
/// # Panics
/// At the first requirement that is not met.
pub fn all(plugin: &dyn Plugin, subject: &dyn Subject) {
    cases(plugin, subject).iter().for_each(Case::run);
}

/// The cases of [`all`], in order.
pub fn cases<'a>(plugin: &'a dyn Plugin, subject: &'a dyn Subject) -> Vec<Case<'a>> {
    let Some(declared) = plugin.descriptor().writer else { return Vec::new() };
    let families = declared.types.iter().map(|support| support.logical.clone());
    let families: Vec<_> = families.collect();
    let modes = declared.modes.clone();
    let mut cases = Cases::new("writer", WriterSuite { plugin, subject, declared });
    cases.add("wrong options", WriterSuite::required_options);
    cases.add("check, inspect and discover", WriterSuite::check_inspect_and_discover);
    cases.add("check without a job", |suite| {
        connecting::writer_alone(plugin, &*suite.target(suite.first_mode()), subject);
    });
    cases.add("check of what is not there", |_| connecting::writer_finds(plugin, subject));
    cases.add("secrets", |suite| {
        let spec = suite.first_mode();
        connecting::discreet_writer(plugin, &*suite.target(spec), spec.mode);
    });
    cases.add("stop of a silent server", |_| stopping::silent_target(plugin, subject));
    cases.add("plans that are refused", WriterSuite::refused_drafts);
    for family in families {
        cases.add(format!("type {family}"), move |suite| suite.types(&family));
    }
    cases.add("narrower types", narrowing::all);
    cases.add("dirty rows", WriterSuite::dirty_batches);
    for spec in modes {
        mode_cases(&mut cases, &spec);
    }
    cases.all
}

/// The cases of one write mode.
fn mode_cases<'a>(cases: &mut Cases<'a, WriterSuite<'a>>, spec: &WriteModeSpec) {
    type Check<'a> = fn(&WriterSuite<'a>, &WriteModeSpec);
    let checks: [(&str, Check<'a>); 13] = [
        ("no rows", WriterSuite::no_rows),
        ("two tasks", WriterSuite::two_tasks),
        ("counts", WriterSuite::counts),
        ("a large batch", WriterSuite::large_batch),
        ("rollback", WriterSuite::rollback),
        ("given up", WriterSuite::given_up),
        ("committed again", WriterSuite::commit_again),
        ("foreign receipts", WriterSuite::foreign_receipts),
        ("conflicts", |suite, spec| modes::all(suite, spec)),
        ("keys", |suite, spec| keys::all(suite, spec)),
        ("stop", |suite, spec| stopping::writing(suite, spec)),
        ("stop before `finalise`", |suite, spec| stopping::finalising(suite, spec)),
        ("commit tokens", |suite, spec| tokens::all(suite, spec)),
    ];
    for (name, check) in checks {
        let spec = spec.clone();
        let name = format!("{}: {name}", spec.mode.word());
        cases.add(name, move |suite| check(suite, &spec));
    }
}

/// More rows of three values than 65,535 parameters of a statement.
const LARGE: i64 = 25_000;

impl WriterSuite<'_> {
    /// Without a required option, `inspect` or the making of the writer is refused.
    fn required_options(&self) {
        let descriptor = self.plugin.descriptor();
        let specs = descriptor.options.iter().chain(&self.declared.options);
        let target = self.target(self.first_mode());
        let options = target.writer_options(self.first_mode().mode);
        required::options(self.subject, specs, &options, |options, host| {
            self.plugin.writer(options, host)?.inspect().map(drop)
        });
    }

    /// A check of an existing target passes; `inspect` reports its name, columns and key; none of
    /// them writes anything.
    fn check_inspect_and_discover(&self) {
        let spec = self.first_mode();
        let target = self.target(spec);
        let writer = self.writer(&*target, spec.mode);
        for finding in expect(writer.check(), "`check` of a target that is there") {
            assert!(finding.ok, "`check` of a target that is there: {finding:?}");
        }
        match writer.discover() {
            Ok(tables) => {
                assert!(tables.iter().all(|table| !table.name.is_empty()), "a table has no name");
            }
            error => drop(refused(error, &[ErrorKind::Unsupported], "`discover`")),
        }
        let info = expect(writer.inspect(), "`inspect`");
        assert!(!info.name.is_empty(), "the target has no name");
        if info.columns.is_empty() {
            return; // it takes any
        }
        let kinds = |columns: &[Column]| {
            columns.iter().map(|it| (it.name.clone(), it.logical.clone())).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&info.columns), kinds(&samples::keyed_columns()), "`inspect`'s columns");
        let key = key(spec);
        let known = info.keys.iter().any(|it| it.columns == key) || self.declared.job_names_key;
        assert!(key.is_empty() || known, "`inspect` does not report the key {key:?}: {info:?}");
        target.assert_holds(&[], "looking at the target");
    }

    /// Plans that are impossible are refused by `draft`: undeclared modes, modes without their key.
    fn refused_drafts(&self) {
        let all = [
            WriteMode::Insert,
            WriteMode::Ignore,
            WriteMode::Upsert,
            WriteMode::Replace,
            WriteMode::Overwrite,
        ];
        let kinds = [ErrorKind::Unsupported, ErrorKind::Schema, ErrorKind::Options];
        for mode in all {
            let spec = self.declared.modes.iter().find(|spec| spec.mode == mode);
            let target = self.target(spec.unwrap_or(self.first_mode()));
            let refuse = |plan: WritePlan, what: &str| {
                let what = format!("mode `{}` {what}", mode.word());
                let run = Run::draft(self.plugin, self.subject, &*target, plan);
                refused(run.map(drop), &kinds, &what);
            };
            match spec {
                None => refuse(keyed_plan(mode), "that is not declared"),
                Some(spec) if spec.needs != KeyNeed::Nothing => {
                    refuse(WritePlan { key: Vec::new(), ..keyed_plan(mode) }, "without a key");
                    let key = vec!["no such column".to_owned()];
                    refuse(WritePlan { key, ..keyed_plan(mode) }, "with a key that is not there");
                }
                Some(_) => {}
            }
        }
    }

    /// Every declared type of a family is written with its edge values and read back unchanged.
    fn types(&self, family: &str) {
        for logical in self.subject.types(family) {
            self.round_trip(&logical);
        }
    }

    /// One type: the values that the store cannot hold are the dirty rows, all others are in the
    /// target.
    fn round_trip(&self, logical: &LogicalType) {
        let batch = samples::edge_batch(std::slice::from_ref(logical));
        let columns = expect(columns_of(&batch.schema()), "the columns of edge values");
        let spec = self.first_mode();
        let target = self.subject.target(&columns, &key(spec));
        let run = self.draft(&*target, plan(spec.mode, &columns, &key(spec)));
        let drafted = &run.plan.columns[1].logical;
        assert_eq!(drafted, logical, "`draft` takes another type than the declared one");

        let (_, written) = run.complete(&[std::slice::from_ref(&batch)]);
        let dirty: Vec<_> = written[0].dirty.iter().map(|row| row.row as usize).collect();
        let knows = self.subject.knows_values();
        let taken = |row: &usize| match knows {
            true => self.subject.takes(logical, &cell(batch.column(1), *row)),
            false => !dirty.contains(row),
        };
        let (clean, refused): (Vec<_>, Vec<_>) = (0..batch.num_rows()).partition(taken);
        let values =
            |rows: &[usize]| rows.iter().map(|row| cell(batch.column(1), *row)).collect::<Vec<_>>();
        assert_eq!(values(&dirty), values(&refused), "dirty values of `{logical}`");
        if !knows && !dirty.is_empty() {
            assert!(
                !clean.is_empty(),
                "every value of `{logical}` is dirty: {:?}",
                written[0].dirty
            );
            let values = values(&dirty).join(", ");
            self.subject.note(format!("{logical}: the store refuses {values}"));
        }
        let clean: Vec<_> = clean.iter().map(|row| batch.slice(*row, 1)).collect();
        let when = format!("a round trip of `{logical}`");
        target.assert_holds(&clean, &when);
        if self.subject.reads_back(logical) {
            self.read_back(&*target, &columns, &clean, &when);
        }
    }

    /// The plugin's own reader returns what has been written, types included.
    fn read_back(
        &self,
        target: &dyn Target,
        columns: &[Column],
        expected: &[RecordBatch],
        when: &str,
    ) {
        let Some(options) = target.reader_options() else { return };
        let made = self.plugin.reader(options, host(self.subject));
        let made = expect(made, "a reader of what was written");
        let columns = expect(made.produces(columns), "`produces`");
        let request = SplitRequest::new(2, columns.clone());
        let splits = expect(made.splits(&request), "`splits`");
        let rows = reader::read_together(&*made, &splits, &columns);
        Rows::of(expected).assert_same(&rows, &format!("{when}, read back"));
    }

    /// Rows that the store refuses are returned by their index, and all others are in the target.
    fn dirty_batches(&self) {
        for DirtyBatch { columns, key, batch, dirty } in self.subject.dirty_batches() {
            let mode = self.first_mode().mode;
            let target = self.subject.target(&columns, &key);
            let batch_columns = expect(columns_of(&batch.schema()), "the batch's columns");
            let mut plan = plan(mode, &batch_columns, &key);
            plan.update_columns = Vec::new();
            let (_, written) = self.draft(&*target, plan).complete(&[std::slice::from_ref(&batch)]);
            let found: Vec<_> = written[0].dirty.iter().map(|row| row.row).collect();
            assert_eq!(found, dirty, "dirty rows of the subject's batch");
            let refused: HashSet<_> = dirty.into_iter().collect();
            let clean = (0..batch.num_rows()).filter(|row| !refused.contains(&(*row as u64)));
            let clean: Vec<_> = clean.map(|row| batch.slice(row, 1)).collect();
            target.assert_holds(&clean, "beside the subject's dirty rows");
        }
    }

    /// Nothing written: a batch of no rows, a chunk of no batches, a task of no chunks.
    fn no_rows(&self, spec: &WriteModeSpec) {
        let when = format!("mode `{}` without rows", spec.mode.word());
        let empty = samples::keyed([], 1);
        let chunks: [&[&[RecordBatch]]; 3] = [&[&[empty]], &[&[]], &[]];
        for chunks in chunks {
            let target = self.target(spec);
            let (total, _) = self.run(&*target, spec).complete(chunks);
            assert_eq!(total, Counters::default(), "{when}");
            target.assert_holds(&[], &when);
        }
    }

    /// Two tasks at once, two chunks each, after two calls of `prepare`.
    fn two_tasks(&self, spec: &WriteModeSpec) {
        let target = self.target(spec);
        let mut run = self.run(&*target, spec);
        run.plan.tasks = 2;
        run.prepare();
        run.prepare(); // again, which changes nothing
        let [first, second, third, fourth] =
            [1..=3, 4..=6, 7..=9, 10..=12].map(|keys| samples::keyed(keys, 1));
        let (mut one, mut two) = (run.task(0), run.task(1));
        for (batch, other) in [(&first, &second), (&third, &fourth)] {
            for (task, batch) in [(&mut one, batch), (&mut two, other)] {
                task.begin();
                task.write(batch);
                let written = task.commit();
                assert_eq!(written[0].inserted, 3, "new rows are inserted: {written:?}");
            }
        }
        run.commit(&[one.finish(), two.finish()]);
        let when = format!("two tasks in mode `{}`", spec.mode.word());
        target.assert_holds(&[first, second, third, fourth], &when);
    }

    /// A batch of more rows than a request of many stores can have values, in the first mode and where
    /// rows are updated.
    fn large_batch(&self, spec: &WriteModeSpec) {
        if spec != self.first_mode() && spec.conflict != ConflictEffect::Update {
            return;
        }
        let target = self.target(spec);
        let rows = samples::keyed(1..=LARGE, 1);
        let (total, _) = self.run(&*target, spec).complete(&[std::slice::from_ref(&rows)]);
        let when = format!("a batch of {LARGE} rows in mode `{}`", spec.mode.word());
        assert_eq!(total.inserted, LARGE as u64, "{when}: rows inserted");
        target.assert_holds(&[rows], &when);
    }

    /// Receipts that are not the writer's are refused or without effect, and no panic.
    fn foreign_receipts(&self, spec: &WriteModeSpec) {
        let target = self.target(spec);
        let run = self.run(&*target, spec);
        run.prepare();
        let foreign = [Receipt { task: 7, data: "\u{1}nonsense".to_owned() }];
        let when = format!("a foreign receipt in mode `{}`", spec.mode.word());
        for outcome in [
            run.writer.commit(&run.plan, &foreign).map(drop),
            run.writer.abort(&run.plan, &foreign),
        ] {
            if let Err(error) = outcome {
                assert_ne!(error.code, code::PLUGIN_PANIC, "{when}: {error:?}");
            }
        }
        target.assert_holds(&[], &when);
    }

    /// Counts have valid names and never decrease.
    fn counts(&self, spec: &WriteModeSpec) {
        let target = self.target(spec);
        let run = self.run(&*target, spec);
        let mut counts = Tally::of(run.writer.counts());
        run.complete(&[&[samples::keyed(1..=4, 1)]]);
        counts.goes_on(run.writer.counts());
    }

    /// A chunk that was rolled back leaves nothing and can be replayed.
    fn rollback(&self, spec: &WriteModeSpec) {
        let target = self.target(spec);
        let run = self.run(&*target, spec);
        run.prepare();
        let mut task = run.task(0);
        let (first, second) = (samples::keyed(1..=4, 1), samples::keyed(5..=9, 1));
        task.begin();
        task.write(&first);
        task.commit();
        expect(task.task.rollback_chunk(), "`rollback_chunk` without a chunk");
        for _ in 0..2 {
            task.begin();
            task.write(&second.slice(0, 2));
            task.write(&second.slice(2, 3));
            expect(task.task.rollback_chunk(), "`rollback_chunk`");
        }
        task.begin();
        task.write(&second);
        let written = task.commit();
        assert_eq!(written[0].inserted, 5, "rows of a replayed chunk are new: {written:?}");
        run.commit(&[task.finish()]);
        let when = format!("a chunk rolled back and replayed in mode `{}`", spec.mode.word());
        target.assert_holds(&[first, second], &when);
    }

    /// A chunk that is not committed leaves nothing, whether its task is dropped, aborted, or rolled
    /// back and aborted; and the next run works.
    fn given_up(&self, spec: &WriteModeSpec) {
        for end in ["drop", "abort", "rollback and abort"] {
            let target = self.target(spec);
            let before = target.leftovers();
            let run = self.run(&*target, spec);
            run.prepare();
            let mut task = run.task(0);
            task.begin();
            task.write(&samples::keyed(1..=5, 1));
            match end {
                "drop" => drop(task),
                "abort" => expect(task.task.abort(), "`abort` of a task"),
                _ => {
                    expect(task.task.rollback_chunk(), "`rollback_chunk`");
                    expect(task.task.abort(), "`abort` of a task");
                }
            }
            expect(run.writer.abort(&run.plan, &[]), "`abort` of the job");
            expect(run.writer.abort(&run.plan, &[]), "`abort` of the job, again");
            let when = format!("a task given up by {end} in mode `{}`", spec.mode.word());
            target.assert_holds(&[], &when);
            assert_eq!(target.leftovers(), before, "{when}: left over");
            // The target is usable.
            let rows = samples::keyed(1..=2, 1);
            self.run(&*target, spec).complete(&[std::slice::from_ref(&rows)]);
            target.assert_holds(&[rows], &format!("the run after {when}"));
        }
    }

    /// After a commit, a second commit, `finalise` and `abort` change nothing.
    fn commit_again(&self, spec: &WriteModeSpec) {
        let target = self.target(spec);
        let run = self.run(&*target, spec);
        run.prepare();
        let mut task = run.task(0);
        let rows = samples::keyed(1..=5, 1);
        task.begin();
        task.write(&rows);
        task.commit();
        let receipts = [task.finish()];
        let first = expect(run.writer.commit(&run.plan, &receipts), "`commit` of the job");
        assert_eq!(first, ChunkOutcome::Committed, "`commit` of the job");
        let second = expect(run.writer.commit(&run.plan, &receipts), "`commit` of the job, again");
        assert_eq!(second, ChunkOutcome::AlreadyCommitted, "`commit` of the job, again");
        expect(run.writer.finalise(&run.plan), "`finalise`");
        expect(run.writer.finalise(&run.plan), "`finalise`, again");
        expect(run.writer.abort(&run.plan, &receipts), "`abort` after the commit");
        let when = format!("a commit in mode `{}` and what came after", spec.mode.word());
        target.assert_holds(&[rows], &when);
    }
}
