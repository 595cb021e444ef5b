//! What a store's errors mean. Their texts hold urls, which may hold signatures, and whole answers
//! of the server: only the status, the server's code and its message go into ours.

use std::error::Error as StdError;

use object_store::{Error as StoreError, client::HttpError, client::HttpErrorKind};
use transload_plugin_api::{Error, ErrorKind, code};

use crate::{
    error_chain::{chain, find},
    login::NoInstanceLogin,
    network::{BadAnswer, Forbidden, Silent, TlsFailure},
    pages::wrong,
};

/// The code of errors about an object that is not the listed one any more.
pub(crate) const CHANGED: &str = "FILE-CHANGED";
/// The code of a login that failed.
pub(crate) const LOGIN: &str = "OBJECT-LOGIN";
/// The code of a bucket that is not there.
pub(crate) const NO_BUCKET: &str = "OBJECT-NO-BUCKET";
/// The codes of a server that was not reached, by stage.
pub(crate) const NO_NAME: &str = "OBJECT-NO-NAME";
pub(crate) const NO_CONNECTION: &str = "OBJECT-NO-CONNECTION";
pub(crate) const NO_TLS: &str = "OBJECT-NO-TLS";

/// What is known of a failed request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The answer's HTTP status.
    pub(crate) status: Option<u16>,
    /// The server's own code: `NoSuchKey`.
    pub(crate) code: Option<String>,
    /// The server's own words.
    message: Option<String>,
}

impl Failure {
    /// From an answer's status and body.
    pub(crate) fn of_answer(status: u16, body: &str) -> Self {
        let field = |name| element(body, name).or_else(|| json_text(body, name));
        let code = field("Code").or_else(|| field("code")).or_else(|| field("error"));
        let message = field("Message").or_else(|| field("message"));
        // Azure puts an id and a time on further lines.
        let message = message.map(|text| text.lines().next().unwrap_or_default().to_owned());
        Self { status: Some(status), code, message }
    }

    /// From the client's error.
    pub(crate) fn of(error: &StoreError) -> Self {
        let mut texts = chain(error).map(ToString::to_string);
        texts.find_map(|text| Self::of_text(&text)).unwrap_or_default()
    }

    /// The client does not show its error types: the status stands in their text.
    fn of_text(text: &str) -> Option<Self> {
        if let Some((_, body)) = text.split_once("Server returned error response: ") {
            return Some(Self::of_answer(200, body));
        }
        let (_, rest) = text.split_once("Server returned non-2xx status code: ")?;
        let status = rest.get(..3)?.parse().ok()?;
        let (_, body) = rest.split_once(": ").unwrap_or_default();
        Some(Self::of_answer(status, body))
    }

    fn words(&self) -> String {
        let status = self.status.map(|status| format!("status {status}"));
        let parts = [status, self.code.clone(), self.message.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// As an error about an object (or a bucket, or whatever `what` says).
    pub(crate) fn into_error(self, what: &str) -> Error {
        let words = self.words();
        let is = |codes: &[&str]| self.code.as_deref().is_some_and(|code| codes.contains(&code));
        let error = |kind, message: &str| Error::new(kind, format!("{message}: {words}")).at(what);
        let words_of_login = ["failed to authenticate", "Access Key Id"];
        let told = self.message.as_deref().unwrap_or_default();
        if is(LOGIN_CODES)
            || self.status == Some(401)
            || words_of_login.iter().any(|words| told.contains(words))
        {
            return error(ErrorKind::Connection, "the login failed")
                .with_code(LOGIN)
                .hint("check that the credentials are valid, and for this region and endpoint");
        }
        if is(&["NoSuchBucket", "ContainerNotFound", "AccountNotFound"]) {
            return error(ErrorKind::NotFound, "the bucket does not exist").with_code(NO_BUCKET);
        }
        match self.status {
            Some(404) => error(ErrorKind::NotFound, "not found"),
            Some(403) => error(ErrorKind::Denied, "the store refuses")
                .hint("the credentials need the right to do this"),
            Some(409 | 412) => error(ErrorKind::Exists, "something else is there"),
            Some(507) => error(ErrorKind::Space, "no space left"),
            Some(200 | 408 | 429 | 500..) => {
                error(ErrorKind::Connection, "the server fails repeatedly")
            }
            Some(300..400) => error(
                ErrorKind::Connection,
                "the server redirects to another address, which is not followed",
            )
            .hint("are `region` and `endpoint` right?"),
            _ => error(ErrorKind::Other, "the request failed"),
        }
    }
}

/// Codes of S3 and Azure that speak of who asks, not of what is asked.
const LOGIN_CODES: &[&str] = &[
    "AuthenticationFailed",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidToken",
    "NoAuthenticationInformation",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// The client's error about `what` (an object's name, a bucket) as ours.
pub(crate) fn error_of(error: &StoreError, what: &str) -> Error {
    if let Some(told) = find::<NoInstanceLogin>(error) {
        return not_told(told);
    }
    let failure = Failure::of(error);
    if failure.status.is_some() {
        return failure.into_error(what);
    }
    if let StoreError::InvalidPath { source } = error {
        return Error::unsupported(format!("a key cannot be addressed: {source}"))
            .at(what)
            .hint("name a narrower `path` that leaves it out, or rename the object");
    }
    let kind = match error {
        StoreError::NotFound { .. } => Some((ErrorKind::NotFound, "not found")),
        StoreError::AlreadyExists { .. } => Some((ErrorKind::Exists, "it is there already")),
        StoreError::Precondition { .. } | StoreError::NotModified { .. } => {
            Some((ErrorKind::Exists, "something else is there"))
        }
        StoreError::PermissionDenied { .. } => Some((ErrorKind::Denied, "the store refuses")),
        StoreError::Unauthenticated { .. } => Some((ErrorKind::Connection, "the login failed")),
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
            Some((ErrorKind::Unsupported, "the store cannot do this"))
        }
        _ => None,
    };
    if let Some((kind, message)) = kind {
        return Error::new(kind, message).at(what);
    }
    of_transport(error, what)
}

/// A machine that is not told who it is: what it was answered instead.
fn not_told(told: &NoInstanceLogin) -> Error {
    let failure = Failure::of(&told.0);
    let why = match failure.status {
        Some(_) => failure.words(),
        None => of_transport(&told.0, "").message,
    };
    Error::connection(format!("{told}: {why}"))
        .with_code(LOGIN)
        .at("the machine's credentials")
        .hint("`credentials = \"instance\"` is for machines in the cloud that have a role")
}

/// What happened before there was an answer, or while it came.
pub(crate) fn of_transport(error: &(dyn StdError + 'static), what: &str) -> Error {
    let failed = |code: &str, message: String| Error::connection(message).with_code(code).at(what);
    let innermost = scrubbed(&chain(error).last().map(ToString::to_string).unwrap_or_default());
    if let Some(forbidden) = find::<Forbidden>(error) {
        return Error::denied(forbidden.to_string()).with_code(code::OBJECT_ENDPOINT).at(what);
    }
    if let Some(bad) = find::<BadAnswer>(error) {
        return wrong(bad.to_string(), what);
    }
    if let Some(silent) = find::<Silent>(error) {
        return failed(NO_CONNECTION, silent.to_string())
            .hint("are `endpoint` and `region` right, and is the server up?");
    }
    if let Some(distrust) = find::<TlsFailure>(error) {
        return failed(NO_TLS, distrust.to_string()).hint(distrust.hint());
    }
    if let Some(io) = find::<std::io::Error>(error)
        && find::<HttpError>(error).is_none()
    {
        let made = Error::from(std::io::Error::from(io.kind())).at(what);
        return Error { message: scrubbed(&io.to_string()), ..made };
    }
    let Some(http) = find::<HttpError>(error) else {
        return Error::other(format!("the request failed: {innermost}")).at(what);
    };
    let all = chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if all.contains("dns error") || all.contains("failed to lookup address") {
        return failed(NO_NAME, format!("cannot resolve the server's name: {innermost}"));
    }
    if ["certificate", "TLS", "tls", "handshake", "InvalidContentType", "corrupt message"]
        .iter()
        .any(|word| all.contains(word))
    {
        return failed(NO_TLS, format!("TLS with the server failed: {innermost}"));
    }
    match http.kind() {
        HttpErrorKind::Connect => {
            failed(NO_CONNECTION, format!("cannot reach the server: {innermost}"))
        }
        HttpErrorKind::Timeout => failed("", "the server does not respond in time".to_owned()),
        _ => failed("", format!("the connection was lost: {innermost}")),
    }
}

/// A text without what follows the `?` of its urls.
fn scrubbed(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((path, _)) if path.contains('/') => format!("{path}?..."),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The text of an XML element, with its few entities.
pub(crate) fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = [("&quot;", "\""), ("&apos;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    Some(plain.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)))
}

/// The text under a key of a JSON object or of the object under its `error`.
fn json_text(body: &str, key: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(body).ok()?;
    let found = value.get(key).or_else(|| value.get("error")?.get(key))?;
    found.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Error {
        Failure::of_answer(status, body).into_error("s3://b/k")
    }

    #[test]
    fn answers_say_what_the_user_can_do() {
        let xml = |code: &str| format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
        for (status, body, kind, code) in [
            (403, xml("SignatureDoesNotMatch"), ErrorKind::Connection, LOGIN),
            (403, xml("InvalidAccessKeyId"), ErrorKind::Connection, LOGIN),
            (403, xml("AuthenticationFailed"), ErrorKind::Connection, LOGIN),
            (401, String::new(), ErrorKind::Connection, LOGIN),
            (403, xml("AccessDenied"), ErrorKind::Denied, ""),
            (404, xml("NoSuchBucket"), ErrorKind::NotFound, NO_BUCKET),
            (404, xml("NoSuchKey"), ErrorKind::NotFound, ""),
            (404, String::new(), ErrorKind::NotFound, ""),
            (412, xml("PreconditionFailed"), ErrorKind::Exists, ""),
            (503, xml("SlowDown"), ErrorKind::Connection, ""),
            (200, xml("InternalError"), ErrorKind::Connection, ""),
            (301, String::new(), ErrorKind::Connection, ""),
            (400, xml("EntityTooLarge"), ErrorKind::Other, ""),
        ] {
            let error = answer(status, &body);
            assert_eq!((error.kind, error.code.as_str()), (kind, code), "{status} {body}");
            assert!(error.message.contains(&status.to_string()), "{error}");
        }
    }

    #[test]
    fn t60_answers_and_urls_do_not_bring_secrets_along() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>no &amp; no</Message>\
                    <AWSAccessKeyId>canary</AWSAccessKeyId><StringToSign>canary</StringToSign>\
                    <SignatureProvided>canary</SignatureProvided></Error>";
        let error = answer(403, body);
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        assert!(error.message.contains("no & no"));
        let azure = "<Error><Code>AuthenticationFailed</Code><Message>first\nRequestId:x</Message>\
                     <AuthenticationErrorDetail>sig=canary</AuthenticationErrorDetail></Error>";
        let error = answer(403, azure);
        assert!(error.message.ends_with("first"), "{error}");
        let source = "GET https://a.example/c/k?sig=canary&se=1 failed".into();
        let error = error_of(&StoreError::Generic { store: "S3", source }, "az://c/k");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        assert!(error.message.contains("https://a.example/c/k?..."), "{error}");
    }

    #[test]
    fn json_answers_are_read_as_well() {
        let body = r#"{"error": {"code": 403, "message": "no right"}}"#;
        assert!(answer(403, body).message.ends_with("no right"));
        let failure = Failure::of_answer(400, r#"{"error": "invalid_grant"}"#);
        assert_eq!(failure.code.as_deref(), Some("invalid_grant"));
    }
}
