//! One dirty row as a line of JSON: where it is, what it holds, all that is wrong with it. The form
//! is documented in docs/json.md, and later programs read it: keys are added, none changes.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use serde::Serialize;
use serde_json::value::RawValue;
use transload_plugin_api::{Column, DirtyClass, DirtyRow, Origin, RowError, RowText, Split};
use transload_values::JsonRow;

use super::kept::Kept;
use crate::{
    engine::converted_batch::ConvertedBatch,
    job::Redactor,
    plan::{Mapping, Plan},
};

/// The version of the form.
const VERSION: u32 = 1;
/// Longest value shown beside its error, in bytes.
const FOUND_BYTES: usize = 256;
/// Most errors of a row that are kept.
const ERRORS: usize = 100;
/// Codes of values that are not of the column's type.
const TYPE_CODES: &[&str] = &["parse", "range", "null", "utf8", "length", "zero-date"];

/// A dirty row as its file keeps it, and what messages say about it.
pub(in crate::engine) struct DirtyLine {
    /// The line, with its end.
    pub(super) json: String,
    /// Place, column and reason.
    pub(super) message: String,
    /// The source's column, if one is at fault, and the code of each error.
    pub(super) errors: Vec<(String, String)>,
    /// The source's column and the text of it that the first error is about, in a text format.
    pub(super) misread: Option<(String, String)>,
    /// The row's number in its source, if known.
    pub(in crate::engine) number: Option<u64>,
}

impl DirtyLine {
    /// How much memory it takes, about.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.json.len() + self.message.len()
    }

    /// The class of its first error.
    pub(super) fn class(&self) -> DirtyClass {
        DirtyClass::of(self.errors.first().map_or("", |(_, code)| code))
    }
}

/// Describes the dirty rows of one task.
pub(in crate::engine) struct DirtyLines<'a> {
    task: u32,
    split: Option<&'a Split>,
    mapping: &'a [Mapping],
    /// The columns of the source by which a row is found again.
    key: &'a [String],
    redactor: &'a Redactor,
}

/// Which part of the run refused a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    Read,
    Convert,
    Write,
}

/// One line of the file.
#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    task: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'a str>,
    stage: Stage,
    place: Option<&'a str>,
    #[serde(flatten)]
    source: Source<'a>,
    #[serde(flatten)]
    number: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<RowText>,
    /// The columns of the text's cells, if their order is not that of the plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    /// A part of the row is missing.
    #[serde(skip_serializing_if = "is_false")]
    cut: bool,
    /// A secret was removed from the row.
    #[serde(skip_serializing_if = "is_false")]
    redacted: bool,
    errors: Vec<ErrorLine>,
}

/// What the row is from.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Source<'a> {
    File(&'a str),
    Table(&'a str),
    #[serde(rename = "source")]
    Other(&'a str),
    #[serde(untagged)]
    Unknown {},
}

/// The row's number in it.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Line { line: u64 },
    Other { number: u64, unit: String },
    Unknown {},
}

/// One error of a row.
#[derive(Serialize)]
struct ErrorLine {
    column: Option<String>,
    /// The target's column, if it has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_column: Option<String>,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    found: Option<String>,
    reason: String,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// A column of the key with the row's value.
type KeyValue<'v, 'n> = (&'n str, &'v RawValue);

/// A row with all that is known of it.
struct Known<'a> {
    stage: Stage,
    row: DirtyRow,
    origin: Option<&'a Origin>,
    number: Option<u64>,
}

impl<'a> DirtyLines<'a> {
    pub(in crate::engine) fn new(plan: &'a Plan, task: u32, redactor: &'a Redactor) -> Self {
        let split = plan.splits.get(task as usize);
        Self { task, split, mapping: &plan.mapping, key: &plan.row_key, redactor }
    }

    /// A row that the reader refused.
    pub(in crate::engine) fn read(&self, row: DirtyRow, origin: Option<&Origin>) -> DirtyLine {
        self.line(Known { stage: Stage::Read, number: row.number, row, origin })
    }

    /// A row of the reader's batch that the conversion refused.
    pub(in crate::engine) fn converted(
        &self,
        row: DirtyRow,
        batch: &RecordBatch,
        origin: Option<&Origin>,
    ) -> DirtyLine {
        let columns = self.mapping.iter().map(|mapping| &mapping.source);
        let values = self.values(columns, batch, row.row);
        let place = origin.map(|origin| origin.place(row.row));
        let number = origin.and_then(|origin| origin.number(row.row));
        let row = DirtyRow { place, values, ..row };
        self.line(Known { stage: Stage::Convert, row, origin, number })
    }

    /// A row of a converted batch that the writer refused.
    pub(in crate::engine) fn written(
        &self,
        row: DirtyRow,
        converted: &ConvertedBatch,
    ) -> DirtyLine {
        let columns = self.mapping.iter().map(|mapping| &mapping.target);
        let values = self.values(columns, &converted.batch, row.row);
        let origin = converted.origin();
        let index = converted.index_at_the_reader(row.row);
        let place = origin.zip(index).map(|(origin, index)| origin.place(index));
        let number = origin.zip(index).and_then(|(origin, index)| origin.number(index));
        let row = DirtyRow { place, values, text: None, ..row };
        self.line(Known { stage: Stage::Write, row, origin, number })
    }

    /// A row of a batch of these columns, by the names of the source's columns. A conversion is
    /// exact, so the values of the target are those of the source.
    fn values<'c>(
        &self,
        columns: impl Iterator<Item = &'c Column>,
        batch: &RecordBatch,
        row: u64,
    ) -> Option<String> {
        let row = usize::try_from(row).ok().filter(|row| *row < batch.num_rows())?;
        let names = self.mapping.iter().map(|mapping| mapping.source.name.as_str());
        let columns = names.zip(columns).zip(batch.columns());
        Some(JsonRow::of(columns.map(|((name, it), array)| (name, &it.logical, array)), row))
    }

    fn line(&self, known: Known<'_>) -> DirtyLine {
        let Known { stage, mut row, origin, number } = known;
        let place = row.place.take().or_else(|| Some(origin?.place_of(number?)));
        let Kept { values, text, cut, redacted } =
            Kept::of(row.values.take(), row.text.take(), self.redactor);
        let of_row: HashMap<String, &RawValue> =
            values.as_deref().and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
        let key = self.key_of(&of_row);
        let key_json = key.as_ref().and_then(|key| object(key));
        let errors: Vec<_> = row.errors().take(ERRORS).collect();
        let message = self.message(place.as_deref(), key.as_deref(), errors.first());
        let misread = self.misread(stage, errors.first(), text.is_some(), &of_row);
        let mut causes = Vec::new();
        let errors = errors.into_iter().map(|error| {
            let error = self.error(stage, error, &of_row);
            causes.push((error.column.clone().unwrap_or_default(), error.code.clone()));
            error
        });
        let line = Line {
            version: VERSION,
            task: self.task,
            split: self.split.map(|split| split.label.as_str()),
            stage,
            place: place.as_deref(),
            source: self.source(origin),
            number: numbered(origin, number),
            errors: errors.collect(),
            key: key_json.as_deref(),
            row: values.as_deref().and_then(|values| serde_json::from_str(values).ok()),
            columns: if text.is_some() { row.columns } else { Vec::new() },
            text,
            cut,
            redacted,
        };
        // Its keys are texts, and its values can all be written.
        let mut json = serde_json::to_string(&line).unwrap_or_default();
        json.push('\n');
        DirtyLine { json, message, errors: causes, misread, number }
    }

    fn misread(
        &self,
        stage: Stage,
        first: Option<&RowError>,
        is_text: bool,
        values: &HashMap<String, &RawValue>,
    ) -> Option<(String, String)> {
        let first = first.filter(|error| TYPE_CODES.contains(&error.code.as_str()));
        let column = first.filter(|_| is_text && stage == Stage::Read)?.column.as_ref()?;
        let text = text_of(values.get(column)?)?;
        let short = text.len() <= FOUND_BYTES;
        short.then(|| (column.clone(), self.redactor.redact(&text).into_owned()))
    }

    fn source<'s>(&'s self, origin: Option<&'s Origin>) -> Source<'s> {
        let table = self.split.and_then(|split| split.table.as_deref());
        match (table, origin) {
            (Some(table), _) => Source::Table(table),
            (None, Some(Origin { file: Some(file), .. })) => Source::File(file),
            (None, Some(Origin { source, .. })) => Source::Other(source),
            (None, None) => Source::Unknown {},
        }
    }

    /// The values of the key, if the row has all of them.
    fn key_of<'v>(&self, values: &HashMap<String, &'v RawValue>) -> Option<Vec<KeyValue<'v, 'a>>> {
        let value = |name: &'a String| Some((name.as_str(), *values.get(name)?));
        let key = self.key.iter().map(value).collect::<Option<Vec<_>>>()?;
        (!key.is_empty()).then_some(key)
    }

    /// The first error in words, with its place; of a table's row, also with its key.
    fn message(
        &self,
        place: Option<&str>,
        key: Option<&[KeyValue<'_, '_>]>,
        first: Option<&RowError>,
    ) -> String {
        let of_table = self.split.is_some_and(|split| split.table.is_some());
        let key = key.filter(|_| of_table && place.is_some_and(|place| !place.contains(", key ")));
        let words = |(name, value): &KeyValue<'_, '_>| {
            let text = text_of(value).unwrap_or_default();
            format!("{name} {}", shorten(&self.redactor.redact(&text)))
        };
        let key = key.map(|key| key.iter().map(words).collect::<Vec<_>>().join(", "));
        let key = key.map(|key| format!(" ({key})")).unwrap_or_default();
        let place = place.map(|place| format!("{place}{key}: "));
        let Some(first) = first else { return place.unwrap_or_default() };
        let column = first.column.as_ref().map(|column| format!("column `{column}`: "));
        let (place, column) = (place.unwrap_or_default(), column.unwrap_or_default());
        format!("{place}{column}{}", self.redactor.redact(&first.reason))
    }

    fn error(
        &self,
        stage: Stage,
        error: RowError,
        values: &HashMap<String, &RawValue>,
    ) -> ErrorLine {
        let RowError { column, value, code, reason } = error;
        let is_read = stage == Stage::Read;
        let mapping = column.as_ref().and_then(|name| {
            let of =
                |it: &&Mapping| name == if is_read { &it.source.name } else { &it.target.name };
            self.mapping.iter().find(of)
        });
        let source = mapping.map(|mapping| mapping.source.name.clone());
        let expected = mapping.filter(|_| TYPE_CODES.contains(&code.as_str())).map(|mapping| {
            let column = if is_read { &mapping.source } else { &mapping.target };
            let not_null = if column.nullable { "" } else { " not null" };
            format!("{}{not_null}", column.logical)
        });
        let known = || source.as_ref().and_then(|name| values.get(name));
        let found = value.or_else(|| known().and_then(|value| text_of(value)));
        let found = found.map(|found| shorten(&self.redactor.redact(&found)).to_owned());
        let reason = self.redactor.redact(&reason).into_owned();
        let target_column =
            column.clone().filter(|name| source.as_ref().is_some_and(|it| it != name));
        ErrorLine { column: source.or(column), target_column, code, expected, found, reason }
    }
}

fn numbered(origin: Option<&Origin>, number: Option<u64>) -> Number {
    match (origin, number) {
        (Some(Origin { unit, .. }), Some(line)) if unit == "line" => Number::Line { line },
        (Some(Origin { unit, .. }), Some(number)) => Number::Other { number, unit: unit.clone() },
        (_, None) | (None, _) => Number::Unknown {},
    }
}

fn object(key: &[KeyValue<'_, '_>]) -> Option<Box<RawValue>> {
    let mut object = JsonRow::default();
    key.iter().for_each(|(name, value)| object.raw(name, value.get()));
    RawValue::from_string(object.finish()).ok()
}

/// A value of the row as text.
fn text_of(value: &RawValue) -> Option<String> {
    match value.get() {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str(text).ok(),
        other => Some(other.to_owned()),
    }
}

/// At most [`FOUND_BYTES`] of a value, cut between characters.
fn shorten(value: &str) -> &str {
    &value[..value.floor_char_boundary(FOUND_BYTES)]
}

#[cfg(test)]
pub(in crate::engine::dirty) mod tests;
