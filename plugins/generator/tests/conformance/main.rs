//! The conformance suite on the generator itself, and on generators with one defect each, which it
//! must find.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end like that")]

mod defects;
mod subject;

use transload_plugin_api::{
    Plugin,
    testing::{self, Subject},
};
use transload_plugin_generator::GeneratorPlugin;

use subject::Generator;

#[test]
fn the_generator_conforms() {
    testing::all(
        &GeneratorPlugin,
        &Generator { plugin: &GeneratorPlugin, reference: &GeneratorPlugin },
    );
}

/// A part of the suite that suffices to find a defect.
type Part = fn(&dyn Plugin, &dyn Subject);

#[test]
fn every_defect_is_found() {
    let reading = defects::READING.iter().map(|it| (it, testing::all as Part));
    let writing = defects::WRITING.iter().map(|it| (it, testing::writer::all as Part));
    for ((defect, words), part) in reading.chain(writing) {
        let broken = defects::Broken { defect: *defect };
        let caught = std::panic::catch_unwind(|| {
            part(&broken, &Generator { plugin: &broken, reference: &GeneratorPlugin })
        });
        let panic = caught.err().unwrap_or_else(|| panic!("{defect:?} was not found"));
        let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = panic.downcast_ref::<String>().cloned().or(literal).unwrap();
        assert!(message.contains(words), "{defect:?} was found with another message: {message}");
    }
}
