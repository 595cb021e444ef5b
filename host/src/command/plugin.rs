//! `plugin list`, `plugin info` and `plugin check`.

use std::path::Path;

use serde::Serialize;
use transload_plugin_api::Descriptor;

use super::{Ended, Session, plugin_new, plugin_test, vendor};
use crate::{
    Error, Exit,
    catalog::{self, Entry, Trust},
    cli::PluginCommand,
    report,
};

/// Runs `plugin list`, `info` or `check`.
pub(super) fn plugin(session: &Session, command: &PluginCommand) -> Ended {
    match command {
        PluginCommand::List => {
            let catalog = session.catalog();
            session.print(&catalog.list(), |page| report::list_plugins(page, catalog.list()))?;
            Ok(Exit::Done)
        }
        PluginCommand::Info { name, option: None } => {
            let catalog = session.catalog();
            let descriptor = catalog.descriptor(name);
            let descriptor = descriptor.map_err(Error::unusable_plugin)?;
            let entry = catalog.list().iter().find(|entry| entry.is_ok() && entry.name == *name);
            let described = Described { descriptor: &descriptor, library: entry.map(library) };
            session.print(&described, |page| report::describe_plugin(page, &descriptor, entry))?;
            Ok(Exit::Done)
        }
        PluginCommand::Info { name, option: Some(option) } => {
            let descriptor = session.catalog().descriptor(name);
            let descriptor = descriptor.map_err(Error::unusable_plugin)?;
            let detail = report::detail(&descriptor, option)?;
            session.print(&detail, |page| report::describe_detail(page, &detail))?;
            Ok(Exit::Done)
        }
        PluginCommand::Test(args) => plugin_test::test(session, args),
        PluginCommand::New(args) => plugin_new::new(session, args),
        PluginCommand::Pack(args) => vendor::pack(session, args),
        PluginCommand::Install(args) => vendor::install(session, args),
        PluginCommand::Pin(args) => vendor::pin(session, args),
        PluginCommand::Trust(args) => vendor::trust(session, args),
        PluginCommand::Revoke(args) => vendor::revoke(session, args),
        PluginCommand::Verify => vendor::verify(session),
        PluginCommand::Check { path } => {
            let findings = catalog::check(path, &session.search());
            session.print(&findings, |page| report::list_findings(page, &findings))?;
            let sound = findings.iter().all(|finding| finding.ok);
            Ok(if sound { Exit::Done } else { Exit::Plugin })
        }
    }
}

/// A plugin as `--output json` shows it: its descriptor, and the library that it is from.
#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    descriptor: &'a Descriptor,
    library: Option<Library<'a>>,
}

/// Whether a library's code may run, and which bytes it is.
#[derive(Serialize)]
struct Library<'a> {
    trust: Option<Trust>,
    publisher: Option<&'a str>,
    path: &'a Path,
    sha256: &'a str,
}

fn library(entry: &Entry) -> Library<'_> {
    let Entry { trust, publisher, path, sha256, .. } = entry;
    Library { trust: *trust, publisher: publisher.as_deref(), path, sha256 }
}
