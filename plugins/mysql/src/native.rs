//! Types whose values pass from MySQL or MariaDB to MySQL or MariaDB as they are stored: dates,
//! some of which the calendar does not have, as the server prints them; geometries and vectors as
//! bytes.

use transload_plugin_api::{Column, LogicalType, NativeForm};

use crate::types::Native;

/// The store, as forms name it: what passes means the same on MariaDB.
const STORE: &str = "MySQL";

/// The form of a column's values, if no other type holds all of them.
pub(crate) fn native_form(native: &Native) -> Option<NativeForm> {
    let name = native.name.as_str();
    match name {
        "date" => Some(NativeForm::text(STORE, name)),
        "datetime" | "timestamp" => Some(NativeForm::text(
            STORE,
            match native.fraction() {
                0 => name.to_owned(),
                digits => format!("{name}({digits})"),
            },
        )),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" => Some(NativeForm::binary(STORE, name)),
        "vector" => {
            let length = native.arguments.first()?;
            Some(NativeForm::binary(STORE, format!("vector({length})")))
        }
        // MySQL and MariaDB differ in its name only.
        "geometrycollection" | "geomcollection" => {
            Some(NativeForm::binary(STORE, "geometrycollection"))
        }
        _ => None,
    }
}

/// Whether the column and the plan's have one form, so that values pass untouched.
pub(crate) fn accepts(own: &Column, planned: &Column) -> bool {
    own.native_form.is_some() && own.native_form == planned.native_form
}

/// The form that a column to create is offered in, or was drafted in.
pub(crate) fn offered(column: &Column) -> Option<&NativeForm> {
    let form = match &column.logical {
        LogicalType::Native(form) => form,
        _ => column.native_form.as_ref()?,
    };
    (form.store == STORE).then_some(form)
}

/// Whether the column is planned in the form that this one has.
pub(crate) fn is_native(own: &Column, planned: &LogicalType) -> bool {
    match planned {
        LogicalType::Native(form) => own.native_form.as_ref() == Some(&**form),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_geometries_have_a_form_of_their_own() {
        for (declared, form) in [
            ("date", Some("MySQL text date")),
            ("datetime", Some("MySQL text datetime")),
            ("timestamp(3)", Some("MySQL text timestamp(3)")),
            ("geomcollection", Some("MySQL binary geometrycollection")),
            ("point", Some("MySQL binary point")),
            ("vector(3)", Some("MySQL binary vector(3)")),
            ("time(6)", None),
            ("bit(3)", None),
        ] {
            let found = native_form(&Native::parse(declared)).map(|form| form.to_string());
            assert_eq!(found.as_deref(), form, "{declared}");
        }
    }
}
