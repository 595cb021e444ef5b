//! The rules for what a writer returns.

use arrow_array::RecordBatch;
use transload_plugin_api::{
    ChunkOutcome, Count, Counters, Error, Finding, Guarantee, LogicalType, Position, Receipt,
    Result, TableInfo, TargetInfo, TaskContext, TaskProgress, TokenTables, WriteDraft,
    WriteModeSpec, WritePlan, WriteTask, Writer, Written, code,
};

use super::{Callee, prose, reader::difference};

/// Longest data of a receipt, in bytes.
const RECEIPT_BYTES: usize = 4 << 10;

/// Makes a writer with the options of the job.
pub(super) type Make = Box<dyn Fn() -> Result<Box<dyn Writer>> + Send + Sync>;

/// A writer whose returns are checked.
pub(super) struct CheckedWriter {
    callee: Callee,
    writer: Box<dyn Writer>,
    /// Makes another one, to clean up behind one that has panicked.
    make: Make,
    /// The write modes that the plugin declares.
    modes: Vec<WriteModeSpec>,
}

impl CheckedWriter {
    pub(super) fn new(
        callee: Callee,
        writer: Box<dyn Writer>,
        make: Make,
        modes: Vec<WriteModeSpec>,
    ) -> Self {
        Self { callee, writer, make, modes }
    }

    /// The plan's columns, and no guarantee above the one that the mode declares.
    fn check_draft(&self, draft: &WriteDraft, plan: &WritePlan) -> Result<()> {
        if let Some(difference) = difference(&plan.columns, &draft.columns) {
            return Err(self.callee.breach("draft", difference));
        }
        let offers = plan.columns.iter().map(|column| &column.native_form);
        for (offer, accepted) in offers.zip(&draft.columns) {
            if let LogicalType::Native(form) = &accepted.logical
                && offer.as_ref() != Some(&**form)
            {
                let name = &accepted.name;
                let rule = format!("column `{name}` is drafted as `{form}`, which was not offered");
                return Err(self.callee.breach("draft", rule));
            }
        }
        let spec = self.modes.iter().find(|spec| spec.mode == plan.mode);
        // What a mode declares, it can do without tokens.
        let of_tokens = plan.tokens.is_some() && draft.guarantee <= Guarantee::EffectivelyOnce;
        let Some(spec) = spec.filter(|spec| draft.guarantee > spec.guarantee && !of_tokens) else {
            return Ok(());
        };
        let rule = format!(
            "the draft claims the guarantee `{}`, the plugin declares `{}` for `{}`",
            draft.guarantee.word(),
            spec.guarantee.word(),
            plan.mode.word()
        );
        Err(self.callee.breach("draft", rule))
    }
}

impl Writer for CheckedWriter {
    fn check(&self) -> Result<Vec<Finding>> {
        let mut findings = self.callee.call("check", || self.writer.check())?;
        prose::findings(&mut findings);
        Ok(findings)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.callee.call("discover", || self.writer.discover())
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let mut target = self.callee.call("inspect", || self.writer.inspect())?;
        if !target.exists && !target.columns.is_empty() {
            let rule = "a target that does not exist has columns";
            return Err(self.callee.breach("inspect", rule));
        }
        prose::texts(&mut target.notes);
        Ok(target)
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        let mut draft = self.callee.call("draft", || self.writer.draft(plan))?;
        self.check_draft(&draft, plan)?;
        draft.because = prose::text(draft.because);
        prose::texts(&mut draft.warnings);
        prose::texts(&mut draft.notes);
        self.callee.name_all("draft", &mut draft.problems);
        for statement in &mut draft.statements {
            statement.text = prose::statement(std::mem::take(&mut statement.text));
        }
        Ok(draft)
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        self.callee.call("prepare", || self.writer.prepare(plan))
    }

    fn open(&self, plan: &WritePlan, context: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let task = self.callee.call("open", || self.writer.open(plan, context))?;
        Ok(Box::new(CheckedWriteTask { callee: self.callee, number: context.task, task }))
    }

    fn commit(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        self.callee.call("commit", || self.writer.commit(plan, receipts)).map(outcome)
    }

    fn abort(&self, plan: &WritePlan, receipts: &[Receipt]) -> Result<()> {
        let aborted = self.callee.call("abort", || self.writer.abort(plan, receipts));
        let Err(error) = aborted else { return Ok(()) };
        if error.code != code::PLUGIN_PANIC && !ends_process(&error) {
            return Err(error);
        }
        // The state of a writer that has panicked is unknown, and one whose process has ended has none:
        // it takes no more calls.
        tracing::info!("cleaning up with another writer: {error}");
        let fresh = self.callee.call("writer", &self.make)?;
        self.callee.call("abort", || fresh.abort(plan, receipts))
    }

    fn finalise(&self, plan: &WritePlan) -> Result<()> {
        self.callee.call("finalise", || self.writer.finalise(plan))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        let mut counts = self.callee.call("counts", || self.writer.counts())?;
        prose::counts(&mut counts);
        Ok(counts)
    }

    fn token_ddl(&self, tables: &TokenTables) -> Result<Vec<String>> {
        self.callee.call("token_ddl", || self.writer.token_ddl(tables))
    }
}

/// A write task whose returns are checked.
struct CheckedWriteTask {
    callee: Callee,
    number: u32,
    task: Box<dyn WriteTask>,
}

impl CheckedWriteTask {
    /// Every row is accounted for once, and dirty rows are rows of the batch, each once, in order.
    fn check_written(&self, rows: u64, written: &Written) -> Result<()> {
        let Written { inserted, updated, skipped, dirty, .. } = written;
        let all = [*inserted, *updated, *skipped, dirty.len() as u64];
        let all = all.into_iter().try_fold(0_u64, |sum, part| sum.checked_add(part));
        if all != Some(rows) {
            return Err(self.miscounted(rows, written));
        }
        let mut next = 0;
        for row in dirty {
            if row.row >= rows || row.row < next {
                let rule = format!(
                    "dirty row {} of a batch of {rows} rows: each must be one of them, in order, \
                     once",
                    row.row
                );
                return Err(self.callee.breach("write", rule));
            }
            next = row.row + 1;
        }
        Ok(())
    }

    fn miscounted(&self, rows: u64, written: &Written) -> Error {
        let Written { inserted, updated, skipped, dirty, .. } = written;
        let rule = format!(
            "the writer took {rows} rows and accounts for {inserted} inserted, {updated} updated, \
             {skipped} skipped and {} dirty",
            dirty.len()
        );
        self.callee.breach("write", rule).with_code(code::RUN_BALANCE)
    }
}

impl WriteTask for CheckedWriteTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        self.callee.call("begin_chunk", || self.task.begin_chunk(sequence))
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let mut written = self.callee.call("write", || self.task.write(batch))?;
        self.check_written(batch.num_rows() as u64, &written)?;
        prose::dirty(&mut written.dirty);
        Ok(written)
    }

    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome> {
        let commit = || self.task.commit_chunk(position, counters);
        self.callee.call("commit_chunk", commit).map(outcome)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        let rolled_back = self.callee.call("rollback_chunk", || self.task.rollback_chunk());
        rolled_back.or_else(over_with_process)
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        let Self { callee, number, task } = *self;
        let receipt = callee.call("finish", || task.finish())?;
        check_receipt(callee, number, &receipt)?;
        Ok(receipt)
    }

    fn abort(self: Box<Self>) -> Result<()> {
        let Self { callee, task, .. } = *self;
        callee.call("abort", || task.abort()).or_else(over_with_process)
    }

    fn progress(&mut self) -> Result<Option<TaskProgress>> {
        self.callee.call("progress", || self.task.progress())
    }
}

/// A task whose process has ended is over: the store has rolled back, and the abort of the job, by another
/// writer, removes what it has staged.
fn over_with_process(error: Error) -> Result<()> {
    if ends_process(&error) { Ok(()) } else { Err(error) }
}

/// Whether the plugin's own process has ended.
fn ends_process(error: &Error) -> bool {
    const ENDS: [&str; 5] = [
        code::PLUGIN_CRASH,
        code::PLUGIN_EXIT,
        code::PLUGIN_MEMORY,
        code::PLUGIN_STALL,
        code::PLUGIN_WORKER,
    ];
    ENDS.contains(&error.code.as_str())
}

/// The receipt of this task, of the length that the contract allows.
fn check_receipt(callee: Callee, number: u32, receipt: &Receipt) -> Result<()> {
    let Receipt { task, data } = receipt;
    if *task != number {
        let rule = format!("the receipt of task {number} is for task {task}");
        return Err(callee.breach("finish", rule));
    }
    if data.len() > RECEIPT_BYTES {
        let bytes = data.len();
        let rule = format!("a receipt has {bytes} bytes, the contract allows {RECEIPT_BYTES}");
        return Err(callee.breach("finish", rule));
    }
    Ok(())
}

/// An outcome with its evidence as a text.
fn outcome(outcome: ChunkOutcome) -> ChunkOutcome {
    match outcome {
        ChunkOutcome::Unknown { evidence } => {
            ChunkOutcome::Unknown { evidence: prose::text(evidence) }
        }
        other => other,
    }
}
