//! Key ranges: half-open, the first without a lower and the last without an upper bound, so that
//! rows added at either end during the run are read as well, and each row exactly once.
//! Where the boundaries of other than integer keys lie, the database must say.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use transload_plugin_api::{Column, Error, Position, Result, Split, SplitRequest};

use crate::{Dialect, KeyValue, TableName, decode_key, known_columns};

/// The rows of one split, by their key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyRange {
    /// The rows whose key is NULL: no comparison ever finds them.
    Null,
    /// `from <= key < to`; an absent bound is open. Both absent is every row, NULL keys too.
    Between {
        /// The first key inside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<KeyValue>,
        /// The first key beyond.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<KeyValue>,
    },
}

impl KeyRange {
    /// Every row.
    pub const ALL: Self = Self::Between { from: None, to: None };

    /// Appends the condition on `column` (quoted already) and the values to bind, whose
    /// placeholders count on from `values.len() + 1`. Says whether there is a condition.
    pub fn condition(
        &self,
        dialect: &dyn Dialect,
        column: &str,
        values: &mut Vec<KeyValue>,
        sql: &mut String,
    ) -> bool {
        let Self::Between { from, to } = self else {
            sql.push_str(column);
            sql.push_str(" IS NULL");
            return true;
        };
        let mut before = "";
        for (bound, operator) in [(from, " >= "), (to, " < ")] {
            let Some(bound) = bound else { continue };
            sql.push_str(before);
            sql.push_str(column);
            sql.push_str(operator);
            values.push(bound.clone());
            dialect.placeholder(values.len(), sql);
            before = " AND ";
        }
        !before.is_empty()
    }

    /// The range in words, for the plan.
    pub fn label(&self, column: &str) -> String {
        match self {
            Self::Null => format!("{column} is null"),
            Self::Between { from: None, to: None } => "all rows".to_owned(),
            Self::Between { from: None, to: Some(to) } => format!("{column} < {}", word(to)),
            Self::Between { from: Some(from), to: None } => format!("{column} >= {}", word(from)),
            Self::Between { from: Some(from), to: Some(to) } => {
                format!("{column} >= {} and {column} < {}", word(from), word(to))
            }
        }
    }
}

fn word(value: &KeyValue) -> String {
    match value {
        KeyValue::Integer(value) => value.to_string(),
        KeyValue::Real(bits) => f64::from_bits(*bits).to_string(),
        KeyValue::Text(text) => format!("'{text}'"),
        KeyValue::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// The ranges between ascending, distinct boundaries: one more than there are boundaries.
pub fn ranges_between(boundaries: Vec<KeyValue>) -> Vec<KeyRange> {
    let mut ranges = Vec::with_capacity(boundaries.len() + 1);
    let mut from = None;
    for boundary in boundaries {
        ranges.push(KeyRange::Between { from, to: Some(boundary.clone()) });
        from = Some(boundary);
    }
    ranges.push(KeyRange::Between { from, to: None });
    ranges
}

/// Adds the split for NULL keys. A single open range has them already.
#[must_use]
pub fn with_null_range(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    if ranges.len() > 1 {
        ranges.push(KeyRange::Null);
    }
    ranges
}

/// Cuts `min..=max` into at most `count` spans of nearly equal width, both ends included.
/// The caller may then ask the database which keys each really holds.
pub fn equal_spans(min: i128, max: i128, count: u32) -> Vec<(i128, i128)> {
    if max < min {
        return Vec::new();
    }
    let width = max - min + 1;
    let count = i128::from(count.max(1)).min(width);
    let start = |index: i128| min + width / count * index + (width % count).min(index);
    (0..count).map(|index| (start(index), start(index + 1) - 1)).collect()
}

/// At most `count` ranges that divide the keys of ascending, disjoint `spans` (both ends included)
/// evenly by width. A gap between spans has no width, so sparse keys do not make empty ranges.
pub fn integer_ranges(spans: &[(i128, i128)], count: u32) -> Vec<KeyRange> {
    let total: i128 = spans.iter().map(|(low, high)| high - low + 1).sum();
    let count = i128::from(count.max(1)).min(total.max(1));
    let mut boundaries = Vec::new();
    let mut passed = 0;
    for (low, high) in spans {
        let width = high - low + 1;
        let next = |done: usize| share(total, count, done as i128 + 1);
        while (boundaries.len() as i128) < count - 1 && next(boundaries.len()) < passed + width {
            let boundary = low + next(boundaries.len()) - passed;
            boundaries.push(KeyValue::Integer(boundary));
        }
        passed += width;
    }
    ranges_between(boundaries)
}

/// `total * part / count` without the product, which could leave 128 bits.
fn share(total: i128, count: i128, part: i128) -> i128 {
    total / count * part + total % count * part / count
}

/// A split of a table or query by one column's ranges, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySplit {
    /// The column that the range is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Which rows.
    pub range: KeyRange,
    /// The columns by which rows come in order; empty where they come as they come.
    pub order: Vec<String>,
}

impl KeySplit {
    /// The rows that a scan counts from 1, for their origin: `orders`, `orders, id >= 100`, or
    /// `orders, id >= 100, after 117` if it begins after a key. Row numbers of different scans then
    /// never look alike.
    pub fn counted_rows(&self, table: &str, after: Option<&[KeyValue]>) -> String {
        let mut rows = table.to_owned();
        if self.range != KeyRange::ALL {
            let column = self.column.as_deref().unwrap_or_default();
            rows = format!("{rows}, {}", self.range.label(column));
        }
        if let Some(after) = after {
            let keys: Vec<_> = after.iter().map(word).collect();
            rows = format!("{rows}, after {}", keys.join(", "));
        }
        rows
    }

    /// All rows, in the order of these columns if there are any.
    pub fn whole(order: Vec<String>) -> Self {
        Self { column: None, range: KeyRange::ALL, order }
    }

    /// The columns by which the rows have to be sorted, because the range is about another one.
    pub(crate) fn sorted_by(&self) -> Option<String> {
        let is_other = self.column.is_some() && self.order.first() != self.column.as_ref();
        let is_sorted = is_other && self.range != KeyRange::ALL && !self.order.is_empty();
        is_sorted.then(|| {
            self.order.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        })
    }

    /// The key after which reading continues.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Unsupported`] where rows have no order, [`transload_plugin_api::ErrorKind::Data`] for what is no
    /// position of this split.
    pub fn key_after(&self, position: &Position) -> Result<Vec<KeyValue>> {
        if self.order.is_empty() {
            return Err(unordered());
        }
        decode_key(&position.0)
            .filter(|key| key.len() == self.order.len())
            .ok_or_else(|| Error::data("not a position of this split"))
    }
}

/// Divides a table into at most `request.max` parts by the column `named`, or else by the first column of
/// `order`, the columns of a total order that reading can continue in; one more for NULL keys.
/// Ranges of another column come in no order, unless `request` needs one. `bounds` asks the database for at most this many ranges of a column.
///
/// # Errors
/// [`transload_plugin_api::ErrorKind::Schema`] if the table has no such column; those of `bounds`.
pub fn divide_by_key<C: AsRef<Column>>(
    dialect: &dyn Dialect,
    table: &TableName,
    columns: &[C],
    named: Option<&str>,
    order: Vec<String>,
    request: &SplitRequest,
    bounds: impl FnOnce(&C, u32) -> Result<Vec<KeyRange>>,
) -> Result<Vec<KeySplit>> {
    let Some(name) = named.or(order.first().map(String::as_str)) else {
        return Ok(vec![KeySplit::whole(order)]);
    };
    let same = |column: &&C| dialect.is_same_column(&column.as_ref().name, name);
    let Some(column) = columns.iter().find(same) else {
        return Err(no_such_column(dialect, table, name, columns));
    };
    // NULL keys take a part of their own.
    let nullable = column.as_ref().nullable;
    let most = if nullable { request.max.saturating_sub(1) } else { request.max };
    let ranges = if most < 2 { vec![KeyRange::ALL] } else { bounds(column, most)? };
    let ranges = if nullable { with_null_range(ranges) } else { ranges };
    // Ranges of another column have to be sorted for the order.
    let name = &column.as_ref().name;
    let is_ordered = order.first() == Some(name) || request.ability.is_some();
    let order = if is_ordered { order.clone() } else { Vec::new() };
    let part = |range| KeySplit { column: Some(name.clone()), range, order: order.clone() };
    Ok(ranges.into_iter().map(part).collect())
}

/// The refusal of a column that a table does not have, with those that it has.
pub fn no_such_column<C: AsRef<Column>>(
    dialect: &dyn Dialect,
    table: &TableName,
    name: &str,
    columns: &[C],
) -> Error {
    Error::schema(format!("table `{}` has no column `{name}`", dialect.shown(table)))
        .hint(known_columns(columns))
}

/// The refusal to continue in the middle of rows that come in no order.
fn unordered() -> Error {
    let message = "rows of this source have no order, so reading cannot start in the middle";
    Error::unsupported(message)
}

/// What a split says to `open`, as the host carries it.
///
/// # Errors
/// None that a caller can cause.
pub(crate) fn encode_split(data: &impl Serialize) -> Result<String> {
    serde_json::to_string(data).map_err(|error| Error::defect(format!("encode a split: {error}")))
}

/// Reads what [`encode_split`] made.
///
/// # Errors
/// [`ErrorKind::Data`] for anything else.
pub(crate) fn decode_split<T: DeserializeOwned>(split: &Split) -> Result<T> {
    serde_json::from_str(&split.data)
        .map_err(|error| Error::data(format!("not a split of this reader: {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use transload_plugin_api::{LogicalType, SplitAbility};

    use super::*;
    use crate::dialect::tests::{Folding, Standard};
    use transload_plugin_api::ErrorKind;

    fn holds(range: &KeyRange, key: Option<i128>) -> bool {
        match (range, key) {
            (KeyRange::Null, key) => key.is_none(),
            (KeyRange::Between { from: None, to: None }, _) => true,
            (_, None) => false,
            (KeyRange::Between { from, to }, Some(key)) => {
                let bound = |value: &KeyValue| match value {
                    KeyValue::Integer(value) => *value,
                    other => panic!("{other:?}"),
                };
                from.as_ref().is_none_or(|from| bound(from) <= key)
                    && to.as_ref().is_none_or(|to| key < bound(to))
            }
        }
    }

    fn times_read(ranges: &[KeyRange], key: Option<i128>) -> usize {
        ranges.iter().filter(|range| holds(range, key)).count()
    }

    #[test]
    fn rows_of_different_scans_never_look_alike() {
        let split = |range| KeySplit { column: Some("id".into()), range, order: vec!["id".into()] };
        let (from, after) = (Some(KeyValue::Integer(100)), [KeyValue::Integer(117)]);
        let part = KeyRange::Between { from, to: None };
        for (range, after, expected) in [
            (KeyRange::ALL, None, "orders"),
            (KeyRange::ALL, Some(&after[..]), "orders, after 117"),
            (part.clone(), None, "orders, id >= 100"),
            (part, Some(&after[..]), "orders, id >= 100, after 117"),
        ] {
            assert_eq!(split(range).counted_rows("orders", after), expected);
        }
    }

    #[test]
    fn t02_keys_one_to_ten_in_two_to_ten_splits() {
        for count in 2..=10 {
            let ranges = integer_ranges(&[(1, 10)], count);
            assert_eq!(ranges.len(), count as usize);
            for key in 0..=11 {
                assert_eq!(times_read(&ranges, Some(key)), 1, "{key} in {count}");
            }
        }
    }

    #[test]
    fn t01_null_keys_have_a_split_of_their_own() {
        let ranges = with_null_range(integer_ranges(&[(1, 100)], 4));
        assert_eq!(ranges.len(), 5);
        assert_eq!(times_read(&ranges, None), 1);
        assert_eq!(times_read(&with_null_range(vec![KeyRange::ALL]), None), 1);
    }

    #[test]
    fn t04_a_gap_makes_no_empty_split() {
        let far = 1_000_000_000_000;
        let ranges = integer_ranges(&[(1, 1000), (far, far + 999)], 4);
        let counts: Vec<_> = ranges
            .iter()
            .map(|range| {
                (1..=1000).chain(far..far + 1000).filter(|key| holds(range, Some(*key))).count()
            })
            .collect();
        assert_eq!(counts, [500, 500, 500, 500]);
    }

    #[test]
    fn t04_the_widest_keys_stay_in_bounds() {
        for (low, high) in [(i64::MIN.into(), i64::MAX.into()), (0, u64::MAX.into())] {
            let spans = equal_spans(low, high, 64);
            assert_eq!((spans[0].0, spans[63].1), (low, high));
            assert_eq!(integer_ranges(&spans, 7).len(), 7);
        }
        assert_eq!(integer_ranges(&[], 8), [KeyRange::ALL]);
        assert_eq!(equal_spans(5, 4, 8), []);
    }

    #[test]
    fn splits_travel_and_positions_belong_to_them() {
        let order = vec!["a".to_owned(), "b".to_owned()];
        let range = integer_ranges(&[(1, 10)], 2).remove(1);
        let split = KeySplit { column: Some("a".to_owned()), range, order };
        let travelling = |data: String| Split::new("", data, SplitAbility::Seekable);
        let encoded = travelling(encode_split(&split).unwrap());
        assert_eq!(decode_split::<KeySplit>(&encoded).unwrap(), split);
        let key = vec![KeyValue::Integer(7), KeyValue::Text("x".into())];
        let position = Position(crate::encode_key(&key));
        assert_eq!(split.key_after(&position).unwrap(), key);
        let short = Position(crate::encode_key(&key[..1]));
        assert_eq!(split.key_after(&short).unwrap_err().kind, ErrorKind::Data);
        let loose = KeySplit { order: Vec::new(), ..split };
        assert_eq!(loose.key_after(&position).unwrap_err().kind, ErrorKind::Unsupported);
        for data in ["", "{}", "{\"range\":\"null\",\"order\":[],\"more\":1}"] {
            let broken = travelling(data.to_owned());
            assert_eq!(decode_split::<KeySplit>(&broken).unwrap_err().kind, ErrorKind::Data);
        }
    }

    #[test]
    fn a_table_is_divided_by_its_order_or_by_a_named_column() {
        let column = |name: &str, nullable| Column::new(name, LogicalType::Int64, nullable);
        let columns = [column("k", false), column("n", true)];
        let divide = |named: Option<&str>, order: &[&str], max, ability| {
            let request = SplitRequest { ability, ..SplitRequest::new(max, Vec::new()) };
            let order = order.iter().map(|name| (*name).to_owned()).collect();
            let bounds = |_: &Column, most| Ok(integer_ranges(&[(1, 100)], most));
            let table = TableName::bare("t");
            divide_by_key(&Folding, &table, &columns, named, order, &request, bounds)
        };
        for (named, order, max, column, ordered, parts) in [
            (None, &[][..], 4, None, false, 1),
            (None, &["k"], 4, Some("k"), true, 4),
            (None, &["k", "n"], 1, Some("k"), true, 1),
            (Some("K"), &["k"], 4, Some("k"), true, 4),
            (Some("n"), &["k"], 4, Some("n"), false, 4),
            (Some("n"), &["k"], 2, Some("n"), false, 1),
        ] {
            let found = divide(named, order, max, None).unwrap();
            assert_eq!(found.len(), parts, "{named:?} {max}");
            assert_eq!(found[0].column.as_deref(), column, "{named:?}");
            assert_eq!(!found[0].order.is_empty(), ordered, "{named:?}");
            let null = found.iter().filter(|part| part.range == KeyRange::Null).count();
            assert_eq!(null, usize::from(column == Some("n") && parts > 1), "{named:?}");
        }
        let found = divide(Some("n"), &["k"], 4, Some(SplitAbility::Replayable)).unwrap();
        let sorted_by: Vec<_> = found.iter().map(KeySplit::sorted_by).collect();
        assert_eq!(sorted_by, vec![Some("`k`".to_owned()); 4]);
        let error = divide(Some("x"), &[], 2, None).unwrap_err();
        assert_eq!(error.to_string(), "table `t` has no column `x`");
        assert_eq!(error.hint.as_deref(), Some("its columns: k, n"));
    }

    #[test]
    fn conditions_bind_their_values() {
        let range = KeyRange::Between {
            from: Some(KeyValue::Integer(1)),
            to: Some(KeyValue::Text("x".into())),
        };
        let (mut values, mut sql) = (vec![KeyValue::Integer(9)], String::new());
        assert!(range.condition(&Standard, "\"k\"", &mut values, &mut sql));
        assert_eq!(sql, r#""k" >= $2 AND "k" < $3"#);
        assert_eq!(values.len(), 3);
        assert!(!KeyRange::ALL.condition(&Standard, "k", &mut values, &mut String::new()));
        assert_eq!(range.label("k"), "k >= 1 and k < 'x'");
    }

    proptest! {
        #[test]
        fn every_key_is_read_once(
            keys in proptest::collection::vec(proptest::option::of(any::<i64>()), 0..50),
            probe in any::<i64>(),
            count in 1u32..70,
        ) {
            let numbers: Vec<i128> = keys.iter().flatten().map(|key| i128::from(*key)).collect();
            let span = numbers.iter().min().zip(numbers.iter().max());
            let spans = span.map_or(vec![], |(low, high)| equal_spans(*low, *high, 16));
            let ranges = with_null_range(integer_ranges(&spans, count));
            prop_assert!(ranges.len() <= count as usize + 1);
            for key in keys.iter().map(|key| key.map(i128::from)).chain([Some(probe.into())]) {
                prop_assert_eq!(times_read(&ranges, key), 1);
            }
        }

        #[test]
        fn spans_touch_and_cover(min in -1000i128..1000, width in 0i128..5000, count in 1u32..99) {
            let spans = equal_spans(min, min + width, count);
            prop_assert!(spans.len() <= count as usize);
            prop_assert_eq!((spans[0].0, spans[spans.len() - 1].1), (min, min + width));
            for pair in spans.windows(2) {
                prop_assert_eq!(pair[0].1 + 1, pair[1].0);
            }
        }
    }
}
