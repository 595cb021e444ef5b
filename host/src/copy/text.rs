//! The job file that says what one line says. Each line of it knows the argument that it is from, so
//! that errors name what was written.

use transload_plugin_api::code;

use super::{End, Named, side::Setting};
use crate::job::{JobText, Location, Problem, Problems};

/// The flags that are no part of FROM or TO.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) key: Vec<String>,
    pub(crate) update: Vec<String>,
    pub(crate) create: bool,
    pub(crate) columns: Vec<String>,
    pub(crate) condition: Option<String>,
    /// Target column and source column.
    pub(crate) map: Vec<(String, String)>,
    /// Column and type.
    pub(crate) types: Vec<(String, String)>,
    pub(crate) parallelism: Option<u32>,
    /// A number, or `unlimited`.
    pub(crate) max_dirty: Option<String>,
    pub(crate) require: Option<String>,
}

/// The job file of a copy.
///
/// # Errors
/// For a flag that the plugins have no option for, and for two standard streams without formats.
pub(crate) fn job_text(
    from: &Named<'_>,
    to: &Named<'_>,
    settings: &Settings,
) -> Result<JobText, Problems> {
    refuse_streams(from, to)?;
    let mut lines = Lines::default();
    let name = settings.name.clone().unwrap_or_else(|| name_of(to));
    let name_place = if settings.name.is_some() { "--name" } else { End::To.word() };
    lines.value("name", &quoted(&name), &Location::whole(name_place));
    lines.reader(from, settings)?;
    lines.writer(to, settings);
    lines.limits(to, settings);
    Ok(lines.0)
}

/// The job file of a source alone: it has no writer.
///
/// # Errors
/// As [`job_text`].
pub(crate) fn source_text(from: &Named<'_>, settings: &Settings) -> Result<JobText, Problems> {
    let mut lines = Lines::default();
    lines.reader(from, settings)?;
    Ok(lines.0)
}

/// The name of a copy: of what is written.
fn name_of(to: &Named<'_>) -> String {
    let label = if to.is_stream { "stdout" } else { to.label().unwrap_or(&to.plugin.name) };
    let mut name = String::from("copy-");
    for c in label.chars().take(60) {
        let fits = c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        name.push(if fits { c } else { '-' });
    }
    name
}

/// Two standard streams are a filter only if the formats say what it does.
fn refuse_streams(from: &Named<'_>, to: &Named<'_>) -> Result<(), Problem> {
    let is_named = |side: &Named<'_>| {
        let format = side.settings.iter().find(|setting| setting.key == "format");
        format.is_some_and(|setting| setting.place != super::argument::place(side.end, 1))
    };
    if !from.is_stream || !to.is_stream || is_named(from) || is_named(to) {
        return Ok(());
    }
    let place = super::argument::place(End::To, 1);
    let message = "both FROM and TO are standard streams, and no flag names a format";
    let problem = Problem::new(&place, "", message).with_code(code::COPY_STREAM);
    Err(problem.hint("convert with formats, such as --from-format csv --to-format jsonl"))
}

/// The text, line by line.
#[derive(Default)]
struct Lines(JobText);

impl Lines {
    fn line(&mut self, text: &str, place: &Location) {
        self.0.text.push_str(text);
        self.0.text.push('\n');
        self.0.places.push(place.clone());
    }

    fn section(&mut self, name: &str, place: &Location) {
        if !self.0.text.is_empty() {
            self.line("", place);
        }
        self.line(&format!("[{name}]"), place);
    }

    fn value(&mut self, key: &str, value: &str, place: &Location) {
        self.line(&format!("{key} = {value}"), place);
    }

    fn list(&mut self, key: &str, names: &[String], place: &Location) {
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
            self.value(key, &format!("[{}]", names.join(", ")), place);
        }
    }

    /// Plugin or connection, and the options.
    fn side(&mut self, section: &str, side: &Named<'_>) {
        let place = Location::whole(side.end.word());
        self.section(section, &place);
        match &side.connection {
            Some(name) => {
                self.value("connection", &quoted(name), &super::argument::place(side.end, 1))
            }
            None => self.value("plugin", &quoted(&side.plugin.name), &place),
        }
        for Setting { key, values, place } in &side.settings {
            let value = match values.as_slice() {
                [value] => value.clone(),
                values => format!("[{}]", values.join(", ")),
            };
            self.value(key, &value, place);
        }
    }

    fn reader(&mut self, from: &Named<'_>, settings: &Settings) -> Result<(), Problem> {
        self.side("reader", from);
        let flag = |name: &str| Location::whole(name);
        self.list("columns", &settings.columns, &flag("--columns"));
        if let Some(condition) = &settings.condition {
            if from.spec("where").is_none() {
                let message =
                    format!("plugin `{}` selects no rows by a condition", from.plugin.name);
                let problem = Problem::new(&flag("--where"), "", message);
                let problem = problem.with_code(code::COPY_OPTION);
                return Err(problem.hint("leave --where out: readers of databases have it"));
            }
            self.value("where", &quoted(condition), &flag("--where"));
        }
        self.table("reader.schema", &settings.types, "--type");
        Ok(())
    }

    fn writer(&mut self, to: &Named<'_>, settings: &Settings) {
        self.side("writer", to);
        let flag = |name: &str| Location::whole(name);
        if let Some(mode) = &settings.mode {
            self.value("write_mode", &quoted(mode), &flag("--mode"));
        }
        self.list("key", &settings.key, &flag("--key"));
        self.list("update_columns", &settings.update, &flag("--update"));
        if settings.create {
            self.value("create_table", "true", &flag("--create"));
        }
        self.table("map", &settings.map, "--map");
    }

    fn limits(&mut self, to: &Named<'_>, settings: &Settings) {
        let flag = |name: &str| Location::whole(name);
        // A stream has one writer.
        let tasks = settings.parallelism.or(to.is_stream.then_some(1));
        if let Some(tasks) = tasks {
            let place = flag(if settings.parallelism.is_some() { "--parallelism" } else { "TO" });
            self.section("channel", &place);
            self.value("parallelism", &tasks.to_string(), &place);
        }
        if let Some(rows) = &settings.max_dirty {
            let place = flag("--max-dirty");
            let is_number = rows.parse::<u64>().is_ok_and(|number| number.to_string() == *rows);
            self.section("dirty", &place);
            self.value("max_rows", &if is_number { rows.clone() } else { quoted(rows) }, &place);
        }
        if let Some(level) = &settings.require {
            let place = flag("--require");
            self.section("guarantee", &place);
            self.value("require", &quoted(level), &place);
        }
    }

    /// A section of names and texts.
    fn table(&mut self, section: &str, pairs: &[(String, String)], flag: &str) {
        let place = Location::whole(flag);
        if !pairs.is_empty() {
            self.section(section, &place);
            pairs.iter().for_each(|(name, text)| self.value(&key(name), &quoted(text), &place));
        }
    }
}

/// A key, in quotes if it needs them.
pub(super) fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// A string of TOML in one line.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
