//! Maps declared column types to logical types and back, and computes the affinity that SQLite
//! derives from them (<https://www.sqlite.org/datatype3.html>, section 3.1). Values are left to
//! `decode` and `bind`.

use transload_plugin_api::{LogicalType, TypeSupport};

/// How SQLite converts a value when it stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// Numbers, and text that looks like one, become integers if no information is lost.
    Integer,
    /// As for integers, including reals.
    Numeric,
    /// Numbers become reals.
    Real,
    /// Numbers become text.
    Text,
    /// Nothing is converted.
    Blob,
}

impl Affinity {
    /// The affinity of a declared type, by SQLite's five rules in their order.
    pub(crate) fn of(declared: &str) -> Self {
        let upper = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
        if has(&["INT"]) {
            Self::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if upper.trim().is_empty() || has(&["BLOB"]) {
            Self::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// Whether text that looks like a number would become one.
    pub(crate) fn makes_numbers(self) -> bool {
        matches!(self, Self::Integer | Self::Numeric | Self::Real)
    }
}

/// The logical type of a declared one; `None` if no type is declared.
pub(crate) fn logical_of(declared: &str) -> Option<LogicalType> {
    let (name, arguments) = name_and_arguments(declared);
    if name.is_empty() {
        return None;
    }
    let base = name.replace("UNSIGNED", "");
    let base = base.trim();
    if base.len() != name.len()
        && let Some(unsigned) = unsigned_of(base)
    {
        return Some(unsigned);
    }
    let known = number_of(base, &arguments).or_else(|| text_of(base, &arguments));
    Some(known.or_else(|| moment_of(base, &arguments)).unwrap_or_else(|| by_affinity(&name)))
}

/// `varchar ( 20 )` is `VARCHAR` and 20.
fn name_and_arguments(declared: &str) -> (String, Vec<u32>) {
    let (before, inside, after) = match declared.split_once('(') {
        None => (declared, "", ""),
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
            (before, inside, after)
        }
    };
    let words: Vec<_> = before.split_whitespace().chain(after.split_whitespace()).collect();
    let arguments = inside.split(',').filter_map(|text| text.trim().parse().ok()).collect();
    (words.join(" ").to_ascii_uppercase(), arguments)
}

fn unsigned_of(base: &str) -> Option<LogicalType> {
    Some(match base {
        "TINYINT" => LogicalType::UInt8,
        "SMALLINT" | "INT2" => LogicalType::UInt16,
        "MEDIUMINT" | "INT4" => LogicalType::UInt32,
        "INT" | "INTEGER" | "BIGINT" | "BIG INT" | "INT8" => LogicalType::UInt64,
        _ => return None,
    })
}

fn number_of(base: &str, arguments: &[u32]) -> Option<LogicalType> {
    Some(match base {
        "BOOLEAN" | "BOOL" => LogicalType::Boolean,
        "TINYINT" => LogicalType::Int8,
        "SMALLINT" | "INT2" => LogicalType::Int16,
        "MEDIUMINT" | "INT4" => LogicalType::Int32,
        "INT" | "INTEGER" | "BIGINT" | "BIG INT" | "INT8" => LogicalType::Int64,
        "REAL" | "DOUBLE" | "DOUBLE PRECISION" | "FLOAT" | "FLOAT8" => LogicalType::Float64,
        "FLOAT4" => LogicalType::Float32,
        "DECIMAL" | "NUMERIC" | "DEC" | "NUMBER" | "DECIMAL_TEXT" | "NUMERIC_TEXT" => {
            decimal_of(arguments)
        }
        _ => return None,
    })
}

/// Without arguments, or with arguments that no decimal type has, any number fits.
fn decimal_of(arguments: &[u32]) -> LogicalType {
    let (precision, scale) = match arguments {
        [precision] => (*precision, 0),
        [precision, scale] => (*precision, *scale),
        _ => return LogicalType::Numeric,
    };
    if !(1..=76).contains(&precision) || scale > precision {
        return LogicalType::Numeric;
    }
    LogicalType::Decimal { precision: precision as u8, scale: scale as i8 }
}

fn text_of(base: &str, arguments: &[u32]) -> Option<LogicalType> {
    Some(match base {
        "TEXT" | "CLOB" | "STRING" | "CHAR" | "VARCHAR" | "VARCHAR2" | "NCHAR" | "NVARCHAR"
        | "CHARACTER" | "CHARACTER VARYING" | "VARYING CHARACTER" | "NATIVE CHARACTER" => {
            LogicalType::Text { length: arguments.first().copied() }
        }
        "BLOB" | "BINARY" | "VARBINARY" | "BYTEA" => LogicalType::Binary,
        "JSON" | "JSON_TEXT" => LogicalType::Json,
        "UUID" | "GUID" => LogicalType::Uuid,
        _ => return None,
    })
}

fn moment_of(base: &str, arguments: &[u32]) -> Option<LogicalType> {
    let precision = arguments.first().copied().filter(|digits| *digits <= 9).unwrap_or(6) as u8;
    Some(match base {
        "DATE" => LogicalType::Date,
        "TIME" => LogicalType::Time { precision },
        "DURATION" => LogicalType::Duration,
        "DATETIME" | "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => {
            LogicalType::Timestamp { precision }
        }
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => LogicalType::TimestampTz { precision },
        _ => return None,
    })
}

fn by_affinity(name: &str) -> LogicalType {
    match Affinity::of(name) {
        Affinity::Integer => LogicalType::Int64,
        Affinity::Real => LogicalType::Float64,
        Affinity::Text => LogicalType::TEXT,
        Affinity::Blob => LogicalType::Binary,
        Affinity::Numeric => LogicalType::Numeric,
    }
}

/// The declared type of a column to create; [`logical_of`] maps it back exactly. `None` for types
/// that SQLite cannot represent.
pub(crate) fn declared_for(logical: &LogicalType) -> Option<String> {
    let with = |name: &str, precision: u8| match precision {
        6 => name.to_owned(),
        digits => format!("{name}({digits})"),
    };
    Some(match logical {
        LogicalType::Boolean => "BOOLEAN".into(),
        LogicalType::Int8 => "TINYINT".into(),
        LogicalType::Int16 => "SMALLINT".into(),
        LogicalType::Int32 => "INT4".into(),
        LogicalType::Int64 => "INTEGER".into(),
        LogicalType::UInt8 => "TINYINT UNSIGNED".into(),
        LogicalType::UInt16 => "SMALLINT UNSIGNED".into(),
        LogicalType::UInt32 => "INT4 UNSIGNED".into(),
        LogicalType::UInt64 => "BIGINT UNSIGNED".into(),
        LogicalType::Float32 => "FLOAT4".into(),
        LogicalType::Float64 => "REAL".into(),
        // A double preserves fifteen digits; more need text affinity.
        LogicalType::Decimal { precision, scale } if *precision <= 15 => {
            format!("DECIMAL({precision},{scale})")
        }
        LogicalType::Decimal { precision, scale } => format!("DECIMAL_TEXT({precision},{scale})"),
        LogicalType::Numeric => "NUMERIC_TEXT".into(),
        LogicalType::Text { length: None } => "TEXT".into(),
        LogicalType::Text { length: Some(length) } => format!("VARCHAR({length})"),
        LogicalType::Binary => "BLOB".into(),
        LogicalType::Date => "DATE".into(),
        LogicalType::Time { precision } => with("TIME", *precision),
        LogicalType::Duration => "DURATION".into(),
        LogicalType::Timestamp { precision } => with("DATETIME", *precision),
        LogicalType::TimestampTz { precision } => with("TIMESTAMPTZ", *precision),
        LogicalType::Json => "JSON_TEXT".into(),
        LogicalType::Uuid => "UUID".into(),
        _ => return None,
    })
}

/// The types of the descriptor, the same for reading and writing.
pub(crate) fn supported() -> Vec<TypeSupport> {
    let numbers = "an unsigned number above 9223372036854775807 is a dirty row";
    let decimals = "more than 15 significant digits need a column of TEXT affinity, such as \
                    DECIMAL_TEXT(p,s); elsewhere they are dirty rows";
    vec![
        TypeSupport::new("boolean", &["BOOLEAN"]).note("stored as 0 and 1"),
        TypeSupport::new("int8", &["TINYINT"]),
        TypeSupport::new("int16", &["SMALLINT", "INT2"]),
        TypeSupport::new("int32", &["INT4", "MEDIUMINT"]),
        TypeSupport::new("int64", &["INTEGER", "INT", "BIGINT"]),
        TypeSupport::new("uint8", &["TINYINT UNSIGNED"]),
        TypeSupport::new("uint16", &["SMALLINT UNSIGNED"]),
        TypeSupport::new("uint32", &["INT4 UNSIGNED"]),
        TypeSupport::new("uint64", &["BIGINT UNSIGNED"]).note(numbers),
        TypeSupport::new("float32", &["FLOAT4"])
            .note("NaN and -0 are dirty rows, because SQLite would change them"),
        TypeSupport::new("float64", &["REAL", "DOUBLE", "FLOAT"])
            .note("NaN and -0 are dirty rows, because SQLite would change them"),
        TypeSupport::new("decimal", &["DECIMAL(p,s)", "NUMERIC(p,s)", "DECIMAL_TEXT(p,s)"])
            .note(decimals),
        TypeSupport::new("numeric", &["NUMERIC", "DECIMAL", "NUMERIC_TEXT"]).note(decimals),
        TypeSupport::new("text", &["TEXT", "VARCHAR(n)", "CHAR(n)", "CLOB"])
            .note("lengths are enforced by Transload, not by SQLite"),
        TypeSupport::new("binary", &["BLOB"]),
        TypeSupport::new("date", &["DATE"]).note("ISO text, years 0000 to 9999"),
        TypeSupport::new("time", &["TIME"]).note("ISO text"),
        TypeSupport::new("duration", &["DURATION"]).note("text `[-]H:MM:SS[.ffffff]`"),
        TypeSupport::new("timestamp", &["DATETIME", "TIMESTAMP"]).note("ISO text"),
        TypeSupport::new("timestamptz", &["TIMESTAMPTZ"]).note("ISO text in UTC, ending in Z"),
        TypeSupport::new("json", &["JSON", "JSON_TEXT"]).note("text, stored unchanged"),
        TypeSupport::new("uuid", &["UUID"]).note("text"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_understood() {
        for (declared, logical) in [
            ("INTEGER", "int64"),
            ("int", "int64"),
            ("BIGINT", "int64"),
            ("smallint", "int16"),
            ("TINYINT(1)", "int8"),
            ("UNSIGNED BIG INT", "uint64"),
            ("int unsigned", "uint64"),
            ("BOOLEAN", "boolean"),
            ("double precision", "float64"),
            ("DECIMAL(15,2)", "decimal(15,2)"),
            ("numeric ( 9 )", "decimal(9,0)"),
            ("NUMERIC", "numeric"),
            ("DECIMAL(77,1)", "numeric"),
            ("DECIMAL_TEXT(38,10)", "decimal(38,10)"),
            ("VARCHAR(20)", "text(20)"),
            ("CHAR(1)", "text(1)"),
            ("VARYING CHARACTER(9)", "text(9)"),
            ("clob", "text"),
            ("BLOB", "binary"),
            ("datetime", "timestamp"),
            ("TIMESTAMP(3)", "timestamp(3)"),
            ("TIMESTAMP(3) WITH TIME ZONE", "timestamptz(3)"),
            ("JSON", "json"),
            ("FLOATING POINT", "int64"),
            ("whatever", "numeric"),
        ] {
            assert_eq!(logical_of(declared).unwrap().to_string(), logical, "{declared}");
        }
        assert_eq!(logical_of(" "), None);
    }

    #[test]
    fn created_types_read_back_as_they_were() {
        for name in [
            "boolean",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "float32",
            "float64",
            "decimal(15,2)",
            "decimal(16,2)",
            "decimal(76,3)",
            "numeric",
            "text",
            "text(5)",
            "binary",
            "date",
            "time",
            "time(0)",
            "duration",
            "timestamp(9)",
            "timestamptz(3)",
            "json",
            "uuid",
        ] {
            let logical: LogicalType = name.parse().unwrap();
            let declared = declared_for(&logical).unwrap();
            assert_eq!(logical_of(&declared), Some(logical), "{declared}");
        }
        assert_eq!(declared_for(&LogicalType::Interval), None);
        assert_eq!(declared_for(&LogicalType::List(Box::new(LogicalType::Int8))), None);
    }

    #[test]
    fn affinity_follows_sqlites_rules() {
        for (declared, affinity) in [
            ("CHARINT", Affinity::Integer),
            ("VARCHAR(9)", Affinity::Text),
            ("DECIMAL_TEXT(38,10)", Affinity::Text),
            ("NUMERIC_TEXT", Affinity::Text),
            ("JSON_TEXT", Affinity::Text),
            ("", Affinity::Blob),
            ("BLOB", Affinity::Blob),
            ("DOUBLE", Affinity::Real),
            ("STRING", Affinity::Numeric),
            ("DECIMAL(5,2)", Affinity::Numeric),
            ("TIMESTAMPTZ", Affinity::Numeric),
        ] {
            assert_eq!(Affinity::of(declared), affinity, "{declared}");
        }
    }
}
