//! Job files, connection files and printed texts of any content: refused with a place, or read.

use std::path::Path;

use transload_plugin_api::Error;
use transload_tests_fuzz::fuzz;

use super::{
    JobRequest, Redactor, document::Document, file::read_job, parameters, problem::Problems,
};

const WORDS: &[&str] = &[
    "[reader]",
    "[writer]",
    "plugin",
    "=",
    "\"",
    "'''",
    "{",
    "}",
    "[",
    "]",
    "\n",
    "${bizdate}",
    "$[yyyymmdd-1]",
    "${",
    "env",
    "file",
    "command",
    "map",
    "64 MiB",
    "true",
    "-9223372036854775808",
];

#[test]
fn job_toml() {
    let seeds = [
        "name = \"a\"\n[reader]\nplugin = \"file\"\npath = \"x-${bizdate}.csv\"\ncolumns = [\"a\"]\n\
         [reader.schema]\na = \"int64\"\n[writer]\nconnection = \"dw\"\ntable = \"t\"\n\
         write_mode = \"upsert\"\nkey = [\"a\"]\n[map]\na = \"b\"\n",
        "[params]\nday = \"$[yyyymmdd-1]\"\n[reader]\nplugin=\"mysql\"\npassword={env=\"P\"}\n\
         where=\"d = '${day}'\"\n[writer]\nplugin=\"file\"\npath=\"o\"\n[channel]\nparallelism=4\n\
         [dirty]\nmax_rows = 3\nmax_ratio = 0.1\n[guarantee]\nrequire=\"at-least-once\"\n",
    ];
    let request = JobRequest { bizdate: Some("20261120".to_owned()), ..JobRequest::default() };
    fuzz("job_toml", seeds, WORDS, |input| {
        let text = String::from_utf8(input.to_vec()).ok()?;
        let mut problems = Problems::default();
        let mut document = match Document::parse(Path::new("job.toml"), text) {
            Ok(document) => document,
            Err(problems) => return Some(Err(problems.iter().count())),
        };
        parameters::fill(&mut document, &request, &mut problems);
        let mut draft = read_job(&document, &request, &mut problems);
        draft.problems = problems;
        let none = |_: &str| Err::<transload_plugin_api::Descriptor, _>(Error::not_found("none"));
        Some(draft.resolve(none).map(|_| ()).map_err(|problems| problems.iter().count()))
    });
}

#[test]
fn redaction() {
    let redactor = Redactor::new();
    let secret = "s3cret/p@ss";
    redactor.learn("password", secret);
    let seeds = [
        "login with s3cret/p@ss failed",
        "postgres://me:word@host/db?password=abc&x=1",
        "Authorization: Basic bWU6czNjcmV0L3BAc3M=",
        "s3cret%2Fp%40ss and s3cret\\/p@ss",
    ];
    let words = ["://", "@", ":", "s3cret/p@ss", "%2F", "\\u0070", "password=", "czNjcmV0L3BAc3M"];
    fuzz("redaction", seeds, &words, |input| {
        let text = String::from_utf8_lossy(input);
        let redacted = redactor.redact(&text);
        assert!(!redacted.contains(secret), "the secret is still there: {redacted}");
        redacted.len().cmp(&text.len())
    });
}
