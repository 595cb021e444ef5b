//! What dirty rows have in common, so that the message about too many of them can name the cause
//! and the line to write against it.

use std::{collections::HashMap, sync::Arc};

use transload_plugin_api::{LogicalType, WriteMode};

use super::line::DirtyLine;
use crate::{
    escape,
    plan::{Mapping, Plan},
    stores::Stores,
};

/// What is known of the errors so far.
#[derive(Default)]
pub(super) struct Causes {
    /// How many rows have which error in which column of the source.
    counts: HashMap<(String, String), u64>,
    /// The first text of a file that was no value of its column.
    misread: Option<(String, String)>,
}

/// Fewer rows have nothing in common.
pub(super) const FEWEST: u64 = 2;

impl Causes {
    pub(super) fn add(&mut self, rows: &[Arc<DirtyLine>]) {
        for error in rows.iter().flat_map(|row| &row.errors) {
            *self.counts.entry(error.clone()).or_default() += 1;
        }
        if self.misread.is_none() {
            self.misread = rows.iter().find_map(|row| row.misread.clone());
        }
    }

    pub(super) fn remove(&mut self, rows: &[Arc<DirtyLine>]) {
        for error in rows.iter().flat_map(|row| &row.errors) {
            if let Some(count) = self.counts.get_mut(error) {
                *count -= 1;
            }
        }
    }

    /// What to do against an error that all rows read so far have, or to read the first text that
    /// was refused.
    pub(super) fn hint(&self, read: u64, plan: &Plan, stores: &Stores) -> Option<String> {
        let all = |count: u64| read >= FEWEST && count >= read;
        let with =
            |code: &'static str| self.counts.iter().filter(move |((_, found), _)| found == code);
        if all(with("unique").map(|(_, count)| count).sum()) {
            return doubled(plan, stores);
        }
        if let Some(form) = self.form(plan) {
            return Some(form);
        }
        let text = with("parse").find(|(_, count)| all(**count));
        text.and_then(|((column, _), _)| {
            let mapping = plan.mapping.iter().find(|mapping| mapping.source.name == *column)?;
            Some(all_text(mapping, plan))
        })
    }

    /// The form in which the first text that was refused is a value.
    fn form(&self, plan: &Plan) -> Option<String> {
        let (column, text) = self.misread.as_ref()?;
        let mapping = plan.mapping.iter().find(|mapping| mapping.source.name == *column)?;
        let line = transload_values::hint(&mapping.source, text)?;
        let logical = &mapping.source.logical;
        Some(format!("to read `{}` as {logical}: {line}", escape::lines(text)))
    }
}

/// All rows are in the target already.
pub(super) fn doubled(plan: &Plan, stores: &Stores) -> Option<String> {
    let offered = [WriteMode::Upsert, WriteMode::Ignore].into_iter();
    let modes = stores.writer_descriptor.writer.as_ref().map_or(&[][..], |writer| &writer.modes);
    let offered = offered.filter(|mode| modes.iter().any(|spec| spec.mode == *mode));
    let words: Vec<_> = offered.map(|mode| format!("\"{}\"", mode.word())).collect();
    let written = !words.is_empty() && plan.write.mode == WriteMode::Insert;
    written.then(|| format!("was this job run before? write_mode = {}", words.join(" or ")))
}

/// A column without a single value of its type.
fn all_text(mapping: &Mapping, plan: &Plan) -> String {
    let (source, target) = (&mapping.source.name, &mapping.target);
    let typed = plan.target.columns.iter().find(|column| column.name == target.name);
    let typed = typed.filter(|column| !matches!(column.logical, LogicalType::Text { .. }));
    match typed {
        None => format!(
            "every value of `{source}` so far is text: write {} = \"text\" in [reader.schema]",
            toml_key(source)
        ),
        Some(column) => format!(
            "every value of `{source}` so far is text, `{}` in {} is {}: write the right column \
             in [map], {} = \"...\"",
            column.name,
            plan.target.name,
            column.logical,
            toml_key(&column.name)
        ),
    }
}

/// A name as a key of TOML.
fn toml_key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match !name.is_empty() && name.bytes().all(bare) {
        true => name.to_owned(),
        false => toml::Value::String(name.to_owned()).to_string(),
    }
}
