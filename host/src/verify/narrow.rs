//! Which rows have to be read at all: ranges of keys whose digests are the same on both sides hold the
//! same rows. A store that computes digests is asked for them, range by range down to few rows; for
//! one that does not, the program computes them from the rows, once.

use std::{cmp::Ordering, collections::VecDeque};

use parking_lot::Mutex;
use transload_plugin_api::{
    Column, Digest, DigestPart, DigestRequest, ErrorKind, LogicalType, Reader, Split,
};
use transload_values::{ChecksumSum, Compared};

use super::{
    comparison::Place,
    rows::Shape,
    side::{Refused, Side},
};
use crate::{Result, engine::Stop};

/// Parts into which a range is divided while both stores compute digests.
const PARTS: u32 = 32;
/// Parts into which all rows are divided at once where one side's rows are read.
const FINE: u32 = 1_024;
/// A range of no more rows is read.
const FEW: u64 = 2_000;
/// The most questions to both stores; what is left then is read.
const QUESTIONS: u64 = 400;

/// A store as it is asked for digests: its own names of the columns that are compared.
pub(super) struct Store<'a> {
    pub(super) reader: &'a dyn Reader,
    pub(super) columns: Vec<Column>,
    pub(super) key: Vec<String>,
}

/// The rows that have to be read.
#[derive(Default)]
pub(super) struct Scope {
    /// Of each side its splits; `None` for all of them.
    pub(super) splits: [Option<Vec<Split>>; 2],
    /// Of each side which of these rows count.
    pub(super) filters: [Option<Filter>; 2],
    /// Rows of ranges that are equal.
    pub(super) equal: u64,
    /// Where the digests were computed.
    pub(super) places: [Place; 2],
    /// How often a store was asked.
    pub(super) queries: u64,
    /// Of a side all of whose rows were read, those without a form to compare.
    pub(super) refused: [Option<Refused>; 2],
}

impl Scope {
    /// Whether there is nothing to read.
    pub(super) fn is_empty(&self) -> bool {
        self.splits.iter().flatten().any(Vec::is_empty)
            && self.filters.iter().flatten().all(|filter| !filter.differs.contains(&true))
            && self.queries > 0
    }
}

/// Rows of some ranges of keys.
#[derive(Clone)]
pub(super) struct Filter {
    key: Vec<usize>,
    /// In the order of keys.
    bounds: Vec<Vec<String>>,
    orders: Vec<Order>,
    /// Of each range whether its rows count.
    differs: Vec<bool>,
}

/// How the texts of keys of a type are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Number,
    Text,
    /// Of a moment: `Z` at its end does not count.
    Moment,
}

impl Order {
    /// Digests are of keys of no other types.
    fn of(column: &Column) -> Self {
        match &column.logical {
            LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => Self::Moment,
            logical if logical.family().contains("int") => Self::Number,
            _ => Self::Text,
        }
    }

    fn compare(self, one: &str, other: &str) -> Ordering {
        let number = |text: &str| text.parse::<i128>().unwrap_or_default();
        match self {
            Self::Number => number(one).cmp(&number(other)),
            Self::Text => one.cmp(other),
            Self::Moment => one.trim_end_matches('Z').cmp(other.trim_end_matches('Z')),
        }
    }
}

impl Filter {
    fn new(shape: &Shape, bounds: Vec<Vec<String>>) -> Self {
        let orders = shape.key.iter().map(|index| Order::of(&shape.columns[*index])).collect();
        let differs = vec![false; bounds.len() + 1];
        Self { key: shape.key.clone(), bounds, orders, differs }
    }

    /// The range of a row. A row in the wrong one costs time only: both differ then, and are read.
    fn range_of(&self, columns: &[Compared<'_>], row: usize) -> usize {
        let text = |index: &usize| {
            let mut text = Vec::new();
            if !columns[*index].is_null(row) {
                columns[*index].write(row, &mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        let key: Vec<_> = self.key.iter().map(text).collect();
        let is_before = |bound: &Vec<String>| {
            let parts = bound.iter().zip(&key).zip(&self.orders);
            let mut parts = parts.map(|((bound, key), order)| order.compare(bound, key));
            parts.find(|order| order.is_ne()) == Some(Ordering::Less)
        };
        self.bounds.partition_point(is_before)
    }

    /// Whether a row counts.
    pub(super) fn keeps(&self, columns: &[Compared<'_>], row: usize) -> bool {
        self.differs[self.range_of(columns, row)]
    }
}

/// A range of keys.
#[derive(Clone, Default)]
struct Range {
    after: Option<Vec<String>>,
    up_to: Option<Vec<String>>,
}

/// Finds the rows that have to be read.
pub(super) struct Narrowing<'a> {
    pub(super) shape: &'a Shape,
    pub(super) stores: [Store<'a>; 2],
    pub(super) sides: [&'a Side<'a>; 2],
    pub(super) stop: &'a Stop,
    pub(super) queries: u64,
}

impl Narrowing<'_> {
    /// Asks both stores.
    ///
    /// # Errors
    /// If a store is lost, or the stop signal is given. A store that fails in another way is read.
    pub(super) fn scope(mut self) -> Result<Scope> {
        if !self.shape.is_keyed() {
            return Ok(Scope::default());
        }
        let whole = Range::default();
        match self.ask(0, &whole, PARTS, &[])? {
            Some(ours) => match self.ask(1, &whole, 0, &bounds_of(&ours))? {
                Some(theirs) => self.bisect(ours, theirs),
                None => self.with_rows_of(1),
            },
            None => self.with_rows_of(0),
        }
    }

    fn ask(
        &mut self,
        side: usize,
        range: &Range,
        parts: u32,
        bounds: &[Vec<String>],
    ) -> Result<Option<Digest>> {
        self.stop.check()?;
        let store = &self.stores[side];
        let request = DigestRequest {
            columns: store.columns.clone(),
            key: store.key.clone(),
            after: range.after.clone(),
            up_to: range.up_to.clone(),
            parts,
            bounds: bounds.to_vec(),
        };
        match store.reader.digest(&request) {
            Ok(Some(digest)) if !digest.parts.is_empty() => {
                self.queries += 1;
                Ok(Some(digest))
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Connection) => {
                Err(error.into())
            }
            Err(error) => {
                tracing::warn!(
                    "no checksums of the {}, its rows are read: {error}",
                    self.sides[side].name
                );
                Ok(None)
            }
        }
    }

    /// Divides ranges that differ, until they have few rows.
    fn bisect(mut self, ours: Digest, theirs: Digest) -> Result<Scope> {
        let mut scope = Scope { places: [Place::Store; 2], ..Scope::default() };
        let (mut source, mut target) = (Vec::new(), Vec::new());
        let mut due = VecDeque::from([(Range::default(), ours, theirs)]);
        while let Some((range, ours, theirs)) = due.pop_front() {
            let pairs: Vec<_> = pairs(&range, ours, theirs);
            let differing = pairs.iter().filter(|pair| !pair.is_equal()).count();
            // Where most parts differ, dividing them again would find the same.
            let is_scattered = pairs.len() < 2 || 2 * differing > pairs.len();
            for Pair { range, ours, theirs } in pairs {
                if (ours.rows, &ours.checksum) == (theirs.rows, &theirs.checksum) {
                    scope.equal += ours.rows;
                    continue;
                }
                let is_few = ours.rows.max(theirs.rows) <= FEW;
                if !is_few && !is_scattered && self.queries < QUESTIONS {
                    // The side with more rows says where to divide.
                    let first = usize::from(theirs.rows > ours.rows);
                    if let Some(one) = self.ask(first, &range, PARTS, &[])?
                        && let Some(other) = self.ask(1 - first, &range, 0, &bounds_of(&one))?
                    {
                        let (ours, theirs) = if first == 0 { (one, other) } else { (other, one) };
                        due.push_back((range, ours, theirs));
                        continue;
                    }
                }
                source.push(ours.split);
                target.push(theirs.split);
            }
        }
        scope.splits = [Some(source), Some(target)];
        scope.queries = self.queries;
        Ok(scope)
    }

    /// Computes the digests of one side from its rows, if the other side's store computes them.
    fn with_rows_of(mut self, read: usize) -> Result<Scope> {
        let asked = 1 - read;
        let splits = self.sides[read].splits()?;
        let can_read_again =
            splits.iter().all(|split| split.ability > transload_plugin_api::SplitAbility::Volatile);
        if !can_read_again {
            return Ok(Scope::default());
        }
        let Some(digest) = self.ask(asked, &Range::default(), FINE, &[])? else {
            return Ok(Scope::default());
        };
        let mut filter = Filter::new(self.shape, bounds_of(&digest));
        let sums = Mutex::new(vec![(0_u64, ChecksumSum::default()); filter.differs.len()]);
        let refused = self.sides[read].each_batch(&splits, self.stop, &|batch| {
            let columns = self.shape.columns_of(batch)?;
            let mut found = Vec::with_capacity(batch.num_rows());
            self.shape.each(&columns, batch.num_rows(), |row, entry| {
                found.push((filter.range_of(&columns, row), entry.row));
            });
            let mut sums = sums.lock();
            for (range, checksum) in found {
                sums[range].0 += 1;
                sums[range].1.add(checksum);
            }
            Ok(())
        })?;
        let mut scope = Scope { queries: self.queries, ..Scope::default() };
        let mut differing = Vec::new();
        for (index, (part, (rows, sum))) in
            digest.parts.into_iter().zip(sums.into_inner()).enumerate()
        {
            if (part.rows, &part.checksum) == (rows, &sum.to_string()) {
                scope.equal += rows;
            } else {
                filter.differs[index] = true;
                differing.push(part.split);
            }
        }
        scope.places[asked] = Place::Store;
        scope.splits[asked] = Some(differing);
        scope.filters[read] = Some(filter);
        scope.refused[read] = Some(refused);
        Ok(scope)
    }
}

/// A part of both sides.
struct Pair {
    range: Range,
    ours: DigestPart,
    theirs: DigestPart,
}

impl Pair {
    fn is_equal(&self) -> bool {
        (self.ours.rows, &self.ours.checksum) == (self.theirs.rows, &self.theirs.checksum)
    }
}

/// The parts of a range on both sides; they end at the same keys.
fn pairs(range: &Range, ours: Digest, theirs: Digest) -> Vec<Pair> {
    let mut after = range.after.clone();
    let pair = |(ours, theirs): (DigestPart, DigestPart)| {
        let end = ours.up_to.clone().or_else(|| theirs.up_to.clone());
        let up_to = end.clone().or_else(|| range.up_to.clone());
        let range = Range { after: after.take(), up_to };
        after = end;
        Pair { range, ours, theirs }
    };
    ours.parts.into_iter().zip(theirs.parts).map(pair).collect()
}

/// The keys at the ends of all parts but the last.
fn bounds_of(digest: &Digest) -> Vec<Vec<String>> {
    digest.parts.iter().filter_map(|part| part.up_to.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_fall_into_the_range_that_ends_at_their_key() {
        let columns = vec![
            Column::new("a", LogicalType::Int64, true),
            Column::new("b", LogicalType::TEXT, true),
        ];
        let shape = Shape { columns, key: vec![0, 1] };
        let bound = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let filter = Filter::new(&shape, vec![bound("9", "x"), bound("10", "a"), bound("10", "c")]);
        for (a, b, range) in
            [(-3, "z", 0), (9, "x", 0), (9, "y", 1), (10, "a", 1), (10, "b", 2), (11, "", 3)]
        {
            let arrays: [ArrayRef; 2] =
                [Arc::new(Int64Array::from(vec![a])), Arc::new(StringArray::from(vec![b]))];
            let compared = shape.columns.iter().zip(&arrays);
            let compared = compared.map(|(column, array)| Compared::new(column, array.as_ref()));
            let compared: Vec<_> = compared.collect::<Result<_, _>>().unwrap();
            assert_eq!(filter.range_of(&compared, 0), range, "{a} {b}");
        }
        assert_eq!(Order::Moment.compare("10:00:00.5Z", "10:00:00Z"), Ordering::Greater);
    }
}
