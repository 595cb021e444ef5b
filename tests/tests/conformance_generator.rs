//! The conformance suite on the generator as a library, with the generator itself for reference.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed helper is a failed test")]

#[path = "../../plugins/generator/tests/conformance/subject.rs"]
mod subject;

use subject::Generator;
use transload_plugin_api::testing;
use transload_plugin_generator::GeneratorPlugin;

#[test]
fn the_generator_conforms_through_its_library() {
    let plugin = transload_tests::load("generator");
    testing::all(&*plugin, &Generator { plugin: &*plugin, reference: &GeneratorPlugin });
}

/// Its tables live as long as a process, and each reader and writer has one of its own.
#[test]
fn the_generators_reader_conforms_in_a_process_of_its_own() {
    let plugin = transload_tests::load_isolated("generator");
    testing::reader::all(&*plugin, &Generator { plugin: &*plugin, reference: &GeneratorPlugin });
}
