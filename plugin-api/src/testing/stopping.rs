//! The requirements after the stop signal: a call ends within a second, whatever it waits for, and
//! what cleans up does its work all the same. The end of a reading is in [`super::reader`].

use std::{
    io::ErrorKind as IoKind,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Side, Subject, expect,
    run::{Run, in_columns},
    samples,
    writer_suite::WriterSuite,
};
use crate::{Cancel, ErrorKind, Host, Plugin, Reader, Result, TableRequest, WriteModeSpec, Writer};

/// How long a call may take after the signal: the second of the contract, and one for a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// When the signal is given to a call that waits.
const SIGNAL: Duration = Duration::from_millis(100);

/// A server that takes connections and never says anything.
struct SilentServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl SilentServer {
    fn start() -> Self {
        let listener = expect(TcpListener::bind("127.0.0.1:0"), "a silent server");
        let address = expect(listener.local_addr(), "its address");
        expect(listener.set_nonblocking(true), "a silent server");
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        thread::spawn(move || {
            let mut clients: Vec<TcpStream> = Vec::new();
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => clients.push(client),
                    Err(error) if error.kind() == IoKind::WouldBlock => {}
                    Err(_) => return,
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { address, ended }
    }
}

impl Drop for SilentServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// An address at which nothing listens.
pub(super) fn closed_address() -> SocketAddr {
    let listener = expect(TcpListener::bind("127.0.0.1:0"), "a free port");
    expect(listener.local_addr(), "its address")
}

/// Runs a call and gives the signal a moment later. The call ends in time, and if it did not end by
/// itself before, it says that it was stopped.
#[track_caller]
fn assert_stops<T: Send>(cancel: &Cancel, what: &str, call: impl FnOnce() -> Result<T> + Send) {
    let (ended, taken) = thread::scope(|scope| {
        let begun = Instant::now();
        let call = scope.spawn(move || (call().map(drop), begun.elapsed()));
        thread::sleep(SIGNAL);
        cancel.cancel();
        call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert_ended(ended, taken.saturating_sub(SIGNAL), taken > SIGNAL, what);
}

/// A call after the signal.
#[track_caller]
fn assert_short<T>(what: &str, call: impl FnOnce() -> Result<T>) {
    let begun = Instant::now();
    let ended = call().map(drop);
    assert_ended(ended, begun.elapsed(), true, what);
}

#[track_caller]
fn assert_ended(ended: Result<()>, taken: Duration, was_stopped: bool, what: &str) {
    let taken = taken.as_secs_f64();
    assert!(
        taken <= PATIENCE.as_secs_f64(),
        "{what}: ends {taken:.1} s after the stop signal, a second is allowed"
    );
    if let (Err(error), true) = (ended, was_stopped) {
        let kind = error.kind;
        let expected = [ErrorKind::Cancelled, ErrorKind::Unsupported];
        assert!(expected.contains(&kind), "{what}: not `cancelled` after the signal: {error:?}");
    }
}

type ReaderVerb = fn(&dyn Reader) -> Result<()>;
type WriterVerb = fn(&dyn Writer) -> Result<()>;

/// Every method that may wait for a server that does not answer.
pub(super) fn silent_source(plugin: &dyn Plugin, subject: &dyn Subject) {
    let verbs: [(&str, ReaderVerb); 4] = [
        ("`check`", |reader| reader.check().map(drop)),
        ("`discover`", |reader| reader.discover().map(drop)),
        ("`tables`", |reader| reader.tables(&TableRequest::new(10)).map(drop)),
        ("`schema`", |reader| reader.schema().map(drop)),
    ];
    for (verb, call) in verbs {
        let server = SilentServer::start();
        let Some(options) = subject.at_address(Side::Reader, server.address) else { return };
        let cancel = Cancel::new();
        let host = Host::new(subject.secrets(), cancel.clone());
        let reader = expect(plugin.reader(options, host), "a reader of a server that is silent");
        let what = format!("the reader's {verb} of a server that is silent");
        assert_stops(&cancel, &what, || call(&*reader));
    }
}

/// The same for the writer.
pub(super) fn silent_target(plugin: &dyn Plugin, subject: &dyn Subject) {
    let verbs: [(&str, WriterVerb); 3] = [
        ("`check`", |writer| writer.check().map(drop)),
        ("`discover`", |writer| writer.discover().map(drop)),
        ("`inspect`", |writer| writer.inspect().map(drop)),
    ];
    for (verb, call) in verbs {
        let server = SilentServer::start();
        let Some(options) = subject.at_address(Side::Writer, server.address) else { return };
        let cancel = Cancel::new();
        let host = Host::new(subject.secrets(), cancel.clone());
        let writer = expect(plugin.writer(options, host), "a writer to a server that is silent");
        let what = format!("the writer's {verb} of a server that is silent");
        assert_stops(&cancel, &what, || call(&*writer));
    }
}

/// Calls of a writer that are made after the signal are short, and those that clean up succeed.
pub(super) fn writing(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let when = format!("after the stop signal, mode `{}`", spec.mode.word());
    let target = suite.target(spec);
    let before = target.leftovers();
    let cancel = Cancel::new();
    let host = Host::new(suite.subject.secrets(), cancel.clone());
    let plan = suite.plan(spec);
    let run = expect(Run::draft_by(suite.plugin, host, &*target, plan), "`draft`");
    run.prepare();
    let mut task = run.task(0);
    task.begin();
    task.write(&samples::keyed(1..=5, 1));
    cancel.cancel();
    assert_short(&format!("{when}: `inspect`"), || run.writer.inspect());
    let more = in_columns(&samples::keyed(6..=400, 1), &run.plan.columns);
    assert_short(&format!("{when}: `write`"), || task.task.write(&more));
    expect(task.task.rollback_chunk(), &format!("{when}: `rollback_chunk`"));
    expect(task.task.abort(), &format!("{when}: `abort` of a task"));
    expect(run.writer.abort(&run.plan, &[]), &format!("{when}: `abort` of the job"));
    target.assert_holds(&[], &when);
    assert_eq!(target.leftovers(), before, "{when}: left over by `abort`");
}

/// `finalise` removes what a committed run has left, also after the signal.
pub(super) fn finalising(suite: &WriterSuite<'_>, spec: &WriteModeSpec) {
    let when = format!("`finalise` after the stop signal, mode `{}`", spec.mode.word());
    let target = suite.target(spec);
    let before = target.leftovers();
    let cancel = Cancel::new();
    let host = Host::new(suite.subject.secrets(), cancel.clone());
    let plan = suite.plan(spec);
    let run = expect(Run::draft_by(suite.plugin, host, &*target, plan), "`draft`");
    run.prepare();
    let mut task = run.task(0);
    let rows = samples::keyed(1..=3, 1);
    task.begin();
    task.write(&rows);
    task.commit();
    let receipt = task.finish();
    expect(run.writer.commit(&run.plan, &[receipt]), "`commit`");
    cancel.cancel();
    expect(run.writer.finalise(&run.plan), &when);
    target.assert_holds(&[rows], &when);
    assert_eq!(target.leftovers(), before, "{when}: left over");
}
