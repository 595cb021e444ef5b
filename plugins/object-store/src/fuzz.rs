//! Any text as an address or a key: what is accepted names exactly one bucket and one object.

use transload_tests_fuzz::fuzz;

use crate::address::{Address, path_of};

#[test]
fn addresses() {
    let seeds = ["s3://bucket/prefix/", "file:///tmp/x", "az://container", "gs://b/a%20b/é"];
    let words = ["s3://", "//", "..", "/", "?", "#", "%2F", "@", ":", "\0", "\\"];
    fuzz("addresses", seeds, &words, |input| {
        let text = std::str::from_utf8(input).ok()?;
        if let Ok(path) = path_of(text) {
            assert_eq!(path.as_ref(), text);
            assert!(!text.split('/').any(|part| matches!(part, "" | "." | "..")));
        }
        let address = Address::parse(text).ok()?;
        let key = address.key("a/b");
        let name = address.name(&key);
        assert_eq!(address.key_of(&name), Some(key.as_str()), "{name}");
        Some((address.scheme.word(), key.len()))
    });
}
