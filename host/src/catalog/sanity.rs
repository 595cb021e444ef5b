//! Checks that a descriptor is consistent. A plugin that breaks one of these rules is refused,
//! because its options, help and reference would be wrong.

use std::collections::BTreeSet;

use transload_plugin_api::{
    Addressing, CodePage, ConflictEffect, Count, CountSpec, Descriptor, KeyNeed, LogicalType,
    OptionKind, OptionSpec, TypeSupport, WriteMode, WriteModeSpec, code,
};

use super::Role;
use crate::job::{reader_keys, writer_keys};

/// One mistake in a descriptor, with the stage of the check.
pub(super) struct Problem {
    pub(super) stage: &'static str,
    pub(super) detail: String,
}

fn problem(stage: &'static str, detail: String) -> Problem {
    Problem { stage, detail }
}

/// The stages, in the order of the checks.
pub(super) const STAGES: [&str; 6] = ["name", "options", "addresses", "codes", "types", "modes"];

/// All mistakes in a descriptor.
pub(super) fn problems(descriptor: &Descriptor) -> Vec<Problem> {
    let mut found = name_problems(descriptor);
    found.extend(option_problems(descriptor));
    found.extend(address_problems(descriptor));
    found.extend(code_problems(descriptor));
    let reader_types = descriptor.reader.iter().map(|reader| &reader.types);
    let writer_types = descriptor.writer.iter().map(|writer| &writer.types);
    for types in reader_types.chain(writer_types) {
        found.extend(type_problems(types));
    }
    found.extend(descriptor.writer.iter().flat_map(|writer| mode_problems(&writer.modes)));
    found
}

/// Name, version and roles: the name is part of job files, the version of manifests.
fn name_problems(descriptor: &Descriptor) -> Vec<Problem> {
    let mut found = Vec::new();
    let name = descriptor.name.as_str();
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(fits) {
        let detail = format!("`{name}` must be lower case letters, digits and `-`");
        found.push(problem("name", detail));
    }
    let numbers = descriptor.version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<_> = numbers.split('.').collect();
    if parts.len() != 3 || parts.iter().any(|part| part.parse::<u64>().is_err()) {
        let detail = format!("version `{}` is not of the form 1.2.3", descriptor.version);
        found.push(problem("name", detail));
    }
    if descriptor.reader.is_none() && descriptor.writer.is_none() {
        found.push(problem("name", "it offers neither a reader nor a writer".to_owned()));
    }
    found
}

/// Options of both roles: no key of the host, none twice in one role.
fn option_problems(descriptor: &Descriptor) -> Vec<Problem> {
    let mut found: Vec<Problem> = Vec::new();
    let roles = [
        descriptor.reader.as_ref().map(|reader| (&reader.options, reader_keys())),
        descriptor.writer.as_ref().map(|writer| (&writer.options, writer_keys())),
    ];
    for (own, host_keys) in roles.iter().flatten() {
        let mut keys = BTreeSet::new();
        for option in descriptor.options.iter().chain(*own) {
            if host_keys.contains(&option.key.as_str()) {
                let detail = format!("`{}` is a key of the job file itself", option.key);
                found.push(problem("options", detail));
            }
            if !keys.insert(option.key.as_str()) {
                found.push(problem("options", format!("`{}` is declared twice", option.key)));
            }
        }
    }
    let own = roles.into_iter().flatten().flat_map(|(own, _)| own);
    for option in descriptor.options.iter().chain(own) {
        let wrong = option_problem(option);
        found.extend(wrong.map(|wrong| problem("options", format!("`{}` {wrong}", option.key))));
    }
    found
}

/// What is wrong with one option by itself.
fn option_problem(option: &OptionSpec) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if option.key.is_empty() || !option.key.bytes().all(fits) {
        return Some("must be lower case letters, digits and `_`".to_owned());
    }
    if option.doc.trim().is_empty() {
        return Some("has no documentation".to_owned());
    }
    if option.secret && option.kind != OptionKind::Text {
        return Some("is secret but not text".to_owned());
    }
    let default = option.default.as_ref()?;
    if option.required || option.secret {
        return Some("has a default although it is required or secret".to_owned());
    }
    let mismatch = option.kind.convert(default).err()?;
    Some(format!("does not accept its own default {default}: it {mismatch}"))
}

/// URLs and paths: words of their form, each once, and options that one of the roles has.
fn address_problems(descriptor: &Descriptor) -> Vec<Problem> {
    let Addressing { object, urls, paths } = &descriptor.addressing;
    let mut details = Vec::new();
    let mut schemes = BTreeSet::new();
    let mut named: Vec<&str> = vec![object];
    for url in urls {
        for scheme in &url.schemes {
            let fits = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
            };
            if !scheme.starts_with(|first: char| first.is_ascii_lowercase())
                || !scheme.bytes().all(fits)
            {
                details.push(format!(
                    "`{scheme}` is no scheme of a URL: lower case letters, digits, `+`, `-`, `.`"
                ));
            }
            if !schemes.insert(scheme) {
                details.push(format!("the scheme `{scheme}` is declared twice"));
            }
        }
        if url.schemes.is_empty() {
            details.push("a URL has no scheme".to_owned());
        }
        named.extend(url.parts.values().map(String::as_str));
        named.extend(url.parameters.values().map(|parameter| parameter.option.as_str()));
    }
    if let Some(paths) = paths {
        named.extend([paths.option.as_str(), &paths.fragment]);
        named.extend(paths.stream.iter().flat_map(|stream| stream.keys()).map(String::as_str));
        for extension in paths.extensions.iter().chain(&paths.suffixes) {
            if extension.is_empty()
                || extension.contains(['.', '/'])
                || extension.to_lowercase() != *extension
            {
                details.push(format!(
                    "`{extension}` is no extension of a file: lower case, without a dot"
                ));
            }
        }
    }
    let roles = [Role::Reader, Role::Writer];
    let own = roles.iter().filter_map(|role| role.options(descriptor)).flatten();
    let keys: BTreeSet<_> =
        descriptor.options.iter().chain(own).map(|spec| spec.key.as_str()).collect();
    let missing = named.into_iter().filter(|key| !key.is_empty() && !keys.contains(key));
    details
        .extend(missing.map(|key| format!("`{key}` is no option, and a URL or path becomes it")));
    details.into_iter().map(|detail| problem("addresses", detail)).collect()
}

/// Codes with a prefix that is the plugin's own, and names of counts.
fn code_problems(descriptor: &Descriptor) -> Vec<Problem> {
    let mut details = Vec::new();
    let own = |code: &str| {
        let is_exact = code::ALL.iter().any(|(own, _)| *own == code);
        is_exact || code::PREFIXES.iter().any(|(own, _)| code.starts_with(own))
    };
    for CodePage { code, meaning, page } in &descriptor.codes {
        let bare = code.strip_suffix("...").unwrap_or(code);
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        let has_prefix = bare.split_once('-').is_some_and(|(prefix, _)| !prefix.is_empty());
        if !has_prefix || !bare.bytes().all(fits) {
            details.push(format!("`{code}` is no code such as `ACME-1234`"));
        }
        if own(bare) {
            details.push(format!("`{code}` is a code of the program"));
        }
        if meaning.trim().is_empty() || page.trim().is_empty() {
            details.push(format!("`{code}` has no meaning or no page"));
        }
    }
    for CountSpec { name, doc, .. } in &descriptor.counts {
        if !Count::new(name, 0).has_name() || doc.trim().is_empty() {
            details.push(format!("the count `{name}` has no words in snake_case, or no doc"));
        }
    }
    details.into_iter().map(|detail| problem("codes", detail)).collect()
}

/// Logical types by family name, such as `decimal`.
fn type_problems(types: &[TypeSupport]) -> Vec<Problem> {
    let mut families = BTreeSet::new();
    let mut found = Vec::new();
    for support in types {
        let family = support.logical.as_str();
        if !is_family(family) {
            found.push(problem("types", format!("`{family}` is not a type family")));
        }
        if !families.insert(family) {
            found.push(problem("types", format!("`{family}` is declared twice")));
        }
    }
    found
}

fn is_family(name: &str) -> bool {
    let forms = [name.to_owned(), format!("{name}(1,0)"), format!("{name}<int8>")];
    let parsed = forms.iter().filter_map(|form| form.parse::<LogicalType>().ok());
    parsed.into_iter().any(|logical| logical.family() == name)
}

/// Write modes: at least one, each once, each with a key and an effect if it decides conflicts.
fn mode_problems(modes: &[WriteModeSpec]) -> Vec<Problem> {
    if modes.is_empty() {
        return vec![problem("modes", "the writer has no write mode".to_owned())];
    }
    let mut found = Vec::new();
    for (index, spec) in modes.iter().enumerate() {
        let word = spec.mode.word();
        if modes[..index].iter().any(|earlier| earlier.mode == spec.mode) {
            found.push(problem("modes", format!("`{word}` is declared twice")));
        }
        let keyed = matches!(spec.mode, WriteMode::Ignore | WriteMode::Upsert | WriteMode::Replace);
        if keyed && (spec.needs == KeyNeed::Nothing || spec.conflict == ConflictEffect::None) {
            let detail = format!("`{word}` decides conflicts, so it needs a key and an effect");
            found.push(problem("modes", detail));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use transload_plugin_api::{
        Guarantee, PathForm, ReaderDescriptor, UrlForm, UrlPart, WriterDescriptor,
    };

    fn whole() -> Descriptor {
        Descriptor {
            name: "some-store".into(),
            version: "0.1.0-rc.1".into(),
            options: vec![
                OptionSpec::new("buffer", OptionKind::Size, "how much").default("64 MiB"),
                OptionSpec::new("mode", OptionKind::choice(&["a", "b"]), "which").default("a"),
            ],
            reader: Some(ReaderDescriptor {
                types: vec![TypeSupport::new("decimal", &[]), TypeSupport::new("list", &[])],
                ..ReaderDescriptor::default()
            }),
            writer: Some(WriterDescriptor {
                modes: vec![WriteModeSpec::new(
                    WriteMode::Upsert,
                    KeyNeed::UniqueKey,
                    ConflictEffect::Update,
                    Guarantee::Convergent,
                    "updates",
                )],
                ..WriterDescriptor::default()
            }),
            ..Descriptor::default()
        }
    }

    fn broken(change: impl FnOnce(&mut Descriptor)) -> Vec<String> {
        let mut descriptor = whole();
        change(&mut descriptor);
        problems(&descriptor).into_iter().map(|problem| problem.detail).collect()
    }

    #[test]
    fn a_whole_descriptor_has_no_problems() {
        assert_eq!(broken(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_kept() {
        type Change = Box<dyn FnOnce(&mut Descriptor)>;
        let option = |option: OptionSpec| -> Change {
            Box::new(move |descriptor| descriptor.options.push(option))
        };
        let cases: Vec<(Change, &str)> = vec![
            (Box::new(|d| d.name = "Store".into()), "lower case"),
            (Box::new(|d| d.version = "1".into()), "1.2.3"),
            (
                Box::new(|d| {
                    d.reader = None;
                    d.writer = None;
                }),
                "neither",
            ),
            (option(OptionSpec::new("mode", OptionKind::Text, "again")), "declared twice"),
            (option(OptionSpec::new("columns", OptionKind::Map, "d")), "the job file itself"),
            (option(OptionSpec::new("Mode", OptionKind::Text, "case")), "lower case"),
            (option(OptionSpec::new("x", OptionKind::Text, " ")), "documentation"),
            (option(OptionSpec::new("x", OptionKind::Boolean, "d").secret()), "not text"),
            (
                option(OptionSpec::new("x", OptionKind::Text, "d").required().default("a")),
                "default",
            ),
            (option(OptionSpec::new("x", OptionKind::Size, "d").default("much")), "own default"),
            (
                option(
                    OptionSpec::new("x", OptionKind::Integer { min: 1, max: 5 }, "d").default(9),
                ),
                "own default",
            ),
            (
                option(OptionSpec::new("x", OptionKind::choice(&["a"]), "d").default("b")),
                "own default",
            ),
            (
                option(OptionSpec::new("x", OptionKind::List, "d").default(json!([1]))),
                "own default",
            ),
        ];
        for (change, expected) in cases {
            let found = broken(change).join("; ");
            assert!(found.contains(expected), "expected {expected}, found {found}");
        }
        let addressed = |url: UrlForm| {
            broken(|d| d.addressing = Addressing { urls: vec![url], ..Addressing::default() })
        };
        assert_eq!(addressed(UrlForm::new(&["acme+tls"], "").part(UrlPart::Host, "mode")), [""; 0]);
        for (url, expected) in [
            (UrlForm::new(&["Acme"], ""), "is no scheme"),
            (UrlForm::new(&["a", "a"], ""), "the scheme `a` is declared twice"),
            (UrlForm::new(&[], ""), "a URL has no scheme"),
            (UrlForm::new(&["a"], "").part(UrlPart::Path, "table"), "`table` is no option"),
            (UrlForm::new(&["a"], "").parameter("x", "y", &[]), "`y` is no option"),
        ] {
            assert!(addressed(url).join("; ").contains(expected), "{expected}");
        }
        for (code, expected) in [
            ("ACME-1", ""),
            ("ACME-...", ""),
            ("acme-1", "is no code such as"),
            ("ACME", "is no code such as"),
            ("PLAN-KEY", "a code of the program"),
            ("PG-1", "a code of the program"),
        ] {
            let found = broken(|d| d.codes.push(CodePage::new(code, "a meaning", "a page")));
            assert!(found.join("; ").contains(expected) && found.is_empty() == expected.is_empty());
        }
        let found = broken(|d| d.counts.push(CountSpec::new("Keys", "keys")));
        assert!(found[0].contains("`Keys`"), "{found:?}");
        let extension = PathForm { extensions: vec![".CSV".into()], ..PathForm::default() };
        let found = broken(|d| d.addressing.paths = Some(extension));
        assert_eq!(found, ["`.CSV` is no extension of a file: lower case, without a dot"]);
        let types = broken(|d| {
            d.reader.as_mut().unwrap().types.push(TypeSupport::new("varchar", &[]));
        });
        assert_eq!(types, ["`varchar` is not a type family"]);
        let modes = broken(|d| d.writer.as_mut().unwrap().modes[0].needs = KeyNeed::Nothing);
        assert_eq!(modes, ["`upsert` decides conflicts, so it needs a key and an effect"]);
    }
}
