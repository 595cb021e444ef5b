//! Finds a plugin by name and role, or explains why it is missing.

use transload_plugin_api::{Error, Result, code};

use super::{
    entry::{Entry, Status},
    role::Role,
};
use crate::nearest::nearest;

/// The library of that name, if it has the role.
///
/// # Errors
/// [`ErrorKind::NotFound`] with the nearest name and all names; the reason, if a library of that name
/// was refused; [`ErrorKind::Unsupported`] if it does not have the role.
pub(super) fn find<'a>(entries: &'a [Entry], name: &str, role: Role) -> Result<&'a Entry> {
    let entry = usable(entries, name)?;
    if entry.roles.contains(&role) {
        return Ok(entry);
    }
    let message = format!("plugin `{name}` has no {role}, only: {}", Role::words(&entry.roles));
    Err(Error::unsupported(message).with_code(code::PLUGIN_ROLE))
}

/// The library of that name, whatever its roles.
///
/// # Errors
/// As for [`find`], but for the role.
pub(super) fn usable<'a>(entries: &'a [Entry], name: &str) -> Result<&'a Entry> {
    let found = entries.iter().find(|entry| entry.is_ok() && entry.name == name);
    found.ok_or_else(|| refused(entries, name).unwrap_or_else(|| unknown(entries, name)))
}

/// Why a library of that name was refused, if there is one.
fn refused(entries: &[Entry], name: &str) -> Option<Error> {
    entries.iter().filter(|entry| entry.name == name).find_map(|entry| match &entry.status {
        Status::Refused { reason } => {
            let mut error = reason.clone();
            error.message = format!("plugin `{name}` was refused: {}", reason.message);
            Some(error.at(entry.path.display().to_string()))
        }
        _ => None,
    })
}

/// The error for a name that no library has, with the usable names.
fn unknown(entries: &[Entry], name: &str) -> Error {
    let usable = entries.iter().filter(|entry| entry.is_ok());
    let names: Vec<&str> = usable.map(|entry| entry.name.as_str()).collect();
    let message = format!("there is no plugin `{name}`");
    let mut error = Error::not_found(message).with_code(code::PLUGIN_UNKNOWN);
    // The file's name may have nothing to do with the plugin's.
    let refused = entries.iter().filter(|entry| matches!(entry.status, Status::Refused { .. }));
    match refused.count() {
        0 => {}
        1 => error.causes.push("1 library was refused: see `transload plugin list`".to_owned()),
        many => {
            error
                .causes
                .push(format!("{many} libraries were refused: see `transload plugin list`"));
        }
    }
    if names.is_empty() {
        return error.hint("no plugin was found; see `transload plugin list`");
    }
    let all = names.join(", ");
    match nearest(name, names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`? There are: {all}")),
        None => error.hint(format!("there are: {all}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn entries() -> Vec<Entry> {
        let entry = |name: &str, roles: &[Role]| Entry {
            name: name.to_owned(),
            roles: roles.to_vec(),
            ..Entry::unknown(Path::new("/p/x.so"))
        };
        let refusal = Error::denied("sha256 differs").with_code(code::PLUGIN_HASH);
        vec![
            entry("sqlite", &[Role::Reader, Role::Writer]),
            entry("generator", &[Role::Reader]),
            entry("oracle", &[]).refused(refusal),
        ]
    }

    #[test]
    fn what_is_there_is_found() {
        let entries = entries();
        assert_eq!(find(&entries, "sqlite", Role::Writer).unwrap().name, "sqlite");
    }

    #[test]
    fn what_is_not_there_is_explained() {
        let entries = entries();
        for (name, role, message, hint) in [
            (
                "sqltie",
                Role::Reader,
                "there is no plugin `sqltie`",
                Some("did you mean `sqlite`? There are: sqlite, generator"),
            ),
            (
                "gen",
                Role::Reader,
                "there is no plugin `gen`",
                Some("did you mean `generator`? There are: sqlite, generator"),
            ),
            (
                "kafka",
                Role::Writer,
                "there is no plugin `kafka`",
                Some("there are: sqlite, generator"),
            ),
            ("generator", Role::Writer, "plugin `generator` has no writer, only: reader", None),
            ("oracle", Role::Reader, "plugin `oracle` was refused: sha256 differs", None),
        ] {
            let error = find(&entries, name, role).unwrap_err();
            assert_eq!((error.message.as_str(), error.hint.as_deref()), (message, hint));
            assert!(error.code.starts_with("PLUGIN-"), "{}", error.code);
        }
        assert!(usable(&entries, "generator").is_ok());
        let nothing = find(&[], "file", Role::Reader).unwrap_err();
        assert!(nothing.hint.unwrap().contains("plugin list"));
    }
}
