//! The requirements on a descriptor: what a plugin declares is consistent in itself, before anything
//! is read or written.

use std::collections::HashSet;

use super::{expect, refused, samples};
use crate::{
    Descriptor, ErrorKind, Host, OptionKind, OptionScope, OptionSpec, Options, Plugin, TypeSupport,
    WriterDescriptor,
};

/// All requirements on the descriptor, and that roles it does not declare are refused.
///
/// # Panics
/// At the first requirement that is not met.
pub fn all(plugin: &dyn Plugin) {
    let descriptor = plugin.descriptor();
    identity(&descriptor);
    options(&descriptor);
    types(&descriptor);
    if let Some(writer) = &descriptor.writer {
        modes(writer);
    }
    travels(plugin, &descriptor);
    missing_roles(plugin, &descriptor);
}

/// Name, version and summary have their forms, and there is a role.
fn identity(descriptor: &Descriptor) {
    let name = &descriptor.name;
    let plain = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '-');
    assert!(!name.is_empty() && name.chars().all(plain), "`{name}` is no plugin name");
    let core = descriptor.version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').collect();
    assert!(
        numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u64>().is_ok()),
        "`{}` is no semantic version",
        descriptor.version
    );
    one_line("the plugin's summary", &descriptor.summary);
    let roles = descriptor.reader.is_some() || descriptor.writer.is_some();
    assert!(roles, "the plugin declares neither a reader nor a writer");
}

/// A doc or summary is one line without a final period.
fn one_line(what: &str, text: &str) {
    assert!(!text.trim().is_empty(), "{what} is empty");
    assert!(!text.contains('\n') && !text.ends_with('.'), "{what} is no plain line: `{text}`");
}

/// No role has two options of one key, and each option is sound.
fn options(descriptor: &Descriptor) {
    let reader = descriptor.reader.iter().flat_map(|reader| &reader.options);
    let writer = descriptor.writer.iter().flat_map(|writer| &writer.options);
    for (role, own) in [("reader", reader.collect::<Vec<_>>()), ("writer", writer.collect())] {
        let mut keys = HashSet::new();
        for spec in descriptor.options.iter().chain(own) {
            assert!(keys.insert(&spec.key), "the {role} declares `{}` twice", spec.key);
            option(spec);
        }
    }
}

/// A key in its form, a doc, sensible bounds, a default of the option's kind; secrets are text of
/// the connection.
fn option(spec: &OptionSpec) {
    let key = &spec.key;
    let plain = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_');
    assert!(!key.is_empty() && key.chars().all(plain), "`{key}` is no option key");
    one_line(&format!("the doc of option `{key}`"), &spec.doc);
    bounds(key, &spec.kind);
    if let Some(default) = &spec.default {
        assert!(!spec.required, "option `{key}` is required and has a default");
        assert!(!spec.secret, "option `{key}` is secret and has a default");
        expect(spec.kind.convert(default), &format!("the default of option `{key}`"));
    }
    if spec.secret {
        assert_eq!(spec.kind, OptionKind::Text, "the secret option `{key}` is no text");
        assert_eq!(spec.scope, OptionScope::Connection, "the secret `{key}` is of the job");
    }
}

/// Bounds and choices allow at least one value.
fn bounds(key: &str, kind: &OptionKind) {
    match kind {
        OptionKind::Integer { min, max } => assert!(min <= max, "option `{key}` takes no number"),
        OptionKind::Float { min, max } => assert!(min <= max, "option `{key}` takes no number"),
        OptionKind::Choice(words) => {
            let different: HashSet<_> = words.iter().collect();
            assert!(!words.is_empty(), "option `{key}` offers no choice");
            assert_eq!(different.len(), words.len(), "option `{key}` offers a word twice");
        }
        _ => {}
    }
}

/// Each role declares types, each family once.
fn types(descriptor: &Descriptor) {
    let reader = descriptor.reader.as_ref().map(|reader| &reader.types);
    let writer = descriptor.writer.as_ref().map(|writer| &writer.types);
    for (role, types) in [("reader", reader), ("writer", writer)] {
        let Some(types) = types else { continue };
        assert!(!types.is_empty(), "the {role} declares no types");
        let mut families = HashSet::new();
        for support in types {
            let family = &support.logical;
            assert!(families.insert(family), "the {role} declares the type `{family}` twice");
            known(family);
            named(role, support);
        }
    }
}

fn known(family: &str) {
    let types = samples::types_of(family);
    assert!(!types.is_empty(), "`{family}` is no type family");
    assert!(types.iter().all(|logical| logical.family() == family), "`{family}` is no family");
}

fn named(role: &str, support: &TypeSupport) {
    let family = &support.logical;
    assert!(!support.native.is_empty(), "the {role}'s `{family}` names no type of the store");
    assert!(
        support.native.iter().all(|name| !name.is_empty()),
        "the {role}'s `{family}` has a native type without a name"
    );
}

/// There are write modes, each once and with a doc.
fn modes(writer: &WriterDescriptor) {
    assert!(!writer.modes.is_empty(), "the writer declares no write mode");
    let mut modes = HashSet::new();
    for spec in &writer.modes {
        let word = spec.mode.word();
        assert!(modes.insert(spec.mode), "the writer declares the mode `{word}` twice");
        one_line(&format!("the doc of mode `{word}`"), &spec.doc);
    }
}

/// The descriptor is the same each time and after its way through JSON.
fn travels(plugin: &dyn Plugin, descriptor: &Descriptor) {
    assert_eq!(plugin.descriptor(), *descriptor, "the descriptor changes from call to call");
    let text = expect(serde_json::to_string(descriptor), "the descriptor as JSON");
    let back: Descriptor = expect(serde_json::from_str(&text), "the descriptor from JSON");
    assert_eq!(back, *descriptor, "the descriptor does not survive JSON");
}

/// A role that is not declared is refused as unsupported.
fn missing_roles(plugin: &dyn Plugin, descriptor: &Descriptor) {
    let unsupported = [ErrorKind::Unsupported];
    if descriptor.reader.is_none() {
        let reader = plugin.reader(Options::default(), Host::detached());
        refused(reader, &unsupported, "a reader that is not declared");
    }
    if descriptor.writer.is_none() {
        let writer = plugin.writer(Options::default(), Host::detached());
        refused(writer, &unsupported, "a writer that is not declared");
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn unsound_options_are_found() {
        let text = || OptionSpec::new("key", OptionKind::Text, "a doc");
        option(&text());
        for spec in [
            OptionSpec { key: "Key".to_owned(), ..text() },
            OptionSpec { doc: String::new(), ..text() },
            OptionSpec { doc: "A sentence.".to_owned(), ..text() },
            text().required().default("x"),
            text().secret().default("x"),
            text().default(1),
            OptionSpec { secret: true, ..text() },
            OptionSpec { kind: OptionKind::Choice(Vec::new()), ..text() },
        ] {
            assert!(catch_unwind(|| option(&spec)).is_err(), "{spec:?}");
        }
    }
}
