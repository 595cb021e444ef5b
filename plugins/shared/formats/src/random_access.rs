//! A file whose bytes can be read in any order, as formats with a footer need it. Where the file
//! lies is known to the caller alone.

use std::{io::Read, ops::Range};

use bytes::Bytes;
use transload_plugin_api::Result;

/// One file of known size. Calls come from several threads and may block.
pub trait RandomAccess: Send + Sync {
    /// The file's name, for messages.
    fn name(&self) -> &str;

    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Whether bytes come over a network, so that fewer and larger requests are better.
    fn is_distant(&self) -> bool;

    /// Several ranges at once, each complete, in the order of `ranges`.
    ///
    /// # Errors
    /// Those of the file's store.
    fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>>;

    /// One range, complete.
    ///
    /// # Errors
    /// As [`RandomAccess::ranges`].
    fn range(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.ranges(std::slice::from_ref(&range))?.pop().unwrap_or_default())
    }

    /// The bytes of a range in order.
    ///
    /// # Errors
    /// As [`RandomAccess::ranges`].
    fn read(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>>;
}
