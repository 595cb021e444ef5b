//! The reader's own part, on a database whose table a test can change.

use std::sync::Arc;

use arrow_array::RecordBatch;
use parking_lot::Mutex;
use transload_plugin_api::{
    ErrorKind, Finding, Key, LogicalType, ReadBatch, SplitAbility, schema_of,
};

use super::*;
use crate::{
    Dialect, KeyValue, Relation, Sources, dialect::tests::Folding, divide_by_key, encode_key,
    integer_ranges, read_as,
};

/// The columns of the table `t`, and what was asked of the database.
#[derive(Default)]
struct Columns {
    columns: Mutex<Vec<Column>>,
    log: Mutex<Vec<String>>,
    snapshot: Snapshot,
}

/// One batch without rows.
struct OneBatch(Option<ReadBatch>);

impl ReadTask for OneBatch {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        Ok(self.0.take())
    }
}

impl ReadDatabase for Columns {
    const DIALECT: &'static (dyn Dialect + Sync) = &Folding;
    const ORDER: &'static str = "give the table a key";

    type Session = String;
    type Column = Column;
    type Table = ();

    fn connect(&self) -> Result<String> {
        Ok("look".to_owned())
    }

    fn check(&self, _source: &Source) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn tables(&self, _session: &mut String) -> Result<Vec<TableInfo>> {
        Ok(Vec::new())
    }

    fn describe(
        &self,
        session: &mut String,
        relation: &Relation,
    ) -> Result<Description<Column, ()>> {
        self.log.lock().push(format!("describe in {session}"));
        let table = matches!(relation, Relation::Table(_)).then_some(());
        let columns = self.columns.lock().clone();
        let key = Key {
            name: String::new(),
            columns: vec!["k".to_owned()],
            primary: true,
            unusable: false,
        };
        Ok(Description {
            columns,
            keys: vec![key],
            notes: Vec::new(),
            warnings: Vec::new(),
            identity: "t".to_owned(),
            table,
        })
    }

    fn try_select(&self, session: &mut String, sql: &str) -> Result<()> {
        self.log.lock().push(format!("try in {session}: {sql}"));
        Ok(())
    }

    fn grant(&self, _session: &mut String, _name: &crate::TableName) -> Result<Option<String>> {
        Ok(None)
    }

    fn produces(&self, own: &Column, wanted: &Column) -> Result<Column> {
        if own.native == "geometry" {
            return Err(Error::unsupported("geometry"));
        }
        let is_integer = |logical: &LogicalType| logical.family().contains("int");
        Ok(read_as(own, wanted, is_integer(&own.logical) && is_integer(&wanted.logical)))
    }

    fn divide(
        &self,
        _session: &mut String,
        source: &Source,
        description: &Description<Column, ()>,
        request: &SplitRequest,
    ) -> Result<Vec<Division>> {
        let name = crate::TableName::bare("t");
        let (key, order) = (source.split_key.as_deref(), vec!["k".to_owned()]);
        let bounds = |_: &Column, max| Ok(integer_ranges(&[(1, 100)], max));
        let parts =
            divide_by_key(&Folding, &name, &description.columns, key, order, request, bounds)?;
        let division =
            |part| Division { snapshot: self.snapshot.clone(), ..Division::new(part, None) };
        Ok(parts.into_iter().map(division).collect())
    }

    fn enter(&self, snapshot: &Snapshot) -> Result<String> {
        Ok(format!("{snapshot:?}"))
    }

    fn scan(
        &self,
        session: String,
        request: ScanRequest<'_, Column, ()>,
    ) -> Result<Box<dyn ReadTask>> {
        self.log.lock().push(format!("scan in {session} after {:?}", request.after));
        let batch = RecordBatch::new_empty(schema_of(request.columns));
        let position = Position::default();
        Ok(Box::new(OneBatch(Some(ReadBatch {
            batch,
            position,
            origin: None,
            dirty: Vec::new(),
            bytes: 0,
        }))))
    }
}

fn column(name: &str, logical: LogicalType) -> Column {
    Column::new(name, logical, false)
}

fn reader(snapshot: Snapshot) -> (Arc<Columns>, TableReader<Columns>) {
    let columns = vec![column("k", LogicalType::Int64), column("S", LogicalType::TEXT)];
    let database = Columns { columns: Mutex::new(columns), snapshot, ..Columns::default() };
    let database = Arc::new(database);
    let options = transload_plugin_api::Options::from_pairs([("table", "t")]);
    let source = Sources::parse(&options, Ok).unwrap().into_sources().remove(0);
    (Arc::clone(&database), TableReader::new(&database, source).unwrap())
}

fn request(max: u32) -> SplitRequest {
    SplitRequest::new(max, Vec::new())
}

#[test]
fn columns_are_found_by_the_dialect_and_unknown_ones_are_named() {
    let (_, reader) = reader(Snapshot::Own);
    let wanted = [column("K", LogicalType::Int32), column("s", LogicalType::Json)];
    let found = reader.produces(&wanted).unwrap();
    assert_eq!((found[0].name.as_str(), &found[0].logical), ("K", &LogicalType::Int32));
    assert_eq!((found[1].name.as_str(), &found[1].logical), ("s", &LogicalType::TEXT));
    let error = reader.produces(&[column("x", LogicalType::Int64)]).unwrap_err();
    assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Schema, Some("its columns: k, S")));
    assert_eq!(error.message, "the source has no column `x`");
}

#[test]
fn a_query_is_divided_only_if_it_is_stable() {
    for (is_stable, notes) in [(false, 1), (true, 0)] {
        let database = Columns {
            columns: Mutex::new(vec![column("k", LogicalType::Int64)]),
            ..Columns::default()
        };
        let pairs = [("query", "SELECT 1;"), ("split_key", "k")];
        let sources =
            Sources::parse(&transload_plugin_api::Options::from_pairs(pairs), Ok).unwrap();
        let source = sources.with_stable_query(is_stable).into_sources().remove(0);
        let reader = TableReader::new(&Arc::new(database), source).unwrap();
        assert_eq!(reader.source.relation().unwrap(), &Relation::Query("SELECT 1".to_owned()));
        assert_eq!(reader.source.split_key.is_some(), is_stable);
        assert_eq!(reader.schema().unwrap().notes.len(), notes);
    }
}

#[test]
fn a_split_is_opened_in_its_own_state_and_resumed_at_its_position() {
    let (database, reader) = reader(Snapshot::Own);
    let splits = reader.splits(&request(2)).unwrap();
    assert_eq!((splits.len(), splits[0].ability), (2, SplitAbility::Seekable));
    assert_eq!(splits[1].label, "k >= 51");
    let columns = [column("k", LogicalType::Int64)];
    database.log.lock().clear();
    let mut task = reader.open(&splits[1], &columns, None).unwrap();
    assert!(task.next_batch().unwrap().is_some() && task.next_batch().unwrap().is_none());
    let position = Position(encode_key(&[KeyValue::Integer(60)]));
    reader.open(&splits[1], &columns, Some(&position)).unwrap();
    let expected = [
        "describe in Own",
        "scan in Own after None",
        "describe in Own",
        "scan in Own after Some([Integer(60)])",
    ];
    assert_eq!(*database.log.lock(), expected);
    let strange = Position(vec![1]);
    let error = reader.open(&splits[1], &columns, Some(&strange)).map(drop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
}

#[test]
fn a_shared_state_is_entered_by_name_and_never_continued() {
    for snapshot in [Snapshot::Single, Snapshot::Shared("held".to_owned())] {
        let (database, reader) = reader(snapshot.clone());
        let splits = reader.splits(&request(2)).unwrap();
        assert_eq!(splits[0].ability, SplitAbility::Bounded);
        let columns = [column("k", LogicalType::Int64)];
        database.log.lock().clear();
        reader.open(&splits[0], &columns, None).unwrap();
        assert_eq!(database.log.lock()[0], format!("describe in {snapshot:?}"));
        let position = Position(encode_key(&[KeyValue::Integer(60)]));
        let error = reader.open(&splits[0], &columns, Some(&position)).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Retry);
    }
}

#[test]
fn t52_a_source_that_changed_since_the_plan_is_refused() {
    let (database, reader) = reader(Snapshot::Own);
    let split = reader.splits(&request(1)).unwrap().remove(0);
    let planned = [column("k", LogicalType::Int32), column("S", LogicalType::TEXT)];
    reader.open(&split, &planned, None).map(drop).unwrap();
    reader.open(&split, &planned, None).map(drop).unwrap_or_default();
    for (at, now, words) in [
        (0, column("k", LogicalType::TEXT), "column `k` is `text` now and was planned as `int32`"),
        (1, column("other", LogicalType::TEXT), "the source has no column `S`"),
    ] {
        let before = std::mem::replace(&mut database.columns.lock()[at], now);
        let error = reader.open(&split, &planned, None).map(drop).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Schema, words));
        database.columns.lock()[at] = before;
    }
    database.columns.lock()[0].native = "geometry".to_owned();
    let error = reader.open(&split, &planned[..1], None).map(drop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[test]
fn what_is_no_split_of_the_reader_is_refused() {
    let (_, reader) = reader(Snapshot::Own);
    let split = reader.splits(&request(1)).unwrap().remove(0);
    for data in ["", "{}", r#"{"part":{"range":"null","order":[]},"snapshot":"own","more":1}"#] {
        let broken = Split { data: data.to_owned(), ..split.clone() };
        let error = reader.open(&broken, &[], None).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Data, "{data}");
    }
}
