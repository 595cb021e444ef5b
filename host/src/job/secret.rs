//! References to secrets, and their values when a plugin requests them. A job holds references only.
//! A value is read again for each connection, so that a rotated password works on reconnect.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use transload_plugin_api::{Error, Result, Secret, Secrets};

use super::{
    Redactor,
    document::{Entry, Table, Value},
    problem::{Findings, Problem},
    value,
};

mod command;

/// Longest secret, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The secret options of one side, by option key.
pub(crate) type SecretRefs = BTreeMap<String, SecretRef>;

/// The source of one secret's value. There is no fallback.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SecretRef {
    /// An environment variable's name.
    Env(String),
    /// A file's absolute path.
    File(PathBuf),
    /// A program that prints it.
    Command {
        /// Program and arguments; not passed through a shell.
        argv: Vec<String>,
        /// Its working folder: that of the file that names it.
        folder: PathBuf,
    },
    /// A value written in the job or connection file itself.
    Literal(LiteralSecret),
}

/// Redacts the paths that lead to no file: such a path may be the secret itself, written in the wrong
/// place.
pub(crate) fn learn_lost_paths(refs: &SecretRefs, redactor: &Redactor) {
    for (name, reference) in refs {
        if let SecretRef::File(path) = reference
            && !path.exists()
        {
            redactor.learn(name, &path.to_string_lossy());
        }
    }
}

/// A value written in a file. It is not serialised.
#[derive(Clone)]
pub(crate) struct LiteralSecret(Option<Arc<Secret>>);

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

/// The environment variables that hold secrets, in all files read so far.
static VARIABLES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Values that the command line gives for variables. They are in no environment.
static GIVEN: Mutex<BTreeMap<String, Arc<Secret>>> = Mutex::new(BTreeMap::new());

/// From now on, `{ env = "NAME" }` is this value, whatever the environment says.
pub(crate) fn give_secret(variable: String, value: Secret) {
    GIVEN.lock().insert(variable, Arc::new(value));
}

/// Learns the names of variables from every `{ env = "NAME" }` of a file, whatever its key means.
pub(super) fn learn_variables(table: &Table) {
    for entry in &table.0 {
        match (&entry.node.value, entry.key.as_str()) {
            (Value::Text(name), "env") => drop(VARIABLES.lock().insert(name.clone())),
            (Value::Table { table, .. }, _) => learn_variables(table),
            _ => {}
        }
    }
}

/// The command gets none of the variables that hold a secret: it needs its own at most.
pub(crate) fn without_secrets(command: &mut Command) {
    // The system's functions take no other names.
    let names = VARIABLES.lock();
    for name in names.iter().filter(|name| is_variable(name)) {
        command.env_remove(name);
    }
}

/// Whether a text can be the name of a variable, and not the secret itself by mistake.
fn is_variable(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(fits) && name.starts_with(|first: char| !first.is_ascii_digit())
}

/// The file that holds an option.
pub(super) struct SourceFile<'a> {
    pub(super) folder: &'a Path,
    pub(super) file: &'a Path,
}

/// Reads a secret option: a reference, or a literal with its warning. Messages never hold its value.
pub(super) fn secret_ref(
    entry: &Entry,
    origin: &SourceFile<'_>,
    findings: &mut Findings,
) -> Option<SecretRef> {
    if let Value::Text(text) = &entry.node.value {
        literal_findings(entry, origin, findings);
        return Some(SecretRef::Literal(LiteralSecret(Some(Arc::new(Secret::new(text))))));
    }
    reference(entry, origin).map_err(|problem| findings.problems.add(problem)).ok()
}

/// A literal leads to a warning, or to a problem if other users can read the file.
fn literal_findings(entry: &Entry, origin: &SourceFile<'_>, findings: &mut Findings) {
    let hint = "use { env = \"NAME\" }, { file = \"path\" } or { command = [...] }";
    let at = |message: String| Problem::new(&entry.node.place, &entry.path, message).hint(hint);
    if others_may_read(origin.file) {
        findings.problems.add(
            at(format!("secret `{}` is written in a world-readable file", entry.key))
                .hint(format!("{hint}, or run: chmod 600 {}", origin.file.display())),
        );
    } else {
        findings.warnings.add(at(format!("secret `{}` is written in the file", entry.key)));
    }
}

/// A table with exactly one source.
fn reference(entry: &Entry, origin: &SourceFile<'_>) -> Result<SecretRef, Problem> {
    const EXPECTED: &str =
        "one of { env = \"NAME\" }, { file = \"path\" }, { command = [\"program\", ...] }";
    let table = value::table(entry, EXPECTED)?;
    let [source] = table.0.as_slice() else {
        let found = format!("a table with {} keys", table.0.len());
        return Err(value::refusal(entry, &entry.node, EXPECTED, &found));
    };
    match source.key.as_str() {
        "env" => match value::text(source)? {
            name if !is_variable(&name) => {
                let message = "`env` must be the name of an environment variable";
                Err(Problem::new(&source.node.place, &source.path, message)
                    .hint("a name has letters, digits and `_` only: { env = \"NAME\" }"))
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

/// A command; a program with a `/` is relative to the file's folder, others are searched in `PATH`.
fn command_ref(source: &Entry, folder: &Path) -> Result<SecretRef, Problem> {
    let Value::List(_) = source.node.value else {
        let expected = "a list of program and arguments";
        let problem = value::refusal(source, &source.node, expected, source.node.value.kind());
        return Err(
            problem.hint("it is not passed to a shell: write [\"vault\", \"read\", \"...\"]")
        );
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

/// Other systems have no such bits; their access lists are not checked.
#[cfg(not(unix))]
fn mode_of(_metadata: &fs::Metadata) -> u32 {
    0o600
}

fn others_may_read(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| mode_of(&metadata) & 0o004 != 0)
}

/// One side's secrets, resolved when its plugin requests them. The redactor learns every value.
pub(crate) struct JobSecrets {
    refs: SecretRefs,
    redactor: Redactor,
}

impl JobSecrets {
    /// The secrets of a job's reader or writer. Those at hand are redacted from now on: a statement of
    /// the job may contain one, and be printed before a plugin requests it.
    pub(crate) fn new(refs: SecretRefs, redactor: Redactor) -> Self {
        for (name, reference) in &refs {
            // A program runs only if its secret is needed.
            if !matches!(reference, SecretRef::Command { .. })
                && let Ok(secret) = reference.resolve()
            {
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
        let secret =
            reference.resolve().map_err(|error| error.at(format!("secret `{key}`")).of_key(key))?;
        self.redactor.learn(key, secret.expose());
        Ok(Some(secret))
    }
}

impl SecretRef {
    /// Reads the value. An empty one is an error, except for a literal.
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
    Error::options(message)
}

fn from_env(name: &str) -> Result<Secret> {
    if let Some(given) = GIVEN.lock().get(name) {
        return Ok(Secret::new(given.expose()));
    }
    match std::env::var(name) {
        Ok(value) if value.is_empty() => {
            Err(error(format!("environment variable `{name}` is empty")))
        }
        Ok(value) => Ok(Secret::new(value)),
        Err(std::env::VarError::NotPresent) => {
            Err(error(format!("environment variable `{name}` is not set"))
                .hint(format!("set `{name}` in the environment of transload")))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(error(format!("environment variable `{name}` is not UTF-8")))
        }
    }
}

fn from_literal(literal: Option<&Secret>) -> Result<Secret> {
    let secret = literal.ok_or_else(|| {
        error("the value is written in the job's files, which are not part of the plan")
            .hint("use { env = ... }, { file = ... } or { command = ... }")
    })?;
    Ok(Secret::new(secret.expose()))
}

/// Reads a secret file after checking its type, owner and mode.
fn from_file(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let failed = |source: std::io::Error| error(format!("cannot read file `{shown}`: {source}"));
    // Checked before it is opened, because opening a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(|source| missing(&source))?;
    if !metadata.is_file() {
        return Err(error(format!("`{shown}` is not a regular file")));
    }
    let file = fs::File::open(path).map_err(failed)?;
    check_access(&file.metadata().map_err(failed)?, path)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The error for a path that leads to no file. It does not repeat the path, which may be the secret
/// itself by mistake.
fn missing(source: &std::io::Error) -> Error {
    error(format!("the file that `file` names cannot be read: {source}"))
        .hint("write the path of a file: { file = \"secrets/password\" }")
}

/// The file must belong to the user or root, with mode 0600 or stricter. If its group can read it (as
/// for systemd's credentials), a warning is logged.
fn check_access(metadata: &fs::Metadata, path: &Path) -> Result<()> {
    let (mode, shown) = (mode_of(metadata), path.display());
    if let Some(problem) = access_problem(mode, owner_and_user(metadata)) {
        return Err(error(format!("file `{shown}` {problem}"))
            .hint(format!("it must belong to the user that runs transload: chmod 600 {shown}")));
    }
    if mode & 0o040 != 0 {
        tracing::warn!(file = %shown, "the group can read this secret file; expected mode 0600");
    }
    Ok(())
}

/// Why a file of this mode and owner is refused.
fn access_problem(mode: u32, owner_and_user: Option<(u32, u32)>) -> Option<String> {
    if let Some((owner, user)) = owner_and_user
        && owner != 0
        && owner != user
    {
        return Some(format!("belongs to user {owner}, expected {user} or root"));
    }
    let mode = mode & 0o7777;
    (mode & 0o027 != 0).then(|| format!("is open to others (mode {mode:04o}, expected 0600)"))
}

#[cfg(unix)]
fn owner_and_user(metadata: &fs::Metadata) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.uid(), rustix::process::geteuid().as_raw()))
}

#[cfg(not(unix))]
fn owner_and_user(_metadata: &fs::Metadata) -> Option<(u32, u32)> {
    None
}

/// Text, without one newline at its end.
fn from_bytes(bytes: Vec<u8>) -> Result<Secret> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(error(format!("the value is longer than {} KiB", MAX_BYTES >> 10)));
    }
    // The error of `from_utf8` is dropped, because it holds the bytes.
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

#[cfg(test)]
mod tests {
    use super::*;
    use transload_plugin_api::ErrorKind;

    fn ask(reference: SecretRef) -> Result<String> {
        let refs = SecretRefs::from([("password".to_owned(), reference)]);
        let secrets = JobSecrets::new(refs, Redactor::new());
        Ok(secrets.secret("password")?.unwrap().expose().to_owned())
    }

    fn refused(reference: SecretRef) -> String {
        let error = ask(reference).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Options);
        error.to_string()
    }

    #[test]
    fn from_the_environment() {
        // Set by whoever runs the tests; setting one here would race with other tests.
        let path = std::env::var("PATH").unwrap();
        assert_eq!(ask(SecretRef::Env("PATH".to_owned())).unwrap(), path);
        assert_eq!(
            refused(SecretRef::Env("TRANSLOAD_NOT_SET".to_owned())),
            "secret `password`: environment variable `TRANSLOAD_NOT_SET` is not set"
        );
    }

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        set_mode(&path, mode);
        (folder, path)
    }

    #[cfg(unix)]
    fn set_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[cfg(not(unix))]
    fn set_mode(_path: &Path, _mode: u32) {}

    #[test]
    fn from_a_file_without_its_last_newline() {
        for (content, expected) in [
            (&b"s3cret"[..], "s3cret"),
            (b"s3cret\n", "s3cret"),
            (b"s3cret\r\n", "s3cret"),
            (b"s3cret\n\n", "s3cret\n"),
            (b" s3cret ", " s3cret "),
            (b"line\nline", "line\nline"),
        ] {
            let (_folder, path) = file(content, 0o600);
            assert_eq!(ask(SecretRef::File(path)).unwrap(), expected);
        }
    }

    #[test]
    fn files_that_hold_no_secret_are_refused() {
        let long = vec![b'x'; MAX_BYTES as usize + 1];
        for (content, expected) in [
            (&b""[..], "the value is empty"),
            (b"\n", "the value is empty"),
            (b"s3cret\xFF", "the value is not UTF-8"),
            (&long, "the value is longer than 64 KiB"),
        ] {
            let (_folder, path) = file(content, 0o600);
            assert_eq!(refused(SecretRef::File(path)), format!("secret `password`: {expected}"));
        }
        let (_folder, path) = file(&long[1..], 0o600);
        assert_eq!(ask(SecretRef::File(path)).unwrap().len() as u64, MAX_BYTES);
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = refused(SecretRef::File(folder.path().to_path_buf()));
        assert!(refusal.ends_with("is not a regular file"), "{refusal}");
        let refusal = refused(SecretRef::File(folder.path().join("none")));
        assert!(refusal.contains("names cannot be read: No such file"), "{refusal}");
        assert!(!refusal.contains("none"), "the path may be the secret: {refusal}");
    }

    #[test]
    fn files_that_others_can_open_or_own_are_refused() {
        let open = |mode: &str| Some(format!("is open to others (mode {mode}, expected 0600)"));
        let foreign = Some("belongs to user 7, expected 1000 or root".to_owned());
        for (mode, owner, expected) in [
            (0o100_400, 1000, None),
            (0o100_600, 1000, None),
            (0o100_640, 1000, None),
            (0o100_440, 0, None),
            (0o100_644, 1000, open("0644")),
            (0o100_604, 0, open("0604")),
            (0o100_620, 1000, open("0620")),
            (0o100_601, 1000, open("0601")),
            (0o100_600, 7, foreign),
        ] {
            assert_eq!(access_problem(mode, Some((owner, 1000))), expected, "{mode:o} {owner}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_everybody_can_read_is_not_read() {
        let (_folder, path) = file(b"canary-7f3a", 0o644);
        let refusal = refused(SecretRef::File(path.clone()));
        let path = path.display();
        assert_eq!(
            refusal,
            format!(
                "secret `password`: file `{path}` is open to others (mode 0644, expected 0600)"
            )
        );
    }

    #[test]
    fn secrets_at_hand_are_redacted_at_once_and_those_of_programs_when_they_have_run() {
        let (_folder, path) = file(b"canary-7f3a\n", 0o600);
        let redactor = Redactor::new();
        let argv = vec!["echo".to_owned(), "canary-9b2c".to_owned()];
        let command = SecretRef::Command { argv, folder: "/".into() };
        let refs = [("password".to_owned(), SecretRef::File(path)), ("key".to_owned(), command)];
        let secrets = JobSecrets::new(SecretRefs::from(refs), redactor.clone());
        assert_eq!(redactor.redact("canary-7f3a"), "[redacted:password]");
        assert_eq!(redactor.redact("canary-9b2c"), "canary-9b2c", "it has not run");
        secrets.secret("key").unwrap();
        assert_eq!(redactor.redact("canary-9b2c"), "[redacted:key]");
    }

    #[test]
    fn references_travel_and_literals_do_not() {
        let command = SecretRef::Command { argv: vec!["a".into()], folder: "/b".into() };
        let literal = SecretRef::Literal(LiteralSecret(Some(Arc::new(Secret::new("canary")))));
        for (reference, expected) in [
            (SecretRef::Env("X".to_owned()), r#"{"env":"X"}"#),
            (SecretRef::File("/x".into()), r#"{"file":"/x"}"#),
            (command, r#"{"command":{"argv":["a"],"folder":"/b"}}"#),
            (literal, r#"{"literal":null}"#),
        ] {
            let json = serde_json::to_string(&reference).unwrap();
            assert_eq!(json, expected);
            let travelled: SecretRef = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&travelled).unwrap(), json);
        }
    }
}
