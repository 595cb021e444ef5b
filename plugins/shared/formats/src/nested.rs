//! How values that have fields become columns: structs, maps and lists of structs in Parquet, objects
//! in JSON. One meaning for both; a format says which of its values have fields.

use std::collections::HashMap;

use serde::Deserialize;

use crate::Format;

/// How a job wants nested values to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NestedChoice {
    /// [`Nested::Flatten`] where the files declare the fields, else [`Nested::Json`].
    Auto,
    /// [`Nested::Flatten`].
    Flatten,
    /// [`Nested::Json`].
    Json,
    /// [`Nested::Fail`].
    Fail,
}

/// How nested values are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nested {
    /// Each field of a struct is a column `struct.field`; maps and lists of structs are JSON texts.
    #[default]
    Flatten,
    /// Each nested value is a JSON text.
    Json,
    /// Columns with nested values are refused.
    Fail,
}

/// How nested values are read, and the exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nesting {
    /// The rule.
    pub nested: Nested,
    /// Structs that are one JSON text each, whatever the rule is: the job declares them as columns.
    pub whole: Vec<String>,
}

impl NestedChoice {
    /// What it means for files of a format. Of these, Parquet alone declares the fields of a struct:
    /// an object of JSON may have another key in its next row.
    pub(crate) fn of(self, format: Format) -> Nested {
        match self {
            Self::Auto if format == Format::Parquet => Nested::Flatten,
            Self::Auto | Self::Json => Nested::Json,
            Self::Flatten => Nested::Flatten,
            Self::Fail => Nested::Fail,
        }
    }
}

impl Nesting {
    /// Whether the struct of this name is divided into columns.
    pub(crate) fn flattens(&self, name: &str) -> bool {
        self.nested == Nested::Flatten && !self.whole.iter().any(|whole| whole == name)
    }
}

/// A column of a file, and what it becomes.
pub(crate) struct Candidate {
    /// Its own name.
    pub(crate) name: String,
    /// The names of the columns of its fields; none if it is not divided.
    pub(crate) fields: Vec<String>,
}

/// The columns that must not be divided, because another column has the name of one of their fields,
/// each with that name. Without them, no name of a field comes twice.
pub(crate) fn taken_names(candidates: &[Candidate]) -> HashMap<usize, String> {
    let mut whole = HashMap::new();
    loop {
        let mut count: HashMap<&str, usize> = HashMap::new();
        let names = |(index, candidate): (usize, &'_ Candidate)| {
            !whole.contains_key(&index) && !candidate.fields.is_empty()
        };
        for (index, candidate) in candidates.iter().enumerate() {
            match names((index, candidate)) {
                true => candidate.fields.iter().for_each(|it| *count.entry(it).or_default() += 1),
                false => *count.entry(&candidate.name).or_default() += 1,
            }
        }
        let divided = candidates.iter().enumerate().filter(|it| names(*it));
        let found: Vec<_> = divided
            .filter_map(|(index, candidate)| {
                let taken = candidate.fields.iter().find(|name| count[name.as_str()] > 1)?;
                Some((index, taken.clone()))
            })
            .collect();
        if found.is_empty() {
            return whole;
        }
        whole.extend(found);
    }
}

/// The first of these names, and how many more there are.
pub(crate) fn listed(names: &[&str]) -> String {
    const NAMED: usize = 8;
    let first: Vec<_> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{}, and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(candidates: &[(&str, &[&str])]) -> Vec<usize> {
        let candidate = |(name, fields): &(&str, &[&str])| Candidate {
            name: (*name).to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        };
        let candidates: Vec<_> = candidates.iter().map(candidate).collect();
        let mut whole: Vec<_> = taken_names(&candidates).into_keys().collect();
        whole.sort_unstable();
        whole
    }

    #[test]
    fn a_struct_with_a_name_that_is_taken_is_not_divided() {
        assert_eq!(whole(&[("a", &["a.b", "a.c"]), ("d", &[])]), [0; 0]);
        assert_eq!(whole(&[("a", &["a.b"]), ("a.b", &[])]), [0]);
        assert_eq!(whole(&[("a", &["a.b.c"]), ("a.b", &["a.b.c"])]), [0, 1]);
        // The second one keeps its own name, which then is the name of a field of the first.
        assert_eq!(whole(&[("a", &["a.b"]), ("a.b", &["a.b.c"]), ("a.b.c", &[])]), [0, 1]);
    }
}
