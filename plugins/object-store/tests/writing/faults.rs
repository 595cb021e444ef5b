//! F35: runs on a store with faults. Whatever happens, rows are written once or not at all, no
//! upload is left, and an unknown outcome is reported and its objects are kept.

use serde_json::{Value, json};
use transload_plugin_api::{
    Cancel, ChunkOutcome, ErrorKind, Guarantee, Host, Plugin, Receipt, TaskContext, WriteMode,
    WritePlan, Writer,
};
use transload_plugin_object_store::ObjectStorePlugin;
use transload_tests_buckets::{Bucket, secrets};
use transload_tests_s3::{Fault, Faults, Rule};

use crate::host::{chunk, ids, plan, rows, two_columns, write_task, writer};

/// A fault that responds with S3's own code for a status.
fn answer(status: u16, code: &str) -> Fault {
    Fault::Answer(status, code.to_owned())
}

/// Few retries at short intervals: the tests are about their outcome.
fn options(more: Value) -> Value {
    let mut options =
        json!({"path": "out/", "format": "csv", "retries": 3, "reconnect_window": 60_000});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

struct Case {
    bucket: Bucket,
    faults: Faults,
    writer: Box<dyn Writer>,
    plan: WritePlan,
    receipts: Vec<Receipt>,
}

/// A run of two tasks, up to its commit.
fn finished(more: Value) -> Case {
    let (bucket, faults) = Bucket::failing();
    let mut plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let writer = writer(&bucket, options(more));
    plan.tasks = 2;
    writer.prepare(&plan).unwrap();
    let task = |task: u32| {
        let rows = rows(i64::from(task) * 10..i64::from(task) * 10 + 2);
        write_task(&*writer, &plan, task, &[rows]).unwrap().0
    };
    let receipts = (0..2).map(task).collect();
    Case { bucket, faults, writer, plan, receipts }
}

impl Case {
    fn commit(&self) -> ChunkOutcome {
        self.writer.commit(&self.plan, &self.receipts).unwrap()
    }

    fn assert_whole(&self, what: &str) {
        self.writer.finalise(&self.plan).unwrap();
        assert_eq!(ids(&self.bucket), [0, 1, 10, 11], "{what}");
        assert_eq!(self.bucket.names().len(), 4, "{what}: {:?}", self.bucket.names());
        assert_eq!(self.bucket.uploads(), 0, "{what}");
    }
}

#[test]
fn f35_a_completion_that_fails_in_passing_is_repeated_or_found_done() {
    for (what, fault) in [
        ("503", Fault::SLOW_DOWN),
        ("500", Fault::INTERNAL),
        ("200 with an error", Fault::ErrorInBody("InternalError".to_owned())),
        ("a timeout", Fault::Hang),
        ("a reset", Fault::Reset),
        ("a lost reply", Fault::LoseReply),
        ("done, and an error", Fault::DoneButError),
        ("half a reply", Fault::CutBody(60)),
        ("a wrong ETag", Fault::WrongEtag),
    ] {
        let more = if fault == Fault::Hang { json!({"request_timeout": 2000}) } else { json!({}) };
        let case = finished(more);
        let armed = case.faults.once("CompleteMultipartUpload", "00001-", fault);
        assert_eq!(case.commit(), ChunkOutcome::Committed, "{what}");
        assert_eq!(armed.hits(), 1, "{what}");
        case.assert_whole(what);
        let manifest = case.bucket.text("out/_transload_manifest.json");
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["files"].as_array().unwrap().len(), 2, "{what}");
    }
}

#[test]
fn f35_parts_and_beginnings_are_repeated() {
    for operation in ["CreateMultipartUpload", "UploadPart", "PutObject"] {
        for fault in [Fault::SLOW_DOWN, Fault::INTERNAL, Fault::Reset, Fault::LoseReply] {
            let (bucket, faults) = Bucket::failing();
            let plan = plan("r-1", &two_columns(), WriteMode::Insert);
            let armed = faults.arm(Rule::on(operation).key("/out/").times(2), fault.clone());
            let writer = writer(&bucket, options(json!({})));
            writer.prepare(&plan).unwrap();
            let (receipt, _) = write_task(&*writer, &plan, 0, &[rows(0..2)]).unwrap();
            assert_eq!(writer.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
            writer.finalise(&plan).unwrap();
            assert!(armed.hits() > 0, "{operation} {fault:?}");
            assert_eq!(
                (ids(&bucket), bucket.names().len()),
                (vec![0, 1], 3),
                "{operation} {fault:?}"
            );
        }
    }
}

#[test]
fn f35_an_upload_whose_beginning_was_never_told_is_discarded() {
    for commits in [true, false] {
        let (bucket, faults) = Bucket::failing();
        let plan = plan("r-1", &two_columns(), WriteMode::Insert);
        let writer = writer(&bucket, options(json!({})));
        writer.prepare(&plan).unwrap();
        let lost = faults.once("CreateMultipartUpload", "out/", Fault::LoseReply);
        let (receipt, _) = write_task(&*writer, &plan, 0, &[rows(0..2)]).unwrap();
        assert_eq!((lost.hits(), bucket.uploads()), (1, 2));
        if commits {
            assert_eq!(writer.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
        } else {
            writer.abort(&plan, &[receipt]).unwrap();
        }
        assert_eq!(bucket.uploads(), 0, "{commits}");
    }
}

#[test]
fn f35_an_upload_that_is_gone_is_unknown_and_nothing_is_deleted() {
    let case = finished(json!({}));
    let fault = answer(404, "NoSuchUpload");
    let armed = case.faults.arm(Rule::on("CompleteMultipartUpload").key("00001-"), fault);
    let outcome = case.commit();
    let ChunkOutcome::Unknown { evidence } = &outcome else { panic!("{outcome:?}") };
    assert!(
        evidence.contains("00001-") && evidence.contains("no object has the key"),
        "{evidence}"
    );
    let (names, uploads) = (case.bucket.names(), case.bucket.uploads());
    assert!(!names.contains(&"out/_transload_manifest.json".to_owned()));
    // Neither this process nor another one removes anything.
    case.writer.abort(&case.plan, &case.receipts).unwrap();
    let other = writer(&case.bucket, options(json!({})));
    other.abort(&case.plan, &case.receipts).unwrap();
    assert_eq!((case.bucket.names(), case.bucket.uploads()), (names, uploads));
    // The store finds the upload again: the same commit continues.
    drop(armed);
    assert_eq!(other.commit(&case.plan, &case.receipts).unwrap(), ChunkOutcome::Committed);
    case.assert_whole("in the end");
}

#[test]
fn f35_what_is_unknown_of_one_object_outweighs_the_refusal_of_another() {
    let case = finished(json!({"retries": 0, "request_timeout": 2000}));
    let hang = case.faults.arm(Rule::on("CompleteMultipartUpload").key("00000-"), Fault::Hang);
    let refused = Rule::on("CompleteMultipartUpload").key("00001-");
    let refused = case.faults.arm(refused, Fault::FORBIDDEN);
    let outcome = case.commit();
    let ChunkOutcome::Unknown { evidence } = &outcome else { panic!("{outcome:?}") };
    assert!(hang.hits() > 0 && refused.hits() > 0, "one does not wait for the other");
    assert!(evidence.contains("00000-00000") && evidence.contains("00001-00000"), "{evidence}");
    case.writer.abort(&case.plan, &case.receipts).unwrap();
    assert_eq!(case.bucket.uploads(), 2, "nothing is deleted");
    drop((hang, refused));
    assert_eq!(case.commit(), ChunkOutcome::Committed);
    case.assert_whole("in the end");
}

#[test]
fn many_objects_are_completed_some_at_a_time_and_named_in_order() {
    let (bucket, faults) = Bucket::failing();
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let writer = writer(&bucket, options(json!({"max_rows_per_object": 1})));
    writer.prepare(&plan).unwrap();
    let (receipt, _) = write_task(&*writer, &plan, 0, &[rows(0..30)]).unwrap();
    // The fifth and the tenth have to be repeated, and come last.
    let _slow = faults.arm(Rule::on("CompleteMultipartUpload").after(4).times(1), Fault::SLOW_DOWN);
    let _lost = faults.arm(Rule::on("CompleteMultipartUpload").after(9).times(1), Fault::LoseReply);
    assert_eq!(writer.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
    writer.finalise(&plan).unwrap();
    assert_eq!((ids(&bucket), bucket.uploads()), ((0..30).collect(), 0));
    let seen = faults.seen("CompleteMultipartUpload", "out/");
    assert!(seen.iter().all(|request| request.under_way <= 8), "{seen:?}");
    let manifest: Value =
        serde_json::from_str(&bucket.text("out/_transload_manifest.json")).unwrap();
    let files = manifest["files"].as_array().unwrap().iter();
    let names: Vec<_> = files.map(|file| file["name"].as_str().unwrap().to_owned()).collect();
    let expected = (0..30).map(|number| format!("part-r-1-00000-{number:05}.csv"));
    assert!(names.iter().cloned().eq(expected), "{names:?}");
}

#[test]
fn f35_a_store_that_goes_on_failing_leaves_an_unknown_outcome() {
    for fault in [Fault::SLOW_DOWN, Fault::Reset] {
        let case = finished(json!({"retries": 1}));
        let armed = case.faults.arm(Rule::on("CompleteMultipartUpload"), fault.clone());
        assert!(matches!(case.commit(), ChunkOutcome::Unknown { .. }), "{fault:?}");
        drop(armed);
        assert_eq!(case.commit(), ChunkOutcome::Committed);
        case.assert_whole("in the end");
    }
}

#[test]
fn f35_an_outcome_stays_unknown_if_that_cannot_be_noted() {
    let case = finished(json!({"retries": 0}));
    let armed = case.faults.arm(Rule::on("CompleteMultipartUpload"), Fault::Reset);
    let note = case.faults.arm(Rule::on("PutObject").key("/unknown"), Fault::FORBIDDEN);
    let outcome = case.commit();
    let ChunkOutcome::Unknown { evidence } = &outcome else { panic!("{outcome:?}") };
    assert!(evidence.contains("nor could that be noted"), "{evidence}");
    drop((armed, note));
    assert_eq!(case.commit(), ChunkOutcome::Committed);
    case.assert_whole("in the end");
}

#[test]
fn f35_a_refusal_is_an_error_and_the_run_can_be_taken_back() {
    for (fault, kind) in
        [(Fault::FORBIDDEN, ErrorKind::Denied), (answer(400, "InvalidPart"), ErrorKind::Other)]
    {
        let case = finished(json!({}));
        let armed = case.faults.arm(Rule::on("CompleteMultipartUpload").key("00001-"), fault);
        let error = case.writer.commit(&case.plan, &case.receipts).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        drop(armed);
        case.writer.abort(&case.plan, &case.receipts).unwrap();
        assert_eq!((case.bucket.names(), case.bucket.uploads()), (Vec::new(), 0));
    }
}

#[test]
fn f35_metadata_that_is_dropped_is_found_out_and_done_without() {
    let (bucket, faults) = Bucket::failing();
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let armed = faults.arm(Rule::on("CreateMultipartUpload"), Fault::DropMetadata);
    let _also = faults.arm(Rule::on("PutObject"), Fault::DropMetadata);
    let writer = writer(&bucket, options(json!({})));
    writer.prepare(&plan).unwrap();
    let before: Value =
        serde_json::from_str(&bucket.text("out/_transload/r-1/before.json")).unwrap();
    assert_eq!(before["tokens"], json!(false));
    let (receipt, _) = write_task(&*writer, &plan, 0, &[rows(0..2)]).unwrap();
    let lost = faults.once("CompleteMultipartUpload", "out/", Fault::LoseReply);
    assert_eq!(writer.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
    assert_eq!(lost.hits(), 1);
    writer.finalise(&plan).unwrap();
    assert!(armed.hits() > 0);
    assert_eq!((ids(&bucket), bucket.uploads()), (vec![0, 1], 0));
}

#[test]
fn f35_a_plan_says_what_a_store_without_metadata_can_promise_and_leaves_nothing() {
    use Guarantee::{AtomicJob, AtomicUnit, EffectivelyOnce};
    for (more, whole, dropped) in [
        (json!({}), AtomicUnit, AtomicUnit),
        (json!({"path": "x.csv"}), AtomicJob, AtomicUnit),
        (json!({"name": "part-{task}.csv"}), AtomicUnit, EffectivelyOnce),
    ] {
        for drops in [false, true] {
            let (bucket, faults) = Bucket::failing();
            let _armed = drops.then(|| faults.arm(Rule::on("PutObject"), Fault::DropMetadata));
            let plan = plan("r-1", &two_columns(), WriteMode::Insert);
            let writer = writer(&bucket, options(more.clone()));
            let drafts = [(); 2].map(|()| writer.draft(&plan).unwrap());
            assert_eq!(drafts[0], drafts[1]);
            let expected = if drops { dropped } else { whole };
            assert_eq!(drafts[0].guarantee, expected, "{more} {drops}");
            let is_lower = drops && whole != dropped;
            assert_eq!(drafts[0].because.contains("metadata"), is_lower, "{:?}", drafts[0]);
            assert_eq!(bucket.names(), Vec::<String>::new(), "a plan leaves nothing");
            writer.prepare(&plan).unwrap();
            assert_eq!(faults.seen("PutObject", "/probe").len(), 1, "asked once");
            writer.abort(&plan, &[]).unwrap();
            assert_eq!(bucket.names(), Vec::<String>::new());
        }
    }
}

#[test]
fn f35_a_plan_whose_question_is_not_answered_leaves_nothing() {
    for fault in [Fault::LoseReply, Fault::DoneButError] {
        let (bucket, faults) = Bucket::failing();
        let _armed = faults.arm(Rule::on("PutObject"), fault.clone());
        let plan = plan("r-1", &two_columns(), WriteMode::Insert);
        writer(&bucket, options(json!({"path": "x.csv"}))).draft(&plan).unwrap_err();
        assert_eq!(bucket.names(), Vec::<String>::new(), "{fault:?}");
    }
}

#[test]
fn a_plan_of_somebody_who_may_not_write_promises_less() {
    let (bucket, faults) = Bucket::failing();
    let _armed = faults.arm(Rule::on("PutObject"), Fault::FORBIDDEN);
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let draft = writer(&bucket, options(json!({"path": "x.csv"}))).draft(&plan).unwrap();
    assert_eq!(draft.guarantee, Guarantee::AtomicUnit);
    assert!(draft.because.contains("cannot be asked"), "{draft:?}");
    let draft = writer(&bucket, options(json!({}))).draft(&plan).unwrap();
    assert_eq!(draft.guarantee, Guarantee::AtomicUnit, "it need not ask");
}

#[test]
fn f35_without_metadata_nobody_can_say_whose_a_fixed_key_is() {
    let (bucket, faults) = Bucket::failing();
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let _armed = faults.arm(Rule::on("CreateMultipartUpload"), Fault::DropMetadata);
    let _also = faults.arm(Rule::on("PutObject"), Fault::DropMetadata);
    let more = options(json!({"path": "x.csv", "retries": 1}));
    let writer = writer(&bucket, more);
    writer.prepare(&plan).unwrap();
    let (receipt, _) = write_task(&*writer, &plan, 0, &[rows(0..2)]).unwrap();
    let _lost = faults.once("CompleteMultipartUpload", "x.csv", Fault::LoseReply);
    let outcome = writer.commit(&plan, std::slice::from_ref(&receipt)).unwrap();
    let ChunkOutcome::Unknown { evidence } = &outcome else { panic!("{outcome:?}") };
    assert!(evidence.contains("which run wrote it is unknown"), "{evidence}");
    writer.abort(&plan, &[receipt]).unwrap();
    assert_eq!(ids(&bucket), [0, 1]);
}

#[test]
fn f35_a_lost_reply_to_the_manifest_is_found_done() {
    for fault in [Fault::LoseReply, Fault::DoneButError, Fault::SLOW_DOWN] {
        let case = finished(json!({}));
        let armed = case.faults.once("PutObject", "_transload_manifest", fault.clone());
        assert_eq!(case.commit(), ChunkOutcome::Committed, "{fault:?}");
        assert_eq!(armed.hits(), 1, "{fault:?}");
        case.assert_whole("with its manifest");
    }
}

#[test]
fn f35_a_manifest_that_somebody_else_wrote_first_is_not_replaced() {
    let case = finished(json!({}));
    let _armed =
        case.faults.arm(Rule::on("PutObject").key("_transload_manifest"), Fault::PRECONDITION);
    let error = case.writer.commit(&case.plan, &case.receipts).unwrap_err();
    assert_eq!(error.code, "FILE-CHANGED", "{error}");
    case.writer.abort(&case.plan, &case.receipts).unwrap();
    assert_eq!((case.bucket.names(), case.bucket.uploads()), (Vec::new(), 0));
}

#[test]
fn f35_a_store_without_conditions_is_looked_at_before_a_put() {
    let (bucket, faults) = Bucket::failing();
    bucket.put("out/part-other.csv", "id,name\n5,x\n");
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let writer = writer(&bucket, options(json!({"if_exists": "append"})));
    // Each of the four attempts at the first conditional put.
    let rule = Rule::on("PutObject").key("before.json").times(4);
    let armed = faults.arm(rule, answer(501, "NotImplemented"));
    writer.prepare(&plan).unwrap();
    assert_eq!(armed.hits(), 4);
    let (receipt, _) = write_task(&*writer, &plan, 0, &[rows(0..2)]).unwrap();
    assert_eq!(writer.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
    writer.finalise(&plan).unwrap();
    assert_eq!((ids(&bucket), bucket.uploads()), (vec![0, 1, 5], 0));
}

#[test]
fn f35_a_store_that_completes_on_no_condition_is_looked_at() {
    let (bucket, faults) = Bucket::failing();
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let writer = writer(&bucket, options(json!({"path": "x.csv"})));
    writer.prepare(&plan).unwrap();
    let (receipt, _) = write_task(&*writer, &plan, 0, &[rows(0..2)]).unwrap();
    let fault = answer(501, "NotImplemented");
    let armed = faults.once("CompleteMultipartUpload", "x.csv", fault);
    assert_eq!(writer.commit(&plan, &[receipt]).unwrap(), ChunkOutcome::Committed);
    assert_eq!((armed.hits(), ids(&bucket)), (1, vec![0, 1]));
}

#[test]
fn f35_a_stale_listing_hides_no_upload_of_ours() {
    let case = finished(json!({}));
    let _pages = case.faults.arm(Rule::on("ListObjects"), Fault::Pages(1));
    case.writer.abort(&case.plan, &[]).unwrap();
    assert_eq!((case.bucket.names(), case.bucket.uploads()), (Vec::new(), 0));
}

#[test]
fn f35_a_stopped_job_leaves_a_hanging_store_and_no_upload() {
    let (bucket, faults) = Bucket::failing();
    let plan = plan("r-1", &two_columns(), WriteMode::Insert);
    let cancel = Cancel::new();
    let made = ObjectStorePlugin.writer(
        bucket.options(options(json!({"request_timeout": 60_000}))),
        Host::new(secrets(), cancel.clone()),
    );
    let writer = made.unwrap();
    writer.prepare(&plan).unwrap();
    let mut task = writer.open(&plan, &TaskContext { task: 0, epoch: 0 }).unwrap();
    chunk(&mut *task, &rows(0..2));
    let armed = faults.arm(Rule::on("UploadPart"), Fault::Hang);
    let stopper = std::thread::spawn(move || {
        while armed.hits() == 0 {
            std::thread::yield_now();
        }
        cancel.cancel();
    });
    let error = task.finish().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    stopper.join().unwrap();
    writer.abort(&plan, &[]).unwrap();
    assert_eq!((bucket.names(), bucket.uploads()), (Vec::new(), 0));
}
