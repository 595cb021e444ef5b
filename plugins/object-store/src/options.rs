//! The plugin's options, each described once: the descriptor, the defaults and the reference come
//! from the lists here, and the structs below are what the rest of the plugin sees. Secrets are
//! not among the parsed ones, see `credentials`.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use transload_files::{PartitionFilter, PartitionMode, partition_specs};
use transload_formats::read_specs;
use transload_plugin_api::{
    Addressing, Backoff, Error, OptionKind, OptionSpec, Options, Result, UrlForm, UrlPart,
};

/// Where credentials come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CredentialSource {
    /// Keys if given, else the environment, else the profile file; never the instance's.
    Auto,
    /// The options of the connection.
    Keys,
    /// The variables that the vendor's own tools read.
    Environment,
    /// The vendor's own file.
    Profile,
    /// What the machine in the cloud is given.
    Instance,
    /// None.
    Anonymous,
}

/// Where the store is and how it is spoken to.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConnectionOptions {
    pub(crate) url: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) path_style: Option<bool>,
    pub(crate) credentials: CredentialSource,
    pub(crate) access_key_id: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) profile_file: Option<PathBuf>,
    pub(crate) account: Option<String>,
    pub(crate) service_account: Option<PathBuf>,
    pub(crate) allow_http: bool,
    pub(crate) ca_file: Option<PathBuf>,
    /// In milliseconds, as the next two.
    connect_timeout: u64,
    request_timeout: u64,
    reconnect_window: u64,
    pub(crate) retries: usize,
    pub(crate) requests: usize,
}

impl ConnectionOptions {
    /// Options as a job gave them.
    ///
    /// # Errors
    /// [`transload_plugin_api::ErrorKind::Options`] for what is missing or of the wrong shape.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        options.parse(&connection_specs())
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout)
    }

    pub(crate) fn reconnect_window(&self) -> Duration {
        Duration::from_millis(self.reconnect_window)
    }
}

/// What is read.
#[derive(Clone, Debug)]
pub(crate) struct ReaderOptions {
    pub(crate) path: Vec<String>,
    pub(crate) partitions: PartitionMode,
    pub(crate) filter: PartitionFilter,
}

#[derive(Deserialize)]
struct GivenReaderOptions {
    path: Vec<String>,
    partitions: PartitionMode,
    partition_filter: Vec<String>,
}

impl ReaderOptions {
    /// Options as a job gave them.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for what is wrong or contradictory.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let given: GivenReaderOptions = options.parse(&own_reader_specs())?;
        let filter = PartitionFilter::parse(&given.partition_filter)?;
        let wrong = |message: &str| Err(Error::options(message));
        if given.path.is_empty() {
            return wrong("`path` is an empty list");
        }
        if !filter.is_empty() && given.partitions == PartitionMode::None {
            return wrong("`partition_filter` needs partitions, and `partitions` is `none`");
        }
        Ok(Self { path: given.path, partitions: given.partitions, filter })
    }
}

/// Options of the reader, with those of formats.
pub(crate) fn reader_specs() -> Vec<OptionSpec> {
    [own_reader_specs(), read_specs()].concat()
}

fn own_reader_specs() -> Vec<OptionSpec> {
    let path = OptionSpec::new(
        "path",
        OptionKind::List,
        "Keys, folders (with a final `/`) or patterns such as `day=*/**/*.csv.gz`, relative to \
         `url`; default: all visible objects",
    );
    let path = path.default(vec![String::new()]);
    [path].into_iter().chain(partition_specs()).collect()
}

/// Options of the writer, with those of files and formats.
pub(crate) fn writer_specs() -> Vec<OptionSpec> {
    let path = OptionSpec::new(
        "path",
        OptionKind::Text,
        "Below `url`: a prefix with a final `/` that gets objects of the names below, or the key \
         of one object",
    );
    [vec![path.default("")], transload_files::writer_specs()].concat()
}

/// The URLs that command lines take.
pub(crate) fn addressing() -> Addressing {
    let form = |schemes: &[&str], example| {
        let form = UrlForm { literal: true, ..UrlForm::new(schemes, example) };
        form.part(UrlPart::Site, "url").part(UrlPart::Path, "path")
    };
    let urls = vec![
        form(&["s3", "s3a"], "s3://bucket/orders/2026/*.parquet?region=eu-central-1"),
        form(&["gs"], "gs://bucket/orders/"),
        form(&["az", "azure", "abfs", "abfss"], "az://container/orders.csv?account=shop"),
    ];
    Addressing { object: "path".to_owned(), urls, paths: None }
}

/// Options of both roles.
pub(crate) fn connection_specs() -> Vec<OptionSpec> {
    let text = |key, doc| OptionSpec::new(key, OptionKind::Text, doc).connection();
    let path = |key, doc| OptionSpec::new(key, OptionKind::Path, doc).connection();
    let span = |key, doc| OptionSpec::new(key, OptionKind::Duration, doc).connection();
    let sources = ["auto", "keys", "environment", "profile", "instance", "anonymous"];
    vec![
        text(
            "url",
            "`s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix` or \
             `file:///folder`; a key is written as it is, not percent-encoded",
        )
        .required(),
        text("endpoint", "The server's address, if it is not the vendor's own"),
        text("region", "S3: the region; default: the profile's or the environment's, `us-east-1`"),
        OptionSpec::new(
            "path_style",
            OptionKind::Boolean,
            "S3: the bucket stands in the path, not in the host name; default: with `endpoint`",
        )
        .connection(),
        OptionSpec::choice(
            "credentials",
            &sources,
            "Where credentials come from; `auto`: keys, else environment, else profile, never \
             the instance's",
        )
        .connection(),
        text("access_key_id", "S3: the key's name"),
        text("secret_access_key", "S3: the key").secret(),
        text("session_token", "S3: the session token of temporary keys").secret(),
        text("profile", "S3: the profile's name; default: `AWS_PROFILE` or `default`"),
        path("profile_file", "S3: the profile file; default: the files of the AWS tools"),
        text("account", "Azure: the storage account"),
        text("account_key", "Azure: the account's key").secret(),
        text("sas_token", "Azure: a shared access signature").secret(),
        path("service_account", "Google: the service account's JSON file"),
        text("service_account_key", "Google: the content of such a file").secret(),
        OptionSpec::new(
            "allow_http",
            OptionKind::Boolean,
            "Allow plain HTTP to another machine than this one",
        )
        .default(false)
        .connection(),
        path("ca_file", "Certificates (PEM) that are trusted instead of the system's"),
        span("connect_timeout", "How long connecting may take").default("10 s"),
        span(
            "request_timeout",
            "How long a response may take to begin, and each further 2 MiB of it to arrive",
        )
        .default("30 s"),
        OptionSpec::new(
            "retries",
            OptionKind::Integer { min: 0, max: 100 },
            "How often a request that failed temporarily is repeated, at growing intervals",
        )
        .default(10)
        .connection(),
        Backoff::window_spec(),
        OptionSpec::new(
            "requests",
            OptionKind::Integer { min: 1, max: 256 },
            "How many requests for content may be under way at once",
        )
        .default(16)
        .connection(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn a_reader_reads_all_objects_unless_told_otherwise() {
        let options = ReaderOptions::parse(&Options::default()).unwrap();
        assert_eq!((options.path, options.partitions), (vec![String::new()], PartitionMode::Auto));
        assert!(options.filter.is_empty());
        for (key, value) in [
            ("path", serde_json::json!([])),
            ("partitions", "maybe".into()),
            ("partition_filter", serde_json::json!(["day"])),
        ] {
            let error = ReaderOptions::parse(&Options::from_pairs([(key, value)])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{key}");
        }
        let contradiction = Options::from_pairs([
            ("partitions", serde_json::json!("none")),
            ("partition_filter", serde_json::json!(["day = 1"])),
        ]);
        assert!(ReaderOptions::parse(&contradiction).is_err());
    }

    #[test]
    fn secrets_are_declared_as_such() {
        let specs = connection_specs();
        let secrets = specs.iter().filter(|spec| spec.secret).map(|spec| spec.key.as_str());
        assert_eq!(
            secrets.collect::<Vec<_>>(),
            [
                "secret_access_key",
                "session_token",
                "account_key",
                "sas_token",
                "service_account_key"
            ]
        );
    }
}
