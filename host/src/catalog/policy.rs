//! `trust.toml`: what the administrator and the user decide about plugins that do not belong to the
//! installation. It lies in `/etc/transload` and in the user's configuration folder, never beside a
//! job: whoever writes jobs does not decide which code runs.

use std::path::PathBuf;

use serde::Deserialize;
use transload_plugin_api::{Error, Result, code};

use super::{document::Document, search::TrustFiles};

const FILE_NAME: &str = "trust.toml";

const DOCUMENT: Document = Document { what: "trust file", most: 1 << 20, code: code::PLUGIN_TRUST };

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    /// Whether plugins that nobody vouches for are loaded.
    allow_unsigned: Option<bool>,
}

/// What all trust files together say.
pub(super) struct Policy {
    unsigned: Unsigned,
    /// Why a trust file cannot be used: without it, only what is built in is loaded.
    problem: Option<Error>,
}

/// Whether plugins that nobody vouches for are loaded.
enum Unsigned {
    Allowed,
    /// Nothing allows them.
    Refused,
    /// This file refuses them, whatever the command line says.
    Forbidden(PathBuf),
}

impl Policy {
    /// Reads the trust files.
    pub(super) fn read(files: &TrustFiles) -> Self {
        let default = if files.allow_unsigned { Unsigned::Allowed } else { Unsigned::Refused };
        let mut policy = Self { unsigned: default, problem: None };
        // The first one has the last word.
        for folder in files.folders.iter().rev() {
            let file = folder.join(FILE_NAME);
            match read(&file) {
                Ok(found) => policy.add(&file, &found),
                Err(error) => policy.problem = Some(error),
            }
        }
        policy
    }

    fn add(&mut self, file: &std::path::Path, found: &TrustFile) {
        match found.allow_unsigned {
            Some(true) => self.unsigned = Unsigned::Allowed,
            Some(false) => self.unsigned = Unsigned::Forbidden(file.to_owned()),
            None => {}
        }
    }

    /// Why a trust file cannot be used.
    pub(super) fn problem(&self) -> Option<&Error> {
        self.problem.as_ref()
    }

    /// Refuses a plugin that nobody vouches for, unless such plugins are allowed.
    ///
    /// # Errors
    /// `PLUGIN-UNSIGNED`, with the flag and the line that allow it; `PLUGIN-TRUST` while a trust file
    /// cannot be read.
    pub(super) fn ensure_unsigned_allowed(&self) -> Result<()> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let error =
            Error::denied("it is neither signed nor pinned").with_code(code::PLUGIN_UNSIGNED);
        match &self.unsigned {
            Unsigned::Allowed => Ok(()),
            Unsigned::Refused => Err(error.hint(
                "if you trust it, add --allow-unsigned-plugins, or `allow_unsigned = true` to \
                 ~/.config/transload/trust.toml",
            )),
            Unsigned::Forbidden(file) => {
                let file = file.display();
                Err(error.hint(format!("`allow_unsigned = false` in {file} forbids to load it")))
            }
        }
    }
}

fn read(file: &std::path::Path) -> Result<TrustFile> {
    match DOCUMENT.read(file)? {
        Some(text) => DOCUMENT.parse(&text, file),
        None => Ok(TrustFile::default()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What the files of an administrator and of a user decide together.
    #[test]
    fn the_first_file_has_the_last_word() {
        let (yes, no) = ("allow_unsigned = true\n", "allow_unsigned = false\n");
        for (system, user, flag, allowed) in [
            (None, None, false, false),
            (None, None, true, true),
            (None, Some(yes), false, true),
            (None, Some(no), true, false),
            (Some(no), Some(yes), true, false),
            (Some(yes), Some(no), false, true),
            (Some("allow_unsigned = 1\n"), Some(yes), true, false),
            (Some(""), Some(yes), false, true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let folders = ["system", "user"].map(|name| folder.path().join(name)).to_vec();
            for (place, text) in folders.iter().zip([system, user]) {
                fs::create_dir(place).unwrap();
                text.iter().for_each(|text| fs::write(place.join(FILE_NAME), text).unwrap());
            }
            let policy = Policy::read(&TrustFiles { folders, allow_unsigned: flag });
            let ended = policy.ensure_unsigned_allowed();
            assert_eq!(ended.is_ok(), allowed, "{system:?} {user:?} {flag}: {ended:?}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_line_and_column() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), "\n  allow_all = true\n").unwrap();
        let folders = vec![folder.path().to_owned()];
        let policy = Policy::read(&TrustFiles { folders, allow_unsigned: true });
        let problem = policy.problem().unwrap();
        assert_eq!(problem.code, code::PLUGIN_TRUST);
        assert!(problem.message.contains("unknown field `allow_all`"), "{problem}");
        assert!(problem.place.as_deref().unwrap().ends_with("trust.toml:2:3"), "{problem}");
    }
}
