//! Fills `${name}` in a job's strings from `--param`, `[params]` and the dates of the run.
//! It works on parsed strings, so a value cannot change the file's structure, and values are not
//! scanned again. What stays unresolved is reported before anything is opened.
//!
//! | in the file | becomes |
//! |---|---|
//! | `${region}` | the value: from `--param`, else from `[params]`, else built in |
//! | `${region!raw}` | the same; in SQL as it is, not as a value: see `sql` |
//! | `${bizdate}`, `$bizdate` | a date with a name: see `schedule` |
//! | `${yyyymmdd-7}` | the business date, moved: see `date_expression` |
//! | `$[hh24miss-1/24]` | the scheduled time, moved |
//! | `$${` | `${` |
//!
//! `[params]` may use built-ins and `--param` values, but not each other. A `--param` that the
//! job does not use, and `$region` without braces, are problems, because both are likely mistakes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::{civil::Date, tz::TimeZone};

use crate::nearest::nearest;

use super::{
    JobRequest,
    date_expression::{Refusal, is_meant},
    document::{Document, Entry, Filled, Node, Source, Table, Value},
    problem::{Location, Problem, Problems},
    schedule::{self, GivenTime, Schedule},
};

const BIZDATE: &str = "bizdate";
/// The key of the zone in which a job's dates are meant.
const TIME_ZONE: &str = "time_zone";
/// Behind the name of a parameter: its value may become a part of SQL.
const RAW: &str = "!raw";
/// Fills every string of the document except the keys. What cannot be filled is marked as broken.
/// Returns what the job uses.
pub(super) fn fill(
    document: &mut Document,
    request: &JobRequest,
    problems: &mut Problems,
) -> UsedParameters {
    let zone = zone(&document.root, problems);
    let mut parameters = Parameters::new(request, zone, problems);
    let Document { source, root } = document;
    // `[params]` first: the other sections use its values.
    for entry in root.0.iter_mut().filter(|entry| entry.key == "params") {
        parameters.take_own(entry, source, problems);
    }
    for entry in root.0.iter_mut().filter(|entry| entry.key != "params") {
        parameters.fill_node(&mut entry.node, &entry.path, source, problems);
    }
    parameters.refuse_unused(problems);
    let Parameters { schedule, mut found, .. } = parameters;
    // Nothing follows from a time that is not used.
    let needed = schedule.needed().filter(|_| !found.dates.is_empty());
    found.scheduled = needed.map(ToString::to_string);
    found
}

/// The parameters that a job uses.
#[derive(Default)]
pub(super) struct UsedParameters {
    /// Their values by their names; that of `$[...]` is the expression as it is written.
    pub(super) values: BTreeMap<String, String>,
    /// Those that follow from the scheduled time.
    pub(super) dates: BTreeSet<String>,
    /// The scheduled time, if there are such.
    pub(super) scheduled: Option<String>,
}

/// The zone that the job declares.
fn zone(root: &Table, problems: &mut Problems) -> Option<TimeZone> {
    let entry = root.0.iter().find(|entry| entry.key == TIME_ZONE)?;
    let Value::Text(name) = &entry.node.value else {
        return None; // whoever reads the key says so
    };
    TimeZone::get(name)
        .map_err(|_| {
            let message = format!("there is no time zone `{name}`");
            let hint = "write a name such as `UTC` or `Asia/Shanghai`";
            problems.add(Problem::new(&entry.node.place, TIME_ZONE, message).hint(hint));
        })
        .ok()
}

/// All parameters with their values, and which ones the job has used.
struct Parameters {
    given: BTreeMap<String, String>,
    own: BTreeMap<String, String>,
    schedule: Schedule,
    used: BTreeSet<String>,
    placeholders: BTreeSet<String>,
    found: UsedParameters,
}

impl Parameters {
    fn new(request: &JobRequest, zone: Option<TimeZone>, problems: &mut Problems) -> Self {
        let mut given = BTreeMap::new();
        for (name, value) in &request.params {
            if name == BIZDATE {
                check_date("--param", value, problems);
            }
            if given.insert(name.clone(), value.clone()).is_some() {
                problems.add(flag_problem(name, format!("parameter `{name}` is given twice")));
            }
        }
        let bizdate = request.bizdate.as_ref();
        let bizdate = bizdate.and_then(|text| check_date("--bizdate", text, problems));
        let cyctime = request.cyctime.as_ref().and_then(|text| check_time(text, problems));
        let (used, placeholders) = (BTreeSet::new(), BTreeSet::new());
        let schedule = Schedule::new(cyctime, bizdate, zone);
        let (own, found) = (BTreeMap::new(), UsedParameters::default());
        Self { given, own, schedule, used, placeholders, found }
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
                Piece::Bare { written, name } => (written, self.bare(written, name)),
                Piece::Expression { written } => (written, self.expression(written)),
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
    fn filled(&mut self, name: &str) -> Result<Filled, Refusal> {
        let (name, raw) = name.strip_suffix(RAW).map_or((name, false), |name| (name, true));
        Ok(Filled::Parameter { name: name.to_owned(), value: self.value(name)?, raw })
    }

    /// What `$name` becomes: a date with a name is filled in, any other text stays.
    fn bare(&mut self, written: &str, name: &str) -> Result<Filled, Refusal> {
        if schedule::names().any(|date| date == name) {
            return self.filled(name);
        }
        if self.given.contains_key(name) || self.own.contains_key(name) {
            let message = format!("`{written}` without braces is not filled in");
            return Err((message, format!("write `${{{name}}}`")));
        }
        if schedule::is_of_instance(name) {
            let message = format!("`{written}` is the number of a scheduler's instance");
            let hint = format!("pass --param {name}=VALUE and write `${{{name}}}`");
            return Err((message, hint));
        }
        Ok(Filled::Text(written.to_owned()))
    }

    /// What `$[...]` becomes.
    fn expression(&mut self, written: &str) -> Result<Filled, Refusal> {
        let inside = written.strip_prefix("$[").and_then(|text| text.strip_suffix(']'));
        let Some(inside) = inside else {
            return Err((format!("`{written}` is not closed"), "close it with `]`".to_owned()));
        };
        let value = self.schedule.expression(inside)?;
        self.found.dates.insert(written.to_owned());
        self.found.values.insert(written.to_owned(), value.clone());
        Ok(Filled::Parameter { name: written.to_owned(), value, raw: false })
    }

    /// The value of a parameter.
    fn value(&mut self, name: &str) -> Result<String, Refusal> {
        self.placeholders.insert(name.to_owned());
        let value = self.find(name)?;
        self.found.values.insert(name.to_owned(), value.clone());
        Ok(value)
    }

    fn find(&mut self, name: &str) -> Result<String, Refusal> {
        if let Some(value) = self.given.get(name) {
            self.used.insert(name.to_owned());
            return Ok(value.clone());
        }
        if let Some(value) = self.own.get(name) {
            return Ok(value.clone());
        }
        let mut known: Vec<&str> = schedule::names().collect();
        known.extend(self.given.keys().chain(self.own.keys()).map(String::as_str));
        let near = nearest(name, known).map(str::to_owned);
        match self.schedule.value(name) {
            // A name that is nearly that of a parameter is no date with a mistake.
            Some(Err(_)) if near.is_some() && is_meant(name) => {}
            Some(found) => {
                let value = found?;
                self.found.dates.insert(name.to_owned());
                return Ok(value);
            }
            None => {}
        }
        let hint = match near {
            Some(near) => format!("did you mean `${{{near}}}`?"),
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

fn check_date(flag: &str, text: &str, problems: &mut Problems) -> Option<Date> {
    let date = schedule::date(text);
    if date.is_none() {
        let message = format!("expected a date as `YYYYMMDD`, found `{text}`");
        problems.add(Problem::new(&Location::whole(flag), BIZDATE, message));
    }
    date
}

fn check_time(text: &str, problems: &mut Problems) -> Option<GivenTime> {
    let time = GivenTime::read(text);
    if time.is_none() {
        let message = format!("expected a time as `YYYYMMDDHHMMSS`, found `{text}`");
        let problem = Problem::new(&Location::whole("--cyctime"), "cyctime", message);
        problems.add(problem.hint("or as in `2025-11-01T00:00:00+08:00`"));
    }
    time
}

fn flag_problem(name: &str, message: String) -> Problem {
    Problem::new(&Location::whole(Path::new("--param")), name, message)
}

fn unclosed() -> Refusal {
    let hint = "close it with `}`, or write `$${` for the text `${`";
    ("`${` is not closed".to_owned(), hint.to_owned())
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
        && is_expression(inside)
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

/// Whether `$[` begins a date, and not a path in JSON.
fn is_expression(inside: &str) -> bool {
    const BEGINNINGS: [&str; 9] =
        ["yyyy", "yymm", "mm", "dd", "hh", "mi", "ss", "add_months(", "last_day("];
    let begins = |begin: &&str| {
        inside.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin))
    };
    BEGINNINGS.iter().any(begins)
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
