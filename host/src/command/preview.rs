//! `preview`: the first rows of a source. The source is read by its plugin as in a run, and left as soon
//! as there are enough rows.

use transload_plugin_api::Reader;

use super::{
    Ended, Failure, Session,
    copy::{FILE, by_flags, named, settings},
    job::checked,
};
use crate::{
    Error, Exit,
    catalog::{Catalog, Role},
    cli::{OutputFormat, PreviewArgs, SourceArgs},
    copy::{End, SourceColumns, source_text},
    error::Errors,
    job::{Job, JobReader, JobRequest, Places},
    report::{self, Activity},
};

/// Runs `preview`.
pub(super) fn preview(session: &Session, args: &PreviewArgs) -> Ended {
    shown(session, args).map_err(by_flags)
}

fn shown(session: &Session, args: &PreviewArgs) -> Ended {
    let catalog = session.catalog();
    let doing = "reading the first rows";
    let source = Source::open(session, &catalog, &args.source)?;
    let activity = Activity::begin(doing, session.stderr, &session.redactor, !session.quiet);
    let columns = source.columns()?;
    let first = columns.first(&*source.reader, args.rows, &session.stop);
    let first = first.map_err(|error| source.places.locate(error))?;
    drop(activity);
    if args.json || session.output == OutputFormat::Json {
        session.print_json(&first)?;
    } else {
        session.print(&first, |page| report::preview(page, &first, session.stdout.width))?;
    }
    Ok(Exit::Done)
}

/// The source that a command line names, opened.
pub(super) struct Source {
    pub(super) reader: Box<dyn Reader>,
    job: JobReader,
    places: Places,
}

impl Source {
    /// # Errors
    /// What is wrong with the arguments, the plugin or its options.
    pub(super) fn open(
        session: &Session,
        catalog: &Catalog,
        args: &SourceArgs,
    ) -> Result<Self, Failure> {
        let from = (args.from.as_str(), args.side.end());
        let from = named(session, catalog, End::From, from, args.env.as_deref())?;
        let text = source_text(&from, &settings(args, None))?;
        let request = JobRequest {
            env: args.env.clone(),
            params: args.params.clone(),
            bizdate: args.bizdate.clone(),
            cyctime: args.cyctime.clone(),
            text: Some(text),
            is_source: true,
            ..JobRequest::new(FILE)
        };
        Self::of(session, catalog, &request)
    }

    /// The source of a request for a source alone.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub(super) fn of(
        session: &Session,
        catalog: &Catalog,
        request: &JobRequest,
    ) -> Result<Self, Failure> {
        let draft = Job::load(request)?;
        let (job, places) = checked(catalog, |find| draft.resolve_source(find))?;
        session.redactor.learn_logins(&job.options.values);
        let stall = session.isolation.stall;
        let plugin = catalog.plugin_at(&job.plugin, Role::Reader, job.isolation, stall);
        let plugin = plugin.map_err(Error::unusable_plugin)?;
        let reader = plugin.reader(job.options.clone(), session.host(&job.secrets));
        let reader = reader.map_err(|error| places.locate(error.into()))?;
        Ok(Self { reader, job, places })
    }

    /// Its columns.
    ///
    /// # Errors
    /// As [`SourceColumns::of`].
    pub(super) fn columns(&self) -> Result<SourceColumns, Errors> {
        let columns = SourceColumns::of(&*self.reader, &self.job);
        columns.map_err(|errors| errors.located(&self.places))
    }
}
