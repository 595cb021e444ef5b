//! Where secrets come from, and their values when a plugin asks. A job holds references only;
//! a value is read anew for each connection, so that a rotated password works on reconnect.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use transload_plugin_api::{Error, ErrorKind, Result, Secret, Secrets};

use super::{
    Redactor,
    document::{Entry, Value},
    problem::Problem,
    resolve::Findings,
    value,
};

mod command;

/// Longest secret, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The secret options of one side, by option key.
pub type SecretRefs = BTreeMap<String, SecretRef>;

/// Where one secret's value comes from: one source, no fallback.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// An environment variable's name.
    Env(String),
    /// A file's absolute path.
    File(PathBuf),
    /// A program that prints it.
    Command {
        /// Program and arguments; no shell sees them.
        argv: Vec<String>,
        /// The folder it runs in: that of the file which names it.
        folder: PathBuf,
    },
    /// It stands in the job or connection file itself.
    Literal(LiteralSecret),
}

/// A value that stands in a file. Does not travel: it is gone after serialising.
#[derive(Clone)]
pub struct LiteralSecret(Option<Arc<Secret>>);

impl fmt::Debug for LiteralSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for LiteralSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for LiteralSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        Ok(Self(None))
    }
}

/// The file that an option stands in.
pub(super) struct Origin<'a> {
    pub(super) folder: &'a Path,
    pub(super) file: &'a Path,
}

/// A secret option as written: a reference, or a literal with its warning. Never prints a value.
pub(super) fn secret_ref(
    entry: &Entry,
    origin: &Origin<'_>,
    findings: &mut Findings,
) -> Option<SecretRef> {
    if let Value::Text(text) = &entry.node.value {
        literal_findings(entry, origin, findings);
        return Some(SecretRef::Literal(LiteralSecret(Some(Arc::new(Secret::new(text))))));
    }
    reference(entry, origin).map_err(|problem| findings.problems.add(problem)).ok()
}

/// A literal is borne with a warning, but not where everybody can read it.
fn literal_findings(entry: &Entry, origin: &Origin<'_>, findings: &mut Findings) {
    let hint =
        "take it from elsewhere: { env = \"NAME\" }, { file = \"path\" } or { command = [...] }";
    let at = |message: String| Problem::new(&entry.node.place, &entry.path, message).hint(hint);
    if others_may_read(origin.file) {
        findings
            .problems
            .add(at(format!("secret `{}` stands in a file that everybody can read", entry.key)));
    } else {
        findings.warnings.add(at(format!("secret `{}` stands in the file itself", entry.key)));
    }
}

fn reference(entry: &Entry, origin: &Origin<'_>) -> Result<SecretRef, Problem> {
    const EXPECTED: &str =
        "one of { env = \"NAME\" }, { file = \"path\" }, { command = [\"program\", ...] }";
    let table = value::table(entry, EXPECTED)?;
    let [source] = table.0.as_slice() else {
        let found = format!("a table with {} keys", table.0.len());
        return Err(value::refusal(entry, &entry.node, EXPECTED, &found));
    };
    match source.key.as_str() {
        "env" => match value::text(source)? {
            name if name.is_empty() || name.contains(['=', '\0']) => {
                let message = "`env` must be the name of an environment variable";
                Err(Problem::new(&source.node.place, &source.path, message))
            }
            name => Ok(SecretRef::Env(name)),
        },
        "file" => Ok(SecretRef::File(value::path(source, origin.folder)?.into())),
        "command" => command_ref(source, origin.folder),
        other => {
            let problem = value::refusal(source, &source.node, EXPECTED, "another source");
            Err(problem.nearest(other, ["env", "file", "command"]))
        }
    }
}

fn command_ref(source: &Entry, folder: &Path) -> Result<SecretRef, Problem> {
    let Value::List(_) = source.node.value else {
        let expected = "a list of program and arguments";
        let problem = value::refusal(source, &source.node, expected, source.node.value.kind());
        return Err(problem.hint("no shell reads it: write [\"vault\", \"read\", \"...\"]"));
    };
    let mut argv = value::list(source)?;
    match argv.first_mut() {
        Some(program) if !program.is_empty() => {
            if program.contains('/') {
                *program = value::join(folder, program).to_string_lossy().into_owned();
            }
            Ok(SecretRef::Command { argv, folder: folder.to_path_buf() })
        }
        _ => Err(value::refusal(
            source,
            &source.node,
            "a list of program and arguments",
            "no program",
        )),
    }
}

#[cfg(unix)]
fn mode_of(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode()
}

/// Other systems have no such bits; their access lists are not looked at.
#[cfg(not(unix))]
fn mode_of(_metadata: &fs::Metadata) -> u32 {
    0o600
}

fn others_may_read(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| mode_of(&metadata) & 0o004 != 0)
}

/// One side's secrets, resolved when its plugin asks. Every value becomes known to the redactor.
pub struct JobSecrets {
    refs: SecretRefs,
    redactor: Redactor,
}

impl JobSecrets {
    /// The secrets of a job's reader or writer.
    pub fn new(refs: SecretRefs, redactor: Redactor) -> Self {
        for (name, reference) in &refs {
            if let SecretRef::Literal(LiteralSecret(Some(secret))) = reference {
                redactor.learn(name, secret.expose());
            }
        }
        Self { refs, redactor }
    }
}

impl Secrets for JobSecrets {
    fn secret(&self, key: &str) -> Result<Option<Secret>> {
        let Some(reference) = self.refs.get(key) else {
            return Ok(None);
        };
        let secret = reference.resolve().map_err(|error| error.at(format!("secret `{key}`")))?;
        self.redactor.learn(key, secret.expose());
        Ok(Some(secret))
    }
}

impl SecretRef {
    /// The value now. An empty one is an error unless it was written so.
    fn resolve(&self) -> Result<Secret> {
        let bytes = match self {
            Self::Env(name) => return from_env(name),
            Self::Literal(LiteralSecret(literal)) => return from_literal(literal.as_deref()),
            Self::File(path) => from_file(path)?,
            Self::Command { argv, folder } => command::output(argv, folder)?,
        };
        from_bytes(bytes)
    }
}

fn error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Options, message)
}

fn from_env(name: &str) -> Result<Secret> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => {
            Err(error(format!("environment variable `{name}` is empty")))
        }
        Ok(value) => Ok(Secret::new(value)),
        Err(std::env::VarError::NotPresent) => {
            Err(error(format!("environment variable `{name}` is not set"))
                .hint(format!("set `{name}` where transload runs")))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(error(format!("environment variable `{name}` is not UTF-8")))
        }
    }
}

fn from_literal(literal: Option<&Secret>) -> Result<Secret> {
    let secret = literal.ok_or_else(|| {
        error("the value stands in the job's files, which do not travel with the plan")
            .hint("use { env = ... }, { file = ... } or { command = ... }")
    })?;
    Ok(Secret::new(secret.expose()))
}

fn from_file(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let failed = |source: std::io::Error| error(format!("file `{shown}` cannot be read: {source}"));
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(error(format!("`{shown}` is not a regular file")));
    }
    let file = fs::File::open(path).map_err(failed)?;
    check_access(&file.metadata().map_err(failed)?, path)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// 0600 or stricter; the group may read it (as systemd's credentials), with a warning.
fn check_access(metadata: &fs::Metadata, path: &Path) -> Result<()> {
    let (mode, shown) = (mode_of(metadata), path.display());
    if mode & 0o027 != 0 {
        return Err(error(format!(
            "file `{shown}` is open to others (mode {:04o}, expected 0600)",
            mode & 0o7777
        ))
        .hint(format!("chmod 600 {shown}")));
    }
    if mode & 0o040 != 0 {
        tracing::warn!(file = %shown, "the group can read this secret file; expected mode 0600");
    }
    Ok(())
}

/// Text without one newline at its end.
fn from_bytes(bytes: Vec<u8>) -> Result<Secret> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(error(format!("the value is longer than {} KiB", MAX_BYTES >> 10)));
    }
    // The error of `from_utf8` would hold the bytes.
    let Ok(mut text) = String::from_utf8(bytes) else {
        return Err(error("the value is not UTF-8"));
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(error("the value is empty"));
    }
    Ok(Secret::new(text))
}
