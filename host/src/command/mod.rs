//! Each command as a few steps through the host. Results and failures are printed here.

mod abort;
mod about;
mod backfill;
mod connection;
mod copy;
mod dirty;
mod discover;
mod explain;
mod flow;
mod history;
mod import;
mod job;
mod many;
mod meta_ddl;
mod new;
mod own_process;
mod plugin;
mod plugin_new;
mod plugin_test;
mod preview;
mod resume;
mod schema;
mod state;
mod throttle;
mod vendor;
mod verify;

use std::{
    io::Write as _,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use serde::Serialize;
use serde_json::json;
use transload_plugin_api::{Cancel, Host};

use crate::{
    Error, Exit, Result,
    catalog::{Catalog, SearchPath},
    cli::{Cli, Command, OutputFormat},
    ending,
    engine::Stop,
    error::Errors,
    job::{
        ChosenTable, JobSecrets, Redactor, SecretRefs, connection_files, learn_secret_variables,
    },
    logging, process,
    report::{self, Page},
    signals,
    terminal::{Look, write_stderr},
    worker::{self, IsolationPolicy},
};

/// A command's exit code, or why it failed.
type Ended = Result<Exit, Failure>;

/// Why a command failed: an error, or the problems of a job file.
enum Failure {
    Error(Error),
    Errors(Errors),
    Problems(crate::job::Problems, Exit),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Errors> for Failure {
    fn from(errors: Errors) -> Self {
        Self::Errors(errors)
    }
}

impl From<transload_plugin_api::Error> for Failure {
    fn from(error: transload_plugin_api::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<crate::job::Problems> for Failure {
    fn from(problems: crate::job::Problems) -> Self {
        Self::Problems(problems, Exit::Usage)
    }
}

/// The code of a program that panicked, as the standard library has it.
const PANICKED: u8 = 101;

/// What all commands share. Clones are the same session.
#[derive(Clone)]
struct Session {
    output: OutputFormat,
    /// No progress, no warnings, no summary of a run that succeeds.
    quiet: bool,
    stdout: Look,
    stderr: Look,
    plugins: Vec<std::path::PathBuf>,
    /// Plugins that no one vouches for are loaded.
    allow_unsigned: bool,
    isolation: IsolationPolicy,
    redactor: Redactor,
    stop: Stop,
    /// Of a job of many tables, the one that is worked on.
    table: Option<ChosenTable>,
    /// The plugins that were found, once they were needed.
    plugins_found: Arc<OnceLock<Arc<Catalog>>>,
    /// Whether the command's result has been printed on stdout.
    printed: Arc<AtomicBool>,
    /// Whether a plugin writes rows to stdout: results go to stderr then.
    stdout_taken: Arc<AtomicBool>,
}

/// Runs a command, prints its result or its failure, and ends the process.
pub fn run(cli: &Cli) -> ! {
    let exit = panic::catch_unwind(AssertUnwindSafe(|| exit_code(cli)));
    ending::end(exit.unwrap_or(PANICKED))
}

fn exit_code(cli: &Cli) -> u8 {
    process::protect_memory();
    process::return_large_blocks();
    if let Command::Probe { path } = &cli.command {
        // The catalog's child process: no logging and no signal handlers, only the library.
        return crate::catalog::probe_main(path);
    }
    if let Command::PluginWorker = &cli.command {
        return worker::worker_main();
    }
    let session = Session {
        isolation: IsolationPolicy {
            least: cli.global.isolation,
            sandbox: cli.global.sandbox,
            memory: cli.global.plugin_memory,
            ..IsolationPolicy::default()
        },
        output: cli.global.output,
        quiet: cli.global.quiet,
        stdout: Look::stdout(cli.global.width, cli.global.color),
        stderr: Look::stderr(cli.global.width, cli.global.color),
        plugins: cli.global.plugins.clone(),
        allow_unsigned: cli.global.allow_unsigned_plugins,
        redactor: Redactor::new(),
        stop: Stop::new(),
        table: None,
        plugins_found: Arc::default(),
        printed: Arc::default(),
        stdout_taken: Arc::default(),
    };
    ending::watch();
    let early = session.clone();
    ending::report_by(move |error| {
        early.print_failure(Failure::Error(error));
    });
    let ended = session.start(cli);
    ending::claim();
    ended.unwrap_or_else(|failure| session.print_failure(session.first(failure))) as u8
}

impl Session {
    /// Starts logging and signal handling, then runs the command.
    fn start(&self, cli: &Cli) -> Ended {
        logging::start(&cli.global, self.stderr, &self.redactor)?;
        signals::listen(self.stop.clone(), cli.global.stop_timeout)?;
        match &cli.command {
            Command::Run(args) => job::run(self, args),
            Command::Copy(args) => copy::copy(self, args),
            Command::Preview(args) => preview::preview(self, args),
            Command::New(args) => new::new(self, args),
            Command::Throttle(args) => throttle::throttle(self, args),
            Command::Resume(args) => resume::resume(self, args),
            Command::Abort(args) => abort::abort(self, args),
            Command::History(args) => history::history(self, args),
            Command::State(command) => state::state(self, command),
            Command::MetaDdl(args) => meta_ddl::meta_ddl(self, args),
            Command::Plan(args) => job::plan(self, args),
            Command::Verify(args) => verify::verify(self, args),
            Command::Check(args) => job::check(self, args),
            Command::Dirty(command) => dirty::dirty(self, command),
            Command::Discover(args) => discover::discover(self, args),
            Command::Connection(command) => connection::connection(self, command),
            Command::Flow(command) => flow::flow(self, command),
            Command::Plugin(command) => plugin::plugin(self, command),
            Command::Import(command) => import::import(self, command),
            Command::Explain { code } => explain::explain(self, code.as_deref()),
            Command::Version => about::version(self),
            Command::Completions { shell } => about::completions(*shell),
            Command::Man { dir } => about::man(dir),
            Command::Schema { of } => schema::schema(self, *of),
            Command::Probe { .. } | Command::PluginWorker => Ok(Exit::Done),
        }
    }

    /// The plugins of the search path. Problems besides those of single libraries are logged.
    fn catalog(&self) -> Catalog {
        learn_secret_variables(&connection_files(Path::new("")));
        let catalog = Catalog::open(&self.search()).with_policy(self.isolation);
        catalog.problems().iter().for_each(|problem| tracing::warn!("{problem}"));
        catalog
    }

    /// The same, searched once for all tables of a job.
    fn kept_catalog(&self) -> Arc<Catalog> {
        self.plugins_found.get_or_init(|| Arc::new(self.catalog())).clone()
    }

    /// Where plugins are searched, and whether any of them is loaded.
    fn search(&self) -> SearchPath {
        SearchPath::usual(&self.plugins).allow_unsigned(self.allow_unsigned)
    }

    /// What a plugin gets from the host: its secrets and the stop signal.
    fn host(&self, secrets: &SecretRefs) -> Host {
        let secrets = JobSecrets::new(secrets.clone(), self.redactor.clone());
        Host::new(Arc::new(secrets), Cancel::clone(self.stop.cancel()))
    }

    /// Prints a command's result on stdout: as JSON, or as the text that `words` puts on a page.
    fn print(&self, json: &impl Serialize, words: impl FnOnce(&mut Page)) -> Result<()> {
        if self.output == OutputFormat::Json {
            return self.print_json(json);
        }
        let mut page = Page::new(self.stdout, self.redactor.clone());
        words(&mut page);
        self.put(&page.finish());
        Ok(())
    }

    /// Prints the report of a run of many tables.
    fn print_report(&self, report: &report::TablesReport) -> Result<()> {
        match self.output {
            OutputFormat::Json => self.print_json(report)?,
            OutputFormat::Text if self.quiet && report.error.is_none() => {}
            OutputFormat::Text => self.say(|page| report::summary_of_tables(page, report)),
        }
        Ok(())
    }

    /// Prints a command's result on stdout as JSON.
    fn print_json(&self, json: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(json).map_err(|error| {
            Error::new(Exit::Failed, format!("cannot write the result as JSON: {error}"))
        })?;
        self.put(&self.redactor.redact(&text));
        Ok(())
    }

    /// Writes a result to stdout, or to stderr where rows go to stdout.
    fn put(&self, text: &str) {
        self.printed.store(true, Relaxed);
        if self.stdout_taken.load(Relaxed) {
            return write_stderr(&format!("{text}\n"));
        }
        // A closed stdout (`| head`) is not a failure.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Writes a part of a result to stdout, without a line break.
    fn put_part(&self, text: &str) {
        self.printed.store(true, Relaxed);
        let _ = write!(std::io::stdout(), "{}", self.redactor.redact(text));
    }

    /// Prints text on stderr.
    fn say(&self, words: impl FnOnce(&mut Page)) {
        let mut page = Page::new(self.stderr, self.redactor.clone());
        words(&mut page);
        write_stderr(&(page.finish() + "\n"));
    }

    /// Prints a message of one or more lines on stderr.
    fn say_text(&self, text: &str) {
        // As a whole first: a secret may have several lines.
        let text = self.redactor.redact(text);
        self.say(|page| page.flow(&text));
    }

    /// What stopped the run, if something did: later errors are only consequences of it.
    fn first(&self, failure: Failure) -> Failure {
        match failure {
            // The one that was returned may have learned its place since.
            Failure::Error(error) => Failure::Error(match self.stop.failure() {
                Some(first) if first.error.message != error.error.message => first,
                _ => error,
            }),
            Failure::Errors(errors) => self.stop.failure().map_or(errors.into(), Failure::Error),
            problems => problems,
        }
    }

    /// Prints a failure on stderr, and as JSON on stdout if that was requested. Returns its exit code.
    fn print_failure(&self, failure: Failure) -> Exit {
        match failure {
            Failure::Error(error) => {
                self.say_text(&format!("error: {error}"));
                self.print_failed(&json!({ "status": error.exit, "error": error }));
                error.exit
            }
            Failure::Errors(errors) => {
                errors.0.iter().for_each(|error| self.say_text(&format!("error: {error}")));
                let first = errors.0.first();
                let exit = first.map_or(Exit::Failed, |error| error.exit);
                self.print_failed(&json!({ "status": exit, "error": first, "errors": errors.0 }));
                exit
            }
            Failure::Problems(problems, exit) => {
                self.say_text(problems.to_string().trim_end());
                self.print_failed(&json!({ "status": exit, "problems": problems }));
                exit
            }
        }
    }

    /// Prints a failure as JSON on stdout, unless the command has printed a result.
    fn print_failed(&self, failure: &serde_json::Value) {
        if self.output == OutputFormat::Json && !self.printed.load(Relaxed) {
            // The failure is on stderr already.
            let _ = self.print(failure, |_| ());
        }
    }
}
