//! The flags of `state`: the watermarks of incremental jobs; and those of `run` for a backfill.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use transload_plugin_api::OptionKind;

use super::JobArgs;
use crate::job::Lookback;

/// The commands of `state`.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Show where the last run of an incremental job ended
    #[command(after_help = "\
Examples:
  transload state show orders.toml --env prod
  transload state show orders.toml --output json")]
    Show(StateArgs),
    /// Say where the next run of an incremental job begins: behind this value
    #[command(after_help = "\
Examples:
  transload state set orders.toml \"2026-11-20 10:00:00\"
  transload state set orders.toml 4711")]
    Set(SetArgs),
    /// Forget where the last run ended: the next one begins at `start`, or reads all rows
    #[command(after_help = "\
Examples:
  transload state reset orders.toml --env prod")]
    Reset(StateArgs),
}

/// The flags of `state show` and `state reset`.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// The job.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Folder of runs [env: TRANSLOAD_STATE] [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// The flags of `state set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The job and the folder.
    #[command(flatten)]
    pub(crate) of: StateArgs,
    /// Value of the job's column; its rows and those with smaller values are not read again
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) value: String,
}

/// The flags of `run` for a range that is read again.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Flags of a backfill")]
pub(crate) struct BackfillArgs {
    /// First value of the column of an incremental job; the watermark is left alone
    #[arg(long, value_name = "VALUE", requires = "to", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// The value before which the range ends
    #[arg(long, value_name = "VALUE", requires = "from", allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
    /// Size of a step, each a run of its own: a time such as `1d`, or a number [default: one run]
    #[arg(long, value_name = "SIZE", requires = "from", value_parser = step)]
    pub(crate) step: Option<Lookback>,
    /// Begin with the first step, also if some were done before
    #[arg(long, requires = "step")]
    pub(crate) restart: bool,
}

fn step(text: &str) -> Result<Lookback, String> {
    if let Ok(number) = text.replace('_', "").parse::<u64>() {
        return Ok(Lookback::Number(number));
    }
    let time = OptionKind::Duration.convert(&text.into()).ok().and_then(|value| value.as_u64());
    time.map(Lookback::Time).ok_or_else(|| "expected a time such as `1d`, or a number".to_owned())
}
