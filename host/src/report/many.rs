//! Plan and report of a job of many tables, as text and as JSON: a line for each table.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use transload_plugin_api::{Counters, TableInfo};

use super::{
    Report,
    page::{Cell, Page, Style},
    summary::{bytes, duration, grouped},
};
use crate::{Error, Exit, job::ChosenTable, plan::Plan};

/// Rows of an unknown size count as so many bytes where tables are put in order.
const BYTES_OF_ROW: u64 = 100;
/// Lines of warnings and losses that the plan shows; JSON has all.
const SHOWN: usize = 30;

/// The plans of all tables.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TablesPlan {
    pub(crate) job: String,
    pub(crate) environment: Option<String>,
    /// Tasks that run at a time, of all tables together.
    pub(crate) lanes: u32,
    pub(crate) notes: Vec<String>,
    /// In the order in which they begin.
    pub(crate) tables: Vec<TablePlan>,
}

/// What the plan of one table says.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TablePlan {
    /// Schema and table.
    pub(crate) table: String,
    #[serde(skip)]
    pub(crate) chosen: ChosenTable,
    pub(crate) target: String,
    /// The target is created.
    pub(crate) is_created: bool,
    /// About how many, if the store knows.
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) columns: usize,
    pub(crate) tasks: usize,
    pub(crate) write_mode: &'static str,
    pub(crate) guarantee: &'static str,
    /// What the source's table has and the one that is created does not get.
    pub(crate) not_carried: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl TablePlan {
    /// What is told of a table's plan.
    pub(crate) fn new(chosen: ChosenTable, table: &TableInfo, plan: &Plan) -> Self {
        let of_splits = |size: fn(&transload_plugin_api::Split) -> Option<u64>| {
            plan.splits.iter().map(size).sum::<Option<u64>>().filter(|sum| *sum > 0)
        };
        let is_created = plan.write.create_table && !plan.target.exists;
        Self {
            table: chosen.path(),
            chosen,
            target: plan.target.name.clone(),
            is_created,
            rows: table.rows.or_else(|| of_splits(|split| split.rows)),
            bytes: table.bytes.or_else(|| of_splits(|split| split.bytes)),
            columns: plan.mapping.len(),
            tasks: plan.splits.len(),
            write_mode: plan.write.mode.word(),
            guarantee: plan.guarantee.word(),
            not_carried: if is_created { not_carried(table) } else { Vec::new() },
            notes: plan.notes.clone(),
            warnings: plan.warnings.clone(),
        }
    }

    /// Its size, for an order.
    pub(crate) fn weight(&self) -> u64 {
        let of_rows = self.rows.map(|rows| rows.saturating_mul(BYTES_OF_ROW));
        self.bytes.or(of_rows).unwrap_or_default()
    }
}

/// What a table has that is created neither with it nor after it.
fn not_carried(table: &TableInfo) -> Vec<String> {
    let names = |is: fn(&transload_plugin_api::Column) -> bool| {
        let columns = table.columns.iter().filter(|column| is(column));
        columns.map(|column| format!("`{}`", column.name)).collect::<Vec<_>>().join(", ")
    };
    let mut lost = Vec::new();
    let defaults = names(|column| column.has_default);
    if !defaults.is_empty() {
        lost.push(format!("defaults and identity of {defaults}"));
    }
    let generated = names(|column| column.generated);
    if !generated.is_empty() {
        lost.push(format!("how {generated} is computed"));
    }
    for key in table.keys.iter().filter(|key| !key.primary) {
        lost.push(format!("unique key ({})", key.columns.join(", ")));
    }
    if table.comment.is_some() {
        lost.push("comment".to_owned());
    }
    lost
}

/// What came of one table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TableResult {
    /// Schema and table.
    pub(crate) table: String,
    pub(crate) target: Option<String>,
    /// `done`, `failed`, `stopped`, `not-begun`, or `done-before` by the process that was resumed.
    pub(crate) status: &'static str,
    pub(crate) run: Option<String>,
    pub(crate) rows: Counters,
    pub(crate) bytes_read: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) warnings: Vec<String>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) error: Option<Error>,
}

impl TableResult {
    fn new(table: String, status: &'static str) -> Self {
        Self {
            table,
            target: None,
            status,
            run: None,
            rows: Counters::default(),
            bytes_read: 0,
            elapsed_ms: 0,
            warnings: Vec::new(),
            folder: None,
            error: None,
        }
    }

    /// Of a table that ran.
    pub(crate) fn of(table: String, report: Report) -> Self {
        Self {
            target: Some(report.target),
            run: Some(report.run),
            rows: report.rows,
            bytes_read: report.bytes_read,
            elapsed_ms: report.elapsed_ms,
            warnings: report.warnings,
            folder: Some(report.folder),
            error: report.error.clone(),
            ..Self::new(table, report.error.as_ref().map_or("done", ended))
        }
    }

    /// Of a table that failed before its first row.
    pub(crate) fn failed(table: String, error: Error) -> Self {
        let status = ended(&error);
        Self { error: Some(error), ..Self::new(table, status) }
    }

    /// Of a table that an earlier process has done.
    pub(crate) fn done_before(table: String) -> Self {
        Self::new(table, "done-before")
    }

    /// Of a table that did not begin.
    pub(crate) fn not_begun(table: String) -> Self {
        Self::new(table, "not-begun")
    }
}

/// How a table has ended that has this error.
fn ended(error: &Error) -> &'static str {
    match error.exit {
        Exit::Interrupted | Exit::Terminated => "stopped",
        _ => "failed",
    }
}

/// What came of all tables.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TablesReport {
    pub(crate) job: String,
    pub(crate) run: String,
    pub(crate) status: Exit,
    pub(crate) started: String,
    pub(crate) ended: String,
    pub(crate) elapsed_ms: u64,
    /// Of all tables together.
    pub(crate) rows: Counters,
    pub(crate) bytes_read: u64,
    pub(crate) tables: Vec<TableResult>,
    pub(crate) folder: PathBuf,
    pub(crate) error: Option<Error>,
}

impl TablesReport {
    /// The report of a run that began and ended at these times.
    pub(crate) fn new(
        job: String,
        run: String,
        folder: &Path,
        (started, ended, elapsed): (String, String, Duration),
        tables: Vec<TableResult>,
        error: Option<Error>,
    ) -> Self {
        let sum = |count: fn(&TableResult) -> u64| tables.iter().map(count).sum::<u64>();
        Self {
            job,
            run,
            status: error.as_ref().map_or(Exit::Done, |error| error.exit),
            started,
            ended,
            elapsed_ms: elapsed.as_millis() as u64,
            rows: Counters {
                read: sum(|it| it.rows.read),
                inserted: sum(|it| it.rows.inserted),
                updated: sum(|it| it.rows.updated),
                skipped: sum(|it| it.rows.skipped),
                dirty: sum(|it| it.rows.dirty),
            },
            bytes_read: sum(|it| it.bytes_read),
            tables,
            folder: folder.to_owned(),
            error,
        }
    }
}

/// Puts the plans on a page.
pub(crate) fn describe_tables(page: &mut Page, plan: &TablesPlan) {
    let count = plan.tables.len() as u64;
    let tables = super::plural(count, "table", "tables");
    let lanes = super::plural(plan.lanes.into(), "task", "tasks");
    page.heading(&format!("{}: {tables}, {lanes} at a time", plan.job));
    let head = ["table", "target", "rows", "tasks", "mode", "guarantee", ""];
    let mut rows = vec![head.map(|word| Cell::styled(word, Style::Strong)).to_vec()];
    for table in &plan.tables {
        rows.push(vec![
            table.table.as_str().into(),
            table.target.as_str().into(),
            Cell::number(table.rows.map(|rows| format!("~{}", grouped(rows))).unwrap_or_default()),
            Cell::number(table.tasks.to_string()),
            table.write_mode.into(),
            table.guarantee.into(),
            if table.is_created { "created" } else { "" }.into(),
        ]);
    }
    page.table(2, &rows);
    for note in &plan.notes {
        page.led(0, (Style::Plain, "note: "), note);
    }
    let lost = plan.tables.iter().filter(|table| !table.not_carried.is_empty());
    let lost: Vec<_> = lost
        .map(|it| format!("{}: not carried: {}", it.table, it.not_carried.join("; ")))
        .collect();
    list(page, &lost, Style::Plain, "note: ");
    let warnings = plan.tables.iter().flat_map(|table| {
        table.warnings.iter().map(move |warning| format!("{}: {warning}", table.table))
    });
    list(page, &warnings.collect::<Vec<_>>(), Style::Warning, "warning: ");
}

fn list(page: &mut Page, lines: &[String], style: Style, lead: &str) {
    for line in lines.iter().take(SHOWN) {
        page.led(0, (style, lead), line);
    }
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        page.line(0, &format!("... and {more} more; --output json has all"));
    }
}

/// Puts the report on a page: the totals, and the tables that are not done.
pub(crate) fn summary_of_tables(page: &mut Page, report: &TablesReport) {
    let (word, style) = match report.status {
        Exit::Done => ("done", Style::Good),
        Exit::Interrupted | Exit::Terminated => ("stopped", Style::Warning),
        _ => ("failed", Style::Bad),
    };
    let time = duration(report.elapsed_ms);
    let title = format!("{} {word}", report.job);
    page.led(0, (style, &title), &format!(" in {time}  (run {})", report.run));
    let count = |status: &str| {
        let count = report.tables.iter().filter(|table| table.status == status).count();
        (count > 0).then(|| format!("{} {}", grouped(count as u64), status.replace('-', " ")))
    };
    let states =
        ["done", "done-before", "failed", "stopped", "not-begun"].into_iter().filter_map(count);
    page.pair(2, "tables", 14, &states.collect::<Vec<_>>().join(", "));
    let Counters { read, inserted, updated, skipped, dirty } = report.rows;
    let parts =
        [(inserted, "inserted"), (updated, "updated"), (skipped, "skipped"), (dirty, "dirty")];
    let parts = parts.iter().filter(|(rows, _)| *rows > 0);
    let parts: Vec<_> = parts.map(|(rows, word)| format!("{} {word}", grouped(*rows))).collect();
    let outcome =
        if parts.is_empty() { String::new() } else { format!(" = {}", parts.join(" + ")) };
    page.pair(2, "rows", 14, &format!("{} read{outcome}", grouped(read)));
    page.pair(2, "bytes", 14, &format!("{} read", bytes(report.bytes_read)));
    for table in report.tables.iter().filter(|table| table.status == "failed") {
        let error = table.error.as_ref().map(ToString::to_string).unwrap_or_default();
        page.flow(&format!("  table {}: {error}", table.table));
    }
    page.pair(2, "report", 14, &report.folder.join("report.json").display().to_string());
}
