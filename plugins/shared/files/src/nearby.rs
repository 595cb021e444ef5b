//! What a message says of a name that is not there: the nearest of the names beside it, or all.

use transload_plugin_api::nearest::nearest;

/// The most names that are listed.
const NAMED: usize = 10;

/// A hint by the visible names that lie beside the wanted one; `None` if there are none.
pub fn names_beside(wanted: &str, mut names: Vec<String>) -> Option<String> {
    names.sort();
    names.dedup();
    if let Some(near) = nearest(wanted, names.iter().map(String::as_str)) {
        return Some(format!("did you mean `{near}`?"));
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("its folder has: {}", names.join(", "))),
        (false, more) => Some(format!("its folder has: {} and {more} more", names.join(", "))),
    }
}
