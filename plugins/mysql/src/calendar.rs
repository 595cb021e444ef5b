//! Days, times and spans as the digits that the server reads, and back from its packets.

use itoa::Buffer;
use transload_values::calendar::{date_of, is_leap};

/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400_000_000;
/// The longest span of a `TIME`: 838:59:59.999999.
pub(crate) const LONGEST: i64 = 3_020_399_999_999;

/// The day of a date, `None` for one that is not in the calendar (`2024-00-10`, `2023-02-29`).
pub(crate) fn days(year: i64, month: u32, date: u32) -> Option<i32> {
    let leap = is_leap(year);
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if date == 0 || date > longest || !(1..=i64::from(u16::MAX)).contains(&year) {
        return None;
    }
    // Small numbers: this runs for every date that is read.
    let before = year as u32 - 1;
    let years = before * 365 + before / 4 - before / 100 + before / 400;
    let of_year = MONTHS[month as usize - 1] + u32::from(leap && month > 2) + date - 1;
    Some((years + of_year) as i32 - 719_162)
}

/// Days of a common year before each month.
const MONTHS: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

fn two(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

/// Appends `YYYY-MM-DD`; `false`, with nothing appended, outside the years 1 to 9999.
pub(crate) fn put_date(day: i64, out: &mut Vec<u8>) -> bool {
    let (year, month, date) = date_of(day);
    if !(1..=9999).contains(&year) {
        return false;
    }
    two(year as u32 / 100, out);
    two(year as u32 % 100, out);
    out.push(b'-');
    two(month, out);
    out.push(b'-');
    two(date, out);
    true
}

/// Appends `[-]HH:MM:SS`, hours beyond 99 too, and the fraction where there is one.
pub(crate) fn put_span(micros: i64, out: &mut Vec<u8>) {
    if micros < 0 {
        out.push(b'-');
    }
    let all = micros.unsigned_abs();
    let (seconds, fraction) = (all / 1_000_000, all % 1_000_000);
    let hours = seconds / 3600;
    if hours > 99 {
        out.extend_from_slice(Buffer::new().format(hours).as_bytes());
    } else {
        two(hours as u32, out);
    }
    out.push(b':');
    two((seconds / 60 % 60) as u32, out);
    out.push(b':');
    two((seconds % 60) as u32, out);
    if fraction > 0 {
        out.push(b'.');
        two(fraction as u32 / 10_000, out);
        two(fraction as u32 / 100, out);
        two(fraction as u32, out);
    }
}

/// Appends `YYYY-MM-DD HH:MM:SS[.ffffff]`; `false`, with nothing appended, outside the years.
pub(crate) fn put_moment(micros: i64, out: &mut Vec<u8>) -> bool {
    if !put_date(micros.div_euclid(DAY), out) {
        return false;
    }
    out.push(b' ');
    put_span(micros.rem_euclid(DAY), out);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moment(micros: i64) -> String {
        let mut out = Vec::new();
        assert!(put_moment(micros, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_are_written_as_the_server_reads_them() {
        assert_eq!(moment(0), "1970-01-01 00:00:00");
        assert_eq!(moment(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(moment(1_709_210_096_000_100), "2024-02-29 12:34:56.000100");
        assert!(!put_date(2_932_897, &mut Vec::new()));
        assert!(!put_date(-719_163, &mut Vec::new()));
    }

    #[test]
    fn t26_spans_beyond_a_day_and_below_zero() {
        for (micros, text) in [
            (LONGEST, "838:59:59.999999"),
            (-LONGEST, "-838:59:59.999999"),
            (0, "00:00:00"),
            (-1, "-00:00:00.000001"),
        ] {
            let mut out = Vec::new();
            put_span(micros, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn t16_days_outside_the_calendar_are_none() {
        for (year, month, date) in
            [(0, 0, 0), (2024, 0, 10), (2024, 1, 0), (0, 1, 1), (2023, 2, 29), (2024, 13, 1)]
        {
            assert_eq!(days(year, month, date), None, "{year}-{month}-{date}");
        }
        assert_eq!(days(2024, 2, 29), Some(19_782));
    }

    proptest! {
        #[test]
        fn days_read_back(day in -719_162i32..=2_932_896) {
            let (year, month, date) = date_of(day.into());
            prop_assert_eq!(days(year, month, date), Some(day));
        }
    }
}
