//! The generator: the example plugin, the data source of benchmarks, and the test double.
//!
//! Its reader generates rows of any schema, the same rows for the same seed. Its writer keeps only
//! fingerprints of rows: enough to count rows, compute checksums and recognize keys. Both can be
//! slow, return dirty rows, fail or panic on request.
//!
//! # For authors: where to look first
//!
//! These modules are what every plugin needs:
//!
//! | module | what it shows |
//! |---|---|
//! | `descriptor` | what a plugin declares: options, types, write modes |
//! | `options` | these options as the plugin's own types, and their checks |
//! | `reader` | schema, splits, positions and batches |
//! | `writer` | draft and commit of the job |
//! | `writer::task` | chunks, conflicts, dirty rows |
//!
//! The others support them: `spec` and `preset` (the content of a column), `column` with `text`,
//! `edges`, `words` and `random` (generating it), `table` and `checksum` (the target in
//! memory).
//!
//! ```
//! use transload_plugin_api::{Host, Options, Plugin, SplitRequest};
//! use transload_plugin_generator::GeneratorPlugin;
//!
//! # fn main() -> transload_plugin_api::Result<()> {
//! let columns = serde_json::json!({"id": "int64 sequence", "name": "text words 1..3 null 5%"});
//! let options = Options::from_pairs([("rows", 1_000.into()), ("specs", columns)]);
//! let reader = GeneratorPlugin.reader(options, Host::detached())?;
//!
//! let columns = reader.produces(&reader.schema()?.columns)?;
//! let mut rows = 0;
//! for split in reader.splits(&SplitRequest::new(4, columns.clone()))? {
//!     let mut task = reader.open(&split, &columns, None)?;
//!     while let Some(read) = task.next_batch()? {
//!         rows += read.batch.num_rows();
//!     }
//! }
//! assert_eq!(rows, 1_000);
//! # Ok(())
//! # }
//! ```

mod checksum;
mod column;
mod descriptor;
mod edges;
mod options;
mod preset;
mod random;
mod reader;
mod spec;
mod table;
mod words;
mod writer;

#[cfg(test)]
mod fuzz;

use transload_plugin_api::{Descriptor, Host, Options, Plugin, Reader, Result, Writer};

/// The plugin `generator`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeneratorPlugin;

impl Plugin for GeneratorPlugin {
    fn descriptor(&self) -> Descriptor {
        descriptor::descriptor()
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::GeneratorReader::new(&options, &host)?))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::GeneratorWriter::new(&options, &host)?))
    }
}

transload_plugin_api::export_plugin!(GeneratorPlugin);
