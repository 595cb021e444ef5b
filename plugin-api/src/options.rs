//! The options that a job gave a plugin, checked against its descriptor: known keys, right kinds,
//! defaults filled in, sizes in bytes, durations in milliseconds, paths absolute. Secrets are not
//! among them, see [`crate::Host::secret`].

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Column, Error, OptionKind, OptionSpec, Result};

/// Options as JSON values, and the columns that the job itself declares.
///
/// The host has checked and converted them; [`Options::parse`] does the same with options that did
/// not come from the host, so that a plugin behaves the same in its own tests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Option key to value.
    pub values: Map<String, Value>,
    /// `[reader.schema]` of the job: column names and types that override inference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<Column>,
    /// `columns` of the job's reader: the only columns that it reads, if it names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
}

impl Options {
    /// Options from key and value pairs, for tests and examples.
    pub fn from_pairs<K: Into<String>, V: Into<Value>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let values = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { values, ..Self::default() }
    }

    /// The options as the plugin's own type, which states no defaults and no units: values are
    /// converted and defaults filled in from `specs`, the same list that the descriptor has. Lists
    /// and maps that may be left out are empty then; other options without a default are
    /// `Option`s. Keys that are not in `specs` are handed to `T` unchanged.
    ///
    /// # Errors
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for a value that its option does not take
    /// and for a required key that is missing. The host refuses both before the plugin is called,
    /// and names file and line.
    ///
    /// # Examples
    /// ```
    /// use transload_plugin_api::{Error, OptionKind, OptionSpec, Options};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct ReaderOptions {
    ///     path: String,
    ///     /// In milliseconds.
    ///     timeout: u64,
    ///     limit: Option<u64>,
    /// }
    ///
    /// let specs = [
    ///     OptionSpec::new("path", OptionKind::Path, "The file to read").required(),
    ///     OptionSpec::new("timeout", OptionKind::Duration, "How long to wait").default("10 s"),
    ///     OptionSpec::new("limit", OptionKind::Size, "Bytes to read; default: all"),
    /// ];
    /// let options = Options::from_pairs([("path", "numbers.txt"), ("limit", "2 kB")]);
    /// let parsed: ReaderOptions = options.parse(&specs)?;
    /// assert_eq!((parsed.path.as_str(), parsed.timeout), ("numbers.txt", 10_000));
    /// assert_eq!(parsed.limit, Some(2_000));
    ///
    /// let wrong = Options::from_pairs([("path", "numbers.txt"), ("timeout", "soon")]);
    /// assert!(wrong.parse::<ReaderOptions>(&specs).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn parse<T: DeserializeOwned>(&self, specs: &[OptionSpec]) -> Result<T> {
        let mut values = self.values.clone();
        for spec in specs.iter().filter(|spec| !spec.secret) {
            let value = match values.get(&spec.key) {
                Some(given) => Some(converted(spec, given)?),
                None => spec.default_value(),
            };
            if let Some(value) = value {
                values.insert(spec.key.clone(), value);
            }
        }
        serde_json::from_value(Value::Object(values))
            .map_err(|error| Error::options(format!("options: {error}")))
    }
}

/// The value in the plugin's form, from that form or the job file's. They differ in durations
/// only: a number is milliseconds here and refused in a job file.
fn converted(spec: &OptionSpec, given: &Value) -> Result<Value> {
    if spec.kind == OptionKind::Duration && given.is_u64() {
        return Ok(given.clone());
    }
    spec.kind.convert(given).map_err(|mismatch| {
        let error = Error::options(format!("`{}` {mismatch}", spec.key));
        match mismatch.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::ErrorKind;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Parsed {
        size: u64,
        wait: u64,
        names: Vec<String>,
        words: BTreeMap<String, String>,
        port: Option<u16>,
    }

    fn specs() -> Vec<OptionSpec> {
        vec![
            OptionSpec::new("size", OptionKind::Size, "a doc").default("1 MiB"),
            OptionSpec::new("wait", OptionKind::Duration, "a doc").default("30 s"),
            OptionSpec::new("names", OptionKind::List, "a doc"),
            OptionSpec::new("words", OptionKind::Map, "a doc"),
            OptionSpec::new("port", OptionKind::Integer { min: 1, max: 9 }, "a doc"),
            OptionSpec::new("password", OptionKind::Text, "a doc").secret(),
        ]
    }

    /// What the host hands over is parsed unchanged, so conversion happens once in effect.
    #[test]
    fn both_forms_of_a_value_mean_the_same() {
        let plain: Parsed = Options::default().parse(&specs()).unwrap();
        let handed_over = Options::from_pairs([("size", json!(1 << 20)), ("wait", json!(30_000))]);
        assert_eq!(handed_over.parse::<Parsed>(&specs()).unwrap(), plain);
        let written = [("size", json!("1 MiB")), ("wait", json!("0.5 min"))];
        assert_eq!(Options::from_pairs(written).parse::<Parsed>(&specs()).unwrap(), plain);
        let expected = (1 << 20, 30_000, Vec::new(), BTreeMap::new(), None);
        assert_eq!((plain.size, plain.wait, plain.names, plain.words, plain.port), expected);
    }

    #[test]
    fn values_that_do_not_fit_are_refused_as_the_host_refuses_them() {
        for (key, value, message) in [
            ("port", json!(10), "`port` must be an integer from 1 to 9, found `10`"),
            ("names", json!(1), "`names` must be a string or a list of strings, found an integer"),
            ("wait", json!(-1), "`wait` must be a duration such as `250 ms`"),
        ] {
            let error = Options::from_pairs([(key, value)]).parse::<Parsed>(&specs()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(error.message.starts_with(message), "{error}");
        }
    }
}
