//! Fills `${name}` in a job's strings from `--param`, `[params]` and the built-in `bizdate`.
//! It works on parsed strings, so a value cannot change the file's structure, and values are not
//! scanned again. What stays unresolved is reported before anything is opened.
//!
//! | in the file | becomes |
//! |---|---|
//! | `${region}` | the value: from `--param`, else from `[params]`, else built in |
//! | `${region!raw}` | the same; in SQL as it is, not as a value: see `sql` |
//! | `${bizdate}` | the business date as `YYYYMMDD`: `--bizdate`, else yesterday, local time |
//! | `$${` | `${` |
//!
//! `[params]` may use built-ins and `--param` values, but not each other. A `--param` that the
//! job does not use, and `$bizdate` without braces, are problems, because both are likely mistakes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::{Zoned, civil::Date, tz::TimeZone};

use crate::nearest::nearest;

use super::{
    JobRequest,
    document::{Document, Entry, Filled, Node, Source, Table, Value},
    problem::{Location, Problem, Problems},
};

const BIZDATE: &str = "bizdate";
/// Behind the name of a parameter: its value may become a part of SQL.
const RAW: &str = "!raw";
const BIZDATE_FORM: &str = "%Y%m%d";

/// Starts of the date expressions that DataWorks writes as `$[...]`.
const DATE_EXPRESSIONS: &[&str] =
    &["yyyy", "yymm", "mm", "dd", "hh", "mi", "ss", "add_months(", "last_day("];

/// Fills every string of the document except the keys. What cannot be filled is marked as broken.
/// Returns the parameters that the job uses, with their values.
pub(super) fn fill(
    document: &mut Document,
    request: &JobRequest,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut parameters = Parameters::new(request, problems);
    let Document { source, root } = document;
    // `[params]` first: the other sections use its values.
    for entry in root.0.iter_mut().filter(|entry| entry.key == "params") {
        parameters.take_own(entry, source, problems);
    }
    for entry in root.0.iter_mut().filter(|entry| entry.key != "params") {
        parameters.fill_node(&mut entry.node, &entry.path, source, problems);
    }
    parameters.refuse_unused(problems);
    let used = std::mem::take(&mut parameters.placeholders);
    let with_value = |name: String| parameters.value(&name).ok().map(|value| (name, value));
    used.into_iter().filter_map(with_value).collect()
}

/// All parameters with their values, and which ones the job has used.
struct Parameters {
    given: BTreeMap<String, String>,
    own: BTreeMap<String, String>,
    /// The business date, computed on first use; the reason if it is unknown.
    bizdate: Option<Result<String, String>>,
    used: BTreeSet<String>,
    placeholders: BTreeSet<String>,
}

impl Parameters {
    fn new(request: &JobRequest, problems: &mut Problems) -> Self {
        let mut given = BTreeMap::new();
        for (name, value) in &request.params {
            if name == BIZDATE {
                check_date("--param", value, problems);
            }
            if given.insert(name.clone(), value.clone()).is_some() {
                problems.add(flag_problem(name, format!("parameter `{name}` is given twice")));
            }
        }
        let bizdate = request.bizdate.as_ref().map(|text| {
            check_date("--bizdate", text, problems);
            Ok(text.clone())
        });
        let (used, placeholders) = (BTreeSet::new(), BTreeSet::new());
        Self { given, own: BTreeMap::new(), bizdate, used, placeholders }
    }

    /// Reads `[params]`: strings and integers.
    fn take_own(&mut self, params: &mut Entry, source: &Source, problems: &mut Problems) {
        let Value::Table { table, .. } = &mut params.node.value else {
            return; // whoever reads the sections says so
        };
        let mut own = BTreeMap::new();
        for entry in &mut table.0 {
            self.used.insert(entry.key.clone());
            self.fill_node(&mut entry.node, &entry.path, source, problems);
            let text = match &entry.node.value {
                Value::Text(text) => text.clone(),
                Value::Integer(number) => number.to_string(),
                Value::Broken => String::new(),
                other => {
                    let message = format!(
                        "parameter `{}` must be a string or an integer, found {}",
                        entry.key,
                        other.kind()
                    );
                    problems.add(Problem::new(&entry.node.place, &entry.path, message));
                    String::new()
                }
            };
            own.insert(entry.key.clone(), text);
        }
        self.own = own;
    }

    /// Fills the strings of a value. One that cannot be filled is marked as broken, with a problem.
    fn fill_node(&mut self, node: &mut Node, path: &str, source: &Source, problems: &mut Problems) {
        match &mut node.value {
            Value::Text(text) if text.contains('$') => {
                let raw = source.text.get(node.span.clone()).unwrap_or_default();
                let mut sound = true;
                let pieces = self.fill_text(text, |written, occurrence, message, hint| {
                    let offset = raw.match_indices(written).nth(occurrence).map_or(0, |(at, _)| at);
                    let place = source.place(node.span.start + offset);
                    problems.add(Problem::new(&place, path, message).hint(hint));
                    sound = false;
                });
                let text = |piece: &Filled| match piece {
                    Filled::Text(text) | Filled::Parameter { value: text, .. } => text.clone(),
                };
                let filled = pieces.iter().map(text).collect();
                node.value = if sound { Value::Text(filled) } else { Value::Broken };
                let has_any = pieces.iter().any(|piece| matches!(piece, Filled::Parameter { .. }));
                node.pieces = if has_any { pieces } else { Vec::new() };
            }
            Value::List(items) => {
                for item in items {
                    self.fill_node(item, path, source, problems);
                }
            }
            Value::Table { table: Table(entries), .. } => {
                for entry in entries {
                    self.fill_node(&mut entry.node, &entry.path, source, problems);
                }
            }
            _ => {}
        }
    }

    /// The parts of the text. `refuse` gets a part as written, its index among equal ones, a message
    /// and a hint.
    fn fill_text(
        &mut self,
        text: &str,
        mut refuse: impl FnMut(&str, usize, String, String),
    ) -> Vec<Filled> {
        let mut filled = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for piece in pieces(text) {
            let (written, value) = match piece {
                Piece::Text(text) => {
                    filled.push(Filled::Text(text.to_owned()));
                    continue;
                }
                Piece::Escaped => {
                    filled.push(Filled::Text("${".to_owned()));
                    continue;
                }
                Piece::Placeholder { written, name } => (written, self.filled(name)),
                Piece::Bare { written, name } if !self.knows(name) => {
                    (written, Ok(Filled::Text(written.to_owned())))
                }
                Piece::Bare { written, name } => (written, Err(bare(written, name))),
                Piece::Expression { written } => (written, Err(expression(written))),
                Piece::Unclosed { written } => (written, Err(unclosed())),
            };
            match value {
                Ok(part) => filled.push(part),
                Err((message, hint)) => {
                    let occurrence = seen.iter().filter(|other| **other == written).count();
                    refuse(written, occurrence, message, hint);
                }
            }
            seen.push(written);
        }
        filled
    }

    /// The part that `${name}` or `${name!raw}` becomes.
    fn filled(&mut self, name: &str) -> Result<Filled, (String, String)> {
        let (name, raw) = name.strip_suffix(RAW).map_or((name, false), |name| (name, true));
        Ok(Filled::Parameter { name: name.to_owned(), value: self.value(name)?, raw })
    }

    fn knows(&self, name: &str) -> bool {
        name == BIZDATE || self.given.contains_key(name) || self.own.contains_key(name)
    }

    /// The value of a parameter; the error is a message and a hint.
    fn value(&mut self, name: &str) -> Result<String, (String, String)> {
        self.placeholders.insert(name.to_owned());
        if let Some(value) = self.given.get(name) {
            self.used.insert(name.to_owned());
            return Ok(value.clone());
        }
        if let Some(value) = self.own.get(name) {
            return Ok(value.clone());
        }
        if name == BIZDATE {
            return self.bizdate.get_or_insert_with(yesterday).clone().map_err(|reason| {
                (format!("`${{bizdate}}` is unknown: {reason}"), "give --bizdate YYYYMMDD".into())
            });
        }
        let known = self.given.keys().chain(self.own.keys()).map(String::as_str).chain([BIZDATE]);
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `${{{near}}}`?"),
            None if is_date_format(name) => {
                "date formats are not supported; pass the date with --param NAME=VALUE".to_owned()
            }
            None => format!(
                "pass --param {name}=VALUE, set `{name}` in [params], or write `$${{` for the text \
                 `${{`"
            ),
        };
        Err((format!("parameter `${{{name}}}` has no value"), hint))
    }

    /// Reports `--param` values that the job does not use.
    fn refuse_unused(&self, problems: &mut Problems) {
        for name in self.given.keys() {
            // Schedulers pass the business date to every job, used or not.
            if name == BIZDATE || self.used.contains(name) {
                continue;
            }
            let message = format!("parameter `{name}` is not used in the job");
            let names = self.placeholders.iter().chain(self.own.keys()).map(String::as_str);
            problems.add(flag_problem(name, message).nearest(name, names));
        }
    }
}

fn check_date(flag: &str, text: &str, problems: &mut Problems) {
    if text.len() != 8 || Date::strptime(BIZDATE_FORM, text).is_err() {
        let message = format!("expected a date as `YYYYMMDD`, found `{text}`");
        problems.add(Problem::new(&Location::whole(flag), BIZDATE, message));
    }
}

fn flag_problem(name: &str, message: String) -> Problem {
    Problem::new(&Location::whole(Path::new("--param")), name, message)
}

fn bare(written: &str, name: &str) -> (String, String) {
    (format!("`{written}` without braces is not filled in"), format!("write `${{{name}}}`"))
}

fn expression(written: &str) -> (String, String) {
    let message = format!("date expressions such as `{written}` are not supported");
    (message, "pass the date with --param NAME=VALUE and write `${NAME}`".to_owned())
}

fn unclosed() -> (String, String) {
    let hint = "close it with `}`, or write `$${` for the text `${`";
    ("`${` is not closed".to_owned(), hint.to_owned())
}

/// `yyyymmdd`, `yyyy-mm-dd-1` and their like.
fn is_date_format(name: &str) -> bool {
    let letters = |c: char| matches!(c, 'y' | 'm' | 'd' | 'h' | 'i' | 's');
    name.starts_with(letters)
        && name.chars().all(|c| letters(c) || c.is_ascii_digit() || "-+:/ ".contains(c))
}

/// Yesterday in the machine's time zone.
fn yesterday() -> Result<String, String> {
    let zone = match TimeZone::try_system() {
        Ok(zone) => zone,
        // Without a zone the machine uses UTC, as the C library does. A zone that is named but not
        // found would shift the date for some hours of each day.
        Err(_) if std::env::var_os("TZ").is_none() => TimeZone::UTC,
        Err(error) => return Err(format!("the time zone in `TZ` is unknown: {error}")),
    };
    let today = Zoned::now().with_time_zone(zone).date();
    today.yesterday().map(business_date).map_err(|error| error.to_string())
}

fn business_date(date: Date) -> String {
    date.strftime(BIZDATE_FORM).to_string()
}

/// A part of a string.
#[derive(Debug, PartialEq)]
enum Piece<'t> {
    Text(&'t str),
    /// `$${`
    Escaped,
    /// `${name}`
    Placeholder {
        written: &'t str,
        name: &'t str,
    },
    /// `$name`
    Bare {
        written: &'t str,
        name: &'t str,
    },
    /// `$[yyyymmdd-1]`
    Expression {
        written: &'t str,
    },
    /// `${` that is not closed
    Unclosed {
        written: &'t str,
    },
}

fn pieces(mut text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while let Some(start) = text.find('$') {
        let (before, rest) = text.split_at(start);
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let (piece, length) = dollar(rest);
        pieces.push(piece);
        text = &rest[length..];
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// What a `$` begins, and its length. `$$` begins nothing, because SQL quotes text with it.
fn dollar(rest: &str) -> (Piece<'_>, usize) {
    if rest.starts_with("$${") {
        return (Piece::Escaped, 3);
    }
    if rest.starts_with("$$") {
        return (Piece::Text(&rest[..2]), 2);
    }
    if rest.starts_with("${") {
        return match rest.find('}') {
            Some(end) => {
                let (written, name) = (&rest[..=end], &rest[2..end]);
                (Piece::Placeholder { written, name }, end + 1)
            }
            None => (Piece::Unclosed { written: &rest[..2] }, rest.len()),
        };
    }
    if let Some(inside) = rest.strip_prefix("$[")
        && DATE_EXPRESSIONS.iter().any(|start| inside.starts_with(start))
    {
        let end = rest.find(']').map_or(rest.len(), |end| end + 1);
        return (Piece::Expression { written: &rest[..end] }, end);
    }
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let length = rest[1..].find(|c| !is_name(c)).map_or(rest.len(), |end| end + 1);
    // In SQL `$tag$` is a quote and `$1` a parameter.
    let quote = rest[length..].starts_with('$');
    if quote || rest[1..].starts_with(|c: char| c.is_ascii_digit()) || length == 1 {
        let end = if quote { length + 1 } else { length };
        return (Piece::Text(&rest[..end]), end);
    }
    (Piece::Bare { written: &rest[..length], name: &rest[1..length] }, length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written<'t>(piece: &Piece<'t>) -> &'t str {
        match piece {
            Piece::Escaped => "$${",
            Piece::Text(text) => text,
            Piece::Placeholder { written, .. }
            | Piece::Bare { written, .. }
            | Piece::Expression { written }
            | Piece::Unclosed { written } => written,
        }
    }

    #[test]
    fn what_a_dollar_begins() {
        for (text, expected) in [
            ("${a}", Piece::Placeholder { written: "${a}", name: "a" }),
            ("${}", Piece::Placeholder { written: "${}", name: "" }),
            ("$${", Piece::Escaped),
            ("$$", Piece::Text("$$")),
            ("$", Piece::Text("$")),
            ("$5", Piece::Text("$5")),
            ("$body$", Piece::Text("$body$")),
            ("$body", Piece::Bare { written: "$body", name: "body" }),
            ("$[yyyymmdd-1]", Piece::Expression { written: "$[yyyymmdd-1]" }),
            ("$[add_months(yyyymm,-1)]", Piece::Expression { written: "$[add_months(yyyymm,-1)]" }),
        ] {
            assert_eq!(pieces(text), [expected], "{text}");
        }
    }

    #[test]
    fn business_dates() {
        for (today, expected) in [("2026-03-01", "20260228"), ("2024-03-01", "20240229")] {
            let today: Date = today.parse().unwrap();
            assert_eq!(business_date(today.yesterday().unwrap()), expected);
        }
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole_text(text in "[ab$\\[{}\\]é ]{0,16}") {
            let mut joined: String = pieces(&text).iter().map(written).collect();
            // What follows an unclosed `${` is not looked at.
            if let Some(Piece::Unclosed { .. }) = pieces(&text).last() {
                joined.push_str(&text[joined.len()..]);
            }
            prop_assert_eq!(joined, text);
        }
    }
}
