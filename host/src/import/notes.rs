//! What an import tells: what the old job really did, what each key becomes, what is left to do, and
//! why something was refused. How it is printed is left to `report`.

use std::collections::BTreeSet;

use serde::Serialize;
use transload_plugin_api::code;

use super::tree::{Fields, Item, place_of};
use crate::nearest;

/// What happened to a key, or to something that the old job did without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The new job does what the old one really did; the other choice is in its comment.
    Kept,
    /// The new job does what was meant, or what is safe; the other choice is in its comment.
    Repaired,
    /// The new job differs, and there is no choice.
    Changed,
    /// The key had no effect on the rows, or has none here.
    Unused,
    /// The new job needs something from its user.
    Todo,
    /// Nothing was imported because of this.
    Refused,
}

impl Kind {
    /// The word in reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Repaired => "repaired",
            Self::Changed => "changed",
            Self::Unused => "no effect",
            Self::Todo => "to do",
            Self::Refused => "refused",
        }
    }
}

/// One thing that the report says about a document.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) kind: Kind,
    /// The code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    /// The name of the choice, one of [`CHOICES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) choice: Option<&'static str>,
    /// Counted from 1.
    pub(crate) line: u32,
    /// In characters, counted from 1.
    pub(crate) column: u32,
    /// Such as `job.content[0].reader.parameter.where`.
    pub(crate) path: String,
    /// Lower case, no final period.
    pub(crate) message: String,
    /// What to do, or the line for the other choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

/// What an old job did beside what its document says, and what the other choice is.
pub(crate) const CHOICES: &[(&str, &str)] = &[
    ("content", "only the first entry of `content` was run; repair: each becomes a job"),
    ("dirty-limit", "without a limit, any number of dirty rows was accepted; repair: none is"),
    ("dirty-ratio", "beside `record`, `percentage` had no effect; repair: both limits hold"),
    ("empty-cells", "an empty cell of a file was an empty text; repair: it is NULL"),
    ("null-text", "NULL was written as the text `null`; repair: as `\\N`, as the manual says"),
    ("parallelism", "beside `byte` or `record`, `channel` had no effect; repair: it is used"),
    ("plain-http", "keys and rows went over HTTP; repair: over HTTPS"),
    ("plain-text", "texts were written without quotes; repair: with quotes where they are needed"),
    (
        "truncate-first",
        "the target was emptied before the rows came; repair: it is replaced at the end",
    ),
    (
        "without-tls",
        "the connection was not encrypted, as its address says; repair: it is verified",
    ),
    ("zero-dates", "MySQL's zero dates became NULL; repair: such rows are dirty"),
];

/// Which choices are repaired; all others are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    repaired: BTreeSet<String>,
}

impl Choices {
    /// From `--keep` and `--repair`; each is a list of names, or `all`. Names come before `all`.
    pub(crate) fn new(keep: &[String], repair: &[String]) -> Self {
        let is_all = repair.iter().any(|name| name == "all");
        let names = CHOICES.iter().map(|(name, _)| (*name).to_owned());
        let is_repaired = |name: &String| repair.contains(name) || is_all && !keep.contains(name);
        Self { repaired: names.filter(is_repaired).collect() }
    }

    /// Whether a choice is repaired.
    pub(super) fn is_repaired(&self, name: &str) -> bool {
        self.repaired.contains(name)
    }
}

/// The text of a document, for places.
pub(super) struct Notes<'d> {
    text: &'d str,
    choices: &'d Choices,
    notes: Vec<Note>,
}

impl<'d> Notes<'d> {
    pub(super) fn new(text: &'d str, choices: &'d Choices) -> Self {
        Self { text, choices, notes: Vec::new() }
    }

    /// A note at an offset.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        (path, offset): (&str, usize),
        message: impl Into<String>,
        hint: &str,
    ) {
        let (line, column) = place_of(self.text, offset);
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        let (path, message) = (path.to_owned(), message.into());
        let code = (kind == Kind::Refused).then_some(code::IMPORT_VALUE);
        let note = Note { kind, code, choice: None, line, column, path, message, hint };
        let same =
            |it: &Note| (it.kind, &it.path, &it.message) == (kind, &note.path, &note.message);
        if !self.notes.iter().any(same) {
            self.notes.push(note);
        }
    }

    pub(super) fn refuse(&mut self, item: &Item<'_>, message: impl Into<String>, hint: &str) {
        self.add(Kind::Refused, (&item.path, item.offset), message, hint);
    }

    /// As [`Self::refuse`], with a code of its own.
    pub(super) fn refuse_as(
        &mut self,
        code: &'static str,
        item: &Item<'_>,
        message: impl Into<String>,
        hint: &str,
    ) {
        self.refuse(item, message, hint);
        if let Some(note) = self.notes.last_mut() {
            note.code = Some(code);
        }
    }

    pub(super) fn changed(&mut self, item: &Item<'_>, message: impl Into<String>) {
        self.add(Kind::Changed, (&item.path, item.offset), message, "");
    }

    pub(super) fn unused(&mut self, item: &Item<'_>, message: impl Into<String>) {
        self.add(Kind::Unused, (&item.path, item.offset), message, "");
    }

    pub(super) fn todo(&mut self, item: &Item<'_>, message: impl Into<String>, hint: &str) {
        self.add(Kind::Todo, (&item.path, item.offset), message, hint);
    }

    /// Whether this choice is repaired. It is noted with what the old job did; `lines` are those of
    /// the job file that keep it and repair it.
    pub(super) fn is_repaired(
        &mut self,
        name: &'static str,
        item: &Item<'_>,
        message: impl Into<String>,
        lines: (&str, &str),
    ) -> bool {
        let is_repaired = self.choices.is_repaired(name);
        let (kind, hint) = match is_repaired {
            true => (Kind::Repaired, format!("to keep it: {}", lines.0)),
            false => (Kind::Kept, format!("to repair it: {}", lines.1)),
        };
        self.add(kind, (&item.path, item.offset), message, &hint);
        if let Some(note) = self.notes.last_mut() {
            note.choice = Some(name);
        }
        is_repaired
    }

    /// Notes what was not read. `known` are keys with the reason why they need not be.
    pub(super) fn rest(&mut self, fields: &Fields<'_>, whose: &str, known: &[(&str, &str)]) {
        for (key, item) in fields.rest() {
            match known.iter().find(|(name, _)| *name == key) {
                Some((_, reason)) => self.unused(&item, *reason),
                None if item.node.is_blank() => self.unused(&item, "it is empty"),
                None => {
                    let asked = fields.asked();
                    let names = known.iter().map(|(name, _)| *name);
                    let names = names.chain(asked.iter().map(String::as_str));
                    let near = nearest::nearest(key, names);
                    let hint = near.map(|near| format!("did you mean `{near}`?"));
                    let message = format!("{whose} has no key `{key}`, and took no notice of it");
                    let at = (item.path.as_str(), item.offset);
                    self.add(Kind::Unused, at, message, &hint.unwrap_or_default());
                }
            }
        }
    }

    pub(super) fn are_refused(&self) -> bool {
        self.notes.iter().any(|note| note.kind == Kind::Refused)
    }

    /// The notes in the order of the document.
    pub(super) fn finish(mut self) -> Vec<Note> {
        self.notes.sort_by_key(|note| (note.line, note.column));
        self.notes
    }
}
