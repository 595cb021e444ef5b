//! Queries: one that is made from tables and columns with SQL, and the names of one that is given.

use super::{columns::Column, jdbc::Store};

/// More tables than that are read by their names alone.
const MOST_TABLES: u64 = 256;

/// A query to be made.
pub(super) struct Select<'a> {
    pub(super) store: Store,
    pub(super) tables: &'a [String],
    pub(super) columns: &'a [Column],
    pub(super) filter: Option<&'a str>,
}

impl Select<'_> {
    /// The query and the names of its columns, which are those of the target where it has them. A star
    /// beside other columns leaves the names open.
    pub(super) fn write(&self, targets: Option<&[String]>) -> (String, Option<Vec<String>>) {
        let has_star = self.columns.contains(&Column::Star);
        let targets = targets.filter(|it| it.len() == self.columns.len() && !has_star);
        let mut names = Vec::new();
        let mut items = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let target = targets.map(|targets| targets[index].clone());
            let (sql, own) = match column {
                Column::Star => ("*".to_owned(), String::new()),
                Column::Name(name) => (self.store.quoted(name), name.clone()),
                Column::Expression(sql) => (sql.clone(), format!("c{}", index + 1)),
            };
            let name = target.unwrap_or_else(|| own.clone());
            let is_named = *column == Column::Star || *column == Column::Name(name.clone());
            items.push(match is_named {
                true => sql,
                false => format!("{sql} AS {}", self.store.quoted(&name)),
            });
            names.push(name);
        }
        let condition = self.filter.map(|it| format!(" WHERE ({it})")).unwrap_or_default();
        let items = items.join(", ");
        let one = |table: &String| format!("SELECT {items} FROM {}{condition}", self.table(table));
        let parts: Vec<_> = self.tables.iter().map(one).collect();
        (parts.join(" UNION ALL "), (!has_star).then_some(names))
    }

    /// A table's name, quoted by its parts unless it is quoted already.
    fn table(&self, name: &str) -> String {
        if name.contains(['"', '`']) || name.contains("${") {
            return name.to_owned();
        }
        let parts: Vec<_> = name.split('.').map(|part| self.store.quoted(part)).collect();
        parts.join(".")
    }
}

/// The tables of a name with ranges; `None` if there are too many of them.
pub(super) fn expanded(name: &str) -> Option<Vec<String>> {
    let Some((before, rest)) = name.split_once('[').filter(|_| !name.contains(['"', '`'])) else {
        return Some(vec![name.to_owned()]);
    };
    let (range, after) = rest.split_once(']')?;
    let (low, high) = range.split_once('-')?;
    let (first, last) = (low.parse::<u64>().ok()?, high.parse::<u64>().ok()?);
    let width = if low.starts_with('0') { low.len() } else { 1 };
    if last < first || last - first >= MOST_TABLES {
        return None;
    }
    let rest = expanded(after)?;
    let names = (first..=last)
        .flat_map(|at| rest.iter().map(move |after| format!("{before}{at:0width$}{after}")));
    Some(names.collect())
}

/// The names of a query's columns, where the text of its first SELECT shows all of them.
pub(super) fn names_of(query: &str) -> Option<Vec<String>> {
    let text = query.trim().trim_start_matches('(').trim_start();
    let rest = text.get(..6).filter(|it| it.eq_ignore_ascii_case("select")).map(|_| &text[6..])?;
    if !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let rest = rest.trim_start();
    let rest = match rest.get(..9) {
        Some(word) if word.eq_ignore_ascii_case("distinct ") => &rest[9..],
        _ => rest,
    };
    items_of(rest)?.iter().map(|item| name_of(item)).collect()
}

/// Whether a query's first SELECT asks for all columns, and nothing else.
pub(super) fn has_star(query: &str) -> bool {
    let text = query.trim().trim_start_matches('(').trim_start();
    let rest = text.get(..6).filter(|it| it.eq_ignore_ascii_case("select")).map(|_| &text[6..]);
    let items = rest.and_then(items_of).unwrap_or_default();
    matches!(items.as_slice(), [one] if one.trim() == "*" || one.trim().ends_with(".*"))
}

/// The items of a select list, up to its FROM.
fn items_of(text: &str) -> Option<Vec<String>> {
    let mut items = vec![String::new()];
    let (mut depth, mut quote) = (0i32, None);
    for (at, c) in text.char_indices() {
        let is_top = depth == 0 && quote.is_none();
        if is_top && is_from(text, at) {
            return Some(items);
        }
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ',') if depth == 0 => {
                items.push(String::new());
                continue;
            }
            (None, '-') if text[at..].starts_with("--") => return None,
            (None, '/') if text[at..].starts_with("/*") => return None,
            _ => {}
        }
        items.last_mut()?.push(c);
    }
    (depth == 0 && quote.is_none()).then_some(items)
}

fn is_from(text: &str, at: usize) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let word = text.get(at..at + 4).is_some_and(|it| it.eq_ignore_ascii_case("from"));
    word && !text[..at].ends_with(is_word) && !text[at + 4..].starts_with(is_word)
}

/// The alias of an item, or the column that it is.
fn name_of(item: &str) -> Option<String> {
    let item = item.trim();
    let (before, last) = last_name(item)?;
    let before = before.trim_end();
    let is_column = before.is_empty() || before.ends_with('.');
    let keyword = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_alias = keyword.eq_ignore_ascii_case("as");
    // `a b`: an alias without AS; behind an operator it would be an operand.
    let is_second = before
        .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ')' | '`' | '"' | '\''))
        && !["end", "null", "and", "or", "not", "distinct"]
            .iter()
            .any(|it| keyword.eq_ignore_ascii_case(it) && *it != "end");
    (is_column || is_alias || is_second).then_some(last)
}

/// The name at the end of a text, and what is before it.
fn last_name(text: &str) -> Option<(&str, String)> {
    let quote = text.chars().next_back()?;
    if matches!(quote, '`' | '"') {
        let inner = &text[..text.len() - 1];
        let start = inner.rfind(quote)?;
        return Some((&text[..start], inner[start + 1..].to_owned()));
    }
    let start = text.rfind(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '$'));
    let start = start.map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let name = &text[start..];
    let begins = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let is_end = name.eq_ignore_ascii_case("end") || name.eq_ignore_ascii_case("null");
    (begins && !is_end).then(|| (&text[..start], name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_takes_the_names_of_its_target() {
        let columns =
            [Column::Name("id".into()), Column::Expression("'x'".into()), Column::Name("b".into())];
        let tables = ["t".to_owned(), "s.u".to_owned()];
        let select = Select {
            store: Store::Mysql,
            tables: &tables,
            columns: &columns,
            filter: Some("a = 1 OR b"),
        };
        let targets = ["id", "kind", "c"].map(str::to_owned);
        let (query, names) = select.write(Some(&targets));
        let part = "SELECT `id`, 'x' AS `kind`, `b` AS `c` FROM";
        assert_eq!(
            query,
            format!("{part} `t` WHERE (a = 1 OR b) UNION ALL {part} `s`.`u` WHERE (a = 1 OR b)")
        );
        assert_eq!(names.unwrap(), targets);
    }

    #[test]
    fn the_names_of_a_query_are_read() {
        for (query, names) in [
            ("select a, t.b, `c d` from t", Some("a|b|c d")),
            ("SELECT id AS x, count(*) n, max(a, 'from') AS \"M\" FROM t", Some("x|n|M")),
            ("select case when a then 1 else 2 end as k from t", Some("k")),
            ("select distinct a from t", Some("a")),
            ("select * from t", None),
            ("select a, t.* from t", None),
            ("select count(*) from t", None),
            ("select a + b from t", None),
            ("select 1 from t", None),
            ("with x as (select 1) select a from x", None),
            ("select a -- b\n from t", None),
        ] {
            let found = names_of(query).map(|names| names.join("|"));
            assert_eq!(found.as_deref(), names, "{query}");
        }
        assert!(has_star("select * from t") && has_star("SELECT t.* FROM t"));
        assert!(!has_star("select *, a from t") && !has_star("select a from t"));
    }

    #[test]
    fn ranges_are_counted_up() {
        assert_eq!(expanded("t_[08-10]x").unwrap(), ["t_08x", "t_09x", "t_10x"]);
        assert_eq!(expanded("d[0-1].t[0-1]").unwrap().len(), 4);
        assert_eq!(expanded("t[0-100000]"), None);
        assert_eq!(expanded("plain").unwrap(), ["plain"]);
    }
}
