//! The stages of connecting to a server (name, port, TLS, login, rights) as findings of `check`.
//! Nothing is tried after the first stage that fails. The stages that need a driver are the
//! plugins' part.

#[cfg(feature = "tls")]
use std::path::Path;
use std::{
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use transload_plugin_api::{Error, Finding};
#[cfg(feature = "tls")]
use {crate::tcp::connect_socket, transload_plugin_api::Cancel};

/// The findings so far.
#[derive(Clone, Debug, Default)]
pub struct ConnectionStages(Vec<Finding>);

impl ConnectionStages {
    /// Adds the outcome of a stage; `Some` if it succeeded.
    pub fn add<T>(
        &mut self,
        stage: &str,
        outcome: Result<T, Error>,
        words: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (ok, detail) = match &outcome {
            Ok(value) => (true, words(value)),
            Err(error) => (false, with_hint(error)),
        };
        self.0.push(Finding { stage: stage.to_owned(), ok, detail });
        outcome.ok()
    }

    /// Adds a stage whose outcome is text; whether it succeeded.
    pub fn report(&mut self, stage: &str, outcome: Result<String, Error>) -> bool {
        self.add(stage, outcome, Clone::clone).is_some()
    }

    /// The stages `name resolution` and `tcp`: whether the port accepts a connection in time.
    pub fn reach(&mut self, host: &str, port: u16, timeout: Duration) -> bool {
        let resolved = (host, port).to_socket_addrs().map_err(Error::from).and_then(|found| {
            let found: Vec<_> = found.collect();
            match found.is_empty() {
                true => Err(Error::from(std::io::Error::other("the name has no address"))),
                false => Ok(found),
            }
        });
        let words = |found: &Vec<std::net::SocketAddr>| {
            let addresses: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
            format!("`{host}` is {}", addresses.join(", "))
        };
        let Some(found) = self.add("name resolution", resolved, words) else { return false };
        let mut reached = Err(Error::from(std::io::Error::other("nothing answers")));
        for address in found {
            reached = TcpStream::connect_timeout(&address, timeout)
                .map(|_| format!("{address} answers"))
                .map_err(|error| Error::from(error).at(address.to_string()));
            if reached.is_ok() {
                break;
            }
        }
        let reached =
            reached.map_err(|error| error.hint("is the server running, and is `port` right?"));
        self.report("tcp", reached)
    }

    /// The stage `socket`: whether the Unix socket accepts a connection.
    #[cfg(feature = "tls")]
    pub fn reach_socket(&mut self, file: &Path, timeout: Duration) -> bool {
        let reached = connect_socket(file, timeout, &Cancel::new());
        let words = |_: &TcpStream| format!("`{}` answers", file.display());
        self.add("socket", reached, words).is_some()
    }

    /// All findings.
    pub fn into_findings(self) -> Vec<Finding> {
        self.0
    }
}

/// An error with its hint, in one line.
fn with_hint(error: &Error) -> String {
    match &error.hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn stages(found: ConnectionStages) -> Vec<(String, bool)> {
        found.into_findings().into_iter().map(|it| (it.stage, it.ok)).collect()
    }

    #[test]
    fn a_port_that_answers_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut found = ConnectionStages::default();
        assert!(found.reach("127.0.0.1", port, LONG));
        assert_eq!(stages(found), [("name resolution".into(), true), ("tcp".into(), true)]);
        drop(listener);
        let mut found = ConnectionStages::default();
        assert!(!found.reach("127.0.0.1", port, LONG));
        assert_eq!(stages(found), [("name resolution".into(), true), ("tcp".into(), false)]);
    }

    #[test]
    fn a_name_that_is_none_is_not_tried_further() {
        let mut found = ConnectionStages::default();
        assert!(!found.reach("not a name", 1, LONG));
        assert_eq!(stages(found), [("name resolution".into(), false)]);
    }

    #[test]
    fn errors_bring_their_hints() {
        let mut found = ConnectionStages::default();
        let error = Error::connection("no").at("here").hint("try again");
        assert!(!found.report("login", Err(error)));
        assert_eq!(found.into_findings()[0].detail, "here: no; try again");
    }
}
