//! Reads a table: one split, and positions that are the place of the next line.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    sync::Arc,
};

use serde_json::Value;
use transload_plugin_api::{
    arrow_array::{ArrayRef, Int32Array, Int64Array, StringArray},
    *,
};

use crate::store::Store;

/// Lines of a batch.
const BATCH: usize = 8_192;

impl Reader for Store {
    fn check(&self) -> Result<Vec<Finding>> {
        let mut findings = Store::check(self)?;
        if findings.iter().all(|finding| finding.ok) && self.table.is_some() {
            let (ok, detail) = match self.schema() {
                Ok(schema) => (true, format!("{} columns", schema.columns.len())),
                Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
                Err(error) => (false, error.to_string()),
            };
            findings.push(Finding { stage: "table".to_owned(), ok, detail });
        }
        Ok(findings)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.tables()
    }

    fn schema(&self) -> Result<SourceSchema> {
        let missing = || Error::not_found(format!("there is no table `{}`", self.table().unwrap_or("")));
        let columns = self.columns()?.ok_or_else(missing)?;
        Ok(SourceSchema { columns, ..SourceSchema::default() })
    }

    fn splits(&self, _: &SplitRequest) -> Result<Vec<Split>> {
        self.columns()?;
        Ok(vec![Split::new("all rows", "", SplitAbility::Seekable)])
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        // Splits and positions come from outside: they are checked, not trusted.
        let foreign = || Error::options("not a split or position of this reader");
        let own = self.schema()?.columns;
        let place = |wanted: &Column| own.iter().position(|own| own.name == wanted.name);
        let places = columns.iter().map(place).collect::<Option<Vec<_>>>().ok_or_else(foreign)?;
        let mut file = BufReader::new(File::open(self.path()?)?);
        let (mut offset, mut line) = (file.read_line(&mut String::new())? as u64, 1);
        if let Some(after) = after {
            let text = std::str::from_utf8(&after.0).ok().and_then(|text| text.split_once(' '));
            let (at, number) = text.ok_or_else(foreign)?;
            offset = at.parse().map_err(|_| foreign())?;
            line = number.parse().map_err(|_| foreign())?;
        }
        if !split.data.is_empty() || offset > file.get_ref().metadata()?.len() {
            return Err(foreign());
        }
        file.seek(SeekFrom::Start(offset))?;
        let (store, columns) = (self.clone(), columns.to_vec());
        Ok(Box::new(Rows { store, file, columns, places, own, offset, line }))
    }
}

struct Rows {
    store: Store,
    file: BufReader<File>,
    /// The columns of the batches, and where each is in a line.
    columns: Vec<Column>,
    places: Vec<usize>,
    /// The columns of a line.
    own: Vec<Column>,
    offset: u64,
    /// The number of the last line that was read.
    line: u64,
}

impl ReadTask for Rows {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        self.store.host.cancel().check()?;
        let begun = self.offset;
        let origin = Origin::new(self.store.table()?, "line", self.line + 1);
        let (mut rows, mut dirty) = (Vec::new(), Vec::new());
        let mut text = String::new();
        while rows.len() + dirty.len() < BATCH {
            text.clear();
            let bytes = self.file.read_line(&mut text)?;
            if bytes == 0 {
                break;
            }
            if !text.ends_with('\n') {
                return Err(Error::data(format!("line {} is not complete", self.line + 1)));
            }
            (self.offset, self.line) = (self.offset + bytes as u64, self.line + 1);
            match row(&text, &self.own) {
                Ok(row) => rows.push(row),
                Err(reason) => {
                    dirty.push(DirtyRow::new("parse", reason).number(self.line).text(text.trim_end()));
                }
            }
        }
        if self.offset == begun {
            return Ok(None);
        }
        let array = |(column, place): (&Column, &usize)| array(column, rows.iter().map(|row| &row[*place]));
        let arrays = self.columns.iter().zip(&self.places).map(array).collect();
        let batch = batch_of(&self.columns, arrays, rows.len())?;
        let position = Position(format!("{} {}", self.offset, self.line).into_bytes());
        let origin = origin.without(dirty.iter().filter_map(|row| row.number));
        let read = ReadBatch::new(batch, position, origin);
        Ok(Some(ReadBatch { dirty, bytes: self.offset - begun, ..read }))
    }
}

/// The cells of a line. What a column cannot hold exactly is refused, never rounded or cut.
fn row(text: &str, columns: &[Column]) -> Result<Vec<Value>, String> {
    let row: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if row.len() != columns.len() {
        return Err(format!("expected {} cells, found {}", columns.len(), row.len()));
    }
    for (cell, column) in row.iter().zip(columns) {
        let fits = match &column.logical {
            _ if cell.is_null() => column.nullable,
            LogicalType::Int32 => cell.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            LogicalType::Int64 => cell.is_i64(),
            _ => cell.is_string(),
        };
        if !fits {
            return Err(format!("column `{}`: expected {}, found `{cell}`", column.name, column.logical));
        }
    }
    Ok(row)
}

/// Cells that [`row`] has checked.
fn array<'a>(column: &Column, cells: impl Iterator<Item = &'a Value>) -> ArrayRef {
    match &column.logical {
        LogicalType::Int32 => {
            let numbers = cells.map(|cell| cell.as_i64().and_then(|number| i32::try_from(number).ok()));
            Arc::new(numbers.collect::<Int32Array>())
        }
        LogicalType::Int64 => Arc::new(cells.map(Value::as_i64).collect::<Int64Array>()),
        _ => Arc::new(cells.map(Value::as_str).collect::<StringArray>()),
    }
}
