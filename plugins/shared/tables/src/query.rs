//! The text of a job's own query: its last semicolon and what follows are cut off, once for all
//! databases, and a second statement is refused. Only quotes and comments are understood here;
//! everything else is the database's business.

use transload_plugin_api::{Error, Result};

use crate::Dialect;

/// How a database writes quotes and comments, where it differs from the standard's `'text'`,
/// `"name"`, `-- comment` and `/* comment */`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lexis {
    /// A backslash takes the next character's meaning away, in every kind of quotes; else only in
    /// `E'text'`.
    pub backslashes: bool,
    /// `#` begins a comment, and `--` only if a blank follows; `/*!` and `/*M!` are no comments.
    pub hashes: bool,
    /// `$tag$text$tag$`.
    pub dollars: bool,
    /// Comments nest.
    pub nested: bool,
    /// `[name]`.
    pub brackets: bool,
}

/// The query without what ends it: semicolons, blanks and comments.
///
/// # Errors
/// [`transload_plugin_api::ErrorKind::Options`] for an empty query and for a second statement.
pub(crate) fn single_statement(query: &str, dialect: &dyn Dialect) -> Result<String> {
    let refuse = |message: &str| Error::options(message).of_key("query");
    let (mut lexer, mut end, mut ended) = (Lexer { rest: query, lexis: dialect.lexis() }, 0, false);
    loop {
        match lexer.next() {
            Token::End => break,
            Token::Nothing => {}
            Token::Semicolon => ended |= end > 0,
            // The database says what is wrong with it.
            Token::Unclosed => return Ok(query.to_owned()),
            Token::Text if ended => {
                return Err(refuse("`query` holds more than one statement")
                    .hint("write a single SELECT; `before` of the writer takes other statements"));
            }
            Token::Text => end = query.len() - lexer.rest.len(),
        }
    }
    match end {
        0 => Err(refuse("`query` is empty").hint("write a SELECT, or name a `table`")),
        _ => Ok(query[..end].to_owned()),
    }
}

/// The statements of a text, without what separates them.
pub(crate) fn statements<'a>(text: &'a str, dialect: &dyn Dialect) -> Vec<&'a str> {
    let mut lexer = Lexer { rest: text, lexis: dialect.lexis() };
    // Where a statement began, and where its text ends.
    let (mut found, mut open) = (Vec::new(), None);
    loop {
        let at = text.len() - lexer.rest.len();
        match lexer.next() {
            Token::Nothing => {}
            Token::Text => {
                let (begin, _) = open.unwrap_or((at, at));
                open = Some((begin, text.len() - lexer.rest.len()));
            }
            // The body of a trigger or a procedure has semicolons of its own.
            Token::Semicolon if open.is_some_and(|(begin, _)| has_body(&text[begin..])) => {}
            Token::Semicolon => found.extend(open.take().map(|(from, to)| &text[from..to])),
            Token::Unclosed => return vec![text],
            Token::End => {
                found.extend(open.take().map(|(from, to)| &text[from..to]));
                return found;
            }
        }
    }
}

/// Whether a statement may hold others.
fn has_body(statement: &str) -> bool {
    let mut words = statement.split_whitespace().map(str::to_ascii_uppercase);
    words.next().as_deref() == Some("CREATE")
        && words
            .take(6)
            .any(|word| matches!(word.as_str(), "TRIGGER" | "PROCEDURE" | "FUNCTION" | "EVENT"))
}

/// Whether a statement only reads or changes rows: it leaves every name and setting as it is, and
/// can be explained.
pub(crate) fn is_plain(statement: &str, dialect: &dyn Dialect) -> bool {
    let mut lexer = Lexer { rest: statement, lexis: dialect.lexis() };
    let first = loop {
        let rest = lexer.rest;
        match lexer.next() {
            Token::Nothing => {}
            Token::Text => break &rest[..rest.len() - lexer.rest.len()],
            _ => return false,
        }
    };
    const PLAIN: [&str; 8] =
        ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "VALUES", "WITH"];
    PLAIN.iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// A part of a statement, as far as it matters here.
enum Token {
    /// A blank or a comment.
    Nothing,
    Semicolon,
    Text,
    /// Quotes or a comment without an end.
    Unclosed,
    End,
}

struct Lexer<'a> {
    rest: &'a str,
    lexis: Lexis,
}

impl Lexer<'_> {
    fn next(&mut self) -> Token {
        let Lexis { backslashes, hashes, dollars, brackets, .. } = self.lexis;
        let mut letters = self.rest.chars();
        let Some(letter) = letters.next() else { return Token::End };
        match letter {
            ';' => self.take(1, Token::Semicolon),
            _ if letter.is_whitespace() => self.take(letter.len_utf8(), Token::Nothing),
            '\'' | '"' | '`' => self.quoted(letter, backslashes && letter != '`'),
            '[' if brackets => self.quoted(']', false),
            'e' | 'E' if dollars && letters.as_str().starts_with('\'') => {
                self.rest = letters.as_str();
                self.quoted('\'', true)
            }
            '-' if self.is_dashed() => self.line(),
            '#' if hashes => self.line(),
            '/' if letters.as_str().starts_with('*') => self.comment(),
            '$' if dollars => self.dollar_quoted(),
            _ if is_word(letter) => {
                // A whole word, so that no quote or dollar inside it is taken for a beginning.
                let inside = |other: char| is_word(other) || (dollars && other == '$');
                let length = self.rest.find(|other| !inside(other)).unwrap_or(self.rest.len());
                self.take(length, Token::Text)
            }
            _ => self.take(letter.len_utf8(), Token::Text),
        }
    }

    fn take(&mut self, bytes: usize, token: Token) -> Token {
        self.rest = &self.rest[bytes..];
        token
    }

    /// Whether a comment of one line begins.
    fn is_dashed(&self) -> bool {
        self.rest.strip_prefix("--").is_some_and(|rest| {
            let blank = |letter: char| letter.is_whitespace() || letter.is_control();
            !self.lexis.hashes || rest.chars().next().is_none_or(blank)
        })
    }

    fn line(&mut self) -> Token {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.take(end, Token::Nothing)
    }

    /// Quotes, from the opening one; a closing quote that is doubled opens the next ones.
    fn quoted(&mut self, close: char, backslashes: bool) -> Token {
        let mut letters = self.rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            if letter == '\\' && backslashes {
                letters.next();
            } else if letter == close {
                return self.take(at + letter.len_utf8(), Token::Text);
            }
        }
        Token::Unclosed
    }

    fn comment(&mut self) -> Token {
        let is_executed = self.rest.starts_with("/*!") || self.rest.starts_with("/*M!");
        let token = match self.lexis.hashes && is_executed {
            true => Token::Text,
            false => Token::Nothing,
        };
        let (mut depth, mut at) = (1, 2);
        while depth > 0 {
            let Some(next) = self.rest[at..].find(['*', '/']) else { return Token::Unclosed };
            at += next;
            match &self.rest.as_bytes()[at..] {
                [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
                [b'/', b'*', ..] if self.lexis.nested => (depth, at) = (depth + 1, at + 2),
                _ => at += 1,
            }
        }
        self.take(at, token)
    }

    fn dollar_quoted(&mut self) -> Token {
        let tag = self.rest[1..].find(|letter| !is_word(letter)).unwrap_or(self.rest.len() - 1);
        if !self.rest[1 + tag..].starts_with('$') {
            return self.take(1 + tag, Token::Text);
        }
        let (quote, body) = self.rest.split_at(tag + 2);
        match body.find(quote) {
            Some(end) => self.take(2 * quote.len() + end, Token::Text),
            None => Token::Unclosed,
        }
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::tests::{Folding, Standard};

    #[test]
    fn the_end_of_a_query_is_cut_off() {
        for (query, kept) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1;", "SELECT 1"),
            (" SELECT 1 ; ;\n; ", " SELECT 1"),
            ("SELECT 1 -- all; of it", "SELECT 1"),
            ("SELECT 1; -- all\n/* of\n it */", "SELECT 1"),
            ("/* a; */ SELECT 1 /* b */ + 2 /* c */;", "/* a; */ SELECT 1 /* b */ + 2"),
            ("SELECT ';' || ';--' || \"a;\"\"b\"", "SELECT ';' || ';--' || \"a;\"\"b\""),
            ("SELECT 'it''s;';", "SELECT 'it''s;'"),
            ("; SELECT 1;", "; SELECT 1"),
            // Not closed: the database says what is wrong.
            ("SELECT 'a;", "SELECT 'a;"),
            ("SELECT 1 /* a;", "SELECT 1 /* a;"),
        ] {
            assert_eq!(single_statement(query, &Standard).unwrap(), kept, "{query}");
            assert_eq!(single_statement(query, &Folding).unwrap(), kept, "{query}");
        }
    }

    #[test]
    fn each_database_has_its_own_quotes_and_comments() {
        let of_mysql = [
            ("SELECT 'it\\'s;' # a\n;", "SELECT 'it\\'s;'"),
            ("SELECT 5--3", "SELECT 5--3"),
            ("SELECT 5 -- 3", "SELECT 5"),
            ("SELECT 1 /*!80000 + 1 */;", "SELECT 1 /*!80000 + 1 */"),
        ];
        for (query, kept) in of_mysql {
            assert_eq!(single_statement(query, &Folding).unwrap(), kept, "{query}");
        }
        let of_postgres = [
            ("SELECT '\\'; -- a", "SELECT '\\'"),
            ("SELECT E'\\';' ;", "SELECT E'\\';'"),
            ("SELECT $$;$$ || $a$;$$;$a$;", "SELECT $$;$$ || $a$;$$;$a$"),
            ("SELECT a$b$ FROM c$b$;", "SELECT a$b$ FROM c$b$"),
            ("SELECT 1 # 2", "SELECT 1 # 2"),
            ("SELECT 1 /* a /* b */ ; */;", "SELECT 1"),
            ("SELECT a[1];", "SELECT a[1]"),
        ];
        for (query, kept) in of_postgres {
            assert_eq!(single_statement(query, &Standard).unwrap(), kept, "{query}");
        }
    }

    #[test]
    fn a_text_is_cut_into_statements() {
        for (text, expected) in [
            ("DELETE FROM t", &["DELETE FROM t"][..]),
            ("a; b ;; -- c;\n d;", &["a", "b", "d"]),
            ("INSERT INTO t VALUES (';')", &["INSERT INTO t VALUES (';')"]),
            ("/* ; */ a", &["a"]),
            ("CREATE TRIGGER x BEGIN a; END", &["CREATE TRIGGER x BEGIN a; END"]),
            ("", &[]),
        ] {
            assert_eq!(statements(text, &Standard), expected, "{text}");
        }
        for (statement, plain) in [
            ("/* a */ delete from t", true),
            ("WITH a AS (SELECT 1) SELECT", true),
            ("CREATE TABLE t (a int)", false),
            ("SET x = 1", false),
            ("-- nothing", false),
        ] {
            assert_eq!(is_plain(statement, &Standard), plain, "{statement}");
        }
    }

    #[test]
    fn a_second_statement_is_refused() {
        for query in ["SELECT 1; DELETE FROM t", "SELECT 1;;SELECT 2;", "SELECT 1; 'a'"] {
            let error = single_statement(query, &Standard).unwrap_err();
            assert_eq!(error.message, "`query` holds more than one statement", "{query}");
        }
        for query in ["", " ", ";", "-- SELECT 1", "/* a */;"] {
            let error = single_statement(query, &Standard).unwrap_err();
            assert_eq!(error.message, "`query` is empty", "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(query in "[a$'\"`;/*#\\\\ \n-]{0,16}|\\PC{0,12}") {
            for dialect in [&Standard as &dyn Dialect, &Folding] {
                if let Ok(kept) = single_statement(&query, dialect) {
                    prop_assert!(query.starts_with(&kept));
                }
            }
        }
    }
}
