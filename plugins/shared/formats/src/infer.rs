//! Types for text columns from a sample of their cells. The guess is cautious: a type is chosen only
//! if every cell of the sample reads back from it as the same text.
//!
//! Candidates, the first that survives the sample: `boolean` (the words true and false only),
//! `int64`, `uint64`, `numeric`, `date`, `timestamp`, `timestamptz`; then `text`. Never a binary
//! float, which would change decimals. Digits behind a leading zero or a plus (`007`, phone
//! numbers) are not numbers. A column without any value is `text`; every column is nullable.

use transload_plugin_api::{Column, LogicalType};
use transload_values::{CellWords, ColumnParser};

/// The types that are still possible after the rows so far.
pub struct Inference {
    columns: Vec<Guess>,
    rows: u64,
}

/// The types that no cell of one column has ruled out yet, the preferred one first.
struct Guess {
    name: String,
    candidates: Vec<ColumnParser>,
    seen: bool,
}

impl Inference {
    /// An inference for columns of these names.
    pub fn new(names: &[String]) -> Self {
        let guess =
            |name: &String| Guess { name: name.clone(), candidates: candidates(), seen: false };
        Self { columns: names.iter().map(guess).collect(), rows: 0 }
    }

    /// Looks at one row: for each column its text, `None` for NULL. Cells beyond the last column
    /// are not looked at.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Option<impl AsRef<[u8]>>>) {
        self.rows += 1;
        for (guess, cell) in self.columns.iter_mut().zip(cells) {
            let Some(text) = cell else { continue };
            guess.seen = true;
            guess.candidates.retain_mut(|candidate| reads_as(candidate, text.as_ref()));
        }
    }

    /// Rows looked at so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The note about the guess in the plan.
    pub fn note(&self) -> String {
        match self.rows {
            0 => "no rows to infer types from: every column is text".to_owned(),
            1 => "types inferred from 1 row".to_owned(),
            rows => format!("types inferred from the first {rows} rows"),
        }
    }

    /// The columns with the types that survived.
    pub fn columns(&self) -> Vec<Column> {
        let column = |guess: &Guess| {
            let best = guess.candidates.first().filter(|_| guess.seen);
            let logical = best.map_or(LogicalType::TEXT, |best| best.column().logical.clone());
            Column { inferred: true, ..Column::new(&guess.name, logical, true) }
        };
        self.columns.iter().map(column).collect()
    }
}

fn candidates() -> Vec<ColumnParser> {
    let words = CellWords {
        yes: vec!["true".to_owned()],
        no: vec!["false".to_owned()],
        ..CellWords::default()
    };
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
    let builder = |logical| ColumnParser::new(&Column::new("", logical, true), &words).ok();
    types.into_iter().filter_map(builder).collect()
}

/// Whether a text is a value of the candidate's type, and one written in the usual way.
fn reads_as(candidate: &mut ColumnParser, text: &[u8]) -> bool {
    use LogicalType as L;
    let number = matches!(candidate.column().logical, L::Int64 | L::UInt64 | L::Numeric);
    if number && !is_usual_number(text) {
        return false;
    }
    let reads = candidate.append_text(text).is_ok();
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
    use super::*;

    fn infer(cells: &[Option<&str>]) -> String {
        let mut inference = Inference::new(&["c".to_owned()]);
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
            (&["-1", "9223372036854775808"], "numeric"),
            (&["18446744073709551616"], "numeric"),
            (&["1", "2.50"], "numeric"),
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
    fn null_tells_nothing() {
        assert_eq!(infer(&[]), "text");
        assert_eq!(infer(&[None, None]), "text");
        assert_eq!(infer(&[None, Some("1"), None]), "int64");
    }

    #[test]
    fn the_note_says_how_many_rows_were_looked_at() {
        let mut inference = Inference::new(&["c".to_owned()]);
        assert!(inference.note().contains("no rows"));
        inference.row([Some("1")]);
        inference.row([Some("2")]);
        assert_eq!(inference.note(), "types inferred from the first 2 rows");
        assert_eq!(inference.rows(), 2);
    }
}
