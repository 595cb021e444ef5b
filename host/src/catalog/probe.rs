//! Loads a library in a child process first: a constructor that aborts, or a file damaged where
//! nobody looked, ends the child and not the host. The child is this program itself, called as
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
use transload_plugin_api::{Descriptor, Error, ErrorKind, Result, abi::AbiVersion, code};

use super::library;

/// The hidden argument that makes this program a probe.
pub(crate) const PROBE_ARGUMENT: &str = "__probe";

/// Before the answer, because a library may print what it likes when it is loaded.
const MARK: &str = "transload-probe:";
/// A library that takes longer to load and to describe itself is hanging.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than any descriptor; a library that prints without end must not fill our memory.
const MOST_OUTPUT: u64 = 4 << 20;

/// What a library says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Probed {
    /// The version that it was built for.
    pub(super) abi: AbiVersion,
    /// What it declares.
    pub(super) descriptor: Descriptor,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Fits(Box<Probed>),
    Refused(Error),
}

/// The child's whole work: loads the library and prints what it says. Returns the exit code.
pub(crate) fn probe_main(path: &Path) -> u8 {
    let answer = match load(path) {
        Ok(probed) => Answer::Fits(Box::new(probed)),
        Err(error) => Answer::Refused(error),
    };
    let Ok(text) = serde_json::to_string(&answer) else { return 1 };
    let written = writeln!(std::io::stdout(), "\n{MARK}{text}");
    u8::from(written.is_err())
}

fn load(path: &Path) -> Result<Probed> {
    let module = library::load(path)?;
    Ok(Probed { abi: module.version(), descriptor: module.import()?.descriptor() })
}

/// The program that is called to probe.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    program: PathBuf,
    timeout: Duration,
}

impl Prober {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, timeout: TIMEOUT }
    }

    /// What the library says, asked in a child process.
    ///
    /// # Errors
    /// What the child found, or [`ErrorKind::Defect`] with how the child ended.
    pub(super) fn probe(&self, path: &Path) -> Result<Probed> {
        let mut child = self.start(path)?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let status = wait(&mut child, self.timeout)?;
        let rest = Duration::from_secs(1); // for what is still in the pipes
        let text = stdout.recv_timeout(rest).unwrap_or_default();
        let Some(status) = status else {
            let message = format!("still loading after {} s", self.timeout.as_secs());
            return Err(died(message));
        };
        match answer_in(&text) {
            Some(Answer::Fits(probed)) => Ok(*probed),
            Some(Answer::Refused(error)) => Err(error),
            None => {
                let said = stderr.recv_timeout(rest).unwrap_or_default();
                Err(silent(status, &said))
            }
        }
    }

    fn start(&self, path: &Path) -> Result<Child> {
        Command::new(&self.program)
            .arg(PROBE_ARGUMENT)
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let program = self.program.display();
                Error::new(ErrorKind::Other, format!("cannot start `{program}` to probe it"))
                    .with_code(code::PLUGIN_PROBE)
                    .caused_by(&error)
            })
    }
}

/// Reads a pipe to its end on a thread, so that neither pipe can fill up. A grandchild may hold it
/// open, so nobody joins the thread.
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

/// Waits for the child; kills it and answers `None` if it takes too long.
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

fn answer_in(text: &str) -> Option<Answer> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix(MARK))?;
    serde_json::from_str(line).ok()
}

fn silent(status: ExitStatus, stderr: &str) -> Error {
    use std::os::unix::process::ExitStatusExt;
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}{}", signal_name(signal)),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "no status".to_owned(),
    };
    let mut error = died(format!("loading it ends the process ({how})"));
    error.causes.extend(stderr.lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned));
    error
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => ", illegal instruction",
        6 => ", abort",
        7 => ", bus error",
        8 => ", arithmetic",
        9 => ", kill",
        11 => ", segmentation fault",
        _ => "",
    }
}

fn died(message: String) -> Error {
    Error::new(ErrorKind::Defect, message)
        .with_code(code::PLUGIN_PROBE)
        .hint("the library is damaged or defective; it was tried in a process of its own")
}
