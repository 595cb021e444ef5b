//! Finds the dialect of a file from its first lines, as far as the job does not say it: delimiter,
//! quote, and whether there is a header. What is not certain is the documented default, or an error
//! that names the line to write. Reading the rows is left to `decode`.

use transload_plugin_api::{Error, LogicalType, Result, code};
use transload_values::{CellWords, unquote};

use super::{
    CsvDialect,
    head::{first_record, sample_cell},
    index::{Index, Place},
};
use crate::Inference;

/// The most records that are looked at.
const RECORDS: usize = 200;

/// The delimiters that files have, the default first.
const DELIMITERS: [u8; 8] = [b',', b';', b'\t', b'|', 0x01, 0x1F, b'^', b'~'];

/// What the job, or the name of the file, says of a dialect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsvSaid {
    /// The delimiter.
    pub delimiter: bool,
    /// The quote, or that there is none.
    pub quote: bool,
    /// The escape; the quote itself says that there is none.
    pub escape: bool,
    /// Whether there is a header.
    pub header: bool,
    /// Names of columns that the job expects.
    pub columns: Vec<String>,
}

/// The first records of a file, as a dialect divides them.
struct Reading {
    dialect: CsvDialect,
    records: Vec<Record>,
}

/// The cells of one record: where each begins and ends in the input.
struct Record(Vec<(usize, usize)>);

/// What the first record is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Header,
    /// It reads as a row too.
    Doubtful,
    Row,
}

impl CsvDialect {
    /// This dialect with what the first lines of a file show of the parts that are not `said`, and
    /// notes about them for the plan. `input` begins at the start of the file; `last`: nothing
    /// follows it.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Schema`] with code `CSV-DELIMITER` if more than one
    /// delimiter is possible, or if the one that is said gives a single column of a file that has
    /// more.
    pub fn sniff(&self, said: &CsvSaid, input: &[u8], last: bool) -> Result<(Self, Vec<String>)> {
        let reading = match said.delimiter {
            true => self.said_delimiter(said, input, last)?,
            false => self.found_delimiter(said, input, last)?,
        };
        let Some(reading) = reading.filter(|reading| !reading.records.is_empty()) else {
            return Ok((self.clone(), Vec::new()));
        };
        let first = if said.header { First::Header } else { reading.first(said, input) };
        let header = if said.header { self.header } else { first != First::Row };
        let dialect = Self { header, line_end: self.line_end, ..reading.dialect.clone() };
        let mut notes = notes(self, &dialect, said, first, reading.records.len());
        notes.extend(reading.odd_ends(header, input));
        Ok((dialect, notes))
    }

    /// The delimiter as a job file has it, in quotes.
    pub fn delimiter_in_job(&self) -> String {
        written(self.delimiter)
    }

    /// The file by the delimiter that is said, unless that leaves it undivided.
    fn said_delimiter(&self, said: &CsvSaid, input: &[u8], last: bool) -> Result<Option<Reading>> {
        let Some(reading) = Reading::best(self, said, input, last) else { return Ok(None) };
        let others = self.others(said, input, last);
        match others.iter().filter(|other| other.fits() || other.cells() > 2).max_by_key(cells) {
            Some(other) if reading.is_undivided(said, input) => Err(one_column(other)),
            _ => Ok(Some(reading)),
        }
    }

    /// The file by the delimiter that its records agree on.
    fn found_delimiter(&self, said: &CsvSaid, input: &[u8], last: bool) -> Result<Option<Reading>> {
        let Some(usual) = Reading::best(self, said, input, last) else { return Ok(None) };
        let mut all = self.others(said, input, last);
        all.insert(0, usual);
        if let Some(named) = all.iter().position(|it| it.has_any_name(said, input)) {
            return Ok(Some(all.swap_remove(named)));
        }
        if !all.iter().any(Reading::fits) {
            return self.undivided(all.swap_remove(0), &all).map(Some);
        }
        let strict = all.iter().any(Reading::fits_all);
        all.retain(|it| if strict { it.fits_all() } else { it.fits() });
        let most = all.iter().map(Reading::cells).max().unwrap_or_default();
        let (mut most, fewer): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|it| it.cells() == most);
        let usual = fewer.iter().find(|it| it.dialect.delimiter == self.delimiter);
        match (&most[..], usual) {
            ([one, other, ..], _) | ([one], Some(other)) => Err(ambiguous(one, other)),
            _ => Ok(most.pop()),
        }
    }

    /// The default delimiter where the records agree on none, unless the header is a list by another.
    fn undivided(&self, usual: Reading, others: &[Reading]) -> Result<Reading> {
        match others.iter().filter(|other| other.cells() > 2).max_by_key(cells) {
            Some(other) if usual.cells() == 1 => Err(one_column(other)),
            _ => Ok(usual),
        }
    }

    /// The file by each other delimiter that divides its first record.
    fn others(&self, said: &CsvSaid, input: &[u8], last: bool) -> Vec<Reading> {
        let other = |delimiter: &u8| {
            let dialect = Self { delimiter: *delimiter, ..self.clone() };
            let reading =
                dialect.check().ok().and_then(|()| Reading::best(&dialect, said, input, last));
            reading.filter(|reading| reading.cells() > 1)
        };
        DELIMITERS.iter().filter(|it| **it != self.delimiter).filter_map(other).collect()
    }
}

fn cells(reading: &&Reading) -> usize {
    reading.cells()
}

impl Reading {
    /// By the quote that is said, or the usual one; by `'` if only then all records agree, or if
    /// all names are enclosed in it.
    fn best(dialect: &CsvDialect, said: &CsvSaid, input: &[u8], last: bool) -> Option<Self> {
        let usual = Self::escaped(dialect, said, input, last);
        let single = CsvDialect { quote: Some(b'\''), ..dialect.clone() };
        if said.quote || single.check().is_err() {
            return usual;
        }
        let Some(single) = Self::of(&single, input, last) else { return usual };
        let enclosed = |(start, end): &(usize, usize)| {
            end - start > 1 && input[*start] == b'\'' && input[end - 1] == b'\''
        };
        let names = single.records.first().is_some_and(|record| record.0.iter().all(enclosed));
        let any = single.records.iter().any(|record| record.0.iter().any(enclosed));
        let agrees = single.cells() > 1 && single.rows() > 0 && single.fits_all();
        let usual_agrees = usual.as_ref().is_some_and(Self::fits_all);
        if names || any && agrees && !usual_agrees { Some(single) } else { usual }
    }

    /// With `\\` as the escape if only then all records agree and no cell has text behind its quotes.
    fn escaped(dialect: &CsvDialect, said: &CsvSaid, input: &[u8], last: bool) -> Option<Self> {
        let usual = Self::of(dialect, input, last);
        let Some(quote) = dialect.quote.filter(|_| !said.escape && dialect.escape.is_none()) else {
            return usual;
        };
        let agrees = |it: &Self| it.alike() == it.rows() && !it.has_wrong_quotes(input);
        let escape = CsvDialect { escape: Some(b'\\'), ..dialect.clone() };
        if memchr::memmem::find(input, &[b'\\', quote]).is_none()
            || usual.as_ref().is_some_and(agrees)
            || escape.check().is_err()
        {
            return usual;
        }
        Self::of(&escape, input, last).filter(|it| it.rows() > 0 && agrees(it)).or(usual)
    }

    /// Whether a cell has text behind its closing quote.
    fn has_wrong_quotes(&self, input: &[u8]) -> bool {
        let (quote, escape) = (self.dialect.quote, self.dialect.true_escape());
        let mut scratch = Vec::new();
        let mut is_wrong = |(start, end): &(usize, usize)| {
            unquote(&input[*start..*end], quote, escape, &mut scratch).is_err()
        };
        self.records.iter().any(|record| record.0.iter().any(&mut is_wrong))
    }

    /// The first records; `None` if quotes are never closed.
    fn of(dialect: &CsvDialect, input: &[u8], last: bool) -> Option<Self> {
        let (mut at, line, line_end) = first_record(dialect, input, last)?;
        let dialect = CsvDialect { line_end, ..dialect.clone() };
        let mut index = Index::new(&dialect, None);
        let mut records = Vec::new();
        while records.len() < RECORDS {
            let place = Place { byte: at as u64, line };
            let (bytes, _) = index.read(&input[at..], last, 1, place).ok()?;
            if bytes == 0 {
                break;
            }
            if !index.lines().is_empty() {
                let bounds = index.bounds().windows(2);
                let cells = bounds.map(|it| (at + it[0] as usize, at + it[1] as usize - 1));
                records.push(Record(cells.collect()));
            }
            at += bytes;
        }
        Some(Self { dialect, records })
    }

    /// The number of cells of the first record.
    fn cells(&self) -> usize {
        self.records.first().map_or(0, |first| first.0.len())
    }

    /// The number of records behind the first.
    fn rows(&self) -> usize {
        self.records.len().saturating_sub(1)
    }

    /// How many of those have as many cells as the first.
    fn alike(&self) -> usize {
        let cells = self.cells();
        self.records.iter().skip(1).filter(|record| record.0.len() == cells).count()
    }

    /// Whether nine of ten records have as many cells as the first, and that more than one.
    fn fits(&self) -> bool {
        self.cells() > 1 && self.alike() * 10 >= self.rows() * 9
    }

    fn fits_all(&self) -> bool {
        self.cells() > 1 && self.alike() == self.rows()
    }

    /// A note about a delimiter at the end of each line, and about rows that are unlike the header.
    fn odd_ends(&self, header: bool, input: &[u8]) -> Option<String> {
        let (cells, rows) = (self.cells(), self.rows());
        let is_empty = |record: &Record| record.0.last().is_some_and(|(start, end)| start == end);
        let (first, others) = self.records.split_first().filter(|_| header && cells > 0)?;
        if cells > 1 && is_empty(first) && others.iter().all(is_empty) {
            let names = first.0[..cells - 1].iter().map(|(start, end)| &input[*start..*end]);
            let names: Vec<_> =
                names.map(|name| format!("{:?}", String::from_utf8_lossy(name))).collect();
            let leave_out = format!("`columns = [{}]` leaves it out", names.join(", "));
            let leave_out =
                if cells > 4 { "`columns` can leave it out".to_owned() } else { leave_out };
            return Some(format!(
                "each line ends with a delimiter: c{cells} is empty; {leave_out}"
            ));
        }
        let longer = |record: &Record| record.0.len() == cells + 1 && is_empty(record);
        if rows > 0 && others.iter().all(longer) {
            return Some(format!(
                "each row ends with a delimiter that the header lacks and is dirty; set `skip_lines = \
                 1` and `header = false`, and name {} columns in [reader.schema]",
                cells + 1
            ));
        }
        let unlike = rows - self.alike();
        (unlike * 10 > rows).then(|| {
            format!("{unlike} of the first {rows} rows do not have the {cells} cells of the header")
        })
    }

    /// Whether the first record is one cell, and not the name of a column that the job expects.
    fn is_undivided(&self, said: &CsvSaid, input: &[u8]) -> bool {
        self.cells() == 1 && !self.has_any_name(said, input)
    }

    fn has_any_name(&self, said: &CsvSaid, input: &[u8]) -> bool {
        said.columns.iter().any(|name| self.has_name(name, input))
    }

    fn has_name(&self, name: &str, input: &[u8]) -> bool {
        let names = self.records.first().map(|first| first.texts(&self.dialect, input));
        names.is_some_and(|mut names| names.any(|it| it.as_deref() == Some(name.as_bytes())))
    }

    /// What the first record is, by its types beside those of the records behind it. A name is not a
    /// date above a column of dates; it may be a number above a column of numbers (a year, a size).
    fn first(&self, said: &CsvSaid, input: &[u8]) -> First {
        let Some((first, rows)) = self.records.split_first() else { return First::Header };
        if rows.is_empty() || self.has_any_name(said, input) {
            return First::Header;
        }
        let names = vec![String::new(); first.0.len()];
        let types = |records: &[Record]| {
            let mut inference = Inference::new(&names, &CellWords::default());
            let alike = records.iter().filter(|record| record.0.len() == first.0.len());
            alike.for_each(|record| inference.row(record.texts(&self.dialect, input)));
            inference.columns()
        };
        let (above, below) = (types(std::slice::from_ref(first)), types(rows));
        let mut found = First::Header;
        for (above, below) in above.iter().zip(&below) {
            match (&above.logical, &below.logical) {
                (LogicalType::Text { .. }, LogicalType::Text { .. }) => {}
                (LogicalType::Text { .. }, _) => return First::Header,
                (above, below) if !is_alike(above, below) => {}
                (above, _) if is_no_name(above) => found = First::Row,
                _ if found == First::Header => found = First::Doubtful,
                _ => {}
            }
        }
        found
    }
}

impl Record {
    fn texts<'a>(
        &'a self,
        dialect: &'a CsvDialect,
        input: &'a [u8],
    ) -> impl Iterator<Item = Option<Vec<u8>>> + 'a {
        self.0.iter().map(|(start, end)| sample_cell(&input[*start..*end], dialect))
    }
}

/// Whether two types are of one kind, whatever their size.
fn is_alike(one: &LogicalType, other: &LogicalType) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Whether a column is hardly ever called by a value of the type.
fn is_no_name(logical: &LogicalType) -> bool {
    use LogicalType as L;
    matches!(logical, L::Date | L::Timestamp { .. } | L::TimestampTz { .. })
}

/// A byte as a job file has it: in quotes.
fn written(byte: u8) -> String {
    match byte {
        b'\t' => "\"tab\"".to_owned(),
        0..=0x1F => format!("\"\\u{byte:04X}\""),
        b'"' => "'\"'".to_owned(),
        b'\\' => r#""\\""#.to_owned(),
        _ => format!("\"{}\"", char::from(byte)),
    }
}

fn one_column(other: &Reading) -> Error {
    let delimiter = other.dialect.delimiter;
    let count = other.cells() - 1;
    let message = format!("one column, and its header holds {count} {}", written(delimiter));
    Error::schema(message)
        .with_code(code::CSV_DELIMITER)
        .hint(format!("delimiter = {}", written(delimiter)))
}

fn ambiguous(one: &Reading, other: &Reading) -> Error {
    let said = |it: &Reading| format!("{} {} columns", written(it.dialect.delimiter), it.cells());
    let message = format!("the delimiter is not certain: {} and {}", said(one), said(other));
    let line = |it: &Reading| format!("delimiter = {}", written(it.dialect.delimiter));
    Error::schema(message).with_code(code::CSV_DELIMITER).hint(format!(
        "write the right one: {}, or {}",
        line(one),
        line(other)
    ))
}

/// What was found, and from how many lines.
fn notes(
    usual: &CsvDialect,
    found: &CsvDialect,
    said: &CsvSaid,
    first: First,
    records: usize,
) -> Vec<String> {
    let mut parts = Vec::new();
    if !said.delimiter {
        parts.push(format!("delimiter {}", written(found.delimiter)));
    }
    if let Some(quote) = found.quote.filter(|_| found.quote != usual.quote) {
        parts.push(format!("quote {}", written(quote)));
    }
    if let Some(escape) = found.escape.filter(|_| found.escape != usual.escape) {
        parts.push(format!("escape {}", written(escape)));
    }
    match first {
        _ if said.header => {}
        First::Header | First::Doubtful => parts.push("header".to_owned()),
        First::Row => parts.push("no header: line 1 is a row".to_owned()),
    }
    let lines = if records == 1 { "line".to_owned() } else { format!("{records} lines") };
    let mut notes = vec![format!("{} (from the first {lines})", parts.join(", "))];
    notes.retain(|_| !parts.is_empty());
    if first == First::Doubtful {
        notes.push("line 1 is read as the header; `header = false` if it is a row".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests;
