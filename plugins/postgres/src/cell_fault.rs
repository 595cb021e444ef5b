//! A cell that cannot be read: which it is, what was expected and what was found, for its dirty row.
//! Which values a column does not hold is decided by `columns`.

use transload_plugin_api::{Column, LogicalType, RowError};
use transload_values::{Fault, JsonRow, NativeText, SHOWN, shorten};

use crate::types::Wire;

/// Why a value cannot be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueFault {
    Null,
    Range(&'static str),
    /// The value is a number, but none of the decimal type.
    Decimal,
    /// It is before or after all dates.
    Infinity,
    Utf8,
    /// The bytes are not of the type's form.
    Form,
}

/// A cell of a batch in the making.
#[derive(Clone, Debug)]
pub(crate) struct CellFault {
    /// The row's place in the batch.
    pub(crate) row: usize,
    /// The column's place.
    pub(crate) column: usize,
    pub(crate) fault: ValueFault,
    /// The value as text, as far as it has one.
    pub(crate) value: Option<String>,
    /// The value as it came; `None` for NULL.
    pub(crate) bytes: Option<Vec<u8>>,
}

impl ValueFault {
    fn code(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Range(_) | Self::Decimal | Self::Infinity => "range",
            Self::Utf8 => "utf8",
            Self::Form => "parse",
        }
    }
}

impl CellFault {
    /// What is wrong with a cell of `column`.
    pub(crate) fn error(&self, column: &Column) -> RowError {
        let error = RowError::new(self.fault.code(), self.reason(column));
        RowError { value: self.value.clone(), ..error.column(column.name.clone()) }
    }

    /// Adds the value to those of its row.
    pub(crate) fn add_to(&self, values: &mut JsonRow, column: &Column) {
        match (&self.value, &self.bytes) {
            (_, None) => values.null(&column.name),
            (Some(text), _) if self.fault != ValueFault::Utf8 => values.text(&column.name, text),
            (_, Some(bytes)) => values.bytes(&column.name, bytes),
        }
    }

    fn reason(&self, column: &Column) -> String {
        let Column { name, logical, .. } = column;
        let found = self.value.as_deref().map(|value| shorten(value.as_bytes(), SHOWN));
        let found = found.map(|value| format!(", found `{value}`")).unwrap_or_default();
        match self.fault {
            ValueFault::Null => "NULL in a NOT NULL column".to_owned(),
            ValueFault::Range(reason) => format!("expected {logical}{found}: {reason}"),
            ValueFault::Decimal => format!(
                "expected {logical}{found}: `schema = {{ {name} = \"numeric\" }}` reads any number"
            ),
            ValueFault::Infinity => format!(
                "expected {logical}{found}: `infinity = \"null\"` and `\"max\"` read another value"
            ),
            ValueFault::Utf8 => {
                let text = self.value.as_deref().unwrap_or_default();
                Fault::Utf8.explain(column, text.as_bytes()).reason
            }
            ValueFault::Form => {
                format!("expected {logical}, found bytes that are not of its form")
            }
        }
    }
}

/// The text of a value that came in this form, if it has one.
pub(crate) fn text_of(wire: &Wire, logical: &LogicalType, value: &[u8]) -> Option<String> {
    let text = match wire {
        Wire::Numeric => NativeText::Numeric,
        Wire::Date => NativeText::Date,
        Wire::Time => NativeText::Time,
        Wire::Timestamp if matches!(logical, LogicalType::TimestampTz { .. }) => {
            NativeText::TimestampTz
        }
        Wire::Timestamp => NativeText::Timestamp,
        Wire::Interval => NativeText::Interval,
        Wire::Text => return Some(String::from_utf8_lossy(value).into_owned()),
        _ => return None,
    };
    let mut out = Vec::new();
    text.write(value, &mut out);
    String::from_utf8(out).ok()
}
