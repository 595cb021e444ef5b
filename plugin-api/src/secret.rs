//! Values that never print and are overwritten when dropped, and who hands them out. Where they
//! come from (environment, file, command) is the host's.

use std::fmt;

use zeroize::Zeroizing;

use crate::Result;

/// A value that never prints. Its memory is overwritten when it is dropped.
///
/// It is not `Clone`: each copy is one more place to overwrite. Ask [`crate::Host::secret`] again
/// instead of keeping one.
///
/// # Examples
/// ```
/// use transload_plugin_api::Secret;
///
/// let password = Secret::new("canary".to_owned());
/// assert_eq!(format!("{password:?}"), "[redacted]");
/// assert_eq!(password.expose().len(), 6);
/// ```
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a value. A `String` is taken over with its memory, without a copy; of a `&str` the
    /// caller's original remains, and is the caller's to overwrite.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself, for the driver that needs it and for nothing else. Copies made of it are
    /// not overwritten.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Hands out secret options, by the key under which the descriptor declares them. Implemented by
/// the host; `()` is a job without secrets.
pub trait Secrets: Send + Sync {
    /// The secret's value now, or `None` if the job gives none. May run a command or read a file,
    /// so it may block.
    ///
    /// # Errors
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) when the job's reference cannot be
    /// resolved.
    fn secret(&self, key: &str) -> Result<Option<Secret>>;
}

/// A job without secrets.
impl Secrets for () {
    fn secret(&self, _key: &str) -> Result<Option<Secret>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_taken_over_without_a_copy() {
        let value = String::from("canary");
        let before = value.as_ptr();
        let secret = Secret::new(value);
        assert_eq!(secret.expose().as_ptr(), before);
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[redacted] Some([redacted])");
    }
}
