//! How many partitions the sampled rows fall into: a folder and a file for nearly every row is seen in
//! the plan, not on the disk. Counts by the writer's option `partition_by`, whose form all writers of
//! files share; where a partition lies is theirs.

use std::collections::HashSet;

use arrow_array::RecordBatch;
use transload_plugin_api::{Column, Options};
use transload_values::ColumnRenderer;

/// Fewer sampled rows say nothing about the others.
const FEW_ROWS: usize = 100;
/// The option that divides rows.
const OPTION: &str = "partition_by";
/// The option that says how many partitions a task may meet without a warning.
const LIMIT: &str = "many_partitions";

/// The warning about a job whose sampled rows, in the columns that are written, fall into very many
/// partitions: more than the job expects, or one for every other row.
pub(super) fn warning(options: &Options, columns: &[Column], rows: &RecordBatch) -> Option<String> {
    let given = options.values.get(OPTION)?.as_array()?;
    let items: Vec<&str> = given.iter().filter_map(|item| item.as_str()).collect();
    let parts = items.iter().map(|item| PartitionPart::parse(item));
    let cells = parts.map(|part| {
        let index = columns.iter().position(|column| column.name == part.column)?;
        let cells = ColumnRenderer::new(&columns[index], rows.column(index).as_ref()).ok()?;
        Some((cells, part.letters))
    });
    let cells: Vec<_> = cells.collect::<Option<_>>()?;
    if cells.is_empty() {
        return None;
    }
    let (count, of) = (partitions(&cells, rows.num_rows()), rows.num_rows());
    let limit = options.values.get(LIMIT).and_then(|limit| limit.as_u64()).unwrap_or(u64::MAX);
    let is_many = count as u64 > limit || (of >= FEW_ROWS && 2 * count > of);
    is_many.then(|| {
        let list: Vec<_> = items.iter().map(|item| format!("\"{item}\"")).collect();
        format!(
            "the {of} sampled rows fall into {count} partitions of {OPTION} = [{}], each a folder \
             with a file: {}",
            list.join(", "),
            way_out(&items, columns)
        )
    })
}

/// What makes fewer of them.
fn way_out(items: &[&str], columns: &[Column]) -> String {
    use transload_plugin_api::LogicalType as T;
    let is_time = |item: &&&str| {
        let column = columns.iter().find(|column| column.name == ***item);
        column.is_some_and(|it| matches!(it.logical, T::Timestamp { .. } | T::TimestampTz { .. }))
    };
    match items.iter().find(is_time) {
        Some(item) => format!("divide by a part of the time, such as \"day({item})\""),
        None => "divide by a column of few values".to_owned(),
    }
}

/// The number of different partitions.
fn partitions(cells: &[(ColumnRenderer<'_>, Option<usize>)], rows: usize) -> usize {
    let (mut known, mut text) = (HashSet::new(), Vec::new());
    for row in 0..rows {
        text.clear();
        for (cells, letters) in cells {
            let from = text.len();
            // No text of a value is NULL's.
            text.push(u8::from(cells.is_null(row)));
            if !cells.is_null(row) {
                cells.render(row, &mut text);
            }
            if let Some(letters) = letters {
                text.truncate(text.len().min(from + 1 + letters));
            }
            text.push(0);
        }
        if !known.contains(text.as_slice()) {
            known.insert(text.clone());
        }
    }
    known.len()
}

/// A column, or a part of a time: `day(created_at)`.
struct PartitionPart<'a> {
    column: &'a str,
    /// How many letters of the value's text are the part; `None` for all.
    letters: Option<usize>,
}

impl<'a> PartitionPart<'a> {
    fn parse(item: &'a str) -> Self {
        let inner = item.strip_suffix(')').and_then(|text| text.split_once('('));
        let part = inner.and_then(|(word, column)| {
            let letters = match word.trim() {
                "year" => "2026",
                "month" => "2026-12",
                "day" => "2026-12-01",
                "hour" => "2026-12-01 17",
                _ => return None,
            };
            Some(Self { column: column.trim(), letters: Some(letters.len()) })
        });
        part.unwrap_or(Self { column: item, letters: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use transload_plugin_api::{LogicalType, schema_of};

    use super::*;

    fn warned(partition_by: &[&str], rows: i64) -> Option<String> {
        let columns = [
            Column::new("id", LogicalType::Int64, false),
            Column::new("region", LogicalType::TEXT, true),
            Column::new("day", LogicalType::TEXT, true),
        ];
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let region = (0..rows).map(|id| (id % 3 > 0).then(|| format!("r{}", id % 3)));
        let regions: ArrayRef = Arc::new(region.collect::<StringArray>());
        let day = (0..rows).map(|id| Some(format!("2026-12-{:02} {id}", id % 28 + 1)));
        let days: ArrayRef = Arc::new(day.collect::<StringArray>());
        let batch = RecordBatch::try_new(schema_of(&columns), vec![ids, regions, days]).unwrap();
        let mut options = Options::default();
        options.values.insert(OPTION.to_owned(), partition_by.to_vec().into());
        options.values.insert(LIMIT.to_owned(), 1000.into());
        warning(&options, &columns, &batch)
    }

    #[test]
    fn very_many_partitions_of_the_sample_are_warned_about() {
        let expected = "the 200 sampled rows fall into 200 partitions of partition_by = [\"id\"], \
                        each a folder with a file: divide by a column of few values";
        assert_eq!(warned(&["id"], 200).as_deref(), Some(expected));
        assert!(warned(&["region", "id"], 200).is_some());
        for (partition_by, rows) in [
            (&["region"][..], 5_000),
            (&["region", "day(day)"], 5_000),
            (&["month(day)"], 200),
            (&["id"], 99),
            (&["absent"], 200),
            (&[], 200),
        ] {
            assert_eq!(warned(partition_by, rows), None, "{partition_by:?}");
        }
    }
}
