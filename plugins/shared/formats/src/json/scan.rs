//! The JSON scanner: finds where values begin and end, and checks their syntax (RFC 8259). Every
//! value stays in the form of the input's bytes; interpreting them is left to the decoder.

/// Deepest nesting of one record, including its own braces.
pub(super) const MAX_DEPTH: usize = 128;

/// Why scanning stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The input ended inside a value.
    Short,
    /// The input at this offset differs from what was expected.
    Wrong { at: usize, expected: &'static str },
}

pub(super) type Scan<T> = Result<T, Halt>;

/// The kind of value that a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    /// A string; `escaped` if it contains a backslash.
    Text {
        escaped: bool,
    },
    /// An object or an array.
    Nested,
}

/// One value, unchanged from the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// All bytes of the value, including quotes and braces.
    pub(super) raw: &'a [u8],
}

impl<'a> Token<'a> {
    /// The bytes between a string's quotes.
    pub(super) fn inner(&self) -> &'a [u8] {
        self.raw.get(1..self.raw.len() - 1).unwrap_or_default()
    }
}

/// A position in a JSON text.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    /// The next byte that is not white space; it is not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.pos) {
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.pos += 1;
        }
        None
    }

    /// Takes `wanted` after white space.
    #[inline]
    pub(super) fn expect(&mut self, wanted: u8, expected: &'static str) -> Scan<()> {
        match self.peek() {
            Some(byte) if byte == wanted => {
                self.pos += 1;
                Ok(())
            }
            Some(_) => Err(self.wrong(expected)),
            None => Err(Halt::Short),
        }
    }

    /// Takes `wanted` if it comes next, after white space.
    #[inline]
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.pos += usize::from(found);
        found
    }

    /// Takes these exact bytes if they come next.
    #[inline]
    pub(super) fn take_bytes(&mut self, wanted: &[u8]) -> bool {
        let found = self.bytes.get(self.pos..).is_some_and(|rest| rest.starts_with(wanted));
        if found {
            self.pos += wanted.len();
        }
        found
    }

    /// Takes one value of any kind after white space. `depth` counts the braces around it.
    #[inline]
    pub(super) fn value(&mut self, depth: usize) -> Scan<Token<'a>> {
        let first = self.peek().ok_or(Halt::Short)?;
        let start = self.pos;
        let kind = match first {
            b'"' => Kind::Text { escaped: self.string()? },
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Kind::Number
            }
            b'{' | b'[' => {
                self.nested(depth)?;
                Kind::Nested
            }
            b't' => self.word(b"true", Kind::Boolean)?,
            b'f' => self.word(b"false", Kind::Boolean)?,
            b'n' => self.word(b"null", Kind::Null)?,
            _ => return Err(self.wrong("a value")),
        };
        Ok(Token { kind, raw: &self.bytes[start..self.pos] })
    }

    /// Takes a key with its colon; returns the bytes between the quotes.
    pub(super) fn key(&mut self) -> Scan<Token<'a>> {
        if self.peek().ok_or(Halt::Short)? != b'"' {
            return Err(self.wrong("a key in quotes"));
        }
        let start = self.pos;
        let escaped = self.string()?;
        let raw = &self.bytes[start..self.pos];
        self.expect(b':', "`:` after a key")?;
        Ok(Token { kind: Kind::Text { escaped }, raw })
    }

    fn wrong(&self, expected: &'static str) -> Halt {
        Halt::Wrong { at: self.pos, expected }
    }

    fn word(&mut self, word: &'static [u8], kind: Kind) -> Scan<Kind> {
        if self.take_bytes(word) {
            return Ok(kind);
        }
        let rest = &self.bytes[self.pos..];
        if word.starts_with(rest) { Err(Halt::Short) } else { Err(self.wrong("a value")) }
    }

    /// Takes a string that begins here; returns whether it contains a backslash.
    #[inline]
    fn string(&mut self) -> Scan<bool> {
        let mut escaped = false;
        let mut at = self.pos + 1;
        loop {
            at = next_special(self.bytes, at);
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.pos = at + 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(_) => {
                    let expected = "an escape such as `\\n`, not a bare control character";
                    return Err(Halt::Wrong { at, expected });
                }
                None => return Err(Halt::Short),
            }
        }
    }

    /// Takes a number by the grammar of JSON: no leading zeros, no `+`, digits on both sides of the
    /// point.
    #[inline]
    fn number(&mut self) -> Scan<()> {
        self.pos += usize::from(self.here() == Some(b'-'));
        if self.here() == Some(b'0') {
            self.pos += 1;
            if matches!(self.here(), Some(b'0'..=b'9')) {
                return Err(self.wrong("no digit after a leading zero"));
            }
        } else {
            self.digits()?;
        }
        if self.here() == Some(b'.') {
            self.pos += 1;
            self.digits()?;
        }
        if matches!(self.here(), Some(b'e' | b'E')) {
            self.pos += 1;
            self.pos += usize::from(matches!(self.here(), Some(b'+' | b'-')));
            self.digits()?;
        }
        // A number that touches the input's end may continue in the next block.
        if self.pos == self.bytes.len() { Err(Halt::Short) } else { Ok(()) }
    }

    #[inline]
    fn here(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    #[inline]
    fn digits(&mut self) -> Scan<()> {
        let start = self.pos;
        while matches!(self.here(), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
        match self.here() {
            _ if self.pos > start => Ok(()),
            Some(_) => Err(self.wrong("a digit")),
            None => Err(Halt::Short),
        }
    }

    /// Takes an object or an array that begins here.
    fn nested(&mut self, depth: usize) -> Scan<()> {
        if depth >= MAX_DEPTH {
            return Err(self.wrong("at most 128 levels of nesting"));
        }
        let object = self.here() == Some(b'{');
        let (close, expected) = if object { (b'}', "`,` or `}`") } else { (b']', "`,` or `]`") };
        self.pos += 1;
        if self.take(close) {
            return Ok(());
        }
        loop {
            if object {
                self.key()?;
            }
            self.value(depth + 1)?;
            if !self.take(b',') {
                return self.expect(close, expected);
            }
        }
    }
}

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// Marks the bytes of `word` that are `"`, `\` or below 0x20 in their high bit. Bytes above the
/// first marked one may be marked wrongly, so only the lowest mark is used.
#[inline]
fn specials(word: u64) -> u64 {
    let below = |bound: u8| word.wrapping_sub(ONES * u64::from(bound));
    let equal = |byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference
    };
    ((below(0x20) & !word) | equal(b'"') | equal(b'\\')) & HIGHS
}

/// Offset of the next `"`, `\` or control character at or after `from`, or the end.
#[inline]
pub(super) fn next_special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let found = specials(u64::from_le_bytes(*block));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// Appends the characters of a string's inner bytes to `out`, with escapes resolved. `Err`
/// describes an invalid escape; `out` then contains a part of the string.
pub(super) fn unescape(inner: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (&letter, after) = rest[at + 1..].split_first().ok_or("a lone backslash")?;
        rest = after;
        let plain = match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, after) = unicode_escape(rest)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            _ => return Err("an unknown escape"),
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character of `XXXX` or of a surrogate pair `XXXX\uXXXX`, and the rest after it.
fn unicode_escape(digits: &[u8]) -> Result<(char, &[u8]), &'static str> {
    let (high, rest) = hex4(digits)?;
    if !(0xD800..0xE000).contains(&high) {
        return char::from_u32(high).map(|c| (c, rest)).ok_or("an unknown escape");
    }
    let low = rest.strip_prefix(b"\\u").map(hex4).transpose()?;
    match low {
        Some((low, rest)) if high < 0xDC00 && (0xDC00..0xE000).contains(&low) => {
            let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            char::from_u32(code).map(|c| (c, rest)).ok_or("an unknown escape")
        }
        _ => Err("half of a surrogate pair"),
    }
}

fn hex4(digits: &[u8]) -> Result<(u32, &[u8]), &'static str> {
    const WANTED: &str = "`\\u` without four hexadecimal digits";
    let (four, rest) = digits.split_first_chunk::<4>().ok_or(WANTED)?;
    let mut value = 0;
    for &digit in four {
        value = value * 16 + char::from(digit).to_digit(16).ok_or(WANTED)?;
    }
    Ok((value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind_of(text: &str) -> Scan<Kind> {
        // With a space after it, because a number at the very end could continue.
        let padded = format!("{text} ");
        Scanner::new(padded.as_bytes()).value(0).map(|token| token.kind)
    }

    #[test]
    fn values_are_told_apart() {
        for (text, kind) in [
            ("null", Kind::Null),
            ("true", Kind::Boolean),
            ("false", Kind::Boolean),
            ("0", Kind::Number),
            ("-0.5e+10", Kind::Number),
            ("12345678901234567890", Kind::Number),
            ("\"\"", Kind::Text { escaped: false }),
            ("\"a\\\"b\"", Kind::Text { escaped: true }),
            ("{}", Kind::Nested),
            ("[ 1 , {\"a\" : [ ] } ]", Kind::Nested),
        ] {
            assert_eq!(kind_of(text), Ok(kind), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "nul1",
            "True",
            "01",
            "-",
            "1.",
            ".5",
            "+1",
            "1e",
            "'a'",
            "[1,]",
            "{,}",
            "{\"a\" 1}",
            "{a:1}",
            "[1 2]",
            "}",
            "\"a\tb\"",
            "NaN",
        ] {
            assert!(matches!(kind_of(text), Err(Halt::Wrong { .. })), "{text}");
        }
    }

    #[test]
    fn unfinished_values_are_short() {
        for text in ["", " ", "tru", "12", "1.5", "\"abc", "\"abc\\", "[1,", "{\"a\":", "{\"a\""] {
            let halt = Scanner::new(text.as_bytes()).value(0).map(|token| token.kind);
            assert_eq!(halt, Err(Halt::Short), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(kind_of(&nested(MAX_DEPTH)), Ok(Kind::Nested));
        assert!(matches!(kind_of(&nested(MAX_DEPTH + 1)), Err(Halt::Wrong { .. })));
    }

    #[test]
    fn escapes_become_characters() {
        for (inner, expected) in [
            (r#"a\"\\\/\b\f\n\r\t"#, "a\"\\/\u{8}\u{c}\n\r\t"),
            (r"\u00e9\u4e2d\u0000", "é中\0"),
            (r"\ud83d\ude00!", "😀!"),
        ] {
            let mut out = Vec::new();
            assert_eq!(unescape(inner.as_bytes(), &mut out), Ok(()));
            assert_eq!(out, expected.as_bytes());
        }
        for inner in [r"\", r"\x", r"\u12", r"\u12g4", r"\ud83d", r"\ud83d\u0041", r"\ude00"] {
            assert!(unescape(inner.as_bytes(), &mut Vec::new()).is_err(), "{inner}");
        }
    }

    proptest! {
        #[test]
        fn special_bytes_are_found_where_a_plain_search_finds_them(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'a')], 0..40),
            from in 0usize..40,
        ) {
            let from = from.min(bytes.len());
            let plain = bytes[from..].iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\');
            prop_assert_eq!(next_special(&bytes, from), plain.map_or(bytes.len(), |n| n + from));
        }

        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}:,"a0-9.eE+\- tnu\\]{0,12}"#) {
            let padded = format!("{text} ");
            let mut scanner = Scanner::new(padded.as_bytes());
            let ours = scanner.value(0).is_ok() && scanner.peek().is_none();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
            // Bad escapes are found later, by `unescape`.
            if !text.contains('\\') {
                prop_assert_eq!(ours, theirs.is_ok(), "{}", text);
            }
        }
    }
}
