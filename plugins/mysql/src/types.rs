//! Maps native column types to logical types and back. Values are left to `decode` and `literal`.

use transload_plugin_api::{LogicalType, TypeSupport};

/// A column's type, parsed: `decimal(15,2) unsigned`, `enum('a','b')`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Native {
    /// The first word, in lower case.
    pub(crate) name: String,
    /// The numbers in parentheses.
    pub(crate) arguments: Vec<u32>,
    pub(crate) unsigned: bool,
    /// The labels of an enum or a set.
    pub(crate) labels: Vec<String>,
    /// Text that a check constraint restricts to JSON.
    pub(crate) json: bool,
}

impl Native {
    /// Parses a `COLUMN_TYPE` of the catalog.
    pub(crate) fn parse(declared: &str) -> Self {
        let (name, inside, after) = match declared.split_once('(') {
            None => (declared.split(' ').next().unwrap_or_default(), "", declared),
            Some((name, rest)) => match rest.rsplit_once(')') {
                Some((inside, after)) => (name, inside, after),
                None => (name, rest, ""),
            },
        };
        let name = name.trim().to_ascii_lowercase();
        let unsigned = after.to_ascii_lowercase().contains("unsigned");
        let labels =
            if matches!(name.as_str(), "enum" | "set") { labels(inside) } else { Vec::new() };
        let arguments = match labels.is_empty() {
            true => inside.split(',').filter_map(|text| text.trim().parse().ok()).collect(),
            false => Vec::new(),
        };
        Self { name, arguments, unsigned, labels, json: false }
    }

    /// Number of digits after the decimal point of the seconds.
    pub(crate) fn fraction(&self) -> u8 {
        self.arguments.first().map_or(0, |digits| (*digits).min(6) as u8)
    }
}

/// The labels in `'a','it''s'`.
fn labels(inside: &str) -> Vec<String> {
    let (mut labels, mut label, mut open) = (Vec::new(), String::new(), false);
    let mut letters = inside.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if open && letters.peek() == Some(&'\'') => {
                letters.next();
                label.push('\'');
            }
            '\'' => {
                if open {
                    labels.push(std::mem::take(&mut label));
                }
                open = !open;
            }
            letter if open => label.push(letter),
            _ => {}
        }
    }
    labels
}

/// The logical type; `None` for unsupported types.
pub(crate) fn logical_of(native: &Native) -> Option<LogicalType> {
    use LogicalType as T;
    if native.json {
        return Some(T::Json);
    }
    let first = native.arguments.first().copied();
    Some(match (native.name.as_str(), native.unsigned) {
        ("tinyint", false) => T::Int8,
        ("tinyint", true) => T::UInt8,
        ("smallint", false) => T::Int16,
        ("smallint", true) => T::UInt16,
        ("mediumint" | "int", false) => T::Int32,
        ("mediumint" | "int", true) => T::UInt32,
        ("bigint", false) => T::Int64,
        ("bigint", true) => T::UInt64,
        ("float", _) => T::Float32,
        ("double", _) => T::Float64,
        ("decimal", _) => {
            let scale = native.arguments.get(1).copied().unwrap_or(0);
            T::Decimal { precision: first.unwrap_or(10) as u8, scale: scale as i8 }
        }
        ("char" | "varchar", _) => T::Text { length: first },
        ("tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set", _) => T::TEXT,
        ("inet4" | "inet6", _) => T::TEXT,
        ("binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "bit", _) => {
            T::Binary
        }
        ("date", _) => T::Date,
        ("time", _) => T::Duration,
        ("datetime", _) => T::Timestamp { precision: native.fraction() },
        ("timestamp", _) => T::TimestampTz { precision: native.fraction() },
        ("year", _) => T::UInt16,
        ("json", _) => T::Json,
        ("uuid", _) => T::Uuid,
        _ => return None,
    })
}

/// The longest text of a column of a key that a table is created with; the longest is that fits
/// every index.
const KEY_CHARACTERS: u32 = 191;
/// As [`KEY_CHARACTERS`], for bytes.
const KEY_BYTES: &str = "VARBINARY(767)";
/// The longest text that fits an index of the usual row format.
pub(crate) const INDEXED_CHARACTERS: u32 = 768;

/// The type that a column of this declared type needs before a key can be made of it; `None` if a key
/// takes it as it is.
pub(crate) fn indexed_for(declared: &str) -> Option<String> {
    let native = Native::parse(declared);
    let length = native.arguments.first().copied().unwrap_or_default();
    match native.name.as_str() {
        "tinytext" | "text" | "mediumtext" | "longtext" | "json" => {}
        "varchar" if length > INDEXED_CHARACTERS => {}
        "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            return Some(KEY_BYTES.to_owned());
        }
        "varbinary" if length > 4 * INDEXED_CHARACTERS => return Some(KEY_BYTES.to_owned()),
        _ => return None,
    }
    // A collation that every server has.
    Some(format!("VARCHAR({KEY_CHARACTERS}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"))
}

/// The type of a column to create; [`logical_of`] maps it back as closely as the servers allow. In a
/// key, texts are compared by `collation`. `None` for types that they cannot represent.
pub(crate) fn declared_for(logical: &LogicalType, collation: Option<&str>) -> Option<String> {
    use LogicalType as T;
    let fraction = |name: &str, precision: u8| match precision {
        0 => Some(name.to_owned()),
        1..=6 => Some(format!("{name}({precision})")),
        _ => None,
    };
    Some(match logical {
        T::Boolean => "TINYINT(1)".into(),
        T::Int8 => "TINYINT".into(),
        T::Int16 => "SMALLINT".into(),
        T::Int32 => "INT".into(),
        T::Int64 => "BIGINT".into(),
        T::UInt8 => "TINYINT UNSIGNED".into(),
        T::UInt16 => "SMALLINT UNSIGNED".into(),
        T::UInt32 => "INT UNSIGNED".into(),
        T::UInt64 => "BIGINT UNSIGNED".into(),
        T::Float32 => "FLOAT".into(),
        T::Float64 => "DOUBLE".into(),
        T::Decimal { precision, scale } if *precision <= 65 && (0..=30).contains(scale) => {
            format!("DECIMAL({precision},{scale})")
        }
        // An index needs a length, and a key tells texts apart as the source does.
        T::Text { length } if let Some(collation) = collation => {
            let length = length.filter(|length| *length <= INDEXED_CHARACTERS);
            let length = length.unwrap_or(KEY_CHARACTERS);
            format!("VARCHAR({length}) CHARACTER SET utf8mb4 COLLATE {collation}")
        }
        T::Text { length: None } => "LONGTEXT CHARACTER SET utf8mb4".into(),
        T::Text { length: Some(length) } if *length <= 16_000 => {
            format!("VARCHAR({length}) CHARACTER SET utf8mb4")
        }
        T::Text { .. } => "LONGTEXT CHARACTER SET utf8mb4".into(),
        T::Binary if collation.is_some() => KEY_BYTES.into(),
        T::Binary => "LONGBLOB".into(),
        T::Date => "DATE".into(),
        T::Time { precision } => fraction("TIME", *precision)?,
        T::Duration => "TIME(6)".into(),
        T::Timestamp { precision } => fraction("DATETIME", *precision)?,
        // Without an explicit default, the server would give the first such column its own.
        T::TimestampTz { precision } => fraction("TIMESTAMP", *precision)?,
        T::Json => "JSON".into(),
        T::Uuid => "BINARY(16)".into(),
        _ => return None,
    })
}

/// The types in the descriptor, the same for reading and writing.
pub(crate) fn supported() -> Vec<TypeSupport> {
    vec![
        TypeSupport::new("boolean", &["TINYINT(1)"])
            .note("read as a number unless the target's column is boolean"),
        TypeSupport::new("int8", &["TINYINT"]),
        TypeSupport::new("int16", &["SMALLINT"]),
        TypeSupport::new("int32", &["INT", "MEDIUMINT"]),
        TypeSupport::new("int64", &["BIGINT"]),
        TypeSupport::new("uint8", &["TINYINT UNSIGNED"]),
        TypeSupport::new("uint16", &["SMALLINT UNSIGNED", "YEAR"])
            .note("a YEAR takes 0 and 1901 to 2155"),
        TypeSupport::new("uint32", &["INT UNSIGNED", "MEDIUMINT UNSIGNED"]),
        TypeSupport::new("uint64", &["BIGINT UNSIGNED"]),
        TypeSupport::new("float32", &["FLOAT"]).note("NaN, infinities and -0 are dirty rows"),
        TypeSupport::new("float64", &["DOUBLE"]).note("NaN, infinities and -0 are dirty rows"),
        TypeSupport::new("decimal", &["DECIMAL(p,s)"])
            .note("up to 65 digits, up to 30 of them after the decimal point"),
        TypeSupport::new(
            "text",
            &["VARCHAR(n)", "CHAR(n)", "LONGTEXT", "MEDIUMTEXT", "TEXT", "TINYTEXT", "ENUM", "SET"],
        )
        .note("CHAR drops trailing blanks; ENUM and SET take labels, other values are dirty rows"),
        TypeSupport::new("binary", &["LONGBLOB", "BLOB", "VARBINARY(n)", "BINARY(n)", "BIT(n)"])
            .note("BINARY(n) and BIT(n) take only values of exactly their length"),
        TypeSupport::new("date", &["DATE"]).note("years 0001 to 9999"),
        TypeSupport::new("time", &["TIME"]).note("read as a duration unless a time is wanted"),
        TypeSupport::new("duration", &["TIME"])
            .note("up to 838:59:59.999999 in either direction, on MySQL up to 838:59:59"),
        TypeSupport::new("timestamp", &["DATETIME"]).note("years 0001 to 9999, microseconds"),
        TypeSupport::new("timestamptz", &["TIMESTAMP"])
            .note("1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC on most servers"),
        TypeSupport::new("json", &["JSON"])
            .note("MariaDB keeps the text; MySQL sorts keys and drops duplicate ones"),
        TypeSupport::new("uuid", &["BINARY(16)", "UUID"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_understood() {
        for (declared, logical) in [
            ("int(11)", "int32"),
            ("bigint(20) unsigned", "uint64"),
            ("mediumint(8) unsigned zerofill", "uint32"),
            ("tinyint(1)", "int8"),
            ("decimal(65,30)", "decimal(65,30)"),
            ("decimal(10,0) unsigned", "decimal(10,0)"),
            ("varchar(25)", "text(25)"),
            ("longtext", "text"),
            ("enum('a','it''s','x,y')", "text"),
            ("bit(5)", "binary"),
            ("time(3)", "duration"),
            ("datetime", "timestamp(0)"),
            ("timestamp(6)", "timestamptz"),
            ("year(4)", "uint16"),
            ("json", "json"),
            ("uuid", "uuid"),
        ] {
            let native = Native::parse(declared);
            assert_eq!(logical_of(&native).unwrap().to_string(), logical, "{declared}");
        }
    }

    #[test]
    fn t37_geometry_does_not_travel() {
        for declared in ["point", "geometry", "polygon", "geometrycollection", "vector(3)"] {
            assert_eq!(logical_of(&Native::parse(declared)), None, "{declared}");
        }
    }

    #[test]
    fn t36_labels_are_taken_apart() {
        let native = Native::parse("set('a','it''s','x)y','')");
        assert_eq!(native.labels, ["a", "it's", "x)y", ""]);
        assert!(Native::parse("decimal(3,1)").labels.is_empty());
    }

    #[test]
    fn created_types_read_back_as_they_were() {
        for name in [
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
            "decimal(65,30)",
            "text(5)",
            "text",
            "binary",
            "date",
            "duration",
            "timestamp(0)",
            "timestamp",
            "timestamptz(3)",
            "json",
        ] {
            let logical: LogicalType = name.parse().unwrap();
            let declared = declared_for(&logical, None).unwrap();
            assert_eq!(logical_of(&Native::parse(&declared)), Some(logical), "{declared}");
        }
        for name in
            ["decimal(66,0)", "decimal(38,31)", "timestamp(9)", "numeric", "interval", "list<int8>"]
        {
            assert_eq!(declared_for(&name.parse().unwrap(), None), None, "{name}");
        }
    }
}
