//! The reading side: splits are ranges of row numbers; a position is the number of the next row.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    Cancel, Column, DirtyRow, Error, Finding, Host, Options, Origin, Position, ReadBatch, ReadTask,
    Reader, Result, SourceSchema, Split, SplitAbility, SplitRequest, TableInfo, columns_of,
    schema_of,
};
use transload_values::JsonRow;

use crate::{column::ColumnMaker, options::ReaderOptions};

/// A source whose rows are generated on demand.
pub(crate) struct GeneratorReader {
    options: ReaderOptions,
    makers: Vec<Arc<ColumnMaker>>,
    schema: SourceSchema,
    cancel: Cancel,
    /// Whether `lose_at` has been triggered.
    lost: Arc<AtomicBool>,
}

impl GeneratorReader {
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let options = ReaderOptions::parse(options)?;
        let makers: Vec<_> = options
            .specs()?
            .into_iter()
            .map(|spec| Arc::new(ColumnMaker::new(spec, options.seed)))
            .collect();
        let columns: Vec<Column> = makers.iter().map(|maker| maker.spec().column()).collect();
        let keys = options.keys(&columns)?;
        let schema = SourceSchema { columns, keys, ..SourceSchema::default() };
        let (cancel, lost) = (host.cancel().clone(), Arc::default());
        Ok(Self { options, makers, schema, cancel, lost })
    }

    fn index_of(&self, name: &str) -> Result<usize> {
        let columns = &self.schema.columns;
        columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            Error::schema(format!("there is no column `{name}`"))
                .hint(format!("the columns are `{}`", known.join("`, `")))
        })
    }
}

impl Reader for GeneratorReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let detail = format!("{} rows of {} columns", self.options.rows, self.makers.len());
        Ok(vec![Finding { stage: "options".to_owned(), ok: true, detail }])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let rows = Some(self.options.rows);
        let columns = self.schema.columns.clone();
        let keys = self.schema.keys.clone();
        Ok(vec![TableInfo { rows, columns, keys, ..TableInfo::new(SOURCE, "made") }])
    }

    fn schema(&self) -> Result<SourceSchema> {
        Ok(self.schema.clone())
    }

    /// Each column in its own type, whatever type is wanted: the host converts.
    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let own = |wanted: &Column| Ok(self.schema.columns[self.index_of(&wanted.name)?].clone());
        wanted.iter().map(own).collect()
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        let rows = self.options.rows;
        let count = u64::from(request.max).min(rows).max(1);
        // Widened, because rows times splits may not fit 64 bits.
        let bound = |part: u64| (u128::from(rows) * u128::from(part) / u128::from(count)) as u64;
        let ranges = (0..count).map(|part| RowRange { from: bound(part), to: bound(part + 1) });
        ranges.map(|range| range.split(self.options.ability.into())).collect()
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        self.cancel.sleep(Duration::from_millis(self.options.open_delay))?;
        let range = RowRange::of(split)?;
        let next = match after {
            Some(_) if split.ability != SplitAbility::Seekable => {
                let message = "this split can only be read from its start";
                return Err(Error::unsupported(message).at(&split.label));
            }
            Some(position) => range.next(position)?,
            None => range.from,
        };
        tracing::debug!(split = split.label, next, "split opened");
        let maker = |column: &Column| Ok(Arc::clone(&self.makers[self.index_of(&column.name)?]));
        Ok(Box::new(GeneratorTask {
            makers: columns.iter().map(maker).collect::<Result<_>>()?,
            schema: schema_of(columns),
            options: self.options.clone(),
            cancel: self.cancel.clone(),
            lost: Arc::clone(&self.lost),
            next,
            end: range.to,
            rows: Vec::new(),
        }))
    }
}

const SOURCE: &str = "generator";

/// The rows of a split: from `from` up to, but not including, `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RowRange {
    from: u64,
    to: u64,
}

impl RowRange {
    fn split(self, ability: SplitAbility) -> Result<Split> {
        let data =
            serde_json::to_string(&self).map_err(|error| Error::defect(error.to_string()))?;
        let label = format!("rows {}..{}", self.from, self.to);
        let hint = "leave `ability` out, or set it to `seekable` or `replayable`".to_owned();
        let hint = (ability < SplitAbility::Replayable).then_some(hint);
        let rows = Some(self.to - self.from);
        Ok(Split { rows, hint, ..Split::new(label, data, ability) })
    }

    fn of(split: &Split) -> Result<Self> {
        serde_json::from_str(&split.data).map_err(|error| {
            let message = format!("`{}` is not a split of the generator", split.data);
            Error::schema(message).caused_by(&error)
        })
    }

    /// The next row, according to a position of this split.
    fn next(self, position: &Position) -> Result<u64> {
        let text = std::str::from_utf8(&position.0).ok();
        let row = text.and_then(|text| text.parse().ok());
        row.filter(|row| (self.from..=self.to).contains(row)).ok_or_else(|| {
            let Self { from, to } = self;
            let message = format!("the position is not in rows {from}..{to}");
            Error::schema(message)
        })
    }
}

/// The reading of one split.
struct GeneratorTask {
    makers: Vec<Arc<ColumnMaker>>,
    schema: SchemaRef,
    options: ReaderOptions,
    cancel: Cancel,
    lost: Arc<AtomicBool>,
    next: u64,
    end: u64,
    /// The numbers of the batch's rows, kept to reuse the memory.
    rows: Vec<u64>,
}

impl GeneratorTask {
    /// Fails or panics if the job requests it at the next row; otherwise returns the distance to
    /// the nearest such row.
    fn stretch(&self) -> Result<u64> {
        if self.options.panic_at == Some(self.next) {
            panic!("panics at row {} because of `panic_at`", self.next);
        }
        if self.options.fail_at == Some(self.next) {
            let message = "fails because of `fail_at`";
            return Err(Error::other(message).at(place(self.next)));
        }
        if self.options.lose_at == Some(self.next) && !self.lost.swap(true, Ordering::Relaxed) {
            let message = "loses the connection because of `lose_at`";
            return Err(Error::connection(message).at(place(self.next)));
        }
        let ReaderOptions { fail_at, panic_at, lose_at, .. } = &self.options;
        let faults = [*fail_at, *panic_at, *lose_at];
        let fault = faults.into_iter().flatten().filter(|row| *row > self.next).min();
        let end = self.end.min(self.next.saturating_add(self.options.batch_rows.max(1)));
        Ok(fault.map_or(end, |row| row.min(end)))
    }

    fn is_dirty(&self, row: u64) -> bool {
        let every = self.options.dirty_every;
        every > 0 && (row + 1).is_multiple_of(every)
    }

    fn dirty_row(&self, row: u64) -> Result<DirtyRow> {
        let columns = columns_of(&self.schema).map_err(Error::defect)?;
        let mut values = JsonRow::default();
        for (maker, column) in self.makers.iter().zip(&columns) {
            values.value(&column.name, &column.logical, maker.make(&[row])?.as_ref(), 0);
        }
        let dirty = DirtyRow::new("generated", "dirty because of `dirty_every`").number(row);
        Ok(dirty.values(values.finish()))
    }

    fn batch(&self) -> Result<RecordBatch> {
        let columns = self.makers.iter().map(|maker| maker.make(&self.rows));
        let columns = columns.collect::<Result<_>>()?;
        // The row count is set because a batch may have no columns.
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(
            |error| {
                let message = "the requested columns are not those that the reader produces";
                Error::schema(message).caused_by(&error)
            },
        )
    }
}

impl ReadTask for GeneratorTask {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        self.cancel.check()?;
        if self.next == self.end {
            return Ok(None);
        }
        self.cancel.sleep(Duration::from_millis(self.options.delay))?;
        let (first, stop) = (self.next, self.stretch()?);
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        rows.extend((first..stop).filter(|row| !self.is_dirty(*row)));
        self.rows = rows;
        let dirty = (first..stop).filter(|row| self.is_dirty(*row));
        let dirty = dirty.map(|row| self.dirty_row(row)).collect::<Result<_>>()?;
        let batch = self.batch()?;
        self.next = stop;
        let origin = Origin::new(SOURCE, "row", first);
        Ok(Some(ReadBatch {
            position: Position(stop.to_string().into_bytes()),
            origin: Some(origin.without((first..stop).filter(|row| self.is_dirty(*row)))),
            bytes: batch.get_array_memory_size() as u64,
            batch,
            dirty,
        }))
    }
}

fn place(row: u64) -> String {
    format!("{SOURCE}, row {row}")
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use transload_plugin_api::ErrorKind;

    fn reader(pairs: serde_json::Value) -> GeneratorReader {
        let serde_json::Value::Object(values) = pairs else { panic!("an object") };
        let options = Options { values, ..Options::default() };
        GeneratorReader::new(&options, &Host::detached()).unwrap()
    }

    /// Every row of every split: the row number (from the sequence) with its random value.
    fn rows(reader: &GeneratorReader, max: u32) -> Vec<(i64, i64)> {
        let columns = reader.schema.columns.clone();
        let mut rows = Vec::new();
        for split in reader.splits(&SplitRequest::new(max, columns.clone())).unwrap() {
            let mut task = reader.open(&split, &columns, None).unwrap();
            while let Some(read) = task.next_batch().unwrap() {
                let [id, value] = [0, 1].map(|at| {
                    read.batch.column(at).as_primitive::<arrow_array::types::Int64Type>().clone()
                });
                rows.extend(id.values().iter().copied().zip(value.values().iter().copied()));
            }
        }
        rows
    }

    fn two_columns(rows: u64, batch_rows: u64) -> GeneratorReader {
        let columns = json!({"a": "int64 sequence", "b": "int64"});
        reader(json!({"rows": rows, "batch_rows": batch_rows, "specs": columns}))
    }

    proptest! {
        #[test]
        fn any_split_layout_makes_the_same_rows(rows_ in 0u64..200, max in 1u32..20, batch in 1u64..50) {
            let once = rows(&two_columns(rows_, 8_192), 1);
            prop_assert_eq!(once.len() as u64, rows_);
            prop_assert_eq!(rows(&two_columns(rows_, batch), max), once);
        }
    }

    #[test]
    fn t02_first_and_last_row_are_there_once() {
        for max in 2..=10 {
            let ids: Vec<_> = rows(&two_columns(10, 3), max).iter().map(|row| row.0).collect();
            assert_eq!(ids, (1..=10).collect::<Vec<_>>(), "{max} splits");
        }
    }

    #[test]
    fn dirty_rows_and_faults_come_where_they_were_asked_for() {
        let columns = json!({"a": "int64 sequence"});
        let reader = reader(json!({
            "rows": 100, "specs": columns, "dirty_every": 10, "fail_at": 25, "batch_rows": 20
        }));
        let columns = reader.schema.columns.clone();
        let split = &reader.splits(&SplitRequest::new(1, columns.clone())).unwrap()[0];
        let mut task = reader.open(split, &columns, None).unwrap();
        let first = task.next_batch().unwrap().unwrap();
        assert_eq!((first.batch.num_rows(), first.dirty.len()), (18, 2));
        assert_eq!(first.dirty[0].number, Some(9));
        assert_eq!(task.next_batch().unwrap().unwrap().batch.num_rows(), 5);
        let error = task.next_batch().unwrap_err();
        assert_eq!(error.to_string(), "generator, row 25: fails because of `fail_at`");
    }

    #[test]
    fn foreign_splits_positions_and_columns_are_refused() {
        let reader = two_columns(10, 4);
        let columns = reader.schema.columns.clone();
        let request = SplitRequest::new(1, columns.clone());
        let split = reader.splits(&request).unwrap().remove(0);
        for position in ["11", "x", ""] {
            let position = Position(position.as_bytes().to_vec());
            let error = reader.open(&split, &columns, Some(&position)).err().unwrap();
            assert_eq!(error.kind, ErrorKind::Schema);
        }
        let foreign = Split { data: "{}".to_owned(), ..split };
        assert!(reader.open(&foreign, &columns, None).is_err());
        let wanted = Column::new("c", transload_plugin_api::LogicalType::TEXT, true);
        assert_eq!(reader.produces(&[wanted]).unwrap_err().kind, ErrorKind::Schema);
    }
}
