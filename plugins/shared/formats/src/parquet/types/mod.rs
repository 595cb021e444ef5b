//! How Parquet types are mapped to logical types and back. Everything about types is here.
//!
//! | module | what it holds |
//! |---|---|
//! | `column_type` | Parquet's type of a column to [`ColumnType`]: how it is stored, what it means |
//! | `read_schema` | the schema with which arrow-rs reads a column as it is stored |
//! | `read_values` | stored values to values of the logical type |
//! | `write_types` | logical types to the schema that is written, and values to their stored form |

mod column_type;
mod read_schema;
mod read_values;
mod write_types;

pub(super) use self::{
    column_type::{ColumnType, LeafType, Storage, native_name, short_name},
    read_schema::{column_type, schema as read_schema},
    read_values::{NOT_UTF8, field_within, stored_number, stored_type, to_logical},
    write_types::{field, schema as write_schema, to_physical, unrepresentable},
};
