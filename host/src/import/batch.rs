//! Many documents at once: they are found, each becomes jobs, the files are written, and every job is
//! checked. One that is refused does not stop the others.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use transload_plugin_api::code;

use super::{
    connections::{self, Connections, Variable},
    cx::Cx,
    job_text::{JobText, pair},
    notes::{Choices, Kind, Note, Notes},
    parameters,
    sling_store::Environment,
    tool::{Part, Tool},
    tree::{Item, place_of},
};
use crate::{Error, Exit, Result};

/// The longest name of a job, as job files have it.
const LONGEST_NAME: usize = 90;
/// Larger files are no documents.
const LARGEST: u64 = 16 << 20;

/// What is imported, and how.
pub(crate) struct Request {
    pub(crate) tool: Tool,
    /// Documents, and folders of them.
    pub(crate) paths: Vec<PathBuf>,
    /// Where the jobs are written.
    pub(crate) out: PathBuf,
    /// Files that are there are replaced.
    pub(crate) force: bool,
    pub(crate) choices: Choices,
    /// Sling's connections.
    pub(crate) environment: Option<Environment>,
    /// Values for `[params]` of every job that uses them.
    pub(crate) params: Vec<(String, String)>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// It needs no work but the variables of secrets.
    Imported,
    /// It was imported, and something is left to do.
    Unfinished,
    /// Nothing was imported.
    Refused,
    /// It is no document of the tool.
    Skipped,
}

/// A job that was written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ImportedJob {
    /// The job's file.
    pub(crate) file: PathBuf,
    /// The parameters that each run has to give.
    pub(crate) parameters: Vec<String>,
    #[serde(skip)]
    text: String,
}

/// One document.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DocumentReport {
    pub(crate) file: PathBuf,
    pub(crate) status: Status,
    pub(crate) jobs: Vec<ImportedJob>,
    pub(crate) notes: Vec<Note>,
}

/// All documents of an import.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Imported {
    pub(crate) documents: Vec<DocumentReport>,
    /// The variables that the jobs read secrets from.
    pub(crate) variables: Vec<Variable>,
    /// The connections whose address is to be filled in.
    pub(crate) blank: Vec<String>,
    pub(crate) counts: Counts,
    /// Where the report of all documents is.
    pub(crate) report: PathBuf,
}

/// How many documents had which end.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) documents: usize,
    pub(crate) imported: usize,
    pub(crate) unfinished: usize,
    pub(crate) refused: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    fn of(documents: &[DocumentReport]) -> Self {
        let count = |status| documents.iter().filter(|it| it.status == status).count();
        Self {
            documents: documents.len(),
            imported: count(Status::Imported),
            unfinished: count(Status::Unfinished),
            refused: count(Status::Refused),
            skipped: count(Status::Skipped),
        }
    }

    /// The share of documents that need no work, in percent.
    pub(crate) fn share(&self) -> u64 {
        let all = self.documents - self.skipped;
        (self.imported * 100).checked_div(all).unwrap_or(0) as u64
    }
}

/// Imports all documents. `check` says what is wrong with a job that was written, given values for its
/// parameters.
///
/// # Errors
/// If there is nothing to import, or a file cannot be written.
pub(crate) fn import(
    request: &Request,
    mut check: impl FnMut(&Path, &[String]) -> Vec<String>,
) -> Result<Imported> {
    let files = documents(request)?;
    let mut connections =
        Connections::open(&request.out).map_err(|why| Error::new(Exit::Usage, why))?;
    let mut names = Vec::new();
    let mut documents = Vec::new();
    for (file, name) in files {
        documents.push(document(request, &file, &name, &mut connections, &mut names));
    }
    write(request, &documents, &connections)?;
    for document in &mut documents {
        for job in &document.jobs {
            let problems = check(&job.file, &job.parameters);
            let note = |message: String| Note {
                kind: Kind::Todo,
                code: None,
                choice: None,
                line: 1,
                column: 1,
                path: String::new(),
                message,
                hint: Some(format!("transload check {}", job.file.display())),
            };
            document.notes.extend(problems.into_iter().map(note));
        }
        document.status = status(document.status, &document.notes);
    }
    let report = request.out.join(format!("import-{}.md", request.tool.word()));
    let counts = Counts::of(&documents);
    let (variables, blank) = (connections.variables().to_vec(), connections.blank().to_vec());
    Ok(Imported { documents, variables, blank, counts, report })
}

fn status(status: Status, notes: &[Note]) -> Status {
    let has = |kind| notes.iter().any(|note| note.kind == kind);
    match status {
        Status::Imported if has(Kind::Todo) => Status::Unfinished,
        status => status,
    }
}

/// All documents in order, each with the name of its job.
fn documents(request: &Request) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for path in &request.paths {
        if path.is_dir() {
            let mut files = Vec::new();
            walk(path, request, &mut files).map_err(|error| unreadable(path, &error))?;
            files.sort();
            for file in files {
                let name = file.strip_prefix(path).unwrap_or(&file).to_owned();
                found.push((file, job_name(&name)));
            }
        } else if path.exists() {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            found.push((path.clone(), job_name(&name)));
        } else {
            let message = format!("{} does not exist", path.display());
            return Err(Error::new(Exit::Usage, message));
        }
    }
    if found.is_empty() {
        let message = format!("there is no document of {}", request.tool.name());
        let hint = format!("they are files `*.{}`", request.tool.extensions().join("`, `*."));
        return Err(Error::new(Exit::Usage, message).hint(hint));
    }
    Ok(found)
}

fn walk(folder: &Path, request: &Request, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let extension =
            path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_lowercase();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if kind.is_dir() && !is_hidden {
            walk(&path, request, files)?;
        } else if kind.is_file() && request.tool.extensions().contains(&extension.as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::new(Exit::Failed, format!("cannot read {}: {error}", path.display()))
}

/// The name of a job: that of its file with the folders before it.
fn job_name(path: &Path) -> String {
    let path = path.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy());
    named(&parts.collect::<Vec<_>>().join("-"))
}

/// A text as the name of a job.
fn named(text: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut name = String::new();
    for c in text.trim_start_matches(['.', '-']).chars() {
        if name.len() + c.len_utf8() > LONGEST_NAME {
            break;
        }
        if fits(c) || !name.ends_with('-') {
            name.push(if fits(c) { c } else { '-' });
        }
    }
    match name.trim_end_matches(['-', '.']) {
        "" => "job".to_owned(),
        name => name.to_owned(),
    }
}

/// One document; the names of jobs that are taken grow.
fn document(
    request: &Request,
    file: &Path,
    name: &str,
    connections: &mut Connections,
    names: &mut Vec<String>,
) -> DocumentReport {
    let text = match read(file) {
        Ok(text) => text,
        Err(why) => return refused(file, (1, 1), why),
    };
    let node = match request.tool.parse(&text) {
        Ok(node) => node,
        Err(error) => return refused(file, place_of(&text, error.offset), error.message),
    };
    let top = Item::top(&node);
    let parts = request.tool.parts(&top, request.choices.is_repaired("content"));
    let Some(parts) = parts.filter(|parts| !parts.is_empty()) else {
        return other(request, file, &top);
    };
    let mut report = DocumentReport {
        file: file.to_owned(),
        status: Status::Imported,
        jobs: Vec::new(),
        notes: Vec::new(),
    };
    for part in &parts {
        let name = match part.name() {
            "" => name.to_owned(),
            more => named(&format!("{name}-{more}")),
        };
        let (notes, job) = part_of(request, (file, &text, &top), (part, &name), connections, names);
        report.jobs.extend(job);
        let new = notes.into_iter().filter(|note| !report.notes.iter().any(|it| same(it, note)));
        let new: Vec<_> = new.collect();
        report.notes.extend(new);
    }
    report.status = match report.jobs.len() {
        0 => Status::Refused,
        written if written < parts.len() => Status::Unfinished,
        _ => Status::Imported,
    };
    report
}

/// One job of a document, unless it is refused: then it leaves no connections behind.
fn part_of(
    request: &Request,
    (file, text, top): (&Path, &str, &Item<'_>),
    (part, name): (&Part, &str),
    connections: &mut Connections,
    names: &mut Vec<String>,
) -> (Vec<Note>, Option<ImportedJob>) {
    let before = connections.clone();
    let name = free_name(name, names);
    let notes = Notes::new(text, &request.choices);
    let mut cx = Cx { notes, connections, job: JobText::default(), name: name.clone() };
    request.tool.import(&mut cx, top, part, request.environment.as_ref());
    let path = request.out.join(format!("{name}.toml"));
    if path.exists() && !request.force {
        let message = format!("{} exists", path.display());
        let hint = "give another folder with --out, or replace it with --force";
        cx.notes.refuse_as(code::IMPORT_EXISTS, top, message, hint);
    }
    let is_refused = cx.notes.are_refused();
    let (notes, job) = (cx.notes.finish(), cx.job);
    if is_refused {
        *connections = before;
        return (notes, None);
    }
    let job = finish(request, file, &path, job, &notes);
    (notes, Some(job))
}

fn same(one: &Note, other: &Note) -> bool {
    (one.kind, one.line, one.column, &one.message)
        == (other.kind, other.line, other.column, &other.message)
}

/// The file's text.
fn read(file: &Path) -> Result<String, String> {
    let size = fs::metadata(file).map_err(|error| format!("it cannot be read: {error}"))?.len();
    if size > LARGEST {
        return Err(format!("it has {size} bytes, and documents have at most {LARGEST}"));
    }
    let bytes = fs::read(file).map_err(|error| format!("it cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn refused(file: &Path, (line, column): (u32, u32), message: String) -> DocumentReport {
    let code = Some(code::IMPORT_SYNTAX);
    let note = Note {
        kind: Kind::Refused,
        code,
        choice: None,
        line,
        column,
        path: String::new(),
        message,
        hint: None,
    };
    DocumentReport {
        file: file.to_owned(),
        status: Status::Refused,
        jobs: Vec::new(),
        notes: vec![note],
    }
}

/// A document of another tool, or of none. In a folder it is skipped.
fn other(request: &Request, file: &Path, top: &Item<'_>) -> DocumentReport {
    let (message, hint) = request.tool.no_document(top);
    let mut report = refused(file, (1, 1), message.to_owned());
    report.notes[0].hint = hint.map(str::to_owned);
    let is_named = request.paths.iter().any(|path| path == file);
    if !is_named && hint.is_none() {
        report.status = Status::Skipped;
    }
    report
}

fn free_name(name: &str, names: &mut Vec<String>) -> String {
    let all = std::iter::once(name.to_owned()).chain((2..).map(|n| format!("{name}-{n}")));
    let taken = |name: &String| names.iter().any(|it| it.eq_ignore_ascii_case(name));
    let free = all.into_iter().find(|name| !taken(name)).unwrap_or_default();
    names.push(free.clone());
    free
}

/// The job's text, with the notes that concern its user above it.
fn finish(
    request: &Request,
    file: &Path,
    path: &Path,
    mut job: JobText,
    notes: &[Note],
) -> ImportedJob {
    let used = parameters::names(job.texts());
    for (name, value) in &request.params {
        if used.contains(name) {
            job.put("params", pair(name.clone(), value.clone()));
        }
    }
    let missing = |name: &String| !request.params.iter().any(|(given, _)| given == name);
    let parameters: Vec<String> = used.into_iter().filter(missing).collect();
    let mut head = vec![format!(
        "Imported from {} by `transload import {}`.",
        file.display(),
        request.tool.word()
    )];
    for note in notes {
        let is_told = matches!(note.kind, Kind::Kept | Kind::Repaired | Kind::Changed | Kind::Todo);
        if is_told {
            let name = note.choice.map(|name| format!(" {name}")).unwrap_or_default();
            head.push(format!("{}{name}: {} (line {})", note.kind.word(), note.message, note.line));
        }
    }
    if !parameters.is_empty() {
        let flags: Vec<_> = parameters.iter().map(|name| format!("--param {name}=...")).collect();
        head.push(format!("Run it with {}", flags.join(" ")));
    }
    ImportedJob { file: path.to_owned(), parameters, text: job.write(&head) }
}

/// Writes the jobs, and adds new connections to their file.
fn write(request: &Request, documents: &[DocumentReport], connections: &Connections) -> Result<()> {
    let failed = |path: &Path, error: io::Error| {
        Error::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(&request.out).map_err(|error| failed(&request.out, error))?;
    for job in documents.iter().flat_map(|document| &document.jobs) {
        put(&job.file, &job.text, request.force).map_err(|error| failed(&job.file, error))?;
    }
    let text = connections.write(request.tool.name());
    if text.is_empty() {
        return Ok(());
    }
    let path = request.out.join(connections::FILE);
    let gap = if path.exists() { "\n" } else { "" };
    let file = fs::OpenOptions::new().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(format!("{gap}{text}").as_bytes()));
    written.map_err(|error| failed(&path, error))
}

/// Writes a file that is not there, or replaces one.
fn put(path: &Path, text: &str, replace: bool) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    match replace {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    options.open(path)?.write_all(text.as_bytes())
}

/// Writes the report of all documents.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn keep_report(imported: &Imported, text: &str) -> Result<()> {
    fs::write(&imported.report, text).map_err(|error| {
        Error::new(Exit::Failed, format!("cannot write {}: {error}", imported.report.display()))
    })
}
