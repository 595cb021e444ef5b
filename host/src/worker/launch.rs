//! The host's side of one worker process: its start, what it asks for and reports meanwhile, and how it
//! ended. The functions of the contract are called through its channels, see `call`.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::Value;
use tracing::Level;
use transload_plugin_api::{
    Error, Host, Options, Registration, Result, WAITING,
    abi::{LogEvent, LogSink},
    code,
};
use zeroize::Zeroize;

use super::{
    WORKER_ARGUMENT,
    channel::Channel,
    grants::Grants,
    memory::SharedMemory,
    message::{self, Event, Order, Start, VERSION},
    sandbox::{Achieved, Sandbox},
};
use crate::{catalog::Role, process, waits};

/// How long a worker may take until its plugin is loaded.
const START: Duration = Duration::from_secs(20);
/// How long a worker that has closed a channel may take to end.
const END: Duration = Duration::from_secs(2);
/// How long a plugin may take to return after the stop signal, before its process is ended.
const AFTER_STOP: Duration = Duration::from_secs(4);
/// Longest line of a plugin's output that is logged, and most lines.
const LINE: u64 = 4 << 10;
const LINES: usize = 1_000;

/// What a worker is started with.
pub(super) struct Launch<'a> {
    pub(super) program: &'a std::path::Path,
    pub(super) plugin: &'static str,
    pub(super) role: Role,
    pub(super) options: Options,
    /// The library: a descriptor of its bytes, or a path.
    pub(super) library: (Option<OwnedFd>, PathBuf),
    pub(super) grants: Grants,
    pub(super) sandbox: Sandbox,
    pub(super) stall: Duration,
    pub(super) log: Arc<dyn LogSink>,
    pub(super) host: Host,
}

/// What hears a worker, also when no one calls it any more.
struct Ears {
    plugin: &'static str,
    control: UnixStream,
    /// Held while a message is written.
    sending: Mutex<()>,
    log: Arc<dyn LogSink>,
    host: Host,
    /// Distinguishes its waits from those of the plugin's other workers.
    number: u64,
    waits: Mutex<BTreeSet<u64>>,
    /// How it broke the protocol.
    fault: OnceLock<String>,
}

/// A worker process. Dropping it ends it.
pub(super) struct Worker {
    /// The plugin's name.
    plugin: &'static str,
    memory: u64,
    stall: Duration,
    child: Mutex<Child>,
    ears: Arc<Ears>,
    listener: Mutex<Option<JoinHandle<()>>>,
    /// Channels that no call uses.
    idle: Mutex<Vec<Channel>>,
    cancelled: OnceLock<Instant>,
    stop: OnceLock<Registration>,
    /// Why the host has ended it.
    killed: OnceLock<Error>,
    /// The last line of its output.
    said: Arc<Mutex<String>>,
}

impl Worker {
    /// Starts a worker and waits until its plugin's reader or writer is made.
    ///
    /// # Errors
    /// `PLUGIN-WORKER` if it does not start, `PLUGIN-SANDBOX`, the plugin's own error, or how it ended.
    pub(super) fn start(launch: Launch<'_>) -> Result<Arc<Self>> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let (control, theirs) = UnixStream::pair().map_err(|error| cannot_start(&error))?;
        let mut command = Command::new(launch.program);
        command.env_clear().arg(WORKER_ARGUMENT).stdin(Stdio::from(OwnedFd::from(theirs)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command).map_err(|error| cannot_start(&error))?;
        let said = Arc::new(Mutex::new(String::new()));
        let output: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as _),
            child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ];
        for pipe in output.into_iter().flatten() {
            let (said, log) = (said.clone(), launch.log.clone());
            thread::spawn(move || forward_output(pipe, &said, &*log));
        }
        let ears = Arc::new(Ears {
            plugin: launch.plugin,
            control,
            sending: Mutex::new(()),
            log: launch.log,
            host: launch.host,
            number: NUMBERS.fetch_add(1, Relaxed),
            waits: Mutex::default(),
            fault: OnceLock::new(),
        });
        let worker = Arc::new(Self {
            plugin: launch.plugin,
            memory: launch.grants.memory,
            stall: launch.stall,
            child: Mutex::new(child),
            ears,
            listener: Mutex::default(),
            idle: Mutex::default(),
            cancelled: OnceLock::new(),
            stop: OnceLock::new(),
            killed: OnceLock::new(),
            said,
        });
        let (descriptor, path) = launch.library;
        let start = Start {
            version: VERSION,
            role: launch.role,
            options: launch.options,
            library: descriptor.is_none().then_some(path),
            sandbox: launch.sandbox,
            grants: launch.grants,
            log: worker.ears.most_verbose(),
        };
        worker.begin(start, descriptor)?;
        worker.pass_the_stop_signal_on();
        Ok(worker)
    }

    fn begin(self: &Arc<Self>, start: Start, library: Option<OwnedFd>) -> Result<()> {
        let (started, has_started) = mpsc::channel();
        let ears = self.ears.clone();
        let listener = thread::Builder::new()
            .name(format!("worker-{}", ears.number))
            .spawn(move || listen(&ears, &started))
            .map_err(|error| cannot_start(&error))?;
        *self.listener.lock() = Some(listener);
        let descriptors: Vec<_> = library.iter().map(AsFd::as_fd).collect();
        let sandbox = start.sandbox;
        if let Err(error) = self.ears.send(&Order::Start(Box::new(start)), &descriptors) {
            return Err(if error.kind() == io::ErrorKind::InvalidInput {
                cannot_start(&error)
            } else {
                self.ended()
            });
        }
        let wait = |rest| match has_started.recv_timeout(rest) {
            Ok(event) => Ok(event),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.ended()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let message = format!("the plugin has not loaded within {} s", START.as_secs());
                Err(self.kill(Error::defect(message).with_code(code::PLUGIN_STALL)))
            }
        };
        if let Event::Enclosed(achieved) = wait(START)? {
            self.report_sandbox(achieved?, sandbox);
        }
        match wait(START)? {
            Event::Made(made) => made,
            _ => Err(self.broken("it reported nothing after its start")),
        }
    }

    fn report_sandbox(&self, achieved: Achieved, wanted: Sandbox) {
        let plugin = self.plugin;
        if achieved.is_whole() || wanted == Sandbox::Required {
            tracing::info!("plugin `{plugin}` runs in a process of its own: {achieved}");
        } else {
            tracing::warn!(
                "plugin `{plugin}` runs in a process of its own, but this system does not keep it \
                 from everything: {achieved}"
            );
        }
    }

    /// Gives the worker the host's stop signal when that is given.
    fn pass_the_stop_signal_on(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let registration = self.ears.host.cancel().while_kept(move || {
            if let Some(worker) = weak.upgrade() {
                let _ = worker.cancelled.set(Instant::now());
                // It may have ended.
                let _ = worker.ears.send(&Order::Cancel, &[]);
            }
        });
        let _ = self.stop.set(registration);
    }

    /// A channel that no other call uses.
    ///
    /// # Errors
    /// If the system refuses one, or the worker has ended.
    pub(super) fn channel(&self) -> Result<Channel> {
        if let Some(idle) = self.idle.lock().pop() {
            return Ok(idle);
        }
        let made = || {
            let (ours, theirs) = UnixStream::pair()?;
            let memory = SharedMemory::new()?;
            let shared = memory.share()?;
            Ok::<_, io::Error>((Channel::new(ours, memory)?, theirs, shared))
        };
        let (channel, theirs, shared) = made().map_err(|error| cannot_start(&error))?;
        self.ears
            .send(&Order::Channel, &[theirs.as_fd(), shared.as_fd()])
            .map_err(|_| self.ended())?;
        Ok(channel)
    }

    /// Keeps a channel for a later call.
    pub(super) fn put_back(&self, channel: Channel) {
        self.idle.lock().push(channel);
    }

    /// Whether a call that began at this time may go on: the process lives, and makes progress, or says
    /// what it waits for.
    pub(super) fn may_wait(&self, since: Instant, is_cleaning: bool) -> io::Result<()> {
        let late = |error| {
            self.kill(error);
            Err(io::ErrorKind::TimedOut.into())
        };
        if self.killed.get().is_some() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let stopped = self.cancelled.get().copied();
        if !is_cleaning && stopped.is_some_and(|at| at.max(since).elapsed() > AFTER_STOP) {
            let seconds = AFTER_STOP.as_secs();
            let message = format!(
                "the plugin has not returned within {seconds} s after the stop signal; its process \
                 was ended"
            );
            return late(Error::cancelled(message).with_code(code::PLUGIN_STALL));
        }
        if since.elapsed() > self.stall && self.ears.waits.lock().is_empty() {
            let seconds = self.stall.as_secs();
            let message = format!(
                "the plugin has not returned for {seconds} s and says of nothing that it waits for \
                 it; its process was ended"
            );
            let error = Error::defect(message).with_code(code::PLUGIN_STALL);
            return late(error.hint("if it needs longer: `stall_timeout` in `[channel]`"));
        }
        Ok(())
    }

    /// The error of a worker that does not answer any more: how it ended.
    pub(super) fn ended(&self) -> Error {
        let status = self.wait_for_the_end();
        if let Some(error) = self.killed.get() {
            return error.clone();
        }
        if let Some(fault) = self.ears.fault.get() {
            return self.broken(fault);
        }
        let Some(status) = status else {
            return self.broken("it closed its connection to the program");
        };
        // What it said last may still be in the pipe.
        thread::sleep(Duration::from_millis(20));
        let said = self.said.lock().clone();
        let how = process::how_it_ended(status);
        let (message, code) = if said.starts_with("memory allocation of ") {
            let most = self.memory >> 20;
            (format!("the plugin's process reached its limit of {most} MiB"), code::PLUGIN_MEMORY)
        } else if status.code().is_some() {
            (format!("the plugin ended its process ({how})"), code::PLUGIN_EXIT)
        } else {
            (format!("the plugin's process crashed ({how})"), code::PLUGIN_CRASH)
        };
        let mut error = Error::defect(message).with_code(code);
        error.causes.extend((!said.is_empty()).then_some(said));
        error.hint("this is a defect in the plugin: report it to its author")
    }

    /// Ends the process of a worker that broke the protocol.
    pub(super) fn broken(&self, what: &str) -> Error {
        let message = format!("the plugin's process breaks the protocol: {what}; it was ended");
        self.kill(Error::defect(message).with_code(code::PLUGIN_WORKER))
    }

    /// Ends the process for a reason, the first of which counts.
    fn kill(&self, reason: Error) -> Error {
        let reason = self.killed.get_or_init(|| reason).clone();
        let mut child = self.child.lock();
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        reason
    }

    /// How it ended; `None` if it has not within [`END`].
    fn wait_for_the_end(&self) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.lock().try_wait() {
                return Some(status);
            }
            if begun.elapsed() > END {
                return None;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Ears {
    fn send(&self, order: &Order, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<()> {
        let _one_at_a_time = self.sending.lock();
        message::send(&self.control, order, descriptors)
    }

    /// The most verbose level that the log wants.
    fn most_verbose(&self) -> u8 {
        let wanted = |level: u8| self.log.enabled(level_of(level), "");
        (1..=5).rev().find(|level| wanted(*level)).unwrap_or_default()
    }

    /// Returns an event that is not of the start.
    fn hear(self: &Arc<Self>, event: Event) {
        match event {
            Event::Log { level, target, message, fields } => {
                self.hear_log(level, &target, &message, fields);
            }
            Event::Secret { id, key } => {
                let ears = self.clone();
                // A program may have to run for it.
                let answer = move || {
                    let value = ears.host.secret(&key);
                    let value = value.map(|secret| secret.map(|it| it.expose().to_owned()));
                    let mut order = Order::Secret { id, value };
                    // A worker that has ended needs none.
                    let _ = ears.send(&order, &[]);
                    if let Order::Secret { value: Ok(Some(secret)), .. } = &mut order {
                        secret.zeroize();
                    }
                };
                let _ = thread::Builder::new().name("secret".into()).spawn(answer);
            }
            Event::Enclosed(_) | Event::Made(_) => {}
        }
    }

    fn hear_log(&self, level: u8, target: &str, message: &str, mut fields: String) {
        if target == WAITING {
            let mut parsed: Value = serde_json::from_str(&fields).unwrap_or_default();
            let id = parsed["id"].as_u64().unwrap_or_default() & 0xffff_ffff;
            let id = self.number << 32 | id;
            if parsed.get("ended").is_some() {
                self.waits.lock().remove(&id);
            } else {
                self.waits.lock().insert(id);
            }
            if let Some(fields) = parsed.as_object_mut() {
                fields.insert("id".to_owned(), id.into());
            }
            fields = parsed.to_string();
        }
        let level = level_of(level);
        self.log.event(LogEvent { level, target, message, fields: &fields });
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The plugin closes what it has opened, or is ended.
        self.idle.lock().clear();
        let _ = self.ears.control.shutdown(std::net::Shutdown::Write);
        if self.killed.get().is_none() {
            self.wait_for_the_end();
        }
        let mut child = self.child.lock();
        let _ = child.kill();
        let _ = child.wait();
        // It logs what the plugin said last, and waits for no one who has inherited the socket.
        let _ = self.ears.control.shutdown(std::net::Shutdown::Both);
        if let Some(listener) = self.listener.lock().take() {
            let _ = listener.join();
        }
    }
}

/// Receives what a worker says, until it ends.
fn listen(ears: &Arc<Ears>, started: &mpsc::Sender<Event>) {
    loop {
        match message::receive::<Event>(&ears.control) {
            Ok(Some((event @ (Event::Enclosed(_) | Event::Made(_)), _))) => {
                // No one waits any more if it comes twice.
                let _ = started.send(event);
            }
            Ok(Some((event, _))) => ears.hear(event),
            Ok(None) => break,
            Err(error) => {
                if error.kind() != io::ErrorKind::ConnectionReset {
                    let _ = ears.fault.set(error.to_string());
                }
                // The worker ends without its host.
                let _ = ears.control.shutdown(std::net::Shutdown::Both);
                break;
            }
        }
    }
    ears.waits.lock().iter().for_each(|id| waits::end(ears.plugin, *id));
}

/// A level as a number: 1 is an error.
pub(super) fn level_of(number: u8) -> Level {
    match number {
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

/// Logs what a plugin prints: its output belongs to the program.
fn forward_output(pipe: impl Read, said: &Mutex<String>, log: &dyn LogSink) {
    let mut pipe = BufReader::new(pipe);
    for number in 0.. {
        let mut line = Vec::new();
        match pipe.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(read) if read > 0 => {}
            _ => return,
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        // The standard library's note beneath a message is not a message itself.
        if line.is_empty() || line.starts_with("note: ") {
            continue;
        }
        line.clone_into(&mut said.lock());
        if number < LINES && log.enabled(Level::INFO, "output") {
            let fields = "{}";
            let level = Level::INFO;
            log.event(LogEvent { level, target: "output", message: line, fields });
        }
    }
}

fn cannot_start(error: &io::Error) -> Error {
    Error::other("cannot start a process for the plugin")
        .with_code(code::PLUGIN_WORKER)
        .caused_by(error)
}

/// What the starting thread gets, and where it puts the child.
type Spawning = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a process from a thread that lives as long as this process: the system ends a worker with the
/// thread that started it.
fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: Mutex<Option<mpsc::Sender<Spawning>>> = Mutex::new(None);
    let gone = || io::Error::other("the starting thread has ended");
    let (answer, answered) = mpsc::channel();
    let mut starter = STARTER.lock();
    if starter.is_none() {
        let (sender, receiver) = mpsc::channel::<Spawning>();
        let run = move || {
            for (mut command, answer) in receiver {
                // Whoever asked waits for it.
                let _ = answer.send(command.spawn());
            }
        };
        thread::Builder::new().name("workers".into()).spawn(run)?;
        *starter = Some(sender);
    }
    let sender = starter.as_ref().ok_or_else(gone)?;
    sender.send((command, answer)).map_err(|_| gone())?;
    drop(starter);
    answered.recv().map_err(|_| gone())?
}
