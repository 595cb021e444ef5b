//! The `transload` program.
fn main() {}
