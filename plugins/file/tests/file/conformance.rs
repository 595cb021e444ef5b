//! The conformance suite on the plugin, once for each format.

use transload_plugin_api::testing;
use transload_plugin_file::FilePlugin;

use crate::subject::Files;

#[test]
fn csv_conforms() {
    testing::all(&FilePlugin, &Files { format: "csv", layout: "file" });
}

#[test]
fn json_lines_conform() {
    testing::all(&FilePlugin, &Files { format: "jsonl", layout: "file" });
}

#[test]
fn json_arrays_in_a_folder_conform() {
    testing::all(&FilePlugin, &Files { format: "json", layout: "folder" });
}

#[test]
fn parquet_conforms() {
    testing::all(&FilePlugin, &Files { format: "parquet", layout: "file" });
    testing::all(&FilePlugin, &Files { format: "parquet", layout: "folder" });
}
