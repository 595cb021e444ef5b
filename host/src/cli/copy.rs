//! The flags of `copy`, `preview` and `new`: a source and a target by one word each, and what else a
//! job file would say.

use std::path::PathBuf;

use clap::Args;

use super::parameter;
use crate::report::ProgressMode;

pub(super) const COPY_EXAMPLES: &str = "\
FROM and TO are a path (`orders.csv`, 'data/*.parquet'), a URL (`transload plugin info NAME` shows the
form), CONNECTION:OBJECT (`shop:orders`), or `-`: standard input or output.
A password in a URL is seen in the list of processes; a connection keeps it secret.

Examples:
  transload copy orders.csv sqlite:shop.db#orders --create
  transload copy orders.csv postgres://u@db1/shop?table=ods.orders --mode upsert --key id
  transload copy shop:orders 's3://lake/orders/?region=eu-central-1' --to-format parquet
  gunzip -c log.jsonl.gz | transload copy - shop:log --from-format jsonl
  transload copy shop:orders - --where \"amount > 100\" | head
  transload copy orders.csv shop:orders --as-job > orders.toml";

pub(super) const PREVIEW_EXAMPLES: &str = "\
Examples:
  transload preview orders.csv
  transload preview shop:orders -n 5 --where \"amount > 100\"
  transload preview 's3://lake/orders/*.parquet' --output json";

pub(super) const NEW_EXAMPLES: &str = "\
Examples:
  transload new orders.csv shop:orders --create > orders.toml
  transload new shop:orders orders.parquet";

/// The source of a copy.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// The source: path, URL, CONNECTION:OBJECT or `-`
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// Columns to read, in this order [default: all]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Condition on the source's rows, in its SQL
    #[arg(long = "where", value_name = "SQL")]
    pub(crate) condition: Option<String>,
    /// Type of a column, in place of the source's or the sample's; may be given more than once
    #[arg(long = "type", value_name = "COLUMN=TYPE", value_parser = parameter)]
    pub(crate) types: Vec<(String, String)>,
    /// The source
    #[command(flatten)]
    pub(crate) side: FromArgs,
    /// Environment whose connections are used, such as `dev` or `prod`
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Value for `${NAME}` in FROM, TO and flags; may be given more than once
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) params: Vec<(String, String)>,
    /// Business date for `${bizdate}` [default: the day before the scheduled time]
    #[arg(long, value_name = "YYYYMMDD")]
    pub(crate) bizdate: Option<String>,
    /// Scheduled time for `$[...]`, also as `2025-11-01T00:00:00+08:00` [default: now, or midnight
    /// after the business date]
    #[arg(long, value_name = "YYYYMMDDHHMMSS")]
    pub(crate) cyctime: Option<String>,
}

/// What one side takes besides its word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndArgs<'a> {
    pub(crate) format: Option<&'a str>,
    pub(crate) options: &'a [(String, String)],
    pub(crate) plugin: Option<&'a str>,
}

/// The flags about the source's plugin.
#[derive(Debug, Args)]
pub(crate) struct FromArgs {
    /// Format of the source, such as `csv` or `jsonl` [default: by the extension; `-`: csv]
    #[arg(long, value_name = "FORMAT")]
    from_format: Option<String>,
    /// Option of the source's plugin, such as `delimiter=;`; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameter)]
    from_option: Vec<(String, String)>,
    /// Plugin that reads, where FROM does not show it
    #[arg(long, value_name = "NAME")]
    from_plugin: Option<String>,
}

impl FromArgs {
    pub(crate) fn end(&self) -> EndArgs<'_> {
        EndArgs {
            format: self.from_format.as_deref(),
            options: &self.from_option,
            plugin: self.from_plugin.as_deref(),
        }
    }
}

/// The target of a copy.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The target: path, URL, CONNECTION:OBJECT or `-`
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    /// What happens when a row's key exists: insert, ignore, upsert, replace; or overwrite, which
    /// replaces all rows [default: the target's first mode, as a rule insert]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<String>,
    /// Key columns [default: the target's primary key]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub(crate) key: Vec<String>,
    /// Columns that an upsert updates [default: all but the key]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub(crate) update: Vec<String>,
    /// Create the table if it does not exist
    #[arg(long)]
    pub(crate) create: bool,
    /// Target column and source column, where the names differ; may be given more than once
    #[arg(long, value_name = "TARGET=SOURCE", value_parser = parameter)]
    pub(crate) map: Vec<(String, String)>,
    /// Tasks that run at the same time [default: the number of cores]
    #[arg(long, value_name = "N")]
    pub(crate) parallelism: Option<u32>,
    /// Most dirty rows, or `unlimited` [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) max_dirty: Option<String>,
    /// Guarantee that the plan must give, such as `effectively-once`
    #[arg(long, value_name = "LEVEL")]
    pub(crate) require: Option<String>,
    /// Name of the job, in history and reports [default: copy- and the target]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Format of the target, such as `csv` or `jsonl` [default: by the extension; `-`: csv]
    #[arg(long, value_name = "FORMAT")]
    to_format: Option<String>,
    /// Option of the target's plugin; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameter)]
    to_option: Vec<(String, String)>,
    /// Plugin that writes, where TO does not show it
    #[arg(long, value_name = "NAME")]
    to_plugin: Option<String>,
}

impl TargetArgs {
    pub(crate) fn end(&self) -> EndArgs<'_> {
        EndArgs {
            format: self.to_format.as_deref(),
            options: &self.to_option,
            plugin: self.to_plugin.as_deref(),
        }
    }
}

/// The flags of `copy`.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Where rows come from.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Where they go.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Print the job file that says the same, and do nothing else
    #[arg(long, conflicts_with = "plan")]
    pub(crate) as_job: bool,
    /// Show what the run would do, without changing anything
    #[arg(long)]
    pub(crate) plan: bool,
    /// How progress is shown on stderr; `auto`: a bar on a terminal, otherwise plain lines
    #[arg(long, value_enum, value_name = "auto|bar|plain|json|none", default_value = "auto")]
    #[arg(hide_possible_values = true)]
    pub(crate) progress: ProgressMode,
    /// Folder for plans, reports and dirty rows of runs [env: TRANSLOAD_STATE]
    /// [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// The flags of `preview`.
#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    /// What is read.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// How many rows
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) rows: usize,
    /// Print JSON, as `--output json`
    #[arg(long)]
    pub(crate) json: bool,
}

/// The flags of `new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Where rows come from.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Where they go.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}
