//! The `transload` program: parse, do, exit.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    transload::run(&transload::Cli::parse())
}
