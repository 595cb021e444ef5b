//! The plugin `{{name}}`: what it declares. The store is in `store`.

// begin reader
mod reader;
// end reader
mod store;
// begin writer
mod writer;
// end writer

use std::path::PathBuf;

use transload_plugin_api::*;

use store::Store;

/// The plugin.
pub struct ThePlugin;

export_plugin!(ThePlugin);

/// The code of a file that is not one of this plugin's tables.
pub(crate) const NO_COLUMNS: &str = "{{NAME}}-COLUMNS";

/// Every option, stated here alone. The host has checked them before the plugin sees them.
fn specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new("path", OptionKind::Path, "The folder of the tables").required().connection(),
        OptionSpec::new("table", OptionKind::Text, "The table").required(),
    ]
}

/// The pages that `transload explain` shows.
fn codes() -> Vec<CodePage> {
    let page = "\
**Cause.** The first line of the table's file is not the list of its columns.

**Example.** `the first line names no columns`

**What to do.** Remove the file: the next run that writes the table makes it again.";
    vec![CodePage::new(NO_COLUMNS, "the file of a table does not begin with its columns", page)]
}

/// `{{name}}:folder#table` on a command line, and `CONNECTION:table`.
fn addressing() -> Addressing {
    let url = UrlForm::new(&["{{name}}"], "{{name}}:folder#table")
        .part(UrlPart::Path, "path")
        .part(UrlPart::Fragment, "table");
    Addressing { object: "table".to_owned(), urls: vec![url], paths: None }
}

/// `connection test` and `discover` have the options of a connection alone, so what a job must give
/// is an `Option` here.
#[derive(serde::Deserialize)]
struct Given {
    path: PathBuf,
    table: Option<String>,
}

fn store(options: &Options, host: Host) -> Result<Store> {
    let Given { path, table } = options.parse(&specs())?;
    Ok(Store { folder: path, table, host })
}

impl Plugin for ThePlugin {
    fn descriptor(&self) -> Descriptor {
        let types = vec![
            TypeSupport::new("int32", &["number"]),
            TypeSupport::new("int64", &["number"]),
            TypeSupport::new("text", &["string"]),
        ];
        Descriptor {
            name: "{{name}}".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "tables as files of rows".to_owned(),
            options: specs(),
            addressing: addressing(),
            codes: codes(),
            // begin reader
            reader: Some(ReaderDescriptor {
                types: types.clone(),
                ability: SplitAbility::Seekable,
                ..ReaderDescriptor::default()
            }),
            // end reader
            // begin writer
            writer: Some(WriterDescriptor {
                types,
                modes: vec![WriteModeSpec::insert("adds rows")],
                ..WriterDescriptor::default()
            }),
            // end writer
            ..Descriptor::default()
        }
    }
    // begin reader

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        Ok(Box::new(store(&options, host)?))
    }
    // end reader
    // begin writer

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        Ok(Box::new(store(&options, host)?))
    }
    // end writer
}
