//! What a machine in the cloud is given: where it asks who it is, and what is said if it is not
//! told. The vendors' own addresses, or those that the variables of their SDKs name: the machine's
//! owner sets them, never a job. The asking itself is the store's client's work.

use std::{error::Error as StdError, fmt, panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use futures_util::FutureExt;
use object_store::{
    CredentialProvider,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
};
use reqwest::Url;
use transload_plugin_api::{Error, Result};

use super::Environment;
use crate::network::{GOOGLE_METADATA, METADATA_HOSTS, is_loopback};

/// Where a machine of AWS gets its credentials. A container's own role goes before its machine's, as in
/// the vendor's SDKs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AwsInstance {
    /// By the metadata service, version 2.
    Machine { endpoint: Url },
    /// As a task of ECS, at this path of its service.
    Task { path: String },
    /// As a pod of EKS, by a token that is in a file.
    Pod { url: Url, token_file: String },
}

impl AwsInstance {
    /// # Errors
    /// [`ErrorKind::Options`] and [`ErrorKind::Denied`] for variables that are not as they should
    /// be.
    pub(crate) fn find(environment: Environment<'_>) -> Result<Self> {
        const TASK: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
        const POD: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
        const MACHINE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
        if let Some(path) = environment(TASK) {
            let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
            return match is_path {
                true => Ok(Self::Task { path }),
                false => Err(wrong(TASK, "is not a path")),
            };
        }
        if let Some(url) = environment(POD) {
            let token_file = environment(TOKEN).ok_or_else(|| {
                wrong(POD, "is set, but not `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`")
            })?;
            return Ok(Self::Pod { url: service(POD, &url)?, token_file });
        }
        let endpoint = environment(MACHINE);
        let endpoint = endpoint.as_deref().unwrap_or("http://169.254.169.254");
        Ok(Self::Machine { endpoint: service(MACHINE, endpoint)? })
    }

    /// Whom is asked.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Machine { endpoint: url } | Self::Pod { url, .. } => {
                url.host_str().unwrap_or_default()
            }
            Self::Task { .. } => "169.254.170.2",
        }
    }

    /// Configures the S3 builder to fetch credentials from this source.
    pub(crate) fn apply_to(&self, builder: AmazonS3Builder) -> AmazonS3Builder {
        use AmazonS3ConfigKey as Key;
        match self {
            Self::Machine { endpoint } => {
                builder.with_metadata_endpoint(endpoint.as_str().trim_end_matches('/'))
            }
            Self::Task { path } => builder.with_config(Key::ContainerCredentialsRelativeUri, path),
            Self::Pod { url, token_file } => builder
                .with_config(Key::ContainerCredentialsFullUri, url.as_str())
                .with_config(Key::ContainerAuthorizationTokenFile, token_file),
        }
    }
}

/// Where a machine of Azure asks: as an app by the url that it is given, else the metadata service.
///
/// # Errors
/// As [`AwsInstance::find`].
pub(crate) fn azure_metadata_url(environment: Environment<'_>) -> Result<Url> {
    const APP: &str = "IDENTITY_ENDPOINT";
    const MACHINE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
    if let Some(url) = environment(APP) {
        return service(APP, &url);
    }
    let host = environment(MACHINE);
    let host = host.as_deref().unwrap_or("http://169.254.169.254").trim_end_matches('/');
    service(MACHINE, &format!("{host}/metadata/identity/oauth2/token"))
}

/// Whom a machine of Google asks: first one, then the other. The client reads these variables too.
///
/// # Errors
/// As [`AwsInstance::find`].
pub(crate) fn google_metadata_hosts(environment: Environment<'_>) -> Result<[String; 2]> {
    let host = |names: &[&'static str], usual: &str| -> Result<String> {
        let given = names.iter().find_map(|name| Some((*name, environment(name)?)));
        let (name, host) = given.unwrap_or((names[0], usual.to_owned()));
        let url = service(name, &format!("http://{host}"))?;
        Ok(url.host_str().unwrap_or_default().to_owned())
    };
    Ok([
        host(&["GCE_METADATA_HOST", "GCE_METADATA_ROOT"], GOOGLE_METADATA)?,
        host(&["GCE_METADATA_IP"], "169.254.169.254")?,
    ])
}

/// A url that secrets may come from: by TLS, from this machine, or from a vendor's own address.
fn service(variable: &str, url: &str) -> Result<Url> {
    let url =
        Url::parse(url).map_err(|error| wrong(variable, &format!("is not a url: {error}")))?;
    let host = url.host_str().unwrap_or_default();
    let is_near = METADATA_HOSTS.contains(&host) || is_loopback(host.trim_matches(['[', ']']));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_near => Ok(url),
        _ => Err(wrong(
            variable,
            &format!("names `{host}`, which is not trusted to provide secrets"),
        )
        .hint("it must be https, this machine, or the vendor's metadata service")),
    }
}

fn wrong(variable: &str, message: &str) -> Error {
    Error::options(format!("`{variable}` {message}")).at("the environment")
}

// -------------------------------------------------------------------------------------- answers

/// Credentials of the machine, whose errors say that they are about those.
#[derive(Debug)]
pub(crate) struct InstanceCredentials<C>(pub(crate) Arc<dyn CredentialProvider<Credential = C>>);

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for InstanceCredentials<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let not_told = |error| object_store::Error::Generic {
            store: "instance",
            source: Box::new(NoInstanceLogin(error)),
        };
        // The client panics at a role that makes no url.
        let asked = AssertUnwindSafe(self.0.get_credential()).catch_unwind().await;
        let asked = asked.unwrap_or_else(|_| {
            let source = "the response cannot be parsed".into();
            Err(object_store::Error::Generic { store: "instance", source })
        });
        asked.map_err(not_told)
    }
}

/// The machine was not told who it is.
#[derive(Debug)]
pub(crate) struct NoInstanceLogin(pub(crate) object_store::Error);

impl fmt::Display for NoInstanceLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine's own credentials are not given out")
    }
}

impl StdError for NoInstanceLogin {}

#[cfg(test)]
mod tests;
