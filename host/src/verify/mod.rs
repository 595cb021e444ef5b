//! IS IT THERE: the rows that a job reads against those of its target, whatever stores they are in.
//!
//! Both sides are read by their plugins' readers and converted as the plan says, so that a value
//! means the same on both. Each row becomes two checksums, of its key and of all its columns;
//! rows whose checksums have no partner are read once more, with their values. So the memory that it
//! takes depends on the differences, not on the rows.
//!
//! | file | what it does |
//! |---|---|
//! | `columns` | which columns are compared, in which types; the key |
//! | `side` | the rows of one reader, converted |
//! | `rows` | the checksums of a batch's rows |
//! | `narrow` | which rows have to be read: digests of ranges of keys, computed in the stores |
//! | `entries`, `tally` | the checksums of all rows; which have no partner |
//! | `excused` | rows that the target of a run refused |
//! | `difference` | these rows with their values |
//! | `repair` | the statements that would repair the target |
//! | `comparison`, `words` | the result, as JSON and as text |

mod columns;
mod comparison;
mod difference;
mod entries;
mod excused;
mod narrow;
mod repair;
mod rows;
mod side;
mod tally;
mod words;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use arrow_array::RecordBatch;
use transload_plugin_api::{Dialect, Reader, Split};

pub(crate) use comparison::Comparison;
pub(crate) use words::describe;

use self::{
    columns::Columns,
    comparison::{Listed, Method, Rows, note_on_dirty, notes_on},
    difference::{Differences, Found},
    entries::Entries,
    excused::Excused,
    narrow::{Narrowing, Scope},
    repair::Repair,
    rows::Shape,
    side::{Refused, Side},
    tally::Tally,
};
use crate::{Error, Exit, Result, engine::Stop, job::Job, plan::Plan, repair::KeptRun};

/// What is compared, and how much is said of it.
pub(crate) struct Request<'a> {
    pub(crate) job: &'a Job,
    pub(crate) plan: &'a Plan,
    /// The job's reader.
    pub(crate) source: &'a dyn Reader,
    /// The run whose rows are verified, if it was named: what its target refused is not missing.
    pub(crate) run: Option<&'a KeptRun>,
    /// A reader of the job's target.
    pub(crate) target: &'a dyn Reader,
    /// The key's columns by the target's names, if the user names them.
    pub(crate) key: &'a [String],
    /// Rows that only the target has are no difference.
    pub(crate) allow_extra: bool,
    /// Every row is read, whatever the stores can compute.
    pub(crate) every_row: bool,
    /// The most differences that are listed.
    pub(crate) listed: usize,
    /// Where the statements that would repair the target are written.
    pub(crate) repair: Option<&'a Path>,
    /// How the target writes SQL; `None` if it is no table.
    pub(crate) dialect: Option<Dialect>,
    pub(crate) stop: &'a Stop,
    pub(crate) progress: Arc<Progress>,
}

/// How many rows have been read.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    source: AtomicU64,
    target: AtomicU64,
}

impl Progress {
    /// `1,000 rows of the source and 900 of the target read`; before that, what is waited for.
    pub(crate) fn words(&self) -> String {
        let count = |rows: &AtomicU64| crate::report::grouped(rows.load(Relaxed));
        if self.source.load(Relaxed) + self.target.load(Relaxed) == 0 {
            return "waiting for checksums of the stores".to_owned();
        }
        let (source, target) = (count(&self.source), count(&self.target));
        format!("{source} rows of the source and {target} of the target read")
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "event": "verifying",
            "source_rows_read": self.source.load(Relaxed),
            "target_rows_read": self.target.load(Relaxed),
        })
    }
}

/// Compares the two stores.
///
/// # Errors
/// If one of them cannot be read, or no column can be compared.
pub(crate) fn compare(request: &Request<'_>) -> Result<Comparison> {
    let begun = Instant::now();
    let columns = Columns::choose(request)?;
    let shape = columns.shape();
    let (source, target) = columns.sides(request)?;
    let (sides, stop) = ([&source, &target], request.stop);
    let scope = match request.every_row {
        true => Scope::default(),
        false => {
            let stores = columns.stores(request);
            Narrowing { shape: &shape, stores, sides, stop, queries: 0 }.scope()?
        }
    };
    let excused = Excused::of(request, &source, &shape)?;
    let pass = Pass { shape: &shape, sides, scope: &scope, excused: &excused, stop };
    let (tally, mut refused) = pass.tally(&request.plan.splits)?;
    for (refused, of_all) in refused.iter_mut().zip(&scope.refused) {
        if let Some(of_all) = of_all {
            refused.clone_from(of_all);
        }
    }
    let found = match tally.unequal() {
        0 => Differences::default(),
        _ => pass.differences(&tally)?,
    };
    let mut notes = columns.notes.clone();
    notes.extend(notes_on(&refused));
    notes.extend(note_on_dirty(tally.dirty));
    notes.extend(repair(request, &columns, &shape, &tally, &found)?);
    notes.extend(changed(&tally, &found));
    let rows = Rows::of(&tally, scope.equal, &refused);
    Ok(Comparison {
        elapsed_ms: begun.elapsed().as_millis() as u64,
        ..result(request, &shape, rows, found, &scope, notes)
    })
}

/// The two sides of a comparison, and which of their rows are compared.
struct Pass<'a> {
    shape: &'a Shape,
    sides: [&'a Side<'a>; 2],
    scope: &'a Scope,
    excused: &'a Excused,
    stop: &'a Stop,
}

impl Pass<'_> {
    /// The first pass: the checksums of all rows.
    fn tally(&self, planned: &[Split]) -> Result<(Tally, [Refused; 2])> {
        let entries = [Entries::new(), Entries::new()];
        let refused = self.read(Some(planned), |side, batch| {
            let columns = self.shape.columns_of(batch)?;
            let filter = self.scope.filters[side].as_ref();
            let mut rows = Vec::with_capacity(batch.num_rows());
            self.shape.each(&columns, batch.num_rows(), |row, entry| {
                if filter.is_none_or(|filter| filter.keeps(&columns, row)) {
                    rows.push(entry);
                }
            });
            entries[side].add(&rows)
        })?;
        let [source, target] = &entries;
        Ok((Tally::of((source, target), self.excused, self.stop)?, refused))
    }

    /// The second pass: the values of those without a partner.
    fn differences(&self, tally: &Tally) -> Result<Differences> {
        let found = Found::new(self.shape, &tally.keys, self.excused);
        self.read(None, |side, batch| found.add(side, batch))?;
        Ok(found.differences())
    }

    /// Reads both sides at once; the source is 0 and the target 1. `planned` are splits of the whole
    /// source that were not read yet.
    fn read(
        &self,
        planned: Option<&[Split]>,
        take: impl Fn(usize, &RecordBatch) -> Result<()> + Sync,
    ) -> Result<[Refused; 2]> {
        if self.scope.is_empty() {
            return Ok(Default::default());
        }
        let splits = |side: usize| match (&self.scope.splits[side], planned) {
            (Some(splits), _) => Ok(splits.clone()),
            (None, Some(planned)) if side == 0 => Ok(planned.to_vec()),
            (None, _) => self.sides[side].splits(),
        };
        let (ours, theirs) = (splits(0)?, splits(1)?);
        let [source, target] = self.sides;
        let (ours, theirs) = thread::scope(|scope| {
            let theirs =
                scope.spawn(|| target.each_batch(&theirs, self.stop, &|batch| take(1, batch)));
            let ours = source.each_batch(&ours, self.stop, &|batch| take(0, batch));
            (ours, theirs.join())
        });
        let panicked = |_| Error::new(Exit::Failed, "a thread of the comparison panicked");
        Ok([ours?, theirs.map_err(panicked)??])
    }
}

/// Writes the statements that would repair the target, if they are asked for. Returns what came of it.
fn repair(
    request: &Request<'_>,
    columns: &Columns,
    shape: &Shape,
    tally: &Tally,
    found: &Differences,
) -> Result<Option<String>> {
    let Some(path) = request.repair else { return Ok(None) };
    let Some(dialect) = request.dialect else {
        let words = "no repair is written: the target is no table, so run the job again, with \
                     `write_mode = \"overwrite\"` where files are to be replaced";
        return Ok(Some(words.to_owned()));
    };
    if tally.unequal() == 0 {
        return Ok(Some("no repair is written: there is nothing to repair".to_owned()));
    }
    if found.list.len() as u64 != tally.unequal() {
        let words = "no repair is written: too many rows differ, so run the job again";
        return Ok(Some(words.to_owned()));
    }
    let left_out = columns.are_a_part(request);
    let repair = Repair { path, dialect, plan: request.plan, shape, left_out };
    repair.write(&found.list).map(Some)
}

/// That some differences are not listed, or were none when they were looked at.
fn changed(tally: &Tally, found: &Differences) -> Option<String> {
    let (looked_at, all) = (found.list.len() as u64, tally.unequal());
    (looked_at != all).then(|| {
        format!(
            "{} differences were counted and {} found again: either there are too many to hold, or \
             rows have changed meanwhile; counts by column are of those found",
            crate::report::grouped(all),
            crate::report::grouped(looked_at)
        )
    })
}

fn result(
    request: &Request<'_>,
    shape: &Shape,
    rows: Rows,
    found: Differences,
    scope: &Scope,
    notes: Vec<String>,
) -> Comparison {
    let Request { plan, progress, .. } = request;
    let names: Vec<_> = shape.columns.iter().map(|column| column.name.clone()).collect();
    let listed = found.list.iter().take(request.listed);
    let differ = rows.differ(request.allow_extra);
    Comparison {
        status: if differ { Exit::Different } else { Exit::Done },
        job: plan.job.clone(),
        run: None,
        environment: plan.environment.clone(),
        inputs: plan.inputs.clone(),
        reader: plan.reader.clone(),
        writer: plan.writer.clone(),
        target: plan.target.name.clone(),
        key: shape.key.iter().map(|index| names[*index].clone()).collect(),
        differences: listed.map(|it| Listed::new(it, &names, &shape.order())).collect(),
        columns: names,
        rows,
        by_column: found.by_column,
        method: Method {
            source: scope.places[0],
            target: scope.places[1],
            queries: scope.queries,
            source_rows_read: progress.source.load(Relaxed),
            target_rows_read: progress.target.load(Relaxed),
        },
        notes,
        elapsed_ms: 0,
    }
}
