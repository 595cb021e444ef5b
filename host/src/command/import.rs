//! `import`: documents of other tools become job files.

use std::path::Path;

use super::{Ended, Session};
use crate::{
    Error, Exit,
    catalog::Catalog,
    cli::{ImportArgs, ImportCommand},
    import::{self, Choices, Environment, Request, Tool},
    job::{ChosenTable, Job, JobRequest, is_of_many},
};

/// `import`: writes the jobs and the report. The exit code is that of a mistake in a job file if a
/// document was refused, or something is left to do.
pub(super) fn import(session: &Session, command: &ImportCommand) -> Ended {
    let (tool, args) = match command {
        ImportCommand::Datax(args) => (Tool::Datax, args),
        ImportCommand::Dataworks(args) => (Tool::Dataworks, args),
        ImportCommand::Sling(args) => (Tool::Sling, &args.import),
        ImportCommand::Pgloader(args) => (Tool::Pgloader, args),
    };
    let environment = match command {
        ImportCommand::Sling(args) => args.env_file.as_deref().map(Environment::open).transpose(),
        _ => Ok(None),
    };
    let environment = environment.map_err(|why| Error::new(Exit::Usage, why))?;
    let catalog = session.catalog();
    let imported = import::import(&request(tool, args, environment), |file, params| {
        check(&catalog, file, params)
    })?;
    import::keep_report(&imported, &import::markdown(&imported, tool))?;
    session.print(&imported, |page| import::describe(page, &imported))?;
    let is_complete = imported.counts.refused + imported.counts.unfinished == 0;
    Ok(if is_complete { Exit::Done } else { Exit::Usage })
}

fn request(tool: Tool, args: &ImportArgs, environment: Option<Environment>) -> Request {
    Request {
        tool,
        paths: args.paths.clone(),
        out: args.out.clone(),
        force: args.force,
        environment,
        choices: Choices::new(&args.keep, &args.repair),
        params: args.params.clone(),
    }
}

/// What `check` would say of a job that was written, with values for parameters that have none.
fn check(catalog: &Catalog, file: &Path, params: &[String]) -> Vec<String> {
    let request = JobRequest {
        table: is_of_many(file).then(ChosenTable::any),
        // A number, a part of a name and a date all the same.
        params: params.iter().map(|name| (name.clone(), "20260101".to_owned())).collect(),
        ..JobRequest::new(file)
    };
    let checked =
        Job::load(&request).and_then(|draft| draft.resolve(|name| catalog.descriptor(name)));
    match checked {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}
