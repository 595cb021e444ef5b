//! The commands about flows and their flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::parameter;

/// What to do with a flow.
#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    /// Run the jobs of a flow for one scheduled time, or continue where that ended
    #[command(after_help = "\
Examples:
  transload flow run nightly.toml --bizdate 20261130
  transload flow run nightly.toml --bizdate 20261130 --again

Jobs that are done are left out; a failed one continues where it stopped")]
    Run(FlowRunArgs),
    /// Check a flow and its jobs, and show in which order they run
    #[command(after_help = "\
Examples:
  transload flow plan nightly.toml --bizdate 20261130")]
    Plan(FlowArgs),
    /// Draw a flow, with what has become of its jobs
    #[command(after_help = "\
Examples:
  transload flow show nightly.toml
  transload flow show nightly.toml --bizdate 20261130 --svg nightly.svg")]
    Show(FlowShowArgs),
}

/// A flow and its scheduled time.
#[derive(Debug, Args)]
pub(crate) struct FlowArgs {
    /// Flow file
    #[arg(value_name = "FLOW.toml")]
    pub(crate) flow: PathBuf,
    /// Business date: the day before the scheduled time [default: yesterday]
    #[arg(long, value_name = "YYYYMMDD", conflicts_with = "cyctime")]
    pub(crate) bizdate: Option<String>,
    /// Scheduled time [default: midnight after the business date]
    #[arg(long, value_name = "YYYYMMDDHHMMSS")]
    pub(crate) cyctime: Option<String>,
    /// Environment whose connections are used, such as `dev` or `prod`
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Value for `${NAME}` in all jobs, instead of that of the flow; may be given more than once
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) params: Vec<(String, String)>,
    /// Folder of runs and flows [env: TRANSLOAD_STATE] [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// The flags of `flow run`.
#[derive(Debug, Args)]
pub(crate) struct FlowRunArgs {
    /// The flow.
    #[command(flatten)]
    pub(crate) flow: FlowArgs,
    /// Run all jobs, also those that are done for this scheduled time
    #[arg(long)]
    pub(crate) again: bool,
}

/// The flags of `flow show`.
#[derive(Debug, Args)]
pub(crate) struct FlowShowArgs {
    /// The flow.
    #[command(flatten)]
    pub(crate) flow: FlowArgs,
    /// Write the drawing to this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}
