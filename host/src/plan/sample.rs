//! Tries the plan on the first rows of a source that is cheap to open: they are read and converted by
//! the code of a run, and nothing is written. What the target's own constraints refuse beyond that is
//! left to the run.

use std::fmt;

use serde::{Deserialize, Serialize};
use transload_plugin_api::{DirtyRow, SplitAbility, code};

use super::{Mapping, Plan, partitions};
use crate::{Error, Exit, Result, convert::Converter, job::Job, stores::Stores};

/// What the first rows of the source say about the plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Rows read.
    pub(crate) rows: u64,
    /// Rows that a run would refuse.
    pub(crate) refused: u64,
    /// Rows that are refused as a whole, such as those with too many cells: the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broken: Option<String>,
}

/// Sampled rows that are refused because of one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusals {
    /// How many.
    pub(crate) rows: u64,
    /// Of how many.
    pub(crate) of: u64,
    /// The code of the first.
    pub(crate) code: String,
    /// The place of the first, if it is known.
    pub(crate) place: Option<String>,
    /// The value of the first, unless it is NULL.
    pub(crate) value: Option<String>,
    /// Why, in the words of the run.
    pub(crate) reason: String,
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, of, code, place, .. } = self;
        let (row, one) = (if *of == 1 { "row" } else { "rows" }, *rows == 1);
        let why = match (code.as_str(), one) {
            ("length", true) => "is longer",
            ("length", false) => "are longer",
            ("null", true) => "is NULL",
            ("null", false) => "are NULL",
            ("range", true) => "is out of range",
            ("range", false) => "are out of range",
            (_, true) => "does not fit",
            (_, false) => "do not fit",
        };
        write!(f, "{rows} of {of} sampled {row} {why}")?;
        match place {
            Some(place) if one => write!(f, " ({place})"),
            Some(place) => write!(f, " (the first: {place})"),
            None => Ok(()),
        }
    }
}

impl Plan {
    /// Reads the first batch of a source that is made of text, and keeps what it breaks of the plan.
    /// Databases are not sampled: their columns have types, and a query may be expensive. Neither is
    /// a source that can be read only once.
    ///
    /// # Errors
    /// What the run would meet at once: the source cannot be read.
    pub(crate) fn try_sample(&mut self, job: &Job, stores: &Stores) -> Result<()> {
        let first = self.splits.first().filter(|split| split.ability > SplitAbility::Volatile);
        let Some(split) = first.filter(|_| stores.parses_text()) else { return Ok(()) };
        let produced = self.produced();
        let mut task = stores.reader.open(split, &produced, None)?;
        let Some(read) = task.next_batch()? else { return Ok(()) };
        let converted = Converter::new(&produced, &self.write.columns).convert(&read.batch);
        let mut converted = converted.map_err(|error| {
            let message = format!("the sampled batch does not have the plan's columns: {error}");
            Error::new(Exit::Plugin, message).code(code::PLUGIN_CONTRACT)
        })?;
        for row in &mut converted.dirty {
            row.place = read.origin.as_ref().map(|origin| origin.place(row.row));
        }
        let rows = (read.batch.num_rows() + read.dirty.len()) as u64;
        let refused = (read.dirty.len() + converted.dirty.len()) as u64;
        let broken = read.dirty.iter().find(|row| row.column.is_none()).map(in_words);
        let (options, columns) = (&job.writer.options, &self.write.columns);
        self.warnings.extend(partitions::warning(options, columns, &converted.batch));
        self.sample = Some(Sample { rows, refused, broken });
        self.keep_refusals(rows, read.dirty.iter().map(|row| (Side::Source, row)));
        self.keep_refusals(rows, converted.dirty.iter().map(|row| (Side::Target, row)));
        Ok(())
    }

    /// Counts refused rows at their columns.
    fn keep_refusals<'a>(&mut self, of: u64, rows: impl Iterator<Item = (Side, &'a DirtyRow)>) {
        for (side, row) in rows {
            let Some(column) = &row.column else { continue };
            let name = |mapping: &Mapping| match side {
                Side::Source => mapping.source.name == *column,
                Side::Target => mapping.target.name == *column,
            };
            for mapping in self.mapping.iter_mut().filter(|mapping| name(mapping)) {
                match mapping.refused.iter_mut().find(|refused| refused.code == row.code) {
                    Some(refused) => refused.rows += 1,
                    None => mapping.refused.push(Refusals::of(row, of)),
                }
            }
        }
    }
}

impl Refusals {
    fn of(first: &DirtyRow, of: u64) -> Self {
        Self {
            rows: 1,
            of,
            code: first.code.clone(),
            place: first.place.clone(),
            value: first.value.clone(),
            reason: first.reason.clone(),
        }
    }
}

/// By whose name a refused row names its column.
#[derive(Clone, Copy, Debug)]
enum Side {
    Source,
    Target,
}

fn in_words(row: &DirtyRow) -> String {
    match &row.place {
        Some(place) => format!("{place}: {}", row.reason),
        None => row.reason.clone(),
    }
}
