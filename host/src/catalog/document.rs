//! The small TOML files of the catalog: manifests, `trust.toml`, `plugins.lock`. They are read up to a
//! limit, only if no one else can write them, and a mistake is reported with line and column.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde::de::DeserializeOwned;
use transload_plugin_api::{Error, Result};

use super::access;

/// One kind of such files.
pub(super) struct Document {
    /// Its name in messages.
    pub(super) what: &'static str,
    /// Longest text, in bytes.
    pub(super) most: u64,
    /// The code of a file that cannot be read.
    pub(super) code: &'static str,
}

impl Document {
    /// The text of a file; `None` if it does not exist.
    ///
    /// # Errors
    /// `PLUGIN-ACCESS` if other users can change it; otherwise of this kind's code.
    pub(super) fn read(&self, file: &Path) -> Result<Option<String>> {
        let text = match self.text(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text,
        };
        let own = access::ensure_own(file);
        let text = own.and_then(|()| text.map_err(|error| self.unreadable(&error.to_string())));
        text.map(Some).map_err(|error| error.at(file.display().to_string()))
    }

    /// Only a regular file is opened, because a pipe would wait for its other end.
    fn text(&self, file: &Path) -> io::Result<String> {
        if !fs::metadata(file)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut text = String::new();
        fs::File::open(file)?.take(self.most + 1).read_to_string(&mut text)?;
        self.ensure_short(text.len()).map(|()| text)
    }

    fn ensure_short(&self, length: usize) -> io::Result<()> {
        if length as u64 <= self.most {
            return Ok(());
        }
        let most = self.most >> 10;
        let most =
            if most < 1 << 10 { format!("{most} KiB") } else { format!("{} MiB", most >> 10) };
        Err(io::Error::other(format!("longer than {most}")))
    }

    /// What a text says. The place of an error is `FILE:LINE:COLUMN`.
    ///
    /// # Errors
    /// For anything that is not TOML, and for keys and values that are not expected.
    pub(super) fn parse<T: DeserializeOwned>(&self, text: &str, file: &Path) -> Result<T> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let place = place(text, file, error.span().map_or(0, |span| span.start));
            self.unreadable(error.message()).at(place)
        })
    }

    fn unreadable(&self, why: &str) -> Error {
        self.wrong(format!("cannot read the {}: {why}", self.what))
    }

    /// The error for a file that says what it may not say.
    pub(super) fn wrong(&self, message: String) -> Error {
        Error::options(message).with_code(self.code)
    }
}

/// `FILE:LINE:COLUMN` of an offset in bytes.
pub(crate) fn place(text: &str, file: &Path, offset: usize) -> String {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |begun| begun.chars().count()) + 1;
    format!("{}:{line}:{column}", file.display())
}
