//! Texts of dates, times, timestamps and durations to counts of days and ticks. Calendar dates stay
//! calendar dates: no time zone is consulted.

use super::{Parse, digits};
use crate::{
    Fault, Ticks,
    calendar::{DAY_SECONDS, day_of, is_leap},
};

fn checked_days(year: i64, month: u32, day: u32) -> Result<i64, Fault> {
    day_of(year, month, day).ok_or(Fault::Range)
}

/// Days before the first of each month, of a year that begins in March; months count from 1.
const DAYS_BEFORE: [u32; 16] = [0, 306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 0, 0, 0];
/// Days of each month in a leap year; none for what is no month.
const DAYS_OF: [u32; 16] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];

/// The days of `YYYY-MM-DD`, all of it in a few operations on one word, without a branch that
/// depends on the date. `None` leaves the reason to `odd_date_prefix`.
#[inline(always)]
fn plain_date(text: &[u8; 10]) -> Option<u32> {
    let [a, b, c, d, e, f, g, h, i, j] = *text;
    // digits become their values, the two separators zero
    let word = u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ 0x2D30_302D_3030_3030;
    let (tens, ones) = (i ^ b'0', j ^ b'0');
    let wrong = (word.wrapping_add(0x7F76_767F_7676_7676) | word) & 0x8080_8080_8080_8080;
    if wrong != 0 || tens > 9 || ones > 9 {
        return None;
    }
    let pairs = (word.wrapping_mul(10) + (word >> 8)) as u32;
    let year = (pairs & 0xFF) * 100 + (pairs >> 16 & 0xFF);
    let month = (word >> 40 & 0xFF) as u32 * 10 + (word >> 48 & 0xFF) as u32;
    let day = u32::from(tens * 10 + ones);
    if month > 12 || day == 0 || day > DAYS_OF[month as usize & 15] {
        return None;
    }
    if month == 2 && day == 29 && !is_leap(i64::from(year)) {
        return None;
    }
    // one era more, so that March of the year -1 is not below zero
    let year = year + 400 - u32::from(month <= 2);
    Some(year * 365 + year / 4 - year / 100 + year / 400 + DAYS_BEFORE[month as usize & 15] + day)
}

/// What `plain_date` counts for 1970-01-01.
const PLAIN_EPOCH: i64 = 719_469 + 146_097;

/// A date at the start of `text`: days, and the rest of the text.
#[inline(always)]
fn date_prefix(text: &[u8]) -> Result<(i64, &[u8]), Fault> {
    if let Some((head, rest)) = text.split_first_chunk::<10>()
        && let Some(days) = plain_date(head)
    {
        return Ok((i64::from(days) - PLAIN_EPOCH, rest));
    }
    odd_date_prefix(text)
}

/// A date with a sign, or one that is wrong.
#[cold]
fn odd_date_prefix(text: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let looks_right = text.split_first_chunk::<10>().is_some_and(|(head, _)| {
        head.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    });
    if looks_right { Err(Fault::Range) } else { signed_date_prefix(text) }
}

/// A date whose year needs a sign: `+12345-01-01`, `-0044-03-15` (ISO 8601, year 0 is 1 BC).
fn signed_date_prefix(text: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let (negative, rest) = match text {
        [b'+', rest @ ..] => (false, rest),
        [b'-', rest @ ..] => (true, rest),
        _ => return Err(Fault::Parse),
    };
    let length = rest.iter().position(|byte| *byte == b'-').ok_or(Fault::Parse)?;
    if !(4..=8).contains(&length) {
        return Err(Fault::Parse);
    }
    let year = i64::from(digits::up_to_8(rest, 0, length).ok_or(Fault::Parse)?);
    let Some((month_day, rest)) = rest[length..].split_first_chunk::<6>() else {
        return Err(Fault::Parse);
    };
    let (Some(month), Some(day)) = (digits::two(month_day, 1), digits::two(month_day, 4)) else {
        return Err(Fault::Parse);
    };
    if month_day[0] != b'-' || month_day[3] != b'-' {
        return Err(Fault::Parse);
    }
    Ok((checked_days(if negative { -year } else { year }, month, day)?, rest))
}

/// Calendar dates, as days since 1970-01-01.
pub(crate) struct Date;

impl Parse for Date {
    type Value = i32;

    #[inline(always)]
    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i32, Fault> {
        let (days, rest) = date_prefix(&window[start..end])?;
        if !rest.is_empty() {
            return Err(Fault::Parse);
        }
        i32::try_from(days).map_err(|_| Fault::Range)
    }
}

/// The ticks of `.ffffff` at the start of `text`, and the rest; zero if there is no point.
fn fraction_prefix(ticks: Ticks, text: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let [b'.', rest @ ..] = text else { return Ok((0, text)) };
    let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, rest) = rest.split_at(length);
    if fraction.is_empty() {
        return Err(Fault::Parse);
    }
    if fraction.iter().skip(usize::from(ticks.precision)).any(|digit| *digit != b'0') {
        return Err(Fault::Range);
    }
    let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(ticks.digits());
    Ok((padded.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')), rest))
}

/// `HH:MM:SS` at the start of `text`: seconds, and the rest.
fn clock_prefix(text: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let Some((head, rest)) = text.split_first_chunk::<8>() else { return Err(Fault::Parse) };
    let number = |at| digits::two(head, at);
    let (Some(hours), Some(minutes), Some(seconds)) = (number(0), number(3), number(6)) else {
        return Err(Fault::Parse);
    };
    if head[2] != b':' || head[5] != b':' {
        return Err(Fault::Parse);
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return Err(Fault::Range);
    }
    Ok((i64::from(hours * 3600 + minutes * 60 + seconds), rest))
}

/// Times of day, as ticks since midnight.
pub(crate) struct Time(pub(crate) Ticks);

impl Parse for Time {
    type Value = i64;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i64, Fault> {
        let (seconds, rest) = clock_prefix(&window[start..end])?;
        let (fraction, rest) = fraction_prefix(self.0, rest)?;
        if rest.is_empty() {
            Ok(seconds * self.0.per_second() + fraction)
        } else {
            Err(Fault::Parse)
        }
    }
}

/// Timestamps, as ticks since 1970-01-01 00:00:00: of the wall clock, or of UTC where an offset
/// is required.
pub(crate) struct Timestamp {
    pub(crate) ticks: Ticks,
    pub(crate) offset: bool,
}

impl Parse for Timestamp {
    type Value = i64;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i64, Fault> {
        let (days, rest) = date_prefix(&window[start..end])?;
        let [b' ' | b'T' | b't', rest @ ..] = rest else { return Err(Fault::Parse) };
        let (seconds, rest) = clock_prefix(rest)?;
        let (fraction, rest) = fraction_prefix(self.ticks, rest)?;
        let offset = match (self.offset, rest) {
            (true, rest) => offset(rest)?,
            (false, []) => 0,
            (false, _) => return Err(Fault::Parse),
        };
        let seconds = days * DAY_SECONDS + seconds - offset;
        // through 128 bits: the first ticks that fit begin below the last whole second that fits
        let ticks =
            i128::from(seconds) * i128::from(self.ticks.per_second()) + i128::from(fraction);
        i64::try_from(ticks).map_err(|_| Fault::Range)
    }
}

/// Seconds east of UTC: `Z`, `UTC`, `+HH`, `+HHMM`, `+HH:MM`, `+HH:MM:SS`; one blank may precede.
pub(crate) fn offset(text: &[u8]) -> Result<i64, Fault> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (negative, rest) = match text {
        b"Z" | b"z" | b"UTC" => return Ok(0),
        [b'+', rest @ ..] => (false, rest),
        [b'-', rest @ ..] => (true, rest),
        _ => return Err(Fault::Parse),
    };
    let (hours, minutes, seconds) = match rest {
        [_, _] => (digits::two(rest, 0), Some(0), Some(0)),
        [_, _, _, _] => (digits::two(rest, 0), digits::two(rest, 2), Some(0)),
        [_, _, b':', _, _] => (digits::two(rest, 0), digits::two(rest, 3), Some(0)),
        [_, _, b':', _, _, b':', _, _] => {
            (digits::two(rest, 0), digits::two(rest, 3), digits::two(rest, 6))
        }
        _ => return Err(Fault::Parse),
    };
    let (Some(hours), Some(minutes), Some(seconds)) = (hours, minutes, seconds) else {
        return Err(Fault::Parse);
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return Err(Fault::Range);
    }
    let seconds = i64::from(hours * 3600 + minutes * 60 + seconds);
    Ok(if negative { -seconds } else { seconds })
}

/// Signed spans in microseconds, as many hours as it takes.
pub(crate) struct Duration;

impl Parse for Duration {
    type Value = i64;

    fn parse(&self, window: &[u8], start: usize, end: usize) -> Result<i64, Fault> {
        let (negative, text) = match &window[start..end] {
            [b'-', rest @ ..] => (true, rest),
            text => (false, text),
        };
        let length = text.iter().position(|byte| *byte == b':').ok_or(Fault::Parse)?;
        let hours = digits::up_to_16(text, 0, length).ok_or(Fault::Parse)?;
        let Some((head, rest)) = text[length..].split_first_chunk::<6>() else {
            return Err(Fault::Parse);
        };
        let (Some(minutes), Some(seconds)) = (digits::two(head, 1), digits::two(head, 4)) else {
            return Err(Fault::Parse);
        };
        let (fraction, rest) = fraction_prefix(Ticks::new(6), rest)?;
        if head[3] != b':' || !rest.is_empty() {
            return Err(Fault::Parse);
        }
        if minutes > 59 || seconds > 59 {
            return Err(Fault::Range);
        }
        let seconds = i128::from(hours) * 3600 + i128::from(minutes * 60 + seconds);
        let ticks = seconds * 1_000_000 + i128::from(fraction);
        i64::try_from(if negative { -ticks } else { ticks }).map_err(|_| Fault::Range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::date_of;

    fn parse<P: Parse>(parser: &P, text: &str) -> Result<P::Value, Fault> {
        parser.parse(text.as_bytes(), 0, text.len())
    }

    #[test]
    fn t25_dates_are_calendar_dates() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
            ("0000-01-01", -719_528),
            ("+10000-01-01", 2_932_897),
            ("-0044-03-15", -735_525),
        ] {
            assert_eq!(parse(&Date, text), Ok(days), "{text}");
        }
    }

    #[test]
    fn plain_dates_are_counted_as_the_calendar_counts_them() {
        for days in (-800_000..-600_000).chain(-30_000..60_000).chain(2_900_000..3_000_000) {
            let (year, month, day) = date_of(days);
            if (0..=9999).contains(&year) {
                let two = |value: u32| [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
                let ([a, b], [c, d]) = (two(year as u32 / 100), two(year as u32 % 100));
                let ([e, f], [g, h]) = (two(month), two(day));
                let text = [a, b, c, d, b'-', e, f, b'-', g, h];
                assert_eq!(
                    plain_date(&text).map(|plain| i64::from(plain) - PLAIN_EPOCH),
                    Some(days)
                );
            }
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "1999-02-29",
            "1900-02-29",
            "2001-04-31",
            "2001-00-10",
            "2001-13-01",
            "2001-01-00",
            "0000-00-00",
            "2001-01-32",
        ] {
            assert_eq!(parse(&Date, text), Err(Fault::Range), "{text}");
        }
        for text in [
            "",
            "2001-1-1",
            "01-01-2001",
            "2001/01/01",
            "2001-01-01 ",
            " 2001-01-01",
            "2001-01-0x",
            "+1-01-01",
            "20010101",
            "2001-01-01T00:00:00",
        ] {
            assert_eq!(parse(&Date, text), Err(Fault::Parse), "{text}");
        }
    }

    #[test]
    fn times_keep_their_digits() {
        let time = |precision, text| parse(&Time(Ticks::new(precision)), text);
        assert_eq!(time(6, "00:00:00"), Ok(0));
        assert_eq!(time(6, "23:59:59.999999"), Ok(86_399_999_999));
        assert_eq!(time(9, "00:00:00.000000001"), Ok(1));
        assert_eq!(time(3, "00:00:00.123000"), Ok(123_000));
        assert_eq!(time(3, "00:00:00.1234"), Err(Fault::Range));
        assert_eq!(time(0, "00:00:00.5"), Err(Fault::Range));
        assert_eq!(time(6, "24:00:00"), Err(Fault::Range));
        assert_eq!(time(6, "23:59:60"), Err(Fault::Range));
        for text in ["", "1:00:00", "00:00", "00:00:00.", "00:00:00Z", "00-00-00"] {
            assert_eq!(time(6, text), Err(Fault::Parse), "{text}");
        }
    }

    #[test]
    fn wall_clocks_have_no_offset_and_instants_must() {
        let wall = Timestamp { ticks: Ticks::new(6), offset: false };
        let instant = Timestamp { ticks: Ticks::new(6), offset: true };
        assert_eq!(parse(&wall, "1970-01-01 00:00:01.5"), Ok(1_500_000));
        assert_eq!(parse(&wall, "1969-12-31T23:59:59.999999"), Ok(-1));
        assert_eq!(parse(&wall, "1970-01-01 00:00:00Z"), Err(Fault::Parse));
        assert_eq!(parse(&wall, "1970-01-01"), Err(Fault::Parse));
        assert_eq!(parse(&instant, "1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(parse(&instant, "1970-01-01 02:00:00+02:00"), Ok(0));
        assert_eq!(parse(&instant, "1970-01-01 00:00:00-0330"), Ok(12_600_000_000));
        assert_eq!(parse(&instant, "1970-01-01 00:00:00+00"), Ok(0));
        assert_eq!(parse(&instant, "1970-01-01 00:00:00 UTC"), Ok(0));
        assert_eq!(parse(&instant, "1970-01-01 02:00:00.000 +0200"), Ok(0));
        assert_eq!(parse(&instant, "1970-01-01 00:53:28+00:53:28"), Ok(0));
        assert_eq!(parse(&instant, "1970-01-01 00:00:00+24"), Err(Fault::Range));
        for text in [
            "1970-01-01 00:00:00",
            "1970-01-01 00:00:00  UTC",
            "1970-01-01 00:00:00 utc",
            "1970-01-01 00:00:00 CET",
            "1970-01-01 00:00:00+2",
            "1970-01-01 00:00:00+02:0",
            "1970-01-01 00:00:00+020",
            "1970-01-01 00:00:00+02:00:0",
        ] {
            assert_eq!(parse(&instant, text), Err(Fault::Parse), "{text}");
        }
    }

    #[test]
    fn timestamps_end_where_64_bits_end() {
        let nanos = Timestamp { ticks: Ticks::new(9), offset: false };
        assert_eq!(parse(&nanos, "2262-04-11 23:47:16.854775807"), Ok(i64::MAX));
        assert_eq!(parse(&nanos, "2262-04-11 23:47:16.854775808"), Err(Fault::Range));
        assert_eq!(parse(&nanos, "1677-09-21 00:12:43.145224192"), Ok(i64::MIN));
        assert_eq!(parse(&nanos, "1677-09-21 00:12:43.145224191"), Err(Fault::Range));
        let micros = Timestamp { ticks: Ticks::new(6), offset: false };
        assert_eq!(parse(&micros, "+294247-01-10 04:00:54.775807"), Ok(i64::MAX));
        assert_eq!(parse(&micros, "+294247-01-10 04:00:54.775808"), Err(Fault::Range));
    }

    #[test]
    fn durations_go_beyond_a_day_and_below_zero() {
        assert_eq!(parse(&Duration, "-838:59:59.999999"), Ok(-3_020_399_999_999));
        assert_eq!(parse(&Duration, "0:00:00"), Ok(0));
        assert_eq!(parse(&Duration, "00:60:00"), Err(Fault::Range));
        assert_eq!(parse(&Duration, "00:00:00.0000001"), Err(Fault::Range));
        assert_eq!(parse(&Duration, "9999999999999999:00:00"), Err(Fault::Range));
        for text in ["", ":00:00", "1:0:0", "1:00", "1:00:00x", "--1:00:00"] {
            assert_eq!(parse(&Duration, text), Err(Fault::Parse), "{text}");
        }
    }
}
