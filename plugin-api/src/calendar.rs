//! The calendar behind [`crate::LogicalType::Date`]: days counted from 1970-01-01 in the
//! Gregorian calendar, carried on in both directions. No zone of any machine is asked for
//! anything; how a date is written is the stores' business.

/// Whether a year has a 29 February. Year 0 is 1 BC.
#[inline]
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The day of a date; `None` for a date that never was (`2023-02-29`, `2024-00-10`).
///
/// Counts from 1 March of the 400-year era, so that a leap day is the last of its year
/// (<https://howardhinnant.github.io/date_algorithms.html#days_from_civil>).
#[inline]
pub fn day_of(year: i64, month: u32, day: u32) -> Option<i64> {
    let longest = match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > longest {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Year, month and day of a day; the inverse of [`day_of`].
#[inline]
pub fn date_of(day: i64) -> (i64, u32, u32) {
    // Four eras more, so that the years from -1600 on divide as small numbers without a sign.
    const FOUR_ERAS: i64 = 4 * 146_097;
    let shifted = day + 719_468;
    let (era, day_of_era) = match u32::try_from(shifted + FOUR_ERAS) {
        Ok(shifted) => (i64::from(shifted / 146_097) - 4, shifted % 146_097),
        Err(_) => (shifted.div_euclid(146_097), shifted.rem_euclid(146_097) as u32),
    };
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (i64::from(year_of_era) + era * 400 + i64::from(month <= 2), month, day)
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
    fn dates_that_never_were_are_none() {
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
