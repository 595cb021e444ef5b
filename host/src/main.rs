//! The `transload` program: parses the command line, runs the command, exits.

use clap::Parser;

fn main() {
    transload::run(&transload::Cli::parse())
}
