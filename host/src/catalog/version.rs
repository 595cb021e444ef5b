//! The version of a plugin or program, `1.4.2` or `1.4.2-rc.1`, and which of two is newer.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Version {
    numbers: [u64; 3],
    /// What is before the release, behind `-`.
    before: String,
    text: String,
}

impl Version {
    /// That of this program.
    pub(super) fn of_program() -> Self {
        let own = env!("CARGO_PKG_VERSION");
        own.parse().unwrap_or_else(|_| Self {
            numbers: [0; 3],
            before: String::new(),
            text: own.to_owned(),
        })
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a version such as `1.4.2`");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
        if text.len() > 64 || !text.bytes().all(is_plain) {
            return Err(wrong());
        }
        let counted = text.split('+').next().unwrap_or_default();
        let (numbers, before) = counted.split_once('-').unwrap_or((counted, ""));
        let numbers: Vec<u64> =
            numbers.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let numbers = numbers.try_into().map_err(|_| wrong())?;
        Ok(Self { numbers, before: before.to_owned(), text: text.to_owned() })
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // A release is newer than what came before it.
        let released = self.before.is_empty().cmp(&other.before.is_empty());
        let numbers = self.numbers.cmp(&other.numbers).then(released);
        numbers
            .then_with(|| self.before.cmp(&other.before))
            .then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let rising = ["0.9.9", "1.4.2-beta", "1.4.2-rc", "1.4.2", "1.4.10", "1.10.0", "2.0.0"];
        let versions: Vec<Version> = rising.iter().map(|text| text.parse().unwrap()).collect();
        assert!(versions.is_sorted(), "{versions:?}");
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "v1.2.3", "1.2.3/..", "../1.2.3"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }
}
