//! Reads the start of a file: the names of its columns, and its first rows for inference.

use transload_plugin_api::{Error, Result, code};
use transload_values::unquote;

use super::{
    BOM, COLUMN_LIMIT, CsvDialect, LineEnd,
    index::{Index, Place},
    scan::Quoting,
};
use crate::{guess, infer::Inference};

/// A file is examined for its line ends in at most this many bytes.
const LINE_END_WINDOW: usize = 64 << 10;

/// The part of a file before its first row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvHead {
    /// The column names, from the header, or `c1`, `c2` ... without one.
    pub names: Vec<String>,
    /// The offset of the first row, in bytes.
    pub bytes: u64,
    /// The line of the first row, counted from 1.
    pub line: u64,
    /// Where the file's records end.
    pub line_end: LineEnd,
}

impl CsvHead {
    /// Reads the head from the first bytes of a file. Returns `None` if it needs more bytes, never
    /// more than skipped lines and the largest record. `last`: nothing follows `input`. A file without any record has no columns.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Data`] if the first record is beyond its limits or not UTF-8.
    pub fn read(dialect: &CsvDialect, input: &[u8], last: bool) -> Result<Option<Self>> {
        if input.len() < BOM.len() && !last {
            return Ok(None);
        }
        let Some((start, first, line_end)) = first_record(dialect, input, last) else {
            return Ok(None);
        };
        let record = &input[start..];
        let dialect = &CsvDialect { line_end, ..dialect.clone() };
        let mut index = Index::new(dialect, None);
        let place = Place { byte: start as u64, line: first };
        let (bytes, lines) = index.read(record, last, 1, place)?;
        let (bytes, line) = match dialect.header {
            true => ((start + bytes) as u64, first + lines),
            false => (start as u64, first),
        };
        let head = Self { names: Vec::new(), bytes, line, line_end };
        let Some(row) = index.lines().first() else { return Ok(last.then_some(head)) };
        let cells = index.bounds().windows(2).map(|pair| (pair[0] as usize, pair[1] as usize - 1));
        let names = cells.enumerate().map(|(number, (start, end))| {
            let number = number + 1;
            if !dialect.header {
                return Ok(format!("c{number}"));
            }
            let raw = &record[start..end];
            let name = name_of(raw, dialect, number).map_err(|error| match guess::hint(input) {
                Some(hint) if std::str::from_utf8(raw).is_err() || raw.contains(&0) => {
                    error.hint(hint)
                }
                _ => error,
            });
            name.map_err(|error| error.at(format!("line {row}")))
        });
        let names = names.collect::<Result<Vec<_>>>()?;
        if names.len() > COLUMN_LIMIT {
            return Err(Error::data("record has more than 10,000 cells")
                .with_code(code::CSV_COLUMNS)
                .at(format!("line {row}"))
                .hint("check that `delimiter` is right"));
        }
        Ok(Some(Self { names, ..head }))
    }

    /// The dialect of the file.
    pub fn dialect(&self, dialect: &CsvDialect) -> CsvDialect {
        CsvDialect { line_end: self.line_end, ..dialect.clone() }
    }

    /// Passes at most `rows` rows to an inference. `input` begins at the first row. A record that
    /// is cut off at the end of `input` is skipped unless it is the `last`. Rows with too few or
    /// too many cells are skipped. Returns whether there were that many rows.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Data`] for a record beyond its limit and for quotes that are never closed.
    pub fn sample(
        &self,
        dialect: &CsvDialect,
        input: &[u8],
        last: bool,
        rows: usize,
        inference: &mut Inference,
    ) -> Result<bool> {
        let mut index = Index::new(&self.dialect(dialect), Some(self.names.len()));
        let (mut taken, mut place) = (0, Place { byte: self.bytes, line: self.line });
        let mut left = rows;
        while left > 0 {
            let stretch = &input[taken..];
            let (bytes, lines) = index.read(stretch, last, left, place)?;
            if bytes == 0 {
                break;
            }
            for row in index.bounds().chunks_exact(index.stride()) {
                let cells =
                    row.windows(2).map(|pair| &stretch[pair[0] as usize..pair[1] as usize - 1]);
                let cells = self.names.iter().zip(cells);
                inference.row(cells.map(|(name, raw)| {
                    let null = dialect.column_null.get(name).map(String::as_bytes);
                    sample_cell(raw, dialect).filter(|_| null != Some(raw))
                }));
            }
            left -= index.lines().len();
            taken += bytes;
            place = Place { byte: place.byte + bytes as u64, line: place.line + lines };
        }
        Ok(left == 0)
    }
}

/// Where the first record begins, behind a byte order mark and the lines that are skipped, its
/// line, and where records end; `None` if more bytes are needed.
pub(super) fn first_record(
    dialect: &CsvDialect,
    input: &[u8],
    last: bool,
) -> Option<(usize, u64, LineEnd)> {
    let mark = input.strip_prefix(BOM).map_or(0, |_| BOM.len());
    let (skipped, line) = skip_lines(dialect, &input[mark..], last)?;
    let start = mark + skipped;
    Some((start, line, line_end(dialect, &input[start..], last)?))
}

/// Where the first line begins that is not skipped, and its number; `None` without its bytes.
fn skip_lines(dialect: &CsvDialect, input: &[u8], last: bool) -> Option<(usize, u64)> {
    let mut at = 0;
    for line in 0..dialect.skip_lines {
        match memchr::memchr2(b'\n', b'\r', &input[at..]) {
            // a CR LF may be cut in two
            Some(end) if at + end + 1 == input.len() && !last => return None,
            Some(end) => at += end + 1 + usize::from(input[at + end..].starts_with(b"\r\n")),
            None if last => return Some((input.len(), line + 1)),
            None => return None,
        }
    }
    Some((at, dialect.skip_lines + 1))
}

/// Where records end, by the first line end outside of quotes: a CR only if there is no LF in the
/// first [`LINE_END_WINDOW`] bytes. `None` if more bytes are needed.
fn line_end(dialect: &CsvDialect, input: &[u8], last: bool) -> Option<LineEnd> {
    let window = &input[..input.len().min(LINE_END_WINDOW)];
    let (mut quoting, mut cell, mut record) = (Quoting::new(dialect), 0, 0);
    let mut found = LineEnd::Lf;
    for (at, byte) in window.iter().enumerate() {
        let comment = dialect.comment.is_some() && window.get(record).copied() == dialect.comment;
        let counts = if comment { true } else { quoting.step(*byte, at, at == cell) };
        match byte {
            b'\n' if counts => return Some(LineEnd::Lf),
            b'\r' if counts => {
                found = LineEnd::Cr;
                (cell, record) = (at + 1, at + 1);
            }
            _ if counts && *byte == dialect.delimiter => cell = at + 1,
            _ => {}
        }
    }
    // a file of one line without a line end has none; a CR at its very end is half of a CR LF
    let only_at_end = record == input.len();
    match (last, window.len() == LINE_END_WINDOW) {
        (true, _) if only_at_end && !window[..record.saturating_sub(1)].contains(&b'\r') => {
            Some(LineEnd::Lf)
        }
        (true, _) | (_, true) => Some(found),
        (false, false) => None,
    }
}

/// The text of a cell, `None` for NULL. Wrong quotes are left to the decoder to report.
pub(super) fn sample_cell(raw: &[u8], dialect: &CsvDialect) -> Option<Vec<u8>> {
    if dialect.nulls().any(|null| raw == null.as_bytes()) {
        return None;
    }
    let mut scratch = Vec::new();
    let text = unquote(raw, dialect.quote, dialect.true_escape(), &mut scratch);
    Some(text.unwrap_or(raw).to_vec())
}

/// The name of a column; a column without a name is named by its number.
fn name_of(raw: &[u8], dialect: &CsvDialect, number: usize) -> Result<String> {
    let wrong = |what: &str| {
        Error::data(format!("name of column {number} {what}")).with_code(code::CSV_HEADER)
    };
    let mut scratch = Vec::new();
    let name = unquote(raw, dialect.quote, dialect.true_escape(), &mut scratch)
        .map_err(|_| wrong("has text after its closing quote"))?;
    if name.is_empty() {
        return Ok(format!("c{number}"));
    }
    let name = String::from_utf8(name.to_vec())
        .map_err(|_| wrong("is not UTF-8").hint("set the file's `encoding`"))?;
    let quoted = raw.first().copied() == dialect.quote && dialect.quote.is_some();
    match name.chars().find(|it| it.is_control() && !(quoted && is_usual(*it))) {
        None => Ok(name),
        Some(control) => {
            let name = name.escape_debug();
            let error = wrong(&format!("contains a control character: `{name}`"));
            Err(match control {
                '\t' => error.hint("set `delimiter = \"tab\"`"),
                '\r' => error.hint("use one kind of line end in the file: LF, CR LF or CR"),
                _ => error.hint("set the file's `encoding`, or rename the column"),
            })
        }
    }
}

/// A control character that a name in quotes may have.
pub(super) fn is_usual(control: char) -> bool {
    matches!(control, '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use transload_values::CellWords;

    use super::*;

    fn head(input: &[u8]) -> CsvHead {
        CsvHead::read(&CsvDialect::default(), input, true).unwrap().unwrap()
    }

    #[test]
    fn t30_the_byte_order_mark_goes_before_quotes_are_looked_for() {
        let found = head(b"\xEF\xBB\xBF\"a,b\",c\n1,2\n");
        assert_eq!(found.names, ["a,b", "c"]);
        assert_eq!((found.bytes, found.line), (11, 2));
    }

    #[test]
    fn t53_a_header_may_hold_line_ends() {
        let found = head(b"\r\n\"a\r\nb\",,c\r\n1,2,3");
        assert_eq!(found.names, ["a\r\nb", "c2", "c"]);
        assert_eq!((found.bytes, found.line), (13, 4));
    }

    #[test]
    fn without_a_header_columns_are_numbered_and_nothing_is_taken() {
        let dialect = CsvDialect { header: false, ..CsvDialect::default() };
        let found = CsvHead::read(&dialect, b"\xEF\xBB\xBF1,2\n", true).unwrap().unwrap();
        assert_eq!(
            found,
            CsvHead {
                names: vec!["c1".into(), "c2".into()],
                bytes: 3,
                line: 1,
                line_end: LineEnd::Lf
            }
        );
    }

    #[test]
    fn a_sample_of_the_first_rows_gives_the_types() {
        let dialect = CsvDialect::default();
        let input = b"id,price,day,note\n1,2.50,2024-01-31,\"a\nb\"\n\"2\",3,,\n3,4\n4,x,y,z\n5,\"";
        let head = CsvHead::read(&dialect, input, false).unwrap().unwrap();
        let types = |rows: usize| {
            let mut inference = Inference::new(&head.names, &CellWords::default());
            let sample = &input[head.bytes as usize..];
            head.sample(&dialect, sample, false, rows, &mut inference).unwrap();
            let columns = inference.columns();
            let types: Vec<_> = columns.iter().map(|column| column.logical.to_string()).collect();
            (inference.rows(), types.join(" "))
        };
        assert_eq!(types(2), (2, "int64 decimal(18,2) date text".to_owned()));
        assert_eq!(types(100), (3, "int64 text text text".to_owned()));
    }

    #[test]
    fn rows_of_nothing_but_null_are_still_there() {
        let dialect = CsvDialect { header: false, ..CsvDialect::default() };
        let found = CsvHead::read(&dialect, b"\n\n", true).unwrap().unwrap();
        assert_eq!(found, CsvHead { names: vec![], bytes: 0, line: 1, line_end: LineEnd::Lf });
    }

    #[test]
    fn more_is_asked_for_until_the_header_is_whole() {
        let dialect = CsvDialect::default();
        for input in [&b""[..], b"\xEF\xBB", b"a,b", b"\"a\n", b"\n\n"] {
            assert_eq!(CsvHead::read(&dialect, input, false).unwrap(), None, "{input:?}");
        }
        assert_eq!(head(b"").names, Vec::<String>::new());
        assert_eq!(head(b"a,b").names, ["a", "b"]);
    }

    #[test]
    fn the_first_line_end_decides_whether_a_cr_ends_a_record() {
        for (input, expected) in [
            (&b"a,b\r1,2\r"[..], LineEnd::Cr),
            (b"a,\"b\n\"\r1,2", LineEnd::Cr),
            (b"a,b\r\n1,2\r\n", LineEnd::Lf),
            (b"a,\"b\r\"\n1,2\r", LineEnd::Lf),
            (b"a,b\n1,2\r", LineEnd::Lf),
            (b"a,b\r", LineEnd::Lf),
            (b"a,b", LineEnd::Lf),
        ] {
            let found = head(input);
            assert_eq!(found.line_end, expected, "{}", input.escape_ascii());
            assert_eq!(found.names.len(), 2);
        }
        let found = head(b"a,b\r1,2\r");
        assert_eq!((found.bytes, found.line), (4, 2));
        let dialect = CsvDialect::default();
        assert_eq!(CsvHead::read(&dialect, b"a,b\r1,2\r", false).unwrap(), None);
        let long = b"a,b\r1,2\r".repeat(LINE_END_WINDOW / 4);
        assert_eq!(CsvHead::read(&dialect, &long, false).unwrap().unwrap().line_end, LineEnd::Cr);
    }

    #[test]
    fn lines_before_the_header_are_skipped() {
        let dialect = CsvDialect { skip_lines: 2, ..CsvDialect::default() };
        for input in [
            &b"made \"by\nhand,\na,b\n1,2\n"[..],
            b"\xEF\xBB\xBFx\r\n\"\r\na,b\r\n",
            b"\r\ra,b\r1,2\r",
        ] {
            let found = CsvHead::read(&dialect, input, true).unwrap().unwrap();
            assert_eq!((found.names, found.line), (vec!["a".to_owned(), "b".to_owned()], 4));
        }
        let short = CsvHead::read(&dialect, b"only one line", true).unwrap().unwrap();
        assert_eq!(short.names, Vec::<String>::new());
        assert_eq!(CsvHead::read(&dialect, b"x\ny\r", false).unwrap(), None);
    }

    #[test]
    fn a_name_with_a_control_character_is_refused_with_advice() {
        for (input, hint) in [
            (&b"a\tb\n1\t2\n"[..], "tab"),
            (b"a,b\r1,2\nc\n", "line end"),
            (b"a,b\0\n", "encoding"),
            (b"a,\"b\x1B\"\n", "encoding"),
        ] {
            let error = CsvHead::read(&CsvDialect::default(), input, true).unwrap_err();
            assert_eq!(error.code, "CSV-HEADER");
            assert!(error.message.contains("column"), "{error}");
            assert!(error.hint.as_deref().unwrap().contains(hint), "{error:?}");
        }
    }

    #[test]
    fn a_header_beyond_its_limits_is_refused() {
        let dialect = CsvDialect::default();
        let refused = |input: &[u8]| CsvHead::read(&dialect, input, true).unwrap_err().code;
        assert_eq!(refused(&b",".repeat(10_000)), "CSV-COLUMNS");
        assert_eq!(head(&b",".repeat(9_999)).names.len(), 10_000);
        assert_eq!(refused(b"a,\"b\"c\n"), "CSV-HEADER");
        assert_eq!(refused(b"a,\xFF\n"), "CSV-HEADER");
        assert_eq!(refused(b"a,\"b\n"), "CSV-QUOTE");
        assert_eq!(refused(&b"x".repeat((16 << 20) + 65)), "CSV-RECORD");
    }
}
