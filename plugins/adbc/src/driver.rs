//! The calls into a driver: the C structures of ADBC 1.1, loading a library, and handles that
//! release what they hold. The only file of this plugin with `unsafe`. Where a driver lies is
//! decided before, by `locate`; what is asked of it, by `session`.
#![allow(unsafe_code, reason = "a driver is foreign code, which the compiler cannot check")]

use std::{
    cell::UnsafeCell,
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::Path,
    ptr,
    sync::Arc,
};

use arrow_array::{Array as _, StructArray};
use arrow_array::{
    RecordBatch,
    ffi::{FFI_ArrowArray, FFI_ArrowSchema, to_ffi},
    ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader},
};
use arrow_schema::Schema;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// The status of a call that succeeded.
const OK: u8 = 0;
pub(crate) const NOT_IMPLEMENTED: u8 = 2;
const VERSION_1_0: c_int = 1_000_000;
const VERSION_1_1: c_int = 1_001_000;
/// `RTLD_NODELETE`: a driver may have threads, which must not lose their code.
const RTLD_NODELETE: c_int = 0x1000;

/// What a driver says of a call that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    /// An `AdbcStatusCode`.
    pub(crate) status: u8,
    pub(crate) message: String,
    /// Five letters, or none.
    pub(crate) sqlstate: String,
}

/// Why a library could not be used as a driver.
#[derive(Debug)]
pub(crate) enum LoadFailure {
    /// The system's loader refused it.
    Library(String),
    /// It has none of these functions.
    Entrypoint(Vec<String>),
    /// Its entry point failed.
    Init(Failure),
}

#[repr(C)]
struct RawError {
    message: *mut c_char,
    vendor_code: i32,
    sqlstate: [c_char; 5],
    release: Option<unsafe extern "C" fn(*mut RawError)>,
    private_data: *mut c_void,
    private_driver: *mut c_void,
}

impl RawError {
    fn new() -> Self {
        Self {
            message: ptr::null_mut(),
            vendor_code: 0,
            sqlstate: [0; 5],
            release: None,
            private_data: ptr::null_mut(),
            private_driver: ptr::null_mut(),
        }
    }

    /// The failure that it describes, which it then forgets.
    fn take(&mut self, status: u8) -> Failure {
        let message = match self.message.is_null() {
            true => String::new(),
            // SAFETY: a message is a C string of the driver's until `release`.
            false => unsafe { CStr::from_ptr(self.message) }.to_string_lossy().into_owned(),
        };
        let letters = self.sqlstate.iter().map(|letter| letter.cast_unsigned());
        let sqlstate = letters.take_while(u8::is_ascii_alphanumeric).map(char::from).collect();
        if let Some(release) = self.release.take() {
            // SAFETY: the driver's own function on the structure that it has filled, once.
            unsafe { release(self) };
        }
        Failure { status, message, sqlstate }
    }
}

/// A database, connection or statement: the same two words in C.
#[repr(C)]
struct RawHandle {
    private_data: *mut c_void,
    private_driver: *mut c_void,
}

impl RawHandle {
    fn new() -> Self {
        Self { private_data: ptr::null_mut(), private_driver: ptr::null_mut() }
    }
}

type Plain = Option<unsafe extern "C" fn(*mut RawHandle, *mut RawError) -> u8>;
type SetOption =
    Option<unsafe extern "C" fn(*mut RawHandle, *const c_char, *const c_char, *mut RawError) -> u8>;
/// A function that this plugin never calls.
type Unused = *const c_void;

/// `struct AdbcDriver` of 1.1; a driver of 1.0 fills it up to `statement_set_substrait_plan`.
#[repr(C)]
struct RawDriver {
    private_data: *mut c_void,
    private_manager: *mut c_void,
    release: Unused,
    database_init: Plain,
    database_new: Plain,
    database_set_option: SetOption,
    database_release: Plain,
    connection_commit: Plain,
    connection_get_info: Option<
        unsafe extern "C" fn(
            *mut RawHandle,
            *const u32,
            usize,
            *mut FFI_ArrowArrayStream,
            *mut RawError,
        ) -> u8,
    >,
    connection_get_objects: Option<
        unsafe extern "C" fn(
            *mut RawHandle,
            c_int,
            *const c_char,
            *const c_char,
            *const c_char,
            *const *const c_char,
            *const c_char,
            *mut FFI_ArrowArrayStream,
            *mut RawError,
        ) -> u8,
    >,
    connection_get_table_schema: Option<
        unsafe extern "C" fn(
            *mut RawHandle,
            *const c_char,
            *const c_char,
            *const c_char,
            *mut FFI_ArrowSchema,
            *mut RawError,
        ) -> u8,
    >,
    connection_get_table_types: Unused,
    connection_init:
        Option<unsafe extern "C" fn(*mut RawHandle, *mut RawHandle, *mut RawError) -> u8>,
    connection_new: Plain,
    connection_set_option: SetOption,
    connection_read_partition: Unused,
    connection_release: Plain,
    connection_rollback: Plain,
    statement_bind: Option<
        unsafe extern "C" fn(
            *mut RawHandle,
            *mut FFI_ArrowArray,
            *mut FFI_ArrowSchema,
            *mut RawError,
        ) -> u8,
    >,
    statement_bind_stream: Unused,
    statement_execute_query: Option<
        unsafe extern "C" fn(
            *mut RawHandle,
            *mut FFI_ArrowArrayStream,
            *mut i64,
            *mut RawError,
        ) -> u8,
    >,
    statement_execute_partitions: Unused,
    statement_get_parameter_schema: Unused,
    statement_new:
        Option<unsafe extern "C" fn(*mut RawHandle, *mut RawHandle, *mut RawError) -> u8>,
    statement_prepare: Plain,
    statement_release: Plain,
    statement_set_option: SetOption,
    statement_set_sql_query:
        Option<unsafe extern "C" fn(*mut RawHandle, *const c_char, *mut RawError) -> u8>,
    statement_set_substrait_plan: Unused,
    // 1.1
    error_functions: [Unused; 3],
    database_options: [Unused; 7],
    connection_cancel: Unused,
    connection_options: [Unused; 9],
    statement_cancel: Plain,
    statement_execute_schema:
        Option<unsafe extern "C" fn(*mut RawHandle, *mut FFI_ArrowSchema, *mut RawError) -> u8>,
    statement_options: [Unused; 7],
}

type Init = unsafe extern "C" fn(c_int, *mut c_void, *mut RawError) -> u8;

/// A loaded driver. Its library stays for the life of the process.
pub(crate) struct Driver(RawDriver);

// SAFETY: ADBC requires drivers to be usable from any thread; the table is only read after `load`.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

/// Calls a function of the driver's table, which may lack it.
macro_rules! call {
    ($function:expr, $($argument:expr),*) => {{
        let mut error = RawError::new();
        match $function {
            // SAFETY: the arguments are live handles and structures of the types that ADBC states;
            // `error` is initialised as it requires.
            Some(function) => match unsafe { function($($argument,)* &raw mut error) } {
                OK => Ok(()),
                status => Err(error.take(status)),
            },
            None => Err(missing()),
        }
    }};
}

fn missing() -> Failure {
    let message = "the driver does not have this function".to_owned();
    Failure { status: NOT_IMPLEMENTED, message, ..Failure::default() }
}

impl Driver {
    /// Loads the library and asks it for its functions, by the first of these entry points that it
    /// has.
    pub(crate) fn load(path: &Path, entrypoints: &[String]) -> Result<Arc<Self>, LoadFailure> {
        let flags = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
        // SAFETY: its constructors run, which is what the job asks for by naming the driver.
        let library = unsafe { Library::open(Some(path), flags) };
        let library = library.map_err(|error| LoadFailure::Library(loader_words(&error)))?;
        let found = entrypoints.iter().find_map(|name| {
            let name = CString::new(name.as_str()).ok()?;
            // SAFETY: an entry point of a driver has this type by ADBC.
            unsafe { library.get::<Init>(&name) }.ok().map(|init| *init)
        });
        let Some(init) = found else {
            return Err(LoadFailure::Entrypoint(entrypoints.to_vec()));
        };
        std::mem::forget(library);
        initialised(init, VERSION_1_1)
            .or_else(|failure| match failure.status {
                NOT_IMPLEMENTED => initialised(init, VERSION_1_0),
                _ => Err(failure),
            })
            .map_err(LoadFailure::Init)
    }
}

fn loader_words(error: &libloading::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

fn initialised(init: Init, version: c_int) -> Result<Arc<Driver>, Failure> {
    // SAFETY: null pointers and absent functions are what the type may hold.
    let mut raw: RawDriver = unsafe { std::mem::zeroed() };
    call!(Some(init), version, (&raw mut raw).cast())?;
    Ok(Arc::new(Driver(raw)))
}

/// Text as the driver takes it.
fn c_text(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure {
        status: 5,
        message: "a zero byte cannot be handed to a driver".to_owned(),
        ..Failure::default()
    })
}

/// An open database of a driver.
pub(crate) struct Database {
    raw: UnsafeCell<RawHandle>,
    driver: Arc<Driver>,
    /// Called when it is closed.
    closed: Box<dyn Fn() + Send + Sync>,
}

// SAFETY: ADBC lets a database be used from several threads once it is initialised, and nothing
// sets options of it after that.
unsafe impl Send for Database {}
// SAFETY: as above.
unsafe impl Sync for Database {}

impl Database {
    pub(crate) fn open<'a>(
        driver: &Arc<Driver>,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
        closed: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Arc<Self>, Failure> {
        let (table, mut raw) = (&driver.0, RawHandle::new());
        call!(table.database_new, &raw mut raw)?;
        let database = Self { raw: UnsafeCell::new(raw), driver: Arc::clone(driver), closed };
        for (key, value) in options {
            let (key, value) = (c_text(key)?, c_text(value)?);
            call!(table.database_set_option, database.raw.get(), key.as_ptr(), value.as_ptr())?;
        }
        call!(table.database_init, database.raw.get())?;
        Ok(Arc::new(database))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = call!(self.driver.0.database_release, self.raw.get());
        (self.closed)();
    }
}

/// A connection, used by one thread at a time.
pub(crate) struct Connection {
    raw: UnsafeCell<RawHandle>,
    database: Arc<Database>,
}

// SAFETY: the driver's state moves between threads as ADBC allows.
unsafe impl Send for Connection {}
// SAFETY: `session` and `scan` make one call at a time; statements refer to it, and `cancel` is the
// one function that ADBC lets run beside another.
unsafe impl Sync for Connection {}

impl Connection {
    pub(crate) fn open<'a>(
        database: &Arc<Database>,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Arc<Self>, Failure> {
        let (table, mut raw) = (&database.driver.0, RawHandle::new());
        call!(table.connection_new, &raw mut raw)?;
        let connection = Self { raw: UnsafeCell::new(raw), database: Arc::clone(database) };
        for (key, value) in options {
            connection.set(key, value)?;
        }
        call!(table.connection_init, connection.raw.get(), database.raw.get())?;
        Ok(Arc::new(connection))
    }

    fn table(&self) -> &RawDriver {
        &self.database.driver.0
    }

    /// Sets an option.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        let (key, value) = (c_text(key)?, c_text(value)?);
        call!(self.table().connection_set_option, self.raw.get(), key.as_ptr(), value.as_ptr())
    }

    pub(crate) fn commit(&self) -> Result<(), Failure> {
        call!(self.table().connection_commit, self.raw.get())
    }

    pub(crate) fn rollback(&self) -> Result<(), Failure> {
        call!(self.table().connection_rollback, self.raw.get())
    }

    /// The columns of a table. A schema that is not named is the connection's own.
    pub(crate) fn table_schema(&self, schema: Option<&str>, name: &str) -> Result<Schema, Failure> {
        let (schema, name) = (schema.map(c_text).transpose()?, c_text(name)?);
        let mut found = FFI_ArrowSchema::empty();
        call!(
            self.table().connection_get_table_schema,
            self.raw.get(),
            ptr::null(),
            schema.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
            name.as_ptr(),
            &raw mut found
        )?;
        imported(&found)
    }

    /// The product's name, as `AdbcConnectionGetInfo` shows it.
    pub(crate) fn vendor(&self) -> Result<RecordBatchStreamReader, Failure> {
        const VENDOR_NAME: [u32; 1] = [0];
        let mut stream = FFI_ArrowArrayStream::empty();
        call!(
            self.table().connection_get_info,
            self.raw.get(),
            VENDOR_NAME.as_ptr(),
            VENDOR_NAME.len(),
            &raw mut stream
        )?;
        reader(stream)
    }

    /// All tables and views, as `AdbcConnectionGetObjects` shows them, without columns.
    pub(crate) fn objects(&self) -> Result<RecordBatchStreamReader, Failure> {
        const TABLES: c_int = 3;
        let mut stream = FFI_ArrowArrayStream::empty();
        let none = ptr::null::<c_char>();
        call!(
            self.table().connection_get_objects,
            self.raw.get(),
            TABLES,
            none,
            none,
            none,
            ptr::null(),
            none,
            &raw mut stream
        )?;
        reader(stream)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = call!(self.table().connection_release, self.raw.get());
    }
}

fn imported(schema: &FFI_ArrowSchema) -> Result<Schema, Failure> {
    Schema::try_from(schema).map_err(|error| broken(&error))
}

fn reader(stream: FFI_ArrowArrayStream) -> Result<RecordBatchStreamReader, Failure> {
    RecordBatchStreamReader::try_new(stream).map_err(|error| broken(&error))
}

/// The failure of a stream.
pub(crate) fn broken(error: &arrow_schema::ArrowError) -> Failure {
    let message = match error {
        arrow_schema::ArrowError::CDataInterface(message) => message.clone(),
        other => other.to_string(),
    };
    // The message of the driver ends with the zero byte of a C string.
    Failure { status: 9, message: message.trim_end_matches('\0').to_owned(), ..Failure::default() }
}

/// A statement, used by one thread at a time, and by a second one to cancel it.
pub(crate) struct Statement {
    raw: UnsafeCell<RawHandle>,
    connection: Arc<Connection>,
}

// SAFETY: as for `Connection`; `cancel` may run beside any other function by ADBC.
unsafe impl Send for Statement {}
// SAFETY: as above.
unsafe impl Sync for Statement {}

impl Statement {
    pub(crate) fn new(connection: &Arc<Connection>) -> Result<Arc<Self>, Failure> {
        let mut raw = RawHandle::new();
        call!(connection.table().statement_new, connection.raw.get(), &raw mut raw)?;
        Ok(Arc::new(Self { raw: UnsafeCell::new(raw), connection: Arc::clone(connection) }))
    }

    fn table(&self) -> &RawDriver {
        self.connection.table()
    }

    /// Sets an option.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        let (key, value) = (c_text(key)?, c_text(value)?);
        call!(self.table().statement_set_option, self.raw.get(), key.as_ptr(), value.as_ptr())
    }

    /// The statement's text.
    pub(crate) fn query(&self, sql: &str) -> Result<(), Failure> {
        let sql = c_text(sql)?;
        call!(self.table().statement_set_sql_query, self.raw.get(), sql.as_ptr())
    }

    /// The rows to be ingested.
    pub(crate) fn bind(&self, batch: &RecordBatch) -> Result<(), Failure> {
        let data = StructArray::from(batch.clone()).into_data();
        let (mut array, _) = to_ffi(&data).map_err(|error| broken(&error))?;
        let schema = FFI_ArrowSchema::try_from(batch.schema().as_ref());
        let mut schema = schema.map_err(|error| broken(&error))?;
        call!(self.table().statement_bind, self.raw.get(), &raw mut array, &raw mut schema)?;
        // What a driver takes over it marks as released; what it leaves, these release.
        drop((array, schema));
        Ok(())
    }

    /// Runs it and returns its rows.
    pub(crate) fn rows(&self) -> Result<RecordBatchStreamReader, Failure> {
        let mut stream = FFI_ArrowArrayStream::empty();
        let mut rows = -1;
        call!(
            self.table().statement_execute_query,
            self.raw.get(),
            &raw mut stream,
            &raw mut rows
        )?;
        reader(stream)
    }

    /// Runs it without rows to return; the number of rows that it has changed, if that is known.
    pub(crate) fn run(&self) -> Result<Option<u64>, Failure> {
        let mut rows: i64 = -1;
        call!(
            self.table().statement_execute_query,
            self.raw.get(),
            ptr::null_mut(),
            &raw mut rows
        )?;
        Ok(u64::try_from(rows).ok())
    }

    /// The columns of its result, without running it.
    pub(crate) fn schema(&self) -> Result<Schema, Failure> {
        let mut found = FFI_ArrowSchema::empty();
        call!(self.table().statement_execute_schema, self.raw.get(), &raw mut found)?;
        imported(&found)
    }

    /// Ends what runs in another thread, if the driver can.
    pub(crate) fn cancel(&self) {
        let _ = call!(self.table().statement_cancel, self.raw.get());
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        let _ = call!(self.table().statement_release, self.raw.get());
    }
}
