//! Random numbers, for names that no other process takes.

use transload_plugin_api::{Error, Result};

/// A number that no other process has drawn.
pub(crate) fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| Error::other("the system gives no random bytes"))?;
    Ok(u64::from_le_bytes(bytes))
}
