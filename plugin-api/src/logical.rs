//! The types that travel between plugins, their names in job files and their Arrow form. Every
//! store maps its native types to these and back. Converting values from one type to another is
//! left to the host.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, NativeEncoding, NativeForm};

/// Field metadata key under which a logical type's name travels with an Arrow field.
const TYPE_KEY: &str = "transload.type";
/// Field metadata key of the store's own type name.
const NATIVE_KEY: &str = "transload.native";
/// Arrow's own key for extension types
/// (<https://arrow.apache.org/docs/format/Columnar.html#extension-types>).
const EXTENSION_KEY: &str = "ARROW:extension:name";

/// A type that travels, written in job files by the names that [`fmt::Display`] prints.
///
/// Each has one Arrow type that carries it ([`LogicalType::data_type`]) and field metadata that
/// distinguishes it from other types with the same carrier ([`LogicalType::field`]): `json` and
/// `text` are both `Utf8`. Values are exact: a plugin that cannot deliver or store one exactly makes the row
/// dirty.
///
/// # Examples
/// ```
/// use arrow_schema::DataType;
/// use transload_plugin_api::LogicalType;
///
/// let price: LogicalType = "decimal(15,2)".parse()?;
/// assert_eq!(price, LogicalType::Decimal { precision: 15, scale: 2 });
/// assert_eq!(price.data_type(), DataType::Decimal128(15, 2));
/// assert_eq!(price.family(), "decimal");
///
/// let field = LogicalType::Json.field("document", true);
/// assert_eq!(*field.data_type(), DataType::Utf8);
/// assert_eq!(LogicalType::of_field(&field), Some(LogicalType::Json));
///
/// assert_eq!("timestamp(3)".parse::<LogicalType>()?.to_string(), "timestamp(3)");
/// assert!("varchar".parse::<LogicalType>().is_err());
/// # Ok::<(), transload_plugin_api::TypeParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogicalType {
    /// `boolean`
    Boolean,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint8`
    UInt8,
    /// `uint16`
    UInt16,
    /// `uint32`
    UInt32,
    /// `uint64`
    UInt64,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `decimal(precision,scale)`, precision 1 to 76. Carried as `Decimal128` up to 38 digits, as
    /// `Decimal256` above.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: i8,
    },
    /// `numeric`: a decimal number without fixed precision, carried as its text (`Utf8`, extension
    /// `transload.numeric`). `NaN`, `Infinity` and `-Infinity` are values of it.
    Numeric,
    /// `text` or `text(n)`, n in characters. Carried as `Utf8`; an empty text is not NULL.
    Text {
        /// The longest value the store takes, in characters.
        length: Option<u32>,
    },
    /// `binary`: bytes of any length. Carried as `Binary`.
    Binary,
    /// `date`: a calendar date, not an instant. Carried as `Date32`, days since 1970-01-01 in the
    /// proleptic Gregorian calendar.
    Date,
    /// `time` or `time(p)`: a time of day with p fractional digits (default 6). Carried as
    /// `Time64`, in microseconds up to 6 digits, in nanoseconds above.
    Time {
        /// Fractional digits of a second, 0 to 9.
        precision: u8,
    },
    /// `duration`: a signed time span (MySQL's `TIME`). Carried as `Duration` in microseconds.
    Duration,
    /// `timestamp` or `timestamp(p)`: a date and time without a zone, never shifted. Carried as
    /// `Timestamp` without a zone; units as for `time`.
    Timestamp {
        /// Fractional digits of a second, 0 to 9.
        precision: u8,
    },
    /// `timestamptz` or `timestamptz(p)`: an instant. Carried as `Timestamp` in UTC; units as for
    /// `time`.
    TimestampTz {
        /// Fractional digits of a second, 0 to 9.
        precision: u8,
    },
    /// `interval`: months, days and nanoseconds, each with its own sign. Carried as
    /// `Interval(MonthDayNano)`.
    Interval,
    /// `json`: JSON text, byte for byte as the store has it. Carried as `Utf8`, extension
    /// `arrow.json`.
    Json,
    /// `uuid`: 16 bytes. Carried as `FixedSizeBinary(16)`, extension `arrow.uuid`.
    Uuid,
    /// `list<T>`: values of one type, NULLs among them. Carried as `List` with a nullable item.
    List(Box<LogicalType>),
    /// `native<FORM>`: values as one kind of store keeps them, which pass untouched. Carried as
    /// `Binary`, or `Utf8` if the form is text; extension `transload.native`. Decided by the plan,
    /// see [`NativeForm`].
    Native(Box<NativeForm>),
}

/// A type name that is not one of [`LogicalType`]'s. Its message lists the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeParseError {
    text: String,
}

impl fmt::Display for TypeParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown type `{}`; known: boolean, int8 to int64, uint8 to uint64, float32, float64, \
             decimal(p,s), numeric, text, text(n), binary, date, time, duration, timestamp, \
             timestamptz, interval, json, uuid, list<T>",
            self.text
        )
    }
}

impl std::error::Error for TypeParseError {}

impl LogicalType {
    /// `text` without a length.
    pub const TEXT: Self = Self::Text { length: None };
    /// `timestamp` with microseconds.
    pub const TIMESTAMP: Self = Self::Timestamp { precision: 6 };
    /// `timestamptz` with microseconds.
    pub const TIMESTAMPTZ: Self = Self::TimestampTz { precision: 6 };
    /// `time` with microseconds.
    pub const TIME: Self = Self::Time { precision: 6 };

    /// The Arrow type that carries it.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 => DataType::UInt64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } if *precision <= 38 => {
                DataType::Decimal128(*precision, *scale)
            }
            Self::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Numeric | Self::Text { .. } | Self::Json => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time { precision } => DataType::Time64(unit_of(*precision)),
            Self::Duration => DataType::Duration(TimeUnit::Microsecond),
            Self::Timestamp { precision } => DataType::Timestamp(unit_of(*precision), None),
            Self::TimestampTz { precision } => {
                DataType::Timestamp(unit_of(*precision), Some("UTC".into()))
            }
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Uuid => DataType::FixedSizeBinary(16),
            Self::List(item) => DataType::List(Arc::new(item.field("item", true))),
            Self::Native(form) => match form.encoding {
                NativeEncoding::Text => DataType::Utf8,
                NativeEncoding::Binary => DataType::Binary,
            },
        }
    }

    /// An Arrow field of this type, with the metadata that [`LogicalType::of_field`] reads.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), self.to_string())]);
        let extension = match self {
            Self::Json => Some("arrow.json"),
            Self::Uuid => Some("arrow.uuid"),
            Self::Numeric => Some("transload.numeric"),
            Self::Native(_) => Some("transload.native"),
            _ => None,
        };
        if let Some(name) = extension {
            metadata.insert(EXTENSION_KEY.to_owned(), name.to_owned());
        }
        Field::new(name, self.data_type(), nullable).with_metadata(metadata)
    }

    /// The logical type of a field: from our metadata, or else its extension name, or else its
    /// Arrow type. `None` for Arrow types that do not travel.
    pub fn of_field(field: &Field) -> Option<Self> {
        if let Some(name) = field.metadata().get(TYPE_KEY)
            && let Ok(parsed) = name.parse::<Self>()
            && parsed.data_type() == *field.data_type()
        {
            return Some(parsed);
        }
        match field.metadata().get(EXTENSION_KEY).map(String::as_str) {
            Some("arrow.json") => return Some(Self::Json),
            Some("arrow.uuid") => return Some(Self::Uuid),
            Some("transload.numeric") => return Some(Self::Numeric),
            _ => {}
        }
        Self::of_data_type(field.data_type())
    }

    fn of_data_type(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => Self::Int8,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::UInt8 => Self::UInt8,
            DataType::UInt16 => Self::UInt16,
            DataType::UInt32 => Self::UInt32,
            DataType::UInt64 => Self::UInt64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                Self::Decimal { precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Self::TEXT,
            DataType::Binary => Self::Binary,
            DataType::Date32 => Self::Date,
            DataType::Time64(unit) => Self::Time { precision: precision_of(*unit) },
            DataType::Duration(TimeUnit::Microsecond) => Self::Duration,
            DataType::Timestamp(unit, None) => Self::Timestamp { precision: precision_of(*unit) },
            DataType::Timestamp(unit, Some(_)) => {
                Self::TimestampTz { precision: precision_of(*unit) }
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval,
            DataType::FixedSizeBinary(16) => Self::Uuid,
            DataType::List(item) => Self::List(Box::new(Self::of_field(item)?)),
            _ => return None,
        })
    }

    /// The name without its parameters: `decimal` for `decimal(15,2)`. Descriptors list families.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Decimal { .. } => "decimal",
            Self::Numeric => "numeric",
            Self::Text { .. } => "text",
            Self::Binary => "binary",
            Self::Date => "date",
            Self::Time { .. } => "time",
            Self::Duration => "duration",
            Self::Timestamp { .. } => "timestamp",
            Self::TimestampTz { .. } => "timestamptz",
            Self::Interval => "interval",
            Self::Json => "json",
            Self::Uuid => "uuid",
            Self::List(_) => "list",
            Self::Native(_) => "native",
        }
    }
}

/// Up to six digits travel as microseconds, more as nanoseconds.
fn unit_of(precision: u8) -> TimeUnit {
    if precision <= 6 { TimeUnit::Microsecond } else { TimeUnit::Nanosecond }
}

fn precision_of(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.family())?;
        match self {
            Self::Decimal { precision, scale } => write!(f, "({precision},{scale})"),
            Self::Text { length: Some(length) } => write!(f, "({length})"),
            Self::Time { precision }
            | Self::Timestamp { precision }
            | Self::TimestampTz { precision }
                if *precision != 6 =>
            {
                write!(f, "({precision})")
            }
            Self::List(item) => write!(f, "<{item}>"),
            Self::Native(form) => write!(f, "<{form}>"),
            _ => Ok(()),
        }
    }
}

impl FromStr for LogicalType {
    type Err = TypeParseError;

    fn from_str(text: &str) -> Result<Self, TypeParseError> {
        parse_type(text.trim()).ok_or_else(|| TypeParseError { text: text.to_owned() })
    }
}

/// The types that have a name without arguments; seconds have 6 digits then.
static PLAIN: &[(&str, LogicalType)] = &[
    ("boolean", LogicalType::Boolean),
    ("int8", LogicalType::Int8),
    ("int16", LogicalType::Int16),
    ("int32", LogicalType::Int32),
    ("int64", LogicalType::Int64),
    ("uint8", LogicalType::UInt8),
    ("uint16", LogicalType::UInt16),
    ("uint32", LogicalType::UInt32),
    ("uint64", LogicalType::UInt64),
    ("float32", LogicalType::Float32),
    ("float64", LogicalType::Float64),
    ("numeric", LogicalType::Numeric),
    ("text", LogicalType::TEXT),
    ("binary", LogicalType::Binary),
    ("date", LogicalType::Date),
    ("time", LogicalType::Time { precision: 6 }),
    ("duration", LogicalType::Duration),
    ("timestamp", LogicalType::Timestamp { precision: 6 }),
    ("timestamptz", LogicalType::TimestampTz { precision: 6 }),
    ("interval", LogicalType::Interval),
    ("json", LogicalType::Json),
    ("uuid", LogicalType::Uuid),
];

impl LogicalType {
    /// The names of types that need no arguments, in lower case.
    pub fn plain_names() -> impl Iterator<Item = &'static str> {
        PLAIN.iter().map(|(name, _)| *name)
    }

    /// The names of types that take arguments, each with a pattern of what is between the
    /// parentheses.
    pub fn sized_names() -> impl Iterator<Item = (&'static str, &'static str)> {
        let digits = r"\s*[0-9]\s*";
        [
            ("decimal", r"\s*[0-9]{1,2}\s*(,\s*[0-9]{1,2}\s*)?"),
            ("text", r"\s*[0-9]{1,10}\s*"),
            ("time", digits),
            ("timestamp", digits),
            ("timestamptz", digits),
        ]
        .into_iter()
    }
}

fn parse_type(text: &str) -> Option<LogicalType> {
    if let Some(form) = text.strip_prefix("native<").and_then(|rest| rest.strip_suffix('>')) {
        return Some(LogicalType::Native(Box::new(form.parse().ok()?)));
    }
    let lower = text.to_ascii_lowercase();
    if let Some(item) = lower.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
        return parse_type(item.trim()).map(|item| LogicalType::List(Box::new(item)));
    }
    let (name, arguments) = match lower.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(')')?)),
        None => (lower.as_str(), None),
    };
    let number = |limit: u32| -> Option<u32> {
        arguments?.trim().parse::<u32>().ok().filter(|n| *n <= limit)
    };
    let fraction = || number(9).map(|n| n as u8);
    let parsed = match name {
        "decimal" => return parse_decimal(arguments?),
        "text" if arguments.is_some() => LogicalType::Text { length: Some(number(u32::MAX)?) },
        "time" if arguments.is_some() => LogicalType::Time { precision: fraction()? },
        "timestamp" if arguments.is_some() => LogicalType::Timestamp { precision: fraction()? },
        "timestamptz" if arguments.is_some() => LogicalType::TimestampTz { precision: fraction()? },
        _ if arguments.is_some() => return None,
        _ => return PLAIN.iter().find(|(plain, _)| *plain == name).map(|(_, it)| it.clone()),
    };
    Some(parsed)
}

fn parse_decimal(arguments: &str) -> Option<LogicalType> {
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let precision = precision.trim().parse::<u8>().ok().filter(|p| (1..=76).contains(p))?;
    let scale = scale.trim().parse::<i8>().ok().filter(|s| (0..=precision as i8).contains(s))?;
    Some(LogicalType::Decimal { precision, scale })
}

impl Serialize for LogicalType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogicalType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A column of a source, of a target or of a plan.
///
/// # Examples
/// ```
/// use transload_plugin_api::{Column, LogicalType, columns_of, schema_of};
///
/// let id = Column {
///     native: "bigint".to_owned(),
///     generated: true,
///     ..Column::new("id", LogicalType::Int64, false)
/// };
/// let columns = [id, Column::new("name", LogicalType::TEXT, true)];
///
/// let schema = schema_of(&columns); // the schema of every batch of these columns
/// assert!(!schema.field(0).is_nullable());
/// assert_eq!(columns_of(&schema).unwrap()[1].logical, LogicalType::TEXT);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, in the store's own spelling.
    pub name: String,
    /// The type in which its values travel.
    #[serde(rename = "type")]
    pub logical: LogicalType,
    /// Whether it may contain NULL.
    pub nullable: bool,
    /// The store's own type name, such as `varchar(20)`; empty if the store has no types.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub native: String,
    /// Of a source: the form in which the reader can send the values untouched. Of a plan: the
    /// source's, for a writer that takes it. Where there is one, `logical` is the type for all
    /// other targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_form: Option<NativeForm>,
    /// The type was inferred from a sample (text formats), so a target's type overrides it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inferred: bool,
    /// The store computes it; it can be read but not written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
    /// The store fills it when a row does not (a default, an identity, an auto increment).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_default: bool,
}

/// For functions over columns that also take a plugin's own column types.
impl AsRef<Self> for Column {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Column {
    /// A nullable or required column with no other property.
    pub fn new(name: impl Into<String>, logical: LogicalType, nullable: bool) -> Self {
        Self {
            name: name.into(),
            logical,
            nullable,
            native: String::new(),
            native_form: None,
            inferred: false,
            generated: false,
            has_default: false,
        }
    }

    /// The Arrow field that carries it.
    pub fn field(&self) -> Field {
        let field = self.logical.field(&self.name, self.nullable);
        if self.native.is_empty() {
            return field;
        }
        let mut metadata = field.metadata().clone();
        metadata.insert(NATIVE_KEY.to_owned(), self.native.clone());
        field.with_metadata(metadata)
    }
}

/// The Arrow schema of some columns, in their order.
pub fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Fields>()))
}

/// A batch of these columns, also without any, from an array for each.
///
/// # Errors
/// [`crate::ErrorKind::Defect`] if an array does not have its column's type or length.
pub fn batch_of(
    columns: &[Column],
    arrays: Vec<ArrayRef>,
    rows: usize,
) -> crate::Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema_of(columns), arrays, &options)
        .map_err(|error| Error::defect("the arrays do not make a batch").caused_by(&error))
}

/// The columns of an Arrow schema. `Err` holds the name of a field whose type does not travel.
pub fn columns_of(schema: &Schema) -> Result<Vec<Column>, String> {
    let column = |field: &Arc<Field>| {
        let logical = LogicalType::of_field(field).ok_or_else(|| field.name().clone())?;
        let mut column = Column::new(field.name(), logical, field.is_nullable());
        column.native = field.metadata().get(NATIVE_KEY).cloned().unwrap_or_default();
        Ok(column)
    };
    schema.fields().iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_themselves() {
        for name in [
            "boolean",
            "int8",
            "uint64",
            "float32",
            "decimal(15,2)",
            "decimal(76,0)",
            "numeric",
            "text",
            "text(5)",
            "binary",
            "date",
            "time",
            "time(0)",
            "duration",
            "timestamp",
            "timestamp(9)",
            "timestamptz(3)",
            "interval",
            "json",
            "uuid",
            "list<list<int32>>",
            "native<PostgreSQL binary numeric(10,2)>",
            "native<PostgreSQL text \"Mood\"[]>",
        ] {
            let parsed: LogicalType = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert_eq!(LogicalType::of_field(&parsed.field("c", true)), Some(parsed));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for name in [
            "",
            "int",
            "decimal",
            "decimal(77,0)",
            "decimal(3,4)",
            "text(x)",
            "date(3)",
            "time(10)",
        ] {
            assert!(name.parse::<LogicalType>().is_err(), "{name}");
        }
    }
}
