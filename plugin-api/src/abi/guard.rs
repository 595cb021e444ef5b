//! No panic crosses the edge: it becomes an error of kind `Defect`, and its object answers
//! nothing else from then on. Also the form in which errors and JSON cross.

use std::{
    any::Any,
    cell::RefCell,
    mem,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use abi_stable::std_types::{RErr, ROk, RString};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::module::FfiResult;
use crate::{Error, ErrorKind, Result};

thread_local! {
    /// Where this thread's last panic happened, as the panic hook saw it.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Told by the panic hook, taken by the next [`catch`] of the thread.
pub(super) fn note_panic(location: String) {
    let _ = LAST_PANIC.try_with(|last| last.replace(Some(location)));
}

/// `None` also where the thread is ending and its locals are gone: no reason to panic here.
fn last_panic() -> Option<String> {
    LAST_PANIC.try_with(RefCell::take).ok().flatten()
}

/// Runs `call`; a panic becomes an error that names `verb`.
pub(super) fn catch<R>(verb: &str, call: impl FnOnce() -> Result<R>) -> Result<R> {
    unwinding(verb, call).unwrap_or_else(Err)
}

/// The call's own result, or the error that its panic became.
fn unwinding<R>(verb: &str, call: impl FnOnce() -> R) -> Result<R> {
    if !thread::panicking() {
        last_panic(); // one that the plugin itself has caught: not this call's
    }
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| defect(verb, payload))
}

/// What `panic!` was given.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}

fn defect(verb: &str, payload: Box<dyn Any + Send>) -> Error {
    let message = format!("`{verb}` panicked: {}", message_of(payload.as_ref()));
    // The payload's own drop may panic: it is never run.
    mem::forget(payload);
    let mut error = Error::new(ErrorKind::Defect, message)
        .with_code("PLUGIN-PANIC")
        .hint("this is a defect in the plugin: report it to its author");
    error.causes.extend(last_panic().map(|at| format!("panicked at {at}")));
    error
}

/// An object behind a handle. Once one of its verbs has panicked, all answer `Defect`.
pub(super) struct Guarded<T> {
    pub(super) value: T,
    poisoned: AtomicBool,
}

impl<T> Guarded<T> {
    /// A handle's data pointer to a new object; [`Self::release`] takes it back.
    pub(super) fn into_raw(value: T) -> *mut () {
        Box::into_raw(Box::new(Self { value, poisoned: AtomicBool::new(false) })).cast()
    }

    /// Runs one verb of a shared object.
    ///
    /// # Safety
    /// `data` is from `Self::into_raw` and has not been released.
    pub(super) unsafe fn call<R>(
        data: *const (),
        verb: &str,
        call: impl FnOnce(&T) -> Result<R>,
    ) -> FfiResult<R> {
        // SAFETY: the caller says that it is such a pointer, still alive; only shared borrows
        // of it exist while handles are shared.
        let this = unsafe { &*data.cast::<Self>() };
        answer(checked(&this.poisoned, verb, || call(&this.value)))
    }

    /// Runs one verb of an object that one thread owns.
    ///
    /// # Safety
    /// As for [`Self::call`], and nobody else uses the object meanwhile.
    pub(super) unsafe fn call_mut<R>(
        data: *mut (),
        verb: &str,
        call: impl FnOnce(&mut T) -> Result<R>,
    ) -> FfiResult<R> {
        // SAFETY: the caller says that it is such a pointer, alive and used by nobody else.
        let this = unsafe { &mut *data.cast::<Self>() };
        let value = &mut this.value;
        answer(checked(&this.poisoned, verb, || call(value)))
    }

    /// Ends an object; a panic in its drop is logged and goes no further.
    ///
    /// # Safety
    /// `data` is from `Self::into_raw` and is released once.
    pub(super) unsafe fn release(data: *mut ()) {
        let dropped = catch("drop", || {
            // SAFETY: the caller says that the box is whole and ours.
            drop(unsafe { Box::from_raw(data.cast::<Self>()) });
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::error!("{error}");
        }
    }

    /// [`Self::release`] as a vtable's `drop`.
    pub(super) unsafe extern "C" fn drop_handle(data: *mut ()) {
        // SAFETY: the vtable's contract: once, last.
        unsafe { Self::release(data) }
    }
}

fn checked<R>(poisoned: &AtomicBool, verb: &str, call: impl FnOnce() -> Result<R>) -> Result<R> {
    // Relaxed: the flag guards no other memory. A verb that runs beside the panicking one was
    // already inside; the next one is refused.
    if poisoned.load(Ordering::Relaxed) {
        return Err(Error::new(
            ErrorKind::Defect,
            format!("`{verb}` refused: an earlier call panicked"),
        )
        .with_code("PLUGIN-PANIC"));
    }
    unwinding(verb, call).unwrap_or_else(|panicked| {
        poisoned.store(true, Ordering::Relaxed);
        Err(panicked)
    })
}

/// A result in the form in which it crosses.
pub(super) fn answer<T>(result: Result<T>) -> FfiResult<T> {
    match result {
        Ok(value) => ROk(value),
        Err(error) => RErr(error_text(&error)),
    }
}

fn error_text(error: &Error) -> RString {
    let text = serde_json::to_string(error).unwrap_or_else(|_| error.message.clone());
    RString::from(text)
}

/// A result that has crossed.
pub(super) fn heard<T>(result: FfiResult<T>) -> Result<T> {
    result.into_result().map_err(|text| error_from(text.as_str()))
}

/// An error of a newer side may have a kind that this one does not know: it is `Other` here.
fn error_from(text: &str) -> Error {
    if let Ok(error) = serde_json::from_str(text) {
        return error;
    }
    let known = serde_json::from_str::<Value>(text).ok().and_then(|mut value| {
        value.as_object_mut()?.insert("kind".to_owned(), "other".into());
        serde_json::from_value(value).ok()
    });
    known.unwrap_or_else(|| Error::new(ErrorKind::Defect, format!("unreadable error `{text}`")))
}

/// A value as the JSON text that crosses.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<RString> {
    serde_json::to_string(value).map(RString::from).map_err(|error| {
        Error::new(ErrorKind::Defect, format!("cannot be written as JSON: {error}"))
    })
}

/// A value from JSON text that has crossed; `what` names it in the error.
pub(super) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(ErrorKind::Defect, format!("unreadable {what}: {error}"))
            .with_code("PLUGIN-PROTOCOL")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let first = unsafe { heard(Guarded::<u32>::call(data, "check", panicking)) }.unwrap_err();
        assert_eq!(first.kind, ErrorKind::Defect);
        assert_eq!(first.message, "`check` panicked: no luck");
        // SAFETY: as above.
        let second = unsafe { heard(Guarded::<u32>::call(data, "check", |n| Ok(*n))) };
        assert_eq!(second.unwrap_err().message, "`check` refused: an earlier call panicked");
        // SAFETY: released once.
        unsafe { Guarded::<u32>::release(data) };
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
        let error = Error::new(ErrorKind::Locked, "held").at("t").hint("wait").with_code("X-1");
        assert_eq!(heard::<()>(answer(Err(error.clone()))).unwrap_err(), error);
        let newer = error_from(r#"{"kind":"frozen","message":"m","later":1}"#);
        assert_eq!((newer.kind, newer.message.as_str()), (ErrorKind::Other, "m"));
        assert_eq!(error_from("?").kind, ErrorKind::Defect);
    }
}
