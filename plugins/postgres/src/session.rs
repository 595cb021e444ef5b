//! One connection to the server, used from one thread at a time: the driver runs on the calling
//! thread, so nothing is handed between threads. A stop signal ends whatever is being waited for
//! and asks the server to cancel it.

use std::{
    future::Future,
    io,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use tokio::{runtime::Runtime, sync::Notify};
use tokio_postgres::{
    CancelToken, Client, Config, Error as PgError, NoTls,
    config::SslMode,
    types::{FromSqlOwned, ToSql},
};
use transload_plugin_api::{Cancel, Error, ErrorKind, Host, Result};
use transload_tables::TlsMode;

use crate::{
    failure::failure,
    link::{Link, Rows, Socket, connect},
    options::Address,
    tls::Tls,
};

/// How long cleaning up may take after a stop signal.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Settings that make results independent of the server's defaults and of the time zone.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; \
    SET lc_monetary = 'C'; SET standard_conforming_strings = on; SET statement_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0";

/// The code of errors before the server was spoken to: it was not reached, or not by TLS.
pub(crate) const NOT_OPEN: &str = "PG-NOT-OPEN";

/// An open connection.
pub(crate) struct Session {
    runtime: Runtime,
    pub(crate) client: Client,
    /// Of a COPY to us that is under way.
    pub(crate) rows: Rows,
    cancel: Cancel,
    stop: Arc<Stop>,
}

/// What the stop signal reaches for.
struct Stop {
    woken: Notify,
    token: CancelToken,
    door: Door,
}

/// Where and how connections are made.
struct Door {
    host: String,
    port: u16,
    /// `None`: in plain text.
    tls: Option<Tls>,
}

impl Door {
    fn new(address: &Address) -> Result<Self> {
        let tls = match address.tls.mode {
            TlsMode::Disable => None,
            _ => Some(Tls::new(address).map_err(|error| error.with_code(NOT_OPEN))?),
        };
        Ok(Self { host: address.host.clone(), port: address.port, tls })
    }

    async fn open(&self) -> io::Result<Link> {
        let stream = connect(&self.host, self.port).await?;
        let socket = match &self.tls {
            None => Socket::Plain(stream),
            Some(tls) => tls.start(stream, &self.host).await?,
        };
        Ok(Link::new(socket))
    }
}

impl Session {
    /// Connects and logs in. `extra` is one more batch of settings.
    pub(crate) fn open(address: &Address, host: &Host, extra: &str) -> Result<Self> {
        Self::open_until(address, host, host.cancel(), extra)
    }

    /// As [`Session::open`], for cleaning up after a stop signal.
    pub(crate) fn open_regardless(address: &Address, host: &Host, extra: &str) -> Result<Self> {
        Self::open_until(address, host, &Cancel::new(), extra)
    }

    fn open_until(address: &Address, host: &Host, cancel: &Cancel, extra: &str) -> Result<Self> {
        cancel.check()?;
        let runtime = runtime()?;
        let door = Door::new(address)?;
        let config = config(address, host)?;
        let (client, rows) = runtime
            .block_on(async {
                let opened = tokio::time::timeout(address.connect_timeout, log_in(&door, &config));
                opened.await.map_err(|_| NotOpen::Late)?
            })
            .map_err(|reason| not_connected(address, reason))?;
        let stop = Arc::new(Stop { woken: Notify::new(), token: client.cancel_token(), door });
        let weak = Arc::downgrade(&stop);
        cancel.on_cancel(move || interrupt(&weak));
        let session = Self { runtime, client, rows, cancel: cancel.clone(), stop };
        session.batch("prepare the session", &format!("{SETTINGS}; {extra}"))?;
        Ok(session)
    }

    /// Opens a session that can only read.
    pub(crate) fn open_to_read(address: &Address, host: &Host) -> Result<Self> {
        Self::open(address, host, "SET default_transaction_read_only = on")
    }

    /// Waits for an answer, or for the stop signal.
    pub(crate) fn wait<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, E>> {
        self.cancel.check()?;
        let outcome = self.runtime.block_on(async {
            tokio::select! {
                biased;
                outcome = future => Some(outcome),
                () = self.stop.woken.notified() => None,
            }
        });
        // The server says "canceled" to what our own request has ended.
        if !matches!(outcome, Some(Ok(_))) {
            self.cancel.check()?;
        }
        outcome.ok_or_else(|| Error::new(ErrorKind::Cancelled, "stopped on request"))
    }

    /// As [`Session::wait`], the server's error told as ours.
    pub(crate) fn run<T>(
        &self,
        doing: &str,
        future: impl Future<Output = Result<T, PgError>>,
    ) -> Result<T> {
        self.wait(future)?.map_err(|error| failure(doing, &error))
    }

    /// Statements without results, by the simple protocol.
    pub(crate) fn batch(&self, doing: &str, sql: &str) -> Result<()> {
        self.run(doing, self.client.batch_execute(sql))
    }

    /// As [`Session::batch`], for cleaning up: not ended by a stop signal, but by a time limit.
    pub(crate) fn last_words(&self, doing: &str, sql: &str) -> Result<()> {
        let said = self.runtime.block_on(async {
            // A timer needs the event loop to be running when it is made.
            tokio::time::timeout(LAST_WORDS, self.client.batch_execute(sql)).await
        });
        match said {
            Ok(outcome) => outcome.map_err(|error| failure(doing, &error)),
            Err(_) => {
                let message = format!("{doing}: no answer in {} s", LAST_WORDS.as_secs());
                Err(Error::new(ErrorKind::Connection, message))
            }
        }
    }

    /// The rows of a query of ours.
    pub(crate) fn query(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>> {
        self.run(doing, self.client.query(sql, parameters))
    }

    /// The one value of a query of ours.
    pub(crate) fn value<T: FromSqlOwned>(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T> {
        self.run(doing, self.client.query_one_scalar(sql, parameters))
    }

    /// Whether the connection has been lost.
    pub(crate) fn is_lost(&self) -> bool {
        // The driver notices while it runs and never else: a few turns, without waiting.
        self.runtime.block_on(async {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        });
        self.client.is_closed()
    }

    /// The stop signal.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

/// Wakes the thread that waits, and asks the server to stop, from a thread of its own because
/// that needs a new connection.
fn interrupt(stop: &Weak<Stop>) {
    let Some(stop) = stop.upgrade() else { return };
    stop.woken.notify_one();
    thread::spawn(move || {
        let Ok(runtime) = runtime() else { return };
        let asked = async {
            let link = stop.door.open().await.ok()?;
            stop.token.cancel_query_raw(link, NoTls).await.ok()
        };
        // Without an answer the lost connection does the same, only later.
        let _ = runtime.block_on(async { tokio::time::timeout(LAST_WORDS, asked).await });
    });
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| Error::from(error).at("the driver's event loop"))
}

fn config(address: &Address, host: &Host) -> Result<Config> {
    let mut config = Config::new();
    config
        .host(&address.host)
        .port(address.port)
        .dbname(&address.database)
        .user(&address.user)
        .application_name(&address.application_name)
        // What TLS there is is part of the link.
        .ssl_mode(SslMode::Disable);
    if let Some(password) = host.secret("password")? {
        config.password(password.expose());
    }
    Ok(config)
}

/// Connects, on the calling thread's event loop, where the driver then runs.
async fn log_in(door: &Door, config: &Config) -> Result<(Client, Rows), NotOpen> {
    let link = door.open().await.map_err(NotOpen::Unreached)?;
    let rows = link.rows();
    let (client, connection) = config.connect_raw(link, NoTls).await.map_err(NotOpen::Refused)?;
    // Its end shows at the client; there is nobody else to tell.
    tokio::spawn(async move { drop(connection.await) });
    Ok((client, rows))
}

/// Why there is no session.
enum NotOpen {
    Late,
    Unreached(io::Error),
    Refused(PgError),
}

fn not_connected(address: &Address, reason: NotOpen) -> Error {
    let failed =
        |words: String| Error::new(ErrorKind::Connection, format!("cannot connect: {words}"));
    let mut made = match &reason {
        NotOpen::Refused(error) if error.as_db_error().is_some() => failure("log in", error),
        NotOpen::Refused(error) => failed(innermost(error)).caused_by(error),
        NotOpen::Unreached(error) => failed(error.to_string()).caused_by(error).with_code(NOT_OPEN),
        NotOpen::Late => failed(format!("no answer in {} s", address.connect_timeout.as_secs())),
    };
    if address.tls.mode != TlsMode::Disable && made.hint.is_none() {
        let hint = "if the server has no TLS or a certificate of its own, see `tls` and `ca_file`";
        made.hint = Some(hint.to_owned());
    }
    made.at(format!("{}:{}", address.host, address.port))
}

fn innermost(error: &PgError) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(next) = deepest.source() {
        deepest = next;
    }
    deepest.to_string()
}
