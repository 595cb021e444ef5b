//! `discover`: the tables of a connection, printed page by page, so that a store with a hundred thousand
//! of them takes no more memory than one with a thousand.

use std::path::Path;

use serde_json::json;
use transload_plugin_api::{Reader, TableInfo};

use super::{Ended, Failure, Session, connection};
use crate::{
    Error, Exit,
    catalog::Role,
    cli::{DiscoverArgs, OutputFormat},
    job::{DraftConnection, connection_files},
    report::{self, Page},
    tables::TablePages,
};

/// `discover`: lists tables. Exit code 4 if patterns are given and none matches.
pub(super) fn discover(session: &Session, args: &DiscoverArgs) -> Ended {
    let (plugin, reader) = open(session, args)?;
    let mut pages = TablePages::new(&*reader, &args.patterns, true);
    let found = match session.output {
        OutputFormat::Json => print_json(session, args, &plugin, &mut pages)?,
        OutputFormat::Text => print_text(session, args, &mut pages)?,
    };
    let is_missing = found == 0 && !args.patterns.is_empty();
    Ok(if is_missing { Exit::NotFound } else { Exit::Done })
}

/// The connection's plugin and a reader with the options of the connection alone.
fn open(session: &Session, args: &DiscoverArgs) -> Result<(String, Box<dyn Reader>), Failure> {
    let files = connection_files(Path::new(""));
    let draft = DraftConnection::load(&args.connection, args.env.as_deref(), &files)?;
    let catalog = session.catalog();
    let lone = connection::resolve(&catalog, &draft)?;
    lone.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let stall = session.isolation.stall;
    let plugin = catalog.plugin_at(&lone.plugin, Role::Reader, lone.isolation, stall);
    let plugin = plugin.map_err(Error::unusable_plugin)?;
    let reader = plugin.reader(lone.options, session.host(&lone.secrets))?;
    Ok((lone.plugin, reader))
}

/// One JSON document, whose list grows by each page. Returns how many tables there are.
fn print_json(
    session: &Session,
    args: &DiscoverArgs,
    plugin: &str,
    pages: &mut TablePages<'_>,
) -> Result<u64, Failure> {
    let mut found = 0;
    for page in pages {
        for table in page? {
            let head = json!({ "connection": args.connection, "plugin": plugin }).to_string();
            let lead = match found {
                0 => format!("{},\"tables\":[\n", head.trim_end_matches('}')),
                _ => ",\n".to_owned(),
            };
            session.put_part(&(lead + &json!(table).to_string()));
            found += 1;
        }
    }
    match found {
        0 => session.print_json(
            &json!({ "connection": args.connection, "plugin": plugin, "tables": [] }),
        )?,
        _ => session.put("\n]}"),
    }
    Ok(found)
}

/// One table of lines for each page.
fn print_text(
    session: &Session,
    args: &DiscoverArgs,
    pages: &mut TablePages<'_>,
) -> Result<u64, Failure> {
    let mut found = 0;
    for page in pages {
        let tables = page?;
        if tables.is_empty() {
            continue;
        }
        let mut text = Page::new(session.stdout, session.redactor.clone());
        show(&mut text, &tables, args.columns);
        session.put(&text.finish());
        found += tables.len() as u64;
    }
    if found == 0 {
        session.say(|page| page.line(0, &nothing(args)));
    }
    Ok(found)
}

fn show(page: &mut Page, tables: &[TableInfo], columns: bool) {
    if columns {
        for (index, table) in tables.iter().enumerate() {
            if index > 0 {
                page.gap();
            }
            report::describe_table(page, table);
        }
    } else {
        report::list_tables(page, tables);
    }
}

fn nothing(args: &DiscoverArgs) -> String {
    let name = &args.connection;
    match args.patterns.is_empty() {
        true => format!("connection `{name}` has no table that this login sees"),
        false => format!(
            "no table of connection `{name}` matches {}; `transload discover {name}` lists all",
            args.patterns.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}
