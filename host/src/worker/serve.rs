//! The worker's side: the process encloses itself, loads the library, and calls its functions for the
//! host, each channel on a thread of its own. It ends when the host closes the control socket.

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;
use tracing::Level;
use transload_plugin_api::{
    Cancel, Error, Host, ReadTask, Reader, Result, Secret, Secrets, WAITING, WriteTask, Writer,
    abi::{LogEvent, LogSink},
    code, schema_of,
};

use super::{
    batch,
    channel::{Channel, for_ever},
    launch::level_of,
    memory::SharedMemory,
    message::{self, Batch, Event, Order, Request, Start, VERSION},
    sandbox,
};
use crate::{
    catalog::{Role, load_library},
    process,
};

/// How long calls may take to end when the host needs the process no more.
const CLOSING: Duration = Duration::from_secs(1);

/// The reader or writer that this process is for.
enum Served {
    Reader(Box<dyn Reader>),
    Writer(Box<dyn Writer>),
}

/// Where it is, from its making to the end of the process.
type Slot = Arc<Mutex<Option<Arc<Served>>>>;

/// The control socket, for what the worker says.
struct Control {
    socket: UnixStream,
    sending: Mutex<()>,
}

impl Control {
    /// Says something to the host. Without a host this process ends anyway.
    fn say(&self, event: &Event) {
        let _one_at_a_time = self.sending.lock();
        let _ = message::send(&self.socket, event, &[]);
    }
}

/// The process. Returns its exit code.
pub(crate) fn worker_main() -> u8 {
    u8::from(serve().is_err())
}

fn serve() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    process::close_foreign(socket.as_raw_fd());
    let Some((Order::Start(start), mut descriptors)) = message::receive(&socket)? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let control = Arc::new(Control { socket, sending: Mutex::new(()) });
    let library = start.library.clone();
    let enclosed = match start.version {
        VERSION => {
            sandbox::enter(start.sandbox, &start.grants, library.as_deref().and_then(folder))
        }
        _ => Err(Error::defect("the program was replaced while it ran")
            .with_code(code::PLUGIN_WORKER)
            .hint("run the command again")),
    };
    let is_enclosed = enclosed.is_ok();
    control.say(&Event::Enclosed(enclosed));
    if !is_enclosed {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let served = Slot::default();
    let services = Arc::new(Services::new(control.clone()));
    let listening = {
        let (services, served) = (services.clone(), served.clone());
        thread::Builder::new().name("control".into()).spawn(move || listen(&services, &served))?
    };
    let made = make(*start, library.or_else(|| path_of(descriptors.pop())), &services);
    let made = made.map(|made| *served.lock() = Some(Arc::new(made)));
    control.say(&Event::Made(made));
    let _ = listening.join();
    Ok(())
}

/// Where a library beside others is.
fn folder(library: &std::path::Path) -> Option<PathBuf> {
    library.parent().map(PathBuf::from)
}

/// The path of a library that came as a descriptor, which stays open for the life of the process.
fn path_of(library: Option<OwnedFd>) -> Option<PathBuf> {
    let library = library?;
    let path = format!("/proc/self/fd/{}", library.as_raw_fd());
    std::mem::forget(library);
    Some(path.into())
}

/// Loads the library and makes its reader or writer.
fn make(start: Start, library: Option<PathBuf>, services: &Arc<Services>) -> Result<Served> {
    let library = library.ok_or_else(|| Error::defect("there is no library"))?;
    let module = load_library(&library)?;
    module.connect_log(Arc::new(WorkerLog { control: services.control.clone(), most: start.log }));
    let plugin = module.import()?;
    let host = Host::new(services.clone(), services.cancel.clone());
    match start.role {
        Role::Reader => plugin.reader(start.options, host).map(Served::Reader),
        Role::Writer => plugin.writer(start.options, host).map(Served::Writer),
    }
}

/// Follows the host's orders until it closes the socket, then ends the process whatever runs in it.
fn listen(services: &Services, served: &Slot) {
    while let Ok(Some((order, descriptors))) = message::receive(&services.control.socket) {
        match order {
            Order::Cancel => services.cancel.cancel(),
            Order::Secret { id, value } => services.answer(id, value),
            Order::Channel => {
                let served = served.clone();
                let serving = move || serve_channel(channel_of(descriptors)?, &served);
                if thread::Builder::new().name("call".into()).spawn(serving).is_err() {
                    break;
                }
            }
            Order::Start(_) => break,
        }
    }
    close(served);
    process::end(0);
}

/// Drops the reader or writer, when the threads that call it have ended: it closes what it has opened.
fn close(served: &Slot) {
    let Some(served) = served.lock().take() else { return };
    let begun = Instant::now();
    while Arc::strong_count(&served) > 1 && begun.elapsed() < CLOSING {
        thread::sleep(Duration::from_millis(1));
    }
}

fn channel_of(descriptors: Vec<OwnedFd>) -> io::Result<Channel> {
    let Ok([socket, memory]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Channel::new(UnixStream::from(socket), SharedMemory::received(memory)?)
}

/// Calls functions until the host closes the channel.
fn serve_channel(mut channel: Channel, served: &Slot) -> io::Result<()> {
    let Some(served) = served.lock().clone() else { return Ok(()) };
    while let Some((request, _)) = channel.receive::<Request>(&for_ever)? {
        match &*served {
            Served::Reader(reader) => serve_reader(&mut channel, &**reader, request)?,
            Served::Writer(writer) => serve_writer(&mut channel, &**writer, request)?,
        }
    }
    Ok(())
}

fn answer<T: Serialize>(channel: &mut Channel, result: &Result<T>) -> io::Result<()> {
    channel.send(result, &[], &for_ever)
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a function of another object")
}

fn serve_reader(channel: &mut Channel, reader: &dyn Reader, request: Request) -> io::Result<()> {
    match request {
        Request::Check => answer(channel, &reader.check()),
        Request::Discover => answer(channel, &reader.discover()),
        Request::Tables(request) => answer(channel, &reader.tables(&request)),
        Request::Counts => answer(channel, &reader.counts()),
        Request::Schema => answer(channel, &reader.schema()),
        Request::Produces(wanted) => answer(channel, &reader.produces(&wanted)),
        Request::Splits(request) => answer(channel, &reader.splits(&request)),
        Request::Digest(request) => answer(channel, &reader.digest(&request)),
        Request::OpenReading { split, columns, after } => {
            match reader.open(&split, &columns, after.as_ref()) {
                Ok(task) => {
                    answer(channel, &Ok(()))?;
                    serve_reading(channel, task)
                }
                Err(error) => answer(channel, &Err::<(), _>(error)),
            }
        }
        _ => Err(unexpected()),
    }
}

/// Sends all batches of a split, as far ahead as the shared memory holds.
fn serve_reading(channel: &mut Channel, mut task: Box<dyn ReadTask>) -> io::Result<()> {
    match channel.receive(&for_ever)? {
        Some((Request::Batches, _)) => {}
        Some(_) => return Err(unexpected()),
        None => return Ok(()),
    }
    loop {
        let next = task.next_batch().and_then(|next| match next {
            Some(read) => batch::encode(&read.batch).map(|(shape, body)| {
                let transload_plugin_api::ReadBatch { position, origin, dirty, bytes, .. } = read;
                Some((Batch { shape, position, origin, dirty, bytes }, body))
            }),
            None => Ok(None),
        });
        match next {
            Ok(Some((batch, body))) => {
                channel.send(&Ok::<_, Error>(Some(batch)), &body, &for_ever)?
            }
            Ok(None) => {
                // Closed before the host hears of the end, as in one process.
                drop(task);
                return answer(channel, &Ok(None::<Batch>));
            }
            Err(error) => {
                drop(task);
                return answer(channel, &Err::<Option<Batch>, _>(error));
            }
        }
    }
}

fn serve_writer(channel: &mut Channel, writer: &dyn Writer, request: Request) -> io::Result<()> {
    match request {
        Request::Check => answer(channel, &writer.check()),
        Request::Discover => answer(channel, &writer.discover()),
        Request::Counts => answer(channel, &writer.counts()),
        Request::Inspect => answer(channel, &writer.inspect()),
        Request::Draft(plan) => answer(channel, &writer.draft(&plan)),
        Request::Prepare(plan) => answer(channel, &writer.prepare(&plan)),
        Request::Commit(plan, receipts) => answer(channel, &writer.commit(&plan, &receipts)),
        Request::Abort(plan, receipts) => answer(channel, &writer.abort(&plan, &receipts)),
        Request::Finalise(plan) => answer(channel, &writer.finalise(&plan)),
        Request::TokenDdl(tables) => answer(channel, &writer.token_ddl(&tables)),
        Request::OpenWriting { plan, task } => match writer.open(&plan, &task) {
            Ok(task) => {
                answer(channel, &Ok(()))?;
                serve_writing(channel, task, &schema_of(&plan.columns))
            }
            Err(error) => answer(channel, &Err::<(), _>(error)),
        },
        _ => Err(unexpected()),
    }
}

/// Writes a task until its last function; until the host closes the channel, which drops the task.
fn serve_writing(
    channel: &mut Channel,
    mut task: Box<dyn WriteTask>,
    schema: &arrow_schema::SchemaRef,
) -> io::Result<()> {
    while let Some((request, body)) = channel.receive(&for_ever)? {
        match request {
            Request::Begin(sequence) => answer(channel, &task.begin_chunk(sequence))?,
            Request::Write(shape) => {
                let written = batch::decode(schema, &shape, &body);
                answer(channel, &written.and_then(|batch| task.write(&batch)))?;
            }
            Request::CommitChunk(position, counters) => {
                answer(channel, &task.commit_chunk(&position, &counters))?;
            }
            Request::Rollback => answer(channel, &task.rollback_chunk())?,
            Request::Progress => answer(channel, &task.progress())?,
            Request::Finish => return answer(channel, &task.finish()),
            Request::AbortTask => return answer(channel, &task.abort()),
            _ => return Err(unexpected()),
        }
    }
    drop(task);
    Ok(())
}

/// What the plugin gets of the host.
struct Services {
    control: Arc<Control>,
    cancel: Cancel,
    next: AtomicU64,
    /// Who waits for which secret.
    asked: Mutex<BTreeMap<u64, mpsc::Sender<Result<Option<String>>>>>,
}

impl Services {
    fn new(control: Arc<Control>) -> Self {
        Self { control, cancel: Cancel::new(), next: 0.into(), asked: Mutex::default() }
    }

    fn answer(&self, id: u64, value: Result<Option<String>>) {
        if let Some(asked) = self.asked.lock().remove(&id) {
            // Whoever asked waits for it.
            let _ = asked.send(value);
        }
    }
}

impl Secrets for Services {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        let id = self.next.fetch_add(1, Relaxed);
        let (sender, receiver) = mpsc::channel();
        self.asked.lock().insert(id, sender);
        self.control.say(&Event::Secret { id, key: key.to_owned() });
        let gone = |_| Error::cancelled("the program has ended");
        Ok(receiver.recv().map_err(gone)??.map(Secret::new))
    }
}

/// Sends the plugin's events to the host.
struct WorkerLog {
    control: Arc<Control>,
    /// The most verbose level that the host wants.
    most: u8,
}

impl LogSink for WorkerLog {
    fn enabled(&self, level: Level, target: &str) -> bool {
        target == WAITING || number_of(level) <= self.most
    }

    fn event(&self, event: LogEvent<'_>) {
        let LogEvent { level, target, message, fields } = event;
        // The host cuts texts as well; a whole backtrace fits.
        let cut = |text: &str| text[..text.floor_char_boundary(64 << 10)].to_owned();
        let fields = if fields.len() > 64 << 10 { "{}" } else { fields };
        self.control.say(&Event::Log {
            level: number_of(level),
            target: cut(target),
            message: cut(message),
            fields: fields.to_owned(),
        });
    }
}

fn number_of(level: Level) -> u8 {
    (1..=5).find(|number| level_of(*number) == level).unwrap_or(5)
}
