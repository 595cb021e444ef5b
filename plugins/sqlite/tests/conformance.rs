//! The conformance suite on the plugin.

#![allow(clippy::unwrap_used)] // helpers of tests fail as loudly as tests

mod support;

use support::subject::Sqlite;
use transload_plugin_api::testing;
use transload_plugin_sqlite::SqlitePlugin;

#[test]
fn conforms() {
    testing::all(&SqlitePlugin, &Sqlite);
}
