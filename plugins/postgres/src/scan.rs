//! The rows of one split: a COPY to us, from the link's buffer into the decoder.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
};

use futures_util::Stream;
use tokio_postgres::CopyOutStream;
use transload_plugin_api::{Column, Error, ErrorKind, Position, ReadBatch, ReadTask, Result};

use crate::{
    decode::{Decoded, Decoder},
    failure::failure,
    session::Session,
    types::Wire,
};

/// Most rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// About the most bytes of a batch, as they come.
const BATCH_BYTES: u64 = 4 << 20;

/// What is read.
pub(crate) struct ScanPlan {
    pub(crate) copy: String,
    pub(crate) columns: Vec<Column>,
    /// The form of each column's values.
    pub(crate) wires: Vec<Wire>,
    /// The table's name, for places.
    pub(crate) source: String,
}

/// Reads one split.
pub(crate) struct Scan {
    /// Tells of the COPY's end; the rows come by the session's link.
    stream: Pin<Box<CopyOutStream>>,
    decoder: Decoder,
    source: String,
    state: State,
    /// Dropped last: the stream ends with it.
    session: Session,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The server has closed the stream after its trailer.
    Done,
    Failed,
}

impl Scan {
    pub(crate) fn start(session: Session, plan: ScanPlan) -> Result<Self> {
        let ScanPlan { copy, columns, wires, source } = plan;
        let decoder = Decoder::new(&columns, &wires, BATCH_ROWS)?;
        let doing = format!("read `{source}`");
        let stream = session.run(&doing, session.client.copy_out(&copy))?;
        let stream = Box::pin(stream);
        Ok(Self { stream, decoder, source, state: State::Reading, session })
    }

    /// Reads until a batch is full or the stream is at its end.
    fn fill(&mut self) -> Result<u64> {
        let mut bytes = 0;
        let Self { stream, decoder, source, state, session } = self;
        let rows = session.rows.clone();
        let read = session.wait(poll_fn(|context| {
            while decoder.rows() < BATCH_ROWS && bytes < BATCH_BYTES {
                let decode = |waiting: &[u8]| decoder.decode(waiting, BATCH_ROWS);
                match rows.poll_take(context, decode).map_err(Stop::Data)? {
                    Poll::Ready(taken) => bytes += taken as u64,
                    // No row waits: the server is at its next one, or has come to its end.
                    Poll::Pending => match ready!(stream.as_mut().poll_next(context)) {
                        Some(outcome) => drop(outcome.map_err(Stop::Server)?),
                        None => {
                            *state = State::Done;
                            break;
                        }
                    },
                }
            }
            Poll::Ready(Ok(()))
        }))?;
        match read {
            Ok(()) => Ok(bytes),
            Err(Stop::Data(error)) => Err(error.at(source.clone())),
            Err(Stop::Server(error)) => Err(failure(&format!("read `{source}`"), &error)),
        }
    }

    fn batch(&mut self, bytes: u64) -> Result<ReadBatch> {
        let Decoded { batch, dirty } = self.decoder.finish()?;
        let place = |place: u64| format!("{}, row {} of the split", self.source, place + 1);
        let dirty = dirty.into_iter().map(|(at, mut row)| {
            row.place = Some(place(at));
            row
        });
        Ok(ReadBatch {
            batch,
            position: Position::default(),
            origin: None,
            dirty: dirty.collect(),
            bytes,
        })
    }
}

enum Stop {
    Server(tokio_postgres::Error),
    Data(Error),
}

impl ReadTask for Scan {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        match self.state {
            State::Reading => {}
            State::Done => return Ok(None),
            State::Failed => {
                return Err(Error::new(ErrorKind::Defect, "reading goes on after an error"));
            }
        }
        let outcome = self.fill().and_then(|bytes| {
            if self.state == State::Done && !self.decoder.is_at_end() {
                let message = format!("the rows of `{}` end before their end", self.source);
                return Err(Error::new(ErrorKind::Connection, message));
            }
            if self.decoder.rows() == 0 {
                return Ok(None);
            }
            self.batch(bytes).map(Some)
        });
        if outcome.is_err() {
            self.state = State::Failed;
        }
        outcome
    }
}
