//! The target of a job: a table to which a driver's bulk ingest appends rows. Chunks are `load`'s
//! part.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use parking_lot::Mutex;
use transload_plugin_api::{
    Cancel, ChunkOutcome, Column, Error, Finding, Guarantee, Host, LogicalType, Options, Receipt,
    Result, Statement, TableInfo, TargetInfo, TaskContext, WriteDraft, WriteMode, WritePlan,
    WriteTask, Writer, code,
};
use transload_tables::{ConnectionStages, Dialect as _, Drafting, TargetTable, plain};

use crate::{
    dialect::StandardDialect,
    load::{AdbcTask, Load, Turns},
    options::parse_writer,
    reader::check_connection,
    session::{CREATE, Session},
    store::Store,
    types::column_of,
};

/// A driver's database that a table is written to.
pub(crate) struct AdbcTarget {
    store: Arc<Store>,
    target: TargetTable,
    turns: Arc<Turns>,
    progress: Mutex<Progress>,
}

/// How far this process has come with its run.
#[derive(Default)]
struct Progress {
    is_prepared: bool,
    has_created: bool,
    is_committed: bool,
}

/// The writer that the options ask for.
pub(crate) fn writer(options: &Options, host: &Host) -> Result<Box<dyn Writer>> {
    let (parsed, target) = parse_writer(options)?;
    let store = Arc::new(Store::new(parsed, host));
    let (turns, progress) = (Arc::default(), Mutex::default());
    Ok(Box::new(AdbcTarget { store, target, turns, progress }))
}

/// The target as it is now.
struct Table {
    /// `None` if there is none.
    columns: Option<Vec<Column>>,
    is_untyped: bool,
}

impl AdbcTarget {
    fn connect(&self) -> Result<Session> {
        self.store.connect(self.store.host.cancel())
    }

    fn look(&self, session: &Session) -> Result<Table> {
        let is_untyped = session.is_untyped();
        let column = |field: &Arc<Field>| {
            let mut column = match column_of(field) {
                Some(column) if !is_untyped => column,
                _ => Column::new(field.name(), LogicalType::TEXT, true),
            };
            // The driver does not tell what the database fills by itself, or computes.
            (column.nullable, column.has_default, column.inferred) = (true, true, is_untyped);
            column
        };
        let schema = session.table_schema(self.target.table()?)?;
        let columns = schema.map(|schema| schema.fields().iter().map(column).collect());
        Ok(Table { columns, is_untyped })
    }

    /// The plan's columns as they are written.
    fn accepted(&self, plan: &WritePlan, table: &Table) -> Result<Vec<Column>> {
        let name = self.target.table()?;
        let Some(columns) = &table.columns else {
            if !plan.create_table {
                return Err(Error::not_found(format!("there is no table `{name}`"))
                    .with_code(code::TABLE_MISSING)
                    .of_key("table")
                    .hint("`create_table = true` creates it from the source's columns"));
            }
            return plan.columns.iter().map(|column| taken(column, column, table)).collect();
        };
        let drafting = Drafting { dialect: &StandardDialect, plan };
        let accept = |own: &Column, column: &Column| taken(own, column, table);
        Ok(drafting.existing_table(name, columns, &[], accept)?.columns)
    }

    /// What tasks write: in the order of the table's columns.
    fn load(&self, plan: &WritePlan, session: &Session) -> Result<Load> {
        let name = self.target.table()?.clone();
        let found = self.look(session)?;
        let Some(columns) = found.columns else {
            return Err(Error::schema(format!("table `{name}` is gone"))
                .hint("it was there when the run was prepared"));
        };
        let place = |column: &Column| columns.iter().position(|own| own.name == column.name);
        let mut order: Vec<_> = (0..plan.columns.len()).collect();
        order.sort_by_key(|at| place(&plan.columns[*at]));
        Ok(Load {
            table: name,
            columns: order.iter().map(|at| plan.columns[*at].clone()).collect(),
            indexes: order,
            enough_dirty: plan.enough_dirty(),
            changes_floats: found.is_untyped,
        })
    }

    fn create(&self, plan: &WritePlan, session: &Session) -> Result<()> {
        let field =
            |column: &Column| Field::new(&column.name, column.logical.data_type(), column.nullable);
        let schema = Schema::new(plan.columns.iter().map(field).collect::<Vec<_>>());
        let none = RecordBatch::new_empty(Arc::new(schema));
        session.ingest(self.target.table()?, CREATE, &none)
    }

    fn run_all(session: &Session, key: &str, statements: &[String]) -> Result<()> {
        for (at, sql) in statements.iter().enumerate() {
            let ran = session.execute(&format!("run `{key}`"), sql);
            ran.map_err(|error| error.of_key(format!("{key}[{at}]")))?;
        }
        Ok(())
    }
}

/// A column as the target takes it. Where columns have no types, values go in those that the
/// driver's ingest knows, the others as text.
fn taken(own: &Column, column: &Column, table: &Table) -> Result<Column> {
    use LogicalType as T;
    let mut taken = own.clone();
    (taken.inferred, taken.nullable) = (false, true);
    if table.is_untyped || table.columns.is_none() {
        taken.logical = column.logical.clone();
    }
    if table.is_untyped {
        taken.logical = match &column.logical {
            // A column of numbers would keep 15 digits of it.
            T::Decimal { .. } | T::Numeric if table.columns.is_some() => {
                let message = format!("column `{}` is `{}`", column.name, column.logical);
                return Err(Error::unsupported(format!("{message}, which SQLite may round"))
                    .hint("write it by the plugin `sqlite`, or to a table that the job creates"));
            }
            T::Decimal { .. } | T::Numeric => T::Numeric,
            T::Time { .. } | T::Duration | T::Interval | T::Uuid | T::Json => T::TEXT,
            T::List(_) | T::Native(_) => {
                let message = format!("column `{}` is `{}`", column.name, column.logical);
                return Err(Error::unsupported(format!(
                    "{message}, which the driver does not take"
                ))
                .hint("leave it out of `columns`"));
            }
            other => other.clone(),
        };
    }
    Ok(taken)
}

impl Writer for AdbcTarget {
    fn check(&self) -> Result<Vec<Finding>> {
        let mut stages = ConnectionStages::default();
        if let Some(session) = check_connection(&self.store, &mut stages)
            && self.target.named().is_some()
        {
            let words = |table: Table| match table.columns {
                Some(columns) => format!("the table has {} columns", columns.len()),
                None => "the table does not exist yet".to_owned(),
            };
            stages.report("table", self.look(&session).map(words));
        }
        Ok(stages.into_findings())
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.connect()?.tables()
    }

    fn inspect(&self) -> Result<TargetInfo> {
        let name = self.target.table()?.to_string();
        let columns = self.look(&self.connect()?)?.columns;
        let exists = columns.is_some();
        Ok(TargetInfo {
            name,
            exists,
            columns: columns.unwrap_or_default(),
            ..TargetInfo::default()
        })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        if plan.mode != WriteMode::Insert {
            let message = format!("a driver's bulk ingest has no `{}`", plan.mode.word());
            return Err(Error::unsupported(message)
                .of_key("write_mode")
                .hint("leave `write_mode` out, or write to a new table and let `after` merge it"));
        }
        let session = self.connect()?;
        let table = self.look(&session)?;
        let columns = self.accepted(plan, &table)?;
        let name = self.target.table()?;
        let mut statements: Vec<Statement> = Vec::new();
        if table.columns.is_none() {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            let (table, names) =
                (StandardDialect.quoted_table(name), StandardDialect.quoted_list(&names));
            statements.push(plain(format!("the driver creates {table} ({names})")));
        }
        statements.extend(plan.before.iter().chain(&plan.after).cloned().map(plain));
        let mut warnings = Vec::new();
        if table.columns.is_none() && !plan.key.is_empty() {
            warnings.push("the driver creates the table without a key".to_owned());
        }
        if table.is_untyped && table.columns.is_some() {
            let warning = "SQLite converts values to the type that a column is declared with: `007` \
                becomes 7 in a column of numbers; the plugin `sqlite` refuses such rows";
            warnings.push(warning.to_owned());
        }
        Ok(WriteDraft {
            columns,
            statements,
            guarantee: Guarantee::AtLeastOnce,
            because: "a chunk whose commit was not confirmed may be in, and ADBC has no way to ask"
                .to_owned(),
            warnings,
            ..WriteDraft::default()
        })
    }

    fn prepare(&self, plan: &WritePlan) -> Result<()> {
        let mut progress = self.progress.lock();
        if progress.is_prepared {
            return Ok(());
        }
        let session = self.connect()?;
        if !plan.is_resumed {
            Self::run_all(&session, "before", &plan.before)?;
        }
        let table = self.look(&session)?;
        self.accepted(plan, &table)?;
        if table.columns.is_none() {
            self.create(plan, &session)?;
            progress.has_created = true;
        }
        progress.is_prepared = true;
        Ok(())
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        let load = self.load(plan, &self.connect()?)?;
        Ok(Box::new(AdbcTask::open(&self.store, &self.turns, load, task.task)?))
    }

    fn commit(&self, plan: &WritePlan, _receipts: &[Receipt]) -> Result<ChunkOutcome> {
        let mut progress = self.progress.lock();
        if progress.is_committed {
            return Ok(ChunkOutcome::AlreadyCommitted);
        }
        if !plan.after.is_empty() {
            Self::run_all(&self.connect()?, "after", &plan.after)?;
        }
        progress.is_committed = true;
        Ok(ChunkOutcome::Committed)
    }

    fn abort(&self, _plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        let mut progress = self.progress.lock();
        if !progress.has_created {
            return Ok(());
        }
        let session = self.store.connect(&Cancel::new())?;
        let table = StandardDialect.quoted_table(self.target.table()?);
        let count = session.texts("count the rows", &format!("SELECT count(*) FROM {table}"))?;
        if count.first().and_then(|row| row.first()) == Some(&Some("0".to_owned())) {
            session.execute("drop the created table", &format!("DROP TABLE {table}"))?;
        }
        progress.has_created = false;
        Ok(())
    }

    fn finalise(&self, _plan: &WritePlan) -> Result<()> {
        Ok(())
    }
}
