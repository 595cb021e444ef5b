//! The form of FROM or TO: which of them it is follows from the text, the connections and what plugins
//! declare. In this order: `-`; `SCHEME://`; `CONNECTION:OBJECT`; `SCHEME:`; a path.

use std::path::Path;

use transload_plugin_api::{Descriptor, PathForm, UrlForm, code, nearest::nearest};

use super::{End, side::Naming};
use crate::job::{Location, Problem};

/// What the argument is.
pub(super) enum Argument<'a> {
    /// `-`.
    Stream(&'a Descriptor, &'a PathForm),
    /// A URL, in the form of one plugin.
    Url(&'a Descriptor, &'a UrlForm),
    /// A path with the object in it, if it has one.
    Path { plugin: &'a Descriptor, form: &'a PathForm, path: &'a str, fragment: Option<&'a str> },
    /// A connection, and its object if it names one.
    Connection { name: &'a str, object: &'a str },
}

impl<'a> Argument<'a> {
    /// The form of the argument.
    pub(super) fn of(naming: &Naming<'_, 'a>) -> Result<Self, Problem> {
        let text = naming.text;
        if text.is_empty() {
            return Err(naming.refuse(0, code::COPY_NAME, "the name is empty"));
        }
        if text == "-" {
            return stream(naming);
        }
        let Some((scheme, rest)) = text.split_once(':').filter(|(name, _)| is_word(name)) else {
            return path(naming);
        };
        if rest.starts_with("//") {
            return url(naming, scheme)?.ok_or_else(|| unknown(naming, scheme, true));
        }
        if naming.connections.iter().any(|name| name == scheme) {
            return Ok(Self::Connection { name: scheme, object: rest });
        }
        if let Some(found) = url(naming, scheme)? {
            return Ok(found);
        }
        // A file may have a colon in its name.
        match Path::new(text).exists() || scheme.contains('.') {
            true => path(naming),
            false => Err(unknown(naming, scheme, false)),
        }
    }
}

/// Whether it can be a scheme or the name of a connection, and not a path.
fn is_word(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    name.len() > 1 && name.starts_with(char::is_alphabetic) && name.chars().all(fits)
}

/// The one plugin that declares something.
fn only<'a, T>(
    naming: &Naming<'_, 'a>,
    what: &str,
    mut found: Vec<(&'a Descriptor, T)>,
) -> Result<Option<(&'a Descriptor, T)>, Problem> {
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|(plugin, _)| plugin.name.as_str()).collect();
        let message = format!("{what} belongs to several plugins: {}", names.join(", "));
        let hint = format!("name one: {}-plugin {}", naming.end.flag(), names[0]);
        return Err(naming.refuse(1, code::COPY_NAME, message).hint(hint));
    }
    Ok(found.pop())
}

fn stream<'a>(naming: &Naming<'_, 'a>) -> Result<Argument<'a>, Problem> {
    let paths = naming.path_forms().filter(|(_, form)| form.stream.is_some()).collect();
    let found = only(naming, "`-`", paths)?;
    found.map(|(plugin, form)| Argument::Stream(plugin, form)).ok_or_else(|| {
        let side =
            if naming.end == End::From { "reads standard input" } else { "writes standard output" };
        naming.refuse(1, code::COPY_NAME, format!("no plugin {side}"))
    })
}

fn url<'a>(naming: &Naming<'_, 'a>, scheme: &str) -> Result<Option<Argument<'a>>, Problem> {
    let lower = scheme.to_lowercase();
    let forms = naming.url_forms().filter(|(_, form)| form.schemes.contains(&lower)).collect();
    let found = only(naming, &format!("the URL scheme `{lower}`"), forms)?;
    Ok(found.map(|(plugin, form)| Argument::Url(plugin, form)))
}

/// The problem of a word in front of `:` that nothing has.
fn unknown(naming: &Naming<'_, '_>, word: &str, is_url: bool) -> Problem {
    let schemes = naming.url_forms().flat_map(|(_, form)| form.schemes.iter().map(String::as_str));
    let schemes: Vec<_> = schemes.collect();
    let role = naming.end.role();
    if is_url {
        let message = format!("no plugin has a {role} for the URL scheme `{word}`");
        let problem = naming.refuse(1, code::COPY_SCHEME, message);
        let hint = match nearest(word, schemes.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", schemes.join(", ")),
        };
        return problem.hint(hint);
    }
    let message = format!("`{word}` is neither a connection nor a URL scheme with a {role}");
    let problem = naming.refuse(1, code::COPY_SCHEME, message);
    let known = naming.connections.iter().map(String::as_str);
    match nearest(word, known.clone().chain(schemes.iter().copied())) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None if naming.connections.is_empty() => problem.hint(format!(
            "no connection file was found: write `[{word}]` in connections.toml, or `./{word}:...` \
             for a file"
        )),
        None => {
            let known: Vec<_> = known.collect();
            problem.hint(format!("the connections are: {}", known.join(", ")))
        }
    }
}

/// A path by its extension; a folder; or what a flag says.
fn path<'a>(naming: &Naming<'_, 'a>) -> Result<Argument<'a>, Problem> {
    let text = naming.text;
    if let Some((plugin, form)) = of_extension(naming, text)? {
        return Ok(Argument::Path { plugin, form, path: text, fragment: None });
    }
    if let Some((path, fragment)) = text.rsplit_once('#')
        && let Some((plugin, form)) = of_extension(naming, path)?
        && !form.fragment.is_empty()
    {
        return Ok(Argument::Path { plugin, form, path, fragment: Some(fragment) });
    }
    let is_folder = text.ends_with('/') || Path::new(text).is_dir();
    let is_named = naming.is_chosen() || naming.format.is_some();
    let folders = naming.path_forms().filter(|(_, form)| {
        if is_folder { form.folders } else { is_named && (naming.is_chosen() || form.folders) }
    });
    match only(naming, &format!("`{text}`"), folders.collect())? {
        Some((plugin, form)) => Ok(Argument::Path { plugin, form, path: text, fragment: None }),
        None => Err(no_extension(naming)),
    }
}

fn of_extension<'a>(
    naming: &Naming<'_, 'a>,
    path: &str,
) -> Result<Option<(&'a Descriptor, &'a PathForm)>, Problem> {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let fits = |form: &PathForm| {
        let extension =
            |name: &str| name.rsplit_once('.').map(|(stem, last)| (stem.len(), last.to_owned()));
        let Some((stem, last)) = extension(&name) else { return false };
        let last = match form.suffixes.contains(&last) {
            true => extension(&name[..stem]).map(|(_, last)| last).unwrap_or_default(),
            false => last,
        };
        form.extensions.contains(&last)
    };
    let found = naming.path_forms().filter(|(_, form)| fits(form)).collect();
    only(naming, &format!("the extension of `{name}`"), found)
}

/// The problem of a path that says nothing about its content.
fn no_extension(naming: &Naming<'_, '_>) -> Problem {
    let text = naming.text;
    let name = text.rsplit('/').next().unwrap_or(text);
    let from = text.chars().count() - name.chars().count();
    let extensions: Vec<_> = naming
        .path_forms()
        .flat_map(|(_, form)| form.extensions.iter().map(String::as_str))
        .collect();
    let flag = naming.end.flag();
    let own = name.rsplit_once('.').map(|(_, own)| own).filter(|own| !own.is_empty());
    let Some(own) = own else {
        let message = format!("`{name}` has no extension that shows its format");
        let problem = naming.refuse(from as u32 + 1, code::COPY_EXTENSION, message);
        let connection = naming.connections.iter().find(|known| *known == text);
        return problem.hint(match connection {
            Some(name) => format!("for a table of this connection: {name}:TABLE"),
            None => {
                format!("name the format, such as {flag}-format csv, or a connection: NAME:TABLE")
            }
        });
    };
    let message = format!("no plugin has a {} for files `.{own}`", naming.end.role());
    let column = text.chars().count() - own.chars().count() + 1;
    let problem = naming.refuse(column as u32, code::COPY_EXTENSION, message);
    problem.hint(match nearest(&own.to_lowercase(), extensions.iter().copied()) {
        Some(near) => format!("did you mean `.{near}`? Or name the format: {flag}-format {near}"),
        None => format!("name the format, such as {flag}-format csv"),
    })
}

/// The place of an argument: as a whole, or from a character on.
pub(super) fn place(end: End, column: u32) -> Location {
    Location { column, ..Location::whole(end.word()) }
}
