//! The bytes of one range of an object, in order. One request streams all of it; if it breaks, another
//! request continues behind the last byte received.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};
use transload_plugin_api::{Error, Result, Waiting};

use crate::pinned_object::{PinnedObject, RequestError, Response};

/// The first wait before another request, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Bytes that must arrive within the time limits; the limits then start again.
const STEP: u64 = 2 << 20;

/// A range that is being read.
pub(crate) struct Download {
    object: Arc<PinnedObject>,
    /// What has not come.
    rest: Range<u64>,
    response: Option<Response>,
    /// Requests in a row that brought nothing.
    failures: usize,
    /// The wait before the next one.
    pause: Duration,
    /// Time waited since the last step, for the present response and for all responses.
    waited: Duration,
    waited_in_all: Duration,
    /// Where the step ends.
    step: u64,
}

impl Download {
    /// Asks for nothing yet.
    pub(crate) fn new(object: Arc<PinnedObject>, range: Range<u64>) -> Self {
        Self {
            object,
            step: range.start + STEP,
            rest: range,
            response: None,
            failures: 0,
            pause: PAUSES.0,
            waited: Duration::ZERO,
            waited_in_all: Duration::ZERO,
        }
    }

    /// The next bytes; `None` at the end of the range. The time between two calls counts for no
    /// limit.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] with the code `FILE-CHANGED` if the object is not the listed one any
    /// more; [`ErrorKind::Connection`] if the store keeps failing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.rest.is_empty() {
            let begun = Instant::now();
            let piece = self.piece().await;
            self.waited_in_all += begun.elapsed();
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => {
                    self.received(piece.len() as u64);
                    return Ok(Some(piece));
                }
                Err(RequestError::Fatal(error)) => return Err(error),
                Err(RequestError::Transient(error)) => self.prepare_retry(error).await?,
            }
        }
        self.finish().await
    }

    /// All bytes that have not come yet.
    ///
    /// # Errors
    /// As [`Download::next`].
    pub(crate) async fn whole(mut self) -> Result<Bytes> {
        let size = (self.rest.end - self.rest.start) as usize;
        let first = self.next().await?.unwrap_or_default();
        if first.len() == size {
            self.finish().await?;
            return Ok(first);
        }
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&first);
        while let Some(piece) = self.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    /// Gives the present request up, and its permit back; the next call asks for the rest.
    pub(crate) fn suspend(&mut self) {
        self.response = None;
        self.waited = Duration::ZERO;
    }

    /// What is downloaded.
    pub(crate) fn object(&self) -> Arc<PinnedObject> {
        Arc::clone(&self.object)
    }

    /// Bytes of the present response, or of a new one.
    async fn piece(&mut self) -> Result<Bytes, RequestError> {
        let response = match &mut self.response {
            Some(response) => response,
            none => none.insert(self.object.request(self.rest.clone()).await?),
        };
        let left = self.object.limits.timeout.saturating_sub(self.waited);
        let missing = response.until - self.rest.start;
        let begun = Instant::now();
        let piece = timeout(left, response.body.next()).await;
        self.waited += begun.elapsed();
        match piece {
            Ok(Some(Ok(piece))) if piece.len() as u64 > missing => {
                Err(RequestError::Fatal(self.surplus()))
            }
            Ok(Some(Ok(piece))) => Ok(piece),
            Ok(Some(Err(error))) => Err(RequestError::Transient(self.object.failed(&error))),
            Ok(None) => {
                Err(self.transient(&format!("the response ended {missing} bytes before its end")))
            }
            Err(_) => {
                self.object.traffic.late.fetch_add(1, Ordering::Relaxed);
                Err(self.transient("the server does not respond in time"))
            }
        }
    }

    fn received(&mut self, bytes: u64) {
        self.rest.start += bytes;
        self.failures = 0;
        self.pause = PAUSES.0;
        if self.rest.start >= self.step {
            self.step = self.rest.start + STEP;
            self.waited = Duration::ZERO;
            self.waited_in_all = Duration::ZERO;
        }
        if self.rest.start < self.rest.end
            && self.response.as_ref().is_some_and(|response| response.until == self.rest.start)
        {
            self.suspend();
        }
    }

    /// Waits before the next request, if there may be one.
    async fn prepare_retry(&mut self, error: Error) -> Result<()> {
        self.suspend();
        self.failures += 1;
        let limits = self.object.limits;
        if self.failures > limits.retries || self.waited_in_all > limits.window {
            return Err(error);
        }
        let name = self.object.name();
        let _waiting =
            Waiting::new(format_args!("waiting to request the rest of {name} again: {error}"));
        sleep(self.pause).await;
        self.waited_in_all += self.pause;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }

    /// All bytes have come: the response must end here. What else goes wrong now has no effect.
    async fn finish(&mut self) -> Result<Option<Bytes>> {
        let Some(mut response) = self.response.take() else { return Ok(None) };
        match timeout(self.object.limits.timeout, response.body.next()).await {
            Ok(Some(Ok(piece))) if !piece.is_empty() => Err(self.surplus()),
            _ => Ok(None),
        }
    }

    fn surplus(&self) -> Error {
        self.object.wrong("the response is longer than what was asked for")
    }

    fn transient(&self, message: &str) -> RequestError {
        let error = Error::connection(message).at(self.object.name());
        RequestError::Transient(error)
    }
}
