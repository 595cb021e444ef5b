//! A comparison as text.

use std::fmt::Write as _;

use super::{
    comparison::{Comparison, Listed, Place, Values},
    difference::{Kind, Shown},
};
use crate::{
    Exit,
    report::{Page, Style, duration, grouped, plural},
    stores::Side,
};

/// Where what a word stands for begins.
const LABEL: usize = 14;
/// Characters of a value that are shown.
const VALUE: usize = 60;
/// Columns of a row that are shown, if only one side has it.
const COLUMNS: usize = 6;

/// Puts a comparison on a page.
pub(crate) fn describe(page: &mut Page, comparison: &Comparison) {
    let Comparison { job, rows, .. } = comparison;
    let (verdict, style) = match comparison.status {
        Exit::Done => ("source and target are equal", Style::Good),
        _ => ("source and target differ", Style::Bad),
    };
    page.led(0, (style, &format!("{job}: {verdict}")), "");
    let mut line = |label: &str, text: &str| page.pair(2, label, LABEL, text);
    line("source", &format!("{} in {}", counted(rows.source), store(&comparison.reader)));
    let target =
        format!("{} in {}, {}", counted(rows.target), comparison.target, store(&comparison.writer));
    line("target", &target);
    let by = match comparison.key.is_empty() {
        true => "there is no key: whole rows are compared, each as often as it occurs".to_owned(),
        false => comparison.key.join(", "),
    };
    line("key", &by);
    line("columns", &columns(&comparison.columns));
    line("equal", &counted(rows.equal));
    for (label, count, where_) in [
        ("missing", rows.missing, "in the source only"),
        ("extra", rows.extra, "in the target only"),
        ("refused", rows.refused, "do not fit the target"),
        ("dirty", rows.dirty, "were refused by the target, as the run recorded"),
        ("unreadable", rows.unreadable, "of the target cannot be read"),
    ] {
        if count > 0 {
            line(label, &format!("{} {where_}", counted(count)));
        }
    }
    if rows.different > 0 {
        line("different", &different(comparison));
    }
    line("method", &method(comparison));
    for note in &comparison.notes {
        page.pair(2, "note", LABEL, note);
    }
    differences(page, comparison);
}

fn counted(rows: u64) -> String {
    plural(rows, "row", "rows")
}

fn store(side: &Side) -> String {
    match &side.connection {
        Some(connection) => format!("{connection} ({})", side.plugin),
        None => side.plugin.clone(),
    }
}

fn columns(names: &[String]) -> String {
    const NAMED: usize = 12;
    let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMED).filter(|more| *more > 0) {
        Some(more) => format!("{named} and {more} more"),
        None => named,
    }
}

/// `5 rows: amount 4, note 2`
fn different(comparison: &Comparison) -> String {
    let by = comparison.by_column.iter().map(|(name, rows)| format!("{name} {}", grouped(*rows)));
    let by = by.collect::<Vec<_>>().join(", ");
    format!("{}: {by}", counted(comparison.rows.different))
}

fn method(comparison: &Comparison) -> String {
    let method = &comparison.method;
    let place = match (method.source, method.target) {
        (Place::Program, Place::Program) => "every row was read on both sides".to_owned(),
        (Place::Store, Place::Store) => "checksums in both stores".to_owned(),
        (Place::Store, _) => "checksums in the source and of the target's rows".to_owned(),
        (_, Place::Store) => "checksums in the target and of the source's rows".to_owned(),
    };
    let mut text = place;
    if method.queries > 0 {
        let _ = write!(text, ", {}", plural(method.queries, "query", "queries"));
    }
    let (source, target) = (grouped(method.source_rows_read), grouped(method.target_rows_read));
    let time = duration(comparison.elapsed_ms);
    let _ = write!(text, "; {source} and {target} rows read in {time}");
    text
}

fn differences(page: &mut Page, comparison: &Comparison) {
    if comparison.differences.is_empty() {
        return;
    }
    page.gap();
    for listed in &comparison.differences {
        let (label, style) = match listed.kind {
            Kind::Missing => ("missing", Style::Bad),
            Kind::Extra => ("extra", Style::Warning),
            Kind::Different => ("different", Style::Bad),
        };
        page.hung(2, (style, &format!("{label:0$}", LABEL - 2)), &row(listed), LABEL);
    }
    let rows = &comparison.rows;
    let all = rows.missing + rows.extra + rows.different;
    let shown = comparison.differences.len() as u64;
    if all > shown {
        page.pair(
            2,
            "",
            LABEL,
            &format!("and {} more: --list N shows N of them", grouped(all - shown)),
        );
    }
}

/// `id 42: amount 1.00, in the target 2.00`
fn row(listed: &Listed) -> String {
    let key = listed.key.iter().map(|it| format!("{} {}", it.column, shown(&it.value)));
    let key = key.collect::<Vec<_>>().join(", ");
    let value = |Values { column, source, target }: &Values| match (source, target) {
        (Some(source), Some(target)) => {
            format!("{column} {}, in the target {}", shown(source), shown(target))
        }
        (Some(one), None) | (None, Some(one)) => format!("{column} {}", shown(one)),
        (None, None) => column.clone(),
    };
    let most = if listed.kind == Kind::Different { usize::MAX } else { COLUMNS };
    let mut values: Vec<_> = listed.values.iter().take(most).map(value).collect();
    if listed.values.len() > values.len() {
        values.push("...".to_owned());
    }
    match values.is_empty() {
        true => key,
        false => format!("{key}: {}", values.join(if most == COLUMNS { ", " } else { "; " })),
    }
}

fn shown(value: &Shown) -> String {
    let Some(text) = value else { return "NULL".to_owned() };
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | ':' | '+' | '_' | '/');
    let short: String = text.chars().take(VALUE).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    match !text.is_empty() && text != "NULL" && text.chars().all(is_plain) {
        true => format!("{short}{more}"),
        false => format!("`{short}{more}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart() {
        let text = |text: &str| Some(text.to_owned());
        for (value, expected) in [
            (None, "NULL"),
            (text("NULL"), "`NULL`"),
            (text(""), "``"),
            (text("1.00"), "1.00"),
            (text("two words"), "`two words`"),
        ] {
            assert_eq!(shown(&value), expected);
        }
        assert!(shown(&text(&"x".repeat(100))).ends_with("x..."));
    }
}
