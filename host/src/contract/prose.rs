//! Texts for people that come from plugins: cut to a length that can be read, without characters
//! that a terminal obeys. Names and values are left as they are; they are escaped where they are
//! printed.

use transload_plugin_api::{Count, DirtyRow, Error, Finding, code};

use crate::escape;

/// Longest text, in bytes.
const BYTES: usize = 4 << 10;
/// Longest text of a statement, which a plan shows whole.
const STATEMENT_BYTES: usize = 64 << 10;
/// How far before its limit a text is cut between words.
const WORD_BYTES: usize = 1 << 10;
/// Most texts of a list.
const TEXTS: usize = 100;
/// Longest value of a dirty row: the file of dirty rows keeps less.
const VALUE_BYTES: usize = 64 << 10;

/// A text of at most some kB, escaped.
pub(super) fn text(text: String) -> String {
    escaped(cut(text, BYTES))
}

/// The text of a step in a plan.
pub(super) fn statement(text: String) -> String {
    escaped(cut(text, STATEMENT_BYTES))
}

/// Notes or warnings; the number of those that are left out takes the place of the last.
pub(super) fn texts(texts: &mut Vec<String>) {
    if texts.len() > TEXTS {
        let more = texts.len() + 1 - TEXTS;
        texts.truncate(TEXTS - 1);
        texts.push(format!("and {more} more"));
    }
    texts.iter_mut().for_each(|it| *it = text(std::mem::take(it)));
}

/// An error's texts, and its code if that is one.
pub(super) fn error(mut error: Error) -> Error {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if error.code.len() > 40 || !error.code.bytes().all(fits) {
        error.code = code::PLUGIN_PROTOCOL.to_owned();
    }
    error.message = text(error.message);
    error.place = error.place.map(text);
    error.hint = error.hint.map(text);
    error.key = error.key.map(|key| text(key.into()).into());
    texts(&mut error.causes);
    error
}

/// The texts of a check's stages.
pub(super) fn findings(findings: &mut Vec<Finding>) {
    findings.truncate(TEXTS);
    for finding in findings {
        finding.stage = text(std::mem::take(&mut finding.stage));
        finding.detail = text(std::mem::take(&mut finding.detail));
    }
}

/// The texts of dirty rows. Their values are data and stay, up to a length.
pub(super) fn dirty(rows: &mut [DirtyRow]) {
    for row in rows {
        row.reason = text(std::mem::take(&mut row.reason));
        row.code = text(std::mem::take(&mut row.code));
        row.place = row.place.take().map(text);
        row.value = row.value.take().map(|value| cut(value, VALUE_BYTES));
        row.more.truncate(TEXTS);
        for error in &mut row.more {
            error.reason = text(std::mem::take(&mut error.reason));
            error.code = text(std::mem::take(&mut error.code));
            error.value = error.value.take().map(|value| cut(value, VALUE_BYTES));
        }
    }
}

/// What counts say about rows that were left out.
pub(super) fn counts(counts: &mut Vec<Count>) {
    counts.truncate(TEXTS);
    for count in counts {
        count.left_out = count.left_out.take().map(text);
    }
}

fn escaped(text: String) -> String {
    match escape::lines(&text) {
        std::borrow::Cow::Owned(escaped) => escaped,
        std::borrow::Cow::Borrowed(_) => text,
    }
}

/// At most `bytes` of a text, with the length of the rest.
fn cut(mut text: String, bytes: usize) -> String {
    if text.len() <= bytes {
        return text;
    }
    let end = text.floor_char_boundary(bytes);
    // Between words, because a part of a secret would not be recognised.
    let from = text.floor_char_boundary(end.saturating_sub(WORD_BYTES));
    let end = text[from..end].rfind(char::is_whitespace).map_or(end, |at| from + at);
    let more = text.len() - end;
    text.truncate(end);
    text.push_str(&format!("... ({more} bytes more)"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let whole = "é".repeat(BYTES / 2);
        assert_eq!(text(whole.clone()), whole);
        let cut = text("é".repeat(BYTES));
        assert!(cut.len() < BYTES + 40 && cut.ends_with("... (4096 bytes more)"), "{}", cut.len());
        let mut many: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        texts(&mut many);
        assert_eq!((many.len(), many[98].as_str(), many[99].as_str()), (100, "98", "and 901 more"));
    }

    #[test]
    fn an_error_obeys_no_terminal() {
        let error = error(
            Error::other("\x1b[2J\rdone\u{202e}")
                .with_code("X\n")
                .at("\x07")
                .hint("a\nb")
                .caused_by(&std::io::Error::other("\u{2028}")),
        );
        assert_eq!(error.message, "\\u{1b}[2J\\u{d}done\\u{202e}");
        assert_eq!(error.code, code::PLUGIN_PROTOCOL);
        assert_eq!(error.place.as_deref(), Some("\\u{7}"));
        assert_eq!(error.hint.as_deref(), Some("a\nb"), "lines are indented where they are shown");
        assert_eq!(error.causes, ["\\u{2028}"]);
    }
}
