//! The command line: commands and flags, nothing of what they do.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::report::ProgressMode;

/// Moves tables between systems in batches.
#[derive(Debug, Parser)]
#[command(name = "transload", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What every command knows.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// A folder with plugins, searched before all others; may be given more than once
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) plugins: Vec<PathBuf>,
    /// What stands on stdout
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub(crate) output: OutputFormat,
    /// Which log events stand on stderr, such as `info` or `plugin=debug`; else $TRANSLOAD_LOG,
    /// else warnings
    #[arg(long, value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// How log events are written
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub(crate) log_format: OutputFormat,
}

/// Text for people or JSON for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Text,
    /// For machines
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job
    Run(RunArgs),
    /// Show what a job would do, asking both stores and writing nothing
    Plan(JobArgs),
    /// Check a job file without opening any store
    Check(JobArgs),
    /// Connections: what there is, and whether one works
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// Plugins: what there is and what they declare
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// What the catalog starts in a child process to look at a library.
    #[command(name = "__probe", hide = true)]
    Probe {
        /// The library.
        path: PathBuf,
    },
}

/// Which job, and with what.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job file
    #[arg(value_name = "JOB.toml")]
    pub(crate) job: PathBuf,
    /// The environment whose connections are used, such as `dev` or `prod`
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// A parameter for `${name}`, before the job's own `params`; may be given more than once
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) params: Vec<(String, String)>,
    /// The business date for `${bizdate}`; else yesterday, by local time
    #[arg(long, value_name = "YYYYMMDD")]
    pub(crate) bizdate: Option<String>,
}

/// A run's own flags.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The job.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// How the run is shown while it goes on
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) progress: ProgressMode,
    /// Where runs are kept; else $TRANSLOAD_STATE, else the user's state folder
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// What to know of connections.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// All connections of the connection files, without their options
    List,
    /// Try a connection stage by stage, and tell what its store is
    Test {
        /// The connection's name
        name: String,
        /// The environment, where the connection has several
        #[arg(long, value_name = "NAME")]
        env: Option<String>,
    },
}

/// What to know of plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// All libraries in the search path, refused ones with the reason
    List,
    /// Everything that one plugin declares
    Info {
        /// The plugin's name
        name: String,
    },
    /// Examine one library stage by stage, in a process of its own
    Check {
        /// The library's file
        path: PathBuf,
    },
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn parameters_are_split_at_the_first_equals_sign() {
        assert_eq!(parameter("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(parameter("a").is_err());
        assert!(parameter("=b").is_err());
    }
}
