//! Which part of a column's value a partition is named by: all of it, or the year, month, day or hour
//! of a date or a timestamp. An instant is named in UTC, a wall clock unchanged.

use transload_plugin_api::{Error, LogicalType, Result};

/// The part of a value that stands in names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Year,
    Month,
    Day,
    Hour,
}

impl Part {
    const OF_TIME: [(&str, Self); 4] =
        [("year", Self::Year), ("month", Self::Month), ("day", Self::Day), ("hour", Self::Hour)];

    /// The part and the column of `day(created_at)`; any other text is a column's name.
    pub(crate) fn parse(text: &str) -> (Self, &str) {
        let inner = text.strip_suffix(')').and_then(|text| text.split_once('('));
        let part = inner.and_then(|(word, column)| {
            let (_, part) = Self::OF_TIME.iter().find(|(known, _)| *known == word.trim())?;
            Some((*part, column.trim()))
        });
        part.unwrap_or((Self::Whole, text))
    }

    /// The name of the folder's column: `created_at_day`.
    pub(crate) fn label(self, column: &str) -> String {
        match Self::OF_TIME.iter().find(|(_, part)| *part == self) {
            Some((word, _)) => format!("{column}_{word}"),
            None => column.to_owned(),
        }
    }

    /// Refuses a type that has no such part.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`].
    pub(crate) fn check(self, column: &str, logical: &LogicalType) -> Result<()> {
        let fits = match (self, logical) {
            (Self::Whole, _)
            | (_, LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. }) => true,
            (part, LogicalType::Date) => part != Self::Hour,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let label = self.label(column);
        let word = label.rsplit('_').next().unwrap_or_default();
        let message = format!("`{word}({column})`: the column is {logical}");
        Err(Error::options(message).hint(match logical {
            LogicalType::Date => "a date has a year, a month and a day".to_owned(),
            _ => format!("name its type: `{column} = \"timestamp\"` in [reader.schema]"),
        }))
    }

    /// Cuts the text of a value, from `from` on, to the part: `2026-11-30`, `2026-11-30-17`.
    pub(crate) fn cut(self, text: &mut Vec<u8>, from: usize) {
        if self == Self::Whole {
            return;
        }
        let value = &mut text[from..];
        let date = value.iter().position(|byte| matches!(byte, b' ' | b'T')).unwrap_or(value.len());
        if self == Self::Hour && date + 3 <= value.len() {
            value[date] = b'-';
            text.truncate(from + date + 3);
            return;
        }
        text.truncate(from + date);
        let cuts = match self {
            Self::Month => 1,
            Self::Year => 2,
            _ => 0,
        };
        for _ in 0..cuts {
            // The sign of a year before 0 stays.
            let dash = text[from..].iter().rposition(|byte| *byte == b'-');
            text.truncate(dash.filter(|at| *at > 0).map_or(text.len(), |at| from + at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_by_their_words() {
        for (text, part, column, label) in [
            ("day(created_at)", Part::Day, "created_at", "created_at_day"),
            ("hour( t )", Part::Hour, "t", "t_hour"),
            ("created_at", Part::Whole, "created_at", "created_at"),
            ("count(*)", Part::Whole, "count(*)", "count(*)"),
        ] {
            assert_eq!(Part::parse(text), (part, column), "{text}");
            assert_eq!(part.label(column), label);
        }
    }

    #[test]
    fn values_are_cut_to_their_parts() {
        for (value, [year, month, day, hour]) in [
            ("2026-11-30 17:05:09.25", ["2026", "2026-11", "2026-11-30", "2026-11-30-17"]),
            ("2026-11-30T17:05:09Z", ["2026", "2026-11", "2026-11-30", "2026-11-30-17"]),
            ("-0044-03-15 00:00:00", ["-0044", "-0044-03", "-0044-03-15", "-0044-03-15-00"]),
            ("12026-01-02", ["12026", "12026-01", "12026-01-02", "12026-01-02"]),
        ] {
            let cut = |part: Part| {
                let mut text = format!("x{value}").into_bytes();
                part.cut(&mut text, 1);
                String::from_utf8(text).unwrap()[1..].to_owned()
            };
            let parts = [Part::Year, Part::Month, Part::Day, Part::Hour].map(cut);
            assert_eq!(parts, [year, month, day, hour], "{value}");
            assert_eq!(cut(Part::Whole), value);
        }
    }

    #[test]
    fn only_dates_and_timestamps_have_parts() {
        for (part, logical, fits) in [
            (Part::Hour, "timestamptz", true),
            (Part::Day, "date", true),
            (Part::Hour, "date", false),
            (Part::Day, "text", false),
            (Part::Whole, "text", true),
        ] {
            assert_eq!(part.check("c", &logical.parse().unwrap()).is_ok(), fits, "{logical}");
        }
    }
}
