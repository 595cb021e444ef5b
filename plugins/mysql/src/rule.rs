//! Requirements of a target's column that the server itself does not enforce. `literal` checks
//! values against them.

use transload_plugin_api::LogicalType;

use crate::catalog::TableColumn;

/// The requirements of a target's column that the server itself does not enforce.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    pub(crate) nullable: bool,
    /// The maximum number of characters: the server would truncate trailing blanks with only a
    /// note.
    pub(crate) characters: Option<u32>,
    /// The exact number of bytes: the server would pad shorter values.
    pub(crate) bytes: Option<u32>,
    /// A year column: the server would convert two-digit years.
    pub(crate) year: bool,
    /// The labels: text that is not a label could be interpreted as a label's number.
    pub(crate) labels: Vec<String>,
    pub(crate) set: bool,
    /// The number of fractional digits of seconds: the server would round more.
    pub(crate) fraction: Option<u8>,
    /// The number of digits after the point of a `FLOAT(m,d)`: the server would round more.
    pub(crate) places: Option<u8>,
    /// Whether values are written as hexadecimal digits.
    pub(crate) hex: bool,
}

impl Rule {
    /// The rule of a target's column.
    pub(crate) fn of(target: &TableColumn) -> Self {
        let native = &target.native;
        let first = native.arguments.first().copied();
        let name = native.name.as_str();
        let timed = matches!(name, "time" | "datetime" | "timestamp");
        Self {
            nullable: target.column.nullable,
            characters: first.filter(|_| matches!(name, "char" | "varchar")),
            bytes: match name {
                "binary" => first,
                "bit" => Some(first.unwrap_or(1).div_ceil(8)),
                _ => None,
            },
            year: name == "year",
            labels: native.labels.clone(),
            set: name == "set",
            places: match (name, &native.arguments[..]) {
                ("float" | "double", [_, places]) => Some((*places).min(30) as u8),
                _ => None,
            },
            fraction: timed.then(|| native.fraction()),
            hex: target.column.logical == LogicalType::Binary,
        }
    }
}
