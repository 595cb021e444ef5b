//! Maps the keys of JSON objects to columns. The rows of a file nearly always have their keys in
//! the same order, so the key that followed last time is tried first.

use std::collections::HashMap;

use transload_plugin_api::Column;

use super::scan::{Scan, Scanner, unescape};

/// No key: before the first one, or after a key whose successor is not known yet.
const NONE: u32 = u32::MAX;

/// This many spellings are cached; more only occur if keys are data. Spellings beyond the limit
/// cost a search each and are not checked for duplicates.
const MAX_SPELLINGS: usize = 65_536;

/// One key as it was spelled in some row.
struct Spelling {
    /// With quotes and colon, for comparison.
    quoted: Box<[u8]>,
    /// The wanted column, if the key is one.
    column: Option<usize>,
    /// Whether the schema has the key, wanted or not.
    known: bool,
    /// The spelling that followed it last time.
    next: u32,
    /// The last row that had it.
    row: u64,
    /// Number of rows that had it.
    rows: u64,
}

/// The classification of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The value belongs to this column.
    Column(usize),
    /// The schema has the key, but it is not wanted.
    Unwanted,
    /// The schema has no such key.
    Unknown,
    /// The same object has had the key before.
    Duplicate,
    /// It has an escape that is not one of JSON's.
    Wrong,
}

/// All spellings seen so far, and the position in the current row.
pub(super) struct Keys {
    columns: HashMap<Box<[u8]>, usize>,
    known: HashMap<Box<[u8]>, ()>,
    spellings: Vec<Spelling>,
    by_text: HashMap<Box<[u8]>, u32>,
    first: u32,
    last: u32,
    row: u64,
    /// For each column, the last row that had it.
    column_rows: Vec<u64>,
    /// The last key beyond [`MAX_SPELLINGS`], if it is the current one, and how many there were.
    stray: Option<String>,
    strays: u64,
}

impl Keys {
    /// `known`: further keys of the schema that are not wanted.
    pub(super) fn new<'a>(wanted: &[Column], known: impl IntoIterator<Item = &'a str>) -> Self {
        let boxed = |name: &str| Box::from(name.as_bytes());
        Self {
            columns: wanted.iter().enumerate().map(|(i, c)| (boxed(&c.name), i)).collect(),
            known: known.into_iter().map(|name| (boxed(name), ())).collect(),
            spellings: Vec::new(),
            by_text: HashMap::new(),
            first: NONE,
            last: NONE,
            row: 0,
            column_rows: vec![0; wanted.len()],
            stray: None,
            strays: 0,
        }
    }

    /// Starts the next object.
    pub(super) fn start_row(&mut self) {
        self.row += 1;
        self.last = NONE;
        self.stray = None;
    }

    /// Whether the current object had this column.
    pub(super) fn has(&self, column: usize) -> bool {
        self.column_rows.get(column) == Some(&self.row)
    }

    /// Takes a key and its colon from `scan`.
    #[inline]
    pub(super) fn take(&mut self, scan: &mut Scanner<'_>) -> Scan<Found> {
        scan.peek();
        let expected = match self.spellings.get(self.last as usize) {
            Some(spelling) => spelling.next,
            None => self.first,
        };
        if let Some(spelling) = self.spellings.get(expected as usize)
            && scan.take_bytes(&spelling.quoted)
        {
            return Ok(self.note(expected));
        }
        self.search(scan)
    }

    /// The slow path, for a key that is not the expected one.
    #[cold]
    fn search(&mut self, scan: &mut Scanner<'_>) -> Scan<Found> {
        let token = scan.key()?;
        if let Some(&index) = self.by_text.get(token.inner()) {
            self.link(index);
            return Ok(self.note(index));
        }
        let mut name = Vec::new();
        if unescape(token.inner(), &mut name).is_err() || std::str::from_utf8(&name).is_err() {
            return Ok(Found::Wrong);
        }
        let column = self.columns.get(name.as_slice()).copied();
        let known = column.is_some() || self.known.contains_key(name.as_slice());
        if self.spellings.len() >= MAX_SPELLINGS && column.is_none() {
            return Ok(if known { Found::Unwanted } else { self.note_stray(&name) });
        }
        self.stray = None;
        let index = self.spellings.len() as u32;
        self.by_text.insert(Box::from(token.inner()), index);
        let quoted = [token.raw, b":"].concat().into_boxed_slice();
        self.spellings.push(Spelling { quoted, column, known, next: NONE, row: 0, rows: 0 });
        self.link(index);
        Ok(self.note(index))
    }

    fn note_stray(&mut self, name: &[u8]) -> Found {
        self.strays += 1;
        self.stray = Some(String::from_utf8_lossy(name).into_owned());
        Found::Unknown
    }

    /// The key that was taken last and is not in the schema, as spelled.
    pub(super) fn current(&self) -> String {
        let spelling = self.spellings.get(self.last as usize);
        let stray = || self.stray.clone().unwrap_or_default();
        spelling.filter(|it| !it.known && self.stray.is_none()).map_or_else(stray, Spelling::text)
    }

    /// Records which key followed the last one.
    fn link(&mut self, index: u32) {
        match self.spellings.get_mut(self.last as usize) {
            Some(last) => last.next = index,
            None => self.first = index,
        }
    }

    #[inline]
    fn note(&mut self, index: u32) -> Found {
        self.last = index;
        let spelling = &mut self.spellings[index as usize];
        let duplicate = match spelling.column {
            // Two spellings (`"a"`, `"\u0061"`) can name the same column.
            Some(column) => std::mem::replace(&mut self.column_rows[column], self.row) == self.row,
            None => spelling.row == self.row,
        };
        spelling.rows += u64::from(spelling.row != self.row);
        spelling.row = self.row;
        match spelling.column {
            _ if duplicate => Found::Duplicate,
            Some(column) => Found::Column(column),
            None if spelling.known => Found::Unwanted,
            None => Found::Unknown,
        }
    }

    /// The keys that are not in the schema, as spelled, each with the number of rows that had it;
    /// those beyond the limit of spellings count as one.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (String, u64)> {
        let unknown = self.spellings.iter().filter(|spelling| !spelling.known);
        let unknown = unknown.map(|spelling| (spelling.text(), spelling.rows));
        unknown.chain((self.strays > 0).then(|| ("other keys".to_owned(), self.strays)))
    }
}

impl Spelling {
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.quoted);
        text.trim_end_matches(':').trim_matches('"').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use transload_plugin_api::LogicalType;

    use super::*;

    fn keys() -> Keys {
        let column = |name| Column::new(name, LogicalType::TEXT, true);
        Keys::new(&[column("a"), column("é")], ["old"])
    }

    fn found(keys: &mut Keys, row: &[&str]) -> Vec<Found> {
        keys.start_row();
        row.iter().map(|key| keys.take(&mut Scanner::new(key.as_bytes())).unwrap()).collect()
    }

    #[test]
    fn keys_are_found_in_any_order_and_spelling() {
        let mut keys = keys();
        use Found::{Column, Unknown, Unwanted};
        let all = [Column(0), Unwanted, Column(1), Unknown];
        for _ in 0..2 {
            let row = [r#""a":"#, r#" "old" :"#, r#""é":"#, r#""x":"#];
            assert_eq!(found(&mut keys, &row), all);
            assert_eq!(found(&mut keys, &[r#""\u00e9" :"#, r#""a":"#]), [Column(1), Column(0)]);
            assert!(keys.has(0) && keys.has(1));
        }
        assert_eq!(found(&mut keys, &[]), []);
        assert!(!keys.has(0));
        assert_eq!(keys.unknown().collect::<Vec<_>>(), [("x".to_owned(), 2)]);
    }

    #[test]
    fn duplicates_are_seen_in_one_object_only() {
        let mut keys = keys();
        use Found::{Column, Duplicate, Unknown};
        for _ in 0..2 {
            let row = [r#""é":"#, r#""\u00e9":"#, r#""x":"#, r#""x":"#];
            assert_eq!(found(&mut keys, &row), [Column(1), Duplicate, Unknown, Duplicate]);
        }
    }
}
