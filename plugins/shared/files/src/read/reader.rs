//! The reading side: which files there are, what columns they have, how they are divided.

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;
use transload_formats::{Format, ReadOptions, produced};
use transload_plugin_api::{
    Cancel, Column, Count, Error, Finding, Host, LogicalType, Options, Position, ReadTask, Reader,
    Result, SourceSchema, Split, SplitRequest, TableInfo,
};
use transload_values::ColumnParser;

use super::{
    schema::{self, Columns},
    source::{Job, Source},
    splits::{self, SplitData},
    task::FilesTask,
};
use crate::{Listing, Store, StoredFile};

/// The files as they were listed once, so that schema and splits speak of the same ones.
struct Frozen {
    source: Source,
    listing: Listing,
    columns: Option<Columns>,
}

/// Reads files, wherever they lie.
pub struct FilesReader {
    job: Job,
    cancel: Cancel,
    frozen: Mutex<Option<Frozen>>,
}

impl FilesReader {
    /// A reader of a store's files for a job's options. Looks at no file yet.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] if the options of formats are wrong.
    pub fn new(store: Arc<dyn Store>, options: &Options, host: &Host) -> Result<Self> {
        let job = Job {
            store,
            options: Arc::new(ReadOptions::parse(options)?),
            declared: options.schema.clone().into(),
            left_out: Arc::default(),
        };
        Ok(Self { job, cancel: host.cancel().clone(), frozen: Mutex::new(None) })
    }

    fn with_frozen<T>(&self, act: impl FnOnce(&mut Frozen) -> Result<T>) -> Result<T> {
        let mut frozen = self.frozen.lock();
        if let Some(frozen) = &mut *frozen {
            return act(frozen);
        }
        let (source, listing) = Source::list(&self.job)?;
        act(frozen.insert(Frozen { source, listing, columns: None }))
    }
}

impl Frozen {
    fn columns(&mut self) -> Result<&Columns> {
        let columns = match self.columns.take() {
            Some(columns) => columns,
            None => schema::read(&self.source, &self.listing)?,
        };
        self.source.dialect = columns.dialect.clone();
        Ok(self.columns.insert(columns))
    }
}

impl Reader for FilesReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let finding = |stage: &str, result: Result<String>| {
            let (ok, detail) = match result {
                Ok(detail) => (true, detail),
                Err(error) => (false, error.to_string()),
            };
            Finding { stage: stage.to_owned(), ok, detail }
        };
        let listed = self.with_frozen(|frozen| {
            let files = &frozen.listing.files;
            let bytes: u64 = files.iter().map(|file| file.size).sum();
            Ok(format!("{} file(s), {bytes} bytes", files.len()))
        });
        let found = listed.is_ok();
        let mut findings = vec![finding("files", listed)];
        if found {
            findings.push(finding(
                "columns",
                self.schema().map(|schema| {
                    let names: Vec<_> = schema.columns.iter().map(|c| c.name.as_str()).collect();
                    format!("{} column(s): {}", names.len(), names.join(", "))
                }),
            ));
        }
        Ok(findings)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let table = |file: &StoredFile| TableInfo {
            bytes: (!file.is_stream).then_some(file.size),
            ..TableInfo::new(&file.name, "file")
        };
        self.with_frozen(|frozen| Ok(frozen.listing.files.iter().map(table).collect()))
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.with_frozen(|frozen| Ok(frozen.columns()?.schema.clone()))
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let words = self.job.options.words();
        let (format, open, names) = self.with_frozen(|frozen| {
            let format = frozen.source.format;
            let SourceSchema { columns, open, .. } = &frozen.columns()?.schema;
            let names = columns.iter().map(|column| column.name.clone()).collect::<HashSet<_>>();
            Ok((format, *open, names))
        })?;
        let known = |name: &String| open || names.contains(name);
        if let Some(unknown) = wanted.iter().find(|column| !known(&column.name)) {
            let message = format!("there is no column `{}` in the files", unknown.name);
            return Err(Error::schema(message));
        }
        if format == Format::Parquet {
            return self.with_frozen(|frozen| {
                let folders = frozen.listing.partitions.clone();
                Ok(parquet_produced(&frozen.columns()?.schema.columns, &folders, wanted))
            });
        }
        let produced = |column: &Column| match ColumnParser::new(column, &words) {
            Ok(_) => column.clone(),
            Err(_) => {
                let json = format != Format::Csv && matches!(column.logical, LogicalType::List(_));
                let logical = if json { LogicalType::Json } else { LogicalType::TEXT };
                Column { logical, ..column.clone() }
            }
        };
        Ok(wanted.iter().map(produced).collect())
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        self.with_frozen(|frozen| {
            let names = frozen.columns()?.names.clone();
            splits::divide(&frozen.source, &frozen.listing, request, names, &self.cancel)
        })
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let data = SplitData::parse(split)?;
        let source = match data.pieces.first() {
            Some(piece) => {
                let source = Source::of(&self.job, &piece.file.name)?;
                let dialect = data.dialect.clone().unwrap_or_else(|| source.dialect.clone());
                Source { dialect, ..source }
            }
            None => self.with_frozen(|frozen| Ok(frozen.source.clone()))?,
        };
        Ok(Box::new(FilesTask::new(source, columns, data, after, &self.cancel)?))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        const NAMED: usize = 20;
        let left_out = self.job.left_out.lock();
        if left_out.is_empty() {
            return Ok(Vec::new());
        }
        let mut names: Vec<_> =
            left_out.keys().take(NAMED).map(|key| format!("`{}`", key.escape_debug())).collect();
        if left_out.len() > NAMED {
            names.push(format!("and {} more", left_out.len() - NAMED));
        }
        let what = format!("values of keys outside the schema are left out: {}", names.join(", "));
        Ok(vec![Count::left_out("values_left_out", left_out.values().sum(), what)])
    }
}

/// Parquet's columns in the files' types; those that folders' names give are parsed as wanted.
fn parquet_produced(files: &[Column], folders: &[String], wanted: &[Column]) -> Vec<Column> {
    let columns = produced(files, wanted).into_iter().zip(wanted);
    columns
        .map(|(of_file, wanted)| match folders.contains(&wanted.name) {
            true => wanted.clone(),
            false => of_file,
        })
        .collect()
}
