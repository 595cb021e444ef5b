//! Maps the keys of JSON objects to columns, also those of objects within them, if these are divided
//! into columns. The rows of a file nearly always have their keys in the same order, so the key that
//! followed last time is tried first.

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
    /// The level of the object that is its value, if the schema has columns of its keys.
    inner: Option<usize>,
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
    /// The keys of the object behind it have columns; their level.
    Inner(usize),
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
    /// The first is that of the rows themselves.
    levels: Vec<Level>,
    /// Number of spellings in all levels.
    spellings: usize,
    row: u64,
    /// For each column, the last row that had it.
    column_rows: Vec<u64>,
    /// The last key beyond [`MAX_SPELLINGS`], if it is the current one, and how many there were.
    stray: Option<String>,
    strays: u64,
}

/// The keys of the objects in one place.
#[derive(Default)]
struct Level {
    /// What stands before its keys in the names of columns: empty, or `outer.`.
    prefix: String,
    columns: HashMap<Box<[u8]>, usize>,
    known: HashMap<Box<[u8]>, ()>,
    inner: HashMap<Box<[u8]>, usize>,
    spellings: Vec<Spelling>,
    by_text: HashMap<Box<[u8]>, u32>,
    first: u32,
    last: u32,
}

impl Keys {
    /// `known`: further keys of the schema that are not wanted.
    pub(super) fn new<'a>(wanted: &[Column], known: impl IntoIterator<Item = &'a str>) -> Self {
        let boxed = |name: &str| Box::from(name.as_bytes());
        let rows = Level {
            columns: wanted.iter().enumerate().map(|(i, c)| (boxed(&c.name), i)).collect(),
            known: known.into_iter().map(|name| (boxed(name), ())).collect(),
            first: NONE,
            last: NONE,
            ..Level::default()
        };
        Self {
            levels: vec![rows],
            spellings: 0,
            row: 0,
            column_rows: vec![0; wanted.len()],
            stray: None,
            strays: 0,
        }
    }

    /// The same for objects that are divided: the column `outer.inner` is the key `inner` of the
    /// object behind `outer`, unless a row has the key `outer.inner` itself.
    pub(super) fn flatten(&mut self) {
        let rows = &self.levels[0];
        let columns: Vec<_> = rows.columns.iter().map(|(name, at)| (name.clone(), *at)).collect();
        let known: Vec<_> = rows.known.keys().cloned().collect();
        for (name, column) in columns {
            self.insert(&name, |level, key| level.columns.extend([(key, column)]));
        }
        for name in known {
            self.insert(&name, |level, key| level.known.extend([(key, ())]));
        }
    }

    /// Adds a name to the levels of all its prefixes that end with a point.
    fn insert(&mut self, name: &[u8], mut add: impl FnMut(&mut Level, Box<[u8]>)) {
        let Ok(name) = std::str::from_utf8(name) else { return };
        let mut outer = vec![0];
        for (point, _) in name.match_indices('.') {
            let (prefix, rest) = name.split_at(point + 1);
            let level = self.level(prefix);
            for of in &outer {
                let of = &mut self.levels[*of];
                let key = &name[of.prefix.len()..point];
                of.inner.insert(Box::from(key.as_bytes()), level);
            }
            add(&mut self.levels[level], Box::from(rest.as_bytes()));
            outer.push(level);
        }
    }

    fn level(&mut self, prefix: &str) -> usize {
        if let Some(at) = self.levels.iter().position(|level| level.prefix == prefix) {
            return at;
        }
        let prefix = prefix.to_owned();
        self.levels.push(Level { prefix, first: NONE, last: NONE, ..Level::default() });
        self.levels.len() - 1
    }

    /// Starts the next row.
    pub(super) fn start_row(&mut self) {
        self.row += 1;
        self.stray = None;
    }

    /// Starts an object of the row.
    pub(super) fn start_object(&mut self, level: usize) {
        self.levels[level].last = NONE;
    }

    /// Whether the current row had this column.
    pub(super) fn has(&self, column: usize) -> bool {
        self.column_rows.get(column) == Some(&self.row)
    }

    /// Takes a key of an object and its colon from `scan`.
    #[inline]
    pub(super) fn take(&mut self, level: usize, scan: &mut Scanner<'_>) -> Scan<Found> {
        scan.peek();
        let keys = &self.levels[level];
        let expected = match keys.spellings.get(keys.last as usize) {
            Some(spelling) => spelling.next,
            None => keys.first,
        };
        if let Some(spelling) = keys.spellings.get(expected as usize)
            && scan.take_bytes(&spelling.quoted)
        {
            return Ok(self.note(level, expected));
        }
        self.search(level, scan)
    }

    /// The slow path, for a key that is not the expected one.
    #[cold]
    fn search(&mut self, level: usize, scan: &mut Scanner<'_>) -> Scan<Found> {
        let token = scan.key()?;
        if let Some(&index) = self.levels[level].by_text.get(token.inner()) {
            self.levels[level].link(index);
            return Ok(self.note(level, index));
        }
        let mut name = Vec::new();
        if unescape(token.inner(), &mut name).is_err() || std::str::from_utf8(&name).is_err() {
            return Ok(Found::Wrong);
        }
        let keys = &mut self.levels[level];
        let column = keys.columns.get(name.as_slice()).copied();
        let inner = keys.inner.get(name.as_slice()).copied();
        let known = column.is_some() || inner.is_some() || keys.known.contains_key(name.as_slice());
        if self.spellings >= MAX_SPELLINGS && column.is_none() && inner.is_none() {
            return Ok(if known { Found::Unwanted } else { self.note_stray(level, &name) });
        }
        self.stray = None;
        self.spellings += 1;
        let index = keys.spellings.len() as u32;
        keys.by_text.insert(Box::from(token.inner()), index);
        let quoted = [token.raw, b":"].concat().into_boxed_slice();
        keys.spellings.push(Spelling { quoted, column, known, inner, next: NONE, row: 0, rows: 0 });
        keys.link(index);
        Ok(self.note(level, index))
    }

    fn note_stray(&mut self, level: usize, name: &[u8]) -> Found {
        self.strays += 1;
        let prefix = &self.levels[level].prefix;
        self.stray = Some(format!("{prefix}{}", String::from_utf8_lossy(name)));
        Found::Unknown
    }

    /// The key that was taken last and is not in the schema, as spelled.
    pub(super) fn current(&self, level: usize) -> String {
        let keys = &self.levels[level];
        let spelling = keys.spellings.get(keys.last as usize);
        let spelling = spelling.filter(|it| !it.known && self.stray.is_none());
        let stray = || self.stray.clone().unwrap_or_default();
        spelling.map_or_else(stray, |it| keys.spelled(it))
    }

    #[inline]
    fn note(&mut self, level: usize, index: u32) -> Found {
        let keys = &mut self.levels[level];
        keys.last = index;
        let spelling = &mut keys.spellings[index as usize];
        let duplicate = match spelling.column {
            // Two spellings (`"a"`, `"\u0061"`) can name the same column.
            Some(column) => std::mem::replace(&mut self.column_rows[column], self.row) == self.row,
            None => spelling.row == self.row,
        };
        spelling.rows += u64::from(spelling.row != self.row);
        spelling.row = self.row;
        match (spelling.column, spelling.inner) {
            _ if duplicate => Found::Duplicate,
            (Some(column), _) => Found::Column(column),
            (None, Some(inner)) => Found::Inner(inner),
            (None, None) if spelling.known => Found::Unwanted,
            (None, None) => Found::Unknown,
        }
    }

    /// The keys that are not in the schema, as spelled, each with the number of rows that had it;
    /// those beyond the limit of spellings count as one.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (String, u64)> {
        let of_level = |keys: &'_ Level| {
            let unknown = keys.spellings.iter().filter(|spelling| !spelling.known);
            unknown.map(|it| (keys.spelled(it), it.rows)).collect::<Vec<_>>()
        };
        let unknown = self.levels.iter().flat_map(of_level);
        unknown.chain((self.strays > 0).then(|| ("other keys".to_owned(), self.strays)))
    }
}

impl Level {
    /// Records which key followed the last one.
    fn link(&mut self, index: u32) {
        match self.spellings.get_mut(self.last as usize) {
            Some(last) => last.next = index,
            None => self.first = index,
        }
    }

    fn spelled(&self, spelling: &Spelling) -> String {
        format!("{}{}", self.prefix, spelling.text())
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
        keys.start_object(0);
        row.iter().map(|key| keys.take(0, &mut Scanner::new(key.as_bytes())).unwrap()).collect()
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

    #[test]
    fn keys_of_divided_objects_have_columns() {
        let column = |name| Column::new(name, LogicalType::TEXT, true);
        let mut keys = Keys::new(&[column("a.b.c"), column("a.d"), column("e")], ["a.x"]);
        keys.flatten();
        let take = |keys: &mut Keys, level, key: &str| {
            keys.take(level, &mut Scanner::new(key.as_bytes())).unwrap()
        };
        for _ in 0..2 {
            keys.start_row();
            keys.start_object(0);
            let Found::Inner(a) = take(&mut keys, 0, r#""a":"#) else { panic!("an object") };
            keys.start_object(a);
            assert_eq!(take(&mut keys, a, r#""d":"#), Found::Column(1));
            assert_eq!(take(&mut keys, a, r#""x":"#), Found::Unwanted);
            let Found::Inner(b) = take(&mut keys, a, r#""b":"#) else { panic!("an object") };
            keys.start_object(b);
            assert_eq!(take(&mut keys, b, r#""c":"#), Found::Column(0));
            assert_eq!(take(&mut keys, b, r#""y":"#), Found::Unknown);
            assert_eq!(keys.current(b), "a.b.y");
            // The same column by its whole name, and by the name of half of its path.
            assert_eq!(take(&mut keys, 0, r#""a.b.c":"#), Found::Duplicate);
            assert_eq!(take(&mut keys, 0, r#""a.b":"#), Found::Inner(b));
            assert_eq!(take(&mut keys, a, r#""b.c":"#), Found::Duplicate);
        }
        assert_eq!(keys.unknown().collect::<Vec<_>>(), [("a.b.y".to_owned(), 2)]);
    }
}
