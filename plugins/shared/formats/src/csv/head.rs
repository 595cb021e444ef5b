//! Reads the start of a file: the names of its columns, and its first rows for inference.

use transload_plugin_api::{Error, Result, code};
use transload_values::unquote;

use super::{
    BOM, COLUMN_LIMIT, CsvDialect,
    index::{Index, Place},
};
use crate::infer::Inference;
/// The part of a file before its first row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvHead {
    /// The column names, from the header, or `c1`, `c2` ... without one.
    pub names: Vec<String>,
    /// The offset of the first row, in bytes.
    pub bytes: u64,
    /// The line of the first row, counted from 1.
    pub line: u64,
}

impl CsvHead {
    /// Reads the head from the first bytes of a file. Returns `None` if it needs more bytes, never
    /// more than 16 MiB. `last`: nothing follows `input`. A file without any record has no columns.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Data`] if the first record is beyond its limits or not UTF-8.
    pub fn read(dialect: &CsvDialect, input: &[u8], last: bool) -> Result<Option<Self>> {
        if input.len() < BOM.len() && !last {
            return Ok(None);
        }
        let start = input.strip_prefix(BOM).map_or(0, |_| BOM.len());
        let mut index = Index::new(dialect, None);
        let place = Place { byte: start as u64, line: 1 };
        let record = &input[start..];
        let (bytes, lines) = index.read(record, last, 1, place)?;
        let behind = Self { names: Vec::new(), bytes: (start + bytes) as u64, line: 1 + lines };
        let before = Self { names: Vec::new(), bytes: start as u64, line: 1 };
        let head = if dialect.header { behind } else { before };
        let Some(row) = index.lines().first() else { return Ok(last.then_some(head)) };
        let cells = index.bounds().windows(2).map(|pair| (pair[0] as usize, pair[1] as usize - 1));
        let names = cells.enumerate().map(|(number, (start, end))| {
            let number = number + 1;
            if !dialect.header {
                return Ok(format!("c{number}"));
            }
            let raw = &record[start..end];
            name_of(raw, dialect, number).map_err(|error| error.at(format!("line {row}")))
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
        let mut index = Index::new(dialect, Some(self.names.len()));
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
                inference.row(cells.map(|raw| sample_cell(raw, dialect)));
            }
            left -= index.lines().len();
            taken += bytes;
            place = Place { byte: place.byte + bytes as u64, line: place.line + lines };
        }
        Ok(left == 0)
    }
}

/// The text of a cell, `None` for NULL. Wrong quotes are left to the decoder to report.
fn sample_cell(raw: &[u8], dialect: &CsvDialect) -> Option<Vec<u8>> {
    if raw == dialect.null.as_bytes() {
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
    String::from_utf8(name.to_vec())
        .map_err(|_| wrong("is not UTF-8").hint("set the file's `encoding`"))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(found, CsvHead { names: vec!["c1".into(), "c2".into()], bytes: 3, line: 1 });
    }

    #[test]
    fn a_sample_of_the_first_rows_gives_the_types() {
        let dialect = CsvDialect::default();
        let input = b"id,price,day,note\n1,2.50,2024-01-31,\"a\nb\"\n\"2\",3,,\n3,4\n4,x,y,z\n5,\"";
        let head = CsvHead::read(&dialect, input, false).unwrap().unwrap();
        let types = |rows: usize| {
            let mut inference = Inference::new(&head.names);
            let sample = &input[head.bytes as usize..];
            head.sample(&dialect, sample, false, rows, &mut inference).unwrap();
            let columns = inference.columns();
            let types: Vec<_> = columns.iter().map(|column| column.logical.to_string()).collect();
            (inference.rows(), types.join(" "))
        };
        assert_eq!(types(2), (2, "int64 numeric date text".to_owned()));
        assert_eq!(types(100), (3, "int64 text text text".to_owned()));
    }

    #[test]
    fn rows_of_nothing_but_null_are_still_there() {
        let dialect = CsvDialect { header: false, ..CsvDialect::default() };
        let found = CsvHead::read(&dialect, b"\n\n", true).unwrap().unwrap();
        assert_eq!(found, CsvHead { names: vec![], bytes: 0, line: 1 });
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
