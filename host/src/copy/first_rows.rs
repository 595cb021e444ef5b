//! The first rows of a source as texts, and where the type of each column comes from. The source is
//! closed as soon as there are enough.

use serde::Serialize;
use transload_plugin_api::{
    Column, LogicalType, ReadBatch, Reader, SourceSchema, SplitRequest, code,
};

use crate::{
    Error, Exit, Result,
    convert::{Converter, show},
    engine::Stop,
    error::Errors,
    job::JobReader,
    plan::named_columns,
};

/// Where a column's type comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TypeOrigin {
    /// The job or a flag says it.
    Declared,
    /// A sample of the texts fits it.
    Inferred,
    /// The source has this type of its own.
    Native,
}

/// A column of a preview.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SeenColumn {
    pub(crate) name: String,
    /// The type in which values travel.
    #[serde(rename = "type")]
    pub(crate) logical: LogicalType,
    /// The source's word for it; empty if it has none.
    pub(crate) native: String,
    pub(crate) nullable: bool,
    pub(crate) origin: TypeOrigin,
    /// It is a part of the primary key.
    pub(crate) is_key: bool,
}

impl SeenColumn {
    /// Where the type comes from, in words.
    pub(crate) fn from(&self) -> String {
        match &self.origin {
            TypeOrigin::Declared if self.native.is_empty() => "declared".to_owned(),
            TypeOrigin::Declared => format!("declared ({})", self.native),
            TypeOrigin::Inferred => "inferred from text".to_owned(),
            TypeOrigin::Native if self.native.is_empty() => "of the source".to_owned(),
            TypeOrigin::Native => self.native.clone(),
        }
    }
}

/// The first rows.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FirstRows {
    pub(crate) columns: Vec<SeenColumn>,
    /// The text of each value; none for NULL.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// Whether there are more rows.
    pub(crate) more: bool,
    /// Rows in front of the last one shown that cannot be read, with place and reason.
    pub(crate) dirty: Vec<String>,
    /// What the source says of itself: what was inferred, what is left out.
    pub(crate) notes: Vec<String>,
}

/// The columns of a source that a job chooses.
pub(crate) struct SourceColumns {
    /// In the types of the job.
    wanted: Vec<Column>,
    pub(crate) seen: Vec<SeenColumn>,
    notes: Vec<String>,
}

impl SourceColumns {
    /// # Errors
    /// As [`Reader::schema`]; for a column that the source does not have.
    pub(crate) fn of(reader: &dyn Reader, job: &JobReader) -> Result<Self, Errors> {
        let mut source = reader.schema().map_err(Error::from)?;
        let mut errors = Errors::default();
        errors.add(&mut source.problems);
        let wanted = match &job.columns {
            Some(names) => named_columns(names, &source, &mut errors),
            None => source.columns.clone(),
        };
        errors.into_result()?;
        let (wanted, seen) = wanted.into_iter().map(|column| seen(column, job, &source)).unzip();
        let notes = source.notes.into_iter().chain(source.warnings).collect();
        Ok(Self { wanted, seen, notes })
    }

    /// Reads at most `count` rows.
    ///
    /// # Errors
    /// Of the reader.
    pub(crate) fn first(self, reader: &dyn Reader, count: usize, stop: &Stop) -> Result<FirstRows> {
        let Self { wanted, seen, notes } = self;
        let mut first = FirstRows { columns: seen, notes, ..FirstRows::default() };
        if count == 0 || wanted.is_empty() {
            return Ok(first);
        }
        let produced = reader.produces(&wanted)?;
        let converter = Converter::new(&produced, &wanted);
        for split in reader.splits(&SplitRequest::new(1, produced.clone()))? {
            let mut task = reader.open(&split, &produced, None)?;
            while let Some(read) = task.next_batch()? {
                stop.check()?;
                first.take(&read, &converter, &wanted, count)?;
                if first.more {
                    return Ok(first);
                }
            }
        }
        Ok(first)
    }
}

fn seen(column: Column, job: &JobReader, source: &SourceSchema) -> (Column, SeenColumn) {
    let declared = job.options.schema.iter().find(|declared| declared.name == column.name);
    let origin = match declared {
        Some(_) => TypeOrigin::Declared,
        None if column.inferred => TypeOrigin::Inferred,
        None => TypeOrigin::Native,
    };
    let logical = declared.map_or_else(|| column.logical.clone(), |it| it.logical.clone());
    let wanted = Column { logical: logical.clone(), native_form: None, ..column };
    let is_key = source.keys.iter().any(|key| key.primary && key.columns.contains(&wanted.name));
    let seen = SeenColumn {
        name: wanted.name.clone(),
        logical,
        native: wanted.native.clone(),
        nullable: wanted.nullable,
        origin,
        is_key,
    };
    (wanted, seen)
}

impl FirstRows {
    fn take(
        &mut self,
        read: &ReadBatch,
        converter: &Converter,
        wanted: &[Column],
        count: usize,
    ) -> Result<()> {
        let converted = converter.convert(&read.batch).map_err(|error| {
            let message =
                format!("the batch does not have the columns that were asked for: {error}");
            Error::new(Exit::Plugin, message).code(code::PLUGIN_CONTRACT)
        })?;
        let place = |row: u64| read.origin.as_ref().map(|origin| origin.place(row));
        let of_target = converted.dirty.iter().map(|row| (place(row.row), &row.reason));
        let of_source = read.dirty.iter().map(|row| (row.place.clone(), &row.reason));
        let words = |(place, reason): (Option<String>, &String)| match place {
            Some(place) => format!("{place}: {reason}"),
            None => reason.clone(),
        };
        self.dirty.extend(of_source.chain(of_target).map(words));
        let batch = &converted.batch;
        for row in 0..batch.num_rows() {
            if self.rows.len() == count {
                self.more = true;
                return Ok(());
            }
            let value = |(column, array): (&Column, &arrow_array::ArrayRef)| {
                (!array.is_null(row)).then(|| show(array, &column.logical, row))
            };
            self.rows.push(wanted.iter().zip(batch.columns()).map(value).collect());
        }
        Ok(())
    }
}
