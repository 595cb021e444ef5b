//! A URL divided into its parts by the form that a plugin declares. What the parts become is left to
//! `side`. No message repeats the URL, which may hold a password.

use percent_encoding::percent_decode_str;
use transload_plugin_api::{UrlForm, UrlPart};

/// A part or a query parameter, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) part: Part,
    pub(super) text: String,
    /// Its first character in the argument, counted from 1.
    pub(super) column: u32,
}

/// Which part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Of(UrlPart),
    Parameter(String),
}

/// Why a URL is refused: message, hint, and the character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: String,
    pub(super) column: u32,
}

/// The parts of `url` that are not empty. It begins with one of the form's schemes and a `:`.
pub(super) fn pieces(url: &str, form: &UrlForm) -> Result<Vec<Piece>, Refusal> {
    let reader = Reading { url, form };
    let start = url.find(':').map_or(url.len(), |at| at + 1);
    let (mut end, mut fragment, mut query) = (url.len(), None, None);
    if form.parts.contains_key(&UrlPart::Fragment)
        && let Some(at) = url[start..].find('#')
    {
        (fragment, end) = (Some((start + at + 1, end)), start + at);
    }
    if let Some(at) = query_start(&url[start..end]) {
        (query, end) = (Some((start + at + 1, end)), start + at);
    } else if let Some((from, to)) = fragment
        && let Some(at) = query_start(&url[from..to])
    {
        (query, fragment) = (Some((from + at + 1, to)), Some((from, from + at)));
    }
    let mut pieces = match url[start..end].strip_prefix("//") {
        Some(_) => reader.after_slashes(start + 2, end)?,
        None if form.has_host() => return Err(reader.refuse(start, "`//` is missing behind `:`")),
        None => vec![reader.part(UrlPart::Path, start, end)?],
    };
    if let Some((from, to)) = fragment {
        pieces.push(reader.part(UrlPart::Fragment, from, to)?);
    }
    pieces.retain(|piece| !piece.text.is_empty());
    if let Some((from, to)) = query {
        pieces.extend(reader.parameters(from, to)?);
    }
    Ok(pieces)
}

/// Where a `?` with `name=` behind it is. Others are a part of a pattern.
fn query_start(text: &str) -> Option<usize> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.match_indices('?').map(|(at, _)| at).find(|at| {
        let rest = &text[at + 1..];
        let name = rest.trim_start_matches(is_name);
        name.len() < rest.len() && name.starts_with('=')
    })
}

trait Hosted {
    fn has_host(&self) -> bool;
}

impl Hosted for UrlForm {
    /// Whether a server or a bucket stands behind `//`.
    fn has_host(&self) -> bool {
        [UrlPart::Host, UrlPart::Site].iter().any(|part| self.parts.contains_key(part))
    }
}

struct Reading<'a> {
    url: &'a str,
    form: &'a UrlForm,
}

impl Reading<'_> {
    /// Site or host with login and port, and the path.
    fn after_slashes(&self, from: usize, to: usize) -> Result<Vec<Piece>, Refusal> {
        let slash = self.url[from..to].find('/').map_or(to, |at| from + at);
        let authority = &self.url[from..slash];
        if !self.form.has_host() {
            if !authority.is_empty() && authority != "localhost" {
                let scheme = self.url.split(':').next().unwrap_or_default();
                let mut refusal = self.refuse(from, "a path of this machine begins behind `//`");
                refusal.hint = format!(
                    "write a relative path as `{scheme}:PATH`, an absolute one as `{scheme}:///PATH`"
                );
                return Err(refusal);
            }
            return Ok(vec![self.part(UrlPart::Path, slash, to)?]);
        }
        let mut pieces = match self.form.parts.contains_key(&UrlPart::Site) {
            true => self.site(from, slash)?,
            false => self.server(from, slash)?,
        };
        pieces.push(self.part(UrlPart::Path, to.min(slash + 1), to)?);
        Ok(pieces)
    }

    /// The scheme, and what is in front of the path, as it is.
    fn site(&self, from: usize, to: usize) -> Result<Vec<Piece>, Refusal> {
        let authority = &self.url[from..to];
        if let Some((login, _)) = authority.rsplit_once('@')
            && login.contains(':')
        {
            return Err(self.refuse(from, "the URL holds a password, and its form has none"));
        }
        let text = if authority.is_empty() { String::new() } else { self.url[..to].to_owned() };
        Ok(vec![Piece { part: Part::Of(UrlPart::Site), text, column: 1 }])
    }

    /// `user:password@host:port`.
    fn server(&self, from: usize, to: usize) -> Result<Vec<Piece>, Refusal> {
        let mut pieces = Vec::new();
        let mut host = from;
        if let Some(at) = self.url[from..to].rfind('@') {
            host = from + at + 1;
            let colon = self.url[from..host].find(':').map_or(host - 1, |at| from + at);
            pieces.push(self.part(UrlPart::User, from, colon)?);
            pieces.push(self.part(UrlPart::Password, (colon + 1).min(host - 1), host - 1)?);
        }
        let behind = match self.url[host..to].strip_prefix('[') {
            Some(rest) => {
                let Some(end) = rest.find(']') else {
                    return Err(self.refuse(host, "`[` of an address is not closed by `]`"));
                };
                pieces.push(self.part(UrlPart::Host, host + 1, host + 1 + end)?);
                host + end + 2
            }
            None => {
                let end = self.url[host..to].find(':').map_or(to, |at| host + at);
                pieces.push(self.part(UrlPart::Host, host, end)?);
                end
            }
        };
        if behind < to {
            let port = self.url[behind..to].strip_prefix(':').unwrap_or_default();
            if !port.parse::<u16>().is_ok_and(|port| port > 0) {
                let message = "the port is not a number from 1 to 65535";
                let mut refusal = self.refuse(to.min(behind + 1), message);
                if !self.url[..to].contains('@') || self.url[behind..to].contains(['#', '/']) {
                    refusal.hint += "; `@`, `:`, `/`, `#` and `?` of a user or a password are \
                                     written as `%40`, `%3A`, `%2F`, `%23` and `%3F`";
                }
                return Err(refusal);
            }
            pieces.push(self.part(UrlPart::Port, behind + 1, to)?);
        }
        Ok(pieces)
    }

    fn parameters(&self, from: usize, to: usize) -> Result<Vec<Piece>, Refusal> {
        let mut at = from;
        let mut pieces = Vec::new();
        for pair in self.url[from..to].split('&') {
            let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                return Err(self.refuse(at, "a parameter is not of the form `name=value`"));
            };
            let text = self.decoded(value, at + name.len() + 1)?;
            let part = Part::Parameter(self.decoded(name, at)?);
            pieces.push(Piece { part, text, column: self.column(at) });
            at += pair.len() + 1;
        }
        Ok(pieces)
    }

    fn part(&self, part: UrlPart, from: usize, to: usize) -> Result<Piece, Refusal> {
        let text = &self.url[from..to];
        let text = if self.form.literal { text.to_owned() } else { self.decoded(text, from)? };
        Ok(Piece { part: Part::Of(part), text, column: self.column(from) })
    }

    /// `%20` and the like undone.
    fn decoded(&self, text: &str, from: usize) -> Result<String, Refusal> {
        decoded(text).ok_or_else(|| {
            let mut refusal =
                self.refuse(from, "`%` is not followed by two hexadecimal digits of UTF-8");
            refusal.hint = "write `%` itself as `%25`".to_owned();
            refusal
        })
    }

    fn refuse(&self, at: usize, message: &str) -> Refusal {
        let hint = format!("the form is `{}`", self.form.example);
        Refusal { message: message.to_owned(), hint, column: self.column(at) }
    }

    fn column(&self, at: usize) -> u32 {
        self.url[..at].chars().count() as u32 + 1
    }
}

/// `None` for a `%` that is no escape, and for what is no UTF-8 afterwards.
fn decoded(text: &str) -> Option<String> {
    let is_escape = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    text.split('%').skip(1).all(is_escape).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> UrlForm {
        UrlForm::new(&["db"], "db://user@host:1/name#table")
            .part(UrlPart::User, "user")
            .part(UrlPart::Host, "host")
            .part(UrlPart::Fragment, "table")
    }

    fn bucket() -> UrlForm {
        UrlForm { literal: true, ..UrlForm::new(&["s3"], "s3://bucket/key") }
            .part(UrlPart::Site, "url")
            .part(UrlPart::Path, "path")
    }

    fn file() -> UrlForm {
        UrlForm::new(&["lite"], "lite:file.db#table")
            .part(UrlPart::Path, "path")
            .part(UrlPart::Fragment, "table")
    }

    /// The parts as `part=text@column`.
    fn shown(url: &str, form: &UrlForm) -> String {
        let word = |piece: &Piece| match &piece.part {
            Part::Of(part) => part.word().to_owned(),
            Part::Parameter(name) => format!("?{name}"),
        };
        match pieces(url, form) {
            Ok(pieces) => {
                let shown = |it: &Piece| format!("{}={}@{}", word(it), it.text, it.column);
                pieces.iter().map(shown).collect::<Vec<_>>().join(" ")
            }
            Err(refusal) => format!("{}@{}", refusal.message, refusal.column),
        }
    }

    #[test]
    fn urls_are_divided_by_their_form() {
        for (form, url, expected) in [
            (server(), "db://h", "host=h@6"),
            (server(), "db://u@h:5/d", "user=u@6 host=h@8 port=5@10 path=d@12"),
            (server(), "db://u:p%40w@h/d", "user=u@6 password=p@w@8 host=h@14 path=d@16"),
            (server(), "db://:p@h", "password=p@7 host=h@9"),
            (server(), "db://[::1]:5/d", "host=::1@7 port=5@12 path=d@14"),
            (server(), "db:///d?host=/run&a=1", "path=d@7 ?host=/run@9 ?a=1@19"),
            (server(), "db://h/d#s.t", "host=h@6 path=d@8 fragment=s.t@10"),
            (server(), "db://h/d?a=b#t", "host=h@6 path=d@8 fragment=t@14 ?a=b@10"),
            (server(), "db://h/d#t?a=b", "host=h@6 path=d@8 fragment=t@10 ?a=b@12"),
            (server(), "db://h/d#日%20本", "host=h@6 path=d@8 fragment=日 本@10"),
            (server(), "db:h", "`//` is missing behind `:`@4"),
            (server(), "db://u:p#w@h:x", "the port is not a number from 1 to 65535@8"),
            (server(), "db://[::1/d", "`[` of an address is not closed by `]`@6"),
            (server(), "db://h/%zz", "`%` is not followed by two hexadecimal digits of UTF-8@8"),
            (server(), "db://h/d?a=1&b", "a parameter is not of the form `name=value`@14"),
            (bucket(), "s3://b", "site=s3://b@1"),
            (bucket(), "s3://b/x y/%20#1?.csv", "site=s3://b@1 path=x y/%20#1?.csv@8"),
            (bucket(), "s3://b/k?region=x", "site=s3://b@1 path=k@8 ?region=x@10"),
            (bucket(), "s3://k:secret@b/k", "the URL holds a password, and its form has none@6"),
            (file(), "lite:a.db", "path=a.db@6"),
            (file(), "lite:a.db#t", "path=a.db@6 fragment=t@11"),
            (file(), "lite:///a/b.db#t", "path=/a/b.db@8 fragment=t@16"),
            (file(), "lite:/a.db?x=1", "path=/a.db@6 ?x=1@12"),
            (file(), "lite://a.db", "a path of this machine begins behind `//`@8"),
        ] {
            assert_eq!(shown(url, &form), expected, "{url}");
        }
    }
}
