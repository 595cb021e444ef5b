//! Calendar dates as days since 1970-01-01, in the proleptic Gregorian calendar.

/// Days since 1970-01-01 (<https://howardhinnant.github.io/date_algorithms.html>).
pub(crate) const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `YYYY-MM-DD` as days since 1970-01-01; `None` for other text and for invalid dates.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut part = |digits: usize| {
        let part = parts.next().filter(|part| part.len() == digits)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let valid = (1..=12).contains(&month)
        && (1..=days(next.0, next.1, 1) - days(year, month, 1)).contains(&day);
    (valid && parts.next().is_none()).then(|| days(year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        for (text, day) in [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(-1)),
            ("2000-02-29", Some(11_016)),
            ("0001-01-01", Some(-719_162)),
            ("9999-12-31", Some(2_932_896)),
            ("1900-02-29", None),
            ("2024-13-01", None),
            ("2024-00-10", None),
            ("2024-1-1", None),
            ("2024-01-01-01", None),
            ("+024-01-01", None),
        ] {
            assert_eq!(parse(text), day, "{text}");
        }
    }
}
