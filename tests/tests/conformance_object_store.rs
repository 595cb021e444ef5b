//! The conformance suite on the object store plugin as a library, once for each kind of store.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed helper is a failed test")]

#[allow(dead_code, reason = "shared with the plugin's own tests, which use all of it")]
#[path = "../../plugins/object-store/tests/writing/host.rs"]
mod host;
#[path = "../../plugins/object-store/tests/writing/subject.rs"]
mod subject;

use subject::Objects;
use transload_plugin_api::testing;
use transload_tests_buckets::Kind;

fn conforms(kind: Kind, format: &'static str) {
    testing::all(&*transload_tests::load("object-store"), &Objects { kind, format });
}

#[test]
fn parquet_in_s3_conforms_through_the_library() {
    conforms(Kind::S3, "parquet");
}

#[test]
fn json_lines_in_azure_conform_through_the_library() {
    conforms(Kind::Azure, "jsonl");
}

#[test]
fn csv_in_a_folder_conforms_through_the_library() {
    conforms(Kind::Folder, "csv");
}
