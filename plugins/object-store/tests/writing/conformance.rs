//! The conformance suite on the plugin, on every kind of store.

use transload_plugin_api::testing;
use transload_plugin_object_store::ObjectStorePlugin;
use transload_tests_buckets::Kind;

use crate::subject::Objects;

#[test]
fn csv_in_a_folder_conforms() {
    testing::all(&ObjectStorePlugin, &Objects { kind: Kind::Folder, format: "csv" });
}

#[test]
fn json_lines_in_s3_conform() {
    testing::all(&ObjectStorePlugin, &Objects { kind: Kind::S3, format: "jsonl" });
}

#[test]
fn parquet_in_s3_conforms() {
    testing::all(&ObjectStorePlugin, &Objects { kind: Kind::S3, format: "parquet" });
}

#[test]
fn parquet_in_azure_conforms() {
    testing::all(&ObjectStorePlugin, &Objects { kind: Kind::Azure, format: "parquet" });
}

#[test]
fn json_lines_in_google_conform() {
    testing::all(&ObjectStorePlugin, &Objects { kind: Kind::Google, format: "jsonl" });
}
