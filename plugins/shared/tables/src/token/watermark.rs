//! The watermark of an incremental job, in a table of its own beside the tokens: one row for each job
//! and target. It changes in the transaction in which the run's row says that the run has ended.

use transload_plugin_api::{Error, KeepWatermark, KeptWatermark, Result, failpoint};

use super::{Phase, RunToken, Tokens};
use crate::Session;

const DOING: &str = "keep the watermark";
const LOOKING: &str = "look at the watermark";

impl Tokens {
    /// What creates the table.
    pub(crate) fn watermark_ddl(&self) -> String {
        let options = self.dialect.table_options();
        format!(
            "CREATE TABLE {} (job VARCHAR(255) NOT NULL, target VARCHAR(255) NOT NULL, \
             value VARCHAR({}), run_id VARCHAR(64) NOT NULL, \
             changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (job, target)){options}",
            self.watermark_table(),
            KeepWatermark::MAX_BYTES
        )
    }

    fn watermark_table(&self) -> String {
        self.dialect.quoted_table(&self.watermark)
    }

    fn of_job(&self, job: &str, target: &str) -> String {
        format!("job = {} AND target = {}", self.text(job), self.text(target))
    }

    /// The watermark of a job; the table exists.
    pub(crate) fn kept<S: Session>(
        &self,
        session: &mut S,
        job: &str,
        target: &str,
    ) -> Result<KeptWatermark> {
        let (table, of_job) = (self.watermark_table(), self.of_job(job, target));
        let rows = session.rows(LOOKING, &format!("SELECT value FROM {table} WHERE {of_job}"))?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        Ok(KeptWatermark { table: self.dialect.shown(&self.watermark), value })
    }

    /// That no run has kept a watermark.
    pub(crate) fn without_watermark(&self) -> KeptWatermark {
        KeptWatermark { table: self.dialect.shown(&self.watermark), value: None }
    }

    /// Makes the job's row if it has none, so that the end of the run only changes it.
    pub(crate) fn make_watermark<S: Session>(
        &self,
        session: &mut S,
        job: &str,
        target: &str,
    ) -> Result<()> {
        let (table, of_job) = (self.watermark_table(), self.of_job(job, target));
        let found = session.rows(LOOKING, &format!("SELECT job FROM {table} WHERE {of_job}"))?;
        if !found.is_empty() {
            return Ok(());
        }
        let [job, target] = [job, target].map(|text| self.text(text));
        let sql = format!("INSERT INTO {table} (job, target, run_id) VALUES ({job}, {target}, '')");
        session.change(DOING, &sql).map(drop)
    }
}

impl RunToken {
    /// Ends the run and changes the watermark, both or neither. Changes nothing if that is done.
    ///
    /// # Errors
    /// As [`RunToken::advance`].
    pub(crate) fn end_with_watermark<S: Session>(
        &mut self,
        session: &mut S,
        keep: &KeepWatermark,
        job: &str,
        target: &str,
    ) -> Result<()> {
        if keep.next.is_none() && !keep.forget {
            return self.advance(session, Phase::Done);
        }
        let value = match &keep.next {
            Some(value) if value.len() > KeepWatermark::MAX_BYTES => {
                let message = format!("the watermark has {} bytes", value.len());
                return Err(Error::unsupported(message).hint("name shorter columns in `key`"));
            }
            Some(value) => self.tokens.dialect.text(value),
            None => "NULL".to_owned(),
        };
        let tokens = &self.tokens;
        // Only while the run's row is this process's own: a run that another one has ended or taken
        // over changes nothing more.
        let set = format!(
            "UPDATE {} SET value = {value}, run_id = {}, changed = CURRENT_TIMESTAMP WHERE {} AND \
             EXISTS (SELECT 1 FROM {} WHERE {} AND epoch = {})",
            tokens.watermark_table(),
            tokens.text(&tokens.id),
            tokens.of_job(job, target),
            tokens.run_table(),
            tokens.of_run(),
            self.epoch
        );
        failpoint("K15");
        session.run_noted(DOING, &set, &self.note(Phase::Done))?;
        // Whether the row is this process's own is seen by the row that is there now.
        self.advance(session, Phase::Done)
    }
}

/// The columns that the table needs, and its key.
pub(super) const COLUMNS: &[&str] = &["job", "target", "value", "run_id", "changed"];
pub(super) const KEYS: &[&[&str]] = &[&["job", "target"]];
