//! The requirement that a reader rounds and cuts nothing: asked for a narrower type than a column's
//! own, it either keeps its own, or returns the values that fit and makes the others dirty rows.

use std::collections::HashMap;

use arrow_array::RecordBatch;

use super::{
    Target, cell, expect, host,
    run::plan,
    samples,
    writer_suite::{WriterSuite, key},
};
use crate::{Column, DirtyRow, LogicalType, SplitRequest, columns_of};

/// A wide type and a narrower one that holds some of its values.
const PAIRS: [(&str, &str); 7] = [
    ("decimal(38,10)", "decimal(15,2)"),
    ("decimal(38,10)", "int64"),
    ("timestamp", "timestamp(0)"),
    ("timestamptz", "timestamptz(0)"),
    ("time", "time(0)"),
    ("int64", "int32"),
    ("text", "text(5)"),
];

/// Every pair whose wide type the plugin writes and reads.
pub(super) fn all(suite: &WriterSuite<'_>) {
    for (wide, narrow) in PAIRS {
        let (wide, narrow): (LogicalType, LogicalType) =
            (expect(wide.parse(), wide), expect(narrow.parse(), narrow));
        let family = wide.family();
        let is_written = suite.declared.types.iter().any(|support| support.logical == family);
        let is_tested = suite.subject.types(family).contains(&wide);
        if is_written && is_tested && suite.subject.reads_back(&wide) {
            narrowed(suite, &wide, &narrow);
        }
    }
}

fn narrowed(suite: &WriterSuite<'_>, wide: &LogicalType, narrow: &LogicalType) {
    let spec = suite.first_mode();
    let batch = samples::edge_batch(std::slice::from_ref(wide));
    let columns = expect(columns_of(&batch.schema()), "the columns of edge values");
    let target = suite.subject.target(&columns, &key(spec));
    if target.reader_options().is_none() {
        return;
    }
    let run = suite.draft(&*target, plan(spec.mode, &columns, &key(spec)));
    let (_, written) = run.complete(&[std::slice::from_ref(&batch)]);
    let refused: Vec<_> = written[0].dirty.iter().map(|row| row.row as usize).collect();
    let kept = (0..batch.num_rows()).filter(|row| !refused.contains(row));
    let expected: HashMap<_, _> =
        kept.map(|row| (cell(batch.column(0), row), plain(&cell(batch.column(1), row)))).collect();

    let Some((read, dirty)) = read(suite, &*target, &columns, narrow) else { return };
    let when = format!("`{wide}` read as `{narrow}`");
    let mut rows = 0;
    for batch in &read {
        for row in 0..batch.num_rows() {
            let (id, found) = (cell(batch.column(0), row), plain(&cell(batch.column(1), row)));
            let expected = expected.get(&id).map(String::as_str);
            assert_eq!(Some(found.as_str()), expected, "{when}: a value was changed");
            rows += 1;
        }
    }
    let all = expected.len();
    assert_eq!(
        rows + dirty.len(),
        all,
        "{when}: {rows} rows and {} dirty ones of {all}",
        dirty.len()
    );
}

/// The rows with the second column in a narrower type; `None` if the reader keeps its own type.
fn read(
    suite: &WriterSuite<'_>,
    target: &dyn Target,
    columns: &[Column],
    narrow: &LogicalType,
) -> Option<(Vec<RecordBatch>, Vec<DirtyRow>)> {
    let mut wanted = columns.to_vec();
    wanted[1].logical = narrow.clone();
    let reader = suite.plugin.reader(target.reader_options()?, host(suite.subject));
    let reader = expect(reader, "a reader of what was written");
    let made = expect(reader.produces(&wanted), "`produces` of a narrower type");
    if made[1].logical != *narrow {
        return None;
    }
    let request = SplitRequest::new(1, made.clone());
    let (mut batches, mut dirty) = (Vec::new(), Vec::new());
    for split in expect(reader.splits(&request), "`splits`") {
        let mut task = expect(reader.open(&split, &made, None), "`open`");
        while let Some(read) = expect(task.next_batch(), "values of a narrower type") {
            batches.push(read.batch);
            dirty.extend(read.dirty);
        }
    }
    Some((batches, dirty))
}

/// A value without what only its type adds: zeros behind the point.
fn plain(cell: &str) -> String {
    let (number, zone) = cell.strip_suffix('Z').map_or((cell, ""), |number| (number, "Z"));
    let is_text = number.starts_with('"') || !number.contains('.');
    let number = if is_text { number } else { number.trim_end_matches('0').trim_end_matches('.') };
    format!("{number}{zone}")
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn zeros_behind_the_point_are_no_value() {
        for (cell, expected) in
            [("1.50", "1.5"), ("100", "100"), ("1.00", "1"), ("\"1.00\"", "\"1.00\"")]
        {
            assert_eq!(plain(cell), expected);
        }
        assert_eq!(plain("2024-02-29 00:00:00.500Z"), "2024-02-29 00:00:00.5Z");
    }
}
