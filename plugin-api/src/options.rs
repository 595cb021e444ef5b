//! The options that a job gave a plugin, already checked against its descriptor by the host:
//! known keys, right kinds, defaults filled in, sizes in bytes, durations in milliseconds,
//! paths absolute. Secrets are not among them, see [`crate::Host::secret`].

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Column, Error, ErrorKind, OptionSpec, Result};

/// Checked options as JSON values, and the columns that the job itself declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Option key to value.
    pub values: Map<String, Value>,
    /// `[reader.schema]` of the job: column names and types that override inference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<Column>,
}

impl Options {
    /// Options from key and value pairs, for tests and examples.
    pub fn from_pairs<K: Into<String>, V: Into<Value>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let values = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { values, schema: Vec::new() }
    }

    /// The options as the plugin's own type.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] when a key is missing or of the wrong shape; the host's check makes
    /// that a defect of the descriptor, but a native test can get here without the host.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(Value::Object(self.values.clone()))
            .map_err(|error| Error::new(ErrorKind::Options, format!("options: {error}")))
    }

    /// As [`Options::parse`], with the defaults of these options for whoever uses a plugin without
    /// a host. Sizes and durations are not among them unless their defaults are numbers: the host
    /// alone reads units.
    ///
    /// # Errors
    /// As [`Options::parse`].
    pub fn parse_with<T: DeserializeOwned>(&self, specs: &[OptionSpec]) -> Result<T> {
        let mut options = self.clone();
        for spec in specs {
            if let Some(default) = &spec.default {
                options.values.entry(&spec.key).or_insert_with(|| default.clone());
            }
        }
        options.parse()
    }
}
