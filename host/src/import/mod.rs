//! JOBS OF OTHER TOOLS: documents of DataX, DataWorks, Sling and pgloader become job files, a connections
//! file, and notes that say what the old job really did and what each of its keys becomes.
//!
//! | file | what it does |
//! |---|---|
//! | `tree`, `json`, `yaml`, `load` | a document as a tree with places: the JSON that DataX reads, YAML, pgloader's commands |
//! | `tool` | whose documents these are, and which jobs are in one |
//! | `datax`, `dataworks`, `sling`, `sling_store`, `pgloader`, `pgloader_csv` | the documents of one tool: where the parts of a job are |
//! | `table_source`, `table_target`, `columns`, `select` | sides that are tables |
//! | `file_source`, `file_target`, `file_format`, `stream` | sides that are files, objects, or generated |
//! | `address`, `jdbc`, `url`, `percent`, `connections` | where a store is; the connections of all jobs |
//! | `limits`, `assemble`, `parameters` | limits; which column goes where; `${name}` |
//! | `cx`, `notes` | what all of them work with; what the report says |
//! | `job_text` | the job file that is written |
//! | `batch`, `summary` | many documents: found, imported, written, checked; the report |
//!
//! Nothing here opens a store. A key of a document is read, or noted as one without effect, or refused.

mod address;
mod assemble;
mod batch;
mod columns;
mod connections;
mod cx;
mod dataworks;
mod datax;
mod file_format;
mod file_source;
mod file_target;
mod jdbc;
mod job_text;
mod json;
mod limits;
mod load;
mod notes;
mod parameters;
mod percent;
mod pgloader;
mod pgloader_csv;
mod select;
mod sling;
mod sling_store;
mod stream;
mod summary;
mod table_source;
mod table_target;
mod tool;
mod tree;
mod url;
mod yaml;

pub(crate) use batch::{Request, import, keep_report};
pub(crate) use notes::{CHOICES, Choices};
pub(crate) use sling_store::Environment;
pub(crate) use summary::{describe, markdown};
pub(crate) use tool::Tool;
