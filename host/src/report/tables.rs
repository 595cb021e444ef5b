//! The tables that a connection offers, as text.

use transload_plugin_api::{Key, TableInfo};

use super::{
    page::{Cell, Page, Style},
    summary::{bytes, grouped},
};

/// One line for each table.
pub(crate) fn list_tables(page: &mut Page, tables: &[TableInfo]) {
    let head = ["table", "kind", "rows", "size", "columns", "key", "comment"];
    let mut rows = vec![head.map(|word| Cell::styled(word, Style::Strong)).to_vec()];
    for table in tables {
        let count = table.columns.len() as u64;
        rows.push(vec![
            table.name.as_str().into(),
            table.kind.as_str().into(),
            Cell::number(table.rows.map(about).unwrap_or_default()),
            Cell::number(table.bytes.map(bytes).unwrap_or_default()),
            Cell::number(if count == 0 { String::new() } else { grouped(count) }),
            table.primary_key().map(|key| key.columns.join(", ")).unwrap_or_default().into(),
            table.comment.clone().unwrap_or_default().into(),
        ]);
    }
    page.table(0, &rows);
}

/// A table with its columns and keys.
pub(crate) fn describe_table(page: &mut Page, table: &TableInfo) {
    let rows = table.rows.map(|rows| format!(", {} rows", about(rows)));
    let size = table.bytes.map(|size| format!(", {}", bytes(size)));
    let (rows, size) = (rows.unwrap_or_default(), size.unwrap_or_default());
    page.heading(&format!("{} ({}{rows}{size})", table.name, table.kind));
    if let Some(comment) = &table.comment {
        page.line(2, comment);
    }
    let row = |column: &transload_plugin_api::Column| -> Vec<Cell> {
        let mut notes = Vec::new();
        notes.extend((!column.nullable).then_some("not null"));
        notes.extend(column.has_default.then_some("default"));
        notes.extend(column.generated.then_some("generated"));
        vec![
            column.name.as_str().into(),
            column.native.as_str().into(),
            column.logical.to_string().into(),
            notes.join(", ").into(),
        ]
    };
    page.table(2, &table.columns.iter().map(row).collect::<Vec<_>>());
    table.keys.iter().for_each(|key| page.line(2, &words(key)));
}

fn words(key: &Key) -> String {
    let kind = if key.primary { "primary key" } else { "unique" };
    let note = if key.unusable { " (decides no conflicts)" } else { "" };
    format!("{kind} ({}){note}", key.columns.join(", "))
}

/// An estimate.
fn about(rows: u64) -> String {
    format!("~{}", grouped(rows))
}
