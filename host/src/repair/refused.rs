//! The rows of a run that only its target refused, as the batches that its writer got: what the
//! target lacks for a known reason.

use arrow_array::RecordBatch;
use transload_plugin_api::{Column, schema_of};
use transload_values::{CellWords, ColumnParser};

use super::{
    cell::{Kept, Texts},
    row::{KeptRow, Stage},
    run::KeptRun,
};
use crate::Result;

/// Rows of a batch.
const ROWS: usize = 1_024;

/// Passes the rows that the target of a run refused to `take`, in batches of these columns, which are
/// by the source's names and in the target's types. A row of which a value is not known, because it was
/// cut or redacted or has no text form, is left out.
///
/// # Errors
/// If the run's files cannot be read, and those of `take`.
pub(crate) fn refused_by_target(
    run: &KeptRun,
    columns: &[(&str, &Column)],
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let parser = |(_, column): &(&str, &Column)| {
        let column = Column { nullable: true, ..(*column).clone() };
        ColumnParser::new(&column, &CellWords::default())
    };
    let parsers = columns.iter().map(parser).collect::<transload_plugin_api::Result<Vec<_>>>();
    // A type without a text form: no row can be found by its values.
    let Ok(parsers) = parsers else { return Ok(()) };
    let mut rows = Rows { parsers, texts: Texts::default() };
    let mut outcome = Ok(());
    run.each_row(|_, row| {
        if outcome.is_ok() && row.stage == Stage::Write && !row.cut && !row.redacted {
            rows.add(&row, columns);
            if rows.len() >= ROWS {
                outcome = rows.batch().as_ref().map_or(Ok(()), &mut take);
            }
        }
    })?;
    outcome?;
    rows.batch().as_ref().map_or(Ok(()), take)
}

struct Rows {
    parsers: Vec<ColumnParser>,
    texts: Texts,
}

impl Rows {
    fn len(&self) -> usize {
        self.parsers.first().map_or(0, ColumnParser::len)
    }

    /// Adds a row, or nothing.
    fn add(&mut self, row: &KeptRow, columns: &[(&str, &Column)]) {
        let before = self.len();
        let cells = self.parsers.iter_mut().zip(columns);
        let added = cells.map(|(parser, (name, column))| {
            let value = row.row.as_ref()?.get(name)?;
            let kept = Kept { value, stage: row.stage, column };
            match self.texts.text(&kept).ok()? {
                None => parser.push_null(),
                Some(text) => parser.append_text(text.as_bytes()).ok()?,
            }
            Some(())
        });
        if added.collect::<Option<()>>().is_none() {
            self.parsers.iter_mut().for_each(|parser| parser.truncate_to(before));
        }
    }

    /// The rows so far; `None` if there are none.
    fn batch(&mut self) -> Option<RecordBatch> {
        if self.len() == 0 {
            return None;
        }
        let columns: Vec<_> = self.parsers.iter().map(|parser| parser.column().clone()).collect();
        let arrays = self.parsers.iter_mut().map(ColumnParser::finish).collect();
        RecordBatch::try_new(schema_of(&columns), arrays).ok()
    }
}
