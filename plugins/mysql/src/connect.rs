//! Opening a connection: the socket, the login, the session's settings, all within one time limit.
//! What is sent over it afterwards is in `session`, what the login says in `login`.

use std::{
    io,
    net::Shutdown,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use transload_plugin_api::{Cancel, Error, Host, Result, Waiting, code};

use crate::{
    dialect::text_literal,
    failure::Failure,
    login::Login,
    options::Address,
    random::random,
    session::Session,
    stream::{Socket, Stream},
    watch::Watch,
    wire::Wire,
};

/// The session's settings, so that results do not depend on the server's defaults: some of them
/// cut results off, or keep silent about values that were changed.
const SETTINGS: &str = "SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_ALL_TABLES,\
    ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION,\
    NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', autocommit = 1, foreign_key_checks = 1, \
    unique_checks = 1, innodb_lock_wait_timeout = 10, lock_wait_timeout = 30, \
    wait_timeout = 600, net_read_timeout = 120, net_write_timeout = 600, \
    sql_select_limit = 18446744073709551615, sql_auto_is_null = 0, sql_safe_updates = 0, \
    sql_notes = 1";

/// For sessions that write dates as another server has stored them: `0000-00-00`, `2024-00-10` and
/// `2024-02-31` are values then. The other settings stay.
pub(crate) const STORED_DATES: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,\
    ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";

/// How long a server may take to end a session that was lost.
const ENDING: Duration = Duration::from_secs(5);

/// What it takes to open a connection.
pub(crate) struct Connector {
    pub(crate) address: Arc<Address>,
    pub(crate) host: Host,
    /// How long sessions wait for rows, if the job says it.
    lock_seconds: Option<u64>,
    /// Sessions that were lost, which the server may not have noticed.
    lost: LostSessions,
}

/// The named locks of sessions that were lost while they could write. A session holds its own lock
/// as long as the server keeps it, which tells it from another one with the same number.
pub(crate) type LostSessions = Arc<Mutex<Vec<String>>>;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Look,
    /// Holds locks on rows; LOAD DATA LOCAL may be used.
    Write,
}

impl Connector {
    /// For sessions that read.
    pub(crate) fn reading(address: Address, host: Host) -> Self {
        Self { address: Arc::new(address), host, lock_seconds: None, lost: Arc::default() }
    }

    /// For sessions that write, and wait this long for rows locked by another session.
    pub(crate) fn writing(address: Address, host: Host, lock_seconds: u64) -> Self {
        Self { lock_seconds: Some(lock_seconds), ..Self::reading(address, host) }
    }

    /// A session that the stop signal ends.
    pub(crate) fn connect(&self, purpose: Purpose) -> Result<Session> {
        self.connect_until(purpose, self.host.cancel())
    }

    /// As [`Connector::connect`], with another stop signal.
    pub(crate) fn connect_until(&self, purpose: Purpose, cancel: &Cancel) -> Result<Session> {
        let place = self.address.place();
        let _waiting = Waiting::new(format_args!("connecting to {place}"));
        let deadline = Instant::now() + self.address.connect_timeout;
        let local_files = purpose == Purpose::Write;
        let opened = log_in(&self.address, &self.host, cancel, deadline, local_files);
        let mut session = opened.map_err(|error| error.reported(&self.address, cancel))?;
        self.kill_when_stopped(&mut session, cancel);
        let prepared = self.prepare(&mut session, purpose);
        prepared.map_err(|error| error.at(self.address.place()))?;
        let watched = session.watched;
        session.set_watch(Watch::new(&self.address, &self.host, cancel, watched))?;
        self.end_lost(&mut session, cancel)?;
        tracing::debug!(connection = session.id, "connected to {place}");
        Ok(session)
    }

    /// Ends the session's statement at a stop signal: in the middle of one, a server does not
    /// notice a closed socket. One that cannot be killed ends by the server's own timeouts.
    fn kill_when_stopped(&self, session: &mut Session, cancel: &Cancel) {
        let id = session.id;
        let (address, host) = (Arc::clone(&self.address), self.host.clone());
        session.keep(cancel.while_kept(move || {
            let (address, host) = (Arc::clone(&address), host.clone());
            let kill = move || {
                let deadline = Instant::now() + address.connect_timeout;
                let opened = log_in(&address, &host, &Cancel::new(), deadline, false);
                if let Ok(mut session) = opened {
                    let _ = session.try_run(&format!("KILL {id}"));
                }
            };
            let _ = thread::Builder::new().name("kill".into()).spawn(kill);
        }));
    }

    /// The session's settings, and what the server says of itself.
    fn prepare(&self, session: &mut Session, purpose: Purpose) -> Result<()> {
        session.run("set the session up", SETTINGS)?;
        // Under another level, each statement of a transaction sees a state of its own.
        let level = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
        session.run("set the session up", level)?;
        if let Some(seconds) = self.lock_seconds {
            let sql = format!("SET SESSION innodb_lock_wait_timeout = {seconds}");
            session.run("set the session up", &sql)?;
        }
        let mut sql = "SELECT @@max_allowed_packet, @@local_infile, CONNECTION_ID()".to_owned();
        if purpose == Purpose::Write {
            let own = format!("transload:session:{:016x}", random()?);
            sql = format!("{sql}, GET_LOCK({}, 0)", text_literal(&own));
            session.keep_account(own, Arc::clone(&self.lost));
        }
        let row = session.rows("look at the server", &sql)?.into_iter().next().unwrap_or_default();
        let cell = |at: usize| row.get(at).cloned().flatten();
        session.packet = cell(0).and_then(|text| text.parse().ok()).unwrap_or(1 << 20);
        session.local_infile = cell(1).is_some_and(|text| text == "1" || text == "ON");
        // A proxy counts its connections in its own way.
        let id = cell(2).and_then(|text| text.parse().ok());
        session.watched = Some(session.id).filter(|own| id == Some(*own));
        Ok(())
    }

    /// Ends sessions that were lost on this side only: they hold locks until the server notices.
    fn end_lost(&self, session: &mut Session, cancel: &Cancel) -> Result<()> {
        let lost = std::mem::take(&mut *self.lost.lock());
        for name in lost {
            let sql = format!("SELECT IS_USED_LOCK({})", text_literal(&name));
            let Some(id) = one_cell(session, &sql)? else { continue };
            // A right may be missing; the server then ends it by its own timeouts.
            let _ = session.try_run(&format!("KILL {id}"));
            let until = Instant::now() + ENDING;
            while Instant::now() < until && one_cell(session, &sql)?.is_some() {
                cancel.sleep(Duration::from_millis(20))?;
            }
        }
        Ok(())
    }
}

fn one_cell(session: &mut Session, sql: &str) -> Result<Option<String>> {
    let rows = session.rows("look for a lost session", sql)?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
}

/// A session that is logged in, within the deadline still.
pub(crate) fn log_in(
    address: &Address,
    host: &Host,
    cancel: &Cancel,
    deadline: Instant,
    local_files: bool,
) -> Result<Session, ConnectError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let socket = Arc::new(address.connect(left, cancel).map_err(ConnectError::Refused)?);
    let weak = Arc::downgrade(&socket);
    let closing = cancel.while_kept(move || {
        if let Some(socket) = weak.upgrade() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    });
    let password = host.secret("password").map_err(ConnectError::Refused)?;
    let password = password.as_ref().map_or("", |secret| secret.expose());
    let bounded = || Socket::new(Arc::clone(&socket), deadline);
    let mut login = Login {
        wire: Wire::new(Stream::Plain(bounded())),
        address,
        password: password.as_bytes(),
        local_files,
        encrypted: false,
    };
    let greeting = login.run(bounded)?;
    login.wire.logged_in();
    let mut session = Session::new(login.wire, socket, &greeting, cancel.clone());
    session.keep(closing);
    Ok(session)
}

/// Why there is no session.
pub(crate) enum ConnectError {
    /// The login failed.
    Login(Failure),
    /// Refused on our side, or not reached.
    Refused(Error),
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        Self::Login(failure)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Login(error.into())
    }
}

impl ConnectError {
    fn reported(self, address: &Address, cancel: &Cancel) -> Error {
        if let Err(stopped) = cancel.check() {
            return stopped;
        }
        let error = match self {
            Self::Refused(error) => error,
            Self::Login(Failure::Lost(error)) if error.kind() == io::ErrorKind::TimedOut => {
                let seconds = address.connect_timeout.as_secs_f64();
                Error::connection(format!("cannot connect: no response in {seconds} s"))
                    .with_code(code::MYSQL_LOST)
                    .hint("is it a MySQL server? See `connect_timeout`")
            }
            Self::Login(failure) => failure.into_error("log in", cancel),
        };
        error.at(address.place())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use transload_plugin_api::{ErrorKind, Options};

    use super::*;

    /// A server that accepts connections and never says anything.
    fn silent(timeout: u64) -> (TcpListener, Connector) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = Options::from_pairs([("host", "127.0.0.1"), ("user", "u")]);
        options.values.insert("database".to_owned(), "d".into());
        options.values.insert("port".to_owned(), listener.local_addr().unwrap().port().into());
        options.values.insert("connect_timeout".to_owned(), timeout.into());
        let address = Address::parse(&options).unwrap();
        (listener, Connector::reading(address, Host::detached()))
    }

    #[test]
    fn a_server_that_never_replies_is_given_up() {
        let (_listener, connector) = silent(100);
        let error = connector.connect(Purpose::Look).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Connection);
        assert!(error.message.contains("no response in 0.1 s"), "{error}");
    }

    #[test]
    fn a_stop_ends_a_login_at_once() {
        let ((_listener, connector), cancel) = (silent(60_000), Cancel::new());
        let (begun, signal) = (Instant::now(), cancel.clone());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            signal.cancel();
        });
        let error = connector.connect_until(Purpose::Look, &cancel).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
