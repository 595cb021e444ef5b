//! `schema`: the JSON Schema of job files or connection files, for editors.

use std::collections::BTreeSet;

use transload_plugin_api::Descriptor;

use super::{Ended, Session};
use crate::{Exit, cli::SchemaOf, job};

/// Prints the schema, with the options of all plugins that are found.
pub(super) fn schema(session: &Session, of: SchemaOf) -> Ended {
    let catalog = session.catalog();
    let names: BTreeSet<&str> = catalog.list().iter().map(|entry| entry.name.as_str()).collect();
    let plugins: Vec<Descriptor> =
        names.into_iter().filter_map(|name| catalog.descriptor(name).ok()).collect();
    let schema = match of {
        SchemaOf::Job => job::schema_of_jobs(&plugins),
        SchemaOf::Connections => job::schema_of_connections(&plugins),
    };
    // The schema is JSON whatever `--output` says.
    session.print_json(&schema)?;
    Ok(Exit::Done)
}
