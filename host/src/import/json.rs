//! Reads JSON as DataX's parser takes it, with the place of each value: comments, commas before a
//! closing bracket, names without quotes, single quotes, line ends in strings, and `${name}` where a
//! value stands. No crate reads all of these and keeps places.

use super::tree::{Entry, Node, Value};

/// Deeper documents are refused, because each level takes stack.
const DEEPEST: u32 = 128;

/// Why a text is no document, and where.
#[derive(Debug, PartialEq)]
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    pub(super) message: String,
}

/// The one value of a text.
///
/// # Errors
/// If it breaks the syntax.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.skip_blanks()?;
    let node = reader.value()?;
    reader.skip_blanks()?;
    match reader.peek() {
        None => Ok(node),
        Some(c) => Err(reader.unexpected(c, "the end of the file")),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn advance(&mut self, c: char) {
        self.at += c.len_utf8();
    }

    fn error(&self, offset: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError { offset, message: message.into() }
    }

    fn unexpected(&self, c: char, expected: &str) -> SyntaxError {
        self.error(
            self.at,
            format!(
                "expected {expected}, found `{}`",
                if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }
            ),
        )
    }

    fn ended(&self, expected: &str) -> SyntaxError {
        self.error(self.at, format!("expected {expected}, found the end of the file"))
    }

    /// Blanks, `// ...`, `# ...` and `/* ... */`.
    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with("//") || rest.starts_with('#') {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let end = rest.find("*/");
                self.at += end.ok_or_else(|| self.error(self.at, "a comment is not closed"))? + 2;
            } else {
                match self.peek() {
                    Some(c) if c.is_whitespace() || c == '\u{feff}' => self.advance(c),
                    _ => return Ok(()),
                }
            }
        }
    }

    fn value(&mut self) -> Result<Node, SyntaxError> {
        let offset = self.at;
        let value = match self.peek() {
            Some('{') => self.nested(Self::map)?,
            Some('[') => self.nested(Self::list)?,
            Some(quote @ ('"' | '\'')) => Value::Text(self.string(quote)?),
            Some(_) => self.word()?,
            None => return Err(self.ended("a value")),
        };
        Ok(Node { value, offset })
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Value, SyntaxError>,
    ) -> Result<Value, SyntaxError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error(self.at, format!("it is nested more than {DEEPEST} deep")));
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn map(&mut self) -> Result<Value, SyntaxError> {
        let mut entries = Vec::new();
        self.at += 1;
        while !self.closes('}', entries.is_empty())? {
            let offset = self.at;
            let key = match self.peek() {
                Some(quote @ ('"' | '\'')) => self.string(quote)?,
                Some(c) if is_word(c) => self.bare(is_word).to_owned(),
                Some(c) => return Err(self.unexpected(c, "a key or `}`")),
                None => return Err(self.ended("a key or `}`")),
            };
            self.skip_blanks()?;
            match self.peek() {
                Some(':') => self.at += 1,
                Some(c) => return Err(self.unexpected(c, "`:`")),
                None => return Err(self.ended("`:`")),
            }
            self.skip_blanks()?;
            entries.push(Entry { key, offset, node: self.value()? });
        }
        Ok(Value::Map(entries))
    }

    fn list(&mut self) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        self.at += 1;
        while !self.closes(']', items.is_empty())? {
            items.push(self.value()?);
        }
        Ok(Value::List(items))
    }

    /// Whether the bracket closes here; otherwise the comma before the next item is skipped. A comma
    /// before the bracket does not matter.
    fn closes(&mut self, bracket: char, is_first: bool) -> Result<bool, SyntaxError> {
        self.skip_blanks()?;
        let expected = format!("`,` or `{bracket}`");
        match self.peek() {
            Some(',') if !is_first => self.at += 1,
            Some(c) if c != bracket && !is_first => return Err(self.unexpected(c, &expected)),
            None => return Err(self.ended(&expected)),
            _ => {}
        }
        self.skip_blanks()?;
        let is_closed = self.peek() == Some(bracket);
        self.at += usize::from(is_closed);
        Ok(is_closed)
    }

    fn string(&mut self, quote: char) -> Result<String, SyntaxError> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            let Some(c) = self.peek() else {
                return Err(self.error(start, "a string is not closed"));
            };
            self.advance(c);
            match c {
                '\\' => text.push(self.escaped()?),
                _ if c == quote => return Ok(text),
                _ => text.push(c),
            }
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Result<char, SyntaxError> {
        let Some(c) = self.peek() else { return Err(self.ended("a character behind `\\`")) };
        self.advance(c);
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '0' => '\0',
            '"' | '\'' | '\\' | '/' => c,
            'u' => self.unicode()?,
            'x' => self.hexadecimal(2).and_then(char::from_u32).ok_or_else(|| self.no_code())?,
            _ => {
                let message = format!("`\\{c}` is no escape; a backslash is written `\\\\`");
                return Err(self.error(self.at - 1 - c.len_utf8(), message));
            }
        })
    }

    /// `1F600` behind `\u`, or a pair of surrogates.
    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.hexadecimal(4).ok_or_else(|| self.no_code())?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.no_code());
        }
        let is_pair = self.text[self.at..].starts_with("\\u");
        self.at += if is_pair { 2 } else { 0 };
        let second = is_pair.then(|| self.hexadecimal(4)).flatten();
        let second = second.filter(|it| (0xDC00..0xE000).contains(it));
        let code = second.map(|it| 0x10000 + ((first - 0xD800) << 10) + (it - 0xDC00));
        code.and_then(char::from_u32).ok_or_else(|| self.no_code())
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<u32> {
        let text = self.text.get(self.at..self.at + digits)?;
        let is_number = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.at += digits;
        u32::from_str_radix(text, 16).ok().filter(|_| is_number)
    }

    fn no_code(&self) -> SyntaxError {
        self.error(self.at, "the escape names no character")
    }

    /// `true`, a number, or a parameter that is put in before the document is read.
    fn word(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        let rest = &self.text[start..];
        let close = match rest.get(..2) {
            Some("${") => Some('}'),
            Some("$[") => Some(']'),
            _ => None,
        };
        if let Some(end) = close.and_then(|close| rest.find(close)) {
            self.at += end + 1;
            return Ok(Value::Text(rest[..=end].to_owned()));
        }
        let word = self.bare(|c| is_word(c) || "+-.".contains(c)).to_owned();
        let is_number = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        match word.as_str() {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            "null" => Ok(Value::Null),
            _ if word.starts_with('$') && word.len() > 1 => Ok(Value::Text(word)),
            _ if is_number && word.parse::<f64>().is_ok() => Ok(Value::Number(word)),
            "" => Err(self.unexpected(self.peek().unwrap_or(' '), "a value")),
            _ => Err(self.error(start, format!("expected a value, found `{word}`"))),
        }
    }

    fn bare(&mut self, belongs: impl Fn(char) -> bool) -> &str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Boolean(value) => value.to_string(),
            Value::Number(text) => text.clone(),
            Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(text_of).collect::<Vec<_>>().join(","))
            }
            Value::Map(entries) => {
                let pair = |it: &Entry| format!("\"{}\":{}", it.key, text(&it.node));
                format!("{{{}}}", entries.iter().map(pair).collect::<Vec<_>>().join(","))
            }
        }
    }

    fn text_of(node: &Node) -> String {
        text(node)
    }

    #[test]
    fn what_people_write_is_read() {
        for (written, read) in [
            ("{}", "{}"),
            ("\u{feff}{\"a\": 1, // one\n \"b\": [1, 2,], /* two */}", r#"{"a":1,"b":[1,2]}"#),
            ("[1, # one\n 2]", "[1,2]"),
            ("{a: 'x', $b: null}", r#"{"a":"x","$b":null}"#),
            ("{\"sql\": \"select 1\n from t\"}", r#"{"sql":"select 1\n from t"}"#),
            (r#"["\u0001\u4e2d\uD83D\uDE00\t\/"]"#, "[\"\\u0001中😀\\t/\"]"),
            ("{\"n\": ${channel}}", r#"{"n":"${channel}"}"#),
            ("{\"n\": $channel}", r#"{"n":"$channel"}"#),
            ("[$[yyyymmdd-1], -1.5e3, true]", r#"["$[yyyymmdd-1]",-1.5e3,true]"#),
            ("{\"url\": \"jdbc:mysql://h/d\" }", r#"{"url":"jdbc:mysql://h/d"}"#),
        ] {
            assert_eq!(parse(written).map(|node| text(&node)), Ok(read.to_owned()), "{written}");
        }
    }

    #[test]
    fn what_is_broken_is_refused_at_its_place() {
        for (written, offset, part) in [
            ("", 0, "found the end"),
            ("{\"a\": 1 \"b\": 2}", 8, "expected `,` or `}`"),
            ("{\"a\" 1}", 5, "expected `:`"),
            ("{\"a\": \"x}", 6, "not closed"),
            ("[1] x", 4, "expected the end of the file"),
            ("{\"a\": <column>}", 6, "expected a value"),
            ("{\"a\": yes}", 6, "found `yes`"),
            ("[\"D:\\data\"]", 4, "is no escape"),
            ("/* x", 0, "a comment is not closed"),
            ("[1, 2", 5, "found the end"),
        ] {
            let error = parse(written).unwrap_err();
            assert_eq!(error.offset, offset, "{written}: {error:?}");
            assert!(error.message.contains(part), "{written}: {error:?}");
        }
        assert!(parse(&"[".repeat(100_000)).unwrap_err().message.contains("nested"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[\\[\\]{}:,\"'\\\\/*$a-c0-2 \n\u{e9}-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
