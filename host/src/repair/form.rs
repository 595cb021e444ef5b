//! A row as a record: verbatim where its text was kept, else written from its values, behind the id
//! of the row.

use clap::ValueEnum;
use percent_encoding::percent_decode_str;
use transload_plugin_api::{Column, RecordDialect, RecordForm};
use transload_values::JsonRow;

use super::{
    cell::{Kept, Texts},
    row::KeptRow,
    run::KeptPlan,
};
use crate::{Error, Exit, Result};

/// The column, or key, of the ids.
pub(super) const ID: &str = "_dirty";

/// A form that the command line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormChoice {
    /// CSV with a header
    Csv,
    /// JSON lines
    Jsonl,
}

/// The form of a run's exported rows.
pub(crate) struct Form {
    /// The columns that the run read.
    columns: Vec<Column>,
    texts: Texts,
    /// Columns whose values are in the names of folders.
    folders: Vec<String>,
    /// It is the form of the source, so that texts of its records can be taken as they are.
    is_own: bool,
    pub(crate) records: Records,
}

/// How the records are divided.
pub(crate) enum Records {
    /// In these columns, by a dialect.
    Csv(Vec<String>, RecordDialect),
    Lines,
}

impl Form {
    /// The form of the run's source; where that is no text, the one that was chosen, or CSV.
    ///
    /// # Errors
    /// If another form than that of the source was chosen.
    pub(crate) fn of(plan: &KeptPlan, choice: Option<FormChoice>) -> Result<Self> {
        let columns = plan.columns();
        let own = plan.files.as_ref().and_then(|files| files.records.clone());
        let Some(RecordForm { columns: names, folders, dialect, texts, .. }) = own else {
            let names = columns.iter().map(|column| column.name.clone()).collect();
            let records = match choice {
                Some(FormChoice::Jsonl) => Records::Lines,
                _ => Records::Csv(names, usual_dialect()),
            };
            let (texts, folders, is_own) = (Texts::default(), Vec::new(), false);
            return Ok(Self { columns, texts, folders, is_own, records });
        };
        let records = match dialect {
            Some(dialect) => Records::Csv(names, dialect),
            None => Records::Lines,
        };
        let form = Self { columns, texts: Texts::of(&texts), folders, is_own: true, records };
        match choice.filter(|choice| *choice != form.choice()) {
            None => Ok(form),
            Some(_) => {
                let own = form.word();
                let message = format!("the rows are {own}, as their source is");
                Err(Error::new(Exit::Usage, message)
                    .hint("leave --format out: it is for rows of databases and Parquet files"))
            }
        }
    }

    fn choice(&self) -> FormChoice {
        match self.records {
            Records::Csv(..) => FormChoice::Csv,
            Records::Lines => FormChoice::Jsonl,
        }
    }

    /// The format, as a reader's option names it.
    pub(crate) fn word(&self) -> &'static str {
        match self.records {
            Records::Csv(..) => "csv",
            Records::Lines => "jsonl",
        }
    }

    /// The line before the first record.
    pub(super) fn header(&self) -> Option<Vec<u8>> {
        let Records::Csv(names, dialect) = &self.records else { return None };
        let mut header = ID.as_bytes().to_vec();
        for name in names.iter().chain(&self.folders) {
            push(dialect.delimiter, &mut header);
            // A name has been read by this dialect, so it can be written.
            let _ = quoted(name, dialect, false, &mut header);
        }
        header.push(b'\n');
        dialect.header.then_some(header)
    }

    /// The row as a record with its line end.
    ///
    /// # Errors
    /// Why it cannot be exported.
    pub(super) fn record(&self, id: &str, row: &KeptRow) -> Result<Vec<u8>, String> {
        if row.redacted {
            return Err("a secret of the job was removed from it".to_owned());
        }
        if row.cut {
            return Err("it has more than 16 MiB and was cut".to_owned());
        }
        match &self.records {
            Records::Csv(names, dialect) => self.csv(id, row, names, dialect),
            Records::Lines => self.line(id, row),
        }
    }

    fn csv(
        &self,
        id: &str,
        row: &KeptRow,
        names: &[String],
        dialect: &RecordDialect,
    ) -> Result<Vec<u8>, String> {
        let mut record = id.as_bytes().to_vec();
        push(dialect.delimiter, &mut record);
        let verbatim = row.text.as_ref().filter(|_| self.is_own && row.columns.is_empty());
        let start = record.len();
        match (verbatim, row.row.is_some()) {
            (Some(text), _) => record.extend_from_slice(&text.0),
            (None, true) => self.cells(row, names, dialect, &mut record)?,
            (None, false) if !row.columns.is_empty() => {
                return Err("the columns of its file have another order".to_owned());
            }
            (None, false) => return Err("its values are not known".to_owned()),
        }
        for folder in &self.folders {
            push(dialect.delimiter, &mut record);
            let value = match row.row.as_ref().and_then(|values| values.get(folder)) {
                Some(_) => self.value(row, folder)?,
                None => of_folder(row, folder),
            };
            put_cell(value, dialect, &mut record)?;
        }
        if record.len() == start {
            return Err("it is an empty line".to_owned());
        }
        record.push(b'\n');
        Ok(record)
    }

    fn cells(
        &self,
        row: &KeptRow,
        names: &[String],
        dialect: &RecordDialect,
        record: &mut Vec<u8>,
    ) -> Result<(), String> {
        for (number, name) in names.iter().enumerate() {
            if number > 0 {
                push(dialect.delimiter, record);
            }
            put_cell(self.value(row, name)?, dialect, record)
                .map_err(|reason| format!("column `{name}`: {reason}"))?;
        }
        Ok(())
    }

    /// The text of a value; none for NULL, and for a column that was not read.
    fn value(&self, row: &KeptRow, name: &str) -> Result<Option<String>, String> {
        let Some(value) = row.row.as_ref().and_then(|values| values.get(name)) else {
            return Ok(None);
        };
        let Some(column) = self.columns.iter().find(|column| column.name == name) else {
            return Ok(None);
        };
        let kept = Kept { value, stage: row.stage, column };
        self.texts.text(&kept).map_err(|reason| format!("column `{name}`: {reason}"))
    }

    fn line(&self, id: &str, row: &KeptRow) -> Result<Vec<u8>, String> {
        let mut head = JsonRow::default();
        head.text(ID, id);
        let text = row.text.as_ref().filter(|_| self.is_own);
        let folders = self.folders.iter().filter(|_| text.is_some());
        folders.for_each(|folder| match of_folder(row, folder) {
            Some(value) => head.text(folder, &value),
            None => head.null(folder),
        });
        let mut line = match text {
            Some(text) => joined(head, &text.0),
            None => self.object(head, row)?.into_bytes(),
        };
        // Only blank space can be broken: a line end inside of a text is escaped.
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line.push(b'\n');
        Ok(line)
    }

    fn object(&self, mut object: JsonRow, row: &KeptRow) -> Result<String, String> {
        let Some(values) = &row.row else { return Err("its values are not known".to_owned()) };
        for (name, value) in &values.0 {
            let text = self.value(row, name)?;
            let is_text = value.get().starts_with('"');
            let is_document = value.get().starts_with(['{', '[']);
            match text {
                None => object.null(name),
                // A document is as it was kept.
                Some(text) if text == value.get() => object.raw(name, &text),
                Some(text) if is_text => object.text(name, &text),
                // A document that was kept as its text, or an interval.
                Some(text) if is_document => match serde_json::from_str(&text) {
                    Ok(serde_json::Value::Null) => {
                        return Err(format!("column `{name}`: a document `null` would be NULL"));
                    }
                    Ok(_) => object.raw(name, &text),
                    Err(_) => object.text(name, &text),
                },
                // A number keeps its point, whatever separators a CSV file would have.
                Some(_) => object.raw(name, value.get()),
            }
        }
        Ok(object.finish())
    }
}

/// The object of the id, joined with the text of a record.
fn joined(head: JsonRow, text: &[u8]) -> Vec<u8> {
    let mut line = head.finish().into_bytes();
    let text = text.trim_ascii();
    match text.strip_prefix(b"{") {
        Some(rest) if rest.trim_ascii_start().starts_with(b"}") => {
            line.pop();
            line.extend_from_slice(rest);
        }
        Some(rest) => {
            line.pop();
            line.push(b',');
            line.extend_from_slice(rest);
        }
        // No object: it stays as it is, behind that of the id.
        None => line.extend_from_slice(text),
    }
    line
}

/// The dialect of rows whose source is no text.
pub(super) fn usual_dialect() -> RecordDialect {
    RecordDialect {
        delimiter: ',',
        quote: Some('"'),
        escape: None,
        header: true,
        nulls: vec![String::new()],
    }
}

fn put_cell(
    value: Option<String>,
    dialect: &RecordDialect,
    record: &mut Vec<u8>,
) -> Result<(), String> {
    match value {
        None => {
            record.extend_from_slice(dialect.nulls.first().map_or(b"", |null| null.as_bytes()));
            Ok(())
        }
        Some(text) => quoted(&text, dialect, dialect.nulls.contains(&text), record),
    }
}

/// Appends a text so that a reader of the dialect returns it.
fn quoted(
    text: &str,
    dialect: &RecordDialect,
    must: bool,
    record: &mut Vec<u8>,
) -> Result<(), String> {
    let is_special = |c: char| {
        c == dialect.delimiter
            || matches!(c, '\n' | '\r' | '\u{feff}')
            || [dialect.quote, dialect.escape].contains(&Some(c))
    };
    if !must && !text.contains(is_special) {
        record.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let Some(quote) = dialect.quote else {
        return Err("the source's dialect has no quotes, which the value needs".to_owned());
    };
    push(quote, record);
    for c in text.chars() {
        if c == quote || Some(c) == dialect.escape {
            push(dialect.escape.unwrap_or(quote), record);
        }
        push(c, record);
    }
    push(quote, record);
    Ok(())
}

fn push(c: char, record: &mut Vec<u8>) {
    record.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The value that the name of a folder gives: `day=2026-11-21`.
fn of_folder(row: &KeptRow, column: &str) -> Option<String> {
    let parts = row.file.as_deref()?.split('/');
    let value = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| *name == column)?.1;
    (value != "__HIVE_DEFAULT_PARTITION__")
        .then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
pub(in crate::repair) mod tests;
