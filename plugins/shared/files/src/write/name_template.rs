//! Names of objects: a template with the run, the task, a number and partition values, and the
//! rules by which no two objects can get the same key.

use transload_plugin_api::{Error, Result};

use super::partition_part::Part;

/// What stands for NULL in a partition folder's name, as Hive has it.
pub(crate) const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";
/// The longest key that all stores take, in bytes.
const KEY_BYTES: usize = 1024;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Run,
    Task,
    Number,
    Extension,
    /// The value of a partition column, by its place in [`NameTemplate::columns`].
    Value(usize),
}

/// The names of a run's objects, below its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameTemplate {
    pieces: Vec<Piece>,
    columns: Vec<NameColumn>,
}

/// A column whose value stands in names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameColumn {
    pub(crate) name: String,
    pub(crate) part: Part,
    /// Its folder is `name=value`, from which a reader gets the column back.
    pub(crate) hive: bool,
}

impl NameColumn {
    /// The name that a reader gives to the column of the folder.
    pub(crate) fn label(&self) -> String {
        self.part.label(&self.name)
    }
}

/// What makes one object's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naming<'a> {
    pub(crate) run: &'a str,
    pub(crate) task: u32,
    pub(crate) number: u32,
    pub(crate) extension: &'a str,
    /// Encoded, in the order of [`NameTemplate::columns`].
    pub(crate) values: &'a [String],
}

impl NameTemplate {
    /// A template of Hive folders for `partition_by`, and of `name` below them.
    ///
    /// # Errors
    /// [`ErrorKind::Options`] for braces that do not match and for names that no store takes.
    pub(crate) fn parse(name: &str, partition_by: &[String]) -> Result<Self> {
        let mut template = Self { pieces: Vec::new(), columns: Vec::new() };
        for text in partition_by {
            let (part, column) = Part::parse(text);
            let label = part.label(column);
            if template.columns.iter().any(|placed| placed.label() == label) {
                return Err(wrong(format!("`partition_by` names `{label}` twice")));
            }
            template.text(&format!("{}=", encode(label.as_bytes())));
            template.value(text, true);
            template.text("/");
        }
        let mut rest = name;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((word, after)) = behind.split_once('}') else {
                return Err(wrong(format!("`name`: a `{{` without its `}}` in `{name}`")));
            };
            template.text(before);
            template.word(word, name)?;
            rest = after;
        }
        template.text(rest);
        if rest.contains('}') {
            return Err(wrong(format!("`name`: a `}}` without its `{{` in `{name}`")));
        }
        template.mark_hive();
        template.check_shape()?;
        Ok(template)
    }

    /// One name, whatever characters it has.
    pub(crate) fn fixed(name: &str) -> Self {
        Self { pieces: vec![Piece::Text(name.to_owned())], columns: Vec::new() }
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    fn word(&mut self, word: &str, name: &str) -> Result<()> {
        let piece = match word {
            "run" => Piece::Run,
            "task" => Piece::Task,
            "number" => Piece::Number,
            "ext" => Piece::Extension,
            "" => return Err(wrong(format!("`name`: empty braces in `{name}`"))),
            column => {
                self.value(column, false);
                return Ok(());
            }
        };
        self.pieces.push(piece);
        Ok(())
    }

    /// Adds the value of a column, or a part of it: `day(created_at)`.
    fn value(&mut self, text: &str, hive: bool) {
        let (part, name) = Part::parse(text);
        let is_known = |placed: &NameColumn| (placed.name.as_str(), placed.part) == (name, part);
        let index = self.columns.iter().position(is_known).unwrap_or_else(|| {
            self.columns.push(NameColumn { name: name.to_owned(), part, hive });
            self.columns.len() - 1
        });
        self.pieces.push(Piece::Value(index));
    }

    /// Columns placed by hand as a whole folder `name={name}/` read back like the others.
    fn mark_hive(&mut self) {
        for (at, piece) in self.pieces.iter().enumerate() {
            let Piece::Value(index) = piece else { continue };
            let label = format!("{}=", encode(self.columns[*index].label().as_bytes()));
            let before = match at.checked_sub(1).map(|before| &self.pieces[before]) {
                Some(Piece::Text(text)) => text.rsplit('/').next() == Some(label.as_str()),
                _ => false,
            };
            let behind =
                matches!(self.pieces.get(at + 1), Some(Piece::Text(text)) if text.starts_with('/'));
            self.columns[*index].hive |= before && behind;
        }
    }

    /// Renders once with harmless values: what is wrong then is wrong always.
    fn check_shape(&self) -> Result<()> {
        let values = vec!["x".to_owned(); self.columns.len()];
        let naming = Naming { run: "r", task: 0, number: 0, extension: "csv", values: &values };
        check_key(&self.render(naming)).map_err(|reason| wrong(format!("`name`: {reason}")))
    }

    /// The columns whose values stand in names.
    pub(crate) fn columns(&self) -> &[NameColumn] {
        &self.columns
    }

    /// Refuses a template by which two objects could get the same key. `rolls`: a task may begin
    /// more than one object; `shares`: objects of other runs may lie beside these.
    ///
    /// # Errors
    /// [`ErrorKind::Options`], saying which placeholder is missing.
    pub(crate) fn check_unique(&self, tasks: u32, rolls: bool, shares: bool) -> Result<()> {
        let has = |piece: &Piece| self.pieces.contains(piece);
        let missing = if shares && !has(&Piece::Run) {
            ("{run}", "objects of several runs may lie in one prefix")
        } else if tasks > 1 && !has(&Piece::Task) {
            ("{task}", "several tasks write")
        } else if (rolls || !self.columns.is_empty()) && !has(&Piece::Number) {
            ("{number}", "a task may write several objects")
        } else {
            return Ok(());
        };
        let (word, reason) = missing;
        Err(wrong(format!("`name` needs `{word}`: {reason}"))
            .hint("the default is `part-{run}-{task}-{number}.{ext}`"))
    }

    /// Whether names of two runs differ.
    pub(crate) fn has_run(&self) -> bool {
        self.pieces.contains(&Piece::Run)
    }

    /// Whether names say their format.
    pub(crate) fn has_extension(&self) -> bool {
        self.pieces.contains(&Piece::Extension)
    }

    /// One object's name.
    pub(crate) fn render(&self, naming: Naming<'_>) -> String {
        let mut name = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Run => name.push_str(naming.run),
                Piece::Task => name.push_str(&format!("{:05}", naming.task)),
                Piece::Number => name.push_str(&format!("{:05}", naming.number)),
                Piece::Extension => name.push_str(naming.extension),
                Piece::Value(index) => name.push_str(&naming.values[*index]),
            }
        }
        name
    }
}

/// A value as it may stand in a key: letters, digits, `-`, `_` and `.` as they are, every other
/// byte as `%XX`, as Hive and its readers do.
pub fn encode(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                text.push(char::from(*byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Says what is wrong with a name below the prefix, if something is.
pub(crate) fn check_key(name: &str) -> std::result::Result<(), String> {
    if name.len() > KEY_BYTES {
        return Err(format!("the key has {} bytes, the limit is {KEY_BYTES}", name.len()));
    }
    for segment in name.split('/') {
        match segment {
            "" => return Err(format!("`{name}` has an empty folder or file name")),
            "." | ".." => return Err(format!("`{name}` has the folder name `{segment}`")),
            _ if segment.starts_with(['_', '.']) => {
                return Err(format!("`{segment}` would be hidden: it begins with `_` or `.`"));
            }
            _ if segment.contains(|c: char| c.is_control() || c == '\\') => {
                return Err(format!("{segment:?} has a control character or a backslash"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn wrong(message: String) -> Error {
    Error::options(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn name(template: &str, partition_by: &[&str], values: &[&str]) -> String {
        let partition_by: Vec<_> = partition_by.iter().map(|it| (*it).to_owned()).collect();
        let values: Vec<_> = values.iter().map(|it| encode(it.as_bytes())).collect();
        let naming =
            Naming { run: "r-1", task: 7, number: 12, extension: "csv.gz", values: &values };
        NameTemplate::parse(template, &partition_by).unwrap().render(naming)
    }

    #[test]
    fn names_are_made_of_their_pieces() {
        let cases: [(&str, &[&str], &[&str], &str); 6] = [
            ("part-{run}-{task}-{number}.{ext}", &[], &[], "part-r-1-00007-00012.csv.gz"),
            ("x.{ext}", &["day"], &["2026-11-21"], "day=2026-11-21/x.csv.gz"),
            ("{run}/{number}", &["a", "b"], &["1", "/.."], "a=1/b=%2F../r-1/00012"),
            ("{land}/x", &[], &["日 x"], "%E6%97%A5%20x/x"),
            ("day={day}/h{hour}/x", &[], &["d", "5"], "day=d/h5/x"),
            ("{a}-{a}", &[], &["1"], "1-1"),
        ];
        for (template, partition_by, values, expected) in cases {
            assert_eq!(name(template, partition_by, values), expected);
        }
    }

    #[test]
    fn a_column_reads_back_from_its_whole_folder_only() {
        for (template, partition_by, hive) in [
            ("x", &["a"][..], true),
            ("a={a}/x", &[], true),
            ("p/a={a}/x", &[], true),
            ("{a}/x", &[], false),
            ("a={a}", &[], false),
            ("ba={a}/x", &[], false),
            ("a={a}{run}/x", &[], false),
        ] {
            let partition_by: Vec<_> = partition_by.iter().map(|it| (*it).to_owned()).collect();
            let template = NameTemplate::parse(template, &partition_by).unwrap();
            assert_eq!(template.columns()[0].hive, hive, "{template:?}");
        }
    }

    #[test]
    fn wrong_templates_are_refused() {
        for template in [
            "", "{", "a}", "{}", "a{run", "/x", "x/", "a//b", "../x", "a/./b", "_x", "a/.x",
            "a\nb", "a\\b",
        ] {
            let error = NameTemplate::parse(template, &[]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Options, "{template}");
        }
        let twice = ["a".to_owned(), "a".to_owned()];
        assert!(NameTemplate::parse("x", &twice).is_err());
        assert!(NameTemplate::parse(&"x".repeat(1100), &[]).is_err());
        assert!(NameTemplate::parse("x", &["_hidden".to_owned()]).is_err());
    }

    #[test]
    fn templates_that_could_collide_are_refused() {
        for (template, tasks, rolls, shares, missing) in [
            ("x", 1, false, false, ""),
            ("x", 2, false, false, "{task}"),
            ("x", 1, true, false, "{number}"),
            ("x-{number}", 1, true, false, ""),
            ("{a}/x", 1, false, false, "{number}"),
            ("x-{task}-{number}", 2, true, true, "{run}"),
            ("x-{run}-{task}-{number}", 2, true, true, ""),
        ] {
            let outcome =
                NameTemplate::parse(template, &[]).unwrap().check_unique(tasks, rolls, shares);
            let message = outcome.map_or_else(|error| error.message, |()| String::new());
            assert_eq!(message.contains("needs"), !missing.is_empty(), "{template}: {message}");
            assert!(message.contains(missing), "{template}: {message}");
        }
    }

    #[test]
    fn values_that_no_key_can_hold_are_told() {
        for name in ["a/../b", "a//b", "day=1/_x", "x\u{7f}", &"y".repeat(2000)] {
            assert!(check_key(name).is_err(), "{name}");
        }
        check_key("day=__HIVE_DEFAULT_PARTITION__/part-1.csv").unwrap();
        check_key("day=/..x..").unwrap_err();
        check_key("day=/x..").unwrap();
    }
}
