//! The files of the AWS tools (`~/.aws/credentials`, `~/.aws/config`): sections of `key = value`
//! lines, <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html>. Only keys
//! that lie in the file are taken; what would have to be fetched is refused by name.

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use transload_plugin_api::{Error, Result};

use super::Environment;

/// What a profile says that we use.
#[derive(Default)]
pub(crate) struct Profile {
    values: HashMap<String, String>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Profile {
    /// The profile `name`; `None` if no file has it. The credentials file goes before the other.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] with the file that cannot be read.
    pub(crate) fn find(
        name: Option<&str>,
        file: Option<&Path>,
        environment: Environment<'_>,
    ) -> Result<Option<Self>> {
        let variable = environment("AWS_PROFILE");
        let name = name.map(str::to_owned).or(variable).unwrap_or_else(|| "default".to_owned());
        let files = match file {
            Some(file) => vec![file.to_owned()],
            None => standard_files(environment),
        };
        let mut values = HashMap::new();
        for path in &files {
            let text = match fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => {
                    continue;
                }
                Err(error) => {
                    let message = format!("the profile file cannot be read: {error}");
                    return Err(Error::options(message).at(path.display().to_string()));
                }
            };
            for (key, value) in section(&text, &name) {
                values.entry(key).or_insert(value);
            }
        }
        Ok((!values.is_empty()).then_some(Self { values }))
    }

    /// A value of the profile.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The key's name and the key, if both lie in the file.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the profile says how to fetch them instead.
    pub(crate) fn keys(&self) -> Result<Option<(&str, &str)>> {
        const FETCHED: &[&str] = &[
            "role_arn",
            "source_profile",
            "sso_session",
            "sso_start_url",
            "credential_process",
            "credential_source",
            "web_identity_token_file",
            "login_session",
        ];
        if let (Some(id), Some(key)) = (self.get("aws_access_key_id"), self.get(SECRET)) {
            return Ok(Some((id, key)));
        }
        match FETCHED.iter().find(|key| self.values.contains_key(**key)) {
            None => Ok(None),
            Some(key) => {
                let message = format!("the profile uses `{key}`, which is not supported");
                Err(Error::unsupported(message).hint(
                    "let `aws configure export-credentials --format env` fetch the keys, and use \
                     `credentials = \"environment\"`",
                ))
            }
        }
    }
}

const SECRET: &str = "aws_secret_access_key";

fn standard_files(environment: Environment<'_>) -> Vec<PathBuf> {
    let named = |variable, name| {
        let home = || Some(PathBuf::from(environment("HOME")?).join(".aws").join(name));
        environment(variable).map(PathBuf::from).or_else(home)
    };
    let files =
        [named("AWS_SHARED_CREDENTIALS_FILE", "credentials"), named("AWS_CONFIG_FILE", "config")];
    files.into_iter().flatten().collect()
}

/// The values of a section, `[name]` or `[profile name]`; keys in lower case, the last one counts.
fn section(text: &str, name: &str) -> HashMap<String, String> {
    let mut inside = false;
    let mut values = HashMap::new();
    for line in text.lines() {
        // Indented lines belong to the value before them; those are settings of other tools.
        if line.starts_with([' ', '\t']) || line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = line.trim().strip_prefix('[') {
            let head = head.split(']').next().unwrap_or_default().trim();
            let plain = head.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t']));
            inside = plain.unwrap_or(head).trim() == name;
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            let value = value.split(" #").next().unwrap_or_default().trim();
            values.insert(key.trim().to_lowercase(), value.to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    const FILE: &str = "\
# a comment
[default]
aws_access_key_id = AKID
aws_secret_access_key=can/ary+==
s3 =
    region = not-this
region = eu-west-1 # here

[profile work]
AWS_ACCESS_KEY_ID = WORK
aws_secret_access_key = canary2
aws_session_token = canary3
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
[empty]
";

    fn profile(name: &str) -> Option<Profile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        fs::write(&path, FILE).unwrap();
        Profile::find(Some(name), Some(&path), &|_| None).unwrap()
    }

    #[test]
    fn keys_and_region_of_a_profile() {
        let default = profile("default").unwrap();
        assert_eq!(default.keys().unwrap(), Some(("AKID", "can/ary+==")));
        assert_eq!(default.get("region"), Some("eu-west-1"));
        let work = profile("work").unwrap();
        assert_eq!(work.keys().unwrap(), Some(("WORK", "canary2")));
        assert_eq!(work.get("aws_session_token"), Some("canary3"));
        assert!(profile("empty").is_none());
        assert!(profile("other").is_none());
        assert!(!format!("{default:?} {work:?}").contains("canar"));
    }

    #[test]
    fn what_would_have_to_be_fetched_is_refused_by_name() {
        let error = profile("role").unwrap().keys().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains("`role_arn`"), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let file = Path::new("/nonexistent/x");
        let error = Profile::find(None, Some(file), &|_| None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Options);
    }
}
