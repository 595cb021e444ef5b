//! Types of a driver's streams to logical ones, and batches of the one into the other: whole
//! columns, and only those whose type differs.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use transload_plugin_api::{Column, Error, LogicalType, Result, TypeSupport, code};

/// The types that rows can be read and written in, with the Arrow types behind them.
pub(crate) fn supported() -> Vec<TypeSupport> {
    let native: [(&str, &[&str]); 24] = [
        ("boolean", &["Boolean"]),
        ("int8", &["Int8"]),
        ("int16", &["Int16"]),
        ("int32", &["Int32"]),
        ("int64", &["Int64"]),
        ("uint8", &["UInt8"]),
        ("uint16", &["UInt16"]),
        ("uint32", &["UInt32"]),
        ("uint64", &["UInt64"]),
        ("float32", &["Float16", "Float32"]),
        ("float64", &["Float64"]),
        ("decimal", &["Decimal32", "Decimal64", "Decimal128", "Decimal256"]),
        ("numeric", &["Utf8 (numeric)"]),
        ("text", &["Utf8", "LargeUtf8", "Utf8View", "Dictionary"]),
        ("binary", &["Binary", "LargeBinary", "BinaryView", "FixedSizeBinary"]),
        ("date", &["Date32", "Date64"]),
        ("time", &["Time32", "Time64"]),
        ("duration", &["Duration"]),
        ("timestamp", &["Timestamp"]),
        ("timestamptz", &["Timestamp with a zone"]),
        ("interval", &["Interval"]),
        ("json", &["Utf8 (json)"]),
        ("uuid", &["FixedSizeBinary(16)"]),
        ("list", &["List", "LargeList", "FixedSizeList"]),
    ];
    let note = "as far as the driver has it";
    native.map(|(logical, native)| TypeSupport::new(logical, native).note(note)).into()
}

/// The column that a driver's field is read as; `None` for types that do not travel.
pub(crate) fn column_of(field: &Field) -> Option<Column> {
    Some(Column {
        native: native(field),
        ..Column::new(field.name(), logical(field)?, field.is_nullable())
    })
}

/// The database's own type, where the driver tells it.
fn native(field: &Field) -> String {
    let metadata = field.metadata();
    let typname = metadata.iter().find(|(key, _)| {
        key.starts_with("ADBC:") && (key.ends_with(":typname") || key.ends_with(":type_name"))
    });
    match typname {
        Some((_, name)) => name.clone(),
        None => metadata.get("sqlite.type").cloned().unwrap_or_else(|| word(field.data_type())),
    }
}

/// A type as Arrow names it.
fn word(data_type: &DataType) -> String {
    data_type.to_string()
}

fn logical(field: &Field) -> Option<LogicalType> {
    let is_text =
        matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if is_text {
        let extension = field.extension_type_name().unwrap_or_default();
        let native = native(field);
        match native.rsplit('.').next().unwrap_or_default() {
            "numeric" => return Some(LogicalType::Numeric),
            "json" | "jsonb" => return Some(LogicalType::Json),
            _ if extension == "arrow.json" => return Some(LogicalType::Json),
            _ => {}
        }
    }
    of_data_type(field.data_type())
}

fn of_data_type(data_type: &DataType) -> Option<LogicalType> {
    use LogicalType as T;
    let precision = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    Some(match data_type {
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => T::TEXT,
        DataType::Boolean => T::Boolean,
        DataType::Int8 => T::Int8,
        DataType::Int16 => T::Int16,
        DataType::Int32 => T::Int32,
        DataType::Int64 => T::Int64,
        DataType::UInt8 => T::UInt8,
        DataType::UInt16 => T::UInt16,
        DataType::UInt32 => T::UInt32,
        DataType::UInt64 => T::UInt64,
        DataType::Float16 | DataType::Float32 => T::Float32,
        DataType::Float64 => T::Float64,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 =>
        {
            T::Decimal { precision: *precision, scale: *scale }
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => T::Binary,
        DataType::FixedSizeBinary(16) => T::Uuid,
        DataType::FixedSizeBinary(_) => T::Binary,
        DataType::Date32 | DataType::Date64 => T::Date,
        DataType::Time32(unit) | DataType::Time64(unit) => T::Time { precision: precision(unit) },
        DataType::Timestamp(unit, None) => T::Timestamp { precision: precision(unit) },
        DataType::Timestamp(unit, Some(_)) => T::TimestampTz { precision: precision(unit) },
        // Nanoseconds would be cut.
        DataType::Duration(unit) if *unit != TimeUnit::Nanosecond => T::Duration,
        DataType::Interval(_) => T::Interval,
        DataType::Dictionary(_, values) => of_data_type(values)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            T::List(Box::new(logical(item)?))
        }
        _ => return None,
    })
}

/// The batch in the schema of the job's columns.
pub(crate) fn converted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let fields = schema.fields().iter();
    let arrays: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .zip(fields)
        .zip(batch.schema_ref().fields())
        .map(|((array, field), found)| column(array, found, field))
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|error| value(&error.to_string()))
}

fn column(array: &ArrayRef, found: &Field, field: &Field) -> Result<ArrayRef> {
    let wanted = field.data_type();
    let converted = if array.data_type() == wanted {
        Arc::clone(array)
    } else if array.null_count() == array.len() {
        // A driver that infers types knows none of NULLs alone.
        new_null_array(wanted, array.len())
    } else if logical(found).is_none_or(|found| found.data_type() != *wanted) {
        let (name, found) = (field.name(), word(found.data_type()));
        return Err(Error::schema(format!(
            "column `{name}` is `{found}` now and was planned as `{wanted}`"
        ))
        .hint("the driver infers types, or the source has changed: cast the column in a `query`"));
    } else {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(array, wanted, &options)
            .map_err(|error| value(&format!("column `{}`: {error}", field.name())))?
    };
    if *wanted == DataType::Utf8 {
        // The driver's word for it is not enough: other code relies on it.
        let checked = converted.to_data().validate_full();
        checked.map_err(|error| value(&format!("column `{}`: {error}", field.name())))?;
    }
    Ok(converted)
}

fn value(words: &str) -> Error {
    Error::data(format!("a value of the driver cannot be read: {words}"))
        .with_code(code::ADBC_VALUE)
        .hint("convert the column in a `query`, or leave it out of `columns`")
}

/// Whether reading in another type has the same outcome for every value.
pub(crate) fn can_read(own: &LogicalType, wanted: &LogicalType) -> bool {
    own == wanted || matches!((own, wanted), (LogicalType::Text { .. }, LogicalType::Text { .. }))
}
