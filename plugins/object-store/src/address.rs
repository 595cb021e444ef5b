//! What `url` says: which kind of store, which bucket, and under which prefix everything of the job
//! lies. Also how objects are called: keys here, whole names for people.

use object_store::path::Path;
use transload_plugin_api::{Error, Result};

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Amazon S3 and what speaks like it.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
    /// A local folder.
    File,
}

impl Scheme {
    /// How names of objects begin.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "az",
            Self::Gcs => "gs",
            Self::File => "file",
        }
    }
}

/// A place in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: Scheme,
    /// The bucket or container; empty for a local folder, whose keys are absolute paths without
    /// their first `/`.
    pub(crate) bucket: String,
    /// What all keys of the job begin with: empty, or segments without a final `/`.
    pub(crate) prefix: String,
    /// Azure's account, where the url names it.
    pub(crate) account: Option<String>,
}

impl Address {
    /// From a url. Its path is the key as it is, nothing in it is percent-encoded.
    ///
    /// # Errors
    /// [`ErrorKind::Options`]; the url itself is not repeated where it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let known = "`s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix` or \
                     `file:///folder`";
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(wrong("`url` has no scheme").hint(format!("it is one of {known}")));
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let scheme = match scheme {
            "s3" | "s3a" => Scheme::S3,
            "az" | "azure" | "abfs" | "abfss" => Scheme::Azure,
            "gs" => Scheme::Gcs,
            "file" => Scheme::File,
            other => {
                let message = format!("`url` has the scheme `{other}`, which is not known");
                return Err(wrong(message).hint(format!("it is one of {known}")));
            }
        };
        let (bucket, account) = match authority.split_once('@') {
            None => (authority, None),
            Some((container, host)) if scheme == Scheme::Azure && !container.contains(':') => {
                (container, host.split('.').next().map(str::to_owned))
            }
            Some(_) => {
                return Err(wrong("`url` holds credentials")
                    .hint("give them as options of the connection, the secret ones by reference"));
            }
        };
        match (scheme, bucket) {
            (Scheme::File, "" | "localhost") if path.is_empty() => {
                return Err(wrong("`url` names no folder").hint(format!("it is one of {known}")));
            }
            (Scheme::File, "" | "localhost") => {}
            (Scheme::File, _) => {
                return Err(wrong("`url` names a host").hint("a local folder is `file:///folder`"));
            }
            (_, "") => {
                return Err(wrong("`url` names no bucket").hint(format!("it is one of {known}")));
            }
            _ => {}
        }
        let prefix = path.trim_end_matches('/').to_owned();
        if !prefix.is_empty() {
            path_of(&prefix)?;
        }
        let bucket = if scheme == Scheme::File { "" } else { bucket };
        Ok(Self { scheme, bucket: bucket.to_owned(), prefix, account })
    }

    /// The key of a name relative to the url; a final `/` stays.
    pub(crate) fn key(&self, relative: &str) -> String {
        match self.prefix.as_str() {
            "" => relative.to_owned(),
            prefix => format!("{prefix}/{relative}"),
        }
    }

    /// The whole name of an object, for people and for listings.
    pub(crate) fn name(&self, key: &str) -> String {
        match self.scheme {
            Scheme::File => format!("/{key}"),
            scheme => format!("{}://{}/{key}", scheme.word(), self.bucket),
        }
    }

    /// The key of a name that [`Address::name`] made.
    pub(crate) fn key_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        match self.scheme {
            Scheme::File => name.strip_prefix('/'),
            scheme => name
                .strip_prefix(scheme.word())?
                .strip_prefix("://")?
                .strip_prefix(self.bucket.as_str())?
                .strip_prefix('/'),
        }
    }

    /// The bucket in words: `bucket x`, `container x`, `folder /x`.
    pub(crate) fn words(&self) -> String {
        match self.scheme {
            Scheme::Azure => format!("container `{}`", self.bucket),
            Scheme::File => format!("folder `/{}`", self.prefix),
            _ => format!("bucket `{}`", self.bucket),
        }
    }
}

/// A key as the client takes it, which addresses exactly this object.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for keys that it cannot address: with empty segments, `.` or `..`
/// as a segment, a `/` at an end, or control characters.
pub(crate) fn path_of(key: &str) -> Result<Path> {
    match Path::parse(key) {
        Ok(path) if path.as_ref() == key && !key.is_empty() => Ok(path),
        _ => {
            let message = format!("the key `{}` cannot be addressed", key.escape_debug());
            Err(Error::unsupported(message).hint(
                "empty segments, `.`, `..`, control characters and a `/` at either end are not \
                 supported in keys",
            ))
        }
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::options(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn address(scheme: Scheme, bucket: &str, prefix: &str) -> Address {
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Address { scheme, bucket, prefix, account: None }
    }

    #[test]
    fn urls_name_a_bucket_and_a_prefix() {
        for (url, expected) in [
            ("s3://b", address(Scheme::S3, "b", "")),
            ("s3a://b/", address(Scheme::S3, "b", "")),
            ("s3://b/a b/100%/k=v/", address(Scheme::S3, "b", "a b/100%/k=v")),
            ("az://c/x", address(Scheme::Azure, "c", "x")),
            ("gs://b/ü", address(Scheme::Gcs, "b", "ü")),
            ("file:///tmp/x/", address(Scheme::File, "", "tmp/x")),
        ] {
            assert_eq!(Address::parse(url).unwrap(), expected, "{url}");
        }
        let url = "abfss://c@shop.dfs.core.windows.net/x";
        let account = Some("shop".to_owned());
        assert_eq!(
            Address::parse(url).unwrap(),
            Address { account, ..address(Scheme::Azure, "c", "x") }
        );
    }

    #[test]
    fn wrong_urls_are_refused_and_passwords_not_repeated() {
        for url in [
            "bucket/x",
            "ftp://b/x",
            "s3:///x",
            "file://host/x",
            "file://",
            "s3://key:canary@b/x",
            "az://c:canary@b/x",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{url}");
            assert!(!format!("{error:?}").contains("canary"));
        }
        for url in ["s3://b//x", "s3://b/x/../y", "s3://b/x//y"] {
            assert_eq!(Address::parse(url).unwrap_err().kind, ErrorKind::Unsupported, "{url}");
        }
    }

    #[test]
    fn names_and_keys_are_inverse() {
        for url in ["s3://b/p", "az://b/p", "gs://b/p", "file:///b/p"] {
            let address = Address::parse(url).unwrap();
            let key = address.key("day=1/a b%20.csv");
            assert_eq!(address.key_of(&address.name(&key)), Some(key.as_str()));
            assert!(address.name(&key).ends_with("p/day=1/a b%20.csv"));
        }
    }

    #[test]
    fn keys_that_would_be_another_object_are_refused() {
        for key in ["a b", "100%", "%2F", "a=b/ü", "a+b", "~", "[1]", "a#b"] {
            assert_eq!(path_of(key).unwrap().as_ref(), key);
        }
        for key in ["", "/a", "a/", "a//b", "a/./b", "..", "a\nb"] {
            assert_eq!(path_of(key).unwrap_err().kind, ErrorKind::Unsupported, "{key}");
        }
    }
}
