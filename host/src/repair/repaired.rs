//! A file of exported rows, read back: the id before each record is checked and taken away, and
//! what is left is a file that the job's reader reads. Lines keep their numbers.

use std::collections::{BTreeMap, HashSet};

use transload_plugin_api::{RecordDialect, code};
use transload_values::JsonRow;

use super::{
    form::{Form, ID, Records},
    row::{RowId, Values},
};
use crate::{Error, Exit, Result};

/// The rows of a file.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    /// The dirty row that each record is, in order.
    pub(crate) ids: Vec<RowId>,
    /// The file without ids.
    pub(crate) text: Vec<u8>,
}

/// The most problems that are named.
const NAMED: usize = 10;

/// A file while it is read.
struct Reading<'a> {
    /// What the run has: the number of dirty rows of each task.
    rows: &'a BTreeMap<u32, u64>,
    mark: &'a str,
    /// The file's name, for messages.
    file: &'a str,
    line: u64,
    seen: HashSet<RowId>,
    read: Repaired,
    problems: Vec<String>,
}

impl Repaired {
    /// Reads a file in this form, whose rows are those of the run with this mark.
    ///
    /// # Errors
    /// [`code::DIRTY_ID`] if a record has no id, or the id of no row of the run, or that of another
    /// record: the places of the first ones.
    pub(crate) fn read(
        form: &Form,
        (mark, rows): (&str, &BTreeMap<u32, u64>),
        file: &str,
        text: &[u8],
    ) -> Result<Self> {
        let (read, problems) = (Self::default(), Vec::new());
        let mut reading =
            Reading { rows, mark, file, line: 0, seen: HashSet::new(), read, problems };
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        match &form.records {
            Records::Csv(names, dialect) => reading.csv(text, names.len(), dialect),
            Records::Lines => reading.lines(text),
        }
        reading.finish()
    }
}

impl Reading<'_> {
    fn finish(self) -> Result<Repaired> {
        let Self { problems, read, file, .. } = self;
        let Some(first) = problems.first() else { return Ok(read) };
        let more = problems.len() - 1;
        let more = match more {
            0 => String::new(),
            more => format!(" ({more} more such line{})", if more == 1 { "" } else { "s" }),
        };
        let named = problems.iter().skip(1).take(NAMED - 1).cloned();
        let hint = "each record begins with its id, as `transload dirty export` wrote it; rows that \
                    are not dirty rows of the run are loaded by the job itself";
        let hint: Vec<_> = named.chain([hint.to_owned()]).collect();
        Err(Error::new(Exit::Usage, format!("{first}{more}"))
            .at(file.to_owned())
            .code(code::DIRTY_ID)
            .hint(hint.join("\n")))
    }

    fn csv(&mut self, text: &[u8], cells: usize, dialect: &RecordDialect) {
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        if dialect.header {
            let Some(header) = lines.next() else { return };
            self.line += 1;
            match first_cell(header, dialect) {
                Some((name, rest)) if name == ID.as_bytes() => {
                    self.read.text.extend_from_slice(rest);
                }
                _ => {
                    return self.problem(&format!(
                        "the first column must be `{ID}`, and the delimiter `{}`",
                        dialect.delimiter.escape_debug()
                    ));
                }
            }
        }
        let mut is_open = false;
        for line in lines {
            self.line += 1;
            let id =
                first_cell(line, dialect).and_then(|(cell, rest)| Some((self.id(cell)?, rest)));
            let rest = match id {
                // An id begins a record also where quotes of the one before are not closed.
                Some((id, rest)) => {
                    is_open = false;
                    if cells < 2 && rest.trim_ascii().is_empty() {
                        self.problem("an empty line cannot be sent as a row");
                    }
                    self.take(id);
                    rest
                }
                None if is_open => line,
                None if line.trim_ascii().is_empty() => line,
                None => {
                    self.problem("the record has no id");
                    line
                }
            };
            is_open ^= has_odd_quotes(rest, dialect);
            self.read.text.extend_from_slice(rest);
        }
    }

    fn lines(&mut self, text: &[u8]) {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            self.line += 1;
            if line.trim_ascii().is_empty() {
                self.read.text.extend_from_slice(line);
                continue;
            }
            let Some((id, record)) = line_without_id(line) else {
                self.problem("the record has no id");
                continue;
            };
            match self.id(id.as_bytes()) {
                Some(id) => self.take(id),
                None => self.problem(&format!("`{}` is no id of this run", id.escape_debug())),
            }
            self.read.text.extend_from_slice(&record);
        }
    }

    /// The id that a cell is, if it is one of this run's form.
    fn id(&self, cell: &[u8]) -> Option<RowId> {
        let cell = std::str::from_utf8(cell).ok()?;
        cell.trim().strip_prefix(self.mark)?.strip_prefix('.')?.parse().ok()
    }

    fn take(&mut self, id: RowId) {
        let last = self.rows.get(&id.task).copied().unwrap_or_default();
        if !(1..=last).contains(&id.number) {
            self.problem(&format!("the run has no dirty row `{}`", id.marked(self.mark)));
        } else if !self.seen.insert(id) {
            self.problem(&format!("the id `{}` comes twice", id.marked(self.mark)));
        }
        self.read.ids.push(id);
    }

    fn problem(&mut self, problem: &str) {
        self.problems.push(format!("line {}: {problem}", self.line));
    }
}

/// The first cell of a line without quotes, and what follows its delimiter.
fn first_cell<'l>(line: &'l [u8], dialect: &RecordDialect) -> Option<(&'l [u8], &'l [u8])> {
    let (delimiter, quote) = (byte(dialect.delimiter), dialect.quote.map(byte));
    let (cell, rest) = match quote.filter(|quote| line.first() == Some(quote)) {
        Some(quote) => {
            let end = 1 + line[1..].iter().position(|byte| *byte == quote)?;
            (&line[1..end], &line[end + 1..])
        }
        None => {
            let end = line.iter().position(|byte| *byte == delimiter || *byte == b'\n');
            line.split_at(end.unwrap_or(line.len()))
        }
    };
    match rest.first() {
        Some(byte) if *byte == delimiter => Some((cell, &rest[1..])),
        _ => Some((cell.trim_ascii_end(), rest)),
    }
}

/// A dialect's bytes are ASCII.
fn byte(c: char) -> u8 {
    u8::try_from(c).unwrap_or(b',')
}

fn has_odd_quotes(line: &[u8], dialect: &RecordDialect) -> bool {
    let Some(quote) = dialect.quote.map(byte) else { return false };
    let escape = dialect.escape.map(byte).filter(|escape| *escape != quote);
    let (mut odd, mut is_escaped) = (false, false);
    for byte in line {
        match *byte {
            _ if is_escaped => is_escaped = false,
            byte if Some(byte) == escape => is_escaped = true,
            byte => odd ^= byte == quote,
        }
    }
    odd
}

/// The id of a line, and the record without it.
fn line_without_id(line: &[u8]) -> Option<(String, Vec<u8>)> {
    if let Ok(Values(mut pairs)) = serde_json::from_slice::<Values>(line) {
        let at = pairs.iter().position(|(key, _)| key == ID)?;
        let id = serde_json::from_str(pairs[at].1.get()).ok()?;
        if at > 0 {
            pairs.remove(at);
            let mut object = JsonRow::default();
            pairs.iter().for_each(|(key, value)| object.raw(key, value.get()));
            return Some((id, (object.finish() + "\n").into_bytes()));
        }
    }
    // As it was exported: the rest stays as it is, whether it is JSON or not.
    let rest = line.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    let rest = rest.strip_prefix(format!("\"{ID}\"").as_bytes())?.trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let id = String::from_utf8_lossy(&rest[..end]).into_owned();
    let rest = rest[end + 1..].trim_ascii_start();
    let record = match rest.first()? {
        b',' => [b"{", rest[1..].trim_ascii_start()].concat(),
        b'}' if rest[1..].trim_ascii().is_empty() => b"{}\n".to_vec(),
        b'}' => rest[1..].trim_ascii_start().to_vec(),
        _ => return None,
    };
    Some((id, record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair::form::tests::{csv_form, lines_form};

    fn read(form: &Form, text: &str) -> Result<(Vec<String>, String)> {
        let rows = BTreeMap::from([(0, 5), (2, 1)]);
        let read = Repaired::read(form, ("ab12cd34", &rows), "fix.csv", text.as_bytes())?;
        let ids = read.ids.iter().map(ToString::to_string).collect();
        Ok((ids, String::from_utf8(read.text).unwrap()))
    }

    #[test]
    fn ids_are_taken_away_and_lines_keep_their_numbers() {
        let form = csv_form(&["id", "note"], ',', Some('"'));
        let text = "_dirty,id,note\nab12cd34.0.2,2,\"a\nb\"\n\"ab12cd34.2.1\",\"x\",y\n\
                    ab12cd34.0.4,4,\"open\nab12cd34.0.5,5,e\n\n";
        let (ids, rest) = read(&form, text).unwrap();
        assert_eq!(ids, ["0.2", "2.1", "0.4", "0.5"]);
        assert_eq!(rest, "id,note\n2,\"a\nb\"\n\"x\",y\n4,\"open\n5,e\n\n");
        // As an editor on Windows saves it.
        let (ids, rest) = read(&form, "\u{feff}_dirty,id,note\r\nab12cd34.0.2,2,a\r\n").unwrap();
        assert_eq!((ids.len(), rest.as_str()), (1, "id,note\r\n2,a\r\n"));
    }

    #[test]
    fn wrong_ids_are_named_with_their_lines() {
        let form = csv_form(&["id", "note"], ';', Some('"'));
        for (text, words) in [
            ("id;note\n1;a\n", "line 1: the first column must be `_dirty`"),
            (
                "_dirty,id,note\nab12cd34.0.1,1,a\n",
                "line 1: the first column must be `_dirty`, and the delimiter `;`",
            ),
            ("_dirty;id;note\n7;a\n", "line 2: the record has no id"),
            ("_dirty;id;note\nffffffff.0.1;7;a\n", "line 2: the record has no id"),
            (
                "_dirty;id;note\nab12cd34.0.6;7;a\n",
                "line 2: the run has no dirty row `ab12cd34.0.6`",
            ),
            (
                "_dirty;id;note\nab12cd34.1.1;7;a\n",
                "line 2: the run has no dirty row `ab12cd34.1.1`",
            ),
            (
                "_dirty;id;note\nab12cd34.0.1;1;\"a\nb\"\nab12cd34.0.1;1;b\n",
                "line 4: the id `ab12cd34.0.1` comes twice",
            ),
            ("_dirty;id;note\n7;a\n8;b\n", "line 2: the record has no id (1 more such line)"),
        ] {
            let error = read(&form, text).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("[DIRTY-ID] fix.csv"), "{error}");
        }
    }

    #[test]
    fn ids_of_json_lines_are_taken_away() {
        let text = "{\"_dirty\":\"ab12cd34.0.1\",\"id\":\"x\", \"n\":1.50 }\n\
                    { \"_dirty\": \"ab12cd34.0.2\", \"n\": 2 }\n\
                    {\"n\":1234567890123456789012.5,\"_dirty\":\"ab12cd34.0.3\"}\n\
                    {\"_dirty\":\"ab12cd34.0.4\"}no json\n\
                    {\"_dirty\":\"ab12cd34.0.5\",\"id\":3,\n";
        let (ids, rest) = read(&lines_form(), text).unwrap();
        assert_eq!(ids.len(), 5);
        assert_eq!(
            rest,
            "{\"id\":\"x\", \"n\":1.50 }\n{\"n\": 2 }\n{\"n\":1234567890123456789012.5}\nno json\n{\"id\":3,\n"
        );
        let error = read(&lines_form(), "{\"id\":1}\n").unwrap_err().to_string();
        assert!(error.contains("line 1: the record has no id"), "{error}");
        let error = read(&lines_form(), "{\"_dirty\":\"x\",\"id\":1}\n").unwrap_err().to_string();
        assert!(error.contains("line 1: `x` is no id of this run"), "{error}");
    }
}
