//! Manifests and libraries of any content: refused, or read, before anything is loaded.

use std::{fs::File, io::Write as _};

use transload_tests_fuzz::fuzz;

use super::{elf, manifest};

#[test]
fn manifest_toml() {
    let seeds = ["[[plugin]]\nname = \"file\"\nversion = \"0.1.0\"\nroles = [\"reader\"]\n\
                  library = \"libfile.so\"\nabi = \"1.1\"\nsha256 = \"00\"\n"];
    let words =
        ["[[plugin]]", "name", "roles", "\"reader\"", "../", "/", "=", "\"", "\n", "\\u0000"];
    fuzz("manifest_toml", seeds, &words, |input| {
        let text = std::str::from_utf8(input).ok()?;
        let listings = manifest::parse(text, std::path::Path::new("m")).ok()?;
        for listing in &listings {
            assert!(!listing.library.contains('/'));
        }
        Some(listings.len())
    });
}

/// The smallest shared library that the checks read to their end: headers, no root symbol.
fn library() -> Vec<u8> {
    let bytes = std::fs::read(std::env::current_exe().expect("the test's own path"));
    let mut bytes = bytes.expect("the test's own program");
    bytes.truncate(16 << 10);
    bytes
}

#[test]
fn elf_check() {
    let header_alone = library()[..64].to_vec();
    fuzz(
        "elf_check",
        [library(), header_alone],
        &["\x7fELF", "\x03\0\x3e\0", "\0\0\0\0"],
        |input| {
            let mut file = tempfile::tempfile().expect("a temporary file");
            file.write_all(input).expect("a temporary file");
            check(file)
        },
    );
}

fn check(mut file: File) -> Result<(), String> {
    std::io::Seek::rewind(&mut file).expect("a temporary file");
    elf::ensure_plugin(&file).map_err(|error| error.message)
}
