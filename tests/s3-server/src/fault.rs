//! Faults, the rules that select their requests, and the requests that the server has received.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use crate::operation::{NAMES, Operation};

/// The effect on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// An error response with this status and S3 error code; the request is not processed.
    Answer(u16, String),
    /// Status 200 with an error of this code in the body; the request is not processed.
    ErrorInBody(String),
    /// No response, and the connection stays open; the request is not processed.
    Hang,
    /// The connection is closed before the request is processed.
    Reset,
    /// The request is processed, and the connection is closed without a response.
    LoseReply,
    /// The request is processed, and the response has status 500.
    DoneButError,
    /// The response's body ends after this many bytes; the length header is the full length.
    CutBody(u64),
    /// The response's body stops after this many bytes, and the connection stays open.
    StallBody(u64),
    /// The response is delayed by this many milliseconds.
    Slow(u64),
    /// User metadata is not stored.
    DropMetadata,
    /// The response has an ETag that the object does not have.
    WrongEtag,
    /// The whole object is sent with status 200, although a range was requested.
    IgnoreRange,
    /// A listing shows the state at the time when the fault was armed.
    StaleListing,
    /// A listing has at most this many keys per page.
    Pages(usize),
}

impl Fault {
    /// 503, S3's status for too many requests.
    pub const SLOW_DOWN: Self = Self::Answer(503, String::new());
    /// 500.
    pub const INTERNAL: Self = Self::Answer(500, String::new());
    /// 403.
    pub const FORBIDDEN: Self = Self::Answer(403, String::new());
    /// 409, S3's status for a conditional write that conflicts with another one.
    pub const CONFLICT: Self = Self::Answer(409, String::new());
    /// 412.
    pub const PRECONDITION: Self = Self::Answer(412, String::new());

    /// S3's own code for a status, unless one is given.
    pub(crate) fn code(status: u16, code: &str) -> &str {
        match status {
            _ if !code.is_empty() => code,
            403 => "AccessDenied",
            404 => "NoSuchKey",
            409 => "ConditionalRequestConflict",
            412 => "PreconditionFailed",
            503 => "SlowDown",
            _ => "InternalError",
        }
    }
}

/// Which requests a fault applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub(crate) operation: String,
    pub(crate) key: String,
    pub(crate) after: u64,
    pub(crate) times: u64,
}

impl Rule {
    /// All requests of an operation, by its name in S3; `*` for all operations.
    pub fn on(operation: &str) -> Self {
        Self { operation: operation.to_owned(), key: String::new(), after: 0, times: u64::MAX }
    }

    /// Only requests whose key, or a listing's prefix, contains this text.
    #[must_use]
    pub fn key(mut self, text: &str) -> Self {
        text.clone_into(&mut self.key);
        self
    }

    /// Only after this many of them.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// Only this many of them.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = requests;
        self
    }

    fn matches(&self, operation: &Operation) -> bool {
        (self.operation == "*" || self.operation == operation.name)
            && operation.key.contains(&self.key)
    }
}

/// A request that was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The operation's name in S3.
    pub operation: String,
    /// The key, or a listing's prefix.
    pub key: String,
    /// The requested range, as in the header.
    pub range: Option<String>,
    /// How many requests for the same operation were in progress when it arrived, including itself.
    pub under_way: u64,
}

/// The rules of a server, and the requests that it has received.
#[derive(Default)]
pub(crate) struct Rules {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: BTreeMap<u64, Armament>,
    next: u64,
    seen: VecDeque<Request>,
    under_way: BTreeMap<&'static str, u64>,
}

struct Armament {
    rule: Rule,
    fault: Fault,
    armed: Instant,
    matched: u64,
    hits: u64,
}

/// A fault that applies to a request.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    pub(crate) armed: Instant,
}

/// Enough for the queries of a long test run.
const REMEMBERED: usize = 100_000;

impl Rules {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a rule and returns its number; refused if there is no such operation.
    pub(crate) fn arm(&self, rule: Rule, fault: Fault) -> Result<u64, String> {
        if rule.operation != "*" && !NAMES.contains(&rule.operation.as_str()) {
            return Err(format!("no operation `{}`; there are {NAMES:?}", rule.operation));
        }
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        let armed = Instant::now();
        state.rules.insert(number, Armament { rule, fault, armed, matched: 0, hits: 0 });
        Ok(number)
    }

    pub(crate) fn disarm(&self, number: u64) {
        self.state().rules.remove(&number);
    }

    /// How many requests a rule has been applied to.
    pub(crate) fn hits(&self, number: u64) -> Option<u64> {
        self.state().rules.get(&number).map(|armament| armament.hits)
    }

    /// The fault for a request: of all rules that match, the oldest that is due. Every matching
    /// rule counts the request.
    pub(crate) fn strike(&self, operation: &Operation) -> Option<Strike> {
        let mut struck = None;
        for armament in self.state().rules.values_mut() {
            let Rule { after, times, .. } = armament.rule;
            if !armament.rule.matches(operation) {
                continue;
            }
            armament.matched += 1;
            if struck.is_none() && armament.matched > after && armament.hits < times {
                armament.hits += 1;
                struck = Some(Strike { fault: armament.fault.clone(), armed: armament.armed });
            }
        }
        struck
    }

    /// Records a request that has arrived; its end must be reported.
    pub(crate) fn came(&self, operation: &Operation, range: Option<String>) {
        let mut state = self.state();
        let under_way = state.under_way.entry(operation.name).or_default();
        *under_way += 1;
        let under_way = *under_way;
        let (name, key) = (operation.name.to_owned(), operation.key.clone());
        state.seen.push_back(Request { operation: name, key, range, under_way });
        if state.seen.len() > REMEMBERED {
            state.seen.pop_front();
        }
    }

    pub(crate) fn gone(&self, operation: &'static str) {
        *self.state().under_way.entry(operation).or_insert(1) -= 1;
    }

    /// The requests that a rule matches, oldest first.
    pub(crate) fn seen(&self, rule: &Rule) -> Vec<Request> {
        let state = self.state();
        let matches = |seen: &&Request| {
            (rule.operation == "*" || rule.operation == seen.operation)
                && seen.key.contains(&rule.key)
        };
        state.seen.iter().filter(matches).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(key: &str) -> Operation {
        Operation { name: "GetObject", key: key.to_owned() }
    }

    #[test]
    fn a_rule_strikes_its_requests_and_no_others() {
        let rules = Rules::default();
        let rule = Rule::on("GetObject").key("a/").after(1).times(2);
        let number = rules.arm(rule, Fault::Hang).unwrap();
        let struck = |key| rules.strike(&get(key)).is_some();
        let found = ["a/1", "b/1", "a/2", "a/3", "a/4"].map(struck);
        assert_eq!(found, [false, false, true, true, false]);
        assert_eq!(rules.hits(number), Some(2));
        rules.disarm(number);
        assert_eq!(rules.hits(number), None);
    }

    #[test]
    fn a_request_is_struck_once() {
        let rules = Rules::default();
        for fault in [Fault::Hang, Fault::Reset] {
            rules.arm(Rule::on("*").times(1), fault).unwrap();
        }
        let faults = [(); 3].map(|()| rules.strike(&get("a")).map(|strike| strike.fault));
        assert_eq!(faults, [Some(Fault::Hang), Some(Fault::Reset), None]);
    }

    #[test]
    fn an_operation_that_is_none_is_refused() {
        assert!(Rules::default().arm(Rule::on("GetObjects"), Fault::Hang).is_err());
    }
}
