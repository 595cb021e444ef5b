//! Reads the hashes under a prefix in the order of their keys: a split is a range of keys, a position
//! the last key. Keys are listed when a split is opened, so a run sees those that existed then.

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed};

use transload_plugin_api::*;
use transload_values::{CellWords, ColumnParser};

use crate::{
    resp::{Connection, Reply},
    store::{Store, text_of},
};

/// Rows of a batch.
const BATCH: usize = 4_096;

/// The keys of a split: above the first, up to the second.
#[derive(serde::Serialize, serde::Deserialize)]
struct Range {
    above: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
}

impl Reader for Store {
    fn check(&self) -> Result<Vec<Finding>> {
        let mut findings = self.findings()?;
        // Nothing to read is a fault of a source, not of a target.
        if let Some(last) = findings.last_mut()
            && let Some(detail) = last.detail.strip_prefix("warning: ")
        {
            (last.ok, last.detail) = (false, detail.to_owned());
        }
        Ok(findings)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.prefixes()
    }

    fn counts(&self) -> Result<Vec<Count>> {
        Ok(vec![Count::new("keys_listed", self.listed.load(Relaxed))])
    }

    fn schema(&self) -> Result<SourceSchema> {
        let prefix = self.prefix()?;
        let columns = self.columns(&mut self.connect()?)?.ok_or_else(|| {
            Error::not_found(format!("the columns of `{prefix}` are not known"))
                .with_code("REDIS-COLUMNS")
                .hint("name them in the job: [reader.schema]")
        })?;
        Ok(SourceSchema { columns, ..SourceSchema::default() })
    }

    /// A text is parsed straight into the type that is wanted, exactly.
    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let own = self.schema()?.columns;
        let produce = |wanted: &Column| {
            let mut own = own.iter().find(|own| own.name == wanted.name).cloned().ok_or_else(|| {
                Error::schema(format!("there is no column `{}`", wanted.name))
            })?;
            if ColumnParser::new(wanted, &CellWords::default()).is_ok() {
                own.logical = wanted.logical.clone();
            }
            Ok(own)
        };
        wanted.iter().map(produce).collect()
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        let keys = self.keys(&mut self.connect()?, &self.rows()?)?;
        let step = keys.len().div_ceil(request.max as usize).max(1);
        let ends: Vec<_> = keys.chunks(step).filter_map(|keys| keys.last().cloned()).collect();
        let mut above = None;
        let mut splits = Vec::new();
        for (index, end) in ends.iter().enumerate() {
            let is_last = index + 1 == ends.len();
            let to = (!is_last).then(|| end.clone());
            let range = Range { above: above.replace(end.clone()), to };
            let label = format!("keys {} of {}", index + 1, ends.len());
            let data = serde_json::to_string(&range)
                .map_err(|error| Error::defect("a range").caused_by(&error))?;
            splits.push(Split::new(label, data, SplitAbility::Seekable));
        }
        Ok(splits)
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        // Splits and positions come from outside: they are checked, not trusted.
        let foreign = || Error::options("not a split or position of this reader");
        let Range { above, to } = serde_json::from_str(&split.data).map_err(|_| foreign())?;
        let mut connection = self.connect()?;
        let mut keys = self.keys(&mut connection, &self.rows()?)?;
        let above = after.map(|after| after.0.clone()).or(above);
        if after.is_some_and(|after| !after.0.starts_with(self.prefix().unwrap_or("").as_bytes())) {
            return Err(foreign());
        }
        keys.retain(|key| above.as_ref().is_none_or(|above| key > above));
        keys.retain(|key| to.as_ref().is_none_or(|to| key <= to));
        let parsers = columns.iter().map(|it| ColumnParser::new(it, &CellWords::default()));
        let parsers = parsers.collect::<Result<_>>()?;
        let (store, columns, first) = (self.clone(), columns.to_vec(), split.label.clone());
        let keys = keys.into_iter();
        Ok(Box::new(Hashes { store, connection, columns, parsers, keys, split: first, number: 0 }))
    }
}

struct Hashes {
    store: Store,
    connection: Connection,
    columns: Vec<Column>,
    parsers: Vec<ColumnParser>,
    keys: std::vec::IntoIter<Vec<u8>>,
    /// What rows are counted in.
    split: String,
    number: u64,
}

impl ReadTask for Hashes {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        self.store.host.cancel().check()?;
        let keys: Vec<_> = self.keys.by_ref().take(BATCH).collect();
        let Some(last) = keys.last().cloned() else { return Ok(None) };
        let get = |key: &Vec<u8>| vec![b"HGETALL".to_vec(), key.clone()];
        let hashes = self.connection.call(&keys.iter().map(get).collect::<Vec<_>>())?;
        let source = format!("{}, {}", self.store.prefix()?, self.split);
        let origin = Origin::new(source, "row", self.number + 1);
        let (mut dirty, mut bytes) = (Vec::new(), 0);
        for (key, hash) in keys.iter().zip(hashes) {
            self.number += 1;
            bytes += key.len() as u64;
            if let Err(row) = self.append(hash, &mut bytes) {
                let place = format!("key `{}`", String::from_utf8_lossy(key));
                dirty.push(row.number(self.number).place(place));
            }
        }
        let arrays: Vec<_> = self.parsers.iter_mut().map(ColumnParser::finish).collect();
        let rows = keys.len() - dirty.len();
        let origin = origin.without(dirty.iter().filter_map(|row| row.number));
        let batch = batch_of(&self.columns, arrays, rows)?;
        let read = ReadBatch::new(batch, Position(last), origin);
        Ok(Some(ReadBatch { dirty, bytes, ..read }))
    }
}

impl Hashes {
    /// Appends a row, or says what is wrong with it.
    fn append(&mut self, hash: Reply, bytes: &mut u64) -> Result<(), DirtyRow> {
        let Reply::List(cells) = hash else {
            let reason = match hash {
                Reply::Refused(reason) => reason,
                other => format!("{other:?}"),
            };
            return Err(DirtyRow::new("kind", format!("expected a hash: {reason}")));
        };
        if cells.is_empty() {
            return Err(DirtyRow::new("kind", "the key was removed meanwhile"));
        }
        let mut fields = HashMap::new();
        let mut cells = cells.into_iter().filter_map(text_of);
        while let (Some(field), Some(value)) = (cells.next(), cells.next()) {
            *bytes += (field.len() + value.len()) as u64;
            fields.insert(field, value);
        }
        let rows = self.parsers.first().map_or(0, ColumnParser::len);
        for (column, parser) in self.columns.iter().zip(&mut self.parsers) {
            let value = fields.get(column.name.as_bytes());
            let appended = match value {
                Some(text) => parser.append_text(text),
                None => parser.append_null(),
            };
            if let Err(error) = appended {
                let row = DirtyRow::new(error.code, error.reason).column(&*column.name);
                self.parsers.iter_mut().for_each(|parser| parser.truncate_to(rows));
                return Err(match value {
                    Some(text) => row.value(String::from_utf8_lossy(text)),
                    None => row,
                });
            }
        }
        Ok(())
    }
}
