//! One call of a worker: a request, its answer, and the error of a worker that gives none.

use std::{io, sync::Arc, time::Instant};

use arrow_buffer::Buffer;
use serde::de::DeserializeOwned;
use transload_plugin_api::{Error, Result};

use super::{channel::Channel, launch::Worker, message::Request};

/// A channel in use, with the worker behind it.
pub(super) struct Line {
    pub(super) worker: Arc<Worker>,
    channel: Channel,
}

impl Line {
    /// A channel that no other call uses.
    ///
    /// # Errors
    /// As for [`Worker::channel`].
    pub(super) fn open(worker: &Arc<Worker>) -> Result<Self> {
        Ok(Self { worker: worker.clone(), channel: worker.channel()? })
    }

    /// Calls a function and waits for what it returns.
    ///
    /// # Errors
    /// The function's, or how the worker ended.
    pub(super) fn call<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        body: &[Buffer],
    ) -> Result<T> {
        let is_cleaning = request.is_cleaning();
        self.send(request, body, is_cleaning)?;
        self.receive(is_cleaning).map(|(answer, _)| answer)
    }

    pub(super) fn send(
        &mut self,
        request: &Request,
        body: &[Buffer],
        is_cleaning: bool,
    ) -> Result<()> {
        let (worker, since) = (&self.worker, Instant::now());
        let tick = || worker.may_wait(since, is_cleaning);
        self.channel.send(request, body, &tick).map_err(|error| lost(worker, &error))
    }

    /// The next answer and its body.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) fn receive<T: DeserializeOwned>(
        &mut self,
        is_cleaning: bool,
    ) -> Result<(T, Buffer)> {
        let (worker, since) = (&self.worker, Instant::now());
        let tick = || worker.may_wait(since, is_cleaning);
        match self.channel.receive::<Result<T>>(&tick) {
            Ok(Some((answer, body))) => answer.map(|answer| (answer, body)),
            Ok(None) => Err(worker.ended()),
            Err(error) => Err(lost(worker, &error)),
        }
    }

    /// Keeps the channel for other calls.
    pub(super) fn put_back(self) {
        self.worker.put_back(self.channel);
    }

    /// Signals to the worker that its task is not needed any more, and waits until it is closed.
    pub(super) fn close(&mut self) {
        self.channel.close();
        let (worker, since) = (&self.worker, Instant::now());
        // A worker that has ended has closed everything.
        let _ = self.channel.drain(&|| worker.may_wait(since, false));
    }
}

/// The error of a channel on which nothing passes any more.
fn lost(worker: &Worker, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            worker.broken(&error.to_string())
        }
        _ => worker.ended(),
    }
}
