//! The pages of a listing as in S3: keys in byte order, the keys of a folder as one common prefix,
//! and a token to continue after.

use std::collections::BTreeSet;

/// One page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page<'a> {
    pub(crate) keys: Vec<&'a str>,
    pub(crate) prefixes: BTreeSet<String>,
    /// Where the next page continues; `None` on the last page.
    pub(crate) next: Option<String>,
}

/// The page of at most `most` keys and prefixes that come after `after`. Keys must be sorted.
pub(crate) fn page<'a>(
    keys: impl Iterator<Item = &'a str>,
    prefix: &str,
    delimiter: &str,
    after: &str,
    most: usize,
) -> Page<'a> {
    let mut page = Page::default();
    let mut last = String::new();
    for key in keys.filter(|key| key.starts_with(prefix)) {
        let shown = shown(key, prefix, delimiter);
        if shown <= after || page.prefixes.contains(shown) {
            continue;
        }
        if page.keys.len() + page.prefixes.len() >= most {
            page.next = Some(last);
            break;
        }
        last = shown.to_owned();
        match shown.len() == key.len() {
            true => page.keys.push(key),
            false => drop(page.prefixes.insert(shown.to_owned())),
        }
    }
    page
}

/// The key itself, or the common prefix shown for it.
fn shown<'a>(key: &'a str, prefix: &str, delimiter: &str) -> &'a str {
    let rest = &key[prefix.len()..];
    match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
        Some(at) => &key[..prefix.len() + at + delimiter.len()],
        None => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 6] = ["a", "d-", "d/1", "d/2", "d0", "e/1"];

    #[test]
    fn pages_follow_one_another_without_gaps() {
        for (delimiter, expected) in [("", &KEYS[..]), ("/", &["a", "d-", "d/", "d0", "e/"])] {
            for most in 1..7 {
                let (mut found, mut after) = (Vec::new(), String::new());
                loop {
                    let page = page(KEYS.into_iter(), "", delimiter, &after, most);
                    assert!(page.keys.len() + page.prefixes.len() <= most);
                    found.extend(page.keys.iter().map(|key| (*key).to_owned()));
                    found.extend(page.prefixes);
                    let Some(next) = page.next else { break };
                    after = next;
                }
                found.sort();
                assert_eq!(found, expected, "{delimiter:?}, {most} on a page");
            }
        }
    }

    #[test]
    fn a_prefix_is_no_folder() {
        let keys = |prefix| page(KEYS.into_iter(), prefix, "/", "", 10);
        assert_eq!(keys("d").keys, ["d-", "d0"]);
        assert_eq!(keys("d/").keys, ["d/1", "d/2"]);
        assert_eq!(keys("x"), Page::default());
    }
}
