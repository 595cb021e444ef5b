//! Which columns are compared, in which types, and by which of them rows belong together.

use transload_plugin_api::{Backoff, Column, Reader, WriteMode, code};

use super::{Request, narrow::Store, rows::Shape, side::Side};
use crate::{
    Error, Exit, Result,
    convert::{Converter, Verdict, verdict},
    nearest,
    plan::Mapping,
};

/// The columns of a comparison.
pub(super) struct Columns {
    /// The plan's columns that are compared, by index in its mapping.
    chosen: Vec<usize>,
    /// As the target's reader makes them.
    read: Vec<Column>,
    /// As the source calls them, in the types in which they are compared.
    of_source: Vec<Column>,
    /// In the types in which they are compared.
    compared: Vec<Column>,
    /// The key, by index in these.
    key: Vec<usize>,
    /// What is left out.
    pub(super) notes: Vec<String>,
}

impl Columns {
    /// Asks the target's reader for the columns that the job writes.
    ///
    /// # Errors
    /// If the target lacks one, or none can be compared.
    pub(super) fn choose(request: &Request<'_>) -> Result<Self> {
        let mapping = &request.plan.mapping;
        let mut notes = Vec::new();
        let kept = kept(request, &mut notes);
        let wanted = |index: &usize| {
            let target = mapping[*index].target.clone();
            Column { nullable: true, generated: false, ..target }
        };
        let wanted: Vec<_> = kept.iter().map(wanted).collect();
        let produced = request.target.produces(&wanted)?;
        let (mut chosen, mut read, mut compared) = (Vec::new(), Vec::new(), Vec::new());
        for (index, made) in kept.into_iter().zip(produced) {
            let target = &mapping[index].target;
            match common(target, &made) {
                Some(column) => {
                    chosen.push(index);
                    read.push(made);
                    compared.push(column);
                }
                None => notes.push(format!(
                    "column `{}` is not compared: it is written as {} and read as {}",
                    target.name, target.logical, made.logical
                )),
            }
        }
        if compared.is_empty() {
            return Err(Error::new(Exit::Schema, "no column can be compared")
                .code(code::PLAN_EMPTY)
                .hint(notes.join("; ")));
        }
        let key = key(request, &compared)?;
        let of_source = chosen.iter().zip(&compared).map(|(index, column)| Column {
            name: mapping[*index].source.name.clone(),
            ..column.clone()
        });
        Ok(Self { of_source: of_source.collect(), chosen, read, compared, key, notes })
    }

    pub(super) fn shape(&self) -> Shape {
        Shape { columns: self.compared.clone(), key: self.key.clone() }
    }

    /// How both stores are asked for digests: by their own names.
    pub(super) fn stores<'a>(&self, request: &'a Request<'_>) -> [Store<'a>; 2] {
        let key = |columns: &[Column]| {
            self.key.iter().map(|index| columns[*index].name.clone()).collect::<Vec<_>>()
        };
        let store = |reader: &'a dyn Reader, columns: &[Column]| Store {
            reader,
            key: key(columns),
            columns: columns.to_vec(),
        };
        [store(request.source, &self.of_source), store(request.target, &self.compared)]
    }

    /// Whether columns that the job writes are not compared.
    pub(super) fn are_a_part(&self, request: &Request<'_>) -> bool {
        self.chosen.len() < request.plan.mapping.len()
    }

    /// The two sides.
    ///
    /// # Errors
    /// If a connection's options are wrong.
    pub(super) fn sides<'a>(&self, request: &'a Request<'_>) -> Result<(Side<'a>, Side<'a>)> {
        let mapping = &request.plan.mapping;
        let written: Vec<_> = mapping.iter().map(|it| it.target.clone()).collect();
        let chosen: Vec<_> = self.chosen.iter().map(|index| written[*index].clone()).collect();
        let produced = request.plan.produced();
        let lanes = request.job.channel.parallelism.get();
        let source = Side {
            name: "source",
            reader: request.source,
            written: Some(Converter::new(&produced, &written)),
            chosen: Some(self.chosen.clone()),
            compared: Converter::new(&chosen, &self.compared),
            produced,
            lanes,
            reconnect_window: Backoff::window_of(&request.job.reader.options)?,
            read: &request.progress.source,
        };
        let target = Side {
            name: "target",
            reader: request.target,
            written: None,
            chosen: None,
            compared: Converter::new(&self.read, &self.compared),
            produced: self.read.clone(),
            lanes,
            reconnect_window: Backoff::window_of(&request.job.writer.options)?,
            read: &request.progress.target,
        };
        Ok((source, target))
    }
}

/// The columns that a run leaves as the source has them, by index.
fn kept(request: &Request<'_>, notes: &mut Vec<String>) -> Vec<usize> {
    let plan = request.plan;
    let all = 0..plan.mapping.len();
    match plan.write.mode {
        WriteMode::Upsert => {
            let stays = |mapping: &Mapping| {
                let name = &mapping.target.name;
                plan.write.key.contains(name) || plan.write.update_columns.contains(name)
            };
            let (kept, left): (Vec<_>, Vec<_>) = all.partition(|at| stays(&plan.mapping[*at]));
            if !left.is_empty() {
                let names = left.iter().map(|at| format!("`{}`", plan.mapping[*at].target.name));
                let names = names.collect::<Vec<_>>().join(", ");
                notes
                    .push(format!("not compared, because an upsert does not update them: {names}"));
            }
            kept
        }
        WriteMode::Ignore => {
            notes.push(
                "`ignore` leaves rows as they are whose key is in the target already: they may differ"
                    .to_owned(),
            );
            all.collect()
        }
        _ => all.collect(),
    }
}

/// The type in which a column that is written in one type and read in another is compared.
fn common(written: &Column, read: &Column) -> Option<Column> {
    let converts =
        |from: &Column, to: &Column| verdict(&from.logical, &to.logical) != Verdict::Impossible;
    let logical = if converts(read, written) {
        written.logical.clone()
    } else if converts(written, read) {
        read.logical.clone()
    } else {
        return None;
    };
    let native = if written.native.is_empty() { &read.native } else { &written.native };
    let (name, native) = (written.name.clone(), native.clone());
    Some(Column { native, ..Column::new(name, logical, true) })
}

/// The columns by which rows belong together: those of the user, the job's key, a key of the target,
/// or the source's.
fn key(request: &Request<'_>, compared: &[Column]) -> Result<Vec<usize>> {
    let Request { plan, job, .. } = request;
    let at = |name: &String| compared.iter().position(|column| column.name == *name);
    if let Some(unknown) = request.key.iter().find(|name| at(name).is_none()) {
        let names = compared.iter().map(|column| column.name.as_str());
        return Err(Error::new(Exit::Usage, format!("key column `{unknown}` is not compared"))
            .code(code::PLAN_KEY)
            .hint(nearest::advice(unknown, names, "columns compared:")));
    }
    let of_source = |name: &String| {
        let mapping = plan.mapping.iter().find(|it| it.source.name == *name)?;
        Some(mapping.target.name.clone())
    };
    let of_source: Option<Vec<_>> = plan.row_key.iter().map(of_source).collect();
    let usable = plan.target.keys.iter().filter(|key| !key.unusable);
    let (primary, unique): (Vec<_>, Vec<_>) = usable.partition(|key| key.primary);
    let candidates =
        [Some(request.key.to_vec()), job.writer.key.clone(), Some(plan.write.key.clone())]
            .into_iter()
            .flatten()
            .chain(primary.into_iter().map(|key| key.columns.clone()))
            .chain(of_source)
            .chain(unique.into_iter().map(|key| key.columns.clone()));
    let found = candidates.filter(|names| !names.is_empty());
    let mut found = found.filter_map(|names| names.iter().map(at).collect::<Option<Vec<_>>>());
    Ok(found.next().unwrap_or_default())
}
