//! The rows of one split: a COPY to us, from the wire's buffer into the decoder.

use transload_plugin_api::{Column, Error, Origin, Position, ReadBatch, ReadTask, Result};
use transload_tables::{KeyValue, encode_key};

use crate::{
    decode::{Decoded, Decoder},
    session::{Copied, Session},
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
    /// Rows come in the order of a key, whose text is behind the columns.
    pub(crate) keyed: bool,
    /// The table's name, for places.
    pub(crate) source: String,
}

/// Reads one split.
pub(crate) struct Scan {
    session: Session,
    decoder: Decoder,
    source: String,
    /// After the rows so far; empty where they have no order.
    position: Position,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The server has closed the stream after its trailer.
    Done,
    Failed,
}

impl Scan {
    pub(crate) fn start(mut session: Session, plan: ScanPlan) -> Result<Self> {
        let ScanPlan { copy, columns, wires, keyed, source } = plan;
        let decoder = Decoder::new(&columns, &wires, keyed, BATCH_ROWS)?;
        session.begin_copy_out(&format!("read `{source}`"), &copy)?;
        Ok(Self { session, decoder, source, position: Position::default(), state: State::Reading })
    }

    /// Reads until a batch is full or the stream is at its end. Returns the bytes read.
    fn fill(&mut self) -> Result<u64> {
        let mut bytes = 0;
        let Self { session, decoder, source, state, .. } = self;
        session.cancel().check()?;
        while decoder.rows() < BATCH_ROWS && bytes < BATCH_BYTES {
            match session.next() {
                Ok(Copied::Rows(rows)) => {
                    bytes += rows.len() as u64;
                    decoder.decode(rows).map_err(|error| error.at(source.clone()))?;
                }
                Ok(Copied::End(counted)) => {
                    *state = State::Done;
                    decoder.end(counted).map_err(|error| error.at(source.clone()))?;
                    break;
                }
                Err(failure) => {
                    let doing = format!("read `{source}`");
                    return Err(failure.into_error(&doing, session.cancel()));
                }
            }
        }
        session.shrink();
        Ok(bytes)
    }

    fn batch(&mut self, bytes: u64) -> Result<ReadBatch> {
        let Decoded { batch, first, key, dirty } = self.decoder.finish()?;
        if let Some(key) = key {
            self.position = Position(encode_key(&[KeyValue::Text(key)]));
        }
        let origin = Origin::new(self.source.as_str(), "row", first + 1);
        let origin = origin.without(dirty.iter().map(|(at, _)| at + 1));
        let dirty = dirty
            .into_iter()
            .map(|(at, row)| row.place(format!("{}, row {}", self.source, at + 1)).number(at + 1));
        Ok(ReadBatch {
            batch,
            position: self.position.clone(),
            origin: Some(origin),
            dirty: dirty.collect(),
            bytes,
        })
    }
}

impl ReadTask for Scan {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        match self.state {
            State::Reading => {}
            State::Done => return Ok(None),
            State::Failed => {
                return Err(Error::defect("a read after an error"));
            }
        }
        let outcome = self.fill().and_then(|bytes| {
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
