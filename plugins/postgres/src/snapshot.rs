//! One state of the database for all splits of a job: a session holds a transaction open and
//! exports its snapshot, the sessions that read splits import it.

use parking_lot::Mutex;
use transload_plugin_api::{Error, Result};
use transload_tables::Snapshot;

use crate::{connect::Connector, dialect::literal, session::Session};

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The exported snapshot, once a split needs one.
#[derive(Default)]
pub(crate) struct SharedSnapshot(Mutex<Option<Exported>>);

/// The snapshot lives as long as the session that exported it.
struct Exported {
    session: Session,
    name: String,
}

impl SharedSnapshot {
    /// The snapshot's name; a new one if the session that held the last one was lost.
    pub(crate) fn name(&self, connector: &Connector) -> Result<String> {
        let mut held = self.0.lock();
        if let Some(exported) = &mut *held
            && !exported.session.is_lost()
        {
            return Ok(exported.name.clone());
        }
        let mut session = connector.connect()?;
        session.run("begin a snapshot", BEGIN)?;
        let name = export(&mut session)?;
        *held = Some(Exported { session, name: name.clone() });
        Ok(name)
    }
}

fn export(session: &mut Session) -> Result<String> {
    session.text("export a snapshot", "SELECT pg_catalog.pg_export_snapshot()", &[])
}

/// Whether this login can export a snapshot here: `check` asks.
pub(crate) fn attempt(session: &mut Session) -> Result<()> {
    session.run("begin", BEGIN)?;
    let exported = export(session);
    session.run("end", "ROLLBACK")?;
    exported.map(drop)
}

/// Begins to read, in the snapshot if it is a shared one.
pub(crate) fn enter(session: &mut Session, snapshot: &Snapshot) -> Result<()> {
    let Snapshot::Shared(name) = snapshot else { return session.run("begin to read", BEGIN) };
    let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {}", literal(name));
    session.run("enter the snapshot", &sql).map_err(|error| {
        let gone = matches!(error.code.as_str(), "PG-22023" | "PG-42704");
        if !gone {
            return error;
        }
        // Run again, the job exports a new one.
        Error::retry("the session that held the snapshot of all splits was lost")
            .caused_by(&error)
            .hint("run the job again")
    })
}
