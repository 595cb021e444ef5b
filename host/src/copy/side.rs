//! FROM or TO as the keys of a section: the plugin or the connection, and the options that the words
//! of the argument and its flags become, by the plugin's descriptor.

use transload_plugin_api::{
    Addressing, Descriptor, Error, OptionKind, OptionSpec, PathForm, Secret, UrlForm, UrlPart,
    code, nearest::nearest,
};

use super::{
    End,
    argument::{Argument, place},
    text::{key as quoted_key, quoted},
    url::{self, Part},
};
use crate::job::{DraftConnection, Location, Problem, Problems};

/// What FROM or TO is read with.
pub(crate) struct Naming<'n, 'a> {
    pub(crate) end: End,
    /// The argument.
    pub(crate) text: &'a str,
    /// The plugins with its role; only the one that a flag names.
    pub(crate) plugins: Vec<&'a Descriptor>,
    /// A flag names the plugin.
    pub(crate) chosen: Option<&'a str>,
    /// `--from-format`, `--to-format`.
    pub(crate) format: Option<&'a str>,
    /// `--from-option`, `--to-option`.
    pub(crate) options: &'a [(String, String)],
    /// The names of all connections.
    pub(crate) connections: &'n [String],
    /// Finds the plugin of a connection.
    pub(crate) connection: &'n dyn Fn(&str, Location) -> Result<DraftConnection, Problems>,
    /// Finds a plugin by name.
    pub(crate) find: &'n dyn Fn(&str) -> Result<&'a Descriptor, Error>,
}

impl<'a> Naming<'_, 'a> {
    pub(super) fn is_chosen(&self) -> bool {
        self.chosen.is_some()
    }

    pub(super) fn url_forms(&self) -> impl Iterator<Item = (&'a Descriptor, &'a UrlForm)> + '_ {
        self.plugins
            .iter()
            .flat_map(|plugin| plugin.addressing.urls.iter().map(|url| (*plugin, url)))
    }

    pub(super) fn path_forms(&self) -> impl Iterator<Item = (&'a Descriptor, &'a PathForm)> + '_ {
        self.plugins.iter().filter_map(|plugin| Some((*plugin, plugin.addressing.paths.as_ref()?)))
    }

    /// A problem at a character of the argument, counted from 1.
    pub(super) fn refuse(&self, column: u32, code: &str, message: impl Into<String>) -> Problem {
        Problem::new(&place(self.end, column), "", message).with_code(code)
    }
}

/// A side that is named.
pub(crate) struct Named<'a> {
    pub(crate) end: End,
    pub(crate) plugin: &'a Descriptor,
    /// The connection that gives address and login.
    pub(crate) connection: Option<String>,
    pub(crate) settings: Vec<Setting>,
    /// The values of secrets, by the environment variables that the text names instead.
    pub(crate) secrets: Vec<(String, Secret)>,
    /// Standard input or output.
    pub(crate) is_stream: bool,
}

/// An option with its values in the form of a job file.
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
    pub(crate) place: Location,
}

/// The options of a side.
///
/// # Errors
/// All that is wrong with the argument and its flags.
pub(crate) fn name_side<'a>(naming: &Naming<'_, 'a>) -> Result<Named<'a>, Problems> {
    let argument = Argument::of(naming)?;
    let mut side = Side::of(naming, &argument)?;
    side.take_argument(&argument);
    side.take_flags();
    if let Argument::Stream(_, form) = &argument {
        side.named.is_stream = true;
        for (key, value) in form.stream.iter().flatten() {
            if !side.has(key) {
                side.set(key, value, &place(naming.end, 1));
            }
        }
    }
    if side.problems.is_empty() {
        side.require_object(&argument);
    }
    if side.problems.is_empty() { Ok(side.named) } else { Err(side.problems) }
}

struct Side<'n, 'a> {
    naming: &'n Naming<'n, 'a>,
    named: Named<'a>,
    problems: Problems,
}

impl<'n, 'a> Side<'n, 'a> {
    fn of(naming: &'n Naming<'n, 'a>, argument: &Argument<'a>) -> Result<Self, Problems> {
        let (plugin, connection) = match argument {
            Argument::Stream(plugin, _) | Argument::Url(plugin, _) => (*plugin, None),
            Argument::Path { plugin, .. } => (*plugin, None),
            Argument::Connection { name, .. } => {
                let at = place(naming.end, 1);
                let draft = (naming.connection)(name, at.clone())?;
                let plugin = (naming.find)(draft.plugin())
                    .map_err(|error| Problem::new(&at, "", error.to_string()).because_of(error))?;
                (plugin, Some((*name).to_owned()))
            }
        };
        let named = Named {
            end: naming.end,
            plugin,
            connection,
            settings: Vec::new(),
            secrets: Vec::new(),
            is_stream: false,
        };
        Ok(Self { naming, named, problems: Problems::default() })
    }

    fn take_argument(&mut self, argument: &Argument<'a>) {
        let end = self.naming.end;
        match argument {
            Argument::Stream(_, form) => self.set(&form.option, "-", &place(end, 1)),
            Argument::Url(_, form) => self.take_url(form),
            Argument::Path { form, path, fragment, .. } => {
                self.set(&form.option, path, &place(end, 1));
                let column = path.chars().count() as u32 + 2;
                let fragment = fragment.filter(|fragment| !fragment.is_empty());
                fragment
                    .into_iter()
                    .for_each(|it| self.set(&form.fragment, it, &place(end, column)));
            }
            Argument::Connection { object: "", .. } => {}
            Argument::Connection { name, object } => {
                let column = name.chars().count() as u32 + 2;
                let key = self.named.plugin.addressing.object.as_str();
                match key.is_empty() {
                    true => {
                        let plugin = &self.named.plugin.name;
                        let message = format!("a connection of plugin `{plugin}` has no objects");
                        let problem = self.naming.refuse(column, code::COPY_OBJECT, message);
                        self.problems.add(problem.hint(format!(
                            "write `{name}:` and options: {}-option KEY=VALUE",
                            end.flag()
                        )));
                    }
                    false => self.set(key, object, &place(end, column)),
                }
            }
        }
    }

    fn take_url(&mut self, form: &UrlForm) {
        let pieces = match url::pieces(self.naming.text, form) {
            Ok(pieces) => pieces,
            Err(refusal) => {
                let problem = self.naming.refuse(refusal.column, code::COPY_URL, refusal.message);
                return self.problems.add(problem.hint(refusal.hint));
            }
        };
        for piece in pieces {
            let at = place(self.naming.end, piece.column);
            match &piece.part {
                Part::Of(part) => match form.parts.get(part) {
                    Some(key) => self.set(key, &piece.text, &at),
                    None => {
                        let plugin = &self.named.plugin.name;
                        let word = part.word();
                        let message = format!("a URL of plugin `{plugin}` has no {word}");
                        let problem = self.naming.refuse(piece.column, code::COPY_URL, message);
                        self.problems.add(problem.hint(format!("the form is `{}`", form.example)));
                    }
                },
                Part::Parameter(name) => self.take_parameter(form, name, &piece.text, &at),
            }
        }
    }

    /// A query parameter: an option, or what the form says that it stands for.
    fn take_parameter(&mut self, form: &UrlForm, name: &str, text: &str, at: &Location) {
        let Some(parameter) = form.parameters.get(name) else {
            return self.set(name, text, at);
        };
        if parameter.words.is_empty() {
            return self.set(&parameter.option, text, at);
        }
        match parameter.words.get(text) {
            Some(value) => self.set(&parameter.option, value, at),
            None => {
                let words: Vec<_> = parameter.words.keys().map(String::as_str).collect();
                let message = format!("`{name}` must be one of {}", words.join(", "));
                let problem = Problem::new(at, "", message).with_code(code::COPY_URL);
                self.problems.add(problem.hint(format!(
                    "or as the option itself: `{}=...`, see `transload plugin info {} {0}`",
                    parameter.option, self.named.plugin.name
                )));
            }
        }
    }

    fn take_flags(&mut self) {
        let flag = self.naming.end.flag();
        let at = |name: &str| Location::whole(format!("{flag}-{name}"));
        if let Some(format) = self.naming.format {
            self.set("format", format, &at("format"));
        }
        for (key, value) in self.naming.options {
            self.set(key, value, &at("option"));
        }
    }

    fn has(&self, key: &str) -> bool {
        self.named.settings.iter().any(|setting| setting.key == key)
    }

    /// Sets an option; `key.name` one entry of a map.
    fn set(&mut self, key: &str, text: &str, at: &Location) {
        let (option, entry) = match key.split_once('.') {
            Some((option, entry)) => (option, Some(entry)),
            None => (key, None),
        };
        let Some(spec) = self.named.spec(option) else {
            return self.problems.add(self.no_option(option, at));
        };
        let key = match (&spec.kind, entry) {
            (OptionKind::Map, Some(entry)) => format!("{option}.{}", quoted_key(entry)),
            (OptionKind::Map, None) => {
                let message = format!("`{option}` has entries: `{option}.NAME=VALUE`");
                return self
                    .problems
                    .add(Problem::new(at, "", message).with_code(code::COPY_OPTION));
            }
            (_, None) => option.to_owned(),
            (_, Some(_)) => return self.problems.add(self.no_option(key, at)),
        };
        let value = match spec.secret {
            true => self.secret(option, text),
            false => literal(&spec.kind, text),
        };
        let is_list = matches!(spec.kind, OptionKind::List | OptionKind::Paths);
        match self.named.settings.iter_mut().find(|setting| setting.key == key) {
            Some(setting) if is_list => setting.values.push(value),
            Some(setting) => {
                let message = format!("`{key}` is given twice");
                let hint = format!("the other one is in {}", setting.place);
                let problem = Problem::new(at, "", message).with_code(code::COPY_OPTION);
                self.problems.add(problem.hint(hint));
            }
            None => {
                let place = at.clone();
                self.named.settings.push(Setting { key, values: vec![value], place });
            }
        }
    }

    /// The reference to a secret's value, which the text of the job does not hold.
    fn secret(&mut self, option: &str, value: &str) -> String {
        let side = if self.naming.end == End::From { "FROM" } else { "TO" };
        let variable = format!("TRANSLOAD_{side}_{}", option.to_uppercase());
        self.named.secrets.push((variable.clone(), Secret::new(value)));
        format!("{{ env = {} }}", quoted(&variable))
    }

    fn no_option(&self, key: &str, at: &Location) -> Problem {
        let plugin = &self.named.plugin.name;
        let role = self.naming.end.role();
        let message = format!("the {role} of plugin `{plugin}` has no option `{key}`");
        let keys = self.named.specs().map(|spec| spec.key.as_str());
        Problem::new(at, "", message).with_code(code::COPY_OPTION).hint(match nearest(key, keys) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("`transload plugin info {plugin}` lists its options"),
        })
    }

    /// A source or target without its object is incomplete, unless options name what is read.
    fn require_object(&mut self, argument: &Argument<'_>) {
        let Addressing { object, urls, .. } = &self.named.plugin.addressing;
        if object.is_empty() || self.has(object) || !self.naming.options.is_empty() {
            return;
        }
        if self.named.spec(object).is_none_or(|spec| spec.default.is_some()) {
            return;
        }
        let text = self.naming.text;
        let example = match argument {
            Argument::Connection { name, .. } => {
                format!("write `{name}:{}`", object.to_uppercase())
            }
            Argument::Url(_, form) if form.parts.contains_key(&UrlPart::Fragment) => {
                format!("the form is `{}`", form.example)
            }
            Argument::Path { .. } => format!("write `{text}#{}`", object.to_uppercase()),
            _ => {
                urls.first().map(|url| format!("the form is `{}`", url.example)).unwrap_or_default()
            }
        };
        let end = text.chars().count() as u32 + 1;
        let message = format!("it names no {object}");
        let problem = self.naming.refuse(end, code::COPY_OBJECT, message).hint(example);
        self.problems.add(problem);
    }
}

impl<'a> Named<'a> {
    /// The options of the side.
    fn specs(&self) -> impl Iterator<Item = &'a OptionSpec> + use<'a> {
        let own = self.end.role().options(self.plugin).unwrap_or_default();
        self.plugin.options.iter().chain(own)
    }

    /// An option by its key.
    pub(super) fn spec(&self, key: &str) -> Option<&'a OptionSpec> {
        self.specs().find(|spec| spec.key == key)
    }

    /// The last word of what is read or written, for the job's name.
    pub(super) fn label(&self) -> Option<&str> {
        let Addressing { object, paths, .. } = &self.plugin.addressing;
        let path = paths.as_ref().map_or("", |paths| paths.option.as_str());
        let of = |key: &str| self.settings.iter().find(|setting| setting.key == key);
        let text = of(object).or_else(|| of(path))?.values.first()?.trim_matches('"');
        Some(text.trim_end_matches('/').rsplit('/').next().unwrap_or(text))
    }
}

/// A value in the form of a job file. What does not fit its kind is a string, which is refused there.
fn literal(kind: &OptionKind, text: &str) -> String {
    let is_bare = match kind {
        OptionKind::Boolean => matches!(text, "true" | "false"),
        OptionKind::Integer { .. } | OptionKind::Size => {
            text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
        }
        OptionKind::Float { .. } => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_plain = digits.starts_with(|c: char| c.is_ascii_digit())
                && digits.ends_with(|c: char| c.is_ascii_digit())
                && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
                && !(digits.starts_with('0') && digits.len() > 1 && !digits.starts_with("0."));
            is_plain && text.parse::<f64>().is_ok()
        }
        _ => false,
    };
    if is_bare { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_form_of_their_kind() {
        let integer = OptionKind::Integer { min: 0, max: 9 };
        let float = OptionKind::Float { min: 0.0, max: 9.0 };
        for (kind, text, expected) in [
            (&OptionKind::Boolean, "true", "true"),
            (&OptionKind::Boolean, "yes", "\"yes\""),
            (&integer, "42", "42"),
            (&integer, "007", "\"007\""),
            (&float, "0.5", "0.5"),
            (&float, "1", "1"),
            (&float, "00.5", "\"00.5\""),
            (&float, ".5", "\".5\""),
            (&OptionKind::Size, "64 MiB", "\"64 MiB\""),
            (&OptionKind::Size, "4096", "4096"),
            (&OptionKind::Text, "a\"b\\c\td\u{1}", "\"a\\\"b\\\\c\\td\\u0001\""),
            (&OptionKind::Text, "1", "\"1\""),
        ] {
            assert_eq!(literal(kind, text), expected, "{kind:?} {text}");
        }
    }
}
