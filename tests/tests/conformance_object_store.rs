//! The conformance suite on the object store plugin's reader as a library.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed helper is a failed test")]

#[allow(dead_code, reason = "shared with the plugin's own tests, which use all of it")]
#[path = "../../plugins/object-store/tests/reading/place.rs"]
mod place;
#[path = "../../plugins/object-store/tests/reading/subject.rs"]
mod subject;

use place::Place;
use subject::Objects;
use transload_plugin_api::testing;

fn conforms(place: fn() -> Place, format: &'static str) {
    testing::reader::all(&*transload_tests::load("object-store"), &Objects { place, format });
}

#[test]
fn csv_in_s3_conforms_through_its_library() {
    conforms(Place::s3, "csv");
}

#[test]
fn json_lines_in_azure_conform_through_their_library() {
    conforms(Place::azure, "jsonl");
}

#[test]
fn csv_in_a_folder_conforms_through_its_library() {
    conforms(Place::file, "csv");
}
