//! Writes hashes. A chunk is one transaction (MULTI, EXEC) that watches the keys it has looked at, so a
//! key that another client writes meanwhile makes Redis refuse it, and the host replays the chunk.

use std::collections::HashSet;

use serde_json::json;
use transload_plugin_api::{arrow_array::RecordBatch, *};
use transload_values::{CellWords, ColumnParser, ColumnRenderer};

use crate::{
    resp::{Command, Connection, Reply, command},
    store::{Store, accepted, row_key, text_of},
};

impl Writer for Store {
    fn check(&self) -> Result<Vec<Finding>> {
        self.findings()
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.prefixes()
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let name = self.prefix()?.to_owned();
        let columns = self.columns(&mut self.connect()?)?;
        let (exists, columns) = (columns.is_some(), columns.unwrap_or_default());
        Ok(TargetInfo { name, exists, columns, ..TargetInfo::default() })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        if plan.mode == WriteMode::Overwrite {
            return Err(Error::unsupported("Redis has no write mode `overwrite`"));
        }
        if plan.key.is_empty() {
            let error = Error::schema("the key of a row is not named");
            return Err(error.with_code(code::PLAN_KEY).hint("name it: key = [\"...\"]"));
        }
        for name in &plan.key {
            if !plan.columns.iter().any(|column| column.name == *name) {
                return Err(Error::schema(format!("key column `{name}` is not written")));
            }
        }
        for column in &plan.columns {
            ColumnParser::new(column, &CellWords::default())?; // which tells of types without a text
        }
        let guarantee = match plan.mode {
            WriteMode::Insert => Guarantee::AtLeastOnce,
            _ => Guarantee::Convergent,
        };
        let because = "Redis keeps no commit tokens".to_owned();
        Ok(WriteDraft { columns: plan.columns.clone(), guarantee, because, ..WriteDraft::default() })
    }

    fn prepare(&self, _: &WritePlan) -> Result<()> {
        self.connect().map(drop)
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let connection = Some(self.connect()?);
        let prefix = self.prefix()?.to_owned();
        Ok(Box::new(Chunks {
            store: self.clone(),
            prefix,
            connection,
            plan: plan.clone(),
            task: task.task,
            commands: Vec::new(),
            own: HashSet::new(),
        }))
    }

    fn commit(&self, plan: &WritePlan, _: &[Receipt]) -> Result<ChunkOutcome> {
        let mut connection = self.connect()?;
        let key = format!("{}#run", self.prefix()?);
        let before = connection.one(command(["GETSET", &key, &plan.run]))?;
        let again = before == Reply::Text(plan.run.clone().into_bytes());
        Ok(if again { ChunkOutcome::AlreadyCommitted } else { ChunkOutcome::Committed })
    }

    /// Nothing is staged in Redis: a transaction that was not sent is not there.
    fn abort(&self, _: &WritePlan, _: &[Receipt]) -> Result<()> {
        Ok(())
    }

    fn finalise(&self, _: &WritePlan) -> Result<()> {
        Ok(())
    }
}

struct Chunks {
    store: Store,
    prefix: String,
    /// None behind one that was lost.
    connection: Option<Connection>,
    plan: WritePlan,
    task: u32,
    /// The open chunk.
    commands: Vec<Command>,
    /// Keys that it has written.
    own: HashSet<Vec<u8>>,
}

impl WriteTask for Chunks {
    fn begin_chunk(&mut self, _: u64) -> Result<()> {
        self.rollback_chunk()?;
        self.call(&[command(["UNWATCH"])])?;
        self.commands.push(command(["MULTI"]));
        let noted = |it: &Column| json!([it.name, it.logical.to_string(), it.nullable]);
        let columns: Vec<_> = self.plan.columns.iter().map(noted).collect();
        let key = format!("{}#columns", self.prefix);
        self.commands.push(command(["SET", &key, &json!(columns).to_string()]));
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        self.store.host.cancel().check()?;
        let rows = self.rows(batch)?;
        let kinds = self.look_at(&rows)?;
        let mut written = Written::default();
        for (index, (row, kind)) in rows.into_iter().zip(kinds).enumerate() {
            if !matches!(&*kind, b"none" | b"hash") {
                let reason = format!("the key holds a {}", String::from_utf8_lossy(&kind));
                written.dirty.push(DirtyRow::new("kind", reason).row(index as u64));
                continue;
            }
            let exists = !self.own.insert(row.key.clone()) || *kind == *b"hash";
            match (self.plan.mode, exists) {
                (WriteMode::Ignore, true) => {
                    written.skipped += 1;
                    continue;
                }
                (WriteMode::Insert | WriteMode::Overwrite, true) => {
                    let dirty = DirtyRow::new("unique", "the key exists").row(index as u64);
                    written.dirty.push(dirty);
                    continue;
                }
                (_, true) => written.updated += 1,
                (_, false) => written.inserted += 1,
            }
            self.put(row, exists);
        }
        Ok(written)
    }

    fn commit_chunk(&mut self, _: &Position, _: &Counters) -> Result<ChunkOutcome> {
        self.store.host.cancel().check()?;
        self.own.clear();
        let commands = std::mem::take(&mut self.commands);
        self.call(&commands)?;
        match self.call(&[command(["EXEC"])]) {
            Ok(replies) if matches!(replies[..], [Reply::List(_)]) => Ok(ChunkOutcome::Committed),
            Ok(_) => Err(Error::retry("another client has written to a key of the chunk")),
            // It was sent: whether Redis has done it is not known.
            Err(error) => Ok(ChunkOutcome::Unknown { evidence: error.to_string() }),
        }
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        // What was collected was not sent. Keys that stay watched only make the next chunk replay.
        self.commands.clear();
        self.own.clear();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        Ok(Receipt { task: self.task, data: String::new() })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// A row as it is sent: its key, and the text of each column, none for NULL.
struct Row {
    key: Vec<u8>,
    texts: Vec<Option<Vec<u8>>>,
}

impl Chunks {
    fn rows(&self, batch: &RecordBatch) -> Result<Vec<Row>> {
        let columns = &self.plan.columns;
        let renderers = columns.iter().zip(batch.columns());
        let renderers = renderers.map(|(column, array)| ColumnRenderer::new(column, array));
        let renderers = renderers.collect::<Result<Vec<_>>>()?;
        let text = |renderer: &ColumnRenderer<'_>, row| {
            let mut text = Vec::new();
            (!renderer.is_null(row)).then(|| {
                renderer.render(row, &mut text);
                text
            })
        };
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let key: Vec<_> = self.plan.key.iter().filter_map(place).collect();
        let row = |row| {
            let texts: Vec<_> = renderers.iter().map(|renderer| text(renderer, row)).collect();
            let parts = key.iter().map(|place| texts[*place].as_deref().unwrap_or_default());
            Row { key: row_key(&self.prefix, parts), texts }
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }

    /// Sends commands, of which none may be refused, over a new connection if the last was lost. What
    /// was sent before EXEC has no effect, so a lost connection asks for a replay.
    fn call(&mut self, commands: &[Command]) -> Result<Vec<Reply>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.connect()?,
        };
        let replies = accepted(&mut connection, commands);
        match replies {
            Err(error) if error.kind == ErrorKind::Connection => {
                Err(Error::retry("the connection was lost").caused_by(&error))
            }
            Err(error) if error.kind == ErrorKind::Cancelled => Err(error),
            replies => {
                self.connection = Some(connection);
                replies
            }
        }
    }

    /// Watches the keys, and says what each holds.
    fn look_at(&mut self, rows: &[Row]) -> Result<Vec<Vec<u8>>> {
        let look = |row: &Row| {
            [b"WATCH".to_vec(), b"TYPE".to_vec()].map(|word| vec![word, row.key.clone()])
        };
        let commands: Vec<_> = rows.iter().flat_map(look).collect();
        let kinds = self.call(&commands)?.into_iter().skip(1).step_by(2);
        Ok(kinds.map(|kind| text_of(kind).unwrap_or_default()).collect())
    }

    /// Adds the commands of a row to the transaction.
    fn put(&mut self, row: Row, exists: bool) {
        let WritePlan { mode, update_columns, columns, .. } = &self.plan;
        let updates = *mode == WriteMode::Upsert && exists;
        let mut set = vec![b"HSET".to_vec(), row.key.clone()];
        let mut removed = vec![b"HDEL".to_vec(), row.key.clone()];
        for (column, text) in columns.iter().zip(row.texts) {
            if updates && !update_columns.contains(&column.name) {
                continue;
            }
            let name = column.name.as_bytes().to_vec();
            match text {
                Some(text) => set.extend([name, text]),
                None => removed.push(name), // an old value does not stay where the new one is NULL
            }
        }
        if exists && !updates {
            self.commands.push(vec![b"DEL".to_vec(), row.key]);
        } else if exists && removed.len() > 2 {
            self.commands.push(removed);
        }
        if set.len() > 2 {
            self.commands.push(set);
        }
    }
}
