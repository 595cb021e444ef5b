//! Text to typed values and back, for columns that are text on one side and typed on the other.
//! What a text means is left to `transload_values`: the same as in a file or a database.

use arrow_array::{Array, ArrayRef, StringArray, cast::AsArray, types as t};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::ArrowError;
use transload_plugin_api::{Column, LogicalType};
use transload_values::{Builder, CellWords, ColumnParser, Fault, View, parse, write};

use super::applied::{Applied, Misfit};

/// Types that text can be parsed into.
pub(super) fn parses(to: &LogicalType) -> bool {
    use LogicalType as L;
    !matches!(to, L::Text { .. } | L::Binary | L::Interval | L::List(_) | L::Native(_))
}

/// Types that print as text.
pub(super) fn prints(from: &LogicalType) -> bool {
    use LogicalType as L;
    !matches!(
        from,
        L::Text { .. } | L::Json | L::Numeric | L::Binary | L::Interval | L::List(_) | L::Native(_)
    )
}

/// Parses a text column into the target's type.
pub(super) fn parse(array: &ArrayRef, target: &LogicalType) -> Result<Applied, ArrowError> {
    let texts = array.as_string::<i32>();
    match target {
        LogicalType::Json => return Ok(checked(array, texts, parse::json)),
        LogicalType::Numeric => return Ok(checked(array, texts, parse::numeric)),
        _ => {}
    }
    let column = Column::new("", target.clone(), true);
    let parser = ColumnParser::new(&column, &CellWords::default());
    let mut parser = parser.map_err(|error| ArrowError::CastError(error.message))?;
    let mut faults = Vec::new();
    parser.append_array(texts, &mut faults);
    let misfits = faults.into_iter().map(|(row, fault)| (row, fault.code())).collect();
    Ok(Applied { array: parser.finish(), misfits })
}

/// JSON and number text keep their bytes; only what is not one is a misfit.
fn checked(
    array: &ArrayRef,
    texts: &StringArray,
    check: impl Fn(&[u8]) -> Result<(), Fault>,
) -> Applied {
    let misfit = |(row, text): (usize, Option<&str>)| -> Option<Misfit> {
        Some((row, check(text?.as_bytes()).err()?.code()))
    };
    let misfits = texts.iter().enumerate().filter_map(misfit).collect();
    Applied { array: array.clone(), misfits }
}

/// Parses a column of exact numbers into floats. A number that the float does not keep, so that it
/// would be written as another one, is a misfit.
pub(super) fn parse_exact(array: &ArrayRef, target: &LogicalType) -> Result<Applied, ArrowError> {
    let mut parsed = parse(array, target)?;
    let numbers = array.as_string::<i32>();
    let mut shortest = Vec::new();
    let kept = parsed.array.clone();
    let changed = (0..numbers.len()).filter(|row| {
        if kept.is_null(*row) {
            return false;
        }
        shortest.clear();
        match target {
            LogicalType::Float32 => {
                write::float(kept.as_primitive::<t::Float32Type>().value(*row), &mut shortest);
            }
            _ => write::float(kept.as_primitive::<t::Float64Type>().value(*row), &mut shortest),
        }
        let number = parse::Number::read(numbers.value(*row).as_bytes());
        match (number, parse::Number::read(&shortest)) {
            (Some(number), Some(shortest)) => !number.equals(&shortest),
            _ => false,
        }
    });
    parsed.misfits.extend(changed.map(|row| (row, Fault::Range.code())));
    Ok(parsed)
}

/// Prints a typed column as text that [`parse()`] reads back.
pub(super) fn print(array: &ArrayRef, source: &LogicalType) -> Result<ArrayRef, ArrowError> {
    let view = View::of(source, array);
    let builder = Builder::new(&LogicalType::TEXT, array.len(), 16 * array.len());
    let (Some(view), Some(mut builder)) = (view, builder) else {
        return Err(ArrowError::CastError(format!("{} has no text", array.data_type())));
    };
    if let Builder::Text(texts) = &mut builder {
        for row in 0..array.len() {
            if array.is_valid(row) {
                view.write(row, &mut texts.bytes);
            }
            let longer = || ArrowError::CastError("more than 2 GiB of text in a batch".to_owned());
            texts.close().ok_or_else(longer)?;
        }
    }
    builder.finish(&LogicalType::TEXT, array.nulls().cloned())
}

/// A value in words, for messages.
pub(crate) fn show(array: &ArrayRef, logical: &LogicalType, row: usize) -> String {
    match View::of(logical, array) {
        Some(View::Interval(_) | View::List(_)) | None => {
            ArrayFormatter::try_new(&array.slice(row, 1), &FormatOptions::default())
                .and_then(|formatter| formatter.value(0).try_to_string())
                .unwrap_or_else(|_| "value that cannot be shown".to_owned())
        }
        Some(view) => {
            let mut out = Vec::new();
            view.write(row, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
    }
}
