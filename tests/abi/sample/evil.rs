//! What a hostile or broken plugin might do: ways to end its process or to keep it from ending, and
//! attempts to reach what is not its own.
#![allow(unsafe_code, reason = "functions of the C library that no safe code calls")]

use std::{
    ffi::{c_int, c_long},
    fs, hint,
    io::{Result, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::Command,
    ptr, thread,
};

unsafe extern "C" {
    fn abort() -> !;
    fn close(fd: c_int) -> c_int;
    fn fork() -> c_int;
    fn getppid() -> c_int;
    fn kill(process: c_int, signal: c_int) -> c_int;
    fn ptrace(request: c_long, process: c_int, address: usize, data: usize) -> c_long;
    fn syscall(number: c_long, ...) -> c_long;
}

/// Does it; returns if it has no lasting effect.
pub(crate) fn act(deed: &str) {
    match deed {
        // SAFETY: ends the process.
        "abort" => unsafe { abort() },
        // SAFETY: as above, from another thread.
        "abort a thread" => drop(thread::spawn(|| unsafe { abort() }).join()),
        // SAFETY: no memory is there: that is the point.
        "segv" => unsafe { ptr::without_provenance_mut::<u8>(8).write_volatile(1) },
        "loop" => {
            // For a test that waits for it.
            let _ = fs::write("looping", "");
            loop {
                thread::park();
            }
        }
        "leak" => loop {
            let block = vec![1_u8; 16 << 20];
            std::mem::forget(hint::black_box(block));
        },
        "close" => {
            for fd in 0..256 {
                // SAFETY: takes no pointers; what used the descriptor fails.
                unsafe { close(fd) };
            }
        }
        "print" => {
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(b"printed by a plugin\n").and_then(|()| stdout.flush());
        }
        _ => panic!("no such deed: {deed}"),
    }
}

/// Tries to reach something. `reached`, or the error.
pub(crate) fn attempt(what: &str) -> String {
    let (what, at) = what.split_once(' ').unwrap_or((what, ""));
    let tried = match what {
        "read" => fs::read(at).map(drop),
        "list" => fs::read_dir(at).map(drop),
        "write" => fs::write(at, "x"),
        "connect" => TcpStream::connect(at).map(drop),
        "unix" => UnixStream::connect(at).map(drop),
        "exec" => Command::new(at).status().map(drop),
        // SAFETY: the child does nothing but end.
        "fork" => match unsafe { fork() } {
            0 => std::process::abort(),
            result => of_call(result.into()),
        },
        // SAFETY: takes no pointers. The signal is ignored by default.
        "kill" => of_call(unsafe { kill(getppid(), 23) }.into()),
        // SAFETY: attaches; addresses are not used.
        "ptrace" => of_call(unsafe { ptrace(16, getppid(), 0, 0) }),
        "io_uring" => {
            let mut parameters = [0_u8; 256];
            // SAFETY: the buffer is larger than the struct of parameters.
            of_call(unsafe { syscall(425, 1 as c_long, parameters.as_mut_ptr()) })
        }
        "environment" => match std::env::vars().map(|(name, _)| name).next() {
            Some(name) => return format!("has {name}"),
            None => return "empty".to_owned(),
        },
        _ => panic!("no such attempt: {what}"),
    };
    tried.map_or_else(|error| format!("refused: {error}"), |()| "reached".to_owned())
}

fn of_call(result: c_long) -> Result<()> {
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
