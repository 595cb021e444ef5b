//! The requirements on writers that keep commit tokens: the store knows how far a task has come, an
//! earlier attempt writes nothing more, and another run is refused. Nothing is asked of a writer
//! without `token_ddl`.

use super::{
    Target, expect, refused,
    run::{Run, TaskRun},
    samples,
    writer_suite::{WriterSuite, key, keyed_plan},
};
use crate::{
    ChunkOutcome, ErrorKind, Guarantee, Position, TokenTables, WriteMode, WriteModeSpec, WritePlan,
};

/// All requirements, for one write mode.
pub(super) fn all(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let target = suite.target(spec);
    let tables = TokenTables { create: true, ..TokenTables::default() };
    match suite.writer(&*target, spec.mode).token_ddl(&tables) {
        Ok(ddl) => assert!(!ddl.is_empty(), "`token_ddl` has no statement"),
        error => return drop(refused(error, &[ErrorKind::Unsupported], "`token_ddl`")),
    }
    let when = format!("mode `{}` with tokens", spec.mode.word());
    let plan = WritePlan { key: key(spec), tokens: Some(tables), ..keyed_plan(spec.mode) };
    let first = suite.draft(&*target, plan);
    let drafted = expect(first.writer.draft(&first.plan), "`draft` with tokens");
    let weaker = [Guarantee::AtLeastOnce, Guarantee::Convergent];
    assert!(!weaker.contains(&drafted.guarantee), "{when}: {drafted:?}");

    let batches: Vec<_> = [1..=3, 4..=7, 8..=9].map(|keys| samples::keyed(keys, 1)).into();
    first.prepare();
    let mut zombie = first.task(0);
    assert_eq!(zombie.total.read, 0, "{when}: a new task has no progress");
    for batch in &batches[..2] {
        zombie.begin();
        zombie.write(batch);
        zombie.commit();
    }
    // The process ends, as it seems.
    let Run { writer, plan } = first;
    drop(writer);
    let plan = WritePlan { is_resumed: true, ..plan };
    let second =
        expect(Run::draft(suite.plugin, suite.subject, &*target, plan), "`draft`, resumed");
    second.prepare();
    let mut task = second.attempt(0, 1);
    let progress = expect(task.task.progress(), "`progress`").unwrap_or_default();
    assert_eq!((progress.chunks, progress.is_finished), (2, false), "{when}: progress");
    assert_eq!(progress.position, Position(b"1".to_vec()), "{when}: progress");
    assert_eq!((progress.counters.read, progress.counters.inserted), (7, 7), "{when}: progress");

    let fenced = refused(zombie.task.begin_chunk(2), &[ErrorKind::Locked], &when);
    assert_eq!(fenced.code, crate::code::RUN_FENCED, "{when}: the first attempt begins a chunk");
    expect(zombie.task.rollback_chunk(), "`rollback_chunk` of a fenced attempt");
    expect(zombie.task.abort(), "`abort` of a fenced attempt");

    other_run(suite, &second, &*target, spec, &when);
    task.begin();
    task.write(&batches[2]);
    task.commit();
    let receipt = task.finish();
    let again: TaskRun = second.attempt(0, 2);
    assert_eq!(again.total.read, 9, "{when}: a finished task keeps its progress");
    assert_eq!(again.finish(), receipt, "{when}: a finished task finishes again");
    second.commit(std::slice::from_ref(&receipt));
    let late = expect(second.writer.commit(&second.plan, &[receipt]), "`commit`, again");
    assert_eq!(late, ChunkOutcome::AlreadyCommitted, "{when}: `commit`, again");
    target.assert_holds(&batches, &when);
}

/// Another run is refused as long as the first one has not ended, with tokens or without.
fn other_run(
    suite: &WriterSuite<'_>,
    active: &Run,
    target: &dyn Target,
    spec: &WriteModeSpec,
    when: &str,
) {
    for tokens in [active.plan.tokens.clone(), None] {
        let when =
            format!("{when}, another run {}", if tokens.is_some() { "with" } else { "without" });
        let other =
            suite.draft(target, WritePlan { key: key(spec), tokens, ..keyed_plan(spec.mode) });
        let error = refused(other.writer.prepare(&other.plan), &[ErrorKind::Locked], &when);
        let is_known = error.code == crate::code::RUN_ACTIVE;
        // Without tokens, an `overwrite` may meet the lock of the first run before.
        let meets_lock = other.plan.tokens.is_none() && spec.mode == WriteMode::Overwrite;
        assert!(is_known || meets_lock, "{when}: {error:?}");
        assert!(
            !is_known || error.message.contains(&active.plan.run),
            "{when}: the active run is not named: {error}"
        );
        expect(other.writer.abort(&other.plan, &[]), "`abort` of a refused run");
    }
}
