//! Values with fields as JSON texts: structs as objects, maps as objects with their keys as names,
//! lists as arrays. For targets, and formats, that have no such types.

use arrow_array::{
    Array, MapArray, StringArray, StructArray, cast::AsArray, types::IntervalMonthDayNanoType,
};
use arrow_buffer::{IntervalMonthDayNano, OffsetBuffer};
use arrow_schema::{DataType, Field};
use transload_plugin_api::{Column, LogicalType, Result};
use transload_values::{BinaryText, parse};

use super::encode::{JsonColumn, mismatch, write_json, write_string};

/// What only nested values have.
pub(crate) enum NestedColumn<'a> {
    /// `{"first":` or `,"next":` before each field.
    Struct {
        structs: &'a StructArray,
        fields: Vec<(Vec<u8>, JsonColumn<'a>)>,
    },
    Map {
        maps: &'a MapArray,
        keys: Box<JsonColumn<'a>>,
        values: Box<JsonColumn<'a>>,
    },
    /// JSON within JSON: it must be valid, or the text around it is not.
    Document(&'a StringArray),
    Interval(&'a dyn Array, &'a [IntervalMonthDayNano]),
}

/// The values of a column as JSON texts. `field` says what each part of them means.
///
/// # Errors
/// The reason, if JSON cannot hold one of the values.
pub(crate) fn json_texts(field: &Field, array: &dyn Array) -> Result<StringArray, String> {
    let values = nested(field, array).map_err(|error| error.message)?;
    let (mut texts, mut ends) = (Vec::new(), Vec::with_capacity(array.len() + 1));
    ends.push(0);
    for row in 0..array.len() {
        if !values.is_null(row) {
            values.write(row, &mut texts)?;
        }
        ends.push(i32::try_from(texts.len()).map_err(|_| "the JSON texts exceed 2 GiB")?);
    }
    let (ends, nulls) = (OffsetBuffer::new(ends.into()), array.nulls().cloned());
    StringArray::try_new(ends, texts.into(), nulls).map_err(|error| error.to_string())
}

fn nested<'a>(field: &Field, array: &'a dyn Array) -> Result<JsonColumn<'a>> {
    let column = |logical| Column::new(field.name(), logical, true);
    Ok(match array.data_type() {
        DataType::Struct(of) => {
            let structs = array.as_struct();
            let parts = of.iter().zip(structs.columns()).enumerate();
            let fields = parts.map(|(index, (field, array))| {
                let mut name = vec![if index == 0 { b'{' } else { b',' }];
                write_string(field.name().as_bytes(), &mut name);
                name.push(b':');
                Ok((name, nested(field, array.as_ref())?))
            });
            let fields = fields.collect::<Result<_>>()?;
            JsonColumn::Nested(NestedColumn::Struct { structs, fields })
        }
        DataType::Map(entries, _) => {
            let maps = array.as_map();
            let DataType::Struct(of) = entries.data_type() else {
                return Err(mismatch(&column(LogicalType::Json), array));
            };
            JsonColumn::Nested(NestedColumn::Map {
                maps,
                keys: Box::new(nested(&of[0], maps.keys().as_ref())?),
                values: Box::new(nested(&of[1], maps.values().as_ref())?),
            })
        }
        DataType::List(item) => {
            let lists = array.as_list::<i32>();
            JsonColumn::List { lists, items: Box::new(nested(item, lists.values().as_ref())?) }
        }
        DataType::Interval(_) => {
            let intervals = array.as_primitive_opt::<IntervalMonthDayNanoType>();
            let intervals =
                intervals.ok_or_else(|| mismatch(&column(LogicalType::Interval), array))?;
            JsonColumn::Nested(NestedColumn::Interval(array, intervals.values()))
        }
        _ => match LogicalType::of_field(field).unwrap_or(LogicalType::TEXT) {
            LogicalType::Json => JsonColumn::Nested(NestedColumn::Document(
                array.as_string_opt().ok_or_else(|| mismatch(&column(LogicalType::Json), array))?,
            )),
            logical => JsonColumn::new(&column(logical), array, BinaryText::default())?,
        },
    })
}

impl NestedColumn<'_> {
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Struct { structs, .. } => structs.is_null(row),
            Self::Map { maps, .. } => maps.is_null(row),
            Self::Document(texts) => texts.is_null(row),
            Self::Interval(array, _) => array.is_null(row),
        }
    }

    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Self::Struct { fields, .. } => {
                for (name, values) in fields {
                    out.extend_from_slice(name);
                    values.write(row, out)?;
                }
                out.push(b'}');
            }
            Self::Map { maps, keys, values } => {
                let ends = maps.value_offsets();
                out.push(b'{');
                for entry in ends[row]..ends[row + 1] {
                    if entry > ends[row] {
                        out.push(b',');
                    }
                    write_key(keys, entry as usize, out)?;
                    out.push(b':');
                    values.write(entry as usize, out)?;
                }
                out.push(b'}');
            }
            Self::Document(texts) => {
                let text = texts.value(row);
                if parse::json(text.as_bytes()).is_err() {
                    return Err("a document in it is not JSON");
                }
                return write_json(text, out);
            }
            Self::Interval(_, intervals) => {
                let IntervalMonthDayNano { months, days, nanoseconds } = intervals[row];
                let text = format!(
                    "{{\"months\":{months},\"days\":{days},\"nanoseconds\":{nanoseconds}}}"
                );
                out.extend_from_slice(text.as_bytes());
            }
        }
        Ok(())
    }
}

/// Names are texts: a number is one in quotes.
fn write_key(keys: &JsonColumn<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match keys {
        JsonColumn::Nested(NestedColumn::Document(texts)) => {
            write_string(texts.value(row).as_bytes(), out);
        }
        JsonColumn::Text(_) | JsonColumn::Quoted(_) => keys.write(row, out)?,
        JsonColumn::Nested(_) => {
            let mut text = Vec::new();
            keys.write(row, &mut text)?;
            write_string(&text, out);
        }
        _ => {
            out.push(b'"');
            keys.write(row, out)?;
            out.push(b'"');
        }
    }
    Ok(())
}
