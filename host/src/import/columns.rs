//! `column` of a database reader or writer: names, the star, and SQL.

use super::{
    cx::Cx,
    jdbc::Store,
    tree::{Item, Value},
};

/// One entry of `column`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// All columns.
    Star,
    /// A column, by the name that the database knows.
    Name(String),
    /// SQL.
    Expression(String),
}

/// Words that are SQL although they look like names.
const WORDS: &[&str] = &[
    "null",
    "true",
    "false",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "current_user",
    "session_user",
    "sysdate",
    "systimestamp",
];

/// The entries. FlinkX writes a column as an object with a name.
pub(super) fn columns_of(cx: &mut Cx<'_>, item: &Item<'_>, store: Store) -> Vec<Column> {
    let mut columns = Vec::new();
    for item in item.items() {
        let text = match &item.node.value {
            Value::Map(_) => match item.node.get("name").and_then(|name| name.text()) {
                Some(name) if item.node.get("value").is_none() => Some(name),
                _ => {
                    let message = "a column of a table is a name, found an object without one";
                    cx.notes.refuse(&item, message, "write the column's name");
                    None
                }
            },
            Value::Null => Some("null".to_owned()),
            _ => cx.sql(&item),
        };
        columns.extend(text.map(|text| column(&text, store)));
    }
    columns
}

/// What a text of `column` is.
pub(super) fn column(text: &str, store: Store) -> Column {
    let text = text.trim();
    if text == "*" {
        return Column::Star;
    }
    if let Some(name) = unquoted(text, store) {
        return Column::Name(name);
    }
    let begins = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let is_name =
        begins && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '#'));
    let is_word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    match is_name && !is_word {
        true => Column::Name(store.folded(text)),
        false => Column::Expression(text.to_owned()),
    }
}

/// A name in the quotes of its database. MySQL takes double quotes for a text.
fn unquoted(text: &str, store: Store) -> Option<String> {
    let quotes: &[char] = match store {
        Store::Mysql => &['`'],
        Store::Postgres => &['"'],
        Store::Sqlite => &['"', '`'],
    };
    let quote = text.chars().next().filter(|c| quotes.contains(c))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let doubled = format!("{quote}{quote}");
    let name = inner.replace(&doubled, "\0");
    let is_whole = !name.is_empty() && !name.contains(quote);
    is_whole.then(|| name.replace('\0', &quote.to_string()))
}

/// The names, if all entries are names and none is there twice.
pub(super) fn plain_names(columns: &[Column]) -> Option<Vec<String>> {
    let name = |column: &Column| match column {
        Column::Name(name) => Some(name.clone()),
        _ => None,
    };
    let names: Vec<String> = columns.iter().map(name).collect::<Option<_>>()?;
    let is_twice = |(at, name): (usize, &String)| names[..at].contains(name);
    let has_doubles = names.iter().enumerate().any(is_twice);
    (!names.is_empty() && !has_doubles).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_sql() {
        for (text, store, name) in [
            ("id", Store::Mysql, Some("id")),
            ("`order`", Store::Mysql, Some("order")),
            ("\"x\"", Store::Mysql, None),
            ("userId", Store::Postgres, Some("userid")),
            ("\"userId\"", Store::Postgres, Some("userId")),
            ("\"123Test\"", Store::Postgres, Some("123Test")),
            ("名称", Store::Mysql, Some("名称")),
            ("1", Store::Mysql, None),
            ("'x'", Store::Mysql, None),
            ("null", Store::Mysql, None),
            ("now()", Store::Mysql, None),
            ("a.b", Store::Mysql, None),
            ("`a` + `b`", Store::Mysql, None),
        ] {
            let expected = match name {
                Some(name) => Column::Name(name.to_owned()),
                None => Column::Expression(text.to_owned()),
            };
            assert_eq!(column(text, store), expected, "{text}");
        }
        assert_eq!(plain_names(&[Column::Name("a".into()), Column::Name("a".into())]), None);
    }
}
