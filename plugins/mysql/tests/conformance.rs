//! The conformance suite on the plugin, with real servers.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use support::subject::MysqlServer;
use transload_plugin_api::testing;
use transload_plugin_mysql::MysqlPlugin;

#[test]
fn conforms_on_mariadb() {
    testing::all(&MysqlPlugin, &MysqlServer::mariadb());
}

#[test]
fn conforms_on_mysql() {
    testing::all(&MysqlPlugin, &MysqlServer::mysql());
}
