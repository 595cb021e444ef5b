//! Flows: jobs that need each other, run for one scheduled time. A flow file names them; what has become
//! of each is kept beside the runs, so that the next command continues where the last one ended.
//!
//! | file | what it does |
//! |---|---|
//! | `file` | the TOML file becomes a [`Flow`], or all of its mistakes |
//! | `graph` | the order of its jobs; a circle of needs is a mistake |
//! | `time` | the scheduled time of an instance, and of the one before |
//! | `condition` | what must be so before a job runs |
//! | `instance` | what has become of each job for one scheduled time, in the state folder |
//! | `schedule` | which job runs next: a state machine without processes and clocks |
//! | `drawing` | a flow as text and as SVG |
//!
//! Commands and processes are left to `command::flow`.

mod condition;
mod drawing;
mod file;
mod graph;
mod instance;
mod schedule;
mod time;

pub(crate) use condition::{Answer, Condition, OnTimeout, Test};
pub(crate) use drawing::{svg, tree};
pub(crate) use file::{Flow, FlowJob};
pub(crate) use instance::{HeldInstance, Instance, JobRecord, JobState};
pub(crate) use schedule::{Next, Schedule};
pub(crate) use time::ScheduledTime;
