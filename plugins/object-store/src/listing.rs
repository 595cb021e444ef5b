//! Which objects a job reads: keys, folders and patterns become one frozen list, by as few and as
//! narrow listings as do. What the folders' names mean is decided in `transload_files`.

use std::{borrow::Cow, collections::HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStoreExt, list::PaginatedListOptions};
use transload_files::{
    Listing, PartitionFilter, PartitionMode, PartitionValue, Pattern, StoredFile, is_hidden,
    is_pattern, literal_prefix, names_beside, partitions,
};
use transload_plugin_api::{Error, Result};

use crate::{
    access::Bucket,
    address::{Scheme, path_of},
    local,
    options::ReaderOptions,
    pages::{Page, all_pages},
};

/// The version of an object that has no ETag begins so.
pub(crate) const MODIFIED: &str = "modified ";

/// This many names are searched for one like a missing one.
const BESIDE: usize = 1000;

/// This many listings, or looks at single objects, are under way at once.
const AT_ONCE: usize = 8;

/// An object of the list, and its name below the folder from which partitions are counted.
struct Found {
    object: ObjectMeta,
    below: String,
}

/// The objects of all paths, in their order, those of one path sorted, each object once.
///
/// # Errors
/// [`ErrorKind::NotFound`] if a path stands for no object at all, and what the options of
/// partitions say.
pub(crate) async fn list(bucket: &Bucket, options: &ReaderOptions) -> Result<Listing> {
    let search = Search { bucket, filter: &options.filter };
    let (mut all, mut seen, mut left_out) = (Vec::new(), HashSet::new(), 0);
    for path in &options.path {
        let (found, pruned) = search.expand(path).await?;
        left_out += pruned;
        if found.is_empty() {
            let error = nothing(bucket, path, pruned);
            let beside = if pruned == 0 { search.beside(path).await } else { None };
            return Err(match beside {
                Some(hint) => error.of_key("path").hint(hint),
                None => error,
            });
        }
        all.extend(found.into_iter().filter(|it| seen.insert(it.object.location.clone())));
    }
    frozen(bucket, all, options.partitions, &options.filter, left_out)
}

fn frozen(
    bucket: &Bucket,
    all: Vec<Found>,
    mode: PartitionMode,
    filter: &PartitionFilter,
    left_out: usize,
) -> Result<Listing> {
    let found = partitions(mode, all.iter().map(|it| it.below.as_str()))?;
    found.check(filter)?;
    let mut notes: Vec<_> = found.note().into_iter().collect();
    if !filter.is_empty() {
        notes.push(format!("`partition_filter` left {left_out} folder(s) out"));
    }
    let stored = |(it, partitions): (Found, _)| StoredFile {
        name: bucket.address.name(it.object.location.as_ref()),
        size: it.object.size,
        version: version(&it.object),
        is_stream: false,
        partitions,
    };
    let files = all.into_iter().zip(found.values).map(stored).collect();
    Ok(Listing { files, partitions: found.keys, notes })
}

/// What a new content changes.
pub(crate) fn version(object: &ObjectMeta) -> String {
    match &object.e_tag {
        Some(tag) => tag.clone(),
        None => format!("{MODIFIED}{}", object.last_modified.timestamp()),
    }
}

fn nothing(bucket: &Bucket, path: &str, pruned: usize) -> Error {
    let whole = bucket.address.name(&bucket.address.key(path));
    let message = match pruned {
        0 => format!("no object matches `{whole}`"),
        _ => {
            format!("`partition_filter` leaves no object of `{whole}`: {pruned} folder(s) are out")
        }
    };
    Error::not_found(message)
        .hint("`path` is relative to `url`; names that begin with `.` or `_` are left out")
}

/// How objects are looked for.
struct Search<'a> {
    bucket: &'a Bucket,
    filter: &'a PartitionFilter,
}

impl Search<'_> {
    /// The objects that a path stands for, and how many folders the filter left out.
    async fn expand(&self, path: &str) -> Result<(Vec<Found>, usize)> {
        let path = &*self.relative(path)?;
        let (mut found, pruned) = if is_pattern(path) {
            self.matching(path).await?
        } else if path.is_empty() || path.ends_with('/') {
            self.folder(path).await?
        } else {
            match self.look(&self.bucket.address.key(path)).await? {
                Some(object) => {
                    let below = object.location.filename().unwrap_or_default().to_owned();
                    (vec![Found { object, below }], 0)
                }
                None => self.folder(&format!("{path}/")).await?,
            }
        };
        found = self.without_markers(found).await?;
        found.sort_by(|one, other| one.object.location.cmp(&other.object.location));
        found.dedup_by(|one, other| one.object.location == other.object.location);
        Ok((found, pruned))
    }

    /// A hint by the names beside a path without wildcards; `None` if there are none, or they cannot
    /// be listed.
    async fn beside(&self, path: &str) -> Option<String> {
        let path = self.relative(path).ok().filter(|path| !is_pattern(path))?;
        let key = self.bucket.address.key(path.trim_end_matches('/'));
        let at = key.rfind('/').map_or(0, |at| at + 1);
        let (folder, wanted) = key.split_at(at);
        let mut names = match &self.bucket.pages {
            Some(pages) => {
                let options = PaginatedListOptions {
                    delimiter: Some(Cow::Borrowed("/")),
                    max_keys: Some(BESIDE),
                    ..PaginatedListOptions::default()
                };
                let asked = Some(folder).filter(|folder| !folder.is_empty());
                let page = pages.list_paginated(asked, options).await.ok()?.result;
                let objects = page.objects.iter().map(|object| object.location.to_string());
                objects.chain(page.common_prefixes.iter().map(|it| format!("{it}/"))).collect()
            }
            None => {
                let address = &self.bucket.address;
                local::names(address, folder.trim_end_matches('/'), true).ok()?.files
            }
        };
        names.iter_mut().for_each(|name| drop(name.drain(..at.min(name.len()))));
        names.retain(|name| !name.is_empty() && !is_hidden(name));
        names_beside(wanted, names)
    }

    /// A path may repeat the url, if it is the same one.
    fn relative<'p>(&self, path: &'p str) -> Result<Cow<'p, str>> {
        let wrong = |why: &str| {
            let message = format!("`path`: `{path}` {why}");
            Err(Error::options(message).hint("`path` is relative to `url`"))
        };
        let address = &self.bucket.address;
        if path.contains("://") {
            let base = address.key("");
            let rest = address.key_of(path).and_then(|key| key.strip_prefix(base.as_str()));
            return match rest {
                Some(rest) => Ok(Cow::Borrowed(rest)),
                None => wrong("is not below the connection's url"),
            };
        }
        match path.starts_with('/') {
            true => wrong("begins with `/`"),
            false => Ok(Cow::Borrowed(path)),
        }
    }

    /// The visible objects of a folder, given with its final `/`, and of those in it. Where the
    /// url names an object, that is the whole of it.
    async fn folder(&self, path: &str) -> Result<(Vec<Found>, usize)> {
        let root = self.bucket.address.key(path);
        let visible = |below: &str| !below.split('/').any(is_hidden);
        let (objects, pruned) = self.objects(&root, &root, &visible).await?;
        let below = |object: ObjectMeta| {
            let below = object.location.as_ref().strip_prefix(root.as_str())?.to_owned();
            visible(&below).then_some(Found { object, below })
        };
        let mut found: Vec<_> = objects.into_iter().filter_map(below).collect();
        if found.is_empty()
            && path.is_empty()
            && !self.bucket.address.prefix.is_empty()
            && let Some(object) = self.look(&self.bucket.address.prefix).await?
        {
            let below = object.location.filename().unwrap_or_default().to_owned();
            found.push(Found { object, below });
        }
        Ok((found, pruned))
    }

    /// The objects that a pattern matches; only the one that is called like it, if there is one.
    async fn matching(&self, path: &str) -> Result<(Vec<Found>, usize)> {
        let pattern = Pattern::parse(path)?;
        let literal = literal_prefix(path);
        let root = literal.rsplit_once('/').map_or("", |(root, _)| root);
        let root = if root.is_empty() { String::new() } else { format!("{root}/") };
        let base = self.bucket.address.key("");
        let may_match = |below: &str| pattern.may_match_below(&format!("{root}{below}"));
        let whole_root = format!("{base}{root}");
        let (objects, pruned) =
            self.objects(&whole_root, &format!("{base}{literal}"), &may_match).await?;
        let mut found = Vec::new();
        for object in objects {
            let Some(name) = object.location.as_ref().strip_prefix(base.as_str()) else { continue };
            if name == path {
                let below = object.location.filename().unwrap_or_default().to_owned();
                return Ok((vec![Found { object, below }], 0));
            }
            if let Some(below) = name.strip_prefix(root.as_str()).filter(|_| pattern.matches(name))
            {
                let below = below.to_owned();
                found.push(Found { object, below });
            }
        }
        Ok((found, pruned))
    }

    /// All objects whose keys begin with `prefix`, but for those in folders below `root` that the
    /// filter or `wanted` leaves out; how many folders the filter left out.
    async fn objects(
        &self,
        root: &str,
        prefix: &str,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<(Vec<ObjectMeta>, usize)> {
        if self.filter.is_empty() {
            return Ok((self.all(prefix).await?, 0));
        }
        let (mut objects, mut pruned) = (Vec::new(), 0);
        let mut level = vec![prefix.to_owned()];
        while !level.is_empty() {
            let looks = stream::iter(level).map(|prefix| self.look_into(root, prefix));
            let looked = looks.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
            let mut next = Vec::new();
            for (found, folders) in looked {
                objects.extend(found);
                for folder in folders {
                    let below = folder.strip_prefix(root).unwrap_or_default();
                    let name = below.rsplit('/').next().unwrap_or_default();
                    let value = PartitionValue::parse(name);
                    let of_filter = value.filter(|value| self.filter.speaks_of(value));
                    if of_filter.is_some_and(|value| !self.filter.admits(&value)) {
                        pruned += 1;
                    } else if wanted(below) {
                        next.push(format!("{folder}/"));
                    }
                }
            }
            level = next;
        }
        Ok((objects, pruned))
    }

    /// The objects and folders directly behind a prefix; all objects, if the filter has nothing
    /// more to say there.
    async fn look_into(
        &self,
        root: &str,
        prefix: String,
    ) -> Result<(Vec<ObjectMeta>, Vec<String>)> {
        let folders = prefix.strip_prefix(root).and_then(|below| below.rsplit_once('/'));
        if folders.is_some_and(|(folders, _)| self.filter.is_decided_by(folders)) {
            return Ok((self.all(&prefix).await?, Vec::new()));
        }
        let found = self.pages(&prefix, true).await?;
        Ok((found.objects, found.folders))
    }

    async fn all(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        Ok(self.pages(prefix, false).await?.objects)
    }

    /// Everything behind a prefix, or its first level.
    async fn pages(&self, prefix: &str, first_level: bool) -> Result<Page> {
        match &self.bucket.pages {
            Some(store) => all_pages(self.bucket, &**store, prefix, first_level).await,
            None => self.local_page(prefix, first_level).await,
        }
    }

    /// As [`Search::pages`]; a local folder knows whole parts of names only.
    async fn local_page(&self, prefix: &str, first_level: bool) -> Result<Page> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut names = local::names(&self.bucket.address, folder, first_level)?;
        names.files.retain(|key| key.starts_with(prefix));
        names.folders.retain(|key| key.starts_with(prefix));
        let looks = stream::iter(names.files).map(async |key| self.look(&key).await);
        let found = looks.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(Page { objects: found.into_iter().flatten().collect(), folders: names.folders })
    }

    /// One object; `None` if it is not there.
    async fn look(&self, key: &str) -> Result<Option<ObjectMeta>> {
        if self.bucket.address.scheme == Scheme::File {
            local::check(&self.bucket.address, key)?;
        }
        match self.bucket.store.head(&path_of(key)?).await {
            Ok(object) => Ok(Some(object)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.bucket.failed(&error, key)),
        }
    }

    /// Leaves out what only stands for a folder: an empty object whose key ends in `/`, which the
    /// client does not show. A look at the key without it tells.
    async fn without_markers(&self, found: Vec<Found>) -> Result<Vec<Found>> {
        if self.bucket.pages.is_none() {
            return Ok(found);
        }
        let (empty, mut full): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|it| it.object.size == 0);
        let looks = stream::iter(empty).map(async |it| {
            let object = self.look(it.object.location.as_ref()).await?;
            Ok::<_, Error>(object.map(|object| Found { object, below: it.below }))
        });
        let looked = looks.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        full.extend(looked.into_iter().flatten());
        Ok(full)
    }
}
