//! `shelf`: a store in memory with every write mode, and its plugin. Each [`Defect`] is a mistake that
//! a vendor has made or could make; without one, the plugin conforms.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{ErrorKind as IoKind, Read as _},
    net::TcpStream,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use transload_plugin_api::{testing::cell, *};

/// What is wrong with the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    RoundsOnReading,
    RoundsOnWriting,
    CutsFractions,
    KeepsOldForNull,
    WaitsOnWhenStopped,
    ReadsOnWhenStopped,
    WritesLongWhenStopped,
    RollbackObeysStop,
    AbortObeysStop,
    FinaliseObeysStop,
    PasswordInError,
    PasswordInFinding,
    PasswordInLog,
    TakesFewRows,
    OverwritesOthers,
    JoinsKeys,
    AbortRemovesNothing,
    TestNeedsTable,
    CheckFails,
    DropsOtherKinds,
    PanicsOnReceipt,
    AcceptsAnyValue,
    DraftsWithoutKey,
    LeavesFilesOpen,
}

/// A table: rows of one batch each, and where each key is.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) key: Vec<String>,
    pub(crate) rows: Vec<RecordBatch>,
    /// Objects that are no rows.
    pub(crate) others: usize,
    places: HashMap<Vec<String>, usize>,
    version: u64,
}

/// Everything in the store.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) tables: BTreeMap<String, Table>,
    committed: HashSet<String>,
}

pub(crate) fn shelf() -> MutexGuard<'static, Shelf> {
    static SHELF: LazyLock<Mutex<Shelf>> = LazyLock::new(Mutex::default);
    SHELF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a row did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Inserted,
    Updated,
    Skipped,
    Refused,
}

impl Table {
    pub(crate) fn new(columns: &[Column], key: &[String]) -> Self {
        Self { columns: columns.to_vec(), key: key.to_vec(), ..Self::default() }
    }

    fn key_of(&self, row: &RecordBatch, key: &[String], defect: Defect) -> Vec<String> {
        let cells = key.iter().filter_map(|name| row.column_by_name(name));
        let cells: Vec<_> = cells.map(|array| cell(array, 0)).collect();
        match defect {
            Defect::JoinsKeys => {
                vec![cells.iter().map(|cell| cell.trim_matches('"')).collect::<Vec<_>>().join(":")]
            }
            _ => cells,
        }
    }

    /// Writes one row by the mode of the plan.
    fn put(&mut self, row: RecordBatch, plan: &WritePlan, defect: Defect) -> Effect {
        self.version += 1;
        if plan.key.is_empty() {
            self.rows.push(row);
            return Effect::Inserted;
        }
        let key = self.key_of(&row, &plan.key, defect);
        let Some(place) = self.places.get(&key).copied() else {
            self.places.insert(key, self.rows.len());
            self.rows.push(row);
            return Effect::Inserted;
        };
        match plan.mode {
            WriteMode::Insert | WriteMode::Overwrite => Effect::Refused,
            WriteMode::Ignore => Effect::Skipped,
            WriteMode::Replace => {
                self.rows[place] = row;
                Effect::Updated
            }
            WriteMode::Upsert => {
                self.rows[place] = updated(&self.rows[place], &row, plan, defect);
                Effect::Updated
            }
        }
    }

    /// Inserts rows, for the stage of a test.
    pub(crate) fn insert(&mut self, rows: &RecordBatch) {
        let plan = WritePlan { key: self.key.clone(), ..WritePlan::default() };
        for row in 0..rows.num_rows() {
            self.put(rows.slice(row, 1), &plan, Defect::None);
        }
    }
}

/// The old row with the columns that an upsert updates.
fn updated(old: &RecordBatch, new: &RecordBatch, plan: &WritePlan, defect: Defect) -> RecordBatch {
    let column = |(index, name): (usize, &String)| -> ArrayRef {
        let array = new.column(index);
        let keeps = defect == Defect::KeepsOldForNull && array.is_null(0);
        let source = if plan.update_columns.contains(name) && !keeps { new } else { old };
        source.column(index).clone()
    };
    let names: Vec<_> = plan.columns.iter().map(|column| column.name.clone()).collect();
    let columns = names.iter().enumerate().map(column).collect();
    RecordBatch::try_new(new.schema(), columns).unwrap()
}

/// The plugin.
pub(crate) struct ShelfPlugin {
    pub(crate) defect: Defect,
}

/// The password that the store knows.
pub(crate) const PASSWORD: &str = "open sesame";

fn specs() -> Vec<OptionSpec> {
    let rows = OptionKind::Integer { min: 1, max: 100_000 };
    vec![
        OptionSpec::new("address", OptionKind::Text, "host:port of a store elsewhere").connection(),
        OptionSpec::new("password", OptionKind::Text, "The password").secret(),
        OptionSpec::new("table", OptionKind::Text, "The table").required(),
        OptionSpec::new("batch_rows", rows, "Rows per batch").default(4_096),
    ]
}

#[derive(Clone, Default, serde::Deserialize)]
struct Given {
    address: Option<String>,
    table: Option<String>,
    batch_rows: u64,
}

impl Plugin for ShelfPlugin {
    fn descriptor(&self) -> Descriptor {
        use ConflictEffect as E;
        let families = ["int32", "int64", "text", "decimal", "time", "timestamp"];
        let types: Vec<_> = families.map(|family| TypeSupport::new(family, &[family])).into();
        let mode = |mode, conflict, guarantee| {
            let needs = if needs_key(mode) { KeyNeed::UniqueKey } else { KeyNeed::Nothing };
            WriteModeSpec::new(mode, needs, conflict, guarantee, "writes rows")
        };
        Descriptor {
            name: "shelf".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "a store in memory".to_owned(),
            options: specs(),
            reader: Some(ReaderDescriptor {
                types: types.clone(),
                ability: SplitAbility::Seekable,
                ..ReaderDescriptor::default()
            }),
            writer: Some(WriterDescriptor {
                types,
                modes: vec![
                    mode(WriteMode::Insert, E::Dirty, Guarantee::AtLeastOnce),
                    mode(WriteMode::Ignore, E::Skip, Guarantee::Convergent),
                    mode(WriteMode::Upsert, E::Update, Guarantee::Convergent),
                    mode(WriteMode::Replace, E::Replace, Guarantee::Convergent),
                    mode(WriteMode::Overwrite, E::Dirty, Guarantee::AtomicJob),
                ],
                creates_table: true,
                job_names_key: true,
                ..WriterDescriptor::default()
            }),
            ..Descriptor::default()
        }
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        Ok(Box::new(Connection::new(&options, host, self.defect)?))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Connection::new(&options, host, self.defect)?))
    }
}

/// Inserted rows need no key to be rows.
fn needs_key(mode: WriteMode) -> bool {
    !matches!(mode, WriteMode::Insert | WriteMode::Overwrite)
}

/// A reader or a writer.
#[derive(Clone)]
struct Connection {
    given: Given,
    host: Host,
    defect: Defect,
}

impl Connection {
    fn new(options: &Options, host: Host, defect: Defect) -> Result<Self> {
        let given = match options.parse(&specs()) {
            Err(_) if defect == Defect::AcceptsAnyValue => {
                let mut options = options.clone();
                options.values.remove("batch_rows");
                options.values.remove("address");
                options.parse(&specs())?
            }
            given => given?,
        };
        if defect == Defect::LeavesFilesOpen {
            std::mem::forget(File::open("/dev/null"));
        }
        Ok(Self { given, host, defect })
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn table(&self) -> Result<&str> {
        self.given.table.as_deref().ok_or_else(|| Error::options("the option `table` is missing"))
    }

    /// Every verb but those that clean up begins with this.
    fn enter(&self) -> Result<()> {
        if !self.is(Defect::ReadsOnWhenStopped) {
            self.host.cancel().check()?;
        }
        self.reach()?;
        let Some(password) = self.host.secret("password")? else { return Ok(()) };
        let password = password.expose();
        if self.is(Defect::PasswordInLog) {
            tracing::debug!("logging in with {password}");
        }
        match password {
            PASSWORD => Ok(()),
            _ if self.is(Defect::PasswordInError) => {
                Err(Error::denied(format!("the password `{password}` is wrong")))
            }
            _ => Err(Error::denied("the password is wrong")),
        }
    }

    /// Waits for the store elsewhere, at most some seconds.
    fn reach(&self) -> Result<()> {
        let Some(address) = &self.given.address else { return Ok(()) };
        let lost = |error: std::io::Error| Error::connection(format!("{address}: {error}"));
        let mut stream = TcpStream::connect(address).map_err(lost)?;
        stream.set_read_timeout(Some(Duration::from_millis(20))).map_err(lost)?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            if !self.is(Defect::WaitsOnWhenStopped) {
                self.host.cancel().check()?;
            }
            match stream.read(&mut [0; 16]) {
                Ok(_) => return Err(Error::connection(format!("{address} is no shelf"))),
                Err(error) if error.kind() == IoKind::WouldBlock => {}
                Err(error) => return Err(lost(error)),
            }
        }
        Err(Error::connection(format!("{address} does not answer")))
    }

    fn find(&self) -> Result<Table> {
        self.enter()?;
        let name = self.table()?;
        let found = shelf().tables.get(name).cloned();
        found.ok_or_else(|| Error::not_found(format!("there is no table `{name}`")))
    }

    fn findings(&self) -> Result<Vec<Finding>> {
        let finding = |stage: &str, outcome: Result<()>| match outcome {
            Err(error) if error.kind == ErrorKind::Cancelled => Err(error),
            Err(error) if self.is(Defect::CheckFails) => Err(error),
            Err(error) => {
                let mut detail = error.to_string();
                if let (Defect::PasswordInFinding, Some(secret)) =
                    (self.defect, self.host.secret("password")?)
                {
                    detail += secret.expose();
                }
                Ok(Finding { stage: stage.to_owned(), ok: false, detail })
            }
            Ok(()) => Ok(Finding { stage: stage.to_owned(), ok: true, detail: String::new() }),
        };
        if self.is(Defect::TestNeedsTable) {
            self.table()?;
        }
        let mut findings = vec![finding("login", self.enter())?];
        if findings[0].ok && self.given.table.is_some() {
            findings.push(finding("table", self.find().map(drop))?);
        }
        Ok(findings)
    }

    fn tables(&self) -> Result<Vec<TableInfo>> {
        self.enter()?;
        let table = |name: &String| TableInfo::new(name, "table");
        Ok(shelf().tables.keys().map(table).collect())
    }
}

impl Reader for Connection {
    fn check(&self) -> Result<Vec<Finding>> {
        self.findings()
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.tables()
    }

    fn schema(&self) -> Result<SourceSchema> {
        let table = self.find()?;
        let mut warnings = Vec::new();
        if table.others > 0 && !self.is(Defect::DropsOtherKinds) {
            warnings.push(format!("{} objects are no rows and are left out", table.others));
        }
        Ok(SourceSchema { columns: table.columns, warnings, ..SourceSchema::default() })
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let own = self.schema()?.columns;
        let produce = |wanted: &Column| {
            let own = own.iter().find(|own| own.name == wanted.name).cloned();
            let own = own.ok_or_else(|| Error::schema(format!("no column `{}`", wanted.name)))?;
            Ok(if casts(self.defect, &wanted.logical) { wanted.clone() } else { own })
        };
        wanted.iter().map(produce).collect()
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        let rows = self.find()?.rows.len();
        let step = rows.div_ceil(request.max as usize).max(1);
        let split = |from: usize| {
            let to = (from + step).min(rows);
            let label = format!("rows {from} to {to}");
            Split::new(label, format!("{from} {to}"), SplitAbility::Seekable)
        };
        Ok((0..rows).step_by(step).map(split).collect())
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let foreign = || Error::options("not a split or position of this reader");
        let table = self.find()?;
        let (from, to) = split.data.split_once(' ').ok_or_else(foreign)?;
        let from: usize = from.parse().map_err(|_| foreign())?;
        let to: usize = to.parse().map_err(|_| foreign())?;
        let next = match after {
            None => from,
            Some(after) => {
                let text = std::str::from_utf8(&after.0).map_err(|_| foreign())?;
                text.parse().map_err(|_| foreign())?
            }
        };
        if from > to || next < from || next > to || to > table.rows.len() {
            return Err(foreign());
        }
        let columns = columns.to_vec();
        Ok(Box::new(Reading { connection: self.clone(), table, columns, next, to }))
    }
}

/// Whether the reader casts to what is wanted, without a look at the values.
fn casts(defect: Defect, wanted: &LogicalType) -> bool {
    match defect {
        Defect::RoundsOnReading => matches!(wanted, LogicalType::Decimal { .. }),
        Defect::CutsFractions => matches!(wanted, LogicalType::Timestamp { .. }),
        _ => false,
    }
}

struct Reading {
    connection: Connection,
    table: Table,
    columns: Vec<Column>,
    next: usize,
    to: usize,
}

impl ReadTask for Reading {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        self.connection.enter()?;
        if self.next == self.to {
            return Ok(None);
        }
        let first = self.next;
        self.next = self.to.min(first + self.connection.given.batch_rows as usize);
        let rows = &self.table.rows[first..self.next];
        let column = |column: &Column| -> Result<ArrayRef> {
            let arrays = rows.iter().filter_map(|row| row.column_by_name(&column.name));
            let arrays: Vec<_> = arrays.map(|array| array.as_ref()).collect();
            let array = arrow_select::concat::concat(&arrays).map_err(|error| broken(&error))?;
            let plain = seconds_of(&column.logical, &array);
            arrow_cast::cast(&plain, &column.logical.data_type()).map_err(|error| broken(&error))
        };
        let arrays = self.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let batch = batch_of(&self.columns, arrays, rows.len())?;
        let origin = Origin::new(
            self.connection.given.table.clone().unwrap_or_default(),
            "row",
            first as u64,
        );
        Ok(Some(ReadBatch::new(batch, Position(self.next.to_string().into_bytes()), origin)))
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::defect("the rows make no batch").caused_by(error)
}

/// Timestamps cut to whole seconds, as an author does who casts.
fn seconds_of(logical: &LogicalType, array: &ArrayRef) -> ArrayRef {
    let LogicalType::Timestamp { precision: 0 } = logical else { return array.clone() };
    let seconds = DataType::Timestamp(arrow_schema::TimeUnit::Second, None);
    arrow_cast::cast(array, &seconds).unwrap_or_else(|_| array.clone())
}

impl Writer for Connection {
    fn check(&self) -> Result<Vec<Finding>> {
        self.findings()
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.tables()
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let (exists, columns) = match self.find() {
            Err(error) if error.kind == ErrorKind::NotFound => (false, Vec::new()),
            found => (true, found?.columns),
        };
        let name = self.table()?.to_owned();
        Ok(TargetInfo { name, exists, columns, ..TargetInfo::default() })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        self.enter()?;
        let is_written = |name: &String| plan.columns.iter().any(|column| column.name == *name);
        let has_key = !plan.key.is_empty() && plan.key.iter().all(is_written);
        if needs_key(plan.mode) && !has_key && !self.is(Defect::DraftsWithoutKey) {
            return Err(Error::schema("no key over columns that are written"));
        }
        let because = "a rerun writes rows again".to_owned();
        Ok(WriteDraft { columns: plan.columns.clone(), because, ..WriteDraft::default() })
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.enter()?;
        if plan.create_table {
            let table = Table::new(&plan.columns, &plan.key);
            shelf().tables.entry(self.table()?.to_owned()).or_insert(table);
        }
        if plan.mode == WriteMode::Overwrite {
            let staged = Table::new(&plan.columns, &plan.key);
            shelf().tables.entry(staged_name(plan)).or_insert(staged);
        }
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        self.enter()?;
        let name = match plan.mode {
            WriteMode::Overwrite => staged_name(plan),
            _ => self.table()?.to_owned(),
        };
        let (connection, plan, task) = (self.clone(), plan.clone(), task.task);
        Ok(Box::new(Writing { connection, plan, task, name, chunk: None, written: Vec::new() }))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        self.enter()?;
        for receipt in receipts {
            if self.is(Defect::PanicsOnReceipt) {
                assert_eq!(receipt.data, "", "the receipt has no data");
            }
            if !receipt.data.is_empty() {
                return Err(Error::options("not a receipt of this writer"));
            }
        }
        let mut shelf = shelf();
        if !shelf.committed.insert(plan.run.clone()) {
            return Ok(ChunkOutcome::AlreadyCommitted);
        }
        if let Some(staged) = shelf.tables.remove(&staged_name(plan)) {
            shelf.tables.insert(self.table()?.to_owned(), staged);
        }
        Ok(ChunkOutcome::Committed)
    }

    fn abort(&self, plan: &WritePlan, _: &[Receipt]) -> Result<()> {
        if self.is(Defect::AbortObeysStop) {
            self.host.cancel().check()?;
        }
        if !self.is(Defect::AbortRemovesNothing) {
            shelf().tables.remove(&staged_name(plan));
        }
        Ok(())
    }

    fn finalise(&self, _: &WritePlan) -> Result<()> {
        if self.is(Defect::FinaliseObeysStop) {
            self.host.cancel().check()?;
        }
        Ok(())
    }
}

/// The name of what an overwrite has staged.
fn staged_name(plan: &WritePlan) -> String {
    format!("~{}", plan.run)
}

struct Writing {
    connection: Connection,
    plan: WritePlan,
    task: u32,
    name: String,
    /// The table as the open chunk will leave it, and its version before.
    chunk: Option<(Table, u64)>,
    /// The rows of the open chunk.
    written: Vec<RecordBatch>,
}

impl WriteTask for Writing {
    fn begin_chunk(&mut self, _: u64) -> Result<()> {
        self.connection.enter()?;
        let table = shelf().tables.get(&self.name).cloned();
        let table = table.ok_or_else(|| Error::not_found("the table is gone"))?;
        let version = table.version;
        self.chunk = Some((table, version));
        self.written.clear();
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let (plan, defect) = (&self.plan, self.connection.defect);
        if defect == Defect::WritesLongWhenStopped && self.connection.host.cancel().is_cancelled() {
            thread::sleep(Duration::from_secs(3));
        }
        self.connection.enter()?;
        if defect == Defect::TakesFewRows && batch.num_rows() * batch.num_columns() > 65_535 {
            return Err(Error::other("a statement has at most 65,535 parameters"));
        }
        let batch = if defect == Defect::RoundsOnWriting { rounded(batch) } else { batch.clone() };
        let Some((table, _)) = &mut self.chunk else { return Err(Error::defect("no chunk")) };
        let mut written = Written::default();
        for row in 0..batch.num_rows() {
            match table.put(batch.slice(row, 1), plan, defect) {
                Effect::Inserted => written.inserted += 1,
                Effect::Updated => written.updated += 1,
                Effect::Skipped => written.skipped += 1,
                Effect::Refused => {
                    written.dirty.push(DirtyRow::new("unique", "the key exists").row(row as u64));
                }
            }
        }
        self.written.push(batch);
        Ok(written)
    }

    fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
        self.connection.enter()?;
        let Some((table, version)) = self.chunk.take() else {
            return Err(Error::defect("no chunk"));
        };
        let mut shelf = shelf();
        let current = shelf.tables.entry(self.name.clone()).or_default();
        if current.version == version {
            *current = table;
        } else if self.connection.is(Defect::OverwritesOthers) {
            let plan = WritePlan { mode: WriteMode::Replace, ..self.plan.clone() };
            for batch in self.written.drain(..) {
                for row in 0..batch.num_rows() {
                    current.put(batch.slice(row, 1), &plan, Defect::None);
                }
            }
        } else {
            return Err(Error::retry("another session has written to the table"));
        }
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        if self.connection.is(Defect::RollbackObeysStop) {
            self.connection.host.cancel().check()?;
        }
        self.chunk = None;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        Ok(Receipt { task: self.task, data: String::new() })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Decimals with two digits behind the point and zeros.
fn rounded(batch: &RecordBatch) -> RecordBatch {
    let round = |array: &ArrayRef| match array.data_type() {
        DataType::Decimal128(_, scale) if *scale > 2 => {
            let short = arrow_cast::cast(array, &DataType::Decimal128(30, 2)).unwrap();
            arrow_cast::cast(&short, array.data_type()).unwrap()
        }
        _ => array.clone(),
    };
    RecordBatch::try_new(batch.schema(), batch.columns().iter().map(round).collect()).unwrap()
}
