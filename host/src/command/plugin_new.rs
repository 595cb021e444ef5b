//! `plugin new`: writes a crate to start from. Its files are in `templates/plugin`; a reader or a writer
//! that is not wanted is left out of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Ended, Session};
use crate::{Error, Exit, Result, cli::PluginNewArgs};

/// The files of the crate.
const FILES: [(&str, &str); 9] = [
    ("Cargo.toml", include_str!("../../templates/plugin/Cargo.toml.txt")),
    ("README.md", include_str!("../../templates/plugin/README.md")),
    ("plugin-manifest.toml", include_str!("../../templates/plugin/plugin-manifest.toml")),
    ("test.toml", include_str!("../../templates/plugin/test.toml")),
    ("src/lib.rs", include_str!("../../templates/plugin/src/lib.rs")),
    ("src/store.rs", include_str!("../../templates/plugin/src/store.rs")),
    ("src/reader.rs", include_str!("../../templates/plugin/src/reader.rs")),
    ("src/writer.rs", include_str!("../../templates/plugin/src/writer.rs")),
    ("tests/conformance.rs", include_str!("../../templates/plugin/tests/conformance.rs")),
];

/// Writes the crate.
pub(super) fn new(session: &Session, args: &PluginNewArgs) -> Ended {
    let name = &args.name;
    let plain = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '-');
    if !name.starts_with(|letter: char| letter.is_ascii_lowercase()) || !name.chars().all(plain) {
        let message = format!("`{name}` is no name for a plugin");
        let hint = "lower case letters, digits and `-`, a letter first";
        return Err(Error::new(Exit::Usage, message).hint(hint).into());
    }
    // Neither is both.
    let both = args.reader == args.writer;
    let (reads, writes) = (both || args.reader, both || args.writer);
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(name));
    let api = match &args.api {
        Some(path) => format!("path = {:?}", absolute(path)?),
        None => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
    };
    let roles = match (reads, writes) {
        (true, true) => "\"reader\", \"writer\"",
        (true, false) => "\"reader\"",
        _ => "\"writer\"",
    };
    let words = [
        ("{{name}}", name.clone()),
        ("{{NAME}}", name.to_uppercase()),
        ("{{crate}}", format!("transload-plugin-{name}")),
        ("{{library}}", format!("transload_plugin_{}", name.replace('-', "_"))),
        ("{{api}}", api),
        ("{{roles}}", roles.to_owned()),
    ];
    create(&folder)?;
    for (file, text) in FILES {
        let wanted = match file {
            "src/reader.rs" => reads,
            "src/writer.rs" => writes,
            _ => true,
        };
        if wanted {
            let text = words.iter().fold(text.to_owned(), |text, (w, v)| text.replace(w, v));
            write(
                &folder.join(file),
                &without(&without(&text, "reader", reads), "writer", writes),
            )?;
        }
    }
    let path = folder.display();
    session.put(&format!("created {path}: see {path}/README.md"));
    Ok(Exit::Done)
}

/// The text without the lines between `begin` and `end` of a side that is not wanted, and without
/// these marks.
fn without(text: &str, side: &str, wanted: bool) -> String {
    let (begin, end) = (format!("begin {side}"), format!("end {side}"));
    let (mut kept, mut inside) = (String::new(), false);
    for line in text.lines() {
        let mark = line.trim().trim_start_matches(['/', '#', '<', '!', '-', ' ']);
        let mark = mark.trim_end_matches(['>', '-', ' ']);
        if mark == begin || mark == end {
            inside = mark == begin;
        } else if wanted || !inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| failed(path, &error))
}

fn create(folder: &Path) -> Result<()> {
    if folder.exists() {
        let message = format!("{} exists", folder.display());
        return Err(Error::new(Exit::Usage, message).hint("name another folder: --dir DIR"));
    }
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).and_then(|()| fs::write(path, text)).map_err(|e| failed(path, &e))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Exit::Failed, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn a_side_is_left_out_with_its_marks() {
        let text = "a\n// begin reader\nr\n// end reader\nb\n";
        assert_eq!(without(text, "reader", true), "a\nr\nb\n");
        assert_eq!(without(text, "reader", false), "a\nb\n");
        assert_eq!(without("<!-- begin writer -->\nw\n<!-- end writer -->\n", "writer", false), "");
    }
}
