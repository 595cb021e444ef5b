//! The first stage: reads and checks everything in a job file that needs no plugin. Options that a
//! plugin's descriptor defines are kept as written for `resolve`.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use transload_plugin_api::{
    Column, DirtyClass, Guarantee, LoadMethod, LogicalType, OptionScope, TokenTables, WriteMode,
};

use super::{
    Channel, Checkpoints, ChosenTable, DirtyLimit, Inputs, Job, JobRequest, ManyTables,
    connection::{Connection, Connections, folder_of},
    document::{Document, Entry, Value},
    incremental::{self, Incremental},
    keys::{
        self, Key, MAX_CHUNK_ROWS, MAX_CHUNK_SECONDS, MAX_NAME, MAX_PARALLELISM, MAX_PREFIX,
        MIN_BUFFER_BYTES, MIN_STALL_MS,
    },
    many,
    parameters::{self, UsedParameters},
    places::Places,
    problem::{Location, Problem, Problems},
    secret::learn_variables,
    section::{Given, Section},
    value,
};
use crate::catalog::Isolation;

/// All names of write modes: our own, then those of DataWorks, which may also set how rows are loaded.
pub(super) const WRITE_MODES: &[(&str, WriteMode, Option<LoadMethod>)] = &[
    ("insert", WriteMode::Insert, None),
    ("ignore", WriteMode::Ignore, None),
    ("upsert", WriteMode::Upsert, None),
    ("replace", WriteMode::Replace, None),
    ("overwrite", WriteMode::Overwrite, None),
    ("insert into", WriteMode::Insert, None),
    ("replace into", WriteMode::Replace, None),
    ("insert ignore into", WriteMode::Ignore, None),
    ("on duplicate key update", WriteMode::Upsert, None),
    ("on conflict do nothing", WriteMode::Ignore, None),
    ("on conflict do update", WriteMode::Upsert, None),
    ("copy on conflict do nothing", WriteMode::Ignore, Some(LoadMethod::Copy)),
    ("copy on conflict do update", WriteMode::Upsert, Some(LoadMethod::Copy)),
];

pub(super) const LOADS: &[LoadMethod] = &[LoadMethod::Auto, LoadMethod::Insert, LoadMethod::Copy];

pub(super) const GUARANTEES: &[Guarantee] = &[
    Guarantee::AtLeastOnce,
    Guarantee::Convergent,
    Guarantee::EffectivelyOnce,
    Guarantee::AtomicUnit,
    Guarantee::AtomicJob,
];

/// A job before its plugins are known, with its problems so far. It may hold secrets that are
/// written in the file, so it cannot be printed: it has no `Debug`.
pub(crate) struct DraftJob {
    pub(super) problems: Problems,
    pub(super) file: Arc<Path>,
    pub(super) name: String,
    pub(super) environment: Option<String>,
    pub(super) reader: DraftReader,
    pub(super) writer: DraftWriter,
    pub(super) map: Vec<(String, String)>,
    pub(super) channel: Channel,
    pub(super) dirty: DirtyLimit,
    pub(super) require: Option<Guarantee>,
    pub(super) tokens: TokenTables,
    pub(super) checkpoint: Checkpoints,
    pub(super) incremental: Option<Incremental>,
    pub(super) inputs: Inputs,
    pub(super) places: Places,
    pub(super) many: Option<ManyTables>,
}

/// What both sides have: a plugin, a connection, and options that the plugin's descriptor defines.
#[derive(Default)]
pub(super) struct DraftSide {
    /// The section's header; `None` if the job has no such section.
    pub(super) place: Option<Location>,
    pub(super) plugin: Option<Given<String>>,
    /// Where the job wants it to run at least.
    pub(super) isolation: Isolation,
    pub(super) connection: Option<Connection>,
    /// The job names a plugin or a connection that could not be read. That has been reported, and
    /// the options that it would give are unknown.
    pub(super) unclear: bool,
    /// There is a connection only, without a job.
    pub(super) lone: bool,
    pub(super) entries: Vec<Entry>,
    /// The folder that relative paths of `entries` refer to.
    pub(super) folder: PathBuf,
    /// The host's own keys in this section, for hints.
    pub(super) host_keys: &'static [Key],
}

impl DraftSide {
    /// Whether a required option of this scope may be missing without a problem of its own.
    pub(super) fn may_lack(&self, home: OptionScope) -> bool {
        match home {
            OptionScope::Connection => self.unclear,
            OptionScope::Job => self.lone,
        }
    }
}

/// `[reader]` before its plugin is known.
#[derive(Default)]
pub(super) struct DraftReader {
    pub(super) side: DraftSide,
    pub(super) columns: Option<Vec<String>>,
    pub(super) schema: Vec<Column>,
}

/// `[writer]` before its plugin is known.
#[derive(Default)]
pub(super) struct DraftWriter {
    pub(super) side: DraftSide,
    pub(super) write_mode: Option<Given<(WriteMode, Option<LoadMethod>)>>,
    pub(super) load: Option<Given<LoadMethod>>,
    pub(super) key: Option<Vec<String>>,
    pub(super) update_columns: Option<Given<Vec<String>>>,
    /// Statements; their parameters are filled in when the dialect is known.
    pub(super) before: Option<Given<Entry>>,
    pub(super) after: Option<Given<Entry>>,
    pub(super) create_table: Option<Given<bool>>,
}

impl Job {
    /// Reads a job file and its connections. The draft keeps its problems for
    /// [`DraftJob::resolve`], which reports all of them together.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML; nothing else is checked then.
    pub(crate) fn load(request: &JobRequest) -> Result<DraftJob, Problems> {
        let mut problems = Problems::default();
        let mut document = match &request.text {
            Some(text) => Document::of(&request.path, text)?,
            None => Document::open(&request.path)?,
        };
        learn_variables(&document.root);
        let used = parameters::fill(&mut document, request, &mut problems);
        let many = many::narrow(&mut document, request.table.as_ref(), &mut problems);
        let mut draft = read_job(&document, request, &mut problems);
        if let (Some(table), true) = (&request.table, many.is_some()) {
            draft.name = name_of_table(&draft.name, table);
        }
        draft.many = many;
        let sha256 = Sha256::digest(&document.source.text);
        let sha256 = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::path::absolute(&request.path).unwrap_or_default();
        let UsedParameters { values: parameters, dates, scheduled } = used;
        let (file, text) =
            (request.path.clone(), request.text.as_ref().map(|text| text.text.clone()));
        draft.inputs = Inputs { file, path, sha256, parameters, dates, scheduled, text };
        draft.problems = problems;
        Ok(draft)
    }
}

/// Whether a file is a job of many tables; no for one that cannot be read.
pub(crate) fn is_of_many(path: &Path) -> bool {
    Document::open(path).is_ok_and(|document| many::is_of_many(&document))
}

/// Reads all sections. Every one is read whatever is wrong with the others, so that all problems are
/// reported at once.
pub(super) fn read_job(
    document: &Document,
    request: &JobRequest,
    problems: &mut Problems,
) -> DraftJob {
    let file = &document.source.file;
    let top = Section::top(&document.root, Location::whole(file));
    let name = top.read("name", problems, job_name);
    // `parameters` has read both; only their shape is left to check.
    top.section("params", problems);
    top.read("time_zone", problems, value::text);
    let mut sides = Sides { request, folder: folder_of(file), connections: None };
    let reader = read_reader(&top, &mut sides, problems);
    let writer = match request.is_source {
        true => DraftWriter::default(),
        false => read_writer(&top, &mut sides, problems),
    };
    let map = read_map(&top, reader.columns.as_deref(), problems);
    let channel = read_channel(&top, problems);
    let dirty = read_dirty(&top, problems);
    let (require, tokens) = read_guarantee(&top, problems);
    let checkpoint = read_checkpoint(&top, problems);
    let incremental = incremental::read(&top, problems);
    top.refuse_rest(problems);
    DraftJob {
        problems: Problems::default(),
        file: file.clone(),
        name: name.unwrap_or_else(|| file_name(file)),
        environment: request.env.clone(),
        reader,
        writer,
        map,
        channel,
        dirty,
        require,
        tokens,
        checkpoint,
        incremental,
        inputs: Inputs::default(),
        places: Places::of(&document.root, &Location::whole(file)),
        many: None,
    }
}

/// The name is part of the path of a run's folder.
fn job_name(entry: &Entry) -> Result<String, Problem> {
    let name = value::text(entry)?;
    if name.is_empty()
        || name.starts_with('.')
        || name.len() > MAX_NAME
        || !name.chars().all(fits_a_name)
    {
        let expected = "letters, digits, `-`, `_` and `.`, at most 100 bytes";
        return Err(value::refusal(entry, &entry.node, expected, &format!("`{name}`")));
    }
    Ok(name)
}

/// The name of a job of many tables for one of them.
fn name_of_table(job: &str, table: &ChosenTable) -> String {
    let mut name = format!("{job}.");
    for letter in table.path().chars() {
        if name.len() + letter.len_utf8() > MAX_NAME {
            break;
        }
        name.push(if fits_a_name(letter) { letter } else { '-' });
    }
    name
}

fn fits_a_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The default name: that of the file, with other characters replaced.
fn file_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut name = String::new();
    for c in stem.trim_start_matches('.').chars() {
        if name.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        name.push(if fits_a_name(c) { c } else { '-' });
    }
    if name.is_empty() { "job".to_owned() } else { name }
}

/// What reading a side needs. The connection files are read when the first side names one.
struct Sides<'r> {
    request: &'r JobRequest,
    folder: PathBuf,
    connections: Option<Connections>,
}

impl Sides<'_> {
    fn read(
        &mut self,
        section: &Section<'_>,
        host_keys: &'static [Key],
        problems: &mut Problems,
    ) -> DraftSide {
        let plugin = section.given("plugin", problems, value::text);
        let name = section.given("connection", problems, value::text);
        let connection = name.as_ref().and_then(|name| self.connection(name, problems));
        let unclear = (plugin.is_none() && section.has("plugin"))
            || (connection.is_none() && section.has("connection"));
        let theirs = connection.as_ref().and_then(|connection| connection.plugin.clone());
        if let (Some(ours), Some(theirs), Some(connection)) = (&plugin, &theirs, &connection)
            && ours.value != theirs.value
        {
            let message = format!(
                "connection `{}` belongs to plugin `{}`, not to `{}`",
                connection.name, theirs.value, ours.value
            );
            problems.add(ours.problem(message));
        }
        let isolation = section.read("isolation", problems, value::isolation);
        DraftSide {
            place: Some(section.place.clone()),
            plugin: plugin.or(theirs),
            isolation: isolation.unwrap_or_default(),
            unclear,
            lone: false,
            connection,
            entries: Vec::new(),
            folder: self.folder.clone(),
            host_keys,
        }
    }

    fn connection(&mut self, name: &Given<String>, problems: &mut Problems) -> Option<Connection> {
        let files = &self.request.connection_files;
        self.connections.get_or_insert_with(|| Connections::open(files, problems)).find(
            name,
            self.request.env.as_deref(),
            problems,
        )
    }
}

/// A string or a list of them, as written.
fn statements(entry: &Entry) -> Result<Entry, Problem> {
    value::list(entry).map(|_| entry.clone())
}

fn read_reader(top: &Section<'_>, sides: &mut Sides<'_>, problems: &mut Problems) -> DraftReader {
    let Some(section) = side_section(top, "reader", problems) else {
        return DraftReader::default();
    };
    let mut side = sides.read(&section, keys::READER, problems);
    let columns = section.read("columns", problems, value::names);
    let schema = section.entry("schema").map(|entry| read_schema(entry, problems));
    side.entries = section.rest().cloned().collect();
    DraftReader { side, columns, schema: schema.unwrap_or_default() }
}

fn side_section<'a>(
    top: &Section<'a>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<Section<'a>> {
    if top.has(key) {
        return top.section(key, problems);
    }
    let hint = format!("add a section `[{key}]` with at least `plugin = \"...\"`");
    let message = format!("missing section [{key}]");
    problems.add(Problem::new(&top.place, key, message).hint(hint));
    None
}

/// `[reader.schema]`: column names and logical types.
fn read_schema(entry: &Entry, problems: &mut Problems) -> Vec<Column> {
    if entry.node.is_broken() {
        return Vec::new();
    }
    let pairs = match value::map(entry) {
        Ok(pairs) => pairs,
        Err(problem) => {
            problems.add(problem);
            return Vec::new();
        }
    };
    let mut columns = Vec::new();
    for (item, text) in pairs {
        match text.parse::<LogicalType>() {
            Ok(logical) => columns.push(Column::new(&item.key, logical, true)),
            Err(error) => {
                problems.add(Problem::new(&item.node.place, &item.path, error.to_string()));
            }
        }
    }
    columns
}

fn read_writer(top: &Section<'_>, sides: &mut Sides<'_>, problems: &mut Problems) -> DraftWriter {
    let Some(section) = side_section(top, "writer", problems) else {
        return DraftWriter::default();
    };
    let mut side = sides.read(&section, keys::WRITER, problems);
    let mut writer = DraftWriter {
        write_mode: section.given("write_mode", problems, write_mode),
        load: section.given("load", problems, load_method),
        key: section.read("key", problems, value::names),
        update_columns: section.given("update_columns", problems, value::names),
        before: section.given("before", problems, statements),
        after: section.given("after", problems, statements),
        create_table: section.given("create_table", problems, value::boolean),
        side: DraftSide::default(),
    };
    side.entries = section.rest().cloned().collect();
    writer.side = side;
    check_writer(&writer, problems);
    writer
}

/// A write mode by any of its names, with the way of loading that the name implies.
fn write_mode(entry: &Entry) -> Result<(WriteMode, Option<LoadMethod>), Problem> {
    let text = value::text(entry)?;
    // DataWorks accepts its names in any case and with any spaces.
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let found = WRITE_MODES.iter().find(|(word, ..)| *word == plain);
    found.map(|(_, mode, load)| (*mode, *load)).ok_or_else(|| {
        let words = WRITE_MODES.iter().map(|(word, ..)| *word);
        let expected = "one of `insert`, `ignore`, `upsert`, `replace`, `overwrite`";
        value::refusal(entry, &entry.node, expected, &format!("`{text}`")).nearest(&text, words)
    })
}

fn load_method(entry: &Entry) -> Result<LoadMethod, Problem> {
    let words: Vec<&str> = LOADS.iter().map(|load| load.word()).collect();
    let word = value::choice(entry, &words)?;
    Ok(LOADS.iter().copied().find(|load| load.word() == word).unwrap_or_default())
}

/// Reports contradictions between the writer's own keys.
fn check_writer(writer: &DraftWriter, problems: &mut Problems) {
    let fixed = writer.write_mode.as_ref().and_then(|mode| mode.value.1);
    if let (Some(fixed), Some(load)) = (fixed, &writer.load)
        && load.value != fixed
        && load.value != LoadMethod::Auto
    {
        let message = format!("`load` contradicts `write_mode`, which loads by `{}`", fixed.word());
        problems.add(load.problem(message).hint("leave `load` out"));
    }
    if let (Some(key), Some(update)) = (&writer.key, &writer.update_columns)
        && let Some(column) = update.value.iter().find(|column| key.contains(column))
    {
        let message = format!("`update_columns` names `{column}`, which is a key column");
        problems.add(update.problem(message).hint("an update never changes the key"));
    }
}

/// `[map]`: target column = source column. With `columns`, sources must be among them.
fn read_map(
    top: &Section<'_>,
    columns: Option<&[String]>,
    problems: &mut Problems,
) -> Vec<(String, String)> {
    let pairs = top.read("map", problems, value::map).unwrap_or_default();
    for (item, source) in &pairs {
        let Some(columns) = columns else { break };
        if !columns.iter().any(|column| column == source) {
            let message = format!("`{source}` is not among the reader's `columns`");
            let problem = Problem::new(&item.node.place, &item.path, message);
            problems.add(problem.nearest(source, columns.iter().map(String::as_str)));
        }
    }
    pairs.into_iter().map(|(item, source)| (item.key.clone(), source.to_owned())).collect()
}

/// `[channel]`, with defaults for what is missing.
fn read_channel(top: &Section<'_>, problems: &mut Problems) -> Channel {
    let mut channel = Channel::default();
    let Some(section) = top.section("channel", problems) else {
        return channel;
    };
    let tasks = section.read("parallelism", problems, |entry| {
        value::integer(entry, 1, MAX_PARALLELISM).map(|tasks| NonZeroU32::new(tasks as u32))
    });
    if let Some(tasks) = tasks.flatten() {
        channel = Channel::of(tasks);
    }
    if let Some(bytes) = section
        .read("buffer", problems, |entry| size_from(entry, MIN_BUFFER_BYTES, "at least `1 MiB`"))
    {
        channel.buffer_bytes = bytes;
    }
    if let Some(time) = section.read("stall_timeout", problems, stall_timeout) {
        channel.stall_timeout_ms = time;
    }
    channel.max_bytes_per_second = section
        .read("max_bytes_per_second", problems, |entry| size_from(entry, 1, "more than `0`"));
    channel.max_rows_per_second = section
        .read("max_rows_per_second", problems, |entry| value::integer(entry, 1, i64::MAX))
        .map(i64::unsigned_abs);
    section.refuse_rest(problems);
    channel
}

fn stall_timeout(entry: &Entry) -> Result<u64, Problem> {
    let time = value::duration(entry)?;
    if time < MIN_STALL_MS {
        let found = format!("{time} ms");
        return Err(value::refusal(entry, &entry.node, "at least `1 s`", &found));
    }
    Ok(time)
}

fn size_from(entry: &Entry, min: u64, expected: &str) -> Result<u64, Problem> {
    let bytes = value::size(entry)?;
    if bytes < min {
        let found = format!("{bytes} bytes");
        return Err(value::refusal(entry, &entry.node, expected, &found));
    }
    Ok(bytes)
}

/// `[dirty]`. Other limits lift the default limit of no dirty row; where classes alone have limits,
/// it remains for each class that has none.
fn read_dirty(top: &Section<'_>, problems: &mut Problems) -> DirtyLimit {
    let Some(section) = top.section("dirty", problems) else {
        return DirtyLimit::default();
    };
    let max_rows = section.read("max_rows", problems, max_rows);
    let max_ratio = section.read("max_ratio", problems, |entry| value::float(entry, 0.0, 1.0));
    let classes = section.section("max_rows_of", problems);
    let has_classes = classes.as_ref().is_some_and(|classes| !classes.is_empty());
    let unnamed = (max_rows.is_none() && max_ratio.is_none()).then_some(0);
    let max_rows_of = classes.map(|classes| read_classes(classes, unnamed, problems));
    section.refuse_rest(problems);
    match (max_rows, max_ratio, has_classes) {
        (None, None, false) => DirtyLimit::default(),
        _ => DirtyLimit {
            max_rows: max_rows.flatten(),
            max_ratio,
            max_rows_of: max_rows_of.filter(|_| has_classes).unwrap_or_default(),
        },
    }
}

/// The limits of classes; `unnamed` is that of a class without a key.
fn read_classes(
    section: Section<'_>,
    unnamed: Option<u64>,
    problems: &mut Problems,
) -> BTreeMap<DirtyClass, u64> {
    let mut limits = BTreeMap::new();
    for class in DirtyClass::ALL {
        let limit = match section.has(class.word()) {
            true => section.read(class.word(), problems, max_rows).flatten(),
            false => unnamed,
        };
        limits.extend(limit.map(|limit| (class, limit)));
    }
    section.refuse_rest(problems);
    limits
}

/// A number of rows, or `None` for `"unlimited"`.
fn max_rows(entry: &Entry) -> Result<Option<u64>, Problem> {
    match &entry.node.value {
        Value::Text(text) if text == "unlimited" => Ok(None),
        Value::Integer(rows) if *rows >= 0 => Ok(Some(rows.unsigned_abs())),
        Value::Integer(rows) => Err(value::refusal(
            entry,
            &entry.node,
            "an integer from 0 or `\"unlimited\"`",
            &format!("`{rows}`"),
        )),
        other => Err(value::refusal(
            entry,
            &entry.node,
            "an integer from 0 or `\"unlimited\"`",
            other.kind(),
        )),
    }
}

/// `[guarantee]`: the level, and the tables that some levels need in a database.
fn read_guarantee(top: &Section<'_>, problems: &mut Problems) -> (Option<Guarantee>, TokenTables) {
    let Some(section) = top.section("guarantee", problems) else { return Default::default() };
    let require = section.read("require", problems, |entry| {
        let words: Vec<&str> = GUARANTEES.iter().map(|guarantee| guarantee.word()).collect();
        let word = value::choice(entry, &words)?;
        Ok(GUARANTEES.iter().find(|guarantee| guarantee.word() == word).copied())
    });
    let require = require.flatten();
    let create = section.given("create_tables", problems, value::boolean);
    let schema = section.given("schema", problems, value::text);
    let prefix = section.given("prefix", problems, table_prefix);
    let is_unread = require.is_none() && section.has("require");
    section.refuse_rest(problems);
    let given = [
        create.as_ref().map(|given| given.problem("`create_tables` has no effect")),
        schema.as_ref().map(|given| given.problem("`schema` has no effect")),
        prefix.as_ref().map(|given| given.problem("`prefix` has no effect")),
    ];
    if require < Some(Guarantee::EffectivelyOnce) && !is_unread {
        let hint = "tables are used with `require = \"effectively-once\"` or more";
        given.into_iter().flatten().for_each(|problem| problems.add(problem.hint(hint)));
    }
    let default = TokenTables::default();
    let tokens = TokenTables {
        schema: schema.map(|given| given.value),
        prefix: prefix.map_or(default.prefix, |given| given.value),
        create: create.is_some_and(|given| given.value),
    };
    (require, tokens)
}

/// A part of names, which databases fold or quote differently if it has other characters.
fn table_prefix(entry: &Entry) -> Result<String, Problem> {
    let text = value::text(entry)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = text.starts_with(|c: char| !c.is_ascii_digit()) && text.chars().all(fits);
    if !is_name || text.len() > MAX_PREFIX {
        let expected = "ASCII letters, digits and `_`, at most 40, not a digit first";
        return Err(value::refusal(entry, &entry.node, expected, &format!("`{text}`")));
    }
    Ok(text)
}

/// `[checkpoint]`, with defaults for what is missing.
fn read_checkpoint(top: &Section<'_>, problems: &mut Problems) -> Checkpoints {
    let mut checkpoint = Checkpoints::default();
    let Some(section) = top.section("checkpoint", problems) else { return checkpoint };
    let mut number = |name, most, number: &mut u64| {
        let read = section.read(name, problems, |entry| value::integer(entry, 1, most));
        *number = read.map_or(*number, i64::unsigned_abs);
    };
    number("rows", MAX_CHUNK_ROWS, &mut checkpoint.rows);
    number("seconds", MAX_CHUNK_SECONDS, &mut checkpoint.seconds);
    checkpoint.bytes =
        section.read("bytes", problems, |entry| size_from(entry, 1, "more than `0`"));
    section.refuse_rest(problems);
    checkpoint
}
