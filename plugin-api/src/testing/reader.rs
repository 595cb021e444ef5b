//! The requirements on every reader: a schema that its batches have, splits that cover each row
//! once, positions after which reading resumes with the next row, an origin for each row, and an
//! end after the stop signal.

use std::{collections::HashSet, thread};

use super::{
    Case, Cases, DirtySource, Rows, Source, Subject, Tally, connecting, expect, host, refused,
    required, stopping,
};
use crate::{
    Cancel, Column, DirtyRow, ErrorKind, Host, LogicalType, Plugin, Position, ReadBatch, Reader,
    ReaderDescriptor, Result, SourceSchema, Split, SplitAbility, SplitRequest, TableInfo,
    TableRequest, schema_of,
};

/// Rows of a source small enough to be read many times.
const FEW: u64 = 1_000;
/// Rows of a source that takes several batches of the usual size.
const MANY: u64 = 20_000;

/// All requirements on the reader; none if the plugin declares no reader.
///
/// # Panics
/// At the first requirement that is not met.
pub fn all(plugin: &dyn Plugin, subject: &dyn Subject) {
    cases(plugin, subject).iter().for_each(Case::run);
}

/// The cases of [`all`], in order.
pub fn cases<'a>(plugin: &'a dyn Plugin, subject: &'a dyn Subject) -> Vec<Case<'a>> {
    let Some(declared) = plugin.descriptor().reader else { return Vec::new() };
    let mut cases = Cases::new("reader", ReaderSuite { plugin, subject, declared });
    cases.add("wrong options", ReaderSuite::required_options);
    cases.add("check and discover", ReaderSuite::check_and_discover);
    cases.add("tables in pages", ReaderSuite::tables_in_pages);
    cases.add("check without a job", |suite| {
        connecting::reader_alone(plugin, &suite.subject.source(FEW), subject);
    });
    cases.add("check of what is not there", |_| connecting::reader_finds(plugin, subject));
    cases.add("secrets", |suite| {
        connecting::discreet_reader(plugin, &suite.subject.source(FEW));
    });
    cases.add("schema", ReaderSuite::schema);
    cases.add("types on request", ReaderSuite::produces);
    cases.add("splits", ReaderSuite::splits);
    cases.add("counts", ReaderSuite::counts);
    cases.add("chosen columns", ReaderSuite::chosen_columns);
    cases.add("no columns", ReaderSuite::no_columns);
    cases.add("origins", ReaderSuite::origins);
    cases.add("positions", ReaderSuite::positions);
    cases.add("foreign splits and positions", ReaderSuite::nonsense);
    cases.add("an empty source", ReaderSuite::empty_source);
    cases.add("stop", ReaderSuite::cancellation);
    cases.add("stop of a silent server", |_| stopping::silent_source(plugin, subject));
    cases.add("dirty rows", ReaderSuite::dirty_sources);
    cases.add("objects of the wrong kind", ReaderSuite::wrong_kinds);
    cases.all
}

/// One plugin's reader under test.
struct ReaderSuite<'a> {
    plugin: &'a dyn Plugin,
    subject: &'a dyn Subject,
    declared: ReaderDescriptor,
}

/// All pages of a request, one after another; none is larger than requested.
fn pages(reader: &dyn Reader, mut request: TableRequest) -> Vec<TableInfo> {
    let mut tables = Vec::new();
    loop {
        let page = expect(reader.tables(&request), "`tables`");
        assert!(page.tables.len() <= request.max as usize, "a page is larger than requested");
        tables.extend(page.tables);
        assert!(page.next.is_none() || page.next != request.after, "a page is followed by itself");
        request.after = page.next;
        if request.after.is_none() {
            return tables;
        }
    }
}

/// A pattern of one table only.
fn literal(table: &TableInfo) -> String {
    match &table.schema {
        Some(schema) => format!("\"{schema}\".\"{}\"", table.bare()),
        None => format!("\"{}\"", table.bare()),
    }
}

impl ReaderSuite<'_> {
    /// A reader of the source, with a host of its own.
    fn reader(&self, source: &Source) -> Box<dyn Reader> {
        let reader = self.plugin.reader(source.options.clone(), host(self.subject));
        expect(reader, "a reader of the subject's source")
    }

    /// Without a required option, `schema` or the making of the reader is refused.
    fn required_options(&self) {
        let descriptor = self.plugin.descriptor();
        let specs = descriptor.options.iter().chain(&self.declared.options);
        let source = self.subject.source(FEW);
        required::options(self.subject, specs, &source.options, |options, host| {
            self.plugin.reader(options, host)?.schema().map(drop)
        });
    }

    /// A check of an existing source passes every stage. `discover` lists tables or is unsupported.
    fn check_and_discover(&self) {
        let source = self.subject.source(FEW);
        let reader = self.reader(&source);
        for finding in expect(reader.check(), "`check` of a source that is there") {
            assert!(finding.ok, "`check` of a source that is there: {finding:?}");
            assert!(!finding.stage.is_empty(), "a finding without a stage: {finding:?}");
        }
        match reader.discover() {
            Ok(tables) => {
                assert!(tables.iter().all(|table| !table.name.is_empty()), "a table has no name");
            }
            error => drop(refused(error, &[ErrorKind::Unsupported], "`discover`")),
        }
    }

    /// Pages of any size hold the tables of `discover`, each once; patterns choose among them; keys
    /// are over columns.
    fn tables_in_pages(&self) {
        let reader = self.reader(&self.subject.source(FEW));
        let Ok(all) = reader.discover() else { return };
        let whole = pages(&*reader, TableRequest { columns: true, ..TableRequest::new(1000) });
        let names = |tables: &[TableInfo]| -> HashSet<String> {
            tables.iter().map(|table| table.name.clone()).collect()
        };
        assert_eq!(names(&whole).len(), whole.len(), "`tables` names a table twice");
        // Other tests of the same store may make tables meanwhile: those of the source stay.
        let few = pages(&*reader, TableRequest::new(2));
        assert_eq!(names(&few).len(), few.len(), "small pages of `tables` name a table twice");
        let lasting = names(&all).intersection(&names(&whole)).cloned().collect::<HashSet<_>>();
        assert!(all.is_empty() || !lasting.is_empty(), "`tables` and `discover` share no table");
        for table in &whole {
            for column in table.keys.iter().flat_map(|key| &key.columns) {
                let known = table.columns.iter().any(|own| own.name == *column);
                assert!(known, "a key of `{}` has the unknown column `{column}`", table.name);
            }
            assert!(!table.kind.is_empty(), "table `{}` has no kind", table.name);
        }
        if let Some(one) = whole.iter().find(|table| !table.path().contains(['"', '*', '?'])) {
            let not_it = TableRequest {
                patterns: vec![format!("!{}", literal(one))],
                ..TableRequest::new(1000)
            };
            let others = pages(&*reader, not_it);
            assert!(!names(&others).contains(&one.name), "a pattern with `!` names `{}`", one.name);
            let it = TableRequest { patterns: vec![literal(one)], ..TableRequest::new(1) };
            assert!(
                names(&pages(&*reader, it)).contains(&one.name),
                "no pattern finds `{}`",
                one.name
            );
        }
        let broken = TableRequest { patterns: vec!["a.b.c".to_owned()], ..TableRequest::new(1) };
        refused(
            reader.tables(&broken),
            &[ErrorKind::Options],
            "`tables` of a text that is no pattern",
        );
    }

    /// The schema has columns with different names, keys over those columns, declared types, and is
    /// the same each time.
    fn schema(&self) {
        let source = self.subject.source(FEW);
        let schema = expect(self.reader(&source).schema(), "`schema`");
        let names: HashSet<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        assert!(!names.is_empty(), "the source has no columns");
        assert_eq!(names.len(), schema.columns.len(), "two columns have the same name");
        for key in &schema.keys {
            assert!(!key.columns.is_empty(), "a key without columns: {key:?}");
            for name in &key.columns {
                assert!(names.contains(name.as_str()), "key {key:?} has the unknown `{name}`");
            }
        }
        self.assert_declared("`schema`", &schema.columns);
        assert_eq!(expect(self.reader(&source).schema(), "`schema`"), schema, "`schema` changes");
        let Some(rows) = &source.rows else { return };
        assert_eq!(schema.columns.len(), rows.columns().len(), "`schema` has other columns");
        for (column, (name, logical)) in schema.columns.iter().zip(rows.columns()) {
            assert_eq!(column.name, *name, "`schema` has other columns than the data");
            let same = column.inferred || column.logical == *logical;
            assert!(same, "`{name}` is `{logical}`, but `schema` says `{}`", column.logical);
        }
    }

    /// Every column's type is one that the descriptor declares.
    fn assert_declared(&self, verb: &str, columns: &[Column]) {
        for column in columns {
            let family = column.logical.family();
            let declared = self.declared.types.iter().any(|support| support.logical == family);
            assert!(declared, "{verb} makes `{}` a `{family}`, not declared", column.name);
        }
    }

    /// `produces` keeps names and order for all columns, some, reversed and none, and refuses an
    /// unknown one unless the source is open.
    fn produces(&self) {
        let source = self.subject.source(FEW);
        let reader = self.reader(&source);
        let SourceSchema { columns, open, .. } = expect(reader.schema(), "`schema`");
        let reversed: Vec<_> = columns.iter().rev().cloned().collect();
        for wanted in [columns.clone(), reversed, columns[..1].to_vec(), Vec::new()] {
            let made = expect(reader.produces(&wanted), "`produces`");
            self.assert_declared("`produces`", &made);
            let names = |columns: &[Column]| {
                columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
            };
            assert_eq!(names(&made), names(&wanted), "`produces` changes names or their order");
        }
        let text = columns.iter().all(|column| column.native.is_empty());
        if self.declared.parses_text && text {
            self.parses(&*reader, &columns);
        }
        let unknown = [Column::new("no such column", LogicalType::TEXT, true)];
        let kinds = [ErrorKind::Schema, ErrorKind::NotFound, ErrorKind::Options];
        if !open {
            refused(reader.produces(&unknown), &kinds, "`produces` of an unknown column");
        }
    }

    /// A reader of text accepts every wanted type.
    fn parses(&self, reader: &dyn Reader, columns: &[Column]) {
        let wanted: LogicalType = expect("decimal(38,10)".parse(), "a type");
        let mut columns = columns.to_vec();
        columns.iter_mut().for_each(|column| column.logical = wanted.clone());
        let made = expect(reader.produces(&columns), "`produces` of decimals from text");
        assert!(made.iter().all(|it| it.logical == wanted), "text makes other types: {made:?}");
    }

    /// The columns to read: in the types of the subject's rows if it has them, or else in those of
    /// the schema.
    fn columns(&self, reader: &dyn Reader, source: &Source) -> Vec<Column> {
        let mut wanted = expect(reader.schema(), "`schema`").columns;
        let known = source.rows.iter().flat_map(|rows| rows.columns());
        for (column, (_, logical)) in wanted.iter_mut().zip(known) {
            column.logical = logical.clone();
        }
        expect(reader.produces(&wanted), "`produces`")
    }

    /// At most 1 to 9 splits, opened by another reader after their way through JSON, return the
    /// same rows, each once.
    fn splits(&self) {
        let source = self.subject.source(FEW);
        let reader = self.reader(&source);
        let columns = self.columns(&*reader, &source);
        let mut rows = source.rows.clone();
        for max in 1..=9 {
            let splits = self.divide(&*reader, &columns, max);
            // As another process would open them.
            let text = expect(serde_json::to_string(&splits), "splits as JSON");
            let splits: Vec<Split> = expect(serde_json::from_str(&text), "splits from JSON");
            let found = read_together(&*self.reader(&source), &splits, &columns);
            let when = format!("the rows of {} splits, at most {max} asked for", splits.len());
            assert_eq!(found.len() as u64, FEW, "{when}: the number of rows");
            rows.get_or_insert_with(|| found.clone()).assert_same(&found, &when);
        }
    }

    /// The splits of a request: not too many, labels different, no ability beyond the declared one.
    fn divide(&self, reader: &dyn Reader, columns: &[Column], max: u32) -> Vec<Split> {
        let request = SplitRequest::new(max, columns.to_vec());
        let splits = expect(reader.splits(&request), "`splits`");
        assert!(splits.len() as u64 <= max.into(), "{} splits, at most {max}", splits.len());
        let mut labels = HashSet::new();
        for split in &splits {
            let label = &split.label;
            assert!(!label.is_empty(), "a split without a label");
            assert!(labels.insert(label), "two splits are called `{label}`");
            assert!(split.ability <= self.declared.ability, "`{label}` is more than declared");
        }
        splits
    }

    /// Counts have valid names and never decrease.
    fn counts(&self) {
        let source = self.subject.source(FEW);
        let reader = self.reader(&source);
        let mut counts = Tally::of(reader.counts());
        let columns = self.columns(&*reader, &source);
        counts.goes_on(reader.counts());
        let splits = self.divide(&*reader, &columns, 2);
        read_together(&*reader, &splits, &columns);
        counts.goes_on(reader.counts());
    }

    /// Some columns, in another order.
    fn chosen_columns(&self) {
        let source = self.subject.source(FEW);
        let reader = self.reader(&source);
        let columns = self.columns(&*reader, &source);
        let splits = self.divide(&*reader, &columns, 1);
        let all = read_together(&*reader, &splits, &columns);
        let every_other: Vec<_> = columns.iter().rev().step_by(2).cloned().collect();
        let chosen = expect(reader.produces(&every_other), "`produces` of some columns");
        let splits = self.divide(&*reader, &chosen, 2);
        let names: Vec<_> = chosen.iter().map(|column| column.name.as_str()).collect();
        let found = read_together(&*reader, &splits, &chosen);
        all.project(&names).assert_same(&found, "some columns in another order");
    }

    /// No columns at all: either the number of rows is right, or the reader refuses.
    fn no_columns(&self) {
        let source = self.subject.source(FEW);
        let reader = self.reader(&source);
        let kinds = [ErrorKind::Unsupported, ErrorKind::Schema, ErrorKind::Options];
        let request = SplitRequest::new(1, Vec::new());
        let splits = match reader.splits(&request) {
            Ok(splits) => splits,
            error => return drop(refused(error, &kinds, "`splits` for no columns")),
        };
        let mut rows = 0;
        for split in &splits {
            let mut task = match reader.open(split, &[], None) {
                Ok(task) => task,
                error => return drop(refused(error.map(drop), &kinds, "`open` of no columns")),
            };
            while let Some(read) = expect(task.next_batch(), "a batch of no columns") {
                rows += read.batch.num_rows() as u64;
            }
        }
        assert_eq!(rows, FEW, "rows read of no columns");
    }

    /// Every batch with rows has an origin, and no two rows of the source have the same place: a
    /// user finds the row that the target refused.
    fn origins(&self) {
        let source = self.subject.source(FEW);
        let reader = self.reader(&source);
        let columns = self.columns(&*reader, &source);
        let mut places = HashSet::new();
        for split in self.divide(&*reader, &columns, 3) {
            for read in read(&*reader, &split, &columns, None) {
                let rows = read.batch.num_rows() as u64;
                let label = &split.label;
                let Some(origin) = read.origin.filter(|_| rows > 0) else {
                    assert_eq!(rows, 0, "{label}: a batch with rows has no origin");
                    continue;
                };
                let named = !origin.source.is_empty() && !origin.unit.is_empty();
                assert!(named, "{label}: an origin without source or unit: {origin:?}");
                for row in 0..rows {
                    let place = origin.place(row);
                    assert!(!places.contains(&place), "{label}: two rows have the place `{place}`");
                    places.insert(place);
                }
            }
        }
    }

    /// Each split is read again as its ability promises, and a seekable one from its positions.
    fn positions(&self) {
        let source = self.subject.source(MANY);
        let reader = self.reader(&source);
        let columns = self.columns(&*reader, &source);
        for max in [1, 3] {
            for split in self.divide(&*reader, &columns, max) {
                let first = read(&*reader, &split, &columns, None);
                again(&*reader, &split, &columns, &first);
                if split.ability == SplitAbility::Seekable {
                    resume(&*self.reader(&source), &split, &columns, &first);
                }
            }
        }
    }

    /// Splits and positions that are not this reader's are refused, without a panic.
    fn nonsense(&self) {
        let source = self.subject.source(FEW);
        let reader = self.reader(&source);
        let columns = self.columns(&*reader, &source);
        let Some(split) = self.divide(&*reader, &columns, 1).pop() else { return };
        let open = |split: &Split, position: Option<&Position>| {
            reader.open(split, &columns, position)?.next_batch().map(drop)
        };
        let nonsense = Split { data: "\u{1}nonsense".to_owned(), ..split.clone() };
        refused(open(&nonsense, None), SANE, "a split that is not the reader's");
        let position = Position(b"\xff\xfe nonsense".to_vec());
        refused(open(&split, Some(&position)), SANE, "a position that is not the reader's");
    }

    /// An empty source has no rows, however it is divided.
    fn empty_source(&self) {
        let source = self.subject.source(0);
        let reader = self.reader(&source);
        let columns = self.columns(&*reader, &source);
        for max in [1, 4] {
            let splits = self.divide(&*reader, &columns, max);
            let found = read_together(&*reader, &splits, &columns);
            assert!(found.is_empty(), "an empty source has {} rows", found.len());
        }
    }

    /// After the stop signal, a split ends with an error and not as if it had been read.
    fn cancellation(&self) {
        let source = self.subject.source(MANY);
        let cancel = Cancel::new();
        let host = Host::new(self.subject.secrets(), cancel.clone());
        let reader = expect(self.plugin.reader(source.options.clone(), host), "a reader");
        let columns = self.columns(&*reader, &source);
        let splits = self.divide(&*reader, &columns, 1);
        let mut task = expect(reader.open(&splits[0], &columns, None), "`open`");
        cancel.cancel();
        // Batches that were fetched before may still be returned.
        for _ in 0..8 {
            match task.next_batch() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("after the stop signal, the split ends as if it were read"),
                error => return drop(refused(error, &[ErrorKind::Cancelled], "the stop signal")),
            }
        }
        panic!("after the stop signal, batch follows batch");
    }

    /// An object that the reader cannot read is not left out in silence: the schema has a note, a
    /// warning or a problem of it, a row is dirty, or a call fails.
    fn wrong_kinds(&self) {
        for source in self.subject.wrong_kinds() {
            let reader = self.reader(&source);
            let spoken = self.speaks_of(&*reader);
            let spoken = spoken.unwrap_or_else(|error| {
                let defect = error.kind == ErrorKind::Defect;
                assert!(!defect, "an object of the wrong kind: {error:?}");
                true
            });
            assert!(spoken, "an object of the wrong kind is left out in silence: {source:?}");
        }
    }

    fn speaks_of(&self, reader: &dyn Reader) -> Result<bool> {
        let schema = reader.schema()?;
        let notes = schema.notes.len() + schema.warnings.len() + schema.problems.len();
        let columns = reader.produces(&schema.columns)?;
        let mut dirty = 0;
        for split in reader.splits(&SplitRequest::new(1, columns.clone()))? {
            let mut task = reader.open(&split, &columns, None)?;
            while let Some(read) = task.next_batch()? {
                dirty += read.dirty.len();
            }
        }
        Ok(notes + dirty > 0)
    }

    /// Rows that cannot be read are dirty rows with a place or a number, a code and a reason, and the
    /// others are returned.
    fn dirty_sources(&self) {
        for DirtySource { source, places } in self.subject.dirty_sources() {
            let reader = self.reader(&source);
            let columns = self.columns(&*reader, &source);
            let (mut clean, mut dirty, mut found) = (Vec::new(), Vec::new(), Vec::new());
            for split in self.divide(&*reader, &columns, 1) {
                let mut task = expect(reader.open(&split, &columns, None), "`open`");
                while let Some(batch) = expect(task.next_batch(), "a batch with dirty rows") {
                    assert_batch(&batch, &columns, &split.label);
                    clean.push(batch.batch);
                    let numbered =
                        |row: &DirtyRow| Some(batch.origin.as_ref()?.place_of(row.number?));
                    let place = |row: &DirtyRow| row.place.clone().or_else(|| numbered(row));
                    found.extend(batch.dirty.iter().filter_map(place));
                    dirty.extend(batch.dirty);
                }
            }
            assert_eq!(dirty.len(), found.len(), "a dirty row has no place: {dirty:?}");
            assert_eq!(found.len(), places.len(), "dirty rows at {places:?}: {dirty:?}");
            for (found, place) in found.iter().zip(&places) {
                assert!(found.contains(place), "a dirty row at `{place}`, not `{found}`");
            }
            assert!(dirty.iter().all(|row| !row.code.is_empty() && !row.reason.is_empty()));
            if let Some(rows) = &source.rows {
                rows.assert_same(&Rows::of(&clean), "the clean rows beside dirty ones");
            }
        }
    }
}

/// Kinds of errors about a caller's input; a defect is not one of them.
const SANE: &[ErrorKind] = &[
    ErrorKind::Options,
    ErrorKind::NotFound,
    ErrorKind::Schema,
    ErrorKind::Unsupported,
    ErrorKind::Data,
    ErrorKind::Other,
];

/// All rows of some splits, each split read by a thread of its own.
pub(super) fn read_together(reader: &dyn Reader, splits: &[Split], columns: &[Column]) -> Rows {
    let parts = thread::scope(|scope| {
        let readings: Vec<_> = splits
            .iter()
            .map(|split| scope.spawn(move || read(reader, split, columns, None)))
            .collect();
        readings
            .into_iter()
            .flat_map(|reading| match reading.join() {
                Ok(batches) => batches,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect::<Vec<_>>()
    });
    rows_of(&parts)
}

/// The rows of some batches.
fn rows_of(batches: &[ReadBatch]) -> Rows {
    let batches: Vec<_> = batches.iter().map(|read| read.batch.clone()).collect();
    Rows::of(&batches)
}

/// The batches of a split without dirty rows, each checked.
fn read(
    reader: &dyn Reader,
    split: &Split,
    columns: &[Column],
    after: Option<&Position>,
) -> Vec<ReadBatch> {
    let label = &split.label;
    let mut task = expect(reader.open(split, columns, after), label);
    let mut batches = Vec::new();
    while let Some(batch) = expect(task.next_batch(), label) {
        assert_batch(&batch, columns, label);
        assert!(batch.dirty.is_empty(), "{label}: dirty rows {:?}", batch.dirty);
        batches.push(batch);
    }
    batches
}

/// A batch has the promised schema, no NULL in required columns, and a short position.
fn assert_batch(read: &ReadBatch, columns: &[Column], label: &str) {
    let (schema, found) = (schema_of(columns), read.batch.schema());
    for (expected, field) in schema.fields().iter().zip(found.fields()) {
        assert_eq!(field, expected, "{label}: a field of the batch is not the promised one");
    }
    assert_eq!(found.fields().len(), columns.len(), "{label}: the batch has other columns");
    for (column, array) in columns.iter().zip(read.batch.columns()) {
        let nulls = array.null_count();
        assert!(column.nullable || nulls == 0, "{label}: `{}` has {nulls} NULLs", column.name);
    }
    let position = read.position.0.len();
    assert!(position <= Position::MAX_BYTES, "{label}: a position of {position} bytes");
}

/// Reading a split again returns what its ability promises.
fn again(reader: &dyn Reader, split: &Split, columns: &[Column], first: &[ReadBatch]) {
    let when = format!("{} read again", split.label);
    match split.ability {
        SplitAbility::Volatile => {}
        SplitAbility::Bounded => {
            rows_of(first).assert_same(&rows_of(&read(reader, split, columns, None)), &when);
        }
        SplitAbility::Replayable | SplitAbility::Seekable => {
            rows_of(first).assert_equal(&rows_of(&read(reader, split, columns, None)), &when);
        }
    }
}

/// Reading after a batch's position returns the rows after that batch, and no others.
fn resume(reader: &dyn Reader, split: &Split, columns: &[Column], first: &[ReadBatch]) {
    // All positions of a split of many small batches would take too long.
    for index in
        (0..first.len()).step_by(first.len().div_ceil(8).max(1)).chain(first.len().checked_sub(1))
    {
        let when = format!("{} after batch {} of {}", split.label, index + 1, first.len());
        let rest = read(reader, split, columns, Some(&first[index].position));
        rows_of(&first[index + 1..]).assert_equal(&rows_of(&rest), &when);
    }
}
