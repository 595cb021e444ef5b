//! The `transload` program: parses the command line, runs the command, exits.

fn main() {
    transload::run(&transload::parse())
}
