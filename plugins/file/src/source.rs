//! What a reader reads: the listed files, their one format, and how each becomes text.

use std::{path::Path, sync::Arc};

use transload_formats::{CsvDialect, CsvHead, JsonShape};
use transload_plugin_api::{Column, Error, ErrorKind, Result};

use crate::{
    format::{FileName, Format},
    input::{Coding, Input},
    listing::{self, SourceFile},
    options::ReaderOptions,
};

/// What a job says of its source.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) options: Arc<ReaderOptions>,
    /// The columns that the job itself declares.
    pub(crate) declared: Arc<[Column]>,
}

/// A job's source, as it is read by whoever has its options.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) job: Job,
    pub(crate) format: Format,
    pub(crate) dialect: CsvDialect,
}

impl Source {
    /// The source of a file's kind; all files of a job are of one kind.
    pub(crate) fn of(job: &Job, path: &Path) -> Result<Self> {
        let name = FileName::of(path);
        let format = name.format(job.options.format)?;
        let dialect = job.options.dialect(name.is_tsv())?;
        Ok(Self { job: job.clone(), format, dialect })
    }

    /// Lists the files.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if they are of different formats.
    pub(crate) fn list(job: &Job) -> Result<(Self, Vec<SourceFile>)> {
        let files = listing::list(&job.options.path)?;
        let Some(first) = files.first() else {
            return Err(Error::new(ErrorKind::NotFound, "no files"));
        };
        let source = Self::of(job, &first.path)?;
        for file in &files {
            let other = Self::of(job, &file.path)?;
            if (other.format, &other.dialect) != (source.format, &source.dialect) {
                let message =
                    format!("`{}` and `{}` are not of one format", first.name(), file.name());
                return Err(Error::new(ErrorKind::Options, message)
                    .hint("read them by two jobs, or set `format` and `delimiter`"));
            }
        }
        Ok((source, files))
    }

    /// How JSON records stand; `None` for CSV.
    pub(crate) fn shape(&self) -> Option<JsonShape> {
        match self.format {
            Format::Csv => None,
            Format::Jsonl => Some(JsonShape::Lines),
            Format::Json => Some(JsonShape::Array),
        }
    }

    /// How the file's bytes become text.
    pub(crate) fn coding(&self, file: &SourceFile) -> Result<Coding> {
        Coding::of(&file.path, &self.job.options)
    }

    /// The text of a file from its start.
    pub(crate) fn open(&self, file: &SourceFile) -> Result<Input> {
        let coding = self.coding(file)?;
        let until = coding.is_plain().then_some(file.size);
        Input::open(file.open()?, coding, 0, until)
    }

    /// The head of a CSV text; `input` then stands behind it. A file without a header has the
    /// names of the job's schema, if that has as many columns.
    pub(crate) fn read_head(&self, input: &mut Input) -> Result<CsvHead> {
        loop {
            if let Some(mut head) = CsvHead::read(&self.dialect, input.window(), input.at_end())? {
                input.take(head.bytes as usize);
                let declared = &self.job.declared;
                if !self.dialect.header && declared.len() == head.names.len() {
                    head.names = declared.iter().map(|column| column.name.clone()).collect();
                }
                return Ok(head);
            }
            input.fill()?;
        }
    }
}

/// Says in which file an error happened; a line that is known already stays.
pub(crate) fn in_file(mut error: Error, file: &str) -> Error {
    error.place = Some(match error.place {
        Some(place) if !place.contains(file) => format!("{file}, {place}"),
        Some(place) => place,
        None => file.to_owned(),
    });
    error
}
