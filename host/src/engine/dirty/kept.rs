//! What is kept of a row: all of it, without the secrets of the job and up to a limit. Both are rare,
//! and told.

use std::borrow::Cow;

use serde_json::{Map, Value};
use transload_plugin_api::RowText;

use crate::job::Redactor;

/// The largest row that is kept whole, in bytes.
pub(super) const ROW_BYTES: usize = 16 << 20;
/// How much is kept of a value of a larger row, in bytes.
pub(super) const PART_BYTES: usize = 64 << 10;

/// A row as it is kept.
pub(super) struct Kept {
    /// Its values as a JSON object.
    pub(super) values: Option<String>,
    /// The record in its own form.
    pub(super) text: Option<RowText>,
    /// A part of it is missing.
    pub(super) cut: bool,
    /// A secret was removed from it.
    pub(super) redacted: bool,
}

impl Kept {
    pub(super) fn of(values: Option<String>, text: Option<RowText>, redactor: &Redactor) -> Self {
        let mut kept = Self { values: None, text: None, cut: false, redacted: false };
        kept.values = values.map(|values| {
            let values = kept.without_secrets(values, redactor);
            kept.within_limit(values)
        });
        kept.text = text.map(|text| {
            let RowText(bytes) = kept.text_without_secrets(text, redactor);
            RowText(kept.bytes_within_limit(bytes))
        });
        kept
    }

    /// A row without the secrets of the job. What looks like a secret otherwise is data.
    fn without_secrets(&mut self, values: String, redactor: &Redactor) -> String {
        if matches!(redactor.redact_known(&values), Cow::Borrowed(_)) {
            return values;
        }
        self.redacted = true;
        let Ok(Value::Object(mut row)) = serde_json::from_str(&values) else {
            return "{}".to_owned();
        };
        row.values_mut().for_each(|value| redact_value(value, redactor));
        let row = Value::Object(row).to_string();
        // Not only in values: then no part of it is kept.
        match redactor.redact_known(&row) {
            Cow::Borrowed(_) => row,
            Cow::Owned(_) => "{}".to_owned(),
        }
    }

    fn text_without_secrets(&mut self, text: RowText, redactor: &Redactor) -> RowText {
        match redactor.redact_known(&String::from_utf8_lossy(&text.0)) {
            Cow::Borrowed(_) => text,
            Cow::Owned(known) => {
                self.redacted = true;
                RowText(known.into_bytes())
            }
        }
    }

    /// A row of at most [`ROW_BYTES`]: of longer values a part is kept.
    fn within_limit(&mut self, values: String) -> String {
        if values.len() <= ROW_BYTES {
            return values;
        }
        self.cut = true;
        let Ok(mut row) = serde_json::from_str::<Map<String, Value>>(&values) else {
            return "{}".to_owned();
        };
        let most = (ROW_BYTES / row.len().max(1)).min(PART_BYTES);
        for value in row.values_mut() {
            let text = match &*value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if text.len() > most {
                *value = Value::String(text[..text.floor_char_boundary(most)].to_owned());
            }
        }
        Value::Object(row).to_string()
    }

    fn bytes_within_limit(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.len() > ROW_BYTES {
            self.cut = true;
            let end = (ROW_BYTES - 3..=ROW_BYTES).rev().find(|end| bytes[*end] & 0xC0 != 0x80);
            bytes.truncate(end.unwrap_or(ROW_BYTES));
        }
        bytes
    }
}

fn redact_value(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| redact_value(item, redactor)),
        Value::Object(object) => object.values_mut().for_each(|it| redact_value(it, redactor)),
        Value::Null | Value::Bool(_) => {}
        Value::String(text) => {
            let known = redactor.redact_known(text).into_owned();
            *text = known;
        }
        Value::Number(number) => {
            let text = number.to_string();
            if let Cow::Owned(known) = redactor.redact_known(&text) {
                *value = Value::String(known);
            }
        }
    }
}
