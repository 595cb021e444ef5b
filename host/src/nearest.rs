//! The nearest of the names there are, for messages about one that is not.

/// The name that `wrong` was most likely meant to be, if one is near enough.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance =
        |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    let allowed = wrong.chars().count().max(3) / 3;
    names
        .map(|name| (distance(name), name))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// A hint: the nearest name, else all the names after `lead`.
pub(crate) fn advice<'a>(
    wrong: &str,
    names: impl Iterator<Item = &'a str> + Clone,
    lead: &str,
) -> String {
    if let Some(name) = nearest(wrong, names.clone()) {
        return format!("did you mean `{name}`?");
    }
    let all: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    format!("{lead} {}", all.join(", "))
}
