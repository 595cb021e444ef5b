//! Who can change a file of the catalog: only root and the user that runs the program may, because a
//! library's code runs with that user's rights.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use transload_plugin_api::{Error, Result, code};

const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
/// In a folder with this bit, users can neither rename nor remove each other's files.
const STICKY: u32 = 0o1000;

/// Refuses a file that other users can change, by itself or by its folder. A link counts as the file
/// that it leads to.
///
/// # Errors
/// `PLUGIN-ACCESS`, with the command that repairs it.
pub(super) fn ensure_own(path: &Path) -> Result<()> {
    let lost = |error: io::Error| Error::from(error).with_code(code::PLUGIN_FILE);
    let file = fs::canonicalize(path).map_err(lost)?;
    let user = rustix::process::geteuid().as_raw();
    for place in [Some(file.as_path()), file.parent(), path.parent()].into_iter().flatten() {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        let metadata = fs::metadata(place).map_err(lost)?;
        let (mode, is_folder) = (metadata.permissions().mode(), metadata.is_dir());
        if let Some(problem) = problem(metadata.uid(), user, mode, is_folder) {
            return Err(refusal(place, &problem, metadata.uid(), user));
        }
    }
    Ok(())
}

/// The same for an open file or folder by itself.
///
/// # Errors
/// As for [`ensure_own`].
pub(super) fn ensure_own_open(file: &fs::File, path: &Path) -> Result<()> {
    let metadata = file.metadata().map_err(|error| {
        Error::from(error).with_code(code::PLUGIN_FILE).at(path.display().to_string())
    })?;
    let user = rustix::process::geteuid().as_raw();
    let (mode, is_folder) = (metadata.permissions().mode(), metadata.is_dir());
    match problem(metadata.uid(), user, mode, is_folder) {
        Some(problem) => Err(refusal(path, &problem, metadata.uid(), user)),
        None => Ok(()),
    }
}

/// Why a file or folder of this owner and mode is refused.
fn problem(owner: u32, user: u32, mode: u32, is_folder: bool) -> Option<String> {
    if owner != 0 && owner != user {
        return Some(format!("belongs to user {owner}, expected {user} or root"));
    }
    let is_sticky = is_folder && mode & STICKY != 0;
    let open = mode & GROUP_OR_OTHERS_WRITE != 0 && !is_sticky;
    open.then(|| format!("can be changed by other users (mode {:04o})", mode & 0o7777))
}

fn refusal(place: &Path, problem: &str, owner: u32, user: u32) -> Error {
    let shown = place.display();
    let hint = if owner == 0 || owner == user {
        format!("chmod go-w '{shown}'")
    } else if user == 0 {
        format!("if you trust it: chown root '{shown}'")
    } else {
        "if you trust it, copy the library to a folder of your own".to_owned()
    };
    Error::denied(format!("`{shown}` {problem}")).with_code(code::PLUGIN_ACCESS).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_and_root_may_change_a_library() {
        let open = |mode| Some(format!("can be changed by other users (mode {mode})"));
        let foreign = Some("belongs to user 7, expected 1000 or root".to_owned());
        for (owner, mode, is_folder, expected) in [
            (1000, 0o100_755, false, None),
            (0, 0o100_644, false, None),
            (7, 0o100_755, false, foreign.clone()),
            (7, 0o40_755, true, foreign),
            (1000, 0o100_775, false, open("0775")),
            (0, 0o100_646, false, open("0646")),
            (0, 0o40_777, true, open("0777")),
            (0, 0o41_777, true, None),
            (0, 0o101_777, false, open("1777")),
        ] {
            assert_eq!(problem(owner, 1000, mode, is_folder), expected, "{owner} {mode:o}");
        }
    }

    /// The hint is a command that lets the library load.
    #[test]
    fn the_hint_repairs_a_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lib x.so");
        fs::write(&file, "x").unwrap();
        for (place, mode) in [(file.as_path(), 0o666), (folder.path(), 0o777)] {
            fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
            let error = ensure_own(&file).unwrap_err();
            assert_eq!(error.code, code::PLUGIN_ACCESS);
            let hint = error.hint.unwrap();
            let status = std::process::Command::new("sh").args(["-c", &hint]).status().unwrap();
            assert!(status.success(), "{hint}");
            ensure_own(&file).unwrap();
        }
    }
}
