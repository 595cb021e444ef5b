//! The HTTP client under every request: which hosts and addresses it may speak to, what it trusts,
//! and counts of what went wrong on the way. Requests are made and signed by the store's client.

mod answer;
mod hosts;
mod tls;

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, ToSocketAddrs},
    path::Path,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    },
};
use reqwest::{
    Certificate, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use transload_plugin_api::{Count, Error, Result, code};

pub(crate) use self::{
    answer::BadAnswer,
    hosts::{GOOGLE_METADATA, METADATA_HOSTS, is_loopback},
    tls::TlsFailure,
};
use self::{
    answer::{Expected, error_text},
    hosts::is_forbidden,
};
use crate::pinned_object::ContentRequest;

/// What went wrong on the way and was tried again, counted over all requests.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) requests: AtomicU64,
    /// Responses with status 429 or 503.
    pub(crate) throttled: AtomicU64,
    /// Other responses with status 500 or above.
    pub(crate) failed: AtomicU64,
    /// Requests without a (complete) response in time.
    pub(crate) late: AtomicU64,
    /// Connections not made or lost.
    pub(crate) broken: AtomicU64,
    /// Some response has come.
    responded: AtomicBool,
}

impl Traffic {
    /// Whether any response has come: a server that has sent none may not be one.
    pub(crate) fn responded(&self) -> bool {
        self.responded.load(Ordering::Relaxed)
    }

    fn count(&self, answer: &Result<HttpResponse, HttpError>) {
        if answer.is_ok() {
            self.responded.store(true, Ordering::Relaxed);
        }
        let counter = match answer {
            Ok(answer) => match answer.status() {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => &self.throttled,
                status if status.is_server_error() => &self.failed,
                _ => return,
            },
            Err(error) if error.kind() == HttpErrorKind::Timeout => &self.late,
            Err(_) => &self.broken,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted, for the run's report.
    pub(crate) fn counts(&self) -> Vec<Count> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            Count::new("requests", value(&self.requests)),
            Count::trouble("requests_throttled", value(&self.throttled)),
            Count::trouble("requests_failed", value(&self.failed)),
            Count::trouble("requests_late", value(&self.late)),
            Count::trouble("connections_broken", value(&self.broken)),
        ]
    }

    /// What was counted, in words; `None` if nothing went wrong.
    pub(crate) fn words(&self) -> Option<String> {
        let counted = [
            (&self.throttled, "throttled"),
            (&self.failed, "failed at the server"),
            (&self.late, "without a response in time"),
            (&self.broken, "with a broken connection"),
        ];
        let words: Vec<_> = counted
            .iter()
            .map(|(count, what)| (count.load(Ordering::Relaxed), what))
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let requests = self.requests.load(Ordering::Relaxed);
        (!words.is_empty()).then(|| format!("of {requests} requests {}", words.join(", ")))
    }
}

/// What the client may do.
#[derive(Clone, Debug)]
pub(crate) struct Rules<'a> {
    /// Hosts that requests may go to.
    pub(crate) hosts: BTreeSet<String>,
    /// The metadata hosts are among them.
    pub(crate) metadata: bool,
    pub(crate) ca_file: Option<&'a Path>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
}

/// Makes the clients of a store's parts, all with the same rules.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    client: reqwest::Client,
    /// For content: its responses take as long as their consumer does.
    content: reqwest::Client,
    request_timeout: Duration,
    hosts: Arc<BTreeSet<String>>,
    traffic: Arc<Traffic>,
}

impl Connector {
    /// # Errors
    /// [`ErrorKind::Options`] if `ca_file` holds no certificates.
    pub(crate) fn new(rules: Rules<'_>, traffic: Arc<Traffic>) -> Result<Self> {
        install_crypto();
        let certificates = rules.ca_file.map(certificates).transpose()?;
        let client = |timeout: Option<Duration>| {
            let mut client = reqwest::Client::builder()
                .user_agent(concat!("transload/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(rules.connect_timeout)
                .pool_idle_timeout(Duration::from_secs(30))
                .http1_only()
                // A proxy would resolve names unseen by the check below.
                .no_proxy()
                // The signature holds for one host and path.
                .redirect(Policy::none())
                .dns_resolver(CheckedNames { metadata: rules.metadata });
            if let Some(timeout) = timeout {
                client = client.timeout(timeout);
            }
            if let Some(certificates) = &certificates {
                client = client.tls_certs_only(certificates.clone());
            }
            client
                .build()
                .map_err(|error| Error::options("the HTTP client cannot be made").caused_by(&error))
        };
        let request_timeout = rules.request_timeout;
        let (content, client) = (client(None)?, client(Some(request_timeout))?);
        Ok(Self { client, content, request_timeout, hosts: rules.hosts.into(), traffic })
    }

    /// Sends a request for content: the time until the response begins is limited here, that
    /// of its body by the stream that reads it.
    async fn request_content(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = HttpService::call(&self.content, request);
        let answer = async {
            let answer = answer.await?;
            let is_error = !answer.status().is_success();
            Ok(if is_error { error_text(answer).await } else { answer })
        };
        let answer = tokio::time::timeout(self.request_timeout, answer).await;
        answer.unwrap_or_else(|elapsed| Err(HttpError::new(HttpErrorKind::Timeout, elapsed)))
    }

    /// A client for requests of our own.
    pub(crate) fn client(&self) -> HttpClient {
        HttpClient::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.client())
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default();
        if !self.hosts.contains(&host.to_ascii_lowercase()) {
            let error = Forbidden(format!("`{host}` is not a host of this connection"));
            return Err(HttpError::new(HttpErrorKind::Unknown, error));
        }
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        let host = host.to_owned();
        let answer = match request.extensions().get::<ContentRequest>() {
            Some(_) => self.request_content(request).await,
            None => {
                let expected = Expected::of(&request);
                match HttpService::call(&self.client, request).await {
                    Ok(answer) => expected.checked(answer).await,
                    Err(error) => Err(error),
                }
            }
        };
        self.traffic.count(&answer);
        answer.map_err(|error| match TlsFailure::of(&error, host) {
            // Asking again would be answered by the same certificate.
            Some(distrust) => HttpError::new(HttpErrorKind::Unknown, distrust),
            None if error.kind() == HttpErrorKind::Timeout && !self.traffic.responded() => {
                HttpError::new(HttpErrorKind::Unknown, Silent(self.request_timeout))
            }
            None => error,
        })
    }
}

/// TLS needs a provider for the whole process; ours is the one that is built in.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that another plugin in the same test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn certificates(file: &Path) -> Result<Vec<Certificate>> {
    let place = file.display().to_string();
    let wrong = |message: &str| Error::options(format!("`ca_file` {message}")).at(&place);
    let pem = std::fs::read(file)
        .map_err(|error| wrong(&format!("cannot be read: {error}")).caused_by(&error))?;
    let found = Certificate::from_pem_bundle(&pem)
        .map_err(|error| wrong("is not a list of certificates").caused_by(&error))?;
    if found.is_empty() {
        return Err(wrong("holds no certificate (PEM)"));
    }
    Ok(found)
}

/// The host of an endpoint, if requests may go there at all.
///
/// # Errors
/// [`ErrorKind::Options`] for what is no http(s) url, holds credentials, or would leave the machine
/// in plain text; [`ErrorKind::Denied`] for link-local addresses and metadata services.
pub(crate) fn checked_endpoint(endpoint: &str, allow_http: bool) -> Result<Url> {
    let wrong = |message: String| Error::options(format!("`endpoint` {message}"));
    let url = Url::parse(endpoint).map_err(|error| wrong(format!("is not a url: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(wrong("holds credentials or a query".to_owned())
            .hint("give credentials as options of the connection"));
    }
    let Some(host) = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()) else {
        return Err(wrong("has no host".to_owned()));
    };
    if METADATA_HOSTS.contains(&url.host_str().unwrap_or_default())
        || host.parse::<IpAddr>().is_ok_and(|address| is_forbidden(&address))
    {
        return Err(forbidden_endpoint(&host));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&host) => Ok(url),
        "http" => Err(wrong(format!("would send everything to `{host}` in plain text"))
            .hint("use https, or set `allow_http = true`")),
        other => Err(wrong(format!("has the scheme `{other}`, expected http or https"))),
    }
}

fn forbidden_endpoint(host: &str) -> Error {
    let message = format!("`{host}` is a link-local address or a metadata service");
    Error::denied(message).with_code(code::OBJECT_ENDPOINT)
}

/// Resolves names and hands on only addresses that may be spoken to; the connection is made to
/// what was checked here, not to what a second look-up might say.
#[derive(Clone, Copy, Debug)]
struct CheckedNames {
    metadata: bool,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let metadata = self.metadata && METADATA_HOSTS.contains(&name.as_str());
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || {
                (host.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>)
            });
            let found = found.await??;
            let refused = found.iter().find(|address| !metadata && is_forbidden(&address.ip()));
            if let Some(address) = refused {
                let message = format!(
                    "`{}` is {}, a link-local address or a metadata service",
                    name.as_str(),
                    address.ip()
                );
                return Err(Forbidden(message).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A server that has not sent anything: asking again would take as long again.
#[derive(Debug)]
pub(crate) struct Silent(Duration);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f32();
        write!(f, "the server has sent no response within {seconds} s (`request_timeout`)")
    }
}

impl std::error::Error for Silent {}

/// A host or address that is not spoken to.
#[derive(Debug)]
pub(crate) struct Forbidden(String);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Forbidden {}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    #[test]
    fn endpoints_are_checked_before_anything_is_sent() {
        for endpoint in [
            "https://s3.example",
            "http://127.0.0.1:9000",
            "http://localhost:9000",
            "http://[::1]:9000",
            "https://10.0.0.1",
        ] {
            assert!(checked_endpoint(endpoint, false).is_ok(), "{endpoint}");
        }
        assert!(checked_endpoint("http://s3.example", true).is_ok());
        for (endpoint, kind) in [
            ("http://s3.example", ErrorKind::Options),
            ("http://localhost.example", ErrorKind::Options),
            ("https://key:canary@s3.example", ErrorKind::Options),
            ("https://s3.example?sig=canary", ErrorKind::Options),
            ("ftp://s3.example", ErrorKind::Options),
            ("s3.example", ErrorKind::Options),
            ("https://169.254.169.254", ErrorKind::Denied),
            ("http://169.254.0.1", ErrorKind::Denied),
            // Other ways to write the same address.
            ("http://0xa9fea9fe", ErrorKind::Denied),
            ("http://169.254.43518", ErrorKind::Denied),
            ("http://[fe80::1]", ErrorKind::Denied),
            ("http://[::ffff:169.254.169.254]", ErrorKind::Denied),
            ("http://metadata.google.internal", ErrorKind::Denied),
            ("http://169.254.170.2", ErrorKind::Denied),
            ("http://[fd00:ec2::23]", ErrorKind::Denied),
        ] {
            let error = checked_endpoint(endpoint, false).unwrap_err();
            assert_eq!(error.kind, kind, "{endpoint}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn names_are_checked_by_what_they_resolve_to() {
        for (name, metadata, allowed) in [
            ("localhost", false, true),
            ("169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("169.254.169.254", true, true),
            ("169.254.1.1", true, false),
        ] {
            let resolved = run(CheckedNames { metadata }.resolve(name.parse().unwrap()));
            assert_eq!(resolved.is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn requests_go_to_hosts_of_the_connection_only() {
        let rules = Rules {
            hosts: BTreeSet::from(["s3.example".to_owned()]),
            metadata: false,
            ca_file: None,
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(1),
        };
        let traffic = Arc::new(Traffic::default());
        let client = Connector::new(rules, Arc::clone(&traffic)).unwrap().client();
        let mut request = HttpRequest::new(bytes::Bytes::new().into());
        *request.uri_mut() = "http://127.0.0.1:1/x?sig=canary".parse().unwrap();
        let error = run(client.execute(request)).unwrap_err();
        assert!(error.to_string().contains("`127.0.0.1` is not a host"), "{error}");
        assert!(!format!("{error:?}").contains("canary"));
        assert_eq!(traffic.requests.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_went_wrong_is_counted() {
        let traffic = Traffic::default();
        let answer = |status: u16| {
            let mut answer = HttpResponse::new(bytes::Bytes::new().into());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(answer)
        };
        assert_eq!(traffic.words(), None);
        for status in [200, 404, 429, 503, 503, 500] {
            traffic.requests.fetch_add(1, Ordering::Relaxed);
            traffic.count(&answer(status));
        }
        let lost = |kind| Err(HttpError::new(kind, Forbidden(String::new())));
        traffic.count(&lost(HttpErrorKind::Timeout));
        traffic.count(&lost(HttpErrorKind::Connect));
        let words = "of 6 requests 3 throttled, 1 failed at the server, 1 without a response in \
                     time, 1 with a broken connection";
        assert_eq!(traffic.words().as_deref(), Some(words));
        let values: Vec<_> = traffic.counts().iter().map(|count| count.value).collect();
        assert_eq!(values, [6, 3, 1, 1, 1]);
    }

    #[test]
    fn files_that_hold_no_certificate_are_named() {
        for file in ["/nonexistent/ca.crt", "/dev/null"] {
            let error = certificates(Path::new(file)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert_eq!(error.place.as_deref(), Some(file));
        }
    }
}
