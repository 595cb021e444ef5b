//! Suggests the most similar name, for messages about an unknown one: the same rule for keys,
//! plugins, columns and tables.

/// The name that was most likely meant: case, `_` and `-` are ignored, and at most a third of the
/// letters may differ, so none of one or two; otherwise the only name that begins with `name`.
///
/// # Examples
/// ```
/// use transload_plugin_api::nearest::nearest;
///
/// assert_eq!(nearest("custmers", ["orders", "customers"]), Some("customers"));
/// assert_eq!(nearest("payments", ["orders", "customers"]), None);
/// ```
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-', ' '], "");
    let wanted = plain(name);
    let limit = wanted.chars().count() / 3;
    let names: Vec<_> = names.into_iter().map(|name| (plain(name), name)).collect();
    let near = names
        .iter()
        .map(|(plain, name)| (strsim::damerau_levenshtein(&wanted, plain), *name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance);
    let mut begun = names.iter().filter(|(plain, _)| plain.starts_with(&wanted));
    let mut only_begun = || begun.next().filter(|_| wanted.len() > 2 && begun.next().is_none());
    near.or_else(|| only_begun().map(|(_, name)| (0, *name))).map(|(_, name)| name)
}

/// A hint: the nearest name, otherwise `lead` and all names.
///
/// # Examples
/// ```
/// use transload_plugin_api::nearest::advice;
///
/// let names = ["id", "amount"].into_iter();
/// assert_eq!(advice("amont", names.clone(), "it has"), "did you mean `amount`?");
/// assert_eq!(advice("x", names, "it has"), "it has `id`, `amount`");
/// ```
pub fn advice<'a>(wrong: &str, names: impl Iterator<Item = &'a str> + Clone, lead: &str) -> String {
    if let Some(name) = nearest(wrong, names.clone()) {
        return format!("did you mean `{name}`?");
    }
    let all: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    format!("{lead} {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_only_when_close() {
        let names = ["write_mode", "connection", "key", "table"];
        for (given, expected) in [
            ("writemode", Some("write_mode")),
            ("writerMode", Some("write_mode")),
            ("conection", Some("connection")),
            ("kye", Some("key")),
            ("tabel", Some("table")),
            ("delimiter", None),
            ("xyz", None),
            ("conn", Some("connection")),
            ("", None),
            ("d", None),
            ("ke", None),
        ] {
            assert_eq!(nearest(given, names), expected, "{given}");
        }
    }
}
