//! What is taken of an answer that is not an object's content: how many bytes, and whether it is the
//! document that was asked for. A server, or a login page before it, may send anything.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Limited};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody};
use reqwest::{Method, header::CONTENT_LENGTH};

/// Bytes of an error's text that are kept; the rest of it is not read.
const ERROR_TEXT: usize = 64 << 10;
/// Bytes of a listing page, or of another answer of the store itself.
const DOCUMENT: usize = 16 << 20;
/// Bytes of a note or a manifest, if the answer says how long it is.
const NOTE: usize = 256 << 20;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct BadAnswer(String);

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAnswer {}

/// What an answer to a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// An XML document with this root.
    Document(&'static str),
    /// An object of our own.
    Note,
    /// What the store says to a change, or nothing.
    Short,
}

impl Expected {
    /// By the request's method and query.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let has = |pair: &str| query.split('&').any(|it| it == pair);
        match *request.method() {
            Method::GET if has("list-type=2") => Self::Document("ListBucketResult"),
            Method::GET if has("comp=list") => Self::Document("EnumerationResults"),
            Method::GET if has("uploads") => Self::Document("ListMultipartUploadsResult"),
            Method::POST if query == "delete" => Self::Document("DeleteResult"),
            Method::GET => Self::Note,
            _ => Self::Short,
        }
    }

    /// The answer, bounded and checked.
    ///
    /// # Errors
    /// With a [`BadAnswer`] for a document that is too long, or is another one.
    pub(super) async fn checked(self, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
        if !answer.status().is_success() {
            return Ok(error_text(answer).await);
        }
        let (parts, body) = answer.into_parts();
        let limit = match self {
            Self::Note if parts.headers.contains_key(CONTENT_LENGTH) => NOTE,
            _ => DOCUMENT,
        };
        let body = limited(body, limit);
        let Self::Document(root) = self else { return Ok(HttpResponse::from_parts(parts, body)) };
        let document = body.bytes().await?;
        match is_document(&document, root) {
            true => Ok(HttpResponse::from_parts(parts, document.into())),
            false => Err(bad_answer(wrong_document(&document, root))),
        }
    }
}

/// The beginning of an error's text; what breaks off is as good.
pub(super) async fn error_text(answer: HttpResponse) -> HttpResponse {
    let (parts, body) = answer.into_parts();
    let (mut text, mut body) = (Vec::new(), body.bytes_stream());
    while let Some(Ok(piece)) = body.next().await {
        let room = ERROR_TEXT - text.len();
        text.extend_from_slice(&piece[..piece.len().min(room)]);
        if text.len() == ERROR_TEXT {
            break;
        }
    }
    HttpResponse::from_parts(parts, Bytes::from(text).into())
}

fn limited(body: HttpResponseBody, limit: usize) -> HttpResponseBody {
    let failed = move |error: Box<dyn std::error::Error + Send + Sync>| match error
        .downcast::<HttpError>()
    {
        Ok(error) => *error,
        Err(_) => bad_answer(format!("the response is longer than {} MiB", limit >> 20)),
    };
    HttpResponseBody::new(Limited::new(body, limit).map_err(failed))
}

fn bad_answer(message: String) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, BadAnswer(message))
}

/// Whether a text is a whole XML document with this root, and has no types of its own.
fn is_document(text: &[u8], root: &str) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
    root_name(text) == Some(root.as_bytes())
        && text.strip_suffix(b">").is_some_and(|text| {
            let end = text.trim_ascii_end();
            end.strip_suffix(root.as_bytes()).is_some_and(|end| end.ends_with(b"</"))
                // `<Name/>`, which holds nothing
                || end.ends_with(b"/")
        })
}

/// The name of an XML document's root element.
fn root_name(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = text.trim_ascii_start().strip_prefix(b"<")?;
        let end: &[u8] = match text {
            [b'?', ..] => b"?>",
            [b'!', b'-', b'-', ..] => b"-->",
            // Entities can be anything.
            [b'!', ..] => return None,
            _ => break,
        };
        let at = text.windows(end.len()).position(|it| it == end)?;
        text = &text[at + end.len()..];
    }
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/');
    Some(&text[..text.iter().position(ends)?])
}

fn wrong_document(text: &[u8], root: &str) -> String {
    let found = match root_name(text) {
        _ if text.trim_ascii().is_empty() => "empty".to_owned(),
        Some(name) if name == root.as_bytes() => "cut off".to_owned(),
        Some(name) => {
            let name: String = String::from_utf8_lossy(name).chars().take(40).collect();
            format!("a document `{}`", name.escape_debug())
        }
        None => "no XML document without types of its own".to_owned(),
    };
    format!("expected a `{root}`, and the response is {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_one_by_its_root() {
        for text in [
            "<ListBucketResult><Key>x</Key></ListBucketResult>",
            "\u{feff}<?xml version=\"1.0\"?>\n<!-- x -->\n<ListBucketResult xmlns=\"y\">\n</ListBucketResult >\n",
            "<ListBucketResult/>",
        ] {
            assert!(is_document(text.as_bytes(), "ListBucketResult"), "{text}");
        }
        for (text, words) in [
            ("", "is empty"),
            ("<html><body>login</body></html>", "a document `html`"),
            ("<!DOCTYPE html><html></html>", "no XML document"),
            ("{\"items\": []}", "no XML document"),
            ("<ListBucketResult><Key>", "is cut off"),
            ("<ListBucketResults></ListBucketResults>", "a document `ListBucketResults`"),
            ("<Error><Code>InternalError</Code></Error>", "a document `Error`"),
            ("<!DOCTYPE l [<!ENTITY a \"b\">]><ListBucketResult></ListBucketResult>", "no XML"),
        ] {
            assert!(!is_document(text.as_bytes(), "ListBucketResult"), "{text}");
            let told = wrong_document(text.as_bytes(), "ListBucketResult");
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn what_is_expected_follows_from_the_request() {
        for (method, uri, expected) in [
            (
                Method::GET,
                "http://h/b?list-type=2&prefix=x",
                Expected::Document("ListBucketResult"),
            ),
            (
                Method::GET,
                "http://h/c?restype=container&comp=list",
                Expected::Document("EnumerationResults"),
            ),
            (
                Method::GET,
                "http://h/b?prefix=a&uploads",
                Expected::Document("ListMultipartUploadsResult"),
            ),
            (Method::POST, "http://h/b?delete", Expected::Document("DeleteResult")),
            (Method::POST, "http://h/b/k?uploads", Expected::Short),
            (Method::GET, "http://h/b/list-type=2", Expected::Note),
            (Method::PUT, "http://h/b/k", Expected::Short),
        ] {
            let mut request = HttpRequest::new(Bytes::new().into());
            *request.method_mut() = method;
            *request.uri_mut() = uri.parse().unwrap();
            assert_eq!(Expected::of(&request), expected, "{uri}");
        }
    }
}
