//! Names of any content: patterns and partition folders.

use transload_tests_fuzz::fuzz;

use crate::{PartitionFilter, PartitionValue, Pattern, literal_prefix};

/// The input as two texts, around its first line end.
fn two_texts(input: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(input).ok()?.split_once('\n')
}

#[test]
fn patterns() {
    let seeds =
        ["data/*.csv\ndata/a.csv", "**/x-[0-9]?.[!a]\na/b/x-1y.z", "*a*a*a*b\naaaaaaaaaaaa"];
    fuzz("patterns", seeds, &["*", "**", "?", "[", "]", "!", "-", "/", "a"], |input| {
        let (pattern, name) = two_texts(input)?;
        let parsed = Pattern::parse(pattern).ok()?;
        let matches = parsed.matches(name);
        if matches {
            assert!(name.starts_with(literal_prefix(pattern)));
            if let Some((folder, _)) = name.rsplit_once('/') {
                assert!(parsed.may_match_below(folder), "`{folder}` holds a match");
            }
        }
        Some(matches)
    });
}

#[test]
fn partitions() {
    let seeds = ["day=2026-11-21\nday >= '2026-01-01'", "a%2Fb=%C3%A9\na%2Fb != \"x\"", "n=7\nn<8"];
    let words = ["=", "!=", "<=", "%", "%00", "'", "\"", "__HIVE_DEFAULT_PARTITION__"];
    fuzz("partitions", seeds, &words, |input| {
        let (folder, filter) = two_texts(input)?;
        let value = PartitionValue::parse(folder);
        let filter = PartitionFilter::parse(&[filter.to_owned()]).ok();
        let admits = value.as_ref().zip(filter).map(|(value, filter)| filter.admits(value));
        Some((value.is_some(), admits))
    });
}
