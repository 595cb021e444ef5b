//! HOW IT WILL BE DONE: everything that is decided before a row moves.
//!
//! A [`Plan`] is data: it can be printed, stored with the run and sent to another process, which
//! then needs only the same plugins and secrets to run one of its tasks.

mod guarantee;
mod keys;
mod partitions;
mod sample;
mod schema;
mod verdict;

use serde::{Deserialize, Serialize};
use transload_plugin_api::{
    Column, Guarantee, KeepWatermark, KeptWatermark, SourceFiles, SourceSchema, Split,
    SplitAbility, SplitRequest, TargetInfo, WriteDraft, WriteMode, WritePlan,
};

pub(crate) use sample::Sample;
pub(crate) use schema::named_columns;
pub(crate) use verdict::Mapping;

use crate::{
    Result,
    error::Errors,
    increment::{self, PlannedIncrement},
    job::{Job, OnNull, Redactor},
    journal::SourceShape,
    report::plural,
    stores::{Side, Stores},
};

/// All decisions about one run of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The run's name; the writer's plan has it too.
    pub(crate) run: String,
    /// The job's name.
    pub(crate) job: String,
    /// The environment whose connections are used.
    pub(crate) environment: Option<String>,
    /// The reader's plugin.
    pub(crate) reader: Side,
    /// The writer's plugin.
    pub(crate) writer: Side,
    /// The target in its current state.
    pub(crate) target: TargetInfo,
    /// For each target column its source column, types and verdict.
    pub(crate) mapping: Vec<Mapping>,
    /// What the first rows of the source say about the plan, if they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sample: Option<Sample>,
    /// Source columns that are not read and target columns that are not filled, as sentences.
    pub(crate) unmapped: Vec<String>,
    /// The source's columns by which a row is found again; empty if none are known.
    pub(crate) row_key: Vec<String>,
    /// The plan that the writer gets.
    pub(crate) write: WritePlan,
    /// What the writer will do, as it declares.
    pub(crate) draft: WriteDraft,
    /// One for each task, in order.
    pub(crate) splits: Vec<Split>,
    /// How reliably each row takes effect once.
    pub(crate) guarantee: Guarantee,
    /// Why the guarantee is not higher.
    pub(crate) because: String,
    /// Notes for the user.
    pub(crate) notes: Vec<String>,
    /// Warnings for the user, such as possible losses.
    pub(crate) warnings: Vec<String>,
    /// Parallelism, memory and rate limits.
    pub(crate) channel: crate::job::Channel,
    /// How many dirty rows the job allows.
    pub(crate) dirty: crate::job::DirtyLimit,
    /// How much a task commits at once.
    #[serde(default)]
    pub(crate) checkpoint: crate::job::Checkpoints,
    /// The job file, its hash and the parameters that it uses.
    pub(crate) inputs: crate::job::Inputs,
    /// The files that are read, if the source is files.
    pub(crate) files: Option<SourceFiles>,
    /// What is new since the last run, if the job reads only that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) increment: Option<PlannedIncrement>,
    /// The run whose dirty rows this one sends again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replay_of: Option<String>,
    /// The source as it was found, for the journal.
    #[serde(skip)]
    pub(crate) source: SourceShape,
}

impl Plan {
    /// Inspects both stores and decides. Nothing is written.
    ///
    /// # Errors
    /// If the job is impossible: missing tables or columns, types that do not fit, a missing key, a
    /// guarantee that cannot be reached. All that can be found at once, each with its place in the
    /// job.
    pub(crate) fn new(job: &Job, run: String, stores: &Stores) -> Result<Self, Errors> {
        Self::decide(job, run, stores).map_err(|errors| errors.located(&job.places))
    }

    fn decide(job: &Job, run: String, stores: &Stores) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        errors.keep(increment::check_mode(job));
        let source = errors.keep(stores.reader.schema());
        let target = errors.keep(stores.writer.inspect());
        let (Some(mut source), Some(target)) = (source, target) else { return Err(errors) };
        let (shape, own) = (SourceShape::of(&source), source.columns.clone());
        errors.add(&mut source.problems);
        schema::complete(job, &mut source, &target);
        let chosen = errors.keep(schema::choose(job, &source, &target, stores.writer_types()));
        let Some(chosen) = chosen else { return Err(errors) };
        let drafted = drafted(job, run, stores, &source, &target, &chosen);
        let Some((mut write, draft)) = errors.keep(drafted) else { return Err(errors) };
        errors.into_result()?;
        let wanted = schema::wanted(job, &chosen, &draft.columns);
        let produced = stores.reader.produces(&wanted)?;
        let mapping =
            verdict::judge(job, &chosen, &produced, &draft.columns, stores.parses_text())?;
        let max = job.channel.parallelism.get();
        let ability = guarantee::needed_ability(&write, &draft);
        let kept = draft.watermark.as_ref();
        let asked = job.incremental.as_ref();
        let asked = asked.map(|asked| increment::ask(job, asked, &own, &target.name, kept));
        let asked = asked.transpose()?;
        let increment = asked.as_ref().map(|asked| asked.increment.clone());
        let request = SplitRequest { max, columns: produced, ability, increment };
        let mut splits = stores.reader.splits(&request)?;
        let found = asked.map(|asked| asked.found(job, &splits, &target.name, &write.run));
        let increment = found.transpose()?;
        if let (Some(keep), Some(increment)) = (&mut write.watermark, &increment) {
            keep.next = increment::next(increment)?;
        }
        let (guarantee, because) = guarantee::level(&write, &draft, &splits);
        guarantee::require(job, guarantee, &because, &splits, ability)?;
        increment::check_insert(job, guarantee)?;
        let reading = how_read(&mut splits);
        let mut warnings: Vec<_> = job.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(stores.warnings.iter().cloned());
        warnings.extend(source.warnings);
        warnings.extend(draft.warnings.iter().cloned());
        warnings.extend(guarantee::between_tasks(job, &write, &splits, &source.keys, &mapping));
        let more = guarantee::without_tokens(stores, &write, guarantee);
        let (of_increment, about_nulls) = increment.as_ref().map(said).unwrap_or_default();
        warnings.extend(about_nulls);
        let own = [
            of_increment,
            added_to(&target, write.mode),
            without_key(&target, &write),
            more.into_iter().collect(),
        ];
        Ok(Self {
            run: write.run.clone(),
            job: job.name.clone(),
            environment: job.environment.clone(),
            reader: stores.reader_side.clone(),
            writer: stores.writer_side.clone(),
            row_key: keys::of_rows(&source.keys, &write.key, &target.keys, &mapping),
            mapping,
            sample: None,
            unmapped: chosen.unmapped,
            write: WritePlan {
                tasks: splits.len() as u32,
                columns: draft.columns.clone(),
                ..write
            },
            splits,
            guarantee,
            because,
            notes: [source.notes, reading, target.notes.clone(), draft.notes.clone(), own.concat()]
                .concat(),
            draft,
            warnings,
            target,
            channel: job.channel.clone(),
            dirty: job.dirty.clone(),
            checkpoint: job.checkpoint.clone(),
            inputs: job.inputs.clone(),
            files: source.files,
            increment,
            replay_of: None,
            source: shape,
        })
    }

    /// The plan as a journal keeps it: exact where rows depend on it, and redacted elsewhere. What the
    /// job says in its own words is left to the job.
    pub(crate) fn for_journal(&self, redactor: &Redactor) -> Self {
        let mut plan = self.clone();
        plan.write.before.clear();
        plan.write.after.clear();
        plan.sample = None;
        plan.draft.problems.clear();
        let WriteDraft { statements, because, warnings, notes, .. } = &mut plan.draft;
        let statements = statements.iter_mut().map(|statement| &mut statement.text);
        let texts = statements.chain([because, &mut plan.because]).chain(warnings).chain(notes);
        let texts = texts.chain(&mut plan.warnings).chain(&mut plan.notes);
        texts.chain(&mut plan.unmapped).for_each(|text| {
            *text = redactor.redact(text).into_owned();
        });
        plan
    }

    /// Nothing that tasks write is visible before the job's commit.
    pub(crate) fn is_staged(&self) -> bool {
        guarantee::is_staged(&self.write, &self.draft)
    }

    /// How many rows are in the target already, if the run adds to them.
    pub(crate) fn rows_added_to(&self) -> Option<u64> {
        rows_added_to(&self.target, self.write.mode)
    }

    /// The columns of the reader's batches.
    pub(crate) fn produced(&self) -> Vec<Column> {
        self.mapping.iter().map(|mapping| mapping.source.clone()).collect()
    }
}

/// Where a job's watermark is kept, without a look at the source's rows.
pub(crate) struct WatermarkHome {
    /// The plan of a run that only changes the watermark.
    pub(crate) write: WritePlan,
    /// What the target keeps; `None` if a file keeps the watermark.
    pub(crate) kept: Option<KeptWatermark>,
    /// The target's name.
    pub(crate) target: String,
    /// The source's columns.
    pub(crate) columns: Vec<Column>,
}

impl WatermarkHome {
    /// Asks both stores.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub(crate) fn find(job: &Job, run: String, stores: &Stores) -> Result<Self, Errors> {
        let find = || -> Result<Self, Errors> {
            let (mut source, target) = (stores.reader.schema()?, stores.writer.inspect()?);
            let columns = source.columns.clone();
            schema::complete(job, &mut source, &target);
            let chosen = schema::choose(job, &source, &target, stores.writer_types())?;
            let (write, draft) = drafted(job, run, stores, &source, &target, &chosen)?;
            let write = WritePlan { columns: draft.columns, ..write };
            Ok(Self { write, kept: draft.watermark, target: target.name, columns })
        };
        find().map_err(|errors| errors.located(&job.places))
    }
}

/// The writer's plan and what the writer makes of it.
fn drafted(
    job: &Job,
    run: String,
    stores: &Stores,
    source: &SourceSchema,
    target: &TargetInfo,
    chosen: &schema::Chosen,
) -> Result<(WritePlan, WriteDraft), Errors> {
    let spec = stores.write_mode(job)?;
    let key = keys::choose(job, spec.needs, source, target, chosen)?;
    let mut write = write_plan(job, run, chosen, key);
    // The writer is asked first: it says in the store's own words which key is missing.
    let mut draft = stores.writer.draft(&write)?;
    if draft.problems.is_empty() && guarantee::needs_tokens(job, &draft) {
        write.tokens = Some(job.tokens.clone());
        write.watermark = job.incremental.as_ref().map(|_| KeepWatermark::default());
        draft = stores.writer.draft(&write)?;
    }
    let mut errors = Errors::default();
    errors.add(&mut draft.problems);
    errors.into_result()?;
    keys::check(stores, spec, &write.key, source, target)?;
    Ok((write, draft))
}

/// The writer's plan, before the number of tasks is known.
fn write_plan(job: &Job, run: String, chosen: &schema::Chosen, key: keys::Chosen) -> WritePlan {
    let planned = |pair: &schema::Pair| {
        let native_form = schema::offered(job, &pair.source);
        Column { native_form, ..pair.target.clone() }
    };
    WritePlan {
        run,
        columns: chosen.pairs.iter().map(planned).collect(),
        mode: key.mode,
        key: key.columns,
        update_columns: key.update_columns,
        load: job.writer.load,
        create_table: job.writer.create_table,
        before: job.writer.before.clone(),
        after: job.writer.after.clone(),
        tasks: 0,
        tokens: None,
        job: job.name.clone(),
        is_resumed: false,
        max_dirty: job.dirty.most_rows(),
        task_buffer: Some(job.channel.task_buffer()),
        watermark: None,
    }
}

/// What an increment leaves out, as notes, and as warnings where rows are.
fn said(increment: &PlannedIncrement) -> (Vec<String>, Vec<String>) {
    let column = &increment.columns[0];
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    let is_exact = increment.from.as_ref().is_none_or(|from| from.starts_with("> "));
    if is_exact && !increment.is_step {
        let ties = if increment.columns.len() == 1 { " or equal" } else { "" };
        notes.push(format!(
            "rows that are committed after this plan with a smaller{ties} `{column}` than the \
             watermark are read by no run: `lookback` reads the last ones again"
        ));
    }
    match (increment.nulls, increment.on_null) {
        (0, _) | (_, OnNull::Fail) => {}
        (rows, OnNull::Skip) => {
            let rows = plural(rows, "row has", "rows have");
            warnings.push(format!("{rows} no value in `{column}` and will not be read"));
        }
        (rows, OnNull::Load) => {
            let rows = plural(rows, "row has", "rows have");
            notes.push(format!("{rows} no value in `{column}`; every run reads them"));
        }
    }
    (notes, warnings)
}

/// How the splits are read, in their own words, each sentence once. The splits keep none of it: it is
/// said, and a run may have thousands of them.
fn how_read(splits: &mut [Split]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for split in splits.iter_mut() {
        split.hint = None;
        notes.extend(split.note.take().filter(|note| !notes.contains(note)));
    }
    if let Some(split) = splits.iter().find(|split| split.ability == SplitAbility::Volatile) {
        notes.push(format!(
            "`{}` can be read only once: a run that fails is begun again with the same input",
            split.label
        ));
    }
    notes
}

fn rows_added_to(target: &TargetInfo, mode: WriteMode) -> Option<u64> {
    target.rows.filter(|rows| *rows > 0 && mode == WriteMode::Insert)
}

/// That an insert adds its rows to those of the target.
fn added_to(target: &TargetInfo, mode: WriteMode) -> Vec<String> {
    let rows = rows_added_to(target, mode);
    let about = if target.is_counted { "" } else { "about " };
    let note = |rows| {
        let rows = plural(rows, "row", "rows");
        format!("the target holds {about}{rows} already; `insert` adds to them")
    };
    rows.map(note).into_iter().collect()
}

/// That the table which the run creates cannot be upserted into later.
fn without_key(target: &TargetInfo, write: &WritePlan) -> Vec<String> {
    let is_keyless = !target.exists && write.create_table && write.key.is_empty();
    let note = "the new table has no key: later upserts will need one (`key = [\"...\"]`)";
    is_keyless.then(|| note.to_owned()).into_iter().collect()
}
