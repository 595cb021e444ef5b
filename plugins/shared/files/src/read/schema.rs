//! The columns of a source: names from headers and keys, types from the job's own schema or from
//! a bounded sample over all files.

use std::collections::BTreeSet;

use transload_formats::{
    CsvDialect, Format, Inference, JsonInference, JsonShape, Nested, Nesting, ParquetFile,
    ReadOptions, UnknownKeys, guess, produced,
};
use transload_plugin_api::{Column, Error, RecordForm, Result, SourceFiles, SourceSchema, code};
use transload_values::CellWords;

use super::{
    fingerprint,
    input::Input,
    source::{Source, in_file},
};
use crate::{Listing, StoredFile};

/// The sample is at most so large, over all files.
const SAMPLE_BYTES: usize = 8 << 20;
/// The most files that give rows to the sample.
const SAMPLE_FILES: usize = 16;
/// The number of CSV headers compared before the run; a task compares those of all its files.
const COMPARED_FILES: usize = 256;

/// The columns of a source.
#[derive(Clone)]
pub(crate) struct Columns {
    /// All of them, those from folder names last.
    pub(crate) schema: SourceSchema,
    /// What the files themselves have: CSV's header, JSON's keys, Parquet's columns, also those
    /// that are left out.
    pub(crate) names: Vec<String>,
    /// CSV: how the files are read.
    pub(crate) dialect: CsvDialect,
}

/// The columns of all files together, and those that their folders' names give.
pub(crate) fn read(source: &Source, listing: &Listing) -> Result<Columns> {
    let files = &listing.files;
    let Found { mut columns, unread, notes: of_format, warnings, dialect } = match source.format {
        Format::Csv => csv_columns(source, files)?,
        Format::Jsonl => json_columns(source, JsonShape::Lines, files)?,
        Format::Json => json_columns(source, JsonShape::Array, files)?,
        Format::Parquet => parquet_columns(source, files)?,
    };
    // A file without a single row or header has whichever columns its target has.
    let open = source.shape().is_some() || columns.is_empty();
    let names: Vec<_> = columns.iter().map(|column| column.name.clone()).chain(unread).collect();
    let mut of_folders = Vec::new();
    for folder in partition_columns(listing) {
        if let Some(index) = columns.iter().position(|column| column.name == folder.name) {
            columns.remove(index);
            of_folders.push(format!("column `{}` is taken from the folders' names", folder.name));
        }
        columns.push(folder);
    }
    for wanted in source.job.declared.iter() {
        match columns.iter_mut().find(|column| column.name == wanted.name) {
            Some(column) if source.format == Format::Parquet && !column.inferred => {
                same_type(column, wanted)?;
            }
            Some(column) => *column = Column { inferred: false, ..wanted.clone() },
            None if source.shape().is_some() => columns.push(wanted.clone()),
            None => return Err(no_such_column(wanted, &columns)),
        }
    }
    // A text format's note is of its inference: not needed where the job declares all types.
    // The first note says why there are no columns: it becomes the error where nothing else has any.
    let told = source.format == Format::Parquet
        || columns.is_empty()
        || columns.iter().any(|column| column.inferred);
    let mut notes = if told { of_format } else { Vec::new() };
    let dialect = dialect.unwrap_or_else(|| (source.dialect.clone(), Vec::new()));
    notes.extend(dialect.1);
    notes.extend(of_folders);
    notes.extend(listing.notes.iter().cloned());
    let records = record_form(source, &names, listing, &dialect.0);
    let files = SourceFiles::new(files.iter().map(|file| file.name.as_str()));
    let files = Some(SourceFiles { records, ..files });
    let fingerprint = fingerprint::of(&*source.job.store, listing)?;
    let schema = SourceSchema {
        columns,
        notes,
        warnings,
        open,
        files,
        fingerprint,
        ..SourceSchema::default()
    };
    Ok(Columns { schema, names, dialect: dialect.0 })
}

/// How the records of text files are written.
fn record_form(
    source: &Source,
    names: &[String],
    listing: &Listing,
    dialect: &CsvDialect,
) -> Option<RecordForm> {
    let (word, dialect) = match source.format {
        Format::Csv => ("csv", Some(dialect.records())),
        Format::Json => ("json", None),
        Format::Jsonl => ("jsonl", None),
        Format::Parquet => return None,
    };
    let (columns, folders) = (names.to_vec(), listing.partitions.clone());
    let (format, texts) = (word.to_owned(), source.job.options.texts());
    Some(RecordForm { format, columns, folders, dialect, texts })
}

/// What the files show of their columns.
#[derive(Default)]
struct Found {
    columns: Vec<Column>,
    /// The names of columns that are left out with the job's consent.
    unread: Vec<String>,
    notes: Vec<String>,
    warnings: Vec<String>,
    /// CSV: the dialect, and notes about it.
    dialect: Option<Noted>,
}

/// The columns that the files' footers name; those of some files are compared.
fn parquet_columns(source: &Source, files: &[StoredFile]) -> Result<Found> {
    let mut common: Option<(&StoredFile, ParquetFile, Vec<Column>)> = None;
    for file in spread(files, SAMPLE_FILES) {
        let next = source.open_parquet(file).map_err(|error| in_file(error, file.short_name()))?;
        match &mut common {
            None => {
                let columns = next.columns().to_vec();
                common = Some((file, next, columns));
            }
            Some((first, opened, columns)) => {
                compare(
                    &names_of_parquet(opened),
                    first.short_name(),
                    &names_of_parquet(&next),
                    file,
                )?;
                unite(columns, first.short_name(), file, &next)?;
            }
        }
    }
    let (file, first, columns) = common.ok_or_else(|| Error::not_found("no files"))?;
    let notes = first.nested(source.job.options.columns.as_deref());
    let found = Found { columns, notes, ..Found::default() };
    leave_out(source, &first, found).map_err(|error| in_file(error, file.short_name()))
}

/// Leaves out the columns that cannot be read, if the job agrees: by naming the columns that it
/// reads, or by `on_unsupported`.
fn leave_out(source: &Source, file: &ParquetFile, mut found: Found) -> Result<Found> {
    let (options, unread) = (&source.job.options, file.unreadable());
    let said = |(name, why): &(String, String)| format!("column `{}`: {why}", name.escape_debug());
    match &options.columns {
        Some(wanted) => {
            if let Some((name, why)) = unread.iter().find(|(name, _)| wanted.contains(name)) {
                let message = format!("column `{}` cannot be read: {why}", name.escape_debug());
                return Err(Error::unsupported(message)
                    .with_code(code::PARQUET_COLUMN)
                    .hint("leave it out of `columns`"));
            }
            found.notes.extend(unread.iter().map(|it| format!("{} (left out)", said(it))));
        }
        None if options.skips_unsupported() => {
            let warning = |it| format!("{} (left out by `on_unsupported`)", said(it));
            found.warnings = unread.iter().map(warning).collect();
        }
        None if unread.is_empty() => {}
        None => {
            let why: Vec<_> = unread.iter().map(said).collect();
            let message = format!("columns cannot be read: {}", why.join("; "));
            return Err(Error::unsupported(message)
                .with_code(code::PARQUET_COLUMN)
                .hint(consent(options, &found.columns)));
        }
    }
    found.unread = unread.iter().map(|(name, _)| name.clone()).collect();
    Ok(found)
}

/// The lines of a job, each of which leaves out what cannot be read.
fn consent(options: &ReadOptions, columns: &[Column]) -> String {
    const NAMED: usize = 20;
    let skip = match options.nesting(Format::Parquet).nested {
        Nested::Fail => {
            "set `nested = \"flatten\"` in [reader] to read structs and maps, or `on_unsupported = \
             \"skip\"` to leave them out"
        }
        _ => "set `on_unsupported = \"skip\"` in [reader] to leave them out",
    };
    if columns.is_empty() || columns.len() > NAMED {
        return skip.to_owned();
    }
    let names: Vec<_> = columns.iter().map(|column| format!("{:?}", column.name)).collect();
    format!("{skip}, or name what to read: `columns = [{}]`", names.join(", "))
}

/// The names of all columns of a Parquet file, each once.
pub(crate) fn names_of_parquet(file: &ParquetFile) -> Vec<String> {
    let read = file.columns().iter().map(|column| column.name.clone());
    let mut names: Vec<_> = read.chain(file.unreadable().iter().map(|it| it.0.clone())).collect();
    names.sort();
    names.dedup();
    names
}

/// Refuses a file whose columns are not those of the first one; NULL is allowed where one file
/// allows it.
fn unite(columns: &mut [Column], first: &str, file: &StoredFile, next: &ParquetFile) -> Result<()> {
    for column in columns {
        let Some(other) = next.columns().iter().find(|other| other.name == column.name) else {
            continue;
        };
        if other.logical != column.logical {
            let (name, one, two) = (&column.name, &column.logical, &other.logical);
            let message = format!("column `{name}` is {one} in `{first}` and {two} in this file");
            return Err(Error::schema(message)
                .with_code(code::FILE_HEADER)
                .at(file.short_name().to_owned())
                .hint("read files with other types in a separate job"));
        }
        column.nullable |= other.nullable;
    }
    Ok(())
}

/// The columns that folder names give, with types that all their values read as.
fn partition_columns(listing: &Listing) -> Vec<Column> {
    let column = |(index, name): (usize, &String)| {
        let values: BTreeSet<_> =
            listing.files.iter().filter_map(|file| file.partitions.get(index)).collect();
        let mut inference = Inference::new(std::slice::from_ref(name), &CellWords::default());
        values.into_iter().for_each(|value| inference.row([value.as_deref()]));
        inference.columns()
    };
    listing.partitions.iter().enumerate().flat_map(column).collect()
}

/// Parquet files say which types they have; a job that declares one as which the column cannot be
/// read fails.
fn same_type(column: &mut Column, wanted: &Column) -> Result<()> {
    let made = produced(std::slice::from_ref(column), std::slice::from_ref(wanted));
    if made.iter().any(|made| made.logical == wanted.logical) {
        column.logical = wanted.logical.clone();
        return Ok(());
    }
    let (name, found, wanted) = (&column.name, &column.logical, &wanted.logical);
    let message = format!("column `{name}` is declared as {wanted} and is {found} in the files");
    Err(Error::schema(message)
        .hint("leave it out of `[reader.schema]`: Parquet files carry their types, and the target's are converted to"))
}

fn no_such_column(wanted: &Column, columns: &[Column]) -> Error {
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let message = format!("column `{}` of the job's schema is not in the files", wanted.name);
    Error::schema(message)
        .of_key(format!("schema.{}", wanted.name))
        .hint(format!("the files have: {}", names.join(", ")))
}

/// Up to [`SAMPLE_FILES`] files, evenly spread, the first one always among them.
fn sampled(files: &[StoredFile]) -> impl Iterator<Item = &StoredFile> {
    spread(files, SAMPLE_FILES)
}

fn spread(files: &[StoredFile], most: usize) -> impl Iterator<Item = &StoredFile> {
    let count = files.len().min(most);
    (0..count).filter_map(move |number| files.get(number * files.len() / count))
}

fn csv_columns(source: &Source, files: &[StoredFile]) -> Result<Found> {
    let (names, dialect) = common_names(source, files)?;
    let source = &Source { dialect: dialect.0.clone(), ..source.clone() };
    let words = source.job.options.words();
    let mut inference = Inference::new(&names, &words);
    let shares = files.len().min(SAMPLE_FILES);
    let mut warnings = Vec::new();
    for file in sampled(files) {
        let odd = sample_csv(source, file, &names, shares, &mut inference)
            .map_err(|error| in_file(error, file.short_name()))?;
        warnings.extend(odd);
    }
    let columns = inference.columns();
    let notes = if columns.is_empty() { empty(files, "header line") } else { inference.notes() };
    Ok(Found { columns, notes, warnings, dialect: Some(dialect), ..Found::default() })
}

/// A note about files without anything in them.
fn empty(files: &[StoredFile], lacks: &str) -> Vec<String> {
    let more = match files.len() {
        0 | 1 => String::new(),
        files => format!(", and so are {} more", files - 1),
    };
    let first = files.first().map(|file| format!("{} is empty{more}", file.short_name()));
    first.into_iter().map(|first| format!("{first}: it has no {lacks}")).collect()
}

/// A dialect, and notes about it.
type Noted = (CsvDialect, Vec<String>);

/// The columns that every file has, in the first file's order, and the dialect of all files: what
/// the job does not say of it comes from the first file that has a line.
fn common_names(source: &Source, files: &[StoredFile]) -> Result<(Vec<String>, Noted)> {
    let mut common: Option<(Vec<String>, Noted, &StoredFile)> = None;
    for file in spread(files, COMPARED_FILES) {
        let known = common.as_ref().map(|(names, dialect, first)| (&names[..], &dialect.0, *first));
        let (names, dialect) =
            names_of(source, known, file).map_err(|error| in_file(error, file.short_name()))?;
        // A file without any bytes has no rows, so it may lack a header.
        if common.is_none() && !(names.is_empty() && files.len() > 1) {
            common = Some((names, dialect, file));
        }
    }
    let none = || (Vec::new(), (source.dialect.clone(), Vec::new()));
    Ok(common.map_or_else(none, |(names, dialect, _)| (names, dialect)))
}

/// The columns of a file and its dialect. Both are those of the files before, if some are `known`.
fn names_of(
    source: &Source,
    known: Option<(&[String], &CsvDialect, &StoredFile)>,
    file: &StoredFile,
) -> Result<(Vec<String>, Noted)> {
    let mut input = source.look(file)?;
    let Some((common, dialect, first)) = known else {
        let dialect = source.sniff(&mut input)?;
        let source = Source { dialect: dialect.0.clone(), ..source.clone() };
        return Ok((distinct(source.read_head(&mut input)?.names)?, dialect));
    };
    let as_known = Source { dialect: dialect.clone(), ..source.clone() };
    let sniffed = source.sniff(&mut input);
    let names = as_known.read_head(&mut input).and_then(|head| distinct(head.names));
    let compared = names.and_then(|names| match names.is_empty() {
        true => Ok(names),
        false => compare(common, first.short_name(), &names, file).map(|()| names),
    });
    match (compared, sniffed) {
        (Err(_), Ok((other, _))) if other.delimiter != dialect.delimiter => {
            Err(other_delimiter(dialect, first, &other))
        }
        (compared, _) => Ok((compared?, (dialect.clone(), Vec::new()))),
    }
}

fn other_delimiter(dialect: &CsvDialect, first: &StoredFile, other: &CsvDialect) -> Error {
    let (here, there) = (other.delimiter_in_job(), dialect.delimiter_in_job());
    let message = format!("the delimiter is {here} here and {there} in `{}`", first.short_name());
    Error::schema(message)
        .with_code(code::CSV_DELIMITER)
        .hint("read files with another delimiter in a separate job")
}

/// Refuses a header that has a name twice.
fn distinct(names: Vec<String>) -> Result<Vec<String>> {
    let mut sorted: Vec<_> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(names),
        Some(pair) => {
            let message = format!("two columns are called `{}`", pair[0]);
            Err(Error::schema(message)
                .hint("rename one of them in the header; `header = false` if it is a row"))
        }
    }
}

/// The same columns in another order are fine; anything else is not.
pub(crate) fn compare(
    first: &[String],
    first_file: &str,
    names: &[String],
    file: &StoredFile,
) -> Result<()> {
    let missing = first.iter().find(|name| !names.contains(name));
    let surplus = names.iter().find(|name| !first.contains(name));
    let message = match (missing, surplus) {
        (None, None) => return Ok(()),
        (Some(name), _) => format!("column `{name}` is in `{first_file}` and not in this file"),
        (None, Some(name)) => format!("column `{name}` is in this file and not in `{first_file}`"),
    };
    Err(Error::schema(message)
        .with_code(code::FILE_HEADER)
        .at(file.short_name())
        .hint("read files with other columns in a separate job"))
}

fn sample_csv(
    source: &Source,
    file: &StoredFile,
    names: &[String],
    shares: usize,
    inference: &mut Inference,
) -> Result<Option<String>> {
    let mut input = source.look(file)?;
    let head = source.read_head(&mut input)?;
    if head.names != names {
        // The same columns in another order; comparing files in the first one's order is enough.
        return Ok(None);
    }
    let rows = source.job.options.sample_rows.div_ceil(shares);
    let show = |input: &Input, inference: &mut Inference| {
        head.sample(&source.dialect, input.window(), input.at_end(), rows, inference)
    };
    read_sample(&mut input, shares, |input| {
        show(input, &mut Inference::new(&[], &CellWords::default()))
    })?;
    show(&input, inference)?;
    Ok(not_utf8(&input, file))
}

/// A warning about a sample with bytes that are not UTF-8, and the encoding that they may have.
fn not_utf8(input: &Input, file: &StoredFile) -> Option<String> {
    let name = guess(input.window())?.name();
    Some(format!("`{}` is not UTF-8: encoding = \"{name}\" may be right", file.short_name()))
}

/// Reads as much of a file as the sample needs: rows enough, or the file's share of the bytes.
fn read_sample(
    input: &mut Input,
    shares: usize,
    has_enough: impl Fn(&Input) -> Result<bool>,
) -> Result<()> {
    while !input.at_end() && input.window().len() < SAMPLE_BYTES / shares && !has_enough(input)? {
        input.fill()?;
    }
    Ok(())
}

fn json_columns(source: &Source, shape: JsonShape, files: &[StoredFile]) -> Result<Found> {
    let words = source.job.options.words();
    let nesting = source.job.options.nesting(source.format);
    let mut inference = JsonInference::new(&words).nesting(&nesting);
    let shares = files.len().min(SAMPLE_FILES);
    let rows = source.job.options.sample_rows.div_ceil(shares);
    let mut odd = Vec::new();
    for file in sampled(files) {
        let shown = source.look(file).and_then(|mut input| {
            let show = |input: &Input, inference: &mut JsonInference| {
                inference.sample(shape, input.window(), input.at_end(), rows)
            };
            read_sample(&mut input, shares, |input| show(input, &mut JsonInference::new(&words)))?;
            show(&input, &mut inference)?;
            check_keys(source, &inference)?;
            check_nested(&nesting, &inference).map(|()| not_utf8(&input, file))
        });
        odd.extend(shown.map_err(|error| in_file(error, file.short_name()))?);
    }
    let (rows, options) = (inference.rows(), &source.job.options);
    let later = match options.unknown_keys() {
        UnknownKeys::Dirty => "a later key that the target does not have makes its row dirty",
        UnknownKeys::Ignore => "later keys are left out and counted",
    };
    let notes = match (inference.columns().is_empty(), rows) {
        (true, 0) => empty(files, "objects"),
        (true, _) => vec![format!("the {rows} object(s) of the sample have no keys")],
        (false, _) => {
            let first = format!("keys and types inferred from {rows} object(s); {later}");
            [first].into_iter().chain(inference.notes()).collect()
        }
    };
    let warned = options.unknown_keys() == UnknownKeys::Ignore && options.columns.is_none();
    let warning = "JSON keys outside the schema are left out (`unknown_keys = \"ignore\"`)";
    let warnings = odd.into_iter().chain(warned.then(|| warning.to_owned())).collect();
    Ok(Found { columns: inference.columns(), notes, warnings, ..Found::default() })
}

/// Refuses a key that no column can have, unless the job leaves keys out.
fn check_keys(source: &Source, inference: &JsonInference) -> Result<()> {
    match inference.unusable() {
        Some(key) if source.job.options.unknown_keys() == UnknownKeys::Dirty => {
            let message = format!("the key `{}` contains the character NUL", key.escape_debug());
            Err(Error::schema(message)
                .with_code(code::JSON_KEY)
                .hint("rename the key, or set `unknown_keys = \"ignore\"` to leave it out"))
        }
        _ => Ok(()),
    }
}

/// Refuses keys with objects, if the job wants none.
fn check_nested(nesting: &Nesting, inference: &JsonInference) -> Result<()> {
    const NAMED: usize = 8;
    let whole = |name: &&str| nesting.whole.iter().any(|whole| whole == name);
    let nested: Vec<_> = inference.nested_keys().filter(|name| !whole(name)).collect();
    if nesting.nested != Nested::Fail || nested.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = nested.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let message = format!("keys have objects, and `nested` is `fail`: {}", names.join(", "));
    Err(Error::unsupported(message)
        .with_code(code::JSON_KEY)
        .hint("set `nested = \"flatten\"` or `nested = \"json\"` in [reader]"))
}
