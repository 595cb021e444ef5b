//! What `AdbcConnectionGetObjects` returns, as a list of tables.

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray, cast::AsArray as _};
use arrow_cast::cast;
use arrow_schema::DataType;
use transload_plugin_api::{Error, Result, TableInfo};
use transload_tables::TableName;

/// The tables of a batch of catalogs.
pub(crate) fn tables_of(batch: &RecordBatch) -> Result<Vec<TableInfo>> {
    let catalogs = StructArray::from(batch.clone());
    let mut found = Vec::new();
    for schemas in items(&catalogs, "catalog_db_schemas")?.into_iter().flatten() {
        let names = texts(&schemas, "db_schema_name")?;
        for (row, tables) in items(&schemas, "db_schema_tables")?.into_iter().enumerate() {
            let Some(tables) = tables else { continue };
            let schema = names[row].as_deref().filter(|name| !name.is_empty());
            let kinds = texts(&tables, "table_type")?;
            for (name, kind) in texts(&tables, "table_name")?.into_iter().zip(kinds) {
                found.extend(name.map(|name| table(schema, name, kind)));
            }
        }
    }
    Ok(found)
}

fn table(schema: Option<&str>, table: String, kind: Option<String>) -> TableInfo {
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let kind = if kind.contains("view") { "view" } else { "table" };
    let name = TableName { schema: schema.map(str::to_owned), table: table.clone() };
    let info = TableInfo::new(name.to_string(), kind);
    match schema {
        Some(schema) => info.of(schema, table),
        None => TableInfo { table, ..info },
    }
}

fn column<'a>(rows: &'a StructArray, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name)
        .ok_or_else(|| Error::data(format!("the driver's list of tables has no field `{name}`")))
}

/// The texts of a field.
fn texts(rows: &StructArray, name: &str) -> Result<Vec<Option<String>>> {
    let texts = cast(column(rows, name)?, &DataType::Utf8)
        .map_err(|error| Error::data(format!("the driver's list of tables: {error}")))?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

/// The structures in the list of each row.
fn items(rows: &StructArray, name: &str) -> Result<Vec<Option<StructArray>>> {
    let unlike =
        || Error::data(format!("field `{name}` of the driver's list of tables is no list"));
    let lists = column(rows, name)?.as_list_opt::<i32>().ok_or_else(unlike)?;
    let one = |row| match lists.is_null(row) {
        true => Ok(None),
        false => lists.value(row).as_struct_opt().cloned().map(Some).ok_or_else(unlike),
    };
    (0..lists.len()).map(one).collect()
}
