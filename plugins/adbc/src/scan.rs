//! The rows of one split: the driver's batches as they come, in pieces of the size that the host
//! wants. Nothing is done for single rows or values.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use transload_plugin_api::{
    Column, Error, Origin, Position, ReadBatch, ReadTask, Result, schema_of,
};

use crate::{
    session::{Rows, Session},
    types::converted,
};

/// What a batch aims at: rows, and bytes.
const ROWS: usize = 8_192;
const BYTES: usize = 4 << 20;

/// A reading that has begun.
pub(crate) struct Scan {
    rows: Rows,
    /// Pieces of the driver's last batch.
    pieces: VecDeque<RecordBatch>,
    schema: SchemaRef,
    /// Where the columns are in the driver's batches.
    indexes: Vec<usize>,
    source: String,
    read: u64,
    _session: Session,
}

impl Scan {
    /// `named`: the columns are found by these names, among others.
    pub(crate) fn new(
        rows: Rows,
        session: Session,
        source: String,
        columns: &[Column],
        named: Option<&[&str]>,
    ) -> Result<Self> {
        let found = rows.schema();
        let index = |name: &&str| {
            found
                .index_of(name)
                .map_err(|_| Error::schema(format!("the query has no column `{name}` any more")))
        };
        let indexes = match named {
            Some(names) => names.iter().map(index).collect::<Result<_>>()?,
            None => (0..columns.len()).collect(),
        };
        let schema = schema_of(columns);
        Ok(Self {
            rows,
            pieces: VecDeque::new(),
            schema,
            indexes,
            source,
            read: 0,
            _session: session,
        })
    }

    fn divide(&mut self, batch: &RecordBatch) {
        let rows = batch.num_rows().max(1);
        let width = (batch.get_array_memory_size() / rows).max(1);
        let most = (BYTES / width).clamp(1, ROWS);
        for at in (0..batch.num_rows()).step_by(most) {
            self.pieces.push_back(batch.slice(at, most.min(batch.num_rows() - at)));
        }
    }
}

impl ReadTask for Scan {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        while self.pieces.is_empty() {
            let Some(batch) = self.rows.next()? else { return Ok(None) };
            let chosen = batch.project(&self.indexes);
            let chosen = chosen.map_err(|error| Error::data(format!("read: {error}")))?;
            let converted = converted(&chosen, &self.schema)?;
            self.divide(&converted);
        }
        let Some(piece) = self.pieces.pop_front() else { return Ok(None) };
        let origin = Origin::new(self.source.clone(), "row", self.read + 1);
        self.read += piece.num_rows() as u64;
        let bytes = piece.get_array_memory_size() as u64;
        let mut batch = ReadBatch::new(piece, Position::default(), origin);
        batch.bytes = bytes;
        Ok(Some(batch))
    }
}
