//! PostgreSQL's types and logical ones, both ways, and the form in which values travel in a
//! binary COPY. A type without a row here travels as text, cast by the server.

use transload_plugin_api::{Column, Error, LogicalType, Result, TypeSupport};

/// The binary form of a value (the server's `typsend` and `typreceive` functions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    /// UTF-8, without length limit of its own.
    Text,
    /// A version byte and JSON text.
    Jsonb,
    Bytea,
    Date,
    Time,
    /// With or without zone: microseconds of a moment.
    Timestamp,
    Interval,
    Uuid,
    /// As it is, whatever it means.
    Native,
    /// Elements of the type with this oid.
    Array {
        oid: u32,
        element: Box<Wire>,
    },
}

/// How values of a column travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColumnType {
    pub(crate) logical: LogicalType,
    pub(crate) wire: Wire,
    /// The server casts to text when reading and from text when writing.
    pub(crate) by_text: bool,
}

/// What the catalog says about a type, domains resolved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeFacts {
    pub(crate) oid: u32,
    pub(crate) modifier: i32,
    pub(crate) is_enum: bool,
    /// The element's oid, for true arrays.
    pub(crate) element: Option<u32>,
}

/// The server's numbers of its own types.
pub(crate) mod oid {
    pub(crate) const BOOL: u32 = 16;
    pub(crate) const BYTEA: u32 = 17;
    pub(crate) const CHAR: u32 = 18;
    pub(crate) const NAME: u32 = 19;
    pub(crate) const INT8: u32 = 20;
    pub(crate) const INT2: u32 = 21;
    pub(crate) const INT4: u32 = 23;
    pub(crate) const REGPROC: u32 = 24;
    pub(crate) const TEXT: u32 = 25;
    pub(crate) const OID: u32 = 26;
    pub(crate) const TID: u32 = 27;
    pub(crate) const XID: u32 = 28;
    pub(crate) const CID: u32 = 29;
    pub(crate) const JSON: u32 = 114;
    pub(crate) const POINT: u32 = 600;
    pub(crate) const POLYGON: u32 = 604;
    pub(crate) const LINE: u32 = 628;
    pub(crate) const CIDR: u32 = 650;
    pub(crate) const FLOAT4: u32 = 700;
    pub(crate) const FLOAT8: u32 = 701;
    pub(crate) const CIRCLE: u32 = 718;
    pub(crate) const MACADDR8: u32 = 774;
    pub(crate) const MONEY: u32 = 790;
    pub(crate) const MACADDR: u32 = 829;
    pub(crate) const INET: u32 = 869;
    pub(crate) const BPCHAR: u32 = 1042;
    pub(crate) const VARCHAR: u32 = 1043;
    pub(crate) const DATE: u32 = 1082;
    pub(crate) const TIME: u32 = 1083;
    pub(crate) const TIMESTAMP: u32 = 1114;
    pub(crate) const TIMESTAMPTZ: u32 = 1184;
    pub(crate) const INTERVAL: u32 = 1186;
    pub(crate) const TIMETZ: u32 = 1266;
    pub(crate) const BIT: u32 = 1560;
    pub(crate) const VARBIT: u32 = 1562;
    pub(crate) const NUMERIC: u32 = 1700;
    pub(crate) const REGPROCEDURE: u32 = 2202;
    pub(crate) const REGTYPE: u32 = 2206;
    pub(crate) const UUID: u32 = 2950;
    pub(crate) const TXID_SNAPSHOT: u32 = 2970;
    pub(crate) const PG_LSN: u32 = 3220;
    pub(crate) const TSVECTOR: u32 = 3614;
    pub(crate) const TSQUERY: u32 = 3615;
    pub(crate) const REGCONFIG: u32 = 3734;
    pub(crate) const REGDICTIONARY: u32 = 3769;
    pub(crate) const JSONB: u32 = 3802;
    pub(crate) const INT4RANGE: u32 = 3904;
    pub(crate) const NUMRANGE: u32 = 3906;
    pub(crate) const TSRANGE: u32 = 3908;
    pub(crate) const TSTZRANGE: u32 = 3910;
    pub(crate) const DATERANGE: u32 = 3912;
    pub(crate) const INT8RANGE: u32 = 3926;
    pub(crate) const JSONPATH: u32 = 4072;
    pub(crate) const REGNAMESPACE: u32 = 4089;
    pub(crate) const REGROLE: u32 = 4096;
    pub(crate) const REGCOLLATION: u32 = 4191;
    pub(crate) const INT4MULTIRANGE: u32 = 4451;
    pub(crate) const TSMULTIRANGE: u32 = 4533;
    pub(crate) const TSTZMULTIRANGE: u32 = 4534;
    pub(crate) const DATEMULTIRANGE: u32 = 4535;
    pub(crate) const INT8MULTIRANGE: u32 = 4536;
    pub(crate) const PG_SNAPSHOT: u32 = 5038;
    pub(crate) const XID8: u32 = 5069;
}

/// How values of a type travel.
pub(crate) fn column_type(facts: TypeFacts) -> ColumnType {
    let direct = |(logical, wire)| ColumnType { logical, wire, by_text: false };
    if facts.is_enum {
        // An enum's binary form is its label.
        return direct((LogicalType::TEXT, Wire::Text));
    }
    let array = facts.element.and_then(|oid| {
        let (logical, element) = simple(oid, facts.modifier)?;
        let wire = Wire::Array { oid, element: Box::new(element) };
        Some((LogicalType::List(Box::new(logical)), wire))
    });
    match array.or_else(|| simple(facts.oid, facts.modifier)) {
        Some(known) => direct(known),
        None => ColumnType { logical: LogicalType::TEXT, wire: Wire::Text, by_text: true },
    }
}

/// Whether values of a type have a form that is known here.
pub(crate) fn has_wire(oid: u32) -> bool {
    simple(oid, -1).is_some()
}

fn simple(oid: u32, modifier: i32) -> Option<(LogicalType, Wire)> {
    use LogicalType as T;
    let precision = u8::try_from(modifier).ok().filter(|digits| *digits <= 6).unwrap_or(6);
    Some(match oid {
        oid::BOOL => (T::Boolean, Wire::Bool),
        oid::INT2 => (T::Int16, Wire::Int2),
        oid::INT4 => (T::Int32, Wire::Int4),
        oid::INT8 => (T::Int64, Wire::Int8),
        oid::FLOAT4 => (T::Float32, Wire::Float4),
        oid::FLOAT8 => (T::Float64, Wire::Float8),
        oid::NUMERIC => (numeric(modifier), Wire::Numeric),
        oid::TEXT | oid::NAME => (T::TEXT, Wire::Text),
        // The modifier of texts counts its own four bytes.
        oid::VARCHAR | oid::BPCHAR => {
            (T::Text { length: u32::try_from(modifier - 4).ok() }, Wire::Text)
        }
        oid::BYTEA => (T::Binary, Wire::Bytea),
        oid::DATE => (T::Date, Wire::Date),
        oid::TIME => (T::Time { precision }, Wire::Time),
        oid::TIMESTAMP => (T::Timestamp { precision }, Wire::Timestamp),
        oid::TIMESTAMPTZ => (T::TimestampTz { precision }, Wire::Timestamp),
        oid::INTERVAL => (T::Interval, Wire::Interval),
        oid::JSON => (T::Json, Wire::Text),
        oid::JSONB => (T::Json, Wire::Jsonb),
        oid::UUID => (T::Uuid, Wire::Uuid),
        _ => return None,
    })
}

/// The modifier holds the precision in its upper half and the scale in 11 bits with a sign;
/// a scale that is negative or beyond the precision, or more than 76 digits, has no decimal type.
fn numeric(modifier: i32) -> LogicalType {
    let Some((precision, scale)) = numeric_bounds(modifier) else { return LogicalType::Numeric };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=76), Ok(scale)) if scale >= 0 && scale as u8 <= precision => {
            LogicalType::Decimal { precision, scale }
        }
        _ => LogicalType::Numeric,
    }
}

/// Precision and scale of a `numeric(p,s)`; `None` for `numeric`.
pub(crate) fn numeric_bounds(modifier: i32) -> Option<(i32, i32)> {
    let bits = modifier.checked_sub(4).filter(|bits| *bits >= 0)?;
    Some((bits >> 16, ((bits & 0x7ff) ^ 0x400) - 0x400))
}

/// The cast by which a type is read: values of `char` lose the blanks that fill them up, as the
/// standard's cast to text does.
pub(crate) fn reading_cast(facts: TypeFacts) -> &'static str {
    match (facts.oid, facts.element) {
        (oid::BPCHAR, None) => "::text",
        (_, Some(oid::BPCHAR)) => "::text[]",
        _ if column_type(facts).by_text => "::text",
        _ => "",
    }
}

/// What a text that the server casts must be like, where the cast would wrap or round others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextRule {
    /// An integer from 0 to this.
    Unsigned(u64),
    /// At most six digits after a point, zeros at the end not counted.
    Micros,
    /// No time of day.
    Dates,
}

/// Whether the server wraps, cuts or rounds values to fit such a column without a word, or looks
/// them up, and no [`TextRule`] finds them. A test compares both with the types that the server has.
pub(crate) fn bends(facts: TypeFacts) -> bool {
    match facts.element.unwrap_or(facts.oid) {
        // A block number wraps, as an oid does; positions above 16,383 are cut.
        oid::CHAR | oid::MONEY | oid::TID | oid::TSVECTOR => true,
        oid::INTERVAL | oid::TIMETZ if facts.modifier >= 0 => true,
        // Names that are looked up, with errors that are not about a row.
        oid::REGPROC | oid::REGPROCEDURE..=oid::REGTYPE => true,
        oid::REGCONFIG | oid::REGDICTIONARY | oid::REGNAMESPACE | oid::REGROLE => true,
        oid::REGCOLLATION => true,
        // Texts of arrays are not inspected.
        element => facts.element.is_some() && rule_of(element).is_some(),
    }
}

/// The rule for texts of such a column.
pub(crate) fn text_rule(facts: TypeFacts) -> Option<TextRule> {
    rule_of(facts.oid).filter(|_| facts.element.is_none())
}

fn rule_of(oid: u32) -> Option<TextRule> {
    match oid {
        oid::OID | oid::XID | oid::CID => Some(TextRule::Unsigned(u32::MAX.into())),
        oid::XID8 => Some(TextRule::Unsigned(u64::MAX)),
        oid::TIMETZ | oid::TSRANGE | oid::TSTZRANGE | oid::TSMULTIRANGE | oid::TSTZMULTIRANGE => {
            Some(TextRule::Micros)
        }
        oid::DATERANGE | oid::DATEMULTIRANGE => Some(TextRule::Dates),
        _ => None,
    }
}

/// Refuses the types of PostGIS by column name: as text they would lose what they mean, their
/// reference system and the order of their axes, to everything but another PostGIS.
pub(crate) fn refuse_geometry(column: &Column) -> Result<()> {
    let name = column.native.split('(').next().unwrap_or_default();
    let name = name.rsplit('.').next().unwrap_or_default().trim_matches('"');
    if !["geometry", "geography", "raster"].contains(&name) {
        return Ok(());
    }
    let message = format!("column `{}` is `{}`, which does not travel", column.name, column.native);
    Err(Error::unsupported(message)
        .hint("leave it out of `columns`, or read it by a `query` with ST_AsEWKT or ST_AsEWKB"))
}

/// The type that `create_table` gives a column, and what travels to it.
pub(crate) fn native_for(logical: &LogicalType) -> Option<(String, LogicalType)> {
    use LogicalType as T;
    let fraction = |name: &str, precision: u8, zone: &str| match precision {
        0..=5 => format!("{name}({precision}){zone}"),
        _ => format!("{name}{zone}"),
    };
    let taken = match logical {
        T::Int8 | T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal { precision: 20, scale: 0 },
        T::Duration => T::Interval,
        T::Text { length: Some(length) } if *length > 10_485_760 || *length == 0 => T::TEXT,
        T::Time { precision } => T::Time { precision: (*precision).min(6) },
        T::Timestamp { precision } => T::Timestamp { precision: (*precision).min(6) },
        T::TimestampTz { precision } => T::TimestampTz { precision: (*precision).min(6) },
        // An array of arrays has one length for all of them.
        T::List(item) if matches!(**item, T::List(_)) => T::Json,
        T::List(item) => T::List(Box::new(native_for(item)?.1)),
        other => other.clone(),
    };
    let native = match &taken {
        T::Boolean => "boolean".to_owned(),
        T::Int16 => "smallint".to_owned(),
        T::Int32 => "integer".to_owned(),
        T::Int64 => "bigint".to_owned(),
        T::Float32 => "real".to_owned(),
        T::Float64 => "double precision".to_owned(),
        T::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        T::Numeric => "numeric".to_owned(),
        T::Text { length: None } => "text".to_owned(),
        T::Text { length: Some(length) } => format!("varchar({length})"),
        T::Binary => "bytea".to_owned(),
        T::Date => "date".to_owned(),
        T::Time { precision } => fraction("time", *precision, ""),
        T::Timestamp { precision } => fraction("timestamp", *precision, ""),
        T::TimestampTz { precision } => fraction("timestamp", *precision, " with time zone"),
        T::Interval => "interval".to_owned(),
        T::Json => "json".to_owned(),
        T::Uuid => "uuid".to_owned(),
        T::List(item) => format!("{}[]", native_for(item)?.0),
        _ => return None,
    };
    Some((native, taken))
}

/// The types of both roles.
pub(crate) fn supported() -> Vec<TypeSupport> {
    vec![
        TypeSupport::new("boolean", &["boolean"]),
        TypeSupport::new("int16", &["smallint"]),
        TypeSupport::new("int32", &["integer"]),
        TypeSupport::new("int64", &["bigint"]),
        TypeSupport::new("float32", &["real"]),
        TypeSupport::new("float64", &["double precision"]),
        TypeSupport::new("decimal", &["numeric(p,s)"]).note("up to 76 digits"),
        TypeSupport::new("numeric", &["numeric"])
            .note("NaN and infinities are kept; negative zero is a dirty row"),
        TypeSupport::new("text", &["text", "varchar", "char", "name", "enum"])
            .note("every other type travels as text and is cast by the server; char is trimmed"),
        TypeSupport::new("binary", &["bytea"]),
        TypeSupport::new("date", &["date"]).note("infinities are dirty rows"),
        TypeSupport::new("time", &["time"]).note("24:00:00 is a dirty row"),
        TypeSupport::new("timestamp", &["timestamp"]).note("infinities are dirty rows"),
        TypeSupport::new("timestamptz", &["timestamp with time zone"])
            .note("infinities are dirty rows"),
        TypeSupport::new("interval", &["interval"]).note("to the microsecond"),
        TypeSupport::new("json", &["json", "jsonb"]).note("jsonb keeps values, not their text"),
        TypeSupport::new("uuid", &["uuid"]),
        TypeSupport::new("list", &["array"]).note("of one dimension, counted from 1"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(oid: u32, modifier: i32) -> String {
        column_type(TypeFacts { oid, modifier, is_enum: false, element: None }).logical.to_string()
    }

    #[test]
    fn t18_numeric_bounds_decide_the_type() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        for (modifier, name) in [
            (-1, "numeric"),
            (modifier(15, 2), "decimal(15,2)"),
            (modifier(76, 20), "decimal(76,20)"),
            (modifier(77, 0), "numeric"),
            (modifier(5, -2), "numeric"),
            (modifier(2, 5), "numeric"),
        ] {
            assert_eq!(logical(oid::NUMERIC, modifier), name);
        }
        assert_eq!(numeric_bounds(modifier(5, -2)), Some((5, -2)));
    }

    #[test]
    fn types_by_their_oid() {
        for (oid, modifier, name) in [
            (oid::VARCHAR, 9, "text(5)"),
            (oid::VARCHAR, -1, "text"),
            (oid::TIMESTAMP, 3, "timestamp(3)"),
            (oid::TIMESTAMPTZ, -1, "timestamptz"),
            (oid::TIME, 0, "time(0)"),
        ] {
            assert_eq!(logical(oid, modifier), name);
        }
    }

    #[test]
    fn t35_types_without_a_row_travel_as_text() {
        let inet = TypeFacts { oid: 869, modifier: -1, is_enum: false, element: None };
        assert!(column_type(inet).by_text);
        let inets = TypeFacts { oid: 1041, element: Some(869), ..inet };
        assert!(column_type(inets).by_text);
        let integers = TypeFacts { oid: 1007, element: Some(23), ..inet };
        assert_eq!(column_type(integers).logical.to_string(), "list<int32>");
        assert!(!column_type(TypeFacts { is_enum: true, ..inet }).by_text);
    }

    #[test]
    fn t37_geometries_are_known_by_their_type() {
        for (native, refused) in [
            ("geometry", true),
            ("geometry(Point,4326)", true),
            ("public.geography(Point,4326)", true),
            ("\"gis\".\"raster\"", true),
            ("point", false),
            ("geometry_kind", false),
            ("numeric(3,2)", false),
        ] {
            let mut column = Column::new("g", LogicalType::TEXT, true);
            native.clone_into(&mut column.native);
            assert_eq!(refuse_geometry(&column).is_err(), refused, "{native}");
        }
    }

    #[test]
    fn tables_are_made_with_types_that_hold_every_value() {
        for (logical, native, taken) in [
            ("uint64", "numeric(20,0)", "decimal(20,0)"),
            ("uint8", "smallint", "int16"),
            ("timestamp(9)", "timestamp", "timestamp"),
            ("timestamptz(3)", "timestamp(3) with time zone", "timestamptz(3)"),
            ("text(5)", "varchar(5)", "text(5)"),
            ("json", "json", "json"),
            ("list<int32>", "integer[]", "list<int32>"),
            ("list<list<int32>>", "json", "json"),
        ] {
            let found = native_for(&logical.parse().unwrap());
            assert_eq!(found, Some((native.to_owned(), taken.parse().unwrap())), "{logical}");
        }
    }
}
