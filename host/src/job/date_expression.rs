//! Dates as DataWorks writes them: `${yyyymmdd-7}` of the business date, `$[hh24miss-1/24]` of the
//! scheduled time. Reading an expression, refusing one with a hint, and its value. Which times a run
//! is for is `schedule`'s matter.

use jiff::{SignedDuration, Span, Zoned, civil::DateTime};

/// A message and a hint.
pub(super) type Refusal = (String, String);

/// What an expression is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// `${...}`: the day before the scheduled time, without a time of day.
    Business,
    /// `$[...]`: the scheduled time.
    Scheduled,
}

impl Base {
    /// The expression as it stands in a job.
    fn written(self, text: &str) -> String {
        match self {
            Self::Business => format!("${{{text}}}"),
            Self::Scheduled => format!("$[{text}]"),
        }
    }
}

/// The parts of a date, longest first where one begins another.
const PARTS: &[(&str, Part)] = &[
    ("yyyy", Part::Year),
    ("hh24", Part::Hour24),
    ("hh12", Part::Hour12),
    ("mm", Part::Month),
    ("dd", Part::Day),
    ("mi", Part::Minute),
    ("ss", Part::Second),
];
const SEPARATORS: &str = "-/._:, ";
const ADD_MONTHS: &str = "add_months(";
const SECONDS_OF_DAY: i128 = 24 * 60 * 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    Hour24,
    Hour12,
    Minute,
    Second,
    Text(char),
}

impl Part {
    fn is_time(self) -> bool {
        matches!(self, Self::Hour24 | Self::Hour12 | Self::Minute | Self::Second)
    }

    fn word(self) -> &'static str {
        PARTS.iter().find(|(_, part)| *part == self).map_or("", |(word, _)| word)
    }
}

/// A date, read from a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DateExpression {
    base: Base,
    format: Vec<Part>,
    months: i64,
    days: i64,
    seconds: i64,
}

/// Whether a text in `${...}` or `$[...]` is meant as a date, so that mistakes in it are named.
pub(super) fn is_meant(text: &str) -> bool {
    const BEGINNINGS: &[&str] = &["yy", "mm", "dd", "hh", "mi", "ss", ADD_MONTHS, "last_day("];
    let text = text.to_ascii_lowercase();
    let Some(begin) = BEGINNINGS.iter().find(|begin| text.starts_with(**begin)) else {
        return false;
    };
    begin.ends_with('(') || text.chars().all(|c| "ymdhis0123456789-+*/._:, ".contains(c))
}

impl DateExpression {
    /// Reads what stands between the brackets.
    ///
    /// # Errors
    /// What is wrong with it, with a hint.
    pub(super) fn read(text: &str, base: Base) -> Result<Self, Refusal> {
        let lower = text.to_ascii_lowercase();
        let refuse = |reason: &str, hint: String| {
            Err((format!("`{}` is no date: {reason}", base.written(text)), hint))
        };
        if let Some(inside) = lower.strip_prefix(ADD_MONTHS) {
            if base == Base::Business {
                let hint = format!(
                    "write `$[{text}]`, or `${{yyyymm-1}}` for a month before the business date"
                );
                return refuse("`add_months` counts from the scheduled time", hint);
            }
            return Self::add_months(inside).or_else(|(reason, hint)| refuse(&reason, hint));
        }
        let read = parts(&lower).and_then(|(format, rest)| {
            if format.is_empty() {
                return Err(unknown(&lower));
            }
            Self { base, format, months: 0, days: 0, seconds: 0 }.moved(text, rest)
        });
        read.or_else(|(reason, hint)| refuse(&reason, hint))
    }

    /// `yyyymmdd,-12*2)`, behind the parenthesis.
    fn add_months(inside: &str) -> Result<Self, Refusal> {
        let example = || "write `$[add_months(yyyymmdd,-1)]`".to_owned();
        let Some((format, count)) = inside.strip_suffix(')').and_then(|it| it.rsplit_once(','))
        else {
            return Err(("`add_months` takes a format and a number".to_owned(), example()));
        };
        let (format, rest) = parts(format.trim())?;
        if format.is_empty() || !rest.is_empty() {
            return Err(("the first argument of `add_months` is a format".to_owned(), example()));
        }
        let terms = match count.trim() {
            signed if signed.starts_with(['+', '-']) => terms(signed)?,
            plain => terms(&format!("+{plain}"))?,
        };
        let [Term { number, divisor: 1, .. }] = terms[..] else {
            return Err(("`add_months` takes a whole number of months".to_owned(), example()));
        };
        Ok(Self { base: Base::Scheduled, format, months: number, days: 0, seconds: 0 })
    }

    /// The expression moved by `-7`, `+7*2`, `-1/24` and so on, by as many as there are.
    fn moved(mut self, text: &str, rest: &str) -> Result<Self, Refusal> {
        let has = |part| self.format.contains(&part);
        let time = self.format.iter().copied().find(|part| part.is_time());
        match (self.base, time) {
            (Base::Business, Some(part)) => {
                let word = part.word();
                let month = if word == "mi" { "`mm` is the month; " } else { "" };
                return Err((
                    format!("the business date has no time of day, so no `{word}`"),
                    format!("{month}`$[{text}]` is of the scheduled time"),
                ));
            }
            (Base::Business, None) => {
                let (is_day, is_month) = (has(Part::Day), has(Part::Month));
                for Term { number, divisor, .. } in terms(rest)? {
                    if divisor != 1 {
                        let hint = format!("`$[{text}]` counts from the scheduled time");
                        return Err(("the business date has no parts of a day".to_owned(), hint));
                    }
                    let (unit, size) = match (is_day, is_month) {
                        (true, _) => (&mut self.days, 1),
                        (false, true) => (&mut self.months, 1),
                        (false, false) => (&mut self.months, 12),
                    };
                    let sum = number.checked_mul(size).and_then(|it| unit.checked_add(it));
                    *unit = sum.ok_or_else(too_large)?;
                }
            }
            (Base::Scheduled, _) => {
                let is_day = has(Part::Day);
                for term in terms(rest)? {
                    self.move_time(&term, is_day, time.is_some())?;
                }
            }
        }
        Ok(self)
    }

    /// Moves the scheduled time by days or a part of one.
    fn move_time(&mut self, term: &Term, is_day: bool, is_time: bool) -> Result<(), Refusal> {
        let Term { number, divisor, written } = term;
        if *divisor == 1 {
            if !is_day {
                let hint = match is_time {
                    true => {
                        format!("for hours write `{written}/24`, for minutes `{written}/24/60`")
                    }
                    false => format!("for months write `$[add_months(yyyymm,{written})]`"),
                };
                return Err((
                    format!("`{written}` is a number of days, and the format has no `dd`"),
                    hint,
                ));
            }
            self.days = self.days.checked_add(*number).ok_or_else(too_large)?;
            return Ok(());
        }
        let seconds = i128::from(*number) * SECONDS_OF_DAY;
        let divisor = i128::from(*divisor);
        if seconds % divisor != 0 {
            let hint = "`-1/24` is an hour, `-1/24/60` a minute".to_owned();
            return Err((format!("`{written}` of a day is no whole number of seconds"), hint));
        }
        let seconds = i64::try_from(seconds / divisor).ok();
        let sum = seconds.and_then(|it| self.seconds.checked_add(it));
        self.seconds = sum.ok_or_else(too_large)?;
        Ok(())
    }

    /// The text for a run that is scheduled at this time. Days, months and years are counted by the
    /// calendar (a day that the month does not have becomes its last one), hours and minutes by the
    /// clock that never changes.
    ///
    /// # Errors
    /// If the date is outside of the years 1 to 9999.
    pub(super) fn value(&self, at: &Zoned) -> Result<String, Refusal> {
        let found = self.time(at).filter(|time| time.year() >= 1);
        let time = found.ok_or_else(too_large)?;
        Ok(self.format.iter().map(|part| shown(*part, &time)).collect())
    }

    fn time(&self, at: &Zoned) -> Option<DateTime> {
        let span = Span::new().try_months(self.months).ok()?.try_days(self.days).ok()?;
        match self.base {
            Base::Business => {
                let day = at.date().yesterday().ok()?;
                Some(day.checked_add(span).ok()?.at(0, 0, 0, 0))
            }
            Base::Scheduled => {
                let moved = if span.is_zero() {
                    at.clone()
                } else {
                    let time = at.datetime().checked_add(span).ok()?;
                    time.to_zoned(at.time_zone().clone()).ok()?
                };
                let moved = moved.checked_add(SignedDuration::from_secs(self.seconds)).ok()?;
                Some(moved.datetime())
            }
        }
    }
}

fn shown(part: Part, time: &DateTime) -> String {
    match part {
        Part::Year => format!("{:04}", time.year()),
        Part::Month => format!("{:02}", time.month()),
        Part::Day => format!("{:02}", time.day()),
        Part::Hour24 => format!("{:02}", time.hour()),
        Part::Hour12 => format!("{:02}", (time.hour() + 11) % 12 + 1),
        Part::Minute => format!("{:02}", time.minute()),
        Part::Second => format!("{:02}", time.second()),
        Part::Text(text) => text.to_string(),
    }
}

/// The parts of a format, and what follows it: a sign with a number behind it.
fn parts(text: &str) -> Result<(Vec<Part>, &str), Refusal> {
    let (mut format, mut rest) = (Vec::new(), text);
    while let Some(letter) = rest.chars().next() {
        if letter == '+' || (letter == '-' && begins_number(&rest[1..])) {
            break;
        }
        if let Some((word, part)) = PARTS.iter().find(|(word, _)| rest.starts_with(word)) {
            format.push(*part);
            rest = &rest[word.len()..];
        } else if SEPARATORS.contains(letter) {
            format.push(Part::Text(letter));
            rest = &rest[letter.len_utf8()..];
        } else {
            return Err(unknown(rest));
        }
    }
    while format.last() == Some(&Part::Text(' ')) {
        format.pop();
    }
    Ok((format, rest))
}

fn begins_number(text: &str) -> bool {
    text.trim_start().starts_with(|c: char| c.is_ascii_digit())
}

/// The refusal of what begins with no part of a date.
fn unknown(rest: &str) -> Refusal {
    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    let word = if end == 0 { rest } else { &rest[..end] };
    let hint = match word.chars().next() {
        Some('y') => "the year is `yyyy`",
        Some('h') => "the hour is `hh24`, or `hh12`",
        _ => {
            "its parts are `yyyy`, `mm` (month), `dd`, and in `$[...]` also `hh24`, `hh12`, `mi` \
             (minute), `ss`"
        }
    };
    (format!("`{word}` is no part of a date"), hint.to_owned())
}

fn too_large() -> Refusal {
    ("the date is outside of the years 1 to 9999".to_owned(), "use a smaller number".to_owned())
}

/// `-7*2/24`: a number, and what it is divided by.
#[derive(Debug)]
struct Term {
    number: i64,
    divisor: i64,
    written: String,
}

fn terms(text: &str) -> Result<Vec<Term>, Refusal> {
    let (mut terms, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let end = rest[1..].find(['+', '-']).map_or(rest.len(), |end| end + 1);
        let (written, behind) = rest.split_at(end);
        terms.push(term(written.trim())?);
        rest = behind;
    }
    Ok(terms)
}

fn term(written: &str) -> Result<Term, Refusal> {
    let refuse = || {
        let hint = "write `-7`, `-7*2`, `-1/24` or `-15/24/60`".to_owned();
        (format!("`{written}` is no number of days"), hint)
    };
    let digits = |text: &str| match text.trim() {
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<i64>().ok(),
        _ => None,
    };
    let sign = if written.starts_with('-') { -1 } else { 1 };
    let mut rest = written.strip_prefix(['+', '-']).ok_or_else(refuse)?;
    let (mut number, mut divisor, mut is_divided) = (sign, 1_i64, false);
    loop {
        let end = rest.find(['*', '/']).unwrap_or(rest.len());
        let factor = digits(&rest[..end]).ok_or_else(refuse)?;
        let into = if is_divided { &mut divisor } else { &mut number };
        *into = into.checked_mul(factor).ok_or_else(refuse)?;
        let Some(operator) = rest[end..].chars().next() else { break };
        is_divided = operator == '/';
        rest = &rest[end + 1..];
    }
    if divisor == 0 {
        return Err(refuse());
    }
    Ok(Term { number, divisor, written: written.to_owned() })
}

#[cfg(test)]
mod tests;
