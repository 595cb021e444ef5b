//! A plugin's readers and read tasks behind their vtables. Each function here is one of
//! `ReaderVtable` or `ReadTaskVtable`, whose contract is stated there: it reads its arguments, runs
//! the author's method under the guard, and converts the result.

use std::mem;

use abi_stable::{
    prefix_type::WithMetadata,
    std_types::{RNone, ROption, RSlice, RSome, RStr, RString, RVec},
};
use arrow_schema::SchemaRef;
use serde::Serialize;

use crate::{
    Column, Origin, Position, ReadBatch, ReadTask, Reader, Result, Split, SplitRequest,
    abi::{
        batch::{self, BatchNotes},
        guard::{Guarded, from_json, to_json},
        module::{
            FfiOrigin, FfiReadBatch, FfiReadTask, FfiReader, FfiResult, ReadTaskVtable,
            ReadTaskVtableRef, ReaderVtable, ReaderVtableRef,
        },
    },
    schema_of,
};

type Object = Guarded<Box<dyn Reader>>;

/// A reader as the handle that crosses.
pub(super) fn export(reader: Box<dyn Reader>) -> FfiReader {
    FfiReader { data: Object::into_raw(reader), vtable: VTABLE }
}

const VTABLE: ReaderVtableRef = {
    const TABLE: &WithMetadata<ReaderVtable> = &WithMetadata::new(ReaderVtable {
        drop: Object::drop_handle,
        check,
        schema,
        produces,
        splits,
        open,
        discover,
        counts,
        digest,
        tables,
    });
    ReaderVtableRef(TABLE.static_as_prefix())
};

/// Runs one method of the reader under the guard.
///
/// # Safety
/// `data` is a reader's, by the vtable's contract.
unsafe fn run<R>(
    data: *const (),
    verb: &str,
    call: impl FnOnce(&dyn Reader) -> Result<R>,
) -> FfiResult<R> {
    // SAFETY: the caller's promise.
    unsafe { Object::call(data, verb, |reader| call(reader.as_ref())) }
}

/// Runs one method whose result crosses as JSON.
///
/// # Safety
/// `data` is a reader's, by the vtable's contract.
unsafe fn json<T: Serialize>(
    data: *const (),
    verb: &str,
    call: impl FnOnce(&dyn Reader) -> Result<T>,
) -> FfiResult<RString> {
    // SAFETY: the caller's promise.
    unsafe { run(data, verb, |reader| to_json(&call(reader)?)) }
}

unsafe extern "C" fn check(data: *const ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "check", |reader| reader.check()) }
}

unsafe extern "C" fn schema(data: *const ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "schema", |reader| reader.schema()) }
}

unsafe extern "C" fn discover(data: *const ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "discover", |reader| reader.discover()) }
}

unsafe extern "C" fn counts(data: *const ()) -> FfiResult<RString> {
    // SAFETY: the vtable's contract.
    unsafe { json(data, "counts", |reader| reader.counts()) }
}

unsafe extern "C" fn digest(data: *const (), request: RStr<'_>) -> FfiResult<RString> {
    let digest =
        |reader: &dyn Reader| reader.digest(&from_json("digest request", request.as_str())?);
    // SAFETY: the vtable's contract.
    unsafe { json(data, "digest", digest) }
}

unsafe extern "C" fn tables(data: *const (), request: RStr<'_>) -> FfiResult<RString> {
    let tables =
        |reader: &dyn Reader| reader.tables(&from_json("table request", request.as_str())?);
    // SAFETY: the vtable's contract.
    unsafe { json(data, "tables", tables) }
}

unsafe extern "C" fn produces(data: *const (), wanted: RStr<'_>) -> FfiResult<RString> {
    let produces = |reader: &dyn Reader| {
        let wanted: Vec<Column> = from_json("columns", wanted.as_str())?;
        reader.produces(&wanted)
    };
    // SAFETY: the vtable's contract.
    unsafe { json(data, "produces", produces) }
}

unsafe extern "C" fn splits(data: *const (), request: RStr<'_>) -> FfiResult<RString> {
    let splits = |reader: &dyn Reader| {
        let request: SplitRequest = from_json("split request", request.as_str())?;
        reader.splits(&request)
    };
    // SAFETY: the vtable's contract.
    unsafe { json(data, "splits", splits) }
}

unsafe extern "C" fn open(
    data: *const (),
    split: RStr<'_>,
    columns: RStr<'_>,
    after: ROption<RSlice<'_, u8>>,
) -> FfiResult<FfiReadTask> {
    let open = |reader: &dyn Reader| {
        let split: Split = from_json("split", split.as_str())?;
        let columns: Vec<Column> = from_json("columns", columns.as_str())?;
        let after = after.into_option().map(|bytes| Position(bytes.to_vec()));
        let schema = schema_of(&columns);
        let sent = batch::export_schema(&schema)?;
        let task = reader.open(&split, &columns, after.as_ref())?;
        let data = TaskObject::into_raw(Task { task, schema });
        Ok(FfiReadTask { data, vtable: TASK_VTABLE, schema: sent })
    };
    // SAFETY: the vtable's contract.
    unsafe { run(data, "open", open) }
}

// ----------------------------------------------------------------------------------------- task

/// A read task with the schema that was sent when it was opened.
struct Task {
    task: Box<dyn ReadTask>,
    schema: SchemaRef,
}

type TaskObject = Guarded<Task>;

const TASK_VTABLE: ReadTaskVtableRef = {
    const TABLE: &WithMetadata<ReadTaskVtable> =
        &WithMetadata::new(ReadTaskVtable { drop: TaskObject::drop_handle, next_batch });
    ReadTaskVtableRef(TABLE.static_as_prefix())
};

unsafe extern "C" fn next_batch(data: *mut ()) -> FfiResult<ROption<FfiReadBatch>> {
    let next = |Task { task, schema }: &mut Task| match task.next_batch()? {
        Some(batch) => Ok(RSome(export_batch(batch, schema)?)),
        None => Ok(RNone),
    };
    // SAFETY: the vtable's contract.
    unsafe { TaskObject::call_mut(data, "next_batch", next) }
}

/// A batch with all that belongs to it, compared with the schema that was sent.
fn export_batch(mut read: ReadBatch, schema: &SchemaRef) -> Result<FfiReadBatch> {
    let (gaps, file) = match &mut read.origin {
        Some(origin) => (mem::take(&mut origin.gaps), origin.file.take()),
        None => (Vec::new(), None),
    };
    let notes = BatchNotes { dirty: read.dirty, gaps, file, held: 0 };
    Ok(FfiReadBatch {
        batch: batch::export_batch(&read.batch, schema)?,
        position: RVec::from(read.position.0),
        origin: read.origin.map(export_origin).into(),
        bytes: read.bytes,
        notes: notes.to_text()?,
    })
}

fn export_origin(origin: Origin) -> FfiOrigin {
    let Origin { source, unit, first, exact, gaps: _, file: _ } = origin;
    FfiOrigin { source: source.into(), unit: unit.into(), first, exact }
}
