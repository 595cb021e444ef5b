//! Values worked out by hand, and properties over all days.

use jiff::{Timestamp, civil::date, tz::TimeZone};
use proptest::prelude::*;

use super::*;

fn at(zone: &str, text: &str) -> Zoned {
    let zone = TimeZone::get(zone).unwrap();
    text.parse::<DateTime>().unwrap().to_zoned(zone).unwrap()
}

fn value(written: &str, at: &Zoned) -> Result<String, Refusal> {
    let (base, inside) = match written.strip_prefix("${") {
        Some(inside) => (Base::Business, inside.strip_suffix('}')),
        None => (Base::Scheduled, written.strip_prefix("$[").unwrap().strip_suffix(']')),
    };
    DateExpression::read(inside.unwrap(), base)?.value(at)
}

/// Scheduled time, expression, value.
#[test]
fn values_worked_out_by_hand() {
    for (scheduled, written, expected) in [
        // The table of the scheduling parameters.
        ("2025-11-01T00:00:00", "${yyyymmdd}", "20251031"),
        ("2025-11-01T00:00:00", "$[yyyymmddhh24miss]", "20251101000000"),
        ("2025-11-01T00:00:00", "$[yyyymmdd]", "20251101"),
        ("2025-11-01T00:00:00", "${yyyy-mm-dd}", "2025-10-31"),
        ("2025-11-01T00:00:00", "${yyyymm}", "202510"),
        ("2025-11-01T00:00:00", "${yyyy}", "2025"),
        ("2025-11-01T00:00:00", "${mm}", "10"),
        ("2025-11-01T00:00:00", "${dd}", "31"),
        ("2025-11-01T00:00:00", "${yyyy/mm/dd}", "2025/10/31"),
        ("2025-11-01T00:00:00", "${yyyymmdd-7}", "20251024"),
        ("2025-11-01T00:00:00", "${yyyymmdd+1}", "20251101"),
        ("2025-11-01T00:00:00", "${yyyymmdd-7*2}", "20251017"),
        ("2025-11-01T00:00:00", "${yyyy-mm-dd-1}", "2025-10-30"),
        ("2025-11-01T00:00:00", "${yyyymm-1}", "202509"),
        ("2025-11-01T00:00:00", "${yyyymm-10}", "202412"),
        ("2025-11-01T00:00:00", "${yyyy-mm-1}", "2025-09"),
        ("2025-11-01T00:00:00", "${yyyy-1}", "2024"),
        ("2025-11-01T00:00:00", "${yyyy+10}", "2035"),
        ("2025-11-01T00:00:00", "$[yyyymmdd-7]", "20251025"),
        ("2025-11-01T00:00:00", "$[yyyymmdd-7*2]", "20251018"),
        ("2025-11-01T00:00:00", "$[add_months(yyyymmdd,-1)]", "20251001"),
        ("2025-11-01T00:00:00", "$[add_months(yyyymm, 2)]", "202601"),
        ("2025-11-01T00:00:00", "$[add_months(yyyymmdd,12*-1)]", "refused"),
        ("2025-11-01T00:00:00", "$[add_months(yyyymmdd,-12*1)]", "20241101"),
        ("2025-11-01T00:00:00", "$[hh24miss-1/24]", "230000"),
        ("2025-11-01T00:00:00", "$[yyyymmddhh24miss-1/24]", "20251031230000"),
        ("2025-11-01T00:00:00", "$[hh24miss-15/24/60]", "234500"),
        ("2025-11-01T00:00:00", "$[yyyymmdd-1/24]", "20251031"),
        ("2025-11-01T00:00:00", "$[yyyymmddhh24-1-1/24]", "2025103023"),
        ("2025-11-01T00:00:00", "$[yyyy-mm-dd]", "2025-11-01"),
        ("2025-11-01T00:00:00", "$[hh24:mi:ss]", "00:00:00"),
        ("2025-11-01T00:00:00", "$[yyyy-mm-dd hh24:mi:ss]", "2025-11-01 00:00:00"),
        // Other dialects write the letters otherwise.
        ("2025-11-01T00:00:00", "$[yyyyMMdd-1]", "20251031"),
        ("2025-11-01T00:00:00", "${YYYYMMDD}", "20251031"),
        // Ends of months, leap years.
        ("2024-03-01T00:00:00", "${yyyymmdd}", "20240229"),
        ("2025-03-01T00:00:00", "${yyyymmdd}", "20250228"),
        ("2100-03-01T00:00:00", "${yyyymmdd}", "21000228"),
        ("2000-03-01T00:00:00", "${yyyymmdd}", "20000229"),
        ("2024-03-31T06:30:00", "$[add_months(yyyymmdd,-1)]", "20240229"),
        ("2025-03-31T06:30:00", "$[add_months(yyyymmdd,-1)]", "20250228"),
        ("2025-02-28T00:00:00", "$[add_months(yyyymmdd,1)]", "20250328"),
        ("2024-02-29T00:00:00", "$[add_months(yyyymmdd,-12)]", "20230228"),
        ("2024-02-29T00:00:00", "$[add_months(yyyymmdd,-48)]", "20200229"),
        ("2025-01-01T00:00:00", "${yyyymm}", "202412"),
        ("2025-01-01T00:00:00", "${yyyy-1}", "2023"),
        ("2025-04-01T00:00:00", "${yyyymm-1}", "202502"),
        // Midnight and noon.
        ("2025-11-01T23:59:59", "${yyyymmdd}", "20251031"),
        ("2025-11-01T00:30:00", "$[hh12mi]", "1230"),
        ("2025-11-01T12:05:00", "$[hh12mi]", "1205"),
        ("2025-11-01T13:05:09", "$[hh12:mi:ss]", "01:05:09"),
        ("2025-11-01T23:30:00", "$[yyyymmddhh24+1/24]", "2025110200"),
    ] {
        let found = value(written, &at("Asia/Shanghai", scheduled));
        let found = found.unwrap_or_else(|_| "refused".to_owned());
        assert_eq!(found, expected, "{scheduled} {written}");
    }
}

/// Hours are counted by the clock that never changes, days by the calendar.
#[test]
fn t24_hours_where_clocks_change() {
    for (zone, scheduled, written, expected) in [
        // Berlin goes from 02:00 to 03:00: an hour before 03:00 was 01:00.
        ("Europe/Berlin", "2025-03-30T03:00:00", "$[yyyymmddhh24mi-1/24]", "202503300100"),
        ("Europe/Berlin", "2025-03-30T12:00:00", "$[yyyymmddhh24mi-1]", "202503291200"),
        ("Europe/Berlin", "2025-03-30T12:00:00", "$[yyyymmddhh24mi-24/24]", "202503291100"),
        // A day before 02:30, which does not exist on the 30th.
        ("Europe/Berlin", "2025-03-31T02:30:00", "$[yyyymmddhh24mi-1]", "202503300330"),
        // 02:00 to 03:00 comes twice: two hours before the first 03:00 is the first 02:00.
        ("Europe/Berlin", "2025-10-26T03:00:00", "$[yyyymmddhh24mi-1/24]", "202510260200"),
        ("Europe/Berlin", "2025-10-26T03:00:00", "$[yyyymmddhh24mi-2/24]", "202510260200"),
        ("Europe/Berlin", "2025-10-26T03:00:00", "$[yyyymmddhh24mi-3/24]", "202510260100"),
        ("Europe/Berlin", "2025-10-26T00:00:00", "${yyyymmdd}", "20251025"),
        // Half an hour only.
        ("Australia/Lord_Howe", "2025-10-05T02:30:00", "$[hh24mi-1/24]", "0100"),
        // No 30 December 2011 in Samoa.
        ("Pacific/Apia", "2011-12-31T00:00:00", "${yyyymmdd}", "20111230"),
        ("Pacific/Apia", "2011-12-31T00:00:00", "$[yyyymmddhh24-1/24]", "2011122923"),
    ] {
        let found = value(written, &at(zone, scheduled)).unwrap();
        assert_eq!(found, expected, "{zone} {scheduled} {written}");
    }
}

#[test]
fn mistakes_are_named() {
    let parts = "its parts are `yyyy`, `mm` (month), `dd`, and in `$[...]` also `hh24`, `hh12`, `mi` (minute), `ss`";
    for (written, message, hint) in [
        (
            "${yyyy-mi}",
            "the business date has no time of day, so no `mi`",
            "`mm` is the month; `$[yyyy-mi]` is of the scheduled time",
        ),
        (
            "${yyyymmddhh24}",
            "the business date has no time of day, so no `hh24`",
            "`$[yyyymmddhh24]` is of the scheduled time",
        ),
        (
            "${yyyymmdd-1/24}",
            "the business date has no parts of a day",
            "`$[yyyymmdd-1/24]` counts from the scheduled time",
        ),
        (
            "${add_months(yyyymm,-1)}",
            "`add_months` counts from the scheduled time",
            "write `$[add_months(yyyymm,-1)]`, or `${yyyymm-1}` for a month before the business date",
        ),
        ("${yyyy-m}", "`m` is no part of a date", parts),
        ("${yymmdd}", "`yymmdd` is no part of a date", "the year is `yyyy`"),
        ("$[yyyymmddhhmiss]", "`hhmiss` is no part of a date", "the hour is `hh24`, or `hh12`"),
        (
            "${yyyymmdd-1d}",
            "`-1d` is no number of days",
            "write `-7`, `-7*2`, `-1/24` or `-15/24/60`",
        ),
        ("${yyyymmdd+}", "`+` is no number of days", "write `-7`, `-7*2`, `-1/24` or `-15/24/60`"),
        (
            "$[yyyymmdd-1/0]",
            "`-1/0` is no number of days",
            "write `-7`, `-7*2`, `-1/24` or `-15/24/60`",
        ),
        (
            "$[yyyymm-1]",
            "`-1` is a number of days, and the format has no `dd`",
            "for months write `$[add_months(yyyymm,-1)]`",
        ),
        (
            "$[hh24miss-1]",
            "`-1` is a number of days, and the format has no `dd`",
            "for hours write `-1/24`, for minutes `-1/24/60`",
        ),
        (
            "$[hh24miss-1/7/11]",
            "`-1/7/11` of a day is no whole number of seconds",
            "`-1/24` is an hour, `-1/24/60` a minute",
        ),
        (
            "$[add_months(yyyymmdd)]",
            "`add_months` takes a format and a number",
            "write `$[add_months(yyyymmdd,-1)]`",
        ),
        (
            "$[add_months(yyyymmdd,-1/2)]",
            "`add_months` takes a whole number of months",
            "write `$[add_months(yyyymmdd,-1)]`",
        ),
        ("$[last_day(yyyymmdd)]", "`last` is no part of a date", parts),
    ] {
        let (found, found_hint) = value(written, &at("UTC", "2025-11-01T00:00:00")).unwrap_err();
        assert_eq!(found, format!("`{written}` is no date: {message}"));
        assert_eq!(found_hint, hint, "{written}");
    }
    let (message, _) = value("${yyyymmdd-9999999}", &at("UTC", "2025-11-01T00:00:00")).unwrap_err();
    assert_eq!(message, "the date is outside of the years 1 to 9999");
}

#[test]
fn what_is_meant_as_a_date() {
    for (text, expected) in [
        ("yyyymmdd-1", true),
        ("yy-mm", true),
        ("YYYY", true),
        ("add_months(x", true),
        ("mid", true),
        ("comm", false),
        ("day", false),
        ("region", false),
        ("", false),
        ("0", false),
    ] {
        assert_eq!(is_meant(text), expected, "{text}");
    }
}

proptest! {
    /// Days before the business date, counted one by one.
    #[test]
    fn days_are_counted_by_the_calendar(day in 0..40_000_i64, back in 0..400_i64) {
        let first = date(1970, 1, 2);
        let scheduled = first.checked_add(Span::new().days(day)).unwrap();
        let at = scheduled.at(0, 0, 0, 0).to_zoned(TimeZone::get("Europe/Berlin").unwrap()).unwrap();
        let mut expected = scheduled.yesterday().unwrap();
        for _ in 0..back {
            expected = expected.yesterday().unwrap();
        }
        let found = value(&format!("${{yyyy-mm-dd-{back}}}"), &at).unwrap();
        prop_assert_eq!(found, expected.to_string());
    }

    /// The windows of an hourly job follow each other without a gap, also where clocks change.
    #[test]
    fn hours_follow_each_other(hour in 0..400_000_i64, zone in 0..3_usize) {
        let zone = ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"][zone];
        let zone = TimeZone::get(zone).unwrap();
        let at = |hour: i64| {
            let time = Timestamp::from_second(hour * 3600).unwrap();
            time.to_zoned(zone.clone())
        };
        let begin = value("$[yyyymmddhh24miss-1/24]", &at(hour + 1)).unwrap();
        prop_assert_eq!(begin, value("$[yyyymmddhh24miss]", &at(hour)).unwrap());
    }

    #[test]
    fn no_text_breaks_it(text in "[ymdhis0-9+*/(), -]{0,20}", is_business: bool) {
        let base = if is_business { Base::Business } else { Base::Scheduled };
        if let Ok(expression) = DateExpression::read(&text, base) {
            let _ = expression.value(&at("UTC", "2025-11-01T00:00:00"));
        }
    }
}
