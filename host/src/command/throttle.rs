//! `throttle`: other rate limits for a run in progress. The run looks for requests about twice a
//! second; this command waits until its request is gone.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use transload_plugin_api::code;

use super::{Ended, Session};
use crate::{
    Error, Exit, Result,
    cli::{Limit, ThrottleArgs},
    journal::{self, RunFolder},
};

/// How long a run may take to see a request.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(50);

/// `throttle`: requests other limits and waits until they hold.
pub(super) fn throttle(session: &Session, args: &ThrottleArgs) -> Ended {
    let state = args.state.clone().unwrap_or_else(journal::state_folder);
    let folder = RunFolder::find(&state, &args.run, session.redactor.clone())?;
    if folder.path().join("report.json").exists() {
        return Err(has_ended(&args.run, "has ended").into());
    }
    let request = request(args);
    let path = folder.limits_request();
    put(&path, &Value::Object(request.clone()).to_string())
        .map_err(|error| journal::failed(&path, &error))?;
    wait(session, &path, &args.run)?;
    let result = json!({ "run": args.run, "changed": request });
    session.print(&result, |page| {
        page.flow(&format!("{}: {}", args.run, words(&request)));
    })?;
    Ok(Exit::Done)
}

/// What is to change, as the run reads it.
fn request(args: &ThrottleArgs) -> Map<String, Value> {
    let limits = [
        ("max_bytes_per_second", args.max_bytes_per_second),
        ("max_rows_per_second", args.max_rows_per_second),
    ];
    let given = limits.into_iter().filter_map(|(name, limit)| Some((name, limit?)));
    given.map(|(name, Limit(limit))| (name.to_owned(), json!(limit))).collect()
}

/// `max_rows_per_second = 50000, no max_bytes_per_second`
fn words(request: &Map<String, Value>) -> String {
    let one = |(name, limit): (&String, &Value)| match limit {
        Value::Null => format!("no {name}"),
        limit => format!("{name} = {limit}"),
    };
    request.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The run sees a whole request or none.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let whole = path.with_extension(format!("{}.new", std::process::id()));
    journal::write_private(&whole, text.as_bytes())?;
    fs::rename(&whole, path)
}

/// Waits until the run has taken the request; takes it back if it does not.
fn wait(session: &Session, path: &Path, run: &str) -> Result<()> {
    let begun = Instant::now();
    while path.exists() {
        session.stop.sleep(TICK).inspect_err(|_| drop(fs::remove_file(path)))?;
        if begun.elapsed() > PATIENCE && fs::remove_file(path).is_ok() {
            let seconds = PATIENCE.as_secs();
            return Err(has_ended(run, &format!("did not respond for {seconds} s")));
        }
    }
    Ok(())
}

fn has_ended(run: &str, what: &str) -> Error {
    Error::new(Exit::NotFound, format!("run `{run}` {what}; its limits are unchanged"))
        .code(code::RUN_MISSING)
        .hint("set limits for the next run in the job file: [channel] max_bytes_per_second")
}
