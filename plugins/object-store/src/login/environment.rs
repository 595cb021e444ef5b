//! The variables of the process, as the vendors' own tools read them.

/// The environment's variables, for tests to replace.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's own environment; empty variables count as unset.
pub(crate) fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
