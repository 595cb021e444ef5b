//! `connection list` and `connection test`.

use std::path::Path;

use serde::Serialize;
use transload_plugin_api::{ErrorKind, Finding, OptionScope, OptionSpec};

use super::{Ended, Failure, Session};
use crate::{
    Error, Exit,
    catalog::{Catalog, Role},
    cli::ConnectionCommand,
    job::{ConnectionName, DraftConnection, LoneConnection, connection_files, list_connections},
    report,
};

/// The result of a test, as `--output json` prints it.
#[derive(Serialize)]
struct Tested {
    connection: ConnectionName,
    plugin: String,
    findings: Vec<Finding>,
}

/// Runs `connection list` or `connection test`. Connection files are searched from the working folder.
pub(super) fn connection(session: &Session, command: &ConnectionCommand) -> Ended {
    let files = connection_files(Path::new(""));
    match command {
        ConnectionCommand::List => {
            let list = list_connections(&files)?;
            session.print(&list, |page| report::list_connections(page, &list))?;
            Ok(Exit::Done)
        }
        ConnectionCommand::Test { name, env } => {
            test(session, &DraftConnection::load(name, env.as_deref(), &files)?)
        }
    }
}

/// A connection outside of a job, checked against its plugin. Exit code 7 if the plugin cannot be used.
pub(super) fn resolve(
    catalog: &Catalog,
    draft: &DraftConnection,
) -> Result<LoneConnection, Failure> {
    let descriptor = catalog.descriptor(draft.plugin());
    let exit = match &descriptor {
        Err(error) if error.kind != ErrorKind::NotFound => Exit::Plugin,
        _ => Exit::Usage,
    };
    draft.resolve(|_| descriptor).map_err(|problems| Failure::Problems(problems, exit))
}

/// Tests one connection. Exit code 5 if a stage fails.
fn test(session: &Session, draft: &DraftConnection) -> Ended {
    let catalog = session.catalog();
    let lone = resolve(&catalog, draft)?;
    lone.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let tested = Tested {
        findings: findings(session, &catalog, &lone)?,
        connection: lone.connection,
        plugin: lone.plugin,
    };
    session.print(&tested, |page| report::list_findings(page, &tested.findings))?;
    let works = tested.findings.iter().all(|finding| finding.ok);
    Ok(if works { Exit::Done } else { Exit::Connection })
}

/// The findings of the plugin's reader, and those of its writer that the reader does not have.
fn findings(
    session: &Session,
    catalog: &Catalog,
    lone: &LoneConnection,
) -> Result<Vec<Finding>, Failure> {
    let descriptor = catalog.descriptor(&lone.plugin).map_err(Error::unusable_plugin)?;
    let plugin = |role| {
        let stall = session.isolation.stall;
        let plugin = catalog.plugin_at(&lone.plugin, role, lone.isolation, stall);
        plugin.map_err(Error::unusable_plugin)
    };
    let mut findings = Vec::new();
    if descriptor.reader.is_some() {
        let reader = plugin(Role::Reader)?;
        let reader = reader.reader(lone.options.clone(), session.host(&lone.secrets));
        let own = descriptor.reader.iter().flat_map(|reader| &reader.options);
        findings = reader.and_then(|reader| reader.check()).map_err(|error| {
            without_job(error, &lone.plugin, descriptor.options.iter().chain(own))
        })?;
    }
    let reached = findings.iter().all(|finding| finding.ok);
    if descriptor.writer.is_some() && reached {
        let writer = plugin(Role::Writer)?;
        let writer = writer.writer(lone.writer_options.clone(), session.host(&lone.secrets));
        let own = descriptor.writer.iter().flat_map(|writer| &writer.options);
        let more = writer.and_then(|writer| writer.check()).map_err(|error| {
            without_job(error, &lone.plugin, descriptor.options.iter().chain(own))
        })?;
        let more = more.into_iter().filter(|finding| !findings.contains(finding));
        let more =
            more.map(|finding| Finding { stage: format!("writing: {}", finding.stage), ..finding });
        findings.extend(more.collect::<Vec<_>>());
    }
    Ok(findings)
}

/// A plugin that needs an option of a job even for this test breaks a rule of the contract: what the user
/// can do.
fn without_job<'a>(
    error: transload_plugin_api::Error,
    plugin: &str,
    mut options: impl Iterator<Item = &'a OptionSpec>,
) -> transload_plugin_api::Error {
    let needed = options.find(|spec| spec.required && spec.scope == OptionScope::Job);
    let Some(needed) = needed.filter(|_| error.kind == ErrorKind::Options) else { return error };
    let key = &needed.key;
    error.hint(format!(
        "plugin `{plugin}` needs `{key}` of a job even for this test: report it to its author; \
         `transload plan JOB.toml` tests the connection with a job"
    ))
}
