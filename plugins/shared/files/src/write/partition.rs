//! Which rows of a batch go to which partition. Values are compared as their exact texts; nothing
//! is allocated for a row whose partition has been seen before.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;
use transload_plugin_api::{Column, Error, Result, schema_of};
use transload_values::ColumnRenderer;

use super::name_template::{NULL_PARTITION, NameTemplate, encode};

/// One partition: its values as they are written in names, in the template's order.
pub(crate) type Values = Arc<[String]>;

/// The rows of one partition in a batch.
#[derive(Debug)]
pub(crate) struct PartitionRows {
    /// Its number among the partitions that this task has seen.
    pub(crate) partition: usize,
    /// Its rows, without the columns that names carry.
    pub(crate) batch: RecordBatch,
    /// Where they stood in the batch, rising; `None` if they are all of it.
    pub(crate) rows: Option<UInt32Array>,
}

impl PartitionRows {
    /// Rows.
    pub(crate) fn count(&self) -> usize {
        self.batch.num_rows()
    }

    /// Where one of its rows stood in the batch.
    pub(crate) fn row(&self, index: u64) -> u64 {
        match &self.rows {
            Some(rows) => u64::from(rows.value(index as usize)),
            None => index,
        }
    }
}

/// Sorts rows into partitions.
pub(crate) struct Partitioner {
    columns: Vec<Column>,
    /// Of the columns, those that name partitions.
    placed: Vec<usize>,
    /// Of the columns, those that go into the objects.
    kept: Vec<usize>,
    /// Partition by the exact texts of its values.
    known: HashMap<Box<[u8]>, usize>,
    values: Vec<Values>,
}

impl Partitioner {
    /// For batches of these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for partition columns that the rows do not have,
    /// [`ErrorKind::Unsupported`] for one whose type has no text.
    pub(crate) fn new(template: &NameTemplate, columns: &[Column], keep: bool) -> Result<Self> {
        let index = |name: &str| columns.iter().position(|column| column.name == name);
        let missing = |name: &str| {
            let message = format!("there is no column `{name}` to name objects by");
            Error::options(message)
                .hint("`name` knows {run}, {task}, {number}, {ext} and the job's columns")
        };
        let (mut placed, mut dropped) = (Vec::new(), Vec::new());
        for column in template.columns() {
            let index = index(&column.name).ok_or_else(|| missing(&column.name))?;
            placed.push(index);
            dropped.extend((column.hive && !keep).then_some(index));
        }
        let kept: Vec<_> = (0..columns.len()).filter(|index| !dropped.contains(index)).collect();
        if kept.is_empty() && !columns.is_empty() {
            let message = "every column is a partition column: nothing is left for the objects";
            return Err(Error::options(message).hint("set `keep_partition_columns = true`"));
        }
        let nothing = RecordBatch::new_empty(schema_of(columns));
        for index in &placed {
            ColumnRenderer::new(&columns[*index], nothing.column(*index).as_ref())?;
        }
        let columns = columns.to_vec();
        Ok(Self { columns, placed, kept, known: HashMap::new(), values: Vec::new() })
    }

    /// The columns that go into the objects.
    pub(crate) fn kept(&self) -> Vec<Column> {
        self.kept.iter().map(|index| self.columns[*index].clone()).collect()
    }

    /// A partition's values.
    pub(crate) fn values(&self, partition: usize) -> Values {
        Arc::clone(&self.values[partition])
    }

    /// The batch by partitions, in the order of their first rows.
    pub(crate) fn split(&mut self, batch: &RecordBatch) -> Result<Vec<PartitionRows>> {
        let narrow = batch.project(&self.kept).map_err(|error| defect(&error))?;
        if self.placed.is_empty() {
            if self.values.is_empty() {
                self.values.push(Arc::new([]));
            }
            return Ok(vec![PartitionRows { partition: 0, batch: narrow, rows: None }]);
        }
        let sorted = self.sort(batch)?;
        if let [(partition, _)] = sorted[..] {
            return Ok(vec![PartitionRows { partition, batch: narrow, rows: None }]);
        }
        // The rows are copied once, and each partition is a part of the copy.
        let order = sorted.iter().flat_map(|(_, rows)| rows).copied().collect::<Vec<_>>();
        let order = UInt32Array::from(order);
        let ordered = take_record_batch(&narrow, &order).map_err(|error| defect(&error))?;
        let mut from = 0;
        let part = |(partition, rows): (usize, Vec<u32>)| {
            let (start, count) = (from, rows.len());
            from += count;
            let rows = Some(order.slice(start, count));
            PartitionRows { partition, batch: ordered.slice(start, count), rows }
        };
        Ok(sorted.into_iter().map(part).collect())
    }

    /// Row numbers by partition.
    fn sort(&mut self, batch: &RecordBatch) -> Result<Vec<(usize, Vec<u32>)>> {
        let cells = self
            .placed
            .iter()
            .map(|index| ColumnRenderer::new(&self.columns[*index], batch.column(*index).as_ref()))
            .collect::<Result<Vec<_>>>()?;
        let mut sorted: Vec<(usize, Vec<u32>)> = Vec::new();
        // which entry of `sorted` a partition of this batch has
        let mut entries: HashMap<usize, usize> = HashMap::new();
        let (mut text, mut last, mut entry) = (Vec::new(), Vec::new(), usize::MAX);
        for row in 0..batch.num_rows() {
            text.clear();
            cells.iter().for_each(|cells| exact_text(cells, row, &mut text));
            if entry == usize::MAX || text != last {
                let partition = match self.known.get(text.as_slice()) {
                    Some(partition) => *partition,
                    None => self.learn(&cells, row, &text),
                };
                entry = *entries.entry(partition).or_insert_with(|| {
                    sorted.push((partition, Vec::new()));
                    sorted.len() - 1
                });
                std::mem::swap(&mut text, &mut last);
            }
            sorted[entry].1.push(row as u32);
        }
        Ok(sorted)
    }

    fn learn(&mut self, cells: &[ColumnRenderer<'_>], row: usize, text: &[u8]) -> usize {
        let value = |cells: &ColumnRenderer<'_>| {
            if cells.is_null(row) {
                return NULL_PARTITION.to_owned();
            }
            let mut value = Vec::new();
            cells.render(row, &mut value);
            // A text that spells the word for NULL must not become one.
            match value.strip_prefix(b"_") {
                Some(rest) if value == NULL_PARTITION.as_bytes() => format!("%5F{}", encode(rest)),
                _ => encode(&value),
            }
        };
        let partition = self.values.len();
        self.values.push(cells.iter().map(value).collect());
        self.known.insert(text.into(), partition);
        partition
    }
}

/// Adds a cell so that no two rows of different cells get the same bytes.
fn exact_text(cells: &ColumnRenderer<'_>, row: usize, text: &mut Vec<u8>) {
    if cells.is_null(row) {
        text.push(0);
        return;
    }
    let start = text.len();
    text.push(1);
    text.extend([0; 4]);
    cells.render(row, text);
    let length = (text.len() - start - 5) as u32;
    text[start + 1..start + 5].copy_from_slice(&length.to_le_bytes());
}

fn defect(error: &arrow_schema::ArrowError) -> Error {
    Error::schema("the batch does not have the plan's columns").caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};

    use super::*;
    use transload_plugin_api::ErrorKind;

    fn columns() -> Vec<Column> {
        let column = |name: &str, logical: &str| Column::new(name, logical.parse().unwrap(), true);
        vec![column("id", "int64"), column("land", "text")]
    }

    fn batch(lands: &[Option<&str>]) -> RecordBatch {
        let ids = Int64Array::from_iter_values(0..lands.len() as i64);
        let lands = StringArray::from_iter(lands.iter().copied());
        RecordBatch::try_new(schema_of(&columns()), vec![Arc::new(ids), Arc::new(lands)]).unwrap()
    }

    fn partitioner(keep: bool) -> Partitioner {
        let template = NameTemplate::parse("{number}", &["land".to_owned()]).unwrap();
        Partitioner::new(&template, &columns(), keep).unwrap()
    }

    fn rows(group: &PartitionRows) -> Vec<u64> {
        (0..group.batch.num_rows() as u64).map(|row| group.row(row)).collect()
    }

    #[test]
    fn rows_go_to_their_partitions() {
        let mut partitioner = partitioner(false);
        let lands = [Some("a"), Some("b"), None, Some("b"), Some("a"), Some(""), Some("a/b")];
        let groups = partitioner.split(&batch(&lands)).unwrap();
        let found: Vec<_> = groups
            .iter()
            .map(|group| (partitioner.values(group.partition)[0].clone(), rows(group)))
            .collect();
        let expected = [
            ("a", vec![0, 4]),
            ("b", vec![1, 3]),
            (NULL_PARTITION, vec![2]),
            ("", vec![5]),
            ("a%2Fb", vec![6]),
        ];
        assert_eq!(found, expected.map(|(value, rows)| (value.to_owned(), rows)));
        assert_eq!(groups[0].batch.num_columns(), 1, "the name has the value");
        // partitions keep their numbers in the next batch
        let again = partitioner.split(&batch(&[Some("b"), Some("b")])).unwrap();
        assert_eq!((again.len(), again[0].partition), (1, groups[1].partition));
        assert!(again[0].rows.is_none());
        assert_eq!(partitioner.split(&batch(&[])).unwrap().len(), 0);
    }

    #[test]
    fn the_word_for_null_as_a_text_is_none() {
        let mut partitioner = partitioner(true);
        let groups = partitioner.split(&batch(&[Some(NULL_PARTITION), None])).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(partitioner.values(0)[0], "%5F_HIVE_DEFAULT_PARTITION__");
        assert_eq!(groups[0].batch.num_columns(), 2, "asked to keep them");
    }

    #[test]
    fn without_partition_columns_a_batch_stays_whole() {
        let template = NameTemplate::parse("{number}", &[]).unwrap();
        let mut partitioner = Partitioner::new(&template, &columns(), false).unwrap();
        let groups = partitioner.split(&batch(&[Some("a"), None])).unwrap();
        assert_eq!((groups.len(), groups[0].batch.num_rows()), (1, 2));
        assert!(partitioner.values(0).is_empty());
    }

    #[test]
    fn columns_that_cannot_name_objects_are_refused() {
        let new = |by: &[&str], columns: &[Column]| {
            let by: Vec<_> = by.iter().map(|it| (*it).to_owned()).collect();
            let template = NameTemplate::parse("{number}", &by).unwrap();
            Partitioner::new(&template, columns, false).map(drop).unwrap_err().kind
        };
        assert_eq!(new(&["nobody"], &columns()), ErrorKind::Options);
        assert_eq!(new(&["id", "land"], &columns()), ErrorKind::Options);
        let list = Column::new("l", "list<int32>".parse().unwrap(), true);
        assert_eq!(new(&["l"], &[columns(), vec![list]].concat()), ErrorKind::Unsupported);
    }
}
