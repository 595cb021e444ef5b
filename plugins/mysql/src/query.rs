//! The job's own query: its columns as the server describes them. It is read as it is written:
//! around a query MariaDB drops its ORDER BY.

use transload_plugin_api::{Column, ErrorKind, LogicalType, Result};

use crate::{
    answer::ResultColumn,
    catalog::TableColumn,
    cell::kind,
    native::native_form,
    session::Session,
    types::{Native, logical_of},
};

/// The columns of a query's result.
pub(crate) fn query_columns(session: &mut Session, query: &str) -> Result<Vec<TableColumn>> {
    let cancel = session.cancel.clone();
    let sql = format!("SELECT * FROM ({query}\n) AS t");
    let prepared = session.prepare(&sql).map_err(|failure| {
        let mut error = failure.into_error("prepare `query`", &cancel);
        if error.kind == ErrorKind::Other {
            error.kind = ErrorKind::Options;
        }
        error
    })?;
    Ok(prepared.columns.iter().map(described).collect())
}

/// A column of a result as the server describes it.
fn described(found: &ResultColumn) -> TableColumn {
    const NOT_NULL: u16 = 1;
    const UNSIGNED: u16 = 32;
    const ENUM: u16 = 256;
    const BYTES: u16 = 63;
    let name = match found.kind {
        kind::TINY => "tinyint",
        kind::SHORT => "smallint",
        kind::LONG | kind::INT24 => "int",
        kind::LONGLONG => "bigint",
        kind::FLOAT => "float",
        kind::DOUBLE => "double",
        kind::NEWDECIMAL | 0 => "decimal",
        kind::DATE => "date",
        kind::TIME => "time",
        kind::DATETIME => "datetime",
        kind::TIMESTAMP => "timestamp",
        kind::YEAR => "year",
        kind::BIT => "bit",
        kind::JSON => "json",
        kind::GEOMETRY => "geometry",
        kind::NULL => "text",
        _ if found.flags & ENUM != 0 => "text",
        _ if found.charset == BYTES => "longblob",
        _ => "longtext",
    };
    let unsigned = found.flags & UNSIGNED != 0;
    let mut native = Native { name: name.to_owned(), unsigned, ..Native::default() };
    match name {
        "decimal" => {
            let point = u32::from(found.decimals > 0);
            let precision = found.length.saturating_sub(point + u32::from(!unsigned));
            native.arguments = vec![precision.clamp(1, 65), found.decimals.into()];
        }
        "time" | "datetime" | "timestamp" => {
            native.arguments = vec![if found.decimals <= 6 { found.decimals.into() } else { 6 }];
        }
        _ => {}
    }
    let logical = logical_of(&native).unwrap_or(LogicalType::Binary);
    let mut column = Column::new(&found.name, logical, found.flags & NOT_NULL == 0);
    column.native = native.name.clone();
    column.native_form = native_form(&native);
    TableColumn { column, native, auto_increment: false, invisible: false, collation: None }
}
