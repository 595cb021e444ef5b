//! Dates, times, timestamps and durations to their texts. Nothing is checked: a dialect that knows
//! fewer years refuses the others itself.

use std::io::Write as _;

use super::integer;
use crate::{
    Ticks,
    calendar::{DAY_SECONDS, date_of},
};

/// The two digits of each number below 100.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// The last two digits of a number.
#[inline]
fn two(value: u32) -> [u8; 2] {
    PAIRS[(value % 100) as usize]
}

/// Appends `YYYY-MM-DD`; years outside of 0 to 9999 get a sign and at least four digits.
#[inline]
pub fn date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = date_of(days);
    if (0..=9999).contains(&year) {
        let year = year as u32;
        let ([a, b], [c, d], [e, f], [g, h]) = (two(year / 100), two(year), two(month), two(day));
        out.extend_from_slice(&[a, b, c, d, b'-', e, f, b'-', g, h]);
    } else {
        // writing to a vector cannot fail
        let _ = write!(out, "{year:+05}-{month:02}-{day:02}");
    }
}

/// Appends `HH:MM:SS[.f]` of a time of day: ticks from 0 to less than a day.
#[inline]
pub fn time(value: i64, ticks: Ticks, out: &mut Vec<u8>) {
    clock((value / ticks.per_second()) as u32, out);
    fraction((value % ticks.per_second()) as u32, ticks, out);
}

#[inline]
fn clock(seconds: u32, out: &mut Vec<u8>) {
    let ([a, b], [c, d], [e, f]) = (two(seconds / 3600), two(seconds / 60 % 60), two(seconds % 60));
    out.extend_from_slice(&[a, b, b':', c, d, b':', e, f]);
}

/// `.ffffff`; nothing for a whole second. See [`Ticks::padded`] for zeros at the end.
#[inline]
fn fraction(value: u32, ticks: Ticks, out: &mut Vec<u8>) {
    if value != 0 {
        nonzero_fraction(value, ticks, out);
    }
}

fn nonzero_fraction(value: u32, ticks: Ticks, out: &mut Vec<u8>) {
    let mut text = *b".000000000";
    let (mut rest, mut place) = (value, ticks.digits());
    while place > 0 {
        text[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
        place -= 1;
    }
    let shortest = if ticks.padded { 6 } else { 1 };
    let step = if ticks.padded { 3 } else { 1 };
    let mut digits = ticks.digits();
    while digits > shortest && text[digits + 1 - step..=digits].iter().all(|digit| *digit == b'0') {
        digits -= step;
    }
    out.extend_from_slice(&text[..=digits]);
}

/// Appends a date, `between`, and a time of day: ticks since 1970-01-01 00:00:00.
#[inline]
pub fn timestamp(value: i64, ticks: Ticks, between: u8, out: &mut Vec<u8>) {
    let seconds = value.div_euclid(ticks.per_second());
    date(seconds.div_euclid(DAY_SECONDS), out);
    out.push(between);
    clock(seconds.rem_euclid(DAY_SECONDS) as u32, out);
    fraction(value.rem_euclid(ticks.per_second()) as u32, ticks, out);
}

/// Appends `[-]H:MM:SS[.f]`, with at least two digits of hours, of a signed count of ticks.
pub fn duration(value: i64, ticks: Ticks, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let value = value.unsigned_abs();
    let seconds = value / ticks.per_second().unsigned_abs();
    let (hours, minutes, rest) =
        (seconds / 3600, (seconds / 60 % 60) as u32, (seconds % 60) as u32);
    if hours < 100 {
        out.extend_from_slice(&two(hours as u32));
    } else {
        integer(hours, out);
    }
    let ([a, b], [c, d]) = (two(minutes), two(rest));
    out.extend_from_slice(&[b':', a, b, b':', c, d]);
    fraction((value % ticks.per_second().unsigned_abs()) as u32, ticks, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fractions_have_the_digits_that_they_need() {
        let at = |value, ticks| text(|out| time(value, ticks, out));
        for (value, trimmed, padded) in [
            (0, "00:00:00", "00:00:00"),
            (500_000, "00:00:00.5", "00:00:00.500000"),
            (1, "00:00:00.000001", "00:00:00.000001"),
        ] {
            assert_eq!(at(value, Ticks::new(6)), trimmed);
            assert_eq!(at(value, Ticks::new(6).padded()), padded);
        }
        for (value, trimmed, padded) in [
            (500_000_000, "00:00:00.5", "00:00:00.500000"),
            (1_000, "00:00:00.000001", "00:00:00.000001"),
            (1_100, "00:00:00.0000011", "00:00:00.000001100"),
            (1, "00:00:00.000000001", "00:00:00.000000001"),
        ] {
            assert_eq!(at(value, Ticks::new(9)), trimmed);
            assert_eq!(at(value, Ticks::new(9).padded()), padded);
        }
    }

    #[test]
    fn t26_durations_beyond_a_day_and_below_zero() {
        for (micros, written) in [
            (3_020_399_999_999, "838:59:59.999999"),
            (-3_020_399_999_999, "-838:59:59.999999"),
            (0, "00:00:00"),
            (-1, "-00:00:00.000001"),
            (i64::MIN, "-2562047788:00:54.775808"),
        ] {
            assert_eq!(text(|out| duration(micros, Ticks::new(6), out)), written);
        }
    }
}
