//! Types whose values pass from PostgreSQL to PostgreSQL as the server sends them: those that have
//! no logical type, and those with values that their logical type does not hold (`infinity`, 24:00,
//! NaN, arrays of any shape). Types of the server's own pass in binary form; types of users, which
//! have other numbers in another database, as text.

use transload_plugin_api::{Column, LogicalType, NativeEncoding, NativeForm};

use crate::types::{TypeFacts, Wire, has_wire, oid};

/// The store, as forms name it.
const STORE: &str = "PostgreSQL";
/// Types from this number on are made by users and extensions.
const FIRST_OF_USERS: u32 = 16_384;
/// What separates a type from what else decides the meaning of its binary form.
const CONDITION: &str = ", ";

/// An SQL expression for the name of the form of a type `b` with a modifier. The binary form of
/// `money` counts the smallest unit of its locale, and that of `interval` has infinities on some
/// servers only: their names say so.
pub(crate) const FORM_NAME: &str = "CASE \
    WHEN b.oid IN (790, 791) THEN pg_catalog.format_type(b.oid, b.modifier) || ', lc_monetary ' \
      || (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'lc_monetary') \
    WHEN b.oid IN (1186, 1187) \
      AND pg_catalog.current_setting('server_version_num')::int4 >= 170000 \
      THEN pg_catalog.format_type(b.oid, b.modifier) || ', with infinity' \
    WHEN b.oid < 16384 THEN pg_catalog.format_type(b.oid, b.modifier) \
    ELSE (SELECT pg_catalog.quote_ident(coalesce(e.typname, t.typname)) \
        || CASE WHEN e.oid IS NULL THEN '' ELSE '[]' END \
        || coalesce(pg_catalog.substring( \
             pg_catalog.format_type(b.oid, b.modifier), '[(][^()\"]*[)]'), '') \
      FROM pg_catalog.pg_type t \
      LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' \
      WHERE t.oid = b.oid) END";

/// The form of a type's values, if another type would not hold all of them; `name` is what
/// [`FORM_NAME`] returns.
pub(crate) fn native_form(facts: TypeFacts, name: &str) -> Option<NativeForm> {
    let element = facts.element.unwrap_or(facts.oid);
    if element >= FIRST_OF_USERS {
        // The text of an enum is its label, which its logical type holds.
        return (!facts.is_enum).then(|| NativeForm::text(STORE, name));
    }
    let is_binary = match facts.element {
        Some(element) => has_wire(element) || is_portable(element),
        None => is_portable(facts.oid) || exceeds_its_logical_type(facts),
    };
    is_binary.then(|| NativeForm::binary(STORE, name))
}

/// Whether a type has a logical type that does not hold all of its values.
fn exceeds_its_logical_type(facts: TypeFacts) -> bool {
    match facts.oid {
        oid::DATE | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::INTERVAL => true,
        // Without bounds it travels as text, which holds NaN.
        oid::NUMERIC => facts.modifier >= 0,
        // Without a length, blanks at the end are not padding.
        oid::BPCHAR => facts.modifier < 0,
        _ => false,
    }
}

/// Types without a logical type whose binary form means the same on every server. Not among them:
/// numbers of things in one database (the `reg...` types), and what the server may be built without
/// (`xml`).
pub(crate) fn is_portable(oid: u32) -> bool {
    matches!(
        oid,
        oid::CHAR
            | oid::OID
            | oid::TID
            | oid::XID
            | oid::CID
            | oid::XID8
            | oid::MONEY
            | oid::TIMETZ
            | oid::TSVECTOR
            | oid::POINT..=oid::POLYGON
            | oid::LINE
            | oid::CIRCLE
            | oid::CIDR
            | oid::INET
            | oid::MACADDR
            | oid::MACADDR8
            | oid::BIT
            | oid::VARBIT
            | oid::TXID_SNAPSHOT
            | oid::PG_SNAPSHOT
            | oid::PG_LSN
            | oid::TSQUERY
            | oid::INT4RANGE
            | oid::NUMRANGE
            | oid::TSRANGE
            | oid::TSTZRANGE
            | oid::DATERANGE
            | oid::INT8RANGE
            | oid::JSONPATH
            | oid::INT4MULTIRANGE..=oid::INT8MULTIRANGE
    )
}

/// How the values of a native form are sent, and whether the server casts them.
pub(crate) fn wire_of(form: &NativeForm) -> (Wire, bool) {
    match form.encoding {
        NativeEncoding::Binary => (Wire::Native, false),
        NativeEncoding::Text => (Wire::Text, true),
    }
}

/// Whether the column and the plan's have one form, so that values pass untouched.
pub(crate) fn accepts(own: &Column, planned: &Column) -> bool {
    own.native_form.is_some() && own.native_form == planned.native_form
}

/// The type that `create_table` gives a column whose source offers a form: the source's own, if
/// every server has it and its form depends on nothing else.
pub(crate) fn created(column: &Column) -> Option<(String, LogicalType)> {
    let form = match &column.logical {
        LogicalType::Native(form) => form,
        _ => column.native_form.as_ref()?,
    };
    let is_own = form.store == STORE && form.encoding == NativeEncoding::Binary;
    if !is_own || form.type_name.contains(CONDITION) {
        return None;
    }
    Some((form.type_name.clone(), LogicalType::Native(Box::new(form.clone()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(oid: u32, modifier: i32, element: Option<u32>) -> Option<String> {
        let facts = TypeFacts { oid, modifier, is_enum: false, element };
        native_form(facts, "x").map(|form| form.to_string())
    }

    #[test]
    fn only_what_would_not_arrive_passes_untouched() {
        let (binary, text) = (Some("PostgreSQL binary x"), Some("PostgreSQL text x"));
        for (oid, modifier, element, expected) in [
            (oid::INT4, -1, None, None),
            (oid::TEXT, -1, None, None),
            (oid::JSONB, -1, None, None),
            (oid::NUMERIC, -1, None, None),
            (oid::NUMERIC, 655_366, None, binary),
            (oid::BPCHAR, 9, None, None),
            (oid::BPCHAR, -1, None, binary),
            (oid::DATE, -1, None, binary),
            (oid::MONEY, -1, None, binary),
            (1007, -1, Some(oid::INT4), binary),
            (oid::REGPROC, -1, None, None),
            (1008, -1, Some(oid::REGPROC), None),
            (16_400, -1, None, text),
            (16_401, -1, Some(16_400), text),
        ] {
            assert_eq!(form(oid, modifier, element).as_deref(), expected, "{oid} {modifier}");
        }
        let label = TypeFacts { oid: 16_400, modifier: -1, is_enum: true, element: None };
        assert_eq!(native_form(label, "x"), None);
    }

    #[test]
    fn a_table_is_created_with_the_types_of_the_server_only() {
        let column = |form: NativeForm| {
            let mut column = Column::new("c", LogicalType::TEXT, true);
            column.native_form = Some(form);
            created(&column).map(|(native, _)| native)
        };
        assert_eq!(column(NativeForm::binary(STORE, "bit(3)")).as_deref(), Some("bit(3)"));
        assert_eq!(column(NativeForm::binary(STORE, "money, lc_monetary C")), None);
        assert_eq!(column(NativeForm::text(STORE, "hstore")), None);
        assert_eq!(column(NativeForm::binary("MySQL", "point")), None);
    }
}
