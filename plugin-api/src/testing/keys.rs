//! The requirements on keys beyond a single column of one session: keys of several columns stay apart,
//! an update sets NULL, and a row that another session wrote meanwhile is kept where the mode keeps it.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};

use super::{expect, run::plan, samples, writer_suite::WriterSuite};
use crate::{Column, ConflictEffect, LogicalType, WriteMode, WriteModeSpec, WritePlan, schema_of};

/// All requirements, for one write mode.
pub(super) fn all(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    match spec.conflict {
        ConflictEffect::Update | ConflictEffect::Replace => sets_null(suite, spec),
        ConflictEffect::Dirty | ConflictEffect::Skip if spec.mode != WriteMode::Overwrite => {
            written_meanwhile(suite, spec);
        }
        _ => {}
    }
    if spec.conflict != ConflictEffect::None {
        composite(suite, spec);
    }
}

/// Texts that would be equal if they were joined by one of these.
const SEPARATORS: [&str; 14] =
    [":", "|", ",", ";", "/", "-", "_", ".", "#", "\t", "::", "\",\"", "\u{1f}", ""];

/// Pairs that make one text when joined are two keys.
fn composite(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let text = || LogicalType::Text { length: Some(20) };
    let columns = vec![
        Column::new("a", text(), false),
        Column::new("b", text(), false),
        Column::new("size", LogicalType::Int32, true),
    ];
    let key = ["a".to_owned(), "b".to_owned()];
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (index, separator) in SEPARATORS.iter().enumerate() {
        let (k, l) = (format!("k{index}"), format!("l{index}"));
        first.extend([format!("{k}{separator}m"), k.clone()]);
        second.extend([l.clone(), format!("m{separator}{l}")]);
    }
    let rows = first.len() as i32;
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(first)),
        Arc::new(StringArray::from(second)),
        Arc::new(Int32Array::from_iter_values(0..rows)),
    ];
    let batch = expect(RecordBatch::try_new(schema_of(&columns), arrays), "composite keys");
    let target = suite.subject.target(&columns, &key);
    let mut plan = plan(spec.mode, &columns, &key);
    if spec.mode == WriteMode::Upsert {
        plan.update_columns = vec!["size".to_owned()];
    }
    let run = suite.draft(&*target, plan);
    let (total, _) = run.complete(&[std::slice::from_ref(&batch)]);
    let when = format!("mode `{}` with keys of two columns", spec.mode.word());
    assert_eq!(total.inserted, rows as u64, "{when}: all keys are different");
    target.assert_holds(&[batch], &when);
}

/// A new NULL takes the place of an old value.
fn sets_null(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let target = suite.target(spec);
    target.put(&samples::keyed(1..=3, 1));
    let plan = WritePlan { update_columns: Vec::new(), ..suite.plan(spec) };
    let update_columns = match spec.mode {
        WriteMode::Upsert => vec!["name".to_owned(), "size".to_owned()],
        _ => Vec::new(),
    };
    let run = suite.draft(&*target, WritePlan { update_columns, ..plan });
    let rows = samples::keyed([2, 3, 4], 2);
    let arrays: Vec<ArrayRef> = vec![
        Arc::clone(rows.column(0)),
        Arc::new(StringArray::from(vec![None, Some("name"), None])),
        Arc::new(Int32Array::from(vec![Some(7), None, None])),
    ];
    let batch = expect(RecordBatch::try_new(rows.schema(), arrays), "rows with NULL");
    run.complete(&[std::slice::from_ref(&batch)]);
    let when = format!("mode `{}` with NULL for old values", spec.mode.word());
    target.assert_holds(&[samples::keyed([1], 1), batch], &when);
}

/// Another session inserts a key while a chunk with the same key is open.
fn written_meanwhile(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let target = suite.target(spec);
    let run = suite.run(&*target, spec);
    run.prepare();
    let mut task = run.task(0);
    task.begin();
    task.write(&samples::keyed(1..=5, 1));
    if !target.put_beside(&samples::keyed([3], 2)) {
        return; // the store does not let the other session in
    }
    let written = task.commit();
    run.commit(&[task.finish()]);
    let when = format!("mode `{}`, a key that another session wrote meanwhile", spec.mode.word());
    let rows = [samples::keyed([1, 2, 4, 5], 1), samples::keyed([3], 2)];
    target.assert_holds(&rows, &when);
    assert_eq!(written[0].inserted, 4, "{when}: rows inserted: {written:?}");
}
