//! Percent escapes in addresses.

use percent_encoding::percent_decode_str;

/// `%20` and the like undone; a text that is no escape, or no UTF-8 afterwards, stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_or_else(|_| text.to_owned(), |decoded| decoded.into_owned())
}
