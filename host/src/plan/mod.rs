//! HOW IT WILL BE DONE: everything that is decided before a row moves.
//!
//! A [`Plan`] is data: it can be printed, kept beside the run and carried to another process,
//! which then needs nothing but the same plugins and secrets to run one of its tasks.

mod keys;
mod schema;

use serde::Serialize;
use transload_plugin_api::{
    Column, Guarantee, Split, SplitAbility, SplitRequest, TargetInfo, WriteDraft, WriteMode,
    WritePlan, code,
};

pub(crate) use schema::Mapping;

use crate::{
    Result,
    job::Job,
    stores::{Side, Stores},
};

/// A job's every decision.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    /// The run that this plan is for; also in the writer's plan.
    pub(crate) run: String,
    /// The job's name.
    pub(crate) job: String,
    /// The environment whose connections are used.
    pub(crate) environment: Option<String>,
    /// Who reads.
    pub(crate) reader: Side,
    /// Who writes.
    pub(crate) writer: Side,
    /// The target as it stands.
    pub(crate) target: TargetInfo,
    /// Column by column: from which, as what, with which verdict.
    pub(crate) mapping: Vec<Mapping>,
    /// Source columns that nothing takes, and target columns that nothing fills.
    pub(crate) unmapped: Vec<String>,
    /// What the writer will be told.
    pub(crate) write: WritePlan,
    /// What the writer says it will do.
    pub(crate) draft: WriteDraft,
    /// One for each task, in order.
    pub(crate) splits: Vec<Split>,
    /// How sure it is that each row's effect is there once.
    pub(crate) guarantee: Guarantee,
    /// Why not a better guarantee.
    pub(crate) because: String,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
    /// What the user should think about first.
    pub(crate) warnings: Vec<String>,
    /// Parallelism, memory and rate limits.
    pub(crate) channel: crate::job::Channel,
    /// How many dirty rows are too many.
    pub(crate) dirty: crate::job::DirtyLimit,
}

impl Plan {
    /// Asks both sides and decides. Nothing is written.
    ///
    /// # Errors
    /// Whatever makes the job impossible: missing tables and columns, types that cannot be
    /// carried, keys that the mode needs, a guarantee that cannot be met.
    pub(crate) fn new(job: &Job, run: String, stores: &Stores) -> Result<Self> {
        let source = stores.reader.schema()?;
        let target = stores.writer.inspect()?;
        let chosen = schema::choose(job, &source, &target)?;
        let key = keys::choose(job, stores.write_mode(job)?, &source, &target, &chosen)?;
        let write = write_plan(job, run.clone(), &chosen, key);
        let draft = stores.writer.draft(&write)?;
        let wanted = schema::wanted(job, &chosen, &draft.columns);
        let produced = stores.reader.produces(&wanted)?;
        let mapping = schema::judge(&chosen, &produced, &draft.columns)?;
        let request = SplitRequest { max: job.channel.parallelism.get(), columns: produced };
        let splits = stores.reader.splits(&request)?;
        let (guarantee, because) = guarantee(&write, &draft, &splits);
        require(job, guarantee, &because)?;
        let mut warnings: Vec<_> = job.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(draft.warnings.iter().cloned());
        warnings.extend(schema::losses(&mapping));
        Ok(Self {
            run,
            job: job.name.clone(),
            environment: job.environment.clone(),
            reader: stores.reader_side.clone(),
            writer: stores.writer_side.clone(),
            mapping,
            unmapped: chosen.unmapped,
            write: WritePlan {
                tasks: splits.len() as u32,
                columns: draft.columns.clone(),
                ..write
            },
            draft,
            splits,
            guarantee,
            because,
            notes: [source.notes, target.notes.clone()].concat(),
            warnings,
            target,
            channel: job.channel.clone(),
            dirty: job.dirty.clone(),
        })
    }

    /// The columns of the reader's batches.
    pub(crate) fn produced(&self) -> Vec<Column> {
        self.mapping.iter().map(|mapping| mapping.source.clone()).collect()
    }
}

fn write_plan(job: &Job, run: String, chosen: &schema::Chosen, key: keys::Chosen) -> WritePlan {
    WritePlan {
        run,
        columns: chosen.pairs.iter().map(|pair| pair.target.clone()).collect(),
        mode: key.mode,
        key: key.columns,
        update_columns: key.update_columns,
        load: job.writer.load,
        create_table: job.writer.create_table,
        before: job.writer.before.clone(),
        after: job.writer.after.clone(),
        tasks: 0,
    }
}

/// The weaker of what the writer gives and what the splits allow: a split that cannot be read
/// again alike cannot be resumed or replayed without doubling or losing rows.
fn guarantee(write: &WritePlan, draft: &WriteDraft, splits: &[Split]) -> (Guarantee, String) {
    let weakest = splits.iter().min_by_key(|split| split.ability);
    let keyed = matches!(write.mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace);
    match weakest {
        Some(split)
            if split.ability == SplitAbility::Volatile
                && draft.guarantee < Guarantee::AtomicUnit =>
        {
            let level = if keyed { Guarantee::Convergent } else { Guarantee::AtLeastOnce };
            let because = format!("the split `{}` cannot be read again alike", split.label);
            (level.min(draft.guarantee), because)
        }
        _ => (draft.guarantee, draft.because.clone()),
    }
}

fn require(job: &Job, guarantee: Guarantee, because: &str) -> Result<()> {
    let Some(required) = job.require.filter(|required| *required > guarantee) else {
        return Ok(());
    };
    let message = format!(
        "the job requires `{}`, this plan gives `{}`: {because}",
        required.word(),
        guarantee.word()
    );
    Err(crate::Error::new(crate::Exit::Usage, message).code(code::PLAN_GUARANTEE))
}
