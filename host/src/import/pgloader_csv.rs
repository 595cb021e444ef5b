//! LOAD CSV of pgloader: the file, its dialect, and which cell belongs to which column.

use super::{
    assemble::assemble_named,
    cx::{Cx, Side},
    file_format,
    job_text::{Line, pair},
    notes::Kind,
    pgloader::{With, error_limit, name_and_columns, target},
    tree::{Fields, Item},
};

/// Imports the command.
pub(super) fn csv(
    cx: &mut Cx<'_>,
    fields: &Fields<'_>,
    (from, into): (&Item<'_>, &Item<'_>),
    with: &With<'_>,
) {
    let Some(text) = from.node.text() else { return };
    let (path, mut columns) = name_and_columns(&text);
    if path.contains("://")
        || path.starts_with('~')
        || ["inline", "all", "filename", "archive"]
            .iter()
            .any(|it| path.to_lowercase().split(' ').next() == Some(it))
    {
        cx.notes.refuse(
            from,
            "the rows are in the command file, behind a pattern or at an address",
            "write the path of a file",
        );
        return;
    }
    if let Some(item) = fields.take("fields") {
        let parts: Vec<_> = item.items().iter().filter_map(|it| it.node.text()).collect();
        columns = name_and_columns(&parts.join(", ")).1;
    }
    let Some((login, table, target_columns)) = target(cx, fields, into) else { return };
    let Some(table) = table else {
        cx.notes.refuse(into, "it names no table", "write TARGET TABLE");
        return;
    };
    let mut source = Side::default();
    let path = if path.eq_ignore_ascii_case("stdin") { "-".to_owned() } else { path };
    source.lines.extend([
        pair("plugin", "file"),
        pair("path", path),
        pair("format", "csv"),
        pair("header", false),
    ]);
    dialect(cx, with, &mut source, fields);
    nulls(cx, from, with, columns.as_deref().unwrap_or_default(), &mut source);
    let names = columns.map(|columns| source_columns(cx, from, &columns));
    let mut target = Side { is_table: true, ..Side::default() };
    target.lines.extend(login);
    target.lines.push(pair("table", table));
    let is_truncate = with.has("truncate");
    let _ = with.has("no truncate");
    target.lines.push(pair("write_mode", if is_truncate { "overwrite" } else { "insert" }));
    let column_clause = fields.take("columns");
    let target_columns = match &column_clause {
        Some(item) => {
            let parts: Vec<_> = item.items().iter().filter_map(|it| it.node.text()).collect();
            let names = name_and_columns(&parts.join(", ")).1.unwrap_or_default();
            Some(plain_columns(cx, item, &names))
        }
        None => target_columns.map(|names| plain_columns(cx, into, &names)),
    };
    if with.has("csv header") {
        // The names are in the file, unless the command says which cell is which column.
        let names_are_said = names.is_some() || target_columns.is_some();
        let line = if names_are_said { pair("skip_lines", 1) } else { pair("header", true) };
        source.lines.retain(
            |it| !matches!(it, Line::Pair { key, .. } if key == "header" && !names_are_said),
        );
        source.lines.push(line);
        if !names_are_said {
            assemble_named(cx, source, target, from);
            return error_limit(cx, into, with, false);
        }
    }
    positions(cx, from, (names, target_columns), (&mut source, &mut target));
    assemble_named(cx, source, target, from);
    error_limit(cx, into, with, false);
}

/// The delimiter, quotes and the like.
fn dialect(cx: &mut Cx<'_>, with: &With<'_>, side: &mut Side, fields: &Fields<'_>) {
    let unquoted = |text: &str| text.trim_matches('\'').to_owned();
    let delimiter = with.take("fields terminated by").map(|(text, _)| unquoted(text));
    let delimiter = delimiter.map(|text| character(&text));
    side.lines.push(pair("delimiter", delimiter.unwrap_or_else(|| ",".to_owned())));
    let quote =
        with.take("fields optionally enclosed by").or_else(|| with.take("fields enclosed by"));
    let quote = match quote {
        Some((text, _)) => character(&unquoted(text)),
        None if with.has("fields not enclosed") => String::new(),
        None => "\"".to_owned(),
    };
    side.lines.push(pair("quote", quote));
    match with.take("fields escaped by") {
        Some((text, _)) if text.contains("backslash") || text == "'\\'" => {
            side.lines.push(pair("escape", "\\"))
        }
        Some((text, _)) if text.contains("double-quote") || text == "'\"'" => {}
        Some((_, item)) => {
            cx.notes.refuse(item, "the escape has no equal", "a backslash and double quotes have")
        }
        None => {}
    }
    if let Some((text, item)) = with.take("skip header") {
        match text.parse::<i64>() {
            Ok(lines) => side.lines.push(pair("skip_lines", lines)),
            Err(_) => cx.notes.refuse(item, format!("`{text}` is no number"), ""),
        }
    }
    if let Some((text, item)) = with.take("lines terminated by")
        && !text.contains("\\n")
        && !text.contains("0x0a")
    {
        cx.notes.refuse(item, "records end at line ends alone", "");
    }
    if let Some(item) = fields.take("encoding")
        && let Some(first) = item.items().first()
    {
        side.lines.extend(file_format::charset(cx, first).map(|it| pair("encoding", it)));
    }
}

/// A character as it is written, or by its code: `0x09`.
fn character(text: &str) -> String {
    let code = text.strip_prefix("0x").and_then(|code| u32::from_str_radix(code, 16).ok());
    match (text, code.and_then(char::from_u32)) {
        ("\\t" | "tab", _) => "\t".to_owned(),
        (_, Some(c)) => c.to_string(),
        _ => text.to_owned(),
    }
}

/// Which cells are NULL: those of WITH, and those of single columns.
fn nulls(cx: &mut Cx<'_>, at: &Item<'_>, with: &With<'_>, columns: &[String], side: &mut Side) {
    let is_blank = |text: &str| text.to_lowercase().contains("null if blanks");
    let blank = columns.iter().enumerate().filter(|(_, column)| is_blank(column));
    let blank: toml::Table = blank.map(|(n, _)| (format!("c{}", n + 1), "".into())).collect();
    let of_all = with.take("null if").map(|(text, _)| text.trim_matches('\'').to_owned());
    match of_all {
        Some(text) if text.eq_ignore_ascii_case("blanks") => side.lines.push(pair("null", "")),
        Some(text) => side.lines.push(pair("null", text)),
        None => {
            let message = "an empty cell was an empty text, unless a column says `null if blanks`";
            let lines =
                ("null = '\\N' in [reader]", "null = \"\" in [reader]: an empty cell is NULL");
            match cx.notes.is_repaired("empty-cells", at, message, lines) {
                true => side.lines.push(pair("null", "")),
                false => side.lines.push(pair("null", "\\N")),
            }
        }
    }
    if !blank.is_empty() {
        side.lines.push(pair("column_null", blank));
    }
}

/// The names of a file's columns; their options are told.
fn source_columns(cx: &mut Cx<'_>, at: &Item<'_>, columns: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for column in columns {
        let (name, options) = column.split_once('[').unwrap_or((column, ""));
        let options = options.trim_end_matches(']').trim().to_lowercase();
        if options.contains("date format") {
            cx.notes.todo(
                at,
                format!("the date format of `{}` is not carried over", name.trim()),
                "write `column_formats` into [reader]",
            );
        } else if options.contains("trim") {
            cx.notes.changed(at, "blanks around values stay");
        }
        names.push(name.trim().trim_matches('"').to_owned());
    }
    names
}

/// The target's columns; those that are computed are refused.
fn plain_columns(cx: &mut Cx<'_>, at: &Item<'_>, columns: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for column in columns {
        let column = column.trim();
        if column.to_lowercase().contains(" using ") {
            cx.notes.refuse(
                at,
                format!("`{column}` is computed in Lisp"),
                "load the columns as they are and compute in `after`",
            );
        }
        names.push(
            column.split_whitespace().next().unwrap_or_default().trim_matches('"').to_lowercase(),
        );
    }
    names
}

/// Which cell goes to which column: by the names of the source where both sides have names.
fn positions(
    cx: &mut Cx<'_>,
    at: &Item<'_>,
    (names, targets): (Option<Vec<String>>, Option<Vec<String>>),
    (source, target): (&mut Side, &mut Side),
) {
    let cell = |n: usize| format!("c{}", n + 1);
    match (names, targets) {
        (Some(names), Some(targets)) => {
            let of = |target: &String| {
                names.iter().position(|name| name.eq_ignore_ascii_case(target)).map(cell)
            };
            match targets.iter().map(of).collect::<Option<Vec<_>>>() {
                Some(cells) => source.columns = Some(cells),
                None => cx.notes.refuse(at, "a target column is none of the file's", ""),
            }
            target.columns = Some(targets);
        }
        (Some(names), None) | (None, Some(names)) => {
            source.columns = Some((0..names.len()).map(cell).collect());
            target.columns = Some(names.iter().map(|it| it.to_lowercase()).collect());
        }
        (None, None) => {
            let message =
                "cells went to the table's columns by position, and the document names neither";
            cx.note(
                Kind::Todo,
                at,
                message,
                "write the table's columns in order into `[map]`: id = \"c1\"",
            );
        }
    }
}
