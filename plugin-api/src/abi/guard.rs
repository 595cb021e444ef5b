//! No panic crosses the ABI: it becomes an error of kind `Defect`, and so does every later call on
//! the same object. Also the form in which results, errors and JSON cross. Both sides use it;
//! what crosses is left to the vtables' files.
//!
//! | from | to | function |
//! |---|---|---|
//! | [`Result`] | [`FfiResult`] | [`into_ffi`] |
//! | [`FfiResult`] | [`Result`] | [`from_ffi`] |
//! | a value | JSON text | [`to_json`] |
//! | JSON text | a value | [`from_json`] |

use std::{
    any::Any,
    cell::{Cell, RefCell},
    mem,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use abi_stable::std_types::{RErr, ROk, RString};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::module::FfiResult;
use crate::{Error, Result, code};

thread_local! {
    /// The location of this thread's last panic, from the panic hook.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread runs [`catch_panic`].
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs foreign code that panics on damaged input, such as a decoder. Returns `None` if it
/// panicked; the log has the panic at level debug only, because the caller reports the damage.
///
/// Whatever `run` has changed must not be used again after a panic.
pub fn catch_panic<T>(run: impl FnOnce() -> T) -> Option<T> {
    let before = EXPECTED.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    EXPECTED.set(before);
    // The payload's own drop may panic: it is never run.
    outcome.map_err(mem::forget).ok()
}

/// Whether a panic of this thread would be caught by [`catch_panic`].
pub(super) fn is_expected() -> bool {
    EXPECTED.try_with(Cell::get).unwrap_or(false)
}

/// Records the location of a panic. Called by the panic hook, on the panicking thread; the next
/// [`catch`] of that thread takes it.
pub(super) fn note_panic(location: String) {
    let _ = LAST_PANIC.try_with(|last| last.replace(Some(location)));
}

/// Takes the recorded location. `None` also if the thread is ending and its locals are gone, which
/// is no reason to panic here.
fn last_panic() -> Option<String> {
    LAST_PANIC.try_with(RefCell::take).ok().flatten()
}

/// Runs `call`. A panic becomes an error that names `verb`, the function's name in the contract.
pub(super) fn catch<R>(verb: &str, call: impl FnOnce() -> Result<R>) -> Result<R> {
    unwinding(verb, call).unwrap_or_else(Err)
}

/// The result of `call`, or the error that its panic became. `AssertUnwindSafe` is sound because
/// nothing that the call could have left half changed is used again: see [`Guarded`].
fn unwinding<R>(verb: &str, call: impl FnOnce() -> R) -> Result<R> {
    if !thread::panicking() {
        last_panic(); // of a panic that the plugin caught itself: not this call's
    }
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| defect(verb, payload))
}

/// The text of a panic's payload.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}

/// The error for a panic, with its location if the hook has seen it.
fn defect(verb: &str, payload: Box<dyn Any + Send>) -> Error {
    let message = format!("`{verb}` panicked: {}", message_of(payload.as_ref()));
    // The payload's own drop may panic: it is never run.
    mem::forget(payload);
    let mut error = Error::defect(message)
        .with_code(code::PLUGIN_PANIC)
        .hint("this is a defect in the plugin: report it to its author");
    error.causes.extend(last_panic().map(|at| format!("panicked at {at}")));
    error
}

/// An object behind a handle's `data` pointer.
///
/// Once one of its functions has panicked it is poisoned: its state is unknown, so every later
/// function returns `Defect` without running. Only `release` still runs.
pub(super) struct Guarded<T> {
    pub(super) value: T,
    poisoned: AtomicBool,
}

impl<T> Guarded<T> {
    /// Allocates an object and returns a handle's `data` pointer to it. [`Self::release`] frees
    /// it.
    pub(super) fn into_raw(value: T) -> *mut () {
        Box::into_raw(Box::new(Self { value, poisoned: AtomicBool::new(false) })).cast()
    }

    /// Runs a *shared* function: others may run at the same time.
    ///
    /// # Safety
    /// `data` is from `Self::into_raw` and has not been released.
    pub(super) unsafe fn call<R>(
        data: *const (),
        verb: &str,
        call: impl FnOnce(&T) -> Result<R>,
    ) -> FfiResult<R> {
        // SAFETY: the caller promises that it is such a pointer, still alive; only shared borrows
        // of it exist while handles are shared.
        let this = unsafe { &*data.cast::<Self>() };
        into_ffi(checked(&this.poisoned, verb, || call(&this.value)))
    }

    /// Runs an *owned* function: no other function of the object runs at the same time.
    ///
    /// # Safety
    /// As for [`Self::call`], and no other thread uses the object meanwhile.
    pub(super) unsafe fn call_mut<R>(
        data: *mut (),
        verb: &str,
        call: impl FnOnce(&mut T) -> Result<R>,
    ) -> FfiResult<R> {
        // SAFETY: the caller promises that it is such a pointer, alive and not used elsewhere.
        let this = unsafe { &mut *data.cast::<Self>() };
        let value = &mut this.value;
        into_ffi(checked(&this.poisoned, verb, || call(value)))
    }

    /// Drops an object. A panic in its `drop` is logged and stops here; abi_stable would exit the
    /// process.
    ///
    /// # Safety
    /// `data` is from `Self::into_raw` and is released once.
    pub(super) unsafe fn release(data: *mut ()) {
        let dropped = catch("drop", || {
            // SAFETY: the caller promises that the box is from `into_raw` and still whole.
            drop(unsafe { Box::from_raw(data.cast::<Self>()) });
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::error!("{error}");
        }
    }

    /// [`Self::release`] as a vtable's `drop`.
    ///
    /// # Safety
    /// As for [`Self::release`].
    pub(super) unsafe extern "C" fn drop_handle(data: *mut ()) {
        // SAFETY: the vtable's contract: once, last.
        unsafe { Self::release(data) }
    }
}

/// Runs a function unless the object is poisoned, and poisons it if the function panics.
fn checked<R>(poisoned: &AtomicBool, verb: &str, call: impl FnOnce() -> Result<R>) -> Result<R> {
    // Relaxed: the flag guards no other memory. A function that runs beside the panicking one was
    // already running; the next one is refused.
    if poisoned.load(Ordering::Relaxed) {
        return Err(Error::defect(format!("`{verb}` refused: an earlier call panicked"))
            .with_code(code::PLUGIN_PANIC));
    }
    unwinding(verb, call).unwrap_or_else(|panicked| {
        poisoned.store(true, Ordering::Relaxed);
        Err(panicked)
    })
}

/// A result in the form in which it crosses. The error becomes JSON, whole: kind, code, message,
/// place, hint and causes.
pub(super) fn into_ffi<T>(result: Result<T>) -> FfiResult<T> {
    match result {
        Ok(value) => ROk(value),
        Err(error) => RErr(error_text(&error)),
    }
}

/// An error as JSON; its bare message if that fails, which the other side reads as a defect.
fn error_text(error: &Error) -> RString {
    let text = serde_json::to_string(error).unwrap_or_else(|_| error.message.clone());
    RString::from(text)
}

/// A result that has crossed, in the form in which code of this crate uses it.
pub(super) fn from_ffi<T>(result: FfiResult<T>) -> Result<T> {
    result.into_result().map_err(|text| error_from(text.as_str()))
}

/// An error from its JSON. A kind of a newer side that this one does not know reads as `Other`;
/// text that is not an error at all is a defect of the other side.
fn error_from(text: &str) -> Error {
    if let Ok(error) = serde_json::from_str(text) {
        return error;
    }
    let known = serde_json::from_str::<Value>(text).ok().and_then(|mut value| {
        value.as_object_mut()?.insert("kind".to_owned(), "other".into());
        serde_json::from_value(value).ok()
    });
    known.unwrap_or_else(|| Error::defect(format!("unreadable error `{text}`")))
}

/// A value as the JSON text that crosses.
///
/// # Errors
/// [`crate::ErrorKind::Defect`] for a value that JSON cannot represent, such as a map with keys that are
/// not strings. The types of this crate all can be.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<RString> {
    serde_json::to_string(value)
        .map(RString::from)
        .map_err(|error| Error::defect(format!("cannot be written as JSON: {error}")))
}

/// A value from JSON text that has crossed; `what` names it in the error. Unknown keys are
/// ignored: a newer side may have added them.
///
/// # Errors
/// [`crate::ErrorKind::Defect`] with code `PLUGIN-PROTOCOL` if the text is not such a value.
pub(super) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::defect(format!("unreadable {what}: {error}")).with_code(code::PLUGIN_PROTOCOL)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    struct Spiteful;
    impl Drop for Spiteful {
        fn drop(&mut self) {
            panic!("in the payload's drop");
        }
    }

    #[test]
    fn t61_a_panic_becomes_a_defect_and_poisons() {
        let data = Guarded::into_raw(7_u32);
        let panicking = |_: &u32| -> Result<u32> { panic!("no {}", "luck") };
        // SAFETY: `data` is a live Guarded<u32> throughout.
        let first =
            unsafe { from_ffi(Guarded::<u32>::call(data, "check", panicking)) }.unwrap_err();
        assert_eq!(first.kind, ErrorKind::Defect);
        assert_eq!(first.message, "`check` panicked: no luck");
        // SAFETY: as above.
        let second = unsafe { from_ffi(Guarded::<u32>::call(data, "check", |n| Ok(*n))) };
        assert_eq!(second.unwrap_err().message, "`check` refused: an earlier call panicked");
        // SAFETY: released once.
        unsafe { Guarded::<u32>::release(data) };
    }

    #[test]
    fn a_panic_is_expected_only_within_its_call() {
        assert!(!is_expected());
        assert_eq!(catch_panic(is_expected), Some(true));
        assert_eq!(catch_panic(|| -> u32 { panic::panic_any(Spiteful) }), None);
        assert!(!is_expected());
    }

    #[test]
    fn t61_a_payload_that_panics_when_dropped_is_forgotten() {
        let error = catch("x", || -> Result<()> { panic::panic_any(Spiteful) }).unwrap_err();
        assert_eq!(error.message, "`x` panicked: a panic without a message");
    }

    #[test]
    fn t61_a_panicking_drop_goes_no_further() {
        let data = Guarded::into_raw(Spiteful);
        // SAFETY: released once.
        unsafe { Guarded::<Spiteful>::release(data) };
    }

    #[test]
    fn errors_cross_whole_and_unknown_kinds_become_other() {
        let error = Error::locked("held").at("t").hint("wait").with_code("X-1");
        assert_eq!(from_ffi::<()>(into_ffi(Err(error.clone()))).unwrap_err(), error);
        let newer = error_from(r#"{"kind":"frozen","message":"m","later":1}"#);
        assert_eq!((newer.kind, newer.message.as_str()), (ErrorKind::Other, "m"));
        assert_eq!(error_from("?").kind, ErrorKind::Defect);
    }
}
