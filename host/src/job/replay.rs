//! The job of a run whose dirty rows are sent again: it reads one text file in the place of its
//! source, and adds the rows to the target without what it does once for all of them.

use std::path::Path;

use serde_json::{Map, Value, json};
use transload_plugin_api::{Column, Descriptor, OptionSpec, Options, RecordDialect, WriteMode};

use super::{Job, JobReader, SecretRefs};

/// The plugin that reads the file.
pub(crate) const FILE_READER: &str = "file";

/// The file that is read.
pub(crate) struct ReplayFile<'a> {
    pub(crate) path: &'a Path,
    /// `csv` or `jsonl`.
    pub(crate) format: &'a str,
    /// How CSV is divided.
    pub(crate) dialect: Option<&'a RecordDialect>,
    /// The columns that the run read, with its types.
    pub(crate) columns: Vec<Column>,
}

impl Job {
    /// The same job reading this file with the reader of `file`. What the job says of the texts of
    /// values holds if its own reader has such options too.
    ///
    /// Statements before and after the rows are left out, an `overwrite` adds its rows, one task
    /// keeps the file's order, and the share of dirty rows is not judged: all of them were dirty.
    #[must_use]
    pub(crate) fn reading(
        mut self,
        file: ReplayFile<'_>,
        own: &Descriptor,
        of_file: &Descriptor,
    ) -> Self {
        self.incremental = None;
        let is_text = specs(own).any(|spec| spec.key == "delimiter");
        let given =
            |spec: &&OptionSpec| self.reader.options.values.get(&spec.key).filter(|_| is_text);
        let value = |spec: &OptionSpec| {
            let value = given(&spec).cloned().or_else(|| spec.default_value());
            value.map(|value| (spec.key.clone(), value))
        };
        let mut values: Map<String, Value> = specs(of_file).filter_map(value).collect();
        for key in ["encoding", "partition_filter", "comment"] {
            values.remove(key);
        }
        values.insert("path".into(), json!([file.path]));
        values.insert("format".into(), file.format.into());
        values.insert("compression".into(), "none".into());
        values.insert("partitions".into(), "none".into());
        values.insert("skip_lines".into(), 0.into());
        let text = |c: Option<char>| c.map(String::from).unwrap_or_default();
        if let Some(dialect) = file.dialect {
            values.insert("delimiter".into(), text(Some(dialect.delimiter)).into());
            values.insert("quote".into(), text(dialect.quote).into());
            values.insert("escape".into(), text(dialect.escape).into());
            values.insert("header".into(), dialect.header.into());
        }
        for (key, value) in
            specs(of_file).filter_map(|spec| Some((&spec.key, spec.default_value()?)))
        {
            values.entry(key.clone()).or_insert(value);
        }
        let columns = self.reader.columns.take();
        let options = Options { values, schema: file.columns, columns: columns.clone() };
        let (plugin, secrets) = (FILE_READER.to_owned(), SecretRefs::new());
        let isolation = self.reader.isolation;
        self.reader = JobReader { plugin, connection: None, options, secrets, isolation, columns };
        self.writer.before.clear();
        self.writer.after.clear();
        self.writer.create_table = false;
        if self.writer.write_mode == WriteMode::Overwrite {
            self.writer.write_mode = WriteMode::Insert;
        }
        self.channel.parallelism = std::num::NonZeroU32::MIN;
        self.dirty.max_ratio = None;
        self
    }
}

/// The options of a plugin's reader.
fn specs(descriptor: &Descriptor) -> impl Iterator<Item = &OptionSpec> {
    let of_reader = descriptor.reader.iter().flat_map(|reader| &reader.options);
    descriptor.options.iter().chain(of_reader)
}
