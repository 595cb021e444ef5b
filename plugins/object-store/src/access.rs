//! The way into a store, opened once by a reader or a writer: the client with its login, a small
//! event loop behind it, and waiting for it that ends with the host's stop signal.

use std::{future::Future, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ObjectStore, RetryConfig, list::PaginatedListStore, multipart::MultipartStore,
};
use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, Runtime},
    sync::watch,
};
use transload_plugin_api::{Cancel, Count, Error, Host, Options, Result, Waiting};

use crate::{
    address::{Address, Scheme},
    client::Recipe,
    failure::error_of,
    login::{Environment, LoginSources, process_environment},
    network::{Traffic, checked_endpoint},
    options::ConnectionOptions,
    permits::Permits,
    signed_request::SignedRequests,
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
        let mut opened = self.opened.lock();
        if let Some(bucket) = &*opened {
            return Ok(Arc::clone(bucket));
        }
        let bucket = Arc::new(Bucket::open(&self.options, &self.address, &self.host)?);
        *opened = Some(Arc::clone(&bucket));
        Ok(bucket)
    }

    /// What was counted of the bucket's requests; a local folder gets none.
    pub(crate) fn counts(&self) -> Vec<Count> {
        if self.address.scheme == Scheme::File {
            return Vec::new();
        }
        let opened = self.opened.lock();
        opened
            .as_ref()
            .map_or_else(|| Traffic::default().counts(), |bucket| bucket.traffic.counts())
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
    pub(crate) own: Option<SignedRequests>,
    pub(crate) address: Address,
    /// Identity we are, for people.
    pub(crate) login: String,
    /// The server, for people and for looking at its stages; `None` for a local folder.
    pub(crate) endpoint: Option<reqwest::Url>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) retry: RetryConfig,
    /// Requests for content that may be under way at once.
    pub(crate) permits: Arc<Permits>,
    /// How long to wait for the next bytes of a response.
    pub(crate) request_timeout: Duration,
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

impl Bucket {
    fn open(options: &ConnectionOptions, address: &Address, host: &Host) -> Result<Self> {
        Self::open_in(options, address, host, &process_environment)
    }

    /// As [`Bucket::open`], in another environment than the process's.
    pub(crate) fn open_in(
        options: &ConnectionOptions,
        address: &Address,
        host: &Host,
        environment: Environment<'_>,
    ) -> Result<Self> {
        let runtime = runtime()?;
        let traffic = Arc::new(Traffic::default());
        let recipe = Recipe {
            options,
            address,
            search: LoginSources { options, host, environment },
            traffic: Arc::clone(&traffic),
            retry: RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(15),
                    base: 2.0,
                },
                max_retries: options.retries,
                retry_timeout: options.reconnect_window(),
            },
        };
        let client = recipe.client()?;
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
            retry: recipe.retry,
            permits: Arc::new(Permits::new(options.requests)),
            request_timeout: options.request_timeout(),
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
        let _waiting = self.waiting();
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                outcome = future => outcome,
                _ = stop.wait_for(|stopped| *stopped) => {
                    Err(Error::cancelled("stopped on request"))
                }
            }
        })
    }

    /// As [`Bucket::wait`], for a request whose effect has to be known: a stop signal gives it so
    /// much time still.
    pub(crate) fn wait_a_while<T>(
        &self,
        grace: Duration,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.cancel.check()?;
        let _waiting = self.waiting();
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::pin!(future);
            tokio::select! {
                biased;
                outcome = &mut future => outcome,
                () = async { drop(stop.wait_for(|stopped| *stopped).await) } => {
                    tokio::time::timeout(grace, future).await.unwrap_or_else(|_| {
                        Err(Error::cancelled("stopped on request"))
                    })
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
        let _waiting = self.waiting();
        let outcome = self.runtime.block_on(async { tokio::time::timeout(limit, future).await });
        outcome.unwrap_or_else(|_| {
            let message = format!("no response within {} s", limit.as_secs());
            Err(Error::connection(message))
        })
    }

    /// The wait for a response.
    fn waiting(&self) -> Waiting {
        Waiting::quiet(format_args!("waiting for {}", self.address.name("")))
    }

    /// A request's error as an error about the object under `key`.
    pub(crate) fn failed(&self, error: &object_store::Error, key: &str) -> Error {
        error_of(error, &self.address.name(key))
    }
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        // A server that sends without end keeps a worker busy with each of its connections until a
        // step of it ends, also after its request was given up. Time limits need a worker that is free.
        .worker_threads(4)
        // They are checked after each of a worker's steps; the default is after 61.
        .event_interval(1)
        // For look-ups of names, and for files.
        .max_blocking_threads(16)
        .thread_name("object-store")
        .enable_all()
        .build()
        .map_err(|error| Error::from(error).at("the event loop"))
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(words) = self.traffic.words() {
            tracing::info!(store = self.address.name(""), "{words}; what can be sent again was");
        }
    }
}
