//! The frozen types: the root module, one vtable per object, the handles that pair an object with
//! its vtable, and the Arrow structs.
//!
//! # Rules of change
//!
//! * Structs named `Ffi...` are frozen for the major version. Vtables and the root module grow at
//!   their end only, and `last_prefix_field` never moves: what an older side lacks reads as `None`.
//! * What is JSON grows by keys with defaults. Enumerations cross as JSON words or `u32`.
//!
//! # What holds for every function
//!
//! * `data` is the handle's own pointer, alive from the making of the handle to its `drop`.
//! * Arguments by reference are the caller's and are not kept after the return; what is returned,
//!   and arguments by value, belong to their receiver, whose drop returns the memory to its maker.
//! * No function unwinds. A panic answers an error of kind `defect`; every later call on that
//!   object does too. `Err` holds a [`crate::Error`] as JSON.
//! * "Shared" functions may be called from several threads at once; "owned" ones by one thread at
//!   a time, which may change between calls. The host calls from threads made for it, never from
//!   an async executor's, so a function that blocks may block for long.

use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::RootModule,
    sabi_types::VersionStrings,
    std_types::{ROption, RResult, RSlice, RStr, RString, RVec},
};

use super::version::ABI_STRINGS;

/// A value, or an error as JSON.
pub type FfiResult<T> = RResult<T, RString>;

// ---------------------------------------------------------------------------------- root module

/// What a plugin library exports under [`super::ROOT_SYMBOL`].
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef, prefix_fields = PluginModulePrefix)))]
#[sabi(missing_field(option))]
pub struct PluginModule {
    /// The library was built with `panic = "unwind"`. The host refuses it otherwise: its panics
    /// would end the process.
    pub unwinds: bool,
    /// The descriptor as JSON. Caller: host. Thread: shared. State: any. Returns: the caller's.
    /// Blocks: no.
    pub describe: extern "C" fn() -> FfiResult<RString>,
    /// Makes a reader from [`crate::Options`] as JSON. Caller: host. Thread: shared. State: any.
    /// Owner: takes `host`, returns the caller's. Blocks: no.
    pub reader: extern "C" fn(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiReader>,
    /// Makes a writer; as `reader`.
    #[sabi(last_prefix_field)]
    pub writer: extern "C" fn(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiWriter>,
    /// Since 1.1. Sends the library's events and panics to `log` from now on; only the first call
    /// counts. Caller: host. Thread: shared. State: before `reader` and `writer`. Owner: takes
    /// `log` for good. Blocks: no. Missing: the plugin logs nothing.
    pub connect_log: extern "C" fn(log: FfiLog),
}

impl RootModule for PluginModuleRef {
    declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "transload_plugin";
    const NAME: &'static str = "transload_plugin";
    const VERSION_STRINGS: VersionStrings = ABI_STRINGS;
}

// --------------------------------------------------------------------------------------- reader

/// A reader and its functions. Made by the plugin.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiReader {
    /// The plugin's object.
    pub data: *mut (),
    /// Its functions.
    pub vtable: ReaderVtableRef,
}

/// [`crate::Reader`]. All but `drop`: caller host, shared, may block, return is the caller's.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ReaderVtableRef, prefix_fields = ReaderVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct ReaderVtable {
    /// Ends the reader. Caller: host, once. Thread: owned. State: every other call has returned;
    /// its tasks may live on. Owner: takes `data`. Blocks: may.
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Findings as JSON. State: any.
    pub check: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// A source schema as JSON. State: any.
    pub schema: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Columns from wanted columns, both JSON. State: any.
    pub produces: unsafe extern "C" fn(data: *const (), wanted: RStr<'_>) -> FfiResult<RString>,
    /// Splits from a split request, both JSON. State: any.
    pub splits: unsafe extern "C" fn(data: *const (), request: RStr<'_>) -> FfiResult<RString>,
    /// Opens a split (JSON) for columns (JSON) after a position (bytes). State: any; several
    /// tasks may be open. Owner: the task is the caller's and independent of the reader's handle.
    #[sabi(last_prefix_field)]
    pub open: unsafe extern "C" fn(
        data: *const (),
        split: RStr<'_>,
        columns: RStr<'_>,
        after: ROption<RSlice<'_, u8>>,
    ) -> FfiResult<FfiReadTask>,
    /// Since 1.1. Tables as JSON. State: any. Missing: the verb is unsupported.
    pub discover: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Since 1.2. Counts as JSON. State: any. Blocks: no. Missing: nothing is counted.
    pub counts: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
}

/// An open split. Made by the plugin.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiReadTask {
    /// The plugin's object.
    pub data: *mut (),
    /// Its functions.
    pub vtable: ReadTaskVtableRef,
    /// The schema of every batch, sent once.
    pub schema: FfiSchema,
}

/// [`crate::ReadTask`].
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ReadTaskVtableRef, prefix_fields = ReadTaskVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct ReadTaskVtable {
    /// Ends the task. Caller: host, once, last. Thread: owned. State: any, read to its end or
    /// not. Owner: takes `data`; batches live on. Blocks: may.
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// The next batch, `None` at the end. Caller: host. Thread: owned. State: not after an end or
    /// an error. Owner: the batch is the caller's and outlives the task. Blocks: yes, until rows
    /// come or the host's signal is given.
    #[sabi(last_prefix_field)]
    pub next_batch: unsafe extern "C" fn(data: *mut ()) -> FfiResult<ROption<FfiReadBatch>>,
}

/// [`crate::ReadBatch`].
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiReadBatch {
    /// The rows.
    pub batch: FfiBatch,
    /// Where reading goes on.
    pub position: RVec<u8>,
    /// Where the rows came from.
    pub origin: ROption<FfiOrigin>,
    /// Bytes taken from the source.
    pub bytes: u64,
    /// Notes as JSON (`dirty`: a list of [`crate::DirtyRow`]); empty when there is nothing to tell, as for most batches.
    pub notes: RString,
}

/// [`crate::Origin`].
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiOrigin {
    /// A file's name, a table.
    pub source: RString,
    /// What is counted.
    pub unit: RString,
    /// The first row's number.
    pub first: u64,
    /// Rows follow each other without gaps.
    pub exact: bool,
}

// --------------------------------------------------------------------------------------- writer

/// A writer and its functions. Made by the plugin.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWriter {
    /// The plugin's object.
    pub data: *mut (),
    /// Its functions.
    pub vtable: WriterVtableRef,
}

/// [`crate::Writer`]. All but `drop`: caller host, shared, may block, return is the caller's.
/// `plan` is a [`crate::WritePlan`] as JSON.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WriterVtableRef, prefix_fields = WriterVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WriterVtable {
    /// Ends the writer. Caller: host, once. Thread: owned. State: every other call has returned;
    /// its tasks may live on. Owner: takes `data`. Blocks: may.
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Findings as JSON. State: any.
    pub check: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// A target as JSON. State: any.
    pub inspect: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// A draft as JSON. State: any; changes nothing.
    pub draft: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<RString>,
    /// Makes ready. State: before the run's tasks; again changes nothing more.
    pub prepare: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<()>,
    /// Opens a task (JSON) for batches of `schema`, sent once. State: prepared. Owner: takes
    /// `schema`; the task is the caller's and independent of the writer's handle.
    pub open: unsafe extern "C" fn(
        data: *const (),
        plan: RStr<'_>,
        task: RStr<'_>,
        schema: FfiSchema,
    ) -> FfiResult<FfiWriteTask>,
    /// A chunk outcome as JSON from receipts as JSON. State: all tasks finished.
    pub commit: unsafe extern "C" fn(
        data: *const (),
        plan: RStr<'_>,
        receipts: RStr<'_>,
    ) -> FfiResult<RString>,
    /// Removes what is staged. State: prepared; more than once.
    pub abort:
        unsafe extern "C" fn(data: *const (), plan: RStr<'_>, receipts: RStr<'_>) -> FfiResult<()>,
    /// Removes leftovers. State: committed; more than once.
    #[sabi(last_prefix_field)]
    pub finalise: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<()>,
    /// Since 1.1. Tables as JSON. State: any. Missing: the verb is unsupported.
    pub discover: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Since 1.2. Counts as JSON. State: any. Blocks: no. Missing: nothing is counted.
    pub counts: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
}

/// One task's writing. Made by the plugin.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWriteTask {
    /// The plugin's object.
    pub data: *mut (),
    /// Its functions.
    pub vtable: WriteTaskVtableRef,
}

/// [`crate::WriteTask`]. All: caller host, owned, may block, return is the caller's. After
/// `finish` or `abort` only `drop` may follow; anything else answers an error.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WriteTaskVtableRef, prefix_fields = WriteTaskVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WriteTaskVtable {
    /// Ends the task and leaves no more than `abort` would. Once, last. Owner: takes `data`.
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Starts a chunk. State: none open.
    pub begin_chunk: unsafe extern "C" fn(data: *mut (), sequence: u64) -> FfiResult<()>,
    /// Adds a batch. State: chunk open. Owner: takes `batch`.
    pub write: unsafe extern "C" fn(data: *mut (), batch: FfiBatch) -> FfiResult<FfiWritten>,
    /// A chunk outcome as JSON, from a position (bytes) and counters (JSON). State: chunk open.
    pub commit_chunk: unsafe extern "C" fn(
        data: *mut (),
        position: RSlice<'_, u8>,
        counters: RStr<'_>,
    ) -> FfiResult<RString>,
    /// Forgets the chunk. State: any.
    pub rollback_chunk: unsafe extern "C" fn(data: *mut ()) -> FfiResult<()>,
    /// A receipt as JSON. State: no chunk open.
    pub finish: unsafe extern "C" fn(data: *mut ()) -> FfiResult<RString>,
    /// Removes what the task staged. State: any.
    #[sabi(last_prefix_field)]
    pub abort: unsafe extern "C" fn(data: *mut ()) -> FfiResult<()>,
}

/// [`crate::Written`].
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWritten {
    /// Rows new in the target.
    pub inserted: u64,
    /// Rows that changed one there.
    pub updated: u64,
    /// Rows left out.
    pub skipped: u64,
    /// Notes as JSON (`dirty`: a list of [`crate::DirtyRow`]); empty when there is nothing to tell.
    pub notes: RString,
}

// ------------------------------------------------------------------------- what the host lends

/// The host's services for one reader or writer. Made by the host.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiHost {
    /// The host's object.
    pub data: *mut (),
    /// Its functions.
    pub vtable: HostVtableRef,
}

/// [`crate::Host`]. All: caller plugin, shared, from any thread of it, in any state up to `drop`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostVtableRef, prefix_fields = HostVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct HostVtable {
    /// Gives the services back. Once, last. Owner: takes `data`. Blocks: no.
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// A secret's bytes, UTF-8. Owner: the caller's, who overwrites them before dropping them.
    /// Blocks: may (the host may run a command).
    pub secret:
        unsafe extern "C" fn(data: *const (), key: RStr<'_>) -> FfiResult<ROption<RVec<u8>>>,
    /// Whether the job is asked to stop. Owner: nothing. Blocks: no.
    pub is_cancelled: unsafe extern "C" fn(data: *const ()) -> bool,
    /// Has `waker` woken when the job is asked to stop, at once if it was. Owner: takes `waker`
    /// and keeps it as long as the job's signal lives. Blocks: no longer than the waker does.
    #[sabi(last_prefix_field)]
    pub on_cancel: unsafe extern "C" fn(data: *const (), waker: FfiWaker),
}

/// Something to wake. Made by the plugin.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWaker {
    /// The plugin's object.
    pub data: *mut (),
    /// Its functions.
    pub vtable: WakerVtableRef,
}

/// All: caller host, from whichever thread gives or drops the signal, in any state up to `drop`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WakerVtableRef, prefix_fields = WakerVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WakerVtable {
    /// Once, last. Owner: takes `data`. Blocks: no.
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Wakes. At most once. Owner: nothing. Blocks: no.
    #[sabi(last_prefix_field)]
    pub wake: unsafe extern "C" fn(data: *const ()),
}

/// Where the library's events go. Made by the host, once per library.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiLog {
    /// The host's object.
    pub data: *mut (),
    /// Its functions.
    pub vtable: LogVtableRef,
}

/// [`super::LogSink`]. All: caller plugin, shared, from any thread of it, in any state up to
/// `drop`; nothing changes its owner but `drop`'s `data`. Levels: 1 error, 2 warn, 3 info,
/// 4 debug, 5 trace.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = LogVtableRef, prefix_fields = LogVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct LogVtable {
    /// Once, last. Owner: takes `data`. Blocks: no.
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Whether events of this level and target are wanted now. Blocks: no.
    pub enabled: unsafe extern "C" fn(data: *const (), level: u32, target: RStr<'_>) -> bool,
    /// One event; `fields` is a JSON object. Blocks: as long as the host's log does.
    #[sabi(last_prefix_field)]
    pub event: unsafe extern "C" fn(
        data: *const (),
        level: u32,
        target: RStr<'_>,
        message: RStr<'_>,
        fields: RStr<'_>,
    ),
}

// ---------------------------------------------------------------------------------------- Arrow

/// One batch: a struct array without nulls at the top, of the schema sent when the task opened.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiBatch {
    /// The columns.
    pub array: FfiArray,
    /// The number of rows; what counts where there are no columns.
    pub rows: u64,
}

/// `struct ArrowArray` of the Arrow C Data Interface, field by field
/// (<https://arrow.apache.org/docs/format/CDataInterface.html>). Owned: dropping it releases it.
#[repr(C)]
#[derive(StableAbi)]
#[allow(missing_docs, reason = "the interface's own names, described there")]
pub struct FfiArray {
    pub length: i64,
    pub null_count: i64,
    pub offset: i64,
    pub n_buffers: i64,
    pub n_children: i64,
    pub buffers: *mut (),
    pub children: *mut (),
    pub dictionary: *mut (),
    pub release: *mut (),
    pub private_data: *mut (),
}

/// `struct ArrowSchema` of the Arrow C Data Interface, field by field. Owned: dropping it
/// releases it.
#[repr(C)]
#[derive(StableAbi)]
#[allow(missing_docs, reason = "the interface's own names, described there")]
pub struct FfiSchema {
    pub format: *mut (),
    pub name: *mut (),
    pub metadata: *mut (),
    pub flags: i64,
    pub n_children: i64,
    pub children: *mut (),
    pub dictionary: *mut (),
    pub release: *mut (),
    pub private_data: *mut (),
}

/// A handle's drop calls its vtable's; threads may share or pass it as its contract says.
macro_rules! handle {
    ($handle:ident: $($bound:ident)+) => {
        impl Drop for $handle {
            fn drop(&mut self) {
                // SAFETY: a handle is made with the `drop` that belongs to its `data`, is never
                // copied, and this is the last use.
                unsafe { self.vtable.drop()(self.data) }
            }
        }
        $(
            // SAFETY: both makers box values that are so themselves: `Box<dyn Reader>` and the
            // like are `Send`, and `Sync` where the contract says shared.
            unsafe impl $bound for $handle {}
        )+
    };
}

handle!(FfiReader: Send Sync);
handle!(FfiReadTask: Send);
handle!(FfiWriter: Send Sync);
handle!(FfiWriteTask: Send);
handle!(FfiHost: Send Sync);
handle!(FfiWaker: Send Sync);
handle!(FfiLog: Send Sync);
