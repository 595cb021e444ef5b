//! Determines the S3 operation of a request and its key, by method and query as in S3.

use hyper::{HeaderMap, Method, Uri};

/// The operation of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// The name in S3's documentation.
    pub(crate) name: &'static str,
    /// The object's key; for a listing, its prefix. Decoded. Empty if the body contains the keys.
    pub(crate) key: String,
}

/// The names that a rule may use.
pub(crate) const NAMES: [&str; 14] = [
    "AbortMultipartUpload",
    "Bucket",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "GetObject",
    "HeadObject",
    "ListMultipartUploads",
    "ListObjects",
    "ListParts",
    "PutObject",
    "UploadPart",
];

impl Operation {
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let (_, key) = uri.path()[1..].split_once('/').unwrap_or_default();
        let query: Vec<_> = uri.query().unwrap_or_default().split('&').map(parameter).collect();
        let value = |name: &str| query.iter().find(|(found, _)| found == name).map(|(_, v)| v);
        let has = |name| value(name).is_some();
        if key.is_empty() {
            let prefix = value("prefix").cloned().unwrap_or_default();
            let name = match method.as_str() {
                "GET" if has("uploads") => "ListMultipartUploads",
                "GET" if has("location") => "Bucket",
                "GET" => "ListObjects",
                "POST" => "DeleteObjects",
                _ => "Bucket",
            };
            return Self { name, key: prefix };
        }
        let name = match (method.as_str(), has("uploadId")) {
            ("GET", true) => "ListParts",
            ("GET", false) => "GetObject",
            ("HEAD", _) => "HeadObject",
            ("PUT", true) => "UploadPart",
            ("PUT", false) if headers.contains_key("x-amz-copy-source") => "CopyObject",
            ("PUT", false) => "PutObject",
            ("POST", true) => "CompleteMultipartUpload",
            ("POST", false) => "CreateMultipartUpload",
            ("DELETE", true) => "AbortMultipartUpload",
            _ => "DeleteObject",
        };
        Self { name, key: decoded(key) }
    }
}

fn parameter(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (decoded(name), decoded(&value.replace('+', " ")))
}

/// Decodes percent-encoding.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A key in the form that a listing has if the request sets `encoding-type=url`.
pub(crate) fn encoded(key: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/*".contains(&byte);
    let letter = |byte: u8| match safe(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    key.bytes().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_as_s3_does() {
        for (method, uri, name, key) in [
            ("GET", "/b?list-type=2&prefix=a%2Fb+c", "ListObjects", "a/b c"),
            ("GET", "/b/?uploads&prefix=a", "ListMultipartUploads", "a"),
            ("HEAD", "/b", "Bucket", ""),
            ("POST", "/b?delete", "DeleteObjects", ""),
            ("GET", "/b/a/day%3D1/x", "GetObject", "a/day=1/x"),
            ("GET", "/b/x?uploadId=7", "ListParts", "x"),
            ("PUT", "/b/x?partNumber=1&uploadId=7", "UploadPart", "x"),
            ("PUT", "/b/x", "PutObject", "x"),
            ("POST", "/b/x?uploads", "CreateMultipartUpload", "x"),
            ("POST", "/b/x?uploadId=7", "CompleteMultipartUpload", "x"),
            ("DELETE", "/b/x?uploadId=7", "AbortMultipartUpload", "x"),
            ("DELETE", "/b/x", "DeleteObject", "x"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = Operation::of(&method, &uri.parse().unwrap(), &HeaderMap::new());
            assert_eq!(found, Operation { name, key: key.to_owned() }, "{method} {uri}");
            assert!(NAMES.contains(&name));
        }
    }

    #[test]
    fn keys_are_encoded_and_decoded() {
        for key in ["a/b=c d", "ü%2F+", "日本", "%", "%zz"] {
            assert_eq!(decoded(&encoded(key)), key);
        }
        assert_eq!(decoded("%zz%"), "%zz%");
    }
}
