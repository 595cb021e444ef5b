//! What this process asks of the system and no safe library offers: its end, a hook for an end that
//! comes from elsewhere, the handlers of signals. What happens then is left to `ending`.
#![allow(
    unsafe_code,
    reason = "functions of the C library whose contracts are stated at each call"
)]

use std::{
    mem,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGINT, SIGSEGV, SIGTERM, c_int};

/// Whether developers want to look into this process: core dumps, debuggers and profilers work.
pub(crate) fn is_developers() -> bool {
    std::env::var_os("TRANSLOAD_DEVELOPER").is_some_and(|value| value == "1")
}

/// Keeps secrets in memory out of core dumps, and other processes of the user out of the memory.
pub(crate) fn protect_memory() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    if is_developers() {
        return;
    }
    // Neither fails for a process that asks for less; the second one holds if the first did not.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Returns large blocks of memory to the system as soon as they are free. By default the C library
/// keeps blocks of up to 32 MiB once one of that size was freed, in a heap for each thread: with
/// wide rows that is many times the job's `buffer`.
pub(crate) fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, bytes) in [(libc::M_MMAP_THRESHOLD, 4 << 20), (libc::M_TRIM_THRESHOLD, 8 << 20)]
    {
        // SAFETY: takes no pointers. It fails for values out of range only, and then changes nothing.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}

/// Closes what this process has inherited besides its standard descriptors and `own`.
pub(crate) fn close_foreign(own: c_int) {
    for (first, last) in [(3, own - 1), (own + 1, c_int::MAX)] {
        // SAFETY: takes no pointers. Nothing of this process has one of these descriptors yet. An old
        // kernel refuses, and they stay, as they do in every child of this program.
        let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// How a child process ended, in words: `signal 11, segmentation fault`.
pub(crate) fn how_it_ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}{}", signal_name(signal)),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "no status".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        SIGILL => ", illegal instruction",
        SIGABRT => ", abort",
        SIGBUS => ", bus error",
        SIGFPE => ", arithmetic",
        libc::SIGKILL => ", kill",
        SIGSEGV => ", segmentation fault",
        libc::SIGSYS => ", system call",
        _ => "",
    }
}

/// Ends the process with this code. Hooks do not run: neither that of [`at_exit`], nor those of
/// libraries, which might change the code.
pub(crate) fn end(code: u8) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code.into()) }
}

/// Calls the hook when something ends the process with `exit`. Hooks run in reverse order of their
/// registration, so the one of a library that is loaded later runs before.
pub(crate) fn at_exit(hook: extern "C" fn()) {
    // SAFETY: the function lives as long as the program. It fails only without memory.
    let _ = unsafe { libc::atexit(hook) };
}

/// The handlers of SIGINT and SIGTERM, for [`restore_handlers`].
static HANDLERS: OnceLock<[(c_int, libc::sigaction); 2]> = OnceLock::new();

/// Keeps the handlers of SIGINT and SIGTERM as they are now.
pub(crate) fn keep_handlers() {
    let _ = HANDLERS.set([SIGINT, SIGTERM].map(|signal| (signal, action(signal))));
}

/// Sets the handlers again that [`keep_handlers`] has kept: a library may replace them when it is
/// loaded, and the program would no longer hear a signal.
pub(crate) fn restore_handlers() {
    for (signal, action) in HANDLERS.get().into_iter().flatten() {
        // SAFETY: an action that the system itself returned for this signal.
        unsafe { libc::sigaction(*signal, action, ptr::null_mut()) };
    }
}

/// The action that is set for a signal.
fn action(signal: c_int) -> libc::sigaction {
    // SAFETY: the struct is plain data, and the system fills it in.
    unsafe {
        let mut action = mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action);
        action
    }
}

/// Signals of a defect in the code that runs.
const CRASHES: [c_int; 5] = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT];
static BEFORE: OnceLock<[(c_int, libc::sigaction); 5]> = OnceLock::new();
/// Prints parts of the message about a crash.
type Describe = fn(&dyn Fn(&str));
static DESCRIBE: OnceLock<Describe> = OnceLock::new();

/// Prints what `describe` says before a signal of a defect ends the process. It runs in a signal
/// handler: it may neither allocate nor lock.
pub(crate) fn describe_crashes(describe: Describe) {
    if DESCRIBE.set(describe).is_err()
        || BEFORE.set(CRASHES.map(|signal| (signal, action(signal)))).is_err()
    {
        return;
    }
    for signal in CRASHES {
        // SAFETY: the handler calls only functions that are allowed in one. SA_ONSTACK, because the
        // standard library gives its threads a stack of their own for an overflow.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = crashed as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

/// Prints the message, and lets the action before this one end the process: the defect occurs again
/// when the handler returns. That action may abort, which is no second crash.
extern "C" fn crashed(signal: c_int) {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    if !IS_SAID.swap(true, Relaxed)
        && let Some(describe) = DESCRIBE.get()
    {
        describe(&print);
    }
    let before = BEFORE.get().into_iter().flatten().find(|before| before.0 == signal);
    if let Some((signal, action)) = before {
        // SAFETY: an action that the system itself returned for this signal.
        unsafe { libc::sigaction(*signal, action, ptr::null_mut()) };
    }
}

/// Prints a text on stderr from a signal handler.
fn print(text: &str) {
    // SAFETY: the bytes of a text. What cannot be written is lost.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_ignores_signals_is_overruled() {
        keep_handlers();
        let before = action(SIGTERM).sa_sigaction;
        // SAFETY: the action of this process, which the next line sets again.
        unsafe { libc::signal(SIGTERM, libc::SIG_IGN) };
        assert_eq!(action(SIGTERM).sa_sigaction, libc::SIG_IGN);
        restore_handlers();
        assert_eq!(action(SIGTERM).sa_sigaction, before);
    }
}
