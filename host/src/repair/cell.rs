//! The text of one kept value, as a cell of a text file or a value of JSON lines has it, in the form
//! that the job's options describe.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use transload_plugin_api::{Column, LogicalType};
use transload_values::{CellWords, ColumnParser, FormedRenderer, Forms, Pattern, Separators};

use super::row::Stage;

/// How the source writes values, as its `RecordForm` says.
#[derive(Default)]
pub(super) struct Texts {
    forms: Forms,
    of_columns: HashMap<String, String>,
    yes: Option<String>,
    no: Option<String>,
    base64: bool,
}

/// A value, with what is known of it.
pub(super) struct Kept<'a> {
    pub(super) value: &'a RawValue,
    pub(super) stage: Stage,
    pub(super) column: &'a Column,
}

impl Texts {
    pub(super) fn of(options: &Map<String, Value>) -> Self {
        let text = |name: &str| options.get(name).and_then(Value::as_str);
        let pattern = |name: &str| Pattern::new(text(name)?).ok();
        let first = |name: &str| Some(options.get(name)?.get(0)?.as_str()?.to_owned());
        let of_columns = options.get("column_formats").cloned().unwrap_or_default();
        let comma = options.get("decimal_comma").and_then(Value::as_bool).unwrap_or_default();
        Self {
            forms: Forms {
                date: pattern("date_format"),
                time: pattern("time_format"),
                timestamp: pattern("timestamp_format"),
                separators: Separators { decimal_comma: comma, thousands: None },
            },
            of_columns: serde_json::from_value(of_columns).unwrap_or_default(),
            yes: first("true_words"),
            no: first("false_words"),
            base64: options.contains_key("binary"),
        }
    }

    /// The text of a value; none for NULL.
    ///
    /// # Errors
    /// Why the source's form cannot have it.
    pub(super) fn text(&self, kept: &Kept<'_>) -> Result<Option<String>, String> {
        let Some(usual) = usual_text(kept)? else { return Ok(None) };
        // What the reader refused has the source's form already.
        if kept.stage == Stage::Read {
            return Ok(Some(usual));
        }
        self.formed(usual, kept.column).map(Some)
    }

    fn formed(&self, usual: String, column: &Column) -> Result<String, String> {
        let own = self.of_columns.get(&column.name).map(String::as_str);
        match column.logical {
            LogicalType::Boolean => Ok(self.word(usual, own)),
            LogicalType::Binary if self.base64 => {
                let bytes = bytes_of(&usual).ok_or("it is not hexadecimal")?;
                Ok(STANDARD.encode(bytes))
            }
            _ => in_form(usual, column, &self.forms_of(own)),
        }
    }

    fn word(&self, usual: String, own: Option<&str>) -> String {
        let own = own.and_then(|words| words.split_once('/'));
        let word = match (usual.as_str(), own) {
            ("true", Some((yes, _))) => Some(yes),
            ("false", Some((_, no))) => Some(no),
            ("true", None) => self.yes.as_deref(),
            ("false", None) => self.no.as_deref(),
            _ => None,
        };
        word.map_or(usual, str::to_owned)
    }

    /// The forms of a column: a pattern or the number 1234.56 takes the place of the others.
    fn forms_of(&self, own: Option<&str>) -> Forms {
        let mut forms = self.forms.clone();
        let Some(own) = own else { return forms };
        match Pattern::new(own) {
            Ok(pattern) if own.contains('%') => {
                forms.date = Some(pattern.clone());
                forms.time = Some(pattern.clone());
                forms.timestamp = Some(pattern);
            }
            _ => forms.separators.decimal_comma = own.ends_with(",56"),
        }
        forms
    }
}

/// The text in the form of the source, from its usual one.
fn in_form(usual: String, column: &Column, forms: &Forms) -> Result<String, String> {
    let is_formed = forms.pattern(&column.logical).is_some() || !forms.separators.are_usual();
    if !is_formed {
        return Ok(usual);
    }
    let Ok(mut parser) = ColumnParser::new(column, &CellWords::default()) else { return Ok(usual) };
    parser.append_text(usual.as_bytes()).map_err(|error| error.reason)?;
    let array = parser.finish();
    match FormedRenderer::new(column, array.as_ref(), forms) {
        Ok(Some(renderer)) => {
            let mut text = Vec::new();
            let lost = |value| format!("the form of its column would cut `{value}`");
            renderer.render(0, &mut text).map_err(lost)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        _ => Ok(usual),
    }
}

/// A value as text in the usual form; see docs/json.md for the form in which it is kept.
fn usual_text(kept: &Kept<'_>) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Special {
        Json {
            #[serde(rename = "$json")]
            text: String,
        },
        Bytes {
            #[serde(rename = "$bytes")]
            _digits: String,
        },
        Interval {
            months: i64,
            days: i64,
            nanoseconds: i64,
        },
    }
    let json = kept.value.get();
    let is_document = kept.column.logical == LogicalType::Json && kept.stage != Stage::Read;
    match json.as_bytes().first() {
        _ if json == "null" => Ok(None),
        Some(b'"') if !is_document => {
            serde_json::from_str(json).map(Some).map_err(|error| error.to_string())
        }
        Some(b'{') => match serde_json::from_str(json) {
            Ok(Special::Json { text }) => Ok(Some(text)),
            Ok(Special::Bytes { .. }) => Err("it has bytes that are not UTF-8".to_owned()),
            Ok(Special::Interval { months, days, nanoseconds }) if !is_document => {
                Ok(Some(interval(months, days, nanoseconds)))
            }
            _ => Ok(Some(json.to_owned())),
        },
        _ => Ok(Some(json.to_owned())),
    }
}

/// An interval as ISO 8601 writes it.
fn interval(months: i64, days: i64, nanoseconds: i64) -> String {
    let (sign, all) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
    let (seconds, rest) = (all / 1_000_000_000, all % 1_000_000_000);
    let fraction = match rest {
        0 => String::new(),
        rest => format!(".{}", format!("{rest:09}").trim_end_matches('0')),
    };
    format!("P{months}M{days}DT{sign}{seconds}{fraction}S")
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(options: Value, logical: &str, stage: Stage, value: &str) -> Result<String, String> {
        let options = options.as_object().cloned().unwrap_or_default();
        let column = Column::new("c", logical.parse().unwrap(), true);
        let value = RawValue::from_string(value.to_owned()).unwrap();
        let kept = Kept { value: &value, stage, column: &column };
        Texts::of(&options).text(&kept).map(|text| text.unwrap_or("NULL".to_owned()))
    }

    #[test]
    fn values_have_the_form_of_the_source() {
        use Stage::{Read, Write};
        let none = json!({});
        let ours = json!({
            "date_format": "%d.%m.%Y", "timestamp_format": "%d.%m.%Y %H:%M", "decimal_comma": true,
            "true_words": ["ja"], "false_words": ["nein"], "binary": "base64",
        });
        let own = |form: &str| json!({"decimal_comma": true, "column_formats": { "c": form }});
        for (options, logical, stage, value, expected) in [
            (&none, "int64", Write, "12", "12"),
            (&none, "text", Write, "null", "NULL"),
            (&none, "text", Write, r#""a\"b""#, "a\"b"),
            (&none, "json", Write, r#""a""#, r#""a""#),
            (&none, "json", Read, r#""{\"a\":1}""#, r#"{"a":1}"#),
            (&none, "json", Write, r#"{"$json":"null"}"#, "null"),
            (
                &none,
                "json",
                Write,
                r#"{"months":1,"days":2,"nanoseconds":3}"#,
                r#"{"months":1,"days":2,"nanoseconds":3}"#,
            ),
            (
                &none,
                "text",
                Write,
                r#"{"months":1,"days":-2,"nanoseconds":-1500000000}"#,
                "P1M-2DT-1.5S",
            ),
            (&none, "binary", Write, r#""00ff""#, "00ff"),
            (&ours, "date", Write, r#""2026-12-31""#, "31.12.2026"),
            (&ours, "date", Read, r#""31.13.2026""#, "31.13.2026"),
            (&ours, "timestamp", Write, r#""2026-12-31 07:05:00""#, "31.12.2026 07:05"),
            (&ours, "decimal(12,2)", Write, "1234.50", "1234,50"),
            (&ours, "int64", Write, "1234", "1234"),
            (&ours, "boolean", Write, "true", "ja"),
            (&ours, "boolean", Write, "false", "nein"),
            (&ours, "binary", Write, r#""00ff""#, "AP8="),
            (&own("%m/%d/%Y"), "date", Write, r#""2026-12-31""#, "12/31/2026"),
            (&own("1,234.56"), "decimal(12,2)", Write, "1234.50", "1234.50"),
            (&own("y/n"), "boolean", Write, "true", "y"),
        ] {
            assert_eq!(text(options.clone(), logical, stage, value).unwrap(), expected, "{value}");
        }
        assert!(text(none, "text", Read, r#"{"$bytes":"ff"}"#).is_err());
        let cut = text(ours, "timestamp", Write, r#""2026-12-31 07:05:09""#).unwrap_err();
        assert!(cut.contains("would cut"), "{cut}");
    }
}
