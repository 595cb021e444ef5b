//! The `transload` program: parses the command line, runs the command, exits.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    transload::run(&transload::Cli::parse())
}
