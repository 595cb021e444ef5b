//! How a store's client is made: the vendor's builder, with the login that was found, the endpoint
//! that was checked and the one HTTP client that all requests go through.

use std::{collections::BTreeSet, sync::Arc};

use object_store::{
    ObjectStore, RetryConfig, StaticCredentialProvider,
    aws::{AmazonS3Builder, S3ConditionalPut},
    azure::MicrosoftAzureBuilder,
    gcp::{GcpCredential, GoogleCloudStorageBuilder},
    list::PaginatedListStore,
    local::LocalFileSystem,
    multipart::MultipartStore,
};
use transload_plugin_api::{Error, ErrorKind, Result};

use crate::{
    address::{Address, Scheme},
    failure::error_of,
    login::{
        AwsInstance, AzureKeys, GoogleKeys, Identity, InstanceCredentials, LoginSources,
        azure_metadata_url, google_metadata_hosts,
    },
    network::{Connector, Rules, Traffic, checked_endpoint},
    options::ConnectionOptions,
    signed_request::{SignedRequests, Signer},
};

/// A store's parts before they are put together.
pub(crate) struct Client {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) multipart: Option<Arc<dyn MultipartStore>>,
    pub(crate) pages: Option<Arc<dyn PaginatedListStore>>,
    pub(crate) own: Option<SignedRequests>,
    pub(crate) login: String,
    pub(crate) endpoint: Option<reqwest::Url>,
}

/// How a client is made.
pub(crate) struct Recipe<'a> {
    pub(crate) options: &'a ConnectionOptions,
    pub(crate) address: &'a Address,
    pub(crate) search: LoginSources<'a>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) retry: RetryConfig,
}

impl Recipe<'_> {
    /// The client of the address's store. Asks the store for nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] if there are no credentials, or the options do not go together.
    pub(crate) fn client(&self) -> Result<Client> {
        match self.address.scheme {
            Scheme::S3 => self.s3(),
            Scheme::Azure => self.azure(),
            Scheme::Gcs => self.google(),
            Scheme::File => Ok(local()),
        }
    }

    fn connector(&self, hosts: &[&str], instance: bool) -> Result<Connector> {
        let hosts = hosts.iter().map(|host| (*host).to_owned());
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

    /// Where the bucket is, and whether it stands in the path.
    fn s3_endpoint(&self, region: &str) -> Result<(reqwest::Url, bool)> {
        let bucket = &self.address.bucket;
        let mut endpoint = self.endpoint(&format!("https://s3.{region}.amazonaws.com"))?;
        // Certificates of the vendor hold for one label before its domain.
        let in_path = self.options.endpoint.is_some() || bucket.contains('.');
        let path_style = self.options.path_style.unwrap_or(in_path);
        if !path_style {
            let host = format!("{bucket}.{}", endpoint.host_str().unwrap_or_default());
            endpoint.set_host(Some(&host)).map_err(|error| {
                let message = format!("`{host}` is not a host name: {error}");
                Error::options(message).hint("use `path_style = true`")
            })?;
        }
        Ok((endpoint, path_style))
    }

    fn s3(&self) -> Result<Client> {
        let (login, region) = self.search.s3()?;
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let bucket = &self.address.bucket;
        let (endpoint, path_style) = self.s3_endpoint(&region)?;
        let instance = match login.who {
            Identity::Instance => Some(AwsInstance::find(self.search.environment)?),
            _ => None,
        };
        let hosts = [Some(endpoint.host_str().unwrap_or_default())];
        let hosts = hosts.into_iter().chain([instance.as_ref().map(AwsInstance::host)]);
        let connector = self.connector(&hosts.flatten().collect::<Vec<_>>(), instance.is_some())?;
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
        let anonymous = matches!(login.who, Identity::Anonymous);
        match login.who {
            Identity::Keys(keys) => {
                builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys)));
            }
            Identity::Instance => {}
            Identity::Anonymous => builder = builder.with_skip_signature(true),
        }
        if let Some(instance) = instance {
            let asking =
                instance.apply_to(builder.clone()).build().map_err(|error| refused(&error))?;
            let asked = InstanceCredentials(Arc::clone(asking.credentials()));
            builder = builder.with_credentials(Arc::new(asked));
        }
        let store = builder.build().map_err(|error| refused(&error))?;
        let base = if path_style { format!("{base}/{bucket}") } else { base };
        let credentials = (!anonymous).then(|| Arc::clone(store.credentials()));
        let own = SignedRequests::new(connector.client(), base, Signer::S3 { credentials, region });
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
        named
            .or_else(of_endpoint)
            .or_else(variable)
            .or_else(other)
            .ok_or_else(|| Error::options("no storage account is named").hint("set `account`"))
    }

    fn azure(&self) -> Result<Client> {
        let login = self.search.azure()?;
        let account = self.account()?;
        let endpoint = self.endpoint(&format!("https://{account}.blob.core.windows.net"))?;
        let instance = match login.who {
            Identity::Instance => Some(azure_metadata_url(self.search.environment)?),
            _ => None,
        };
        let asked = match &instance {
            Some(service) => service.host_str().unwrap_or_default(),
            None => "login.microsoftonline.com",
        };
        let hosts = [endpoint.host_str().unwrap_or_default(), asked];
        let connector = self.connector(&hosts, instance.is_some())?;
        let base = endpoint.as_str().trim_end_matches('/').to_owned();
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&account)
            .with_container_name(&self.address.bucket)
            .with_endpoint(base.clone())
            .with_allow_http(true)
            .with_retry(self.retry.clone())
            .with_http_connector(connector.clone());
        let anonymous = matches!(login.who, Identity::Anonymous);
        match login.who {
            Identity::Keys(AzureKeys::Fixed(keys)) => {
                builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys)));
            }
            Identity::Keys(AzureKeys::Application { id, secret, tenant }) => {
                builder = builder.with_client_secret_authorization(id, secret, tenant);
            }
            Identity::Instance => {}
            Identity::Anonymous => builder = builder.with_skip_signature(true),
        }
        if let Some(service) = instance {
            let asking = builder.clone().with_msi_endpoint(service.as_str());
            let asking = asking.with_credential_type("managed_identity").build();
            let asking = asking.map_err(|error| refused(&error))?;
            let asked = InstanceCredentials(Arc::clone(asking.credentials()));
            builder = builder.with_credentials(Arc::new(asked));
        }
        let store = builder.build().map_err(|error| refused(&error))?;
        let credentials = (!anonymous).then(|| Arc::clone(store.credentials()));
        let base = format!("{base}/{}", self.address.bucket);
        let signer = Signer::Azure { credentials, account };
        let own = SignedRequests::new(connector.client(), base, signer);
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

    /// The client prefers a user's file to the instance, which is not what was asked for.
    fn no_google_file(&self) -> Result<()> {
        let Some(file) = self.search.google_file() else { return Ok(()) };
        let message = "the client would take a user's credentials for the instance's";
        Err(Error::options(message)
            .at(file.display().to_string())
            .hint("use them with `credentials = \"profile\"`, or remove the file"))
    }

    fn google(&self) -> Result<Client> {
        let login = self.search.google()?;
        let endpoint = self.endpoint("https://storage.googleapis.com")?;
        let is_instance = matches!(login.who, Identity::Instance);
        let tokens = match is_instance {
            true => google_metadata_hosts(self.search.environment)?,
            false => ["accounts.google.com", "oauth2.googleapis.com"].map(str::to_owned),
        };
        let hosts = [endpoint.host_str().unwrap_or_default(), &tokens[0], &tokens[1]];
        let connector = self.connector(&hosts, is_instance)?;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.address.bucket)
            .with_base_url(endpoint.as_str().trim_end_matches('/'))
            .with_retry(self.retry.clone())
            .with_http_connector(connector);
        match login.who {
            Identity::Keys(GoogleKeys::File(file)) => {
                builder = builder.with_service_account_path(file.display().to_string());
            }
            Identity::Keys(GoogleKeys::Content(content)) => {
                builder = builder.with_service_account_key(content);
            }
            Identity::Keys(GoogleKeys::Application(file)) => {
                builder = builder.with_application_credentials(file.display().to_string());
            }
            Identity::Instance => self.no_google_file()?,
            Identity::Anonymous => {
                let nobody = GcpCredential { bearer: String::new() };
                builder = builder
                    .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
                    .with_skip_signature(true);
            }
        }
        if is_instance {
            let asking = builder.clone().build().map_err(|error| refused(&error))?;
            let asked = InstanceCredentials(Arc::clone(asking.credentials()));
            builder = builder.with_credentials(Arc::new(asked));
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
