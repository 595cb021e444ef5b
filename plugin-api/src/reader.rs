//! The reading side: what a source contains, how it is divided, and the batches of one split.
//! Converting values to other types, and counting rows, are left to the host.
//!
//! # The order of calls
//!
//! `schema`, `produces`, `splits`, then for each split `open` and `next_batch` until it returns
//! `None`. `check` and `discover` may come at any time, and alone. Splits may be opened by other
//! processes with readers of their own, later, and again from a position.

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::{
    Column, Count, Digest, DigestRequest, DirtyRow, Error, ErrorKind, FoundIncrement, Increment,
    Key, Result, SplitAbility, TableInfo, TablePage, TableRequest,
};

/// A source.
///
/// The host calls it from several threads at once, and every method but `counts` may block on the
/// store. A call that blocks returns [`crate::ErrorKind::Cancelled`] within a second after the
/// stop signal. A default does what is right for any store, or returns
/// [`crate::ErrorKind::Unsupported`], as a reader without an ability does.
///
/// The crate's documentation has a whole example.
pub trait Reader: Send + Sync {
    /// Checks stage by stage whether the source can be reached and read: name resolution, login,
    /// rights. A failed stage is a finding with `ok: false`, and the last one. The default has one
    /// stage, which asks for the schema.
    ///
    /// # Errors
    /// Only if the check itself cannot run: wrong options, the stop signal.
    fn check(&self) -> Result<Vec<Finding>> {
        let columns = |schema: SourceSchema| format!("{} columns", schema.columns.len());
        Finding::of("schema", self.schema().map(columns))
    }

    /// The tables (files, collections) that this connection offers. The job's own `table` or
    /// `path` does not matter and may be missing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] if the store has no list of them, as by default.
    fn discover(&self) -> Result<Vec<TableInfo>> {
        Err(Error::unsupported("the store has no list of tables"))
    }

    /// The tables of [`Reader::discover`] that a request asks for, one page of them, in an order that
    /// stays the same: a store may have hundreds of thousands. The default divides what `discover`
    /// returns, which is right for short lists.
    ///
    /// # Errors
    /// As [`Reader::discover`]; [`crate::ErrorKind::Options`] for a text that is no pattern.
    fn tables(&self, request: &TableRequest) -> Result<TablePage> {
        request.page(self.discover()?)
    }

    /// The columns and keys of what the job reads: all columns, in the source's order, before any
    /// choice of columns. The same each time, as long as the source does not change.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] for a missing table or file, [`crate::ErrorKind::Denied`]
    /// without the right to read it.
    fn schema(&self) -> Result<SourceSchema>;

    /// The columns that batches will have if these are wanted: the same names in the same order,
    /// each in the wanted type where the store can deliver it without loss, or else in the
    /// column's own type, which the host converts. By default all have their own types.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Schema`] for a column that the source does not have.
    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let own = self.schema()?.columns;
        let find = |wanted: &Column| {
            let found = own.iter().find(|column| column.name == wanted.name).cloned();
            found.ok_or_else(|| Error::schema(format!("there is no column `{}`", wanted.name)))
        };
        wanted.iter().map(find).collect()
    }

    /// Divides the source into at most `request.max` splits that together cover each row exactly
    /// once, also if other sessions change the table meanwhile as far as the split's ability
    /// promises. An empty source has one split, or none.
    ///
    /// # Errors
    /// As [`Reader::schema`].
    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>>;

    /// Opens one split, at its start or after a position that one of its batches carried.
    ///
    /// `columns` is what [`Reader::produces`] returned; the schema of each batch is
    /// [`schema_of(columns)`](crate::schema_of) and nothing else. `split` may come from another
    /// process, so treat `split.data` and `after` as untrusted input.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Connection`] after which the host tries again,
    /// [`crate::ErrorKind::Schema`] if the source changed since the plan,
    /// [`crate::ErrorKind::Options`] for a split or position that is not this reader's.
    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>>;

    /// What the reader and its tasks have counted since they were made (requests, retries), each
    /// name once. Does not block and sends no request. The default counts nothing.
    ///
    /// # Errors
    /// None are expected; the host logs one and continues.
    fn counts(&self) -> Result<Vec<Count>> {
        Ok(Vec::new())
    }

    /// The number of rows in a range of keys and a checksum of their values, computed inside the
    /// store, or `None` if the store cannot compute it as the request demands: the host then reads
    /// the rows. The default is `None`.
    ///
    /// # Errors
    /// As [`Reader::schema`].
    fn digest(&self, request: &DigestRequest) -> Result<Option<Digest>> {
        let _ = request;
        Ok(None)
    }
}

/// The reading of one split, by one thread at a time. Dropping it, at any moment, closes what it
/// has opened.
pub trait ReadTask: Send {
    /// The next rows, or `None` at the proven end of the split. Aims at 8,192 rows or 4 MiB,
    /// whichever comes first. Blocks until rows arrive.
    ///
    /// An early end of the stream is an error, never `None`: the host would take the rows that are
    /// missing for rows that do not exist. A row that cannot be read is a dirty row; only what
    /// makes the rest unreadable is an error. Not called again after `None` or an error.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Connection`] if the source is lost: the host opens the split again
    /// after the last position, if its ability allows that. [`crate::ErrorKind::Data`] if the
    /// input violates its format. [`crate::ErrorKind::Cancelled`] after the stop signal.
    fn next_batch(&mut self) -> Result<Option<ReadBatch>>;
}

/// One batch and what belongs to it.
#[derive(Clone, Debug)]
pub struct ReadBatch {
    /// The rows that could be read. May be empty if all rows were dirty.
    pub batch: RecordBatch,
    /// The position after these rows, dirty ones included.
    pub position: Position,
    /// Where the rows came from, for messages about rows that the target refuses. Required for a
    /// batch with rows; the conformance suite asks for it.
    pub origin: Option<Origin>,
    /// The rows between the previous position and this one that could not be read.
    pub dirty: Vec<DirtyRow>,
    /// Bytes taken from the source for these rows, as the source stores them (compressed, if it
    /// does).
    pub bytes: u64,
}

impl ReadBatch {
    /// A batch with what every batch has. Its dirty rows and bytes are added to it.
    pub fn new(batch: RecordBatch, position: Position, origin: Origin) -> Self {
        Self { batch, position, origin: Some(origin), dirty: Vec::new(), bytes: 0 }
    }
}

/// A position in a split: between two rows, where reading can resume. Opaque to the host, at most
/// [`Position::MAX_BYTES`] long, and valid in another process. A split that is not
/// [seekable](SplitAbility::Seekable) has empty ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub Vec<u8>);

impl Position {
    /// The longest position, in bytes: a key is one, and MySQL indexes keys of up to 3,072 bytes,
    /// PostgreSQL of up to 2,704.
    pub const MAX_BYTES: usize = 4 << 10;
}

/// Where a batch's rows came from. If `exact`, row `i` of the batch has the number `first + i`, as far
/// as no gap says otherwise.
///
/// # Examples
/// ```
/// use transload_plugin_api::{Gap, Origin};
///
/// let mut origin = Origin::new("orders.csv", "line", 15);
/// assert_eq!(origin.place(2), "orders.csv, line 17");
///
/// origin.gaps = vec![Gap { row: 1, number: 18 }]; // lines 16 and 17 are a dirty row
/// assert_eq!(origin.place(2), "orders.csv, line 19");
///
/// origin.exact = false; // the numbers are not known
/// assert_eq!(origin.place(2), "orders.csv, 2 rows after line 15");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The file or table, with the split where `first` counts within it.
    pub source: String,
    /// What is counted: `line`, `row`, `rowid`.
    pub unit: String,
    /// The number of the first row.
    pub first: u64,
    /// The number of each row is known: rows follow each other, except at `gaps`.
    pub exact: bool,
    /// Where rows do not follow each other because a dirty row was left out or a value has several
    /// lines, in ascending order of rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// The whole name of the file, if the rows are from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// From row `row` of a batch on, rows are numbered from `number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Gap {
    /// The row's index in the batch.
    pub row: u64,
    /// Its number in the source.
    pub number: u64,
}

impl From<(u64, u64)> for Gap {
    fn from((row, number): (u64, u64)) -> Self {
        Self { row, number }
    }
}

impl From<Gap> for (u64, u64) {
    fn from(Gap { row, number }: Gap) -> Self {
        (row, number)
    }
}

impl Origin {
    /// The origin of rows that follow each other.
    pub fn new(source: impl Into<String>, unit: impl Into<String>, first: u64) -> Self {
        let (source, unit) = (source.into(), unit.into());
        Self { source, unit, first, exact: true, gaps: Vec::new(), file: None }
    }

    /// The origin of a batch without some rows, given by their numbers in ascending order, of rows
    /// that follow each other otherwise. No change if the numbers are not known.
    ///
    /// # Examples
    /// ```
    /// use transload_plugin_api::Origin;
    ///
    /// let origin = Origin::new("t", "row", 5).without([5, 7, 8]);
    /// assert_eq!([origin.place(0), origin.place(1)], ["t, row 6", "t, row 9"]);
    /// ```
    #[must_use]
    pub fn without(mut self, refused: impl IntoIterator<Item = u64>) -> Self {
        if !self.exact {
            return self;
        }
        let first = self.first;
        for (before, number) in refused.into_iter().enumerate() {
            let row = number.saturating_sub(first).saturating_sub(before as u64);
            let gap = Gap { row, number: number + 1 };
            match self.gaps.last_mut() {
                _ if row == 0 => self.first = gap.number,
                Some(last) if last.row == row => *last = gap,
                _ => self.gaps.push(gap),
            }
        }
        self
    }

    /// The number of row `index` of the batch in the source, if it is known.
    pub fn number(&self, index: u64) -> Option<u64> {
        let behind = self.gaps.partition_point(|gap| gap.row <= index);
        let last = self.gaps[..behind].last();
        let (row, number) = last.map_or((0, self.first), |gap| (gap.row, gap.number));
        self.exact.then(|| number.saturating_add(index - row))
    }

    /// The place of row `index` of the batch, for messages: `orders.csv, line 17`.
    pub fn place(&self, index: u64) -> String {
        let Self { source, unit, first, .. } = self;
        match self.number(index) {
            Some(number) => self.place_of(number),
            None => format!("{source}, {index} rows after {unit} {first}"),
        }
    }

    /// The place of the row of that number in the source: `orders.csv, line 17`.
    pub fn place_of(&self, number: u64) -> String {
        format!("{}, {} {number}", self.source, self.unit)
    }
}

/// What a source looks like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceSchema {
    /// All columns, in the source's order.
    pub columns: Vec<Column>,
    /// Primary and unique keys.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// Notes for the plan: what was inferred and from how many rows, what is unusual.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Warnings for plan, run and report: what is left out with the job's consent.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The files that are read, for a reader of files; the run's report names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<SourceFiles>,
    /// Rows may have columns beyond these, such as JSON keys that a sample did not show. The host
    /// may then ask [`Reader::produces`] for a column that only the target names.
    #[serde(default)]
    pub open: bool,
    /// Identifies the content as far as the store knows it without reading: names, sizes and times
    /// of change of files. A run is resumed only if it is the same again. `None` if the store knows
    /// nothing of that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// What the store refuses of the job, tried without effect: the text of a condition, a right.
    /// The host reports them together with what else is wrong, so that all is fixed at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Error>,
}

/// The files that a reader reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFiles {
    /// How many there are.
    pub count: u64,
    /// The names of the first ones, at most [`SourceFiles::NAMED`].
    pub first: Vec<String>,
    /// How their records are written, if they are texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordForm>,
}

/// How the records of text files are written, as far as a file needs it that is to hold single
/// records of them unchanged. The texts of values are described by the job's options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordForm {
    /// `csv`, `json` or `jsonl`.
    pub format: String,
    /// The columns of the files in their order; JSON: the known keys.
    pub columns: Vec<String>,
    /// Columns whose values are not in the records, but in the names of folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// CSV: what separates, encloses and escapes cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<RecordDialect>,
    /// The options of the job that say how values are written, where that is not the usual form:
    /// `date_format`, `decimal_comma` and so on, see docs/files.md.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub texts: serde_json::Map<String, serde_json::Value>,
}

/// The part of a CSV dialect that divides a file into records and cells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordDialect {
    /// Separates cells.
    pub delimiter: char,
    /// Encloses cells; none: no cell is enclosed.
    pub quote: Option<char>,
    /// Makes the next character text; none: a quote inside quotes is doubled.
    pub escape: Option<char>,
    /// The first record has the names of the columns.
    pub header: bool,
    /// The contents of cells without quotes that mean NULL, in all columns or in some.
    pub nulls: Vec<String>,
}

impl SourceFiles {
    /// The most files that are named.
    pub const NAMED: usize = 100;

    /// The files of these names.
    pub fn new<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let count = names.len() as u64;
        let first = names.take(Self::NAMED).map(str::to_owned).collect();
        Self { count, first, records: None }
    }
}

/// How the source should be divided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRequest {
    /// The largest number of splits; at least 1.
    pub max: u32,
    /// The columns that will be read, as [`Reader::produces`] returned them.
    pub columns: Vec<Column>,
    /// What the guarantee that the job requires needs of each split. A reader that can divide its
    /// source in several ways reaches it where the job's options leave the choice to it, and says
    /// so in [`Split::note`]. `None`: nothing is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ability: Option<SplitAbility>,
    /// Only these rows are read. A reader that does so returns at least one split, and the first one
    /// has [`Split::increment`]; the host refuses the plan without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment: Option<Increment>,
}

impl SplitRequest {
    /// A request that needs nothing of the splits.
    pub fn new(max: u32, columns: Vec<Column>) -> Self {
        Self { max, columns, ability: None, increment: None }
    }
}

/// A part of the source. It travels as JSON: another process with the same options can open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The rows in words, for the plan: `orders.csv bytes 0..1048576`, `id >= 100 and id < 200`.
    /// Different for each split.
    pub label: String,
    /// What the reader needs to open it; opaque to the host.
    pub data: String,
    /// What is promised about reading it again. Decides what the host does after a lost connection.
    pub ability: SplitAbility,
    /// About how many rows, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// About how many bytes, if known; the same measure as [`ReadBatch::bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The table that the rows are from, so that a dirty row can be found again by its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What the plan reports about how the split is read, once if several say the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the job could say so that a task continues in the middle of the split: the hint of a
    /// plan that is refused because it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What was found of the increment that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment: Option<FoundIncrement>,
}

impl Split {
    /// A split of unknown size.
    pub fn new(label: impl Into<String>, data: impl Into<String>, ability: SplitAbility) -> Self {
        let (label, data) = (label.into(), data.into());
        let (table, note, hint, increment) = (None, None, None, None);
        Self { label, data, ability, rows: None, bytes: None, table, note, hint, increment }
    }
}

/// The result of one stage of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The stage: `name resolution`, `login`, `rights`, `file`.
    pub stage: String,
    /// Whether the stage passed.
    pub ok: bool,
    /// What was found: the server's version, the missing right and how to grant it. Begins with
    /// `warning: ` if the stage passed, and the user should look at it.
    pub detail: String,
}

impl Finding {
    /// The one stage of a check, by the outcome of a call that needs the store.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] and [`ErrorKind::Options`], which are no findings.
    pub(crate) fn of(stage: &str, outcome: Result<String>) -> Result<Vec<Self>> {
        let (ok, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(error) if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Options) => {
                return Err(error);
            }
            Err(error) => (false, error.to_string()),
        };
        Ok(vec![Self { stage: stage.to_owned(), ok, detail }])
    }
}
