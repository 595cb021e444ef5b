//! The writing side of the job: inspecting the target, drafting a plan, and the commit. The chunks
//! of one task are written in `task`.

mod task;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use serde::Serialize;
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Error, Finding, Guarantee, Host, Options, Receipt, Result,
    Statement, TableInfo, TargetInfo, TaskContext, WriteDraft, WriteMode, WritePlan, WriteTask,
    Writer,
};

use self::task::GeneratorTask;
use crate::{
    options::WriterOptions,
    table::{self, SharedTable, Tally},
};

/// A target that keeps fingerprints of rows.
pub(crate) struct GeneratorWriter {
    options: Arc<WriterOptions>,
    target: TargetInfo,
    table: SharedTable,
    cancel: Cancel,
    /// Whether `retry_at` has been triggered.
    retried: Arc<AtomicBool>,
}

impl GeneratorWriter {
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let options = WriterOptions::parse(options)?;
        let columns = options.target_columns()?;
        let target = TargetInfo {
            name: options.table.clone().unwrap_or_else(|| "generator".to_owned()),
            exists: true,
            keys: options.target_keys(&columns)?,
            columns,
            ..TargetInfo::default()
        };
        Ok(Self {
            table: table::named(options.table.as_deref()),
            target,
            cancel: host.cancel().clone(),
            options: Arc::new(options),
            retried: Arc::default(),
        })
    }

    /// Whether rows are kept by key.
    fn keyed(&self, plan: &WritePlan) -> bool {
        self.options.key_dedup && !plan.key.is_empty()
    }

    fn check_mode(&self, plan: &WritePlan) -> Result<()> {
        let needs_key =
            matches!(plan.mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace);
        if !needs_key || self.keyed(plan) {
            return Ok(());
        }
        let message = format!("the write mode `{}` needs keys", plan.mode.word());
        Err(Error::schema(message).hint("set `key_dedup = true` and give the job a `key`"))
    }

    /// The target's column with that name, or the plan's own if the target accepts any column.
    fn target_column(&self, planned: &Column) -> Result<Column> {
        if self.target.columns.is_empty() {
            return Ok(planned.clone());
        }
        let column = self.target.columns.iter().find(|column| column.name == planned.name);
        column.cloned().ok_or_else(|| {
            let message = format!("the target has no column `{}`", planned.name);
            Error::schema(message)
        })
    }

    fn report(&self, plan: &WritePlan, path: &Path) -> Result<()> {
        let table = self.table.lock();
        let report = Report { run: &plan.run, chunks: table.chunks, tally: table.tally() };
        let text =
            serde_json::to_vec_pretty(&report).map_err(|error| Error::defect(error.to_string()))?;
        // A process that waits for the file finds all of it or nothing.
        let unfinished = path.with_extension("unfinished");
        let place = |error: std::io::Error| Error::from(error).at(path.display().to_string());
        std::fs::write(&unfinished, text).map_err(place)?;
        std::fs::rename(&unfinished, path).map_err(place)
    }
}

/// The report file: the content of the table after the run.
#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    chunks: u64,
    #[serde(flatten)]
    tally: Tally,
}

impl Writer for GeneratorWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let detail = format!("`{}` is kept in memory", self.target.name);
        Ok(vec![Finding { stage: "options".to_owned(), ok: true, detail }])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        let info = |(name, rows)| TableInfo { rows: Some(rows), ..TableInfo::new(name, "memory") };
        Ok(table::all().into_iter().map(info).collect())
    }

    fn inspect(&self) -> Result<TargetInfo> {
        Ok(self.target.clone())
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        self.check_mode(plan)?;
        key_indices(plan)?;
        update_indices(plan)?;
        if plan.create_table || !plan.before.is_empty() || !plan.after.is_empty() {
            let message = "the generator does not create tables or run statements";
            return Err(Error::unsupported(message));
        }
        let overwrites = plan.mode == WriteMode::Overwrite;
        let clears = || Statement {
            text: format!("replace all rows of `{}`", self.target.name),
            destructive: true,
        };
        Ok(WriteDraft {
            columns: plan.columns.iter().map(|it| self.target_column(it)).collect::<Result<_>>()?,
            statements: overwrites.then(clears).into_iter().collect(),
            guarantee: match plan.mode {
                WriteMode::Overwrite => Guarantee::AtomicJob,
                _ if self.keyed(plan) => Guarantee::Convergent,
                _ => Guarantee::AtLeastOnce,
            },
            because: "the rows are in memory, without a record of progress".to_owned(),
            ..WriteDraft::default()
        })
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.check_mode(plan)?;
        self.table.lock().content(plan);
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        self.check_mode(plan)?;
        let mut table = self.table.lock();
        let epoch = table.epochs.entry((plan.run.clone(), task.task)).or_default();
        *epoch = task.epoch.max(*epoch);
        drop(table);
        let key = if self.keyed(plan) { key_indices(plan)? } else { Vec::new() };
        Ok(Box::new(GeneratorTask {
            key,
            replaces: update_indices(plan)?,
            plan: plan.clone(),
            context: *task,
            options: Arc::clone(&self.options),
            table: Arc::clone(&self.table),
            cancel: self.cancel.clone(),
            retried: Arc::clone(&self.retried),
            chunk: None,
            rows: 0,
            chunks: 0,
        }))
    }

    fn commit(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<ChunkOutcome> {
        {
            let mut table = self.table.lock();
            if table.finished.contains(&plan.run) {
                return Ok(ChunkOutcome::AlreadyCommitted);
            }
            table.publish(plan);
            table.finished.insert(plan.run.clone());
            tracing::debug!(table = self.target.name, chunks = table.chunks, "run committed");
        }
        if let Some(path) = &self.options.report {
            self.report(plan, path)?;
        }
        Ok(ChunkOutcome::Committed)
    }

    fn abort(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        self.table.lock().drop_stage(&plan.run);
        Ok(())
    }

    fn finalise(&self, _plan: &WritePlan) -> Result<()> {
        Ok(()) // a commit leaves nothing behind
    }
}

fn index_of(plan: &WritePlan, name: &str) -> Result<usize> {
    plan.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let message = format!("the plan has no column `{name}`");
        Error::schema(message)
    })
}

fn key_indices(plan: &WritePlan) -> Result<Vec<usize>> {
    plan.key.iter().map(|name| index_of(plan, name)).collect()
}

/// The columns that a row replaces in the row with its key: an upsert's `update_columns` (by
/// default all columns outside the key), otherwise all.
fn update_indices(plan: &WritePlan) -> Result<Vec<usize>> {
    if plan.mode != WriteMode::Upsert {
        return Ok((0..plan.columns.len()).collect());
    }
    if !plan.update_columns.is_empty() {
        return plan.update_columns.iter().map(|name| index_of(plan, name)).collect();
    }
    let not_key = |index: &usize| !plan.key.contains(&plan.columns[*index].name);
    Ok((0..plan.columns.len()).filter(not_key).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use transload_plugin_api::LogicalType;

    use super::*;
    use transload_plugin_api::ErrorKind;

    fn writer(values: Value) -> GeneratorWriter {
        let Value::Object(values) = values else { panic!("an object") };
        GeneratorWriter::new(&Options { values, ..Options::default() }, &Host::detached()).unwrap()
    }

    fn plan(mode: WriteMode) -> WritePlan {
        let columns = vec![Column::new("id", LogicalType::Int64, false)];
        WritePlan { columns, mode, key: vec!["id".to_owned()], ..WritePlan::default() }
    }

    #[test]
    fn t44_modes_that_need_a_key_are_refused_without() {
        for mode in [WriteMode::Ignore, WriteMode::Upsert, WriteMode::Replace] {
            assert!(writer(json!({"key_dedup": true})).draft(&plan(mode)).is_ok());
            let error = writer(json!({})).draft(&plan(mode)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Schema);
            let keyless = WritePlan { key: Vec::new(), ..plan(mode) };
            assert!(writer(json!({"key_dedup": true})).draft(&keyless).is_err());
        }
    }

    #[test]
    fn a_target_with_columns_takes_no_others() {
        let writer = writer(json!({"columns": {"id": "int32 not null"}, "primary_key": ["id"]}));
        let draft = writer.draft(&plan(WriteMode::Insert)).unwrap();
        assert_eq!(draft.columns[0].logical, LogicalType::Int32);
        let mut other = plan(WriteMode::Insert);
        other.columns.push(Column::new("more", LogicalType::TEXT, true));
        assert_eq!(writer.draft(&other).unwrap_err().kind, ErrorKind::Schema);
    }

    #[test]
    fn what_the_generator_cannot_do_is_refused() {
        let writer = writer(json!({}));
        let insert = || plan(WriteMode::Insert);
        let statement = vec!["DELETE".to_owned()];
        for plan in [
            WritePlan { create_table: true, ..insert() },
            WritePlan { before: statement.clone(), ..insert() },
            WritePlan { after: statement, ..insert() },
        ] {
            assert_eq!(writer.draft(&plan).unwrap_err().kind, ErrorKind::Unsupported);
        }
        let unknown = WritePlan { key: vec!["no".to_owned()], ..insert() };
        assert_eq!(writer.draft(&unknown).unwrap_err().kind, ErrorKind::Schema);
    }

    #[test]
    fn an_overwrite_says_that_it_destroys() {
        let statements = writer(json!({})).draft(&plan(WriteMode::Overwrite)).unwrap().statements;
        assert!(statements.iter().any(|statement| statement.destructive));
    }
}
