//! Whether a server whose connection is silent is still at work: a second connection asks it. A
//! long sort, a wait for a lock or a slow disk is no reason to give a statement up; a session that
//! has ended, a server that has answered already, or one that cannot be reached is.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use transload_plugin_api::{Cancel, ErrorKind, Result};

use crate::{
    blocker,
    connect::Connector,
    stream::{Activity, Idle, Liveness},
};

/// How long the server may take to answer on the second connection.
const LIMIT: Duration = Duration::from_secs(5);

/// One session, as the server knows it.
struct Watched {
    connector: Connector,
    cancel: Cancel,
    /// The server's process; `None` behind a pooler, which may use another one for each transaction.
    process: Option<i32>,
}

/// What is done about silence on a connection.
pub(crate) fn idle(connector: &Connector, cancel: &Cancel, process: Option<i32>) -> Idle {
    let (connector, cancel) = (connector.clone(), cancel.clone());
    let timeout = connector.address.idle_timeout;
    Idle { timeout, liveness: Arc::new(Watched { connector, cancel, process }) }
}

impl Watched {
    fn ask(&self) -> Result<Activity> {
        let deadline = Instant::now() + LIMIT.min(self.connector.address.connect_timeout);
        let mut session = self.connector.open(deadline, &self.cancel)?;
        let Some(process) = self.process else { return Ok(Activity::AtWork) };
        // The state is NULL where this login may not see it.
        let sql = "SELECT coalesce(state <> 'active' OR wait_event_type = 'Client', false) \
                   FROM pg_catalog.pg_stat_activity WHERE pid = $1";
        let rows = session.rows("look for the session", sql, &[&process.to_string()])?;
        let gone = || transload_plugin_api::Error::connection("the server has ended the session");
        if rows.first().ok_or_else(gone)?.flag(0)? {
            return Ok(Activity::Waiting);
        }
        Ok(match blocker::of_process(&mut session, process)? {
            Some(holders) => Activity::Blocked(holders),
            None => Activity::AtWork,
        })
    }
}

impl Liveness for Watched {
    fn look(&self) -> io::Result<Activity> {
        match self.ask() {
            Ok(activity) => Ok(activity),
            // A server that refuses the second connection, such as for their number, is there.
            Err(error) if error.kind != ErrorKind::Connection || error.code == "PG-53300" => {
                Ok(Activity::AtWork)
            }
            Err(error) => {
                let seconds = self.connector.address.idle_timeout.as_secs_f64();
                let text = format!("no response in {seconds} s, and another connection: {error}");
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        }
    }
}
