//! Puts the values of parameters into SQL, so that a value stays a value whatever it contains. What
//! a value may become is decided by its position in the statement, in the store's dialect.
//!
//! | position | in the file | becomes |
//! |---|---|---|
//! | in a literal | `'${day}'` | the value, escaped |
//! | by itself | `= ${day}` | a number as it is, else a literal |
//! | in a word or a name | `t_${day}`, `"${name}"` | the value, if it has letters, digits and `_` only |
//! | anywhere | `${text!raw}` | the value as it is, with a warning |

use transload_plugin_api::Dialect;

use super::{
    document::{Entry, Filled, Node, Value},
    problem::{Findings, Problem},
};

/// An option that holds SQL, with the parameters of its texts as values.
///
/// # Errors
/// If a value cannot stand where it is written.
pub(super) fn filled(
    entry: &Entry,
    dialect: Dialect,
    findings: &mut Findings,
) -> Result<Entry, Problem> {
    let mut entry = entry.clone();
    let path = entry.path.clone();
    fill(&mut entry.node, &path, dialect, findings)?;
    Ok(entry)
}

fn fill(
    node: &mut Node,
    path: &str,
    dialect: Dialect,
    findings: &mut Findings,
) -> Result<(), Problem> {
    match &mut node.value {
        Value::Text(text) if !node.pieces.is_empty() => {
            let at = |message: String| Problem::new(&node.place, path, message);
            *text = statement(&node.pieces, dialect)
                .map_err(|(message, hint)| at(message).hint(hint))?;
            for raw in node.pieces.iter().filter_map(Filled::raw) {
                let message = format!("parameter `{raw}` becomes a part of the SQL as it is");
                findings.warnings.add(at(message));
            }
            Ok(())
        }
        Value::List(items) => {
            items.iter_mut().try_for_each(|item| fill(item, path, dialect, findings))
        }
        Value::Table { table, .. } => {
            let items = &mut table.0;
            items.iter_mut().try_for_each(|item| fill(&mut item.node, path, dialect, findings))
        }
        _ => Ok(()),
    }
}

/// A message and a hint.
type Refusal = (String, String);

/// The statement that the pieces make.
fn statement(pieces: &[Filled], dialect: Dialect) -> Result<String, Refusal> {
    let (place, sql) = (Place::Bare, String::new());
    let mut scanner = Scanner { dialect, place, sql, escaped: false, closed: None };
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Filled::Text(text) | Filled::Parameter { value: text, raw: true, .. } => {
                text.chars().for_each(|c| scanner.take(c));
            }
            Filled::Parameter { name, value, raw: false } => {
                let value = scanner.value(name, value, pieces.get(index + 1))?;
                scanner.sql.push_str(&value);
                (scanner.escaped, scanner.closed) = (false, None);
            }
        }
    }
    Ok(scanner.sql)
}

/// Where in a statement a character stands.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// Outside of everything below.
    Bare,
    /// Between quotes, as text.
    Literal { quote: char, backslashes: bool },
    /// Between quotes, as a name; `end` closes it.
    Name { end: char },
    /// Behind `--` or `#`.
    Line,
    /// Between `/*` and `*/`, this deep.
    Block { depth: u32 },
    /// Between `$tag$` and `$tag$`.
    Dollars { tag: String },
}

/// Reads SQL and knows the place behind it.
struct Scanner {
    dialect: Dialect,
    place: Place,
    sql: String,
    /// The last character was a backslash that escapes the next one.
    escaped: bool,
    /// The literal that the last character ended. A second quote takes that back.
    closed: Option<Place>,
}

impl Scanner {
    /// Reads one character.
    fn take(&mut self, c: char) {
        let (escaped, closed) = (std::mem::take(&mut self.escaped), self.closed.take());
        match self.place.clone() {
            Place::Bare => match closed {
                Some(Place::Literal { quote, backslashes }) if quote == c => {
                    self.place = Place::Literal { quote, backslashes };
                }
                _ => self.take_bare(c),
            },
            Place::Literal { quote, backslashes } => match c {
                _ if c == quote && !escaped => {
                    self.closed = Some(std::mem::replace(&mut self.place, Place::Bare));
                }
                '\\' if backslashes => self.escaped = !escaped,
                _ => {}
            },
            Place::Name { end } if c == end => self.place = Place::Bare,
            Place::Line if c == '\n' => self.place = Place::Bare,
            Place::Block { depth } => self.take_in_block(c, depth),
            Place::Dollars { tag } if c == '$' && self.sql.ends_with(&tag[..tag.len() - 1]) => {
                self.place = Place::Bare;
            }
            _ => {}
        }
        self.sql.push(c);
    }

    fn take_bare(&mut self, c: char) {
        let mysql = self.dialect == Dialect::Mysql;
        let ticks = matches!(self.dialect, Dialect::Mysql | Dialect::Sqlite);
        self.place = match c {
            '\'' => Place::Literal { quote: '\'', backslashes: mysql || self.is_behind_e() },
            '"' if mysql => Place::Literal { quote: '"', backslashes: true },
            '"' => Place::Name { end: '"' },
            '`' if ticks => Place::Name { end: '`' },
            '[' if self.dialect == Dialect::Sqlite => Place::Name { end: ']' },
            '-' if self.sql.ends_with('-') => Place::Line,
            '#' if mysql => Place::Line,
            '*' if self.sql.ends_with('/') => Place::Block { depth: 1 },
            '$' if self.dialect == Dialect::Postgres => match self.open_tag() {
                Some(tag) => Place::Dollars { tag },
                None => Place::Bare,
            },
            _ => Place::Bare,
        };
    }

    fn take_in_block(&mut self, c: char, depth: u32) {
        let nests = self.dialect == Dialect::Postgres;
        match c {
            '/' if self.sql.ends_with('*') && depth == 1 => self.place = Place::Bare,
            '/' if self.sql.ends_with('*') => self.place = Place::Block { depth: depth - 1 },
            '*' if nests && self.sql.ends_with('/') => {
                self.place = Place::Block { depth: depth + 1 };
            }
            _ => {}
        }
    }

    /// Whether the text ends with PostgreSQL's `E` before a literal.
    fn is_behind_e(&self) -> bool {
        let mut last = self.sql.chars().rev();
        self.dialect == Dialect::Postgres
            && last.next().is_some_and(|e| e.eq_ignore_ascii_case(&'e'))
            && !last.next().is_some_and(is_word)
    }

    /// The `$tag$` that a `$` here completes.
    fn open_tag(&self) -> Option<String> {
        let start = self.sql.rfind('$')?;
        let tag = &self.sql[start + 1..];
        let before = self.sql[..start].chars().next_back();
        let opens = tag.chars().all(is_word) && !before.is_some_and(is_word);
        opens.then(|| format!("${tag}$"))
    }

    /// What a value becomes here. `next` is what follows it.
    fn value(&self, name: &str, value: &str, next: Option<&Filled>) -> Result<String, Refusal> {
        if value.contains('\0') {
            return Err((format!("the value of `{name}` contains a NUL"), String::new()));
        }
        match &self.place {
            Place::Literal { quote, backslashes } => self.escape(name, value, *quote, *backslashes),
            Place::Bare if self.is_in_word(next) => word(name, value, "in a word"),
            // Behind a sign, a second one would begin a comment.
            Place::Bare
                if is_number(value) && self.sql.ends_with('-') && value.starts_with('-') =>
            {
                Ok(format!("({value})"))
            }
            Place::Bare if is_number(value) => Ok(value.to_owned()),
            Place::Bare => Ok(self.literal(value)),
            Place::Name { .. } => word(name, value, "in a name"),
            Place::Line | Place::Block { .. } => word(name, value, "in a comment"),
            Place::Dollars { .. } => word(name, value, "between dollar quotes"),
        }
    }

    fn escape(
        &self,
        name: &str,
        value: &str,
        quote: char,
        backslashes: bool,
    ) -> Result<String, Refusal> {
        if !backslashes && self.dialect == Dialect::Postgres && value.contains('\\') {
            let message =
                format!("what the backslash in `{name}` means depends on a setting of the server");
            return Err((message, format!("write E'${{{name}}}'")));
        }
        let value = if backslashes { value.replace('\\', "\\\\") } else { value.to_owned() };
        Ok(value.replace(quote, &format!("{quote}{quote}")))
    }

    /// A literal of its own.
    fn literal(&self, value: &str) -> String {
        let quotes = value.replace('\'', "''");
        match self.dialect {
            Dialect::Mysql => format!("'{}'", quotes.replace('\\', "\\\\")),
            Dialect::Postgres if value.contains('\\') => {
                format!("E'{}'", quotes.replace('\\', "\\\\"))
            }
            _ => format!("'{quotes}'"),
        }
    }

    /// Whether a value here is a part of a word or of a dotted name.
    fn is_in_word(&self, next: Option<&Filled>) -> bool {
        let touches = |c: char| is_word(c) || matches!(c, '.' | '$' | '@' | '\'' | '"' | '`');
        let after = match next {
            Some(Filled::Text(text)) => text.chars().next().is_some_and(touches),
            Some(Filled::Parameter { .. }) => true,
            None => false,
        };
        after || self.sql.chars().next_back().is_some_and(touches)
    }
}

/// A value that is a part of something else, which it could end.
fn word(name: &str, value: &str, place: &str) -> Result<String, Refusal> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !value.is_empty() && value.bytes().all(fits) {
        return Ok(value.to_owned());
    }
    let message = format!(
        "the value of `{name}` stands {place}, so it may have letters, digits and `_` only"
    );
    Err((message, format!("to put it there as it is: ${{{name}!raw}}")))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `12`, `-1.5`, `1e9`
fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let fits = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.chars().all(fits)
        && value.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `<name>` stands for the parameter, `<name!>` for the raw one.
    fn pieces(text: &str, value: &str) -> Vec<Filled> {
        let mut pieces = Vec::new();
        for (index, part) in text.split(['<', '>']).enumerate() {
            pieces.push(match index % 2 {
                0 => Filled::Text(part.to_owned()),
                _ => Filled::Parameter {
                    name: part.trim_end_matches('!').to_owned(),
                    value: value.to_owned(),
                    raw: part.ends_with('!'),
                },
            });
        }
        pieces.retain(|piece| !matches!(piece, Filled::Text(text) if text.is_empty()));
        pieces
    }

    #[test]
    fn values_stay_values() {
        use Dialect::{Mysql, Postgres, Sqlite, Standard};
        let attack = "x' OR '1'='1";
        for (dialect, text, value, expected) in [
            (Standard, "d = '<v>'", attack, "d = 'x'' OR ''1''=''1'"),
            (Sqlite, "d = '<v>' AND e = '<v>'", "'", "d = '''' AND e = ''''"),
            (Mysql, "d = '<v>'", "\\' OR 1 -- ", "d = '\\\\'' OR 1 -- '"),
            (Mysql, "d = \"<v>\"", "\" OR 1 \\", "d = \"\"\" OR 1 \\\\\""),
            (Mysql, "d = 'it\\'s <v>'", "'", "d = 'it\\'s '''"),
            (Mysql, "d = 'a\\\\' AND e = <v>", "x", "d = 'a\\\\' AND e = 'x'"),
            (Postgres, "d = E'<v>'", "\\'", "d = E'\\\\'''"),
            (Postgres, "d = E'a''b\\'c <v>'", "'", "d = E'a''b\\'c '''"),
            (Postgres, "d = <v>", "a\\'", "d = E'a\\\\'''"),
            (Postgres, "d = <v> AND e", attack, "d = 'x'' OR ''1''=''1' AND e"),
            (Standard, "d = <v>", "20260101", "d = 20260101"),
            (Standard, "d = <v>", "2026-01-01", "d = '2026-01-01'"),
            (Standard, "d -<v>", "-5", "d -(-5)"),
            (Standard, "d = (<v>)", "1e9", "d = (1e9)"),
            (Standard, "d = <v>", "1e9999", "d = '1e9999'"),
            (Standard, "FROM t_<v> WHERE", "2026", "FROM t_2026 WHERE"),
            (Standard, "FROM s.<v>", "orders", "FROM s.orders"),
            (Standard, "FROM \"<v>\"", "Orders", "FROM \"Orders\""),
            (Standard, "<v!> d", "DELETE FROM t; --", "DELETE FROM t; -- d"),
            (Standard, "-- it's\n d = <v>", "x", "-- it's\n d = 'x'"),
            (Mysql, "# it's\n d = <v>", "x", "# it's\n d = 'x'"),
            (Standard, "/* it's */ d = <v>", "x", "/* it's */ d = 'x'"),
            (Postgres, "/* /* ' */ ' */ d = <v>", "x", "/* /* ' */ ' */ d = 'x'"),
            (Postgres, "$a$ ' $b$ $a$ = <v>", "x", "$a$ ' $b$ $a$ = 'x'"),
            (Sqlite, "[it's] = <v>", "x", "[it's] = 'x'"),
        ] {
            let made = statement(&pieces(text, value), dialect);
            assert_eq!(made.as_deref(), Ok(expected), "{dialect:?} {text} {value}");
        }
    }

    #[test]
    fn what_could_end_a_name_is_refused() {
        use Dialect::{Mysql, Postgres, Sqlite, Standard};
        for (dialect, text, value, place) in [
            (Standard, "FROM t_<v>", "1; DROP TABLE t", "in a word"),
            (Standard, "FROM <v>.t", "a b", "in a word"),
            (Standard, "d = <v><w>", "a'", "in a word"),
            (Standard, "d = <v>''", "a b", "in a word"),
            (Standard, "FROM \"<v>\"", "a\"", "in a name"),
            (Mysql, "FROM `<v>`", "a`", "in a name"),
            (Sqlite, "FROM [<v>]", "a]", "in a name"),
            (Standard, "-- <v>", "a\nDROP", "in a comment"),
            (Mysql, "/*! <v> */", "a */", "in a comment"),
            (Postgres, "$x$ '<v>' $x$", "$x$", "between dollar quotes"),
            (Postgres, "d = '<v>'", "a\\", "depends on a setting"),
            (Standard, "FROM t_<v>", "", "in a word"),
        ] {
            let (message, _) = statement(&pieces(text, value), dialect).unwrap_err();
            assert!(message.contains(place), "{text} {value}: {message}");
        }
    }
}
