//! A host with the frozen types: loads a library of today as a program of that version did, and
//! copies all rows of its reader into its writer. Written by hand, without the plugin API or arrow.
//!
//! Usage: frozen-host LIBRARY READER-OPTIONS WRITER-OPTIONS COLUMNS (the last three are JSON)
//!
//! Prints the outcome, or why the library does not fit, and ends with 3 then.
#![allow(dead_code, non_camel_case_types, non_local_definitions)]

mod module;

use std::ffi::{c_char, c_int, c_void, CString};

use abi_stable::{
    abi_stability::abi_checking::{check_layout_compatibility, AbiInstability},
    library::{AbiHeaderRef, ROOT_MODULE_LOADER_NAME},
    prefix_type::WithMetadata,
    std_types::{RNone, ROk, ROption, RResult, RSlice, RSome, RStr, RVec},
    StableAbi,
};

use module::*;

extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, symbol: *const c_char) -> *mut c_void;
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, source, target, columns] = arguments.as_slice() else {
        panic!("usage: frozen-host LIBRARY READER-OPTIONS WRITER-OPTIONS COLUMNS")
    };
    let root = match unsafe { load(library) } {
        Ok(root) => root,
        Err(reason) => {
            println!("{reason}");
            std::process::exit(3);
        }
    };
    assert!(root.unwinds());
    taken(root.describe()());
    let reader = taken(root.reader()(RStr::from_str(source), host()));
    let writer = taken(root.writer()(RStr::from_str(target), host()));
    unsafe { copy(&reader, &writer, columns) };
    unsafe { reader.vtable.drop()(reader.data) };
    unsafe { writer.vtable.drop()(writer.data) };
}

/// The root module of a library whose version and types fit, compared as hosts do: the version's
/// major number, and every type except for the version of the crate that defines it.
unsafe fn load(path: &str) -> Result<PluginModuleRef, String> {
    let path = CString::new(path).unwrap();
    let library = dlopen(path.as_ptr(), 2);
    assert!(!library.is_null(), "the library cannot be loaded");
    let name = CString::new(ROOT_MODULE_LOADER_NAME).unwrap();
    let symbol = dlsym(library, name.as_ptr());
    assert!(!symbol.is_null(), "the library exports no plugin");
    let header = std::mem::transmute::<*mut c_void, AbiHeaderRef>(symbol).upgrade().unwrap();
    let major = |text: &str| text.split('.').next().unwrap().to_owned();
    let ours = <PluginModuleRef as abi_stable::library::RootModule>::VERSION_STRINGS.version;
    let theirs = header.version_strings().version;
    if major(ours.as_str()) != major(theirs.as_str()) {
        return Err(format!("versions differ: {ours} and {theirs}"));
    }
    let types = header.layout().expect("the library describes its types");
    if let Err(report) = check_layout_compatibility(<PluginModuleRef as StableAbi>::LAYOUT, types) {
        let matters = |found: &AbiInstability| !matches!(found, AbiInstability::PackageVersion(_));
        if report.errors.iter().any(|error| error.errs.iter().any(matters)) {
            return Err("types differ".to_owned());
        }
    }
    Ok(header.unchecked_layout::<PluginModuleRef>().ok().expect("the root module starts"))
}

/// One task: all batches of one split, a chunk for each.
unsafe fn copy(reader: &FfiReader, writer: &FfiWriter, columns: &str) {
    taken(reader.vtable.schema()(reader.data));
    let produced = taken(reader.vtable.produces()(reader.data, RStr::from_str(columns)));
    let request = format!(r#"{{"max": 1, "columns": {produced}}}"#);
    let splits = taken(reader.vtable.splits()(reader.data, RStr::from_str(&request)));
    let split = splits.trim_start_matches('[').trim_end_matches(']');
    let open = reader.vtable.open();
    let mut source = taken(open(reader.data, split.into(), produced.as_str().into(), RNone));

    let plan = format!(r#"{{"run": "r1", "columns": {produced}, "mode": "insert", "tasks": 1}}"#);
    let plan = RStr::from_str(&plan);
    taken(writer.vtable.draft()(writer.data, plan));
    taken(writer.vtable.prepare()(writer.data, plan));
    let schema = std::mem::replace(&mut source.schema, no_schema());
    let task = RStr::from_str(r#"{"task": 0, "epoch": 0}"#);
    let task = taken(writer.vtable.open()(writer.data, plan, task, schema));

    let (mut read, mut inserted) = (0, 0);
    while let RSome(batch) = taken(source.vtable.next_batch()(source.data)) {
        taken(task.vtable.begin_chunk()(task.data, read));
        read += batch.batch.rows;
        inserted += taken(task.vtable.write()(task.data, batch.batch)).inserted;
        let counters = format!(
            r#"{{"read": {read}, "inserted": {inserted}, "updated": 0, "skipped": 0, "dirty": 0}}"#
        );
        let position = RSlice::from_slice(&batch.position);
        taken(task.vtable.commit_chunk()(task.data, position, RStr::from_str(&counters)));
    }
    source.vtable.drop()(source.data);
    let receipt = taken(task.vtable.finish()(task.data));
    task.vtable.drop()(task.data);
    let receipts = format!("[{receipt}]");
    let outcome = taken(writer.vtable.commit()(writer.data, plan, RStr::from_str(&receipts)));
    println!("read {read}, inserted {inserted}, outcome {outcome}");
}

/// What a call returns.
fn taken<T>(result: FfiResult<T>) -> T {
    match result {
        RResult::ROk(value) => value,
        RResult::RErr(error) => panic!("{error}"),
    }
}

fn no_schema() -> FfiSchema {
    let null = std::ptr::null_mut();
    FfiSchema {
        format: null,
        name: null,
        metadata: null,
        flags: 0,
        n_children: 0,
        children: null,
        dictionary: null,
        release: null,
        private_data: null,
    }
}

/// Services without a secret and without a stop signal.
fn host() -> FfiHost {
    FfiHost { data: std::ptr::null_mut(), vtable: HOST }
}

const HOST: HostVtableRef = {
    const TABLE: &WithMetadata<HostVtable> = &WithMetadata::new(HostVtable {
        drop: drop_host,
        secret,
        is_cancelled,
        on_cancel,
    });
    HostVtableRef(TABLE.static_as_prefix())
};

unsafe extern "C" fn drop_host(_: *mut ()) {}

unsafe extern "C" fn secret(_: *const (), _: RStr<'_>) -> FfiResult<ROption<RVec<u8>>> {
    ROk(RNone)
}

unsafe extern "C" fn is_cancelled(_: *const ()) -> bool {
    false
}

unsafe extern "C" fn on_cancel(_: *const (), waker: FfiWaker) {
    waker.vtable.drop()(waker.data);
}
