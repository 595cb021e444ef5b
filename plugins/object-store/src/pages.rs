//! Listings page by page, as the store gives them; it must come to an end, and name versions that a
//! request can repeat.

use std::{borrow::Cow, collections::HashSet};

use object_store::{
    ObjectMeta,
    list::{PaginatedListOptions, PaginatedListStore},
};
use transload_plugin_api::{Error, Result, code};

use crate::access::Bucket;

/// What a listing shows. Folders have no final `/`.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<ObjectMeta>,
    pub(crate) folders: Vec<String>,
}

/// Everything behind a prefix, or its first level.
pub(crate) async fn all_pages(
    bucket: &Bucket,
    store: &dyn PaginatedListStore,
    prefix: &str,
    first_level: bool,
) -> Result<Page> {
    let (mut page, mut tokens, mut token) = (Page::default(), HashSet::new(), None::<String>);
    loop {
        let options = PaginatedListOptions {
            delimiter: first_level.then_some(Cow::Borrowed("/")),
            page_token: token,
            ..PaginatedListOptions::default()
        };
        let asked = Some(prefix).filter(|prefix| !prefix.is_empty());
        let found = store.list_paginated(asked, options).await;
        let found = found.map_err(|error| bucket.failed(&error, prefix))?;
        let name = || bucket.address.name(prefix);
        found.result.objects.iter().try_for_each(|object| check_version(bucket, object))?;
        page.objects.extend(found.result.objects);
        page.folders.extend(found.result.common_prefixes.into_iter().map(String::from));
        token = found.page_token;
        let Some(next) = &token else {
            page.folders.sort();
            page.folders.dedup();
            return Ok(page);
        };
        if !tokens.insert(next.clone()) {
            return Err(wrong("the listing does not end: its continuation token repeats", name()));
        }
    }
}

/// A listed version is part of later requests.
fn check_version(bucket: &Bucket, object: &ObjectMeta) -> Result<()> {
    let tags = [&object.e_tag, &object.version];
    match tags.into_iter().flatten().all(|tag| is_header_value(tag)) {
        true => Ok(()),
        false => Err(wrong(
            "the listing has an ETag with invalid characters",
            bucket.address.name(object.location.as_ref()),
        )),
    }
}

/// Whether a text can be the value of a header.
pub(crate) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// A response that is not what it should be.
pub(crate) fn wrong(message: impl Into<String>, name: impl Into<String>) -> Error {
    Error::connection(message).with_code(code::OBJECT_ANSWER).at(name).hint(
        "check that `endpoint` and `url` are those of an object store, without a proxy on the way",
    )
}
