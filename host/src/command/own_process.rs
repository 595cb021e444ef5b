//! This program as a child process, for commands that make several runs: how it is started, and how a stop
//! signal reaches it once.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Exit, engine::Stop};

/// How often a child is asked whether it has ended.
const TICK: Duration = Duration::from_millis(50);

/// This program, without arguments. Ctrl-C does not reach it: a second signal would end it at once.
pub(super) fn command() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.process_group(0).stdin(Stdio::null());
    Ok(command)
}

/// Waits for a child, and passes the signal that stops this process on to it.
pub(super) fn wait(stop: &Stop, child: &mut Child) -> io::Result<ExitStatus> {
    let mut is_signalled = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if stop.is_requested() && !is_signalled {
            is_signalled = true;
            let signal = match stop.failure().map(|error| error.exit) {
                Some(Exit::Terminated) => Signal::TERM,
                _ => Signal::INT,
            };
            if let Some(process) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile.
                let _ = kill_process(process, signal);
            }
        }
        thread::sleep(TICK);
    }
}
