//! What the types of any length require of a text: UTF-8, a number of characters, a number, a JSON
//! document, bytes in digits. The loops over many texts are left to `column`.

use crate::{BinaryText, Fault, is_longer, parse};

/// What a column of values of any length requires of a text.
pub(crate) trait TextKind {
    /// Appends the bytes that the text stands for. On error nothing was appended.
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault>;

    /// Whether the text may be appended unchanged. `utf8`: it is known to be UTF-8.
    /// `false` leaves it to [`TextKind::append`].
    fn is_itself(&self, _text: &[u8], _utf8: bool) -> bool {
        false
    }
}

/// `text`
pub(crate) struct AnyText;

impl TextKind for AnyText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        simdutf8::basic::from_utf8(text).map_err(|_| Fault::Utf8)?;
        out.extend_from_slice(text);
        Ok(())
    }

    #[inline(always)]
    fn is_itself(&self, _text: &[u8], utf8: bool) -> bool {
        utf8
    }
}

/// `text(n)`: at most n characters.
pub(crate) struct ShortText(pub(crate) u32);

impl TextKind for ShortText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        simdutf8::basic::from_utf8(text).map_err(|_| Fault::Utf8)?;
        if is_longer(text, self.0) {
            return Err(Fault::Length);
        }
        out.extend_from_slice(text);
        Ok(())
    }

    #[inline(always)]
    fn is_itself(&self, text: &[u8], utf8: bool) -> bool {
        utf8 && text.len() <= self.0 as usize
    }
}

/// `numeric`: the text of a number.
pub(crate) struct NumericText;

impl TextKind for NumericText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        parse::numeric(text)?;
        out.extend_from_slice(text);
        Ok(())
    }
}

/// `json`: checked, but kept byte for byte.
pub(crate) struct JsonText;

impl TextKind for JsonText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        parse::json(text)?;
        out.extend_from_slice(text);
        Ok(())
    }
}

impl TextKind for BinaryText {
    fn append(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        self.decode(text, out)
    }
}
