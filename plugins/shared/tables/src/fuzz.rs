//! Names, addresses and positions of any content: they read back as what they were, or are refused.

use transload_plugin_api::{Options, Position};
use transload_tests_fuzz::fuzz;

use crate::{
    Dialect as _, TableName,
    address::{Address, AddressRules},
    dialect::tests::Standard,
    key::{decode_key, encode_key},
    pattern,
    split::KeySplit,
};

/// The one identifier that a quoted text stands for, by a reading of its own.
fn parse_back(quoted: &str, quote: char) -> Option<String> {
    let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut letters = inner.chars();
    let mut name = String::new();
    while let Some(letter) = letters.next() {
        if letter == quote && letters.next() != Some(quote) {
            return None;
        }
        name.push(letter);
    }
    Some(name)
}

#[test]
fn identifier_quote() {
    let words = ["\"", "`", "\"\"", "\\", "'", ";", "--", "/*", "\0", "."];
    fuzz("identifier_quote", ["order", "a\"b", "x; DROP TABLE y --"], &words, |input| {
        let name = std::str::from_utf8(input).ok()?;
        let quoted = Standard.quoted(name);
        assert_eq!(parse_back(&quoted, Standard.quote()).as_deref(), Some(name));
        let table = TableName { schema: Some("s".to_owned()), table: name.to_owned() };
        let derived = Standard.derived_name(name, "stage");
        assert!(Standard.passed_limit(&derived).is_none(), "`{derived}` is too long");
        if !name.is_empty() {
            assert_eq!(table.to_string().parse::<TableName>().ok(), Some(table));
        }
        Some(derived.len())
    });
}

#[test]
fn table_names() {
    let seeds = ["shop.orders", "\"a.b\".`c`", "[x]]y].z", "t_[00-15]", "s_[0-3].t_[7-9]"];
    let words = ["\"", "`", "[", "]", ".", "-", "[0-1]", "[0-18446744073709551615]"];
    fuzz("table_names", seeds, &words, |input| {
        let text = std::str::from_utf8(input).ok()?;
        let name = text.parse::<TableName>().ok();
        if let Some(name) = &name {
            assert_eq!(name.to_string().parse::<TableName>().ok().as_ref(), Some(name));
        }
        Some((name.is_some(), pattern::expand(text).map(|names| names.len()).ok()))
    });
}

#[test]
fn url_policy() {
    let rules = AddressRules {
        schemes: &["db"],
        port: 77,
        database_is_user: true,
        socket: |host, port| format!("{host}/{port}").into(),
    };
    let seeds = ["db://me@db.example:6000/shop", "db://m%40e@[::1]:6000/a%2Fb", "db:///x"];
    let words = ["db://", "@", ":", "/", "%2F", "%", "[", "]", "?", "#", "65536", "\0", "\n"];
    fuzz("url_policy", seeds, &words, |input| {
        let text = std::str::from_utf8(input).ok()?;
        let address = Address::parse(&Options::from_pairs([("url", text)]), &rules).ok()?;
        assert!(!address.host.contains('\0') && !address.user.contains('\0'));
        assert!(!address.database.contains('\0'));
        Some((address.port, address.host.len(), address.user.len(), address.database.len()))
    });
}

#[test]
fn position_codec() {
    let key = |text: &[u8]| [&b"t"[..], &(text.len() as u64).to_be_bytes(), text].concat();
    let seeds = [key(b"a"), [key(b""), key("é".as_bytes())].concat()];
    fuzz("position_codec", seeds, &["i", "r", "t", "b", "\0\0\0\0\0\0\0\x10"], |input| {
        let values = decode_key(input);
        if let Some(values) = &values {
            assert_eq!(encode_key(values), input);
        }
        let split = KeySplit::whole(vec!["id".to_owned()]);
        let after = split.key_after(&Position(input.to_vec())).map(|key| key.len()).ok();
        Some((values.map(|values| values.len()), after))
    });
}
