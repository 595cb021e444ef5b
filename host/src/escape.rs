//! Text from outside that a terminal gets: characters that a terminal obeys, or that change how a
//! line reads, are shown as `\u{1b}`. JSON needs none of this.

use std::{borrow::Cow, fmt::Write};

/// A text that may have several lines: everything but line ends and tabs is escaped.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_obeyed(c) && !matches!(c, '\n' | '\t'))
}

/// A name or value within a line: line ends are escaped, too.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_obeyed)
}

/// Control characters, marks that reverse the direction of a text, and separators of lines.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    // Most texts are plain ASCII, which this sees at the speed of memory.
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) || byte == b'\n';
    if text.bytes().all(|byte| plain(byte) && !escaped(char::from(byte)))
        || !text.contains(&escaped)
    {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if escaped(c) {
            // Writing into a String cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(
            line("a\x1b[31mb\r\n\u{202e}c\u{2028}\u{85}"),
            "a\\u{1b}[31mb\\u{d}\\u{a}\\u{202e}c\\u{2028}\\u{85}"
        );
        assert_eq!(lines("a\n\tb\x07"), "a\n\tb\\u{7}");
        for plain in ["", "a b~", "é中🔑", "a\u{200d}b"] {
            assert!(matches!(line(plain), Cow::Borrowed(_)), "{plain}");
        }
    }
}
