//! How a source or target is named in one word on a command line, as a URL, a path or
//! `CONNECTION:OBJECT`, and which options its parts become. Declared by plugins, read by the host: no
//! plugin parses such a word.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The words that name a plugin's sources and targets. All that is left out is not accepted.
///
/// # Examples
/// ```
/// use transload_plugin_api::{Addressing, UrlForm, UrlPart};
///
/// let url = UrlForm::new(&["acme"], "acme://user@host:port/#orders")
///     .part(UrlPart::User, "user")
///     .part(UrlPart::Password, "password")
///     .part(UrlPart::Host, "host")
///     .part(UrlPart::Port, "port")
///     .part(UrlPart::Fragment, "table");
/// let addressing = Addressing { object: "table".to_owned(), urls: vec![url], ..Addressing::default() };
/// assert_eq!(addressing.urls[0].parts[&UrlPart::Host], "host");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressing {
    /// The option that `OBJECT` in `CONNECTION:OBJECT` becomes, such as `table`; empty if a
    /// connection has no objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// The URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<UrlForm>,
    /// The paths of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<PathForm>,
}

impl Addressing {
    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// URLs of one form. Query parameters are options by their own names (`?table=ods.orders`); a part
/// or a parameter that is no option is refused. Values are converted to the kind of their option; a
/// secret is handled as one. A `?` without a `name=` behind it belongs to the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlForm {
    /// What stands before the `:`, in lower case; the first is the usual one.
    pub schemes: Vec<String>,
    /// An example for help: `postgres://user@host:port/database?table=orders`.
    pub example: String,
    /// The option that each part becomes.
    #[serde(default)]
    pub parts: BTreeMap<UrlPart, String>,
    /// Query parameters whose name or words are not those of an option.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, UrlParameter>,
    /// Nothing in front of the query is percent-encoded, as in keys of object stores.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub literal: bool,
}

impl UrlForm {
    /// A form without parts.
    pub fn new(schemes: &[&str], example: &str) -> Self {
        let schemes = schemes.iter().map(|scheme| (*scheme).to_owned()).collect();
        Self { schemes, example: example.to_owned(), ..Self::default() }
    }

    /// The option that a part becomes.
    #[must_use]
    pub fn part(mut self, part: UrlPart, option: &str) -> Self {
        self.parts.insert(part, option.to_owned());
        self
    }

    /// A query parameter that stands for an option of another name or with other words.
    #[must_use]
    pub fn parameter(mut self, name: &str, option: &str, words: &[(&str, &str)]) -> Self {
        let words = words.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned()));
        let parameter = UrlParameter { option: option.to_owned(), words: words.collect() };
        self.parameters.insert(name.to_owned(), parameter);
        self
    }
}

/// A part of a URL: `scheme://user:password@host:port/path#fragment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UrlPart {
    /// `scheme://` and all before the next `/`, as it is: the bucket of an object store. Excludes
    /// the parts between.
    Site,
    /// Before `:` or `@`.
    User,
    /// Between `:` and `@`.
    Password,
    /// A name or an address; without the brackets of IPv6.
    Host,
    /// The number behind the host.
    Port,
    /// What follows the host, without its first `/`. In a form without host and site it is a path of
    /// this machine: `scheme:relative/path` or `scheme:///absolute/path`.
    Path,
    /// Behind `#`, up to the end or the query.
    Fragment,
}

impl UrlPart {
    /// The word for messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::User => "user",
            Self::Password => "password",
            Self::Host => "host",
            Self::Port => "port",
            Self::Path => "path",
            Self::Fragment => "fragment",
        }
    }
}

/// A query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlParameter {
    /// The option that it becomes.
    pub option: String,
    /// Its words and the option's values for them; any value of the option if there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub words: BTreeMap<String, String>,
}

/// Paths of this machine that belong to a plugin by their extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathForm {
    /// The option that the path becomes.
    pub option: String,
    /// Extensions in lower case, without the dot: `csv`.
    pub extensions: Vec<String>,
    /// Extensions that may follow one of these: `gz`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suffixes: Vec<String>,
    /// The option that the part behind `#` becomes; empty if a path has no such part.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fragment: String,
    /// Folders are taken as well: what ends in `/`, or is a folder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folders: bool,
    /// `-`, standard input or output, is taken as well, with these options unless others are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<BTreeMap<String, String>>,
}
