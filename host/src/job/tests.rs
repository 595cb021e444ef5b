//! Whole job files against two made-up plugins: what is refused, with the exact words, and what
//! good files mean.

use std::{fs, path::PathBuf};

use serde_json::json;
use tempfile::TempDir;
use transload_plugin_api::{
    ConflictEffect, Descriptor, Error, ErrorKind, Guarantee, Host, KeyNeed, Limits, LoadMethod,
    LogicalType, OptionKind, OptionSpec, ReaderDescriptor, Secrets, SplitAbility, WriteMode,
    WriteModeSpec, WriterDescriptor,
};

use super::*;

fn mode(mode: WriteMode) -> WriteModeSpec {
    let guarantee = Guarantee::AtLeastOnce;
    WriteModeSpec::new(mode, KeyNeed::Nothing, ConflictEffect::None, guarantee, "a mode")
}

/// A database: connection, secrets, statements, bulk loading.
fn shopdb() -> Descriptor {
    Descriptor {
        name: "shopdb".into(),
        version: "1.0.0".into(),
        summary: "a database".into(),
        options: vec![
            OptionSpec::new("host", OptionKind::Text, "name of the server").required().connection(),
            OptionSpec::new("port", OptionKind::Integer { min: 1, max: 65_535 }, "its port")
                .default(5_432)
                .connection(),
            OptionSpec::new("password", OptionKind::Text, "the login's password").secret(),
            OptionSpec::new("timeout", OptionKind::Duration, "longest wait")
                .default("30 s")
                .connection(),
            OptionSpec::new("settings", OptionKind::Map, "settings of the session").connection(),
            OptionSpec::new("table", OptionKind::Text, "the table to copy").required(),
        ],
        reader: Some(ReaderDescriptor {
            options: vec![
                OptionSpec::new("where", OptionKind::Text, "a condition"),
                OptionSpec::new("fetch", OptionKind::Size, "bytes at a time").default("1 MiB"),
            ],
            types: Vec::new(),
            ability: SplitAbility::Seekable,
            parses_text: false,
        }),
        writer: Some(WriterDescriptor {
            options: vec![OptionSpec::new("batch", OptionKind::Size, "bytes of a statement")],
            modes: vec![mode(WriteMode::Insert), mode(WriteMode::Upsert), mode(WriteMode::Ignore)],
            loads: vec![LoadMethod::Insert, LoadMethod::Copy],
            creates_table: true,
            runs_statements: true,
            limits: Limits::default(),
            types: Vec::new(),
        }),
        ..Descriptor::default()
    }
}

/// Files: paths, no statements, no tables to create.
fn sheets() -> Descriptor {
    Descriptor {
        name: "sheets".into(),
        version: "1.0.0".into(),
        summary: "files".into(),
        options: vec![
            OptionSpec::new("path", OptionKind::Paths, "files to read or write").required(),
            OptionSpec::new("delimiter", OptionKind::Text, "between fields").default(","),
            OptionSpec::new("quote", OptionKind::choice(&["always", "needed"]), "when to quote")
                .default("needed"),
        ],
        reader: Some(ReaderDescriptor {
            options: vec![
                OptionSpec::new("header", OptionKind::Boolean, "a line of names").default(true),
                OptionSpec::new("sample", OptionKind::Float { min: 0.0, max: 1.0 }, "share"),
                OptionSpec::new("nulls", OptionKind::List, "words for NULL"),
                OptionSpec::new("lookup", OptionKind::Path, "a table of words")
                    .default("words.txt"),
            ],
            ..ReaderDescriptor::default()
        }),
        writer: Some(WriterDescriptor {
            modes: vec![mode(WriteMode::Overwrite)],
            ..WriterDescriptor::default()
        }),
        ..Descriptor::default()
    }
}

fn find(plugin: &str) -> Result<Descriptor, Error> {
    match plugin {
        "shopdb" => Ok(shopdb()),
        "sheets" => Ok(sheets()),
        "source-only" => Ok(Descriptor { writer: None, ..shopdb() }),
        other => Err(Error::new(ErrorKind::NotFound, format!("unknown plugin `{other}`"))
            .hint("known are `sheets`, `shopdb`")),
    }
}

/// A fresh folder with a job and its connections.
struct Case {
    folder: TempDir,
    request: JobRequest,
}

impl Case {
    fn new(job: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("job.toml");
        fs::write(&path, job).unwrap();
        let connection_files = vec![folder.path().join("connections.toml")];
        let bizdate = Some("20261120".to_owned());
        let request = JobRequest { path, connection_files, bizdate, ..JobRequest::default() };
        Self { folder, request }
    }

    fn connections(self, text: &str) -> Self {
        fs::write(self.folder.path().join("connections.toml"), text).unwrap();
        self
    }

    fn param(mut self, name: &str, value: &str) -> Self {
        self.request.params.push((name.to_owned(), value.to_owned()));
        self
    }

    fn env(mut self, env: &str) -> Self {
        self.request.env = Some(env.to_owned());
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[cfg(unix)]
    fn mode(self, name: &str, mode: u32) -> Self {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn run(&self) -> Result<Job, Problems> {
        Job::load(&self.request)?.resolve(find)
    }

    fn job(&self) -> Job {
        self.run().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The problems as they are shown, without the folder's name.
    fn refusal(&self) -> String {
        let problems = self.run().err().expect("the job must be refused");
        problems.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

const READER: &str = "[reader]\nplugin = \"sheets\"\npath = \"in.csv\"\n";
const WRITER: &str = "[writer]\nplugin = \"shopdb\"\nhost = \"db\"\ntable = \"orders\"\n";

fn with_reader(lines: &str) -> Case {
    Case::new(&format!("{READER}{lines}\n{WRITER}"))
}

/// The added lines begin at line 8.
fn with_writer(lines: &str) -> Case {
    Case::new(&format!("{READER}{WRITER}{lines}\n"))
}

#[test]
fn smoke() {
    let job = with_writer("write_mode = \"upsert\"").job();
    println!("{}", serde_json::to_string_pretty(&job).unwrap());
    println!(
        "{}",
        with_writer("writemode = \"upsert\"\nbatch=3.5\n[dirt]\n[dirty]\nmax_rows=\"x\"").refusal()
    );
}
