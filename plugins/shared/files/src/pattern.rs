//! Patterns of names: `*` and `?` within one part, `[a-z]`, `[!a-z]`, and `**` for any number of
//! parts. A part that begins with `.` or `_` is hidden: only a pattern that begins so matches it.

use transload_plugin_api::{Error, Result};

/// A pattern, part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// `**`
    Any,
    One(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Letter(char),
    /// `?`
    AnyLetter,
    /// `*`
    AnyText,
    /// `[...]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Whether a path has letters that make it a pattern.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// What all names that a pattern matches begin with.
pub fn literal_prefix(pattern: &str) -> &str {
    &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())]
}

/// Whether a part of a name is hidden.
pub fn is_hidden(part: &str) -> bool {
    part.starts_with(['.', '_'])
}

impl Pattern {
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for an unclosed `[` and for `**` beside other letters.
    pub fn parse(pattern: &str) -> Result<Self> {
        let parts = pattern.split('/').map(Part::parse).collect::<Result<_, _>>();
        let parts =
            parts.map_err(|why| Error::options(format!("`{pattern}` is not a pattern: {why}")))?;
        Ok(Self { parts })
    }

    /// Whether it matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        let parts: Vec<&str> = name.split('/').collect();
        all(&self.parts, &parts)
    }

    /// Whether it can match a name in this folder, given without a final `/`.
    pub fn may_match_below(&self, folder: &str) -> bool {
        let parts: Vec<&str> = folder.split('/').collect();
        begins(&self.parts, &parts)
    }
}

fn all(pattern: &[Part], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([Part::Any, rest @ ..], _) => {
            all(rest, name)
                || matches!(name, [first, others @ ..] if !is_hidden(first) && all(pattern, others))
        }
        ([Part::One(tokens), rest @ ..], [first, others @ ..]) => {
            one(tokens, first) && all(rest, others)
        }
        _ => false,
    }
}

fn begins(pattern: &[Part], folder: &[&str]) -> bool {
    match (pattern, folder) {
        (_, []) => !pattern.is_empty(),
        ([Part::Any, rest @ ..], [first, others @ ..]) => {
            (!is_hidden(first) && begins(pattern, others)) || begins(rest, folder)
        }
        ([Part::One(tokens), rest @ ..], [first, others @ ..]) => {
            one(tokens, first) && begins(rest, others)
        }
        ([], _) => false,
    }
}

fn one(tokens: &[Token], part: &str) -> bool {
    let open = matches!(tokens.first(), Some(Token::Letter('.' | '_')));
    if is_hidden(part) && !open {
        return false;
    }
    let letters: Vec<char> = part.chars().collect();
    // Where to go on if what follows the last `*` does not match: one letter later.
    let mut retry: Option<(usize, usize)> = None;
    let (mut token, mut letter) = (0, 0);
    loop {
        match (tokens.get(token), letters.get(letter)) {
            (None, None) => return true,
            (Some(Token::AnyText), _) => {
                retry = Some((token + 1, letter));
                token += 1;
            }
            (Some(wanted), Some(found)) if wanted.takes(*found) => {
                (token, letter) = (token + 1, letter + 1);
            }
            _ => match retry {
                Some((again, at)) if at < letters.len() => {
                    retry = Some((again, at + 1));
                    (token, letter) = (again, at + 1);
                }
                _ => return false,
            },
        }
    }
}

impl Token {
    fn takes(&self, letter: char) -> bool {
        match self {
            Self::Letter(own) => *own == letter,
            Self::AnyLetter => true,
            Self::AnyText => false,
            Self::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter));
                inside != *negated
            }
        }
    }
}

impl Part {
    fn parse(part: &str) -> Result<Self, &'static str> {
        if part == "**" {
            return Ok(Self::Any);
        }
        if part.contains("**") {
            return Err("`**` stands between two `/` alone");
        }
        let mut tokens = Vec::new();
        let mut rest = part;
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            tokens.push(match letter {
                '?' => Token::AnyLetter,
                '*' => Token::AnyText,
                '[' => {
                    let (class, after) = class(rest).ok_or("a `[` is not closed")?;
                    rest = after;
                    class
                }
                other => Token::Letter(other),
            });
        }
        Ok(Self::One(tokens))
    }
}

/// A class behind its `[`, and what follows it. A `]` that stands first is a letter.
fn class(text: &str) -> Option<(Token, &str)> {
    let negated = text.starts_with('!');
    let text = text.strip_prefix('!').unwrap_or(text);
    let first = text.chars().next()?.len_utf8();
    let end = first + text.get(first..)?.find(']')?;
    let letters: Vec<char> = text[..end].chars().collect();
    let mut ranges = Vec::new();
    let mut index = 0;
    while let Some(from) = letters.get(index) {
        match (letters.get(index + 1), letters.get(index + 2)) {
            (Some('-'), Some(to)) => {
                ranges.push((*from, *to));
                index += 3;
            }
            _ => {
                ranges.push((*from, *from));
                index += 1;
            }
        }
    }
    Some((Token::Class { negated, ranges }, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, matches) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a/b.csv", false),
            ("*.csv", ".csv", false),
            ("*.csv", "_a.csv", false),
            ("_*.csv", "_a.csv", true),
            ("*", "a b=%20ü", true),
            ("?.csv", "ü.csv", true),
            ("?.csv", "ab.csv", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "abab", true),
            ("*a*b", "aba", false),
            ("a*/b", "a/b", true),
            ("[ab].csv", "b.csv", true),
            ("[!ab].csv", "b.csv", false),
            ("[0-9][0-9]", "42", true),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("**", "a/b/c", true),
            ("**/x.csv", "x.csv", true),
            ("**/x.csv", "a/b/x.csv", true),
            ("**/x.csv", "a/_b/x.csv", false),
            ("**/x.csv", ".x.csv", false),
            ("a/**/b/*.csv", "a/1/2/b/x.csv", true),
            ("a/**/b/*.csv", "a/b/c/x.csv", false),
            ("day=*/*.csv", "day=2026-11-21/x.csv", true),
            ("a.csv", "a.csv", true),
            ("a.csv", "axcsv", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn folders_without_matches_need_not_be_looked_into() {
        for (pattern, folder, may) in [
            ("day=*/*.csv", "day=1", true),
            ("day=*/*.csv", "hour=1", false),
            ("day=*/*.csv", "day=1/x", false),
            ("**/x", "a/b", true),
            ("**/x", "a/_b", false),
            ("a/**/b/*", "a/1/2", true),
            ("a/**/b/*", "b", false),
            ("*", "a", false),
        ] {
            let found = Pattern::parse(pattern).unwrap().may_match_below(folder);
            assert_eq!(found, may, "{pattern} {folder}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["[", "a[", "[]", "[!", "a**", "**.csv", "x/[a/b"] {
            assert_eq!(Pattern::parse(pattern).unwrap_err().kind, ErrorKind::Options, "{pattern}");
        }
    }

    #[test]
    fn what_all_matches_begin_with() {
        for (pattern, prefix) in
            [("a/b*.csv", "a/b"), ("**", ""), ("a/[x]", "a/"), ("a/b.csv", "a/b.csv")]
        {
            assert_eq!(literal_prefix(pattern), prefix);
            assert_eq!(is_pattern(pattern), prefix != pattern);
        }
    }
}
