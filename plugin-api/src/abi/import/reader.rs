//! A plugin's readers and read tasks as the host uses them. Each method calls the function of the
//! same name in `ReaderVtable` or `ReadTaskVtable`, whose contract is stated there.

use abi_stable::std_types::{RNone, ROption, RSlice, RSome, RStr, RString};
use arrow_schema::SchemaRef;
use serde::de::DeserializeOwned;

use super::too_old;
use crate::{
    Column, Count, Digest, DigestRequest, Finding, Gap, Origin, Position, ReadBatch, ReadTask,
    Reader, Result, SourceSchema, Split, SplitRequest, TableInfo, TablePage, TableRequest,
    abi::{
        batch::{self, BatchNotes},
        guard::{from_ffi, from_json, to_json},
        module::{FfiOrigin, FfiReadBatch, FfiReadTask, FfiReader, FfiResult},
        version::AbiVersion,
    },
    schema_of,
};

/// A reader behind its handle. Dropping it ends the reader.
pub(super) struct ForeignReader {
    ffi: FfiReader,
    version: AbiVersion,
}

impl ForeignReader {
    pub(super) fn new(ffi: FfiReader, version: AbiVersion) -> Self {
        Self { ffi, version }
    }

    /// Calls a function without arguments and reads the JSON that it returns.
    fn json<T: DeserializeOwned>(
        &self,
        what: &str,
        verb: unsafe extern "C" fn(*const ()) -> FfiResult<RString>,
    ) -> Result<T> {
        // SAFETY: the verb is of this handle's vtable, and the handle is alive.
        let text = from_ffi(unsafe { verb(self.ffi.data) })?;
        from_json(what, text.as_str())
    }

    /// Calls a function with one JSON argument and reads the JSON that it returns.
    fn json_of<T: DeserializeOwned>(
        &self,
        what: &str,
        verb: unsafe extern "C" fn(*const (), RStr<'_>) -> FfiResult<RString>,
        argument: RString,
    ) -> Result<T> {
        // SAFETY: the verb is of this handle's vtable, and the handle is alive.
        let text = from_ffi(unsafe { verb(self.ffi.data, argument.as_rstr()) })?;
        from_json(what, text.as_str())
    }
}

impl Reader for ForeignReader {
    fn check(&self) -> Result<Vec<Finding>> {
        self.json("findings", self.ffi.vtable.check())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let verb = self.ffi.vtable.discover();
        self.json("tables", verb.ok_or_else(|| too_old("discover", "1.1", self.version))?)
    }

    fn tables(&self, request: &TableRequest) -> Result<TablePage> {
        match self.ffi.vtable.tables() {
            Some(verb) => self.json_of("page of tables", verb, to_json(request)?),
            None => request.page(self.discover()?),
        }
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.json("source schema", self.ffi.vtable.schema())
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        self.json_of("columns", self.ffi.vtable.produces(), to_json(wanted)?)
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        self.json_of("splits", self.ffi.vtable.splits(), to_json(request)?)
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let (split, wanted) = (to_json(split)?, to_json(columns)?);
        let after: ROption<_> = after.map(|position| RSlice::from_slice(&position.0)).into();
        let open = self.ffi.vtable.open();
        // SAFETY: the verb is of this handle's vtable, and the handle is alive.
        let opened = unsafe { open(self.ffi.data, split.as_rstr(), wanted.as_rstr(), after) };
        Ok(Box::new(ForeignReadTask::new(from_ffi(opened)?, schema_of(columns))?))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        self.ffi.vtable.counts().map_or(Ok(Vec::new()), |verb| self.json("counts", verb))
    }

    fn digest(&self, request: &DigestRequest) -> Result<Option<Digest>> {
        let Some(verb) = self.ffi.vtable.digest() else { return Ok(None) };
        self.json_of("digest", verb, to_json(request)?)
    }
}

/// A read task behind its handle, with the schema of its batches.
struct ForeignReadTask {
    ffi: FfiReadTask,
    schema: SchemaRef,
}

impl ForeignReadTask {
    /// Checks that the plugin derives the same schema from the columns as the host does.
    fn new(ffi: FfiReadTask, schema: SchemaRef) -> Result<Self> {
        let sent = batch::import_schema(&ffi.schema)?;
        batch::ensure_same_schema(&schema, &sent)?;
        Ok(Self { ffi, schema })
    }
}

impl ReadTask for ForeignReadTask {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        // SAFETY: the verb is of this handle's vtable, and `&mut self` is the only user.
        match from_ffi(unsafe { self.ffi.vtable.next_batch()(self.ffi.data) })? {
            RSome(batch) => import_batch(batch, &self.schema).map(Some),
            RNone => Ok(None),
        }
    }
}

/// A batch with all that belongs to it.
fn import_batch(read: FfiReadBatch, schema: &SchemaRef) -> Result<ReadBatch> {
    let FfiReadBatch { batch, position, origin, bytes, notes } = read;
    let BatchNotes { dirty, gaps, file, .. } = BatchNotes::from_text(notes.as_str())?;
    Ok(ReadBatch {
        batch: batch::import_batch(batch, schema)?,
        position: Position(position.into_vec()),
        origin: origin.into_option().map(|origin| import_origin(origin, gaps, file)),
        dirty,
        bytes,
    })
}

fn import_origin(origin: FfiOrigin, gaps: Vec<Gap>, file: Option<String>) -> Origin {
    let FfiOrigin { source, unit, first, exact } = origin;
    Origin { source: source.into(), unit: unit.into(), first, exact, gaps, file }
}
