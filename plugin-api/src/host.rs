//! What the host provides to a plugin: secrets on request and the stop signal.

use std::sync::Arc;

use crate::{Cancel, Result, Secret, Secrets};

/// What every reader and writer gets when it is made. Clones share the same services, and it may be
/// kept and used from any thread of the plugin.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use transload_plugin_api::{Cancel, Host, Result, Secret, Secrets};
///
/// struct Password(&'static str);
///
/// impl Secrets for Password {
///     fn secret(&self, key: &str) -> Result<Option<Secret>> {
///         Ok((key == "password").then(|| Secret::new(self.0)))
///     }
/// }
///
/// let host = Host::new(Arc::new(Password("canary")), Cancel::new());
/// assert_eq!(host.secret("password")?.unwrap().expose(), "canary");
/// assert!(host.secret("token")?.is_none());
/// host.cancel().check()?; // the stop signal was not given
/// # Ok::<(), transload_plugin_api::Error>(())
/// ```
#[derive(Clone)]
pub struct Host {
    secrets: Arc<dyn Secrets>,
    cancel: Cancel,
}

impl Host {
    /// A host with the given secrets and stop signal.
    pub fn new(secrets: Arc<dyn Secrets>, cancel: Cancel) -> Self {
        Self { secrets, cancel }
    }

    /// A host without secrets and with a stop signal that is never given, for tests.
    pub fn detached() -> Self {
        Self::new(Arc::new(()), Cancel::new())
    }

    /// The secret option `key`. Ask late and do not keep it: it may have been rotated. May block:
    /// the host may have to run a command.
    ///
    /// # Errors
    /// As [`Secrets::secret`].
    pub fn secret(&self, key: &str) -> Result<Option<Secret>> {
        self.secrets.secret(key)
    }

    /// The job's stop signal.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}
