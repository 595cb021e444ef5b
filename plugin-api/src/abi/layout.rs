//! Compares the types of a library with ours and reports a mismatch in one line. abi_stable's own
//! report can reach 55 KB. Versions are compared before, by `version`.

use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::{
        AbiInstability, AbiInstabilityError, ExpectedFound, check_layout_compatibility,
    },
    type_layout::{TLFieldOrFunction, TypeLayout},
};

use super::{
    module::PluginModuleRef,
    version::{ABI, AbiVersion},
};
use crate::{Error, Result, code};

/// Checks that a library's types fit ours. The side with the greater minor version may have
/// appended fields; everything before them must be equal.
///
/// # Errors
/// [`crate::ErrorKind::Unsupported`] with the first mismatch.
pub(super) fn ensure_fits(plugin: &'static TypeLayout, version: AbiVersion) -> Result<()> {
    let host = <PluginModuleRef as StableAbi>::LAYOUT;
    let newer_plugin = version.minor >= ABI.minor;
    // The checker takes the expected layout first: the one of the side that has fewer fields.
    let (expected, found) = if newer_plugin { (host, plugin) } else { (plugin, host) };
    let Err(report) = check_layout_compatibility(expected, found) else { return Ok(()) };
    let mismatch = report.errors.iter().find_map(in_one_line);
    // The rest are crate versions: see `is_package_version`.
    mismatch.map_or(Ok(()), |mismatch| Err(refusal(&mismatch, newer_plugin)))
}

fn refusal(mismatch: &str, host_is_expected: bool) -> Error {
    let (expected, found) =
        if host_is_expected { ("program", "plugin") } else { ("plugin", "program") };
    let message = format!("the library's interface differs: {mismatch}");
    let hint = format!(
        "expected: the {expected}'s, found: the {found}'s; the plugin was built against a changed \
         copy of the plugin API: rebuild it against a released one"
    );
    Error::unsupported(message).with_code(code::PLUGIN_LAYOUT).hint(hint)
}

/// abi_stable refuses types of another (semver) crate version. Our ABI version is independent of
/// the crate's, so this finding means nothing; the others are still reported.
fn is_package_version(mismatch: &AbiInstability) -> bool {
    matches!(mismatch, AbiInstability::PackageVersion(_))
}

/// The first relevant mismatch of one type, as `expected field `x`, found `y` at `place``.
fn in_one_line(error: &AbiInstabilityError) -> Option<String> {
    let mismatch = error.errs.iter().find(|mismatch| !is_package_version(mismatch))?;
    Some(format!("{} at `{}`", in_words(mismatch), place(error)))
}

/// The path to the type, such as `root.reader.vtable.open`, without the fields of abi_stable's
/// wrappers.
fn place(error: &AbiInstabilityError) -> String {
    let mut path: Vec<String> = vec!["root".to_owned()];
    for level in &error.stack_trace {
        let name = name(&level.found);
        let wrapper = name.starts_with("__") || name.starts_with("field_") || name == "0";
        if !wrapper && path.last() != Some(&name) {
            path.push(name);
        }
    }
    path.join(".")
}

fn name(level: &TLFieldOrFunction) -> String {
    match level {
        TLFieldOrFunction::Field(field) => field.name().to_owned(),
        TLFieldOrFunction::Function(function) => function.name.to_string(),
    }
}

fn in_words(mismatch: &AbiInstability) -> String {
    use AbiInstability as Ai;
    match mismatch {
        Ai::Name(pair) => words("type", pair, |full| full.name().to_owned()),
        Ai::Package(pair) => words("crate", pair, |name| name.to_string()),
        Ai::MismatchedPrimitive(pair) => {
            words("type", pair, |primitive| format!("{primitive:?}").to_lowercase())
        }
        Ai::Size(pair) => words("size", pair, ToString::to_string),
        Ai::Alignment(pair) => words("alignment", pair, ToString::to_string),
        Ai::MismatchedPrefixSize(pair) => words("fixed fields", pair, ToString::to_string),
        Ai::FieldCountMismatch(pair) => words("number of fields", pair, ToString::to_string),
        Ai::TooManyVariants(pair) => words("number of variants", pair, ToString::to_string),
        Ai::UnexpectedField(pair) => words("field", pair, |field| field.name().to_owned()),
        Ai::UnexpectedVariant(pair) => words("variant", pair, |name| name.to_string()),
        Ai::FnLifetimeMismatch(_) | Ai::FnQualifierMismatch(_) => {
            "another function signature".to_owned()
        }
        other => {
            let text = format!("{other:?}");
            text.split(['(', ' ', '{']).next().unwrap_or("mismatch").to_owned()
        }
    }
}

fn words<T>(what: &str, pair: &ExpectedFound<T>, text: impl Fn(&T) -> String) -> String {
    format!("expected {what} `{}`, found `{}`", text(&pair.expected), text(&pair.found))
}
