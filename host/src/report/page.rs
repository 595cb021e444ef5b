//! Text laid out for the width of a terminal: lines break between words and continue with a hanging
//! indent, tables align by the columns that characters take. What is said is left to the callers.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use crate::{escape, job::Redactor, terminal::Look};

/// How a piece of text is set off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// As the terminal has it.
    #[default]
    Plain,
    /// A heading or a name.
    Strong,
    /// What is explained beside it.
    Label,
    /// Done.
    Good,
    /// To be looked at.
    Warning,
    /// Failed, or destroys something.
    Bad,
}

impl Style {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Label => Some("36"),
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("1;31"),
        }
    }
}

/// One cell of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
    is_number: bool,
}

impl Cell {
    /// A cell in a style.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style, is_number: false }
    }

    /// A number, which is aligned on the right.
    pub(crate) fn number(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Plain, is_number: true }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::Plain)
    }
}

/// A text that grows from top to bottom. Secrets are redacted and what a terminal would obey is
/// escaped before lines are broken.
pub(crate) struct Page {
    look: Look,
    redactor: Redactor,
    text: String,
}

/// Columns between the cells of a table.
const GAP: usize = 2;
/// The quotes of a statement, and that its lines break behind commas first.
const STATEMENT: &str = "`'\",";
/// How far a line that continues is indented.
const HANG: usize = 4;
/// No cell gets less.
const NARROWEST: usize = 8;

impl Page {
    /// An empty page.
    pub(crate) fn new(look: Look, redactor: Redactor) -> Self {
        Self { look, redactor, text: String::new() }
    }

    /// The text, without an end of its last line.
    pub(crate) fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }

    /// An empty line.
    pub(crate) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A heading of what follows.
    pub(crate) fn heading(&mut self, text: &str) {
        let text = self.clean(text).into_owned();
        self.put(Style::Strong, &text);
        self.text.push('\n');
    }

    /// A line of a file, which is not broken.
    pub(crate) fn verbatim(&mut self, text: &str) {
        let text = self.clean(text).into_owned();
        self.put(Style::Plain, &text);
        self.text.push('\n');
    }

    /// A paragraph at this indent; it continues by `HANG` more.
    pub(crate) fn line(&mut self, indent: usize, text: &str) {
        self.led(indent, (Style::Plain, ""), text);
    }

    /// A paragraph that begins with a word in a style.
    pub(crate) fn led(&mut self, indent: usize, lead: (Style, &str), text: &str) {
        self.put_paragraph(indent, lead, text, indent + HANG, "`");
    }

    /// A statement: what it quotes is not broken.
    pub(crate) fn statement(&mut self, indent: usize, lead: (Style, &str), text: &str) {
        for (index, line) in text.lines().enumerate() {
            let lead = if index == 0 { lead } else { (Style::Plain, "") };
            self.put_paragraph(indent, lead, line, indent + HANG, STATEMENT);
        }
    }

    /// A paragraph of several lines, broken anew where the page has a width.
    pub(crate) fn paragraph(&mut self, text: &str) {
        match self.look.width {
            Some(_) => self.put_paragraph(0, (Style::Plain, ""), &text.replace('\n', " "), 0, "`"),
            None => text.lines().for_each(|line| self.line(0, line)),
        }
    }

    /// A word and what it stands for, at `column`.
    pub(crate) fn pair(&mut self, indent: usize, label: &str, column: usize, text: &str) {
        let label = format!("{label:width$}", width = column.saturating_sub(indent));
        self.put_paragraph(indent, (Style::Label, &label), text, column, "`");
    }

    /// A paragraph that begins with a word in a style and continues at the column `hang`.
    pub(crate) fn hung(&mut self, indent: usize, lead: (Style, &str), text: &str, hang: usize) {
        self.put_paragraph(indent, lead, text, hang, "`");
    }

    /// Lines as they are, each continued further in than it begins.
    pub(crate) fn flow(&mut self, text: &str) {
        for line in text.lines() {
            let rest = line.trim_start_matches(' ');
            let indent = line.len() - rest.len();
            let (lead, rest) = lead(rest);
            self.led(indent, lead, rest);
        }
    }

    /// A table, aligned. Where it is too wide, cells get several lines; where that does not help,
    /// each row is one cell below the other.
    pub(crate) fn table(&mut self, indent: usize, rows: &[Vec<Cell>]) {
        let clean =
            |cell: &Cell| Cell { text: self.clean(&cell.text).into_owned(), ..cell.clone() };
        let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(clean).collect()).collect();
        let room = self.look.width.map(|width| width.saturating_sub(indent));
        if let Some(widths) = widths(&rows, room) {
            rows.iter().for_each(|row| self.row(indent, row, &widths));
            return;
        }
        // As a rule it is the last column that has long words: paths.
        let parted = rows.iter().map(|row| row.split_at(row.len().saturating_sub(1)));
        let (heads, lasts): (Vec<_>, Vec<_>) = parted.unzip();
        let heads: Vec<_> = heads.into_iter().map(<[Cell]>::to_vec).collect();
        match widths(&heads, room).filter(|widths| widths.len() > 1) {
            None => rows.iter().for_each(|row| self.stack(indent, row)),
            Some(widths) => {
                for (head, last) in heads.iter().zip(lasts) {
                    self.row(indent, head, &widths);
                    self.stack(indent + HANG, last);
                }
            }
        }
    }

    /// One row of a table; as many lines as its longest cell.
    fn row(&mut self, indent: usize, row: &[Cell], widths: &[usize]) {
        let cells: Vec<Vec<&str>> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| wrap(&cell.text, *width, *width, "`"))
            .collect();
        for at in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut due = indent;
            for ((cell, lines), width) in row.iter().zip(&cells).zip(widths) {
                if let Some(line) = lines.get(at).filter(|line| !line.is_empty()) {
                    let pad = if cell.is_number { width.saturating_sub(line.width()) } else { 0 };
                    self.text.extend(std::iter::repeat_n(' ', due + pad));
                    self.put(cell.style, line);
                    due = width.saturating_sub(line.width() + pad) + GAP;
                } else {
                    due += width + GAP;
                }
            }
            self.text.push('\n');
        }
    }

    /// One row of a table that does not fit: its first cell, and the others below it.
    fn stack(&mut self, indent: usize, row: &[Cell]) {
        for (index, cell) in row.iter().filter(|cell| !cell.text.is_empty()).enumerate() {
            let indent = if index == 0 { indent } else { indent + GAP };
            let Cell { text, style, .. } = cell;
            let room = self.look.width.unwrap_or(usize::MAX);
            let lines =
                wrap(text, room.saturating_sub(indent), room.saturating_sub(indent + HANG), "`");
            self.lines(indent, indent + HANG, &lines, *style);
        }
    }

    /// A lead and a text that continues at the column `hang`.
    fn put_paragraph(
        &mut self,
        indent: usize,
        lead: (Style, &str),
        text: &str,
        hang: usize,
        quotes: &str,
    ) {
        let (style, lead) = (lead.0, self.clean(lead.1).into_owned());
        let text = self.clean(text).into_owned();
        let room = self.look.width.unwrap_or(usize::MAX);
        let begins = indent + lead.width();
        let lines = wrap(&text, room.saturating_sub(begins), room.saturating_sub(hang), quotes);
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.put(style, &lead);
        self.lines(0, hang, &lines, Style::Plain);
    }

    fn lines(&mut self, indent: usize, hang: usize, lines: &[&str], style: Style) {
        for (index, line) in lines.iter().enumerate() {
            let indent = if index == 0 { indent } else { hang };
            self.text.extend(std::iter::repeat_n(' ', indent));
            self.put(style, line);
            self.text.truncate(self.text.trim_end_matches(' ').len());
            self.text.push('\n');
        }
    }

    /// Adds a piece of a line, which is clean.
    fn put(&mut self, style: Style, text: &str) {
        match style.code().filter(|_| self.look.colour && !text.trim().is_empty()) {
            None => self.text.push_str(text),
            Some(code) => {
                let word = text.trim_end();
                self.text
                    .push_str(&format!("\u{1b}[{code}m{word}\u{1b}[0m{}", &text[word.len()..]));
            }
        }
    }

    /// A text without secrets and without what a terminal would obey, in one line.
    fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Cow::Borrowed(text) = self.redactor.redact(text) else {
            return escape::line(&self.redactor.redact(text)).into_owned().into();
        };
        escape::line(text)
    }
}

/// The word that a line of a message begins with, if it is one that stands out.
fn lead(line: &str) -> ((Style, &str), &str) {
    for (word, style) in [
        ("error: ", Style::Bad),
        ("warning: ", Style::Warning),
        ("hint: ", Style::Label),
        ("caused by: ", Style::Label),
    ] {
        if let Some(rest) = line.strip_prefix(word) {
            return ((style, word), rest);
        }
    }
    ((Style::Plain, ""), line)
}

/// The width of each column, if all fit into `room`; lines break between words only.
fn widths(rows: &[Vec<Cell>], room: Option<usize>) -> Option<Vec<usize>> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |of: &dyn Fn(&str) -> usize| -> Vec<usize> {
        let of_column =
            |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| of(&cell.text)).max();
        (0..columns).map(|at| of_column(at).unwrap_or(0)).collect()
    };
    let natural = widest(&|text| text.width());
    let Some(room) = room else { return Some(natural) };
    let room = room.saturating_sub(columns.saturating_sub(1) * GAP);
    if natural.iter().sum::<usize>() <= room {
        return Some(natural);
    }
    let longest_word = |text: &str| text.split(' ').map(|word| word.width()).max().unwrap_or(0);
    let mut widths = widest(&longest_word);
    for (width, natural) in widths.iter_mut().zip(&natural) {
        *width = (*width).max(NARROWEST.min(*natural));
    }
    let mut left = room.checked_sub(widths.iter().sum())?;
    // The narrow columns first get all they need, so that only the widest ones break.
    let mut order: Vec<_> = (0..columns).collect();
    order.sort_by_key(|at| natural[*at]);
    for (done, at) in order.into_iter().enumerate() {
        let share = left / (columns - done);
        let more = if done + 1 == columns { left } else { share.max(left.min(NARROWEST)) };
        let more = more.min(natural[at] - widths[at].min(natural[at]));
        widths[at] += more;
        left -= more;
    }
    Some(widths)
}

/// The lines of a text: the first has `first` columns, the others `rest`. A word that is wider than
/// that is not broken. What stands between two of `quotes` is one word if a line can hold it.
fn wrap<'t>(text: &'t str, first: usize, rest: usize, quotes: &str) -> Vec<&'t str> {
    let mut lines = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for (from, to) in words(text, rest, quotes) {
        let room = if lines.is_empty() { first } else { rest };
        if end > begin && text[begin..to].width() > room {
            lines.push(&text[begin..end]);
            begin = from;
        }
        end = to;
    }
    lines.push(&text[begin..end]);
    lines
}

/// Where the words of a text begin and end. Spaces at its beginning belong to the first word.
fn words(text: &str, room: usize, quotes: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let (mut begin, mut at) = (0, 0);
    let mut is_word = true;
    while let Some(c) = text[at..].chars().next() {
        if is_word && c != ',' && quotes.contains(c) {
            let inner = at + c.len_utf8();
            let close = text[inner..].find(c).map(|found| inner + found + c.len_utf8());
            if let Some(close) = close.filter(|close| text[at..*close].width() <= room) {
                at = close;
                continue;
            }
        }
        if c == ' ' && is_word && !text[begin..at].trim_start().is_empty() {
            words.push((begin, at));
            is_word = false;
        } else if c != ' ' && !is_word {
            begin = at;
            is_word = true;
            continue;
        }
        at += c.len_utf8();
    }
    if is_word && begin < text.len() {
        words.push((begin, text.len()));
    }
    if quotes.contains(',') { parts(text, room, &words) } else { words }
}

/// Joins words up to a comma or an opening bracket, as far as a line can hold them.
fn parts(text: &str, room: usize, words: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for (from, to) in words.iter().copied() {
        match parts.last_mut() {
            Some((begin, end))
                if !text[..*end].ends_with([',', '(']) && text[*begin..to].width() <= room =>
            {
                *end = to;
            }
            _ => parts.push((from, to)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize) -> Page {
        Page::new(Look { width: Some(width), colour: false }, Redactor::new())
    }

    #[test]
    fn lines_break_between_words_and_hang() {
        let mut page = page(20);
        page.line(2, "one two three four five six");
        page.pair(0, "label", 8, "one two three four");
        page.flow("error: job.toml:1:1: a mistake\n  hint: write `key = 1` here");
        assert_eq!(
            page.finish(),
            "  one two three four\n      five six\nlabel   one two\n        three four\n\
             error: job.toml:1:1:\n    a mistake\n  hint: write\n      `key = 1` here"
        );
    }

    #[test]
    fn a_word_or_a_command_is_never_broken() {
        let whole = |text, room| wrap(text, room, room, "`");
        assert_eq!(whole("run /a/very/long/path now", 6), ["run", "/a/very/long/path", "now"]);
        assert_eq!(whole("run `a b` now", 7), ["run", "`a b`", "now"]);
        assert_eq!(whole("run `a b c d` now", 7), ["run `a", "b c d`", "now"]);
        assert_eq!(whole("", 7), [""]);
        assert_eq!(whole("a  b ", 7), ["a  b"]);
        assert_eq!(wrap("say 'a b' now", 7, 7, "'"), ["say", "'a b'", "now"]);
        let parts = ["TABLE t (", "a int, b text,", "c int)"];
        assert_eq!(wrap("TABLE t ( a int, b text, c int)", 15, 15, STATEMENT), parts);
        assert_eq!(whole("the job's own", 9), ["the job's", "own"]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let mut page = page(40);
        let row = |name: &str, text: &str| vec![Cell::from(name), Cell::from(text)];
        page.table(0, &[row("订单编号", "int64"), row("id", "text")]);
        assert_eq!(page.finish(), "订单编号  int64\nid        text");
        assert_eq!(wrap("客户 姓名 地址", 9, 9, "`"), ["客户 姓名", "地址"]);
    }

    #[test]
    fn tables_break_cells_and_then_rows() {
        let rows = [
            vec![Cell::from("name"), Cell::number("7"), Cell::from("some words of a text")],
            vec![Cell::from("other"), Cell::number("1,234"), Cell::from("")],
        ];
        let text = |width| {
            let mut page = page(width);
            page.table(1, &rows);
            page.finish()
        };
        assert_eq!(text(80), " name       7  some words of a text\n other  1,234");
        assert_eq!(text(30), " name       7  some words of a\n               text\n other  1,234");
        assert_eq!(
            text(14),
            " name       7\n     some\n         words\n         of a\n         text\n other  1,234"
        );
    }

    #[test]
    fn secrets_are_redacted_before_lines_break() {
        let redactor = Redactor::new();
        redactor.learn("password", "correct horse battery");
        let mut page = Page::new(Look { width: Some(20), colour: true }, redactor);
        page.led(0, (Style::Bad, "error: "), "login with correct horse battery\u{1b}[2J");
        let text = page.finish();
        assert!(!text.contains("horse") && text.contains("\\u{1b}"), "{text}");
        assert!(text.starts_with("\u{1b}[1;31merror:\u{1b}[0m "), "{text}");
    }
}
