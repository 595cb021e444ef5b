//! The first rows of a source as a table. Cells are cut and columns left out where the terminal is too
//! narrow; off a terminal everything is shown.

use transload_plugin_api::LogicalType;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{
    page::{Cell, Page, Style},
    summary::grouped,
};
use crate::{
    copy::{FirstRows, SeenColumn},
    escape,
};

/// Most columns of the terminal that a cell takes, unless there is room.
const CELL: usize = 32;
/// Columns between cells, as tables have them.
const GAP: usize = 2;
/// Dirty rows that are named.
const DIRTY: usize = 5;
/// Columns left out that are named.
const NAMED: usize = 8;

/// Puts a preview on a page of this width.
pub(crate) fn preview(page: &mut Page, first: &FirstRows, width: Option<usize>) {
    types(page, &first.columns);
    for note in &first.notes {
        page.pair(0, "note", 6, note);
    }
    if !first.rows.is_empty() {
        page.gap();
        rows(page, first, width);
    }
    page.gap();
    let shown = first.rows.len();
    let rows = if shown == 1 { "row" } else { "rows" };
    page.line(
        0,
        &match (first.more, shown) {
            (true, _) => format!("{} {rows}; there are more", grouped(shown as u64)),
            (false, 0) => "no rows".to_owned(),
            (false, _) => format!("{} {rows}, which is all", grouped(shown as u64)),
        },
    );
    for dirty in first.dirty.iter().take(DIRTY) {
        page.led(0, (Style::Warning, "dirty: "), dirty);
    }
    if let Some(more) = first.dirty.len().checked_sub(DIRTY).filter(|more| *more > 0) {
        page.line(0, &format!("and {more} more dirty rows"));
    }
}

fn types(page: &mut Page, columns: &[SeenColumn]) {
    let head = ["column", "type", "", "from"].map(|word| Cell::styled(word, Style::Strong));
    let mut table = vec![head.to_vec()];
    for column in columns {
        let mark = match (column.is_key, column.nullable) {
            (true, _) => "key",
            (false, true) => "",
            (false, false) => "not null",
        };
        table.push(vec![
            column.name.as_str().into(),
            column.logical.to_string().into(),
            mark.into(),
            column.from().into(),
        ]);
    }
    page.table(0, &table);
}

fn rows(page: &mut Page, first: &FirstRows, width: Option<usize>) {
    let heads = first.columns.iter().map(|column| escape::line(&column.name).into_owned());
    let heads: Vec<_> = heads.collect();
    let text = |value: &Option<String>| match value {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "\"\"".to_owned(),
        Some(text) => escape::line(text).into_owned(),
    };
    let mut cells: Vec<Vec<String>> =
        first.rows.iter().map(|row| row.iter().map(text).collect()).collect();
    let fitting = width.map_or(heads.len(), |width| fit(&heads, &mut cells, width));
    let mut table = vec![];
    let head =
        |name: &String| Cell::styled(cut(name, width.map_or(usize::MAX, |_| CELL)), Style::Strong);
    table.push(heads.iter().take(fitting).map(head).collect::<Vec<_>>());
    for (row, values) in cells.iter().zip(&first.rows) {
        let cell = |(index, text): (usize, &String)| match (&values[index], &first.columns[index]) {
            (None, _) => Cell::styled(text.as_str(), Style::Label),
            (Some(_), column) if is_number(&column.logical) => Cell::number(text.as_str()),
            _ => text.as_str().into(),
        };
        table.push(row.iter().enumerate().take(fitting).map(cell).collect());
    }
    page.table(0, &table);
    if let Some(out) = heads.get(fitting..).filter(|out| !out.is_empty()) {
        let more = if out.len() > NAMED { ", ..." } else { "" };
        let named = out.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let columns = if out.len() == 1 { "column" } else { "columns" };
        page.line(0, &format!("{} more {columns}: {named}{more}", out.len()));
    }
}

/// Cuts cells, and returns how many columns fit.
fn fit(heads: &[String], cells: &mut [Vec<String>], width: usize) -> usize {
    let widest = |index: usize, cells: &[Vec<String>]| {
        let of_cells = cells.iter().map(|row| row[index].width()).max().unwrap_or(0);
        of_cells.max(heads[index].width())
    };
    let natural: usize = (0..heads.len()).map(|index| widest(index, cells) + GAP).sum();
    if natural <= width + GAP {
        return heads.len();
    }
    for row in cells.iter_mut() {
        row.iter_mut().for_each(|cell| *cell = cut(cell, CELL.min(width)));
    }
    let mut taken = 0;
    for index in 0..heads.len() {
        taken += widest(index, cells).min(CELL) + if index == 0 { 0 } else { GAP };
        if taken > width && index > 0 {
            return index;
        }
    }
    heads.len()
}

/// The text in at most `most` columns, with `…` at the place of its rest.
fn cut(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 1;
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > most {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

fn is_number(logical: &LogicalType) -> bool {
    let family = logical.family();
    ["int", "uint", "float"].iter().any(|prefix| family.starts_with(prefix) && family != "interval")
        || matches!(family, "decimal" | "numeric")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cut_by_the_columns_that_they_take() {
        for (text, most, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("王伟李", 6, "王伟李"), ("王伟李", 5, "王伟…")]
        {
            assert_eq!(cut(text, most), expected);
        }
        let heads = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let mut cells = vec![vec!["x".repeat(50), "1".to_owned(), "y".repeat(50)]];
        assert_eq!(fit(&heads, &mut cells, 40), 2);
        assert_eq!(cells[0][0].width(), CELL);
    }
}
