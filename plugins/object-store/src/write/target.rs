//! Where objects go: below a prefix, or to one key. Also what stands there before the run, and
//! whether the run may write there.

use transload_plugin_api::{Error, ErrorKind, Result, Statement, WriteMode};

use super::{
    manifest::{self, Manifest},
    options::{IfExists, Overwrite},
    place::Place,
    stage::{Before, FOLDER},
};
use crate::address::{Address, path_of};

/// The object that says that a run has come to its end, as other programs have it.
pub(crate) const SUCCESS: &str = "_SUCCESS";
/// A plan names so many of the objects that it removes.
const NAMED: usize = 20;

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Any number of objects below `root`, which is empty or ends in `/`.
    Prefix { root: String },
    /// One object; `root` is its folder.
    Object { root: String, key: String },
}

impl Target {
    /// By the path: a final `/`, or nothing at all, says prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for a path that leads elsewhere.
    pub(crate) fn new(address: &Address, path: &str) -> Result<Self> {
        let key = address.key(path);
        let folder = key.strip_suffix('/').unwrap_or(&key);
        if path.starts_with('/') || (!folder.is_empty() && path_of(folder).is_err()) {
            let message = format!("`path` is no place below the url: `{}`", path.escape_debug());
            return Err(Error::new(ErrorKind::Options, message)
                .hint("it is relative, without empty segments, `.` or `..`"));
        }
        Ok(match key.as_str() {
            "" => Self::Prefix { root: key },
            _ if key.ends_with('/') => Self::Prefix { root: key },
            _ => {
                let root = key.rfind('/').map_or("", |at| &key[..=at]).to_owned();
                Self::Object { root, key }
            }
        })
    }

    /// What all keys of the run begin with.
    pub(crate) fn root(&self) -> &str {
        match self {
            Self::Prefix { root } | Self::Object { root, .. } => root,
        }
    }

    /// The prefix or the key.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Prefix { root } => root,
            Self::Object { key, .. } => key,
        }
    }

    /// The target as it stands, if a run may write there.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] for an insert where something is, [`ErrorKind::Unsupported`] for a
    /// mode that objects have not.
    pub(crate) fn before(
        &self,
        place: &dyn Place,
        mode: WriteMode,
        if_exists: IfExists,
        overwrite: Overwrite,
    ) -> Result<Before> {
        let replace = match mode {
            WriteMode::Insert => false,
            WriteMode::Overwrite => true,
            mode => return Err(no_such_mode(mode)),
        };
        match self {
            Self::Object { key, .. } => {
                let object = place.look(key)?;
                match (&object, replace, if_exists) {
                    (_, true, _) | (None, ..) => {}
                    (Some(_), false, IfExists::Error) => return Err(taken(place, key)),
                    (Some(_), false, IfExists::Append) => return Err(no_append(place, key)),
                }
                Ok(Before { object, whole: true, ..Before::default() })
            }
            Self::Prefix { root } => {
                let manifest = Manifest::read(place, root)?;
                let data = manifest.as_ref().is_some_and(|(it, _)| !it.files.is_empty());
                if !replace
                    && if_exists == IfExists::Error
                    && (data || !self.visible(place)?.is_empty())
                {
                    return Err(taken(place, root));
                }
                let doomed = match (replace, overwrite) {
                    (false, _) => Vec::new(),
                    (true, Overwrite::Manifest) => {
                        let files = manifest.iter().flat_map(|(manifest, _)| &manifest.files);
                        files.map(|file| format!("{root}{}", file.name)).collect()
                    }
                    (true, Overwrite::Prefix) => self.all(place)?,
                };
                Ok(Before { manifest, doomed, ..Before::default() })
            }
        }
    }

    /// Keys of the data that readers see.
    pub(crate) fn visible(&self, place: &dyn Place) -> Result<Vec<String>> {
        if let Self::Object { key, .. } = self {
            return Ok(place.look(key)?.map(|_| key.clone()).into_iter().collect());
        }
        let mut keys = self.below(place)?;
        keys.retain(|key| {
            let mut segments = key[self.root().len()..].split('/');
            segments.all(|segment| !segment.starts_with(['_', '.']))
        });
        Ok(keys)
    }

    /// All keys below the prefix but those that a commit writes anew.
    fn all(&self, place: &dyn Place) -> Result<Vec<String>> {
        let root = self.root();
        if root.is_empty() {
            let message = "`overwrite = \"prefix\"` would empty the whole bucket";
            return Err(Error::new(ErrorKind::Options, message)
                .hint("name a prefix by `url` or `path`, or use `overwrite = \"manifest\"`"));
        }
        let mut keys = self.below(place)?;
        keys.retain(|key| {
            let name = &key[root.len()..];
            name != manifest::NAME && name != SUCCESS && !name.starts_with(FOLDER)
        });
        Ok(keys)
    }

    fn below(&self, place: &dyn Place) -> Result<Vec<String>> {
        let root = self.root();
        let listed = place.list(root)?.into_iter().map(|listed| listed.key);
        // A neighbour `abc123` of `abc/` is not ours, whatever a store lists.
        Ok(listed.filter(|key| key.starts_with(root) && key.len() > root.len()).collect())
    }

    /// What the run will do to what is there.
    pub(crate) fn statements(&self, place: &dyn Place, before: &Before) -> Vec<Statement> {
        let destructive = |text| Statement { text, destructive: true };
        if let (Self::Object { key, .. }, Some(object)) = (self, &before.object) {
            let name = place.name(key);
            return vec![destructive(format!("replace {name} ({} bytes)", object.size))];
        }
        let named = before.doomed.iter().take(NAMED);
        let mut statements: Vec<_> =
            named.map(|key| destructive(format!("remove {}", place.name(key)))).collect();
        let count = before.doomed.len();
        if count > NAMED {
            let rest = count - NAMED;
            statements.push(destructive(format!("remove {rest} more, {count} objects in all")));
        }
        statements
    }
}

fn no_such_mode(mode: WriteMode) -> Error {
    let message = format!("objects have no keys, so `{}` cannot be done", mode.word());
    Error::new(ErrorKind::Unsupported, message)
        .hint("use `insert` (with `if_exists = \"append\"` to add objects) or `overwrite`")
}

fn taken(place: &dyn Place, key: &str) -> Error {
    Error::new(ErrorKind::Exists, "there is data already")
        .with_code("FILE-EXISTS")
        .at(place.name(key))
        .hint("use `if_exists = \"append\"` below a prefix, or `write_mode = \"overwrite\"`")
}

fn no_append(place: &dyn Place, key: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "rows cannot be added to an object")
        .at(place.name(key))
        .hint("end `path` by `/` to add objects below it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_the_target_is() {
        let target = |url: &str, path: &str| {
            Target::new(&Address::parse(url).unwrap(), path)
                .map(|target| (target.root().to_owned(), target.key().to_owned()))
        };
        let pair = |root: &str, key: &str| (root.to_owned(), key.to_owned());
        for (url, path, expected) in [
            ("s3://b", "", pair("", "")),
            ("s3://b/p", "", pair("p/", "p/")),
            ("s3://b/p/", "q/", pair("p/q/", "p/q/")),
            ("s3://b/p", "q/x.csv", pair("p/q/", "p/q/x.csv")),
            ("s3://b", "x.csv", pair("", "x.csv")),
            ("file:///tmp", "o/", pair("tmp/o/", "tmp/o/")),
        ] {
            assert_eq!(target(url, path).unwrap(), expected, "{url} {path}");
        }
        for path in ["..", "../x", "a//b", "a/./b/", "/x", "/", "a\n", "a//"] {
            assert_eq!(target("s3://b/p", path).unwrap_err().kind, ErrorKind::Options, "{path}");
        }
    }
}
