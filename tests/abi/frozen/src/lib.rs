//! A reader without columns, behind the frozen types: three rows, then the end. Written by hand,
//! without the plugin API, arrow or a guard, as an independent plugin might be.
#![allow(non_camel_case_types, non_local_definitions, dead_code, unused_imports, unused_variables)]

mod module;

use abi_stable::{
    library::{
        CheckTypeLayout, LibHeader, RootModuleResult, __call_root_module_loader,
    },
    prefix_type::{PrefixTypeTrait, WithMetadata},
    std_types::{RErr, RNone, ROk, ROption, RSlice, RSome, RStr, RString, RVec},
};

use module::*;

const NAME: &str = if cfg!(feature = "older") {
    "frozen-older"
} else if cfg!(feature = "old") {
    "frozen-old"
} else if cfg!(feature = "recent") {
    "frozen-recent"
} else if cfg!(feature = "late") {
    "frozen-late"
} else if cfg!(feature = "newer") {
    "frozen-newer"
} else {
    "frozen"
};

fn root() -> PluginModuleRef {
    #[cfg(feature = "undefined")]
    unsafe {
        no_such_function()
    };
    PluginModule {
        unwinds: !cfg!(feature = "no-unwind"),
        describe,
        reader,
        writer,
        #[cfg(not(feature = "older"))]
        connect_log,
        #[cfg(feature = "newer")]
        later: root_later,
    }
    .leak_into_prefix()
}

extern "C" fn load() -> RootModuleResult {
    __call_root_module_loader(root)
}

#[cfg(not(feature = "no-root"))]
#[export_name = "_1as_0lib_1header_0root_bmodule_bloader"]
pub static ROOT: LibHeader =
    unsafe { LibHeader::from_constructor::<PluginModuleRef>(load, CheckTypeLayout::Yes) };

#[cfg(feature = "no-root")]
#[no_mangle]
pub extern "C" fn something_else() {}

#[cfg(feature = "undefined")]
extern "C" {
    fn no_such_function();
}

extern "C" fn describe() -> FfiResult<RString> {
    if cfg!(feature = "panics") {
        panic!("this panic is not caught");
    }
    if cfg!(feature = "garbled") {
        return ROk(RString::from("[1, 2"));
    }
    let name = if cfg!(feature = "insane") { "No Name" } else { NAME };
    ROk(RString::from(format!(
        r#"{{"name": "{name}", "version": "0.9.0", "summary": "frozen", "later": [1],
            "reader": {{"types": [], "ability": "seekable", "later": true}}}}"#
    )))
}

fn unsupported(what: &str) -> RString {
    RString::from(format!(
        r#"{{"kind": "unsupported", "message": "the frozen plugin has no {what}"}}"#
    ))
}

extern "C" fn reader(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiReader> {
    if unsafe { host.vtable.is_cancelled()(host.data) } {
        return RErr(unsupported("wish to start when asked to stop"));
    }
    #[cfg(feature = "newer")]
    if host.vtable.later().is_some() {
        return RErr(unsupported("host as new as itself"));
    }
    ROk(FfiReader { data: Box::into_raw(Box::new(host)).cast(), vtable: READER })
}

extern "C" fn writer(options: RStr<'_>, host: FfiHost) -> FfiResult<FfiWriter> {
    RErr(unsupported("writer"))
}

extern "C" fn connect_log(log: FfiLog) {
    unsafe {
        if log.vtable.enabled()(log.data, 3, RStr::from_str("frozen")) {
            let [target, message, fields] = ["frozen", "connected", "{}"].map(RStr::from_str);
            log.vtable.event()(log.data, 3, target, message, fields);
        }
    }
}

#[cfg(feature = "newer")]
extern "C" fn root_later(host: FfiHost) -> u32 {
    0
}

#[cfg(feature = "newer")]
unsafe extern "C" fn reader_later(data: *const (), batch: FfiBatch) -> FfiResult<u64> {
    ROk(0)
}

const READER: ReaderVtableRef = {
    const TABLE: &WithMetadata<ReaderVtable> = &WithMetadata::new(ReaderVtable {
        drop: drop_reader,
        check: json_check,
        schema,
        produces,
        splits,
        open,
        #[cfg(not(feature = "older"))]
        discover,
        #[cfg(not(any(feature = "older", feature = "old")))]
        counts,
        #[cfg(not(any(feature = "older", feature = "old", feature = "recent")))]
        digest,
        #[cfg(not(any(feature = "older", feature = "old", feature = "recent", feature = "late")))]
        tables,
        #[cfg(feature = "newer")]
        later: reader_later,
    });
    ReaderVtableRef(TABLE.static_as_prefix())
};

unsafe extern "C" fn drop_reader(data: *mut ()) {
    if cfg!(feature = "drop-panics") {
        panic!("this panic is not caught");
    }
    drop(Box::from_raw(data.cast::<FfiHost>()));
}

/// Returns the secret that it received.
unsafe extern "C" fn json_check(data: *const ()) -> FfiResult<RString> {
    let host = &*data.cast::<FfiHost>();
    match host.vtable.secret()(host.data, RStr::from_str("password")) {
        ROk(RSome(secret)) => {
            let shown = String::from_utf8_lossy(&secret).into_owned();
            ROk(RString::from(format!(
                r#"[{{"stage": "secret", "ok": true, "detail": "{shown}"}}]"#
            )))
        }
        ROk(RNone) => ROk(RString::from("[]")),
        RErr(error) => RErr(error),
    }
}

unsafe extern "C" fn discover(data: *const ()) -> FfiResult<RString> {
    ROk(RString::from(r#"[{"name": "t", "kind": "table"}]"#))
}

unsafe extern "C" fn counts(data: *const ()) -> FfiResult<RString> {
    ROk(RString::from(r#"[{"name": "calls", "value": 5, "later": []}]"#))
}

unsafe extern "C" fn tables(data: *const (), request: RStr<'_>) -> FfiResult<RString> {
    ROk(RString::from(r#"{"tables": [{"name": "s.t", "kind": "table", "schema": "s", "table": "t", "later": 1}], "later": 1}"#))
}

unsafe extern "C" fn digest(data: *const (), request: RStr<'_>) -> FfiResult<RString> {
    ROk(RString::from(r#"{"rows": 3, "checksum": "ff", "later": 1}"#))
}

unsafe extern "C" fn schema(data: *const ()) -> FfiResult<RString> {
    ROk(RString::from(r#"{"columns": [], "later": {}}"#))
}

unsafe extern "C" fn produces(data: *const (), wanted: RStr<'_>) -> FfiResult<RString> {
    ROk(RString::from("[]"))
}

#[cfg(not(feature = "signature"))]
unsafe extern "C" fn splits(data: *const (), request: RStr<'_>) -> FfiResult<RString> {
    ROk(RString::from(r#"[{"label": "all", "data": "", "ability": "seekable"}]"#))
}

#[cfg(feature = "signature")]
unsafe extern "C" fn splits(data: *const (), most: u32) -> FfiResult<RString> {
    ROk(RString::from("[]"))
}

unsafe extern "C" fn open(
    data: *const (),
    split: RStr<'_>,
    columns: RStr<'_>,
    after: ROption<RSlice<'_, u8>>,
) -> FfiResult<FfiReadTask> {
    let left = if after.is_some() { 0_u32 } else { 1 };
    let schema = no_columns();
    ROk(FfiReadTask { data: Box::into_raw(Box::new(left)).cast(), vtable: TASK, schema })
}

/// `struct ArrowSchema` of a struct without children.
fn no_columns() -> FfiSchema {
    unsafe extern "C" fn release(schema: *mut FfiSchema) {
        (*schema).release = std::ptr::null_mut();
    }
    let null = std::ptr::null_mut();
    FfiSchema {
        format: c"+s".as_ptr().cast_mut().cast(),
        name: c"".as_ptr().cast_mut().cast(),
        metadata: null,
        flags: 0,
        n_children: 0,
        children: null,
        dictionary: null,
        release: release as *mut (),
        private_data: null,
    }
}

const TASK: ReadTaskVtableRef = {
    const TABLE: &WithMetadata<ReadTaskVtable> =
        &WithMetadata::new(ReadTaskVtable { drop: drop_task, next_batch });
    ReadTaskVtableRef(TABLE.static_as_prefix())
};

unsafe extern "C" fn drop_task(data: *mut ()) {
    drop(Box::from_raw(data.cast::<u32>()));
}

unsafe extern "C" fn next_batch(data: *mut ()) -> FfiResult<ROption<FfiReadBatch>> {
    let left = &mut *data.cast::<u32>();
    if *left == 0 {
        return ROk(RNone);
    }
    *left -= 1;
    let null = std::ptr::null_mut();
    let array = FfiArray {
        length: 0,
        null_count: 0,
        offset: 0,
        n_buffers: 0,
        n_children: 0,
        buffers: null,
        children: null,
        dictionary: null,
        release: null,
        private_data: null,
    };
    ROk(RSome(FfiReadBatch {
        batch: FfiBatch { array, rows: 3 },
        position: RVec::from(vec![7]),
        origin: RNone,
        bytes: 42,
        notes: RString::new(),
    }))
}

#[cfg(any(feature = "aborts", feature = "exits", feature = "hangs", feature = "prints"))]
#[used]
#[link_section = ".init_array"]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn construct() {
        if cfg!(feature = "aborts") {
            std::process::abort();
        }
        if cfg!(feature = "exits") {
            std::process::exit(0);
        }
        if cfg!(feature = "prints") {
            print!("{{\"fits\": \"me\"}} without an end of line");
            let _ = std::io::Write::flush(&mut std::io::stdout());
        }
        while cfg!(feature = "hangs") {
            std::thread::park();
        }
    }
    construct
};
