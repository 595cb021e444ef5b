//! Lists as JSON text, for targets that have none: as a file of JSON lines would hold them. What
//! JSON cannot say exactly (NaN, infinities) is a misfit.

use arrow_array::{Array, ArrayRef, builder::StringBuilder, cast::AsArray};
use arrow_schema::ArrowError;
use transload_plugin_api::LogicalType;
use transload_values::View;

use super::applied::Applied;

/// Whether lists of such items have a form in JSON.
pub(super) fn prints(item: &LogicalType) -> bool {
    match item {
        LogicalType::List(item) => prints(item),
        LogicalType::Interval => false,
        _ => true,
    }
}

/// Whether every list of such items has one.
pub(super) fn always_prints(item: &LogicalType) -> bool {
    use LogicalType as L;
    match item {
        L::List(item) => always_prints(item),
        L::Float32 | L::Float64 | L::Numeric | L::Json => false,
        item => prints(item),
    }
}

/// The JSON text of each list.
pub(super) fn print(array: &ArrayRef, item: &LogicalType) -> Result<Applied, ArrowError> {
    let mut texts = StringBuilder::with_capacity(array.len(), 16 * array.len());
    let (mut misfits, mut out) = (Vec::new(), Vec::new());
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        out.clear();
        let written = write_list(array, row, item, &mut out);
        match written.and_then(|()| std::str::from_utf8(&out).ok()) {
            Some(text) => texts.append_value(text),
            None => {
                misfits.push((row, "range"));
                texts.append_null();
            }
        }
    }
    Ok(Applied { array: std::sync::Arc::new(texts.finish()), misfits })
}

/// `None` if the list has no form in JSON.
fn write_list(array: &ArrayRef, row: usize, item: &LogicalType, out: &mut Vec<u8>) -> Option<()> {
    let items = array.as_list_opt::<i32>()?.value(row);
    out.push(b'[');
    for index in 0..items.len() {
        if index > 0 {
            out.push(b',');
        }
        match (items.is_null(index), item) {
            (true, _) => out.extend_from_slice(b"null"),
            (false, LogicalType::List(inner)) => write_list(&items, index, inner, out)?,
            (false, item) => write_item(&View::of(item, &items)?, index, out)?,
        }
    }
    out.push(b']');
    Some(())
}

fn write_item(view: &View<'_>, index: usize, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    match view {
        View::Text(texts) => serde_json::to_writer(out, texts.value(index)).ok(),
        View::Float32(values) if !values[index].is_finite() => None,
        View::Float64(values) if !values[index].is_finite() => None,
        View::Json(_) | View::Numeric(_) => {
            view.write(index, out);
            // The document `null` would be read back as NULL.
            let text = out[start..].trim_ascii();
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
            (is_json && text != b"null").then_some(())
        }
        View::Boolean(_)
        | View::Int8(_)
        | View::Int16(_)
        | View::Int32(_)
        | View::Int64(_)
        | View::UInt8(_)
        | View::UInt16(_)
        | View::UInt32(_)
        | View::UInt64(_)
        | View::Float32(_)
        | View::Float64(_)
        | View::Decimal128(..)
        | View::Decimal256(..) => {
            view.write(index, out);
            Some(())
        }
        // Dates, times, uuids and bytes need no escapes.
        _ => {
            out.push(b'"');
            view.write(index, out);
            out.push(b'"');
            Some(())
        }
    }
}
