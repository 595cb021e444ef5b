//! The dirty rows of a run as a file for an editor: in the form of their source, each record behind
//! the id of its row. What cannot be exported is named.

use std::io::{self, Write};

use super::{
    form::Form,
    row::{KeptRow, RowId},
    run::KeptRun,
};
use crate::{Error, Exit, Result};

/// Which rows are exported.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only rows with an error of one of these codes.
    pub(crate) codes: Vec<String>,
    /// Only rows with an error in one of these columns.
    pub(crate) columns: Vec<String>,
}

impl Filter {
    fn takes(&self, row: &KeptRow) -> bool {
        let named =
            |list: &[String], name: &str| list.is_empty() || list.iter().any(|it| it == name);
        row.errors.iter().any(|error| {
            let column = error.column.as_deref().unwrap_or_default();
            named(&self.codes, &error.code) && named(&self.columns, column)
        })
    }
}

/// What was exported.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    pub(crate) rows: u64,
    /// Rows that could not be: where each is, and why.
    pub(crate) left_out: Vec<String>,
}

/// Writes the rows that the filter takes to `out`, a header before the first one. `skip` leaves rows
/// out without a word.
///
/// # Errors
/// If the run's files cannot be read, or `out` cannot be written.
pub(crate) fn export(
    run: &KeptRun,
    form: &Form,
    filter: &Filter,
    skip: impl Fn(RowId) -> bool,
    out: &mut impl Write,
) -> Result<Exported> {
    let mut exported = Exported::default();
    let mut written: io::Result<()> = Ok(());
    let mark = run.mark();
    run.each_row(|id, row| {
        if written.is_err() || skip(id) || !filter.takes(&row) {
            return;
        }
        match form.record(&id.marked(mark), &row) {
            Ok(record) => {
                let header = form.header().filter(|_| exported.rows == 0).unwrap_or_default();
                written = out.write_all(&header).and_then(|()| out.write_all(&record));
                exported.rows += 1;
            }
            Err(reason) => {
                let place = row.place.unwrap_or_else(|| format!("row {id}"));
                exported.left_out.push(format!("{place}: {reason}"));
            }
        }
    })?;
    written.and_then(|()| out.flush()).map_err(|error| {
        Error::new(Exit::Failed, format!("cannot write the exported rows: {error}"))
    })?;
    Ok(exported)
}
