//! Identity we are to the store: keys of the connection, the environment, the vendor's own file, or what
//! the machine is given. Only the last is asked for over the network, and only when named.

use std::path::PathBuf;

use object_store::{
    aws::AwsCredential,
    azure::{AzureAccessKey, AzureCredential, split_sas},
};
use transload_plugin_api::{Error, Host, Result};

use super::{environment::Environment, profile::Profile};
use crate::options::{ConnectionOptions, CredentialSource};

/// What is known of the login, and from where. Does not print: it holds secrets.
pub(crate) struct Login<K> {
    pub(crate) who: Identity<K>,
    /// For people: `keys of the connection`.
    pub(crate) source: String,
}

/// Identity we are.
pub(crate) enum Identity<K> {
    Keys(K),
    /// Whoever the machine is.
    Instance,
    Anonymous,
}

/// What a Google login is made of.
pub(crate) enum GoogleKeys {
    /// The service account's file.
    File(PathBuf),
    /// Its content.
    Content(String),
    /// A file of the vendor's tools: a service account's, or a user's.
    Application(PathBuf),
}

/// What an Azure login is made of.
pub(crate) enum AzureKeys {
    Fixed(AzureCredential),
    /// An application's id, secret and tenant.
    Application {
        id: String,
        secret: String,
        tenant: String,
    },
}

/// Where one looks for credentials.
pub(crate) struct LoginSources<'a> {
    pub(crate) options: &'a ConnectionOptions,
    pub(crate) host: &'a Host,
    pub(crate) environment: Environment<'a>,
}

impl LoginSources<'_> {
    /// The login to S3, and the region if its source names one.
    pub(crate) fn s3(&self) -> Result<(Login<AwsCredential>, Option<String>)> {
        let mut region = None;
        let login = self.login(
            || {
                let id = self.options.access_key_id.clone();
                let key = self.secret("secret_access_key")?;
                let token = self.secret("session_token")?;
                match (id, key) {
                    (Some(key_id), Some(secret_key)) => {
                        Ok(Some(AwsCredential { key_id, secret_key, token }))
                    }
                    (None, None) => Ok(None),
                    (None, _) => Err(missing("access_key_id", "secret_access_key")),
                    (_, None) => Err(missing("secret_access_key", "access_key_id")),
                }
            },
            || {
                let value = |name| self.variable(name);
                let (id, key) = (value("AWS_ACCESS_KEY_ID")?, value("AWS_SECRET_ACCESS_KEY")?);
                let token = value("AWS_SESSION_TOKEN")?;
                Ok(id.zip(key).map(|(key_id, secret_key)| AwsCredential {
                    key_id,
                    secret_key,
                    token,
                }))
            },
            || {
                let (name, file) = (&self.options.profile, &self.options.profile_file);
                let found = Profile::find(name.as_deref(), file.as_deref(), self.environment)?;
                let Some(profile) = found else { return Ok(None) };
                region = profile.get("region").map(str::to_owned);
                let Some((id, key)) = profile.keys()? else { return Ok(None) };
                let token = profile.get("aws_session_token");
                Ok(Some(AwsCredential {
                    key_id: printable("aws_access_key_id", id)?,
                    secret_key: printable("aws_secret_access_key", key)?,
                    token: token.map(|it| printable("aws_session_token", it)).transpose()?,
                }))
            },
        )?;
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let variable = variables.into_iter().find_map(self.environment);
        Ok((login, self.options.region.clone().or(variable).or(region)))
    }

    /// The login to Azure.
    pub(crate) fn azure(&self) -> Result<Login<AzureKeys>> {
        let fixed = |key: Option<String>, sas: Option<String>| match (key, sas) {
            (Some(_), Some(_)) => Err(Error::options(
                "`account_key` and `sas_token` are two ways to log in; give one",
            )),
            (Some(key), None) => {
                let key = AzureAccessKey::try_new(&key).map_err(|_| malformed("account_key"))?;
                Ok(Some(AzureKeys::Fixed(AzureCredential::AccessKey(key))))
            }
            (None, Some(sas)) => {
                let pairs = split_sas(&sas).map_err(|_| malformed("sas_token"))?;
                Ok(Some(AzureKeys::Fixed(AzureCredential::SASToken(pairs))))
            }
            (None, None) => Ok(None),
        };
        self.login(
            || fixed(self.secret("account_key")?, self.secret("sas_token")?),
            || {
                let value = |name| self.variable(name);
                let key = match value("AZURE_STORAGE_ACCOUNT_KEY")? {
                    None => value("AZURE_STORAGE_KEY")?,
                    key => key,
                };
                if let Some(found) = fixed(key, value("AZURE_STORAGE_SAS_TOKEN")?)? {
                    return Ok(Some(found));
                }
                let (id, secret) = (value("AZURE_CLIENT_ID")?, value("AZURE_CLIENT_SECRET")?);
                let tenant = value("AZURE_TENANT_ID")?;
                Ok(id
                    .zip(secret)
                    .zip(tenant)
                    .map(|((id, secret), tenant)| AzureKeys::Application { id, secret, tenant }))
            },
            || Ok(None),
        )
    }

    /// The login to Google Cloud Storage.
    pub(crate) fn google(&self) -> Result<Login<GoogleKeys>> {
        self.login(
            || match (&self.options.service_account, self.host.secret("service_account_key")?) {
                (Some(_), Some(_)) => Err(Error::options(
                    "`service_account` and `service_account_key` are the same thing; give one",
                )),
                (Some(file), None) => Ok(Some(GoogleKeys::File(file.clone()))),
                (None, Some(key)) => Ok(Some(GoogleKeys::Content(key.expose().to_owned()))),
                (None, None) => Ok(None),
            },
            || {
                let account = (self.environment)("GOOGLE_SERVICE_ACCOUNT");
                let tools = (self.environment)("GOOGLE_APPLICATION_CREDENTIALS");
                let account = account.map(|file| GoogleKeys::File(file.into()));
                Ok(account.or(tools.map(|file| GoogleKeys::Application(file.into()))))
            },
            || Ok(self.google_file().map(GoogleKeys::Application)),
        )
    }

    /// The file of Google's tools, where they put it.
    pub(crate) fn google_file(&self) -> Option<PathBuf> {
        let home = PathBuf::from((self.environment)("HOME")?);
        let file = home.join(".config/gcloud/application_default_credentials.json");
        file.exists().then_some(file)
    }

    /// Asks the sources that the connection allows, in their order.
    fn login<K>(
        &self,
        keys: impl FnOnce() -> Result<Option<K>>,
        environment: impl FnOnce() -> Result<Option<K>>,
        profile: impl FnOnce() -> Result<Option<K>>,
    ) -> Result<Login<K>> {
        use CredentialSource as From;
        let wanted = self.options.credentials;
        let allows = |source| wanted == From::Auto || wanted == source;
        let found =
            |key, source: &str| Login { who: Identity::Keys(key), source: source.to_owned() };
        match wanted {
            From::Instance => {
                return Ok(Login { who: Identity::Instance, source: "the instance".to_owned() });
            }
            From::Anonymous => {
                return Ok(Login { who: Identity::Anonymous, source: "nobody".to_owned() });
            }
            _ => {}
        }
        if allows(From::Keys)
            && let Some(key) = keys()?
        {
            return Ok(found(key, "the connection's keys"));
        }
        if allows(From::Environment)
            && let Some(key) = environment()?
        {
            return Ok(found(key, "the environment"));
        }
        if allows(From::Profile)
            && let Some(key) = profile()?
        {
            return Ok(found(key, "the profile file"));
        }
        Err(Error::options("there are no credentials for this store").hint(
            "give keys, set the vendor's environment variables or profile, or say `credentials = \
             \"instance\"` or `\"anonymous\"`",
        ))
    }

    fn secret(&self, key: &str) -> Result<Option<String>> {
        let secret = self.host.secret(key)?;
        secret.map(|secret| printable(key, secret.expose())).transpose()
    }

    fn variable(&self, name: &str) -> Result<Option<String>> {
        (self.environment)(name).map(|value| printable(name, &value)).transpose()
    }
}

/// Secrets travel in headers, which take no other characters.
fn printable(key: &str, value: &str) -> Result<String> {
    let value = value.trim();
    match !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(value.to_owned()),
        false => Err(malformed(key)),
    }
}

fn malformed(key: &str) -> Error {
    Error::options(format!("`{key}` is not of the form that the store gives out"))
}

fn missing(key: &str, other: &str) -> Error {
    Error::options(format!("`{other}` is given, but not `{key}`"))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs, sync::Arc};

    use transload_plugin_api::{Cancel, Options, Secret, Secrets};

    use super::*;
    use transload_plugin_api::ErrorKind;

    struct Fixed(HashMap<&'static str, &'static str>);

    impl Secrets for Fixed {
        fn secret(&self, key: &str) -> Result<Option<Secret>> {
            Ok(self.0.get(key).map(|value| Secret::new(*value)))
        }
    }

    fn search<T>(
        options: &[(&str, &str)],
        secrets: &[(&'static str, &'static str)],
        environment: &[(&str, &str)],
        run: impl FnOnce(&LoginSources<'_>) -> T,
    ) -> T {
        let pairs = options.iter().chain([&("url", "s3://b")]).copied();
        let options = ConnectionOptions::parse(&Options::from_pairs(pairs)).unwrap();
        let host = Host::new(Arc::new(Fixed(secrets.iter().copied().collect())), Cancel::new());
        let variables: HashMap<_, _> = environment.iter().copied().collect();
        let look = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        run(&LoginSources { options: &options, host: &host, environment: &look })
    }

    fn s3(
        options: &[(&str, &str)],
        secrets: &[(&'static str, &'static str)],
        environment: &[(&str, &str)],
    ) -> Result<(Option<String>, Option<String>)> {
        search(options, secrets, environment, |search| {
            let (login, region) = search.s3()?;
            let id = match login.who {
                Identity::Keys(key) => Some(key.key_id),
                _ => None,
            };
            Ok((id, region))
        })
    }

    const NOWHERE: (&str, &str) = ("HOME", "/nonexistent");
    const ENVIRONMENT: &[(&str, &str)] = &[
        NOWHERE,
        ("AWS_ACCESS_KEY_ID", "ENV"),
        ("AWS_SECRET_ACCESS_KEY", "canary"),
        ("AWS_REGION", "eu-north-1"),
    ];

    #[test]
    fn keys_go_before_the_environment_and_that_before_the_profile() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let text = "[default]\naws_access_key_id=FILE\naws_secret_access_key=x\nregion=r\n";
        fs::write(&file, text).unwrap();
        let file = [("profile_file", file.to_str().unwrap())];
        let keys = [("access_key_id", "KEYS"), file[0]];
        let secret = [("secret_access_key", "canary")];
        let id = |found: Result<(Option<String>, _)>| found.unwrap().0.unwrap();
        assert_eq!(id(s3(&keys, &secret, ENVIRONMENT)), "KEYS");
        assert_eq!(id(s3(&file, &[], ENVIRONMENT)), "ENV");
        assert_eq!(
            s3(&file, &[], &[NOWHERE]).unwrap(),
            (Some("FILE".to_owned()), Some("r".to_owned()))
        );
        let profile = [file[0], ("credentials", "profile")];
        assert_eq!(id(s3(&profile, &secret, ENVIRONMENT)), "FILE");
    }

    #[test]
    fn instance_and_anonymous_only_when_named() {
        let error = s3(&[], &[], &[NOWHERE]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Options);
        for source in ["instance", "anonymous"] {
            assert_eq!(s3(&[("credentials", source)], &[], ENVIRONMENT).unwrap().0, None);
        }
    }

    #[test]
    fn half_a_login_is_none() {
        for (options, secrets) in [
            (&[("access_key_id", "x")][..], &[][..]),
            (&[], &[("secret_access_key", "canary")]),
            (&[("access_key_id", "x")], &[("secret_access_key", "canary\u{e9}")]),
            (&[("credentials", "keys")], &[]),
        ] {
            let error = s3(options, secrets, ENVIRONMENT).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn azure_takes_a_key_or_a_signature() {
        let azure = |secrets: &[(&'static str, &'static str)]| {
            search(&[], secrets, &[NOWHERE], |search| search.azure().map(drop))
        };
        assert!(azure(&[("account_key", "Y2FuYXJ5")]).is_ok());
        assert!(azure(&[("sas_token", "?sv=1&sig=canary")]).is_ok());
        for secrets in [
            &[("account_key", "can ary")][..],
            &[("sas_token", "canary")],
            &[("account_key", "Y2FuYXJ5"), ("sas_token", "sig=canary")],
            &[],
        ] {
            let error = azure(secrets).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options);
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn google_takes_a_file_or_its_content() {
        let google = |options: &[(&str, &str)], secrets: &[(&'static str, &'static str)]| {
            search(options, secrets, &[NOWHERE], |search| search.google().map(|login| login.who))
        };
        let file = [("service_account", "/x.json")];
        assert!(matches!(google(&file, &[]), Ok(Identity::Keys(GoogleKeys::File(_)))));
        let key = [("service_account_key", "{}")];
        assert!(matches!(google(&[], &key), Ok(Identity::Keys(GoogleKeys::Content(_)))));
        assert!(google(&file, &key).is_err());
        assert!(google(&[], &[]).is_err());
        let found = search(&[], &[], &[("GOOGLE_APPLICATION_CREDENTIALS", "/y.json")], |search| {
            search.google().map(|login| login.who)
        });
        assert!(matches!(found, Ok(Identity::Keys(GoogleKeys::Application(_)))));
    }
}
