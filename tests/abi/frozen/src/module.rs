//! The boundary's types, frozen: a copy of `plugin-api/src/abi/module.rs` without comments.
#![allow(missing_docs)]

use abi_stable::{
    declare_root_module_statics,
    library::RootModule,
    sabi_types::VersionStrings,
    std_types::{ROption, RResult, RSlice, RStr, RString, RVec},
    StableAbi,
};

pub type FfiResult<T> = RResult<T, RString>;

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef, prefix_fields = PluginModulePrefix)))]
#[sabi(missing_field(option))]
pub struct PluginModule {
    pub unwinds: bool,
    pub describe: extern "C" fn() -> FfiResult<RString>,
    #[cfg(not(feature = "order"))]
    pub reader: extern "C" fn(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiReader>,
    #[cfg(not(feature = "order"))]
    #[sabi(last_prefix_field)]
    pub writer: extern "C" fn(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiWriter>,
    #[cfg(feature = "order")]
    pub writer: extern "C" fn(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiWriter>,
    #[cfg(feature = "order")]
    #[sabi(last_prefix_field)]
    pub reader: extern "C" fn(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiReader>,
    #[cfg(not(feature = "older"))]
    pub connect_log: extern "C" fn(log: FfiLog),
    #[cfg(feature = "newer")]
    pub later: extern "C" fn(host: FfiHost) -> u32,
}

impl RootModule for PluginModuleRef {
    declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "transload_plugin";
    const NAME: &'static str = "transload_plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new(if cfg!(feature = "older") {
        "1.0.0"
    } else if cfg!(feature = "old") {
        "1.1.0"
    } else if cfg!(feature = "recent") {
        "1.2.0"
    } else if cfg!(feature = "late") {
        "1.3.0"
    } else if cfg!(feature = "newer") {
        "1.5.0"
    } else if cfg!(feature = "major") {
        "2.0.0"
    } else {
        "1.4.0"
    });
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiReader {
    pub data: *mut (),
    pub vtable: ReaderVtableRef,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ReaderVtableRef, prefix_fields = ReaderVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct ReaderVtable {
    pub drop: unsafe extern "C" fn(data: *mut ()),
    pub check: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    pub schema: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    pub produces: unsafe extern "C" fn(data: *const (), wanted: RStr<'_>) -> FfiResult<RString>,
    #[cfg(not(feature = "signature"))]
    pub splits: unsafe extern "C" fn(data: *const (), request: RStr<'_>) -> FfiResult<RString>,
    #[cfg(feature = "signature")]
    pub splits: unsafe extern "C" fn(data: *const (), most: u32) -> FfiResult<RString>,
    #[sabi(last_prefix_field)]
    pub open: unsafe extern "C" fn(
        data: *const (),
        split: RStr<'_>,
        columns: RStr<'_>,
        after: ROption<RSlice<'_, u8>>,
    ) -> FfiResult<FfiReadTask>,
    #[cfg(not(feature = "older"))]
    pub discover: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    #[cfg(not(any(feature = "older", feature = "old")))]
    pub counts: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    #[cfg(not(any(feature = "older", feature = "old", feature = "recent")))]
    pub digest: unsafe extern "C" fn(data: *const (), request: RStr<'_>) -> FfiResult<RString>,
    #[cfg(not(any(feature = "older", feature = "old", feature = "recent", feature = "late")))]
    pub tables: unsafe extern "C" fn(data: *const (), request: RStr<'_>) -> FfiResult<RString>,
    #[cfg(feature = "newer")]
    pub later: unsafe extern "C" fn(data: *const (), batch: FfiBatch) -> FfiResult<u64>,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiReadTask {
    pub data: *mut (),
    pub vtable: ReadTaskVtableRef,
    pub schema: FfiSchema,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ReadTaskVtableRef, prefix_fields = ReadTaskVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct ReadTaskVtable {
    pub drop: unsafe extern "C" fn(data: *mut ()),
    #[sabi(last_prefix_field)]
    pub next_batch: unsafe extern "C" fn(data: *mut ()) -> FfiResult<ROption<FfiReadBatch>>,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiReadBatch {
    pub batch: FfiBatch,
    pub position: RVec<u8>,
    pub origin: ROption<FfiOrigin>,
    #[cfg(not(feature = "layout"))]
    pub bytes: u64,
    #[cfg(feature = "layout")]
    pub bytes: u32,
    pub notes: RString,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiOrigin {
    pub source: RString,
    pub unit: RString,
    pub first: u64,
    pub exact: bool,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWriter {
    pub data: *mut (),
    pub vtable: WriterVtableRef,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WriterVtableRef, prefix_fields = WriterVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WriterVtable {
    pub drop: unsafe extern "C" fn(data: *mut ()),
    pub check: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    pub inspect: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    pub draft: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<RString>,
    pub prepare: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<()>,
    pub open: unsafe extern "C" fn(
        data: *const (),
        plan: RStr<'_>,
        task: RStr<'_>,
        schema: FfiSchema,
    ) -> FfiResult<FfiWriteTask>,
    pub commit: unsafe extern "C" fn(
        data: *const (),
        plan: RStr<'_>,
        receipts: RStr<'_>,
    ) -> FfiResult<RString>,
    pub abort: unsafe extern "C" fn(
        data: *const (),
        plan: RStr<'_>,
        receipts: RStr<'_>,
    ) -> FfiResult<()>,
    #[sabi(last_prefix_field)]
    pub finalise: unsafe extern "C" fn(data: *const (), plan: RStr<'_>) -> FfiResult<()>,
    #[cfg(not(feature = "older"))]
    pub discover: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    #[cfg(not(any(feature = "older", feature = "old")))]
    pub counts: unsafe extern "C" fn(data: *const ()) -> FfiResult<RString>,
    #[cfg(not(any(feature = "older", feature = "old", feature = "recent")))]
    pub token_ddl: unsafe extern "C" fn(data: *const (), tables: RStr<'_>) -> FfiResult<RString>,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWriteTask {
    pub data: *mut (),
    pub vtable: WriteTaskVtableRef,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WriteTaskVtableRef, prefix_fields = WriteTaskVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WriteTaskVtable {
    pub drop: unsafe extern "C" fn(data: *mut ()),
    pub begin_chunk: unsafe extern "C" fn(data: *mut (), sequence: u64) -> FfiResult<()>,
    pub write: unsafe extern "C" fn(data: *mut (), batch: FfiBatch) -> FfiResult<FfiWritten>,
    pub commit_chunk: unsafe extern "C" fn(
        data: *mut (),
        position: RSlice<'_, u8>,
        counters: RStr<'_>,
    ) -> FfiResult<RString>,
    pub rollback_chunk: unsafe extern "C" fn(data: *mut ()) -> FfiResult<()>,
    pub finish: unsafe extern "C" fn(data: *mut ()) -> FfiResult<RString>,
    #[sabi(last_prefix_field)]
    pub abort: unsafe extern "C" fn(data: *mut ()) -> FfiResult<()>,
    #[cfg(not(any(feature = "older", feature = "old", feature = "recent")))]
    pub progress: unsafe extern "C" fn(data: *mut ()) -> FfiResult<RString>,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWritten {
    pub inserted: u64,
    pub updated: u64,
    pub skipped: u64,
    pub notes: RString,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiHost {
    pub data: *mut (),
    pub vtable: HostVtableRef,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostVtableRef, prefix_fields = HostVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct HostVtable {
    pub drop: unsafe extern "C" fn(data: *mut ()),
    pub secret:
        unsafe extern "C" fn(data: *const (), key: RStr<'_>) -> FfiResult<ROption<RVec<u8>>>,
    pub is_cancelled: unsafe extern "C" fn(data: *const ()) -> bool,
    #[sabi(last_prefix_field)]
    pub on_cancel: unsafe extern "C" fn(data: *const (), waker: FfiWaker),
    #[cfg(feature = "newer")]
    pub later: unsafe extern "C" fn(data: *const ()) -> u64,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiWaker {
    pub data: *mut (),
    pub vtable: WakerVtableRef,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = WakerVtableRef, prefix_fields = WakerVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct WakerVtable {
    pub drop: unsafe extern "C" fn(data: *mut ()),
    #[sabi(last_prefix_field)]
    pub wake: unsafe extern "C" fn(data: *const ()),
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiLog {
    pub data: *mut (),
    pub vtable: LogVtableRef,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = LogVtableRef, prefix_fields = LogVtablePrefix)))]
#[sabi(missing_field(option))]
pub struct LogVtable {
    pub drop: unsafe extern "C" fn(data: *mut ()),
    pub enabled: unsafe extern "C" fn(data: *const (), level: u32, target: RStr<'_>) -> bool,
    #[sabi(last_prefix_field)]
    pub event: unsafe extern "C" fn(
        data: *const (),
        level: u32,
        target: RStr<'_>,
        message: RStr<'_>,
        fields: RStr<'_>,
    ),
}

#[repr(C)]
#[derive(StableAbi)]
pub struct FfiBatch {
    pub array: FfiArray,
    pub rows: u64,
}

#[repr(C)]
#[derive(StableAbi)]
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

#[repr(C)]
#[derive(StableAbi)]
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

impl Drop for FfiHost {
    fn drop(&mut self) {
        unsafe { self.vtable.drop()(self.data) }
    }
}

impl Drop for FfiLog {
    fn drop(&mut self) {
        unsafe { self.vtable.drop()(self.data) }
    }
}
