//! Finds where a file may be split: record ends near wanted offsets, proven by tracking every quote
//! from the start of the file. A guess from the middle of a file is no proof, because the same
//! bytes may be inside quotes; the exception is a stretch so long that a quoted record would exceed
//! the limit.

use super::{
    BOM, CsvDialect,
    scan::{BLOCK, Quoting, block, find},
};

/// The start of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// The offset of its first byte, counted from 0.
    pub offset: u64,
    /// Its line, counted from 1.
    pub line: u64,
}

/// Takes the bytes before a wanted offset, piece by piece, and finds the last record that begins
/// among them, if these bytes alone prove it. A record beyond the limit is an error in any case, so
/// a line end that follows that many bytes without quotes is not inside quotes.
pub struct BoundaryProof {
    quote: Option<u8>,
    escape: Option<u8>,
    max_record: usize,
    /// Number of bytes taken.
    taken: usize,
    /// The position after the last quote or escape.
    doubtful: usize,
    /// The position after the last line end.
    start: usize,
}

impl BoundaryProof {
    /// This many bytes are enough if they contain no quotes.
    pub fn window(dialect: &CsvDialect) -> u64 {
        dialect.max_record as u64 + (1 << 20)
    }

    /// A proof for bytes of this dialect.
    pub fn new(dialect: &CsvDialect) -> Self {
        let (quote, escape) = (dialect.quote, dialect.true_escape());
        let max_record = dialect.max_record;
        Self { quote, escape, max_record, taken: 0, doubtful: 0, start: 0 }
    }

    /// Whether a proof can end with this piece, the last one of less than a record's limit: after a
    /// quote in it no start is proven.
    pub fn is_possible(&self, tail: &[u8]) -> bool {
        let has = |byte: Option<u8>| byte.is_some_and(|byte| memchr::memchr(byte, tail).is_some());
        tail.len() > self.max_record || !(has(self.quote) || has(self.escape))
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let last = |byte: Option<u8>| byte.and_then(|byte| memchr::memrchr(byte, piece));
        if let Some(special) = last(self.quote).max(last(self.escape)) {
            self.doubtful = self.taken + special + 1;
        }
        if let Some(end) = last(Some(b'\n')) {
            self.start = self.taken + end + 1;
        }
        self.taken += piece.len();
    }

    /// The start of the last record, counted from the first byte that was taken.
    pub fn finish(self) -> Option<usize> {
        let quotes = self.quote.is_some() || self.escape.is_some();
        let proven = self.doubtful + if quotes { self.max_record } else { 0 };
        (self.start > proven).then_some(self.start)
    }
}

/// Takes a whole file, piece by piece, and finds the first record that begins at or after each
/// wanted offset.
#[derive(Clone, Debug)]
pub struct BoundaryFinder {
    /// Wanted offsets that have not been reached, the nearest last.
    wanted: Vec<u64>,
    found: Vec<Boundary>,
    quoting: Quoting,
    dialect: CsvDialect,
    /// Number of bytes before the current piece.
    offset: usize,
    /// The current line, counted from 1.
    line: u64,
    /// The byte before the piece; a line end at the start of the file.
    before: u8,
    record: Record,
    /// The first bytes of the file, while they may be a byte order mark.
    start: Option<Vec<u8>>,
}

/// The state of the current record; needed only if the dialect has comments.
#[derive(Clone, Copy, Debug)]
enum Record {
    /// The first byte, at this offset in the file, has not been read yet.
    Begins(usize),
    Commented,
    Plain,
}

impl BoundaryFinder {
    /// A finder for offsets in any order, counted from the start of the file.
    pub fn new(dialect: &CsvDialect, mut wanted: Vec<u64>) -> Self {
        wanted.sort_unstable_by(|one, other| other.cmp(one));
        Self {
            wanted,
            found: Vec::new(),
            quoting: Quoting::new(dialect),
            dialect: dialect.clone(),
            offset: 0,
            line: 1,
            before: b'\n',
            record: Record::Plain,
            start: Some(Vec::new()),
        }
    }

    /// For pieces that begin after the head of a file, at this byte, counted from 0, and line.
    #[must_use]
    pub fn behind_head(mut self, byte: u64, line: u64) -> Self {
        self.start = None;
        self.offset = byte as usize;
        self.line = line;
        self.begin_record(self.offset);
        self
    }

    /// Takes the next piece of the file.
    pub fn push(&mut self, piece: &[u8]) {
        let Some(mut start) = self.start.take() else { return self.follow(piece) };
        start.extend_from_slice(piece);
        if start.len() < BOM.len() && BOM.starts_with(&start) {
            self.start = Some(start);
        } else {
            self.begin(&start);
        }
    }

    /// Whether every wanted offset has been reached, so that the rest of the file need not be
    /// pushed.
    pub fn is_done(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The boundaries in the file's order, each once. An offset after the last line end has no
    /// boundary; a boundary may be at the very end of the file.
    pub fn finish(mut self) -> Vec<Boundary> {
        if let Some(start) = self.start.take() {
            self.begin(&start);
        }
        self.found
    }

    fn begin(&mut self, start: &[u8]) {
        let rest = start.strip_prefix(BOM).unwrap_or(start);
        self.offset = start.len() - rest.len();
        self.begin_record(self.offset);
        self.follow(rest);
    }

    fn follow(&mut self, piece: &[u8]) {
        let mut at = 0;
        while at < piece.len() && !self.is_done() {
            if self.dialect.comment.is_none() && self.quoting.is_calm(self.offset + at) {
                let end = self.next_special(&piece[at..]).map_or(piece.len(), |found| at + found);
                self.follow_calm(&piece[at..end], at);
                at = end;
            }
            self.follow_block(piece, at);
            at += BLOCK;
        }
        self.look_at_first_byte(piece);
        self.offset += piece.len();
        self.before = piece.last().copied().unwrap_or(self.before);
    }

    /// The position of the next quote or escape.
    fn next_special(&self, piece: &[u8]) -> Option<usize> {
        match (self.dialect.quote, self.dialect.true_escape()) {
            (Some(quote), Some(escape)) => memchr::memchr2(quote, escape, piece),
            (Some(byte), None) | (None, Some(byte)) => memchr::memchr(byte, piece),
            (None, None) => None,
        }
    }

    /// A stretch without quotes and escapes, outside quotes: every line end ends a record.
    /// `before`: number of bytes of the piece before the stretch.
    fn follow_calm(&mut self, stretch: &[u8], before: usize) {
        let mut at = 0;
        while let Some(wanted) = self.wanted.last() {
            // the line end of a record that begins at the wanted offset is one byte before it
            let near = (*wanted as usize).saturating_sub(1 + self.offset + before).max(at);
            if near >= stretch.len() {
                break;
            }
            self.line += lines(&stretch[at..near]);
            let Some(end) = memchr::memchr(b'\n', &stretch[near..]) else { return };
            at = near + end + 1;
            self.line += 1;
            self.begin_record(self.offset + before + at);
        }
        self.line += lines(&stretch[at..]);
    }

    /// Follows one block, one special byte at a time.
    fn follow_block(&mut self, piece: &[u8], base: usize) {
        let bytes = block(piece, base);
        let newlines = find(&bytes, b'\n');
        let mut bits = newlines | self.quoting.special(&bytes);
        while bits != 0 {
            let newline = newlines & bits & bits.wrapping_neg() != 0;
            let place = base + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            self.line += u64::from(newline);
            if self.counts(piece, place, newline) {
                self.begin_record(self.offset + place + 1);
            }
        }
    }

    /// Whether the special byte is a line end that ends a record.
    fn counts(&mut self, piece: &[u8], place: usize, newline: bool) -> bool {
        self.look_at_first_byte(piece);
        if matches!(self.record, Record::Commented) {
            return newline;
        }
        let at = self.offset + place;
        let before = place.checked_sub(1).map_or(self.before, |before| piece[before]);
        let separator = before == self.dialect.delimiter || before == b'\n';
        let starts_cell =
            separator && at.checked_sub(1).is_none_or(|at| !self.quoting.is_escaped(at));
        self.quoting.step(piece[place], at, starts_cell)
    }

    /// A record begins here; this is a boundary if one is wanted at or before it.
    fn begin_record(&mut self, at: usize) {
        let offset = at as u64;
        if self.dialect.comment.is_some() {
            self.record = Record::Begins(at);
        }
        if self.wanted.last().is_some_and(|wanted| *wanted <= offset) {
            self.found.push(Boundary { offset, line: self.line });
            while self.wanted.pop_if(|wanted| *wanted <= offset).is_some() {}
        }
    }

    fn look_at_first_byte(&mut self, piece: &[u8]) {
        let Record::Begins(at) = self.record else { return };
        if let Some(byte) = piece.get(at - self.offset) {
            let commented = Some(*byte) == self.dialect.comment;
            self.record = if commented { Record::Commented } else { Record::Plain };
        }
    }
}

fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{MAX_RECORD, csv::plain};

    fn boundaries(
        dialect: &CsvDialect,
        input: &[u8],
        wanted: &[u64],
        piece: usize,
    ) -> Vec<Boundary> {
        let mut finder = BoundaryFinder::new(dialect, wanted.to_vec());
        input.chunks(piece.max(1)).for_each(|piece| finder.push(piece));
        finder.finish()
    }

    /// The first record start at or after each wanted offset, found by the reference state machine.
    fn expected(dialect: &CsvDialect, input: &[u8], wanted: &[u64]) -> Vec<Boundary> {
        let starts = plain::record_starts(dialect, input);
        let mut found: Vec<Boundary> = wanted
            .iter()
            .filter_map(|offset| starts.iter().find(|start| start.offset >= *offset).copied())
            .collect();
        found.sort_by_key(|boundary| boundary.offset);
        found.dedup();
        found
    }

    #[test]
    fn t53_a_window_proves_a_start_only_far_behind_the_last_quote() {
        let proven = |dialect: &CsvDialect, window: &[u8]| {
            let mut proof = BoundaryProof::new(dialect);
            window.chunks(1_000_003).for_each(|piece| proof.push(piece));
            proof.finish()
        };
        let dialect = CsvDialect::default();
        let lines = b"1,abc\n".repeat(MAX_RECORD / 6 + 10);
        let end = lines.len();
        assert_eq!(proven(&dialect, &lines), Some(end));
        assert_eq!(proven(&dialect, &lines[..end - 1]), Some(end - 6));
        assert_eq!(proven(&dialect, &lines[end - MAX_RECORD..]), None);
        let mut quoted = lines.clone();
        quoted[30] = b'"';
        assert_eq!(proven(&dialect, &quoted), Some(end));
        quoted[end - 100] = b'"';
        assert_eq!(proven(&dialect, &quoted), None);
        let plain = CsvDialect { quote: None, ..dialect };
        assert_eq!(proven(&plain, b"1,\"\n2"), Some(4));
        assert_eq!(proven(&plain, b"1,2"), None);
    }

    #[test]
    fn t53_a_line_end_inside_quotes_is_no_boundary() {
        let input = b"a,b\n1,\"x\ny\"\n2,z\n";
        let dialect = CsvDialect::default();
        let wanted = [0, 1, 5, 8, 12, 13, 17, 18];
        let found = boundaries(&dialect, input, &wanted, 100);
        let pairs: Vec<_> = found.iter().map(|found| (found.offset, found.line)).collect();
        assert_eq!(pairs, [(0, 1), (4, 2), (12, 4), (16, 5)]);
    }

    #[test]
    fn what_lies_behind_the_last_offset_is_not_needed() {
        let mut finder = BoundaryFinder::new(&CsvDialect::default(), vec![1]);
        finder.push(b"a,b\n1,");
        assert!(finder.is_done());
        assert_eq!(finder.finish(), [Boundary { offset: 4, line: 2 }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn t53_boundaries_are_those_of_the_plain_state_machine(
            (dialect, input) in (plain::dialects(), plain::inputs()),
            wanted in prop::collection::vec(0u64..400, 0..6),
            piece in 1usize..200,
        ) {
            prop_assert_eq!(
                boundaries(&dialect, &input, &wanted, piece),
                expected(&dialect, &input, &wanted)
            );
        }
    }
}
