//! A plugin's writers and write tasks as the host uses them. Each method calls the function of the
//! same name in `WriterVtable` or `WriteTaskVtable`, whose contract is stated there.

use abi_stable::std_types::{RSlice, RStr, RString};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::de::DeserializeOwned;

use super::too_old;
use crate::{
    ChunkOutcome, Count, Counters, Finding, Position, Receipt, Result, TableInfo, TargetInfo,
    TaskContext, TaskProgress, TokenTables, WriteDraft, WritePlan, WriteTask, Writer, Written,
    abi::{
        batch::{self, BatchNotes},
        guard::{from_ffi, from_json, to_json},
        module::{FfiResult, FfiWriteTask, FfiWriter, FfiWritten},
        version::AbiVersion,
    },
    schema_of,
};

/// A writer behind its handle. Dropping it ends the writer.
pub(super) struct ForeignWriter {
    ffi: FfiWriter,
    version: AbiVersion,
}

impl ForeignWriter {
    pub(super) fn new(ffi: FfiWriter, version: AbiVersion) -> Self {
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

    /// Calls a function that takes the plan.
    fn with_plan<T>(
        &self,
        verb: unsafe extern "C" fn(*const (), RStr<'_>) -> FfiResult<T>,
        plan: &WritePlan,
    ) -> Result<T> {
        let plan = to_json(plan)?;
        // SAFETY: the verb is of this handle's vtable, and the handle is alive.
        from_ffi(unsafe { verb(self.ffi.data, plan.as_rstr()) })
    }

    /// Calls a function that takes the plan and receipts.
    fn with_receipts<T>(
        &self,
        verb: unsafe extern "C" fn(*const (), RStr<'_>, RStr<'_>) -> FfiResult<T>,
        plan: &WritePlan,
        receipts: &[Receipt],
    ) -> Result<T> {
        let (plan, receipts) = (to_json(plan)?, to_json(receipts)?);
        // SAFETY: the verb is of this handle's vtable, and the handle is alive.
        from_ffi(unsafe { verb(self.ffi.data, plan.as_rstr(), receipts.as_rstr()) })
    }
}

impl Writer for ForeignWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        self.json("findings", self.ffi.vtable.check())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let verb = self.ffi.vtable.discover();
        self.json("tables", verb.ok_or_else(|| too_old("discover", "1.1", self.version))?)
    }

    fn inspect(&self) -> Result<TargetInfo> {
        self.json("target", self.ffi.vtable.inspect())
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        from_json("draft", self.with_plan(self.ffi.vtable.draft(), plan)?.as_str())
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.with_plan(self.ffi.vtable.prepare(), plan)
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let schema = schema_of(&plan.columns);
        let sent = batch::export_schema(&schema)?;
        let (plan, task) = (to_json(plan)?, to_json(task)?);
        let open = self.ffi.vtable.open();
        // SAFETY: the verb is of this handle's vtable, and the handle is alive.
        let opened = unsafe { open(self.ffi.data, plan.as_rstr(), task.as_rstr(), sent) };
        Ok(Box::new(ForeignWriteTask { ffi: from_ffi(opened)?, schema }))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let text = self.with_receipts(self.ffi.vtable.commit(), plan, receipts)?;
        from_json("outcome", text.as_str())
    }

    fn abort(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<()> {
        self.with_receipts(self.ffi.vtable.abort(), plan, receipts)
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.with_plan(self.ffi.vtable.finalise(), plan)
    }

    fn counts(&self) -> Result<Vec<Count>> {
        self.ffi.vtable.counts().map_or(Ok(Vec::new()), |verb| self.json("counts", verb))
    }

    fn token_ddl(&self, tables: &TokenTables) -> Result<Vec<String>> {
        let verb = self.ffi.vtable.token_ddl();
        let verb = verb.ok_or_else(|| too_old("token_ddl", "1.3", self.version))?;
        let tables = to_json(tables)?;
        // SAFETY: the verb is of this handle's vtable, and the handle is alive.
        let text = from_ffi(unsafe { verb(self.ffi.data, tables.as_rstr()) })?;
        from_json("statements", text.as_str())
    }
}

/// A write task behind its handle. In every method: the function is of this handle's vtable, and
/// `&mut self` or `self` is the only user, as the vtable's contract demands of *owned* functions.
struct ForeignWriteTask {
    ffi: FfiWriteTask,
    schema: SchemaRef,
}

impl WriteTask for ForeignWriteTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        // SAFETY: see the type.
        from_ffi(unsafe { self.ffi.vtable.begin_chunk()(self.ffi.data, sequence) })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let batch = batch::export_batch(batch, &self.schema)?;
        // SAFETY: see the type.
        let written = from_ffi(unsafe { self.ffi.vtable.write()(self.ffi.data, batch) })?;
        let FfiWritten { inserted, updated, skipped, notes } = written;
        let BatchNotes { dirty, held, .. } = BatchNotes::from_text(notes.as_str())?;
        Ok(Written { inserted, updated, skipped, dirty, held })
    }

    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome> {
        let (commit, counters) = (self.ffi.vtable.commit_chunk(), to_json(counters)?);
        let position = RSlice::from_slice(&position.0);
        // SAFETY: see the type.
        let outcome = from_ffi(unsafe { commit(self.ffi.data, position, counters.as_rstr()) })?;
        from_json("outcome", outcome.as_str())
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        // SAFETY: see the type.
        from_ffi(unsafe { self.ffi.vtable.rollback_chunk()(self.ffi.data) })
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        // SAFETY: see the type.
        let receipt = from_ffi(unsafe { self.ffi.vtable.finish()(self.ffi.data) })?;
        from_json("receipt", receipt.as_str())
    }

    fn abort(self: Box<Self>) -> Result<()> {
        // SAFETY: see the type.
        from_ffi(unsafe { self.ffi.vtable.abort()(self.ffi.data) })
    }

    fn progress(&mut self) -> Result<Option<TaskProgress>> {
        let Some(verb) = self.ffi.vtable.progress() else { return Ok(None) };
        // SAFETY: see the type.
        from_json("progress", from_ffi(unsafe { verb(self.ffi.data) })?.as_str())
    }
}
