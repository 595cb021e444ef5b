//! Which tables a job of many tables has, and a plan for each, made as for a job of that table alone.
//! Nothing is written.

use std::{collections::HashMap, path::PathBuf};

use transload_plugin_api::{Dialect, TableInfo, TablePatterns, code};

use super::{
    super::{Failure, Session, job, resume},
    for_table, in_lanes,
    record::TablesRecord,
};
use crate::{
    Error, Exit, Result,
    catalog::Role,
    cli::JobArgs,
    error::Errors,
    job::{Channel, ChosenTable, Inputs, ManyTables},
    journal::new_run,
    plan::Plan,
    report::{TablePlan, TablesPlan},
    tables::TablePages,
};

/// What a job of many tables says, whichever tables there are.
pub(super) struct ManyJob {
    pub(super) name: String,
    pub(super) environment: Option<String>,
    pub(super) inputs: Inputs,
    pub(super) channel: Channel,
    pub(super) many: ManyTables,
    /// The same parameters and dates for every table.
    pub(super) args: JobArgs,
}

/// The tables that patterns choose, and how many views they would choose.
pub(super) struct Listing {
    tables: Vec<TableInfo>,
    views: usize,
}

impl ManyJob {
    /// Reads the job as that of a table that stands for any.
    pub(super) fn open(session: &Session, args: &JobArgs) -> Result<Self, Failure> {
        let (_, job) = job::load(&for_table(session, &session.stop, &ChosenTable::any()), args)?;
        let file: PathBuf = job.inputs.file.clone();
        let args = resume::args_of(&file, job.environment.clone(), &job.inputs);
        let name = job.name.strip_suffix(".schema.table").unwrap_or(&job.name).to_owned();
        Ok(Self {
            name,
            environment: job.environment,
            inputs: job.inputs,
            channel: job.channel,
            many: job.many.unwrap_or_default(),
            args,
        })
    }

    /// # Errors
    /// If the file is another than that of the run.
    pub(super) fn ensure_same(&self, record: &TablesRecord) -> Result<()> {
        if self.inputs.sha256 == record.inputs.sha256 {
            return Ok(());
        }
        let message = "the job file has changed since the run began";
        let hint = format!(
            "undo the change, or give the run up and begin a new one: transload abort {}",
            record.run
        );
        let place = self.inputs.file.display().to_string();
        Err(Error::new(Exit::Usage, message).code(code::RESUME_JOB).at(place).hint(hint))
    }

    /// The tables, by the reader's own list.
    ///
    /// # Errors
    /// If there is none, or a pattern of `[tables]` matches none.
    pub(super) fn list(&self, session: &Session) -> Result<Listing, Failure> {
        let session = for_table(session, &session.stop, &ChosenTable::any());
        let (catalog, job) = job::load(&session, &self.args)?;
        let stall = job.channel.stall_timeout();
        let plugin =
            catalog.plugin_at(&job.reader.plugin, Role::Reader, job.reader.isolation, stall);
        let plugin = plugin.map_err(Error::unusable_plugin)?;
        let mut options = job.reader.options.clone();
        options.values.remove("table");
        (options.schema, options.columns) = (Vec::new(), None);
        let reader = plugin.reader(options, session.host(&job.reader.secrets))?;
        let (mut tables, mut views) = (Vec::new(), 0);
        for page in TablePages::new(&*reader, &self.many.patterns, true) {
            let page = page?;
            views += page.iter().filter(|table| is_view(table)).count();
            tables.extend(page.into_iter().filter(|table| !is_view(table)));
        }
        self.ensure_matches(&tables)?;
        Ok(Listing { tables, views })
    }

    fn ensure_matches(&self, tables: &[TableInfo]) -> Result<()> {
        let refuse = |exit, message: String, key: &str, hint: &str| {
            Err(Error::new(exit, message).code(code::PLAN_TABLES).of_key(key).hint(hint))
        };
        if tables.is_empty() {
            let patterns: Vec<_> =
                self.many.patterns.iter().map(|text| format!("`{text}`")).collect();
            let message = format!("no table matches {}", patterns.join(", "));
            let hint = "list them: transload discover CONNECTION";
            return refuse(Exit::NotFound, message, "reader.tables", hint);
        }
        for pattern in &self.many.overrides {
            let parsed = TablePatterns::parse(std::slice::from_ref(pattern))?;
            if !tables.iter().any(|it| parsed.matches(it.schema.as_deref(), it.bare())) {
                let message = format!("`[tables.\"{pattern}\"]` matches no table of the job");
                let hint = "write schema and table as `transload plan` shows them";
                return refuse(Exit::Usage, message, "tables", hint);
            }
        }
        Ok(())
    }

    /// A plan for each table, the largest first.
    ///
    /// # Errors
    /// Those of all tables together; that two tables have one target.
    pub(super) fn plan(&self, session: &Session, listing: &Listing) -> Result<TablesPlan, Failure> {
        let lanes = self.channel.parallelism.get();
        let plans = in_lanes(lanes, listing.tables.len(), |at| {
            let is_stopped = session.stop.is_stopped();
            (!is_stopped).then(|| self.plan_table(session, &listing.tables[at]))
        })?;
        session.stop.check()?;
        let (mut tables, mut errors, mut dialect) = (Vec::new(), Errors::default(), None);
        for (plan, table) in plans.into_iter().flatten().zip(&listing.tables) {
            match plan {
                Ok((plan, own)) => {
                    tables.push(plan);
                    dialect = Some(own);
                }
                // The file is at fault, and the others would say the same.
                Err(Failure::Problems(problems, exit)) => {
                    return Err(Failure::Problems(problems, exit));
                }
                Err(failure) => {
                    let place = format!("table {}", table.path());
                    errors.0.extend(of_failure(failure).0.into_iter().map(|it| it.within(&place)));
                }
            }
        }
        errors.into_result()?;
        ensure_different(&tables, dialect.unwrap_or_default())?;
        tables.sort_by_key(|table| std::cmp::Reverse(table.weight()));
        Ok(TablesPlan {
            job: self.name.clone(),
            environment: self.environment.clone(),
            lanes,
            notes: notes(&tables, listing),
            tables,
        })
    }

    fn plan_table(
        &self,
        session: &Session,
        table: &TableInfo,
    ) -> Result<(TablePlan, Dialect), Failure> {
        let chosen = ChosenTable::of(table);
        let session = for_table(session, &session.stop, &chosen);
        let (catalog, job) = job::load(&session, &self.args)?;
        let stores = job::open(&session, &catalog, &job)?;
        let plan = Plan::new(&job, new_run(), &stores)?;
        let dialect = stores.writer_descriptor.dialect;
        Ok((TablePlan::new(chosen, table, &plan), dialect))
    }
}

fn is_view(table: &TableInfo) -> bool {
    table.kind.contains("view")
}

fn of_failure(failure: Failure) -> Errors {
    match failure {
        Failure::Error(error) => error.into(),
        Failure::Errors(errors) => errors,
        Failure::Problems(problems, exit) => Error::new(exit, problems.to_string()).into(),
    }
}

/// # Errors
/// If two tables would be written to one target.
fn ensure_different(tables: &[TablePlan], dialect: Dialect) -> Result<()> {
    let mut targets: HashMap<String, &str> = HashMap::new();
    for table in tables {
        // These may take names for equal that differ in case.
        let name = match dialect {
            Dialect::Mysql | Dialect::Sqlite => table.target.to_lowercase(),
            _ => table.target.clone(),
        };
        if let Some(first) = targets.insert(name, &table.table) {
            let (second, target) = (&table.table, &table.target);
            let message = format!("`{first}` and `{second}` would both be written to `{target}`");
            return Err(Error::new(Exit::Usage, message)
                .code(code::PLAN_TABLES)
                .of_key("writer.table")
                .hint("put `{schema}` into the target's name, or leave one of them out with `!`"));
        }
    }
    Ok(())
}

/// What holds for all tables.
fn notes(tables: &[TablePlan], listing: &Listing) -> Vec<String> {
    let mut notes = vec![
        "each table is read as of a moment of its own: rows that refer to another table may be newer \
         or older than that"
            .to_owned(),
    ];
    if tables.iter().any(|table| table.is_created) {
        notes.push(
            "tables are created with columns, `NOT NULL` and primary key; foreign keys, secondary \
             indexes, checks, triggers and sequences are not carried"
                .to_owned(),
        );
    }
    if listing.views > 0 {
        let (views, verb) = match listing.views {
            1 => ("1 view".to_owned(), "is"),
            views => (format!("{views} views"), "are"),
        };
        notes.push(format!("{views} that the patterns match {verb} left out"));
    }
    notes
}
