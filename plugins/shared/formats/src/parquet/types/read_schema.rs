//! Maps a column to the file's schema: its one leaf, its shape, and the schema with which arrow-rs
//! reads it. That schema keeps how values are stored and drops their meaning, so that the meaning
//! is determined in one place, exactly.

use std::sync::Arc;

use parquet::{
    basic::{ConvertedType, LogicalType as Annotation, Repetition, Type as Physical},
    schema::types::{SchemaDescriptor, Type, TypePtr},
};

use super::column_type::{ColumnType, LeafType, Storage, native_name};

/// The shape of a column, or a description of its unsupported type.
pub(in crate::parquet) fn column_type(column: &Type) -> Result<ColumnType, String> {
    match element(column)? {
        Element::Leaf => {
            let leaf = ColumnType::of_leaf(column)?;
            Ok(if is_repeated(column) { ColumnType::List(Box::new(leaf)) } else { leaf })
        }
        Element::Repeated(leaf) => Ok(ColumnType::List(Box::new(ColumnType::of_leaf(leaf)?))),
        Element::Item(item) => Ok(ColumnType::List(Box::new(column_type(item)?))),
    }
}

/// The structure of a column.
enum Element<'a> {
    Leaf,
    /// A list whose repeated field is the element itself, as written by older writers.
    Repeated(&'a Type),
    /// A list as the format defines it: a repeated group around the element.
    Item(&'a Type),
}

/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists>
fn element(column: &Type) -> Result<Element<'_>, String> {
    if column.is_primitive() {
        return Ok(Element::Leaf);
    }
    let refused = || Err(format!("`{}` is not supported", native_name(column)));
    if column.get_basic_info().converted_type() != ConvertedType::LIST || is_repeated(column) {
        return refused();
    }
    let [repeated] = column.get_fields() else { return refused() };
    if !is_repeated(repeated) {
        return refused();
    }
    if repeated.is_primitive() {
        return Ok(Element::Repeated(repeated));
    }
    let [item] = repeated.get_fields() else {
        return Err("a list of groups is not supported".into());
    };
    let tuple =
        repeated.name() == "array" || *repeated.name() == format!("{}_tuple", column.name());
    if tuple || is_repeated(item) {
        return Err("a list of groups is not supported".into());
    }
    Ok(Element::Item(item))
}

fn is_repeated(column: &Type) -> bool {
    let info = column.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// The schema with which arrow-rs reads one column.
pub(in crate::parquet) fn schema(
    column: &Type,
    column_type: &ColumnType,
) -> parquet::errors::Result<SchemaDescriptor> {
    let fields = vec![read_as(column, column_type)?];
    let root = Type::group_type_builder("column").with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn read_as(column: &Type, column_type: &ColumnType) -> parquet::errors::Result<TypePtr> {
    let info = column.get_basic_info();
    match column_type {
        ColumnType::List(item) if column.is_primitive() => read_as(column, item),
        ColumnType::Leaf(leaf) => physical(column, leaf),
        ColumnType::List(item) => {
            let fields = match column.get_fields() {
                [repeated] if repeated.is_primitive() => vec![read_as(repeated, item)?],
                [repeated] => {
                    let fields = vec![read_as(&repeated.get_fields()[0], item)?];
                    let group = Type::group_type_builder(repeated.name())
                        .with_repetition(Repetition::REPEATED)
                        .with_fields(fields);
                    vec![Arc::new(group.build()?)]
                }
                _ => Vec::new(),
            };
            let group = Type::group_type_builder(column.name())
                .with_repetition(info.repetition())
                .with_logical_type(Some(Annotation::List))
                .with_fields(fields);
            Ok(Arc::new(group.build()?))
        }
    }
}

fn physical(column: &Type, leaf: &LeafType) -> parquet::errors::Result<TypePtr> {
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
