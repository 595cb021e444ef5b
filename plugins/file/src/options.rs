//! The plugin's own options; those of formats come from `transload_formats`.

use serde::Deserialize;
use transload_files::{PartitionMode, partition_specs};
use transload_formats::{read_specs, write_specs};
use transload_plugin_api::{Error, ErrorKind, OptionKind, OptionSpec, Options, Result};

/// What the writer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    Auto,
    File,
    Folder,
}

/// What an insert does if there is something already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IfExists {
    Error,
    Append,
}

/// A reader's options.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    pub(crate) path: Vec<String>,
    pub(crate) partitions: PartitionMode,
    pub(crate) partition_filter: Vec<String>,
}

/// A writer's options.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    pub(crate) path: String,
    pub(crate) layout: Layout,
    pub(crate) if_exists: IfExists,
}

impl ReaderOptions {
    /// Options as a job gave them.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for what is missing or of the wrong shape.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let options: Self = options.parse(&own_reader_specs())?;
        if options.path.is_empty() {
            return Err(Error::new(ErrorKind::Options, "`path` is an empty list"));
        }
        Ok(options)
    }
}

impl WriterOptions {
    /// As [`ReaderOptions::parse`].
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        options.parse(&own_writer_specs())
    }
}

/// The reader's options, with those of formats.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    [own_reader_specs(), read_specs()].concat()
}

/// The writer's options, with those of formats.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    [own_writer_specs(), write_specs()].concat()
}

fn own_reader_specs() -> Vec<OptionSpec> {
    let doc = "Files, folders or patterns such as `data/*.csv.gz`; a folder means its visible files \
               and those in folders `key=value` below";
    let mut specs = vec![OptionSpec::new("path", OptionKind::Paths, doc).required()];
    specs.extend(partition_specs());
    specs
}

fn own_writer_specs() -> Vec<OptionSpec> {
    let doc = "A file, or a folder (with a final `/`) that gets one file a task";
    vec![
        OptionSpec::new("path", OptionKind::Path, doc).required(),
        OptionSpec::choice(
            "layout",
            &["auto", "file", "folder"],
            "`auto`: a folder if one exists there or the path ends in `/`",
        ),
        OptionSpec::choice(
            "if_exists",
            &["error", "append"],
            "What `insert` does if the file or data set exists: refuse, or add rows to it",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_needed() {
        let reader =
            ReaderOptions::parse(&Options::from_pairs([("path", vec!["/x.csv"])])).unwrap();
        assert_eq!(reader.path, ["/x.csv"]);
        let writer = WriterOptions::parse(&Options::from_pairs([("path", "/x.csv")])).unwrap();
        assert_eq!((writer.layout, writer.if_exists), (Layout::Auto, IfExists::Error));
        let nothing = Options::from_pairs([("path", Vec::<String>::new())]);
        assert_eq!(ReaderOptions::parse(&nothing).unwrap_err().kind, ErrorKind::Options);
        assert!(ReaderOptions::parse(&Options::default()).is_err());
        assert!(WriterOptions::parse(&Options::default()).is_err());
    }
}
