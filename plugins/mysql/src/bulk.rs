//! LOAD DATA LOCAL from memory. One statement stays open over a chunk's batches, so that the server
//! works while the next rows are encoded. The server's warnings do not identify rows reliably:
//! after a warning or a missing row, the whole chunk is rolled back, and is then written again
//! batch by batch, each within a savepoint.

use arrow_array::RecordBatch;
use transload_plugin_api::{DirtyRow, Error, Result, WritePlan, code};
use transload_tables::BulkLoadPolicy;

use crate::{
    answer::Done,
    dialect::quoted,
    failure::{Failure, fault_of},
    rows::RowEncoder,
    rule::Rule,
    session::Session,
};

/// Loads the rows of one task.
pub(crate) struct Bulk {
    sql: String,
    /// Number of rows sent into the open statement, if there is one.
    sent: Option<u64>,
    /// Whether chunks are loaded batch by batch.
    policy: BulkLoadPolicy,
}

/// The outcome of a batch.
pub(crate) enum Sent {
    /// This many rows are loaded, or sent.
    Rows(u64),
    /// No row is loaded: the server refused or changed some row.
    Doubted,
    /// No row is loaded: the server or a proxy does not allow LOAD DATA LOCAL.
    Forbidden,
}

impl Bulk {
    pub(crate) fn new(sql: String) -> Self {
        Self { sql, sent: None, policy: BulkLoadPolicy::default() }
    }

    /// Sends a batch. Its rows count as loaded, but only [`Bulk::finish_chunk`] verifies it.
    pub(crate) fn write(
        &mut self,
        session: &mut Session,
        encoder: &mut RowEncoder,
        batch: &RecordBatch,
        dirty: &mut Vec<DirtyRow>,
    ) -> Result<Sent> {
        if self.policy.is_careful() {
            return self.write_alone(session, encoder, batch, dirty);
        }
        if self.sent.is_none() && !self.begin(session)? {
            return Ok(Sent::Forbidden);
        }
        let rows = encoder.lines(batch, dirty, |lines| send(session, lines))?;
        self.sent = self.sent.map(|sent| sent + rows);
        Ok(Sent::Rows(rows))
    }

    /// Loads a batch with its own statement, and rolls that back if any row is in doubt.
    fn write_alone(
        &mut self,
        session: &mut Session,
        encoder: &mut RowEncoder,
        batch: &RecordBatch,
        dirty: &mut Vec<DirtyRow>,
    ) -> Result<Sent> {
        session.run("set a savepoint", SAVEPOINT)?;
        if !self.begin(session)? {
            return Ok(Sent::Forbidden);
        }
        let rows = encoder.lines(batch, dirty, |lines| send(session, lines))?;
        self.sent = None;
        if is_whole(session.end_load(), rows, session)? {
            return Ok(Sent::Rows(rows));
        }
        session.run("roll a bulk load back", BACK)?;
        Ok(Sent::Doubted)
    }

    fn begin(&mut self, session: &mut Session) -> Result<bool> {
        match session.begin_load(&self.sql) {
            Ok(()) => {
                self.sent = Some(0);
                Ok(true)
            }
            Err(Failure::Server(error)) if matches!(error.number, 1148 | 3948 | 4166) => Ok(false),
            Err(failure) => Err(failed(failure, session)),
        }
    }

    /// Ends the open statement. An error of kind `Retry` means that the server refused or changed
    /// some row: the chunk must be rolled back and written again.
    pub(crate) fn finish_chunk(&mut self, session: &mut Session) -> Result<()> {
        let Some(sent) = self.sent.take() else {
            if self.policy.is_careful() {
                self.policy.passed();
            }
            return Ok(());
        };
        if is_whole(session.end_load(), sent, session)? {
            self.policy.passed();
            return Ok(());
        }
        self.policy.refused();
        let message = "the server refused or changed rows of a bulk load";
        Err(Error::retry(message).with_code(code::MYSQL_BULK))
    }

    /// Ends the open statement, if one is open, before a rollback.
    pub(crate) fn give_up(&mut self, session: &mut Session) {
        if self.sent.take().is_some() {
            // Whatever it did is rolled back.
            let _ = session.end_load();
        }
    }
}

fn send(session: &mut Session, lines: &[u8]) -> Result<()> {
    session.send_load(lines).map_err(|failure| failed(failure, session))
}

fn failed(failure: Failure, session: &Session) -> Error {
    failure.into_error("load rows", &session.cancel)
}

/// Whether the server loaded every row exactly as it was sent.
fn is_whole(done: Result<Done, Failure>, rows: u64, session: &Session) -> Result<bool> {
    match done {
        Ok(done) => Ok(done.warnings == 0 && done.affected == rows),
        Err(Failure::Server(error)) if fault_of(&error).is_some() => Ok(false),
        Err(failure) => Err(failed(failure, session)),
    }
}

pub(crate) const SAVEPOINT: &str = "SAVEPOINT transload";
pub(crate) const BACK: &str = "ROLLBACK TO SAVEPOINT transload";

/// LOAD DATA for lines in the format of `rows`. The file's name has no meaning.
pub(crate) fn load_statement(
    table: &str,
    plan: &WritePlan,
    rules: &[Rule],
    mark: Option<(&str, u32)>,
) -> String {
    let (mut fields, mut sets) = (Vec::new(), Vec::new());
    for (at, (column, rule)) in plan.columns.iter().zip(rules).enumerate() {
        let name = quoted(&column.name);
        if rule.hex {
            fields.push(format!("@v{at}"));
            sets.push(format!("{name} = UNHEX(@v{at})"));
        } else {
            fields.push(name);
        }
    }
    sets.extend(mark.map(|(name, task)| format!("{} = {task}", quoted(name))));
    let sets = match sets.is_empty() {
        true => String::new(),
        false => format!(" SET {}", sets.join(", ")),
    };
    format!(
        "LOAD DATA LOCAL INFILE 'transload' INTO TABLE {table} CHARACTER SET utf8mb4 FIELDS \
         TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){sets}",
        fields.join(", ")
    )
}
