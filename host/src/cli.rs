//! The command line: commands and flags. What they do is left to `command`.

mod copy;
mod discover;
mod flow;
mod import;
mod state;
mod vendor;

use std::{borrow::Cow, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use transload_plugin_api::OptionKind;

pub(crate) use copy::{CopyArgs, EndArgs, NewArgs, PreviewArgs, SourceArgs, TargetArgs};
pub(crate) use discover::DiscoverArgs;
pub(crate) use flow::{FlowArgs, FlowCommand, FlowRunArgs, FlowShowArgs};
pub(crate) use import::{ImportArgs, ImportCommand};
pub(crate) use state::{BackfillArgs, StateArgs, StateCommand};
pub(crate) use vendor::{InstallArgs, PackArgs, PinArgs, PlaceArgs, RevokeArgs, TrustArgs};

use crate::{
    Exit,
    catalog::Isolation,
    job::{JobText, Redactor},
    repair::FormChoice,
    report::ProgressMode,
    terminal::{ColourMode, write_stderr},
    worker::Sandbox,
};

/// Moves tables between databases, files and object stores in batches
#[derive(Debug, Parser)]
#[command(name = "transload", version, max_term_width = 100)]
#[command(after_help = "\
Examples:
  transload copy orders.csv sqlite:shop.db#orders --create    move one table
  transload plugin info file          what a plugin needs, with an example of a job
  transload check orders.toml         find mistakes in a job file
  transload plan orders.toml          show what a run would do
  transload run orders.toml           run the job
  transload run orders.toml -q        in cron: print errors only
  transload resume orders             continue its last run
  transload connection test shop      test a connection
  transload discover shop             list its tables
  transload explain PLAN-KEY          explain the code of an error

Exit codes: 0 done, 1 failed, 2 usage or job file, 3 dirty limit, 4 not found (yet), 5 connection,
6 schema, 7 plugin, 8 different, 9 locked, 75 try again, 130 or 143 stopped by a signal")]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The flags that every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// The command line, or the end of the program with what is wrong. A message repeats what was typed,
/// but no password in a URL.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let text = error.render().to_string();
        match Redactor::new().redact(&text) {
            Cow::Owned(text) if error.use_stderr() => {
                write_stderr(&text);
                std::process::exit(Exit::Usage as i32)
            }
            _ => error.exit(),
        }
    })
}

/// The flags that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Flags of every command")]
pub(crate) struct Global {
    /// Print errors only: no progress, no warnings, and no summary of a run that succeeds
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log stages, statements, connections and retries; -vv logs more, -vvv everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log level for stderr, or levels by source such as `warn,plugin=debug` [env: TRANSLOAD_LOG]
    /// [default: warn]
    #[arg(long, value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// Format of log events
    #[arg(long, value_enum, value_name = "text|json", default_value = "text", global = true)]
    #[arg(hide_possible_values = true)]
    pub(crate) log_format: OutputFormat,
    /// Output format of results on stdout
    #[arg(long, value_enum, value_name = "text|json", default_value = "text", global = true)]
    #[arg(hide_possible_values = true)]
    pub(crate) output: OutputFormat,
    /// Colours; `auto`: on a terminal, unless NO_COLOR is set, or if CLICOLOR_FORCE is set
    #[arg(
        long,
        value_enum,
        value_name = "auto|always|never",
        default_value = "auto",
        global = true
    )]
    #[arg(hide_possible_values = true)]
    pub(crate) color: ColourMode,
    /// Break lines at this column [env: COLUMNS] [default: the terminal's width, otherwise never]
    #[arg(long, value_name = "COLUMNS", global = true, value_parser = clap::value_parser!(u16).range(20..))]
    pub(crate) width: Option<u16>,
    /// Folder with plugins, searched before all others; may be given more than once
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) plugins: Vec<PathBuf>,
    /// Load plugins that are neither part of the installation nor signed nor pinned
    #[arg(long, global = true)]
    pub(crate) allow_unsigned_plugins: bool,
    /// Longest time that a stop by Ctrl-C or SIGTERM may take before the program ends anyway
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "8 s", global = true)]
    pub(crate) stop_timeout: Duration,
    /// Where plugins run at least: in the program, or each in a process that reaches only what the job
    /// names for it
    #[arg(
        long,
        value_enum,
        value_name = "in-process|process",
        default_value = "in-process",
        global = true
    )]
    #[arg(hide_possible_values = true)]
    pub(crate) isolation: Isolation,
    /// Whether such a process starts if the system cannot keep it from everything else
    #[arg(
        long,
        value_enum,
        value_name = "required|best-effort",
        default_value = "best-effort",
        global = true
    )]
    #[arg(hide_possible_values = true)]
    pub(crate) sandbox: Sandbox,
    /// Most memory of such a process
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "4 GiB", global = true)]
    pub(crate) plugin_memory: u64,
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash
    Bash,
    /// fish
    Fish,
    /// zsh
    Zsh,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Fish => Self::Fish,
            Shell::Zsh => Self::Zsh,
        }
    }
}

/// Files with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// Job files
    Job,
    /// Connection files
    Connections,
}

/// Text for people or JSON for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Text,
    /// For machines
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job
    #[command(after_help = "\
Examples:
  transload run orders.toml --env prod
  transload run orders.toml --bizdate 20261129 --param region=eu
  transload run orders.toml -q
  transload run orders.toml --output json --progress none > report.json
  transload run orders.toml --from 2026-01-01 --to 2026-02-01 --step 1d")]
    Run(RunArgs),
    /// Move one table by a line, without a job file
    #[command(after_help = copy::COPY_EXAMPLES)]
    Copy(CopyArgs),
    /// Show the first rows of a source, its columns, and where their types come from
    #[command(after_help = copy::PREVIEW_EXAMPLES)]
    Preview(PreviewArgs),
    /// Write a job file, with comments, to start from
    #[command(after_help = copy::NEW_EXAMPLES)]
    New(NewArgs),
    /// Continue a run that failed, was stopped or was killed
    #[command(after_help = "\
Examples:
  transload resume 20261129t201500-1a2b3c4d
  transload resume orders                     the last run of job `orders`
  transload resume orders.toml -q")]
    Resume(ResumeArgs),
    /// Give a run up and remove what it has staged
    #[command(after_help = "\
Examples:
  transload abort 20261129t201500-1a2b3c4d")]
    Abort(AbortArgs),
    /// List runs, the newest last
    #[command(after_help = "\
Examples:
  transload history
  transload history orders --last 20
  transload history orders --output json")]
    History(HistoryArgs),
    /// Change the rate limits of a run in progress
    #[command(after_help = "\
Examples:
  transload throttle 20261129t201500-1a2b3c4d --max-rows-per-second 50_000
  transload throttle 20261129t201500-1a2b3c4d --max-bytes-per-second \"20 MB\"
  transload throttle 20261129t201500-1a2b3c4d --max-bytes-per-second none")]
    Throttle(ThrottleArgs),
    /// Show what a run would do, without changing anything
    #[command(after_help = "\
Examples:
  transload plan orders.toml
  transload plan orders.toml --env prod --columns
  transload plan orders.toml --output json")]
    Plan(PlanArgs),
    /// Compare the rows of a job's source with those of its target, without changing anything
    #[command(after_help = "\
Examples:
  transload verify orders.toml
  transload verify orders.toml --env prod --output json
  transload verify 20261130t133835-d56fea35
  transload verify orders.toml --target-where \"day = '2026-11-29'\"

Exit code 8 if the rows are not the same")]
    Verify(VerifyArgs),
    /// Check a job file without connecting to anything
    #[command(after_help = "\
Examples:
  transload check orders.toml
  transload check orders.toml --param region=eu")]
    Check(JobArgs),
    /// List, export or send again the dirty rows of a run
    #[command(subcommand)]
    Dirty(DirtyCommand),
    /// List or test connections
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// List the tables of a connection with their keys, columns and sizes
    #[command(after_help = "\
Examples:
  transload discover shop
  transload discover shop orders --columns
  transload discover shop 'sales.*' '!sales.tmp_*'
  transload discover shop --output json")]
    Discover(DiscoverArgs),
    /// Run, plan or draw a flow: jobs that need each other
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Show, set or forget where the last run of an incremental job ended
    #[command(subcommand)]
    State(StateCommand),
    /// Print the statements that create the tables for commit tokens
    #[command(after_help = "\
Examples:
  transload meta-ddl warehouse > tokens.sql
  transload meta-ddl warehouse --env prod --schema etl")]
    MetaDdl(MetaDdlArgs),
    /// List, describe or check plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Write job files from documents of other tools
    #[command(subcommand)]
    Import(ImportCommand),
    /// Explain an error code, or list all codes
    Explain {
        /// Code in the brackets of a message, such as `PLAN-KEY`
        code: Option<String>,
    },
    /// Print the versions of the program and of its plugins
    Version,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages to a folder
    Man {
        /// The folder; it is created if it does not exist
        dir: PathBuf,
    },
    /// Print the JSON Schema of job or connection files, with the options of all plugins
    Schema {
        /// Which files
        of: SchemaOf,
    },
    /// Load a library and print its descriptor; started by the catalog as a child process.
    #[command(name = "__probe", hide = true)]
    Probe {
        /// The library.
        path: PathBuf,
    },
    /// Run a plugin for the program that started this one.
    #[command(name = "plugin-worker", hide = true)]
    PluginWorker,
}

/// A job and its parameters.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// Job file
    #[arg(value_name = "JOB.toml")]
    pub(crate) job: PathBuf,
    /// Environment whose connections are used, such as `dev` or `prod`
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Value for `${NAME}`, instead of the one in `[params]`; may be given more than once
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) params: Vec<(String, String)>,
    /// Business date for `${bizdate}` [default: the day before the scheduled time]
    #[arg(long, value_name = "YYYYMMDD")]
    pub(crate) bizdate: Option<String>,
    /// Scheduled time for `$[...]`, also as `2025-11-01T00:00:00+08:00` [default: now, or midnight
    /// after the business date]
    #[arg(long, value_name = "YYYYMMDDHHMMSS")]
    pub(crate) cyctime: Option<String>,
    /// Its text, if it is no file.
    #[arg(skip)]
    pub(crate) text: Option<JobText>,
}

/// The flags of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The job.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Show every column and every statement in full
    #[arg(long)]
    pub(crate) columns: bool,
}

/// The flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The job.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// The range of a backfill.
    #[command(flatten)]
    pub(crate) backfill: BackfillArgs,
    /// How progress is shown on stderr; `auto`: a bar on a terminal, otherwise plain lines
    #[arg(long, value_enum, value_name = "auto|bar|plain|json|none", default_value = "auto")]
    #[arg(hide_possible_values = true)]
    pub(crate) progress: ProgressMode,
    /// Folder for plans, reports and dirty rows of runs [env: TRANSLOAD_STATE]
    /// [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// What may be different when a run continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcceptedChange {
    /// Another version of a plugin, which reads the positions of the first one.
    Plugin,
    /// Another address of the same data, or another login.
    Connection,
    /// Files of dirty rows that are missing or cut; their rows stay counted.
    DirtyRows,
}

/// The flags of `resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Name of the run; or name or file of a job, for its last run
    #[arg(value_name = "RUN|JOB")]
    pub(crate) run: String,
    /// Continue although this has changed since the run began; may be given more than once
    #[arg(
        long,
        value_enum,
        value_name = "plugin|connection|dirty-rows",
        hide_possible_values = true
    )]
    pub(crate) accept_changes: Vec<AcceptedChange>,
    /// Continue although rows that are in the target may be written a second time
    #[arg(long)]
    pub(crate) allow_duplicates: bool,
    /// How progress is shown on stderr; `auto`: a bar on a terminal, otherwise plain lines
    #[arg(long, value_enum, value_name = "auto|bar|plain|json|none", default_value = "auto")]
    #[arg(hide_possible_values = true)]
    pub(crate) progress: ProgressMode,
    /// Folder of runs [env: TRANSLOAD_STATE] [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// The flags of `abort`.
#[derive(Debug, Args)]
pub(crate) struct AbortArgs {
    /// Name of the run; or name or file of a job, for its last run
    #[arg(value_name = "RUN|JOB")]
    pub(crate) run: String,
    /// Remove what is staged although it is unknown whether a commit took effect
    #[arg(long)]
    pub(crate) force: bool,
    /// Folder of runs [env: TRANSLOAD_STATE] [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// The flags of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Name or file of a job [default: all jobs]
    #[arg(value_name = "JOB")]
    pub(crate) job: Option<String>,
    /// Only the newest runs, up to this number
    #[arg(long, value_name = "NUMBER")]
    pub(crate) last: Option<u32>,
    /// Folder of runs [env: TRANSLOAD_STATE] [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// The flags of `meta-ddl`.
#[derive(Debug, Args)]
pub(crate) struct MetaDdlArgs {
    /// Name of the connection
    #[arg(value_name = "CONNECTION")]
    pub(crate) connection: String,
    /// Environment, if the connection has several
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Schema (MySQL: database) of the tables, as `schema` in `[guarantee]` [default: the target's]
    #[arg(long, value_name = "NAME")]
    pub(crate) schema: Option<String>,
    /// What the tables' names begin with, as `prefix` in `[guarantee]`
    #[arg(long, value_name = "TEXT", default_value = "transload_")]
    pub(crate) prefix: String,
}

/// The flags of `throttle`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("limits").required(true).multiple(true))]
pub(crate) struct ThrottleArgs {
    /// Name of the run: its progress, its summary and its folder have it
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Bytes from the source over all tasks, such as `20 MB`; `none`: no limit
    #[arg(long, value_name = "SIZE|none", group = "limits", value_parser = limit_of_bytes)]
    pub(crate) max_bytes_per_second: Option<Limit>,
    /// Rows from the source over all tasks; `none`: no limit
    #[arg(long, value_name = "ROWS|none", group = "limits", value_parser = limit_of_rows)]
    pub(crate) max_rows_per_second: Option<Limit>,
    /// Folder of runs, as given to `run` [env: TRANSLOAD_STATE]
    /// [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// The flags of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The job, or the name of a run.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Columns by which rows belong together, by the target's names [default: the job's or the
    /// target's key, or the source's]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub(crate) key: Vec<String>,
    /// Compare only the rows of the target that meet this SQL condition
    #[arg(long, value_name = "SQL")]
    pub(crate) target_where: Option<String>,
    /// Rows that only the target has are no difference
    #[arg(long)]
    pub(crate) allow_extra: bool,
    /// Read every row on both sides, instead of comparing checksums that the stores compute
    #[arg(long)]
    pub(crate) every_row: bool,
    /// Write the SQL that would repair the target to this file; it is not run
    #[arg(long, value_name = "FILE")]
    pub(crate) repair: Option<PathBuf>,
    /// How many differences are listed
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) list: usize,
    /// How progress is shown on stderr; `auto`: a line on a terminal, otherwise plain lines
    #[arg(long, value_enum, value_name = "auto|bar|plain|json|none", default_value = "auto")]
    #[arg(hide_possible_values = true)]
    pub(crate) progress: ProgressMode,
    /// Folder of runs, if a run is named [env: TRANSLOAD_STATE]
    /// [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u64>);

/// The commands of `dirty`.
#[derive(Debug, Subcommand)]
pub(crate) enum DirtyCommand {
    /// Show the dirty rows of a run by cause, each with an example
    #[command(after_help = "\
Examples:
  transload dirty list orders                 the last run of job `orders` with dirty rows
  transload dirty list 20261130t182720
  transload dirty list orders --output json")]
    List {
        /// A run, the beginning of its name, or a job: its last run with dirty rows
        #[arg(value_name = "RUN")]
        run: String,
        /// Folder of runs [env: TRANSLOAD_STATE] [default: ~/.local/state/transload]
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// Write dirty rows as a file to repair, in the form of their source
    #[command(after_help = "\
The first column, `_dirty`, has the id of each row: keep it for `dirty replay`.

Examples:
  transload dirty export orders > fix.csv
  transload dirty export orders --code parse --column amount > fix.csv
  transload dirty export orders --format jsonl > fix.jsonl    rows of a database")]
    Export {
        /// A run, the beginning of its name, or a job: its last run with dirty rows
        #[arg(value_name = "RUN")]
        run: String,
        /// Format for rows of databases and Parquet files [default: csv]
        #[arg(long, value_enum, value_name = "csv|jsonl")]
        #[arg(hide_possible_values = true)]
        format: Option<FormChoice>,
        /// Which rows.
        #[command(flatten)]
        filter: DirtyFilter,
        /// Also rows that were sent again before
        #[arg(long)]
        again: bool,
        /// Folder of runs [env: TRANSLOAD_STATE] [default: ~/.local/state/transload]
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// Send repaired rows again, once, by the plan of their run
    #[command(after_help = "\
Examples:
  transload dirty replay orders --from fix.csv
  transload dirty replay orders --code foreign-key    as they are, after the target was repaired")]
    Replay(ReplayArgs),
}

/// Which dirty rows.
#[derive(Debug, Args)]
pub(crate) struct DirtyFilter {
    /// Only rows with an error of this code, such as `parse`; may be given more than once
    #[arg(long = "code", value_name = "CODE")]
    pub(crate) codes: Vec<String>,
    /// Only rows with an error in this column; may be given more than once
    #[arg(long = "column", value_name = "NAME")]
    pub(crate) columns: Vec<String>,
}

/// The flags of `dirty replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A run, the beginning of its name, or a job: its last run with dirty rows
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// File with the repaired rows, as `dirty export` wrote it [default: the rows as they were]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["codes", "columns"])]
    pub(crate) from: Option<PathBuf>,
    /// Which rows.
    #[command(flatten)]
    pub(crate) filter: DirtyFilter,
    /// Format of the file for rows of databases and Parquet files [default: csv]
    #[arg(long, value_enum, value_name = "csv|jsonl")]
    #[arg(hide_possible_values = true)]
    pub(crate) format: Option<FormChoice>,
    /// Send rows once more that were sent again before
    #[arg(long)]
    pub(crate) again: bool,
    /// Value for `${NAME}` where that of the run was a secret; may be given more than once
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) params: Vec<(String, String)>,
    /// Where the run's job file is now
    #[arg(long, value_name = "JOB.toml")]
    pub(crate) job: Option<PathBuf>,
    /// How progress is shown on stderr; `auto`: a bar on a terminal, otherwise plain lines
    #[arg(long, value_enum, value_name = "auto|bar|plain|json|none", default_value = "auto")]
    #[arg(hide_possible_values = true)]
    pub(crate) progress: ProgressMode,
    /// Folder of runs [env: TRANSLOAD_STATE] [default: ~/.local/state/transload]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// The commands of `connection`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// List the connections in the connection files
    List,
    /// Test a connection: name, network, TLS, login, rights
    Test {
        /// Name of the connection
        name: String,
        /// Environment, if the connection has several
        #[arg(long, value_name = "NAME")]
        env: Option<String>,
    },
}

/// The commands of `plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List plugins; a refused one with the reason
    List,
    /// Show the options, write modes and types of a plugin, with an example
    #[command(after_help = "\
Examples:
  transload plugin info postgres
  transload plugin info file delimiter
  transload plugin info file types")]
    Info {
        /// Name of the plugin
        #[arg(value_name = "PLUGIN")]
        name: String,
        /// Only this option; `types` shows the types of the store
        option: Option<String>,
    },
    /// Check whether a library or a plugin's folder can be used; loads it in a child process
    Check {
        /// File of the library, or folder with a manifest
        path: PathBuf,
    },
    /// Test a library against the rules for all plugins
    Test(PluginTestArgs),
    /// Write a new plugin to start from: a crate with tests
    New(PluginNewArgs),
    /// Make a folder that can be installed from the libraries of a plugin
    #[command(after_help = "\
Examples:
  transload plugin pack target/release/libacme.so --publisher acme --license MIT
  transload plugin pack release/ --key acme.key --out dist")]
    Pack(PackArgs),
    /// Install a plugin's folder, after checking its signature and its files
    #[command(after_help = "\
Examples:
  transload plugin install acme-oracle/1.4.2
  transload plugin install acme-oracle/1.4.2 --pin --yes    not signed by a trusted publisher")]
    Install(InstallArgs),
    /// Accept exactly the bytes of a plugin that is not signed
    #[command(after_help = "\
Examples:
  transload plugin pin plugins/libacme.so
  transload plugin pin acme-oracle@1.4.2")]
    Pin(PinArgs),
    /// Trust a publisher's public key
    #[command(after_help = "\
Examples:
  transload plugin trust acme --key acme.pub
  transload plugin trust acme --key acme.pub --in-process --system")]
    Trust(TrustArgs),
    /// Forbid a plugin, a publisher, a key or a library
    #[command(after_help = "\
Examples:
  transload plugin revoke acme-oracle@1.4.1 --reason \"reads files of others\"
  transload plugin revoke --key-id D51BAE587146FDA1")]
    Revoke(RevokeArgs),
    /// Check every plugin that is installed, and who vouches for it
    Verify,
}

/// What is tested, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transload plugin test target/debug/libacme.so --config test.toml
  transload plugin test ./libacme.so --config test.toml --output json")]
pub(crate) struct PluginTestArgs {
    /// File of the library
    #[arg(value_name = "LIBRARY")]
    pub(crate) library: PathBuf,
    /// What the test needs to know of the store
    #[arg(long, value_name = "FILE", default_value = "test.toml")]
    pub(crate) config: PathBuf,
    /// How long one case may take
    #[arg(long, value_name = "TIME", default_value = "2 min", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// The plugin to write.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transload plugin new acme --reader --writer
  transload plugin new acme --reader --dir work/acme")]
pub(crate) struct PluginNewArgs {
    /// Name of the plugin: lower case letters, digits and `-`
    pub(crate) name: String,
    /// It reads
    #[arg(long)]
    pub(crate) reader: bool,
    /// It writes
    #[arg(long)]
    pub(crate) writer: bool,
    /// Folder to create
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Folder of `transload-plugin-api`, instead of the published crate
    #[arg(long, value_name = "DIR")]
    pub(crate) api: Option<PathBuf>,
}

/// Splits `NAME=VALUE` at the first `=`, so that values may contain it.
pub(crate) fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// `20 MB`, as in job files, or `none`.
fn limit_of_bytes(text: &str) -> Result<Limit, String> {
    limit(text, "a size such as `20 MB`", |text| {
        OptionKind::Size.convert(&text.into()).ok().and_then(|size| size.as_u64())
    })
}

/// `50_000`, or `none`.
fn limit_of_rows(text: &str) -> Result<Limit, String> {
    limit(text, "a number of rows", |text| text.replace('_', "").parse().ok())
}

fn limit(
    text: &str,
    kind: &str,
    number: impl FnOnce(&str) -> Option<u64>,
) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        text => match number(text) {
            Some(limit) if limit > 0 => Ok(Limit(Some(limit))),
            _ => Err(format!("expected {kind}, or `none`")),
        },
    }
}

/// `30 s`, as in job files.
fn size(text: &str) -> Result<u64, String> {
    let converted = OptionKind::Size.convert(&text.into());
    let bytes = converted.map_err(|mismatch| mismatch.to_string())?.as_u64();
    bytes.filter(|bytes| *bytes >= 64 << 20).ok_or_else(|| "expected at least 64 MiB".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let converted = OptionKind::Duration.convert(&text.into());
    let milliseconds = converted.map_err(|mismatch| mismatch.to_string())?.as_u64();
    milliseconds.map(Duration::from_millis).ok_or_else(|| "expected a duration".to_owned())
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
    fn limits_are_numbers_or_none() {
        assert_eq!(limit_of_bytes("20 MB"), Ok(Limit(Some(20_000_000))));
        assert_eq!(limit_of_bytes("4096"), Ok(Limit(Some(4096))));
        assert_eq!(limit_of_rows("50_000"), Ok(Limit(Some(50_000))));
        assert_eq!(limit_of_rows("none"), Ok(Limit(None)));
        assert!(limit_of_rows("0").is_err() && limit_of_bytes("fast").is_err());
    }

    #[test]
    fn parameters_are_split_at_the_first_equals_sign() {
        assert_eq!(parameter("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(parameter("a").is_err());
        assert!(parameter("=b").is_err());
    }
}
