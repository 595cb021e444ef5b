//! A plan as text: columns with their types and verdicts, splits, steps, notes and warnings.

use transload_plugin_api::{LogicalType, Statement};

use super::{
    page::{Cell, Page, Style},
    summary::{bytes, grouped, plural},
};
use crate::{
    convert::Verdict,
    copy::in_flags,
    escape,
    increment::{PlannedIncrement, Watermark},
    job::Inputs,
    plan::{Mapping, Plan},
};

/// Splits listed; the rest is only counted.
const SPLITS: usize = 20;
/// In a table of more columns, those that pass unchanged are only counted.
const COLUMNS: usize = 20;
/// Longest statement in full, in characters, unless it destroys something.
const STATEMENT: usize = 500;
/// Where what a word stands for begins.
const LABEL: usize = 13;

/// Puts a plan on a page; `is_full`: with every column and every statement in full.
pub(crate) fn describe_plan(page: &mut Page, plan: &Plan, is_full: bool) {
    head(page, plan);
    page.gap();
    columns(page, plan, is_full);
    plan.unmapped.iter().for_each(|line| page.line(2, line));
    sample(page, plan);
    page.gap();
    splits(page, plan);
    steps(page, &plan.draft.statements, is_full);
    let in_words = |lines: &[String]| match plan.inputs.text {
        Some(_) => lines.iter().map(|line| in_flags(line, None)).collect(),
        None => lines.to_vec(),
    };
    list(page, "notes", &in_words(&plan.notes), Style::Strong);
    list(page, "warnings", &in_words(&plan.warnings), Style::Warning);
}

fn head(page: &mut Page, plan: &Plan) {
    let Plan { reader, writer, write, .. } = plan;
    let env = plan.environment.as_deref().unwrap_or("none");
    page.pair(0, "job", LABEL, &format!("{} (environment: {env})", plan.job));
    inputs(page, &plan.inputs);
    page.pair(0, "reader", LABEL, &format!("{} {}", reader.plugin, reader.version));
    let state = if plan.target.exists { "" } else { " (new)" };
    let target = escape::line(&plan.target.name);
    let writer = format!("{} {} -> {target}{state}", writer.plugin, writer.version);
    page.pair(0, "writer", LABEL, &writer);
    let key = if write.key.is_empty() { "no key".into() } else { write.key.join(", ") };
    let key = if write.key.is_empty() { key } else { format!("key: {key}") };
    page.pair(0, "write mode", LABEL, &format!("{} ({key})", write.mode.word()));
    if !write.update_columns.is_empty() {
        page.pair(0, "", LABEL, &format!("updates {}", write.update_columns.join(", ")));
    }
    let because =
        if plan.because.is_empty() { String::new() } else { format!(": {}", plan.because) };
    page.pair(0, "guarantee", LABEL, &format!("{}{because}", plan.guarantee.word()));
    if let Some(increment) = &plan.increment {
        describe_increment(page, increment);
    }
    if let Some(words) = memory(plan) {
        page.pair(0, "memory", LABEL, &words);
    }
}

/// The parameters with their values, and the time that dates follow from.
fn inputs(page: &mut Page, inputs: &Inputs) {
    if let Some(scheduled) = &inputs.scheduled {
        page.pair(0, "scheduled", LABEL, scheduled);
    }
    if !inputs.parameters.is_empty() {
        let words = inputs.parameters.iter().map(|(name, value)| format!("{name}={value}"));
        page.pair(0, "parameters", LABEL, &words.collect::<Vec<_>>().join(", "));
    }
}

/// The watermark before the run, what is read, and the watermark after it.
fn describe_increment(page: &mut Page, increment: &PlannedIncrement) {
    let PlannedIncrement { columns, before, from, to, after, .. } = increment;
    page.pair(0, "increment", LABEL, &columns.join(", then "));
    let from = from.as_deref().unwrap_or("all rows");
    let range = match to {
        Some(to) => format!("{from}, {to}"),
        None => format!("{from}: no row is new"),
    };
    if !increment.is_step {
        let place = match (&increment.table, &increment.file) {
            (Some(table), _) => table.clone(),
            (None, Some(file)) => file.0.display().to_string(),
            (None, None) => "nowhere".to_owned(),
        };
        let shown = before.as_ref().map_or("none".to_owned(), Watermark::shown);
        page.pair(2, "watermark", LABEL, &format!("{shown} (kept in {place})"));
    }
    page.pair(2, "reads", LABEL, &range);
    let afterwards = match after {
        Some(after) => after.shown(),
        None => "the watermark stays".to_owned(),
    };
    page.pair(2, "afterwards", LABEL, &afterwards);
}

/// What a run takes at most, where the writer keeps more than the batches that `buffer` bounds.
fn memory(plan: &Plan) -> Option<String> {
    let of_task = plan.draft.task_memory?;
    let buffer = plan.channel.buffer_bytes;
    let tasks = u64::from(plan.channel.parallelism.get()).min(plan.splits.len() as u64);
    let all = buffer + tasks * of_task;
    let each = if tasks == 1 { "the task" } else { "each task" };
    Some(format!(
        "up to {} beside the program's own: {} of rows (`buffer`), and {} that {each} keeps of its \
         files",
        mebibytes(all),
        mebibytes(buffer),
        mebibytes(of_task)
    ))
}

/// In the unit of `buffer`.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes.div_ceil(1 << 20)))
}

/// How many rows were tried, and the first that is refused as a whole.
fn sample(page: &mut Page, plan: &Plan) {
    let Some(sample) = &plan.sample else { return };
    let rows = grouped(sample.rows);
    let words = match (sample.rows, sample.refused) {
        (0, 0) => "there are no rows to try".to_owned(),
        (1, 0) => "1 row was tried, and it fits".to_owned(),
        (_, 0) => format!("{rows} rows were tried, and all fit"),
        (_, refused) => format!("{} of {rows} rows would be dirty", grouped(refused)),
    };
    page.gap();
    page.pair(0, "sample", LABEL, &words);
    sample.broken.iter().for_each(|first| page.line(2, first));
}

fn columns(page: &mut Page, plan: &Plan, is_full: bool) {
    let mapping = &plan.mapping;
    let needs_thought = |m: &Mapping| needs_thought(m, plan.sample.is_some());
    let inferred = mapping.iter().filter(|m| m.source.inferred).count();
    let is_inferred = inferred == mapping.len();
    page.heading(match is_inferred {
        true => "columns (all source types are inferred)",
        false => "columns",
    });
    let is_folded = mapping.len() > COLUMNS && !is_full;
    let shown = mapping.iter().filter(|m| !is_folded || needs_thought(m)).take(if is_folded {
        COLUMNS
    } else {
        usize::MAX
    });
    let shown: Vec<_> = shown.collect();
    let rows: Vec<_> = shown.iter().map(|m| row(m, needs_thought(m), !is_inferred)).collect();
    page.table(2, &rows);
    let mut rest: Vec<(String, usize)> = Vec::new();
    for m in mapping.iter().filter(|m| !shown.iter().any(|shown| std::ptr::eq(*shown, *m))) {
        let verdict = m.verdict.to_string();
        match rest.iter_mut().find(|(word, _)| *word == verdict) {
            Some((_, count)) => *count += 1,
            None => rest.push((verdict, 1)),
        }
    }
    for (verdict, count) in rest {
        let what = if shown.is_empty() { "" } else { "more " };
        let many = if count == 1 { "column" } else { "columns" };
        page.line(
            2,
            &format!("{} {what}{many} {verdict}, --columns shows them", grouped(count as u64)),
        );
    }
}

/// Whether the user should look at it before a run: nothing says that its values fit.
fn needs_thought(mapping: &Mapping, is_sampled: bool) -> bool {
    match mapping.verdict {
        Verdict::Native | Verdict::Lossless | Verdict::Widening => false,
        Verdict::Checked if is_sampled => !mapping.refused.is_empty(),
        Verdict::Checked | Verdict::Impossible => true,
    }
}

fn row(mapping: &Mapping, needs_thought: bool, says_inferred: bool) -> Vec<Cell> {
    let Mapping { source, target, .. } = mapping;
    let null = if target.nullable { "" } else { " not null" };
    let is_inferred = says_inferred && source.inferred && mapping.checks.is_empty();
    let inferred = if is_inferred { " (source type inferred)" } else { "" };
    let style = if needs_thought { Style::Warning } else { Style::Plain };
    let (from, to) = (escape::line(&source.name), escape::line(&target.name));
    vec![
        format!("{from} {}", escape::line(&mapping.source_type())).into(),
        "->".into(),
        format!("{to} {}{null}", escape::line(&mapping.target_type())).into(),
        Cell::styled(format!("{}{inferred}", verdict(mapping)), style),
        escape::line(&mapping.remark()).as_ref().into(),
    ]
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

fn splits(page: &mut Page, plan: &Plan) {
    let (all, limit) = (plan.splits.len(), plan.channel.parallelism.get() as usize);
    page.heading(&format!("splits ({all}, {} at a time)", limit.min(all)));
    let row = |split: &transload_plugin_api::Split| {
        let rows = split.rows.map(|rows| format!("about {}", plural(rows, "row", "rows")));
        let size = split.bytes.map(bytes);
        let number = |text: Option<String>| Cell::number(text.unwrap_or_default());
        vec![split.label.as_str().into(), number(rows), number(size)]
    };
    page.table(2, &plan.splits.iter().take(SPLITS).map(row).collect::<Vec<_>>());
    if let Some(more) = all.checked_sub(SPLITS).filter(|more| *more > 0) {
        page.line(2, &format!("and {} more", grouped(more as u64)));
    }
}

/// The writer's statements; destructive ones are marked, and never cut.
fn steps(page: &mut Page, statements: &[Statement], is_full: bool) {
    if statements.is_empty() {
        return;
    }
    page.gap();
    page.heading("steps");
    for Statement { text, destructive } in statements {
        if *destructive {
            page.statement(2, (Style::Bad, "DESTRUCTIVE  "), text);
        } else if is_full || text.chars().count() <= STATEMENT {
            page.statement(2, (Style::Plain, ""), text);
        } else {
            page.statement(2, (Style::Plain, ""), &cut(text));
        }
    }
}

/// The beginning of a long statement, up to the end of one of its parts.
fn cut(text: &str) -> String {
    let end = text.char_indices().nth(STATEMENT).map_or(text.len(), |(at, _)| at);
    let end = text[..end].rfind(", ").map_or(end, |comma| comma + 1);
    let more = text[end..].chars().count() as u64;
    format!("{} ... ({} more characters, --columns shows them)", &text[..end], grouped(more))
}

fn list(page: &mut Page, heading: &str, lines: &[String], style: Style) {
    if lines.is_empty() {
        return;
    }
    page.gap();
    if style == Style::Strong {
        page.heading(heading);
    } else {
        page.led(0, (style, heading), "");
    }
    for line in lines.iter().flat_map(|text| text.lines()) {
        page.line(2, line);
    }
}
