//! Rows into the server by COPY BINARY. As a rule a chunk is one COPY, which stays open from its
//! first batch to its end, so that the server works while the next rows are encoded. If it refuses
//! a row then, nobody knows which: the chunk is asked for again, and it and some more go by the
//! careful way of `bisect`, batch by batch. Rows that have to meet what is there (keys, casts)
//! always go that way.

use arrow_array::RecordBatch;
use transload_plugin_api::{Error, ErrorKind, Result, Written};
use transload_tables::BulkLoadPolicy;

use crate::{
    bisect,
    encode::{Encoded, HEADER, TRAILER, encode},
    failure::{Failure, row_fault, sentence},
    load_plan::{APPLY, LoadPlan},
    session::Session,
};

/// Loads batches over one session.
pub(crate) struct Loader {
    plan: LoadPlan,
    encoded: Encoded,
    /// Rows sent by the open chunk's COPY, if it has begun.
    sent: Option<u64>,
    care: BulkLoadPolicy,
}

impl Loader {
    pub(crate) fn new(plan: LoadPlan) -> Self {
        Self { plan, encoded: Encoded::default(), sent: None, care: BulkLoadPolicy::default() }
    }

    /// Makes the session ready; outside a transaction, again after a reconnect.
    pub(crate) fn prepare(&mut self, session: &mut Session) -> Result<()> {
        let doing = "prepare the load";
        if let Some(detour) = &self.plan.detour {
            session.run(doing, &detour.make)?;
            session.prepare(doing, APPLY, &detour.apply)?;
        }
        Ok(())
    }

    /// Loads a batch inside the open transaction. What it counts holds once [`Loader::complete`]
    /// has succeeded.
    pub(crate) fn write(&mut self, session: &mut Session, batch: &RecordBatch) -> Result<Written> {
        session.cancel().check()?;
        encode(batch, &self.plan.columns, self.plan.suffix, &mut self.encoded)?;
        if self.plan.detour.is_some() || self.care.is_careful() {
            return bisect::write(session, &self.plan, &mut self.encoded);
        }
        self.send(session).map_err(|failure| failure.into_error("write rows", session.cancel()))?;
        let inserted = self.encoded.rows.len() as u64;
        let dirty = std::mem::take(&mut self.encoded.dirty);
        Ok(Written { inserted, dirty, ..Written::default() })
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

    /// Ends the chunk's COPY, before its commit.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] if the server has not taken every row.
    pub(crate) fn complete(&mut self, session: &mut Session) -> Result<()> {
        let Some(sent) = self.sent.take() else { return Ok(()) };
        session.cancel().check()?;
        let ended = session.send_copy(TRAILER).and_then(|()| session.end_copy());
        let error = match ended {
            Ok(taken) if taken == sent => return Ok(()),
            Ok(taken) => format!("the server took {taken} of {sent} rows"),
            Err(failure) => match failure.server().and_then(row_fault) {
                Some(fault) => format!("the server refused a row: {}", sentence(&fault.reason)),
                None => return Err(failure.into_error("write rows", session.cancel())),
            },
        };
        self.care.refused();
        Err(Error::new(ErrorKind::Retry, error))
    }

    /// Forgets the open chunk.
    pub(crate) fn forget(&mut self) {
        self.sent = None;
    }

    /// A chunk has been committed.
    pub(crate) fn committed(&mut self) {
        self.care.passed();
    }
}
