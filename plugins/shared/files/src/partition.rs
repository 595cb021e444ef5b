//! Folders named after values, as Hive writes them (`day=2026-11-21/region=eu/`): what a name says,
//! which columns all files have in common, and comparisons that leave folders out before anybody
//! looks into them. Listing folders is the stores' work.

use std::cmp::Ordering;

use serde::Deserialize;
use transload_plugin_api::{Error, OptionKind, OptionSpec, Result, code};

/// The value that stands for NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// What folders named `key=value` mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionMode {
    /// Columns, if all files have the same ones.
    #[default]
    Auto,
    /// Columns, which all files must have.
    Hive,
    /// Nothing.
    None,
}

/// What one folder's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionValue {
    /// The column.
    pub key: String,
    /// Its value; `None` is NULL.
    pub value: Option<String>,
}

impl PartitionValue {
    /// From a folder's name, whose value (and key) may be percent-encoded; `None` for any other
    /// name.
    pub fn parse(folder: &str) -> Option<Self> {
        let (key, value) = folder.split_once('=').filter(|(key, _)| !key.is_empty())?;
        let value = (value != NULL).then(|| decoded(value));
        Some(Self { key: decoded(key), value })
    }
}

/// The options `partitions` and `partition_filter`.
pub fn partition_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::choice(
            "partitions",
            &["auto", "hive", "none"],
            "Folders `key=value` as columns: if all files have the same ones, always, or never",
        ),
        OptionSpec::new(
            "partition_filter",
            OptionKind::List,
            "Comparisons that all must hold, such as `day >= 2026-11-01` or `region in eu, us`; \
             other folders are not looked into",
        ),
    ]
}

/// The partitions of a list of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions {
    /// The columns that all files have.
    pub keys: Vec<String>,
    /// Each file's values of them.
    pub values: Vec<Vec<Option<String>>>,
    /// Why there are no columns although some folders look like it.
    pub trouble: Option<String>,
}

impl Partitions {
    /// That there are columns of all names that are compared.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] that names the comparison, and the columns that there are.
    pub fn check(&self, filter: &PartitionFilter) -> Result<()> {
        let unknown = filter.comparisons.iter().find(|it| !self.keys.contains(&it.key));
        let Some(Comparison { key, text, .. }) = unknown else { return Ok(()) };
        let message = format!("`partition_filter`: there is no partition `{key}` for `{text}`");
        let hint = match (&self.trouble, self.keys.is_empty()) {
            (Some(trouble), _) => trouble.clone(),
            (None, true) => "the files have no partitions".to_owned(),
            (None, false) => format!("the files have: {}", self.keys.join(", ")),
        };
        Err(Error::options(message).hint(hint))
    }

    /// A note for the plan: why folders that look like columns are not used as columns.
    pub fn note(&self) -> Option<String> {
        let trouble = self.trouble.as_ref()?;
        Some(format!("folders `key=value` are not taken as columns: {trouble}"))
    }
}

/// The columns that the folders of `names` have in common, and each name's values. A name is that
/// of a file below the folder that the job names, with `/` between its parts.
///
/// # Errors
/// [`transload_plugin_api::ErrorKind::Schema`] where `hive` finds files that differ, both named.
pub fn partitions<'a>(
    mode: PartitionMode,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Partitions> {
    let mut all = Vec::new();
    let mut found = None;
    let mut common: Option<(Vec<String>, &str)> = None;
    for name in names {
        let (keys, values): (Vec<_>, Vec<_>) = match mode {
            PartitionMode::None => (Vec::new(), Vec::new()),
            _ => values_of(name).into_iter().map(|it| (it.key, it.value)).unzip(),
        };
        let (first, first_name) = common.get_or_insert_with(|| (keys.clone(), name));
        if let Some(trouble) = trouble(first, first_name, &keys, name) {
            if mode == PartitionMode::Hive {
                return Err(Error::schema(trouble)
                    .with_code(code::FILE_PARTITION)
                    .at(name)
                    .hint("read them in two jobs, or set `partitions = \"none\"`"));
            }
            found.get_or_insert(trouble);
        }
        all.push(values);
    }
    let keys = match found {
        None => common.map(|(keys, _)| keys).unwrap_or_default(),
        Some(_) => Vec::new(),
    };
    match (mode, all.first(), keys.is_empty()) {
        (PartitionMode::Hive, Some(_), true) => {
            Err(Error::schema("there are no folders `key=value`")
                .with_code(code::FILE_PARTITION)
                .hint("`partitions = \"hive\"` needs them below the folder that `path` names"))
        }
        (_, _, true) => {
            Ok(Partitions { keys, values: vec![Vec::new(); all.len()], trouble: found })
        }
        _ => Ok(Partitions { keys, values: all, trouble: None }),
    }
}

/// What the folders of a name say, from the outermost on.
fn values_of(name: &str) -> Vec<PartitionValue> {
    let folders = name.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter_map(PartitionValue::parse).collect()
}

fn trouble(first: &[String], first_name: &str, keys: &[String], name: &str) -> Option<String> {
    let twice = keys.iter().enumerate().find(|(index, key)| keys[..*index].contains(key));
    if let Some((_, key)) = twice {
        return Some(format!("`{key}` stands in two folders of `{name}`"));
    }
    if first == keys {
        return None;
    }
    let list = |keys: &[String]| match keys.is_empty() {
        true => "none".to_owned(),
        false => format!("`{}`", keys.join("`, `")),
    };
    let (first, keys) = (list(first), list(keys));
    Some(format!("`{first_name}` has the partitions {first}, and `{name}` has {keys}"))
}

/// Comparisons of partition columns with values, which all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionFilter {
    comparisons: Vec<Comparison>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    key: String,
    operator: Operator,
    /// One, or with `in` several.
    values: Vec<String>,
    /// As it was written.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    In,
}

/// Longer ones first, so that `<=` is not `<`.
const OPERATORS: &[(&str, Operator)] = &[
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("!=", Operator::Unequal),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl PartitionFilter {
    /// From comparisons such as `day >= 2026-11-01`, `region in eu, us`, `hour != 5`. Values may
    /// stand in quotes.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for an invalid comparison.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let comparisons =
            texts.iter().map(|text| Comparison::parse(text)).collect::<Result<_>>()?;
        Ok(Self { comparisons })
    }

    /// Nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.comparisons.is_empty()
    }

    /// Whether some comparison speaks of a folder's column.
    pub fn speaks_of(&self, folder: &PartitionValue) -> bool {
        self.comparisons.iter().any(|comparison| comparison.key == folder.key)
    }

    /// Whether the names of these folders, from the outermost on, have all that is compared.
    pub fn is_decided_by(&self, folders: &str) -> bool {
        let known: Vec<_> = folders.split('/').filter_map(PartitionValue::parse).collect();
        self.comparisons.iter().all(|it| known.iter().any(|folder| folder.key == it.key))
    }

    /// Whether files below a folder of this name can be among those wanted. NULL is compared with
    /// nothing, so it never is.
    pub fn admits(&self, folder: &PartitionValue) -> bool {
        let of_folder = self.comparisons.iter().filter(|it| it.key == folder.key);
        of_folder.into_iter().all(|it| folder.value.as_deref().is_some_and(|value| it.holds(value)))
    }

    /// Whether a file is among those wanted, by all folders of its name.
    pub fn admits_name(&self, name: &str) -> bool {
        self.is_empty() || values_of(name).iter().all(|folder| self.admits(folder))
    }
}

impl Comparison {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::options(format!("`partition_filter`: `{text}` {why}")).hint(
                "it is `key = value`, also with `!=`, `<`, `<=`, `>`, `>=`, or `key in a, b, c`",
            )
        };
        let (key, operator, rest) =
            Self::divided(text).ok_or_else(|| wrong("is not a comparison"))?;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(wrong("does not begin with a partition's name"));
        }
        let values: Vec<_> = match operator {
            Operator::In => {
                let list = rest.trim();
                let inner = list.strip_prefix('(').and_then(|list| list.strip_suffix(')'));
                inner.unwrap_or(list).split(',').map(|value| unquoted(value.trim())).collect()
            }
            _ => vec![unquoted(rest.trim())],
        };
        if values.iter().any(Option::is_none) {
            return Err(wrong("has an unclosed quote or an empty value"));
        }
        let values = values.into_iter().flatten().map(str::to_owned).collect();
        Ok(Self { key: key.to_owned(), operator, values, text: text.to_owned() })
    }

    /// The key, the operator and the text behind it.
    fn divided(text: &str) -> Option<(&str, Operator, &str)> {
        let symbol = text.find(['=', '<', '>', '!']);
        let word = text.find(" in ").or_else(|| text.find(" in("));
        if let Some(at) = word.filter(|at| symbol.is_none_or(|symbol| *at < symbol)) {
            return Some((text[..at].trim(), Operator::In, &text[at + " in".len()..]));
        }
        let (key, rest) = text.split_at(symbol?);
        let (symbol, operator) = OPERATORS.iter().find(|(symbol, _)| rest.starts_with(symbol))?;
        Some((key.trim(), *operator, &rest[symbol.len()..]))
    }

    fn holds(&self, value: &str) -> bool {
        let ordering = |index: usize| compare(value, &self.values[index]);
        match self.operator {
            Operator::Equal => ordering(0) == Ordering::Equal,
            Operator::Unequal => ordering(0) != Ordering::Equal,
            Operator::Less => ordering(0) == Ordering::Less,
            Operator::AtMost => ordering(0) != Ordering::Greater,
            Operator::Greater => ordering(0) == Ordering::Greater,
            Operator::AtLeast => ordering(0) != Ordering::Less,
            Operator::In => self.values.iter().any(|it| compare(value, it) == Ordering::Equal),
        }
    }
}

/// Two integers as numbers (`05` is 5), everything else as text.
fn compare(value: &str, other: &str) -> Ordering {
    match (value.parse::<i128>(), other.parse::<i128>()) {
        (Ok(value), Ok(other)) => value.cmp(&other),
        _ => value.cmp(other),
    }
}

/// A value without its quotes; `None` if it is missing or a quote is not closed.
fn unquoted(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.strip_suffix(quote).filter(|inner| !inner.contains(quote));
        }
    }
    (!value.is_empty()).then_some(value)
}

/// A text without its percent-encoding; invalid encoding, or encoding that is not UTF-8, stays unchanged.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut next = 0;
    while let Some(byte) = bytes.get(next) {
        let pair = digit(bytes.get(next + 1)).zip(digit(bytes.get(next + 2)));
        match pair.filter(|_| *byte == b'%') {
            Some((high, low)) => {
                plain.push((high * 16 + low) as u8);
                next += 3;
            }
            None => {
                plain.push(*byte);
                next += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn filter(texts: &[&str]) -> Result<PartitionFilter> {
        PartitionFilter::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_of_folders_are_values() {
        let value = |key: &str, value: Option<&str>| {
            Some(PartitionValue { key: key.to_owned(), value: value.map(str::to_owned) })
        };
        for (folder, expected) in [
            ("day=2026-11-21", value("day", Some("2026-11-21"))),
            ("a=b=c", value("a", Some("b=c"))),
            ("a=", value("a", Some(""))),
            ("a=x%2Fy%20z", value("a", Some("x/y z"))),
            ("a=%C3%BC", value("a", Some("ü"))),
            ("a=100%", value("a", Some("100%"))),
            ("a=%zz%4", value("a", Some("%zz%4"))),
            ("a=%FF", value("a", Some("%FF"))),
            ("a=__HIVE_DEFAULT_PARTITION__", value("a", None)),
            ("=b", None),
            ("plain", None),
        ] {
            assert_eq!(PartitionValue::parse(folder), expected, "{folder}");
        }
    }

    #[test]
    fn files_share_their_folders_keys() {
        let names = ["day=1/region=eu/a.csv", "x/day=2/region=__HIVE_DEFAULT_PARTITION__/b.csv"];
        let found = partitions(PartitionMode::Auto, names).unwrap();
        assert_eq!(found.keys, ["day", "region"]);
        assert_eq!(found.values[0], [Some("1".to_owned()), Some("eu".to_owned())]);
        assert_eq!(found.values[1], [Some("2".to_owned()), None]);
        let none = Partitions { values: vec![vec![], vec![]], ..Partitions::default() };
        assert_eq!(partitions(PartitionMode::None, names).unwrap(), none);
        // The file's own name is no folder.
        assert!(partitions(PartitionMode::Auto, ["a=b.csv"]).unwrap().keys.is_empty());
        assert!(partitions(PartitionMode::Hive, []).unwrap().keys.is_empty());
    }

    #[test]
    fn files_that_differ_have_no_partitions_in_common() {
        for names in [
            ["day=1/a.csv", "hour=1/a.csv"],
            ["day=1/hour=2/a.csv", "hour=2/day=1/a.csv"],
            ["day=1/a.csv", "a.csv"],
            ["a.csv", "day=1/a.csv"],
            ["day=1/day=2/a.csv", "day=1/day=2/b.csv"],
        ] {
            let found = partitions(PartitionMode::Auto, names).unwrap();
            assert_eq!((found.keys.len(), found.values), (0, vec![vec![], vec![]]), "{names:?}");
            assert!(found.trouble.unwrap().contains("day"));
            let error = partitions(PartitionMode::Hive, names).unwrap_err();
            assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Schema, "FILE-PARTITION"));
            assert!(error.message.contains("day"), "{error}");
        }
        assert!(partitions(PartitionMode::Hive, ["a.csv"]).is_err());
    }

    #[test]
    fn comparisons_hold_for_numbers_and_texts() {
        for (text, value, holds) in [
            ("hour = 5", "05", true),
            ("hour = 5", "6", false),
            ("hour=5", "5", true),
            ("hour < 10", "9", true),
            ("hour < 10", "10", false),
            ("hour <= 10", "10", true),
            ("hour > -1", "0", true),
            ("hour >= 10", "9", false),
            ("hour != 5", "05", false),
            ("hour != 5", "x", true),
            ("day >= 2026-11-01", "2026-11-21", true),
            ("day >= 2026-11-01", "2026-10-31", false),
            ("region in eu, us", "us", true),
            ("region in (eu,us)", "asia", false),
            ("region in 'eu', \"us\"", "us", true),
            ("hour in 1, 2", "02", true),
            ("region = 'a b'", "a b", true),
            ("region = a=b", "a=b", true),
            ("region = in x", "in x", true),
        ] {
            let filter = filter(&[text]).unwrap();
            let key = text.split([' ', '=']).next().unwrap().to_owned();
            let folder = PartitionValue { key, value: Some(value.to_owned()) };
            assert_eq!(filter.admits(&folder), holds, "{text} for {value}");
        }
    }

    #[test]
    fn all_comparisons_of_a_column_must_hold_and_null_is_none() {
        let filter = filter(&["day >= 2", "day < 4", "region != x"]).unwrap();
        for (name, admitted) in [
            ("day=1/region=eu/a", false),
            ("day=2/region=eu/a", true),
            ("day=3/region=x/a", false),
            ("day=4/region=eu/a", false),
            ("day=3/region=__HIVE_DEFAULT_PARTITION__/a", false),
            ("day=3/other=1/a", true),
        ] {
            assert_eq!(filter.admits_name(name), admitted, "{name}");
        }
        for (folders, decided) in
            [("x/day=1/region=eu", true), ("day=1", false), ("", false), ("day=1/region", false)]
        {
            assert_eq!(filter.is_decided_by(folders), decided, "{folders}");
        }
        assert!(filter.speaks_of(&PartitionValue::parse("day=9").unwrap()));
        assert!(!filter.speaks_of(&PartitionValue::parse("other=9").unwrap()));
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        for text in
            ["", "day", "day >", "= 5", "day in", "day in a,,b", "day = 'x", "a b = 1", "day ~ 5"]
        {
            let error = filter(&[text]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{text}");
            assert!(error.message.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn unknown_columns_are_named() {
        let filter = filter(&["day > 1", "hour = 2"]).unwrap();
        let with = |keys: &[&str]| Partitions {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Partitions::default()
        };
        assert!(with(&["day", "hour"]).check(&filter).is_ok());
        let error = with(&["day"]).check(&filter).unwrap_err();
        assert!(error.message.contains("`hour`"), "{error}");
        assert!(with(&[]).check(&filter).is_err());
        assert!(with(&[]).check(&PartitionFilter::default()).is_ok());
    }
}
