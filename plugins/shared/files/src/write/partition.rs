//! Which rows of a batch go to which partition. Values are compared as their exact texts; nothing
//! is allocated for a row whose partition has been seen before.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow_array::{BooleanArray, RecordBatch, UInt32Array};
use arrow_select::{filter::filter_record_batch, take::take_record_batch};
use transload_plugin_api::{Column, Error, Result, code, nearest, schema_of};
use transload_values::ColumnRenderer;

use super::{
    name_template::{NULL_PARTITION, NameColumn, NameTemplate, encode},
    partition_part::Part,
};

/// One partition: its values as they are written in names, in the template's order.
pub(crate) type Values = Arc<[String]>;

/// A partition, and which rows of a [`PartitionedBatch`] are its own.
pub(crate) type Group = (usize, Range<usize>);

/// A batch whose rows are sorted by partition.
#[derive(Debug)]
pub(crate) struct PartitionedBatch {
    /// The rows, without the columns that names carry.
    pub(crate) batch: RecordBatch,
    /// Where each row stood in the batch as it came; `None` if they stand as they came.
    pub(crate) rows: Option<UInt32Array>,
    /// Each partition's rows in `batch`, behind each other and in the order of their first rows.
    pub(crate) groups: Vec<Group>,
}

impl PartitionedBatch {
    /// All rows are of one partition.
    pub(crate) fn of_one(partition: usize, batch: RecordBatch) -> Self {
        let groups = vec![(partition, 0..batch.num_rows())];
        Self { batch, rows: None, groups }
    }

    /// Where a row stood in the batch as it came.
    pub(crate) fn row(&self, index: usize) -> u64 {
        self.rows.as_ref().map_or(index as u64, |rows| u64::from(rows.value(index)))
    }

    /// One partition's rows by themselves.
    pub(crate) fn part(&self, group: &Group) -> PartitionRows {
        let (partition, Range { start, end }) = (group.0, group.1.clone());
        let rows = self.rows.as_ref().map(|rows| rows.slice(start, end - start));
        PartitionRows { partition, batch: self.batch.slice(start, end - start), rows }
    }

    /// Without some rows, by their index, rising.
    pub(crate) fn without(&self, refused: &[usize]) -> Result<Self> {
        let mut keep = vec![true; self.batch.num_rows()];
        refused.iter().for_each(|row| keep[*row] = false);
        let kept_before = |row: usize| row - refused.partition_point(|refused| *refused < row);
        let group = |(partition, rows): &Group| {
            (*partition, kept_before(rows.start)..kept_before(rows.end))
        };
        let rows = (0..self.batch.num_rows()).filter(|row| keep[*row]);
        let rows = UInt32Array::from_iter_values(rows.map(|row| self.row(row) as u32));
        let keep = BooleanArray::from(keep.clone());
        let batch = filter_record_batch(&self.batch, &keep).map_err(|error| defect(&error))?;
        Ok(Self { batch, rows: Some(rows), groups: self.groups.iter().map(group).collect() })
    }
}

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

/// The values of a column that names partitions, and which part of them does.
type PlacedCells<'a> = (ColumnRenderer<'a>, Part);

/// Sorts rows into partitions.
pub(crate) struct Partitioner {
    columns: Vec<Column>,
    /// Of the columns, those that name partitions, and by which part of their values.
    placed: Vec<(usize, Part)>,
    /// Of the columns, those that go into the objects.
    kept: Vec<usize>,
    /// Partition by the exact texts of its values.
    known: HashMap<Box<[u8]>, usize>,
    values: Vec<Values>,
    /// Counts batches.
    batches: u64,
    /// For each partition, the last batch that had it, and its place among that batch's partitions.
    entries: Vec<(u64, u32)>,
}

/// The partitions of a batch.
struct Found {
    /// Each with the number of its rows.
    partitions: Vec<(usize, usize)>,
    /// For each row, its partition's place in `partitions`.
    of_rows: Vec<u32>,
}

impl Found {
    /// The rows by partition, and each partition's part of them.
    fn sort(self) -> (UInt32Array, Vec<Group>) {
        let (mut groups, mut end) = (Vec::with_capacity(self.partitions.len()), 0);
        for (partition, count) in self.partitions {
            groups.push((partition, end..end + count));
            end += count;
        }
        let mut next: Vec<usize> = groups.iter().map(|(_, rows)| rows.start).collect();
        let mut rows = vec![0; end];
        for (row, entry) in self.of_rows.into_iter().enumerate() {
            let next = &mut next[entry as usize];
            rows[*next] = row as u32;
            *next += 1;
        }
        (UInt32Array::from(rows), groups)
    }
}

impl Partitioner {
    /// For batches of these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for partition columns that the rows do not have,
    /// [`ErrorKind::Unsupported`] for one whose type has no text.
    pub(crate) fn new(template: &NameTemplate, columns: &[Column], keep: bool) -> Result<Self> {
        let index = |name: &str| columns.iter().position(|column| column.name == name);
        let (mut placed, mut dropped) = (Vec::new(), Vec::new());
        for column in template.columns() {
            let index = index(&column.name).ok_or_else(|| missing(column, columns))?;
            column.part.check(&column.name, &columns[index].logical)?;
            placed.push((index, column.part));
            if column.part == Part::Whole {
                dropped.extend((column.hive && !keep).then_some(index));
            } else if columns.iter().any(|other| other.name == column.label()) {
                return Err(label_is_taken(column));
            }
        }
        let kept: Vec<_> = (0..columns.len()).filter(|index| !dropped.contains(index)).collect();
        if kept.is_empty() && !columns.is_empty() {
            let message = "every column is a partition column: nothing is left for the objects";
            return Err(Error::options(message).hint("set `keep_partition_columns = true`"));
        }
        let nothing = RecordBatch::new_empty(schema_of(columns));
        for (index, _) in &placed {
            ColumnRenderer::new(&columns[*index], nothing.column(*index).as_ref())?;
        }
        let columns = columns.to_vec();
        Ok(Self {
            columns,
            placed,
            kept,
            known: HashMap::new(),
            values: Vec::new(),
            batches: 0,
            entries: Vec::new(),
        })
    }

    /// The columns that go into the objects.
    pub(crate) fn kept(&self) -> Vec<Column> {
        self.kept.iter().map(|index| self.columns[*index].clone()).collect()
    }

    /// Partitions seen so far.
    pub(crate) fn seen(&self) -> usize {
        self.values.len()
    }

    /// A partition's values.
    pub(crate) fn values(&self, partition: usize) -> Values {
        Arc::clone(&self.values[partition])
    }

    /// The batch by partitions, in the order of their first rows.
    pub(crate) fn split(&mut self, batch: &RecordBatch) -> Result<PartitionedBatch> {
        let narrow = batch.project(&self.kept).map_err(|error| defect(&error))?;
        if self.placed.is_empty() {
            if self.values.is_empty() {
                self.values.push(Arc::new([]));
            }
            return Ok(PartitionedBatch::of_one(0, narrow));
        }
        let found = self.find(batch)?;
        if let [(partition, _)] = found.partitions[..] {
            return Ok(PartitionedBatch::of_one(partition, narrow));
        }
        let (rows, groups) = found.sort();
        // The rows are copied once, and each partition is a part of the copy.
        let batch = take_record_batch(&narrow, &rows).map_err(|error| defect(&error))?;
        Ok(PartitionedBatch { batch, rows: Some(rows), groups })
    }

    /// Which partitions the rows belong to.
    fn find(&mut self, batch: &RecordBatch) -> Result<Found> {
        let cells = self
            .placed
            .iter()
            .map(|(index, part)| {
                let cells =
                    ColumnRenderer::new(&self.columns[*index], batch.column(*index).as_ref())?;
                Ok((cells, *part))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut found = Found { partitions: Vec::new(), of_rows: Vec::new() };
        found.of_rows.reserve(batch.num_rows());
        self.batches += 1;
        let (mut text, mut last, mut entry) = (Vec::new(), Vec::new(), u32::MAX);
        for row in 0..batch.num_rows() {
            text.clear();
            cells.iter().for_each(|cells| exact_text(cells, row, &mut text));
            if entry == u32::MAX || text != last {
                let partition = match self.known.get(text.as_slice()) {
                    Some(partition) => *partition,
                    None => self.learn(&cells, row, &text),
                };
                entry = self.entry(partition, &mut found.partitions);
                std::mem::swap(&mut text, &mut last);
            }
            found.partitions[entry as usize].1 += 1;
            found.of_rows.push(entry);
        }
        Ok(found)
    }

    /// A partition's place among those of the current batch.
    fn entry(&mut self, partition: usize, partitions: &mut Vec<(usize, usize)>) -> u32 {
        let (batch, entry) = &mut self.entries[partition];
        if *batch != self.batches {
            (*batch, *entry) = (self.batches, partitions.len() as u32);
            partitions.push((partition, 0));
        }
        *entry
    }

    fn learn(&mut self, cells: &[PlacedCells<'_>], row: usize, text: &[u8]) -> usize {
        let value = |(cells, part): &PlacedCells<'_>| {
            if cells.is_null(row) {
                return NULL_PARTITION.to_owned();
            }
            let mut value = Vec::new();
            cells.render(row, &mut value);
            part.cut(&mut value, 0);
            // A text that spells the word for NULL must not become one.
            match value.strip_prefix(b"_") {
                Some(rest) if value == NULL_PARTITION.as_bytes() => format!("%5F{}", encode(rest)),
                _ => encode(&value),
            }
        };
        let partition = self.values.len();
        self.values.push(cells.iter().map(value).collect());
        self.entries.push((0, 0));
        self.known.insert(text.into(), partition);
        partition
    }
}

/// Adds a cell so that no two rows of different cells get the same bytes.
fn exact_text((cells, part): &PlacedCells<'_>, row: usize, text: &mut Vec<u8>) {
    if cells.is_null(row) {
        text.push(0);
        return;
    }
    let start = text.len();
    text.push(1);
    text.extend([0; 4]);
    cells.render(row, text);
    part.cut(text, start + 5);
    let length = (text.len() - start - 5) as u32;
    text[start + 1..start + 5].copy_from_slice(&length.to_le_bytes());
}

/// The folders of a partition in an object's name; `levels` is their number.
pub(crate) fn partition_of(name: &str, levels: usize) -> &str {
    let end = name.match_indices('/').nth(levels.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    &name[..end]
}

fn missing(column: &NameColumn, columns: &[Column]) -> Error {
    let names = columns.iter().map(|column| column.name.as_str());
    Error::options(format!("there is no column `{}`", column.name))
        .with_code(code::PLAN_COLUMN)
        .of_key(if column.hive { "partition_by" } else { "name" })
        .hint(nearest::advice(&column.name, names, "columns written:"))
}

fn label_is_taken(column: &NameColumn) -> Error {
    let label = column.label();
    let message = format!("folders would be named by `{label}`, and a column has this name");
    Error::options(message)
        .of_key("partition_by")
        .hint(format!("rename the column by [map]: `{label} = \"another_name\"`"))
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

    fn parts(split: &PartitionedBatch) -> Vec<PartitionRows> {
        split.groups.iter().map(|group| split.part(group)).collect()
    }

    #[test]
    fn rows_go_to_their_partitions() {
        let mut partitioner = partitioner(false);
        let lands = [Some("a"), Some("b"), None, Some("b"), Some("a"), Some(""), Some("a/b")];
        let split = partitioner.split(&batch(&lands)).unwrap();
        let groups = parts(&split);
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
        let again = parts(&partitioner.split(&batch(&[Some("b"), Some("b")])).unwrap());
        assert_eq!((again.len(), again[0].partition), (1, groups[1].partition));
        assert!(again[0].rows.is_none());
        assert_eq!(partitioner.split(&batch(&[])).unwrap().groups.len(), 0);
        // rows that are refused are missing from their partitions
        let left = parts(&split.without(&[0, 3, 6]).unwrap());
        let left: Vec<_> = left.iter().map(rows).collect();
        assert_eq!(left, [vec![4], vec![1], vec![2], vec![5], vec![]]);
    }

    #[test]
    fn the_word_for_null_as_a_text_is_none() {
        let mut partitioner = partitioner(true);
        let split = partitioner.split(&batch(&[Some(NULL_PARTITION), None])).unwrap();
        let groups = parts(&split);
        assert_eq!(groups.len(), 2);
        assert_eq!(partitioner.values(0)[0], "%5F_HIVE_DEFAULT_PARTITION__");
        assert_eq!(groups[0].batch.num_columns(), 2, "asked to keep them");
    }

    #[test]
    fn without_partition_columns_a_batch_stays_whole() {
        let template = NameTemplate::parse("{number}", &[]).unwrap();
        let mut partitioner = Partitioner::new(&template, &columns(), false).unwrap();
        let groups = parts(&partitioner.split(&batch(&[Some("a"), None])).unwrap());
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
