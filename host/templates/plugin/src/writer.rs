//! Writes a table: a chunk is added to its file when it is committed.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind as IoKind, Write as _},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};
use transload_plugin_api::{
    arrow_array::{
        RecordBatch,
        cast::AsArray as _,
        types::{Int32Type, Int64Type},
    },
    *,
};

use crate::store::Store;

/// One chunk at a time is added.
static ADDING: Mutex<()> = Mutex::new(());

impl Store {
    /// Where the last committed run is kept, so that a commit can be repeated.
    fn committed(&self) -> Result<PathBuf> {
        Ok(self.folder.join(format!("{}.committed", self.table()?)))
    }
}

impl Writer for Store {
    fn check(&self) -> Result<Vec<Finding>> {
        Store::check(self)
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.tables()
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let (name, columns) = (self.table()?.to_owned(), self.columns()?);
        let (exists, columns) = (columns.is_some(), columns.unwrap_or_default());
        Ok(TargetInfo { name, exists, columns, ..TargetInfo::default() })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        if plan.mode != WriteMode::Insert {
            return Err(Error::unsupported(format!("no write mode `{}`", plan.mode.word())));
        }
        for column in &plan.columns {
            let Column { name, logical, .. } = column;
            if !matches!(logical, LogicalType::Int32 | LogicalType::Int64 | LogicalType::Text { .. }) {
                return Err(Error::unsupported(format!("column `{name}`: no values of {logical}")));
            }
        }
        let names = |columns: &[Column]| columns.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        if let Some(own) = self.columns()?
            && names(&own) != names(&plan.columns)
        {
            return Err(Error::schema(format!("the table has the columns {}", names(&own).join(", "))));
        }
        let because = "a rerun adds the rows again".to_owned();
        Ok(WriteDraft { columns: plan.columns.clone(), because, ..WriteDraft::default() })
    }

    fn prepare(&self, _: &WritePlan) -> Result<()> {
        self.host.cancel().check()
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let (store, columns, task) = (self.clone(), plan.columns.clone(), task.task);
        Ok(Box::new(Chunks { store, columns, task, lines: String::new() }))
    }

    fn commit(&self, plan: &WritePlan, _: &[Receipt]) -> Result<ChunkOutcome> {
        let path = self.committed()?;
        if fs::read_to_string(&path).is_ok_and(|run| run == plan.run) {
            return Ok(ChunkOutcome::AlreadyCommitted);
        }
        fs::write(path, &plan.run)?;
        Ok(ChunkOutcome::Committed)
    }

    /// Nothing is staged. A clean-up does its work regardless of the stop signal.
    fn abort(&self, _: &WritePlan, _: &[Receipt]) -> Result<()> {
        Ok(())
    }

    fn finalise(&self, _: &WritePlan) -> Result<()> {
        Ok(())
    }
}

struct Chunks {
    store: Store,
    columns: Vec<Column>,
    task: u32,
    /// The open chunk.
    lines: String,
}

impl WriteTask for Chunks {
    fn begin_chunk(&mut self, _: u64) -> Result<()> {
        self.rollback_chunk()
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        self.store.host.cancel().check()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = batch.columns().iter().map(|array| cell(array, row)).collect();
            self.lines += &json!(cells).to_string();
            self.lines.push('\n');
        }
        Ok(Written { inserted: batch.num_rows() as u64, ..Written::default() })
    }

    fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
        self.store.host.cancel().check()?;
        let _adding = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.store.path()?;
        let new = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = match new {
            Err(error) if error.kind() == IoKind::AlreadyExists => {
                OpenOptions::new().append(true).open(&path)?
            }
            file => file?,
        };
        let before = file.metadata()?.len();
        if before == 0 {
            let head = |it: &Column| json!([it.name, it.logical.to_string(), it.nullable]);
            let head: Vec<_> = self.columns.iter().map(head).collect();
            self.lines.insert_str(0, &format!("{}\n", json!(head)));
        }
        if let Err(error) = file.write_all(self.lines.as_bytes()) {
            file.set_len(before)?; // a chunk is in the table completely or not at all
            return Err(error.into());
        }
        self.lines.clear();
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        self.lines.clear();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        Ok(Receipt { task: self.task, data: String::new() })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn cell(array: &dyn arrow_array::Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        arrow_schema::DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        arrow_schema::DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        _ => array.as_string::<i32>().value(row).into(),
    }
}
