//! What must be so before a job runs: a query that returns true, a file or object that exists, another
//! job's or flow's success for the same scheduled time. How it is looked for is left to `command::flow`.

use std::{fmt, path::PathBuf, time::Duration};

/// A condition of a job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) test: Test,
    /// How long it is waited for; at once is the only look.
    pub(crate) timeout: Duration,
    /// How long between two looks.
    pub(crate) every: Duration,
    pub(crate) on_timeout: OnTimeout,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    /// The first value of a query's first row.
    Query {
        connection: String,
        /// With dates such as `${bizdate}` and `$[yyyymmdd]`.
        query: String,
        expected: Expected,
    },
    /// A file, or a folder, of this machine.
    Path(PathBuf),
    /// An object, table or file that a connection's store lists under this name.
    Object { connection: String, name: String },
    /// A run of this job for the same scheduled time has succeeded.
    Job(String),
    /// So have all jobs of this flow.
    Flow(String),
}

/// When the value of a query is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expected {
    /// It is true, or another number than 0.
    True,
    /// It is a number of at least this.
    AtLeast(f64),
    /// It is a time, at most this long ago.
    MaxAge(Duration),
}

/// What happens if the condition does not become true in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnTimeout {
    /// The job fails.
    #[default]
    Fail,
    /// The job and those that need it are left out, which is no failure of the flow.
    Skip,
    /// The job runs all the same.
    Run,
}

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    /// Not yet, and what there is instead.
    No(String),
}

impl Expected {
    /// Whether a value is enough; `now` is in seconds since 1970.
    pub(crate) fn judge(self, value: Option<&str>, now: f64) -> Answer {
        let Some(value) = value else { return Answer::No("the query returns no value".to_owned()) };
        let number = value.trim().parse::<f64>().ok();
        let is_met = match self {
            Self::True => match number {
                Some(number) => number != 0.0,
                None => matches!(value.trim().to_ascii_lowercase().as_str(), "true" | "t"),
            },
            Self::AtLeast(least) => number.is_some_and(|number| number >= least),
            Self::MaxAge(most) => {
                moment(value.trim()).is_some_and(|moment| now - moment <= most.as_secs_f64())
            }
        };
        if is_met { Answer::Yes } else { Answer::No(format!("the query returns `{value}`")) }
    }
}

/// Seconds since 1970 of a time; one without a zone is in the machine's.
fn moment(text: &str) -> Option<f64> {
    let second = |timestamp: jiff::Timestamp| timestamp.as_millisecond() as f64 / 1000.0;
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(second(timestamp));
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok();
    let civil = civil.or_else(|| Some(text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0)));
    let zoned = civil?.to_zoned(jiff::tz::TimeZone::system()).ok()?;
    Some(second(zoned.timestamp()))
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query { connection, query, expected } => {
                let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
                match expected {
                    Expected::True => write!(f, "`{query}` on `{connection}` is true"),
                    Expected::AtLeast(least) => {
                        write!(f, "`{query}` on `{connection}` is at least {least}")
                    }
                    Expected::MaxAge(most) => {
                        write!(f, "`{query}` on `{connection}` is at most {most:?} ago")
                    }
                }
            }
            Self::Path(path) => write!(f, "`{}` exists", path.display()),
            Self::Object { connection, name } => write!(f, "`{name}` exists on `{connection}`"),
            Self::Job(job) => write!(f, "job `{job}` has succeeded for the same time"),
            Self::Flow(flow) => write!(f, "flow `{flow}` has succeeded for the same time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_judged() {
        let (hour, now) = (Expected::MaxAge(Duration::from_secs(3600)), 1_764_550_800.0);
        for (expected, value, is_met) in [
            (Expected::True, Some("1"), true),
            (Expected::True, Some("true"), true),
            (Expected::True, Some("t"), true),
            (Expected::True, Some("0"), false),
            (Expected::True, Some("false"), false),
            (Expected::True, Some("no"), false),
            (Expected::True, None, false),
            (Expected::AtLeast(1000.0), Some("1000"), true),
            (Expected::AtLeast(1000.0), Some("999.5"), false),
            (Expected::AtLeast(1000.0), Some("many"), false),
            (hour, Some("2025-12-01T00:30:00Z"), true),
            (hour, Some("2025-11-30T23:59:59Z"), false),
            (hour, Some("yesterday"), false),
        ] {
            let answer = expected.judge(value, now);
            assert_eq!(answer == Answer::Yes, is_met, "{expected:?} {value:?}: {answer:?}");
        }
    }
}
