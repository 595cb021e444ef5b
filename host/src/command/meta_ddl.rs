//! `meta-ddl`: the statements that create the tables for commit tokens, for an administrator to run.

use std::path::Path;

use serde_json::json;
use transload_plugin_api::TokenTables;

use super::{Ended, Session, connection};
use crate::{
    Error, Exit,
    catalog::Role,
    cli::MetaDdlArgs,
    job::{DraftConnection, connection_files},
    report::Style,
};

/// `meta-ddl`: prints the statements, and runs none.
pub(super) fn meta_ddl(session: &Session, args: &MetaDdlArgs) -> Ended {
    let files = connection_files(Path::new(""));
    let draft = DraftConnection::load(&args.connection, args.env.as_deref(), &files)?;
    let catalog = session.catalog();
    let lone = connection::resolve(&catalog, &draft)?;
    let stall = session.isolation.stall;
    let plugin = catalog.plugin_at(&lone.plugin, Role::Writer, lone.isolation, stall);
    let plugin = plugin.map_err(Error::unusable_plugin)?;
    let writer = plugin.writer(lone.writer_options, session.host(&lone.secrets))?;
    let tables =
        TokenTables { schema: args.schema.clone(), prefix: args.prefix.clone(), create: false };
    let statements = writer.token_ddl(&tables)?;
    let json = json!({ "connection": args.connection, "statements": statements });
    session.print(&json, |page| {
        for (index, statement) in statements.iter().enumerate() {
            if index > 0 {
                page.gap();
            }
            page.statement(0, (Style::Plain, ""), &format!("{statement};"));
        }
    })?;
    Ok(Exit::Done)
}
