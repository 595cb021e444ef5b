//! A plugin for the tests of the boundary: does nothing useful, and causes faults on request. Its
//! traits are implemented in `plugin`, so that the same code also runs natively in the tests.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod at_load;
mod evil;
mod plugin;

transload_plugin_api::export_plugin!(plugin::SamplePlugin);
