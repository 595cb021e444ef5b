//! The conformance suite on the file plugin as a library, once for each format.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed helper is a failed test")]

#[allow(dead_code, reason = "shared with the plugin's own tests, which use all of it")]
#[path = "../../plugins/file/tests/file/host.rs"]
mod host;
#[path = "../../plugins/file/tests/file/subject.rs"]
mod subject;

use subject::Files;
use transload_plugin_api::testing;

fn conforms(format: &'static str, layout: &'static str) {
    testing::all(&*transload_tests::load("file"), &Files { format, layout });
}

#[test]
fn csv_conforms_through_its_library() {
    conforms("csv", "file");
}

#[test]
fn json_lines_conform_through_their_library() {
    conforms("jsonl", "file");
}

#[test]
fn json_arrays_in_a_folder_conform_through_their_library() {
    conforms("json", "folder");
}
