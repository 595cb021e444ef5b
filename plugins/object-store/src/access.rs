//! The way into a store, opened once by a reader or a writer: the client with its login, a small
//! event loop behind it, and waiting for it that ends with the host's stop signal.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use object_store::{
    BackoffConfig, ObjectStore, RetryConfig, StaticCredentialProvider,
    aws::{AmazonS3Builder, S3ConditionalPut},
    azure::MicrosoftAzureBuilder,
    gcp::{GcpCredential, GoogleCloudStorageBuilder},
    list::PaginatedListStore,
    local::LocalFileSystem,
    multipart::MultipartStore,
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::{Semaphore, watch},
};
use transload_plugin_api::{Cancel, Error, ErrorKind, Host, Options, Result};

use crate::{
    address::{Address, Scheme},
    credentials::{AzureKeys, GoogleKeys, Search, Who, process_environment},
    failure::error_of,
    network::{Connector, METADATA_HOSTS, Rules, Traffic, checked_endpoint},
    options::ConnectionOptions,
    own_request::{OwnRequests, Signer},
};

/// What a connection says, and the bucket once it has been opened.
pub(crate) struct Access {
    options: ConnectionOptions,
    pub(crate) address: Address,
    host: Host,
    opened: Mutex<Option<Arc<Bucket>>>,
}

impl Access {
    /// Looks at the options only.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] and what [`Address::parse`] says.
    pub(crate) fn new(options: &Options, host: &Host) -> Result<Self> {
        let options = ConnectionOptions::parse(options)?;
        let address = Address::parse(&options.url)?;
        if let Some(endpoint) = &options.endpoint {
            checked_endpoint(endpoint, options.allow_http)?;
        }
        Ok(Self { options, address, host: host.clone(), opened: Mutex::new(None) })
    }

    /// The bucket, the same one at every call. Asks the store for nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if there are no credentials.
    pub(crate) fn bucket(&self) -> Result<Arc<Bucket>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = &*opened {
            return Ok(Arc::clone(bucket));
        }
        let bucket = Arc::new(Bucket::open(&self.options, &self.address, &self.host)?);
        *opened = Some(Arc::clone(&bucket));
        Ok(bucket)
    }

    /// A bucket of its own that gives up soon, to see whether it can be reached.
    ///
    /// # Errors
    /// As [`Access::bucket`].
    pub(crate) fn probe(&self) -> Result<Bucket> {
        let mut options = self.options.clone();
        options.retries = options.retries.min(1);
        Bucket::open(&options, &self.address, &self.host)
    }
}

/// A store's client and what belongs to it.
pub(crate) struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Uploads by parts; a local folder has none.
    pub(crate) multipart: Option<Arc<dyn MultipartStore>>,
    /// Listings by any prefix; a local folder has none.
    pub(crate) pages: Option<Arc<dyn PaginatedListStore>>,
    /// Requests that the client does not offer; S3 and Azure only.
    pub(crate) own: Option<OwnRequests>,
    pub(crate) address: Address,
    /// Who we are, for people.
    pub(crate) login: String,
    /// The server, for people and for looking at its stages; `None` for a local folder.
    pub(crate) endpoint: Option<reqwest::Url>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) retry: RetryConfig,
    /// Requests for content that may be under way at once.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) cancel: Cancel,
    pub(crate) runtime: Handle,
    stop: watch::Receiver<bool>,
    _owned: OwnedRuntime,
}

/// Ends without waiting for what still runs.
struct OwnedRuntime(Option<Runtime>);

impl Drop for OwnedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A store's parts before they are put together.
struct Client {
    store: Arc<dyn ObjectStore>,
    multipart: Option<Arc<dyn MultipartStore>>,
    pages: Option<Arc<dyn PaginatedListStore>>,
    own: Option<OwnRequests>,
    login: String,
    endpoint: Option<reqwest::Url>,
}

impl Bucket {
    fn open(options: &ConnectionOptions, address: &Address, host: &Host) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // For look-ups of names, and for files.
            .max_blocking_threads(16)
            .thread_name("object-store")
            .enable_all()
            .build()
            .map_err(|error| Error::from(error).at("the event loop"))?;
        let traffic = Arc::new(Traffic::default());
        let plan = Plan {
            options,
            address,
            search: Search { options, host, environment: &process_environment },
            traffic: Arc::clone(&traffic),
            retry: RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(15),
                    base: 2.0,
                },
                max_retries: options.retries,
                retry_timeout: options.retry_window(),
            },
        };
        let client = match address.scheme {
            Scheme::S3 => plan.s3(),
            Scheme::Azure => plan.azure(),
            Scheme::Gcs => plan.google(),
            Scheme::File => Ok(local()),
        }?;
        let (sender, stop) = watch::channel(false);
        host.cancel().on_cancel(move || {
            sender.send_replace(true);
        });
        Ok(Self {
            store: client.store,
            multipart: client.multipart,
            pages: client.pages,
            own: client.own,
            address: address.clone(),
            login: client.login,
            endpoint: client.endpoint,
            traffic,
            retry: plan.retry,
            permits: Arc::new(Semaphore::new(options.requests)),
            cancel: host.cancel().clone(),
            runtime: runtime.handle().clone(),
            stop,
            _owned: OwnedRuntime(Some(runtime)),
        })
    }

    /// Waits for an answer, or for the stop signal. Not to be called on the event loop itself.
    ///
    /// # Errors
    /// The future's own, and [`ErrorKind::Cancelled`].
    pub(crate) fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.cancel.check()?;
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                outcome = future => outcome,
                _ = stop.wait_for(|stopped| *stopped) => {
                    Err(Error::new(ErrorKind::Cancelled, "stopped on request"))
                }
            }
        })
    }

    /// As [`Bucket::wait`], for cleaning up: not ended by a stop signal, but by a time limit.
    pub(crate) fn wait_regardless<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let outcome = self.runtime.block_on(async { tokio::time::timeout(limit, future).await });
        outcome.unwrap_or_else(|_| {
            let message = format!("no answer in {} s", limit.as_secs());
            Err(Error::new(ErrorKind::Connection, message))
        })
    }

    /// A request's error as ours, told of the object under `key`.
    pub(crate) fn failed(&self, error: &object_store::Error, key: &str) -> Error {
        error_of(error, &self.address.name(key))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(words) = self.traffic.words() {
            tracing::info!(store = self.address.name(""), "{words}; what can be sent again was");
        }
    }
}

/// How a client is made.
struct Plan<'a> {
    options: &'a ConnectionOptions,
    address: &'a Address,
    search: Search<'a>,
    traffic: Arc<Traffic>,
    retry: RetryConfig,
}

impl Plan<'_> {
    fn connector(&self, hosts: &[&str], instance: bool) -> Result<Connector> {
        let metadata = if instance { METADATA_HOSTS } else { &[] };
        let hosts = hosts.iter().chain(metadata).map(|host| (*host).to_owned());
        let rules = Rules {
            hosts: hosts.collect::<BTreeSet<_>>(),
            metadata: instance,
            ca_file: self.options.ca_file.as_deref(),
            connect_timeout: self.options.connect_timeout(),
            request_timeout: self.options.request_timeout(),
        };
        Connector::new(rules, Arc::clone(&self.traffic))
    }

    /// The endpoint that the connection names, or the vendor's own.
    fn endpoint(&self, standard: &str) -> Result<reqwest::Url> {
        let endpoint = self.options.endpoint.as_deref().unwrap_or(standard);
        checked_endpoint(endpoint, self.options.allow_http)
    }

    fn s3(&self) -> Result<Client> {
        let (login, region) = self.search.s3()?;
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let bucket = &self.address.bucket;
        let mut endpoint = self.endpoint(&format!("https://s3.{region}.amazonaws.com"))?;
        // Certificates of the vendor hold for one label before its domain.
        let in_path = self.options.endpoint.is_some() || bucket.contains('.');
        let path_style = self.options.path_style.unwrap_or(in_path);
        if !path_style {
            let host = format!("{bucket}.{}", endpoint.host_str().unwrap_or_default());
            endpoint.set_host(Some(&host)).map_err(|error| {
                let message = format!("`{host}` is not a host name: {error}");
                Error::new(ErrorKind::Options, message).hint("use `path_style = true`")
            })?;
        }
        let connector = self.connector(
            &[endpoint.host_str().unwrap_or_default()],
            matches!(login.who, Who::Instance),
        )?;
        let base = endpoint.as_str().trim_end_matches('/').to_owned();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&region)
            .with_endpoint(&base)
            .with_virtual_hosted_style_request(!path_style)
            .with_allow_http(true)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(self.retry.clone())
            .with_http_connector(connector.clone());
        let anonymous = matches!(login.who, Who::Anonymous);
        match login.who {
            Who::Keys(keys) => {
                builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys)));
            }
            Who::Instance => {}
            Who::Anonymous => builder = builder.with_skip_signature(true),
        }
        let store = builder.build().map_err(|error| refused(&error))?;
        let base = if path_style { format!("{base}/{bucket}") } else { base };
        let credentials = (!anonymous).then(|| Arc::clone(store.credentials()));
        let own = OwnRequests::new(connector.client(), base, Signer::S3 { credentials, region });
        let store = Arc::new(store);
        Ok(Client {
            multipart: Some(Arc::<object_store::aws::AmazonS3>::clone(&store)),
            pages: Some(Arc::<object_store::aws::AmazonS3>::clone(&store)),
            store,
            own: Some(own),
            login: login.source,
            endpoint: Some(endpoint),
        })
    }

    /// The storage account: named, or part of the url or the endpoint.
    fn account(&self) -> Result<String> {
        let named = self.options.account.clone().or_else(|| self.address.account.clone());
        let variable = || (self.search.environment)("AZURE_STORAGE_ACCOUNT_NAME");
        let other = || (self.search.environment)("AZURE_STORAGE_ACCOUNT");
        let of_endpoint = || {
            let url = reqwest::Url::parse(self.options.endpoint.as_deref()?).ok()?;
            let path = url.path().trim_matches('/').to_owned();
            let label = || Some(url.domain()?.split('.').next()?.to_owned());
            if path.is_empty() { label() } else { Some(path) }
        };
        named.or_else(of_endpoint).or_else(variable).or_else(other).ok_or_else(|| {
            Error::new(ErrorKind::Options, "no storage account is named").hint("set `account`")
        })
    }

    fn azure(&self) -> Result<Client> {
        let login = self.search.azure()?;
        let account = self.account()?;
        let endpoint = self.endpoint(&format!("https://{account}.blob.core.windows.net"))?;
        let connector = self.connector(
            &[endpoint.host_str().unwrap_or_default(), "login.microsoftonline.com"],
            matches!(login.who, Who::Instance),
        )?;
        let base = endpoint.as_str().trim_end_matches('/').to_owned();
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&account)
            .with_container_name(&self.address.bucket)
            .with_endpoint(base.clone())
            .with_allow_http(true)
            .with_retry(self.retry.clone())
            .with_http_connector(connector.clone());
        let anonymous = matches!(login.who, Who::Anonymous);
        match login.who {
            Who::Keys(AzureKeys::Fixed(keys)) => {
                builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys)));
            }
            Who::Keys(AzureKeys::Application { id, secret, tenant }) => {
                builder = builder.with_client_secret_authorization(id, secret, tenant);
            }
            Who::Instance => builder = builder.with_credential_type("managed_identity"),
            Who::Anonymous => builder = builder.with_skip_signature(true),
        }
        let store = builder.build().map_err(|error| refused(&error))?;
        let credentials = (!anonymous).then(|| Arc::clone(store.credentials()));
        let base = format!("{base}/{}", self.address.bucket);
        let signer = Signer::Azure { credentials, account };
        let own = OwnRequests::new(connector.client(), base, signer);
        let store = Arc::new(store);
        Ok(Client {
            multipart: Some(Arc::<object_store::azure::MicrosoftAzure>::clone(&store)),
            pages: Some(Arc::<object_store::azure::MicrosoftAzure>::clone(&store)),
            store,
            own: Some(own),
            login: login.source,
            endpoint: Some(endpoint),
        })
    }

    fn google(&self) -> Result<Client> {
        let login = self.search.google()?;
        let endpoint = self.endpoint("https://storage.googleapis.com")?;
        let tokens = ["accounts.google.com", "oauth2.googleapis.com"];
        let hosts = [endpoint.host_str().unwrap_or_default(), tokens[0], tokens[1]];
        let connector = self.connector(&hosts, matches!(login.who, Who::Instance))?;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.address.bucket)
            .with_base_url(endpoint.as_str().trim_end_matches('/'))
            .with_retry(self.retry.clone())
            .with_http_connector(connector);
        match login.who {
            Who::Keys(GoogleKeys::File(file)) => {
                builder = builder.with_service_account_path(file.display().to_string());
            }
            Who::Keys(GoogleKeys::Content(content)) => {
                builder = builder.with_service_account_key(content);
            }
            Who::Keys(GoogleKeys::Application(file)) => {
                builder = builder.with_application_credentials(file.display().to_string());
            }
            Who::Instance => {
                if let Some(file) = self.search.google_file() {
                    let message = "the client would take a user's credentials for the instance's";
                    return Err(Error::new(ErrorKind::Options, message)
                        .at(file.display().to_string())
                        .hint("use them by `credentials = \"profile\"`, or remove the file"));
                }
            }
            Who::Anonymous => {
                let nobody = GcpCredential { bearer: String::new() };
                builder = builder
                    .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
                    .with_skip_signature(true);
            }
        }
        let store = Arc::new(builder.build().map_err(|error| refused(&error))?);
        Ok(Client {
            multipart: Some(Arc::<object_store::gcp::GoogleCloudStorage>::clone(&store)),
            pages: Some(Arc::<object_store::gcp::GoogleCloudStorage>::clone(&store)),
            store,
            own: None,
            login: login.source,
            endpoint: Some(endpoint),
        })
    }
}

/// The whole file system: the folder is part of every key.
fn local() -> Client {
    let store = Arc::new(LocalFileSystem::new().with_fsync(true));
    let login = "this process".to_owned();
    Client { store, multipart: None, pages: None, own: None, login, endpoint: None }
}

/// The client's settings did not go together. Its words may repeat what it was given.
fn refused(error: &object_store::Error) -> Error {
    let mut error = error_of(error, "the connection");
    error.kind = ErrorKind::Options;
    error.message = "the store's client refuses the connection's options".to_owned();
    error
}
