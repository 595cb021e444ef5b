//! A plugin's writers and write tasks behind their vtables. Each function here is one of
//! `WriterVtable` or `WriteTaskVtable`, whose contract is stated there: it reads its arguments, runs
//! the author's method under the guard, and converts the result.

use abi_stable::{
    prefix_type::WithMetadata,
    std_types::{RSlice, RStr, RString},
};
use arrow_schema::SchemaRef;
use serde::Serialize;

use crate::{
    Counters, Error, Position, Receipt, Result, TaskContext, WritePlan, WriteTask, Writer, Written,
    abi::{
        batch::{self, BatchNotes},
        guard::{Guarded, from_json, to_json},
        module::{
            FfiBatch, FfiResult, FfiSchema, FfiWriteTask, FfiWriter, FfiWritten, WriteTaskVtable,
            WriteTaskVtableRef, WriterVtable, WriterVtableRef,
        },
    },
    code, schema_of,
};

type Object = Guarded<Box<dyn Writer>>;

/// A writer as the handle that crosses.
pub(super) fn export(writer: Box<dyn Writer>) -> FfiWriter {
    FfiWriter { data: Object::into_raw(writer), vtable: VTABLE }
}

const VTABLE: WriterVtableRef = {
    const TABLE: &WithMetadata<WriterVtable> = &WithMetadata::new(WriterVtable {
        drop: Object::drop_handle,
        check,
        inspect,
        draft,
        prepare,
        open,
        commit,
        abort,
        finalise,
        discover,
        counts,
        token_ddl,
    });
    WriterVtableRef(TABLE.static_as_prefix())
};

/// Runs one method of the writer under the guard.
///
/// # Safety
/// `data` is a writer's, by the vtable's contract.
unsafe fn run<R>(
    data: *const (),
    verb: &str,
    call: impl FnOnce(&dyn Writer) -> Result<R>,
) -> FfiResult<R> {
    // SAFETY: the caller's promise.
    unsafe { Object::call(data, verb, |writer| call(writer.as_ref())) }
}

/// Runs one method whose result crosses as JSON.
///
/// # Safety
/// `data` is a writer's, by the vtable's contract.
unsafe fn json<T: Serialize>(
    data: *const (),
    verb: &str,
    call: impl FnOnce(&dyn Writer) -> Result<T>,
) -> FfiResult<RString> {
    // SAFETY: the caller's promise.
    unsafe { run(data, verb, |writer| to_json(&call(writer)?)) }
}

fn plan_from(plan: RStr<'_>) -> Result<WritePlan> {
    from_json("write plan", plan.as_str())
}

fn receipts_from(receipts: RStr<'_>) -> Result<Vec<Receipt>> {
    from_json("receipts", receipts.as_str())
}

unsafe extern "C" fn check(data: *const ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "check", |writer| writer.check()) }
}

unsafe extern "C" fn discover(data: *const ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "discover", |writer| writer.discover()) }
}

unsafe extern "C" fn counts(data: *const ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "counts", |writer| writer.counts()) }
}

unsafe extern "C" fn token_ddl(data: *const (), tables: RStr<'_>) -> FfiResult<RString> {
    let ddl = |writer: &dyn Writer| writer.token_ddl(&from_json("token tables", tables.as_str())?);
    // SAFETY: the vtable's contract.
    unsafe { json(data, "token_ddl", ddl) }
}

unsafe extern "C" fn inspect(data: *const ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "inspect", |writer| writer.inspect()) }
}

unsafe extern "C" fn draft(data: *const (), plan: RStr<'_>) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "draft", |writer| writer.draft(&plan_from(plan)?)) }
}

unsafe extern "C" fn prepare(data: *const (), plan: RStr<'_>) -> FfiResult<()> {
    // SAFETY: the vtable's contract.
    unsafe { run(data, "prepare", |writer| writer.prepare(&plan_from(plan)?)) }
}

unsafe extern "C" fn open(
    data: *const (),
    plan: RStr<'_>,
    task: RStr<'_>,
    schema: FfiSchema,
) -> FfiResult<FfiWriteTask> {
    let open = |writer: &dyn Writer| {
        let plan = plan_from(plan)?;
        let context: TaskContext = from_json("task", task.as_str())?;
        let schema = batch::import_schema(&schema)?;
        batch::ensure_same_schema(&schema_of(&plan.columns), &schema)?;
        let task = Some(writer.open(&plan, &context)?);
        let data = TaskObject::into_raw(Task { task, schema });
        Ok(FfiWriteTask { data, vtable: TASK_VTABLE })
    };
    // SAFETY: the vtable's contract.
    unsafe { run(data, "open", open) }
}

unsafe extern "C" fn commit(
    data: *const (),
    plan: RStr<'_>,
    receipts: RStr<'_>,
) -> FfiResult<RString> {
    let commit = |writer: &dyn Writer| writer.commit(&plan_from(plan)?, &receipts_from(receipts)?);
    // SAFETY: the vtable's contract.
    unsafe { json(data, "commit", commit) }
}

unsafe extern "C" fn abort(data: *const (), plan: RStr<'_>, receipts: RStr<'_>) -> FfiResult<()> {
    let abort = |writer: &dyn Writer| writer.abort(&plan_from(plan)?, &receipts_from(receipts)?);
    // SAFETY: the vtable's contract.
    unsafe { run(data, "abort", abort) }
}

unsafe extern "C" fn finalise(data: *const (), plan: RStr<'_>) -> FfiResult<()> {
    // SAFETY: the vtable's contract.
    unsafe { run(data, "finalise", |writer| writer.finalise(&plan_from(plan)?)) }
}

// ----------------------------------------------------------------------------------------- task

/// A write task with the schema that was sent when it was opened.
struct Task {
    /// `None` after `finish` and `abort`, which end it.
    task: Option<Box<dyn WriteTask>>,
    schema: SchemaRef,
}

type TaskObject = Guarded<Task>;

const TASK_VTABLE: WriteTaskVtableRef = {
    const TABLE: &WithMetadata<WriteTaskVtable> = &WithMetadata::new(WriteTaskVtable {
        drop: TaskObject::drop_handle,
        begin_chunk,
        write,
        commit_chunk,
        rollback_chunk,
        finish,
        abort: abort_task,
        progress,
    });
    WriteTaskVtableRef(TABLE.static_as_prefix())
};

impl Task {
    fn open(&mut self) -> Result<&mut Box<dyn WriteTask>> {
        self.task.as_mut().ok_or_else(ended)
    }

    fn take(&mut self) -> Result<Box<dyn WriteTask>> {
        self.task.take().ok_or_else(ended)
    }
}

fn ended() -> Error {
    Error::defect("the write task has ended already").with_code(code::PLUGIN_PROTOCOL)
}

unsafe extern "C" fn begin_chunk(data: *mut (), sequence: u64) -> FfiResult<()> {
    // SAFETY: the vtable's contract.
    unsafe { TaskObject::call_mut(data, "begin_chunk", |task| task.open()?.begin_chunk(sequence)) }
}

unsafe extern "C" fn write(data: *mut (), batch: FfiBatch) -> FfiResult<FfiWritten> {
    let write = |task: &mut Task| {
        let batch = batch::import_batch(batch, &task.schema)?;
        export_written(task.open()?.write(&batch)?)
    };
    // SAFETY: the vtable's contract.
    unsafe { TaskObject::call_mut(data, "write", write) }
}

fn export_written(written: Written) -> Result<FfiWritten> {
    let Written { inserted, updated, skipped, dirty, held } = written;
    Ok(FfiWritten {
        inserted,
        updated,
        skipped,
        notes: BatchNotes { dirty, held, ..BatchNotes::default() }.to_text()?,
    })
}

unsafe extern "C" fn commit_chunk(
    data: *mut (),
    position: RSlice<'_, u8>,
    counters: RStr<'_>,
) -> FfiResult<RString> {
    let commit = |task: &mut Task| {
        let counters: Counters = from_json("counters", counters.as_str())?;
        let position = Position(position.to_vec());
        to_json(&task.open()?.commit_chunk(&position, &counters)?)
    };
    // SAFETY: the vtable's contract.
    unsafe { TaskObject::call_mut(data, "commit_chunk", commit) }
}

unsafe extern "C" fn rollback_chunk(data: *mut ()) -> FfiResult<()> {
    // SAFETY: the vtable's contract.
    unsafe { TaskObject::call_mut(data, "rollback_chunk", |task| task.open()?.rollback_chunk()) }
}

unsafe extern "C" fn finish(data: *mut ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { TaskObject::call_mut(data, "finish", |task| to_json(&task.take()?.finish()?)) }
}

unsafe extern "C" fn abort_task(data: *mut ()) -> FfiResult<()> {
    // SAFETY: the vtable's contract.
    unsafe { TaskObject::call_mut(data, "abort", |task| task.take()?.abort()) }
}

unsafe extern "C" fn progress(data: *mut ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { TaskObject::call_mut(data, "progress", |task| to_json(&task.open()?.progress()?)) }
}
