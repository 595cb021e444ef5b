//! Which versions of the ABI fit together, and what each version added. The types of a version
//! are in `module`; comparing them is left to `layout`.

use std::fmt;

use abi_stable::sabi_types::{VersionNumber, VersionStrings};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, code};

/// A version of the ABI, independent of the crate's version.
///
/// # Examples
/// ```
/// use transload_plugin_api::abi::{ABI, AbiVersion};
///
/// assert_eq!(AbiVersion { major: 1, minor: 2 }.to_string(), "1.2");
/// assert!(ABI >= AbiVersion { major: 1, minor: 0 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AbiVersion {
    /// Raised when something is removed, reordered or changed. A library of another major version
    /// does not load.
    pub major: u32,
    /// Raised when something is appended.
    pub minor: u32,
}

/// The version of this crate.
///
/// * 1.0: everything not listed below.
/// * 1.1: the root module's `connect_log`, the reader's and writer's `discover`.
/// * 1.2: the reader's and writer's `counts`.
/// * 1.3: the reader's `digest`, the writer's `token_ddl`, the write task's `progress`.
/// * 1.4: the reader's `tables`.
pub const ABI: AbiVersion = AbiVersion { major: 1, minor: 4 };

/// [`ABI`] as the root module carries it; a test keeps the two equal.
pub(super) const ABI_STRINGS: VersionStrings = VersionStrings::new("1.4.0");

impl AbiVersion {
    /// The version in a root module.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Defect`] if it is not a version.
    pub(super) fn from_strings(strings: VersionStrings) -> Result<Self> {
        let number = VersionNumber::new(strings).map_err(|_| {
            let text = strings.version.as_str();
            Error::defect(format!("`{text}` is not an ABI version"))
        })?;
        Ok(Self { major: number.major, minor: number.minor })
    }
}

impl fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Equal majors fit, whatever the minors: a function that the older side lacks reads as `None`,
/// and `module` states what its absence means.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] naming both versions.
pub(super) fn ensure_fits(host: AbiVersion, plugin: AbiVersion) -> Result<()> {
    if host.major == plugin.major {
        return Ok(());
    }
    let older = if plugin.major < host.major { "plugin" } else { "program" };
    Err(Error::unsupported(format!("built for plugin ABI {plugin}, this program speaks {host}"))
        .with_code(code::PLUGIN_ABI)
        .hint(format!("the {older} is the older one: update it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exported_version_is_the_declared_one() {
        assert_eq!(AbiVersion::from_strings(ABI_STRINGS).unwrap(), ABI);
    }

    #[test]
    fn majors_decide() {
        let version = |major, minor| AbiVersion { major, minor };
        assert!(ensure_fits(version(1, 1), version(1, 0)).is_ok());
        assert!(ensure_fits(version(1, 1), version(1, 9)).is_ok());
        let refusal = ensure_fits(version(1, 1), version(2, 0)).unwrap_err();
        assert_eq!(refusal.message, "built for plugin ABI 2.0, this program speaks 1.1");
        assert_eq!(refusal.hint.as_deref(), Some("the program is the older one: update it"));
        assert!(ensure_fits(version(2, 0), version(1, 4)).is_err());
    }
}
