//! Loads a library in a child process first: a constructor that aborts, or damage that `elf` does not
//! see, ends the child and not the host. The child is this program itself, started as
//! `transload __probe PATH`; it prints one line of JSON.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Descriptor, Error, Result, abi::AbiVersion, code};

use super::{library, sealed::Sealed};
use crate::{job::without_secrets, process};

/// The hidden command that makes this program a probe.
pub(crate) const PROBE_ARGUMENT: &str = "__probe";

/// Marks the line of JSON, because a library may print while it is loaded.
const MARK: &str = "transload-probe:";
/// A library that takes longer to load and to describe itself counts as hanging.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of the output read, so that a library that prints without end does not fill the memory.
const MOST_OUTPUT: u64 = 4 << 20;

/// What a probe found out about a library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Probed {
    /// The version that it was built for.
    pub(super) abi: AbiVersion,
    /// Its descriptor.
    pub(super) descriptor: Descriptor,
}

/// What the child prints, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ProbeOutput {
    Loaded(Box<Probed>),
    Refused(Error),
}

/// The child process: loads the library and prints its descriptor. Returns the exit code.
pub(crate) fn probe_main(path: &Path) -> u8 {
    let output = match load(path) {
        Ok(probed) => ProbeOutput::Loaded(Box::new(probed)),
        Err(error) => ProbeOutput::Refused(error),
    };
    let Ok(text) = serde_json::to_string(&output) else { return 1 };
    let written = writeln!(std::io::stdout(), "\n{MARK}{text}");
    u8::from(written.is_err())
}

fn load(path: &Path) -> Result<Probed> {
    let module = library::load(path)?;
    Ok(Probed { abi: module.version(), descriptor: module.import()?.descriptor() })
}

/// Starts the program that probes.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    program: PathBuf,
    timeout: Duration,
}

impl Prober {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, timeout: TIMEOUT }
    }

    /// Loads the library in a child process and returns its descriptor.
    ///
    /// # Errors
    /// The error of the child, or [`ErrorKind::Defect`] with how the child ended.
    pub(super) fn probe(&self, library: &Sealed) -> Result<Probed> {
        let mut child = self.start(library)?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let status = wait(&mut child, self.timeout)?;
        let rest = Duration::from_secs(1); // for what is still in the pipes
        let text = stdout.recv_timeout(rest).unwrap_or_default();
        let Some(status) = status else {
            let message = format!("still loading after {} s", self.timeout.as_secs());
            return Err(died(message));
        };
        match output_in(&text) {
            Some(ProbeOutput::Loaded(probed)) => Ok(*probed),
            Some(ProbeOutput::Refused(error)) => Err(error),
            None => {
                let said = stderr.recv_timeout(rest).unwrap_or_default();
                Err(silent(status, &said))
            }
        }
    }

    /// Starts the child with the library as its standard input, both outputs piped, and none of the
    /// variables that hold a secret.
    fn start(&self, library: &Sealed) -> Result<Child> {
        let (stdin, path) = library.for_child()?;
        let mut command = Command::new(&self.program);
        without_secrets(&mut command);
        command
            .arg(PROBE_ARGUMENT)
            .arg(path)
            .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let program = self.program.display();
                Error::other(format!("cannot start `{program}` to probe it"))
                    .with_code(code::PLUGIN_PROBE)
                    .caused_by(&error)
            })
    }
}

/// Reads a pipe to its end on a thread, so that neither pipe can fill up. A grandchild may keep the
/// pipe open, so the thread is not joined.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(MOST_OUTPUT).read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Waits for the child; kills it and returns `None` after the timeout.
fn wait(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + timeout;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The marked line of the output; the last one, because the library may have printed the mark too.
fn output_in(text: &str) -> Option<ProbeOutput> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix(MARK))?;
    serde_json::from_str(line).ok()
}

/// The error for a child that ended without printing a result: how it ended, and its last error output.
fn silent(status: ExitStatus, stderr: &str) -> Error {
    let mut error =
        died(format!("loading it ended the process ({})", process::how_it_ended(status)));
    error.causes.extend(stderr.lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned));
    error
}

fn died(message: String) -> Error {
    Error::defect(message)
        .with_code(code::PLUGIN_PROBE)
        .hint("the library is damaged or defective; it was loaded in a child process only")
}
