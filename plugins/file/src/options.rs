//! The plugin's own options; those of files and formats come from their crates.

use serde::Deserialize;
use transload_files::{PartitionMode, partition_specs};
use transload_formats::read_specs;
use transload_plugin_api::{
    Addressing, Error, OptionKind, OptionSpec, Options, PathForm, Result, UrlForm, UrlPart,
};

/// What the writer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    Auto,
    File,
    Folder,
}

/// A reader's options.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReaderOptions {
    pub(crate) path: Vec<String>,
    pub(crate) partitions: PartitionMode,
    pub(crate) partition_filter: Vec<String>,
    pub(crate) max_kept: u64,
}

/// The writer's own options; the others are those of `transload_files`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WriterOptions {
    pub(crate) path: String,
    pub(crate) layout: Layout,
}

impl ReaderOptions {
    /// Options as a job gave them.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for what is missing or of the wrong shape.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let options: Self = options.parse(&own_reader_specs())?;
        if options.path.is_empty() {
            return Err(Error::options("`path` is an empty list"));
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

/// The paths and URLs that command lines take.
pub(crate) fn addressing() -> Addressing {
    let url = UrlForm::new(&["file"], "file:///data/orders.csv").part(UrlPart::Path, "path");
    let paths = PathForm {
        option: "path".to_owned(),
        extensions: transload_formats::EXTENSIONS.map(str::to_owned).to_vec(),
        suffixes: transload_formats::COMPRESSIONS.map(str::to_owned).to_vec(),
        fragment: String::new(),
        folders: true,
        stream: Some([("format".to_owned(), "csv".to_owned())].into()),
    };
    Addressing { object: "path".to_owned(), urls: vec![url], paths: Some(paths) }
}

/// The reader's options, with those of formats.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    [own_reader_specs(), read_specs()].concat()
}

/// The writer's options, with those of files and formats.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    [own_writer_specs(), transload_files::writer_specs()].concat()
}

fn own_reader_specs() -> Vec<OptionSpec> {
    let doc = "Files, folders or patterns such as `data/*.csv.gz`; a folder means its visible files \
               and those in folders `key=value` below; `-` is standard input";
    let mut specs = vec![OptionSpec::new("path", OptionKind::Paths, doc).required()];
    specs.extend(partition_specs());
    specs.push(
        OptionSpec::new(
            "max_kept",
            OptionKind::Size,
            "Parquet from standard input or a pipe: the most bytes that a temporary file (in \
             `TMPDIR`) keeps until the end has come, where Parquet has its footer",
        )
        .default("16 GiB"),
    );
    specs
}

fn own_writer_specs() -> Vec<OptionSpec> {
    let doc = "A file, or a folder (with a final `/`) that gets files of the names below; `-` is \
               standard output";
    vec![
        OptionSpec::new("path", OptionKind::Path, doc).required(),
        OptionSpec::choice(
            "layout",
            &["auto", "file", "folder"],
            "`auto`: a folder if one exists there or the path ends in `/`",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn a_path_is_needed() {
        let reader =
            ReaderOptions::parse(&Options::from_pairs([("path", vec!["/x.csv"])])).unwrap();
        assert_eq!(reader.path, ["/x.csv"]);
        let writer = WriterOptions::parse(&Options::from_pairs([("path", "/x.csv")])).unwrap();
        assert_eq!(writer.layout, Layout::Auto);
        let nothing = Options::from_pairs([("path", Vec::<String>::new())]);
        assert_eq!(ReaderOptions::parse(&nothing).unwrap_err().kind, ErrorKind::Options);
        assert!(ReaderOptions::parse(&Options::default()).is_err());
        assert!(WriterOptions::parse(&Options::default()).is_err());
    }
}
