//! `new`: a job file with comments, for a source that can be reached and a target that need not exist.

use serde_json::json;

use super::{
    Ended, Session,
    copy::{by_flags, job_args, text_of},
    job,
    preview::Source,
};
use crate::{Error, Exit, cli::NewArgs, copy::commented, report::Activity};

/// Runs `new`.
pub(super) fn new(session: &Session, args: &NewArgs) -> Ended {
    made(session, args).map_err(by_flags)
}

fn made(session: &Session, args: &NewArgs) -> Ended {
    let catalog = session.catalog();
    let text = text_of(session, &catalog, &args.source, &args.target)?;
    // All of it is checked before the source is opened.
    let (_, checked) = job::load(session, &job_args(&args.source, text.clone()))?;
    let doing = "looking at the source";
    let activity = Activity::begin(doing, session.stderr, &session.redactor, !session.quiet);
    let columns = Source::open(session, &catalog, &args.source)?.columns()?.seen;
    drop(activity);
    let descriptor = |name: &str| catalog.descriptor(name).map_err(Error::unusable_plugin);
    let (reader, writer) =
        (descriptor(&checked.reader.plugin)?, descriptor(&checked.writer.plugin)?);
    let file = commented(&text, &columns, (&reader, &writer));
    session.print(&json!({ "job": file }), |page| {
        file.lines().for_each(|line| page.verbatim(line));
    })?;
    Ok(Exit::Done)
}
