//! The conformance suite on the plugin, with the driver of SQLite.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail as loudly as tests

mod support;

use support::{Driver, subject::Adbc};
use transload_plugin_adbc::AdbcPlugin;
use transload_plugin_api::testing;

/// All cases but one, which compares the columns of an empty table: SQLite's driver tells types of
/// rows alone. The driver of DuckDB is tested through the library.
#[test]
fn conforms_with_the_driver_of_sqlite() {
    let subject = Adbc(Driver::Sqlite);
    let cases = testing::cases(&AdbcPlugin, &subject);
    let (left_out, tested): (Vec<_>, Vec<_>) =
        cases.iter().partition(|case| case.name == "check, inspect and discover");
    assert_eq!(left_out.len(), 1);
    tested.iter().for_each(|case| case.run());
}
