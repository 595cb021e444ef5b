//! A reader in a worker, as the host uses it. Batches come without being asked for one by one: the
//! worker reads ahead as far as the shared memory holds.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use serde::de::DeserializeOwned;
use transload_plugin_api::{
    Column, Count, Digest, DigestRequest, Finding, Position, ReadBatch, ReadTask, Reader, Result,
    SourceSchema, Split, SplitRequest, TableInfo, TablePage, TableRequest, schema_of,
};

use super::{
    batch,
    call::Line,
    launch::Worker,
    message::{Batch, Request},
};

/// A reader in a process of its own.
pub(super) struct IsolatedReader(pub(super) Arc<Worker>);

impl IsolatedReader {
    fn call<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        let mut line = Line::open(&self.0)?;
        let answer = line.call(request, &[]);
        line.put_back();
        answer
    }
}

impl Reader for IsolatedReader {
    fn check(&self) -> Result<Vec<Finding>> {
        self.call(&Request::Check)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.call(&Request::Discover)
    }

    fn tables(&self, request: &TableRequest) -> Result<TablePage> {
        self.call(&Request::Tables(request.clone()))
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.call(&Request::Schema)
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        self.call(&Request::Produces(wanted.to_vec()))
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        self.call(&Request::Splits(request.clone()))
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let mut line = Line::open(&self.0)?;
        let (split, after) = (split.clone(), after.cloned());
        let request = Request::OpenReading { split, columns: columns.to_vec(), after };
        if let Err(error) = line.call::<()>(&request, &[]) {
            line.put_back();
            return Err(error);
        }
        let schema = schema_of(columns);
        Ok(Box::new(IsolatedReading { line: Some(line), schema, has_begun: false }))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        self.call(&Request::Counts)
    }

    fn digest(&self, request: &DigestRequest) -> Result<Option<Digest>> {
        self.call(&Request::Digest(request.clone()))
    }
}

/// A split that a worker reads.
struct IsolatedReading {
    /// `None` behind the end.
    line: Option<Line>,
    schema: SchemaRef,
    has_begun: bool,
}

impl IsolatedReading {
    fn next(&mut self) -> Result<Option<ReadBatch>> {
        let Some(line) = &mut self.line else { return Ok(None) };
        if !self.has_begun {
            line.send(&Request::Batches, &[], false)?;
            self.has_begun = true;
        }
        let (next, body) = line.receive::<Option<Batch>>(false)?;
        let Some(Batch { shape, position, origin, dirty, bytes }) = next else { return Ok(None) };
        let batch = batch::decode(&self.schema, &shape, &body)?;
        Ok(Some(ReadBatch { batch, position, origin, dirty, bytes }))
    }
}

impl ReadTask for IsolatedReading {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        let next = self.next();
        // The worker has closed the task.
        if matches!(next, Ok(None))
            && let Some(line) = self.line.take()
        {
            line.put_back();
        }
        next
    }
}

impl Drop for IsolatedReading {
    fn drop(&mut self) {
        if let Some(line) = &mut self.line {
            line.close();
        }
    }
}
