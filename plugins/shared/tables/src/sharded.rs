//! Several tables of one shape read as one source, and the column that says from which of them a
//! row is. Each table has a reader of its own; what they must have in common is checked here.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    Column, Error, Finding, Key, LogicalType, Position, ReadTask, Reader, Result, SourceSchema,
    Split, SplitRequest, TableInfo, TablePage, TableRequest,
};

use crate::{decode_split, encode_split, origin_column::NamedRows};

/// A reader of one table.
pub(crate) trait Shard: Reader {
    /// The table as the database knows it: two names of one table have one identity.
    ///
    /// # Errors
    /// Those of looking it up.
    fn identity(&self) -> Result<String>;
}

/// Reads several tables as one, or one with its name.
pub(crate) struct ShardedReader<R> {
    /// With the names under which the job knows them; at least one.
    shards: Vec<(String, R)>,
    origin: Option<String>,
}

/// What a split says to `open`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardSplit {
    table: String,
    /// The split's data, as the table's own reader made it.
    data: String,
}

impl<R: Shard> ShardedReader<R> {
    pub(crate) fn new(shards: Vec<(String, R)>, origin: Option<String>) -> Self {
        Self { shards, origin }
    }

    /// Tables named twice would be read twice.
    fn check_identities(&self) -> Result<()> {
        let mut known: HashMap<String, &str> = HashMap::new();
        for (name, reader) in &self.shards {
            if let Some(other) = known.insert(reader.identity()?, name) {
                let message = format!("`{other}` and `{name}` are the same table");
                return Err(Error::options(message).hint("name each table once"));
            }
        }
        Ok(())
    }

    /// The columns that all tables share; `ask` returns those of one table. Any of them may be NULL
    /// if it may be in one table.
    fn shared_columns(&self, ask: impl Fn(&R) -> Result<Vec<Column>>) -> Result<Vec<Column>> {
        let mut shared: Option<(&str, Vec<Column>)> = None;
        for (name, reader) in &self.shards {
            let columns = ask(reader).map_err(|error| error.at(format!("table `{name}`")))?;
            match &mut shared {
                None => shared = Some((name, columns)),
                Some((first, shared)) => join(first, shared, name, &columns)?,
            }
        }
        Ok(shared.map(|(_, columns)| columns).unwrap_or_default())
    }

    /// Where the added column stands, and the columns without it.
    fn without_origin(&self, columns: &[Column]) -> (Option<usize>, Vec<Column>) {
        let is_origin = |column: &Column| Some(&column.name) == self.origin.as_ref();
        let at = columns.iter().position(is_origin);
        let rest = columns.iter().filter(|column| !is_origin(column)).cloned().collect();
        (at, rest)
    }

    /// The added column, as long as it is wanted if all names fit.
    fn origin_column(&self, name: &str, wanted: &LogicalType) -> Column {
        let longest = self.shards.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let fits = |length: u32| longest <= length as usize;
        let logical = match wanted {
            LogicalType::Text { length: Some(length) } if fits(*length) => wanted.clone(),
            _ => LogicalType::TEXT,
        };
        Column::new(name, logical, false)
    }

    /// Keys hold within a table; over all of them only together with the table's name.
    fn shared_keys(&self, keys: Vec<Key>) -> Vec<Key> {
        if self.shards.len() == 1 {
            return keys;
        }
        let Some(origin) = &self.origin else { return Vec::new() };
        let over_all = |mut key: Key| {
            key.columns.push(origin.clone());
            key
        };
        keys.into_iter().filter(|key| !key.columns.is_empty()).map(over_all).collect()
    }
}

/// Compares a table's columns with the first table's.
fn join(first: &str, shared: &mut [Column], name: &str, columns: &[Column]) -> Result<()> {
    let refuse = |message: String| {
        let hint = "tables that are read as one need the same columns and types";
        Err(Error::schema(message).at(format!("table `{name}`")).hint(hint))
    };
    for own in columns {
        if !shared.iter().any(|column| column.name == own.name) {
            return refuse(format!("column `{}` is not in table `{first}`", own.name));
        }
    }
    for column in shared {
        let Some(own) = columns.iter().find(|own| own.name == column.name) else {
            return refuse(format!("there is no column `{}`, as in table `{first}`", column.name));
        };
        if own.logical != column.logical {
            let Column { name, logical, .. } = column;
            let message =
                format!("column `{name}` is `{}`, but `{logical}` in table `{first}`", own.logical);
            return refuse(message);
        }
        column.nullable |= own.nullable;
        column.inferred |= own.inferred;
    }
    Ok(())
}

impl<R: Shard> Reader for ShardedReader<R> {
    fn check(&self) -> Result<Vec<Finding>> {
        let Some((_, first)) = self.shards.first() else { return Ok(Vec::new()) };
        let mut findings = first.check()?;
        if self.shards.len() > 1 && findings.iter().all(|finding| finding.ok) {
            let shape = self.schema();
            let ok = shape.is_ok();
            let detail = match shape {
                Ok(_) => format!("{} tables of one shape", self.shards.len()),
                Err(error) => error.to_string(),
            };
            findings.push(Finding { stage: "tables".to_owned(), ok, detail });
        }
        Ok(findings)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.shards.first().map_or_else(|| Ok(Vec::new()), |(_, first)| first.discover())
    }

    fn tables(&self, request: &TableRequest) -> Result<TablePage> {
        match self.shards.first() {
            Some((_, first)) => first.tables(request),
            None => Ok(TablePage::default()),
        }
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.check_identities()?;
        let Some((name, first)) = self.shards.first() else { return Ok(SourceSchema::default()) };
        let schema = first.schema().map_err(|error| error.at(format!("table `{name}`")))?;
        let mut columns = self.shared_columns(|reader| Ok(reader.schema()?.columns))?;
        let mut notes = schema.notes;
        if let Some(origin) = &self.origin {
            if let Some(taken) = columns.iter().find(|it| it.name.eq_ignore_ascii_case(origin)) {
                let message = format!("table `{name}` has a column `{}` already", taken.name);
                return Err(Error::options(message)
                    .of_key("origin_column")
                    .hint("choose a name that no column has"));
            }
            columns.push(self.origin_column(origin, &LogicalType::TEXT));
        }
        if self.shards.len() > 1 {
            let (last, count) = (&self.shards[self.shards.len() - 1].0, self.shards.len());
            notes.push(format!(
                "{count} tables are read as one, from `{name}` to `{last}`: their keys tell rows \
                 of one table apart, not rows of all"
            ));
        }
        Ok(SourceSchema {
            keys: self.shared_keys(schema.keys),
            columns,
            notes,
            warnings: schema.warnings,
            problems: schema.problems,
            ..SourceSchema::default()
        })
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let (at, rest) = self.without_origin(wanted);
        let mut columns = self.shared_columns(|reader| reader.produces(&rest))?;
        if let Some(at) = at {
            columns.insert(at, self.origin_column(&wanted[at].name, &wanted[at].logical));
        }
        Ok(columns)
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        let (_, columns) = self.without_origin(&request.columns);
        if request.increment.is_some() && self.shards.len() > 1 {
            return Err(Error::unsupported(
                "an increment is read from one table, not from several",
            )
            .hint("write a job for each table"));
        }
        let ask = |reader: &R, max| {
            reader.splits(&SplitRequest { max, columns: columns.clone(), ..request.clone() })
        };
        let mut whole = Vec::new();
        for (_, reader) in &self.shards {
            whole.push(ask(reader, 1)?);
        }
        let rows = |splits: &Vec<Split>| splits.iter().map(|split| split.rows).sum();
        let shares = share_out(request.max, &whole.iter().map(rows).collect::<Vec<_>>());
        let mut all = Vec::new();
        for (((name, reader), whole), share) in self.shards.iter().zip(whole).zip(shares) {
            let splits = if share > 1 { ask(reader, share)? } else { whole };
            for mut split in splits {
                split.label = format!("{name}: {}", split.label);
                split.data = encode_split(&ShardSplit { table: name.clone(), data: split.data })?;
                split.table = Some(name.clone());
                all.push(split);
            }
        }
        Ok(all)
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let ShardSplit { table, data } = decode_split(split)?;
        let Some((name, reader)) = self.shards.iter().find(|(name, _)| *name == table) else {
            let message = format!("the split is of table `{table}`, which is not read");
            return Err(Error::data(message));
        };
        let inner = Split { data, ..split.clone() };
        let (at, mut rest) = self.without_origin(columns);
        let Some(at) = at else { return reader.open(&inner, &rest, after) };
        let alone = rest.is_empty();
        if alone {
            // Rows without columns are nothing that a table gives.
            let some = reader.schema()?.columns.into_iter().take(1).collect::<Vec<_>>();
            rest = reader.produces(&some)?;
        }
        let task = reader.open(&inner, &rest, after)?;
        Ok(Box::new(NamedRows::new(task, columns, at, alone, name.clone())))
    }
}

/// Shares `max` splits out among tables by their rows: at least one for each, and one more for
/// whichever then has the most rows in a split. A table of unknown size counts as an average one.
fn share_out(max: u32, rows: &[Option<u64>]) -> Vec<u32> {
    let known: Vec<_> = rows.iter().flatten().copied().collect();
    let average = known.iter().sum::<u64>() / (known.len() as u64).max(1);
    let mut shares = vec![1u32; rows.len()];
    let spare = (max as usize).saturating_sub(rows.len());
    for _ in 0..spare {
        let size = |at: &usize| rows[*at].unwrap_or(average.max(1)) / u64::from(shares[*at]);
        // Of equals the first.
        let Some(largest) = (0..rows.len()).rev().max_by_key(size) else { break };
        if size(&largest) == 0 {
            break;
        }
        shares[largest] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
    use proptest::prelude::*;
    use transload_plugin_api::{ReadBatch, SplitAbility, schema_of};

    use super::*;
    use transload_plugin_api::ErrorKind;

    /// A table in memory: one column of numbers, and another of a type to choose.
    #[derive(Clone)]
    struct Memory {
        identity: &'static str,
        rows: Vec<i64>,
        columns: Vec<Column>,
    }

    impl Shard for Memory {
        fn identity(&self) -> Result<String> {
            Ok(self.identity.to_owned())
        }
    }

    impl Reader for Memory {
        fn check(&self) -> Result<Vec<Finding>> {
            Ok(vec![Finding { stage: "login".to_owned(), ok: true, detail: "in".to_owned() }])
        }

        fn discover(&self) -> Result<Vec<TableInfo>> {
            Ok(Vec::new())
        }

        fn schema(&self) -> Result<SourceSchema> {
            let columns = vec!["k".to_owned()];
            let key = Key { name: String::new(), columns, primary: true, unusable: false };
            let columns = self.columns.clone();
            Ok(SourceSchema { columns, keys: vec![key], ..SourceSchema::default() })
        }

        fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
            let own = |wanted: &Column| {
                self.columns.iter().find(|own| own.name == wanted.name).cloned().unwrap()
            };
            Ok(wanted.iter().map(own).collect())
        }

        fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
            let size = self.rows.len().div_ceil(request.max as usize).max(1);
            let split = |rows: &[i64]| {
                let data = serde_json::to_string(rows).unwrap();
                let split = Split::new(format!("from {}", rows[0]), data, SplitAbility::Bounded);
                Split { rows: Some(rows.len() as u64), ..split }
            };
            Ok(self.rows.chunks(size).map(split).collect())
        }

        fn open(
            &self,
            split: &Split,
            columns: &[Column],
            _after: Option<&Position>,
        ) -> Result<Box<dyn ReadTask>> {
            let rows = serde_json::from_str(&split.data).unwrap();
            Ok(Box::new(Numbers { rows, columns: columns.to_vec() }))
        }
    }

    /// One batch for each row.
    struct Numbers {
        rows: Vec<i64>,
        columns: Vec<Column>,
    }

    impl ReadTask for Numbers {
        fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
            let Some(row) = self.rows.pop() else { return Ok(None) };
            let array: ArrayRef = Arc::new(Int64Array::from(vec![row]));
            let arrays = self.columns.iter().map(|_| Arc::clone(&array)).collect();
            Ok(Some(ReadBatch {
                batch: RecordBatch::try_new(schema_of(&self.columns), arrays).unwrap(),
                position: Position::default(),
                origin: None,
                dirty: Vec::new(),
                bytes: 8,
            }))
        }
    }

    fn column(name: &str, logical: &str, nullable: bool) -> Column {
        Column::new(name, logical.parse().unwrap(), nullable)
    }

    fn memory(identity: &'static str, rows: Vec<i64>) -> Memory {
        Memory { identity, rows, columns: vec![column("k", "int64", false)] }
    }

    fn reader(shards: Vec<(&str, Memory)>, origin: Option<&str>) -> ShardedReader<Memory> {
        let shards = shards.into_iter().map(|(name, reader)| (name.to_owned(), reader)).collect();
        ShardedReader::new(shards, origin.map(str::to_owned))
    }

    fn three(origin: Option<&str>) -> ShardedReader<Memory> {
        let shards = [("t0", (0..5).collect()), ("t1", vec![]), ("t2", vec![7])];
        reader(shards.map(|(name, rows)| (name, memory(name, rows))).to_vec(), origin)
    }

    /// Every row as its key and its table, in order.
    fn rows(reader: &dyn Reader, names: &[&str], max: u32) -> Vec<(i64, String)> {
        let schema = reader.schema().unwrap().columns;
        let named = |name: &&str| schema.iter().find(|it| it.name == *name).cloned().unwrap();
        let columns = reader.produces(&names.iter().map(named).collect::<Vec<_>>()).unwrap();
        let request = SplitRequest::new(max, columns.clone());
        let mut all = Vec::new();
        for split in reader.splits(&request).unwrap() {
            let mut task = reader.open(&split, &columns, None).unwrap();
            while let Some(read) = task.next_batch().unwrap() {
                assert_eq!(read.batch.schema(), schema_of(&columns));
                let key = read.batch.column_by_name("k");
                let key = key.map_or(-1, |array| array.as_primitive::<Int64Type>().value(0));
                let table = read.batch.column_by_name("shard");
                let table = table.map_or("", |array| array.as_string::<i32>().value(0));
                all.push((key, table.to_owned()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn rows_say_from_which_table_they_are() {
        let reader = three(Some("shard"));
        let expected = [(0, "t0"), (1, "t0"), (2, "t0"), (3, "t0"), (4, "t0"), (7, "t2")];
        let expected = expected.map(|(key, table)| (key, table.to_owned()));
        for max in [1, 2, 3, 4, 9] {
            assert_eq!(rows(&reader, &["k", "shard"], max), expected);
            assert_eq!(rows(&reader, &["shard", "k"], max), expected);
        }
        assert_eq!(rows(&reader, &["shard"], 2).len(), 6);
        assert!(rows(&reader, &["k"], 2).iter().all(|(_, table)| table.is_empty()));
        let keys = reader.schema().unwrap().keys;
        assert_eq!((keys.len(), &keys[0].columns), (1, &vec!["k".to_owned(), "shard".to_owned()]));
        assert!(three(None).schema().unwrap().keys.is_empty());
    }

    #[test]
    fn the_added_column_is_as_long_as_it_is_wanted() {
        let reader = three(Some("shard"));
        for (wanted, made) in [("text(2)", "text(2)"), ("text(1)", "text"), ("int64", "text")] {
            let produced = reader.produces(&[column("shard", wanted, true)]).unwrap();
            assert_eq!(produced[0].logical.to_string(), made);
        }
    }

    #[test]
    fn t52_shards_of_another_shape_are_refused_by_table_and_column() {
        for (columns, words) in [
            (vec![column("k", "int32", true)], "column `k` is `int32`, but `int64` in table `a`"),
            (vec![], "there is no column `k`, as in table `a`"),
            (
                vec![column("k", "int64", true), column("more", "text", true)],
                "column `more` is not in table `a`",
            ),
        ] {
            let other = Memory { columns, ..memory("b", vec![]) };
            let reader = reader(vec![("a", memory("a", vec![1])), ("b", other)], None);
            let error = reader.schema().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Schema);
            assert_eq!(error.to_string(), format!("table `b`: {words}"));
            let findings = reader.check().unwrap();
            assert!(findings[0].ok && !findings[1].ok && findings[1].detail.contains(words));
        }
    }

    #[test]
    fn null_may_come_from_any_table() {
        let other = Memory { columns: vec![column("k", "int64", true)], ..memory("b", vec![]) };
        let reader = reader(vec![("a", memory("a", vec![1])), ("b", other)], None);
        assert!(reader.schema().unwrap().columns[0].nullable);
        assert!(reader.produces(&[column("k", "int64", true)]).unwrap()[0].nullable);
    }

    #[test]
    fn one_table_by_two_names_and_a_taken_column_are_refused() {
        let twice = vec![("a", memory("x", vec![])), ("s.a", memory("x", vec![]))];
        let error = reader(twice, None).schema().unwrap_err();
        assert_eq!(error.message, "`a` and `s.a` are the same table");
        let error = three(Some("K")).schema().unwrap_err();
        assert_eq!(error.key.as_deref(), Some("origin_column"));
    }

    #[test]
    fn splits_of_others_are_refused() {
        let reader = three(Some("shard"));
        let request = SplitRequest::new(1, Vec::new());
        let mut split = reader.splits(&request).unwrap().remove(0);
        assert_eq!(split.label, "t0: from 0");
        split.data = split.data.replace("t0", "t9");
        assert_eq!(reader.open(&split, &[], None).map(drop).unwrap_err().kind, ErrorKind::Data);
        split.data = "{}".to_owned();
        assert_eq!(reader.open(&split, &[], None).map(drop).unwrap_err().kind, ErrorKind::Data);
    }

    #[test]
    fn larger_tables_get_more_splits() {
        for (max, rows, shares) in [
            (8, &[Some(100), Some(300)][..], &[2, 6][..]),
            (1, &[Some(1), Some(1), Some(1)], &[1, 1, 1]),
            (4, &[None, None], &[2, 2]),
            (5, &[Some(1_000_000), Some(0), None], &[3, 1, 1]),
            (9, &[Some(0), Some(0)], &[1, 1]),
            (4, &[], &[]),
        ] {
            assert_eq!(share_out(max, rows), shares, "{max} {rows:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_stay_within_the_most(
            max in 1u32..99,
            rows in proptest::collection::vec(proptest::option::of(0u64..9_000), 1..40),
        ) {
            let shares = share_out(max, &rows);
            prop_assert!(shares.iter().all(|share| *share >= 1));
            prop_assert!(shares.iter().sum::<u32>() <= max.max(rows.len() as u32));
        }
    }
}
