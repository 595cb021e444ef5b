//! The table of error codes against the sources and the reference: a code that is used is in the
//! table, a code in the table is used, and the reference shows the table as it is.
//! `TRANSLOAD_WRITE_DOCS=1 cargo test -p transload-tests --test codes` writes the reference anew.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use transload_plugin_api::code;

/// Texts in the sources that look like a code and are none.
const OTHERS: &[&str] = &["ACME-1", "AWS-HMAC", "ISO-8859-1", "REPEATABLE-READ"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The sources of the program and the plugins, without the table itself.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders: Vec<_> =
        ["host", "plugin-api", "plugins"].map(|name| root().join(name)).into();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path, text));
            }
        }
    }
    sources.retain(|(path, _)| !path.ends_with("plugin-api/src/code.rs"));
    assert!(sources.len() > 100, "only {} sources found", sources.len());
    sources
}

/// The string literals of a source that have the form of a code, such as `"FILE-CHANGED"`. Examples
/// in comments may have codes of their own.
fn literals(source: &str) -> impl Iterator<Item = &str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1)).filter(|text| {
        let Some((prefix, rest)) = text.split_once('-') else { return false };
        let upper = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase());
        let part = |part: &str| !part.is_empty() && upper(&part.replace(char::is_numeric, ""));
        prefix.len() > 1 && upper(prefix) && rest.split('-').all(part)
    })
}

fn table() -> String {
    let mut table = String::from("| code | meaning |\n|---|---|\n");
    for (code, meaning) in code::ALL {
        table += &format!("| `{code}` | {} |\n", meaning.trim().trim_end_matches('.'));
    }
    for (prefix, follows) in code::PREFIXES {
        table += &format!("| `{prefix}`... | {follows} |\n");
    }
    table
}

#[test]
fn every_code_in_the_sources_is_in_the_table() {
    let is_known = |text: &str| {
        code::ALL.iter().any(|(code, _)| *code == text)
            || code::PREFIXES.iter().any(|(prefix, _)| text.starts_with(prefix))
            || OTHERS.contains(&text)
    };
    let mut unknown = BTreeSet::new();
    for (path, source) in sources() {
        for text in literals(&source).filter(|text| !is_known(text)) {
            unknown.insert(format!("{}: {text}", path.display()));
        }
    }
    assert!(unknown.is_empty(), "add to plugin-api/src/code.rs: {unknown:#?}");
}

#[test]
fn every_code_in_the_table_is_used() {
    let sources = sources();
    for (code, _) in code::ALL {
        let (literal, constant) = (format!("\"{code}\""), code.replace('-', "_"));
        let used = |text: &str| text.contains(&literal) || text.contains(&constant);
        assert!(sources.iter().any(|(_, text)| used(text)), "`{code}` is not used");
    }
}

#[test]
fn the_table_is_sorted_and_its_meanings_are_sentences() {
    assert!(code::ALL.is_sorted_by(|one, two| one.0 < two.0));
    for (code, meaning) in code::ALL {
        assert!(meaning.trim().ends_with('.') && !meaning.contains('|'), "{code}: {meaning}");
    }
}

#[test]
fn the_reference_shows_the_table() {
    const BEGIN: &str = "<!-- error codes: written by tests/tests/codes.rs -->\n";
    const END: &str = "<!-- end of error codes -->";
    let path = root().join("docs/reference.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the beginning of the error codes");
    let (shown, after) = rest.split_once(END).expect("the end of the error codes");
    if std::env::var_os("TRANSLOAD_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
    } else {
        assert!(
            shown == table(),
            "docs/reference.md does not show plugin-api/src/code.rs: write it anew with \
             TRANSLOAD_WRITE_DOCS=1 cargo test -p transload-tests --test codes"
        );
    }
}
