//! The rules for what a reader returns.

use std::collections::{HashMap, HashSet};

use transload_plugin_api::{
    Column, Count, Digest, DigestRequest, Finding, Position, ReadBatch, ReadTask, Reader, Result,
    SourceSchema, Split, SplitAbility, SplitRequest, TableInfo, TablePage, TableRequest,
};

use super::{Callee, prose};

/// A reader whose returns are checked.
pub(super) struct CheckedReader {
    callee: Callee,
    reader: Box<dyn Reader>,
    /// The best ability that the plugin declares.
    best: SplitAbility,
}

impl CheckedReader {
    pub(super) fn new(callee: Callee, reader: Box<dyn Reader>, best: SplitAbility) -> Self {
        Self { callee, reader, best }
    }

    /// At most as many splits as requested, told apart by their labels, none better than declared.
    fn check_splits(&self, splits: &[Split], request: &SplitRequest) -> Result<()> {
        let breach = |rule: String| Err(self.callee.breach("splits", rule));
        if splits.len() > request.max as usize {
            let (found, max) = (splits.len(), request.max);
            return breach(format!("{found} splits were returned, at most {max} were requested"));
        }
        let mut labels = HashSet::new();
        if let Some(twice) = splits.iter().find(|split| !labels.insert(split.label.as_str())) {
            return breach(format!("two splits have the label `{}`", twice.label));
        }
        if let Some(split) = splits.iter().find(|split| split.ability > self.best) {
            let (label, ability, best) = (&split.label, split.ability, self.best);
            return breach(format!(
                "the split `{label}` claims the ability {ability:?}, the plugin declares {best:?}"
            ));
        }
        Ok(())
    }
}

impl Reader for CheckedReader {
    fn check(&self) -> Result<Vec<Finding>> {
        let mut findings = self.callee.call("check", || self.reader.check())?;
        prose::findings(&mut findings);
        Ok(findings)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.callee.call("discover", || self.reader.discover())
    }

    fn tables(&self, request: &TableRequest) -> Result<TablePage> {
        let page = self.callee.call("tables", || self.reader.tables(request))?;
        let breach = |rule: String| Err(self.callee.breach("tables", rule));
        let (found, max) = (page.tables.len(), request.max);
        if found > max as usize {
            return breach(format!("{found} tables were returned, at most {max} were requested"));
        }
        if page.next.is_some() && page.next == request.after {
            return breach("a page says that it is followed by itself".to_owned());
        }
        if page.tables.iter().any(|table| table.name.is_empty()) {
            return breach("a table has no name".to_owned());
        }
        Ok(page)
    }

    fn schema(&self) -> Result<SourceSchema> {
        let mut schema = self.callee.call("schema", || self.reader.schema())?;
        prose::texts(&mut schema.notes);
        prose::texts(&mut schema.warnings);
        self.callee.name_all("schema", &mut schema.problems);
        Ok(schema)
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        let produced = self.callee.call("produces", || self.reader.produces(wanted))?;
        match difference(wanted, &produced) {
            None => Ok(produced),
            Some(difference) => Err(self.callee.breach("produces", difference)),
        }
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        let mut splits = self.callee.call("splits", || self.reader.splits(request))?;
        for split in &mut splits {
            split.label = prose::text(std::mem::take(&mut split.label));
            split.note = split.note.take().map(prose::text);
            split.hint = split.hint.take().map(prose::text);
        }
        self.check_splits(&splits, request)?;
        Ok(splits)
    }

    fn open(
        &self,
        split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        let task = self.callee.call("open", || self.reader.open(split, columns, after))?;
        Ok(Box::new(CheckedReadTask { callee: self.callee, task }))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        let mut counts = self.callee.call("counts", || self.reader.counts())?;
        prose::counts(&mut counts);
        Ok(counts)
    }

    fn digest(&self, request: &DigestRequest) -> Result<Option<Digest>> {
        let mut digest = self.callee.call("digest", || self.reader.digest(request))?;
        let Some(Digest { rows, parts, .. }) = &mut digest else { return Ok(None) };
        let (found, due) = (parts.len(), request.bounds.len() + 1);
        if due > 1 && found != due {
            let rule = format!("{found} parts were returned, {due} were requested");
            return Err(self.callee.breach("digest", rule));
        }
        let sum: u64 = parts.iter().map(|part| part.rows).sum();
        if !parts.is_empty() && sum != *rows {
            let rule = format!("the parts have {sum} rows, the whole has {rows}");
            return Err(self.callee.breach("digest", rule));
        }
        for part in parts {
            part.split.label = prose::text(std::mem::take(&mut part.split.label));
        }
        Ok(digest)
    }
}

/// A read task whose batches are checked. Their columns are compared where they cross.
struct CheckedReadTask {
    callee: Callee,
    task: Box<dyn ReadTask>,
}

impl ReadTask for CheckedReadTask {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        let Some(mut next) = self.callee.call("next_batch", || self.task.next_batch())? else {
            return Ok(None);
        };
        let bytes = next.position.0.len();
        if bytes > Position::MAX_BYTES {
            let most = Position::MAX_BYTES;
            let rule = format!("a position has {bytes} bytes, the contract allows {most}");
            return Err(self.callee.breach("next_batch", rule));
        }
        let values = next.dirty.iter().filter_map(|row| row.values.as_deref());
        if let Some(wrong) = values.into_iter().find(|values| !is_object(values)) {
            let shown = prose::text(wrong.to_owned());
            let rule = format!("the values of a dirty row are no JSON object: `{shown}`");
            return Err(self.callee.breach("next_batch", rule));
        }
        prose::dirty(&mut next.dirty);
        Ok(Some(next))
    }
}

/// Whether a text is a JSON object.
fn is_object(text: &str) -> bool {
    serde_json::from_str::<HashMap<String, serde::de::IgnoredAny>>(text).is_ok()
}

/// How the columns returned differ from those given: the same names are due, in the same order.
pub(super) fn difference(given: &[Column], returned: &[Column]) -> Option<String> {
    if given.len() != returned.len() {
        return Some(format!("{} columns were given, {} returned", given.len(), returned.len()));
    }
    let differs =
        |(_, (given, returned)): &(usize, (&Column, &Column))| given.name != returned.name;
    let (at, (given, returned)) = given.iter().zip(returned).enumerate().find(differs)?;
    let at = at + 1;
    Some(format!("column {at} was given as `{}`, returned as `{}`", given.name, returned.name))
}
