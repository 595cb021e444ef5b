//! Identity the plugin is to a store, and where that is found.
//!
//! | module | what it holds |
//! |---|---|
//! | `credentials` | the sources of a login, in their order |
//! | `environment` | the variables of the process |
//! | `profile` | the files of the AWS tools |
//! | `instance` | what a machine in the cloud is given |

mod credentials;
mod environment;
mod instance;
mod profile;

pub(crate) use self::{
    credentials::{AzureKeys, GoogleKeys, Identity, LoginSources},
    environment::{Environment, process_environment},
    instance::{
        AwsInstance, InstanceCredentials, NoInstanceLogin, azure_metadata_url,
        google_metadata_hosts,
    },
};
