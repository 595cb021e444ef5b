//! What happens to the values of each column: a verdict, and in words what a value must be like
//! where only the run can tell. Finding out from a sample is `sample`'s.

use serde::{Deserialize, Serialize};
use transload_plugin_api::{Column, LogicalType, code};

use super::{
    sample::Refusals,
    schema::{Chosen, Pair, key_of},
};
use crate::{
    Error, Exit, Result,
    convert::{Verdict, verdict},
    job::Job,
};

/// A target column with its source column, types and verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mapping {
    /// The type that the source declares, or that was inferred.
    pub(crate) declared: LogicalType,
    /// The source's column, in the type that the reader produces.
    pub(crate) source: Column,
    /// The target's column, in the type that the writer accepts; `native` is its type in the
    /// target's own words.
    pub(crate) target: Column,
    /// What happens to its values.
    pub(crate) verdict: Verdict,
    /// What each value must be like: `5 characters at most`; empty where every value passes.
    pub(crate) checks: Vec<String>,
    /// What the sample breaks of it, one entry for each code of dirty rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused: Vec<Refusals>,
}

impl Mapping {
    /// The type of the source's column, in its own words where it has some.
    pub(crate) fn source_type(&self) -> String {
        match self.source.native.is_empty() {
            true => self.declared.to_string(),
            false => self.source.native.clone(),
        }
    }

    /// The type of the target's column, in its own words where it has some.
    pub(crate) fn target_type(&self) -> String {
        match (&self.target.logical, self.target.native.as_str()) {
            (LogicalType::Native(form), "") => form.type_name.clone(),
            (logical, "") => logical.to_string(),
            (_, native) => native.to_owned(),
        }
    }

    /// The checks in one line, with what the sample breaks of them:
    /// `5 characters at most: 1 of 4 sampled rows is longer (a.csv, line 3)`. Empty without checks.
    pub(crate) fn remark(&self) -> String {
        let checks = self.checks.join(", ");
        let refused: Vec<_> = self.refused.iter().map(ToString::to_string).collect();
        match (checks.is_empty(), refused.is_empty()) {
            (_, true) => checks,
            (true, false) => refused.join(", "),
            (false, false) => format!("{checks}: {}", refused.join(", ")),
        }
    }
}

/// Verdicts for all pairs. `produced` are the columns as the reader makes them, from text if
/// `parses_text`; `accepted` are the target's.
///
/// # Errors
/// If pairs are impossible; all of them are reported together.
pub(super) fn judge(
    job: &Job,
    chosen: &Chosen,
    produced: &[Column],
    accepted: &[Column],
    parses_text: bool,
) -> Result<Vec<Mapping>> {
    let pairs = chosen.pairs.iter().zip(produced).zip(accepted);
    let mapping: Vec<_> =
        pairs.map(|((pair, made), target)| mapping(pair, made, target, parses_text)).collect();
    let impossible: Vec<_> =
        mapping.iter().filter(|mapping| mapping.verdict == Verdict::Impossible).collect();
    let Some(first) = impossible.first() else { return Ok(mapping) };
    let words = |mapping: &&Mapping| {
        let Mapping { source, target, .. } = mapping;
        format!(
            "`{}` {} into `{}` {}",
            source.name,
            source.logical,
            target.name,
            mapping.target_type()
        )
    };
    let list: Vec<_> = impossible.iter().map(words).collect();
    let is_declared = job.reader.options.schema.iter().any(|it| it.name == first.source.name);
    let key = match is_declared {
        true => format!("reader.schema.{}", first.source.name),
        false => key_of(job, &first.source.name, &first.target.name, "writer"),
    };
    let message = format!("no value can be converted from {}", list.join(", nor from "));
    Err(Error::new(Exit::Schema, message)
        .code(code::PLAN_TYPE)
        .of_key(key)
        .hint("leave the column out with `columns`, or change the target's type"))
}

fn mapping(pair: &Pair, made: &Column, target: &Column, parses_text: bool) -> Mapping {
    // A type that was inferred, or that the job declares for a text, is a guess about each value.
    let is_text = pair.source.inferred || (parses_text && pair.source.native.is_empty());
    let declared = if is_text { &LogicalType::TEXT } else { &pair.source.logical };
    let is_native = matches!(made.logical, LogicalType::Native(_));
    let reading = if is_native { Verdict::Native } else { verdict(declared, &made.logical) };
    // A conversion that is not in the host's table is the reader's own.
    let reading = if reading == Verdict::Impossible { Verdict::Checked } else { reading };
    // Text that stays text is what it was.
    let reading =
        if is_text && made.logical == LogicalType::TEXT { Verdict::Lossless } else { reading };
    let writing = verdict(&made.logical, &target.logical);
    let mut checks = Vec::new();
    if reading == Verdict::Checked || writing == Verdict::Checked {
        checks.push(demand(declared, &made.logical, &target.logical));
    }
    checks.extend(beyond(&pair.source, &made.logical).map(str::to_owned));
    if made.nullable && !target.nullable {
        checks.push("not NULL".to_owned());
    }
    let types = reading.max(writing);
    Mapping {
        verdict: if checks.is_empty() { types } else { types.max(Verdict::Checked) },
        declared: pair.source.logical.clone(),
        source: made.clone(),
        target: target.clone(),
        checks,
        refused: Vec::new(),
    }
}

/// What a value must be like where the store's own type holds more than the logical one: a store of
/// another kind does not take NaN, infinity or days of no calendar, and a reader refuses them.
fn beyond(source: &Column, made: &LogicalType) -> Option<&'static str> {
    use LogicalType as L;
    let is_text = matches!(made, L::Text { .. } | L::Json | L::Numeric | L::Binary | L::Native(_));
    if is_text || source.native_form.is_none() {
        return None;
    }
    match source.logical {
        // An exact decimal has no NaN, but under the name that PostgreSQL gives it.
        L::Decimal { .. } if source.native.starts_with("numeric") => Some("not NaN"),
        L::Date | L::Timestamp { .. } | L::TimestampTz { .. } => Some("a day of the calendar"),
        L::Time { .. } => Some("less than 24 hours"),
        _ => None,
    }
}

/// What a value of `declared` must be like to become a `target`, by way of `made`.
fn demand(declared: &LogicalType, made: &LogicalType, target: &LogicalType) -> String {
    use LogicalType as L;
    // Where the reader's type is the narrower one, it decides.
    let narrow = if verdict(made, target) == Verdict::Checked { target } else { made };
    let from_text = matches!(declared, L::Text { .. } | L::Json | L::Numeric);
    let kind = |words| if from_text { words } else { "" };
    let is_whole = declared.family().contains("int") && *declared != L::Interval;
    let number = if is_whole { "" } else { "a whole number " };
    let whole = |low: String, high: String| format!("{number}from {low} to {high}");
    match narrow {
        L::Text { length: Some(length) } => format!("{length} characters at most"),
        L::Int8 => whole(i8::MIN.to_string(), i8::MAX.to_string()),
        L::Int16 => whole(i16::MIN.to_string(), i16::MAX.to_string()),
        L::Int32 => whole(i32::MIN.to_string(), i32::MAX.to_string()),
        L::Int64 if !number.is_empty() => "a whole number".to_owned(),
        L::Int64 => format!("at most {}", i64::MAX),
        L::UInt8 => whole("0".to_owned(), u8::MAX.to_string()),
        L::UInt16 => whole("0".to_owned(), u16::MAX.to_string()),
        L::UInt32 => whole("0".to_owned(), u32::MAX.to_string()),
        L::UInt64 => format!("{number}from 0"),
        L::Decimal { precision, scale } => format!(
            "{}{} digits before the point and {scale} behind it at most",
            kind("a number of "),
            i16::from(*precision) - i16::from(*scale)
        ),
        L::Float32 | L::Float64 if from_text => "a number".to_owned(),
        L::Float32 => "7 digits at most".to_owned(),
        L::Float64 => "15 digits at most".to_owned(),
        L::Numeric => "a number".to_owned(),
        L::Boolean if from_text => "a boolean".to_owned(),
        L::Boolean => "0 or 1".to_owned(),
        L::Date if from_text => "a date".to_owned(),
        L::Date => "midnight".to_owned(),
        L::Time { precision } | L::Timestamp { precision } | L::TimestampTz { precision }
            if !from_text =>
        {
            format!("{precision} digits of a second at most")
        }
        L::Time { .. } => "a time of day".to_owned(),
        L::Timestamp { .. } => "a date and time".to_owned(),
        L::TimestampTz { .. } => "a date and time with its zone".to_owned(),
        L::Json => "a JSON document".to_owned(),
        L::Uuid => "a UUID".to_owned(),
        other => format!("a value of {other}"),
    }
}
