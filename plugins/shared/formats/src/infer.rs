//! Types for text columns from a sample of their cells. The guess is cautious: a type is chosen only
//! if every cell of the sample is a value of it, written in the usual way or in the job's own.
//!
//! Candidates, the first that survives the sample: `boolean` (the words true and false only, unless
//! the job has words of its own), `int64`, `uint64`, a decimal, `date`, `timestamp`, `timestamptz`;
//! then `text`. Never a binary float, which would change decimals. Digits behind a leading zero or a
//! plus (`007`, phone numbers) are not numbers. A column without any value is `text`; every column is
//! nullable.
//!
//! # Decimals
//!
//! A decimal has the most digits behind the point that a cell has, at least 2, and room for later
//! rows before it:
//!
//! | digits of the sample | type |
//! |---|---|
//! | up to 8 behind the point, and up to 16 in all | `decimal(18,s)` |
//! | more | `decimal(38,s)`, with s at least 18 if there are more than 8 behind the point |
//! | more than 36 in all (whole numbers: 38), or an exponent | `numeric` |

use std::borrow::Cow;

use transload_plugin_api::{Column, LogicalType};
use transload_values::{CellWords, ColumnParser, form_hint, parse::Number};

/// The types that are still possible after the rows so far.
pub struct Inference {
    columns: Vec<Guess>,
    rows: u64,
}

/// The types that no cell of one column has ruled out yet, the preferred one first.
struct Guess {
    name: String,
    words: CellWords,
    candidates: Vec<ColumnParser>,
    digits: Digits,
    seen: bool,
    /// The first values, by which the plan names a form that all of them have.
    first: Vec<String>,
}

/// The most values that are kept.
const FIRST: usize = 50;
/// Longer ones are no dates or numbers.
const LONGEST: usize = 40;

/// The most digits that numbers have had.
#[derive(Clone, Copy, Debug, Default)]
struct Digits {
    before: usize,
    behind: usize,
    exponent: bool,
}

impl Inference {
    /// An inference for columns of these names, whose values are written as `words` say.
    pub fn new(names: &[String], words: &CellWords) -> Self {
        Self { columns: names.iter().map(|name| Guess::new(name, words)).collect(), rows: 0 }
    }

    /// Looks at one row: for each column its text, `None` for NULL. Cells beyond the last column
    /// are not looked at.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Option<impl AsRef<[u8]>>>) {
        self.rows += 1;
        for (guess, cell) in self.columns.iter_mut().zip(cells) {
            if let Some(text) = cell {
                guess.see(text.as_ref());
            }
        }
    }

    /// Rows looked at so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The notes about the guess in the plan.
    pub fn notes(&self) -> Vec<String> {
        let rows = match self.rows {
            0 => "no rows to infer types from: every column is text".to_owned(),
            1 => "types inferred from 1 row".to_owned(),
            rows => format!("types inferred from the first {rows} rows"),
        };
        let forms = self.columns.iter().filter_map(Guess::form_note);
        [rows].into_iter().chain(numeric_notes(&self.columns())).chain(forms).collect()
    }

    /// The columns with the types that survived.
    pub fn columns(&self) -> Vec<Column> {
        let column = |guess: &Guess| Column {
            inferred: true,
            ..Column::new(&guess.name, guess.logical(), true)
        };
        self.columns.iter().map(column).collect()
    }
}

/// Which columns no decimal holds, and what to write for floats.
pub(crate) fn numeric_notes(columns: &[Column]) -> impl Iterator<Item = String> {
    let numeric = columns.iter().filter(|column| column.logical == LogicalType::Numeric);
    numeric.map(|Column { name, .. }| {
        format!("`{name}` fits no decimal; for floats: {name:?} = \"float64\" in [reader.schema]")
    })
}

impl Guess {
    fn new(name: &str, words: &CellWords) -> Self {
        let words = words.of(name).into_owned();
        let (candidates, digits) = (candidates(name, &words), Digits::default());
        Self { name: name.to_owned(), words, candidates, digits, seen: false, first: Vec::new() }
    }

    fn see(&mut self, text: &[u8]) {
        self.seen = true;
        if self.first.len() < FIRST {
            self.first.push(String::from_utf8_lossy(text).into_owned());
        }
        let is_number = |candidate: &ColumnParser| {
            use LogicalType as L;
            matches!(candidate.column().logical, L::Int64 | L::UInt64 | L::Numeric)
        };
        if self.candidates.iter().any(is_number) {
            let separators = &self.words.forms.separators;
            let usual = match separators.are_usual() {
                true => Some(Cow::Borrowed(text)),
                false => separators.usual_form(text).map(Cow::Owned),
            };
            match usual.filter(|usual| is_usual_number(usual)) {
                Some(usual) => self.digits.see(&usual),
                None => self.candidates.retain(|candidate| !is_number(candidate)),
            }
        }
        self.candidates.retain_mut(|candidate| reads_as(candidate, text));
    }

    /// What would read a column of text as dates or numbers.
    fn form_note(&self) -> Option<String> {
        let is_short =
            |text: &String| text.len() <= LONGEST && text.bytes().any(|it| it.is_ascii_digit());
        // digits alone are a key more often than a date or seconds
        let all_digits = self.first.iter().all(|text| text.bytes().all(|it| it.is_ascii_digit()));
        let is_text = self.seen && self.logical() == LogicalType::TEXT;
        if !is_text || all_digits || !self.first.iter().all(is_short) {
            return None;
        }
        let texts: Vec<_> = self.first.iter().map(String::as_str).collect();
        let types = [
            (LogicalType::Date, "a date"),
            (LogicalType::TIMESTAMP, "a timestamp"),
            (LogicalType::TIMESTAMPTZ, "a timestamp"),
            (LogicalType::Decimal { precision: 38, scale: 10 }, "a number"),
        ];
        types.into_iter().find_map(|(logical, what)| {
            let hint = form_hint(&Column::new(&self.name, logical, true), &texts)?;
            Some(format!("`{}` is text; it is {what} with {hint}", self.name))
        })
    }

    fn logical(&self) -> LogicalType {
        match self.candidates.first().filter(|_| self.seen).map(|best| &best.column().logical) {
            None => LogicalType::TEXT,
            Some(LogicalType::Numeric) => self.digits.decimal(),
            Some(best) => best.clone(),
        }
    }
}

impl Digits {
    fn see(&mut self, usual: &[u8]) {
        let Some(number) = Number::read(usual) else { return };
        self.before = self.before.max(number.whole.len());
        self.behind = self.behind.max(number.fraction.len());
        self.exponent |= usual.iter().any(|byte| matches!(byte, b'e' | b'E'));
    }

    /// The decimal that holds all numbers, with room for larger ones.
    fn decimal(self) -> LogicalType {
        const ROOM: usize = 2;
        let Self { before, behind, exponent } = self;
        let scale = if behind == 0 { 0 } else { behind.max(2) };
        let (precision, scale) = match before + ROOM + scale {
            0..=18 if scale <= 8 => (18, scale),
            0..=38 if scale > 8 && before + ROOM + scale.max(18) <= 38 => (38, scale.max(18)),
            0..=38 => (38, scale),
            // a whole number needs no room: it is an identifier
            39..=40 if behind == 0 => (38, 0),
            _ => return LogicalType::Numeric,
        };
        match exponent {
            true => LogicalType::Numeric,
            false => LogicalType::Decimal { precision, scale: scale as i8 },
        }
    }
}

fn candidates(name: &str, words: &CellWords) -> Vec<ColumnParser> {
    let usual = CellWords::default();
    let (yes, no) = match (&words.yes, &words.no) == (&usual.yes, &usual.no) {
        true => (vec!["true".to_owned()], vec!["false".to_owned()]),
        false => (words.yes.clone(), words.no.clone()),
    };
    let (forms, binary) = (words.forms.clone(), words.binary);
    let words = CellWords { yes, no, forms, binary, ..usual };
    let types = [
        LogicalType::Boolean,
        LogicalType::Int64,
        LogicalType::UInt64,
        LogicalType::Numeric,
        LogicalType::Date,
        LogicalType::TIMESTAMP,
        LogicalType::Timestamp { precision: 9 },
        LogicalType::TIMESTAMPTZ,
        LogicalType::TimestampTz { precision: 9 },
    ];
    let with_pattern = |logical: &LogicalType| words.forms.pattern(logical).is_some();
    // a number may have the form of a date only if the job says so
    let (patterned, others) = types.into_iter().partition::<Vec<_>, _>(with_pattern);
    let builder = |logical| ColumnParser::new(&Column::new(name, logical, true), &words).ok();
    patterned.into_iter().chain(others).filter_map(builder).collect()
}

/// Whether a text is a value of the candidate's type.
fn reads_as(candidate: &mut ColumnParser, text: &[u8]) -> bool {
    let reads = candidate.try_append(text).is_ok();
    candidate.truncate_to(0);
    reads
}

/// Digits without a plus and without a zero that a number would lose.
fn is_usual_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0', next, ..] => !next.is_ascii_digit(),
        // minus zero reads back as zero
        [b'0'] => digits.len() == text.len(),
        [first, ..] => first.is_ascii_digit() && digits.last() != Some(&b'.'),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use transload_values::{ColumnForm, Forms, Pattern, Separators};

    use super::*;

    fn infer(cells: &[Option<&str>]) -> String {
        infer_as(&CellWords::default(), cells)
    }

    fn infer_as(words: &CellWords, cells: &[Option<&str>]) -> String {
        let mut inference = Inference::new(&["c".to_owned()], words);
        cells.iter().for_each(|cell| inference.row([*cell]));
        let column = inference.columns().remove(0);
        assert!(column.inferred && column.nullable);
        column.logical.to_string()
    }

    #[test]
    fn types_by_their_texts() {
        for (texts, expected) in [
            (&["true", "FALSE"][..], "boolean"),
            (&["true", "0"], "text"),
            (&["0", "1"], "int64"),
            (&["t", "f"], "text"),
            (&["1", "-20", "9223372036854775807"], "int64"),
            (&["1", "9223372036854775808"], "uint64"),
            (&["-1", "9223372036854775808"], "decimal(38,0)"),
            (&["18446744073709551616"], "decimal(38,0)"),
            (&["12345678901234567890123456789012345678"], "decimal(38,0)"),
            (&["123456789012345678901234567890123456789"], "numeric"),
            (&["1", "2.50"], "decimal(18,2)"),
            (&["1236.47"], "decimal(18,2)"),
            (&["1.5"], "decimal(18,2)"),
            (&["52.52", "-13.404954"], "decimal(18,6)"),
            (&["123456789.12345678"], "decimal(38,8)"),
            (&["12345678901234.25"], "decimal(18,2)"),
            (&["123456789012345.25"], "decimal(38,2)"),
            (&["0.1234567890123"], "decimal(38,18)"),
            (&["0.12345678901234567890123"], "decimal(38,23)"),
            (&["0.123456789012345678901234567890123456789"], "numeric"),
            (&["0.1", "1e-5"], "numeric"),
            (&["-0"], "text"),
            (&["007"], "text"),
            (&["1", "-01"], "text"),
            (&["+4915112345"], "text"),
            (&["1."], "text"),
            (&[".5"], "text"),
            (&["NaN"], "text"),
            (&["1,5"], "text"),
            (&["1", " 2"], "text"),
            (&["1", ""], "text"),
            (&["2024-02-29"], "date"),
            (&["2023-02-29"], "text"),
            (&["2024-02-29", "2024-02-29 10:00:00"], "text"),
            (&["2024-02-29 10:00:00.5", "2024-02-29T10:00:00"], "timestamp"),
            (&["2024-02-29 10:00:00.123456789"], "timestamp(9)"),
            (&["2024-02-29 10:00:00+02", "2024-02-29T10:00:00Z"], "timestamptz"),
            (&["2024-02-29 10:00:00+02", "2024-02-29T10:00:00"], "text"),
            (&["20240229"], "int64"),
            (&["{}"], "text"),
            (&["\u{fffd}"], "text"),
        ] {
            let cells: Vec<_> = texts.iter().copied().map(Some).collect();
            assert_eq!(infer(&cells), expected, "{texts:?}");
        }
    }

    #[test]
    fn the_form_that_a_job_says_gives_the_type() {
        let date = Pattern::new("%d.%m.%Y").unwrap();
        let compact = Pattern::new("%Y%m%d").unwrap();
        let moment = Pattern::new("%d.%m.%Y %H:%M").unwrap();
        let comma = Separators { decimal_comma: true, thousands: Some(".".to_owned()) };
        let forms = |date: &Pattern| Forms {
            date: Some(date.clone()),
            timestamp: Some(moment.clone()),
            separators: comma.clone(),
            ..Forms::default()
        };
        let words = |date| CellWords { forms: forms(date), ..CellWords::default() };
        let infer = |words: &CellWords, texts: &[&str]| {
            infer_as(words, &texts.iter().copied().map(Some).collect::<Vec<_>>())
        };
        let usual = words(&date);
        for (texts, expected) in [
            (&["31.12.2026", "1.1.2027"][..], "date"),
            (&["31.12.2026 07:05"], "timestamp"),
            (&["2026-12-31"], "text"),
            (&["1.234,50", "7"], "decimal(18,2)"),
            (&["1.234", "12"], "int64"),
            (&["1.23"], "text"),
            (&["0.123"], "text"),
        ] {
            assert_eq!(infer(&usual, texts), expected, "{texts:?}");
        }
        assert_eq!(infer(&words(&compact), &["20261231"]), "date");
        assert_eq!(infer(&words(&compact), &["20261331"]), "int64");
        let yes_no = ColumnForm::Words("J".to_owned(), "N".to_owned());
        let columns = [("c".to_owned(), yes_no)].into_iter().collect();
        let own = CellWords { columns, ..CellWords::default() };
        assert_eq!(infer(&own, &["J", "n"]), "boolean");
        assert_eq!(infer(&own, &["true"]), "text");
    }

    #[test]
    fn the_form_of_a_text_column_is_named() {
        let notes = |texts: &[&str]| {
            let mut inference = Inference::new(&["c".to_owned()], &CellWords::default());
            texts.iter().for_each(|text| inference.row([Some(text)]));
            inference.notes()[1..].join("; ")
        };
        for (texts, expected) in [
            (&["31.12.2026", "1.2.2027"][..], "a date with date_format = \"%d.%m.%Y\""),
            (
                &["03/04/2026"],
                "a date with date_format = \"%d/%m/%Y\", or date_format = \"%m/%d/%Y\"",
            ),
            (&["03/04/2026", "25/12/2026"], "a date with date_format = \"%d/%m/%Y\""),
            (&["31.12.2026 07:05"], "a timestamp with timestamp_format = \"%d.%m.%Y %H:%M\""),
            (&["2,50", "7"], "a number with decimal_comma = true"),
            (&["1.234,50", "2,5"], "a number with decimal_comma = true and thousands = \".\""),
        ] {
            assert_eq!(notes(texts), format!("`c` is text; it is {expected}"), "{texts:?}");
        }
        for texts in
            [&["31.12.2026", "soon"][..], &["x1"], &["007"], &["2024-01-31"], &["1", "a,5"]]
        {
            assert_eq!(notes(texts), "", "{texts:?}");
        }
    }

    #[test]
    fn null_tells_nothing() {
        assert_eq!(infer(&[]), "text");
        assert_eq!(infer(&[None, None]), "text");
        assert_eq!(infer(&[None, Some("1"), None]), "int64");
    }

    #[test]
    fn the_note_says_how_many_rows_were_looked_at() {
        let mut inference = Inference::new(&["c".to_owned()], &CellWords::default());
        assert!(inference.notes()[0].contains("no rows"));
        inference.row([Some("1")]);
        inference.row([Some("2")]);
        assert_eq!(inference.notes(), ["types inferred from the first 2 rows"]);
        assert_eq!(inference.rows(), 2);
    }
}
