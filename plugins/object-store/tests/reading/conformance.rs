//! The conformance suite on the reader, on every kind of store.

use transload_plugin_api::testing;
use transload_plugin_object_store::ObjectStorePlugin;

use transload_tests_buckets::Bucket;

use crate::subject::Objects;

#[test]
fn csv_in_s3_conforms() {
    testing::reader::all(&ObjectStorePlugin, &Objects { bucket: Bucket::s3, format: "csv" });
}

#[test]
fn json_lines_in_azure_conform() {
    testing::reader::all(&ObjectStorePlugin, &Objects { bucket: Bucket::azure, format: "jsonl" });
}

#[test]
fn csv_in_a_folder_conforms() {
    testing::reader::all(&ObjectStorePlugin, &Objects { bucket: Bucket::folder, format: "csv" });
}

#[test]
fn csv_in_google_conforms() {
    testing::reader::all(&ObjectStorePlugin, &Objects { bucket: Bucket::google, format: "csv" });
}
