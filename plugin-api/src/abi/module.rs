//! The frozen types: the root module, one vtable per object, the handles that pair an object with
//! its vtable, and the Arrow structs. Nothing here runs: `export` fills the vtables, `import` calls
//! them.
//!
//! # Rules of change
//!
//! * Structs named `Ffi...` are frozen for the major version. Vtables and the root module grow at
//!   their end only, and `last_prefix_field` never moves: what an older side lacks reads as `None`.
//! * What is JSON grows by keys with defaults. Enumerations cross as JSON words or `u32`.
//! * Each addition raises the minor version in `version`, has a line there, and says here what its
//!   absence means.
//!
//! # The contract of a function
//!
//! Every function states five things, one line each:
//!
//! * **Caller**: which side calls it, host or plugin.
//! * **Thread**: *shared* functions may be called from several threads at once; *owned* ones by one
//!   thread at a time, which may change between calls. The host calls from threads made for it,
//!   never from an async executor's, so a function that blocks may block for long.
//! * **State**: what must have happened before. A call in another state returns an error and has
//!   no effect; it is never undefined.
//! * **Owner**: who owns what crosses. Unless stated otherwise, arguments by reference (`RStr`,
//!   `RSlice`) are the caller's and are not kept after the return; arguments by value belong to the
//!   callee, and what is returned to the caller. Dropping a value returns its memory to the side
//!   that allocated it.
//! * **Blocks**: whether the call may wait for the store. A call that blocks returns within a
//!   second after the host's stop signal, with an error of kind `cancelled`.
//!
//! # What holds for all of them
//!
//! * `data` is the handle's own pointer, valid from the creation of the handle to its `drop`.
//! * No function unwinds. A panic becomes an error of kind `defect`, and so does every later call
//!   on the same object.
//! * `Err` holds a [`crate::Error`] as JSON. A kind that the receiver does not know reads as
//!   `other`.

use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::RootModule,
    sabi_types::VersionStrings,
    std_types::{ROption, RResult, RSlice, RStr, RString, RVec},
};

use super::version::ABI_STRINGS;

/// A value, or a [`crate::Error`] as JSON. It belongs to the caller.
pub type FfiResult<T> = RResult<T, RString>;

// ---------------------------------------------------------------------------------- root module

/// What a plugin library exports under [`super::ROOT_SYMBOL`].
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef, prefix_fields = PluginModulePrefix)))]
#[sabi(missing_field(option))]
pub struct PluginModule {
    /// Whether the library was built with `panic = "unwind"`. The host refuses it otherwise: a
    /// panic would end the process instead of becoming an error.
    pub unwinds: bool,
    /// Returns the [`crate::Descriptor`] as JSON; the same text each time.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: no
    pub describe: extern "C" fn() -> FfiResult<RString>,
    /// Makes a reader from [`crate::Options`] as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any; several readers may exist at once
    /// * Owner: `host` passes to the reader, the returned handle to the caller
    /// * Blocks: no: the first call of the reader may connect
    pub reader: extern "C" fn(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiReader>,
    /// Makes a writer from [`crate::Options`] as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any; several writers may exist at once
    /// * Owner: `host` passes to the writer, the returned handle to the caller
    /// * Blocks: no: the first call of the writer may connect
    #[sabi(last_prefix_field)]
    pub writer: extern "C" fn(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiWriter>,
    /// Since 1.1. Sends the library's events and panics to `log` from now on. Only the first call
    /// has an effect.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: before `reader` and `writer`, so that none of their events is lost
    /// * Owner: `log` passes to the library for the life of the process
    /// * Blocks: no
    /// * Missing: the plugin logs nothing
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
    /// The plugin's object, opaque to the host.
    pub data: *mut (),
    /// Its functions.
    pub vtable: ReaderVtableRef,
}

/// [`crate::Reader`], function by function.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ReaderVtableRef, prefix_fields = ReaderVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct ReaderVtable {
    /// Ends the reader.
    ///
    /// * Caller: host, once, last
    /// * Thread: owned
    /// * State: every other call has returned; tasks that it opened may live on
    /// * Owner: takes `data`
    /// * Blocks: may, while connections are closed
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Returns [`crate::Finding`]s as JSON, one per stage that was checked.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub check: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Returns the [`crate::SourceSchema`] as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub schema: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Returns the columns that batches will have if `wanted` is asked for. Both are lists of
    /// [`crate::Column`] as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub produces: unsafe extern "C" fn(data: *const (), wanted: RStr<'_>) -> FfiResult<RString>,
    /// Returns [`crate::Split`]s for a [`crate::SplitRequest`], both as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any; the columns of the request are from `produces`
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub splits: unsafe extern "C" fn(data: *const (), request: RStr<'_>) -> FfiResult<RString>,
    /// Opens a [`crate::Split`] (JSON) for columns (JSON), at its start or after a position
    /// (bytes).
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any; several tasks may be open, and a split may come from another process
    /// * Owner: the task is the caller's and does not depend on the reader's handle
    /// * Blocks: yes
    #[sabi(last_prefix_field)]
    pub open: unsafe extern "C" fn(
        data: *const (),
        split: RStr<'_>,
        columns: RStr<'_>,
        after: ROption<RSlice<'_, u8>>,
    ) -> FfiResult<FfiReadTask>,
    /// Since 1.1. Returns [`crate::TableInfo`]s as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    /// * Missing: `discover` is unsupported
    pub discover: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Since 1.2. Returns [`crate::Count`]s as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any, also while tasks run
    /// * Owner: the text is the caller's
    /// * Blocks: no
    /// * Missing: nothing is counted
    pub counts: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Since 1.3. Returns a [`crate::Digest`] for a [`crate::DigestRequest`], both as JSON, or
    /// `null`.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    /// * Missing: as if it returned `null`: the host reads the rows
    pub digest: unsafe extern "C" fn(data: *const (), request: RStr<'_>) -> FfiResult<RString>,
    /// Since 1.4. Returns a [`crate::TablePage`] for a [`crate::TableRequest`], both as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    /// * Missing: the host divides what `discover` returns
    pub tables: unsafe extern "C" fn(data: *const (), request: RStr<'_>) -> FfiResult<RString>,
}

/// An open split. Made by the plugin.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiReadTask {
    /// The plugin's object, opaque to the host.
    pub data: *mut (),
    /// Its functions.
    pub vtable: ReadTaskVtableRef,
    /// The schema of every batch, sent once.
    pub schema: FfiSchema,
}

/// [`crate::ReadTask`], function by function.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ReadTaskVtableRef, prefix_fields = ReadTaskVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct ReadTaskVtable {
    /// Ends the task, whether or not it was read to its end.
    ///
    /// * Caller: host, once, last
    /// * Thread: owned
    /// * State: any
    /// * Owner: takes `data`; batches that it returned live on
    /// * Blocks: may, while a connection is closed
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Returns the next batch, or `None` at the proven end of the split.
    ///
    /// * Caller: host
    /// * Thread: owned
    /// * State: not after `None` or an error
    /// * Owner: the batch is the caller's and outlives the task
    /// * Blocks: yes, until rows arrive or the stop signal is given
    #[sabi(last_prefix_field)]
    pub next_batch: unsafe extern "C" fn(data: *mut ()) -> FfiResult<ROption<FfiReadBatch>>,
}

/// [`crate::ReadBatch`].
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiReadBatch {
    /// The rows.
    pub batch: FfiBatch,
    /// The source's position after these rows.
    pub position: RVec<u8>,
    /// Where the rows came from.
    pub origin: ROption<FfiOrigin>,
    /// Bytes taken from the source.
    pub bytes: u64,
    /// Notes as JSON (`dirty`: a list of [`crate::DirtyRow`]); empty for a batch without dirty
    /// rows, as most are.
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
    /// The plugin's object, opaque to the host.
    pub data: *mut (),
    /// Its functions.
    pub vtable: WriterVtableRef,
}

/// [`crate::Writer`], function by function. `plan` is a [`crate::WritePlan`] as JSON.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WriterVtableRef, prefix_fields = WriterVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WriterVtable {
    /// Ends the writer.
    ///
    /// * Caller: host, once, last
    /// * Thread: owned
    /// * State: every other call has returned; tasks that it opened may live on
    /// * Owner: takes `data`
    /// * Blocks: may, while connections are closed
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Returns [`crate::Finding`]s as JSON, one per stage that was checked. Writes nothing.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub check: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Returns the [`crate::TargetInfo`] as JSON. Writes nothing.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub inspect: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Returns the [`crate::WriteDraft`] of a plan as JSON. Writes nothing.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub draft: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<RString>,
    /// Prepares the target for a run. A second call with the same plan changes nothing.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: drafted; before the first task of the run is opened
    /// * Owner: nothing is returned
    /// * Blocks: yes
    pub prepare: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<()>,
    /// Opens a task ([`crate::TaskContext`] as JSON) for batches of `schema`, which is sent once.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: prepared; several tasks may be open
    /// * Owner: takes `schema`; the task is the caller's and does not depend on the writer's
    ///   handle
    /// * Blocks: yes
    pub open: unsafe extern "C" fn(
        data: *const (),
        plan: RStr<'_>,
        task: RStr<'_>,
        schema: FfiSchema,
    ) -> FfiResult<FfiWriteTask>,
    /// Commits the run from [`crate::Receipt`]s (JSON) and returns a [`crate::ChunkOutcome`] as
    /// JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: prepared, and every task has finished
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub commit: unsafe extern "C" fn(
        data: *const (),
        plan: RStr<'_>,
        receipts: RStr<'_>,
    ) -> FfiResult<RString>,
    /// Removes what the run has staged, except what an unknown outcome may have published.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: prepared; may be called more than once, and after `commit`
    /// * Owner: nothing is returned
    /// * Blocks: yes
    pub abort:
        unsafe extern "C" fn(data: *const (), plan: RStr<'_>, receipts: RStr<'_>) -> FfiResult<()>,
    /// Removes leftovers of a committed run.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: committed; may be called more than once
    /// * Owner: nothing is returned
    /// * Blocks: yes
    #[sabi(last_prefix_field)]
    pub finalise: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<()>,
    /// Since 1.1. Returns [`crate::TableInfo`]s as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    /// * Missing: `discover` is unsupported
    pub discover: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Since 1.2. Returns [`crate::Count`]s as JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any, also while tasks run
    /// * Owner: the text is the caller's
    /// * Blocks: no
    /// * Missing: nothing is counted
    pub counts: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    /// Since 1.3. Returns the statements that create [`crate::TokenTables`] (JSON), as a list in
    /// JSON.
    ///
    /// * Caller: host
    /// * Thread: shared
    /// * State: any
    /// * Owner: the text is the caller's
    /// * Blocks: no
    /// * Missing: the store keeps no tokens
    pub token_ddl: unsafe extern "C" fn(data: *const (), tables: RStr<'_>) -> FfiResult<RString>,
}

/// One task's writing. Made by the plugin.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWriteTask {
    /// The plugin's object, opaque to the host.
    pub data: *mut (),
    /// Its functions.
    pub vtable: WriteTaskVtableRef,
}

/// [`crate::WriteTask`], function by function.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WriteTaskVtableRef, prefix_fields = WriteTaskVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WriteTaskVtable {
    /// Ends the task and leaves no more behind than `abort` would.
    ///
    /// * Caller: host, once, last
    /// * Thread: owned
    /// * State: any
    /// * Owner: takes `data`
    /// * Blocks: may, while an open chunk is rolled back
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Starts a chunk.
    ///
    /// * Caller: host
    /// * Thread: owned
    /// * State: no chunk is open, and neither `finish` nor `abort` was called
    /// * Owner: nothing is returned
    /// * Blocks: yes
    pub begin_chunk: unsafe extern "C" fn(data: *mut (), sequence: u64) -> FfiResult<()>,
    /// Adds a batch to the chunk and returns what happened to its rows.
    ///
    /// * Caller: host
    /// * Thread: owned
    /// * State: a chunk is open and none of its calls failed
    /// * Owner: takes `batch`; the result is the caller's
    /// * Blocks: yes
    pub write: unsafe extern "C" fn(data: *mut (), batch: FfiBatch) -> FfiResult<FfiWritten>,
    /// Commits the chunk and returns a [`crate::ChunkOutcome`] as JSON. `position` is the source's
    /// position after the chunk, `counters` the task's [`crate::Counters`] as JSON.
    ///
    /// * Caller: host
    /// * Thread: owned
    /// * State: a chunk is open and none of its calls failed
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub commit_chunk: unsafe extern "C" fn(
        data: *mut (),
        position: RSlice<'_, u8>,
        counters: RStr<'_>,
    ) -> FfiResult<RString>,
    /// Discards the open chunk.
    ///
    /// * Caller: host
    /// * Thread: owned
    /// * State: any until `finish` or `abort`, also without an open chunk
    /// * Owner: nothing is returned
    /// * Blocks: yes
    pub rollback_chunk: unsafe extern "C" fn(data: *mut ()) -> FfiResult<()>,
    /// Ends the task and returns its [`crate::Receipt`] as JSON. Only `drop` may follow.
    ///
    /// * Caller: host
    /// * Thread: owned
    /// * State: no chunk is open
    /// * Owner: the text is the caller's
    /// * Blocks: yes
    pub finish: unsafe extern "C" fn(data: *mut ()) -> FfiResult<RString>,
    /// Removes what the task has staged. Only `drop` may follow.
    ///
    /// * Caller: host
    /// * Thread: owned
    /// * State: any until `finish` or `abort`
    /// * Owner: nothing is returned
    /// * Blocks: yes
    #[sabi(last_prefix_field)]
    pub abort: unsafe extern "C" fn(data: *mut ()) -> FfiResult<()>,
    /// Since 1.3. Returns the [`crate::TaskProgress`] that earlier attempts have left in the store as
    /// JSON, or `null`.
    ///
    /// * Caller: host
    /// * Thread: owned
    /// * State: before the first chunk
    /// * Owner: the text is the caller's
    /// * Blocks: no: `open` has asked the store
    /// * Missing: as if it returned `null`
    pub progress: unsafe extern "C" fn(data: *mut ()) -> FfiResult<RString>,
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
    /// Notes as JSON (`dirty`: a list of [`crate::DirtyRow`]; `held`: bytes); empty without any.
    pub notes: RString,
}

// ----------------------------------------------------------------- services that the host provides

/// The host's services for one reader or writer. Made by the host.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiHost {
    /// The host's object, opaque to the plugin.
    pub data: *mut (),
    /// Its functions.
    pub vtable: HostVtableRef,
}

/// [`crate::Host`], function by function.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostVtableRef, prefix_fields = HostVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct HostVtable {
    /// Gives the services back.
    ///
    /// * Caller: plugin, once, last
    /// * Thread: owned
    /// * State: the reader or writer and all its tasks have ended
    /// * Owner: takes `data`
    /// * Blocks: no
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Returns a secret's bytes (UTF-8), or `None` if the job gives none for this key.
    ///
    /// * Caller: plugin
    /// * Thread: shared
    /// * State: any
    /// * Owner: the bytes are the caller's, who overwrites them before dropping them
    /// * Blocks: yes: the host may run a command or read a file
    pub secret:
        unsafe extern "C" fn(data: *const (), key: RStr<'_>) -> FfiResult<ROption<RVec<u8>>>,
    /// Returns whether the stop signal was given.
    ///
    /// * Caller: plugin
    /// * Thread: shared
    /// * State: any
    /// * Owner: nothing crosses
    /// * Blocks: no
    pub is_cancelled: unsafe extern "C" fn(data: *const ()) -> bool,
    /// Registers `waker` for the stop signal; it is woken at once if the signal was given before.
    ///
    /// * Caller: plugin
    /// * Thread: shared
    /// * State: any
    /// * Owner: takes `waker` and keeps it as long as the job's signal lives
    /// * Blocks: no longer than the waker's `wake`
    #[sabi(last_prefix_field)]
    pub on_cancel: unsafe extern "C" fn(data: *const (), waker: FfiWaker),
}

/// Something to wake at the stop signal. Made by the plugin.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWaker {
    /// The plugin's object, opaque to the host.
    pub data: *mut (),
    /// Its functions.
    pub vtable: WakerVtableRef,
}

/// What wakes a plugin's blocked call when the stop signal is given.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WakerVtableRef, prefix_fields = WakerVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WakerVtable {
    /// Ends the waker.
    ///
    /// * Caller: host, once, last
    /// * Thread: owned; any thread that drops the signal
    /// * State: woken or not
    /// * Owner: takes `data`
    /// * Blocks: no
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Wakes the plugin.
    ///
    /// * Caller: host, at most once
    /// * Thread: owned; the thread that gives the signal
    /// * State: any
    /// * Owner: nothing crosses
    /// * Blocks: no
    #[sabi(last_prefix_field)]
    pub wake: unsafe extern "C" fn(data: *const ()),
}

/// Where the library's events go. Made by the host, once per library.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiLog {
    /// The host's object, opaque to the plugin.
    pub data: *mut (),
    /// Its functions.
    pub vtable: LogVtableRef,
}

/// [`super::LogSink`], function by function. Levels: 1 error, 2 warn, 3 info, 4 debug, 5 trace.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = LogVtableRef, prefix_fields = LogVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct LogVtable {
    /// Ends the log.
    ///
    /// * Caller: plugin, once, last; in practice never, because libraries stay loaded
    /// * Thread: owned
    /// * State: no other call is running
    /// * Owner: takes `data`
    /// * Blocks: no
    pub drop: unsafe extern "C" fn(data: *mut ()),
    /// Returns whether events of this level and target are wanted now.
    ///
    /// * Caller: plugin
    /// * Thread: shared
    /// * State: any
    /// * Owner: nothing is returned but the flag
    /// * Blocks: no
    pub enabled: unsafe extern "C" fn(data: *const (), level: u32, target: RStr<'_>) -> bool,
    /// Takes one event. `fields` is a JSON object.
    ///
    /// * Caller: plugin
    /// * Thread: shared
    /// * State: any
    /// * Owner: the texts are the caller's
    /// * Blocks: as long as the host's log takes to write a line
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

/// One batch: a struct array without nulls at the top, of the schema that was sent when the task
/// was opened. The exporting side has compared the batch with that schema.
#[repr(C)]
#[derive(StableAbi)]
pub struct FfiBatch {
    /// The columns.
    pub array: FfiArray,
    /// The number of rows. It is decisive if there are no columns.
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

/// A handle's drop calls the vtable's `drop`. Threads may share or move it as its contract states.
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
