//! Keeps secrets out of logs, errors and reports: every sink passes its text through
//! [`Redactor::redact`] last. It recognises resolved secrets, verbatim and in the encodings in which
//! they get printed, and the parts of URLs that hold secrets.

use std::{borrow::Cow, ops::Range, sync::Arc};

use base64::{Engine, engine::general_purpose};
use memchr::{memchr2, memchr3, memrchr};
use parking_lot::RwLock;
use transload_plugin_api::Secret;

/// Shorter values are not redacted, because they occur in ordinary text.
const MIN_BYTES: usize = 4;
/// Shortest line of a longer secret, such as a key file, that is redacted by itself.
const MIN_LINE: usize = 16;
/// Parameters of a URL's query whose values are secrets.
const QUERY_NAMES: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "token",
    "access_token",
    "sig",
    "signature",
    "secret",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-credential",
];

/// The secrets known so far. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<RwLock<Vec<Known>>>);

/// A secret in all forms that are redacted.
struct Known {
    name: String,
    /// Texts to find: the value, its lines, its base64 forms.
    needles: Vec<Secret>,
}

impl Redactor {
    /// A redactor that knows no secret yet. It redacts URLs.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a value under the option's name. Values under four bytes are ignored.
    pub(crate) fn learn(&self, name: &str, value: &str) {
        if value.len() < MIN_BYTES {
            return;
        }
        let mut known = self.0.write();
        let same =
            |known: &Known| known.needles.first().is_some_and(|first| first.expose() == value);
        if !known.iter().any(same) {
            known.push(Known { name: name.to_owned(), needles: needles(value) });
        }
    }

    /// Adds the passwords of options such as `host = "user:password@host"`, which belong into an option
    /// of their own.
    pub(crate) fn learn_logins(&self, options: &serde_json::Map<String, serde_json::Value>) {
        for (key, value) in options {
            let Some(text) = value.as_str().filter(|text| !text.contains(char::is_whitespace))
            else {
                continue;
            };
            let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
            let login = bare.rsplit_once('@').and_then(|(login, _)| login.split_once(':'));
            if let Some((_, password)) = login {
                self.learn(key, password);
            }
        }
    }

    /// The text with every known secret replaced by `[redacted:name]` and URLs without userinfo.
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut finds = self.finds(text);
        finds.extend(url_finds(text));
        replaced(text, finds)
    }

    /// The text with every known secret replaced. What only looks like a secret is kept, as in rows,
    /// which are data.
    pub(crate) fn redact_known<'t>(&self, text: &'t str) -> Cow<'t, str> {
        replaced(text, self.finds(text))
    }

    /// Where the known secrets occur, in any decoding of the text.
    fn finds(&self, text: &str) -> Vec<Find> {
        let known = self.0.read();
        if known.is_empty() {
            return Vec::new();
        }
        let mut finds = Vec::new();
        for view in views(text) {
            for known in known.iter() {
                for needle in &known.needles {
                    view.find(needle.expose().as_bytes(), &known.name, &mut finds);
                }
            }
        }
        finds
    }
}

fn replaced(text: &str, finds: Vec<Find>) -> Cow<'_, str> {
    if finds.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(replace(text, finds)) }
}

/// A range of the text, and its replacement.
struct Find {
    range: Range<usize>,
    with: String,
}

/// The forms of a value that are redacted.
fn needles(value: &str) -> Vec<Secret> {
    let mut needles = vec![Secret::new(value)];
    if value.contains('\n') {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE);
        needles.extend(lines.map(Secret::new));
    }
    for engine in [&general_purpose::STANDARD_NO_PAD, &general_purpose::URL_SAFE_NO_PAD] {
        for before in 0..3 {
            needles.extend(base64_core(engine, before, value.as_bytes()));
        }
    }
    needles
}

/// The base64 characters that depend on the value alone when `before` other bytes precede it, as the
/// user name does in an `Authorization` header.
fn base64_core(
    engine: &general_purpose::GeneralPurpose,
    before: usize,
    value: &[u8],
) -> Option<Secret> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(value);
    let encoded = engine.encode(&bytes);
    bytes.fill(0);
    let first = (before * 8).div_ceil(6);
    let end = (before + value.len()) * 8 / 6;
    let core = encoded.get(first..end)?;
    (core.len() >= MIN_BYTES).then(|| Secret::new(core))
}

/// The text after one decoding, and where each of its bytes comes from.
struct View {
    bytes: Vec<u8>,
    /// Start of each byte in the text, and the text's end.
    starts: Vec<usize>,
}

impl View {
    /// Adds the occurrences of a needle, as ranges of the original text.
    fn find(&self, needle: &[u8], name: &str, finds: &mut Vec<Find>) {
        let mut from = 0;
        while let Some(at) = memchr::memmem::find(&self.bytes[from..], needle) {
            let (start, end) = (from + at, from + at + needle.len());
            let range = self.starts[start]..self.starts[end];
            finds.push(Find { range, with: format!("[redacted:{name}]") });
            from = start + 1; // occurrences may overlap
        }
    }
}

/// The text verbatim; percent-decoded, with `+` kept and as a blank; with backslash escapes decoded.
fn views(text: &str) -> Vec<View> {
    let mut views =
        vec![View { bytes: text.as_bytes().to_vec(), starts: (0..=text.len()).collect() }];
    if text.contains('%') || text.contains('+') {
        views.push(decoded(text, percent));
        views.push(decoded(text, |rest| match rest.first() {
            Some(b'+') => Some((b" ".to_vec(), 1)),
            _ => percent(rest),
        }));
    }
    if text.contains('\\') {
        views.push(decoded(text, escape));
    }
    views
}

/// `decode` reads an escape at the start of its text: the bytes that it means, and its length.
fn decoded(text: &str, decode: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> View {
    let text = text.as_bytes();
    let (mut bytes, mut starts, mut at) = (Vec::new(), Vec::new(), 0);
    while at < text.len() {
        let (meant, length) = decode(&text[at..]).unwrap_or_else(|| (vec![text[at]], 1));
        starts.extend(std::iter::repeat_n(at, meant.len()));
        bytes.extend(meant);
        at += length;
    }
    starts.push(text.len());
    View { bytes, starts }
}

/// `%2F`
fn percent(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let digits = rest.strip_prefix(b"%")?.get(..2)?;
    let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((vec![byte], 3))
}

/// `\"`, `\n`, `\u00e9`, `\u{e9}`: JSON's escapes and Rust's.
fn escape(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let rest = rest.strip_prefix(b"\\")?;
    let simple = |byte: u8| Some((vec![byte], 2));
    match *rest.first()? {
        b'n' => simple(b'\n'),
        b'r' => simple(b'\r'),
        b't' => simple(b'\t'),
        b'b' => simple(8),
        b'f' => simple(12),
        b'0' => simple(0),
        b'u' => unicode(&rest[1..]),
        other if other.is_ascii_punctuation() => simple(other),
        _ => None,
    }
}

/// Decodes what follows `\u`; a pair of surrogates is one character.
fn unicode(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let hex = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let utf8 = |code: u32, length: usize| {
        Some((char::from_u32(code)?.to_string().into_bytes(), length + 2))
    };
    if let Some(braced) = rest.strip_prefix(b"{") {
        let end = braced.iter().take(8).position(|byte| *byte == b'}')?;
        return utf8(hex(&braced[..end])?, end + 2);
    }
    let high = hex(rest.get(..4)?)?;
    if (0xD800..0xDC00).contains(&high) {
        let low = hex(rest.get(4..10)?.strip_prefix(b"\\u")?)?.checked_sub(0xDC00)?;
        return utf8(0x10000 + ((high - 0xD800) << 10) + low, 10);
    }
    utf8(high, 4)
}

/// Longest URL, in bytes, so that a text of many of them is read in linear time.
const URL_BYTES: usize = 4 << 10;

/// Userinfo and secret query values of the URLs in a text. A URL may contain others.
fn url_finds(text: &str) -> Vec<Find> {
    let (mut finds, mut word_end, mut queried) = (Vec::new(), 0, 0);
    for (at, scheme_end) in text.match_indices("://") {
        let start = at + scheme_end.len();
        if start > word_end {
            let ends =
                |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\');
            word_end = text[start..].find(ends).map_or(text.len(), |length| start + length);
        }
        let end = word_end.min(floor_boundary(text, text.len().min(start + URL_BYTES)));
        let url = &text[start..end];
        let reach = memchr2(b'?', b'#', url.as_bytes()).unwrap_or(url.len());
        let userinfo = userinfo_end(url, reach);
        if let Some(length) = userinfo {
            finds.push(Find { range: start..start + length + 1, with: String::new() });
        }
        // What an outer URL's query has covered is not read again.
        let query = (start + reach).max(queried);
        if query < end {
            finds.extend(query_finds(text, query..end));
            queried = end;
        }
    }
    finds
}

/// The position of the `@` after the userinfo. An unescaped password may contain `/`, `?` or `@`, and
/// messages about such URLs are common, so the longest userinfo is assumed.
fn userinfo_end(url: &str, query: usize) -> Option<usize> {
    let authority = &url[..memchr3(b'/', b'?', b'#', url.as_bytes()).unwrap_or(url.len())];
    if authority.contains('@') {
        return memrchr(b'@', &url.as_bytes()[..query]);
    }
    let (_, port) = authority.split_once(':').filter(|_| !authority.starts_with('['))?;
    if port.chars().all(|c| c.is_ascii_digit()) { None } else { memrchr(b'@', url.as_bytes()) }
}

/// The values of secret parameters in a URL's query.
fn query_finds(text: &str, query: Range<usize>) -> Vec<Find> {
    let mut finds = Vec::new();
    let mut at = query.start;
    for pair in text[query.clone()].split(['?', '&', ';', '#']) {
        if let Some((name, value)) = pair.split_once('=')
            && QUERY_NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
            && !value.is_empty()
        {
            let start = at + name.len() + 1;
            finds.push(Find { range: start..start + value.len(), with: "[redacted]".to_owned() });
        }
        at += pair.len() + 1;
    }
    finds
}

/// Replaces the finds; overlapping ones become one, with the replacement of the first.
fn replace(text: &str, mut finds: Vec<Find>) -> String {
    finds.sort_by_key(|find| (find.range.start, std::cmp::Reverse(find.range.end)));
    let mut redacted = String::with_capacity(text.len());
    let mut done = 0;
    for find in finds {
        // A find may start inside a character, where bytes of an encoding were decoded.
        let start = floor_boundary(text, find.range.start);
        let end = ceil_boundary(text, find.range.end);
        if start >= done {
            redacted.push_str(&text[done..start]);
            redacted.push_str(&find.with);
        }
        done = done.max(end);
    }
    redacted.push_str(&text[done..]);
    redacted
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn knowing(value: &str) -> Redactor {
        let redactor = Redactor::new();
        redactor.learn("password", value);
        redactor
    }

    /// The forms in which a value gets printed.
    fn forms(value: &str) -> Vec<String> {
        let hex = |byte: u8| format!("%{byte:02x}");
        let some = |byte: u8| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        let form = |byte: u8| if byte == b' ' { "+".to_owned() } else { some(byte) };
        let json = serde_json::to_string(value).unwrap();
        let utf16 = |c: char| {
            c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        };
        let ascii = |c: char| if c.is_ascii() { c.to_string() } else { utf16(c) };
        let ascii: String = json.chars().map(ascii).collect();
        let debug = format!("{value:?}");
        vec![
            value.to_owned(),
            value.bytes().map(hex).collect(),
            value.bytes().map(some).collect(),
            value.bytes().map(form).collect(),
            json[1..json.len() - 1].to_owned(),
            ascii[1..ascii.len() - 1].to_owned(),
            debug[1..debug.len() - 1].to_owned(),
        ]
    }

    #[test]
    fn t60_a_canary_is_found_in_every_form() {
        let value = "p@ss wörd/\"\\+%\n\u{1F511}end";
        let redactor = knowing(value);
        let mut printed = forms(value);
        printed.push("p@ss w\\u00f6rd\\/\\\"\\\\+%\\n\\ud83d\\udd11end".to_owned());
        for form in printed {
            let text = format!("failed: <{form}>, twice <{form}>");
            assert_eq!(
                redactor.redact(&text),
                "failed: <[redacted:password]>, twice <[redacted:password]>",
                "{form}"
            );
        }
    }

    #[test]
    fn t60_a_canary_is_found_in_base64() {
        let redactor = knowing("canary-7f3a");
        for before in ["", "u", "us", "user:", "another:"] {
            for engine in [general_purpose::STANDARD, general_purpose::URL_SAFE_NO_PAD] {
                let header = engine.encode(format!("{before}canary-7f3a"));
                let text = redactor.redact(&header).into_owned();
                assert!(text.contains("[redacted:password]"), "{header}: {text}");
                // At most a character's bits of the value remain on either side.
                let left = text.replace("[redacted:password]", "");
                assert!(left.len() <= header.len() - 12, "{header}: {text}");
            }
        }
    }

    #[test]
    fn lines_of_a_key_file_are_found_alone() {
        let redactor =
            knowing("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END KEY-----\n");
        let text = redactor.redact("bad line MIIEvQIBADANBgkqhkiG9w0B here").into_owned();
        assert_eq!(text, "bad line [redacted:password] here");
    }

    #[test]
    fn texts_without_secrets_stay_as_they_are() {
        let redactor = knowing("abc");
        for text in ["abc", "100% of a\\b", "%zz \\u12 \\ud83d \\u{1F511", "a://b", ""] {
            assert!(matches!(redactor.redact(text), Cow::Borrowed(_)), "{text}");
        }
        let two = knowing("abcdef");
        two.learn("token", "defghi");
        assert_eq!(
            two.redact("x abcdefghi y"),
            "x [redacted:password] y",
            "overlaps leave no rest"
        );
        assert_eq!(knowing("aaaa").redact("aaaaaa."), "[redacted:password].");
    }

    #[test]
    fn urls_lose_their_userinfo() {
        let redactor = Redactor::new();
        for (url, expected) in [
            ("mysql://root:pw@db/shop", "mysql://db/shop"),
            ("cannot reach `pg://u:p@h:5432/d`.", "cannot reach `pg://h:5432/d`."),
            ("x://u:p/w@h/d y://a@b", "x://h/d y://b"),
            ("x://u:p@w/o@h/d", "x://h/d"),
            ("x://u:p?w@h/d", "x://h/d"),
            ("http://host:80/?mail=a@b", "http://host:80/?mail=a@b"),
            ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
            ("s3://bucket/key@1", "s3://bucket/key@1"),
            (
                "https://h/k?X-Amz-Signature=abc&x=1&Token=t&y#f",
                "https://h/k?X-Amz-Signature=[redacted]&x=1&Token=[redacted]&y#f",
            ),
        ] {
            assert_eq!(redactor.redact(url), expected, "{url}");
        }
    }

    /// A server that sends a text of nothing but URLs costs no time.
    #[test]
    fn many_urls_take_linear_time() {
        let begun = std::time::Instant::now();
        let redactor = Redactor::new();
        for piece in ["://", "://a@", "a://u:p@h?token=", "a://h?x#y&"] {
            let text = piece.repeat(240_000 / piece.len());
            let redacted = redactor.redact(&text);
            assert!(!redacted.contains("u:p"), "{piece}");
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
        let inner = redactor.redact("see http://h/?token=abc&to=pg://u:pw@db/x");
        assert_eq!(inner, "see http://h/?token=[redacted]&to=pg://db/x");
    }

    proptest! {
        #[test]
        fn no_form_of_a_secret_survives(
            value in "[ -~é中🔑\n]{4,24}",
            before in "[a-z%\\\\ é]{0,8}",
            after in "[a-z%\\\\ é]{0,8}",
        ) {
            let redactor = knowing(&value);
            for form in forms(&value) {
                // A `%` or `\\` before it would change what the form means.
                let text = format!("{before} {form}{after}");
                let redacted = redactor.redact(&text);
                prop_assert!(redacted.contains("[redacted:password]"), "{text} -> {redacted}");
                prop_assert!(!redacted.replace("[redacted:password]", "").contains(&value));
            }
        }

        #[test]
        fn anything_can_be_redacted(value in "\\PC{0,12}", text in "\\PC{0,40}") {
            let _ = knowing(&value).redact(&text);
        }
    }
}
