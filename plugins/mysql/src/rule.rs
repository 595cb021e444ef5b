//! What a target's column asks of a value beyond what the server itself refuses. `literal` holds
//! values to it.

use transload_plugin_api::LogicalType;

use crate::catalog::TableColumn;

/// What the target's column asks of a value, beyond what the server itself refuses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    pub(crate) nullable: bool,
    /// Most characters: the server would cut blanks beyond them with a note only.
    pub(crate) characters: Option<u32>,
    /// The very number of bytes: the server would fill up shorter values.
    pub(crate) bytes: Option<u32>,
    /// Two-digit years would become others.
    pub(crate) year: bool,
    /// Text that is no label could be taken for a label's number.
    pub(crate) labels: Vec<String>,
    pub(crate) set: bool,
    /// Digits behind the second's point: the server would round more.
    pub(crate) fraction: Option<u8>,
    /// Fields travel as hexadecimal digits.
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
            fraction: timed.then(|| native.fraction()),
            hex: target.column.logical == LogicalType::Binary,
        }
    }
}
