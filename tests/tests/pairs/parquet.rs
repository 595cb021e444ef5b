//! Parquet files written and read by pyarrow, so that an error of our own code cannot hide another
//! one.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

/// Writes a file of these columns (names and logical types) and rows of texts.
pub(crate) fn write(file: &Path, columns: &[(&str, &str)], rows: &[Vec<Option<String>>]) {
    run("write", file, &json!([columns, rows]).to_string());
}

/// A file's column names, and its rows as texts.
pub(crate) fn read(file: &Path) -> (Vec<String>, Vec<Vec<Option<String>>>) {
    serde_json::from_str(&run("read", file, "")).expect("what the script prints")
}

fn run(verb: &str, file: &Path, input: &str) -> String {
    let python = std::env::var("TRANSLOAD_TEST_PYTHON").unwrap_or_else(|_| {
        panic!(
            "TRANSLOAD_TEST_PYTHON is not set: run `tests/servers/python start DIR`, export what it prints"
        )
    });
    let mut command = Command::new(python);
    command.arg("-c").arg(include_str!("parquet.py")).arg(verb).arg(file);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("python");
    let mut stdin = child.stdin.take().expect("a pipe");
    // The script reads all input before it prints.
    stdin.write_all(input.as_bytes()).expect("python reads");
    drop(stdin);
    let output = child.wait_with_output().expect("python ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{verb} {}: {said}", file.display());
    String::from_utf8(output.stdout).expect("UTF-8")
}
