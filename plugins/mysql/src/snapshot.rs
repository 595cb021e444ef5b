//! One state of a table for several splits. These servers have no snapshot that a second session
//! could enter, so transactions are begun while the table is locked, and their sessions are held until their splits
//! are read.

use std::collections::HashMap;

use parking_lot::Mutex;
use transload_plugin_api::{Error, Result};

use crate::{
    catalog::Table,
    connect::{Connector, Purpose},
    failure::Failure,
    random::random,
    session::Session,
    stage::in_full,
};

/// What reading begins with.
pub(crate) const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Sessions that hold a state, by name.
#[derive(Default)]
pub(crate) struct Snapshots(Mutex<HashMap<String, Session>>);

/// The outcome of [`Snapshots::begin`].
pub(crate) enum Begun {
    /// These names stand for sessions that all see it.
    Held(Vec<String>),
    /// The table cannot be locked; why, in words.
    Refused(String),
}

impl Snapshots {
    /// Begins `count` sessions that see one state of the table; earlier ones end. `looking` holds the
    /// lock meanwhile: it waits for transactions that have written the table, and keeps others out.
    pub(crate) fn begin(
        &self,
        connector: &Connector,
        looking: &mut Session,
        table: &Table,
        count: usize,
    ) -> Result<Begun> {
        let mut sessions: Vec<_> = (0..count).map(|_| waiting(connector)).collect::<Result<_>>()?;
        if let Some(reason) = lock(looking, table)? {
            return Ok(Begun::Refused(reason));
        }
        let begun: Result<()> = sessions
            .iter_mut()
            .try_for_each(|session| session.run("begin a snapshot", BEGIN).map(drop));
        looking.run("unlock the table", "UNLOCK TABLES")?;
        begun?;
        let run = random()?;
        let named = sessions.into_iter().enumerate();
        let named = named.map(|(at, session)| (format!("{run:016x}-{at}"), session));
        let mut held = self.0.lock();
        *held = named.collect();
        let mut names: Vec<_> = held.keys().cloned().collect();
        names.sort();
        Ok(Begun::Held(names))
    }

    /// The session of that name, for one reading.
    pub(crate) fn take(&self, name: &str) -> Result<Session> {
        self.0.lock().remove(name).ok_or_else(|| {
            Error::retry("the snapshot that the splits share ended with its session")
                .hint("run the job again: a snapshot is held for one reading of each split")
        })
    }
}

/// A session that may wait for its split's turn.
fn waiting(connector: &Connector) -> Result<Session> {
    let mut session = connector.connect(Purpose::Look)?;
    session.run("prepare a snapshot", "SET SESSION wait_timeout = 28800")?;
    Ok(session)
}

/// Locks the table against writing; the reason, in words, if that is not possible.
fn lock(looking: &mut Session, table: &Table) -> Result<Option<String>> {
    looking.run("prepare a snapshot", "SET SESSION lock_wait_timeout = 10")?;
    match looking.try_run(&format!("LOCK TABLES {} READ", in_full(&table.name))) {
        Ok(_) => Ok(None),
        Err(Failure::Server(error)) if matches!(error.number, 1044 | 1142 | 1205 | 1227) => {
            Ok(Some(format!(" (one split: the table cannot be locked for a moment: {error})")))
        }
        Err(failure) => Err(failure.into_error("lock the table", &looking.cancel)),
    }
}
