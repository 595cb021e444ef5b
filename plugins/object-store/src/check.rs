//! Checks the way to the store stage by stage, for the findings of both roles' `check`. One small
//! listing goes all the way; its error says at which stage it ended.

use object_store::list::PaginatedListOptions;
use transload_plugin_api::{Error, ErrorKind, Finding, Result};

use crate::{
    access::{Access, Bucket},
    failure::{LOGIN, NO_BUCKET, NO_CONNECTION, NO_NAME, NO_TLS},
    login::{Environment, process_environment},
};

/// The stages of the way, in their order.
const STAGES: &[&str] = &["name resolution", "connection", "tls", "login", "bucket", "rights"];

/// Tries the way up to listing the bucket; whether it is open all along.
///
/// # Errors
/// [`ErrorKind::Cancelled`] only: everything else is a finding.
pub(crate) fn reach(access: &Access) -> Result<(Vec<Finding>, bool)> {
    let bucket = match access.probe() {
        Ok(bucket) => bucket,
        Err(error) => return Ok((vec![finding("options", &Err(error))], false)),
    };
    let Some(endpoint) = &bucket.endpoint else { return Ok((Vec::new(), true)) };
    let listed = match bucket.wait(list_one(&bucket)) {
        Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
        listed => listed,
    };
    let failed = listed.as_ref().err().map(stage_of);
    let host = endpoint.host_str().unwrap_or_default();
    let by_tls = endpoint.scheme() == "https";
    let mut found = Vec::new();
    for stage in STAGES {
        if *stage == "tls" && !by_tls {
            continue;
        }
        if let (Some(failed), Err(error)) = (failed, &listed)
            && failed == *stage
        {
            let mut told = finding(stage, &Err(error.clone()));
            if ["name resolution", "connection"].contains(stage)
                && let Some(note) = proxy_note(&process_environment)
            {
                told.detail.push_str(&note);
            }
            found.push(told);
            break;
        }
        let words = match *stage {
            "name resolution" => format!("`{host}`"),
            "connection" if by_tls => "the server answers".to_owned(),
            "connection" => "the server responds, without TLS".to_owned(),
            "tls" => "the certificate is verified".to_owned(),
            "login" => format!("by {}", bucket.login),
            "bucket" => bucket.address.words(),
            _ => match bucket.traffic.words() {
                Some(trouble) => format!("objects can be listed; {trouble}"),
                None => "objects can be listed".to_owned(),
            },
        };
        found.push(finding(stage, &Ok(words)));
    }
    Ok((found, listed.is_ok()))
}

/// Identity sets a proxy may have no other way out, which would not be seen otherwise.
fn proxy_note(environment: Environment<'_>) -> Option<String> {
    let names =
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];
    let set = names.into_iter().find(|name| environment(name).is_some())?;
    Some(format!("; `{set}` is set, but stores are spoken to without a proxy"))
}

async fn list_one(bucket: &Bucket) -> Result<()> {
    let Some(pages) = &bucket.pages else { return Ok(()) };
    let prefix = bucket.address.key("");
    let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
    let asked = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
    let listed = pages.list_paginated(asked, options).await;
    listed.map(drop).map_err(|error| bucket.failed(&error, &prefix))
}

/// The stage at which an error ended the way.
fn stage_of(error: &Error) -> &'static str {
    match error.code.as_str() {
        NO_NAME | "OBJECT-ENDPOINT" => "name resolution",
        NO_TLS => "tls",
        NO_BUCKET => "bucket",
        LOGIN => "login",
        NO_CONNECTION => "connection",
        _ => match error.kind {
            ErrorKind::Denied => "rights",
            ErrorKind::NotFound => "bucket",
            _ => "connection",
        },
    }
}

/// An outcome with its hint, in one line.
pub(crate) fn finding(stage: &str, outcome: &Result<String>) -> Finding {
    let (ok, detail) = match outcome {
        Ok(words) => (true, words.clone()),
        Err(error) => match &error.hint {
            Some(hint) => (false, format!("{error}; {hint}")),
            None => (false, error.to_string()),
        },
    };
    Finding { stage: stage.to_owned(), ok, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_set_is_told_of_and_its_password_is_not() {
        let set = |name: &str| (name == "https_proxy").then(|| "http://u:canary@proxy".to_owned());
        let note = proxy_note(&set).unwrap();
        assert!(note.contains("`https_proxy` is set") && !note.contains("canary"), "{note}");
        assert_eq!(proxy_note(&|_| None), None);
    }
}
