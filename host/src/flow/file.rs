//! A flow file: its jobs, what each needs, and when each is ready. All mistakes are reported at once, with
//! their places; the job files themselves are read when the flow is planned or run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Span;
use serde::Deserialize;
use toml::Spanned;
use transload_plugin_api::{OptionKind, code, nearest};

use super::{
    condition::{Condition, Expected, OnTimeout, Test},
    graph::Graph,
    time::ScheduledTime,
};
use crate::{Error, Exit, catalog::place, error::Errors};

/// How long between two looks at a condition, if the file does not say it.
const EVERY: Duration = Duration::from_secs(30);

/// A flow.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) name: String,
    /// The file, absolute.
    pub(crate) path: PathBuf,
    /// In the file's order.
    pub(crate) jobs: Vec<FlowJob>,
    /// Most jobs that run at once.
    pub(crate) parallel: usize,
    /// What lies between two instances.
    pub(crate) every: Span,
    /// The first instance: none is expected before it.
    pub(crate) start: Option<ScheduledTime>,
    /// An instance runs only when the one before is done.
    pub(crate) needs_previous: bool,
    graph: Graph,
}

/// A job of a flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FlowJob {
    pub(crate) name: String,
    /// The job file, absolute.
    pub(crate) file: PathBuf,
    /// The environment of its connections; that of the command line comes first.
    pub(crate) env: Option<String>,
    pub(crate) params: BTreeMap<String, String>,
    /// The places of the jobs that it needs.
    pub(crate) needs: Vec<usize>,
    /// It runs only when it is done in the instance before.
    pub(crate) needs_previous: bool,
    pub(crate) ready: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowFile {
    #[serde(default)]
    flow: Settings,
    #[serde(default, rename = "job")]
    jobs: Vec<Spanned<JobEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    name: Option<String>,
    parallel: Option<Spanned<usize>>,
    every: Option<Spanned<String>>,
    start: Option<Spanned<String>>,
    needs_previous: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobEntry {
    name: Option<Spanned<String>>,
    file: PathBuf,
    env: Option<String>,
    #[serde(default)]
    params: BTreeMap<String, Scalar>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    #[serde(default)]
    needs_previous: bool,
    #[serde(default)]
    ready: Vec<Spanned<ReadyEntry>>,
}

/// The value of a parameter.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, a number or a truth value")]
enum Scalar {
    Text(String),
    Integer(i64),
    Truth(bool),
}

impl From<Scalar> for String {
    fn from(value: Scalar) -> Self {
        match value {
            Scalar::Text(text) => text,
            Scalar::Integer(number) => number.to_string(),
            Scalar::Truth(truth) => truth.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadyEntry {
    connection: Option<String>,
    query: Option<String>,
    at_least: Option<f64>,
    max_age: Option<Spanned<String>>,
    path: Option<PathBuf>,
    object: Option<String>,
    job: Option<String>,
    flow: Option<String>,
    timeout: Option<Spanned<String>>,
    every: Option<Spanned<String>>,
    #[serde(default)]
    on_timeout: OnTimeout,
}

impl Flow {
    /// Reads a flow file.
    ///
    /// # Errors
    /// If it cannot be read; all mistakes in it.
    pub(crate) fn load(path: &Path) -> Result<Self, Errors> {
        let text = fs::read_to_string(path).map_err(|error| {
            let exit = match error.kind() {
                std::io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::Usage,
            };
            let message = format!("cannot read the flow file: {error}");
            let error = Error::new(exit, message).at(path.display().to_string());
            Errors(vec![error.code(code::FLOW_FILE)])
        })?;
        Self::parse(&text, path)
    }

    /// # Errors
    /// As for [`Flow::load`].
    fn parse(text: &str, path: &Path) -> Result<Self, Errors> {
        let mut found = Mistakes { text, path, errors: Vec::new() };
        let file: FlowFile = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                found.add(at, error.message().to_owned(), None);
                return Err(Errors(found.errors));
            }
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let settings = file.flow;
        let every = settings.every.as_ref().map_or_else(
            || "1 d".parse().ok(),
            |every| found.read(every, "a span such as `1 d`, `1 h` or `1 month`", span),
        );
        let start = settings.start.as_ref().and_then(|start| {
            let expected = "a business date such as `20261130`, or a time such as `20261201000000`";
            found.read(start, expected, |text| {
                ScheduledTime::after_business_date(text).or_else(|| ScheduledTime::read(text))
            })
        });
        let parallel = settings.parallel.as_ref().map_or(2, |parallel| {
            if *parallel.get_ref() == 0 {
                found.add(parallel.span().start, "`parallel` is at least 1".to_owned(), None);
            }
            *parallel.get_ref()
        });
        let (jobs, graph) = jobs(file.jobs, &mut found);
        if !found.errors.is_empty() {
            return Err(Errors(found.errors));
        }
        Ok(Self {
            name: settings.name.unwrap_or_else(|| stem.into_owned()),
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            jobs,
            parallel,
            every: every.unwrap_or_default(),
            start,
            needs_previous: settings.needs_previous,
            graph,
        })
    }

    /// The places of the jobs, each behind those that it needs.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        self.graph.order.clone().into_iter()
    }

    /// How many jobs lie one behind the other before a job.
    pub(crate) fn depth(&self, job: usize) -> usize {
        self.graph.depth[job]
    }
}

/// The mistakes of one file.
struct Mistakes<'a> {
    text: &'a str,
    path: &'a Path,
    errors: Vec<Error>,
}

impl Mistakes<'_> {
    fn add(&mut self, at: usize, message: String, hint: Option<String>) {
        let place = place(self.text, self.path, at);
        let error = Error::new(Exit::Usage, message).at(place).code(code::FLOW_FILE);
        self.errors.push(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }

    fn read<T>(
        &mut self,
        value: &Spanned<String>,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let found = read(value.get_ref());
        if found.is_none() {
            let message = format!("expected {expected}, found `{}`", value.get_ref());
            self.add(value.span().start, message, None);
        }
        found
    }
}

fn span(text: &str) -> Option<Span> {
    text.parse().ok().filter(|span: &Span| span.is_positive())
}

fn duration(text: &str) -> Option<Duration> {
    let converted = OptionKind::Duration.convert(&text.into()).ok()?;
    converted.as_u64().map(Duration::from_millis)
}

/// The jobs and their order.
fn jobs(entries: Vec<Spanned<JobEntry>>, found: &mut Mistakes<'_>) -> (Vec<FlowJob>, Graph) {
    if entries.is_empty() {
        found.add(
            0,
            "the flow has no job".to_owned(),
            Some("write a [[job]] with its `file`".to_owned()),
        );
    }
    let folder = found.path.parent().unwrap_or(Path::new("")).to_owned();
    let names: Vec<String> = entries.iter().map(|entry| name_of(entry.get_ref())).collect();
    for (at, entry) in entries.iter().enumerate() {
        if names[..at].contains(&names[at]) {
            let name = entry.get_ref().name.as_ref();
            let place = name.map_or(entry.span().start, |name| name.span().start);
            let message = format!("there are two jobs `{}`", names[at]);
            found.add(place, message, Some("give one of them another `name`".to_owned()));
        }
    }
    let mut places = Vec::new();
    let mut jobs = Vec::new();
    for (entry, name) in entries.into_iter().zip(&names) {
        places.push(entry.span().start);
        let entry = entry.into_inner();
        let mut needs = Vec::new();
        for need in &entry.needs {
            match names.iter().position(|name| name == need.get_ref()) {
                Some(job) => needs.push(job),
                None => {
                    let message = format!("there is no job `{}` in this flow", need.get_ref());
                    let near = nearest::nearest(need.get_ref(), names.iter().map(String::as_str));
                    let hint = near.map(|near| format!("did you mean `{near}`?"));
                    found.add(need.span().start, message, hint);
                }
            }
        }
        jobs.push(FlowJob {
            name: name.clone(),
            file: std::path::absolute(folder.join(&entry.file)).unwrap_or(entry.file),
            env: entry.env,
            params: entry.params.into_iter().map(|(name, value)| (name, value.into())).collect(),
            needs,
            needs_previous: entry.needs_previous,
            ready: entry
                .ready
                .into_iter()
                .filter_map(|ready| condition(ready, &folder, found))
                .collect(),
        });
    }
    let needs: Vec<_> = jobs.iter().map(|job| job.needs.clone()).collect();
    let graph = Graph::new(&needs).unwrap_or_else(|circle| {
        let mut path: Vec<_> = circle.iter().map(|job| format!("`{}`", names[*job])).collect();
        path.push(path[0].clone());
        let message = format!("jobs need each other in a circle: {}", path.join(" needs "));
        found.add(places[circle[0]], message, None);
        Graph::default()
    });
    (jobs, graph)
}

/// The name of a job: by default that of its file.
fn name_of(entry: &JobEntry) -> String {
    let stem = || entry.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    entry.name.as_ref().map_or_else(stem, |name| name.get_ref().clone())
}

fn condition(
    entry: Spanned<ReadyEntry>,
    folder: &Path,
    found: &mut Mistakes<'_>,
) -> Option<Condition> {
    let at = entry.span().start;
    let entry = entry.into_inner();
    let length = "a duration such as `30 s`, `10 min` or `2 h`";
    let max_age = entry.max_age.as_ref().and_then(|text| found.read(text, length, duration));
    let timeout = entry
        .timeout
        .as_ref()
        .map_or(Some(Duration::ZERO), |text| found.read(text, length, duration));
    let every = entry.every.as_ref().map_or(Some(EVERY), |text| found.read(text, length, duration));
    let expected = match (entry.at_least, &entry.max_age) {
        (Some(_), Some(_)) => {
            found.add(at, "`at_least` and `max_age` exclude each other".to_owned(), None);
            return None;
        }
        (Some(least), None) => Expected::AtLeast(least),
        (None, Some(_)) => Expected::MaxAge(max_age?),
        (None, None) => Expected::True,
    };
    let is_plain = expected == Expected::True;
    let test =
        match (entry.query, entry.path, entry.object, entry.job, entry.flow, entry.connection) {
            (Some(query), None, None, None, None, Some(connection)) => {
                Test::Query { connection, query, expected }
            }
            (None, Some(path), None, None, None, None) if is_plain => Test::Path(folder.join(path)),
            (None, None, Some(name), None, None, Some(connection)) if is_plain => {
                Test::Object { connection, name }
            }
            (None, None, None, Some(job), None, None) if is_plain => Test::Job(job),
            (None, None, None, None, Some(flow), None) if is_plain => Test::Flow(flow),
            _ => {
                let message = "a condition is one of: `connection` and `query` (with `at_least` or \
                           `max_age`), `path`, `connection` and `object`, `job`, `flow`";
                found.add(at, message.to_owned(), None);
                return None;
            }
        };
    Some(Condition { test, timeout: timeout?, every: every?, on_timeout: entry.on_timeout })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A flow of jobs with these needs.
    pub(crate) fn flow_of(needs: &[&[usize]], parallel: usize) -> Flow {
        let job = |(at, needs): (usize, &&[usize])| FlowJob {
            name: format!("j{at}"),
            needs: needs.to_vec(),
            ..FlowJob::default()
        };
        Flow {
            name: "f".to_owned(),
            path: PathBuf::new(),
            jobs: needs.iter().enumerate().map(job).collect(),
            parallel,
            every: Span::new(),
            start: None,
            needs_previous: false,
            graph: Graph::new(&needs.iter().map(|needs| needs.to_vec()).collect::<Vec<_>>())
                .unwrap(),
        }
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = r#"
            [flow]
            parallel = 3
            every = "1 h"
            start = "20261130"
            needs_previous = true
            [[job]]
            file = "customers.toml"
            [[job]]
            name = "orders"
            file = "jobs/o.toml"
            needs = ["customers"]
            needs_previous = true
            params = { region = "eu", shards = 4 }
            [[job.ready]]
            connection = "shop"
            query = "SELECT count(*) FROM batch"
            at_least = 1000
            timeout = "30 min"
            every = "10 s"
            on_timeout = "skip"
            [[job.ready]]
            path = "in/_SUCCESS"
        "#;
        let flow = Flow::parse(text, Path::new("/f/nightly.toml")).unwrap();
        assert_eq!((flow.name.as_str(), flow.parallel), ("nightly", 3));
        assert_eq!(flow.start, ScheduledTime::read("20261201000000"));
        let orders = &flow.jobs[1];
        assert_eq!((orders.file.to_str(), &orders.needs), (Some("/f/jobs/o.toml"), &vec![0]));
        assert_eq!(orders.params["shards"], "4");
        assert_eq!(orders.ready[0].timeout, Duration::from_secs(1800));
        assert_eq!(orders.ready[0].on_timeout, OnTimeout::Skip);
        assert_eq!(orders.ready[1].test, Test::Path("/f/in/_SUCCESS".into()));
        assert_eq!(flow.order().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn all_mistakes_are_reported_with_their_places() {
        let text = "[flow]\nevery = \"often\"\nparallel = 0\n\
                    [[job]]\nfile = \"a.toml\"\nneeds = [\"bb\"]\n\
                    [[job]]\nfile = \"b.toml\"\nneeds = [\"c\"]\n\
                    [[job]]\nfile = \"c.toml\"\nneeds = [\"b\"]\n\
                    [[job]]\nname = \"a\"\nfile = \"d.toml\"\n\
                    [[job.ready]]\npath = \"x\"\nquery = \"y\"\ntimeout = \"soon\"\n";
        let errors = Flow::parse(text, Path::new("f.toml")).unwrap_err().0;
        let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        for (error, expected) in said.iter().zip([
            "f.toml:2:9: expected a span such as `1 d`, `1 h` or `1 month`, found `often`",
            "f.toml:3:12: `parallel` is at least 1",
            "f.toml:14:8: there are two jobs `a`",
            "f.toml:6:10: there is no job `bb` in this flow",
            "f.toml:19:11: expected a duration such as",
            "f.toml:16:1: a condition is one of:",
            "f.toml:7:1: jobs need each other in a circle: `b` needs `c` needs `b`",
        ]) {
            assert!(error.contains(expected), "{expected}\n{error}");
        }
        assert_eq!(said.len(), 7, "{said:#?}");
    }

    #[test]
    fn what_is_no_flow_is_refused() {
        for (text, expected) in [
            ("", "1:1: the flow has no job"),
            ("[[job]]\nfile = 1\n", "2:8: invalid type: integer `1`"),
            ("[[job]]\nname = \"a\"\n", "missing field `file`"),
            ("[[job]]\nfile = \"a\"\nneed = []\n", "3:1: unknown field `need`"),
            ("[[job]\n", "1:"),
        ] {
            let errors = Flow::parse(text, Path::new("f.toml")).unwrap_err().0;
            assert!(errors[0].to_string().contains(expected), "{text}: {}", errors[0]);
        }
    }
}
