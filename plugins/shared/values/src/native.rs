//! The text of values in a store's own binary form, for messages and files of dirty rows: numbers
//! and times of PostgreSQL. Values in other forms are shown as hexadecimal digits.

use transload_plugin_api::{NativeEncoding, NativeForm};

use crate::{Ticks, calendar::DAY_MICROS, write};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i64 = 10_957;

/// The binary forms that have a text here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeText {
    /// PostgreSQL's `numeric`.
    Numeric,
    /// PostgreSQL's `date`.
    Date,
    /// PostgreSQL's `time`.
    Time,
    /// PostgreSQL's `timestamp`.
    Timestamp,
    /// PostgreSQL's `timestamp with time zone`.
    TimestampTz,
    /// PostgreSQL's `interval`.
    Interval,
}

impl NativeText {
    /// The form's text; `None` if it has none.
    pub fn of(form: &NativeForm) -> Option<Self> {
        if form.store != "PostgreSQL" || form.encoding != NativeEncoding::Binary {
            return None;
        }
        let name = form.type_name.as_str();
        if name.ends_with(']') {
            return None;
        }
        let first = name.split(['(', ' ', ',']).next().unwrap_or_default();
        match first {
            "numeric" => Some(Self::Numeric),
            "date" => Some(Self::Date),
            "time" if name.ends_with("without time zone") => Some(Self::Time),
            "timestamp" if name.ends_with("without time zone") => Some(Self::Timestamp),
            "timestamp" => Some(Self::TimestampTz),
            "interval" => Some(Self::Interval),
            _ => None,
        }
    }

    /// Appends the text of a value; its digits in hexadecimal if the form has no such value.
    pub fn write(self, value: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if self.try_write(value, out).is_none() {
            out.truncate(start);
            write::hex(value, out);
        }
    }

    fn try_write(self, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Numeric => numeric(value, out)?,
            Self::Date => date(i32::from_be_bytes(value.try_into().ok()?), out),
            Self::Time => match i64::from_be_bytes(value.try_into().ok()?) {
                DAY_MICROS => out.extend_from_slice(b"24:00:00"),
                micros if (0..DAY_MICROS).contains(&micros) => {
                    write::time(micros, Ticks::new(6), out);
                }
                _ => return None,
            },
            Self::Timestamp => moment(value, b' ', out)?,
            Self::TimestampTz => {
                moment(value, b'T', out)?;
                if out.last().is_some_and(u8::is_ascii_digit) {
                    out.push(b'Z');
                }
            }
            Self::Interval => {
                let micros = i64::from_be_bytes(*value.first_chunk()?);
                let days = i32::from_be_bytes(*value.get(8..)?.first_chunk()?);
                let months = i32::from_be_bytes(value.get(12..)?.try_into().ok()?);
                out.extend_from_slice(format!("{months} mons {days} days ").as_bytes());
                write::duration(micros, Ticks::new(6), out);
            }
        }
        Some(())
    }
}

fn date(days: i32, out: &mut Vec<u8>) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        days => write::date(i64::from(days) + EPOCH_DAYS, out),
    }
}

fn moment(value: &[u8], between: u8, out: &mut Vec<u8>) -> Option<()> {
    match i64::from_be_bytes(value.try_into().ok()?) {
        i64::MAX => out.extend_from_slice(b"infinity"),
        i64::MIN => out.extend_from_slice(b"-infinity"),
        micros => {
            let micros = micros.checked_add(EPOCH_DAYS * DAY_MICROS)?;
            write::timestamp(micros, Ticks::new(6), between, out);
        }
    }
    Some(())
}

/// A number of groups, a weight, a sign and a scale of two bytes each; the groups.
fn numeric(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (head, groups) = value.split_first_chunk::<8>()?;
    let part = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (weight, scale) = (i32::from(part(2) as i16), part(6).into());
    match part(4) {
        0 => decimal_groups(weight, scale, groups, out),
        0x4000 => {
            out.push(b'-');
            decimal_groups(weight, scale, groups, out);
        }
        0xC000 => out.extend_from_slice(b"NaN"),
        0xD000 => out.extend_from_slice(b"Infinity"),
        0xF000 => out.extend_from_slice(b"-Infinity"),
        _ => return None,
    }
    Some(())
}

/// Appends the number without its sign that PostgreSQL sends as groups of four digits, two bytes
/// each: the first one stands for a multiple of `10000^weight`, and `scale` digits follow the
/// point.
pub fn decimal_groups(weight: i32, scale: usize, groups: &[u8], out: &mut Vec<u8>) {
    let group = |place: i32| -> u16 {
        let at = usize::try_from(weight - place).ok();
        at.and_then(|at| groups.get(at * 2..at * 2 + 2))
            .map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    let start = out.len();
    for place in (0..=weight).rev() {
        push_group(group(place), out);
    }
    let zeros = out[start..].iter().take_while(|digit| **digit == b'0').count();
    out.drain(start..start + zeros);
    if out.len() == start {
        out.push(b'0');
    }
    if scale > 0 {
        out.push(b'.');
        let point = out.len();
        for place in 1..=scale.div_ceil(4) as i32 {
            push_group(group(-place), out);
        }
        out.truncate(point + scale);
    }
}

fn push_group(group: u16, out: &mut Vec<u8>) {
    out.extend([1000, 100, 10, 1].map(|power| b'0' + (group / power % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(type_name: &str, value: &[u8]) -> String {
        let form = NativeForm::binary("PostgreSQL", type_name);
        let mut out = Vec::new();
        NativeText::of(&form).expect("a text").write(value, &mut out);
        String::from_utf8(out).expect("valid text")
    }

    #[test]
    fn values_are_shown_as_the_server_prints_them() {
        let number = |parts: [u16; 6]| parts.map(u16::to_be_bytes).concat();
        let span =
            [&1_500_000_i64.to_be_bytes()[..], &2_i32.to_be_bytes(), &(-1_i32).to_be_bytes()];
        for (name, value, text) in [
            ("numeric(12,2)", number([2, 0, 0x4000, 2, 12, 3400]), "-12.34"),
            ("numeric(12,2)", number([0, 0, 0xC000, 0, 0, 0]), "NaN"),
            ("date", 0_i32.to_be_bytes().to_vec(), "2000-01-01"),
            ("date", i32::MAX.to_be_bytes().to_vec(), "infinity"),
            ("time(3) without time zone", DAY_MICROS.to_be_bytes().to_vec(), "24:00:00"),
            (
                "timestamp without time zone",
                1_i64.to_be_bytes().to_vec(),
                "2000-01-01 00:00:00.000001",
            ),
            ("timestamp(0) with time zone", 0_i64.to_be_bytes().to_vec(), "2000-01-01T00:00:00Z"),
            ("timestamp with time zone", i64::MIN.to_be_bytes().to_vec(), "-infinity"),
            ("interval, with infinity", span.concat(), "-1 mons 2 days 00:00:01.5"),
            ("date", vec![1, 2], "0102"),
        ] {
            assert_eq!(shown(name, &value), text, "{name}");
        }
        for name in ["date[]", "time with time zone", "point", "daterange"] {
            assert_eq!(NativeText::of(&NativeForm::binary("PostgreSQL", name)), None, "{name}");
        }
    }
}
