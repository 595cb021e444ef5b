//! The calendar behind [`transload_plugin_api::LogicalType::Date`]: days counted from 1970-01-01
//! in the Gregorian calendar, extended in both directions. No time zone is consulted. How a date
//! is written is left to [`crate::write`].

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;
/// Microseconds of a day.
pub const DAY_MICROS: i64 = DAY_SECONDS * 1_000_000;

/// Whether a year has a 29 February. Year 0 is 1 BC.
#[inline]
pub const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a common year before each month.
const DAYS_BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// The day of a date; `None` for a date that does not exist (`2023-02-29`, `2024-00-10`).
#[inline]
pub const fn day_of(year: i64, month: u32, day: u32) -> Option<i64> {
    let leap = is_leap(year);
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > longest {
        return None;
    }
    let day_of_year = DAYS_BEFORE[month as usize - 1] + (leap && month > 2) as u32 + day - 1;
    if year >= 1 && year <= u16::MAX as i64 {
        // small numbers without a sign divide faster, and nearly all years are such
        let before = year as u32 - 1;
        let years = before * 365 + before / 4 - before / 100 + before / 400;
        return Some((years + day_of_year) as i64 - 719_162);
    }
    Some(first_day_of(year) + day_of_year as i64)
}

/// The day of 1 January of a year.
pub const fn first_day_of(year: i64) -> i64 {
    let before = year - 1;
    let leaps = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    before * 365 + leaps - 719_162
}

/// Year, month and day of a day; the inverse of [`day_of`].
#[inline]
pub fn date_of(day: i64) -> (i64, u32, u32) {
    // Four eras more, so that the days of the years from -1600 on are numbers without a sign.
    const ERAS: i64 = 4;
    let shifted = day + 719_468;
    match u32::try_from(shifted + ERAS * 146_097) {
        Ok(days) if days < 1 << 28 => {
            let (year, month, day) = civil(days);
            (i64::from(year) - ERAS * 400, month, day)
        }
        _ => {
            let (year, month, day) = civil(shifted.rem_euclid(146_097) as u32);
            (i64::from(year) + shifted.div_euclid(146_097) * 400, month, day)
        }
    }
}

/// Year, month and day of a count of days from 1 March of year 0, with few divisions: Neri and
/// Schneider, Euclidean affine functions and their application to calendar algorithms (2022).
#[inline]
fn civil(days: u32) -> (u32, u32, u32) {
    let quarters = 4 * days + 3;
    let century = quarters / 146_097;
    let product = 2_939_745 * u64::from((quarters % 146_097) | 3);
    let year = 100 * century + (product >> 32) as u32;
    let day_of_year = product as u32 / 2_939_745 / 4;
    let months = 2_141 * day_of_year + 197_913;
    let (month, day) = (months >> 16, (months & 0xffff) / 2_141 + 1);
    // The year begins in March here.
    if day_of_year >= 306 { (year + 1, month - 12, day) } else { (year, month, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t25_known_days() {
        for (date, day) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((1, 1, 1), -719_162),
            ((9999, 12, 31), 2_932_896),
            ((-44, 3, 15), -735_525),
        ] {
            assert_eq!(day_of(date.0, date.1, date.2), Some(day), "{date:?}");
            assert_eq!(date_of(day), date);
        }
    }

    #[test]
    fn every_day_is_one_more_than_the_day_before() {
        for day in (-800_000..-600_000).chain(-30_000..60_000).chain(2_900_000..3_000_000) {
            let (year, month, date) = date_of(day);
            assert_eq!(day_of(year, month, date), Some(day));
        }
        for day in [i64::from(i32::MIN), i64::from(i32::MAX)] {
            let (year, month, date) = date_of(day);
            assert_eq!(day_of(year, month, date), Some(day));
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for (year, month, day) in [
            (1999, 2, 29),
            (1900, 2, 29),
            (2001, 4, 31),
            (2001, 0, 10),
            (2001, 13, 1),
            (2001, 1, 0),
            (2001, 1, 32),
            (0, 0, 0),
        ] {
            assert_eq!(day_of(year, month, day), None, "{year}-{month}-{day}");
        }
    }
}
