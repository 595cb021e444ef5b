//! Bytes of one object as it was listed: every answer must be of the very content that was planned
//! and hold exactly the bytes asked for. What breaks off is asked for again from there.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{
    Error as StoreError, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta,
    ObjectStore, path::Path,
};
use tokio::sync::Semaphore;
use transload_files::StoredFile;
use transload_plugin_api::{Error, ErrorKind, Result};

use crate::{
    access::Bucket,
    address::{Scheme, path_of},
    failure::{CHANGED, error_of},
    listing::{MODIFIED, version},
};

/// The waiting time between two tries at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One listed object.
pub(crate) struct Fetch {
    store: Arc<dyn ObjectStore>,
    permits: Arc<Semaphore>,
    path: Path,
    file: StoredFile,
    /// The condition of every request; none where the store has no ETags.
    tag: Option<String>,
    retries: usize,
    window: Duration,
}

/// Why bytes did not come.
enum Trouble {
    /// Another try may help.
    Passing(Error),
    Final(Error),
}

impl Fetch {
    /// # Errors
    /// [`ErrorKind::Data`] if the file is not one of this store.
    pub(crate) fn new(bucket: &Bucket, file: &StoredFile) -> Result<Self> {
        let Some(key) = bucket.address.key_of(&file.name) else {
            let message = format!("`{}` is not in {}", file.name, bucket.address.words());
            return Err(Error::new(ErrorKind::Data, message));
        };
        Ok(Self {
            store: Arc::clone(&bucket.store),
            permits: Arc::clone(&bucket.permits),
            path: path_of(key)?,
            file: file.clone(),
            tag: condition(bucket.address.scheme, &file.version),
            retries: bucket.retry.max_retries,
            window: bucket.retry.retry_timeout,
        })
    }

    /// A stretch of the object, whole.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] with the code `FILE-CHANGED` if the object is not the listed one any
    /// more; [`ErrorKind::Connection`] if the store goes on failing.
    pub(crate) async fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.fill(range, Vec::new()).await?.into())
    }

    /// As [`Fetch::bytes`], into a buffer that was used before: what it holds is forgotten.
    pub(crate) async fn fill(&self, range: Range<u64>, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        bytes.clear();
        bytes.reserve_exact((range.end - range.start) as usize);
        let started = Instant::now();
        let (mut tries, mut pause) = (0, Duration::from_millis(100));
        while range.start + (bytes.len() as u64) < range.end {
            let had = bytes.len();
            let rest = range.start + had as u64..range.end;
            match self.once(rest, &mut bytes).await {
                Ok(()) => {}
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing(error)) => {
                    // Only tries that brought nothing count: a slow line gets on all the same.
                    tries = if bytes.len() > had { 0 } else { tries + 1 };
                    if tries > self.retries || started.elapsed() > self.window {
                        return Err(error);
                    }
                    tracing::info!(file = self.file.name, %error, "asking again for the rest");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        Ok(bytes)
    }

    /// One request; what has come is in `bytes`, whatever happens behind it.
    async fn once(&self, range: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), Trouble> {
        let _permit = self.permits.acquire().await.map_err(|_| {
            Trouble::Final(Error::new(ErrorKind::Cancelled, "the store has been closed"))
        })?;
        let options = GetOptions {
            if_match: self.tag.clone(),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let answer = self.store.get_opts(&self.path, options).await;
        let answer = answer.map_err(|error| Trouble::Final(self.refused(&error)))?;
        self.verify(&answer, &range).map_err(Trouble::Final)?;
        let most = bytes.len() + (range.end - range.start) as usize;
        let surplus = || Trouble::Final(self.wrong("the answer is longer than what was asked for"));
        if let GetResultPayload::File(..) = answer.payload {
            let read = answer.bytes().await.map_err(|error| Trouble::Final(self.failed(&error)))?;
            if bytes.len() + read.len() > most {
                return Err(surplus());
            }
            bytes.extend_from_slice(&read);
        } else {
            let mut stream = answer.into_stream();
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|error| Trouble::Passing(self.failed(&error)))?;
                if bytes.len() + piece.len() > most {
                    return Err(surplus());
                }
                bytes.extend_from_slice(&piece);
            }
        }
        if bytes.len() == most {
            return Ok(());
        }
        let message = format!("the answer broke off {} bytes early", most - bytes.len());
        Err(Trouble::Passing(Error::new(ErrorKind::Connection, message).at(&self.file.name)))
    }

    /// The answer speaks of the listed content, and of the stretch that was asked for.
    fn verify(&self, answer: &GetResult, range: &Range<u64>) -> Result<()> {
        let found = &answer.meta;
        if found.size != self.file.size || !same_version(&self.file.version, found) {
            return Err(self.changed(found));
        }
        match answer.range == *range {
            true => Ok(()),
            false => Err(self.wrong("the answer is of another stretch than was asked for")),
        }
    }

    fn refused(&self, error: &StoreError) -> Error {
        match error {
            StoreError::Precondition { .. } => changed(&self.file.name, "it has another ETag now"),
            _ if error.to_string().contains("non-partial response") => {
                self.wrong("the server answered with the whole object")
            }
            _ => self.failed(error),
        }
    }

    fn failed(&self, error: &StoreError) -> Error {
        error_of(error, &self.file.name)
    }

    fn changed(&self, found: &ObjectMeta) -> Error {
        let words = if found.size == self.file.size {
            format!("version {} then, {} now", self.file.version, version(found))
        } else {
            format!("{} bytes then, {} bytes now", self.file.size, found.size)
        };
        changed(&self.file.name, &words)
    }

    fn wrong(&self, message: &str) -> Error {
        Error::new(ErrorKind::Connection, message)
            .with_code("OBJECT-ANSWER")
            .at(&self.file.name)
            .hint("something between here and the store does not keep to HTTP; go around it")
    }
}

fn changed(name: &str, words: &str) -> Error {
    let message = format!("the object has changed since it was planned: {words}");
    Error::new(ErrorKind::Schema, message)
        .with_code(CHANGED)
        .at(name)
        .hint("plan again, and read objects only once their writer has finished them")
}

/// The value of If-Match. Listings of Azure give ETags without the quotes that headers have.
fn condition(scheme: Scheme, version: &str) -> Option<String> {
    if version.starts_with(MODIFIED) {
        return None;
    }
    let quoted = version.starts_with('"') || version.starts_with("W/");
    match scheme == Scheme::File || quoted {
        true => Some(version.to_owned()),
        false => Some(format!("\"{version}\"")),
    }
}

fn same_version(planned: &str, found: &ObjectMeta) -> bool {
    if planned.starts_with(MODIFIED) {
        return planned == format!("{MODIFIED}{}", found.last_modified.timestamp());
    }
    let bare = |tag: &str| tag.trim_start_matches("W/").trim_matches('"').to_owned();
    found.e_tag.as_deref().is_some_and(|tag| bare(tag) == bare(planned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_quoted_where_headers_are() {
        for (scheme, version, expected) in [
            (Scheme::S3, "\"a\"", Some("\"a\"")),
            (Scheme::Azure, "0x8D", Some("\"0x8D\"")),
            (Scheme::Gcs, "W/\"a\"", Some("W/\"a\"")),
            (Scheme::File, "1-2-3", Some("1-2-3")),
            (Scheme::S3, "modified 5", None),
        ] {
            assert_eq!(condition(scheme, version).as_deref(), expected, "{version}");
        }
    }
}
