//! Parses a column's spec as written in the job, `"decimal(15,2) range 0..10000 null 5%"`.
//! Generating the values is left to `column`.

use transload_plugin_api::{Column, Error, LogicalType, Result};
use transload_values::{
    Ticks,
    calendar::{DAY_MICROS, first_day_of},
    parse,
};

use crate::random::Chance;

/// The content of one column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    pub(crate) logical: LogicalType,
    pub(crate) shape: Shape,
    /// Whether small numbers and early words are frequent.
    pub(crate) skewed: bool,
    pub(crate) null: Chance,
    pub(crate) edge: Chance,
    /// Whether edge values include numbers that are not finite.
    pub(crate) nan: bool,
}

/// How the values are chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Any value of the type.
    Any,
    /// `first`, increased by one every `every` rows.
    Sequence { first: i64, every: u64 },
    /// 1 to this number, repeated.
    Cycle(u64),
    /// Between two values, inclusive, in the units of `unit()`.
    Range(i128, i128),
    /// Between two floating point numbers.
    Floats(f64, f64),
    /// This many words.
    Words(u64, u64),
    /// This many bytes.
    Bytes(u64, u64),
    /// One of these texts.
    Choice(Vec<String>),
}

impl ColumnSpec {
    /// Parses a spec. `rows` is the number of rows: a sequence must fit its type.
    pub(crate) fn parse(name: &str, text: &str, rows: u64) -> Result<Self> {
        let refuse = |what: String| {
            Error::options(what).at(format!("specs.{name}")).hint(
                "examples: `int64 sequence`, `decimal(15,2) range 0..100 null 5%`, \
                 `text words 3..8`, `date 1992-01-01..1998-12-31 edge 1%`",
            )
        };
        let spec = parse_spec(name, text).map_err(refuse)?;
        spec.check(rows).map_err(refuse)?;
        Ok(spec)
    }

    /// The column as the reader reports it.
    pub(crate) fn column(&self) -> Column {
        Column::new(&self.name, self.logical.clone(), !self.null.never())
    }

    /// The spec of a list's items, which share its modifiers.
    pub(crate) fn item(&self, logical: &LogicalType) -> Self {
        let name = format!("{}.item", self.name);
        Self { name, logical: logical.clone(), shape: Shape::Any, ..self.clone() }
    }

    fn check(&self, rows: u64) -> Result<(), String> {
        let logical = &self.logical;
        if !self.shape.suits(logical) {
            return Err(format!("a `{logical}` cannot have this shape"));
        }
        let last = match self.shape {
            Shape::Sequence { first, every } => i128::from(first) + i128::from(rows / every),
            Shape::Cycle(count) => i128::from(count),
            _ => return Ok(()),
        };
        if last.checked_mul(unit(logical)).is_none_or(|last| last > bounds(logical).1) {
            return Err(format!("a sequence up to {last} does not fit `{logical}`"));
        }
        Ok(())
    }
}

impl Shape {
    fn suits(&self, logical: &LogicalType) -> bool {
        use LogicalType as T;
        let float = matches!(logical, T::Float32 | T::Float64);
        let number = is_integer(logical) || matches!(logical, T::Decimal { .. } | T::Numeric);
        let text = matches!(logical, T::Text { .. });
        let moment = matches!(logical, T::Date | T::Timestamp { .. } | T::TimestampTz { .. });
        match self {
            Self::Any => true,
            Self::Sequence { .. } | Self::Cycle(_) => {
                number || float || text || *logical == T::Uuid
            }
            Self::Range(low, high) => (number || moment) && low <= high,
            Self::Floats(low, high) => float && low <= high,
            Self::Words(low, high) => text && low <= high,
            Self::Bytes(low, high) => *logical == T::Binary && low <= high,
            Self::Choice(choices) => text && choices.iter().all(|choice| fits(choice, logical)),
        }
    }
}

/// Whether a text is short enough for its type.
pub(crate) fn fits(text: &str, logical: &LogicalType) -> bool {
    match logical {
        LogicalType::Text { length: Some(length) } => text.chars().count() <= *length as usize,
        _ => true,
    }
}

pub(crate) fn is_integer(logical: &LogicalType) -> bool {
    use LogicalType as T;
    matches!(
        logical,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
    )
}

/// Number of decimal places of a generated `numeric`, which has no scale of its own.
pub(crate) const NUMERIC_SCALE: u8 = 4;

/// The integer that represents 1 in a type: `100` for `decimal(15,2)`.
pub(crate) fn unit(logical: &LogicalType) -> i128 {
    match logical {
        LogicalType::Decimal { scale, .. } => {
            10i128.checked_pow(u32::from(scale.unsigned_abs())).unwrap_or(i128::MAX)
        }
        LogicalType::Numeric => 10i128.pow(u32::from(NUMERIC_SCALE)),
        _ => 1,
    }
}

/// The smallest step between values that the type's declared precision allows.
pub(crate) fn step(logical: &LogicalType) -> i64 {
    match logical {
        LogicalType::Time { precision }
        | LogicalType::Timestamp { precision }
        | LogicalType::TimestampTz { precision } => Ticks::new(*precision).step(),
        _ => 1,
    }
}

/// The number of units in a day, for the types that count times.
pub(crate) fn day(logical: &LogicalType) -> i64 {
    match logical {
        LogicalType::Time { precision }
        | LogicalType::Timestamp { precision }
        | LogicalType::TimestampTz { precision } => Ticks::new(*precision).per_day(),
        LogicalType::Date => 1,
        _ => DAY_MICROS,
    }
}

/// The range of values without a range in the spec, and the limits of a sequence.
pub(crate) fn bounds(logical: &LogicalType) -> (i128, i128) {
    use LogicalType as T;
    let day = i128::from(day(logical));
    match logical {
        T::Int8 => (i8::MIN.into(), i8::MAX.into()),
        T::Int16 => (i16::MIN.into(), i16::MAX.into()),
        T::Int32 => (i32::MIN.into(), i32::MAX.into()),
        T::Int64 => (i64::MIN.into(), i64::MAX.into()),
        T::UInt8 => (0, u8::MAX.into()),
        T::UInt16 => (0, u16::MAX.into()),
        T::UInt32 => (0, u32::MAX.into()),
        T::UInt64 => (0, u64::MAX.into()),
        T::Decimal { precision, .. } => {
            let high = 10i128.checked_pow((*precision).into()).map_or(i128::MAX, |high| high - 1);
            (-high, high)
        }
        T::Numeric => (-(10i128.pow(15)), 10i128.pow(15)),
        T::Text { length: Some(length) } if *length < 19 => (0, 10i128.pow(*length) - 1),
        T::Time { .. } => (0, day - 1),
        T::Duration => (-35 * day + 1, 35 * day - 1),
        T::Date | T::Timestamp { .. } | T::TimestampTz { .. } => {
            (0, i128::from(first_day_of(2038)) * day - 1)
        }
        _ => (0, i128::from(i64::MAX)),
    }
}

fn parse_spec(name: &str, text: &str) -> Result<ColumnSpec, String> {
    let (logical, rest) = split_type(text);
    let logical = logical.parse::<LogicalType>().map_err(|error| error.to_string())?;
    let (chance, nothing) = (Chance::default(), Shape::Any);
    let mut spec = ColumnSpec {
        name: name.to_owned(),
        logical,
        shape: nothing,
        skewed: false,
        null: chance,
        edge: chance,
        nan: false,
    };
    let (rest, choices) = match rest.split_once("choice ") {
        Some((rest, choices)) => (rest, Some(choices)),
        None => (rest, None),
    };
    if let Some(choices) = choices {
        spec.shape = Shape::Choice(choices.split('|').map(|text| text.trim().into()).collect());
    }
    let mut words = rest.split_whitespace();
    while let Some(word) = words.next() {
        apply(&mut spec, word, &mut words)?;
    }
    Ok(spec)
}

/// Splits off the type's name, which ends at the first blank outside parentheses.
fn split_type(text: &str) -> (&str, &str) {
    let text = text.trim();
    let mut depth = 0;
    for (index, letter) in text.char_indices() {
        match letter {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            ' ' if depth == 0 => return (&text[..index], &text[index..]),
            _ => {}
        }
    }
    (text, "")
}

/// Applies one word of the spec and its arguments.
fn apply<'a>(
    spec: &mut ColumnSpec,
    word: &str,
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let mut next = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
    match word {
        "sequence" => set_shape(spec, Shape::Sequence { first: 1, every: 1 })?,
        "from" | "every" => adjust_sequence(&mut spec.shape, word, next()?)?,
        "cycle" => set_shape(spec, Shape::Cycle(parse_count(next()?)?))?,
        "range" => set_shape(spec, parse_range(&spec.logical, next()?)?)?,
        "words" => {
            let (low, high) = parse_pair(next()?)?;
            set_shape(spec, Shape::Words(low, high))?;
        }
        "bytes" => {
            let (low, high) = parse_pair(next()?)?;
            set_shape(spec, Shape::Bytes(low, high))?;
        }
        "null" => spec.null = parse_chance(next()?)?,
        "edge" => spec.edge = parse_chance(next()?)?,
        "nan" => spec.nan = true,
        "skewed" => spec.skewed = true,
        _ if word.contains("..") => set_shape(spec, parse_range(&spec.logical, word)?)?,
        _ => {
            return Err(format!(
                "unknown word `{word}`; known: sequence [from n] [every n], cycle n, \
                 [range] a..b, words a..b, bytes a..b, choice a|b, skewed, null n%, edge n%, nan"
            ));
        }
    }
    Ok(())
}

fn set_shape(spec: &mut ColumnSpec, shape: Shape) -> Result<(), String> {
    if spec.shape != Shape::Any {
        return Err("the spec has two shapes".to_owned());
    }
    spec.shape = shape;
    Ok(())
}

fn adjust_sequence(shape: &mut Shape, word: &str, value: &str) -> Result<(), String> {
    let Shape::Sequence { first, every } = shape else {
        return Err(format!("`{word}` must follow `sequence`"));
    };
    if word == "every" {
        *every = parse_count(value)?;
    } else {
        *first = value.parse().map_err(|_| format!("`{value}` is not an integer"))?;
    }
    Ok(())
}

fn parse_count(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("`{text}` is not an integer above 0"))
}

fn parse_chance(text: &str) -> Result<Chance, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
        Some(percent) => Ok(Chance::percent(percent)),
        None => Err(format!("`{text}` is not a percentage such as `5%`")),
    }
}

fn parse_pair(text: &str) -> Result<(u64, u64), String> {
    let pair = text.split_once("..");
    let pair = pair.and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    pair.ok_or_else(|| format!("`{text}` is not a range such as `3..8`"))
}

/// `a..b` in the type's own notation, inclusive.
fn parse_range(logical: &LogicalType, text: &str) -> Result<Shape, String> {
    let refuse = || format!("`{text}` is not a range of `{logical}`");
    let (low, high) = text.split_once("..").ok_or_else(refuse)?;
    if matches!(logical, LogicalType::Float32 | LogicalType::Float64) {
        let bound = |text: &str| text.parse::<f64>().ok().filter(|bound| bound.is_finite());
        let bounds = bound(low).zip(bound(high)).ok_or_else(refuse)?;
        return Ok(Shape::Floats(bounds.0, bounds.1));
    }
    let range = parse_bound(logical, low).zip(parse_bound(logical, high)).ok_or_else(refuse)?;
    if !is_moment(logical) {
        let (low, high) = bounds(logical);
        if range.0 < low || range.1 > high {
            return Err(format!("`{text}` does not fit `{logical}`"));
        }
    }
    Ok(Shape::Range(range.0, range.1))
}

fn is_moment(logical: &LogicalType) -> bool {
    use LogicalType as T;
    matches!(logical, T::Date | T::Timestamp { .. } | T::TimestampTz { .. })
}

fn parse_bound(logical: &LogicalType, text: &str) -> Option<i128> {
    if is_moment(logical) {
        let midnight = i64::from(parse::date(text.as_bytes()).ok()?).checked_mul(day(logical))?;
        return Some(midnight.into());
    }
    let digits = match logical {
        LogicalType::Decimal { scale, .. } => *scale,
        LogicalType::Numeric => NUMERIC_SCALE as i8,
        _ => 0,
    };
    parse::Number::read(text.as_bytes())?.scaled(38, digits).ok()?.to_i128()
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn shape(text: &str) -> Shape {
        ColumnSpec::parse("c", text, 100).unwrap().shape
    }

    #[test]
    fn specs_read_as_they_are_meant() {
        for (text, expected) in [
            ("int64 sequence", Shape::Sequence { first: 1, every: 1 }),
            ("int64 sequence from 0 every 4", Shape::Sequence { first: 0, every: 4 }),
            ("int32 cycle 7", Shape::Cycle(7)),
            ("decimal(15, 2) range 0..10000", Shape::Range(0, 1_000_000)),
            ("decimal(15,2) -0.5..0.05", Shape::Range(-50, 5)),
            ("date 1970-01-02..1970-01-03", Shape::Range(1, 2)),
            ("timestamp 1970-01-01..1970-01-02", Shape::Range(0, 86_400_000_000)),
            ("timestamp(9) 1970-01-01..1970-01-02", Shape::Range(0, 86_400_000_000_000)),
            ("float64 range -1.5..2", Shape::Floats(-1.5, 2.0)),
            ("text words 3..8", Shape::Words(3, 8)),
            ("binary bytes 0..4", Shape::Bytes(0, 4)),
            ("text(20) skewed", Shape::Any),
            ("text choice A B|C", Shape::Choice(vec!["A B".into(), "C".into()])),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
    }

    #[test]
    fn modifiers_are_kept() {
        let spec = ColumnSpec::parse("c", "float32 null 5% edge 1% nan skewed", 1).unwrap();
        assert_eq!(spec.null, Chance::percent(5.0));
        assert_eq!(spec.edge, Chance::percent(1.0));
        assert!(spec.nan && spec.skewed && spec.column().nullable);
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        for text in [
            "",
            "int",
            "int64 sequense",
            "int64 sequence range 1..2",
            "int64 every 2",
            "int8 range 0..300",
            "int8 sequence from 100",
            "int64 5..1",
            "boolean sequence",
            "int64 words 1..2",
            "date 2024-02-30..2024-03-01",
            "decimal(5,1) 0..0.25",
            "text null 101%",
            "text null",
            "text(1) choice ab",
            "binary bytes 3",
            "json range 1..2",
        ] {
            let error = ColumnSpec::parse("c", text, 100).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{text}");
            assert_eq!(error.place.as_deref(), Some("specs.c"), "{text}");
        }
    }
}
