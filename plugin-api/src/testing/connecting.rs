//! The requirements on `check`: it finds what is wrong and does not fail, it needs no option of a job,
//! and it shows no secret.

use super::{
    Side, Source, Subject, Target, discretion, expect, host, options_of, stopping::closed_address,
};
use crate::{
    Descriptor, ErrorKind, Finding, OptionScope, OptionSpec, Options, Plugin, Result, WriteMode,
};

/// The options of a connection: those that `transload connection test` has.
fn of_connection(descriptor: &Descriptor, own: &[OptionSpec], options: &Options) -> Options {
    let mut options = options.clone();
    let of_job = options_of(descriptor, own).filter(|spec| spec.scope == OptionScope::Job);
    for spec in of_job {
        options.values.remove(&spec.key);
    }
    options.schema.clear();
    options.columns = None;
    options
}

/// Whether the store has connections at all.
fn has_connection(descriptor: &Descriptor, own: &[OptionSpec]) -> bool {
    options_of(descriptor, own).any(|spec| spec.scope == OptionScope::Connection)
}

/// A reader with the options of a connection alone can be checked.
pub(super) fn reader_alone(plugin: &dyn Plugin, source: &Source, subject: &dyn Subject) {
    let descriptor = plugin.descriptor();
    let own = descriptor.reader.as_ref().map_or(&[][..], |reader| &reader.options);
    if !has_connection(&descriptor, own) {
        return;
    }
    let options = of_connection(&descriptor, own, &source.options);
    let findings = plugin.reader(options, host(subject)).and_then(|reader| reader.check());
    assert_passed(findings, "a check of the reader without the options of a job");
}

/// The same for a writer.
pub(super) fn writer_alone(plugin: &dyn Plugin, target: &dyn Target, subject: &dyn Subject) {
    let descriptor = plugin.descriptor();
    let Some(declared) = &descriptor.writer else { return };
    if !has_connection(&descriptor, &declared.options) {
        return;
    }
    let options = target.writer_options(declared.modes[0].mode);
    let options = of_connection(&descriptor, &declared.options, &options);
    let findings = plugin.writer(options, host(subject)).and_then(|writer| writer.check());
    assert_passed(findings, "a check of the writer without the options of a job");
}

#[track_caller]
fn assert_passed(findings: Result<Vec<Finding>>, what: &str) {
    for finding in expect(findings, what) {
        assert!(finding.ok, "{what}: {finding:?}");
    }
}

/// What a check reports of a store that cannot be reached: a stage that failed, the last one.
#[track_caller]
fn assert_finds(findings: Result<Vec<Finding>>, what: &str) {
    let findings = match findings {
        Err(error) if error.kind == ErrorKind::Options => return,
        findings => expect(findings, &format!("{what}: `check` must find it, not fail")),
    };
    let failed = findings.iter().position(|finding| !finding.ok);
    assert_eq!(
        failed,
        findings.len().checked_sub(1),
        "{what}: the last finding, and no other, is not `ok`: {findings:?}"
    );
}

/// A source that is not there, and one at an address without a server.
pub(super) fn reader_finds(plugin: &dyn Plugin, subject: &dyn Subject) {
    let unreachable = subject.at_address(Side::Reader, closed_address());
    for (options, what) in
        [(subject.missing_source(), "a source that is missing"), (unreachable, "a closed port")]
    {
        let Some(options) = options else { continue };
        let findings = plugin.reader(options, host(subject)).and_then(|reader| reader.check());
        assert_finds(findings, what);
    }
}

/// A target at an address without a server.
pub(super) fn writer_finds(plugin: &dyn Plugin, subject: &dyn Subject) {
    let Some(options) = subject.at_address(Side::Writer, closed_address()) else { return };
    let findings = plugin.writer(options, host(subject)).and_then(|writer| writer.check());
    assert_finds(findings, "a closed port");
}

/// With secrets that no store knows: no method of the reader shows them.
pub(super) fn discreet_reader(plugin: &dyn Plugin, source: &Source) {
    let descriptor = plugin.descriptor();
    let own = descriptor.reader.as_ref().map_or(&[][..], |reader| &reader.options);
    if !discretion::has_secrets(&descriptor, own) {
        return;
    }
    let what = "the reader with a wrong password";
    let made = plugin.reader(source.options.clone(), discretion::host());
    let Some(reader) = discretion::discreet(what, || made.map(Shown)).ok().map(|made| made.0)
    else {
        return;
    };
    let findings = discretion::discreet(&format!("{what}, `check`"), || reader.check());
    assert_found_or_passed(findings, what);
    let _ = discretion::discreet(&format!("{what}, `schema`"), || reader.schema());
    let _ = discretion::discreet(&format!("{what}, `discover`"), || reader.discover());
}

/// The same for the writer.
pub(super) fn discreet_writer(plugin: &dyn Plugin, target: &dyn Target, mode: WriteMode) {
    let descriptor = plugin.descriptor();
    let own = descriptor.writer.as_ref().map_or(&[][..], |writer| &writer.options);
    if !discretion::has_secrets(&descriptor, own) {
        return;
    }
    let what = "the writer with a wrong password";
    let made = plugin.writer(target.writer_options(mode), discretion::host());
    let Some(writer) = discretion::discreet(what, || made.map(Shown)).ok().map(|made| made.0)
    else {
        return;
    };
    let findings = discretion::discreet(&format!("{what}, `check`"), || writer.check());
    assert_found_or_passed(findings, what);
    let _ = discretion::discreet(&format!("{what}, `inspect`"), || writer.inspect());
    let _ = discretion::discreet(&format!("{what}, `discover`"), || writer.discover());
}

/// A store may accept any password.
#[track_caller]
fn assert_found_or_passed(findings: Result<Vec<Finding>>, what: &str) {
    if findings.as_ref().is_ok_and(|findings| findings.iter().all(|finding| finding.ok)) {
        return;
    }
    assert_finds(findings, what);
}

/// A reader or writer, which reports nothing by itself.
struct Shown<T>(T);

impl<T> std::fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("made")
    }
}
