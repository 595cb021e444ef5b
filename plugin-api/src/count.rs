//! What a reader or writer has counted of its traffic with its store: requests, waits, losses.
//! Rows are not among it: the host counts those itself.

use serde::{Deserialize, Serialize};

/// One thing that was counted since the reader or writer was made. The run's report shows it.
///
/// # Examples
/// ```
/// use transload_plugin_api::Count;
///
/// let counts = [Count::new("requests", 120), Count::trouble("requests_throttled", 3)];
/// assert!(counts.iter().all(Count::has_name));
/// assert!(counts[1].trouble);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What is counted: `requests_throttled`. A name by [`Count::has_name`], and the same in every
    /// version of the plugin, because programs read the run's report.
    pub name: String,
    /// How often. Never less than at an earlier call.
    pub value: u64,
    /// Should be 0 in a healthy run; the summary shows it only if it is not.
    #[serde(default)]
    pub trouble: bool,
    /// What was left out of the rows, if it counts that: the words after the number in the run's
    /// warnings. `values of keys that the sample did not show are left out: `a`, `b``.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl Count {
    /// A count of normal operation.
    pub fn new(name: impl Into<String>, value: u64) -> Self {
        Self { name: name.into(), value, trouble: false, left_out: None }
    }

    /// A count of failures that were overcome: retries, throttled requests.
    pub fn trouble(name: impl Into<String>, value: u64) -> Self {
        Self { name: name.into(), value, trouble: true, left_out: None }
    }

    /// A count of rows or values that a reader left out, or that a writer did. The run warns of it
    /// in its summary and its report if it is not 0: `3 values of key `b` are left out`.
    pub fn left_out(name: impl Into<String>, value: u64, what: impl Into<String>) -> Self {
        Self { left_out: Some(what.into()), ..Self::trouble(name, value) }
    }

    /// Whether the name is valid: snake_case of `a` to `z` and digits, a letter first, at most 64
    /// characters.
    pub fn has_name(&self) -> bool {
        let words = |name: &str| {
            name.split('_').all(|word| {
                !word.is_empty() && word.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9'))
            })
        };
        let starts = self.name.starts_with(|first: char| first.is_ascii_lowercase());
        starts && self.name.len() <= 64 && words(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_snake_case() {
        for (name, is_one) in [
            ("requests", true),
            ("requests_5xx", true),
            ("", false),
            ("Requests", false),
            ("requests-late", false),
            ("_requests", false),
            ("requests_", false),
            ("requests__late", false),
            ("5xx", false),
            ("bytes\n", false),
        ] {
            assert_eq!(Count::new(name, 0).has_name(), is_one, "{name:?}");
        }
        assert!(!Count::new("a".repeat(65), 0).has_name());
    }

    #[test]
    fn trouble_has_a_default() {
        let count: Count = serde_json::from_str(r#"{"name": "a", "value": 1}"#).unwrap();
        assert_eq!(count, Count::new("a", 1));
    }
}
