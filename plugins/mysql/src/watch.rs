//! Whether a server that has been silent for a while still works. A statement may take hours before
//! its first byte, so silence alone proves nothing: the server is asked over another connection.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use transload_plugin_api::{Cancel, Host};

use crate::{
    connect::{ConnectError, log_in},
    failure::Failure,
    options::Address,
};

/// Asks about one session.
pub(crate) struct Watch {
    pub(crate) address: Arc<Address>,
    pub(crate) host: Host,
    pub(crate) cancel: Cancel,
    /// The session's number on the server; `None` behind a proxy that has numbers of its own.
    pub(crate) id: Option<u32>,
    /// How long nothing may move before the server is asked.
    pub(crate) idle: Duration,
    /// How long the answer may take.
    pub(crate) limit: Duration,
}

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs the statement.
    Works,
    /// It waits for the client, as the client waits for it.
    Waits,
}

impl Watch {
    /// A watch that finds a lost session within this time.
    pub(crate) fn new(
        address: &Arc<Address>,
        host: &Host,
        cancel: &Cancel,
        id: Option<u32>,
    ) -> Self {
        let limit = address.idle_timeout / 3;
        let idle = address.idle_timeout.saturating_sub(limit).max(Duration::from_millis(1));
        let (address, host, cancel) = (Arc::clone(address), host.clone(), cancel.clone());
        Self { address, host, cancel, id, idle, limit }
    }

    /// Asks the server. An error if it is gone, or if the session is.
    pub(crate) fn ask(&self) -> io::Result<Verdict> {
        let deadline = Instant::now() + self.limit;
        let mut session = match log_in(&self.address, &self.host, &self.cancel, deadline, false) {
            Ok(session) => session,
            // It is there, and has no connection to spare.
            Err(ConnectError::Login(Failure::Server(_))) => return Ok(Verdict::Works),
            Err(_) => return Err(self.silent("and cannot be reached any more")),
        };
        let Some(id) = self.id else { return Ok(Verdict::Works) };
        let sql =
            format!("SELECT command, state FROM information_schema.processlist WHERE id = {id}");
        let rows = session.rows("ask about a session", &sql);
        let rows = rows.map_err(|_| self.silent("and does not respond on another connection"))?;
        let Some(row) = rows.into_iter().next() else {
            return Err(self.silent("and has ended the session"));
        };
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let (command, state) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        Ok(if waits(&command, &state) { Verdict::Waits } else { Verdict::Works })
    }

    fn silent(&self, words: &str) -> io::Error {
        let seconds = self.idle.as_secs_f64();
        let text = format!("the server was silent for {seconds:.1} s {words}");
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

/// Whether the server waits for the client, in the words of MySQL and MariaDB.
fn waits(command: &str, state: &str) -> bool {
    const NETWORK: [&str; 4] =
        ["Sending to client", "Receiving from client", "Writing to net", "Reading from net"];
    command == "Sleep" || NETWORK.contains(&state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_waits_for_the_client_is_told_from_one_that_works() {
        for (command, state, verdict) in [
            ("Sleep", "", true),
            ("Execute", "Sending to client", true),
            ("Query", "Writing to net", true),
            ("Query", "Sending data", false),
            ("Query", "User sleep", false),
            ("Execute", "executing", false),
        ] {
            assert_eq!(waits(command, state), verdict, "{command}: {state}");
        }
    }
}
