//! Which line of a job makes a text a value: the form of a date, the separators of a number, a word
//! for NULL. Only what would really read the text is named. Options are those of text formats.

use transload_plugin_api::{Column, LogicalType};

use crate::{CellWords, ColumnParser, Forms, Pattern, Separators, parse::Number};

const DATES: [&str; 16] = [
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%b %d, %Y",
    "%Y-%m-%d",
];
const TIMES: [&str; 6] = ["%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M:%S %p", "%I:%M %p", "%H%M%S"];
const NULLS: [&str; 9] = ["", "NULL", "null", "\\N", "NA", "N/A", "n/a", "None", "-"];

/// The line to write, or the lines to choose from, so that `text` is a value of the column; `None`
/// if no option would read it.
pub fn hint(column: &Column, text: &str) -> Option<String> {
    let is_null = NULLS.contains(&text) && column.nullable;
    if is_null && !matches!(column.logical, LogicalType::Text { .. }) {
        return Some(null_hint(text));
    }
    form_hint(column, &[text]).or_else(|| schema_hint(column, text))
}

/// The type in the job's schema that holds a number which the sample did not show.
fn schema_hint(column: &Column, text: &str) -> Option<String> {
    let number = Number::read(text.as_bytes()).filter(|it| it.exponent == 0 && column.inferred)?;
    let (wide, scale) = match column.logical {
        LogicalType::Decimal { precision, scale } => (precision > 18, scale.max(0) as usize),
        LogicalType::Int64 | LogicalType::UInt64 => (false, 0),
        _ => return None,
    };
    let scale = scale.max(number.fraction.len());
    let precision = match number.whole.len() + scale {
        0..=18 if !wide => 18,
        0..=38 => 38,
        _ => return None,
    };
    let logical = LogicalType::Decimal { precision: precision as u8, scale: scale as i8 };
    Some(format!("{:?} = \"{logical}\" in [reader.schema]", column.name))
}

/// The same for texts that are values in one form, which is not the usual one.
pub fn form_hint(column: &Column, texts: &[&str]) -> Option<String> {
    use LogicalType as L;
    match &column.logical {
        L::Date => patterns(column, "date_format", DATES.map(str::to_owned), texts),
        L::Time { .. } => patterns(column, "time_format", TIMES.map(str::to_owned), texts),
        L::Timestamp { .. } => patterns(column, "timestamp_format", timestamps(&[""]), texts),
        L::TimestampTz { .. } => {
            let forms = timestamps(&["%z"]).chain(["%s".to_owned()]);
            patterns(column, "timestamp_format", forms, texts)
        }
        _ => numbers(column, texts),
    }
}

fn null_hint(text: &str) -> String {
    let shown = format!("{text:?}");
    if text.is_empty() { format!("null = {shown}") } else { format!("null = [\"\", {shown}]") }
}

fn timestamps(ends: &[&'static str]) -> impl Iterator<Item = String> {
    let ends = ends.to_vec();
    DATES.into_iter().flat_map(move |date| {
        let ends = ends.clone();
        TIMES.into_iter().flat_map(move |time| {
            let ends = ends.clone();
            [" ", "T", ""].into_iter().flat_map(move |between| {
                ends.clone().into_iter().map(move |end| format!("{date}{between}{time}{end}"))
            })
        })
    })
}

/// The patterns that read a text.
fn patterns(
    column: &Column,
    option: &str,
    candidates: impl IntoIterator<Item = String>,
    texts: &[&str],
) -> Option<String> {
    let reads = |pattern: &String| {
        let form = Pattern::new(pattern).ok();
        let (date, time, timestamp) = (form.clone(), form.clone(), form);
        reads(column, texts, Forms { date, time, timestamp, ..Forms::default() })
    };
    // `%H:%M:%S%.f` also reads what `%H:%M:%S` reads, and is named only if that does not
    let mut found: Vec<_> = candidates.into_iter().filter(reads).collect();
    if found.len() > 1 {
        found.retain(|pattern| !pattern.contains("%.f"));
    }
    found.truncate(2);
    let lines: Vec<_> = found.iter().map(|pattern| format!("{option} = {pattern:?}")).collect();
    (!lines.is_empty()).then(|| lines.join(", or "))
}

/// The separators that read a text.
fn numbers(column: &Column, texts: &[&str]) -> Option<String> {
    const THOUSANDS: [Option<&str>; 7] =
        [None, Some("."), Some(","), Some(" "), Some("\u{a0}"), Some("\u{202f}"), Some("'")];
    let any = |mark: &str| texts.iter().any(|text| text.contains(mark));
    let mut lines = Vec::new();
    for (decimal_comma, thousands) in
        [true, false].into_iter().flat_map(|comma| THOUSANDS.map(|thousands| (comma, thousands)))
    {
        let point = if decimal_comma { "," } else { "." };
        // what the text does not have explains nothing
        let needless = thousands.is_some_and(|mark| mark == point || !any(mark))
            || decimal_comma && !any(",")
            || !decimal_comma && thousands.is_none();
        let separators = Separators { decimal_comma, thousands: thousands.map(str::to_owned) };
        if !needless && reads(column, texts, Forms { separators, ..Forms::default() }) {
            let comma = decimal_comma.then(|| "decimal_comma = true".to_owned());
            let thousands = thousands.map(|mark| format!("thousands = {mark:?}"));
            lines.push(comma.into_iter().chain(thousands).collect::<Vec<_>>().join(" and "));
        }
    }
    (!lines.is_empty()).then(|| lines.join(", or "))
}

fn reads(column: &Column, texts: &[&str], forms: Forms) -> bool {
    let words = CellWords { forms, ..CellWords::default() };
    let parser = ColumnParser::new(column, &words);
    parser
        .is_ok_and(|mut parser| texts.iter().all(|text| parser.try_append(text.as_bytes()).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_beyond_the_sample_names_its_type() {
        for (logical, text, expected) in [
            ("decimal(18,2)", "1.234", "\"c\" = \"decimal(18,3)\" in [reader.schema]"),
            (
                "decimal(18,2)",
                "12345678901234567.5",
                "\"c\" = \"decimal(38,2)\" in [reader.schema]",
            ),
            ("int64", "2.5", "\"c\" = \"decimal(18,1)\" in [reader.schema]"),
            ("int64", "18446744073709551616", "\"c\" = \"decimal(38,0)\" in [reader.schema]"),
            ("decimal(18,2)", "x", ""),
            ("date", "1.5", ""),
        ] {
            let column = Column::new("c", logical.parse().unwrap(), true);
            assert_eq!(hint(&column, text), None, "the job says the type of {text}");
            let sampled = Column { inferred: true, ..column };
            let found = hint(&sampled, text);
            assert_eq!(found.as_deref().unwrap_or_default(), expected, "{text}");
            let number = found.map(|line| line.split('"').nth(3).unwrap().to_owned());
            if let Some(logical) = number {
                let column = Column::new("c", logical.parse().unwrap(), true);
                assert!(reads(&column, &[text], Forms::default()), "{text}");
            }
        }
    }

    #[test]
    fn only_what_reads_the_text_is_named() {
        for (logical, text, expected) in [
            ("date", "31.12.2026", "date_format = \"%d.%m.%Y\""),
            ("date", "12/31/2026", "date_format = \"%m/%d/%Y\""),
            ("date", "03/04/2026", "date_format = \"%d/%m/%Y\", or date_format = \"%m/%d/%Y\""),
            ("date", "20261231", "date_format = \"%Y%m%d\""),
            ("date", "5-Mar-2026", "date_format = \"%d-%b-%Y\""),
            ("date", "31.02.2026", ""),
            ("date", "soon", ""),
            ("timestamp", "31.12.2026 07:05", "timestamp_format = \"%d.%m.%Y %H:%M\""),
            ("timestamp", "2026-12-31 07:05", "timestamp_format = \"%Y-%m-%d %H:%M\""),
            ("timestamp", "31.12.2026 07:05:01.5", "timestamp_format = \"%d.%m.%Y %H:%M:%S%.f\""),
            ("timestamp", "12/31/2026 7:05 PM", "timestamp_format = \"%m/%d/%Y %I:%M %p\""),
            ("timestamptz", "31.12.2026 07:05 +0100", "timestamp_format = \"%d.%m.%Y %H:%M%z\""),
            ("timestamptz", "1700000000", "timestamp_format = \"%s\""),
            ("time", "7:05 pm", "time_format = \"%I:%M %p\""),
            ("decimal(18,2)", "1.234,50", "decimal_comma = true and thousands = \".\""),
            ("decimal(18,2)", "1234,50", "decimal_comma = true"),
            ("float64", "1 234,5", "decimal_comma = true and thousands = \" \""),
            ("decimal(18,3)", "1,234", "decimal_comma = true, or thousands = \",\""),
            ("int64", "1,234", "thousands = \",\""),
            ("int64", "1'234'567", "thousands = \"'\""),
            ("int64", "1,23", ""),
            ("int64", "x", ""),
            ("int64", "", "null = \"\""),
            ("date", "NULL", "null = [\"\", \"NULL\"]"),
            ("int64", "\\N", "null = [\"\", \"\\\\N\"]"),
            ("text", "NULL", ""),
        ] {
            let column = Column::new("c", logical.parse().unwrap(), true);
            assert_eq!(hint(&column, text).unwrap_or_default(), expected, "{logical} {text}");
        }
    }
}
