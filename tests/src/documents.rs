//! Runs a document as its reader would: writes its files into an empty folder, types its commands with
//! the packed program, and compares what they print. `docs/README.md` says how to write a block.

use std::{
    collections::BTreeMap,
    fs, mem,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::built;

/// The repository.
///
/// # Panics
/// Never: the tests lie in it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the repository")
}

/// What takes the place of the reader's own servers: texts in files and commands, and the texts that
/// stand for them in this run.
#[derive(Default)]
pub struct Stand {
    /// As documented, and in this run.
    pub texts: Vec<(String, String)>,
    /// Variables of all commands, such as a port for `psql`.
    pub variables: Vec<(String, String)>,
}

/// A part of a document.
enum Part {
    /// Text, kept as it is.
    Lines(Vec<String>),
    /// A file to write.
    File { name: String, text: String },
    /// Commands that the reader does not see, for what happened before.
    Hidden(String),
    /// Commands with their output.
    Console { fence: String, commands: Vec<Typed> },
}

/// A command with the output that the document shows.
struct Typed {
    /// As typed, without the prompt.
    text: String,
    output: Vec<String>,
    /// Its exit code.
    exit: i32,
}

/// Runs all blocks of a document, in order, in one empty folder. With `TRANSLOAD_WRITE_DOCS` in the
/// environment, writes the output of this run into the document; else compares it.
///
/// # Panics
/// If a command ends with another exit code than the document says, or prints something else.
pub fn walk(document: &str, stand: &Stand) {
    let path = root().join(document);
    let text = fs::read_to_string(&path).expect("the document");
    let mut walk = Walk::new(stand);
    let mut written = String::new();
    let mut wrong = Vec::new();
    for part in parts(&text) {
        match part {
            Part::Lines(lines) => lines.iter().for_each(|line| written += &format!("{line}\n")),
            Part::File { name, text } => walk.put(&name, &text),
            Part::Hidden(commands) => {
                let (output, exit) = walk.shell(&commands);
                assert_eq!(exit, 0, "{document}: hidden commands:\n{commands}\n{output}");
            }
            Part::Console { fence, commands } => {
                written += &format!("{fence}\n");
                for typed in commands {
                    let (printed, exit) = walk.type_in(&typed.text);
                    assert_eq!(exit, typed.exit, "{document}: $ {}\n{printed}", typed.text);
                    let printed: Vec<String> = printed.lines().map(str::to_owned).collect();
                    let same = matches(&typed.output, &printed);
                    if !same {
                        wrong.push(format!(
                            "$ {}\n--- documented\n{}\n--- printed\n{}",
                            typed.text,
                            typed.output.join("\n"),
                            printed.join("\n")
                        ));
                    }
                    let shown = if same { &typed.output } else { &printed };
                    written += &format!("$ {}\n", typed.text);
                    shown.iter().for_each(|line| written += &format!("{line}\n"));
                }
                written += "```\n";
            }
        }
    }
    if std::env::var_os("TRANSLOAD_WRITE_DOCS").is_some() {
        if written != text {
            fs::write(&path, written).expect("the document can be written");
        }
        return;
    }
    assert!(
        wrong.is_empty(),
        "{document} does not show what the program prints; to write it anew: \
         TRANSLOAD_WRITE_DOCS=1 cargo test -p transload-tests --test docs\n\n{}",
        wrong.join("\n\n")
    );
}

/// Splits a document. The lines of files and hidden commands are parts of their own, behind the lines
/// that show them.
fn parts(document: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text: Vec<String> = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let end = match line {
            "<!-- run" => "-->",
            _ if line.starts_with("```") => "```",
            _ => {
                text.push(line.to_owned());
                continue;
            }
        };
        let body: Vec<String> =
            lines.by_ref().take_while(|line| *line != end).map(str::to_owned).collect();
        let mut words = line.trim_start_matches('`').split(' ');
        if words.next() == Some("console") {
            parts.push(Part::Lines(mem::take(&mut text)));
            let exit = words.next().and_then(|word| word.strip_prefix("exit="));
            let exit = exit.map_or(0, |code| code.parse().expect("an exit code"));
            parts.push(Part::Console { fence: line.to_owned(), commands: commands(body, exit) });
            continue;
        }
        text.push(line.to_owned());
        text.extend(body.iter().cloned());
        text.push(end.to_owned());
        let name = words.next().filter(|name| name.contains('.'));
        if end == "-->" {
            parts.push(Part::Lines(mem::take(&mut text)));
            parts.push(Part::Hidden(body.join("\n")));
        } else if let Some(name) = name {
            parts.push(Part::Lines(mem::take(&mut text)));
            let text = body.iter().map(|line| format!("{line}\n")).collect();
            parts.push(Part::File { name: name.to_owned(), text });
        }
    }
    parts.push(Part::Lines(text));
    parts
}

/// The commands of a console block; the last one ends with the block's exit code.
fn commands(body: Vec<String>, exit: i32) -> Vec<Typed> {
    let mut commands: Vec<Typed> = Vec::new();
    for line in body {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(text), _) => {
                commands.push(Typed { text: text.to_owned(), output: Vec::new(), exit: 0 });
            }
            // A backslash continues a command.
            (None, Some(typed)) if typed.output.is_empty() && typed.text.ends_with('\\') => {
                typed.text += &format!("\n{line}");
            }
            (None, Some(typed)) => typed.output.push(line),
            (None, None) => panic!("a console block begins with `$ `, found: {line}"),
        }
    }
    if let Some(last) = commands.last_mut() {
        last.exit = exit;
    }
    commands
}

/// The reader's home, in which the commands of one document run.
struct Walk<'s> {
    home: tempfile::TempDir,
    stand: &'s Stand,
    /// What `export` has set.
    exported: BTreeMap<String, String>,
}

/// The reader's home, as documents show it.
const HOME: &str = "/home/ana";
/// Where the reader has unpacked the program.
const PACKAGE: &str = "/opt/transload";
/// The folder in it where the reader works.
const FOLDER: &str = "shop";

impl<'s> Walk<'s> {
    fn new(stand: &'s Stand) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(home.path().join(FOLDER)).expect("a folder");
        Self { home, stand, exported: BTreeMap::new() }
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join(FOLDER)
    }

    /// A documented text as it is in this run.
    fn real(&self, text: &str) -> String {
        self.pairs().fold(text.to_owned(), |text, (from, to)| text.replace(&from, &to))
    }

    /// A text of this run as documents show it.
    fn documented(&self, text: &str) -> String {
        self.pairs().fold(text.to_owned(), |text, (to, from)| text.replace(&from, &to))
    }

    /// Texts as documented, and in this run.
    fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        let folder = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
        let own = [folder(HOME, self.home.path()), folder(PACKAGE, package())];
        own.into_iter().chain(self.stand.texts.iter().cloned())
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, self.real(text)).expect("a file");
    }

    /// Types a command: `export` lasts, everything else is a shell of its own.
    fn type_in(&mut self, text: &str) -> (String, i32) {
        match text.strip_prefix("export ").and_then(|rest| rest.split_once('=')) {
            Some((name, value)) => {
                let value = self.real(value.trim_matches('\''));
                self.exported.insert(name.to_owned(), value);
                (String::new(), 0)
            }
            None => self.shell(text),
        }
    }

    /// The output of commands, stdout and stderr as they come, and the exit code.
    fn shell(&self, commands: &str) -> (String, i32) {
        let path = std::env::var("PATH").unwrap_or_default();
        let package = package();
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{}", self.real(commands))])
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", format!("{}:{path}", package.display()))
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", built().join("test-cache"))
            .envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("COLUMNS", "80")])
            .envs(self.stand.variables.iter().cloned())
            .envs(&self.exported)
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        let text = self.documented(&String::from_utf8_lossy(&output.stdout));
        (text, output.status.code().unwrap_or(-1))
    }
}

/// The folder of the program as it is packed for users, made from what was built for the tests.
///
/// # Panics
/// If it cannot be packed.
pub fn package() -> &'static Path {
    static PACKAGE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = PACKAGE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = Command::new(root().join(".ci/package"))
            .arg("--built")
            .arg(built())
            .arg(folder.path())
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    });
    folder.path()
}

/// Whether the documented lines are the printed ones, but for times, rates, names of runs and line
/// breaks. The line `...` stands for any words.
fn matches(documented: &[String], printed: &[String]) -> bool {
    let parts: Vec<String> = documented.split(|line| line == "...").map(normal).collect();
    let (first, rest) = parts.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    let printed = normal(printed);
    let Some(mut left) = printed.strip_prefix(first) else { return false };
    let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
    for part in middle {
        let Some((_, behind)) = left.split_once(part.as_str()) else { return false };
        left = behind;
    }
    left.ends_with(last.as_str())
}

/// Lines without what differs from run to run: times, rates, names of runs, hashes, and line breaks,
/// which depend on the lengths of paths and ports.
fn normal(lines: &[String]) -> String {
    let mut words = Vec::new();
    let mut skipping = false;
    for line in lines {
        // Which side was slower is not the same twice, and servers have versions.
        let changing = ["  bottleneck ", "ok  server "].iter().any(|start| line.starts_with(start));
        skipping = changing || (skipping && line.starts_with("        "));
        if !skipping {
            words.push(line.trim());
        }
    }
    stable(&words.join(" "))
}

/// Units of what differs from run to run.
/// Memory depends on the number of cores.
const UNITS: &[&str] = &["s", "ms", "min", "rows/s", "B/s", "kB/s", "MB/s", "GB/s", "%", "MiB"];

/// A text without times, rates, names of runs and hashes, with single blanks.
fn stable(line: &str) -> String {
    let line = without_runs(line);
    let words: Vec<&str> = line.split_whitespace().collect();
    let punctuation = |c: char| matches!(c, ',' | ';' | '.' | ')' | ':');
    let is_number = |word: &str| {
        let digits = word.trim_start_matches('(');
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '.')
    };
    let is_unit = |word: &&str| UNITS.contains(&word.trim_end_matches(punctuation));
    let mut stable = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        // The unit changes with the number: 1.4 kB/s, 755 B/s.
        if is_number(word) && words.next_if(is_unit).is_some() {
            stable.push("N");
        } else if is_hash(word) {
            stable.push("HASH");
        } else if is_time(word) {
            stable.push("TIME");
        } else {
            stable.push(word);
        }
    }
    stable.join(" ")
}

fn is_hash(word: &str) -> bool {
    let word = word.trim_matches(['"', ',']);
    word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The time of a log event, such as `2026-11-30T17:04:14.104044Z`.
fn is_time(word: &str) -> bool {
    word.len() == 27 && word.as_bytes()[10] == b'T' && word.ends_with('Z')
}

/// Replaces the names of runs, such as `20261121t120421-a6a96ece`, also where they begin the id of a
/// dirty row, such as `a6a96ece.0.17`.
fn without_runs(line: &str) -> String {
    const FORMS: [&[u8]; 2] = [b"00000000t000000-ffffffff", b"ffffffff.0."];
    let fits = |at: usize, form: &[u8]| {
        let bytes = line.as_bytes().get(at..at + form.len());
        bytes.is_some_and(|bytes| {
            bytes.iter().zip(form).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'f' => byte.is_ascii_hexdigit(),
                form => byte == form,
            })
        })
    };
    let mut at = 0;
    let mut result = String::new();
    while at < line.len() {
        if let Some(form) = FORMS.into_iter().find(|form| fits(at, form)) {
            result += "RUN";
            at += form.len();
        } else if let Some(c) = line[at..].chars().next() {
            result.push(c);
            at += c.len_utf8();
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_differs_from_run_to_run_is_not_compared_and_all_else_is() {
        let one = "orders done in 0.01 s  (run 20261121t120421-a6a96ece)\n  rows  507 read\n  \
                   bottleneck  balanced\nto /home/ana/a";
        let other = "orders done in 3 s (run 20260101t000000-00000000)\n rows 507 read\nto\n \
                     /home/ana/a";
        assert!(matches(&lines(one), &lines(other)));
        assert!(!matches(&lines(one), &lines(&other.replace("507", "508"))));
        assert!(!matches(&lines("a\nb"), &lines("a")));
        assert!(matches(&lines("a\n...\nz"), &lines("a\nb\nc\nz")));
        assert!(!matches(&lines("a\n...\nz"), &lines("a\nb\nc\ny")));
    }

    #[test]
    fn a_document_comes_apart_into_its_blocks() {
        let text = "Words.\n```csv a.csv\nx\n```\n<!-- run\ntrue\n-->\n```console exit=3\n$ a \\\n  b\nout\n$ c\n```\nEnd.\n";
        let parts = parts(text);
        let [
            Part::Lines(first),
            Part::File { name, text },
            Part::Lines(_),
            Part::Hidden(hidden),
            Part::Lines(_),
            Part::Console { commands, .. },
            Part::Lines(end),
        ] = parts.as_slice()
        else {
            panic!("{} parts", parts.len());
        };
        assert_eq!((first.len(), name.as_str(), text.as_str()), (4, "a.csv", "x\n"));
        assert_eq!((hidden.as_str(), end.len()), ("true", 1));
        let shown: Vec<_> =
            commands.iter().map(|c| (c.text.as_str(), c.output.len(), c.exit)).collect();
        assert_eq!(shown, [("a \\\n  b", 1, 0), ("c", 0, 3)]);
    }
}
