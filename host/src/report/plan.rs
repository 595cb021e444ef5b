//! A plan as text: columns with their types and verdicts, splits, steps and warnings.

use std::fmt::{Result, Write};

use transload_plugin_api::LogicalType;

use super::summary::{bytes, grouped};
use crate::{
    escape,
    plan::{Mapping, Plan},
};

/// Splits listed; the rest is only counted.
const SPLITS: usize = 20;

/// The plan as text, without a final line break.
pub(crate) fn describe_plan(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_plan(&mut text, plan);
    text.truncate(text.trim_end().len());
    text
}

fn write_plan(text: &mut String, plan: &Plan) -> Result {
    let Plan { reader, writer, write, .. } = plan;
    let env = plan.environment.as_deref().unwrap_or("none");
    writeln!(text, "job          {} (environment: {env})", plan.job)?;
    writeln!(text, "reader       {} {}", reader.plugin, reader.version)?;
    let state = if plan.target.exists { "" } else { " (does not exist yet)" };
    writeln!(
        text,
        "writer       {} {} -> {}{state}",
        writer.plugin,
        writer.version,
        escape::line(&plan.target.name)
    )?;
    let key = if write.key.is_empty() {
        "no key".into()
    } else {
        format!("key ({})", escape::line(&write.key.join(", ")))
    };
    writeln!(text, "write mode   {} by {key}", write.mode.word())?;
    if !write.update_columns.is_empty() {
        let columns = write.update_columns.join(", ");
        writeln!(text, "             updates {}", escape::line(&columns))?;
    }
    let because =
        if plan.because.is_empty() { String::new() } else { format!(": {}", plan.because) };
    writeln!(text, "guarantee    {}{because}", plan.guarantee.word())?;
    write_columns(text, &plan.mapping)?;
    for line in &plan.unmapped {
        writeln!(text, "  {}", escape::line(line))?;
    }
    write_splits(text, plan)?;
    write_list(text, "steps", &steps(plan))?;
    write_list(text, "notes", &plan.notes)?;
    write_list(text, "warnings", &plan.warnings)
}

fn write_columns(text: &mut String, mapping: &[Mapping]) -> Result {
    writeln!(text, "\ncolumns")?;
    let left = |m: &Mapping| format!("{} {}", escape::line(&m.source.name), m.declared);
    let right = |m: &Mapping| {
        let null = if m.target.nullable { "" } else { " not null" };
        format!("{} {}{null}", escape::line(&m.target.name), shown(&m.target.logical))
    };
    let width =
        |of: &dyn Fn(&Mapping) -> String| mapping.iter().map(|m| of(m).chars().count()).max();
    let (first, second) = (width(&left).unwrap_or(0), width(&right).unwrap_or(0));
    for m in mapping {
        let inferred = if m.source.inferred { " (source type inferred)" } else { "" };
        writeln!(text, "  {:first$} -> {:second$}  {}{inferred}", left(m), right(m), verdict(m))?;
    }
    Ok(())
}

/// A type as the plan shows it: of native values the store's own.
fn shown(logical: &LogicalType) -> String {
    match logical {
        LogicalType::Native(form) => escape::line(&form.type_name).into_owned(),
        other => other.to_string(),
    }
}

/// The verdict, with the store that native values stay in.
fn verdict(mapping: &Mapping) -> String {
    match &mapping.target.logical {
        LogicalType::Native(form) => {
            format!("{} (as {} stores it)", mapping.verdict, escape::line(&form.store))
        }
        _ => mapping.verdict.to_string(),
    }
}

fn write_splits(text: &mut String, plan: &Plan) -> Result {
    writeln!(
        text,
        "\nsplits       {}, {} at a time",
        plan.splits.len(),
        (plan.channel.parallelism.get() as usize).min(plan.splits.len())
    )?;
    for split in plan.splits.iter().take(SPLITS) {
        let rows = split.rows.map(|rows| format!(", about {} rows", grouped(rows)));
        let size = split.bytes.map(|size| format!(", {}", bytes(size)));
        writeln!(
            text,
            "  {}{}{}",
            split.label,
            rows.unwrap_or_default(),
            size.unwrap_or_default()
        )?;
    }
    match plan.splits.len().saturating_sub(SPLITS) {
        0 => Ok(()),
        more => writeln!(text, "  and {more} more"),
    }
}

/// The writer's statements; destructive ones are marked.
fn steps(plan: &Plan) -> Vec<String> {
    let step = |statement: &transload_plugin_api::Statement| {
        let mark = if statement.destructive { "DESTRUCTIVE  " } else { "" };
        format!("{mark}{}", statement.text)
    };
    plan.draft.statements.iter().map(step).collect()
}

fn write_list(text: &mut String, heading: &str, lines: &[String]) -> Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{heading}")?;
    lines.iter().try_for_each(|line| writeln!(text, "  {}", line.replace('\n', "\n  ")))
}
