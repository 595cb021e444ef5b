//! The range of an incremental run: asked for with the watermark as its lower end, found by the reader,
//! kept in the plan with the watermark that follows. Reading it is the reader's matter.

use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    Column, FoundIncrement, Guarantee, Increment, KeptWatermark, LogicalType, Split, WriteMode,
    code,
};

use super::{GrowingValue, Watermark, WatermarkFile, kind};
use crate::{
    Error, Exit, Result,
    job::{Incremental, Job, OnNull},
};

/// Which rows a run of an incremental job is about.
#[derive(Clone, Debug, Default)]
pub(crate) enum Scope {
    /// It is one of several runs of a job, for which no watermark is kept.
    #[default]
    Unknown,
    /// Those behind the watermark of this file, unless the target keeps one.
    New(WatermarkFile),
    /// Those from one value to before another: a step of a backfill, which leaves the watermark alone.
    Step { from: String, to: String },
}

/// The increment of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedIncrement {
    /// The column that grows, and those that order rows of the same value.
    pub(crate) columns: Vec<String>,
    /// The watermark before the run; none before the first one.
    pub(crate) before: Option<Watermark>,
    /// Where the range begins, in words: `> 2026-11-20`.
    pub(crate) from: Option<String>,
    /// Where it ends, in words: `<= 2026-11-21`; none if no row is new.
    pub(crate) to: Option<String>,
    /// The watermark after the run; none if it stays.
    pub(crate) after: Option<Watermark>,
    /// Rows without a value in the column.
    pub(crate) nulls: u64,
    /// What is done with them.
    pub(crate) on_null: OnNull,
    /// The table that keeps the watermark, if the target does.
    pub(crate) table: Option<String>,
    /// The file that keeps it, if the target does not.
    pub(crate) file: Option<WatermarkFile>,
    /// It is a step of a backfill.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_step: bool,
}

/// What a plan asks the reader for.
pub(crate) struct Asked {
    pub(crate) increment: Increment,
    planned: PlannedIncrement,
    logical: LogicalType,
}

/// What a job asks the reader for; `kept` is what the target has, if it keeps the watermark.
///
/// # Errors
/// If the column cannot grow, or if the watermark is of another column, type or target.
pub(crate) fn ask(
    job: &Job,
    asked: &Incremental,
    source: &[Column],
    target: &str,
    kept: Option<&KeptWatermark>,
) -> Result<Asked> {
    if matches!(job.scope, Scope::Unknown) {
        let message = "a job of many tables is not incremental";
        return Err(Error::new(Exit::Usage, message)
            .code(code::INCREMENT_MODE)
            .of_key("incremental.column")
            .hint("write a job for each of its tables that grow: `transload new FROM TO`"));
    }
    let logical = column_type(asked, source)?;
    let columns: Vec<_> = std::iter::once(&asked.column).chain(&asked.key).cloned().collect();
    let mut planned = PlannedIncrement {
        columns: columns.clone(),
        before: None,
        from: None,
        to: None,
        after: None,
        nulls: 0,
        on_null: asked.on_null,
        table: kept.map(|kept| kept.table.clone()),
        file: None,
        is_step: false,
    };
    let mut increment = Increment { key: columns, ..Increment::default() };
    if let Scope::Step { from, to } = &job.scope {
        let [from, to] = [("--from", from), ("--to", to)]
            .map(|(flag, text)| value(text, &logical, flag).map(|value| (value, value.before())));
        let ((from, after), (to, up_to)) = (from?, to?);
        planned.is_step = true;
        planned.from = Some(format!(">= {from}"));
        planned.to = Some(format!("< {to}"));
        increment.after = after.map(|value| vec![value.to_string()]);
        increment.up_to = up_to.map(|value| vec![value.to_string()]);
        return Ok(Asked { increment, planned, logical });
    }
    let before = match (kept, &job.scope) {
        (Some(KeptWatermark { value: Some(text), table }), _) => {
            Some(Watermark::read(text, table)?)
        }
        (None, Scope::New(file)) => {
            planned.file = Some(file.clone());
            file.read()?
        }
        _ => None,
    };
    if let Some(before) = &before {
        check_same(job, before, &planned.columns, &logical, target)?;
    }
    increment.nulls = asked.on_null == OnNull::Load;
    (increment.after, planned.from) = lower_end(asked, before.as_ref(), &logical)?;
    planned.before = before;
    Ok(Asked { increment, planned, logical })
}

/// The type of the column.
fn column_type(asked: &Incremental, source: &[Column]) -> Result<LogicalType> {
    let Incremental { column, .. } = asked;
    let found = source.iter().find(|known| known.name.eq_ignore_ascii_case(column));
    let Some(found) = found else {
        let names: Vec<_> = source.iter().map(|it| format!("`{}`", it.name)).collect();
        return Err(Error::new(Exit::Schema, format!("the source has no column `{column}`"))
            .code(code::PLAN_COLUMN)
            .of_key("incremental.column")
            .hint(format!("it has {}", names.join(", "))));
    };
    if kind(&found.logical).is_none() {
        let message = format!("`{column}` is `{}`, whose values do not grow", found.logical);
        return Err(Error::new(Exit::Schema, message)
            .code(code::INCREMENT_COLUMN)
            .of_key("incremental.column")
            .hint("name a column of whole numbers, dates or timestamps"));
    }
    Ok(found.logical.clone())
}

/// A value that a person has given.
fn value(text: &str, logical: &LogicalType, key: &str) -> Result<GrowingValue> {
    GrowingValue::read(text, logical).ok_or_else(|| {
        let expected = kind(logical).unwrap_or_default();
        let message = format!("expected {expected} for `{logical}`, found `{text}`");
        let error = Error::new(Exit::Usage, message).code(code::INCREMENT_VALUE);
        if key.starts_with("--") { error.at(key.to_owned()) } else { error.of_key(key.to_owned()) }
    })
}

/// The values behind which the range begins, and what that is in words.
type LowerEnd = (Option<Vec<String>>, Option<String>);

fn lower_end(
    asked: &Incremental,
    before: Option<&Watermark>,
    logical: &LogicalType,
) -> Result<LowerEnd> {
    let at = |value: GrowingValue| {
        let after = value.before().map(|value| vec![value.to_string()]);
        (after, Some(format!(">= {value}")))
    };
    let Some(before) = before else {
        let start = asked.start.as_deref();
        let start = start.map(|text| value(text, logical, "incremental.start")).transpose()?;
        return Ok(start.map_or((None, None), at));
    };
    let Some(lookback) = asked.lookback else {
        return Ok((Some(before.values.clone()), Some(format!("> {}", before.shown()))));
    };
    let last = value(&before.values[0], logical, "incremental.column")?;
    let first = last.less(lookback).ok_or_else(|| {
        let message = format!("this `lookback` is none of a column of type `{logical}`");
        Error::new(Exit::Usage, message)
            .code(code::INCREMENT_VALUE)
            .of_key("incremental.lookback")
            .hint(
                "write `lookback = \"10 min\"` for times and dates, `lookback = 1000` for numbers",
            )
    })?;
    Ok(at(first))
}

/// # Errors
/// If the watermark is of another column, type or target.
fn check_same(
    job: &Job,
    before: &Watermark,
    columns: &[String],
    logical: &LogicalType,
    target: &str,
) -> Result<()> {
    let is_same = before.columns.first() == columns.first() && before.values.len() <= columns.len();
    let is_read =
        before.values.first().is_some_and(|text| GrowingValue::read(text, logical).is_some());
    // A table that did not exist yet had no schema.
    let is_of = |one: &str, other: &str| one == other || one.ends_with(&format!(".{other}"));
    let what = if !is_of(&before.target, target) && !is_of(target, &before.target) {
        format!("its watermark is of the target `{}`", before.target)
    } else if !is_same {
        format!("its watermark is of `{}`", before.columns.join("`, `"))
    } else if !is_read {
        format!("its watermark, {}, is of the type `{}`", before.shown(), before.logical)
    } else {
        return Ok(());
    };
    let file = job.inputs.file.display();
    Err(Error::new(Exit::Usage, format!("the job has changed: {what}"))
        .code(code::WATERMARK_UNFIT)
        .of_key("incremental.column")
        .hint(format!(
            "begin anew: transload state reset {file}; or say where: transload state set {file} VALUE"
        )))
}

impl Asked {
    /// The increment of the plan, by what the reader has found.
    ///
    /// # Errors
    /// If the reader cannot read increments, or if rows have no value and the job does not allow it.
    pub(crate) fn found(
        self,
        job: &Job,
        splits: &[Split],
        target: &str,
        run: &str,
    ) -> Result<PlannedIncrement> {
        let Self { mut planned, logical, .. } = self;
        let Some(found) = splits.first().and_then(|split| split.increment.as_ref()) else {
            let message = format!("plugin `{}` reads no increments", job.reader.plugin);
            return Err(Error::new(Exit::Usage, message)
                .code(code::INCREMENT_READER)
                .of_key("incremental.column")
                .hint(
                    "`where` with parameters reads a part of the source: see docs/increments.md",
                ));
        };
        if planned.is_step {
            return Ok(planned);
        }
        planned.nulls = found.nulls;
        if found.nulls > 0 && planned.on_null == OnNull::Fail {
            return Err(without_value(&planned.columns[0], found.nulls));
        }
        let Some(values) = next_values(&planned, found, &logical)? else { return Ok(planned) };
        planned.to = Some(format!("<= {}", values.join(", ")));
        let (columns, logical) = (planned.columns.clone(), logical.to_string());
        let (run, target) = (run.to_owned(), target.to_owned());
        let next = Watermark { columns, logical, values, run, target };
        let stays = planned.before.as_ref().is_some_and(|before| before.values == next.values);
        planned.after = Some(next).filter(|_| !stays);
        Ok(planned)
    }
}

/// The values of the watermark after the run; none if no row is in the range. It never goes back: the
/// last rows may have been removed from the source.
fn next_values(
    planned: &PlannedIncrement,
    found: &FoundIncrement,
    logical: &LogicalType,
) -> Result<Option<Vec<String>>> {
    let Some(mut values) = found.up_to.clone() else { return Ok(None) };
    let Some(highest) = GrowingValue::read(&values[0], logical) else {
        let column = &planned.columns[0];
        let message = format!("the greatest value of `{column}`, `{}`, is no watermark", values[0]);
        return Err(Error::new(Exit::Schema, message)
            .code(code::INCREMENT_VALUE)
            .of_key("incremental.column")
            .hint(format!(
                "leave such rows out by `where`, or correct them: no value of `{column}` is greater"
            )));
    };
    values[0] = highest.to_string();
    let Some(before) = &planned.before else { return Ok(Some(values)) };
    let last = GrowingValue::read(&before.values[0], logical);
    let is_behind = last.is_some_and(|last| highest > last);
    let is_tie =
        last == Some(highest) && planned.from.as_ref().is_some_and(|it| it.starts_with("> "));
    Ok(Some(if is_behind || is_tie { values } else { before.values.clone() }))
}

fn without_value(column: &str, rows: u64) -> Error {
    let rows = match rows {
        1 => "1 row has".to_owned(),
        rows => format!("{} rows have", crate::report::grouped(rows)),
    };
    let message = format!("{rows} no value in `{column}`, so no run would read them");
    Error::new(Exit::Schema, message).code(code::INCREMENT_NULL).of_key("incremental.column").hint(
        "`on_null = \"load\"` in [incremental] reads them with every run, `\"skip\"` leaves them \
             out and counts them",
    )
}

/// # Errors
/// If rows that are read twice would be in the target twice, or if a run would replace the rows of the
/// runs before it.
pub(crate) fn check_mode(job: &Job) -> Result<()> {
    let Some(asked) = &job.incremental else { return Ok(()) };
    let mode = job.writer.write_mode;
    let refuse = |message: String, hint: &str| {
        Err(Error::new(Exit::Usage, message)
            .code(code::INCREMENT_MODE)
            .of_key("writer.write_mode")
            .hint(hint))
    };
    let keyed = "set `write_mode = \"upsert\"` and `key`";
    let again = match (mode, asked.lookback, asked.on_null, &job.scope) {
        (WriteMode::Overwrite, ..) => {
            let message = "`overwrite` would remove the rows of earlier increments".to_owned();
            return refuse(message, "set `write_mode = \"upsert\"` and `key`, or `\"insert\"`");
        }
        (WriteMode::Insert, _, _, Scope::Step { .. }) => "a backfill",
        (WriteMode::Insert, Some(_), ..) => "`lookback`",
        (WriteMode::Insert, _, OnNull::Load, _) => "`on_null = \"load\"`",
        _ => return Ok(()),
    };
    refuse(format!("{again} reads rows again, and `insert` would add them a second time"), keyed)
}

/// # Errors
/// If a run that ends early and is begun again would add rows a second time.
pub(crate) fn check_insert(job: &Job, guarantee: Guarantee) -> Result<()> {
    let is_insert = job.writer.write_mode == WriteMode::Insert;
    if job.incremental.is_none() || !is_insert || guarantee >= Guarantee::EffectivelyOnce {
        return Ok(());
    }
    let message = format!(
        "an increment that is inserted needs `effectively-once`, the plan reaches `{}`: a run that \
         ends early would add its rows a second time",
        guarantee.word()
    );
    Err(Error::new(Exit::Usage, message)
        .code(code::INCREMENT_MODE)
        .of_key("writer.write_mode")
        .hint("set `require = \"effectively-once\"` in [guarantee], or `write_mode = \"upsert\"`"))
}

/// The watermark that the writer keeps.
///
/// # Errors
/// If it cannot be written as text.
pub(crate) fn next(planned: &PlannedIncrement) -> Result<Option<String>> {
    let after = planned.after.as_ref().filter(|_| planned.table.is_some());
    after.map(Watermark::text).transpose()
}
