//! The columns of a source: names from headers and keys, types from the job's own schema or from
//! a bounded sample over all files.

use transload_formats::{Inference, JsonInference, JsonShape};
use transload_plugin_api::{Column, Error, ErrorKind, Result, SourceSchema};

use crate::{
    input::Input,
    listing::SourceFile,
    source::{Source, in_file},
};

/// The sample is at most so large, over all files.
const SAMPLE_BYTES: usize = 8 << 20;
/// So many files at most give rows to the sample; the headers of all are compared.
const SAMPLE_FILES: usize = 16;

/// The columns of all files together.
pub(crate) fn read(source: &Source, files: &[SourceFile]) -> Result<SourceSchema> {
    let (mut columns, note) = match source.shape() {
        None => csv_columns(source, files)?,
        Some(shape) => json_columns(source, shape, files)?,
    };
    for wanted in source.job.declared.iter() {
        match columns.iter_mut().find(|column| column.name == wanted.name) {
            Some(column) => *column = Column { inferred: false, ..wanted.clone() },
            None if source.shape().is_some() => columns.push(wanted.clone()),
            None => return Err(no_such_column(wanted, &columns)),
        }
    }
    let inferred = columns.iter().any(|column| column.inferred);
    let notes = if inferred { vec![note] } else { Vec::new() };
    Ok(SourceSchema { columns, keys: Vec::new(), notes })
}

fn no_such_column(wanted: &Column, columns: &[Column]) -> Error {
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let message = format!("column `{}` of the job's schema is not in the files", wanted.name);
    Error::new(ErrorKind::Schema, message).hint(format!("the files have: {}", names.join(", ")))
}

/// Up to [`SAMPLE_FILES`] files, evenly spread, the first one always among them.
fn sampled(files: &[SourceFile]) -> impl Iterator<Item = usize> + '_ {
    let count = files.len().min(SAMPLE_FILES);
    (0..count).map(move |number| number * files.len() / count)
}

fn csv_columns(source: &Source, files: &[SourceFile]) -> Result<(Vec<Column>, String)> {
    let names = common_names(source, files)?;
    let mut inference = Inference::new(&names);
    let shares = files.len().min(SAMPLE_FILES);
    for index in sampled(files) {
        let file = &files[index];
        sample_csv(source, file, &names, shares, &mut inference)
            .map_err(|error| in_file(error, &file.name()))?;
    }
    Ok((inference.columns(), inference.note()))
}

/// The columns that every file has, in the first file's order.
fn common_names(source: &Source, files: &[SourceFile]) -> Result<Vec<String>> {
    let mut common: Option<(Vec<String>, String)> = None;
    for file in files {
        let names = names_of(source, file).map_err(|error| in_file(error, &file.name()))?;
        match &common {
            // A file without any bytes has no rows, so it may lack a header.
            _ if names.is_empty() && files.len() > 1 => {}
            None => common = Some((names, file.name())),
            Some((first, first_file)) => compare(first, first_file, &names, file)?,
        }
    }
    Ok(common.map(|(names, _)| names).unwrap_or_default())
}

fn names_of(source: &Source, file: &SourceFile) -> Result<Vec<String>> {
    let names = source.read_head(&mut source.open(file)?)?.names;
    let mut sorted: Vec<_> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(names),
        Some(pair) => {
            let message = format!("two columns are called `{}`", pair[0]);
            Err(Error::new(ErrorKind::Schema, message).hint("rename one of them in the header"))
        }
    }
}

/// The same columns in another order are fine; anything else is not.
fn compare(first: &[String], first_file: &str, names: &[String], file: &SourceFile) -> Result<()> {
    let missing = first.iter().find(|name| !names.contains(name));
    let surplus = names.iter().find(|name| !first.contains(name));
    let message = match (missing, surplus) {
        (None, None) => return Ok(()),
        (Some(name), _) => format!("column `{name}` is in `{first_file}` and not in this file"),
        (None, Some(name)) => format!("column `{name}` is in this file and not in `{first_file}`"),
    };
    Err(Error::new(ErrorKind::Schema, message)
        .with_code("FILE-HEADER")
        .at(file.name())
        .hint("read files with other columns by a job of their own"))
}

fn sample_csv(
    source: &Source,
    file: &SourceFile,
    names: &[String],
    shares: usize,
    inference: &mut Inference,
) -> Result<()> {
    let mut input = source.open(file)?;
    let head = source.read_head(&mut input)?;
    if head.names != names {
        // The same columns in another order; files in the first one's order tell enough.
        return Ok(());
    }
    let rows = source.job.options.sample_rows.div_ceil(shares);
    read_sample(&mut input, shares)?;
    head.sample(&source.dialect, input.window(), input.at_end(), rows, inference)
}

/// Reads one file's share of the sample's bytes.
fn read_sample(input: &mut Input, shares: usize) -> Result<()> {
    while !input.at_end() && input.window().len() < SAMPLE_BYTES / shares {
        input.fill()?;
    }
    Ok(())
}

fn json_columns(
    source: &Source,
    shape: JsonShape,
    files: &[SourceFile],
) -> Result<(Vec<Column>, String)> {
    let mut inference = JsonInference::new();
    let shares = files.len().min(SAMPLE_FILES);
    let rows = source.job.options.sample_rows.div_ceil(shares);
    for index in sampled(files) {
        let file = &files[index];
        let sample = source.open(file).and_then(|mut input| {
            read_sample(&mut input, shares)?;
            inference.sample(shape, input.window(), input.at_end(), rows)
        });
        sample.map_err(|error| in_file(error, &file.name()))?;
    }
    let rows = inference.rows();
    let note = format!("keys and types inferred from {rows} object(s); later keys are left out");
    Ok((inference.columns(), note))
}
