//! Opens a driver's database and connections to it. A database is open once in this process,
//! however many readers and writers use it: an embedded one locks its file.

use std::{
    collections::HashMap,
    fmt::Write as _,
    hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState},
    sync::{Arc, LazyLock, Weak, mpsc},
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use transload_plugin_api::{Cancel, Error, Host, Result, Waiting, code};
use zeroize::Zeroizing;

use crate::{
    driver::{Connection, Database, Driver, Failure},
    failure::{Hidden, failed, is_secret, not_loaded},
    locate::{Located, SearchPath, locate},
    options::ConnectionOptions,
    session::Session,
};

/// What the driver is told of one database.
type Settings = Vec<(String, zeroize::Zeroizing<String>)>;

/// The databases that were opened, by a hash of driver and settings.
static OPEN: LazyLock<Mutex<HashMap<u64, Arc<Slot>>>> = LazyLock::new(Mutex::default);
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// One store that a job names.
pub(crate) struct Store {
    pub(crate) options: ConnectionOptions,
    pub(crate) host: Host,
}

impl Store {
    pub(crate) fn new(options: ConnectionOptions, host: &Host) -> Self {
        Self { options, host: host.clone() }
    }

    /// The driver's library.
    pub(crate) fn locate(&self) -> Result<Located> {
        let search = SearchPath::new(&self.options.additional_search_path);
        locate(&self.options.driver, self.options.entrypoint.as_deref(), &search)
    }

    /// The driver.
    pub(crate) fn load(&self, located: &Located) -> Result<Arc<Driver>> {
        let place = located.library.display().to_string();
        Driver::load(&located.library, &located.entrypoints)
            .map_err(|failure| not_loaded(&place, &failure, &Hidden::default()))
    }

    /// What the database is told, and what of it no message may show.
    fn settings(&self) -> Result<(Settings, Hidden)> {
        let (options, mut settings, mut hidden) =
            (&self.options, Settings::new(), Hidden::default());
        let mut add = |key: &str, value: &str| {
            settings.push((key.to_owned(), value.to_owned().into()));
        };
        let password = self.host.secret("password")?;
        let in_uri = password.as_ref().zip(options.uri.as_ref());
        let in_uri = in_uri.and_then(|(password, uri)| with_password(uri, password.expose()));
        if let Some(uri) = in_uri.as_deref().or(options.uri.as_ref()) {
            hidden.add_uri(uri);
            add("uri", uri);
        }
        if let Some(username) = &options.username {
            add("username", username);
        }
        if let Some(password) = password {
            hidden.add(password.expose());
            if in_uri.is_none() {
                add("password", password.expose());
            }
        }
        let maps = [&options.options, &options.connection_options, &options.statement_options];
        for (key, value) in maps.into_iter().flatten() {
            if is_secret(key) {
                hidden.add(value);
            }
            hidden.add_uri(value);
        }
        for (key, value) in &options.options {
            add(key, value);
        }
        Ok((settings, hidden))
    }

    /// A session. `cancel` ends the waiting for it, and what it runs.
    pub(crate) fn connect(&self, cancel: &Cancel) -> Result<Session> {
        let located = self.locate()?;
        let driver = self.load(&located)?;
        self.connect_by(&located, driver, cancel)
    }

    /// As [`Store::connect`], by a driver that is loaded.
    pub(crate) fn connect_by(
        &self,
        located: &Located,
        driver: Arc<Driver>,
        cancel: &Cancel,
    ) -> Result<Session> {
        cancel.check()?;
        let (settings, hidden) = self.settings()?;
        let library = located.library.clone();
        let options = self.options.connection_options.clone();
        let (send, opened) = mpsc::sync_channel(1);
        // A driver that waits for a silent server cannot be interrupted: the thread stays behind.
        thread::Builder::new()
            .name("adbc connect".to_owned())
            .spawn(move || {
                let mut hasher = HASHES.build_hasher();
                library.hash(&mut hasher);
                for (key, value) in &settings {
                    (key, value.as_str()).hash(&mut hasher);
                }
                let connection = shared(hasher.finish(), &driver, &settings)
                    .and_then(|database| Connection::open(&database, pairs(&options)));
                let _ = send.send(connection); // nobody waits after the deadline
            })
            .map_err(Error::from)?;
        let connection = self.wait(&opened, cancel)?;
        let connection =
            connection.map_err(|failure| failed("connect", &failure, &hidden).of_key("driver"))?;
        let statement_options = self.options.statement_options.clone();
        Ok(Session::new(connection, statement_options, hidden, cancel))
    }

    fn wait<T>(&self, opened: &mpsc::Receiver<T>, cancel: &Cancel) -> Result<T> {
        let _shown =
            Waiting::new(format!("connecting by the ADBC driver `{}`", self.options.driver));
        let (begun, timeout) = (Instant::now(), self.options.connect_timeout());
        loop {
            if let Ok(found) = opened.recv_timeout(Duration::from_millis(50)) {
                return Ok(found);
            }
            cancel.check()?;
            if begun.elapsed() >= timeout {
                let message = format!("the driver did not connect within {timeout:?}");
                return Err(Error::connection(message)
                    .with_code(code::ADBC_TIMEOUT)
                    .hint("check the address in `uri`, or raise `connect_timeout`"));
            }
        }
    }
}

/// The open database of that hash, or a new one. One that is being closed is waited for: its file
/// must not be open twice.
fn shared(hash: u64, driver: &Arc<Driver>, settings: &Settings) -> Result<Arc<Database>, Failure> {
    let slot = Arc::clone(OPEN.lock().entry(hash).or_default());
    let mut state = slot.state.lock();
    loop {
        if let Some(database) = state.database.upgrade() {
            return Ok(database);
        }
        if !state.is_open {
            break;
        }
        slot.closed.wait(&mut state);
    }
    state.is_open = true;
    let closing = Arc::clone(&slot);
    // A failed opening closes as well, on this thread, which holds the lock.
    drop(state);
    let settings = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let opened = Database::open(driver, settings, Box::new(move || closing.close()));
    match opened {
        Ok(database) => {
            slot.state.lock().database = Arc::downgrade(&database);
            slot.closed.notify_all();
            Ok(database)
        }
        Err(failure) => {
            slot.close();
            Err(failure)
        }
    }
}

/// The place of one database.
#[derive(Default)]
struct Slot {
    state: Mutex<SlotState>,
    closed: Condvar,
}

#[derive(Default)]
struct SlotState {
    /// Being opened, open, or being closed.
    is_open: bool,
    database: Weak<Database>,
}

impl Slot {
    fn close(&self) {
        self.state.lock().is_open = false;
        self.closed.notify_all();
    }
}

/// Options as a driver takes them.
pub(crate) fn pairs(
    options: &std::collections::BTreeMap<String, String>,
) -> impl Iterator<Item = (&str, &str)> {
    options.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

/// A URI such as `postgresql://user@host/database` with the password behind the user, as drivers expect it
/// that take no password beside the URI. `None` for other forms, and if it has a password.
fn with_password(uri: &str, password: &str) -> Option<Zeroizing<String>> {
    let (scheme, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@').filter(|(user, _)| !user.contains(':'))?;
    let mut made = Zeroizing::new(format!("{scheme}://{user}:"));
    for byte in password.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            made.push(char::from(byte));
        } else {
            let _ = write!(made, "%{byte:02X}");
        }
    }
    made.push_str(&rest[user.len()..]);
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_behind_the_user_of_a_uri() {
        for (uri, password, expected) in [
            ("postgresql://me@db:5432/x?a=b@c", "p", Some("postgresql://me:p@db:5432/x?a=b@c")),
            ("postgresql://me@db", "p@:/%é", Some("postgresql://me:p%40%3A%2F%25%C3%A9@db")),
            ("postgresql://me:old@db", "p", None),
            ("postgresql://db/x?user=me@y", "p", None),
            ("host=db user=me", "p", None),
        ] {
            let made = with_password(uri, password);
            assert_eq!(made.as_ref().map(|made| made.as_str()), expected, "{uri}");
        }
    }
}
