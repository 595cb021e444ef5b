//! Maps a column to the file's schema: its shape, and the schema with which arrow-rs reads it. That
//! schema keeps how values are stored and drops their meaning, so that the meaning is determined in
//! one place, exactly.

use std::sync::Arc;

use parquet::{
    basic::{ConvertedType, LogicalType as Annotation, Repetition, Type as Physical},
    errors::{ParquetError, Result as PageResult},
    schema::types::{SchemaDescriptor, Type, TypePtr},
};

use super::column_type::{ColumnType, LeafType, Storage, native_name};

/// The name of a repeated group that is the element of its list, whatever it has.
/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#backward-compatibility-rules>
const ELEMENT: &str = "array";

/// The shape of a column, or a description of its unsupported type.
pub(in crate::parquet) fn column_type(column: &Type) -> Result<ColumnType, String> {
    let one = match element(column)? {
        Element::Leaf => ColumnType::of_leaf(column)?,
        Element::Fields => ColumnType::Struct(fields(column)?),
        Element::Repeated(item) if item.is_primitive() => {
            return Ok(ColumnType::List(Box::new(ColumnType::of_leaf(item)?)));
        }
        Element::Repeated(item) => {
            return Ok(ColumnType::List(Box::new(ColumnType::Struct(fields(item)?))));
        }
        Element::Item(item) => return Ok(ColumnType::List(Box::new(column_type(item)?))),
        Element::Entries([key, value]) => {
            let (key, value) = (column_type(key)?, column_type(value)?);
            return Ok(match key {
                ColumnType::Leaf(_) => ColumnType::Map(Box::new((key, value))),
                _ => {
                    let fields = vec![("key".to_owned(), key), ("value".to_owned(), value)];
                    ColumnType::List(Box::new(ColumnType::Struct(fields)))
                }
            });
        }
    };
    Ok(if is_repeated(column) { ColumnType::List(Box::new(one)) } else { one })
}

/// The fields of a group.
fn fields(group: &Type) -> Result<Vec<(String, ColumnType)>, String> {
    let fields = group.get_fields();
    if fields.is_empty() {
        return Err("a struct without fields".to_owned());
    }
    let mut found: Vec<(String, ColumnType)> = Vec::with_capacity(fields.len());
    for field in fields {
        let name = field.name();
        if found.iter().any(|(other, _)| other == name) {
            return Err(format!("a struct with two fields `{name}`"));
        }
        found.push((name.to_owned(), column_type(field)?));
    }
    Ok(found)
}

/// The structure of a column.
enum Element<'a> {
    Leaf,
    /// A struct.
    Fields,
    /// A list whose repeated field is the element itself, as written by older writers.
    Repeated(&'a Type),
    /// A list as the format defines it: a repeated group around the element.
    Item(&'a Type),
    /// A map: the keys and the values.
    Entries(&'a [TypePtr; 2]),
}

fn element(column: &Type) -> Result<Element<'_>, String> {
    if column.is_primitive() {
        return Ok(Element::Leaf);
    }
    let info = column.get_basic_info();
    let refused = || Err(format!("`{}` is not supported", native_name(column)));
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(Annotation::List), _) | (None, ConvertedType::LIST) => {
            list(column).map_or_else(refused, Ok)
        }
        (Some(Annotation::Map), _) | (None, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => {
            map(column).map_or_else(refused, Ok)
        }
        (None, ConvertedType::NONE) => Ok(Element::Fields),
        _ => refused(),
    }
}

/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists>
fn list(column: &Type) -> Option<Element<'_>> {
    let repeated = only_repeated(column)?;
    if repeated.is_primitive() {
        return Some(Element::Repeated(repeated));
    }
    let [item] = repeated.get_fields() else { return Some(Element::Repeated(repeated)) };
    let tuple =
        repeated.name() == ELEMENT || *repeated.name() == format!("{}_tuple", column.name());
    Some(match tuple || is_repeated(item) {
        true => Element::Repeated(repeated),
        false => Element::Item(item),
    })
}

/// A map without values is a list of its keys.
/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#maps>
fn map(column: &Type) -> Option<Element<'_>> {
    let repeated = only_repeated(column).filter(|repeated| repeated.is_group())?;
    match repeated.get_fields() {
        [key] => (!is_repeated(key)).then_some(Element::Item(key)),
        fields => {
            let entries: &[TypePtr; 2] = fields.try_into().ok()?;
            (!entries.iter().any(|field| is_repeated(field))).then_some(Element::Entries(entries))
        }
    }
}

/// The one field of a group that is not repeated itself.
fn only_repeated(column: &Type) -> Option<&Type> {
    match column.get_fields() {
        [repeated] if is_repeated(repeated) && !is_repeated(column) => Some(repeated),
        _ => None,
    }
}

fn is_repeated(column: &Type) -> bool {
    repetition(column) == Repetition::REPEATED
}

fn repetition(column: &Type) -> Repetition {
    let info = column.get_basic_info();
    if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED }
}

/// The schema with which arrow-rs reads the column that is found on this path of fields below `root`.
pub(in crate::parquet) fn schema(
    root: &Type,
    path: &[usize],
    column_type: &ColumnType,
) -> PageResult<SchemaDescriptor> {
    let fields = vec![on_path(root, path, column_type)?];
    let root = Type::group_type_builder("column").with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn on_path(column: &Type, path: &[usize], column_type: &ColumnType) -> PageResult<TypePtr> {
    match path.split_first() {
        None => read_as(column, column_type),
        Some((first, rest)) => {
            let field = column.get_fields().get(*first).ok_or_else(other_shape)?;
            group(column, None, vec![on_path(field, rest, column_type)?])
        }
    }
}

fn read_as(column: &Type, column_type: &ColumnType) -> PageResult<TypePtr> {
    let list = |element| group(column, Some(Annotation::List), vec![element]);
    let structure = element(column).map_err(ParquetError::General)?;
    match (structure, column_type) {
        (Element::Leaf, ColumnType::Leaf(leaf)) => physical(column, leaf),
        (Element::Fields, ColumnType::Struct(fields)) => {
            group(column, None, read_fields(column, fields)?)
        }
        // a field that is repeated without a group around it
        (Element::Leaf | Element::Fields, ColumnType::List(item)) => match &**item {
            ColumnType::Leaf(leaf) => physical(column, leaf),
            ColumnType::Struct(fields) => group(column, None, read_fields(column, fields)?),
            _ => Err(other_shape()),
        },
        (Element::Repeated(repeated), ColumnType::List(item)) => match &**item {
            ColumnType::Leaf(leaf) => list(physical(repeated, leaf)?),
            ColumnType::Struct(fields) => list(elements(read_fields(repeated, fields)?)?),
            _ => Err(other_shape()),
        },
        (Element::Item(item), ColumnType::List(of)) => {
            let repeated = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![read_as(item, of)?]);
            list(Arc::new(repeated.build()?))
        }
        (Element::Entries([key, value]), ColumnType::Map(of)) => {
            list(elements(vec![read_as(key, &of.0)?, read_as(value, &of.1)?])?)
        }
        (Element::Entries([key, value]), ColumnType::List(item)) => match &**item {
            ColumnType::Struct(of) if of.len() == 2 => {
                list(elements(vec![read_as(key, &of[0].1)?, read_as(value, &of[1].1)?])?)
            }
            _ => Err(other_shape()),
        },
        _ => Err(other_shape()),
    }
}

fn other_shape() -> ParquetError {
    ParquetError::General("the shape of a column differs from its schema".to_owned())
}

fn read_fields(group: &Type, fields: &[(String, ColumnType)]) -> PageResult<Vec<TypePtr>> {
    let pairs = group.get_fields().iter().zip(fields);
    pairs.map(|(field, (_, column_type))| read_as(field, column_type)).collect()
}

/// A group like `column`.
fn group(
    column: &Type,
    annotation: Option<Annotation>,
    fields: Vec<TypePtr>,
) -> PageResult<TypePtr> {
    let group = Type::group_type_builder(column.name())
        .with_repetition(repetition(column))
        .with_logical_type(annotation)
        .with_fields(fields);
    Ok(Arc::new(group.build()?))
}

/// The structs of a list.
fn elements(fields: Vec<TypePtr>) -> PageResult<TypePtr> {
    let group =
        Type::group_type_builder(ELEMENT).with_repetition(Repetition::REPEATED).with_fields(fields);
    Ok(Arc::new(group.build()?))
}

fn physical(column: &Type, leaf: &LeafType) -> PageResult<TypePtr> {
    let (physical, length, annotation) = match leaf.storage {
        // As bytes: arrow-rs gives up a whole column for one text that is not UTF-8.
        Storage::Text => (Physical::BYTE_ARRAY, -1, None),
        Storage::Half => (Physical::FIXED_LEN_BYTE_ARRAY, 2, Some(Annotation::Float16)),
        Storage::Int96 => (Physical::FIXED_LEN_BYTE_ARRAY, 12, None),
        Storage::Fixed(length) => (Physical::FIXED_LEN_BYTE_ARRAY, length, None),
        Storage::Nothing => match column {
            Type::PrimitiveType { physical_type, type_length, .. } => {
                (*physical_type, *type_length, None)
            }
            Type::GroupType { .. } => (Physical::INT32, -1, None),
        },
        Storage::Boolean => (Physical::BOOLEAN, -1, None),
        Storage::Int32 => (Physical::INT32, -1, None),
        Storage::Int64 => (Physical::INT64, -1, None),
        Storage::Float => (Physical::FLOAT, -1, None),
        Storage::Double => (Physical::DOUBLE, -1, None),
        Storage::Bytes => (Physical::BYTE_ARRAY, -1, None),
    };
    let column = Type::primitive_type_builder(column.name(), physical)
        .with_repetition(column.get_basic_info().repetition())
        .with_length(length)
        .with_logical_type(annotation);
    Ok(Arc::new(column.build()?))
}
