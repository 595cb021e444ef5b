//! A job file to start from: what FROM and TO say, the columns with their types, and in comments what
//! else can be said.

use transload_plugin_api::{Descriptor, OptionScope, OptionSpec};

use super::{
    SeenColumn,
    first_rows::TypeOrigin,
    text::{key, quoted},
};
use crate::job::JobText;

/// Options that are shown in a comment.
const OPTIONS: usize = 6;
/// Columns of a line of comment.
const WIDTH: usize = 98;

/// The job file with comments.
pub(crate) fn commented(
    text: &JobText,
    columns: &[SeenColumn],
    (reader, writer): (&Descriptor, &Descriptor),
) -> String {
    let mut sections = Sections::of(&text.text);
    let mut file = String::from(
        "# A job that moves one table. To try it, without changing anything, and to run it:\n\
         #   transload plan JOB.toml\n\
         #   transload run JOB.toml\n",
    );
    file += &sections.take("");
    let mut own = sections.take("reader");
    let given = own.clone();
    if !own.contains("\ncolumns = ") {
        own += &column_list(columns);
    }
    let of_reader = reader.reader.as_ref().map(|reader| reader.options.as_slice());
    own += &options(&given, of_reader.unwrap_or_default());
    file += &own;
    file += &schema(sections.take("reader.schema"), columns);
    let mut own = sections.take("writer");
    let given = own.clone();
    own += &write_keys(&given, writer);
    let of_writer = writer.writer.as_ref().map(|writer| writer.options.as_slice());
    own += &options(&given, of_writer.unwrap_or_default());
    file += &own;
    for (name, example) in [
        ("map", "# target_column = \"source_column\"   # where the names differ\n"),
        (
            "channel",
            "# parallelism = 4             # tasks at a time; default: the number of cores\n",
        ),
        ("dirty", "# max_rows = 0                # the first row that is refused stops the run\n"),
        (
            "guarantee",
            "# require = \"effectively-once\"   # the plan fails if it cannot promise this\n",
        ),
    ] {
        file += &match sections.take(name) {
            own if own.is_empty() => format!("\n# [{name}]\n{example}"),
            own => own,
        };
    }
    file
}

/// The sections of a job file, by name.
struct Sections(Vec<(String, String)>);

impl Sections {
    fn of(text: &str) -> Self {
        let mut sections = vec![(String::new(), String::new())];
        for line in text.lines() {
            let name = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
            if let Some(name) = name {
                sections.push((name.to_owned(), "\n".to_owned()));
            }
            if let Some((_, section)) = sections.last_mut().filter(|_| !line.is_empty()) {
                section.push_str(line);
                section.push('\n');
            }
        }
        Self(sections)
    }

    fn take(&mut self, name: &str) -> String {
        let found = self.0.iter_mut().find(|(own, _)| own == name);
        found.map(|(_, text)| std::mem::take(text)).unwrap_or_default()
    }
}

/// One column a line, with its type.
fn column_list(columns: &[SeenColumn]) -> String {
    let names: Vec<_> = columns.iter().map(|column| quoted(&column.name) + ",").collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut list = String::from("columns = [\n");
    for (name, column) in names.iter().zip(columns) {
        let mark = match (column.is_key, column.nullable) {
            (true, _) => ", key",
            (false, true) => "",
            (false, false) => ", not null",
        };
        let comment = format!("{}{mark}, {}", column.logical, column.from());
        list += &format!("    {name:widest$}  # {}\n", comment.replace(char::is_control, " "));
    }
    list + "]\n"
}

/// `[reader.schema]`, with an example where a type was inferred.
fn schema(own: String, columns: &[SeenColumn]) -> String {
    let inferred = columns.iter().find(|column| column.origin == TypeOrigin::Inferred);
    match (own.is_empty(), inferred) {
        (true, Some(column)) => format!(
            "\n# Types that the sample does not show: without the `#` of both lines they are declared.\n\
             # [reader.schema]\n# {} = {}\n",
            key(&column.name),
            quoted(&column.logical.to_string())
        ),
        _ => own,
    }
}

/// Write mode, key and creation, as far as they are not given.
fn write_keys(given: &str, writer: &Descriptor) -> String {
    let Some(writer) = &writer.writer else { return String::new() };
    let mut lines = String::new();
    let is_given = |key: &str| given.contains(&format!("\n{key} = "));
    if !is_given("write_mode") {
        let words: Vec<_> = writer.modes.iter().map(|spec| spec.mode.word()).collect();
        let first = words.first().copied().unwrap_or_default();
        lines += &format!(
            "# write_mode = \"{first}\"   # or: {}\n",
            words[1.min(words.len())..].join(", ")
        );
    }
    let is_keyed = writer.modes.len() > 2 || writer.job_names_key;
    if !is_given("key") && is_keyed {
        lines += "# key = [\"id\"]   # default: the target's primary key\n";
    }
    if !is_given("create_table") && writer.creates_table {
        lines += "# create_table = true   # if the table does not exist\n";
    }
    lines
}

/// The first options of a job that have a default and are not given.
fn options(given: &str, specs: &[OptionSpec]) -> String {
    let is_free = |spec: &&OptionSpec| {
        spec.scope == OptionScope::Job
            && !spec.secret
            && !given.contains(&format!("\n{} = ", spec.key))
    };
    let free = specs.iter().filter(is_free).filter_map(|spec| Some((spec, spec.default.as_ref()?)));
    free.take(OPTIONS)
        .filter(|(_, default)| !default.is_array() && !default.is_object())
        .map(|(spec, default)| {
            let line = format!("# {} = {default}   # {}", spec.key, spec.doc);
            let cut: String = line.chars().take(WIDTH).collect();
            if cut.len() < line.len() { format!("{cut}...\n") } else { format!("{line}\n") }
        })
        .collect()
}
