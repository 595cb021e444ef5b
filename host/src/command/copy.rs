//! `copy`: one line becomes the text of a job, which is planned and run like any other.

use serde_json::json;
use std::path::Path;

use transload_plugin_api::{Error as PluginError, ErrorKind, code};

use super::{Ended, Failure, Session, job};
use crate::{
    Exit,
    catalog::{Catalog, Role},
    cli::{BackfillArgs, CopyArgs, EndArgs, JobArgs, PlanArgs, RunArgs, SourceArgs, TargetArgs},
    copy::{End, Named, Naming, Settings, in_flags, job_text, name_side, plugins},
    job::{
        DraftConnection, JobText, Location, Problem, Problems, connection_files, give_secret,
        list_connections,
    },
};

/// What messages name in the place of a job file.
pub(super) const FILE: &str = "copy";

/// Runs `copy`.
pub(super) fn copy(session: &Session, args: &CopyArgs) -> Ended {
    done(session, args).map_err(by_flags)
}

fn done(session: &Session, args: &CopyArgs) -> Ended {
    let catalog = session.catalog();
    let text = text_of(session, &catalog, &args.source, &args.target)?;
    if args.as_job {
        session.print(&json!({ "job": text.text }), |page| {
            text.text.lines().for_each(|line| page.verbatim(line));
        })?;
        return Ok(Exit::Done);
    }
    let of_job = job_args(&args.source, text);
    if args.plan {
        return job::plan(session, &PlanArgs { job: of_job, columns: false });
    }
    let state = args.state.clone();
    let backfill = BackfillArgs::default();
    job::run(session, &RunArgs { job: of_job, progress: args.progress, state, backfill })
}

/// The job file of these two. Secrets in the arguments are kept aside, for this process alone.
pub(super) fn text_of(
    session: &Session,
    catalog: &Catalog,
    source: &SourceArgs,
    target: &TargetArgs,
) -> Result<JobText, Failure> {
    let env = source.env.as_deref();
    let from = named(session, catalog, End::From, (&source.from, source.side.end()), env);
    let to = named(session, catalog, End::To, (&target.to, target.end()), env);
    let (from, to) = match (from, to) {
        (Ok(from), Ok(to)) => (from, to),
        (from, to) => return Err(both(from.err(), to.err())),
    };
    Ok(job_text(&from, &to, &settings(source, Some(target)))?)
}

/// The problems of both sides, as one list.
fn both(from: Option<Problems>, to: Option<Problems>) -> Failure {
    let mut all = from.unwrap_or_default();
    to.iter().for_each(|to| all.extend(to));
    let is_plugin = |problem: &Problem| {
        problem.code.starts_with("PLUGIN-") && problem.code != code::PLUGIN_UNKNOWN
    };
    let exit = if all.iter().any(is_plugin) { Exit::Plugin } else { Exit::Usage };
    Failure::Problems(all, exit)
}

/// One side by its argument and its flags.
pub(super) fn named<'a>(
    session: &Session,
    catalog: &'a Catalog,
    end: End,
    (text, args): (&'a str, EndArgs<'a>),
    env: Option<&str>,
) -> Result<Named<'a>, Problems> {
    let files = connection_files(Path::new(""));
    let connections: Vec<String> = match list_connections(&files) {
        Ok(list) => list.into_iter().map(|entry| entry.name).collect(),
        // Reported by whoever uses one of them.
        Err(_) => Vec::new(),
    };
    let find = |name: &str| descriptor(catalog, name, end.role());
    let mut own = plugins(catalog, end.role());
    if let Some(name) = args.plugin {
        let chosen = find(name).map_err(|error| {
            let flag = Location::whole(format!("{}-plugin", end.flag()));
            Problem::new(&flag, "", error.to_string()).because_of(error)
        })?;
        own = vec![chosen];
    }
    let naming = Naming {
        end,
        text,
        plugins: own,
        chosen: args.plugin,
        format: args.format,
        options: args.options,
        connections: &connections,
        connection: &|name, place| DraftConnection::load_at(place, name, env, &files),
        find: &find,
    };
    let mut named = name_side(&naming)?;
    for (variable, secret) in std::mem::take(&mut named.secrets) {
        session.redactor.learn(&variable, secret.expose());
        give_secret(variable, secret);
    }
    Ok(named)
}

/// What a plugin declares, if it has the role.
fn descriptor<'a>(
    catalog: &'a Catalog,
    name: &str,
    role: Role,
) -> Result<&'a transload_plugin_api::Descriptor, PluginError> {
    let entry = catalog.entry(name, role)?;
    entry.descriptor.as_ref().ok_or_else(|| {
        PluginError::new(ErrorKind::Defect, format!("plugin `{name}` declares nothing"))
            .with_code(code::PLUGIN_DESCRIPTOR)
    })
}

/// The flags that are no part of FROM or TO.
pub(super) fn settings(source: &SourceArgs, target: Option<&TargetArgs>) -> Settings {
    let settings = Settings {
        columns: source.columns.clone(),
        condition: source.condition.clone(),
        types: source.types.clone(),
        ..Settings::default()
    };
    let Some(target) = target else { return settings };
    Settings {
        name: target.name.clone(),
        mode: target.mode.clone(),
        key: target.key.clone(),
        update: target.update.clone(),
        create: target.create,
        map: target.map.clone(),
        parallelism: target.parallelism,
        max_dirty: target.max_dirty.clone(),
        require: target.require.clone(),
        ..settings
    }
}

/// The text in the place of a job file, in the working folder.
pub(super) fn job_args(source: &SourceArgs, text: JobText) -> JobArgs {
    JobArgs {
        job: FILE.into(),
        env: source.env.clone(),
        params: source.params.clone(),
        bizdate: source.bizdate.clone(),
        cyctime: source.cyctime.clone(),
        text: Some(text),
    }
}

/// The failure with hints that can be typed: flags instead of keys.
pub(super) fn by_flags(failure: Failure) -> Failure {
    let end = |role: &str| match role {
        "reader" => Some(End::From),
        "writer" => Some(End::To),
        _ => None,
    };
    let of_error = |mut error: crate::Error| {
        let inner = &mut error.error;
        let role = inner.origin.as_ref().map(|origin| origin.role.clone());
        let role = role.or_else(|| inner.key.as_ref()?.split('.').next().map(str::to_owned));
        let end = role.as_deref().and_then(end);
        inner.hint = inner.hint.take().map(|hint| in_flags(&hint, end));
        error
    };
    match failure {
        Failure::Error(error) => Failure::Error(of_error(error)),
        Failure::Errors(errors) => {
            Failure::Errors(crate::error::Errors(errors.0.into_iter().map(of_error).collect()))
        }
        Failure::Problems(problems, exit) => {
            let changed = problems.map(|mut problem| {
                let end = problem.key.split('.').next().and_then(end);
                problem.hint = problem.hint.take().map(|hint| in_flags(&hint, end));
                problem
            });
            Failure::Problems(changed, exit)
        }
    }
}
