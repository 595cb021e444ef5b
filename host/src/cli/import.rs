//! The flags of the commands that import jobs of other tools.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands of `import`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Write job files from documents of DataX
    #[command(after_help = "\
Examples:
  transload import datax orders.json --out jobs
  transload import datax /opt/datax/job --out jobs              all documents of a folder
  transload import datax orders.json --repair                   what was meant, not what was done
  transload import datax orders.json --repair=dirty-limit,zero-dates
  transload import datax orders.json --param day='${bizdate}'

Exit code 2 if a document was refused, or a job is to be finished; the others are written")]
    Datax(ImportArgs),
    /// Write job files from scripts of DataWorks Data Integration
    #[command(after_help = "\
Examples:
  transload import dataworks orders.json --out jobs
  transload import dataworks scripts --out jobs --param day='$[yyyymmdd-1]'

Data sources become connections of their names; fill in connections.toml
Exit code 2 if a script was refused, or a job is to be finished; the others are written")]
    Dataworks(ImportArgs),
    /// Write job files from replications of Sling, one for each stream
    #[command(after_help = "\
Examples:
  transload import sling replication.yaml --out jobs --env-file ~/.sling/env.yaml

Connections are those of --env-file, or of connections.toml in the --out folder
Exit code 2 if a stream was refused, or a job is to be finished; the others are written")]
    Sling(SlingArgs),
    /// Write job files from command files of pgloader, one for each table
    #[command(after_help = "\
Examples:
  transload import pgloader sakila.load --out jobs

Exit code 2 if a command was refused, or a job is to be finished; the others are written")]
    Pgloader(ImportArgs),
}

/// The flags of `import sling`.
#[derive(Debug, Args)]
pub(crate) struct SlingArgs {
    /// What is imported, and how.
    #[command(flatten)]
    pub(crate) import: ImportArgs,
    /// Sling's connections, as `~/.sling/env.yaml` has them
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
}

/// What is imported, and how.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Documents, and folders of documents
    #[arg(value_name = "FILE|DIR", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Folder for the jobs and connections.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Do what the old jobs really did, where the report names a choice: all, which is the default, or
    /// these
    #[arg(long, value_name = "CHOICE,...", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "all", value_delimiter = ',', value_parser = choice)]
    pub(crate) keep: Vec<String>,
    /// Do what was meant instead: for all choices, or for these
    #[arg(long, value_name = "CHOICE,...", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "all", value_delimiter = ',', value_parser = choice)]
    pub(crate) repair: Vec<String>,
    /// Value of a parameter of the documents, written into `[params]`; may be given more than once
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = super::parameter)]
    pub(crate) params: Vec<(String, String)>,
    /// Replace job files that are there
    #[arg(long)]
    pub(crate) force: bool,
}

/// One of the choices, or `all`.
fn choice(text: &str) -> Result<String, String> {
    let names: Vec<&str> = crate::import::CHOICES.iter().map(|(name, _)| *name).collect();
    match text == "all" || names.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("the choices are {}", names.join(", "))),
    }
}
