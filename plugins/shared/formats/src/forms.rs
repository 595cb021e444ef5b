//! The options for dates, times, numbers and words that are not written in the usual form: their
//! specs, and what they compile to. Reading and writing the values is left to `transload_values`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use transload_plugin_api::{Error, OptionKind, OptionSpec, Result};
use transload_values::{ColumnForm, Forms, Pattern, Separators};

/// The options as a job gives them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FormOptions {
    date_format: Option<String>,
    time_format: Option<String>,
    timestamp_format: Option<String>,
    decimal_comma: bool,
    thousands: Option<String>,
    #[serde(default)]
    column_formats: BTreeMap<String, String>,
}

impl FormOptions {
    /// What the job says, by option.
    pub(crate) fn said(&self) -> Map<String, Value> {
        let text = |name: &str, text: &Option<String>| {
            text.as_ref().map(|text| (name.to_owned(), Value::from(text.as_str())))
        };
        let texts = [
            text("date_format", &self.date_format),
            text("time_format", &self.time_format),
            text("timestamp_format", &self.timestamp_format),
            text("thousands", &self.thousands),
        ];
        let comma = self.decimal_comma.then(|| ("decimal_comma".to_owned(), true.into()));
        let of_columns = (!self.column_formats.is_empty())
            .then(|| ("column_formats".to_owned(), serde_json::json!(self.column_formats)));
        texts.into_iter().chain([comma, of_columns]).flatten().collect()
    }

    /// The forms of all columns.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for a pattern that is wrong or lacks a part, and
    /// for separators that cannot be distinguished.
    pub(crate) fn forms(&self) -> Result<Forms> {
        let date = pattern("date_format", self.date_format.as_deref())?;
        let time = pattern("time_format", self.time_format.as_deref())?;
        let timestamp = pattern("timestamp_format", self.timestamp_format.as_deref())?;
        require("date_format", date.as_ref(), true, false)?;
        require("time_format", time.as_ref(), false, true)?;
        require("timestamp_format", timestamp.as_ref(), true, true)?;
        let separators = Separators {
            decimal_comma: self.decimal_comma,
            thousands: self.thousands.clone().filter(|mark| !mark.is_empty()),
        };
        check("thousands", &separators)?;
        Ok(Forms { date, time, timestamp, separators })
    }

    /// The forms of single columns.
    ///
    /// # Errors
    /// As [`FormOptions::forms`].
    pub(crate) fn columns(&self) -> Result<BTreeMap<String, ColumnForm>> {
        let form = |(name, text): (&String, &String)| Ok((name.clone(), column_form(name, text)?));
        self.column_formats.iter().map(form).collect()
    }
}

fn pattern(option: &str, text: Option<&str>) -> Result<Option<Pattern>> {
    let refuse = |text: &str, why| {
        Error::options(format!("`{option}` is `{text}`: {why}")).hint(
            "write it as strftime has it, such as `%d.%m.%Y %H:%M:%S`; docs/files.md lists all",
        )
    };
    text.map(|text| Pattern::new(text).map_err(|why| refuse(text, why))).transpose()
}

/// Refuses a pattern without what its type needs, or with what its type does not have.
fn require(option: &str, pattern: Option<&Pattern>, date: bool, time: bool) -> Result<()> {
    let Some(pattern) = pattern else { return Ok(()) };
    let wrong = match (date, time) {
        (true, _) if !pattern.has_date() => "it needs a day, a month and a year",
        (_, true) if !pattern.has_time() => "it needs an hour (`%H`, or `%I` and `%p`)",
        (true, false) if pattern.has_time() => "a date has no time of day: see `timestamp_format`",
        (false, true) if pattern.has_date() => "a time has no date: see `timestamp_format`",
        _ => return Ok(()),
    };
    Err(Error::options(format!("`{option}` is `{}`: {wrong}", pattern.text())))
}

/// Refuses groups that cannot be distinguished from a number.
fn check(option: &str, separators: &Separators) -> Result<()> {
    let Some(mark) = &separators.thousands else { return Ok(()) };
    let point = if separators.decimal_comma { "," } else { "." };
    let wrong = |byte: char| byte.is_alphanumeric() || matches!(byte, '-' | '+' | '"');
    if mark == point || mark.chars().count() != 1 || mark.chars().any(wrong) {
        return Err(Error::options(format!(
            "`{option}` is `{mark}`, the decimal separator `{point}`"
        ))
        .hint("choose one other character, such as `,`, `.`, `'` or a blank"));
    }
    Ok(())
}

/// The form of one column: a pattern, the number 1234.56, or two words.
fn column_form(column: &str, text: &str) -> Result<ColumnForm> {
    let option = format!("column_formats.{column}");
    if text.contains('%') {
        let Some(pattern) = pattern(&option, Some(text))? else {
            return Err(Error::defect("no pattern"));
        };
        if !pattern.has_date() && !pattern.has_time() {
            require(&option, Some(&pattern), true, true)?;
        }
        return Ok(ColumnForm::Pattern(pattern));
    }
    if let Some(separators) = example(text) {
        check(&option, &separators)?;
        return Ok(ColumnForm::Separators(separators));
    }
    match text.split_once('/') {
        Some((yes, no)) if !yes.is_empty() && !no.is_empty() => {
            Ok(ColumnForm::Words(yes.to_owned(), no.to_owned()))
        }
        _ => Err(Error::options(format!("`{option}` is `{text}`, which is no format")).hint(
            "write a pattern (`%d.%m.%Y`), the number 1234.56 as the column has it (`1.234,56`), \
             or the words for true and false (`yes/no`)",
        )),
    }
}

/// The separators of the number 1234.56.
fn example(text: &str) -> Option<Separators> {
    let (mark, rest) = text.strip_prefix('1')?.split_once("234")?;
    let decimal_comma = match rest {
        "" | ".56" => false,
        ",56" => true,
        _ => return None,
    };
    let thousands = (!mark.is_empty()).then(|| mark.to_owned());
    Some(Separators { decimal_comma, thousands })
}

/// The specs of [`FormOptions`] for a reader.
pub(crate) fn form_specs() -> Vec<OptionSpec> {
    let text = |key, doc| OptionSpec::new(key, OptionKind::Text, doc);
    vec![
        text("date_format", "The form of dates, as strftime has it: `%d.%m.%Y`; default: ISO 8601"),
        text("time_format", "The form of times: `%H:%M`, `%I:%M %p`; default: ISO 8601"),
        text(
            "timestamp_format",
            "The form of timestamps: `%d.%m.%Y %H:%M:%S`; with `%z` or `%s` that of `timestamptz`; \
             default: ISO 8601",
        ),
        OptionSpec::new("decimal_comma", OptionKind::Boolean, "CSV: numbers have a decimal comma")
            .default(false),
        text("thousands", "CSV: the character between groups of digits: `.` in `1.234,50`"),
        OptionSpec::new(
            "column_formats",
            OptionKind::Map,
            "The form of single columns: a pattern, the number 1234.56 (`1.234,56`), or the words \
             for true and false (`yes/no`)",
        ),
    ]
}

/// The specs of [`FormOptions`] for a writer, which writes no groups of digits.
pub(crate) fn written_form_specs() -> Vec<OptionSpec> {
    let text = |key, doc| OptionSpec::new(key, OptionKind::Text, doc);
    vec![
        text("date_format", "CSV, JSON: the form of dates: `%d.%m.%Y`; default: ISO 8601"),
        text("time_format", "CSV, JSON: the form of times: `%H:%M:%S`; default: ISO 8601"),
        text(
            "timestamp_format",
            "CSV, JSON: the form of timestamps; with `%z` or `%s` that of `timestamptz`, in UTC; a \
             value that it would cut makes its row dirty; default: ISO 8601",
        ),
        OptionSpec::new("decimal_comma", OptionKind::Boolean, "CSV: write a decimal comma")
            .default(false),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use transload_plugin_api::{ErrorKind, Options};

    use super::*;

    fn parse(pairs: &[(&str, Value)]) -> Result<FormOptions> {
        let options: FormOptions =
            Options::from_pairs(pairs.iter().cloned()).parse(&form_specs())?;
        options.forms()?;
        options.columns()?;
        Ok(options)
    }

    #[test]
    fn forms_of_the_job_and_of_columns() {
        let options = parse(&[
            ("date_format", json!("%d.%m.%Y")),
            ("decimal_comma", json!(true)),
            ("column_formats", json!({"a": "1'234.56", "b": "J/N", "c": "%s", "d": "1234,56"})),
        ]);
        let options = options.unwrap();
        let forms = options.forms().unwrap();
        assert_eq!(forms.date, Pattern::new("%d.%m.%Y").ok());
        assert!(forms.separators.decimal_comma);
        let separators = |decimal_comma, thousands: Option<&str>| {
            let thousands = thousands.map(str::to_owned);
            ColumnForm::Separators(Separators { decimal_comma, thousands })
        };
        let columns = options.columns().unwrap();
        assert_eq!(columns["a"], separators(false, Some("'")));
        assert_eq!(columns["b"], ColumnForm::Words("J".to_owned(), "N".to_owned()));
        assert_eq!(columns["c"], ColumnForm::Pattern(Pattern::new("%s").unwrap()));
        assert_eq!(columns["d"], separators(true, None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (pair, words) in [
            (("date_format", json!("%d.%m")), "needs a day, a month and a year"),
            (("date_format", json!("dd.mm.yyyy")), "needs a day, a month and a year"),
            (("date_format", json!("%d.%m.%Q")), "there is no `%Q`"),
            (("date_format", json!("%F %H")), "`timestamp_format`"),
            (("time_format", json!("%F %H")), "a time has no date"),
            (("time_format", json!("%I:%M")), "needs an hour"),
            (("timestamp_format", json!("%F")), "needs an hour"),
            (("thousands", json!(".")), "the decimal separator `.`"),
            (("thousands", json!("00")), "the decimal separator"),
            (("column_formats", json!({"a": "1,234,56"})), "`,`, the decimal separator `,`"),
            (("column_formats", json!({"a": "money"})), "is no format"),
            (("column_formats", json!({"a": "%m"})), "needs a day"),
        ] {
            let error = parse(std::slice::from_ref(&pair)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(error.message.contains(words), "{pair:?}: {error}");
        }
    }
}
