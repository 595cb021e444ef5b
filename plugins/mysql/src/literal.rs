//! Arrow values as the server reads them: literals of an INSERT, or fields of LOAD DATA. What
//! the server would change without a word (labels, padding, fractions, years) is refused here.

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, PrimitiveArray, StringArray,
    cast::AsArray,
    types::{
        ArrowPrimitiveType, Date32Type, DurationMicrosecondType, Float32Type, Float64Type,
        Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use transload_plugin_api::{Column, Error, ErrorKind, LogicalType, Result};

use crate::{
    calendar::{LONGEST, put_date, put_moment, put_span},
    rule::Rule,
    text::{
        Fault, Style, fault, put_decimal, put_escaped, put_float, put_hex, put_integer, put_scaled,
    },
};

enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    UInt8(&'a PrimitiveArray<UInt8Type>),
    UInt16(&'a PrimitiveArray<UInt16Type>),
    UInt32(&'a PrimitiveArray<UInt32Type>),
    UInt64(&'a PrimitiveArray<UInt64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal128(&'a Decimal128Array, usize),
    Decimal256(&'a Decimal256Array, usize),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Duration(&'a PrimitiveArray<DurationMicrosecondType>),
    Moment(&'a PrimitiveArray<TimestampMicrosecondType>),
    Uuid(&'a FixedSizeBinaryArray),
}

/// One column of a batch, ready to be written cell by cell.
pub(crate) struct Cells<'a> {
    rule: &'a Rule,
    array: &'a dyn Array,
    values: Values<'a>,
}

fn primitive<'a, P: ArrowPrimitiveType>(
    array: &'a ArrayRef,
    make: fn(&'a PrimitiveArray<P>) -> Values<'a>,
) -> Option<Values<'a>> {
    array.as_primitive_opt::<P>().map(make)
}

impl<'a> Cells<'a> {
    /// The cells of `array`, which carries `column`'s type.
    pub(crate) fn new(column: &Column, array: &'a ArrayRef, rule: &'a Rule) -> Result<Self> {
        use LogicalType as T;
        let scale = |scale: i8| usize::from(scale.unsigned_abs());
        let values = match &column.logical {
            T::Boolean => array.as_boolean_opt().map(Values::Boolean),
            T::Int8 => primitive(array, Values::Int8),
            T::Int16 => primitive(array, Values::Int16),
            T::Int32 => primitive(array, Values::Int32),
            T::Int64 => primitive(array, Values::Int64),
            T::UInt8 => primitive(array, Values::UInt8),
            T::UInt16 => primitive(array, Values::UInt16),
            T::UInt32 => primitive(array, Values::UInt32),
            T::UInt64 => primitive(array, Values::UInt64),
            T::Float32 => primitive(array, Values::Float32),
            T::Float64 => primitive(array, Values::Float64),
            T::Decimal { precision, scale: digits } if *precision <= 38 => {
                array.as_primitive_opt().map(|it| Values::Decimal128(it, scale(*digits)))
            }
            T::Decimal { scale: digits, .. } => {
                array.as_primitive_opt().map(|it| Values::Decimal256(it, scale(*digits)))
            }
            T::Text { .. } | T::Json => array.as_string_opt().map(Values::Text),
            T::Binary => array.as_binary_opt().map(Values::Binary),
            T::Date => primitive(array, Values::Date),
            T::Time { .. } => primitive(array, Values::Time),
            T::Duration => primitive(array, Values::Duration),
            T::Timestamp { .. } | T::TimestampTz { .. } => primitive(array, Values::Moment),
            T::Uuid => array.as_fixed_size_binary_opt().map(Values::Uuid),
            _ => None,
        };
        let values = values.ok_or_else(|| {
            let message = format!(
                "column `{}` comes as {} and not as `{}`",
                column.name,
                array.data_type(),
                column.logical
            );
            Error::new(ErrorKind::Defect, message)
        })?;
        Ok(Self { rule, array: &**array, values })
    }

    /// Appends one cell. After a fault what has been appended is of no use.
    pub(crate) fn put(&self, row: usize, style: Style, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.array.is_null(row) {
            if !self.rule.nullable {
                return Err(fault("null", "the column takes no NULL".to_owned()));
            }
            out.extend_from_slice(if style == Style::Literal { b"NULL" } else { b"\\N" });
            return Ok(());
        }
        match &self.values {
            Values::Boolean(array) => out.push(if array.value(row) { b'1' } else { b'0' }),
            Values::Int8(array) => put_integer(array.value(row), out),
            Values::Int16(array) => put_integer(array.value(row), out),
            Values::Int32(array) => put_integer(array.value(row), out),
            Values::Int64(array) => put_integer(array.value(row), out),
            Values::UInt8(array) => put_integer(array.value(row), out),
            Values::UInt16(array) => return self.put_small(array.value(row), style, out),
            Values::UInt32(array) => put_integer(array.value(row), out),
            Values::UInt64(array) => put_integer(array.value(row), out),
            Values::Float32(array) => return put_float(array.value(row).into(), out),
            Values::Float64(array) => return put_float(array.value(row), out),
            Values::Decimal128(array, scale) => put_decimal(array.value(row), *scale, out),
            Values::Decimal256(array, scale) => {
                put_scaled(&array.value(row).to_string(), *scale, out);
            }
            Values::Text(array) => return self.put_text(array.value(row), style, out),
            Values::Binary(array) => return self.put_bytes(array.value(row), style, out),
            Values::Uuid(array) => return self.put_uuid(array.value(row), style, out),
            Values::Date(_) | Values::Time(_) | Values::Duration(_) | Values::Moment(_) => {
                return self.put_time(row, style, out);
            }
        }
        Ok(())
    }

    /// A number that may go to a `YEAR`.
    fn put_small(&self, value: u16, style: Style, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.rule.year {
            put_integer(value, out);
            return Ok(());
        }
        if value != 0 && !(1901..=2155).contains(&value) {
            return Err(fault("range", format!("a YEAR is 0 or 1901 to 2155, found {value}")));
        }
        // As text `0` would be the year 2000.
        match style {
            Style::Field if value == 0 => out.extend_from_slice(b"0000"),
            _ => put_integer(value, out),
        }
        Ok(())
    }

    fn put_time(&self, row: usize, style: Style, out: &mut Vec<u8>) -> Result<(), Fault> {
        let years = || fault("range", "the year is not between 1 and 9999".to_owned());
        if style == Style::Literal {
            out.push(b'\'');
        }
        match &self.values {
            Values::Date(array) => {
                put_date(array.value(row).into(), out).then_some(()).ok_or_else(years)?;
            }
            Values::Moment(array) => {
                let micros = self.exact(array.value(row))?;
                put_moment(micros, out).then_some(()).ok_or_else(years)?;
            }
            Values::Time(array) => put_span(self.exact(array.value(row))?, out),
            Values::Duration(array) => {
                let micros = self.exact(array.value(row))?;
                if micros.unsigned_abs() > LONGEST as u64 {
                    let reason = "a TIME goes to 838:59:59.999999 either way".to_owned();
                    return Err(fault("range", reason));
                }
                put_span(micros, out);
            }
            _ => {}
        }
        if style == Style::Literal {
            out.push(b'\'');
        }
        Ok(())
    }

    /// The microseconds, unless the column would round them.
    fn exact(&self, micros: i64) -> Result<i64, Fault> {
        let digits = self.rule.fraction.unwrap_or(6).min(6);
        let step = 10i64.pow(u32::from(6 - digits));
        if micros % step != 0 {
            let reason = format!("the column keeps {digits} digits of a second");
            return Err(fault("range", reason));
        }
        Ok(micros)
    }

    fn put_text(&self, text: &str, style: Style, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Rule { characters, labels, .. } = self.rule;
        if let Some(most) = characters {
            let most = *most as usize;
            if text.len() > most && text.chars().count() > most {
                let found = text.chars().count();
                let reason = format!("at most {most} characters, found {found}");
                return Err(fault("length", reason));
            }
        }
        if !labels.is_empty() && !self.is_label(text) {
            return Err(fault("range", "not one of the column's labels".to_owned()));
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

    fn put_bytes(&self, bytes: &[u8], style: Style, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Some(count) = self.rule.bytes
            && bytes.len() != count as usize
        {
            let reason = format!("the column keeps {count} bytes, found {}", bytes.len());
            return Err(fault("length", reason));
        }
        match style {
            Style::Literal => {
                out.extend_from_slice(b"x'");
                put_hex(bytes, out);
                out.push(b'\'');
            }
            Style::Field => put_hex(bytes, out),
        }
        Ok(())
    }

    /// A UUID goes to 16 bytes, or to a column of that type as text.
    fn put_uuid(&self, bytes: &[u8], style: Style, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.rule.hex {
            return self.put_bytes(bytes, style, out);
        }
        let quote = style == Style::Literal;
        if quote {
            out.push(b'\'');
        }
        for (at, part) in [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]]
            .iter()
            .enumerate()
        {
            if at > 0 {
                out.push(b'-');
            }
            put_hex(part, out);
        }
        if quote {
            out.push(b'\'');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        catalog::TableColumn,
        types::{Native, logical_of},
    };

    fn target(declared: &str) -> TableColumn {
        let native = Native::parse(declared);
        let column = Column::new("c", logical_of(&native).unwrap(), true);
        TableColumn { column, native, auto_increment: false }
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
        assert_eq!(moment("datetime(3)", 1_001_000).unwrap(), "1970-01-01 00:00:01.001000");
        assert_eq!(moment("datetime(3)", 1_000_001), Err("range"));
        assert_eq!(moment("datetime(6)", i64::MAX), Err("range"));
    }
}
