//! The program and the libraries that the tests of the boundary load, built as they are now.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The workspace's folder.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `target/debug` or the like: where this test's own program lies, two folders up.
pub(crate) fn built() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().to_owned()
}

/// Runs cargo in a folder and shows what it said if it fails.
pub(crate) fn cargo(folder: &Path, arguments: &[&str]) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?} in {}:\n{said}", folder.display());
}

/// The program, which also probes. `cargo test -p` builds only its library, so this builds it.
pub(crate) fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let mut arguments = vec!["build", "--quiet", "-p", "transload", "--bin", "transload"];
        if !cfg!(debug_assertions) {
            arguments.push("--release");
        }
        cargo(workspace(), &arguments);
        built().join("transload")
    };
    PROGRAM.get_or_init(build).clone()
}
