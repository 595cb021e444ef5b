//! Where files go: below a folder, or to one key. Also what is there before the run, and
//! whether the run may write there.

use transload_plugin_api::{Error, Result, Statement, WriteMode, code};

use super::{
    manifest::{self, Manifest},
    options::{IfExists, Overwrite},
    prior_state::PriorState,
    run_folder::FOLDER,
    upload_store::UploadStore,
};

/// The object that says that a run has come to its end, as other programs have it.
pub(crate) const SUCCESS: &str = "_SUCCESS";
/// The most files to be removed that a plan names.
pub(crate) const NAMED: usize = 20;

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Any number of objects below `root`, which is empty or ends in `/`.
    Folder {
        /// What all keys begin with.
        root: String,
    },
    /// One object; `root` is its folder.
    File {
        /// The key of its folder.
        root: String,
        /// Its own key.
        key: String,
    },
}

impl Destination {
    /// By the key: a final `/`, or nothing at all, means a folder.
    pub fn new(key: String) -> Self {
        if key.is_empty() || key.ends_with('/') {
            return Self::Folder { root: key };
        }
        let root = key.rfind('/').map_or("", |at| &key[..=at]).to_owned();
        Self::File { root, key }
    }

    /// What all keys of the run begin with.
    pub fn root(&self) -> &str {
        match self {
            Self::Folder { root } | Self::File { root, .. } => root,
        }
    }

    /// The prefix or the key.
    pub fn key(&self) -> &str {
        match self {
            Self::Folder { root } => root,
            Self::File { key, .. } => key,
        }
    }

    /// The current state of the destination, if a run may write there.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] for an insert where something is, [`ErrorKind::Unsupported`] for a
    /// mode that files do not have.
    pub(crate) fn before(
        &self,
        store: &dyn UploadStore,
        mode: WriteMode,
        if_exists: IfExists,
        overwrite: Overwrite,
    ) -> Result<PriorState> {
        let replace = match mode {
            WriteMode::Insert => false,
            WriteMode::Overwrite => true,
            mode => return Err(no_such_mode(mode)),
        };
        match self {
            Self::File { root, key } => {
                let new_folders = store.missing_folders(root)?;
                let object = store.look(key)?;
                let append = match (&object, replace, if_exists) {
                    (_, true, _) | (None, ..) => false,
                    (Some(found), false, IfExists::Error) => {
                        return Err(taken(store, key, found.run()));
                    }
                    (Some(_), false, IfExists::Append) if store.disk().is_none() => {
                        return Err(no_append(store, key));
                    }
                    (Some(found), false, IfExists::Append) => found.size > 0,
                };
                let before = PriorState { object, whole: true, append, ..PriorState::default() };
                Ok(PriorState { new_folders, ..before })
            }
            Self::Folder { root } => {
                let manifest = Manifest::read(store, root)?;
                let data = manifest.as_ref().is_some_and(|(it, _)| !it.files.is_empty());
                if !replace
                    && if_exists == IfExists::Error
                    && (data || !self.visible(store)?.is_empty())
                {
                    let run = manifest.as_ref().map(|(manifest, _)| manifest.run.as_str());
                    return Err(taken(store, root, run));
                }
                let doomed = match (replace, overwrite) {
                    (false, _) => Vec::new(),
                    (true, Overwrite::Manifest | Overwrite::Partitions) => {
                        let files = manifest.iter().flat_map(|(manifest, _)| &manifest.files);
                        files.map(|file| format!("{root}{}", file.name)).collect()
                    }
                    (true, Overwrite::Prefix) => self.all(store)?,
                };
                doomed.iter().try_for_each(|key| store.check_removal(key))?;
                let new_folders = store.missing_folders(root)?;
                Ok(PriorState { manifest, doomed, new_folders, ..PriorState::default() })
            }
        }
    }

    /// Keys of the data that readers see.
    pub(crate) fn visible(&self, store: &dyn UploadStore) -> Result<Vec<String>> {
        if let Self::File { key, .. } = self {
            return Ok(store.look(key)?.map(|_| key.clone()).into_iter().collect());
        }
        let mut keys = self.below(store)?;
        keys.retain(|key| {
            let mut segments = key[self.root().len()..].split('/');
            segments.all(|segment| !segment.starts_with(['_', '.']))
        });
        Ok(keys)
    }

    /// All keys below the prefix but those that a commit writes anew.
    fn all(&self, store: &dyn UploadStore) -> Result<Vec<String>> {
        let root = self.root();
        if root.is_empty() {
            let message = "`overwrite = \"prefix\"` would empty the whole bucket";
            return Err(Error::options(message)
                .hint("name a prefix by `url` or `path`, or use `overwrite = \"manifest\"`"));
        }
        let mut keys = self.below(store)?;
        keys.retain(|key| {
            let name = &key[root.len()..];
            name != manifest::NAME && name != SUCCESS && !name.starts_with(FOLDER)
        });
        Ok(keys)
    }

    fn below(&self, store: &dyn UploadStore) -> Result<Vec<String>> {
        let root = self.root();
        let listed = store.list(root)?.into_iter().map(|listed| listed.key);
        // A neighbour `abc123` of `abc/` is not ours, whatever a store lists.
        Ok(listed.filter(|key| key.starts_with(root) && key.len() > root.len()).collect())
    }

    /// What the run will do to what is there.
    pub(crate) fn statements(
        &self,
        store: &dyn UploadStore,
        before: &PriorState,
    ) -> Vec<Statement> {
        let destructive = |text| Statement { text, destructive: true };
        if !before.new_folders.is_empty() {
            let made = |folder: &String| Statement {
                text: format!("make the folder {}", store.name(folder)),
                destructive: false,
            };
            return before.new_folders.iter().map(made).collect();
        }
        if before.append
            && let (Self::File { key, .. }, Some(object)) = (self, &before.object)
        {
            let text = format!("add to a copy of {} ({} bytes)", store.name(key), object.size);
            return vec![Statement { text, destructive: false }];
        }
        if let (Self::File { key, .. }, Some(object)) = (self, &before.object) {
            let name = store.name(key);
            return vec![destructive(format!("replace {name} ({} bytes)", object.size))];
        }
        let named = before.doomed.iter().take(NAMED);
        let mut statements: Vec<_> =
            named.map(|key| destructive(format!("remove {}", store.name(key)))).collect();
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
    Error::unsupported(message)
        .hint("use `insert` (with `if_exists = \"append\"` to add objects) or `overwrite`")
}

fn taken(store: &dyn UploadStore, key: &str, run: Option<&str>) -> Error {
    let by = run.filter(|run| !run.is_empty()).map(|run| format!(", of run `{run}`"));
    Error::exists(format!("there is data already{}", by.unwrap_or_default()))
        .with_code(code::FILE_EXISTS)
        .at(store.name(key))
        .hint("use `if_exists = \"append\"` below a prefix, or `write_mode = \"overwrite\"`")
}

fn no_append(store: &dyn UploadStore, key: &str) -> Error {
    Error::unsupported("rows cannot be added to an object")
        .at(store.name(key))
        .hint("end `path` by `/` to add objects below it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_the_destination_is() {
        for (key, root) in
            [("", ""), ("p/", "p/"), ("p/q/", "p/q/"), ("p/q/x.csv", "p/q/"), ("x.csv", "")]
        {
            let destination = Destination::new(key.to_owned());
            assert_eq!((destination.root(), destination.key()), (root, key));
            assert_eq!(matches!(destination, Destination::File { .. }), root != key, "{key}");
        }
    }
}
