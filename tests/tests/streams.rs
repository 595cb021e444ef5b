//! Standard input and output as a source and a target: rows alone stand on stdout, and everything
//! else goes to stderr.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may fail loudly anywhere

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
};

use transload_tests::{Ended, Workplace};

const THROUGH: &str = "[reader]\nplugin = \"file\"\npath = \"-\"\nformat = \"csv\"\n\
     [writer]\nplugin = \"file\"\npath = \"-\"\nformat = \"jsonl\"\n";

/// Runs the command with this on its standard input.
fn fed(mut command: Command, input: Vec<u8>) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that fails early does not read all of it.
    let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
    let ended = Ended::from(child.wait_with_output().unwrap());
    feeding.join().unwrap();
    ended
}

#[test]
fn rows_go_from_stdin_to_stdout() {
    let workplace = Workplace::new();
    workplace.put("job.toml", THROUGH);
    let rows: String = (0..100_000).map(|id| format!("{id},\"text {id}\"\n")).collect();
    let mut command = workplace.command();
    command.args(["run", "job.toml", "--output", "json", "--progress", "none"]);
    let ended = fed(command, format!("id,t\n{rows}").into_bytes());
    ended.exits(0);
    let expected: String =
        (0..100_000).map(|id| format!("{{\"id\":{id},\"t\":\"text {id}\"}}\n")).collect();
    assert!(ended.stdout == expected, "rows and nothing else");
    assert!(ended.stderr.contains("\"rows\""), "the report: {}", ended.stderr);
    assert!(!workplace.names(".").contains(&"-".to_owned()), "no file is called so");
}

#[test]
fn the_plan_of_standard_output_says_what_it_cannot_promise() {
    let workplace = Workplace::new();
    workplace.put("in.csv", "id\n1\n");
    workplace.put("job.toml", THROUGH.replacen("\"-\"", "\"in.csv\"", 1));
    let ended = workplace.run(&["plan", "job.toml"]);
    ended.exits(0);
    for words in ["at-least-once", "write rows to stdout", "cannot be taken back"] {
        let text: Vec<_> = ended.stdout.split_whitespace().collect();
        assert!(text.join(" ").contains(words), "{words}: {}", ended.stdout);
    }
}

#[test]
fn a_reader_of_standard_output_that_goes_away_ends_the_run_with_an_error() {
    let workplace = Workplace::new();
    let rows: String =
        (0..300_000).map(|id| format!("{id},some text for a longer row\n")).collect();
    workplace.put("in.csv", format!("id,t\n{rows}"));
    let job = THROUGH.replacen("\"-\"", "\"in.csv\"", 1);
    workplace.put("job.toml", format!("{job}[channel]\nparallelism = 1\n"));
    let mut command = workplace.command();
    command.args(["run", "job.toml", "--progress", "none"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_ne!(ended.exit, Some(0));
    assert!(ended.stderr.contains("the program that reads the rows has ended"), "{}", ended.stderr);
}

#[test]
fn an_address_in_the_place_of_a_path_is_refused_before_any_store_is_opened() {
    let workplace = Workplace::new();
    workplace.put("job.toml", THROUGH.replacen("\"-\"", "\"s3://user:secret@bucket/in.csv\"", 1));
    let ended = workplace.run(&["check", "job.toml"]);
    ended.exits(2).says("job.toml:3:8: ").says("plugin = \"object-store\"");
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
}

#[test]
fn a_missing_file_and_a_missing_column_are_told_with_place_and_nearest_name() {
    let workplace = Workplace::new();
    workplace.put("orders.csv", "id,order_date\n1,2026-11-30\n");
    let job = "[reader]\nplugin = \"file\"\npath = \"order.csv\"\n\
               [writer]\nplugin = \"file\"\npath = \"out/\"\nformat = \"csv\"\n\
               partition_by = [\"ordr_date\"]\n";
    workplace.put("job.toml", job);
    let ended = workplace.run(&["plan", "job.toml"]);
    ended.exits(4).says("job.toml:3:8").says("did you mean `orders.csv`?");
    workplace.put("job.toml", job.replace("order.csv", "orders.csv"));
    let ended = workplace.run(&["plan", "job.toml"]);
    ended.exits(2).says("job.toml:8:").says("did you mean `order_date`?");
}
