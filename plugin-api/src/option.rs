//! One option of a plugin: its key, kind, default and doc, stated once, and the conversion of a
//! value from the job file's form (`"64 MiB"`) to the form the plugin gets (a number of bytes).
//! Where a value is written, and what its file's folder is, is left to the host.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::units;

/// One option of a plugin.
///
/// Validation, conversion, default, help and reference are all derived from it. The structs that a
/// plugin parses its options into repeat none of it: see [`crate::Options::parse`].
///
/// # Examples
/// ```
/// use transload_plugin_api::{OptionKind, OptionSpec};
///
/// let timeout = OptionSpec::new("timeout", OptionKind::Duration, "How long connecting may take")
///     .default("10 s")
///     .connection();
/// assert_eq!(timeout.default_value(), Some(10_000.into()));
///
/// let mode = OptionSpec::choice("mode", &["fast", "safe"], "How rows are sent");
/// assert_eq!(mode.default_value(), Some("fast".into()));
/// let error = mode.kind.convert(&"slow".into()).unwrap_err();
/// assert_eq!(error.to_string(), "must be one of `fast`, `safe`, found `slow`");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    /// The key in the job file or connection: lower case letters, digits and `_`.
    pub key: String,
    /// What values it takes.
    pub kind: OptionKind,
    /// One line for help and reference, without a final period.
    pub doc: String,
    /// The job must give it.
    #[serde(default)]
    pub required: bool,
    /// The value used when the job gives none, in the job file's own form (`"64 MiB"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Never printed, and handed over by [`crate::Host::secret`] alone.
    #[serde(default)]
    pub secret: bool,
    /// It holds SQL, in the descriptor's [dialect](crate::Dialect): the host puts the values of
    /// `${name}` into it as literals, never as text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sql: bool,
    /// Where it belongs.
    #[serde(default)]
    pub scope: OptionScope,
}

/// Where an option belongs. Both kinds may stand in the job; a connection holds only the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptionScope {
    /// The store's address and login.
    Connection,
    /// What this job does with it.
    #[default]
    Job,
}

/// What values an option takes in the job file, and as what JSON the plugin gets them.
///
/// | kind | in the job file | what the plugin gets | Rust type |
/// |---|---|---|---|
/// | `Text` | `"x"` | `"x"` | `String` |
/// | `Boolean` | `true` | `true` | `bool` |
/// | `Integer` | `5` | `5` | an integer that holds the bounds |
/// | `Float` | `0.5` or `1` | `0.5` or `1.0` | `f64` |
/// | `Size` | `"64 MiB"` or `67108864` | `67108864` | `u64` |
/// | `Duration` | `"30 s"` | `30000` | `u64` |
/// | `Choice` | `"fast"` | `"fast"` | an enum with serde's `rename_all` |
/// | `Path` | `"in/x.csv"` | `"/jobs/in/x.csv"` | `PathBuf` |
/// | `Paths` | `"a"` or `["a", "b"]` | `["/jobs/a", "/jobs/b"]` | `Vec<PathBuf>` |
/// | `List` | `"a"` or `["a", "b"]` | `["a", "b"]` | `Vec<String>` |
/// | `Map` | `{ a = "x" }` | `{"a": "x"}` | `BTreeMap<String, String>` |
///
/// `Integer`, `Size` and the others are `Option`s in Rust if they are neither required nor have a
/// default. Lists and maps that may be left out are empty then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OptionKind {
    /// A string.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number within bounds, both included.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A floating point number within bounds, both included.
    Float {
        /// Smallest value.
        min: f64,
        /// Largest value.
        max: f64,
    },
    /// Bytes: `"64 MiB"`, `"20 MB"` or a number; handed over as a number of bytes.
    Size,
    /// A time span: `"30 s"`, `"10 min"`; handed over as a number of milliseconds.
    Duration,
    /// One of these words.
    Choice(Vec<String>),
    /// A path, relative to the file it stands in; handed over absolute.
    Path,
    /// One path or a list of them; handed over as a list of absolute paths.
    Paths,
    /// One string or a list of them; handed over as a list.
    List,
    /// A table of strings.
    Map,
}

impl OptionSpec {
    /// An option that may be left out, with no default.
    pub fn new(key: &str, kind: OptionKind, doc: &str) -> Self {
        Self {
            key: key.to_owned(),
            kind,
            doc: doc.to_owned(),
            required: false,
            default: None,
            secret: false,
            sql: false,
            scope: OptionScope::Job,
        }
    }

    /// An option that takes one of these words, the first by default.
    pub fn choice(key: &str, words: &[&str], doc: &str) -> Self {
        Self {
            default: words.first().map(|word| (*word).into()),
            ..Self::new(key, OptionKind::choice(words), doc)
        }
    }

    /// The job must give it. An option of a job (not of a [connection](OptionSpec::connection)) is an
    /// `Option` in the plugin's own type all the same: `transload connection test` makes readers and
    /// writers from a connection alone, and then calls `check` and nothing that needs a job.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The value when the job gives none, in the job file's own form.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Never printed, handed over by callback. Secrets are text.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self.connection()
    }

    /// Holds SQL: a statement or a part of one.
    #[must_use]
    pub fn sql(mut self) -> Self {
        self.sql = true;
        self
    }

    /// Part of the store's address or login.
    #[must_use]
    pub fn connection(mut self) -> Self {
        self.scope = OptionScope::Connection;
        self
    }

    /// What the plugin gets when the job does not give the option: the converted default, or an
    /// empty list or map for an optional list or map. `None` if there is no such value; also if
    /// the default is not one of the kind's values, which the conformance suite and the host
    /// report.
    pub fn default_value(&self) -> Option<Value> {
        match (&self.default, &self.kind) {
            (Some(default), kind) => kind.convert(default).ok(),
            (None, _) if self.required => None,
            (None, OptionKind::List | OptionKind::Paths) => Some(Value::Array(Vec::new())),
            (None, OptionKind::Map) => Some(Value::Object(serde_json::Map::new())),
            (None, _) => None,
        }
    }
}

impl OptionKind {
    /// One of the given words.
    pub fn choice(words: &[&str]) -> Self {
        Self::Choice(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// Converts a value in the job file's form to the form that the plugin gets. Paths are checked
    /// and not resolved: only the host knows the folder that they are relative to.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn convert(&self, given: &Value) -> Result<Value, ValueMismatch> {
        let converted = match self {
            Self::Text => given.as_str().map(Value::from),
            Self::Boolean => given.as_bool().map(Value::from),
            Self::Integer { min, max } => {
                given.as_i64().filter(|number| (min..=max).contains(&number)).map(Value::from)
            }
            Self::Float { min, max } => {
                given.as_f64().filter(|number| (min..=max).contains(&number)).map(Value::from)
            }
            Self::Size => given.as_u64().or_else(|| units::size(given.as_str()?)).map(Value::from),
            Self::Duration => given.as_str().and_then(units::duration).map(Value::from),
            Self::Choice(words) => given
                .as_str()
                .filter(|given| words.iter().any(|word| word == given))
                .map(Value::from),
            Self::Path => given.as_str().filter(|path| !path.is_empty()).map(Value::from),
            Self::Paths => return list(&Self::Path, given).map_err(|error| self.named(error)),
            Self::List => return list(&Self::Text, given).map_err(|error| self.named(error)),
            Self::Map => match given {
                Value::Object(map) => {
                    map.values().try_for_each(|value| Self::Text.convert(value).map(drop))?;
                    Some(given.clone())
                }
                _ => None,
            },
        };
        converted.ok_or_else(|| self.mismatch(given))
    }

    /// The values it takes, in words: "an integer from 1 to 9".
    pub fn expected(&self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Integer { min, max: i64::MAX } => format!("an integer from {min}"),
            Self::Integer { min, max } => format!("an integer from {min} to {max}"),
            Self::Float { min, max } => format!("a number from {min} to {max}"),
            Self::Size => units::SIZE_FORMS.to_owned(),
            Self::Duration => units::DURATION_FORMS.to_owned(),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                format!("one of {}", words.join(", "))
            }
            Self::Path => "a path".to_owned(),
            Self::Paths => "a path or a list of paths".to_owned(),
            Self::List => "a string or a list of strings".to_owned(),
            Self::Map => "a table of strings".to_owned(),
        }
    }

    /// The values it takes in the job file, as JSON Schema, draft 7.
    ///
    /// # Examples
    /// ```
    /// use serde_json::json;
    /// use transload_plugin_api::OptionKind;
    ///
    /// let schema = OptionKind::Integer { min: 1, max: 9 }.json_schema();
    /// assert_eq!(schema, json!({ "type": "integer", "minimum": 1, "maximum": 9 }));
    /// ```
    pub fn json_schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Boolean => json!({ "type": "boolean" }),
            Self::Integer { min, max: i64::MAX } => json!({ "type": "integer", "minimum": min }),
            Self::Integer { min, max } => {
                json!({ "type": "integer", "minimum": min, "maximum": max })
            }
            Self::Float { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
            Self::Size => json!({
                "type": ["string", "integer"],
                "minimum": 0,
                "pattern": units::size_pattern(),
            }),
            Self::Duration => json!({ "type": "string", "pattern": units::duration_pattern() }),
            Self::Choice(words) => json!({ "enum": words }),
            // Not empty, and no `~`, which is not expanded.
            Self::Path => json!({ "type": "string", "pattern": "^([^~]|~[^/])" }),
            Self::Paths => one_or_many(&Self::Path),
            Self::List => one_or_many(&Self::Text),
            Self::Map => {
                json!({ "type": "object", "additionalProperties": Self::Text.json_schema() })
            }
        }
    }

    fn mismatch(&self, given: &Value) -> ValueMismatch {
        // A value of the right JSON type is quoted: it is its content that does not fit.
        let found = match (self, given) {
            (Self::Integer { .. }, Value::Number(number)) if !number.is_f64() => {
                format!("`{number}`")
            }
            (Self::Float { .. }, Value::Number(number)) => format!("`{number}`"),
            (Self::Size, Value::Number(number)) if !number.is_f64() => format!("`{number}`"),
            (Self::Path, Value::String(_)) => "an empty string".to_owned(),
            (Self::Size | Self::Duration | Self::Choice(_), Value::String(text)) => {
                format!("`{text}`")
            }
            _ => json_type(given).to_owned(),
        };
        let hint = match (self, given) {
            (Self::Size, Value::String(_)) => Some(units::SIZE_UNITS),
            (Self::Duration, Value::String(_)) => Some(units::DURATION_UNITS),
            _ => None,
        };
        ValueMismatch { expected: self.expected(), found, hint }
    }

    fn named(&self, item: ValueMismatch) -> ValueMismatch {
        ValueMismatch { expected: self.expected(), ..item }
    }
}

/// One value or a list of them, as JSON Schema.
fn one_or_many(items: &OptionKind) -> Value {
    let items = items.json_schema();
    json!({ "anyOf": [items, { "type": "array", "items": items }] })
}

/// One value or a list of them, as a list.
fn list(items: &OptionKind, given: &Value) -> Result<Value, ValueMismatch> {
    match given {
        Value::Array(values) => values.iter().map(|value| items.convert(value)).collect(),
        one => items.convert(one).map(|value| Value::Array(vec![value])),
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a floating point number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// Why a value does not fit an option's kind. Displays as "must be ..., found ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueMismatch {
    /// The values that the kind takes, in words.
    pub expected: String,
    /// The value, or what type it is of.
    pub found: String,
    /// The units that there are, for a size or duration.
    pub hint: Option<&'static str>,
}

impl std::fmt::Display for ValueMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "must be {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for ValueMismatch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_converted_or_refused_with_what_was_found() {
        let integer = OptionKind::Integer { min: 1, max: 9 };
        let float = OptionKind::Float { min: 0.0, max: 1.0 };
        let choice = OptionKind::choice(&["a", "b"]);
        let refused = |found: &str| Err(found.to_owned());
        for (kind, given, expected) in [
            (&OptionKind::Text, json!("x"), Ok(json!("x"))),
            (&OptionKind::Text, json!(1), refused("an integer")),
            (&OptionKind::Boolean, json!(true), Ok(json!(true))),
            (&OptionKind::Boolean, json!("true"), refused("a string")),
            (&integer, json!(9), Ok(json!(9))),
            (&integer, json!(10), refused("`10`")),
            (&integer, json!(u64::MAX), refused("`18446744073709551615`")),
            (&integer, json!(1.0), refused("a floating point number")),
            (&integer, json!("9"), refused("a string")),
            (&float, json!(1), Ok(json!(1.0))),
            (&float, json!(1.5), refused("`1.5`")),
            (&OptionKind::Size, json!("64 MiB"), Ok(json!(64 << 20))),
            (&OptionKind::Size, json!(64), Ok(json!(64))),
            (&OptionKind::Size, json!(-1), refused("`-1`")),
            (&OptionKind::Size, json!("64 MiX"), refused("`64 MiX`")),
            (&OptionKind::Size, json!([]), refused("a list")),
            (&OptionKind::Duration, json!("1.5 s"), Ok(json!(1_500))),
            (&OptionKind::Duration, json!("30 MiB"), refused("`30 MiB`")),
            (&OptionKind::Duration, json!(30), refused("an integer")),
            (&choice, json!("b"), Ok(json!("b"))),
            (&choice, json!("c"), refused("`c`")),
            (&OptionKind::Path, json!("x"), Ok(json!("x"))),
            (&OptionKind::Path, json!(""), refused("an empty string")),
            (&OptionKind::Paths, json!("x"), Ok(json!(["x"]))),
            (&OptionKind::Paths, json!(["x", ""]), refused("an empty string")),
            (&OptionKind::List, json!("x"), Ok(json!(["x"]))),
            (&OptionKind::List, json!(["a", ""]), Ok(json!(["a", ""]))),
            (&OptionKind::List, json!([1]), refused("an integer")),
            (&OptionKind::Map, json!({"a": "b"}), Ok(json!({"a": "b"}))),
            (&OptionKind::Map, json!({"a": 1}), refused("an integer")),
            (&OptionKind::Map, json!([]), refused("a list")),
        ] {
            let converted = kind.convert(&given).map_err(|error| error.found);
            assert_eq!(converted, expected, "{kind:?} {given}");
        }
    }

    #[test]
    fn a_missing_value_is_the_default_or_empty() {
        let option = |kind| OptionSpec::new("k", kind, "a doc");
        for (spec, expected) in [
            (option(OptionKind::Size).default("1 kB"), Some(json!(1_000))),
            (option(OptionKind::List).default("x"), Some(json!(["x"]))),
            (option(OptionKind::List), Some(json!([]))),
            (option(OptionKind::Paths).required(), None),
            (option(OptionKind::Map), Some(json!({}))),
            (option(OptionKind::Text), None),
            (option(OptionKind::Boolean).default("no"), None),
        ] {
            assert_eq!(spec.default_value(), expected, "{spec:?}");
        }
    }
}
