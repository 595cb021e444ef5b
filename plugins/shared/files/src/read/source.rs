//! What a reader reads: the listed files, their one format, and how each becomes text.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use transload_formats::{
    Charset, CsvDialect, CsvHead, CsvSaid, FileName, Format, JsonShape, ParquetFile, ReadOptions,
};
use transload_plugin_api::{Column, Error, Result};

use super::input::Input;
use crate::{Listing, Store, StoredFile, open_parquet};

/// What a job says of its source.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: Arc<ReadOptions>,
    /// The columns that the job itself declares.
    pub(crate) declared: Arc<[Column]>,
    /// JSON keys that were left out because they are not in the plan, with the number of values.
    pub(crate) left_out: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// A job's source, as it is read by whoever has its options.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) job: Job,
    pub(crate) format: Format,
    /// As the job says it, and as the first lines of the files show what it leaves open.
    pub(crate) dialect: CsvDialect,
    pub(crate) said: CsvSaid,
}

impl Source {
    /// The source of a file's kind; all files of a job are of one kind.
    pub(crate) fn of(job: &Job, name: &str) -> Result<Self> {
        let name = FileName::of(name);
        let format = name.format(job.options.format)?;
        let dialect = job.options.dialect(name.is_tsv())?;
        let said = job.options.said(name.is_tsv(), &job.declared);
        Ok(Self { job: job.clone(), format, dialect, said })
    }

    /// Lists the files.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if they are of different formats.
    pub(crate) fn list(job: &Job) -> Result<(Self, Listing)> {
        let mut listing = job.store.list()?;
        let Some(first) = listing.files.first() else {
            return Err(Error::not_found("no files"));
        };
        let source = Self::of(job, &first.name)?;
        for file in &listing.files {
            let other = Self::of(job, &file.name)?;
            if (other.format, &other.dialect) != (source.format, &source.dialect) {
                let (first, second) = (first.short_name(), file.short_name());
                let message = format!("`{first}` and `{second}` are not of one format");
                return Err(Error::options(message)
                    .hint("read them in two jobs, or set `format` and `delimiter`"));
            }
        }
        // Parquet has its footer at the end.
        if source.format == Format::Parquet {
            for file in listing.files.iter_mut().filter(|file| file.is_stream) {
                *file = job.store.keep(file)?;
            }
        }
        Ok((source, listing))
    }

    /// How JSON records stand; `None` for the other formats.
    pub(crate) fn shape(&self) -> Option<JsonShape> {
        match self.format {
            Format::Csv | Format::Parquet => None,
            Format::Jsonl => Some(JsonShape::Lines),
            Format::Json => Some(JsonShape::Array),
        }
    }

    /// Opens a Parquet file.
    ///
    /// # Errors
    /// Those of [`ParquetFile::open`].
    pub(crate) fn open_parquet(&self, file: &StoredFile) -> Result<ParquetFile> {
        let nesting = self.job.options.nesting(Format::Parquet);
        open_parquet(&self.job.store, file).map(|file| file.nesting(&nesting))
    }

    /// A look at the beginning of a file's text.
    pub(crate) fn look(&self, file: &StoredFile) -> Result<Input> {
        Input::look(&self.job.store, file, &self.job.options)
    }

    /// The dialect that the first lines of a CSV text show, where the job does not say it, and
    /// notes about it.
    pub(crate) fn sniff(&self, input: &mut Input) -> Result<(CsvDialect, Vec<String>)> {
        if input.window().is_empty() && !input.at_end() {
            input.fill()?;
        }
        let (dialect, mut notes) =
            self.dialect.sniff(&self.said, input.window(), input.at_end())?;
        if self.job.options.encoding.is_none() && input.encoding() != Charset::default() {
            let name = input.encoding().name();
            notes.push(format!("encoding \"{name}\" (from the byte order mark)"));
        }
        Ok((dialect, notes))
    }

    /// The head of a CSV text; `input` is then behind it. A file without a header has the
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
