//! Reads a secret that a program prints: without a shell, without input, with its error output
//! discarded, for at most ten seconds.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use transload_plugin_api::Result;

use super::{MAX_BYTES, error};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a command that has closed its output is polled for its end.
const POLL: Duration = Duration::from_millis(5);

/// The program's output, at most one byte longer than a secret may be.
pub(super) fn output(argv: &[String], folder: &Path) -> Result<Vec<u8>> {
    output_within(argv, folder, TIMEOUT)
}

/// Messages name only the program, because an argument may be a secret too.
fn output_within(argv: &[String], folder: &Path, timeout: Duration) -> Result<Vec<u8>> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(error("the command is empty"));
    };
    let mut command = Command::new(program);
    super::without_secrets(&mut command);
    command.args(arguments).current_dir(folder);
    // Standard error may contain the secret, so it is discarded.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    own_group(&mut command);
    let mut child = command
        .spawn()
        .map_err(|source| error(format!("cannot start command `{program}`: {source}")))?;
    let deadline = Instant::now() + timeout;
    let answer = printed(&mut child, timeout);
    let too_long = answer.as_ref().is_some_and(|bytes| bytes.len() as u64 > MAX_BYTES);
    let status = if too_long { None } else { ended(&mut child, deadline) };
    if status.is_none() {
        kill(&mut child);
        let _ = child.wait(); // killed: nothing more to learn from it
    }
    match (answer, status) {
        (Some(bytes), _) if too_long => Ok(bytes),
        (Some(bytes), Some(status)) if status.success() => Ok(bytes),
        (_, Some(status)) => Err(error(format!("command `{program}` failed: {status}")).hint(
            "run it by hand: its messages are not shown here, because they may contain the secret",
        )),
        (_, None) => Err(error(format!("command `{program}` did not finish within {timeout:?}"))
            .hint("run it by hand: does it wait for input?")),
    }
}

/// Its exit status, if it ends before the deadline.
fn ended(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().ok()? {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Its output until it closes it; `None` at the deadline.
fn printed(child: &mut Child, timeout: Duration) -> Option<Vec<u8>> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // Ends when the pipe closes, at the latest when the command's group is killed.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if stdout.take(MAX_BYTES + 1).read_to_end(&mut bytes).is_ok() {
            let _ = sender.send(bytes); // nobody listens any more after the time is over
        }
    });
    receiver.recv_timeout(timeout).ok()
}

/// Starts the command in a process group of its own, so that its children can be ended with it.
#[cfg(unix)]
fn own_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command) {}

#[cfg(unix)]
fn kill(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL); // gone already: just as well
    }
}

#[cfg(not(unix))]
fn kill(child: &mut Child) {
    let _ = child.kill(); // gone already: just as well
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn run(argv: &[&str], timeout: Duration) -> Result<Vec<u8>> {
        let argv: Vec<String> = argv.iter().map(|part| (*part).to_owned()).collect();
        output_within(&argv, Path::new("/"), timeout)
    }

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_secs(300);
    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn prints_a_secret_and_no_shell_reads_it() {
        assert_eq!(run(&["echo", "$HOME; a  b"], LONG).unwrap(), b"$HOME; a  b\n");
        assert_eq!(run(&["pwd"], LONG).unwrap(), b"/\n", "runs in its folder");
        assert_eq!(run(&["cat"], LONG).unwrap(), b"", "gets no input");
    }

    #[test]
    fn failures_name_the_program_and_never_what_it_said() {
        for (argv, expected) in [
            (
                &["sh", "-c", "echo canary; echo canary >&2; exit 3"][..],
                "command `sh` failed: exit status: 3",
            ),
            (
                &["/no/such/program", "canary"],
                "cannot start command `/no/such/program`: No such file or directory (os error 2)",
            ),
            (&[], "the command is empty"),
        ] {
            let error = run(argv, LONG).unwrap_err();
            assert_eq!(error.message, expected);
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn too_much_is_cut_off_at_once() {
        let bytes = run(&["cat", "/dev/zero"], LONG).unwrap();
        assert_eq!(bytes.len() as u64, MAX_BYTES + 1, "enough to see that it is too long");
    }

    #[test]
    fn whoever_does_not_answer_is_ended_with_all_it_started() {
        for script in [
            "sleep 600",
            "sleep 600 & sleep 600",
            "echo canary; exec >&-; sleep 600",
            "trap '' TERM; echo canary; sleep 600",
        ] {
            let error = run(&["sh", "-c", script], SHORT).unwrap_err();
            assert_eq!(error.message, "command `sh` did not finish within 50ms", "{script}");
        }
    }
}
