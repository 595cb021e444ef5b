//! The commit, interrupted after any step and repeated by another process.

use serde_json::{Value, json};
use transload_plugin_api::{
    ChunkOutcome, ErrorKind, Plugin, Receipt, TaskContext, WriteMode, WritePlan, Writer,
};
use transload_tests_buckets::{Bucket, Kind};

use crate::host::{chunk, ids, plan, rows, two_columns, write, write_task, writer};

fn out(more: Value) -> Value {
    let mut options = json!({"path": "out/", "format": "csv"});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

/// A run of three tasks, up to its commit.
fn finished(
    bucket: &Bucket,
    options: &Value,
    run: &str,
    mode: WriteMode,
) -> (WritePlan, Vec<Receipt>) {
    let plan = WritePlan { tasks: 3, ..plan(run, &two_columns(), mode) };
    let writer = writer(bucket, options.clone());
    writer.prepare(&plan).unwrap();
    let task = |task: u32| {
        let rows = rows(i64::from(task) * 10..i64::from(task) * 10 + 2);
        write_task(&*writer, &plan, task, &[rows]).unwrap().0
    };
    let receipts = (0..3).map(task).collect();
    (plan, receipts)
}

const ROWS: [i64; 6] = [0, 1, 10, 11, 20, 21];

#[test]
fn a_commit_can_be_repeated_by_another_process_after_any_step() {
    // The steps of a killed commit: some objects, all objects, the manifest, the marker.
    for kind in Kind::ALL {
        for removed in [&["_transload_manifest.json", "_SUCCESS"][..], &["_SUCCESS"], &[]] {
            let bucket = Bucket::new(kind);
            let (plan, receipts) = finished(&bucket, &out(json!({})), "r-1", WriteMode::Insert);
            let first = writer(&bucket, out(json!({})));
            assert_eq!(first.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
            removed.iter().for_each(|name| bucket.remove(&format!("out/{name}")));
            let second = writer(&bucket, out(json!({})));
            let outcome = second.commit(&plan, &receipts).unwrap();
            let expected = if removed.len() == 2 {
                ChunkOutcome::Committed
            } else {
                ChunkOutcome::AlreadyCommitted
            };
            assert_eq!(outcome, expected, "{kind:?} {removed:?}");
            second.finalise(&plan).unwrap();
            assert_eq!(ids(&bucket), ROWS);
            let expected = ["out/_SUCCESS", "out/_transload_manifest.json"];
            assert_eq!(bucket.names()[..2], expected, "{kind:?}");
            assert_eq!((bucket.names().len(), bucket.uploads()), (5, 0));
            // Much later, another process repeats the commit.
            let third = writer(&bucket, out(json!({})));
            assert_eq!(third.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
        }
    }
}

#[test]
fn a_commit_goes_on_between_two_objects() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let (plan, receipts) = finished(&bucket, &out(json!({})), "r-1", WriteMode::Insert);
        // Killed between the second and the third object: the third cannot be completed.
        let cut = writer(&bucket, out(json!({})));
        let list = format!("out/_transload/{}/t00002.done", plan.run);
        let kept = bucket.text(&list);
        bucket.remove(&list);
        let error = cut.commit(&plan, &receipts).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Data, "{error}");
        assert_eq!(bucket.data(), Vec::<String>::new(), "t10: without a part nothing is published");
        bucket.put(&list, kept.replace("\"rows\":2", "\"rows\":3"));
        assert_eq!(cut.commit(&plan, &receipts).unwrap_err().kind, ErrorKind::Data, "by its hash");
        bucket.put(&list, &kept);
        assert_eq!(cut.commit(&plan, &receipts).unwrap(), ChunkOutcome::Committed);
        cut.finalise(&plan).unwrap();
        assert_eq!(ids(&bucket), ROWS, "{kind:?}");
    }
}

#[test]
fn an_abort_takes_back_what_an_unfinished_commit_has_published() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        bucket.put("out/theirs.csv", "id,name\n99,x\n");
        let options = out(json!({"if_exists": "append"}));
        let (plan, receipts) = finished(&bucket, &options, "r-1", WriteMode::Insert);
        writer(&bucket, options.clone()).commit(&plan, &receipts).unwrap();
        bucket.remove("out/_transload_manifest.json");
        bucket.remove("out/_SUCCESS");
        let other = writer(&bucket, options.clone());
        other.abort(&plan, &receipts).unwrap();
        other.abort(&plan, &[]).unwrap();
        assert_eq!(
            (bucket.names(), bucket.uploads()),
            (vec!["out/theirs.csv".to_owned()], 0),
            "{kind:?}"
        );
        let error = other.commit(&plan, &receipts).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Defect, "it is over");
    }
}

#[test]
fn an_overwrite_removes_what_a_killed_commit_has_published() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        bucket.put("out/theirs.csv", "id,name\n99,x\n");
        let options = out(json!({"if_exists": "append"}));
        let (plan, receipts) = finished(&bucket, &options, "r-1", WriteMode::Insert);
        writer(&bucket, options.clone()).commit(&plan, &receipts).unwrap();
        bucket.remove("out/_transload_manifest.json");
        bucket.remove("out/_SUCCESS");
        let overwrite = crate::host::plan("r-2", &two_columns(), WriteMode::Overwrite);
        let other = writer(&bucket, options);
        let draft = other.draft(&overwrite).unwrap();
        let removed = draft.statements.iter().filter(|step| step.destructive).count();
        assert_eq!(removed, 3, "{kind:?} {draft:?}");
        other.prepare(&overwrite).unwrap();
        let receipt = write_task(&*other, &overwrite, 0, &[rows(5..6)]).unwrap().0;
        assert_eq!(other.commit(&overwrite, &[receipt]).unwrap(), ChunkOutcome::Committed);
        other.finalise(&overwrite).unwrap();
        assert_eq!(ids(&bucket), [5, 99], "{kind:?}");
        // The killed run is too late now; on a disk its process is known to be gone, so that it was
        // removed at once.
        let error = other.commit(&plan, &receipts).unwrap_err();
        match kind {
            Kind::Folder => assert_eq!(error.kind, ErrorKind::Defect, "{error}"),
            _ => assert_eq!(error.code, "FILE-CHANGED", "{kind:?}"),
        }
    }
}

#[test]
fn an_overwrite_that_was_cut_off_removes_the_old_objects_later() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let old = plan("r-0", &two_columns(), WriteMode::Insert);
        write(&bucket, out(json!({})), &old, &[vec![rows(50..52)]]).unwrap();
        let kept = bucket.text("out/part-r-0-00000-00000.csv");
        let (plan, receipts) = finished(&bucket, &out(json!({})), "r-1", WriteMode::Overwrite);
        writer(&bucket, out(json!({}))).commit(&plan, &receipts).unwrap();
        // As if it had been killed between the manifest and the removal.
        bucket.put("out/part-r-0-00000-00000.csv", &kept);
        let second = writer(&bucket, out(json!({})));
        assert_eq!(second.commit(&plan, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
        second.finalise(&plan).unwrap();
        second.abort(&plan, &receipts).unwrap();
        assert_eq!(ids(&bucket), ROWS, "{kind:?}");
    }
}

#[test]
fn one_object_is_committed_again_by_anybody() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let options = json!({"path": "x.csv"});
        let insert = plan("r-1", &two_columns(), WriteMode::Insert);
        let first = writer(&bucket, options.clone());
        first.prepare(&insert).unwrap();
        let receipts = [write_task(&*first, &insert, 0, &[rows(0..2)]).unwrap().0];
        assert_eq!(first.commit(&insert, &receipts).unwrap(), ChunkOutcome::Committed);
        let second = writer(&bucket, options.clone());
        assert_eq!(second.commit(&insert, &receipts).unwrap(), ChunkOutcome::AlreadyCommitted);
        second.abort(&insert, &receipts).unwrap();
        assert_eq!(ids(&bucket), [0, 1], "an abort after the commit keeps it");
        // The object's metadata or the file's attributes prove it, once the staging folder is gone.
        let third = writer(&bucket, options);
        let outcome = third.commit(&insert, &receipts).unwrap();
        assert_eq!(outcome, ChunkOutcome::AlreadyCommitted, "{kind:?}");
    }
}

#[test]
fn what_somebody_else_put_there_during_the_run_stays() {
    for kind in Kind::ALL {
        for mode in [WriteMode::Insert, WriteMode::Overwrite] {
            let bucket = Bucket::new(kind);
            if mode == WriteMode::Overwrite {
                bucket.put("x.csv", "id,name\n");
            }
            let plan = plan("r-1", &two_columns(), mode);
            let writer = writer(&bucket, json!({"path": "x.csv"}));
            writer.prepare(&plan).unwrap();
            let receipt = write_task(&*writer, &plan, 0, &[rows(0..2)]).unwrap().0;
            bucket.put("x.csv", "id,name\n7,theirs\n");
            let error = writer.commit(&plan, std::slice::from_ref(&receipt)).unwrap_err();
            assert_eq!(error.code, "FILE-CHANGED", "{kind:?} {mode:?}");
            writer.abort(&plan, &[receipt]).unwrap();
            assert_eq!((bucket.names(), bucket.uploads()), (vec!["x.csv".to_owned()], 0));
            assert_eq!(bucket.text("x.csv"), "id,name\n7,theirs\n");
        }
    }
}

#[test]
fn a_second_attempt_at_a_task_is_the_one_that_counts() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let plan = plan("r-1", &two_columns(), WriteMode::Insert);
        let writer = writer(&bucket, out(json!({})));
        writer.prepare(&plan).unwrap();
        let mut first = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
        chunk(&mut *first, &rows(100..110));
        let mut second = writer.open(&plan, &TaskContext { task: 0, epoch: 1 }).unwrap();
        chunk(&mut *second, &rows(0..3));
        let receipt = second.finish().unwrap();
        drop(first);
        writer.commit(&plan, &[receipt]).unwrap();
        writer.finalise(&plan).unwrap();
        assert_eq!((ids(&bucket), bucket.data().len()), (vec![0, 1, 2], 1), "{kind:?}");
        if kind != Kind::Azure {
            assert_eq!(bucket.uploads(), 0, "the first attempt's upload is gone too");
        }
    }
}

#[test]
fn leftovers_of_another_prefix_are_not_touched() {
    let bucket = Bucket::new(Kind::S3);
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let other: Box<dyn Writer> = transload_plugin_object_store::ObjectStorePlugin
        .writer(bucket.options(json!({"path": "other/", "format": "csv"})), bucket.host())
        .unwrap();
    other.prepare(&plan).unwrap();
    let receipt = write_task(&*other, &plan, 0, &[rows(0..2)]).unwrap().0;
    writer(&bucket, out(json!({}))).abort(&plan, &[]).unwrap();
    assert_eq!(bucket.uploads(), 1);
    assert_eq!(other.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
}

#[test]
fn of_two_runs_the_later_one_names_the_other_and_leaves_nothing() {
    for kind in Kind::ALL {
        let bucket = Bucket::new(kind);
        let options = out(json!({"if_exists": "append"}));
        let (first, first_receipts) = finished(&bucket, &options, "r-1", WriteMode::Insert);
        let kept = writer(&bucket, options.clone());
        kept.prepare(&first).unwrap();
        let (second, second_receipts) = finished(&bucket, &options, "r-2", WriteMode::Insert);
        writer(&bucket, options.clone()).commit(&second, &second_receipts).unwrap();
        let error = kept.commit(&first, &first_receipts).unwrap_err();
        assert_eq!(error.code, "FILE-CHANGED", "{kind:?}");
        assert!(error.message.contains("run `r-2`"), "{kind:?}: {error}");
        assert!(error.hint.unwrap().contains("append"), "{kind:?}");
        kept.abort(&first, &first_receipts).unwrap();
        assert!(bucket.data().iter().all(|name| name.contains("r-2")), "{kind:?}");
        assert_eq!(ids(&bucket), ROWS, "{kind:?}");
    }
}
