//! The S3 server that all tests share: `transload-tests-s3 DIR` serves `DIR/data` on a free port of
//! 127.0.0.1, and writes the port into `DIR/port` once it accepts requests.

use std::path::PathBuf;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(folder), None) => transload_tests_s3::serve_forever(&PathBuf::from(folder)),
        _ => std::process::exit(2),
    }
}
