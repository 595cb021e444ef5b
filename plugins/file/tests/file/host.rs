//! The host's side of the plugin: whole jobs through its methods, and tables as texts.

use std::path::Path;

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use transload_plugin_api::{
    ChunkOutcome, Column, Counters, DirtyRow, Host, Options, Plugin, Position, Reader, Receipt,
    Result, Split, SplitRequest, TaskContext, WriteMode, WritePlan, Writer, schema_of,
};
use transload_plugin_file::FilePlugin;
use transload_values::{CellWords, ColumnParser, ColumnRenderer};

/// A row's cells, `None` for NULL.
pub(crate) type Row = Vec<Option<String>>;

/// Options from a JSON object.
pub(crate) fn options(values: Value) -> Options {
    let Value::Object(values) = values else { panic!("options are an object") };
    Options { values, ..Options::default() }
}

/// Options with the path of a file in a folder.
pub(crate) fn reading(path: &Path, mut more: Value) -> Options {
    more["path"] = json!([path.to_str().unwrap()]);
    options(more)
}

pub(crate) fn writing(path: &Path, mut more: Value) -> Options {
    more["path"] = json!(path.to_str().unwrap());
    options(more)
}

pub(crate) fn columns(list: &[(&str, &str)]) -> Vec<Column> {
    list.iter().map(|(name, logical)| Column::new(*name, logical.parse().unwrap(), true)).collect()
}

/// A batch of these texts.
pub(crate) fn batch(columns: &[Column], rows: &[Row]) -> RecordBatch {
    let words = CellWords::default();
    let build = |(index, column): (usize, &Column)| {
        let mut builder = ColumnParser::new(column, &words).unwrap();
        for row in rows {
            match &row[index] {
                None => builder.append_null().unwrap(),
                Some(text) => builder.append_text(text.as_bytes()).unwrap(),
            }
        }
        builder.finish()
    };
    let arrays = columns.iter().enumerate().map(build).collect();
    RecordBatch::try_new(schema_of(columns), arrays).unwrap()
}

/// The texts of a batch.
pub(crate) fn rows_of(columns: &[Column], batch: &RecordBatch) -> Vec<Row> {
    let cells: Vec<_> = columns
        .iter()
        .zip(batch.columns())
        .map(|(column, array)| ColumnRenderer::new(column, array.as_ref()).unwrap())
        .collect();
    let text = |cells: &ColumnRenderer<'_>, row: usize| {
        let mut out = Vec::new();
        (!cells.is_null(row)).then(|| cells.render(row, &mut out))?;
        Some(String::from_utf8(out).unwrap())
    };
    (0..batch.num_rows()).map(|row| cells.iter().map(|cells| text(cells, row)).collect()).collect()
}

pub(crate) fn row(cells: &[&str]) -> Row {
    cells.iter().map(|cell| (*cell != "NULL").then(|| (*cell).to_owned())).collect()
}

/// The result of reading.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) rows: Vec<Row>,
    pub(crate) dirty: Vec<DirtyRow>,
    pub(crate) bytes: u64,
    pub(crate) splits: Vec<Split>,
    /// The places of all rows.
    pub(crate) places: Vec<String>,
    pub(crate) positions: Vec<(usize, Position, usize)>,
}

pub(crate) fn reader(options: Options) -> Box<dyn Reader> {
    FilePlugin.reader(options, Host::detached()).unwrap()
}

pub(crate) fn writer(options: Options) -> Box<dyn Writer> {
    FilePlugin.writer(options, Host::detached()).unwrap()
}

/// Reads everything, with the schema's types.
pub(crate) fn read(options: Options, max: u32) -> Result<Read> {
    let reader = reader(options);
    let columns = reader.schema()?.columns;
    read_columns(reader.as_ref(), &columns, max)
}

/// Reads some columns of everything.
pub(crate) fn read_columns(reader: &dyn Reader, columns: &[Column], max: u32) -> Result<Read> {
    let columns = reader.produces(columns)?;
    let splits = reader.splits(&SplitRequest::new(max, columns.clone()))?;
    let mut read = Read::default();
    for (number, split) in splits.iter().enumerate() {
        read_split(reader, (number, split), &columns, None, &mut read)?;
    }
    read.splits = splits;
    Ok(read)
}

/// Reads one split, from its start or after a position.
pub(crate) fn read_split(
    reader: &dyn Reader,
    (number, split): (usize, &Split),
    columns: &[Column],
    after: Option<&Position>,
    read: &mut Read,
) -> Result<()> {
    let mut task = reader.open(split, columns, after)?;
    while let Some(found) = task.next_batch()? {
        let origin = found.origin.unwrap();
        read.places.extend((0..found.batch.num_rows() as u64).map(|row| origin.place(row)));
        read.rows.extend(rows_of(columns, &found.batch));
        read.dirty.extend(found.dirty);
        read.bytes += found.bytes;
        read.positions.push((number, found.position, read.rows.len()));
    }
    Ok(())
}

pub(crate) fn plan(run: &str, columns: &[Column], mode: WriteMode) -> WritePlan {
    WritePlan { run: run.to_owned(), columns: columns.to_vec(), mode, ..WritePlan::default() }
}

/// Writes one task's batches, each as a chunk, and finishes the task.
pub(crate) fn write_task(
    writer: &dyn Writer,
    plan: &WritePlan,
    task: u32,
    batches: &[RecordBatch],
) -> Result<(Receipt, Vec<DirtyRow>)> {
    let mut open = writer.open(plan, &TaskContext { task, epoch: 0 })?;
    let mut dirty = Vec::new();
    for (sequence, batch) in batches.iter().enumerate() {
        open.begin_chunk(sequence as u64)?;
        let written = open.write(batch)?;
        assert_eq!(written.inserted as usize + written.dirty.len(), batch.num_rows());
        dirty.extend(written.dirty);
        let outcome = open.commit_chunk(&Position::default(), &Counters::default())?;
        assert_eq!(outcome, ChunkOutcome::Committed);
    }
    Ok((open.finish()?, dirty))
}

/// A whole job; each inner list is written by one task.
pub(crate) fn write(
    options: Options,
    plan: &WritePlan,
    tasks: &[Vec<RecordBatch>],
) -> Result<Vec<DirtyRow>> {
    let writer = writer(options);
    writer.draft(plan)?;
    writer.prepare(plan)?;
    let (mut receipts, mut dirty) = (Vec::new(), Vec::new());
    for (task, batches) in tasks.iter().enumerate() {
        let (receipt, refused) = write_task(writer.as_ref(), plan, task as u32, batches)?;
        receipts.push(receipt);
        dirty.extend(refused);
    }
    assert_eq!(writer.commit(plan, &receipts)?, ChunkOutcome::Committed);
    assert_eq!(writer.commit(plan, &receipts)?, ChunkOutcome::AlreadyCommitted);
    writer.finalise(plan)?;
    writer.finalise(plan)?;
    assert_eq!(writer.commit(plan, &receipts)?, ChunkOutcome::AlreadyCommitted);
    Ok(dirty)
}

/// The names in a folder, including hidden ones, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
