//! Reads pgloader's command files as a tree: one object for each LOAD, whose keys are its clauses. A
//! clause of several parts is a list of texts, cut at its commas.

use super::{
    json::SyntaxError,
    tree::{Entry, Node, Value},
};

/// All commands of a text, as a list.
///
/// # Errors
/// If quotes, comments or brackets are not closed, or something stands where LOAD should.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let words = words(text)?;
    let commands = words
        .split(|word| !word.is_quoted && word.text == ";")
        .filter(|command| !command.is_empty());
    let commands = commands.map(command).collect::<Result<Vec<_>, _>>()?;
    Ok(Node { value: Value::List(commands), offset: 0 })
}

/// A word, a quoted text, a comma, a bracket or the end of a command.
struct Word {
    text: String,
    offset: usize,
    /// It stood in quotes, or between `$$`.
    is_quoted: bool,
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        !self.is_quoted && self.text.eq_ignore_ascii_case(keyword)
    }
}

fn words(text: &str) -> Result<Vec<Word>, SyntaxError> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let error =
            |what: &str| SyntaxError { offset: at, message: format!("{what} is not closed") };
        if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").ok_or_else(|| error("a comment"))? + 2;
        } else if c.is_whitespace() {
            at += c.len_utf8();
        } else if let Some(inner) = rest.strip_prefix("$$") {
            let end = inner.find("$$").ok_or_else(|| error("a text between `$$`"))?;
            let text = inner[..end].trim().to_owned();
            words.push(Word { text, offset: at, is_quoted: true });
            at += end + 4;
        } else if c == '\'' {
            let end = rest[1..].find('\'').ok_or_else(|| error("a quote"))?;
            words.push(Word { text: rest[1..1 + end].to_owned(), offset: at, is_quoted: true });
            at += end + 2;
        } else if rest.starts_with("~/") || rest.starts_with("~<") {
            let close = if rest.starts_with("~/") { '/' } else { '>' };
            let end = rest[2..].find(close).ok_or_else(|| error("a pattern"))?;
            words.push(Word { text: rest[..end + 3].to_owned(), offset: at, is_quoted: false });
            at += end + 3;
        } else if matches!(c, ',' | '(' | ')' | ';') {
            words.push(Word { text: c.to_string(), offset: at, is_quoted: false });
            at += 1;
        } else {
            let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | ';' | '\'');
            let end = rest.find(ends).unwrap_or(rest.len());
            words.push(Word { text: rest[..end].to_owned(), offset: at, is_quoted: false });
            at += end;
        }
    }
    Ok(words)
}

/// The first words of clauses and the keys that they have in the tree, longer ones first.
const CLAUSES: &[(&[&str], &str)] = &[
    (&["including", "only", "table", "names", "matching"], "including"),
    (&["including", "only", "table", "names", "like"], "including like"),
    (&["excluding", "table", "names", "matching"], "excluding"),
    (&["decoding", "table", "names", "matching"], "decoding"),
    (&["alter", "table", "names", "matching"], "alter table"),
    (&["alter", "schema"], "alter schema"),
    (&["materialize", "all", "views"], "materialize all views"),
    (&["materialize", "views"], "materialize views"),
    (&["before", "load", "do"], "before"),
    (&["before", "load", "execute"], "before execute"),
    (&["after", "load", "do"], "after"),
    (&["after", "load", "execute"], "after execute"),
    (&["after", "create", "schema", "do"], "after create schema"),
    (&["set", "postgresql", "parameters"], "set"),
    (&["set", "mysql", "parameters"], "set mysql"),
    (&["set"], "set"),
    (&["cast"], "cast"),
    (&["distribute"], "distribute"),
    (&["having", "fields"], "fields"),
    (&["target", "table"], "table"),
    (&["target", "columns"], "columns"),
    (&["with", "encoding"], "encoding"),
    (&["with"], "with"),
    (&["from"], "from"),
    (&["into"], "into"),
];

/// The clause that begins at a word, and how many words begin it.
fn clause(words: &[Word], at: usize) -> Option<(&'static str, usize)> {
    let begins = |keywords: &&[&str]| {
        keywords
            .iter()
            .enumerate()
            .all(|(n, keyword)| words.get(at + n).is_some_and(|it| it.is(keyword)))
    };
    let found = CLAUSES.iter().find(|(keywords, _)| begins(keywords));
    found.map(|(keywords, key)| (*key, keywords.len()))
}

/// Whether a word that begins a clause elsewhere belongs to the clause before it here.
fn belongs(key: &str, words: &[Word], at: usize) -> bool {
    let before = at.checked_sub(1).map(|at| &words[at]);
    match key {
        // `... when default "x" with extra on update`, `alter table names ... set schema`.
        "cast" => words[at].is("with") && words.get(at + 1).is_some_and(|it| it.is("extra")),
        "alter table" | "alter schema" => words[at].is("set"),
        "with" | "set" | "set mysql" => {
            before.is_some_and(|it| !it.is_quoted && it.text == "," || it.is("="))
        }
        _ => false,
    }
}

fn command(words: &[Word]) -> Result<Node, SyntaxError> {
    let first = &words[0];
    let wrong = |word: &Word, expected: &str| SyntaxError {
        offset: word.offset,
        message: format!("expected {expected}, found `{}`", word.text),
    };
    if !first.is("load") {
        return Err(wrong(first, "LOAD"));
    }
    let kind = words.get(1).map(|word| word.text.to_lowercase()).unwrap_or_default();
    let text = |text: String, offset| Node { value: Value::Text(text), offset };
    let mut entries = vec![Entry {
        key: "load".to_owned(),
        offset: first.offset,
        node: text(kind, first.offset),
    }];
    let mut at = 2;
    while at < words.len() {
        let Some((key, length)) = clause(words, at) else {
            return Err(wrong(&words[at], "a clause such as FROM, INTO or WITH"));
        };
        let offset = words[at].offset;
        let start = at + length;
        at = start;
        let (mut parts, mut depth) = (vec![(String::new(), None)], 0);
        while at < words.len()
            && (depth > 0
                || belongs(key, words, at)
                || clause(words, at).is_none()
                || at == start && key == "from")
        {
            let word = &words[at];
            depth += match (word.is_quoted, word.text.as_str()) {
                (false, "(") => 1,
                (false, ")") => -1,
                _ => 0,
            };
            if depth == 0 && !word.is_quoted && word.text == "," {
                parts.push((String::new(), None));
            } else if let Some((part, begins)) = parts.last_mut() {
                let glued = part.is_empty()
                    || part.ends_with('(')
                    || !word.is_quoted && matches!(word.text.as_str(), "(" | ")" | ",");
                if !glued || word.text == "(" && !part.is_empty() {
                    part.push(' ');
                }
                let is_alone = key == "before"
                    || key == "after"
                    || key.starts_with("incl")
                    || key.starts_with("excl")
                    || key == "from";
                match word.is_quoted && !is_alone {
                    true => part.push_str(&format!("'{}'", word.text)),
                    false => part.push_str(&word.text),
                }
                begins.get_or_insert(word.offset);
            }
            at += 1;
        }
        let parts =
            parts.into_iter().filter_map(|(part, begins)| Some(text(part, begins?))).collect();
        entries.push(Entry {
            key: key.to_owned(),
            offset,
            node: Node { value: Value::List(parts), offset },
        });
    }
    Ok(Node { value: Value::Map(entries), offset: first.offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(node: &Node, key: &str) -> Vec<String> {
        let Some(Value::List(items)) = node.get(key).map(|it| &it.value) else { return Vec::new() };
        items.iter().filter_map(Node::text).collect()
    }

    #[test]
    fn clauses_are_cut_at_their_commas() {
        let node = parse(
            "load database from mysql://root@localhost/sakila -- here
             into postgresql:///sakila
             WITH include drop, workers = 8, fields terminated by ','
             SET work_mem to '12MB', search_path to 'a, b'
             CAST type timestamp when default \"x\" with extra on update current timestamp to timestamptz,
                  column a.b to text
             INCLUDING ONLY TABLE NAMES MATCHING 'film', ~/^a/
             ALTER TABLE NAMES MATCHING 'film' SET SCHEMA 'mv'
             BEFORE LOAD DO $$ create schema x; $$, $$ select 1 $$;
             LOAD CSV FROM 'a.csv' (a, b [null if blanks]) INTO postgresql://h/d TARGET TABLE s.t (a, b) WITH fields terminated by ';';",
        );
        let node = node.unwrap();
        let Value::List(commands) = &node.value else { panic!() };
        let (one, two) = (&commands[0], &commands[1]);
        assert_eq!(texts(one, "from"), ["mysql://root@localhost/sakila"]);
        assert_eq!(texts(one, "with"), ["include drop", "workers = 8", "fields terminated by ','"]);
        assert_eq!(texts(one, "cast").len(), 2, "{one:?}");
        assert_eq!(texts(one, "including"), ["film", "~/^a/"]);
        assert_eq!(texts(one, "alter table"), ["'film' SET SCHEMA 'mv'"]);
        assert_eq!(texts(one, "before"), ["create schema x;", "select 1"]);
        assert_eq!(texts(two, "from"), ["a.csv (a, b [null if blanks])"]);
        assert_eq!(texts(two, "table"), ["s.t (a, b)"]);
    }

    #[test]
    fn what_is_broken_is_refused_at_its_place() {
        for (text, offset) in [("select 1", 0), ("load csv from 'x", 14), ("load csv xyz", 9)] {
            assert_eq!(parse(text).unwrap_err().offset, offset, "{text}");
        }
    }
}
