//! Converts other encodings to UTF-8, piece by piece, and decides how bytes that are not UTF-8 are
//! read. Conversion is strict: bytes that an encoding does not define are an error with a place.

use std::str::FromStr;

use encoding_rs::{Decoder, DecoderResult, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use transload_plugin_api::{Error, Result, code};

use crate::guess;

/// The character encoding of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Charset {
    /// `utf-8`, with or without a byte order mark.
    #[default]
    Utf8,
    /// `latin1`: ISO 8859-1, where every byte is the character with its number (not windows-1252).
    Latin1,
    /// `gbk`, read as GB 18030, which includes it.
    Gbk,
    /// `gb18030`
    Gb18030,
    /// `utf-16`: the byte order comes from the byte order mark, which is required.
    Utf16,
    /// `utf-16le`, with or without a byte order mark.
    Utf16Le,
    /// `utf-16be`, with or without a byte order mark.
    Utf16Be,
    /// One of the encodings of `encoding_rs`, by its index in `OTHERS`.
    Other(usize),
}

const NAMES: [(&str, Charset); 10] = [
    ("utf-8", Charset::Utf8),
    ("latin1", Charset::Latin1),
    ("gbk", Charset::Gbk),
    ("gb18030", Charset::Gb18030),
    ("utf-16", Charset::Utf16),
    ("utf-16le", Charset::Utf16Le),
    ("utf-16be", Charset::Utf16Be),
    ("utf8", Charset::Utf8),
    ("iso-8859-1", Charset::Latin1),
    ("latin-1", Charset::Latin1),
];
/// Number of names above that are not aliases.
const OWN_NAMES: usize = 7;

/// Encodings that are read as the WHATWG standard defines them. For `shift_jis`, `big5`,
/// `iso-8859-9` and `iso-8859-11` these are the supersets that Windows uses.
static OTHERS: [(&str, &Encoding); 27] = [
    ("shift_jis", encoding_rs::SHIFT_JIS),
    ("euc-jp", encoding_rs::EUC_JP),
    ("big5", encoding_rs::BIG5),
    ("euc-kr", encoding_rs::EUC_KR),
    ("iso-8859-2", encoding_rs::ISO_8859_2),
    ("iso-8859-3", encoding_rs::ISO_8859_3),
    ("iso-8859-4", encoding_rs::ISO_8859_4),
    ("iso-8859-5", encoding_rs::ISO_8859_5),
    ("iso-8859-6", encoding_rs::ISO_8859_6),
    ("iso-8859-7", encoding_rs::ISO_8859_7),
    ("iso-8859-8", encoding_rs::ISO_8859_8),
    ("iso-8859-9", encoding_rs::WINDOWS_1254),
    ("iso-8859-10", encoding_rs::ISO_8859_10),
    ("iso-8859-11", encoding_rs::WINDOWS_874),
    ("iso-8859-13", encoding_rs::ISO_8859_13),
    ("iso-8859-14", encoding_rs::ISO_8859_14),
    ("iso-8859-15", encoding_rs::ISO_8859_15),
    ("iso-8859-16", encoding_rs::ISO_8859_16),
    ("windows-1250", encoding_rs::WINDOWS_1250),
    ("windows-1251", encoding_rs::WINDOWS_1251),
    ("windows-1252", encoding_rs::WINDOWS_1252),
    ("windows-1253", encoding_rs::WINDOWS_1253),
    ("windows-1254", encoding_rs::WINDOWS_1254),
    ("windows-1255", encoding_rs::WINDOWS_1255),
    ("windows-1256", encoding_rs::WINDOWS_1256),
    ("windows-1257", encoding_rs::WINDOWS_1257),
    ("windows-1258", encoding_rs::WINDOWS_1258),
];

/// The names in job files, without aliases.
pub(crate) fn names() -> Vec<&'static str> {
    let own = NAMES.iter().take(OWN_NAMES).map(|(name, _)| *name);
    own.chain(OTHERS.iter().map(|(name, _)| *name)).collect()
}

impl Charset {
    /// The name in job files.
    pub fn name(self) -> &'static str {
        if let Self::Other(index) = self {
            return OTHERS.get(index).map_or("", |(name, _)| name);
        }
        NAMES.iter().find(|(_, charset)| *charset == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Charset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let own = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let other = || OTHERS.iter().position(|(name, _)| name.eq_ignore_ascii_case(text));
        let known = own.map(|(_, charset)| *charset).or_else(|| other().map(Self::Other));
        known.ok_or_else(|| {
            Error::options(format!("unknown encoding `{text}`"))
                .hint(format!("known: {}", names().join(", ")))
        })
    }
}

impl Serialize for Charset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Charset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How bytes that are not UTF-8 are read in a file that should be UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Invalid {
    /// They make their row dirty.
    #[default]
    Dirty,
    /// Each maximal invalid sequence becomes one U+FFFD.
    Replace,
    /// Each invalid byte becomes the Latin-1 character with its number.
    Latin1,
}

/// Converts pieces of a file to UTF-8.
pub struct Transcoder {
    mode: Mode,
    /// Number of bytes in the file before the current piece.
    offset: u64,
    /// The current line, counted from 1.
    line: u64,
    name: &'static str,
}

enum Mode {
    Same,
    Latin1,
    /// UTF-8 with a policy for invalid bytes, and the start of a character that was cut off.
    Repair(Invalid, Vec<u8>),
    /// UTF-16 before its byte order mark; one byte of the mark may have been read.
    Mark(Vec<u8>),
    Other(Decoder),
}

impl Transcoder {
    /// A transcoder at the start of a file. `invalid` applies to UTF-8 only; in other encodings
    /// invalid bytes are errors.
    pub fn new(charset: Charset, invalid: Invalid) -> Self {
        let other =
            |encoding: &'static Encoding| Mode::Other(encoding.new_decoder_with_bom_removal());
        let mode = match (charset, invalid) {
            (Charset::Utf8, Invalid::Dirty) => Mode::Same,
            (Charset::Utf8, _) => Mode::Repair(invalid, Vec::new()),
            (Charset::Latin1, _) => Mode::Latin1,
            (Charset::Gbk | Charset::Gb18030, _) => other(encoding_rs::GB18030),
            (Charset::Utf16, _) => Mode::Mark(Vec::new()),
            (Charset::Utf16Le, _) => other(encoding_rs::UTF_16LE),
            (Charset::Utf16Be, _) => other(encoding_rs::UTF_16BE),
            (Charset::Other(index), _) => {
                other(OTHERS.get(index).map_or(encoding_rs::UTF_8, |(_, encoding)| encoding))
            }
        };
        Self { mode, offset: 0, line: 1, name: charset.name() }
    }

    /// Whether the output equals the input, so that the file's own bytes can be decoded and split
    /// by offsets.
    pub fn is_identity(&self) -> bool {
        matches!(self.mode, Mode::Same)
    }

    /// Appends the UTF-8 of the next piece to `out`. `last`: nothing follows.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Data`] with line and byte of a sequence that is invalid in the encoding.
    pub fn push(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) -> Result<()> {
        let before = out.len();
        match &mut self.mode {
            Mode::Same => out.extend_from_slice(piece),
            Mode::Latin1 => {
                out.resize(before + 2 * piece.len(), 0);
                let written = encoding_rs::mem::convert_latin1_to_utf8(piece, &mut out[before..]);
                out.truncate(before + written);
            }
            Mode::Repair(invalid, cut) => repair(*invalid, cut, piece, last, out),
            Mode::Mark(mark) => {
                mark.extend_from_slice(piece);
                if mark.len() >= 2 || (last && !mark.is_empty()) {
                    let piece = std::mem::take(mark);
                    self.mode = Mode::Other(self.marked(&piece)?);
                    return self.push(&piece, last, out);
                }
            }
            Mode::Other(decoder) => {
                let read = transcode(decoder, piece, last, out);
                let lines = memchr::memchr_iter(b'\n', &out[before..]).count() as u64;
                self.line += lines;
                read.map_err(|wrong| self.refuse(wrong, piece))?;
            }
        }
        self.offset += piece.len() as u64;
        Ok(())
    }

    /// The decoder that the first two bytes of a UTF-16 file select.
    fn marked(&self, piece: &[u8]) -> Result<Decoder> {
        match piece {
            [0xFF, 0xFE, ..] => Ok(encoding_rs::UTF_16LE.new_decoder_with_bom_removal()),
            [0xFE, 0xFF, ..] => Ok(encoding_rs::UTF_16BE.new_decoder_with_bom_removal()),
            _ => Err(Error::data("`utf-16` file without a byte order mark")
                .with_code(code::FORMAT_ENCODING)
                .hint("choose `utf-16le` or `utf-16be`")),
        }
    }

    /// `back`: where the invalid sequence begins, counted from the start of the piece.
    fn refuse(&self, back: i64, piece: &[u8]) -> Error {
        let byte = self.offset.saturating_add_signed(back);
        let other = guess::guess(piece).filter(|found| found.name() != self.name);
        let hint =
            other.map_or_else(|| "set the file's actual `encoding`".to_owned(), guess::question);
        Error::data(format!("bytes that are not `{}`", self.name))
            .with_code(code::FORMAT_ENCODING)
            .at(format!("line {}, byte {byte}", self.line))
            .hint(hint)
    }
}

/// Appends a piece's UTF-8. `Err`: where an invalid sequence begins, counted from the start of the
/// piece; negative if it began in the piece before.
fn transcode(
    decoder: &mut Decoder,
    piece: &[u8],
    last: bool,
    out: &mut Vec<u8>,
) -> Result<(), i64> {
    let mut taken = 0;
    loop {
        let before = out.len();
        let rest = &piece[taken..];
        // more than a piece can need, unless the length overflows
        let room = decoder.max_utf8_buffer_length_without_replacement(rest.len());
        out.resize(before + room.unwrap_or(rest.len()), 0);
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(rest, &mut out[before..], last);
        out.truncate(before + written);
        taken += read;
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(length, after) => {
                return Err(taken as i64 - i64::from(length) - i64::from(after));
            }
        }
    }
}

/// Appends a piece, with invalid bytes replaced.
fn repair(invalid: Invalid, cut: &mut Vec<u8>, piece: &[u8], last: bool, out: &mut Vec<u8>) {
    let joined;
    let mut rest = if cut.is_empty() {
        piece
    } else {
        joined = [std::mem::take(cut).as_slice(), piece].concat();
        &joined
    };
    while let Err(error) = simdutf8::compat::from_utf8(rest) {
        let (valid, wrong) = rest.split_at(error.valid_up_to());
        out.extend_from_slice(valid);
        let length = match error.error_len() {
            Some(length) => length,
            None if last => wrong.len(),
            None => {
                cut.extend_from_slice(wrong);
                return;
            }
        };
        match invalid {
            Invalid::Latin1 => wrong[..length].iter().for_each(|byte| push_latin1(*byte, out)),
            _ => out.extend_from_slice("\u{FFFD}".as_bytes()),
        }
        rest = &wrong[length..];
    }
    out.extend_from_slice(rest);
}

fn push_latin1(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn transcode_by(
        charset: Charset,
        invalid: Invalid,
        input: &[u8],
        piece: usize,
    ) -> Result<String> {
        let mut transcoder = Transcoder::new(charset, invalid);
        let mut out = Vec::new();
        let mut pieces = input.chunks(piece).peekable();
        while let Some(piece) = pieces.next() {
            transcoder.push(piece, pieces.peek().is_none(), &mut out)?;
        }
        Ok(String::from_utf8(out).unwrap())
    }

    /// Converts the input in pieces of every length; the results must be equal, except for the
    /// hint, which is a guess from one piece.
    fn text(charset: Charset, invalid: Invalid, input: &[u8]) -> Result<String> {
        let result = |found: &Result<String>| match found {
            Ok(text) => Ok(text.clone()),
            Err(error) => Err((error.message.clone(), error.place.clone())),
        };
        let whole = transcode_by(charset, invalid, input, input.len().max(1));
        for piece in 1..input.len() {
            let found = transcode_by(charset, invalid, input, piece);
            assert_eq!(result(&found), result(&whole), "{piece}");
        }
        whole
    }

    #[test]
    fn t30_every_byte_is_its_latin1_character() {
        let all: Vec<u8> = (0..=255).collect();
        let expected: String = all.iter().copied().map(char::from).collect();
        assert_eq!(text(Charset::Latin1, Invalid::Dirty, &all).unwrap(), expected);
    }

    #[test]
    fn t30_gbk_and_gb18030() {
        let gbk = b"\xC4\xE3\xBA\xC3,\xCA\xC0\xBD\xE7\n\x81\x30\x84\x36";
        assert_eq!(text(Charset::Gbk, Invalid::Dirty, gbk).unwrap(), "你好,世界\n\u{A5}");
        let error = text(Charset::Gb18030, Invalid::Dirty, b"\xC4\xE3\n\xFF\n").unwrap_err();
        assert_eq!(error.place.as_deref(), Some("line 2, byte 3"));
        let error = text(Charset::Gbk, Invalid::Dirty, b"ab\n\nc\xC4").unwrap_err();
        assert_eq!(error.place.as_deref(), Some("line 3, byte 5"));
    }

    #[test]
    fn t30_encodings_of_one_region() {
        for (name, bytes, expected) in [
            ("shift_jis", &b"\x93\xFA\x96\x7B,\x83\x5C\n"[..], "日本,ソ\n"),
            ("euc-jp", b"\xC6\xFC\xCB\xDC", "日本"),
            ("big5", b"\xA4\xA4\xA4\xE5,\xA5\x5C", "中文,功"),
            ("iso-8859-2", b"\xE1,\xB1", "á,ą"),
            ("iso-8859-9", b"\xFD\xFE", "ış"),
            ("iso-8859-15", b"\xA4", "€"),
            ("windows-1250", b"\x9A", "š"),
            ("windows-1251", b"\xCC\xE8\xF0", "Мир"),
            ("windows-1252", b"\x80", "€"),
            ("Windows-1258", b"\xFE", "₫"),
        ] {
            let charset = name.parse().unwrap();
            assert_eq!(text(charset, Invalid::Dirty, bytes).unwrap(), expected, "{name}");
        }
        for (name, bytes) in
            [("shift_jis", &b"a\x93"[..]), ("big5", b"\xFF"), ("iso-8859-3", b"\xA5")]
        {
            assert!(text(name.parse().unwrap(), Invalid::Dirty, bytes).is_err(), "{name}");
        }
    }

    #[test]
    fn t30_utf16_in_both_orders() {
        let units: Vec<u16> = "\u{FEFF}a,😀\né".encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for (charset, bytes) in [
            (Charset::Utf16, &little),
            (Charset::Utf16, &big),
            (Charset::Utf16Le, &little),
            (Charset::Utf16Be, &big),
        ] {
            assert_eq!(text(charset, Invalid::Dirty, bytes).unwrap(), "a,😀\né");
        }
        assert_eq!(text(Charset::Utf16Le, Invalid::Dirty, &little[2..]).unwrap(), "a,😀\né");
        assert_eq!(text(Charset::Utf16, Invalid::Dirty, b"").unwrap(), "");
        assert!(text(Charset::Utf16, Invalid::Dirty, &little[2..]).is_err());
        // half a surrogate pair, and half a code unit
        assert!(text(Charset::Utf16Le, Invalid::Dirty, b"a\0\x3D\xD8b\0").is_err());
        let error = text(Charset::Utf16Le, Invalid::Dirty, b"a\0b").unwrap_err();
        // not the encoding that the job names already
        assert!(!error.hint.unwrap().contains("utf-16le"));
    }

    #[test]
    fn t30_bytes_that_are_not_utf8_by_policy() {
        let input = b"\xC3\xA9,\xE9t\xE9,\xE4\xBD,\xF0\x9F\x98\x80\xF0\x9F";
        let replaced = text(Charset::Utf8, Invalid::Replace, input).unwrap();
        assert_eq!(replaced, String::from_utf8_lossy(input));
        let latin1 = text(Charset::Utf8, Invalid::Latin1, input).unwrap();
        assert_eq!(latin1, "é,été,ä½,😀\u{F0}\u{9F}");
        assert!(Transcoder::new(Charset::Utf8, Invalid::Dirty).is_identity());
    }

    #[test]
    fn names_read_back_and_nonsense_is_refused() {
        for name in names() {
            assert_eq!(name.parse::<Charset>().unwrap().name(), name);
        }
        assert_eq!("ISO-8859-1".parse::<Charset>().unwrap(), Charset::Latin1);
        assert_eq!("ascii85".parse::<Charset>().unwrap_err().kind, ErrorKind::Options);
    }
}
