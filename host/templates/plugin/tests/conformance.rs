//! The rules for all plugins, on the plugin itself. `transload plugin test` does the same with the
//! built library.

use {{library}}::ThePlugin;
use transload_plugin_api::{Host, Options, Plugin as _, testing};

#[test]
fn what_it_declares_is_sound() {
    testing::descriptor::all(&ThePlugin);
}

#[test]
fn a_connection_can_be_tested_without_a_job() {
    let folder = std::env::temp_dir().display().to_string();
    let options = || Options::from_pairs([("path", folder.as_str())]);
    // begin reader
    let findings = ThePlugin.reader(options(), Host::detached()).and_then(|reader| reader.check());
    assert!(findings.is_ok_and(|findings| findings.iter().all(|finding| finding.ok)));
    // end reader
    // begin writer
    let findings = ThePlugin.writer(options(), Host::detached()).and_then(|writer| writer.check());
    assert!(findings.is_ok_and(|findings| findings.iter().all(|finding| finding.ok)));
    // end writer
}
