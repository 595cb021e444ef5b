//! `state`: where the last run of an incremental job ended, shown, set and forgotten. Where the target
//! keeps it, it is changed by a run without rows, which waits for none and passes none.

use serde_json::json;
use transload_plugin_api::{ChunkOutcome, KeepWatermark, Writer, code};

use super::{Ended, Failure, Session, backfill, job};
use crate::{
    Error, Exit, Result,
    cli::{StateArgs, StateCommand},
    increment::{GrowingValue, IncrementLock, Watermark, WatermarkFile, kind},
    job::Job,
    journal,
    plan::WatermarkHome,
    stores::Stores,
};

/// `state`: one of its commands.
pub(super) fn state(session: &Session, command: &StateCommand) -> Ended {
    match command {
        StateCommand::Show(args) => show(session, args),
        StateCommand::Set(args) => change(session, &args.of, Some(&args.value)),
        StateCommand::Reset(args) => change(session, args, None),
    }
}

/// A job, its stores, and where its watermark is.
struct Found {
    job: Job,
    stores: Stores,
    home: WatermarkHome,
    file: WatermarkFile,
}

impl Found {
    fn open(session: &Session, args: &StateArgs) -> Result<Self, Failure> {
        let (catalog, mut job) = job::load(session, &args.job)?;
        if job.incremental.is_none() {
            return Err(backfill::not_incremental(&job).into());
        }
        job.writer.before.clear();
        job.writer.after.clear();
        let state = args.state.clone().unwrap_or_else(journal::state_folder);
        let file = job::watermark_file(&state, &job);
        let stores = job::open(session, &catalog, &job)?;
        let home = WatermarkHome::find(&job, journal::new_run(), &stores)?;
        Ok(Self { job, stores, home, file })
    }

    /// Where the watermark is, in words.
    fn place(&self) -> String {
        match &self.home.kept {
            Some(kept) => kept.table.clone(),
            None => self.file.0.display().to_string(),
        }
    }

    fn watermark(&self) -> Result<Option<Watermark>> {
        match &self.home.kept {
            Some(kept) => {
                kept.value.as_ref().map(|text| Watermark::read(text, &kept.table)).transpose()
            }
            None => self.file.read(),
        }
    }
}

fn show(session: &Session, args: &StateArgs) -> Ended {
    let found = Found::open(session, args)?;
    print(session, &found, found.watermark()?.as_ref())
}

fn print(session: &Session, found: &Found, watermark: Option<&Watermark>) -> Ended {
    let place = found.place();
    let json = json!({ "job": found.job.name, "kept": place, "watermark": watermark });
    session.print(&json, |page| {
        let line = match watermark {
            Some(watermark) => {
                format!("{} = {}", watermark.columns.join(", "), watermark.shown())
            }
            None => "none: the next run begins with `start`, or reads all rows".to_owned(),
        };
        page.pair(0, "watermark", 11, &line);
        page.pair(0, "kept in", 11, &place);
        if let Some(run) = watermark.map(|it| &it.run).filter(|run| !run.is_empty()) {
            page.pair(0, "by run", 11, run);
        }
    })?;
    Ok(Exit::Done)
}

/// Sets the watermark to the value, or forgets it.
fn change(session: &Session, args: &StateArgs, value: Option<&str>) -> Ended {
    let found = Found::open(session, args)?;
    let _lock = IncrementLock::take(&found.file, &found.job.name)?;
    let next = value.map(|value| watermark(&found, value)).transpose()?;
    match (&found.home.kept, &next) {
        (Some(_), next) => keep(&found, next.as_ref())?,
        (None, Some(next)) => found.file.keep(next)?,
        (None, None) => found.file.forget()?,
    }
    print(session, &found, next.as_ref())
}

/// The watermark of a value that a person has given.
fn watermark(found: &Found, text: &str) -> Result<Watermark> {
    let Some(asked) = &found.job.incremental else {
        return Err(backfill::not_incremental(&found.job));
    };
    let same = |name: &str| name.eq_ignore_ascii_case(&asked.column);
    let column = found.home.columns.iter().find(|column| same(&column.name));
    let logical = column.map(|column| column.logical.clone());
    let value = logical.as_ref().and_then(|logical| GrowingValue::read(text, logical));
    let (Some(value), Some(logical)) = (value, &logical) else {
        let of = logical.as_ref().map(ToString::to_string).unwrap_or_default();
        let expected = logical.as_ref().and_then(kind).unwrap_or("a value that grows");
        let message =
            format!("expected {expected} for `{}` (`{of}`), found `{text}`", asked.column);
        return Err(Error::new(Exit::Usage, message).code(code::INCREMENT_VALUE));
    };
    let columns = std::iter::once(&asked.column).chain(&asked.key).cloned().collect();
    let (values, logical) = (vec![value.to_string()], logical.to_string());
    let target = found.home.target.clone();
    Ok(Watermark { columns, logical, values, run: String::new(), target })
}

/// Changes the watermark that the target keeps, by a run without rows: while another run holds the
/// target it is refused.
fn keep(found: &Found, next: Option<&Watermark>) -> Result<()> {
    let mut write = found.home.write.clone();
    let text = next.map(Watermark::text).transpose()?;
    write.watermark = Some(KeepWatermark { forget: text.is_none(), next: text });
    let writer: &dyn Writer = &*found.stores.writer;
    writer.prepare(&write)?;
    match writer.commit(&write, &[])? {
        ChunkOutcome::Committed | ChunkOutcome::AlreadyCommitted => {
            writer.finalise(&write)?;
            Ok(())
        }
        ChunkOutcome::Fenced | ChunkOutcome::Unknown { .. } => {
            let message = "whether the watermark has changed is not known";
            Err(Error::new(Exit::Failed, message).hint("look: transload state show JOB"))
        }
    }
}
