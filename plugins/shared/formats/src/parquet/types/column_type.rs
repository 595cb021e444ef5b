//! Determines the type of a file's column from Parquet's own types. The Arrow schema that some
//! writers store in the footer is used only where it says more and contradicts nothing.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use parquet::{
    basic::{ConvertedType, LogicalType as Annotation, TimeUnit, Type as Physical},
    schema::types::Type,
};
use transload_plugin_api::LogicalType;

/// The maximum size of a fixed-length value, because a whole batch of them is allocated at once.
const LONGEST: i32 = 1 << 20;

/// How the values of a leaf are stored in the file. Together with a [`LogicalType`] this determines
/// their conversion. arrow-rs reads them by their physical type alone, see [`super::read_schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parquet) enum Storage {
    Boolean,
    Int32,
    Int64,
    /// A timestamp of 12 bytes: nanoseconds of the day, Julian day.
    Int96,
    Float,
    Double,
    /// Two bytes.
    Half,
    /// Text, read as bytes and verified as UTF-8 when it is converted.
    Text,
    Bytes,
    /// This many bytes each.
    Fixed(i32),
    /// NULL in every row.
    Nothing,
}

/// The type of a file's column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::parquet) enum ColumnType {
    Leaf(LeafType),
    List(Box<Self>),
    /// Fields by name.
    Struct(Vec<(String, Self)>),
    /// Keys, which are leaves, and values.
    Map(Box<(Self, Self)>),
}

/// The type of a column's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::parquet) struct LeafType {
    pub(in crate::parquet) storage: Storage,
    /// The stored values count this many parts of a second; 0 if that does not apply.
    pub(in crate::parquet) per_second: i64,
    pub(in crate::parquet) logical: LogicalType,
}

impl LeafType {
    fn new(storage: Storage, logical: LogicalType) -> Self {
        Self { storage, per_second: 0, logical }
    }

    fn temporal(storage: Storage, per_second: i64, logical: LogicalType) -> Self {
        Self { storage, per_second, logical }
    }
}

impl ColumnType {
    /// The logical type. What has fields is read as JSON text.
    pub(in crate::parquet) fn logical(&self) -> LogicalType {
        match self {
            Self::Leaf(leaf) => leaf.logical.clone(),
            Self::List(item) if !item.is_nested() => LogicalType::List(Box::new(item.logical())),
            Self::List(_) | Self::Struct(_) | Self::Map(_) => LogicalType::Json,
        }
    }

    /// Whether it is a struct or a map, or a list of them.
    pub(in crate::parquet) fn is_nested(&self) -> bool {
        match self {
            Self::Leaf(_) => false,
            Self::List(item) => item.is_nested(),
            Self::Struct(_) | Self::Map(_) => true,
        }
    }

    /// The Arrow field of values that have been converted to logical types, with all their fields.
    pub(in crate::parquet) fn field(&self, name: &str, nullable: bool) -> FieldRef {
        let data_type = match self {
            Self::Leaf(leaf) => return Arc::new(leaf.logical.field(name, nullable)),
            Self::List(_) if !self.is_nested() => {
                return Arc::new(self.logical().field(name, nullable));
            }
            Self::List(item) => DataType::List(item.field("item", true)),
            Self::Struct(fields) => DataType::Struct(
                fields.iter().map(|(name, column_type)| column_type.field(name, true)).collect(),
            ),
            Self::Map(entry) => {
                let fields = vec![entry.0.field("key", false), entry.1.field("value", true)];
                let entries = Field::new("entries", DataType::Struct(fields.into()), false);
                DataType::Map(Arc::new(entries), false)
            }
        };
        Arc::new(Field::new(name, data_type, nullable))
    }

    /// The shape of a leaf by its own type. `Err` describes a type that is not supported.
    pub(in crate::parquet) fn of_leaf(leaf: &Type) -> Result<Self, String> {
        let annotation = annotation(leaf);
        let short = !matches!(leaf, Type::PrimitiveType { type_length: LONGEST.., .. });
        if annotation == Some(Annotation::Unknown) && short {
            return Ok(Self::Leaf(LeafType::new(Storage::Nothing, LogicalType::TEXT)));
        }
        let column_type = match leaf.get_physical_type() {
            Physical::BOOLEAN => Some(LeafType::new(Storage::Boolean, LogicalType::Boolean)),
            Physical::INT32 => of_int32(leaf, annotation.as_ref()),
            Physical::INT64 => of_int64(leaf, annotation.as_ref()),
            Physical::INT96 => {
                Some(LeafType::temporal(Storage::Int96, 1_000_000_000, LogicalType::TIMESTAMP))
            }
            Physical::FLOAT => Some(LeafType::new(Storage::Float, LogicalType::Float32)),
            Physical::DOUBLE => Some(LeafType::new(Storage::Double, LogicalType::Float64)),
            Physical::BYTE_ARRAY => of_bytes(leaf, annotation.as_ref()),
            Physical::FIXED_LEN_BYTE_ARRAY => of_fixed(leaf, annotation.as_ref()),
        };
        column_type
            .map(Self::Leaf)
            .ok_or_else(|| format!("`{}` is not supported", native_name(leaf)))
    }

    /// Applies the Arrow schema's type if it is compatible with how the values are stored.
    pub(in crate::parquet) fn refine(self, arrow: &Field) -> Self {
        match (self, arrow.data_type()) {
            (
                Self::List(item),
                DataType::List(arrow)
                | DataType::LargeList(arrow)
                | DataType::FixedSizeList(arrow, _)
                | DataType::ListView(arrow)
                | DataType::LargeListView(arrow),
            ) => Self::List(Box::new(item.refine(arrow))),
            (Self::Leaf(leaf), _) => Self::Leaf(refined(leaf, arrow)),
            (Self::Struct(fields), DataType::Struct(arrow)) => {
                let refine = |(name, column_type): (String, Self)| match arrow.find(&name) {
                    Some((_, field)) => (name, column_type.refine(field)),
                    None => (name, column_type),
                };
                Self::Struct(fields.into_iter().map(refine).collect())
            }
            (Self::Map(entry), DataType::Map(arrow, _)) => match arrow.data_type() {
                DataType::Struct(arrow) if arrow.len() == 2 => {
                    let (key, value) = *entry;
                    Self::Map(Box::new((key.refine(&arrow[0]), value.refine(&arrow[1]))))
                }
                _ => Self::Map(entry),
            },
            (column_type, _) => column_type,
        }
    }
}

fn refined(mut leaf: LeafType, arrow: &Field) -> LeafType {
    if leaf.storage == Storage::Int64 && leaf.logical == LogicalType::Int64 {
        let (unit, logical) = match arrow.data_type() {
            DataType::Duration(unit) => (unit, LogicalType::Duration),
            // Parquet has no annotation for whole seconds
            DataType::Timestamp(unit @ arrow_schema::TimeUnit::Second, zone) => match zone {
                Some(_) => (unit, LogicalType::TimestampTz { precision: 0 }),
                None => (unit, LogicalType::Timestamp { precision: 0 }),
            },
            _ => return leaf,
        };
        return LeafType::temporal(Storage::Int64, per_second(*unit), logical);
    }
    let plain = || leaf.logical == LogicalType::Int32 && leaf.storage == Storage::Int32;
    if *arrow.data_type() == DataType::Time32(arrow_schema::TimeUnit::Second) && plain() {
        return LeafType::temporal(Storage::Int32, 1, LogicalType::Time { precision: 0 });
    }
    if let Some(said) = said(arrow)
        && says_more(&leaf, &said)
    {
        leaf.logical = said;
    }
    leaf
}

/// The type of an Arrow field, regardless of the width of its texts and bytes.
fn said(arrow: &Field) -> Option<LogicalType> {
    let plain = match arrow.data_type() {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        other => other.clone(),
    };
    LogicalType::of_field(&arrow.clone().with_data_type(plain))
}

/// Whether `said` is a more specific type for `leaf` than Parquet's types give.
fn says_more(leaf: &LeafType, said: &LogicalType) -> bool {
    use LogicalType as L;
    match (&leaf.logical, said) {
        (L::Text { length: None }, L::Text { .. } | L::Numeric | L::Json) => true,
        (L::Binary, L::Uuid) => leaf.storage == Storage::Fixed(16),
        (L::Time { precision: by }, L::Time { precision: said })
        | (L::Timestamp { precision: by }, L::Timestamp { precision: said })
        | (L::TimestampTz { precision: by }, L::TimestampTz { precision: said }) => {
            leaf.storage == Storage::Int64 && said <= by && (*by <= 6) == (*said <= 6)
        }
        _ => false,
    }
}

fn per_second(unit: arrow_schema::TimeUnit) -> i64 {
    match unit {
        arrow_schema::TimeUnit::Second => 1,
        arrow_schema::TimeUnit::Millisecond => 1_000,
        arrow_schema::TimeUnit::Microsecond => 1_000_000,
        arrow_schema::TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// The annotation, including the older kind.
/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md>
fn annotation(leaf: &Type) -> Option<Annotation> {
    let info = leaf.get_basic_info();
    if let Some(annotation) = info.logical_type_ref() {
        return Some(annotation.clone());
    }
    Some(match info.converted_type() {
        ConvertedType::UTF8 => Annotation::String,
        ConvertedType::ENUM => Annotation::Enum,
        ConvertedType::JSON => Annotation::Json,
        ConvertedType::BSON => Annotation::Bson,
        ConvertedType::DECIMAL => {
            Annotation::decimal(leaf.get_scale().max(0), leaf.get_precision())
        }
        ConvertedType::DATE => Annotation::Date,
        ConvertedType::TIME_MILLIS => Annotation::time(true, TimeUnit::MILLIS),
        ConvertedType::TIME_MICROS => Annotation::time(true, TimeUnit::MICROS),
        ConvertedType::TIMESTAMP_MILLIS => Annotation::timestamp(true, TimeUnit::MILLIS),
        ConvertedType::TIMESTAMP_MICROS => Annotation::timestamp(true, TimeUnit::MICROS),
        ConvertedType::UINT_8 => Annotation::integer(8, false),
        ConvertedType::UINT_16 => Annotation::integer(16, false),
        ConvertedType::UINT_32 => Annotation::integer(32, false),
        ConvertedType::UINT_64 => Annotation::integer(64, false),
        ConvertedType::INT_8 => Annotation::integer(8, true),
        ConvertedType::INT_16 => Annotation::integer(16, true),
        ConvertedType::INT_32 => Annotation::integer(32, true),
        ConvertedType::INT_64 => Annotation::integer(64, true),
        _ => return None,
    })
}

fn of_int32(leaf: &Type, annotation: Option<&Annotation>) -> Option<LeafType> {
    let logical = match annotation {
        None => LogicalType::Int32,
        Some(Annotation::Integer(int)) => match (int.bit_width, int.is_signed) {
            (8, true) => LogicalType::Int8,
            (16, true) => LogicalType::Int16,
            (32, true) => LogicalType::Int32,
            (8, false) => LogicalType::UInt8,
            (16, false) => LogicalType::UInt16,
            (32, false) => LogicalType::UInt32,
            _ => return None,
        },
        Some(Annotation::Date) => LogicalType::Date,
        Some(Annotation::Decimal(_)) => decimal(leaf)?,
        Some(Annotation::Time(time)) if time.unit == TimeUnit::MILLIS => {
            return Some(LeafType::temporal(
                Storage::Int32,
                1000,
                LogicalType::Time { precision: 3 },
            ));
        }
        _ => return None,
    };
    Some(LeafType::new(Storage::Int32, logical))
}

fn of_int64(leaf: &Type, annotation: Option<&Annotation>) -> Option<LeafType> {
    let logical = match annotation {
        None => LogicalType::Int64,
        Some(Annotation::Integer(int)) if int.bit_width == 64 => {
            if int.is_signed {
                LogicalType::Int64
            } else {
                LogicalType::UInt64
            }
        }
        Some(Annotation::Decimal(_)) => decimal(leaf)?,
        Some(Annotation::Time(time)) => {
            let (per_second, precision) = parts(time.unit);
            let logical = LogicalType::Time { precision };
            return Some(LeafType::temporal(Storage::Int64, per_second, logical));
        }
        Some(Annotation::Timestamp(timestamp)) => {
            let (per_second, precision) = parts(timestamp.unit);
            let logical = if timestamp.is_adjusted_to_u_t_c {
                LogicalType::TimestampTz { precision }
            } else {
                LogicalType::Timestamp { precision }
            };
            return Some(LeafType::temporal(Storage::Int64, per_second, logical));
        }
        _ => return None,
    };
    Some(LeafType::new(Storage::Int64, logical))
}

fn parts(unit: TimeUnit) -> (i64, u8) {
    match unit {
        TimeUnit::MILLIS => (1_000, 3),
        TimeUnit::MICROS => (1_000_000, 6),
        TimeUnit::NANOS => (1_000_000_000, 9),
    }
}

fn of_bytes(leaf: &Type, annotation: Option<&Annotation>) -> Option<LeafType> {
    Some(match annotation {
        Some(Annotation::String | Annotation::Enum) => {
            LeafType::new(Storage::Text, LogicalType::TEXT)
        }
        Some(Annotation::Json) => LeafType::new(Storage::Text, LogicalType::Json),
        Some(Annotation::Decimal(_)) => LeafType::new(Storage::Bytes, decimal(leaf)?),
        None | Some(Annotation::Bson | Annotation::Geometry(_) | Annotation::Geography(_)) => {
            LeafType::new(Storage::Bytes, LogicalType::Binary)
        }
        _ => return None,
    })
}

fn of_fixed(leaf: &Type, annotation: Option<&Annotation>) -> Option<LeafType> {
    let Type::PrimitiveType { type_length: length, .. } = leaf else { return None };
    let storage = Storage::Fixed(*length);
    let interval = leaf.get_basic_info().converted_type() == ConvertedType::INTERVAL;
    Some(match annotation {
        _ if !(1..=LONGEST).contains(length) => return None,
        Some(Annotation::Decimal(_)) if *length <= 32 => LeafType::new(storage, decimal(leaf)?),
        Some(Annotation::Uuid) if *length == 16 => LeafType::new(storage, LogicalType::Uuid),
        Some(Annotation::Float16) if *length == 2 => {
            LeafType::new(Storage::Half, LogicalType::Float32)
        }
        None if interval && *length == 12 => LeafType::new(storage, LogicalType::Interval),
        None if !interval => LeafType::new(storage, LogicalType::Binary),
        _ => return None,
    })
}

fn decimal(leaf: &Type) -> Option<LogicalType> {
    let precision = u8::try_from(leaf.get_precision()).ok().filter(|p| (1..=76).contains(p))?;
    let scale = i8::try_from(leaf.get_scale().max(0)).ok().filter(|s| *s <= precision as i8)?;
    Some(LogicalType::Decimal { precision, scale })
}

/// The annotation of a group, or `struct`.
fn group_name(group: &Type) -> String {
    let info = group.get_basic_info();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(Annotation::Variant(_)), _) => "VARIANT".to_owned(),
        (Some(annotation), _) => format!("{annotation:?}").to_uppercase(),
        (None, ConvertedType::NONE) => "struct".to_owned(),
        (None, ConvertedType::MAP_KEY_VALUE) => "MAP".to_owned(),
        (None, converted) => converted.to_string(),
    }
}

/// A type in Parquet's terms: `INT64 DECIMAL(15,2)`.
pub(in crate::parquet) fn native_name(field: &Type) -> String {
    if field.is_group() {
        return group_name(field);
    }
    match annotation_name(field) {
        None => physical_name(field),
        Some(word) => format!("{} {word}", physical_name(field)),
    }
}

/// The same without the physical type, if there is an annotation: `DECIMAL(15,2)`, `LIST<INT32>`.
pub(in crate::parquet) fn short_name(field: &Type) -> String {
    if let [repeated] = if field.is_group() { field.get_fields() } else { &[] }
        && let [element] = if repeated.is_group() { repeated.get_fields() } else { &[] }
    {
        return format!("{}<{}>", group_name(field), short_name(element));
    }
    match field.is_group() {
        true => group_name(field),
        false => annotation_name(field).unwrap_or_else(|| physical_name(field)),
    }
}

fn physical_name(leaf: &Type) -> String {
    match leaf {
        Type::PrimitiveType {
            physical_type: physical @ Physical::FIXED_LEN_BYTE_ARRAY,
            type_length,
            ..
        } => format!("{physical}({type_length})"),
        _ => leaf.get_physical_type().to_string(),
    }
}

fn annotation_name(leaf: &Type) -> Option<String> {
    let unit = |unit| match unit {
        TimeUnit::MILLIS => "MILLIS",
        TimeUnit::MICROS => "MICROS",
        TimeUnit::NANOS => "NANOS",
    };
    Some(match annotation(leaf) {
        None => match leaf.get_basic_info().converted_type() {
            ConvertedType::NONE => return None,
            converted => converted.to_string(),
        },
        Some(Annotation::Decimal(decimal)) => {
            format!("DECIMAL({},{})", decimal.precision, decimal.scale)
        }
        Some(Annotation::Integer(int)) => {
            format!("{}INT({})", if int.is_signed { "" } else { "U" }, int.bit_width)
        }
        Some(Annotation::Time(time)) => format!("TIME({})", unit(time.unit)),
        Some(Annotation::Timestamp(time)) => {
            let utc = if time.is_adjusted_to_u_t_c { ",UTC" } else { "" };
            format!("TIMESTAMP({}{utc})", unit(time.unit))
        }
        Some(other) => format!("{other:?}").to_uppercase(),
    })
}

#[cfg(test)]
mod tests {
    use arrow_schema::TimeUnit as Unit;

    use super::*;

    fn leaf(
        physical: Physical,
        annotation: Option<Annotation>,
        length: i32,
    ) -> Result<ColumnType, String> {
        let leaf = Type::primitive_type_builder("c", physical)
            .with_logical_type(annotation)
            .with_length(length);
        ColumnType::of_leaf(&leaf.build().unwrap())
    }

    fn refined_to(column_type: &ColumnType, data_type: DataType) -> String {
        column_type.clone().refine(&Field::new("c", data_type, true)).logical().to_string()
    }

    /// T24: whether a timestamp is an instant is decided by Parquet's type, not by an additional
    /// schema.
    #[test]
    fn t24_an_arrow_schema_that_contradicts_is_not_believed() {
        let utc = Some("UTC".into());
        for (adjusted, zone, expected) in
            [(true, None, "timestamptz"), (false, utc.clone(), "timestamp")]
        {
            let stamp = Annotation::timestamp(adjusted, TimeUnit::MICROS);
            let column_type = leaf(Physical::INT64, Some(stamp), -1).unwrap();
            assert_eq!(
                refined_to(&column_type, DataType::Timestamp(Unit::Microsecond, zone)),
                expected
            );
            assert_eq!(
                refined_to(&column_type, DataType::Timestamp(Unit::Nanosecond, None)),
                expected
            );
            assert_eq!(refined_to(&column_type, DataType::Duration(Unit::Second)), expected);
        }
        let plain = leaf(Physical::INT64, None, -1).unwrap();
        assert_eq!(refined_to(&plain, DataType::Utf8), "int64");
        assert_eq!(refined_to(&plain, DataType::UInt64), "int64");
        assert_eq!(refined_to(&plain, DataType::Duration(Unit::Nanosecond)), "duration");
        assert_eq!(refined_to(&plain, DataType::Timestamp(Unit::Second, utc)), "timestamptz(0)");
        let numeric = LogicalType::Numeric.field("c", true);
        assert_eq!(plain.refine(&numeric).logical(), LogicalType::Int64);
        let text = leaf(Physical::BYTE_ARRAY, Some(Annotation::String), -1).unwrap();
        assert_eq!(text.clone().refine(&numeric).logical(), LogicalType::Numeric);
        let wide = numeric.with_data_type(DataType::LargeUtf8);
        assert_eq!(text.refine(&wide).logical(), LogicalType::Numeric);
    }

    #[test]
    fn bytes_are_what_they_are_said_to_be() {
        let fixed = Physical::FIXED_LEN_BYTE_ARRAY;
        for (physical, annotation, length, expected) in [
            (Physical::BYTE_ARRAY, None, -1, Ok("binary")),
            (Physical::BYTE_ARRAY, Some(Annotation::Enum), -1, Ok("text")),
            (Physical::BYTE_ARRAY, Some(Annotation::Bson), -1, Ok("binary")),
            (fixed, None, 16, Ok("binary")),
            (fixed, Some(Annotation::Uuid), 16, Ok("uuid")),
            (fixed, Some(Annotation::Float16), 2, Ok("float32")),
            (fixed, None, 0, Err("`FIXED_LEN_BYTE_ARRAY(0)` is not supported")),
            (fixed, None, i32::MAX, Err("`FIXED_LEN_BYTE_ARRAY(2147483647)` is not supported")),
            (Physical::INT96, None, -1, Ok("timestamp")),
            (Physical::INT32, Some(Annotation::Unknown), -1, Ok("text")),
        ] {
            let column_type = leaf(physical, annotation, length);
            let found = column_type.map(|column_type| column_type.logical().to_string());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
        }
    }
}
