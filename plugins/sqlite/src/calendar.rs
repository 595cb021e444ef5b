//! Dates, times and spans as the ISO text that SQLite's own functions understand, and back.
//! Calendar dates and wall clocks are never turned into instants, nor the reverse.

use std::io::Write as _;

use transload_values::calendar::{date_of, day_of};

const DAY: i64 = 86_400;

/// Units of a second that a fraction of `precision` digits travels in.
pub(crate) fn units_of(precision: u8) -> i64 {
    if precision <= 6 { 1_000_000 } else { 1_000_000_000 }
}

/// A number of exactly as many digits as bytes.
fn number(digits: &[u8]) -> Option<i64> {
    let mut value = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    (!digits.is_empty()).then_some(value)
}

/// `YYYY-MM-DD` in days since 1970-01-01.
pub(crate) fn parse_date(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let (year, month, day) =
        (number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    day_of(year, month as u32, day as u32)
}

/// `HH:MM:SS[.f]` in units of `precision`; digits beyond the precision must be zeros.
pub(crate) fn parse_time(text: &[u8], precision: u8) -> Option<i64> {
    let (clock, fraction) = text.split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let (hours, minutes, seconds) =
        (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let units = units_of(precision);
    Some((hours * 3600 + minutes * 60 + seconds) * units + parse_fraction(fraction, precision)?)
}

/// Nothing, or `.` and digits.
fn parse_fraction(text: &[u8], precision: u8) -> Option<i64> {
    let Some((point, digits)) = text.split_first() else { return Some(0) };
    let kept = digits.len().min(precision.into());
    let beyond = digits[kept..].iter().any(|digit| *digit != b'0');
    if *point != b'.' || digits.is_empty() || beyond {
        return None;
    }
    let places = if precision <= 6 { 6 } else { 9 };
    let value = if kept == 0 { 0 } else { number(&digits[..kept])? };
    Some(value * 10_i64.pow(places - kept as u32))
}

/// `YYYY-MM-DD HH:MM:SS[.f]`, also with `T`, in units of `precision` since 1970.
pub(crate) fn parse_timestamp(text: &[u8], precision: u8) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (gap, time) = rest.split_first()?;
    if !matches!(gap, b' ' | b'T') {
        return None;
    }
    let time = parse_time(time, precision)?;
    parse_date(date)?.checked_mul(DAY * units_of(precision))?.checked_add(time)
}

/// A timestamp that ends in `Z` or an offset `+HH:MM`, as an instant.
pub(crate) fn parse_instant(text: &[u8], precision: u8) -> Option<i64> {
    if let Some(local) = text.strip_suffix(b"Z") {
        return parse_timestamp(local, precision);
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let [sign, h1, h2, b':', m1, m2] = zone else { return None };
    let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    if hours > 23 || minutes > 59 || !matches!(sign, b'+' | b'-') {
        return None;
    }
    let offset = (hours * 3600 + minutes * 60) * units_of(precision);
    let local = parse_timestamp(local, precision)?;
    local.checked_sub(if *sign == b'-' { -offset } else { offset })
}

/// `[-]H...:MM:SS[.ffffff]` in microseconds.
pub(crate) fn parse_duration(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (minutes, fraction) = text[colon..].split_at_checked(6)?;
    let [b':', m1, m2, b':', s1, s2] = minutes else { return None };
    let (hours, minutes, seconds) =
        (number(&text[..colon])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = hours.checked_mul(3600)?.checked_add(minutes * 60 + seconds)?;
    let micros = seconds.checked_mul(1_000_000)?.checked_add(parse_fraction(fraction, 6)?)?;
    Some(if negative { -micros } else { micros })
}

/// Appends a date; `None` outside the years 0000 to 9999, which ISO text cannot say.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) -> Option<()> {
    let (year, month, day) = date_of(days);
    if !(0..=9999).contains(&year) {
        return None;
    }
    two(year / 100, out);
    two(year % 100, out);
    out.push(b'-');
    two(month.into(), out);
    out.push(b'-');
    two(day.into(), out);
    Some(())
}

/// Appends a time of day; `None` outside one day.
pub(crate) fn write_time(value: i64, units: i64, out: &mut Vec<u8>) -> Option<()> {
    let seconds = value.div_euclid(units);
    if !(0..DAY).contains(&seconds) {
        return None;
    }
    two(seconds / 3600, out);
    out.push(b':');
    two(seconds / 60 % 60, out);
    out.push(b':');
    two(seconds % 60, out);
    write_fraction(value.rem_euclid(units), units, out);
    Some(())
}

/// Appends `YYYY-MM-DD HH:MM:SS[.f]`.
pub(crate) fn write_timestamp(value: i64, units: i64, out: &mut Vec<u8>) -> Option<()> {
    let day = DAY * units;
    write_date(value.div_euclid(day), out)?;
    out.push(b' ');
    write_time(value.rem_euclid(day), units, out)
}

/// Appends a span of microseconds.
pub(crate) fn write_duration(micros: i64, out: &mut Vec<u8>) {
    if micros < 0 {
        out.push(b'-');
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{:02}", seconds / 3600);
    out.push(b':');
    two((seconds / 60 % 60) as i64, out);
    out.push(b':');
    two((seconds % 60) as i64, out);
    write_fraction((micros % 1_000_000) as i64, 1_000_000, out);
}

/// Nothing for whole seconds, else six digits, or nine where six lose something.
fn write_fraction(fraction: i64, units: i64, out: &mut Vec<u8>) {
    if fraction == 0 {
        return;
    }
    // Writing to a Vec cannot fail.
    let _ = if units == 1_000_000 {
        write!(out, ".{fraction:06}")
    } else if fraction % 1000 == 0 {
        write!(out, ".{:06}", fraction / 1000)
    } else {
        write!(out, ".{fraction:09}")
    };
}

fn two(value: i64, out: &mut Vec<u8>) {
    out.push(b'0' + (value / 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn t25_dates_are_calendar_dates() {
        for (date, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
            ("2000-02-29", 11_016),
        ] {
            assert_eq!(parse_date(date.as_bytes()), Some(days), "{date}");
            assert_eq!(text(|out| write_date(days, out).unwrap()), date);
        }
        assert_eq!(write_date(2_932_897, &mut Vec::new()), None);
    }

    #[test]
    fn dates_that_are_none_are_refused() {
        for date in
            ["", "2023-02-29", "2024-00-10", "2024-13-01", "24-01-01", "2024-1-01", "2460310"]
        {
            assert_eq!(parse_date(date.as_bytes()), None, "{date}");
        }
    }

    #[test]
    fn t23_fractions_are_kept_or_refused() {
        for (clock, precision, wanted) in [
            ("00:00:00", 6, Some(0)),
            ("23:59:59.999999", 6, Some(86_399_999_999)),
            ("00:00:01.5", 6, Some(1_500_000)),
            ("00:00:01.500000000", 6, Some(1_500_000)),
            ("00:00:01.123456789", 9, Some(1_123_456_789)),
            ("00:00:01.1234567", 6, None),
            ("00:00:01.5", 0, None),
            ("00:00:01.0", 0, Some(1_000_000)),
            ("24:00:00", 6, None),
            ("00:00:60", 6, None),
            ("00:00:01.", 6, None),
            ("0:00:01", 6, None),
        ] {
            assert_eq!(parse_time(clock.as_bytes(), precision), wanted, "{clock}");
        }
    }

    #[test]
    fn t24_wall_clocks_and_instants_stay_apart() {
        let wall = parse_timestamp(b"2024-03-31 02:30:00", 6).unwrap();
        assert_eq!(parse_timestamp(b"2024-03-31T02:30:00", 6), Some(wall));
        assert_eq!(parse_instant(b"2024-03-31 04:30:00+02:00", 6), Some(wall));
        assert_eq!(parse_instant(b"2024-03-30 23:30:00-03:00", 6), Some(wall));
        assert_eq!(parse_instant(b"2024-03-31T02:30:00Z", 6), Some(wall));
        assert_eq!(parse_instant(b"2024-03-31 02:30:00", 6), None);
        assert_eq!(parse_timestamp(b"2024-03-31 02:30:00Z", 6), None);
    }

    #[test]
    fn durations_go_beyond_a_day() {
        let micros = -(838 * 3600 + 59 * 60 + 59) * 1_000_000 - 999_999;
        assert_eq!(parse_duration(b"-838:59:59.999999"), Some(micros));
        assert_eq!(text(|out| write_duration(micros, out)), "-838:59:59.999999");
        assert_eq!(text(|out| write_duration(0, out)), "00:00:00");
        for bad in ["", "1:2:3", "00:60:00", "00:00:60", "a:00:00", "99999999999999999:00:00"] {
            assert_eq!(parse_duration(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn timestamps_read_back(value in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            let micros = text(|out| write_timestamp(value, 1_000_000, out).unwrap());
            prop_assert_eq!(parse_timestamp(micros.as_bytes(), 6), Some(value));
        }

        #[test]
        fn nanoseconds_read_back(value in any::<i64>()) {
            let nanos = text(|out| write_timestamp(value, 1_000_000_000, out).unwrap());
            prop_assert_eq!(parse_timestamp(nanos.as_bytes(), 9), Some(value));
        }

        #[test]
        fn any_span_reads_back(micros in -i64::MAX..i64::MAX) {
            let span = text(|out| write_duration(micros, out));
            prop_assert_eq!(parse_duration(span.as_bytes()), Some(micros));
        }
    }
}
