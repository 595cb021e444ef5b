//! A reference implementation of the CSV grammar, as plain as possible: byte by byte, one state,
//! one record at a time. The tests compare the fast code with it.

use proptest::prelude::*;

use super::{BOM, Boundary, CsvDialect};

/// A record by the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) cells: Vec<Cell>,
}

/// A cell's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Text(Vec<u8>),
    /// Text after a closing quote.
    Wrong,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    CellStart,
    Unquoted,
    Quoted,
    /// After a quote inside quotes: the closing quote, or the first half of a doubled one.
    QuoteInQuotes,
    Comment,
}

/// All records and where each begins; `true` if quotes are open at the end. Empty lines and
/// comments are records without cells.
pub(super) fn records(dialect: &CsvDialect, input: &[u8]) -> (Vec<Record>, bool) {
    let skipped = if input.starts_with(BOM) { BOM.len() } else { 0 };
    let mut records = Vec::new();
    let (mut line, mut at) = (1, skipped);
    let mut open = false;
    while at < input.len() {
        let (record, next, lines, unclosed) = record(dialect, input, at, line);
        records.push(record);
        at = next;
        line += lines;
        open = unclosed;
    }
    (records, open)
}

/// Reads one record: its cells, the start of the next, its lines, whether quotes are open at its
/// end.
fn record(
    dialect: &CsvDialect,
    input: &[u8],
    from: usize,
    line: u64,
) -> (Record, usize, u64, bool) {
    let mut state = State::CellStart;
    let mut cells = Vec::new();
    let mut lines = 0;
    // the raw bytes of the cell, each with whether an escape or quotes make it text
    let mut cell: Vec<(u8, bool)> = Vec::new();
    let (mut quoted, mut wrong) = (false, false);
    let mut at = from;
    if dialect.comment.is_some() && Some(input[at]) == dialect.comment {
        state = State::Comment;
    }
    let mut ended = false;
    while at < input.len() && !ended {
        let byte = input[at];
        at += 1;
        lines += u64::from(byte == b'\n');
        if state == State::Comment {
            ended = byte == b'\n';
            continue;
        }
        if Some(byte) == dialect.escape && at < input.len() {
            if state == State::QuoteInQuotes {
                wrong = true;
            }
            if state != State::Quoted {
                state = State::Unquoted;
            }
            lines += u64::from(input[at] == b'\n');
            cell.push((input[at], true));
            at += 1;
            continue;
        }
        if Some(byte) == dialect.quote {
            match state {
                State::CellStart => (state, quoted) = (State::Quoted, true),
                State::Quoted => state = State::QuoteInQuotes,
                State::QuoteInQuotes => {
                    state = State::Quoted;
                    cell.push((byte, true));
                }
                _ => cell.push((byte, false)),
            }
            continue;
        }
        if state == State::Quoted {
            cell.push((byte, true));
            continue;
        }
        if byte == dialect.delimiter || byte == b'\n' {
            ended = byte == b'\n';
            if ended && cell.last() == Some(&(b'\r', false)) {
                cell.pop();
                // the CR of a CR LF after a closing quote is not text
                wrong = wrong && !matches!(state, State::QuoteInQuotes);
            }
            cells.push(finish(dialect, &mut cell, &mut quoted, &mut wrong));
            state = State::CellStart;
            continue;
        }
        let carriage_return = byte == b'\r' && input.get(at).is_none_or(|next| *next == b'\n');
        if state == State::QuoteInQuotes && !carriage_return {
            wrong = true;
            state = State::Unquoted;
        } else if state == State::CellStart {
            state = State::Unquoted;
        }
        cell.push((byte, false));
    }
    if !ended && state != State::Comment {
        if cell.last() == Some(&(b'\r', false)) {
            cell.pop();
            wrong = wrong && !matches!(state, State::QuoteInQuotes);
        }
        cells.push(finish(dialect, &mut cell, &mut quoted, &mut wrong));
    }
    let empty = matches!(input[from..at], [b'\n'] | [b'\r', b'\n'] | [b'\r']);
    if state == State::Comment || empty {
        cells.clear();
    }
    (Record { line, offset: from as u64, cells }, at, lines, state == State::Quoted)
}

fn finish(
    dialect: &CsvDialect,
    cell: &mut Vec<(u8, bool)>,
    quoted: &mut bool,
    wrong: &mut bool,
) -> Cell {
    let raw = std::mem::take(cell);
    let (quoted, wrong) = (std::mem::take(quoted), std::mem::take(wrong));
    let escaped = raw.iter().any(|(_, escaped)| *escaped);
    let text: Vec<u8> = raw.into_iter().map(|(byte, _)| byte).collect();
    if wrong {
        Cell::Wrong
    } else if !quoted && !escaped && text == dialect.null.as_bytes() {
        Cell::Null
    } else {
        Cell::Text(text)
    }
}

/// The start of each record, and the end of the file if it ends with a line end.
pub(super) fn record_starts(dialect: &CsvDialect, input: &[u8]) -> Vec<Boundary> {
    let (records, open) = records(dialect, input);
    let mut starts: Vec<Boundary> = records
        .iter()
        .map(|record| Boundary { offset: record.offset, line: record.line })
        .collect();
    let skipped = if input.starts_with(BOM) { BOM.len() } else { 0 };
    let ends = match records.last() {
        None => true,
        Some(last) => !open && ends_its_record(dialect, &input[last.offset as usize..]),
    };
    if ends {
        let line = 1 + input.iter().filter(|byte| **byte == b'\n').count() as u64;
        starts.push(Boundary { offset: input.len().max(skipped) as u64, line });
    }
    starts
}

/// Whether a record's bytes end with the line end that ends it; another byte then begins the next
/// record.
fn ends_its_record(dialect: &CsvDialect, bytes: &[u8]) -> bool {
    let longer = [bytes, b"x"].concat();
    record(dialect, &longer, 0, 1).1 == bytes.len()
}

/// Dialects of every kind.
pub(super) fn dialects() -> impl Strategy<Value = CsvDialect> {
    let quote = prop_oneof![4 => Just(Some(b'"')), 1 => Just(Some(b'\'')), 1 => Just(None)];
    let escape = prop_oneof![3 => Just(None), 1 => Just(Some(b'\\'))];
    let comment = prop_oneof![3 => Just(None), 1 => Just(Some(b'#'))];
    let null = prop_oneof![2 => Just(""), 1 => Just("NULL"), 1 => Just("n")];
    (prop_oneof![Just(b','), Just(b';')], quote, escape, comment, null).prop_map(
        |(delimiter, quote, escape, comment, null)| CsvDialect {
            delimiter,
            quote,
            escape,
            comment,
            null: null.to_owned(),
            header: false,
            ..CsvDialect::default()
        },
    )
}

/// Inputs of mostly special bytes, some beyond a block of the scanner.
pub(super) fn inputs() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![",", ";", "\n", "\"", "\r\n", "\"\"", "\",\"", "\"\n"]),
        2 => prop::sample::select(vec!["\r", "'", "\\", "#", "\n#", "n", "NULL", "é"]),
        3 => prop::sample::select(vec!["a", "bc", " ", "1,2\n", "3;4\n", "some longer text "]),
    ];
    let body = prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat().into_bytes());
    (any::<bool>(), body).prop_map(
        |(marked, body)| {
            if marked { [BOM, body.as_slice()].concat() } else { body }
        },
    )
}
