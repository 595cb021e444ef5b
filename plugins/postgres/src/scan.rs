//! The rows of one split: a COPY to us, message by message into the decoder.

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio_postgres::CopyOutStream;
use transload_plugin_api::{Column, Error, ErrorKind, Position, ReadBatch, ReadTask, Result};

use std::pin::Pin;

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
    stream: Pin<Box<CopyOutStream>>,
    decoder: Decoder,
    /// Bytes of a row that has not come whole, or beyond a full batch.
    rest: Rest,
    source: String,
    state: State,
    /// Dropped last: the stream ends with it.
    session: Session,
}

/// What has come and has not been decoded.
#[derive(Default)]
struct Rest {
    message: Bytes,
    /// A row over several messages; empty as a rule.
    pieces: Vec<u8>,
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
        Ok(Self { stream, decoder, rest: Rest::default(), source, state: State::Reading, session })
    }

    /// Reads until a batch is full or the stream is at its end.
    fn fill(&mut self) -> Result<u64> {
        let mut bytes = 0;
        let Self { stream, decoder, rest, source, state, session } = self;
        let read = session.wait(async {
            while decoder.rows() < BATCH_ROWS && bytes < BATCH_BYTES {
                if rest.message.is_empty() {
                    match stream.next().await {
                        Some(message) => rest.message = message.map_err(Stop::Server)?,
                        None => {
                            *state = State::Done;
                            break;
                        }
                    }
                }
                bytes += rest.decode(decoder).map_err(Stop::Data)?;
            }
            Ok(())
        })?;
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

impl Rest {
    /// Hands bytes to the decoder; answers how many were new to it.
    fn decode(&mut self, decoder: &mut Decoder) -> Result<u64> {
        let new = self.message.len();
        if self.pieces.is_empty() {
            let taken = decoder.decode(&self.message, BATCH_ROWS)?;
            self.message.advance(taken);
            if decoder.rows() >= BATCH_ROWS {
                return Ok(taken as u64);
            }
            self.pieces.extend_from_slice(&self.message);
        } else {
            self.pieces.extend_from_slice(&self.message);
            let taken = decoder.decode(&self.pieces, usize::MAX)?;
            self.pieces.drain(..taken);
        }
        self.message = Bytes::new();
        Ok(new as u64)
    }
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
