//! The conformance suite on the MySQL plugin as a library.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

#[path = "../../plugins/mysql/tests/support/mod.rs"]
mod support;

use support::subject::MysqlServer;
use transload_plugin_api::testing;

#[test]
fn mysql_conforms_through_its_library_on_mariadb() {
    testing::all(&*transload_tests::load("mysql"), &MysqlServer::mariadb());
}

#[test]
fn mysql_conforms_through_its_library_on_mysql() {
    testing::all(&*transload_tests::load("mysql"), &MysqlServer::mysql());
}
