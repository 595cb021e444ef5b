//! The `transload` program.

use std::{env, path::Path, process::ExitCode};

use transload::catalog::{PROBE_ARGUMENT, probe_main};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [hidden, path] if hidden == PROBE_ARGUMENT => ExitCode::from(probe_main(Path::new(path))),
        _ => ExitCode::from(2),
    }
}
