//! Raw cells of delimited text, as the index of a format describes them: where each begins and ends,
//! still with its quotes. Finding them is left to the format.

use crate::Fault;

/// The raw cells of one column, for a number of consecutive rows.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    /// The bytes that hold the rows.
    pub window: &'a [u8],
    /// All of the window is valid UTF-8.
    pub utf8: bool,
    /// `stride` numbers a row: where each cell begins, then 1 beyond the end of the last.
    pub bounds: &'a [u32],
    /// Cells of a row, plus 1.
    pub stride: usize,
    /// Which cell of each row.
    pub column: usize,
    /// The unquoted text that stands for NULL.
    pub null: &'a [u8],
    /// Further ones.
    pub other_nulls: &'a [String],
    /// The lengths of all of them: see [`null_lengths`].
    pub null_lengths: u64,
    /// A cell that begins with it is quoted.
    pub quote: Option<u8>,
    /// Makes the byte behind it an ordinary one.
    pub escape: Option<u8>,
}

/// The lengths of the texts that stand for NULL, a bit for each, the last one for 63 and more: nearly
/// every cell is distinguished from all of them by one look at it.
pub fn null_lengths<'a>(nulls: impl IntoIterator<Item = &'a str>) -> u64 {
    nulls.into_iter().fold(0, |lengths, null| lengths | 1 << null.len().min(63))
}

impl<'a> Cells<'a> {
    /// Where the cell begins and ends, row after row.
    #[inline(always)]
    pub(crate) fn spans(&self) -> impl Iterator<Item = (usize, usize)> + use<'a> {
        let column = self.column;
        self.bounds.chunks_exact(self.stride).map(move |row| {
            // the separator behind a cell belongs to neither neighbour
            (row[column] as usize, row[column + 1] as usize - 1)
        })
    }

    /// Whether the raw text is the one for NULL.
    #[inline(always)]
    pub(crate) fn is_null(&self, start: usize, end: usize) -> bool {
        self.null_lengths >> (end - start).min(63) & 1 == 1 && self.is_any_null(start, end)
    }

    fn is_any_null(&self, start: usize, end: usize) -> bool {
        let raw = &self.window[start..end];
        raw == self.null || self.other_nulls.iter().any(|null| null.as_bytes() == raw)
    }

    /// Whether the raw text is the value's own: neither quoted nor escaped anywhere.
    #[inline(always)]
    pub(crate) fn is_plain(&self, start: usize, end: usize) -> bool {
        let first = if start < end { Some(self.window[start]) } else { None };
        (self.quote.is_none() || first != self.quote) && self.escape.is_none()
    }

    /// The value's own text, in the window or in `scratch`.
    pub(crate) fn text<'t>(
        &self,
        start: usize,
        end: usize,
        scratch: &'t mut Vec<u8>,
    ) -> Result<&'t [u8], Fault>
    where
        'a: 't,
    {
        unquote(&self.window[start..end], self.quote, self.escape, scratch)
    }
}

/// The text inside quotes, with doubled quotes made single and escapes removed. It is copied to
/// `scratch` only where something has to be removed.
///
/// # Errors
/// [`Fault::Quote`] for text after a closing quote, or a quote that is not closed.
pub fn unquote<'t>(
    raw: &'t [u8],
    quote: Option<u8>,
    escape: Option<u8>,
    scratch: &'t mut Vec<u8>,
) -> Result<&'t [u8], Fault> {
    let escape = escape.filter(|escape| raw.contains(escape));
    let (quote, inner) = match (quote, raw) {
        (Some(quote), [first, inner @ ..]) if *first == quote => (quote, inner),
        _ => return Ok(without_escapes(raw, escape, scratch)),
    };
    let (Some(first), None) = (memchr::memchr(quote, inner), escape) else {
        return without_quotes(inner, quote, escape, scratch);
    };
    if first + 1 == inner.len() {
        return Ok(&inner[..first]);
    }
    without_quotes(inner, quote, escape, scratch)
}

fn without_quotes<'t>(
    inner: &[u8],
    quote: u8,
    escape: Option<u8>,
    scratch: &'t mut Vec<u8>,
) -> Result<&'t [u8], Fault> {
    scratch.clear();
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if Some(byte) == escape {
            scratch.extend(bytes.next());
        } else if byte != quote {
            scratch.push(byte);
        } else if bytes.len() == 0 {
            return Ok(scratch);
        } else if bytes.next() == Some(quote) {
            scratch.push(byte);
        } else {
            return Err(Fault::Quote);
        }
    }
    Err(Fault::Quote)
}

fn without_escapes<'t>(raw: &'t [u8], escape: Option<u8>, scratch: &'t mut Vec<u8>) -> &'t [u8] {
    let Some(escape) = escape else { return raw };
    scratch.clear();
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        // an escape with nothing behind it is an ordinary byte
        scratch.push(if byte == escape { bytes.next().unwrap_or(byte) } else { byte });
    }
    scratch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_for_null_is_null_and_no_other_one() {
        let long = ["n".repeat(63), "n".repeat(64), "x".repeat(64)];
        for (null, others, raw, expected) in [
            ("", vec![], "", true),
            ("", vec![], "a", false),
            ("NULL", vec![], "", false),
            ("NULL", vec!["-"], "NULL", true),
            ("NULL", vec!["-"], "-", true),
            ("NULL", vec!["-"], "NUL", false),
            ("NULL", vec!["-"], "null", false),
            ("", vec![&long[1]], &long[1], true),
            ("", vec![&long[1]], &long[0], false),
            ("", vec![&long[1]], &long[2], false),
        ] {
            let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
            let all = std::iter::once(null).chain(others.iter().map(String::as_str));
            let cells = Cells {
                window: raw.as_bytes(),
                utf8: true,
                bounds: &[0, raw.len() as u32 + 1],
                stride: 2,
                column: 0,
                null: null.as_bytes(),
                other_nulls: &others,
                null_lengths: null_lengths(all),
                quote: Some(b'"'),
                escape: None,
            };
            assert_eq!(cells.is_null(0, raw.len()), expected, "{raw}");
        }
    }

    #[test]
    fn quotes_and_escapes_are_taken_away() {
        let q = Some(b'"');
        for (raw, escape, text) in [
            (r#"a"b"#, None, r#"a"b"#),
            (r#""""#, None, ""),
            (r#""ab""#, None, "ab"),
            (r#""a""b""#, None, r#"a"b"#),
            (r#""""""#, None, r#"""#),
            (r#""a\"b""#, Some(b'\\'), r#"a"b"#),
            (r#""a\\""#, Some(b'\\'), r"a\"),
            (r"a\,b", Some(b'\\'), "a,b"),
        ] {
            let scratch = &mut Vec::new();
            assert_eq!(unquote(raw.as_bytes(), q, escape, scratch), Ok(text.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn text_outside_of_quotes_is_refused() {
        let scratch = &mut Vec::new();
        for raw in [r#"""#, r#""a"#, r#""a"b"#, r#""a" "#] {
            let found = unquote(raw.as_bytes(), Some(b'"'), None, scratch);
            assert_eq!(found, Err(Fault::Quote), "{raw}");
        }
    }
}
