//! Arrow values as the server reads them: literals of an INSERT, or fields of LOAD DATA. What
//! the server would change without a word (labels, padding, fractions, years) is refused here.

use arrow_array::{Array, ArrayRef};
use transload_plugin_api::{Column, Error, LogicalType, Result};
use transload_values::{
    Ticks, View,
    calendar::{DAY_MICROS, first_day_of},
    is_longer, write,
};

use crate::{
    refusal::{NULL_IN_NOT_NULL, Refusal, refuse},
    rule::Rule,
    text::{Style, put_escaped, put_float},
};

/// The longest span of a `TIME`: 838:59:59.999999.
pub(crate) const LONGEST: i64 = 3_020_399_999_999;
/// The first day of a `DATE`: of the year 1.
const FIRST_DAY: i64 = first_day_of(1);
/// The last day of a `DATE`: of the year 9999.
const LAST_DAY: i64 = first_day_of(10_000) - 1;

/// One column of a batch, ready to be written cell by cell.
pub(crate) struct Cells<'a> {
    rule: &'a Rule,
    array: &'a dyn Array,
    view: View<'a>,
}

impl<'a> Cells<'a> {
    /// The cells of `array`, which carries `column`'s type.
    pub(crate) fn new(column: &Column, array: &'a ArrayRef, rule: &'a Rule) -> Result<Self> {
        let view = View::of(&column.logical, array).filter(|_| is_written(&column.logical));
        let view = view.ok_or_else(|| {
            let message = format!(
                "column `{}` comes as {} and not as `{}`",
                column.name,
                array.data_type(),
                column.logical
            );
            Error::defect(message)
        })?;
        Ok(Self { rule, array: &**array, view })
    }

    /// Appends one cell. After a fault what has been appended is of no use.
    pub(crate) fn put(&self, row: usize, style: Style, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.array.is_null(row) {
            if !self.rule.nullable {
                return Err(refuse("null", NULL_IN_NOT_NULL));
            }
            out.extend_from_slice(if style == Style::Literal { b"NULL" } else { b"\\N" });
            return Ok(());
        }
        match &self.view {
            View::Boolean(array) => out.push(if array.value(row) { b'1' } else { b'0' }),
            View::UInt16(values) => return self.put_small(values[row], style, out),
            View::Float32(values) => {
                let value = values[row];
                self.check_places(|text| text.parse() == Ok(value), value.into())?;
                return put_float(value.into(), out);
            }
            View::Float64(values) => {
                let value = values[row];
                self.check_places(|text| text.parse() == Ok(value), value)?;
                return put_float(value, out);
            }
            View::Text(array) | View::Json(array) => {
                return self.put_text(array.value(row), style, out);
            }
            View::Binary(array) => return self.put_bytes(array.value(row), style, out),
            View::Uuid(array) => return self.put_uuid(array.value(row), style, out),
            View::Date(_)
            | View::Time(..)
            | View::Duration(_)
            | View::Timestamp(..)
            | View::TimestampTz(..) => return self.put_time(row, style, out),
            numbers => numbers.write(row, out),
        }
        Ok(())
    }

    /// The value as text, for messages.
    #[cold]
    pub(crate) fn text(&self, row: usize) -> String {
        let mut out = Vec::new();
        self.view.write(row, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Refuses a number that the column would round; `is_same` says whether a text is the number.
    fn check_places(&self, is_same: impl Fn(&str) -> bool, value: f64) -> Result<(), Refusal> {
        match self.rule.places {
            Some(places) if !is_same(&format!("{value:.*}", usize::from(places))) => {
                let reason = format!("it keeps {places} digits after the point");
                Err(refuse("range", reason))
            }
            _ => Ok(()),
        }
    }

    /// A number that may go to a `YEAR`.
    fn put_small(&self, value: u16, style: Style, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if !self.rule.year {
            write::integer(value, out);
            return Ok(());
        }
        if value != 0 && !(1901..=2155).contains(&value) {
            return Err(refuse("range", "a year is 0 or 1901 to 2155"));
        }
        // As text `0` would be the year 2000.
        match style {
            Style::Field if value == 0 => out.extend_from_slice(b"0000"),
            _ => write::integer(value, out),
        }
        Ok(())
    }

    fn put_time(&self, row: usize, style: Style, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if style == Style::Literal {
            out.push(b'\'');
        }
        match self.view {
            View::Date(values) => {
                check_day(values[row].into())?;
                write::date(values[row].into(), out);
            }
            View::Timestamp(values, ticks) | View::TimestampTz(values, ticks) => {
                let micros = self.exact(values[row])?;
                check_day(micros.div_euclid(DAY_MICROS))?;
                write::timestamp(micros, ticks, b' ', out);
            }
            View::Time(values, ticks) => write::duration(self.exact(values[row])?, ticks, out),
            View::Duration(values) => {
                let micros = self.exact(values[row])?;
                if micros.unsigned_abs() > LONGEST as u64 {
                    let reason = "it ranges from -838:59:59.999999 to 838:59:59.999999";
                    return Err(refuse("range", reason));
                }
                write::duration(micros, Ticks::new(6), out);
            }
            _ => {}
        }
        if style == Style::Literal {
            out.push(b'\'');
        }
        Ok(())
    }

    /// The microseconds, unless the column would round them.
    fn exact(&self, micros: i64) -> Result<i64, Refusal> {
        let digits = self.rule.fraction.unwrap_or(6).min(6);
        let step = 10i64.pow(u32::from(6 - digits));
        if micros % step != 0 {
            let reason = format!("it keeps {digits} digits of a second");
            return Err(refuse("range", reason));
        }
        Ok(micros)
    }

    fn put_text(&self, text: &str, style: Style, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Rule { characters, labels, .. } = self.rule;
        if let Some(most) = characters
            && is_longer(text.as_bytes(), *most)
        {
            let found = transload_values::characters(text.as_bytes());
            let reason = format!("the text has {found} characters");
            return Err(refuse("length", reason));
        }
        if !labels.is_empty() && !self.is_label(text) {
            return Err(refuse("range", "it is not one of the labels"));
        }
        put_escaped(text.as_bytes(), style, out);
        Ok(())
    }

    fn is_label(&self, text: &str) -> bool {
        let known = |part: &str| self.rule.labels.iter().any(|label| label == part);
        if !self.rule.set {
            return known(text);
        }
        text.is_empty() || text.split(',').all(known)
    }

    fn put_bytes(&self, bytes: &[u8], style: Style, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if let Some(count) = self.rule.bytes
            && bytes.len() != count as usize
        {
            let reason = format!("it keeps {count} bytes, found {}", bytes.len());
            return Err(refuse("length", reason));
        }
        match style {
            Style::Literal => {
                out.extend_from_slice(b"x'");
                write::hex(bytes, out);
                out.push(b'\'');
            }
            Style::Field => write::hex(bytes, out),
        }
        Ok(())
    }

    /// A UUID goes to 16 bytes, or to a column of that type as text.
    fn put_uuid(&self, bytes: &[u8], style: Style, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.rule.hex {
            return self.put_bytes(bytes, style, out);
        }
        let quote = style == Style::Literal;
        if quote {
            out.push(b'\'');
        }
        write::uuid(bytes, out);
        if quote {
            out.push(b'\'');
        }
        Ok(())
    }
}

/// Whether values of a type can be written at all.
fn is_written(logical: &LogicalType) -> bool {
    use LogicalType as T;
    match logical {
        T::Numeric | T::Interval | T::List(_) => false,
        T::Time { precision } | T::Timestamp { precision } | T::TimestampTz { precision } => {
            *precision <= 6
        }
        _ => true,
    }
}

/// Refuses a day outside of the years 1 to 9999, which the server does not store.
fn check_day(day: i64) -> Result<(), Refusal> {
    if (FIRST_DAY..=LAST_DAY).contains(&day) {
        return Ok(());
    }
    Err(refuse("range", "the year is not between 1 and 9999"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BinaryArray, PrimitiveArray, StringArray,
        types::{TimestampMicrosecondType, UInt16Type},
    };

    use super::*;
    use crate::{
        catalog::TableColumn,
        types::{Native, logical_of},
    };

    fn target(declared: &str) -> TableColumn {
        let native = Native::parse(declared);
        let column = Column::new("c", logical_of(&native).unwrap(), true);
        TableColumn { column, native, auto_increment: false, invisible: false, collation: None }
    }

    fn put(declared: &str, array: ArrayRef, style: Style) -> Result<String, &'static str> {
        let target = target(declared);
        let rule = Rule::of(&target);
        let cells = Cells::new(&target.column, &array, &rule).unwrap();
        let mut out = Vec::new();
        cells.put(0, style, &mut out).map_err(|fault| fault.code)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn text(declared: &str, value: &str) -> Result<String, &'static str> {
        put(declared, Arc::new(StringArray::from(vec![value])), Style::Literal)
    }

    #[test]
    fn text_is_escaped_for_its_place() {
        for (value, literal, field) in [
            ("it's", "'it\\'s'", "it's"),
            ("a\tb\nc", "'a\tb\nc'", "a\\tb\\nc"),
            ("\\N", "'\\\\N'", "\\\\N"),
            ("a\0b", "'a\\0b'", "a\0b"),
            ("", "''", ""),
        ] {
            let array = || Arc::new(StringArray::from(vec![value])) as ArrayRef;
            assert_eq!(put("longtext", array(), Style::Literal).unwrap(), literal);
            assert_eq!(put("longtext", array(), Style::Field).unwrap(), field);
        }
    }

    #[test]
    fn t32_text_that_the_server_would_cut_is_refused() {
        assert_eq!(text("varchar(5)", "😀😀😀😀😀").unwrap(), "'😀😀😀😀😀'");
        assert_eq!(text("varchar(5)", "abcde "), Err("length"));
        assert_eq!(text("char(2)", "abc"), Err("length"));
    }

    #[test]
    fn t36_labels_are_never_taken_for_numbers() {
        assert_eq!(text("enum('a','10')", "10").unwrap(), "'10'");
        for wrong in ["1", "2", "A", "", "a,10"] {
            assert_eq!(text("enum('a','10')", wrong), Err("range"), "{wrong}");
        }
        assert_eq!(text("set('a','b')", "b,a").unwrap(), "'b,a'");
        assert_eq!(text("set('a','b')", "").unwrap(), "''");
        assert_eq!(text("set('a','b')", "a,3"), Err("range"));
    }

    #[test]
    fn t28_years_of_two_digits_are_refused() {
        let year = |value: u16, style| {
            put("year(4)", Arc::new(PrimitiveArray::<UInt16Type>::from(vec![value])), style)
        };
        assert_eq!(year(0, Style::Literal).unwrap(), "0");
        assert_eq!(year(0, Style::Field).unwrap(), "0000");
        assert_eq!(year(2155, Style::Field).unwrap(), "2155");
        for wrong in [1, 70, 1900, 2156] {
            assert_eq!(year(wrong, Style::Literal), Err("range"));
        }
    }

    #[test]
    fn values_that_the_server_would_fill_or_round_are_refused() {
        let bytes = |declared: &str, value: &[u8]| {
            put(declared, Arc::new(BinaryArray::from(vec![value])), Style::Literal)
        };
        assert_eq!(bytes("binary(2)", b"\x01\xff").unwrap(), "x'01ff'");
        assert_eq!(bytes("binary(2)", b"\x01"), Err("length"));
        assert_eq!(bytes("bit(9)", b"\x01"), Err("length"));
        assert_eq!(bytes("varbinary(2)", b"").unwrap(), "x''");
        let moment = |declared: &str, micros: i64| {
            let array = PrimitiveArray::<TimestampMicrosecondType>::from(vec![micros]);
            put(declared, Arc::new(array), Style::Field)
        };
        assert_eq!(moment("datetime(3)", 1_001_000).unwrap(), "1970-01-01 00:00:01.001");
        assert_eq!(moment("datetime(3)", 1_000_001), Err("range"));
        assert_eq!(moment("datetime(6)", i64::MAX), Err("range"));
    }
}
