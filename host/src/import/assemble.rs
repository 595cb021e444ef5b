//! Puts the sides of a job together: which source column goes to which target column, and the file's
//! sections.

use super::{
    cx::{Cx, Side},
    job_text::{Line, pair},
    notes::Kind,
    tree::Item,
};

/// Adds both sides to the job of a tool that maps columns by position; `at` is where that is noted.
pub(super) fn assemble(cx: &mut Cx<'_>, source: Side, target: Side, at: &Item<'_>) {
    if source.is_table && target.is_table {
        note_positions(cx, &source, &target, at);
    }
    assemble_named(cx, source, target, at);
}

/// Adds both sides to the job. Where both have names, they belong together by their order.
pub(super) fn assemble_named(cx: &mut Cx<'_>, source: Side, target: Side, at: &Item<'_>) {
    map(cx, &source, &target, at);
    let is_named = !source.is_query && source.columns.is_some();
    cx.job.put_all("reader", source.lines);
    if let Some(columns) = source.columns.filter(|_| is_named) {
        cx.job.put("reader", pair("columns", columns));
    }
    cx.job.put_all("reader.schema", source.schema);
    cx.job.put_all("writer", target.lines);
}

fn map(cx: &mut Cx<'_>, source: &Side, target: &Side, at: &Item<'_>) {
    match (&source.columns, &target.columns) {
        (Some(from), Some(to)) if from.len() == to.len() => {
            let pairs = to.iter().zip(from).filter(|(to, from)| to != from);
            let lines: Vec<Line> = pairs.map(|(to, from)| pair(to.clone(), from.clone())).collect();
            cx.job.put_all("map", lines);
        }
        (Some(_), Some(_)) if cx.notes.are_refused() => {}
        (Some(from), Some(to)) => {
            let message = format!(
                "the reader's columns are {}, the writer's {}: DataX fails on this",
                from.len(),
                to.len()
            );
            cx.notes.refuse(at, message, "give both the same columns");
        }
        _ => {}
    }
}

/// Where a side names no columns, their order is not known here.
fn note_positions(cx: &mut Cx<'_>, source: &Side, target: &Side, at: &Item<'_>) {
    let whose = match (&source.columns, &target.columns) {
        (None, None) if !source.is_query => "both sides have all columns",
        (Some(_), None) => "the writer has all columns",
        (None, Some(_)) if !source.is_query => "the reader has all columns",
        _ => return,
    };
    let message = format!("{whose}: they were mapped by position, and are mapped by name");
    cx.note(Kind::Changed, at, &message, "");
}
