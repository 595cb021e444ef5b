//! The reading side: which files there are, what columns they have, how they are divided.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use transload_formats::ColumnBuilder;
use transload_plugin_api::{
    Cancel, Column, Error, ErrorKind, Finding, Host, LogicalType, Options, Position, ReadTask,
    Reader, Result, SourceSchema, Split, SplitRequest, TableInfo,
};

use crate::{
    format::Format,
    listing::SourceFile,
    options::ReaderOptions,
    read_task::FileTask,
    schema,
    source::{Job, Source},
    splits::{self, SplitData},
};

/// The files as they were listed once, so that schema and splits speak of the same ones.
struct Listing {
    source: Source,
    files: Vec<SourceFile>,
    schema: Option<SourceSchema>,
}

/// Reads files.
pub(crate) struct FileReader {
    job: Job,
    cancel: Cancel,
    listing: Mutex<Option<Listing>>,
}

impl FileReader {
    /// A reader for a job's options. Looks at no file yet.
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let job = Job {
            options: Arc::new(ReaderOptions::parse(options)?),
            declared: options.schema.clone().into(),
        };
        Ok(Self { job, cancel: host.cancel().clone(), listing: Mutex::new(None) })
    }

    fn with_listing<T>(&self, act: impl FnOnce(&mut Listing) -> Result<T>) -> Result<T> {
        let mut listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = &mut *listing {
            return act(listing);
        }
        let (source, files) = Source::list(&self.job)?;
        act(listing.insert(Listing { source, files, schema: None }))
    }
}

impl Listing {
    fn schema(&mut self) -> Result<&SourceSchema> {
        let schema = match self.schema.take() {
            Some(schema) => schema,
            None => schema::read(&self.source, &self.files)?,
        };
        Ok(self.schema.insert(schema))
    }
}

impl Reader for FileReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let finding = |stage: &str, result: Result<String>| {
            let (ok, detail) = match result {
                Ok(detail) => (true, detail),
                Err(error) => (false, error.to_string()),
            };
            Finding { stage: stage.to_owned(), ok, detail }
        };
        let listed = self.with_listing(|listing| {
            let bytes: u64 = listing.files.iter().map(|file| file.size).sum();
            Ok(format!("{} file(s), {bytes} bytes", listing.files.len()))
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
        let table = |file: &SourceFile| TableInfo {
            name: file.path.display().to_string(),
            kind: "file".to_owned(),
            rows: None,
        };
        self.with_listing(|listing| Ok(listing.files.iter().map(table).collect()))
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.with_listing(|listing| listing.schema().cloned())
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let words = self.job.options.words();
        let (format, names) = self.with_listing(|listing| {
            let format = listing.source.format;
            let names = listing.schema()?.columns.iter().map(|column| column.name.clone());
            Ok((format, names.collect::<HashSet<_>>()))
        })?;
        // JSON without a single object has no keys that a column could be missing among.
        let known =
            |name: &String| names.contains(name) || (names.is_empty() && format != Format::Csv);
        if let Some(unknown) = wanted.iter().find(|column| !known(&column.name)) {
            let message = format!("there is no column `{}` in the files", unknown.name);
            return Err(Error::new(ErrorKind::Schema, message).hint(
                "a JSON key that the sample did not show can be named in `[reader.schema]`",
            ));
        }
        let produced = |column: &Column| match ColumnBuilder::new(column, &words) {
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
        self.with_listing(|listing| {
            let keys: Vec<String> = match listing.source.shape() {
                None => Vec::new(),
                Some(_) => listing.schema()?.columns.iter().map(|c| c.name.clone()).collect(),
            };
            splits::divide(&listing.source, &listing.files, request, &keys, &self.cancel)
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
            Some(piece) => Source::of(&self.job, &piece.file.path)?,
            None => self.with_listing(|listing| Ok(listing.source.clone()))?,
        };
        Ok(Box::new(FileTask::new(source, columns, data, after, &self.cancel)?))
    }
}
