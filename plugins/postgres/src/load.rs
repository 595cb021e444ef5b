//! Rows into the server by COPY BINARY. As a rule a chunk is one COPY, which stays open from its
//! first batch to its end, so that the server works while the next rows are encoded. If it refuses
//! a row then, it does not say which: the host replays the chunk, and this chunk and some after it
//! are written by `bisect`, batch by batch. Rows that depend on the table's content (keys, casts)
//! are always written that way.

use arrow_array::RecordBatch;
use transload_plugin_api::{Error, Result, Written};
use transload_tables::BulkLoadPolicy;

use crate::{
    bisect, blocker,
    encode::{Encoded, HEADER, TRAILER, encode},
    failure::{Failure, row_fault, sentence},
    load_plan::LoadPlan,
    mark::{self, Mark},
    session::Session,
};

/// Loads batches over one session.
pub(crate) struct Loader {
    plan: LoadPlan,
    encoded: Encoded,
    /// Rows sent by the open chunk's COPY, if it has begun.
    sent: Option<u64>,
    policy: BulkLoadPolicy,
    /// The target's number.
    target: u32,
    /// When the session's server began to work, which another start changes.
    server: String,
}

impl Loader {
    pub(crate) fn new(plan: LoadPlan, target: u32) -> Self {
        let (encoded, policy) = (Encoded::default(), BulkLoadPolicy::default());
        Self { plan, encoded, sent: None, policy, target, server: String::new() }
    }

    /// Sends the encoded rows by the chunk's COPY.
    fn send(&mut self, session: &mut Session) -> Result<(), Failure> {
        let sent = match self.sent {
            Some(sent) => sent,
            None => {
                session.begin_copy_in(&self.plan.copy)?;
                session.send_copy(HEADER)?;
                0
            }
        };
        self.sent = Some(sent + self.encoded.rows.len() as u64);
        session.send_copy(&self.encoded.bytes)
    }

    /// What ends the chunk, with the holders of the lock that it waited for.
    fn failed(&self, session: &mut Session, failure: Failure) -> Error {
        let error = failure.into_error("write rows", session.cancel());
        blocker::named(session, self.target, error)
    }
}

impl transload_tables::Loader<Session> for Loader {
    type Mark = Mark;

    fn prepare(&mut self, session: &mut Session) -> Result<()> {
        let doing = "prepare the load";
        if let Some(detour) = &self.plan.detour {
            session.run(doing, &detour.make)?;
        }
        self.server = mark::server(session)?;
        Ok(())
    }

    fn write(&mut self, session: &mut Session, batch: &RecordBatch) -> Result<Written> {
        session.cancel().check()?;
        encode(batch, &self.plan.columns, self.plan.suffix, &mut self.encoded)?;
        if self.plan.detour.is_some() || self.policy.is_careful() {
            let written = bisect::write(session, &self.plan, &mut self.encoded);
            return written.map_err(|error| blocker::named(session, self.target, error));
        }
        self.send(session).map_err(|failure| self.failed(session, failure))?;
        let inserted = self.encoded.rows.len() as u64;
        let dirty = std::mem::take(&mut self.encoded.dirty);
        Ok(Written { inserted, dirty, ..Written::default() })
    }

    fn complete(&mut self, session: &mut Session) -> Result<()> {
        let Some(sent) = self.sent.take() else {
            self.policy.passed();
            return Ok(());
        };
        session.cancel().check()?;
        let ended = session.send_copy(TRAILER).and_then(|()| session.end_copy());
        let error = match ended {
            Ok(taken) if taken == sent => {
                self.policy.passed();
                return Ok(());
            }
            Ok(taken) => format!("the server took {taken} of {sent} rows"),
            Err(failure) => match failure.server().and_then(row_fault) {
                Some(fault) => format!("the server refused a row: {}", sentence(&fault.reason)),
                None => return Err(self.failed(session, failure)),
            },
        };
        self.policy.refused();
        Err(Error::retry(error))
    }

    fn mark(&mut self, session: &mut Session) -> Mark {
        Mark { transaction: session.transaction(), server: self.server.clone() }
    }

    fn is_same_server(&self, mark: &Mark) -> bool {
        self.server == mark.server
    }

    fn is_in(
        &mut self,
        session: &mut Session,
        mark: &Mark,
        confirmed: bool,
    ) -> Result<Option<bool>> {
        let is_same = self.is_same_server(mark);
        match mark.outcome(session)? {
            // Another transaction may have got the number of one that a crash has forgotten.
            Some(true) if !is_same && !confirmed => Ok(None),
            Some(true) if !is_same => Ok(Some(!mark::is_unlogged(session, self.target)?)),
            found => Ok(found),
        }
    }

    /// The session gives the COPY up when it gets the next statement.
    fn discard(&mut self, _session: &mut Session) {
        self.sent = None;
    }
}
