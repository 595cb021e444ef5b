//! The writer's options beside those of formats: how files are named, when one ends and the next
//! begins, what stays and what is removed.

use std::time::Duration;

use serde::Deserialize;
use transload_formats::write_specs;
use transload_plugin_api::{Error, OptionKind, OptionSpec, Options, Result};

use super::upload_store::SMALLEST_PART;

/// Memory holds a few of them.
const LARGEST_PART: u64 = 256 << 20;

/// What an insert does if there is something already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IfExists {
    Error,
    Append,
}

/// What an overwrite removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Overwrite {
    /// The objects that our manifest names.
    Manifest,
    /// Everything below the prefix.
    Prefix,
    /// Of the objects that our manifest names, those in folders to which the run has rows.
    Partitions,
}

/// What a job without rows leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Empty {
    /// An object with a header and no rows.
    Object,
    /// Nothing.
    None,
}

/// A writer's options.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    pub(crate) name: String,
    pub(crate) partition_by: Vec<String>,
    pub(crate) keep_partition_columns: bool,
    pub(crate) max_open_partitions: usize,
    pub(crate) many_partitions: usize,
    pub(crate) max_rows_per_object: Option<u64>,
    pub(crate) max_bytes_per_object: Option<u64>,
    pub(crate) if_exists: IfExists,
    pub(crate) overwrite: Overwrite,
    pub(crate) empty: Empty,
    pub(crate) success_marker: bool,
    pub(crate) part_size: u64,
    /// In milliseconds.
    abandoned_after: u64,
}

/// The template of names below a prefix.
pub(crate) const DEFAULT_NAME: &str = "part-{run}-{task}-{number}.{ext}";

impl WriterOptions {
    /// Options as a job gave them.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for what is of the wrong shape.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let options: Self = options.parse(&writer_specs())?;
        let bytes = |size: u64| format!("{} MiB", size >> 20);
        if !(SMALLEST_PART..=LARGEST_PART).contains(&options.part_size) {
            let message = format!("`part_size` is {} bytes", options.part_size);
            return Err(Error::options(message).hint(format!(
                "stores take parts from {} to {}",
                bytes(SMALLEST_PART),
                bytes(LARGEST_PART)
            )));
        }
        if options.max_bytes_per_object == Some(0) {
            let message = "`max_bytes_per_object` is 0: nothing would fit";
            return Err(Error::options(message));
        }
        Ok(options)
    }

    /// Time without activity after which a run that has left something counts as dead.
    pub(crate) fn abandoned_after(&self) -> Duration {
        Duration::from_millis(self.abandoned_after)
    }
}

/// The options of [`crate::FilesWriter`], with those of formats. The `path` is the plugin's.
pub fn writer_specs() -> Vec<OptionSpec> {
    [name_specs(), size_specs(), existing_specs(), folder_specs(), store_specs(), write_specs()]
        .concat()
}

/// What files are called, and which rows are in which.
fn name_specs() -> Vec<OptionSpec> {
    let option = OptionSpec::new;
    vec![
        option(
            "name",
            OptionKind::Text,
            "Names of files: {run}, {task}, {number}, {ext} and {column} for a column's value",
        )
        .default(DEFAULT_NAME),
        option(
            "partition_by",
            OptionKind::List,
            "Columns that give Hive folders, `day=2026-11-21/`, and are left out of the files; or \
             `year(t)`, `month(t)`, `day(t)`, `hour(t)` of a date or timestamp `t`, which stays in \
             them",
        ),
        option(
            "keep_partition_columns",
            OptionKind::Boolean,
            "Keep partition columns in the files too",
        )
        .default(false),
    ]
}

/// How many files there are at a time, and how large they become.
fn size_specs() -> Vec<OptionSpec> {
    let option = OptionSpec::new;
    vec![
        option(
            "max_open_partitions",
            OptionKind::Integer { min: 1, max: 10_000 },
            "Partitions that a task writes at a time, as far as its memory allows: compressed files \
             and Parquet take more of it. Rows of further ones wait in a temporary file",
        )
        .default(10_000),
        option(
            "max_rows_per_object",
            OptionKind::Integer { min: 1, max: i64::MAX },
            "Rows after which a file ends and the next begins",
        ),
        option(
            "max_bytes_per_object",
            OptionKind::Size,
            "Bytes after which a file ends and the next begins, to the size of a batch",
        ),
    ]
}

/// What happens to files that are there already.
fn existing_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::choice(
            "if_exists",
            &["error", "append"],
            "What `insert` does if there are files already: refuse, or add to them",
        ),
        OptionSpec::choice(
            "overwrite",
            &["manifest", "prefix", "partitions"],
            "What `overwrite` removes: what the manifest names, all below the folder, or what the \
             manifest names in the partitions for which there are rows",
        ),
    ]
}

/// What is in the folder besides files with rows.
fn folder_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::choice("empty", &["object", "none"], "What a job without rows leaves"),
        OptionSpec::new(
            "many_partitions",
            OptionKind::Integer { min: 1, max: i64::MAX },
            "Partitions of one task beyond which the run warns: each is a folder with a file",
        )
        .default(1_000),
        OptionSpec::new(
            "success_marker",
            OptionKind::Boolean,
            "Write `_SUCCESS` into the folder at the end",
        )
        .default(true),
    ]
}

/// How the store is used.
fn store_specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new(
            "part_size",
            OptionKind::Size,
            "Bytes that a store is sent at once, from 5 to 256 MiB; a disk gets what is committed \
             without waiting for a full part",
        )
        .default("8 MiB"),
        OptionSpec::new(
            "abandoned_after",
            OptionKind::Duration,
            "Time without activity after which what another run left is removed; must be longer \
             than writing one file takes",
        )
        .default("7 d"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn sizes_that_no_store_takes_are_refused() {
        for (key, value) in
            [("part_size", 1u64), ("part_size", 5 << 30), ("max_bytes_per_object", 0)]
        {
            let error = WriterOptions::parse(&Options::from_pairs([(key, value)])).unwrap_err();
            assert!(error.kind == ErrorKind::Options && error.message.contains(key), "{error}");
        }
        let options = Options::from_pairs([("part_size", 64u64 << 20)]);
        assert_eq!(WriterOptions::parse(&options).unwrap().part_size, 64 << 20);
    }
}
